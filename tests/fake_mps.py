"""A device of type mps that rounds integers to float32 when it computes with them, for machines without one."""

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map


class OnMPS(torch.Tensor):
    """A tensor there; copies to the CPU are exact."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype, device="mps")

    def __init__(self, inner):
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function is torch.ops.aten._to_copy.default and str(kwargs.get("device")) == "cpu":
            return function(args[0].inner, **kwargs)
        return tree_map(_there, function(*tree_map(_rounded, args), **tree_map(_rounded, kwargs)))


class FakeMPS(TorchFunctionMode):
    """Inside, ``x.to("mps")`` works."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.Tensor.to and str(args[1]).startswith("mps"):
            return args[0] if isinstance(args[0], OnMPS) else OnMPS(args[0])
        return function(*args, **(kwargs or {}))


def _rounded(x):
    if not isinstance(x, OnMPS):
        return x
    return x.inner if x.inner.is_floating_point() else x.inner.float().to(x.inner.dtype)


def _there(x):
    return OnMPS(x) if isinstance(x, torch.Tensor) else x
