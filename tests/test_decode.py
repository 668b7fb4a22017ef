"""Laws of reading videos: pictures as players show them, at their times, from the stream meant, within limits."""

import base64
import math
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
import torch
from av.stream import Disposition
from PIL import Image
from videos import numbered, numbers, write

from vg.data import BadVideo, clock, decode, open_store, save, video, video_file
from vg.data.scale import Scaler


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VG_CACHE", str(tmp_path / "cache"))


def read(path, fps=12.0, size=(32, 64), **settings) -> np.ndarray:
    return np.stack([frame for (frame,) in decode.frames(path, [size], fps, **settings)])


def on_show(times: list[float], end: float, fps: float, late: float = 1e-6) -> list[int]:
    """By the definition: which picture is shown at 0, 1/fps, 2/fps, ... seconds."""
    due = [k / fps for k in range(math.ceil((end - times[0]) * fps - 1e-3))]
    return [max(k for k, time in enumerate(times) if time - times[0] <= now + late) for now in due]


# --- times --------------------------------------------------------------------------------------------------

DROPPED = [10 * (k // 4) + k % 4 for k in range(80)]  # of ten frames the first four
HELD = [k + 60 * (k >= 24) for k in range(72)]  # one stays for a second
LACKING = [k + (k > 50) for k in range(100)]  # one is missing
PATTERNS = {"dropped": DROPPED, "held": HELD, "lacking": LACKING}
CONTAINERS = {
    "mkv": "libx264",
    "webm": "libvpx-vp9",
    "flv": "libx264",
    "avi": "mpeg4",
    "mp4": "libx264",
    "ts": "libx264",
}


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("suffix", CONTAINERS)
def test_pictures_at_uneven_times_are_taken_by_their_times(tmp_path, suffix, pattern):
    """The containers' clocks differ: milliseconds, frames, 90,000 a second."""
    times, base = PATTERNS[pattern], Fraction(1, 60)
    path = write(tmp_path / f"a.{suffix}", numbered(len(times)), times, base, CONTAINERS[suffix], rate=60)
    found = decode.probe(path)
    assert found.rate is None and decode.picked_rate(found.rate, 12) == 12
    exact = [time / 60 for time in times]
    due = on_show(exact, exact[-1] + 1 / 60, 12, 1e-3)
    seen = numbers(read(path))
    assert seen[: len(due)] == due and len(seen) - len(due) in (0, 1), "the last picture's length is the container's"
    assert found.seconds == pytest.approx(exact[-1] + 1 / 60, abs=0.05)


@pytest.mark.parametrize("rate", [24000 / 1001, 24, 60, 120])
@pytest.mark.parametrize("suffix", ["mkv", "flv"])
def test_a_clock_of_milliseconds_is_no_unevenness(tmp_path, suffix, rate):
    times = [round(1000 * k / rate) for k in range(200)]
    path = write(tmp_path / f"a.{suffix}", numbered(200), times, rate=Fraction(rate).limit_denominator(1001))
    found, step = decode.probe(path), round(rate / 12)
    assert found.rate == pytest.approx(rate, rel=1e-3)
    assert numbers(read(path)) == list(range(0, 200, step))
    store = open_store(video(path), size=16)
    assert store.fps == pytest.approx(rate / step, rel=1e-3) and len(store.frames) == math.ceil(200 / step)


def test_a_browsers_recording_says_a_thousand_a_second_and_is_taken_by_its_times(tmp_path):
    jitter = np.random.default_rng(0).integers(0, 20, 121)
    times = [int(33 * k + jitter[k]) for k in range(121)]
    path = write(tmp_path / "a.webm", numbered(121), times, codec="libvpx-vp9", rate=1000)
    due = on_show([time / 1000 for time in times], (times[-1] + 33) / 1000, 12, 1e-3)
    store = open_store(video(path), size=(32, 64))
    assert numbers(store.frames) == due and store.fps == 12


def test_a_last_picture_that_stays_stays(tmp_path):
    base = Fraction(1, 24)
    given = av.open(write(tmp_path / "a.mp4", numbered(48), range(48), base, rate=24))
    with given, av.open(tmp_path / "b.mp4", "w") as file:
        stream, all_of = file.add_stream_from_template(given.streams.video[0]), list(given.demux(video=0))[:-1]
        all_of[-1].duration *= 25
        for packet in all_of:
            packet.stream = stream
            file.mux(packet)
    assert numbers(read(tmp_path / "b.mp4")) == [*range(0, 48, 2), *[47] * 12]


@pytest.mark.parametrize("suffix", ["h264", "hevc"])
def test_a_bare_stream_is_played_at_its_own_rate(tmp_path, suffix):
    codec = {"h264": "libx264", "hevc": "libx265"}[suffix]
    path = write(tmp_path / f"a.{suffix}", numbered(60), range(60), Fraction(1, 30), codec, rate=30)
    assert decode.probe(path).rate == 30
    assert numbers(read(path, 10)) == list(range(0, 60, 3))


def test_an_empty_packet_shows_the_picture_before_it_on(tmp_path):
    """As Theora writes pictures that repeat."""
    given = av.open(write(tmp_path / "a.mkv", numbered(24), range(24), Fraction(1, 12), rate=12))
    with given, av.open(tmp_path / "b.nut", "w") as file:
        stream, at = file.add_stream_from_template(given.streams.video[0]), 0
        for packet in list(given.demux(video=0))[:-1]:
            base = packet.time_base
            for part in (packet, av.Packet(0), av.Packet(0)):
                part.stream, part.time_base, part.pts, part.dts = stream, base, at, at
                file.mux(part)
                at += 250
    assert numbers(read(tmp_path / "b.nut", 4)) == list(np.arange(24 * 3) // 3)


@pytest.mark.parametrize("suffix", ["ts", "mkv"])
def test_bars_are_found_whenever_the_clock_begins(tmp_path, suffix):
    picture = np.pad(numbered(60, height=48), [(0, 0), (12, 12), (0, 0)], constant_values=0)
    times = [36_000_000 + 40 * k for k in range(60)]
    path = write(tmp_path / f"a.{suffix}", picture, times, rate=25, g="2")
    assert decode.probe(path).box == (12, 60, 0, 64)
    assert numbers(read(path, 25)) == list(range(60))


def test_bars_are_those_of_the_whole_video_not_of_its_first_picture(tmp_path):
    picture = np.array(numbered(100, height=64))
    picture[:12, :20] = picture[:12, -20:] = 0  # a title card
    path = write(tmp_path / "a.mp4", picture, range(100), Fraction(1, 25), rate=25)  # with one key frame
    assert decode.probe(path).box == (0, 64, 0, 64)


# --- the right way up, the right stream ---------------------------------------------------------------------

SIDED = np.kron(np.array([[40, 120, 200], [90, 230, 60]], np.uint8), np.ones((16, 16), np.uint8))  # (32, 48)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("mirrored", [None, "hflip", "vflip"])
@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
def test_pictures_are_turned_as_the_file_says(tmp_path, suffix, degrees, mirrored):
    """Degrees count counterclockwise, and mirroring comes after it."""
    turned = Image.fromarray(SIDED).rotate(degrees, expand=True)
    flip = {"hflip": Image.Transpose.FLIP_LEFT_RIGHT, "vflip": Image.Transpose.FLIP_TOP_BOTTOM}.get(mirrored)
    due = np.asarray(turned if flip is None else turned.transpose(flip)).astype(int)
    path = write(
        tmp_path / f"a.{suffix}",
        [SIDED] * 6,
        range(6),
        Fraction(1, 12),
        rate=12,
        prepare=lambda s: s.set_display_rotation(degrees, **({mirrored: True} if mirrored else {})),
    )
    found = decode.probe(path)
    assert (found.height, found.width) == due.shape and found.box == (0, due.shape[0], 0, due.shape[1])
    assert np.abs(open_store(video(path), size=due.shape).frames[:, 0] - due).max() < 12


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_still_is_turned_as_its_exif_says(tmp_path, suffix, orientation):
    back = [None, None, 0, 3, 1, 5, 4, 6, 2][orientation]  # PIL's transpose that turns it upright
    stored, exif = Image.fromarray(SIDED), Image.Exif()
    exif[0x112] = orientation
    path = tmp_path / f"a.{suffix}"
    stored.save(path, exif=exif, quality=95)
    due = np.asarray(stored if back is None else stored.transpose(Image.Transpose(back))).astype(int)
    assert np.abs(open_store(video(path), size=due.shape).frames[0, 0] - due).max() < 12


def moved_to_front(data: bytes, kind: bytes, parent: bytes) -> bytes:
    """An MP4 whose box ``kind`` is the first in ``parent``."""
    at, inside = data.index(parent) + 4, data.index(kind, data.index(parent)) - 4
    size = int.from_bytes(data[inside : inside + 4], "big")
    return data[:at] + data[inside : inside + size] + data[at:inside] + data[inside + size :]


def test_cover_art_is_not_the_film(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(path, "w", options={"movflags": "faststart"}) as file:
        film, cover = file.add_stream("libx264", rate=12, options={"crf": "10"}), file.add_stream("mjpeg", rate=12)
        film.width, film.height, film.pix_fmt = 64, 32, "yuv420p"
        cover.width, cover.height, cover.pix_fmt = 200, 100, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        for picture in numbered(30):
            file.mux(film.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="gray")))
        picture = av.VideoFrame.from_ndarray(np.full((100, 200), 99, np.uint8), format="gray")
        for stream, last in ((film, None), (cover, picture), (cover, None)):
            file.mux(stream.encode(last))
    path.write_bytes(moved_to_front(path.read_bytes(), b"udta", b"moov"))
    with av.open(path) as file:
        assert file.streams[0].disposition == Disposition.attached_pic, "the cover comes first"
    assert numbers(read(path)) == list(range(30))


def test_a_cover_that_is_not_marked_as_one_is_not_the_film(tmp_path):
    """As some programs write Matroska: the cover is the first of two tracks, and neither is the default."""
    path = tmp_path / "a.mkv"
    with av.open(path, "w", options={"default_mode": "passthrough"}) as file:
        cover, film = file.add_stream("mjpeg", rate=12), file.add_stream("libx264", rate=12, options={"crf": "10"})
        for stream, pixels in ((cover, "yuvj420p"), (film, "yuv420p")):
            stream.width, stream.height, stream.pix_fmt = 64, 32, pixels
        for k in range(24):
            picture = av.VideoFrame.from_ndarray(np.full((32, 64), 200, np.uint8), format="gray")
            for stream in (cover, film)[k > 0 :]:
                file.mux(stream.encode(picture.reformat(format=stream.pix_fmt)))
        for stream in (cover, film):
            file.mux(stream.encode())
    with av.open(path) as file:
        assert [(s.codec.name, int(s.disposition)) for s in file.streams] == [("mjpeg", 0), ("h264", 0)]
    assert len(read(path)) == 24


def test_a_song_with_cover_art_holds_no_video(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(path, "w") as file:
        sound, cover = file.add_stream("aac", rate=8000, layout="mono"), file.add_stream("mjpeg", rate=12)
        cover.width, cover.height, cover.pix_fmt, cover.disposition = 64, 64, "yuvj420p", Disposition.attached_pic
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 8000
        for stream, frame in ((sound, silence), (cover, av.VideoFrame(64, 64, "yuvj420p"))):
            file.mux(stream.encode(frame))
            file.mux(stream.encode(None))
    with pytest.raises(BadVideo, match="holds no video, only audio, cover art"):
        decode.probe(path)


def test_of_two_streams_the_default_is_taken(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(path, "w") as file:
        streams = [file.add_stream("libx264", rate=12, options={"crf": "10"}) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        streams[1].disposition = Disposition.default
        for pictures in zip(numbered(20), numbered(20, first=100)):
            for stream, picture in zip(streams, pictures):
                file.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="gray")))
        for stream in streams:
            file.mux(stream.encode(None))
    assert numbers(read(path)) == list(range(100, 120))


def test_a_size_that_changes_on_the_way_is_that_of_the_first_picture(tmp_path):
    small = write(tmp_path / "a.h264", numbered(12), range(12), Fraction(1, 12), rate=12).read_bytes()
    large = write(tmp_path / "b.h264", numbered(12, 12, 64, 128), range(12), Fraction(1, 12), rate=12).read_bytes()
    (tmp_path / "c.h264").write_bytes(small + large)
    assert numbers(read(tmp_path / "c.h264")) == list(range(24))


# --- broadcasts ---------------------------------------------------------------------------------------------


def broadcast(path, first: int, begin: int = 10, **settings):
    times = range(24 * begin, 24 * begin + 48)
    return write(path, numbered(48, first), times, Fraction(1, 24), rate=24, g="12", bf="2", **settings)


@pytest.mark.parametrize("opened", [0, 1])
def test_a_broadcast_recorded_from_any_moment_begins_at_its_first_key_frame(tmp_path, opened):
    """In an open group of pictures some are sent after the key frame, are shown before it, and need the last group."""
    given = {"preset": "medium", "x264-params": f"open-gop={opened}:b-adapt=0:scenecut=0"}
    data = broadcast(tmp_path / "a.ts", 0, **given).read_bytes()
    with av.open(tmp_path / "a.ts") as file:
        keys = [packet for packet in file.demux(video=0) if packet.is_keyframe]
    for before, key in pairwise(keys):
        (tmp_path / "b.ts").write_bytes(data[: 3 * 188] + data[(before.pos + 376) // 188 * 188 :])  # tables, then on
        number = round(24 * float(key.pts * key.time_base)) - 240
        assert numbers(read(tmp_path / "b.ts", 24)) == list(range(number, 48))


@pytest.mark.parametrize("second", [10, 4, 7200], ids=["the same", "earlier", "later"])
def test_joined_broadcasts_go_on_where_the_clock_breaks_off(tmp_path, second):
    first = broadcast(tmp_path / "a.ts", 0).read_bytes()
    (tmp_path / "c.ts").write_bytes(first + broadcast(tmp_path / "b.ts", 100, second).read_bytes())
    seen = numbers(read(tmp_path / "c.ts", 24))
    assert seen[:48] == list(range(48)) and list(dict.fromkeys(seen[48:])) == list(range(100, 148))
    assert len(seen) <= 98


# --- limits -------------------------------------------------------------------------------------------------


def test_a_picture_that_stays_for_hours_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mp4", numbered(3), [0, 40, 80])
    data = bytearray(path.read_bytes())
    at = data.index(b"stts") + 16  # after a version, a number of entries and the first's number of pictures
    assert int.from_bytes(data[at : at + 4], "big") == 640
    data[at : at + 4] = (39 * 3600 * 15_000).to_bytes(4, "big")
    path.write_bytes(data)
    with pytest.raises(BadVideo, match=r"stays on show for 36\.6 hours"):
        decode.probe(path)
    path = write(tmp_path / "a.mkv", numbered(3), [0, 40, 39 * 3_600_000])
    with pytest.raises(BadVideo, match=r"stays on show for 39\.0 hours.*raise vg\.data\.clock\.LONGEST_HOLD"):
        decode.probe(path)
    monkeypatch.setattr(clock, "LONGEST_HOLD", 40 * 3600)
    assert decode.probe(path).seconds == pytest.approx(39 * 3600, abs=60)
    with pytest.raises(BadVideo, match=r"would give 140,4.. frames .*raise vg\.data\.decode\.MOST_FRAMES"):
        monkeypatch.setattr(decode, "MOST_FRAMES", 100_000)
        next(decode.frames(path, [(8, 8)], 1))


@pytest.mark.parametrize("fps", [1e6, math.inf, math.nan, 0, -1])
def test_a_rate_beyond_reason_is_refused(tmp_path, fps):
    path = write(tmp_path / "a.mp4", numbered(3), range(3))
    with pytest.raises(ValueError, match=r"expected above 0 and at most 1000 .*MOST_FPS"):
        next(decode.frames(path, [(8, 8)], fps))


def claims(path, suffix: str):
    """A small file that says that its pictures have 60,000 pixels a side."""
    small, large = (64).to_bytes(2, "big"), (60_000).to_bytes(2, "big")
    if suffix == "png":
        Image.fromarray(numbered(1, height=64)[0]).save(path)
        path.write_bytes(path.read_bytes().replace(2 * (b"\0\0" + small), 2 * (b"\0\0" + large), 1))
    elif suffix == "avi":
        write(path, numbered(3, height=64), range(3), Fraction(1, 12), "mjpeg", rate=12)
        path.write_bytes(path.read_bytes().replace(b"\x08" + 2 * small, b"\x08" + 2 * large))
    return path


@pytest.mark.parametrize("suffix", ["png", "avi"])
def test_pictures_of_too_many_pixels_are_refused_before_there_is_memory_for_them(tmp_path, suffix):
    with pytest.raises(BadVideo, match=r"60000x60000 pixels|that can be decoded: .*more than 67,108,864 pixels"):
        read(claims(tmp_path / f"a.{suffix}", suffix))


def test_the_limit_of_pixels_can_be_raised(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mp4", numbered(3), range(3))
    monkeypatch.setattr(video_file, "MOST_PIXELS", 32 * 64 - 1)
    with pytest.raises(BadVideo, match=r"32x64 pixels; up to 2,047 are read.*raise vg\.data\.video_file\.MOST_PIXELS"):
        decode.probe(path)
    monkeypatch.setattr(video_file, "MOST_PIXELS", 32 * 64)
    assert decode.probe(path).height == 32


def test_a_playlist_opens_nothing_else(tmp_path):
    write(tmp_path / "a.ts", numbered(12), range(0, 480, 40))
    (tmp_path / "a.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(BadVideo):
        decode.probe(tmp_path / "a.m3u8")


def test_threads_of_ffmpeg_never_wait_for_the_interpreter_whoever_switched_that_on(tmp_path):
    path = write(tmp_path / "a.mp4", numbered(12), range(0, 480, 40))
    for use in (decode.probe, read, lambda path: save(tmp_path / "b.mp4", torch.zeros(1, 4, 16, 16))):
        av.logging.set_level(av.logging.ERROR)
        use(path)
        assert av.logging.get_level() is None


# 32x16, six frames at 12 a second, VP9 in ten bits (profile 2), which the encoder at hand does not write.
DEEP = """
GkXfo59ChoEBQveBAULygQRC84EIQoKEd2VibUKHgQJChYECGFOAZwEAAAAAAANSEU2bdLpNu4tTq4QVSalmU6yBoU27i1OrhBZUrmtTrIHGTbuMU6uE
ElTDZ1OsggEiTbuMU6uEHFO7a1OsggM87AEAAAAAAABZAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAVSalmoCrXsYMPQkBNgIRMYXZmV0GETGF2ZkSJiEB/QAAAAAAAFlSua9euAQAAAAAAAE7X
gQFzxYgAAAAAAAAAAZyBACK1nIN1bmSIgQCGhVZfVlA5g4EBI+ODhAT3kNXgkLCBILqBEJqBAlWwhFW5gQFV7oEA7AEAAAAAAAACAAASVMNn1HNz0WPA
i2PFiAAAAAAAAAABZ8icRaOHRU5DT0RFUkSHj0xhdmMgbGlidnB4LXZwOWfIoUWjiERVUkFUSU9ORIeTMDA6MDA6MDAuNTAwMDAwMDAwAB9DtnVBu+eB
AKNBIIEAAICSSYNCAAD4AHsAHBIODEkAABAgAHzKjf//OS/HjLYknGJnkBeef+XCUMxYgW/fSrK6zhDn/qb1clm+tLbSrxgDZCbZv//GoBT//4E0cViT
/s3WOV/7b5Ox//mt5bHlIaD/oOaNV2Niyk//69zPgGpDU3/zJ7ONx9wdOFl29p9uGK1TYPv2qgny/xGWvtFmxO3f/sB6W3BqcjANXqPc/+kQ/Ywbf/+F
xHFYk/8p1jlf+6OVHz6UepJ7s/MA8P/6EP/16ARlh0xiMN/R/+oqQ4GSu/kRtZlCHe23JABuPTeMqlsQrfd/7L67LLgZz91miJCsBEFPfOrrXe1Pmw2U
8Ng0f0U0C9oq/+LpF7Oo4D1vDo+pxwqDziLxdOzBgKOTgQBTAJYAQJKcAFQAAAMgAAAWJKOggQCnAJYAQJKcAFLgAANwAABpk+8XZcr01IHlC48cVACj
k4EA+gCWAECSnABUAAADIAAAFiSjsoEBTQCWAECSnDRRgAADAAAAAUGC1MKQAWhnvfc68dk0ygUAB73iB4gM708LF2iC3sAAo5OBAaEAlgBAkpwAVAAA
AyAAABYkHFO7a5G7j7OBALeK94EB8YIBe/CBAw==
"""


def test_vp9_of_ten_bits_is_read(tmp_path):
    (tmp_path / "deep.webm").write_bytes(base64.b64decode(DEEP))
    pictures = read(tmp_path / "deep.webm", size=(16, 32))
    assert len(pictures) == 6 and pictures.std() > 30


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "ts"])
def test_a_part_that_was_cut_out_without_coding_it_anew_begins_at_its_first_key_frame(tmp_path, suffix):
    """Its first pictures in the order of showing build on some that are gone: as editors cut without loss."""
    options = {"x264-params": "open-gop=1:bframes=3:b-adapt=0:keyint=24:min-keyint=24:scenecut=0", "preset": "medium"}
    whole = write(tmp_path / f"whole.{suffix}", numbered(72), range(72), Fraction(1, 24), rate=24, **options)
    assert numbers(read(whole, 24.0)) == list(range(72))
    part = tmp_path / f"part.{suffix}"
    with av.open(str(whole)) as source, av.open(str(part), "w") as target:
        [video] = source.streams.video
        copied, start, seen, leading = target.add_stream_from_template(video), None, 0, 0
        for packet in source.demux(video):
            seen += packet.is_keyframe
            if seen < 2 or packet.dts is None:
                continue
            start = packet.pts if start is None else start
            leading += packet.pts < start
            packet.stream = copied
            target.mux(packet)
    assert leading, "else this shows nothing"
    assert numbers(read(part, 24.0)) == list(range(72 - 48, 72))


@pytest.mark.parametrize("primaries", [9, 2], ids=["BT.2020", "not said"])
def test_high_dynamic_range_is_brought_to_the_colours_it_stands_for(primaries):
    """By ITU-R BT.2087 (primaries) and BT.2100 (PQ), white of standard range at 203 nits (ITU-R BT.2408)."""
    colours = np.array([(0, 200, 0), (200, 40, 30), (60, 60, 200), (128, 128, 128), (240, 240, 240)])
    matrix = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
    power = (203 / 10_000 * (colours / 255) ** 2.4 @ matrix.T) ** 0.1593017578125
    coded = ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    stripes = (65535 * coded).astype(np.uint16).repeat(16, 0)  # (80, 3)
    frame = av.VideoFrame.from_ndarray(np.tile(stripes, (32, 1, 1)), "rgb48le")
    frame.color_trc, frame.color_primaries = 16, primaries
    [picture, small] = Scaler((32, 80), (0, 32, 0, 80), [(32, 80), (16, 40)], grey=False)(frame)
    off = np.abs(picture[:, 16, 8::16].T.astype(int) - colours).max(1)
    assert (off[1:] < 4).all() and off[0] < 45, "a pure green is on the border of what BT.709 has"
    assert np.abs(small[:, 8, 4::8].astype(int) - picture[:, 16, 8::16]).max() <= 1
    [grey] = Scaler((32, 80), (0, 32, 0, 80), [(32, 80)], grey=True)(frame)
    assert np.abs(grey[0, 16, 8::16] - np.dot((0.299, 0.587, 0.114), picture[:, 16, 8::16])).max() < 1
