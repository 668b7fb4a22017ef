"""A small network that has looked at the film: its features measure how alike two sets of clips are."""

from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from vg.models.blocks import Block, pad_to
from vg.models.frozen import Freezable


@dataclass(frozen=True)
class FeaturesConfig:
    """Shape of a ``ClipFeatures``.

    Attributes:
        shots: how many shots it names.
        size: height and width that clips are brought to.
        width: D of the first blocks; those after them have twice as many.
        depth: blocks on either scale.
        features: how many numbers describe a clip.
        answers: how many things it can say of what became of a clip; first, that nothing did.
    """

    shots: int = 22
    size: int = 64
    width: int = 48
    depth: int = 2
    features: int = 64
    answers: int = 4


ORDERS = ("as filmed", "backwards", "shuffled", "standing still")
"""What can have become of a clip's frames: the last repeats one of them."""


class ClipFeatures(Freezable):
    """A clip as a few numbers, from which its shot and the order of its frames can be told.

    A Frechet distance on features asks whether two sets of clips are alike (FVD: Unterthiner et al., 2018,
    arXiv:1812.01717). FVD takes its features from a large network that was trained to name actions in colour videos
    of people; ours was trained on this film, to name the shot and to tell in which of four orders a clip's frames
    are. One is backwards (the arrow of time: Wei et al., 2018, "Learning and using the arrow of time"), which is hard
    in a cartoon full of cycles; the others see to it that motion is looked at. It sees frames, and how each differs
    from the last.

    Example:
        >>> ClipFeatures(FeaturesConfig())(torch.zeros(2, 1, 16, 64, 64)).shape
        torch.Size([2, 64])
    """

    inner = ("near", "far")

    def __init__(self, config: FeaturesConfig = FeaturesConfig()):
        super().__init__()
        self.config = config
        d = config.width
        self.embed = nn.Linear(2 * 2 * 4 * 4, d)
        self.near = nn.ModuleList(Block(d) for _ in range(config.depth))
        self.wider = nn.Linear(8 * d, 2 * d)
        self.far = nn.ModuleList(Block(2 * d) for _ in range(config.depth))
        self.to_features = nn.Sequential(nn.LayerNorm(2 * d), nn.Linear(2 * d, config.features))
        self.shot = nn.Linear(config.features, config.shots)
        self.order = nn.Linear(config.features, config.answers)
        self.to(memory_format=torch.channels_last_3d)

    def forward(self, video: Tensor) -> Tensor:
        """Video ``(B, C, T, H, W)`` in [-1, 1], T from 2 -> features ``(B, features)``. Colour counts as grey.

        Raises:
            ValueError: if there is one frame alone, or none, or C is neither 1 nor 3.
        """
        if video.ndim != 5 or video.shape[1] not in (1, 3) or video.shape[2] < 2:
            raise ValueError(
                f"ClipFeatures: got {tuple(video.shape)}, expected (B, C, T, H, W) with C 1 or 3 and T from 2."
            )
        grey, side = video.mean(1), self.config.size
        if grey.shape[-2:] != (side, side):
            grey = F.interpolate(grey, size=(side, side), mode="bilinear", antialias=True)
        change = 4 * F.pad(grey[:, 1:] - grey[:, :-1], (0, 0, 0, 0, 1, 0))
        x = pad_to(torch.stack([grey, change], dim=1), (4, 8, 8))
        x = self.embed(rearrange(x, "b c (T t) (H h) (W w) -> b T H W (c t h w)", t=2, h=4, w=4))
        for block in self.near:
            x = block(x)
        x = self.wider(rearrange(x, "b (T t) (H h) (W w) d -> b T H W (t h w d)", t=2, h=2, w=2))
        for block in self.far:
            x = block(x)
        return self.to_features(x.mean((1, 2, 3)))

    def guess(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, C, T, H, W)`` -> logits of the shots ``(B, shots)``, and of what became of it ``(B, answers)``."""
        x = self(video)
        return self.shot(x), self.order(x)
