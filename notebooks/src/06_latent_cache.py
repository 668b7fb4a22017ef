# %% [markdown]
# # 06 Latent cache
#
# The transformer of notebook 07 reads integers, thousands of windows of them, again and again. Here the whole film is
# encoded once, and its integers are kept: a *cache*. Every cache is a trade. What it holds is cheap to read, and always
# the same.
#
# **After this notebook you will be able to**
# - measure what encoding at every step costs, and what a cache costs instead, in seconds and in bytes;
# - pack tokens into integers of the right width, and read windows of them from a memory map;
# - list the views of a shot, and draw windows that never cross a cut;
# - name everything that belongs in a cache's key, and say what goes wrong without it;
# - say what a cache costs in quality: the same views, again and again.
#
# **You need** [notebook 05](05_tubelet_fsq_vae.ipynb) for what a token is, and notebook 00 for shots and splits. The
# tokenizer comes with the repository.
#
# **Time:** about 1.5 hours of study, 2 with the tasks; about 4 minutes of computing on a two-core laptop, and 3 more
# the first time.
#
# **Before:** [05 Tubelet FSQ-VAE](05_tubelet_fsq_vae.ipynb). **Next:** [07 Transformer](07_transformer.ipynb).

# %%
# NBVAL_IGNORE_OUTPUT
import copy
import dataclasses
import hashlib
import json
import math
import subprocess
import sys
import tempfile
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vg import checkpoints, evaluation, latents, show
from vg.data import Clips, film, open_store, split_shots
from vg.data.augment import random_views
from vg.experiments.batches import pack_batch
from vg.experiments.losses import prior_loss
from vg.latents import LatentCache, open_cache
from vg.models import FSQ
from vg.profiles import device, profile
from vg.progress import tqdm

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

show.style()
print(f"profile {profile().name}, device {device()}")

# %%
settings = profile().settings(  # smoke, laptop, gpu
    frames=(240, None, None),  # of the film; None: all
    held_out=(0.35, 0.1, 0.1),  # share of the frames in validation shots
    repeats=(2, 5, 5),  # of each timing
    steps=(4, 1000, 3000),  # of the small predictor
    every=(2, 100, 300),  # steps between two validations
    batch=(1, 2, 8),  # windows
)

# %% [markdown]
# The film as notebook 00 left it, and the shipped tokenizer of notebook 05. A token stands for 8x4x4 pixels, as two
# *patches* of 4 frames, one after the other. A patch has six digits: two base digits, and four details, which stay in
# the middle unless the patch is one of the busiest. So a token has twelve.
#
# A *latent frame* is all tokens of the same 8 frames, a grid of `h` x `w`. A *window* is 4 latent frames in a row: what
# the transformer sees at once.

# %%
# NBVAL_IGNORE_OUTPUT
source = film()
store = open_store(source, frames=settings.frames)
split = split_shots(store.shots, settings.held_out)
train_shots, val_shots = split.train, split.held_out
tokenizer = checkpoints.load("tubelet-fsq-64", device=device())
codes, (span, rows, columns) = math.prod(tokenizer.levels), tokenizer.tubelet
grid, length = (64 // rows, 64 // columns), 4  # (h, w); latent frames in a window
print(source.describe(), store, sep="\n")
patches = math.prod(tokenizer.config.group)  # in a token
print(f"tubelet {tokenizer.tubelet}, levels {tokenizer.levels}: {codes:,} codes")
print(f"a window: {length * span} frames, {length} x {grid[0]} x {grid[1]} tokens")

# %% [markdown]
# ## What a cache saves: time
#
# ```
# without   frames --> tokenizer --> tokens --> transformer     at every step
# with      frames --> tokenizer --> file                       once
#           file   --> tokens    --> transformer                at every step
# ```
#
# The tokenizer is frozen: the same frames give the same integers, so encoding them at every step is work done again. Is
# it much work? Encode a batch of windows, and let the shipped transformer learn from them for one step.


# %%
# NBVAL_IGNORE_OUTPUT
def seconds_of(work):
    """The least of several times: the others had to wait for something else."""
    times = []
    for _ in range(settings.repeats):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)


def encode_some():
    return tokenizer.encode(clips.sample(settings.batch, dice).to(device())).cpu()


def learn_from(some):
    batch = pack_batch(some, torch.full((len(some),), -1), backwards=0)  # -1: the shot is unknown
    prior_loss()(prior, batch.to(device())).backward()
    return float(prior.start.grad.sum())  # a number: so a GPU is waited for


dice = torch.Generator().manual_seed(0)
clips = Clips(store, train_shots, frames=length * span)
prior = checkpoints.load("prior-64", device=device()).requires_grad_(True)
some_tokens = encode_some()
encoding, learning = seconds_of(encode_some), seconds_of(lambda: learn_from(some_tokens))
print(f"{settings.batch} windows: encoded in {encoding:.3f} s, learned from in {learning:.3f} s")
print(f"encoding at every step makes a step {encoding / learning:.0%} longer")

