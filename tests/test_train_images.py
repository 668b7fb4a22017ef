"""Laws of training the image models: what ships belongs together, and its card says what it was measured on."""

from pathlib import Path

import numpy as np
import pytest
import torch

from vg import checkpoints
from vg.data.images import Images, ImageSet
from vg.evaluation.images import autoencoder_facts, encode_images
from vg.experiments import ImageExperiment, train
from vg.experiments import images as training
from vg.experiments.config import ImagePriorSize
from vg.hashing import weight_hash
from vg.models import VQVAE2, QuantizerConfig, VQVAE2Config, VQVAEConfig
from vg.sampling import sample_images
from vg.training import Recipe


def image_set(n, seed):
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 2, n)
    pixels = draw.integers(0, 60, (n, 3, 16, 16)) + 150 * labels[:, None, None, None]  # dark ones and light ones
    return ImageSet(pixels.astype(np.uint8), torch.from_numpy(labels))


RECIPE = Recipe(12, muon=2e-2, warmup=2, ema=0.0)
SMALL = dict(width=16, encoder_depth=1, decoder_depth=1, quantizer=QuantizerConfig("vq", 16))
TWO_LEVELS = VQVAE2Config(**SMALL, top_quantizer=QuantizerConfig("vq", 16))


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Two classes of tiny images, and small quick models for them."""
    sets = image_set(80, 0), image_set(40, 1)
    images = Images("noise", "drawn here", None, ("dark", "light"), *sets, sha256="0" * 64, folder=Path("."))
    monkeypatch.setenv("VG_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(training, "cifar10", lambda: images)
    return images


def test_one_level_ships_with_what_it_reaches_beside_pca(small, tmp_path):
    train(ImageExperiment("vqvae-cifar10", VQVAEConfig(**SMALL), RECIPE), tmp_path)
    model, card = checkpoints.load("vqvae-cifar10", tmp_path), checkpoints.card("vqvae-cifar10", tmp_path)
    metrics = card.facts["metrics"]
    assert metrics["images"] == 40 and metrics["bits_an_image"] == model.raw_bits((16, 16)) == 16 * 4
    assert {"psnr", "psnr_pca", "usage", "perplexity"} < metrics.keys()
    assert card.facts["data"]["sha256"] == small.sha256 and card.facts["experiment"]["recipe"]["steps"] == 12
    assert autoencoder_facts(model, small) == metrics, "what is measured is what ships"


def test_two_levels_and_their_prior_belong_together_and_make_images_of_a_class(small, tmp_path, monkeypatch):
    train(ImageExperiment("vqvae2-cifar10", TWO_LEVELS, RECIPE), tmp_path)
    monkeypatch.setattr(checkpoints, "folder", lambda: tmp_path)  # where finished models are looked for by name
    size = ImagePriorSize(width=32, depth=1, heads=2)
    train(ImageExperiment("prior-cifar10", size, RECIPE, use="vqvae2-cifar10"), tmp_path)
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
    model = VQVAE2(TWO_LEVELS).eval()
    whole = model.encode(small.test.take(range(40)))
    for batch in (7, 40, 100):
        for ours, theirs in zip(encode_images(model, small.test, batch), whole):
            assert torch.equal(ours.long(), theirs)
