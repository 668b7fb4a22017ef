"""Quantizers: from real vectors to integers and back."""

import math
from collections.abc import Sequence

import torch
import torch.nn as nn
from torch import Tensor

FSQ_LEVELS = {
    8: (8, 6, 5),
    10: (8, 5, 5, 5),
    12: (7, 5, 5, 5, 5),
    14: (8, 8, 8, 6, 5),
    16: (8, 8, 8, 5, 5, 5),
}
"""Levels for about 2^bits codes, as published (Mentzer et al., 2023, table 1)."""


class FSQ(nn.Module):
    """Finite scalar quantization (Mentzer et al., 2023, arXiv:2309.15505, appendix A).

    Each of the ``len(levels)`` channels is squashed to ``levels[i]`` values and rounded; together
    the digits name one of ``prod(levels)`` codes, so there is no codebook to learn or to collapse.

    Args:
        levels: values per channel, each at least 3.

    Raises:
        ValueError: if there are no levels or one is below 3 (with two, one value is unreachable).
    """

    def __init__(self, levels: Sequence[int]):
        super().__init__()
        self.levels = tuple(int(n) for n in levels)
        if not self.levels or min(self.levels) < 3:
            raise ValueError(f"FSQ: levels are {list(levels)}, expected at least one and each at least 3")
        self.size = math.prod(self.levels)
        self.bits = math.log2(self.size)
        count = torch.tensor(self.levels, dtype=torch.float32)
        half = (count - 1) * (1 + 1e-3) / 2
        offset = torch.where(count % 2 == 0, 0.5, 0.0)
        basis = torch.cumprod(torch.tensor([1, *self.levels[:-1]]), 0)
        for name, value in dict(bound=half, offset=offset, shift=torch.atanh(offset / half)).items():
            self.register_buffer(name, value, persistent=False)
        self.register_buffer("width", torch.div(count, 2, rounding_mode="floor"), persistent=False)
        self.register_buffer("basis", basis, persistent=False)
        self.register_buffer("count", count.long(), persistent=False)

    def extra_repr(self) -> str:
        return f"levels={list(self.levels)}, codes={self.size}"

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Quantize ``z``.

        Args:
            z: ``(..., len(levels))``, any real values.

        Returns:
            codes in [-1, 1], the shape of ``z``, with straight-through gradients (float32: half
            precision cannot tell neighbouring codes apart); and indices, ``(...)`` int64 in
            [0, prod(levels)).

        Raises:
            ValueError: if the last dimension is not ``len(levels)`` or ``z`` holds a NaN.
        """
        if z.shape[-1] != len(self.levels):
            raise ValueError(f"FSQ: got {tuple(z.shape)}, expected (..., {len(self.levels)})")
        with torch.autocast(z.device.type, enabled=False):
            bounded = torch.tanh(z.float() + self.shift) * self.bound - self.offset
            whole = bounded.detach().round()
            if whole.isnan().any():
                raise ValueError(f"FSQ: {int(z.isnan().any(-1).sum())} of the vectors to quantize hold a NaN")
            codes = (bounded + (whole - bounded.detach())) / self.width
            return codes, self.indices((whole + self.width).long())

    def indices(self, digits: Tensor) -> Tensor:
        """Digits ``(..., len(levels))`` int64, digit i in [0, levels[i]) -> indices ``(...)`` int64."""
        return (digits * self.basis).sum(-1)

    def digits(self, indices: Tensor) -> Tensor:
        """Indices ``(...)`` int64 -> digits ``(..., len(levels))`` int64. The first digit runs fastest."""
        return indices[..., None] // self.basis % self.count

    def codes(self, indices: Tensor) -> Tensor:
        """Indices ``(...)`` int64 -> codes ``(..., len(levels))`` float32 in [-1, 1]."""
        return (self.digits(indices) - self.width) / self.width


class Whitening(nn.Module):
    """Makes the channels before FSQ uncorrelated and equally wide, so that all codes come to be used.

    FSQ has no codebook that could collapse, but its digits can still say the same thing twice, or hardly vary.
    Here each vector is shifted and turned by running statistics, so that its channels have mean 0, deviation
    ``width`` and no correlation: the whitening of decorrelated batch normalization (Huang et al., 2018,
    arXiv:1804.08450), with the statistics taken as constants. With width 0.8, tanh spreads a normal
    distribution evenly over [-1, 1]. In evaluation mode it is a fixed linear map.

    Args:
        channels: length of a vector.
        width: standard deviation of each channel of the result.
        momentum: share of a batch in the running statistics (more in the first batches).
    """

    def __init__(self, channels: int, width: float = 0.8, momentum: float = 0.02):
        super().__init__()
        self.width, self.momentum = width, momentum
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("covariance", torch.eye(channels))
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))

    def forward(self, z: Tensor) -> Tensor:
        """``(..., channels)`` float -> float32 of the same shape."""
        with torch.autocast(z.device.type, enabled=False):
            z = z.float()
            if self.training:
                self._follow(z.detach().flatten(0, -2))
            floor = 1e-5 * torch.eye(len(self.mean), device=z.device)
            root = torch.linalg.cholesky(self.covariance + floor)
            flat = (z - self.mean).flatten(0, -2)
            white = torch.linalg.solve_triangular(root, flat.T, upper=False).T
            return self.width * white.reshape(z.shape)

    @torch.no_grad()
    def _follow(self, vectors: Tensor) -> None:
        self.batches += 1
        share = max(self.momentum, 1 / int(self.batches))
        middle = vectors.mean(dim=0)
        spread = vectors - middle
        self.mean.lerp_(middle, share)
        self.covariance.lerp_(spread.T @ spread / len(vectors), share)
