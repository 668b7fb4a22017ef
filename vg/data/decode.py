"""Decoding: a video file as uint8 frames of the sizes wanted, at one frame rate, upright and without black bars.

``vg.data.video_file`` opens the file, ``vg.data.clock`` reads its time stamps, ``vg.data.pictures`` decodes it, and
``vg.data.scale`` turns, crops and scales.
"""

import warnings
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vg.data.clock import Clock, scan
from vg.data.pictures import samples, shown, upright
from vg.data.scale import Scaler, Size
from vg.data.video_file import COPY, MOST_PIXELS, BadVideo

BAR = 24  # grey level up to which a row or column counts as black
MOST_FRAMES = 2_000_000  # that come out of one file: 46 hours at 12 a second
FPS = 12.0  # frames a second at which film is read, unless another rate is asked for
MOST_FPS = 1000.0  # frames a second that can be asked for

__all__ = ["BadVideo", "Probe", "frames", "picked_rate", "probe", "resized"]


@dataclass(frozen=True)
class Probe:
    """What a video file holds.

    Attributes:
        height, width: of a picture as it is shown, in pixels, bars included.
        rate: frames a second; None where they come at uneven times.
        seconds: from the first picture to the end of the last, or None where the file has no time stamps.
        box: (top, bottom, left, right), the picture without black bars, in pixels.
        orientation: how pictures are stored, from 1 (upright) to 8, as EXIF counts.
        clock: the time stamps; ``clock.damage`` says what of the file is missing.
    """

    height: int
    width: int
    rate: float | None
    seconds: float | None
    box: tuple[int, int, int, int]
    orientation: int
    clock: Clock = field(repr=False)


def probe(path: str | Path) -> Probe:
    """Look into a video file: its size, rate and length, and where its black bars are.

    Its time stamps are all read, which takes about as long as copying the file; few pictures are decoded.

    Raises:
        BadVideo: if it is no video, none of its frames can be decoded, or it passes a limit.
    """
    clock, brightest, orientation = scan(path), None, 1
    for picture, orientation in samples(path, clock):
        picture = upright(picture, orientation)
        if brightest is None:
            brightest, turned = picture.copy(), orientation
        elif picture.shape == brightest.shape:  # the size may change on the way: the first counts
            np.maximum(brightest, picture, out=brightest)
    if brightest is None:
        raise BadVideo(
            f"{path} has a video stream without frames that can be decoded: they are damaged, or have more than "
            f"{MOST_PIXELS:,} pixels (vg.data.video_file.MOST_PIXELS). Is the file whole? {COPY}"
        )
    height, width = brightest.shape
    return Probe(height, width, clock.rate, clock.end, _box(brightest), turned, clock)


def frames(
    path: str | Path,
    sizes: Sequence[Size],
    fps: float = FPS,
    grey: bool = True,
    found: Probe | None = None,
    partial: bool = False,
) -> Generator[list[np.ndarray], None, None]:
    """Decode a file once, for several sizes.

    Args:
        path: the video.
        sizes: heights and widths wanted; the picture without its bars is squeezed to each, nothing is cut off.
        fps: frames a second; a file with fewer repeats some. See ``picked_rate`` for what comes out.
        grey: one channel, else three (RGB).
        found: what ``probe`` said of the file, if it was asked already.
        partial: of a damaged file, keep what comes before the damage; a warning says how much that is.

    Yields:
        each frame at every size: uint8 (C, H, W).

    Raises:
        BadVideo: if it is no video or would give more than ``MOST_FRAMES``; or, once the sound frames are given, if
            the file is damaged there. ``vg.data.pictures.shown`` says what counts as damage.
        ValueError: if ``fps`` is not above 0, or above ``MOST_FPS``.
    """
    if not 0 < fps <= MOST_FPS:
        raise ValueError(f"fps is {fps:g}, expected above 0 and at most {MOST_FPS:g} (vg.data.decode.MOST_FPS).")
    found = found or probe(path)
    got = picked_rate(found.rate, fps)
    if found.seconds is not None and found.seconds * got > MOST_FRAMES:
        raise BadVideo(
            f"{path} would give {found.seconds * got:,.0f} frames at {got:g} a second, more than {MOST_FRAMES:,}. Take "
            "a part of it, or raise vg.data.decode.MOST_FRAMES."
        )
    stored = (found.height, found.width) if found.orientation < 5 else (found.width, found.height)
    scaler = Scaler(stored, found.box, sizes, grey, found.orientation)
    before, pictures, count = None, [], 0
    try:
        for frame in _at_rate(path, found.clock, got):
            if frame is not before:  # else it is held
                before, pictures = frame, scaler(frame)
            yield pictures
            count += 1
    except BadVideo as damage:
        if not count:
            raise
        if not partial:
            raise BadVideo(
                f"{damage} Or keep the {count} frames before, with open_store(..., partial=True), or --frames {count}."
            ) from damage
        warnings.warn(f"{damage} What is before is kept: {count} frames, {count / got:.1f} seconds.", stacklevel=2)


