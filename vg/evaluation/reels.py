"""Reels: clips beside each other in one picture that moves; and what new clips begin with."""

import torch
import torch.nn.functional as F
from torch import Tensor

from vg.data import FrameStore, Split, split_shots
from vg.models import Prior


def reel(*columns: Tensor, gap: int = 2) -> Tensor:
    """Clips (B, C, T, H, W), those of one column below each other: (C, T, height, width), white between them.

    A column that is shorter than another holds its last frame.
    """
    frames = max(column.shape[2] for column in columns)
    held = [torch.cat([c, c[:, :, -1:].expand(-1, -1, frames - c.shape[2], -1, -1)], dim=2) for c in columns]
    padded = [F.pad(column.clamp(-1, 1), (gap,) * 4, value=1.0) for column in held]
    return torch.cat([torch.cat(list(column), dim=-2) for column in padded], dim=-1)


def beginnings(store: FrameStore, count: int, frames: int, split: Split | None = None) -> Tensor | None:
    """The first frames of some shots, those held out first: (B, C, T, H, W), or None if no shot is long enough."""
    split = split or split_shots(store.shots)
    starts = [start for start, stop in [*split.held_out, *split.train] if stop - start >= frames]
    clips = [store.clip(start, start + frames) for start in starts[:count]]
    return torch.cat(clips) if clips else None


def some_labels(prior: Prior, count: int, seed: int) -> list[int] | None:
    """Labels sampled at random, of those that say where things stand; None for a prior that has none."""
    known = prior.labels_with_layouts()
    generator = torch.Generator().manual_seed(seed)
    return [known[i] for i in torch.randint(len(known), (count,), generator=generator)] if known else None
