"""The plain loop: one token after another. What to read first, and what parallel sampling has to equal."""

from typing import Any

import torch
from torch import Tensor

from vg.interrupts import heeded, without_gradients
from vg.models.frozen import evaluating
from vg.models.goals import Goal
from vg.models.transformer import Prior
from vg.precision import autocast, full_precision
from vg.progress import tqdm
from vg.sampling.filters import filter_logits, gumbel
from vg.sampling.guidance import branches, conditionings
from vg.sampling.options import Options, given_digits, kept_digits, on_device
from vg.threads import one_thread


@without_gradients
def one_by_one(
    prior: Prior,
    tokens: Tensor | None,
    latent_frames: int,
    seed: int = 0,
    *,
    batch: int = 1,
    condition: Tensor | None = None,
    goal: Goal | None = None,
    kept: Tensor | None = None,
    progress: bool = True,
    **options: Any,
) -> Tensor:
    """The same tokens as ``generate_tokens``, with the same arguments, drawn in the order that the prior has them."""
    how = Options(**options)
    how.check(prior, batch, goal)
    digits, device = given_digits(prior, tokens, latent_frames, batch), prior.start.device
    dice = [torch.Generator().manual_seed(seed + b) for b in range(batch)]
    both = conditionings(prior, *on_device(prior, batch, condition, goal), latent_frames)
    parts = branches(how.label_tensor(batch, device), how.guidance, how.history, both)
    forced = kept_digits(prior, kept, latent_frames, batch)
    weights = [weight for part in parts for weight in part.weights]
    fresh = digits if digits.shape[1] else None
    total, shape = latent_frames * prior.tokens_per_latent_frame, (len(prior.levels), max(prior.levels))
    bar = tqdm(total=total - digits.shape[1], unit="token", desc="generating", disable=not progress, mininterval=0.5)
    with heeded() as stop, one_thread(), evaluating(prior), bar, autocast(device):
        while digits.shape[1] < total:
            if stop.asked:
                raise KeyboardInterrupt
            hidden = [part.advance(prior, digits, fresh, how.reach(prior)) for part in parts]
            noise = torch.stack([torch.rand(shape, generator=die) for die in dice]).to(device)
            keep = forced[:, digits.shape[1], None]
            fresh = torch.where(keep >= 0, keep, draw(prior, hidden, weights, noise, how)[:, None])
            digits = torch.cat([digits, fresh], dim=1)
            bar.update(1)
    return prior.quantizer.indices(digits).view(batch, latent_frames, *prior.grid)


def draw(prior: Prior, hidden: list[Tensor], weights: list[float], noise: Tensor, how: Options) -> Tensor:
    """One token for each sample: (B, digits), from each branch's hidden states (B, D) and uniform noise."""
    position = 0

    def choose(logits: Tensor) -> Tensor:
        nonlocal position
        parts = full_precision(logits).chunk(len(weights))
        logits = sum(weight * part for weight, part in zip(weights, parts))
        logits = filter_logits(logits / how.temperature, how.top_k, how.top_p)
        drawn = (logits + gumbel(noise[:, position, : logits.shape[-1]])).argmax(dim=-1)
        position += 1
        return drawn.repeat(len(weights))  # every branch is shown the same

    return prior.head.sample(torch.cat(hidden), choose)[: len(noise)]
