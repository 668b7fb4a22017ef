# %% [markdown]
# # 07 Transformer
#
# The film is now a stream of integers. Here a transformer learns to say, for every place in that stream, how likely each
# integer is to come next. Whoever can say that can also draw from it, and that is the next notebook. Such a model is called a
# *prior*: it knows how likely tokens are before it has seen them.
#
# **After this notebook you will be able to**
# - write causal attention with loops, with `einsum`, and call the fast kernels, with the same numbers;
# - recognise the mistake that lets a model read the future, and test for it in three lines;
# - say what ALiBi does, what each head can see, and what a second scale is for in a flattened video;
# - build a layer of the transformer by hand, and stack such layers into the whole prior;
# - predict a token digit by digit, so that no table has to hold every code;
# - train a prior on cached tokens and judge it in bits a token, beside baselines that cost nothing;
# - say how a model behaves on longer windows than it was trained on, and how you know.
#
# **You need** notebook 06's idea (a film as a cache of integers) and a little PyTorch. The shipped tokenizer is used.
#
# **Minutes:** about 12 on a two-core laptop, most of them training; about 3 with a GPU.
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

from vg import checkpoints, evaluation, show
from vg.data import film, open_store, split_shots
from vg.experiments.batches import prior_batches
from vg.experiments.losses import prior_loss
from vg.latents import open_cache
from vg.models import FSQ, Prior, PriorConfig, alibi_bias, alibi_slopes, attention, available_backends, two_scale_slopes
from vg.models.digits import DigitEmbedding, DigitHead
from vg.models.transformer import DecodeState, TransformerBlock
from vg.profiles import device, profile
from vg.show import interactive
from vg.training import Recipe, fit

show.style()
torch.manual_seed(0)
source = film()
print(f"profile {profile().name}, device {device()}")
print(source.describe())

# %% [markdown]
# ## The tokens
#
# One integer stands for a *tubelet*: a few frames of a small patch. All tubelets of the same few frames make a
# *latent frame*, a grid of `h` x `w` tokens. The cache holds every shot as such grids; it is written now if an earlier
# notebook has not done so. Shots are split into training and validation as in notebook 00, whole shots only.
#
# A *window* is a stretch of latent frames that lies within one shot. It should reach
# well beyond the few latent frames that the tokenizer remembers: the rest is the transformer's to know. Training draws windows from all
# phases of a shot and from its mirror image; validation takes the unmirrored film in one phase, in windows one
# latent frame apart: they overlap.

# %%
# NBVAL_IGNORE_OUTPUT
amount = profile().pick(smoke=480, laptop=None, gpu=None)  # frames; None: all of them
store = open_store(source, frames=amount)
train, val = split_shots(store.shots)
tokenizer = checkpoints.load("tubelet-fsq-64", device=device())
cache = open_cache(store, tokenizer)
span, (h, w), levels = cache.tubelet[0], cache.grid, cache.levels
frame, codes = h * w, math.prod(levels)
window = profile().pick(smoke=2, laptop=4, gpu=4)  # latent frames
windows = cache.windows(window, shots=train)
held = cache.windows(window, shots=val, views=[(0, False)])
truth = held.take(torch.arange(len(held)))  # (B, t, h, w): what everything is measured on
known = windows.take(torch.arange(0, len(windows), 7))  # where the baselines count
print(store)
print(cache)
print(f"{span} frames, {h}x{w} tokens a latent frame, levels {levels}: {codes:,} codes, {math.log2(codes):.2f} bits")
print(f"a window: {window} latent frames = {window * span} frames = {window * frame} tokens")
print(f"{len(windows)} training windows from {len(train)} shots, {len(held)} validation windows from {len(val)}")

# %% [markdown]
# This is what the transformer sees, and all that it sees: a colour is a token, neighbouring codes have similar colours.

# %%
# NBVAL_IGNORE_OUTPUT
first, last = max(val, key=lambda shot: shot[1] - shot[0])  # frames of the longest of them
clip = store.clip(first, first + min(window, (last - first) // span) * span)[0]  # (C, T, H, W)
tokens = tokenizer.encode(clip[None].to(device()))[0].cpu()  # (t, h, w), as in the cache
show.player({"a validation shot": clip, "its tokens": show.token_map(tokens, clip, cache.tubelet, levels, 1.0)})

# %% [markdown]
# The stream is read in the order (t, h, w): frame by frame, row by row, left to right. A model that gives the probability
# of each token from the tokens before it gives, multiplied up, the probability of the whole clip. We measure it in bits:
# a token that was given the probability p costs -log2(p) bits. Fewer is better, and 0 would be knowing. (This is the
# *cross-entropy* in base 2, the usual loss of a language model.)
#
# ## Attention by hand
#
# Each position `i` has a query, and each position `j` a key and a value. The query asks, the keys answer how well they
# fit, and `i` takes the average of the values, weighted by the fit. *Causal* means that `j` never lies after `i`. Several
# *heads* do this side by side, each with its own part of the width. First as plain as it gets, in loops.


# %%
def by_loops(q, k, v):
    """(L, N, D): positions, heads, width of a head."""
    L, N, D = q.shape
    out = torch.zeros_like(q)
    for n in range(N):
        for i in range(L):
            fits = [math.exp(float(q[i, n] @ k[j, n]) / math.sqrt(D)) for j in range(i + 1)]  # j up to i
            for j, fit_of_j in enumerate(fits):
                out[i, n] += fit_of_j / sum(fits) * v[j, n]
    return out


L, N, D = 6, 4, 8
generator = torch.Generator().manual_seed(0)
q, k, v = torch.randn(3, 1, L, N, D, generator=generator).unbind(0)  # each (B, L, N, D), B = 1
print(by_loops(q[0], k[0], v[0]).shape)

# %% [markdown]
# The same with two `einsum`s. The letters say it all: `b` batch, `i` who asks, `j` who answers, `n` head, `d` width.


# %%
def by_einsum(q, k, v, bias=0.0):
    """(B, L, N, D) -> (B, L, N, D) and the weights (B, N, L, L)."""
    L = q.shape[1]
    scores = torch.einsum("bind,bjnd->bnij", q, k) / math.sqrt(q.shape[-1]) + bias
    future = torch.ones(L, L, dtype=torch.bool).triu(1)  # j > i
    weights = scores.masked_fill(future, -math.inf).softmax(dim=-1)
    return torch.einsum("bnij,bjnd->bind", weights, v), weights


out, weights = by_einsum(q, k, v)
print(out.shape, weights.shape)
print("as the loops:", torch.allclose(out[0], by_loops(q[0], k[0], v[0]), atol=1e-5))
print("rows add up to 1:", torch.allclose(weights.sum(-1), torch.ones(())))
print("nothing looks ahead:", bool((weights.triu(1) == 0).all()))

# %% [markdown]
# `vg.models.attention` is the same sum behind one interface. Several kernels can compute it: `reference` is the einsum
# above, `sdpa` is PyTorch's own, `flex` compiles a kernel, `flash` is FlashAttention-2 and needs CUDA and half precision.
# Compiled `flex` and `flash` work block by block and never write the L x L weights to memory, which is why they are fast.
# They take `slopes`, which we come to; with zeros they are plain attention. Do all that run on a CPU agree?

# %%
zeros = torch.zeros(N)
for backend in available_backends("cpu"):
    made = attention(q, k, v, zeros, backend)
    print(f"{backend:>10}: as by hand {torch.allclose(made, out, atol=1e-5)}")

# %% [markdown]
# ## A mistake that looks fine
#
# `vg` and FlashAttention keep a tensor as (B, **L, N**, D), positions before heads. PyTorch's kernel wants (B, **N, L**, D),
# heads before positions. So one transposes on the way in, and must transpose back on the way out. Forget the way back and
# reshape instead: the shape is right, nothing complains, the loss falls. But heads and positions have changed places, and
# what stands at position `i` of the result was computed at other positions, some of them later.


# %%
def heads_first(q, k, v):
    return F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v)), is_causal=True)  # (B, N, L, D)


