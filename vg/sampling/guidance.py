"""Guidance: branches that condition on more or less (label, past), whose weighted logits are sampled from."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from vg.models.goals import Goal
from vg.models.kv_cache import DecodeState
from vg.models.transformer import Prior


@dataclass
class Branch:
    """One forward pass of guided sampling, under one label or several at once.

    Attributes:
        weights: of its logits in the sum that is sampled from, one for each label; those of all branches add up to 1.
        labels: (k, B) int64, k labels for each clip, -1 for none.
        drops_history: whether it begins anew with every latent frame, as if there had been none before.
        conditioning: ``Prior.conditioning`` of all latent frames to come, (k * B, t * h * w, D), or None.
        state: what it keeps from one token to the next.
    """

    weights: tuple[float, ...]
    labels: Tensor
    drops_history: bool = False
    conditioning: Tensor | None = None
    state: DecodeState = field(default_factory=DecodeState)

    def advance(self, prior: Prior, digits: Tensor, fresh: Tensor | None, window: int | None) -> Tensor:
        """Hidden states (k * B, D) that predict the token after ``digits``, the last of which are ``fresh``."""
        conditioning = self.conditioning
        if self.drops_history:
            place = digits.shape[1] % prior.tokens_per_latent_frame
            if place == 0:
                self.state, fresh = DecodeState(), None
            conditioning = None if conditioning is None else conditioning[:, digits.shape[1] - place :]
        fresh = None if fresh is None else fresh.repeat(len(self.labels), 1, 1)
        return prior.advance(self.state, fresh, self.labels.flatten(), window, conditioning)


def branches(
    label: Tensor,
    guidance: float = 1.0,
    history: float = 1.0,
    conditioning: tuple[Tensor | None, Tensor | None] = (None, None),
) -> list[Branch]:
    """The branches whose weighted logits are the guided ones: with all that is told, without it, without the past.

    ``guidance`` moves the logits from those without label and goal towards those with them, and beyond: ``without +
    guidance * (with - without)``. ``history`` does the same with the past. At 1 neither changes or costs anything.

    Args:
        label: (B,) int64, -1 for none.
        guidance, history: as in ``generate``.
        conditioning: ``conditionings``.
    """
    conditioned, unconditioned = conditioning
    weights, labels = [guidance + history - 1], [label]
    both = conditioned
    if guidance != 1.0:
        weights.append(1 - guidance)
        labels.append(torch.full_like(label, -1))
        both = (
            None
            if conditioned is None
            else torch.cat([conditioned, torch.zeros_like(conditioned) if unconditioned is None else unconditioned])
        )
    found = [Branch(tuple(weights), torch.stack(labels), conditioning=both)]
    if history != 1.0:
        found.append(Branch((1 - history,), label[None], drops_history=True, conditioning=conditioned))
    return found


def conditionings(
    prior: Prior, condition: Tensor | None, goal: Goal | None, latent_frames: int | None
) -> tuple[Tensor | None, Tensor | None]:
    """``Prior.conditioning`` of all that is told, and of what guidance goes away from: the condition without the goal.

    Args:
        prior, condition: as in ``generate_tokens``.
        goal: of the whole batch.
        latent_frames: that are to be generated.
    """
    conditioned = prior.conditioning(condition, goal, latent_frames)
    return conditioned, conditioned if goal is None else prior.conditioning(condition)
