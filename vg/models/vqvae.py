"""VQ-VAE and VQ-VAE-2: an image as one grid of integers, or as two, the coarse one conditioning the fine one."""

import math
from dataclasses import dataclass, field

import torch
import torch.nn as nn
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from vg.models.frozen import Freezable
from vg.models.quantizers import FSQ, VQ, QuantizerConfig
from vg.models.tokenizer import Quantized


@dataclass(frozen=True)
class VQVAEConfig:
    """Shape of a ``VQVAE``.

    Attributes:
        channels: colours of a pixel, 1 or 3.
        stride: pixels along a side of the square that one token stands for; even.
        width: D, features of a token inside the networks.
        encoder_depth: residual blocks before the quantizer, on the token grid.
        decoder_depth: residual blocks after it, on the token grid; drawing is harder than describing, so more.
        fine_depth: residual blocks on a grid twice as fine, ``width // 2`` wide, before the pixels.
        quantizer: VQ or FSQ, and its options.
    """

    channels: int = 3
    stride: int = 4
    width: int = 96
    encoder_depth: int = 2
    decoder_depth: int = 3
    fine_depth: int = 1
    quantizer: QuantizerConfig = field(default_factory=lambda: QuantizerConfig())


@dataclass(frozen=True)
class VQVAE2Config:
    """Shape of a ``VQVAE2``; what is not named here is as in ``VQVAEConfig``.

    Attributes:
        stride: pixels along a side that a bottom token stands for; a top token stands for twice as many.
        top_depth: residual blocks on the top grid, before its quantizer and again after it.
        top_quantizer, quantizer: of the top tokens and of the bottom tokens, VQ or FSQ.
    """

    channels: int = 3
    stride: int = 4
    width: int = 96
    encoder_depth: int = 2
    top_depth: int = 1
    decoder_depth: int = 3
    fine_depth: int = 1
    top_quantizer: QuantizerConfig = field(
        default_factory=lambda: QuantizerConfig(codebook_size=4096, levels=(8, 8, 8, 8))
    )
    quantizer: QuantizerConfig = field(default_factory=lambda: QuantizerConfig(codebook_size=64, levels=(8, 8)))


class ImageBlock(nn.Module):
    """Residual block over ``(B, h, w, D)``: a 3x3 convolution, then a small MLP, norms first."""

    def __init__(self, d: int):
        super().__init__()
        self.norm = nn.LayerNorm(d)
        self.conv = nn.Conv2d(d, d, 3, padding=1)
        self.mlp = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))

    def forward(self, x: Tensor) -> Tensor:
        y = F.silu(self.norm(x)).permute(0, 3, 1, 2)  # (B, D, h, w), channels last in memory
        x = x + self.conv(y).permute(0, 2, 3, 1)
        return x + self.mlp(x)


class Patchify(nn.Module):
    """``n`` times as coarse a grid: ``(B, n h, n w, d)`` -> ``(B, h, w, D)``. A convolution with stride = kernel."""

    def __init__(self, d: int, D: int, n: int):
        super().__init__()
        self.n, self.linear = n, nn.Linear(n * n * d, D)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(rearrange(x, "b (h m) (w n) d -> b h w (m n d)", m=self.n, n=self.n))


class Unpatchify(nn.Module):
    """``n`` times as fine a grid: ``(B, h, w, D)`` -> ``(B, n h, n w, d)``, the reverse of ``Patchify``."""

    def __init__(self, D: int, d: int, n: int):
        super().__init__()
        self.n, self.linear = n, nn.Linear(D, n * n * d)

    def forward(self, x: Tensor) -> Tensor:
        return rearrange(self.linear(x), "b h w (m n d) -> b (h m) (w n) d", m=self.n, n=self.n)


