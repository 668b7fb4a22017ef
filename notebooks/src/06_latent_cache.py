# %% [markdown]
# # 06 Latent cache
#
# The transformer of the next notebook reads integers, thousands of windows of them, again and again. Here the whole film
# is written down as integers once, so that nothing is ever encoded twice.
#
# **After this notebook you will be able to**
# - say what encoding on the fly costs, in seconds and in bytes, on your machine;
# - write a file so that a crash leaves either all of it or nothing;
# - build a cache that goes on where it was stopped, and that refuses to be read with the wrong tokenizer;
# - explain why one shot has eight times two token streams, and use them all;
# - draw training windows from the cache that never cross a cut.
#
# **You need** notebook 00 for shots and splits, and [notebook 05](05_tubelet_fsq_vae.ipynb) for what a tubelet
# token is. The tokenizer is loaded from the weights that come with the repository.
#
# **Minutes:** about 4 on a two-core laptop, about 1 with a GPU.
#
# **Before:** [05 Tubelet FSQ-VAE](05_tubelet_fsq_vae.ipynb). **Next:** [07 Transformer](07_transformer.ipynb).

# %%
# NBVAL_IGNORE_OUTPUT
import copy
import dataclasses
import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
import warnings
import zlib
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import safetensors.numpy
import torch

from vg import checkpoints, evaluation, latents, show
from vg.data import Clips, film, open_store, split_shots
from vg.hashing import weight_hash
from vg.latents import LatentCache, open_cache
from vg.profiles import device, profile

show.style()
torch.manual_seed(0)
source = film()
print(f"profile {profile().name}, device {device()}")
print(source.describe())

