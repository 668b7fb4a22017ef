"""Figures in one quiet style: curves, bars, attention biases, and a plot that follows a training run."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import matplotlib.pyplot as plt
import numpy as np
from IPython import get_ipython
from IPython.core.pylabtools import print_figure
from IPython.display import DisplayHandle
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib_inline.backend_inline import configure_inline_support
from PIL import Image

from vg.show.page import show_alt, show_picture
from vg.show.pictures import Picture
from vg.show.pixels import to_array

COLOURS = ("#2f6f9f", "#d1782c", "#4b8f5a", "#a2477f", "#7a6a52", "#5b5ea6", "#9a9a3a", "#b04a4a")
QUIET = "#8a8a8a"  # baselines, rules, masked places
STYLE = {
    "figure.dpi": 100,
    "figure.figsize": (6.4, 3.2),
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "savefig.dpi": "figure",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.edgecolor": QUIET,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": plt.cycler(color=COLOURS),
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.6,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "image.cmap": "magma",
    "image.interpolation": "nearest",
}


def style() -> None:
    """Set the course's matplotlib style for everything that is drawn from here on.

    In a notebook figures are shown with a text for readers who do not see them (and with metadata ``alt`` of the PNG).
    """
    plt.rcParams.update(STYLE)
    shell = get_ipython()
    if shell is not None and hasattr(shell, "kernel"):
        configure_inline_support(shell, plt.get_backend())  # else it would put its own formatter back later
        shell.display_formatter.formatters["image/png"].for_type(Figure, _png_with_alt)


def _png_with_alt(figure: Figure) -> tuple[bytes, dict] | None:
    data = print_figure(figure, "png")
    if data is None:
        return None
    if not getattr(figure, "has_alt", False):  # a live plot is drawn again and again
        figure.has_alt = True  # type: ignore[attr-defined]
        show_alt(alt_of(figure))
    return data, {"alt": alt_of(figure)}


def alt_of(figure: Figure) -> str:
    """What a figure shows, in words: its attribute ``alt``, or title, axes and curves of each of its panels."""
    if words := getattr(figure, "alt", ""):
        return words
    panels = []
    for axes in figure.axes:
        across, up = axes.get_xlabel(), axes.get_ylabel()
        legend = axes.get_legend()
        names = [text.get_text() for text in legend.get_texts()] if legend else []
        names += [text.get_text() for text in axes.texts]
        parts = [axes.get_title("left") or axes.get_title()]
        parts.append(f"{up or 'values'} over {across}" if across else up)
        parts.append(", ".join(names))
        panels.append("; ".join(part for part in parts if part))
    head = figure.get_suptitle()
    return "figure: " + " | ".join(words for words in [head, *panels] if words) if any([head, *panels]) else "figure"


def _finish(figure: Figure) -> Figure:
    """Lay the figure out in this style and close it: a notebook then shows it once, where it is returned."""
    figure.draw_without_rendering()
    plt.close(figure)
    return figure


def curves(
    series: Mapping[str, Sequence],
    title: str = "",
    x: str = "step",
    y: str = "",
    baselines: Mapping[str, float] | None = None,
    log: str = "",
) -> Figure:
    """Curves over a common axis, with dotted lines for what they are to be compared with.

    Args:
        series: ``{name: [(x, y), ...]}`` or ``{name: [y0, y1, ...]}`` (then x counts from 0).
        title, x, y: what the figure and its axes say.
        baselines: ``{name: y}``, drawn as dotted lines and named at their right end.
        log: which axes are logarithmic: ``""``, ``"x"``, ``"y"`` or ``"xy"``.

    Raises:
        ValueError: if there is no series, or one is neither numbers nor pairs (it is named).
    """
    points = {name: _points(name, values) for name, values in series.items()}
    if not points:
        raise ValueError("there is nothing to draw: series is empty")
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots()
        _draw_curves(axes, points, baselines or {})
        if "x" in log:
            axes.set_xscale("log")
        if "y" in log:
            axes.set_yscale("log")
        axes.set(title=title, xlabel=x, ylabel=y)
        _name_levels(axes, baselines or {})
        return _finish(figure)


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Move places on a line apart, so that no two are closer than ``gap``, and as little as can be.

    They keep their order (equal ones that in which they come), and the sum of the squared moves is least: isotonic
    regression of the places less what the gaps take, by pooling adjacent violators.
    """
    order = sorted(range(len(places)), key=lambda n: places[n])
    pools: list[list[float]] = []
    for rank, n in enumerate(order):
        pools.append([places[n] - rank * gap])
        while len(pools) > 1 and np.mean(pools[-2]) >= np.mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    moved = [float(np.mean(pool)) for pool in pools for _ in pool]
    placed = [0.0] * len(places)
    for rank, n in enumerate(order):
        placed[n] = moved[rank] + rank * gap
    return placed


def _name_levels(axes: Axes, levels: Mapping[str, float]) -> None:
    """Names at the right end of horizontal lines, moved apart where they would overprint."""
    figure = cast(Figure, axes.figure)
    figure.draw_without_rendering()  # what a level is in points is known once the figure is laid out
    scale = 72 / figure.dpi
    heights = [scale * axes.transData.transform((0, float(level)))[1] for level in levels.values()]
    for (name, level), at, moved in zip(levels.items(), heights, spread(heights, gap=10)):
        place: dict[str, Any] = {"xy": (1.01, float(level)), "xycoords": ("axes fraction", "data"), "va": "center"}
        axes.annotate(name, xytext=(0, moved - at), textcoords="offset points", fontsize=8, color="#555555", **place)


