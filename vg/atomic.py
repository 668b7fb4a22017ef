"""Files that are whole or not there, whoever is killed meanwhile, and one writer at a time.

Everything is made in a *workspace*, a hidden folder beside its target, and moved into place by one rename. A process
holds a lock in its workspace while it lives. A workspace that nobody holds belongs to a process that was killed, and
the next one that writes to the same target removes it. Locks go with their process, so none is ever left locked.
"""

import glob
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

HELD = ".held"  # the lock in a workspace
GONE = ".gone"  # ends the name of a workspace that is being removed


class Busy(RuntimeError):
    """Another process is writing there, and this one was not to wait."""


@contextmanager
def workspace(target: Path) -> Iterator[Path]:
    """A private folder beside ``target``, on its disk, removed at the end. Abandoned ones of ``target`` go first.

    Args:
        target: the file or folder that is going to be made; folders above it are made.

    Raises:
        OSError: if nothing can be written beside ``target``.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_prefix(target), dir=target.parent))
        held = _hold(folder)
        if held is not None:
            break  # else another process took it for an abandoned one before it was held
    try:
        yield folder
    finally:
        held.release()
        shutil.rmtree(_renamed(folder), ignore_errors=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to; when all went well its file takes the name ``path`` in one step, else nothing has changed.

    The bytes reach the disk before the name does, so that a power cut leaves the old file or the new one. Who may
    read it is up to the umask, as with every new file, however private a file the writer made.
    """
    path = Path(path)
    with workspace(path) as folder:
        partial = folder / path.name
        yield partial
        with suppress(OSError):  # not every file system has permissions
            shutil.copymode(_ordinary(folder), partial)
        flush(partial)
        os.replace(partial, path)


def _ordinary(folder: Path) -> Path:
    """A new file with the permissions that new files have here; to ask for the umask is to change it."""
    path = folder / ".ordinary"
    path.touch()
    return path


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file or none."""
    with replacing(path) as partial:
        partial.write_bytes(data)


def check_writable(folder: Path) -> None:
    """Try whether files can be written to ``folder``, before work that is to end there. Nothing is left of it.

    Args:
        folder: where it is not there, the nearest one above that is there is tried.

    Raises:
        OSError: if not.
    """
    folder = folder.absolute()
    try:
        with tempfile.TemporaryFile(dir=next(each for each in (folder, *folder.parents) if each.exists())) as file:
            file.write(bytes(4096))
    except OSError as problem:
        raise OSError(f"{folder} cannot be written ({problem}). Make room or allow it, or take another.") from problem


def flush(path: Path) -> None:
    """Wait until a file's bytes are on the disk."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def sweep(target: Path) -> None:
    """Remove what killed processes left of their work on ``target``; other folders of such a name are let be."""
    _remove_abandoned(target.parent, glob.escape(_prefix(target)), _surely_ours)


def sweep_all(folder: Path) -> None:
    """Remove what killed processes left of their work on anything in ``folder``, a folder of our own."""
    _remove_abandoned(folder, ".*.", lambda _: True)


def _surely_ours(folder: Path) -> bool:
    with suppress(OSError):  # it is gone already
        return (folder / HELD).exists() or folder.name.endswith(GONE) or not any(folder.iterdir())
    return False


def _remove_abandoned(parent: Path, prefix: str, ours: Callable[[Path], bool]) -> None:
    made = prefix + 8 * "[a-z0-9_]"  # as mkdtemp names them
    for name in (each for end in ("", GONE) for each in glob.glob(made + end, root_dir=parent, include_hidden=True)):
        folder = parent / name
        if folder.is_dir() and ours(folder) and (held := _hold(folder)) is not None:
            if not name.endswith(GONE):  # else whoever was removing it was killed too
                folder = _renamed(folder)  # so that whoever made it just now takes another
            held.release()
            shutil.rmtree(folder, ignore_errors=True)


def _renamed(folder: Path) -> Path:
    """Under a name that says that it is being removed, which goes on if this process is killed meanwhile."""
    with suppress(OSError):  # Windows renames no folder in use
        return folder.rename(f"{folder}{GONE}")
    return folder


@contextmanager
def locked(target: Path, what: str, wait: bool = True) -> Iterator[None]:
    """Be the only process that writes to ``target``; the lock is the file ``.<name>.lock`` beside it.

    Args:
        target: a file or folder, which need not be there.
        what: what the other process is doing, for the message: "another process is <what>".
        wait: wait for it, and say so; else raise.

    Raises:
        Busy: if another process holds the lock and ``wait`` is False.
        OSError: if the lock cannot be made.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(target.parent / f".{target.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not wait:
            raise Busy(f"{target}: another process is {what}. Wait until it is done, or stop it.") from None
        print(f"{target}: another process is {what}; waiting for it.", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _prefix(target: Path) -> str:
    return f".{target.name}."


def _hold(folder: Path) -> FileLock | None:
    """The lock of a workspace, taken; None if another process has it, or the folder is gone."""
    lock = FileLock(folder / HELD)
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):
        return None
    if (folder / HELD).exists():
        return lock
    lock.release()
    return None