# %% [markdown]
# Remember the last line. It is the price of doing without a cache. The section *A cache against fresh views* is about what
# that price buys.
#
# ## What a cache takes: bytes
#
# Encode the film once, each shot by itself. How many bytes are its latent frames in this form or that? Some pipelines
# store float vectors, or all features of the encoder. The last lines are what a general compressor makes of the
# integers, and the *raw bits* of notebook 05: the digits in use, and nothing else.

# %%
# NBVAL_IGNORE_OUTPUT
by_shot = {}  # the shots that are as long as a tubelet: number -> (t, h, w)
for k, (start, stop) in enumerate(store.shots):
    whole = (stop - start) // span * span  # the rest fills no tubelet
    if whole:
        by_shot[k] = tokenizer.encode(store.clip(start, start + whole).to(device()))[0].cpu()
tokens = torch.cat(list(by_shot.values()))  # (t, h, w)
count, as_uint32 = tokens.numel(), tokens.numpy().astype(np.uint32)
sizes = {
    "features, float32": 4 * count * patches * tokenizer.config.width,
    "pixels, float32": 4 * count * span * rows * columns,
    "pixels, uint8": count * span * rows * columns,
    "latent vectors, float32": 4 * count * len(tokenizer.levels),
    "indices, int64 (as torch has them)": 8 * count,
    "indices, uint32": as_uint32.nbytes,
    "indices, uint32, by zlib": len(zlib.compress(as_uint32.tobytes(), 9)),
    "raw bits": len(tokens) * tokenizer.raw_bits((span, 64, 64)) / 8,
}
print(f"{len(tokens):,} latent frames of {grid[0]} x {grid[1]} tokens")

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
figure, axes = plt.subplots(figsize=(7, 2.6))
drawn = axes.barh(list(sizes), [size / 1e6 for size in sizes.values()], height=0.62)
axes.bar_label(drawn, [f"{size / 1e6:.2f} MB" for size in sizes.values()], padding=4, fontsize=8)
axes.set(xscale="log", xlabel="megabytes", title="the film once, in one view")
axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
axes.set_xlim(right=6 * max(sizes.values()) / 1e6)
axes.invert_yaxis()
axes.grid(visible=False)
plt.show()

# %% [markdown]
# ## Packing digits into integers
#
# A token's digits $d_i$ with levels $L_i$ become one index, as in notebook 05:
#
# $$\text{index} = \sum_i d_i \prod_{j<i} L_j \;<\; \prod_j L_j$$
#
# On disk an integer has a fixed width. If it is too narrow, numpy does not complain. It wraps round:

# %%
print(np.array([0, 65535, 65536, codes - 1]).astype(np.uint16).tolist())

# %% [markdown]
# So the width follows from the levels. `vg` stores at least 16 bits, which hold 65,536 values: enough for the six
# digits of a patch, not for the twelve of a token. These need 32.

# %% [markdown] tags=["student"]
# **Your part: `pack`** (medium, 15 minutes). `digits (..., n)` is a numpy array of integers, `levels` a tuple of n.
# Return the indices `(...)`, the first digit running fastest, as `uint16` where all codes fit, else `uint32`, else
# `uint64`.
#
# <details><summary>Hint 1</summary>
#
# 16 bits hold the codes 0 to $2^{16} - 1$, so $2^{16}$ codes still fit. The number of codes is `math.prod(levels)`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Compute in a wide type and cast at the end: `uint8` digits multiplied by 200 wrap round.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `worth = np.array([math.prod(levels[:i]) for i in range(len(levels))], np.uint64)`
#
# </details>


# %% tags=["task"]
def pack(digits, levels):
    """Digits (..., n) -> indices (...), in the smallest type that holds all codes."""
    ### BEGIN SOLUTION
    total = math.prod(levels)
    worth = np.array([math.prod(levels[:i]) for i in range(len(levels))], np.uint64)
    wide = (digits.astype(np.uint64) * worth).sum(-1)
    return wide.astype(np.uint16 if total <= 2**16 else np.uint32 if total <= 2**32 else np.uint64)
    ### END SOLUTION


# %% tags=["grader"]
def check_pack(function):
    for levels in [(8, 5, 5, 5, 5, 5), (16, 16, 16, 16), (8,) * 6, (8,) * 12]:
        last, one = [n - 1 for n in levels], [1, *[0] * (len(levels) - 1)]
        try:
            got = function(np.array([last, one], np.uint8), levels)
        except Exception as error:
            return f"it stops with {type(error).__name__}: {error}. digits are (..., n)"
        if not isinstance(got, np.ndarray) or got.shape != (2,):
            is_a = f"{type(got).__name__} {getattr(got, 'shape', '')}"
            return f"it gives {is_a}, expected an array (2,) for digits (2, n)"
        total = math.prod(levels)
        kind = "uint16" if total <= 2**16 else "uint32" if total <= 2**32 else "uint64"
        if got.dtype.name != kind:
            return f"codes 0 to {total - 1:,} want {kind}, got {got.dtype.name}"
        right = FSQ(levels).indices(torch.tensor([last, one])).tolist()
        if int(got[1]) != right[1]:
            return f"digits {one} are {right[1]}, got {int(got[1])}: the first digit runs fastest"
        if int(got[0]) != right[0]:
            return f"digits {last} are {right[0]}, got {int(got[0])}: did a product wrap round?"
    return "right: as vg counts, in the type that holds it"


