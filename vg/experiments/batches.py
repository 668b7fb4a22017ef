"""What training sees: batch samplers over clips, images and tokens. Each gives a batch from a generator."""

import torch
import torch.nn.functional as F
from torch import Tensor

from vg.data.clips import Clips
from vg.data.images import ImageSet
from vg.latents import Windows
from vg.models.tokenizer import Tokenizer
from vg.precision import autocast
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
        with autocast(where):  # as the cache's
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
