"""Animated PNGs, small or exact (APNG specification 1.0). Pillow packs each frame; here they are put together.

Pillow writes APNGs too, but merges equal frames, and writes whole ones where a few pixels changed. Film at 64x64, three
pixels for each, 32 frames: 80 to 90 kB with 32 grey levels written frame by frame, 50 to 65 kB as written here, where a
pixel is drawn again only when it has moved away from what stands on the screen.
"""

import io
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction

import numpy as np
from PIL import Image

from vg.data.palette import Palette
from vg.data.pixels import to_pil

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER = (b"IHDR", b"PLTE", b"tRNS")  # chunks of the first frame that hold for all


def encode(
    frames: Sequence[np.ndarray], fps: float, colours: int = 32, hold: int = 6, limit: int | None = None
) -> bytes | None:
    """A small APNG with one palette, for a page; one frame gives a plain PNG.

    Args:
        frames: ``(H, W, 1 or 3)`` uint8, all of one shape; any object with ``len`` and ``[k]``.
        fps: frames a second. The last frame stays half a second longer, so that one sees where the clip ends.
        colours: grey levels, or colours of the palette for RGB; at most 255.
        hold: a pixel keeps what it shows until it differs by more than this (0 to 255). Unlike a threshold from frame
            to frame this cannot drift: what is shown is never off by more than ``hold`` plus the palette's step.
        limit: give up as soon as the file passes so many bytes.

    Returns:
        the file, or None where it passes ``limit``.
    """
    if frames[0].shape[-1] == 1:
        chosen = Palette(np.arange(256, dtype=np.uint8)[:, None], colours)
    else:
        ends = sorted({0, len(frames) // 2, len(frames) - 1})
        chosen = Palette(np.concatenate([frames[k] for k in ends]), colours)
    every = (frames[k] for k in range(len(frames)))
    size, parts = 0, []
    for part in assembled(_updates(every, chosen, hold), len(frames), fps, rest=0.5):
        parts.append(part)
        size += len(part)
        if limit is not None and size > limit:
            return None
    return b"".join(parts)


def exact(frames: Sequence[np.ndarray], fps: float) -> Iterator[bytes]:
    """The parts of an APNG with exactly the pixels of ``frames``, ``(H, W, 1 or 3)`` uint8: write them one by one."""
    return assembled(map(to_pil, frames), len(frames), fps)


def assembled(images: Iterable[Image.Image], count: int, fps: float, rest: float = 0.0) -> Iterator[bytes]:
    """The parts of a file that shows ``images`` for ever: of one size and mode, drawn over each other.

    Args:
        images: ``count`` of them. Of mode P, the first colour is no colour: where it stands, the pixel stays as it was.
        count: how many; of one, a plain PNG is made.
        fps: frames a second.
        rest: seconds that the last one stays longer.
    """
    yield SIGNATURE
    sequence = 0
    for k, image in enumerate(images):
        data = b""
        for kind, body in _chunks(image):
            if k == 0 and kind in HEADER:
                yield _chunk(kind, body)
            data += body if kind == b"IDAT" else b""
        if k == 0 and count > 1:
            yield _chunk(b"acTL", struct.pack(">II", count, 0))
        if count > 1:
            delay = Fraction(1 / fps + (rest if k == count - 1 else 0)).limit_denominator(65_535)
            delay = delay if delay.numerator < 65_536 else Fraction(round(delay))
            box = (sequence, *image.size, 0, 0, delay.numerator, delay.denominator, 0, int(image.mode == "P"))
            yield _chunk(b"fcTL", struct.pack(">IIIIIHHBB", *box))
            sequence += 1
        if k == 0:
            yield _chunk(b"IDAT", data)
        else:
            yield _chunk(b"fdAT", struct.pack(">I", sequence) + data)
            sequence += 1
    yield _chunk(b"IEND", b"")


def _updates(frames: Iterable[np.ndarray], chosen: Palette, hold: int) -> Iterator[Image.Image]:
    """For each frame an image of mode P: the colour of every pixel that changes, and index 0 where it stays."""
    shown: np.ndarray | None = None
    indices: np.ndarray | None = None
    for frame in frames:
        now = frame.astype(np.int16)
        if shown is not None:
            now = np.where((np.abs(now - shown) > hold).any(-1, keepdims=True), now, shown)
        shown, before, indices = now, indices, chosen(now.astype(np.uint8)) + np.uint8(1)
        image = Image.fromarray(indices if before is None else np.where(indices == before, np.uint8(0), indices))
        image.putpalette(bytes(3) + chosen.table.tobytes())
        yield image


def _chunks(image: Image.Image) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG that holds the image, with their names."""
    out = io.BytesIO()
    options = {"transparency": 0, "compress_level": 9} if image.mode == "P" else {}
    image.save(out, "PNG", **options)
    data, at = out.getvalue(), len(SIGNATURE)
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, data[at + 8 : at + 8 + length]
        at += 12 + length


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
