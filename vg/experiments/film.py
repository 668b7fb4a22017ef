"""The film of an experiment: opened at two sizes, its shots divided, and refused where there is too little."""

import math
from dataclasses import dataclass

import av

from vg.data import FrameStore, Shot, Source, film, open_stores, split_shots, video
from vg.experiments.config import FilmData
from vg.models import TubeletTokenizer, VideoAutoencoder

LEAST = 36  # frames of a shot that is held out, and of what trains
GAP = 12  # frames between the two, where one shot is divided
COLOURFUL = 6.0  # grey levels between a pixel's channels, on average, from which a film is in colour


@dataclass(frozen=True)
class Footage:
    """A film, ready to train on.

    Attributes:
        store: its frames, uint8 (T, C, H, W).
        large: the same frames, larger: what fresh views are cut out of.
        train, val: the shots of either side.
    """

    store: FrameStore
    large: FrameStore
    train: list[Shot]
    val: list[Shot]

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return tuple(self.store.frames.shape[-2:])

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
            "validation_shots": [list(shot) for shot in self.val],
        }

    def phases(self, span: int) -> range:
        """First frames of the tubelets in the cache: of four times the pixels a quarter, which takes as long."""
        return range(0, span, max(1, min(span, round(math.prod(self.size) / 64**2))))


def open_source(data: FilmData) -> Source:
    """The film that is asked for, or Steamboat Willie."""
    if not data.film:
        return film()
    if len(data.film) > 1:
        raise ValueError("give one film")
    return video(data.film[0])


def open_footage(data: FilmData, source: Source, multiple: tuple[int, int] = (8, 8)) -> Footage:
    """Decode what is not there yet, and divide it.

    Args:
        data: how it is read.
        source: from ``open_source``.
        multiple: both sides are brought to multiples of these: a token's height and width.

    Raises:
        ValueError: if there is too little film; it says how much would do.
    """
    print(source.describe())
    height, width, colour = look_at(source)
    size = data.size if isinstance(data.size, tuple) else sides(data.size, height, width)
    size = tuple(max(1, round(side / m)) * m for side, m in zip(size, multiple))
    large = tuple(round(side * data.zoom) for side in size)
    grey = not (colour if data.colour is None else data.colour)
    wanted = [{"size": each, "restore": data.restore} for each in (size, large)]
    store, large = open_stores(source, wanted, fps=data.fps, grey=grey, frames=data.frames)
    train, val = split_shots(store.shots, shortest=LEAST)
    if not val:
        least = (2 * LEAST + GAP) / data.fps
        longest = max(stop - start for start, stop in store.shots)
        raise ValueError(
            f"{store.name} has {len(store.frames)} frames at {data.fps:g} a second in {len(store.shots)} shots, the "
            f"longest of {longest}: too little to train on and be measured on. A shot of {least:g} seconds would do "
            f"({2 * LEAST + GAP} frames), or three shots of {LEAST} frames; or take a higher --fps."
        )
    return Footage(store, large, train, val)


def sides(short: int, height: int, width: int) -> tuple[int, int]:
    """(H, W) of a picture's aspect with the shorter side ``short``."""
    return round(short * height / min(height, width)), round(short * width / min(height, width))


def look_at(source: Source) -> tuple[int, int, bool]:
    """A film's height and width in pixels, and whether it is in colour: of some frames from all over it."""
    if source.path is None:
        return 64, 64, False
    with av.open(str(source.path)) as file:
        stream = file.streams.video[0]
        seen, spread = 0, 0.0
        for k in range(5):
            if file.duration:
                file.seek(int(file.duration * (2 * k + 1) / 10))
            for frame in file.decode(stream):
                rgb = frame.to_ndarray(format="rgb24").astype(int)
                seen, spread = seen + 1, max(spread, (rgb.max(2) - rgb.min(2)).mean())
                break
        return stream.height, stream.width, bool(seen and spread > COLOURFUL)


def token_size(tokenizer: TubeletTokenizer | VideoAutoencoder) -> tuple[int, int]:
    """Height and width of a token in pixels."""
    return tuple(tokenizer.tubelet[1:])
