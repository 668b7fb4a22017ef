"""Laws of interrupts: the first is noted, the second raised, and torch is as it was whatever ended the block."""

import signal
import sys
import threading
from pathlib import Path

import pytest
import torch

from vg.interrupts import heeded


def press() -> None:
    signal.raise_signal(signal.SIGINT)


def modes() -> tuple:
    depth = torch.autocast_increment_nesting() - 1
    torch.autocast_decrement_nesting()
    cached = torch.is_autocast_cache_enabled()
    return torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"), cached, depth


def test_the_first_interrupt_is_noted_the_second_raised_and_the_handler_given_back():
    before = signal.getsignal(signal.SIGINT)
    with heeded() as stop:
        assert not stop.asked
        press()
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            press()
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt):
        press()


def test_an_interrupt_asks_blocks_around_it_too():
    with heeded() as outer:
        with heeded() as inner:
            press()
            assert inner.asked and outer.asked
        with heeded() as later:
            assert not later.asked
            with pytest.raises(KeyboardInterrupt):
                press()


def test_another_thread_and_a_program_with_a_handler_of_its_own_are_left_alone():
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append("program"))
    try:
        with heeded() as stop:
            press()
            assert seen == ["program"] and not stop.asked
    finally:
        signal.signal(signal.SIGINT, before)

    def elsewhere():
        with heeded() as stop:
            seen.append(stop.asked)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == ["program", False]


def pressed_twice_at(k: int, work) -> bool:
    """Do ``work`` with two interrupts at the k-th line that torch runs to switch a mode; whether it came to that."""
    files, count = ("grad_mode.py", "autocast_mode.py", "_contextlib.py"), 0

    def watch(frame, event, _):
        nonlocal count
        if Path(frame.f_code.co_filename).name not in files:
            return None
        count += event == "line"
        if count == k:
            count += 1
            sys.settrace(None)
            press()
            press()
        return watch

    sys.settrace(watch)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False


def test_wherever_it_is_interrupted_gradients_and_autocast_are_as_before():
    before = modes()

    def work():
        with heeded(), torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            torch.ones(2, 2) @ torch.ones(2, 2)

    k = 1
    while pressed_twice_at(k, work):
        assert modes() == before, f"line {k}"
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, f"line {k}"
        k += 1
    assert k > 30
