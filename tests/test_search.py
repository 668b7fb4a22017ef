"""Laws of the search for codes: never worse than the encoder, better with time, the networks stay as they are."""

from itertools import pairwise

import pytest
import torch

from vg.hashing import weight_hash
from vg.metrics import psnr
from vg.models import TubeletConfig, TubeletTokenizer
from vg.search import search


@pytest.fixture
def tokenizer():
    torch.manual_seed(0)
    return TubeletTokenizer(TubeletConfig((2, 4, 4), (8, 6, 5), width=16, encoder_depth=1, decoder_depth=1)).freeze()


@pytest.fixture
def video():
    return torch.rand(3, 1, 4, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


def quality(tokenizer, indices, video):
    return psnr(tokenizer.decode(indices, video.shape[2:]), video)


def test_no_steps_give_the_encoders_tokens(tokenizer, video):
    assert torch.equal(search(tokenizer, video, 0, progress=False), tokenizer.encode(video))


def test_no_clip_is_worse_for_it_and_more_steps_are_never_worse(tokenizer, video):
    scores = [quality(tokenizer, search(tokenizer, video, n, progress=False), video) for n in (0, 1, 5, 30)]
    for less, more in pairwise(scores):
        assert (more >= less - 1e-4).all()
    assert (scores[-1] > scores[0] + 0.05).all(), "thirty steps find nothing"


def test_steps_that_lead_astray_are_not_taken(tokenizer, video):
    wild = search(tokenizer, video, 5, lr=1e3, progress=False)
    assert (quality(tokenizer, wild, video) >= quality(tokenizer, tokenizer.encode(video), video) - 1e-4).all()


def test_where_the_encoder_was_right_already_its_tokens_stay(tokenizer, video, monkeypatch):
    z = tokenizer.vectors(video).detach()
    codes, indices = tokenizer.quantizer(z)
    monkeypatch.setattr(tokenizer, "vectors", lambda video: z)
    nearly = tokenizer.reconstruct(codes).detach() + 1e-4 * torch.randn(video.shape)
    assert torch.equal(search(tokenizer, nearly, 5, lr=1e3, progress=False), indices)


def test_clips_are_independent_of_each_other(tokenizer, video):
    together = search(tokenizer, video, 5, progress=False)
    alone = torch.cat([search(tokenizer, clip[None], 5, progress=False) for clip in video])
    assert (together == alone).float().mean() > 0.98  # a tie may fall either way


def test_the_tokenizer_stays_as_it_is_and_a_ragged_clip_fits(tokenizer):
    before = weight_hash(tokenizer)
    ragged = torch.rand(1, 1, 3, 14, 15) * 2 - 1
    indices = search(tokenizer, ragged, 3, progress=False)
    assert indices.shape == tokenizer.encode(ragged).shape
    assert weight_hash(tokenizer) == before
    assert all(p.grad is None for p in tokenizer.parameters())


def test_a_negative_number_of_steps_is_named(tokenizer, video):
    with pytest.raises(ValueError, match="steps is -1"):
        search(tokenizer, video, -1)


def test_details_stay_where_the_encoder_may_have_them(video):
    torch.manual_seed(0)
    config = TubeletConfig((2, 4, 4), (8, 5), (2, 2), width=16, detail_levels=(5, 5), detail_share=0.25)
    model = TubeletTokenizer(config).freeze()
    tokens = search(model, video, 30, progress=False)
    free = model.quantizer.digits(tokens)[~model.used(video)]
    assert (free == 2).all(), "the search gave details to patches that have none"
    assert not torch.equal(tokens, model.encode(video))
