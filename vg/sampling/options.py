"""What a sample is drawn with: temperature, top-k, top-p, conditioning and guidance, checked in one place."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor

from vg.models.goals import Goal
from vg.models.transformer import Prior

# What clips are made with unless something else is asked for, settled by measurement (benchmarks/LOG.md).
SAMPLING = {"temperature": 1.05, "top_p": 0.99, "history": 2.0}
GUIDANCE = 2.0  # towards a label, where there is one

MOST_GUIDANCE = 100.0  # above it only rounding errors are guided

OTHER_DICE = 1_000_003  # added to a seed: what is drawn first has other dice than what is drawn after it

Labels = int | Sequence[int] | None


@dataclass(frozen=True)
class Options:
    """How tokens are drawn; each as in ``vg.sampling.generate``."""

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    label: Labels = None
    guidance: float = 1.0
    history: float = 1.0
    window: int | None = None

    def check(self, prior: Prior, batch: int, goal: Goal | None = None) -> None:
        """Raise ValueError, which names it, where a number is out of its range or unfit for ``prior``."""
        given = as_labels(self.label)
        if batch < 1 or len(given) not in (1, batch):
            raise ValueError(
                f"generate: {len(given)} labels for a batch of {batch}. Make one or more; give one label, or as many."
            )
        for name in ("temperature", "guidance", "history"):
            if not math.isfinite(value := getattr(self, name)):
                raise ValueError(f"generate: {name} is {value}, expected a finite number.")
        if not self.temperature > 0:
            raise ValueError(f"generate: temperature is {self.temperature}, expected above 0 (0.01 for the likeliest).")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"generate: top_k is {self.top_k}, expected 1 or more, or None.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"generate: top_p is {self.top_p}, expected above 0 and at most 1, or None.")
        known = prior.config.num_labels
        for label in given:
            if label is not None and not 0 <= label < known:
                what = f"has the labels 0 to {known - 1}" if known else "has no labels"
                raise ValueError(f"generate: label is {label}, but this prior {what}.")
            if self.guidance != 1.0 and label is None and goal is None:
                raise ValueError(f"generate: guidance is {self.guidance}, which needs a label or a goal to go towards.")
        for name in ("guidance", "history"):
            if abs(getattr(self, name)) > MOST_GUIDANCE:
                raise ValueError(f"generate: {name} is {getattr(self, name)}, expected at most {MOST_GUIDANCE:g}.")
        if not self.history >= 1:
            raise ValueError(f"generate: history is {self.history}, expected 1 (as the prior says) or above.")
        if self.window is not None and self.window < 1:
            raise ValueError(f"generate: window is {self.window}, expected 1 latent frame or more, or None.")

    def label_tensor(self, batch: int, device: torch.device | str = "cpu") -> Tensor:
        """(batch,) int64: the label of each sample, -1 for none."""
        return torch.as_tensor(-1 if self.label is None else self.label, device=device).expand(batch)

    def reach(self, prior: Prior) -> int | None:
        """``window`` in positions, and no more than the prior's ``reach``; None for all."""
        return prior.window(None if self.window is None else self.window * prior.tokens_per_latent_frame)


def as_labels(label: Labels) -> Sequence[int | None]:
    """A label, or several, as several."""
    if label is None or isinstance(label, int | Integral):
        return [label]  # type: ignore[list-item]  # Integral: NumPy's too
    return label


def given_digits(prior: Prior, tokens: Tensor | None, latent_frames: int, batch: int) -> Tensor:
    """The digits of a prompt's tokens, for each of the batch: (B, L, digits) int64 on the prior's device.

    Raises:
        ValueError: if there are more than ``latent_frames`` latent frames of them, or not as many prompts as samples.
    """
    if tokens is None:
        return torch.zeros(batch, 0, len(prior.levels), dtype=torch.long, device=prior.start.device)
    digits = prior.digits(tokens.to(prior.start.device))
    if len(digits) == 1:
        digits = digits.expand(batch, -1, -1)
    if digits.shape[1] > latent_frames * prior.tokens_per_latent_frame:
        raise ValueError(f"generate: {tokens.shape[1]} latent frames are given, only {latent_frames} wanted in all.")
    if len(digits) != batch:
        raise ValueError(f"generate: {len(digits)} prompts for a batch of {batch}. Give one, or as many.")
    return digits


def kept_digits(prior: Prior, kept: Tensor | None, latent_frames: int, batch: int) -> Tensor:
    """The digits of the tokens that are not to be drawn: (B, L, digits) int64 on the prior's device, -1 elsewhere.

    Args:
        prior, latent_frames, batch: as in ``generate_tokens``.
        kept: (1 or B, t, h, w) int64, t at most ``latent_frames``, -1 where tokens are to be drawn; None for
            all of them.

    Raises:
        ValueError: if its shape is another.
    """
    L, device = latent_frames * prior.tokens_per_latent_frame, prior.start.device
    out = torch.full((batch, L, len(prior.levels)), -1, dtype=torch.long, device=device)
    if kept is None:
        return out
    if kept.ndim != 4 or len(kept) not in (1, batch) or kept.shape[1] > latent_frames or kept.shape[2:] != prior.grid:
        raise ValueError(
            f"generate: kept tokens are {tuple(kept.shape)}, expected (1 or {batch}, up to {latent_frames}, "
            f"{prior.grid[0]}, {prior.grid[1]})."
        )
    kept = kept.to(device)
    known = (kept >= 0).flatten(1)[..., None]
    out[:, : known.shape[1]] = torch.where(known, prior.digits(kept.clamp(min=0)), -1)
    return out


def on_device(
    prior: Prior, batch: int, condition: Tensor | None, goal: Goal | None
) -> tuple[Tensor | None, Goal | None]:
    """Condition and goal on the prior's device, for each of the batch.

    Raises:
        ValueError: if there are neither one nor as many.
    """
    device = prior.start.device
    for name, many in (("conditions", condition), ("goals", None if goal is None else goal.tokens)):
        if many is not None and len(many) not in (1, batch):
            raise ValueError(f"generate: {len(many)} {name} for a batch of {batch}. Give one, or as many.")
    if goal is not None:
        goal = Goal(*(x.to(device).expand(batch, *x.shape[1:]) for x in (goal.tokens, goal.at)))
    return None if condition is None else condition.to(device).expand(batch, -1, -1, -1), goal


def check_levels(ours: Sequence, theirs: Sequence) -> None:
    if [list(levels) for levels in ours] != [list(levels) for levels in theirs]:
        ours, theirs = (" and ".join(str(list(levels)) for levels in both) for both in (ours, theirs))
        raise ValueError(
            f"generate: the prior was made for tokens with levels {ours}, the tokenizer's have {theirs}. "
            "Load the two that belong together."
        )
