"""Measures: quality (PSNR, SSIM), codes (usage, perplexity, stability), and the baselines beside them.

Video is (B, C, T, H, W) in [-1, 1], images are (B, C, H, W); what lies beyond is clipped before it is measured.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from vg.data.clips import Clips
from vg.data.images import ImageSet


def psnr(video: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each clip (peak 255, that is a range of 2 here): (B,) in dB; equal clips: inf.

    Raises:
        ValueError: if the two differ in shape, or are no floats.
    """
    if video.shape != truth.shape or not (video.is_floating_point() and truth.is_floating_point()):
        raise ValueError(
            f"psnr: got {video.dtype} {tuple(video.shape)} and {truth.dtype} {tuple(truth.shape)}, expected two float "
            "tensors of one shape, with values in [-1, 1]."
        )
    a, b = (v.to(torch.promote_types(v.dtype, torch.float32)).clamp(-1, 1) for v in (video, truth))  # half is coarse
    error = (a - b).square().flatten(1).mean(1)
    return 10 * torch.log10(4 / error)


def ssim(video: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity of each clip, the mean over its frames: (B,) in [-1, 1].

    Wang et al., 2004 ("Image quality assessment"), section III-C: an 11x11 Gaussian window of standard deviation
    1.5, K1 = .01, K2 = .03, no padding.

    Raises:
        ValueError: if a frame is smaller than the window.
    """
    if min(video.shape[-2:]) < 11:
        raise ValueError(f"ssim: frames of {tuple(video.shape[-2:])} are smaller than its window of 11x11.")
    place = torch.arange(11, device=video.device) - 5.0
    g = torch.exp(-place.square() / (2 * 1.5**2))
    g = g / g.sum()

    def blur(x: Tensor) -> Tensor:  # (n, 1, H, W)
        return F.conv2d(F.conv2d(x, g.view(1, 1, 11, 1)), g.view(1, 1, 1, 11))

    x, y = (v.clamp(-1, 1).reshape(-1, 1, *v.shape[-2:]) for v in (video, truth))
    mx, my = blur(x), blur(y)
    vx, vy, cov = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
    mx, my = mx + 1, my + 1  # the formula is for values from 0 up
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    score = (2 * mx * my + c1) * (2 * cov + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return score.flatten(1).mean(1).view(len(video), -1).mean(1)


def mean_frame(video: Tensor) -> Tensor:
    """The baseline that knows each clip's average picture and no motion: the clip's mean frame, repeated."""
    return video.mean(dim=2, keepdim=True).expand_as(video)


def nearest_clip(video: Tensor, bank: Clips, batch: int = 64) -> Tensor:
    """The baseline that remembers and never makes: for each clip the training clip closest to it.

    Args:
        video: (B, C, T, H, W).
        bank: where to look, clips of the same length and size.
        batch: clips compared at a time.
    """
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


def frechet_distance(features: Tensor, others: Tensor) -> float:
    """How far apart two sets of clips are: between the normal distributions that have their means and covariances.

    Dowson and Landau, 1982; on a network's features it is FID (Heusel et al., 2017, arXiv:1706.08500, section 3) and
    FVD (Unterthiner et al., 2018, arXiv:1812.01717). 0 for equal sets. Few clips seem further apart than many: compare
    sets of one size.

    Args:
        features: (N, D) of one set, such as ``ClipFeatures`` gives them.
        others: (M, D) of the other.

    Raises:
        ValueError: if a set has fewer than two clips, or D differs.
    """
    if min(len(features), len(others)) < 2 or features.shape[1:] != others.shape[1:]:
        raise ValueError(
            f"frechet_distance: got {tuple(features.shape)} and {tuple(others.shape)}, expected (N, D) and (M, D) "
            "with N and M from 2."
        )
    a, b = features.cpu().double(), others.cpu().double()
    gap = (a.mean(0) - b.mean(0)).square().sum()
    # the trace of (S T)^(1/2) is the sum of the singular values of A B^T, where S is A^T A and T is B^T B
    a, b = ((x - x.mean(0)) / math.sqrt(len(x) - 1) for x in (a, b))
    both = torch.linalg.svdvals(a @ b.T).sum()
    return max(0.0, float(gap + a.square().sum() + b.square().sum() - 2 * both))


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
        ValueError: if there are not so many components.
    """
    flat = images.flatten(1)
    if not 1 <= components <= flat.shape[1]:
        raise ValueError(f"pca_images: {components} components of images of {flat.shape[1]} values.")
    parts = [range(first, min(first + 5000, len(train))) for first in range(0, len(train), 5000)]
    total, square = 0.0, 0.0
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


def usage(indices: Tensor, codes: int) -> float:
    """Share of the codes that occur at all in ``indices`` (any shape, int64 in [0, codes)): 0 to 1."""
    return len(indices.unique()) / codes


def perplexity(indices: Tensor, codes: int) -> float:
    """How many equally frequent codes would be as surprising: 2 to the entropy of ``indices``; 1 to ``codes``."""
    share = torch.bincount(indices.flatten(), minlength=codes).double() / indices.numel()
    return 2 ** float(-(share[share > 0] * share[share > 0].log2()).sum())


def stability(video: Tensor, indices: Tensor, tubelet: tuple[int, int, int], still: float = 3.0) -> float:
    """Share of tokens that stay the same from one tubelet-frame to the next where the picture stands still.

    Args:
        video: (B, C, T, H, W), whole tubelets.
        indices: (B, t, h, w), its tokens.
        tubelet: frames, height and width of a token.
        still: a tubelet stands still if it differs from the one before by less, in grey levels (0 to 255).

    Returns:
        0 to 1, or NaN where nothing stands still.
    """
    t, h, w = tubelet
    cells = video.unfold(2, t, t).unfold(3, h, h).unfold(4, w, w)  # (B, C, t, h, w, *tubelet)
    change = (cells[:, :, 1:] - cells[:, :, :-1]).abs().mean((1, 5, 6, 7)) * 127.5  # (B, t - 1, h, w)
    same = indices[:, 1:] == indices[:, :-1]
    return float(same[change < still].float().mean())


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
    """Baseline for a prior: the last tubelet-frame again, or else any code.

    A token is the one at the same place one tubelet-frame back with a probability counted in ``train``; otherwise
    it is drawn as in ``unigram_bits``. The first tubelet-frame has nothing to copy.

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
