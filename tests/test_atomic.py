"""Whole or not there: whoever is killed, however many write at once."""

import os
import signal
import subprocess
import sys
import time

import pytest

from vg import atomic

WRITER = """
import sys, time
from pathlib import Path
from vg import atomic
path, text = Path(sys.argv[1]), sys.argv[2]
for _ in range(30):
    with atomic.replacing(path) as partial:
        with open(partial, "w") as file:
            for _ in range(100):
                file.write(text * 100)
print("done")
"""
HOLDER = """
import sys, time
from pathlib import Path
from vg import atomic
with atomic.locked(Path(sys.argv[1]), "counting"):
    print("holding", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def start(code: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True)


def left(folder) -> list[str]:
    return sorted(name for name in os.listdir(folder) if not name.endswith(".lock"))


def test_a_failure_changes_nothing_and_leaves_nothing(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic.replacing(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and left(tmp_path) == ["a.txt"]


def test_folders_above_are_made_and_only_the_file_is_left(tmp_path):
    path = tmp_path / "a" / "b.bin"
    atomic.write_bytes(path, b"123")
    assert path.read_bytes() == b"123" and left(path.parent) == ["b.bin"]


def test_what_a_killed_process_left_is_swept_by_the_next_and_the_file_is_whole(tmp_path):
    path = tmp_path / "[odd] name*.txt"
    for k in range(6):
        writer = start(WRITER, str(path), "x")
        time.sleep(0.15 + 0.05 * k)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        if path.exists():
            assert path.read_text() == "x" * 10_000
    atomic.write_bytes(path, b"y")
    assert left(tmp_path) == [path.name]


def test_work_that_goes_on_is_not_swept(tmp_path):
    path = tmp_path / "a.txt"
    with atomic.replacing(path) as partial:
        partial.write_text("first")
        atomic.write_bytes(path, b"second")
        assert path.read_text() == "second" and partial.read_text() == "first"
    assert path.read_text() == "first"


def test_a_name_that_begins_alike_is_left_alone(tmp_path):
    with atomic.workspace(tmp_path / "film-64") as folder:
        atomic.sweep(tmp_path / "film")
        assert folder.exists()


def test_four_writers_at_once_end_with_one_whole_file(tmp_path):
    path = tmp_path / "a.txt"
    writers = [start(WRITER, str(path), letter) for letter in "abcd"]
    assert [writer.communicate()[0].strip() for writer in writers] == ["done"] * 4
    text = path.read_text()
    assert text == text[0] * 10_000 and left(tmp_path) == ["a.txt"]


def test_a_lock_makes_the_second_wait_or_says_who_holds_it(tmp_path, capsys):
    target = tmp_path / "run"
    holder = start(HOLDER, str(target), "1")
    assert holder.stdout.readline() == "holding\n"
    with pytest.raises(atomic.Busy, match="another process is counting"), atomic.locked(target, "counting", wait=False):
        pass
    with atomic.locked(target, "counting"):
        assert holder.wait() == 0
    assert "waiting for it" in capsys.readouterr().err


def test_a_killed_process_holds_no_lock(tmp_path):
    target = tmp_path / "run"
    holder = start(HOLDER, str(target), "60")
    assert holder.stdout.readline() == "holding\n"
    holder.kill()
    holder.wait()
    with atomic.locked(target, "counting", wait=False):
        pass


def test_a_folder_is_swept_of_all_abandoned_work_and_of_nothing_else(tmp_path):
    abandoned = tmp_path / ".film-64.a1b2c3_d"
    abandoned.mkdir()
    (abandoned / "work.npy").write_bytes(b"123")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "film-64").mkdir()
    with atomic.workspace(tmp_path / "film-128") as held:
        atomic.sweep_all(tmp_path)
        assert held.exists()
    assert left(tmp_path) == [".hidden", "film-64"]
    atomic.sweep_all(tmp_path / "not there")


def test_what_was_left_half_removed_is_removed_by_the_next(tmp_path):
    for name in (".film-64.a1b2c3_d.gone", ".film-128.a1b2c3_d.gone"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "work.npy").write_bytes(b"123")
    (tmp_path / ".mine.gone").mkdir()
    atomic.sweep(tmp_path / "film-64")
    assert left(tmp_path) == [".film-128.a1b2c3_d.gone", ".mine.gone"]
    atomic.sweep_all(tmp_path)
    assert left(tmp_path) == [".mine.gone"]


@pytest.mark.skipif(os.name == "nt", reason="permissions are another matter on Windows")
def test_who_may_read_new_files_may_read_what_was_written_privately(tmp_path):
    umask = os.umask(0o027)
    try:
        with atomic.replacing(tmp_path / "a") as partial:
            partial.touch(mode=0o600)
    finally:
        os.umask(umask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640 and left(tmp_path) == ["a"]


def test_whoever_takes_a_workspace_while_it_is_swept_keeps_what_it_takes(tmp_path, monkeypatch):
    (new := tmp_path / ".a.txt.a1b2c3_d").mkdir()
    hold, made = atomic._hold, []

    class Held:
        """What the sweeper holds; when it lets go, the folder's maker comes, a moment late."""

        def __init__(self, folder):
            self.lock = hold(folder)

        def release(self):
            self.lock.release()
            made.append(hold(new))
            (new / "work").touch()

    monkeypatch.setattr(atomic, "_hold", Held)
    atomic.sweep(tmp_path / "a.txt")
    assert made[0] is not None and (new / "work").exists()
    made[0].release()
    assert left(tmp_path) == [new.name]


def test_folders_of_such_a_name_that_are_somebodys_are_let_be(tmp_path):
    for name in (".clip.gif.originals", ".clip.gif.my_clips", ".clip.gif.backup"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "precious").write_text("x")
    atomic.write_bytes(tmp_path / "clip.gif", b"new")
    assert len(list(tmp_path.glob(".clip.gif.*/precious"))) == 3
