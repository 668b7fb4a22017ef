"""The frame store: a film decoded once, restored where it is old, memory-mapped from then on.

    frames.npy        uint8 (T, C, H, W)
    store.json        the settings, the frame rate, the shots
    checksums.json    of both

A store lies in ``data/cache/frames/``, in a folder named for its source and settings. It is complete or not there,
and made again where it is damaged (``vg.data.sealed``).
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from vg import atomic, paths
from vg.data.building import build
from vg.data.decode import FPS, MOST_FPS
from vg.data.pixels import to_unit
from vg.data.sealed import Sealed, opened
from vg.data.shots import Shot
from vg.data.sources import Source
from vg.paths import writable

FORMAT = 4
CARTOON_FRAMES = 1440  # two minutes
MOST_SIDE = 4096  # pixels of a store's frames


class Frames(Protocol):
    """uint8 (T, C, H, W): an array, or what gives one when it is indexed."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    @property
    def nbytes(self) -> int: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> np.ndarray: ...

    def __array__(self) -> np.ndarray: ...


@dataclass(frozen=True)
class FrameStore:
    """A film as frames. Made by ``open_store``.

    Attributes:
        frames: uint8 (T, C, H, W), 0 black to 255 white, read-only and memory-mapped. Of more than a gigabyte it is
            no array but gives one when indexed (``vg.data.sealed.Blocks``).
        fps: frames a second.
        shots: (start, stop) of each shot; together they cover every frame once.
        name: of the source.
        source_sha256: of the source.
        key: the settings, in words.
        folder: where it lies.
    """

    frames: Frames
    fps: float
    shots: list[Shot]
    name: str
    source_sha256: str
    key: str
    folder: Path

    def clip(self, start: int, stop: int) -> Tensor:
        """Frames ``start`` to ``stop`` as float (1, C, T, H, W) in [-1, 1]."""
        return to_unit(torch.from_numpy(self.frames[start:stop].copy()))[None]

    def __repr__(self) -> str:
        T, C, H, W = self.frames.shape
        kind = "grey" if C == 1 else "colour"
        return f"FrameStore({self.name!r}, {T} frames of {H}x{W} {kind}, {len(self.shots)} shots)"


def open_store(
    source: Source,
    size: int | tuple[int, int] = 64,
    fps: float = FPS,
    grey: bool = True,
    restore: bool | None = None,
    frames: int | None = None,
    partial: bool = False,
) -> FrameStore:
    """The frames of a source; decoded, cut into shots and restored the first time, reused afterwards.

    Args:
        source: from ``film``, ``video`` or ``drawn_cartoon``.
        size: height and width in pixels, or one number for both; the whole picture is squeezed to it.
        fps: frames a second. Where that is within 2% of every n-th frame of the file, these are taken.
        grey: one channel, else three.
        restore: take out flicker and sway (``vg.data.restoration``); default: what ``source.old`` says.
        frames: use the first so many only (the cartoon, which has no end: default 1440).
        partial: of a damaged file, keep what comes before the damage; a warning says how much that is.

    Raises:
        BadVideo: if the file is none, cannot be read, is damaged, or holds no frames. Nothing is left behind.
        ValueError: for a size, rate or number below 1.
        OSError: if the cache folder cannot be written; the message names it.
    """
    settings = _settings(source, size, fps, grey, restore, frames, partial)
    return _open(source, settings, lambda work, s: build(source, [s], [work]))


