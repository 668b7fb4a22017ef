"""A prior laid out for sampling: the same numbers from few, large operations instead of many small modules.

``vg.models.transformer`` is the form to read, and the one that trains. Here one table holds the digits of all three
tokens that an input looks at, keys and values have their room from the start, the ALiBi bias of every pass is a part of
one tensor, and rows of several samples and branches go through the layers together.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from vg.models.alibi import alibi_bias
from vg.models.attention_backends import attention, auto_backend, mask_for_kernel
from vg.models.transformer import Prior
from vg.precision import product_dtype
from vg.sampling.packed_head import PackedHead

ROWS = 128  # positions that go through the layers together, at most: of one sample and one branch of its guidance

Product = tuple[Tensor, Tensor]  # weight and bias of a linear layer
Place = tuple[int, int, int]  # of rows in a cache: the oldest that they see, begin, end


class Cache:
    """Keys and values of every layer, for each sample of a batch; each sample may have come to another position.

    Args:
        depth, batch, heads, width: layers, samples, N, and D / N.
        room: positions that there is room for at first.
        reach: attend to so many positions at most, and drop older ones when room is needed; None keeps all.
        like: gives dtype and device, those of the keys.
    """

    def __init__(self, depth: int, batch: int, heads: int, width: int, room: int, reach: int | None, like: Tensor):
        self.reach, self.most = reach, math.inf if reach is None else 2 * reach + ROWS
        room = int(min(room, self.most))
        self.kept = like.new_empty(depth, 2, batch, heads, room, width)
        self.first = [0] * batch  # the position of each sample's first entry

    def place(self, sample: int, start: int, count: int) -> Place:
        """Where ``count`` positions from ``start`` on lie, and how far back they may look: (oldest, begin, end)."""
        if start + count - self.first[sample] > self.kept.shape[4]:
            self._make_room(sample, start, count)
        begin = start - self.first[sample]
        oldest = 0 if self.reach is None else max(0, begin - self.reach + 1)
        return oldest, begin, begin + count

    def _make_room(self, sample: int, start: int, count: int) -> None:
        room = self.kept.shape[4]
        if self.reach is None or room < self.most:
            more = max(count, min(room, self.most - room))
            self.kept = torch.cat(
                [self.kept, self.kept.new_empty(*self.kept.shape[:4], more, self.kept.shape[5])], dim=4
            )
            return
        stop = start - self.first[sample]
        drop = max(0, stop - self.reach + 1)
        self.kept[:, :, sample, :, : stop - drop] = self.kept[:, :, sample, :, drop:stop].clone()
        self.first[sample] += drop


@dataclass(frozen=True)
class Span:
    """Rows that go through the layers: ``count`` positions from ``start`` on of one sample, kept in ``cache``."""

    cache: Cache
    sample: int
    start: int
    count: int


@dataclass
class Bias:
    """ALiBi's bias for any number of queries and keys, as parts of one tensor that grows when it has to."""

    slopes: Tensor
    reach: int | None
    like: Tensor
    table: Tensor | None = field(default=None, init=False)

    def part(self, batch: int, queries: int, keys: int) -> Tensor:
        """(batch, N, queries, keys), the queries being the last of the keys."""
        if self.table is None or keys > self.table.shape[2]:
            longest = max(4 * ROWS, 2 * keys)
            self.table = alibi_bias(self.slopes, ROWS, longest, self.reach).to(self.like)
        part = self.table[None, :, ROWS - queries :, self.table.shape[2] - keys :]
        return part.expand(batch, -1, -1, -1) if part.device.type == "cpu" else mask_for_kernel(part, batch)


