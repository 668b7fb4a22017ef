"""A finished pair, tokenizer and prior, with all that their cards say of making clips."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from vg import checkpoints
from vg.data import FrameStore, film, open_store, traits, videos
from vg.data.beginning import first_frames
from vg.experiments.run import find_pair
from vg.models import Prior, TubeletTokenizer
from vg.profiles import device
from vg.sampling import sampling_defaults

GUIDANCE = 2.0  # towards a label
FPS = 12.0


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
        films: what it was trained on, where it was not Steamboat Willie.
    """

    name: str
    tokenizer: TubeletTokenizer
    prior: Prior
    scenes: list[str]
    options: dict[str, float]
    guidance: float
    fps: float
    films: list[str]

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
        """The film that it was trained on, or of a shipped pair the cartoon that stands for it; None if it is gone."""
        if not self.films:
            return open_store(film(download=False), size=self.size, fps=self.fps, grey=self.grey)
        if not all(Path(each).exists() for each in self.films):
            return None
        source = videos(self.films)[0]
        return open_store(source, size=self.size, fps=self.fps, grey=self.grey, restore=traits(source).old)

    def still(self, label: int) -> Tensor | None:
        """A frame from the middle of a scene, (1, C, 1, H, W), where the film is at hand."""
        store = self.store()
        if store is None or len(store.shots) != len(self.scenes):
            return None
        middle = sum(store.shots[label]) // 2
        return store.clip(middle, middle + 1)

    def first_frames(self, path: Path, count: int) -> Tensor:
        """The first frames of a video, or a picture, squeezed to the pair's size: (1, C, up to ``count``, H, W)."""
        return first_frames(path, self.size, count, self.fps, self.grey)


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
    sampling, data = made_by.get("sampling"), made_by.get("data", {})
    options = sampling_defaults(models["prior"])
    if sampling:
        options = {key: sampling[key] for key in ("temperature", "top_p", "history")}
    return Pair(
        Path(name).name,
        models["tokenizer"],
        models["prior"],
        facts.get("scenes", []),
        options,
        sampling["guidance"] if sampling else GUIDANCE,
        data.get("fps", FPS),
        data.get("film", []),
    )
