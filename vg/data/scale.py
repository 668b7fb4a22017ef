"""Decoded pictures brought to the sizes that are wanted, by FFmpeg: turned upright, cropped, scaled, all in one go."""

import functools
import threading
from collections.abc import Sequence
from typing import cast

import av
import numpy as np
from av.filter.context import FilterContext

from vg.data.pixels import YCBCR

Size = tuple[int, int]  # height, width
TURNED = {1: [], 2: ["hflip"], 3: ["hflip", "vflip"], 4: ["vflip"]}  # by orientation, as EXIF counts
TURNED |= {5 + k: [f"transpose={way}"] for k, way in enumerate(("cclock_flip", "clock", "clock_flip", "cclock"))}
HDR = (16, 18)  # transfer characteristics of ITU-R BT.2100, PQ and HLG, as ITU-T H.273 numbers them (table 3)
NOT_SAID, BT2020 = 2, 9  # primaries, as there (table 2)
SMOOTH = "flags=bilinear+accurate_rnd+full_chroma_int:threads=1"  # a triangle as wide as a pixel: no aliasing


class Scaler:
    """Bring the pictures of one video to several sizes.

    Args:
        stored: height and width of a picture as stored; one of another size is brought to it first.
        box: (top, bottom, left, right) of what is kept, in pixels of the upright picture.
        sizes: what is kept is squeezed to each of these.
        grey: one channel, else three (RGB).
        orientation: how pictures are stored, from 1 (upright) to 8, as EXIF counts.
    """

    def __init__(
        self, stored: Size, box: tuple[int, int, int, int], sizes: Sequence[Size], grey: bool, orientation: int = 1
    ):
        top, bottom, left, right = box
        self.stored, self.sizes, self.grey = tuple(stored), list(sizes), grey
        self.steps = [*TURNED[orientation], f"crop={right - left}:{bottom - top}:{left}:{top}:exact=1"]
        self._taken: tuple[int, int, str, bool] | None = None  # width, height, format, HDR that the filters are for
        self._graph: av.filter.Graph  # made by ``_configure``
        self._sinks: list[FilterContext] = []

    def __call__(self, frame: av.VideoFrame) -> list[np.ndarray]:
        """The picture at each size: uint8 (C, H, W), of standard range if it is high dynamic range."""
        taken = (frame.width, frame.height, frame.format.name, frame.color_trc in HDR)
        if taken != self._taken:  # the first, or one that differs: a video may change on the way
            self._configure(*taken)
        self._graph.push(frame)
        pictures = [cast(av.VideoFrame, sink.pull()) for sink in self._sinks]
        if taken[3]:
            return [_of_standard_range(picture, self.grey) for picture in pictures]
        arrays = [picture.to_ndarray() for picture in pictures]
        return [x[None] if self.grey else x.transpose(2, 0, 1) for x in arrays]

    def _configure(self, width: int, height: int, stored: str, hdr: bool) -> None:
        self._taken, self._graph, self._sinks = (width, height, stored, hdr), av.filter.Graph(), []
        last = self._graph.add("buffer", f"video_size={width}x{height}:pix_fmt={stored}:time_base=1/1:pixel_aspect=1/1")
        if (height, width) != self.stored:
            last = self._linked(last, f"scale={self.stored[1]}:{self.stored[0]}:{SMOOTH}")
        for step in self.steps:
            last = self._linked(last, step)
        split = self._linked(last, f"split={len(self.sizes)}")
        for k, (height, width) in enumerate(self.sizes):
            last = self._linked(split, f"scale={width}:{height}:{SMOOTH}", k)
            form = "gbrp12le" if hdr else "gray" if self.grey else "rgb24"
            last = self._linked(last, f"format={form}")
            self._sinks.append(self._linked(last, "buffersink"))
        self._graph.configure()

    def _linked(self, last: FilterContext, step: str, output: int = 0) -> FilterContext:
        name, _, options = step.partition("=")
        new = self._graph.add(name, options or None)
        last.link_to(new, output)
        return new


def _of_standard_range(picture: av.VideoFrame, grey: bool) -> np.ndarray:
    """A picture of high dynamic range as BT.709 shows it, uint8 (1 or 3, H, W): FFmpeg's gamut and tone mapping."""
    if picture.color_primaries == NOT_SAID:
        picture.color_primaries = BT2020
    with _MAPPING:
        graph, sink = _mapping(picture.width, picture.height, picture.color_trc, picture.color_primaries)
        graph.push(picture)
        colours = cast(av.VideoFrame, sink.pull()).to_ndarray().transpose(2, 0, 1)
    return np.tensordot(YCBCR[0], colours, 1).round().astype(np.uint8)[None] if grey else colours


_MAPPING = threading.Lock()


@functools.cache
def _mapping(width: int, height: int, transfer: int, primaries: int) -> tuple[av.filter.Graph, FilterContext]:
    """Made once for a process: FFmpeg computes a table of colours for it, which takes seconds."""
    graph = av.filter.Graph()
    last = graph.add("buffer", f"video_size={width}x{height}:pix_fmt=gbrp12le:time_base=1/1:pixel_aspect=1/1")
    wanted = "out_primaries=bt709:out_transfer=bt709:threads=1"
    for name, options in (("scale", wanted), ("format", "rgb24"), ("buffersink", None)):
        new = graph.add(name, options)
        last.link_to(new)
        last = new
    graph.configure()
    return graph, last
