"""The video autoencoder: a clip as a volume that strided causal convolutions make smaller, then VQ or FSQ."""

import math
from dataclasses import dataclass, field
from typing import cast

import torch
import torch.nn as nn
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from vg.models.alibi import alibi_slopes
from vg.models.attention_backends import attention
from vg.models.blocks import MLP, Block, CausalTimeConv, Past, pad_to
from vg.models.frozen import Freezable
from vg.models.quantizers import QuantizerConfig
from vg.models.tokenizer import Quantized

PIECE = 2**18  # pixels of all clips that are encoded or decoded at once, without gradients: 64 frames of 64x64

Factors = tuple[int, int, int]
"""By how much time, height and width become smaller."""


@dataclass(frozen=True)
class VideoConfig:
    """Shape of a ``VideoAutoencoder``.

    Attributes:
        stride: frames, height and width in pixels from one token to the next; any numbers from 1 up.
        patch: pixels that are folded into one vector before the first convolution. On a CPU convolutions over single
            pixels are what costs. Where it does not divide the stride, the largest common divisor is taken.
        channels: colours of a pixel, 1 (grey) or 3.
        width: D, features of a token inside the networks. Each finer grid has half as many, at least ``min_width``.
        min_width: see ``width``.
        encoder_depth: residual blocks on the token grid before the quantizer.
        decoder_depth: residual blocks on the token grid after it; drawing is harder than describing, so more.
        fine_depth: residual blocks on each grid between the two: that of the patches is too fine for them.
        time_kernel: frames that a block sees, its own and earlier ones.
        attention: axial attention blocks on the token grid, on both sides; 0 for none.
        heads: of each attention.
        quantizer: VQ or FSQ, and its options. FSQ gets an ``MLP`` on either side: what a codebook learns, they have to.
    """

    stride: Factors = (4, 8, 8)
    patch: Factors = (1, 2, 2)
    channels: int = 1
    width: int = 192
    min_width: int = 32
    encoder_depth: int = 2
    decoder_depth: int = 3
    fine_depth: int = 1
    time_kernel: int = 3
    attention: int = 0
    heads: int = 4
    quantizer: QuantizerConfig = field(default_factory=lambda: QuantizerConfig(codebook_size=1024, levels=(8, 5, 5, 5)))


class Down(nn.Module):
    """A coarser grid: ``(B, t, h, w, d)`` -> ``(B, t / p, h / q, w / r, D)`` for factors (p, q, r).

    A convolution over space, then a causal one over time. Each output sees its own cell, one place beyond it on
    every side, and one frame before it: neighbouring fields overlap.
    """

    def __init__(self, d: int, D: int, factors: Factors):
        super().__init__()
        p, q, r = factors
        self.norm = nn.LayerNorm(d)
        self.space = nn.Conv3d(d, D, (1, q + 2, r + 2), stride=(1, q, r), padding=(0, 1, 1))
        self.time = CausalTimeConv(D, p + 1, stride=p) if p > 1 else None

    def forward(self, x: Tensor, past: Past | None = None) -> Tensor:
        y = self.space(self.norm(x).permute(0, 4, 1, 2, 3))  # (B, D, t, h / q, w / r)
        y = y if self.time is None else self.time(y, past)
        return y.permute(0, 2, 3, 4, 1)


class Up(nn.Module):
    """A finer grid: ``(B, t, h, w, D)`` -> ``(B, p t, q h, r w, d)`` for factors (p, q, r), each place on its own.

    One Linear writes the features of all p q r places (Shi et al., 2016, arXiv:1609.05158). Blocks mix them afterwards.
    """

    def __init__(self, D: int, d: int, factors: Factors):
        super().__init__()
        self.factors = factors
        self.norm, self.linear = nn.LayerNorm(D), nn.Linear(D, math.prod(factors) * d)

    def forward(self, x: Tensor, past: Past | None = None) -> Tensor:
        p, q, r = self.factors
        return rearrange(self.linear(self.norm(x)), "b t h w (d p q r) -> b (t p) (h q) (w r) d", p=p, q=q, r=r)


