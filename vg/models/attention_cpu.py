"""Causal attention with ALiBi whose backward pass is a few matrix products: on a CPU torch's own takes far longer."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

KEYS = 128  # at a time, so that their scores stay in the processor's cache
NOTHING = 1e-20  # a weight below it is 0 beside the sum, 1; numbers that small slow a product down 200 times


class CausalAttention(torch.autograd.Function):
    """Attention of a sequence to itself, ``(B, N, L, D)`` each, every query with the keys up to its own.

    The forward pass is torch's flash kernel, a block of queries at a time. It leaves the log of every softmax's sum, so
    that the backward pass makes the weights anew without a softmax; and what is added to a product there is one column
    more of its factors (``_with_columns``).
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, masks: list[Tensor]) -> Tensor:
        """``masks``: of a block of queries each, ``(B, N, queries, keys up to the last query's own)``."""
        outs, log_sums, seen = [], [], 0
        for mask in masks:
            first, seen = seen, mask.shape[-1]
            out, log_sum = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
                q[:, :, first:seen], k[:, :, :seen], v[:, :, :seen], attn_mask=mask
            )
            outs.append(out)
            log_sums.append(log_sum)
        out = torch.cat(outs, dim=2)
        ctx.save_for_backward(q, k, v, slopes, out, torch.cat(log_sums, dim=2))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, slopes, out, log_sum = ctx.saved_tensors
        B, N, L, D = q.shape
        scale, unit = 1 / math.sqrt(D), math.log2(math.e)  # exp2, as torch's exp is slow where it comes to 0
        position = torch.arange(L, dtype=q.dtype) - L / 2
        slopes = slopes.to(q.dtype)[:, None]  # (N, 1)
        # log2 of a weight: unit * (scale * q k + slope * j - (slope * i + log_sum)), of positions i and j
        queries = _with_columns(scale * unit * q, unit * slopes, -unit * (slopes * position + log_sum))
        keys = _with_columns(k, position, 1.0)
        # a score's gradient: its weight * (grad v - grad out)
        grads, values = _with_columns(grad, -(grad * out).sum(-1)), _with_columns(v, 1.0)
        d_queries, d_keys, d_values = (q.new_empty(B * N, L, D) for _ in range(3))
        future = torch.full((KEYS, KEYS), -math.inf, dtype=q.dtype).triu(1)
        room = q.new_empty(2, L * KEYS)
        d_queries.zero_()
        for left, right, grad_left, value, dq, dk, dv in zip(queries, keys, grads, values, d_queries, d_keys, d_values):
            for j in range(0, L, KEYS):
                # no query before j sees a key from j on
                left, grad_left, dq = left[-(L - j) :], grad_left[-(L - j) :], dq[-(L - j) :]
                block = slice(j, j + KEYS)
                some = right[block]
                shape = L - j, len(some)
                weights, d_scores = (part[: math.prod(shape)].view(shape) for part in room)
                torch.mm(left, some.T, out=weights)
                weights[: shape[1]] += future[: shape[1], : shape[1]]
                F.threshold_(weights.exp2_(), NOTHING, 0.0)  # type: ignore[attr-defined]  # stub lacks it
                torch.mm(weights.T, grad_left[:, :D], out=dv[block])
                torch.mm(grad_left, value[block].T, out=d_scores)
                d_scores *= weights
                torch.mm(d_scores.T, left[:, :D], out=dk[block])
                dq.addmm_(d_scores, some[:, :D])
        dq, dk, dv = (x.view(B, N, L, D) for x in (d_queries.mul_(scale), d_keys.div_(unit), d_values))
        return dq, dk, dv, None, None


def _with_columns(x: Tensor, *columns: Tensor | float) -> Tensor:
    """``(B, N, L, D)`` and some that broadcast to ``(B, N, L)`` -> ``(B * N, L, D + some)``."""
    wider = x.new_empty(*x.shape[:-1], x.shape[-1] + len(columns))
    wider[..., : x.shape[-1]] = x
    for k, column in enumerate(columns, start=x.shape[-1]):
        wider[..., k] = column
    return wider.flatten(0, 1)
