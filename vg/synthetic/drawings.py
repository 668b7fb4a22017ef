"""Small coloured drawings in ten classes, for where there is no CIFAR-10: seeded, endless, drawn in an instant.

Each picture has its own weather, colours, place, size and tilt, so that no two are the same and none is hard to
tell. Lengths are in units of the thing drawn, about from -1 to 1, with y pointing down.
"""

import colorsys
import hashlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image, ImageDraw

SIZE = 32
FINER = 4  # drawn this many times larger each way, then averaged
WIDE = SIZE * FINER

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Brush:
    """Draws in units of the thing: 0 is its middle, ``step`` one unit to its right, in pixels of the large picture."""

    canvas: ImageDraw.ImageDraw
    rng: Random
    middle: complex
    step: complex
    flip: bool

    def shape(self, points: Iterable[complex], colour: Colour) -> None:
        """A filled polygon."""
        turned = (self.middle + self.step * (complex(-p.real, p.imag) if self.flip else p) for p in points)
        self.canvas.polygon([(p.real, p.imag) for p in turned], fill=colour)

    def round(self, middle: complex, wide: float, high: float, colour: Colour, turn: float = 0.0) -> None:
        """A filled ellipse of half axes ``wide`` and ``high``, turned by ``turn`` radians."""
        spin = complex(math.cos(turn), math.sin(turn))
        angles = (2 * math.pi * k / 32 for k in range(32))
        self.shape([middle + spin * complex(wide * math.cos(a), high * math.sin(a)) for a in angles], colour)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        self.shape([complex(left, top), complex(right, top), complex(right, bottom), complex(left, bottom)], colour)

    def half(self, middle: complex, wide: float, high: float, colour: Colour) -> None:
        """The upper half of an ellipse; the lower one if ``high`` is negative."""
        angles = (math.pi * k / 16 for k in range(17))
        self.shape([middle + complex(wide * math.cos(a), -high * math.sin(a)) for a in angles], colour)


def colour(
    rng: Random, hue: float | None = None, rich: float = 0.75, light: float = 0.85, play: float = 0.04
) -> Colour:
    """A colour near a hue (0 red, 1/3 green, 2/3 blue), or of any; ``rich`` and ``light`` vary by a tenth."""
    hue = rng.random() if hue is None else hue + rng.uniform(-play, play)
    rich, light = (min(1.0, max(0.0, v + rng.uniform(-0.1, 0.1))) for v in (rich, light))
    red, green, blue = (round(255 * v) for v in colorsys.hsv_to_rgb(hue % 1, rich, light))
    return red, green, blue


def shade(tone: Colour, share: float) -> Colour:
    """Darker below 1; above it, nearer to white."""
    red, green, blue = (round(v * share if share < 1 else 255 - (255 - v) * (2 - share)) for v in tone)
    return red, green, blue


# Behind the thing


def _wash(image: Image.Image, top: Colour, bottom: Colour, start: float = 0.0, stop: float = 1.0) -> None:
    """Fill from ``start`` to ``stop`` of the height, from one colour to another."""
    box = (0, round(start * WIDE), WIDE, round(stop * WIDE))
    high = box[3] - box[1]
    mask = Image.linear_gradient("L").resize((WIDE, high), Image.Resampling.NEAREST)
    image.paste(Image.composite(Image.new("RGB", mask.size, bottom), Image.new("RGB", mask.size, top), mask), box)


def _sky(image: Image.Image, rng: Random) -> None:
    """Morning, noon, evening or a grey day; clouds now and then."""
    kind = rng.choice(("noon", "noon", "dawn", "dusk", "grey"))
    hue, low = {"noon": (0.57, 0.55), "dawn": (0.6, 0.09), "dusk": (0.74, 0.02), "grey": (0.6, 0.6)}[kind]
    rich = {"noon": 0.55, "dawn": 0.3, "dusk": 0.45, "grey": 0.08}[kind]
    _wash(image, colour(rng, hue, rich, 0.85), colour(rng, low, 0.7 * rich, 0.95))
    canvas = ImageDraw.Draw(image)
    for _ in range(rng.choice((0, 0, 1, 2))):
        x, y, r = rng.uniform(0, WIDE), rng.uniform(0, 0.45 * WIDE), rng.uniform(5, 10)
        for k in (-1.3, 0.0, 1.3):
            h = r * (1.0 if k else 1.4)
            canvas.ellipse((x + k * r - 1.3 * r, y - h, x + k * r + 1.3 * r, y + r), fill=(250, 250, 250))


