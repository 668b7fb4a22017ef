"""The time stamps of a video file: whether its pictures come evenly, how long it is, and whether it is whole.

All of this is known without decoding a picture. A file that lasts for days or breaks off is found here.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.container import InputContainer
from av.format import Flags
from av.video.stream import VideoStream

from vg.data.video_file import COPY, BadVideo, opened, packets, time_base

LONGEST_HOLD = 3600.0  # seconds that one picture may stay on show
STEADY = 0.25  # of a frame: how far from its place in an even row a picture may be (some clocks count milliseconds)
JUMP = 10.0  # seconds ahead that are a break in the clock of a broadcast or of joined files (FFmpeg's threshold)
BACK = 1.0  # seconds back that are such a break
JOIN = 4  # packets around such a break that may look broken, since their counters break off too
MISSING = 0.25  # seconds that a header may promise too many, or
MISSING_SHARE = 0.002  # of the whole
TAIL = 188 * 10_000  # bytes of a transport stream in which its last picture is looked for
STATED = ("mov", "matroska", "avi", "flv", "asf")  # containers whose header says how long they are


@dataclass(frozen=True)
class Clock:
    """When the pictures of a video are shown.

    Attributes:
        rate: frames a second where the pictures come evenly, else None.
        end: seconds from the first picture to the end of the last one; None for a stream without time stamps.
        tick: seconds to which its time stamps are exact.
        joined: whether the clock may break off and go on elsewhere, as a broadcast's may.
        start: the time stamp in seconds of the first picture that can be decoded, where it need not be the first.
        broken: number, among the packets of the stream, of the first that is not whole, or None.
        damage: what is missing, as far as that can be known without decoding; or None.
    """

    rate: float | None
    end: float | None
    tick: float
    joined: bool
    start: float | None
    broken: int | None
    damage: str | None


@dataclass
class Unbroken:
    """Turns time stamps that break off and go on elsewhere into ones that go on; the break lasts one frame."""

    joined: bool
    offset: float = 0.0
    last: float | None = None

    def __call__(self, at: float, length: float) -> float:
        now = at + self.offset
        if self.joined and self.last is not None and not self.last - BACK < now < self.last + JUMP:
            self.offset += self.last + length - now
            now = self.last + length
        self.last = now
        return now


def scan(path: str | Path) -> Clock:
    """Read the time stamps of the whole file.

    Raises:
        BadVideo: if it is no video, has no pictures or no rate, or one of them stays longer than ``LONGEST_HOLD``.
    """
    with opened(path) as (file, stream):
        joined = bool(file.format.flags & cast(int, Flags.ts_discont.value))
        likely = [float(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate]
        seen = _gather(file, stream, joined, 1 / likely[-1] if likely else 0.0)
        damage = seen.damage or _short(file, stream, seen) or _cut_off(path, file, stream)
        tick = float(time_base(stream))
    if not seen.pictures:
        raise BadVideo(f"{path} has a video stream without frames. Is the file whole? {COPY}")
    if not seen.times:
        rate = 1 / seen.usual if seen.usual else next(iter(likely[::-1]), None)
        if rate is None:
            raise BadVideo(f"{path} does not say how many frames a second it has. Convert it to MP4.")
        return Clock(rate, None, tick, joined, None, seen.broken, damage)
    times = np.sort(seen.times)
    end = max(seen.end, times[-1] + _usual_gap(times, likely))
    hold = float(np.diff(times, append=end).max())
    if hold > LONGEST_HOLD:
        raise BadVideo(
            f"{path} says that one picture stays on show for {hold / 3600:.1f} hours. If it should not, {COPY.lower()} "
            "If it should, raise vg.data.clock.LONGEST_HOLD."
        )
    rate = steady_rate(times, end, likely)
    return Clock(rate, float(end - times[0]), tick, joined, seen.start, seen.broken, damage)


def steady_rate(times: np.ndarray, end: float, likely: list[float] | None = None) -> float | None:
    """Frames a second, if pictures shown from ``times`` on, the last one until ``end``, come evenly; else None.

    Args:
        times: seconds, sorted.
        end: seconds.
        likely: rates to try before the measured one, which time stamps of little exactness make crooked.
    """
    measured = [(len(times) - 1) / (times[-1] - times[0])] if times[-1] > times[0] else []
    for rate in (*(likely or []), *measured):
        places = (times - times[0]) * rate - np.arange(len(times))
        if np.ptp(places) <= 2 * STEADY and (end - times[-1]) * rate < 1.5:
            return float(rate)
    return None


def _usual_gap(times: np.ndarray, likely: list[float]) -> float:
    gaps = np.sort(np.diff(times))
    return float(gaps[(len(gaps) - 1) // 2]) if len(gaps) else 1 / likely[-1] if likely else 0.04


@dataclass
class _Seen:
    """What ``_gather`` found."""

    packets: int = 0
    pictures: int = 0
    times: list[float] = field(default_factory=list)  # of pictures, in order of decoding
    usual: float = 0.0  # seconds that a picture says to stay
    end: float = 0.0  # of the last picture
    start: float | None = None
    reached: float = 0.0  # by any stream, by the file's own clock
    broken: int | None = None
    damage: str | None = None


def _gather(file: InputContainer, stream: VideoStream, joined: bool, length: float) -> _Seen:
    """Demux the whole file; a picture that does not say how long it stays is given ``length``."""
    seen, unbroken = _Seen(), Unbroken(joined)
    now: float | None = None
    try:
        for packet in packets(file):
            if not packet.size and packet.dts is None:
                continue  # the end of a stream
            first = packet.dts if packet.dts is not None else packet.pts
            shown = packet.pts if packet.pts is not None else packet.dts
            tick, lasts = float(packet.time_base or 0), float((packet.duration or 0) * (packet.time_base or 0))
            if shown is not None:
                seen.reached = max(seen.reached, shown * tick + lasts)
            if packet.stream is not stream:
                continue
            offset = unbroken.offset
            if packet.is_corrupt and seen.broken is None:
                seen.broken = seen.packets
                seen.damage = f"is damaged after frame {seen.pictures} (a packet is not whole)"
            seen.packets += 1
            if packet.is_discard:
                continue
            if first is not None and shown is not None:  # it has both, or neither
                now = unbroken(first * tick, lasts or length) + (shown - first) * tick
            elif now is not None:
                now += lasts or length  # some containers give the first of several a time stamp
            if unbroken.offset != offset and seen.broken is not None and seen.packets - seen.broken <= JOIN:
                seen.broken = seen.damage = None
            _place(seen, packet, now, lasts, joined)
    except av.error.FFmpegError as problem:
        seen.damage = seen.damage or f"is damaged after frame {seen.pictures} ({problem.strerror})"
    return seen


def _place(seen: _Seen, packet: av.Packet, now: float | None, lasts: float, joined: bool) -> None:
    """Take down when a packet's picture is shown, if it can be decoded."""
    if joined and now is not None:
        seen.start = now if seen.start is None and packet.is_keyframe else seen.start
        if seen.start is None or now < seen.start:
            return
    seen.pictures += bool(packet.size)
    seen.usual = seen.usual or lasts
    if now is not None:
        seen.end = max(seen.end, now + lasts)
        seen.times += [now] * bool(packet.size)


