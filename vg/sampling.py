"""Generation: new tokens one after another, decoded into new video or new images."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Integral

import torch
from torch import Tensor
from tqdm.auto import tqdm

from vg.models.frozen import evaluating
from vg.models.transformer import Prior, State
from vg.models.tubelet import TubeletTokenizer
from vg.models.two_level import TwoLevelPrior
from vg.models.vqvae import VQVAE, VQVAE2

# What the shipped priors are shown and measured with, settled by measurement (benchmarks/LOG.md).
SAMPLING = {
    "prior-64": {"temperature": 1.0, "top_p": 0.97, "history": 1.0},
    "prior-128": {"temperature": 0.95, "top_p": 0.99, "history": 1.5},
}


def knobs(prior: Prior) -> dict[str, float]:
    """Options of ``generate`` that suit a shipped prior, by its ``name``; for any other those of ``prior-64``."""
    return dict(SAMPLING.get(getattr(prior, "name", ""), SAMPLING["prior-64"]))


@torch.no_grad()
def generate(
    prior: Prior,
    tokenizer: TubeletTokenizer,
    prompt: Tensor | None = None,
    frames: int = 32,
    seed: int = 0,
    *,
    batch: int | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    scene: int | Sequence[int] | None = None,
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
        batch: how many to make; default as many as there are prompts or scenes, or one.
        temperature: the logits are divided by it, above 0: below 1 is safer, above 1 wilder.
        top_k: draw each digit from its so many most probable values.
        top_p: draw each digit from the fewest values that hold this share of the probability (Holtzman et al.,
            2020, arXiv:1904.09751). Both are taken from the same distribution, independently of each other.
        scene: a label, or one for each of the batch, for a prior that has them.
        guidance: above 1, go further in the direction that the scene's label points to (Ho and Salimans,
            2022, arXiv:2207.12598).
        history: above 1, go further in the direction that the past points to: what the prior says after all
            tubelet-frames before, beside what it would say if the one it is in were the first (history guidance: Song
            et al., 2025, arXiv:2502.06764; for text context-aware decoding: Shi et al., 2023, arXiv:2305.14739). No
            training is needed: a prior that learned from windows of shots knows both. A token takes up to twice as
            long.
        window: tubelet-frames that the prior looks back at most; default all. Without a bound a long video
            takes ever longer.
        progress: show a bar.

    Returns:
        (B, C, frames, H, W) in [-1, 1]: the prompt as the tokenizer sees it, then what is new.

    Raises:
        ValueError: if the models do not fit each other or the prompt, or a number is out of its range.
    """
    _check_levels([prior.levels], [tokenizer.levels])
    t = tokenizer.tubelet[0]
    tokens = None if prompt is None else _prompt_tokens(prior, tokenizer, prompt)
    if batch is None:
        batch = max(len(_labels(scene)), 1 if tokens is None else len(tokens))
    given = 0 if tokens is None else tokens.shape[1]
    if frames <= given * t:
        raise ValueError(f"generate: the prompt fills {given * t} of {frames} frames. Ask for more than that.")
    wanted = -(-frames // t)
    indices = generate_tokens(
        prior, tokens, wanted, seed, batch=batch, temperature=temperature, top_k=top_k, top_p=top_p,
        scene=scene, guidance=guidance, history=history, window=window, progress=progress,
    )  # fmt: skip
    return tokenizer.decode(indices.to(next(tokenizer.parameters()).device))[:, :, :frames]


@dataclass
class Reading:
    """A way for a prior to read the tokens so far, under one label or several at once.

    Attributes:
        weights: of its logits in the sum that is drawn from, one for each label; those of all readings add up to 1.
        labels: (k, B) int64, k scenes that each clip is told, -1 for none.
        forgets: whether it begins anew with every tubelet-frame, as if there had been none before.
        state: what it keeps from one token to the next.
    """

    weights: tuple[float, ...]
    labels: Tensor
    forgets: bool = False
    state: State = field(default_factory=State)

    def advance(
        self, prior: Prior, digits: Tensor, fresh: Tensor | None, window: int | None, guide: Tensor | None
    ) -> Tensor:
        """Hidden states (k * B, D) that predict the token after ``digits``, the last of which are ``fresh``."""
        if self.forgets:
            done, place = divmod(digits.shape[1], prior.frame)
            if place == 0:
                self.state, fresh = State(), None
            guide = None if guide is None else guide[:, done : done + 1]
        k = len(self.labels)
        fresh, guide = (None if x is None else x.repeat(k, *[1] * (x.ndim - 1)) for x in (fresh, guide))
        return prior.advance(self.state, fresh, self.labels.flatten(), window, guide)


def readings(label: Tensor, guidance: float = 1.0, history: float = 1.0) -> list[Reading]:
    """The readings whose weighted logits are guided ones: of label and past, without the label, without the past.

    ``guidance`` goes from what is said without the label towards what is said with it, and beyond: ``without + guidance
    * (with - without)``. ``history`` does the same with the past. At 1 neither changes anything, or costs anything.
    """
    weights, labels = [guidance + history - 1], [label]
    if guidance != 1.0:
        weights.append(1 - guidance)
        labels.append(torch.full_like(label, -1))
    found = [Reading(tuple(weights), torch.stack(labels))]
    if history != 1.0:
        found.append(Reading((1 - history,), label[None], forgets=True))
    return found


@torch.no_grad()
def generate_tokens(
    prior: Prior,
    tokens: Tensor | None,
    frames: int,
    seed: int = 0,
    *,
    batch: int = 1,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    scene: int | Sequence[int] | None = None,
    guidance: float = 1.0,
    history: float = 1.0,
    window: int | None = None,
    guide: Tensor | None = None,
    progress: bool = True,
) -> Tensor:
    """As ``generate``, in tokens: from (B, t, h, w) or None to (B, ``frames``, h, w) int64, t counting.

    ``frames`` are tubelet-frames here; ``scene`` may be one for each of the batch; ``guide`` is (B, ``frames``, h', w')
    int64, for a prior that takes one. Raises ``ValueError`` where a number is out of its range or the sizes disagree.
    """
    scenes = _labels(scene)
    for each in scenes:
        _check_numbers(prior, temperature, top_k, top_p, each, guidance, history)
    device, n = prior.start.device, len(prior.levels)
    if batch < 1 or len(scenes) not in (1, batch):
        raise ValueError(
            f"generate: {len(scenes)} scenes for a batch of {batch}. Make one or more; give one scene, or as many."
        )
    digits = torch.zeros(batch, 0, n, dtype=torch.long, device=device)
    if tokens is not None:
        digits = prior.digits(tokens.to(device))
        if len(digits) == 1:
            digits = digits.expand(batch, -1, -1)
        if digits.shape[1] > frames * prior.frame:
            raise ValueError(f"generate: {tokens.shape[1]} tubelet-frames are given, and only {frames} wanted in all.")
        if len(digits) != batch:
            raise ValueError(f"generate: {len(digits)} prompts for a batch of {batch}. Give one, or as many.")
    draws = [torch.Generator().manual_seed(seed + b) for b in range(batch)]
    label = torch.as_tensor(-1 if scene is None else scene, device=device).expand(batch)
    readers = readings(label, guidance, history)
    weights = [weight for reader in readers for weight in reader.weights]
    guide = None if guide is None else guide.to(device)
    reach = None if window is None else window * prior.frame
    fresh = digits if digits.shape[1] else None
    total = frames * prior.frame
    bar = tqdm(total=total - digits.shape[1], unit="token", desc="generating", disable=not progress, mininterval=0.5)
    with evaluating(prior), bar:
        while digits.shape[1] < total:
            hidden = [reader.advance(prior, digits, fresh, reach, guide) for reader in readers]
            noise = torch.stack([torch.rand(n, max(prior.levels), generator=g) for g in draws]).to(device)
            fresh = _draw(prior, hidden, weights, noise, temperature, top_k, top_p)[:, None]
            digits = torch.cat([digits, fresh], dim=1)
            bar.update(1)
    indices = prior.quantizer.indices(digits)
    return indices.view(batch, frames, *prior.grid)


@torch.no_grad()
def sample_images(
    prior: Prior | TwoLevelPrior,
    autoencoder: VQVAE | VQVAE2,
    batch: int = 1,
    seed: int = 0,
    *,
    scene: int | Sequence[int] | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    guidance: float = 1.0,
    progress: bool = True,
) -> Tensor:
    """New images: the tokens of a prior over images, the top level first where there are two, decoded.

    Args:
        prior: a ``Prior`` over the tokens of a ``VQVAE``, or a ``TwoLevelPrior`` over those of a ``VQVAE2``.
        autoencoder: the one whose tokens the prior was trained on.
        batch: how many images; as many as there are scenes, if these are several.
        seed: the same arguments and seed give the same images; image ``b`` is seeded with ``seed + b``.
        scene: the class, or one for each image; None for whatever comes.
        temperature, top_k, top_p, guidance: as in ``generate``.
        progress: show a bar.

    Returns:
        (batch, C, H, W) in [-1, 1].

    Raises:
        ValueError: if the models do not fit each other, or a number is out of its range.
    """
    options = dict(temperature=temperature, top_k=top_k, top_p=top_p, guidance=guidance)
    two = isinstance(prior, TwoLevelPrior)
    parts = [prior.top, prior.bottom] if two else [prior]
    theirs = autoencoder.levels if isinstance(autoencoder, VQVAE2) else (autoencoder.levels,)
    _check_levels([part.levels for part in parts], list(theirs))
    options |= dict(batch=batch, scene=scene, progress=progress)
    device = next(autoencoder.parameters()).device
    tokens = generate_tokens(parts[0], None, 1, seed, **options)  # (batch, 1, h, w)
    if not two:
        return autoencoder.decode(tokens[:, 0].to(device))
    bottom = generate_tokens(prior.bottom, None, 1, seed + 1_000_003, guide=tokens, **options)  # other dice
    return autoencoder.decode(tokens[:, 0].to(device), bottom[:, 0].to(device))


def _draw(prior: Prior, hidden: list[Tensor], weights: list[float], noise: Tensor, temperature, top_k, top_p) -> Tensor:
    """One token for each sample: (B, digits), from each reading's hidden states (B, D) and uniform noise."""
    position = 0

    def choose(logits: Tensor) -> Tensor:
        nonlocal position
        logits = sum(weight * part for weight, part in zip(weights, logits.chunk(len(weights))))
        logits = restrict(logits / temperature, top_k, top_p)
        gumbel = -torch.log(-torch.log(noise[:, position, : logits.shape[-1]].clamp(1e-9, 1 - 1e-7)))
        position += 1
        drawn = (logits + gumbel).argmax(dim=-1)  # the Gumbel trick: a draw from softmax(logits)
        return drawn.repeat(len(weights))  # every reading is shown the same

    return prior.head.sample(torch.cat(hidden), choose)[: len(noise)]


def restrict(logits: Tensor, top_k: int | None = None, top_p: float | None = None) -> Tensor:
    """Put ``-inf`` where top-k or top-p leave a value out: (..., V) -> (..., V). The most probable one stays.

    Args:
        logits: already divided by the temperature.
        top_k: keep the so many largest (and what ties with the last of them).
        top_p: keep the fewest of the largest whose probabilities add up to this.
    """
    out = logits
    if top_k is not None and top_k < logits.shape[-1]:
        least = logits.topk(top_k, dim=-1).values[..., -1:]
        out = out.masked_fill(logits < least, -math.inf)
    if top_p is not None and top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        share = ordered.softmax(dim=-1)
        before = share.cumsum(dim=-1) - share  # held by more probable values
        out = out.masked_fill((before >= top_p).scatter(-1, order, before >= top_p), -math.inf)
    return out


def _prompt_tokens(prior: Prior, tokenizer: TubeletTokenizer, prompt: Tensor) -> Tensor:
    """(B, t, h, w) on the tokenizer's device."""
    prompt = prompt[None] if prompt.ndim == 4 else prompt
    span = tokenizer.tubelet[0]
    if prompt.ndim != 5 or not prompt.shape[2]:
        raise ValueError(f"generate: the prompt is {tuple(prompt.shape)}, expected (B, C, T, H, W) with T from 1.")
    if prompt.shape[2] > span:
        prompt = prompt[:, :, : prompt.shape[2] // span * span]
    tokens = tokenizer.encode(prompt.to(next(tokenizer.parameters()).device))
    if tuple(tokens.shape[2:]) != prior.grid:
        h, w = (g * p for g, p in zip(prior.grid, tokenizer.tubelet[1:]))
        raise ValueError(
            f"generate: the prompt has frames of {tuple(prompt.shape[3:])}, this prior makes {(h, w)}. "
            f"Open the store with size=({h}, {w})."
        )
    return tokens


def _labels(scene: int | Sequence[int] | None) -> Sequence[int | None]:
    return [scene] if scene is None or isinstance(scene, Integral) else scene


def _check_levels(ours: Sequence, theirs: Sequence) -> None:
    if [list(levels) for levels in ours] != [list(levels) for levels in theirs]:
        ours, theirs = (" and ".join(str(list(levels)) for levels in both) for both in (ours, theirs))
        raise ValueError(
            f"generate: the prior was made for tokens with levels {ours}, the tokenizer's have {theirs}. "
            "Load the two that belong together."
        )


def _check_numbers(prior: Prior, temperature, top_k, top_p, scene, guidance, history) -> None:
    if not temperature > 0:
        raise ValueError(f"generate: temperature is {temperature}, expected above 0 (0.01 for the likeliest).")
    if top_k is not None and top_k < 1:
        raise ValueError(f"generate: top_k is {top_k}, expected 1 or more, or None.")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"generate: top_p is {top_p}, expected above 0 and at most 1, or None.")
    known = prior.config.scenes
    if scene is not None and not 0 <= scene < known:
        what = f"has the scenes 0 to {known - 1}" if known else "knows no scenes"
        raise ValueError(f"generate: scene is {scene}, but this prior {what}.")
    if guidance != 1.0 and scene is None:
        raise ValueError(f"generate: guidance is {guidance}, which needs a scene to go towards.")
    if not history >= 1:
        raise ValueError(f"generate: history is {history}, expected 1 (as the prior says) or above.")
