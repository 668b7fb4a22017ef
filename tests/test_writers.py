"""Laws of the writers: what is written can be read back, whole, or is not there at all.

``VG_ROUNDS=20`` sets how many times processes are killed.
"""

import io
import multiprocessing
import os
import signal
import time
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from vg.data import writers
from vg.data.writers import save, write_gif

SUFFIXES = (".mp4", ".gif", ".png", ".apng")
ROUNDS = int(os.environ.get("VG_ROUNDS", 2))


def clip(channels: int = 1, frames: int = 7, height: int = 45, width: int = 63) -> torch.Tensor:
    """A soft blob that moves over a ramp, float (C, T, H, W) in [-1, 1]."""
    t = torch.arange(frames).view(1, -1, 1, 1)
    c = torch.arange(channels).view(-1, 1, 1, 1)
    y, x = torch.arange(height).view(1, 1, -1, 1), torch.arange(width).view(1, 1, 1, -1)
    blob = torch.exp(-((x - 4 * t - 10 - 5 * c) ** 2 + (y - 20) ** 2) / 60.0)
    return (1.5 * blob - 1 + 0.4 * x / width).clamp(-1, 1)


def pixels(video: torch.Tensor) -> np.ndarray:
    """What a file should show: RGB, uint8 (T, H, W, 3), for a float clip."""
    frames = ((video + 1) * 127.5).round().byte().permute(1, 2, 3, 0)
    return frames.expand(*frames.shape[:3], 3).numpy()


def read(path: Path) -> tuple[np.ndarray, float]:
    """Frames, uint8 (T, H, W, 3), and the whole clip's seconds."""
    if path.suffix == ".mp4":
        with av.open(str(path)) as file:
            stream = file.streams.video[0]
            frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(stream)]
            return np.stack(frames), len(frames) / float(stream.average_rate)
    with Image.open(path) as image:
        frames, milliseconds = [], 0.0
        for i in range(image.n_frames):
            image.seek(i)
            frames.append(np.asarray(image.convert("RGB")))
            milliseconds += image.info["duration"]
        return np.stack(frames), milliseconds / 1000


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * np.log10(255**2 / max(1e-9, ((a.astype(float) - b) ** 2).mean()))


@pytest.mark.parametrize("fps", [8, 12, 24000 / 1001])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_frames_and_time_come_back(tmp_path, suffix, channels, fps):
    video = clip(channels)
    frames, seconds = read(save(tmp_path / f"clip{suffix}", video, fps=fps))
    assert len(frames) == video.shape[1]
    assert seconds == pytest.approx(video.shape[1] / fps, abs=0.006)  # a GIF counts hundredths
    assert psnr(frames[:, :45, :63], pixels(video)) > (38 if channels == 1 else 28)


@pytest.mark.parametrize("suffix", (".gif", ".png"))
def test_grey_is_exact_and_has_no_speckle(tmp_path, suffix):
    video = clip(1)
    frames, _ = read(save(tmp_path / f"clip{suffix}", video))
    assert np.array_equal(frames, pixels(video))
    as_rgb, _ = read(save(tmp_path / f"rgb{suffix}", video.expand(3, -1, -1, -1)))
    assert np.array_equal(as_rgb, frames)


