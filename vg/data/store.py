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
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from vg import paths
from vg.data import decode
from vg.data.cartoon import cartoon as draw
from vg.data.restore import restore as restore_shot
from vg.data.sealed import Blocks, Sealed, opened, writing
from vg.data.shots import Shot, find_shots
from vg.data.sources import Source

FORMAT = 2
SMALL = 64  # pixels, the copy on which shots are found
WORK = 256  # pixels at which old film is restored, at least: sway is a fraction of a pixel
CARTOON_FRAMES = 1440  # two minutes


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

    frames: np.ndarray | Blocks
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


def to_unit(frames: Tensor) -> Tensor:
    """uint8 (..., T, C, H, W) -> float (..., C, T, H, W) in [-1, 1]."""
    return frames.float().div(127.5).sub(1).movedim(-4, -3)


def to_uint8(clip: Tensor) -> Tensor:
    """float (..., C, T, H, W) in [-1, 1] -> uint8 (..., T, C, H, W); what lies beyond is clipped."""
    return clip.add(1).mul(127.5).round().clamp(0, 255).byte().movedim(-3, -4)


def open_store(
    source: Source,
    size: int | tuple[int, int] = 64,
    fps: float = 12.0,
    grey: bool = True,
    restore: bool | None = None,
    frames: int | None = None,
) -> FrameStore:
    """The frames of a source; decoded, cut into shots and restored the first time, reused afterwards.

    Args:
        source: from ``film``, ``video`` or ``cartoon``.
        size: height and width in pixels, or one number for both; the whole picture is squeezed to it.
        fps: frames a second. Where that is within 2% of every n-th frame of the file, these are taken.
        grey: one channel, else three.
        restore: take out flicker and sway (``vg.data.restore``); default: what ``source.old`` says.
        frames: use the first so many only (the cartoon, which has no end: default 1440).

    Raises:
        BadVideo: if the file is none, is damaged, or holds no frames. Nothing is left behind.
        ValueError: for a size, rate or number below 1.
        OSError: if the cache folder cannot be written; the message names it.
    """
    size = (size, size) if isinstance(size, int) else tuple(size)
    restore = source.old if restore is None else restore
    if frames is None and source.path is None:
        frames = CARTOON_FRAMES
    if min(size) < 1 or fps <= 0 or (frames is not None and frames < 1):
        raise ValueError(f"open_store: size {size}, fps {fps} and frames {frames} must all be above 0.")
    settings = {
        "format": FORMAT,
        "source": source.sha256,
        "size": list(size),
        "fps": float(fps),
        "grey": grey,
        "restored": restore,
        "frames": frames,
    }
    name = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]
    folder = paths.cache_dir() / "frames" / f"{source.name}-{size[0]}x{size[1]}-{name}"

    def make(work: Path) -> None:
        with writing(folder.parent):
            _build(source, settings, work)

    return opened(folder, make, lambda kept: _read(kept, settings, source.name))


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


def _build(source: Source, settings: dict, folder: Path) -> None:
    size, fps, grey = tuple(settings["size"]), settings["fps"], settings["grey"]
    if source.path is None:
        drawn = draw(settings["frames"], size, fps)
        pixels, shots = drawn.frames.numpy(), drawn.shots
        pixels = pixels if grey else pixels.repeat(3, 1)
    else:
        found = decode.probe(source.path)
        pixels, shots = _decode(source, found, settings, folder)
        fps = decode.picked_rate(found.rate, fps)
    if settings["restored"]:
        pixels = _restored(pixels, shots, size)
    np.save(folder / "frames.npy", pixels)
    del pixels  # it may be a view of work.npy, and Windows deletes no file that is in use
    (folder / "work.npy").unlink(missing_ok=True)
    card = {"settings": settings, "fps": fps, "shots": shots, "bytes": (folder / "frames.npy").stat().st_size}
    (folder / "store.json").write_text(json.dumps(card, indent=1))


def _decode(source: Source, found: decode.Probe, settings: dict, folder: Path) -> tuple[np.ndarray, list[Shot]]:
    """The frames, at the size for restoring if they will be, and their shots."""
    size = tuple(settings["size"])
    if settings["restored"]:
        top, bottom, left, right = found.box
        there = (bottom - top, right - left)  # enlarging a small video would only soften it
        size = tuple(max(n, min(max(WORK, 2 * n), side)) for n, side in zip(size, there))
    limit, small, count = settings["frames"], [], 0
    raw = folder / "work.npy"  # on disk: a long film need not fit into memory
    bar = tqdm(desc=f"decoding {source.name}", unit="frame", total=_expected(found, settings))
    with raw.open("wb") as out, bar:
        for batch in decode.frames(source.path, size, settings["fps"], settings["grey"], found):
            batch = batch if limit is None else batch[: limit - count]
            out.write(batch.numpy().tobytes())
            small.append(decode.resized(batch, (SMALL, SMALL)).numpy())
            count += len(batch)
            bar.update(len(batch))
            if count == limit:
                break
    if not count:
        raise decode.BadVideo(f"{source.path} holds no frames. Is the file whole? Copy it again.")
    channels = 1 if settings["grey"] else 3
    pixels = np.memmap(raw, np.uint8, "r", shape=(count, channels, *size))
    return pixels, find_shots(np.concatenate(small))


def _expected(found: decode.Probe, settings: dict) -> int | None:
    total = None if found.seconds is None else round(found.seconds * decode.picked_rate(found.rate, settings["fps"]))
    return total if settings["frames"] is None else min(settings["frames"], total or settings["frames"])


def _restored(pixels: np.ndarray, shots: list[Shot], size: tuple[int, int]) -> np.ndarray:
    out = np.empty((*pixels.shape[:2], *size), np.uint8)
    with tqdm(total=len(pixels), desc="restoring", unit="frame") as bar:
        for start, stop in shots:
            clean, _ = restore_shot(torch.from_numpy(np.array(pixels[start:stop])))
            for k in range(0, stop - start, 256):  # in parts: floats of a long shot are large
                out[start + k : min(stop, start + k + 256)] = decode.resized(clean[k : k + 256], size).numpy()
            bar.update(stop - start)
    return out
