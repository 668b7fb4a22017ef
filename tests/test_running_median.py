"""Laws of the running median: what ``np.median`` gives of every window, in the memory of one."""

import tracemalloc

import numpy as np
import pytest

from vg.data.running_median import with_medians


@pytest.mark.parametrize("reach", [0, 1, 2, 12])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 12, 13, 24, 25, 26, 40])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_each_picture_comes_with_the_median_of_its_window(count, reach, kind):
    few = np.random.default_rng(count).integers(0, 6, (count, 5, 7)).astype(kind)  # with many ties
    many = np.random.default_rng(count).integers(0, np.iinfo(kind).max, (count, 5, 7), endpoint=True).astype(kind)
    for pictures in (few, many):
        given = list(with_medians(iter(pictures), reach))
        assert len(given) == count
        for k, (picture, median) in enumerate(given):
            assert np.array_equal(picture, pictures[k])
            assert np.array_equal(median, np.median(pictures[max(0, k - reach) : k + reach + 1], 0))


def test_a_long_film_takes_no_more_memory_than_a_window():
    def film(count: int):
        for k in range(count):
            yield np.full((64, 64), k % 251, np.uint16)

    def most(count: int) -> int:
        tracemalloc.start()
        for _ in with_medians(film(count), 12):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert most(600) < 1.1 * most(60)
