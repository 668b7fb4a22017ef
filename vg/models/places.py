"""Where a token stands in its latent frame: by a table for one grid, or by coordinates for any."""

import math

import torch
import torch.nn as nn
from torch import Tensor

FREQUENCIES = 16


class Coordinates(nn.Module):
    """Features of every place of any grid: ``(h, w)`` -> ``(h * w, D)``.

    A small network of row and column as shares of the picture, and of the picture's size in tokens. Half of the upper
    left quarter is so to all grids what it is to one, and a grid that was never seen lies between those that were.

    Each share u in (0, 1) comes as cos(pi k u), k from 1 to ``FREQUENCIES``: the features of Fourier (Tancik et al.,
    2020, arXiv:2006.10739) that have no seam between the first row and the last.

    Args:
        d: D.
    """

    def __init__(self, d: int):
        super().__init__()
        self.network = nn.Sequential(nn.Linear(2 * (FREQUENCIES + 1), d), nn.GELU(), nn.Linear(d, d))

    def forward(self, grid: tuple[int, int]) -> Tensor:
        like = self.network[0].weight
        rows, columns = (_features(n, like) for n in grid)
        both = rows[:, None].expand(-1, grid[1], -1), columns[None].expand(grid[0], -1, -1)
        return self.network(torch.cat(both, dim=-1)).flatten(0, 1)


def _features(n: int, like: Tensor) -> Tensor:
    """(n, FREQUENCIES + 1): of n rows, or columns."""
    shares = (torch.arange(n).to(like) + 0.5) / n
    waves = torch.cos(math.pi * shares[:, None] * torch.arange(1, FREQUENCIES + 1).to(like))
    return torch.cat([waves, torch.full((n, 1), math.log2(n) - 4).to(like)], dim=1)
