"""Laws of the VAE: the KL and the likelihood are what they claim, the bound is a bound, gradients pass the draw."""

import math
from dataclasses import asdict

import pytest
import torch
from torch import distributions as dist

from vg import checkpoints
from vg.data import image_drawings
from vg.evaluation import images as measuring
from vg.evaluation import psnr
from vg.experiments import ImageExperiment, train
from vg.experiments import images as training
from vg.models import VAE, VAEConfig
from vg.models.vae import Elbo, discretized_logistic, kl_to_normal
from vg.training import Recipe

LEVELS = torch.arange(256) / 127.5 - 1


def vae(seed=0, **options):
    torch.manual_seed(seed)
    return VAE(VAEConfig(**({"latents": 6, "width": 8} | options)))


def images(batch=3, channels=3, size=32, seed=0):
    levels = torch.randint(256, (batch, channels, size, size), generator=torch.Generator().manual_seed(seed))
    return levels / 127.5 - 1


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_closed_form_kl_is_torchs():
    mean, log_variance = 3 * torch.randn(500, generator=seeded(1)), 4 * torch.randn(500, generator=seeded(2))
    posterior = dist.Normal(mean.double(), (0.5 * log_variance.double()).exp())
    wanted = dist.kl_divergence(posterior, dist.Normal(0.0, 1.0))
    torch.testing.assert_close(kl_to_normal(mean, log_variance).double(), wanted, rtol=1e-4, atol=1e-5)
    assert kl_to_normal(torch.zeros(1), torch.zeros(1)) == 0


@pytest.mark.parametrize("mean", [-40.0, -1.0, -0.3, 0.0, 0.999, 7.0])
@pytest.mark.parametrize("log_scale", [-7.0, -4.0, -1.0, 3.0])
def test_the_256_probabilities_sum_to_one(mean, log_scale):
    logs = discretized_logistic(LEVELS, torch.tensor(mean), torch.tensor(log_scale))
    assert logs.isfinite().all() and (logs <= 0).all()
    assert float(logs.double().exp().sum()) == pytest.approx(1, abs=2e-5)


def test_a_bins_probability_is_the_difference_of_two_values_of_the_cdf():
    mean, log_scale = torch.tensor(0.2), torch.tensor(-2.5)
    edges = (torch.arange(257, dtype=torch.float64) - 0.5) / 127.5 - 1
    edges[0], edges[-1] = -math.inf, math.inf  # the tails belong to the lowest and the highest level
    cdf = torch.sigmoid((edges - mean) / log_scale.double().exp())
    torch.testing.assert_close(
        discretized_logistic(LEVELS, mean, log_scale).double().exp(), cdf.diff(), atol=1e-6, rtol=0
    )


def test_far_tails_keep_their_gradient():
    mean = torch.tensor(60.0, requires_grad=True)  # the plain difference of two sigmoids is 0 here, its log -inf
    logs = discretized_logistic(LEVELS[:250], mean, torch.tensor(-1.0))
    logs.sum().backward()
    assert logs.isfinite().all() and mean.grad.isfinite() and mean.grad < 0


def test_pixels_between_two_levels_are_rounded_to_the_nearest():
    noise = 0.4 / 127.5 * (2 * torch.rand(256, generator=seeded()) - 1)
    at = torch.tensor(0.1), torch.tensor(-2.0)
    assert torch.equal(discretized_logistic(LEVELS + noise, *at), discretized_logistic(LEVELS, *at))


@pytest.mark.parametrize("scale", ["colour", "pixel"])
@pytest.mark.parametrize(("channels", "size"), [(3, 32), (1, 8), (3, 24), (1, 40)])
def test_shapes_ranges_and_gradients_to_every_weight(channels, size, scale):
    model = vae(channels=channels, size=size, scale=scale)
    x = images(2, channels, size)
    mean, log_variance = model.encode(x)
    assert mean.shape == log_variance.shape == (2, 6)
    far = model.decode(1e4 * torch.randn(2, 6, generator=seeded()))
    assert far.shape == x.shape and far.abs().max() == 1, "clamped"
    assert model(x).shape == x.shape
    elbo = model.elbo(x)
    assert elbo.kl.shape == (2, 6) and elbo.distortion.shape == (2,) and elbo.dims == model.dims == x[0].numel()
    assert (elbo.kl >= 0).all()
    step = torch.optim.SGD(model.parameters(), lr=1e-3)  # what begins at zero holds others' gradients back once
    for _ in range(2):
        step.zero_grad()
        model.bits_per_dim(x).mean().backward()
        step.step()
    unused = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert unused == []


