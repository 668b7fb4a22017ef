# %% [markdown]
# # 07 Transformer
#
# The film is now a stream of integers. Here a transformer learns, for every place in that stream, how likely each
# integer is to come next. Such a model is called a *prior*: it knows how likely tokens are before it has seen them.
# Whoever has these probabilities can draw from them, and that is the next notebook.
#
# **After this notebook you will be able to**
# - write causal attention with loops and with `einsum`, and compute it block by block, as FlashAttention does;
# - recognise the mistake that lets a model read the future, and test for it in three lines;
# - say what ALiBi does, what each head can see, and what happens on longer videos than those of training;
# - build a layer of the transformer by hand, and stack such layers into the whole prior;
# - predict a token digit by digit, so that no table has to hold every code;
# - train a prior, judge it in bits per token beside baselines, and see what its heads attend to.
#
# **You need** notebook 06's idea (a film as a cache of integers) and a little PyTorch. The shipped tokenizer is used.
#
# **Study:** about 4 hours, tasks included. **Computing:** about 8 minutes on a two-core laptop, 3 with a GPU.
#
# **Before:** [06 Latent cache](06_latent_cache.ipynb). **Next:** [08 Generation](08_generation.ipynb).

# %%
# NBVAL_IGNORE_OUTPUT
import math
import time

import matplotlib.pyplot as plt
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from vg import checkpoints, evaluation, show
from vg.data import film, open_store, split_shots
from vg.experiments.batches import prior_batches
from vg.experiments.losses import prior_loss
from vg.latents import open_cache
from vg.models import FSQ, Prior, PriorConfig, alibi_bias, alibi_slopes, attention
from vg.models import available_backends, two_scale_slopes
from vg.models.digits import DigitHead
from vg.models.transformer import TransformerBlock
from vg.profiles import device, profile
from vg.progress import tqdm
from vg.show import interactive
from vg.training import Recipe, fit

show.style()
settings = profile().settings(  # smoke, laptop, gpu
    film_frames=(480, None, None),  # None: all of them
    window=(2, 4, 4),  # latent frames
    dice_steps=(30, 600, 600),
    lengths=((128, 256), (256, 512, 1024, 2048), (1024, 2048, 4096, 8192)),  # tokens
    copy_steps=(2, 300, 300),
    width=(32, 192, 256),
    depth=(1, 4, 6),
    overfit_steps=(2, 80, 80),
    steps=(3, 200, 3000),
)
print(f"profile {profile().name}, device {device()}")

# %% [markdown]
# ## The tokens
#
# One integer stands for a *tubelet*: a few frames of a small patch. All tubelets of the same frames make a
# *latent frame*, a grid of $h \times w$ tokens. The cache holds every shot as such grids; it is written now if an
# earlier notebook has not done so. A *window* is a stretch of latent frames within one shot. Whole shots are held out
# for validation.

# %%
# NBVAL_IGNORE_OUTPUT
store = open_store(film(), frames=settings.film_frames)
train, val = split_shots(store.shots)
tokenizer = checkpoints.load("tubelet-fsq-64", device=device())
cache = open_cache(store, tokenizer)
span, (h, w), levels = cache.tubelet[0], cache.grid, cache.levels
frame, codes, window = h * w, math.prod(levels), settings.window
windows = cache.windows(window, shots=train)
held = cache.windows(window, shots=val, views=[(0, False)])
truth = held.take(torch.arange(len(held)))  # (B, t, h, w): what everything is measured on
known = windows.take(torch.arange(0, len(windows), 7))  # where the baselines count
print(f"{span} frames, {h} x {w} tokens in a latent frame")
print(f"levels {levels}: {codes:,} codes, {math.log2(codes):.2f} bits")
print(f"a window: {window} latent frames = {window * span} frames = {window * frame} tokens")
print(f"{len(windows)} training windows from {len(train)} shots")
print(f"{len(held)} validation windows from {len(val)} shots")

