"""Scenes of the drawn cartoon on board the boat (``vg.synthetic.backdrops`` says what a scene is)."""

from __future__ import annotations

import math
from random import Random

from vg.synthetic.backdrops import Paint, far_bank, river_pace
from vg.synthetic.cast import duck, eye, frog, frog_head, funnel, paddle_wheel
from vg.synthetic.pen import BEAT, INK, WHITE, Pen, along, hop, swing, turn
from vg.synthetic.props import foam, notes, smoke, water


def helm(rng: Random, view: complex, seconds: float) -> Paint:
    """In the wheelhouse: the sailor steers, taps his foot and whistles."""
    wall, floor, speed = rng.uniform(120, 150), rng.uniform(80, 100), river_pace(rng)
    country = far_bank(rng, view, rng.uniform(2, 8), speed)
    man, size, skin = complex(rng.uniform(-17, -12), 19), rng.uniform(1.05, 1.2), rng.uniform(165, 185)
    steer, late, pause = rng.uniform(0.5, 1.1), rng.uniform(0, 6), rng.uniform(0, 4)
    left, right, top, sill = -34 + rng.uniform(-4, 4), 38 + rng.uniform(-4, 4), -33 + rng.uniform(-4, 4), 13

    def paint(pen: Pen, t: float) -> None:
        country(pen, t)
        t += late
        edge = view + 4 + 4j
        for a, b in (
            (-edge, complex(left, edge.imag)),
            (complex(right, -edge.imag), edge),
            (complex(left, -edge.imag), complex(right, top)),
            (complex(left, sill), complex(right, edge.imag)),
        ):
            pen.box(a, b, wall, 0)
        for _, x in along(-edge.real, edge.real, 13, 0):
            pen.path([complex(x, sill), complex(x, edge.imag)], wall - 35)
            if not left < x < right:
                pen.path([complex(x, -edge.imag), complex(x, sill)], wall - 35)
        for x in (left, right):
            pen.box(complex(x - 1.5, top - 1.5), complex(x + 1.5, sill + 1.5), 225)
        for y in (top, sill):
            pen.box(complex(left - 3, y - 1.5), complex(right + 3, y + 1.5), 225)
        pen.box(complex(-edge.real, 40), edge, floor)
        lamp = pen.at(complex(right - 10, top - 8), angle=0.35 * swing(t, 4))
        lamp.path([-20j, 12j])
        lamp.blob([-2.5 + 12j, 2.5 + 12j, 5 + 20j, -5 + 20j], 240)
        angle = steer * swing(t + pause, 8) + 0.15 * swing(t)
        wheel = complex(16, 16) + man.real * 0.3
        sailor = pen.at(man - 2.5j * hop(t) * size, size, squash=1.04 - 0.08 * hop(t))
        grips = [wheel + 19 * turn(angle + side) for side in (2.6, 4.1)]
        local = [_into(grip, man - 2.5j * hop(t) * size, size) for grip in grips]
        tap = 3.5 * max(0.0, swing(t, 1))
        feet = [-7 + 20j + 2.2j * hop(t), complex(7, 20 - tap) + 2.2j * hop(t)]
        blow = 1.0 if (t / BEAT) % 8 < 6 else 0.0
        pen.box(wheel - 4, wheel + 4 + 40j, 105)
        frog(sailor, t, local, feet, 0.9 - 0.15j, blow * (0.5 + 0.5 * hop(t)), skin)
        pen.at(wheel).wheel(15, angle, 8, 2.6, 6, 215)
        for grip in grips:
            pen.oval(grip, 3.7, 3.5, WHITE)
        if blow:
            notes(pen, t, man + (17 - 27j) * size, 11 - 8j, 1.1)

    return paint


def _into(place: complex, origin: complex, size: float) -> complex:
    """``place`` of the outer frame in the frame at ``origin``, ``size`` times as large."""
    return (place - origin) / size


