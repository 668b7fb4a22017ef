"""What a card says of a prior: the bits that a token costs on held-out shots, beside the baselines."""

import math

import torch
from torch import Tensor

from vg.data import Shot, Split
from vg.evaluation.baselines import copy_bits, unigram_bits
from vg.latents import LatentCache, Windows
from vg.models import Prior, TubeletTokenizer
from vg.precision import autocast

LONGEST = 128  # latent frames of a shot that are measured as a whole: of the film all, of an hour the beginning
MEASURED = 4  # latent frames of the windows in which it is measured, 32 frames; fewer where no shot is so long


def prior_facts(prior: Prior, tokenizer: TubeletTokenizer, cache: LatentCache, split: Split) -> dict:
    """Bits a token of shots that it has not seen, beside the baselines: in windows, and whole from the first frame on.

    The baselines count codes of patches: where a token holds several, they take them for independent of each other.

    Returns:
        figures of the test shots; the same of the validation shots under "validation". Without test shots those of the
        validation shots alone.
    """
    found = _bits(prior, tokenizer, cache, split.train, split.reported)
    if split.test:
        found["validation"] = _bits(prior, tokenizer, cache, split.train, split.validation)
    return found


def _bits(prior: Prior, tokenizer: TubeletTokenizer, cache: LatentCache, train: list[Shot], shots: list[Shot]) -> dict:
    t, h, w = (n * p for n, p in zip((1, *cache.grid), tokenizer.tubelet))
    raw = tokenizer.raw_bits((t, h, w)) / math.prod(cache.grid)
    codes, patches = math.prod(tokenizer.patch_levels), math.prod(tokenizer.config.group)
    seen = measured_windows(cache, train)
    known = tokenizer.patch_indices(seen.take(torch.arange(0, len(seen), 7)))
    view = view_of(cache, shots)
    held = measured_windows(cache, shots, [view])
    truth = held.take(torch.arange(len(held)))

    def measured(windows: Tensor) -> Tensor:
        where = prior.start.device
        with torch.no_grad(), autocast(where):
            return torch.cat([prior.nll_bits(part.to(where)).cpu() for part in windows.split(4)])

    def copied(windows: Tensor) -> Tensor:
        return patches * copy_bits(known, tokenizer.patch_indices(windows), codes)

    bits, copy = measured(truth), copied(truth)
    stretches = [tokens[None, :LONGEST] for _, tokens in cache.stretches(shots, [view])]  # each (1, t, h, w)
    by_shot = [measured(tokens).flatten() for tokens in stretches]
    whole = torch.cat(by_shot)
    whole_copy = torch.cat([copied(tokens).flatten() for tokens in stretches])
    later = {
        "bits_a_token_after_the_first_latent_frame": round(float(bits[:, 1:].mean()), 3),
        "copy_last_patch_after_the_first_latent_frame": round(float(copy[:, tokenizer.config.group[0] :].mean()), 3),
    }
    return {
        "windows": len(held),
        "bits_a_token": round(float(bits.mean()), 3),
        "uniform": round(raw, 3),
        "unigram": round(patches * float(unigram_bits(known, tokenizer.patch_indices(truth), codes).mean()), 3),
        "copy_last_patch": round(float(copy.mean()), 3),
        **(later if bits.shape[1] > 1 else {}),
        "share_of_raw_bits": round(float(bits.mean()) / raw, 4),
        "whole_shots": {
            "shots": len(stretches),
            "bits_a_token": round(float(whole.mean()), 3),
            "by_shot": [round(float(bits.mean()), 3) for bits in by_shot],
            "copy_last_patch": round(float(whole_copy.mean()), 3),
            "share_of_raw_bits": round(float(whole.mean()) / raw, 4),
        },
    }


def view_of(cache: LatentCache, shots: list[Shot]) -> tuple[int, bool]:
    """The view, not mirrored, that holds most of some shots: phase 0, but where these are parts of a shot.

    Such a part may begin in the middle of a tubelet, and then another phase has one latent frame more of it.
    """
    views = sorted(view for view in cache.views if not view[1])
    return max(views, key=lambda view: sum(len(tokens) for _, tokens in cache.stretches(shots, [view])))


def measured_windows(cache: LatentCache, shots: list[Shot], views: list | None = None, stride: int = 1) -> Windows:
    """Windows of ``MEASURED`` latent frames, or of as many as the longest of the shots has; as ``cache.windows``."""
    return cache.windows(max(1, min(MEASURED, cache.longest(shots, views))), shots, views, stride)


def validation_windows(cache: LatentCache, val: list, most: int = 64) -> Tensor:
    """The windows that a prior is measured on while it trains: int64 (up to ``most``, t, h, w)."""
    held = measured_windows(cache, val, [view_of(cache, val)], stride=2)
    count = min(most, len(held))
    return held.take(torch.arange(count) * len(held) // count)
