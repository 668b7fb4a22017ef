"""Laws of decoding, of the frame store and of clips: the right frames, whole or not at all, never across a cut."""

import errno
import math
import os
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch

from vg.data import (
    BadVideo,
    Clips,
    Source,
    building,
    decode,
    drawn_cartoon,
    open_store,
    open_stores,
    restore,
    save,
    sealed,
    split_shots,
    to_uint8,
    to_unit,
)
from vg.data import store as stores
from vg.data import video as source_of
from vg.synthetic import draw_cartoon


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """A cache folder of its own; the profile is smoke."""
    monkeypatch.setenv("VG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VG_PROFILE", "smoke")
    return tmp_path / "cache"


@pytest.fixture
def builds(monkeypatch) -> list:
    """Grows by one entry each time a store is built."""
    made, build = [], stores.build
    monkeypatch.setattr(stores, "build", lambda *a: (made.append(1), build(*a))[1])
    return made


def numbered(count: int, first: int = 0) -> torch.Tensor:
    """Frames that say their number in eight columns, one a bit: uint8 (1, T, 32, 64)."""
    bits = (torch.arange(first, first + count)[:, None] >> torch.arange(8)) & 1
    return (60 + 160 * bits).byte().repeat_interleave(8, 1)[None, :, None].expand(1, count, 32, 64)


