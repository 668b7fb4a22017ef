"""An experiment is a value: what is trained, on what, how, and how it is sampled. Nested, frozen, hashed, kept as JSON.

The types are the command line too (``vg.train``): a field ``prior.width`` is the option ``--prior.width``.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import arg

from vg.data.decode import FPS
from vg.evaluation.generated import PROMPT
from vg.models import PriorConfig, TubeletConfig, VAEConfig, VideoConfig, VQVAE2Config, VQVAEConfig
from vg.sampling import SAMPLING
from vg.sampling.options import GUIDANCE, Options
from vg.training import Recipe

# Two patches of four frames share a token, and the busiest have more digits: motion needs both (benchmarks/LOG.md).
TUBELET = TubeletConfig((4, 4, 4), (8, 5), (2, 1, 1), detail_levels=(5, 5, 5, 5), detail_share=0.2, lookahead=True)
TOKENIZER_RECIPE = Recipe(steps=7000, lr=2e-3, muon=2e-2, warmup=50, grad_clip=5.0, ema=0.99)
PRIOR_RECIPE = Recipe(steps=2400, lr=1e-3, muon=1.5e-2, warmup=30, betas=(0.9, 0.95), weight_decay=0.05, ema=0.995)
FEATURES_RECIPE = Recipe(steps=1800, lr=1e-3, muon=1e-2, warmup=50, ema=0.99)
# Fields of a prior that older experiments lack: left out of JSON where they are as they were then, so that hashes stay.
ADDED = {"alibi_multiplier": 4.0, "reach": None}
PartName = Literal["tokenizer", "prior", "features", "figures"]


@dataclass(frozen=True)
class FilmData:
    """The film, and how it is read.

    Attributes:
        film: video files, or folders of them; none is Steamboat Willie.
        size: pixels of the short side, the long one by the film's aspect; or height and width.
        fps: frames a second.
        colour: three channels or one; None is as the film is.
        restore: take out the flicker and sway of old film; None is as it is found to need.
        zoom: fresh views are cut out of frames so many times as large.
        frames: use the first so many frames only.
    """

    film: tuple[Path, ...] = ()
    size: int | tuple[int, int] = 64
    fps: float = FPS
    colour: bool | None = None
    restore: bool | None = None
    zoom: float = 2.0
    frames: int | None = None


@dataclass(frozen=True)
class TokenizerPart:
    """The tokenizer of the film.

    Attributes:
        model: its shape; the channels are the film's.
        recipe: how it is trained.
        batch: clips in a batch.
        frames: of a clip.
        motion: weight of the steps from frame to frame in the loss, beside the frames themselves.
        hue: share of the fresh views in colour whose hues are turned.
        views: fresh views, parts at any place and scale; else the film as it is, moved by some pixels.
        search_steps: of the search for better codes that is measured too; 0 is none.
        use: a finished tokenizer, by name or folder, where none is to be trained.
    """

    model: Annotated[TubeletConfig | VideoConfig, arg(name="")] = TUBELET
    recipe: Recipe = TOKENIZER_RECIPE
    batch: int = 4
    frames: int = 16
    motion: float = 1.0
    hue: float = 0.5
    views: bool = True
    search_steps: int = 0
    use: str = ""


@dataclass(frozen=True)
class PriorPart:
    """The transformer over the tokenizer's tokens; levels, grid and labels are those of tokenizer and film.

    Attributes:
        width: D of the transformer.
        depth: blocks.
        heads: of its attention.
        context: blocks of the network over the latent frames before.
        dropout: share of what each block adds that is left out in training.
        recipe: how it is trained.
        batch: windows in a batch.
        window: latent frames of a window; every second batch has windows half as long and twice as many.
        fresh: share of the batches that are fresh views; the rest is the film as it is, with labels.
        label_share: share of the labelled windows whose label it is given.
        token_noise: up to this share of the tokens that it is shown are wrong ones.
        shapes: heights and widths in pixels of the fresh views, for a prior that makes clips of any shape; empty for
            one that knows the film's only.
        directions: whether it is told that a clip runs backwards.
        goals: latent frames that a goal may lie ahead; 0 for none.
        alibi_multiplier: how fast the half of the heads that look along time fade (``vg.models.two_scale_slopes``).
        reach: latent frames that attention looks back at most, the current one included; None for all.
    """

    width: int = 192
    depth: int = 4
    heads: int = 4
    context: int = 2
    dropout: float = 0.1
    recipe: Recipe = PRIOR_RECIPE
    batch: int = 3
    window: int = 6
    fresh: float = 2 / 3
    label_share: float = 0.8
    token_noise: float = 0.1
    shapes: tuple[tuple[int, int], ...] = ()
    directions: bool = False
    goals: int = 0
    alibi_multiplier: float = PriorConfig.alibi_multiplier
    reach: int | None = PriorConfig.reach


@dataclass(frozen=True)
class FeaturesPart:
    """The network whose features say how like the film a clip is, or what moves in it.

    Attributes:
        width: D of its first blocks.
        size: height and width that clips, or their parts, are brought to.
        recipe: how it is trained.
        batch: clips in a batch.
        use: finished features, by name or folder.
    """

    width: int = 48
    size: int = 64
    recipe: Recipe = FEATURES_RECIPE
    batch: int = 8
    use: str = ""


FIGURES = FeaturesPart(width=32, size=32, recipe=replace(FEATURES_RECIPE, steps=4000), batch=16)


@dataclass(frozen=True)
class Sampling:
    """What clips are made with, for the reels and by ``vg.generate``.

    Attributes:
        temperature, top_p, history: as of ``vg.sampling.generate``.
        guidance: towards a label.
        clips: on each reel, at most.
        frames: of a clip, prompt included.
        measured: clips that are measured, at most; None is all.
    """

    temperature: float = SAMPLING["temperature"]
    top_p: float = SAMPLING["top_p"]
    history: float = SAMPLING["history"]
    guidance: float = GUIDANCE
    clips: int = 4
    frames: int = 48
    measured: int | None = 24

    def options(self) -> dict[str, float]:
        """For ``generate``; without guidance, which needs a label."""
        return {name: getattr(self, name) for name in SAMPLING}


@dataclass(frozen=True)
class Experiment:
    """A film's generator, or parts of one.

    Attributes:
        name: what the folder's name begins with; empty for the film's.
        data: the film.
        tokenizer, prior, features, figures: the models; figures tell whether what moves holds together.
        parts: those that are trained; a prior and figures need a tokenizer that is trained too, or ``use``.
        sampling: how clips are made.
        scale: times the steps of every recipe: 0.1 for a tenth of the time.
        seed: added to every recipe's own.
        micro_batches: pieces of every step's batch, which processes share: as many batches, each of its own size.
        begin: a finished pair to train on from (fine-tuning): ``tubelet-fsq-64``, or the folder of an experiment.
    """

    name: str = ""
    data: Annotated[FilmData, arg(name="")] = FilmData()
    tokenizer: TokenizerPart = TokenizerPart()
    prior: PriorPart = PriorPart()
    features: FeaturesPart = FeaturesPart()
    figures: FeaturesPart = FIGURES
    parts: tuple[PartName, ...] = ("tokenizer", "prior", "features")
    sampling: Sampling = Sampling()
    scale: float = 1.0
    seed: int = 0
    micro_batches: int = 1
    begin: Annotated[str, arg(name="from")] = ""

    def __post_init__(self) -> None:
        _check(self)
        if not self.parts or self.data.zoom < 1 or self.tokenizer.frames < 1 or self.prior.window < 2:
            raise ValueError(
                "an experiment trains a part or more, with zoom from 1, clips from 1 frame, windows from 2."
            )
        if not self.prior.alibi_multiplier > 0 or (self.prior.reach is not None and self.prior.reach < 1):
            raise ValueError("a prior has an alibi_multiplier above 0, and a reach from 1 or None.")
        if {"prior", "figures"} & {*self.parts} and "tokenizer" not in self.parts and not self.tokenizer.use:
            raise ValueError("a prior or figures need a tokenizer: add it to parts, or name one with tokenizer.use.")
        _check_before_hours(self)


ImageModel = VAEConfig | VQVAEConfig | VQVAE2Config


@dataclass(frozen=True)
class ImagePriorSize:
    """Shape of the two transformers over an image's two levels of codes; the rest is the tokenizer's."""

    width: int = 128
    depth: int = 4
    heads: int = 4


@dataclass(frozen=True)
class ImageExperiment:
    """One model of CIFAR-10.

    Attributes:
        name: of the model.
        model: its shape.
        recipe: how it is trained.
        batch: images in a batch.
        use: for a prior, the finished VQ-VAE-2 whose codes it learns, by name or folder.
        scale, seed, micro_batches: as of ``Experiment``.
    """

    name: str
    model: ImageModel | ImagePriorSize
    recipe: Recipe
    batch: int = 64
    use: str = ""
    scale: float = 1.0
    seed: int = 0
    micro_batches: int = 1

    def __post_init__(self) -> None:
        _check(self)

    @property
    def parts(self) -> tuple[str, ...]:
        return ("images",)


def _check_before_hours(experiment: Experiment) -> None:
    """What else could not be done, and would be noticed after the training only."""
    sizes = experiment.data.size if isinstance(experiment.data.size, tuple) else (experiment.data.size,)
    if min(sizes) < 1:
        raise ValueError(f"size is {experiment.data.size}, expected pixels from 1 on.")
    if not isinstance(experiment.tokenizer.model, TubeletConfig) and "tokenizer" in experiment.parts:
        if {"prior", "figures"} & {*experiment.parts}:
            raise ValueError("a prior and figures are of a tubelet tokenizer's tokens: train a VideoConfig one alone.")
        if experiment.tokenizer.search_steps:
            raise ValueError("codes are searched for a tubelet tokenizer only: leave tokenizer.search_steps at 0.")
    for part in experiment.parts:
        if getattr(experiment, part).batch < 1:
            raise ValueError(f"{part}.batch is {getattr(experiment, part).batch}, expected 1 or more.")
    prior, sampling = experiment.prior, experiment.sampling
    if prior.heads < 1 or prior.width % prior.heads:
        raise ValueError(f"prior.width is {prior.width}, no multiple of {prior.heads} heads.")
    how: dict[str, Any] = sampling.options() | {"guidance": sampling.guidance}
    Options(**how).check_ranges()
    if "prior" in experiment.parts and sampling.frames <= PROMPT:
        raise ValueError(f"sampling.frames is {sampling.frames}, and {PROMPT} are given: ask for more than that.")
    if sampling.clips < 1 or (sampling.measured is not None and sampling.measured < 1):
        raise ValueError("sampling.clips and sampling.measured are 1 or more; measured may be None, for all.")


def _check(experiment: Experiment | ImageExperiment) -> None:
    if not 0 < experiment.scale <= 100:
        raise ValueError(f"scale is {experiment.scale}, expected a number above 0 and up to 100.")
    if not {"/", "\\", "\0"}.isdisjoint(experiment.name) or experiment.name.startswith("."):
        raise ValueError(f"{experiment.name!r} cannot name a folder. Take letters, figures and hyphens.")


def scaled(recipe: Recipe, experiment: Experiment | ImageExperiment) -> Recipe:
    """A recipe at the experiment's scale and seed; the warm-up takes a tenth of the steps at most."""
    steps = max(1, round(recipe.steps * experiment.scale))
    warmup = min(recipe.warmup, max(1, steps // 10))
    return replace(
        recipe,
        steps=steps,
        warmup=warmup,
        seed=recipe.seed + experiment.seed,
        micro_batches=recipe.micro_batches * experiment.micro_batches,
    )


def to_json(experiment: Experiment | ImageExperiment) -> dict:
    """All of it, as JSON holds it, but for fields that were ``ADDED`` and are as they were before they could be set."""
    said = json.loads(json.dumps(asdict(experiment), default=lambda path: str(path.expanduser().absolute())))
    if isinstance(experiment, Experiment):
        for name, value in ADDED.items():
            if getattr(experiment.prior, name) == value:
                del said["prior"][name]
    return said


def digest(experiment: Experiment | ImageExperiment, *made_from: object) -> str:
    """Eight hexadecimal digits for all that an experiment says, and for the contents of what it starts from.

    Args:
        experiment: its name and where its films lie do not count.
        made_from: hashes of the films and of the finished models that it uses.
    """
    said = to_json(experiment) | {"name": "", "made_from": made_from}
    if "data" in said:
        said["data"] |= {"film": []}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:8]
