"""Training the network that tells whether what moves in a clip holds together."""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vg.data import Clips, FrameStore, Shot
from vg.data.pixels import to_uint8
from vg.evaluation.damage import DAMAGES, damaged, mismatched
from vg.evaluation.features import shot_numbers
from vg.evaluation.figures import COUNT, PIECE, moving_parts
from vg.evaluation.tokenizer import FRAMES
from vg.experiments.features import degrade
from vg.experiments.film import Footage
from vg.experiments.run import Part, Run
from vg.models import ClipFeatures, FeaturesConfig, TubeletTokenizer
from vg.precision import autocast, full_precision
from vg.profiles import device
from vg.progress import tqdm
from vg.training import Loss

SHARES = (0.3, 0.5, 0.8)  # of the tokens, mismatched
STRETCH = 48  # frames that go through the tokenizer at a time
SHOT_WEIGHT = 0.3  # of the shot's name in the loss


class DamagedClips:
    """Parts of clips, whole or damaged in one of ``DAMAGES``; half of those damaged in pixels, or not at all, went
    through the tokenizer.

    What the tokenizer loses is not damage: otherwise all that a prior makes would count as damaged alike.

    Args:
        footage: the film.
        tokenizer: its tubelet tokenizer.
    """

    def __init__(self, footage: Footage, tokenizer: TubeletTokenizer):
        self.filmed = footage.store
        self.through = _through(footage.store, tokenizer, (0.0, *SHARES))

    def parts(self, clips: Clips, numbers: list[int], kinds: list[int]) -> Tensor:
        """A moving part of each of these clips, at random: (B, C, PIECE, s, s)."""
        taken = []
        for number, kind in zip(numbers, kinds):
            name, start, store = DAMAGES[kind], clips.starts[number], self.filmed
            if name == "mismatched":
                store = self.through[SHARES[int(torch.randint(len(SHARES), ()))]]
            elif torch.rand(()) < 0.5:
                store = self.through[0.0]
            [clip] = store.clip(start, start + FRAMES)
            clip = clip if name == "mismatched" else damaged(clip, name)
            taken.append(clip.flip(-1) if torch.rand(()) < 0.5 else clip)
        found = moving_parts(torch.stack(taken)).unflatten(0, (-1, len(taken)))  # FRAMES // PIECE * COUNT of each
        return found[torch.randint(FRAMES // PIECE * COUNT, (len(taken),)), torch.arange(len(taken))]


@torch.no_grad()
def _through(store: FrameStore, tokenizer: TubeletTokenizer, shares: Sequence[float]) -> dict[float, FrameStore]:
    """The film through its tokenizer, encoded once, for each share of the tokens that are mismatched."""
    span, where = tokenizer.tubelet[0], next(tokenizer.parameters()).device
    stretches = [
        (start, start + whole)
        for first, stop in store.shots
        for start in range(first, stop, STRETCH)
        if (whole := min(STRETCH, stop - start) // span * span)
    ]
    found = {}
    with torch.random.fork_rng(devices=[]), autocast(where):
        encoded = [
            tokenizer.encode(store.clip(*stretch).to(where))
            for stretch in tqdm(stretches, desc="encoding the film", unit="stretch")
        ]
        for share in shares:
            frames = np.array(store.frames)
            torch.manual_seed(round(100 * share))
            pairs = zip(stretches, encoded, strict=True)
            for (start, stop), tokens in tqdm(
                pairs, desc=f"decoding it, {share:.0%} mismatched", total=len(encoded), unit="stretch"
            ):
                [clip] = tokenizer.decode(mismatched(tokens, share) if share else tokens)
                frames[start:stop] = to_uint8(full_precision(clip).cpu()).numpy()
            found[share] = replace(store, frames=frames)
    return found


def figures_loss(clips: Clips, shots: list[Shot], made: DamagedClips) -> Loss:
    """Cross-entropy of what became of a part, and of its shot's name, for batches of clip numbers."""
    names = shot_numbers(clips, shots)

    def loss(model: ClipFeatures, numbers: Tensor) -> Tensor:
        where = next(model.parameters()).device
        kinds = torch.randint(len(DAMAGES), (len(numbers),))
        video = degrade(made.parts(clips, numbers.tolist(), kinds.tolist()), coarsest=0.75, noise=0.03)
        shot, said = model.guess(video.to(where))
        damage_loss = F.cross_entropy(said, kinds.to(where))
        return damage_loss + SHOT_WEIGHT * F.cross_entropy(shot, names[numbers.cpu()].to(where))

    return loss


@torch.no_grad()
def damage_accuracy(model: ClipFeatures, clips: Clips, made: DamagedClips, seed: int = 0) -> dict[str, float]:
    """Share of right answers for each of ``DAMAGES``."""
    where, right = next(model.parameters()).device, dict.fromkeys(DAMAGES, 0)
    with torch.random.fork_rng(devices=[]), autocast(where):
        torch.manual_seed(seed)
        for kind, name in enumerate(DAMAGES):
            for some in torch.arange(len(clips)).split(16):
                parts = made.parts(clips, some.tolist(), [kind] * len(some))
                right[name] += int((model.guess(parts.to(where))[1].argmax(1) == kind).sum())
    return {name: count / len(clips) for name, count in right.items()}


def train_figures(run: Run) -> Part:
    """On the training shots; how often damages are told on validation shots is in the history."""
    part, footage = run.film_experiment.figures, run.footage
    recipe = run.recipe(part.recipe)
    made = DamagedClips(footage, cast(TubeletTokenizer, run.finished("tokenizer")))
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
