# %% [markdown]
# # 08 Generation
#
# The tokenizer turns video into integers and back. The prior gives, for every integer, the probability of each value
# given all integers before it. Put both in a loop and you have a generator: compute probabilities, draw a token,
# append it, repeat; at the end decode. This notebook is about that loop.
#
# **After this notebook you will be able to**
# - draw from logits with temperature, top-k and top-p, and say what they do to a token of several digits;
# - write the decoding loop with a KV cache, and say what the cache saves;
# - draw several tokens a pass, the very same ones, and say why that is faster;
# - steer with classifier-free guidance of logits;
# - make video from nothing, from a still, from a clip, for a chosen scene, and longer than any training clip.
#
# **You need** Python, a little PyTorch, and the shipped weights, which are in the repository. The notebook runs alone.
#
# **Study:** about 3 hours, tasks included. **Computing:** about 2 minutes on a two-core laptop. Nothing is trained.
#
# **Before:** [07 Transformer](07_transformer.ipynb). **Next:** [09 One model, many tasks](09_one_model_many_tasks.ipynb) asks
# the same prior for other shapes, for loops and for clips between two others.

# %%
# NBVAL_IGNORE_OUTPUT
import math
import time

from vg import checkpoints, paths, show
from vg.data import film, open_stores, save, split_shots
from vg.evaluation.metrics import steps
from vg.evaluation.pair import open_pair
from vg.hashing import weight_hash
from vg.models import Prior, PriorConfig
from vg.models.transformer import DecodeState
from vg.profiles import device, profile
from vg.sampling import (
    SAMPLING,
    Stream,
    branches,
    filter_logits,
    generate,
    generate_tokens,
    one_by_one,
)
from vg.show import interactive

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

show.style()
settings = profile().settings(  # smoke, laptop, gpu
    film_frames=(240, None, None),  # None: all of them
    held_out=(0.35, 0.1, 0.1),  # share of the frames
    total=(24, 48, 48),  # frames of a continued clip, the prompt included
    clips=(1, 4, 4),
    long=(1, 4, 4),  # training windows of the long video
)
print(f"profile {profile().name}, device {device()}")

# %% [markdown]
# ## First, see it move
#
# Load a tokenizer and the prior that was trained on its tokens, take the first 16 frames of four shots, and ask for the
# rest. The shots are *held out*: neither model has seen them. They are the first that are long enough, and the seed is 0, so
# nothing was picked. While the clips play, the word *given* marks the frames that came from the film.
#
# The shipped prior makes clips of any shape; notebook 09 shows how. Here the film is squeezed to squares, and `.at((16, 16))` is the
# same prior, with the same weights, for squares of 16 x 16 tokens.

# %%
# NBVAL_IGNORE_OUTPUT
SIZE = 64  # or 128: the larger pair, slower
tokenizer = checkpoints.load(f"tubelet-fsq-{SIZE}", device=device())
prior = checkpoints.load(f"prior-{SIZE}", device=device()).at((16, 16))
both_sizes = [{"size": SIZE}, {"size": (128, 152)}]
store, large_store = open_stores(film(), both_sizes, frames=settings.film_frames)
split = split_shots(store.shots, settings.held_out)
train_shots, val_shots = split.train, split.held_out
span, grid, TOTAL = tokenizer.tubelet[0], prior.grid, settings.total
GIVEN = 2  # latent frames of a prompt
PROMPT = GIVEN * span  # frames of a prompt
NEW = TOTAL - PROMPT
DRAW = {name: SAMPLING[name] for name in ("temperature", "top_p")}


def beginnings(frames_store, shots, count, frames):
    """The first frames of the first shots that have TOTAL: (B, C, frames, H, W)."""
    starts = [a for a, b in shots if b - a >= TOTAL][:count]
    return torch.cat([frames_store.clip(a, a + frames) for a in starts])


prompts = beginnings(store, val_shots, settings.clips, PROMPT)
reel = generate(prior, tokenizer, prompts, frames=TOTAL, seed=0, **SAMPLING).cpu()
show.player({f"shot {k}": clip for k, clip in enumerate(reel)}, store.fps, given=PROMPT)

# %% [markdown]
# Five arguments did it: the two models, a prompt, a length and a seed. `SAMPLING` holds the recommended options,
# which were chosen by measurement. In the stored run all four places stay. The cow keeps its shape and hardly moves, but dark blots come
# and go at its tail. The figure at the wheel keeps its head and arm; its legs blur and change all the time. The parrot's head, already faint
# in the given frames, comes back as blots only. The captain's upper body becomes one black blot, which stands still. The rest of this
# notebook opens that call.
#
# ```
#   prompt (1, 1, 16, 64, 64)          video, values in [-1, 1]
#        | tokenizer.encode            one token for 8 x 4 x 4 pixels
#   tokens (1, 2, 16, 16)              a latent frame is a grid of 16 x 16 tokens
#        | prior.digits                a token is 12 digits: two patches, six digits each
#   digits (1, 512, 12)
#        | prior.advance               transformer with a KV cache
#   hidden (1, D)                      predicts the next token
#        | prior.head, once a digit    logits -> temperature, top-k, top-p -> a draw
#   digits (1, 513, 12)                ... and round again, 256 times a latent frame
#        | tokenizer.decode
#   video (1, 1, T, 64, 64)
# ```
#
# (The drawing is for 64 pixels.) A token's two patches have four frames each, one after the other. A patch has two *base digits* and
# four *details*, which stay in the middle unless it is one of the busiest (notebook 05). The decoder
# looks ahead: it decodes a patch from its own digits, earlier ones, and those of the next four frames. So even the last four given
# frames depend a little on what is sampled.
#
# A prior only makes sense with the tokenizer it was trained with. Its card holds the hash of that
# tokenizer's weights, so that a wrong pair can be noticed before it makes noise. (The Frechet distance on the card is explained in
# notebook 10. It is an unbiased estimate, and where the true distance is small that can be negative.)

