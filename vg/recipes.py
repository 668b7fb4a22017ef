"""How the shipped models are trained: batches and losses. The notebooks use them too, for fewer steps."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from vg.data.clips import Clips
from vg.data.images import ImageSet
from vg.latents import Windows
from vg.models.transformer import Prior
from vg.models.tubelet import TubeletTokenizer
from vg.models.two_level import TwoLevelPrior
from vg.models.vae import VAE
from vg.models.video import VideoAutoencoder
from vg.models.vqvae import VQVAE, VQVAE2

Draw = Callable[[torch.Generator], Tensor]


def tokenizer_batches(clips: Clips, batch: int, shift: int = 2, reverse: bool = False) -> Draw:
    """Random clips, mirrored half of the time and moved by up to ``shift`` pixels: float (B, C, T, H, W).

    With ``reverse`` half of the batches run backwards: a short film has twice as many motions then.
    """

    def draw(generator: torch.Generator) -> Tensor:
        video = clips.sample(batch, generator)
        if torch.rand((), generator=generator) < 0.5:
            video = video.flip(-1)
        if reverse and torch.rand((), generator=generator) < 0.5:
            video = video.flip(2)
        down, right = torch.randint(2 * shift + 1, (2,), generator=generator).tolist()
        H, W = video.shape[-2:]
        padded = F.pad(video.flatten(0, 1), (shift,) * 4, mode="replicate")
        return padded[..., down : down + H, right : right + W].reshape(video.shape)

    return draw


def zoomed_batches(
    clips: Clips,
    batch: int,
    size: int,
    least: float = 0.5,
    most: float = 1.0,
    whole: float = 1 / 3,
    gain: float = 0.15,
) -> Draw:
    """Random clips at random scales: a few shots look like many. Float (B, C, T, size, size), within [-1, 1].

    Each clip is a square cut out of a larger picture and brought to ``size``, sharp, as if the camera had stood closer:
    a third of the time the whole picture, otherwise a part. Mirrored half of the time and run backwards half of the
    time, and with a little more or less contrast. With ``least`` and ``most`` both ``size / H`` and ``whole`` 0 the
    parts are as sharp as the pictures: crops.

    Args:
        clips: of square frames larger than ``size``, at best twice as large.
        batch: B.
        size: height and width of the result.
        least: the smallest part that is cut out, as a share of the side; below ``size / H`` it would be blurred.
        most: the largest.
        whole: how often it is the whole picture.
        gain: contrast and brightness change by up to this share of the range.
    """

    def draw(generator: torch.Generator) -> Tensor:
        video = clips.sample(batch, generator)
        side = video.shape[-1]
        made = []
        for clip in video:  # (C, T, H, W)
            all_of_it, mirrored, reversed_, scale, down, right, contrast, light = torch.rand(
                8, generator=generator
            ).tolist()
            cut = side if all_of_it < whole else round(side * (least + (most - least) * scale))
            y, x = (int(place * (side - cut + 1)) for place in (down, right))
            part = clip[..., y : y + cut, x : x + cut].transpose(0, 1)  # (T, C, cut, cut)
            part = F.interpolate(part, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
            part = part * (1 + gain * (2 * contrast - 1)) + gain * (2 * light - 1)
            part = part.flip(-1) if mirrored < 0.5 else part
            made.append((part.flip(0) if reversed_ < 0.5 else part).transpose(0, 1))
        return torch.stack(made).clamp(-1, 1)

    return draw


def tokenizer_loss(tokenizer: TubeletTokenizer | VideoAutoencoder, video: Tensor) -> Tensor:
    """Root mean squared error of each clip, averaged over the clips; and what a codebook asks for.

    PSNR is its logarithm: with the root, a quiet clip weighs about as much as a wild one. Squared errors alone
    would spend nearly all bits on the wild.
    """
    quantized = tokenizer.quantize(video)
    error = (tokenizer.reconstruct(quantized.codes, video.shape[2:]) - video).square().flatten(1).mean(1)
    return (error + 1e-4).sqrt().mean() + quantized.loss


def tubelet_loss(tokenizer: TubeletTokenizer, video: Tensor) -> Tensor:
    """Logarithm of each clip's root mean squared error, averaged: PSNR but for a factor and the sign."""
    codes = tokenizer.quantize(video).codes
    return _log_error(tokenizer.reconstruct(codes, video.shape[2:]), video)


def _log_error(made: Tensor, truth: Tensor) -> Tensor:
    """Logarithm of the root mean squared error of each of the batch, averaged."""
    error = (made - truth).square().flatten(1).mean(1)
    return (error + 2e-4).log().mean() / 2


def image_batches(images: ImageSet, batch: int, mirrored: bool = True) -> Draw:
    """Random images, each mirrored with even chances unless ``mirrored`` is False: float (B, C, H, W) in [-1, 1]."""

    def draw(generator: torch.Generator) -> Tensor:
        pixels, _ = images.sample(batch, generator)
        if not mirrored:
            return pixels
        turned = torch.rand(batch, 1, 1, 1, generator=generator) < 0.5
        return torch.where(turned, pixels.flip(-1), pixels)

    return draw


def vae_loss(beta: float = 1.0) -> Callable[[VAE, Tensor], Tensor]:
    """The negative ELBO in bits per dimension, its KL weighed by ``beta`` (Higgins et al., 2017, beta-VAE).

    Both parts are sums over the image before they are divided by its size. With a mean over pixels and a sum over
    latents, as is often written, ``beta`` would be in effect as large as the image has numbers, and the latents empty.
    """
    return lambda model, images: model.bits_per_dim(images, beta=beta).mean()


