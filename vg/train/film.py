"""The models of the film: ``tubelet-fsq-64``, then ``prior-64``, which is trained on its tokens."""

import math
import shutil
from dataclasses import asdict
from pathlib import Path

import torch

from vg import checkpoints, latents, paths
from vg.data import Clips, FrameStore, film, open_store, split_shots
from vg.hashing import weight_hash
from vg.metrics import copy_bits, mean_frame, nearest_clip, perplexity, psnr, ssim, stability, unigram_bits, usage
from vg.models import Prior, PriorConfig, TubeletConfig, TubeletTokenizer
from vg.profiles import device
from vg.recipes import prior_batches, prior_loss, tokenizer_batches, tokenizer_loss
from vg.train.shipping import run_folder, ship
from vg.training import Recipe, Trained, fit

TOKENIZER = "tubelet-fsq-64"
PRIOR = "prior-64"
TOKENIZER_CONFIG = TubeletConfig()
TOKENIZER_RECIPE = Recipe(steps=5000, lr=2e-3, warmup=50, ema=0.0)  # whitening follows the weights: no average
PRIOR_RECIPE = Recipe(steps=2400, lr=1e-3, warmup=100, betas=(0.9, 0.95), decay=0.05, ema=0.995)
PRIOR_STOP = 1900  # the validation bits had been rising since step 1200; the training shots' were still falling
WINDOW = 5  # tubelet-frames: 40 frames


def data_card(store: FrameStore) -> dict:
    _, val = split_shots(store.shots)
    return {
        "source": store.name,
        "sha256": store.source_sha256,
        "store": store.key,
        "frames": len(store.frames),
        "validation_shots": [list(shot) for shot in val],
    }


