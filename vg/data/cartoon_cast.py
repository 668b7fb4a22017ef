"""The pen, the props and the cast of the drawn cartoon (``vg.data.cartoon``).

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

    def __init__(self, canvas: ImageDraw.ImageDraw, origin: complex, x: complex, y: complex, line: float, light=1.0):
        self.canvas, self.origin, self.x, self.y, self.line, self.light = canvas, origin, x, y, line, light
        self.scale = math.sqrt(abs((x.conjugate() * y).imag))

    def at(self, place: complex = 0j, scale=1.0, angle=0.0, squash=1.0, flip=False) -> Pen:
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
        self, centre: complex, inner: float, outer: float, start: float, end: float, tone: float, flat=1.0
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


def hills(pen: Pen, view: complex, base: float, height: float, width: float, shift: float, tone: float) -> None:
    """A ridge of round hills around ``base``, ``width`` units from top to top, scrolled by ``shift``."""
    xs = [view.real * (k / 16 - 1) for k in range(33)]
    waves = [(x + shift) * math.tau / width for x in xs]
    ridge = [complex(x, base - height * (0.6 * math.sin(w) + 0.4 * math.sin(0.5 * w + 1))) for x, w in zip(xs, waves)]
    edge = view.real + 4
    pen.blob(
        [complex(-edge, view.imag + 4), ridge[0] - 4, *ridge, ridge[-1] + 4, complex(edge, view.imag + 4)],
        tone,
    )


def water(pen: Pen, view: complex, top: float, shift: float, t: float, tone: float) -> None:
    """Water from ``top`` down: a scalloped edge, and dashes that drift faster the nearer they are."""
    edge, bottom = view.real + 4, view.imag + 4
    rise = 0.4 * hop(t)
    scallops = [
        complex(x + d, top - (rise + 0.8) * h) for _, x in along(-edge, edge, 9, shift) for d, h in ((0, 0), (4.5, 1))
    ]
    pen.blob([complex(-edge - 12, bottom), *scallops, complex(edge + 12, bottom)], tone)
    row, y = 0, top + 6.0
    while y < bottom:
        depth = 1 + 0.06 * (y - top)
        for k, x in along(-edge, edge, 21 * depth, shift * depth + 9 * row):
            x += (k * 7 % 5) + 1.2 * swing(t + 0.3 * row, 4)
            crest = [
                complex(x + depth * d, y - 0.5 * depth * math.sin(1.3 * d)) for d in (-4, -3, -2, -1, 0, 1, 2, 3, 4)
            ]
            pen.path(crest, WHITE if (k + row) % 2 else tone - 70)
        row, y = row + 1, y + 5 * depth


def foam(pen: Pen, left: float, right: float, y: float, t: float, shift: float, tone: float = WHITE) -> None:
    """Froth along the waterline, highest at its right end, whose bubbles wander left by ``shift``."""
    top = []
    steps = math.ceil((right - left) / 1.5)
    for k in range(steps + 1):
        s = k / steps
        bubble = abs(math.sin((left + s * (right - left) + shift) * math.pi / 7.5))
        height = (1.0 + 3.0 * s**3) * (1 + 0.25 * hop(t)) * min(1.0, 8 * s, 10 * (1 - s))
        top.append(complex(left + s * (right - left), y - height * (0.3 + bubble)))
    pen.blob(
        [*top, complex(right - 4, y + 1.2), complex((left + right) / 2, y + 2), complex(left + 4, y + 1.2)],
        tone,
    )


def cloud(pen: Pen, place: complex, size: float, tone: float = WHITE) -> None:
    """Three puffs with a flat foot."""
    cloud = pen.at(place, size)
    for x, y, r in ((-8, -1, 5), (8, -1, 5.5), (0, -4, 7.5)):
        cloud.oval(complex(x, y), r, r, tone)
    cloud.oval(-1j, 10, 4, tone, 0)


def bird(pen: Pen, place: complex, size: float, beat: float) -> None:
    """A bird far away, its wings at ``beat`` from -1 (down) to 1 (up)."""
    bird = pen.at(place + 1.5j * beat * size, size)
    for side in (-1, 1):
        bird.hose(0j, side * 3.5 - (2 + 4 * beat) * 1j, side * 8 - 4j * beat, 1.7)
    bird.oval(0.4j, 2, 1.5, INK, 0)


def tree(pen: Pen, place: complex, size: float, sway: float, tone: float) -> None:
    """A tree that dances: its crown sways about its foot."""
    crown = complex(5 * sway, -17)
    tree = pen.at(place, size)
    tree.hose(0j, -9j, crown, 3)
    for x, y, r in ((-4, 2, 5.5), (4.5, 1, 5.5), (0, -4, 6.5)):
        tree.oval(crown + complex(x, y), r, r, tone)
    tree.oval(crown - 0.5j, 5, 4, tone, 0)


def house(pen: Pen, place: complex, size: float, breath: float, tone: float) -> None:
    """A cottage that breathes: ``breath`` from 0 to 1 lifts its roof."""
    house = pen.at(place, size, squash=1.04 - 0.08 * breath)
    house.box(5 - 26j, 9 - 18j, 110)
    house.box(-10 + 0j, 10 - 14j, tone)
    house.blob([-13 - 13j, -23j - 2, -23j + 2, 13 - 13j], 80)
    house.box(-2.5 + 0j, 2.5 - 8j, INK, 0)
    for x in (-6.5, 6.5):
        house.box(complex(x - 1.8, -10), complex(x + 1.8, -6), INK, 0)


def smoke(pen: Pen, t: float, mouth: complex, wind: float, rise: float, late: float, tone: float, size=1.0) -> None:
    """Puffs from ``mouth``, one every two beats, every third one a ring; they grow, drift and thin out."""
    every, life = 2 * BEAT, 3.2
    for k in range(math.floor((t - life - late) / every) + 1, math.floor((t - late) / every) + 1):
        age = t - late - k * every
        place = mouth + complex(-wind * age - (k % 2), -rise * age**0.8 + 1.5 * math.sin(3 * age + k))
        radius = size * (2.2 + 2.6 * math.sqrt(age)) * min(1.0, 4 * (life - age))
        if radius < 0.3:
            continue
        shade = tone + (215 - tone) * min(1.0, age / life)
        if k % 3 == 0:
            pen.band(place, 0.6 * radius, 1.15 * radius, 0, math.tau, shade, 0.7)
            continue
        for d, r in ((-0.55 + 0.15j, 0.7), (0.55 + 0.2j, 0.65), (-0.3j, 0.8)):
            pen.oval(place + radius * d, radius * r, radius * r, shade)
        pen.oval(place, 0.7 * radius, 0.5 * radius, shade, 0)


def notes(pen: Pen, t: float, mouth: complex, drift: complex, size: float) -> None:
    """Music from ``mouth``: a note every two beats, which bobs away along ``drift`` units a second."""
    every, life = 2 * BEAT, 2.0
    for k in range(math.floor((t - life) / every) + 1, math.floor(t / every) + 1):
        age = t - k * every
        grown = size * min(1.0, 3 * age, 4 * (life - age))
        note = pen.at(mouth + drift * age + 3j * size * swing(age + 0.2 * k), max(grown, 0.05), 0.25 * swing(age))
        note.oval(0j, 2.1, 1.6, INK, 0)
        note.hose(1.7 + 0j, 1.7 - 4j, 1.7 - 8j, 0.9)
        note.hose(1.7 - 8j, 4 - 7j, 4.5 - 4.5j, 1.1)
        if k % 2:
            note.oval(6.3 + 0.8j, 2.1, 1.6, INK, 0)
            note.hose(8 + 0.8j, 8 - 3j, 8 - 7.2j, 0.9)
            note.hose(1.7 - 8j, 5 - 7.6j, 8 - 7.2j, 1.5)


def eye(pen: Pen, place: complex, look: complex, size: float, open_: float) -> None:
    """A pie-cut eye; ``look`` is at most 1 long, ``open_`` from 0 (shut) to 1."""
    if open_ < 0.3:
        pen.path([place - size, place + 0.3j * size, place + size])
        return
    pen.oval(place, size, 1.2 * size * open_, WHITE)
    pupil = place + 0.4 * size * look
    pen.oval(pupil, 0.5 * size, 0.75 * size * open_, INK, 0)
    pen.blob([pupil, pupil + size * (0.55 - 0.5j), pupil + size * (0.62 + 0.05j)], WHITE, 0)


def frog_head(pen: Pen, t: float, look: complex, whistle: float, tone: float) -> None:
    """The sailor's head about the pen's origin; ``whistle`` from 0 (a grin) to 1 (pursed lips)."""
    open_ = 0.0 if (t / BEAT) % 7 < 0.35 else 1.0
    pen.oval(0j, 13.5 + 0.8 * whistle, 9.5, tone)
    cap = pen.at(-9j - 2j * hop(t), angle=0.12 * swing(t))
    cap.blob([-4.5 + 1j, -6.8 - 4j, -6 - 7j, -2.5 - 8.4j, 2.5 - 8.4j, 6 - 7j, 6.8 - 4j, 4.5 + 1j], WHITE)
    cap.blob([-4.8 - 1.5j, 4.8 - 1.5j, 4.6 + 1.5j, -4.6 + 1.5j], INK, 0)
    for side in (-1, 1):
        pen.oval(side * 7.2 - 8.2j, 5.6, 5.8, tone)
        eye(pen, side * 7.2 - 8.4j + 0.6 * look, look, 3.9, open_)
    pen.oval(-1.5j, 10, 5, tone, 0)
    lips = complex(5.5 * look.real, 3.2)
    if whistle > 0.35:
        for side in (-1, 1):
            pen.oval(side * 10 + 2.5j, 2.6 + whistle, 2.4 + whistle, tone + 35)
        pen.oval(lips, 2.2 + 1.2 * whistle, 1.8 + 1.6 * whistle, WHITE)
        pen.oval(lips, 1 + 0.7 * whistle, 0.8 + whistle, INK, 0)
    else:
        grin = [complex(10 * s, 1 + 5 * (1 - s * s)) + 0.8 * look for s in (-1, -0.7, -0.4, 0, 0.4, 0.7, 1)]
        pen.blob([*grin, complex(0, 2.6) + 0.8 * look], INK)
        pen.oval(5.2j + 0.8 * look, 3.2, 1, WHITE, 0)
    for side in (-1, 1):
        pen.oval(complex(1.6 * side + 1.5 * look.real, -1.6), 0.5, 0.4, INK, 0)


def frog(
    pen: Pen,
    t: float,
    hands: Sequence[complex],
    feet: Sequence[complex],
    look: complex,
    whistle: float,
    tone: float,
) -> None:
    """Our sailor, a frog of about 60 units, hips at the pen's origin.

    Args:
        pen: its frame; the head leans with the beat by itself.
        t: seconds.
        hands, feet: left then right, where they are; the limbs bend to reach them.
        look: where he looks, at most 1 long.
        whistle: 0 to 1.
        tone: of his skin.
    """
    lean = 2.5 * swing(t)
    neck = complex(lean, -15)
    for side, foot in zip((-1, 1), feet):
        hip = side * 3.5 + 1j
        pen.hose(hip, (hip + foot) / 2 + side * (3 + 0.25 * max(0.0, 17 - abs(foot - hip))), foot, 2.4)
        pen.oval(foot + side * 2 + 0.8j, 5, 2.8, tone - 60)
    pen.blob([-4.5 + neck, -8 - 6j, -8 + 1j, -5 + 4.5j, 5 + 4.5j, 8 + 1j, 8 - 6j, 4.5 + neck], WHITE)
    for y in (-11.5, -8, -4.5):
        pen.path(
            [
                complex(-6.5 + lean * y / -15, y),
                complex(lean * y / -15, y + 1),
                complex(6.5 + lean * y / -15, y),
            ],
            INK,
            1.1,
        )
    pen.blob([-8 - 1.5j, 8 - 1.5j, 8 + 1.5j, 5.5 + 5j, 1 + 3j, -1 + 3j, -5.5 + 5j, -8 + 1.5j], INK, 0)
    for side in (-1, 1):
        pen.oval(side * 3 + 0.5j, 1.1, 1.2, WHITE, 0)
    frog_head(pen.at(neck + lean - 8j, angle=0.1 * swing(t)), t, look, whistle, tone)
    for side, hand in zip((-1, 1), hands):
        shoulder = neck + side * 4.5 + 1.5j
        reach = hand - shoulder
        slack = max(3.0, 18 - abs(reach)) * 0.7
        pen.hose(shoulder, shoulder + reach / 2 + side * slack * 0.7 + slack * 0.9j, hand, 2.2)
        pen.oval(hand, 3.3, 3.1, WHITE)
        pen.path([hand - 0.8, hand + 1.8j - 0.8], INK, 0.8)


def duck(pen: Pen, t: float, step: float, tone: float = WHITE) -> None:
    """A duck walking right, feet at the pen's origin; it strides ``step`` units."""
    stride = swing(t)
    up = 2 * hop(t)
    for side in (-1, 1):
        foot = complex(side * step * stride, -2.5 * max(0.0, side * swing(t + BEAT / 2)))
        pen.hose(complex(side * 1.5, -8 - up), complex(side * 1.5 + 2, -4), foot, 1.3)
        pen.hose(foot, foot + 1.5, foot + 3.5, 1.8)
    body = pen.at(complex(0, -12 - up), angle=0.12 * stride)
    body.blob([-13 - 5j, -8 + 3j, -2 + 5.5j, 5 + 4.5j, 8 - 1j, 5 - 5j, -4 - 4j], tone)
    body.hose(6 - 2j, 10 - 6j, 7.5 - 11j, 4.6)
    body.hose(5.8 - 1.5j, 9.8 - 6j, 7.3 - 11j, 3.2, tone)
    head = body.at(8 - 14j, angle=-0.2 * stride)
    gape = 1.5 * hop(t + BEAT / 4)
    head.blob([3 - 1j, 10 - 1.5j - gape * 1j, 4 + 1.5j], 120)
    head.blob([3 + 1j, 9 + 1.5j + gape * 1j, 3 + 2.5j], 120)
    head.oval(0j, 4.6, 4.4, tone)
    head.oval(1.6 - 1.2j, 1, 1.5, INK, 0)
    body.blob([-5 - 2j, 3 - 2j, 1 + 2j, -7 + (1 + 3 * stride) * 1j], tone - 35)


