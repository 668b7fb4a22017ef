"""The Fréchet distance between two sets of features."""

import math

import torch
from torch import Tensor


def frechet_distance(features: Tensor, others: Tensor) -> float:
    """How far apart two sets of clips are: between the normal distributions that have their means and covariances.

    Dowson and Landau, 1982; on a network's features it is FID (Heusel et al., 2017, arXiv:1706.08500, section 3) and
    FVD (Unterthiner et al., 2018, arXiv:1812.01717). 0 for equal sets. Few clips seem further apart than many: compare
    sets of one size.

    Args:
        features: (N, D) of one set, such as ``ClipFeatures`` gives them.
        others: (M, D) of the other.

    Raises:
        ValueError: if a set has fewer than two clips, or D differs.
    """
    if min(len(features), len(others)) < 2 or features.shape[1:] != others.shape[1:]:
        raise ValueError(
            f"frechet_distance: got {tuple(features.shape)} and {tuple(others.shape)}, expected (N, D) and (M, D) "
            "with N and M from 2."
        )
    a, b = features.cpu().double(), others.cpu().double()
    gap = (a.mean(0) - b.mean(0)).square().sum()
    # the trace of (S T)^(1/2) is the sum of the singular values of A B^T, where S is A^T A and T is B^T B
    a, b = ((x - x.mean(0)) / math.sqrt(len(x) - 1) for x in (a, b))
    both = torch.linalg.svdvals(a @ b.T).sum()
    return max(0.0, float(gap + a.square().sum() + b.square().sum() - 2 * both))
