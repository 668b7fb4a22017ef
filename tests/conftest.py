"""Fixtures that several test files share."""

import pytest

from vg.data import web


@pytest.fixture
def offline(monkeypatch):
    """Any attempt to open an address fails the test."""

    def never(*args, **kwargs):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(web, "urlopen", never)
