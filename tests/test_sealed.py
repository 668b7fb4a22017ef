"""Laws of what is kept on disk: as it was written, or made again; by one process, whoever is killed.

``VG_FUZZ=400`` sets how many times each store is damaged, ``VG_ROUNDS=20`` how many times processes race or are killed.
"""

import errno
import hashlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from vg.data import Clips, drawn_cartoon, image_drawings, open_store, sealed

FUZZ = int(os.environ.get("VG_FUZZ", 16))
ROUNDS = int(os.environ.get("VG_ROUNDS", 2))


def frames(many: int = 12) -> tuple[Path, list]:
    """A frame store: its folder, and all that it holds."""
    store = open_store(drawn_cartoon(), 16, frames=many)
    return store.folder, [np.array(store.frames).tobytes(), store.frames.shape, store.fps, store.shots, store.key]


def images(many: int = 20) -> tuple[Path, list]:
    """An image store: its folder, and all that it holds."""
    found = image_drawings(train=many, test=10)
    sides = [[side.pixels.tobytes(), side.pixels.shape, side.labels.tolist()] for side in (found.train, found.test)]
    return found.folder, [*sides, found.classes, found.sha256]


KINDS = {"frames": frames, "images": images}
CARDS = {"frames": "store.json", "images": "images.json"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("VG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return request.param


def another_process() -> None:
    """Forget which files were compared with their checksums."""
    sealed._compared.clear()


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def damage(data: bytes, rng: random.Random) -> bytes:
    """A bit flipped, a digit changed, a stretch zeroed or repeated, or the end cut off."""
    at, some = rng.randrange(len(data)), rng.randint(1, 99)
    digits = [k for k, byte in enumerate(data) if chr(byte).isdigit()]
    where = rng.choice(digits)
    return {
        "bit": data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :],
        "digit": data[:where] + rng.choice("0123456789").encode() + data[where + 1 :],
        "zeros": data[:at] + bytes(len(data[at : at + some])) + data[at + some :],
        "twice": data[: at + some] + data[at:],
        "cut": data[:at],
    }[rng.choice(["bit", "bit", "digit", "zeros", "twice", "cut"])]


def test_whatever_is_damaged_what_is_read_is_what_was_written(kind):
    folder, whole = KINDS[kind]()
    good, rng = {path: path.read_bytes() for path in sorted(folder.iterdir())}, random.Random(0)
    for _ in range(FUZZ):
        path = rng.choice(list(good))
        path.write_bytes(damage(good[path], rng))
        another_process()
        assert KINDS[kind]() == (folder, whole)
        assert left(folder.parent) == [folder.name]


def test_damage_is_said_once_in_one_line_that_names_the_file(kind, capsys):
    folder, whole = KINDS[kind]()
    data = next(folder.glob("[ft]r*.npy"))
    data.write_bytes(data.read_bytes()[:-1] + b"?")
    another_process()
    capsys.readouterr()
    assert KINDS[kind]() == KINDS[kind]() == (folder, whole)
    [line] = [line for line in capsys.readouterr().err.splitlines() if "damaged" in line]
    assert str(data) in line and "made again" in line


def lies(card: dict) -> list[str]:
    """Cards with something missing, or in its place something else."""
    made = ["", "null", "[]", '"x"', "{}", "[" * 100_000, json.dumps(card)[:-9]]
    for key in card:
        made.append(json.dumps({k: v for k, v in card.items() if k != key}))
        made += [json.dumps(card | {key: other}) for other in (None, 0, "x", [], {}, [[0, 5]], 1e400)]
    return made


def test_a_strangers_card_with_right_checksums_ends_in_no_traceback(kind):
    folder, whole = KINDS[kind]()
    path = folder / CARDS[kind]
    card = json.loads(path.read_text())
    for text in lies({key: card[key] for key in card if key not in ("bytes", "sha256")}):
        path.write_text(text)
        (folder / "checksums.json").unlink()
        sealed._seal(folder)
        assert KINDS[kind]() == (folder, whole), text[:99]


def header(shape: tuple, dtype: str = "|u1") -> bytes:
    path = Path(os.environ["VG_CACHE"]) / "header"
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return path.read_bytes()


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((10**12, 1, 16, 16), "|u1"), ((12, 1, 16, 16), "<f8"), ((12, 1, 16, 15), "|u1"), ((3072,), "|u1"), ((), "|O")],
)
def test_a_strangers_array_is_measured_before_memory_is_taken(shape, dtype):
    folder, whole = frames()
    data = (folder / "frames.npy").read_bytes()
    (folder / "frames.npy").write_bytes(header(shape, dtype) + data[-3072:])
    (folder / "checksums.json").unlink()
    sealed._seal(folder)
    assert frames() == (folder, whole)


