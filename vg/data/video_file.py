"""A video file opened with care: which of its streams is the video, and what it may ask for.

What a stranger's file declares is checked before memory is taken. The limits are constants; to raise one, set it here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

MOST_PIXELS = 2**26  # of a picture: 8192x8192
POINTERS = {"concat", "concatf", "dash", "hls", "imf", "lavfi", "rtsp", "sdp", "webm_dash_manifest"}  # to other files
COPY = "Copy it again."


class BadVideo(ValueError):
    """A file that holds no video that can be read. The message says what is wrong and what to do."""


def quiet_threads() -> None:
    """Have FFmpeg's threads say nothing. To be called before a decoder or an encoder is made.

    What a thread says PyAV may take to Python, where it waits for the interpreter, which waits for the thread when the
    decoder is freed: for good. PyAV leaves that off, but older versions of torchvision switch it on.
    """
    av.logging.set_level(None)


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """An error of the disk, inside, becomes a ``BadVideo`` that names the file, and not what is written meanwhile."""
    try:
        yield
    except OSError as problem:
        raise BadVideo(
            f"{path} cannot be read ({problem.strerror or problem}). See whether it is still there, its disk is sound, "
            "and you may read it."
        ) from problem


@contextmanager
def opened(path: str | Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A file and its video stream: not its cover art, and of several the one that is marked as default.

    Raises:
        BadVideo: if it cannot be opened or read, holds no video, or pictures of more than ``MOST_PIXELS``.
    """
    formats = ",".join(sorted(av.formats_available - POINTERS))
    options = {"format_whitelist": formats, "protocol_whitelist": "file", "max_pixels": str(MOST_PIXELS)}
    quiet_threads()
    try:
        file = av.open(str(path), metadata_errors="ignore", options=options)
    except (av.error.FFmpegError, ValueError) as problem:  # ValueError: a name with a zero byte
        raise BadVideo(
            f"{path} cannot be read as a video ({getattr(problem, 'strerror', problem)}). Give a video file, such as "
            "an MP4, and if it is one, see whether it was copied whole."
        ) from problem
    with file, reading(path):
        yield file, _stream(path, file)


def decoder_options(careful: bool = False) -> dict[str, str]:
    """For FFmpeg's decoders: the limit, and whether they report what they could conceal."""
    return {"max_pixels": str(MOST_PIXELS)} | ({"err_detect": "explode"} if careful else {})


def packets(file: InputContainer, *streams: Stream) -> Iterator[av.Packet]:
    """The packets of some streams, or of all, each ended by an empty one without time stamps."""
    try:
        yield from file.demux(*streams)
    except IndexError:  # at the very end PyAV stumbles over streams that appeared on the way (broadcasts)
        return


def time_base(stream: Stream) -> Fraction:
    """Seconds that a tick of a stream's time stamps lasts.

    Raises:
        BadVideo: if it has none. FFmpeg gives one to every stream of a file.
    """
    if stream.time_base is None:
        raise BadVideo(f"a {stream.type} stream has no time base. {COPY}")
    return stream.time_base


def _stream(path: str | Path, file: InputContainer) -> VideoStream:
    aside = Disposition.attached_pic | Disposition.timed_thumbnails
    videos = [stream for stream in file.streams.video if not stream.disposition & aside]
    if not videos:
        held = ["cover art" if stream.type == "video" else stream.type for stream in file.streams]
        only = ", ".join(dict.fromkeys(held)) or "nothing"
        raise BadVideo(f"{path} holds no video, only {only}. Give a video file, such as an MP4.")
    if len(videos) > 1 and any(stream.disposition & Disposition.dependent for stream in videos):
        raise BadVideo(f"{path} is a picture in tiles, each a stream of its own. Save it as PNG or JPEG.")
    likely = file.streams.best("video")  # FFmpeg's choice: more pixels, more frames
    likely = likely if likely in videos else videos[0]
    stream = next((stream for stream in videos if stream.disposition & Disposition.default), likely)
    if stream.codec_context is None:
        raise BadVideo(f"{path} holds a video in a codec that FFmpeg cannot decode. Convert it to MP4 (H.264).")
    height, width = stream.codec_context.height, stream.codec_context.width
    if height * width > MOST_PIXELS:
        raise BadVideo(
            f"{path} says that its pictures have {height}x{width} pixels; up to {MOST_PIXELS:,} are read. Make it "
            "smaller, or raise vg.data.video_file.MOST_PIXELS."
        )
    return stream
