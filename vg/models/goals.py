"""A goal: a latent frame to come, told to the prior beforehand, as a prompt is told of the past."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn as nn
from torch import Tensor

from vg.models.blocks import Block
from vg.models.digits import DigitEmbedding


@dataclass(frozen=True)
class Goal:
    """What is to stand at a later latent frame of each clip.

    Attributes:
        tokens: (B, h, w) int64, the latent frame to come.
        at: (B,) int64, which one it is to be, counted from the clip's first, which is 0; -1 where a clip has no goal.
    """

    tokens: Tensor
    at: Tensor

    def __post_init__(self) -> None:
        if self.tokens.ndim != 3 or self.at.shape != self.tokens.shape[:1]:
            raise ValueError(
                f"Goal: tokens are {tuple(self.tokens.shape)} and at is {tuple(self.at.shape)}, "
                "expected (B, h, w) and (B,)."
            )

    def __getitem__(self, rows: Sequence[int]) -> "Goal":
        """Those of some clips."""
        return Goal(self.tokens[rows], self.at[rows])


class GoalNetwork(nn.Module):
    """Features of a goal at every place of the latent frames up to it. The prior stays causal: a goal is known before.

    Each place is shown what is to stand there, and how far ahead: the goal's digits and the distance go together
    through blocks that see the places around. After the goal, and farther before it than ``longest``, it is silent.

    Args:
        levels: of the tokens.
        longest: latent frames that a goal may lie ahead.
        depth: blocks.
        d: D.
        normed: as of ``PriorConfig``.
    """

    def __init__(self, levels: tuple[int, ...], longest: int, depth: int, d: int, normed: bool = True):
        super().__init__()
        self.longest = longest
        self.tokens = DigitEmbedding(levels, d)
        self.ahead = nn.Embedding(longest + 1, d)  # row 0: the goal itself
        self.blocks = nn.ModuleList(Block(d, time_kernel=1) for _ in range(depth))
        self.norm = nn.LayerNorm(d) if normed else nn.Identity()

    def forward(self, digits: Tensor, at: Tensor, latent_frames: int) -> Tensor:
        """Digits ``(B, h, w, digits)`` and ``at`` as of ``Goal`` -> features ``(B, latent_frames, h, w, D)``."""
        ahead = at[:, None] - torch.arange(latent_frames, device=at.device)  # (B, latent_frames)
        ahead_of_it = (ahead >= 0) & (ahead <= self.longest)  # never for an ``at`` of -1
        distance = self.ahead(ahead.clamp(0, self.longest))[:, :, None, None]
        x = self.tokens(digits)[:, None] + distance
        for block in self.blocks:
            x = block(x)
        return self.norm(x) * ahead_of_it[:, :, None, None, None]
