"""A name for what a model holds: the sha256 of its weights."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn


def weight_hash(model: nn.Module) -> str:
    """The sha256 of a model's weights, 64 hexadecimal digits.

    It covers the names, dtypes, shapes and bytes of everything in ``state_dict()``, in the order of the
    names. So it is the same on every device and after saving and loading, and another when one bit of one
    weight is, or when the model is cast to another dtype (which can move codes).

    Args:
        model: any module; not the wrapper of ``torch.compile`` or DDP around it, which renames weights.

    Raises:
        TypeError: if the ``state_dict`` holds something that is not a tensor.
    """
    weights = model.state_dict()
    for name, value in weights.items():
        if not isinstance(value, Tensor):
            raise TypeError(
                f"the state_dict of {type(model).__name__} holds {name!r}, a {type(value).__name__}: "
                "only tensors can be hashed. Make it a buffer, or leave it out of the state_dict."
            )
    return tensor_hash(weights)


def tensor_hash(tensors: Mapping[str, Tensor]) -> str:
    """The sha256 of names, dtypes, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy())
    return digest.hexdigest()


def own_copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU, each with memory of its own, as safetensors wants them: tied weights are one tensor of two names."""
    return {
        name: value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }
