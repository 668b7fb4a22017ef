"""A palette for a clip, and the nearest of its colours for every pixel: what GIFs and paletted PNGs show."""

import numpy as np
import torch
from PIL import Image

SAMPLE = 16_384  # pixels from which colours are chosen
GREY = 8  # a pixel is grey if its channels differ by no more than this


class Palette:
    """Colours chosen for some pixels. One palette for a whole clip and no dither: what stands still stays still.

    Up to ``size`` different greys or colours are kept exactly. Of more, greys become even levels, and grey pixels
    beside coloured ones get their share of the palette, half of it at most, so that grey film stays grey; the other
    colours are found by median cut and k-means.

    Args:
        sample: the pixels, ``(..., 1 or 3)`` uint8.
        size: colours at most, from 2 to 256.

    Attributes:
        table: the colours, ``(K, 3)`` uint8, K up to ``size``.
    """

    def __init__(self, sample: np.ndarray, size: int) -> None:
        pixels = sample.reshape(-1, sample.shape[-1])
        self.table = _greys(pixels[:, 0], size) if _is_grey(pixels) else _colours(pixels, size)
        self._nearest = np.zeros(2**24, np.uint8)  # by colour, as far as it is known; untouched, it takes no memory
        self._known = np.zeros(2**24, bool)

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """The index of the nearest colour for every pixel: ``(..., 1 or 3)`` uint8 to ``(...)`` uint8."""
        packed = _packed(frames)
        new = np.unique(packed[~self._known[packed]])
        for part in np.array_split(new, -(-len(new) // SAMPLE) or 1):
            pixels, table = (torch.from_numpy(x.astype(np.float32)) for x in (_unpacked(part), self.table))
            self._nearest[part] = torch.cdist(pixels, table, compute_mode="donot_use_mm_for_euclid_dist").argmin(1)
        self._known[new] = True
        return self._nearest[packed]


def _is_grey(pixels: np.ndarray) -> bool:
    return bool((pixels == pixels[..., :1]).all())


def _greys(values: np.ndarray, size: int) -> np.ndarray:
    levels = np.unique(values)
    if len(levels) > size:
        levels = np.linspace(levels[0], levels[-1], size).round().astype(np.uint8)
    return levels[:, None].repeat(3, axis=1)


def _colours(pixels: np.ndarray, size: int) -> np.ndarray:
    used = np.unique(_packed(pixels))
    if len(used) <= size:
        return _unpacked(used)
    sample = pixels[:: -(-len(pixels) // SAMPLE)]
    grey = np.ptp(sample, axis=1) <= GREY
    greys = min(size // 2, round(size * grey.mean()))
    even = np.linspace(0, 255, greys).round().astype(np.uint8)[:, None].repeat(3, axis=1) if greys > 1 else pixels[:0]
    tinted = sample if grey.all() or len(even) == 0 else sample[~grey]
    image = Image.fromarray(np.ascontiguousarray(tinted[None]))
    chosen = image.quantize(size - len(even), Image.Quantize.MEDIANCUT, kmeans=1).getpalette()
    return np.concatenate([even, np.array(chosen, np.uint8).reshape(-1, 3)[: size - len(even)]])


def _packed(pixels: np.ndarray) -> np.ndarray:
    """``(..., 1 or 3)`` uint8 as one number a pixel, ``(...)``."""
    red, green, blue = np.moveaxis(np.broadcast_to(pixels, (*pixels.shape[:-1], 3)).astype(np.int32), -1, 0)
    return red << 16 | green << 8 | blue


def _unpacked(numbers: np.ndarray) -> np.ndarray:
    return np.stack([numbers >> 16, numbers >> 8 & 255, numbers & 255], axis=-1).astype(np.uint8)
