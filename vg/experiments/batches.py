"""What training sees: batch samplers over clips, images and tokens. Each gives a batch from a generator."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vg.data.clips import Clips
from vg.data.images import ImageSet
from vg.data.pixels import turn_hue
from vg.latents import Windows
from vg.models.tokenizer import Tokenizer
from vg.training import BatchSampler


def tokenizer_batches(clips: Clips, batch: int, shift: int = 2, reverse: bool = False) -> BatchSampler:
    """Random clips, mirrored half of the time and moved by up to ``shift`` pixels: float (B, C, T, H, W).

    With ``reverse`` half of the batches run backwards: a short film has twice as many motions then.
    """

    def sample(generator: torch.Generator) -> Tensor:
        video = clips.sample(batch, generator)
        if torch.rand((), generator=generator) < 0.5:
            video = video.flip(-1)
        if reverse and torch.rand((), generator=generator) < 0.5:
            video = video.flip(2)
        down, right = torch.randint(2 * shift + 1, (2,), generator=generator).tolist()
        H, W = video.shape[-2:]
        padded = F.pad(video.flatten(0, 1), (shift,) * 4, mode="replicate")
        return padded[..., down : down + H, right : right + W].reshape(video.shape)

    return sample


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
) -> BatchSampler:
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


def largest_part(picture: Sequence[int], size: tuple[int, int]) -> tuple[float, float]:
    """Height and width of the largest part of a picture (H, W) that has the aspect of ``size``."""
    H, W = picture
    return min(H, W * size[0] / size[1]), min(W, H * size[1] / size[0])


def fresh_tokens(views: BatchSampler, tokenizer: Tokenizer[Tensor], backwards: int = -1) -> BatchSampler:
    """Clips that no cache holds, as batches for ``prior_loss`` without a label: ``pack_batch``.

    A few pixels to the side are other tokens, and so are other sizes: to a prior, which has to foretell tokens, a
    short film is longer if every batch is seen from somewhere else. Encoding takes a fraction of a step of the prior.

    Args:
        views: clips (B, C, T, H, W), such as ``random_views``; T whole tubelets.
        tokenizer: on the device that is to encode them; it learns nothing here.
        backwards: 1 if they run backwards, 0 if forwards, -1 if some do.
    """
    where = next(tokenizer.parameters()).device

    def sample(generator: torch.Generator) -> Tensor:
        indices = tokenizer.encode(views(generator).to(where))
        return pack_batch(indices, torch.full_like(indices[:, 0, 0, 0], -1), backwards)

    return sample


def prior_batches(windows: Windows, batch: int, labelled: bool = True) -> BatchSampler:
    """Random windows of the latent cache with their shots' numbers, ``pack_batch``; they run forwards.

    Without ``labelled`` the number is -1, unknown: for pictures that are not what a label stands for, such as parts of
    the scene seen from nearer.
    """

    def sample(generator: torch.Generator) -> Tensor:
        numbers = windows.draw(batch, generator)
        shots = windows.shots[numbers] if labelled else torch.full((batch,), -1)
        return pack_batch(windows.take(numbers), shots, backwards=0)

    return sample


def pack_batch(indices: Tensor, label: Tensor, backwards: int) -> Tensor:
    """Clips of tokens and what is known of them, in one tensor, as the training loop takes a batch.

    Args:
        indices: (B, t, h, w) int64.
        label: (B,) int64, -1 for none.
        backwards: of all: 1 if they run backwards, 0 if forwards, -1 if some do.

    Returns:
        (B, t * h * w + 4) int64: tokens, label, backwards, h, w.
    """
    known = torch.tensor([backwards, *indices.shape[2:]]).to(indices).expand(len(indices), -1)
    return torch.cat([indices.flatten(1), label[:, None].to(indices), known], dim=1)


def unpack_batch(batch: Tensor) -> tuple[Tensor, Tensor, int]:
    """What ``pack_batch`` was given: indices (B, t, h, w), label (B,), backwards."""
    backwards, h, w = batch[0, -3:].tolist()
    return batch[:, :-4].view(len(batch), -1, h, w), batch[:, -4], backwards


def mixed_batches(labelled: list[BatchSampler], fresh: list[BatchSampler], share: float = 2 / 3) -> BatchSampler:
    """A batch of one of the ``labelled`` samplers, or with the chance ``share`` of one of the ``fresh`` ones.

    A label is to say where things stand, and from nearer or in a mirror they stand elsewhere: fresh views come without.
    """

    def sample(generator: torch.Generator) -> Tensor:
        kinds = fresh if torch.rand((), generator=generator) < share else labelled
        return kinds[int(torch.randint(len(kinds), (), generator=generator))](generator)

    return sample


def image_batches(images: ImageSet, batch: int, mirrored: bool = True) -> BatchSampler:
    """Random images, each mirrored with even chances unless ``mirrored`` is False: float (B, C, H, W) in [-1, 1]."""

    def sample(generator: torch.Generator) -> Tensor:
        pixels, _ = images.sample(batch, generator)
        if not mirrored:
            return pixels
        turned = torch.rand(batch, 1, 1, 1, generator=generator) < 0.5
        return torch.where(turned, pixels.flip(-1), pixels)

    return sample


def image_prior_batches(top: Tensor, bottom: Tensor, labels: Tensor, batch: int) -> BatchSampler:
    """Random images as rows of tokens: int64 (B, h' * w' + h * w + 1): top, bottom, and the class last.

    Args:
        top, bottom: (N, h', w') and (N, h, w), integers of any type, as ``VQVAE2.encode`` gives them.
        labels: (N,).
        batch: B.
    """

    def sample(generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(labels), (batch,), generator=generator)
        parts = top[rows].flatten(1), bottom[rows].flatten(1), labels[rows][:, None]
        return torch.cat([part.long() for part in parts], dim=1)

    return sample