def funnel(pen: Pen, stretch: float, width: float, height: float) -> None:
    """A chimney standing on the pen's origin that stretches, about 1, and swells as it shrinks."""
    w, h = width / 2 / stretch, height * stretch
    pen.blob([-w, complex(-0.85 * w, -h), complex(0.85 * w, -h), w + 0j], 45)
    pen.blob(
        [
            complex(-0.95 * w, -0.7 * h),
            complex(0.95 * w, -0.7 * h),
            complex(0.9 * w, -0.86 * h),
            complex(-0.9 * w, -0.86 * h),
        ],
        225,
    )
    pen.blob(
        [
            complex(-w, -h + 0.1 * height),
            complex(-1.6 * w, -h - 0.08 * height),
            complex(1.6 * w, -h - 0.08 * height),
            complex(w, -h + 0.1 * height),
        ],
        70,
    )


def paddle_wheel(pen: Pen, radius: float, angle: float) -> None:
    """The boat's wheel: boards on spokes, turned by ``angle``."""
    pen.oval(0j, radius, radius, 95)
    for k in range(8):
        d = turn(angle + math.tau * k / 8)
        pen.hose(0j, d * radius / 2, d * radius, 0.13 * radius)
        a, b = 0.62 * radius * d, 1.1 * radius * d
        pen.blob(
            [
                a + 0.11 * radius * 1j * d,
                b + 0.11 * radius * 1j * d,
                b - 0.11 * radius * 1j * d,
                a - 0.11 * radius * 1j * d,
            ],
            225,
        )
    pen.oval(0j, 0.18 * radius, 0.18 * radius, WHITE)


