"""What can become of figures in a clip: ways in which what moves comes apart, while everything else stays.

``DamagedClips`` are what a network is trained on to tell them; ``damage_accuracy`` says how often it does.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from vg.data import Clips, FrameStore
from vg.data.pixels import to_uint8
from vg.evaluation.figures import COUNT, PIECE, moving_parts
from vg.evaluation.tokenizer import FRAMES
from vg.models import ClipFeatures, TubeletTokenizer
from vg.precision import autocast, full_precision
from vg.progress import tqdm

DAMAGES = ("as filmed", "standing still", "smeared", "in pieces", "melting", "doubled", "mismatched")
"""The last is done to tokens (``mismatched``), the others to pixels (``damaged``)."""

MOVES = 10 / 127.5  # a pixel moves whose standard deviation over the clip is larger
SHARES = (0.3, 0.5, 0.8)  # of the tokens, mismatched
STRETCH = 48  # frames that go through the tokenizer at a time


def where_it_moves(clip: Tensor) -> Tensor:
    """(C, T, H, W) -> (1, 1, H, W), 1 where pixels vary and 0 where they do not, with soft edges."""
    moves = (clip.std(1, keepdim=True).mean(0, keepdim=True) > MOVES).float()
    return F.avg_pool2d(F.max_pool2d(moves, 5, 1, 2), 5, 1, 2)


def damaged(clip: Tensor, kind: str) -> Tensor:
    """A clip (C, T, H, W) whose moving places have come to that, one of ``DAMAGES`` but the last; at random."""
    if kind == "as filmed":
        return clip
    return clip + where_it_moves(clip) * (_WAYS[kind](clip) - clip)


def mismatched(tokens: Tensor, share: float) -> Tensor:
    """Tokens (B, t, h, w), a share of which is taken from the same place one to three latent frames away.

    Each was right at its time; those of one latent frame do not fit each other any more. That is what a prior draws
    that does not look at the tokens around.
    """
    t = tokens.shape[1]
    now = torch.arange(t)[:, None, None]
    away = torch.randint(1, 4, tokens.shape) * (2 * torch.randint(2, tokens.shape) - 1)
    when = torch.where((now + away < 0) | (now + away >= t), now - away, now + away).clamp(0, t - 1)
    other = tokens.gather(1, when.to(tokens.device))
    return torch.where((torch.rand(tokens.shape) < share).to(tokens.device), other, tokens)


class DamagedClips:
    """Parts of clips, whole or damaged in one of ``DAMAGES``; half of those damaged in pixels, or not at all, went
    through the tokenizer.

    What the tokenizer loses is not damage: otherwise all that a prior makes would count as damaged alike.

    Args:
        store: the film.
        tokenizer: its tubelet tokenizer.
    """

    def __init__(self, store: FrameStore, tokenizer: TubeletTokenizer):
        self.filmed = store
        self.through = _through(store, tokenizer, (0.0, *SHARES))

    def parts(self, clips: Clips, numbers: list[int], kinds: list[int]) -> Tensor:
        """A moving part of each of these clips, at random: (B, C, PIECE, s, s)."""
        taken = []
        for number, kind in zip(numbers, kinds):
            name, start, store = DAMAGES[kind], clips.starts[number], self.filmed
            if name == "mismatched":
                store = self.through[SHARES[int(torch.randint(len(SHARES), ()))]]
            elif torch.rand(()) < 0.5:
                store = self.through[0.0]
            [clip] = store.clip(start, start + FRAMES)
            clip = clip if name == "mismatched" else damaged(clip, name)
            taken.append(clip.flip(-1) if torch.rand(()) < 0.5 else clip)
        found = moving_parts(torch.stack(taken)).unflatten(0, (-1, len(taken)))  # FRAMES // PIECE * COUNT of each
        return found[torch.randint(FRAMES // PIECE * COUNT, (len(taken),)), torch.arange(len(taken))]


@torch.no_grad()
def _through(store: FrameStore, tokenizer: TubeletTokenizer, shares: Sequence[float]) -> dict[float, FrameStore]:
    """The film through its tokenizer, encoded once, for each share of the tokens that are mismatched."""
    span, where = tokenizer.tubelet[0], next(tokenizer.parameters()).device
    stretches = [
        (start, start + whole)
        for first, stop in store.shots
        for start in range(first, stop, STRETCH)
        if (whole := min(STRETCH, stop - start) // span * span)
    ]
    found = {}
    with torch.random.fork_rng(devices=[]), autocast(where):
        encoded = [
            tokenizer.encode(store.clip(*stretch).to(where))
            for stretch in tqdm(stretches, desc="encoding the film", unit="stretch")
        ]
        for share in shares:
            frames = np.array(store.frames)
            torch.manual_seed(round(100 * share))
            pairs = zip(stretches, encoded, strict=True)
            for (start, stop), tokens in tqdm(
                pairs, desc=f"decoding it, {share:.0%} mismatched", total=len(encoded), unit="stretch"
            ):
                [clip] = tokenizer.decode(mismatched(tokens, share) if share else tokens)
                frames[start:stop] = to_uint8(full_precision(clip).cpu()).numpy()
            found[share] = replace(store, frames=frames)
    return found


@torch.no_grad()
def damage_accuracy(model: ClipFeatures, clips: Clips, made: DamagedClips, seed: int = 0) -> dict[str, float]:
    """Share of right answers for each of ``DAMAGES``."""
    where, right = next(model.parameters()).device, dict.fromkeys(DAMAGES, 0)
    with torch.random.fork_rng(devices=[]), autocast(where):
        torch.manual_seed(seed)
        for kind, name in enumerate(DAMAGES):
            for some in torch.arange(len(clips)).split(16):
                parts = made.parts(clips, some.tolist(), [kind] * len(some))
                right[name] += int((model.guess(parts.to(where))[1].argmax(1) == kind).sum())
    return {name: count / len(clips) for name, count in right.items()}


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))


def _standing_still(clip: Tensor) -> Tensor:
    return clip.mean(1, keepdim=True).expand_as(clip)


def _smeared(clip: Tensor) -> Tensor:
    """With a half to a fifth of the pixels."""
    H, W = clip.shape[-2:]
    times = _uniform(2.0, 5.0)
    small = F.interpolate(
        clip, size=(max(1, round(H / times)), max(1, round(W / times))), mode="bilinear", antialias=True
    )
    return F.interpolate(small, size=(H, W), mode="bilinear")


def _in_pieces(clip: Tensor) -> Tensor:
    """Squares of 4 to 10 pixels are taken from next to where they belong: for good, or anew every four frames."""
    T, H, W = clip.shape[1:]
    side = int(torch.randint(4, 11, ()))
    padded = F.pad(clip, (0, -W % side, 0, -H % side), mode="replicate")
    squares = rearrange(padded, "c t (H h) (W w) -> t H W c h w", h=side, w=side)
    high, wide = squares.shape[1:3]
    moved = []
    for some in squares.split(4 if torch.rand(()) < 0.5 else T):
        down, right = torch.randint(-1, 2, (2, high, wide))
        rows = (torch.arange(high)[:, None] + down).clamp(0, high - 1)
        columns = (torch.arange(wide) + right).clamp(0, wide - 1)
        moved.append(some[:, rows, columns])
    return rearrange(torch.cat(moved), "t H W c h w -> c t (H h) (W w)")[..., :H, :W]


def _melting(clip: Tensor) -> Tensor:
    """Bent by a smooth field that changes as it goes, by 2 to 5 pixels (one standard deviation at its knots)."""
    C, T, H, W = clip.shape
    knots = torch.randn(1, 2, max(2, T // 3), 8, 8)
    field = F.interpolate(knots, size=(T, H, W), mode="trilinear", align_corners=True)[0]
    shift = rearrange(_uniform(2.0, 5.0) * field, "d t h w -> t h w d") * torch.tensor([2 / W, 2 / H])
    grid = F.affine_grid(torch.eye(2, 3).repeat(T, 1, 1), [T, C, H, W], align_corners=False) + shift
    return F.grid_sample(clip.transpose(0, 1), grid, padding_mode="border", align_corners=False).transpose(0, 1)


def _doubled(clip: Tensor) -> Tensor:
    """Two moments, or two places, one over the other."""
    if torch.rand(()) < 0.5:
        late = int(torch.randint(2, clip.shape[1] // 2 + 1, ()))
        other = torch.cat([clip[:, late:], clip[:, -1:].expand(-1, late, -1, -1)], dim=1)
    else:
        down, right = (torch.randint(3, 8, (2,)) * (2 * torch.randint(2, (2,)) - 1)).tolist()
        other = clip.roll((down, right), (2, 3))
    share = _uniform(0.35, 0.65)
    return share * clip + (1 - share) * other


_WAYS = {
    "standing still": _standing_still,
    "smeared": _smeared,
    "in pieces": _in_pieces,
    "melting": _melting,
    "doubled": _doubled,
}