# %%
# NBVAL_IGNORE_OUTPUT
prior_card = checkpoints.card(f"prior-{SIZE}")
print("the right pair:", prior_card.facts["tokenizer"]["weights"] == weight_hash(tokenizer))
window = prior_card.facts["window_in_latent_frames"]
print(f"a token: {math.prod(prior.levels):,} codes, {len(prior.levels)} digits")
print(f"a patch: {tokenizer.patch}, digits with {tokenizer.patch_levels} levels")
print(f"a latent frame: {prior.tokens_per_latent_frame} tokens for {span} frames")
print(f"trained on windows of {window} latent frames, {window * span} frames")
print("options:", *(f"{name} {value:g}" for name, value in SAMPLING.items()), sep="  ")
show.card(f"prior-{SIZE}")

# %% [markdown]
# ## One token by hand
#
# `prior.advance` reads the prompt's tokens and returns one vector, the hidden state that predicts the next token. The
# head turns it into *logits*: one number for each value of the first digit. Softmax turns logits $z$ into probabilities,
# $p_i = e^{z_i} / \sum_j e^{z_j}$.
#
# Choose the first digit, add its embedding to the hidden state, and the next layer of the head predicts the second digit,
# and so on. With `argmax` as the choice the result is the same every time, so we can compare it with the library's.


# %%
def middle_clip(shots, frames):
    """The middle of the longest shot: (1, C, frames, H, W)."""
    first, stop = max(shots, key=lambda shot: shot[1] - shot[0])
    begin = (first + stop - frames) // 2
    return store.clip(begin, begin + frames)


def one_token(state, choose):
    """Digits (B, digits) of the next token, from hidden states (B, D)."""
    chosen = []
    for i in range(len(prior.levels)):
        chosen.append(choose(prior.head.logits[i](state)))  # (B,)
        if i + 1 < len(prior.levels):
            state = state + prior.head.known.tables[i](chosen[i])
    return torch.stack(chosen, dim=-1)


def likeliest(scores):
    return scores.argmax(dim=-1)


val_clip, train_clip = middle_clip(val_shots, TOTAL), middle_clip(train_shots, TOTAL)
tokens = tokenizer.encode(val_clip[:, :, :PROMPT].to(device()))  # (1, t, h, w)
hidden = prior.advance(DecodeState(), prior.digits(tokens))  # (1, D)
print("tokens", tuple(tokens.shape), " hidden", tuple(hidden.shape))
by_hand = one_token(hidden, likeliest)
print("as the library's:", torch.equal(by_hand, prior.head.sample(hidden, likeliest)))

# %% [markdown]
# ## Draw: temperature, top-k, top-p
#
# The likeliest value every time makes one video only, and tends to stand still (notebook 10 measures low temperatures).
# So values are sampled at random, and three options shape the distribution that they are sampled from.
#
# - *Temperature* $T$ divides the logits: $p_i \propto e^{z_i / T}$, which is $p_i^{1/T}$ made to add up to one. Below 1
#   the likely become likelier, above 1 less likely. Dividing *probabilities* instead is a mistake: normalised, it changes nothing.
# - *Top-k* keeps the $k$ largest logits.
# - *Top-p* (nucleus sampling, arXiv:1904.09751) keeps the fewest values whose probabilities add up to at least $p$: many where the
#   model hesitates, one where it is sure.
#
# Cutting matters because a clip takes thousands of samples: an odd value of probability 0.001 will turn up, and all later tokens
# read it. What is left out gets the logit $-\infty$, so probability 0.

# %% [markdown] tags=["student"]
# **Your part: shape one distribution** (easy, 20 minutes). Write `cut_tail(logits, temperature, top_k, top_p)` for one
# distribution: `logits` is `(V,)`, and so is the result. Divide by the temperature; then both cuts look at the *same*
# divided logits, and a value must survive both. `None` means: no such cut. Left out is `-math.inf`.
#
# <details><summary>Hint 1</summary>
#
# Sort once: `order = logits.argsort(descending=True)`. The first `top_k` of `order` survive top-k.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# For top-p walk down the order. A value is kept if the values *before* it hold less than `top_p`. So the one that crosses the
# line is kept, and the first always is.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# `share = logits.softmax(-1)[order]` and `before = share.cumsum(-1) - share` give what those before hold.
#
# </details>


# %% tags=["task"]
def cut_tail(logits, temperature=1.0, top_k=None, top_p=None):
    """Logits (V,) to draw from: divided by the temperature, -inf for what is left out."""
    ### BEGIN SOLUTION
    logits = logits / temperature
    order = logits.argsort(descending=True)
    share = logits.softmax(-1)[order]
    kept = torch.ones_like(order, dtype=torch.bool)
    if top_k is not None:
        kept[top_k:] = False
    if top_p is not None:
        kept &= share.cumsum(-1) - share < top_p
    return logits.index_fill(0, order[~kept], -math.inf)
    ### END SOLUTION


# %% tags=["grader"]
def check_cut_tail(function):
    z = torch.tensor([0.0, 2.0, -1.0, 1.0, 0.5, -3.0])
    cases = [{"temperature": 0.5}, {"top_k": 2}, {"top_p": 0.01}, {"top_k": 3, "top_p": 0.9}]
    cases += [{"top_p": 0.7}, {"temperature": 2.0, "top_p": 0.7}]
    for case in cases:
        try:
            got = function(z.clone(), **case)
        except Exception as error:
            return f"with {case} it stops with {type(error).__name__}: {error}"
        if getattr(got, "shape", None) != z.shape:
            return f"with {case}: expected a tensor of shape (6,). Is there a return at the end?"
        want = filter_logits(z / case.get("temperature", 1.0), case.get("top_k"), case.get("top_p"))
        kept, right = got.isfinite(), want.isfinite()
        if (got == 0).sum() > (want == 0).sum():
            return "left-out logits are 0, which softmax makes e^0 = 1. Use -math.inf"
        if not torch.equal(kept, right) and "temperature" in case:
            return "another cut: top-p looks at the probabilities after the temperature"
        if "top_p" in case and kept.sum() < right.sum():
            return "top-p keeps too few: the value that crosses the line stays"
        if not torch.equal(kept, right):
            return f"with {case}: kept {kept.tolist()}, expected {right.tolist()}"
        if not torch.allclose(got[kept], want[kept]):
            return "the logits that stay are wrong: divide logits, not probabilities, by T"
    return "right: the same logits as vg.sampling.filter_logits"


print(check_cut_tail(cut_tail))