class AxialAttention(nn.Module):
    """Residual attention along width, height and time, one after another: ``(B, t, h, w, D)`` in and out.

    VideoGPT (Yan et al., 2021, arXiv:2104.10157, section 3.1) has it in its residual blocks. Each place looks along
    three lines instead of at the whole volume: t + h + w places instead of t h w. Along time it is causal and looks
    back ``reach`` latent frames, further ones counting less (ALiBi). Convolutions say where a place is.

    Args:
        d: D, a multiple of ``heads``.
        heads: N.
        reach: latent frames seen along time, the own one included.
    """

    def __init__(self, d: int, heads: int = 4, reach: int = 8):
        super().__init__()
        if d % heads:
            raise ValueError(f"AxialAttention: width {d} is no multiple of {heads} heads.")
        self.heads, self.reach = heads, reach
        self.norms = nn.ModuleList(nn.LayerNorm(d) for _ in "wht")
        self.to_qkv = nn.ModuleList(nn.Linear(d, 3 * d, bias=False) for _ in "wht")
        self.out = nn.ModuleList(nn.Linear(d, d) for _ in "wht")
        self.register_buffer("slopes", alibi_slopes(heads), persistent=False)

    def forward(self, x: Tensor, past: Past | None = None) -> Tensor:
        for axis, lines in enumerate(("(b t h) w d", "(b t w) h d", "(b h w) t d")):
            sizes = dict(zip("bthw", x.shape))
            y = rearrange(self.norms[axis](x), f"b t h w d -> {lines}")
            y = self.along_time(y, past) if axis == 2 else self.along(y, axis)
            x = x + rearrange(self.out[axis](y), f"{lines} -> b t h w d", **sizes)
        return x

    def along(self, x: Tensor, axis: int) -> Tensor:
        """Every place of a line looks at all of it: ``(lines, L, D)`` in and out."""
        q, k, v = rearrange(self.to_qkv[axis](x), "b l (three n d) -> three b n l d", three=3, n=self.heads)
        return rearrange(F.scaled_dot_product_attention(q, k, v), "b n l d -> b l (n d)")

    def along_time(self, x: Tensor, past: Past | None) -> Tensor:
        """Every frame looks at itself and earlier ones: ``(places, t, D)`` in and out."""
        before = past.get(self) if past is not None else None
        seen = x if before is None else torch.cat([before, x], dim=1)
        if past is not None:
            past[self] = seen[:, max(0, seen.shape[1] - self.reach + 1) :]
        q, k, v = rearrange(self.to_qkv[2](seen), "b l (three n d) -> three b l n d", three=3, n=self.heads)
        y = attention(q[:, -x.shape[1] :], k, v, self.slopes, window=self.reach)
        return rearrange(y, "b l n d -> b l (n d)")


