"""Laws of prompts: of a video or picture of another shape the middle, as large as can be and undistorted."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from vg.data import BadVideo, save
from vg.data.beginning import first_frames
from vg.data.pixels import covering, middle


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VG_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("form", ["mp4", "png"])
@pytest.mark.parametrize("size", [(32, 32), (48, 24), (24, 96)])
def test_of_a_prompt_of_another_shape_the_middle_is_taken_undistorted(tmp_path, form, size):
    rows, columns = torch.linspace(-0.6, 0.9, 96)[:, None], torch.linspace(-0.5, 0.8, 144)
    for ramp in (rows.expand(96, 144), columns.expand(96, 144)):
        path = (
            save(tmp_path / f"ramp.{form}", ramp[None, None].expand(1, 8, 96, 144))
            if form == "mp4"
            else tmp_path / "a.png"
        )
        if form == "png":
            Image.fromarray(((ramp.numpy() + 1) * 127.5).round().astype(np.uint8)).save(path)
        given = first_frames(path, size, 1)[0, 0, 0]
        scale = max(size[0] / 96, size[1] / 144)  # of both sides alike
        high, wide = (round(side / scale) for side in size)
        due = ramp[(96 - high) // 2 : (96 + high) // 2, (144 - wide) // 2 : (144 + wide) // 2]
        due = F.interpolate(due[None, None], size, mode="area")[0, 0]
        assert given.shape == size and (given - due).abs().mean() < 0.04


@pytest.mark.parametrize("shape", [(480, 576), (1080, 1920), (64, 64), (500, 100)])
@pytest.mark.parametrize("size", [(128, 152), (64, 64), (40, 100)])
def test_a_covering_picture_is_as_small_as_can_be_and_keeps_its_aspect(shape, size):
    whole = covering(shape, size)
    assert all(w >= s for w, s in zip(whole, size)) and any(w == s for w, s in zip(whole, size))
    distortion = whole[1] / whole[0] / (shape[1] / shape[0])
    assert abs(np.log(distortion)) <= np.log(1.05) and (whole == size or middle(torch.zeros(whole), size).shape == size)


def test_a_moving_webp_is_a_picture_and_no_video_which_is_said(tmp_path):
    frames = [Image.new("RGB", (32, 32), (k, k, k)) for k in (10, 100, 200)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], duration=80)
    assert first_frames(tmp_path / "a.webp", (16, 16), 1).shape == (1, 1, 1, 16, 16)
    with pytest.raises(BadVideo, match="Save it as GIF or MP4"):
        first_frames(tmp_path / "a.webp", (16, 16), 16)