print(check_pack(pack))

# %%
# NBVAL_IGNORE_OUTPUT
digits = tokenizer.quantizer.digits(tokens.to(device())).cpu().numpy()  # (t, h, w, n)
packed = pack(digits, tokenizer.levels)
print("the film, digit by digit:", digits.shape, "packed:", packed.shape, packed.dtype)
print("the integers that the tokenizer gave:", np.array_equal(packed, as_uint32))

# %% [markdown]
# ## A shot is one stream
#
# The encoder is causal in time, so a long shot can be encoded in pieces, if each piece is given what came before
# (`past`). (The decoder looks ahead. A cache only encodes.) And a stream ends where its shot ends. The cell encodes a
# shot in pieces, with the past and without; then two neighbouring shots as if they were one, and the second alone.

# %%
# NBVAL_IGNORE_OUTPUT
longest = max(by_shot, key=lambda k: len(by_shot[k]))
begin_at = store.shots[longest][0]
video = store.clip(begin_at, begin_at + len(by_shot[longest]) * span)
past = {}
pieces = video.to(device()).split(2 * span, dim=2)
streamed = torch.cat([tokenizer.encode(piece, past)[0].cpu() for piece in pieces])
forgetful = torch.cat([tokenizer.encode(piece)[0].cpu() for piece in pieces])
for name, found in {"with the past": streamed, "without the past": forgetful}.items():
    print(f"in pieces, {name}: {(found == by_shot[longest]).float().mean():.1%} as in one go")

