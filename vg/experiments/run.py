"""A run of an experiment: its folder, the models it begins with, and one part's way from ``fit`` to a checkpoint."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import torch
from torch import nn

from vg import checkpoints, paths, training
from vg.data import Source
from vg.evaluation.pair import find_pair, place_of
from vg.experiments.config import Experiment, ImageExperiment, digest, scaled, to_json
from vg.experiments.film import Footage, open_footage, open_sources
from vg.models.frozen import Freezable
from vg.models.tubelet import TubeletConfig
from vg.profiles import device
from vg.training import BatchSampler, History, Loss, Recipe, Trained, devices

# What a model that is borrowed for a part can be; for images it is what a prior's codes are of.
KINDS = {
    "images": ("VQVAE2",),
    "tokenizer": ("TubeletTokenizer",),
    "prior": ("Prior",),
    "features": ("ClipFeatures",),
    "figures": ("ClipFeatures",),
}

TIMED = 20  # steps, after which it says how long the training of a part will take


@dataclass(frozen=True)
class Part:
    """One trained model.

    Attributes:
        trained: what ``fit`` returned.
        facts: for its card.
        measure: what the model reaches, for the card's "metrics".
    """

    trained: Trained
    facts: dict
    measure: Callable[[Freezable], dict]


@dataclass
class Run:
    """An experiment under way.

    Attributes:
        experiment: what is trained.
        part: the part that is being trained.
        later: those that are trained after it.
    """

    experiment: Experiment | ImageExperiment
    part: str = ""
    later: tuple[str, ...] = ()

    @property
    def film_experiment(self) -> Experiment:
        """The experiment, where a film's models are trained."""
        return cast(Experiment, self.experiment)

    @property
    def image_experiment(self) -> ImageExperiment:
        """The experiment, where a model of images is trained."""
        return cast(ImageExperiment, self.experiment)

    @cached_property
    def sources(self) -> list[Source]:
        """The films."""
        return open_sources(self.film_experiment.data)

    @cached_property
    def name(self) -> str:
        return paths.shortened(self.experiment.name or self.sources[0].name)

    @cached_property
    def folder(self) -> Path:
        """Where everything is kept: named by the experiment and by a hash of all that it is made from."""
        films = [source.sha256 for source in self.sources] if isinstance(self.experiment, Experiment) else []
        models = {f"{key} {part}": checkpoints.card(*at).sha256 for (key, part), at in self.borrowed().items()}
        return paths.runs_dir() / f"{self.name}-{digest(self.experiment, films, models)}"

    @cached_property
    def footage(self) -> Footage:
        """The film, at a size that whole tokens fill."""
        multiple = (1, 1)
        if {"tokenizer", "prior", "figures"} & {*self.experiment.parts}:
            multiple = token_size(self)
        return open_footage(self.film_experiment.data, self.sources, multiple)

    def recipe(self, recipe: Recipe) -> Recipe:
        """At the experiment's scale and seed."""
        return scaled(recipe, self.experiment)

    def begin_with(self, part: str) -> Freezable | None:
        """The finished model of that part to train on from, or None."""
        at = self.borrowed().get(("begin", part))
        return checkpoints.load(*at, trainable=True) if at else None

    def finished(self, part: str) -> Freezable | None:
        """As ``load``, on every rank."""
        model = devices.on_first_rank(lambda: self.load(part, "cpu"))  # it goes to ranks that have other devices
        return model and model.to(device())

    def load(self, part: str, where: torch.device | str | None = None) -> Freezable | None:
        """A model that is done, frozen, on a device, else on what there is: this run's own, or the one it is to use."""
        at = self.borrowed().get(("use", part)) or ((part, self.folder) if self._is_done(part) else None)
        return checkpoints.load(*at, where or device()) if at else None

    def is_done(self, part: str) -> bool:
        """Whether a part is trained and measured."""
        return devices.on_first_rank(lambda: self._is_done(part))

    def _is_done(self, part: str) -> bool:
        return part in checkpoints.names(self.folder) and "metrics" in checkpoints.card(part, self.folder).facts

    def fit(
        self,
        model: nn.Module,
        loss: Loss,
        batches: BatchSampler,
        recipe: Recipe,
        evaluate: Callable[[nn.Module], dict[str, float]],
    ) -> Trained:
        """``vg.training.fit`` in this run's folder, where it goes on.

        Raises:
            KeyboardInterrupt: if it was stopped; its state is kept, and nothing half-trained gets a card.
        """
        trained = training.fit(
            model, loss, batches, recipe, folder=self.folder / "states" / self.part, evaluate=evaluate,
            every=measured_every(recipe.steps), plot=_Clock(self, recipe.steps),
        )  # fmt: skip
        if trained.stopped:
            raise KeyboardInterrupt
        return trained

    def save(self, part: Part) -> None:
        """Save a model with its card, load it again and measure that: what is measured is what is kept, in halves."""
        devices.on_first_rank(lambda: self._save(part))

    def _save(self, part: Part) -> None:
        facts = {"experiment": to_json(self.experiment)} | part.facts | {"seconds": round(part.trained.seconds)}
        checkpoints.save(self.part, part.trained.model, facts, self.folder)
        model = checkpoints.load(self.part, self.folder, device())
        checkpoints.save(self.part, model, facts | {"metrics": part.measure(model)}, self.folder)

    def borrowed(self) -> dict[tuple[str, str], tuple[str, Path]]:
        """Finished models that it takes from elsewhere: (use or begin, part) -> a checkpoint's name and folder."""
        found: dict[tuple[str, str], tuple[str, Path]] = {}
        if isinstance(self.experiment, ImageExperiment):
            return {("use", "tokenizer"): (self.experiment.use, checkpoints.folder())} if self.experiment.use else {}
        for part in ("tokenizer", "features", "figures"):
            if part not in self.experiment.parts and (name := getattr(self.experiment, part).use):
                found["use", part] = place_of(part, name)
        if self.experiment.begin:
            pair = find_pair(self.experiment.begin)
            found |= {("begin", part): at for part, at in pair.items() if part in self.experiment.parts}
        return found


