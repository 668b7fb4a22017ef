"""Training the transformer over a film's tokens: in one part, two batches of three of them fresh views."""

from dataclasses import replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from vg import paths
from vg.data import Clips, FrameStore, Shot
from vg.data.augment import largest_part, random_views
from vg.evaluation.generated import generated_facts
from vg.evaluation.prior import prior_facts, validation_windows
from vg.experiments.batches import fresh_tokens, mixed_batches, prior_batches
from vg.experiments.config import FilmData, PriorPart
from vg.experiments.losses import prior_loss
from vg.experiments.run import Part, Run
from vg.hashing import weight_hash
from vg.latents import LatentCache, open_cache
from vg.models import ClipFeatures, Prior, PriorConfig, TubeletTokenizer
from vg.precision import autocast
from vg.profiles import device
from vg.training import BatchSampler, devices

# What there is to see in each shot of the film, for whoever wants to choose: the scene labels' names.
SCENES = [
    "boat", "wheel", "whistles", "captain-comes", "parrot-and-bucket", "parrot-laughs", "bucket-thrown",
    "captain-shouts", "captain-chews", "captain-spits", "landing", "cow-on-the-quay", "boat-arrives", "cow-and-crane",
    "hay", "minnie-runs", "goat-and-music", "minnie-aboard", "goat-crank", "goat-sings", "kitchen-drums", "duck",
    "pigs", "goat-sings-on", "cow-teeth", "captain-catches", "parrot-in-porthole", "potatoes",
]  # fmt: skip


PRIOR_SHAPE = ("width", "depth", "heads", "context", "dropout", "directions", "goals", "alibi_multiplier", "reach")


def scene_names(data: FilmData, store: FrameStore) -> list[str]:
    """Names of the labels, one for each shot; of a film of somebody's own ``shot-1`` and so on."""
    known = not data.film and store.name == "film" and len(store.shots) == len(SCENES)
    return SCENES if known else [f"shot-{k + 1}" for k in range(len(store.shots))]


