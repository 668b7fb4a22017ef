"""The cast of the drawn cartoon: a frog, a duck and their boat. Drawn with ``vg.synthetic.pen``."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vg.synthetic.pen import BEAT, INK, WHITE, Pen, hop, swing, turn
from vg.synthetic.props import smoke


def eye(pen: Pen, place: complex, gaze: complex, size: float, open_: float) -> None:
    """A pie-cut eye; ``gaze`` is at most 1 long, ``open_`` from 0 (shut) to 1."""
    if open_ < 0.3:
        pen.path([place - size, place + 0.3j * size, place + size])
        return
    pen.oval(place, size, 1.2 * size * open_, WHITE)
    pupil = place + 0.4 * size * gaze
    pen.oval(pupil, 0.5 * size, 0.75 * size * open_, INK, 0)
    pen.blob([pupil, pupil + size * (0.55 - 0.5j), pupil + size * (0.62 + 0.05j)], WHITE, 0)


def frog_head(pen: Pen, t: float, gaze: complex, whistle: float, tone: float) -> None:
    """The sailor's head about the pen's origin; ``whistle`` from 0 (a grin) to 1 (pursed lips)."""
    open_ = 0.0 if (t / BEAT) % 7 < 0.35 else 1.0
    pen.oval(0j, 13.5 + 0.8 * whistle, 9.5, tone)
    cap = pen.at(-9j - 2j * hop(t), angle=0.12 * swing(t))
    cap.blob([-4.5 + 1j, -6.8 - 4j, -6 - 7j, -2.5 - 8.4j, 2.5 - 8.4j, 6 - 7j, 6.8 - 4j, 4.5 + 1j], WHITE)
    cap.blob([-4.8 - 1.5j, 4.8 - 1.5j, 4.6 + 1.5j, -4.6 + 1.5j], INK, 0)
    for side in (-1, 1):
        pen.oval(side * 7.2 - 8.2j, 5.6, 5.8, tone)
        eye(pen, side * 7.2 - 8.4j + 0.6 * gaze, gaze, 3.9, open_)
    pen.oval(-1.5j, 10, 5, tone, 0)
    lips = complex(5.5 * gaze.real, 3.2)
    if whistle > 0.35:
        for side in (-1, 1):
            pen.oval(side * 10 + 2.5j, 2.6 + whistle, 2.4 + whistle, tone + 35)
        pen.oval(lips, 2.2 + 1.2 * whistle, 1.8 + 1.6 * whistle, WHITE)
        pen.oval(lips, 1 + 0.7 * whistle, 0.8 + whistle, INK, 0)
    else:
        grin = [complex(10 * s, 1 + 5 * (1 - s * s)) + 0.8 * gaze for s in (-1, -0.7, -0.4, 0, 0.4, 0.7, 1)]
        pen.blob([*grin, complex(0, 2.6) + 0.8 * gaze], INK)
        pen.oval(5.2j + 0.8 * gaze, 3.2, 1, WHITE, 0)
    for side in (-1, 1):
        pen.oval(complex(1.6 * side + 1.5 * gaze.real, -1.6), 0.5, 0.4, INK, 0)


def frog(
    pen: Pen,
    t: float,
    hands: Sequence[complex],
    feet: Sequence[complex],
    gaze: complex,
    whistle: float,
    tone: float,
) -> None:
    """Our sailor, a frog of about 60 units, hips at the pen's origin.

    Args:
        pen: its frame; the head leans with the beat by itself.
        t: seconds.
        hands, feet: left then right, where they are; the limbs bend to reach them.
        gaze: where he looks, at most 1 long.
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
    frog_head(pen.at(neck + lean - 8j, angle=0.1 * swing(t)), t, gaze, whistle, tone)
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
