"""How like the film is what a prior makes? Frechet distances, drift and novelty, on prompts from every shot."""

import torch
from torch import Tensor

from vg.data import Clips, FrameStore, Shot, Split, split_shots
from vg.evaluation.baselines import nearest_clip
from vg.evaluation.figures import figure_facts
from vg.evaluation.frechet import frechet_error, unbiased_frechet
from vg.evaluation.metrics import psnr
from vg.evaluation.tokenizer import FRAMES, reconstruct
from vg.models import ClipFeatures, Prior, TubeletTokenizer
from vg.precision import autocast, full_precision
from vg.progress import tqdm
from vg.sampling import SAMPLING, generate

PROMPT, NEW = 16, 32
LONG = 96
FEWEST = 10  # stretches: a tenth left out, there are still enough for an unbiased distance
CHOSEN = 24  # frames of each shot that are left out where settings are chosen: other prompts than those reported


@torch.no_grad()
def describe(features: ClipFeatures, video: Tensor) -> Tensor:
    """Features of every ``FRAMES`` frames of clips (B, C, T, H, W): (B * T / FRAMES, D)."""
    clips, where = torch.cat(video.split(FRAMES, dim=2)), next(features.parameters()).device
    with autocast(where):
        return torch.cat([full_precision(features(part.to(where))).cpu() for part in clips.split(16)])


