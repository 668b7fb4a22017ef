"""Small pictures: CIFAR-10, a folder of your own, or drawings that are made here. Decoded once, then mapped."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vg.data import archives, image_files, image_store
from vg.data import download as net
from vg.data.sealed import Blocks
from vg.data.sources import _short
from vg.data.stills import BadImages
from vg.synthetic import drawings


@dataclass(frozen=True, eq=False)
class ImageSet:
    """One side of ``Images``, training or test. Its first n are a fair sample of all: the order is mixed.

    Attributes:
        pixels: uint8 (N, C, H, W), 0 to 255, RGB, read-only and memory-mapped.
        labels: int64 (N,), the number of each image's class.
    """

    pixels: np.ndarray | Blocks
    labels: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, numbers: Iterable[int] | Tensor) -> Tensor:
        """Images by number: float (B, C, H, W) in [-1, 1].

        Raises:
            IndexError: for a number that there is not.
        """
        numbers = numbers.tolist() if isinstance(numbers, Tensor) else list(numbers)
        pixels = self.pixels[np.asarray(numbers, np.int64)]
        return torch.from_numpy(pixels).float().div_(127.5).sub_(1)

    def sample(self, batch: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Random images, with replacement: float (batch, C, H, W) in [-1, 1], and their labels, int64 (batch,)."""
        numbers = torch.randint(len(self), (batch,), generator=generator)
        return self.take(numbers), self.labels[numbers]


@dataclass(frozen=True, eq=False)
class Images:
    """Pictures of one size in classes. Made by ``cifar10``, ``image_folder`` and ``image_drawings``.

    Attributes:
        name: ``cifar10``, ``drawings``, or the name of a folder.
        note: what they are, in a few words.
        path: the folder or file that they come from; None for drawings.
        classes: the names of the classes; a label is a place in it.
        train: the images to train on.
        test: those to test on.
        sha256: hex digest of all pixels and labels.
        folder: where the arrays lie.
    """

    name: str
    note: str
    path: Path | None
    classes: tuple[str, ...]
    train: ImageSet
    test: ImageSet
    sha256: str
    folder: Path

    def describe(self) -> str:
        """One line for a notebook to print: name, what it is, how many, where it lies, how big."""
        H, W = self.train.pixels.shape[2:]
        kinds = f"{len(self.classes)} classes" if len(self.classes) > 1 else "one class"
        many = f"{len(self.train):,} + {len(self.test):,} images of {H}x{W} in {kinds}"
        line = f"{self.name}: {self.note}, {many}"
        if self.path is None:
            return line
        size = f" ({net.megabytes(self.path.stat().st_size)})" if self.path.is_file() else ""
        return f"{line}, {_short(self.path)}{size}"

    def __repr__(self) -> str:
        C, H, W = self.train.pixels.shape[1:]
        return (
            f"Images({self.name!r}, {len(self.train)} + {len(self.test)} of {C}x{H}x{W}, {len(self.classes)} classes)"
        )


def image_folder(path: str | os.PathLike, size: int = 32) -> Images:
    """Pictures of your own, from a folder, a zip or a tar, in colour or grey, of any size and form.

    The folders say the classes: ``train/<class>/`` and ``test/<class>/``, or ``<class>/`` alone, of which every tenth
    picture is kept for the test, or no folders, for one class. Of each picture the middle square counts. Links are
    followed; what is no picture by its suffix is left out, which is printed. An archive is read within the limits that
    ``vg.data.archives`` names, a picture within ``stills.FILE_BYTES`` and Pillow's ``Image.MAX_IMAGE_PIXELS``.

    Args:
        path: a folder or an archive.
        size: height and width of the images in pixels.

    Raises:
        FileNotFoundError: if there is no such folder or archive.
        BadImages: if there are no pictures in it, or one of them is broken. Nothing is left behind.
        ValueError: for a size below 1.
    """
    path = Path(path).expanduser().absolute()
    if size < 1:
        raise ValueError(f"image_folder: size is {size}, and must be at least 1.")
    if not path.exists():
        raise FileNotFoundError(f"There is nothing at {path}. Give a folder of pictures, or a zip or tar of them.")
    if path.is_file() and not archives.is_archive(path):
        kinds = ", ".join(archives.SUFFIXES)
        raise BadImages(f"{path} is one file. Give the folder it lies in, or an archive ({kinds}).")
    return pictures(path, size, path.name.split(".")[0], "pictures of your own")


def pictures(path: Path, size: int, name: str, note: str, classes: tuple[str, ...] | None = None) -> Images:
    """The pictures of a folder or archive under a name; with ``classes``, only if it has exactly these."""

    def make() -> image_store.Contents:
        found = image_files.find_pictures(path)
        if classes and found.classes != classes:
            wrong = sorted(set(found.classes) ^ set(classes))
            raise BadImages(
                f"{path} should hold the {len(classes)} classes of {note}, but they differ in {', '.join(wrong[:5])}. "
                f"Lay it out as train/{classes[0]}/ and so on, or give it another name."
            )
        if found.left_out:
            print(f"Left out of {path}: {found.left_out}.")
        splits = [p.split for p in found.pictures]
        labels = {s: np.array([p.label for p in found.pictures if p.split == s]) for s in image_store.SPLITS}
        place = _places(splits)
        items = ((splits[i], place[i], pixels) for i, pixels in image_files.read(found, size))
        return image_store.Contents(found.classes, labels, items)

    stored = image_store.stored(name, size, {"files": image_files.fingerprint(path)}, make)
    return open_images(stored, name, note, path)


def image_drawings(seed: int = 0, train: int = 20_000, test: int = 2_000) -> Images:
    """Small coloured drawings, 32x32, in ten classes: no file, no network. See ``vg.synthetic.drawings``.

    The same seed gives the same drawings; more of them begin with the fewer.

    Args:
        seed: of everything drawings.
        train: how many to train on.
        test: how many to test on; none of them is among the others.

    Raises:
        ValueError: if ``train`` or ``test`` is below 1.
    """
    if min(train, test) < 1:
        raise ValueError(f"image_drawings: train {train} and test {test} must both be at least 1.")
    many = {"train": train, "test": test}

    def make() -> image_store.Contents:
        labels = {split: np.arange(n) % len(drawings.CLASSES) for split, n in many.items()}
        numbers = ((split, i) for split, n in many.items() for i in range(n))
        items = ((split, i, drawings.draw(int(labels[split][i]), f"{seed}/{split}/{i}")) for split, i in numbers)
        return image_store.Contents(drawings.CLASSES, labels, items)

    source = {"code": drawings.code_sha256(), "seed": seed, **many}
    stored = image_store.stored("drawings", drawings.SIZE, source, make, verb="drawing")
    return open_images(stored, "drawings", "drawn by vg.synthetic.drawings", None)


def open_images(stored: image_store.Stored, name: str, note: str, path: Path | None) -> Images:
    """What ``image_store.stored`` has given."""
    train, test = (
        ImageSet(stored.pixels[split], torch.from_numpy(stored.labels[split])) for split in image_store.SPLITS
    )
    return Images(name, note, path, stored.classes, train, test, stored.sha256, stored.folder)


def _places(splits: list[str]) -> list[int]:
    """Each picture's place among those of its own split."""
    count = dict.fromkeys(image_store.SPLITS, 0)
    places = []
    for split in splits:
        places.append(count[split])
        count[split] += 1
    return places
