"""Scripts that belong to no package as modules: those of ``notebooks/``, and lists of mistakes."""

import importlib.util
from pathlib import Path
from types import ModuleType

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


def module_at(path: Path) -> ModuleType:
    """A module of its own, whatever others have loaded of the file."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
