"""Whether weights fit a model, found out before it takes memory or time."""

import threading
from collections.abc import Callable, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

SMALL = 2**16  # what a configuration may ask for however few weights there are


class _TooMany(Exception):
    pass


def misfit(build: Callable[[], nn.Module], options: Mapping[str, object], weights: Mapping[str, Tensor]) -> str:
    """What is wrong, in some words; empty if nothing is.

    The model is built on the meta device, where tensors have shapes and no memory, and no further than the weights
    reach: a configuration with ten million layers ends at the first that has none.

    Args:
        build: makes the model from its configuration.
        options: of the configuration. A number in it beyond all weights can be none of theirs.
        weights: what is to be loaded.
    """
    most = max(SMALL, sum(value.numel() for value in weights.values()))
    for name, value in options.items():
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, (int, float)) and not -most <= number <= most:  # NaN too
                return f"{name} is {value}, expected no more than the {most:,} weights"
    try:
        with torch.device("meta"), _at_most(len(weights)):
            due = build().state_dict()
    except _TooMany:
        return f"it has more parts than the {len(weights)} tensors"
    except Exception as problem:  # whatever a constructor says to numbers that it was never meant for
        return f"{problem!r}"
    if strange := sorted(due.keys() ^ weights.keys()):
        return f"{', '.join(strange[:3])} {'is missing' if strange[0] in due else 'is unknown'}"
    for name, value in due.items():
        ours = weights[name]
        alike = ours.dtype == value.dtype or (ours.is_floating_point() and value.is_floating_point())
        if ours.shape != value.shape or not alike:
            return f"{name} is {ours.dtype} {tuple(ours.shape)}, expected {value.dtype} {tuple(value.shape)}"
    return ""


@contextmanager
def _at_most(count: int):
    """No module built in this thread may register more parameters."""
    thread, built = threading.get_ident(), 0

    def see(module, name, parameter):
        nonlocal built
        built += threading.get_ident() == thread
        if built > count:
            raise _TooMany

    hook = register_module_parameter_registration_hook(see)
    try:
        yield
    finally:
        hook.remove()
