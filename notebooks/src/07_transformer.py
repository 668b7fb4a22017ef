# %% [markdown]
# # 07 Transformer
#
# The film is now a stream of integers. Here a transformer learns how likely each integer is to come next. Such a model is called a
# *prior*. Notebook 08 samples new videos from its probabilities.
#
# **After this notebook you will be able to**
# - write causal attention with loops and with `einsum`, and compute it block by block, as FlashAttention does;
# - recognise the mistake that lets a model read the future, and test for it in a few lines;
# - say what ALiBi does, how far each head sees, and what happens on longer videos than those of training;
# - build a layer of the transformer by hand, and the whole prior of such layers;
# - predict a token digit by digit;
# - train a prior, judge it in bits per token beside baselines, and see what its heads attend to.
#
# **You need** notebook 06's idea (a film as a cache of integers) and a little PyTorch.
#
# **Study:** about 4 hours. **Computing:** about 7 minutes on a two-core laptop.
#
# **Before:** [06 Latent cache](06_latent_cache.ipynb). **Next:** [08 Generation](08_generation.ipynb).

# %%
import math
import time

from vg import checkpoints, evaluation, show
from vg.data import film, open_store, split_shots
from vg.experiments import batches, losses
from vg.latents import open_cache
from vg.models import FSQ, Prior, PriorConfig, attention
from vg.models.alibi import alibi_bias, alibi_slopes, two_scale_slopes
from vg.models.digits import DigitHead
from vg.profiles import device, profile
from vg.show import interactive
from vg.training import Recipe, fit

import matplotlib.pyplot as plt
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

show.style()


def tried(function, given, shapes, hint):
    """A step of a check: yields what is wrong (the first is printed), returns what was made."""
    before = str(given)
    try:
        made = function(*given)
    except Exception as error:
        blank = isinstance(error, NotImplementedError)
        yield str(error) if blank else f"it stops with {type(error).__name__}: {error}. {hint}"
    if str(given) != before:
        yield "it changes its inputs: make new tensors (x = x + ..., not x += ...)"
    made = made if isinstance(made, (tuple, list)) else [made]
    found = [tuple(getattr(part, "shape", [str(part)[:9]])) for part in made]
    if found != shapes:
        hint = "Is there a return?" if found == [("None",)] else hint
        yield f"it gives {found}, expected {len(shapes)} tensor(s), in this order: {shapes}. {hint}"
    return [part.float() for part in made]


# %%
settings = profile().settings(  # smoke, laptop, gpu
    film_frames=(480, None, None),  # None: all of them
    window=(2, 4, 4),  # latent frames
    lengths=((128, 256), (256, 512, 1024, 2048), (1024, 2048, 4096, 8192)),  # tokens
    toy_steps=(20, 300, 300),  # dice, and copying
    shape=((32, 1), (192, 4), (256, 6)),  # width and depth of the prior
    overfit_steps=(2, 100, 100),
    steps=(3, 200, 3000),
)

# %% [markdown]
# ## The tokens
#
# One integer stands for a *tubelet*: 8 frames of a small square, as two *patches* of 4 frames, one after the other. All
# tubelets of the same frames make a *latent frame*, a grid of $h \times w$ tokens. The cache holds every shot as such
# grids. A *window* is a stretch of latent frames within one shot. Whole shots are held out for validation.

# %%
# NBVAL_IGNORE_OUTPUT
store = open_store(film(), frames=settings.film_frames)
split = split_shots(store.shots)
train, val = split.train, split.held_out
tokenizer = checkpoints.load("tubelet-fsq-64", device=device())
cache = open_cache(store, tokenizer)
span, (h, w), levels = cache.tubelet[0], cache.grid, cache.levels
frame, codes, window = h * w, math.prod(levels), settings.window
windows = cache.windows(window, shots=train)
held = cache.windows(window, shots=val, views=[(0, False)])
truth = held.take(torch.arange(len(held)))  # (B, t, h, w): what everything is measured on
known = windows.take(torch.arange(0, len(windows), 7))  # where the baselines count
print(f"a latent frame: {span} frames, {h} x {w} tokens of {codes:,} codes")
print(f"a token: {len(levels)} digits, levels {levels}")
print(f"a window: {window} latent frames = {window * span} frames = {window * frame} tokens")
print(f"{len(windows)} training windows, {len(held)} for validation")

