"""Still pictures: one image, a grid of images, contact sheets of clips."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageFont

from vg.data.palette import Palette
from vg.data.pixels import resize, to_pil
from vg.show.page import show_alt, show_picture
from vg.show.pixels import PAPER, Clips, Pixels, frames, named, text

LIMIT = 100_000  # bytes of one picture; the notebook stores it as base64, 4/3 of that
GAP, HEAD = 3, 16  # pixels between pictures, and of a line of labels


class Picture:
    """A still picture that a notebook shows as PNG, with a text form that no profile changes.

    Attributes:
        image: the PIL image, mode L or RGB.
        title: what it shows; the text form is ``picture: title``.
        alt: what it shows, in words, for a reader who does not see it; the title without it.
    """

    def __init__(self, image: Image.Image, title: str = "", alt: str = "") -> None:
        self.image, self.title, self._alt = image, title, alt

    @property
    def alt(self) -> str:
        """What it shows, in words; goes with the PNG as metadata."""
        return self._alt or self.title or f"a picture of {self.image.width} by {self.image.height} pixels"

    @property
    def png(self) -> bytes:
        """The picture as PNG; grey levels or colours are thinned out only where it would pass 100 kB."""
        for colours in (256, 64, 32):
            data = _png(self.image, colours)
            if len(data) <= LIMIT:
                break
        return data

    def save(self, path: str | Path) -> None:
        """Write the full-quality picture; the suffix says the format."""
        self.image.save(path)

    def _repr_png_(self) -> tuple[bytes, dict]:
        return self.png, {"alt": self.alt}

    def _ipython_display_(self) -> None:
        show_alt(self.alt)
        show_picture(self.png, repr(self), self.alt)

    def __repr__(self) -> str:
        return f"picture: {self.title}" if self.title else "picture"


def _png(image: Image.Image, colours: int) -> bytes:
    if colours < 256:
        pixels = np.asarray(image)
        if image.mode == "L":
            chosen = Palette(pixels[..., None], colours)
            image = Image.fromarray(chosen.table[chosen(pixels[..., None]), 0])
        else:
            chosen = Palette(pixels, 2 * colours)
            image = Image.fromarray(chosen(pixels))
            image.putpalette(chosen.table.tobytes())
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def image(picture: Pixels, scale: int = 1, smooth: bool = False, frame: int = 0) -> Image.Image:
    """One picture, or one frame of a clip, as an upright PIL image.

    Args:
        picture: ``(H, W)``, ``(C, H, W)`` or ``(C, T, H, W)``, float in [-1, 1] or uint8.
        scale: whole number of pixels for each pixel.
        smooth: Lanczos instead of the nearest pixel.
        frame: which frame of a clip.

    Returns:
        PIL image, mode L for one channel, RGB for three.

    Raises:
        ValueError: if the shape, type, range, scale or frame number is wrong.
    """
    pixels = frames(picture)
    if not -len(pixels) <= frame < len(pixels):
        raise ValueError(f"the clip has {len(pixels)} frames; there is no frame {frame}")
    return to_pil(resize(pixels[frame], check_scale(scale), smooth))


def grid(images: Pixels, columns: int = 8, scale: int = 2, labels: Sequence[str] | None = None) -> Picture:
    """Images of a batch in rows, with an optional label over each.

    Args:
        images: ``(B, C, H, W)``, float in [-1, 1] or uint8, C 1 or 3.
        columns: images in a row.
        scale: whole number of pixels for each pixel.
        labels: one for each image.
    """
    if np.ndim(images) != 4:
        raise ValueError(f"expected a batch of images (B, C, H, W), got shape {tuple(np.shape(images))}")
    pairs = named({str(i): one for i, one in enumerate(images)})
    cells = [resize(pixels[0], check_scale(scale)) for _, pixels in pairs]
    if labels is not None and len(labels) != len(cells):
        raise ValueError(f"{len(labels)} labels came for {len(cells)} images")
    named_as = ": " + ", ".join(filter(None, labels)) if labels is not None and any(labels) else ""
    alt = f"{len(cells)} pictures in rows of {min(columns, len(cells))}{named_as}"
    return Picture(to_pil(tiles(cells, columns, labels)), "grid", alt)


def tiles(cells: Sequence[np.ndarray], columns: int, labels: Sequence[str] | None = None) -> np.ndarray:
    """Cells ``(H, W, C)`` uint8, all of one shape, set in rows; labels, if any, stand over them."""
    height, width, channels = cells[0].shape
    words = labels if labels and any(labels) else None
    head = HEAD if words else 0
    columns = max(1, min(columns, len(cells)))
    rows = -(-len(cells) // columns)
    canvas = np.full((rows * (height + head + GAP) - GAP, columns * (width + GAP) - GAP, channels), PAPER, np.uint8)
    for i, cell in enumerate(cells):
        top, left = (i // columns) * (height + head + GAP), (i % columns) * (width + GAP)
        if words:
            text(canvas, (left, top, width, head), words[i], "m")
        canvas[top + head : top + head + height, left : left + width] = cell
    return canvas


def strip(clips: Clips, every: int = 4, scale: int = 2, labels: Sequence[str] | None = None) -> Picture:
    """A contact sheet: each clip is a row, every so many frames, with frame numbers above.

    Args:
        clips: a clip ``(C, T, H, W)``, a batch ``(B, C, T, H, W)`` or a dict ``{label: clip}``; float in
            [-1, 1] or uint8. Rows may differ in length.
        every: show one frame in so many.
        scale: whole number of pixels for each pixel.
        labels: row labels, in place of the dict's names.

    Raises:
        ValueError: if a clip's shape, type or range is wrong (it is named) or the clips differ in size.
    """
    rows = named(clips, labels)
    if every < 1:
        raise ValueError(f"every must be at least 1, got {every}")
    scale = check_scale(scale)
    _, height, width, channels = rows[0][1].shape
    height, width = height * scale, width * scale
    numbers = range(0, max(len(row) for _, row in rows), every)
    wide = max(ImageFont.load_default(12).getlength(name) for name, _ in rows)
    margin = min(int(wide) + 8, 170) if wide else 0
    shape = (HEAD + len(rows) * (height + GAP) - GAP, margin + len(numbers) * (width + GAP) - GAP, channels)
    canvas = np.full(shape, PAPER, np.uint8)
    for j, k in enumerate(numbers):
        text(canvas, (margin + j * (width + GAP), 0, width, HEAD), str(k), "m")
    for i, (name, row) in enumerate(rows):
        top = HEAD + i * (height + GAP)
        if name:
            text(canvas, (0, top, margin - 6, height), name, "r")
        for j, k in enumerate(range(0, len(row), every)):
            left = margin + j * (width + GAP)
            canvas[top : top + height, left : left + width] = resize(row[k], scale)
    title = ", ".join(name for name, _ in rows if name) or "clip"
    alt = f"frames {', '.join(map(str, numbers))} from left to right; rows from top to bottom: {title}"
    return Picture(to_pil(canvas), title, alt)


def compare(clips: Mapping[str, Pixels], every: int = 4, scale: int = 2, against: str | None = None) -> Picture:
    """Labelled rows of clips that show the same thing, each followed by where it is wrong, if asked.

    Args:
        clips: ``{label: clip}``, each ``(C, T, H, W)`` with the same T, H, W.
        every, scale: as in `strip`.
        against: the label of the true clip; every other row then gets an error row below it: the absolute
            difference, black for none, bright for a quarter of the range from black to white or more.

    Raises:
        ValueError: if the clips differ in length or size, or ``against`` is not one of the labels.
    """
    rows = dict(named(clips))
    lengths = {name: len(row) for name, row in rows.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"clips to compare must have the same number of frames, got {lengths}")
    if against is not None and against not in rows:
        raise ValueError(f"against={against!r} is not a row; the rows are {', '.join(map(repr, rows))}")
    out = {}
    for name, row in rows.items():
        out[name] = row.transpose(3, 0, 1, 2)
        if against is not None and name != against:
            out[f"{name}: error"] = _error_map(row, rows[against])
    sheet = strip(out, every, scale)
    sheet.title = ", ".join(rows)
    return sheet


def _error_map(clip: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Two ``(T, H, W, C)`` uint8 clips to ``(3, T, H, W)`` uint8 colours of their absolute difference."""
    error = np.abs(clip.astype(np.float32) - truth).mean(axis=-1) / 255
    colours = matplotlib.colormaps["magma"](np.clip(error / 0.25, 0, 1), bytes=True)
    return colours[..., :3].transpose(3, 0, 1, 2)


def check_scale(scale: int) -> int:
    """``scale`` itself, if it is a whole number from 1 on; otherwise ValueError."""
    if scale != int(scale) or scale < 1:
        raise ValueError(f"scale must be a whole number from 1 on, got {scale}")
    return int(scale)
