"""Shots: where a film cuts, and how shots are divided into training, validation and test."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

Shot = tuple[int, int]  # (start, stop) in frames, stop excluded
GAP = 12  # frames, a second of film: so far apart are the two sides where a shot has to be divided
AHEAD = 12  # frames on each side of a cut that are looked at: a second of film at 12 frames a second


class Split(NamedTuple):
    """Shots by what they are for, each side in film order.

    Attributes:
        train: what models see.
        validation: what decides: which model, how many steps, which settings.
        test: what is reported; no decision looks at it. Empty where fewer than three shots are held out.
    """

    train: list[Shot]
    validation: list[Shot]
    test: list[Shot]

    @property
    def held_out(self) -> list[Shot]:
        """What no model sees, in film order."""
        return sorted(self.validation + self.test)

    @property
    def reported(self) -> list[Shot]:
        """The shots that a card's figures are of: the test shots, or where there are none those for validation."""
        return self.test or self.validation


def find_shots(frames: np.ndarray, threshold: float = 20.0, shortest: int = 6) -> list[Shot]:
    """Find the shots of a film from the jumps between neighbouring frames.

    A jump is the mean absolute difference of two neighbours, both brought to one brightness, so that
    flicker and fades are no cuts. A jump above ``threshold`` is a cut when it stands alone (2.5 times
    its neighbours, or only the nearest two before it where an iris had closed); with less isolation
    it must also change the background for good, which fast motion in front of it, a turning head or
    an opening iris do not. Checked by eye on Steamboat Willie: of 27 cuts that it finds none is false, and one comes a
    few frames early; one more, from a sow to a parrot, is missed.

    Args:
        frames: uint8 ``(T, H, W)`` or ``(T, C, H, W)``, small pictures (64 pixels do).
        threshold: smallest jump of a cut, in grey levels (0 to 255).
        shortest: a shot of fewer frames is joined to the one after; the last one, which has none, may be shorter.

    Returns:
        ``(start, stop)`` of each shot; together they cover every frame once, in order.

    Raises:
        ValueError: if there are no frames.
    """
    if len(frames) == 0:
        raise ValueError("find_shots: no frames")
    return list(shots_in(frames, threshold, shortest))


def shots_in(frames: Iterable[np.ndarray], threshold: float = 20.0, shortest: int = 6) -> Iterator[Shot]:
    """``find_shots`` of frames that come one by one: a shot is given as soon as ``AHEAD`` frames after it were seen."""
    grey, jump = [], []  # the last frames, and the jump to each
    first, start = 0, 0  # of these frames, and of the shot
    for frame in frames:
        grey.append(_grey(frame))
        jump.append(_jump(grey[-2], grey[-1]) if len(grey) > 1 else 0.0)
        if len(grey) > 2 * AHEAD:
            del grey[0], jump[0]
            first += 1
        k = len(grey) - AHEAD
        if k >= 0 and first + k - start >= shortest and _is_cut(grey, jump, k, threshold):
            yield start, first + k
            start = first + k
    for k in range(max(0, len(grey) - AHEAD + 1), len(grey)):
        if first + k - start >= shortest and _is_cut(grey, jump, k, threshold):
            yield start, first + k
            start = first + k
    if grey:
        yield start, first + len(grey)


def _grey(frame: np.ndarray) -> np.ndarray:
    x = np.asarray(frame, np.float32)
    return x.mean(0) if x.ndim == 3 else x


def _jump(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(_levelled(a, b)).mean())


def _is_cut(grey: list[np.ndarray], jump: list[float], k: int, threshold: float) -> bool:
    """Whether the jump to frame ``k`` is a cut. Up to ``AHEAD`` frames on each side are looked at."""
    if jump[k] <= threshold:
        return False
    reach = 2 if (grey[k - 1] > 40).mean() < 0.3 else 6  # a closing iris jumps up to its last frames
    isolation = jump[k] / max(1.0, *jump[max(0, k - reach) : k], *jump[k + 1 : k + 7])
    return isolation >= 2.5 or (isolation >= 1.1 and _new_background(grey, k, strict=isolation < 1.6))


