"""What a card says of the clip features: how often they tell the shot and the order of the frames."""

import torch
from torch import Tensor

from vg.data import Clips
from vg.models import ClipFeatures
from vg.models.features import ORDERS
from vg.precision import autocast


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


@torch.no_grad()
def accuracy(model: ClipFeatures, clips: Clips, shots: list | None = None, seed: int = 0) -> dict[str, float]:
    """Share of right answers: of each of ``ORDERS``; "arrow of time", where backwards or not is all that is asked;
    and "shot" where ``shots`` can be named.
    """
    names = None if shots is None else shot_numbers(clips, shots)
    where = next(model.parameters()).device
    right = dict.fromkeys([*ORDERS, "arrow of time", *(["shot"] if shots else [])], 0.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part in torch.arange(len(clips)).split(16):
            video = clips.take(part.tolist())
            for k, order in enumerate(ORDERS):
                seen = torch.stack([ordered(clip, order) for clip in video]).to(where)
                with autocast(where):
                    shot, guessed = (x.cpu() for x in model.guess(seen))
                right[order] += int((guessed.argmax(1) == k).sum())
                if k < 2:
                    right["arrow of time"] += int((guessed[:, :2].argmax(1) == k).sum()) / 2
                if k == 0 and names is not None:
                    right["shot"] += int((shot.argmax(1) == names[part]).sum())
    return {name: count / len(clips) for name, count in right.items()}