def test_a_process_compares_a_file_once(kind, monkeypatch):
    KINDS[kind]()
    another_process()
    crc, calls = sealed.zlib.crc32, []
    monkeypatch.setattr(sealed.zlib, "crc32", lambda data: (calls.append(1), crc(data))[1])
    KINDS[kind]()
    assert calls
    calls.clear()
    KINDS[kind]()
    assert not calls


# --- long files ---------------------------------------------------------------------------------------------


@pytest.fixture
def blocks(monkeypatch) -> list[int]:
    """Every file counts as long, in blocks of 1,000 bytes; grows by each block that is compared."""
    monkeypatch.setattr(sealed, "AT_ONCE", 0)
    monkeypatch.setattr(sealed, "BLOCK", 1000)
    open_store(drawn_cartoon(), 16, frames=30)
    crc, sizes = sealed.zlib.crc32, []
    monkeypatch.setattr(sealed.zlib, "crc32", lambda data: (sizes.append(len(data)), crc(data))[1])
    return sizes


INDICES = [
    0, -1, 7, np.int64(3), slice(2, 9), slice(None), slice(25, 3, -7), slice(9, 9), ..., (..., 3), (4, 0), [1, 5, 5],
    np.array([[1, 2], [28, 0]]), (np.array([3, 29]), 0, slice(2, 4)), (slice(1, 3), ..., None), None,
    np.arange(30) % 7 == 0, slice(7, 8),
]  # fmt: skip