class Packed:
    """The weights of ``prior`` as they are now; made anew for every sampling, which takes a few milliseconds.

    Under autocast its products and its caches are in half precision (``like`` says so), while what is added up from
    layer to layer, norms, logits and all that is done with these stay in single precision.
    """

    def __init__(self, prior: Prior):
        self.prior, self.width, self.heads = prior, prior.config.width, prior.config.heads
        self.columns, self.like = prior.grid[1], prior.start.to(product_dtype(prior.start))
        self.backend = auto_backend(self.like.device, self.like.dtype, self.width // self.heads)
        tables = [prior.left, prior.above, prior.corner]
        weights = [torch.cat([table.tables[i].weight for table in tables], dim=1) for i in range(len(prior.levels))]
        self.tokens = torch.cat(weights)  # (sum of levels, 3 D): left, above, above right
        if self.columns == 1:  # one token wide, above right is the token to predict itself
            self.tokens[:, 2 * self.width :] = 0
        starts = torch.tensor([0, *prior.levels[:-1]], device=self.like.device)
        self.offsets = starts.cumsum(0)
        self.layers = [
            (
                layer.norm,
                *self._products(layer.qkv, layer.out),
                layer.mlp[0],
                *self._products(layer.mlp[1], layer.mlp[3]),
            )
            for layer in prior.layers
        ]
        self.head = PackedHead(prior.head, self.like)

    def _products(self, *layers: torch.nn.Linear) -> list[Product]:
        return [(layer.weight.to(self.like), layer.bias.to(self.like)) for layer in layers]

    def embed(self, digits: Tensor) -> Tensor:
        """Digits (L, digits) -> (L, 3 D): what a token tells the input after it, below it, and below left of it."""
        return F.embedding_bag(digits + self.offsets, self.tokens, mode="sum")

    def inputs(self, base: Tensor, tokens: Tensor, first: int, count: int) -> Tensor:
        """Inputs ``first`` to ``first + count`` of a latent frame: (count, D).

        Args:
            base: (h * w, D), what does not depend on this latent frame's tokens.
            tokens: (w + h * w, 3 D), ``embed`` of the row before this latent frame and of its own tokens.
            first, count: which.
        """
        d, w = self.width, self.columns
        left = tokens[w + first - 1 : w + first - 1 + count, :d]
        above = tokens[first : first + count, d : 2 * d]
        corner = tokens[first + 1 : first + 1 + count, 2 * d :]
        return base[first : first + count] + left + above + corner

    def hidden(self, x: Tensor, spans: list[Span], bias: Bias) -> Tensor:
        """Inputs (L, D), the rows of all ``spans`` one after another -> hidden states (L, D); the caches are filled."""
        places = [span.cache.place(span.sample, span.start, span.count) for span in spans]
        together = self._together(spans, places)
        for i, (norm, qkv, out, mlp_norm, up, down) in enumerate(self.layers):
            y = _linear(_norm(x, norm), qkv)
            y = together(i, y, bias) if together else self._apart(i, y, spans, places, bias)
            x = x + _linear(y, out)
            x = x + _linear(F.gelu(_linear(_norm(x, mlp_norm), up)), down)
        return _norm(x, self.prior.norm)

    def _apart(self, i: int, qkv: Tensor, spans: list[Span], places: list[Place], bias: Bias) -> Tensor:
        """Attention of layer ``i``, span by span: (L, 3 D) -> (L, D)."""
        heads, out = qkv.view(len(qkv), 3, self.heads, -1).permute(1, 2, 0, 3), []  # (3, N, L, D / N)
        parts = heads.split([span.count for span in spans], dim=2)
        for span, (oldest, begin, end), part in zip(spans, places, parts):
            kept = span.cache.kept[i, :, span.sample]  # (2, N, room, D / N)
            kept[:, :, begin:end] = part[1:]
            k, v = kept[:, None, :, oldest:end]
            out.append(self._attend(part[:1], k, v, bias))
        y = out[0] if len(out) == 1 else torch.cat(out, dim=2)
        return y.transpose(1, 2).reshape(len(qkv), -1)

    def _together(self, spans: list[Span], places: list[Place]) -> Callable[[int, Tensor, Bias], Tensor] | None:
        """One attention for a whole batch that has come to the same position; None where it has not."""
        cache, batch = spans[0].cache, len(spans)
        same = all(span.cache is cache and span.sample == b for b, span in enumerate(spans))
        if batch == 1 or not same or cache.kept.shape[2] != batch or len(set(places)) > 1:
            return None
        (oldest, begin, end), count = places[0], spans[0].count

        def attend(i: int, qkv: Tensor, bias: Bias) -> Tensor:
            q, k, v = qkv.view(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # (B, N, count, D / N)
            kept = cache.kept[i]  # (2, B, N, room, D / N)
            kept[0, :, :, begin:end], kept[1, :, :, begin:end] = k, v
            y = self._attend(q, kept[0, :, :, oldest:end], kept[1, :, :, oldest:end], bias)
            return y.transpose(1, 2).reshape(len(qkv), -1)

        return attend

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, bias: Bias) -> Tensor:
        """Attention of the last positions (B, N, count, D / N) to all, by flash or sdpa as ``auto_backend`` says."""
        if self.backend == "sdpa":
            return F.scaled_dot_product_attention(q, k, v, bias.part(len(q), q.shape[2], k.shape[2]))
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        return attention(q, k, v, bias.slopes, self.backend, bias.reach).transpose(1, 2)


def _linear(x: Tensor, product: Product) -> Tensor:
    weight, bias = product
    return F.linear(x.to(weight.dtype), weight, bias)


def _norm(x: Tensor, layer: torch.nn.LayerNorm) -> Tensor:
    return F.layer_norm(x, layer.normalized_shape, layer.weight, layer.bias, layer.eps)
