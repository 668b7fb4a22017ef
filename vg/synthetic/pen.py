"""The pen and the beat of the drawn cartoon (``vg.synthetic.cartoon``).

Every place is a complex number: ``3 - 2j`` is 3 to the right and 2 up, so sums move, products turn.
A unit is a hundredth of the picture's shorter side and ``0j`` is the picture's middle. Time ``t`` is
in seconds, and everything swings on one beat. Nothing here holds state: a drawing depends on ``t`` alone.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterator, Sequence
from functools import cache

from PIL import ImageDraw

BEAT = 0.5  # seconds: 120 beats a minute, six frames at 12 a second
INK, WHITE = 10, 250


def hop(t: float) -> float:
    """0 on the beat, 1 between two beats: a bounce."""
    return abs(math.sin(math.pi * t / BEAT))


def swing(t: float, beats: float = 2.0) -> float:
    """From -1 to 1 and back once every ``beats`` beats."""
    return math.sin(math.tau * t / (beats * BEAT))


def turn(angle: float) -> complex:
    """The unit vector at ``angle`` radians; ``r * turn(angle)`` is a place on a circle."""
    return cmath.rect(1.0, angle)


@cache
def _circle(points: int) -> tuple[complex, ...]:
    return tuple(turn(math.tau * k / points) for k in range(points))


class Pen:
    """Draws flat shapes with thin outlines in a coordinate frame of its own.

    Args:
        canvas: Pillow's drawing surface in mode L.
        origin: where the pen's ``0j`` lies on the canvas, in canvas pixels.
        x, y: where its unit steps to the right and down lead, in canvas pixels.
        line: width of an outline in canvas pixels, the same at every scale.
        light: every tone is multiplied by it: 1 by day, less at night.
    """

    def __init__(
        self, canvas: ImageDraw.ImageDraw, origin: complex, x: complex, y: complex, line: float, light: float = 1.0
    ):
        self.canvas, self.origin, self.x, self.y, self.line, self.light = canvas, origin, x, y, line, light
        self.scale = math.sqrt(abs((x.conjugate() * y).imag))

    def at(
        self, place: complex = 0j, scale: float = 1.0, angle: float = 0.0, squash: float = 1.0, flip: bool = False
    ) -> Pen:
        """A pen whose origin is ``place``; ``squash`` above 1 is wider and lower, of the same area."""
        along, down = turn(angle) * scale * squash, turn(angle) * 1j * scale / squash
        x = self.x * along.real + self.y * along.imag
        y = self.x * down.real + self.y * down.imag
        return Pen(self.canvas, self._map(place), -x if flip else x, y, self.line, self.light)

    def lit(self, light: float) -> Pen:
        """The same pen under a light of ``light``."""
        return Pen(self.canvas, self.origin, self.x, self.y, self.line, light)

    def _map(self, place: complex) -> complex:
        return self.origin + self.x * place.real + self.y * place.imag

    def _pixels(self, places: Sequence[complex]) -> list[tuple[int, int]]:
        # Whole canvas pixels: the last bit of a platform's sine then never reaches the picture.
        origin, x, y = self.origin, self.x, self.y
        mapped = [origin + x * p.real + y * p.imag for p in places]
        return [(round(p.real), round(p.imag)) for p in mapped]

    def _tone(self, tone: float) -> int:
        return max(0, min(255, round(tone * self.light)))

    def blob(self, places: Sequence[complex], tone: float, line: float = 1.0) -> None:
        """A filled polygon; its outline is ``line`` times the usual width, none at 0."""
        pixels = self._pixels(places)
        self.canvas.polygon(pixels, fill=self._tone(tone))
        if line:
            self.canvas.line([*pixels, pixels[0], pixels[1]], fill=INK, width=max(1, round(line * self.line)))

    def path(self, places: Sequence[complex], tone: float = INK, line: float = 1.0) -> None:
        """An open line, ``line`` times the width of an outline."""
        width = max(1, round(line * self.line))
        self.canvas.line(self._pixels(places), fill=self._tone(tone), width=width)

    def box(self, corner: complex, opposite: complex, tone: float, line: float = 1.0) -> None:
        """A rectangle between two opposite corners."""
        a, b = corner, opposite
        self.blob([a, complex(b.real, a.imag), b, complex(a.real, b.imag)], tone, line)

    def oval(self, centre: complex, across: float, down: float, tone: float, line: float = 1.0) -> None:
        """An ellipse with half axes ``across`` and ``down``."""
        reach = self.scale * max(across, down)
        place, (width, height) = self._map(centre), self.canvas.im.size
        margin = 2 * (reach + self.line)
        if not (-margin < place.real < width + margin and -margin < place.imag < height + margin):
            return  # out of the picture
        rim = _circle(12 if reach < 12 else 24 if reach < 60 else 48)
        self.blob([centre + complex(across * p.real, down * p.imag) for p in rim], tone, line)

    def hose(self, a: complex, bend: complex, b: complex, width: float, tone: float = INK) -> None:
        """A limb without bones: a quadratic curve from ``a`` by way of ``bend`` to ``b``, ``width`` thick."""
        steps = [k / 8 for k in range(9)]
        spine = [(1 - s) ** 2 * a + 2 * s * (1 - s) * bend + s * s * b for s in steps]
        along = [(1 - s) * (bend - a) + s * (b - bend) for s in steps]
        across = [0.5 * width * 1j * d / (abs(d) or 1.0) for d in along]
        left = [p + q for p, q in zip(spine, across)]
        right = [p - q for p, q in zip(spine, across)]
        # Half circles close both ends: from the left side round the tip to the right side.
        round_b = [b + across[-1] * turn(-math.pi * k / 6) for k in range(1, 6)]
        round_a = [a - across[0] * turn(-math.pi * k / 6) for k in range(1, 6)]
        self.blob([*left, *round_b, *right[::-1], *round_a], tone, 0)

    def band(
        self, centre: complex, inner: float, outer: float, start: float, end: float, tone: float, flat: float = 1.0
    ) -> None:
        """A ring, or the part of it between two angles, ``flat`` times as high as wide."""
        angles = [start + (end - start) * k / 24 for k in range(25)]
        rim = [complex(math.cos(a), flat * math.sin(a)) for a in angles]
        outside, inside = [centre + outer * p for p in rim], [centre + inner * p for p in rim]
        self.blob(outside + inside[::-1], tone, 0)
        for edge in (outside, inside) if end - start > 6 else ([*outside, *inside[::-1], outside[0]],):
            self.path(edge)

    def wheel(self, radius: float, angle: float, spokes: int, rim: float, reach: float, tone: float) -> None:
        """A wheel about the pen's origin whose spokes reach ``reach`` beyond the rim."""
        tips = [(radius + reach) * turn(angle + math.tau * k / spokes) for k in range(spokes)]
        for width, shade in ((rim + 1.6, INK), (rim, tone)):
            for tip in tips:
                self.hose(0j, tip / 2, tip, width, shade)
        self.band(0j, radius - 0.6 * rim, radius + 0.6 * rim, 0, math.tau, tone)
        self.oval(0j, 1.6 * rim, 1.6 * rim, tone)


def along(left: float, right: float, spacing: float, shift: float) -> Iterator[tuple[int, float]]:
    """Numbers and positions of the things ``spacing`` apart, moved left by ``shift``, in view."""
    first = math.floor((left + shift) / spacing) - 1
    for k in range(first, math.ceil((right + shift) / spacing) + 2):
        yield k, k * spacing - shift