def image_tokenizer_loss(model: VQVAE | VQVAE2, images: Tensor) -> Tensor:
    """Logarithm of each image's root mean squared error, averaged, and what the quantizers ask for.

    The logarithm is PSNR but for a factor, so that a plain image weighs as much as a busy one (``tokenizer_loss``
    has the root without the logarithm: nearly the same).
    """
    quantized = model.quantize(images)
    return _log_error(model.reconstruct(quantized.codes), images) + quantized.loss


def prior_batches(windows: Windows, batch: int, labelled: bool = True) -> Draw:
    """Random windows of the latent cache with their shots' numbers: int64 (B, t * h * w + 1), the number last.

    Without ``labelled`` the number is -1, unknown: for pictures that are not what a label stands for, such as parts of
    the scene seen from nearer.
    """

    def draw(generator: torch.Generator) -> Tensor:
        numbers = windows.draw(batch, generator)
        shots = windows.shots[numbers] if labelled else torch.full((batch,), -1)
        return torch.cat([windows.take(numbers).flatten(1), shots[:, None]], dim=1)

    return draw


def fresh_tokens(draw: Draw, tokenizer: TubeletTokenizer) -> Draw:
    """Clips that no cache holds, as batches for ``prior_loss`` without a label: int64 (B, t * h * w + 1), -1 last.

    A few pixels to the side are other tokens, and so are other sizes: to a prior, which has to foretell tokens, a
    short film is longer if every batch is seen from somewhere else. Encoding takes a fraction of a step of the prior.

    Args:
        draw: clips (B, C, T, H, W), such as ``zoomed_batches``; T whole tubelets.
        tokenizer: on the device that is to encode them; it learns nothing here.
    """
    where = next(tokenizer.parameters()).device

    def tokens(generator: torch.Generator) -> Tensor:
        indices = tokenizer.encode(draw(generator).to(where)).flatten(1)
        return torch.cat([indices, torch.full_like(indices[:, :1], -1)], dim=1)

    return tokens


def prior_loss(corrupt: float = 0.1, drop_scene: float = 0.5) -> Callable[[Prior, Tensor], Tensor]:
    """Bits a token, for batches of ``prior_batches``.

    Args:
        corrupt: of each window up to this share of the tokens that the prior sees, not of those that it
            has to predict, is replaced by tokens of other windows. When it generates it sees its own mistakes; so it
            learns that what it sees may be wrong (exposure bias: Ranzato et al., 2015, arXiv:1511.06732).
        drop_scene: share of the windows whose scene it is not told.
    """

    def loss(prior: Prior, batch: Tensor) -> Tensor:
        B = len(batch)
        indices, scene = batch[:, :-1].view(B, -1, *prior.grid), batch[:, -1]
        share = corrupt * torch.rand(B, 1, 1, 1, device=batch.device)
        wrong = torch.rand(indices.shape, device=batch.device) < share
        others = indices.flatten()[torch.randint(indices.numel(), indices.shape, device=batch.device)]
        dropped = torch.rand(B, device=batch.device) < drop_scene
        scene = torch.where(dropped, -1, scene) if prior.label_embedding is not None else None
        return prior.nll_bits(indices, scene, given=torch.where(wrong, others, indices)).mean()

    return loss


def image_prior_batches(top: Tensor, bottom: Tensor, labels: Tensor, batch: int) -> Draw:
    """Random images as rows of tokens: int64 (B, h' * w' + h * w + 1): top, bottom, and the class last.

    Args:
        top, bottom: (N, h', w') and (N, h, w), integers of any type, as ``VQVAE2.encode`` gives them.
        labels: (N,).
        batch: B.
    """

    def draw(generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(labels), (batch,), generator=generator)
        parts = top[rows].flatten(1), bottom[rows].flatten(1), labels[rows][:, None]
        return torch.cat([part.long() for part in parts], dim=1)

    return draw


def image_prior_loss(corrupt: float = 0.0, drop_scene: float = 0.1) -> Callable[[TwoLevelPrior, Tensor], Tensor]:
    """Bits of a top token plus bits of a bottom token, for batches of ``image_prior_batches``.

    Args:
        corrupt: as in ``prior_loss``.
        drop_scene: share of the images whose class it is not told.
    """

    def loss(prior: TwoLevelPrior, batch: Tensor) -> Tensor:
        B, device = len(batch), batch.device
        top, bottom, scene = batch.split([prior.top.tokens_per_frame, prior.bottom.tokens_per_frame, 1], dim=1)
        truth = top.view(B, *prior.top.grid), bottom.view(B, *prior.bottom.grid)
        share = corrupt * torch.rand(B, 1, 1, device=device)
        shown = []
        for indices in truth:
            others = indices.flatten()[torch.randint(indices.numel(), indices.shape, device=device)]
            shown.append(torch.where(torch.rand(indices.shape, device=device) < share, others, indices))
        dropped = torch.rand(B, device=device) < drop_scene
        scene = torch.where(dropped, -1, scene[:, 0]) if prior.config.num_labels else None
        above, below = prior.nll_bits(*truth, scene, given=tuple(shown))
        return above.mean() + below.mean()

    return loss