# %% [markdown]
# This is all that the transformer sees. A colour is a token; neighbouring codes have similar colours.

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
first, last = max(val, key=lambda shot: shot[1] - shot[0])  # frames of the longest of them
clip = store.clip(first, first + min(window, (last - first) // span) * span)[0]  # (C, T, H, W)
tokens = tokenizer.encode(clip[None].to(device()))[0].cpu()  # (t, h, w), as in the cache
token_colours = show.token_map(tokens, clip, cache.tubelet, levels, 1.0)
show.player({"a validation shot": clip, "its tokens": token_colours}, fps=store.fps)

# %% [markdown]
# The stream is read in the order (t, h, w): frame by frame, row by row, left to right. The probability of a whole clip
# is the product of the probabilities of its tokens, each given those before it. We measure it in bits:
#
# $$-\log_2 p(x_1, \dots, x_L) = \sum_{i=1}^{L} -\log_2 p(x_i \mid x_1, \dots, x_{i-1}).$$
#
# So a token that was given the probability $p$ costs $-\log_2 p$ bits. Fewer is better. This is the *cross-entropy* in base
# 2, the usual loss of a language model.
#
# ### Why tokens, and not diffusion?
#
# Many large video models *denoise*: they start from noise and refine a whole clip in some dozens of steps. All
# places are made in parallel, and an early error can still be mended. Here one token follows another, and what is drawn
# stays. The price is as many steps as tokens, and an order within a frame that nothing in the picture asks for. What one
# gets: an exact probability for every clip. A model that knows nothing has a known price, two models are compared on
# held-out film without drawing anything, and a video may go on for as long as one likes. For a course the exact measure
# decides.
#
# ## Attention by hand
#
# Each position $i$ has a *query* $q_i$; each position $j$ a *key* $k_j$ and a *value* $v_j$. The scalar product of query
# and key is a *score*: how well they fit. Position $i$ gets the average of the values, weighted by the softmax of the
# scores. *Causal* means that $j$ never lies after $i$. Several *heads* do this side by side, each with its own part of the
# width. First in loops.


# %%
def by_loops(q, k, v):
    """Causal attention, (L, N, D): positions, heads, width of a head."""
    L, N, D = q.shape
    out = torch.zeros_like(q)
    for n in range(N):
        for i in range(L):
            fits = [math.exp(float(q[i, n] @ k[j, n]) / math.sqrt(D)) for j in range(i + 1)]
            for j, fit_of_j in enumerate(fits):
                out[i, n] += fit_of_j / sum(fits) * v[j, n]
    return out


B, L, N, D = 1, 6, 4, 8
generator = torch.Generator().manual_seed(0)
q, k, v = torch.randn(3, B, L, N, D, generator=generator).unbind(0)
print("positions, heads, width of a head:", tuple(by_loops(q[0], k[0], v[0]).shape))

# %% [markdown]
# The same with two `einsum`s: `b` batch, `i` who asks, `j` who answers, `n` head, `d` width. A *bias* $b_{ij}$, zero for
# now, may be added to the scores:
#
# $$o_i = \sum_{j \le i} a_{ij} v_j, \qquad a_{ij} = \operatorname{softmax}_{j \le i}\left(\frac{q_i \cdot k_j}{\sqrt{D}} + b_{ij}\right).$$

# %% [markdown] tags=["student"]
# **Your part: causal attention** (easy, 20 minutes). Write `causal_attention(q, k, v, bias)`. `q`, `k`, `v` are
# `(B, L, N, D)`; `bias` is a number or `(N, L, L)`. Return the output `(B, L, N, D)` and the weights `(B, N, L, L)`.
#
# <details><summary>Hint 1</summary>
#
# `"bind,bjnd->bnij"` gives the scores. Divide by the root of the width of a *head*, then add the bias.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `torch.ones(L, L, dtype=torch.bool).triu(1)` is True where `j > i`. Set those scores to `-math.inf` *before* the softmax.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# The softmax goes over `j`, the last axis. `"bnij,bjnd->bind"` then takes the averages.
#
# </details>


# %% tags=["task"]
def causal_attention(q, k, v, bias=0.0):
    """(B, L, N, D) -> (B, L, N, D) and the weights (B, N, L, L)."""
    ### BEGIN SOLUTION
    L = q.shape[1]
    scores = torch.einsum("bind,bjnd->bnij", q, k) / math.sqrt(q.shape[-1]) + bias
    future = torch.ones(L, L, dtype=torch.bool).triu(1)  # j > i
    weights = scores.masked_fill(future, -math.inf).softmax(dim=-1)
    return torch.einsum("bnij,bjnd->bind", weights, v), weights
    ### END SOLUTION


# %% tags=["grader"]
def check_causal_attention(function):
    q, k, v = torch.randn(3, 2, 7, 4, 8, generator=torch.Generator().manual_seed(0)).unbind(0)
    slopes = alibi_slopes(4)
    bias = alibi_bias(slopes, 7, 7).nan_to_num(neginf=0.0)
    try:
        out, weights = function(q, k, v, bias)
        shapes = tuple(out.shape), tuple(weights.shape)
    except (TypeError, ValueError, AttributeError):
        return "expected two tensors, the output and the weights. Is there a return?"
    except RuntimeError as error:
        return f"PyTorch refuses the shapes: {error}"
    if shapes != ((2, 7, 4, 8), (2, 4, 7, 7)):
        return f"the shapes are {shapes}, expected (B, L, N, D) and (B, N, L, L)"
    if not weights.isfinite().all() or (weights.triu(1) != 0).any():
        return "a query sees its future: -inf where j > i, before the softmax"
    if not torch.allclose(weights.sum(-1), torch.ones(()), atol=1e-5):
        return "the weights of a query do not add up to 1: softmax over j, after the mask"
    if torch.allclose(out, attention(q, k, v, slopes, "reference"), atol=1e-5):
        return "right: as vg's attention"
    if torch.allclose(out, attention(q, k, v, torch.zeros(4), "reference"), atol=1e-5):
        return "the bias is missing: add it to the scores"
    if torch.allclose(out, attention(q * 8**0.5, k, v, slopes, "reference"), atol=1e-5):
        return "the scores are not divided by the root of the width of a head"
    return "other numbers than vg's: divide q . k by the root of D first, then add the bias"


print(check_causal_attention(causal_attention))

# %%
out, weights = causal_attention(q, k, v)
print("as the loops:", torch.allclose(out[0], by_loops(q[0], k[0], v[0]), atol=1e-5))

# %% [markdown]
# ## A mistake that looks fine
#
# We keep a tensor as (B, **L, N**, D), positions before heads. PyTorch's kernel wants (B, **N, L**, D). So one transposes
# on the way in, and must transpose back on the way out. Forget the way back and reshape instead: the shape is right, nothing
# complains, the loss falls. But heads and positions have changed places, and what stands at position $i$ of the result
# was computed at other positions, some of them later.


# %%
def heads_first(q, k, v):
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))  # (B, N, L, D)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def right(q, k, v):
    return heads_first(q, k, v).transpose(1, 2).flatten(2)  # (B, L, N * D)


def wrong(q, k, v):
    B, L, N, D = q.shape
    return heads_first(q, k, v).reshape(B, L, N * D)  # the right shape, the wrong order


by_hand = causal_attention(q, k, v)[0].flatten(2)
for way in (right, wrong):
    made = way(q, k, v)
    print(way.__name__, tuple(made.shape), "as by hand", torch.allclose(made, by_hand, atol=1e-5))

# %% [markdown]
# What does it do to training? Take a sequence that nobody can predict: throws of an eight-sided die. An honest model
# pays 3 bits per throw, whatever it learns. A very small transformer is trained with each of the two functions.


# %%
# NBVAL_IGNORE_OUTPUT
class Tiny(nn.Module):
    """One layer of attention: tokens (B, L) -> logits for the token after each (B, L, V)."""

    def __init__(self, mix, V=8, L=16, d=64, heads=4):
        super().__init__()
        self.mix, self.heads = mix, heads
        self.token, self.place = nn.Embedding(V, d), nn.Embedding(L, d)
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.head = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, V))

    def forward(self, tokens):
        x = self.token(tokens) + self.place.weight  # (B, L, d)
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(2)  # each (B, L, N, D)
        return self.head(x + self.out(self.mix(q, k, v)))


def throw_dice(mix, steps):
    torch.manual_seed(0)
    model, history = Tiny(mix), []
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(steps):
        dice = torch.randint(8, (32, 17))
        nats = F.cross_entropy(model(dice[:, :-1]).flatten(0, 1), dice[:, 1:].flatten())
        optimizer.zero_grad()
        nats.backward()
        optimizer.step()
        history.append((step, float(nats.detach()) / math.log(2)))
    return model.eval(), history


honest, honest_bits = throw_dice(right, settings.dice_steps)
cheat, cheat_bits = throw_dice(wrong, settings.dice_steps)
dice_curves = {"right": honest_bits, "wrong": cheat_bits}
show.curves(dice_curves, "predicting dice", y="bits per throw", baselines={"3 bits": 3.0})

# %% [markdown]
# A curve below 3 bits is a model that foresees dice. On real data there is no such line: a loss that is too good
# looks like a good loss. So one does not trust the loss but tests: **change token $k$, and see whether anything before it
# moves.** That takes a second, no training and no data.


