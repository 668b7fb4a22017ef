"""Quantizers: from real vectors to integers and back."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from vg.models.frozen import Freezable

FSQ_LEVELS = {
    8: (8, 6, 5),
    10: (8, 5, 5, 5),
    12: (7, 5, 5, 5, 5),
    14: (8, 8, 8, 6, 5),
    16: (8, 8, 8, 5, 5, 5),
}
"""Levels for about 2^bits codes, as published (Mentzer et al., 2023, table 1)."""


def exact(integers: Tensor) -> Tensor:
    """Integers where arithmetic with them is exact: from MPS, which rounds large ones, copied to the CPU.

    Digits are small and may stay. Indices of large vocabularies, and what is computed from them, may not.
    """
    return integers.cpu() if integers.device.type == "mps" else integers


class FSQ(nn.Module):
    """Finite scalar quantization (Mentzer et al., 2023, arXiv:2309.15505, appendix A).

    Each of the ``len(levels)`` channels is squashed to ``levels[i]`` values and rounded; together
    the digits name one of ``prod(levels)`` codes, so there is no codebook to learn or to collapse.
    (The paper's listing stretches by 0.999 where this has 1.001, and shifts even levels by ``tan`` where this has
    ``atanh``: so 0 comes out at 0 exactly.)

    Args:
        levels: values per channel, each at least 3.

    Raises:
        ValueError: if there are no levels, one is below 3 (with two, one value is unreachable), or an index would not
            fit 64 bits with a sign.
    """

    def __init__(self, levels: Sequence[int]):
        super().__init__()
        self.levels = tuple(int(n) for n in levels)
        if not self.levels or min(self.levels) < 3:
            raise ValueError(f"FSQ: levels are {list(levels)}, expected at least one and each at least 3")
        self.size, self.channels = math.prod(self.levels), len(self.levels)
        if self.size > 2**63:
            raise ValueError(f"FSQ: levels {list(levels)} name {self.size:,} codes, more than 63 bits hold: use fewer")
        self.bits_per_code = math.log2(self.size)
        count = torch.tensor(self.levels, dtype=torch.float32)
        half = (count - 1) * (1 + 1e-3) / 2
        offset = torch.where(count % 2 == 0, 0.5, 0.0)
        basis = torch.cumprod(torch.tensor([1, *self.levels[:-1]]), 0)
        for name, value in dict(bound=half, offset=offset, shift=torch.atanh(offset / half)).items():
            self.register_buffer(name, value, persistent=False)
        self.register_buffer("width", torch.div(count, 2, rounding_mode="floor"), persistent=False)
        self.register_buffer("basis", basis, persistent=False)
        self.register_buffer("count", count.long(), persistent=False)

    def extra_repr(self) -> str:
        return f"levels={list(self.levels)}, codes={self.size}"

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Quantize ``z``.

        Args:
            z: ``(..., len(levels))``, any real values.

        Returns:
            codes in [-1, 1], the shape of ``z``, with straight-through gradients (float32: half
            precision cannot tell neighbouring codes apart); and indices, ``(...)`` int64 in
            [0, prod(levels)).

        Raises:
            ValueError: if the last dimension is not ``len(levels)`` or ``z`` holds a NaN.
        """
        if z.shape[-1] != len(self.levels):
            raise ValueError(f"FSQ: got {tuple(z.shape)}, expected (..., {len(self.levels)})")
        with torch.autocast(z.device.type, enabled=False):
            bounded = torch.tanh(z.float() + self.shift) * self.bound - self.offset
            whole = bounded.detach().round().clamp(-self.width, self.count - 1 - self.width)  # beyond with over 1,000
            if whole.isnan().any():
                raise ValueError(f"FSQ: {int(z.isnan().any(-1).sum())} of the vectors to quantize hold a NaN")
            codes = (bounded + (whole - bounded.detach())) / self.width
            return codes, self.indices((whole + self.width).long())

    def indices(self, digits: Tensor) -> Tensor:
        """Digits ``(..., len(levels))`` int64, digit i in [0, levels[i]) -> indices ``(...)`` int64."""
        return (exact(digits) * exact(self.basis)).sum(-1).to(digits.device)

    def digits(self, indices: Tensor) -> Tensor:
        """Indices ``(...)`` int64 -> digits ``(..., len(levels))`` int64. The first digit runs fastest.

        Raises:
            ValueError: if an index is not in [0, prod(levels)): another tokenizer's, most likely.
        """
        whole = exact(indices)
        low, high = map(int, whole.aminmax()) if whole.numel() else (0, 0)
        if low < 0 or high >= self.size:
            raise ValueError(f"FSQ: codes are 0 to {self.size - 1:,}, but here are {low:,} to {high:,}.")
        return (whole[..., None] // exact(self.basis) % exact(self.count)).to(indices.device)

    def codes(self, indices: Tensor) -> Tensor:
        """Indices ``(...)`` int64 -> codes ``(..., len(levels))`` float32 in [-1, 1]."""
        return (self.digits(indices) - self.width) / self.width

    def loss(self, z: Tensor, codes: Tensor, indices: Tensor) -> Tensor:
        """Zero: nothing has to be held together. (Here so that one line trains with either quantizer.)"""
        return torch.zeros((), device=z.device)


class VQ(Freezable):
    """Vector quantization (van den Oord et al., 2017, arXiv:1711.00937): the nearest of ``size`` learned vectors.

    The codebook follows the vectors that choose it by running averages (appendix A.1 there). Codes that are hardly
    chosen would fade to the origin, or, learned by gradients, stay where they are; they are put onto vectors of the
    batch instead (Dhariwal et al., 2020, arXiv:2005.00341, section 3.1). Nothing changes in evaluation mode or once
    frozen. It trains in one process: ``vg.training`` refuses to share a model that learns by running averages.

    Args:
        size: K, number of codes, at least 2.
        channels: D, length of a code.
        decay: of the running averages; None learns the codebook by gradients instead (the codebook loss).
        commitment: weight of the loss that holds vectors near their codes.
        data_init: begin with k-means of the first batch in training; otherwise with small random vectors.
        restart: move codes that are chosen less than a tenth as often as the average code.

    Attributes:
        codebook: (K, D) float32.
        sums, counts: (K, D) and (K,) float32, running averages of what each code's vectors add up to in a batch,
            and of how many there are.
        initialised: whether the codebook has seen data. A buffer like the others: a resumed run does not begin again.

    Raises:
        ValueError: if a number is out of its range.
    """

    def __init__(
        self,
        size: int,
        channels: int,
        *,
        decay: float | None = 0.99,
        commitment: float = 0.25,
        data_init: bool = True,
        restart: bool = True,
    ):
        super().__init__()
        if size < 2 or channels < 1 or not (decay is None or 0 <= decay < 1) or commitment < 0:
            raise ValueError(
                f"VQ: size is {size}, channels {channels}, decay {decay}, commitment {commitment}; expected 2 or more, "
                "1 or more, 0 up to 1 (or None), 0 or more."
            )
        self.size, self.channels, self.levels, self.bits_per_code = size, channels, (size,), math.log2(size)
        self.decay, self.commitment, self.restart = decay, commitment, restart
        codebook = torch.empty(size, channels).uniform_(-1 / size, 1 / size)
        if decay is None:
            self.codebook = nn.Parameter(codebook)
        else:
            self.register_buffer("codebook", codebook)
        self.register_buffer("sums", codebook.clone())
        self.register_buffer("counts", torch.ones(size))
        self.register_buffer("initialised", torch.tensor(not data_init))

    def extra_repr(self) -> str:
        learned = "codebook loss" if self.decay is None else f"decay={self.decay}"
        return f"size={self.size}, channels={self.channels}, {learned}, restart={self.restart}"

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Quantize ``z``, and in training mode let the codebook follow.

        Args:
            z: ``(..., channels)``, any real values.

        Returns:
            codes, float32 in the shape of ``z``, exactly rows of the codebook, whose gradient goes straight to ``z``;
            and indices, ``(...)`` int64 in [0, size).

        Raises:
            ValueError: if the last dimension is not ``channels``, or a value is not finite.
        """
        if z.shape[-1] != self.channels:
            raise ValueError(f"VQ: got {tuple(z.shape)}, expected (..., {self.channels})")
        with torch.autocast(z.device.type, enabled=False):
            z = z.float()
            vectors = z.detach().reshape(-1, self.channels)
            if not vectors.isfinite().all():
                bad = int((~vectors.isfinite()).any(-1).sum())
                raise ValueError(f"VQ: {bad} of the vectors to quantize hold a NaN or an infinity")
            if self.training and not self.initialised:
                self._initialise(vectors)
            indices = nearest(vectors, self.codebook.detach())
            codes = self.codebook.detach()[indices].view(z.shape) + (z - z.detach())  # adds 0, and the gradient
            if self.training:
                self._follow(vectors, indices)
            return codes, indices.view(z.shape[:-1])

    def codes(self, indices: Tensor) -> Tensor:
        """Indices ``(...)`` int64 -> codes ``(..., channels)`` float32."""
        return self.codebook[indices]

    def loss(self, z: Tensor, codes: Tensor, indices: Tensor) -> Tensor:
        """What holds vectors and codes together, a scalar: commitment, and without averages the codebook loss.

        Both are mean squared distances (equation 3 of the paper).

        Args:
            z, codes, indices: what went into ``forward``, and what came out.
        """
        with torch.autocast(z.device.type, enabled=False):
            loss = self.commitment * F.mse_loss(z.float(), codes.detach())
            return loss + F.mse_loss(self.codebook[indices], z.detach().float()) if self.decay is None else loss

    @torch.no_grad()
    def _initialise(self, vectors: Tensor) -> None:
        """k-means of a batch, or of a part of it."""
        some = vectors[torch.randperm(len(vectors), device=vectors.device)[: 32 * self.size]]
        means = kmeans(some, self.size)
        self.codebook.copy_(means)
        counts, _ = _tally(vectors, nearest(vectors, means), self.size)
        self.counts.copy_(counts)
        self.sums.copy_(means * counts[:, None])
        self.initialised.fill_(True)

    @torch.no_grad()
    def _follow(self, vectors: Tensor, indices: Tensor) -> None:
        """One step of the running averages, and of the codebook to their quotient."""
        counts, sums = _tally(vectors, indices, self.size)
        share = 1 - (0.99 if self.decay is None else self.decay)
        self.counts.lerp_(counts, share)
        self.sums.lerp_(sums, share)
        if self.decay is not None:
            total, tiny = self.counts.sum(), 1e-5
            smooth = (self.counts + tiny) / (total + self.size * tiny) * total  # Laplace: never a division by zero
            self.codebook.copy_(self.sums / smooth[:, None])
        if self.restart:
            self._restart(vectors)

    def _restart(self, vectors: Tensor) -> None:
        """Put codes that are hardly chosen onto vectors of the batch, with the counts and sums of an average code."""
        average = self.counts.mean()
        dead = (self.counts < 0.1 * average).nonzero()[:, 0]
        if not len(dead):
            return
        dead = dead[: len(vectors)]  # the others wait for the next batch
        fresh = vectors[torch.randperm(len(vectors), device=vectors.device)[: len(dead)]]
        self.codebook[dead] = fresh
        self.counts[dead] = average
        self.sums[dead] = average * fresh


def nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    """The nearest row of ``codebook`` (K, D) to each of ``vectors`` (n, D), both float32: (n,) int64.

    ``|v - c|^2 = |v|^2 - 2 (v c - |c|^2 / 2)``: what is largest in brackets is nearest. In units of the codebook's
    largest number, so that nothing overflows.
    """
    unit = codebook.abs().amax().clamp(min=1e-37)
    c = codebook / unit
    v = (vectors / unit).clamp(-1e30, 1e30)
    return torch.addmm(-0.5 * c.square().sum(1), v, c.T).argmax(1)


def kmeans(vectors: Tensor, k: int, steps: int = 10) -> Tensor:
    """``k`` centres of ``vectors`` (n, D) float32: (k, D), by Lloyd's algorithm from random vectors.

    A centre that nobody is nearest to stays where it is. With fewer vectors than centres, some occur again.
    """
    order = torch.randperm(len(vectors), device=vectors.device)
    means = vectors[order.repeat(-(-k // len(vectors)))[:k]]
    for _ in range(steps):
        counts, sums = _tally(vectors, nearest(vectors, means), k)
        means = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], means)
    return means


def _tally(vectors: Tensor, indices: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """How many vectors each code has, (size,), and their sums, (size, D)."""
    both = vectors.new_zeros(size, vectors.shape[1] + 1)
    both.index_add_(0, indices, F.pad(vectors, (0, 1), value=1.0))
    return both[:, -1], both[:, :-1]


@dataclass(frozen=True)
class QuantizerConfig:
    """Which quantizer a model has.

    Attributes:
        kind: ``vq`` or ``fsq``.
        codebook_size: K, codes of a VQ.
        code_dim: length of a VQ's code; short ones are all used sooner (Yu et al., 2022, arXiv:2110.04627, sec. 3.2).
        levels: levels of an FSQ.
        decay: of the VQ's running averages; None for the codebook loss.
        commitment: weight of the VQ's commitment loss.
        data_init: whether the codebook begins with k-means of the first batch.
        restart: whether dead codes are moved.
    """

    kind: str = "vq"
    codebook_size: int = 512
    code_dim: int = 16
    levels: tuple[int, ...] = (8, 8, 8)
    decay: float | None = 0.99
    commitment: float = 0.25
    data_init: bool = True
    restart: bool = True

    def build(self) -> "FSQ | VQ":
        """The quantizer.

        Raises:
            ValueError: if ``kind`` is neither.
        """
        if self.kind == "fsq":
            return FSQ(self.levels)
        if self.kind == "vq":
            return VQ(
                self.codebook_size, self.code_dim, decay=self.decay, commitment=self.commitment,
                data_init=self.data_init, restart=self.restart,
            )  # fmt: skip
        raise ValueError(f"QuantizerConfig: kind is {self.kind!r}, expected 'vq' or 'fsq'.")
