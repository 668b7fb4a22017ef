"""Laws of where things lie: what a variable names is meant, or it is said what is wrong with it."""

import os
from pathlib import Path

import pytest

from vg import paths
from vg.data import drawn_cartoon, video

FOLDERS = {"VG_DATA": paths.data_dir, "VG_CACHE": paths.cache_dir, "VG_RUNS": paths.runs_dir}


@pytest.fixture
def homeless(monkeypatch):
    """No HOME, and a user that the system does not know, as in a container run under a number."""

    pwd = pytest.importorskip("pwd")

    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


@pytest.mark.parametrize("variable", FOLDERS)
def test_a_variable_names_the_folder_home_and_all(variable, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for value, due in [("~/a", tmp_path / "a"), ("b/c", tmp_path / "b" / "c"), (str(tmp_path), tmp_path)]:
        monkeypatch.setenv(variable, value)
        assert FOLDERS[variable]() == due
    monkeypatch.setenv(variable, "")
    assert FOLDERS[variable]().is_relative_to(paths.root())


@pytest.mark.parametrize("variable", FOLDERS)
@pytest.mark.parametrize("value", ["~/cache", "~/", "~no-user-of-this-name/cache"])
def test_a_home_that_nobody_knows_is_said_with_the_variable_to_set(variable, value, homeless, monkeypatch):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match=rf"{variable} is '{value}'.*Set {variable} to a path without ~"):
        FOLDERS[variable]()


def test_without_a_home_sources_are_described_all_the_same(homeless, tmp_path):
    path = tmp_path / "mine.mp4"
    path.write_bytes(b"not looked into here")
    assert str(path) in video(path).describe() and "cartoon" in drawn_cartoon().describe()


def test_an_error_of_the_disk_names_the_folder_and_what_to_set(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(OSError, match=r"latents cannot be written \(Not a directory\).*set VG_RUNS to another folder"),
        paths.writable(tmp_path / "file" / "latents", "VG_RUNS"),
    ):
        os.mkdir(tmp_path / "file" / "latents")
    with pytest.raises(ValueError, match="other"), paths.writable(Path("x")):
        raise ValueError("other")
