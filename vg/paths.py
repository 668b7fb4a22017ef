"""Where things lie: inputs, what we compute from them, checkpoints, pictures.

Nothing is created here. Whoever writes into a folder makes it first.
"""

import os
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
    return Path(value).expanduser().absolute() if value else default


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
