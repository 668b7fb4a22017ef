"""What lies behind the scenes of the drawn cartoon, and what a scene is.

A scene is a function ``scene(rng, view, seconds) -> paint``: it draws what makes this shot its own from
``rng``, and returns ``paint(pen, t)``, which draws the moment ``t`` of the shot. ``view`` is the half
width and half height that the picture shows, in units; ``seconds`` how long the shot lasts.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from vg.synthetic.pen import Pen, along, hop, swing
from vg.synthetic.props import bird, cloud, hills, house, tree

Paint = Callable[[Pen, float], None]
Scene = Callable[[Random, complex, float], Paint]


def paint_sky(pen: Pen, view: complex, tone: float) -> None:
    edge = view + 4 + 4j
    pen.box(-edge, edge, tone, 0)


def river_pace(rng: Random) -> float:
    """How fast the river goes by, in units a second: often not at all, the boat being moored."""
    return rng.choice((0.0, 1.0)) * rng.uniform(4, 10)


def birds_in_flight(rng: Random, view: complex, low: float) -> Paint:
    """Two to four birds in a loose line across the sky above ``low``."""
    start, lead = rng.uniform(-30, 30), complex(rng.uniform(6, 14), rng.uniform(-1.5, 1.5))
    height = rng.uniform(low - 14, low)
    birds = [(complex(15 * k, rng.uniform(-4, 4)), rng.uniform(0.55, 0.95), 0.35 * k) for k in range(rng.randint(2, 4))]

    def paint(pen: Pen, t: float) -> None:
        for place, size, late in birds:
            at = complex(start, height) + place + lead * t
            bird(pen, at + 1j * swing(t + late, 3), size, swing(t + late))

    return paint


def far_bank(rng: Random, view: complex, horizon: float, speed: float) -> Paint:
    """Sky, clouds, birds and two ridges that scroll by at different speeds: the river's far bank."""
    sky, far, near = rng.uniform(205, 232), rng.uniform(165, 190), rng.uniform(125, 150)
    wide, narrow, shift = rng.uniform(60, 90), rng.uniform(38, 55), rng.uniform(0, 500)
    kinds = [rng.random() for _ in range(11)]
    clouds = [complex(rng.uniform(-15, 15), rng.uniform(-42, -26)) for _ in range(7)]
    flock = birds_in_flight(rng, view, -16)

    def paint(pen: Pen, t: float) -> None:
        paint_sky(pen, view, sky)
        for k, x in along(-view.real - 20, view.real + 20, 46, shift + 0.1 * speed * t):
            cloud(pen, clouds[k % 7] + x, 0.8 + 0.5 * kinds[k % 11])
        flock(pen, t)
        hills(pen, view, horizon - 10, 8, wide, shift + 0.35 * speed * t, far)
        hills(pen, view, horizon - 3, 4.5, narrow, shift + 0.7 * speed * t, near)
        for k, x in along(-view.real - 16, view.real + 16, 23, shift + 0.7 * speed * t):
            kind = kinds[k % 11]
            if kind < 0.55:
                tree(
                    pen,
                    complex(x, horizon + 1.5),
                    0.62 + 0.4 * kind,
                    0.3 * swing(t + 4 * kind),
                    95 + 60 * kind,
                )
            elif kind < 0.7:
                house(pen, complex(x, horizon + 1.5), 0.6, 0.4 * hop(t), 215)

    return paint
