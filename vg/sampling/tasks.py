"""What one prior does beyond going on: loops, ways from one clip to another, what came before, missing parts.

A clip that is to be reached is a goal (``vg.models.goals``): the prior is told its first latent frame and how far ahead
it lies. What came before a clip is what comes after the clip turned round, by a prior that has learned both directions.
"""

from numbers import Integral
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vg.interrupts import heeded, without_gradients
from vg.models.frozen import evaluating
from vg.models.goals import Goal
from vg.models.transformer import Prior
from vg.models.tubelet import TubeletTokenizer
from vg.precision import autocast, full_precision
from vg.progress import tqdm
from vg.sampling.options import OTHER_DICE, Options, check_levels
from vg.sampling.video import as_video, fitted, generate, generate_tokens, prompt_tokens

TOWARDS_GOAL = 3.0  # guidance that brings joins of training clips nearest to their goal; they move as without


@without_gradients
def join(
    prior: Prior,
    tokenizer: TubeletTokenizer,
    first: Tensor,
    second: Tensor,
    frames: int = 16,
    seed: int = 0,
    *,
    guidance: float = TOWARDS_GOAL,
    **options: Any,
) -> Tensor:
    """A way from one clip into another: both, and new video between them.

    Args:
        prior: with goals.
        tokenizer: the one whose tokens the prior was trained on.
        first, second: (B, C, T, H, W) in [-1, 1], or (C, T, H, W) for one, of one size; a still has T = 1.
        frames: new ones, whole tubelets. The prior sees the goal from ``PriorConfig.goals`` latent frames ahead; before
            it goes on from ``first`` alone.
        guidance: as in ``generate``, here towards the second clip, and a label's scene if there is one.
        seed, options: as in ``generate``.

    Returns:
        (B, C, T1 + frames + T2, H, W), where T1 and T2 are whole tubelets of the clips as the tokenizer sees them.
        Of ``first`` that is its end: what fills no tubelet is left out at its beginning.

    Raises:
        ValueError: if the prior takes no goals, the clips differ in size, or as in ``generate``.
        KeyboardInterrupt: at an interrupt, for a way that does not arrive is none.
    """
    check_levels([prior.levels], [tokenizer.levels])
    first, second = as_video(first), as_video(second)
    if first.shape[3:] != second.shape[3:]:
        raise ValueError(
            f"join: the first clip has frames of {tuple(first.shape[3:])}, the second of {tuple(second.shape[3:])}. "
            "Bring both to one size."
        )
    prior, span = fitted(prior, tokenizer, None, first), tokenizer.tubelet[0]
    ragged = first.shape[2] % span if first.shape[2] > span else 0
    begin, end = prompt_tokens(prior, tokenizer, first[:, :, ragged:]), tokens_within(prior, tokenizer, second)
    arrival = begin.shape[1] + latent_frames_of(tokenizer, frames)
    goal = Goal(end[:, 0], torch.full((len(end),), arrival))
    batch = max(len(begin), len(end))
    made = generate_tokens(prior, begin, arrival, seed, batch=batch, goal=goal, guidance=guidance, **options)
    if made.shape[1] < arrival:
        raise KeyboardInterrupt
    return decoded(tokenizer, torch.cat([made, end.to(made).expand(batch, -1, -1, -1)], dim=1))