long = [k for k in by_shot if len(by_shot[k]) >= 2]
after = next(k for k in long if k - 1 in long)
cut = store.shots[after][0]
across = tokenizer.encode(store.clip(cut - 2 * span, cut + 2 * span).to(device()))[0, 2:].cpu()
differ = (across != by_shot[after][:2]).flatten(1).float().mean(1)
print(f"encoded across a cut: {differ[0]:.0%} of the first latent frame after it is other tokens")

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# With the past, the pieces give the tokens of the whole. (Sums in another order can move a rare value that lies on the
# edge between two levels.) Without it, many tokens of each piece's first latent frame differ. Across a cut, more than half
# of the first latent frame's tokens are others, because of a scene that has nothing to do with them.
#
# </details>
#
# ### Views
#
# A tubelet spans 8 frames. Cut a shot into tubelets from its frame 0 on, or from frame 1 on: the pixels are nearly the
# same, the blocks are not. Each such *phase* is a *view* of the shot. The mirror image doubles them. Frames before the
# phase, and a tail that fills no tubelet, are in no token of that view.

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
_, axes = plt.subplots(figsize=(8, 2.8))
for phase in range(8):
    axes.barh(phase, 21, color="#d8d8d8", height=0.7)
    for k in range((21 - phase) // 8):
        axes.barh(phase, 8, left=phase + 8 * k, color="#2f6f9f", edgecolor="white", height=0.7)
        words = f"latent frame {k}"
        axes.text(phase + 8 * k + 4, phase, words, ha="center", va="center", color="white", size=7)
axes.invert_yaxis()
axes.set(title="a shot of 21 frames in eight phases; grey: in no tubelet", xlim=(0, 21))
axes.set(xlabel="frame", ylabel="phase in frames", yticks=range(8), xticks=range(0, 22, 3))
axes.grid(visible=False)
plt.show()

# %% [markdown]
# `open_cache` encodes every shot in all 16 views, the first time; later it only reads what it finds. How much do two
# views of a shot have in common? The cell compares each phase with phase 0, token by token, and the mirrored view's
# tokens with those of the plain one, flipped.

# %%
# NBVAL_IGNORE_OUTPUT
begin = time.perf_counter()
cache = open_cache(store, tokenizer)
print(f"{cache}\nready after {time.perf_counter() - begin:.1f} s")
print(f"encoding it takes about {len(cache.tokens) / length / settings.batch * encoding:.0f} s")


def common(phase, mirrored=False):
    """Share of tokens that are those of the plain view in phase 0, at the same place."""
    same = []
    for entry in cache.entries:
        if (entry.phase, entry.mirrored) == (phase, mirrored):
            found = cache.indices(entry)
            found = found.flip(-1) if mirrored else found
            same.append((found == by_shot[entry.shot][: len(found)]).flatten())
    return float(torch.cat(same).float().mean())


shares = {f"phase {phase}": common(phase) for phase in range(1, span)}
show.bars(shares | {"mirrored": common(0, True)}, "tokens as in phase 0", unit="share of tokens")

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# Even one frame later most tokens differ, though an eye sees the same picture. A code also says what is
# left and right in its tubelet, so the mirror image is not the mirrored tokens. To a model of tokens, each view is new
# text.
#
# </details>
#
# ## A file, and windows of it
#
# All streams, one after another, are one table: a row is a latent frame. Write it, and open it as a *memory map*: an
# array whose bytes stay on disk until they are asked for. A film of any length then fits.

# %%
# NBVAL_IGNORE_OUTPUT
scratch = tempfile.TemporaryDirectory()
folder = Path(scratch.name)
np.save(folder / "tokens.npy", packed)
table = np.load(folder / "tokens.npy", mmap_mode="r")
print(type(table).__name__, table.shape, table.dtype)

# %% [markdown]
# Training wants windows of a fixed length. A window that starts too late in a shot would run into the next one.

# %% [markdown] tags=["student"]
# **Your part: `window_starts`** (medium, 10 minutes). `lengths` are the latent frames of each stream, in the order of
# the table. Return the list of all rows at which a window of `length` latent frames starts and stays within its
# stream, every `stride`-th of each stream.
#
# <details><summary>Hint 1</summary>
#
# A stream of 6 holds three windows of 4: at 0, 1 and 2. A stream of 3 holds none.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Keep the row at which each stream begins, and count in it with `range(0, n - length + 1, stride)`.
#
# </details>


# %% tags=["task"]
def window_starts(lengths, length, stride=1):
    """Rows of the table at which a window starts that does not cross a cut."""
    ### BEGIN SOLUTION
    starts, row = [], 0
    for n in lengths:
        starts += [row + k for k in range(0, n - length + 1, stride)]
        row += n
    return starts
    ### END SOLUTION


# %% tags=["grader"]
def check_window_starts(function):
    try:
        got, apart = function([6, 3, 4], 4), function([9, 4], 4, 4)
    except Exception as error:
        return f"it stops with {type(error).__name__}: {error}. stride may be left out"
    if got is None or apart is None:
        return "it gives None: is there a return?"
    got, apart = [int(k) for k in got], [int(k) for k in apart]
    if got == [0, 1]:
        return "the last window of each stream is missing: n - length + 1 of them fit into n"
    if got == [0, 1, 2, 0]:
        return "each stream is counted from row 0: where in the table does it begin?"
    if got == list(range(10)):
        return "windows cross cuts: the one at row 3 holds the end of stream 0 and the start of 1"
    if got != [0, 1, 2, 9]:
        return f"streams of 6, 3, 4: windows of 4 start at [0, 1, 2, 9], got {got}. Short ones?"
    if apart != [0, 4, 9]:
        return f"streams of 9 and 4, stride 4: expected [0, 4, 9], got {apart}. Begin anew in each"
    return "right: no window crosses a cut"


print(check_window_starts(window_starts))

# %% [markdown] tags=["student"]
# **Your part: `read_windows`** (medium, 10 minutes). `table (rows, h, w)` is a memory map of unsigned integers,
# `starts` a list of B rows. Return the windows as an int64 tensor `(B, length, h, w)`. Read only the rows that are
# needed.
#
# <details><summary>Hint 1</summary>
#
# For each start, `table[start : start + length]` reads `length` rows. Stack them along a new first axis.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `torch.embedding` wants int64 and the file has uint32: `.astype(np.int64)`, then `torch.from_numpy`.
#
# </details>


# %% tags=["task"]
def read_windows(table, starts, length):
    """Windows (B, length, h, w), int64, that begin at these rows of the table."""
    ### BEGIN SOLUTION
    found = np.stack([table[start : start + length] for start in starts])
    return torch.from_numpy(found.astype(np.int64))
    ### END SOLUTION


# %% tags=["grader"]
def check_read_windows(function):
    rows = np.arange(50 * 6, dtype=np.uint16).reshape(50, 2, 3)
    endless = np.broadcast_to(np.uint16(0), (2**56, 2, 3))  # more than any memory holds
    starts = [7, 0, 46]
    try:
        got = function(rows, starts, 4)
    except Exception as error:
        return f"it stops with {type(error).__name__}: {error}. Cast to int64 before torch has it"
    if not isinstance(got, torch.Tensor):
        return f"it gives {type(got).__name__}, expected a tensor"
    if got.shape != (3, 4, 2, 3):
        return f"the shape is {tuple(got.shape)}, expected (3, 4, 2, 3): B, length, h, w"
    if got.dtype != torch.int64:
        return f"the windows are {got.dtype}, expected torch.int64"
    if got[:, 0, 0, 0].tolist() != [6 * start for start in starts]:
        return f"windows begin with {got[:, 0, 0, 0].tolist()}, expected {[6 * k for k in starts]}"
    if not torch.equal(got, torch.stack([torch.tensor(rows[k : k + 4].tolist()) for k in starts])):
        return "they begin in the right rows, and go on in wrong ones"
    try:
        function(endless, [2**55], 4)
    except Exception:
        return "right numbers, but all rows are read for a few: index first, then cast"
    return "right: the windows, and no row too many"


print(check_read_windows(read_windows))

# %% [markdown]
# By hand, from our file, and by `vg` from its cache: all windows of phase 0. (`vg` reads its cache whole, as the tokens
# of a short film fit into memory.) Then the measurement from the beginning again, with windows from the file.

# %%
# NBVAL_IGNORE_OUTPUT
starts = window_starts([len(stream) for stream in by_shot.values()], length)
ours = read_windows(table, starts, length)
phase_0 = cache.windows(length, views=[(0, False)])
print(f"windows by hand: {len(starts):,}, as many as vg's: {len(phase_0) == len(starts)}")
agree = (ours == phase_0.take(torch.arange(len(starts)))).float().mean()
print(f"tokens that agree: {agree:.2%}")


def read_some():
    where = torch.randint(len(starts), (settings.batch,), generator=dice).tolist()
    return read_windows(table, [starts[k] for k in where], length)


reading = seconds_of(read_some)
print(f"a batch: encoded in {1e3 * encoding:.1f} ms, read in {1e3 * reading:.3f} ms")

# %% [markdown]
# Training takes windows of the training shots, in all views. Validation takes held-out shots in one view, with windows
# side by side, so that no frame counts twice.

# %%
# NBVAL_IGNORE_OUTPUT
one_view = cache.windows(length, shots=train_shots, views=[(0, False)])
all_views = cache.windows(length, shots=train_shots)
held_out = cache.windows(length, shots=val_shots, views=[(0, False)], stride=length)
both = set(all_views.shots.tolist()) & set(held_out.shots.tolist())
print(f"training: {len(one_view):,} windows in one view, {len(all_views):,} in all 16")
print(f"validation: {len(held_out)} windows; shots on both sides: {len(both)}")

# %% [markdown]
# ## The key: whose integers are these?
#
# A costly mistake: the tokenizer is trained a little more, the old cache stays, and the transformer learns tokens that
# the decoder no longer understands. Nothing crashes, because every index is valid. The cell decodes the cache with the
# right tokenizer, with one whose decoder's first weights were moved a little, and with an untrained one.


# %%
# NBVAL_IGNORE_OUTPUT
def moved(amount):
    """The tokenizer with some weights of its decoder moved by this share of their spread."""
    other, noise = copy.deepcopy(tokenizer), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in other.from_code.parameters():
            step = amount * weight.std().cpu() * torch.randn(weight.shape, generator=noise)
            weight += step.to(weight.device)
    return other


torch.manual_seed(1)
untrained = type(tokenizer)(tokenizer.config).to(device())
shown = by_shot[longest][None, :length].to(device())
decoders = {"right weights": tokenizer, "moved a little": moved(0.2), "untrained": untrained}
decoded = {name: model.decode(shown)[0].cpu() for name, model in decoders.items()}
original = video[0, :, : decoded["untrained"].shape[1]]
for name, made in decoded.items():
    print(f"{name:16}{float(evaluation.psnr(made[None], original[None])):6.1f} dB")
show.strip({"film": original} | decoded, every=8, scale=2)

# %% [markdown]
# Moved a little, the picture hardly changes. That is the danger: no eye would notice. So a cache is filed under a
# *key*, a hash of everything that its integers depend on:
#
# - the **film**: a hash of the file, and the settings it was decoded with (size, frame rate, restoration);
# - the **tokenizer**: a hash of all its weights, for a name stays the same when weights change;
# - the **cuts**: a shot that begins a frame later has other tubelets;
# - the **views**: which phases, mirrored or not.

# %% [markdown] tags=["student"]
# **Your part: `cache_key`** (easy, 10 minutes). `parts` is a dict of numbers, strings, lists and dicts. Write it as
# JSON with sorted keys, and return the first 12 hexadecimal digits of the sha256 of that text.
#
# <details><summary>Hint 1</summary>
#
# `json.dumps(parts, sort_keys=True)` is the text, and `.encode()` makes bytes of it. Why sorted? A dict that was
# filled in another order means the same.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `hashlib.sha256(some_bytes).hexdigest()`. Python's own `hash` will not do: of a string it gives another number in
# every process.
#
# </details>


# %% tags=["task"]
def cache_key(parts):
    """12 hexadecimal digits that change when any of the parts does."""
    ### BEGIN SOLUTION
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
    ### END SOLUTION


# %% tags=["grader"]
def check_cache_key(function):
    parts = {"weights": "b71c", "size": [64, 64], "views": {"phases": [0, 1]}}
    turned = dict(reversed(parts.items()))
    others = [parts | {"weights": "b71d"}, parts | {"views": {"phases": [0, 2]}}]
    try:
        got, again, *changed = (function(each) for each in (parts, turned, *others))
    except Exception as error:
        return f"it stops with {type(error).__name__}: {error}. sha256 wants bytes"
    if not isinstance(got, str):
        return f"it gives {type(got).__name__}, expected a string"
    if got != again:
        return "the same parts in another order have another key: sort_keys=True"
    if got in changed:
        return "another value, and the same key: hash the values too, and those inside of them"
    if len(got) != 12:
        return f"{got!r} has {len(got)} characters, expected 12"
    if got != hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]:
        return "it is no part of the sha256 of the JSON; hash() would change with every process"
    return "right: one key for the same parts, another for any other"


