"""The prior: a decoder-only transformer that predicts the tokens of a video one after another.

The order is (t, h, w): frame by frame, row by row. Input ``k`` predicts token ``k`` and knows the tokens before it:

    start  or the token before            read one after another, like words
    the tokens above and above right      one row of tokens back, and one less
    a small causal network over the       what stood here, and around, one tubelet-frame ago and earlier:
    tubelet-frames before                 most of the next tubelet-frame is the last one
    a guide, where there is one           tokens of a coarser grid, all known beforehand: the top level of a VQ-VAE-2

An image is a video of one tubelet-frame, and its class is its scene.
"""

import math
from dataclasses import dataclass, field

import torch
import torch.nn as nn
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from vg.models.attention import alibi_slopes, attention, two_scale_slopes
from vg.models.blocks import Block, Past
from vg.models.digits import DigitEmbedding, DigitHead
from vg.models.frozen import Freezable
from vg.models.keys_values import KeysValues
from vg.models.quantizers import FSQ


@dataclass(frozen=True)
class PriorConfig:
    """Shape of a ``Prior``.

    Attributes:
        levels: of the tokenizer; digit i of a token is one of ``levels[i]``.
        grid: (h, w), tokens in a tubelet-frame.
        width: D of the transformer, a multiple of ``heads``.
        depth: layers.
        heads: N, even for two-scale slopes.
        context: blocks of the network over the tubelet-frames before; 0 leaves it out.
        positions: ``two_scale`` ALiBi (half of the heads fade with distance along the sequence, half with time),
            ``plain`` ALiBi, or ``learned`` (an embedding of each position, no ALiBi).
        longest: positions that ``learned`` has, in tubelet-frames.
        scenes: scene labels; 0 for none.
        layouts: whether a label also says what stands where in its scene, on average (``Prior.learn_layouts``).
            Without it a label is one vector, the same at every place.
        guide_levels: of the tokenizer whose tokens guide these; empty for no guide.
        guide_grid: (h, w) of the guide; both divide those of ``grid`` by the same number.
        guide_depth: blocks of the network over the guide.
        dropout: share of the numbers that each layer adds that are left out in training (Srivastava et al., 2014).
    """

    levels: tuple[int, ...] = (7, 5, 5, 5, 5)
    grid: tuple[int, int] = (8, 8)
    width: int = 256
    depth: int = 6
    heads: int = 4
    context: int = 2
    positions: str = "two_scale"
    longest: int = 32
    scenes: int = 0
    layouts: bool = False
    guide_levels: tuple[int, ...] = ()
    guide_grid: tuple[int, int] = (4, 4)
    guide_depth: int = 2
    dropout: float = 0.0


@dataclass
class State:
    """What generation keeps from one call to the next. Made empty, filled by ``Prior.forward``.

    Attributes:
        digits: (B, L, digits), the tokens so far.
        keys_values: what each layer keeps of the positions so far.
        past: what the context network remembers.
        seen: (B, L, D), the context of every token so far and of the tubelet-frame that is being made.
        guided: what the guide says about every place, computed at the first call.
    """

    digits: Tensor | None = None
    keys_values: dict[int, KeysValues] = field(default_factory=dict)
    past: Past = field(default_factory=dict)
    seen: Tensor | None = None
    guided: Tensor | None = None


class Guide(nn.Module):
    """What the tokens of a coarser grid say about the places of a finer one. Not causal: they are all known."""

    def __init__(self, levels: tuple[int, ...], grid: tuple[int, int], finer: int, depth: int, d: int):
        super().__init__()
        self.grid, self.finer = grid, finer
        self.quantizer = FSQ(levels)
        self.tokens = DigitEmbedding(levels, d)
        self.place = nn.Parameter(torch.zeros(*grid, d))
        self.blocks = nn.ModuleList(Block(d, time_kernel=1) for _ in range(depth))
        self.spread = nn.Linear(d, finer * finer * d)

    def forward(self, indices: Tensor) -> Tensor:
        """Indices ``(B, t, h / finer, w / finer)`` int64 -> ``(B, t * h * w, D)``."""
        if indices.ndim != 4 or tuple(indices.shape[2:]) != self.grid:
            raise ValueError(
                f"Prior: got a guide {tuple(indices.shape)}, expected (B, t, {self.grid[0]}, {self.grid[1]})."
            )
        x = self.tokens(self.quantizer.digits(indices)) + self.place
        for block in self.blocks:
            x = block(x)
        return rearrange(self.spread(x), "b t h w (m n d) -> b (t h m w n) d", m=self.finer, n=self.finer)


