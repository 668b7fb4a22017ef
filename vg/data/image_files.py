"""Pictures as they lie about: a folder, a zip or a tar of them, sorted into classes by their folders.

``find_pictures`` finds out what is there without decoding anything; ``read`` then decodes picture after picture.
Nothing is ever unpacked to disk.
"""

import hashlib
import os
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from vg.data import archives, stills
from vg.data.archives import is_archive
from vg.data.stills import SUFFIXES, BadImages

SPLITS = {"train": "train", "training": "train", "test": "test", "val": "test", "valid": "test", "validation": "test"}
HELD = 10  # without a test folder, one picture of so many is kept for the test
NAMED = 5  # suffixes of what is left out


@dataclass(frozen=True)
class Picture:
    """One picture: its name within the folder or archive, its side (``train`` or ``test``), its class's number."""

    name: str
    split: str
    label: int


@dataclass(frozen=True)
class Pictures:
    """What ``find_pictures`` found.

    Attributes:
        path: the folder or archive.
        classes: the names of the classes, sorted.
        pictures: in an order that is mixed once and for all, so that the first n are a fair sample.
        left_out: what else is there, in words; empty if nothing is.
    """

    path: Path
    classes: tuple[str, ...]
    pictures: tuple[Picture, ...]
    left_out: str = ""


def find_pictures(path: Path) -> Pictures:
    """The pictures of a folder or an archive, by the first of these layouts that fits.

    1. ``train/<class>/...`` and ``test/<class>/...`` (or ``val``); without the second, one of ten is held out;
    2. ``<class>/...``, one of ten held out for the test;
    3. pictures side by side: one class, one of ten held out.

    Folders around all of it do not count, nor do hidden files. Links in a folder are followed; those in an archive, and
    files that are no pictures by suffix, are left out.

    Raises:
        BadImages: if it is no archive, holds no pictures, fewer than two, or fits none of the layouts.
    """
    found = _listed(path)
    listed, left_out = found.names, _left_out(found)
    names = [PurePosixPath(name).parts for name in listed]
    if len(names) < 2:
        what = "no pictures" if not names else "one picture only, and one to train on and one to test are needed"
        but = f" There are {left_out} besides." if left_out else ""
        raise BadImages(
            f"{path} holds {what}.{but} Put pictures into it ({', '.join(SUFFIXES)}), a folder for each class."
        )
    sides, labels, classes = _sorted_out(path, names)
    pictures = [Picture(name, side, label) for name, side, label in zip(listed, sides, labels)]
    random.Random(0).shuffle(pictures)
    if {p.split for p in pictures} == {"train"}:
        pictures = _held_out(pictures)
    if {p.split for p in pictures} == {"test"}:
        raise BadImages(f"{path} has pictures to test on and none to train on. Add a folder train/<class>/.")
    return Pictures(path, classes, tuple(pictures), left_out)


def fingerprint(path: Path) -> str:
    """Hex digest that changes when the pictures do: of name, size and time of change of a file, or of all in a folder.

    Much faster than reading: 60,000 pictures in a folder take a second, an archive none.
    """
    files = [path] if path.is_file() else [path / name for name in _listed(path).names]
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
            pixels = stills.decode(data, size)
        except Exception as problem:  # Pillow has many, by format
            raise stills.bad_picture(f"{name} in {found.path}", problem) from problem
        yield place[name], pixels


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
        label = max(seen, key=lambda label: seen[label])
        sides[max(i for i, p in enumerate(pictures) if p.label == label)] = "test"
    return [Picture(p.name, side, p.label) for p, side in zip(pictures, sides)]


def _wanted(name: str) -> bool:
    return not _hidden(name) and PurePosixPath(name).suffix.lower() in SUFFIXES


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)


def _listed(path: Path) -> archives.Listing:
    """The names of all pictures, and of what is none, each once."""
    found = archives.listing(path, _wanted) if is_archive(path) else _walked(path)
    return archives.Listing(*(sorted({n for n in part if not _hidden(n)}) for part in vars(found).values()))


def _walked(path: Path) -> archives.Listing:
    """Of a folder. Links are followed, but not back into a folder that they lie in, which would never end."""
    found, count = archives.Listing(), 0
    folders = [(path, frozenset({os.path.realpath(path)}))]
    while folders:
        folder, above = folders.pop()
        entries = [entry for entry in _entries(folder) if not _hidden(entry.name)]
        if not entries and folder != path:  # perhaps a class whose pictures are missing
            found.others.append(f"{folder.relative_to(path).as_posix()}/")
        for entry in entries:
            if (count := count + 1) > archives.ENTRIES:
                limit = f"{archives.ENTRIES:,}: vg.data.archives.ENTRIES"
                raise BadImages(f"{path} holds too many files, counting those behind links ({limit}).")
            name = Path(entry.path).relative_to(path).as_posix()
            if entry.is_dir():
                if (real := os.path.realpath(entry.path)) in above:
                    found.links.append(name)
                else:
                    folders.append((Path(entry.path), above | {real}))
            elif entry.is_file():
                (found.names if _wanted(name) else found.others).append(name)
            else:  # a link that leads nowhere, a device
                (found.links if entry.is_symlink() else found.others).append(name)
    return found


def _entries(folder: Path) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as problem:
        raise BadImages(f"{folder} cannot be looked into ({problem.strerror}). Check its permissions.") from problem


def _left_out(found: archives.Listing) -> str:
    """In words, what is there and is no picture; empty if there is nothing."""
    empty = [name for name in found.others if name.endswith("/")]
    others = [name for name in found.others if not name.endswith("/")]
    suffixes = Counter(PurePosixPath(name).suffix.lower() for name in others)
    kinds = [s if s.isprintable() else ascii(s) for s, _ in suffixes.most_common(NAMED) if s]
    kinds += ["others"] * (len(suffixes) > NAMED) + ["without suffix"] * ("" in suffixes)
    parts = [f"{_many(others, 'file')} ({', '.join(kinds)})"] if others else []
    parts += [f"{_many(empty, 'empty folder')} ({empty[0]!a}, for instance)"] if empty else []
    parts += [f"{_many(found.links, 'link')} ({found.links[0]!a}, for instance)"] if found.links else []
    return " and ".join(parts)


def _many(names: list[str], what: str) -> str:
    return f"{len(names):,} {what}{'s' * (len(names) != 1)}"


def _contents(path: Path, names: dict[str, int]) -> Iterator[tuple[str, bytes]]:
    """The bytes of the named files, in the order in which they are stored."""
    if is_archive(path):
        yield from archives.contents(path, names.__contains__)
        return
    for name in sorted(names):
        try:
            yield name, stills.read_bytes(path / name)
        except (OSError, ValueError) as problem:
            raise stills.bad_picture(f"{name} in {path}", problem) from problem
