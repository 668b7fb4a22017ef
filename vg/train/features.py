"""``film-features``: the network whose features say how much like the film a clip is."""

from dataclasses import asdict
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from vg.data import Clips, FrameStore, split_shots
from vg.models import ClipFeatures, FeaturesConfig
from vg.profiles import device
from vg.train.film import FRAMES, data_card, open_film
from vg.train.shipping import run_folder, ship
from vg.training import Recipe, Trained, fit

NAME = "film-features"
RECIPE = Recipe(steps=1500, lr=1e-3, muon=1e-2, warmup=50, ema=0.99)
BATCH = 8


def shot_numbers(clips: Clips, shots: list) -> Tensor:
    """Which of the shots each clip is of: int64 (len(clips),)."""
    stops = torch.tensor([stop for _, stop in shots])
    return torch.bucketize(torch.from_numpy(clips.starts), stops, right=True)


def features_loss(clips: Clips, shots: list):
    """Cross-entropy of the shot's name and of the arrow of time, for batches of clip numbers.

    Clips are mirrored half of the time, so that left and right do not tell the arrow; and in other lights.
    """
    names = shot_numbers(clips, shots)

    def loss(model: ClipFeatures, numbers: Tensor) -> Tensor:
        where = next(model.parameters()).device
        video = clips.take(numbers.tolist()).to(where)
        backwards, mirrored = (torch.rand(2, len(video), device=where) < 0.5).long()
        video = torch.where(backwards.bool().view(-1, 1, 1, 1, 1), video.flip(2), video)
        video = torch.where(mirrored.bool().view(-1, 1, 1, 1, 1), video.flip(-1), video)
        contrast, light = 0.15 * (2 * torch.rand(2, len(video), 1, 1, 1, 1, device=where) - 1)
        shot, arrow = model.guess((video * (1 + contrast) + light).clamp(-1, 1))
        return F.cross_entropy(shot, names[numbers.cpu()].to(where)) + F.cross_entropy(arrow, backwards)

    return loss


@torch.no_grad()
def accuracy(model: ClipFeatures, clips: Clips, shots: list | None = None) -> dict[str, float]:
    """Share of right answers: "arrow" over clips as they are and backwards; "shot" where ``shots`` can be named."""
    names = None if shots is None else shot_numbers(clips, shots)
    right, told = 0.0, 0.0
    for part in torch.arange(len(clips)).split(16):
        video = clips.take(part.tolist()).to(next(model.parameters()).device)
        shot, arrow = model.guess(video)
        right += float((arrow.argmax(1) == 0).sum() + (model.guess(video.flip(2))[1].argmax(1) == 1).sum()) / 2
        told += 0 if names is None else int((shot.argmax(1).cpu() == names[part]).sum())
    return {"arrow": right / len(clips)} | ({} if names is None else {"shot": told / len(clips)})


def train(store: FrameStore, folder: Path) -> tuple[Trained, dict]:
    """Train on the store's training shots; the arrow of time on validation shots is in the history."""
    shots, val = split_shots(store.shots)
    clips, held = Clips(store, shots, FRAMES), Clips(store, val, FRAMES, stride=8)
    torch.manual_seed(RECIPE.seed)
    model = ClipFeatures(FeaturesConfig(shots=len(shots), size=store.frames.shape[-1])).to(device())

    def draw(generator: torch.Generator) -> Tensor:
        return torch.randint(len(clips), (BATCH,), generator=generator)

    trained = fit(
        model, features_loss(clips, shots), draw, RECIPE, folder=folder, every=250,
        evaluate=lambda m: {"arrow of time on validation shots": accuracy(m, held)["arrow"]},
    )  # fmt: skip
    return trained, {"batch": BATCH, "frames": FRAMES, "recipe": asdict(RECIPE)}


def train_features(to: Path) -> None:
    """``film-features``: at 64 pixels, on the film's training shots."""
    store = open_film()
    shots, val = split_shots(store.shots)
    trained, how = train(store, run_folder(NAME, store.name))

    def measure(model: ClipFeatures) -> dict:
        seen = accuracy(model, Clips(store, shots, FRAMES, stride=8), shots)
        new = accuracy(model, Clips(store, val, FRAMES, stride=8))
        return {
            "shots_named_in_training": round(seen["shot"], 3),
            "arrow_in_training": round(seen["arrow"], 3),
            "arrow_in_validation": round(new["arrow"], 3),
        }

    ship(NAME, trained, {"data": data_card(store), **how}, measure, to)
