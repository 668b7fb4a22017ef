"""Pictures as they lie about: a folder, a zip or a tar of them, sorted into classes by their folders.

``look`` finds out what is there without decoding anything; ``read`` then decodes picture after picture.
Nothing is ever unpacked to disk.
"""

import hashlib
import io
import random
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

import numpy as np
from PIL import Image, ImageOps

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
TARS = (".tar", ".tar.gz", ".tgz")
ARCHIVES = (".zip", *TARS)
SPLITS = {"train": "train", "training": "train", "test": "test", "val": "test", "valid": "test", "validation": "test"}
HELD = 10  # without a test folder, one picture of so many is kept for the test
BACKGROUND = (255, 255, 255)  # of pictures with transparent parts


class BadImages(ValueError):
    """Pictures that cannot be used: no archive, a broken picture, a folder without any."""


@dataclass(frozen=True)
class Picture:
    """One picture: its name within the folder or archive, its side (``train`` or ``test``), its class's number."""

    name: str
    split: str
    label: int


@dataclass(frozen=True)
class Pictures:
    """What ``look`` found.

    Attributes:
        path: the folder or archive.
        classes: the names of the classes, sorted.
        pictures: in an order that is mixed once and for all, so that the first n are a fair sample.
    """

    path: Path
    classes: tuple[str, ...]
    pictures: tuple[Picture, ...]


def is_archive(path: Path) -> bool:
    return path.name.lower().endswith(ARCHIVES)


def look(path: Path) -> Pictures:
    """The pictures of a folder or an archive, by the first of these layouts that fits.

    1. ``train/<class>/...`` and ``test/<class>/...`` (or ``val``); without the second, one of ten is held out;
    2. ``<class>/...``, one of ten held out for the test;
    3. pictures side by side: one class, one of ten held out.

    Folders around all of it do not count; neither do hidden files and files that are no pictures by suffix.

    Raises:
        BadImages: if it is no archive, holds no pictures, fewer than two, or fits none of the layouts.
    """
    listed = sorted(set(_listed(path)))
    names = [PurePosixPath(name).parts for name in listed]
    if len(names) < 2:
        what = "no pictures" if not names else "one picture only, and one to train on and one to test are needed"
        raise BadImages(f"{path} holds {what}. Put pictures into it ({', '.join(SUFFIXES)}), a folder for each class.")
    sides, labels, classes = _sorted_out(path, names)
    pictures = [Picture(name, side, label) for name, side, label in zip(listed, sides, labels)]
    random.Random(0).shuffle(pictures)
    if {p.split for p in pictures} == {"train"}:
        pictures = _held_out(pictures)
    if {p.split for p in pictures} == {"test"}:
        raise BadImages(f"{path} has pictures to test on and none to train on. Add a folder train/<class>/.")
    return Pictures(path, classes, tuple(pictures))


def fingerprint(path: Path) -> str:
    """Hex digest that changes when the pictures do: of name, size and time of change of a file, or of all in a folder.

    Much faster than reading: 60,000 pictures in a folder take a second, an archive none.
    """
    files = [path] if path.is_file() else sorted(path / name for name in _listed(path))
    stats = [(file.name if path.is_file() else str(file.relative_to(path)), file.stat()) for file in files]
    return hashlib.sha256(repr([(name, s.st_size, s.st_mtime_ns) for name, s in stats]).encode()).hexdigest()


def read(found: Pictures, size: int) -> Iterator[tuple[int, np.ndarray]]:
    """Decode every picture, in the order in which they are quickest to reach.

    Yields:
        the picture's place in ``found.pictures``, and its pixels as uint8 (3, size, size).

    Raises:
        BadImages: for a picture that cannot be decoded; the message names it.
    """
    place = {picture.name: i for i, picture in enumerate(found.pictures)}
    for name, data in _contents(found.path, place):
        try:
            yield place[name], decode(data, size)
        except Exception as problem:  # Pillow has many, by format
            reason = str(problem) or type(problem).__name__
            raise BadImages(
                f"{name} in {found.path} cannot be read as a picture ({reason}). Replace it or take it out."
            ) from problem


