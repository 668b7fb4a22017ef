"""Where pixels come from: the film, a video of your own, or the cartoon that is drawn here."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from vg import paths
from vg.data import download as net
from vg.data.video_file import reading
from vg.profiles import profile
from vg.synthetic import cartoon

ITEM = "steamboat-willie-mickey"  # https://archive.org/details/steamboat-willie-mickey
STEM = "steamboat_willie"
SUFFIXES = (*net.VIDEO_SUFFIXES, ".mts", ".m2ts", ".ts", ".3gp", ".wmv", ".flv", ".vob", ".mxf", ".dv")  # in folders


@dataclass(frozen=True)
class Source:
    """A source of frames.

    Attributes:
        name: ``film``, ``cartoon``, or the stem of a video's file name.
        path: the video file; None for the cartoon, which has none.
        old: whether the picture flickers and sways as old film does, and so is restored by default.
        note: what it is, in a few words.
    """

    name: str
    path: Path | None
    old: bool
    note: str

    @cached_property
    def sha256(self) -> str:
        """Hex digest that changes when the pixels do: of the file, or of the code that draws the cartoon."""
        if self.path is not None:
            with reading(self.path):
                return net.digest(self.path, "sha256")
        return cartoon.code_sha256()

    def describe(self) -> str:
        """One line for a notebook to print: name, what it is, where it lies, how big."""
        if self.path is None:
            return f"{self.name}: {self.note}"
        return f"{self.name}: {self.note}, {_short(self.path)} ({net.megabytes(self.path.stat().st_size)})"


def film(download: bool = True, base: str = net.ARCHIVE) -> Source:
    """Steamboat Willie: found on disk, else downloaded, else replaced by the cartoon, which is announced.

    It is looked for in ``$VG_DATA`` and then in ``data/``: ``steamboat_willie`` with a video suffix first
    (.mp4 before .mkv before .mov and so on, as in ``VIDEO_SUFFIXES``), then, by name, any other video with
    "steamboat" in its name. A download goes to ``data/``. Profile ``smoke`` always has the cartoon.

    Args:
        download: False to never touch the network.
        base: address of the Internet Archive (tests put a local server here).

    Raises:
        FileNotFoundError: if ``$VG_DATA`` names no folder.
        DownloadError: if a download that had begun cannot be finished. The message says what to do.
    """
    if profile().name == "smoke":
        return _cartoon_because("VG_PROFILE is smoke")
    for folder in _folders():
        found = find_film(folder)
        if found:
            return _film(found)
    if not download:
        return _cartoon_because("the film is not on disk and download=False")
    try:
        remote = net.archive_file(ITEM, like="steamboat", base=base)
        target = paths.download_dir() / (STEM + Path(remote.name).suffix.lower())
        return _film(net.fetch(remote, target))
    except (net.Unreachable, net.MissingItem) as problem:
        return _cartoon_because(f"the film is not on disk and cannot be downloaded: {problem}")


def video(path: str | os.PathLike) -> Source:
    """A video file of your own, colour or grey, in any form that FFmpeg reads.

    Raises:
        FileNotFoundError: if there is no such file; the message lists the videos in its folder.
        IsADirectoryError: if it is a folder.
        PermissionError: if it may not be read.
        ValueError: if its name is no text.
    """
    path = Path(path).expanduser().absolute()
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder. Give one video file. {_videos_in(path)}")
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}. {_videos_in(path.parent)}")
    if not os.access(path, os.R_OK):
        raise PermissionError(f"{path} is there but may not be read. Check its permissions.")
    if any("\ud800" <= each <= "\udfff" for each in path.stem):
        raise ValueError(f"{str(path)!a} has a name that is no UTF-8, and cannot be written down. Rename it.")
    return Source(name=path.stem, path=path, old=False, note="a video of your own")


def drawn_cartoon() -> Source:
    """The cartoon drawn by ``vg.synthetic.cartoon``: no file, no network."""
    return Source(name="cartoon", path=None, old=False, note="drawn by vg.synthetic.cartoon")


def find_film(folder: Path) -> Path | None:
    """The film's file in ``folder``, in the order that ``film`` documents; None if there is none."""
    if not folder.is_dir():
        return None

    named = [p for p in videos_in(folder) if "steamboat" in p.name.lower()]
    exact = {p.suffix.lower(): p for p in reversed(named) if p.stem.lower() == STEM}
    return next((exact[suffix] for suffix in net.VIDEO_SUFFIXES if suffix in exact), next(iter(named), None))


def _film(path: Path) -> Source:
    return Source(name="film", path=path, old=True, note="Steamboat Willie (1928)")


def _cartoon_because(reason: str) -> Source:
    print(f"Drawing the cartoon instead of the film: {reason.rstrip('.')}.")
    return drawn_cartoon()


def _folders() -> list[Path]:
    """``$VG_DATA``, then ``data/``, each once."""
    if not paths.data_dir().is_dir() and paths.data_dir() != paths.download_dir():
        raise FileNotFoundError(
            f"VG_DATA is {os.environ['VG_DATA']!r}, which is no folder. Correct it, or unset it to use data/."
        )
    return list(dict.fromkeys([paths.data_dir(), paths.download_dir()]))


def videos_in(folder: Path) -> list[Path]:
    """The video files of a folder, by name; hidden ones left out."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.name[0] != "." and p.is_file())


def _videos_in(folder: Path) -> str:
    if not folder.is_dir():
        return f"Its folder {folder} does not exist either."
    names = [p.name for p in videos_in(folder)]
    if not names:
        return f"{folder} holds no videos."
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"Videos in {folder}: {', '.join(names[:5])}{more}."


def _short(path: Path) -> str:
    """A path as a reader knows it: from ``$VG_DATA``, from the repository, or from home."""
    for name, folder in (("$VG_DATA", paths.data_dir()), ("", paths.root()), ("~", Path(os.path.expanduser("~")))):
        if path.is_relative_to(folder) and (name != "$VG_DATA" or os.environ.get("VG_DATA")):
            return (Path(name) / path.relative_to(folder)).as_posix()
    return str(path)