# %% [markdown]
# This is all that the transformer sees. A patch has two *base digits*, of 8 and 5 levels (FSQ, notebook 04), and four
# *details* of 5, which stay in the middle unless it is one of the busiest (notebook 05). A patch's first three digits are its colour
# below; neighbouring levels have similar ones.

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
first, last = max(val, key=lambda shot: shot[1] - shot[0])  # frames of the longest of them
clip = store.clip(first, first + min(window, (last - first) // span) * span)[0]  # (C, T, H, W)
tokens = tokenizer.encode(clip[None].to(device()))[0].cpu()  # (t, h, w), as in the cache
patches = tokenizer.patch_indices(tokens[None])[0]  # (2t, h, w)
token_colours = show.token_map(patches, clip, tokenizer.patch, tokenizer.patch_levels, 1.0)
show.player({"a validation shot": clip, "its tokens": token_colours}, fps=store.fps)

# %% [markdown]
# The stream is read in the order (t, h, w): frame by frame, row by row, left to right. The probability of a whole clip
# is the product of the probabilities of its tokens, each given those before it. We measure it in bits:
#
# $$-\log_2 p(x_1, \dots, x_L) = \sum_{i=1}^{L} -\log_2 p(x_i \mid x_1, \dots, x_{i-1}).$$
#
# Fewer is better. This is the *cross-entropy* in base 2, the usual loss of a language model.
#
# ### Why tokens, and not diffusion?
#
# Many large video models *denoise*: they refine a whole clip from noise in some dozens of steps, and an early error can be
# mended. Here a token, once sampled, stays. The price is as many steps as tokens, and an arbitrary order within a frame. What one
# gets is an exact probability for every clip, to compare models by, and videos of any length.
#
# ## Attention by hand
#
# A *query* $q_i$, a *key* $k_i$ and a *value* $v_i$ are three linear maps of the vector at position $i$. The scalar product of
# query and key is a *score*: how well they fit. It is divided by the root of the width $D$, so as not to grow with it.
# Position $i$ gets the average of the values, weighted by the softmax of the scores (exponentials, divided by their sum).
# *Causal* means that $j$ never lies after $i$. Several *heads* do this side by side, each with its own part of the width. First in loops:


# %%
def by_loops(q, k, v):
    """Causal attention, (L, N, D): positions, heads, width of a head."""
    L, N, D = q.shape
    out = torch.zeros_like(q)
    for n in range(N):
        for i in range(L):
            fits = [math.exp(float(q[i, n] @ k[j, n]) / math.sqrt(D)) for j in range(i + 1)]
            for j in range(i + 1):
                out[i, n] += fits[j] / sum(fits) * v[j, n]
    return out


generator = torch.Generator().manual_seed(0)
q, k, v = torch.randn(3, 1, 6, 4, 8, generator=generator).unbind(0)  # each (B, L, N, D)

# %% [markdown]
# The same with two `einsum`s: `b` batch, `i` the query's position, `j` the key's, `n` head, `d` width; an index missing on the right is summed
# over. A *bias* $b_{ij}$, zero for now, may be added to the scores:
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
    q, k, v = torch.randn(3, 2, 7, 4, 9, generator=torch.Generator().manual_seed(0)).unbind(0)
    m, shapes = alibi_slopes(4), [(2, 7, 4, 9), (2, 4, 7, 7)]
    bias = alibi_bias(m, 7, 7).nan_to_num(neginf=0.0)  # the mask is the function's work
    out, a = yield from tried(function, (q, k, v, bias), shapes, "Scores are (B, N, L, L)")
    yield from tried(function, (q, k, v), shapes, "bias may be a number, 0.0: just add it")
    right, swap = ((out - attention(*x, v, m, "reference")).norm() < 1e-4 for x in ((q, k), (k, q)))
    logs, past = a.nan_to_num().clamp(1e-37).log(), torch.ones(7, 6).tril(-1) > 0
    terms = torch.stack([torch.einsum("bind,bjnd->bnij", q, k), bias.expand_as(a), logs])
    terms = terms.diff()[..., past].flatten(1).T  # what keys differ by: score, bias, log weight
    x, y = torch.linalg.lstsq(terms[:, :2], terms[:, 2]).solution.tolist()
    faults = {
        "the second thing returned is the scores: return the softmax": (a < 0).any(),
        "0 * inf is nan: use masked_fill": a.isnan().all(),
        "softmax over j (the last axis), not over heads": a.isnan().any() > a.tril().isnan().any(),
        "a query is left without a key: mask where j > i, so triu(1)": a.isnan().any(),
        "a query sees its future: -inf where j > i, before the softmax": a.triu(1).any(),
        "weights do not add up to 1 over j: softmax after the mask": (a.sum(-1) - 1).norm() > 1e-4,
        "q and k are exchanged: i asks, j answers": swap,
        "out sums v over j, by weight": (out - torch.einsum("bnij,bjnd->bind", a, v)).norm() > 1e-4,
        f"scores are about {x:.3f} q . k + {y:.3f} bias, not 1/3 (1 / root of D) and 1": not right,
    }
    yield from (words for words, found in faults.items() if found)
    yield "right: as vg's attention"


print(next(check_causal_attention(causal_attention)))


# %%
by_hand, _ = causal_attention(q, k, v)
print("as the loops:", torch.allclose(by_hand[0], by_loops(q[0], k[0], v[0]), atol=1e-5))

# %% [markdown]
# ## A mistake that looks fine
#
# We keep a tensor as (B, **L, N**, D), positions before heads. PyTorch's kernel wants (B, **N, L**, D). So one transposes
# on the way in, and must transpose back on the way out. Forget that: the shape is right, nothing complains, the loss falls. But what
# stands at position $i$ of the result was computed at other positions, some of them later.


# %%
def right(q, k, v, back=True):
    """Causal attention by PyTorch's kernel, (B, L, N, D) -> (B, L, N * D)."""
    B, L, N, D = q.shape
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))  # (B, N, L, D)
    out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return (out.transpose(1, 2) if back else out).reshape(B, L, N * D)


def wrong(q, k, v):
    return right(q, k, v, back=False)  # the right shape, the wrong order


for way in (right, wrong):
    print(way.__name__, "as by hand:", torch.allclose(way(q, k, v), by_hand.flatten(2), atol=1e-5))

# %% [markdown]
# What does it do to training? Take a sequence that nobody can predict: throws of an eight-sided die. An honest model
# pays at least 3 bits per throw on average. A very small transformer is trained with each of the two functions.


# %%
# NBVAL_IGNORE_OUTPUT
def throw_dice(mix, steps):
    """Train one layer of attention on dice: it gives logits (B, L, 8) for the next throws."""
    torch.manual_seed(0)
    parts = nn.ModuleList([nn.Embedding(8, 64), nn.Embedding(16, 64)])
    parts += [nn.Linear(64, 192), nn.Linear(64, 8)]
    token, place, qkv, head = parts

    def model(throws):
        x = token(throws) + place.weight  # (B, L, 64)
        q, k, v = qkv(x).unflatten(-1, (3, 4, 16)).unbind(2)  # each (B, L, 4 heads, 16)
        return head(x + mix(q, k, v))

    optimizer, bits = torch.optim.Adam(parts.parameters(), lr=3e-3), []
    for _ in range(steps):
        throws = torch.randint(8, (32, 17))
        nats = F.cross_entropy(model(throws[:, :-1]).flatten(0, 1), throws[:, 1:].flatten())
        optimizer.zero_grad()
        nats.backward()
        optimizer.step()
        bits.append(float(nats.detach()) / math.log(2))
    return model, bits


