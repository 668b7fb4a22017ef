"""The Fréchet distance between two sets of features, and what it would be of endlessly many."""

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
    # the trace of (S T)^(1/2) is the sum of the singular values of A B^T, where S is A^T A and T is B^T B; each is
    # replaced by its R of QR, which has D rows at most, and the same products
    a, b = (torch.linalg.qr((x - x.mean(0)) / math.sqrt(len(x) - 1), mode="r").R for x in (a, b))
    both = torch.linalg.svdvals(a @ b.T).sum()
    return max(0.0, float(gap + a.square().sum() + b.square().sum() - 2 * both))


def unbiased_frechet(features: Tensor, others: Tensor, draws: int = 16, seed: int = 0) -> float:
    """The Fréchet distance that endlessly many clips would have: 0, but for chance, for two sets of one kind.

    The distance of n clips to n others is too large by about a constant times 1 / n. So it is computed of random parts
    of both sets, of half to all of them, and a line through these distances over 1 / n is followed to 0 (Chong and
    Forsyth, 2020, arXiv:1911.07023, section 4). Of 94 clips and 64 features of two equal normal distributions the
    plain distance has about 28, this one 0 with a deviation of 2. It can be below 0.

    Args:
        features, others: (N, D) and (M, D), as in ``frechet_distance``; N and M from 8.
        draws: random parts of each size.
        seed: of these.

    Raises:
        ValueError: as ``frechet_distance``, and with fewer than 8 clips.
    """
    most = min(len(features), len(others))
    if most < 8:
        raise ValueError(f"unbiased_frechet: got {most} clips, expected 8 or more.")
    generator = torch.Generator().manual_seed(seed)

    def part(clips: Tensor, size: int) -> Tensor:
        return clips[torch.randperm(len(clips), generator=generator)[:size]]

    sizes = [round(most * share / 10) for share in range(5, 11) for _ in range(draws)]
    found = [frechet_distance(part(features, size), part(others, size)) for size in sizes]
    over = torch.tensor([[1.0, 1 / size] for size in sizes], dtype=torch.float64)
    return float(torch.linalg.lstsq(over, torch.tensor(found, dtype=torch.float64)[:, None]).solution[0])


def frechet_error(features: Tensor, others: Tensor, stretches: int, groups: int = 10) -> float:
    """The standard error of ``unbiased_frechet``: the jackknife over stretches of the film (Efron and Tibshirani,
    1993, "An Introduction to the Bootstrap", chapter 11).

    Clips of one stretch are alike, so that a stretch is left out as a whole, with its clips in both sets.

    Args:
        features, others: of clips of as many stretches each, row k of stretch ``k % stretches``.
        stretches: how many.
        groups: stretches are left out in so many groups at most.
    """
    groups = min(groups, stretches)
    kept = [
        [rows[(torch.arange(len(rows)) % stretches) % groups != out] for rows in (features, others)]
        for out in range(groups)
    ]
    without = torch.tensor([unbiased_frechet(*both) for both in kept], dtype=torch.float64)
    return float(((groups - 1) / groups * (without - without.mean()).square().sum()).sqrt())
