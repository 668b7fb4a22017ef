"""Training the networks that say how much like the film a clip is, and whether what moves in it holds together."""

from collections.abc import Callable
from typing import cast

import torch

from vg.data import Clips, Shot
from vg.evaluation.damage import DAMAGES, DamagedClips, damage_accuracy
from vg.evaluation.features import accuracy
from vg.evaluation.tokenizer import FRAMES
from vg.experiments.config import FeaturesPart
from vg.experiments.losses import features_loss, figures_loss
from vg.experiments.run import Part, Run
from vg.models import ClipFeatures, FeaturesConfig, TubeletTokenizer
from vg.models.features import ORDERS
from vg.profiles import device
from vg.training import Loss

Accuracy = Callable[[ClipFeatures, Clips, list[Shot] | None], dict[str, float]]
"""Share of right answers in clips; the last are the shots where they can be named, which are those that train."""


def train_features(run: Run) -> Part:
    """The network that names the shot and the frames' order, on the training shots."""
    footage = run.footage
    loss = features_loss(Clips(footage.store, footage.split.train, FRAMES), footage.split.train)
    return _train(run, run.film_experiment.features, len(ORDERS), loss, accuracy)


def train_figures(run: Run) -> Part:
    """The network that tells what became of a moving part, on the training shots."""
    footage = run.footage
    made = DamagedClips(footage.store, cast(TubeletTokenizer, run.finished("tokenizer")))
    loss = figures_loss(Clips(footage.store, footage.split.train, FRAMES), footage.split.train, made)
    return _train(
        run,
        run.film_experiment.figures,
        len(DAMAGES),
        loss,
        lambda model, clips, _: damage_accuracy(model, clips, made),
    )


def _train(run: Run, part: FeaturesPart, answers: int, loss: Loss, share_right: Accuracy) -> Part:
    """One of them; how often it is right on validation shots is in its history."""
    footage, recipe = run.footage, run.recipe(part.recipe)
    many = len(Clips(footage.store, footage.split.train, FRAMES))
    held = Clips(footage.store, footage.split.validation, FRAMES, stride=8)
    torch.manual_seed(recipe.seed)
    config = FeaturesConfig(len(footage.split.train), size=part.size, width=part.width, answers=answers)
    trained = run.fit(
        ClipFeatures(config).to(device()),
        loss,
        lambda generator: torch.randint(many, (part.batch,), generator=generator),
        recipe,
        lambda model: {f"{name}, validation": share for name, share in share_right(model, held, None).items()},
    )

    def measure(model: ClipFeatures) -> dict:
        train, sides = footage.split.train, {"validation": footage.split.validation, "test": footage.split.test}
        found = {"training": share_right(model, Clips(footage.store, train, FRAMES, stride=8), train)}
        for side, shots in sides.items():
            if shots:
                found[side] = share_right(model, Clips(footage.store, shots, FRAMES, stride=8), None)
        return {side: {name: round(share, 3) for name, share in shares.items()} for side, shares in found.items()}

    return Part(trained, {"data": footage.card()}, measure)