print(check_cache_key(cache_key))

# %% [markdown]
# `latents.plan_of` lists what a cache of `vg` depends on. The cell changes one thing at a time, and says which part of
# the list differs, and what the key is then.

# %%
# NBVAL_IGNORE_OUTPUT
larger = open_store(source, size=128, frames=settings.frames)
(a, b), *later = store.shots
recut = dataclasses.replace(store, shots=[(a, b - 1), (b - 1, later[0][1]), *later[1:]])


def plan(model=tokenizer, frames=store, **views):
    return latents.plan_of(model, frames, name="tubelet-fsq-64", **views)[0]


plans = {
    "nothing": plan(),
    "a weight, by very little": plan(model=moved(1e-3)),
    "another film": plan(frames=dataclasses.replace(store, source_sha256="0" * 64)),
    "128 pixels": plan(frames=larger),
    "one cut, by a frame": plan(frames=recut),
    "phase 0 only": plan(phases=[0]),
    "mirrored too": plan(mirrored=True),
}
print(f"{'changed':28}{'key':16}parts that differ")
for name, parts in plans.items():
    others = [part for part in parts if parts[part] != plans["nothing"][part]]
    print(f"{name:28}{cache_key(parts):16}{', '.join(others) or '-'}")
print("as many keys as plans:", len({cache_key(parts) for parts in plans.values()}) == len(plans))

