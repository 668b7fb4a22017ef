"""Ctrl-C, or Jupyter's stop button, where it does no harm: at the end of a step.

Python raises ``KeyboardInterrupt`` between any two instructions. In ``torch.no_grad`` or ``torch.autocast`` that can be
after the switch was turned and before anybody is there to turn it back, and all that is computed in that process
afterwards is wrong.
"""

import functools
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")
Handler = Callable[[int, FrameType | None], Any] | int | None  # what signal.getsignal gives


class Stop:
    """What ``heeded`` gives.

    Attributes:
        asked: whether an interrupt has come.
        answered: whether somebody ended for it and said so.
    """

    def __init__(self, outer: Handler) -> None:
        self.asked = self.answered = False
        self.ending = False  # things are being put back: nothing is raised in between
        self.outer = outer  # the handler that was there before

    def answer(self) -> None:
        """Say that this interrupt was heeded, here and in the blocks around."""
        self.answered = True
        if isinstance(around := getattr(self.outer, "__self__", None), Stop):
            around.answer()

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        """The handler: note the first interrupt, raise the second."""
        if self.asked and not self.ending:
            raise KeyboardInterrupt
        self.asked = True
        if callable(self.outer) and isinstance(getattr(self.outer, "__self__", None), Stop):
            self.outer(number, frame)


@contextmanager
def heeded() -> Iterator[Stop]:
    """Only note the first interrupt; a second one raises ``KeyboardInterrupt`` at once, as ever.

        with heeded() as stop:
            while not (done or stop.asked):
                step()

    However the block ends, gradients and autocast are on or off afterwards as they were before. Blocks can be nested:
    an interrupt asks all of them to stop. Interrupts reach the main thread alone: another thread is given the ``Stop``
    of the block that the main thread is in. In a program that handles them itself nothing is noted.
    """
    around = getattr(signal.getsignal(signal.SIGINT), "__self__", None)
    if threading.current_thread() is not threading.main_thread() and isinstance(around, Stop):
        modes = _torch_modes()
        try:
            yield around
        finally:
            _set_torch_modes(*modes)
        return
    stop = Stop(None)
    torch_was = _torch_modes()
    try:
        if threading.current_thread() is threading.main_thread() and _ours(signal.getsignal(signal.SIGINT)):
            stop.outer = signal.signal(signal.SIGINT, stop.interrupt)
        yield stop
    finally:
        stop.ending = True
        _set_torch_modes(*torch_was)
        if stop.outer is not None:
            signal.signal(signal.SIGINT, stop.outer)


def without_gradients(function: Callable[P, R]) -> Callable[P, R]:
    """``torch.no_grad`` as a decorator that leaves gradients as they were whenever an interrupt comes.

    What it decorates has to look for interrupts itself, in a ``heeded`` of its own, and to ``answer`` them. One that
    comes where nobody looks is raised at the end.
    """

    @functools.wraps(function)
    def run(*arguments: P.args, **options: P.kwargs) -> R:
        with heeded() as stop, torch.no_grad():
            result = function(*arguments, **options)
        if stop.asked and not stop.answered:
            raise KeyboardInterrupt
        return result

    return run


def _ours(handler: Handler) -> bool:
    return handler is signal.default_int_handler or isinstance(getattr(handler, "__self__", None), Stop)


def _torch_modes() -> tuple[bool, dict, bool, int]:
    autocast = {kind: (torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in ("cpu", "cuda")}
    return torch.is_grad_enabled(), autocast, torch.is_autocast_cache_enabled(), _autocast_depth()


def _set_torch_modes(gradients: bool, autocast: dict, cached: bool, depth: int) -> None:
    torch.set_grad_enabled(gradients)
    for kind, (enabled, dtype) in autocast.items():
        torch.set_autocast_enabled(kind, enabled)
        torch.set_autocast_dtype(kind, dtype)
    torch.set_autocast_cache_enabled(cached)
    while _autocast_depth() > depth:  # weights are cast once per outermost autocast: at a wrong depth never again
        torch.autocast_decrement_nesting()
    if depth == 0:
        torch.clear_autocast_cache()


def _autocast_depth() -> int:
    torch.autocast_increment_nesting()
    return torch.autocast_decrement_nesting()