def _meadow(image: Image.Image, rng: Random) -> None:
    _sky(image, rng)
    line = rng.uniform(0.55, 0.75) * WIDE
    ground = colour(rng, rng.choice((0.3, 0.27, 0.2, 0.12)), 0.5, 0.65)
    bend, width = rng.uniform(-0.12, 0.12) * WIDE, rng.uniform(0.5, 1.2)
    crest = [(x, line + bend * math.sin(math.pi * width * x / WIDE)) for x in range(0, WIDE + 8, 8)]
    ImageDraw.Draw(image).polygon([*crest, (WIDE, WIDE), (0, WIDE)], fill=ground)


def _street(image: Image.Image, rng: Random) -> None:
    _meadow(image, rng)
    _wash(image, colour(rng, 0.6, 0.05, 0.45), colour(rng, 0.6, 0.05, 0.55), rng.uniform(0.66, 0.74))


def _sea(image: Image.Image, rng: Random) -> None:
    _sky(image, rng)
    sea = colour(rng, 0.57, 0.65, 0.7, play=0.06)
    _wash(image, shade(sea, 1.2), shade(sea, 0.75), rng.uniform(0.58, 0.66))


def _water(image: Image.Image, rng: Random) -> None:
    sea = colour(rng, 0.55, 0.65, 0.75, play=0.08)
    _wash(image, shade(sea, 1.2), shade(sea, 0.55))
    canvas = ImageDraw.Draw(image)
    if rng.random() < 0.5:
        _wash(image, colour(rng, 0.12, 0.4, 0.8), colour(rng, 0.1, 0.5, 0.6), rng.uniform(0.82, 0.92))
    for _ in range(rng.randint(2, 6)):
        x, y, r = rng.uniform(0, WIDE), rng.uniform(0, WIDE), rng.uniform(2, 5)
        canvas.ellipse((x - r, y - r, x + r, y + r), fill=shade(sea, 1.6))
    for _ in range(rng.randint(0, 3)):
        x, h, green = rng.uniform(0, WIDE), rng.uniform(0.2, 0.5) * WIDE, colour(rng, 0.36, 0.6, 0.5)
        weed = [(x + 5 * math.sin(k / 1.5), WIDE - h * k / 8) for k in range(9)]
        canvas.line(weed, fill=green, width=6)


def _night(image: Image.Image, rng: Random) -> None:
    _wash(image, colour(rng, 0.68, 0.7, 0.2, play=0.1), colour(rng, 0.68, 0.6, 0.45, play=0.12))
    canvas = ImageDraw.Draw(image)
    for _ in range(rng.randint(4, 12)):
        x, y, r = rng.uniform(0, WIDE), rng.uniform(0, WIDE), rng.uniform(1.5, 3)
        canvas.ellipse((x - r, y - r, x + r, y + r), fill=(235, 235, 210))


# The things


def _balloon(b: Brush) -> None:
    one, basket = colour(b.rng), colour(b.rng, 0.08, 0.6, 0.45)
    two = b.rng.choice((colour(b.rng), shade(one, 1.6), (245, 245, 240)))
    b.shape([-0.45 + 0.2j, -0.2 + 0.8j, -0.13 + 0.8j, -0.3 + 0.2j], shade(basket, 0.8))
    b.shape([0.45 + 0.2j, 0.2 + 0.8j, 0.13 + 0.8j, 0.3 + 0.2j], shade(basket, 0.8))
    b.shape([-0.66 - 0.15j, 0.66 - 0.15j, 0.22 + 0.52j, -0.22 + 0.52j], one)
    b.round(-0.35j, 0.72, 0.68, one)
    b.round(-0.35j, 0.36, 0.68, two)
    b.shape([-0.35 - 0.2j, 0.35 - 0.2j, 0.13 + 0.52j, -0.13 + 0.52j], two)
    b.round(-0.35j, 0.13, 0.68, one)
    b.box(-0.22, 0.78, 0.22, 1.08, basket)


