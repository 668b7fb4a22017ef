"""The beginning of whatever file somebody has, a video or a picture, as a prompt."""

from pathlib import Path

from torch import Tensor

from vg.data import stills
from vg.data.decode import FPS
from vg.data.film_traits import traits
from vg.data.pixels import covering, middle, to_unit
from vg.data.sources import video
from vg.data.store import open_store
from vg.data.video_file import BadVideo


def first_frames(
    path: Path, size: int | tuple[int, int], count: int, fps: float = FPS, grey: bool = True, end: bool = False
) -> Tensor:
    """The first frames of a video, or a picture, at ``size``: (1, C, up to ``count``, H, W) in [-1, 1].

    Of a picture of another shape the middle is taken, undistorted (``vg.data.pixels.covering``). With ``end`` the last
    frames, for which all of the video is read. Of a picture that moves, as a GIF may, the first one counts if ``count``
    is 1; else it is a video.

    Raises:
        BadVideo, BadImages: if it is neither.
    """
    pictures = stills.pictures_in(path)
    if pictures and 1 in (pictures, count):
        return to_unit(stills.at_size(path, size, grey))[None]
    if pictures and path.suffix.lower() == ".webp":
        raise BadVideo(f"{path} is a WebP that moves, which FFmpeg does not decode. Save it as GIF or MP4.")
    source, size = video(path), (size, size) if isinstance(size, int) else size
    shape = traits(source)
    whole = covering((shape.height, shape.width), size)
    store = open_store(source, size=whole, fps=fps, grey=grey, frames=None if end else count)
    frames = len(store.frames)
    return middle(store.clip(max(0, frames - count), frames), size)