def whistle(rng: Random, view: complex, seconds: float) -> Paint:
    """The sailor close up, whistling to the beat."""
    speed, pool, size = river_pace(rng), rng.uniform(180, 205), rng.uniform(1.9, 2.35)
    horizon = rng.uniform(14, 22)
    country = far_bank(rng, view, horizon, speed)
    place, skin, late = (
        complex(rng.uniform(-14, -4), rng.uniform(0, 5)),
        rng.uniform(165, 185),
        rng.uniform(0, 6),
    )
    bars = rng.choice((3, 4, 6))

    def paint(pen: Pen, t: float) -> None:
        country(pen, t)
        t += late
        water(pen, view, horizon + 2, speed * t, t, pool)
        blow = hop(t) if (t / BEAT) % (bars + 2) < bars else 0.0
        gaze = 0.95 * turn(-0.5 + 0.6 * swing(t, 8)) if blow else complex(0.9 * swing(t, 4), 0.3)
        bounce = place - 2.5j * hop(t) + 1.8 * swing(t)
        near = pen.at(bounce, size)
        for side in (-1, 1):  # arms swing at his sides
            elbow = complex(side * 17, 26 + 4 * swing(t + 0.5 * side * BEAT))
            near.hose(side * 6 + 12j, elbow, complex(side * (14 + 3 * swing(t)), 40), 2.6)
        near.blob([-6 + 6j, -11 + 20j, -12 + 45j, 12 + 45j, 11 + 20j, 6 + 6j], WHITE)
        for y in (14, 19.5, 25):
            near.path([complex(-10, y), complex(0, y + 2), complex(10, y)], INK, 2)
        near.blob([-7 + 7j, 7 + 7j, 3 + 12j, -3 + 12j], INK)
        head = near.at(0j, angle=0.09 * swing(t), squash=1.03 - 0.06 * blow)
        frog_head(head, t, gaze, 0.4 + 0.6 * blow if blow else 0.0, skin)
        notes(pen, t, bounce + complex(15, 1) * size, 10 - 13j, 1.6)

    return paint


def dance(rng: Random, view: complex, seconds: float) -> Paint:
    """On deck: the sailor dances, and a duck or two with him."""
    speed, planks, skin = river_pace(rng), rng.uniform(175, 205), rng.uniform(150, 175)
    country = far_bank(rng, view, rng.uniform(-4, 2), speed)
    place, size, step = rng.uniform(-16, -6), rng.uniform(1.0, 1.15), rng.uniform(5, 10)
    late, ducks = rng.uniform(0, 6), rng.randint(1, 2)
    kick, wave = rng.uniform(6, 11), rng.choice((1, 2))

    def paint(pen: Pen, t: float) -> None:
        country(pen, t)
        t += late
        edge = view.real + 4
        water(pen, view, 4, speed * t, t, 190)
        pen.box(complex(-edge, 16), complex(edge, view.imag + 4), planks)
        for k in range(-9, 10):
            pen.path([complex(9 * k, 16), complex(21 * k, view.imag + 4)], planks - 65)
        for _, x in along(-edge, edge, 14, 5):
            pen.box(complex(x - 1, 2), complex(x + 1, 17), 235)
        pen.box(complex(-edge, 0), complex(edge, 3), 235)
        for k in range(ducks):
            side = complex(35 + place + 16 * k, 37 + 3 * k) - 2.5 * swing(t + BEAT * k)
            duck(pen.at(side, 1.05 - 0.2 * k, flip=True, squash=1.05 - 0.1 * hop(t)), t + BEAT * k, 3)
        beat = swing(t)
        at = complex(place - 6 + step * beat, 21 - 5 * hop(t))
        pen.oval(complex(at.real, 42), 12, 2.2, planks - 60, 0)
        sailor = pen.at(at, size, squash=1.06 - 0.12 * hop(t), angle=0.08 * beat)
        feet = [
            complex(-6 - kick * max(0.0, beat), 18 - 0.9 * kick * max(0.0, beat)),
            complex(6 + kick * max(0.0, -beat), 18 - 0.9 * kick * max(0.0, -beat)),
        ]
        hands = [
            complex(-19 + 2 * beat, -14 + 13 * swing(t, wave)),
            complex(19 + 2 * beat, -14 - 13 * swing(t, wave)),
        ]
        frog(sailor, t, hands, feet, complex(0.8 * beat, 0.2), 0.0, skin)

    return paint


def paddle(rng: Random, view: complex, seconds: float) -> Paint:
    """The paddle wheel close up, and the water that it throws."""
    speed, pool, hull = rng.uniform(5, 12), rng.uniform(170, 195), rng.uniform(60, 85)
    country = far_bank(rng, view, -16, speed)
    place, radius, late = (
        complex(rng.uniform(-22, 4), rng.uniform(0, 6)),
        rng.uniform(25, 33),
        rng.uniform(0, 6),
    )
    turns = rng.uniform(0.05, 0.09)  # turns a beat, an eighth of one being a board's distance

    def paint(pen: Pen, t: float) -> None:
        country(pen, t)
        t += late
        edge = view + 4 + 4j
        at = place - 0.7j * hop(t)
        pen.box(at + complex(0, -36), complex(edge.real, edge.imag), 230)
        for k in range(4):
            pen.box(at + complex(38 + 17 * k, -27), at + complex(47 + 17 * k, -15), 60)
        pen.box(at - 6 - 40j, at + complex(140, -34), 110)
        pen.box(at - 2j, edge + 60, hull)
        pen.path([at + 4j, at + 140 + 4j], WHITE, 1.5)
        paddle_wheel(pen.at(at), radius, math.tau * turns * t / BEAT)
        pen.band(at, radius + 3.5, radius + 9, -math.pi, 0, 200)
        rod = at + 0.5 * radius * turn(math.tau * turns * t / BEAT)
        pen.hose(rod, (rod + at + 70) / 2, at + 62 + 10 * swing(t), 4.4, INK)
        pen.hose(rod, (rod + at + 70) / 2, at + 62 + 10 * swing(t), 3.0, 190)
        pen.oval(rod, 3.4, 3.4, WHITE)
        for k in range(9):  # drops fly off the boards behind the wheel
            age = (t / BEAT * 8 * turns + k * 0.37) % 2.0
            spot = at + complex(
                -radius * (0.55 + 0.05 * k) - 9 * age, 24 - (30 + 3 * (k * 5 % 7)) * age + 20 * age * age
            )
            pen.oval(spot, 1.3 + 0.25 * (k % 4), 1.8 + 0.25 * (k % 4), WHITE)
        water(pen, view, place.imag + 20, speed * t, t, pool)
        foam(pen.at(complex(place.real, place.imag + 23), 2.2, flip=True), -8, 40, 0, t, speed * t)
        foam(pen.at(complex(place.real, place.imag + 23), 2.2), -2, 50, 0, t, -speed * t)

    return paint


