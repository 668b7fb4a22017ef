"""Laws of the drawn cartoon: one seed is one film, at any length, size and rate."""

import random
from itertools import islice, pairwise

import numpy as np
import pytest
import torch

from vg.data.decode import resized
from vg.synthetic.cartoon import SHOT_FRAMES, draw_cartoon, storyboard
from vg.synthetic.scenes import SCENES


@pytest.mark.parametrize("seed", [0, -1, 10**12])
def test_the_same_arguments_draw_the_same_film_and_no_generator_is_touched(seed):
    def states():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    before = states()
    one, two = draw_cartoon(24, (16, 16), seed=seed), draw_cartoon(24, (16, 16), seed=seed)
    assert torch.equal(one.frames, two.frames) and one.shots == two.shots and one.scenes == two.scenes
    assert states() == before


@pytest.mark.parametrize("frames", [1, 28, 29, 30, 75])
def test_a_longer_film_starts_with_the_shorter_one(frames):
    longer, shorter = draw_cartoon(80, (16, 16)), draw_cartoon(frames, (16, 16))
    assert torch.equal(longer.frames[:frames], shorter.frames)
    assert shorter.shots == [(a, min(b, frames)) for a, b in longer.shots if a < frames]
    assert shorter.scenes == longer.scenes[: len(shorter.shots)]


@pytest.mark.parametrize("size", [(8, 8), (16, 40), [40, 16], (33, 31)])
def test_frames_are_grey_bytes_of_the_size_asked_for(size):
    film = draw_cartoon(3, size)
    assert film.frames.shape == (3, 1, *size) and film.frames.dtype == torch.uint8
    assert int(film.frames.max()) - int(film.frames.min()) > 60


def test_a_larger_picture_is_the_same_one_finer():
    small, large = draw_cartoon(40, (32, 32)), draw_cartoon(40, (64, 64))
    assert large.shots == small.shots
    coarse = resized(large.frames, (32, 32)).float()
    alike, other = (coarse - small.frames).abs().mean(), (coarse - small.frames.flip(0)).abs().mean()
    assert alike < 0.6 * other


@pytest.mark.parametrize("times", [2, 3])
def test_at_a_higher_rate_the_same_moments_come_by(times):
    slow, fast = draw_cartoon(40, (16, 16)), draw_cartoon(40 * times, (16, 16), fps=12 * times)
    assert torch.equal(fast.frames[::times], slow.frames)
    assert fast.shots == [(times * a, times * b) for a, b in slow.shots]
    assert (slow.fps, fast.fps) == (12, 12 * times)


def test_seeds_and_shots_are_all_different_and_things_move():
    first = [draw_cartoon(1, (32, 32), seed=seed).frames for seed in range(12)]
    for k, frames in enumerate(first):
        assert all((frames.float() - other).abs().mean() > 1 for other in first[:k])
    film = draw_cartoon(150, (32, 32))
    for a, b in film.shots:
        steps = film.frames[a + 1 : b].float() - film.frames[a : b - 1]
        assert (steps.abs().mean((1, 2, 3)) > 0).float().mean() > 0.9


@pytest.mark.parametrize("fps", [5, 12, 24000 / 1001])
def test_shots_tile_the_film_and_last_as_long_as_they_should(fps):
    for seed in range(20):
        plan = list(islice(storyboard(fps, seed), 40))
        assert plan[0].start == 0 and [s.index for s in plan] == list(range(40))
        assert all(one.stop == two.start for one, two in pairwise(plan))
        low, high = (round(n * fps / 12) for n in SHOT_FRAMES)
        assert all(low <= s.stop - s.start <= high for s in plan)
    film = draw_cartoon(60, (8, 8), fps)
    assert [f for a, b in film.shots for f in range(a, b)] == list(range(60))
    assert len(film.scenes) == len(film.shots)


@pytest.mark.parametrize("seed", range(10))
def test_every_scene_comes_up_in_every_round_and_none_twice_in_a_row(seed):
    plan = list(islice(storyboard(seed=seed), 20 * len(SCENES)))
    names = [shot.scene for shot in plan]
    assert names[0] == "river"
    assert all(one != two for one, two in pairwise(names))
    for k in range(0, len(names), len(SCENES)):
        assert sorted(names[k : k + len(SCENES)]) == sorted(SCENES)
    assert {shot.ending for shot in plan} == {"cut", "iris", "fade"}


def test_an_iris_or_a_fade_ends_dark_and_every_shot_begins_at_full_light():
    films = {seed: draw_cartoon(120, (32, 32), seed=seed) for seed in (1, 3)}  # fades at 113, an iris at 105
    endings = set()
    for seed, film in films.items():
        for shot, (a, b) in zip(storyboard(seed=seed), film.shots):
            light = film.frames[a:b].float().mean((1, 2, 3))
            assert light[0] > 50
            if b == shot.stop and shot.ending != "cut":
                endings.add(shot.ending)
                assert light[-1] < 0.5 * light[0]
    assert endings == {"iris", "fade"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"frames": 0}, "frames is 0; give a whole number of at least 1"),
        ({"frames": 2.5}, r"frames is 2\.5"),
        ({"frames": True}, "frames is True"),
        ({"size": 64}, r"size is 64; give \(height, width\)"),
        ({"size": (64, 7)}, r"size is \(64, 7\).*at least 8"),
        ({"size": (64, 64, 1)}, r"size is \(64, 64, 1\)"),
        ({"size": (64.0, 64)}, r"size is \(64\.0, 64\)"),
        ({"fps": 0}, "fps is 0; give a number of frames a second above 0"),
        ({"fps": float("inf")}, "fps is inf"),
        ({"fps": float("nan")}, "fps is nan"),
        ({"fps": "12"}, "fps is '12'"),
        ({"seed": 0.5}, r"seed is 0\.5; give a whole number"),
        ({"seed": None}, "seed is None"),
    ],
)
def test_wrong_settings_are_named(settings, words):
    with pytest.raises(ValueError, match=f"draw_cartoon: {words}"):
        draw_cartoon(**settings)
