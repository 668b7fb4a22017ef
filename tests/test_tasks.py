"""Laws of the tasks: who is told which goal where, what is turned round, what is kept, how candidates are drawn."""

import pytest
import torch
from tiny_priors import LEVELS, some_goal, some_tokens, tiny_prior

from vg.models import TubeletConfig, TubeletTokenizer
from vg.sampling import before, fill, generate, generate_tokens, join, loop, tasks
from vg.sampling.tasks import OTHER_DICE, TOWARDS_GOAL, resampled, tokens_within, whole_tubelets

SPAN, SIZE = 2, (8, 12)  # 2x3 tokens of 4x4 pixels
QUIET = {"progress": False}


@pytest.fixture(scope="module")
def pair():
    torch.manual_seed(0)
    tokenizer = TubeletTokenizer(TubeletConfig((SPAN, 4, 4), LEVELS, width=16, encoder_depth=1, decoder_depth=1))
    return tiny_prior().float().freeze(), tokenizer.freeze()


def clip(frames=6, seed=0, size=SIZE):
    return torch.rand(1, 1, frames, *size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture
def asked(monkeypatch):
    """What ``generate_tokens`` was asked for, call by call, with what it gave as ``made``."""
    calls, draw = [], tasks.generate_tokens

    def watched(prior, tokens, latent_frames, seed, **options):
        made = draw(prior, tokens, latent_frames, seed, **options)
        calls.append(options | {"prior": prior, "tokens": tokens, "t": latent_frames, "seed": seed, "made": made})
        return made

    monkeypatch.setattr(tasks, "generate_tokens", watched)
    return calls


def test_a_join_is_both_clips_and_what_is_drawn_towards_the_second(pair, asked):
    first, second = clip(6), clip(4, seed=1)
    made = join(*pair, first, second, frames=8, seed=3, **QUIET)
    [call] = asked
    begin, end = pair[1].encode(first), tokens_within(*pair, second)
    assert call["t"] == 3 + 4 and call["seed"] == 3 and torch.equal(call["tokens"], begin)
    assert torch.equal(call["goal"].tokens, end[:, 0]) and call["goal"].at.tolist() == [7]
    torch.testing.assert_close(made, pair[1].decode(torch.cat([call["made"], end], 1)))
    assert made.shape == (1, 1, 6 + 8 + 4, *SIZE)
    assert torch.equal(call["made"][:, :3], begin)


def test_a_join_goes_on_from_the_last_frame_of_the_first_clip(pair, asked):
    first = clip(7)
    join(*pair, first, clip(4, seed=1), frames=4, **QUIET)
    assert torch.equal(asked[0]["tokens"], pair[1].encode(first[:, :, 1:]))


def test_an_interrupted_join_or_loop_is_none(pair, monkeypatch):
    monkeypatch.setattr(tasks, "generate_tokens", lambda prior, tokens, latent_frames, *_, **__: some_tokens(t=3))
    for task in (lambda: join(*pair, clip(), clip(), frames=8), lambda: loop(*pair, clip(), frames=12)):
        with pytest.raises(KeyboardInterrupt):
            task()


def test_stills_are_joined_and_one_clip_goes_into_several(pair):
    assert join(*pair, clip(1), clip(1, seed=1), frames=4, **QUIET).shape[2] == SPAN + 4 + SPAN
    ends = torch.cat([clip(2, seed) for seed in range(3)])
    made = join(*pair, clip(4), ends, frames=4, **QUIET)
    assert made.shape[:3] == (3, 1, 4 + 4 + 2) and not torch.equal(made[0], made[1])


def test_a_clips_tokens_within_are_those_of_the_clip_after_its_first_frame_held(pair):
    film = clip(6)
    held = torch.cat([film[:, :, :1].expand(-1, -1, SPAN, -1, -1), film], 2)
    assert torch.equal(tokens_within(*pair, film), pair[1].encode(held)[:, 1:])
    assert tokens_within(*pair, film[:, :, :1]).shape[1] == 1


def test_a_loops_goal_is_its_own_beginning_and_its_second_round_is_shown(pair, asked):
    made = loop(*pair, clip(4), frames=10, seed=2, **QUIET)
    [call] = asked
    assert torch.equal(call["goal"].tokens, call["made"][:, 0]) and call["goal"].at.tolist() == [5]
    twice = pair[1].decode(call["made"].repeat(1, 3, 1, 1))
    assert made.shape[2] == 10
    torch.testing.assert_close(made, twice[:, :, 10:20])
    torch.testing.assert_close(made, twice[:, :, 20:])  # whatever round it is


def test_a_loop_is_the_same_wherever_it_begins_though_its_decoder_looks_back_and_ahead(pair, asked):
    torch.manual_seed(0)
    config = TubeletConfig((SPAN, 4, 4), LEVELS, width=16, encoder_depth=1, decoder_depth=1, lookahead=True)
    tokenizer = TubeletTokenizer(config).freeze()
    made = loop(pair[0], tokenizer, clip(4), frames=10, seed=2, **QUIET)
    turned = asked[0]["made"].roll(-2, dims=1)
    later = tokenizer.decode(turned.repeat(1, 3, 1, 1))[:, :, 10:20]
    torch.testing.assert_close(made.roll(-2 * SPAN, dims=2), later)
    once = tokenizer.decode(asked[0]["made"])
    assert not torch.allclose(once[:, :, -SPAN:], made[:, :, -SPAN:]), "the last frames know of the first"


def test_a_loop_from_nothing_draws_its_beginning_with_other_dice(pair, asked):
    made = loop(*pair, frames=6, seed=4, batch=2, size=(8, 8), guidance=2.0, **QUIET)
    first, second = asked
    assert (first["seed"], second["seed"]) == (4 + OTHER_DICE, 4) and first.get("goal") is None
    assert first["guidance"] == 1.0 and second["guidance"] == 2.0, "there is nothing to go towards at first"
    assert torch.equal(second["tokens"], first["made"]) and made.shape == (2, 1, 6, 8, 8)
    loop(*pair, frames=6, label=1, guidance=2.0, **QUIET)
    assert asked[2]["guidance"] == 2.0 and asked[2]["label"] == 1


def test_a_goal_is_gone_towards_unless_said_otherwise(pair, asked):
    loop(*pair, clip(4), frames=10, **QUIET)
    join(*pair, clip(4), clip(4), frames=4, **QUIET)
    join(*pair, clip(4), clip(4), frames=4, guidance=1.0, **QUIET)
    assert [call["guidance"] for call in asked] == [TOWARDS_GOAL, TOWARDS_GOAL, 1.0] and TOWARDS_GOAL > 1


def test_what_came_before_is_drawn_backwards_and_turned_round(pair, monkeypatch):
    seen, draw = [], tasks.generate
    monkeypatch.setattr(
        tasks, "generate", lambda prior, *rest, **more: seen.append(prior) or draw(prior, *rest, **more)
    )
    film = clip(4)
    made = before(*pair, film, frames=8, seed=1, **QUIET)
    assert seen[0].backwards is True and pair[0].backwards is False
    torch.testing.assert_close(made.flip(2), generate(pair[0].running(True), pair[1], film.flip(2), 8, 1, **QUIET))
    torch.testing.assert_close(made[:, :, 4:], pair[1].decode(pair[1].encode(film.flip(2))).flip(2))
    plain = tiny_prior(directions=False).float().freeze()
    assert before(plain, pair[1], film, frames=8, **QUIET).shape[2] == 8


def test_the_shape_is_that_of_the_clip(pair):
    film = clip(4, size=(12, 4))
    assert before(*pair, film, frames=6, **QUIET).shape[3:] == (12, 4)
    assert join(*pair, film, film, frames=2, **QUIET).shape[3:] == (12, 4)
    assert generate(*pair, frames=4, size=(4, 8), **QUIET).shape[3:] == (4, 8)
    with pytest.raises(ValueError, match=r"multiples of 4 and 4, such as \(8, 8\)"):
        generate(*pair, frames=4, size=(9, 8), **QUIET)
    with pytest.raises(ValueError, match="knows no other places"):
        generate(tiny_prior(places="table").float(), pair[1], frames=4, size=(4, 8), **QUIET)


@pytest.mark.parametrize("candidates", [1, 4])
def test_what_is_kept_stays_and_the_rest_is_drawn(pair, asked, candidates):
    film = clip(6)
    keep = torch.zeros(SIZE, dtype=torch.bool)
    keep[:, :9] = True  # two of three columns, and part of the third
    made = fill(*pair, film, keep, seed=1, candidates=candidates, **QUIET)
    tokens, drawn = pair[1].encode(film), asked[-1]["made"]
    assert [call["t"] for call in asked] == [1, 2, 3] and drawn.shape == (candidates, 3, 2, 3)
    assert (drawn[..., :2] == tokens[..., :2]).all() and not torch.equal(
        drawn[..., 2:], tokens[..., 2:].expand_as(drawn[..., 2:])
    )
    assert made.shape == film.shape
    assert len({call["seed"] for call in asked}) == 3
    everything = fill(*pair, film, torch.ones(SIZE, dtype=torch.bool), candidates=candidates, **QUIET)
    torch.testing.assert_close(everything, pair[1].decode(tokens))


def test_candidates_are_weighed_by_the_kept_tokens_of_their_last_latent_frame_alone(pair, asked, monkeypatch):
    weighed = []
    monkeypatch.setattr(tasks, "resampled", lambda bits, dice: weighed.append(bits) or torch.arange(len(bits)))
    keep = torch.zeros(4, *SIZE, dtype=torch.bool)
    keep[2:, :, 4:] = True  # in the second latent frame, two of three columns
    fill(*pair, clip(4), keep, candidates=3, label=2, **QUIET)
    [bits] = weighed  # in the first nothing is kept: all candidates are as good
    cost = pair[0].nll_bits(asked[-1]["made"], torch.full((3,), 2))
    torch.testing.assert_close(bits, cost[:, 1, :, 1:].sum((1, 2)))


def test_candidates_are_drawn_by_two_to_the_power_of_minus_their_bits():
    dice, bits = torch.Generator().manual_seed(0), torch.tensor([1001.0, 1000.0, 1003.0, 5000.0])
    counts = torch.zeros(4)
    for _ in range(2000):
        counts += torch.bincount(resampled(bits, dice), minlength=4)
    due = torch.exp2(-(bits - 1000))
    assert counts.sum() == 8000 and (counts / 8000 - due / due.sum()).abs().max() < 0.02 and counts[3] == 0


def test_a_token_is_kept_if_all_its_pixels_are(pair):
    keep = torch.rand(5, *SIZE, generator=torch.Generator().manual_seed(3)) < 0.97
    found = whole_tubelets(pair[1], keep, (5, *SIZE))
    for t in range(2):  # the ragged end fills no tubelet
        for row in range(2):
            for column in range(3):
                part = keep[2 * t : 2 * t + 2, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
                assert bool(found[0, t, row, column]) == bool(part.all())
    assert 0 < int(found.sum()) < found.numel() and found.shape == (1, 2, 2, 3)


WRONG = {
    "frames of a join": (lambda pair: join(*pair, clip(), clip(), frames=3), "3 frames are not whole tubelets.* 2"),
    "frames of a loop": (lambda pair: loop(*pair, frames=0), "0 frames are not whole tubelets"),
    "a full loop": (lambda pair: loop(*pair, clip(6), frames=6), "the clip fills 3 of 3 latent frames"),
    "no goals": (
        lambda pair: join(tiny_prior(goals=0).float(), pair[1], clip(), clip(), 4, **QUIET),
        "trained without goals",
    ),
    "keep": (lambda pair: fill(*pair, clip(), torch.ones(8, 8, dtype=torch.bool)), r"keep is torch.bool \(8, 8\)"),
    "type of keep": (lambda pair: fill(*pair, clip(), torch.ones(SIZE)), "keep is torch.float32"),
    "two sizes": (
        lambda pair: join(*pair, clip(), torch.zeros(1, 1, 4, 8, 16)),
        r"of \(8, 12\), the second of \(8, 16\)",
    ),
    "size and prompt": (
        lambda pair: loop(*pair, clip(), size=(8, 16)),
        r"frames of \(8, 12\), and size asks for \(8, 16\)",
    ),
    "one number for a size": (lambda pair: loop(*pair, size=8), "size is 8, expected height and width"),
    "three numbers for a size": (lambda pair: loop(*pair, size=(8, 8, 12)), "expected height and width"),
    "half frames": (lambda pair: before(*pair, clip(), frames=8.0), "frames is 8.0, expected a whole number"),
    "colours": (lambda pair: join(*pair, clip().expand(1, 3, -1, -1, -1), clip().expand(1, 3, -1, -1, -1)), "mean"),
    "no candidates": (lambda pair: fill(*pair, clip(), torch.ones(SIZE) > 0, candidates=-1), "candidates is -1"),
    "a goal in the past": (
        lambda pair: generate_tokens(pair[0], some_tokens(t=2), 4, batch=2, goal=some_goal([1, 3])),
        r"a goal is at \[1, 3\], expected from 2 on",
    ),
    "a goal before all": (lambda pair: generate_tokens(pair[0], None, 4, goal=some_goal([-5])), "expected from 0 on"),
    "a direction": (lambda pair: pair[0].running(5), "backwards is 5, expected True, False or None"),
    "clips to fill": (
        lambda pair: fill(*pair, clip().repeat(2, 1, 1, 1, 1), torch.ones(SIZE) > 0),
        "those of one clip",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_done_is_said(pair, case):
    do, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        do(pair)
