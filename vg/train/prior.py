"""The transformers over the film's tokens: ``prior-64`` over those of ``tubelet-fsq-64``, ``prior-128`` likewise."""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torchvision.transforms.v2.functional import resize

from vg import checkpoints, latents, paths
from vg.data import Clips, FrameStore, split_shots
from vg.hashing import weight_hash
from vg.metrics import copy_bits, unigram_bits
from vg.models import Prior, PriorConfig, TubeletTokenizer
from vg.profiles import device
from vg.recipes import Draw, fresh_tokens, prior_batches, prior_loss, zoomed_batches
from vg.train.features import NAME as FEATURES
from vg.train.film import data_card, open_film
from vg.train.generated import generated_facts
from vg.train.shipping import fit, part_folder, run_folder, ship
from vg.training import Recipe, Trained

SHAPE = {"width": 192, "depth": 4, "dropout": 0.1, "layouts": True}
TOLD = 0.8  # share of the labelled windows whose scene the prior is told
RECIPE = Recipe(steps=1300, lr=1e-3, muon=1.5e-2, warmup=30, betas=(0.9, 0.95), decay=0.05, ema=0.995)
CLOSER_RECIPE = replace(RECIPE, steps=2400, seed=1)
FRESH_RECIPE = replace(RECIPE, steps=2200, seed=2)
BATCH = 3  # windows
WINDOW = 6  # tubelet-frames that the prior is trained on: 48 frames
VIEWS = 20  # from somewhere nearer, for the second part
NEAREST = 0.95  # of the side at most: nearer than the film itself
LABEL = 50  # letters of a cache's name before the hash: a file's name has room for 255 bytes
LONGEST = 128  # tubelet-frames of a shot that are measured as a whole: of the film all, of an hour the beginning
MEASURED = 4  # tubelet-frames of the windows in which it is measured: 32 frames

# What there is to see in each shot of the film, for whoever wants to choose: the scene labels' names.
SCENES = [
    "boat", "wheel", "whistles", "captain-comes", "parrot-and-bucket", "parrot-laughs", "bucket-thrown",
    "captain-shouts", "captain-chews", "captain-spits", "landing", "cow-on-the-quay", "boat-arrives", "cow-and-crane",
    "hay", "minnie-runs", "goat-and-music", "minnie-aboard", "goat-crank", "goat-sings", "kitchen-drums", "duck",
    "pigs", "goat-sings-on", "cow-teeth", "captain-catches", "parrot-in-porthole", "potatoes",
]  # fmt: skip


def open_cache(
    store: FrameStore, tokenizer: TubeletTokenizer, mirrored: bool = True, phases: Iterable[int] | None = None
) -> latents.LatentCache:
    """The store as tokens, in all phases; written the first time.

    The folder's name ends in a hash of all that the cache is made from, so that none takes the place of another. What
    notebook 06 wrote, under the same name without a hash, is used if it is the same.
    """
    name = getattr(tokenizer, "name", type(tokenizer).__name__)
    how = {"name": name, "mirrored": mirrored, "phases": None if phases is None else list(phases)}
    plan, _ = latents.plan_of(tokenizer, store, **how)
    folder = paths.cache_dir() / "latents" / f"{name}-{store.name}"
    if not latents.made_from(folder, plan):
        digest = hashlib.sha256(json.dumps(plan).encode()).hexdigest()
        folder = folder.with_name(f"{folder.name[:LABEL]}-{digest[:12]}")
    return latents.write(folder, tokenizer, store, **how)


