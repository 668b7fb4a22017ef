"""What is said of a film by looking at it: shape, colours, age."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import videos as files

from vg.data import BadVideo, drawn_cartoon, size_of, traits, video


def frames(colour: bool, flicker: float = 0.0, count: int = 60, size: tuple[int, int] = (96, 160)) -> np.ndarray:
    """A box that moves over a patchwork: uint8 (T, H, W, 3)."""
    rng = np.random.default_rng(0)
    ground = rng.integers(60, 200, (size[0] // 16, size[1] // 16, 3)).repeat(16, 0).repeat(16, 1).astype(float)
    made = []
    for t in range(count):
        picture = ground.copy()
        picture[30:60, 2 * t % 120 : 2 * t % 120 + 30] = (220, 40, 60)
        picture *= 1 + flicker * rng.standard_normal()
        made.append((picture if colour else picture.mean(2, keepdims=True).repeat(3, 2)).clip(0, 255))
    return np.stack(made).astype(np.uint8)


def film(folder: Path, pictures: np.ndarray, pixel_aspect: int = 1, degrees: int = 0) -> Path:
    """The pictures as an MP4 at 30 frames a second with one key frame, turned, with pixels so many times as wide."""

    def prepare(stream) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(pixel_aspect)
        stream.set_display_rotation(degrees)

    return files.write(folder / "a.mp4", pictures, range(len(pictures)), Fraction(1, 30), prepare=prepare)


def recording(folder: Path, pictures: np.ndarray) -> Path:
    """A WebM as browsers record it: written on the go, without its length and without an index."""
    path = folder / "a.webm"
    with av.open(str(path), "w", options={"live": "1"}) as file:
        stream = file.add_stream("libvpx-vp9", rate=30, options=files.OPTIONS["libvpx-vp9"])
        stream.height, stream.width = pictures[0].shape[:2]
        for picture in pictures:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode(None))
    with av.open(str(path)) as file:
        assert file.duration is None
    return path


@pytest.mark.parametrize("colour", [True, False])
def test_a_film_without_colours_is_grey_whatever_its_stream(tmp_path: Path, colour: bool):
    found = traits(video(film(tmp_path, frames(colour))))
    assert (found.colour, found.old, found.height, found.width) == (colour, False, 96, 160)


@pytest.mark.parametrize(("tint", "colour"), [((3, 0, -2), False), ((20, 0, 0), True), ((0, 0, 20), True)])
def test_a_slight_tint_is_no_colour(tmp_path: Path, tint: tuple[int, int, int], colour: bool):
    tinted = (frames(False, count=3).astype(int) + tint).clip(0, 255).astype(np.uint8)
    found = traits(video(film(tmp_path, tinted)))
    assert found.colour is colour and found.chroma > 0


@pytest.mark.parametrize(("flicker", "old"), [(0.0, False), (0.003, False), (0.03, True)])
def test_film_is_old_if_its_light_flickers(tmp_path: Path, flicker: float, old: bool):
    assert traits(video(film(tmp_path, frames(False, flicker)))).old is old


@pytest.mark.parametrize("make", [film, recording])
def test_colours_count_wherever_in_a_film_they_are(tmp_path: Path, make: Callable[[Path, np.ndarray], Path]):
    pictures = np.concatenate([frames(False), frames(True), frames(False)])
    assert traits(video(make(tmp_path, pictures))).colour


def test_a_film_with_a_few_flashes_is_not_old_but_is_if_its_source_says_so(tmp_path: Path):
    pictures = np.concatenate([frames(False, 0.03, 40), frames(False, count=120)])
    source = video(film(tmp_path, pictures))
    assert not traits(source).old and traits(replace(source, old=True)).old


@pytest.mark.parametrize("count", [1, 2, 5, 20])
def test_a_film_of_a_few_frames_is_looked_at_all_the_same(tmp_path: Path, count: int):
    found = traits(video(film(tmp_path, frames(True, 0.03, count))))
    assert (found.colour, found.old, found.flicker) == (True, False, 0.0) and "96" in found.describe()


def test_what_is_no_film_is_refused_by_name(tmp_path: Path):
    (tmp_path / "a.mp4").write_bytes(b"no film" * 100)
    with pytest.raises(BadVideo, match=r"a\.mp4 cannot be read"):
        traits(video(tmp_path / "a.mp4"))


@pytest.mark.parametrize(("degrees", "shape"), [(0, (96, 320)), (90, (320, 96)), (180, (96, 320)), (-90, (320, 96))])
def test_a_film_that_was_taken_upright_is_higher_than_wide(tmp_path: Path, degrees: int, shape: tuple[int, int]):
    found = traits(video(film(tmp_path, frames(False, count=6), pixel_aspect=2, degrees=degrees)))
    assert (found.height, found.width) == shape


def test_a_shape_is_that_of_the_picture_as_it_is_shown(tmp_path: Path):
    barred = frames(False)
    barred[:, :16] = barred[:, -16:] = 0
    wide = traits(video(film(tmp_path, barred, pixel_aspect=2)))
    assert (wide.height, wide.width) == (64, 320)
    assert "320x64" in wide.describe()


def test_the_cartoon_is_square_and_grey():
    assert traits(drawn_cartoon()) == traits(drawn_cartoon())
    found = traits(drawn_cartoon())
    assert not found.colour and not found.old and found.height == found.width


@pytest.mark.parametrize("size", [(446, 720), (720, 446), (480, 576), (9, 900)])
def test_the_short_side_is_what_was_asked_for_and_both_are_whole_multiples(size: tuple[int, int]):
    made = size_of(64, *size, multiple=(8, 16))
    short = size.index(min(size))
    assert made[0] % 8 == 0 and made[1] % 16 == 0 and made[short] == 64
    assert abs(made[1 - short] - 64 * max(size) / min(size)) <= 8
    assert min(size_of(1, *size, multiple=(8, 16))) >= 8
