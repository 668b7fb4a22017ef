"""Downloads that survive a bad line: resumed where they stopped, checked, and never half in place.

Bytes go to ``<target>.<checksum>.part``. Only when the whole file is there and its checksum is right is the
part renamed to its target, so a file under its final name is always a good one. One process downloads at a time.
"""

import errno
import hashlib
import http.client
import json
import math
import re
import shutil
import threading
import time
import urllib.error
import urllib.parse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from vg import atomic
from vg.data import web
from vg.progress import Bar, tqdm

T = TypeVar("T")

ARCHIVE = "https://archive.org"
VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".m4v", ".webm", ".avi", ".mpg", ".mpeg", ".ogv")
FIRST_ANSWER = 10.0  # seconds for a server's first answer: without a network, nobody should wait longer
STALL = 30.0  # seconds without a byte after which a connection counts as dropped
ATTEMPTS = 5  # connections in a row that brought next to nothing new before we give up
LEAST = 1 << 14  # bytes: fewer are next to nothing
CHUNK = 1 << 18  # bytes
CHECKSUMS = {"sha1": 40, "md5": 32}  # hexadecimal digits of each, the better one first
LINES_WANTED = 720  # picture lines: more than any profile uses, so not worth waiting for
FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))  # no room on the disk, or in one's share of it
BYTES_WANTED = 600_000_000  # the same for file size


class DownloadError(RuntimeError):
    """A download that cannot go on. The message says what happened and what to do."""


class Unreachable(DownloadError):
    """The server gave no usable answer: no network, a login page in between, or the server is down."""


class MissingItem(DownloadError):
    """The archive answers, but has no such item, or no usable video in it."""


class WrongChecksum(DownloadError):
    """The file came whole, but is not the one announced."""


