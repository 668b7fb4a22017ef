"""Damaged videos: an error that names the file, or the right frames; never a traceback, never for ever.

``VG_FUZZ=400 pytest tests/test_decode_damage.py -s`` is the long form; it prints what share of the damage is seen.
"""

import os
import random
import re
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from videos import numbered, numbers, write

from vg.data import BadVideo, decode, open_store, pictures, video

ROUNDS = int(os.environ.get("VG_FUZZ", "16"))
CONTAINERS = dict.fromkeys(["mp4", "mkv", "ts"], "libx264") | {"webm": "libvpx-vp9", "avi": "mpeg4"}
# x264's vector code reads beside pictures as small as these: no two files were the same.
SLOW = {"libx264": {"preset": "medium", "crf": "23", "threads": "1", "x264-params": "asm=0"}, "mpeg4": {"qscale": "5"}}
# Of 100 flips that change a picture so many must be seen at the least (measured over 400: see ``vg.data.pictures``).
SEEN = {"mp4": 80, "mkv": 75, "ts": 70, "webm": 85, "avi": 75}


def clip(path: Path, **settings) -> Path:
    """Two seconds of moving waves with some noise, as a camera might see them."""
    noise, (y, x) = np.random.default_rng(0), np.mgrid[:64, :96]
    pictures = [
        120 + 60 * np.sin((x + 3 * t) / 9) + 40 * np.cos((y - 2 * t) / 7) + noise.normal(0, 4, x.shape)
        for t in range(48)
    ]
    codec = CONTAINERS[path.suffix[1:]]
    options = SLOW.get(codec, {}) | {"g": "12"} | settings
    pictures = np.stack(pictures).clip(0, 255).astype(np.uint8)
    return write(path, pictures, range(48), Fraction(1, 24), codec, rate=24, **options)


def read(path, size=(64, 96), **settings) -> tuple[np.ndarray, BadVideo | None]:
    """The frames that came, and what ended them."""
    frames = [np.zeros((0, 1, *size), np.uint8)]
    try:
        for (frame,) in decode.frames(path, [size], 24, **settings):
            frames.append(frame[None])
    except BadVideo as problem:
        return np.concatenate(frames), problem
    return np.concatenate(frames), None


def same(frames: np.ndarray, whole: np.ndarray) -> bool:
    return np.array_equal(frames, whole[: len(frames)])


