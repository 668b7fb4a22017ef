"""Torch's threads do not spin while they wait for each other, wherever vg comes before torch."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SAYS = "import os, sys, vg; print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"


@pytest.mark.parametrize("own", [None, "77"])
def test_vg_says_how_long_threads_spin_before_torch_is_there_unless_it_was_said(own):
    env = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    env |= {} if own is None else {"GOMP_SPINCOUNT": own}
    said = subprocess.run([sys.executable, "-c", SAYS], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert said.stdout.split() == [own or "1000", "False"]


def test_make_and_the_readme_say_the_same():
    there = {
        name: re.findall(r"GOMP_SPINCOUNT\D{1,6}(\d+)", (ROOT / name).read_text()) for name in ("Makefile", "README.md")
    }
    assert there == {"Makefile": ["1000"], "README.md": ["1000"]}


def first_imported(code: str) -> str:
    """Which of vg and what brings torch is imported first."""
    return re.search(r"^(?:from|import) (vg|torch|torchvision|einops)\b", code, re.MULTILINE)[1]


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "notebooks" / "src").glob("[0-9]*.py")))
def test_notebooks_import_vg_before_torch(name):
    assert first_imported((ROOT / "notebooks" / "src" / name).read_text(encoding="utf-8")) == "vg"


def test_a_notebook_that_imports_torch_first_is_found():
    assert first_imported("import math\n\nfrom torch import nn\nimport vg\n") == "torch"
