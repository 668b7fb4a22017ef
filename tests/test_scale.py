"""Laws of scaling: the pixels that PyAV gives, upright and cropped, and smoothly made smaller."""

import av
import numpy as np
import pytest
import torch

from vg.data.decode import resized
from vg.data.scale import Scaler
from vg.synthetic import draw_cartoon

HEIGHT, WIDTH = 72, 96
FORMATS = [
    "yuv420p",
    "yuvj420p",
    "yuv444p",
    "yuv422p",
    "yuv420p10le",
    "nv12",
    "gray",
    "gray10le",
    "rgb24",
    "gbrp",
    "rgba",
]


def frame(form: str = "rgb24", span: int = 0, height: int = HEIGHT, width: int = WIDTH) -> av.VideoFrame:
    """A picture without two alike rows or columns, smooth, as chroma is stored at half the size."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    rgb = np.stack([40 + 190 * x, 30 + 70 * y + 50 * x, 220 - 70 * y - 100 * x], -1).astype(np.uint8)
    return av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=form, dst_color_range=span)


def whole(grey: bool, **others) -> Scaler:
    return Scaler((HEIGHT, WIDTH), (0, HEIGHT, 0, WIDTH), [(HEIGHT, WIDTH)], grey, **others)


def pixels(given: av.VideoFrame, grey: bool) -> np.ndarray:
    x = given.to_ndarray(format="gray" if grey else "rgb24")
    return x[None] if grey else x.transpose(2, 0, 1)


@pytest.mark.parametrize("grey", [True, False])
@pytest.mark.parametrize("span", [0, 1, 2], ids=["unsaid", "limited", "full"])
@pytest.mark.parametrize("form", FORMATS)
def test_at_its_own_size_a_picture_is_what_pyav_makes_of_it(form, span, grey):
    given = frame(form, span)
    [x] = whole(grey)(given)
    assert x.shape == (1 if grey else 3, HEIGHT, WIDTH) and x.dtype == np.uint8
    assert np.abs(x.astype(int) - pixels(given, grey)).max() <= (0 if grey else 5)  # of chroma, which is interpolated


@pytest.mark.parametrize("grey", [True, False])
@pytest.mark.parametrize("box", [(0, 72, 0, 96), (3, 70, 1, 90), (10, 31, 21, 42)])
def test_every_size_is_the_cropped_picture_made_smaller_without_aliasing(box, grey):
    top, bottom, left, right = box
    drawn = draw_cartoon(3, (HEIGHT, WIDTH)).frames
    sizes, given = [(16, 16), (21, 40), (5, 3)], av.VideoFrame.from_ndarray(drawn[2, 0].numpy(), format="gray")
    made = Scaler((HEIGHT, WIDTH), box, sizes, grey)(given)
    for size, x in zip(sizes, made):
        due = resized(drawn[2:, :, top:bottom, left:right], size)[0]
        assert x.shape == (1 if grey else 3, *size)
        differs = np.abs(x.astype(int) - due.numpy())
        assert differs.mean() < 3, size


def test_a_crop_begins_at_its_pixel_though_chroma_has_only_every_second():
    given = frame("yuv420p")
    [x] = Scaler((HEIGHT, WIDTH), (3, 70, 1, 90), [(67, 89)], True)(given)
    assert np.array_equal(x, pixels(given, True)[:, 3:70, 1:90])


# Where the top left pixel, and the one right of it, of an upright picture are stored, by EXIF orientation.
CORNERS = {
    1: ((0, 0), (0, 1)),
    2: ((0, -1), (0, -2)),
    3: ((-1, -1), (-1, -2)),
    4: ((-1, 0), (-1, 1)),
    5: ((0, 0), (1, 0)),
    6: ((-1, 0), (-2, 0)),
    7: ((-1, -1), (-2, -1)),
    8: ((0, -1), (1, -1)),
}


@pytest.mark.parametrize("orientation", CORNERS)
def test_pictures_are_turned_upright_before_they_are_cropped(orientation):
    stored = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
    height, width = (HEIGHT, WIDTH) if orientation < 5 else (WIDTH, HEIGHT)
    boxes = [(0, height, 0, width), (0, 30, 0, 50)]
    for box in boxes:
        size = (box[1], box[3])
        scaler = Scaler((HEIGHT, WIDTH), box, [size], True, orientation)
        [x] = scaler(av.VideoFrame.from_ndarray(stored, format="gray"))
        first, second = CORNERS[orientation]
        assert x.shape == (1, *size) and (x[0, 0, 0], x[0, 0, 1]) == (stored[first], stored[second])


def test_a_video_may_change_its_size_and_its_format_on_the_way():
    scaler, due = whole(True), pixels(frame(), True)
    for given in (
        frame(),
        frame("yuv444p"),
        frame("yuv420p", 0, 2 * HEIGHT, 2 * WIDTH),
        frame("gray", 0, 36, 48),
        frame(),
    ):
        [x] = scaler(given)
        assert np.abs(x.astype(int) - due)[:, 4:-4, 4:-4].max() <= 6


def test_a_picture_is_not_changed_by_what_was_scaled_before_it():
    scaler = whole(False)
    once = [torch.from_numpy(scaler(frame(form))[0].copy()) for form in ("rgb24", "yuv420p")]
    again = [torch.from_numpy(scaler(frame(form))[0].copy()) for form in ("rgb24", "yuv420p")]
    assert all(torch.equal(a, b) for a, b in zip(once, again))


@pytest.mark.parametrize("colour", [(255, 255, 255), (128, 128, 128), (0, 0, 0), (200, 60, 30), (20, 90, 220)])
def test_a_plain_colour_of_a_video_comes_out_as_it_is(colour):
    rgb = np.full((64, 64, 3), colour, np.uint8)
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv420p")
    (made,) = Scaler((64, 64), (0, 64, 0, 64), [(16, 16)], grey=False)(frame)
    assert np.abs(made.astype(int) - np.array(colour)[:, None, None]).max() <= 2
