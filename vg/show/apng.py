"""Small animated PNGs: what a static page shows of a clip.

A page such as GitHub's draws ``image/png`` outputs with ``<img>``, and browsers animate an APNG there. Film
at
64x64, three pixels for each, 32 frames: 80 to 90 kB with 32 grey levels written frame by frame, 50 to 65 kB
    as
written here, where a pixel is drawn again only when it has moved away from what stands on the screen.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image

from vg.show.pixels import palette

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def encode(
    frames: Sequence[np.ndarray], fps: float, colours: int = 32, hold: int = 6, limit: int | None = None
) -> bytes | None:
    """Write frames as an endless APNG with one palette (APNG specification 1.0; one frame gives a plain PNG).

    Args:
        frames: ``(H, W, 1 or 3)`` uint8, all of one shape; any object with ``len`` and ``[k]``.
        fps: frames a second. The last frame stays half a second longer, so that one sees where the clip ends.
        colours: grey levels, or colours of the palette for RGB; at most 255.
        hold: a pixel keeps what it shows until it differs by more than this (0 to 255). Unlike a threshold
            from
            frame to frame this cannot drift: what is shown is never off by more than ``hold`` plus the
                palette's step.
        limit: give up as soon as the file passes so many bytes.

    Returns:
        the file, or None where it passes ``limit``.
    """
    count, (height, width, channels) = len(frames), frames[0].shape
    table, to_index = _grey(colours) if channels == 1 else _adaptive(frames, colours)
    out = [SIGNATURE, _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))]
    if count > 1:
        out.append(_chunk(b"acTL", struct.pack(">II", count, 0)))
    out += [_chunk(b"PLTE", bytes(3) + table), _chunk(b"tRNS", b"\0")]  # index 0: leave the pixel as it is
    size, sequence = sum(map(len, out)), 0
    for k, indices in enumerate(_updates(frames, to_index, hold)):
        rows = np.zeros((height, width + 1), np.uint8)  # each row starts with its filter: 0, none
        rows[:, 1:] = indices
        data = zlib.compress(rows.tobytes(), 9)
        if count > 1:
            delay = round(1000 / fps) + (500 if k == count - 1 else 0)
            out.append(_chunk(b"fcTL", struct.pack(">IIIIIHHBB", sequence, width, height, 0, 0, delay, 1000, 0, 1)))
            sequence += 1
        if k == 0:
            out.append(_chunk(b"IDAT", data))
        else:
            out.append(_chunk(b"fdAT", struct.pack(">I", sequence) + data))
            sequence += 1
        size += len(data) + 54
        if limit is not None and size > limit:
            return None
    return b"".join([*out, _chunk(b"IEND", b"")])


def _updates(frames: Sequence[np.ndarray], to_index: Callable, hold: int) -> Iterator[np.ndarray]:
    """For each frame ``(H, W)`` uint8: the palette index of every pixel that changes, 0 where it stays."""
    shown = indices = None
    for k in range(len(frames)):
        frame = frames[k].astype(np.int16)
        moved = np.True_ if shown is None else (np.abs(frame - shown) > hold).any(-1, keepdims=True)
        shown = frame if shown is None else np.where(moved, frame, shown)
        before, indices = indices, to_index(shown.astype(np.uint8)) + np.uint8(1)
        yield indices if before is None else np.where(indices == before, np.uint8(0), indices)


def _grey(levels: int) -> tuple[bytes, Callable]:
    """A palette of even grey levels, and the function from pixels ``(H, W, 1)`` to its indices."""
    top = levels - 1
    table = np.rint(np.arange(256) / 255 * top).astype(np.uint8)
    return bytes(round(i * 255 / top) for i in range(levels) for _ in range(3)), lambda frame: table[frame[..., 0]]


def _adaptive(frames: Sequence[np.ndarray], colours: int) -> tuple[bytes, Callable]:
    """A palette from the first, middle and last frame, and the function from RGB pixels to its indices."""
    sample = np.concatenate([frames[k] for k in sorted({0, len(frames) // 2, len(frames) - 1})])
    chosen = palette(sample, colours)

    def to_index(frame: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(frame).quantize(palette=chosen, dither=Image.Dither.NONE))

    return bytes(chosen.getpalette()[: 3 * colours]), to_index


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
