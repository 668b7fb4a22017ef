"""Training the network whose features say how much like the film a clip is."""

import torch

from vg.data import Clips
from vg.evaluation.features import accuracy
from vg.evaluation.tokenizer import FRAMES
from vg.experiments.losses import features_loss
from vg.experiments.run import Part, Run
from vg.models import ClipFeatures, FeaturesConfig
from vg.profiles import device


def train_features(run: Run) -> Part:
    """On the training shots; how often the order is told on validation shots is in the history."""
    part, footage = run.film_experiment.features, run.footage
    recipe = run.recipe(part.recipe)
    clips = Clips(footage.store, footage.split.train, FRAMES)
    held = Clips(footage.store, footage.split.validation, FRAMES, stride=8)
    torch.manual_seed(recipe.seed)
    config = FeaturesConfig(shots=len(footage.split.train), size=part.size, width=part.width)
    trained = run.fit(
        ClipFeatures(config).to(device()),
        features_loss(clips, footage.split.train),
        lambda generator: torch.randint(len(clips), (part.batch,), generator=generator),
        recipe,
        lambda model: {f"{name}, validation": share for name, share in accuracy(model, held).items()},
    )

    def measure(model: ClipFeatures) -> dict:
        seen = accuracy(model, Clips(footage.store, footage.split.train, FRAMES, stride=8), footage.split.train)
        found = {"training": seen, "validation": accuracy(model, held)}
        if footage.split.test:
            found["test"] = accuracy(model, Clips(footage.store, footage.split.test, FRAMES, stride=8))
        return {side: {name: round(share, 3) for name, share in shares.items()} for side, shares in found.items()}

    return Part(trained, {"data": footage.card()}, measure)
