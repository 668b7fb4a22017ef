"""Laws of guided priors: the condition is known to all tokens, a token to none before it, and images come out of it."""

import math
from types import SimpleNamespace

import pytest
import torch

from vg import checkpoints
from vg.experiments.batches import image_prior_batches
from vg.experiments.losses import image_prior_loss
from vg.models import (
    VQVAE,
    VQVAE2,
    Prior,
    PriorConfig,
    QuantizerConfig,
    TwoLevelConfig,
    TwoLevelPrior,
    VQVAE2Config,
    VQVAEConfig,
)
from vg.models.kv_cache import DecodeState
from vg.sampling import generate_tokens, sample_images

SHAPE = dict(levels=(24,), grid=(4, 6), width=32, depth=2, heads=4, context=0, num_labels=3)
GUIDE = dict(condition_levels=(5, 4), condition_grid=(2, 3), condition_depth=1)


def shake(model):
    for weight in model.parameters():  # nothing at zero: every path has to carry something
        weight.data += 0.1 * torch.randn_like(weight)
    return model.eval()


def prior(seed=0, **changes):
    torch.manual_seed(seed)
    return shake(Prior(PriorConfig(**(SHAPE | GUIDE | changes))))


def tokens(codes=24, grid=(4, 6), batch=2, t=2, seed=1):
    return torch.randint(codes, (batch, t, *grid), generator=torch.Generator().manual_seed(seed))


def guide(seed=2, **changes):
    return tokens(20, (2, 3), seed=seed, **changes)


@pytest.mark.parametrize("changes", [{}, {"context": 1}, {"condition_depth": 0}, {"condition_levels": ()}], ids=str)
@torch.no_grad()
def test_no_state_before_token_k_moves_when_token_k_does_with_a_guide_too(changes):
    model = prior(**changes)
    known = guide() if model.config.condition_levels else None
    digits = model.digits(tokens())
    before = model.hidden(digits, condition=known)
    for k in range(digits.shape[1]):
        changed = digits.clone()
        changed[:, k] = (changed[:, k] + 1) % 24
        moved = (model.hidden(changed, condition=known) - before).abs().amax((0, 2)) > 0
        assert not moved[: k + 1].any(), f"state {int(moved.nonzero()[0])} knows token {k}"
        assert k + 1 == len(moved) or moved[k + 1]


@pytest.mark.parametrize("depth", [0, 1])
@torch.no_grad()
def test_a_condition_of_one_latent_frame_moves_that_frame_from_its_first_token_and_none_before(depth):
    model = prior(condition_depth=depth)
    digits = model.digits(tokens(t=3))
    before = model.hidden(digits, condition=guide(t=3))
    for frame in range(3):
        changed = guide(t=3)
        changed[:, frame, 1, 2] = (changed[:, frame, 1, 2] + 1) % 20
        moved = (model.hidden(digits, condition=changed) - before).abs().amax((0, 2)) > 0
        assert not moved[: frame * 24].any()
        assert moved[frame * 24 + 2 * 6 + 4], "the first of the places that this token of the condition stands for"
        if depth == 0:
            assert not moved[frame * 24 : frame * 24 + 2 * 6 + 4].any(), "with no network it is heard there alone"


@pytest.mark.parametrize("changes", [{}, {"context": 1}], ids=str)
@pytest.mark.parametrize("window", [None, 10])
@torch.no_grad()
def test_cached_and_full_forward_agree_with_a_guide(changes, window):
    model, known = prior(**changes), guide()
    digits, label = model.digits(tokens()), torch.tensor([2, -1])
    full = model.hidden(digits, label, known, window=window)
    state, known = DecodeState(), model.conditioning(known)
    outs = [model.advance(state, None, label, window, known)]
    for k in range(digits.shape[1] - 1):
        outs.append(model.advance(state, digits[:, k : k + 1], label, window, known))
    torch.testing.assert_close(torch.stack(outs, 1), full, atol=1e-5, rtol=0)


def test_a_prior_without_a_guide_has_the_weights_it_always_had():
    names = {name for name, _ in prior(condition_levels=()).named_parameters()}
    assert names < {name for name, _ in prior().named_parameters()}
    assert not any("condition" in name for name in names)


def test_gradients_reach_every_weight_of_both_levels():
    torch.manual_seed(0)
    config = TwoLevelConfig((20,), (2, 3), (24,), (4, 6), width=32, depth=1, heads=4, condition_depth=1, num_labels=3)
    model = shake(TwoLevelPrior(config))
    top, bottom = model.nll_bits(guide()[:, 0], tokens()[:, 0], torch.tensor([0, 2]))
    assert top.shape == (2, 2, 3) and bottom.shape == (2, 4, 6)
    (top.sum() + bottom.sum()).backward()
    still = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    video_only = {f"{part}.{name}" for part in ("top", "bottom") for name in ("before.tables.0.weight",)}
    assert still <= video_only, "a single latent frame has no frames before it"


