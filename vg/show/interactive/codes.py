"""Explorers of a tokenizer's codes: what one token's digits draw, and what bits buy beside a codec."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vg.show.interactive.page import Interactive
from vg.show.interactive.pictures import variations
from vg.show.pixels import Pixels, frames, to_array

SHOWN = 4  # frames of a clip
WINDOW = 20  # rows and columns around a tubelet


def digits(
    drawn: Pixels,
    film: Pixels,
    levels: Sequence[int],
    start: Sequence[int],
    place: tuple[int, int, int],
    tubelet: tuple[int, int, int],
    title: str = "what a token's digits draw",
) -> Interactive:
    """A token's digits on sliders, and what was decoded for them: four frames of the tubelet and its surroundings.

    Args:
        drawn: ``(prod(levels), C, T, H, W)``, the clip decoded with each code in turn at ``place``, the first digit
            running fastest; float in [-1, 1] or uint8.
        film: ``(C, T, H, W)``, the clip itself.
        levels: of each digit.
        start: digits to begin with.
        place: (t, row, column) of the token.
        tubelet: its frames, height and width in pixels.
        title: what is shown, one line.

    Raises:
        ValueError: if there is not a clip for each code, the clip has no such tubelet, or the output would be over
            150 kB.
    """
    truth, clips = frames(film), [frames(clip) for clip in to_array(drawn)]  # (T, H, W, C) each
    count = math.prod(levels)
    if len(clips) != count or clips[0].shape != truth.shape:
        raise ValueError(f"{len(clips)} clips {clips[0].shape} came, {count} of {truth.shape} were expected")
    first = [n * side for n, side in zip(place, tubelet)]
    if any(not 0 <= n <= whole - side for n, side, whole in zip(first, tubelet, truth.shape)):
        raise ValueError(f"there is no tubelet {tuple(place)} of {tuple(tubelet)} in a clip of {truth.shape[:3]}")
    inside = tuple(slice(n, n + side) for n, side in zip(first, tubelet))
    says = [f"{k}, {_psnr(clip[inside], truth[inside])} in the box" for k, clip in enumerate(clips)]

    moments = _moments(first[0], tubelet[0])
    top, left = (
        max(0, min(n + side // 2 - WINDOW // 2, whole - WINDOW))
        for n, side, whole in zip(first[1:], tubelet[1:], truth.shape[1:3])
    )

    def around(clip: np.ndarray) -> np.ndarray:
        return _abreast(clip[moments, top : top + WINDOW, left : left + WINDOW])

    codes = np.arange(count).reshape(tuple(levels)[::-1]).T  # by digits
    pictures: dict[str, Pixels] = {"the film": around(truth)[(None,) * len(levels)]}
    pictures["drawn by token"] = np.stack([around(clip) for clip in clips])[codes]
    step = min(WINDOW, truth.shape[2]) + 1
    return variations(
        pictures,
        {f"d{k}": range(n) for k, n in enumerate(levels)},
        start={f"d{k}": int(n) for k, n in enumerate(start)},
        captions={"drawn by token": np.array(says)[codes].tolist()},
        scale=5,
        boxes=[(first[1] - top, first[2] - left + k * step, *tubelet[1:]) for k in range(len(moments))],
        title=title,
    )


def bitrates(
    film: Pixels,
    tokens: tuple[Pixels, float],
    coded: Sequence[tuple[Pixels, float]],
    codec: str = "H.264",
    title: str = "a clip as tokens, and through a codec",
) -> Interactive:
    """What bits buy: a clip decoded from its tokens, beside a codec whose bits are on a slider.

    Args:
        film: ``(C, T, H, W)``, the clip itself, float in [-1, 1] or uint8.
        tokens: the clip as decoded from tokens, and their bits.
        coded: the same for the codec, once for each of its settings, bits rising.
        codec: its name.
        title: what is shown, one line.

    Raises:
        ValueError: if the clips differ in shape, or the output would be over 150 kB.
    """
    truth = frames(film)
    moments = _moments(0, len(truth))

    def made(clip: Pixels, bits: float) -> tuple[np.ndarray, str]:
        video = frames(clip)
        if video.shape != truth.shape:
            raise ValueError(f"a clip {video.shape} came beside the film's {truth.shape}")
        return np.moveaxis(video[moments], -1, 1), f"{float(bits):,.0f} bits, {_psnr(video, truth)}"

    ours, said = made(*tokens)
    pictures, says = zip(*(made(*one) for one in coded))
    rates = [round(float(bits)) for _, bits in coded]
    return variations(
        {"the film": np.moveaxis(truth[moments], -1, 1)[None], "tokens": ours[None], codec: np.stack(pictures)},
        {f"bits of {codec}": rates, "frame": moments},
        start={f"bits of {codec}": min(range(len(rates)), key=lambda k: abs(rates[k] - tokens[1]))},
        captions={"tokens": [[said]], codec: [[words] for words in says]},
        scale=3,
        title=title,
    )


def _moments(first: int, count: int) -> list[int]:
    """Some of ``count`` frames, the first and the last among them."""
    return [round(first + k * (count - 1) / (min(SHOWN, count) - 1 or 1)) for k in range(min(SHOWN, count))]


def _abreast(clip: np.ndarray) -> np.ndarray:
    """Frames (T, H, W, C) beside each other, a white column between two: (C, H, T (W + 1) - 1)."""
    apart = np.pad(clip, [(0, 0), (0, 0), (0, 1), (0, 0)], constant_values=255)
    return np.concatenate(list(apart), axis=1)[:, :-1].transpose(2, 0, 1)


def _psnr(video: np.ndarray, truth: np.ndarray) -> str:
    """Of 8-bit pixels, in words."""
    error = np.square(video - truth.astype(float)).mean()
    return f"{10 * math.log10(255**2 / error):.1f} dB" if error else "exact"
