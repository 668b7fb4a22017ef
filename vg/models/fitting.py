"""A model for weights that a stranger may have made: refused before it takes more memory or time than they do."""

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from vg.interrupts import heeded

SMALL = 2**16  # what a configuration may ask for however few weights there are
FACTORIES = {torch.empty, torch.full, torch.ones, torch.rand, torch.randn, torch.zeros}


class Misfit(ValueError):
    """Weights and configuration are not of one model."""


def fitted(build: Callable[[], nn.Module], options: Mapping[str, object], weights: Mapping[str, Tensor]) -> nn.Module:
    """The model, with its weights.

    It is built no further than the weights reach: a configuration with ten million layers ends at the first that has
    none, one with a matrix that is larger than all of them before that is there.

    Args:
        build: makes the model from its configuration.
        options: of the configuration. A number in it beyond all weights can be none of theirs.
        weights: what is to be loaded; their shapes and kinds have to be those of the model.

    Raises:
        Misfit: if they do not fit; it says where, in one line.
    """
    most = max(SMALL, sum(value.numel() for value in weights.values()))
    for name, value in options.items():
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, (int, float)) and not -most <= number <= most:  # NaN too
                raise Misfit(f"{name} is {value}, expected no more than the {most:,} weights")
    with heeded() as stop:  # else an interrupt could leave the limits in place
        try:
            with _limits(len(weights), most):
                model = build()
        except Misfit:
            raise
        except Exception as problem:  # whatever a constructor says to numbers that it was never meant for
            raise Misfit(f"{type(problem).__name__}: {' '.join(str(problem).split())}") from problem
    if stop.asked:
        raise KeyboardInterrupt
    due = model.state_dict()
    if strange := sorted(due.keys() ^ weights.keys()):
        raise Misfit(f"{', '.join(strange[:3])} {'is missing' if strange[0] in due else 'is unknown'}")
    for name, value in due.items():
        ours = weights[name]
        alike = ours.dtype == value.dtype or (ours.is_floating_point() and value.is_floating_point())
        if ours.shape != value.shape or not alike:
            raise Misfit(f"{name} is {ours.dtype} {tuple(ours.shape)}, expected {value.dtype} {tuple(value.shape)}")
    model.load_state_dict(weights)
    return model


class _Sizes(TorchFunctionMode):
    """No new tensor of more than ``most`` numbers, within this block and thread."""

    def __init__(self, most: int):
        super().__init__()
        self.most = most

    def __torch_function__(
        self, function: Callable, types: Sequence[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in FACTORIES:
            size = kwargs.get("size", args)
            size = size[0] if size and not isinstance(size[0], int) else size
            if math.prod(size) > self.most:
                raise Misfit(f"it has a tensor of shape {tuple(size)}, larger than all weights")
        return function(*args, **kwargs)


@contextmanager
def _limits(count: int, most: int) -> Iterator[None]:
    """Modules that are built in this thread have at most ``count`` parameters with ``most`` numbers."""
    thread, seen, numbers = threading.get_ident(), 0, 0

    def see(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal seen, numbers
        if threading.get_ident() != thread or parameter is None:
            return
        seen, numbers = seen + 1, numbers + parameter.numel()
        if seen > count or numbers > most:
            raise Misfit(f"it has more layers or larger ones than the {count} tensors of the weights")

    hook = register_module_parameter_registration_hook(see)
    try:
        with _Sizes(most):
            yield
    finally:
        hook.remove()
