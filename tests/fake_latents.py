"""A tokenizer and a store small enough to be killed often."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from vg import latents


@dataclass(frozen=True)
class FakeConfig:
    share: float = 0.5


class FakeTokenizer(nn.Module):
    """A linear map of each tubelet, rounded: a token sees its tubelet alone."""

    def __init__(self, levels=(8, 5, 5), tubelet=(3, 4, 4), seed=0, share=0.5):
        super().__init__()
        self.config = FakeConfig(share)
        self.levels, self.tubelet = levels, tubelet
        weights = torch.randn(math.prod(tubelet), generator=torch.Generator().manual_seed(seed))
        self.register_buffer("weights", weights)
        self.encoded = 0  # videos so far

    def encode(self, video, past=None):
        assert not self.training and not torch.is_grad_enabled()
        assert video.dtype == torch.float32 and video.abs().max() <= 1
        self.encoded += 1
        (b, _, t, h, w), (p, q, r) = video.shape, self.tubelet
        cells = video.mean(1).reshape(b, t // p, p, h // q, q, w // r, r).permute(0, 1, 3, 5, 2, 4, 6)
        total = (cells.flatten(4) * self.weights).sum(-1)
        return (total.abs() * 7919).long() % math.prod(self.levels)


def fake_store(shots=((0, 11), (11, 13), (13, 22), (22, 30), (30, 43)), seed=0, **changes):
    """43 frames in 5 shots, of which the second is shorter than a tubelet."""
    rng = np.random.default_rng(seed)
    fields = {
        "frames": rng.integers(0, 256, (43, 1, 8, 12), dtype=np.uint8),
        "shots": list(shots),
        "name": "film",
        "source_sha256": f"{seed:064x}",
        "key": "size 8x12, 12 fps",
    }
    return SimpleNamespace(**(fields | changes))


def write(folder, tokenizer=None, store=None, **changes):
    settings = {"name": "fake-8", "mirrored": True, "shard_frames": 10, "progress": False, "patience": 20}
    return latents.write(folder, tokenizer or FakeTokenizer(), store or fake_store(), **(settings | changes))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class Slow(FakeTokenizer):
    def encode(self, video, past=None):
        time.sleep(0.004)
        return super().encode(video, past)


def process(folder, barrier, ends):
    """Of several: write a cache as soon as all are there, and say how many shots' views it encoded, or its error."""
    tokenizer = Slow()
    barrier.wait()
    try:
        write(Path(folder), tokenizer)
        ends.put(tokenizer.encoded)
    except Exception as problem:
        ends.put(repr(problem))