# %% [markdown]
# The key is part of the folder's name, so caches lie side by side and none takes the place of another. (`vg` does not sort
# the parts, so its digits differ from those above.) And `open` compares the list that is stored beside the tokens, the
# *manifest*, with what it is given:

# %%
# NBVAL_IGNORE_OUTPUT
try:
    LatentCache.open(cache.folder, tokenizer=moved(1e-3))
except latents.CacheMismatch as problem:
    print("CacheMismatch:", str(problem).replace(str(cache.folder.parent), "..."))
print("with the right one:", LatentCache.open(cache.folder, tokenizer=tokenizer, store=store))

# %% [markdown]
# ## A cache against fresh views
#
# A cache repeats itself, and what is read again and again can be learned by heart. Without a cache, every batch can be
# seen from somewhere new: nearer, a little to the side, a little brighter, backwards. These are *fresh views*, and no
# cache can hold them all. Which is better for the model that learns?
#
# To see it in minutes, a small network takes the transformer's place. It predicts no more than the two base digits of a
# patch, as one code, from those of six patches around it: three of the same 4 frames, three of the 4 before. (Not quite what
# a transformer of tokens knows: where the patch is the second of its token, two of the six belong to tokens that come later.)
#
# ```
# 4 frames before           the same 4 frames
#   .   .   .   .             .   n   n   .        n   one of the six
#   .   n   n   .             n   ?   .   .        ?   the patch to predict
#   .   n   .   .             .   .   .   .
# ```


# %%
base_codes = math.prod(tokenizer.config.levels)  # that a patch's base digits can be


def base_digits(windows):
    """Tokens (B, t, h, w) -> the base digits of each patch as one code (B, 2t, h, w)."""
    return tokenizer.patch_indices(windows) % base_codes


def context(known):
    """Base codes (B, t, h, w) -> six known neighbours of each (N, 6), and the codes (N,)."""
    t, h, w = known.shape[1:]
    edge = F.pad(known, (1, 1, 1, 1, 1, 0), value=base_codes)  # one code more: outside

    def at(dt, dy, dx):
        return edge[:, 1 + dt : 1 + dt + t, 1 + dy : 1 + dy + h, 1 + dx : 1 + dx + w]

    now = [at(0, 0, -1), at(0, -1, 0), at(0, -1, 1)]
    before = [at(-1, 0, 0), at(-1, 0, 1), at(-1, 1, 0)]
    return torch.stack(now + before, dim=-1).flatten(0, 3), known.flatten()


class Predictor(nn.Module):
    """Six base codes (N, 6) -> logits of the next (N, base_codes)."""

    def __init__(self, width=32, hidden=256):
        super().__init__()
        self.embed = nn.Embedding(base_codes + 1, width)
        layers = nn.Linear(6 * width, hidden), nn.GELU(), nn.Linear(hidden, base_codes)
        self.net = nn.Sequential(*layers)

    def forward(self, six):
        return self.net(self.embed(six).flatten(1))


def bits(model, windows):
    """Cross-entropy in bits per patch, of each window (B,)."""
    six, code = (part.to(device()) for part in context(base_digits(windows)))
    loss = F.cross_entropy(model(six), code, reduction="none") / math.log(2)
    return loss.view(len(windows), -1).mean(1)


