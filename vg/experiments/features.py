"""``film-features``: the network whose features say how much like the film a clip is."""

from dataclasses import asdict
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from vg.data import Clips, FrameStore, split_shots
from vg.models import ClipFeatures, FeaturesConfig
from vg.models.features import ORDERS
from vg.profiles import device
from vg.train.film import FRAMES, data_card, open_film
from vg.train.shipping import fit, run_folder, ship
from vg.training import Recipe, Trained

NAME = "film-features"
RECIPE = Recipe(steps=1800, lr=1e-3, muon=1e-2, warmup=50, ema=0.99)
BATCH = 8


def shot_numbers(clips: Clips, shots: list) -> Tensor:
    """Which of the shots each clip is of: int64 (len(clips),)."""
    stops = torch.tensor([stop for _, stop in shots])
    return torch.bucketize(torch.from_numpy(clips.starts), stops, right=True)


def ordered(clip: Tensor, order: str) -> Tensor:
    """A clip (C, T, H, W) in one of ``ORDERS``; shuffled by torch's own generator."""
    if order == "backwards":
        return clip.flip(1)
    if order == "shuffled":
        return clip[:, torch.randperm(clip.shape[1])]
    if order == "standing still":
        return clip[:, int(torch.randint(clip.shape[1], ()))][:, None].expand_as(clip)
    return clip


def worn(video: Tensor, coarsest: float = 0.4, noise: float = 0.06) -> Tensor:
    """Clips (B, C, T, H, W), each in another light, with more grain, and half of them blurred.

    What tells a shot or an order should be what is seen, not how sharp it is or that film has grain: a reconstruction
    has neither, and is still the same clip.
    """
    B, (H, W) = len(video), video.shape[-2:]
    contrast, light = 0.15 * (2 * torch.rand(2, B, 1, 1, 1, 1, device=video.device) - 1)
    made = []
    for clip in video * (1 + contrast) + light:  # (C, T, H, W)
        blurred, share = torch.rand(2).tolist()
        if blurred < 0.5:
            small = [max(1, round(n * (coarsest + (1 - coarsest) * share))) for n in (H, W)]
            clip = F.interpolate(clip, size=small, mode="bilinear", antialias=True)
            clip = F.interpolate(clip, size=(H, W), mode="bilinear")
        made.append(clip + noise * torch.rand(()).to(clip) * torch.randn_like(clip))
    return torch.stack(made).clamp(-1, 1)


def shaken(video: Tensor, calm: float = 10.2, shake: float = 0.7) -> Tensor:
    """Clips (B, C, T, H, W), half of them with less trembling and half of them with more.

    Film trembles from frame to frame where nothing moves; a reconstruction does not. Without this the features would
    count trembling: then a clip that is averaged over three frames is far from the film, and one that is sharpened in
    time is near to it, which no eye would say.

    Args:
        video: the clips.
        calm: changes from a clip's mean frame are made smaller by up to so many grey levels; smaller ones vanish.
        shake: every frame is moved at random by up to so many pixels, and its light by 2.5 grey levels for each of
            them (standard deviations).
    """
    made = []
    for clip in video:  # (C, T, H, W)
        (calmed, moved), (less, more) = torch.rand(2).tolist(), torch.rand(2).tolist()
        less = calm / 127.5 * less if calmed < 0.5 else 0.0
        more = shake * more if moved < 0.5 else 0.0
        mean = clip.mean(1, keepdim=True)
        change = clip - mean
        clip = mean + change.sign() * (change.abs() - less).clamp(min=0)
        C, T, H, W = clip.shape
        place = torch.eye(2, 3).repeat(T, 1, 1)
        place[:, :, 2] = 2 * more / W * torch.randn(T, 2)  # in halves of the picture
        grid = F.affine_grid(place.to(clip), (T, C, H, W), align_corners=False)
        clip = F.grid_sample(clip.transpose(0, 1), grid, padding_mode="border", align_corners=False).transpose(0, 1)
        made.append(clip + 0.02 * more * torch.randn(1, T, 1, 1).to(clip))
    return torch.stack(made)