def open_stores(
    source: Source,
    wanted: Sequence[dict],
    fps: float = FPS,
    grey: bool = True,
    frames: int | None = None,
    partial: bool = False,
) -> list[FrameStore]:
    """Several stores of one source, for little more than the time of one: those not yet there share one decode.

        small, large, raw = open_stores(film(), [{"size": 64}, {"size": 128}, {"restore": False}])

    Args:
        source, fps, grey, frames, partial: as of ``open_store``, for all.
        wanted: ``size`` and ``restore`` of each store, as of ``open_store``; what is left out has its default.

    Returns:
        for each of ``wanted`` what ``open_store`` gives, to the last byte.

    Raises:
        what ``open_store`` raises.
    """
    every = [_settings(source, fps=fps, grey=grey, frames=frames, partial=partial, **one) for one in wanted]
    missing = [s for k, s in enumerate(every) if s not in every[:k] and not _folder(source, s).exists()]
    if len(missing) < 2:
        return [_open(source, s, lambda work, s: build(source, [s], [work])) for s in every]
    with ExitStack() as stack:
        folder = _folder(source, missing[0])
        with writable(folder.parent):
            work = stack.enter_context(atomic.workspace(folder))
            parts = [work / str(k) for k in range(len(missing))]
            for part in parts:
                part.mkdir()
            build(source, missing, parts)

        def take(folder: Path, settings: dict) -> None:
            if settings not in missing:  # it is there, but damaged
                return build(source, [settings], [folder])
            for file in parts[missing.index(settings)].iterdir():
                os.replace(file, folder / file.name)

        return [_open(source, s, take) for s in every]


def _settings(
    source: Source,
    size: int | tuple[int, int] = 64,
    fps: float = FPS,
    grey: bool = True,
    restore: bool | None = None,
    frames: int | None = None,
    partial: bool = False,
) -> dict:
    """What a store is made by, checked, defaults filled in."""
    if not (_whole(size) or (isinstance(size, Sequence) and len(size) == 2 and all(map(_whole, size)))):
        raise ValueError(f"open_store: size is {size!r}, expected one or two whole numbers from 1 to {MOST_SIDE:,}.")
    if not 0 < fps <= MOST_FPS:
        raise ValueError(f"open_store: fps is {fps}, expected above 0 and at most {MOST_FPS:g}.")
    if not (frames is None or (isinstance(frames, int) and frames >= 1)):
        raise ValueError(f"open_store: frames is {frames!r}, expected a whole number from 1 on, or None for all.")
    height, width = (size, size) if isinstance(size, int) else size
    restore = source.old if restore is None else restore
    if frames is None and source.path is None:
        frames = CARTOON_FRAMES
    return {
        "format": FORMAT,
        "source": source.sha256,
        "size": [height, width],
        "fps": float(fps),
        "grey": grey,
        "restored": restore,
        "frames": frames,
    } | ({"partial": True} if partial else {})


def _whole(side: object) -> bool:
    return isinstance(side, int) and not isinstance(side, bool) and 1 <= side <= MOST_SIDE


def _folder(source: Source, settings: dict) -> Path:
    name = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]
    height, width = settings["size"]
    return paths.cache_dir() / "frames" / f"{paths.shortened(source.name)}-{height}x{width}-{name}"


def _open(source: Source, settings: dict, make: Callable[[Path, dict], None]) -> FrameStore:
    """The store of these settings; ``make`` fills its folder with them where it is not there yet, or is damaged."""
    folder = _folder(source, settings)

    def filled(work: Path) -> None:
        with writable(folder.parent):
            make(work, settings)

    return opened(folder, filled, lambda kept: _read(kept, settings, source.name))


def _read(kept: Sealed, settings: dict, name: str) -> FrameStore:
    card, pixels = kept.card("store.json"), kept.array("frames.npy", np.uint8, 4)
    size, shots = settings["size"], [(int(start), int(stop)) for start, stop in card["shots"]]
    if card["settings"] != settings or pixels.shape[1:] != (1 if settings["grey"] else 3, *size):
        raise ValueError(f"other settings, or frames {pixels.shape}")
    starts, stops = [start for start, _ in shots], [stop for _, stop in shots]
    tiled = [*starts, len(pixels)] == [0, *stops] and all(start < stop for start, stop in shots)
    if not tiled or not 0 < card["fps"] < math.inf:
        raise ValueError(f"the shots do not tile its {len(pixels)} frames, or it has no frame rate")
    parts = [f"{size[0]}x{size[1]}", f"{settings['fps']:g} fps", "grey" if settings["grey"] else "colour"]
    parts += ["restored"] * settings["restored"]
    parts += [f"first {settings['frames']} frames"] * (settings["frames"] is not None)
    parts.append(kept.folder.name[-12:])  # of the settings and the way of restoring, so that caches notice a change
    return FrameStore(pixels, card["fps"], shots, name, settings["source"], ", ".join(parts), kept.folder)