honest, honest_bits = throw_dice(right, settings.toy_steps)
cheat, cheat_bits = throw_dice(wrong, settings.toy_steps)
curves = {"right": honest_bits, "wrong": cheat_bits}
show.curves(curves, "predicting dice", y="bits per throw", baselines={"3 bits": 3.0})

# %% [markdown]
# The wrong one falls to about half of 3 bits: it foresees dice. On real data there is no such line, and a loss that is too good
# looks like a good loss. So one tests: **change token $k$, and see whether anything before it moves.**


# %%
@torch.no_grad()
def leaks(function, x, change, own=0):
    """Whether an output i < k + own moves with token k, for any k."""
    before = function(x)
    for k in range(x.shape[1]):
        changed = x.clone()
        changed[:, k] = change(x[:, k])
        moved = (function(changed) - before).abs().flatten(2).amax((0, 2)) > 1e-6  # (L,)
        if moved[: k + own].any():
            return True
    return False


dice = torch.randint(8, (2, 16), generator=torch.Generator().manual_seed(1))
for name, model in {"right": honest, "wrong": cheat}.items():
    print(name, "leaks:", leaks(model, dice, lambda throw: (throw + 1) % 8))

# %% [markdown]
# ## ALiBi by hand
#
# Attention as it stands does not know the order of what it sees: shuffle the past and the average is the same. One remedy is to
# learn a vector for every position and add it to the input; then position 1,025 has none if training ended at 1,024. In *ALiBi*
# (attention with linear biases), the farther back a key, the more is taken off its score. Head $n$ of $N$, counted from 0, has a
# slope $m_n$ that is not learnt:
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
    for N in (8, 4):
        m, hint = alibi_slopes(N), "slopes[:, None, None] is (N, 1, 1)"
        slopes, bias = yield from tried(function, (N, 5), [(N,), (N, 5, 5)], hint)
        want, past = alibi_bias(m, 5, 5), torch.ones(N, 5, 5).tril() > 0
        faults = {
            f"slope 0: {slopes[0]:.3f}, not 2^(-8 (0 + 1) / {N})": not torch.allclose(slopes, m),
            "0 * inf is nan: use masked_fill": bias.isnan().any(),
            "a query must see itself: mask j > i, not j >= i": bias[0, 0, 0] == -math.inf,
            "rows and columns are exchanged: i asks, j answers": torch.allclose(bias, want.mT),
            "a query sees its future: -math.inf where j > i": (bias[~past] > -math.inf).any(),
            "a far key gains: the bias is minus slope times distance": (bias[past] > 0).any(),
            f"3 back, head 0: {bias[0, 3, 0]:.2f}, not -{m[0]} * 3": not torch.allclose(bias, want),
        }
        yield from (words for words, found in faults.items() if found)
    yield "right: slopes and bias are vg's"


print(next(check_alibi(alibi)))


# %% [markdown]
# `vg.models.attention` takes slopes and has several *backends*: `reference` is the `einsum` above, the others are faster
# kernels.
#
# ## FlashAttention by hand: the online softmax
#
# The weights are $L \times L$ numbers for each head. On a GPU, writing them to memory and reading them back takes longer than
# computing them. FlashAttention never writes them. It reads the keys in blocks, and keeps three things: the largest score $m$ so far,
# the sum $s$ of the exponentials, and the weighted sum $o$ of the values. If a new block with scores $x_j$ holds a larger score, what
# was summed with the old maximum is *rescaled*:
#
# $$m' = \max(m, \max_j x_j), \quad s' = s\, e^{m - m'} + \sum_j e^{x_j - m'}, \quad o' = o\, e^{m - m'} + \sum_j e^{x_j - m'} v_j.$$
#
# After the last block, $o / s$ is softmax attention. It is exact.

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
    """Maximum, sum (..., I, 1) and weighted sum (..., I, D), with one more block of keys."""
    ### BEGIN SOLUTION
    new = torch.maximum(top, scores.amax(-1, keepdim=True))
    shrink, weights = (top - new).exp(), (scores - new).exp()
    total = total * shrink + weights.sum(-1, keepdim=True)
    return new, total, out * shrink + weights @ values
    ### END SOLUTION


# %% tags=["grader"]
def check_absorb(function):
    scores, values = (3 * torch.arange(792.0).sin()).view(3, 24, 11).split([5, 6], 2)
    state = torch.full((3, 5, 1), -math.inf), torch.zeros(3, 5, 1), torch.zeros(3, 5, 6)
    hint = "torch.maximum compares; amax(-1, keepdim=True) is the maximum and keeps the last axis"
    faults = (
        "top is not the largest score so far: the old top, or the block's if larger",
        "total is not sum e^(scores - new) + e^(top - new) * the old one; no softmax, no mean",
        "out is not weights @ values + e^(top - new) * the old one; divide nothing",
    )
    for stop in (8, 16, 24):
        given = *state, scores[:, stop - 8 : stop].mT, values[:, stop - 8 : stop]
        state = yield from tried(function, given, [(3, 5, 1), (3, 5, 1), (3, 5, 6)], hint)
        seen = scores[:, :stop].mT
        e = (seen - state[0]).exp()
        rights = seen.amax(-1, keepdim=True), e.sum(-1, keepdim=True), e @ values[:, :stop]
        for words, made, right in zip(faults, state, rights):
            if not torch.allclose(made, right, rtol=1e-4, atol=1e-4):
                yield f"after block {stop // 8} of 3: {words}"
    yield "right: softmax attention, without ever holding all weights"


