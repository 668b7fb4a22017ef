"""One picture file as uint8 pixels: RGB, upright, and checked as far as its format allows.

PNG has checksums, so no damage passes. JPEG, WebP, AVIF, GIF, BMP and TIFF have none: damage that leaves a file which
obeys its format gives other pixels, and only a checksum kept elsewhere (a zip has one of each picture) would tell.
"""

import io
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import av
import numpy as np
import torch
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from vg.data import decode as video
from vg.data.pixels import covering, middle
from vg.data.video_file import quiet_threads

SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".apng", ".webp", ".avif"),
    *(".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"),
)
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")  # not those that start other programs
MOVING = ("PNG", "WEBP", "GIF", "AVIF")  # of the others, further pictures are pages or previews
JPEG_VIDEOS = (".mjpeg", ".mjpg")  # nothing but one JPEG after the other
HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
BACKGROUND = (255, 255, 255)  # of pictures with transparent parts
FILE_BYTES = 1 << 28  # a larger picture file is refused; set it higher to read one. Its pixels: Image.MAX_IMAGE_PIXELS

SPARE = 8  # bytes between picture data and the next marker that are forgiven, since some cameras write them
MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")  # what ends a JPEG's entropy-coded data
SOS, EOI = 0xDA, 0xD9  # start of scan, end of image


class BadImages(ValueError):
    """Pictures that cannot be used: no archive, a broken picture, a folder without any."""


def still(path: Path, grey: bool = False) -> np.ndarray:
    """A picture file as uint8 (1, 3, H, W), or (1, 1, H, W) if ``grey``: whole, and the right way up.

    What is transparent becomes white, 16 bits become 8, and of a moving picture the first counts.

    Raises:
        BadImages: if it cannot be read; the message names it.
    """
    try:
        with opened(read_bytes(path)) as image:
            image = _rgb(ImageOps.exif_transpose(image))
            pixels = np.array(image.convert("L") if grey else image, np.uint8)
    except Exception as problem:  # Pillow has many, by format
        raise bad_picture(str(path), problem) from problem
    return np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1)[None])


def at_size(path: Path, size: int | tuple[int, int], grey: bool = True) -> torch.Tensor:
    """A picture file as a frame without black bars, uint8 (1, 1 or 3, H, W); of another shape the middle is taken."""
    pixels = still(path, grey=grey)
    top, bottom, left, right = video._box(pixels[0].max(0))
    size = (size, size) if isinstance(size, int) else size
    whole = covering((bottom - top, right - left), size)
    return middle(video.resized(torch.from_numpy(pixels[..., top:bottom, left:right]), whole), size)


def pictures_in(path: Path) -> int:
    """How many pictures a file holds, more than one if they move; 0 if it is no picture file, but perhaps a video."""
    if not path.is_file() or not os.access(path, os.R_OK) or path.suffix.lower() in JPEG_VIDEOS:
        return 0
    try:
        with warnings.catch_warnings(action="ignore"), path.open("rb") as file, _identified(file) as image:
            return getattr(image, "n_frames", 1) if image.format in MOVING else 1
    except Exception:  # a picture all the same, if its name or its first bytes say so: ``still`` has the reason
        return int(path.suffix.lower() in SUFFIXES or _is_heif(path))


def decode(data: bytes, size: int) -> np.ndarray:
    """A picture file as uint8 (3, size, size): RGB, the middle square of it, made smaller or larger.

    Grey is repeated, what is transparent becomes white, 16 bits become 8, of a moving picture the first counts,
    and a camera's note which side is up is heeded.
    """
    with opened(data) as image:
        image.draft("RGB", (2 * size, 2 * size))  # large JPEGs: decoded smaller, still twice what is needed
        image = _rgb(ImageOps.exif_transpose(image))
        if image.size != (size, size):
            side = min(image.size)
            left, top = ((n - side) // 2 for n in image.size)
            image = image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.LANCZOS)
        return np.ascontiguousarray(np.asarray(image, np.uint8).transpose(2, 0, 1))


