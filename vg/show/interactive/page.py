"""An explorer as a notebook's output: HTML that carries its data and its script, and a still picture."""

from __future__ import annotations

import base64
import html
import io
import json
from functools import cache
from pathlib import Path

from PIL import Image

LIMIT = 150_000  # bytes of one output, all its forms together
STILL = 12_000  # bytes of the still, which is there twice: in the HTML and as a picture


class Interactive:
    """An explorer that needs no kernel.

    A notebook shows it as HTML where a still picture gives way to the explorer as soon as its script runs. Where no
    script runs, the still stays. The page is asked for nothing else, from no host.

    Attributes:
        title: what the explorer shows; the still's alternative text.
        html: ``<div>`` with the still, the data and the script.
        png: the still.
    """

    def __init__(self, title: str, html: str, png: bytes) -> None:
        self.title, self.html, self.png = title, html, png

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> tuple[dict, dict]:
        still = base64.b64encode(self.png).decode()
        data = {"text/html": self.html, "image/png": still, "text/plain": repr(self)}
        return data, {"image/png": {"alt": self.title}}

    def __repr__(self) -> str:
        return f"explorer: {self.title}"


def interactive(name: str, title: str, data: dict, still: Image.Image) -> Interactive:
    """Put an explorer together.

    Args:
        name: of its script, ``NAME.js`` beside this file.
        title: what it shows, one line.
        data: what the script finds as ``data``; anything that JSON holds, finite numbers only.
        still: what is shown where no script runs.

    Raises:
        ValueError: if a number is not finite, or the output would be over 150 kB.
    """
    png = _png(still)
    words = html.escape(title, quote=True)
    picture = (
        f'<img alt="{words}" style="max-width: 100%" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
    )
    values = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    script = f'(() => {{\n"use strict";\nconst root = document.currentScript.parentElement, data = {values};\n'
    script += f"{source('core')}\n{source(name)}\n}})();"
    page = f'<div class="vg-explorer" role="group" aria-label="{words}">{picture}<script>{script}</script></div>'
    made = Interactive(title, page, png)
    size = sum(len(form) for form in made._repr_mimebundle_()[0].values())
    if size > LIMIT:
        raise ValueError(f"explorer {title!r} has {size:,} bytes, {LIMIT:,} at most: give it fewer or smaller pictures")
    return made


@cache
def source(name: str) -> str:
    """A script of this folder without its indents and the lines that are comments."""
    lines = Path(__file__).with_name(f"{name}.js").read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in map(str.strip, lines) if line and not line.startswith("//"))


def _png(still: Image.Image) -> bytes:
    """A small file, for a picture that only stands in for another: fewer colours, then fewer pixels, if need be."""
    for colours, shrink in ((64, 1), (16, 1), (16, 2), (8, 3)):
        out = io.BytesIO()
        small = still.convert("RGB").resize([max(1, side // shrink) for side in still.size], Image.Resampling.BOX)
        # Of thin lines in eight colours, median cut would merge several.
        small = small.quantize(colours, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        small.save(out, "PNG", optimize=True)
        if out.tell() <= STILL:
            break
    return out.getvalue()