class DiskFull(DownloadError):
    """The disk has no room for the rest of the file. What has come is kept."""


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch: its address, size in bytes, and checksum as ``algorithm:hex digits``."""

    name: str
    url: str
    size: int
    checksum: str


def archive_file(item: str, like: str = "", base: str = ARCHIVE, timeout: float = FIRST_ANSWER) -> RemoteFile:
    """The best video file of an Internet Archive item, by the item's metadata record.

    Args:
        item: the item's name on the archive, such as ``steamboat-willie-mickey``.
        like: only files with this word in their name, in any case, unless no video has it.
        base: the archive's address (tests put a local server here).
        timeout: seconds to wait for the record.

    Raises:
        Unreachable: if no metadata record came.
        MissingItem: if the archive has no such item, or no video in it that can be checked.
    """
    url = f"{base}/metadata/{urllib.parse.quote(item)}"
    record = within(timeout, lambda: _json(url, timeout), url)
    files = record.get("files")
    files = [file for file in files if isinstance(file, dict)] if isinstance(files, list) else []
    if not files or record.get("is_dark"):  # an unknown item is answered by an empty record
        raise MissingItem(f"{base} has no item {item!r} (any more): its metadata record lists no files.")
    best = best_video(files, like)
    if best is None:
        raise MissingItem(f"The item {item!r} at {base} holds no video file with a size and a checksum.")
    address = f"{base}/download/{urllib.parse.quote(item)}/{urllib.parse.quote(best['name'])}"
    return RemoteFile(best["name"], address, _size(best), _checksum(best))


def best_video(files: Iterable[dict[str, Any]], like: str = "") -> dict[str, Any] | None:
    """Choose among the ``files`` of a metadata record; None if none is a video that can be checked.

    The rule, each step among those that the step before left:

    1. videos by suffix, public, with a size and a checksum; with ``like`` in the name if any has it;
    2. no excerpts: at least 90% as long as the longest (files without a length stay);
    3. at most 600 MB, unless none is that small;
    4. the uploader's original before the archive's own conversions of it;
    5. the most picture lines, where more than 720 count as 720;
    6. the most bytes; then the first by name.
    """
    videos = [f for f in files if _usable(f)]
    videos = [f for f in videos if like.lower() in f["name"].lower()] or videos
    longest = max((_seconds(f) or 0.0 for f in videos), default=0.0)
    videos = [f for f in videos if (_seconds(f) or longest) >= 0.9 * longest]
    videos = [f for f in videos if _size(f) <= BYTES_WANTED] or videos

    def rank(f: dict[str, Any]) -> tuple:
        lines = min(int(_number(f.get("height"))), LINES_WANTED)
        return (f.get("source") != "original", -lines, -_size(f), f["name"])

    return min(videos, key=rank, default=None)


def fetch(file: RemoteFile, target: Path, pause: float = 1.0) -> Path:
    """Download ``file`` to ``target``, going on where an earlier attempt stopped.

    A dropped connection is taken up again by HTTP Range; a server that ignores Range sends all of it again.

    Args:
        file: what to fetch.
        target: where to; its folder is made if need be. The unfinished file lies beside it, as ``.part``.
        pause: seconds to wait after a dropped connection, twice as long after each that brought nothing.

    Returns:
        ``target``, whose checksum is right.

    Raises:
        Unreachable: if the server cannot be reached at all.
        WrongChecksum: if the bytes are not those announced; the part is deleted.
        DiskFull: if the rest does not fit; the part is kept.
        DownloadError: if the connection keeps breaking (the part is kept), or the server lacks the file.
    """
    digits = file.checksum.partition(":")[2][:8]
    part = target.with_name(f"{target.name}.{digits}.part")  # parts of two versions are never mixed
    try:
        with atomic.locked(target, f"downloading {file.name}"):
            if not (target.is_file() and _right(file, target)):  # another process may have fetched it meanwhile
                part.touch()
                _fill(part, file, pause, label=target.name)
                _check(file, part)
                atomic.flush(part)
                part.replace(target)
    except OSError as error:
        raise DownloadError(f"{part} cannot be written ({error.strerror}): {file.name} has no place.") from error
    return target


def answering(files: Iterable[RemoteFile], timeout: float = FIRST_ANSWER) -> list[RemoteFile]:
    """Those of several addresses that answer, and announce the right size; all are asked at once.

    Args:
        files: in the order in which they are wanted, which is kept.
        timeout: seconds to wait for all of them together.

    Raises:
        Unreachable: if none answers; the message has the reason of each.
    """
    answers = [_Answer(file, timeout) for file in files]
    deadline = time.monotonic() + timeout
    for answer in answers:
        answer.join(max(0.0, deadline - time.monotonic()))
    problems = [answer.problem for answer in answers]  # as they are now: a late answer may still come
    good = [answer.file for answer, problem in zip(answers, problems) if problem is None]
    if not good:
        reasons = (f"{answer.file.url} cannot be reached ({problem})" for answer, problem in zip(answers, problems))
        raise Unreachable("; ".join(reasons))
    return good


class _Answer(threading.Thread):
    """Asks for the first byte of a file; ``problem`` is None when it has been announced with the right size."""

    def __init__(self, file: RemoteFile, timeout: float):
        super().__init__(daemon=True)
        self.file, self.timeout = file, timeout
        self.problem: str | None = f"no answer within {timeout:g} seconds"
        self.start()

    def run(self) -> None:
        try:
            with web.urlopen(self.file.url, self.timeout, Range="bytes=0-0") as answer:
                size = (answer.headers.get("Content-Range") or "").rpartition("/")[2]
                size = size or answer.headers.get("Content-Length") or "unknown"
            self.problem = None if size == str(self.file.size) else f"its size is {size}: is a login page in between?"
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.problem = str(error) or type(error).__name__


def digest(path: Path, algorithm: str) -> str:
    """Hex digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def within(seconds: float, function: Callable[[], T], what: str) -> T:
    """Run ``function``, but wait no longer than ``seconds``: a name look-up has no time limit of its own.

    Raises:
        Unreachable: if it is not done by then.
    """
    done: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(function())
        except BaseException as error:
            failed.append(error)

    worker = threading.Thread(target=run, daemon=True)
    worker.start()
    worker.join(seconds)
    if failed:
        raise failed[0]
    if not done:
        raise Unreachable(f"{what} did not answer within {seconds:g} seconds.")
    return done[0]


def _json(url: str, timeout: float) -> dict[str, Any]:
    page, deadline = bytearray(), time.monotonic() + timeout
    try:
        with web.urlopen(url, timeout) as answer:
            while chunk := answer.read1(CHUNK):
                page += chunk
                if time.monotonic() > deadline:  # nobody waits for it any more
                    raise TimeoutError(f"no end within {timeout:g} seconds")
        record = json.loads(page)
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"{url} cannot be reached ({error}).") from error
    except (ValueError, RecursionError) as error:
        raise Unreachable(f"{url} answered with no metadata record: is a login page in between?") from error
    return record if isinstance(record, dict) else {}


def _open(file: RemoteFile, have: int) -> http.client.HTTPResponse:
    """Ask for the bytes from ``have`` on. The archive passes requests on to the host that holds the file."""
    headers = {"Range": f"bytes={have}-"} if have else {}
    try:
        return web.urlopen(file.url, STALL, most=2 * file.size + web.PAGE_BYTES, **headers)
    except urllib.error.HTTPError as error:
        if error.code in (401, 403, 404, 410):
            raise DownloadError(f"{file.url} is listed but not served (HTTP {error.code}).") from error
        raise