# %% [markdown]
# ### A digit is not a token
#
# The head predicts a token digit by digit, and these options act on each digit. That is not the same as acting on the
# token. Here is a small vocabulary where it can be computed. First digit: A with probability 0.4, B with 0.6. After A
# the second digit is certain; after B each of four values has 0.25. So token A has 0.4, and each B token 0.15.
#
# By digits, $T = 0.5$ squares 0.4 and 0.6 *before* the second digit is looked at: the likeliest token becomes less likely.
# Over whole tokens it becomes likelier. Top-p shows the same: at 0.5 the first digit keeps only B, so the
# likeliest token is cut off.

# %%
first = torch.tensor([0.4, 0.6]).log()
second = torch.full((4,), 0.25).log()  # after B
whole = torch.cat([first[:1], first[1] + second])  # log-probabilities of the five tokens
by_digit = cut_tail(first, 0.5).softmax(-1)[0]
by_token = cut_tail(whole, 0.5).softmax(-1)[0]
print(f"token A: p = {float(whole[0].exp()):.2f}")
print(f"at T = 0.5 by digits {float(by_digit):.2f}, over whole tokens {float(by_token):.2f}")
print(f"top-p 0.5 by digits keeps A:          {bool(cut_tail(first, top_p=0.5)[0].isfinite())}")
print(f"top-p 0.5 over whole tokens keeps A:  {bool(cut_tail(whole, top_p=0.5)[0].isfinite())}")

# %% [markdown]
# Whole-token top-p needs the probability of every code: the product of its digits' probabilities, so a sum of
# logarithms. Our tokens have far too many codes to list, and that is why the options act on digits. But the first digits of a token
# are the code of its first patch, and so few codes can be listed: one batched call of the head. For the prompt above:


# %%
# NBVAL_IGNORE_OUTPUT
PATCH = len(tokenizer.patch_levels)  # digits of a patch


def patch_logits(state, **options):
    """Log-probability (V,) of every code of the next token's first patch; options act on digits."""
    codes = torch.cartesian_prod(*map(torch.arange, tokenizer.patch_levels)).to(device())
    total = 0  # (V,), from a hidden state (1, D)
    for i, rows in zip(range(PATCH), prior.head.given(state.expand(len(codes), -1), codes)):
        shaped = filter_logits(rows, **options).log_softmax(-1)  # (V, levels[i])
        total = total + shaped.gather(1, codes[:, i : i + 1])[:, 0]
    return total.detach().cpu()


plain = patch_logits(hidden)
digitwise, codewise = patch_logits(hidden, top_p=0.9), cut_tail(plain, top_p=0.9)
print(f"{len(plain):,} codes of a patch, whose probabilities add up to {float(plain.exp().sum()):.4f}")
for how, cut in {"each digit": digitwise, "whole patch": codewise}.items():
    kept, held = int(cut.isfinite().sum()), float(plain[cut.isfinite()].exp().sum())
    print(f"top-p 0.9, {how}: keeps {kept:,} codes, which hold {held:.2f}")

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# By digits fewer codes stay, and they hold less than 0.9. The prior is nearly sure of this patch's details, so only its two base digits are
# really cut, but that is twice already. In general each of six cuts may take up to a tenth, which can leave much less than 0.9, and the
# codes that stay need not be the likeliest ones. A whole token is cut twelve times. So a `top_p` of `generate` is not the top-p of other
# programs: compare it only with itself.
#
# </details>
#
# ### Sampling itself
#
# `vg` draws with noise made beforehand: one uniform number $u_i$ for each value, then
# $\arg\max_i \,(z_i - \log(-\log u_i))$. This *Gumbel trick* gives an exact sample of the softmax. Its use: a token becomes a
# *function* of the tokens before it, so two ways to compute can be compared token by token.


# %%
def pick(scores, u, temperature=1.0, top_k=None, top_p=None):
    """Draw from logits (B, V) with uniform noise u (B, V): (B,)."""
    u = u[:, : scores.shape[-1]].clamp(1e-9, 1 - 1e-7)
    return (filter_logits(scores / temperature, top_k, top_p) - torch.log(-torch.log(u))).argmax(-1)


def chooser(rows, **options):
    """What the head asks for each digit in turn; rows of noise (B, V), one for each call."""
    rows = iter(rows)
    return lambda scores: pick(scores, next(rows), **options)


def noise_for(count, seed):
    """Uniform noise (count, digits, V), in the order in which vg draws it."""
    dice = torch.Generator().manual_seed(seed)
    shape = len(prior.levels), max(prior.levels)
    return torch.stack([torch.rand(shape, generator=dice) for _ in range(count)]).to(device())


toy = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0, -3.0])
u = torch.rand(20_000, len(toy), generator=torch.Generator().manual_seed(0))
frequency = torch.bincount(pick(toy.expand(20_000, -1), u), minlength=len(toy)) / 20_000
gap = float((frequency - toy.softmax(-1)).abs().max())
print(f"20,000 draws: largest difference from softmax {gap:.4f}")
assert gap < 0.01

