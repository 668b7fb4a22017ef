"""Where things lie: inputs, what we compute from them, checkpoints, pictures.

Nothing is created here. Whoever writes into a folder makes it first.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def root() -> Path:
    """The repository: the folder above ``vg`` that holds ``pyproject.toml``; without one, the current folder.

    (Without one means that ``vg`` was installed away from its repository.)
    """
    above = Path(__file__).resolve().parent.parent
    return above if (above / "pyproject.toml").is_file() else Path.cwd()


def _from_environment(variable: str, default: Path) -> Path:
    """The absolute folder named by an environment variable, or ``default`` where it is unset or empty."""
    value = os.environ.get(variable)
    if not value:
        return default
    try:
        return Path(value).expanduser().absolute()
    except RuntimeError:  # no HOME, and the user is not in the system's list
        raise ValueError(
            f"{variable} is {value!r}, but nothing says where that home folder is. Set {variable} to a path without ~."
        ) from None


@contextmanager
def writable(folder: Path, variable: str = "VG_CACHE") -> Iterator[None]:
    """An error of the disk, inside, becomes one sentence that names the folder and the variable to set.

    What is read meanwhile must name itself, by an error of its own that is no OSError.

    Raises:
        OSError: with that sentence, from the first one.
    """
    try:
        yield
    except OSError as problem:
        advice = "Check its disk" if problem.errno == errno.EIO else "Make room there"
        raise OSError(
            f"{folder} cannot be written ({problem.strerror or problem}). "
            f"{advice}, or set {variable} to another folder."
        ) from problem


def shortened(name: str, most: int = 150) -> str:
    """The first bytes of a name, for that of a folder with more in it: file systems have room for 255."""
    return name.encode()[:most].decode(errors="ignore")


def data_dir() -> Path:
    """Inputs, possibly read-only: ``$VG_DATA``, or ``data/`` in the repository."""
    return _from_environment("VG_DATA", download_dir())


def download_dir() -> Path:
    """Where downloads are written: ``data/`` in the repository (``$VG_DATA`` may be read-only)."""
    return root() / "data"


def cache_dir() -> Path:
    """What we compute from inputs, frame stores and latents: ``$VG_CACHE``, or ``data/cache/``."""
    return _from_environment("VG_CACHE", root() / "data" / "cache")


def runs_dir() -> Path:
    """Checkpoints of training runs: ``$VG_RUNS``, or ``runs/`` in the repository."""
    return _from_environment("VG_RUNS", root() / "runs")


def assets_dir() -> Path:
    """What ships with the repository: ``assets/``, with ``assets/checkpoints/``."""
    return root() / "assets"


def out_dir() -> Path:
    """Clips that a reader makes: ``out/`` in the repository."""
    return root() / "out"
