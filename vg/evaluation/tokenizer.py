"""What a card says of a tokenizer: how good its reconstructions of held-out clips are, beside the baselines."""

import math
from typing import Any

import torch
from torch import Tensor

from vg.data import Clips, FrameStore, Shot, Split, split_shots
from vg.evaluation.baselines import mean_frame, nearest_clip
from vg.evaluation.metrics import perplexity, psnr, ssim, stability, step_correlation, steps, usage
from vg.latents.search import search_codes
from vg.models import Tokenizer, TubeletTokenizer, VideoAutoencoder
from vg.precision import autocast, full_precision
from vg.progress import tqdm

FRAMES = 16  # of a clip
MOVES = 16 / 127.5  # a pixel moves where it is ever further than 16 grey levels from its mean over the clip


def held_out(store: FrameStore, most: int | None = None, shots: list[Shot] | None = None) -> Tensor:
    """The clips that every tokenizer is measured on: of some shots, every eighth frame the start of one.

    Args:
        store: the film.
        most: so many of them at most, evenly spread; default all.
        shots: which; default those of ``split_shots`` that figures are reported of.
    """
    clips = Clips(store, split_shots(store.shots).reported if shots is None else shots, FRAMES, stride=8)
    count = len(clips) if most is None else min(most, len(clips))
    return clips.take(len(clips) * k // count for k in range(count))


@torch.no_grad()
def reconstruct(model: Tokenizer[Tensor], truth: Tensor) -> Tensor:
    """Clips encoded and decoded, a few at a time, not clamped; on the CPU."""
    where = next(model.parameters()).device
    with autocast(where):
        return torch.cat([full_precision(model(part.to(where))[0]).cpu() for part in truth.split(8)])


def psnr_where_it_moves(video: Tensor, truth: Tensor) -> Tensor:
    """PSNR of each clip over the pixels that move (``MOVES``), of clips in which some do: (up to B,) in dB."""
    moving = ((truth - mean_frame(truth)).abs().amax((1, 2), keepdim=True) > MOVES).expand_as(truth)
    error = ((video.clamp(-1, 1) - truth).square() * moving).flatten(1).sum(1) / moving.flatten(1).sum(1)
    return 10 * torch.log10(4 / error[moving.flatten(1).any(1)])


def tokenizer_facts(
    tokenizer: TubeletTokenizer | VideoAutoencoder,
    store: FrameStore,
    most: int | None = None,
    search_steps: int = 0,
    split: Split | None = None,
) -> dict:
    """What a tokenizer reaches in clips of 16 frames that it has not seen, beside the baselines.

    PSNR and SSIM are means over the clips, of all channels alike: grey, or R, G and B. Codes are counted, and looked
    at for stability, by patch where a token holds several.

    Args:
        tokenizer: on any device.
        store: the film.
        most: measure on so many clips at most.
        search_steps: also measure what the decoder draws from codes that were searched for; 0 does not.
        split: of the film; default ``split_shots``.

    Returns:
        figures of the test shots, with those of each shot under "by_shot"; the same of the validation shots under
        "validation". Without test shots those of the validation shots alone.
    """
    split, where = split or split_shots(store.shots), next(tokenizer.parameters()).device
    codes, stable = _codes(tokenizer, store)
    size = math.prod(tokenizer.patch_levels if isinstance(tokenizer, TubeletTokenizer) else tokenizer.levels)
    truth = held_out(store, most, split.reported)
    nearest = nearest_clip(truth, Clips(store, split.train, FRAMES, stride=4))
    with autocast(where):
        tokens = tokenizer.encode(truth[:1].to(where))
    facts = {
        "measured_on": "grey" if truth.shape[1] == 1 else "R, G and B alike",
        "shots": "test" if split.test else "validation",
        "tokens_a_clip": tokens.numel(),
        "bits_a_clip": round(tokenizer.raw_bits(tuple(truth.shape[2:])), 1),
        **_quality(tokenizer, truth, search_steps, [] if most else _clips_of_each(store, split.reported)),
        "psnr_nearest_training_clip": _mean(psnr(nearest, truth)),
        "usage": round(usage(codes, size), 4),
        "perplexity": round(perplexity(codes, size), 1),
        "codes": size,
        "stability": stable,
    }
    if split.test:
        clips = held_out(store, most, split.validation)
        of_each = [] if most else _clips_of_each(store, split.validation)
        facts["validation"] = _quality(tokenizer, clips, search_steps, of_each)
    return facts


def _clips_of_each(store: FrameStore, shots: list[Shot]) -> list[int]:
    """How many clips ``held_out`` takes of each shot."""
    return [len(Clips(store, [shot], FRAMES, stride=8)) for shot in shots if shot[1] - shot[0] >= FRAMES]


def _quality(
    tokenizer: TubeletTokenizer | VideoAutoencoder, truth: Tensor, search_steps: int, of_each: list[int]
) -> dict:
    """How near reconstructions are to clips, and each clip's mean frame; by shot too, where ``of_each`` counts them."""
    where = next(tokenizer.parameters()).device
    made, still = reconstruct(tokenizer, truth), mean_frame(truth)
    facts: dict[str, Any] = {
        "clips": len(truth),
        "psnr": _mean(psnr(made, truth)),
        "ssim": _mean(ssim(made, truth), 4),
        "psnr_mean_frame": _mean(psnr(still, truth)),
        "ssim_mean_frame": _mean(ssim(still, truth), 4),
        "psnr_where_it_moves": _mean(psnr_where_it_moves(made, truth)),
        "psnr_where_it_moves_mean_frame": _mean(psnr_where_it_moves(still, truth)),
        "step": _mean(steps(made)),
        "step_film": _mean(steps(truth)),
        "step_correlation": _mean(step_correlation(made, truth), 3),
    }
    if search_steps:
        parts = tqdm(truth.split(8), unit="batch", desc="searching codes")
        found = [
            tokenizer.decode(
                search_codes(tokenizer, part.to(where), search_steps, progress=False), part.shape[2:]
            ).cpu()
            for part in parts
        ]
        best = torch.cat(found)
        facts |= {
            "search_steps": search_steps,
            "psnr_searched": _mean(psnr(best, truth)),
            "ssim_searched": _mean(ssim(best, truth), 4),
        }
    if len(of_each) > 1:
        by_shot = {"psnr": made, "psnr_mean_frame": still}
        facts["by_shot"] = {
            name: [_mean(psnr(*both)) for both in zip(video.split(of_each), truth.split(of_each))]
            for name, video in by_shot.items()
        }
    return facts


def _mean(values: Tensor, digits: int = 2) -> float | None:
    """Rounded; None of none, as JSON has no NaN."""
    return round(float(values[values.isfinite()].mean()), digits) if values.isfinite().any() else None


def _codes(tokenizer: TubeletTokenizer | VideoAutoencoder, store: FrameStore) -> tuple[Tensor, float | None]:
    """All codes of the film, in all phases, and how many stay the same where the picture stands still."""
    where, grouped = next(tokenizer.parameters()).device, isinstance(tokenizer, TubeletTokenizer)
    patch, span = tokenizer.patch if grouped else tokenizer.tubelet, tokenizer.tubelet[0]
    codes, stable = [], []
    for start, stop in store.shots:
        for phase in range(span):
            whole = (stop - start - phase) // span * span
            if whole > 0:
                clip = store.clip(start + phase, start + phase + whole)
                with autocast(where):
                    indices = tokenizer.encode(clip.to(where)).cpu()
                indices = tokenizer.patch_indices(indices) if grouped else indices
                codes.append(indices.flatten())
                if phase == 0 and whole > patch[0]:
                    stable.append((stability(clip, indices, patch), whole))
    stable = [(share, frames) for share, frames in stable if not math.isnan(share)]
    share = round(sum(s * n for s, n in stable) / sum(n for _, n in stable), 4) if stable else None
    return torch.cat(codes), share
