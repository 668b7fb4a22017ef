"""tqdm's bars, which in a notebook leave their last line as text when they are done.

A bar in a notebook is a widget. A saved notebook holds no widget, only the text that the bar had when it was first
shown: ``0%``.

Bars share a lock of their process. tqdm's own is shared with the processes that were forked off too, and one of these
that is killed while it draws would hold it for good: every later bar would wait for ever.
"""

import io
import sys
import threading
from functools import partial
from types import TracebackType
from typing import Protocol, Self, TextIO

from IPython.display import display
from ipywidgets import HBox
from tqdm.auto import tqdm as auto
from tqdm.notebook import tqdm_notebook

LEFT = {"vg": "progress"}  # metadata of the text that a bar leaves

__all__ = ["LEFT", "Bar", "NotebookBar", "print_any_name", "tqdm"]


def print_any_name() -> None:
    """What the terminal or file cannot hold is printed as escapes from now on: no name of a film ends a run."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class Bar(Protocol):
    """What is used of a bar, wherever it is shown.

    Attributes:
        n: how far it has come.
    """

    n: float

    def update(self, n: float = 1) -> object:
        """Move on by ``n``."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> object: ...


class NotebookBar(tqdm_notebook):
    """As ``tqdm.notebook.tqdm``."""

    @staticmethod
    def status_printer(
        file: TextIO | None, total: float | None = None, desc: str | None = None, ncols: int | str | None = None
    ) -> HBox:
        """The bar's widget, shown so that something else can take its place."""
        container = tqdm_notebook.status_printer(file, total, desc, ncols)
        container._ipython_display_ = partial(_show, container)
        return container

    def close(self) -> None:
        """End the bar, and leave its line unless it was made with ``leave=False``."""
        if self.disable:
            return
        line = self.format_meter(**self.format_dict)
        super().close()
        if (handle := getattr(self.container, "handle", None)) is not None:
            handle.update({"text/plain": line if self.leave else ""}, raw=True, metadata=LEFT)
            self.container.close()


def _show(container: HBox) -> None:
    container.handle = display(container._repr_mimebundle_(), raw=True, display_id=True)


class TerminalBar(auto):
    """As ``tqdm.auto.tqdm``, where that is no notebook's."""


tqdm = NotebookBar if issubclass(auto, tqdm_notebook) else TerminalBar
tqdm.set_lock(threading.RLock())
