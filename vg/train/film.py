"""What the trainings on the film share: its frames, what a card says of them, and how good a tokenizer is on them."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from vg.data import Clips, FrameStore, film, open_store, split_shots
from vg.metrics import mean_frame, nearest_clip, perplexity, psnr, ssim, stability, usage
from vg.models import TubeletTokenizer, VideoAutoencoder

FRAMES = 16  # of a clip


def open_film(size: int = 64) -> FrameStore:
    """The frames that the shipped models are trained on; says which source they come from."""
    source = film()
    print(source.describe())
    return open_store(source, size=size)


def data_card(store: FrameStore) -> dict:
    _, val = split_shots(store.shots)
    return {
        "source": store.name,
        "sha256": store.source_sha256,
        "store": store.key,
        "frames": len(store.frames),
        "validation_shots": [list(shot) for shot in val],
    }


def held_out(store: FrameStore) -> Tensor:
    """The clips that every tokenizer is measured on: of the validation shots, every eighth frame the start of one."""
    clips = Clips(store, split_shots(store.shots)[1], FRAMES, stride=8)
    return clips.take(range(len(clips)))


def redrawn(model: nn.Module, truth: Tensor) -> Tensor:
    """Clips encoded and decoded, a few at a time, not clamped."""
    where = next(model.parameters()).device
    return torch.cat([model(part.to(where))[0].cpu() for part in truth.split(8)])


def validation_psnr(store: FrameStore) -> Callable[[nn.Module], dict[str, float]]:
    """For ``fit``: a tokenizer's PSNR on the clips that are held out."""
    truth = held_out(store)
    return lambda model: {"validation PSNR": float(psnr(redrawn(model, truth), truth).mean())}


def tokenizer_facts(tokenizer: TubeletTokenizer | VideoAutoencoder, store: FrameStore) -> dict:
    """What a tokenizer reaches on the store's validation shots, in clips of 16 frames, beside the baselines.

    Codes are counted, and looked at for stability, by patch where a token holds several.
    """
    truth, where = held_out(store), next(tokenizer.parameters()).device
    bank = Clips(store, split_shots(store.shots)[0], FRAMES, stride=4)
    with torch.no_grad():
        made = redrawn(tokenizer, truth)
    grouped = isinstance(tokenizer, TubeletTokenizer)
    patch = tokenizer.patch if grouped else tokenizer.tubelet
    span = patch[0]
    codes, stable = [], []
    for start, stop in store.shots:
        for phase in range(span):
            whole = (stop - start - phase) // span * span
            if whole:
                clip = store.clip(start + phase, start + phase + whole)
                indices = tokenizer.encode(clip.to(where)).cpu()
                indices = tokenizer.patch_indices(indices) if grouped else indices
                codes.append(indices.flatten())
                if phase == 0 and whole > span:
                    stable.append((stability(clip, indices, patch), whole))
    codes = torch.cat(codes)
    size = math.prod(tokenizer.patch_levels if grouped else tokenizer.levels)
    stable = [(share, frames) for share, frames in stable if not math.isnan(share)]
    tokens = tokenizer.encode(truth[:1].to(where))
    bits = tokenizer.raw_bits(tuple(truth.shape[2:]))
    return {
        "clips": len(truth),
        "tokens_a_clip": tokens.numel(),
        "bits_a_clip": round(bits, 1),
        "psnr": round(float(psnr(made, truth).mean()), 2),
        "ssim": round(float(ssim(made, truth).mean()), 4),
        "psnr_mean_frame": round(float(psnr(mean_frame(truth), truth).mean()), 2),
        "ssim_mean_frame": round(float(ssim(mean_frame(truth), truth).mean()), 4),
        "psnr_nearest_training_clip": round(float(psnr(nearest_clip(truth, bank), truth).mean()), 2),
        "usage": round(usage(codes, size), 4),
        "perplexity": round(perplexity(codes, size), 1),
        "codes": size,
        "stability": round(sum(s * n for s, n in stable) / sum(n for _, n in stable), 4),
    }
