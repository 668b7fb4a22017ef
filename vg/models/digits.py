"""A token read and written digit by digit, so that no table has to hold every code."""

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from vg.precision import full_precision


class DigitEmbedding(nn.Module):
    """Embeds a token as the sum of its digits' embeddings, so that codes that share digits start out alike."""

    def __init__(self, levels: tuple[int, ...], d: int):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(n, d) for n in levels)
        begins = torch.tensor([0, *levels]).cumsum(0)[:-1]
        self.register_buffer("begins", begins, persistent=False)  # of each table among the rows of all

    def forward(self, digits: Tensor) -> Tensor:
        """Digits ``(..., digits)`` int64 -> ``(..., D)``."""
        rows = torch.cat([table.weight for table in self.tables])
        places = (digits + self.begins).reshape(-1, digits.shape[-1])  # one look-up, which adds up
        return F.embedding_bag(places, rows, mode="sum").view(*digits.shape[:-1], rows.shape[1])


class DigitHead(nn.Module):
    """Predicts a token's digits one after another, each from the hidden state and the digits before it.

    So a vocabulary of millions costs a few dozen outputs, and every code has a probability of its own.
    """

    def __init__(self, levels: tuple[int, ...], d: int):
        super().__init__()
        self.levels = levels
        self.known = DigitEmbedding(levels[:-1], d)
        self.logits = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(d), nn.Linear(d, d), nn.GELU(), nn.Linear(d, n)) for n in levels
        )

    def given(self, x: Tensor, digits: Tensor) -> Iterator[Tensor]:
        """Logits of each digit in turn, given those before it.

        Args:
            x: hidden states ``(..., D)``.
            digits: ``(..., digits)``, the true ones.

        Yields:
            ``(..., levels[i])`` for digit i.
        """
        for i, logits in enumerate(self.logits):
            yield logits(x)
            if i + 1 < len(self.levels):
                x = x + self.known.tables[i](digits[..., i])

    def nll_bits(self, x: Tensor, digits: Tensor) -> Tensor:
        """Bits that each token costs: hidden states ``(..., D)``, digits ``(..., digits)`` -> ``(...)``."""
        total = 0
        for i, logits in enumerate(self.given(x, digits)):
            nats = F.cross_entropy(full_precision(logits.flatten(0, -2)), digits[..., i].flatten(), reduction="none")
            total = total + nats.view(x.shape[:-1]) / math.log(2)
        return total

    def sample(self, x: Tensor, choose: Callable[[Tensor], Tensor]) -> Tensor:
        """Draw tokens: hidden states ``(B, D)`` -> digits ``(B, digits)``.

        Args:
            x: hidden states.
            choose: from logits ``(B, levels[i])`` to digits ``(B,)``.
        """
        digits = []
        for i, logits in enumerate(self.logits):
            digits.append(choose(logits(x)))
            if i + 1 < len(self.levels):
                x = x + self.known.tables[i](digits[-1])
        return torch.stack(digits, dim=-1)
