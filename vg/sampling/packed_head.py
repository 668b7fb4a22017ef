"""The digit head laid out for sampling: all digits of many tokens at once, each given guesses of the digits before it.

``vg.models.digits.DigitHead`` is the form to read: it draws a token's digits one after another, in as many small steps
as there are digits. Here the digits are guessed too, as the tokens are in ``vg.sampling.parallel``. A digit up to and
including a token's first wrong guess is what those steps would have drawn. Tokens with a wrong guess are drawn again
from what was drawn: the first of a sample until nothing changes, those after it, which are guesses anyway, a few times.
"""

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from vg.models.digits import DigitHead
from vg.precision import full_precision
from vg.sampling.filters import filter_logits
from vg.sampling.options import Options

TURNS = 3  # in which tokens after the first wrong one are drawn again too: better guesses for the next pass


class PackedHead:
    """The weights of ``head`` as they are now.

    Args:
        head: of a prior in evaluation mode.
        like: gives the dtype of its large products, the first in each digit's network.
    """

    def __init__(self, head: DigitHead, like: Tensor):
        networks, most = head.logits, max(head.levels)
        self.eps = networks[0][0].eps
        # the scale and shift of each norm are a part of the linear layer after it
        self.inner = torch.stack([(linear.weight * norm.weight).T for norm, linear, _, _ in networks]).to(like)
        shift = torch.stack([linear.weight @ norm.bias + linear.bias for norm, linear, _, _ in networks])
        self.shift = shift[:, None].to(like)  # (digits, 1, D)
        lasts = [last for _, _, _, last in networks]  # (digits, D, V) and (digits, 1, V): no digit is above its levels
        pads = [(0, most - last.out_features) for last in lasts]
        self.last = full_precision(torch.stack([F.pad(last.weight.T, pad) for last, pad in zip(lasts, pads)]))
        ends = [F.pad(last.bias, pad, value=-math.inf) for last, pad in zip(lasts, pads)]
        self.end = full_precision(torch.stack(ends)[:, None])
        known = [full_precision(table.weight) for table in head.known.tables]
        self.known = torch.cat(known) if known else None
        self.begins = head.known.begins
        self.earlier = torch.ones(len(lasts), len(lasts) - 1).tril(-1).to(self.end)

    def draw(
        self,
        x: Tensor,
        weights: Tensor,
        noise: Tensor,
        guess: Tensor,
        counts: list[int],
        how: Options,
        kept: Tensor | None = None,
    ) -> Tensor:
        """Tokens (L, digits), of each sample right up to and including the first that differs from its guess.

        The tokens after it are drawn from hidden states that are not theirs anyway: good guesses, no more.

        Args:
            x: hidden states (K * L, D) of K branches of guidance, each of the rows of all samples one after another.
            weights: (K,), of the branches' logits in the sum that is drawn from; they add up to 1.
            noise: (L, digits, V), Gumbel.
            guess: (L, digits) int64.
            counts: how many of the L rows each sample has.
            how: temperature, top-k and top-p.
            kept: (L, digits), of tokens that are not to be drawn, -1 where they are; these have to be the guesses too.
        """
        x = x.view(len(weights), len(noise), -1)
        digits = self._given(x, weights, noise, guess, how)
        if kept is not None:
            digits = torch.where(kept >= 0, kept, digits)
        wrong, turns = digits != guess, 1
        rows = _unsettled(wrong)
        while turns < len(self.last) and len(rows):
            if turns >= TURNS and not torch.isin(_first(wrong.any(dim=1), counts), rows).any():
                break
            before = digits[rows]
            digits[rows] = self._given(x[:, rows], weights, noise[rows], before, how)
            rows = rows[_unsettled(digits[rows] != before)]
            turns += 1
        return digits

    def _given(self, x: Tensor, weights: Tensor, noise: Tensor, digits: Tensor, how: Options) -> Tensor:
        """Each digit drawn given those before it in ``digits``: (K, L, D), ..., (L, digits) -> (L, digits)."""
        n, (K, L, D) = len(self.last), x.shape
        inputs = x.expand(n, K, L, D)
        if self.known is not None:
            known = F.embedding((digits[:, :-1] + self.begins).T, self.known)  # (digits - 1, L, D)
            with torch.autocast(x.device.type, enabled=False):  # it would add up in half precision
                inputs = inputs + (self.earlier @ known.flatten(1)).view(n, 1, L, D)
        y = F.layer_norm(inputs, (D,), eps=self.eps).view(n, K * L, D)
        y = full_precision(F.gelu(torch.baddbmm(self.shift, y.to(self.inner.dtype), self.inner)))
        with torch.autocast(x.device.type, enabled=False):
            y = (weights.to(y) @ y.view(n, K, L * D)).view(n, L, D)
            logits = filter_logits(torch.baddbmm(self.end, y, self.last) / how.temperature, how.top_k, how.top_p)
            return (logits + noise.transpose(0, 1)).argmax(dim=-1).T


def _unsettled(wrong: Tensor) -> Tensor:
    """The rows of (L, digits) with a wrong guess before the last digit: those after it were drawn from that guess."""
    return wrong[:, :-1].any(dim=1).nonzero()[:, 0]


def _first(wrong: Tensor, counts: list[int]) -> Tensor:
    """The first row of each sample that is wrong (L,), where one is."""
    begins = itertools.accumulate(counts, initial=0)
    return torch.cat([part.nonzero()[:1, 0] + begin for part, begin in zip(wrong.split(counts), begins)])