def film_batches(cache: LatentCache, train: list[Shot], batch: int, window: int) -> list[BatchSampler]:
    """The film as it is, with labels: long windows, and half as long ones, twice as many.

    Short ones begin more often, and a video from nothing has to begin.
    """
    as_it_is: dict[str, Any] = dict(shots=train, views=[view for view in cache.views if not view[1]])
    return [prior_batches(cache.windows(max(1, window // n), **as_it_is), batch * n) for n in (1, 2)]


def fresh_views(
    large: FrameStore,
    train: list[Shot],
    tokenizer: TubeletTokenizer,
    size: tuple[int, int],
    part: PriorPart,
    window: int,
) -> list[BatchSampler]:
    """Parts of a ``large`` store's frames at any place and scale, encoded as they are sampled: long windows, and short.

    Mirrored half of the time; a third are the largest parts there are. Of every shape there are as many: windows that
    run forwards and backwards, half as long ones, and pictures, where the prior is to know more shapes than its own.
    """
    span, found = tokenizer.tubelet[0], []
    for shape in part.shapes or (size,):
        least = min(1.0, shape[0] / largest_part(large.frames.shape[-2:], shape)[0])
        for n in (1, 2, window) if part.shapes else (1, 2):
            clips = Clips(large, train, max(1, window // n) * span)
            for backwards in (0, 1) if part.directions and n < window else (-1,):
                share = 0.5 if backwards < 0 else float(backwards)
                views = random_views(clips, part.batch * n, shape, least, gain=0.05, backwards=share)
                found.append(fresh_tokens(views, tokenizer, backwards))
    return found


def learn_layouts(prior: Prior, cache: LatentCache, shots: list[Shot]) -> None:
    """What stands where in each of the ``shots``, from the film as it is, not mirrored."""
    known: dict[int, list[Tensor]] = {}
    for number, tokens in cache.stretches(shots, [view for view in cache.views if not view[1]]):
        known.setdefault(number, []).append(tokens)
    for number, parts in known.items():
        prior.learn_layouts(number, torch.cat(parts)[None].to(prior.start.device))


def new_prior(part: PriorPart, cache: LatentCache) -> Prior:
    """With random weights, for the cache's tokens; a label for each shot."""
    shape: dict[str, Any] = {name: getattr(part, name) for name in PRIOR_SHAPE}
    shape["places"] = "coordinates" if part.shapes else "table"
    return Prior(PriorConfig(cache.levels, cache.grid, num_labels=len(cache.shots), layouts=True, **shape))


def adapted(prior: Prior, cache: LatentCache) -> Prior:
    """A finished prior's weights for another film's tokens: its grid may be another, and its labels begin anew.

    Raises:
        ValueError: if its tokens have other levels.
    """
    if tuple(prior.levels) != tuple(cache.levels):
        raise ValueError(
            f"The prior {prior.name} is over tokens with levels {list(prior.levels)}, and the tokenizer's have "
            f"{list(cache.levels)}: take the two of one pair, or train a prior from random weights."
        )
    old, weights = prior.config, prior.state_dict()
    made = Prior(replace(old, grid=cache.grid, num_labels=len(cache.shots), layouts=True))
    if old.places == "table":
        place = weights["place"].view(1, *old.grid, old.width).movedim(-1, 1)  # 1 D h w
        weights["place"] = F.interpolate(place, size=cache.grid, mode="bilinear").flatten(2)[0].T.contiguous()
    with torch.no_grad():  # the row of an unknown label; the others are as new
        assert made.label_embedding is not None  # there are shots
        made.label_embedding.weight[:1] = weights["label_embedding.weight"][:1] if old.num_labels else 0
    weights = {name: value for name, value in weights.items() if name not in ("label_embedding.weight", "layouts")}
    made.load_state_dict(weights, strict=False)
    return made


def train_prior(run: Run) -> Part:
    """The experiment's prior; the bits of a token on validation shots are in its history."""
    part, footage = run.film_experiment.prior, run.footage
    tokenizer = cast(TubeletTokenizer, run.finished("tokenizer"))
    features, figures = (cast(ClipFeatures | None, run.finished(name)) for name in ("features", "figures"))
    recipe = run.recipe(part.recipe)
    span = tokenizer.tubelet[0]
    ranks = {"rank": devices.rank(), "world_size": devices.world_size()} if devices.all_see(paths.cache_dir()) else {}
    cache = open_cache(footage.store, tokenizer, mirrored=False, phases=footage.phases(span), **ranks)
    window = min(part.window, max((stop - start) // span for start, stop in footage.split.train))
    torch.manual_seed(recipe.seed)
    old = cast(Prior | None, run.begin_with("prior"))
    prior = (adapted(old, cache) if old else new_prior(part, cache)).to(device())
    learn_layouts(prior, cache, footage.split.train)
    held = validation_windows(cache, footage.split.validation)

    def evaluate(model: Prior) -> dict[str, float]:
        with autocast(device()):
            bits = [model.nll_bits(some.to(device())) for some in held.split(4)]
        return {"validation bits a token": float(torch.cat(bits).mean())}

    fresh = fresh_views(footage.large, footage.split.train, tokenizer, footage.size, part, window)
    batches = mixed_batches(film_batches(cache, footage.split.train, part.batch, window), fresh, part.fresh)
    loss = prior_loss(part.token_noise, drop_label=1 - part.label_share)
    trained = run.fit(prior, loss, batches, recipe, evaluate)

    def measure(model: Prior) -> dict:
        found = prior_facts(model, tokenizer, cache, footage.split)
        if features:
            sampling = run.film_experiment.sampling
            found["generated"] = generated_facts(
                model, tokenizer, footage.store, features, sampling.options(), sampling.measured, footage.split,
                figures=figures,
            )  # fmt: skip
        return found

    facts = {
        "data": footage.card(),
        "scenes": scene_names(run.film_experiment.data, footage.store),
        "window_in_latent_frames": window,
        "validation_bits": trained.history["validation bits a token"],
        "tokenizer": {"name": tokenizer.name, "weights": weight_hash(tokenizer)},
    }
    return Part(trained, facts, measure)
