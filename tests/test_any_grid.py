"""Laws of a prior for clips of any shape, run in either direction: one set of weights, and nothing looks ahead."""

import pytest
import torch
from tiny_priors import LEVELS, moved, same, some_goal, some_tokens, tiny_prior

from vg.models.alibi import two_scale_slopes
from vg.models.kv_cache import DecodeState
from vg.models.places import FREQUENCIES, Coordinates
from vg.sampling import generate_tokens, one_by_one

GRIDS = [(2, 3), (1, 1), (1, 5), (5, 1), (4, 3)]


@pytest.mark.parametrize("conditioned", [False, True], ids=["alone", "towards a goal"])
@pytest.mark.parametrize("backwards", [None, False, True])
@pytest.mark.parametrize("grid", GRIDS, ids=str)
@torch.no_grad()
def test_no_state_up_to_token_k_moves_when_token_k_does_and_the_next_one_does(grid, backwards, conditioned):
    prior = tiny_prior().at(grid).running(backwards)
    digits = prior.digits(some_tokens(grid, batch=1, t=3))
    L = digits.shape[1]
    changed = digits.repeat(L + 1, 1, 1)  # the last stays as it is
    k = torch.arange(L)
    changed[k, k] = (changed[k, k] + 1) % torch.tensor(LEVELS)
    goal = some_goal([2], grid) if conditioned else None
    goal = goal and goal[[0] * (L + 1)]
    states = prior.hidden(changed, goal=goal)
    found = moved(states[:-1], states[-1])  # (token, state)
    assert not found.tril().any(), f"state {found.tril().nonzero()[0, 1]} knows token {found.tril().nonzero()[0, 0]}"
    assert found.diagonal(1).all()


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@torch.no_grad()
def test_the_cache_gives_the_numbers_of_the_whole_on_every_grid_and_towards_goals(grid):
    prior, label = tiny_prior().at(grid).running(True), torch.tensor([2, -1])
    digits, goal = prior.digits(some_tokens(grid)), some_goal([3, 1], grid)
    full = prior.hidden(digits, label, goal=goal)
    for size in (1, 4):
        state, conditioned = DecodeState(), prior.conditioning(None, goal, 4)
        same(prior.advance(state, None, label, conditioning=conditioned), full[:, 0])
        for k in range(0, digits.shape[1] - size, size):
            made = prior.advance(state, digits[:, k : k + size], label, conditioning=conditioned)
            same(made, full[:, k + size])


