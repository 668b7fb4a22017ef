"""A name for what a model holds: the sha256 of its weights."""

import hashlib

import torch
from torch import nn


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
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if not isinstance(value, torch.Tensor):
            raise TypeError(
                f"the state_dict of {type(model).__name__} holds {name!r}, a {type(value).__name__}: "
                "only tensors can be hashed. Make it a buffer, or leave it out of the state_dict."
            )
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
