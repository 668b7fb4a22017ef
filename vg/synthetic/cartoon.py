"""The offline default film: a black-and-white rubber-hose cartoon, drawn here, in the manner of 1928.

A frog of a sailor steams down a river: eight scenes, hard cuts, a pan, now and then an iris or a fade.
Every shot takes its scale, side, speed, places, greys and phase from the seed, so that no two shots are the
same and a scene keeps its look. It needs no network, never ends, and costs a few milliseconds a frame.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from vg.synthetic.pen import INK, Pen, swing
from vg.synthetic.scenes import SCENES

FINER = 4  # drawn this many times larger each way, then averaged
SHOT_FRAMES = (20, 70)  # at 12 frames a second
SMALLEST = 8  # pixels


@dataclass(frozen=True)
class Cartoon:
    """A drawn film.

    Attributes:
        frames: uint8 ``(T, 1, H, W)``, 0 black to 255 white.
        shots: ``(start, stop)`` of every shot in frames; together they tile ``[0, T)``.
        scenes: the scene's name for every shot.
        fps: frames a second.
    """

    frames: Tensor
    shots: list[tuple[int, int]]
    scenes: list[str]
    fps: float


@dataclass(frozen=True)
class PlannedShot:
    """One planned shot: which scene, when, and how the camera and the lab treat it."""

    index: int
    scene: str
    start: int
    stop: int
    ending: str  # 'cut', 'iris' (a circle closes) or 'fade' (to black)


def storyboard(fps: float = 12, seed: int = 0) -> Iterator[PlannedShot]:
    """Plan the film, shot by shot, without end.

    Scenes come in shuffled rounds of all of them, never one twice in a row; the first is the river.
    Only a shot's end may close or fade: the next one always begins at full light, so every cut is a jump.

    Args:
        fps: frames a second.
        seed: of the plan.
    """
    rng = Random(f"cartoon/{seed}")
    index, start, last = 0, 0, ""
    while True:
        names = list(SCENES)
        rng.shuffle(names)
        first = "river" if index == 0 else next(name for name in names if name != last)
        names.remove(first)
        for name in (first, *names):
            length = max(2, round(rng.randint(*SHOT_FRAMES) * fps / 12))
            ending = rng.choices(("cut", "iris", "fade"), (10, 2, 1))[0]
            yield PlannedShot(index, name, start, start + length, ending)
            index, start, last = index + 1, start + length, name


def paint_shot(shot: PlannedShot, frames: int, size: tuple[int, int], fps: float, seed: int) -> Iterator[Image.Image]:
    """Draw the first ``frames`` frames of a shot, as Pillow images of mode L and ``(W, H)`` pixels."""
    rng = Random(f"cartoon/{seed}/{shot.index}")
    zoom, flip, light = rng.uniform(0.92, 1.1), rng.random() < 0.35, rng.uniform(0.94, 1.02)
    height, width = (FINER * side for side in size)
    middle, unit = complex(width, height) / 2, min(height, width) / 100 * zoom
    line = max(FINER, 0.011 * min(height, width))
    seconds = (shot.stop - shot.start) / fps
    paint = SCENES[shot.scene](rng, middle / unit, seconds)
    image = Image.new("L", (width, height))
    canvas = ImageDraw.Draw(image)
    x = complex(-unit if flip else unit, 0)
    for k in range(frames):
        t = k / fps
        paint(Pen(canvas, middle, x, complex(0, unit), line, light), t)
        yield _end(image, shot.ending, seconds - t, unit).reduce(FINER)


def _end(image: Image.Image, ending: str, left: float, unit: float) -> Image.Image:
    """``image`` as it is ``left`` seconds before the end of its shot."""
    if ending == "cut" or left > 1.0:
        return image
    if ending == "fade":
        share = 0.2 + 0.8 * left  # never quite black: something of the picture is left to the last
        return image.point([round(share * tone + (1 - share) * INK) for tone in range(256)])
    hole = (8 + 75 * left**1.5 * (1 + 0.03 * swing(left, 1))) * unit
    middle = complex(*image.size) / 2
    mask = Image.new("L", image.size, 0)
    corners = [round(v) for v in (middle.real - hole, middle.imag - hole, middle.real + hole, middle.imag + hole)]
    ImageDraw.Draw(mask).ellipse(corners, fill=255)
    return Image.composite(image, Image.new("L", image.size, INK), mask)


def draw_cartoon(frames: int = 480, size: tuple[int, int] = (64, 64), fps: float = 12, seed: int = 0) -> Cartoon:
    """Draw the first ``frames`` frames of the film that ``seed`` names.

    The same arguments give the same film; a longer one starts with the shorter one's frames; another size
    or frame rate shows the same film finer or coarser. Pictures may differ by a grey level here and there
    between releases of Pillow.

    Args:
        frames: how many, at least 1.
        size: height and width in pixels, each at least 8.
        fps: frames a second, above 0; shots last 20 to 70 frames at 12, as many seconds at any other rate.
        seed: any integer.

    Returns:
        the film, its shots and the names of their scenes.

    Raises:
        ValueError: if ``frames``, ``size``, ``fps`` or ``seed`` is none of these.
    """
    _check(frames, size, fps, seed)
    film = np.empty((frames, 1, *size), dtype=np.uint8)
    shots, scenes = [], []
    for shot in storyboard(fps, seed):
        stop = min(shot.stop, frames)
        for k, picture in enumerate(paint_shot(shot, stop - shot.start, size, fps, seed)):
            film[shot.start + k, 0] = np.asarray(picture)
        shots.append((shot.start, stop))
        scenes.append(shot.scene)
        if stop == frames:
            break
    return Cartoon(torch.from_numpy(film), shots, scenes, fps)


def code_sha256() -> str:
    """Hex digest of the code that draws the cartoon: every module beside this one, but those of the drawings."""
    modules = sorted(file for file in Path(__file__).parent.glob("*.py") if file.name != "drawings.py")
    return hashlib.sha256(b"".join(file.read_bytes() for file in modules)).hexdigest()


def _check(frames: int, size: tuple[int, int], fps: float, seed: int) -> None:
    def whole(value: object) -> bool:
        return isinstance(value, int | np.integer) and not isinstance(value, bool)

    if not whole(frames) or frames < 1:
        raise ValueError(f"draw_cartoon: frames is {frames!r}; give a whole number of at least 1.")
    if not isinstance(size, tuple | list) or len(size) != 2 or not all(whole(s) and s >= SMALLEST for s in size):
        raise ValueError(f"draw_cartoon: size is {size!r}; give (height, width), whole numbers of at least {SMALLEST}.")
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not 0 < fps < float("inf"):
        raise ValueError(f"draw_cartoon: fps is {fps!r}; give a number of frames a second above 0.")
    if not whole(seed):
        raise ValueError(f"draw_cartoon: seed is {seed!r}; give a whole number.")
