"""Training a film's tokenizer: in one part, from random weights or from a finished one's, on fresh views."""

from dataclasses import replace
from functools import partial

import torch

from vg.data import Clips
from vg.data.augment import random_views
from vg.evaluation.metrics import psnr
from vg.evaluation.tokenizer import held_out, reconstruct, tokenizer_facts
from vg.experiments.batches import tokenizer_batches
from vg.experiments.config import TokenizerPart
from vg.experiments.film import Footage
from vg.experiments.losses import tokenizer_loss, tubelet_loss
from vg.experiments.run import Part, Run
from vg.models import TubeletConfig, TubeletTokenizer, VideoAutoencoder
from vg.profiles import device
from vg.training import BatchSampler

MEASURED = 64  # clips that are measured while it trains


def new_tokenizer(part: TokenizerPart, channels: int) -> TubeletTokenizer | VideoAutoencoder:
    """With random weights, for a film of so many channels.

    Raises:
        ValueError: if the part asks for others.
    """
    if part.model.channels not in (1, channels):  # 1 is what it is unless it is asked for
        raise ValueError(
            f"--tokenizer.channels is {part.model.channels} and the film has {channels}. Leave it out: "
            "the channels are the film's (--data.colour)."
        )
    if isinstance(part.model, TubeletConfig):
        return TubeletTokenizer(replace(part.model, channels=channels))
    return VideoAutoencoder(replace(part.model, channels=channels))


def check_fits(tokenizer: TubeletTokenizer | VideoAutoencoder, footage: Footage) -> None:
    """Raise ValueError if a finished tokenizer is of another number of channels than the film."""
    ours, theirs = (("grey", "colour")[n == 3] for n in (footage.channels, tokenizer.config.channels))
    if ours != theirs:
        raise ValueError(
            f"The tokenizer {tokenizer.name} is of {theirs} film and {footage.store.name} is read in {ours}: pass "
            f"--colour {theirs == 'colour'}, or train one from random weights."
        )


def views_of(footage: Footage, frames: int, batch: int, gain: float = 0.15, hue: float = 0.0) -> BatchSampler:
    """Fresh views of the training shots, at the footage's size: none is blurred, and none is seen twice."""
    least = min(1.0, footage.size[0] / footage.large.frames.shape[-2])
    return random_views(
        Clips(footage.large, footage.split.train, frames), batch, footage.size, least, gain=gain, hue=hue
    )


def train_tokenizer(run: Run) -> Part:
    """The experiment's tokenizer; the validation PSNR is in its history."""
    part, footage = run.film_experiment.tokenizer, run.footage
    recipe = run.recipe(part.recipe)
    torch.manual_seed(recipe.seed)
    tokenizer = run.begin_with("tokenizer") or new_tokenizer(part, footage.channels)
    check_fits(tokenizer, footage)
    truth = held_out(footage.store, MEASURED, footage.split.validation)
    plain = Clips(footage.store, footage.split.train, part.frames)
    if part.views:
        batches = views_of(footage, part.frames, part.batch, hue=part.hue)
    else:
        batches = tokenizer_batches(plain, part.batch)
    trained = run.fit(
        tokenizer.to(device()),
        partial(tubelet_loss, motion=part.motion) if isinstance(tokenizer, TubeletTokenizer) else tokenizer_loss,
        batches,
        recipe,
        lambda model: {"validation PSNR": float(psnr(reconstruct(model, truth), truth).mean())},
    )
    measured = run.film_experiment.sampling.measured
    return Part(
        trained,
        {"data": footage.card(), "validation_psnr": trained.history["validation PSNR"]},
        lambda model: tokenizer_facts(
            model, footage.store, measured and 4 * measured, part.search_steps, footage.split
        ),
    )
