"""Building blocks of the video models. Everything is causal in time: a frame sees itself and the past."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

Past = dict[nn.Module, Tensor]
"""What each causal layer remembers of a stream: its last inputs."""


class CausalTimeConv(nn.Conv3d):
    """A convolution over time that sees only the past: ``(B, D, t, h, w)`` in and out.

    Before the first frame it sees zeros. Given a ``past``, it goes on where the last call stopped,
    so that a video in pieces gives the same numbers as the whole.

    Args:
        d: D.
        kernel: frames that it sees, at least ``stride``.
        stride: frames from one output to the next, each of which sees its own ``stride`` frames and the past; t and
            the length of every piece of a stream must be multiples of it.
    """

    def __init__(self, d: int, kernel: int = 3, stride: int = 1):
        super().__init__(d, d, (kernel, 1, 1), stride=(stride, 1, 1))

    def forward(self, x: Tensor, past: Past | None = None) -> Tensor:
        reach = self.kernel_size[0] - self.stride[0]
        before = past.get(self) if past is not None else None
        x = F.pad(x, (0, 0, 0, 0, reach, 0)) if before is None else torch.cat([before, x], dim=2)
        if past is not None:
            past[self] = x[:, :, x.shape[2] - reach :]
        return super().forward(x) if self.stride[0] > 1 else self._as_products(x)

    def _as_products(self, x: Tensor) -> Tensor:
        """The same, a matrix product for each frame of the kernel: Conv3d takes twice as long for it on a CPU."""
        t = x.shape[2] - self.kernel_size[0] + 1
        x = x.permute(0, 2, 3, 4, 1)  # (B, t, h, w, D)
        y = F.linear(x[:, :t], self.weight[:, :, 0, 0, 0], self.bias)
        for k in range(1, self.kernel_size[0]):
            y = y + F.linear(x[:, k : k + t], self.weight[:, :, k, 0, 0])
        return y.permute(0, 4, 1, 2, 3)


class Block(nn.Module):
    """Residual block over ``(B, t, h, w, D)``: 1x3x3, then causal kx1x1, then a small MLP.

    Factorised convolutions in channels-last order are the fastest shape of Conv3d on a CPU.

    Args:
        d: D.
        time_kernel: k, frames that the block sees; with 1 it sees its own alone, and has no layer for time.
    """

    def __init__(self, d: int, time_kernel: int = 3):
        super().__init__()
        self.norm = nn.LayerNorm(d)
        self.space = nn.Conv3d(d, d, (1, 3, 3), padding=(0, 1, 1))
        self.time = CausalTimeConv(d, time_kernel) if time_kernel > 1 else None
        self.mlp = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))

    def forward(self, x: Tensor, past: Past | None = None) -> Tensor:
        y = F.silu(self.norm(x)).permute(0, 4, 1, 2, 3)  # (B, D, t, h, w), channels last in memory
        y = self.space(y)
        y = y if self.time is None else self.time(y, past)
        x = x + y.permute(0, 2, 3, 4, 1)
        return x + self.mlp(x)


class MLP(nn.Sequential):
    """Linear, GELU, Linear: ``(..., inputs)`` -> ``(..., outputs)`` through d features.

    FSQ's grid is fixed. Where a codebook adapts to the data, the networks on both sides of FSQ have to (Mentzer et al.,
    2023, section 3), and a Linear layer alone cannot.
    """

    def __init__(self, inputs: int, d: int, outputs: int):
        super().__init__(nn.Linear(inputs, d), nn.GELU(), nn.Linear(d, outputs))


def pad_to(video: Tensor, multiple: tuple[int, int, int]) -> Tensor:
    """Repeat the last frame, row and column until ``multiple`` divides the ``(T, H, W)`` of ``(B, C, T, H, W)``."""
    t, h, w = (-n % m for n, m in zip(video.shape[2:], multiple))
    return F.pad(video, (0, w, 0, h, 0, t), mode="replicate") if t or h or w else video
