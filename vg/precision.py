"""In which precision finished models compute: half on the GPUs that are made for it, single elsewhere.

Training has ``vg.profiles.mixed_precision``. Here is the same for sampling, measuring and cache writing.

Two things stay in single precision everywhere. What is measured of a VAE: bfloat16 rounds a pixel's mean by up to a
quarter of a grey level, which would be in the bits. ``vg.latents.search``: float16 loses small gradients, and of
scores that half precision cannot tell apart none is the best. (Single as PyTorch has it: convolutions on GPUs from
compute capability 8.0 on round their factors to TF32's ten bits, a hundredth of a grey level or so.)
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from vg.profiles import profile


def half_of(kind: str, capability: tuple[int, int]) -> torch.dtype | None:
    """The half precision that a device multiplies in; None for single.

    bfloat16 from compute capability 8.0 on, where FlashAttention takes it; float16 on the tensor cores of 7.0 and 7.5;
    none before. MPS stays in single precision: it has no FlashAttention, and nobody has measured half on it yet.

    Args:
        kind: of the device: "cpu", "cuda" or "mps".
        capability: of a CUDA GPU; of no meaning elsewhere.
    """
    if kind != "cuda" or capability < (7, 0):
        return None
    return torch.bfloat16 if capability >= (8, 0) else torch.float16


def autocast(where: torch.device | str) -> AbstractContextManager:
    """Finished models compute in the half precision of the device inside, where it has one. Never in ``smoke``.

    Where there is none nothing is switched, neither on nor off. What models give may be in half precision:
    ``full_precision`` of it goes on to where sums are taken or numbers are stored.
    """
    place = torch.device(where)
    if place.type != "cuda" or profile().name == "smoke":
        return nullcontext()
    dtype = half_of(place.type, torch.cuda.get_device_capability(place))
    return nullcontext() if dtype is None else torch.autocast(place.type, dtype)


def product_dtype(like: Tensor) -> torch.dtype:
    """The dtype in which matrices like this are multiplied here and now: autocast's, or their own."""
    kind = like.device.type
    if like.dtype == torch.float32 and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return like.dtype


def full_precision(x: Tensor) -> Tensor:
    """In float32; float32 and float64 as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
