"""Laws of the latent cache when things go wrong: many at once, killed, full disks, damage and strangers' files.

VG_FUZZ=400 runs the long form: as many damages, 20 kills and 20 rounds of each number of processes.
"""

import json
import multiprocessing
import os
import random
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_latents import FakeTokenizer, Slow, contents, fake_store, process, write

from vg import atomic
from vg.latents import CacheCorrupt, CacheMismatch, LatentCache, checks, files, writing

FUZZ = int(os.environ.get("VG_FUZZ", 0))
DAMAGES = FUZZ or 60
KILLS, ROUNDS = (20, 20) if FUZZ else (3, 2)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "cache"
    write(folder)
    return folder


@pytest.fixture
def copy(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def left(folder: Path) -> list[str]:
    """What lies beside a cache, but for locks, which hold nothing."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


# --- many at once, and killed -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def context():
    """Processes that begin with everything imported."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        pytest.skip("no forkserver")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vg.latents"])
    return context


@pytest.mark.parametrize("count", [2, 4])
def test_processes_that_write_the_same_cache_at_once_wait_for_each_other(count, whole, tmp_path, context):
    entries = len(LatentCache.open(whole).entries)
    for k in range(ROUNDS):
        folder, barrier, ends = tmp_path / str(k) / "cache", context.Barrier(count), context.Queue()
        twins = [context.Process(target=process, args=(str(folder), barrier, ends)) for _ in range(count)]
        for twin in twins:
            twin.start()
        found = [ends.get(timeout=60) for _ in twins]
        for twin in twins:
            twin.join()
        assert sorted(found, key=str) == [0] * (count - 1) + [entries], "one does the work"
        assert contents(folder) == contents(whole) and left(folder.parent) == ["cache"]


def test_the_one_that_waits_says_so(tmp_path, capsys):
    begun, go_on = threading.Event(), threading.Event()

    class Held(FakeTokenizer):
        def encode(self, video, past=None):
            begun.set()
            go_on.wait(60)
            return super().encode(video, past)

    threads = [threading.Thread(target=write, args=(tmp_path / "cache", made)) for made in (Held(), FakeTokenizer())]
    threads[0].start()
    begun.wait(60)
    threads[1].start()
    said = ""
    for _ in range(6000):
        if "waiting for it" in (said := said + capsys.readouterr().err):
            break
        time.sleep(0.01)
    go_on.set()
    for thread in threads:
        thread.join()
    assert f"{tmp_path / 'cache'}: another process is writing this cache of latents; waiting" in said


def test_ranks_and_a_process_that_knows_nothing_of_them_make_the_same_cache(whole, tmp_path):
    def start(**part):
        thread = threading.Thread(target=lambda: ends.append(write(tmp_path / "cache", Slow(), **part)))
        thread.start()
        return thread

    ends: list = []
    for thread in [start(rank=rank, world_size=2) for rank in (0, 1, 0, 1)] + [start()]:
        thread.join()
    assert len(ends) == 5 and contents(tmp_path / "cache") == contents(whole) and left(tmp_path) == ["cache"]


def test_killed_at_any_moment_the_next_run_makes_the_same_bytes_and_leaves_nothing(whole, tmp_path, context):
    dice = random.Random(0)
    for k in range(KILLS):
        folder, barrier, ends = tmp_path / str(k) / "cache", context.Barrier(2), context.Queue()
        writer = context.Process(target=process, args=(str(folder), barrier, ends))
        writer.start()
        barrier.wait()
        time.sleep(dice.uniform(0, 0.15))
        writer.kill()
        writer.join()
        write(folder)
        assert contents(folder) == contents(whole) and left(folder.parent) == ["cache"]


def test_what_a_process_left_that_was_killed_after_its_last_step_goes_too(copy, whole):
    for name in ("manifest.json", "shard-00002.safetensors"):
        (copy / f".{name}.abcd1234").mkdir()
        (copy / f".{name}.abcd1234" / atomic.HELD).touch()
    tokenizer = FakeTokenizer()
    write(copy, tokenizer)
    assert contents(copy) == contents(whole) and tokenizer.encoded == 0