class VideoAutoencoder(Freezable):
    """Conv3D autoencoder of clips with a quantizer in the middle: a VQ-VAE or an FSQ-VAE of video.

    After VideoGPT's (Yan et al., 2021, arXiv:2104.10157, section 3.1), with convolutions factorised into space and
    time and causal in time, as MAGVIT-v2 has it (Yu et al., 2023, arXiv:2310.05737, section 3.2). A token depends on
    its own frames and earlier ones, and a frame on its own token and earlier ones. In space neighbours overlap.

    Example:
        >>> model = VideoAutoencoder(VideoConfig())
        >>> model.encode(torch.zeros(1, 1, 16, 64, 64)).shape
        torch.Size([1, 4, 8, 8])
        >>> model.raw_bits((16, 64, 64))
        2560.0
    """

    inner = ("encoder", "decoder")

    def __init__(self, config: VideoConfig = VideoConfig()):
        super().__init__()
        self.config = config
        self.tubelet = cast(Factors, tuple(config.stride))
        self.patch, self.stages = split_stride(config.stride, config.patch)
        self.quantizer = config.quantizer.build()
        self.levels, code = self.quantizer.levels, self.quantizer.channels
        widths = [max(config.min_width, config.width >> k) for k in range(len(self.stages), 0, -1)]
        widths.append(config.width)  # of the grid of patches, ..., of the grid of tokens
        d, pixels = config.width, config.channels * math.prod(self.patch)
        self.embed = nn.Linear(pixels, widths[0])
        self.encoder = nn.ModuleList(_encoder(config, widths, self.stages))
        bends = config.quantizer.kind == "fsq"
        self.to_code = nn.Sequential(nn.LayerNorm(d), *(MLP(d, d, code) if bends else [nn.Linear(d, code)]))
        self.from_code = MLP(code, d, d) if bends else nn.Linear(code, d)
        self.decoder = nn.ModuleList(_decoder(config, widths, self.stages))
        self.out_norm = nn.LayerNorm(widths[0])
        self.to_pixels = nn.Conv3d(widths[0], pixels, (1, 3, 3), padding=(0, 1, 1))
        self.to(memory_format=torch.channels_last_3d)

    def forward(self, video: Tensor) -> tuple[Tensor, Quantized[Tensor]]:
        """Encode and decode: ``(B, C, T, H, W)`` -> reconstruction of that shape, and ``quantize`` of the video."""
        quantized = self.quantize(video)
        return self.reconstruct(quantized.codes, tuple(video.shape[2:])), quantized

    @torch.no_grad()
    def encode(self, video: Tensor, past: Past | None = None) -> Tensor:
        """Video ``(B, C, T, H, W)`` in [-1, 1] -> indices ``(B, t, h, w)`` int64.

        A size that the stride does not divide is padded by repeating the last frame, row or column. A long video is
        worked through in pieces, so that it takes little more memory than its own.

        Args:
            video: the clip.
            past: an empty dict to begin a stream with, the same dict for each further piece. The length of all
                pieces but the last must be a multiple of the stride in time.

        Raises:
            ValueError: if the shape is another.
        """
        self._check(video)
        past = {} if past is None else past
        span = self.tubelet[0]
        pieces = video.split(max(1, PIECE // (video[:, 0, 0].numel() * span)) * span, dim=2)
        return torch.cat([self.quantize(piece, past).indices for piece in pieces], dim=1)

    @torch.no_grad()
    def decode(self, indices: Tensor, size: tuple[int, int, int] | None = None, past: Past | None = None) -> Tensor:
        """Indices ``(B, t, h, w)`` -> video ``(B, C, T, H, W)`` in [-1, 1].

        Args:
            indices: int64 in [0, prod(levels)).
            size: (T, H, W) to crop to, where the encoder had padded; default all that the tokens cover.
            past: as in ``encode``.
        """
        past = {} if past is None else past
        pieces = indices.split(max(1, PIECE // (indices[:, :1].numel() * math.prod(self.tubelet))), dim=1)
        parts = [self.reconstruct(self.quantizer.codes(piece), None, past).clamp(-1, 1) for piece in pieces]
        video = torch.cat(parts, dim=2)
        return video if size is None else video[:, :, : size[0], : size[1], : size[2]]

    def quantize(self, video: Tensor, past: Past | None = None) -> Quantized[Tensor]:
        """``(B, C, T, H, W)`` -> codes ``(B, t, h, w, code)`` with gradients, indices ``(B, t, h, w)``, their loss.

        Raises:
            ValueError: if the shape is another.
        """
        self._check(video)
        p, q, r = self.patch
        x = rearrange(pad_to(video, self.tubelet), "b c (t p) (h q) (w r) -> b t h w (c p q r)", p=p, q=q, r=r)
        x = self.embed(x)
        for layer in self.encoder:
            x = layer(x, past)
        z = self.to_code(x)
        codes, indices = self.quantizer(z)
        return Quantized(codes, indices, self.quantizer.loss(z, codes, indices))

    def _check(self, video: Tensor) -> None:
        if video.ndim != 5 or video.shape[1] != self.config.channels or 0 in video.shape:
            raise ValueError(
                f"VideoAutoencoder: got {tuple(video.shape)}, expected (B, {self.config.channels}, T, H, W)."
            )

    def reconstruct(self, codes: Tensor, size: tuple[int, int, int] | None = None, past: Past | None = None) -> Tensor:
        """Codes ``(B, t, h, w, code)`` -> video ``(B, C, T, H, W)``, not clamped, with gradients."""
        p, q, r = self.patch
        x = self.from_code(codes)
        for layer in self.decoder:
            x = layer(x, past)
        x = self.to_pixels(F.silu(self.out_norm(x)).permute(0, 4, 1, 2, 3))
        x = rearrange(x, "b (c p q r) t h w -> b c (t p) (h q) (w r)", p=p, q=q, r=r)
        return x if size is None else x[:, :, : size[0], : size[1], : size[2]]

    def raw_bits(self, size: tuple[int, int, int]) -> float:
        """Bits of the tokens of a clip of ``size`` (T, H, W) in pixels, without a prior."""
        return math.prod(-(-n // s) for n, s in zip(size, self.tubelet)) * self.quantizer.bits_per_code


def split_stride(stride: Factors, patch: Factors = (1, 1, 1)) -> tuple[Factors, list[Factors]]:
    """Which part of a stride the patches take, and what each stage of convolutions takes of the rest.

    A stage takes one prime factor of each axis. The axis with the most factors decides how many stages there are;
    the others begin later, where a grid is small.

    Example:
        >>> split_stride((4, 8, 8), (1, 2, 2))
        ((1, 2, 2), [(2, 2, 2), (2, 2, 2)])
        >>> split_stride((2, 8, 6))
        ((1, 1, 1), [(1, 2, 1), (1, 2, 2), (2, 2, 3)])

    Raises:
        ValueError: if there are not three numbers each, all from 1 up.
    """
    if len(stride) != 3 or len(patch) != 3 or min(*stride, *patch) < 1:
        raise ValueError(f"stride is {stride} and patch {patch}, expected (time, height, width), each at least 1.")
    taken = tuple(math.gcd(s, p) for s, p in zip(stride, patch))
    primes = [_prime_factors(s // p) for s, p in zip(stride, taken)]
    count = max(map(len, primes))
    stages = list(zip(*([1] * (count - len(factors)) + factors for factors in primes)))
    return cast(Factors, taken), cast(list[Factors], stages)


def _prime_factors(n: int) -> list[int]:
    """``12 -> [2, 2, 3]``; ``1 -> []``."""
    for k in range(2, n + 1):
        if n % k == 0:
            return [k, *_prime_factors(n // k)]
    return []


def _encoder(config: VideoConfig, widths: list[int], stages: list[Factors]) -> list[nn.Module]:
    """From patches to tokens: a coarser grid, blocks, a coarser grid, ..., blocks, attention."""
    layers: list[nn.Module] = []
    for k, factors in enumerate(stages):
        layers += _blocks(config, widths[k], config.fine_depth) if k else []
        layers.append(Down(widths[k], widths[k + 1], factors))
    return [*layers, *_blocks(config, config.width, config.encoder_depth), *_attention(config)]


def _decoder(config: VideoConfig, widths: list[int], stages: list[Factors]) -> list[nn.Module]:
    """From tokens to patches: attention, blocks, a finer grid, ..., blocks, a finer grid."""
    layers: list[nn.Module] = [*_attention(config), *_blocks(config, config.width, config.decoder_depth)]
    for k, factors in reversed(list(enumerate(stages))):
        layers.append(Up(widths[k + 1], widths[k], factors))
        layers += _blocks(config, widths[k], config.fine_depth) if k else []
    return layers


def _blocks(config: VideoConfig, d: int, depth: int) -> list[Block]:
    return [Block(d, config.time_kernel) for _ in range(depth)]


def _attention(config: VideoConfig) -> list[AxialAttention]:
    return [AxialAttention(config.width, config.heads) for _ in range(config.attention)]