@torch.no_grad()
def test_the_two_levels_multiply_to_one_probability_and_shown_tokens_may_differ():
    torch.manual_seed(0)
    config = TwoLevelConfig((20,), (2, 3), (24,), (4, 6), width=32, depth=1, heads=4, condition_depth=1, num_labels=0)
    model = shake(TwoLevelPrior(config))
    top, bottom = guide()[:, 0], tokens()[:, 0]
    above, below = model.nll_bits(top, bottom)
    torch.testing.assert_close(above, model.top.nll_bits(top[:, None])[:, 0])
    torch.testing.assert_close(below, model.bottom.nll_bits(bottom[:, None], condition=top[:, None])[:, 0])
    other = guide(seed=5)[:, 0]
    assert not torch.allclose(below, model.nll_bits(other, bottom)[1]), "the bottom does not listen to the top"
    torch.testing.assert_close(model.nll_bits(top, bottom, given=(top, bottom)), (above, below))
    assert not torch.allclose(model.nll_bits(top, bottom, given=(other, bottom))[0], above)


def test_a_missing_needless_short_or_misshapen_guide_is_named():
    with pytest.raises(ValueError, match="needs a condition"):
        prior().nll_bits(tokens())
    with pytest.raises(ValueError, match="takes no condition"):
        prior(condition_levels=()).nll_bits(tokens(), condition=guide())
    with pytest.raises(ValueError, match=r"expected \(B, t, 2, 3\)"):
        prior().nll_bits(tokens(), condition=tokens())
    with pytest.raises(ValueError, match="the condition ends at token 24"):
        prior().nll_bits(tokens(t=2), condition=guide(t=1))
    with pytest.raises(ValueError, match="is no multiple"):
        prior(condition_grid=(2, 2))


# ---- training


def test_batches_are_rows_of_top_bottom_and_class_that_belong_together():
    n = 50
    top = torch.arange(n, dtype=torch.int32).view(n, 1, 1).expand(n, 2, 3)
    bottom, labels = 100 + top[:, :1, :1].expand(n, 4, 6), torch.arange(n) % 3
    draw = image_prior_batches(top, bottom, labels, batch=8)
    batch = draw(torch.Generator().manual_seed(0))
    assert batch.shape == (8, 6 + 24 + 1) and batch.dtype == torch.int64
    assert torch.equal(batch[:, :6], batch[:, :1].expand(-1, 6)), "top"
    assert torch.equal(batch[:, 6:30], 100 + batch[:, :1].expand(-1, 24)), "bottom"
    assert torch.equal(batch[:, 30], batch[:, 0] % 3), "class"
    assert torch.equal(batch, draw(torch.Generator().manual_seed(0)))


class Watched:
    """A two-level prior that notes what it is asked."""

    def __init__(self, num_labels=3):
        self.top, self.bottom = (
            SimpleNamespace(grid=grid, tokens_per_latent_frame=math.prod(grid)) for grid in ((2, 3), (4, 6))
        )
        self.config = SimpleNamespace(num_labels=num_labels)

    def nll_bits(self, top, bottom, label, given):
        self.asked = top, bottom, label, given
        return torch.full(top.shape, 2.0), torch.full(bottom.shape, 3.0)


def test_the_loss_corrupts_what_is_shown_never_what_is_to_be_predicted_and_forgets_some_classes():
    torch.manual_seed(0)
    top, bottom = torch.randint(20, (400, 6)), torch.randint(100, 124, (400, 24))
    batch = torch.cat([top, bottom, torch.ones(400, 1, dtype=torch.long)], dim=1)
    watched = Watched()
    assert image_prior_loss(token_noise=0.2, drop_label=0.25)(watched, batch) == 5
    true_top, true_bottom, label, given = watched.asked
    assert torch.equal(true_top.flatten(1), top) and torch.equal(true_bottom.flatten(1), bottom)
    for truth, shown in zip((true_top, true_bottom), given):
        assert 0.07 < (truth != shown).float().mean() < 0.13, "half of 20%, less what happens to be the same"
        assert torch.isin(shown, truth).all()
    assert 0.15 < (label == -1).float().mean() < 0.35 and set(label.tolist()) == {-1, 1}
    image_prior_loss()(watched, batch)
    assert all(torch.equal(a, b) for a, b in zip(watched.asked[:2], watched.asked[3]))
    image_prior_loss()(unlabelled := Watched(num_labels=0), batch)
    assert unlabelled.asked[2] is None


# ---- images


