"""How to train: a frozen dataclass of numbers that are checked when it is made."""

import math
import sys
from dataclasses import dataclass

HIGHEST_RATE = 1e3  # a learning rate beyond is a slip of the pen
HIGHEST_SEED = 2**32 - 1  # seeds of the steps are made of it, and have 64 bits
MOST_MICRO_BATCHES = 2**12  # the seeds of a step's micro-batches lie between those of two steps


@dataclass(frozen=True)
class Recipe:
    """How to train. AdamW (Loshchilov and Hutter, 2019), warm-up, then a cosine down to ``min_lr_ratio`` of the rate.

    With ``muon`` the matrices and kernels of the model's inner blocks (``model.inner`` names them) are trained by
    Muon, and only the rest by AdamW: a third of the steps for the same result (benchmarks/LOG.md).

    Attributes:
        steps: optimizer steps in all.
        lr: the highest learning rate.
        warmup: steps that it takes to get there.
        min_lr_ratio: share of ``lr`` at the end.
        betas: of AdamW; .95 or .98 for the second forgets the wild first steps sooner than the usual .999.
        weight_decay: of matrices and kernels only.
        grad_clip: gradients longer than this are shortened to it.
        ema: the weights that are kept are an average over about ``1 / (1 - ema)`` steps.
        seed: of the batches, and of the random numbers in the loss.
        muon: Muon's highest learning rate, such as 0.02; 0 leaves everything to AdamW.
        micro_batches: batches that are sampled for one step, whose gradients are averaged: one after another in one
            process (gradient accumulation), or shared among processes, which have to be as many or a divisor of it.

    Raises:
        ValueError: if a number is out of its range.
    """

    steps: int
    lr: float = 1e-3
    warmup: int = 100
    min_lr_ratio: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    grad_clip: float = 1.0
    ema: float = 0.998
    seed: int = 0
    muon: float = 0.0
    micro_batches: int = 1

    def __post_init__(self) -> None:
        integers = {
            "steps": (1, sys.maxsize),
            "warmup": (0, sys.maxsize),
            "seed": (0, HIGHEST_SEED),
            "micro_batches": (1, MOST_MICRO_BATCHES),
        }
        for name, (low, high) in integers.items():
            value = getattr(self, name)
            if not (isinstance(value, int) and low <= value <= high):
                raise ValueError(f"Recipe: {name} is {value!r}, expected an int from {low} to {high}.")
        highest = {"lr": HIGHEST_RATE, "muon": HIGHEST_RATE, "min_lr_ratio": 1, "weight_decay": HIGHEST_RATE}
        for name, most in highest.items():
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"Recipe: {name} is {getattr(self, name)!r}, expected a number from 0 to {most:g}.")
        for name, value in (("ema", self.ema), *(("each of betas", beta) for beta in self.betas)):
            if not 0 <= value < 1:
                raise ValueError(f"Recipe: {name} is {value!r}, expected a number from 0 up to 1, but not 1.")
        if not self.grad_clip > 0:
            raise ValueError(f"Recipe: grad_clip is {self.grad_clip!r}, expected a number above 0 (inf clips nothing).")

    def lr_factor(self, step: int) -> float:
        """Share of the highest learning rate in step 0 to ``steps - 1``."""
        rise = min(1.0, (step + 1) / max(1, self.warmup))
        fall = 0.5 + 0.5 * math.cos(math.pi * step / max(1, self.steps))
        return rise * (self.min_lr_ratio + (1 - self.min_lr_ratio) * fall)

    def lr_at(self, step: int) -> float:
        """AdamW's learning rate in step 0 to ``steps - 1``."""
        return self.lr * self.lr_factor(step)

    def seed_of(self, step: int, micro_batch: int) -> int:
        """The seed that one micro-batch of one step is sampled with, in whatever process: below 2^64."""
        return _mix(self.seed, step, micro_batch)

    def loss_seed_of(self, step: int, micro_batch: int) -> int:
        """The seed of what its loss takes from torch's global generator (dropout, noise)."""
        return _mix(self.seed + 1, step, micro_batch)


def _mix(seed: int, step: int, micro_batch: int) -> int:
    return (seed * 1_000_003 + step) * 4_099 + micro_batch
