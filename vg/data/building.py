"""From a source to frame stores: the film decoded once for all of them, and restored shot by shot meanwhile.

    the file ─ decoded, scaled ─┬─ small pictures ─ shots ─┐
                                └─ work pictures, on disk ─┴─ each shot measured and corrected ─ each store's size

Decoding runs in FFmpeg's threads, restoring in threads of its own, and all that waits lies on disk, so that a long film
needs no more memory than a short one.
"""

import json
import math
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from vg.data import decode
from vg.data.restoration import corrected, measure, restore
from vg.data.scale import Size
from vg.data.shots import Shot, shots_in
from vg.data.sources import Source
from vg.progress import tqdm
from vg.synthetic import draw_cartoon
from vg.threads import one_thread

SMALL = (64, 64)  # pixels at which shots are found
WORK = 256  # pixels at which old film is restored, at least: sway is a fraction of a pixel
FRAMES, CARD = "frames.npy", "store.json"


def build(source: Source, wanted: Sequence[dict], folders: Sequence[Path]) -> None:
    """Fill each folder with a store: ``frames.npy``, and ``store.json``, which is written last.

    Args:
        source: from ``film``, ``video`` or ``drawn_cartoon``.
        wanted: settings of each store; all have the same ``fps``, ``grey``, ``frames`` and ``partial``.
        folders: empty ones, on one disk.

    Raises:
        BadVideo: if the file is none, is damaged, or holds no frames.
    """
    if source.path is None:
        for settings, folder in zip(wanted, folders):
            _draw(settings, folder)
    else:
        with one_thread() as threads:
            _Film(source, source.path, wanted, folders).build(threads)


def _draw(settings: dict, folder: Path) -> None:
    drawn = draw_cartoon(settings["frames"], tuple(settings["size"]), settings["fps"])
    pixels = drawn.frames if settings["grey"] else drawn.frames.repeat(1, 3, 1, 1)
    if settings["restored"]:
        pixels = torch.cat([restore(pixels[start:stop])[0] for start, stop in drawn.shots])
    np.save(folder / FRAMES, pixels.numpy())
    _write_card(folder, settings, settings["fps"], drawn.shots)


def _write_card(folder: Path, settings: dict, fps: float, shots: list[Shot]) -> None:
    card = {"settings": settings, "fps": fps, "shots": shots}
    (folder / CARD).write_text(json.dumps(card, indent=1))


@dataclass(frozen=True)
class _Raw:
    """Frames in a file of nothing but pixels, read one by one and not mapped: what was mapped counts as memory.

    Attributes:
        shape: (T, C, H, W) of those looked at.
        first: of them.
    """

    path: Path
    shape: tuple[int, int, int, int]
    first: int = 0

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        size = math.prod(self.shape[1:])
        with self.path.open("rb") as file:
            file.seek(self.first * size)
            for _ in range(len(self)):
                yield np.frombuffer(file.read(size), np.uint8).reshape(self.shape[1:])

    def save(self, path: Path) -> None:
        """All of them as a ``.npy`` file."""
        with path.open("wb") as out, self.path.open("rb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": self.shape}
            np.lib.format.write_array_header_1_0(out, header)
            shutil.copyfileobj(file, out, 1 << 20)


