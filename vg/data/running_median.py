"""The running median of pictures, pixel by pixel: exact, in whole arrays, one picture at a time."""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, repeat

import numpy as np


def with_medians(pictures: Iterable[np.ndarray], reach: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each picture, and the median of those up to ``reach`` before and ``reach`` after it, as far as there are any.

    From one picture to the next a window gains one and loses one. So its pixels are kept sorted and never sorted anew:
    a tenth of the time of ``np.median``, and no more memory than a window.

    Args:
        pictures: unsigned integers, all of one shape and dtype.
        reach: at least 0.

    Yields:
        (picture, median), the median float32; of an even number it is the mean of the middle two.
    """
    pictures = iter(pictures)
    first = next(pictures, None)
    if first is None:
        return
    window: deque[np.ndarray] = deque()
    place, ordered = -reach, _Sorted(first, 2 * reach + 1)  # the place in the window of the picture that is due
    for picture in chain([first], pictures, repeat(None, reach)):
        if picture is not None:
            ordered.add(picture)
            window.append(picture)
        if 0 <= place < len(window):
            yield window[place], ordered.median()
        if place == reach and window:
            ordered.remove(window.popleft())
        else:
            place += 1


class _Sorted:
    """Up to ``most`` pictures, sorted at every pixel."""

    def __init__(self, like: np.ndarray, most: int):
        self.values = np.empty((most, *like.shape), like.dtype)
        self.spare = np.empty_like(self.values)
        self.count = 0

    def add(self, picture: np.ndarray) -> None:
        n = self.count
        old, new = self.values[:n], self.spare[: n + 1]
        np.minimum(old, picture, out=new[:n])
        new[n] = picture
        np.maximum(old, new[1:], out=new[1:])
        self._now(n + 1)

    def remove(self, picture: np.ndarray) -> None:
        """Take out a picture that was added: at each pixel, what lies above it moves down by one."""
        n = self.count - 1
        old, new = self.values[: n + 1], self.spare[:n]
        np.multiply(old[1:], old[:-1] >= picture, out=new)
        np.maximum(old[:-1], new, out=new)
        self._now(n)

    def _now(self, count: int) -> None:
        self.values, self.spare, self.count = self.spare, self.values, count

    def median(self) -> np.ndarray:
        below, above = self.values[(self.count - 1) // 2], self.values[self.count // 2]
        return (below.astype(np.float32) + above) / 2
