"""Zips and tars, perhaps a stranger's: read in place, within limits, and checked to their last byte.

Nothing is ever unpacked to disk. What an archive declares is held against the limits before memory is taken for it,
and what it then holds against what it declared. A larger archive that you trust: set the limit higher.
"""

import gzip
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Self, cast

from vg.data import stills
from vg.data.stills import BadImages

TARS = (".tar", ".tar.gz", ".tgz")
SUFFIXES = (".zip", *TARS)
ENTRIES = 2_000_000  # files in an archive
DIRECTORY_BYTES = 1 << 28  # of a zip's list of files
UNPACKED_BYTES = 1 << 30  # of all its files together, or, if that is more,
UNPACKED_RATIO = 100  # times the size of the archive
CHUNK = 1 << 20
BLOCK = tarfile.BLOCKSIZE


@dataclass
class Listing:
    """What an archive holds.

    Attributes:
        names: of the files that were asked for.
        others: of all other files.
        links: of files that are only a reference to another one.
    """

    names: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)


def is_archive(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES)


def listing(path: Path, wanted: Callable[[str], bool]) -> Listing:
    """The names of the files in an archive.

    Raises:
        BadImages: if it cannot be read, is damaged, exceeds a limit, or has names that lead out of its folder.
    """
    found = Listing()
    with _explained(path):
        for name, size, link in _zip_list(path, wanted) if _is_zip(path) else _tar_list(path):
            if ".." in PurePosixPath(name).parts:
                raise BadImages(f"{path} holds a file {name!r}, whose name leads out of its folder. Do not trust it.")
            kept = found.links if link else found.names if wanted(name) else found.others
            kept.append(name)
            if kept is found.names and size > stills.FILE_BYTES:
                raise BadImages(f"{name} in {path} is too large for a picture: {stills.too_large(size)}.")
    return found


def contents(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of files, in the order in which they are stored.

    Raises:
        BadImages: as ``listing``; after the last file, if the archive as a whole is damaged.
    """
    with _explained(path):
        if _is_zip(path):
            with _zip(path) as archive:
                for entry in sorted(filter(lambda e: wanted(e.filename), archive.infolist()), key=_place):
                    yield entry.filename, _unzipped(archive, entry)
        else:
            with _tar(path) as archive:
                for member in archive:
                    if member.isreg() and wanted(member.name):
                        yield member.name, _untarred(archive, member)


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == ".zip"


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (BadImages, MemoryError):
        raise
    except Exception as problem:  # a damaged zip ends in a dozen kinds of error
        kind = "zip" if _is_zip(path) else "tar"
        reason = str(problem) or type(problem).__name__
        raise BadImages(
            f"{path} is no {kind} that can be read ({reason}). Copy or download it again, or take it away."
        ) from problem


def _most(path: Path) -> int:
    """Bytes that all files of an archive may have together."""
    return max(UNPACKED_BYTES, UNPACKED_RATIO * path.stat().st_size)


def _too_much(what: str, limit: str) -> ValueError:
    return ValueError(f"it holds {what}. If you trust it, raise vg.data.archives.{limit}")


# Zips: every file has a checksum, which ``zipfile`` compares.


@contextmanager
def _zip(path: Path) -> Iterator[zipfile.ZipFile]:
    with path.open("rb") as file, zipfile.ZipFile(_Bounded(file, DIRECTORY_BYTES, path.stat().st_size)) as archive:
        if len(archive.infolist()) > ENTRIES:
            raise _too_much(f"{len(archive.infolist()):,} files", "ENTRIES")
        yield archive


def _zip_list(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, int, bool]]:
    with _zip(path) as archive:
        entries = [entry for entry in archive.infolist() if entry.file_size or not entry.is_dir()]
        if (total := sum(e.file_size for e in entries if wanted(e.filename))) > _most(path):
            raise _too_much(f"{total / 1e9:.1f} GB in {path.stat().st_size / 1e6:.1f} MB", "UNPACKED_BYTES")
        for entry in entries:
            if not wanted(entry.filename):
                archive.open(entry).close()  # its name is written twice: a damaged one is no reason to leave it out
            yield entry.filename, entry.file_size, stat.S_ISLNK(entry.external_attr >> 16)


def _place(entry: zipfile.ZipInfo) -> int:
    return entry.header_offset


def _unzipped(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others are unpacked without a limit
        raise ValueError(f"{entry.filename} is compressed in a way other than deflate")
    with archive.open(entry) as file:
        data = file.read(entry.file_size + 1)  # with a limit: less is declared than comes, in a zip made to harm
        if len(data) != entry.file_size or file.read(1):
            raise ValueError(f"{entry.filename} has not the size that it should have")
    return data


# Tars: a checksum for each header, none for the files; a gzip around it has one for all.


class _Entry(tarfile.TarInfo):
    """A header of a tar. ``tarfile`` takes a damaged one for the end of the archive; here it is an error."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # a block of zeros; typeshed leaves the class out
            raise
        except tarfile.HeaderError as problem:
            raise tarfile.ReadError(f"{problem} at byte {archive.offset}") from None


@contextmanager
def _tar(path: Path) -> Iterator[tarfile.TarFile]:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        with gzip.open(file) if zipped else file as plain:
            stream = _Bounded(cast(IO[bytes], plain), stills.FILE_BYTES + BLOCK, _most(path))
            # typeshed wants a file that can be written too, which one that is read need not
            with tarfile.open(fileobj=stream, mode="r:", tarinfo=_Entry) as archive:  # type: ignore[call-overload]
                yield archive
                while data := stream.read(CHUNK):  # up to the checksum that ends a gzip
                    if data.strip(b"\0"):
                        raise ValueError("something comes after its end, or it is damaged")


def _tar_list(path: Path) -> Iterator[tuple[str, int, bool]]:
    with _tar(path) as archive:
        for count, member in enumerate(archive, 1):
            if count > ENTRIES:
                raise _too_much(f"more than {ENTRIES:,} files", "ENTRIES")
            if not member.isdir():
                yield member.name, member.size, not member.isreg()


def _untarred(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.size > stills.FILE_BYTES:
        raise ValueError(f"{member.name} is too large for a picture: {stills.too_large(member.size)}")
    file = archive.extractfile(member)
    if file is None:
        raise ValueError(f"{member.name} is no file")
    return file.read()


class _Bounded:
    """A file that gives neither more bytes at once nor more in all than the limits allow."""

    def __init__(self, file: IO[bytes], at_once: int, in_all: int):
        self.file, self.at_once, self.in_all = file, at_once, in_all
        self.tell = file.tell

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        size = self.in_all - self.tell() if size < 0 else size
        if size > self.at_once:
            raise ValueError(f"{size:,} bytes of it would have to be read at once")
        self._within(self.tell() + size)
        return self.file.read(size)

    def seek(self, place: int, whence: int = 0) -> int:
        if whence == 0:
            self._within(place)
        return self.file.seek(place, whence)

    def _within(self, place: int) -> None:
        if place > self.in_all + CHUNK:  # whoever reads to the end asks for more than there is
            raise _too_much(f"more than {self.in_all / 1e6:.0f} MB", "UNPACKED_BYTES")
