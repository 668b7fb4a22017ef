"""Laws of restoring: what was planted is taken out, and what belongs to the film stays."""

import math
import tracemalloc

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vg.data import restore
from vg.data.decode import resized
from vg.data.restoration import corrected, measure
from vg.synthetic import draw_cartoon

SIDE = 128


@pytest.fixture(scope="module")
def shots() -> dict[str, torch.Tensor]:
    """The first shots of the cartoon by scene, at twice the side, with room above white: uint8 (T, 1, 256, 256)."""
    film = draw_cartoon(80, (2 * SIDE, 2 * SIDE))
    return {scene: (0.8 * film.frames[a:b]).byte() for scene, (a, b) in zip(film.scenes, film.shots)}


def small(frames: torch.Tensor) -> torch.Tensor:
    return resized(frames, (SIDE, SIDE))


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    return 10 * math.log10(255**2 / max(1e-9, float((a.float() - b.float()).square().mean())))


def jolts(count: int, size: float, seed: int) -> torch.Tensor:
    """(count,) values up to ``size`` whose running median is 0: none, up and down in turn."""
    heights = torch.tensor(np.random.default_rng(seed).uniform(0.5, 1, count), dtype=torch.float32)
    return size * heights * torch.tensor([0.0, 1.0, -1.0]).repeat(count // 3 + 2)[seed : count + seed]


def swayed(frames: torch.Tensor, sway: torch.Tensor) -> torch.Tensor:
    """Each frame moved by ``sway`` (T, 2): down and right, as shares of height and width."""
    theta = torch.eye(2, 3).repeat(len(frames), 1, 1)
    theta[:, :, 2] = -2 * sway.flip(1)
    grid = F.affine_grid(theta, list(frames.shape), align_corners=False)
    moved = F.grid_sample(frames.float(), grid, mode="bicubic", padding_mode="border", align_corners=False)
    return moved.round().clamp(0, 255).byte()


def damaged(frames: torch.Tensor, flicker: float, sway: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A shot with flicker and sway (in small pixels), at the small size; the gain (T,) and the shift (T, 2)."""
    count = len(frames)
    gain = 1 + jolts(count, flicker, 0)
    shift = torch.stack([jolts(count, sway, 1), jolts(count, sway, 2)], 1) / SIDE
    moved = small(swayed(frames, shift)).float() * gain[:, None, None, None]
    return moved.round().clamp(0, 255).byte(), gain, shift


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("scene", "flicker", "sway", "gained"),
    [("dance", 0.15, 0.0, 10), ("night", 0.15, 0.0, 10), ("night", 0.0, 0.25, 3), ("night", 0.15, 0.25, 8)],
)
def test_flicker_and_sway_are_measured_and_mostly_taken_out(shots, scene, channels, flicker, sway, gained):
    clean = small(shots[scene]).repeat(1, channels, 1, 1)
    bad, gain, shift = damaged(shots[scene], flicker, sway)
    out, found = restore(bad.repeat(1, channels, 1, 1))
    assert out.dtype == torch.uint8 and out.shape == clean.shape
    assert found.gain.shape == (len(clean),) and found.sway.shape == (len(clean), 2)
    assert np.abs(found.gain - gain.numpy()).mean() < 0.01
    assert SIDE * np.abs(found.sway - shift.numpy()).mean() < 0.1
    assert psnr(out, clean) > psnr(bad, clean) + gained


def test_a_clean_shot_is_left_nearly_alone(shots):
    for scene, frames in shots.items():
        out, found = restore(small(frames))
        assert psnr(out, small(frames)) > 45, scene
        assert np.abs(found.gain - 1).max() < 0.02 and SIDE * np.abs(found.sway).max() < 0.15, scene


def test_what_was_restored_is_left_nearly_alone(shots):
    once, _ = restore(damaged(shots["dance"], 0.15, 0.6)[0])
    assert psnr(restore(once)[0], once) > 35


def pan(frames: torch.Tensor) -> torch.Tensor:
    return torch.stack([frame.roll(2 * k, -1) for k, frame in enumerate(frames)])


def fade(frames: torch.Tensor) -> torch.Tensor:
    """To black over the last 14 frames."""
    light = torch.cat([torch.ones(len(frames) - 14), torch.linspace(1, 0, 14)])
    return (frames * light[:, None, None, None]).byte()


def iris(frames: torch.Tensor) -> torch.Tensor:
    """A circle that opens over the first 14 frames."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, SIDE)] * 2, indexing="ij")
    radius = torch.cat([torch.linspace(0, 1.5, 14), torch.full((len(frames) - 14,), 9.0)])
    return frames * (torch.hypot(x, y) <= radius[:, None, None])[:, None]


def tilt(frames: torch.Tensor) -> torch.Tensor:
    """A camera that sinks by a tenth of a pixel a frame: slower than any sway."""
    down = 0.1 * torch.arange(len(frames)) / SIDE
    return small(swayed(resized(frames, (2 * SIDE, 2 * SIDE)), torch.stack([down, 0 * down], 1)))


@pytest.mark.parametrize("effect", [pan, fade, iris, tilt], ids=lambda effect: effect.__name__)
@pytest.mark.parametrize("scene", ["river", "night"])
def test_pans_fades_and_irises_stay(shots, scene, effect):
    frames = effect(small(shots[scene]))
    assert psnr(restore(frames)[0], frames) > 38


def test_no_frame_is_corrected_by_more_than_the_limits(shots):
    frames = small(shots["night"]).clone()
    frames[10] = (frames[10] * 0.4).byte()
    frames[14] = frames[14].roll(3, -1)
    _, found = restore(frames)
    assert (found.gain >= 1 / 1.25 - 1e-6).all() and (found.gain <= 1.25 + 1e-6).all()
    assert found.gain[10] == pytest.approx(1 / 1.25, abs=1e-4)
    assert np.abs(found.sway).max() <= 0.006 + 1e-6


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_even_picture_stays_as_it_is(level):
    frames = torch.full((9, 1, 32, 48), level, dtype=torch.uint8)
    assert torch.equal(restore(frames)[0], frames)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_fewer_than_three_frames_come_back_as_they_are(count):
    frames = torch.randint(0, 256, (count, 1, 16, 16), generator=torch.Generator().manual_seed(0)).byte()
    out, found = restore(frames)
    assert torch.equal(out, frames)
    assert found.gain.shape == (count,) and found.sway.shape == (count, 2)
    assert (found.gain == 1).all() and (found.sway == 0).all()


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (torch.zeros(5, 1, 8, 8), r"float32 \(5, 1, 8, 8\)"),
        (torch.zeros(5, 8, 8, dtype=torch.uint8), r"uint8 \(5, 8, 8\)"),
        (torch.zeros(1, 5, 1, 8, 8, dtype=torch.uint8), r"uint8 \(1, 5, 1, 8, 8\)"),
    ],
)
def test_another_dtype_or_shape_is_named(frames, words):
    with pytest.raises(ValueError, match=rf"expected uint8 \(T, C, H, W\), got torch\.{words}"):
        restore(frames)


