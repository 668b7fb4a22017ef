"""Several films as one: found, joined, divided."""

import shutil
from fractions import Fraction
from itertools import accumulate, pairwise, permutations
from pathlib import Path

import numpy as np
import pytest
import videos as files

from vg.data import Clips, FrameStore, joined, open_store, split_films, videos


def film(path: Path, seed: int, count: int = 40) -> Path:
    levels = np.random.default_rng(seed).integers(0, 255, (6, 6, 1)).repeat(8, 0).repeat(8, 1).repeat(3, 2)
    pictures = np.stack([np.roll(levels, t, 1) for t in range(count)]).astype(np.uint8)
    return files.write(path, pictures, range(count), Fraction(1, 12), rate=12)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VG_CACHE", str(tmp_path / "cache"))
    for k, name in enumerate(("b.mp4", "a.mp4", "c.mkv")):
        film(tmp_path / name, k, 40 + k)
    (tmp_path / "notes.txt").write_text("no film")
    return tmp_path


def store(*shots: int, seed: int = 0) -> FrameStore:
    """A store in memory, of shots of so many frames."""
    edges = [0, *accumulate(shots)]
    frames = np.random.default_rng(seed).integers(0, 256, (edges[-1], 1, 2, 2), np.uint8)
    return FrameStore(frames, 12.0, list(pairwise(edges)), f"film{seed}", f"sha{seed}", f"key{seed}", Path("none"))


def test_a_folder_is_its_videos_by_name_and_files_keep_their_order(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    assert videos(["~"]) == videos([folder])
    assert [source.name for source in videos([folder])] == ["a", "b", "c"]
    assert [source.name for source in videos([folder / "c.mkv", folder / "a.mp4"])] == ["c", "a"]


def test_what_is_not_there_or_given_twice_is_refused_by_name(folder: Path):
    (folder / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty holds no videos"):
        videos([folder / "empty"])
    with pytest.raises(FileNotFoundError, match=r"d\.mp4"):
        videos([folder / "d.mp4"])
    with pytest.raises(ValueError, match=r"a\.mp4 is given twice"):
        videos([folder, folder / "a.mp4"])
    with pytest.raises(ValueError, match="give a video"):
        videos([])


def test_joined_films_are_their_frames_one_after_another_and_no_clip_crosses_from_one_to_the_next(folder: Path):
    stores = [open_store(source, size=(16, 24)) for source in videos([folder])]
    whole = joined(stores)
    every = np.concatenate([np.asarray(store.frames) for store in stores])
    assert np.array_equal(whole.frames, every) and len(whole.frames) == len(every) == 123
    assert np.array_equal(whole.frames[30:90], every[30:90]) and np.array_equal(whole.frames[-1], every[-1])
    assert np.array_equal(whole.frames[[3, 100, 50]], every[[3, 100, 50]])
    assert np.array_equal(whole.frames[30:90, :, 2:5], every[30:90, :, 2:5])
    assert whole.shots[0][0] == 0 and whole.shots[-1][1] == 123
    edges = {len(stores[0].frames), len(stores[0].frames) + len(stores[1].frames)}
    assert edges <= {start for start, _ in whole.shots}
    clips = Clips(whole, frames=16)
    assert not any(start < edge < start + 16 for start in clips.starts for edge in edges)
    assert len({whole.source_sha256, *(store.source_sha256 for store in stores)}) == 4


def test_what_is_joined_is_named_for_all_of_its_parts():
    a, b, c = (store(10, 5, seed=seed) for seed in range(3))
    whole = joined([a, b, c])
    assert (whole.name, whole.key, whole.frames.nbytes) == ("film0-and-2-more", "key0; key1; key2", 3 * a.frames.nbytes)
    assert whole.shots == [(0, 10), (10, 15), (15, 25), (25, 30), (30, 40), (40, 45)]
    assert len({joined(list(parts)).source_sha256 for parts in permutations([a, b, c])}) == 6
    assert joined([a]) is a
    for k in range(-45, 45):
        assert np.array_equal(whole.frames[k], [*a.frames, *b.frames, *c.frames][k])


def test_films_of_different_sizes_or_rates_are_not_joined(folder: Path):
    a, b, _ = videos([folder])
    with pytest.raises(ValueError, match="sizes"):
        joined([open_store(a, size=16), open_store(b, size=24)])
    with pytest.raises(ValueError, match="frames a second"):
        joined([open_store(a, size=16), open_store(b, size=16, fps=6)])
    with pytest.raises(ValueError, match="no frame stores"):
        joined([])


def test_every_film_keeps_a_part_of_its_own_for_validation(folder: Path):
    film(folder / "long.mp4", 9, 200)
    stores = [open_store(source, size=16) for source in videos([folder / "a.mp4", folder / "long.mp4"])]
    train, val, _ = split_films(stores)
    frames = [set(range(*shot)) for shot in train + val]
    assert val and train and sum(map(len, frames)) == len(set().union(*frames))
    assert all(start >= len(stores[0].frames) for start, _ in val), "a film too short to be divided trains"


def test_of_films_too_short_to_be_divided_whole_ones_are_held_out(folder: Path):
    stores = [open_store(source, size=16) for source in videos([folder])]
    train, val, _ = split_films(stores)
    assert train == [(0, 41), (41, 81)] and val == [(81, 123)]
    assert split_films(stores[:1]) == ([(0, 41)], [], [])


def test_films_held_out_are_the_last_long_enough_ones_in_order_and_a_tenth_of_all():
    assert split_films([store(40)] * 12)[1] == [(400, 440), (440, 480)]
    assert split_films([store(40), store(40), store(20, 20)]) == ([(0, 40), (80, 100), (100, 120)], [(40, 80)], [])
    assert split_films([store(40), store(20)]) == ([(0, 40), (40, 60)], [], []), "one is left to train on"
    assert split_films([store(40), store(20)], shortest=20) == ([(0, 40)], [(40, 60)], [])
    many = split_films([store(40)] * 32)
    assert many.held_out == [(40 * k, 40 * k + 40) for k in range(28, 32)] and many.test == [(1160, 1200)]
    once, fewer = split_films([store(*[12] * 20), store(40)], shortest=10), split_films([store(*[12] * 20), store(40)])
    assert any(stop <= 240 for _, stop in once[1]), "shots of a dozen frames are held out if that is allowed"
    assert fewer[1] == [(240, 280)]


def test_a_film_is_found_to_be_given_twice_by_whatever_name(folder: Path):
    (folder / "copy").mkdir()
    copy = Path(shutil.copy(folder / "a.mp4", folder / "copy" / "A (1).mp4"))
    with pytest.raises(ValueError, match=r"A \(1\).mp4 is given as .*a.mp4"):
        videos([folder, copy])
    with pytest.raises(ValueError, match="is given as"):
        videos([folder / "a.mp4", folder / "copy" / ".." / "a.mp4"])
    assert len(videos([folder / "b.mp4", copy])) == 2


def test_what_a_folder_leaves_out_is_said(folder: Path, capsys: pytest.CaptureFixture):
    for name in ("d.MTS", "e.wmv"):
        (folder / name).write_bytes((folder / "a.mp4").read_bytes() + name.encode())
    (folder / "more").mkdir()
    assert [source.name for source in videos([folder])] == ["a", "b", "c", "d", "e"]
    assert capsys.readouterr().out.strip() == f"{folder}: read 5; left out more/, notes.txt"
    videos([folder / "a.mp4"])
    assert capsys.readouterr().out == ""