def _short(file: InputContainer, stream: VideoStream, seen: _Seen) -> str | None:
    """Where the header promises more than has come: of the video, or where it does not say, of the longest stream."""
    if not file.format.name.startswith(STATED) or not seen.reached:
        return None
    reached, due = seen.reached, (file.duration or 0) / av.time_base  # from 0 or from its start, muxers differ
    if stream.duration is not None:
        reached = seen.end - float((stream.start_time or 0) * time_base(stream))
        due = float(stream.duration * time_base(stream))
    if due - reached > max(MISSING, MISSING_SHARE * due):
        return f"breaks off after {max(0.0, reached):.1f} of its {due:.1f} seconds"
    return None


def _cut_off(path: str | Path, file: InputContainer, stream: VideoStream) -> str | None:
    """Whether the file is smaller than Matroska or AVI say, or a transport stream ends within a picture."""
    size, due = Path(path).stat().st_size, 0
    with open(path, "rb") as raw:
        head = raw.read(4096)
        raw.seek(-min(size, TAIL), os.SEEK_END)
        tail = raw.read()
    if file.format.name.startswith("matroska"):
        due = _segment_end(head)
    elif file.format.name == "avi":
        due = 8 + int.from_bytes(head[4:8], "little")
    elif file.format.name == "mpegts" and (all(size % n for n in (188, 192, 204)) or _unfinished(tail, stream.id)):
        return "breaks off within a picture"
    return f"breaks off: {size:,} bytes of {due:,} are there" if size < due else None


def _unfinished(tail: bytes, pid: int) -> bool:
    """Whether the last packet of a stream is full to the brim, and so not the last of its picture.

    (The end of a picture is padded to 184 bytes by an adaptation field: ISO 13818-1, 2.4.3.5. One in 184 fits exactly.)
    """
    for at in range(len(tail) - 188, -1, -188):
        if tail[at] != 0x47:
            return False  # not of 188 bytes
        if int.from_bytes(tail[at + 1 : at + 3], "big") & 0x1FFF == pid:
            return tail[at + 3] >> 4 & 3 == 1
    return False


def _segment_end(head: bytes) -> int:
    """Where a Matroska file ends by its own account (RFC 8794, section 4, and RFC 9559, section 5.1), or 0."""
    at = head.find(b"\x18\x53\x80\x67") + 4
    if at < 4 or at >= len(head) or not head[at]:
        return 0
    length = 9 - head[at].bit_length()
    value = int.from_bytes(head[at : at + length], "big") & (1 << 7 * length) - 1
    return 0 if value == (1 << 7 * length) - 1 else at + length + value  # all ones: not known, a live recording