print(next(check_absorb(absorb)))


# %% [markdown]
# Around it go two loops, over blocks of queries and blocks of keys. Blocks that lie wholly in the future are skipped.


# %%
def flash(q, k, v, slopes, block=128):
    """Causal attention with ALiBi, (B, L, N, D): at most block x block weights a head."""
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
slopes_4, _ = alibi(4, 300)
exact = attention(*row, slopes_4, "reference")
print("exact:", torch.allclose(flash(*row, slopes_4), exact, atol=1e-5))

# %% [markdown]
# What does it save, as the stream grows? Memory is the largest tensor that any operation makes.


# %%
# NBVAL_IGNORE_OUTPUT
class Largest(TorchDispatchMode):
    """Bytes of the largest tensor that an operation has made."""

    most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        self.most = max(self.most, getattr(made, "nbytes", 0))
        return made


def cost(function, length):
    """Seconds and MiB of one call."""
    x = torch.randn(1, length, 4, 32)
    with Largest() as watched:
        function(x, x, x, slopes_4)
    begin = time.perf_counter()
    function(x, x, x, slopes_4)
    return time.perf_counter() - begin, watched.most / 2**20


ways = {"all weights": lambda *x: attention(*x, "reference"), "blocks, by hand": flash}
costs = {name: [cost(way, length) for length in settings.lengths] for name, way in ways.items()}

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
figure, panels = plt.subplots(1, 2, figsize=(8.5, 3.2))
for axes, what, n in zip(panels, ("seconds", "largest tensor, MiB"), range(2)):
    for name, pairs in costs.items():
        axes.loglog(settings.lengths, [pair[n] for pair in pairs], marker="o", label=name)
    axes.set(xlabel="tokens L", ylabel=what, xticks=settings.lengths)
    axes.minorticks_off()
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:,g}")
panels[1].legend()
plt.show()

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# Eight times the length takes more than 64 times (its square) as long where all weights are held, and less in blocks. Blocks are
# faster from 1,024 tokens on: they skip the future, and what they hold probably fits into the processor's cache. The memory of
# all weights grows with the square, that of the blocks with $L$ at most.
#
# </details>
#
# ## Two scales
#
# The stream is flattened, so **the same place one latent frame back lies $h \cdot w$ positions away.** Which heads can see that far? Say
# that a head sees as far as its bias is above $-3$, where a key counts a twentieth of what it would count next door.
#
# `two_scale_slopes` gives half of the heads the plain slopes of $N / 2$ heads, and the other half the same slopes divided by
# $h \cdot w$: a latent frame is to them what a token is to the others. The prior multiplies the latter by four: they fade faster.

# %%
# NBVAL_IGNORE_OUTPUT
families = {"plain": slopes_4, "two scales": two_scale_slopes(4, frame, multiplier=4.0)}
heads = {f"{name}, head {n}": float(f[n]) for name, f in families.items() for n in range(4)}
print(f"{'slope':>27}   sees up to (latent frames)   weight left 1 and {window} latent frames back")
for name, slope in heads.items():
    near, far = (math.exp(-slope * frame * back) for back in (1, window))
    print(f"{name:>18} {slope:8.5f} {3 / slope / frame:16.2f} {near:26.1%} {far:8.1%}")

# %% [markdown]
# Of the plain slopes only that of head 3 sees one latent frame back. Of the two scales all but that of head 0 do, and to the flattest
# the whole window is near. (Curves of equal slope lie on each other.) Drag a slope, or take that of a head,
# and see what it leaves of the stream: along the distance, and in the grids of tokens for one query (blue; grey is the future).

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
interactive.slopes(heads, (h, w), span=4, start="two scales, head 2")

# %% [markdown]
# ## A task where positions must matter
#
# On film the last latent frame is worth more than all that is older, so ways to know positions hardly differ. Here is a task that
# turns on them. A picture of $2 \times 2$ tokens appears, is hidden for five latent frames, and comes back. All eight codes are equally
# likely, so a guess costs 3 bits, and copying from **six latent frames back** costs 0. We train on eight latent frames and test on 8,
# 16 and 32; what is older than the picture is empty. Three small priors:
#
# - *two scales*, as above;
# - *plain, large grid*: slopes 64 times steeper, so that a latent frame of 4 tokens fades as one of 256;
# - *learned positions*: a vector for each position; those beyond eight latent frames exist and are never trained.


# %%
# NBVAL_IGNORE_OUTPUT
def hidden_film(count, length, generator):
    """Tokens (count, length, 2, 2): a picture, five latent frames of nothing, the same picture."""
    made = torch.zeros(count, length, 2, 2, dtype=torch.long)
    made[:, -7] = made[:, -1] = torch.randint(1, 9, (count, 2, 2), generator=generator)
    return made


def picture_bits(prior, films):
    return prior.nll_bits(films)[:, -1].mean()


def remember(name, steeper=1, **positions):
    """Train a small prior on eight latent frames: bits per token of the picture, by length."""
    torch.manual_seed(0)
    shape = {"levels": (3, 3), "grid": (2, 2), "width": 64, "depth": 2, "context": 0}
    model = Prior(PriorConfig(**shape, **positions))
    model.slopes = model.slopes * steeper
    recipe = Recipe(settings.toy_steps, lr=3e-3, warmup=90, ema=0.0)
    fit(model, picture_bits, lambda generator: hidden_film(32, 8, generator), recipe)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        tests = [picture_bits(model, hidden_film(64, n, generator)) for n in (8, 16, 32)]
    print(f"{name:>18}: " + "".join(f"{bits:8.2f}" for bits in tests))


