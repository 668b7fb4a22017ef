"""How many threads compute: one, for many small steps.

A step of a few dozen rows gains little from a second thread. Where another process computes too it loses: threads that
wait for each other wait for a core first, at every operation (benchmarks/LOG.md). What is large keeps all threads, and
``vg`` sees to it that they do not spin while they wait.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import TypeVar

import torch

from vg.interrupts import Stop, heeded

T = TypeVar("T")


@contextmanager
def one_thread() -> Iterator[int]:
    """Torch computes on one thread inside; gives how many there were before, and goes back to as many."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield before
    finally:
        torch.set_num_threads(before)


def side_by_side(work: Callable[[list[int], Stop], None], count: int, device: torch.device) -> bool:
    """Call ``work`` with the numbers 0 to ``count - 1``, shared out among threads that each compute alone.

    There are as many as torch would have used; they never wait for each other, so a busy machine slows each by its own
    share only. On a GPU all numbers go into one call.

    Returns:
        whether an interrupt came. ``work`` has to look at its second argument, and to end when that is ``asked``.
    """
    with heeded() as stop, one_thread() as threads:
        parts = [list(range(k, count, threads)) for k in range(min(threads, count))] if device.type == "cpu" else []
        if len(parts) < 2:
            work(list(range(count)), stop)
            return _answered(stop)
        with ThreadPoolExecutor(len(parts), initializer=_begin) as pool:
            list(pool.map(work, parts, [stop] * len(parts)))
        return _answered(stop)


def as_they_come(work: Callable[[int], T], count: int, device: torch.device) -> Iterator[T]:
    """``work`` of the numbers 0 to ``count - 1``, in the order in which it is done, threads as for ``side_by_side``.

    On a GPU one after another, without threads: these would fight for it, and on MPS two of them end the process
    (pytorch #197805).

    Raises:
        KeyboardInterrupt: at an interrupt, when what ``work`` had begun, and could end, was given.
    """
    if device.type != "cpu":
        yield from _one_after_another(work, count)
        return
    threads = min(torch.get_num_threads(), count)
    with heeded() as stop, ThreadPoolExecutor(threads, initializer=_begin) as pool:
        jobs = [pool.submit(_unless, stop, work, k) for k in range(count)]
        try:
            for job in as_completed(jobs):
                if not isinstance(job.exception(), KeyboardInterrupt | CancelledError):  # else it has nothing to give
                    yield job.result()
        finally:
            pool.shutdown(cancel_futures=True)
    if stop.asked:
        raise KeyboardInterrupt


def _one_after_another(work: Callable[[int], T], count: int) -> Iterator[T]:
    with heeded() as stop:
        for k in range(count):
            if stop.asked:
                break
            yield work(k)
    if stop.asked:
        raise KeyboardInterrupt


def _unless(stop: Stop, work: Callable[[int], T], k: int) -> T:
    if stop.asked:
        raise CancelledError
    return work(k)


def _answered(stop: Stop) -> bool:
    if stop.asked:
        stop.answer()
    return stop.asked


def _begin() -> None:
    torch.set_num_threads(1)