# %%
@torch.no_grad()
def first_leak(function, x, change, own=0):
    """The first (k, i) where output i moves with token k, though i < k + own. None if none does."""
    before = function(x)
    for k in range(x.shape[1]):
        changed = x.clone()
        changed[:, k] = change(changed[:, k])
        moved = (function(changed) - before).abs().flatten(2).amax((0, 2)) > 1e-6  # (L,)
        if moved[: k + own].any():
            return k, int(moved.nonzero()[0])
    return None


dice = torch.randint(8, (2, 16), generator=torch.Generator().manual_seed(1))
another = lambda throw: (throw + 1) % 8  # noqa: E731
print("right leaks:", first_leak(honest, dice, another) is not None)
print("wrong leaks:", first_leak(cheat, dice, another) is not None)

# %% [markdown]
# ## ALiBi by hand
#
# Attention as it stands does not know the order of what it sees: shuffle the past and the average is the same. One
# remedy is to learn a vector for every position and add it to the input; then position 1,025 has none if training ended
# at 1,024. *ALiBi* (attention with linear biases) adds nothing to the input. The farther back a key, the more is taken off
# its score. Head $n$ of $N$, counted from 0, has a slope $m_n$ that is not learnt:
#
# $$b_{ij} = -m_n\,(i - j), \qquad m_n = 2^{-8 (n + 1) / N}.$$

# %% [markdown] tags=["student"]
# **Your part: slopes and bias** (easy, 15 minutes). Write `alibi(N, L)` for `N` heads (a power of two) and `L` positions.
# Return the slopes `(N,)` and the bias `(N, L, L)`, with `-math.inf` where `j > i`.
#
# <details><summary>Hint 1</summary>
#
# The distance is `i - j`: `torch.arange(L)[:, None] - torch.arange(L)` is `(L, L)`, and negative in the future.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `slopes[:, None, None]` times the distance is `(N, L, L)`. Mind the sign. Then `masked_fill` the future.
#
# </details>


# %% tags=["task"]
def alibi(N, L):
    """Slopes (N,) and bias (N, L, L) of ALiBi, -inf in the future."""
    ### BEGIN SOLUTION
    slopes = torch.tensor([2 ** (-8 * (n + 1) / N) for n in range(N)])
    distance = torch.arange(L)[:, None] - torch.arange(L)  # i - j
    bias = -slopes[:, None, None] * distance
    return slopes, bias.masked_fill(distance < 0, -math.inf)
    ### END SOLUTION


# %% tags=["grader"]
def check_alibi(function):
    try:
        slopes, bias = function(8, 5)
        shapes = tuple(slopes.shape), tuple(bias.shape)
    except (TypeError, ValueError, AttributeError):
        return "expected two tensors, the slopes and the bias. Is there a return?"
    except RuntimeError as error:
        return f"PyTorch refuses the shapes: {error}"
    if shapes != ((8,), (8, 5, 5)):
        return f"the shapes are {shapes}, expected (N,) and (N, L, L)"
    if not torch.allclose(slopes, alibi_slopes(8)):
        return f"slope 0 of 8 is {float(slopes[0]):.3f}, expected 0.500: head 0 has n + 1 = 1"
    expected = alibi_bias(slopes, 5, 5)
    past, future = expected.isfinite(), expected.isinf()
    if (bias[past] > 0).any():
        return "a far key gains: the bias is minus slope times distance"
    if not torch.equal(bias[past], expected[past]):
        return "the past has other numbers: the distance is i - j, row i asks, column j answers"
    if not (bias[future] == -math.inf).all():
        return "a query sees its future: -math.inf where j > i"
    return "right: slopes and bias are vg's"


print(check_alibi(alibi))

# %% [markdown]
# `vg.models.attention` takes slopes and has several *backends*: `reference` is the `einsum` above, `sdpa` is PyTorch's
# own kernel, `flex` compiles one, `flash` is FlashAttention-2 and needs CUDA. Do those that run here agree with what is
# written by hand, and are they causal?

# %%
slopes_4, bias_4 = alibi(4, L)
expected, _ = causal_attention(q, k, v, bias_4)
for backend in available_backends("cpu"):
    agrees = torch.allclose(attention(q, k, v, slopes_4, backend), expected, atol=1e-5)
    itself = lambda x, b=backend: attention(x, x, x, slopes_4, b)  # noqa: E731
    leak = first_leak(itself, q, lambda token: token + 1)
    print(f"{backend:>10}: as by hand {agrees}, causal {leak is None}")

# %% [markdown]
# Bright is seen, dark has faded ($e^{-8}$ is as good as nothing), grey is the future.

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
show.bias_figure(alibi(4, 48)[1], [f"slope 1/{1 / s:.0f}" for s in slopes_4.tolist()])

# %% [markdown]
# ## FlashAttention by hand: the online softmax
#
# The weights are $L \times L$ numbers for each head. On a GPU, writing them to memory and reading them back takes longer than
# computing them. FlashAttention never writes them. It reads the keys in blocks, and of all blocks so far it keeps three things: the
# largest score $m$, the sum $s$ of the exponentials, and the weighted sum $o$ of the values. A new block with scores $x_j$ may
# hold a larger score. Then what was summed with the old maximum is *rescaled*:
#
# $$m' = \max(m, \max_j x_j), \quad s' = s\, e^{m - m'} + \sum_j e^{x_j - m'}, \quad o' = o\, e^{m - m'} + \sum_j e^{x_j - m'} v_j.$$
#
# After the last block, $o / s$ is softmax attention. It is exact, not an approximation.

# %% [markdown] tags=["student"]
# **Your part: take in one block** (medium, 25 minutes). Write `absorb(top, total, out, scores, values)`. `scores` are
# `(..., I, J)` for I queries and the J keys of this block, `values` are `(..., J, D)`. So far there are `top` and `total`
# `(..., I, 1)` and `out` `(..., I, D)`. Return the three new ones.
#
# <details><summary>Hint 1</summary>
#
# `scores.amax(-1, keepdim=True)` is the maximum of the block; `torch.maximum` compares it with `top`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `shrink = (top - new).exp()` is the factor for what you have. At the start `top` is `-inf`, so it is 0.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# `weights = (scores - new).exp()`. Both `total` and `out` are multiplied by `shrink` before the block is added. Nothing is
# divided here.
#
# </details>


# %% tags=["task"]
def absorb(top, total, out, scores, values):
    """Running maximum, sum (..., I, 1) and weighted sum (..., I, D), with one more block of keys."""
    ### BEGIN SOLUTION
    new = torch.maximum(top, scores.amax(-1, keepdim=True))
    shrink, weights = (top - new).exp(), (scores - new).exp()
    total = total * shrink + weights.sum(-1, keepdim=True)
    return new, total, out * shrink + weights @ values
    ### END SOLUTION


