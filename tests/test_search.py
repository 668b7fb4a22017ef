"""Laws of the search for codes: never worse than the encoder, better with time, the networks stay as they are."""

import math
from itertools import pairwise

import pytest
import torch

from vg.evaluation import psnr
from vg.hashing import weight_hash
from vg.latents.search import rate, search_codes
from vg.models import Prior, PriorConfig, TubeletConfig, TubeletTokenizer
from vg.models.digits import DigitEmbedding

PLACES = [(0, 0), (0, 2), (5, 1), (15, 2), (16, 0), (30, 1), (40, 0)]  # (token, digit) of 48 tokens


@pytest.fixture
def tokenizer():
    torch.manual_seed(0)
    return TubeletTokenizer(TubeletConfig((2, 4, 4), (8, 6, 5), width=16, encoder_depth=1, decoder_depth=1)).freeze()


@pytest.fixture
def prior():
    torch.manual_seed(2)
    prior = Prior(PriorConfig((8, 6, 5), grid=(4, 4), width=16, depth=1, heads=2, context=1))
    for weight in prior.parameters():
        weight.data += 0.3 * torch.randn_like(weight)
    return prior.freeze()


@pytest.fixture
def video():
    return torch.rand(3, 1, 4, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


def quality(tokenizer, indices, video):
    return psnr(tokenizer.decode(indices, video.shape[2:]), video)


def test_no_steps_give_the_encoders_tokens(tokenizer, video):
    assert torch.equal(search_codes(tokenizer, video, 0, progress=False), tokenizer.encode(video))


def test_no_clip_is_worse_for_it_and_more_steps_are_never_worse(tokenizer, video):
    scores = [quality(tokenizer, search_codes(tokenizer, video, n, progress=False), video) for n in (0, 1, 5, 30)]
    for less, more in pairwise(scores):
        assert (more >= less - 1e-4).all()
    assert (scores[-1] > scores[0] + 0.05).all(), "thirty steps find nothing"


def test_steps_that_lead_astray_are_not_taken(tokenizer, video):
    wild = search_codes(tokenizer, video, 5, lr=1e3, progress=False)
    assert (quality(tokenizer, wild, video) >= quality(tokenizer, tokenizer.encode(video), video) - 1e-4).all()


def test_where_the_encoder_was_right_already_its_tokens_stay(tokenizer, video, monkeypatch):
    z = tokenizer.vectors(video).detach()
    codes, indices = tokenizer.quantizer(z)
    monkeypatch.setattr(tokenizer, "vectors", lambda video: z)
    nearly = tokenizer.reconstruct(codes).detach() + 1e-4 * torch.randn(video.shape)
    assert torch.equal(search_codes(tokenizer, nearly, 5, lr=1e3, progress=False), indices)


def test_it_finds_the_same_where_the_caller_wants_no_gradients(tokenizer, prior, video):
    options = {"prior": prior, "price": 1.0, "progress": False}
    with torch.no_grad():
        found = search_codes(tokenizer, video, 3, **options)
    assert torch.equal(found, search_codes(tokenizer, video, 3, **options))


def test_clips_are_independent_of_each_other(tokenizer, video):
    together = search_codes(tokenizer, video, 5, progress=False)
    alone = torch.cat([search_codes(tokenizer, clip[None], 5, progress=False) for clip in video])
    assert (together == alone).float().mean() > 0.98  # a tie may fall either way


def test_the_tokenizer_stays_as_it_is_and_a_ragged_clip_fits(tokenizer):
    before = weight_hash(tokenizer)
    ragged = torch.rand(1, 1, 3, 14, 15) * 2 - 1
    indices = search_codes(tokenizer, ragged, 3, progress=False)
    assert indices.shape == tokenizer.encode(ragged).shape
    assert weight_hash(tokenizer) == before
    assert all(p.grad is None for p in tokenizer.parameters())


def true_slope(prior, indices, place):
    """What all tokens of a clip cost with one digit a level higher less a level lower, for each level between."""
    digits = prior.digits(indices)
    levels = prior.levels[place[-1]]
    here = int(digits[0, place[0], place[1]])
    above, below = min(here + 1, levels - 1), max(here - 1, 0)
    costs = []
    for level in (above, below):
        other = digits.clone()
        other[0, place[0], place[1]] = level
        costs.append(float(prior.nll_bits(prior.quantizer.indices(other).view(indices.shape)).sum()))
    return (costs[0] - costs[1]) / (above - below)


@torch.no_grad()
def test_the_rate_is_the_priors_bits_and_its_slope_what_the_last_digit_would_change(prior):
    indices = torch.randint(240, (40, 1, 4, 4), generator=torch.Generator().manual_seed(0))
    bits, slopes = rate(prior, indices)
    torch.testing.assert_close(bits, prior.nll_bits(indices).flatten(1).sum(1))
    assert slopes.shape == (40, 1, 4, 4, 3)
    for clip, slope in zip(indices[:, None], slopes):  # nothing comes after it, so that it changes nothing else
        assert float(slope[0, -1, -1, -1]) == pytest.approx(max(-8, min(8, true_slope(prior, clip, (15, 2)))), abs=1e-3)
    assert set(prior.digits(indices)[:, -1, -1].tolist()) == set(range(5)), "levels at both ends and between"


def own_slope(prior, indices, place):
    """The same for what the digit itself costs."""
    digits = prior.digits(indices)
    for i, logits in enumerate(prior.head.given(prior.hidden(digits), digits)):
        if i == place[1]:
            bits = -logits.log_softmax(-1)[0, place[0]] / math.log(2)
    here = int(digits[0, place[0], place[1]])
    above, below = min(here + 1, len(bits) - 1), max(here - 1, 0)
    return float(bits[above] - bits[below]) / (above - below)


@torch.no_grad()
def test_the_slope_counts_what_a_digit_does_to_the_digits_and_tokens_after_it(prior):
    prior = prior.double()
    tables = [table for module in prior.modules() if isinstance(module, DigitEmbedding) for table in module.tables]
    for table in tables:  # embeddings on a short straight line: to go from level to level is to go along the gradient
        n, d = table.weight.shape
        begin, step = torch.randn(2, d, dtype=torch.double)
        table.weight.copy_(begin + 1e-4 * torch.arange(n)[:, None] * step)
    indices = torch.randint(240, (1, 3, 4, 4), generator=torch.Generator().manual_seed(0))
    slopes = rate(prior, indices)[1].view(48, 3)
    plain = [own_slope(prior, indices, (k, i)) for k, i in PLACES]
    true = [true_slope(prior, indices, place) for place in PLACES]
    found = [float(slopes[place]) for place in PLACES]
    assert found == pytest.approx(true, abs=2e-6)
    assert max(abs(a - b) for a, b in zip(plain, true)) > 1e-4, "the digits' own bits alone are another number"


def test_with_a_price_the_bargain_is_never_worse_and_bits_are_saved(tokenizer, prior, video):
    def bargain(indices, price):
        bits = rate(prior, indices)[0]
        return quality(tokenizer, indices, video) - price * bits / 1000, bits

    encoded, for_the_picture = tokenizer.encode(video), search_codes(tokenizer, video, 20, progress=False)
    for price in (1.0, 20.0):
        found = search_codes(tokenizer, video, 20, prior=prior, price=price, progress=False)
        assert (bargain(found, price)[0] >= bargain(encoded, price)[0] - 1e-4).all()
    assert (bargain(found, price)[0] > bargain(for_the_picture, price)[0]).all()
    assert (bargain(found, price)[1] < 0.97 * bargain(encoded, price)[1]).all(), "dear bits are saved"
    free = search_codes(tokenizer, video, 20, prior=prior, price=0.0, progress=False)
    assert torch.equal(free, for_the_picture), "bits that cost nothing have no say"


def test_a_better_picture_that_costs_more_than_it_is_worth_is_not_taken(tokenizer, prior, video, monkeypatch):
    costs = iter([0.0, *[1e6] * 20])
    monkeypatch.setattr(
        "vg.latents.search.rate", lambda prior, indices: (torch.full((3,), next(costs)), torch.zeros(()))
    )
    assert torch.equal(
        search_codes(tokenizer, video, 20, prior=prior, price=1.0, progress=False), tokenizer.encode(video)
    )


def test_a_price_needs_the_prior_of_these_tokens(tokenizer, prior, video):
    with pytest.raises(ValueError, match="the prior is none"):
        search_codes(tokenizer, video, 1, price=1.0)
    other = Prior(PriorConfig((5, 5), grid=(4, 4), width=16, depth=1, heads=2))
    with pytest.raises(ValueError, match=r"levels \[5, 5\].*\[8, 6, 5\]"):
        search_codes(tokenizer, video, 1, prior=other, price=1.0)


@pytest.mark.parametrize(("options", "said"), [({"steps": -1}, "steps is -1"), ({"price": -0.5}, "price -0.5")])
def test_a_negative_number_is_named(tokenizer, video, options, said):
    with pytest.raises(ValueError, match=said):
        search_codes(tokenizer, video, **options)


def test_details_stay_where_the_encoder_may_have_them(video):
    torch.manual_seed(0)
    config = TubeletConfig((2, 4, 4), (8, 5), (1, 2, 2), width=16, detail_levels=(5, 5), detail_share=0.25)
    model = TubeletTokenizer(config).freeze()
    tokens = search_codes(model, video, 30, progress=False)
    free = model.quantizer.digits(tokens)[~model.used(video)]
    assert (free == 2).all(), "the search gave details to patches that have none"
    assert not torch.equal(tokens, model.encode(video))