class _Film:
    """What ``build`` does with a file."""

    def __init__(self, source: Source, path: Path, wanted: Sequence[dict], folders: Sequence[Path]):
        self.path, self.wanted, self.folders = path, wanted, folders
        self.grey, self.limit = wanted[0]["grey"], wanted[0]["frames"]
        self.channels = 1 if self.grey else 3
        self.found = decode.probe(path)
        self.fps = decode.picked_rate(self.found.rate, wanted[0]["fps"])
        top, bottom, left, right = self.found.box
        self.there = (bottom - top, right - left)
        self.restored = list(dict.fromkeys(tuple(s["size"]) for s in wanted if s["restored"]))
        plain = [tuple(s["size"]) for s in wanted if not s["restored"]]
        measured = [self._measured()] if self.restored else []
        self.decoded = list(dict.fromkeys([*plain, *measured, *map(self._work, self.restored)]))
        self.bar = tqdm(desc=f"frames of {source.name}", unit="frame", total=self._expected())
        self.bar.bar_format = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total_fmt} [{elapsed}<{remaining}]"

    def build(self, threads: int) -> None:
        shots, jobs = [], []
        with self.bar, ExitStack() as stack:
            pool = ThreadPoolExecutor(threads)
            stack.callback(pool.shutdown, cancel_futures=True)
            for size in self.restored:
                self._file(size, restored=True).touch()
            for shot in shots_in(self._small()):
                shots.append(shot)
                if self.restored:
                    jobs.append(pool.submit(self._restore, shot))
                _raise_early(jobs)
            if not shots:
                raise decode.BadVideo(f"{self.path} holds no frames. Is the file whole? Copy it again.")
            self.bar.total = shots[-1][1]  # what a file says of its length is not always exact
            for job in jobs:
                job.result()
        for settings, folder in zip(self.wanted, self.folders):
            self._frames(tuple(settings["size"]), (0, shots[-1][1]), settings["restored"]).save(folder / FRAMES)
            _write_card(folder, settings, self.fps, shots)
        for file in self.folders[0].glob("*.raw"):
            file.unlink()

    def _small(self) -> Iterator[np.ndarray]:
        """Decode: frames go to disk at all sizes, and small ones to whoever looks for shots."""
        sizes = [SMALL, *self.decoded]
        with ExitStack() as stack:
            partial = self.wanted[0].get("partial", False)
            frames = stack.enter_context(
                closing(decode.frames(self.path, sizes, self.fps, self.grey, self.found, partial))
            )
            files = [stack.enter_context(self._file(size).open("wb")) for size in self.decoded]
            for small, *pictures in islice(frames, self.limit):
                for file, picture in zip(files, pictures):
                    file.write(np.ascontiguousarray(picture).data)
                    file.flush()  # whoever restores the shot reads it from the disk
                self._advance(0.5 if self.restored else 1)
                yield small

    def _restore(self, shot: Shot) -> None:
        found = measure(self._frames(self._measured(), shot))
        for work in dict.fromkeys(map(self._work, self.restored)):
            sizes = [size for size in self.restored if self._work(size) == work]
            with ExitStack() as stack:
                files = [stack.enter_context(self._file(size, restored=True).open("rb+")) for size in sizes]
                for size, file in zip(sizes, files):
                    file.seek(shot[0] * self.channels * math.prod(size))
                for frame, gain, sway in zip(self._frames(work, shot), found.gain, found.sway):
                    clean = torch.from_numpy(corrected(frame, gain, sway))[None]
                    for size, file in zip(sizes, files):
                        file.write(decode.resized(clean, size).numpy())
        self._advance((shot[1] - shot[0]) / 2)

    def _advance(self, frames: float) -> None:
        with self.bar.get_lock():
            self.bar.update(frames)

    def _work(self, size: Size) -> Size:
        """Where frames are restored: at twice their size, if the file has as much; enlarging would only soften them."""
        height, width = (max(n, min(max(WORK, 2 * n), side)) for n, side in zip(size, self.there))
        return height, width

    def _measured(self) -> Size:
        """Where flicker and sway are measured, for all sizes alike."""
        height, width = self.there
        return min(WORK, height), min(WORK, width)

    def _file(self, size: Size, restored: bool = False) -> Path:
        return self.folders[0] / f"{size[0]}x{size[1]}{'-restored' * restored}.raw"

    def _frames(self, size: Size, shot: Shot, restored: bool = False) -> _Raw:
        return _Raw(self._file(size, restored), (shot[1] - shot[0], self.channels, *size), shot[0])

    def _expected(self) -> int | None:
        total = None if self.found.seconds is None else round(self.found.seconds * self.fps)
        return total if self.limit is None else min(self.limit, total or self.limit)


def _raise_early(jobs: list[Future]) -> None:
    """What went wrong in a thread, at once, not at the end of the film."""
    for job in jobs:
        if job.done():
            job.result()