# %% tags=["grader"]
def check_absorb(function):
    noise, values = torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(0)).unbind(0)
    noise, values = noise[:, :5], values[..., :6]  # (3, 5, 24) and (3, 24, 6)
    orders = {"falling": noise.sort(-1, descending=True).values, "rising": noise.sort(-1).values}
    orders["large"] = 60 * orders["rising"]
    for order, scores in orders.items():
        state = torch.full((3, 5, 1), -math.inf), torch.zeros(3, 5, 1), torch.zeros(3, 5, 6)
        for block in range(0, 24, 8):
            part = slice(block, block + 8)
            try:
                state = function(*state, scores[..., part], values[:, part])
                shapes = [tuple(x.shape) for x in state]
            except (TypeError, ValueError, AttributeError):
                return "expected three tensors: top, total, out. Is there a return?"
            except RuntimeError as error:
                return f"PyTorch refuses the shapes: {error}"
            if shapes != [(3, 5, 1), (3, 5, 1), (3, 5, 6)]:
                return f"the shapes are {shapes}: keep the last axis (keepdim=True)"
            if not torch.equal(state[0], scores[..., : block + 8].amax(-1, keepdim=True)):
                return "top is not the largest score so far: of all blocks, for each query"
            if not all(x.isfinite().all() for x in state):
                return "not finite: take the new maximum off the scores before exp"
            seen = scores[..., : block + 8]
            sums = (seen - state[0]).exp().sum(-1, keepdim=True)
            if not torch.allclose(state[1], sums, rtol=1e-4):
                return f"{order} scores: the sum is wrong: shrink the old sum by e^(top - new)"
            right = seen.softmax(-1) @ values[:, : block + 8]
            if not torch.allclose(state[2] / sums, right, atol=1e-4):
                return f"{order} scores: out is wrong: shrink it as the sum, then add"
    return "right: softmax attention, without ever holding all weights"


print(check_absorb(absorb))


# %% [markdown]
# Around it go two loops, over blocks of queries and blocks of keys. Blocks that lie wholly in the future are skipped.


# %%
def flash(q, k, v, slopes, block=128):
    """Causal attention with ALiBi, (B, L, N, D), never more than block x block weights a head."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))  # (B, N, L, D)
    made, L = [], q.shape[2]
    for start in range(0, L, block):
        asks = q[:, :, start : start + block] / math.sqrt(q.shape[-1])
        zeros = torch.zeros_like(asks)
        state = zeros[..., :1] - math.inf, zeros[..., :1], zeros
        for first in range(0, start + block, block):
            keys, values = (x[:, :, first : first + block] for x in (k, v))
            rows = torch.arange(start, start + asks.shape[2])[:, None]
            distance = rows - torch.arange(first, first + keys.shape[2])
            scores = asks @ keys.transpose(-1, -2) - slopes[:, None, None] * distance
            state = absorb(*state, scores.masked_fill(distance < 0, -math.inf), values)
        made.append(state[2] / state[1])
    return torch.cat(made, dim=2).transpose(1, 2)


row = torch.randn(3, 1, 300, 4, 32, generator=generator).unbind(0)
exact = attention(*row, slopes_4, "reference")
print("as attention that holds all weights:", torch.allclose(flash(*row, slopes_4), exact, atol=1e-5))

# %% [markdown]
# What does it save? Here are time and memory as the stream grows. Memory is the largest tensor that any operation makes, counted while it
# runs.


# %%
# NBVAL_IGNORE_OUTPUT
class Largest(TorchDispatchMode):
    """Bytes of the largest tensor that an operation has made."""

    most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.most = max(self.most, made.nbytes)
        return made


@torch.no_grad()
def cost(function, length):
    """Seconds and MiB of one call."""
    x = torch.randn(1, length, 4, 32)
    with Largest() as watched:
        function(x, x, x, slopes_4)
    begin = time.perf_counter()
    function(x, x, x, slopes_4)
    return time.perf_counter() - begin, watched.most / 2**20


ways = {
    "all weights": lambda *given: attention(*given, "reference"),
    "blocks, by hand": flash,
    "PyTorch's kernel": lambda *given: attention(*given, "sdpa"),
}
costs = {name: [cost(way, length) for length in settings.lengths] for name, way in ways.items()}

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
figure, panels = plt.subplots(1, 2, figsize=(8.5, 3.2))
for name, pairs in costs.items():
    for axes, values in zip(panels, zip(*pairs)):
        axes.plot(settings.lengths, values, marker="o", markersize=3.5, label=name)
for axes, what in zip(panels, ("seconds", "largest tensor, MiB")):
    axes.set(xlabel="tokens L", ylabel=what, xscale="log", yscale="log")
    axes.set_xticks(settings.lengths, [f"{length:,}" for length in settings.lengths])
    axes.minorticks_off()
panels[1].legend(fontsize=8)
plt.show()

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# All ways take time that grows about with the square of $L$, and about as much of it: blocks save memory, not work. The memory of
# all weights grows with the square as well, that of the blocks by hand only with $L$. PyTorch's kernel is called here with blocks of
# queries, each with a bias for all keys before it, so it lies between. On a GPU memory traffic is what costs time, and the saving becomes speed.
#
# </details>
#
# ## Two scales
#
# The stream is flattened, so **the same place one latent frame back lies $h \cdot w$ positions away.** Which heads can see that far? Say
# that a head sees as far as its bias is above $-3$, where a key counts a twentieth of what it would count next door.
#
# `two_scale_slopes` gives half of the heads the plain slopes of $N / 2$ heads, and the other half the same slopes divided by $h \cdot w$: a
# latent frame is to them what a token is to the others. The prior multiplies these by four, so that they fade faster.

# %%
# NBVAL_IGNORE_OUTPUT
families = {"plain": slopes_4, "two scales": two_scale_slopes(4, frame, multiplier=4.0)}
print(f"{'':>12} head   slope       sees up to    bias leaves of a key, 1 and {window} latent frames back")
for name, family in families.items():
    for n, slope in enumerate(family.tolist()):
        reach = f"{3 / slope / frame:.2f} latent frames"
        near, far = (math.exp(-slope * frame * times) for times in (1, window))
        print(f"{name:>12} {n:>4} {slope:8.5f} {reach:>20} {near:14.1%} {far:8.1%}")

# %% [markdown]
# The last columns show what a bias does and does not do. Far keys have faded for the steep heads, not for all: to the
# flattest head a window is near as a whole. Drag a slope, or take that of a head, and see what it leaves of the
# stream: along the distance, and in the grids of tokens for one query (blue; grey is the future). No kernel is needed.

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
heads = {}
for name, family in families.items():
    heads |= {f"{name}, head {n}": slope for n, slope in enumerate(family.tolist())}
reaches = "how far a head sees, by its slope"
interactive.slopes(heads, (h, w), span=4, start="two scales, head 2", title=reaches)

# %% [markdown]
# ## A task where positions must matter
#
# On film, the token one latent frame back is worth more than all that is older, so ways to know positions hardly differ there. Here is
# a task that turns on them. A picture of $2 \times 2$ tokens appears, is hidden for five latent frames, and comes back. All eight codes
# are equally likely, so a guess costs 3 bits, and copying from **six latent frames back** costs 0. We train on eight latent
# frames and test on 8, 16 and 32; what is older than the picture is empty. Four small priors:
#
# - *two scales*, as above;
# - *plain slopes of a large grid*: as steep per latent frame as plain ALiBi is where a latent frame has 256 tokens;
# - *learned positions*: a vector for each position; those beyond eight latent frames exist and are never trained;
# - *two latent frames of sight*: two scales, but attention reaches back over two latent frames only. The control.


# %%
# NBVAL_IGNORE_OUTPUT
def hidden_film(count, length, generator):
    """Tokens (count, length, 2, 2): a picture, five latent frames of nothing, the same picture."""
    made = torch.zeros(count, length, 2, 2, dtype=torch.long)
    made[:, -7] = made[:, -1] = torch.randint(1, 9, (count, 2, 2), generator=generator)
    return made


def remember(name, changes, steeper=1):
    """Train a small prior on eight latent frames: bits per token of the picture, by length."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    shape = {"levels": (3, 3), "grid": (2, 2), "width": 64, "depth": 2, "context": 0}
    model = Prior(PriorConfig(**shape, **changes))
    model.slopes = model.slopes * steeper
    optimizer = torch.optim.Adam(model.parameters())
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=settings.copy_steps + 1)
    for _ in tqdm(range(settings.copy_steps), desc=name):
        cost_of_picture = model.nll_bits(hidden_film(32, 8, generator))[:, -1].mean()
        optimizer.zero_grad()
        cost_of_picture.backward()
        optimizer.step()
        rates.step()
    with torch.no_grad():
        films = {n: hidden_film(64, n, generator) for n in (8, 16, 32)}
        return {n: float(model.nll_bits(made)[:, -1].mean()) for n, made in films.items()}