def picked_rate(rate: float | None, fps: float) -> float:
    """Frames a second that come out when ``fps`` is asked of a file with ``rate``, None for uneven times.

    Within 2% of a whole fraction of the file's own rate, every n-th frame is taken (23.976 gives 11.988
    for 12): a frame repeated or left out every minute would be seen as a jolt. Else, and where frames come at uneven
    times, it is ``fps``, and each frame is the one on show at its time.
    """
    step = round(rate / fps) if rate else 0
    return rate / step if rate and step and abs(rate / step - fps) < 0.02 * fps else fps


def on_show(
    pictures: Iterable[tuple[float, av.VideoFrame]], rate: float, end: float | None, last_for: float, tick: float
) -> Iterator[av.VideoFrame]:
    """The picture on show at 0, 1/rate, 2/rate, ... seconds.

    Args:
        pictures: with their times in seconds, in order.
        rate: frames a second.
        end: of the last picture, in seconds; None to have it stay ``last_for`` seconds.
        tick: a picture this much late is in time: time stamps are rounded.

    Raises:
        BadVideo: what ``pictures`` raises, once all that was on show before is given.
    """
    last, now, due, damage = None, 0.0, 0, None
    try:
        for now, picture in pictures:
            while last is not None and due / rate < now - tick:
                yield last
                due += 1
            last = picture
    except BadVideo as problem:
        damage, end = problem, now + 2 * tick  # for how long the last one would have stayed cannot be known
    end = now + last_for if end is None else end
    while last is not None and due / rate < end - tick:
        yield last
        due += 1
    if damage:
        raise damage


def _at_rate(path: str | Path, clock: Clock, rate: float) -> Iterator[av.VideoFrame]:
    if clock.rate is not None:
        return on_show(shown(path, clock), rate, end=None, last_for=1 / clock.rate, tick=1e-6)
    return on_show(shown(path, clock), rate, clock.end, last_for=0.0, tick=min(clock.tick, 1e-3))


def _box(brightest: np.ndarray) -> tuple[int, int, int, int]:
    """The part of the picture that is ever lit. Bars of less than 1% are left: they are soft edges."""
    height, width = brightest.shape
    rows, columns = (np.flatnonzero(np.percentile(brightest, 90, axis=a) > BAR) for a in (1, 0))
    if len(rows) < height // 4 or len(columns) < width // 4:
        return 0, height, 0, width  # an almost black video: nothing can be said of its bars
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    top, left = (n if n > 0.01 * side else 0 for n, side in ((top, height), (left, width)))
    bottom, right = (n if side - n > 0.01 * side else side for n, side in ((bottom, height), (right, width)))
    return top, bottom, left, right


def resized(x: Tensor, size: Size) -> Tensor:
    """Pictures (T, C, H, W), uint8 or floats in [0, 255] -> uint8 ``(T, C, *size)``, antialiased."""
    if tuple(x.shape[-2:]) != tuple(size):
        x = F.interpolate(x.float(), size=tuple(size), mode="bilinear", antialias=True)
    return x.contiguous() if x.dtype == torch.uint8 else x.round().clamp(0, 255).byte()