def _boat(b: Brush) -> None:
    hull, sail = colour(b.rng, light=0.65), b.rng.choice(((250, 250, 245), colour(b.rng, rich=0.45, light=0.95)))
    b.box(-0.06, -0.95, 0.05, 0.4, colour(b.rng, 0.08, 0.5, 0.4))
    b.shape([0.1 - 0.9j, 0.1 + 0.25j, 0.85 + 0.25j], sail)
    if b.rng.random() < 0.7:
        b.shape([-0.1 - 0.75j, -0.1 + 0.25j, -0.65 + 0.25j], shade(sail, 0.85))
    b.shape([-1.0 + 0.38j, 1.0 + 0.38j, 0.68 + 0.85j, -0.7 + 0.85j], hull)
    b.box(-0.98, 0.38, 0.98, 0.48, shade(hull, 1.5))


def _car(b: Brush) -> None:
    paint, glass = colour(b.rng), colour(b.rng, 0.55, 0.2, 0.9)
    roof = b.rng.uniform(-0.62, -0.45)
    b.shape([-0.6 + 0.02j, complex(-0.42, roof), complex(0.3, roof), 0.62 + 0.02j], paint)
    b.shape([-0.46 + 0.0j, complex(-0.34, roof + 0.12), complex(-0.1, roof + 0.12), -0.1 + 0.0j], glass)
    b.shape([0.02 + 0.0j, complex(0.02, roof + 0.12), complex(0.24, roof + 0.12), 0.44 + 0.0j], glass)
    b.shape([-1.0 + 0.42j, -0.98 + 0.05j, -0.85 - 0.04j, 0.85 + 0.0j, 1.0 + 0.14j, 1.0 + 0.42j], paint)
    b.box(-1.0, 0.3, 1.0, 0.42, shade(paint, 0.7))
    b.round(0.92 + 0.16j, 0.08, 0.08, (255, 240, 170))
    for x in (-0.55, 0.55):
        b.round(complex(x, 0.42), 0.25, 0.25, (35, 35, 40))
        b.round(complex(x, 0.42), 0.11, 0.11, (190, 190, 195))


def _fish(b: Brush) -> None:
    body = colour(b.rng, b.rng.choice((0.06, 0.0, 0.13, 0.83, 0.95)), 0.85, 0.95)
    fin, high = shade(body, 0.75), b.rng.uniform(0.4, 0.62)
    b.shape([-0.5 + 0j, -1.05 - 0.5j, -0.9 + 0j, -1.05 + 0.5j], fin)
    b.shape([-0.3 - high * 0.7j, 0.05 - (high + 0.3) * 1j, 0.35 - high * 0.7j], fin)
    b.round(0.1 + 0j, 0.75, high, body)
    stripe = b.rng.choice((None, (250, 250, 250), shade(body, 1.5), shade(body, 0.5)))
    if stripe:
        for x in (0.25, -0.15):
            b.round(complex(x, 0), 0.09, high * 0.93, stripe)
    b.shape([0.05 + 0.05j, -0.25 + 0.32j, 0.1 + 0.3j], fin)
    b.round(0.55 - 0.12j, 0.14, 0.14, (250, 250, 250))
    b.round(0.59 - 0.12j, 0.07, 0.07, (20, 20, 25))