contest = {
    "two scales": ({},),
    "plain slopes of a large grid": ({"positions": "plain"}, 256 / 4),
    "learned positions": ({"positions": "learned", "longest": 32},),
    "two latent frames of sight": ({"reach": 2},),
}
remembered = {name: remember(name, *how) for name, how in contest.items()}
print("bits per token of the picture that comes back, by latent frames")
for name, bits in remembered.items():
    print(f"{name:>28}:", ", ".join(f"{n}: {cost:.2f}" for n, cost in bits.items()))

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# Two scales find the picture at every length: they were trained on eight latent frames, and the empty past beyond does no harm. Learned
# positions find it as well, but only at the length of training: at positions never trained they fail. Slopes as steep as plain
# ALiBi has in a large grid cannot see six latent frames back and pay nearly a guess, and so does the control. Inputs know the token one
# latent frame back, and information may travel a step further in each layer, so sight is a little longer than one
# layer's reach.
#
# On this film, in windows as short as those of our training, the same contest ended within the noise of a seed. Positions matter where a task needs them.
#
# </details>
#
# ## A layer
#
# Attention is the only place where positions exchange anything. The rest of a transformer works on each position alone. A
# *layer* does both, one after the other, and adds each result to what came in (a *residual* connection). *Norm* brings every
# position to mean 0 and variance 1 before each part, as in GPT-2; the MLP widens to four times the width, bends, and narrows.
#
# ```
# x (B, L, D)
# |--> norm --> qkv (B, L, 3, N, D/N) --> attention (B, L, N, D/N) --> out (B, L, D) --+
# +<-----------------------------------------------------------------------------------+  added
# |--> norm --> (B, L, 4D) --> GELU --> (B, L, D) --+
# +<------------------------------------------------+  added
# x (B, L, D)
# ```


# %%
def layer_by_hand(x, layer, slopes):
    """(B, L, D) -> (B, L, D), with the weights of a layer of vg."""
    parts = layer.qkv(layer.norm(x)).unflatten(-1, (3, layer.heads, -1)).unbind(2)
    seen, _ = causal_attention(*parts, alibi_bias(slopes, x.shape[1], x.shape[1]))
    x = x + layer.out(seen.flatten(2))
    norm, widen, bend, narrow = layer.mlp
    return x + narrow(bend(widen(norm(x))))


torch.manual_seed(0)
one_layer, states = TransformerBlock(d=32, heads=4).eval(), torch.randn(2, 10, 32)
with torch.no_grad():
    ours, theirs = layer_by_hand(states, one_layer, slopes_4), one_layer(states, slopes_4)
print("by hand as vg's:", torch.allclose(ours, theirs, atol=1e-5))
leak = first_leak(lambda x: one_layer(x, slopes_4), states, lambda token: token + 1)
print("causal:", leak is None)

# %% [markdown]
# ## Tokens and digits
#
# FSQ made each token from a few digits, and a token's number is these digits written as one number. The transformer reads
# digits and writes digits.
#
# **Reading.** A token is embedded as the sum of one vector per digit, looked up by its level. So the tables have
# $8 + 6 + 5$ rows here, not $8 \cdot 6 \cdot 5$. Each level has a free vector. Nothing tells the model that level 3 lies between 2 and
# 4; if that matters, training has to find it. Did it? Below is the cosine between the vectors of every two levels, in the shipped prior's
# table for the token one latent frame back, each table's mean taken off.

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
shipped = checkpoints.load("prior-64", device=device())
figure, panels = plt.subplots(1, len(levels), figsize=(9, 2.9), layout="constrained")
for i, (axes, table) in enumerate(zip(panels, shipped.before.tables)):
    rows = table.weight.detach().cpu()
    rows = F.normalize(rows - rows.mean(0), dim=-1)
    drawn = axes.imshow(rows @ rows.T, vmin=-1, vmax=1, cmap="RdBu_r")
    axes.set(title=f"digit {i}", xlabel="level", ylabel="level")
    axes.set(xticks=range(levels[i]), yticks=range(levels[i]))
    axes.grid(False)
figure.colorbar(drawn, ax=panels, label="cosine")
plt.show()

# %% [markdown]
# <details><summary>Is a digit a scale? What the stored run shows</summary>
#
# COSINE
#
# </details>
#
# **Writing.** Digits are predicted one after another, each from the hidden state $s$ and the digits before it. This is the chain rule,
#
# $$p(a, b, c \mid s) = p(a \mid s)\, p(b \mid s, a)\, p(c \mid s, a, b).$$
#
# It is exact: the probabilities of all codes add up to 1, though no part ever has an output for each code. In
# `DigitHead`, `head.logits[i]` maps states `(B, D)` to the logits of digit `i`; then the embedding of the true digit,
# `head.known.tables[i](digit)`, is added to the state.

