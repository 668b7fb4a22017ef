"""Restoring old film: flicker, then sway, both estimated robustly within one shot.

Neither is content, and both cost bits: a tokenizer that sees the light jump writes the jump down.
What is slower than half a second stays (fades, dusk, a pan), and so does what only part of the
picture does (a limb, an iris): each estimate is a median over the lit, still parts of the picture,
and only its quick part, the deviation from its own running median, is taken out.

``measure`` finds what to take out, on small pictures; ``corrected`` takes it out, at any size.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from vg.data.running_median import with_medians

LARGEST_GAIN = 1.25  # a frame is made at most this much brighter or darker
LARGEST_SWAY = 0.006  # of the width or height: three pixels of 480
REACH = 12  # frames on each side of the running median: a second of film at 12 frames a second
SMALL = 128  # pixels, about, at which flicker and sway are measured
FINE = 64  # small pictures count in 64ths of a grey level: integers, of which running medians are fast


class Frames(Protocol):
    """uint8 ``(T, C, H, W)``: an array, or frames that are read one by one."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[np.ndarray]: ...


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
    found = measure(frames.numpy(), reach)
    out = torch.empty_like(frames)
    for k, frame in enumerate(frames.numpy()):
        out[k] = torch.from_numpy(corrected(frame, found.gain[k], found.sway[k])).round().byte()
    return out, found


def measure(frames: Frames, reach: int = REACH) -> Restoration:
    """The flicker and sway of one shot, uint8 ``(T, C, H, W)``.

    All that is asked of ``frames`` is a shape, a length, and each frame in turn, twice, so that they may lie on disk.
    """
    if len(frames) < 3 or min(frames.shape[-2:]) < 2:
        return Restoration(np.ones(len(frames), np.float32), np.zeros((len(frames), 2), np.float32))
    gain = _flicker(_small(frames), reach)
    return Restoration(gain, _sway(_small(frames, gain), reach))


def corrected(frame: np.ndarray, gain: float, sway: np.ndarray) -> np.ndarray:
    """A frame, uint8 ``(C, H, W)``, divided by its gain and moved back by its sway, edges repeated.

    Returns:
        float32 ``(C, H, W)`` in [0, 255], not rounded: it may have to be made smaller first.
    """
    x = frame.astype(np.float32)
    x *= np.float32(1 / gain)
    for axis, share in ((-2, sway[0]), (-1, sway[1])):
        x = _moved(x, float(share) * x.shape[axis], axis)
    return x.clip(0, 255, out=x)


