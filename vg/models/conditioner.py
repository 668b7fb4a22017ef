"""Conditioning on the tokens of a coarser grid: the top level of a VQ-VAE-2, for the prior over its bottom level."""

import torch
import torch.nn as nn
from einops import rearrange
from torch import Tensor

from vg.models.blocks import Block
from vg.models.digits import DigitEmbedding
from vg.models.quantizers import FSQ


class Conditioner(nn.Module):
    """Features for every place of a grid from the tokens of a coarser one. Not causal: these are all known beforehand.

    Args:
        levels: of the tokenizer whose tokens these are.
        coarse: (h', w'), its grid.
        grid: (h, w) of the prior, the same multiple of h' and of w'.
        depth: blocks on the coarse grid.
        d: D.
        normed: as of ``PriorConfig``.

    Raises:
        ValueError: if ``grid`` is no such multiple.
    """

    def __init__(
        self,
        levels: tuple[int, ...],
        coarse: tuple[int, int],
        grid: tuple[int, int],
        depth: int,
        d: int,
        normed: bool = True,
    ):
        super().__init__()
        self.grid, self.finer = coarse, grid[0] // coarse[0]
        if (coarse[0] * self.finer, coarse[1] * self.finer) != grid:
            raise ValueError(f"Prior: condition_grid is {coarse}, of which grid {grid} is no multiple.")
        self.quantizer = FSQ(levels)
        self.tokens = DigitEmbedding(levels, d)
        self.place = nn.Parameter(torch.zeros(*coarse, d))
        self.blocks = nn.ModuleList(Block(d, time_kernel=1) for _ in range(depth))
        self.norm = nn.LayerNorm(d) if normed else nn.Identity()
        self.spread = nn.Linear(d, self.finer**2 * d)

    def forward(self, indices: Tensor) -> Tensor:
        """Indices ``(B, t, h', w')`` int64 -> features ``(B, t * h * w, D)``.

        Raises:
            ValueError: if the grid is another.
        """
        if indices.ndim != 4 or tuple(indices.shape[2:]) != self.grid:
            h, w = self.grid
            raise ValueError(f"Prior: got a condition {tuple(indices.shape)}, expected (B, t, {h}, {w}).")
        x = self.tokens(self.quantizer.digits(indices)) + self.place
        for block in self.blocks:
            x = block(x)
        return rearrange(self.spread(self.norm(x)), "b t h w (m n d) -> b (t h m w n) d", m=self.finer, n=self.finer)
