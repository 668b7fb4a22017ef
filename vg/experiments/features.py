"""Training the network whose features say how much like the film a clip is."""

import torch
import torch.nn.functional as F
from torch import Tensor

from vg.data import Clips, Shot
from vg.evaluation.features import accuracy, ordered, shot_numbers
from vg.evaluation.tokenizer import FRAMES
from vg.experiments.run import Part, Run
from vg.models import ClipFeatures, FeaturesConfig
from vg.models.features import ORDERS
from vg.profiles import device
from vg.training import Loss


def degrade(video: Tensor, coarsest: float = 0.4, noise: float = 0.06) -> Tensor:
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


def jitter(video: Tensor, calm: float = 10.2, shake: float = 0.7) -> Tensor:
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
        grid = F.affine_grid(place.to(clip), [T, C, H, W], align_corners=False)
        clip = F.grid_sample(clip.transpose(0, 1), grid, padding_mode="border", align_corners=False).transpose(0, 1)
        made.append(clip + 0.02 * more * torch.randn(1, T, 1, 1).to(clip))
    return torch.stack(made)


def features_loss(clips: Clips, shots: list[Shot]) -> Loss:
    """Cross-entropy of the shot's name and of the frames' order, for batches of clip numbers.

    Clips are mirrored half of the time, so that left and right do not tell the arrow of time, and degraded.
    """
    names = shot_numbers(clips, shots)

    def loss(model: ClipFeatures, numbers: Tensor) -> Tensor:
        where, B = next(model.parameters()).device, len(numbers)
        order = torch.randint(len(ORDERS), (B,))
        mirrored = torch.rand(B) < 0.5
        video = [ordered(clip, ORDERS[k]) for clip, k in zip(clips.take(numbers.tolist()), order.tolist())]
        video = torch.stack([clip.flip(-1) if turn else clip for clip, turn in zip(video, mirrored)]).to(where)
        shot, said = model.guess(degrade(jitter(video)))
        return F.cross_entropy(shot, names[numbers.cpu()].to(where)) + F.cross_entropy(said, order.to(where))

    return loss


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
