"""A training's state on disk: one file with a checksum, the one before it beside it, one process at a time."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vg import atomic
from vg.hashing import own_copies, tensor_hash

STATE = "state.safetensors"
PREVIOUS = "state.previous.safetensors"  # a minute older: what is gone on from where the other is damaged


class BadState(ValueError):
    """A state is damaged."""


@dataclass(frozen=True)
class SavedState:
    """What ``read`` found.

    Attributes:
        card: what ``write`` was given, as JSON brings it back.
        tensors: on the CPU.
        path: the file that it is from, ``STATE`` or ``PREVIOUS``.
    """

    card: dict
    tensors: dict[str, Tensor]
    path: Path


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Be the only process that trains in ``folder``.

    Raises:
        Busy: if another one does.
        OSError: if nothing can be written there.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(atomic.locked(folder / STATE, "training in this folder", wait=False))
        except OSError as problem:
            raise _cannot_write(folder, problem) from problem
        yield


def write(folder: Path, card: dict, tensors: Mapping[str, Tensor], keep: bool = True) -> None:
    """Replace the state in ``folder``, which becomes the previous one.

    Args:
        folder: made where it is not there.
        card: whatever JSON holds.
        tensors: by name; two names may be one tensor.
        keep: False if the state that is there is damaged: then the previous one stays.

    Raises:
        OSError: if it cannot be written; what was there still is.
    """
    path, text, tensors = folder / STATE, json.dumps(card), own_copies(tensors)
    try:
        with atomic.replacing(path) as partial:
            save_file(tensors, partial, {"run": text, "sha256": _checksum(text, tensors)})
            if keep:
                _keep_previous(path, partial.with_name(PREVIOUS))
    except (OSError, SafetensorError) as problem:
        raise _cannot_write(path, problem) from problem


def read(folder: Path) -> SavedState | None:
    """The newest good state in ``folder``, None where there is none. A damaged one is named on stderr and passed over.

    Raises:
        BadState: if none of those that are there is whole.
        OSError: if a file cannot be read.
    """
    path, previous = folder / STATE, folder / PREVIOUS
    if not path.exists():
        return None
    try:
        return _read(path)
    except BadState as problem:
        try:
            state = _read(previous)
        except (BadState, FileNotFoundError):
            raise problem from None
        print(f"{problem} {PREVIOUS}, beside it, is good: going on from there.", file=sys.stderr)
        return state


def _read(path: Path) -> SavedState:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        text, checksum = metadata["run"], metadata["sha256"]
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as problem:
        raise BadState(f"{path} is damaged ({problem}).") from problem
    if _checksum(text, tensors) != checksum:
        raise BadState(f"{path} is damaged (its checksum is another).")
    return SavedState(json.loads(text), tensors, path)


def _checksum(text: str, tensors: Mapping[str, Tensor]) -> str:
    return hashlib.sha256(f"{text}\n{tensor_hash(tensors)}".encode()).hexdigest()


def _keep_previous(path: Path, partial: Path) -> None:
    """A second name for the file, which goes on under it when the first is given to another."""
    if not path.exists():  # a new run: what is there belongs to an older one
        path.with_name(PREVIOUS).unlink(missing_ok=True)
        return
    try:
        os.link(path, partial)
    except OSError:  # not every file system has links
        shutil.copyfile(path, partial)
        atomic.flush(partial)
    os.replace(partial, path.with_name(PREVIOUS))


def _cannot_write(path: Path, problem: Exception) -> OSError:
    return OSError(
        f"{path} cannot be written ({problem}). Make room or allow it, or take a folder on another disk "
        "(VG_RUNS names that of all runs). What was saved before is still there."
    )
