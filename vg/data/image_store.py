"""Images decoded once into one array per split, memory-mapped from then on.

    train.npy  test.npy                  uint8 (N, C, H, W)
    train-labels.npy  test-labels.npy    int64 (N,)
    images.json                          classes, settings, sha256 of all pixels and labels; written last

It lies in ``data/cache/images/``, in a folder named for its source and settings, is made under another name and
moved into place when whole: it is complete or not there.
"""

import errno
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from vg import paths
from vg.data.in_place import put_in_place

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


def stored(name: str, size: int, source: dict, make: Callable[[], Contents], verb: str = "decoding") -> Path:
    """The folder of the arrays; filled the first time, and anew when the source is another.

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
    if _finished(folder):
        return folder
    contents = make()
    total = sum(map(len, contents.labels.values()))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        room = shutil.disk_usage(
            folder.parent
        ).free  # asked beforehand: a mapped write to a full disk kills the process
        if room < (need := total * 3 * size * size + 10_000_000):
            raise OSError(errno.ENOSPC, f"{need / 1e6:.0f} MB are needed and {room / 1e6:.0f} MB are free")
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as problem:
        raise _unwritable(folder, problem) from problem
    try:
        with tqdm(
            desc=f"{verb} {name}", total=total, unit="image", delay=1.0, mininterval=0.5
        ) as bar:  # a second: not worth a bar
            _fill(temporary, contents, size, bar)
        _finish(temporary, {"settings": settings, "classes": list(contents.classes)})
        _move(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def card(folder: Path) -> dict:
    return json.loads((folder / "images.json").read_text())


def _fill(folder: Path, contents: Contents, size: int, bar: tqdm) -> None:
    arrays, missing = {}, {}
    try:
        for split in SPLITS:
            labels = contents.labels[split]
            np.save(folder / f"{split}-labels.npy", labels.astype(np.int64))
            shape = (len(labels), 3, size, size)
            arrays[split] = np.lib.format.open_memmap(folder / f"{split}.npy", "w+", np.uint8, shape)
            missing[split] = np.ones(len(labels), bool)
    except OSError as problem:
        raise _unwritable(folder, problem) from problem
    for split, place, pixels in contents.items:
        arrays[split][place] = pixels
        missing[split][place] = False
        bar.update(1)
    if any(places.any() for places in missing.values()):
        raise RuntimeError(f"{sum(int(m.sum()) for m in missing.values())} images were announced and did not come.")
    for array in arrays.values():
        array.flush()


def _finish(folder: Path, facts: dict) -> None:
    digest, sizes = hashlib.sha256(), {}
    for name in (f"{split}{part}.npy" for split in SPLITS for part in ("", "-labels")):
        digest.update(np.ascontiguousarray(np.load(folder / name, mmap_mode="r")).data)
        sizes[name] = (folder / name).stat().st_size
    facts |= {"sha256": digest.hexdigest(), "bytes": sizes}
    (folder / "images.json").write_text(json.dumps(facts, indent=1))


def _finished(folder: Path) -> bool:
    try:
        return all((folder / name).stat().st_size == size for name, size in card(folder)["bytes"].items())
    except (OSError, ValueError, KeyError):
        return False


def _move(temporary: Path, folder: Path) -> None:
    try:
        put_in_place(temporary, folder, _finished)
    except OSError as problem:
        if not _finished(folder):  # another process may have been faster: then all is well
            raise _unwritable(folder, problem) from problem


def _unwritable(folder: Path, problem: OSError) -> OSError:
    room = "Make room there, or set VG_CACHE to another folder."
    return OSError(f"{folder.parent} cannot be written ({problem.strerror or problem}). {room}")
