"""The film of an experiment: opened at two sizes, its shots divided, and refused where there is too little."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vg.data import FrameStore, Source, Split, film, joined, open_stores, seconds_needed, size_of, split_films, traits
from vg.data import videos as find_videos
from vg.experiments.config import FilmData

LEAST = 36  # frames of a shot that is held out, and of what trains


@dataclass(frozen=True)
class Footage:
    """A film, ready to train on.

    Attributes:
        store: its frames, uint8 (T, C, H, W).
        large: the same frames, larger: what fresh views are cut out of.
        split: its shots by what they are for.
    """

    store: FrameStore
    large: FrameStore
    split: Split

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        height, width = self.store.frames.shape[-2:]
        return height, width

    @property
    def channels(self) -> int:
        return self.store.frames.shape[1]

    def card(self) -> dict:
        """What a checkpoint's card says of its data."""
        return {
            "source": self.store.name,
            "sha256": self.store.source_sha256,
            "store": self.store.key,
            "frames": len(self.store.frames),
            "validation_shots": [list(shot) for shot in self.split.validation],
            "test_shots": [list(shot) for shot in self.split.test],
        }

    def phases(self, span: int) -> range:
        """First frames of the tubelets in the cache: of four times the pixels a quarter, which takes as long."""
        return range(0, span, max(1, min(span, round(math.prod(self.size) / 64**2))))


def open_sources(data: FilmData) -> list[Source]:
    """The films that are asked for, or Steamboat Willie."""
    return find_videos(data.film) if data.film else [film()]


def open_footage(data: FilmData, sources: Sequence[Source], multiple: tuple[int, int] = (1, 1)) -> Footage:
    """Look at the films, decode what is not there yet, and divide it.

    Args:
        data: how they are read; all at the size that suits the first one's shape.
        sources: from ``open_sources``.
        multiple: both sides are brought to multiples of these: a token's height and width.

    Raises:
        ValueError: if there is too little film; it says how much would do.
    """
    found = [traits(source) for source in sources]
    for source, its in zip(sources, found):
        print(f"{source.describe()}: {its.describe()}")
    first = found[0]
    asked = (first.height, first.width) if isinstance(data.size, int) else data.size
    short = data.size if isinstance(data.size, int) else min(data.size)
    size = size_of(short, *asked, multiple=multiple)
    grey = not (any(its.colour for its in found) if data.colour is None else data.colour)
    stores = []
    for source, its in zip(sources, found):
        restore = its.old if data.restore is None else data.restore
        wanted = [{"size": each, "restore": restore} for each in (size, tuple(round(data.zoom * n) for n in size))]
        stores.append(open_stores(source, wanted, fps=data.fps, grey=grey, frames=data.frames))
    small, large = (list(each) for each in zip(*stores))
    split = split_films(small, LEAST)
    if not split.held_out:
        store = joined(small)
        longest = max(stop - start for start, stop in store.shots)
        raise ValueError(
            f"{store.name} has {len(store.frames)} frames at {data.fps:g} a second in {len(store.shots)} shots, the "
            f"longest of {longest}: too little to train on and be measured on. {seconds_needed(LEAST, data.fps):g} "
            f"seconds without a cut would do, or three shots of {LEAST} frames; or take a higher --fps."
        )
    return Footage(joined(small), joined(large), split)