print("bits per token of the picture that comes back, in films of 8, 16 and 32 latent frames")
remember("two scales")
remember("plain, large grid", steeper=256 / 4, positions="plain")
remember("learned positions", positions="learned", longest=32)

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# Two scales find the picture at every length: the empty past beyond the length of training does hardly any harm. Learned
# positions find it only at the length of training: at positions never trained they do worse than a guess. Slopes as steep as
# plain ALiBi has in a large grid hardly reach six latent frames back, and pay little less than a guess.
#
# </details>
#
# ## A layer
#
# Only in attention do positions exchange anything. The MLP works on each position alone: it widens to four times the width, applies
# GELU, and narrows. A *layer* does both, one after the other, and adds each result to what came in (a *residual* connection). *Norm*
# brings every position to mean 0 and variance 1 before each part, as in GPT-2.
#
# ```
# x (B, L, D)
# |--> norm --> qkv (B, L, 3, N, D/N) --> attention (B, L, N, D/N) --> out (B, L, D) --+
# +<-----------------------------------------------------------------------------------+  added
# |--> norm --> (B, L, 4D) --> GELU --> (B, L, D) --+
# +<------------------------------------------------+  added
# x (B, L, D)
# ```
#
# The weights are the shipped prior's. It is for clips of any shape ([notebook 09](09_one_model_many_tasks.ipynb)); `.at((h, w))` sets it
# to squares.


# %%
def layer_by_hand(x, layer, slopes):
    """(B, L, D) -> (B, L, D), with the weights of a layer of vg."""
    parts = layer.qkv(layer.norm(x)).unflatten(-1, (3, layer.heads, -1)).unbind(2)
    seen, _ = causal_attention(*parts, alibi_bias(slopes, x.shape[1], x.shape[1]))
    x = x + layer.out(seen.flatten(2))
    norm, widen, bend, narrow = layer.mlp
    return x + narrow(bend(widen(norm(x))))


shipped = checkpoints.load("prior-64").at((h, w))
one_layer, states = shipped.layers[0], torch.randn(2, 10, shipped.config.width)
ours, theirs = layer_by_hand(states, one_layer, shipped.slopes), one_layer(states, shipped.slopes)
print("by hand as vg's:", torch.allclose(ours, theirs, atol=1e-4))