def funnels(rng: Random, view: complex, seconds: float) -> Paint:
    """On the roof: the chimneys stretch and puff, and birds on a rope hop to it."""
    speed, roof = river_pace(rng), rng.uniform(110, 150)
    country = far_bank(rng, view, rng.uniform(14, 20), speed)
    place, gap, late = rng.uniform(-32, -24), rng.uniform(20, 25), rng.uniform(0, 6)
    count, tall, tone = rng.randint(2, 4), rng.uniform(40, 48), rng.uniform(60, 110)
    skins = [rng.choice((WHITE, 190, 120)) for _ in range(count)]

    def paint(pen: Pen, t: float) -> None:
        country(pen, t)
        t += late
        edge, deck = view.real + 4, 33.0
        chimneys = [(complex(place + gap * k, deck), k * BEAT) for k in range(2)]
        for foot, after in chimneys:
            stretch = 1 + 0.1 * swing(t - after)
            smoke(pen, t, foot - 1j * tall * 1.08 * stretch, 7, 13, after, tone, 1.9)
        mast, rope = 44 + 0j, []
        for k in range(count + 2):
            s = k / (count + 1)
            rope.append(
                (1 - s) * complex(place + gap, -4) + s * (mast - 10j) + 26j * s * (1 - s) * (1.1 - 0.5 * hop(t))
            )
        pen.path(rope, INK, 1.4)
        pen.hose(mast + 36j, mast, mast - 26j, 2.4)
        for k, skin in enumerate(skins):
            perch = pen.at(
                rope[k + 1] - (1 + 5 * hop(t + BEAT * k / 2)) * 1j,
                1.15,
                squash=1.15 - 0.3 * hop(t + BEAT * k / 2),
            )
            up = swing(t + BEAT * k / 2, 1)
            for side in (-1, 1):
                perch.hose(complex(side * 1.5, -2), complex(side * 2, -1), complex(side * 1.8, 1), 0.9)
                perch.hose(complex(side * 4.5, -7), complex(side * 8, -6), complex(side * 9, -7 - 4 * up), 2.6)
            perch.oval(-7j, 5.5, 6, skin)
            perch.oval(-4.5j, 3, 3, WHITE, 0)
            for side in (-1, 1):
                eye(perch, side * 2 - 10j, complex(-0.8, 0.2), 1.8, 1.0)
            beak = 0.4 + 1.6 * max(0.0, up)
            perch.blob([-2 - 7.5j, 2 - 7.5j, complex(0, -7 + beak)], INK, 0)
        for foot, after in chimneys:
            stack = pen.at(foot, angle=0.04 * swing(t - after, 4))
            stretch = 1 + 0.1 * swing(t - after)
            funnel(stack, stretch, 14, tall)
            for side in (-1, 1):
                eye(
                    stack,
                    complex(side * 3, -0.52 * tall * stretch),
                    complex(0.7 * swing(t, 8), -0.6),
                    2.6,
                    1.0,
                )
            stack.oval(complex(0, -0.36 * tall * stretch), 2.4, 0.8 + 2 * hop(t - after), WHITE)
        pen.box(complex(-edge, deck), complex(edge, view.imag + 4), roof)
        for _, x in along(-edge, edge, 17, 0):
            pen.path([complex(x, deck), complex(x - 6, view.imag + 4)], roof - 45)
        for x in (place, place + gap):
            pen.blob(
                [
                    complex(x - 10, deck + 3),
                    complex(x - 8, deck - 3),
                    complex(x + 8, deck - 3),
                    complex(x + 10, deck + 3),
                ],
                70,
            )

    return paint