# %% [markdown]
# All options on one patch of the film, with details, without a kernel. Bars are what is drawn from, dotted
# outlines the prior's own probabilities, a cross a value that is left out. *History* is explained further down. (On a static page the bars
# are the prior's own probabilities.)

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
three = val_clip[:, :, : PROMPT + span].to(device())  # three latent frames
seen = prior.digits(tokenizer.encode(three))  # (1, L, digits)
busy = tokenizer.used(three)[0, -1, ..., PATCH - 1].flatten().nonzero()  # places with details
place = int(busy[len(busy) // 2]) - prior.tokens_per_latent_frame  # counted from the end
true = seen[0, place]
with torch.no_grad():
    both = [prior.hidden(x)[0, place] for x in (seen, seen[:, -prior.tokens_per_latent_frame :])]
    past, alone = ([x.cpu() for x in prior.head.given(one, true)][:PATCH] for one in both)
interactive.probabilities(past, alone, true.tolist()[:PATCH], SAMPLING, title="a patch of the film")

# %% [markdown]
# ## The loop, with a KV cache
#
# For the next token, attention needs the newest token's query and the keys and values of *all* tokens so far. Those of the older
# tokens do not change: the mask is causal. So keep them. That is the *KV cache*: each step computes one row
# instead of $L$, and reads the rest:
#
# $$ y_L = \sum_{j \le L} \operatorname{softmax}_j\!\left(\frac{q_L \cdot k_j}{\sqrt d}\right) v_j $$

# %% [markdown] tags=["student"]
# **Your part: one step of cached attention** (easy, 15 minutes). Write `attend(q, k, v, cache)`: `q`, `k`, `v` are `(d,)`,
# of the newest token; `cache` is a list of pairs `(k, v)` of the older tokens, which you extend. Return `(d,)`.
#
# <details><summary>Hint 1</summary>
#
# A token attends to itself too: append first, then attend.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `keys = torch.stack([k for k, _ in cache])` is `(L, d)`; `keys @ q` are the `L` scores.
#
# </details>


# %% tags=["task"]
def attend(q, k, v, cache):
    """Attention (d,) of the newest token to all tokens so far; the cache grows by one pair."""
    ### BEGIN SOLUTION
    cache.append((k, v))
    keys = torch.stack([key for key, _ in cache])  # (L, d)
    values = torch.stack([value for _, value in cache])  # (L, d)
    weights = (keys @ q / math.sqrt(len(q))).softmax(0)  # (L,)
    return weights @ values
    ### END SOLUTION


# %% tags=["grader"]
def check_attend(function):
    q, k, v = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0))
    want = F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)[0]
    unscaled = F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True, scale=1)
    cache = []
    for n in range(5):
        try:
            got = function(q[n], k[n], v[n], cache)
        except Exception as error:
            return f"token {n}: {type(error).__name__}: {error}. Append first, then attend"
        if getattr(got, "shape", None) != (8,):
            return "expected a vector of shape (8,) for the newest token. Is there a return?"
        if len(cache) != n + 1:
            return f"after {n + 1} tokens the cache holds {len(cache)} pairs: append one a step"
        if n and torch.allclose(got, unscaled[0, n], atol=1e-5):
            return "the scores are not divided by the root of d"
        if n and torch.allclose(got, v[: n + 1].mean(0), atol=1e-5):
            return "all weights are equal: softmax goes over the L scores"
        if not torch.allclose(got, want[n], atol=1e-5):
            return f"token {n}: another vector. Softmax over all scores, then times the values"
    return "right: the rows of causal attention, one at a time"


print(check_attend(attend))

# %% [markdown]
# `DecodeState` holds such a cache for every layer. `prior.advance(state, fresh)` reads the `fresh` digits `(B, n, digits)`, adds
# them to the cache and returns the hidden state `(B, D)` for the next token. `fresh` is `None` only at the start of a video from nothing.

# %% [markdown] tags=["student"]
# **Your part: the decoding loop** (medium, 20 minutes). Write `decode(prior, digits, count, choose)`: continue the digits
# `(1, L, n)` by `count` tokens, with a KV cache, and return all of them `(1, L + count, n)`. `prior.head.sample(hidden, choose)`
# gives the digits `(1, n)` of one token. `L` may be 0.
#
# <details><summary>Hint 1</summary>
#
# One `DecodeState()` before the loop. The first call reads the whole prompt, each later call only the token just drawn.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Keep a variable `fresh`: at first the prompt (or `None` if it is empty), then `drawn[:, None]`, which is `(1, 1, n)`.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# The loop has four lines: advance, sample, `torch.cat([digits, fresh], dim=1)`, and the new `fresh` before it.
#
# </details>


# %% tags=["task"]
def decode(prior, digits, count, choose):
    """Continue digits (1, L, n) by ``count`` tokens, one at a time: (1, L + count, n)."""
    ### BEGIN SOLUTION
    state = DecodeState()
    fresh = digits if digits.shape[1] else None
    for _ in range(count):
        hidden = prior.advance(state, fresh)  # (1, D)
        fresh = prior.head.sample(hidden, choose)[:, None]  # (1, 1, n)
        digits = torch.cat([digits, fresh], dim=1)
    return digits
    ### END SOLUTION


# %% tags=["grader"]
def check_decode(function):
    with torch.random.fork_rng(devices=[]):  # a tiny prior with large random weights
        torch.manual_seed(0)
        tiny = Prior(PriorConfig(levels=(5, 4), grid=(2, 3), width=16, depth=2, heads=2)).eval()
        for weight in tiny.parameters():
            weight.data = torch.randn(weight.shape)
    prompt = tiny.digits(torch.arange(12).view(1, 2, 2, 3))  # (1, 12, 2)
    want, advance, calls, heard = F.pad(prompt, (0, 0, 0, 6)), tiny.advance, [], []

    def choose(scores):
        heard.append(scores.flatten())
        return scores.argmax(-1)

    def counted(state, fresh=None):
        calls.append((state, 0 if fresh is None else fresh.shape[1]))
        return advance(state, fresh)

    with torch.no_grad():
        for k in range(12, 18):  # without a cache: read everything, every time
            want[:, k] = tiny.head.sample(tiny.hidden(want)[:, k], choose)
        tiny.advance = counted
        try:
            got = function(tiny, prompt, 6, choose)
            function(tiny, prompt[:, :0], 2, choose)
        except Exception as error:
            return f"{type(error).__name__}: {error}. Is fresh (1, n, digits) or None?"
    if got is None or got.shape == (1, 6, 2):
        return "return all tokens, the prompt's and the new ones"
    if got.shape != want.shape:
        return f"the shape is {tuple(got.shape)}, expected {tuple(want.shape)}"
    if len({id(state) for state, _ in calls[:6]}) > 1:
        return "each step has a new DecodeState, so its cache is empty: make one before the loop"
    if (reads := [count for _, count in calls[:6]]) != [12, 1, 1, 1, 1, 1]:
        return f"the steps read {reads} tokens: after the prompt, read only the newest"
    if not torch.allclose(torch.cat(heard[:12]), torch.cat(heard[12:24]), atol=1e-3):
        return "other logits than without a cache: do you feed the token just drawn?"
    return "right: the tokens that reading everything anew gives, and each was read once"


print(check_decode(decode))

# %% [markdown]
# The same loop with the real prior must give the very tokens of `vg.sampling.one_by_one`. Then the time for a token, with the
# cache and without: without it every step reads the whole video again.

# %%
# NBVAL_IGNORE_OUTPUT
size, begun = prior.tokens_per_latent_frame, prior.digits(tokens)
with torch.no_grad():
    rolled = decode(prior, begun, size, chooser(noise_for(size, 0).flatten(0, 1)[:, None], **DRAW))