def right(q, k, v):
    return heads_first(q, k, v).transpose(1, 2).flatten(2)  # (B, L, N * D)


def wrong(q, k, v):
    B, L, N, D = q.shape
    return heads_first(q, k, v).reshape(B, L, N * D)  # the right shape, the wrong order


def ours(q, k, v):
    return attention(q, k, v, torch.zeros(q.shape[2])).flatten(2)


print("same shape:", wrong(q, k, v).shape == right(q, k, v).shape)
print("right is ours:", torch.allclose(right(q, k, v), ours(q, k, v), atol=1e-5))
print("wrong is ours:", torch.allclose(wrong(q, k, v), ours(q, k, v), atol=1e-5))

# %% [markdown]
# What does it do to training? Take a sequence that nobody can predict: throws of an eight-sided die. Any honest model
# pays 3 bits a throw, whatever it learns. A very small transformer is trained twice, with the right function and with the
# wrong one.


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
        loss = F.cross_entropy(model(dice[:, :-1]).flatten(0, 1), dice[:, 1:].flatten()) / math.log(2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append((step, float(loss.detach())))
    return model.eval(), history


steps = profile().pick(smoke=30, laptop=600, gpu=600)
honest, honest_loss = throw_dice(right, steps)
cheat, cheat_loss = throw_dice(wrong, steps)
show.curves({"right": honest_loss, "wrong": cheat_loss}, "predicting dice", y="bits a throw", baselines={"3 bits": 3.0})

# %% [markdown]
# A curve below 3 bits would be a model that foresees dice. On real data there is no such line to look at: a loss that is
# too good looks like a good loss, and only sampling, where there is no future to read, shows that nothing was learnt.
# So one does not look at the loss but tests: **change token `k`, and see whether anything before it moves.** That takes
# a second, no training and no data. Below it looks at the two small models and at every backend of `vg`; further down
# at the whole transformer.


# %%
@torch.no_grad()
def first_leak(function, x, change, own=0):
    """The first (k, i) where output i moves though it must not know token k: i < k + own. None if there is none."""
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
print("right leaks:", first_leak(honest, dice, another))
print("wrong leaks:", first_leak(cheat, dice, another) is not None)
x = torch.randn(2, 12, N, D, generator=torch.Generator().manual_seed(2))
for backend in available_backends("cpu"):
    leak = first_leak(lambda x, b=backend: attention(x, x, x, torch.zeros(N), b), x, lambda token: token + 1)
    print(f"{backend:>10}: causal {leak is None}")

# %% [markdown]
# ## ALiBi by hand
#
# Attention as it stands does not know the order of what it sees: shuffle the past and the average is the same. One
# remedy is to learn a vector for every position and add it to the input; then position 1,025 has none if training ended
# at 1,024. *ALiBi* (attention with linear biases) adds nothing to the input. It subtracts `slope * distance` from the
# fit of a key: the farther back, the less it counts. Each head has its own slope, a constant that is not learnt. For a
# power of two of heads N, head `i` (from 0) gets 2^(-8 (i + 1) / N).


# %%
def slopes_by_hand(N):
    return torch.tensor([2 ** (-8 * (i + 1) / N) for i in range(N)])


def bias_by_hand(slopes, L):
    bias = torch.full((len(slopes), L, L), -math.inf)
    for n, slope in enumerate(slopes):
        for i in range(L):
            for j in range(i + 1):
                bias[n, i, j] = -slope * (i - j)
    return bias


print("slopes:", slopes_by_hand(4).tolist())
print(
    "as vg's:", torch.allclose(slopes_by_hand(4), alibi_slopes(4)), torch.allclose(slopes_by_hand(8), alibi_slopes(8))
)
print("bias as vg's:", torch.allclose(bias_by_hand(slopes_by_hand(4), 9), alibi_bias(alibi_slopes(4), 9, 9)))
expected, _ = by_einsum(q, k, v, bias_by_hand(slopes_by_hand(N), L))
for backend in available_backends("cpu"):
    made = attention(q, k, v, alibi_slopes(N), backend)
    print(f"{backend:>10}: with the bias as by hand {torch.allclose(made, expected, atol=1e-5)}")

# %% [markdown]
# Bright is seen, dark has faded (exp(-8) is as good as nothing), grey is the future.

# %%
# NBVAL_IGNORE_OUTPUT
slopes = alibi_slopes(4)
show.bias_figure(bias_by_hand(slopes, 48), [f"slope 1/{1 / s:.0f}" for s in slopes.tolist()])

# %% [markdown]
# ## Two scales
#
# What can each head see, in our stream? Say that a head sees as far as its bias is above -3, where a key counts a
# twentieth of what it would count next door. The stream is flattened: **the same place one latent frame back lies
# h * w positions away.** A head whose sight ends before that knows at most the neighbours to the left and above, and
# nothing of what stood here a moment ago.
#
# `two_scale_slopes` gives the first half of the heads the plain slopes of N / 2 heads, and the second half the same
# divided by h * w, so that to them a latent frame is what a token is to the others. The prior multiplies the second half
# by four, so that it fades faster in time.
#
# The matrices are three latent frames long. The curves show the same as a function of distance.

# %%
# NBVAL_IGNORE_OUTPUT
families = {"plain": alibi_slopes(4), "two scales": two_scale_slopes(4, frame, multiplier=4.0)}
print(f"{'':>12} head    slope  sees tokens  latent frames  weight of the same place one back")
for name, family in families.items():
    for n, slope in enumerate(family.tolist()):
        reach = 3 / slope
        print(f"{name:>12} {n:>4} {slope:8.5f} {reach:12.0f} {reach / frame:15.2f} {math.exp(-slope * frame):14.2e}")
both = torch.cat([alibi_bias(family, 3 * frame, 3 * frame) for family in families.values()])
show.bias_figure(both, [f"{name}, {n}" for name in families for n in range(4)])

# %%
# NBVAL_IGNORE_OUTPUT
figure, panels = plt.subplots(1, 2, figsize=(9, 3), sharey=True)
distance = torch.arange(0, 6 * frame)
for axes, (name, family) in zip(panels, families.items()):
    for n, slope in enumerate(family):
        axes.plot(distance / frame, torch.exp(-slope * distance), label=f"head {n}")
    axes.set(title=name, xlabel="distance in latent frames")
    axes.legend()
panels[0].set_ylabel("weight left")
plt.show()

# %% [markdown]
# Drag a slope, or take that of a head, and see what it leaves of the stream: along the distance, and in the grids of
# tokens for one query (blue; grey is the future). No kernel is needed.

# %%
# NBVAL_IGNORE_OUTPUT
heads = {f"{name}, head {n}": slope for name, family in families.items() for n, slope in enumerate(family.tolist())}
interactive.slopes(heads, (h, w), span=4, start="two scales, head 2", title="how far a head sees, by its slope")

# %% [markdown]
# Is the second scale needed? The table says for how long a shot: with four plain heads the farthest sees as many
# latent frames as its row says, and beyond them only the second scale does. Whether that saves bits is measured below.
#
# ## A layer
#
# Attention is the only place where positions exchange anything. The rest of a transformer works on each position alone. A
# *layer* does both, one after the other, and each adds its result to what came in (a *residual* connection), so that a
# layer changes a little and keeps the rest:
#
#     x = x + out(attention(norm(x)))       what the others know
#     x = x + mlp(norm(x))                  what this position makes of it: to four times the width, bent, and back
#
# *Norm* brings every position to mean 0 and variance 1, before each part ("norms first", as in GPT-2). A transformer is a
# stack of such layers, a last norm, and a head that turns states into probabilities. It is a *decoder-only* one: a
# single causal stack that goes on from what it has read, without an encoder beside it that reads something else.


# %%
def layer_by_hand(x, layer, slopes):
    """(B, L, D) -> (B, L, D), with the weights of a ``vg`` layer."""
    q, k, v = layer.qkv(layer.norm(x)).unflatten(-1, (3, layer.heads, -1)).unbind(2)  # each (B, L, N, D / N)
    seen, _ = by_einsum(q, k, v, bias_by_hand(slopes, x.shape[1]))
    x = x + layer.out(seen.flatten(2))
    norm, widen, bend, narrow = layer.mlp
    return x + narrow(bend(widen(norm(x))))


torch.manual_seed(0)
layer, x = TransformerBlock(d=32, heads=4).eval(), torch.randn(2, 10, 32)
with torch.no_grad():
    made = layer(x, alibi_slopes(4))
    print("by hand as vg's:", torch.allclose(layer_by_hand(x, layer, alibi_slopes(4)), made, atol=1e-5))
    print("a layer changes a little:", bool((made - x).std() < x.std()))
print("and does not look ahead:", first_leak(lambda x: layer(x, alibi_slopes(4)), x, lambda token: token + 1) is None)

# %% [markdown]
# ## Tokens and digits
#
# FSQ made each token from a few digits, and a token's number is just those digits written as one number. The
# transformer never needs the big number: it reads digits and writes digits.
#
# **Reading.** A token is embedded as the sum of one vector a digit. Codes that share digits start out alike, before
# anything is learnt, and a table has a few dozen rows instead of one for each code.

# %%
fsq = FSQ((4, 3, 3))  # small: 36 codes
every = torch.arange(fsq.size)
by_hand = torch.stack([every % 4, every // 4 % 3, every // 12 % 3], dim=-1)
print("digits as vg's:", torch.equal(by_hand, fsq.digits(every)))
print("and back:", torch.equal(fsq.indices(by_hand), every))
torch.manual_seed(0)
embed = DigitEmbedding((4, 3, 3), d=64)
a, b, c = by_hand[0], by_hand[1], by_hand[17]  # (0, 0, 0), (1, 0, 0), (1, 1, 1)
summed = sum(table.weight[digit] for table, digit in zip(embed.tables, a))
alike = F.cosine_similarity
print("by hand as vg's:", torch.allclose(summed, embed(a)))
print("two digits shared is closer than none:", bool(alike(embed(a), embed(b), 0) > alike(embed(a), embed(c), 0)))
print("rows:", sum(len(table.weight) for table in embed.tables), "for", fsq.size, "codes")

# %% [markdown]
# **Writing.** Could one predict all digits at once, each on its own? Only if they told nothing about each other. Entropy
# answers: what the digits cost one by one, each coded alone, against what they cost together. The difference is paid
# by a head that treats them as independent.

# %%
# NBVAL_IGNORE_OUTPUT
digits = FSQ(levels).digits(known.flatten())
alone = [math.log2(evaluation.perplexity(digits[:, i], n)) for i, n in enumerate(levels)]
together = math.log2(evaluation.perplexity(known, codes))
print("bits of each digit:", ", ".join(f"{bits:.2f} of {math.log2(n):.2f}" for bits, n in zip(alone, levels)))
print(f"added up {sum(alone):.2f}, together {together:.2f}: {sum(alone) - together:.2f} bits a token apart")

# %% [markdown]
# So digits are predicted one after another, each from the hidden state and the digits before it. That is the chain
# rule, p(a, b, c) = p(a) p(b | a) p(c | a, b), and it is exact: the probabilities of all codes add up to 1, though no
# layer ever has an output for each code.

# %%
torch.manual_seed(0)
head = DigitHead((4, 3, 3), d=64)
state = torch.randn(1, 64)
with torch.no_grad():
    x, p = state, 1.0
    for i, digit in enumerate(by_hand[17]):  # one code by hand
        p = p * head.logits[i](x).softmax(-1)[0, digit]
        x = x + head.known.tables[i](digit) if i < 2 else x
    bits = head.nll_bits(state.expand(fsq.size, -1), by_hand)
print("one code by hand as vg's:", torch.allclose(-torch.log2(p), bits[17], atol=1e-5))
print("all codes add up to 1:", torch.allclose(torch.exp2(-bits).sum(), torch.ones(()), atol=1e-5))

# %% [markdown]
# ## Much of the next frame is this one
#
# Backgrounds stand still. How many tokens are equal to the one at the same place one latent frame back?

# %%
# NBVAL_IGNORE_OUTPUT
same = known[:, 1:] == known[:, :-1]  # (n, t - 1, h, w)
by_digit = (FSQ(levels).digits(known[:, 1:]) == FSQ(levels).digits(known[:, :-1])).float().mean((0, 1, 2, 3))
chance = float((known == known[torch.randperm(len(known))]).float().mean())
print(f"equal to the token one latent frame back: {float(same.float().mean()):.1%} of the tokens")
print("and of the digits:", ", ".join(f"{float(share):.1%}" for share in by_digit))
print(f"equal to the token at the same place of any other window: {chance:.1%}")

# %% [markdown]
# Attention could find this, with a head that has learnt to look exactly h * w back. But why should it have to? The
# prior gets it at the input. The input that predicts token `k` is a sum of
#
#     the token before it, the ones above and above right      from this latent frame
#     place                                                    a learnt vector for each of the h * w places
#     context                                                  what stood here, and around, one latent frame ago and earlier
#
# The context begins as the embedding of the token at this place, one latent frame ago. A small convolutional network,
# `Prior.contexts`, adds what stood around it and before; it may have no blocks, and then the token is all there is. It
# looks at whole latent frames, and what it says about a place is handed to the *same place of the next latent frame*.
# Within a frame it is not causal at all: the vector at the first place knows the last. Is the whole still causal?

# %%
torch.manual_seed(0)
small = Prior(PriorConfig(levels=(5, 4, 3), grid=(3, 4), width=32, depth=2, heads=4, context=2)).eval()
toy = small.digits(torch.randint(60, (2, 4, 3, 4), generator=torch.Generator().manual_seed(1)))  # (2, 48, 3)
other = lambda token: (token + 1) % torch.tensor((5, 4, 3))  # noqa: E731
print("its heads have two scales:", torch.equal(small.slopes, two_scale_slopes(4, 3 * 4, multiplier=4.0)))
print("the context looks ahead within a frame:", first_leak(small.contexts, toy, other) is not None)
for backend in available_backends("cpu"):
    leak = first_leak(lambda d, b=backend: small.hidden(d, backend=b), toy, other, own=1)
    print(f"{backend:>10}: state k knows the tokens before k and no more {leak is None}")

# %% [markdown]
# `own=1` is the stricter question: state `k` predicts token `k`, so it must not know that token either. It is causal
# because of the shift by a whole latent frame: when the first token of a frame is to be predicted, every token that
# its context has looked at is there.
#
# All parts are there now. Put together by hand: inputs, layers, norm, head.

# %%
indices = small.quantizer.indices(toy).view(2, 4, 3, 4)
with torch.no_grad():
    x = small.inputs(toy, small.contexts(toy), 0, toy.shape[1])  # (B, L, D)
    for layer in small.layers:
        x = layer_by_hand(x, layer, small.slopes)
    bits = small.head.nll_bits(small.norm(x), toy).view(indices.shape)
    print("the whole prior by hand as vg's:", torch.allclose(bits, small.nll_bits(indices), atol=1e-4))

# %% [markdown]
# ## Keys and values are kept
#
# To generate, the model runs once a token. Run on the whole past each time, the work grows with the square of the
# length. But the past cannot change (that is what causal means), so its keys and values, computed once, can be kept.
# `Prior.advance` does that. It must give the same numbers.

# %%
with torch.no_grad():
    full = small.hidden(toy)  # (B, L, D): all states at once
    state = DecodeState()
    states = [small.advance(state, toy[:, :5])]  # a prompt of five tokens
    for position in range(5, toy.shape[1] - 1):
        states.append(small.advance(state, toy[:, position : position + 1]))  # then one by one
difference = (torch.stack(states, 1) - full[:, 5:]).abs().max()
print("same numbers:", bool(difference < 1e-5))

# %%
# NBVAL_IGNORE_OUTPUT
width, depth = profile().pick(smoke=(32, 1), laptop=(192, 4), gpu=(256, 6))
config = PriorConfig(levels=levels, grid=(h, w), width=width, depth=depth, num_labels=len(cache.shots))
torch.manual_seed(0)
prior = Prior(config).to(device())
stream = prior.digits(truth[:1].to(device()))  # (1, L, digits)
count, length = profile().pick(smoke=3, laptop=20, gpu=20), stream.shape[1]
with torch.no_grad():
    start = time.perf_counter()
    for _ in range(count):
        float(prior.hidden(stream)[0, -1, 0])  # everything again, to use one state
    without, state = time.perf_counter() - start, DecodeState()
    prior.advance(state, stream[:, : length - count])
    start = time.perf_counter()
    for position in range(length - count, length):
        float(prior.advance(state, stream[:, position : position + 1])[0, 0])
    cached = time.perf_counter() - start
print(f"difference on the toy: {float(difference):.1e}")
print(
    f"at {length} tokens: {without / count * 1e3:.1f} ms a token without a cache, {cached / count * 1e3:.1f} ms with one"
)

# %% [markdown]
# ## What it costs to know nothing
#
# Three baselines, each a way to predict without learning anything: all codes equally likely; codes as often as they
# occur in the training shots (*unigram*); and *copy*: with the probability counted in the training shots the token of one
# latent frame back again, else any code as often as it occurs. A model that does not beat copying has learnt
# that the film stands still. `measure` gives the same for a model.


# %%
# NBVAL_IGNORE_OUTPUT
@torch.no_grad()
def measure(prior, indices, scene=None):
    """Bits of each token: (B, t, h, w), on the CPU."""
    where = prior.start.device
    scenes = [None] * len(indices) if scene is None else scene.to(where).split(4)
    parts = zip(indices.split(4), scenes)
    return torch.cat([prior.nll_bits(part.to(where), label).cpu() for part, label in parts])


unigram = evaluation.unigram_bits(known, truth, codes)  # (B, t, h, w)
copied = evaluation.copy_bits(known, truth, codes)
floor = {"uniform": math.log2(codes), "unigram": float(unigram.mean()), "copy": float(copied.mean())}
print({name: round(bits, 2) for name, bits in floor.items()})

# %% [markdown]
# ## Training
#
# `prior_batches` draws windows, `prior_loss` gives bits a token, `fit` is the loop of all notebooks. Two details:
#
# - In each window a share of the tokens that the model *sees* (not of those that it has to predict) is replaced
#   by others. When it generates, it will see its own mistakes; so it learns that what it sees may be wrong. Scheduled
#   sampling fights the same *exposure bias* by showing the model its own draws.
# - In half of the windows it is not told which scene it is in. So it can do with the label and without.
#
# The loss is therefore a little harder than the validation bits, which are measured with nothing replaced, no label, and
# averaged weights.

# %%
# NBVAL_IGNORE_OUTPUT
steps = profile().pick(smoke=3, laptop=200, gpu=3000)
recipe = Recipe(steps=steps, lr=1e-3, muon=1.5e-2, warmup=20, betas=(0.9, 0.95), weight_decay=0.05, ema=0.97)
some = truth[::3]
trained = fit(
    prior,
    prior_loss(),
    prior_batches(windows, batch=4),
    recipe,
    evaluate=lambda model: {"validation": float(measure(model, some).mean())},
    every=max(1, steps // 6),
    plot=show.LivePlot("a prior learns", y="bits a token", baselines=floor),
)
print(f"{sum(p.numel() for p in prior.parameters()) / 1e6:.1f} million weights, {steps} steps, {trained.seconds:.0f} s")

# %% [markdown]
# ## What each part is worth
#
# The same small prior is trained several times, with equal steps, seeds and batches; only one thing is changed each
# time. Windows are shorter here, so that the last experiment of this notebook can go to four times their length.
# Which matters more: the context, or how the heads see?

# %%
# NBVAL_IGNORE_OUTPUT
short = profile().pick(smoke=2, laptop=3, gpu=3)  # latent frames
short_width, short_depth = profile().pick(smoke=(32, 1), laptop=(128, 4), gpu=(128, 4))
steps = profile().pick(smoke=2, laptop=120, gpu=1500)
short_windows = cache.windows(short, shots=train)
short_held = cache.windows(short, shots=val, views=[(0, False)], stride=short)  # side by side
short_truth = short_held.take(torch.arange(len(short_held)))
kinds = {
    "two scales": {},
    "plain": {"positions": "plain"},
    "learned": {"positions": "learned", "longest": 4 * short},
    "two scales, no context": {"context": 0},
    "plain, no context": {"positions": "plain", "context": 0},
}
print(f"windows of {short * span} frames, {short * frame} tokens; {len(short_held)} to validate on")


def train_short(changes):
    torch.manual_seed(0)
    config = PriorConfig(levels=levels, grid=(h, w), width=short_width, depth=short_depth, **changes)
    return fit(
        Prior(config).to(device()),
        prior_loss(),
        prior_batches(short_windows, batch=4),
        Recipe(steps=steps, lr=2e-3, muon=1.5e-2, warmup=20, betas=(0.9, 0.95), weight_decay=0.05, ema=0.96),
        evaluate=lambda model: {"validation": float(measure(model, short_truth).mean())},
        every=max(1, steps // 5),
    )


runs = {name: train_short(changes) for name, changes in kinds.items()}
for name, run in runs.items():
    print(f"{name:>24}: {run.history['validation'][-1][1]:6.2f} bits a token after {run.seconds:.0f} s")

# %%
# NBVAL_IGNORE_OUTPUT
short_copy = float(evaluation.copy_bits(known, short_truth, codes).mean())
show.curves(
    {name: run.history["validation"] for name, run in runs.items()},
    "one thing changed at a time",
    y="bits a token, validation",
    baselines={"copy": short_copy},
)

# %% [markdown]
# Read the curves in pairs. *No context* against its twin with context: what the convolutions over earlier latent frames
# save. (The token at the same place one latent frame back is still added to the input in both.) *Plain* against *two
# scales* without context: what far-seeing heads save beyond that token. The same pair with context: is there anything left
# for them to save? With so few steps a tenth of a bit between two runs is within what another seed would change; ask for
# more steps before you believe it.
#
# In the run stored here the two scales save nothing. The table above says why: these windows are three latent frames
# long, and one of the four plain heads sees as far. The course keeps them, since they cost nothing, for longer windows
# and larger grids.
#
# ## The shipped prior
#
# In the `laptop` profile the same shape, trained for longer and on more. Twenty-two shots are few, and a prior that sees
# nothing else learns them by heart. So half of its windows are views of the film: first its mirror image and its four
# corners, each brought to the full size, as if the camera had stood closer; then, in a second part, also twenty squares of
# random size and place, every second one run backwards. (`prior-128` had a third part, in which squares are encoded as
# they are drawn, so that no view is seen twice.) To your eye all that is one film. To the prior a few
# pixels to the side are other tokens. Its labels say more than one vector can, too (notebook 08). The card of the shipped
# weights says how they came about, and what they reached on the shots that were held out: in windows of 32 frames, and in
# whole shots, where the first latent frame, which has nothing to go on, is a smaller part.

# %%
# NBVAL_IGNORE_OUTPUT
shipped = checkpoints.load("prior-64", device=device())
card = checkpoints.card("prior-64")
print({name: card.config[name] for name in ("width", "depth", "heads", "context", "positions", "num_labels")})
print(f"{sum(p.numel() for p in shipped.parameters()) / 1e6:.1f} million weights")
for name in ("seconds", "batch", "window_in_latent_frames"):
    print(f"{name}: {card.facts.get(name, 'not on the card')}")
for name, value in card.facts["metrics"].items():
    if name != "generated":  # what its clips are like: notebook 08
        print(f"    {name:42} {value}")
show.curves({"prior-64": card.facts["validation_bits"]}, "its training", y="bits a token, validation")

# %% [markdown]
# Now the same measure for everyone: bits a token on the validation windows. The first latent frame of a window has
# nothing before it, and copying cannot help there; so the second column leaves it out. The
# curves then follow the bits through the window: its first latent frame is the scene itself, drawn from nothing; later
# ones are changes.

# %%
# NBVAL_IGNORE_OUTPUT
everyone = {
    "uniform": torch.full(truth.shape, math.log2(codes)),
    "unigram": unigram,
    "copy": copied,
    "trained above": measure(trained.model, truth),
    "shipped": measure(shipped, truth),
}
print(f"{'':>14}  bits a token  after the first latent frame  share of the raw bits")
for name, bits in everyone.items():
    mean, later = float(bits.mean()), float(bits[:, 1:].mean())
    print(f"{name:>14} {mean:13.2f} {later:30.2f} {mean / math.log2(codes):22.1%}")
means = {name: float(bits.mean()) for name, bits in everyone.items()}
learnt = {name: means.pop(name) for name in ("shipped", "trained above")}
show.bars(learnt, "validation shots", "bits a token", baselines=means)

# %%
# NBVAL_IGNORE_OUTPUT
by_frame = {name: bits.mean((0, 2, 3)).tolist() for name, bits in everyone.items() if name != "uniform"}
show.curves(by_frame, "bits by place in the window", x="latent frame of the window", y="bits a token")

# %% [markdown]
# And where in the picture? Left, how often a place holds the token of one latent frame back. Right, what the shipped
# prior pays there, first latent frames left out. Are the dear places the ones that change? Then the same for one clip, in time: what surprises the prior lights up.

# %%
# NBVAL_IGNORE_OUTPUT
maps = {
    "share equal to one back": (truth[:, 1:] == truth[:, :-1]).float().mean((0, 1)),
    "bits, shipped prior": everyone["shipped"][:, 1:].mean((0, 1)),
}
figure, panels = plt.subplots(1, 2, figsize=(8, 3.4))
for axes, (name, values) in zip(panels, maps.items()):
    shown = axes.imshow(values, extent=(0, store.frames.shape[-1], store.frames.shape[-2], 0))
    axes.set(title=name, xlabel="pixels", ylabel="pixels")
    axes.grid(False)
    figure.colorbar(shown, ax=axes)
plt.show()
print(f"correlation over places: {float(torch.corrcoef(torch.stack([m.flatten() for m in maps.values()]))[0, 1]):.2f}")

# %%
# NBVAL_IGNORE_OUTPUT
surprise = measure(shipped, tokens[None])[0] / math.log2(codes) * 2 - 1  # (t, h, w): 0 bits black, raw bits white
for axis, times in enumerate(cache.tubelet):
    surprise = surprise.repeat_interleave(times, axis)
show.player({"a validation shot": clip, "surprise": surprise[None, :, : clip.shape[2], : clip.shape[3]].clamp(-1, 1)})

# %% [markdown]
# And what does each trained head look at? Input `k` predicts token `k`. Below is its attention to all inputs up to its
# own, for some tubelets of the last latent frame, painted over the frames (square roots, so that faint ones show; above
# each picture its share of the attention). Click a picture or drag; no kernel is needed.


# %%
# NBVAL_IGNORE_OUTPUT
@torch.no_grad()
def looks(prior, tokens, queries):
    """Attention (Q, layers, heads, t, h, w) of the inputs at ``queries`` (t, row, column), in tokens (t, h, w)."""
    digits = prior.digits(tokens[None].to(device()))
    x, L = prior.inputs(digits, prior.contexts(digits), 0, digits.shape[1]), digits.shape[1]
    at = [(t * h + i) * w + j for t, i, j in queries]
    bias, found = alibi_bias(prior.slopes, L, L)[:, at], []
    for layer in prior.layers:
        q, k, _ = layer.qkv(layer.norm(x)).view(L, 3, layer.heads, -1).unbind(1)  # (L, N, D / N)
        scores = torch.einsum("ind,jnd->nij", q[at], k) / math.sqrt(q.shape[-1])
        found.append((scores + bias).softmax(-1))  # (N, Q, L)
        x = layer(x, prior.slopes)
    return torch.stack(found).permute(2, 0, 1, 3).unflatten(-1, tokens.shape).cpu()


queries = [(len(tokens) - 1, i, j) for i in (3, 8, 12) for j in (2, 6, 9, 13)]
middles = [min(k * span + span // 2, clip.shape[1] - 1) for k in range(len(tokens))]
interactive.attention_maps(
    looks(shipped, tokens, queries),
    clip[:, middles],
    queries,
    [f"head {n}, slope 1/{1 / slope:,.0f}" for n, slope in enumerate(shipped.slopes.tolist())],
    start=(5, shipped.config.depth - 1),
    title="what each head of the prior looks at",
)

# %% [markdown]
# ## Longer than trained
#
# ALiBi was invented so that a model can read on beyond the length it was trained on. Does it, here? The test: take
# long windows of validation shots, and show each model one, two and, where shots are long enough, four times its training
# length of them. To be
# fair, look at **the same tokens each time**: those of the last latent frame, with more and more past before them. A
# model that can use more past pays less; one that is thrown off by positions it has never seen pays more.
#
# The learned positions exist up to four times the length, but beyond the first quarter they were never trained. All of
# these models have the same context network, so that what differs is how they know positions. A shot has to be long
# enough for such windows: the cell prints which lengths fit, and from how many shots they come.


# %%
# NBVAL_IGNORE_OUTPUT
longest = max(len(tokens) for _, tokens in cache.stretches(val, [(0, False)]))
trained_on = min(card.facts["window_in_latent_frames"], longest)  # the shipped prior


def lengths_of(base):
    return [times * base for times in (1, 2, 4) if times * base <= longest]


def long_windows(base):
    held = cache.windows(lengths_of(base)[-1], shots=val, views=[(0, False), (span // 2, False)])
    print(
        f"training length {base}: {lengths_of(base)} fit, {len(held)} windows of {len(set(held.shots.tolist()))} shots"
    )
    return held.take(torch.arange(len(held)))


long_short, long_shipped = long_windows(short), long_windows(trained_on)
contest = {name: (runs[name].model, long_short, short) for name in ("two scales", "plain", "learned")}
contest["shipped"] = (shipped, long_shipped, trained_on)
by_length = {}
print(f"{'':>12}  times the training length: bits of the last latent frame (of the whole window)")
for name, (model, indices, base) in contest.items():
    bits = {n // base: measure(model, indices[:, -n:]) for n in lengths_of(base)}
    by_length[name] = bits
    print(f"{name:>12}", *(f"  {n}x: {float(b[:, -1].mean()):.2f} ({float(b.mean()):.2f})" for n, b in bits.items()))

# %%
# NBVAL_IGNORE_OUTPUT
figure, (left, right_panel) = plt.subplots(1, 2, figsize=(9, 3.2))
for name, by_times in by_length.items():
    last = [float(bits[:, -1].mean()) for bits in by_times.values()]
    left.plot(list(by_times), last, marker="o", markersize=3.5, label=name)
    if name != "shipped":
        by_place = list(by_times.values())[-1].mean((0, 2, 3))
        right_panel.plot(range(1, len(by_place) + 1), by_place, marker="o", markersize=3.5, label=name)
for n in lengths_of(short):
    right_panel.axvline(n + 0.5, color="#8a8a8a", linestyle=":", linewidth=1.2)
left.set(title="the same tokens, with more past", xlabel="times the training length", ylabel="bits a token")
right_panel.set(title="along the longest windows", xlabel="latent frame of the window")
left.legend()
plt.show()

# %% [markdown]
# Left, the same tokens with more and more past. (The shipped prior has other windows, longer and from fewer shots, and
# other training: compare the direction of its curve, not its height.) Right, bits by place in the longest windows. The
# dotted lines stand at one, two and four times the training length; a curve that jumps at the first of them does
# not extrapolate.
#
# In the run stored here nothing jumps, not even the learned positions, and nothing falls: on this film a longer past does no
# harm and is of no use, so the test does not tell the three apart.
#
# Does ALiBi extrapolate here? Look at the two figures, and keep three things apart: staying level (no harm from
# length), falling (the additional past is of use), and rising. Level is what the bias promises: far keys have
# faded, so a longer past changes little. Falling needs slopes that still see it. And whether a video stays good when
# it is much longer than any window is another question than this one, since here every past was true film; notebook 08
# lets the model go on from its own.
#
# ## What restoring is worth
#
# Old film flickers and sways (notebook 00), and flicker turns a token that stands still into another one. The validation
# shots once more, from the raw store: how many tokens stand still, and what does the shipped prior pay? It was
# trained on restored film, so part of what it pays for the raw one is surprise at something new. For a source that is
# not old nothing is restored, and the two lines are the same.


# %%
# NBVAL_IGNORE_OUTPUT
def val_tokens(store):
    """Windows side by side, of the validation shots: (B, t, h, w)."""
    parts = []
    for start, stop in val:
        for first in range(start, stop - window * span + 1, window * span):
            parts.append(tokenizer.encode(store.clip(first, first + window * span).to(device())).cpu())
    return torch.cat(parts)


raw = open_store(source, frames=amount, restore=False)
for name, seen in {"raw": raw, "as it is used": store}.items():
    indices = val_tokens(seen)
    stay = float((indices[:, 1:] == indices[:, :-1]).float().mean())
    bits = measure(shipped, indices)[:, 1:].mean()
    print(f"{name:>14}: {stay:.1%} of the tokens stay, {float(bits):.2f} bits a token after the first latent frame")

# %% [markdown]
# ## Scenes
#
# The prior may be told which shot it is in: an embedding of the shot's number, added to every input. Half of the time in
# training it is told nothing, so one model knows both the probabilities given the scene and those without. The
# difference between the two says what is typical of the scene, and notebook 08 uses it (*classifier-free guidance*).
# What is the label worth, on training shots? (Validation shots have numbers whose vectors were never trained.)

# %%
# NBVAL_IGNORE_OUTPUT
numbers = torch.arange(0, len(windows), max(1, len(windows) // profile().pick(smoke=4, laptop=40, gpu=40)))
seen, scene = windows.take(numbers), windows.shots[numbers]
wrong_scene = torch.where(scene == scene[0], scene[-1], scene[0])
for name, label in {"not told": None, "told": scene, "told the wrong one": wrong_scene}.items():
    bits = measure(trained.model, seen, label)
    print(
        f"{name:>18}: first latent frame {float(bits[:, 0].mean()):.2f} bits a token, later {float(bits[:, 1:].mean()):.2f}"
    )

# %% [markdown]
# A label should help most where there is nothing else to go by: in the first latent frame. Later the tokens
# themselves say which scene it is. After so short a training the differences may be small. One vector for a whole scene
# cannot say what stands where; notebook 08 has a label that can.
#
# ## Exercises
#
# Each cell runs as it is and says what is missing.
#
# ### 1. Slopes for any number of heads (easy, 10 minutes)
# For a number of heads that is no power of two, ALiBi takes the slopes of the largest power of two below it, then every
# second slope (the first, the third, ...) of twice that power, as many as are missing.


# %%
def my_slopes(heads):
    return None


def check_slopes(function):
    for heads in (1, 4, 8, 6, 12, 20):
        made, right = function(heads), alibi_slopes(heads)
        if made is None:
            return "not yet: my_slopes returns None"
        made = torch.as_tensor(made, dtype=torch.float32)
        if made.shape != right.shape:
            return f"{heads} heads: got {tuple(made.shape)}, expected one slope a head"
        if not torch.allclose(made, right):
            n = int((made - right).abs().argmax())
            hint = "the exponent is -8 (i + 1) / heads" if heads in (1, 4, 8) else "every second of twice the power"
            return f"{heads} heads: head {n} has {made[n]:.5f}, expected {right[n]:.5f}: {hint}"
    return "right"


print(check_slopes(my_slopes))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_slopes(heads):
#     power = 1
#     while 2 * power <= heads:
#         power *= 2
#     plain = lambda n: [2 ** (-8 * (i + 1) / n) for i in range(n)]
#     return plain(power) + plain(2 * power)[::2][: heads - power]
# ```
#
# </details>
#
# ### 2. Who may look where (medium, 15 minutes)
# With a cache there are fewer queries than keys: the `Lq` queries are the **last** of the `Lk` positions. With a `window`, a
# query sees itself and the `window - 1` positions before it. Return a bool tensor `(Lq, Lk)`, True where it may look.


# %%
def my_mask(Lq, Lk, window=None):
    return None


def check_mask(function):
    for Lq, Lk, window in ((4, 4, None), (1, 6, None), (3, 8, None), (4, 4, 2), (2, 9, 3)):
        made, right = function(Lq, Lk, window), alibi_bias(torch.zeros(1), Lq, Lk, window)[0].isfinite()
        what = f"Lq={Lq}, Lk={Lk}, window={window}"
        if made is None:
            return "not yet: my_mask returns None"
        if made.shape != right.shape or made.dtype != torch.bool:
            return f"{what}: got {tuple(made.shape)} {made.dtype}, expected {(Lq, Lk)} torch.bool"
        if (made & ~right).any():
            i, j = (made & ~right).nonzero()[0].tolist()
            ahead = j > i + Lk - Lq
            return f"{what}: query {i} sees key {j}, which lies {'in its future' if ahead else 'beyond the window'}"
        if (~made & right).any():
            i, j = (~made & right).nonzero()[0].tolist()
            return f"{what}: query {i} misses key {j}: it stands at position i + Lk - Lq, not at i"
    return "right"


print(check_mask(my_mask))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_mask(Lq, Lk, window=None):
#     distance = torch.arange(Lk - Lq, Lk)[:, None] - torch.arange(Lk)[None]
#     return (distance >= 0) & (distance < (window or Lk))
# ```
#
# PyTorch's `is_causal=True` puts the first query at position 0 instead, which with a cache hides nearly everything.
#
# </details>
#
# ### 3. Find the leak (medium, 15 minutes)
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
        "one that peeks two steps ahead": (lambda x: torch.cat([x[:, :-2] + x[:, 2:], x[:, -2:]], 1), True),
        "one that peeks at the very last position only": (lambda x: torch.cat([x[:, :-2], x[:, 1:2] + x[:, -1:], x[:, -1:]], 1), True),
        "one that mixes positions 0 and 1 alone": (lambda x: torch.cat([x[:, 1:2], x[:, 1:]], 1), True),
    }  # fmt: skip
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
# ### 4. The bits of copying (medium, 15 minutes)
# With probability `p` the token is the one at the same place one latent frame back, otherwise any of `codes` codes, all
# equally likely. Return the bits of each token of `indices` (B, t, h, w) from the second latent frame on: (B, t - 1, h, w).


# %%
def my_copy_bits(indices, p, codes):
    return None


def check_copy_bits(function):
    indices = torch.tensor([[3, 3, 5], [1, 2, 2]])[..., None, None]  # (2, 3, 1, 1)
    made, hit, miss = function(indices, 0.5, 16), -math.log2(0.5 + 0.5 / 16), -math.log2(0.5 / 16)
    right = torch.tensor([[hit, miss], [miss, hit]])[..., None, None]
    if made is None:
        return "not yet: my_copy_bits returns None"
    made = torch.as_tensor(made).float()
    if made.shape != right.shape:
        return f"got {tuple(made.shape)}, expected {tuple(right.shape)}: the first latent frame has nothing to copy"
    if torch.allclose(made, right, atol=1e-5):
        return "right"
    if torch.allclose(made[0, 0], torch.ones(1, 1), atol=1e-5):
        return "a token that was copied may also have been drawn: its probability is p + (1 - p) / codes"
    if torch.allclose(made, right * math.log(2), atol=1e-5):
        return "these are nats: take log2"
    return f"got {made.flatten().tolist()}, expected {[round(b, 3) for b in right.flatten().tolist()]}"


print(check_copy_bits(my_copy_bits))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_copy_bits(indices, p, codes):
#     same = (indices[:, 1:] == indices[:, :-1]).float()
#     return -torch.log2(p * same + (1 - p) / codes)
# ```
#
# </details>
#
# ## Summary
#
# - Causal attention is a weighted average of the past. Loops, `einsum` and every kernel give the same numbers.
# - Whether a model reads the future is a matter of a test, not of the loss: change token `k`, nothing before it may move.
# - A layer is attention and an MLP, each added to what came in. The prior is inputs, layers, a last norm and a head.
# - ALiBi fades keys with distance. In a flattened video one latent frame back is h * w positions away; half of the heads
#   count distance in latent frames.
# - Digits predicted one after another give every code an exact probability, at the price of a few dozen outputs.
# - Much of the next latent frame, more than half of the digits, is the last one: hand it to the network at the input,
#   shifted by a whole latent frame, and it stays causal.
# - A prior is judged in bits a token on shots that it has not seen, beside uniform, unigram and copying.
# - More past than in training: compare the same tokens, and tell "not harmed" from "of use".
#
# Next: [08 Generation](08_generation.ipynb) draws from these probabilities, and decodes what it draws.
#
# ## References
#
# - Vaswani et al., 2017, *Attention is all you need*, [arXiv:1706.03762](https://arxiv.org/abs/1706.03762).
# - Radford et al., 2019, *Language models are unsupervised multitask learners* (GPT-2): decoder only, norms first.
# - Press, Smith and Lewis, 2022, *Train short, test long: attention with linear biases enables input length
#   extrapolation* (ALiBi), [arXiv:2108.12409](https://arxiv.org/abs/2108.12409).
# - Dao, 2023, *FlashAttention-2*, [arXiv:2307.08691](https://arxiv.org/abs/2307.08691).
# - Yan et al., 2021, *VideoGPT: video generation using VQ-VAE and transformers*,
#   [arXiv:2104.10157](https://arxiv.org/abs/2104.10157).
# - Bengio et al., 2015, *Scheduled sampling for sequence prediction with recurrent neural networks*,
#   [arXiv:1506.03099](https://arxiv.org/abs/1506.03099).
