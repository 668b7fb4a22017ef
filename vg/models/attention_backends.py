"""Causal attention with ALiBi, one interface over several kernels that give the same numbers.

Everything here takes and returns FlashAttention's layout ``(B, L, N, D)``: batch, position, head, width of a
head. Queries are the *last* ``Lq`` of the ``Lk`` positions (bottom-right alignment), so that the same call
serves training (``Lq == Lk``), a prompt after a cache (``Lq < Lk``) and one new token (``Lq == 1``).

=============  ==================================================  ==========================================
backend        runs on                                             use it for
=============  ==================================================  ==========================================
``reference``  anything                                            reading, and checking the others
``sdpa``       anything                                            training and sampling on a CPU, MPS, CUDA
``flex``       CUDA; a CPU without gradients                       long sequences on CUDA without flash-attn
``flash``      CUDA (Ampere or newer), fp16 or bf16, flash-attn 2  training and sampling on CUDA
=============  ==================================================  ==========================================
"""

import functools
import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from vg.models.alibi import alibi_bias, check_lengths
from vg.models.attention_cpu import CausalAttention

if TYPE_CHECKING:  # at run time it is imported where it is used
    from torch.nn.attention.flex_attention import BlockMask

BACKENDS = ("flash", "flex", "sdpa", "reference")
BLOCK = 256  # queries that sdpa takes at a time


def available_backends(device: torch.device | str = "cpu") -> tuple[str, ...]:
    """Backends that can run on ``device`` here, fastest first.

    ``flash`` further needs fp16 or bf16, and ``flex`` on a CPU has no gradients.
    """
    device = torch.device(device)
    flash = _flash_device(device) and not isinstance(_flash_attn_func(), ImportError)
    flex = device.type in ("cpu", "cuda")
    return tuple(name for name in BACKENDS if {"flash": flash, "flex": flex}.get(name, True))


def attention(
    q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, backend: str = "auto", window: int | None = None
) -> Tensor:
    """Causal attention with ALiBi, aligned bottom-right. No output ever depends on a later position.

    Args:
        q: ``(B, Lq, N, D)`` float, the last ``Lq`` positions of ``k``, ``Lq <= Lk``. Mind the order:
            heads after positions, as FlashAttention has them; ``F.scaled_dot_product_attention`` has not.
        k: ``(B, Lk, N, D)``, dtype and device of ``q``.
        v: ``(B, Lk, N, D)``, dtype and device of ``q``.
        slopes: ``(N,)``, constants (no gradient), from :func:`alibi_slopes` or :func:`two_scale_slopes`.
        backend: one of :data:`BACKENDS`, or ``auto``: ``flash`` where it can run, otherwise ``sdpa``.
        window: if given, a query sees itself and the ``window - 1`` positions before it, no more.

    Returns:
        ``(B, Lq, N, D)``, dtype of ``q``.

    Raises:
        ValueError: unknown backend, shapes or dtypes that disagree, more queries than keys, slopes with grad.
        RuntimeError: the backend cannot run on these tensors or is not installed.
    """
    _check(q, k, v, slopes, window)
    if backend == "auto":
        backend = auto_backend(q.device, q.dtype, q.shape[-1])
    if backend == "flash":
        return _flash(q, k, v, slopes, window)
    if backend == "flex":
        return _flex(q, k, v, slopes, window)
    if backend == "sdpa":
        return _sdpa(q, k, v, slopes, window)
    if backend == "reference":
        return _reference(q, k, v, slopes, window)
    raise ValueError(f"attention: unknown backend {backend!r}; use 'auto' or one of {', '.join(BACKENDS)}.")


def auto_backend(device: torch.device, dtype: torch.dtype, width: int) -> str:
    """What ``auto`` takes for heads of this width: ``flash`` where it can run, otherwise ``sdpa``.

    Never ``flex``: it is compiled first, which takes a compiler and time, and whether that pays has not been measured
    on a GPU. Whoever has long sequences there and no flash-attn asks for it by name.
    """
    return "sdpa" if _why_not_flash(device, dtype, width) else "flash"


