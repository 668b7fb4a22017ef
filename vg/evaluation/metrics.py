"""Measures: of quality (PSNR, SSIM), of motion, and of codes (usage, perplexity, stability).

Video is (B, C, T, H, W) in [-1, 1], images are (B, C, H, W); values beyond are clipped before they are measured.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def psnr(video: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each clip (peak 255, that is a range of 2 here): (B,) in dB; equal clips: inf.

    Raises:
        ValueError: if the two differ in shape, or are no floats.
    """
    a, b = _pair("psnr", video, truth)
    error = (a - b).square().flatten(1).mean(1)
    return 10 * torch.log10(4 / error)


def ssim(video: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity of each clip, the mean over its frames: (B,) in [-1, 1].

    Wang et al., 2004 ("Image quality assessment"), section III-C: an 11x11 Gaussian window of standard deviation
    1.5, K1 = .01, K2 = .03, no padding.

    Raises:
        ValueError: if the two differ in shape, or are no floats, or a frame is smaller than the window.
    """
    x, y = _pair("ssim", video, truth)
    if min(video.shape[-2:]) < 11:
        raise ValueError(f"ssim: frames of {tuple(video.shape[-2:])} are smaller than its window of 11x11.")
    place = torch.arange(11, device=x.device, dtype=x.dtype) - 5.0
    g = torch.exp(-place.square() / (2 * 1.5**2))
    g = g / g.sum()

    def blur(x: Tensor) -> Tensor:  # (n, 1, H, W)
        return F.conv2d(F.conv2d(x, g.view(1, 1, 11, 1)), g.view(1, 1, 1, 11))

    x, y = (v.reshape(-1, 1, *v.shape[-2:]) for v in (x, y))
    mx, my = blur(x), blur(y)
    vx, vy, cov = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
    mx, my = mx + 1, my + 1  # the formula is for values from 0 up
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    score = (2 * mx * my + c1) * (2 * cov + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return score.flatten(1).mean(1).view(len(video), -1).mean(1)


def steps(video: Tensor) -> Tensor:
    """How much changes from each frame to the next: (B, C, T, H, W) -> (B, T - 1), mean absolute grey levels of 255."""
    return video.diff(dim=2).abs().mean((1, 3, 4)) * 127.5


def step_correlation(video: Tensor, truth: Tensor) -> Tensor:
    """Whether the right things move: the correlation of what changes from frame to frame with what truly does.

    A clip that stands still has none (NaN); one that moves as much as the film, but elsewhere, has 0.

    Args:
        video, truth: (B, C, T, H, W) with T from 2.

    Returns:
        (B,) in [-1, 1].
    """
    a, b = (x.diff(dim=2).flatten(1) for x in _pair("step_correlation", video, truth))
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))


def _pair(name: str, video: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Both in single precision at least, for half is too coarse to measure with, and within [-1, 1]."""
    if video.shape != truth.shape or not (video.is_floating_point() and truth.is_floating_point()):
        raise ValueError(
            f"{name}: got {video.dtype} {tuple(video.shape)} and {truth.dtype} {tuple(truth.shape)}, expected two "
            "float tensors of one shape, with values in [-1, 1]."
        )
    a, b = (v.to(torch.promote_types(v.dtype, torch.float32)).clamp(-1, 1) for v in (video, truth))
    return a, b


def usage(indices: Tensor, codes: int) -> float:
    """Share of the codes that occur at all in ``indices`` (any shape, int64 in [0, codes)): 0 to 1."""
    return len(indices.unique()) / codes


def perplexity(indices: Tensor, codes: int) -> float:
    """How many equally frequent codes would be as surprising: 2 to the entropy of ``indices``; 1 to ``codes``."""
    share = torch.bincount(indices.flatten(), minlength=codes).double() / indices.numel()
    return 2 ** float(-(share[share > 0] * share[share > 0].log2()).sum())


def stability(video: Tensor, indices: Tensor, tubelet: tuple[int, int, int], still: float = 3.0) -> float:
    """Share of tokens that stay the same from one latent frame to the next where the picture stands still.

    Args:
        video: (B, C, T, H, W), whole tubelets.
        indices: (B, t, h, w), its tokens.
        tubelet: frames, height and width of a token.
        still: a tubelet stands still if it differs from the one before by less, in grey levels (0 to 255).

    Returns:
        0 to 1, or NaN where nothing stands still.

    Raises:
        ValueError: if the indices are not those of so many whole tubelets.
    """
    t, h, w = tubelet
    if (len(video), *video.shape[2:]) != (len(indices), *(n * side for n, side in zip(indices.shape[1:], tubelet))):
        raise ValueError(
            f"stability: got video {tuple(video.shape)} and indices {tuple(indices.shape)}, expected (B, C, T, H, W) "
            f"and (B, T / {t}, H / {h}, W / {w})."
        )
    cells = video.unfold(2, t, t).unfold(3, h, h).unfold(4, w, w)  # (B, C, t, h, w, *tubelet)
    change = (cells[:, :, 1:] - cells[:, :, :-1]).abs().mean((1, 5, 6, 7)) * 127.5  # (B, t - 1, h, w)
    same = indices[:, 1:] == indices[:, :-1]
    return float(same[change < still].float().mean())
