"""Logits filters: which values a digit may be drawn from, and the draw."""

import math

import torch
from torch import Tensor


def filter_logits(logits: Tensor, top_k: int | None = None, top_p: float | None = None) -> Tensor:
    """Put ``-inf`` where top-k or top-p leave a value out: (..., V) -> (..., V). The most probable one stays.

    Args:
        logits: already divided by the temperature.
        top_k: keep the so many largest (and what ties with the last of them).
        top_p: keep the fewest of the largest whose probabilities add up to this.
    """
    out = logits
    if top_k is not None and top_k < logits.shape[-1]:
        least = logits.topk(top_k, dim=-1).values[..., -1:]
        out = out.masked_fill(logits < least, -math.inf)
    if top_p is not None and top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        share = ordered.softmax(dim=-1)
        before = share.cumsum(dim=-1) - share  # held by more probable values
        out = out.masked_fill((before >= top_p).scatter(-1, order, before >= top_p), -math.inf)
    return out


def gumbel(noise: Tensor) -> Tensor:
    """Uniform noise -> Gumbel noise, which makes the largest of ``logits + noise`` a sample of ``softmax(logits)``."""
    return -torch.log(-torch.log(noise.clamp(1e-9, 1 - 1e-7)))