def check_kind(part: str, at: tuple[str, Path]) -> None:
    """Raise ValueError unless a borrowed checkpoint, a name and a folder, is a model that this part can be."""
    kind = checkpoints.card(*at).model
    if kind not in KINDS[part]:
        raise ValueError(f"{at[0]} is a {kind}, and {part} has to be one of these: {', '.join(KINDS[part])}.")


def token_size(run: Run) -> tuple[int, int]:
    """Height and width in pixels of a token of the tokenizer that is trained or used."""
    at = run.borrowed().get(("use", "tokenizer")) or run.borrowed().get(("begin", "tokenizer"))
    model = checkpoints.config(*at) if at else run.film_experiment.tokenizer.model
    if not isinstance(model, TubeletConfig):
        return model.stride[1:]
    height, width = (side * many for side, many in zip(model.tubelet[1:], model.group[1:]))
    return height, width


def measured_every(steps: int) -> int:
    """Steps from one measurement of a run to the next: a twentieth of them, or 100 if that is more, and if there are
    not even 500 steps, a fifth.
    """
    return max(1, steps // 20, min(100, steps // 5))


class _Clock:
    """Told of every step, says after some how long the training of its part will take, and what comes on top of that.

    How long another part takes is not known before its own first steps: its network, batches and steps are others.
    """

    def __init__(self, run: Run, steps: int):
        self.run, self.steps, self.seen, self.begin = run, steps, 0, time.monotonic()

    def update(self, history: History) -> None:
        self.seen += 1
        if self.seen == 1:
            self.begin = time.monotonic()  # the first step of all is slow
        elif self.seen == TIMED + 1 and (left := self.steps - history["loss"][-1][0]) > 0:
            seconds = (time.monotonic() - self.begin) / TIMED * left
            top = " and ".join(["to measure it", *(f"the whole of {part}" for part in self.run.later)])
            print(f"{self.run.part}: {left:,} of {self.steps:,} steps to go, {in_words(seconds)}. On top of it: {top}.")

    def close(self) -> None:
        pass


def in_words(seconds: float) -> str:
    """A time, roughly: ``about 3 minutes``."""
    for unit, length in (("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * length:
            return f"about {seconds / length:.{int(seconds < 10 * length and unit == 'hours')}f} {unit}"
    return f"about {seconds:.0f} seconds"
