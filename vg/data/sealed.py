"""Folders of arrays that are whole and as they were written, or are made again.

    checksums.json    of every other file, its size and the CRC-32 of each block; written last

A folder is made by one process while the others wait, in a workspace, and takes its name when it is complete. A process
compares a file with its checksums once, when it opens it; a file too long for that (``AT_ONCE``), block by block when
it first reads them.
"""

import json
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from vg import atomic
from vg.paths import writable
from vg.progress import Bar, tqdm

T = TypeVar("T")
CHECKSUMS = "checksums.json"
BLOCK = 4 << 20  # bytes
AT_ONCE = 1 << 30  # bytes: what is compared within half a second, once it is in memory
LONGEST_TEXT = 64 << 20  # bytes: more is no card of ours, and is not read

_compared: set[tuple] = set()  # files that this process has compared with their checksums


class Damaged(ValueError):
    """A folder, or a file in it, that is not as it was written. The message names it."""


def opened(folder: Path, make: Callable[[Path], None], read: Callable[["Sealed"], T]) -> T:
    """What ``read`` finds in a folder; made where it is not there, and made again, with a line said, where damaged.

    Args:
        folder: where it lies, or will.
        make: fills the empty folder that it is given.
        read: takes out what is wanted; whatever it raises counts as damage.

    Raises:
        OSError: if the folder cannot be written; the message says what to set.
        Exception: whatever ``make`` raises; nothing is left behind.
    """
    atomic.sweep_all(folder.parent)
    try:
        if os.path.exists(folder):
            return _read(folder, read)
    except Damaged as problem:
        print(f"{problem} It is made again.", file=sys.stderr)
    with ExitStack() as stack:
        with writable(folder.parent):
            stack.enter_context(atomic.locked(folder, "making it"))
        with suppress(Damaged):
            if os.path.exists(folder):  # made by another process meanwhile
                return _read(folder, read)
        with writable(folder.parent):
            work = stack.enter_context(atomic.workspace(folder))
            (new := work / "new").mkdir()
        make(new)
        with writable(folder.parent):
            _seal(new)
            try:
                _read(new, read)  # NumPy says nothing of the last bytes that a full disk did not take
            except Damaged as problem:
                raise OSError(f"what was written there is not whole: {problem}") from problem
            if os.path.lexists(folder):
                os.replace(folder, work / "damaged")
            os.replace(new, folder)
    return _read(folder, read)