# %% [markdown]
# It is trained three times, with the same steps and the same seed: on one cached view, on all 16 cached views, and on
# fresh views, parts of the film at 128 pixels. All three are measured on the same held-out windows, neither cropped nor
# changed.

# %%
# NBVAL_IGNORE_OUTPUT
parts_of = random_views(Clips(larger, train_shots, frames=length * span), settings.batch, 64)
sources = {
    "one cached view": lambda generator: one_view.sample(settings.batch, generator),
    "16 cached views": lambda generator: all_views.sample(settings.batch, generator),
    "fresh views": lambda generator: tokenizer.encode(parts_of(generator).to(device())).cpu(),
}
judged = held_out.take(torch.arange(len(held_out)))


def train(draw):
    torch.manual_seed(0)
    model, generator = Predictor().to(device()), torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    learned, found, waited = [], [], 0.0
    for step in tqdm(range(1, settings.steps + 1), leave=False):
        begin = time.perf_counter()
        windows = draw(generator)
        waited += time.perf_counter() - begin
        loss = bits(model, windows).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        learned.append(loss.item())
        if step % settings.every == 0:
            with torch.no_grad():
                found.append((step, float(bits(model, judged).mean())))
    return model, sum(learned[-settings.every :]) / settings.every, found, waited


trained = {name: train(draw) for name, draw in sources.items()}

# %%
# NBVAL_IGNORE_OUTPUT
learned_from = base_digits(one_view.take(torch.arange(len(one_view))))
often = torch.bincount(learned_from.flatten(), minlength=base_codes) + 1
by_frequency = float(-(often / often.sum()).log2()[base_digits(judged)].mean())
print(f"{'':18}{'training':>12}{'validation':>12}{'best':>8}{'batches':>10}")
for name, (_, learned, found, waited) in trained.items():
    last, best = found[-1][1], min(value for _, value in found)
    print(f"{name:18}{learned:12.2f}{last:12.2f}{best:8.2f}{waited:8.1f} s")
curves = {name: found for name, (_, _, found, _) in trained.items()}
unit, lines = "bits per patch", {"by frequency": by_frequency}
show.curves(curves, "held-out shots, lower is better", y=unit, baselines=lines)

# %% [markdown]
# *Batches* are the seconds spent waiting for tokens. The dotted line is a guess by how often each code occurs. This is
# one seed and a few shots, so here is the last comparison shot by shot.

# %%
# NBVAL_IGNORE_OUTPUT
with torch.no_grad():
    each = {name: bits(model, judged).cpu() for name, (model, *_) in trained.items()}
gains = {}
for shot in held_out.shots.unique().tolist():
    here = held_out.shots == shot
    start, stop = store.shots[shot]
    gain = (each["16 cached views"] - each["fresh views"])[here].mean()
    gains[f"frames {start} to {stop - 1}"] = float(gain)
ahead = sum(gain > 0 for gain in gains.values())
print(f"fresh views are ahead in {ahead} of {len(gains)} shots")
show.bars(gains, "what fresh views save against 16 cached ones", unit="bits per patch")

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# On one cached view, the validation curve turns up, and training ends far below it: the network learns the view by
# heart. With 16 cached views the gap is smaller, and the curve hardly rises. On fresh views there is no such gap, and
# the validation curve ends lowest; against 16 cached views it is ahead in every held-out shot, by more in some than in others. The gain over 16 views is
# small all the same, probably because so short a training does not even reach every window of the 16 views once. And
# the batches took far longer to make.
#
# </details>
#
# So the trade is this. A cache costs its encoding once, and then next to nothing. Fresh views cost the encoder at every
# step: for the transformer the share that the first measurement printed, for this small network a far larger one. `vg`
# takes both. Of the batches of `prior-64`, one in three came from the cache, most of their windows with the number of
# their shot as a label; two in three were fresh views of several shapes, without a label. To validate, a cache is
# right: what is measured has to stay the same.
#
# ## Appendix: kill -9, and races
#
# Encoding takes a while, and things that take a while get killed. Another Python writes a part of a file over a good one
# and dies. Then it does what `vg` does: write under another name, and rename when all bytes are on the disk. A rename
# (`os.replace`) is *atomic*: whoever looks sees the old file or the new one.

# %%
careless = """
import os, sys
half = sys.stdin.buffer.read()[:10_000]
with open(sys.argv[1], "wb") as file:
    file.write(half)
    file.flush()
    os.kill(os.getpid(), 9)
"""
careful = careless.replace("sys.argv[1]", 'sys.argv[1] + ".tmp"')
good = (folder / "tokens.npy").read_bytes()
for name, program in {"careless": careless, "careful": careful}.items():
    victim = folder / f"{name}.npy"
    victim.write_bytes(good)
    subprocess.run([sys.executable, "-c", program, str(victim)], input=good)
    print(f"{name}: killed halfway, the good file is whole: {victim.read_bytes() == good}")