def test_a_long_file_is_compared_block_by_block_where_it_is_read(blocks):
    for index in INDICES:
        blocks.clear()
        store = open_store(drawn_cartoon(), 16, frames=30)
        plain = np.load(store.folder / "frames.npy")
        assert isinstance(store.frames, sealed.Blocks) and len(blocks) < 4, "the header, and the card"
        assert np.array_equal(store.frames[index], plain[index])
        offset = (store.folder / "frames.npy").stat().st_size - plain.size
        places = np.arange(plain.size).reshape(plain.shape)[index]
        touched = set(((offset + np.asarray(places).ravel()) // 1000).tolist())
        assert touched <= set(np.flatnonzero(~store.frames._unread).tolist()), index
        count = len(blocks)
        assert np.array_equal(store.frames[index], plain[index]) and len(blocks) == count, "once"
    assert count < 10, "the rest is left for later"


def test_a_long_array_is_used_like_any_other(blocks):
    store = open_store(drawn_cartoon(), 16, frames=30)
    plain = np.load(store.folder / "frames.npy")
    assert len(store.frames) == 30 and store.frames.shape == plain.shape and store.frames.dtype == np.uint8
    assert np.array_equal(store.frames, plain) and np.array_equal(np.stack([store.frames[3]]), plain[3:4])
    assert torch.equal(Clips(store, frames=4)[5], store.clip(5, 9)[0]) and "30 frames of 16x16" in repr(store)
    assert np.array_equal(np.stack(list(store.frames)), plain)
    with pytest.raises(IndexError):
        store.frames[30]


def test_damage_in_a_long_file_is_named_where_it_is_read_and_the_next_to_open_it_makes_it_again(blocks, capsys):
    store = open_store(drawn_cartoon(), 16, frames=30)
    plain, path = np.load(store.folder / "frames.npy"), store.folder / "frames.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    store = open_store(drawn_cartoon(), 16, frames=30)
    assert np.array_equal(store.frames[:20], plain[:20])
    for _ in range(2):
        with pytest.raises(sealed.Damaged, match=f"{path} is damaged.*Open it again"):
            store.frames[29]
    assert np.array_equal(open_store(drawn_cartoon(), 16, frames=30).frames, plain)
    assert "made again" in capsys.readouterr().err


# --- kills, races and disks ---------------------------------------------------------------------------------


def open_in_child(kind: str, cache: Path, answer: Path) -> None:
    os.environ["VG_CACHE"] = str(cache)
    (answer / f"begun-{os.getpid()}").touch()
    seal, made = sealed._seal, []
    sealed._seal = lambda folder: (made.append(1), seal(folder))[1]
    found = KINDS[kind](120 if kind == "frames" else 300)
    said = [hashlib.sha256(repr(found).encode()).hexdigest(), len(made)]
    (answer / f"done-{os.getpid()}").write_text(json.dumps(said))


@pytest.fixture(scope="module")
def processes():
    """Processes that have imported all, and forked before there were threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vg.data", "numpy", "pytest"])
    return context


def begin(processes, kind: str, cache: Path, answer: Path, many: int) -> list:
    answer.mkdir()
    children = [processes.Process(target=open_in_child, args=(kind, cache, answer)) for _ in range(many)]
    for child in children:
        child.start()
    deadline = time.monotonic() + 60
    while len(list(answer.glob("begun-*"))) < many and time.monotonic() < deadline:
        time.sleep(0.005)
    return children


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_at_any_moment_the_next_gives_the_same_and_nothing_is_left(kind, cache, tmp_path, processes):
    [child] = begin(processes, kind, cache, tmp_path / "whole", 1)
    child.join(100)
    [begun], [whole] = (list((tmp_path / "whole").glob(f"{word}-*")) for word in ("begun", "done"))
    long, rng = whole.stat().st_mtime - begun.stat().st_mtime, random.Random(0)
    [folder] = (cache / kind / name for name in left(cache / kind))
    cut = 0
    for k in range(ROUNDS + 1 if ROUNDS < 20 else 20):
        shutil.rmtree(folder)
        [child] = begin(processes, kind, cache, tmp_path / f"killed-{k}", 1)
        time.sleep(rng.uniform(0, long))
        child.kill()
        child.join()
        cut += not list((tmp_path / f"killed-{k}").glob("done-*"))
        [child] = begin(processes, kind, cache, tmp_path / f"after-{k}", 1)
        child.join(100)
        [after] = (tmp_path / f"after-{k}").glob("done-*")
        assert json.loads(after.read_text())[0] == json.loads(whole.read_text())[0]
        assert left(cache / kind) == [folder.name]
    assert cut, "none was killed in time"


@pytest.mark.parametrize("many", [2, 4])
def test_of_processes_that_open_one_store_one_makes_it_and_all_have_it(kind, cache, tmp_path, processes, many):
    for k in range(ROUNDS):
        shutil.rmtree(cache, ignore_errors=True)
        children = begin(processes, kind, cache, tmp_path / f"answer-{k}", many)
        for child in children:
            child.join(100)
        assert [child.exitcode for child in children] == [0] * many
        said = [json.loads(path.read_text()) for path in (tmp_path / f"answer-{k}").glob("done-*")]
        assert len(said) == many and len({digest for digest, _ in said}) == 1
        assert sum(made for _, made in said) == 1
        assert len(left(cache / kind)) == 1


def test_work_of_another_killed_build_goes_too(kind, cache):
    abandoned = cache / kind / ".film-64x64-0123456789ab.x_1y2z3w"
    abandoned.mkdir(parents=True)
    (abandoned / "work.npy").write_bytes(bytes(1000))
    folder, _ = KINDS[kind]()
    assert left(cache / kind) == [folder.name]


def test_a_finished_store_is_read_where_nothing_can_be_written(kind, monkeypatch):
    whole = KINDS[kind]()
    another_process()

    def refuses(*arguments, **settings):
        raise PermissionError(errno.EACCES, "Permission denied")

    for name in ("locked", "workspace"):
        monkeypatch.setattr(sealed.atomic, name, refuses)
    assert KINDS[kind]() == whole


@pytest.mark.parametrize("place", ["mkdtemp", "acquire", "_seal", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_cache_that_is_full_or_protected_is_named_with_what_to_set(kind, cache, monkeypatch, place, number):
    def refuses(*arguments, **settings):
        raise OSError(number, os.strerror(number))

    owners = {
        "mkdtemp": sealed.atomic.tempfile,
        "acquire": sealed.atomic.FileLock,
        "_seal": sealed,
        "replace": sealed.os,
    }
    with monkeypatch.context() as patch, pytest.raises(OSError, match="VG_CACHE") as caught:
        patch.setattr(owners[place], place, refuses)
        KINDS[kind]()
    assert str(cache / kind) in str(caught.value) and os.strerror(number) in str(caught.value)
    assert left(cache / kind) == []
    KINDS[kind]()


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="needs a limit on the size of files")
@pytest.mark.parametrize("limit", [100, 1000, 3000, 3150])
def test_a_disk_that_fills_up_while_it_is_written_is_named(kind, cache, limit):
    import resource

    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        with pytest.raises(OSError, match=rf"{cache / kind} cannot be written.*Make room there, or set VG_CACHE"):
            KINDS[kind]()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert left(cache / kind) == []


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="needs posix_fallocate")
def test_a_disk_sets_aside_what_is_written_through_memory(cache, monkeypatch):
    """Or a full disk would kill the process, without a word."""

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match=rf"{cache / 'images'} cannot be written.*No space left.*VG_CACHE"):
        images()
    assert left(cache / "images") == []


def test_a_cache_that_is_a_file_is_named(kind, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("VG_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match=f"{tmp_path / 'file'}.*VG_CACHE"):
        KINDS[kind]()