class Sealed:
    """A folder that is being read: what comes out of it is as it was written."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._known = {
            name: (int(sums["bytes"]), [int(crc) for crc in sums["crc32"]])
            for name, sums in json.loads(_text(folder / CHECKSUMS)).items()
        }

    def card(self, name: str) -> dict:
        """A JSON file."""
        self._compare(name)
        return json.loads(_text(self.folder / name))

    def array(self, name: str, dtype: type, ndim: int) -> "np.ndarray | Blocks":
        """A ``.npy`` file, read-only and memory-mapped; one longer than ``AT_ONCE`` as `Blocks`."""
        size, sums = self._sums(name)
        if size <= AT_ONCE:
            self._compare(name)
        array = np.load(self.folder / name, mmap_mode="r")  # no pickles, and nothing that is longer than its file
        if array.dtype != dtype or array.ndim != ndim or not array.flags.c_contiguous:
            raise _damaged(self.folder / name, f"it holds {array.dtype} {array.shape}")
        return array if size <= AT_ONCE else Blocks(array, sums)

    def _sums(self, name: str) -> tuple[int, list[int]]:
        size, sums = self._known[name]
        if (self.folder / name).stat().st_size != size or len(sums) != -(-size // BLOCK):
            raise _damaged(self.folder / name, "its size has changed")
        return size, sums

    def _compare(self, name: str) -> None:
        path = self.folder / name
        size, sums = self._sums(name)
        stat = path.stat()
        key = (stat.st_dev, stat.st_ino, size, stat.st_mtime_ns, tuple(sums))  # stays when a folder is renamed
        if key in _compared:
            return
        with path.open("rb") as file, _bar(f"checking {name}", size) as bar:
            for known, crc in zip(sums, _block_sums(file, bar), strict=True):
                if crc != known:
                    raise _damaged(path, "its checksum is wrong")
        _compared.add(key)


class Blocks:
    """An array on disk that compares what is read of it with its checksums, once, when it is first read.

    Indexing it gives NumPy arrays, as do ``np.asarray`` and NumPy's functions, which read all of it.
    """

    def __init__(self, array: np.memmap, sums: list[int]):
        self.shape, self.dtype, self.ndim, self.nbytes = array.shape, array.dtype, array.ndim, array.nbytes
        if array.filename is None:
            raise ValueError("an array in memory has no file to be compared with")
        self._path = Path(array.filename)
        self._array, self._sums = array, np.array(sums, np.uint32)
        self._rows = np.arange(len(array))
        self._unread = np.ones(len(sums), bool)
        self._compare([0])  # the header

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, index: Any) -> np.ndarray:
        if self._unread.any():
            self._compare(np.flatnonzero(self._unread & self._blocks_of(index)))
        return self._array[index]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self[:], dtype, copy=copy)

    def _blocks_of(self, index: Any) -> np.ndarray:
        """Which blocks the rows of an index lie in, bool; all where the index is an odd one."""
        try:
            rows = self._rows[index[0] if isinstance(index, tuple) else index].ravel()
        except (IndexError, TypeError):
            return np.ones(len(self._sums), bool)
        row = self.nbytes // len(self)
        edges = np.zeros(len(self._sums) + 1, int)
        np.add.at(edges, (self._array.offset + rows * row) // BLOCK, 1)
        np.add.at(edges, (self._array.offset + (rows + 1) * row - 1) // BLOCK + 1, -1)
        return np.cumsum(edges[:-1]) > 0

    def _compare(self, blocks: np.ndarray | list[int]) -> None:
        path = self._path
        with path.open("rb") as file:
            for k in blocks:
                file.seek(k * BLOCK)
                if zlib.crc32(file.read(BLOCK)) != self._sums[k]:
                    with suppress(OSError):
                        (path.parent / CHECKSUMS).unlink()  # so that the next to open it makes it again
                    raise _damaged(path, "a checksum is wrong. Open it again, and it is made again")
                self._unread[k] = False


def _read(folder: Path, read: Callable[[Sealed], T]) -> T:
    try:
        return read(Sealed(folder))
    except Damaged:
        raise
    except Exception as problem:  # a stranger's file can cause any
        raise Damaged(f"{folder} is damaged or incomplete ({type(problem).__name__}: {problem}).") from problem


def _seal(folder: Path) -> None:
    """Write the checksums of all that is in a folder."""
    sums = {}
    for path in sorted(folder.iterdir()):
        size = path.stat().st_size
        with path.open("rb") as file, _bar(f"checksums of {path.name}", size) as bar:
            sums[path.name] = {"bytes": size, "crc32": list(_block_sums(file, bar))}
    (folder / CHECKSUMS).write_text(json.dumps(sums))


def _block_sums(file: BufferedReader, bar: Bar) -> Iterator[int]:
    buffer = memoryview(bytearray(BLOCK))
    while count := file.readinto(buffer):
        yield zlib.crc32(buffer[:count])
        bar.update(count)


def _bar(words: str, size: int) -> Bar:
    return tqdm(desc=words, total=size, unit="B", unit_scale=True, delay=1.0, leave=False)


def _text(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(LONGEST_TEXT + 1)
    if len(data) > LONGEST_TEXT:
        raise _damaged(path, f"it is longer than {LONGEST_TEXT} bytes")
    return data.decode()


def _damaged(path: Path, reason: str) -> Damaged:
    return Damaged(f"{path} is damaged: {reason}.")