plain_loop = prior.digits(one_by_one(prior, tokens, GIVEN + 1, seed=0, progress=False, **DRAW))
print("the tokens of vg's loop:", torch.equal(rolled, plain_loop))

some, padded, last = 8, F.pad(begun, (0, 0, 0, size)), GIVEN * size
begin = time.perf_counter()
with torch.no_grad():
    decode(prior, begun, some, likeliest)
with_cache = (time.perf_counter() - begin) / some
begin = time.perf_counter()
with torch.no_grad():
    for k in range(last, last + some):
        padded[:, k] = prior.head.sample(prior.hidden(padded)[:, k], likeliest)
without_cache = (time.perf_counter() - begin) / some
print(f"with a cache {1000 * with_cache:.1f} ms a token, without {1000 * without_cache:.1f} ms")

# %% [markdown]
# ## Several tokens a pass
#
# A step with one row spends much of its time on what many rows would share, such as fetching weights: together they take
# less time each. So most steps can be saved, without changing one token.
#
# The noise is fixed, so a token is a function of the tokens before it. **Guess** the next `width` tokens: at first those one
# latent frame back. **Read** past and guesses in one pass, as in training. **Draw** each token with its own noise. The
# first is right: all it depends on was known. If it equals its guess, the second is right as well, and so on, up to and
# including the first that differs from its guess. Keep these; the others are the next guesses. This is speculative Jacobi
# decoding (arXiv:2410.01699, with shared noise arXiv:2510.24211). For one latent frame:


# %%
@torch.no_grad()
def draw_frame(tokens, seed, width, **options):
    """The next latent frame's digits (h * w, n), and how many tokens each pass kept."""
    before = prior.digits(tokens)  # (1, L, n)
    total = prior.tokens_per_latent_frame
    dice, guess = noise_for(total, seed), before[0, -total:].clone()
    at, kept = 0, []
    while at < total:
        part = slice(at, min(at + width, total))
        states = prior.hidden(torch.cat([before, guess[None]], dim=1))[0, before.shape[1] :][part]
        drawn = prior.head.sample(states, chooser(dice[part].unbind(1), **options))
        differs = [*(drawn != guess[part]).any(dim=-1).tolist(), True]
        guess[part] = drawn
        kept.append(min(differs.index(True) + 1, len(drawn)))
        at += kept[-1]
    return guess, kept


