"""Readers run cells again, in any order: once a notebook has run, each of its cells runs again, the last one first.

So one name means one thing in a notebook, and no cell takes away what an earlier one needs. ``VG_NOTEBOOKS=all`` tries
every notebook, which takes some minutes.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import jupytext
import pytest

SOURCES = sorted((Path(__file__).resolve().parent.parent / "notebooks" / "src").glob("[0-9]*.py"))
QUICK = {"06_latent_cache"}
RUN = """
import contextlib, io, json, sys
import matplotlib
matplotlib.use("agg")
from IPython.core.interactiveshell import InteractiveShell

shell, cells, failed = InteractiveShell.instance(), json.load(sys.stdin), []
forwards = list(range(len(cells)))
for k in forwards + forwards[::-1]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        result = shell.run_cell(cells[k])
    problem = result.error_before_exec or result.error_in_exec
    if problem:
        failed.append(f"cell {k}, {cells[k].strip().splitlines()[0]!r}: {type(problem).__name__}: {problem}")
print(json.dumps(failed))
"""


def failures(cells: list[str], folder: Path) -> list[str]:
    """Cells that fail, run in order and then backwards in one kernel."""
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps(cells),
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(SOURCES[0].parent.parent.parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_cells_run_again_in_reverse(source: Path, tmp_path: Path):
    if source.stem not in QUICK and os.environ.get("VG_NOTEBOOKS") != "all":
        pytest.skip("VG_NOTEBOOKS=all tries all notebooks")
    cells = [cell.source for cell in jupytext.read(source).cells if cell.cell_type == "code"]
    assert failures(cells, tmp_path) == []


def test_a_name_with_two_meanings_is_found(tmp_path: Path):
    cells = ["value = [1]", "print(value[0])", "value = 2"]
    assert [line.split(",")[0] for line in failures(cells, tmp_path)] == ["cell 1"]
