"""Laws of tokens that are kept: in the result, heeded by what comes after them, unknown to what comes before."""

import pytest
import torch
from tiny_priors import some_tokens, tiny_prior

from vg.sampling import generate_tokens, one_by_one

T = 4


@pytest.fixture(scope="module")
def prior():
    return tiny_prior().freeze()


def drawn(prior, prompt=None, **options):
    """What both loops draw, once it is seen to be the same."""
    settings = {"latent_frames": T, "seed": 5, "progress": False} | options
    made = generate_tokens(prior, prompt, **settings)
    assert torch.equal(made, one_by_one(prior, prompt, **settings))
    return made


def some_kept(batch=1, share=0.5, seed=4, t=T):
    """Tokens, and -1 for the rest."""
    keep = torch.rand(batch, t, 2, 3, generator=torch.Generator().manual_seed(seed)) < share
    return torch.where(keep, some_tokens(batch=batch, t=t, seed=seed), -1)


OPTIONS = [
    {},
    {"label": 1, "guidance": 2.0, "history": 1.5},
    {"window": 1, "top_p": 0.8},
    {"batch": 3, "label": [2, 0, 1]},
    {"temperature": 0.3},
]


@pytest.mark.parametrize("share", [0.2, 0.8])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_kept_tokens_are_in_the_result_and_both_loops_draw_the_rest_alike(prior, options, share):
    kept = some_kept(options.get("batch", 1), share)
    made = drawn(prior, kept=kept, **options)
    known = kept >= 0
    assert known.any() and not known.all() and torch.equal(made[known], kept[known])
    assert not torch.equal(made[~known], drawn(prior, **options)[~known])


def test_if_all_is_kept_the_result_is_what_is_kept_and_if_nothing_is_it_is_as_without(prior):
    everything = some_tokens(batch=2)
    assert torch.equal(drawn(prior, kept=everything, batch=2), everything)
    assert torch.equal(drawn(prior, kept=torch.full((1, T, 2, 3), -1)), drawn(prior))


def test_what_would_have_been_drawn_changes_nothing_where_it_is_kept(prior):
    free = drawn(prior, batch=2, history=1.5)
    keep = some_kept(2) >= 0
    assert torch.equal(drawn(prior, kept=torch.where(keep, free, -1), batch=2, history=1.5), free)


@pytest.mark.parametrize("place", [0, 4, 6, 13, 23])
def test_a_kept_token_changes_what_comes_after_it_and_nothing_before(prior, place):
    found = []
    for token in (7, 52):
        kept = torch.full((1, T, 2, 3), -1)
        kept.view(-1)[place] = token
        found.append(drawn(prior, kept=kept, batch=4).flatten(1))
    ours, theirs = found
    assert torch.equal(ours[:, :place], theirs[:, :place])
    assert torch.equal(ours[:, :place], drawn(prior, batch=4).flatten(1)[:, :place])
    assert place == 23 or not torch.equal(ours[:, place + 1 :], theirs[:, place + 1 :])


@torch.no_grad()
def test_the_others_are_drawn_from_what_a_full_forward_says_of_all_tokens_before_them(prior):
    kept = some_kept()
    made = drawn(prior, kept=kept, top_k=1)
    best = prior.head.sample(prior.hidden(prior.digits(made))[0], lambda logits: logits.argmax(-1))
    free = (kept < 0).flatten()
    assert torch.equal(best[free], prior.digits(made)[0, free]) and not torch.equal(best, prior.digits(made)[0])


def test_one_serves_a_batch_it_may_end_early_and_a_prompt_goes_before_it(prior):
    kept, prompt = some_kept(t=3), some_tokens(batch=2, t=1, seed=8)
    made = drawn(prior, prompt, kept=kept, batch=2)
    known = (kept >= 0)[:, 1:].expand(2, -1, -1, -1)
    assert torch.equal(made[:, :1], prompt), "what is given is given"
    assert torch.equal(made[:, 1:3][known], kept[:, 1:].expand(2, -1, -1, -1)[known])
    longer = torch.cat([kept, torch.full((1, 1, 2, 3), -1)], dim=1)
    assert torch.equal(drawn(prior, prompt, kept=longer.expand(2, -1, -1, -1), batch=2), made)


WRONG = [(3, T, 2, 3), (1, T + 1, 2, 3), (1, T, 3, 2), (T, 2, 3)]


@pytest.mark.parametrize("shape", WRONG, ids=str)
@pytest.mark.parametrize("loop", [generate_tokens, one_by_one])
def test_kept_tokens_of_another_shape_are_refused(prior, shape, loop):
    with pytest.raises(ValueError, match=r"kept tokens are \(.*expected \(1 or 2, up to 4, 2, 3\)"):
        loop(prior, None, T, batch=2, kept=torch.full(shape, -1), progress=False)


def test_kept_tokens_go_with_another_grid(prior):
    kept = torch.full((1, T, 4, 2), -1)
    kept[:, :, :, 0] = some_tokens((4, 2), 1)[..., 0]
    made = drawn(prior.at((4, 2)), kept=kept, batch=3)
    assert torch.equal(made[..., 0], kept[..., 0].expand(3, -1, -1)) and len(made.unique(dim=0)) == 3
