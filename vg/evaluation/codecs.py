"""Real video codecs as a yardstick: a clip through H.264, VP9 or AV1 and back, with its bits counted.

    coded = code(frames, "av1", quality=40)     # uint8 (T, H, W)
    coded.payload_bits, coded.header_bits, coded.frames

Each clip is a stream of its own: one key frame, then whatever the encoder likes. Encoders run at their slowest sensible
setting, tuned for PSNR where they ask for what, and in one pass: PyAV has no way to hand over what a first pass found
out, without which VP9 makes no hidden reference frames. Pixels go in and come out as luma of the full range, 0 to 255:
no conversion of colours, and constant chroma.
"""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import av
import numpy as np
import torch
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import ColorRange
from torch import Tensor

from vg.data.pixels import to_uint8, to_unit
from vg.data.video_file import quiet_threads

FPS = Fraction(12)  # encoders weigh frames by it


class MissingCodec(RuntimeError):
    """This build of PyAV has no such encoder or decoder."""


@dataclass(frozen=True)
class Coded:
    """A clip that went through a codec.

    Attributes:
        frames: what came back, uint8 (T, H, W).
        payload_bits: of the pictures' own data: slices, VP9 frames, AV1 frames and tile groups. Each begins with a
            header of its own, which is counted here. VP9's and AV1's are made for large pictures: code a clip of
            plain grey to see what they cost.
        header_bits: of everything else in the stream: parameter sets, x264's note of its version and settings, start
            codes, the headers of AV1's units, VP9's index of hidden frames. No container is counted.
    """

    frames: np.ndarray
    payload_bits: int
    header_bits: int


@dataclass(frozen=True)
class Codec:
    """How to run a codec.

    Attributes:
        encoder, decoder: FFmpeg's names.
        qualities: the best and the worst constant-quality number, lower is better. Neither is lossless.
        settings: from a quality, or None for an exact copy, to the encoder's options.
        payload: from a packet to the number of its bytes that are the pictures' own data.
    """

    encoder: str
    decoder: str
    qualities: tuple[int, int]
    settings: Callable[[int | None], dict[str, str]]
    payload: Callable[[bytes], int]


def h264_payload(packet: bytes) -> int:
    """Bytes of slices in an Annex B stream (ITU-T H.264, 7.3.1 and table 7-1), start codes not counted."""
    units = re.split(rb"\x00{2,}\x01", packet)[1:]
    return sum(len(unit) for unit in units if unit[0] & 31 in (1, 2, 3, 4, 5))


def vp9_payload(packet: bytes) -> int:
    """Bytes of frames; VP9 writes its headers into each of them. Not counted: a superframe's index (VP9, annex B)."""
    last = packet[-1]
    if last & 0xE0 != 0xC0:
        return len(packet)
    index = 2 + ((last >> 3 & 3) + 1) * ((last & 7) + 1)
    return len(packet) - index if len(packet) > index and packet[-index] == last else len(packet)


def av1_payload(packet: bytes) -> int:
    """Bytes of frames, frame headers and tile groups (AV1, 5.3 and 6.2.2), without the units' own headers."""
    total = at = 0
    while at < len(packet):
        kind, extended, sized = packet[at] >> 3 & 15, packet[at] >> 2 & 1, packet[at] >> 1 & 1
        at += 1 + extended
        size, shift = (0, 0) if sized else (len(packet) - at, 0)
        while sized:  # little-endian, seven bits a byte
            sized, size, shift = packet[at] >> 7, size | (packet[at] & 127) << shift, shift + 7
            at += 1
        total += size if kind in (3, 4, 6) else 0
        at += size
    return total


def _h264_settings(quality: int | None) -> dict[str, str]:
    plain = {"preset": "veryslow", "x264-params": "asm=0"}  # its vector code reads beside pictures as small as 64x64
    return plain | ({"qp": "0"} if quality is None else {"tune": "psnr", "crf": str(quality)})


def _vp9_settings(quality: int | None) -> dict[str, str]:
    slow = {"b": "0", "deadline": "best", "cpu-used": "0", "lag-in-frames": "25"}
    if quality is None:
        return slow | {"lossless": "1"}
    return slow | {"crf": str(min(quality, 63)), "qmin": str(quality - 10 if quality > 63 else 0), "qmax": "63"}


def _av1_settings(quality: int | None) -> dict[str, str]:
    exact = "lossless=1" if quality is None else f"crf={quality}"  # SVT's own: FFmpeg's ends at 63
    return {"preset": "0", "svtav1-params": f"tune=1:lp=1:{exact}"}  # tuned for PSNR, one thread


CODECS = {
    "h264": Codec("libx264", "h264", (1, 51), _h264_settings, h264_payload),
    "vp9": Codec("libvpx-vp9", "vp9", (1, 73), _vp9_settings, vp9_payload),
    "av1": Codec("libsvtav1", "libdav1d", (1, 70), _av1_settings, av1_payload),
}
"""VP9's qualities end at 63, where small pictures still cost much: it makes key frames finer than asked for. From 64 on
that is taken back step by step, until at 73 every frame is as coarse as can be."""


def available() -> list[str]:
    """Those of ``CODECS`` that this build of PyAV can run."""
    return [name for name, codec in CODECS.items() if {codec.encoder, codec.decoder} <= av.codecs_available]


