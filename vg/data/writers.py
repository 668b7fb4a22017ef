"""Clips to files: MP4 (H.264), GIF and APNG. A file is complete or it is not there.

A clip is float ``(C, T, H, W)`` in [-1, 1], or uint8 ``(C, T, H, W)`` in [0, 255], with one channel (grey) or
three (RGB). Floats beyond the range are clipped: a decoder may overshoot.
"""

import glob
import itertools
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image
from torch import Tensor

from vg import atomic
from vg.data import apng
from vg.data.decode import MOST_FPS
from vg.data.palette import Palette
from vg.data.pixels import resize, to_uint8
from vg.data.video_file import quiet_threads

SLOWEST = 0.01  # frames a second: a GIF holds a frame for up to 655 seconds
MOST_SIDE = 16_384  # pixels of a picture, enlarged: x264's limit
FASTEST_GIF = 50  # frames a second: browsers slow down what is faster


def save(path: str | os.PathLike, video: Tensor, fps: float = 12, scale: int = 1) -> Path:
    """Write a clip; the suffix says how: ``.mp4``, ``.gif``, or ``.png`` and ``.apng`` (animated PNG).

    Args:
        path: where to; its folder is made if need be. An older file is replaced once the new one is whole.
        video: ``(C, T, H, W)``, float in [-1, 1] or uint8 in [0, 255], C 1 or 3.
        fps: frames a second.
        scale: whole factor by which to enlarge (Lanczos), so that small clips can be seen.

    Returns:
        the path.

    Raises:
        ValueError: for another suffix or shape, a rate or scale out of range, for NaN, and for no frames.
        TypeError: for another dtype.
        OSError: if it cannot be written; the message names the file.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in WRITERS:
        raise ValueError(f"{path}: the suffix {suffix!r} is none of {', '.join(WRITERS)}.")
    return WRITERS[suffix](path, video, fps, scale)


def write_video(path: str | os.PathLike, video: Tensor, fps: float = 12, scale: int = 1) -> Path:
    """Write MP4: H.264, yuv420p, which every browser plays. Odd sizes are padded by repeating the edge.

    The same clip gives the same bytes.

    Arguments and errors as for ``save``.
    """
    frames = _frames(video, fps, scale)
    frames = np.pad(frames, [(0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)], mode="edge")
    frames = np.broadcast_to(frames, (*frames.shape[:3], 3))
    quiet_threads()
    with _whole(path) as temporary, av.open(str(temporary), "w", "mp4", {"movflags": "faststart"}) as out:
        stream = out.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.color_range = ColorRange.MPEG
        stream.codec_context.colorspace = Colorspace.ITU601
        stream.codec_context.thread_count = 1  # the same file on every machine
        # x264's macroblock tree reads beside small pictures where it is vectorized: no two files would be alike
        stream.options = {"crf": "14", "preset": "slow", "tune": "animation", "mbtree": "0"}
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    return Path(path)


def write_gif(path: str | os.PathLike, video: Tensor, fps: float = 12, scale: int = 1, colours: int = 255) -> Path:
    """Write a GIF that loops: one palette for the whole clip and no dither, so that still places stay still.

    Up to ``colours`` different greys or colours are kept exactly; more become the nearest of so many.
    A GIF's clock counts hundredths of a second: each frame is held so that the whole lasts as it should. Of more than
    50 frames a second every second, third, ... is shown.

    Args:
        path, video, fps, scale: as for ``save``.
        colours: from 2 to 255. Film grain compresses badly: 64 greys take about half the bytes.

    Raises:
        ValueError, TypeError: as ``save``; also for ``colours`` outside their range.
    """
    if not 2 <= colours <= 255:
        raise ValueError(f"colours is {colours}; a GIF's palette here has 2 to 255.")
    frames = _frames(video, fps, scale)
    total, step = len(frames), math.ceil(fps / FASTEST_GIF)
    frames = frames[::step]
    chosen = Palette(frames, colours)
    indices, palette = _part_twins(chosen(frames), chosen.table)
    images = [Image.fromarray(frame).convert("P") for frame in indices]
    for image in images:
        image.putpalette(palette.tobytes())
    ticks = [round(100 * min(i * step, total) / fps) for i in range(len(frames) + 1)]
    durations = [10 * max(2, after - before) for before, after in itertools.pairwise(ticks)]  # less is played as more
    with _whole(path) as temporary:
        images[0].save(
            temporary,
            "GIF",
            save_all=True,
            append_images=images[1:],
            duration=durations,
            loop=0,
            palette=palette.tobytes(),
            optimize=True,
        )
    return Path(path)


def write_apng(path: str | os.PathLike, video: Tensor, fps: float = 12, scale: int = 1) -> Path:
    """Write an animated PNG that loops: exact pixels, and a still picture where only PNG is understood.

    Arguments and errors as for ``save``.
    """
    frames = _frames(video, fps, scale)
    frames = frames[..., :1] if _is_grey(frames) else frames
    with _whole(path) as temporary, temporary.open("wb") as file:
        file.writelines(apng.exact(list(frames), fps))
    return Path(path)


WRITERS = {".mp4": write_video, ".gif": write_gif, ".png": write_apng, ".apng": write_apng}


def _frames(video: Tensor, fps: float, scale: int) -> np.ndarray:
    """Check a clip and turn it into uint8 frames ``(T, H, W, C)``, enlarged ``scale`` times."""
    video = torch.as_tensor(video).detach().cpu()
    if video.ndim != 4 or video.shape[0] not in (1, 3) or 0 in video.shape:
        hint = " Of a batch (B, C, T, H, W), write one clip: video[0]." if video.ndim == 5 else ""
        raise ValueError(
            f"A clip has the shape (C, T, H, W), with 1 or 3 channels and at least one frame; "
            f"this one has {tuple(video.shape)}.{hint}"
        )
    if not SLOWEST <= fps <= MOST_FPS:
        raise ValueError(f"fps is {fps}; it must be from {SLOWEST:g} to {MOST_FPS:g}.")
    most = MOST_SIDE // max(video.shape[2:])
    if not (1 <= scale <= most and scale == int(scale)):
        height, width = video.shape[2:]
        raise ValueError(
            f"scale is {scale}; for pictures of {height}x{width} it must be a whole number from 1 to {most} "
            f"(vg.data.writers.MOST_SIDE is {MOST_SIDE:,})."
        )
    if video.is_floating_point():
        if video.isnan().any():
            raise ValueError("The clip holds NaN: look at the model that made it.")
        frames = to_uint8(video)
    elif video.dtype == torch.uint8:
        frames = video.movedim(0, 1)
    else:
        raise TypeError(f"A clip is float in [-1, 1] or uint8 in [0, 255]; this one is {video.dtype}.")
    pixels = frames.movedim(1, 3).contiguous().numpy()
    return pixels if scale == 1 else np.stack([resize(frame, scale, smooth=True) for frame in pixels])


def _is_grey(frames: np.ndarray) -> bool:
    return bool((frames == frames[..., :1]).all())


def _part_twins(indices: np.ndarray, palette: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Make neighbouring frames differ: of two equal ones Pillow writes one, and the clip would lose a frame.

    The second of two equal frames gets another colour in its last pixel: the nearest in the palette, where a
    neighbour one level away is added if there is room.
    """
    for before, frame in itertools.pairwise(indices):
        if np.array_equal(before, frame):
            own = palette[frame[-1, -1]]
            neighbour = np.where(own < 255, own + 1, 254).astype(np.uint8)
            if len(palette) < 255:
                palette = np.concatenate([palette, neighbour[None]])
            distance = np.abs(palette.astype(int) - own.astype(int)).sum(1)
            distance[distance == 0] = 10_000  # the colour itself, under any of its numbers
            frame[-1, -1] = distance.argmin()
    return indices, palette


@contextmanager
def _whole(path: str | os.PathLike) -> Iterator[Path]:
    """A path to write to, whose file takes the name ``path`` if all goes well and is removed if not."""
    _sweep(Path(path))
    try:
        with atomic.replacing(Path(path)) as partial:
            yield partial
    except OSError as problem:
        reason = problem.strerror or problem
        raise OSError(f"{path} cannot be written ({reason}). Make room there, or choose another place.") from problem


def _sweep(path: Path) -> None:
    """Remove what killed processes left beside ``path`` of files with its suffix: their names may never come again."""
    suffix = path.suffix
    for name in glob.glob(f".*{glob.escape(suffix)}.*", root_dir=path.parent, include_hidden=True):
        made = re.fullmatch(rf"\.(.+{re.escape(suffix)})\.[a-z0-9_]{{8}}({re.escape(atomic.GONE)})?", name)
        if made and (path.parent / name / atomic.HELD).exists():  # the folder is not ours: only what surely is one
            atomic.sweep(path.parent / made[1])
