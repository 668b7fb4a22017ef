"""Controls beside a player: sliders and menus that call a function and show what it returns."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping

import ipywidgets as widgets
from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image

from vg.show.figures import picture_of
from vg.show.pictures import Picture
from vg.show.player import HIDE_STATIC, Player, live_view, player


class Explorer:
    """Controls, and beside them what a function makes of their values.

    The function is called once at the start, so that a static page has a picture too; like a player, an
    explorer is shown twice over. A failing call leaves the last result standing and writes the error under
    the controls.

    Attributes:
        widget: the live explorer (an ipywidgets box).
        controls: ``{name: widget}``.
        result: what the function returned last.
    """

    def __init__(self, function: Callable, controls: Mapping[str, widgets.Widget], button: str | None) -> None:
        self.function, self.controls = function, dict(controls)
        self.note = widgets.HTML()
        self.box = widgets.Box()
        self.button = widgets.Button(description=button or "", button_style="primary")
        panel = [*self.controls.values(), *([self.button] if button else []), self.note]
        style = widgets.HTML(HIDE_STATIC, layout=widgets.Layout(display="none"))
        self.widget = widgets.HBox([style, self.box, widgets.VBox(panel)])
        self.widget.add_class("vg-player")
        self._made: widgets.Widget | None = None
        self._show(self._call())
        self._first = self.result
        if button:
            self.button.on_click(lambda _: self.run())
        else:
            for control in self.controls.values():
                control.observe(lambda _: self.run(), names="value")

    def _call(self):
        return self.function(**{name: control.value for name, control in self.controls.items()})

    def _show(self, result) -> None:
        gone, self.result = self._made, _showable(result)
        widget = _live(self.result)
        self._made = None if self.result is result else widget
        self.box.children = (widget,)
        if gone is not None:  # free what was made here; a player that the function made is its own
            _close(gone)

    def run(self) -> None:
        """Call the function with the controls' present values and show what it returns."""
        self.button.disabled = True
        self.note.value = "<i>working ...</i>"
        try:
            result = self._call()
        except Exception as error:  # shown to the reader, who can move a slider and try again
            self.note.value = f"<pre>{_escape(f'{type(error).__name__}: {error}')}</pre>"
        else:
            self._show(result)
            self.note.value = ""
        finally:
            self.button.disabled = False

    def _ipython_display_(self) -> None:
        first = self._first
        data = first.static if isinstance(first, Player) else first.png
        still = {"image/png": base64.b64encode(data).decode(), "text/plain": "explorer"}
        display(still, raw=True, metadata={"image/png": {"width": _width(first)}})
        display(live_view(self.widget), raw=True)


def explorer(function: Callable, button: str = "Generate", **controls) -> Explorer:
    """Controls, and a button that calls ``function`` with their values: for what takes seconds.

    Args:
        function: called with one keyword for each control; returns a player, a clip ``(C, T, H, W)``, a
            batch or dict of clips, a `Picture`, a PIL image or a matplotlib figure.
        button: what the button says.
        controls: ``name=(low, high)``, ``(low, high, step)``, a list of choices, a dict ``{label: value}``, a
            bool, a text, or an ipywidgets widget.

    Raises:
        ValueError: if a control is none of these (it is named).
        Exception: whatever ``function`` raises with the first values.
    """
    return Explorer(function, _widgets(controls), button)


def live_explorer(function: Callable, **controls) -> Explorer:
    """As `explorer` without a button: ``function`` runs at every change, so it should be quick."""
    return Explorer(function, _widgets(controls), None)


def _widgets(controls: Mapping) -> dict[str, widgets.Widget]:
    made = {}
    for name, short in controls.items():
        control = short if isinstance(short, widgets.Widget) else widgets.interactive.widget_from_abbrev(short)
        if control is None:
            raise ValueError(f"control {name!r}: expected (low, high[, step]), choices or a widget, got {short!r}")
        if hasattr(control, "description") and not control.description:
            control.description = name.replace("_", " ")
        if hasattr(control, "continuous_update"):
            control.continuous_update = False
        made[name] = control
    return made


def _showable(result) -> Player | Picture:
    if isinstance(result, Player | Picture):
        return result
    if isinstance(result, Figure):
        return picture_of(result)
    if isinstance(result, Image.Image):
        return Picture(result if result.mode == "L" else result.convert("RGB"))
    return player(result)


def _live(result: Player | Picture) -> widgets.Widget:
    if isinstance(result, Player):
        return result.widget
    out = io.BytesIO()
    result.image.save(out, "PNG")
    return widgets.Image(value=out.getvalue(), format="png", layout=widgets.Layout(align_self="flex-start"))


def _width(result: Player | Picture) -> int:
    return result.width if isinstance(result, Player) else result.image.width


def _close(widget: widgets.Widget) -> None:
    """Free a shown result and all its pages, here and in the browser."""
    for child in getattr(widget, "children", ()):
        _close(child)
    widget.close()


def _escape(words: str) -> str:
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