def test_gif_with_every_grey_is_off_by_one_at_most(tmp_path):
    noise = torch.randint(0, 256, (1, 5, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert len(noise.unique()) == 256
    frames, _ = read(save(tmp_path / "noise.gif", noise))
    assert np.abs(frames[..., 0].astype(int) - noise[0].numpy()).max() == 1


def test_fewer_colours_make_a_smaller_gif_that_keeps_black_and_white(tmp_path):
    video = clip(1)
    many, few = write_gif(tmp_path / "a.gif", video), write_gif(tmp_path / "b.gif", video, colours=16)
    assert few.stat().st_size < many.stat().st_size
    frames, _ = read(few)
    assert len(np.unique(frames)) <= 16
    assert (frames.min(), frames.max()) == (pixels(video).min(), pixels(video).max())


@pytest.mark.parametrize("channels", [1, 3])
def test_few_colours_are_exact_in_a_gif(tmp_path, channels):
    video = torch.randint(0, 5, (channels, 4, 16, 20), generator=torch.Generator().manual_seed(1)).byte() * 50
    frames, _ = read(save(tmp_path / "few.gif", video))
    assert np.array_equal(frames, np.broadcast_to(video.permute(1, 2, 3, 0), frames.shape))


@pytest.mark.parametrize("level", [0, 77, 255])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_clip_that_stands_still_keeps_all_its_frames(tmp_path, suffix, channels, level):
    video = torch.full((channels, 6, 16, 16), level, dtype=torch.uint8)
    frames, seconds = read(save(tmp_path / f"still{suffix}", video))
    assert frames.shape == (6, 16, 16, 3)
    assert seconds == pytest.approx(0.5, abs=0.006)
    assert np.abs(frames.astype(int) - level).max() <= 1


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_frame_is_a_clip(tmp_path, suffix):
    path = save(tmp_path / f"one{suffix}", clip(1, frames=1))
    with av.open(str(path)) as file:
        assert len(list(file.decode(video=0))) == 1


@pytest.mark.parametrize("suffix", (".gif", ".png"))
def test_loops_for_ever(tmp_path, suffix):
    with Image.open(save(tmp_path / f"clip{suffix}", clip())) as image:
        assert image.info["loop"] == 0


def test_mp4_plays_everywhere_and_pads_odd_sizes_with_the_edge(tmp_path):
    with av.open(str(save(tmp_path / "clip.mp4", clip(1, height=45, width=63)))) as file:
        context = file.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.width, context.height) == (64, 46)
        first = next(file.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    assert np.abs(first[:, 63] - first[:, 62]).max() < 16


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_scale_enlarges_the_same_picture(tmp_path, suffix):
    frames, _ = read(save(tmp_path / f"big{suffix}", clip(1, height=32, width=48), scale=3))
    assert frames.shape[1:3] == (96, 144)
    assert psnr(frames[:, 1::3, 1::3], pixels(clip(1, height=32, width=48))) > 36


def test_floats_beyond_the_range_are_clipped_and_never_wrap(tmp_path):
    frames, _ = read(save(tmp_path / "over.png", 1.3 * clip()))
    assert np.array_equal(frames, pixels((1.3 * clip()).clamp(-1, 1)))


@pytest.mark.parametrize(
    ("video", "error", "words"),
    [
        (torch.zeros(4, 8, 8), ValueError, r"\(4, 8, 8\)"),
        (torch.zeros(1, 1, 4, 8, 8), ValueError, r"video\[0\]"),
        (torch.zeros(2, 4, 8, 8), ValueError, "1 or 3 channels"),
        (torch.zeros(1, 0, 8, 8), ValueError, "at least one frame"),
        (torch.full((1, 4, 8, 8), torch.nan), ValueError, "NaN"),
        (torch.zeros(1, 4, 8, 8, dtype=torch.int64), TypeError, "int64"),
    ],
)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_bad_clips_are_refused_and_leave_nothing(tmp_path, suffix, video, error, words):
    with pytest.raises(error, match=words):
        save(tmp_path / f"bad{suffix}", video)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("clip.avi", {}, r"\.avi.*\.mp4, \.gif"),
        ("clip", {}, "suffix"),
        ("clip.mp4", {"fps": 0}, "fps"),
        ("clip.gif", {"scale": 0}, "scale"),
        ("clip.gif", {"scale": 1.5}, "scale"),
        *((f"clip{end}", {"fps": fps}, f"fps is {fps}") for end in SUFFIXES for fps in (1e-4, float("nan"))),
        *((f"clip{end}", {"fps": float("inf")}, "inf") for end in SUFFIXES),
        *((f"clip{end}", {"scale": n}, f"scale is {n}.* 1 to 260") for end in SUFFIXES for n in (300, float("nan"))),
    ],
)
def test_bad_settings_are_refused_and_leave_nothing(tmp_path, name, settings, words):
    with pytest.raises(ValueError, match=words):
        save(tmp_path / name, clip(), **settings)
    assert list(tmp_path.iterdir()) == []