def test_a_prior_on_another_grid_has_the_same_weights_and_learns_with_it():
    prior = tiny_prior(layouts=True)
    prior.layouts += 1
    other = prior.at((4, 5))
    assert prior.grid == (2, 3) and other.grid == (4, 5) and other.tokens_per_latent_frame == 20
    assert [(name, id(p)) for name, p in prior.named_parameters()] == [(n, id(p)) for n, p in other.named_parameters()]
    other.nll_bits(some_tokens((4, 5)), torch.tensor([0, 1]), goal=some_goal([2, 3], (4, 5))).mean().backward()
    still = [name for name, p in prior.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still
    before = other.nll_bits(some_tokens((4, 5))).detach()
    torch.optim.SGD(prior.parameters(), 0.1).step()
    assert not torch.allclose(other.nll_bits(some_tokens((4, 5))), before), "it was taught, and the other knows nothing"


@torch.no_grad()
def test_on_its_own_grid_the_numbers_are_the_same():
    prior, tokens, label = tiny_prior(layouts=True), some_tokens(), torch.tensor([1, 2])
    prior.learn_layouts(1, tokens)
    bits = prior.nll_bits(tokens, label)
    for same_one in (
        prior.at((2, 3)),
        prior.at((4, 5)).at((2, 3)),
        prior.at((1, 1)).running(True).at((2, 3)).running(False),
    ):
        assert torch.equal(same_one.nll_bits(tokens, label), bits)
    table = tiny_prior(places="table")
    assert torch.equal(table.at((2, 3)).nll_bits(tokens, label), table.nll_bits(tokens, label))


@torch.no_grad()
def test_what_is_saved_of_it_and_learned_on_another_grid_is_of_its_own():
    prior, tokens = tiny_prior(layouts=True), some_tokens()
    other = prior.at((4, 5))
    other.learn_layouts(1, tokens)
    assert prior.labels_with_layouts() == other.labels_with_layouts() == [1]
    ours, theirs = prior.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    with pytest.raises(ValueError, match=r"expected \(B, t, 2, 3\)"):
        other.learn_layouts(1, some_tokens((4, 5)))


def test_slopes_follow_the_tokens_in_a_latent_frame():
    prior = tiny_prior()
    assert torch.equal(prior.at((4, 5)).slopes, two_scale_slopes(4, 20, 4.0).double())
    assert torch.equal(prior.slopes, two_scale_slopes(4, 6, 4.0).double()), "those of the first are as they were"
    assert prior.at((4, 5)).window(None) is None and tiny_prior(reach=2).at((4, 5)).window() == 40


def test_layouts_are_interpolated():
    prior = tiny_prior(grid=(2, 4), layouts=True)
    ramp = ((torch.arange(4) + 0.5) / 4).expand(2, 4)  # brighter to the right, by the share of the width
    prior.layouts[2] = ramp.reshape(8, 1).expand(8, 3)
    prior.layouts[3] = torch.tensor([1.0, 2.0, 3.0]).double()
    finer = prior.at((6, 12)).layouts_of(torch.arange(-1, 3))
    assert finer.shape == (4, 72, 3) and torch.equal(prior.layouts_of(torch.arange(-1, 3)), prior.layouts)
    wide = finer[2].view(6, 12, 3)
    due = ((torch.arange(12).double() + 0.5) / 12)[None, :, None].expand(6, 12, 3)
    torch.testing.assert_close(wide[:, 1:-1], due[:, 1:-1])
    torch.testing.assert_close(finer[3], torch.tensor([1.0, 2.0, 3.0]).double().expand(72, 3))
    assert not finer[:2].any(), "labels without a layout have none on another grid"


def test_a_prior_of_one_grid_and_a_grid_of_nothing_are_refused_with_a_sentence():
    condition = {"condition_levels": (3, 4), "condition_grid": (1, 1), "grid": (1, 1)}
    for bound in ({"places": "table"}, {"positions": "learned"}, condition):
        with pytest.raises(ValueError, match=r"tokens and knows no other places, so there is no 4x3.*'coordinates'"):
            tiny_prior(**bound).at((4, 3))
    for nothing in ((0, 3), (2, 0), (-1, 3)):
        with pytest.raises(ValueError, match="so there is no"):
            tiny_prior().at(nothing)
    with pytest.raises(ValueError, match=r"expected \(B, t, 4, 3\)"):
        tiny_prior().at((4, 3)).nll_bits(some_tokens())


@pytest.mark.parametrize("grid", [(1, 1), (16, 16), (1, 20), (20, 1), (3, 32)], ids=str)
@torch.no_grad()
def test_every_place_of_a_grid_has_features_of_its_own(grid):
    torch.manual_seed(0)
    features = Coordinates(16)(grid)
    assert features.shape == (grid[0] * grid[1], 16)
    apart = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")
    apart.fill_diagonal_(1.0)
    assert apart.min() > 1e-3


@torch.no_grad()
def places_of(grid, heard=True):
    """Features of a grid's places (h * w, D), and of one three times as fine: nine for each of them, (h * w, 9, D).

    Without ``heard`` the network is deaf to how many rows and columns there are.
    """
    torch.manual_seed(0)
    (h, w), network = grid, Coordinates(32).double()
    network.network[0].weight[:, FREQUENCIES :: FREQUENCIES + 1] *= heard
    fine = network((3 * h, 3 * w)).view(h, 3, w, 3, 32).transpose(1, 2).reshape(h * w, 9, 32)
    return network(grid), fine


@pytest.mark.parametrize("grid", [(2, 3), (3, 2), (1, 4), (16, 12)], ids=str)
def test_the_same_share_of_the_picture_is_the_same_to_any_grid_but_for_its_size(grid):
    coarse, fine = places_of(grid, heard=False)
    same(fine[:, 4], coarse)  # of nine finer places the one in the middle stands where the coarse one does
    coarse, fine = places_of(grid)
    assert moved(fine[:, 4], coarse).all()


def test_places_of_a_finer_grid_lie_between_those_of_a_coarser_one():
    """Of grids with as many rows and columns as there are waves: coarser ones say nothing of the finest waves."""
    coarse, fine = places_of((FREQUENCIES, FREQUENCIES), heard=False)
    apart = torch.cdist(coarse, fine.flatten(0, 1)).view(len(coarse), len(coarse), 9).mean(2)
    assert torch.equal(apart.argmin(1), torch.arange(len(coarse))), "none is as near as the nine that stand around it"


@torch.no_grad()
def test_which_way_time_runs_is_three_different_things_and_forwards_unless_told():
    prior, tokens = tiny_prior(), some_tokens()
    bits = [prior.running(way).nll_bits(tokens) for way in (None, False, True)]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert ((bits[a] - bits[b]).abs() > 1e-6).all()
    assert torch.equal(prior.nll_bits(tokens), bits[1])
    assert prior.backwards is False, "the first is as it was"
    here, there = prior.running(True).at((4, 3)), prior.at((4, 3)).running(True)
    assert torch.equal(here.nll_bits(some_tokens((4, 3))), there.nll_bits(some_tokens((4, 3))))
    assert all(a is b for a, b in zip(prior.parameters(), there.parameters()))


def test_a_prior_that_was_not_taught_directions_cannot_be_told():
    for way in (None, False, True):
        with pytest.raises(ValueError, match="not taught which way time runs"):
            tiny_prior(directions=False).running(way)


@pytest.mark.parametrize("grid", [(4, 3), (1, 4), (5, 1)], ids=str)
@pytest.mark.parametrize("options", [{}, {"batch": 3, "history": 1.5, "label": [2, 0, 1], "guidance": 2.0}], ids=str)
def test_parallel_sampling_gives_the_tokens_of_the_plain_loop_on_any_grid(grid, options):
    prior = tiny_prior(layouts=True)
    prior.learn_layouts(1, some_tokens())
    settings = {"latent_frames": 4, "seed": 5, "progress": False, **options}
    made = {}
    for way in (False, True):
        running = prior.at(grid).running(way)
        made[way] = generate_tokens(running, None, **settings)
        assert made[way].shape[1:] == (4, *grid)
        assert torch.equal(made[way], one_by_one(running, None, **settings))
    assert not torch.equal(made[False], made[True])