# %% [markdown]
# ## Tokens and digits
#
# **Reading.** A token is embedded as the sum of one vector per digit, looked up by its level. So the tables have
# $2\,(8 + 5 \cdot 5)$ rows here, not $(8 \cdot 5^5)^2$. Nothing tells the model that level 3 lies between 2 and 4; if that matters,
# training has to find it. Did it? Below is the cosine between the vectors of every two levels, in the shipped prior's tables for the
# token one latent frame back, each table's mean taken off: a row for each patch.

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
figure, panels = plt.subplots(2, len(levels) // 2, figsize=(9.5, 3.6), layout="constrained")
for i, (axes, table) in enumerate(zip(panels.flat, shipped.before.tables)):
    rows = F.normalize((table.weight - table.weight.mean(0)).detach().cpu(), dim=-1)
    drawn = axes.imshow(rows @ rows.T, vmin=-1, vmax=1, cmap="RdBu_r")
    axes.set(title=f"digit {i}", xticks=range(levels[i]), yticks=range(levels[i]))
    axes.grid(False)
figure.supxlabel("level", fontsize=9)
figure.supylabel("level", fontsize=9)
figure.colorbar(drawn, ax=panels, label="cosine")
plt.show()

# %% [markdown]
# <details><summary>Is a digit a scale? What the stored run shows</summary>
#
# Mostly. Neighbouring levels have the most similar vectors (warm beside the diagonal), those of levels farther apart point apart. So
# training has found the order of the levels. They do not lie on a straight line: the two ends are not the most opposed. Where
# there are five levels, the middle one stands rather alone, with a cosine of about 0 to its neighbours, in base digits and details alike.
#
# </details>
#
# **Writing.** Digits are predicted one after another, each from the hidden state $s$ (the last layer's vector at a place) and the
# digits before it. This is the chain rule,
#
# $$p(d_0, \dots, d_{n-1} \mid s) = \prod_{i=0}^{n-1} p(d_i \mid s, d_0, \dots, d_{i-1}).$$
#
# It is exact. In `DigitHead`, `head.logits[i]` maps states `(B, D)` to the logits of digit `i`; then the embedding of the true digit,
# `head.known.tables[i](digit)`, is added to the state and stays there: digit 2 is predicted from $s$ plus both embeddings.

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
@torch.no_grad()
def check_digit_bits(function):
    head, s = DigitHead((4, 3, 3), d=16), torch.arange(16.0).sin().repeat(36, 1)
    nn.utils.vector_to_parameters(torch.arange(9999.0).square().sin(), head.parameters())
    digits, hint = FSQ((4, 3, 3)).digits(torch.arange(36)), "the last digit has no table"
    (made,) = yield from tried(function, (head, s, digits), [(36,)], f"One number a token; {hint}")
    a, b = (table(digits[:, i]) for i, table in enumerate(head.known.tables))

    def nats(*states, of=lambda logits: logits):
        pairs = zip(head.logits, states, digits.unbind(1))
        return sum(F.cross_entropy(of(f(x)), d, reduction="none") for f, x, d in pairs)

    bit = 1 / math.log(2)
    chains = {
        "": head.nll_bits(s, digits) * math.log(2),
        "each digit is predicted alone: add the digits before it to the state": nats(s, s, s),
        "digit 2 does not see digit 0: add to the sum, not to s": nats(s, s + a, s + b),
        "the embedding replaces the state: add it": nats(s, a, b),
        "only digit 0 is counted: return after the loop": nats(s),
        "the last digit is not counted: it is predicted, too": nats(s, s + a),
        "cross_entropy takes logits: no softmax": nats(s, s + a, s + a + b, of=nn.Softmax(-1)),
    }
    units = {"": bit, "these are nats: divide by ln 2": 1, "divide by ln 2, once": 1 / bit}
    units |= {"this is the mean over digits: add them up": bit / 3, "bits are positive": -bit}
    for (words, chain), (unit, factor) in ((c, u) for c in chains.items() for u in units.items()):
        if torch.allclose(made, chain * factor, atol=1e-3):
            yield "; ".join(filter(None, (words, unit))) or "right: as vg's head, in bits"
    yield "other bits: predict digit i from s, then add tables[i] of digit i to s, where it stays"


print(next(check_digit_bits(digit_bits)))


# %% [markdown]
# Would it do to predict all digits at once, each on its own? What counts is how much they tell about each other *given the
# hidden state*. The shipped prior can say: sample the earlier digits many times, and average. That gives each digit alone,
#
# $$p(d_i \mid s) = \mathbb{E}_{d_0, \dots, d_{i-1} \sim p(\cdot \mid s)} \left[ p(d_i \mid s, d_0, \dots, d_{i-1}) \right],$$
#
# the best that independent digits could do with the same state. The expected number of bits is the *entropy*: for a digit
# in the chain the average entropy over the samples, for a digit alone the entropy of the averaged probabilities.


# %%
# NBVAL_IGNORE_OUTPUT
def entropy(p):
    """Bits that are expected of a digit with these probabilities: (..., levels) -> (...)."""
    return torch.special.entr(p).sum(-1) / math.log(2)


samples, chain, alone = 256, [], []  # samples of each state
torch.manual_seed(0)
with torch.no_grad():
    s = shipped.hidden(shipped.digits(truth[:1]))[0, frame::7]  # (S, D), not of latent frame 0
    s = s.repeat_interleave(samples, dim=0)
    for i, logits in enumerate(shipped.head.logits):
        p = logits(s).softmax(-1)  # (S * samples, levels[i])
        chain.append(float(entropy(p).mean()))
        alone.append(float(entropy(p.unflatten(0, (-1, samples)).mean(1)).mean()))
        if i + 1 < len(levels):
            s = s + shipped.head.known.tables[i](p.multinomial(1)[:, 0])
print("bits of digit " + "".join(f"{i:6}" for i in range(len(levels))) + "     all")
for name, bits in {"in the chain": chain, "alone": alone}.items():
    print(f"{name:>13} " + "".join(f"{x:6.2f}" for x in bits) + f"{sum(bits):8.2f}")

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# No: a token would cost about eight bits in place of seven. In the chain the details gain, since a patch uses all four or none: the
# first tell about the others. The second patch gains in all digits, since the first tells about it.
#
# </details>
#
# ## The whole prior
#
# Backgrounds stand still, so the token at the same place one latent frame back tells much. Attention could learn to look
# exactly $h \cdot w$ back. The prior gets that token at the input instead. Input $k$, which predicts token $k$, is a sum:
#
# ```
# tokens (B, t, h, w) --> digits (B, L, n), L = t h w
#   token before, above, above right            3 x DigitEmbedding  (B, L, D) --+
#   place in the grid                           a vector for each   (h w, D)  --+
#   label of the scene, if there is one                             (B, 1, D) --+--> inputs (B, L, D)
#   context: digits --> embedding --> convolutions over latent frames           |        |
#            --> norm --> moved on by one latent frame              (B, L, D) --+   layers (B, L, D)
#                                                                                        |
#                                              bits (B, t, h, w) <-- DigitHead <-- norm (B, L, D)
# ```
#
# The *context* says what stood at this place, and around it, one latent frame ago and earlier. Within a latent frame it sees
# ahead. It may, since it is handed to the *next* latent frame, when all that it has seen is known. Its size grows in training; without
# the norm it would drown the tokens of the same latent frame in the sum.
#
# The whole must be causal, and more (`own=1`): state $k$ predicts token $k$, so it must not know that token either.

# %%
torch.manual_seed(0)
toy_prior = Prior(PriorConfig(levels=(5, 4, 3), grid=(3, 4), width=32, depth=2)).eval()
toy = torch.randint(60, (2, 4, 3, 4), generator=torch.Generator().manual_seed(1))
digits = toy_prior.digits(toy)  # (2, 48, 3)
print("the context sees ahead:", leaks(toy_prior.contexts, digits, lambda d: (d + 1) % 3))
print("state k sees token k:", leaks(toy_prior.hidden, digits, lambda d: (d + 1) % 3, own=1))
with torch.no_grad():
    x = toy_prior.inputs(digits, toy_prior.contexts(digits), 0, digits.shape[1])
    for layer in toy_prior.layers:
        x = layer_by_hand(x, layer, toy_prior.slopes)
    ours = digit_bits(toy_prior.head, toy_prior.norm(x).flatten(0, 1), digits.flatten(0, 1))
    theirs = toy_prior.nll_bits(toy).flatten()
print("the whole prior by hand as vg's:", torch.allclose(ours, theirs, atol=1e-4))

# %% [markdown]
# ## What it costs to know nothing
#
# Three baselines: all digits in use equally likely, the raw bits of notebook 05 (*uniform*); codes as often as they occur in the
# training shots (*unigram*); and *copy*: the patch at the same place 4 frames back, as often as in the training shots; otherwise
# as unigram. Tokens have too many codes to count, so the last two count codes of patches, and a token costs what its two patches cost.
#
# The *perplexity* $2^{\text{bits}}$ is the number of equally likely codes that would be as hard to guess. Neither bits nor
# perplexity can be compared between tokenizers: others make tokens that are easier or harder to guess.


# %%
# NBVAL_IGNORE_OUTPUT
@torch.no_grad()
def measure(prior, indices):
    """Bits of each token: (B, t, h, w), on the CPU."""
    return torch.cat([prior.nll_bits(x.to(prior.start.device)).cpu() for x in indices.split(4)])


def by_patch(baseline):
    """A baseline that counts codes of patches: its bits of each token (B, t, h, w)."""
    counted, judged = (tokenizer.patch_indices(x) for x in (known, truth))  # (B, 2t, h, w)
    found = baseline(counted, judged, math.prod(tokenizer.patch_levels))
    return found.unflatten(1, (window, -1)).sum(2)


raw = tokenizer.raw_bits((span, 64, 64)) / frame
baselines = {
    "uniform": torch.full(truth.shape, raw),
    "unigram": by_patch(evaluation.unigram_bits),
    "copy": by_patch(evaluation.copy_bits),
}
floor = {name: float(bits.mean()) for name, bits in baselines.items()}
print(*(f"{name} {bits:.2f}" for name, bits in floor.items()), "bits per token", sep=", ")

# %% [markdown]
# ## Before training: two checks
#
# **What should the first loss be?** A new prior knows nothing, not even that most patches have no details, so it should pay
# what all codes equally likely cost. If it pays much more, look at the initialisation; if less, look for a leak.
#
# **Can it overfit one batch?** A model that cannot learn one window by heart has a mistake in it. The bits should fall far below
# every baseline. (The jump after step 20 comes where the warm-up ends: there the rate is highest.)


# %%
# NBVAL_IGNORE_OUTPUT
def new_prior():
    torch.manual_seed(0)
    shape = {"width": settings.shape[0], "depth": settings.shape[1], "num_labels": len(cache.shots)}
    return Prior(PriorConfig(levels=levels, grid=(h, w), **shape)).to(device())


one_window = windows.take(torch.arange(1))  # (1, t, h, w)
recipe = Recipe(settings.overfit_steps, lr=2e-3, warmup=20, ema=0.0)
overfit = fit(new_prior(), lambda prior, x: prior.nll_bits(x).mean(), lambda _: one_window, recipe)
bits = overfit.history["loss"]
print(f"first loss {bits[0][1]:.2f} bits per token, all codes alike {math.log2(codes):.2f}")
show.curves({"one window": bits}, "overfit one window", y="bits per token", baselines=floor)

# %% [markdown]
# ## Training
#
# `prior_batches` samples windows, `prior_loss` gives bits per token, `fit` is the loop of all notebooks. Two details:
#
# - In each window a share of the tokens that the model *sees* (not of those that it has to predict) is replaced by others,
#   since it will read its own mistakes when it generates.
# - In half of the windows the label of the scene is left out. So the prior works with the label and without.
#
# The validation bits are measured with nothing replaced, no label, and averaged weights.

# %%
# NBVAL_IGNORE_OUTPUT
recipe = Recipe(settings.steps, lr=1e-3, muon=1.5e-2, warmup=20, betas=(0.9, 0.95), ema=0.97)
trained = fit(
    new_prior(),
    losses.prior_loss(),
    batches.prior_batches(windows, batch=4),
    recipe,
    evaluate=lambda model: {"validation": float(measure(model, truth[::5]).mean())},
    every=max(1, settings.steps // 4),
    plot=show.LivePlot("a prior learns", y="bits per token", baselines=floor),
)
millions = sum(p.numel() for p in trained.model.parameters()) / 1e6
print(f"{millions:.1f} million weights, {settings.steps} steps, {trained.seconds:.0f} s")

# %% [markdown]
# ## The shipped prior
#
# It has the same width and depth (in the laptop profile). It was trained for longer and on more: the film, its mirror image, crops of
# several shapes, and pieces run backwards. A shift by a few pixels gives other tokens, so it is harder to learn few shots by heart.
# The card's bits are for the film's own shape and longer windows, on some of the held-out shots only (the test shots).

# %%
# NBVAL_IGNORE_OUTPUT
show.card("prior-64")

# %%
# NBVAL_IGNORE_OUTPUT
everyone = baselines | {"trained above": measure(trained.model, truth)}
everyone["shipped"] = measure(shipped, truth)
print("validation    bits per token   perplexity   first latent frame   later ones")
for name, bits in everyone.items():
    mean, start, later = (float(x.mean()) for x in (bits, bits[:, 0], bits[:, 1:]))
    print(f"{name:>13} {mean:13.2f} {2**mean:12.0f} {start:18.2f} {later:14.2f}")

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# Both priors are well below copying, the one trained above after a few minutes; the much longer training of the shipped one is worth
# about another bit and a half. A token of the first latent frame costs most: only its second patch has one to copy. There the prior trained
# above is little better than copying, and the longer training brings most.
#
# </details>

# %% [markdown]
# ## What trained heads attend to
#
# Our `causal_attention` gives the weights as well, so it can say what the layers of the shipped prior attend to. For all tokens of
# the last latent frame: how much of their attention goes to this latent frame, to the one before, and so on? Beside it is what ALiBi
# alone would give, with all scores zero.


# %%
# NBVAL_IGNORE_OUTPUT
@torch.no_grad()
def attended(prior, tokens):
    """What the last latent frame attends to: ALiBi, then layers, (h w, 1 + layers, N, t, h, w)."""
    digits = prior.digits(tokens[None])  # (1, L, n)
    x, L = prior.inputs(digits, prior.contexts(digits), 0, digits.shape[1]), digits.shape[1]
    bias = alibi_bias(prior.slopes, L, L)
    found = [bias.softmax(-1)]
    for layer in prior.layers:
        parts = layer.qkv(layer.norm(x)).unflatten(-1, (3, layer.heads, -1)).unbind(2)
        found.append(causal_attention(*parts, bias)[1][0])  # (N, L, L)
        x = layer(x, prior.slopes)
    rows = torch.stack(found)[:, :, -frame:]
    return rows.permute(2, 0, 1, 3).unflatten(-1, tokens.shape)


maps = attended(shipped, tokens)

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
shares = maps.sum((-2, -1)).mean(0).flip(-1)  # (1 + layers, heads, t): 0, 1, ... back
figure, panels = plt.subplots(1, len(shares), figsize=(9.5, 2.6), sharey=True)
for n, (axes, rows) in enumerate(zip(panels, shares)):
    axes.imshow(rows, vmin=0, vmax=2, cmap="Greens", aspect="auto")
    for head, back in rows.isfinite().nonzero().tolist():
        axes.text(back, head, f"{rows[head, back]:.0%}", ha="center", va="center", fontsize=7)
    axes.set(title=f"layer {n - 1}" if n else "ALiBi alone", xticks=range(rows.shape[1]))
    axes.grid(False)
panels[0].set(ylabel="head", yticks=range(shares.shape[1]))
figure.supxlabel("latent frames back", fontsize=9)
plt.show()

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# ALiBi alone would spread the attention of all but the steepest head. In layer 0 the other three still spread it, but less to the
# first latent frame of the window. In layers 1 and 2 all concentrate it: in layer 1, head 1 looks mostly one latent frame back and
# head 3 two back; in layer 2, three heads look mostly at the token's own latent frame. Heads 2 and 3 of layer 3 spread it again. The maps
# below show that in layer 1, and in heads 0 and 2 of layer 2, each token attends to few places, and that many tokens share them (in layer
# 2, head 2, nearly all the same one); heads 1 and 3 of layer 2 spread over some dozens. Heads that look back hardly look at the query's own place, perhaps because the context has brought that.
#
# </details>
#
# Now single tubelets: click one in the picture. Its attention is painted over the frames, one row per head (square roots, so that
# faint ones show; above each picture its share).

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
queries = [(len(tokens) - 1, i, j) for i in (3, 8, 12) for j in (2, 6, 9, 13)]
middles = [min(n * span + span // 2, clip.shape[1] - 1) for n in range(len(tokens))]
interactive.attention_maps(
    maps[[i * w + j for _, i, j in queries], 1:],  # without ALiBi alone
    clip[:, middles],
    queries,
    [f"head {n}, slope 1/{1 / slope:,.0f}" for n, slope in enumerate(shipped.slopes.tolist())],
    start=(5, shipped.config.depth - 1),
)

# %% [markdown]
# ## Exercise
#
# **The gradient shows a leak too** (medium, 15 minutes). A function takes `x` of shape $(1, L, D)$
# and returns that shape. On which positions of `x` does position $i$ of the result depend? Write `seen(function, x)`. It returns a
# matrix $(L, L)$, True where output $i$ has a gradient with respect to input $j$. Try it with
# `lambda x: one_layer(x, shipped.slopes)` and with a function that peeks, `lambda x: x + x.roll(-1, 1)`.
#
# <details><summary>Solution</summary>
#
# ```python
# def seen(function, x):
#     x = x.clone().requires_grad_()
#     out = function(x)  # (1, L, D)
#     rows = [torch.autograd.grad(out[:, i].sum(), x, retain_graph=True)[0] for i in range(x.shape[1])]
#     return torch.stack([row[0].abs().sum(-1) > 0 for row in rows])
#
# x = torch.randn(1, 10, shipped.config.width)
# print(seen(lambda x: one_layer(x, shipped.slopes), x).triu(1).any())  # False: causal
# print(seen(lambda x: x + x.roll(-1, 1), x).triu(1).any())  # True: it peeks
# ```
#
# </details>
#
# ## Summary
#
# - Causal attention is a weighted average of the past. FlashAttention computes it in blocks: exact, and memory does not grow with $L^2$.
# - A test, not the loss, shows whether a model reads the future: change token $k$, nothing before it may move.
# - ALiBi takes slope times distance off a score. Half of the heads count the distance in latent frames.
# - A layer is attention and an MLP, each added to what came in.
# - Digits predicted one after another give every code an exact probability, with a few outputs.
# - A prior is judged in bits per token on shots that it has not seen, beside uniform, unigram and copying.
#
# Next: [08 Generation](08_generation.ipynb) samples from these probabilities.
#
# ## References
#
# - Vaswani et al., 2017, *Attention is all you need*, [arXiv:1706.03762](https://arxiv.org/abs/1706.03762).
# - Radford et al., 2019, *Language models are unsupervised multitask learners* (GPT-2).
# - Milakov and Gimelshein, 2018, *Online normalizer calculation for softmax*,
#   [arXiv:1805.02867](https://arxiv.org/abs/1805.02867).
# - Press, Smith and Lewis, 2022, *Train short, test long: attention with linear biases enables input length
#   extrapolation* (ALiBi), [arXiv:2108.12409](https://arxiv.org/abs/2108.12409).
# - Dao et al., 2022, *FlashAttention: fast and memory-efficient exact attention with IO-awareness*,
#   [arXiv:2205.14135](https://arxiv.org/abs/2205.14135).
# - Dao, 2023, *FlashAttention-2*, [arXiv:2307.08691](https://arxiv.org/abs/2307.08691).
# - Yan et al., 2021, *VideoGPT*, [arXiv:2104.10157](https://arxiv.org/abs/2104.10157).
