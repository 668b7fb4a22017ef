"""The prior: a decoder-only transformer that predicts the tokens of a video one after another.

The order is (t, h, w): frame by frame, row by row. Input ``k`` predicts token ``k`` and knows the tokens before it:

    start  or the token before            read one after another, like words
    the tokens above and above right      one row of tokens back, and one less
    a small causal network over the       what stood here, and around, one latent frame ago and earlier:
    latent frames before                  most of the next latent frame is the last one
    a condition, where there is one       tokens of a coarser grid, all known beforehand: the top level of a VQ-VAE-2
    a goal, where there is one            the tokens of a latent frame to come, and how far ahead it lies
    a direction                           whether time runs forwards or backwards
    a label, where there is one           the shot of a clip, the class of an image

A *latent frame* is one step of the token grid in time, h * w tokens. An image is a video of one latent frame.
"""

import copy
import math
from typing import Any, Self, cast

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from vg.models.alibi import alibi_slopes, two_scale_slopes
from vg.models.blocks import Block, Past
from vg.models.conditioner import Conditioner
from vg.models.digits import DigitEmbedding, DigitHead
from vg.models.frozen import Freezable
from vg.models.goals import Goal, GoalNetwork
from vg.models.kv_cache import DecodeState, KVCache
from vg.models.places import Coordinates
from vg.models.prior_config import PriorConfig
from vg.models.quantizers import FSQ
from vg.models.transformer_block import TransformerBlock

OWN = 0.5  # how large tokens of its own latent frame begin, beside what is normalised


