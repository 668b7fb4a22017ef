"""A finished pair, tokenizer and prior, with all that their cards say of making clips."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from vg import checkpoints
from vg.data import FrameStore, film, joined, open_store, traits, videos
from vg.data.beginning import first_frames
from vg.data.decode import FPS
from vg.data.pixels import covering, middle
from vg.models import Prior, TubeletTokenizer
from vg.profiles import device
from vg.sampling import SAMPLING
from vg.sampling.options import GUIDANCE
from vg.sampling.video import fitted


@dataclass(frozen=True)
class Pair:
    """What ``open_pair`` gives.

    Attributes:
        name: of the shipped prior, or of the experiment's folder.
        tokenizer, prior: on the device.
        scenes: names of the labels.
        options: of ``vg.sampling.generate``, as the pair is best sampled.
        guidance: towards a label.
        fps: frames a second.
        data: how its film was read, as the experiment has it; empty for a shipped pair.
        shape: height and width of its film in pixels.
    """

    name: str
    tokenizer: TubeletTokenizer
    prior: Prior
    scenes: list[str]
    options: dict[str, float]
    guidance: float
    fps: float
    data: dict
    shape: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its clips in pixels."""
        (_, tall, wide), (h, w) = self.tokenizer.tubelet, self.prior.grid
        return h * tall, w * wide

    @property
    def grey(self) -> bool:
        return self.tokenizer.config.channels == 1

    def label(self, scene: str) -> int:
        """The label of a scene.

        Raises:
            ValueError: if there is none of that name; the message lists those that there are.
        """
        if scene not in self.scenes:
            raise ValueError(f"There is no scene {scene!r}. There are: {', '.join(self.scenes) or 'none with a name'}.")
        return self.scenes.index(scene)

    def store(self) -> FrameStore | None:
        """The film that it was trained on, or of a shipped pair the cartoon that stands for it; None if it is gone.

        Where its clips have another shape, frames that are larger, of which ``vg.data.pixels.middle`` is to be taken.
        """
        size = covering(self.shape, self.size)
        how: dict[str, Any] = {"size": size, "fps": self.fps, "grey": self.grey, "frames": self.data.get("frames")}
        films, restore = self.data.get("film", []), self.data.get("restore")
        if not films:
            return open_store(film(download=False), restore=restore, **how)
        if not all(Path(each).exists() for each in films):
            return None
        sources = videos(films, announced=False)
        old = [traits(source).old if restore is None else restore for source in sources]
        return joined([open_store(source, restore=each, **how) for source, each in zip(sources, old)])

    def still(self, label: int) -> Tensor | None:
        """A frame from the middle of a scene, (1, C, 1, H, W), where the film is at hand."""
        store = self.store()
        if store is None or len(store.shots) != len(self.scenes):
            return None
        at = sum(store.shots[label]) // 2
        return middle(store.clip(at, at + 1), self.size)

    def first_frames(self, path: Path, count: int, end: bool = False) -> Tensor:
        """The first or the last frames of a video, or a picture, at the pair's size; of another shape the middle.

        Returns:
            (1, C, up to ``count``, H, W).
        """
        return first_frames(path, self.size, count, self.fps, self.grey, end)

    def at(self, size: tuple[int, int] | None) -> "Pair":
        """The pair for clips of another height and width; itself without one.

        Raises:
            ValueError: if its prior makes one shape only, or the size is not whole tubelets.
        """
        return replace(self, prior=fitted(self.prior, self.tokenizer, size, None))


def open_pair(name: str) -> Pair:
    """A pair by the name of a shipped prior, ``prior-64``, or by the folder of an experiment.

    Raises:
        FileNotFoundError: if there is none.
        BadCheckpoint: if it is damaged.
    """
    found = find_pair(name)
    if missing := {"tokenizer", "prior"} - found.keys():
        raise FileNotFoundError(f"{name} has no {' and no '.join(sorted(missing))} yet. Train it to its end.")
    models = {part: checkpoints.load(*at, device()) for part, at in found.items()}
    facts = checkpoints.card(*found["prior"]).facts
    made_by = facts.get("experiment", {})
    measured = facts.get("metrics", {}).get("generated", {}).get("sampling")  # cards without an experiment have these
    sampling, data = made_by.get("sampling") or measured or SAMPLING, made_by.get("data", {})
    (_, tall, wide), (h, w) = models["tokenizer"].tubelet, models["prior"].grid
    return Pair(
        Path(name).name,
        models["tokenizer"],
        models["prior"],
        facts.get("scenes", []),
        {name: sampling[name] for name in SAMPLING},
        sampling.get("guidance", GUIDANCE),
        data.get("fps", FPS),
        data,
        (h * tall, w * wide),
    )


def place_of(part: str, name: str) -> tuple[str, Path]:
    """A checkpoint's name and folder: of a part in the folder of an experiment, or of a shipped model."""
    return (part, Path(name)) if Path(name).is_dir() else (name, checkpoints.folder())


def find_pair(name: str) -> dict[str, tuple[str, Path]]:
    """The tokenizer and the prior that belong together: part -> a checkpoint's name and folder.

    Args:
        name: the folder of an experiment, or one of the shipped pair's names. An experiment that trained a prior alone
            has its tokenizer elsewhere, where its card says.

    Raises:
        FileNotFoundError: if there is neither.
    """
    found: dict[str, tuple[str, Path]]
    if Path(name).is_dir():
        found = {part: (part, Path(name)) for part in ("tokenizer", "prior") if part in checkpoints.names(name)}
        if "prior" in found and "tokenizer" not in found:
            use = checkpoints.card("prior", name).facts.get("experiment", {}).get("tokenizer", {}).get("use", "")
            found |= {"tokenizer": place_of("tokenizer", use)} if use else {}
        return found
    card = checkpoints.card(name)
    tokenizer = card.facts["tokenizer"]["name"] if card.model == "Prior" else name
    found = {"tokenizer": place_of("tokenizer", tokenizer)}
    for other in checkpoints.names():
        theirs = checkpoints.card(other)
        if theirs.model == "Prior" and theirs.facts["tokenizer"]["name"] == tokenizer:
            found["prior"] = (other, checkpoints.folder())
    return found