def break_midway(monkeypatch, action) -> None:
    """Have every writer call ``action`` when a part of its bytes has been written."""
    given, contiguous, whole = [], np.ascontiguousarray, Image.Image.save

    def third_frame(array):  # the MP4 writer packs one frame after the other
        given.append(1)
        if len(given) == 3:
            action()
        return contiguous(array)

    def half_a_picture(self, path, *args, **kwargs):
        if isinstance(path, io.BytesIO):  # the APNG writer packs one frame after the other
            third_frame(self)
            return whole(self, path, *args, **kwargs)
        Path(path).write_bytes(b"half of it")
        action()

    monkeypatch.setattr(writers.np, "ascontiguousarray", third_frame)
    monkeypatch.setattr(Image.Image, "save", half_a_picture)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_interrupted_midway_all_is_as_before(tmp_path, monkeypatch, suffix, older, error):
    path = tmp_path / f"clip{suffix}"
    if older:
        path.write_bytes(b"the older file")

    def fail():
        raise error("midway")

    break_midway(monkeypatch, fail)
    with pytest.raises(error, match="midway"):
        save(path, clip())
    assert [p.name for p in tmp_path.iterdir()] == ([path.name] if older else [])
    assert not older or path.read_bytes() == b"the older file"


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("size", [16, 46, 64, 96, 192])
def test_the_same_clip_gives_the_same_bytes(tmp_path, suffix, size):
    video, seen = clip(1, frames=24 if suffix == ".mp4" else 3, height=size, width=size + 2), set()
    rubbish = []
    for k in range(6 if suffix == ".mp4" else 2):
        rubbish.append(torch.full((60_000 * (k + 1),), 0.3 * k))  # what the encoder's memory held before
        seen.add(save(tmp_path / f"clip{suffix}", video).read_bytes())
    assert len(seen) == 1


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="needs a limit on the size of files")
@pytest.mark.parametrize("limit", [1, 900])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_disk_that_fills_up_is_named_and_all_is_as_before(tmp_path, suffix, limit):
    import resource

    path = tmp_path / f"clip{suffix}"
    path.write_bytes(b"the older file")
    noise = torch.rand(1, 24, 32, 32, generator=torch.Generator().manual_seed(0))
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        with pytest.raises(OSError, match=f"{path} cannot be written.*Make room there, or choose another place"):
            save(path, noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"the older file" and [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_place_that_is_none_is_named(tmp_path, suffix):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / f"folder{suffix}").mkdir()
    for path in (tmp_path / "file" / f"clip{suffix}", tmp_path / f"folder{suffix}"):
        with pytest.raises(OSError, match=f"{path} cannot be written"):
            save(path, clip())
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(os.name == "nt", reason="permissions are another matter on Windows")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_whoever_may_read_new_files_may_read_a_clip(tmp_path, suffix):
    umask = os.umask(0o027)
    try:
        path = save(tmp_path / f"clip{suffix}", clip(frames=2))
    finally:
        os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o640


CHILDREN = multiprocessing.get_context("forkserver")  # forks before there are threads, whose locks would hang
CHILDREN.set_forkserver_preload(["vg.data", "numpy", "pytest"])


def _save_and_die(path: Path) -> None:
    break_midway(pytest.MonkeyPatch(), lambda: os.kill(os.getpid(), signal.SIGKILL))
    save(path, clip())


def _save_often(path: Path, level: int) -> None:
    path.with_name(f"begun-{os.getpid()}").touch()
    for _ in range(20):
        save(path, torch.full((1, 6, 48, 48), level, dtype=torch.uint8))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_killed_midway_no_file_has_the_name_and_the_next_leaves_nothing_else(tmp_path, suffix):
    path = tmp_path / f"clip{suffix}"
    child = CHILDREN.Process(target=_save_and_die, args=(path,))
    child.start()
    child.join(100)
    assert child.exitcode == -signal.SIGKILL
    assert not path.exists()
    assert len(read(save(path, clip()))[0]) == clip().shape[1]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("suffix", (".mp4", ".gif"))
def test_what_a_killed_process_left_goes_though_its_name_never_comes_again(tmp_path, suffix):
    process = CHILDREN.Process(target=_save_and_die, args=(tmp_path / f"first{suffix}",))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL and len(list(tmp_path.iterdir())) == 1
    theirs = tmp_path / f".notes{suffix}.abcdefgh"  # a folder of the reader's, which only looks like ours
    theirs.mkdir()
    with writers._whole(tmp_path / f"live{suffix}") as partial:  # a process that lives keeps its own
        save(tmp_path / f"second{suffix}", clip())
        partial.touch()
    assert {path.name for path in tmp_path.iterdir()} == {f"live{suffix}", f"second{suffix}", theirs.name}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("suffix", (".mp4", ".gif", ".png"))
def test_killed_at_any_moment_there_is_a_whole_file_or_none(tmp_path, suffix):
    path, rng = tmp_path / f"clip{suffix}", np.random.default_rng(0)
    for _ in range(ROUNDS + 1 if ROUNDS < 20 else 20):
        child = CHILDREN.Process(target=_save_often, args=(path, 90))
        child.start()
        while not (tmp_path / f"begun-{child.pid}").exists():
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.15))
        child.kill()
        child.join()
        (tmp_path / f"begun-{child.pid}").unlink()
        assert not path.exists() or len(read(path)[0]) == 6
    save(path, clip())
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("many", [2, 4])
@pytest.mark.parametrize("suffix", (".mp4", ".gif"))
def test_of_processes_that_write_one_file_each_writes_a_whole_one(tmp_path, suffix, many):
    path = tmp_path / f"clip{suffix}"
    for _ in range(-(-ROUNDS // 20)):  # each of them writes 20 times
        children = [CHILDREN.Process(target=_save_often, args=(path, 50 * k + 20)) for k in range(many)]
        for child in children:
            child.start()
        for child in children:
            child.join(100)
        assert [child.exitcode for child in children] == [0] * many
        frames = read(path)[0]
        assert len(frames) == 6 and np.ptp(frames.astype(int)) <= 2
        assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith("begun")) == [path.name]


@pytest.mark.parametrize(("fps", "every"), [(50, 1), (60, 2), (120, 3)])
def test_of_a_clip_faster_than_a_gif_some_frames_are_shown_and_it_lasts_as_long(tmp_path, fps, every):
    video = torch.linspace(-1, 1, 61).view(1, 61, 1, 1).expand(1, 61, 8, 8)
    with Image.open(save(tmp_path / "fast.gif", video, fps=fps)) as gif:
        assert gif.n_frames == len(range(0, 61, every))
        shown = 0
        for k in range(gif.n_frames):
            gif.seek(k)
            shown += gif.info["duration"]
            assert gif.info["duration"] >= 20
            assert np.asarray(gif.convert("L"))[4, 4] == pytest.approx(255 / 60 * every * k, abs=1.5)
    assert shown == pytest.approx(1000 * 61 / fps, abs=15)