class Prior(Freezable):
    """Decoder-only transformer over a grid of FSQ tokens, with ALiBi (Press et al., 2022, arXiv:2108.12409).

    Example:
        >>> prior = Prior(PriorConfig())
        >>> prior.nll_bits(torch.zeros(1, 8, 8, 8, dtype=torch.long)).shape
        torch.Size([1, 8, 8, 8])
    """

    def __init__(self, config: PriorConfig = PriorConfig()):
        super().__init__()
        self.config = config
        self.levels, self.grid = tuple(config.levels), cast(tuple[int, int], tuple(config.grid))
        self.tokens_per_latent_frame = self.grid[0] * self.grid[1]
        d = config.width
        if d % config.heads:
            raise ValueError(f"Prior: width {d} is not a multiple of {config.heads} heads.")
        self.quantizer = FSQ(config.levels)
        self.left, self.above, self.corner = (DigitEmbedding(self.levels, d) for _ in range(3))
        self.before = None if config.still else DigitEmbedding(self.levels, d)
        self.start = nn.Parameter(torch.zeros(d))
        table = config.places == "table"
        self.place: nn.Parameter | Coordinates = (
            nn.Parameter(torch.zeros(self.tokens_per_latent_frame, d)) if table else Coordinates(d)
        )
        self.direction = nn.Parameter(torch.zeros(3, d)) if config.directions else None  # unknown, forwards, backwards
        self.backwards: bool | None = False
        self.goal = GoalNetwork(self.levels, config.goals, config.context, d, config.normed) if config.goals else None
        self.nothing = nn.Parameter(torch.zeros(d))  # the context of the first latent frame
        self.context = nn.ModuleList(Block(d) for _ in range(config.context))
        self.context_norm = nn.LayerNorm(d) if config.context and config.normed else nn.Identity()
        self.label_embedding = nn.Embedding(config.num_labels + 1, d) if config.num_labels else None
        if config.layouts:  # row 0: of an unknown label
            shape = (config.num_labels + 1, self.tokens_per_latent_frame, len(self.levels))
            self.register_buffer("layouts", torch.zeros(shape, dtype=torch.float16))  # kept in halves, as weights are
            self.layout_embedding = nn.Linear(len(self.levels), d, bias=False)
        self.position = (
            nn.Embedding(config.longest * self.tokens_per_latent_frame, d) if config.positions == "learned" else None
        )
        self.layers = nn.ModuleList(TransformerBlock(d, config.heads, config.dropout) for _ in range(config.depth))
        self.norm = nn.LayerNorm(d)
        self.head = DigitHead(self.levels, d)
        self.conditioner: Conditioner | None = None
        if config.condition_levels:
            levels, coarse = tuple(config.condition_levels), cast(tuple[int, int], tuple(config.condition_grid))
            self.conditioner = Conditioner(levels, coarse, self.grid, config.condition_depth, d, config.normed)
        parts = {"conditioner.blocks": self.conditioner, "goal.blocks": self.goal}
        self.inner = ("layers", "context", *(name for name, part in parts.items() if part is not None))  # Recipe.muon
        self.register_buffer("slopes", _slopes(config, self.tokens_per_latent_frame), persistent=False)
        self.to(memory_format=torch.channels_last_3d)
        self._initialise()

    def _initialise(self) -> None:
        beside_others = self.config.normed and (self.config.context or self.conditioner)
        own = ("left", "above", "corner") if beside_others else ()
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                large = name.split(".")[0] in own
                nn.init.normal_(weight, std=OWN / math.sqrt(3 * len(self.levels)) if large else 0.02)
            if name.endswith(("out.weight", "mlp.3.weight")):  # residual branches start small (GPT-2)
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * self.config.depth))

    def at(self, grid: tuple[int, int]) -> Self:
        """The same prior for clips of another shape: it shares the weights, and learns with them.

        Args:
            grid: (h, w), tokens in a latent frame.

        Raises:
            ValueError: if the grid is another than this prior's, and it knows its places or its positions by a table or
                is conditioned on another grid.
        """
        h, w = grid
        free = isinstance(self.place, Coordinates) and self.position is None and self.conditioner is None
        if ((h, w) != self.grid and not free) or min(h, w) < 1:
            raise ValueError(
                f"Prior: it was made for {self.grid[0]}x{self.grid[1]} tokens and knows no other places, so there is "
                f"no {h}x{w}. One with places='coordinates', ALiBi and no condition makes any shape."
            )
        other = copy.copy(self)
        other.grid, other.tokens_per_latent_frame = (h, w), h * w
        other._buffers = {**self._buffers, "slopes": _slopes(self.config, h * w).to(self.slopes)}
        return other

    def running(self, backwards: bool | None) -> Self:
        """The same prior, sharing its weights, told which way time runs: backwards or not, or None to leave it open.

        Raises:
            ValueError: if this prior was not taught directions, or ``backwards`` is none of the three.
        """
        if backwards not in (True, False, None):
            raise ValueError(f"Prior: backwards is {backwards!r}, expected True, False or None.")
        if not self.config.directions:
            raise ValueError("Prior: it was not taught which way time runs (directions is False).")
        other = copy.copy(self)
        other.backwards = backwards
        return other

    def nll_bits(
        self,
        indices: Tensor,
        label: Tensor | None = None,
        given: Tensor | None = None,
        condition: Tensor | None = None,
        goal: Goal | None = None,
    ) -> Tensor:
        """What every token costs, in bits: the loss, and the measure.

        Args:
            indices: (B, t, h, w) int64, the tokens to predict.
            label: (B,) int64, a label for each clip, -1 where it is unknown; default all unknown.
            given: (B, t, h, w) int64, the tokens that the network is shown, where these are not to be the
                true ones (training with some of them corrupted); default ``indices``.
            condition: (B, t, h', w') int64, the tokens of the level above, for a prior with ``condition_levels``.
            goal: a latent frame to come, for a prior with ``goals``.

        Returns:
            (B, t, h, w) float, bits.
        """
        digits = self.digits(indices)
        shown = digits if given is None else self.digits(given)
        hidden = self.hidden(shown, label, condition, goal)
        return self.head.nll_bits(hidden, digits).view(indices.shape)

    def digits(self, indices: Tensor) -> Tensor:
        """Indices (B, t, h, w) -> digits (B, t * h * w, digits)."""
        if indices.ndim != 4 or tuple(indices.shape[2:]) != self.grid:
            raise ValueError(
                f"Prior: got tokens {tuple(indices.shape)}, expected (B, t, {self.grid[0]}, {self.grid[1]})."
            )
        return self.quantizer.digits(indices.flatten(1))

    def hidden(
        self,
        digits: Tensor,
        label: Tensor | None = None,
        condition: Tensor | None = None,
        goal: Goal | None = None,
        **options: Any,
    ) -> Tensor:
        """States that predict the tokens ``digits`` (B, L, digits) -> (B, L, D); state k has seen tokens below k.

        Args:
            digits: whole latent frames.
            label, condition, goal: as in ``nll_bits``.
            options: ``backend`` and ``window`` of ``attention``; the window is no longer than ``reach`` of the config.
        """
        conditioning = self.conditioning(condition, goal, digits.shape[1] // self.tokens_per_latent_frame)
        x = self.inputs(digits, self.contexts(digits), 0, digits.shape[1], label, conditioning)
        options["window"] = self.window(options.get("window"))
        for layer in self.layers:
            x = layer(x, self.slopes, **options)
        return self.norm(x)

    def window(self, asked: int | None = None) -> int | None:
        """Positions that attention looks back at most: the smaller of what is asked for and the config's ``reach``."""
        reach = None if self.config.reach is None else self.config.reach * self.tokens_per_latent_frame
        return min((n for n in (asked, reach) if n is not None), default=None)

    @torch.no_grad()
    def learn_layouts(self, label: int, indices: Tensor) -> None:
        """Initialise the layout of a label from data: for every place, the mean of all codes seen there.

        Call it before training, with training clips only.

        Args:
            label: the label.
            indices: (B, t, h, w) int64, clips with that label.

        Raises:
            ValueError: if the prior has no layouts or no such label, or the grid is another than its config's.
        """
        if not (self.config.layouts and 0 <= label < self.config.num_labels):
            raise ValueError(
                f"Prior: no layout for label {label}. layouts is {self.config.layouts}, and there are "
                f"{self.config.num_labels} labels."
            )
        width = self.quantizer.width
        codes = (self.at(self.config.grid).digits(indices) - width) / width  # (B, t * h * w, digits), in [-1, 1]
        self.layouts[label + 1] = codes.view(-1, *self.layouts.shape[1:]).mean(0)

    def layouts_of(self, label: Tensor) -> Tensor:
        """The layouts of labels (B,), -1 where it is unknown, on the grid of this prior: (B, h * w, digits)."""
        layouts, grid = self.layouts[label + 1].to(self.start.dtype), self.config.grid
        if self.grid == tuple(grid):
            return layouts
        layouts = layouts.view(-1, *grid, len(self.levels)).movedim(-1, 1)
        return F.interpolate(layouts, self.grid, mode="bilinear").flatten(2).movedim(1, -1)

    def labels_with_layouts(self) -> list[int]:
        """The labels that have a layout: those that ``learn_layouts`` was called with."""
        if not self.config.layouts:
            return []
        return self.layouts[1:].abs().amax((1, 2)).nonzero().flatten().tolist()

    def contexts(self, digits: Tensor, past: Past | None = None) -> Tensor:
        """What whole latent frames (B, L, digits) say about the places of the frames after them: (B, L, D)."""
        B, L, _ = digits.shape
        if self.before is None:
            if (frames := L // self.tokens_per_latent_frame) > 1:
                raise ValueError(f"Prior: it is of single images (still), not of {frames} in a row.")
            return self.start.new_zeros(B, L, self.config.width)
        x = self.before(digits).view(B, -1, *self.grid, self.config.width)
        for block in self.context:
            x = block(x, past)
        return self.context_norm(x).view(B, L, self.config.width)

    def conditioning(
        self, condition: Tensor | None, goal: Goal | None = None, latent_frames: int | None = None
    ) -> Tensor | None:
        """Features of a condition (B, t, h', w') and of a goal at every place: (B, t * h * w, D); None without both.

        Args:
            condition, goal: as of ``nll_bits``.
            latent_frames: t, for a goal where there is no condition; as far as the farthest goal without it.

        Raises:
            ValueError: if there is a condition or a goal and the prior takes none, if it needs a condition, or if a
                shape is wrong.
        """
        if (condition is None) != (self.conditioner is None):
            wants = "needs a condition: the tokens of the level above" if condition is None else "takes no condition"
            raise ValueError(f"Prior: condition_levels is {list(self.config.condition_levels)}, so this prior {wants}.")
        features = None if condition is None or self.conditioner is None else self.conditioner(condition)
        if goal is None:
            return features
        if self.goal is None:
            raise ValueError("Prior: it was trained without goals (goals is 0), so it cannot be told of one.")
        digits = self.digits(goal.tokens[:, None]).view(len(goal.at), *self.grid, -1)
        if features is not None:
            latent_frames = features.shape[1] // self.tokens_per_latent_frame
        towards = self.goal(digits, goal.at, latent_frames or max(1, int(goal.at.max()) + 1)).flatten(1, 3)
        return towards if features is None else features + towards

    def inputs(
        self,
        digits: Tensor,
        seen: Tensor,
        first: int,
        stop: int,
        label: Tensor | None = None,
        conditioning: Tensor | None = None,
    ) -> Tensor:
        """Inputs ``first`` to ``stop`` of the transformer: (B, stop - first, D).

        Args:
            digits: (B, at least stop - 1, digits).
            seen: ``contexts`` of at least all whole latent frames before ``stop``.
            first, stop: which positions.
            label: as in ``nll_bits``.
            conditioning: of at least ``stop`` places.

        Raises:
            ValueError: if the condition or the learned positions end before ``stop``.
        """
        before = torch.cat([self.nothing.expand(len(digits), self.tokens_per_latent_frame, -1), seen], dim=1)[
            :, first:stop
        ]
        x = self.known(before, first, label, None if conditioning is None else conditioning[:, first:stop])
        reach = {self.left: 1, self.above: self.grid[1]}
        if self.grid[1] > 1:  # one token wide, above right is the token to predict itself
            reach[self.corner] = self.grid[1] - 1
        for table, back in reach.items():
            x = x + _shifted(table(digits[:, max(0, first - back) : max(0, stop - back)]), stop - first)
        return x

    def known(
        self, before: Tensor, first: int, label: Tensor | None = None, conditioning: Tensor | None = None
    ) -> Tensor:
        """What inputs hold beside the tokens of their own latent frame: (B, L, D), for L positions from ``first`` on.

        Args:
            before: (B, L, D), what ``contexts`` says of these places one latent frame back; ``nothing`` in the first.
            first: the first position.
            label: as in ``nll_bits``.
            conditioning: (B, L, D), ``Prior.conditioning`` at these places.

        Raises:
            ValueError: if the condition or the learned positions end before.
        """
        B, L, _ = before.shape
        positions = torch.arange(first, first + L, device=before.device)
        places = positions % self.tokens_per_latent_frame
        table = self.place(self.grid) if isinstance(self.place, Coordinates) else self.place
        x = F.embedding(places, table) + torch.where(positions[:, None] == 0, self.start, 0.0)  # (L, D)
        if self.direction is not None:
            x = x + self.direction[0 if self.backwards is None else 1 + self.backwards]
        if self.position is not None:
            if first + L > self.position.num_embeddings:
                raise ValueError(
                    f"Prior: learned positions end at {self.config.longest} latent frames; "
                    "ALiBi (positions='two_scale') has no such end."
                )
            x = x + self.position(positions)
        x = x + before
        if conditioning is not None:
            if conditioning.shape[1] < L:
                ends = first + conditioning.shape[1]
                raise ValueError(f"Prior: the condition ends at token {ends}; give one for all latent frames.")
            x = x + conditioning
        if self.label_embedding is not None:
            label = torch.full((B,), -1, device=before.device) if label is None else label
            conditioned = self.label_embedding(label + 1)[:, None]
            if self.config.layouts:
                conditioned = (conditioned + self.layout_embedding(self.layouts_of(label))).index_select(1, places)
            x = x + conditioned
        return x

    def advance(
        self,
        state: DecodeState,
        digits: Tensor | None,
        label: Tensor | None = None,
        window: int | None = None,
        conditioning: Tensor | None = None,
    ) -> Tensor:
        """Take in some tokens after those of ``state``, and give the hidden state (B, D) that predicts the next.

        The same numbers as ``hidden`` of the whole sequence, at a fraction of the work.

        Args:
            state: from the last call, or a new one; it is changed.
            digits: (B, L, digits), the tokens to take in; None at the very beginning of an empty video.
            label: as in ``nll_bits``, the same at every call; its length is the batch if ``digits`` is None.
            window: attend to so many positions at most; older keys and values are dropped.
            conditioning: ``Prior.conditioning`` of all that is going to be generated, the same at every call.
        """
        if state.digits is None or state.seen is None:
            batch = len(digits) if digits is not None else (1 if label is None else len(label))
            state.digits = torch.zeros(batch, 0, len(self.levels), dtype=torch.long, device=self.start.device)
            state.seen = self.start.new_zeros(batch, 0, self.config.width)
            first = 0
        else:
            first = state.digits.shape[1] + 1  # the input after the last token was computed last time
        if digits is not None:
            state.digits = torch.cat([state.digits, digits], dim=1)
        whole = state.digits.shape[1] // self.tokens_per_latent_frame * self.tokens_per_latent_frame
        if whole > state.seen.shape[1]:
            fresh = self.contexts(state.digits[:, state.seen.shape[1] : whole], state.past)
            state.seen = torch.cat([state.seen, fresh], dim=1)
        window = self.window(window)
        x = self.inputs(state.digits, state.seen, first, state.digits.shape[1] + 1, label, conditioning)
        for i, layer in enumerate(self.layers):
            x = layer(x, self.slopes, state.kv_caches.setdefault(i, KVCache(window)), window=window)
        return self.norm(x[:, -1])


def _shifted(x: Tensor, length: int) -> Tensor:
    """(B, L, D) with zeros before it, ``length`` long."""
    return F.pad(x, (0, 0, length - x.shape[1], 0))


def _slopes(config: PriorConfig, frame: int) -> Tensor:
    if config.positions == "two_scale":
        return two_scale_slopes(config.heads, frame, config.alibi_multiplier)
    if config.positions == "plain":
        return alibi_slopes(config.heads)
    if config.positions == "learned":
        return torch.zeros(config.heads)
    raise ValueError(f"Prior: positions is {config.positions!r}, expected 'two_scale', 'plain' or 'learned'.")