def damaged(data: bytes, chance: random.Random, cut: bool) -> bytes:
    if cut:
        return data[: chance.randrange(len(data))]
    data = bytearray(data)
    for _ in range(chance.choice((1, 1, 4, 30))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_damage_is_named_or_does_no_harm(tmp_path, suffix):
    """A cut is seen, unless between two pictures of a broadcast; what comes before is right. Most flips are seen."""
    path, bad, chance = clip(tmp_path / f"a.{suffix}"), tmp_path / f"bad.{suffix}", random.Random(0)
    data, (whole, problem) = path.read_bytes(), read(path)
    assert problem is None and len(whole) == 48
    seen = unseen = harmless = 0
    for k in range(ROUNDS):
        cut = k % 4 == 0
        bad.write_bytes(damaged(data, chance, cut))
        frames, problem = read(bad)
        assert problem is None or str(bad) in str(problem)
        if cut:
            between = suffix == "ts" and bad.stat().st_size % 188 == 0  # a transport stream may end after any picture
            assert (problem or between) and same(frames, whole), f"cut to {bad.stat().st_size} bytes of {len(data)}"
        elif problem:
            seen += 1
        elif len(frames) == 48 and same(frames, whole):
            harmless += 1
        else:
            unseen += 1
    print(f"{suffix}: of {seen + unseen} flips that did harm {seen} were seen; {harmless} did none")
    assert unseen <= (100 - SEEN[suffix]) / 100 * (seen + unseen) + 2


def until_the_damage(path, **settings) -> tuple[list[int], BadVideo | None]:
    """The numbers on the frames that came, and what ended them."""
    frames, problem = read(path, (32, 64), **settings)
    return numbers(frames), problem


@pytest.mark.parametrize(
    "suffix, sound", [("mkv", 0), ("mkv", 4), ("ts", 0), ("ts", 4), ("mp4", 0), ("mp4", 4), ("avi", 0)]
)
def test_of_half_a_file_nothing_is_taken_unless_asked_for(tmp_path, suffix, sound):
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(0).integers(-30, 30, (96, 96, 192))  # so that the pictures take up most of the file
    pictures = (numbered(96, 0, 96, 192) + noise).astype(np.uint8)
    write(path, pictures, range(96), Fraction(1, 24), CONTAINERS[suffix], rate=24, sound=sound, g="12", b="4M")
    half = int(0.47 * path.stat().st_size)
    path.write_bytes(path.read_bytes()[: half // 188 * 188])  # between two packets of a transport stream
    good, problem = until_the_damage(path)
    assert good == list(range(len(good))) and 24 <= len(good) <= 84
    assert re.match(rf"{path} (breaks off|is damaged after frame).* Copy it again", str(problem))
    with pytest.warns(UserWarning, match=rf"{path} .* is kept: {len(good)} frames, {len(good) / 24:.1f} seconds"):
        assert until_the_damage(path, partial=True) == (good, None)


@pytest.mark.parametrize("bf", ["0", "2"])
def test_what_is_before_the_damage_is_given_first(tmp_path, monkeypatch, bf):
    """A hole in the sixtieth picture of 96; two threads, which have more than one picture in work."""

    def two_threads(stream, make=pictures._decoder):
        decoder = make(stream)
        decoder.thread_count = 2
        return decoder

    monkeypatch.setattr(pictures, "_decoder", two_threads)
    settings = {"rate": 24, "bf": bf, "g": "12", "preset": "medium"}
    path = write(tmp_path / "a.mp4", numbered(96), range(96), Fraction(1, 24), **settings)
    with av.open(path) as file:
        packets = sorted((packet for packet in file.demux(video=0) if packet.size), key=lambda packet: packet.pts)
        hole = slice(packets[60].pos, packets[60].pos + packets[60].size)
    data = bytearray(path.read_bytes())
    data[hole] = bytes(packets[60].size)
    path.write_bytes(data)
    good, problem = until_the_damage(path)
    assert good == list(range(len(good))) and 59 <= len(good) <= 60
    assert f"is damaged after frame {len(good)} (" in str(problem)


def test_few_pictures_are_kept_while_looking_for_bars(tmp_path, monkeypatch):
    """PyAV keeps a frame whose side data were looked at until Python collects garbage: of 4K frames, gigabytes."""
    calls, original = [], pictures.orientation
    monkeypatch.setattr(pictures, "orientation", lambda *given: (calls.append(1), original(*given))[1])
    decode.probe(write(tmp_path / "a.mp4", numbered(100), range(100), Fraction(1, 12), rate=12))
    assert len(calls) == 1


def test_a_store_of_half_a_file_holds_what_is_whole_if_that_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("VG_CACHE", str(tmp_path / "cache"))
    data = clip(tmp_path / "a.mkv").read_bytes()
    (half := tmp_path / "half.mkv").write_bytes(data[: len(data) // 2])
    with pytest.raises(BadVideo, match=r"Or keep the \d+ frames before, with open_store\(\.\.\., partial=True\)"):
        open_store(video(half), 16, fps=24)
    with pytest.warns(UserWarning, match="What is before is kept"):
        store = open_store(video(half), 16, fps=24, partial=True)
    whole = open_store(video(tmp_path / "a.mkv"), 16, fps=24)
    assert 0 < len(store.frames) < len(whole.frames)
    assert np.array_equal(store.frames, whole.frames[: len(store.frames)])
    assert open_store(video(half), 16, fps=24, partial=True).folder == store.folder
