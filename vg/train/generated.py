"""How like the film is what a prior makes? Frechet distances, drift and novelty, on prompts from every shot."""

import torch
from torch import Tensor
from tqdm.auto import tqdm

from vg.data import Clips, FrameStore, split_shots
from vg.metrics import frechet_distance, nearest_clip, psnr
from vg.models import ClipFeatures, Prior, TubeletTokenizer
from vg.sampling import generate, sampling_defaults
from vg.train.film import FRAMES

PROMPT, NEW = 16, 32
LONG = 96


@torch.no_grad()
def describe(features: ClipFeatures, video: Tensor) -> Tensor:
    """Features of every ``FRAMES`` frames of clips (B, C, T, H, W): (B * T / FRAMES, D)."""
    clips = torch.cat(video.split(FRAMES, dim=2))
    return torch.cat([features(part) for part in clips.split(16)])


def windows(store: FrameStore, length: int, shots: list | None = None) -> Tensor:
    """Stretches of the shots one after another, without overlap: (B, C, length, H, W)."""
    clips = Clips(store, shots, length, stride=length)
    return clips.take(range(len(clips)))


def shuffled(video: Tensor, seed: int = 0) -> Tensor:
    """Every clip's frames in another order."""
    draw = torch.Generator().manual_seed(seed)
    return torch.stack([clip[:, torch.randperm(clip.shape[1], generator=draw)] for clip in video])


def frechet_facts(made: dict[str, Tensor], real: Tensor, features: ClipFeatures) -> dict[str, float]:
    """Frechet distance of each set of clips to the real ones; sets of one size can be compared."""
    known = describe(features, real)
    return {name: round(frechet_distance(describe(features, video), known), 2) for name, video in made.items()}


def new_clips(prior: Prior, tokenizer: TubeletTokenizer, given: Tensor, frames: int) -> Tensor:
    """``frames`` new frames, 16 clips at a time: (B, C, frames, H, W).

    Args:
        given: prompts (B, C, T, H, W) to go on from; or scenes (B,) int64, for clips from nothing but a label.
        frames: after the prompts, or in all.
    """
    made = []
    for k, part in enumerate(tqdm(given.split(16), desc="generating", unit="batch")):
        options = {"seed": 16 * k, "progress": False, **sampling_defaults(prior)}
        if part.ndim == 1:
            options |= {"batch": len(part), "label": part.tolist()}
            made.append(generate(prior, tokenizer, None, frames, **options))
        else:
            video = generate(prior, tokenizer, part, part.shape[2] + frames, **options)
            made.append(video[:, :, part.shape[2] :])
    return torch.cat(made)


def labels_in_turn(prior: Prior, count: int) -> Tensor:
    """The scenes whose labels say what stands where, over and over: (count,) int64, or none if there are none."""
    known = prior.labels_with_layouts()
    return torch.tensor([known[k % len(known)] for k in range(count if known else 0)], dtype=torch.long)


def generated_facts(prior: Prior, tokenizer: TubeletTokenizer, store: FrameStore, features: ClipFeatures) -> dict:
    """What a card says of the clips that a prior makes.

    The film is cut into stretches of 48 frames. The second, fourth, ... are the real clips. The first, third, ... give
    the prompts, their first 16 frames; what follows there is the other real half, and what the other sets stand in for.

    Returns:
        "clips": how many of each set; "knobs": what they were drawn with.
        "frechet": distance to the real clips of: the other real half; the same through the tokenizer; what the prior
        made of their prompts; what it made of labels alone, if these say what stands where; the prompt's last frame,
        copied; and the real half with its frames shuffled.
        "drift": the same distance for the frames 0 to 31, 32 to 63 and 64 to 95 after a prompt, free-running, beside
        the film's own; in few clips, so that these are larger, and compare with each other alone. Empty if no shot is
        that long.
        "novelty": how near the nearest training clip is, as PSNR, for what was made from validation prompts, from
        training prompts, from labels, and for the film itself at the validation prompts; without those for which no
        shot is long enough.
    """
    train, val = split_shots(store.shots)
    stretches = windows(store, PROMPT + NEW)
    halves, real = stretches[::2], stretches[1::2, :, PROMPT:]
    prompts, truth = halves[:, :, :PROMPT], halves[:, :, PROMPT:]
    smooth = torch.cat([tokenizer.decode(tokenizer.encode(part)) for part in halves.split(8)])[:, :, PROMPT:]
    made = {
        "real_half": truth,
        "through_the_tokenizer": smooth,
        "generated": new_clips(prior, tokenizer, prompts, NEW),
        "last_frame_copied": prompts[:, :, -1:].expand_as(truth),
        "frames_shuffled": shuffled(truth),
    }
    labels = labels_in_turn(prior, len(prompts))
    if len(labels):
        made["from_labels"] = new_clips(prior, tokenizer, labels, NEW)
    drift = {}
    if any(stop - start >= PROMPT + LONG for start, stop in store.shots):
        whole, known = windows(store, PROMPT + LONG)[::2], describe(features, real)
        far = new_clips(prior, tokenizer, whole[:, :, :PROMPT], LONG)
        drift = {
            name: [round(frechet_distance(describe(features, part), known), 2) for part in video.split(NEW, dim=2)]
            for name, video in (("generated", far), ("film", whole[:, :, PROMPT:]))
        }
    bank = Clips(store, train, NEW, stride=2)

    def nearness(video: Tensor) -> float:
        return round(float(psnr(nearest_clip(video, bank), video).mean()), 2)

    novelty = {}
    for name, shots in (("validation", val), ("training", train)):
        if not any(stop - start >= PROMPT + NEW for start, stop in shots):
            continue
        some = windows(store, PROMPT + NEW, shots)[:12]
        ours = new_clips(prior, tokenizer, some[:, :, :PROMPT], NEW)
        sets = {f"generated_from_{name}_prompts": ours}
        if name == "validation":
            sets["film_validation"] = some[:, :, PROMPT:]
        for key, video in sets.items():
            novelty[key] = nearness(video)
    if "from_labels" in made:
        novelty["generated_from_labels"] = nearness(made["from_labels"][: len(prior.labels_with_layouts())])
    frechet = frechet_facts(made, real, features)
    return {
        "clips": len(prompts),
        "knobs": sampling_defaults(prior),
        "frechet": frechet,
        "drift": drift,
        "novelty": novelty,
    }
