"""The variational autoencoder: an image as a vector of latents, with a bound on its likelihood in bits."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from vg.models.frozen import Freezable

BIN = 2 / 255  # from one grey level to the next, for pixels in [-1, 1]


@dataclass(frozen=True)
class VAEConfig:
    """Shape of a ``VAE``.

    Attributes:
        size: height and width of an image in pixels, a multiple of 8 (three strides of 2).
        channels: colours of a pixel, 1 (grey) or 3.
        latents: length of the vector that stands for an image.
        width: D, features at a quarter of the size and below; half as many at half of the size, where they cost most.
        depth: residual blocks at a quarter and again at an eighth of the size, in the encoder and in the decoder.
        scale: what the decoder says of its own error: one number for each colour ("colour"), or one for each
            pixel of each image ("pixel").
    """

    size: int = 32
    channels: int = 3
    latents: int = 128
    width: int = 64
    depth: int = 2
    scale: str = "pixel"


class Elbo(NamedTuple):
    """The negative evidence lower bound of each image, in its two parts, in bits.

    Attributes:
        distortion: (B,) bits to say the pixels once the latents are known, by one draw of them.
        kl: (B, latents) bits by which each latent's posterior differs from the prior.
        dims: numbers in an image, C * H * W.
    """

    distortion: Tensor
    kl: Tensor
    dims: int

    def bits_per_dim(self, beta: float = 1.0) -> Tensor:
        """(B,) bits per dimension. With ``beta`` 1 an upper bound on -log2 p(x); otherwise a loss, and no bound."""
        return (self.distortion + beta * self.kl.sum(1)) / self.dims


def kl_to_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(0, 1)) of each number, in nats; Kingma and Welling, 2014, appendix B."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


def discretized_logistic(pixels: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Log-probability of 8-bit pixels: the mass that a logistic distribution puts on each one's bin.

    Kingma et al., 2016 (arXiv:1606.04934, section 5.2.1); Salimans et al., 2017 (arXiv:1701.05517, section 2.1). The
    lowest and the highest level take the tails, so that the 256 probabilities sum to one. Written as a product,
    ``sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a))``, nothing cancels in float32.

    Args:
        pixels: in [-1, 1]; rounded to the nearest of the 256 levels.
        mean: of the logistic, any real values; it broadcasts with ``pixels``.
        log_scale: natural logarithm of its scale (the deviation is 1.81 times the scale).

    Returns:
        nats, at most 0.
    """
    level = ((pixels + 1) * 127.5).round()
    inverse = torch.exp(-log_scale)
    centre = (level * BIN - 1 - mean) * inverse
    half = 0.5 * BIN * inverse
    lowest, highest = level <= 0, level >= 255
    below = F.logsigmoid(centre + half)  # a: the share below the bin's upper edge
    above = F.logsigmoid(half - centre)  # -b: the share above its lower edge
    inside = torch.log(-torch.expm1(-2 * half))
    nothing = torch.zeros((), dtype=below.dtype, device=below.device)
    tails = torch.where(highest, nothing, below) + torch.where(lowest, nothing, above)
    return tails + torch.where(lowest | highest, nothing, inside)


class ResBlock(nn.Module):
    """``(B, D, h, w)`` plus two 3x3 convolutions of it; the second begins at zero, so no norm is needed."""

    def __init__(self, d: int):
        super().__init__()
        self.first, self.second = nn.Conv2d(d, d, 3, padding=1), nn.Conv2d(d, d, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(F.relu(x))))