def tokenizer_facts(tokenizer: TubeletTokenizer, store: FrameStore) -> dict:
    """What a tokenizer reaches on the store's validation shots, in clips of 16 frames, beside the baselines."""
    train, val = split_shots(store.shots)
    bank, clips = Clips(store, train, 16, stride=4), Clips(store, val, 16, stride=8)
    truth = clips.take(range(len(clips)))
    with torch.no_grad():
        made = torch.cat([tokenizer.decode(tokenizer.encode(part), part.shape[2:]) for part in truth.split(8)])
    span = tokenizer.tubelet[0]
    codes, stable = [], []
    for start, stop in store.shots:
        for phase in range(span):
            whole = (stop - start - phase) // span * span
            if whole:
                clip = store.clip(start + phase, start + phase + whole)
                indices = tokenizer.encode(clip)
                codes.append(indices.flatten())
                if phase == 0 and whole > span:
                    stable.append((stability(clip, indices, tokenizer.tubelet), whole))
    codes = torch.cat(codes)
    size = math.prod(tokenizer.levels)
    stable = [(share, frames) for share, frames in stable if not math.isnan(share)]
    clip_tokens = tokenizer.encode(truth[:1]).numel()
    return {
        "clips": len(truth),
        "bits_a_clip": round(clip_tokens * math.log2(size), 1),
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


def train_tokenizer(store: FrameStore, folder: Path) -> tuple[Trained, dict]:
    train, val = split_shots(store.shots)
    clips, seen = Clips(store, train, 32), Clips(store, val, 16, stride=8)
    truth = seen.take(range(len(seen)))
    torch.manual_seed(TOKENIZER_RECIPE.seed)
    tokenizer = TubeletTokenizer(TOKENIZER_CONFIG).to(device())

    def evaluate(model: TubeletTokenizer) -> dict[str, float]:
        made = torch.cat([model(part.to(device()))[0].cpu() for part in truth.split(8)])
        return {"validation PSNR": float(psnr(made, truth).mean())}

    draw = tokenizer_batches(clips, batch=4)
    trained = fit(tokenizer, tokenizer_loss, draw, TOKENIZER_RECIPE, folder=folder, evaluate=evaluate, every=500)
    return trained, {"batch": 4, "frames": 32, "recipe": asdict(TOKENIZER_RECIPE)}


def open_cache(store: FrameStore, tokenizer: TubeletTokenizer, mirrored: bool = True) -> latents.LatentCache:
    """The store as tokens, in all phases; written the first time, and anew if it was made from something else."""
    folder = paths.cache_dir() / "latents" / f"{tokenizer.name}-{store.name}"
    how = {"name": tokenizer.name, "mirrored": mirrored}
    try:
        return latents.write(folder, tokenizer, store, **how)
    except latents.CacheMismatch as problem:
        print(f"{problem}\nIt is written anew.")
        shutil.rmtree(folder)
        return latents.write(folder, tokenizer, store, **how)


def prior_facts(prior: Prior, cache: latents.LatentCache, train: list, val: list, window: int = WINDOW) -> dict:
    """Bits a token on the windows of the validation shots, beside the baselines."""
    codes = math.prod(cache.levels)
    seen = cache.windows(window, shots=train)
    known = seen.take(torch.arange(0, len(seen), 7))
    held = cache.windows(window, shots=val, views=[(0, False)])
    truth = held.take(torch.arange(len(held)))
    with torch.no_grad():
        bits = torch.cat([prior.bits(part.to(prior.start.device)).cpu() for part in truth.split(4)])
    copied = copy_bits(known, truth, codes)
    return {
        "windows": len(held),
        "bits_a_token": round(float(bits.mean()), 3),
        "bits_a_token_after_the_first_frame": round(float(bits[:, 1:].mean()), 3),
        "uniform": round(math.log2(codes), 3),
        "unigram": round(float(unigram_bits(known, truth, codes).mean()), 3),
        "copy_last_frame": round(float(copied.mean()), 3),
        "copy_last_frame_after_the_first_frame": round(float(copied[:, 1:].mean()), 3),
        "share_of_raw_bits": round(float(bits.mean()) / math.log2(codes), 4),
    }


def train_prior(cache: latents.LatentCache, train: list, val: list, folder: Path) -> tuple[Trained, dict]:
    windows = cache.windows(WINDOW, shots=train)
    held = cache.windows(WINDOW, shots=val, views=[(0, False)], stride=2)
    truth = held.take(torch.arange(len(held)))
    torch.manual_seed(PRIOR_RECIPE.seed)
    config = PriorConfig(levels=cache.levels, grid=cache.grid, scenes=len(cache.shots))
    prior = Prior(config).to(device())

    def evaluate(model: Prior) -> dict[str, float]:
        return {
            "validation bits a token": float(torch.cat([model.bits(p.to(device())) for p in truth.split(4)]).mean())
        }

    draw = prior_batches(windows, batch=4)
    trained = fit(
        prior, prior_loss(), draw, PRIOR_RECIPE, folder=folder, evaluate=evaluate, every=200, stop_at=PRIOR_STOP
    )
    how = {"batch": 4, "window_in_tubelet_frames": WINDOW, "stopped_at": PRIOR_STOP, "recipe": asdict(PRIOR_RECIPE)}
    return trained, how | {"validation_bits": trained.history["validation bits a token"]}


def open_film() -> FrameStore:
    """The frames that the shipped models are trained on; says which source they come from."""
    source = film()
    print(source.describe())
    return open_store(source)


def train_tubelet(to: Path) -> None:
    """``tubelet-fsq-64``: the tubelet tokenizer, on the film's training shots."""
    store = open_film()
    trained, how = train_tokenizer(store, run_folder(TOKENIZER, store.name))
    ship(TOKENIZER, trained, {"data": data_card(store), **how}, lambda model: tokenizer_facts(model, store), to)


def train_film_prior(to: Path) -> None:
    """``prior-64``: the transformer over the tokens of the ``tubelet-fsq-64`` that lies in ``to``."""
    store = open_film()
    train, val = split_shots(store.shots)
    tokenizer = checkpoints.load(TOKENIZER, to)
    cache = open_cache(store, tokenizer)
    trained, how = train_prior(cache, train, val, run_folder(PRIOR, store.name))
    how["tokenizer"] = {"name": TOKENIZER, "weights": weight_hash(tokenizer)}
    facts = {"data": data_card(store), **how}
    ship(PRIOR, trained, facts, lambda model: prior_facts(model, cache, train, val), to)