def decode(data: bytes | io.BufferedIOBase, size: int) -> np.ndarray:
    """A picture file as uint8 (3, size, size): RGB, the middle square of it, made smaller or larger.

    Grey is repeated, what is transparent becomes white, 16 bits become 8, of a moving picture the first counts,
    and a camera's note which side is up is heeded.
    """
    with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data) as image:
        image.draft("RGB", (2 * size, 2 * size))  # large JPEGs: decoded smaller, still twice what is needed
        image = _rgb(ImageOps.exif_transpose(image))
        if image.size != (size, size):
            side = min(image.size)
            left, top = ((n - side) // 2 for n in image.size)
            image = image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.LANCZOS)
        return np.ascontiguousarray(np.asarray(image, np.uint8).transpose(2, 0, 1))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip
        grey = np.asarray(image).astype(np.float64) / 257
        return Image.fromarray(grey.round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode not in ("RGBA", "RGBa", "LA", "La", "PA") and "transparency" not in image.info:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, (*BACKGROUND, 255)), image).convert("RGB")


def _sorted_out(path: Path, names: list[tuple[str, ...]]) -> tuple[list[str], list[int], tuple[str, ...]]:
    """The side and class number of each picture, and the classes, from the folders that the names go through."""
    around = path.name.split(".")[0]
    while min(map(len, names)) > 1 and len({n[0] for n in names}) == 1 and names[0][0].lower() not in SPLITS:
        around, names = names[0][0], [n[1:] for n in names]
    if all(len(n) > 1 and n[0].lower() in SPLITS for n in names):
        sides, names = [SPLITS[n[0].lower()] for n in names], [n[1:] for n in names]
    else:
        sides = ["train"] * len(names)
    beside = [n for n in names if len(n) == 1]
    if beside and len(beside) < len(names):
        raise BadImages(
            f"{path} has pictures both in folders and beside them ({beside[0][0]}, for instance), so their classes "
            "are not clear. Give every picture the folder of its class, or none."
        )
    given = [around if beside else n[0] for n in names]
    classes = tuple(sorted(set(given)))
    number = {name: i for i, name in enumerate(classes)}
    missing = sorted(set(given) - {name for name, side in zip(given, sides) if side == "train"})
    if missing and "train" in sides:
        raise BadImages(f"{path}: the class {missing[0]!r} has pictures to test on and none to train on.")
    return sides, [number[name] for name in given], classes


def _held_out(pictures: list[Picture]) -> list[Picture]:
    """Every tenth of each class to the test, at least one picture in all."""
    seen: dict[int, int] = {}
    sides = []
    for p in pictures:
        seen[p.label] = seen.get(p.label, 0) + 1
        sides.append("train" if seen[p.label] % HELD else "test")
    if "test" not in sides:  # a handful: the last of the largest class
        label = max(seen, key=seen.get)
        sides[max(i for i, p in enumerate(pictures) if p.label == label)] = "test"
    return [Picture(p.name, side, p.label) for p, side in zip(pictures, sides)]


def _wanted(name: PurePath) -> bool:
    return name.suffix.lower() in SUFFIXES and not any(part.startswith((".", "__MACOSX")) for part in name.parts)


def _listed(path: Path) -> list[str]:
    """The names of all pictures."""
    if not is_archive(path):
        return [f.relative_to(path).as_posix() for f in path.rglob("*") if _wanted(f.relative_to(path)) and f.is_file()]
    try:
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path) as archive:
                return [name for name in archive.namelist() if _wanted(PurePosixPath(name))]
        with tarfile.open(path) as archive:
            return [m.name for m in archive if m.isreg() and _wanted(PurePosixPath(m.name))]
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, zlib.error) as problem:
        raise _damaged(path, problem) from problem


def _contents(path: Path, names: dict[str, int]) -> Iterator[tuple[str, bytes]]:
    """The bytes of the named files, in the order in which they are stored."""
    if not is_archive(path):
        yield from ((name, (path / name).read_bytes()) for name in sorted(names))
        return
    try:
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path) as archive:
                for entry in sorted((archive.getinfo(name) for name in names), key=lambda i: i.header_offset):
                    yield entry.filename, archive.read(entry)
        else:
            with tarfile.open(path) as archive:
                for member in archive:
                    if member.isreg() and member.name in names:
                        yield member.name, archive.extractfile(member).read()
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, zlib.error, RuntimeError) as problem:
        raise _damaged(path, problem) from problem  # the last: a password, or an unknown compression


def _damaged(path: Path, problem: Exception) -> BadImages:
    kind = "zip" if path.suffix.lower() == ".zip" else "tar"
    reason = str(problem) or type(problem).__name__
    return BadImages(f"{path} is no {kind} that can be read ({reason}). Copy or download it again, or take it away.")