def _fill(part: Path, file: RemoteFile, pause: float, label: str) -> None:
    """Connect as often as it takes until ``part`` has the announced size."""
    if part.stat().st_size > file.size:
        part.write_bytes(b"")
    if file.size - part.stat().st_size > shutil.disk_usage(part.parent).free:
        raise _full(file, part)
    failures = 0
    bar = tqdm(total=file.size, initial=part.stat().st_size, unit="B", unit_scale=True, desc=label)
    with bar:
        while (have := part.stat().st_size) < file.size:
            problem = "the connection ended early"
            try:
                with _open(file, have) as answer, part.open("r+b", buffering=0) as out:
                    _pour(answer, out, file, have, bar)
            except (OSError, http.client.HTTPException) as error:
                problem = str(error) or type(error).__name__
            come = part.stat().st_size
            failures = 0 if come - have >= LEAST or come == file.size else failures + 1
            if failures == ATTEMPTS:
                raise _given_up(file, part, problem)
            if part.stat().st_size < file.size:
                time.sleep(pause * 2**failures)


def _pour(answer: http.client.HTTPResponse, out: BinaryIO, file: RemoteFile, have: int, bar: Bar) -> None:
    """Write the answer's bytes to their places; nothing beyond the announced size."""
    position = _first(answer, file, have)
    out.seek(position)
    while position < file.size and (chunk := answer.read1(min(CHUNK, file.size - position))):
        bar.update(position - bar.n)
        try:
            position += _write(out, chunk)
        except OSError as error:
            if error.errno not in FULL:
                raise DownloadError(f"{out.name} cannot be written ({error.strerror}).") from error
            raise _full(file, Path(out.name)) from error
    bar.update(position - bar.n)


def _first(answer: http.client.HTTPResponse, file: RemoteFile, have: int) -> int:
    """The place in the file of an answer's first byte. HTTPException if it is an answer to something else."""
    if answer.status == 206:
        stated = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range") or "")
        if not stated or int(stated[1]) != have:
            raise http.client.HTTPException("other bytes came than were asked for")
        length, wrong = stated[2], stated[2] not in ("*", str(file.size))
    else:
        length = answer.headers.get("Content-Length") or ""
        # longer is heeded where something has come, which may not be lost to another file
        wrong = length.isdigit() and (int(length) < file.size or (have > 0 and int(length) > file.size))
    if wrong:
        raise http.client.HTTPException(f"{length} bytes came in place of {file.size}: a login page in between?")
    return have if answer.status == 206 else 0


def _full(file: RemoteFile, part: Path) -> DiskFull:
    return DiskFull(
        f"The disk is full: {file.name} needs {megabytes(file.size)}. What has come, "
        f"{megabytes(part.stat().st_size)}, is kept in {part}. "
        "Make room and run this again: the download goes on where it stopped."
    )


def _write(out: BinaryIO, chunk: bytes) -> int:
    """Write all of ``chunk``; an unbuffered file may take it in several bites."""
    rest = memoryview(chunk)
    while rest:
        rest = rest[out.write(rest) :]
    return len(chunk)


def _given_up(file: RemoteFile, part: Path, problem: str) -> DownloadError:
    have = part.stat().st_size
    if not have:
        part.unlink()
        return Unreachable(f"{file.url} cannot be reached ({problem}).")
    return DownloadError(
        f"The download of {file.name} broke off at {megabytes(have)} of {megabytes(file.size)} ({problem}). "
        f"They are kept in {part}. Run this again: it goes on where it stopped."
    )


def _right(file: RemoteFile, path: Path) -> bool:
    algorithm, _, expected = file.checksum.partition(":")
    return path.stat().st_size == file.size and digest(path, algorithm) == expected


def _check(file: RemoteFile, part: Path) -> None:
    if not _right(file, part):
        part.unlink()
        algorithm, _, expected = file.checksum.partition(":")
        raise WrongChecksum(
            f"{file.name} came with the wrong {algorithm} checksum (announced: {expected[:12]}...), "
            "so it was deleted. Run this again to download it anew."
        )


def _usable(file: dict[str, Any]) -> bool:
    name = file.get("name")
    video = isinstance(name, str) and name.isprintable() and name.lower().endswith(VIDEO_SUFFIXES)
    return video and _size(file) > 0 and _checksum(file) != "" and str(file.get("private")).lower() != "true"


def _size(file: dict[str, Any]) -> int:
    """In bytes; 0 for what is no size."""
    text = str(file.get("size"))
    return int(text) if re.fullmatch("[0-9]{1,15}", text) else 0


def _checksum(file: dict[str, Any]) -> str:
    """``algorithm:hex digits``; empty for what is no checksum."""
    for algorithm, digits in CHECKSUMS.items():
        if re.fullmatch(f"[0-9a-f]{{{digits}}}", text := str(file.get(algorithm)).lower()):
            return f"{algorithm}:{text}"
    return ""


def _seconds(file: dict[str, Any]) -> float | None:
    """A record's length is written as seconds (``466.47``) or as a clock (``7:46``)."""
    total = 0.0
    for field in str(file.get("length") or "").split(":"):
        total = 60 * total + _number(field)
    return total or None


def _number(text: object) -> float:
    try:
        number = float(str(text))
    except ValueError:
        return 0.0
    return number if math.isfinite(number) else 0.0


def megabytes(size: int) -> str:
    """``78.2 MB``."""
    return f"{size / 1e6:.1f} MB"
