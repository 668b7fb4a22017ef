"""What one prior for every shape costs: ``python benchmarks/shapes.py RUN ...``, with the film at hand.

Each RUN is the folder of a prior that learned one shape alone, made for example by

    python -m vg.train prior-64 --name wide --prior.shapes 48 84 --scale 0.25

so that it has more fresh views of that shape than the shipped prior, which draws one of six shapes for every batch of
them. The other batches, one in three, are the film at its own shape for both. Printed are bits per token of both, on
the same held-out windows of the film, whose middle is cut to the shape. Shapes that were in no training follow.
"""

import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from vg import checkpoints
from vg.data import Clips
from vg.data.augment import largest_part
from vg.data.pixels import middle
from vg.experiments.config import FilmData
from vg.experiments.film import open_footage, open_sources
from vg.models import Prior, TubeletTokenizer

FRAMES, LENGTHS = 48, (1, 3, 6)  # of a window, and of its beginnings in latent frames
UNSEEN = ((80, 96), (40, 100))  # a quarter larger, and a strip


def shaped(video: Tensor, size: tuple[int, int]) -> Tensor:
    """The largest middle part of (B, C, T, H, W) that has the shape of ``size``, at that size."""
    high, wide = (round(side) for side in largest_part(video.shape[-2:], size))
    frames = middle(video, (high, wide)).transpose(1, 2)
    small = F.interpolate(frames.flatten(0, 1), size=size, mode="bilinear", antialias=True, align_corners=False)
    return small.unflatten(0, frames.shape[:2]).transpose(1, 2)


@torch.no_grad()
def bits(prior: Prior, tokens: Tensor) -> dict[int, float]:
    """Bits per token of windows that are so many latent frames long."""
    fitted = prior.at(tuple(tokens.shape[2:]))
    return {t: round(float(torch.cat([fitted.nll_bits(x[:, :t]) for x in tokens.split(4)]).mean()), 3) for t in LENGTHS}


@torch.no_grad()
def main(runs: list[Path]) -> None:
    tokenizer: TubeletTokenizer = checkpoints.load("tubelet-fsq-64")
    shipped: Prior = checkpoints.load("prior-64")
    data = FilmData(size=64, colour=False)
    footage = open_footage(data, open_sources(data), multiple=tokenizer.tubelet[1:])
    clips = Clips(footage.large, footage.split.held_out, FRAMES, stride=FRAMES // 2)
    video = clips.take(range(len(clips)))
    print(f"{len(video)} windows of {FRAMES} frames")

    def tokens_at(size: tuple[int, int]) -> Tensor:
        return torch.cat([tokenizer.encode(part) for part in shaped(video, size).split(8)])

    for run in runs:
        alone: Prior = checkpoints.load("prior", run)
        size = tuple(checkpoints.card("prior", run).facts["experiment"]["prior"]["shapes"][0])
        tokens = tokens_at(size)
        both = zip(bits(shipped, tokens).items(), bits(alone, tokens).values())
        print(f"{size[0]}x{size[1]}:", json.dumps({str(t): [mixed, one] for (t, mixed), one in both}), flush=True)
    for size in UNSEEN:
        print(f"{size[0]}x{size[1]}:", json.dumps(bits(shipped, tokens_at(size))), flush=True)


if __name__ == "__main__":
    main([Path(run) for run in sys.argv[1:]])