# %%
# NBVAL_IGNORE_OUTPUT
store = open_store(source, frames=profile().pick(smoke=240, laptop=None, gpu=None))
tokenizer = checkpoints.load("tubelet-fsq-64", device=device())
codes = math.prod(tokenizer.levels)
print(store)
print(f"tubelet {tokenizer.tubelet}, levels {tokenizer.levels}: {codes:,} codes, {math.log2(codes):.1f} bits a token")
span, rows, columns = tokenizer.tubelet
grid = (64 // rows, 64 // columns)  # (h, w): a latent frame is all tokens of the same 8 frames
length = 4  # latent frames in a window
print(f"a window: {length * span} frames, {length} x {grid[0]} x {grid[1]} = {length * grid[0] * grid[1]} tokens")

# %% [markdown]
# ## Why a cache: time
#
# Training takes a random window, encodes it, and learns from the integers. Next step, next window. How long does the
# encoding take? We encode a few batches of 8 windows and take the fastest of the times. Then we read a table of integers at
# random places, which is all that a cache has to do.


# %%
# NBVAL_IGNORE_OUTPUT
def fastest(work, repeats=5):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def on_the_fly():
    return tokenizer.encode(clips.sample(8, generator).to(device())).cpu()  # .cpu() waits for a GPU


def from_a_table():
    where = torch.randint(len(table) - length, (8, 1), generator=generator) + torch.arange(length)
    return torch.from_numpy(table[where.numpy()].astype(np.int64))


generator = torch.Generator().manual_seed(0)
clips = Clips(store, frames=length * span)
table = np.random.default_rng(0).integers(codes, size=(10_000, *grid), dtype=np.uint16)
slow, fast = fastest(on_the_fly) / 8, fastest(from_a_table) / 8
steps, batch = 3000, 8
print(f"a window: encoded in {slow * 1e3:.2f} ms, read in {fast * 1e6:.0f} us, {slow / fast:,.0f} times faster")
print(f"for {steps:,} steps of {batch} windows: {steps * batch * slow / 60:.1f} min, or {steps * batch * fast:.1f} s")

# %% [markdown]
# Is the time of encoding much? Compare it with the time that a training step takes in notebook 07. Whatever the
# answer, the tokenizer is frozen: the same frames give the same integers, and encoding them at every step is work done again.
#
# ## Why integers: bytes
#
# Many pipelines cache latents too, but as float32 vectors, as long as a token has digits, or with all the features of the encoder.
# How many bytes is that for this film (one view of each frame)? All are written into files here, and the sizes are those of the files. The last
# line is what zlib makes of the integers: what it finds is repetition.

# %%
# NBVAL_IGNORE_OUTPUT
scratch = tempfile.TemporaryDirectory()
folder = Path(scratch.name)
whole = sum((stop - start) // span for start, stop in store.shots)  # latent frames, no ragged tails
tokens = torch.cat(
    [
        tokenizer.encode(store.clip(start, start + (stop - start) // span * span).to(device()))[0].cpu()
        for start, stop in store.shots
        if stop - start >= span
    ]
)  # t h w
vectors = tokenizer.quantizer.codes(tokens.to(device())).float().cpu().numpy()
kinds = {
    "pixels, float32": np.zeros((whole * span, 64, 64), np.float32),
    "pixels, uint8": np.array(store.frames[: whole * span, 0]),
    f"features, float32 ({tokenizer.config.width})": np.zeros((*tokens.shape, tokenizer.config.width), np.float32),
    f"latent vectors, float32 ({len(tokenizer.levels)})": vectors,
    "indices, int64 (as torch has them)": tokens.numpy(),
    "indices, uint16": tokens.numpy().astype(np.uint16),
}
sizes = {}
for name, array in kinds.items():
    safetensors.numpy.save_file({"x": np.ascontiguousarray(array)}, folder / "x.safetensors")
    sizes[name] = (folder / "x.safetensors").stat().st_size
sizes["indices, uint16, packed by zlib"] = len(zlib.compress(kinds["indices, uint16"].tobytes(), 9))
del kinds
print(f"{whole:,} latent frames of {grid[0]}x{grid[1]} tokens")
for name, size in sizes.items():
    print(f"{name:<38}{size / 1e6:9.2f} MB   {size / sizes['indices, uint16']:7.1f} x")
show.bars({name: math.log10(size) for name, size in sizes.items()}, title="bytes on disk", unit="log10 of bytes")

# %% [markdown]
# ## By hand
#
# ### How many bits has an integer?
#
# An index lies in [0, 240) here. One byte would hold that. Other tokenizers have more codes, and one format should
# serve them all, so the smallest width is 16 bits, which hold 65,536 values. (A compressor gets the empty byte back:
# see zlib above.) What if 16 bits were too few? numpy does not complain; it wraps round, as the first line shows.
#
# So the width is chosen from the levels, never guessed, and what does not fit is refused. Below, three sets of levels that
# the FSQ paper lists, and two larger ones.


# %%
def dtype_for(levels):
    codes = math.prod(levels)
    return np.dtype(np.uint16 if codes <= 2**16 else np.uint32 if codes <= 2**32 else np.uint64)


print(np.array([0, 239, 65535, 65536, 70000]).astype(np.uint16).tolist())
for levels in [(8, 6, 5), (8, 8, 8, 6, 5), (8, 8, 8, 5, 5, 5), (8,) * 6, (8,) * 12]:
    print(levels, f"{math.prod(levels):,}", dtype_for(levels))

# %% [markdown]
# ### One shot in a file
#
# Encode the longest shot between the titles, cast, save, read, compare. [safetensors](https://github.com/huggingface/safetensors)
# is a plain format: a short header in JSON, then the bytes. Reading it runs no code, which cannot be said of a pickle.

# %%
start, stop = max(store.shots[1:-1], key=lambda shot: shot[1] - shot[0])
number = store.shots.index((start, stop))
whole_frames = (stop - start) // span * span  # a tubelet needs all its frames: the ragged tail is left out
video = store.clip(start, start + whole_frames)  # 1 C T H W
indices = tokenizer.encode(video.to(device()))[0].cpu().numpy()  # t h w
small = indices.astype(dtype_for(tokenizer.levels))
safetensors.numpy.save_file({"shot": small}, folder / "by_hand.safetensors")
back = safetensors.numpy.load_file(folder / "by_hand.safetensors")["shot"].astype(np.int64)
print(indices.shape == (whole_frames // span, *grid), small.dtype, np.array_equal(back, indices))

# %% [markdown]
# A file of integers says nothing about what they mean. The *manifest* beside it does: which tokenizer, which film,
# which frames. The tokenizer is named by a hash of all its weights, because a file name does not change when the weights do.

# %%
# NBVAL_IGNORE_OUTPUT
manifest = {
    "tokenizer": {"name": "tubelet-fsq-64", "weights": weight_hash(tokenizer), "levels": tokenizer.levels},
    "source": {"name": store.name, "sha256": store.source_sha256},
    "shot": {
        "number": number,
        "frames": [start, start + whole_frames],
        "shape": small.shape,
        "dtype": small.dtype.name,
    },
}
(folder / "by_hand.json").write_text(json.dumps(manifest, indent=1))
print((folder / "by_hand.json").read_text())

# %% [markdown]
# ### All or nothing
#
# Encoding a film takes a while, and things that take a while get killed. What does a killed write leave? Here a second
# Python writes our file and dies halfway.


# %%
def write_and_die(code, data, path):
    """Run `code` in another Python, which has `data` and `path`. Returns its exit status."""
    begin = "import os, sys; path = sys.argv[1]; data = sys.stdin.buffer.read(); half = data[: len(data) // 2]\n"
    return subprocess.run([sys.executable, "-c", begin + code, str(path)], input=data).returncode


whole_file = (folder / "by_hand.safetensors").read_bytes()
path = folder / "careless.safetensors"
path.write_bytes(whole_file)  # a good file, about to be written again
careless = """
file = open(path, "wb")
file.write(half)
file.flush()
os._exit(9)  # the power goes
"""
print("exit status", write_and_die(careless, whole_file, path))
print("bytes there:", f"{path.stat().st_size / len(whole_file):.0%}")
try:
    safetensors.numpy.load_file(path)
except Exception as problem:
    print("cannot be read:", type(problem).__name__)

# %% [markdown]
# The good file is gone, and half of a new one stands in its place, under the right name. The cure is old: write under
# another name, make sure that the bytes are on the disk, then rename. `os.replace` is *atomic*: whoever looks sees the
# old file or the new one, never a part.

# %%
careful = """
temporary = path + ".tmp"
with open(temporary, "wb") as file:
    file.write(DATA)
    file.flush()
    os.fsync(file.fileno())
DIE
os.replace(temporary, path)
"""
path = folder / "careful.safetensors"
for name, data, die in [("dies while writing", "half", "os._exit(9)"), ("dies before the name", "data", "os._exit(9)")]:
    status = write_and_die(careful.replace("DATA", data).replace("DIE", die), whole_file, path)
    print(f"{name}: status {status}, the file is there: {path.exists()}")
status = write_and_die(careful.replace("DATA", "data").replace("DIE", ""), whole_file, path)
print(f"lives: status {status}, the file is whole: {path.read_bytes() == whole_file}")

# %% [markdown]
# With several files there is one more rule: the manifest is written last. A folder with a manifest is complete; a folder
# without one was cut short.
#
# ## Views: one shot, sixteen streams
#
# A tubelet spans 8 frames. Cut a shot into tubelets from its frame 0 on, or from frame 1 on: the pixels are nearly the same, the
# blocks are not, and so neither are the tokens. Each such *phase* is one *view* of the shot, and the mirror image
# doubles them. A toy shot of 21 frames, with a tubelet of 8:

# %%
# NBVAL_IGNORE_OUTPUT
_, axes = plt.subplots(figsize=(8, 2.8))
for phase in range(8):
    axes.barh(phase, 21, color="#ececec", height=0.7)
    for k in range((21 - phase) // 8):
        axes.barh(phase, 8, left=phase + 8 * k, color="#2f6f9f", edgecolor="white", height=0.7)
        axes.text(phase + 8 * k + 4, phase, f"latent frame {k}", ha="center", va="center", color="white", fontsize=7)
axes.invert_yaxis()
axes.set(title="a shot of 21 frames in eight phases", xlabel="frame", ylabel="phase", yticks=range(8))
axes.grid(visible=False)
plt.show()

# %% [markdown]
# Grey frames are in no token of that phase: those before the phase, and a tail that fills no tubelet. Which frames does
# each view of each shot hold? By hand, with one line of arithmetic:


# %%
def views_by_hand(shots, span, mirrored=True):
    """(shot, first frame, last frame + 1, phase, mirrored) for each view that holds a tubelet."""
    found = []
    for shot, (start, stop) in enumerate(shots):
        for flip in (False, True) if mirrored else (False,):
            for phase in range(span):
                t = (stop - start - phase) // span
                if t > 0:
                    found.append((shot, start + phase, start + phase + t * span, phase, flip))
    return found


print(views_by_hand([(0, 21), (21, 30)], span=8, mirrored=False))

# %% [markdown]
# ## The whole film
#
# `vg.latents.write` does all of this: every shot, all phases, mirrored, in shards of some shots each, every
# shard through a temporary name, the manifest last. `open_cache` calls it with the folder where notebook 07 looks, too.
# The folder's name ends in a hash of the weights, the film and the views, so that caches of different ones lie side by
# side. A finished cache is only verified.

# %%
# NBVAL_IGNORE_OUTPUT
begin = time.perf_counter()
cache = open_cache(store, tokenizer)
seconds = time.perf_counter() - begin
home = cache.folder
print(cache)
on_disk = sum(file.stat().st_size for file in home.iterdir()) / 1e6
print(f"written, or verified where it was there, in {seconds:.1f} s; {on_disk:.2f} MB on disk")

# %%
by_hand = views_by_hand(store.shots, span)
made = [(entry.shot, entry.start, entry.stop, entry.phase, entry.mirrored) for entry in cache.entries]
print("the entries are those found by hand:", sorted(made) == sorted(by_hand))
entry = next(e for e in cache.entries if (e.shot, e.phase, e.mirrored) == (number, 0, False))
print("and this shot's tokens are those of our file:", np.array_equal(cache.indices(entry), back))
print(cache.tokens.dtype, cache.grid == grid, cache.levels == tokenizer.levels)

# %% [markdown]
# The manifest says what the integers are: format, tokenizer, source, shots, views, and one line for each shard and entry.

# %%
# NBVAL_IGNORE_OUTPUT
for key, value in cache.manifest.items():
    text = json.dumps(value)
    print(f"{key:>13}: {text if len(text) < 170 else text[:165] + ' ...'}")

# %% [markdown]
# How different are the views? For each phase: the share of tokens that equal those of phase 0 at the same place in the
# grid. One frame later is almost the same picture. Is it almost the same tokens?
# And is the mirror image the mirrored tokens? A tubelet's code says what is left and right in it.


# %%
# NBVAL_IGNORE_OUTPUT
def agreement(phase):
    same = []
    for e in plain[0]:
        other = plain[phase].get(e)
        if other is not None:
            a, b = cache.indices(plain[0][e]), cache.indices(other)
            same.append((a[: len(b)] == b).flatten())
    return float(torch.cat(same).float().mean())


plain = [{e.shot: e for e in cache.entries if (e.phase, e.mirrored) == (p, False)} for p in range(span)]
shares = [(phase, agreement(phase)) for phase in range(1, span)]
print([f"{share:.0%}" for _, share in shares])
mirror = next(e for e in cache.entries if (e.shot, e.phase, e.mirrored) == (number, 0, True))
same = (cache.indices(mirror) == cache.indices(entry).flip(-1)).float().mean()
print(f"tokens of the mirror image that are the plain ones, flipped: {float(same):.0%}")
show.curves({"same token as in phase 0": shares}, title="views differ", x="phase in frames", y="share of tokens")

# %% [markdown]
# ## A shot is one stream
#
# The tokenizer is causal in time: a token depends on its own frames and earlier ones. So a long shot can be encoded in
# pieces, if each piece is told what came before (`past`), and a shot of any length takes no more memory than a piece. Are the
# numbers the same? And what happens to those who forget the past?

# %%
# NBVAL_IGNORE_OUTPUT
video = video.to(device())
pieces, past = [], {}
for piece in video.split(2 * span, dim=2):
    pieces.append(tokenizer.encode(piece, past)[0].cpu())
streamed = torch.cat(pieces)
forgetful = torch.cat([tokenizer.encode(piece)[0].cpu() for piece in video.split(2 * span, dim=2)])
whole_shot = torch.from_numpy(indices)
print(f"in pieces, with the past:    {(streamed == whole_shot).float().mean():.2%} of the tokens as in one go")
print(f"in pieces, without the past: {(forgetful == whole_shot).float().mean():.2%}")
firsts = (forgetful == whole_shot)[2::2].float().mean()
print(f"  of the first latent frame of each later piece: {firsts:.2%}")

# %% [markdown]
# (Should the first line fall a token short of 100%: sums of floats in another order may differ in the last bit, and a
# value that lies on the edge between two levels then falls to the other side.) The same for decoding, whole, and two
# latent frames at a time:

# %%
whole_video = tokenizer.decode(whole_shot[None].to(device())).cpu()
past = {}
streamed = [tokenizer.decode(part, past=past).cpu() for part in whole_shot[None].to(device()).split(2, dim=1)]
print(torch.allclose(torch.cat(streamed, dim=2), whole_video, atol=1e-3))

# %% [markdown]
# ## Never across a cut
#
# A stream ends where its shot ends. What if it did not? Encode two neighbouring shots as one stream, and the second alone. The
# first latent frame after the cut now depends on a scene that has nothing to do with it.

# %%
# NBVAL_IGNORE_OUTPUT
pair = next(k for k in range(1, len(store.shots)) if min(b - a for a, b in store.shots[k - 1 : k + 1]) >= 2 * span)
cut, stop = store.shots[pair]
begin, end = cut - 2 * span, cut + (stop - cut) // span * span
across = tokenizer.encode(store.clip(begin, end).to(device()))[0, 2:].cpu()
alone = tokenizer.encode(store.clip(cut, end).to(device()))[0].cpu()
differs = (across != alone).flatten(1).float().mean(1)
print("tokens that differ, by latent frame after the cut:", [f"{float(share):.0%}" for share in differs[:6]])

# %%
inside = [store.shots[e.shot][0] <= e.start < e.stop <= store.shots[e.shot][1] for e in cache.entries]
print("every entry lies within its shot:", all(inside))
print("every entry has as many latent frames as it says:", all(len(cache.indices(e)) == e.t for e in cache.entries))

# %% [markdown]
# ## Back to pixels
#
# The cache is all that the transformer will know of the film. So look at what is in it: the original, what the
# cache gives back, and a mirrored view.

# %%
# NBVAL_IGNORE_OUTPUT
frames = min(32, whole_frames)


def drawn(entry):
    return tokenizer.decode(cache.indices(entry)[None, : frames // span].to(device()))[0].cpu()


original = store.clip(entry.start, entry.start + frames)[0]
three = {"film": original, "from the cache": drawn(entry), "its mirrored view": drawn(mirror)}
show.player(three, fps=store.fps, scale=3)

# %% [markdown]
# In numbers, over the shots held out from training (in `smoke` the film is too short for a tenth to hold a whole shot,
# so more is taken). Beside it the mean frame of each window, the baseline of notebook 00.

# %%
# NBVAL_IGNORE_OUTPUT
train, val = split_shots(store.shots, share=profile().pick(smoke=0.35, laptop=0.1, gpu=0.1))
truth, made = [], []
for e in plain[0].values():
    pairs = [(k, e.start + k * span) for k in range(0, e.t - 1, 2)]  # two latent frames each
    held_out = [(k, at) for k, at in pairs if any(low <= at and at + 2 * span <= high for low, high in val)]
    if held_out:
        video = tokenizer.decode(cache.indices(e)[None].to(device())).cpu()
        truth += [store.clip(at, at + 2 * span) for _, at in held_out]
        made += [video[:, :, k * span : (k + 2) * span] for k, _ in held_out]
truth, made = torch.cat(truth), torch.cat(made)
quality = {"from the cache": float(evaluation.psnr(made, truth).mean())}
mean = {"mean frame": float(evaluation.psnr(evaluation.mean_frame(truth), truth).mean())}
print(f"{len(truth)} clips of {truth.shape[2]} frames")
show.bars(quality, baselines=mean, title="validation shots", unit="PSNR in dB")

# %% [markdown]
# ## Which words does the film use?
#
# All views together are a long text. How many of the codes occur at all (*usage*), and how evenly (*perplexity*: so many
# equally frequent codes would be as surprising)? By hand, then `vg.evaluation`.

# %%
# NBVAL_IGNORE_OUTPUT
everything = torch.from_numpy(cache.tokens.astype(np.int64))
counts = torch.bincount(everything.flatten(), minlength=codes)
share = counts.double() / counts.sum()
used = int((counts > 0).sum()) / codes
even = 2 ** float(-(share[share > 0] * share[share > 0].log2()).sum())
print(f"{everything.numel():,} tokens; {used:.1%} of {codes:,} codes used, perplexity {even:,.0f}")
agree = used == evaluation.usage(everything, codes), math.isclose(even, evaluation.perplexity(everything, codes))
print(f"vg.evaluation says the same: {agree}")
ordered = counts.sort(descending=True).values
points = np.unique(np.geomspace(1, codes, 200).astype(int))
series = [(int(k), int(ordered[k - 1]) + 1) for k in points]  # + 1: a logarithm has no zero
show.curves({"times that a code occurs, + 1": series}, title="codes by frequency", x="rank", y="", log="xy")

# %% [markdown]
# ### Where the picture stands still
#
# Much of a film stands still. There a token should repeat the one before: the more of them do, the less they cost the
# transformer. `vg.evaluation.stability` is the share of tokens that do so, where the pixels change by less than 3 grey levels. By
# hand for one shot, then for the whole film, still and moving places apart.


# %%
def repeats(entry, limit=3.0):
    """Two flags for each token but the first: stands its tubelet still, and does it repeat? Each (n,)."""
    video = torch.from_numpy(store.frames[entry.start : entry.stop, 0].astype(np.float32))
    cells = video.reshape(entry.t, span, grid[0], rows, grid[1], columns)
    still = (cells[1:] - cells[:-1]).abs().mean((1, 3, 5)) < limit  # (t - 1, h, w)
    tokens = cache.indices(entry)
    return still.flatten(), (tokens[1:] == tokens[:-1]).flatten()


still, same = repeats(entry)
by_hand = float(same[still].float().mean())
clip = store.clip(entry.start, entry.stop)
vgs = evaluation.stability(clip, cache.indices(entry)[None], tokenizer.tubelet)
print(math.isclose(by_hand, vgs, abs_tol=0.01) or (math.isnan(by_hand) and math.isnan(vgs)))

# %%
# NBVAL_IGNORE_OUTPUT
flags = [repeats(e) for e in plain[0].values() if e.t > 1]
still, same = (torch.cat(parts) for parts in zip(*flags))
print(f"{still.float().mean():.0%} of all tubelets stand still")
shares = {
    "all": same.float().mean(),
    "where it stands still": same[still].float().mean(),
    "where it moves": same[~still].float().mean(),
}
show.bars(shares, title="tokens that repeat the one before", unit="share")

# %% [markdown]
# The first bar is also a baseline: so often is a transformer right that only copies the last latent frame.
#
# ## Stopped, and gone on
#
# Now the promise that a killed run goes on. A small cache, three shots and two phases, in a temporary folder. For the
# interruption, `encode` stops as if somebody had pressed the square button. A shard is closed after so few frames here that each shot
# gets its own.

# %%
few = [shot for shot in store.shots if shot[1] - shot[0] >= 2 * span][:3]
part = dataclasses.replace(store, shots=few)
how = {"name": "tubelet-fsq-64", "phases": [0, 4], "shard_frames": 1, "progress": False}
latents.write(folder / "in one go", tokenizer, part, **how)


def stop_after(calls):
    encode = tokenizer.encode

    def counting(video, past=None):
        nonlocal calls
        calls -= 1
        if calls < 0:
            raise KeyboardInterrupt
        return encode(video, past)

    tokenizer.encode = counting


stop_after(3)
try:
    latents.write(folder / "stopped", tokenizer, part, **how)
except KeyboardInterrupt:
    print("stopped after 3 of 6 streams:", sorted(file.name for file in (folder / "stopped").iterdir()))
finally:
    del tokenizer.encode  # the class has its own

# %% [markdown]
# One shard is whole; there is no manifest, and so no cache yet. Opening it says so. Then the same call goes on. Is the result, file
# for file and byte for byte, what the run in one go made?


# %%
def bytes_of(folder):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


try:
    LatentCache.open(folder / "stopped")
except FileNotFoundError as problem:
    print(str(problem).replace(str(folder), "...").replace(os.sep, "/"))
done = (folder / "stopped" / "shard-00000.safetensors").stat().st_mtime_ns
latents.write(folder / "stopped", tokenizer, part, **how)
print("the same bytes:", bytes_of(folder / "stopped") == bytes_of(folder / "in one go"))
print("the whole shard was kept:", done == (folder / "stopped" / "shard-00000.safetensors").stat().st_mtime_ns)

# %% [markdown]
# ### Damage
#
# A bit that flips on a disk turns one token into another, and nothing would look wrong. So every file has a hash, and
# `open` verifies all of them. Then `write` makes the damaged file again, and only that one.

# %%
# NBVAL_IGNORE_OUTPUT
victim = folder / "stopped" / "shard-00001.safetensors"
raw = bytearray(victim.read_bytes())
raw[-1] ^= 1
victim.write_bytes(raw)
try:
    LatentCache.open(folder / "stopped")
except latents.CacheCorrupt as problem:
    print("CacheCorrupt:", str(problem).replace(str(folder), "..."))
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns that the shard is damaged
    latents.write(folder / "stopped", tokenizer, part, **how)
print("mended:", bytes_of(folder / "stopped") == bytes_of(folder / "in one go"))

# %% [markdown]
# ### Many processes
#
# On a machine with several GPUs each process takes every n-th shard, and they meet in the folder alone. Here two threads
# play the two processes. Are the bytes the same again?

# %%
# NBVAL_IGNORE_OUTPUT
from concurrent.futures import ThreadPoolExecutor


def process(rank):
    mine = copy.deepcopy(tokenizer)  # each process has its own
    return latents.write(folder / "by two", mine, part, rank=rank, world_size=2, **how)


with ThreadPoolExecutor(2) as pool:
    both = list(pool.map(process, range(2)))
print(bytes_of(folder / "by two") == bytes_of(folder / "in one go"))

# %% [markdown]
# ## The wrong tokenizer
#
# The mistake that costs a week: the tokenizer is trained a little more, the old cache stays, and the transformer learns a
# language that nobody speaks any more. Nothing crashes, as every index is valid. Here the cache is decoded with a
# tokenizer whose decoder's first weights were moved a little, and with one of no training at all.


# %%
# NBVAL_IGNORE_OUTPUT
def moved(amount):
    other = copy.deepcopy(tokenizer)
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in other.from_code.parameters():
            weight += amount * weight.std() * torch.randn(weight.shape, generator=noise).to(weight.device)
    other.name = "my-tokenizer"
    return other


part_of = cache.indices(entry)[None, : frames // span].to(device())
clips_shown = {"film": original, "right weights": tokenizer.decode(part_of)[0].cpu()}
clips_shown["moved a little"] = moved(0.3).decode(part_of)[0].cpu()
torch.manual_seed(1)
clips_shown["untrained"] = type(tokenizer)(tokenizer.config).to(device()).decode(part_of)[0].cpu()
quality = {
    name: float(evaluation.psnr(clip[None], original[None])) for name, clip in clips_shown.items() if name != "film"
}
print({name: f"{value:.1f} dB" for name, value in quality.items()})
show.strip(clips_shown, every=8, scale=2)

# %% [markdown]
# Moved a little, the picture hardly changes. That is the danger: no eye would notice. How far a tokenizer drifts while it is
# trained on lies somewhere between this row and the last.
#
# So a cache knows the hash of the weights that wrote it. Given a tokenizer, `open` compares, and refuses with a
# sentence. The smallest change is enough:

# %%
# NBVAL_IGNORE_OUTPUT
try:
    LatentCache.open(home, tokenizer=moved(1e-3))
except latents.CacheMismatch as problem:
    print("CacheMismatch:", str(problem).replace(str(home.parent), "..."))
opened = LatentCache.open(home, tokenizer=tokenizer, store=store)
print("the right one opens it:", np.array_equal(opened.tokens, cache.tokens))

# %% [markdown]
# ## Windows for the transformer
#
# Training wants windows of a fixed length. `cache.windows(frames)` is every stretch of so many latent frames within one
# shot, in all views. Training takes the training shots in all views. For validation one view is enough, with
# windows side by side, so that no frame counts twice. How many there must be can be counted by hand:

# %%
windows = cache.windows(length, shots=train)
by_hand = sum(max(0, e.t - length + 1) for e in cache.entries if store.shots[e.shot] in train)
print("as many as counted by hand:", len(windows) == by_hand)
held_out = cache.windows(length, shots=val, views=[(0, False)], stride=length)
owners = {store.shots[k] for k in windows.shots.tolist()}
print(
    "no validation shot in training:",
    not owners & set(val),
    " and the other way:",
    not {store.shots[k] for k in held_out.shots.tolist()} & set(train),
)

# %%
# NBVAL_IGNORE_OUTPUT
one_view = cache.windows(length, shots=train, views=[(0, False)])
print(f"{len(windows):,} training windows, {len(one_view):,} of them in the first view; {len(held_out)} for validation")

# %% [markdown]
# A batch is `(B, t, h, w)`. The transformer reads it in the order time, row, column, as one line of tokens. Seeds make
# batches repeatable.

# %%
first, second = (windows.sample(8, torch.Generator().manual_seed(3)) for _ in range(2))
line = first.flatten(1)  # (B, L)
print(tuple(first.shape), first.dtype, torch.equal(first, second))
print(tuple(line.shape), bool(line[0, grid[0] * grid[1]] == first[0, 1, 0, 0]))

# %% [markdown]
# ## What it saves
#
# The measurement of the beginning again, now with the real cache.

# %%
# NBVAL_IGNORE_OUTPUT
generator = torch.Generator().manual_seed(0)
fast = fastest(lambda: windows.sample(8, generator)) / 8
rates = {"encoded on the fly": 1 / slow, "from the cache": 1 / fast}
print({name: f"{rate:,.0f} windows a second" for name, rate in rates.items()})
paid_back = len(cache.tokens) / length / batch
print(f"all {len(cache.views)} views are as many tokens as {paid_back:,.0f} steps of {batch} windows encode on the fly")
show.bars({name: math.log10(rate) for name, rate in rates.items()}, title="windows a second", unit="log10")

# %% [markdown]
# ## Exercises
#
# Each cell runs as it is and says what is missing. Change the function until the check is content.
#
# ### 1. Where does a token come from? (easy, 5 minutes)
# Token `(t, y, x)` of an entry that starts at frame `start`, with a tubelet of (8, 4, 4): which frames, rows and columns of the film
# does it cover? Return three `range`s. The entry is not mirrored.


# %%
def pixels_of(start, t, y, x, tubelet=(8, 4, 4)):
    return None


def check_pixels(function):
    made, right = function(100, 2, 3, 1), (range(116, 124), range(12, 16), range(4, 8))
    if made is None:
        return "not yet: pixels_of returns None"
    if len(made) != 3:
        return f"{len(made)} ranges, expected three: frames, rows, columns"
    for name, a, b in zip(("frames", "rows", "columns"), made, right):
        if list(a) != list(b):
            return f"{name} of token (2, 3, 1) from frame 100: {a}, expected {b}: step {len(b)}, and frames start at `start`"
    return "right"


print(check_pixels(pixels_of))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def pixels_of(start, t, y, x, tubelet=(8, 4, 4)):
#     return tuple(
#         range(first + k * step, first + (k + 1) * step)
#         for first, k, step in zip((start, 0, 0), (t, y, x), tubelet)
#     )
# ```
#
# </details>
#
# ### 2. All or nothing (medium, 10 minutes)
# Write the pieces of bytes that `pieces` yields into `path`, all or nothing. If `pieces` raises halfway, an older file under
# that name must still be there, whole, and nothing else must be left in the folder.


# %%
def write_all(path, pieces):
    return None


def check_write(function):
    def broken():
        yield b"half of it"
        raise RuntimeError("killed")

    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "file"
        function(path, iter([b"one ", b"two"]))
        if not path.exists():
            return "not yet: nothing was written"
        if path.read_bytes() != b"one two":
            return f"the file holds {path.read_bytes()!r}, expected b'one two'"
        witness = Path(place) / "witness"
        os.link(path, witness)  # a second name for the older file's bytes
        function(path, iter([b"three"]))
        if witness.read_bytes() != b"one two":
            return "the older file was written into: had the power gone, it were lost. Write elsewhere, then os.replace"
        witness.unlink()
        try:
            function(path, broken())
            return "the error of `pieces` was swallowed: let it go on, or nobody learns of it"
        except RuntimeError:
            pass
        if not path.exists() or path.read_bytes() != b"three":
            return "the older file is damaged: write under another name and rename at the end"
        left = [file.name for file in Path(place).iterdir() if file != path]
        return f"{left} was left behind: remove it when something goes wrong" if left else "right"


print(check_write(write_all))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def write_all(path, pieces):
#     temporary = path.with_name(path.name + ".tmp")
#     try:
#         with temporary.open("wb") as file:
#             for piece in pieces:
#                 file.write(piece)
#             file.flush()
#             os.fsync(file.fileno())
#         os.replace(temporary, path)
#     except BaseException:
#         temporary.unlink(missing_ok=True)
#         raise
# ```
#
# </details>
#
# ### 3. Fewer bits still (medium, 15 minutes)
# A token with 240 codes needs 7.9 bits, and uint16 spends 16. Digits of mixed radix waste less: write several tokens as
# one large number, in base `codes`. Return `(a, b)`: how many bytes `n` tokens take as uint16, and how many when all of them are
# one number. (Python's integers are as long as you like.)


# %%
def bytes_needed(n, codes):
    return None


def check_bytes(function):
    for n, codes in [(1, 256), (1000, 240), (8, 65536)]:
        made = function(n, codes)
        right = 2 * n, ((codes**n - 1).bit_length() + 7) // 8
        if made is None:
            return "not yet: bytes_needed returns None"
        if made[0] != right[0]:
            return f"{n} tokens as uint16: {made[0]} bytes, expected {right[0]}: two bytes a token"
        if made[1] != right[1]:
            return f"{n} tokens of {codes} codes as one number: {made[1]} bytes, expected {right[1]}: round up once, at the end"
    return "right"


print(check_bytes(bytes_needed))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def bytes_needed(n, codes):
#     largest = codes**n - 1
#     return 2 * n, (largest.bit_length() + 7) // 8
# ```
#
# It saves half, and one token can no longer be read without all the others. zlib, above, sees repetition, which this
# does not. The transformer of notebook 07 is a better packer than both: its bits a token are those that an arithmetic coder would write.
#
# </details>
#
# ## Summary
#
# - A frozen tokenizer gives the same integers for the same frames, so they are computed once. Reading a window is far cheaper than
#   encoding it; the cell above says by how much here.
# - Indices are stored as uint16 (wider above 65,536 codes), in safetensors, with a manifest that says what they are.
# - Files appear by an atomic rename, the manifest last. A stopped run goes on and ends with the same bytes.
# - The hash of the weights, not a name, says whether cache and tokenizer belong together.
# - A shot is one stream, never across a cut; eight phases and two sides give sixteen views of it.
#
# **Next:** [07 Transformer](07_transformer.ipynb) learns which token follows which.
#
# ## References
#
# - Mentzer et al., 2023, *Finite scalar quantization: VQ-VAE made simple*, arXiv:2309.15505 (levels and indices).
# - Rombach et al., 2022, *High-resolution image synthesis with latent diffusion models*, arXiv:2112.10752 (float
#   latents, computed by a frozen autoencoder).
# - Yan et al., 2021, *VideoGPT*, arXiv:2104.10157 (a transformer over the codes of a frozen tokenizer).
# - safetensors: <https://github.com/huggingface/safetensors>, the format of the shards.
# - Pillai et al., 2014, *All file systems are not created equal*, OSDI (what a crash can leave, and why one calls fsync).