# %% [markdown]
# `vg.latents.write` makes a cache of several files (*shards*), each in this way, and the manifest last: a folder
# without one is not finished. So a stopped run goes on where it was. Here it is stopped after three of six streams, as
# if somebody had pressed the stop button, and called again. Then two processes, played by threads, share the work, and
# each leaves the other's shards alone.


# %%
# NBVAL_IGNORE_OUTPUT
class Stopped(type(tokenizer)):
    """A tokenizer that somebody stops after three streams."""

    calls = 0

    def encode(self, video, past=None):
        self.calls += 1
        if self.calls > 3:
            raise KeyboardInterrupt
        return super().encode(video, past)


place = Path(tempfile.mkdtemp(dir=folder))
few = dataclasses.replace(store, shots=[store.shots[k] for k in long[:3]])
how = {"name": "mine", "phases": [0, 4], "shard_frames": 1, "progress": False}  # a shard a shot


def write(name, rank=0, world_size=1, model=None):
    mine = model or copy.deepcopy(tokenizer)
    return latents.write(place / name, mine, few, rank=rank, world_size=world_size, **how)


def bytes_of(name):
    return {path.name: path.read_bytes() for path in (place / name).iterdir()}


stopping = copy.deepcopy(tokenizer)
stopping.__class__ = Stopped
write("in one go")
try:
    write("stopped", model=stopping)
except KeyboardInterrupt:
    print("stopped; there are", *sorted(bytes_of("stopped")))
write("stopped")
print("called again, the same bytes:", bytes_of("stopped") == bytes_of("in one go"))
with ThreadPoolExecutor(2) as pool:
    list(pool.map(lambda rank: write("by two", rank, 2), range(2)))
print("by two, the same bytes:     ", bytes_of("by two") == bytes_of("in one go"))

# %% [markdown]
# ## Exercise
#
# The cell runs as it is and says what is missing.
#
# ### Fewer bytes still (medium, 15 minutes)
# Two patches share a uint32: 16 bits for each, and most patches leave most of them unused, since they have no details.
# Instead, number all the ways in which the `n` patches of the same 4 frames can be filled, and write the number of the
# way. Each patch has one of `base` codes. `busy` of the patches, no matter which, have one of `details` codes as well.
# Return `(a, b)`: the bytes of the `n` patches two to a uint32, and as one such number. (`math.comb(n, busy)` counts
# the ways to choose, and Python's integers are as long as you like.)


# %%
def bytes_needed(n, busy, base, details):
    return None


def check_bytes(function):
    for n, busy, base, details in [(2, 0, 256, 1), (256, 51, 40, 625), (8, 4, 40, 3)]:
        made = function(n, busy, base, details)
        ways = math.comb(n, busy) * base**n * details**busy
        right = 2 * n, ((ways - 1).bit_length() + 7) // 8
        if made is None:
            return "not yet: bytes_needed returns None"
        if made[0] != right[0]:
            return f"{n} patches two to a uint32: {made[0]} bytes, expected {right[0]}"
        if made[1] != right[1]:
            return f"{n} patches, {busy} of them busy: {made[1]} bytes, not {right[1]}: round up once"
    return "right"


print(check_bytes(bytes_needed))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def bytes_needed(n, busy, base, details):
#     largest = math.comb(n, busy) * base**n * details**busy - 1
#     return 2 * n, (largest.bit_length() + 7) // 8
# ```
#
# This is how the raw bits are counted, and about half of what uint32 takes. But one patch can no longer be read without
# all the others. zlib finds repetition, which this does not, and needs about as much. The transformer of notebook 07 is
# a better packer than both: its bits per token are those that an arithmetic coder would write.
#
# </details>
#
# ## Summary
#
# - A frozen tokenizer gives the same integers for the same frames. A cache computes them once; reading is far cheaper
#   than encoding, and integers are small.
# - A shot is one stream: encoded with its past, never across a cut. Phases and the mirror image make 16 views of it.
# - The width of an integer follows from the levels. A memory map reads only the rows of a window.
# - A cache's key is a hash of all that its integers depend on: film, tokenizer, cuts, views. A name is not enough.
# - A cache repeats itself, and a model can learn it by heart. Fresh views cost the encoder at every step.
#
# **Next:** [07 Transformer](07_transformer.ipynb) learns which token follows which.
#
# ## References
#
# - Mentzer and others: *Finite Scalar Quantization: VQ-VAE Made Simple*, 2023, arXiv:2309.15505 (levels and indices).
# - Rombach and others: *High-Resolution Image Synthesis with Latent Diffusion Models*, 2022, arXiv:2112.10752 (float
#   latents, computed by a frozen autoencoder).
# - Yan and others: *VideoGPT*, 2021, arXiv:2104.10157 (a transformer over the codes of a frozen tokenizer).
# - Pillai and others: *All File Systems Are Not Created Equal*, OSDI 2014 (what a crash can leave).