def numbers(frames: np.ndarray) -> list[int]:
    """What the frames (T, 1, H, W) of ``numbered`` say, at any size."""
    columns = frames.mean((1, 2)).reshape(len(frames), 8, -1).mean(2)
    return ((columns > 140) << np.arange(8)).sum(1).tolist()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def left(folder: Path) -> list[str]:
    """What lies there, but for locks, which nobody holds."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def psnr(a, b) -> float:
    return 10 * math.log10(255**2 / max(1e-9, float(((np.asarray(a, float) - np.asarray(b, float)) ** 2).mean())))


# --- decoding -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "fps", "step"),
    [(24000 / 1001, 12, 2), (24, 12, 2), (12, 12, 1), (60000 / 1001, 12, 5), (24000 / 1001, 24, 1), (30, 10, 3)],
)
def test_near_a_whole_fraction_of_its_rate_every_nth_frame_is_taken(tmp_path, rate, fps, step):
    store = open_store(source_of(save(tmp_path / "a.mp4", numbered(130), fps=rate)), size=16, fps=fps)
    assert numbers(store.frames) == list(range(0, 130, step))  # none twice, none left out
    assert store.fps == pytest.approx(rate / step, rel=1e-6)
    assert (rate, fps) != (24000 / 1001, 12) or round(store.fps, 3) == 11.988


@pytest.mark.parametrize("rate", [30000 / 1001, 30, 25, 16, 8, 5])
def test_at_any_other_rate_each_frame_is_the_one_on_show_at_its_time(tmp_path, rate):
    count = 50
    store = open_store(source_of(save(tmp_path / "a.mp4", numbered(count), fps=rate)), size=16, fps=12)
    due = math.ceil(12 * count / rate - 1e-3)  # as long as the file
    assert numbers(store.frames) == [math.floor(k * rate / 12 + 1e-3) for k in range(due)]
    assert store.fps == 12


def test_frames_at_uneven_times_are_taken_by_their_times(tmp_path):
    """24 frames a second on average, and so every second one would be taken; but half of them come within a fifth."""
    path, made = tmp_path / "a.mp4", numbered(48)
    with av.open(path, "w") as file:
        stream = file.add_stream("libx264", rate=240, options={"crf": "0", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt, stream.time_base = 64, 32, "gray", Fraction(1, 240)
        stream.codec_context.time_base = Fraction(1, 240)
        times = [*range(24), *np.linspace(24, 479, 24).astype(int).tolist()]  # in 1/240 s: 48 frames in two seconds
        for time, picture in zip(times, made[0].numpy()):
            frame = av.VideoFrame.from_ndarray(picture, format="gray")
            frame.pts, frame.time_base = time, Fraction(1, 240)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    shown = numbers(open_store(source_of(path), size=16, fps=12).frames)
    due = [max(k for k, time in enumerate(times) if time <= 20 * n) for n in range(len(shown))]
    assert len(shown) >= 22 and shown == due


def test_grey_and_colour_come_back(tmp_path):
    colours = torch.tensor([[200, 40, 60], [40, 180, 90], [90, 70, 230], [128, 128, 128]], dtype=torch.uint8)
    clip = colours.repeat_interleave(16, 0).T[:, None, None].expand(3, 6, 32, 64)
    path = save(tmp_path / "a.mp4", clip)
    seen = open_store(source_of(path), size=(32, 64), grey=False)
    assert seen.frames.shape == (6, 3, 32, 64) and "colour" in repr(seen) and "colour" in seen.key
    middles = seen.frames[..., 8::16].mean((0, 2)).T
    assert np.abs(middles - colours.numpy()).max() < 8
    grey = open_store(source_of(path), size=(32, 64))
    assert grey.frames.shape == (6, 1, 32, 64) and "grey" in repr(grey) and "grey" in grey.key
    luma = colours.numpy() @ [0.299, 0.587, 0.114]
    assert np.abs(grey.frames[..., 8::16].mean((0, 1, 2)) - luma).max() < 4


@pytest.mark.parametrize("bars", [(0, 0, 0, 0), (16, 16, 0, 0), (0, 0, 24, 24), (8, 24, 16, 0)])
def test_black_bars_are_cut_off_and_the_picture_fills_the_frame(tmp_path, bars):
    top, bottom, left, right = bars
    picture = draw_cartoon(10, size=(96, 96)).frames.movedim(0, 1)
    barred = torch.nn.functional.pad(picture, (left, right, top, bottom))
    found = decode.probe(save(tmp_path / "barred.mp4", barred))
    assert np.abs(np.subtract(found.box, (top, top + 96, left, left + 96))).max() <= 1
    frames = open_store(source_of(tmp_path / "barred.mp4"), size=48).frames
    plain = open_store(source_of(save(tmp_path / "plain.mp4", picture)), size=48).frames
    assert psnr(frames, plain) > 28


def test_what_is_lit_at_any_time_and_a_dark_video_are_kept_whole(tmp_path):
    sweep = torch.full((1, 48, 64, 64), 5, dtype=torch.uint8)  # a light that crosses: most is dark at any time
    for k in range(48):
        sweep[:, k, :, 64 * k // 48 : 64 * k // 48 + 8] = 200
    dark = torch.full((1, 12, 64, 64), 8, dtype=torch.uint8)
    dark[..., 30:36, 30:36] = 120
    for name, clip in {"sweep": sweep, "dark": dark}.items():
        path = save(tmp_path / f"{name}.mp4", clip)
        assert decode.probe(path).box == (0, 64, 0, 64), name
        assert psnr(open_store(source_of(path)).frames, clip.movedim(0, 1)) > 30, name


# --- the store ----------------------------------------------------------------------------------------------

OTHERS = {"size": 24, "fps": 6, "grey": False, "restore": True, "frames": 9}


@pytest.mark.parametrize("other", OTHERS)
def test_a_store_is_reused_while_source_and_settings_match(tmp_path, builds, other):
    path = save(tmp_path / "a.mp4", numbered(20))
    first = open_store(source_of(path), size=32, fps=12)
    again = open_store(source_of(path), size=(32, 32), fps=12.0)
    assert len(builds) == 1 and again.folder == first.folder and np.array_equal(again.frames, first.frames)
    changed = open_store(source_of(path), **({"size": 32, "fps": 12} | {other: OTHERS[other]}))
    assert len(builds) == 2 and changed.folder != first.folder and changed.key != first.key
    open_store(source_of(path), size=32)
    assert len(builds) == 2


def test_a_store_is_made_anew_when_the_files_content_changes(tmp_path, builds):
    path = save(tmp_path / "a.mp4", numbered(20))
    older, content = open_store(source_of(path), size=16), path.read_bytes()
    save(path, numbered(20, first=100))
    newer = open_store(source_of(path), size=16)
    assert numbers(older.frames) == list(range(20)) and numbers(newer.frames) == list(range(100, 120))
    assert older.source_sha256 != newer.source_sha256 and len(builds) == 2
    path.write_bytes(content)
    assert open_store(source_of(path), size=16).folder == older.folder and len(builds) == 2


@pytest.mark.parametrize("grey", [True, False])
@pytest.mark.parametrize(("size", "fps"), [(32, 12), ((24, 40), 8)])
def test_the_cartoons_store_has_the_cartoons_own_frames_and_shots(size, fps, grey):
    drawn = draw_cartoon(70, (size, size) if isinstance(size, int) else size, fps)
    store = open_store(drawn_cartoon(), size, fps, grey, frames=70)
    assert np.array_equal(store.frames, drawn.frames.repeat(1, 1 if grey else 3, 1, 1))
    assert store.shots == drawn.shots and store.fps == fps and store.name == "cartoon"


def test_a_films_shots_are_found_and_old_film_is_restored_unless_told_otherwise(tmp_path):
    drawn = draw_cartoon(60, (256, 256))
    flicker = torch.tensor(np.random.default_rng(0).uniform(0.85, 1.15, 60))[:, None, None, None]
    path = save(tmp_path / "old.mp4", (drawn.frames * flicker).clamp(0, 255).byte().movedim(0, 1))
    clean = decode.resized(drawn.frames, (64, 64))
    old = Source("old", path, old=True, note="")
    restored, raw = open_store(old), open_store(old, restore=False)
    assert restored.shots == raw.shots == drawn.shots
    assert "restored" in restored.key and "restored" not in raw.key and restored.folder != raw.folder
    assert psnr(restored.frames, clean) > psnr(raw.frames, clean) + 3
    assert open_store(source_of(path)).key == raw.key


def test_every_source_is_restored_when_asked():
    drawn = draw_cartoon(70, (32, 32))
    store = open_store(drawn_cartoon(), 32, frames=70, restore=True)
    assert np.array_equal(store.frames, torch.cat([restore(drawn.frames[a:b])[0] for a, b in drawn.shots]))


def test_frames_are_read_only_and_a_clip_is_their_share(tmp_path):
    store = open_store(drawn_cartoon(), 16, frames=30)
    with pytest.raises(ValueError, match="read-only"):
        store.frames[0] = 0
    assert torch.equal(store.clip(3, 9), to_unit(torch.tensor(store.frames[3:9]))[None])


def test_of_a_longer_video_only_the_frames_asked_for(tmp_path):
    path = save(tmp_path / "a.mp4", numbered(100))
    for frames in (1, 64, 65, 200):
        assert numbers(open_store(source_of(path), 16, frames=frames).frames) == list(range(min(frames, 100)))


FAILURES = {
    "decoding": (decode, "Scaler"),
    "shots": (building, "shots_in"),
    "restoring": (building, "measure"),
    "resizing": (decode, "resized"),
    "writing": (building._Raw, "save"),
    "naming": (stores.json, "dumps"),
    "moving": (sealed.os, "replace"),
}


def fail_at(patch, moment: str, error: type[BaseException]) -> None:
    """Let one function fail; writing after half of its bytes, ``json.dumps`` at its second call."""
    place, name = FAILURES[moment]
    works, calls = getattr(place, name), []

    def fails(*args, **settings):
        calls.append(1)
        if moment == "naming" and len(calls) == 1:
            return works(*args, **settings)
        if moment == "writing":
            args[-1].write_bytes(b"half of it")
        raise error("midway")

    patch.setattr(place, name, fails)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("moment", FAILURES)
def test_failing_midway_leaves_nothing_and_the_next_run_starts_over(tmp_path, cache, monkeypatch, moment, error):
    source = source_of(save(tmp_path / "a.mp4", numbered(20)))
    with monkeypatch.context() as patch, pytest.raises(error, match="midway") as caught:
        fail_at(patch, moment, error)
        open_store(source, 16, restore=True)
    assert error is KeyboardInterrupt or (str(cache) in str(caught.value) and "VG_CACHE" in str(caught.value))
    assert left(cache / "frames") == []
    assert len(open_store(source, 16, restore=True).frames) == 20
    assert len(left(cache / "frames")) == 1


@pytest.mark.parametrize("moment", FAILURES)
def test_killed_midway_there_is_no_store_and_the_next_run_makes_it(tmp_path, cache, monkeypatch, moment):
    source = source_of(save(tmp_path / "a.mp4", numbered(20)))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "rmtree", lambda *a, **k: None)  # at a kill nobody cleans up
        fail_at(patch, moment, KeyboardInterrupt)
        open_store(source, 16, restore=True)
    assert all(name.startswith(".") for name in left(cache / "frames"))
    store = open_store(source, 16, restore=True)
    assert left(cache / "frames") == [store.folder.name] and len(store.frames) == 20


# --- several at once ----------------------------------------------------------------------------------------

TOGETHER = [
    {"size": 16},
    {"size": 48, "restore": True},
    {"size": (140, 32), "restore": True},  # restored at its own size, and measured at the others'
    {"size": 16, "restore": True},
]


@pytest.fixture
def decodes(monkeypatch) -> list:
    """Grows by one entry each time a file is decoded."""
    made, frames = [], decode.frames
    monkeypatch.setattr(decode, "frames", lambda *a: (made.append(1), frames(*a))[1])
    return made


def old_film(path: Path) -> Path:
    """Two shots and a bit of the cartoon, which flicker."""
    drawn = draw_cartoon(60, (288, 320)).frames
    flicker = torch.tensor(np.random.default_rng(0).uniform(0.85, 1.15, len(drawn)))[:, None, None, None]
    return save(path, (drawn * flicker).clamp(0, 255).byte().movedim(0, 1))


@pytest.mark.parametrize("drawn", [True, False])
@pytest.mark.parametrize("grey", [True, False])
def test_stores_made_together_are_to_the_last_byte_what_each_is_alone(
    tmp_path, cache, monkeypatch, decodes, grey, drawn
):
    source = drawn_cartoon() if drawn else source_of(old_film(tmp_path / "a.mp4"))
    together = open_stores(source, TOGETHER, grey=grey, frames=50)
    assert len(decodes) == (0 if drawn else 1)
    made = contents(cache)
    monkeypatch.setenv("VG_CACHE", str(tmp_path / "other"))
    alone = [open_store(source, grey=grey, frames=50, **one) for one in TOGETHER]
    assert contents(tmp_path / "other") == made and len(alone) == len(together)
    for one, other in zip(together, alone):
        assert one.folder.name == other.folder.name and one.key == other.key and one.shots == other.shots
        assert np.array_equal(one.frames, other.frames)


def test_of_several_stores_only_the_missing_are_made_and_each_once(tmp_path, cache, decodes, monkeypatch):
    made, build = [], stores.build
    monkeypatch.setattr(stores, "build", lambda source, wanted, to: (made.extend(wanted), build(source, wanted, to)))
    source = source_of(save(tmp_path / "a.mp4", numbered(20)))
    first = open_store(source, 16)
    (first.folder / "mine").touch()
    wanted = [{"size": 24}, {"size": 16}, {"size": 24}, {"size": 32}]
    sizes = [store.frames.shape[-1] for store in open_stores(source, wanted)]
    assert sizes == [24, 16, 24, 32] and len(decodes) == 2 and (first.folder / "mine").exists()
    open_stores(source, wanted)
    assert open_stores(source, []) == [] and len(decodes) == 2
    assert [settings["size"] for settings in made] == [[16, 16], [24, 24], [32, 32]]


def test_several_stores_are_all_made_or_none(tmp_path, cache, monkeypatch):
    source = source_of(save(tmp_path / "a.mp4", numbered(20)))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        fail_at(patch, "restoring", KeyboardInterrupt)
        open_stores(source, [{"size": 16}, {"size": 24, "restore": True}])
    assert contents(cache) == {}


def test_torch_has_its_threads_again_whether_a_store_was_made_or_not(tmp_path, monkeypatch):
    source, threads = source_of(save(tmp_path / "a.mp4", numbered(20))), torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        open_store(source, 16, restore=True)
        assert torch.get_num_threads() == 3
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            fail_at(patch, "restoring", KeyboardInterrupt)
            open_store(source, 24, restore=True)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("said", [None, 3, 999])
def test_the_bar_ends_at_the_number_of_frames_whatever_the_file_says(tmp_path, monkeypatch, said):
    monkeypatch.setattr(building._Film, "_expected", lambda film: said)
    bars, bar = [], building.tqdm
    monkeypatch.setattr(building, "tqdm", lambda **settings: (bars.append(bar(**settings)), bars[-1])[1])
    source = source_of(save(tmp_path / "a.mp4", numbered(40)))
    for restored in (True, False):
        open_store(source, 16, restore=restored)
        assert (bars[-1].n, bars[-1].total) == (40, 40)


@pytest.mark.parametrize("file", ["frames.npy", "store.json", "checksums.json"])
@pytest.mark.parametrize("share", [None, 0, 0.5])
def test_a_store_that_is_not_whole_is_made_again(tmp_path, cache, builds, capsys, file, share):
    source = source_of(save(tmp_path / "a.mp4", numbered(20)))
    store = open_store(source, 16)
    whole, path = contents(cache), store.folder / file
    if share is None:
        path.unlink()
    else:
        os.truncate(path, int(share * path.stat().st_size))
    assert np.array_equal(open_store(source, 16).frames, torch.from_numpy(np.load(store.folder / "frames.npy")))
    assert contents(cache) == whole and len(builds) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if "damaged" in line]
    assert str(store.folder) in line and line.endswith("It is made again.")


@pytest.mark.skipif(os.name == "nt", reason="permissions are another matter on Windows")
def test_whoever_may_read_new_files_may_read_a_store():
    umask = os.umask(0o027)
    try:
        folder = open_store(drawn_cartoon(), size=16, frames=20).folder
    finally:
        os.umask(umask)
    assert folder.stat().st_mode & 0o777 == 0o750


def test_a_cache_folder_that_cannot_be_made_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("VG_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match=str(tmp_path / "file")):
        open_store(drawn_cartoon(), 16, frames=3)


# --- bad input ----------------------------------------------------------------------------------------------


def zeroed(data: bytes, first: int, last: int) -> bytes:
    return data[:first] + bytes(last - first) + data[last:]


def sound(path: Path) -> bytes:
    """A second of silence."""
    with av.open(str(path), "w", format="wav") as out:
        stream = out.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        out.mux(stream.encode(frame))
    return path.read_bytes()


def first_frame_lost(path: Path) -> bytes:
    """An MP4 whose frames can be decoded one without the other, and the first cannot."""
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as out:
        stream = out.add_stream("libx264", rate=12, options={"g": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        for picture in numbered(120)[0].numpy():
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="gray")))
        out.mux(stream.encode(None))
    with av.open(str(path)) as file:
        packet = next(file.demux(video=0))
        return zeroed(path.read_bytes(), packet.pos, packet.pos + packet.size)


def mkv(data: bytes, path: Path) -> bytes:
    """The same packets as Matroska, whose streams do not say how long they are."""
    path.write_bytes(data)
    with av.open(str(path)) as given, av.open(str(path.with_suffix(".mkv")), "w") as out:
        stream = out.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    return path.with_suffix(".mkv").read_bytes()


# A decoder with one thread stumbles over the packet that is cut, one with several drops it.
CUT = r"(breaks off after \d.* of its 5\.0 s|is damaged after frame \d+ ).*Copy it again"
BAD = {
    "empty": (lambda good, aside: b"", "cannot be read as a video.*Give a video file"),
    "text": (lambda good, aside: b"no video at all\n" * 99, "cannot be read as a video.*Give a video file"),
    "noise": (lambda good, aside: np.random.default_rng(0).bytes(9999), "cannot be read as a video.*Give a video"),
    "header lost": (lambda good, aside: good[2000:], "cannot be read as a video.*Give a video file"),
    "header only": (lambda good, aside: good[: good.find(b"mdat") + 9], "without frames.*Copy it again"),
    "cut at a tenth": (lambda good, aside: good[: len(good) // 10], f"{CUT}|without frames"),
    "cut in half": (lambda good, aside: good[: len(good) // 2], CUT),
    "cut in half, mkv": (lambda good, aside: (x := mkv(good, aside))[: len(x) // 2], r"breaks off .* of its 5\.0 sec"),
    "hole": (
        lambda good, aside: zeroed(good, len(good) // 2, len(good) // 2 + 4000),
        r"damaged after frame \d+ .*Copy",
    ),
    "sound": (lambda good, aside: sound(aside), "holds no video, only audio. Give a video file"),
    "first frame lost": (lambda good, aside: first_frame_lost(aside), "damaged after frame 0 .*Copy it again"),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> bytes:
    """An MP4 of five seconds that compresses badly."""
    noise = torch.rand(1, 60, 48, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return save(tmp_path_factory.mktemp("good") / "good.mp4", noise).read_bytes()


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_named_with_what_to_do_and_nothing_is_left_behind(tmp_path, cache, good, kind):
    make, message = BAD[kind]
    (tmp_path / "aside").mkdir()
    path = tmp_path / "bad.mp4"
    path.write_bytes(make(good, tmp_path / "aside" / "x.mp4"))
    with pytest.raises(BadVideo, match=message) as error:
        open_store(source_of(path))
    assert str(path) in str(error.value)
    assert left(cache / "frames") == []


def test_a_good_file_is_taken_in_either_container_and_to_its_last_frame(tmp_path, good):
    (tmp_path / "a.mp4").write_bytes(good)
    mkv(good, tmp_path / "b.mp4")
    for name in ("a.mp4", "b.mkv"):
        assert len(open_store(source_of(tmp_path / name)).frames) == 60


def test_a_file_that_vanished_is_named(tmp_path, cache, good):
    (tmp_path / "a.mp4").write_bytes(good)
    source = source_of(tmp_path / "a.mp4")
    assert source.sha256
    source.path.unlink()
    with pytest.raises(BadVideo, match=rf"{source.path} cannot be read.*No such file"):
        open_store(source)
    assert left(cache / "frames") == []


WRONG = {
    "size": [0, (8, -1), 10**6, True, (64,), (8, 8, 8), 2.5, "64", None],
    "fps": [0, -12.0, math.nan, math.inf],
    "frames": [0, 1.5],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
@pytest.mark.parametrize("drawn", [True, False])
def test_settings_out_of_range_are_refused_before_anything_is_made(tmp_path, cache, name, value, drawn):
    source = drawn_cartoon() if drawn else source_of(save(tmp_path / "a.mp4", numbered(3)))
    with pytest.raises(ValueError, match=f"open_store: {name} is .*expected"):
        open_store(source, **{name: value})
    assert not cache.exists()


def test_a_long_name_fits_and_a_dangling_link_in_the_way_is_replaced(tmp_path, cache):
    source = source_of(save(tmp_path / "a.mp4", numbered(3)))
    long = replace(source, name="\N{GREEK SMALL LETTER OMEGA}" * 230)
    store = open_store(long, 8)
    shutil.rmtree(store.folder)
    store.folder.symlink_to(tmp_path / "nowhere")
    assert open_store(long, 8).folder == store.folder and store.folder.is_dir()


def test_a_film_that_cannot_be_read_and_a_cache_that_cannot_be_written_are_told_apart(tmp_path, cache, monkeypatch):
    source = source_of(save(tmp_path / "a.mp4", numbered(3)))
    failing = OSError(errno.EIO, "Input/output error")

    def fail(*arguments, **options):
        raise failing

    with monkeypatch.context() as patch:
        patch.setattr("vg.data.download.digest", fail)
        with pytest.raises(BadVideo, match=r"a\.mp4 cannot be read \(Input/output error\)"):
            open_store(source, 8)
    source = source_of(source.path)
    with monkeypatch.context() as patch:
        patch.setattr("vg.data.building._write_card", fail)
        with pytest.raises(
            OSError, match=r"frames cannot be written \(Input/output error\)\. Check its disk, or set VG_CACHE"
        ):
            open_store(source, 8)
    assert len(open_store(source, 8).frames) == 3


# --- clips --------------------------------------------------------------------------------------------------


def fake_store(shots, frames: int) -> SimpleNamespace:
    pixels = np.random.default_rng(0).integers(0, 256, (frames, 1, 4, 6), dtype=np.uint8)
    return SimpleNamespace(frames=pixels, shots=shots, name="film")


SHOTS = [(0, 5), (5, 6), (6, 20), (20, 28)]


@pytest.mark.parametrize("length", [1, 4, 8, 14])
@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("chosen", [None, [(6, 20)], [(20, 28), (6, 20)]])
def test_clips_are_all_windows_within_the_shots_and_no_others(length, stride, chosen):
    store = fake_store(SHOTS, 28)
    clips = Clips(store, chosen, length, stride)
    due = [s for a, b in chosen or SHOTS for s in range(a, b, stride) if s + length <= b]
    assert clips.starts.tolist() == due and len(clips) == len(due)
    for k, start in enumerate(due):
        assert torch.equal(clips[k], to_unit(torch.from_numpy(store.frames[start : start + length])))
    assert torch.equal(clips.take(range(len(due))), torch.stack([clips[k] for k in range(len(due))]))


def test_samples_are_clips_repeat_with_the_seed_and_reach_all():
    clips = Clips(fake_store(SHOTS, 28), frames=4)
    known = {clip.numpy().tobytes() for clip in clips}
    drawn = clips.sample(64 * len(clips), torch.Generator().manual_seed(0))
    assert {clip.numpy().tobytes() for clip in drawn} == known and len(known) == len(clips)
    assert torch.equal(drawn, clips.sample(len(drawn), torch.Generator().manual_seed(0)))
    assert not torch.equal(drawn, clips.sample(len(drawn), torch.Generator().manual_seed(1)))


def test_clips_of_the_sides_of_a_split_share_no_frame():
    store = fake_store([(40 * k, 40 * k + 40) for k in range(12)], 480)
    for seed in range(5):
        split = split_shots(store.shots, 0.3, seed=seed)
        seen = [{f for s in Clips(store, side, 8).starts for f in range(s, s + 8)} for side in split]
        assert all(seen) and not seen[0] & seen[1] and not seen[2] & (seen[0] | seen[1])


@pytest.mark.parametrize(("shots", "longest"), [(None, 14), ([(0, 5)], 5), ([], 0)])
def test_shots_shorter_than_a_clip_are_refused_with_the_longest(shots, longest):
    with pytest.raises(
        ValueError, match=rf"no clip of 15 frames .* 'film': the longest has {longest}\..*shorter clips"
    ):
        Clips(fake_store(SHOTS, 28), shots, 15)


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_to_unit_and_to_uint8_undo_each_other_and_put_channels_before_time(batch):
    levels = torch.arange(256, dtype=torch.uint8).reshape(4, 1, 8, 8).expand(*batch, 4, 3, 8, 8)
    unit = to_unit(levels)
    assert unit.dtype == torch.float32 and unit.shape == (*batch, 3, 4, 8, 8)
    assert (unit.min(), unit.max()) == (-1, 1)
    assert torch.equal(unit.movedim(-4, -3), levels / 127.5 - 1)
    assert torch.equal(to_uint8(unit), levels)
    assert torch.equal(to_uint8(3 * unit), to_uint8((3 * unit).clamp(-1, 1)))  # clipped, never wrapped


def test_a_cache_that_cannot_be_written_is_named_for_several_stores_too(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VG_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(OSError, match="set VG_CACHE to another folder"):
        open_stores(drawn_cartoon(), [{"size": 8}, {"size": 16}], frames=24)