def boat(pen: Pen, t: float, wind: float, windows: float, puff: float) -> None:
    """The steamboat, 80 units long, bow to the right, waterline at the pen's origin.

    Args:
        pen: its frame.
        t: seconds.
        wind: units a second that the smoke falls behind.
        windows: tone of the windows: dark by day, bright at night whatever the pen's light.
        puff: tone of fresh smoke.
    """
    for x, late in ((-14, 0.0), (-2, BEAT)):
        stretch = 1 + 0.14 * swing(t - late)
        smoke(pen, t, complex(x, -35 * stretch), wind, 9, late, puff)
    for x, late in ((-14, 0.0), (-2, BEAT)):
        funnel(pen.at(complex(x, -13), angle=0.05 * swing(t)), 1 + 0.14 * swing(t - late), 6.5, 20)
    pen.hose(32 - 4j, 32 - 13j, 32 - 21j, 0.9)
    flag = [32 - 21j + complex(-2.6 * k, 0.8 * swing(t - 0.12 * k, 1.5)) for k in range(5)]
    pen.blob([*flag, *(p + 5j for p in flag[::-1])], 150)
    house = pen.at(-11j, squash=1.02 - 0.05 * hop(t))
    house.box(8 + 0j, 22 - 15j, 225)
    house.box(11 - 12.5j, 19 - 5.5j, windows / pen.light, 1)
    house.oval(15 - 6.8j, 2.6, 2.2, 130)
    house.oval(13.6 - 9j, 1.5, 1.7, WHITE)
    house.oval(16.4 - 9j, 1.5, 1.7, WHITE)
    house.blob([5.5 - 15j, 8 - 18.5j, 22 - 18.5j, 24.5 - 15j], 85)
    pen.box(-27 + 2j, 26 - 11j, 235)
    pen.box(-30 - 11j, 29 - 13.5j, 95)
    for x in (-21, -13, -5, 3, 11, 19):
        pen.box(complex(x - 2.2, -8), complex(x + 2.2, -3.4), windows / pen.light)
    pen.blob([-37 - 1j, 31 - 1j, 42 - 5.5j, 39 + 1j, 33 + 8j, -33 + 8j], 55)
    pen.path([-35.5 + 2.2j, 31 + 2.2j, 39 - 1.5j], WHITE, 1.2)
    paddle_wheel(pen.at(-33 + 0j), 10, 1.1 * math.pi * t / BEAT / 2)
    pen.band(-33 + 0j, 11, 13.5, -math.pi, 0, 200)
