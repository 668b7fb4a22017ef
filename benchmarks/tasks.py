"""How well one prior joins, loops, fills and goes backwards: ``python benchmarks/tasks.py``, with the film at hand.

``python benchmarks/tasks.py 128`` measures the pair of 128 pixels.

Windows of 48 frames of all shots held out, at the film's own shape. Nothing is chosen, all seeds are 0. The guidance
towards a goal was settled on training windows: ``python benchmarks/tasks.py train`` measures joins on those.
"""

import sys

import torch
from torch import Tensor

from vg import checkpoints
from vg.data import Clips, FrameStore
from vg.evaluation import psnr
from vg.evaluation.frechet import frechet_distance, frechet_error, unbiased_frechet
from vg.evaluation.generated import NEW, PROMPT, describe, new_clips, windows
from vg.evaluation.metrics import steps
from vg.evaluation.pair import open_pair
from vg.evaluation.tokenizer import FRAMES as FRAMES_SEEN
from vg.evaluation.tokenizer import reconstruct
from vg.experiments.config import FilmData
from vg.experiments.film import open_footage, open_sources
from vg.models import ClipFeatures, Prior, TubeletTokenizer
from vg.sampling import before, fill, generate, join, loop
from vg.sampling.tasks import TOWARDS_GOAL

FRAMES, MOST = 48, 20
QUIET = {"progress": False}


def report_joins(prior: Prior, tokenizer: TubeletTokenizer, clips: Tensor, options: dict) -> None:
    """The last drawn frame beside the first of the second clip, in dB, and how much moves on the way."""
    first, last = clips[:, :, :PROMPT], clips[:, :, -PROMPT:]
    order = torch.randperm(len(clips), generator=torch.Generator().manual_seed(1))
    for name, second in {"within a shot": last, "into any other window": clips[order][:, :, :PROMPT]}.items():
        aimless = generate(prior, tokenizer, first, FRAMES - PROMPT, **options)
        made = {"no goal": aimless} | {
            f"goal, guidance {g:g}": join(prior, tokenizer, first, second, FRAMES - 2 * PROMPT, guidance=g, **options)
            for g in sorted({1.0, 2.0, TOWARDS_GOAL, 5.0})
        }
        at = FRAMES - PROMPT - 1
        print(f"joins {name}: standing still {float(psnr(first[:, :, -1], second[:, :, 0]).mean()):.2f} dB")
        for how, video in made.items():
            near, moves = psnr(video[:, :, at].cpu(), second[:, :, 0]), steps(video[:, :, PROMPT : at + 1])
            print(f"  {how:20} {float(near.mean()):.2f} dB, {float(moves.mean()):.2f} grey levels a frame", flush=True)


def report_loops(
    prior: Prior, tokenizer: TubeletTokenizer, clips: Tensor, film: Tensor, going: Tensor, options: dict
) -> None:
    """The step over the seam beside the clip's median step, and beside its median step over a border of tubelets."""
    span = tokenizer.tubelet[0]
    looped = loop(prior, tokenizer, clips[:, :, :PROMPT], FRAMES - span, **options).cpu()
    seam, inner = steps(torch.cat([looped[:, :, -1:], looped[:, :, :1]], dim=2))[:, 0], steps(looped)
    for name, level in {"step": inner, "step over a border": inner[:, span - 1 :: span]}.items():
        share = seam / level.median(1).values
        print(f"loops: {int((share <= 1.5).sum())} of {len(share)} seams within 1.5 times the median {name}; "
              f"in the middle {float(share.median()):.2f} times it")  # fmt: skip
    for name, video in {"film": clips, "film through the tokenizer": film, "continued": going[:, :, PROMPT:]}.items():
        level = steps(video)
        borders, inside = level[:, span - 1 :: span], level.unfold(1, span - 1, span)
        print(f"  {name}: over a border {float(borders.median()):.2f}, within {float(inside.median()):.2f} grey levels")