# %% [markdown] tags=["student"]
# **Your part: the loss, digit by digit** (medium, 15 minutes). Write `digit_bits(head, states, digits)`: `states` are `(B, D)`, `digits`
# `(B, n)` are true. Return the bits `(B,)` that each token costs. The last digit has no table, since nothing follows it.
#
# <details><summary>Hint 1</summary>
#
# `F.cross_entropy(logits, digit, reduction="none")` gives $-\ln p$ of the true digit, `(B,)`, in nats. One nat is
# `1 / math.log(2)` bits.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Order: predict digit `i`, *then* add its embedding to the state. Logarithms of a product add up.
#
# </details>


# %% tags=["task"]
def digit_bits(head, states, digits):
    """Bits (B,) of the tokens with these digits (B, n), given hidden states (B, D)."""
    ### BEGIN SOLUTION
    total = 0
    for i, logits in enumerate(head.logits):
        nats = F.cross_entropy(logits(states), digits[:, i], reduction="none")
        total = total + nats / math.log(2)
        if i + 1 < len(head.logits):
            states = states + head.known.tables[i](digits[:, i])
    return total
    ### END SOLUTION


# %% tags=["grader"]
def check_digit_bits(function):
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        head = DigitHead((4, 3, 3), d=16)
        for weight in head.parameters():
            weight.normal_()
        states, digits = torch.randn(1, 16), FSQ((4, 3, 3)).digits(torch.arange(36))
        states = states.repeat(36, 1)
        try:
            got = function(head, states.clone(), digits)
        except Exception as error:
            return f"it stops with {type(error).__name__}: {error}. The last digit has no table"
        if getattr(got, "shape", None) != (36,):
            return "expected bits of shape (B,), one number a token. Is there a return?"
        right = head.nll_bits(states, digits)
        pairs = zip(head.logits, digits.unbind(1))
        alone = sum(F.cross_entropy(f(states), d, reduction="none") for f, d in pairs)
    if torch.allclose(got, right, atol=1e-3):
        return "right: as vg's head; all 36 codes add up to 1"
    if torch.allclose(got, right * math.log(2), atol=1e-3):
        return "these are nats: divide by ln 2"
    if torch.allclose(got, alone / math.log(2), atol=1e-3):
        return "each digit is predicted alone: add the digits before it to the state"
    if torch.allclose(got * 3, right, atol=1e-3):
        return "this is the mean over digits: add them up"
    return "other bits: digit i needs the embeddings of digits 0 to i - 1"


print(check_digit_bits(digit_bits))

# %% [markdown]
# Would it do to predict all digits at once, each on its own? What counts is how much they tell about each other *given the hidden
# state*. Counting over the film cannot say: that would be their dependence with nothing known. But the shipped prior can.
# From its probabilities of all codes $p(a, b, c \mid s)$ follow those of each digit alone, and their product is the best that
# independent digits could do with the same states.

# %%
# NBVAL_IGNORE_OUTPUT
with torch.no_grad():
    stream = shipped.digits(truth[:1].to(device()))[0]  # (L, n)
    some = torch.arange(frame, len(stream), 7)  # after the first latent frame
    s = shipped.hidden(stream[None])[0, some]  # (S, D)
    each = FSQ(levels).digits(torch.arange(codes)).to(device())  # (codes, n)
    joint = torch.stack([-digit_bits(shipped.head, one.expand(codes, -1), each) for one in s])
    joint = joint.exp2().cpu()  # (S, codes), adds up to 1
    product = torch.ones_like(joint)
    for i, count in enumerate(levels):
        one_hot = F.one_hot(each[:, i].cpu(), count).float()  # (codes, count)
        product *= joint @ one_hot @ one_hot.T  # each digit alone
    given_state = float((joint * (joint / product).log2()).sum(-1).mean())
digits = FSQ(levels).digits(known.flatten())
alone = sum(math.log2(evaluation.perplexity(digits[:, i], n)) for i, n in enumerate(levels))
counted = alone - math.log2(evaluation.perplexity(known, codes))
print(f"independent digits would cost, in bits per token: {given_state:.2f} more given the state,")
print(f"and {counted:.2f} more with nothing known")

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# DIGITS
#
# </details>
#
# ## The whole prior
#
# Backgrounds stand still. How many tokens are equal to the one at the same place one latent frame back?

# %%
# NBVAL_IGNORE_OUTPUT
now, before = known[:, 1:], known[:, :-1]  # (n, t - 1, h, w)
pairs = zip(FSQ(levels).digits(now).unbind(-1), FSQ(levels).digits(before).unbind(-1))
by_digit = [float((a == b).float().mean()) for a, b in pairs]
print(f"equal tokens: {float((now == before).float().mean()):.1%}")
print("equal digits:", ", ".join(f"{share:.1%}" for share in by_digit))

# %% [markdown]
# Attention could learn to look exactly $h \cdot w$ back. The prior gets it at the input instead. Input $k$, which predicts
# token $k$, is a sum:
#
# ```
# tokens (B, t, h, w) --> digits (B, L, n), L = t h w
#   token before, above, above right            3 x DigitEmbedding  (B, L, D) --+
#   place in the grid                           a vector for each   (h w, D)  --+
#   label of the scene, if there is one                             (B, 1, D) --+--> inputs (B, L, D)
#   context: digits --> embedding --> convolutions over latent frames           |        |
#            --> moved on by one latent frame                       (B, L, D) --+   layers (B, L, D)
#                                                                                        |
#                                              bits (B, t, h, w) <-- DigitHead <-- norm (B, L, D)
# ```
#
# The *context* says what stood at this place, and around it, one latent frame ago and earlier. Within a latent frame it is not
# causal at all. It may be, since it is handed to the *next* latent frame, when all that it has seen is known. Is the
# whole still causal? `own=1` is the stricter question: state $k$ predicts token $k$, so it must not know that token either.

# %%
torch.manual_seed(0)
toy_config = PriorConfig(levels=(5, 4, 3), grid=(3, 4), width=32, depth=2, heads=4, context=2)
toy_prior = Prior(toy_config).eval()
toy = torch.randint(60, (2, 4, 3, 4), generator=torch.Generator().manual_seed(1))
toy_digits = toy_prior.digits(toy)  # (2, 48, 3)
other = lambda token: (token + 1) % torch.tensor((5, 4, 3))  # noqa: E731
leak = first_leak(toy_prior.contexts, toy_digits, other)
print("the context alone sees ahead within a latent frame:", leak is not None)
leak = first_leak(toy_prior.hidden, toy_digits, other, own=1)
print("state k knows the tokens before k and no more:", leak is None)
with torch.no_grad():
    x = toy_prior.inputs(toy_digits, toy_prior.contexts(toy_digits), 0, toy_digits.shape[1])
    for layer in toy_prior.layers:
        x = layer_by_hand(x, layer, toy_prior.slopes)
    x = toy_prior.norm(x).flatten(0, 1)  # (B L, D)
    ours = digit_bits(toy_prior.head, x, toy_digits.flatten(0, 1)).view(toy.shape)
    print("the whole prior by hand as vg's:", torch.allclose(ours, toy_prior.nll_bits(toy), atol=1e-4))