def read_bytes(path: Path) -> bytes:
    """A picture file, unless it is too large for one."""
    if (size := path.stat().st_size) > FILE_BYTES:
        raise ValueError(too_large(size))
    return path.read_bytes()


def too_large(size: int) -> str:
    return f"it has {size / 1e6:.0f} MB, and {FILE_BYTES / 1e6:.0f} are allowed: vg.data.stills.FILE_BYTES"


def bad_picture(name: str, problem: Exception) -> BadImages:
    reason = str(problem) or type(problem).__name__
    return BadImages(f"{name} cannot be read as a picture ({reason}). Replace it or take it out.")


@contextmanager
def opened(data: bytes) -> Iterator[Image.Image]:
    """A picture, which the caller then decodes. What Pillow only warns of is an error, so is damage that it passes."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # damaged metadata, a file that ends too early
        warnings.simplefilter("error", RuntimeWarning)  # Image.MAX_IMAGE_PIXELS
        warnings.filterwarnings("ignore", "Palette images with Transparency")  # advice to programmers
        try:
            image = _identified(io.BytesIO(data))
        except UnidentifiedImageError as problem:
            if data[4:8] == b"ftyp":
                raise ValueError("it is HEIC or alike, of which only a part could be: save it as JPEG or PNG") from None
            raise ValueError("it is no picture, or its first bytes are damaged") from problem
        with image:
            if ImageFile.LOAD_TRUNCATED_IMAGES:
                pass  # somebody wants damaged pictures
            elif image.format == "PNG":
                with _identified(io.BytesIO(data)) as again:
                    again.verify()  # the checksum of the last piece of the pixels, which is not looked at otherwise
            elif image.format in ("JPEG", "MPO"):
                _check_jpeg(data)
            yield image


def _identified(file: IO[bytes]) -> Image.Image:
    Image.init()
    return Image.open(file, formats=[name for name in FORMATS if name in Image.OPEN])  # older Pillows have no AVIF


def _is_heif(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(12)
    return head[4:8] == b"ftyp" and head[8:] in HEIF


def _check_jpeg(data: bytes) -> None:
    """Raise ValueError for damage that libjpeg only warns of, since Pillow does not pass its warnings on.

    FFmpeg refuses wrong codes and data that ends too early. Neither of them minds picture data that goes on when
    the picture is complete, as it does when damage has made codes longer: so without its last bytes, which a sound
    picture cannot do without, it must be incomplete.
    """
    start, end = _last_scan(data)
    with Image.open(io.BytesIO(data[: max(start, end - SPARE - 1)]), formats=["JPEG", "MPO"]) as image:
        image.draft("L", (1, 1))  # the codes count, not the pixels
        try:
            image.load()
        except OSError:
            pass
        else:
            raise ValueError("its data goes on after the picture's end, so it is damaged")
    quiet_threads()
    codec = av.CodecContext.create("mjpeg", "r")
    codec.options = {"err_detect": "explode", "threads": "1"}
    try:
        codec.decode(av.Packet(data))
    except av.error.InvalidDataError:
        raise ValueError("its data is damaged") from None
    except av.error.FFmpegError:
        pass  # a kind of JPEG that FFmpeg does not know, such as some in CMYK


def _last_scan(data: bytes) -> tuple[int, int]:
    """Where the entropy-coded data of the last scan starts and ends, in bytes."""
    place, scan = 2, None
    while place + 4 <= len(data) and data[place] == 0xFF:
        if (marker := data[place + 1]) == EOI:
            break
        if marker == 0xFF:  # padding
            place += 1
            continue
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        if marker == SOS:
            if (found := MARKER.search(data, place)) is None:
                break
            scan = place, found.start()
            place = found.start()
    if scan is None or data[place + 1 : place + 2] != bytes([EOI]):
        raise ValueError("it breaks off, or is damaged between its parts")
    return scan


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of no known range: save it as PNG")
    if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip
        grey = np.asarray(image).astype(np.float64) / 257
        return Image.fromarray(grey.round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode not in ("RGBA", "RGBa", "LA", "La", "PA") and "transparency" not in image.info:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, (*BACKGROUND, 255)), image).convert("RGB")