def report_filling(
    prior: Prior, tokenizer: TubeletTokenizer, clips: Tensor, film: Tensor, going: Tensor, options: dict
) -> None:
    """The right half drawn, after a prompt and beside the left half: how near to the film, and how it fits the left."""
    wide = tokenizer.tubelet[2]
    half = clips.shape[-1] // 2 // wide * wide
    keep = torch.zeros(clips.shape[2:], dtype=torch.bool)
    keep[:PROMPT], keep[..., :half] = True, True
    made = {"film through the tokenizer": film, "standing still": film[:, :, PROMPT - 1 : PROMPT].expand_as(film)}
    made["left half not known"] = going
    for n in (1, 8):
        drawn = [fill(prior, tokenizer, clip, keep, candidates=n, **options).cpu() for clip in clips]
        made[f"filled, candidates {n}"] = torch.cat(drawn)
    for name, video in made.items():
        right = psnr(video[:, :, PROMPT:, :, half:], clips[:, :, PROMPT:, :, half:])
        whole = torch.cat([film[..., :half], video[..., half:]], dim=-1)[:, :, PROMPT:]
        seam = (whole[..., half] - whole[..., half - 1]).abs().mean() * 127.5
        moves = steps(video[:, :, PROMPT:, :, half:]).mean()
        print(f"right half, {name:26}: {float(right.mean()):.2f} dB, {float(moves):.2f} grey levels a frame, "
              f"{float(seam):.2f} over the border to the film's left half", flush=True)  # fmt: skip


def report_backwards(
    prior: Prior, tokenizer: TubeletTokenizer, store: FrameStore, features: ClipFeatures, options: dict
) -> None:
    """Frechet distances of pasts and futures to the film's own; the plain ones compare, as sets are of one size."""
    stretches = windows(store, PROMPT + NEW)
    stretches = stretches[: len(stretches) // 2 * 2]
    halves, others = stretches[::2], stretches[1::2]
    pasts, futures = describe(features, others[:, :, :NEW]), describe(features, others[:, :, PROMPT:])
    for name, reader in {"told backwards": prior, "told nothing": prior.running(None), "told forwards": None}.items():
        parts = []
        for k, part in enumerate(halves[:, :, NEW:].split(16)):
            how = options | {"seed": 16 * k}
            if reader is prior:
                made = before(prior, tokenizer, part, PROMPT + NEW, **how)
            else:
                made = generate(reader or prior, tokenizer, part.flip(2), PROMPT + NEW, **how).flip(2)
            parts.append(made[:, :, :NEW].cpu())
        _distance(f"before, {name}", describe(features, torch.cat(parts)), pasts)
    made = new_clips(prior, tokenizer, halves[:, :, :PROMPT], NEW, options)
    _distance("continued", describe(features, made), futures)


def _distance(name: str, made: Tensor, real: Tensor) -> None:
    stretches = len(made) // (NEW // FRAMES_SEEN)
    unbiased, error = unbiased_frechet(made, real), frechet_error(made, real, stretches)
    print(
        f"{name}: {frechet_distance(made, real):.1f}, unbiased {unbiased:.1f} +- {error:.1f}; {stretches} clips",
        flush=True,
    )


@torch.no_grad()
def main(*arguments: str) -> None:
    size, side = 128 if "128" in arguments else 64, "train" if "train" in arguments else "held-out"
    pair = open_pair(f"prior-{size}")
    prior, tokenizer, options = pair.prior, pair.tokenizer, {**pair.options, **QUIET}
    data = FilmData(size=size, colour=False, zoom=1.0)
    footage = open_footage(data, open_sources(data), multiple=tokenizer.tubelet[1:])
    clips = Clips(
        footage.store, footage.split.train if side == "train" else footage.split.held_out, FRAMES, stride=FRAMES // 2
    )
    count = min(MOST, len(clips))
    video = clips.take(len(clips) * k // count for k in range(count))
    print(f"{count} windows of {side} shots")
    report_joins(prior, tokenizer, video, options)
    if side == "train":
        return
    film = reconstruct(tokenizer, video)
    going = generate(prior, tokenizer, video[:, :, :PROMPT], FRAMES, **options).cpu()
    report_loops(prior, tokenizer, video, film, going, options)
    report_filling(prior, tokenizer, video, film, going, options)
    report_backwards(prior, tokenizer, footage.store, checkpoints.load("film-features"), options)


if __name__ == "__main__":
    main(*sys.argv[1:])
