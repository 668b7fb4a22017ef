"""A clip shown twice over: an animated PNG for any page, and a player wherever scripts run, kernel or not."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vg.data import save
from vg.data.apng import encode
from vg.data.pixels import resize, to_pil
from vg.show.page import show_html, show_picture
from vg.show.pictures import check_scale, tiles
from vg.show.pixels import Clips, fits, named

LIMIT = 72_000  # bytes of the animated PNG; the notebook stores it as base64, 4/3 of that
LARGEST = 16_383  # pixels of a WebP's side


class Player:
    """Clips side by side, in step, under one slider. Show it as the last line of a cell or with ``display``.

    Two outputs appear: ``image/png``, an animated PNG of at most 72 kB (96 kB in the notebook file), and ``text/html``,
    the player (``player.js``) with every frame as it is. A committed notebook leaves those frames out; then the player
    takes those of the animated PNG.

    Attributes:
        frames: how many; a shorter clip holds its last.
        labels: the clips' names.
        alt: what it shows, in words.
        width: of the whole picture on the screen, in pixels.
    """

    def __init__(
        self,
        rows: Sequence[tuple[str, np.ndarray]],
        fps: float,
        scale: int,
        columns: int,
        smooth: bool,
        given: int = 0,
        alt: str = "",
    ) -> None:
        self.labels = [name for name, _ in rows]
        self._rows, self._fps, self._scale, self._columns, self._smooth = rows, fps, scale, columns, smooth
        self.frames = max(len(row) for _, row in rows)
        self.given = min(given, self.frames)
        self.width = self._canvas(0, scale).shape[1]
        title = ", ".join(name for name in self.labels if name)
        self.alt = alt or f"{'clips' if len(rows) > 1 else 'clip'}, {self.frames} frames" + f": {title}" * bool(title)
        self._words = f"clip: {title}" if title else "clip"
        self._static: bytes | None = None

    def _canvas(self, k: int, scale: float) -> np.ndarray:
        """Frame ``k`` of all clips as one picture ``(H, W, C)`` uint8; a short clip holds its last frame."""
        cells = [resize(row[min(k, len(row) - 1)], scale, self._smooth) for _, row in self._rows]
        labels = self.labels
        if self.given:  # the line of labels is there all along
            marked = [f"{name} (given)".lstrip() for name in labels]
            room = all(fits(words, cells[0].shape[1]) for words in marked)  # a name comes before the mark
            labels = marked if room and k < self.given else [name or " " for name in labels]
        return tiles(cells, self._columns, labels)

    @property
    def static(self) -> bytes:
        """The animated PNG (a plain PNG for one frame): the finest of a list of settings within 72 kB."""
        if self._static is None:
            self._static = self._fit()
        return self._static

    def _fit(self) -> bytes:
        """Give up fine grey levels first, then half the frames, then the size."""
        large = [s for s in dict.fromkeys((self._scale, 2)) if s <= self._scale]
        small = [s for s in (1, 1 / 2, 1 / 4, 1 / 8) if s < large[-1]]
        fine, coarse, rough = (32, 6), (24, 12), (16, 16)
        settings: list[tuple[float, tuple[int, int], int]]
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
        data = encode(_Lazy(self, range(1), small[-1] if small else 1), self._fps, 16, 12)
        assert data is not None  # without a limit
        return data

    def sprite(self) -> bytes | None:
        """Every frame of every clip at its own size, row by row in one lossless WebP; None where that is too large."""
        pictures = np.concatenate([row for _, row in self._rows])
        count, height, width, channels = pictures.shape
        across = int(np.clip(np.ceil(np.sqrt(count * height / width)), 1, max(1, LARGEST // width)))
        down = -(-count // across)
        if down * height > LARGEST or width > LARGEST:
            return None
        sheet = np.zeros((down * across, height, width, channels), np.uint8)
        sheet[:count] = pictures
        sheet = sheet.reshape(down, across, height, width, channels).swapaxes(1, 2)
        out = io.BytesIO()
        to_pil(sheet.reshape(down * height, across * width, channels)).save(out, "WEBP", lossless=True, method=1)
        return out.getvalue()

    def html(self, key: str = "") -> str:
        """The player as an HTML element, which ``player.js`` brings to life.

        Args:
            key: a player that takes the place of one with the same key goes on at its frame, playing if that was.
        """
        lengths = [len(row) for _, row in self._rows]
        _, height, width, _ = self._rows[0][1].shape
        film = {
            "frames": self.frames,
            "fps": self._fps,
            "width": width,
            "height": height,
            "scale": self._scale,
            "columns": self._columns,
            "labels": self.labels,
            "starts": [sum(lengths[:n]) for n in range(len(lengths))],
            "lengths": lengths,
            "given": self.given,
            "smooth": self._smooth,
        }
        about = {"film": json.dumps(film), "alt": self.alt, "key": key}
        sprite = self.sprite()
        if sprite is not None:
            about["sprite"] = "data:image/webp;base64," + base64.b64encode(sprite).decode()
        attributes = " ".join(f'data-{name}="{html.escape(value)}"' for name, value in about.items())
        return f"<vg-player {attributes}></vg-player>"

    def save(self, path: str | Path) -> None:
        """Write the clips as they are shown, side by side, as GIF or MP4 by the path's suffix."""
        canvases = np.stack([self._canvas(k, self._scale) for k in range(self.frames)])
        save(path, torch.from_numpy(canvases).permute(3, 0, 1, 2), fps=self._fps)

    def _ipython_display_(self) -> None:
        show_picture(self.static, self._words, self.alt, self.width)
        show_html(self.html())

    def __repr__(self) -> str:
        return f"Player({self.frames} frames, {len(self._rows)} clips, {self._fps:g} frames a second)"


class _Lazy(Sequence[np.ndarray]):
    """Frames drawn when they are asked for, so that a file which grows too large stops early."""

    def __init__(self, player: Player, numbers: range, scale: float) -> None:
        self.player, self.numbers, self.scale = player, numbers, scale

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, k: Any) -> Any:
        return self.player._canvas(self.numbers[k], self.scale)


def player(
    clips: Clips,
    fps: float = 12,
    scale: int | None = None,
    columns: int | None = None,
    smooth: bool = False,
    given: int = 0,
    alt: str = "",
) -> Player:
    """A player for one clip, or for several side by side and in step.

    Args:
        clips: a clip ``(C, T, H, W)``, a batch ``(B, C, T, H, W)`` or a dict ``{label: clip}``; float in
            [-1, 1] or uint8, C 1 or 3, all of one height and width. A shorter clip holds its last frame.
        fps: frames a second.
        scale: whole number of screen pixels for each pixel; without it, about 200 screen pixels a clip
            (3 for 64 pixels, 2 for 128, 1 for 256).
        columns: clips in a row; all of them in one row, up to four, without it.
        smooth: Lanczos instead of the nearest pixel; what the page's player enlarges with is the browser's.
        given: so many frames from the start are marked as given, where the rest was made.
        alt: what it shows, for a reader who does not see it; the labels and the number of frames without it.

    Raises:
        ValueError: if a clip's shape, type or range is wrong (it is named), the clips differ in size, or fps,
            scale, columns or given is out of range.
    """
    rows = named(clips)
    if not fps > 0:
        raise ValueError(f"fps must be above 0, got {fps}")
    if columns is not None and columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    if given < 0:
        raise ValueError(f"given must be 0 frames or more, got {given}")
    scale = max(1, round(200 / rows[0][1].shape[2])) if scale is None else check_scale(scale)
    return Player(rows, fps, scale, columns or min(4, len(rows)), smooth, given, alt)
