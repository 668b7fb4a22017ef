"""Controls beside a picture or player: sliders and menus that call a function and show what it returns."""

from __future__ import annotations

import ctypes
import html
import inspect
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import ipywidgets as widgets
from matplotlib.figure import Figure
from PIL import Image

from vg import paths
from vg.interrupts import Stop
from vg.show.figures import picture_of
from vg.show.kernel import Interrupts
from vg.show.page import img, show_widget
from vg.show.pictures import Picture
from vg.show.players import Player, player

KINDS = ("GIF", "MP4")
DOUBLE = 0.5  # seconds after a click in which another one is the same click
WRAP = widgets.Layout(flex_flow="row wrap", align_items="flex-start")


class Explorer:
    """Controls, and beside them what a function makes of their values.

    The function is called once at the start, so that a static page has a picture too. A player that takes the place of
    another goes on at its frame. A failing call leaves the last result standing and writes the error below.

    Attributes:
        widget: the live explorer (an ipywidgets box).
        controls: ``{name: widget}``.
        result: what the function returned last, as a `Player` or a `Picture`.
        note: what went wrong, or what was saved.
        thread: what the button started last.
    """

    def __init__(
        self,
        function: Callable,
        controls: Mapping[str, widgets.Widget],
        button: str | None,
        follow: Callable | None = None,
    ) -> None:
        self.function, self.controls = function, dict(controls)
        self._follow = follow
        self._leaders = [] if follow is None else list(inspect.signature(follow).parameters)
        self._set_followers()
        self._key = uuid.uuid4().hex[:8]  # the page's players of this explorer are one
        self._still = threading.Lock()  # held while the function runs
        self._pressed = float("-inf")
        self.thread: threading.Thread | None = None
        self._build(button)
        self._show(self._call())
        self._first = self.result

    def _build(self, button: str | None) -> None:
        longest = max((len(control.description) for control in self.controls.values() if _named(control)), default=0)
        for control in self.controls.values():
            if _named(control):
                control.style.description_width = f"{max(70, 8 * longest)}px"
                control.layout.width = f"{max(70, 8 * longest) + 230}px"
                control.tooltip = control.description
        self.note = widgets.HTML(tooltip="")  # without one its title would read "null"
        self.screen = widgets.HTML(tooltip="", layout=widgets.Layout(min_width="0", margin="0 12px 0 0"))
        self.button = widgets.Button(description=button or "", button_style="primary", tooltip=button or "")
        self.saving = [widgets.Button(description=f"save {kind}", tooltip=f"write a {kind} to out/") for kind in KINDS]
        for save, kind in zip(self.saving, KINDS):
            save.on_click(lambda _, kind=kind: self.save(f".{kind.lower()}"))
        panel = list(self.controls.values())
        if button:
            self.button.on_click(lambda _: self._click())
            panel += [self.button, widgets.HBox(self.saving, layout=WRAP)]
        else:
            for name, control in self.controls.items():
                control.observe(lambda change, name=name: self._changed(name), names="value")
        panel = widgets.VBox(panel, layout=widgets.Layout(flex="0 0 auto", max_width="100%"))
        self.widget = widgets.VBox([widgets.HBox([self.screen, panel], layout=WRAP), self.note])

    def _set_followers(self) -> None:
        if self._follow is None:
            return
        given = self._follow(**{name: self.controls[name].value for name in self._leaders})
        for name, value in given.items():
            self.controls[name].value = value

    def _changed(self, name: str) -> None:
        if self._still.locked():  # a control that follows: the call that it follows in comes after it
            return
        if name in self._leaders:
            with self._still:
                self._set_followers()
        self.run()

    def _call(self) -> Player | Picture:
        return _showable(self.function(**{name: control.value for name, control in self.controls.items()}))

    def _show(self, result: Player | Picture) -> None:
        self.result = result
        self.screen.value = result.html(self._key) if isinstance(result, Player) else img(result.png, result.alt)
        for save in self.saving:
            save.layout.display = None if isinstance(result, Player) else "none"

    def _click(self) -> None:
        """Run on a thread of its own, so that further clicks and the kernel's interrupt are heard meanwhile."""
        now = time.monotonic()
        working = self.thread is not None and self.thread.is_alive()
        if working or now - self._pressed < DOUBLE:
            return
        self._pressed = now
        self.thread = threading.Thread(target=self._run_interruptibly, daemon=True)
        self.thread.start()

    def _run_interruptibly(self) -> None:
        stop = _Break(threading.get_ident())
        interrupts = Interrupts(stop.interrupt)
        interrupts.start(wait=True)
        try:
            self.run()
        finally:
            interrupts.stop()

    def run(self) -> None:
        """Call the function with the controls' present values and show what it returns; not twice at a time."""
        if not self._still.acquire(blocking=False):
            return
        self.button.disabled = True
        note = ""
        try:
            self.note.value = "<i>working ...</i>"
            self._show(self._call())
        except KeyboardInterrupt:
            note = "interrupted"
        except Exception as error:  # shown to the reader, who can move a slider and try again
            words = html.escape(f"{type(error).__name__}: {error}", quote=False)
            note = f'<div style="white-space: pre-wrap; overflow-wrap: anywhere; font-family: monospace">{words}</div>'
        finally:
            self.note.value = note
            self.button.disabled = False
            self._still.release()

    def save(self, suffix: str = ".gif", to: str | Path | None = None) -> Path | None:
        """Write the player that is shown as GIF or MP4, by default under ``out/``; None where that failed."""
        path = Path(to or paths.out_dir() / f"explorer-{time.strftime('%H%M%S')}").with_suffix(suffix)
        try:
            self.result.save(path)
        except (OSError, ValueError) as problem:
            self.note.value = html.escape(f"not saved: {problem}")
            return None
        self.note.value = html.escape(f"saved: {path}")
        return path

    def _ipython_display_(self) -> None:
        first = self._first
        data, width = (first.static, first.width) if isinstance(first, Player) else (first.png, first.image.width)
        show_widget(self.widget, data, "explorer", f"{first.alt}; one setting of an explorer", width)


