"""One explorer of each kind, small, for the tests with and without a browser."""

import numpy as np
import torch

from vg.show import interactive
from vg.show.interactive import Interactive

LOGITS = [[2.0, 0.5, -1.0, 0.0], [0.3, 1.2, -0.4], [0.0, 2.5, 1.0]]
ALONE = [[0.0, 1.0, 0.5, 0.0], [0.0, 0.2, 0.4], [1.0, 0.0, 0.0]]
START = {"temperature": 0.9, "top_p": 0.95, "history": 1.2}
POINTS = torch.randn(60, 2, generator=torch.Generator().manual_seed(1)).round(decimals=3)


def film(frames: int = 12) -> torch.Tensor:
    """(1, T, 16, 24) in [-1, 1]; every frame and every row is a different one."""
    return torch.rand(1, frames, 16, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1


def weights() -> torch.Tensor:
    """(Q, layers, N, t, h, w): every map another one; each query's weights sum to one."""
    made = torch.rand(3, 2, 2, 4, 4, 6, generator=torch.Generator().manual_seed(0))
    return made / made.sum((-3, -2, -1), keepdim=True)


def all_kinds() -> dict[str, Interactive]:
    """``{name of its script: explorer}``."""
    still, moved = film(2)[:, 0], film(6).movedim(0, 1)  # (C, H, W), (6, C, H, W)
    pictures = {"image": still[None, None], "yours": moved.view(2, 3, *moved.shape[1:])}
    captions = {"yours": np.array([["a", "b", "c"], ["d", "e", "f"]])}
    box = (2, 4, 5, 6)
    axes = {"direction": ["left", "right"], "amount": [-1, 0, 1]}
    queries = [(3, 0, 1), (3, 1, 2), (3, 3, 5)]
    heads = {"near": 0.25, "in time": 1 / 64}
    return {
        "variations": interactive.variations(pictures, axes, start={"amount": 1}, captions=captions, boxes=[box]),
        "film_slice": interactive.film_slice(film(), row=3),
        "codebook": interactive.codebook(POINTS, POINTS[:5], (0.3, 0.1)),
        "rounding": interactive.rounding(levels=5, z=0.4),
        "slopes": interactive.slopes(heads, grid=(4, 6), span=3),
        "attention": interactive.attention_maps(weights(), film(4), queries),
        "probabilities": interactive.probabilities(LOGITS, ALONE, [0, 1, 1], START),
    }


LEVELS, TUBELET, PLACE = (4, 3), (5, 4, 4), (1, 3, 5)


def codes() -> tuple[torch.Tensor, torch.Tensor]:
    """A clip (1, 10, 30, 40), and for each of 12 codes a copy with another grey in the tubelet at ``PLACE``."""
    clip = torch.zeros(1, 10, 30, 40)
    clip[..., 5:, 12:16, 20:24] = 0.1
    drawn = clip.repeat(12, 1, 1, 1, 1)
    drawn[..., 5:, 12:16, 20:24] = torch.linspace(-1, 1, 12).view(12, 1, 1, 1, 1)
    return clip, drawn


def of_codes() -> Interactive:
    """What the two digits of a token draw, to begin with digits 2 and 1."""
    clip, drawn = codes()
    return interactive.digits(drawn, clip, LEVELS, (2, 1), PLACE, TUBELET)


def of_bits() -> Interactive:
    """Grey clips: the film, tokens that miss by 0.2, a codec that misses by less the more bits it has."""
    clip = torch.zeros(1, 8, 16, 24)
    coded = [(clip + 0.4 / (k + 1), 1000 * (k + 1)) for k in range(5)]
    return interactive.bitrates(clip, (clip + 0.2, 2900.4), coded)
