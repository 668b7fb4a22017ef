"""The models of the film: ``tubelet-fsq-64``, then ``prior-64``, which is trained on its tokens."""

import math
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torchvision.transforms.v2.functional import resize
from tqdm.auto import tqdm

from vg import checkpoints, latents, paths
from vg.data import Clips, FrameStore, film, open_store, split_shots
from vg.hashing import weight_hash
from vg.metrics import copy_bits, mean_frame, nearest_clip, perplexity, psnr, ssim, stability, unigram_bits, usage
from vg.models import Prior, PriorConfig, TubeletConfig, TubeletTokenizer
from vg.profiles import device
from vg.recipes import prior_batches, prior_loss, tokenizer_batches, tubelet_loss, zoomed_batches
from vg.search import search
from vg.train.shipping import run_folder, ship
from vg.training import Recipe, Trained, fit

TOKENIZER = "tubelet-fsq-64"
PRIOR = "prior-64"
TOKENIZER_CONFIG = TubeletConfig()
TOKENIZER_RECIPE = Recipe(steps=9600, lr=2e-3, muon=2e-2, warmup=50, clip=5.0, ema=0.99)
ZOOMED_RECIPE = Recipe(steps=3300, lr=1e-3, muon=1e-2, warmup=50, clip=5.0, ema=0.99)
SEARCH_STEPS = 20
PRIOR_RECIPE = Recipe(steps=700, lr=1e-3, muon=1.5e-2, warmup=30, betas=(0.9, 0.95), decay=0.05, ema=0.99)
WINDOW = 4  # tubelet-frames: 32 frames
PARTS_RECIPE = Recipe(steps=260, lr=5e-4, muon=7e-3, warmup=10, betas=(0.9, 0.95), decay=0.05, ema=0.98)
PARTS_WINDOW = 6  # tubelet-frames: 48 frames


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


def searched_facts(tokenizer: TubeletTokenizer, store: FrameStore) -> dict:
    """What the same decoder draws from codes that were searched for, on the clips of ``tokenizer_facts``."""
    clips = Clips(store, split_shots(store.shots)[1], 16, stride=8)
    truth = clips.take(range(len(clips)))
    made = torch.cat([
        tokenizer.decode(search(tokenizer, part, SEARCH_STEPS, progress=False), part.shape[2:])
        for part in tqdm(truth.split(8), unit="batch", desc="searching codes")
    ])  # fmt: skip
    return {
        "search_steps": SEARCH_STEPS,
        "psnr_searched": round(float(psnr(made, truth).mean()), 2),
        "ssim_searched": round(float(ssim(made, truth).mean()), 4),
    }


def train_tokenizer(store: FrameStore, large: FrameStore, folder: Path) -> tuple[Trained, dict]:
    """Train in two parts; the validation PSNR is in both histories, of which the second is returned.

    The first part sees clips as they are. Towards its end it went on learning the training shots alone; so the second
    part sees clips at many scales and lights, cut out of the ``large`` store.
    """
    train, val = split_shots(store.shots)
    seen = Clips(store, val, 16, stride=8)
    truth = seen.take(range(len(seen)))
    torch.manual_seed(TOKENIZER_RECIPE.seed)
    tokenizer = TubeletTokenizer(TOKENIZER_CONFIG).to(device())

    def evaluate(model: TubeletTokenizer) -> dict[str, float]:
        made = torch.cat([model(part.to(device()))[0].cpu() for part in truth.split(8)])
        return {"validation PSNR": float(psnr(made, truth).mean())}

    draw = tokenizer_batches(Clips(store, train, 16), batch=4, reverse=True)
    first = fit(tokenizer, tubelet_loss, draw, TOKENIZER_RECIPE, folder=folder, evaluate=evaluate, every=600)
    tokenizer.load_state_dict(first.model.state_dict())
    draw = zoomed_batches(Clips(large, train, 16), batch=4, size=store.frames.shape[-1])
    again = folder.with_name(f"{folder.name}-zoomed")
    second = fit(tokenizer, tubelet_loss, draw, ZOOMED_RECIPE, folder=again, evaluate=evaluate, every=300)
    how = {
        "batch": 4,
        "frames": 16,
        "recipe": {"as they are": asdict(TOKENIZER_RECIPE), "zoomed": asdict(ZOOMED_RECIPE)},
        "validation_psnr": {
            "as they are": first.history["validation PSNR"],
            "zoomed": second.history["validation PSNR"],
        },
    }
    return Trained(second.model, second.history, first.seconds + second.seconds), how


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
    """Bits a token on the validation shots, beside the baselines: in windows, and whole from their first frame on."""
    codes = math.prod(cache.levels)
    seen = cache.windows(window, shots=train)
    known = seen.take(torch.arange(0, len(seen), 7))
    held = cache.windows(window, shots=val, views=[(0, False)])
    truth = held.take(torch.arange(len(held)))
    with torch.no_grad():
        bits = torch.cat([prior.bits(part.to(prior.start.device)).cpu() for part in truth.split(4)])
    copied = copy_bits(known, truth, codes)
    entries = [e for e in cache.entries if cache.shots[e.shot] in val and (e.phase, e.mirrored) == (0, False)]
    shots = [cache.indices(entry)[None] for entry in entries]  # each (1, t, h, w)
    with torch.no_grad():
        whole = torch.cat([prior.bits(shot.to(prior.start.device)).cpu().flatten() for shot in shots])
    whole_copied = torch.cat([copy_bits(known, shot, codes).flatten() for shot in shots])
    return {
        "windows": len(held),
        "bits_a_token": round(float(bits.mean()), 3),
        "bits_a_token_after_the_first_frame": round(float(bits[:, 1:].mean()), 3),
        "uniform": round(math.log2(codes), 3),
        "unigram": round(float(unigram_bits(known, truth, codes).mean()), 3),
        "copy_last_frame": round(float(copied.mean()), 3),
        "copy_last_frame_after_the_first_frame": round(float(copied[:, 1:].mean()), 3),
        "share_of_raw_bits": round(float(bits.mean()) / math.log2(codes), 4),
        "whole_shots": {
            "shots": len(shots),
            "bits_a_token": round(float(whole.mean()), 3),
            "copy_last_frame": round(float(whole_copied.mean()), 3),
            "share_of_raw_bits": round(float(whole.mean()) / math.log2(codes), 4),
        },
    }


