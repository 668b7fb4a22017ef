"""What the documentation shows works as shown."""

import doctest
import importlib
import pkgutil

import pytest

import vg

MODULES = [m.name for m in pkgutil.walk_packages(vg.__path__, "vg.") if not m.name.startswith("vg.show")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    module = importlib.import_module(name)
    results = doctest.testmod(module, extraglobs={"torch": importlib.import_module("torch")})
    assert results.failed == 0


def test_what_vg_says_it_has_is_there():
    for name in vg.__all__:
        assert getattr(vg, name).__doc__, f"vg.{name} says nothing of itself"
    with pytest.raises(AttributeError, match=r"no attribute 'diffusion'.*checkpoints"):
        _ = vg.diffusion
    for name in ("checkpoints", "sampling", "data"):
        assert name in dir(vg)