def _levelled(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Difference ``b - a`` of two pictures after ``a`` was given the brightness of ``b``."""
    lit = (a > 40) & (b > 40)
    gain = np.clip(np.median(b[lit] / a[lit]), 0.7, 1.4) if np.count_nonzero(lit) > 0.05 * lit.size else 1.0
    return b - a * gain


def _new_background(grey: list[np.ndarray], k: int, strict: bool) -> bool:
    """Whether the edges of the median picture of the frames before ``k`` are gone in those after."""
    before, after = np.median(grey[max(0, k - AHEAD) : k], 0), np.median(grey[k : k + AHEAD], 0)
    if strict and min((before > 40).mean(), (after > 40).mean()) < 0.3:
        return False  # an iris or a fade from black
    a, b = (np.abs(np.diff(x, axis=0))[:, :-1] + np.abs(np.diff(x, axis=1))[:-1] for x in (before, after))
    alike = np.corrcoef(a.ravel(), b.ravel())[0, 1]
    shared = ((a > 14) & (b > 14)).sum() / max(1, min((a > 14).sum(), (b > 14).sum()))
    return bool(alike < 0.1 and shared < 0.45) if strict else bool(alike < 0.2)


def split_shots(shots: list[Shot], share: float = 0.1, shortest: int = 36, seed: int = 0) -> Split:
    """Divide shots into training, validation and test, whole shots only where there are enough.

    Windows of one shot overlap and look alike, so a shot belongs to one side alone. The film
    is cut into ten stretches of equal length, and a shot is drawn in each in turn until ``share`` is held out: where
    shots are long, the last stretches have none. The first and the last shot (titles) always train. Of those held out
    every third is for the test, the second one first.

    Where that leaves none to draw, as in a video of one or two shots, the end of the longest shot is held out and
    ``GAP`` frames before it are on neither side. What is measured there is less than on a shot never seen.

    Args:
        shots: ``(start, stop)`` of each shot.
        share: wanted share of the frames that are held out, above 0 and at most 0.5.
        shortest: shots held out have at least this many frames (a prompt and its continuation).
        seed: which shots are drawn.

    Returns:
        (train, validation, test). Validation is empty where no shot is long enough, or where fewer than ``shortest``
        frames would train; the test where fewer than three shots are held out.
    """
    if not 0 < share <= 0.5:
        raise ValueError(f"split_shots: share is {share}, expected above 0 and at most 0.5")
    if not shots:
        raise ValueError("split_shots: no shots")
    rng = np.random.default_rng(seed)
    total = shots[-1][1] - shots[0][0]
    inner = [s for s in shots[1:-1] if s[1] - s[0] >= shortest]
    chosen: set[Shot] = set()
    order = [inner[i] for i in rng.permutation(len(inner))]
    stretch = 0
    # Go round the film, a tenth at a time, until enough frames are held out.
    while len(chosen) < len(inner) and sum(b - a for a, b in chosen) < share * total:
        low, high = (shots[0][0] + total * f / 10 for f in (stretch, stretch + 1))
        free = [s for s in order if s not in chosen and low <= (s[0] + s[1]) / 2 < high]
        room = share * total * 1.25 - sum(b - a for a, b in chosen)  # a shot that would overshoot far stays
        free = [s for s in free if s[1] - s[0] <= room]
        if free:
            chosen.add(free[0])
        stretch = (stretch + 1) % 10
        if stretch == 0 and not any(s not in chosen and s[1] - s[0] <= room for s in inner):
            break
    if inner and not chosen:  # every shot is too long for the share: better the shortest than none
        chosen.add(min(inner, key=lambda s: s[1] - s[0]))
    if not chosen:
        return _split_longest(shots, max(shortest, min(round(share * total), total - GAP - shortest)), shortest)
    held = [s for s in shots if s in chosen]
    return Split([s for s in shots if s not in chosen], *validation_and_test(held))


def validation_and_test(held: list[Shot]) -> tuple[list[Shot], list[Shot]]:
    """Divide shots that are held out: every third is for the test, the second one first, if there are three."""
    test = held[1::3] if len(held) > 2 else []
    return [s for s in held if s not in test], test


def seconds_needed(clip: int, fps: float) -> float:
    """The least seconds of film without a cut that ``split_shots`` can divide: a clip on each side, and ``GAP``.

    Args:
        clip: frames of what is trained on and measured; also the ``shortest`` of ``split_shots``.
        fps: frames a second of the store.

    Raises:
        ValueError: if either is not above 0.
    """
    if clip < 1 or not fps > 0:
        raise ValueError(f"seconds_needed: a clip of {clip} frames at {fps} a second, expected both above 0")
    return (2 * clip + GAP) / fps


def _split_longest(shots: list[Shot], held: int, shortest: int) -> Split:
    """The last ``held`` frames of the longest shot, or all of it, for validation; the rest for training."""
    start, stop = max(shots, key=lambda s: s[1] - s[0])
    middle = max(start, stop - held)
    train = [s for s in shots if s != (start, stop)] + [(start, middle - GAP)] * (middle - GAP > start)
    if stop - middle < shortest or sum(b - a for a, b in train) < shortest:
        return Split(list(shots), [], [])
    return Split(sorted(train), [(middle, stop)], [])
