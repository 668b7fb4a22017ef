"""A stand-in for flash-attn that insists on its contract, for machines without a GPU."""

import sys
import types

import pytest
import torch

from vg.models import attention_backends


def flash_attn_func(
    q,
    k,
    v,
    dropout_p=0.0,
    softmax_scale=None,
    causal=False,
    window_size=(-1, -1),
    softcap=0.0,
    alibi_slopes=None,
    deterministic=False,
    return_attn_probs=False,
):
    (B, Lq, N, D), Lk = q.shape, k.shape[1]
    assert k.shape == v.shape == (B, Lk, N, D), "the layout is (B, L, N, D)"
    assert D % 8 == 0 and D <= 256, "a head is a multiple of 8 wide"
    assert q.dtype == k.dtype == v.dtype and q.dtype in (torch.float16, torch.bfloat16)
    assert all(x.stride(-1) == 1 for x in (q, k, v)), "the last dimension is contiguous"
    assert causal and not dropout_p and not softcap
    assert alibi_slopes.dtype == torch.float32 and alibi_slopes.shape == (N,)
    assert alibi_slopes.is_contiguous() and alibi_slopes.device == q.device
    # Of the documented kind: causal and ALiBi are aligned to the bottom right corner of (Lq, Lk).
    out = torch.empty(q.shape)
    for i in range(Lq):
        first = 0 if window_size[0] < 0 else max(0, i + Lk - Lq - window_size[0])
        seen = torch.arange(first, i + Lk - Lq + 1)
        scores = torch.einsum("bnd,bjnd->bnj", q[:, i].float(), k[:, seen].float())
        scores = scores * (softmax_scale or D**-0.5)
        scores = scores - alibi_slopes[:, None] * (i + Lk - Lq - seen).abs()
        out[:, i] = torch.einsum("bnj,bjnd->bnd", scores.softmax(-1), v[:, seen].float())
    return out.to(q.dtype)


def install(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Put it in the place of flash-attn, on every device; lists (Lq, Lk) of the calls that it gets."""
    calls = []

    def noted(q, k, v, **options):
        with torch.autocast(q.device.type, enabled=False):
            out = flash_attn_func(q, k, v, **options)
        calls.append((q.shape[1], k.shape[1]))
        return out

    package = types.ModuleType("flash_attn")
    package.flash_attn_func = noted
    monkeypatch.setitem(sys.modules, "flash_attn", package)
    monkeypatch.setattr(attention_backends, "_flash_device", lambda device: True)
    attention_backends._flash_attn_func.cache_clear()
    return calls
