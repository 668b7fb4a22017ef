"""Generation: new tokens, decoded into new video."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vg.interrupts import Stop, without_gradients
from vg.models.frozen import evaluating
from vg.models.goals import Goal
from vg.models.transformer import Prior
from vg.models.tubelet import TubeletTokenizer
from vg.precision import autocast, full_precision
from vg.progress import tqdm
from vg.sampling.options import Labels, Options, as_labels, check_levels, given_digits, kept_digits, on_device
from vg.sampling.parallel import Sampler
from vg.threads import as_they_come, side_by_side

BEYOND = 1.25  # a prompt's pixels may overshoot -1 and 1 by so much, as those of a resized picture do


@without_gradients
def generate(
    prior: Prior,
    tokenizer: TubeletTokenizer,
    prompt: Tensor | None = None,
    frames: int = 32,
    seed: int = 0,
    *,
    size: tuple[int, int] | None = None,
    batch: int | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    label: Labels = None,
    guidance: float = 1.0,
    history: float = 1.0,
    window: int | None = None,
    progress: bool = True,
) -> Tensor:
    """New video: from nothing, from a still, or going on from a clip.

    Args:
        prior: predicts the tokens.
        tokenizer: the one whose tokens the prior was trained on.
        prompt: (B, C, T, H, W) in [-1, 1], or (C, T, H, W) for one; a still has T = 1. Its ragged end, which
            fills no tubelet, is left out; a prompt shorter than a tubelet holds its last frame.
        frames: T of the result, the prompt's frames included.
        seed: the same arguments and seed give the same video. Sample ``b`` of a batch is seeded with
            ``seed + b``, whatever the others are.
        size: H and W in pixels, whole tubelets, for a prior that makes clips of any shape; default the prompt's, or the
            prior's own.
        batch: how many to make; default as many as there are prompts or labels, or one.
        temperature: the logits are divided by it, above 0: below 1 is safer, above 1 wilder.
        top_k: draw each digit from its so many most probable values.
        top_p: draw each digit from the fewest values that hold this share of the probability (Holtzman et al.,
            2020, arXiv:1904.09751). Both are taken from the same distribution, independently of each other.
        label: a label, or one for each of the batch, for a prior that has them.
        guidance: above 1, go further in the direction that the label points to (Ho and Salimans,
            2022, arXiv:2207.12598).
        history: above 1, go further in the direction that the past points to: what the prior says after all
            latent frames before, beside what it would say if the one it is in were the first (history guidance: Song
            et al., 2025, arXiv:2502.06764; for text context-aware decoding: Shi et al., 2023, arXiv:2305.14739). No
            training is needed: a prior that learned from windows of shots knows both. A pass takes up to twice as
            long.
        window: latent frames that the prior looks back at most; default all. Without a bound a long video
            takes ever longer.
        progress: show a bar.

    Returns:
        (B, C, frames, H, W) in [-1, 1]: the prompt as the tokenizer sees it, then what is new. After an interrupt
        (Ctrl-C, Jupyter's stop button) fewer frames, those that are drawn; a second interrupt stops at once.

    Raises:
        ValueError: if the models do not fit each other or the prompt, or a number is out of its range.
    """
    check_levels([prior.levels], [tokenizer.levels])
    t, prior = tokenizer.tubelet[0], fitted(prior, tokenizer, size, prompt)
    tokens = None if prompt is None else prompt_tokens(prior, tokenizer, prompt)
    if batch is None:
        batch = max(len(as_labels(label)), 1 if tokens is None else len(tokens))
    given = 0 if tokens is None else tokens.shape[1]
    if not isinstance(frames, Integral):
        raise ValueError(f"generate: frames is {frames!r}, expected a whole number.")
    if frames <= given * t:
        raise ValueError(f"generate: the prompt fills {given * t} of {frames} frames. Ask for more than that.")
    wanted = -(-frames // t)
    indices = generate_tokens(
        prior, tokens, wanted, seed, batch=batch, temperature=temperature, top_k=top_k, top_p=top_p,
        label=label, guidance=guidance, history=history, window=window, progress=progress,
    )  # fmt: skip
    where = next(tokenizer.parameters()).device
    with autocast(where):
        return full_precision(tokenizer.decode(indices.to(where))[:, :, :frames])


def generate_each(
    prior: Prior,
    tokenizer: TubeletTokenizer,
    prompt: Tensor | None = None,
    batch: int = 1,
    seed: int = 0,
    **options: Any,
) -> Iterator[tuple[int, Tensor]]:
    """The clips of ``generate``, each as soon as it is done: (its number, (C, T, H, W)).

    A few are drawn at once, each on a thread of its own. Arguments and errors as for ``generate``.
    """
    given, prompt = as_labels(options.pop("label", None)), None if prompt is None else as_video(prompt)
    if batch < 1 or len(given) not in (1, batch) or (prompt is not None and len(prompt) not in (1, batch)):
        raise ValueError(f"generate: {len(given)} labels and {batch} clips. Give one label and one prompt, or as many.")

    def one(b: int) -> tuple[int, Tensor]:
        begun = None if prompt is None else prompt[b % len(prompt)][None]
        return b, generate(prior, tokenizer, begun, seed=seed + b, label=given[b % len(given)], **options)[0]

    with evaluating(prior):
        yield from as_they_come(one, batch, prior.start.device)


@without_gradients
def generate_tokens(
    prior: Prior,
    tokens: Tensor | None,
    latent_frames: int,
    seed: int = 0,
    *,
    batch: int = 1,
    condition: Tensor | None = None,
    goal: Goal | None = None,
    kept: Tensor | None = None,
    progress: bool = True,
    **options: Any,
) -> Tensor:
    """As ``generate``, in tokens: from (B, t, h, w) or None to (B, ``latent_frames``, h, w) int64.

    Several tokens are drawn a pass, and they are those of ``one_by_one``, the plain loop (``vg.sampling.parallel``).

    Args:
        prior, seed, batch, progress: as in ``generate``.
        tokens: the prompt's.
        latent_frames: of the result, the prompt's included.
        condition: (B, ``latent_frames``, h', w') int64, for a prior that takes one.
        goal: of each sample, or one for all, for a prior that takes goals.
        kept: (1 or B, up to ``latent_frames``, h, w) int64, tokens that are not to be drawn, -1 where they are. Every
            token is drawn from the prior given those before it, kept ones too; of kept ones to come it knows nothing.
        options: those of ``Options``: ``temperature`` and so on, as in ``generate``.

    Returns:
        the tokens; after an interrupt those of the latent frames that every sample has, if there are new ones.

    Raises:
        ValueError: where a number is out of its range or the sizes disagree.
        KeyboardInterrupt: at an interrupt before the first latent frame is done.
    """
    how = Options(**options)
    how.check(prior, batch, goal)
    if not -(2**63) <= seed <= 2**63 - batch:
        raise ValueError(f"generate: seed is {seed}, expected a number of 63 bits.")
    given = given_digits(prior, tokens, latent_frames, batch)
    begun = given.shape[1] // prior.tokens_per_latent_frame
    if goal is not None and bool(((goal.at < -1) | ((goal.at >= 0) & (goal.at < begun))).any()):
        raise ValueError(f"generate: a goal is at {goal.at.tolist()}, expected from {begun} on, or -1 for none.")
    out = given.new_empty(batch, latent_frames, prior.tokens_per_latent_frame, len(prior.levels))
    out[:, :begun] = given.view(batch, begun, *out.shape[2:])
    condition, goal = on_device(prior, batch, condition, goal)
    forced = None if kept is None else kept_digits(prior, kept, latent_frames, batch)
    labels = how.label_tensor(batch)
    total = (latent_frames - begun) * prior.tokens_per_latent_frame * batch
    bar = tqdm(total=total, unit="token", desc="generating", disable=not progress, mininterval=0.5)

    @torch.no_grad()  # a thread has a mode of its own
    def draw(rows: list[int], stop: Stop) -> None:
        conditions = {"condition": condition, "goal": goal, "kept": forced}
        theirs: dict[str, Any] = {name: None if x is None else x[rows] for name, x in conditions.items()}
        alike = replace(how, label=None if how.label is None else labels[rows].tolist())
        seeds = [seed + b for b in rows]
        with autocast(given.device):
            sampler = Sampler(prior, seeds, alike, given[rows], latent_frames=latent_frames, **theirs)
            for b, tokens in sampler.run(latent_frames, bar.update, stop):
                out[rows[b], done[rows[b]]] = tokens.to(out.device)
                done[rows[b]] += 1

    done = [begun] * batch
    with evaluating(prior), bar:
        interrupted = side_by_side(draw, batch, given.device)
    whole = min(done)
    if interrupted and whole == begun < latent_frames:
        raise KeyboardInterrupt
    if interrupted and whole < latent_frames:
        print(f"Interrupted: {whole} of {latent_frames} latent frames are drawn.", file=sys.stderr)
    return prior.quantizer.indices(out[:, :whole].flatten(1, 2)).view(batch, whole, *prior.grid)


def as_video(prompt: Tensor | np.ndarray) -> Tensor:
    """A prompt as (B, C, T, H, W) float32 in [-1, 1]: uint8 (0 to 255), other floats and NumPy arrays are converted.

    Raises:
        ValueError: if its shape is another, or its numbers are no pixels from -1 to 1.
    """
    prompt = torch.as_tensor(prompt)
    prompt = prompt[None] if prompt.ndim == 4 else prompt
    if prompt.ndim != 5 or not prompt.shape[2]:
        raise ValueError(f"generate: the prompt is {tuple(prompt.shape)}, expected (B, C, T, H, W) with T from 1.")
    if prompt.dtype == torch.uint8:
        return prompt.float() / 127.5 - 1
    if not prompt.is_floating_point():
        raise ValueError(
            f"generate: the prompt is {prompt.dtype}, expected floats from -1 to 1, or uint8 from 0 to 255."
        )
    prompt = prompt.float()
    low, high = prompt.aminmax()
    if not (low >= -BEYOND and high <= BEYOND):  # NaN is neither
        raise ValueError(
            f"generate: the prompt has values from {low:g} to {high:g}, expected -1 (black) to 1 (white). "
            "Divide 0..255 by 127.5 and take 1 away, or give uint8."
        )
    return prompt


def fitted(prior: Prior, tokenizer: TubeletTokenizer, size: tuple[int, int] | None, prompt: Tensor | None) -> Prior:
    """The prior for clips of a size, or of the prompt's if it can make them; as it is without either.

    Raises:
        ValueError: if the size is no whole tubelets, or the prior makes one shape only and this is another.
    """
    shown = None if prompt is None else (prompt.shape[-2], prompt.shape[-1])
    if size is None:
        if shown is None or prior.config.places == "table":
            return prior
        size = shown
    if not isinstance(size, Sequence) or len(size) != 2 or not all(isinstance(side, Integral) for side in size):
        raise ValueError(f"generate: size is {size!r}, expected height and width, two whole numbers.")
    _, tall, wide = tokenizer.tubelet
    if size[0] % tall or size[1] % wide or min(size) < 1:
        raise ValueError(
            f"generate: size is {tuple(size)}, expected multiples of {tall} and {wide}, such as "
            f"({max(1, round(size[0] / tall)) * tall}, {max(1, round(size[1] / wide)) * wide})."
        )
    if shown is not None and shown != tuple(size):
        raise ValueError(
            f"generate: the prompt has frames of {shown}, and size asks for {tuple(size)}. "
            "Leave size out, or bring the prompt to it."
        )
    grid = (size[0] // tall, size[1] // wide)
    return prior if grid == tuple(prior.grid) else prior.at(grid)


def prompt_tokens(prior: Prior, tokenizer: TubeletTokenizer, prompt: Tensor) -> Tensor:
    """The tokens of a prompt, as ``generate`` takes it: (B, t, h, w) int64 on the tokenizer's device."""
    prompt = as_video(prompt)
    span, channels = tokenizer.tubelet[0], tokenizer.config.channels
    if prompt.shape[1] != channels:
        grey = " For grey, take the mean: prompt.mean(1, keepdim=True)." if channels == 1 else ""
        raise ValueError(f"generate: the prompt has {prompt.shape[1]} channels, the tokenizer {channels}.{grey}")
    if prompt.shape[2] > span:
        prompt = prompt[:, :, : prompt.shape[2] // span * span]
    where = next(tokenizer.parameters()).device
    with autocast(where):
        tokens = tokenizer.encode(prompt.to(where))
    if tuple(tokens.shape[2:]) != prior.grid:
        h, w = (g * p for g, p in zip(prior.grid, tokenizer.tubelet[1:]))
        raise ValueError(
            f"generate: the prompt has frames of {tuple(prompt.shape[3:])}, this prior makes {(h, w)}. "
            f"Open the store with size=({h}, {w})."
        )
    return tokens
