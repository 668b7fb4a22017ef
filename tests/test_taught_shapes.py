"""Laws of what a prior of many shapes, directions and goals is taught: views, batches, and what the loss tells it."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_priors import LEVELS, some_tokens, tiny_prior

from vg.data import Clips
from vg.data.augment import largest_part, random_views
from vg.experiments.batches import pack_batch, unpack_batch
from vg.experiments.config import PriorPart
from vg.experiments.losses import prior_loss
from vg.experiments.prior import adapted, fresh_views, new_prior
from vg.models import Prior, PriorConfig
from vg.training import Recipe, fit

H, W, T = 48, 64, 12


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def store():
    """Pixels that say where and when they are: brighter to the right in red, downwards in green, with time in blue."""
    y, x = np.mgrid[:H, :W]
    frames = np.stack([np.stack([4 * x, 4 * y, np.full_like(x, 20 * t)]) for t in range(T)]).astype(np.uint8)
    return SimpleNamespace(frames=frames, shots=[(0, T)], name="map")


def cut(views):
    """What was cut out: height, width, and the place of its middle, (B,) each in pixels of the picture."""
    where = (views[:, :2, 0].double() + 1) * 127.5 / 4 + 0.5  # (B, 2, h, w): x and y
    x, y = where[:, 0].mean(1), where[:, 1].mean(2)
    lengths, middles = [], []
    for line in (y, x):
        n = line.shape[1]
        first, last = n // 4, n - 1 - n // 4  # the edges are blurred inwards
        lengths.append((line[:, last] - line[:, first]).abs() * n / (last - first))
        middles.append(line.mean(1))
    return *lengths, *middles


SIZES = [(24, 32), (16, 48), (40, 16), (20, 20)]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_parts_have_the_aspect_of_the_result_lie_within_the_picture_and_are_of_all_scales(store, size):
    views = random_views(Clips(store, frames=2), 200, size, least=0.5, whole=0, gain=0)(seeded())
    assert views.shape == (200, 3, 2, *size)
    tall, wide, y, x = cut(views)
    most = largest_part((H, W), size)
    assert (tall - wide * size[0] / size[1]).abs().max() < 1 + size[0] / size[1], "but for whole pixels"
    share = tall / most[0]
    assert 0.48 < share.min() < 0.55 and 0.95 < share.max() < 1.02
    for middle, length, side in ((y, tall, H), (x, wide, W)):
        assert (middle - length / 2).min() > -0.5 and (middle + length / 2).max() < side + 0.5
        assert (middle - length / 2).min() < 2 and (middle + length / 2).max() > side - 2, "from edge to edge"


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_whole_is_the_largest_part_of_that_aspect(store, size):
    tall, wide, y, x = cut(random_views(Clips(store, frames=2), 60, size, whole=1, gain=0)(seeded()))
    due = largest_part((H, W), size)
    assert due[0] / due[1] == pytest.approx(size[0] / size[1])
    assert due[0] == pytest.approx(H) or due[1] == pytest.approx(W)
    assert due[0] <= H + 1e-9 and due[1] <= W + 1e-9
    for length, expected in ((tall, due[0]), (wide, due[1])):
        assert (length - expected).abs().max() < 1.2
    for middle, length, side in ((y, due[0], H), (x, due[1], W)):
        assert float(middle.max() - middle.min()) == pytest.approx(side - length, abs=2), (
            "where there is room, anywhere"
        )


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_so_many_clips_run_backwards_as_were_asked_for(store, share):
    views = random_views(Clips(store, frames=4), 100, (24, 32), gain=0, backwards=share)(seeded())
    steps = views[:, 2, :, 5, 5].diff(dim=1)
    back, forth = (steps < 0).all(1), (steps > 0).all(1)
    assert (back | forth).all() and float(back.float().mean()) == pytest.approx(share, abs=0.15 if 0 < share < 1 else 0)


def test_what_is_packed_is_unpacked():
    clips, label = some_tokens((4, 3)), torch.tensor([2, -1])
    for backwards in (-1, 0, 1):
        batch = pack_batch(clips, label, backwards)
        assert batch.shape == (2, 4 * 12 + 4) and batch.dtype == torch.int64
        assert batch[:, -4:].tolist() == [[2, backwards, 4, 3], [-1, backwards, 4, 3]]
        tokens, labels, way = unpack_batch(batch)
        assert torch.equal(tokens, clips) and torch.equal(labels, label) and way == backwards


def test_fresh_views_are_of_every_shape_and_run_as_their_batch_says(store):
    weights, window, sharp = [torch.zeros(1)], 4, []

    def encode(video):
        sharp.append(cut(video)[0].min() / video.shape[3])
        return video[:, 2, ::2, ::8, ::8].add(1).mul(127.5).round().long()  # the time

    tokenizer = SimpleNamespace(tubelet=(2, 8, 8), encode=encode, parameters=lambda: iter(weights))
    shapes = ((24, 32), (16, 32), (16, 16))
    part = PriorPart(batch=3, shapes=shapes, directions=True)
    kinds = []
    for draw in fresh_views(store, store.shots, tokenizer, (24, 32), part, window):
        tokens, labels, backwards = unpack_batch(draw(seeded()))
        kinds.append((tuple(8 * n for n in tokens.shape[2:]), len(tokens), tokens.shape[1], backwards))
        assert (labels == -1).all()
        steps = tokens.diff(dim=1)
        assert backwards < 0 or ((steps < 0) if backwards else (steps > 0)).all()
    runs = [(3, 4, 0), (3, 4, 1), (6, 2, 0), (6, 2, 1), (12, 1, -1)]
    assert sorted(kinds) == sorted((shape, *run) for shape in shapes for run in runs)
    assert 0.9 < min(sharp) < 1.2, "a pixel of the picture or more for each of the view, but for contrast"
    plain = fresh_views(store, store.shots, tokenizer, (24, 32), replace(part, shapes=(), directions=False), window)
    assert [unpack_batch(draw(seeded()))[0].shape for draw in plain] == [(3, 4, 3, 4), (6, 2, 3, 4)]
    assert [unpack_batch(draw(seeded()))[2] for draw in plain] == [-1, -1]


def test_the_experiment_says_what_a_new_prior_can_and_its_places_go_on_to_another_film():
    cache = SimpleNamespace(levels=LEVELS, grid=(2, 3), shots=[(0, 9), (9, 20)])
    part = PriorPart(width=16, depth=1, heads=2, shapes=((16, 16),), directions=True, goals=3)
    prior = new_prior(part, cache)
    config = prior.config
    assert (config.places, config.directions, config.goals, config.num_labels) == ("coordinates", True, 3, 2)
    plain = new_prior(PriorPart(width=16, depth=1, heads=2), cache).config
    assert (plain.places, plain.directions, plain.goals) == ("table", False, 0)
    other = adapted(prior, SimpleNamespace(levels=LEVELS, grid=(4, 5), shots=[(0, 9)] * 3))
    assert other.grid == (4, 5) and other.config.num_labels == 3
    ours, theirs = prior.state_dict(), other.state_dict()
    taken = {name for name in ours if not name.startswith(("label_embedding", "layouts"))}
    assert all(torch.equal(ours[name], theirs[name]) for name in taken)


# ---- the loss


class Told(Prior):
    """A prior that notes what it is told, whatever its grid and direction."""

    def nll_bits(self, indices, label=None, given=None, condition=None, goal=None):
        self.notes.append(SimpleNamespace(given=given, goal=goal, backwards=self.backwards, grid=self.grid))
        return indices.double() + 0 * self.start.sum()


def notes_of(batches, token_noise=0.3, **config):
    torch.manual_seed(0)
    able = {"places": "coordinates", "directions": True, "goals": 3}
    prior = Told(PriorConfig(LEVELS, **{"grid": (2, 3), "width": 16, "depth": 1, "heads": 2} | able | config))
    prior.notes = []
    loss = prior_loss(token_noise)
    for batch in batches:
        assert loss(prior, batch).isfinite()
    assert prior.backwards is False and prior.grid == (2, 3), "the prior itself is as it was"
    return prior.notes


def clips(t, batch=100, grid=(2, 3), backwards=0):
    return pack_batch(some_tokens(grid, batch, t), torch.full((batch,), -1), backwards)


@pytest.mark.parametrize("t", [2, 3, 4])
def test_half_of_the_clips_are_told_a_latent_frame_of_their_own_after_the_first(t):
    found = []
    for note in notes_of([clips(t)] * 10):
        goal = note.goal
        conditioned = goal.at >= 0
        assert ((goal.at == -1) | ((goal.at >= 1) & (goal.at < t))).all()
        assert torch.equal(goal.tokens[conditioned], note.given[torch.arange(100), goal.at][conditioned]), (
            "as the prior sees it"
        )
        found.append(goal.at)
    at = torch.cat(found)
    assert float((at >= 0).float().mean()) == pytest.approx(0.5, abs=0.06)
    for k in range(1, t):
        assert float((at == k).float().mean()) == pytest.approx(0.5 / (t - 1), abs=0.06), "any as likely as another"


def test_of_windows_with_a_label_half_as_many_have_a_goal():
    torch.manual_seed(0)
    able = {"places": "coordinates", "goals": 3, "num_labels": 2, "grid": (2, 3), "width": 16, "depth": 1, "heads": 2}
    prior, batch = Told(PriorConfig(LEVELS, **able)), pack_batch(some_tokens((2, 3), 100, 3), torch.ones(100).long(), 0)
    for drop_label, due in ((0.0, 0.25), (1.0, 0.5)):
        prior.notes = []
        for _ in range(10):
            prior_loss(0.0, drop_label)(prior, batch)
        given = torch.cat([note.goal.at >= 0 for note in prior.notes])
        assert float(given.float().mean()) == pytest.approx(due, abs=0.06)


def test_none_lies_farther_ahead_than_the_prior_can_be_told():
    at = torch.cat([note.goal.at for note in notes_of([clips(8)] * 10)])
    assert set(at.tolist()) == {-1, 1, 2, 3}


def test_pictures_have_no_goal_and_a_prior_without_goals_is_told_none():
    for note in notes_of([clips(1)] * 3):
        assert (note.goal.at == -1).all()
    assert all(note.goal is None for note in notes_of([clips(4)] * 3, goals=0))


def test_of_a_fifth_of_the_batches_it_is_not_told_which_way_they_run():
    for backwards in (0, 1):
        ways = [note.backwards for note in notes_of([clips(2, 1, backwards=backwards)] * 400)]
        assert ways.count(None) / 400 == pytest.approx(0.2, abs=0.06)
        assert {way for way in ways if way is not None} == {bool(backwards)}
    assert {note.backwards for note in notes_of([clips(2, 1, backwards=-1)] * 20)} == {None}
    assert {note.backwards for note in notes_of([clips(2, 1, backwards=1)] * 20, directions=False)} == {False}


def test_a_batch_of_any_shape_is_predicted_on_its_own_grid():
    shapes = [(2, 3), (4, 3), (1, 5)]
    assert [note.grid for note in notes_of([clips(2, 3, shape) for shape in shapes])] == shapes
    with pytest.raises(ValueError, match="knows no other places"):
        notes_of([clips(2, 3, (4, 3))], places="table")


def test_gradients_reach_every_weight_of_a_prior_of_many_shapes_directions_and_goals():
    prior, loss = tiny_prior(goals=3, layouts=True), prior_loss()
    prior.layouts += 1
    torch.manual_seed(0)
    for k, shape in enumerate([(2, 3), (4, 3), (1, 5)] * 4):
        label = torch.arange(8) % 4 - 1
        loss(prior, pack_batch(some_tokens(shape, 8, 6, seed=k), label, backwards=k % 3 - 1)).backward()
    loss(prior, clips(1, 8, (3, 3))).backward()
    for name, weight in prior.named_parameters():
        assert weight.grad is not None and weight.grad.any(), name
        if weight.dim() == 2:
            assert weight.grad.any(1).all(), f"row {int((~weight.grad.any(1)).nonzero()[0])} of {name}"
    bits = float(loss(prior, clips(1, 8, (3, 3))).detach())
    assert 0 < bits < 4 * math.log2(60)


def test_it_learns_from_batches_of_all_kinds_at_once():
    prior = tiny_prior(goals=2).float().train()
    kinds = [pack_batch(torch.full((4, t, *shape), 7), torch.full((4,), -1), way) for t, shape, way in KINDS]
    draw = lambda generator: kinds[int(torch.randint(len(kinds), (), generator=generator))]  # noqa: E731
    recipe = Recipe(steps=30, lr=1e-2, muon=2e-2, warmup=2, ema=0.5)
    trained = fit(prior, prior_loss(token_noise=0), draw, recipe, progress=False)
    for (t, shape, way), batch in zip(KINDS, kinds):
        run = trained.model.at(shape).running(None if way < 0 else bool(way))
        with torch.no_grad():
            assert float(run.nll_bits(unpack_batch(batch)[0]).mean()) < 1.5, (t, shape, way)


KINDS = [(4, (2, 3), 0), (4, (2, 3), 1), (2, (4, 3), 1), (2, (1, 5), 0), (1, (3, 3), -1)]