@without_gradients
def loop(
    prior: Prior,
    tokenizer: TubeletTokenizer,
    clip: Tensor | None = None,
    frames: int = 32,
    seed: int = 0,
    *,
    size: tuple[int, int] | None = None,
    batch: int = 1,
    guidance: float = TOWARDS_GOAL,
    **options: Any,
) -> Tensor:
    """Video that can be shown round and round: after its last frame comes its first.

    The goal is its own beginning. It is decoded three times over, and the second round is the result: there the first
    frame is what the decoder makes of it after the last, and the last what it makes of it before the first.

    Args:
        prior, tokenizer, seed, guidance, options: as in ``join``.
        clip: what it begins with, as the ``prompt`` of ``generate``; None for a beginning that is drawn too.
        frames: of a round, whole tubelets, the clip's included.
        size: H and W, as in ``generate``.
        batch: how many, where there is no clip.

    Returns:
        (B, C, frames, H, W) in [-1, 1].

    Raises:
        ValueError: if the prior takes no goals, or as in ``generate``.
        KeyboardInterrupt: at an interrupt, for what does not close is no loop.
    """
    check_levels([prior.levels], [tokenizer.levels])
    prior, latent_frames = fitted(prior, tokenizer, size, clip), latent_frames_of(tokenizer, frames)
    if clip is None:
        towards = 1.0 if options.get("label") is None else guidance  # no goal yet, and no label: towards what?
        begin = generate_tokens(prior, None, 1, seed + OTHER_DICE, batch=batch, guidance=towards, **options)
    else:
        begin = tokens_within(prior, tokenizer, clip)
    if begin.shape[1] >= latent_frames:
        raise ValueError(
            f"loop: the clip fills {begin.shape[1]} of {latent_frames} latent frames. Ask for more frames."
        )
    goal = Goal(begin[:, 0], torch.full((len(begin),), latent_frames))
    made = generate_tokens(prior, begin, latent_frames, seed, batch=len(begin), goal=goal, guidance=guidance, **options)
    if made.shape[1] < latent_frames:
        raise KeyboardInterrupt
    span = made.shape[1] * tokenizer.tubelet[0]
    return decoded(tokenizer, torch.cat([made, made, made], dim=1))[:, :, span : 2 * span]


@without_gradients
def before(
    prior: Prior, tokenizer: TubeletTokenizer, clip: Tensor, frames: int = 32, seed: int = 0, **options: Any
) -> Tensor:
    """A clip with what may have come before it: the clip turned round, gone on from, and turned back.

    Args:
        prior: best one that is told which way time runs (``PriorConfig.directions``).
        tokenizer, seed, options: as in ``generate``.
        clip: as the ``prompt`` of ``generate``; its ragged end is left out at its beginning here.
        frames: of the result, the clip's included.

    Returns:
        (B, C, frames, H, W) in [-1, 1]: what is new, then the clip as the tokenizer sees it turned round.
    """
    backwards = prior.running(True) if prior.config.directions else prior
    return generate(backwards, tokenizer, as_video(clip).flip(2), frames, seed, **options).flip(2)


@without_gradients
def fill(
    prior: Prior,
    tokenizer: TubeletTokenizer,
    clip: Tensor,
    keep: Tensor,
    seed: int = 0,
    *,
    candidates: int = 8,
    progress: bool = True,
    **options: Any,
) -> Tensor:
    """Parts of a clip drawn anew, as ``fill_tokens`` draws them: those where ``keep`` is False, in whole tubelets.

    Args:
        prior, tokenizer: as in ``generate``.
        clip: (C, T, H, W) or (1, C, T, H, W) in [-1, 1].
        keep: bool (H, W) or (T, H, W); a token is kept if all pixels of its tubelet are.
        seed, candidates, progress, options: as in ``fill_tokens``.

    Returns:
        (1, C, T, H, W), T whole tubelets.

    Raises:
        ValueError: if ``keep`` has another size than the clip, or as in ``generate``.
    """
    check_levels([prior.levels], [tokenizer.levels])
    prior = fitted(prior, tokenizer, None, clip)
    tokens = prompt_tokens(prior, tokenizer, clip)
    kept = whole_tubelets(tokenizer, torch.as_tensor(keep), tuple(as_video(clip).shape[2:])).to(tokens.device)
    kept = torch.where(kept, tokens, -1)
    return decoded(tokenizer, fill_tokens(prior, kept, seed, candidates=candidates, progress=progress, **options))


