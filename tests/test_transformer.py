"""Laws of the prior: no look ahead, the cache gives the same numbers, bits are bits."""

import math
from functools import partial

import pytest
import torch

from vg.models import FSQ, Prior, PriorConfig, available_backends, transformer_block
from vg.models.kv_cache import DecodeState, KVCache

LEVELS, FRAME = (5, 4, 3), 12


def prior(seed=0, **changes):
    torch.manual_seed(seed)
    settings = dict(levels=LEVELS, grid=(3, 4), width=32, depth=2, heads=4, context=1, num_labels=3, longest=8)
    model = Prior(PriorConfig(**(settings | changes))).eval()
    for weight in model.parameters():  # nothing at zero: every path has to carry something
        weight.data += 0.1 * torch.randn_like(weight)
    if model.config.layouts:
        model.learn_layouts(2, tokens(seed=9))
    return model


def tokens(batch=2, t=4, seed=1):
    return torch.randint(math.prod(LEVELS), (batch, t, 3, 4), generator=torch.Generator().manual_seed(seed))


def check_that_it_sees_no_token_before_its_turn(model, digits, **options):
    before = model.hidden(digits, **options)
    for k in range(digits.shape[1]):
        changed = digits.clone()
        changed[:, k] = (changed[:, k] + 1) % torch.tensor(LEVELS)
        moved = (model.hidden(changed, **options) - before).abs().amax((0, 2)) > 0
        assert not moved[: k + 1].any(), f"state {int(moved.nonzero()[0])} knows token {k}"
        assert k + 1 == len(moved) or moved[k + 1]