def test_bits_are_the_parts_put_together():
    model, x = vae(), images()
    elbo = model.elbo(x, seeded())
    mean, log_variance = model.encode(x)
    z = model.sample(mean, log_variance, seeded())
    by_hand = -discretized_logistic(x, *model.likelihood(z)).sum((1, 2, 3)) / math.log(2)
    torch.testing.assert_close(elbo.distortion, by_hand)
    for beta in (0.0, 1.0, 7.0):
        wanted = (by_hand + beta * kl_to_normal(mean, log_variance).sum(1) / math.log(2)) / 3072
        torch.testing.assert_close(model.bits_per_dim(x, seeded(), beta=beta), wanted)


def test_an_image_of_noise_costs_about_eight_bits_a_number_at_best():
    """No model knows uniform noise: the mean over images is at least 8 bits, whatever the weights."""
    x = images(16)
    for seed in range(3):
        assert vae(seed).bits_per_dim(x, seeded()).mean().item() > 7.99


def test_draws_follow_the_posterior_and_the_seed():
    model = vae()
    mean, log_variance = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, -3.0]])
    z = model.sample(mean.expand(40_000, 2), log_variance.expand(40_000, 2), seeded())
    torch.testing.assert_close(z.mean(0), mean[0], atol=0.02, rtol=0)
    torch.testing.assert_close(z.std(0), (0.5 * log_variance[0]).exp(), atol=0.02, rtol=0)
    again, other = (model.sample(mean, log_variance, seeded(k)) for k in (0, 1))
    assert torch.equal(model.sample(mean, log_variance, seeded(0)), again) and not torch.equal(again, other)


def test_the_gradient_passes_the_draw():
    """d E[z^2] / d mean = 2 mean and / d log_variance = variance: by the reparameterised draw, on average."""
    mean, log_variance = torch.tensor([[0.7]], requires_grad=True), torch.tensor([[-1.0]], requires_grad=True)
    z = vae().sample(mean.expand(200_000, 1), log_variance.expand(200_000, 1), seeded())
    z.square().mean().backward()
    assert float(mean.grad) == pytest.approx(1.4, abs=0.02)
    assert float(log_variance.grad) == pytest.approx(math.exp(-1), abs=0.02)


class Line(VAE):
    """A model whose likelihood can be computed: one pixel, x = z + noise, everything Gaussian."""

    def __init__(self, noise):
        super().__init__(VAEConfig(size=8, channels=1, latents=1, width=2))
        self.noise = noise

    def encode(self, x, wrong=0.0):
        variance = self.noise**2 / (1 + self.noise**2)  # of the true posterior
        return x / (1 + self.noise**2) + wrong, torch.full_like(x, math.log(variance) + wrong)


@pytest.mark.parametrize("wrong", [0.0, 0.5, -1.0])
def test_the_elbo_is_below_the_log_likelihood_and_meets_it_at_the_true_posterior(wrong):
    """With ``VAE.sample`` and ``kl_to_normal`` on a linear Gaussian model: log p(x) = log N(x; 0, 1 + noise^2)."""
    model = Line(noise=0.6)
    x = torch.tensor([[-2.0], [0.0], [1.3]])
    truth = dist.Normal(0.0, math.sqrt(1 + 0.6**2)).log_prob(x)[:, 0]
    mean, log_variance = model.encode(x, wrong)
    draws = model.sample(mean.expand(3, 100_000), log_variance.expand(3, 100_000), seeded())
    bound = dist.Normal(draws, 0.6).log_prob(x).mean(1) - kl_to_normal(mean, log_variance)[:, 0]
    if wrong:
        assert (bound < truth - 0.05).all()
    else:
        torch.testing.assert_close(bound, truth, atol=0.01, rtol=0)


