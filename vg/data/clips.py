"""Clips: windows of one length that lie within a shot."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vg.data.pixels import to_unit
from vg.data.shots import Shot
from vg.data.store import FrameStore


class Clips(Dataset):
    """Every window of ``frames`` frames that lies within one of the shots; none crosses a cut.

    Args:
        store: the frames.
        shots: which shots (a side of ``split_shots``); default all.
        frames: T, the length of a clip.
        stride: frames from one clip's start to the next within a shot.

    Attributes:
        starts: int64 (len,), the first frame of each clip.

    Raises:
        ValueError: if no shot is as long as a clip.
    """

    def __init__(self, store: FrameStore, shots: Iterable[Shot] | None = None, frames: int = 16, stride: int = 1):
        shots = list(store.shots if shots is None else shots)
        self.store, self.frames = store, frames
        starts = [np.arange(start, stop - frames + 1, stride) for start, stop in shots]
        self.starts = np.concatenate(starts) if starts else np.zeros(0, int)
        if not len(self.starts):
            longest = max((stop - start for start, stop in shots), default=0)
            raise ValueError(
                f"no clip of {frames} frames fits the {len(shots)} shots of {store.name!r}: the longest has "
                f"{longest}. Ask for shorter clips, or take a longer video."
            )

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, i: int) -> Tensor:
        """Clip ``i``: float (C, T, H, W) in [-1, 1]."""
        return self.take([i])[0]

    def take(self, numbers: Iterable[int]) -> Tensor:
        """Several clips by number: float (B, C, T, H, W) in [-1, 1]."""
        starts = self.starts[np.asarray(list(numbers))]
        frames = np.stack([self.store.frames[s : s + self.frames] for s in starts])
        return to_unit(torch.from_numpy(frames))

    def sample(self, batch: int, generator: torch.Generator | None = None) -> Tensor:
        """Random clips, with replacement: float (batch, C, T, H, W) in [-1, 1]."""
        return self.take(torch.randint(len(self), (batch,), generator=generator).tolist())
