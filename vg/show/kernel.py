"""The kernel's interrupt, for what runs while no cell does."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType

from IPython import get_ipython

from vg.interrupts import Handler

WAIT = 1.0  # seconds that the kernel's main thread may take to answer; a cell that runs there keeps it longer


class Interrupts:
    """Have the kernel's interrupt call ``handler`` instead of nothing, between ``start`` and ``stop``.

    A kernel ignores interrupts between two cells, puts its own handler back after each message, and lets clicks run on
    a thread of their own, which may not set handlers: so ours is set on the kernel's main thread, a moment later. A
    running cell keeps its interrupts. Outside a kernel nothing happens.
    """

    def __init__(self, handler: Callable[[int, FrameType | None], object]) -> None:
        self.handler = handler
        self._before: Handler = None

    def start(self, wait: bool = False) -> None:
        """Set the handler; with ``wait``, which a thread of one's own may ask for, return once it stands."""
        ready = threading.Event()
        if self._on_main_thread(self._install, ready) and wait:
            ready.wait(WAIT)

    def stop(self) -> None:
        """Put back the handler that was there before."""
        self._on_main_thread(self._restore)

    def _install(self, ready: threading.Event) -> None:
        self._before = signal.signal(signal.SIGINT, self.handler)
        ready.set()

    def _restore(self) -> None:
        if self._before is not None and signal.getsignal(signal.SIGINT) == self.handler:
            signal.signal(signal.SIGINT, self._before)

    def _on_main_thread(self, function: Callable, *arguments: object) -> bool:
        loop = getattr(getattr(get_ipython(), "kernel", None), "io_loop", None)
        if loop is not None:
            loop.add_callback(loop.call_later, 0.05, function, *arguments)
        return loop is not None
