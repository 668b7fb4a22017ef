"""Laws of the latent cache: the bytes it has, what it refuses, and what its windows hold."""

import math
import os
import shutil
import threading
from pathlib import Path

import pytest
import torch
from fake_latents import FakeTokenizer, contents, fake_store, write
from torch import nn

from vg.hashing import weight_hash
from vg.latents import CacheCorrupt, CacheMismatch, LatentCache, reading, writing


class Killed(BaseException):
    """Not an Exception, so that no clean-up of the code under test runs, as none would at a kill."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A cache written without interruption, for reading only."""
    folder = tmp_path_factory.mktemp("whole") / "cache"
    write(folder)
    return folder


@pytest.fixture
def copy(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "copy"))


# --- bytes --------------------------------------------------------------------------------------------------


def kill_at(monkeypatch, event: str, n: int) -> None:
    """Raise Killed at the n-th event from here on (from 0)."""
    left = [n]

    def die_before(function):
        def wrapped(*args):
            left[0] -= 1
            if left[0] < 0:
                if event == "fsync":  # the power went: half of the file reached the disk
                    os.ftruncate(args[0], os.fstat(args[0]).st_size // 2)
                raise Killed
            return function(*args)

        return wrapped

    if event == "encode":
        monkeypatch.setattr(FakeTokenizer, "encode", die_before(FakeTokenizer.encode))
    else:
        monkeypatch.setattr(os, event, die_before(getattr(os, event)))


@pytest.mark.parametrize("event", ["encode", "fsync", "replace"])
def test_killed_at_any_moment_and_resumed_the_cache_has_the_same_bytes(event, whole, tmp_path, monkeypatch):
    shards = len(list(whole.glob("shard-*")))
    entries = len(LatentCache.open(whole).entries)
    moments = {"encode": entries, "fsync": shards + 1, "replace": shards + 1}[event]
    assert shards == 3
    for n in range(moments):
        folder = tmp_path / str(n)
        with monkeypatch.context() as patch, pytest.raises(Killed):
            kill_at(patch, event, n)
            write(folder)
        assert not (folder / "manifest.json").exists()
        write(folder)
        assert contents(folder) == contents(whole), f"killed at {event} {n}"


def test_a_run_killed_again_and_again_gets_there_and_never_encodes_a_finished_shard_twice(whole, tmp_path, monkeypatch):
    tokenizer, kills = FakeTokenizer(), 0
    for _ in range(20):
        try:
            with monkeypatch.context() as patch:
                kill_at(patch, "replace", 1)  # each run finishes one file
                write(tmp_path / "cache", tokenizer)
            break
        except Killed:
            kills += 1
    assert kills == 3  # each run makes one of the four files, and the fourth run needs no second
    assert contents(tmp_path / "cache") == contents(whole)
    entries = LatentCache.open(whole).entries
    by_shard = [sum(e.shard == f"shard-{k:05d}.safetensors" for e in entries) for k in range(3)]
    assert tokenizer.encoded == sum(by_shard) + by_shard[1] + by_shard[2]  # the two whose rename was cut off


def test_a_finished_cache_is_not_touched(copy):
    times = {path: path.stat().st_mtime_ns for path in copy.iterdir()}
    tokenizer = FakeTokenizer()
    write(copy, tokenizer)
    assert tokenizer.encoded == 0
    assert times == {path: path.stat().st_mtime_ns for path in copy.iterdir()}


def write_together(folder, world_size):
    """All ranks at once, each with a tokenizer of its own; the last rank starts first."""
    caches, tokenizers = {}, [FakeTokenizer() for _ in range(world_size)]

    def process(rank):
        caches[rank] = write(folder, tokenizers[rank], rank=rank, world_size=world_size)

    threads = [threading.Thread(target=process, args=(rank,)) for rank in reversed(range(world_size))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return caches, tokenizers


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
def test_any_number_of_processes_gives_the_same_bytes_and_shares_the_work(world_size, whole, tmp_path):
    caches, tokenizers = write_together(tmp_path / "cache", world_size)
    assert contents(tmp_path / "cache") == contents(whole)
    assert len(caches) == world_size  # every rank got the finished cache
    assert sum(t.encoded for t in tokenizers) == len(caches[0].entries)
    assert sum(t.encoded > 0 for t in tokenizers) == min(world_size, 3)  # three shards


def test_a_run_of_three_processes_killed_is_finished_by_two(whole, tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    for rank in range(3):
        with monkeypatch.context() as patch, pytest.raises((Killed, TimeoutError)):
            kill_at(patch, "encode", 7)
            write(folder, rank=rank, world_size=3, patience=0)
    write_together(folder, 2)
    assert contents(folder) == contents(whole)


def test_a_process_that_waits_in_vain_says_for_what(tmp_path):
    with pytest.raises(TimeoutError, match=r"rank 0 of 3 waited .* shard-00001\.safetensors \(rank 1\)"):
        write(tmp_path / "a", rank=0, world_size=3, patience=0)
    with pytest.raises(TimeoutError, match=r"rank 1 of 3 waited .* for shard-00002\.safetensors \(rank 2\)"):
        write(tmp_path / "a", rank=1, world_size=3, patience=0)
    with pytest.raises(TimeoutError, match=r"rank 2 waited 0 s for rank 0 to write .*manifest\.json"):
        write(tmp_path / "a", rank=2, world_size=3, patience=0)


@pytest.mark.parametrize(("rank", "world_size"), [(2, 2), (-1, 1), (0, 0)])
def test_a_rank_outside_the_world_is_refused(rank, world_size, tmp_path):
    with pytest.raises(ValueError, match="ranks are 0 to"):
        write(tmp_path, rank=rank, world_size=world_size)


def test_a_full_disk_leaves_nothing_half_written_and_the_run_goes_on_later(whole, tmp_path, monkeypatch):
    def full(fd):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(os, "fsync", full)
        write(tmp_path / "cache")
    assert contents(tmp_path / "cache") == {}
    write(tmp_path / "cache")
    assert contents(tmp_path / "cache") == contents(whole)


# --- damage -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["shard-00001.safetensors", "manifest.json"])
def test_a_damaged_file_is_named_and_writing_again_heals_it(file, copy, whole):
    good = (whole / file).read_bytes()
    places = range(0, len(good), max(1, len(good) // 23))
    damages = [good[:k] + bytes([good[k] ^ 1]) + good[k + 1 :] for k in places if good[k] not in b" \n"]
    for bad in [*damages, good[: len(good) // 2], b"", good + b"x"]:
        (copy / file).write_bytes(bad)
        with pytest.raises(CacheCorrupt, match=rf"{file} is damaged.*[Ww]rite again"):
            LatentCache.open(copy)
        with pytest.warns(UserWarning, match=f"{file} is damaged"):
            write(copy)
        assert contents(copy) == contents(whole)


def test_a_missing_shard_is_named_and_writing_again_makes_it_alone(copy, whole):
    (copy / "shard-00002.safetensors").unlink()
    with pytest.raises(CacheCorrupt, match=r"shard-00002\.safetensors is missing"):
        LatentCache.open(copy)
    tokenizer = FakeTokenizer()
    cache = write(copy, tokenizer)
    assert contents(copy) == contents(whole)
    assert tokenizer.encoded == sum(e.shard == "shard-00002.safetensors" for e in cache.entries)


def test_one_shard_under_the_name_of_another_is_not_taken_for_it(copy, whole):
    shutil.copy(copy / "shard-00000.safetensors", copy / "shard-00001.safetensors")
    (copy / "manifest.json").unlink()
    with pytest.warns(UserWarning, match="shard-00001"):
        write(copy)
    assert contents(copy) == contents(whole)


def test_no_cache_and_an_unfinished_one_are_told_apart(copy, tmp_path):
    with pytest.raises(FileNotFoundError, match="so there is no cache"):
        LatentCache.open(tmp_path / "nowhere")
    (copy / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError, match="3 shards: a run was cut short"):
        LatentCache.open(copy)


# --- mismatch -----------------------------------------------------------------------------------------------

OTHERS = {
    "weights": (
        {"tokenizer": FakeTokenizer(seed=1)},
        r"by tokenizer 'fake-8' \(weights \w{8}\.\.\.\), but you",
    ),
    "levels": ({"tokenizer": FakeTokenizer(levels=(8, 5, 6))}, r"levels \[8, 5, 5\]\).*levels \[8, 5, 6\]\)"),
    "config": ({"tokenizer": FakeTokenizer(share=0.2)}, r"config {'share': 0.5}\).*config {'share': 0.2}\)"),
    "tubelet": (
        {"tokenizer": FakeTokenizer(tubelet=(3, 2, 8))},
        r"tubelet \[3, 4, 4\]\).*tubelet \[3, 2, 8\]",
    ),
    "source": ({"store": fake_store(seed=1, name="other")}, "written from 'film' .* but you opened 'other'"),
    "settings": (
        {"store": fake_store(key="24 fps")},
        "as 'size 8x12, 12 fps'.* but you opened it as '24 fps'",
    ),
    "shots": (
        {"store": fake_store([(0, 11), (11, 43)])},
        "written with 5 shots, but the store you opened has 2",
    ),
    "cuts": (
        {"store": fake_store([(0, 9), (9, 13), (13, 22), (22, 30), (30, 43)])},
        "as many with other cuts",
    ),
}
OTHER_RUNS = OTHERS | {
    "mirrored": ({"mirrored": False}, "holds the views .* but you asked for"),
    "phases": ({"phases": [0]}, "holds the views .* but you asked for"),
    "shards": ({"shard_frames": 20}, "shard_frames=10, but you passed 20"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_cache_of_something_else_is_not_opened(other, whole):
    made_by, message = OTHERS[other]
    with pytest.raises(CacheMismatch, match=message) as error:
        LatentCache.open(whole, **({"tokenizer": FakeTokenizer(), "store": fake_store()} | made_by))
    assert str(whole) in str(error.value) and "another folder" in str(error.value)


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("other", OTHER_RUNS)
def test_a_cache_of_something_else_is_not_written_into(other, finished, copy):
    made_by, message = OTHER_RUNS[other]
    if not finished:
        (copy / "manifest.json").unlink()
        (copy / "shard-00000.safetensors").unlink()
    before = contents(copy)
    with pytest.raises(CacheMismatch, match=message):
        write(copy, **made_by)
    assert contents(copy) == before


def test_another_format_is_refused(copy, monkeypatch):
    for module in (reading, writing):
        monkeypatch.setattr(module, "FORMAT", 3)
    with pytest.raises(CacheMismatch, match="written in format 2, but this version of vg knows format 3"):
        LatentCache.open(copy)
    with pytest.raises(CacheMismatch, match="format 2"):
        write(copy)


def test_names_are_labels_and_the_right_tokenizer_and_store_open_the_cache(whole):
    LatentCache.open(whole, FakeTokenizer(), fake_store(name="the same file under another name"))


def test_the_weight_hash_sees_values_names_shapes_and_dtypes_and_nothing_else():
    def hash_of(**tensors):
        module = nn.Module()
        for name, tensor in tensors.items():
            module.register_buffer(name, tensor)
        return weight_hash(module)

    x = torch.arange(6.0).reshape(2, 3)
    base = hash_of(a=x, b=torch.tensor(1))
    assert base == hash_of(b=torch.tensor(1), a=x.t().contiguous().t())  # neither order nor strides
    changed = x.clone()
    changed[1, 2] = torch.nextafter(changed[1, 2], torch.tensor(9.0))
    others = [
        hash_of(a=changed, b=torch.tensor(1)),
        hash_of(a=x.reshape(3, 2), b=torch.tensor(1)),
        hash_of(a=x.bfloat16(), b=torch.tensor(1)),
        hash_of(a=x.view(torch.int32), b=torch.tensor(1)),
        hash_of(c=x, b=torch.tensor(1)),
        hash_of(a=x),
    ]
    assert len({base, *others}) == len(others) + 1


# --- contents -----------------------------------------------------------------------------------------------


def encoded_alone(frames, mirrored=False) -> torch.Tensor:
    """What the tokenizer gives for these frames and no others: (t, h, w)."""
    video = torch.from_numpy(frames).permute(1, 0, 2, 3)[None].float() / 127.5 - 1
    with torch.no_grad():
        return FakeTokenizer().eval().encode(video.flip(-1) if mirrored else video)[0]


def test_every_entry_is_its_stretch_encoded_and_lies_within_its_shot(whole):
    cache, store = LatentCache.open(whole), fake_store()
    assert cache.shots == store.shots and cache.grid == (2, 3) and cache.levels == (8, 5, 5)
    for entry in cache.entries:
        first, last = store.shots[entry.shot]
        assert entry.start == first + entry.phase and last - 3 < entry.stop <= last  # nothing whole left out
        alone = encoded_alone(store.frames[entry.start : entry.stop], entry.mirrored)
        assert cache.indices(entry).dtype == torch.int64 and torch.equal(cache.indices(entry), alone)
    views = {(shot, phase, mirrored) for shot in (0, 2, 3, 4) for phase in range(3) for mirrored in (False, True)}
    assert {(e.shot, e.phase, e.mirrored) for e in cache.entries} == views  # shot 1 is too short for any
    assert cache.nbytes == 2 * sum(e.t for e in cache.entries) * 2 * 3


@pytest.mark.parametrize("frames", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_windows_are_all_stretches_within_shots_and_no_others(frames, stride, whole):
    cache, store = LatentCache.open(whole), fake_store()
    windows = cache.windows(frames, stride=stride)
    due = []
    for entry in cache.entries:
        for k in range(0, entry.t - frames + 1, stride):
            start = entry.start + 3 * k
            assert start + 3 * frames <= store.shots[entry.shot][1]
            due.append((entry.shot, encoded_alone(store.frames[start : start + 3 * frames], entry.mirrored)))
    assert len(windows) == len(due)
    for k, (shot, tokens) in enumerate(due):
        assert windows[k].dtype == torch.int64 and torch.equal(windows[k], tokens) and windows.shots[k] == shot
    assert torch.equal(windows.take(torch.arange(len(due))), torch.stack([tokens for _, tokens in due]))


def test_windows_hold_the_chosen_shots_and_views_only(whole):
    cache, store = LatentCache.open(whole), fake_store()
    windows = cache.windows(2, shots=[2, (30, 43)], views=[(1, True)])
    starts = [14, 31, 34, 37]  # from frame 14 on shot 2 has 2 whole tubelets; from 31 on shot 4 has 4
    assert len(windows) == len(starts) and set(windows.shots.tolist()) == {2, 4}
    for window, start in zip(windows, starts):
        assert torch.equal(window, encoded_alone(store.frames[start : start + 6], mirrored=True))


def test_stretches_are_the_whole_tubelets_within_each_shot_or_part(whole):
    cache, store = LatentCache.open(whole), fake_store()
    for shots, view, due in [
        ([2, (30, 43)], (1, True), [(2, 14, 20), (4, 31, 43)]),
        ([(31, 39), (14, 17)], (0, False), [(4, 33, 39)]),
        ([(14, 18)], (0, False), []),  # no whole tubelet lies in it
        ([1], (0, False), []),
        ([], (0, False), []),
    ]:
        found = cache.stretches(shots, [view])
        assert [shot for shot, _ in found] == [shot for shot, *_ in due]
        for (_, tokens), (_, start, stop) in zip(found, due):
            assert torch.equal(tokens, encoded_alone(store.frames[start:stop], mirrored=view[1]))
    assert len(cache.stretches()) == len(cache.entries)
    with pytest.raises(ValueError, match="which has 5 shots"):
        cache.stretches([(0, 12)])


def test_samples_are_windows_repeat_with_the_seed_and_reach_all(whole):
    windows = LatentCache.open(whole).windows(2)
    known = {tuple(window.flatten().tolist()) for window in windows}
    drawn = windows.sample(64 * len(windows), torch.Generator().manual_seed(0))
    assert drawn.shape == (64 * len(windows), 2, 2, 3) and drawn.dtype == torch.int64
    assert {tuple(window.flatten().tolist()) for window in drawn} == known
    assert torch.equal(drawn, windows.sample(len(drawn), torch.Generator().manual_seed(0)))
    assert not torch.equal(drawn, windows.sample(len(drawn), torch.Generator().manual_seed(1)))


def test_windows_longer_than_every_shot_shots_and_views_not_held_are_refused(whole):
    cache = LatentCache.open(whole)
    with pytest.raises(
        ValueError, match=r"5 latent frames \(15 frames\).*longest has 4 \(12.*latent_frames=4 or fewer"
    ):
        cache.windows(5)
    with pytest.raises(ValueError, match="1 shots chosen: the longest has 0"):
        cache.windows(1, shots=[1])
    for unknown in (5, -1, (0, 12)):
        with pytest.raises(ValueError, match="which has 5 shots"):
            cache.windows(1, shots=[unknown])
    with pytest.raises(ValueError, match=r"no view \(phase, mirrored\) \(3, False\); it holds \(0, False\)"):
        cache.windows(1, views=[(3, False)])
    with pytest.raises(ValueError, match="at least 1"):
        cache.windows(0)


WIDTHS = [((256, 256), "uint16"), ((256, 257), "uint32"), ((8,) * 10, "uint32"), ((8,) * 11, "uint64")]
WIDTHS += [((8,) * 21, "uint64")]  # 2^63 codes: the last of them is the largest int64


@pytest.mark.parametrize(("levels", "dtype"), WIDTHS)
def test_indices_are_no_wider_than_they_have_to_be_and_survive(levels, dtype, tmp_path):
    class Highest(FakeTokenizer):
        def encode(self, video, past=None):
            return super().encode(video) * 0 + math.prod(self.levels) - 1

    cache = write(tmp_path, Highest(levels))
    assert cache.tokens.dtype == dtype and cache.manifest["dtype"] == dtype
    assert (cache.windows(1).sample(4) == math.prod(levels) - 1).all()


def test_what_cannot_be_stored_is_refused(tmp_path):
    class Gives(FakeTokenizer):
        def __init__(self, change, **settings):
            super().__init__(**settings)
            self.change = change

        def encode(self, video, past=None):
            return self.change(super().encode(video))

    for change, message in [
        (lambda x: x + 200, r"indices from .* levels \[8, 5, 5\] name 200 codes"),
        (lambda x: -1 - x, "indices from -"),
        (lambda x: x.float(), "torch.float32"),
        (lambda x: x[:, 1:], r"integers \(1, 3, h, w\) were due"),
    ]:
        with pytest.raises(ValueError, match=message):
            write(tmp_path / "a", Gives(change))
    with pytest.raises(ValueError, match="more than 63 bits"):
        write(tmp_path / "a", FakeTokenizer(levels=(8,) * 22))
    with pytest.raises(ValueError, match="phases 0 to 2"):
        write(tmp_path / "a", phases=[0, 3])
    with pytest.raises(ValueError, match="none of the 2 shots of 'film' is as long as one tubelet of 3 frames"):
        write(tmp_path / "a", store=fake_store([(0, 2), (2, 4)]))
    with pytest.raises(ValueError, match="shot 1 of 'film' is frames 2 to 44, but the store has 43"):
        write(tmp_path / "a", store=fake_store([(0, 2), (2, 44)]))
    assert not (tmp_path / "a").exists() or contents(tmp_path / "a") == {}


def test_the_tokenizer_learns_nothing_and_keeps_its_modes(tmp_path):
    tokenizer = FakeTokenizer()
    tokenizer.part, tokenizer.frozen = nn.Dropout(), nn.Dropout().eval()
    tokenizer.train()
    tokenizer.frozen.eval()
    write(tmp_path, tokenizer)
    assert (tokenizer.training, tokenizer.part.training, tokenizer.frozen.training) == (True, True, False)