def features_loss(clips: Clips, shots: list):
    """Cross-entropy of the shot's name and of the frames' order, for batches of clip numbers.

    Clips are mirrored half of the time, so that left and right do not tell the arrow of time; ``shaken``, and ``worn``.
    """
    names = shot_numbers(clips, shots)

    def loss(model: ClipFeatures, numbers: Tensor) -> Tensor:
        where, B = next(model.parameters()).device, len(numbers)
        order = torch.randint(len(ORDERS), (B,))
        mirrored = torch.rand(B) < 0.5
        video = [ordered(clip, ORDERS[k]) for clip, k in zip(clips.take(numbers.tolist()), order.tolist())]
        video = torch.stack([clip.flip(-1) if turn else clip for clip, turn in zip(video, mirrored)]).to(where)
        shot, told = model.guess(worn(shaken(video)))
        return F.cross_entropy(shot, names[numbers.cpu()].to(where)) + F.cross_entropy(told, order.to(where))

    return loss


@torch.no_grad()
def accuracy(model: ClipFeatures, clips: Clips, shots: list | None = None, seed: int = 0) -> dict[str, float]:
    """Share of right answers: of each of ``ORDERS``; "arrow of time", where backwards or not is all that is asked;
    and "shot" where ``shots`` can be named.
    """
    names = None if shots is None else shot_numbers(clips, shots)
    right = dict.fromkeys([*ORDERS, "arrow of time", *(["shot"] if shots else [])], 0.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part in torch.arange(len(clips)).split(16):
            video = clips.take(part.tolist())
            for k, order in enumerate(ORDERS):
                seen = torch.stack([ordered(clip, order) for clip in video]).to(next(model.parameters()).device)
                shot, told = (x.cpu() for x in model.guess(seen))
                right[order] += int((told.argmax(1) == k).sum())
                if k < 2:
                    right["arrow of time"] += int((told[:, :2].argmax(1) == k).sum()) / 2
                if k == 0 and names is not None:
                    right["shot"] += int((shot.argmax(1) == names[part]).sum())
    return {name: count / len(clips) for name, count in right.items()}


def train(store: FrameStore, folder: Path) -> tuple[Trained, dict]:
    """Train on the store's training shots; how often the order is told on validation shots is in the history."""
    shots, val = split_shots(store.shots)
    clips, held = Clips(store, shots, FRAMES), Clips(store, val, FRAMES, stride=8)
    torch.manual_seed(RECIPE.seed)
    model = ClipFeatures(FeaturesConfig(shots=len(shots), size=store.frames.shape[-1])).to(device())

    def draw(generator: torch.Generator) -> Tensor:
        return torch.randint(len(clips), (BATCH,), generator=generator)

    trained = fit(
        model, features_loss(clips, shots), draw, RECIPE, folder=folder, every=250,
        evaluate=lambda m: {f"{name}, validation": share for name, share in accuracy(m, held).items()},
    )  # fmt: skip
    return trained, {"batch": BATCH, "frames": FRAMES, "recipe": asdict(RECIPE)}


def train_features(to: Path) -> None:
    """``film-features``: at 64 pixels, on the film's training shots."""
    store = open_film()
    shots, val = split_shots(store.shots)
    trained, how = train(store, run_folder(NAME, store.name, data_card(store), BATCH))

    def measure(model: ClipFeatures) -> dict:
        seen = accuracy(model, Clips(store, shots, FRAMES, stride=8), shots)
        new = accuracy(model, Clips(store, val, FRAMES, stride=8))
        return {
            "training": {name: round(share, 3) for name, share in seen.items()},
            "validation": {name: round(share, 3) for name, share in new.items()},
        }

    ship(NAME, trained, {"data": data_card(store), **how}, measure, to)
