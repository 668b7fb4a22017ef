"""Many small pictures in one image, as small as a page wants it."""

from __future__ import annotations

import base64
import io
import math

import numpy as np
from PIL import Image

QUALITIES = (None, 95, 90, 85, 80, 70, 60, 50, 40, 30)  # of WebP, None for lossless
LIMIT = 70_000  # bytes; in the page they are 4/3 of that


def pack(pictures: np.ndarray, limit: int = LIMIT) -> dict:
    """Pictures in rows, in one WebP image: exact where that is small enough, otherwise the best quality that is.

    Args:
        pictures: ``(n, H, W, C)`` uint8, C 1 or 3.
        limit: bytes of the file.

    Returns:
        for a script's ``load``: ``src``, a data URI; ``width``, ``height`` of a picture; pictures ``across``.

    Raises:
        ValueError: if even the poorest quality is larger than ``limit``.
    """
    n, height, width, channels = pictures.shape
    across = min(n, math.ceil(math.sqrt(n * height / width)))
    rows = -(-n // across)
    canvas = np.zeros((rows * across, height, width, channels), np.uint8)
    canvas[:n] = pictures
    canvas = canvas.reshape(rows, across, height, width, channels).swapaxes(1, 2)
    canvas = canvas.reshape(rows * height, across * width, channels)
    image = Image.fromarray(np.broadcast_to(canvas, (*canvas.shape[:2], 3)).copy())
    for quality in QUALITIES:
        data = _webp(image, quality)
        if len(data) <= limit:
            source = "data:image/webp;base64," + base64.b64encode(data).decode()
            return {"src": source, "width": width, "height": height, "across": across}
    raise ValueError(f"{n} pictures of {height}x{width} are {len(data):,} bytes, {limit:,} at most: give fewer of them")


def unpack(sheet: dict, n: int) -> np.ndarray:
    """The ``n`` pictures of a sheet: ``(n, H, W, 3)`` uint8."""
    data = base64.b64decode(sheet["src"].partition(",")[2])
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    height, width, across = (sheet[name] for name in ("height", "width", "across"))
    pixels = pixels.reshape(-1, height, across, width, 3).swapaxes(1, 2)
    return pixels.reshape(-1, height, width, 3)[:n]


def _webp(image: Image.Image, quality: int | None) -> bytes:
    out = io.BytesIO()
    image.save(out, "WEBP", lossless=quality is None, quality=100 if quality is None else quality, method=4)
    return out.getvalue()
