"""Explorers over pictures that were made beforehand: any setting of some controls, a film's slices, attention."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from vg.data.pixels import resize, to_pil
from vg.show.interactive.page import Interactive, interactive
from vg.show.interactive.sheets import pack
from vg.show.pictures import check_scale, tiles
from vg.show.pixels import Pixels, frames, to_array

ORANGE = (255, 140, 26)


def variations(
    pictures: Mapping[str, Pixels],
    axes: Mapping[str, Sequence],
    start: Mapping[str, int] | None = None,
    captions: Mapping[str, Sequence] | None = None,
    scale: int = 4,
    smooth: bool = False,
    boxes: Sequence[tuple[int, int, int, int]] = (),
    title: str = "pictures for every setting",
) -> Interactive:
    """Controls, and pictures that were computed for each of their settings.

    Args:
        pictures: ``{label: (n_1, ..., n_k, C, H, W)}``, one axis for each control, float in [-1, 1] or uint8. A
            length of 1 means that the picture does not depend on that control.
        axes: ``{name: values}``, ``n_i`` of them. A slider for numbers, a menu for words.
        start: ``{name: index}`` to begin with; 0 where nothing is said.
        captions: ``{label: array of strings}``, shape ``(n_1, ..., n_k)`` or with 1 in places, added to the label.
        scale: whole number of screen pixels for each pixel, where there is room.
        smooth: blend pixels when they are enlarged.
        boxes: (top, left, height, width) in pixels, a line around each in every picture.
        title: what is shown, one line.

    Raises:
        ValueError: if shapes and axes disagree (the label is named), a box is no part of the pictures, or the output
            would be over 150 kB.
    """
    names, lengths = list(axes), [len(values) for values in axes.values()]
    begin = {name: 0 for name in names} | dict(start or {})
    for name, k in begin.items():
        if name not in axes or not 0 <= k < len(axes[name]):
            raise ValueError(f"start={{{name!r}: {k}}}: the axes are {dict(zip(names, lengths))}")
    described: list[dict[str, Any]] = []
    sheet: list[np.ndarray] = []
    stills: list[np.ndarray] = []
    for label, table in pictures.items():
        table = to_array(table)
        shape = list(table.shape[:-3])
        _check_shape(f"picture {label!r}", shape, axes)
        one: dict[str, Any] = {"label": label, "first": sum(len(group) for group in sheet), "shape": shape}
        sheet.append(frames(table.reshape(-1, *table.shape[-3:]).swapaxes(0, 1)))
        words = np.asarray((captions or {}).get(label, ""), dtype=object)
        if words.ndim:
            _check_shape(f"captions of {label!r}", list(words.shape), axes)
            one |= {"words": [str(word) for word in words.ravel()], "wordsShape": list(words.shape)}
        described.append(one)
        stills.append(sheet[-1][_place(shape, [begin[name] for name in names])])
    if len({group.shape[1:3] for group in sheet}) != 1:
        raise ValueError(f"pictures must have one height and width, got { {group.shape[1:3] for group in sheet} }")
    size = sheet[0].shape[1:3]
    for top, left, high, wide in boxes:
        if top < 0 or left < 0 or high < 1 or wide < 1 or top + high > size[0] or left + wide > size[1]:
            raise ValueError(f"box {(top, left, high, wide)} is no part of a picture of {size[0]}x{size[1]}")
    channels = max(group.shape[-1] for group in sheet)
    every = np.concatenate([np.broadcast_to(group, (*group.shape[:3], channels)) for group in sheet])
    controls = [
        {
            "name": name,
            "values": [v if isinstance(v, str) else f"{v:g}" for v in values],
            "start": begin[name],
            "menu": any(isinstance(v, str) for v in values),
        }
        for name, values in axes.items()
    ]
    scale = check_scale(scale)
    data = {"axes": controls, "pictures": described, "sheet": pack(every), "scale": scale, "smooth": smooth}
    data["boxes"] = [[int(side) for side in box] for box in boxes]
    shown = [_boxed(one, boxes, min(scale, 3)) for one in stills]
    return interactive("variations", title, data, to_pil(tiles(shown, len(shown), [one["label"] for one in described])))


def _check_shape(what: str, shape: list[int], axes: Mapping[str, Sequence]) -> None:
    lengths = [len(values) for values in axes.values()]
    if len(shape) != len(lengths) or any(n not in (1, m) for n, m in zip(shape, lengths)):
        wanted = ", ".join(f"{name} {length}" for name, length in zip(axes, lengths))
        raise ValueError(f"{what}: expected axes {wanted} (or 1) before (C, H, W), got {tuple(shape)}")


def _boxed(picture: np.ndarray, boxes: Sequence[tuple[int, int, int, int]], scale: int) -> np.ndarray:
    """A picture (H, W, C) enlarged, in colour, with a line just outside each box."""
    large = resize(picture, scale)
    large = np.broadcast_to(large, (*large.shape[:2], 3)).copy()
    for box in boxes:
        top, left, high, wide = (side * scale for side in box)
        ring = np.zeros(large.shape[:2], bool)
        ring[max(0, top - 1) : top + high + 1, max(0, left - 1) : left + wide + 1] = True
        ring[top : top + high, left : left + wide] = False
        large[ring] = ORANGE
    return large


def _place(shape: list[int], setting: Sequence[int]) -> int:
    """The entry of a table of this shape for a setting, as the script finds it."""
    place = 0
    for length, k in zip(shape, setting):
        place = place * length + (k if length > 1 else 0)
    return place


def film_slice(video: Pixels, row: int, scale: int = 4, title: str = "a film cut along a row of pixels") -> Interactive:
    """A film's frames, and the slice through all of them along one row: across is width, down is time.

    Args:
        video: ``(C, T, H, W)``, float in [-1, 1] or uint8.
        row: the row to begin with, in [0, H).
        scale: whole number of screen pixels for each pixel, where there is room.
        title: what is shown, one line.

    Raises:
        ValueError: if there is no such row, or the film is too long for 150 kB.
    """
    film = frames(video)  # (T, H, W, C)
    if not 0 <= row < film.shape[1]:
        raise ValueError(f"the film has {film.shape[1]} rows; there is no row {row}")
    data = {"frames": len(film), "row": row, "frame": 0, "scale": check_scale(scale), "sheet": pack(film)}
    marked = np.repeat(film[0], 3, axis=-1) if film.shape[-1] == 1 else film[0].copy()
    marked[row] = ORANGE
    cut = np.broadcast_to(film[:, row], (*film[:, row].shape[:2], 3))
    cut = np.asarray(to_pil(cut).resize((film.shape[2], film.shape[1]), Image.Resampling.NEAREST))
    shown = tiles([resize(marked, 3), resize(cut, 3)], 2, ["frame 0", f"row {row} of every frame"])
    return interactive("film_slice", title, data, to_pil(shown))


def attention_maps(
    weights: Pixels,
    video: Pixels,
    queries: Sequence[tuple[int, int, int]],
    heads: Sequence[str] | None = None,
    start: tuple[int, int] = (0, 0),
    title: str = "what each head looks at",
) -> Interactive:
    """Attention of chosen tokens, painted over the frames that the keys stand for: a row for each head.

    Args:
        weights: ``(Q, layers, N, t, h, w)``, each query's attention to every key, summing to one; 0 where it may not
            look.
        video: ``(C, t, H, W)``, a frame for each latent frame.
        queries: Q places (t, row, column) in the token grid, all of one latent frame.
        heads: N names.
        start: query and layer to begin with.
        title: what is shown, one line.

    Raises:
        ValueError: if the shapes disagree, or the output would be over 150 kB.
    """
    maps, film = to_array(weights).astype(np.float64), frames(video)
    if maps.ndim != 6 or len(maps) != len(queries) or maps.shape[3] != len(film):
        raise ValueError(
            f"weights {maps.shape}: expected (queries, layers, heads, t, h, w) for {len(queries)} queries and "
            f"{len(film)} latent frames"
        )
    if len({place[0] for place in queries}) != 1:
        raise ValueError("the queries must all stand in one latent frame")
    layers, N, t, h, w = maps.shape[1:]
    shares = np.rint(100 * maps.sum((-2, -1))).astype(int).reshape(-1, t)
    bright = np.sqrt(maps / maps.max((-3, -2, -1), keepdims=True).clip(1e-12))  # the eye's scale: faint ones show
    bright = np.rint(255 * bright).astype(np.uint8)
    names = list(heads) if heads is not None else [f"head {n}" for n in range(N)]
    cell = (film.shape[1] / h, film.shape[2] / w)
    data = {"queries": [[int(k) for k in place] for place in queries], "layers": layers, "heads": names, "frames": t}
    data |= {"shares": shares.tolist(), "tubelet": cell, "query": start[0], "layer": start[1]}
    data |= {"sheet": pack(film, 16_000), "maps": pack(bright.reshape(-1, h, w, 1), 58_000)}
    shown = []
    for n in range(N):
        for k in range(t):
            glow = np.kron(bright[start[0], start[1], n, k], np.ones((math.ceil(cell[0]), math.ceil(cell[1]))))
            glow = glow[: film.shape[1], : film.shape[2], None] * np.array([1, 0.6, 0.19])
            shown.append(np.clip(0.45 * film[k] + glow, 0, 255).astype(np.uint8))
    return interactive("attention", title, data, to_pil(tiles(shown, t, [f"{s} %" for s in _start_shares(data)])))


def _start_shares(data: dict) -> list[int]:
    """Shares of the heads of the layer and query to begin with, in the order of the pictures."""
    count = len(data["heads"])
    first = (data["query"] * data["layers"] + data["layer"]) * count
    return [share for row in data["shares"][first : first + count] for share in row]