class VQVAE(Freezable):
    """VQ-VAE (van den Oord et al., 2017, arXiv:1711.00937) for images of any size that the stride divides.

    Example:
        >>> model = VQVAE(VQVAEConfig())
        >>> model.encode(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 8, 8])
        >>> model.raw_bits((32, 32))
        576.0
    """

    def __init__(self, config: VQVAEConfig = VQVAEConfig()):
        super().__init__()
        self.config, self.stride = config, config.stride
        self.quantizer = config.quantizer.build()
        self.levels = self.quantizer.levels
        d = config.width
        self.encoder = nn.Sequential(Patchify(config.channels, d, config.stride), *_blocks(d, config.encoder_depth))
        self.to_code = _to_code(d, self.quantizer)
        self.from_code = nn.Linear(self.quantizer.channels, d)
        self.decoder = _decoder(config)
        self.inner = _inner(self)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> tuple[Tensor, Quantized[Tensor]]:
        """Encode and decode: (B, C, H, W) -> reconstruction of that shape, and ``quantize`` of the images."""
        quantized = self.quantize(images)
        return self.reconstruct(quantized.codes), quantized

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in [-1, 1] -> indices (B, h, w) int64.

        Raises:
            ValueError: if the shape is another, or the stride does not divide H and W.
        """
        return self.quantize(images).indices

    @torch.no_grad()
    def decode(self, indices: Tensor) -> Tensor:
        """Indices (B, h, w) int64 -> images (B, C, H, W) in [-1, 1]."""
        return self.reconstruct(self.quantizer.codes(indices)).clamp(-1, 1)

    def quantize(self, images: Tensor) -> Quantized[Tensor]:
        """(B, C, H, W) -> codes (B, h, w, code) with gradients, indices (B, h, w), the quantizer's loss."""
        _check(self, images, self.stride)
        z = self.to_code(self.encoder(images.permute(0, 2, 3, 1)))
        codes, indices = self.quantizer(z)
        return Quantized(codes, indices, self.quantizer.loss(z, codes, indices))

    def reconstruct(self, codes: Tensor) -> Tensor:
        """Codes (B, h, w, code) -> images (B, C, H, W), not clamped, with gradients."""
        return self.decoder(self.from_code(codes)).permute(0, 3, 1, 2)

    def raw_bits(self, size: tuple[int, int]) -> float:
        """Bits of the tokens of an image of ``size`` (H, W) in pixels, without a prior."""
        return math.prod(n // self.stride for n in size) * self.quantizer.bits_per_code


class VQVAE2(Freezable):
    """VQ-VAE-2 with two levels (Razavi et al., 2019, arXiv:1906.00446, section 3.1 and figure 2a).

    The top grid is quantized first. What it decodes to goes into the encoder of the bottom grid, which therefore has
    to say only what the top has not said, and with the bottom codes into the decoder.

    Example:
        >>> model = VQVAE2(VQVAE2Config())
        >>> [tuple(indices.shape) for indices in model.encode(torch.zeros(2, 3, 32, 32))]
        [(2, 4, 4), (2, 8, 8)]
        >>> model.raw_bits((32, 32))
        576.0
    """

    def __init__(self, config: VQVAE2Config = VQVAE2Config()):
        super().__init__()
        self.config, self.stride = config, config.stride
        self.top_quantizer = config.top_quantizer.build()
        self.quantizer = config.quantizer.build()
        self.levels = (self.top_quantizer.levels, self.quantizer.levels)
        d = config.width
        self.encoder = nn.Sequential(Patchify(config.channels, d, config.stride), *_blocks(d, config.encoder_depth))
        self.top_encoder = nn.Sequential(Patchify(d, d, 2), *_blocks(d, config.top_depth))
        self.to_top_code = _to_code(d, self.top_quantizer)
        self.from_top_code = nn.Linear(self.top_quantizer.channels, d)
        self.top_decoder = nn.Sequential(*_blocks(d, config.top_depth), Unpatchify(d, d, 2))
        self.join = nn.Sequential(nn.Linear(2 * d, d), ImageBlock(d))
        self.to_code = _to_code(d, self.quantizer)
        self.from_code = nn.Linear(self.quantizer.channels, d)
        self.decoder = _decoder(config)
        self.inner = _inner(self)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> tuple[Tensor, Quantized[tuple[Tensor, Tensor]]]:
        """Encode and decode: (B, C, H, W) -> reconstruction of that shape, and ``quantize`` of the images."""
        quantized = self.quantize(images)
        return self.reconstruct(quantized.codes), quantized

    @torch.no_grad()
    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) in [-1, 1] -> indices, top (B, h / 2, w / 2) and bottom (B, h, w), int64.

        Raises:
            ValueError: if the shape is another, or twice the stride does not divide H and W.
        """
        return self.quantize(images).indices

    @torch.no_grad()
    def decode(self, indices: tuple[Tensor, Tensor]) -> Tensor:
        """Indices, top (B, h / 2, w / 2) and bottom (B, h, w) -> images (B, C, H, W) in [-1, 1]."""
        top, bottom = indices
        codes = self.top_quantizer.codes(top), self.quantizer.codes(bottom)
        return self.reconstruct(codes).clamp(-1, 1)

    def quantize(self, images: Tensor) -> Quantized[tuple[Tensor, Tensor]]:
        """(B, C, H, W) -> codes (top, bottom) with gradients, indices (top, bottom), the quantizers' loss."""
        _check(self, images, 2 * self.stride)
        x = self.encoder(images.permute(0, 2, 3, 1))  # (B, h, w, D)
        z = self.to_top_code(self.top_encoder(x))
        top, top_indices = self.top_quantizer(z)
        loss = self.top_quantizer.loss(z, top, top_indices)
        z = self.to_code(self.join(torch.cat([x, self.top_features(top)], dim=-1)))
        bottom, indices = self.quantizer(z)
        loss = loss + self.quantizer.loss(z, bottom, indices)
        return Quantized((top, bottom), (top_indices, indices), loss)

    def top_features(self, top: Tensor) -> Tensor:
        """Top codes (B, h / 2, w / 2, code) -> features (B, h, w, D), for the bottom's encoder and for the decoder."""
        return self.top_decoder(self.from_top_code(top))

    def reconstruct(self, codes: tuple[Tensor, Tensor]) -> Tensor:
        """Codes (top, bottom) -> images (B, C, H, W), not clamped, with gradients."""
        top, bottom = codes
        return self.decoder(self.top_features(top) + self.from_code(bottom)).permute(0, 3, 1, 2)

    def raw_bits(self, size: tuple[int, int]) -> float:
        """Bits of the tokens of an image of ``size`` (H, W) in pixels, both levels, without a prior."""
        places = math.prod(n // self.stride for n in size)
        return places * self.quantizer.bits_per_code + places / 4 * self.top_quantizer.bits_per_code


def _inner(model: nn.Module) -> tuple[str, ...]:
    """The names of the residual blocks, for ``Recipe.muon``."""
    return tuple(name for name, part in model.named_modules() if isinstance(part, ImageBlock))


def _blocks(d: int, depth: int) -> list[ImageBlock]:
    return [ImageBlock(d) for _ in range(depth)]


def _to_code(d: int, quantizer: VQ | FSQ) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(d), nn.Linear(d, quantizer.channels))


def _decoder(config: VQVAEConfig | VQVAE2Config) -> nn.Sequential:
    """(B, h, w, D) -> pixels (B, H, W, C): blocks on the token grid, blocks on a finer one, one Linear to pixels."""
    d, fine = config.width, config.width // 2
    if config.stride < 2 or config.stride % 2:
        raise ValueError(f"stride is {config.stride}, expected an even number: the decoder goes there in two steps.")
    return nn.Sequential(
        *_blocks(d, config.decoder_depth),
        Unpatchify(d, fine, 2),
        *_blocks(fine, config.fine_depth),
        nn.LayerNorm(fine),
        Unpatchify(fine, config.channels, config.stride // 2),
    )


def _check(model: VQVAE | VQVAE2, images: Tensor, multiple: int) -> None:
    name, channels = type(model).__name__, model.config.channels
    if images.ndim != 4 or images.shape[1] != channels or 0 in images.shape:
        raise ValueError(f"{name}: got {tuple(images.shape)}, expected (B, {channels}, H, W).")
    if any(n % multiple for n in images.shape[2:]):
        H, W = images.shape[2:]
        raise ValueError(f"{name}: images are {H}x{W}; crop or pad them to multiples of {multiple}.")
