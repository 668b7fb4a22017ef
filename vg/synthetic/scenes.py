"""The scenes of the drawn cartoon (``vg.synthetic.cartoon``): those seen from the shore, and all of them by name."""

from __future__ import annotations

from random import Random

from vg.synthetic.aboard import dance, funnels, helm, paddle, whistle
from vg.synthetic.backdrops import Paint, Scene, birds_in_flight, far_bank, paint_sky
from vg.synthetic.cast import boat, duck, eye
from vg.synthetic.pen import BEAT, INK, Pen, along, hop, swing
from vg.synthetic.props import cloud, foam, hills, house, tree, water


def river(rng: Random, view: complex, seconds: float) -> Paint:
    """The steamboat on its way: the establishing shot."""
    horizon, speed, pool = rng.uniform(-2, 6), rng.uniform(3, 10), rng.uniform(185, 205)
    country = far_bank(rng, view, horizon, speed)
    place, drift, size = (
        complex(rng.uniform(-9, 9), horizon + 18),
        rng.uniform(-5, 5),
        rng.uniform(0.82, 1.02),
    )
    late = rng.uniform(0, 4)

    def paint(pen: Pen, t: float) -> None:
        country(pen, t)
        t += late
        water(pen, view, horizon + 1, speed * t, t, pool)
        at = place + drift * (t - late - seconds / 2) - 1.3j * hop(t)
        afloat = pen.at(at, size, angle=0.025 * swing(t, 4))
        boat(afloat, t, 0.5 * speed, 60, 70)
        foam(afloat, -50, 46, 9.5, t, speed * t)

    return paint


def shore(rng: Random, view: complex, seconds: float) -> Paint:
    """A pan along the bank, with dancing trees, breathing houses and a family of ducks that walks."""
    sky, far, meadow = rng.uniform(205, 232), rng.uniform(170, 190), rng.uniform(140, 165)
    path_, start, pan = rng.uniform(200, 220), rng.uniform(0, 900), rng.uniform(22, 50)
    kinds = [rng.random() for _ in range(13)]
    late, count, walk, row = rng.uniform(0, 6), rng.randint(2, 4), rng.uniform(8, 14), rng.uniform(-30, -5)
    flock = birds_in_flight(rng, view, -14)

    def paint(pen: Pen, t: float) -> None:
        s = max(0.0, min(1.0, 1.6 * t / seconds - 0.3))
        eased = pan * s * s * (3 - 2 * s)  # the camera rests, starts and stops softly, rests
        view_at = start + eased
        paint_sky(pen, view, sky)
        for k, x in along(-view.real - 20, view.real + 20, 40, 0.15 * view_at):
            cloud(pen, complex(x, -38 + 14 * kinds[k % 13]), 0.9 + 0.6 * kinds[(k + 5) % 13])
        flock(pen, t)
        hills(pen, view, -6, 9, 75, 0.4 * view_at, far)
        hills(pen, view, 6, 4, 110, view_at, meadow)
        t += late
        for k, x in along(-view.real - 30, view.real + 30, 25, view_at):
            kind = kinds[k % 13]
            if k % 2 or kind < 0.3:
                tree(
                    pen,
                    complex(x, 16 + 3 * kind),
                    1.25 + 0.5 * kind,
                    0.5 * swing(t + BEAT * (k % 2)),
                    80 + 90 * kind,
                )
            else:
                house(pen, complex(x, 17), 1.35, 0.6 * hop(t + BEAT * k / 2), 225 - 40 * kind)
        pen.blob(
            [
                complex(-view.real - 4, 20),
                complex(view.real + 4, 20),
                *[view + 4 + 4j, complex(-view.real - 4, view.imag + 4)],
            ],
            path_,
        )
        for k, x in along(-view.real - 12, view.real + 12, 12, 1.25 * view_at):
            pen.path([complex(x, 24 + 4 * (k % 3)), complex(x + 4, 24 + 4 * (k % 3))], path_ - 70)
        for k in range(count):
            at = complex(row + walk * (t - late) + 0.25 * eased - 23 * k * (0.85 if k else 1), 40)
            pen.oval(at + 1j, 10, 1.8, path_ - 60, 0)
            duck(pen.at(at, 1.25 if k == 0 else 0.85), t + 0.5 * BEAT * k, 4)
        for _, x in along(-view.real - 20, view.real + 20, 30, 1.7 * view_at):
            for blade in (-3, 0, 3):
                pen.hose(
                    complex(x, view.imag + 2),
                    complex(x + blade, 47),
                    complex(x + 2 * blade + swing(t, 4), 42),
                    1.6,
                    60,
                )

    return paint


