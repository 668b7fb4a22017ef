"""Guidance: several readings of the tokens so far, whose weighted logits are drawn from."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from vg.models.transformer import Prior, State


@dataclass
class Reading:
    """A way for a prior to read the tokens so far, under one label or several at once.

    Attributes:
        weights: of its logits in the sum that is drawn from, one for each label; those of all readings add up to 1.
        labels: (k, B) int64, k scenes that each clip is told, -1 for none.
        forgets: whether it begins anew with every tubelet-frame, as if there had been none before.
        state: what it keeps from one token to the next.
    """

    weights: tuple[float, ...]
    labels: Tensor
    forgets: bool = False
    state: State = field(default_factory=State)

    def advance(
        self, prior: Prior, digits: Tensor, fresh: Tensor | None, window: int | None, guide: Tensor | None
    ) -> Tensor:
        """Hidden states (k * B, D) that predict the token after ``digits``, the last of which are ``fresh``."""
        if self.forgets:
            done, place = divmod(digits.shape[1], prior.frame)
            if place == 0:
                self.state, fresh = State(), None
            guide = None if guide is None else guide[:, done : done + 1]
        k = len(self.labels)
        fresh, guide = (None if x is None else x.repeat(k, *[1] * (x.ndim - 1)) for x in (fresh, guide))
        return prior.advance(self.state, fresh, self.labels.flatten(), window, guide)


def readings(label: Tensor, guidance: float = 1.0, history: float = 1.0) -> list[Reading]:
    """The readings whose weighted logits are guided ones: of label and past, without the label, without the past.

    ``guidance`` goes from what is said without the label towards what is said with it, and beyond: ``without + guidance
    * (with - without)``. ``history`` does the same with the past. At 1 neither changes anything, or costs anything.
    """
    weights, labels = [guidance + history - 1], [label]
    if guidance != 1.0:
        weights.append(1 - guidance)
        labels.append(torch.full_like(label, -1))
    found = [Reading(tuple(weights), torch.stack(labels))]
    if history != 1.0:
        found.append(Reading((1 - history,), label[None], forgets=True))
    return found
