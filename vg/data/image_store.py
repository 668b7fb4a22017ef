"""Images decoded once into one array per split, memory-mapped from then on.

    train.npy  test.npy                  uint8 (N, C, H, W)
    train-labels.npy  test-labels.npy    int64 (N,)
    images.json                          classes, settings, sha256 of all pixels and labels
    checksums.json                       of all these

It lies in ``data/cache/images/``, in a folder named for its source and settings. It is complete or not there, and made
again where it is damaged (``vg.data.sealed``).
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vg import paths
from vg.data.sealed import Blocks, Sealed, opened
from vg.paths import writable
from vg.progress import Bar, tqdm

FORMAT = 1
SPLITS = ("train", "test")
Item = tuple[str, int, np.ndarray]  # split, place in it, uint8 (C, H, W)


@dataclass(frozen=True)
class Contents:
    """What is to be stored.

    Attributes:
        classes: their names.
        labels: ``{"train": int64 (N,), "test": int64 (N,)}``.
        items: the pictures, in any order, each once.
    """

    classes: tuple[str, ...]
    labels: dict[str, np.ndarray]
    items: Iterable[Item]


@dataclass(frozen=True)
class Stored:
    """What is stored.

    Attributes:
        folder: where it lies.
        classes: their names.
        sha256: hex digest of all pixels and labels.
        pixels: of each split, uint8 (N, C, H, W), read-only and memory-mapped; of more than a gigabyte, `Blocks`.
        labels: of each split, int64 (N,).
    """

    folder: Path
    classes: tuple[str, ...]
    sha256: str
    pixels: dict[str, np.ndarray | Blocks]
    labels: dict[str, np.ndarray]


def stored(name: str, size: int, source: dict, make: Callable[[], Contents], verb: str = "decoding") -> Stored:
    """The arrays; decoded the first time, and anew when the source is another.

    Args:
        name: of the set; part of the folder's name.
        size: height and width in pixels.
        source: all else that the pixels depend on, as JSON.
        make: called where there is something to fill.
        verb: on the progress bar.

    Raises:
        OSError: if the cache folder cannot be written; the message names it.
        Exception: whatever ``make`` and its items raise; nothing is left behind.
    """
    settings = {"format": FORMAT, "name": name, "size": size, **source}
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
    folder = paths.cache_dir() / "images" / f"{name}-{size}x{size}-{key}"

    def fill(work: Path) -> None:
        contents = make()
        total = sum(map(len, contents.labels.values()))
        with writable(folder.parent):
            room = shutil.disk_usage(work).free
            if room < (need := total * 3 * size * size + 10_000_000):
                raise OSError(errno.ENOSPC, f"{need / 1e6:.0f} MB are needed and {room / 1e6:.0f} MB are free")
            arrays = _empty(work, contents.labels, size)
        with tqdm(
            desc=f"{verb} {name}", total=total, unit="image", delay=1.0, mininterval=0.5
        ) as bar:  # a second: not worth a bar
            _fill(arrays, contents.items, bar)
        with writable(folder.parent):
            for array in arrays.values():
                array.flush()
            _finish(work, {"settings": settings, "classes": list(contents.classes)})

    return opened(folder, fill, lambda kept: _read(kept, settings))


def _read(kept: Sealed, settings: dict) -> Stored:
    facts = kept.card("images.json")
    pixels = {split: kept.array(f"{split}.npy", np.uint8, 4) for split in SPLITS}
    labels = {split: np.array(kept.array(f"{split}-labels.npy", np.int64, 1)) for split in SPLITS}
    classes, size = tuple(map(str, facts["classes"])), settings["size"]
    if facts["settings"] != json.loads(json.dumps(settings)):
        raise ValueError("other settings")
    for split in SPLITS:
        known = np.isin(labels[split], range(len(classes)))
        if pixels[split].shape != (len(known), 3, size, size) or not known.all():
            raise ValueError(f"the {split} images {pixels[split].shape} and their labels {known.shape} do not fit")
    return Stored(kept.folder, classes, str(facts["sha256"]), pixels, labels)


def _empty(folder: Path, labels: dict[str, np.ndarray], size: int) -> dict[str, np.memmap]:
    """Write the labels, and make the arrays for the pixels of each split."""
    arrays = {}
    for split in SPLITS:
        np.save(folder / f"{split}-labels.npy", labels[split].astype(np.int64))
        shape = (len(labels[split]), 3, size, size)
        arrays[split] = np.lib.format.open_memmap(folder / f"{split}.npy", "w+", np.uint8, shape)
        _reserve(folder / f"{split}.npy")
    return arrays


def _fill(arrays: dict[str, np.memmap], items: Iterable[Item], bar: Bar) -> None:
    missing = {split: np.ones(len(array), bool) for split, array in arrays.items()}
    for split, place, pixels in items:
        arrays[split][place] = pixels
        missing[split][place] = False
        bar.update(1)
    if any(places.any() for places in missing.values()):
        raise RuntimeError(f"{sum(int(m.sum()) for m in missing.values())} images were announced and did not come.")


def _reserve(path: Path) -> None:
    """Have the disk set aside a file's bytes: a mapped write to a full disk kills the process."""
    if hasattr(os, "posix_fallocate"):
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _finish(folder: Path, facts: dict) -> None:
    digest = hashlib.sha256()
    for name in (f"{split}{part}.npy" for split in SPLITS for part in ("", "-labels")):
        digest.update(np.ascontiguousarray(np.load(folder / name, mmap_mode="r")).data)
    (folder / "images.json").write_text(json.dumps(facts | {"sha256": digest.hexdigest()}, indent=1))