# --- long shots ---------------------------------------------------------------------------------------------


class Remembering(FakeTokenizer):
    """A token sees the tubelet before its own too; counts the frames that it is given at once."""

    most = 0

    def encode(self, video, past=None):
        self.most = max(self.most, video.shape[2])
        past = {} if past is None else past
        both = torch.cat([past.get("last", torch.zeros_like(video[:, :, :3])), video], dim=2)
        past["last"] = video[:, :, -3:]
        return super().encode((both[:, :, :-3] / 2 + both[:, :, 3:]).clamp(-1, 1), past)


def test_a_long_shot_is_encoded_as_a_stream_with_the_tokens_of_the_whole(tmp_path, monkeypatch):
    store = fake_store([(0, 4), (4, 43)])
    in_one, in_pieces = Remembering(), Remembering()
    write(tmp_path / "one", in_one, store)
    monkeypatch.setattr(writing, "PIECE", 7 * 8 * 12)  # seven frames: two tubelets and a rest
    write(tmp_path / "pieces", in_pieces, store)
    assert in_one.most == 39 and in_pieces.most == 6
    assert contents(tmp_path / "one") == contents(tmp_path / "pieces")
    monkeypatch.setattr(writing, "PIECE", 1)  # less than a tubelet
    write(tmp_path / "tubelets", in_pieces, store)
    assert contents(tmp_path / "one") == contents(tmp_path / "tubelets")


# --- disks --------------------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_written_is_named_with_what_to_set(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("kept")
    for folder in (tmp_path / "file", tmp_path / "file" / "latents" / "film"):
        with pytest.raises(OSError, match=r"cannot be written.*Make room there, or set VG_CACHE") as caught:
            write(folder)
        assert str(folder) in str(caught.value)
        with pytest.raises(FileNotFoundError, match="there is no cache"):
            LatentCache.open(folder)
    assert (tmp_path / "file").read_text() == "kept"

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"cache cannot be written \(No space left on device\)"):
        write(tmp_path / "cache")
    assert contents(tmp_path / "cache") == {} and left(tmp_path) == ["cache", "file"]