class VAE(Freezable):
    """Variational autoencoder (Kingma and Welling, 2014, arXiv:1312.6114) of strided convolutions.

    The posterior is a Gaussian with independent latents, the prior N(0, I), the likelihood a discretized logistic
    for each pixel: an honest distribution over 8-bit images, whose bits can be compared with the literature's.
    Nothing but the last convolution works at full size; that is what makes it quick without a GPU.

    Raises:
        ValueError: if the configuration is impossible, or an input has another shape (it is named).

    Example:
        >>> model = VAE(VAEConfig(width=16))
        >>> mean, log_variance = model.encode(torch.zeros(2, 3, 32, 32))
        >>> mean.shape, model.decode(mean).shape
        (torch.Size([2, 128]), torch.Size([2, 3, 32, 32]))
    """

    def __init__(self, config: VAEConfig = VAEConfig()):
        super().__init__()
        if config.size < 8 or config.size % 8:
            raise ValueError(f"VAE: size is {config.size}, expected a multiple of 8: the encoder halves it three times")
        if config.scale not in ("colour", "pixel"):
            raise ValueError(f"VAE: scale is {config.scale!r}, expected 'colour' or 'pixel'")
        self.config = config
        d, half, side, c = config.width, config.width // 2, config.size // 8, config.channels
        planes = c * (2 if config.scale == "pixel" else 1)
        self.encoder = nn.Sequential(
            nn.Conv2d(c, half, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(half, d, 4, stride=2, padding=1),
            *(ResBlock(d) for _ in range(config.depth)),
            nn.Conv2d(d, d, 4, stride=2, padding=1),
            *(ResBlock(d) for _ in range(config.depth)),
        )
        self.to_latents = nn.Linear(d * side * side, 2 * config.latents)
        self.from_latents = nn.Linear(config.latents, d * side * side)
        self.decoder = nn.Sequential(
            *(ResBlock(d) for _ in range(config.depth)),
            nn.ConvTranspose2d(d, d, 4, stride=2, padding=1),
            *(ResBlock(d) for _ in range(config.depth)),
            nn.ConvTranspose2d(d, half, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(half, planes, 4, stride=2, padding=1),
        )
        self.log_scale = nn.Parameter(torch.full((c, 1, 1), -2.0))  # about 17 grey levels
        nn.init.zeros_(self.to_latents.weight[config.latents :])
        layers = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
        self.inner = tuple(name for name, part in self.named_modules() if isinstance(part, layers))[1:-1]
        self.to(memory_format=torch.channels_last)

    @property
    def dims(self) -> int:
        """Numbers in an image: C * H * W."""
        return self.config.channels * self.config.size**2

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` -> their reconstructions from the posterior's mean, in [-1, 1]."""
        return self.decode(self.encode(x)[0])

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The posterior of each image: ``(B, C, H, W)`` in [-1, 1] -> mean and log-variance, each (B, latents)."""
        shape = (self.config.channels, self.config.size, self.config.size)
        if x.ndim != 4 or tuple(x.shape[1:]) != shape:
            raise ValueError(f"VAE: got images {tuple(x.shape)}, expected (B, {', '.join(map(str, shape))})")
        x = self.encoder(x.contiguous(memory_format=torch.channels_last))
        mean, log_variance = self.to_latents(F.relu(x).flatten(1)).float().chunk(2, dim=1)
        return mean, log_variance.clamp(-14, 7)

    def sample(self, mean: Tensor, log_variance: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw latents, reparameterised: mean + deviation * noise, so that gradients pass to both (B, latents)."""
        place = generator.device if generator else mean.device
        noise = torch.randn(mean.shape, generator=generator, device=place, dtype=mean.dtype)
        return mean + (0.5 * log_variance).exp() * noise.to(mean.device)

    def likelihood(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (B, latents) -> mean and log-scale of each pixel's logistic, each ``(B, C, H, W)``, not clamped."""
        if z.ndim != 2 or z.shape[1] != self.config.latents:
            raise ValueError(f"VAE: got latents {tuple(z.shape)}, expected (B, {self.config.latents})")
        side = self.config.size // 8
        x = self.from_latents(z).view(len(z), -1, side, side).contiguous(memory_format=torch.channels_last)
        x = self.decoder(x).float()
        if self.config.scale == "colour":
            return x, self.log_scale.expand_as(x)
        mean, log_scale = x.chunk(2, dim=1)
        return mean, (self.log_scale + log_scale).clamp(min=-7)  # a tenth of a grey level: sharper buys nothing

    def decode(self, z: Tensor) -> Tensor:
        """The mean image of each vector of latents: (B, latents) -> ``(B, C, H, W)`` in [-1, 1]."""
        return self.likelihood(z)[0].clamp(-1, 1)

    def elbo(self, x: Tensor, generator: torch.Generator | None = None) -> Elbo:
        """The negative ELBO of 8-bit images ``(B, C, H, W)`` in [-1, 1], in its parts, by one draw of the latents."""
        mean, log_variance = self.encode(x)
        parameters = self.likelihood(self.sample(mean, log_variance, generator))
        with torch.autocast(x.device.type, enabled=False):
            nats = -discretized_logistic(x.float(), *parameters).flatten(1).sum(1)
            return Elbo(nats / math.log(2), kl_to_normal(mean, log_variance) / math.log(2), self.dims)

    def bits_per_dim(self, x: Tensor, generator: torch.Generator | None = None, beta: float = 1.0) -> Tensor:
        """Negative ELBO of each image in bits per dimension, (B,); its mean is the loss. See ``Elbo.bits_per_dim``."""
        return self.elbo(x, generator).bits_per_dim(beta)