frame_by_guesses, passes = draw_frame(tokens, 0, 64, **DRAW)
print("the tokens of the plain loop:", torch.equal(frame_by_guesses, plain_loop[0, -size:]))

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
figure, (left, right) = plt.subplots(1, 2, figsize=(7.5, 2.6), width_ratios=[1, 1.6])
order = torch.arange(len(passes)).repeat_interleave(torch.tensor(passes)).view(grid)
shown = left.imshow(order, cmap="viridis")
left.grid(False)
left.set(title="the pass that drew each token", xlabel="column", ylabel="row")
left.set(xticks=range(0, grid[1], 4), yticks=range(0, grid[0], 4))
figure.colorbar(shown, ax=left, ticks=range(0, len(passes), max(1, len(passes) // 4)))
figure.get_layout_engine().set(wspace=0.08)
right.bar(range(len(passes)), passes)
right.set(title=f"{size} tokens in {len(passes)} passes", xlabel="pass", ylabel="tokens kept")
plt.show()

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# A guess counts only if all twelve digits are right. Still the passes are far fewer than the tokens. The first row takes six of them. Most
# later passes keep about a row or more, a few only one token. So the earlier latent frames, which are known, decide most of what is drawn,
# but not all: the tokens before it in the same latent frame count too, and a wrong guess can change those after it. The less they counted,
# the fewer passes there would be, but then nothing but the shared past would make neighbours agree.
#
# </details>
#
# `generate_tokens` does the same with a KV cache. One clip on one thread:

# %%
# NBVAL_IGNORE_OUTPUT
seconds = {}
loops = {"one token a pass": one_by_one, "several tokens a pass": generate_tokens}
for name, loop in loops.items():
    begin = time.perf_counter()
    loop(prior, tokens, TOTAL // span, seed=0, **SAMPLING)
    seconds[name] = time.perf_counter() - begin
    print(f"{name:22} {seconds[name]:5.1f} s, {NEW / seconds[name]:5.1f} frames a second")
print(f"the film plays {store.fps:.0f} frames a second")

# %% [markdown]
# ## What to begin with
#
# **Nothing.** Without a prompt the loop begins with a learned start vector. Seeds 0, 1 and 2.

# %%
# NBVAL_IGNORE_OUTPUT
dreams = generate(prior, tokenizer, frames=NEW, batch=3, seed=0, **SAMPLING).cpu()
show.player({f"from nothing, seed {k}": clip for k, clip in enumerate(dreams)}, fps=store.fps)

# %% [markdown]
# In the stored run nothing in these can be named: walls with dark blots on them, which change, some all the time, and become nothing.
#
# **A still.** One frame. The tokenizer needs eight, so the frame is held: the prior reads eight frames in which nothing moved. One still
# is from a training shot and one from a held-out shot. A continuation of a training shot can be memory; that of a held-out shot
# only where a training shot shows the same scene.

# %%
# NBVAL_IGNORE_OUTPUT
originals = torch.cat([train_clip, val_clip])
stills = generate(prior, tokenizer, originals[:, :, :1], NEW + span, seed=0, **SAMPLING).cpu()
pairs = {}
for side, clip, still in zip(("training", "held out"), originals, stills):
    pairs |= {f"{side}: film": clip[:, : NEW + span], f"{side}: from its first frame": still}
show.player(pairs, fps=store.fps, given=span)

# %% [markdown]
# <details><summary>Does it go on standing still? What the stored run shows</summary>
#
# Yes: both figures keep their shape, and hardly anything moves to the end. The held frames are strong evidence for a still picture, and
# `history` (explained below) probably adds to it: standing still, which this past makes likely, becomes likelier still. Compare with the
# film beside it, and with the clips below, whose prompts move.
#
# </details>
#
# **A clip, and several futures.** The seed decides the draws and nothing else: the same arguments and seed give the same video,
# another seed another one. In a batch, sample `b` has the seed `seed + b`. They need not agree with the film: many
# things could happen next. Look at whether the place stays, whether things keep their shape, and whether they move as such things do.

# %%
# NBVAL_IGNORE_OUTPUT
prompt = val_clip[:, :, :PROMPT]
several = generate(prior, tokenizer, prompt, frames=TOTAL, batch=3, seed=10, **SAMPLING).cpu()
again = generate(prior, tokenizer, prompt, frames=TOTAL, seed=11, progress=False, **SAMPLING).cpu()
print("seed 11 alone is seed 11 of the batch:", torch.allclose(several[1], again[0], atol=1e-4))
print("another seed, another video:          ", not torch.equal(several[0], several[1]))
futures = {"film": val_clip[0]} | {f"seed {10 + b}": clip for b, clip in enumerate(several)}
show.player(futures, fps=store.fps, given=PROMPT)

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# The place stays with each seed, and the figure stays at its place. With seed 11 it keeps its shape to the end, but moves little, its feet
# most; the film's figure moves far more. With seed 10 its arm and chest become a black blot about a second after the prompt. With seed 12
# dark blots come and go above it soon after the prompt, and later its face and body come apart.
#
# </details>
#
# ## Classifier-free guidance
#
# In training the prior got the number of the shot as a *label*, in some windows and not in others. So it
# knows two distributions: with the label and without. *Classifier-free guidance* (arXiv:2207.12598) goes from
# the second towards the first, and beyond it. With logits $z$ and guidance $g$:
#
# $$ z = z_\text{without} + g \,(z_\text{with} - z_\text{without}) $$
#
# At $g = 1$ that is the labelled prior; above, what the label makes likelier becomes likelier still.
# (Some papers write $w = g - 1$.)

# %% [markdown] tags=["student"]
# **Your part: guide logits** (easy, 10 minutes). Write `guide(with_label, without, guidance)` for logits `(..., V)`.
#
# <details><summary>Hint 1</summary>
#
# It is the equation, one line. Which of the two is the starting point?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Check by thought: 0 must give `without`, 1 must give `with_label`. Work on logits; softmax comes later.
#
# </details>


# %% tags=["task"]
def guide(with_label, without, guidance):
    """Guided logits (..., V)."""
    ### BEGIN SOLUTION
    return without + guidance * (with_label - without)
    ### END SOLUTION


# %% tags=["grader"]
def check_guide(function):
    z, w = torch.tensor([[2.0, 0.0, -1.0], [1.0, 0.5, -0.2]])
    ours, theirs = branches(torch.tensor([0]), guidance=3.0)[0].weights  # of with and without
    try:
        got = function(z, w, 3.0)
    except Exception as error:
        return f"it stops with {type(error).__name__}: {error}"
    if getattr(got, "shape", None) != z.shape:
        return "expected logits of shape (3,). Is there a return?"
    near = {
        "right: the logits of vg's weighted branches": ours * z + theirs * w,
        "turned round: that goes away from the label": z + 3 * (w - z),
        "one step too far: that is w of some papers, g = 1 + w. Begin at without": z + 3 * (z - w),
        "these are probabilities: guide the logits, softmax comes later": (
            w.softmax(-1) + 3 * (z.softmax(-1) - w.softmax(-1))
        ),
    }
    for sentence, logits in near.items():
        if torch.allclose(got, logits, atol=1e-5):
            return sentence
    return "other logits: is it without + guidance * (with - without)?"


print(check_guide(guide))

# %% [markdown]
# The whole loop with your `guide` must give the tokens of `generate_tokens(..., guidance=3)`. Two states: one reads the label and one does
# not; both read the same drawn tokens. If guidance were mixed up anywhere, the tokens would differ.


# %%
def guided(rows, guidance, **options):
    """Draws for the head, from logits with the label and without (2, levels[i])."""
    rows = iter(rows)  # noise (1, V), one for each call

    def choose(scores):
        drawn = pick(guide(scores[:1], scores[1:], guidance), next(rows), **options)
        return drawn.repeat(2)  # both read the same digit

    return choose


@torch.no_grad()
def guided_tokens(label, count, guidance, seed, **options):
    """The first ``count`` tokens of a video from nothing, guided by a label: digits (count, n)."""
    labels = [torch.tensor([n], device=device()) for n in (label, -1)]  # -1: none
    caches, fresh, out = [DecodeState(), DecodeState()], None, []
    for u in noise_for(count, seed):  # (n, V)
        pair = torch.cat([prior.advance(c, fresh, n) for c, n in zip(caches, labels)])  # (2, D)
        out.append(prior.head.sample(pair, guided(u[:, None], guidance, **options))[0])
        fresh = out[-1][None, None]
    return torch.stack(out)


longest = sorted(train_shots, key=lambda shot: shot[0] - shot[1])[:2]
scenes = [store.shots.index(shot) for shot in longest]  # the label is the shot's number
fixed = {"seed": 0, "temperature": 1.0, "top_p": 0.97}
ours = guided_tokens(scenes[0], 64, 3.0, **fixed)
for g in (3.0, 1.0):
    theirs = generate_tokens(prior, None, 1, label=scenes[0], guidance=g, progress=False, **fixed)
    same = torch.equal(ours, prior.digits(theirs)[0, :64])
    print(f"guided by hand with 3, vg with {g:g}: the same tokens {same}")

# %% [markdown]
# One vector for a scene cannot say where the wall is and where the window. So each label also has a *layout*: for every place
# of the grid, the mean of all codes seen there in training. It is computed once, from training shots. Whole
# clips from nothing but a label, beside the shot of that number:

# %%
# NBVAL_IGNORE_OUTPUT
scene = scenes[0]
from_label = {"the film's shot": store.clip(store.shots[scene][0], store.shots[scene][0] + NEW)[0]}
for g in (1.0, 2.0, 3.0):
    made = generate(prior, tokenizer, frames=NEW, seed=0, label=scene, guidance=g, **SAMPLING)
    from_label[f"guidance {g:g}"] = made[0].cpu()
show.player(from_label, fps=store.fps)

# %% [markdown]
# <details><summary>What more guidance buys. What the stored run shows</summary>
#
# The place comes from the layout and can be recognised already at 1, most of all at lower right. More guidance brings out more of it: the
# pans on the wall and the dark edge at the right. Figures are blots. At 1 some are at the top, where the film has nobody; at 2 and 3 they stand
# about where the film's figure stands, but have no truer shape: a layout is a mean over all frames of a shot, and who stands where, and how,
# is not in it. Since these shots were trained on, this is memory and not foresight.
#
# A label is a weak beginning. What moves is less often whole in clips from a label alone than in continuations of a clip
# (`RESULTS.md`; notebook 10 explains the measure). A label says where things stand, not how figures look and move.
#
# </details>
#
# ### The past as a guide
#
# The same equation with "after all latent frames so far" for *with*, and "as if this latent frame were the first" for *without*, is
# *history guidance* (arXiv:2502.06764; for text, arXiv:2305.14739). It needs no extra training: windows begin anywhere in a shot, so the prior
# knows both. Above 1, whatever the past makes likelier becomes likelier still. What suits was measured: `history` among the
# options printed above.
#
# ## Longer than any training clip
#
# ALiBi has no last position, so nothing stops the loop at the training window. Two things change. Each token attends to all
# before it and takes longer, unless `window` bounds how far back it looks: older keys and values are dropped. And
# whatever goes wrong stays in the past that everything after it reads.


# %%
# NBVAL_IGNORE_OUTPUT
def motion(clip, parts=1):
    """Mean change from frame to frame after the prompt, in grey levels, in so many parts of equal length."""
    change = steps(clip[None])[0, PROMPT:]
    return "  ".join(f"{float(part.mean()):.2f}" for part in change.chunk(parts))


length = max(GIVEN + 2, settings.long * window)  # latent frames
long = {}
print("motion, grey levels a frame: film", motion(val_clip[0]))
through = tokenizer.decode(tokenizer.encode(val_clip.to(device())))[0].cpu()
print("    through the tokenizer", motion(through))
for name, bound in {"bounded": window, "no bound": None}.items():
    begin = time.perf_counter()
    drawn = generate_tokens(prior, tokens, length, seed=0, window=bound, **SAMPLING)
    print(f"{name}: {length * span / store.fps:.0f} s, made in {time.perf_counter() - begin:.0f} s")
    with torch.no_grad():
        long[name] = tokenizer.decode(drawn)[0].cpu()
    print("    by quarter:", motion(long[name], 4))
show.player(long, fps=store.fps, given=PROMPT)

# %% [markdown]
# <details><summary>Does motion last? What the stored run shows</summary>
#
# Not as in the film. Half of the film's motion is lost in the tokenizer already, and half of the rest in drawing. Both videos look
# the same for more than half of their length: soon after the prompt the figure nearly stands still, and what the number counts is
# mostly small changes inside it. Without the bound it stays so to the end. With the bound the figure then comes apart into dark blots,
# which change from frame to frame, so that the number grows, while the place stays. A shape that is lost does not come back: what has
# been drawn badly is the past of all that follows. The bound saves no time at this length. One video
# of one seed cannot say which of the two is better.
#
# </details>
#
# ## At 128 pixels
#
# The larger pair has four patches in each token, side by side (notebook 05). Its clips have the film's own shape, 128x152 pixels, so a latent
# frame is 16x19 tokens, and each has twice as many digits. Its patches have eight frames each. The past guides here too (`history`), so each
# latent frame is read twice. Its options are those that its clips were measured with, the same as above. The prompts are
# the beginnings of the same held-out shots as above.

# %%
# NBVAL_IGNORE_OUTPUT
large_pair = open_pair("prior-128")  # both models, and the options that their clips were measured with
large, large_prior = large_pair.tokenizer, large_pair.prior
large_truth = beginnings(large_store, val_shots, settings.clips, TOTAL)
begin = time.perf_counter()
large_made = generate(large_prior, large, large_truth[:, :, :PROMPT], TOTAL, **large_pair.options).cpu()
print(f"{len(large_made)} clips in {time.perf_counter() - begin:.0f} s")
print(f"{len(large_prior.levels)} digits a token, patches of {large.patch}")
rows = {f"film {k}": clip for k, clip in enumerate(large_truth)}
rows |= {f"made {k}": clip for k, clip in enumerate(large_made)}
show.player(rows, fps=store.fps, scale=1, columns=len(large_made), given=PROMPT)

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# Places are sharper than at 64 pixels, and stay. The figure at the wheel moves to the end, but its chest and arms come apart, and at last the upper
# half of the wheel with them. The captain stands firm below and dissolves above: his head and arms are dark blots before two seconds have
# passed. The parrot keeps its body and loses its head. The cow keeps its shape, but hardly moves, and its muzzle dissolves; the film's cow turns.
#
# </details>
#
# ## Your turn
#
# Set seed, temperature, top-p, history, where to start and which scene, then press the button; the
# kernel's interrupt ends it early. The sliders begin at the recommended values. (On a static page only the first clip is shown.)

# %%
# NBVAL_IGNORE_OUTPUT
starts = {
    "held-out clip": val_clip[:, :, :PROMPT],
    "training clip": train_clip[:, :, :PROMPT],
    "held-out still": val_clip[:, :, :1],
    "nothing": None,
}
scene_menu = {"any": -1} | {f"shot {n}": n for n in scenes}


def make(seed, temperature, top_p, history, start, label):
    prompt, label = starts[start], None if label < 0 else label
    how = {"temperature": temperature, "top_p": top_p, "history": history, "label": label}
    clip = generate(prior, tokenizer, prompt, frames=TOTAL, seed=seed, progress=False, **how)
    held = 0 if prompt is None else -(-prompt.shape[2] // span) * span  # a still: a tubelet
    return show.player({f"{start}, seed {seed}": clip[0].cpu()}, fps=store.fps, given=held)


ends = {"temperature": (0.3, 1.5), "top_p": (0.5, 1.0), "history": (1.0, 3.0)}
sliders = {name: (*both_ends, 0.01, float(SAMPLING[name])) for name, both_ends in ends.items()}
show.explorer(make, seed=(0, 20, 1, 0), **sliders, start=list(starts), label=scene_menu)

# %% [markdown]
# ### A live screen
#
# A video without an end has to be decoded as it is drawn. `Stream` does that: each `next` draws a latent frame and decodes it. The decoder looks
# ahead, so the last four frames wait until the next latent frame is known: the first piece has four frames, later ones eight.
# Here are as many latent frames as the clip of seed 11 above has.

# %%
# NBVAL_IGNORE_OUTPUT
stream = Stream(prior, tokenizer, prompt, seed=11, **SAMPLING)
pieces = [next(stream) for _ in range(TOTAL // span)]
print("frames in each piece:", [piece.shape[1] for piece in pieces])
streamed = torch.cat(pieces, dim=1)  # (C, T, H, W)
same = torch.allclose(streamed, again[0, :, : streamed.shape[1]].cpu(), atol=1e-4)
print(f"the first {streamed.shape[1]} of {TOTAL} frames of the whole clip: {same}")

# %% [markdown]
# On the screen, the next latent frame is drawn while this one is shown. What you change takes effect at the next
# one. (On a static page there is only its first frame.)

# %%
# NBVAL_IGNORE_OUTPUT
show.live(prior, tokenizer, val_clip[0, :, :PROMPT], fps=store.fps, **SAMPLING)

# %% [markdown]
# `save` writes GIF or MP4 by the suffix, here to `out/`, which git ignores.

# %%
for suffix in (".gif", ".mp4"):
    path = save(paths.out_dir() / f"08_generation{suffix}", dreams[0], fps=store.fps, scale=4)
    print(path.name, path.is_file() and path.stat().st_size > 0)

# %% [markdown]
# ## What does not work yet
#
# Look for these in the clips above; they are the usual failures of small priors.
#
# - *Blur.* Part of it is the tokenizer's, as the given frames show.
# - *Freezing.* Motion dies down, as in the long video without a bound and with the cow at 128 pixels, or never begins, as after a
#   still; sooner with a low temperature or a small top-p.
# - *Dissolving.* Limbs and faces melt, most of all where they move fast: even the busiest patch has six digits for four frames.
# - *Seams* where patches meet, in space or every fourth frame.
# - *No events.* The prior looks back a few seconds and has no plan.
# - *A small world.* It has seen a few minutes of one film and makes no places that are not in it.
#
# What helps is known in kind: more film, more bits for what moves, more width, more steps.
#
# ## Exercise
#
# **Paint in one half** (hard, 30 minutes). The loop can be told some tokens and draw the rest. Write
# `paint(tokens, known, seed)`: `tokens` is `(1, t, h, w)`, `known` a mask of that shape; where it is True the given token
# is put in, elsewhere one is drawn, in the order (t, h, w). Start from `decode`: the first call of
# `prior.advance` gets `None`.


# %%
def paint(tokens, known, seed):
    return None  # yours


def check_paint(function):
    some_tokens = tokens[:, :1]
    known = torch.zeros_like(some_tokens, dtype=torch.bool)
    known[..., : grid[1] // 2] = True  # the left half
    got = function(some_tokens, known, 0)
    if got is None:
        return "not yet: paint returns None"
    if got.shape != some_tokens.shape:
        return f"wrong shape: {tuple(got.shape)}, expected {tuple(some_tokens.shape)}"
    if not torch.equal(got[known], some_tokens[known]):
        return "known tokens were changed: put them in the place of the draw"
    if torch.equal(got, some_tokens):
        return "the unknown tokens came out as they were: do you look at known?"
    after_nothing, drawn = function(torch.zeros_like(some_tokens), known, 0), ~known
    if torch.equal(got[drawn], after_nothing[drawn]):
        return "the drawn half does not depend on the known half: feed the known token"
    same = torch.equal(got, function(some_tokens, known, 0))
    return "right" if same else "the same seed gives two videos"


print(check_paint(paint))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def paint(tokens, known, seed):
#     state, fresh, out = DecodeState(), None, []
#     true, mask = prior.digits(tokens), known.flatten(1)  # (1, L, digits), (1, L)
#     for k, u in enumerate(noise_for(true.shape[1], seed)):
#         hidden = prior.advance(state, fresh)
#         drawn = prior.head.sample(hidden, chooser(u[:, None], top_p=SAMPLING["top_p"]))
#         fresh = (true[:, k] if mask[0, k] else drawn)[:, None]
#         out.append(fresh)
#     return prior.quantizer.indices(torch.cat(out, dim=1)).view(tokens.shape)
# ```
#
# Decode it and look at the seam. A sampled token sees what is known above and before it, not what is known below
# and later. That is the price of an order.
#
# </details>
#
# ## Summary
#
# - Generation is a loop: hidden state, logits, temperature, cut, draw, append. A KV cache makes a step read one token.
# - Temperature and top-p act on digits; over whole tokens the same numbers mean something else.
# - Noise made beforehand makes a draw repeatable, and several tokens a pass possible.
# - Guidance is a step from the logits without something, a label or the past, to those with it, and beyond.
# - A prompt, a still, a label or nothing: only what the loop begins with differs.
#
# **The whole course.** [00](00_start_here.ipynb) turned a film into shots and clips.
# [05](05_tubelet_fsq_vae.ipynb) turned a clip into a few integers and back. [06](06_latent_cache.ipynb) wrote the whole film down as
# integers, once. [07](07_transformer.ipynb) learned their order. Here that order was read out again as new video. Single clips
# persuade too easily, so [10 Is it any good?](10_is_it_any_good.ipynb) measures them. Before that,
# [09 One model, many tasks](09_one_model_many_tasks.ipynb) asks the same weights for more.
#
# ## References
#
# - Holtzman et al., 2020, *The curious case of neural text degeneration*, arXiv:1904.09751 (nucleus sampling, top-p).
# - Ho and Salimans, 2022, *Classifier-free diffusion guidance*, arXiv:2207.12598; by the past of a video: Song et al., 2025,
#   *History-guided video diffusion*, arXiv:2502.06764; of a text: Shi et al., 2023, *Trusting your evidence*, arXiv:2305.14739.
# - Teng et al., 2024, *Accelerating auto-regressive text-to-image generation with training-free speculative Jacobi decoding*,
#   arXiv:2410.01699; with shared noise: So et al., 2025, *MC-SJD: Maximal coupling speculative Jacobi decoding for autoregressive
#   visual generation acceleration*, arXiv:2510.24211.
# - Yan et al., 2021, *VideoGPT: Video generation using VQ-VAE and transformers*, arXiv:2104.10157.
# - Press et al., 2022, *Train short, test long*, arXiv:2108.12409 (ALiBi).