def test_with_one_latent_the_bound_holds_against_the_integral():
    """A real VAE with one latent: p(x) integrated on a grid of z is never below what the ELBO says."""
    model, x = vae(latents=1, size=8, channels=1).eval(), images(4, 1, 8)
    z = torch.linspace(-8, 8, 2001)
    with torch.no_grad():
        mean, log_scale = model.likelihood(z[:, None])
        logs = discretized_logistic(x[:, None], mean, log_scale).flatten(2).sum(2)  # (image, z)
        prior = dist.Normal(0.0, 1.0).log_prob(z) + math.log(float(z[1] - z[0]))
        truth = -torch.logsumexp(logs + prior, dim=1) / math.log(2) / model.dims
        many = x.repeat_interleave(2000, 0)
        bound = model.bits_per_dim(many, seeded()).view(4, 2000).mean(1)
    assert (bound >= truth - 1e-4).all()


def test_beta_weighs_the_kl_alone():
    elbo = Elbo(torch.tensor([30.0]), torch.tensor([[1.0, 2.0]]), 3)
    assert (
        elbo.bits_per_dim().item() == 11
        and elbo.bits_per_dim(beta=0).item() == 10
        and elbo.bits_per_dim(beta=2).item() == 12
    )


def test_a_checkpoint_brings_the_same_model_back(tmp_path):
    model = vae()
    for p in model.parameters():  # so that half precision loses nothing
        p.data = p.data.half().float()
    checkpoints.save("tiny", model, {}, tmp_path)
    again = checkpoints.load("tiny", tmp_path)
    x = images()
    assert isinstance(again, VAE) and asdict(again.config) == asdict(model.config)
    assert torch.equal(again.bits_per_dim(x, seeded()), model.bits_per_dim(x, seeded())) and torch.equal(
        again(x), model(x)
    )
    assert not again.train().training and all(not p.requires_grad for p in again.parameters())


def test_training_by_name_ships_a_card_with_what_was_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VG_RUNS", str(tmp_path / "runs"))
    drawn = image_drawings(train=70, test=20)
    monkeypatch.setattr(training, "cifar10", lambda: drawn)
    monkeypatch.setattr(
        measuring, "pca_images", lambda train, images, count: torch.zeros_like(images)
    )  # slow, not ours
    train(ImageExperiment("vae-cifar10", vae().config, Recipe(2, muon=2e-2)), tmp_path)
    facts, model = checkpoints.card("vae-cifar10", tmp_path).facts, checkpoints.load("vae-cifar10", tmp_path)
    x = drawn.test.take(range(20))
    metrics = facts["metrics"]
    assert metrics["bits_per_dim"] == pytest.approx(model.bits_per_dim(x, seeded()).mean().item(), abs=1e-4)
    assert metrics["psnr"] == pytest.approx(psnr(model(x), x).mean().item(), abs=0.01)
    assert metrics["images"] == 20 and metrics["latents"] == 6 and 0 <= metrics["active_latents"] <= 6
    assert facts["experiment"]["recipe"]["steps"] == 2 and facts["data"]["train"] == 70


def test_what_cannot_be_is_named():
    for shape in [(2, 1, 32, 32), (2, 3, 33, 32), (3, 32, 32), (2, 3, 64, 64)]:
        with pytest.raises(ValueError, match=r"got images .*expected \(B, 3, 32, 32\)"):
            vae().encode(torch.zeros(shape))
    for shape in [(2, 5), (6,), (2, 6, 1)]:
        with pytest.raises(ValueError, match=r"got latents .*expected \(B, 6\)"):
            vae().decode(torch.zeros(shape))
    for size in (0, 4, 28, 33):
        with pytest.raises(ValueError, match=f"size is {size}, expected a multiple of 8"):
            VAE(VAEConfig(size=size))
    with pytest.raises(ValueError, match="scale is 'image', expected 'colour' or 'pixel'"):
        VAE(VAEConfig(scale="image"))
