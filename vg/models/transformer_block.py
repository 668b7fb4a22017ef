"""One layer of the transformer."""

from typing import Any

import torch.nn as nn
from torch import Tensor

from vg.models.attention_backends import attention
from vg.models.kv_cache import KVCache


class TransformerBlock(nn.Module):
    """One layer of the transformer, norms first: attention with ALiBi, then an MLP."""

    def __init__(self, d: int, heads: int, dropout: float = 0.0):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(d)
        self.qkv = nn.Linear(d, 3 * d)
        self.out = nn.Linear(d, d)
        self.mlp = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, slopes: Tensor, cached: KVCache | None = None, **options: Any) -> Tensor:
        """``(B, L, D)`` -> ``(B, L, D)``; the positions follow those in ``cached``, and are added to it."""
        B, L, D = x.shape
        q, k, v = self.qkv(self.norm(x)).view(B, L, 3, self.heads, D // self.heads).unbind(2)  # (B, L, N, D / N)
        if cached is not None:
            k, v = cached.append(k, v)
        y = attention(q, k, v, slopes, **options)
        x = x + self.dropout(self.out(y.reshape(B, L, D)))
        return x + self.dropout(self.mlp(x))
