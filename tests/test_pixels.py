"""Laws of pixels on their way to a file: rounded once, and shown by the nearest colour of a palette."""

import numpy as np
import pytest
import torch

from vg.data import to_uint8, to_unit
from vg.data.palette import Palette
from vg.data.pixels import resize

LEVELS = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_clip_in_any_precision_becomes_the_bytes_that_it_means(dtype):
    clip = to_unit(LEVELS).to(dtype)
    assert torch.equal(to_uint8(clip), to_uint8(clip.double().float()))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [2, 17, 256])
def test_every_pixel_gets_the_nearest_colour_of_no_more_than_asked_for(channels, size):
    pixels = noise(3, 20, 30, channels)
    palette = Palette(pixels, size)
    assert 2 <= len(palette.table) <= size
    for frames in (pixels, noise(2, 9, 9, channels, seed=1)):  # also those that it was not made for
        distance = ((frames[..., None, :].astype(int) - palette.table[:, :channels]) ** 2).sum(-1)
        reached = np.take_along_axis(distance, palette(frames)[..., None].astype(int), -1)[..., 0]
        assert np.array_equal(reached, distance.min(-1))


@pytest.mark.parametrize("channels", [1, 3])
def test_few_colours_are_kept_as_they_are(channels):
    few = np.concatenate([noise(20, channels), noise(20, channels) // 16 + 100])[noise(3, 8, 8) % 40]
    palette = Palette(few, 40)
    assert np.array_equal(np.broadcast_to(few, (3, 8, 8, 3)), palette.table[palette(few)])


@pytest.mark.parametrize("share", [0.3, 0.7, 1.0])
def test_grey_film_beside_colours_stays_grey(share):
    pixels = noise(100, 100, 3)
    grey = np.arange(10_000).reshape(100, 100) < share * 10_000
    pixels[grey] = pixels[grey][:, :1]
    palette = Palette(pixels, 64)
    shown = palette.table[palette(pixels[grey])].astype(int)
    assert (np.ptp(shown, axis=-1) <= 8).mean() > 0.9  # a colour may lie nearer than the next grey
    assert np.abs(shown - pixels[grey]).mean() < 4


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("smooth", [False, True])
def test_a_frame_enlarged_and_made_small_again_is_the_same(channels, smooth):
    frame = np.kron(noise(3, 4, channels), np.ones((4, 4, 1))).astype(np.uint8)
    assert np.array_equal(resize(resize(frame, 3), 1 / 3), frame)
    assert np.abs(resize(resize(frame, 2.5, smooth), 1 / 2.5).astype(int) - frame).mean() < 12
    halves = frame.reshape(6, 2, 8, 2, channels).mean((1, 3))
    assert np.abs(resize(frame, 1 / 2) - halves).max() <= 0.5
    fine = noise(12, 16, channels)  # which Pillow rounds twice, once a side
    assert (
        np.abs(resize(fine, 1 / 2) - fine.reshape(6, 2, 8, 2, channels).mean((1, 3))).max() <= 1
    )  # Pillow rounds once a side
