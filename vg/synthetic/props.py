"""The props of the drawn cartoon: land, water and sky, and what drifts in them. Drawn with ``vg.synthetic.pen``."""

from __future__ import annotations

import math

from vg.synthetic.pen import BEAT, INK, WHITE, Pen, along, hop, swing


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


def smoke(
    pen: Pen, t: float, mouth: complex, wind: float, rise: float, late: float, tone: float, size: float = 1.0
) -> None:
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
