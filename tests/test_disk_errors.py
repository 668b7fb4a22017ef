"""A disk that fails while a store is made: said is which file or folder it was, the one that was read or the cache."""

import errno
import os
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import videos as files
from PIL import Image

from vg.data import BadVideo, building, clock, download, image_folder, image_store, open_stores, pictures, stills, video

STORES = [{"size": 8}, {"size": 16}]
READING = {"checksum": (download, "digest"), "probing": (clock, "_cut_off"), "decoding": (pictures, "_decoded")}
ERRORS = [errno.EIO, errno.ESTALE, errno.ENOSPC]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def film(tmp_path: Path) -> Path:
    shades = np.arange(12, dtype=np.uint8)[:, None, None, None] * 20
    return files.write(tmp_path / "a.mp4", shades.repeat(32, 1).repeat(48, 2).repeat(3, 3), range(12), Fraction(1, 12))


def fails_with(error: int):
    """In the place of a function: raises an error that names no file, as reading and writing do."""

    def fail(*arguments, **options):
        raise OSError(error, os.strerror(error))

    return fail


def left(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock")]


@pytest.mark.parametrize("moment", READING)
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("wanted", [STORES[:1], STORES], ids=["one", "two"])
def test_what_cannot_be_read_is_the_film(film, cache, monkeypatch, moment, error, wanted):
    monkeypatch.setattr(*READING[moment], fails_with(error))
    words = re.escape(f"{film} cannot be read ({os.strerror(error)}).")
    with pytest.raises(BadVideo, match=f"^{words}") as caught:
        open_stores(video(film), wanted)
    assert str(cache) not in str(caught.value) and "VG_CACHE" not in str(caught.value) and left(cache) == []


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("wanted", [STORES[:1], STORES], ids=["one", "two"])
def test_what_cannot_be_written_is_the_cache(film, cache, monkeypatch, error, wanted):
    monkeypatch.setattr(building._Raw, "save", fails_with(error))
    words = re.escape(f"{cache / 'frames'} cannot be written ({os.strerror(error)}).")
    with pytest.raises(OSError, match=f"^{words}.*VG_CACHE") as caught:
        open_stores(video(film), wanted)
    assert str(film) not in str(caught.value) and left(cache) == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for k in range(2):
            Image.new("RGB", (8, 8), (40 * k, 0, 0)).save(tmp_path / "photos" / name / f"{k}.png")
    return tmp_path / "photos"


@pytest.mark.parametrize("error", ERRORS)
def test_of_pictures_it_is_the_picture_or_the_cache(folder, cache, monkeypatch, error):
    with monkeypatch.context() as patch, pytest.raises(ValueError, match=rf"a/0\.png in {folder}.*") as caught:
        patch.setattr(stills, "read_bytes", fails_with(error))
        image_folder(folder, 8)
    assert os.strerror(error) in str(caught.value) and "VG_CACHE" not in str(caught.value) and left(cache) == []
    words = re.escape(f"{cache / 'images'} cannot be written ({os.strerror(error)}).")
    with monkeypatch.context() as patch, pytest.raises(OSError, match=f"^{words}.*VG_CACHE"):
        patch.setattr(image_store.np.memmap, "flush", fails_with(error))
        image_folder(folder, 8)
    assert left(cache) == []
