"""Laws of training the image models: what ships belongs together, and its card says what it was measured on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vg import checkpoints
from vg.data.images import Images, ImageSet
from vg.hashing import weight_hash
from vg.models import QuantizerConfig
from vg.sampling import sample_images
from vg.train import images as train


def image_set(n, seed):
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 2, n)
    pixels = draw.integers(0, 60, (n, 3, 16, 16)) + 150 * labels[:, None, None, None]  # dark ones and light ones
    return ImageSet(pixels.astype(np.uint8), torch.from_numpy(labels))


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Two classes of tiny images, and small quick models for them."""
    sets = image_set(80, 0), image_set(40, 1)
    images = Images("noise", "drawn here", None, ("dark", "light"), *sets, sha256="0" * 64, folder=Path("."))
    monkeypatch.setenv("VG_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(train, "cifar10", lambda: images)
    for name in ("VQVAE_CONFIG", "VQVAE2_CONFIG"):
        config = replace(
            getattr(train, name), width=16, encoder_depth=1, decoder_depth=1, quantizer=QuantizerConfig("vq", 16)
        )
        monkeypatch.setattr(train, name, config)
    monkeypatch.setattr(train, "VQVAE2_CONFIG", replace(train.VQVAE2_CONFIG, top_quantizer=QuantizerConfig("vq", 16)))
    for name in ("VQVAE_RECIPE", "VQVAE2_RECIPE", "PRIOR_RECIPE"):
        monkeypatch.setattr(train, name, replace(getattr(train, name), steps=12, warmup=2))
    monkeypatch.setattr(train, "PRIOR_SHAPE", dict(width=32, depth=1, heads=2))
    return images


def test_one_level_ships_with_what_it_reaches_beside_pca(small, tmp_path):
    train.train_vqvae(tmp_path)
    model, card = checkpoints.load("vqvae-cifar10", tmp_path), checkpoints.card("vqvae-cifar10", tmp_path)
    metrics = card.facts["metrics"]
    assert metrics["images"] == 40 and metrics["bits_an_image"] == model.raw_bits((16, 16)) == 16 * 4
    assert {"psnr", "psnr_pca", "usage", "perplexity"} < metrics.keys()
    assert card.facts["data"]["sha256"] == small.sha256 and card.facts["recipe"]["steps"] == 12
    assert train.autoencoder_facts(model, small) == metrics, "what is measured is what ships"


def test_two_levels_and_their_prior_belong_together_and_make_images_of_a_class(small, tmp_path):
    train.train_vqvae2(tmp_path)
    train.train_image_prior(tmp_path)
    tokenizer, prior = (checkpoints.load(name, tmp_path) for name in ("vqvae2-cifar10", "prior-cifar10"))
    facts = checkpoints.card("prior-cifar10", tmp_path).facts
    assert facts["tokenizer"] == {"name": "vqvae2-cifar10", "weights": weight_hash(tokenizer)}
    metrics = facts["metrics"]
    assert metrics["top_uniform"] == metrics["bottom_uniform"] == 4
    total = 4 * metrics["top_bits_a_token"] + 16 * metrics["bottom_bits_a_token"]
    assert metrics["bits_an_image"] == pytest.approx(total, abs=0.1)
    assert sample_images(prior, tokenizer, batch=2, label=[0, 1], progress=False).shape == (2, 3, 16, 16)


def test_all_images_are_encoded_in_order_whatever_the_batch(small):
    torch.manual_seed(0)
    model = train.VQVAE2(train.VQVAE2_CONFIG).eval()
    whole = model.encode(small.test.take(range(40)))
    for batch in (7, 40, 100):
        for ours, theirs in zip(train.encode_images(model, small.test, batch), whole):
            assert torch.equal(ours.long(), theirs)
