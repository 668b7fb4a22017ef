"""A clip shown twice over: an animated PNG for a static page, and a player that scrubs without the kernel."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import ipywidgets as widgets
import numpy as np
from IPython.display import display

from vg.data.apng import encode
from vg.data.pixels import resize, to_pil
from vg.show.pictures import check_scale, tiles
from vg.show.pixels import named

LIMIT = 75_000  # bytes of the animated PNG; the notebook stores it as base64, 4/3 of that
VIEW = "application/vnd.jupyter.widget-view+json"
# Where the live player runs, the animated PNG just above it would only repeat it: hide it (JupyterLab,
# Notebook 7).
HIDE_STATIC = "<style>.jp-OutputArea-child:has(+ .jp-OutputArea-child .vg-player) { display: none; }</style>"


class Player:
    """Clips side by side, in step, under one slider. Show it as the last line of a cell or with ``display``.

    Two outputs appear: first ``image/png``, an animated PNG of at most 75 kB (100 kB in the notebook file),
        then
    the live player alone, without a text form, so that a page which cannot run it shows nothing in its place.

    Attributes:
        widget: the live player (an ipywidgets box with class ``vg-player``).
        play, slider, stack: its parts; page k of the stack is frame k.
        static: bytes of the animated PNG.
        labels: the clips' names.
        width: of the whole picture on the screen, in pixels.
    """

    def __init__(self, rows: Sequence[tuple[str, np.ndarray]], fps: float, scale: int, columns: int, smooth: bool):
        self.labels = [name for name, _ in rows]
        self._rows, self._fps, self._scale, self._columns = rows, fps, scale, columns
        self.frames = max(len(row) for _, row in rows)
        self._build(smooth)
        self._static: bytes | None = None

    def _canvas(self, k: int, scale: float, smooth: bool = False) -> np.ndarray:
        """Frame ``k`` of all clips as one picture ``(H, W, C)`` uint8; a short clip holds its last frame."""
        cells = [resize(row[min(k, len(row) - 1)], scale, smooth) for _, row in self._rows]
        return tiles(cells, self._columns, self.labels)

    def _build(self, smooth: bool) -> None:
        pages, layout = [], widgets.Layout(margin="0")
        for k in range(self.frames):
            out = io.BytesIO()
            picture = to_pil(self._canvas(k, self._scale, smooth))
            picture.save(out, "PNG")
            pages.append(widgets.Image(value=out.getvalue(), format="png", layout=layout))
        self.width, last = picture.width, self.frames - 1
        # A fixed box: a page that is being swapped must not make the notebook jump.
        box = widgets.Layout(width=f"{picture.width}px", height=f"{picture.height}px", overflow="hidden")
        self.stack = widgets.Stack(pages, selected_index=0, layout=box)
        self.play = widgets.Play(min=0, max=last, interval=round(1000 / self._fps), repeat=True)
        self.slider = widgets.IntSlider(min=0, max=last, description="frame", layout=widgets.Layout(width="280px"))
        links = (
            widgets.jslink((self.play, "value"), (self.slider, "value")),
            widgets.jslink((self.slider, "value"), (self.stack, "selected_index")),
        )
        self.links = links
        controls = widgets.HBox([self.play, self.slider], layout=widgets.Layout(overflow="hidden"))
        parts = [widgets.HTML(HIDE_STATIC, layout=widgets.Layout(display="none")), self.stack, controls]
        self.widget = widgets.VBox(parts)
        self.widget.add_class("vg-player")

    @property
    def static(self) -> bytes:
        """The animated PNG (a plain PNG for one frame): the finest of a list of settings within 75 kB."""
        if self._static is None:
            self._static = self._fit()
        return self._static

    def _fit(self) -> bytes:
        """Give up fine grey levels first, then half the frames, then the size."""
        large = [s for s in dict.fromkeys((self._scale, 2)) if s <= self._scale]
        small = [s for s in (1, 1 / 2, 1 / 4, 1 / 8) if s < large[-1]]
        fine, coarse, rough = (32, 6), (24, 12), (16, 16)
        settings = [(s, q, e) for e in (1, 2) for s in large for q in (fine, coarse, rough)]
        settings += [(s, q, e) for s in small for e in (1, 2, 4) for q in (coarse, rough)]
        grey = self._rows[0][1].shape[-1] == 1
        hopeless = set()  # enlarged, a clip takes 1.4 times its bytes or more: try it small before
        for scale, (colours, hold), every in settings:
            options = (self._fps / every, colours if grey else 4 * colours, hold)
            numbers = range(0, self.frames, every)
            untried = scale > 1 and options not in hopeless
            if untried and encode(_Lazy(self, numbers, 1), *options, int(LIMIT / 1.2)) is None:
                hopeless.add(options)
            if scale > 1 and options in hopeless:
                continue
            data = encode(_Lazy(self, numbers, scale), *options, LIMIT)
            if data is not None:
                return data
        return encode(_Lazy(self, range(1), small[-1] if small else 1), self._fps, 16, 12)

    def _ipython_display_(self) -> None:
        png = base64.b64encode(self.static).decode()
        title = ", ".join(name for name in self.labels if name)
        still = {"image/png": png, "text/plain": f"clip: {title}" if title else "clip"}
        display(still, raw=True, metadata={"image/png": {"width": self.width}})
        display(live_view(self.widget), raw=True)

    def __repr__(self) -> str:
        return f"Player({self.frames} frames, {len(self._rows)} clips, {self._fps:g} frames a second)"


class _Lazy:
    """Frames drawn when they are asked for, so that a file which grows too large stops early."""

    def __init__(self, player: Player, numbers: range, scale: float) -> None:
        self.player, self.numbers, self.scale = player, numbers, scale

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, k: int) -> np.ndarray:
        return self.player._canvas(self.numbers[k], self.scale)


def live_view(widget: widgets.Widget) -> dict:
    """The display data of a widget and nothing else: no text that a static page would print in its place."""
    return {VIEW: {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}}


def player(
    clips, fps: float = 12, scale: int | None = None, columns: int | None = None, smooth: bool = False
) -> Player:
    """A player for one clip, or for several side by side and in step.

    Args:
        clips: a clip ``(C, T, H, W)``, a batch ``(B, C, T, H, W)`` or a dict ``{label: clip}``; float in
            [-1, 1] or uint8, C 1 or 3, all of one height and width. A shorter clip holds its last frame.
        fps: frames a second.
        scale: whole number of screen pixels for each pixel; without it, about 200 screen pixels a clip
            (3 for 64 pixels, 2 for 128, 1 for 256).
        columns: clips in a row; all of them in one row, up to four, without it.
        smooth: Lanczos instead of the nearest pixel in the live player.

    Raises:
        ValueError: if a clip's shape, type or range is wrong (it is named), the clips differ in size, or fps,
            scale or columns is not positive.
    """
    rows = named(clips)
    if not fps > 0:
        raise ValueError(f"fps must be above 0, got {fps}")
    if columns is not None and columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    scale = max(1, round(200 / rows[0][1].shape[2])) if scale is None else check_scale(scale)
    return Player(rows, fps, scale, columns or min(4, len(rows)), smooth)