def _reference(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, window: int | None) -> Tensor:
    """The definition, in fp32 at least and out of autocast's reach."""
    exact = torch.promote_types(q.dtype, torch.float32)
    bias = alibi_bias(slopes.to(q.device), q.shape[1], k.shape[1], window)  # (N, Lq, Lk)
    with torch.autocast(q.device.type, enabled=False):
        scores = torch.einsum("bind,bjnd->bnij", q.to(exact), k.to(exact)) / math.sqrt(q.shape[-1])
        weights = (scores + bias).softmax(dim=-1)  # (B, N, Lq, Lk)
        return torch.einsum("bnij,bjnd->bind", weights, v.to(exact)).to(q.dtype)


def _sdpa(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, window: int | None) -> Tensor:
    """torch's own kernel, queries in blocks, each with the keys up to its own end: no ``(Lq, Lk)`` is in memory.

    Its ``is_causal`` is aligned top-left, hence a mask of our own, always. A CPU's kernel is slower in half precision
    than in float32, and works on keys that the mask hides; so it gets float32 (benchmarks/LOG.md).
    """
    dtype, cpu = q.dtype, q.device.type == "cpu"
    exact = torch.promote_types(dtype, torch.float32) if cpu else dtype
    q, k, v = (x.transpose(1, 2).to(exact) for x in (q, k, v))  # (B, N, L, D)
    with torch.autocast(q.device.type, enabled=False):
        if torch.compiler.is_compiling():
            out = F.scaled_dot_product_attention(q, k, v, _sdpa_mask(q, k.shape[2], slopes, window))
        else:
            out = (_blocks_on_cpu if cpu else _blocks_elsewhere)(q, k, v, slopes, window)
    return out.transpose(1, 2).to(dtype)  # (B, Lq, N, D)


def _blocks_on_cpu(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, window: int | None) -> Tensor:
    """Blocks of ``(B, N, L, D)`` with a mask each."""
    earlier = k.shape[2] - q.shape[2]
    parts, masks, seen = q.split(BLOCK, dim=2), [], earlier
    for some in parts:
        seen += some.shape[2]
        masks.append(_sdpa_mask(some, seen, slopes, window))
    if window is None and not earlier and _trains(q, k, v):
        return CausalAttention.apply(q, k, v, slopes, masks)
    pairs = ((k[:, :, : mask.shape[-1]], v[:, :, : mask.shape[-1]], mask) for mask in masks)
    outs = [F.scaled_dot_product_attention(some, *pair) for some, pair in zip(parts, pairs)]
    return torch.cat(outs, dim=2)


