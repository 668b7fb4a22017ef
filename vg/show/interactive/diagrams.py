"""Explorers that compute in the browser: a codebook in the plane, rounding, slopes of attention, a token's logits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from vg.show.figures import COLOURS, picture_of
from vg.show.interactive.page import Interactive, interactive
from vg.show.pixels import Pixels, to_array


def _still(figure: Figure) -> Image.Image:
    plt.close(figure)
    return picture_of(figure).image


def _numbers(values: Pixels, what: str, shape: tuple[int | None, ...]) -> list:
    """Nested lists of four decimals, if the shape is right (None: any length) and all are finite."""
    array = to_array(values).astype(float)
    fits = array.ndim == len(shape) and all(m in (None, n) for n, m in zip(array.shape, shape))
    if not fits or not array.size or not np.isfinite(array).all():
        raise ValueError(f"{what}: expected finite numbers of shape {shape}, got shape {array.shape}")
    return array.round(4).tolist()


def codebook(
    points: Pixels,
    codes: Pixels,
    wish: Pixels = (0.0, 0.0),
    reach: float = 3.0,
    title: str = "points and codes",
) -> Interactive:
    """Points in the plane and the codes they are quantized to; codes can be dragged, cells and gradients follow.

    The decoder's loss is half the squared distance of a code from ``wish``, so its gradient, copied straight through
    to all points of the code's cell, is ``code - wish``.

    Args:
        points: ``(n, 2)``.
        codes: ``(K, 2)``.
        wish: where the decoder would have all codes.
        reach: the plane is shown from ``-reach`` to ``reach``.
        title: what is shown, one line.
    """
    data: dict[str, Any] = {
        "points": _numbers(points, "points", (None, 2)),
        "codes": _numbers(codes, "codes", (None, 2)),
    }
    data |= {"wish": _numbers(wish, "wish", (2,)), "reach": float(reach)}
    places, centres = np.array(data["points"]), np.array(data["codes"])
    nearest = ((places[:, None] - centres) ** 2).sum(-1).argmin(1)
    figure, ax = plt.subplots(figsize=(4, 4))
    towards = (np.array(data["wish"]) - centres[nearest]) / 3
    colours = [COLOURS[k % len(COLOURS)] for k in nearest]
    ax.quiver(*places.T, *towards.T, color=colours, angles="xy", scale_units="xy", scale=1, width=0.003)
    ax.scatter(*places.T, s=6, color=colours)
    ax.scatter(*centres.T, marker="x", s=60, color="black")
    ax.scatter(*data["wish"], marker="*", s=120, color="black")
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
    return interactive("codebook", title, data, _still(figure))


def rounding(levels: int = 5, width: float = 0.8, z: float = 0.4, title: str = "what rounding does") -> Interactive:
    """One number through FSQ: its digit and code, and how evenly the levels are used for a normal ``z``.

    Args:
        levels: to begin with, 3 to 16.
        width: standard deviation of ``z`` to begin with, 0.1 to 3.
        z: to begin with, -4 to 4.
        title: what is shown, one line.

    Raises:
        ValueError: if one of them is out of its range.
    """
    for name, value, (low, high) in (("levels", levels, (3, 16)), ("width", width, (0.1, 3)), ("z", z, (-4, 4))):
        if not low <= value <= high:
            raise ValueError(f"{name} is {value}, expected {low} to {high}")
    half, offset = (levels - 1) * 1.001 / 2, 0.5 * (levels % 2 == 0)
    x = np.linspace(-4, 4, 401)
    curve = np.tanh(x + math.atanh(offset / half)) * half - offset + levels // 2
    figure, ax = plt.subplots(figsize=(4, 2.2))
    ax.plot(x, curve, color="#8a8a8a", linewidth=1)
    ax.plot(x, curve.round())
    ax.set(title=f"{levels} levels", xlabel="z", ylabel="digit")
    return interactive("rounding", title, {"levels": levels, "width": width, "z": z}, _still(figure))


def slopes(
    heads: Mapping[str, float],
    grid: tuple[int, int],
    span: int = 4,
    start: str | None = None,
    title: str = "how far a head sees",
) -> Interactive:
    """ALiBi's slopes: what a head leaves of a key at a distance, as a curve and in the grid of tokens.

    Args:
        heads: ``{name: slope}``, each in (0, 1].
        grid: (h, w), tokens of a latent frame; the stream runs through them row by row.
        span: latent frames to show.
        start: the head to begin with; the first by default.
        title: what is shown, one line.

    Raises:
        ValueError: if a slope is out of range or ``start`` is no head.
    """
    if not heads or not all(0 < slope <= 1 for slope in heads.values()):
        raise ValueError(f"slopes must be in (0, 1], got {dict(heads)}")
    names, (h, w) = list(heads), grid
    if start is not None and start not in heads:
        raise ValueError(f"start={start!r} is no head; the heads are {', '.join(names)}")
    first = names.index(start) if start is not None else 0
    data: dict[str, Any] = {"heads": [{"name": name, "slope": float(slope)} for name, slope in heads.items()]}
    data |= {"grid": [h, w], "span": span, "start": first, "place": (h // 2) * w + w // 2}
    figure, ax = plt.subplots(figsize=(5, 2.2))
    distance = np.linspace(0, span * h * w, 500)
    for name, slope in heads.items():
        ax.plot(distance / (h * w), np.exp(-slope * distance), label=name)
    ax.set(xlabel="distance in latent frames", ylabel="weight left")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return interactive("slopes", title, data, _still(figure))


def probabilities(
    past: Sequence,
    alone: Sequence,
    digits: Sequence[int],
    start: Mapping[str, float],
    title: str = "one token, and what may be drawn",
) -> Interactive:
    """Temperature, top-k, top-p and history guidance over the digits of one token.

    Args:
        past: for each digit, ``(levels[i],)`` logits that have seen all that was before.
        alone: the same from the model that has not seen the earlier latent frames.
        digits: the true token's.
        start: ``temperature``, ``top_p``, ``history`` and, if wanted, ``top_k`` to begin with.
        title: what is shown, one line.

    Raises:
        ValueError: if there are not as many logits as needed, or a digit has no logit.
    """
    if not len(past) == len(alone) == len(digits) or not len(digits):
        raise ValueError(f"{len(past)} and {len(alone)} rows of logits came for {len(digits)} digits")
    rows: list[dict[str, Any]] = []
    for i, (seen, unseen, digit) in enumerate(zip(past, alone, digits)):
        seen = _numbers(seen, f"logits of digit {i}", (None,))
        unseen = _numbers(unseen, f"logits of digit {i}, alone", (len(seen),))
        if not 0 <= digit < len(seen):
            raise ValueError(f"digit {i} is {digit}, but it has {len(seen)} logits")
        rows.append({"past": seen, "alone": unseen, "true": int(digit)})
    begin = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "history": 1.0}
    begin |= {name: value for name, value in start.items() if name in begin and value is not None}
    figure, axes = plt.subplots(1, len(rows), figsize=(4.2, 1.3), squeeze=False, dpi=60)
    for i, (ax, row) in enumerate(zip(axes[0], rows)):
        powers = np.exp(np.array(row["past"]) - max(row["past"]))
        ax.bar(range(len(powers)), powers / powers.sum())
        ax.set(title=f"digit {i}", yticks=[])
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.grid(False)
    return interactive("probabilities", title, {"digits": rows, "start": begin}, _still(figure))
