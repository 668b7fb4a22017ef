"""From the course's tensors to pixels: checks, 8-bit conversion, scaling, labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vg.data.pixels import to_uint8

LAYOUTS = "(C, T, H, W), (C, H, W) or (H, W) with C 1 or 3, float in [-1, 1] or uint8"
Pixels: TypeAlias = Tensor | np.ndarray | Sequence  # of a picture, a clip or a batch of them
Clips: TypeAlias = Pixels | Mapping[str, Pixels]  # one, a batch, or several by name
INK, PAPER = 60, 255  # grey levels of labels and of the space between pictures
LARGEST, SMALLEST = 12, 8  # pixels, of the type of labels


def frames(video: Pixels) -> np.ndarray:
    """The frames of a clip (or the one frame of a picture) as 8-bit pixels.

    Args:
        video: tensor or array, ``(C, T, H, W)``, ``(1, C, T, H, W)``, ``(C, H, W)`` or ``(H, W)`` with C 1
            or 3; float in [-1, 1] (a little overshoot is clipped) or uint8.

    Returns:
        ``(T, H, W, C)`` uint8.

    Raises:
        ValueError: if the shape, the type or the range is another one; the sentence says what was expected.
    """
    pixels = to_array(video)
    if pixels.ndim == 5 and pixels.shape[0] == 1:
        pixels = pixels[0]
    if pixels.ndim == 2:
        pixels = pixels[None, None]
    elif pixels.ndim == 3:
        pixels = pixels[:, None]
    if pixels.ndim == 5:
        raise ValueError(
            f"a batch of {pixels.shape[0]} clips came where one clip {LAYOUTS} was expected: "
            "pick one (video[0]) or hand the batch to player() or strip()"
        )
    if pixels.ndim != 4 or pixels.shape[0] not in (1, 3):
        hint = ""
        if pixels.ndim == 4 and pixels.shape[1] in (1, 3):
            hint = "; this looks like (T, C, H, W): call .swapaxes(0, 1) on it"
        raise ValueError(f"expected {LAYOUTS}, got shape {tuple(np.shape(video))}{hint}")
    if 0 in pixels.shape:
        raise ValueError(f"the picture is empty: shape {tuple(np.shape(video))}")
    if pixels.dtype != np.uint8:
        _check_range(pixels)
        return to_uint8(torch.from_numpy(pixels)).movedim(1, 3).contiguous().numpy()
    return np.ascontiguousarray(pixels.transpose(1, 2, 3, 0))


def _check_range(pixels: np.ndarray) -> None:
    if not np.issubdtype(pixels.dtype, np.floating):
        raise ValueError(f"expected float in [-1, 1] or uint8, got {pixels.dtype}")
    low, high = float(pixels.min()), float(pixels.max())
    if not np.isfinite(low + high):
        raise ValueError("the picture holds NaN or infinite values")
    if max(-low, high) > 8:
        raise ValueError(f"expected float in [-1, 1], got values from {low:.1f} to {high:.1f}: 0..255 is for uint8")


def to_array(video: Pixels) -> np.ndarray:
    """Tensor (any device, any float type) or array-like as a numpy array."""
    if hasattr(video, "detach"):
        video = video.detach().cpu()
        if video.is_floating_point():
            video = video.float()
    return np.asarray(video)


def named(clips: Clips, labels: Sequence[str] | None = None) -> list[tuple[str, np.ndarray]]:
    """One clip, a batch ``(B, C, T, H, W)``, or a dict of clips, as ``[(label, (T, H, W, C) uint8)]``.

    Grey clips are made RGB when they stand beside RGB ones.

    Raises:
        ValueError: if there is no clip, a clip has a wrong shape (it is named), the pictures differ in
            height or width, or there are not as many labels as clips.
    """
    if isinstance(clips, Mapping):
        pairs = [(str(name), clip) for name, clip in clips.items()]
    elif np.ndim(clips) == 5:
        pairs = [("", clip) for clip in clips]
    else:
        pairs = [("", clips)]
    if not pairs:
        raise ValueError("there is no clip to show: the dict or the batch is empty")
    if labels is not None:
        if len(labels) != len(pairs):
            raise ValueError(f"{len(labels)} labels came for {len(pairs)} clips")
        pairs = [(str(label), clip) for label, (_, clip) in zip(labels, pairs)]
    rows = []
    for name, clip in pairs:
        try:
            rows.append((name, frames(clip)))
        except ValueError as error:
            raise ValueError(f"clip {name!r}: {error}" if name else str(error)) from None
    sizes = {row.shape[1:3] for _, row in rows}
    if len(sizes) > 1:
        found = ", ".join(f"{name!r} {row.shape[1]}x{row.shape[2]}" for name, row in rows)
        raise ValueError(f"clips shown together must have one height and width, got {found}")
    channels = max(row.shape[3] for _, row in rows)
    return [(name, np.broadcast_to(row, (*row.shape[:3], channels))) for name, row in rows]


def text(canvas: np.ndarray, box: tuple[int, int, int, int], words: str, align: str = "l") -> None:
    """Write ``words`` into ``canvas`` ``(H, W, C)`` uint8, in place.

    The type shrinks from ``LARGEST`` to ``SMALLEST`` to fit the box ``(left, top, width, height)``; longer
    words are cut.

    Args:
        align: ``"l"`` left, ``"m"`` middle, ``"r"`` right.
    """
    left, top, width, height = box
    canvas[top : top + height, left : left + width] = _label(words, width, height, align)[..., None]


def fits(words: str, width: int) -> bool:
    """Whether ``text`` writes all of ``words`` into so many pixels."""
    return ImageFont.load_default(SMALLEST).getlength(words) <= width


@lru_cache(maxsize=256)
def _label(words: str, width: int, height: int, align: str) -> np.ndarray:
    """The label as ``(height, width)`` uint8; kept, since a player asks for it at every frame."""
    for size in range(LARGEST, SMALLEST - 1, -1):
        font = ImageFont.load_default(size)
        if font.getlength(words) <= width:
            break
    while words and font.getlength(words) > width:
        words = words[:-1].rstrip()
    layer = Image.new("L", (width, height), PAPER)
    x = {"l": 0, "m": width / 2, "r": width}[align]
    ImageDraw.Draw(layer).text((x, height / 2), words, fill=INK, font=font, anchor=f"{align}m")
    return np.asarray(layer)
