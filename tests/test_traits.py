"""What is said of a film by looking at it: shape, colours, age."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import videos as files

from vg.data import drawn_cartoon, size_of, traits, video


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


def film(folder: Path, pictures: np.ndarray, pixel_aspect: int = 1) -> Path:
    """The pictures as an MP4 at 30 frames a second, with pixels so many times as wide as they are high."""

    def prepare(stream) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(pixel_aspect)

    times = range(0, 1000 * len(pictures) // 30, 1000 // 30)
    return files.write(folder / "a.mp4", pictures, times, prepare=prepare)


@pytest.mark.parametrize("colour", [True, False])
def test_a_film_without_colours_is_grey_whatever_its_stream(tmp_path: Path, colour: bool):
    found = traits(video(film(tmp_path, frames(colour))))
    assert (found.colour, found.old, found.height, found.width) == (colour, False, 96, 160)


@pytest.mark.parametrize(("flicker", "old"), [(0.0, False), (0.003, False), (0.03, True)])
def test_film_is_old_if_its_light_flickers(tmp_path: Path, flicker: float, old: bool):
    assert traits(video(film(tmp_path, frames(False, flicker)))).old is old


def test_a_shape_is_that_of_the_picture_as_it_is_shown(tmp_path: Path):
    barred = frames(False)
    barred[:, :16] = barred[:, -16:] = 0
    wide = traits(video(film(tmp_path, barred, pixel_aspect=2)))
    assert (wide.height, wide.width) == (64, 320)
    assert "320x64" in wide.describe()


def test_the_cartoon_is_square_and_grey():
    assert traits(drawn_cartoon()) == traits(drawn_cartoon())
    assert not traits(drawn_cartoon()).colour


@pytest.mark.parametrize("size", [(446, 720), (720, 446), (480, 576), (9, 900)])
def test_the_short_side_is_what_was_asked_for_and_both_are_whole_multiples(size: tuple[int, int]):
    made = size_of(64, *size, multiple=(8, 16))
    short = size.index(min(size))
    assert made[0] % 8 == 0 and made[1] % 16 == 0 and made[short] == 64
    assert abs(made[1 - short] - 64 * max(size) / min(size)) <= 8
