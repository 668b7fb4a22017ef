"""Augmentation: clips cut out of larger ones, mirrored, run backwards, in another light, degraded and trembling."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vg.data.clips import Clips
from vg.data.pixels import turn_hue


def random_views(
    clips: Clips,
    batch: int,
    size: int | tuple[int, int],
    least: float = 0.5,
    most: float = 1.0,
    whole: float = 1 / 3,
    gain: float = 0.15,
    backwards: float = 0.5,
    hue: float = 0.0,
) -> Callable[[torch.Generator], Tensor]:
    """Random clips at random places and scales: a few shots look like many. Float (B, C, T, H, W), within [-1, 1].

    Each clip is a part of a larger picture, of the aspect of ``size`` and brought to it, sharp, as if the camera had
    stood closer: a third of the time the largest there is, which is the whole picture where the aspect is the picture's
    own. Mirrored half of the time, run backwards half of the time, and with a little more or less contrast. With
    ``least`` and ``most`` both ``size / H`` and ``whole`` 0 the parts are as sharp as the pictures: crops.

    Args:
        clips: of frames larger than ``size``, at best twice as large.
        batch: B.
        size: (H, W) of the result, or one number for both.
        least: the smallest part that is cut out, as a share of the largest's sides; below ``size / H`` it would be
            blurred.
        most: the largest.
        whole: how often it is the whole picture.
        gain: contrast and brightness change by up to this share of the range.
        backwards: share of the clips that run backwards.
        hue: share of the clips in colour whose hues are turned, by any angle: few scenes have few colours.
    """
    size = (size, size) if isinstance(size, int) else (size[0], size[1])

    def sample(generator: torch.Generator) -> Tensor:
        made = []
        for clip in clips.sample(batch, generator):  # (C, T, H, W)
            all_of_it, mirrored, reversed_, scale, down, right, contrast, light = torch.rand(
                8, generator=generator
            ).tolist()
            share = 1.0 if all_of_it < whole else least + (most - least) * scale
            H, W = (round(side * share) for side in largest_part(clip.shape[-2:], size))
            y, x = (int(place * (side - cut + 1)) for place, side, cut in zip((down, right), clip.shape[-2:], (H, W)))
            part = clip[..., y : y + H, x : x + W].transpose(0, 1)  # (T, C, H, W)
            part = F.interpolate(part, size=size, mode="bilinear", antialias=True, align_corners=False)
            part = part * (1 + gain * (2 * contrast - 1)) + gain * (2 * light - 1)
            part = part.flip(-1) if mirrored < 0.5 else part
            part = (part.flip(0) if reversed_ < backwards else part).transpose(0, 1)
            if hue and len(part) == 3:
                turned, angle = torch.rand(2, generator=generator).tolist()
                part = turn_hue(part, 2 * math.pi * angle) if turned < hue else part
            made.append(part)
        return torch.stack(made).clamp(-1, 1)

    return sample


def largest_part(picture: Sequence[int], size: tuple[int, int]) -> tuple[float, float]:
    """Height and width of the largest part of a picture (H, W) that has the aspect of ``size``."""
    H, W = picture
    return min(H, W * size[0] / size[1]), min(W, H * size[1] / size[0])


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