def test_a_finished_cache_is_opened_where_nothing_can_be_written(copy, monkeypatch):
    def refused(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    for name in ("mkdir", "rename", "replace", "unlink", "rmdir"):
        monkeypatch.setattr(os, name, refused)
    monkeypatch.setattr(atomic, "FileLock", refused)
    assert len(write(copy).entries)


# --- damage and strangers -----------------------------------------------------------------------------------


def damaged(good: bytes, dice: random.Random) -> bytes:
    """A byte changed, a piece cut out, the end lost, a piece doubled or overwritten with zeros."""
    a, b = sorted(dice.sample(range(len(good) + 1), 2))
    kind = dice.randrange(5)
    flipped = bytes([good[min(a, len(good) - 1)] ^ (1 << dice.randrange(8))])
    middle = (flipped, b"", None, good[a:b] * 2, bytes(b - a))[kind]
    return good[:a] if middle is None else good[:a] + middle + good[a + 1 if kind == 0 else b :]


@pytest.mark.parametrize("file", ["shard-00001.safetensors", "manifest.json"])
def test_any_damage_is_named_or_changes_nothing(file, copy, whole):
    good, dice, there = (whole / file).read_bytes(), random.Random(file), LatentCache.open(whole)
    named = 0
    for _ in range(DAMAGES):
        (copy / file).write_bytes(damaged(good, dice))
        try:
            opened = LatentCache.open(copy)
        except CacheCorrupt as problem:
            assert file in str(problem)
            named += 1
        else:  # another blank where one was
            assert opened.manifest == there.manifest and np.array_equal(opened.tokens, there.tokens)
            assert file == "manifest.json"
    assert named > 0.9 * DAMAGES


ODD = [None, True, -1, 0, 2**31, 2**70, 0.5, float("nan"), "", "../x", "/etc/passwd", [], {}, [[]], {"a": 1}, ["x"] * 9]
ODD += [json.loads("[" * 50 + "]" * 50)]


def places(value, path=()):
    """Every path in JSON, to lists and objects too."""
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from places(part, (*path, key))


def changed(manifest: dict, path: tuple, value: object) -> dict:
    manifest = json.loads(json.dumps(manifest))
    at = manifest
    for key in path[:-1]:
        at = at[key]
    if value is places:  # left out
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return manifest


def forged(manifest: dict, path: tuple, value: object) -> str:
    """A manifest with another value somewhere and a hash that is right."""
    manifest = changed(manifest, path, value)
    manifest.pop("sha256", None)
    return files.manifest_text(manifest)


def test_whatever_a_manifest_says_it_is_refused_by_name(copy, whole):
    manifest, dice = files.read_manifest(whole), random.Random(0)
    paths = [path for path in places(manifest) if path and path != ("sha256",)]
    cases = [(path, value) for path in paths for value in (*ODD, places)]
    for path, value in dice.sample(cases, min(len(cases), 10 * DAMAGES)):
        text = forged(manifest, path, value)
        if text == (whole / "manifest.json").read_text():
            continue  # that is what it was
        (copy / "manifest.json").write_text(text)
        with pytest.raises((CacheCorrupt, CacheMismatch)) as caught:
            LatentCache.open(copy)
        assert str(copy) in str(caught.value) and len(str(caught.value)) < 1000, (path, value)


def test_a_config_that_goes_too_deep_is_not_quoted(copy, whole):
    text = forged(files.read_manifest(whole), ("tokenizer", "config"), json.loads("[" * 900 + "]" * 900))
    (copy / "manifest.json").write_text(text)
    with pytest.raises(CacheCorrupt, match=r"manifest\.json is damaged: the tokenizer's config is too deep"):
        LatentCache.open(copy, FakeTokenizer())


def test_a_shard_that_is_whole_but_not_the_one_of_the_manifest_is_refused(copy):
    path = copy / "shard-00001.safetensors"
    plan, arrays = files.unpack(path, path.read_bytes())
    path.write_bytes(files.pack(plan, {key: array[::-1].copy() for key, array in arrays.items()}))
    with pytest.raises(CacheCorrupt, match=r"shard-00001\.safetensors is damaged"):
        LatentCache.open(copy)


def test_a_path_in_a_manifest_is_not_followed(copy, whole, tmp_path, monkeypatch):
    shutil.move(copy / "shard-00001.safetensors", tmp_path / "x")
    manifest = files.read_manifest(whole)
    text = json.dumps(manifest).replace("shard-00001.safetensors", "../x")
    (copy / "manifest.json").write_text(files.manifest_text(changed(json.loads(text), ("sha256",), places)))
    read, seen = Path.read_bytes, []
    monkeypatch.setattr(Path, "read_bytes", lambda path: seen.append(path.name) or read(path))
    with pytest.raises(CacheCorrupt, match=r"manifest\.json is damaged: the entries are not those"):
        LatentCache.open(copy)
    assert seen == ["manifest.json"]


TEXTS = [b"", b"null", b"[]", b"{}", b"[" * 100_000, b'{"a":' * 100_000, b"1" * 10_000, b'{"sha256": NaN}', b"\xff\xfe"]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: repr(text[:8]))
def test_what_is_no_manifest_is_refused_and_made_anew(text, copy, whole):
    (copy / "manifest.json").write_bytes(text)
    with pytest.raises(CacheCorrupt, match=r"manifest\.json is damaged"):
        LatentCache.open(copy)
    with pytest.warns(UserWarning, match=r"manifest\.json is damaged"):
        write(copy)
    assert contents(copy) == contents(whole)


def as_shard(header: object, data: bytes = b"") -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + data


