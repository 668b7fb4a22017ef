"""Training computes what the plain formulation of every part computes: the losses of the first steps are the same."""

import importlib
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vg.experiments.batches import pack_batch
from vg.experiments.losses import prior_loss, tubelet_loss
from vg.models import Prior, PriorConfig, TubeletConfig, TubeletTokenizer
from vg.models.blocks import CausalTimeConv
from vg.models.digits import DigitEmbedding
from vg.models.transformer import _shifted
from vg.training import Recipe, fit, muon
from vg.training.run import Run

RECIPE = Recipe(steps=20, lr=1e-3, muon=1.5e-2, warmup=5, betas=(0.9, 0.95), weight_decay=0.05, ema=0.9, grad_clip=1.0)
LEVELS, GRID = (5, 4, 3), (4, 6)
PRIOR = dict(levels=LEVELS, grid=GRID, width=32, depth=2, heads=4, context=2, num_labels=3, dropout=0.1)
attention = importlib.import_module("vg.models.attention_backends")


def plain_embedding(self, digits):
    return sum(table(digits[..., i]) for i, table in enumerate(self.tables))


def plain_inputs(self, digits, seen, first, stop, label=None, conditioning=None):
    positions = torch.arange(first, stop)
    x = self.place[positions % self.tokens_per_latent_frame].expand(len(digits), -1, -1)
    for table, back in {self.left: 1, self.above: self.grid[1], self.corner: self.grid[1] - 1}.items():
        x = x + _shifted(table(digits[:, max(0, first - back) : max(0, stop - back)]), stop - first)
    x = x + _shifted(
        seen[:, max(0, first - self.tokens_per_latent_frame) : max(0, stop - self.tokens_per_latent_frame)],
        stop - first,
    )
    x = x + torch.where(positions[:, None] == 0, self.start, 0.0)
    x = x + torch.where(positions[:, None] < self.tokens_per_latent_frame, self.nothing, 0.0)
    if self.position is not None:
        x = x + self.position(positions)
    x = x + self.label_embedding(label + 1)[:, None]
    if self.config.layouts:
        x = x + self.layout_embedding(self.layouts[label + 1].float())[:, positions % self.tokens_per_latent_frame]
    return x


def plain_time(self, x, past=None):
    return nn.Conv3d.forward(self, F.pad(x, (0, 0, 0, 0, self.kernel_size[0] - 1, 0)))


def plain_orthogonalize(matrices, iterations=5):
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = 3.4445 * x + (2.0315 * gram @ gram - 4.7750 * gram) @ x
    return x.mT if tall else x


def plain_average(self):
    keep = min(self.recipe.ema, (self.step + 1) / (self.step + 10))
    with torch.no_grad():
        for ours, theirs in zip(self.average.parameters(), self.model.parameters()):
            ours.lerp_(theirs, 1 - keep)


PLAIN = {
    "look-ups": (DigitEmbedding, "forward", plain_embedding),
    "inputs": (Prior, "inputs", plain_inputs),
    "time": (CausalTimeConv, "forward", plain_time),
    "attention": (attention, "_trains", lambda *tensors: False),
    "Muon": (muon, "orthogonalize", plain_orthogonalize),
    "average": (Run, "update_average", plain_average),
}


def tokens(generator):
    indices = torch.randint(math.prod(LEVELS), (2, 6 * math.prod(GRID)), generator=generator)
    clips = indices.sort(dim=1).values.view(2, 6, *GRID)  # something to learn
    return pack_batch(clips, torch.tensor([0, 2]), backwards=0)


def clips(generator):
    return torch.rand(2, 1, 16, 16, 16, generator=generator).cumsum(2).sin()


def trained(kind):
    torch.manual_seed(0)
    if kind == "tokenizer":
        return fit(TubeletTokenizer(TubeletConfig(width=32)), tubelet_loss, clips, RECIPE, progress=False)
    prior = Prior(
        PriorConfig(**PRIOR, layouts=kind == "layouts", positions="learned" if kind == "learned" else "plain")
    )
    if kind == "layouts":
        prior.learn_layouts(2, torch.randint(60, (1, 3, *GRID), generator=torch.Generator().manual_seed(0)))
    return fit(prior, prior_loss(drop_label=0.2), tokens, RECIPE, progress=False)


@pytest.mark.parametrize("kind", ["plain", "layouts", "learned", "tokenizer"])
def test_losses_and_averaged_weights_are_those_of_the_plain_formulation(kind, monkeypatch):
    fast, used = trained(kind), set()
    for name, (owner, attribute, function) in PLAIN.items():

        def noted(*args, name=name, function=function, **options):
            used.add(name)
            return function(*args, **options)

        monkeypatch.setattr(owner, attribute, noted)
    plain = trained(kind)
    expected = {"time", "Muon", "average"} if kind == "tokenizer" else set(PLAIN)
    assert used == expected
    losses = [torch.tensor([value for _, value in each.history["loss"]]) for each in (fast, plain)]
    assert len(losses[0]) == RECIPE.steps and losses[0][-1] < losses[0][0] - 0.1
    torch.testing.assert_close(*losses, atol=0, rtol=2e-4)
    weights = [torch.cat([p.flatten() for p in each.model.parameters()]) for each in (fast, plain)]
    assert (weights[0] - weights[1]).square().mean().sqrt() < 1e-3 * weights[1].square().mean().sqrt()


@pytest.mark.parametrize("shape", [(), (5,), (2, 5), (2, 3, 5)])
def test_a_token_alone_or_many_in_any_shape_are_embedded_alike(shape):
    torch.manual_seed(0)
    embed = DigitEmbedding((4, 3, 3), d=8)
    digits = torch.stack([torch.randint(n, shape) for n in (4, 3, 3)], dim=-1)
    torch.testing.assert_close(embed(digits), plain_embedding(embed, digits))
    assert embed(digits).shape == (*shape, 8)