def _flower(b: Brush) -> None:
    petal, green = (
        colour(b.rng, b.rng.choice((0.0, 0.9, 0.8, 0.72, 0.13, 0.05)), 0.65, 0.95),
        colour(b.rng, 0.33, 0.7, 0.5),
    )
    b.shape([-0.05 - 0.3j, 0.05 - 0.3j, 0.08 + 1.1j, -0.04 + 1.1j], green)
    b.round(0.27 + 0.6j, 0.28, 0.11, green, -0.5)
    b.round(-0.25 + 0.75j, 0.28, 0.11, shade(green, 0.85), 0.5)
    many, first = b.rng.choice((5, 6, 8)), b.rng.uniform(0, 2)
    for k in range(many):
        angle = first + 2 * math.pi * k / many
        away = complex(math.cos(angle), math.sin(angle))
        b.round(-0.35j + 0.38 * away, 0.32, 1.1 / many + 0.03, shade(petal, 0.9 + 0.15 * (k % 2)), angle)
    b.round(-0.35j, 0.21, 0.21, colour(b.rng, 0.13, 0.85, 0.9) if petal[2] > 90 else colour(b.rng, 0.07, 0.7, 0.45))


def _house(b: Brush) -> None:
    wall, roof = (
        colour(b.rng, rich=0.3, light=0.9),
        colour(b.rng, b.rng.choice((0.02, 0.05, 0.6, 0.33, 0.9)), 0.65, 0.6),
    )
    peak, light = b.rng.uniform(-0.95, -0.7), b.rng.choice(((255, 225, 120), (150, 200, 230), (70, 80, 110)))
    if b.rng.random() < 0.6:
        b.box(0.35, -0.85, 0.58, -0.2, shade(roof, 0.6))
    b.box(-0.75, -0.2, 0.75, 0.85, wall)
    b.shape([-0.98 - 0.12j, complex(0, peak), 0.98 - 0.12j], roof)
    door = b.rng.choice((-0.4, 0.0, 0.4))
    b.box(door - 0.17, 0.25, door + 0.17, 0.85, colour(b.rng, light=0.5))
    for x in (-0.45, 0.45) if door == 0 else (-door, -door / 4):
        b.box(x - 0.15, 0.05, x + 0.15, 0.37, (250, 250, 250))
        b.box(x - 0.11, 0.09, x + 0.11, 0.33, light)


def _mushroom(b: Brush) -> None:
    cap, stem = colour(b.rng, b.rng.choice((0.0, 0.0, 0.05, 0.09, 0.78)), 0.8, 0.8), colour(b.rng, 0.1, 0.15, 0.95)
    wide = b.rng.uniform(0.18, 0.34)
    b.shape([complex(-wide, -0.1), complex(wide, -0.1), complex(1.2 * wide, 0.85), complex(-1.2 * wide, 0.85)], stem)
    b.round(0.85j, 1.2 * wide, 0.12, stem)
    b.half(0j, 0.9, b.rng.uniform(0.75, 1.0), cap)
    b.half(-0.01j, 0.9, -0.16, shade(cap, 0.7))
    for x, y, r in ((-0.5, -0.22, 0.13), (0.05, -0.5, 0.17), (0.5, -0.2, 0.14), (-0.1, -0.14, 0.09)):
        b.round(complex(x + b.rng.uniform(-0.06, 0.06), y), r, r, (250, 245, 235))


def _star(b: Brush) -> None:
    tone, inner = colour(b.rng, b.rng.choice((0.13, 0.13, 0.1, 0.5, 0.9)), 0.65, 0.97), b.rng.uniform(0.38, 0.5)
    many = b.rng.choice((5, 5, 5, 6))
    for size, paint in ((1.0, shade(tone, 0.8)), (0.8, tone), (0.4, shade(tone, 1.5))):
        angles = (math.pi * k / many - math.pi / 2 for k in range(2 * many))
        spikes = [complex(math.cos(a), math.sin(a)) * (inner if k % 2 else 1) for k, a in enumerate(angles)]
        b.shape([size * point for point in spikes], paint)