def odd_shards(good: bytes):
    """Shards that a stranger might make, most of them with hashes that are right."""
    plan, arrays = files.unpack(Path("x"), good)
    key = next(iter(arrays))
    yield (2**62).to_bytes(8, "little") + b"{}"
    yield as_shard(b"[" * 100_000)
    yield as_shard({key: {"dtype": "U16", "shape": [2**40, 2, 3], "data_offsets": [0, 2**40 * 12]}}, b"x" * 12)
    yield as_shard({key: {"dtype": "F8_E5M2", "shape": [1], "data_offsets": [0, 1]}}, b"x")
    for card in ([], "x", None, {"plan": [], "sha256": ""}, {"plan": {}, "sha256": []}, {"sha256": "x"}):
        yield as_shard({"__metadata__": {"vg": json.dumps(card)}})
    yield as_shard({"__metadata__": {"vg": "[" * 100_000}})
    for odd in ODD:
        yield files.pack(odd, arrays)
        yield files.pack(plan | {"views": odd}, arrays)
        yield files.pack(plan | {"tokenizer": plan["tokenizer"] | {"levels": odd}}, arrays)
        yield files.pack(plan | {"source": odd}, arrays)
    yield files.pack(plan, {})
    yield files.pack(plan, arrays | {"more": arrays[key]})
    yield files.pack(plan, arrays | {key: arrays[key][:-1]})
    yield files.pack(plan, arrays | {key: arrays[key].astype(np.int64)})
    yield files.pack(plan, arrays | {key: arrays[key].astype(np.float32)})
    yield files.pack(plan, arrays | {key: arrays[key] * 0 + 200})  # codes are 0 to 199
    yield files.pack(plan, arrays | {key: arrays[key][:, :1]})
    yield files.pack(plan, {name: array[:, :1, :1].copy() for name, array in arrays.items()})


def test_whatever_a_shard_says_it_is_refused_by_name_and_made_anew(copy, whole):
    name = "shard-00001.safetensors"
    good = (whole / name).read_bytes()
    for k, raw in enumerate(odd_shards(good)):
        (copy / name).write_bytes(raw)
        manifest = files.read_manifest(whole)
        manifest["shards"][1]["sha256"] = files.hashlib.sha256(raw).hexdigest()
        del manifest["sha256"]
        (copy / "manifest.json").write_text(files.manifest_text(manifest))
        with pytest.raises(CacheCorrupt, match=rf"{name} is damaged"):
            LatentCache.open(copy)
        grid = k == len(list(odd_shards(good))) - 1  # of one grid throughout: only the manifest says that it is another
        if not grid and k % 5 == 0:
            with pytest.warns(UserWarning, match=f"{name} is damaged"):
                write(copy)
            assert contents(copy) == contents(whole)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
@pytest.mark.parametrize("file", ["shard-00001.safetensors", "manifest.json"])
@pytest.mark.parametrize("make", [getattr(os, "mkfifo", None), os.mkdir])
def test_what_is_no_file_is_refused_and_not_waited_for(file, make, copy):
    (copy / file).unlink()
    make(copy / file)
    with pytest.raises(CacheCorrupt, match=f"{file} is damaged"):
        LatentCache.open(copy)


@pytest.mark.parametrize("limit", ["MANIFEST_BYTES", "MOST_ENTRIES", "TOKEN_BYTES"])
def test_what_is_too_large_says_which_limit_to_raise(limit, whole, monkeypatch):
    monkeypatch.setattr(checks, limit, 10)
    with pytest.raises(CacheCorrupt, match=rf"vg\.latents\.checks\.{limit} allows"):
        LatentCache.open(whole)


def test_a_shard_larger_than_its_entries_is_not_read(copy, monkeypatch):
    with open(copy / "shard-00001.safetensors", "r+b") as file:
        file.truncate(2**40)  # sparse: takes no room
    with pytest.raises(CacheCorrupt, match=r"shard-00001\.safetensors is damaged"):
        LatentCache.open(copy)


def test_what_could_not_be_read_again_is_not_written(tmp_path):
    for store, message in [(fake_store(key=None), "plan.source.store is None"), (fake_store(name=7), "name is 7")]:
        with pytest.raises(ValueError, match=f"cannot be read again: {message}|{message}"):
            write(tmp_path / "cache", store=store)
    assert not (tmp_path / "cache").exists()
