"""Priors of a few hundred weights a layer, and tokens for them, that several test files share."""

import math

import torch
from torch import Tensor

from vg.models import Prior, PriorConfig
from vg.models.goals import Goal

LEVELS = (5, 4, 3)


def tiny_prior(seed: int = 0, **changes) -> Prior:
    """For clips of any shape, in either direction, towards goals. In float64, so that what differs does so by a cause.

    No weight is at zero: every path carries something.
    """
    torch.manual_seed(seed)
    shape = {"grid": (2, 3), "width": 16, "depth": 2, "heads": 4, "context": 1, "num_labels": 3}
    able = {"places": "coordinates", "directions": True, "goals": 2}
    prior = Prior(PriorConfig(LEVELS, **shape | able | changes))
    for weight in prior.parameters():
        weight.data += 0.4 * torch.randn_like(weight)
    return prior.double().eval()


def some_tokens(grid: tuple[int, int] = (2, 3), batch: int = 2, t: int = 4, seed: int = 1) -> Tensor:
    """(batch, t, h, w) int64."""
    return torch.randint(math.prod(LEVELS), (batch, t, *grid), generator=torch.Generator().manual_seed(seed))


def some_goal(at: list[int], grid: tuple[int, int] = (2, 3), seed: int = 2) -> Goal:
    """One for each clip, at these latent frames."""
    return Goal(some_tokens(grid, len(at), 1, seed)[:, 0], torch.tensor(at))


def moved(ours: Tensor, theirs: Tensor) -> Tensor:
    """Which states (B, L, D) are others: (B, L) bool."""
    return (ours - theirs).abs().amax(-1) > 1e-9


def same(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=0)
