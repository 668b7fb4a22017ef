"""Restoring old film: flicker, then sway, both estimated robustly within one shot.

Neither is content, and both cost bits: a tokenizer that sees the light jump writes the jump down.
What is slower than half a second stays (fades, dusk, a pan), and so does what only part of the
picture does (a limb, an iris): each estimate is a median over the lit, still parts of the picture,
and only its quick part, the deviation from its own running median, is taken out.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

LARGEST_GAIN = 1.25  # a frame is made at most this much brighter or darker
LARGEST_SWAY = 0.006  # of the width or height: three pixels of 480
REACH = 12  # frames on each side of the running median: a second of film at 12 frames a second


@dataclass(frozen=True)
class Restoration:
    """What was taken out of a shot, frame by frame.

    Attributes:
        gain: ``(T,)``, each frame was divided by it (1: nothing to do).
        sway: ``(T, 2)``, each frame was moved back by it (down, right), as shares of height and width.
    """

    gain: np.ndarray
    sway: np.ndarray


def restore(frames: Tensor, reach: int = REACH) -> tuple[Tensor, Restoration]:
    """Take flicker and sway out of one shot.

    Args:
        frames: uint8 ``(T, C, H, W)``, one shot, best at twice the wanted size or more: the sway is
            a fraction of a pixel and moving a picture by it softens the picture at its own scale.
        reach: frames on each side that the running median sees.

    Returns:
        The restored shot, uint8 of the same shape, and what was taken out.

    Raises:
        ValueError: if ``frames`` is not uint8 ``(T, C, H, W)``.
    """
    if frames.dtype != torch.uint8 or frames.ndim != 4:
        raise ValueError(f"restore: expected uint8 (T, C, H, W), got {frames.dtype} {tuple(frames.shape)}")
    if len(frames) < 3:
        return frames, Restoration(np.ones(len(frames), np.float32), np.zeros((len(frames), 2), np.float32))
    small = _grey(frames, 128)
    gain = _flicker(small, reach)
    small = small / gain[:, None, None]
    sway = _sway(small, reach)
    return _apply(frames, gain, sway), Restoration(gain, sway)


def _grey(frames: Tensor, side: int) -> np.ndarray:
    """float32 ``(T, h, w)`` in grey levels, at most ``side`` pixels high and wide."""
    size = [min(side, n) for n in frames.shape[-2:]]
    parts = [F.interpolate(f.float(), size=size, mode="area").mean(1) for f in frames.split(64)]
    return torch.cat(parts).numpy()


def _reference(x: np.ndarray, k: int, reach: int) -> np.ndarray:
    """The median picture around frame ``k``: what stands still there."""
    return np.median(x[max(0, k - reach) : k + reach + 1], axis=0)


def _quick(x: np.ndarray, reach: int) -> np.ndarray:
    """``x`` ``(T, n)`` less its own running median: fades and pans are slow and stay in the film.

    A row of NaN is a frame of which nothing is known: nothing is taken out of it, and to its neighbours it
    counts as what lies between the frames that are known. Near the ends of the shot the window shrinks on both
    sides alike, so that what only rises or only falls is its own median, to the last frame.
    """
    known = np.flatnonzero(~np.isnan(x).any(1))
    if not len(known):
        return np.zeros_like(x)
    every = np.arange(len(x))
    filled = np.stack([np.interp(every, known, column[known]) for column in x.T], axis=1)
    reaches = [min(reach, k, len(x) - 1 - k) for k in every]
    slow = np.stack([np.median(filled[k - r : k + r + 1], axis=0) for k, r in enumerate(reaches)])
    return np.where(np.isnan(x), 0, filled - slow)


def _flicker(x: np.ndarray, reach: int) -> np.ndarray:
    """Gain of each frame ``(T,)``: the median ratio to the running median over lit places.

    Flicker touches the whole picture alike. Where the ratios disagree (an iris, a pan, much motion) or
    little is lit there is no telling what is flicker, and the gain is 1.
    """
    level = np.full((len(x), 1), np.nan)
    x = x[:, ::2, ::2]
    for k in range(len(x)):
        reference = _reference(x, k, reach)
        lit = (reference > 40) & (x[k] > 20)
        if lit.mean() > 0.25:
            ratio = np.log(x[k][lit] / reference[lit])
            middle = np.median(ratio)
            if (np.abs(ratio - middle) < 0.04).mean() > 0.4:
                level[k] = middle
    limit = np.log(LARGEST_GAIN)
    return np.exp(np.clip(_quick(level, reach // 2)[:, 0], -limit, limit)).astype(np.float32)


def _sway(x: np.ndarray, reach: int) -> np.ndarray:
    """Shift of each frame ``(T, 2)`` (down, right; shares of height and width) against what stands still.

    Least squares on the brightness constancy equation (Lucas and Kanade, 1981) over the places that
    have an edge and differ least from the running median. Where too few places stand still there is
    no telling sway from motion, and nothing is moved.
    """
    shift = np.full((len(x), 2), np.nan)
    size = np.array(x.shape[1:])
    for k in range(len(x)):
        reference = _reference(x, k, reach)
        gy, gx = np.gradient(reference)
        edge = np.hypot(gx, gy) > 6
        moved = np.zeros(2)
        for _ in range(3):  # the places that fit the shift so far say what the shift is
            residual = x[k] - reference + gy * moved[0] + gx * moved[1]
            fits = edge & (np.abs(residual) < 12)
            if fits.sum() < 0.5 * edge.sum() or fits.sum() < 50:
                moved[:] = np.nan
                break
            a = np.stack([gy[fits], gx[fits]], axis=1)
            gram = a.T @ a + 1e-3 * np.eye(2)
            moved = -np.linalg.solve(gram, a.T @ (x[k] - reference)[fits])
        shift[k] = moved / size
    return np.clip(_quick(shift, reach // 2), -LARGEST_SWAY, LARGEST_SWAY).astype(np.float32)


def _apply(frames: Tensor, gain: np.ndarray, sway: np.ndarray) -> Tensor:
    """Divide by the gain and move back by the sway, edges repeated. uint8 in, uint8 out."""
    out = []
    for part, g, s in zip(frames.split(64), torch.tensor(gain).split(64), torch.tensor(sway).split(64)):
        x = part.float() / g[:, None, None, None]
        theta = torch.zeros(len(part), 2, 3)
        theta[:, 0, 0] = theta[:, 1, 1] = 1
        theta[:, 0, 2], theta[:, 1, 2] = 2 * s[:, 1], 2 * s[:, 0]  # grid_sample's picture is 2 wide
        grid = F.affine_grid(theta, list(x.shape), align_corners=False)
        x = F.grid_sample(x, grid, mode="bicubic", padding_mode="border", align_corners=False)
        out.append(x.clamp(0, 255).round().byte())
    return torch.cat(out)
