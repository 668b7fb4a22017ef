"""Laws of goals: what is to stand at a later latent frame is told to the frames before it, and to nothing else."""

import pytest
import torch
from tiny_priors import moved, same, some_goal, some_tokens, tiny_prior

from vg.models.goals import Goal
from vg.sampling import generate_tokens, one_by_one


def frames_of(found) -> list[list[int]]:
    """Of each clip, the latent frames that something was found in: (B, t * h * w) bool."""
    return [clip.view(-1, 6).any(1).nonzero().flatten().tolist() for clip in found]


def frames_told(prior, ours, theirs, t=5) -> list[list[int]]:
    """Of each clip, the latent frames that are told something else under another goal."""
    return frames_of(moved(*(prior.conditioning(None, goal, t) for goal in (ours, theirs))))


def frames_moved(prior, tokens, ours, theirs) -> list[list[int]]:
    """Of each clip, the latent frames with a state that is another under another goal."""
    return frames_of(moved(*(prior.hidden(prior.digits(tokens), goal=goal) for goal in (ours, theirs))))


@torch.no_grad()
def test_a_goal_is_told_to_the_latent_frames_up_to_it_and_no_farther_back_than_the_longest():
    prior, tokens = tiny_prior(goals=2), some_tokens(batch=6, t=5)
    at = [0, 1, 2, 4, 6, 7]
    ours, nowhere = some_goal(at), Goal(some_goal(at).tokens, torch.full((6,), -1))
    conditioned = [[0], [0, 1], [0, 1, 2], [2, 3, 4], [4], []]
    for theirs in (some_goal(at, seed=3), nowhere):
        assert frames_told(prior, ours, theirs) == conditioned
        states = frames_moved(prior, tokens, ours, theirs)  # what comes later may remember what was told
        assert states == [list(range(frames[0], 5)) if frames else [] for frames in conditioned]


@torch.no_grad()
def test_no_state_before_moves_and_every_token_of_a_frame_hears_of_its_place_in_the_goal():
    prior, tokens = tiny_prior(goals=2), some_tokens(batch=1, t=5)
    ours = some_goal([3])
    for place in range(6):
        theirs = Goal(ours.tokens.clone(), ours.at)
        theirs.tokens.view(-1)[place] = (theirs.tokens.view(-1)[place] + 1) % 60
        states = (prior.hidden(prior.digits(tokens), goal=goal) for goal in (ours, theirs))
        found = moved(*states).view(5, 6)
        assert not found[0].any(), "three ahead is farther than two"
        assert found[1:4, place].all(), "what is to stand here"
        assert frames_told(prior, ours, theirs) == [[1, 2, 3]]


@torch.no_grad()
def test_a_clip_without_a_goal_is_not_moved_by_the_others():
    prior, tokens = tiny_prior(), some_tokens(batch=3)
    ours, theirs = some_goal([2, -1, 3]), some_goal([2, -1, 3], seed=3)
    assert frames_moved(prior, tokens, ours, theirs)[1] == []
    assert frames_moved(prior, tokens, ours, Goal(ours.tokens, torch.tensor([2, -1, 1])))[:2] == [[], []]
    same(prior.nll_bits(tokens, goal=ours)[1], prior.nll_bits(tokens)[1])
    same(prior.nll_bits(tokens, goal=ours)[2:], prior.nll_bits(tokens[2:], goal=ours[[2]]))


@torch.no_grad()
def test_how_far_ahead_a_goal_lies_is_told_too():
    prior = tiny_prior(goals=4)
    goal = some_goal([4])
    conditioned = prior.conditioning(None, goal, 6).view(6, 6, -1)
    apart = [(conditioned[a] - conditioned[b]).abs().amax() for a in range(5) for b in range(a)]
    assert min(apart) > 1e-3 and not conditioned[5].any()
    same(prior.conditioning(None, goal), prior.conditioning(None, goal, 5))
    later = prior.conditioning(None, Goal(goal.tokens, goal.at + 1), 6).view(6, 6, -1)
    same(later[1:], conditioned[:5])


@torch.no_grad()
def test_a_goal_adds_to_a_condition_and_either_may_be_left_out():
    prior = tiny_prior(grid=(2, 2), condition_levels=(3, 4), condition_grid=(1, 1))
    condition, goal = torch.arange(8).view(2, 4, 1, 1), some_goal([2, -1], (2, 2))
    both, alone = prior.conditioning(condition, goal), prior.conditioning(condition)
    assert both.shape == (2, 16, 16)
    conditioned = moved(both, alone).view(2, 4, 4)
    assert conditioned[0].all(1).tolist() == [True, True, True, False] and not conditioned[1].any()
    settings = {"latent_frames": 4, "batch": 2, "condition": condition, "goal": goal, "progress": False}
    guided = settings | {"guidance": 2.0, "history": 1.5}
    for each in (settings, guided):
        assert torch.equal(generate_tokens(prior, None, **each), one_by_one(prior, None, **each))


