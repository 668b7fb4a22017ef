"""Guidance: branches that condition on more or less (label, past), whose weighted logits are sampled from."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from vg.models.transformer import DecodeState, Prior


@dataclass
class Branch:
    """One forward pass of guided sampling, under one label or several at once.

    Attributes:
        weights: of its logits in the sum that is sampled from, one for each label; those of all branches add up to 1.
        labels: (k, B) int64, k labels for each clip, -1 for none.
        drops_history: whether it begins anew with every latent frame, as if there had been none before.
        state: what it keeps from one token to the next.
    """

    weights: tuple[float, ...]
    labels: Tensor
    drops_history: bool = False
    state: DecodeState = field(default_factory=DecodeState)

    def advance(
        self, prior: Prior, digits: Tensor, fresh: Tensor | None, window: int | None, condition: Tensor | None
    ) -> Tensor:
        """Hidden states (k * B, D) that predict the token after ``digits``, the last of which are ``fresh``."""
        if self.drops_history:
            done, place = divmod(digits.shape[1], prior.tokens_per_frame)
            if place == 0:
                self.state, fresh = DecodeState(), None
            condition = None if condition is None else condition[:, done : done + 1]
        k = len(self.labels)
        fresh, condition = (None if x is None else x.repeat(k, *[1] * (x.ndim - 1)) for x in (fresh, condition))
        return prior.advance(self.state, fresh, self.labels.flatten(), window, condition)


def branches(label: Tensor, guidance: float = 1.0, history: float = 1.0) -> list[Branch]:
    """The branches whose weighted logits are the guided ones: with label and past, without the label, without the past.

    ``guidance`` moves the logits from those without the label towards those with it, and beyond: ``without + guidance *
    (with - without)``. ``history`` does the same with the past. At 1 neither changes anything, or costs anything.
    """
    weights, labels = [guidance + history - 1], [label]
    if guidance != 1.0:
        weights.append(1 - guidance)
        labels.append(torch.full_like(label, -1))
    found = [Branch(tuple(weights), torch.stack(labels))]
    if history != 1.0:
        found.append(Branch((1 - history,), label[None], drops_history=True))
    return found