def _small(frames: Frames, gain: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """Each frame divided by its gain: uint16 ``(h, w)``, some ``SMALL`` pixels each way, in 64ths of a grey level."""
    _, channels, height, width = frames.shape
    tall, wide = (max(1, round(n / SMALL)) for n in (height, width))
    area = channels * tall * wide
    kind = np.min_scalar_type(255 * area)
    for k, frame in enumerate(frames):
        x = frame[:, : height // tall * tall, : width // wide * wide]
        x = reduce(np.add, x[1:], x[0].astype(kind))
        x = reduce(np.add, [x[i::tall] for i in range(tall)])
        x = reduce(np.add, [x[:, i::wide] for i in range(wide)])
        x = x * np.float32(FINE / area if gain is None else FINE / (area * gain[k]))
        yield (x + np.float32(0.5)).astype(np.uint16)


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
    reaches = [min(reach, k, len(x) - 1 - k) for k in range(len(x))]
    slow = np.stack([np.median(filled[k - r : k + r + 1], axis=0) for k, r in enumerate(reaches)])
    return np.where(np.isnan(x), 0, filled - slow)


def _flicker(small: Iterator[np.ndarray], reach: int) -> np.ndarray:
    """Gain of each frame ``(T,)``: the median ratio to the running median over lit places.

    Flicker touches the whole picture alike. Where the ratios disagree (an iris, a pan, much motion) or
    little is lit there is no telling what is flicker, and the gain is 1.
    """
    level = []
    for x, reference in with_medians((x[::2, ::2] for x in small), reach):
        level.append(np.nan)
        lit = (reference > 40 * FINE) & (x > 20 * FINE)
        if np.count_nonzero(lit) > 0.25 * lit.size:
            ratio = np.log(x[lit] / reference[lit])
            middle = np.median(ratio)
            if np.count_nonzero(np.abs(ratio - middle) < 0.04) > 0.4 * ratio.size:
                level[-1] = middle
    limit = np.log(LARGEST_GAIN)
    return np.exp(np.clip(_quick(np.array(level)[:, None], reach // 2)[:, 0], -limit, limit)).astype(np.float32)


def _sway(small: Iterator[np.ndarray], reach: int) -> np.ndarray:
    """Shift of each frame ``(T, 2)`` (down, right; shares of height and width) against what stands still.

    Least squares on the brightness constancy equation (Lucas and Kanade, 1981) over the places that
    have an edge and differ least from the running median. Where too few places stand still there is
    no telling sway from motion, and nothing is moved.
    """
    shift = [_shift(x, reference) / x.shape for x, reference in with_medians(small, reach)]
    return np.clip(_quick(np.array(shift), reach // 2), -LARGEST_SWAY, LARGEST_SWAY).astype(np.float32)


def _shift(x: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """By how many pixels (down, right) ``x`` lies off ``reference``; NaN if there is no telling."""
    gy, gx = np.gradient(reference)
    edge = np.flatnonzero(gy * gy + gx * gx > (6 * FINE) ** 2)
    change = x.ravel()[edge] - reference.ravel()[edge]
    slope = np.stack([gy.ravel()[edge], gx.ravel()[edge]])
    moved = np.zeros(2, np.float32)
    for _ in range(3):  # the places that fit the shift so far say what the shift is
        fits = np.abs(change + moved @ slope) < 12 * FINE
        if np.count_nonzero(fits) < max(50, 0.5 * len(edge)):
            return np.full(2, np.nan)
        there = slope * fits
        (a, b), (_, c) = (there @ slope.T).tolist()  # by hand: for two unknowns a solver is mostly overhead
        d, e = (there @ change).tolist()
        a, c = a + FINE, c + FINE  # next to nothing; where all edges run one way, nothing moves along them
        det = a * c - b * b
        if det <= 0:
            return np.full(2, np.nan)
        moved = np.array([b * e - c * d, b * d - a * e], np.float32) / np.float32(det)
    return moved


def _moved(x: np.ndarray, shift: float, axis: int) -> np.ndarray:
    """``x`` moved back by ``shift`` pixels along an axis, edges repeated: cubic convolution (Keys, 1981)."""
    if not shift:
        return x
    weights, first = _cubic(shift)
    n, edge = x.shape[axis], abs(first) + 3
    rows = (lambda a, b: x[..., a:b, :]) if axis == -2 else (lambda a, b: x[..., a:b])
    x = np.concatenate([rows(0, 1).repeat(edge, axis), x, rows(n - 1, n).repeat(edge, axis)], axis)
    total = rows(edge + first, edge + first + n) * weights[0]
    part = np.empty_like(total)
    for k in range(1, 4):
        np.multiply(rows(edge + first + k, edge + first + k + n), weights[k], out=part)
        total += part
    return total


def _cubic(shift: float, a: float = -0.75) -> tuple[np.ndarray, int]:
    """Weights of four neighbours, float32, and where the first of them lies."""
    whole = math.floor(shift)
    near = np.array([shift - whole, 1 - (shift - whole)])
    far = 1 + near
    near = ((a + 2) * near - (a + 3)) * near * near + 1
    far = ((a * far - 5 * a) * far + 8 * a) * far - 4 * a
    return np.array([far[0], near[0], near[1], far[1]], np.float32), whole - 1