def prior_facts(prior: Prior, tokenizer: TubeletTokenizer, cache: latents.LatentCache, train: list, val: list) -> dict:
    """Bits a token on the validation shots, beside the baselines: in windows, and whole from their first frame on.

    The baselines count codes of patches: where a token holds several, they take them for independent of each other.
    """
    t, h, w = tokenizer.tubelet
    raw = tokenizer.raw_bits((t, h * cache.grid[0], w * cache.grid[1])) / math.prod(cache.grid)
    codes, patches = math.prod(tokenizer.patch_levels), math.prod(tokenizer.config.group)
    seen = cache.windows(MEASURED, shots=train)
    known = tokenizer.patch_indices(seen.take(torch.arange(0, len(seen), 7)))
    view = view_of(cache, val)
    held = cache.windows(MEASURED, shots=val, views=[view])
    truth = held.take(torch.arange(len(held)))

    def measured(windows: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return torch.cat([prior.nll_bits(part.to(prior.start.device)).cpu() for part in windows.split(4)])

    def copied(windows: torch.Tensor) -> torch.Tensor:
        return patches * copy_bits(known, tokenizer.patch_indices(windows), codes)

    bits, copy = measured(truth), copied(truth)
    shots = [tokens[None, :LONGEST] for _, tokens in cache.stretches(val, [view])]  # each (1, t, h, w)
    whole = torch.cat([measured(shot).flatten() for shot in shots])
    whole_copy = torch.cat([copied(shot).flatten() for shot in shots])
    return {
        "windows": len(held),
        "bits_a_token": round(float(bits.mean()), 3),
        "bits_a_token_after_the_first_frame": round(float(bits[:, 1:].mean()), 3),
        "uniform": round(raw, 3),
        "unigram": round(patches * float(unigram_bits(known, tokenizer.patch_indices(truth), codes).mean()), 3),
        "copy_last_frame": round(float(copy.mean()), 3),
        "copy_last_frame_after_the_first_frame": round(float(copy[:, 1:].mean()), 3),
        "share_of_raw_bits": round(float(bits.mean()) / raw, 4),
        "whole_shots": {
            "shots": len(shots),
            "bits_a_token": round(float(whole.mean()), 3),
            "copy_last_frame": round(float(whole_copy.mean()), 3),
            "share_of_raw_bits": round(float(whole.mean()) / raw, 4),
        },
    }


def view_of(cache: latents.LatentCache, val: list) -> tuple[int, bool]:
    """The view, not mirrored, that holds most of the validation shots: phase 0, but where ``val`` is a part of a shot.

    Such a part may begin in the middle of a tubelet, and then another phase has one tubelet-frame more of it.
    """
    views = sorted(view for view in cache.views if not view[1])
    return max(views, key=lambda view: sum(len(tokens) for _, tokens in cache.stretches(val, [view])))


def corners(large: FrameStore, size: int, share: float = 0.75) -> list[FrameStore]:
    """The film as if the camera had stood closer: its four corners, each brought to ``size``. In memory.

    Args:
        large: of square frames, larger than ``size``.
        share: of the side that a corner takes.
    """
    side = large.frames.shape[-1]
    cut = round(share * side)
    ends = (0, side - cut)
    return [part_of(large, y, x, cut, size) for y in ends for x in ends]


def part_of(large: FrameStore, y: int, x: int, cut: int, size: int) -> FrameStore:
    """A square of ``cut`` pixels of every frame, from (y, x) on, brought to ``size``."""
    starts = range(0, len(large.frames), 256)  # the large frames may be a memory map
    parts = (torch.from_numpy(large.frames[k : k + 256, :, y : y + cut, x : x + cut].copy()) for k in starts)
    small = [resize(part, [size, size], antialias=True) for part in parts]
    name, key = f"{large.name}-{y}-{x}", f"{large.key}, {cut} pixels from ({y}, {x})"
    return replace(large, frames=torch.cat(small).numpy(), name=name, key=key)


def closer(large: FrameStore, size: int, count: int = VIEWS, seed: int = 0) -> Iterator[FrameStore]:
    """The film seen ``count`` times from somewhere nearer, each brought to ``size``; every second one runs backwards.

    Each is a square of random side, two thirds of the frame or more, at a random place. A few pixels to the side are
    other tokens, and so are other sizes: to a prior, which has to foretell tokens, a short film is longer then.

    Args:
        large: of square frames, larger than ``size``.
    """
    side = large.frames.shape[-1]
    draws = torch.Generator().manual_seed(seed)
    for k in range(count):
        share, down, right = torch.rand(3, generator=draws).tolist()
        cut = round(side * (2 / 3 + (NEAREST - 2 / 3) * share))
        y, x = (int(place * (side - cut + 1)) for place in (down, right))
        view = part_of(large, y, x, cut, size)
        if k % 2:
            for start, stop in view.shots:
                view.frames[start:stop] = view.frames[start:stop][::-1].copy()
            view = replace(view, key=f"{view.key}, backwards")
        yield replace(view, name=f"{large.name}-closer-{k}")


def film_and_views(film: latents.LatentCache, views: list[Draw], train: list, share: int = 2) -> Draw:
    """The film as it is, with labels, and ``views`` of it, without: two batches of the one to ``share`` of the other.

    A label is to say where things stand, and from nearer or in a mirror they stand elsewhere. Of the film every second
    batch holds windows half as long and twice as many: they begin more often, and a video from nothing has to begin.
    """
    as_it_is = dict(shots=train, views=[view for view in film.views if not view[1]])
    long, short = (prior_batches(film.windows(WINDOW // n, **as_it_is), batch=BATCH * n) for n in (1, 2))

    def draw(generator: torch.Generator) -> torch.Tensor:
        kind, view = (int(torch.randint(n, (), generator=generator)) for n in (2 + share, len(views)))
        return (long, short, *[views[view]] * share)[kind](generator)

    return draw


def cached_views(caches: list[latents.LatentCache], train: list) -> list[Draw]:
    """Windows of each cache, mirrored ones too, without labels."""
    return [prior_batches(each.windows(WINDOW, shots=train), batch=BATCH, labelled=False) for each in caches]


def fresh_views(large: FrameStore, train: list, tokenizer: TubeletTokenizer, size: int) -> list[Draw]:
    """Parts of a ``large`` store's frames at any place and scale, encoded as they are drawn: long windows, and short.

    Mirrored half of the time and run backwards half of the time; a third are whole pictures.
    """
    least, span = size / large.frames.shape[-1], tokenizer.tubelet[0]
    clips = [(Clips(large, train, WINDOW // n * span), BATCH * n) for n in (1, 2)]
    return [fresh_tokens(zoomed_batches(each, batch, size, least, gain=0.05), tokenizer) for each, batch in clips]


def learn_layouts(prior: Prior, cache: latents.LatentCache, shots: list) -> None:
    """What stands where in each of the ``shots``, from the film as it is, not mirrored."""
    known: dict[int, list[torch.Tensor]] = {}
    for number, tokens in cache.stretches(shots, [view for view in cache.views if not view[1]]):
        known.setdefault(number, []).append(tokens)
    for number, parts in known.items():
        prior.learn_layouts(number, torch.cat(parts)[None].to(prior.start.device))


def train_prior(
    caches: list[latents.LatentCache],
    nearer: list[latents.LatentCache],
    fresh: list[Draw],
    train: list,
    val: list,
    folder: Path,
) -> tuple[Trained, dict]:
    """Train on windows of all ``caches``, the first of which is the film as it is; then on those of ``nearer`` too.

    Where there are ``fresh`` views, a third part follows, in which two batches of three are such. Each part begins with
    the averaged weights of the one before, at the full rate again. Goes on in ``folder``.
    """
    cache = caches[0]
    held = cache.windows(MEASURED, shots=val, views=[view_of(cache, val)], stride=2)
    truth = held.take(torch.arange(len(held)))
    torch.manual_seed(RECIPE.seed)
    prior = Prior(PriorConfig(cache.levels, cache.grid, num_labels=len(cache.shots), **SHAPE)).to(device())
    learn_layouts(prior, cache, train)

    def evaluate(model: Prior) -> dict[str, float]:
        return {
            "validation bits a token": float(torch.cat([model.nll_bits(p.to(device())) for p in truth.split(4)]).mean())
        }

    parts = {
        "corners": (RECIPE, film_and_views(cache, cached_views(caches, train), train)),
        "closer": (CLOSER_RECIPE, film_and_views(cache, cached_views([*caches, *nearer], train), train)),
    }
    if fresh:
        parts["fresh"] = FRESH_RECIPE, film_and_views(cache, fresh, train, share=4)
    loss, done = prior_loss(drop_scene=1 - TOLD), {}
    for part, (recipe, draw) in parts.items():
        where = part_folder(folder, part, prior)
        done[part] = fit(prior, loss, draw, recipe, folder=where, evaluate=evaluate, every=100)
        prior.load_state_dict(done[part].model.state_dict())
    how = {
        "batch": BATCH,
        "told": TOLD,
        "window_in_tubelet_frames": WINDOW,
        "caches": {"corners": [each.folder.name for each in caches], "closer": [each.folder.name for each in nearer]},
        "recipe": {part: asdict(recipe) for part, (recipe, _) in parts.items()},
        "validation_bits": {part: trained.history["validation bits a token"] for part, trained in done.items()},
    }
    last = done[part]
    return Trained(last.model, last.history, sum(trained.seconds for trained in done.values())), how


def _train(name: str, tokens: str, size: int, larger: int, to: Path, fresh: bool = False) -> None:
    """Train a prior on a tokenizer's ``tokens`` of ``size`` pixels, and of parts of frames of ``larger`` pixels."""
    store = open_film(size=size)
    train, val = split_shots(store.shots)
    tokenizer = checkpoints.load(tokens, to)
    phases = range(0, tokenizer.tubelet[0], (size // 64) ** 2)  # four times the pixels take four times as long
    large = open_film(size=larger)
    caches = [open_cache(view, tokenizer, phases=phases) for view in (store, *corners(large, size))]
    nearer = [
        open_cache(view, tokenizer, phases=[k % tokenizer.tubelet[0]]) for k, view in enumerate(closer(large, size))
    ]
    contents = [each.manifest["sha256"] for each in (*caches, *nearer)]  # of tokenizer, frames and views too
    folder = run_folder(name, store.name, contents, SHAPE, BATCH, WINDOW, TOLD)
    views = fresh_views(large, train, checkpoints.load(tokens, to, device()), size) if fresh else []
    trained, how = train_prior(caches, nearer, views, train, val, folder)
    scenes = SCENES if store.name == "film" and len(store.shots) == len(SCENES) else []
    facts = {
        "data": data_card(store),
        "scenes": scenes,
        **how,
        "tokenizer": {"name": tokens, "weights": weight_hash(tokenizer)},
    }

    def measure(prior: Prior) -> dict:
        found = prior_facts(prior, tokenizer, caches[0], train, val)
        if FEATURES in checkpoints.names(to):
            found["generated"] = generated_facts(prior, tokenizer, store, checkpoints.load(FEATURES, to))
        return found

    ship(name, trained, facts, measure, to)


def train_small(to: Path) -> None:
    """``prior-64``: the transformer over the tokens of the ``tubelet-fsq-64`` that lies in ``to``."""
    _train("prior-64", "tubelet-fsq-64", 64, 128, to)


def train_large(to: Path) -> None:
    """``prior-128``: the same over those of ``tubelet-fsq-128``, and a third part, with fresh views."""
    _train("prior-128", "tubelet-fsq-128", 128, 192, to, fresh=True)