def models(two=True):
    torch.manual_seed(0)
    shape = dict(width=16, encoder_depth=1, decoder_depth=1)
    if two:
        config = TwoLevelConfig(
            (32,), (2, 2), (16,), (4, 4), width=32, depth=1, heads=4, condition_depth=1, num_labels=3
        )
        made = (
            shake(TwoLevelPrior(config)),
            VQVAE2(
                VQVAE2Config(
                    **shape, quantizer=QuantizerConfig("vq", 16, 4), top_quantizer=QuantizerConfig("vq", 32, 4)
                )
            ),
        )
    else:
        config = PriorConfig((16,), (4, 4), width=32, depth=1, heads=4, context=0, num_labels=3)
        made = shake(Prior(config)), VQVAE(VQVAEConfig(**shape, quantizer=QuantizerConfig("vq", 16, 4)))
    autoencoder = made[1]
    autoencoder.quantize(torch.rand(16, 3, 16, 16))  # so that its codes differ
    return made[0].freeze(), autoencoder.freeze()


@pytest.mark.parametrize("two", [True, False])
def test_images_are_seeded_in_range_and_independent_of_their_batch(two):
    both = models(two)
    batch = sample_images(*both, batch=3, seed=5, progress=False)
    assert batch.shape == (3, 3, 16, 16) and batch.abs().max() <= 1
    assert torch.equal(batch, sample_images(*both, batch=3, seed=5, progress=False))
    for b in range(3):
        one = sample_images(*both, seed=5 + b, progress=False)
        torch.testing.assert_close(one[0], batch[b], atol=1e-5, rtol=0)


@pytest.mark.parametrize("two", [True, False])
def test_each_image_may_have_a_class_of_its_own(two):
    both = models(two)
    mixed = sample_images(*both, batch=3, label=[2, 0, 1], guidance=2.0, progress=False)
    for b, label in enumerate([2, 0, 1]):
        alone = sample_images(*both, batch=3, label=label, guidance=2.0, progress=False)
        torch.testing.assert_close(alone[b], mixed[b], atol=1e-5, rtol=0)


@torch.no_grad()
def test_bottom_tokens_are_drawn_from_what_a_full_forward_says_given_the_top():
    (prior, _), top = models(), tokens(32, (2, 2), t=1)
    made = generate_tokens(prior.bottom, None, 1, batch=2, top_k=1, condition=top, progress=False)
    hidden = prior.bottom.hidden(prior.bottom.digits(made), condition=top)
    best = prior.bottom.head.logits[0](hidden).argmax(-1)
    assert torch.equal(best, prior.bottom.digits(made)[..., 0])


@torch.no_grad()
def test_draws_have_the_probabilities_of_the_prior_with_guidance_of_the_bottom_too():
    (prior, _), top, n = models(), tokens(32, (2, 2), batch=1, t=1), 3000
    options = dict(label=1, guidance=1.5, condition=top.expand(n, -1, -1, -1), progress=False)
    made = generate_tokens(prior.bottom, None, 1, batch=n, **options)[:, 0, 0, 0]
    state = prior.bottom.digits(torch.zeros(1, 1, 4, 4, dtype=torch.long))
    logits = [
        prior.bottom.head.logits[0](prior.bottom.hidden(state, torch.tensor([label]), top)[:, 0])[0]
        for label in (1, -1)
    ]
    due = (logits[1] + 1.5 * (logits[0] - logits[1])).softmax(-1)
    assert (torch.bincount(made, minlength=16) / n - due).abs().max() < 5 * math.sqrt(0.25 / n)


def test_models_that_do_not_belong_together_and_wrong_numbers_are_named():
    two, one = models(), models(two=False)
    with pytest.raises(ValueError, match=r"levels \[32\] and \[16\], the tokenizer's have \[16\]"):
        sample_images(two[0], one[1])
    with pytest.raises(ValueError, match=r"levels \[16\], the tokenizer's have \[32\] and \[16\]"):
        sample_images(one[0], two[1])
    with pytest.raises(ValueError, match="label is 3"):
        sample_images(*two, batch=2, label=[0, 3])
    with pytest.raises(ValueError, match="temperature is 0"):
        sample_images(*two, temperature=0)


def test_a_checkpoint_holds_both_levels(tmp_path):
    prior, _ = models()
    checkpoints.save("both", prior, {}, tmp_path)
    again = checkpoints.load("both", tmp_path)
    assert again.config == prior.config and again.frozen
    top, bottom = tokens(32, (2, 2))[:, 0], tokens(16, (4, 4))[:, 0]
    for ours, theirs in zip(prior.nll_bits(top, bottom), again.nll_bits(top, bottom)):
        torch.testing.assert_close(ours, theirs, atol=0.02, rtol=0)
