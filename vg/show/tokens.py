"""Tokens painted over the clip they stand for."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vg.show.pixels import frames


def token_map(
    indices: Tensor,
    video: Tensor,
    tubelet: tuple[int, int, int],
    levels: Sequence[int] | None = None,
    strength: float = 0.5,
) -> Tensor:
    """Tint each tubelet of a clip with a colour that names its token, and rule its edges.

    Args:
        indices: ``(t, h, w)`` integers, the clip's tokens.
        video: ``(C, T, H, W)``, float in [-1, 1] or uint8.
        tubelet: frames, height and width of one tubelet in pixels; the last ones may reach over the clip's
            end.
        levels: FSQ levels. With them the first three digits are the colour's red, green and blue, so that
            neighbouring codes look alike (and codes that differ only in a later digit look the same).
            Without them the colour is a hash of the index, so that different tokens look different.
        strength: share of the tint, from 0 (the clip alone) to 1 (the colour alone).

    Returns:
        ``(3, T, H, W)`` float32 in [-1, 1].

    Raises:
        ValueError: if the token grid does not fit the clip, or an index is negative or not below
            prod(levels).
    """
    pixels = frames(video).astype(np.float32) / 127.5 - 1  # (T, H, W, C)
    size = pixels.shape[:3]
    indices = torch.as_tensor(indices)
    fits = tuple(-(-side // step) for side, step in zip(size, tubelet))
    if tuple(indices.shape) != fits:
        raise ValueError(
            f"tubelets {tuple(tubelet)} cut a clip of {'x'.join(map(str, size))} into {fits} tokens, "
            f"but the indices have shape {tuple(indices.shape)}"
        )
    if indices.is_floating_point():
        raise ValueError(f"token indices must be integers, got {indices.dtype}")
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must be from 0 to 1, got {strength}")
    tokens, where = np.unique(indices.cpu().numpy().astype(np.int64), return_inverse=True)
    size_of = int(np.prod(levels, dtype=np.int64)) if levels is not None else 2**62
    if tokens[0] < 0 or tokens[-1] >= size_of:
        raise ValueError(f"token indices must lie in [0, {size_of}), got {tokens[0]} to {tokens[-1]}")
    colours = _hashed(tokens) if levels is None else _digits(tokens, levels)
    tint = colours[where.reshape(fits)]  # (t, h, w, 3)
    for axis, step in enumerate(tubelet):
        tint = tint.repeat(step, axis=axis)
    painted = (1 - strength) * pixels + strength * tint[: size[0], : size[1], : size[2]]
    painted[:, :: tubelet[1]] -= 0.25 * strength  # the first row and column of each tubelet, darker
    painted[:, :, :: tubelet[2]] -= 0.25 * strength
    return torch.from_numpy(np.clip(painted, -1, 1)).permute(3, 0, 1, 2).contiguous()


def outline(video: Tensor, place: tuple[int, int, int], tubelet: tuple[int, int, int]) -> Tensor:
    """Frame one tubelet of a clip: black and white pixels in turn, just outside it, seen on any ground.

    Args:
        video: ``(C, T, H, W)``, float in [-1, 1].
        place: ``(t, h, w)`` of the tubelet in the token grid.
        tubelet: its frames, height and width in pixels.

    Returns:
        a copy of the clip with the frame on it, in the frames of the tubelet.

    Raises:
        ValueError: if the clip has no such tubelet.
    """
    size = tuple(video.shape[1:])
    starts = [n * step for n, step in zip(place, tubelet)]
    if any(not 0 <= start < side for start, side in zip(starts, size)):
        raise ValueError(
            f"there is no tubelet {tuple(place)} of {tuple(tubelet)} in a clip of {'x'.join(map(str, size))}"
        )
    begin, top, left = starts
    rows, columns = torch.arange(size[1])[:, None], torch.arange(size[2])
    down = torch.maximum(top - rows, rows - (top + tubelet[1] - 1))  # pixels outside it; below 1: inside
    across = torch.maximum(left - columns, columns - (left + tubelet[2] - 1))
    ring = torch.maximum(down, across) == 1
    dashes = torch.where((rows + columns) % 2 == 0, 1.0, -1.0).to(video)
    framed = video.clone()
    part = framed[:, begin : begin + tubelet[0]]
    part[:] = torch.where(ring.to(video.device), dashes, part)
    return framed


def _hashed(tokens: np.ndarray) -> np.ndarray:
    """Colours ``(n, 3)`` in [-1, 1]: steps of the golden ratio round the hues, other ratios for the rest."""
    steps = (0.6180339887, 0.7548776662, 0.5698402910)
    # in whole numbers that wrap round at 2^64: a large token times a fraction would have no fraction left
    turns = (tokens.astype(np.uint64) * np.uint64(int(step * 2**64)) for step in steps)
    hue, light, grey = (turn / 2.0**64 for turn in turns)
    rgb = [colorsys.hls_to_rgb(h, 0.35 + 0.3 * l, 0.6 + 0.4 * s) for h, l, s in zip(hue, light, grey)]
    return np.array(rgb, np.float32) * 2 - 1


def _digits(tokens: np.ndarray, levels: Sequence[int]) -> np.ndarray:
    """Colours ``(n, 3)`` in [-1, 1]: the first three FSQ digits, spread over red, green and blue."""
    colours = np.zeros((len(tokens), 3), np.float32)
    for channel, level in enumerate(levels[:3]):
        tokens, digit = np.divmod(tokens, level)
        colours[:, channel] = digit / (level - 1) * 2 - 1
    return colours
