"""The shipped models by name: each is an experiment, and ``python -m vg.train NAME`` trains it."""

from dataclasses import replace
from typing import Any

from vg.experiments.config import (
    FIGURES,
    PRIOR_RECIPE,
    TUBELET,
    Experiment,
    FeaturesPart,
    FilmData,
    ImageExperiment,
    ImagePriorSize,
    PartName,
    PriorPart,
    Sampling,
    TokenizerPart,
)
from vg.models import QuantizerConfig, VAEConfig, VideoConfig, VQVAE2Config, VQVAEConfig
from vg.training import Recipe

SMALL = FilmData(size=(64, 64), colour=False)
LARGE = FilmData(size=(128, 128), colour=False, zoom=1.5)

# At equal bits small patches of eight frames are ahead of larger ones of four (benchmarks/LOG.md); four share a token.
LARGE_TUBELET = replace(TUBELET, tubelet=(8, 4, 4), group=(1, 2, 2))

# The film's own shape, square, wide and tall: what it makes at other shapes it makes of these.
LARGE_SHAPES = PriorPart(shapes=((128, 152), (128, 128), (96, 168), (168, 96)), directions=True, goals=5)
# The same, and the film's own half as large again and a quarter smaller: bits hold at sizes that were never seen, clips
# do not (benchmarks/LOG.md).
ANY_SHAPE = replace(LARGE_SHAPES, shapes=((64, 76), (64, 64), (48, 84), (84, 48), (96, 116), (48, 56)))

MEASURED = Sampling(measured=None)  # in all clips that there are

# A codebook belongs to the weights as they are, so there is no average of them; beside FSQ one brought nothing.
CONV = TokenizerPart(recipe=Recipe(steps=2800, lr=2e-3, muon=2e-2, warmup=50, grad_clip=5.0, ema=0.0), views=False)
IMAGES = Recipe(steps=1800, lr=2e-3, muon=2e-2, warmup=50, grad_clip=5.0, ema=0.0)  # codes follow: no average


def _film(name: str, part: PartName, data: FilmData = SMALL, **parts: Any) -> Experiment:
    return Experiment(name=name, data=data, parts=(part,), **parts)


def _prior(name: str, data: FilmData, tokenizer: str, prior: PriorPart, sampling: Sampling) -> Experiment:
    measured = {"features": FeaturesPart(use="film-features"), "figures": replace(FIGURES, use="figure-features")}
    return _film(
        name, "prior", data, tokenizer=TokenizerPart(use=tokenizer), prior=prior, sampling=sampling, **measured
    )


_all: list[Experiment | ImageExperiment] = [
    _film("tubelet-fsq-64", "tokenizer", tokenizer=TokenizerPart(search_steps=20)),
    _film(
        "tubelet-fsq-128",
        "tokenizer",
        LARGE,
        tokenizer=TokenizerPart(LARGE_TUBELET, batch=2, search_steps=20),
    ),
    _prior(
        "prior-64",
        FilmData(size=64, colour=False),
        "tubelet-fsq-64",
        ANY_SHAPE,
        MEASURED,
    ),
    _prior(
        "prior-128",
        FilmData(size=128, colour=False, zoom=1.5),
        "tubelet-fsq-128",
        replace(LARGE_SHAPES, recipe=replace(PRIOR_RECIPE, steps=3600)),
        MEASURED,
    ),
    # Both have about 1,000 codes for tokens of 4x8x8, the same networks, batches and steps, so that they compare.
    _film(
        "video-vqvae-64", "tokenizer", tokenizer=replace(CONV, model=VideoConfig(quantizer=QuantizerConfig("vq", 1024)))
    ),
    _film(
        "video-fsqvae-64",
        "tokenizer",
        tokenizer=replace(CONV, model=VideoConfig(quantizer=QuantizerConfig("fsq", levels=(8, 5, 5, 5)))),
    ),
    _film("film-features", "features"),
    _film("figure-features", "figures", FilmData(size=64, colour=False), tokenizer=TokenizerPart(use="tubelet-fsq-64")),
    ImageExperiment("vae-cifar10", VAEConfig(), replace(IMAGES, steps=1600, ema=0.998)),
    ImageExperiment("vqvae-cifar10", VQVAEConfig(), IMAGES),
    ImageExperiment("vqvae2-cifar10", VQVAE2Config(), IMAGES),
    ImageExperiment(
        "prior-cifar10",
        ImagePriorSize(),
        Recipe(steps=1600, lr=1e-3, muon=2e-2, warmup=100, betas=(0.9, 0.95), weight_decay=0.05, ema=0.99),
        batch=32,
        use="vqvae2-cifar10",
    ),
]
REGISTRY: dict[str, Experiment | ImageExperiment] = {experiment.name: experiment for experiment in _all}
