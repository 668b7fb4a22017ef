"""Do figures hold together? The parts of clips that move the most are described, and told from damaged ones.

Features of whole clips see places and rhythm; of a figure they hardly see whether its parts fit (benchmarks/LOG.md).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from vg.evaluation.frechet import frechet_error, unbiased_frechet
from vg.models import ClipFeatures
from vg.precision import autocast, full_precision

PIECE = 8  # frames of a part
COUNT = 2  # parts of a piece
TREMBLES = 10 / 127.5  # a pixel that changes by less from frame to frame does not move


def moving_parts(video: Tensor, count: int = COUNT) -> Tensor:
    """The ``count`` liveliest squares of every ``PIECE`` frames of clips, half as wide as their short side is long.

    The first lies where most changes from frame to frame; each other one too, but further than a quarter of the short
    side from those before. Frames after the last whole piece are left out.

    Args:
        video: (B, C, T, H, W).
        count: squares of a piece.

    Returns:
        (N, C, PIECE, s, s), where N is T // PIECE * count * B; row k is of clip k % B.

    Raises:
        ValueError: if there are fewer than ``PIECE`` frames.
    """
    T, H, W = video.shape[2:]
    if T < PIECE:
        raise ValueError(f"moving_parts: got {T} frames, expected {PIECE} or more.")
    pieces = torch.cat(video[:, :, : T // PIECE * PIECE].split(PIECE, dim=2))
    side = min(H, W) // 2
    change = pieces.diff(dim=2).abs().mean(1)
    lively = F.avg_pool2d((change * (change > TREMBLES)).mean(1)[:, None], side, stride=1)[:, 0]  # by upper left corner
    rows, columns = (torch.arange(n, device=video.device) for n in lively.shape[1:])
    found = []
    for _ in range(count):
        at = lively.flatten(1).argmax(1)
        top, left = at // lively.shape[2], at % lively.shape[2]
        found += [piece[..., y : y + side, x : x + side] for piece, y, x in zip(pieces, top.tolist(), left.tolist())]
        near = (rows - top[:, None]).abs()[:, :, None].maximum((columns - left[:, None]).abs()[:, None])
        lively = lively.masked_fill(near <= side // 2, -1.0)
    return torch.stack(found)


@torch.no_grad()
def describe_parts(figures: ClipFeatures, video: Tensor) -> tuple[Tensor, Tensor]:
    """Features (N, D) of the moving parts of clips, and how sure the network is that each is as filmed: (N,)."""
    where, features, whole = next(figures.parameters()).device, [], []
    with autocast(where):
        for part in moving_parts(video).split(64):
            x = figures(part.to(where))
            features.append(full_precision(x).cpu())
            whole.append(full_precision(figures.order(x)).softmax(1)[:, 0].cpu())
    return torch.cat(features), torch.cat(whole)


def figure_facts(made: dict[str, Tensor], real: Tensor, figures: ClipFeatures) -> dict[str, dict[str, float]]:
    """How near the moving parts of each set of clips are to those of the real ones, and how many are whole.

    Returns:
        "distance", "distance_error": unbiased Frechet distance of moving parts, and its standard error.
        "whole", "whole_error": the mean probability that the network gives to parts being as filmed, and its standard
        error by clip. It is not near 1 for the film: some damages cannot be told from what was filmed.
    """
    known, _ = describe_parts(figures, real)
    found: dict[str, dict[str, float]] = {"distance": {}, "distance_error": {}, "whole": {}, "whole_error": {}}
    for name, video in made.items():
        features, whole = describe_parts(figures, video)
        of_clips = whole.view(-1, len(video)).mean(0)
        found["distance"][name] = round(unbiased_frechet(features, known), 1)
        found["distance_error"][name] = round(frechet_error(features, known, len(video)), 1)
        found["whole"][name] = round(float(of_clips.mean()), 3)
        found["whole_error"][name] = round(float(of_clips.std()) / len(video) ** 0.5, 3)
    return found
