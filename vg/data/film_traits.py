"""What a film is like, found by looking at a few stretches of it: its shape, its colours, its age."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from vg.data.clock import Clock
from vg.data.decode import probe
from vg.data.restoration import measure
from vg.data.sources import Source
from vg.data.video_file import decoder_options, opened

STRETCHES = 6  # from all over the film
FRAMES = 24  # of each
SIDE = 128  # pixels at which they are looked at
COLOURFUL = 4.0  # levels of 255 by which chroma is off grey, on average over a picture, from which a film is in colour
FLICKERING = 0.006  # mean change of brightness from its running median, as a share, from which film is old


@dataclass(frozen=True)
class Traits:
    """What ``traits`` found.

    Attributes:
        height, width: of the upright picture without black bars, in square pixels.
        colour: whether it has colours; grey film in a colour stream has none.
        old: whether the light flickers as that of old film does, so that it is restored by default.
        chroma: levels of 255 by which the most colourful stretch is off grey.
        flicker: the median stretch's mean change of brightness, as a share; 0 if none has ``FRAMES`` frames.
    """

    height: int
    width: int
    colour: bool
    old: bool
    chroma: float
    flicker: float

    def describe(self) -> str:
        """One line: ``720x446, in colour, steady``."""
        return (
            f"{self.width}x{self.height}, {'in colour' if self.colour else 'grey'}, {'old' if self.old else 'steady'}"
        )


def traits(source: Source) -> Traits:
    """Look at a film.

    Args:
        source: a file, or the cartoon, which is square, grey and steady.

    Raises:
        BadVideo: if it is no video, or none of its frames can be decoded.
    """
    if source.path is None:
        return Traits(64, 64, colour=False, old=source.old, chroma=0.0, flicker=0.0)
    found = probe(source.path)
    top, bottom, left, right = found.box
    height, width = float(bottom - top), float(right - left)
    chroma, flicker, aspect = _stretches(source.path, found.clock)
    if found.orientation < 5:
        width *= aspect
    else:
        height *= aspect
    shape = round(height), round(width)
    old = source.old or flicker >= FLICKERING
    return Traits(*shape, colour=chroma >= COLOURFUL, old=old, chroma=round(chroma, 2), flicker=round(flicker, 5))


def _stretches(path: Path, clock: Clock) -> tuple[float, float, float]:
    """Chroma, flicker and the shape of a pixel (width by height)."""
    chroma, last = 0.0, -math.inf
    flickers: list[float] = []
    with opened(path) as (file, stream):
        stream.codec_context.options = decoder_options()
        aspect = float(stream.sample_aspect_ratio or 1) or 1.0
        start = float((stream.start_time or 0) * (stream.time_base or 0))
        for k in range(STRETCHES):
            wanted = start + (clock.end or 0.0) * (k + 0.5) / STRETCHES
            greys: list[np.ndarray] = []
            try:
                if clock.end:
                    file.seek(int(wanted * av.time_base))
                for frame in _not_before(file.decode(stream), wanted, last):
                    last = max(last, frame.time or 0.0)
                    small = frame.reformat(SIDE, SIDE, format="yuv444p").to_ndarray()  # (3, H, W)
                    if not greys:
                        chroma = max(chroma, float(np.abs(small[1:].astype(int) - 128).mean()))
                    greys.append(small[:1])
                    if len(greys) == FRAMES:
                        break
            except av.error.FFmpegError:
                continue  # a damaged stretch says nothing; whoever decodes the film says where it is
            if len(greys) == FRAMES:
                gain = measure(np.stack(greys)).gain
                flickers.append(float(np.abs(gain - 1).mean()))
    return chroma, float(np.median(flickers)) if flickers else 0.0, aspect


def _not_before(frames: Iterator[av.VideoFrame], wanted: float, last: float) -> Iterator[av.VideoFrame]:
    """The frames from a key frame on; if it was looked at already, as key frames are few, those from ``wanted`` on."""
    first = next(frames, None)
    if first is None:
        return
    if first.time is None or first.time > last:
        yield first
    yield from (f for f in frames if f.time is None or first.time is None or first.time > last or f.time >= wanted)


def size_of(short: int, height: int, width: int, multiple: tuple[int, int] = (1, 1)) -> tuple[int, int]:
    """Height and width of a picture of ``height`` x ``width`` whose shorter side is brought to ``short``.

    Both are rounded to whole multiples, of which the picture is squeezed to the nearest: nothing is cut off.

    Example:
        >>> size_of(64, 446, 720, multiple=(8, 8))
        (64, 104)
    """
    scale = short / min(height, width)
    sides = [max(1, round(side * scale / m)) * m for side, m in zip((height, width), multiple)]
    return sides[0], sides[1]
