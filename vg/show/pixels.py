"""From the course's tensors to pixels: checks, 8-bit conversion, scaling, labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LAYOUTS = "(C, T, H, W), (C, H, W) or (H, W) with C 1 or 3, float in [-1, 1] or uint8"
INK, PAPER = 60, 255  # grey levels of labels and of the space between pictures


def frames(video) -> np.ndarray:
    """The frames of a clip (or the one frame of a picture) as 8-bit pixels.

    Args:
        video: tensor or array, ``(C, T, H, W)``, ``(1, C, T, H, W)``, ``(C, H, W)`` or ``(H, W)`` with C 1
            or 3; float in [-1, 1] (a little overshoot is clipped) or uint8.

    Returns:
        ``(T, H, W, C)`` uint8.

    Raises:
        ValueError: if the shape, the type or the range is another one; the sentence says what was expected.
    """
    pixels = _array(video)
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
    return np.ascontiguousarray(_to_uint8(pixels).transpose(1, 2, 3, 0))


def _array(video) -> np.ndarray:
    """Tensor (any device, any float type) or array-like as a numpy array."""
    if hasattr(video, "detach"):
        video = video.detach().cpu()
        if video.is_floating_point():
            video = video.float()
    return np.asarray(video)


def _to_uint8(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype == np.uint8:
        return pixels
    if not np.issubdtype(pixels.dtype, np.floating):
        raise ValueError(f"expected float in [-1, 1] or uint8, got {pixels.dtype}")
    low, high = float(pixels.min()), float(pixels.max())
    if not np.isfinite(low + high):
        raise ValueError("the picture holds NaN or infinite values")
    if max(-low, high) > 8:
        raise ValueError(f"expected float in [-1, 1], got values from {low:.1f} to {high:.1f}: 0..255 is for uint8")
    return np.rint((np.clip(pixels, -1, 1) + 1) * 127.5).astype(np.uint8)


def named(clips, labels: Sequence[str] | None = None) -> list[tuple[str, np.ndarray]]:
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


def resize(frame: np.ndarray, scale: float, smooth: bool = False) -> np.ndarray:
    """Scale one frame ``(H, W, C)`` uint8; nearest pixel (or Lanczos if ``smooth``) up, box average down."""
    if scale == 1:
        return frame
    height, width = (max(1, round(side * scale)) for side in frame.shape[:2])
    if scale > 1 and not smooth and scale == int(scale):
        return frame.repeat(int(scale), axis=0).repeat(int(scale), axis=1)
    how = Image.Resampling.BOX if scale < 1 else Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST
    return np.asarray(to_pil(frame).resize((width, height), how)).reshape(height, width, -1)


def to_pil(frame: np.ndarray) -> Image.Image:
    """``(H, W, 1 or 3)`` uint8 as a PIL image, mode L or RGB."""
    return Image.fromarray(np.ascontiguousarray(frame[..., 0] if frame.shape[-1] == 1 else frame))


def palette(sample: np.ndarray, colours: int) -> Image.Image:
    """A palette for RGB pixels that keeps grey film grey: even greys, the rest fitted to what has colour.

    Args:
        sample: ``(..., 3)`` uint8.
        colours: size of the palette, at most 256.

    Returns:
        a PIL image of mode P, for ``Image.quantize(palette=...)``.
    """
    pixels = sample.reshape(-1, 3)
    is_grey = np.ptp(pixels, axis=1) <= 8
    greys = colours if is_grey.all() else colours // 2 if is_grey.any() else 2
    chosen = [round(i * 255 / (greys - 1)) for i in range(greys) for _ in range(3)]
    if greys < colours:
        tinted = Image.fromarray(np.ascontiguousarray(pixels[~is_grey][None]))
        chosen += tinted.quantize(colours - greys, dither=Image.Dither.NONE).getpalette()
    holder = Image.new("P", (1, 1))
    holder.putpalette(chosen[: 3 * colours])
    return holder


def text(canvas: np.ndarray, box: tuple[int, int, int, int], words: str, align: str = "l") -> None:
    """Write ``words`` into ``canvas`` ``(H, W, C)`` uint8, in place.

    The type shrinks from 12 to 8 pixels to fit the box ``(left, top, width, height)``; longer words are cut.

    Args:
        align: ``"l"`` left, ``"m"`` middle, ``"r"`` right.
    """
    left, top, width, height = box
    canvas[top : top + height, left : left + width] = _label(words, width, height, align)[..., None]


@lru_cache(maxsize=256)
def _label(words: str, width: int, height: int, align: str) -> np.ndarray:
    """The label as ``(height, width)`` uint8; kept, since a player asks for it at every frame."""
    for size in (12, 11, 10, 9, 8):
        font = ImageFont.load_default(size)
        if font.getlength(words) <= width:
            break
    while words and font.getlength(words) > width:
        words = words[:-1].rstrip()
    layer = Image.new("L", (width, height), PAPER)
    x = {"l": 0, "m": width / 2, "r": width}[align]
    ImageDraw.Draw(layer).text((x, height / 2), words, fill=INK, font=font, anchor=f"{align}m")
    return np.asarray(layer)
