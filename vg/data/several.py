"""Several films as one: their files found, their frame stores joined."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from vg.data.shots import Shot, Split, split_shots, validation_and_test
from vg.data.sources import Source, video, videos_in
from vg.data.store import Frames, FrameStore


def videos(paths: Iterable[str | os.PathLike], announced: bool = True) -> list[Source]:
    """Video files, and folders of them, in the order given; those of a folder by name.

    Args:
        paths: files and folders.
        announced: say what a folder leaves out, and refuse a film that is there twice; not again for films that were
            taken once.

    Raises:
        FileNotFoundError: if there is no such file, or a folder holds no video.
        ValueError: if a file is given twice, or nothing is.
    """
    found: list[Source] = []
    for path in (Path(each).expanduser() for each in paths):
        files = videos_in(path) if path.is_dir() else [path]
        if not files:
            raise FileNotFoundError(f"{path} holds no videos. Give video files, or a folder of them.")
        found += [video(file) for file in files]
        if path.is_dir() and announced:
            _say_what_is_left_out(path, files)
    if announced:
        _check_each_is_another(found)
    if not found:
        raise ValueError("give a video file, several, or a folder of them.")
    return found


def _say_what_is_left_out(folder: Path, files: list[Path]) -> None:
    others = sorted(p.name + "/" * p.is_dir() for p in folder.iterdir() if p.name[0] != "." and p not in files)
    if others:
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        text = f"{folder}: read {len(files)}; left out {', '.join(others[:5])}{more}"
        print(text.encode(errors="backslashreplace").decode())


def _check_each_is_another(sources: list[Source]) -> None:
    """Raise ValueError for a film that is there twice, also as a copy or by another path."""
    seen: dict[object, Path] = {}
    sizes = [source.path.stat().st_size for source in sources if source.path]
    for source in sources:
        assert source.path is not None  # videos have one
        alone = sizes.count(source.path.stat().st_size) == 1
        path, content = source.path, source.path if alone else source.sha256  # of files of one size all is read
        if content in seen:
            other = f"as {seen[content]}" if seen[content] != path else "twice"
            raise ValueError(f"{path} is given {other}: what is learned from would be measured, too.")
        seen[content] = path


class Joined:
    """Frames of several stores one after another: uint8 (T, C, H, W). Slices and rows are NumPy arrays."""

    def __init__(self, parts: Sequence[Frames]):
        if len({part.shape[1:] for part in parts}) != 1:
            raise ValueError(f"frames of different sizes cannot be joined: {[part.shape for part in parts]}")
        self._parts = list(parts)
        self._edges = np.cumsum([0, *(len(part) for part in parts)])
        self.shape: tuple[int, ...] = (int(self._edges[-1]), *parts[0].shape[1:])
        self.dtype, self.ndim = parts[0].dtype, 4
        self.nbytes = sum(part.nbytes for part in parts)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        rows, rest = (index[0], index[1:]) if isinstance(index, tuple) else (index, ())
        wanted = np.arange(len(self))[rows]
        if wanted.ndim == 0:
            k = int(np.searchsorted(self._edges, wanted, side="right")) - 1
            return self._parts[k][(int(wanted - self._edges[k]), *rest)]
        made = np.empty((len(wanted), *self.shape[1:]), self.dtype)
        for k, part in enumerate(self._parts):
            here = (self._edges[k] <= wanted) & (wanted < self._edges[k + 1])
            if here.any():
                made[here] = part[wanted[here] - self._edges[k]]
        return made[(slice(None), *rest)]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self[:], dtype, copy=copy)


def joined(stores: Sequence[FrameStore]) -> FrameStore:
    """Stores of several films as one, of which every film begins with a new shot.

    Args:
        stores: of frames of one size, at rates within 2% of each other.

    Raises:
        ValueError: if there are none, or their sizes or rates differ.
    """
    if not stores:
        raise ValueError("no frame stores to join")
    first = stores[0]
    if len(stores) == 1:
        return first
    if any(abs(store.fps / first.fps - 1) > 0.02 for store in stores):
        raise ValueError(f"films at {sorted({round(s.fps, 2) for s in stores})} frames a second cannot be joined.")
    starts = np.cumsum([0, *(len(store.frames) for store in stores)]).tolist()
    shots = [(a + start, b + start) for store, start in zip(stores, starts) for a, b in store.shots]
    names = hashlib.sha256("".join(store.source_sha256 for store in stores).encode()).hexdigest()
    return replace(
        first,
        frames=Joined([store.frames for store in stores]),
        shots=shots,
        name=f"{first.name}-and-{len(stores) - 1}-more",
        source_sha256=names,
        key="; ".join(dict.fromkeys(store.key for store in stores)),
    )


def split_films(stores: Sequence[FrameStore], shortest: int = 36) -> Split:
    """``split_shots`` of each film, and of the frames of all joined.

    What the films hold out together is divided into validation and test. A film too short to be divided trains. Where
    that holds for all of them, the last ones are held out as a whole, a tenth of the frames or more, as long as some
    are left to train on.

    Args:
        stores: in the order in which they are joined.
        shortest: frames of a shot that is held out.
    """
    train: list[Shot] = []
    held: list[Shot] = []
    starts = np.cumsum([0, *(len(store.frames) for store in stores)]).tolist()
    for store, start in zip(stores, starts):
        split = split_shots(store.shots, shortest=shortest)
        train += [(a + start, b + start) for a, b in split.train]
        held += [(a + start, b + start) for a, b in split.held_out]
    if held or len(stores) == 1:
        return Split(train, *validation_and_test(held))
    frames, total = 0, starts[-1]
    for store, start in reversed(list(zip(stores[1:], starts[1:]))):
        if frames >= total / 10 or max(b - a for a, b in store.shots) < shortest:
            continue
        mine = [shot for shot in train if start <= shot[0] < start + len(store.frames)]
        train, held, frames = [shot for shot in train if shot not in mine], mine + held, frames + len(store.frames)
    return Split(train, *validation_and_test(held))