def _points(name: str, values: Sequence) -> np.ndarray:
    """``(n, 2)`` floats from pairs or from plain numbers."""
    points = np.asarray([to_array(v) for v in values], dtype=np.float64)
    if points.ndim == 1:
        points = np.stack([np.arange(len(points)), points], axis=1) if len(points) else points.reshape(0, 2)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"series {name!r}: expected numbers or (x, y) pairs, got an array of shape {points.shape}")
    return points


def _draw_curves(axes: Axes, points: Mapping[str, np.ndarray], baselines: Mapping[str, float]) -> None:
    for name, xy in points.items():
        axes.plot(*xy.T, label=name, marker="o" if len(xy) < 12 else None, markersize=3.5)
    for level in baselines.values():
        axes.axhline(float(level), color=QUIET, linestyle=":", linewidth=1.2)
    if any(points):
        axes.legend()


def bars(
    values: Mapping[str, float],
    title: str = "",
    unit: str = "",
    baselines: Mapping[str, float] | None = None,
) -> Figure:
    """Horizontal bars with their numbers, and below them, in grey, what they are to be compared with.

    Args:
        values: ``{name: number}``, drawn from top to bottom.
        title, unit: what the figure and its axis say.
        baselines: ``{name: number}``, drawn as grey bars with a dotted line up through the others.

    Raises:
        ValueError: if there is no value, or one is not finite (it is named).
    """
    baselines = dict(baselines or {})
    every = {**{name: float(v) for name, v in values.items()}, **{n: float(v) for n, v in baselines.items()}}
    if not values:
        raise ValueError("there is nothing to draw: values is empty")
    for name, value in every.items():
        if not np.isfinite(value):
            raise ValueError(f"bar {name!r} is {value}: only finite numbers can be drawn")
    with plt.rc_context(STYLE | {"axes.grid": False}):
        figure, axes = plt.subplots(figsize=(6.4, 0.7 + 0.32 * len(every)))
        colours = [QUIET if name in baselines else COLOURS[0] for name in every]
        behind = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
        drawn = axes.barh(list(every), list(every.values()), color=colours, height=0.62)
        labels = _numbers(every.values())
        axes.bar_label(drawn, labels=labels, padding=4, fontsize=8, bbox=behind)
        for level in baselines.values():
            axes.axvline(float(level), color=QUIET, linestyle=":", linewidth=1.2, zorder=0)
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.tick_params(axis="y", length=0)
        axes.set(title=title, xlabel=unit)
        numbers = ", ".join(f"{name} {label}" for name, label in zip(every, labels))
        figure.alt = "bars: " + "; ".join(words for words in (title, unit, numbers) if words)
        return _finish(figure)


def _numbers(values: Iterable[float]) -> list[str]:
    """Numbers to be compared: the largest with four digits, and all with as many decimals, as few as that takes."""
    values = list(values)
    largest = max(map(abs, values))
    most = max(0, 3 - math.floor(math.log10(largest))) if largest else 0
    rounded = [round(value, most) for value in values]
    decimals = next((d for d in range(most) if all(round(v, d) == v for v in rounded)), most)
    return [f"{value:,.{decimals}f}" for value in rounded]


def picture_of(figure: Figure, title: str = "figure") -> Picture:
    """A figure drawn once, as a `Picture`: the same PNG wherever it is shown."""
    out = io.BytesIO()
    figure.savefig(out, format="png", bbox_inches="tight")
    return Picture(Image.open(out).convert("RGB"), title, alt_of(figure))


class LivePlot:
    """Curves of a run, drawn again in place as the run goes on.

    ``update`` may be called at every step: it redraws at most once in so many seconds, and ``close`` draws
    the last state. The notebook keeps one PNG, the last.

    Args:
        title, y, baselines, log: as in `curves`.
        every: seconds between two drawings.
        clock: returns seconds; for tests.
    """

    def __init__(
        self,
        title: str = "loss",
        y: str = "",
        baselines: Mapping[str, float] | None = None,
        log: str = "",
        every: float = 3.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.title, self.y, self.baselines, self.log = title, y, baselines, log
        self.every, self.clock = every, clock
        self._words: DisplayHandle | None = None
        self._place: DisplayHandle | None = None
        self._due = float("-inf")
        self._pending: Mapping[str, Sequence] | None = None

    def update(self, history: Mapping[str, Sequence]) -> None:
        """Take the history ``{name: [(step, value), ...]}``, and redraw if it is time to."""
        self._pending = history
        if self.clock() >= self._due:
            self._draw()

    def close(self) -> None:
        """Draw what came since the last drawing."""
        if self._pending is not None:
            self._draw()

    def _draw(self) -> None:
        history = {name: values for name, values in (self._pending or {}).items() if len(values)}
        self._pending = None
        if not history:
            return
        figure = curves(history, self.title, y=self.y, baselines=self.baselines, log=self.log)
        picture = picture_of(figure, self.title)
        self._words = show_alt(picture.alt, self._words)
        self._place = show_picture(picture.png, repr(picture), picture.alt, place=self._place)
        self._due = self.clock() + self.every