@without_gradients
def fill_tokens(
    prior: Prior, kept: Tensor, seed: int = 0, *, candidates: int = 8, progress: bool = True, **options: Any
) -> Tensor:
    """The tokens of a clip of which some are given.

    A token is drawn from what comes before it in the order (t, h, w), kept ones included: exact for all kept tokens
    that come before. Of those that come after it knows nothing. Against that ``candidates`` are drawn side by side, and
    after each latent frame drawn from, by how probable each makes the kept tokens (importance resampling: a particle
    filter with latent frames as its steps). The more candidates, the nearer to drawing with both in view; in the limit
    it is that, if temperature, top-k, top-p and guidance leave the draws as the prior has them.

    Args:
        prior: for the grid of ``kept``.
        kept: (1, t, h, w) int64, the tokens that are given, -1 where they are to be drawn.
        seed, options: as in ``generate``; the weights are the prior's own, given the label, whatever the temperature.
        candidates: how many; 1 is no resampling.
        progress: show a bar.

    Returns:
        (1, t, h, w) int64.

    Raises:
        ValueError: if there is not one clip and at least one candidate, or as in ``generate``.
    """
    if kept.ndim != 4 or len(kept) != 1:
        raise ValueError(f"fill: the tokens are {tuple(kept.shape)}, expected those of one clip: (1, t, h, w).")
    if candidates < 1:
        raise ValueError(f"fill: candidates is {candidates}, expected 1 or more.")
    kept = kept.to(prior.start.device)
    made = kept[:, :0].expand(candidates, -1, -1, -1)
    dice = torch.Generator().manual_seed(seed)
    options["batch"], options["progress"] = candidates, False
    label = Options(label=options.get("label")).label_tensor(candidates, prior.start.device)
    bar = tqdm(range(kept.shape[1]), desc="filling", unit="latent frame", disable=not progress)
    with heeded() as stop, evaluating(prior):
        for t in bar:
            if stop.asked:
                raise KeyboardInterrupt
            begun = made if t else None
            made = generate_tokens(prior, begun, t + 1, seed + t * candidates, kept=kept[:, : t + 1], **options)
            known = kept[:, t] >= 0
            if candidates > 1 and known.any():
                with autocast(prior.start.device):
                    bits = (prior.nll_bits(made, label)[:, -1] * known).sum((1, 2))
                made = made[resampled(bits.cpu(), dice).to(made.device)]
    return made[:1]


def resampled(bits: Tensor, dice: torch.Generator) -> Tensor:
    """As many numbers of candidates as there are, drawn with weights ``2 ** -bits``: (K,) -> (K,) int64."""
    return torch.multinomial(torch.exp2(bits.min() - bits), len(bits), replacement=True, generator=dice)


def tokens_within(prior: Prior, tokenizer: TubeletTokenizer, clip: Tensor) -> Tensor:
    """A clip's tokens as of a clip that something came before: its first frame is held for one tubelet more."""
    clip, span = as_video(clip), tokenizer.tubelet[0]
    held, last = (frame.expand(-1, -1, span, -1, -1) for frame in (clip[:, :, :1], clip[:, :, -1:]))
    filled = torch.cat([clip, last], dim=2)[:, :, :span] if clip.shape[2] < span else clip
    return prompt_tokens(prior, tokenizer, torch.cat([held, filled], dim=2))[:, 1:]


def whole_tubelets(tokenizer: TubeletTokenizer, keep: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Which tokens of a clip are kept: bool (T, H, W), or (H, W) for all frames -> (1, t, h, w).

    Raises:
        ValueError: if ``keep`` has another size than the clip's (T, H, W), or another type.
    """
    if keep.dtype != torch.bool or tuple(keep.shape) not in (size, size[1:]):
        raise ValueError(f"fill: keep is {keep.dtype} {tuple(keep.shape)}, expected bool {size[1:]} or {size}.")
    span = tokenizer.tubelet[0]
    whole = keep.expand(size)[: max(span, size[0] // span * span)]
    lost = F.max_pool3d((~whole).float()[None, None], tokenizer.tubelet, ceil_mode=True)
    return lost[:, 0] == 0


def decoded(tokenizer: TubeletTokenizer, tokens: Tensor) -> Tensor:
    """Tokens (B, t, h, w) as video, in the precision of the tokenizer's device."""
    where = next(tokenizer.parameters()).device
    with autocast(where):
        return full_precision(tokenizer.decode(tokens.to(where)))


def latent_frames_of(tokenizer: TubeletTokenizer, frames: int) -> int:
    """How many latent frames so many frames fill.

    Raises:
        ValueError: if they are not whole tubelets.
    """
    span = tokenizer.tubelet[0]
    if not isinstance(frames, Integral) or frames < 1 or frames % span:
        raise ValueError(f"{frames} frames are not whole tubelets: ask for a multiple of {span}.")
    return int(frames) // span