def night(rng: Random, view: complex, seconds: float) -> Paint:
    """By moonlight: the boat small, its windows lit, its light on the water."""
    sky, pool, horizon, speed = (
        rng.uniform(48, 66),
        rng.uniform(62, 80),
        rng.uniform(6, 12),
        rng.uniform(5, 11),
    )
    moon, disc = complex(rng.uniform(14, 30), rng.uniform(-32, -24)), rng.uniform(10, 13)
    stars = [complex(rng.uniform(-70, 70), rng.uniform(-60, -4)) for _ in range(34)]
    start, late, size = rng.uniform(-26, -8), rng.uniform(0, 6), rng.uniform(0.5, 0.66)
    wide, shift = rng.uniform(50, 85), rng.uniform(0, 500)

    def paint(pen: Pen, t: float) -> None:
        paint_sky(pen, view, sky)
        for k, star in enumerate(stars):
            big = 0.4 + 0.65 * abs(swing(t + 0.37 * k, 6))
            pen.blob([star - big, star - 1j * big, star + big, star + 1j * big], 225, 0)
        there = start + speed * t
        t += late
        face = pen.at(moon, disc / 12, angle=0.15 * swing(t, 4))
        face.oval(0j, 15.5, 15.5, sky + 26, 0)
        face.oval(0j, 12, 12, 240)
        for side in (-1, 1):
            eye(face, side * 4 - 2.5j, complex(-0.8, 0.6), 2.3, 0.0 if (t / BEAT) % 8 < 0.7 else 1.0)
        face.path(
            [complex(6 * s, 4 + 3 * (1 - s * s) * (0.7 + 0.5 * hop(t))) for s in (-1, -0.5, 0, 0.5, 1)],
            INK,
            1.4,
        )
        hills(pen, view, horizon - 8, 8, wide, shift + 0.6 * t, 34)
        hills(pen, view, horizon - 2, 4, 0.7 * wide, shift + 1.2 * t, 24)
        pen.box(complex(-view.real - 4, horizon), view + 4 + 4j, pool)
        for k in range(12):  # the moon's road and the water's dashes
            y = horizon + 2.5 + 3.6 * k
            half = (5 + 0.6 * k) * (0.75 + 0.25 * swing(t + 0.31 * k, 3))
            mid = complex(moon.real + 1.6 * swing(t + 0.45 * k, 4), y)
            pen.path([mid - half, mid + half], 205, 1.6)
            for _, x in along(-view.real, view.real, 34, 5 * t * (1 + 0.1 * k) + 13 * k):
                pen.path([complex(x, y + 1.5), complex(x + 6 + 0.4 * k, y + 1.5)], pool + 35)
        at = complex(there, horizon + 10 - 1.2 * hop(t))
        for x in (-21, -13, -5, 3, 11, 19):
            lit = complex(there + size * x + 0.8 * swing(t + 0.1 * x, 3), horizon + 20)
            pen.path([lit - 4j, lit + 4j + 2 * hop(t) * 1j], 215, 1.6)
        boat(pen.lit(0.55).at(at, size, angle=0.03 * swing(t, 4)), t, 0.6 * speed, 250, 150)
        foam(pen.at(complex(there, horizon + 16), size), -48, 44, 0, t, 3 * speed * t, pool + 75)

    return paint


SCENES: dict[str, Scene] = {
    scene.__name__: scene for scene in (river, helm, whistle, dance, paddle, funnels, shore, night)
}
