"""Training the network that tells whether what moves in a clip holds together."""

from typing import cast

import torch

from vg.data import Clips
from vg.evaluation.damage import DAMAGES, DamagedClips, damage_accuracy
from vg.evaluation.tokenizer import FRAMES
from vg.experiments.losses import figures_loss
from vg.experiments.run import Part, Run
from vg.models import ClipFeatures, FeaturesConfig, TubeletTokenizer
from vg.profiles import device


def train_figures(run: Run) -> Part:
    """On the training shots; how often damages are told on validation shots is in the history."""
    part, footage = run.film_experiment.figures, run.footage
    recipe = run.recipe(part.recipe)
    made = DamagedClips(footage.store, cast(TubeletTokenizer, run.finished("tokenizer")))
    clips = Clips(footage.store, footage.split.train, FRAMES)
    held = Clips(footage.store, footage.split.validation, FRAMES, stride=8)
    torch.manual_seed(recipe.seed)
    config = FeaturesConfig(len(footage.split.train), size=part.size, width=part.width, answers=len(DAMAGES))
    trained = run.fit(
        ClipFeatures(config).to(device()),
        figures_loss(clips, footage.split.train, made),
        lambda generator: torch.randint(len(clips), (part.batch,), generator=generator),
        recipe,
        lambda model: {f"{name}, validation": share for name, share in damage_accuracy(model, held, made).items()},
    )

    def measure(model: ClipFeatures) -> dict:
        sides = {"training": footage.split.train, "validation": footage.split.validation, "test": footage.split.test}
        found = {
            side: damage_accuracy(model, Clips(footage.store, shots, FRAMES, stride=8), made)
            for side, shots in sides.items()
            if shots
        }
        return {side: {name: round(share, 3) for name, share in shares.items()} for side, shares in found.items()}

    return Part(trained, {"data": footage.card()}, measure)