def test_what_is_no_goal_or_not_for_this_prior_is_refused():
    tokens = torch.zeros(2, 2, 3, dtype=torch.long)
    for wrong in (torch.tensor([1]), torch.tensor(1), torch.tensor([[1], [2]])):
        with pytest.raises(ValueError, match=r"tokens are \(2, 2, 3\) and at is .*expected \(B, h, w\) and \(B,\)"):
            Goal(tokens, wrong)
    with pytest.raises(ValueError, match=r"tokens are \(2, 1, 2, 3\)"):
        Goal(tokens[:, None], torch.tensor([1, 1]))
    for ask in (tiny_prior(goals=0).nll_bits, lambda clips, goal: tiny_prior(goals=0).conditioning(None, goal, 4)):
        with pytest.raises(ValueError, match="trained without goals"):
            ask(some_tokens(), goal=some_goal([1, 2]))
    with pytest.raises(ValueError, match=r"expected \(B, t, 2, 3\)"):
        tiny_prior().nll_bits(some_tokens(), goal=some_goal([1, 2], (4, 3)))
    for loop in (generate_tokens, one_by_one):
        with pytest.raises(ValueError, match="needs a label or a goal"):
            loop(tiny_prior(), None, 2, guidance=2.0, progress=False)
        with pytest.raises(ValueError, match="trained without goals"):
            loop(tiny_prior(goals=0), None, 2, goal=some_goal([1]), progress=False)
    assert some_goal([1, 2, 3])[[2, 0]].at.tolist() == [3, 1]


# ---- sampling


def tokens_drawn(prior, prompt=None, **options):
    """What both loops draw, once it is seen to be the same."""
    settings = {"latent_frames": 4, "seed": 5, "progress": False} | options
    made = generate_tokens(prior, prompt, **settings)
    assert torch.equal(made, one_by_one(prior, prompt, **settings))
    return made


OPTIONS = [
    {},
    {"guidance": 2.5},
    {"history": 1.7},
    {"guidance": 2.5, "history": 1.7, "label": 1, "top_p": 0.9},
    {"window": 1, "guidance": 0.5},
]


@pytest.mark.parametrize("grid", [(2, 3), (1, 4)], ids=str)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_parallel_sampling_draws_towards_goals_what_the_plain_loop_draws(options, batch, grid):
    prior = tiny_prior().at(grid)
    goal = some_goal([3, -1, 5][:batch], grid)
    made = tokens_drawn(prior, goal=goal, batch=batch, **options)
    other = some_goal([3, -1, 5][:batch], grid, seed=3)
    differ = (made != tokens_drawn(prior, goal=other, batch=batch, **options)).flatten(1).any(1)
    assert differ[0] and not differ[1:2].any(), "the second has no goal"
    if batch == 3:
        last = options if "label" not in options else options | {"label": [1]}
        assert torch.equal(made[2:], tokens_drawn(prior, goal=goal[[2]], **last | {"seed": 7})), "whatever the others"


@pytest.mark.parametrize("options", [{}, {"guidance": 2.0, "history": 1.5}], ids=str)
def test_goals_go_with_prompts_and_with_kept_tokens_and_one_serves_a_batch(options):
    prior, goal = tiny_prior(), some_goal([4])
    prompt, kept = some_tokens(batch=3, t=2), torch.full((3, 4, 2, 3), -1)
    kept[:, :, 1, 1:] = some_tokens(batch=3, seed=4)[:, :, 1, 1:]
    made = tokens_drawn(prior, prompt, goal=goal, kept=kept, batch=3, **options)
    assert torch.equal(made[:, :2], prompt) and torch.equal(made[:, 2:4, 1, 1:], kept[:, 2:, 1, 1:])
    assert torch.equal(made, tokens_drawn(prior, prompt, goal=goal[[0, 0, 0]], kept=kept, batch=3, **options))


@pytest.mark.parametrize("guided", [False, True])
@torch.no_grad()
def test_guidance_goes_from_what_is_said_without_the_goal_to_what_is_said_with_it_and_beyond(guided):
    prior, grid, condition = tiny_prior(), (2, 3), None
    if guided:  # by the tokens of a coarser grid, which stay known
        grid, condition = (2, 2), torch.tensor([3, 11, 7, 0, 5]).view(1, 5, 1, 1)
        prior = tiny_prior(grid=grid, condition_levels=(3, 4), condition_grid=(1, 1))
    goal, label, guidance, history = some_goal([3], grid), torch.tensor([1]), 2.5, 1.7
    options = {"latent_frames": 5, "condition": condition, "label": 1, "history": history, "top_k": 1}
    made = tokens_drawn(prior, goal=goal, guidance=guidance, **options)
    digits = prior.digits(made)
    conditioned, unconditioned = prior.hidden(digits, label, condition, goal), prior.hidden(digits, condition=condition)
    anew = []
    for k, frame in enumerate(digits.split(prior.tokens_per_latent_frame, dim=1)):
        left = Goal(goal.tokens, (goal.at - k).clamp(min=-1))  # how far this one has to go
        anew.append(prior.hidden(frame, label, None if condition is None else condition[:, k : k + 1], left)[0])

    def beyond(logits):
        conditioned, unconditioned, anew = logits.chunk(3)
        return (
            (conditioned + (guidance - 1) * (conditioned - unconditioned) + (history - 1) * (conditioned - anew))
            .argmax(-1)
            .repeat(3)
        )

    best = prior.head.sample(torch.cat([conditioned[0], unconditioned[0], *anew]), beyond)[: digits.shape[1]]
    assert torch.equal(best, digits[0])
    assert not torch.equal(made, tokens_drawn(prior, goal=goal, **options))