def corners(large: FrameStore, size: int, share: float = 0.75) -> list[FrameStore]:
    """The film as if the camera had stood closer: its four corners, each brought to ``size``. In memory.

    Args:
        large: of square frames, larger than ``size``.
        share: of the side that a corner takes.
    """
    side = large.frames.shape[-1]
    cut = round(share * side)
    made = []
    for y, x in ((0, 0), (0, side - cut), (side - cut, 0), (side - cut, side - cut)):
        frames = torch.from_numpy(large.frames[..., y : y + cut, x : x + cut].copy())
        small = [resize(part, [size, size], antialias=True) for part in frames.split(256)]
        name, key = f"{large.name}-{y}-{x}", f"{large.key}, {cut} pixels from ({y}, {x})"
        made.append(replace(large, frames=torch.cat(small).numpy(), name=name, key=key))
    return made


def train_prior(
    cache: latents.LatentCache, parts: list[latents.LatentCache], train: list, val: list, folder: Path
) -> tuple[Trained, dict]:
    """Train in two parts, as ``train_tokenizer``: on the film, then on the film and its corners, in longer windows."""
    held = cache.windows(WINDOW, shots=val, views=[(0, False)], stride=2)
    truth = held.take(torch.arange(len(held)))
    torch.manual_seed(PRIOR_RECIPE.seed)
    config = PriorConfig(levels=cache.levels, grid=cache.grid, scenes=len(cache.shots), dropout=0.1)
    prior = Prior(config).to(device())

    def evaluate(model: Prior) -> dict[str, float]:
        return {
            "validation bits a token": float(torch.cat([model.bits(p.to(device())) for p in truth.split(4)]).mean())
        }

    draw = prior_batches(cache.windows(WINDOW, shots=train), batch=4)
    first = fit(prior, prior_loss(), draw, PRIOR_RECIPE, folder=folder, evaluate=evaluate, every=100)
    prior.load_state_dict(first.model.state_dict())
    draws = [prior_batches(each.windows(PARTS_WINDOW, shots=train), batch=3) for each in (cache, cache, *parts)]

    def draw_any(generator: torch.Generator) -> torch.Tensor:
        return draws[int(torch.randint(len(draws), (), generator=generator))](generator)

    again = folder.with_name(f"{folder.name}-parts")
    second = fit(prior, prior_loss(), draw_any, PARTS_RECIPE, folder=again, evaluate=evaluate, every=65)
    how = {
        "batches": {"film": 4, "film and corners": 3},
        "windows_in_tubelet_frames": {"film": WINDOW, "film and corners": PARTS_WINDOW},
        "window_in_tubelet_frames": PARTS_WINDOW,
        "recipe": {"film": asdict(PRIOR_RECIPE), "film and corners": asdict(PARTS_RECIPE)},
        "validation_bits": {
            "film": first.history["validation bits a token"],
            "film and corners": second.history["validation bits a token"],
        },
    }
    return Trained(second.model, second.history, first.seconds + second.seconds), how


def open_film(size: int = 64) -> FrameStore:
    """The frames that the shipped models are trained on; says which source they come from."""
    source = film()
    print(source.describe())
    return open_store(source, size=size)


def train_tubelet(to: Path) -> None:
    """``tubelet-fsq-64``: the tubelet tokenizer, on the film's training shots."""
    store = open_film()
    trained, how = train_tokenizer(store, open_film(size=128), run_folder(TOKENIZER, store.name))
    facts = {"data": data_card(store), **how}
    ship(TOKENIZER, trained, facts, lambda m: tokenizer_facts(m, store) | searched_facts(m, store), to)


def train_film_prior(to: Path) -> None:
    """``prior-64``: the transformer over the tokens of the ``tubelet-fsq-64`` that lies in ``to``."""
    store = open_film()
    train, val = split_shots(store.shots)
    tokenizer = checkpoints.load(TOKENIZER, to)
    cache = open_cache(store, tokenizer)
    parts = [open_cache(corner, tokenizer) for corner in corners(open_film(size=128), store.frames.shape[-1])]
    trained, how = train_prior(cache, parts, train, val, run_folder(PRIOR, store.name))
    how["tokenizer"] = {"name": TOKENIZER, "weights": weight_hash(tokenizer)}
    facts = {"data": data_card(store), **how}
    ship(PRIOR, trained, facts, lambda model: prior_facts(model, cache, train, val), to)
