"""What a sample is drawn with: temperature, top-k, top-p, conditioning and guidance, checked in one place."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor

from vg.models.transformer import Prior

# What the shipped priors are shown and measured with, settled by measurement (benchmarks/LOG.md).
SAMPLING = {
    "prior-64": {"temperature": 1.0, "top_p": 0.97, "history": 1.0},
    "prior-128": {"temperature": 0.95, "top_p": 0.99, "history": 1.5},
}

MOST_GUIDANCE = 100.0  # above it only rounding errors are guided

Scenes = int | Sequence[int] | None


def knobs(prior: Prior) -> dict[str, float]:
    """Options of ``generate`` that suit a shipped prior, by its ``name``; for any other those of ``prior-64``."""
    return dict(SAMPLING.get(getattr(prior, "name", ""), SAMPLING["prior-64"]))


@dataclass(frozen=True)
class Options:
    """How tokens are drawn; each as in ``vg.sampling.generate``."""

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    scene: Scenes = None
    guidance: float = 1.0
    history: float = 1.0
    window: int | None = None

    def check(self, prior: Prior, batch: int) -> None:
        """Raise ValueError, which names it, where a number is out of its range or unfit for ``prior``."""
        scenes = labels(self.scene)
        if batch < 1 or len(scenes) not in (1, batch):
            raise ValueError(
                f"generate: {len(scenes)} scenes for a batch of {batch}. Make one or more; give one scene, or as many."
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
        known = prior.config.scenes
        for scene in scenes:
            if scene is not None and not 0 <= scene < known:
                what = f"has the scenes 0 to {known - 1}" if known else "knows no scenes"
                raise ValueError(f"generate: scene is {scene}, but this prior {what}.")
            if self.guidance != 1.0 and scene is None:
                raise ValueError(f"generate: guidance is {self.guidance}, which needs a scene to go towards.")
        for name in ("guidance", "history"):
            if abs(getattr(self, name)) > MOST_GUIDANCE:
                raise ValueError(f"generate: {name} is {getattr(self, name)}, expected at most {MOST_GUIDANCE:g}.")
        if not self.history >= 1:
            raise ValueError(f"generate: history is {self.history}, expected 1 (as the prior says) or above.")
        if self.window is not None and self.window < 1:
            raise ValueError(f"generate: window is {self.window}, expected 1 tubelet-frame or more, or None.")

    def label(self, batch: int, device: torch.device | str = "cpu") -> Tensor:
        """(batch,) int64: the scene of each sample, -1 for none."""
        return torch.as_tensor(-1 if self.scene is None else self.scene, device=device).expand(batch)

    def reach(self, prior: Prior) -> int | None:
        """``window`` in positions."""
        return None if self.window is None else self.window * prior.frame


def labels(scene: Scenes) -> Sequence[int | None]:
    """A scene, or several, as several."""
    return [scene] if scene is None or isinstance(scene, Integral) else scene


def given_digits(prior: Prior, tokens: Tensor | None, frames: int, batch: int) -> Tensor:
    """The digits of a prompt's tokens, for each of the batch: (B, L, digits) int64 on the prior's device.

    Raises:
        ValueError: if there are more than ``frames`` tubelet-frames of them, or not as many prompts as samples.
    """
    if tokens is None:
        return torch.zeros(batch, 0, len(prior.levels), dtype=torch.long, device=prior.start.device)
    digits = prior.digits(tokens.to(prior.start.device))
    if len(digits) == 1:
        digits = digits.expand(batch, -1, -1)
    if digits.shape[1] > frames * prior.frame:
        raise ValueError(f"generate: {tokens.shape[1]} tubelet-frames are given, and only {frames} wanted in all.")
    if len(digits) != batch:
        raise ValueError(f"generate: {len(digits)} prompts for a batch of {batch}. Give one, or as many.")
    return digits


def check_levels(ours: Sequence, theirs: Sequence) -> None:
    if [list(levels) for levels in ours] != [list(levels) for levels in theirs]:
        ours, theirs = (" and ".join(str(list(levels)) for levels in both) for both in (ours, theirs))
        raise ValueError(
            f"generate: the prior was made for tokens with levels {ours}, the tokenizer's have {theirs}. "
            "Load the two that belong together."
        )
