"""Decoding: a video file as uint8 frames of one size, at one frame rate, without its black bars."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vg.data.scale import Scaler, Size

BAR = 24  # grey level up to which a row or column counts as black


class BadVideo(ValueError):
    """A file that holds no video that can be read. The message says what is wrong and what to do."""


@dataclass(frozen=True)
class Probe:
    """What a video file holds.

    Attributes:
        height, width: of a picture, in pixels, bars included.
        rate: frames a second, on average.
        seconds: how long it says it is, or None.
        box: (top, bottom, left, right), the picture without black bars, in pixels.
    """

    height: int
    width: int
    rate: float
    seconds: float | None
    box: tuple[int, int, int, int]


def probe(path: str | Path) -> Probe:
    """Look into a video file: its size, rate and length, and where its black bars are.

    Raises:
        BadVideo: if it is no video, or none of its frames can be decoded.
    """
    with _open(path) as file:
        stream = file.streams.video[0]
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        seconds = _seconds(file, stream)
        pictures = list(_samples(file, stream, seconds))
    if not pictures:
        raise BadVideo(f"{path} has a video stream without frames. Is the file whole? Copy it again.")
    if not rate:
        raise BadVideo(f"{path} does not say how many frames a second it has. Convert it to MP4.")
    return Probe(*pictures[0].shape, rate, seconds, _box(pictures))


def frames(
    path: str | Path, sizes: Sequence[Size], fps: float = 12.0, grey: bool = True, found: Probe | None = None
) -> Iterator[list[np.ndarray]]:
    """Decode a file once, for several sizes.

    Args:
        path: the video.
        sizes: heights and widths wanted; the picture without its bars is squeezed to each, nothing is cut off.
        fps: frames a second; a file with fewer repeats some. See ``picked_rate`` for what comes out.
        grey: one channel, else three (RGB).
        found: what ``probe`` said of the file, if it was asked already.

    Yields:
        each frame at every size: uint8 (C, H, W).

    Raises:
        BadVideo: if it is no video; or, once the readable frames are given, if the file is damaged there.
    """
    found = found or probe(path)
    scaler = Scaler((found.height, found.width), found.box, sizes, grey)
    before, pictures = None, []
    for frame in _at_rate(path, found.rate, fps):
        if frame is not before:  # else it is held
            before, pictures = frame, scaler(frame)
        yield pictures


def picked_rate(rate: float, fps: float) -> float:
    """Frames a second that come out when ``fps`` is asked of a file with ``rate``.

    Within 2% of a whole fraction of the file's own rate, every n-th frame is taken (23.976 gives 11.988
    for 12): a frame repeated or left out every minute would be seen as a jolt.
    """
    step = round(rate / fps)
    return rate / step if step and abs(rate / step - fps) < 0.02 * fps else fps


def _open(path: str | Path):
    try:
        file = av.open(str(path), metadata_errors="ignore")
    except av.error.FFmpegError as problem:
        raise BadVideo(
            f"{path} cannot be read as a video ({problem.strerror}). Give a video file, such as an MP4, "
            "and if it is one, see whether it was copied whole."
        ) from problem
    if not file.streams.video:
        held = ", ".join(s.type for s in file.streams) or "nothing"
        file.close()
        raise BadVideo(f"{path} holds no video, only {held}. Give a video file, such as an MP4.")
    file.streams.video[0].thread_type = "AUTO"
    return file


def _seconds(file, stream) -> float | None:
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    return file.duration / av.time_base if file.duration else None


def _samples(file, stream, seconds: float | None, count: int = 24) -> Iterator[np.ndarray]:
    """Some grey pictures from all over the file; from its beginning where it cannot be searched."""
    try:
        if not seconds:
            raise ValueError("its length is unknown")
        for k in range(count):
            file.seek(int(seconds * (k + 0.5) / count * av.time_base))
            yield next(file.decode(stream)).to_ndarray(format="gray")
    except (av.error.FFmpegError, StopIteration, ValueError):
        with _open(file.name) as again:
            try:
                for k, frame in enumerate(again.decode(video=0)):
                    if k == 240:
                        break
                    yield frame.to_ndarray(format="gray")
            except av.error.FFmpegError:
                return


def _box(pictures: list[np.ndarray]) -> tuple[int, int, int, int]:
    """The part of the picture that is ever lit. Bars of less than 1% are left: they are soft edges."""
    brightest = np.max(pictures, axis=0)
    height, width = brightest.shape
    rows, columns = (np.flatnonzero(np.percentile(brightest, 90, axis=a) > BAR) for a in (1, 0))
    if len(rows) < height // 4 or len(columns) < width // 4:
        return 0, height, 0, width  # an almost black video: nothing can be said of its bars
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    top, left = (n if n > 0.01 * side else 0 for n, side in ((top, height), (left, width)))
    bottom, right = (n if side - n > 0.01 * side else side for n, side in ((bottom, height), (right, width)))
    return top, bottom, left, right


def _at_rate(path: str | Path, rate: float, fps: float) -> Iterator[av.VideoFrame]:
    """The frames on show at 0, 1/fps, 2/fps, ... seconds after the first one."""
    got = picked_rate(rate, fps)
    step = rate / got
    every = round(step) if abs(step - round(step)) < 1e-9 else None
    shown, due, first, k, end = None, 0, None, 0, 0.0
    with _open(path) as file:
        stream = file.streams.video[0]
        if stream.base_rate and abs(float(stream.base_rate) / rate - 1) > 0.02:
            every = None  # frames that do not come at even times, whatever their average rate

        def decoded() -> Iterator[av.VideoFrame]:
            nonlocal end
            for packet in file.demux(stream):
                at = packet.dts if packet.pts is None else packet.pts
                if at is not None:
                    end = max(end, float((at + (packet.duration or 0)) * packet.time_base))
                yield from packet.decode()

        try:
            for k, frame in enumerate(decoded()):
                if every:
                    if k % every == 0:
                        yield frame
                    continue
                now = float(frame.time) if frame.time is not None else k / rate
                first = now if first is None else first
                while shown is not None and now - first > due / fps + 1e-6:
                    yield shown
                    due += 1
                shown = frame
        except av.error.FFmpegError as problem:
            raise BadVideo(f"{path} is damaged after frame {k} ({problem.strerror}). Copy it again.") from problem
        while shown is not None and due / fps < now - first + 1 / rate - 1e-6:  # the last frame has its time too
            yield shown
            due += 1
        _check_whole(path, file, stream, end)


def _check_whole(path: str | Path, file, stream, end: float) -> None:
    """Raise BadVideo where the file says that its video is longer than the ``end`` reached, in seconds."""
    if not end or (stream.duration is None and len(file.streams) > 1):
        return  # no clock, or only the length of the longest stream, which may be the sound
    seconds = _seconds(file, stream) or 0.0
    reached = end - float((stream.start_time or 0) * stream.time_base)
    if seconds - reached > max(0.5, 0.02 * seconds):
        raise BadVideo(f"{path} breaks off after {reached:.1f} of its {seconds:.1f} seconds. Copy it again.")


def resized(x: Tensor, size: Size) -> Tensor:
    """Pictures (T, C, H, W), uint8 or floats in [0, 255] -> uint8 (T, C, *size), antialiased."""
    if tuple(x.shape[-2:]) != tuple(size):
        x = F.interpolate(x.float(), size=tuple(size), mode="bilinear", antialias=True)
    return x.contiguous() if x.dtype == torch.uint8 else x.round().clamp(0, 255).byte()