def _sun(b: Brush) -> None:
    tone, many = colour(b.rng, b.rng.choice((0.14, 0.12, 0.08, 0.04)), 0.75, 1.0, 0.02), b.rng.choice((8, 10, 12))
    for k in range(many):
        angle = 2 * math.pi * k / many
        away = complex(math.cos(angle), math.sin(angle))
        b.shape([0.62 * away + 0.12j * away, 1.08 * away, 0.62 * away - 0.12j * away], shade(tone, 0.92))
    b.round(0j, 0.58, 0.58, tone)
    b.round(-0.08 - 0.08j, 0.42, 0.42, shade(tone, 1.3))


def _tree(b: Brush) -> None:
    leaf = colour(b.rng, b.rng.choice((0.33, 0.3, 0.38, 0.22, 0.08, 0.03)), 0.65, 0.55)
    bark = colour(b.rng, 0.07, 0.55, 0.38)
    b.shape([-0.13 + 0j, 0.13 + 0j, 0.18 + 1.0j, -0.18 + 1.0j], bark)
    if b.rng.random() < 0.45:  # a fir
        for k in range(3):
            top, wide = -1.05 + 0.42 * k, 0.42 + 0.17 * k
            b.shape(
                [complex(0, top), complex(wide, top + 0.75), complex(-wide, top + 0.75)], shade(leaf, 1.1 - 0.12 * k)
            )
        return
    for x, y, r in ((-0.4, -0.05, 0.42), (0.4, -0.1, 0.42), (0.0, -0.5, 0.52), (0.0, -0.1, 0.45)):
        b.round(complex(x, y), r, r, leaf)
    b.round(-0.12 - 0.58j, 0.3, 0.28, shade(leaf, 1.15))
    if b.rng.random() < 0.4:
        for _ in range(5):
            b.round(complex(b.rng.uniform(-0.5, 0.5), b.rng.uniform(-0.6, 0.1)), 0.08, 0.08, (225, 50, 45))


@dataclass(frozen=True)
class Thing:
    """How a class is drawn: before what, by whom, how far it tilts (radians), how high it stands (shares)."""

    behind: Callable[[Image.Image, Random], None]
    paint: Callable[[Brush], None]
    tilt: float
    height: tuple[float, float]


THINGS = {
    "balloon": Thing(_sky, _balloon, 0.15, (0.38, 0.55)),
    "boat": Thing(_sea, _boat, 0.12, (0.48, 0.6)),
    "car": Thing(_street, _car, 0.04, (0.6, 0.7)),
    "fish": Thing(_water, _fish, 0.35, (0.4, 0.6)),
    "flower": Thing(_meadow, _flower, 0.2, (0.45, 0.55)),
    "house": Thing(_meadow, _house, 0.03, (0.5, 0.6)),
    "mushroom": Thing(_meadow, _mushroom, 0.2, (0.5, 0.6)),
    "star": Thing(_night, _star, 0.6, (0.38, 0.6)),
    "sun": Thing(_sky, _sun, 0.4, (0.35, 0.55)),
    "tree": Thing(_meadow, _tree, 0.06, (0.45, 0.55)),
}
CLASSES = tuple(THINGS)


def draw(label: int, key: str) -> np.ndarray:
    """A drawing of the class ``CLASSES[label]``: uint8 (3, 32, 32), RGB. The same key gives the same one."""
    thing, rng = THINGS[CLASSES[label]], Random(f"drawing/{key}")
    image = Image.new("RGB", (WIDE, WIDE))
    thing.behind(image, rng)
    unit, tilt = rng.uniform(0.29, 0.4) * WIDE, rng.uniform(-thing.tilt, thing.tilt)
    middle = complex(rng.uniform(0.42, 0.58), rng.uniform(*thing.height)) * WIDE
    step = unit * complex(math.cos(tilt), math.sin(tilt))
    thing.paint(Brush(ImageDraw.Draw(image), rng, middle, step, rng.random() < 0.5))
    return np.ascontiguousarray(np.asarray(image.reduce(FINER)).transpose(2, 0, 1))


def code_sha256() -> str:
    """Hex digest of the code that draws."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