class Layer(nn.Module):
    """One layer of the transformer, norms first: attention with ALiBi, then an MLP."""

    def __init__(self, d: int, heads: int, dropout: float = 0.0):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(d)
        self.qkv = nn.Linear(d, 3 * d)
        self.out = nn.Linear(d, d)
        self.mlp = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, slopes: Tensor, cached: KeysValues | None = None, **options) -> Tensor:
        """``(B, L, D)`` -> ``(B, L, D)``; the positions follow those in ``cached``, and are added to it."""
        B, L, D = x.shape
        q, k, v = self.qkv(self.norm(x)).view(B, L, 3, self.heads, D // self.heads).unbind(2)  # (B, L, N, D / N)
        if cached is not None:
            k, v = cached.append(k, v)
        y = attention(q, k, v, slopes, **options)
        x = x + self.dropout(self.out(y.reshape(B, L, D)))
        return x + self.dropout(self.mlp(x))


class Prior(Freezable):
    """Decoder-only transformer over a grid of FSQ tokens, with ALiBi (Press et al., 2022, arXiv:2108.12409).

    Example:
        >>> prior = Prior(PriorConfig())
        >>> prior.bits(torch.zeros(1, 8, 8, 8, dtype=torch.long)).shape
        torch.Size([1, 8, 8, 8])
    """

    def __init__(self, config: PriorConfig = PriorConfig()):
        super().__init__()
        self.config = config
        self.levels, self.grid = tuple(config.levels), tuple(config.grid)
        self.frame = self.grid[0] * self.grid[1]
        d = config.width
        if d % config.heads:
            raise ValueError(f"Prior: width {d} is not a multiple of {config.heads} heads.")
        self.quantizer = FSQ(config.levels)
        self.left, self.above, self.corner, self.before = (DigitEmbedding(self.levels, d) for _ in range(4))
        self.start = nn.Parameter(torch.zeros(d))
        self.place = nn.Parameter(torch.zeros(self.frame, d))
        self.nothing = nn.Parameter(torch.zeros(d))  # the context of the first tubelet-frame
        self.context = nn.ModuleList(Block(d) for _ in range(config.context))
        self.scene = nn.Embedding(config.scenes + 1, d) if config.scenes else None
        if config.layouts:  # row 0: of an unknown scene
            self.register_buffer("layouts", torch.zeros(config.scenes + 1, self.frame, len(self.levels)))
            self.stands = nn.Linear(len(self.levels), d, bias=False)
        self.position = nn.Embedding(config.longest * self.frame, d) if config.positions == "learned" else None
        self.layers = nn.ModuleList(Layer(d, config.heads, config.dropout) for _ in range(config.depth))
        self.norm = nn.LayerNorm(d)
        self.head = DigitHead(self.levels, d)
        self.guide = _guide(config)
        self.inner = ("layers", "context") + (("guide.blocks",) if self.guide else ())  # for Recipe.muon
        self.register_buffer("slopes", _slopes(config, self.frame), persistent=False)
        self.to(memory_format=torch.channels_last_3d)
        self._initialise()

    def _initialise(self) -> None:
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                nn.init.normal_(weight, std=0.02)
            if name.endswith(("out.weight", "mlp.3.weight")):  # residual branches start small (GPT-2)
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * self.config.depth))

    def bits(
        self,
        indices: Tensor,
        scene: Tensor | None = None,
        given: Tensor | None = None,
        guide: Tensor | None = None,
    ) -> Tensor:
        """What every token costs, in bits: the loss, and the measure.

        Args:
            indices: (B, t, h, w) int64, the tokens to predict.
            scene: (B,) int64, a label for each clip, -1 where it is unknown; default all unknown.
            given: (B, t, h, w) int64, the tokens that the network is shown, where these are not to be the
                true ones (training with some of them corrupted); default ``indices``.
            guide: (B, t, h', w') int64, the tokens that guide them, for a prior with ``guide_levels``.

        Returns:
            (B, t, h, w) float, bits.
        """
        digits = self.digits(indices)
        shown = digits if given is None else self.digits(given)
        hidden = self.hidden(shown, scene, guide)
        return self.head.bits(hidden, digits).view(indices.shape)

    def digits(self, indices: Tensor) -> Tensor:
        """Indices (B, t, h, w) -> digits (B, t * h * w, digits)."""
        if indices.ndim != 4 or tuple(indices.shape[2:]) != self.grid:
            raise ValueError(
                f"Prior: got tokens {tuple(indices.shape)}, expected (B, t, {self.grid[0]}, {self.grid[1]})."
            )
        return self.quantizer.digits(indices.flatten(1))

    def hidden(self, digits: Tensor, scene: Tensor | None = None, guide: Tensor | None = None, **options) -> Tensor:
        """States that predict the tokens ``digits`` (B, L, digits) -> (B, L, D); state k has seen tokens below k.

        Args:
            digits: whole tubelet-frames.
            scene, guide: as in ``bits``.
            options: ``backend`` and ``window`` of ``attention``.
        """
        x = self.inputs(digits, self.contexts(digits), 0, digits.shape[1], scene, self.guided(guide))
        for layer in self.layers:
            x = layer(x, self.slopes, **options)
        return self.norm(x)

    @torch.no_grad()
    def learn_layouts(self, scene: int, indices: Tensor) -> None:
        """Let a label say what stands where: for every place, the mean of all codes that were seen there.

        As a codebook may begin with data instead of noise, so a label with what it stands for. Call it before training,
        with training clips only.

        Args:
            scene: the label.
            indices: (B, t, h, w) int64, clips of that scene.

        Raises:
            ValueError: if the prior has no layouts or no such label, or the grid is another.
        """
        if not (self.config.layouts and 0 <= scene < self.config.scenes):
            raise ValueError(
                f"Prior: no layout for scene {scene}. layouts is {self.config.layouts}, and there are "
                f"{self.config.scenes} scenes."
            )
        width = self.quantizer.width
        codes = (self.digits(indices) - width) / width  # (B, t * h * w, digits), in [-1, 1]
        self.layouts[scene + 1] = codes.view(-1, self.frame, len(self.levels)).mean(0)

    def laid_out(self) -> list[int]:
        """The labels that say what stands where: those that ``learn_layouts`` was called with."""
        if not self.config.layouts:
            return []
        return self.layouts[1:].abs().amax((1, 2)).nonzero().flatten().tolist()

    def contexts(self, digits: Tensor, past: Past | None = None) -> Tensor:
        """What whole tubelet-frames (B, L, digits) say about the places of the frames after them: (B, L, D)."""
        B, L, _ = digits.shape
        x = self.before(digits).view(B, -1, *self.grid, self.config.width)
        for block in self.context:
            x = block(x, past)
        return x.view(B, L, self.config.width)

    def guided(self, guide: Tensor | None) -> Tensor | None:
        """What a guide (B, t, h', w') says about every place: (B, t * h * w, D); None for a prior without one.

        Raises:
            ValueError: if there is a guide and the prior takes none, or the other way round, or its shape is wrong.
        """
        if (guide is None) != (self.guide is None):
            wants = "needs a guide: the tokens of the level above" if guide is None else "takes no guide"
            raise ValueError(f"Prior: guide_levels is {list(self.config.guide_levels)}, so this prior {wants}.")
        return None if guide is None else self.guide(guide)

    def inputs(
        self,
        digits: Tensor,
        seen: Tensor,
        first: int,
        stop: int,
        scene: Tensor | None = None,
        guided: Tensor | None = None,
    ) -> Tensor:
        """Inputs ``first`` to ``stop`` of the transformer: (B, stop - first, D).

        Args:
            digits: (B, at least stop - 1, digits).
            seen: ``contexts`` of at least all whole tubelet-frames before ``stop``.
            first, stop: which positions.
            scene: as in ``bits``.
            guided: of at least ``stop`` places.

        Raises:
            ValueError: if the guide or the learned positions end before ``stop``.
        """
        before = torch.cat([self.nothing.expand(len(digits), self.frame, -1), seen], dim=1)[:, first:stop]
        x = self.known(before, first, scene, None if guided is None else guided[:, first:stop])
        reach = {self.left: 1, self.above: self.grid[1]}
        if self.grid[1] > 1:  # one token wide, above right is the token to predict itself
            reach[self.corner] = self.grid[1] - 1
        for table, back in reach.items():
            x = x + _shifted(table(digits[:, max(0, first - back) : max(0, stop - back)]), stop - first)
        return x

    def known(self, before: Tensor, first: int, scene: Tensor | None = None, guided: Tensor | None = None) -> Tensor:
        """What inputs hold beside the tokens of their own tubelet-frame: (B, L, D), for L positions from ``first`` on.

        Args:
            before: (B, L, D), what ``contexts`` says of these places one tubelet-frame back; ``nothing`` in the first.
            first: the first position.
            scene: as in ``bits``.
            guided: (B, L, D), what ``guided`` says of these places.

        Raises:
            ValueError: if the guide or the learned positions end before.
        """
        B, L, _ = before.shape
        positions = torch.arange(first, first + L, device=before.device)
        places = positions % self.frame
        x = F.embedding(places, self.place) + torch.where(positions[:, None] == 0, self.start, 0.0)  # (L, D)
        if self.position is not None:
            if first + L > self.position.num_embeddings:
                raise ValueError(
                    f"Prior: learned positions end at {self.config.longest} tubelet-frames; "
                    "ALiBi (positions='two_scale') has no such end."
                )
            x = x + self.position(positions)
        x = x + before
        if guided is not None:
            if guided.shape[1] < L:
                ends = first + guided.shape[1]
                raise ValueError(f"Prior: the guide ends at token {ends}; give one for all tubelet-frames.")
            x = x + guided
        if self.scene is not None:
            label = torch.full((B,), -1, device=before.device) if scene is None else scene
            told = self.scene(label + 1)[:, None]
            if self.config.layouts:
                told = (told + self.stands(self.layouts[label + 1])).index_select(1, places)
            x = x + told
        return x

    def advance(
        self,
        state: State,
        digits: Tensor | None,
        scene: Tensor | None = None,
        window: int | None = None,
        guide: Tensor | None = None,
    ) -> Tensor:
        """Take in some tokens after those of ``state``, and give the hidden state (B, D) that predicts the next.

        The same numbers as ``hidden`` of the whole sequence, at a fraction of the work.

        Args:
            state: from the last call, or a new one; it is changed.
            digits: (B, L, digits), the tokens to take in; None at the very beginning of an empty video.
            scene: as in ``bits``, the same at every call; its length is the batch if ``digits`` is None.
            window: attend to so many positions at most; older keys and values are dropped.
            guide: as in ``bits``, of all that is going to be generated, the same at every call.
        """
        if state.digits is None:
            state.guided = self.guided(guide)
            batch = len(digits) if digits is not None else (1 if scene is None else len(scene))
            state.digits = torch.zeros(batch, 0, len(self.levels), dtype=torch.long, device=self.start.device)
            state.seen = self.start.new_zeros(batch, 0, self.config.width)
            first = 0
        else:
            first = state.digits.shape[1] + 1  # the input after the last token was computed last time
        if digits is not None:
            state.digits = torch.cat([state.digits, digits], dim=1)
        whole = state.digits.shape[1] // self.frame * self.frame
        if whole > state.seen.shape[1]:
            fresh = self.contexts(state.digits[:, state.seen.shape[1] : whole], state.past)
            state.seen = torch.cat([state.seen, fresh], dim=1)
        x = self.inputs(state.digits, state.seen, first, state.digits.shape[1] + 1, scene, state.guided)
        for i, layer in enumerate(self.layers):
            x = layer(x, self.slopes, state.keys_values.setdefault(i, KeysValues(window)), window=window)
        return self.norm(x[:, -1])


def _shifted(x: Tensor, length: int) -> Tensor:
    """(B, L, D) with zeros before it, ``length`` long."""
    return F.pad(x, (0, 0, length - x.shape[1], 0))


def _guide(config: PriorConfig) -> Guide | None:
    if not config.guide_levels:
        return None
    (h, w), (coarse_h, coarse_w) = config.grid, config.guide_grid
    finer = h // coarse_h
    if (coarse_h * finer, coarse_w * finer) != (h, w):
        raise ValueError(f"Prior: guide_grid is {config.guide_grid}, of which grid {config.grid} is no multiple.")
    return Guide(tuple(config.guide_levels), tuple(config.guide_grid), finer, config.guide_depth, config.width)


def _slopes(config: PriorConfig, frame: int) -> Tensor:
    if config.positions == "two_scale":
        return two_scale_slopes(config.heads, frame, multiplier=4.0)
    if config.positions == "plain":
        return alibi_slopes(config.heads)
    if config.positions == "learned":
        return torch.zeros(config.heads)
    raise ValueError(f"Prior: positions is {config.positions!r}, expected 'two_scale', 'plain' or 'learned'.")