class _Break(Stop):
    """The first interrupt asks the function to end, if it looks; the second one raises in its thread."""

    def __init__(self, thread: int) -> None:
        super().__init__(None)
        self._thread = thread

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
            raise_in(ctypes.c_ulong(self._thread), ctypes.py_object(KeyboardInterrupt))
        self.asked = True


def explorer(function: Callable, button: str = "Generate", **controls: Any) -> Explorer:
    """Controls, and a button that calls ``function`` with their values: for what takes seconds.

    The function runs on a thread of its own. The kernel's interrupt asks it to end (``vg.interrupts``); a second one
    breaks it off. A result that plays can be saved as GIF or MP4.

    Args:
        function: called with one keyword for each control; returns a player, a clip ``(C, T, H, W)``, a
            batch or dict of clips, a `Picture`, a PIL image or a matplotlib figure.
        button: what the button says.
        controls: ``name=(low, high)``, ``(low, high, step)``, ``(low, high, step, start)``, a list of choices, a dict
            ``{label: value}``, a bool, a text, or an ipywidgets widget. Without a start a slider begins in its middle.

    Raises:
        ValueError: if a control is none of these (it is named).
        Exception: whatever ``function`` raises with the first values.
    """
    return Explorer(function, _widgets(controls), button)


def live_explorer(function: Callable, follow: Callable | None = None, **controls: Any) -> Explorer:
    """As `explorer` without a button: ``function`` runs at every change, so it should be quick.

    Args:
        function, controls: as for `explorer`.
        follow: controls that others set. Its arguments name the controls that lead; it is called with their values,
            first and whenever one of them changes, and returns ``{name: value}`` for those that follow.
    """
    return Explorer(function, _widgets(controls), None, follow)


def _widgets(controls: Mapping) -> dict[str, widgets.Widget]:
    made = {}
    for name, short in controls.items():
        control = _slider(*short) if isinstance(short, tuple) and len(short) == 4 else short
        if not isinstance(control, widgets.Widget):
            control = widgets.interactive.widget_from_abbrev(short)
        if control is None:
            wanted = "(low, high[, step[, start]]), choices or a widget"
            raise ValueError(f"control {name!r}: expected {wanted}, got {short!r}")
        if hasattr(control, "description") and not control.description:
            control.description = name.replace("_", " ")
        if hasattr(control, "continuous_update"):
            control.continuous_update = False
        made[name] = control
    return made


def _slider(low: float, high: float, step: float, start: float) -> widgets.Widget:
    kind = widgets.IntSlider if all(isinstance(n, int) for n in (low, high, step, start)) else widgets.FloatSlider
    return kind(start, min=low, max=high, step=step)


def _named(control: widgets.Widget) -> bool:
    return hasattr(control, "description") and hasattr(getattr(control, "style", None), "description_width")


def _showable(result: Any) -> Player | Picture:
    if isinstance(result, Player | Picture):
        return result
    if isinstance(result, Figure):
        return picture_of(result)
    if isinstance(result, Image.Image):
        return Picture(result if result.mode == "L" else result.convert("RGB"))
    return player(result)
