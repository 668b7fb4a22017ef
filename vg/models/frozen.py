"""Frozen means frozen: a finished model inside one that trains stays as it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside (no dropout, no codebook that learns); every part's mode as it was, outside."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


class Freezable(nn.Module):
    """A module that, once frozen, neither learns nor switches to training mode.

    ``train()`` of a module around it goes through to its parts. A tokenizer with an EMA codebook would then go
    on learning while its prior trains; a frozen one ignores the call.
    """

    frozen = False

    def freeze(self) -> Self:
        """Evaluation mode and no gradients, for good."""
        self.eval()
        self.requires_grad_(False)
        self.frozen = True
        return self

    def train(self, mode: bool = True) -> Self:
        """As ``nn.Module.train``; a frozen module stays in evaluation mode."""
        return super().train(mode and not self.frozen)