def windows(
    store: FrameStore, length: int, shots: list[Shot] | None = None, most: int | None = None, shift: int = 0
) -> Tensor:
    """Stretches of the shots side by side, from frame ``shift`` of each on: (B, C, length, H, W); ``most`` at most."""
    shots = [(start + shift, stop) for start, stop in (store.shots if shots is None else shots)]
    clips = Clips(store, shots, length, stride=length)
    count = len(clips) if most is None else min(most, len(clips))
    return clips.take(len(clips) * k // count for k in range(count))


def shuffled(video: Tensor, seed: int = 0) -> Tensor:
    """Every clip's frames in another order."""
    draw = torch.Generator().manual_seed(seed)
    return torch.stack([clip[:, torch.randperm(clip.shape[1], generator=draw)] for clip in video])


def frechet_facts(made: dict[str, Tensor], real: Tensor, features: ClipFeatures) -> dict[str, dict[str, float]]:
    """Unbiased Frechet distance of each set of clips to the real ones, "frechet", and its "frechet_error"."""
    known, found = describe(features, real), {name: describe(features, video) for name, video in made.items()}
    return {
        "frechet": {name: round(unbiased_frechet(its, known), 1) for name, its in found.items()},
        "frechet_error": {name: round(frechet_error(its, known, len(real)), 1) for name, its in found.items()},
    }


def new_clips(
    prior: Prior, tokenizer: TubeletTokenizer, given: Tensor, frames: int, options: dict | None = None
) -> Tensor:
    """``frames`` new frames, 16 clips at a time: (B, C, frames, H, W), on the CPU.

    Args:
        prior, tokenizer: a pair, on one device.
        given: prompts (B, C, T, H, W) to go on from; or scenes (B,) int64, for clips from nothing but a label.
        frames: after the prompts, or in all.
        options: of ``generate``; default ``SAMPLING``.
    """
    made, options = [], SAMPLING if options is None else options
    for k, part in enumerate(tqdm(given.split(16), desc="generating", unit="batch")):
        how = {"seed": 16 * k, "progress": False, **options}
        if part.ndim == 1:
            how |= {"batch": len(part), "label": part.tolist()}
            made.append(generate(prior, tokenizer, None, frames, **how).cpu())
        else:
            video = generate(prior, tokenizer, part, part.shape[2] + frames, **how)
            made.append(video[:, :, part.shape[2] :].cpu())
    return torch.cat(made)


def labels_in_turn(prior: Prior, count: int) -> Tensor:
    """The scenes whose labels say what stands where, over and over: (count,) int64, or none if there are none."""
    known = prior.labels_with_layouts()
    return torch.tensor([known[k % len(known)] for k in range(count if known else 0)], dtype=torch.long)


def generated_facts(
    prior: Prior,
    tokenizer: TubeletTokenizer,
    store: FrameStore,
    features: ClipFeatures,
    options: dict | None = None,
    most: int | None = None,
    split: Split | None = None,
    shift: int = 0,
    figures: ClipFeatures | None = None,
) -> dict:
    """What a card says of the clips that a prior makes.

    The film is cut into stretches of 48 frames, from frame ``shift`` of each shot on: settings that these figures are
    reported of were chosen with another shift (``CHOSEN``). The second, fourth, ... are the real clips. The first,
    third, ... give the prompts, their first 16 frames; what follows there is the other real half, and what the other
    sets stand in for.

    Args:
        prior, tokenizer, features: on one device.
        store: the film.
        options: of ``generate``; default ``SAMPLING``.
        most: stretches at most, from all over the film; default all.
        split: of the film; default ``split_shots``.
        shift: frames of each shot that are left out at its beginning.
        figures: features of what moves, such as ``figure-features``.

    Returns:
        "clips": how many of each set; "sampling": the options that they were drawn with.
        "frechet", "frechet_error": distance to the real clips, and its standard error, of: the other real half; the
        same through the tokenizer; what the prior made of their prompts; what it made of labels alone, if these say
        what stands where; the prompt's last frame, copied; and the real half with its frames shuffled.
        "figures": what ``figure_facts`` says of the same sets; without ``figures`` it is not there.
        "drift": the same distance for the frames 0 to 31, 32 to 63 and 64 to 95 after a prompt, free-running, beside
        the film's own; in few clips, so that chance plays a larger part. Empty if too few shots are that long, or with
        ``most``.
        "novelty": how near the nearest training clip is, as PSNR, for what was made from prompts that no model saw,
        from training prompts, from labels, and for the film itself at the former; without those for which no
        shot is long enough.
        Empty with fewer than ``FEWEST`` stretches: then there is no distance, or no error of it.
    """
    options = SAMPLING if options is None else options
    available = sum(max(0, stop - start - shift) // (PROMPT + NEW) for start, stop in store.shots)
    if available < FEWEST or (most is not None and most < FEWEST):
        return {}
    stretches = windows(store, PROMPT + NEW, most=most, shift=shift)
    stretches = stretches[: len(stretches) // 2 * 2]
    halves, real = stretches[::2], stretches[1::2, :, PROMPT:]
    prompts, truth = halves[:, :, :PROMPT], halves[:, :, PROMPT:]
    made = {
        "real_half": truth,
        "through_the_tokenizer": reconstruct(tokenizer, halves).clamp(-1, 1)[:, :, PROMPT:],
        "generated": new_clips(prior, tokenizer, prompts, NEW, options),
        "last_frame_copied": prompts[:, :, -1:].expand_as(truth),
        "frames_shuffled": shuffled(truth),
    }
    labels = labels_in_turn(prior, len(prompts))
    if len(labels):
        made["from_labels"] = new_clips(prior, tokenizer, labels, NEW, options)
    return {
        "clips": len(prompts),
        "sampling": options,
        **frechet_facts(made, real, features),
        **({"figures": figure_facts(made, real, figures)} if figures else {}),
        "drift": _drift(prior, tokenizer, store, features, real, options) if most is None else {},
        "novelty": _novelty(prior, tokenizer, store, split, made.get("from_labels"), options, min(12, most or 12)),
    }


def _drift(
    prior: Prior, tokenizer: TubeletTokenizer, store: FrameStore, features: ClipFeatures, real: Tensor, options: dict
) -> dict[str, list[float]]:
    """Frechet distances further and further from the prompt; none if too few shots are long enough."""
    if sum((stop - start) // (PROMPT + LONG) for start, stop in store.shots) < 8:
        return {}
    whole, known = windows(store, PROMPT + LONG)[::2], describe(features, real)
    far = new_clips(prior, tokenizer, whole[:, :, :PROMPT], LONG, options)
    return {
        name: [round(unbiased_frechet(describe(features, part), known), 1) for part in video.split(NEW, dim=2)]
        for name, video in (("generated", far), ("film", whole[:, :, PROMPT:]))
    }


def _novelty(
    prior: Prior,
    tokenizer: TubeletTokenizer,
    store: FrameStore,
    split: Split | None,
    from_labels: Tensor | None,
    options: dict,
    count: int,
) -> dict[str, float]:
    """PSNR of the nearest training clip, in clips of ``NEW`` frames."""
    split = split or split_shots(store.shots)
    if not any(stop - start >= NEW for start, stop in split.train):
        return {}
    bank, found = Clips(store, split.train, NEW, stride=2), {}

    def nearness(video: Tensor) -> float:
        return round(float(psnr(nearest_clip(video, bank), video).mean()), 2)

    for name, shots in (("held_out", split.held_out), ("training", split.train)):
        if any(stop - start >= PROMPT + NEW for start, stop in shots):
            some = windows(store, PROMPT + NEW, shots)[:count]
            made = new_clips(prior, tokenizer, some[:, :, :PROMPT], NEW, options)
            found[f"generated_from_{name}_prompts"] = nearness(made)
            if name == "held_out":
                found["film_held_out"] = nearness(some[:, :, PROMPT:])
    if from_labels is not None:
        found["generated_from_labels"] = nearness(from_labels[: len(prior.labels_with_layouts())])
    return found
