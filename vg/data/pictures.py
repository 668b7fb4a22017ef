"""The pictures of a video file, decoded: all of them in order, or a few from all over it; upright."""

import os
import struct
from collections import deque
from collections.abc import Iterator
from itertools import chain, pairwise
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import SideData
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream
from PIL import Image

from vg.data.clock import Clock, Unbroken
from vg.data.video_file import COPY, BadVideo, decoder_options, opened, packets, time_base

SAMPLES = 24  # pictures from all over a file
OPENING = 2400  # frames from its beginning that are decoded where it cannot be searched
CAREFUL = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own decoders of these report next to no damage; 8 bits
BEGINNING = -(2**63)  # before all time stamps
ORIENTATION = 0x112  # EXIF's tag
# The signs of a display matrix (a, b; c, d) that takes a pixel (x, y) to (ax + cy, bx + dy), as EXIF counts them.
TURNS = {
    (1, 0, 0, 1): 1,
    (-1, 0, 0, 1): 2,
    (-1, 0, 0, -1): 3,
    (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5,
    (0, 1, -1, 0): 6,
    (0, -1, -1, 0): 7,
    (0, -1, 1, 0): 8,
}


def shown(path: str | Path, clock: Clock) -> Iterator[tuple[float, av.VideoFrame]]:
    """All pictures in the order of showing, with their times in seconds, the first one's 0.

    Of a video that was cut out of a longer one without being coded anew the first pictures may build on some that are
    gone: where nothing can be decoded otherwise, those that are shown before the first packet's are left out.

    Raises:
        BadVideo: at the first sign of damage, once what was sound before it is given: a packet that is not whole, a
            decoder that stumbles or says that a picture is corrupt, a clock that runs backwards, or an early end.

    Not all damage shows. Of random flipped bits that changed a picture 98% were seen in VP9, about 90% in H.264, 80% in
    MPEG-4 (tests/test_decode_damage.py). The others leave another valid stream, and codecs keep no checksum of their
    pictures. Nor can it be known that a broadcast was cut off between two pictures: it does not say how long it is.
    """
    begun = False
    try:
        for each in _shown(path, clock):
            begun = True
            yield each
    except BadVideo:
        if begun or clock.start is not None:
            raise
    else:
        return
    yield from _shown(path, clock, cut_out=True)


def _shown(path: str | Path, clock: Clock, cut_out: bool = False) -> Iterator[tuple[float, av.VideoFrame]]:
    count, now, unbroken = 0, 0.0, Unbroken(clock.joined)
    first: float | None = None
    with opened(path) as (file, stream):
        tick = time_base(stream)
        for frame in _decoded(file, stream, clock, cut_out):
            if isinstance(frame, str):
                raise BadVideo(f"{path} is damaged after frame {count} ({frame}). {COPY}")
            before, usual = now, 1 / (clock.rate or 25.0)
            if frame.pts is None:
                now = before + usual if count else 0.0
            else:
                at = unbroken(float(frame.pts * tick), usual)  # (PyAV's frame.time misses held back ones)
                first = at if first is None else first
                now = at - first if clock.rate is None else round((at - first) * clock.rate) / clock.rate
            if now < before and not clock.joined:
                raise BadVideo(f"{path} is damaged after frame {count} (its clock runs backwards). {COPY}")
            now = max(now, before)
            yield now, frame
            count += 1
    if clock.damage:
        raise BadVideo(f"{path} {clock.damage}. {COPY}")


def _decoded(file: InputContainer, stream: VideoStream, clock: Clock, cut_out: bool) -> Iterator[av.VideoFrame | str]:
    """Frames; at last, perhaps, what stopped the decoder, in words."""
    decoder, began = _decoder(stream), False
    sent: deque[int | None] = deque(maxlen=64)
    damage: str | None = None
    try:
        for packet, lost in _to_decode(file, stream, clock, cut_out):
            if packet is None:
                damage = "a packet is not whole"
                break
            sent.append(packet.pts)
            for frame in decoder.decode(packet if packet.size else None):
                if lost is not None and frame.pts is not None and frame.pts >= lost:
                    return  # shown after a picture that is lost
                if frame.is_corrupt and clock.joined and not began:
                    continue  # it builds on pictures before the first
                if frame.is_corrupt:
                    yield "a picture is corrupt"
                    return
                began = True
                yield frame
    except av.error.FFmpegError as problem:
        damage = problem.strerror
    if damage:
        yield from _sound_before(decoder, sent)
        yield damage


def _to_decode(
    file: InputContainer, stream: VideoStream, clock: Clock, cut_out: bool
) -> Iterator[tuple[av.Packet | None, int | None]]:
    """Packets from the first that can be decoded on, and an empty one for the end, or None for one that is not whole.

    Of a file that breaks off the last packet may not be whole, and is left out. With the end comes its decoding time:
    what it and the lost ones after it hold is not shown before.
    """
    begun = led = clock.start is None and not cut_out
    start, lost = clock.start, cast(int | None, None)
    following: Iterator[av.Packet | None] = chain(packets(file, stream), [None])
    for number, (packet, after) in enumerate(pairwise(following)):
        if packet is None:
            return  # never: only the last has none after it
        if number == clock.broken:
            yield None, None
        if not packet.size and packet.dts is not None:
            continue  # the picture before it stays on show; a decoder would take it for the end of the stream
        last = after is None or (not after.size and after.dts is None)
        if clock.damage and packet.size and last:
            lost = BEGINNING if packet.dts is None else packet.dts
        elif led or (not begun and (packet.is_keyframe or cut_out)):
            if not begun and start is None and packet.pts is not None:
                start = float(packet.pts * time_base(stream))
            begun = True
            yield packet, lost
        elif begun and not _early(packet, start, clock.tick):  # these may build on some before the key frame
            led = True
            yield packet, lost


def _early(packet: av.Packet, start: float | None, tick: float) -> bool:
    if packet.pts is None:  # Matroska has no time before 0
        return start is not None and packet.dts is None
    return start is not None and packet.pts * packet.time_base < start - tick


def _decoder(stream: VideoStream) -> VideoCodecContext:
    decoder, name = stream.codec_context, CAREFUL.get(stream.codec_context.name)
    deep = decoder.format is not None and any(each.bits > 8 for each in decoder.format.components)
    if name in av.codecs_available and not deep:
        decoder = cast(VideoCodecContext, av.CodecContext.create(name, "r"))
    decoder.options = decoder_options(careful=True)
    decoder.thread_type = "AUTO"
    return decoder


def _sound_before(decoder: VideoCodecContext, sent: deque[int | None]) -> list[av.VideoFrame]:
    """What a decoder that stumbled holds back and was shown before the damage.

    Threads work on several packets at once, so that the damage lies in one of the last that were sent.
    """
    suspects = list(sent)[-1 - (decoder.thread_count or os.cpu_count() or 64) :]
    try:
        held = decoder.decode(None)
    except av.error.FFmpegError:
        return []
    times = [time for time in suspects if time is not None]
    if not times or len(times) < len(suspects):
        return []
    return [frame for frame in held if frame.pts is not None and frame.pts < min(times) and not frame.is_corrupt]


# --- a few of them ------------------------------------------------------------------------------------------


def samples(path: str | Path, clock: Clock) -> Iterator[tuple[np.ndarray, int]]:
    """Some grey pictures as they are stored, and their orientation; from the beginning if that is all there is."""
    seen, lies = set(), None  # the first picture's orientation: PyAV keeps each frame whose side data are looked at
    if clock.end:
        with opened(path) as (file, stream):
            _prepare(stream)
            start = float((stream.start_time or 0) * time_base(stream))
            for k in range(SAMPLES):
                try:
                    file.seek(int((start + clock.end * (k + 0.5) / SAMPLES) * av.time_base))
                    frame = next(_as_it_comes(file, stream))
                except (av.error.FFmpegError, StopIteration):
                    continue
                if frame.pts not in seen:
                    seen.add(frame.pts)
                    lies = lies or orientation(path, file, frame)
                    yield frame.to_ndarray(format="gray"), lies
    if len(seen) >= SAMPLES // 3:
        return
    with opened(path) as (file, stream):  # a search ends at key frames, of which there are too few
        _prepare(stream)
        try:
            for k, frame in enumerate(_as_it_comes(file, stream)):
                if k < OPENING // 10 or k % 10 == 0:
                    lies = lies or orientation(path, file, frame)
                    yield frame.to_ndarray(format="gray"), lies
                if k == OPENING:
                    return
        except av.error.FFmpegError:
            return


def _as_it_comes(file: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    return (f for packet in packets(file, stream) if packet.size or packet.dts is None for f in packet.decode())


def _prepare(stream: VideoStream) -> None:
    stream.codec_context.options = decoder_options()
    stream.thread_type = "AUTO"


# --- the right way up ---------------------------------------------------------------------------------------


def orientation(path: str | Path, file: InputContainer, frame: av.VideoFrame) -> int:
    """How a picture lies, from 1 (as it is shown) to 8, as EXIF counts."""
    if (
        file.format.name.endswith("_pipe") or file.format.name == "image2"
    ):  # a still, which FFmpeg need not know to turn
        try:
            with Image.open(path) as still:
                value = still.getexif().get(ORIENTATION, 1)
        except OSError:
            value = 1
        return value if value in range(1, 9) else 1
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # side data that PyAV has no name for
        return {90: 8, -90: 6, 180: 3, -180: 3}.get(round(frame.rotation / 90) * 90, 1)
    if matrix is None:
        return 1
    a, b, _, c, d = struct.unpack("5i", bytes(cast(SideData, matrix))[:20])
    a, d, b, c = (a, d, 0, 0) if abs(a) + abs(d) >= abs(b) + abs(c) else (0, 0, b, c)
    a, b, c, d = (int(np.sign(n)) for n in (a, b, c, d))
    return TURNS.get((a, b, c, d), 1)


def upright(picture: np.ndarray, orientation: int) -> np.ndarray:
    """A picture (H, W) or (H, W, C) turned and mirrored as it is shown."""
    if orientation >= 5:
        picture = picture.swapaxes(0, 1)
    flips = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}
    return np.flip(picture, flips.get(orientation, ()))