# %% [markdown]
# ## What it costs to know nothing
#
# Three baselines: all codes equally likely (*uniform*); codes as often as they occur in the training shots (*unigram*);
# and *copy*: with the probability counted in the training shots the token of one latent frame back again, else any code as often
# as it occurs. A model that does not beat copying has learnt that the film stands still.
#
# Bits have a second reading. The *perplexity* $2^{\text{bits}}$ is the number of equally likely codes that would be as
# hard to guess. Neither can be compared between tokenizers: another tokenizer makes other tokens, easier or harder to
# guess. Nor are they the bits per dimension of published models of pixels: tokens do not hold all that is in the pixels.


# %%
# NBVAL_IGNORE_OUTPUT
@torch.no_grad()
def measure(prior, indices):
    """Bits of each token: (B, t, h, w), on the CPU."""
    where = prior.start.device
    return torch.cat([prior.nll_bits(part.to(where)).cpu() for part in indices.split(4)])


unigram = evaluation.unigram_bits(known, truth, codes)  # (B, t, h, w)
copied = evaluation.copy_bits(known, truth, codes)
floor = {"uniform": math.log2(codes), "unigram": float(unigram.mean()), "copy": float(copied.mean())}
for name, bits in floor.items():
    print(f"{name:>8}: {bits:.2f} bits per token, perplexity {2**bits:.0f}")

# %% [markdown]
# ## Before training: two checks
#
# **What should the first loss be?** A new prior knows nothing, so it should pay what the uniform guess pays. If it pays much more, it is sure
# of something without a reason: look at the initialisation. If it pays less, look for a leak.
#
# **Can it overfit one batch?** A model that cannot learn one window by heart has a mistake in it. The bits should fall far
# below every baseline.

# %%
# NBVAL_IGNORE_OUTPUT
shape = {"levels": levels, "grid": (h, w), "width": settings.width, "depth": settings.depth}


def new_prior():
    torch.manual_seed(0)
    return Prior(PriorConfig(**shape, num_labels=len(cache.shots))).to(device())


batch = windows.take(torch.arange(1)).to(device())  # (1, t, h, w)
learner = new_prior()
optimizer, overfit = torch.optim.Adam(learner.parameters(), lr=2e-3), []
for _ in tqdm(range(settings.overfit_steps), desc="one batch"):
    loss = learner.nll_bits(batch).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    overfit.append(float(loss.detach()))
print(f"first loss {overfit[0]:.2f} bits per token, uniform {floor['uniform']:.2f}")
show.curves({"one window": overfit}, "overfit one window", y="bits per token", baselines=floor)

# %% [markdown]
# ## Training
#
# `prior_batches` draws windows, `prior_loss` gives bits per token, `fit` is the loop of all notebooks. Two details:
#
# - In each window a share of the tokens that the model *sees* (not of those that it has to predict) is replaced by others.
#   When it generates, it will read its own mistakes; so it learns that what it reads may be wrong.
# - In half of the windows it is not told which scene it is in. So it can do with the label and without; notebook 08 uses
#   both.
#
# So the loss is a little harder than the validation bits, which are measured with nothing replaced, no label, and
# averaged weights.