@pytest.mark.parametrize("shape", [(1, 64, 96), (3, 40, 31), (1, 5, 3)])
@pytest.mark.parametrize("sway", [(0, 0), (0.003, -0.002), (-0.006, 0.006), (0, 0.05), (-0.07, 0), (0.3, -0.4)])
def test_a_frame_is_moved_as_by_bicubic_resampling(shape, sway):
    frame = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).byte()
    theta = torch.eye(2, 3)[None]
    theta[0, :, 2] = 2 * torch.tensor(sway).flip(0)
    grid = F.affine_grid(theta, [1, *shape], align_corners=False)
    due = F.grid_sample(frame[None] / 1.07, grid, mode="bicubic", padding_mode="border", align_corners=False)
    out = corrected(frame.numpy(), 1.07, np.array(sway, np.float32))
    assert out.dtype == np.float32 and np.abs(out - due[0].clamp(0, 255).numpy()).max() < 0.02


def test_a_shot_of_an_hour_takes_no_more_memory_than_a_short_one(shots):
    def most(count: int) -> int:
        frames = np.resize(small(shots["night"]).numpy(), (30, 1, SIDE, SIDE))
        tracemalloc.start()
        measure(Looped(frames, count))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert most(240) < 1.1 * most(60)


class Looped:
    """Frames again and again: what ``measure`` takes."""

    def __init__(self, frames: np.ndarray, count: int):
        self.frames, self.shape = frames, (count, *frames.shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self):
        return (self.frames[k % len(self.frames)] for k in range(len(self)))
