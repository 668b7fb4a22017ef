"""What to compare with: predictions that need no network, of pictures and of tokens.

Video is (B, C, T, H, W) in [-1, 1], images are (B, C, H, W).
"""

import math

import torch
from torch import Tensor

from vg.data.clips import Clips
from vg.data.images import ImageSet


def mean_frame(video: Tensor) -> Tensor:
    """The baseline that knows each clip's average picture and no motion: the clip's mean frame, repeated."""
    return video.mean(dim=2, keepdim=True).expand_as(video)


def nearest_clip(video: Tensor, bank: Clips, batch: int = 64) -> Tensor:
    """The baseline that remembers and never makes: for each clip the training clip closest to it.

    Args:
        video: (B, C, T, H, W).
        bank: where to look, clips of the same length and size.
        batch: clips compared at a time.

    Raises:
        ValueError: if the clips of the bank have another shape.
    """
    if bank.take([0]).shape[1:] != video.shape[1:]:
        raise ValueError(
            f"nearest_clip: got clips {tuple(video.shape[1:])} and a bank of clips {tuple(bank.take([0]).shape[1:])}, "
            "expected one shape (C, T, H, W)."
        )
    best = torch.full((len(video),), math.inf)
    which = torch.zeros(len(video), dtype=torch.long)
    flat = video.flatten(1)
    for first in range(0, len(bank), batch):
        numbers = range(first, min(len(bank), first + batch))
        distance = torch.cdist(flat, bank.take(numbers).flatten(1).to(video.device)).cpu()
        least, index = distance.min(dim=1)
        which = torch.where(least < best, index + first, which)
        best = torch.minimum(best, least)
    return bank.take(which.tolist()).to(video.device)


@torch.no_grad()
def pca_images(train: ImageSet, images: Tensor, components: int, bits: int | None = None) -> Tensor:
    """The baseline that knows no more than correlations: images from their first principal components.

    Args:
        train: where the mean, the components and their ranges are taken from.
        images: (B, C, H, W).
        components: how many.
        bits: of each coefficient, which is rounded to one of ``2 ** bits`` values evenly spaced over its range in
            ``train``; None does not round.

    Returns:
        (B, C, H, W) in [-1, 1].

    Raises:
        ValueError: if there are not so many components, or the images have another shape than those of ``train``.
    """
    flat = images.flatten(1)
    if images.shape[1:] != train.take([0]).shape[1:]:
        raise ValueError(
            f"pca_images: got images {tuple(images.shape[1:])}, and {tuple(train.take([0]).shape[1:])} to learn from, "
            "expected one shape (C, H, W)."
        )
    if not 1 <= components <= flat.shape[1]:
        raise ValueError(f"pca_images: {components} components of images of {flat.shape[1]} values.")
    parts = [range(first, min(first + 5000, len(train))) for first in range(0, len(train), 5000)]
    total, square = torch.zeros(()), torch.zeros(())
    for part in parts:
        x = train.take(part).flatten(1)
        total, square = total + x.sum(0), square + x.T @ x
    mean = total / len(train)
    basis = torch.linalg.eigh(square / len(train) - torch.outer(mean, mean))[1][:, -components:]
    mean, basis = mean.to(flat.device), basis.to(flat.device)
    c = (flat - mean) @ basis
    if bits is not None:
        known = torch.cat([(train.take(part).flatten(1) - mean.cpu()) @ basis.cpu() for part in parts]).to(c.device)
        low, high = known.amin(0), known.amax(0)
        step = ((high - low) / (2**bits - 1)).clamp(min=1e-12)
        c = ((c - low) / step).round().clamp(0, 2**bits - 1) * step + low
    return (c @ basis.T + mean).clamp(-1, 1).view(images.shape)


def unigram_bits(train: Tensor, indices: Tensor, codes: int) -> Tensor:
    """Baseline for a prior: bits of each token by how often its code occurs, wherever that is.

    Args:
        train: int64 (any shape), where codes are counted; each is counted once more than it occurs, so that
            no code is impossible (Laplace).
        indices: int64 (any shape), the tokens to predict.
        codes: how many there are.

    Returns:
        float of the shape of ``indices``, bits.
    """
    count = torch.bincount(train.flatten(), minlength=codes).double() + 1
    return -(count / count.sum()).log2()[indices].float()


def copy_bits(train: Tensor, indices: Tensor, codes: int) -> Tensor:
    """Baseline for a prior: the last latent frame again, or else any code.

    A token is the one at the same place one latent frame back with a probability counted in ``train``; otherwise
    it is drawn as in ``unigram_bits``. The first latent frame has nothing to copy.

    Args:
        train: int64 (n, t, h, w), windows to count in.
        indices: int64 (B, t, h, w), the tokens to predict.
        codes: how many there are.

    Returns:
        (B, t, h, w) float, bits.
    """
    any_code = torch.exp2(-unigram_bits(train, indices, codes))
    chance = float((train[:, 1:] == train[:, :-1]).double().mean().clamp(1e-6, 1 - 1e-6))
    first, rest = any_code[:, :1], (1 - chance) * any_code[:, 1:]
    rest = rest + chance * (indices[:, 1:] == indices[:, :-1])
    return -torch.cat([first, rest], dim=1).log2()