def code(frames: np.ndarray | Tensor, codec: str, quality: int | None) -> Coded:
    """Encode a clip of grey frames and decode it again.

    Args:
        frames: uint8 (T, H, W). Odd heights and widths are padded by repeating the edge, and cropped back.
        codec: one of ``CODECS``.
        quality: the codec's constant-quality number (CRF), lower is better, within ``CODECS[codec].qualities``;
            None for an exact copy. The scales of two codecs have nothing to do with each other.

    Raises:
        ValueError: for an unknown codec, a quality out of range, or frames of another shape or dtype.
        MissingCodec: if this build of PyAV lacks the encoder or the decoder.
    """
    how = _find(codec, quality)
    frames = np.asarray(frames)
    if frames.ndim != 3 or frames.dtype != np.uint8 or 0 in frames.shape:
        raise ValueError(f"code: got {frames.dtype} {frames.shape}, expected uint8 frames (T, H, W).")
    packets = _encode(frames, how, quality)
    payload = sum(how.payload(bytes(packet)) for packet in packets)
    total = sum(packet.size for packet in packets)
    return Coded(_decode(packets, how, frames.shape), 8 * payload, 8 * (total - payload))


def code_clips(video: Tensor, codec: str, quality: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """Several clips, each a stream of its own, in the form that ``vg.evaluation`` takes.

    Args:
        video: float (B, 1, T, H, W) in [-1, 1].
        codec, quality: as for ``code``.

    Returns:
        the clips as decoded, float (B, 1, T, H, W) in [-1, 1]; bits of the payload and of the headers, int64 (B,).
    """
    if video.ndim != 5 or video.shape[1] != 1:
        raise ValueError(f"code_clips: got {tuple(video.shape)}, expected grey clips (B, 1, T, H, W).")
    coded = [code(frames[:, 0], codec, quality) for frames in to_uint8(video).cpu()]
    made = torch.from_numpy(np.stack([c.frames for c in coded]))[:, :, None]  # (B, T, 1, H, W)
    payload, headers = (torch.tensor([getattr(c, f"{kind}_bits") for c in coded]) for kind in ("payload", "header"))
    return to_unit(made), payload, headers


def _find(codec: str, quality: int | None) -> Codec:
    if codec not in CODECS:
        raise ValueError(f"codec is {codec!r}, expected one of {', '.join(CODECS)}.")
    how = CODECS[codec]
    for name in (how.encoder, how.decoder):
        if name not in av.codecs_available:
            can = ", ".join(available()) or "none of them"
            raise MissingCodec(
                f"{codec} needs {name}, which this build of PyAV ({av.__version__}) does not have. It can run {can}. "
                "Leave the codec out, or install PyAV from PyPI, whose wheels have all three: pip install -U av"
            )
    best, worst = how.qualities
    if quality is not None and not best <= quality <= worst:
        raise ValueError(f"quality is {quality}, but {codec} has {best} (best) to {worst}, or None for an exact copy.")
    return how


def _encode(frames: np.ndarray, how: Codec, quality: int | None) -> list[av.Packet]:
    """The packets of a clip, in the order of decoding."""
    os.environ.setdefault("SVT_LOG", "1")  # errors only: it writes twenty lines about each clip otherwise
    frames = np.pad(frames, [(0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2)], mode="edge")
    T, H, W = frames.shape
    quiet_threads()
    encoder = cast(VideoCodecContext, av.CodecContext.create(how.encoder, "w"))
    encoder.width, encoder.height, encoder.pix_fmt = W, H, "yuv420p"
    encoder.time_base, encoder.framerate = 1 / FPS, FPS
    encoder.color_range = ColorRange.JPEG  # 0 to 255
    encoder.gop_size, encoder.thread_count = T + 1, 1
    encoder.options = how.settings(quality)
    packets = []
    for number, luma in enumerate(frames):
        chroma = np.full((H // 2, W), 128, np.uint8)  # both planes, of a quarter each
        picture = av.VideoFrame.from_ndarray(np.concatenate([luma, chroma]), format="yuv420p")
        picture.pts, picture.time_base, picture.color_range = number, 1 / FPS, ColorRange.JPEG
        packets += encoder.encode(picture)
    return packets + encoder.encode(None)


def _decode(packets: Sequence[av.Packet], how: Codec, shape: tuple[int, int, int]) -> np.ndarray:
    """Luma as it was coded, uint8 of ``shape`` (T, H, W)."""
    quiet_threads()
    decoder = cast(VideoCodecContext, av.CodecContext.create(how.decoder, "r"))
    decoder.thread_count = 1
    pictures = [picture for packet in [*packets, None] for picture in decoder.decode(packet)]
    T, H, W = shape
    if len(pictures) != T:
        raise RuntimeError(f"{how.encoder} was given {T} frames, but {how.decoder} found {len(pictures)}.")
    planes = [picture.planes[0] for picture in sorted(pictures, key=lambda picture: cast(int, picture.pts))]
    rows = [np.frombuffer(p, np.uint8) for p in planes]  # type: ignore[call-overload]  # planes are buffers
    return np.stack([row.reshape(-1, plane.line_size)[:H, :W] for row, plane in zip(rows, planes)])