# %%
# NBVAL_IGNORE_OUTPUT
options = {"lr": 1e-3, "muon": 1.5e-2, "warmup": 20, "betas": (0.9, 0.95), "weight_decay": 0.05}
trained = fit(
    new_prior(),
    prior_loss(),
    prior_batches(windows, batch=4),
    Recipe(steps=settings.steps, ema=0.97, **options),
    evaluate=lambda model: {"validation": float(measure(model, truth[::5]).mean())},
    every=max(1, settings.steps // 4),
    plot=show.LivePlot("a prior learns", y="bits per token", baselines=floor),
)
millions = sum(p.numel() for p in trained.model.parameters()) / 1e6
print(f"{millions:.1f} million weights, {settings.steps} steps, {trained.seconds:.0f} s")

# %% [markdown]
# ## The shipped prior
#
# In the laptop profile this is the same shape, trained for longer and on more: the film, its mirror image, crops, and
# pieces run backwards. To a prior a few pixels to the side are other tokens, so these views keep it from learning few shots by heart.

# %%
# NBVAL_IGNORE_OUTPUT
show.card("prior-64")

# %%
# NBVAL_IGNORE_OUTPUT
everyone = {
    "uniform": torch.full(truth.shape, math.log2(codes)),
    "unigram": unigram,
    "copy": copied,
    "trained above": measure(trained.model, truth),
    "shipped": measure(shipped, truth),
}
print("validation      bits per token   perplexity   bits after the first latent frame")
for name, bits in everyone.items():
    mean, later = float(bits.mean()), float(bits[:, 1:].mean())
    print(f"{name:>14} {mean:12.2f} {2**mean:14.0f} {later:20.2f}")

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
by_frame = {}
for name, bits in everyone.items():
    if name != "uniform":
        by_frame[name] = list(enumerate(bits.mean((0, 2, 3)).tolist(), start=1))
figure = show.curves(by_frame, "bits by place", x="latent frame of the window", y="bits per token")
figure.axes[0].set_xticks(range(1, window + 1))
figure

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# BITS
#
# </details>
#
# What surprises the shipped prior lights up: black costs nothing, white as much as a uniform guess.

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
lit = measure(shipped, tokens[None])[0] / math.log2(codes) * 2 - 1  # (t, h, w)
for axis, times in enumerate(cache.tubelet):
    lit = lit.repeat_interleave(times, axis)
lit = lit[None, :, : clip.shape[2], : clip.shape[3]].clamp(-1, 1)
show.player({"a validation shot": clip, "surprise": lit}, fps=store.fps)

# %% [markdown]
# ## What trained heads attend to
#
# Input $k$ predicts token $k$. For all tokens of the last latent frame we take the attention to every input up to their own: how much of
# it goes to this latent frame, to the one before, and so on? Beside it is what ALiBi alone would give, with all scores zero.


# %%
# NBVAL_IGNORE_OUTPUT
@torch.no_grad()
def attended(prior, tokens, at):
    """Attention of the inputs at positions ``at``: (Q, layers, heads, t, h, w), for tokens (t, h, w)."""
    digits = prior.digits(tokens[None].to(device()))
    x, length = prior.inputs(digits, prior.contexts(digits), 0, digits.shape[1]), digits.shape[1]
    bias, found = alibi_bias(prior.slopes, length, length)[:, at], []  # (N, Q, L)
    for layer in prior.layers:
        q, k, _ = layer.qkv(layer.norm(x)).view(length, 3, layer.heads, -1).unbind(1)  # (L, N, D/N)
        scores = torch.einsum("ind,jnd->nij", q[at], k) / math.sqrt(q.shape[-1])
        found.append((scores + bias).softmax(-1))
        x = layer(x, prior.slopes)
    maps = torch.stack([bias.softmax(-1), *found])  # ALiBi alone first
    return maps.permute(2, 0, 1, 3).unflatten(-1, tokens.shape).cpu()


last_frame = torch.arange((len(tokens) - 1) * frame, len(tokens) * frame)
maps = attended(shipped, tokens, last_frame)  # (h w, 1 + layers, heads, t, h, w)

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
shares = maps.sum((-2, -1)).mean(0).flip(-1)  # (1 + layers, heads, t): 0, 1, ... back
figure, panels = plt.subplots(1, len(shares), figsize=(9.5, 2.6), sharey=True, layout="constrained")
names = ["ALiBi alone", *(f"layer {n}" for n in range(len(shares) - 1))]
for axes, rows, name in zip(panels, shares.tolist(), names):
    axes.imshow(rows, vmin=0, vmax=1, cmap="Greens", aspect="auto")
    for n, row_shares in enumerate(rows):
        for back, share in enumerate(row_shares):
            ink = "white" if share > 0.6 else "black"
            axes.text(back, n, f"{share:.0%}", ha="center", va="center", fontsize=7, color=ink)
    axes.set(title=name, xticks=range(len(tokens)), yticks=range(len(rows)))
    axes.grid(False)
panels[0].set_ylabel("head")
figure.supxlabel("latent frames back", fontsize=9)
plt.show()

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# HEADS
#
# </details>
#
# Now single tubelets: click one in the picture. Its attention to all inputs before it is painted over the frames, one row per
# head (square roots, so that faint ones show; above each picture its share). No kernel is needed.

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
queries = [(len(tokens) - 1, i, j) for i in (3, 8, 12) for j in (2, 6, 9, 13)]
chosen = maps[[i * w + j for _, i, j in queries], 1:]  # without ALiBi alone
middles = [min(n * span + span // 2, clip.shape[1] - 1) for n in range(len(tokens))]
interactive.attention_maps(
    chosen,
    clip[:, middles],
    queries,
    [f"head {n}, slope 1/{1 / slope:,.0f}" for n, slope in enumerate(shipped.slopes.tolist())],
    start=(5, shipped.config.depth - 1),
    title="what each head of the prior attends to",
)

# %% [markdown]
# ## Exercise
#
# The cell runs as it is and says what is missing.
#
# ### Find the leak (medium, 15 minutes)
# Write the perturbation test yourself. `function` takes floats (1, L, D) and gives (1, L, D). Return True if any output
# before position `k` moves when the input at `k` does, for any `k`.


# %%
def my_leak_test(function, x):
    return None


def check_leak_test(function):
    x = torch.randn(1, 9, 3, generator=torch.Generator().manual_seed(0))
    cases = {
        "a running sum, which is causal": (lambda x: x.cumsum(1), False),
        "the input itself, which is causal": (lambda x: x, False),
        "the mean of everything": (lambda x: x - x.mean(1, keepdim=True), True),
        "a model that peeks one step ahead": (lambda x: x + x.roll(-1, 1), True),
        "one whose last two mix": (lambda x: torch.cat([x[:, :-2], x[:, -1:], x[:, -1:]], 1), True),
        "one whose first two mix": (lambda x: torch.cat([x[:, 1:2], x[:, 1:]], 1), True),
    }
    for name, (model, leaks) in cases.items():
        kept = x.clone()
        made = function(model, x)
        if made is None:
            return "not yet: my_leak_test returns None"
        if not torch.equal(x, kept):
            return "it changes x itself: work on x.clone()"
        if bool(made) != leaks:
            hint = "do you try every k, the last one too?" if leaks else "an output at k or after it may move"
            return f"{name}: it says {bool(made)}, expected {leaks}: {hint}"
    return "right"


print(check_leak_test(my_leak_test))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_leak_test(function, x):
#     before = function(x)
#     for k in range(x.shape[1]):
#         changed = x.clone()
#         changed[:, k] += 1
#         moved = (function(changed) - before).abs().amax((0, 2)) > 1e-6
#         if moved[:k].any():
#             return True
#     return False
# ```
#
# </details>
#
# ## Summary
#
# - Causal attention is a weighted average of the past. Loops, `einsum`, blocks and every kernel give the same numbers.
# - FlashAttention is exact: a running maximum, a sum, and a rescale when the maximum rises. Memory no longer grows with $L^2$.
# - Whether a model reads the future is a matter of a test, not of the loss: change token $k$, nothing before it may move.
# - ALiBi takes slope times distance off a score. In a flattened video one latent frame back is $h \cdot w$ positions away, so
#   half of the heads count in latent frames. Learned positions end where training ended.
# - A layer is attention and an MLP, each added to what came in. The prior is inputs, layers, a last norm and a head.
# - Digits predicted one after another give every code an exact probability, at the price of a few outputs.
# - Before training: the first loss is that of the uniform guess, and one batch can be learnt by heart.
# - A prior is judged in bits per token on shots that it has not seen, beside uniform, unigram and copying.
#
# To generate, the model runs once per token; notebook 08 keeps the keys and values of the past, so that this is cheap.
#
# Next: [08 Generation](08_generation.ipynb) draws from these probabilities, and decodes what it draws.
#
# ## References
#
# - Vaswani et al., 2017, *Attention is all you need*, [arXiv:1706.03762](https://arxiv.org/abs/1706.03762).
# - Radford et al., 2019, *Language models are unsupervised multitask learners* (GPT-2): decoder only, norms first.
# - Milakov and Gimelshein, 2018, *Online normalizer calculation for softmax*,
#   [arXiv:1805.02867](https://arxiv.org/abs/1805.02867).
# - Press, Smith and Lewis, 2022, *Train short, test long: attention with linear biases enables input length
#   extrapolation* (ALiBi), [arXiv:2108.12409](https://arxiv.org/abs/2108.12409).
# - Dao, 2023, *FlashAttention-2*, [arXiv:2307.08691](https://arxiv.org/abs/2307.08691).
# - Yan et al., 2021, *VideoGPT*, [arXiv:2104.10157](https://arxiv.org/abs/2104.10157).
