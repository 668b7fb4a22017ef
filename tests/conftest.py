"""Fixtures that several test files share."""

import pytest

from vg.data import drawn_cartoon, film, open_store, web


@pytest.fixture
def offline(monkeypatch):
    """Any attempt to open an address fails the test."""

    def never(*args, **kwargs):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(web, "urlopen", never)


@pytest.fixture(params=["cartoon", "film"])
def some_video(request, tmp_path, monkeypatch):
    """Its name, and a store of 64 pixels: the drawn cartoon, and the film where it is at hand."""
    if request.param == "cartoon":
        monkeypatch.setenv("VG_CACHE", str(tmp_path))
        return request.param, open_store(drawn_cartoon(), size=64, frames=1200)
    monkeypatch.setenv("VG_PROFILE", "laptop")
    found = film(download=False)
    if found.path is None:
        pytest.skip("the film is not at hand")
    return request.param, open_store(found, size=64, frames=2400)