KINDS = [
    {},
    {"positions": "plain"},
    {"positions": "learned"},
    {"context": 0},
    {"context": 2},
    {"num_labels": 0},
    {"layouts": True},
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("backend", available_backends("cpu"))
@torch.no_grad()
def test_no_state_before_token_k_moves_when_token_k_does_and_the_next_one_does(kind, backend):
    model = prior(**kind)
    check_that_it_sees_no_token_before_its_turn(model, model.digits(tokens()), backend=backend)


@pytest.mark.parametrize("grid", [(1, 1), (1, 4), (4, 1), (4, 2), (2, 3)])
@torch.no_grad()
def test_nor_on_narrow_grids_and_the_cache_agrees_there_too(grid):
    model, state = prior(grid=grid), DecodeState()
    draws = torch.Generator().manual_seed(1)
    digits = model.digits(torch.randint(math.prod(LEVELS), (2, 3, *grid), generator=draws))
    check_that_it_sees_no_token_before_its_turn(model, digits)
    outs = [model.advance(state, digits[:, :0])]
    outs += [model.advance(state, digits[:, k : k + 1]) for k in range(digits.shape[1] - 1)]
    torch.testing.assert_close(torch.stack(outs, 1), model.hidden(digits), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("given", [0, 1, 11, 12, 13, 30])
@pytest.mark.parametrize("window", [None, 1, 12, 30])
@torch.no_grad()
def test_cached_and_full_forward_agree(kind, given, window):
    model = prior(**kind)
    digits = model.digits(tokens())
    label = torch.tensor([2, -1]) if model.config.num_labels else None
    full = model.hidden(digits, label, window=window)
    state = DecodeState()
    start = digits[:, :given] if given else (None if label is not None else digits[:, :0])
    outs = [model.advance(state, start, label, window)]
    for k in range(given, digits.shape[1] - 1):
        outs.append(model.advance(state, digits[:, k : k + 1], label, window))
    torch.testing.assert_close(torch.stack(outs, 1), full[:, given:], atol=1e-5, rtol=0)
    if window is not None:
        assert all(kept.length <= window + given + 128 for kept in state.kv_caches.values())


def test_the_cache_keeps_what_a_window_needs_in_order_and_forgets_the_rest():
    kept, every = KVCache(window=5), torch.arange(1000.0).view(1, 1000, 1, 1)
    at = 0
    for n in [1, 3, 1, 40, *[1] * 600]:
        k, v = kept.append(every[:, at : at + n], -every[:, at : at + n])
        at += n
        assert torch.equal(k, every[:, at - k.shape[1] : at]) and torch.equal(v, -k)
        assert k.shape[1] >= min(at, 5 + n - 1), "each of the new positions sees its window"
    assert kept.room.shape[3] < 200


@torch.no_grad()
def test_pieces_of_any_length_may_be_taken_in():
    model = prior()
    digits = model.digits(tokens())
    full, state, at = model.hidden(digits), DecodeState(), 0
    for n in (5, 1, 19, 2, 12):
        out = model.advance(state, digits[:, at : at + n])
        at += n
        torch.testing.assert_close(out, full[:, at], atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_probabilities_of_all_codes_add_up_to_one():
    model = prior()
    fsq, hidden = FSQ(LEVELS), torch.randn(1, 32)
    every = fsq.digits(torch.arange(fsq.size))
    bits = model.head.nll_bits(hidden.expand(fsq.size, -1), every)
    assert float(torch.exp2(-bits).sum()) == pytest.approx(1, abs=1e-5)


@torch.no_grad()
def test_draws_of_the_head_have_the_probabilities_that_its_bits_say():
    model = prior()
    for table in model.head.known.tables:  # a digit has to say much about the next one
        table.weight.data *= 20
    fsq, n = FSQ(LEVELS), 60_000
    hidden = torch.randn(1, 32)
    draw = torch.Generator().manual_seed(0)
    choose = lambda logits: torch.multinomial(logits.softmax(-1), 1, generator=draw)[:, 0]  # noqa: E731
    drawn = fsq.indices(model.head.sample(hidden.expand(n, -1), choose))
    due = torch.exp2(-model.head.nll_bits(hidden.expand(fsq.size, -1), fsq.digits(torch.arange(fsq.size))))
    seen = torch.bincount(drawn, minlength=fsq.size) / n
    assert (seen - due).abs().max() < 5 * math.sqrt(0.25 / n)


def test_an_untrained_prior_costs_about_the_raw_bits_and_learns_a_constant_in_a_few_steps():
    torch.manual_seed(0)
    model = Prior(PriorConfig(levels=LEVELS, grid=(3, 4), width=32, depth=2, heads=4))
    raw = math.log2(math.prod(LEVELS))
    x = tokens(t=2)
    assert float(model.nll_bits(x).mean().detach()) == pytest.approx(raw, abs=0.3)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    constant = torch.full_like(x, 7)
    for _ in range(60):
        loss = model.nll_bits(constant).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.1 * raw


def test_shown_tokens_may_differ_from_those_to_predict():
    model, x, shown = prior(), tokens(), tokens(seed=2)
    torch.testing.assert_close(model.nll_bits(x, given=x), model.nll_bits(x))
    assert not torch.allclose(model.nll_bits(x, given=shown), model.nll_bits(x))


def test_gradients_reach_every_weight():
    model = prior()
    model.nll_bits(tokens(), torch.tensor([0, 2])).sum().backward()
    still = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    assert still == set()


def test_the_end_of_learned_positions_and_wrong_grids_are_named():
    with pytest.raises(ValueError, match="end at 8 latent frames"):
        prior(positions="learned").nll_bits(tokens(t=9))
    with pytest.raises(ValueError, match=r"expected \(B, t, 3, 4\)"):
        prior().nll_bits(torch.zeros(1, 2, 4, 3, dtype=torch.long))
    with pytest.raises(ValueError, match="'rotary'"):
        prior(positions="rotary")


def test_dropout_leaves_out_in_training_and_nothing_in_evaluation():
    torch.manual_seed(0)
    plain = Prior(PriorConfig(levels=(4, 3), grid=(2, 2), width=32, depth=2, heads=2))
    dropping = Prior(PriorConfig(levels=(4, 3), grid=(2, 2), width=32, depth=2, heads=2, dropout=0.5))
    dropping.load_state_dict(plain.state_dict())
    indices = torch.randint(12, (2, 3, 2, 2), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(plain.eval().nll_bits(indices), dropping.eval().nll_bits(indices))
        dropping.train()
        assert not torch.equal(dropping.nll_bits(indices), dropping.nll_bits(indices))
        assert torch.equal(plain.train().nll_bits(indices), plain.nll_bits(indices))


@torch.no_grad()
def test_a_layout_is_the_mean_code_of_every_place_and_belongs_to_its_label_alone():
    model, clips = prior(layouts=True), tokens(batch=3)
    before = model.layouts.clone()
    model.learn_layouts(0, clips)
    codes = FSQ(LEVELS).codes(clips).flatten(0, 1).mean(0)  # (h, w, digits)
    torch.testing.assert_close(model.layouts[1], codes.flatten(0, 1).half())
    assert torch.equal(model.layouts[[0, 2, 3]], before[[0, 2, 3]]) and not model.layouts[0].any()
    assert model.labels_with_layouts() == [0, 2] and prior().labels_with_layouts() == []


@torch.no_grad()
def test_what_stands_at_a_place_is_told_to_the_token_there():
    model = prior(layouts=True, depth=1)
    digits, label = model.digits(tokens(batch=1)), torch.tensor([2])
    contexts = model.contexts(digits)
    before = model.inputs(digits, contexts, 0, 48, label)
    model.layouts[3, 5] += 1
    moved = (model.inputs(digits, contexts, 0, 48, label) - before).abs().amax((0, 2)) > 0
    assert moved.nonzero().flatten().tolist() == [5, 17, 29, 41], "place 5 of each of the four latent frames"
    assert torch.equal(
        model.inputs(digits, contexts, 7, 31, label), model.inputs(digits, contexts, 0, 48, label)[:, 7:31]
    )


def test_a_layout_for_no_label_is_refused():
    for model, label in ((prior(layouts=True), 3), (prior(layouts=True), -1), (prior(), 0)):
        with pytest.raises(ValueError, match=f"no layout for label {label}"):
            model.learn_layouts(label, tokens())


def masked(q, k, v, slopes, window=None, reach=1):
    """Attention written out, with a mask from nothing but ``reach``: whatever the prior asks for is not looked at."""
    Lq, Lk, D = q.shape[1], k.shape[1], q.shape[3]
    distance = torch.arange(Lk - Lq, Lk)[:, None] - torch.arange(Lk)
    scores = torch.einsum("bind,bjnd->bnij", q, k) / math.sqrt(D) - slopes[:, None, None] * distance
    weights = scores.masked_fill((distance < 0) | (distance >= reach), -math.inf).softmax(-1)
    return torch.einsum("bnij,bjnd->bind", weights, v)


@pytest.mark.parametrize("reach", [1, 2, 3])
@torch.no_grad()
def test_the_configs_reach_is_a_mask_over_so_many_latent_frames_with_a_cache_too(reach, monkeypatch):
    model = prior(reach=reach)
    model.slopes /= 8  # far positions count
    digits = model.digits(tokens(t=5))
    ours, state, steps = (
        model.hidden(digits),
        DecodeState(),
        [model.advance(DecodeState(), None, torch.tensor([-1, -1]))],
    )
    for k in range(digits.shape[1] - 1):
        steps.append(model.advance(state, digits[:, k : k + 1]))
    whole = prior().hidden(digits)
    with monkeypatch.context() as patched:
        patched.setattr(transformer_block, "attention", partial(masked, reach=reach * FRAME))
        truth = model.hidden(digits)
    torch.testing.assert_close(ours, truth, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(torch.stack(steps, dim=1), truth, atol=1e-5, rtol=1e-5)
    assert (ours - whole)[:, reach * FRAME :].abs().amax() > 1e-3


def test_of_a_window_and_the_configs_reach_the_smaller_counts():
    assert [prior(reach=2).window(asked) for asked in (None, 5, 2 * FRAME, 3 * FRAME)] == [24, 5, 24, 24]
    assert [prior().window(asked) for asked in (None, 5)] == [None, 5]


@torch.no_grad()
def test_what_came_before_does_not_drown_a_latent_frames_own_tokens():
    def seen(normed: bool) -> float:
        """How far the first layer's normalised input moves when the token to the left does."""
        model = prior(normed=normed)
        for block in model.context:  # as training makes them: what they add grows and grows
            block.mlp[3].weight.data *= 1000
        digits, place = model.digits(tokens()), 17
        changed = digits.clone()
        changed[:, place - 1] = (changed[:, place - 1] + 1) % torch.tensor(LEVELS)
        contexts = model.contexts(digits)
        ours, theirs = (model.layers[0].norm(model.inputs(x, contexts, place, place + 1)) for x in (digits, changed))
        return float((ours - theirs).norm() / ours.norm())

    assert seen(normed=True) > 0.05 > 10 * seen(normed=False)


@torch.no_grad()
def test_a_prior_of_single_images_says_the_same_without_tables_for_what_came_before():
    still, model = prior(still=True, context=0), prior(context=0)
    model.load_state_dict(still.state_dict(), strict=False)
    one = tokens(t=1)
    assert torch.equal(still.nll_bits(one), model.nll_bits(one))
    assert {name.split(".")[0] for name in model.state_dict().keys() - still.state_dict().keys()} == {"before"}
    with pytest.raises(ValueError, match="not of 2 in a row"):
        still.nll_bits(tokens(t=2))
