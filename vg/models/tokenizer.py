"""What all autoencoders with a quantizer have in common: pixels to grids of integers, and back."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from torch import Tensor, nn

T = TypeVar("T")
"""A tensor, or (top, bottom) where there are two levels of tokens."""


@dataclass(frozen=True)
class Quantized(Generic[T]):
    """What a quantizer made of a batch.

    Attributes:
        codes: ``(B, ..., channels)`` float, with straight-through gradients.
        indices: ``(B, ...)`` int64.
        loss: the quantizer's own, a scalar; 0 where nothing has to be learned (FSQ).
    """

    codes: T
    indices: T
    loss: Tensor


class Tokenizer(Protocol[T]):
    """An autoencoder of video ``(B, C, T, H, W)`` or of images ``(B, C, H, W)`` in [-1, 1], with tokens in the middle.

    ``TubeletTokenizer`` and ``VideoAutoencoder`` have one grid of tokens ``(B, t, h, w)``, ``VQVAE`` one ``(B, h, w)``,
    ``VQVAE2`` two, for which ``T`` is the pair (top, bottom).

    Attributes:
        levels: a token is one of ``prod(levels)``; of each level where there are two.
    """

    levels: Any

    def parameters(self) -> Iterator[nn.Parameter]:
        """As of every ``nn.Module``; pixels and indices have to be on their device."""

    def __call__(self, pixels: Tensor) -> tuple[Tensor, Quantized[T]]:
        """Pixels -> their reconstruction, of the same shape and not clamped, and the tokens that it is made from."""

    def encode(self, pixels: Tensor) -> T:
        """Pixels -> indices, without gradients."""

    def decode(self, indices: T) -> Tensor:
        """Indices -> pixels in [-1, 1], without gradients."""

    def quantize(self, pixels: Tensor) -> Quantized[T]:
        """Pixels -> codes, indices and the quantizer's loss, with gradients."""

    def reconstruct(self, codes: T) -> Tensor:
        """Codes -> pixels, not clamped, with gradients."""

    def raw_bits(self, size: Any) -> float:
        """Bits of the tokens of one clip or image of ``size``, (T, H, W) or (H, W) in pixels, without a prior."""