def _blocks_elsewhere(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, window: int | None) -> Tensor:
    """Blocks of ``(B, N, L, D)`` whose masks are parts of one, that of the last block: only distances count.

    Where gradients are wanted, what a block has computed is dropped, and computed again in the backward pass: MPS keeps
    the weights of a whole block otherwise, and so does CUDA for heads that its kernels do not take.
    """
    Lq, Lk = q.shape[2], k.shape[2]
    rows = min(BLOCK, Lq)
    table = _cached_mask(_values(slopes), rows, Lk, window, q.dtype, q.device)  # (1, N, rows, Lk)

    def block(some: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        mask = mask_for_kernel(table[:, :, rows - some.shape[2] :, Lk - keys.shape[2] :], len(some))
        return F.scaled_dot_product_attention(some, keys, values, mask)

    outs, again = [], Lq > rows and _trains(q, k, v)
    for first in range(0, Lq, rows):
        some = q[:, :, first : first + rows]
        seen = Lk - Lq + first + some.shape[2]
        parts = some, k[:, :, :seen], v[:, :, :seen]
        outs.append(
            checkpoint(block, *parts, use_reentrant=False, preserve_rng_state=False) if again else block(*parts)
        )
    return torch.cat(outs, dim=2)


def _trains(*tensors: Tensor) -> bool:
    gradients = torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
    return gradients and not torch.compiler.is_compiling()


def _flex(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, window: int | None) -> Tensor:
    """FlexAttention: the bias is computed inside the kernel, no ``(Lq, Lk)`` mask in memory."""
    device = q.device
    if device.type not in ("cpu", "cuda"):
        raise RuntimeError(f"attention: backend 'flex' does not run on {device.type}; use 'sdpa'.")
    if device.type == "cpu" and torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v)):
        raise RuntimeError("attention: 'flex' has no backward on a CPU; use 'sdpa', or torch.no_grad().")
    # Numbers go in as tensors: captured integers would be compiled in, and every length compiled anew.
    shift = torch.full((), k.shape[1] - q.shape[1], device=device)
    slopes = slopes.to(device, torch.float32)

    def add_bias(score: Tensor, batch: Tensor, head: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return score - slopes[head] * (i + shift - j)

    kernel = _flex_kernel(device.type)
    visible = _flex_visible(q.shape[1], k.shape[1], window, device)
    with warnings.catch_warnings():
        # It warns of being slow without torch.compile; on a CPU we choose that: compiling takes 30 s.
        warnings.filterwarnings("ignore", message="flex_attention called without torch.compile")
        width = padded_width("flex", q.shape[-1])
        heads_first = (_widened(x, width).transpose(1, 2) for x in (q, k, v))  # (B, N, L, D)
        out = kernel(*heads_first, score_mod=add_bias, block_mask=visible, scale=q.shape[-1] ** -0.5)
    return out.transpose(1, 2)[..., : q.shape[-1]]  # (B, Lq, N, D)


def _flash(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, window: int | None) -> Tensor:
    """FlashAttention-2 (Dao, 2023, arXiv:2307.08691): takes our layout and aligns bottom-right as we do."""
    width = q.shape[-1]
    if reason := _why_not_flash(q.device, q.dtype, width):
        raise RuntimeError(f"attention: backend 'flash' cannot run: {reason}. Use 'auto' or 'sdpa'.")
    slopes = slopes.to(q.device, torch.float32).contiguous()
    reach = (-1, -1) if window is None else (window - 1, 0)  # how far a query sees to the left, to the right
    kernel = _flash_attn_func()
    assert not isinstance(kernel, ImportError)  # _why_not_flash has looked
    wide = (_widened(x, padded_width("flash", width)) for x in (q, k, v))
    out = kernel(*wide, softmax_scale=width**-0.5, causal=True, window_size=reach, alibi_slopes=slopes)
    return out[..., :width]


def padded_width(backend: str, width: int) -> int:
    """The width of a head that the kernel takes, ``width`` at least: flash multiples of 8, flex powers of 2 from 16."""
    if backend == "flash":
        return -(-width // 8) * 8
    if backend == "flex":
        return max(16, 1 << (width - 1).bit_length())
    return width


def _widened(x: Tensor, width: int) -> Tensor:
    """``(..., D)`` with zeros up to ``(..., width)``: they add nothing to a score, and come out as zeros."""
    return x if x.shape[-1] == width else F.pad(x, (0, width - x.shape[-1]))


def _why_not_flash(device: torch.device, dtype: torch.dtype, width: int) -> str | None:
    """The reason why FlashAttention cannot serve heads of this width there, or None if it can."""
    if not _flash_device(device):
        return f"it needs a CUDA GPU of compute capability 8.0 or above, the tensors are on '{device}'"
    if dtype not in (torch.float16, torch.bfloat16):
        return f"it takes float16 or bfloat16, the tensors are {dtype}: cast them, or use torch.autocast"
    if width > 256:
        return f"a head may be at most 256 wide, this one is {width}"
    if isinstance(problem := _flash_attn_func(), ImportError):
        return f"flash-attn is not installed or does not load ({problem}); see environment-cuda.yml"
    return None


def _flash_device(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


@functools.cache
def _flash_attn_func() -> Callable[..., Tensor] | ImportError:
    """The kernel, or the ImportError that says why not. Asked once: a failing import is slow."""
    try:
        from flash_attn import flash_attn_func
    except ImportError as problem:  # not installed, built for another torch, or a version 4 (which has no ALiBi)
        return problem
    return flash_attn_func


@functools.cache
def _flex_kernel(device_type: str) -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention) if device_type == "cuda" else flex_attention


@functools.lru_cache(maxsize=16)
def _flex_visible(Lq: int, Lk: int, window: int | None, device: torch.device) -> "BlockMask":
    """Which blocks of keys a block of queries needs; the kernel skips the others."""
    from torch.nn.attention.flex_attention import create_block_mask

    def visible(batch: Tensor, head: Tensor, i: Tensor, j: Tensor) -> Tensor:
        distance = i + shift - j
        return (distance >= 0) & (distance < reach)

    with torch.inference_mode(False):  # as in _cached_mask
        shift = torch.full((), Lk - Lq, device=device)
        reach = torch.full((), window or Lk, device=device)
        return create_block_mask(visible, None, None, Lq, Lk, device=device)


def _sdpa_mask(q: Tensor, Lk: int, slopes: Tensor, window: int | None) -> Tensor:
    """``(B, N, Lq, Lk)`` for ``q`` ``(B, N, Lq, D)``, of its dtype: 4-D and without grad, or that is slow."""
    B, _, Lq, _ = q.shape
    if torch.compiler.is_compiling():  # a cache would break the graph
        mask = alibi_bias(slopes.to(q.device), Lq, Lk, window).to(q.dtype)[None]
    else:
        mask = _cached_mask(_values(slopes), Lq, Lk, window, q.dtype, q.device)
    return mask.expand(B, -1, -1, -1) if q.device.type == "cpu" else mask_for_kernel(mask, B)


def mask_for_kernel(part: Tensor, batch: int) -> Tensor:
    """A part ``(1, N, Lq, Lk)`` of a mask as kernels off the CPU can read it: ``(batch, N, Lq, Lk)``."""
    part = part.clone(memory_format=torch.contiguous_format)  # CUDA's reads 16 bytes at a time, from the first on
    mask = part.expand(batch, -1, -1, -1)
    return mask.contiguous() if mask.device.type == "mps" else mask  # MPS misreads a broadcast mask


@functools.lru_cache(maxsize=16)
def _cached_mask(
    values: tuple[float, ...], Lq: int, Lk: int, window: int | None, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """``(1, N, Lq, Lk)``, shared by all layers with these slopes: never write into it."""
    # A mask first made while sampling in inference mode must serve training afterwards.
    with torch.inference_mode(False):
        return alibi_bias(torch.tensor(values, device=device), Lq, Lk, window).to(dtype)[None]


def _values(slopes: Tensor) -> tuple[float, ...]:
    """The slopes as numbers. Off the CPU reading them waits for the device, so each tensor is read once."""
    if slopes.device.type == "cpu" or slopes.is_inference():
        return tuple(slopes.tolist())
    return _values_of_version(slopes, slopes._version)


@functools.lru_cache(maxsize=64)
def _values_of_version(slopes: Tensor, version: int) -> tuple[float, ...]:
    # A tensor hashes by identity and the cache keeps it alive; writing into it raises its version.
    return tuple(slopes.tolist())


def _check(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, window: int | None) -> None:
    shapes = f"q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}, slopes {tuple(slopes.shape)}"
    if q.ndim != 4 or k.ndim != 4 or slopes.ndim != 1:
        raise ValueError(f"attention takes q, k, v (B, L, N, D) and slopes (N,), but got {shapes}.")
    B, Lq, N, D = q.shape
    if len(slopes) != N:
        swapped = " q looks like (B, N, L, D): transpose(1, 2) it." if Lq == len(slopes) else ""
        raise ValueError(f"attention: {N} heads in q but {len(slopes)} slopes: {shapes}.{swapped}")
    if k.shape != v.shape or (k.shape[0], *k.shape[2:]) != (B, N, D):
        raise ValueError(f"attention: q (B, Lq, N, D) and k, v (B, Lk, N, D) disagree: {shapes}.")
    if not q.dtype == k.dtype == v.dtype:
        raise ValueError(f"attention: q is {q.dtype}, k {k.dtype}, v {v.dtype}; cast them (or the cache) to one.")
    if slopes.requires_grad:
        raise ValueError("attention: slopes are constants here, but these require grad; register a buffer.")
    check_lengths(Lq, k.shape[1], window)
