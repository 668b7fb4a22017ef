"""Videos that tests make: pictures that say their number, at any times, in any container."""

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

H264 = {"crf": "10", "preset": "ultrafast"}
OPTIONS = {
    "libx264": H264,
    "libx265": {"x265-params": "log-level=none", "preset": "ultrafast"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "20"},
    "mpeg4": {"qscale": "3"},
}


def numbered(count: int, first: int = 0, height: int = 32, width: int = 64) -> np.ndarray:
    """Pictures that say their number in eight columns, one a bit: uint8 (T, height, width)."""
    bits = (np.arange(first, first + count)[:, None] >> np.arange(8)) & 1
    columns = (60 + 160 * bits).astype(np.uint8).repeat(width // 8, 1)
    return np.broadcast_to(columns[:, None], (count, height, width))


def numbers(pictures: np.ndarray) -> list[int]:
    """What pictures (T, 1, H, W) of ``numbered`` say, at any size."""
    columns = pictures.mean((1, 2)).reshape(len(pictures), 8, -1).mean(2)
    return ((columns > 140) << np.arange(8)).sum(1).tolist()


def write(
    path: Path,
    pictures: Sequence[np.ndarray],
    times: Iterable[int],
    base: Fraction = Fraction(1, 1000),
    codec: str = "libx264",
    rate: Fraction | int = 30,
    prepare: Callable = lambda stream: None,
    sound: float = 0.0,
    **options: str,
) -> Path:
    """Pictures, grey (H, W) or RGB (H, W, 3), at ``times``, counted in ``base`` seconds; the suffix says the container.

    Args:
        rate: what the stream says of its frame rate, which need not be so.
        prepare: called with the stream before anything is encoded.
        sound: seconds of silence beside it.
        options: the encoder's, instead of the usual.
    """
    index_first = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options={"fflags": "bitexact"} | index_first) as file:
        stream = file.add_stream(codec, rate=rate, options=OPTIONS.get(codec, {}) | options)
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.time_base = stream.codec_context.time_base = base
        stream.height, stream.width = pictures[0].shape[:2]
        prepare(stream)
        silence = file.add_stream("aac", rate=8000, layout="mono") if sound else None
        for time, picture in zip(times, pictures):
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(picture), format="gray" if picture.ndim == 2 else "rgb24"
            )
            frame.pts, frame.time_base = time, base
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
        for k in range(round(8000 * sound / 1024)):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 8000, 1024 * k, Fraction(1, 8000)
            file.mux(silence.encode(frame))
        if silence:
            file.mux(silence.encode(None))
    return path
