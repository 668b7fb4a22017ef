"""What goes to the page beside a picture: the script that plays clips there, and the outputs that need one.

Every live thing is shown twice over. First comes a picture as ``image/png``: what GitHub, an untrusted notebook or a
page without scripts shows. The live form follows as an output of its own and hides the picture where it runs.
"""

from __future__ import annotations

import base64
import html
from functools import cache
from pathlib import Path
from typing import cast

import ipywidgets as widgets
from IPython.display import DisplayHandle, display

VIEW = "application/vnd.jupyter.widget-view+json"


@cache
def script() -> str:
    """``player.js`` as a ``<script>`` element, without its comments and indents."""
    lines = (line.strip() for line in Path(__file__).with_name("player.js").read_text(encoding="utf-8").splitlines())
    return "<script>" + "\n".join(line for line in lines if line and not line.startswith("//")) + "</script>"


def show_picture(
    png: bytes, words: str, alt: str, width: int | None = None, place: DisplayHandle | None = None
) -> DisplayHandle:
    """Show a picture that stands for something live.

    Args:
        png: the file; it may be animated.
        words: its text form.
        alt: what a reader who does not see it is told.
        width: in screen pixels; the file's own without it.
        place: of a picture shown before, which this one replaces.

    Returns:
        The place where it is shown.
    """
    data = {"image/png": base64.b64encode(png).decode(), "text/plain": words}
    return put(data, place, {"image/png": {"alt": alt} | ({"width": width} if width else {})})


def show_alt(alt: str, place: DisplayHandle | None = None) -> DisplayHandle:
    """What the picture after it shows, for those who do not see it: read out, and out of sight.

    A notebook's picture has no place of its own for such a text that JupyterLab or GitHub would read out.
    Takes and returns places as `show_picture` does.
    """
    return put({"text/html": alt_html(alt)}, place)


def put(data: dict[str, str], place: DisplayHandle | None, about: dict | None = None) -> DisplayHandle:
    """Show an output's data, with its metadata, in place of what stands there or, without a place, as a new output."""
    if place is None:
        return cast(DisplayHandle, display(data, raw=True, metadata=about, display_id=True))
    place.update(data, raw=True, metadata=about)
    return place


def alt_html(alt: str) -> str:
    """The same as HTML."""
    unseen = "position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap"
    return f'<span class="vg-alt" style="{unseen}">Picture: {html.escape(alt)}</span>'


def show_html(code: str) -> None:
    """Show HTML and nothing else: no text that a page without it would print in its place."""
    display({"text/html": code + script()}, raw=True)


def show_widget(widget: widgets.Widget, png: bytes, words: str, alt: str, width: int | None = None) -> None:
    """Show a live widget, and the picture that stands for it on a page without a kernel."""
    widget.add_class("vg-live")
    show_html("")
    show_picture(png, words, alt, width)
    display({VIEW: {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}}, raw=True)


def img(data: bytes, alt: str) -> str:
    """An ``<img>`` that is there the moment it is put on the page, and never wider than its place."""
    code = base64.b64encode(data).decode()
    style = "max-width: 100%; height: auto; margin: 0"
    return f'<img decoding="sync" style="{style}" alt="{html.escape(alt)}" src="data:image/png;base64,{code}">'
