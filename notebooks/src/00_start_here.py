# %% [markdown]
# # 00 Start here
#
# This course builds a small program that learns from *Steamboat Willie* (1928) and then draws new film in its style.
# Every part is built by hand first.
#
# **After this notebook you can**
# - say what the parts of the pipeline are and which notebook builds which;
# - turn any video file into an array of frames that opens in milliseconds;
# - find the cuts of a film, and split it into training and validation so that the numbers mean something;
# - say what old film does to a model (flicker, sway) and take it out without removing anything real;
# - give the two baselines that every later number stands beside.
#
# **You need** Python, a little PyTorch, and the packages of this repository (`make lab` installs them). The film is
# downloaded the first time, once. Without a network a cartoon is drawn instead, and the notebook says so.
#
# **Time:** about 2 hours of study; about 1 minute of computing on two cores the first time, half of that afterwards.
#
# **Next:** [01 VAE](01_vae.ipynb).

# %%
# NBVAL_IGNORE_OUTPUT
import tempfile
import time
from pathlib import Path

from vg import checkpoints, data, evaluation, show
from vg.data import Clips, film, find_shots, open_store, open_stores, split_shots, to_uint8, to_unit
from vg.profiles import device, profile

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange

show.style()
settings = profile().settings(  # smoke, laptop, gpu
    frames=(240, None, None),  # of the film; None: all
    share=(0.35, 0.1, 0.1),  # held out; in smoke a tenth is less than a shot
)
torch.manual_seed(0)
source = film()
print(f"profile {profile().name}, device {device()}")
print(source.describe())

# %% [markdown]
# ## The map
#
# A second of film at 64x64 pixels and 12 frames a second is 49,152 numbers. No small transformer reads that. So the
# film is first written in a shorter language: a *tokenizer* turns a block of pixels (8 frames, 4 rows, 4 columns) into
# one integer, and back into pixels, nearly. A *transformer* learns which integer follows which. To make a video it
# writes new integers, and the tokenizer draws them.


# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
def draw_map(rows):
    """Two rows of boxes; arrows run right in the first, down, and left in the second."""
    _, axes = plt.subplots(figsize=(10, 3.4))
    top, bottom, half = 1.6, 0.35, 0.4
    for y, row in zip((top, bottom), rows):
        for x, (name, note) in row.items():
            box = plt.Rectangle((x - half, y - 0.16), 2 * half, 0.32, fc="#e8eef4", ec="#2f6f9f")
            axes.add_patch(box)
            axes.text(x, y, name, ha="center", va="center", color="black", fontsize=9)
            axes.text(x, y - 0.22, note, ha="center", va="top", fontsize=8, color="#707070")
    style = {"arrowstyle": "->", "color": "#d1782c", "linewidth": 1.5}
    for x in range(4):
        axes.annotate("", (x + 1 - half, top), (x + half, top), arrowprops=style)
    axes.annotate("", (4, bottom + 0.17), (4, top - 0.62), arrowprops=style)
    for x in (4, 3, 2, 1):
        axes.annotate("", (x - 1 + half, bottom), (x - half, bottom), arrowprops=style)
    axes.set(xlim=(-0.5, 4.5), ylim=(-0.3, 1.85))
    axes.axis("off")
    plt.show()


draw_map(
    [
        {
            0: ("film", "a file"),
            1: ("frame store", "uint8, in shots\nnotebook 00"),
            2: ("tokenizer", "pixels to integers\nnotebooks 01 to 05"),
            3: ("latent cache", "the film as integers\nnotebook 06"),
            4: ("transformer", "which integer is next\nnotebook 07"),
        },
        {
            4: ("new integers", "written one by one\nnotebook 08"),
            3: ("tokenizer", "integers to pixels\nas above"),
            2: ("new video", "GIF, MP4\nnotebooks 08, 09"),
            1: ("scores", "is it any good?\nnotebook 10"),
            0: ("your own film", "all of it again\nnotebook 11"),
        },
    ]
)

# %% [markdown]
# | notebook | you build | hours of study | minutes of computing (laptop) |
# |---|---|---|---|
# | **00 Start here** | the film on disk, its shots, a fair split, baselines | 2 | 1 |
# | [01 VAE](01_vae.ipynb) | a variational autoencoder of small images | 3 | 3 |
# | [02 VQ-VAE](02_vq_vae.ipynb) | discrete codes, a codebook, two levels | 3 | 7 |
# | [03 Conv3D VQ-VAE](03_video_vq_vae.ipynb) | the same for clips of 16 frames | 2 | 2 |
# | [04 Conv3D FSQ-VAE](04_video_fsq_vae.ipynb) | rounding in place of a codebook | 2 | 4 |
# | [05 Tubelet FSQ-VAE](05_tubelet_fsq_vae.ipynb) | one integer for a block of space and time | 3 | 3 |
# | [06 Latent cache](06_latent_cache.ipynb) | the whole film as integers on disk | 2 | 7 |
# | [07 Transformer](07_transformer.ipynb) | a decoder-only transformer over these integers | 4 | 7 |
# | [08 Generation](08_generation.ipynb) | new video: from nothing, a still, a clip | 3 | 2 |
# | [09 One model, many tasks](09_one_model_many_tasks.ipynb) | any shape; loops, joins, missing parts | 3 | 4 |
# | [10 Is it any good?](10_is_it_any_good.ipynb) | scores, with intervals | 3 | 8 |
# | [11 Your own film](11_your_own_film.ipynb) | all of it, on a film of yours | 2 | 12 |
#
# Each runs alone, with the weights that come with the repository.
#
# ## Words of the field
#
# | word | meaning |
# |---|---|
# | **autoencoder** | an *encoder* that makes an input smaller, and a *decoder* that rebuilds it |
# | **latent** | the small description in between |
# | **prior** | a distribution over latents or tokens, before any image is seen; to generate is to sample from it |
# | **token** | an integer of a fixed vocabulary that stands for a piece of data |
# | **codebook** | the vectors that the tokens of a tokenizer stand for |
# | **quantize** | replace a vector by one of finitely many |
# | **tubelet** | a block of pixels in space and time, from notebook 05 on of 8 frames, 4 rows, 4 columns |
# | **latent frame** | all tokens of the same few frames |
# | **autoregressive** | predicting one token at a time, from those before |
# | **conditioning** | what a model is given besides: a still, a clip, a class |
# | **logits** | a model's scores of all tokens, before they become probabilities |
# | **temperature, top-p** | options of sampling that trade variety for fidelity |
# | **KV cache** | keys and values of past tokens, kept instead of computed again |
# | **PSNR** | how near two pictures are, in decibels; higher is nearer |
# | **perplexity** | how many equally likely tokens would be as hard to guess; of a codebook, how many codes are really in use |
# | **held-out** | kept from training, to measure on |
# | **baseline** | a very simple method that a number is compared with |
#
# ## Why tokens and not diffusion?
#
# Most large video models of today are *diffusion* models: they begin with noise and remove it in many steps, all pixels
# (or latents) of a clip at once. This course predicts tokens, one after another, as language models do. Why?
#
# - **A loss that means something.** A transformer over tokens gives each a probability. Its loss is a number of bits,
#   which can be compared with a codec or a baseline. The loss of diffusion is the error in guessing noise; a likelihood can
#   be derived, but is not what one usually trains or reports.
# - **Length.** A next token can always follow. Film can go on without end, and begin from any clip. A diffusion model
#   of clips makes clips of one length, and needs extra tricks to go on.
# - **Small.** As integers, a film of seven minutes fits into a few hundred kilobytes, and a small transformer learns
#   from them on a laptop.
#
# What speaks for diffusion: no tokenizer's rounding lies between model and picture, errors of one step can be mended in
# the next, and much of the best-looking video of the day is made by it. With tokens, a token that was sampled wrongly
# stays, and what follows builds on it. Notebook 10 measures how such errors grow. Both ways mostly work on the latents
# of an autoencoder, because there are too many pixels. So notebooks 01 to 05 are of use for either.
#
# ## Does everything work?
#
# One setting, the environment variable `VG_PROFILE`, says how much the notebooks compute: how many steps, how wide a model,
# how many clips.
# `VG_PROFILE` is `smoke` (seconds, for tests), `laptop` (minutes) or `gpu`. The cells are the same in all three.

# %%
# NBVAL_IGNORE_OUTPUT
print(f"torch {torch.__version__}, numpy {np.__version__}")
print(f"{torch.get_num_threads()} threads, device {device()}")
print(f"shipped weights: {', '.join(checkpoints.names()) or 'none'}")
a = torch.randn(512, 512, device=device())
start = time.perf_counter()
for _ in range(20):
    b = a @ a
float(b[0, 0])  # waits until it is done
once = (time.perf_counter() - start) / 20
print(f"a product of two 512x512 matrices takes {once * 1e3:.2f} ms here")

# %% [markdown]
# ## The film as an array
#
# A video file holds a whole frame now and then, and between these only changes: to read one frame, all since the last whole
# one have to be unpacked. Training picks frames at random, thousands of times. So the film is decoded **once**: 12 frames a second, grey, black bars cropped, squeezed to
# 64x64 pixels, stored as plain bytes. A file of plain bytes can be *memory-mapped*: it looks like an array, and the
# system reads a page when it is touched.
#
# `open_store` does that, and reuses what it made as long as the source and the settings are the same. `open_stores`
# makes several from one decode: here the film *restored* (without its flicker and sway), which the course works with,
# and the film as it is, to compare.

# %%
# NBVAL_IGNORE_OUTPUT
start = time.perf_counter()
store, raw = open_stores(source, [{}, {"restore": False}], frames=settings.frames)
first = time.perf_counter() - start
start = time.perf_counter()
store = open_store(source, frames=settings.frames)
again = time.perf_counter() - start
print(store)
print(f"{store.key}; {store.frames.nbytes / 1e6:.1f} MB")
print(f"both opened in {first:.2f} s, and the second time in {again * 1e3:.1f} ms")

# %% [markdown]
# If the first time is short too, the store was there already. Three things hold in any case: the frames are a view of
# the file and not a copy, nobody can write into them by mistake, and they are bytes.

# %%
print(
    isinstance(store.frames, np.memmap),
    not store.frames.flags.writeable,
    store.frames.dtype == np.uint8,
)

# %% [markdown]
# A clip with a slider: drag it, or press play. On a static page it plays by itself. The clip is taken from the middle
# of the longest shot.

# %%
# NBVAL_IGNORE_OUTPUT
longest = max(store.shots, key=lambda shot: shot[1] - shot[0])
length = min(32, longest[1] - longest[0])
middle = (sum(longest) - length) // 2
clip = store.clip(middle, middle + length)
show.player({"a clip of the film": clip[0]}, fps=store.fps, scale=4)

# %% [markdown]
# ## One shape, one range
#
# Everywhere outside the store, video is a float tensor `(B, C, T, H, W)` in [-1, 1]: batch, channels, frames, height,
# width. Black is -1 and white is 1. A store's frames are `(T, C, H, W)` bytes. The way between the two, by hand, on a
# clip of two frames, two rows and three columns:

# %%
ramp, halves = [[0, 51, 102], [153, 204, 255]], [[255, 255, 255], [0, 0, 0]]
toy = torch.tensor([[ramp], [halves]], dtype=torch.uint8)  # T C H W
by_hand = torch.zeros(1, 2, 2, 3)  # C T H W
for t in range(2):
    for y in range(2):
        for x in range(3):
            by_hand[0, t, y, x] = toy[t, 0, y, x].item() / 255 * 2 - 1
vectorised = toy.permute(1, 0, 2, 3).float() / 127.5 - 1
print(by_hand[0, 0])
print(torch.allclose(by_hand, vectorised), torch.allclose(vectorised, to_unit(toy)))

# %% [markdown]
# And back. All 256 greys must survive the round trip. They do if numbers are rounded, not truncated.

# %%
greys = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)  # T C H W
there = to_unit(greys)
truncated = ((there + 1) * 127.5).byte().movedim(0, 1)
print(there.shape, float(there.min()), float(there.max()))
print("rounded:", torch.equal(to_uint8(there), greys), " truncated:", torch.equal(truncated, greys))

# %% [markdown]
# ## Shots
#
# A film is a sequence of *shots*, and between two shots there is a *cut*: every pixel changes at once. A clip that runs
# over a cut teaches a model that anything may turn into anything. So we find the cuts, and no clip crosses one.
#
# The idea: the *jump* between two neighbouring frames is their mean absolute difference. Six tiny frames, a dark scene
# and then a bright one, by hand and then vectorised:

# %%
levels = np.array([40, 42, 41, 200, 199, 201], np.float32)
scenes = np.tile(levels[:, None, None], (1, 2, 2))  # T H W
by_hand = [0.0]
for k in range(1, 6):
    change = [abs(scenes[k, y, x] - scenes[k - 1, y, x]) for y in range(2) for x in range(2)]
    by_hand.append(sum(change) / 4)
vectorised = np.abs(np.diff(scenes, axis=0)).mean((1, 2))
print([float(j) for j in by_hand], np.allclose(by_hand[1:], vectorised))

# %% [markdown]
# The trouble with old film: its light jumps as well. The same picture one sixth brighter is no cut. So both frames are
# first brought to the same brightness (*levelled*), by the median ratio of the pixels that are lit in both. A median
# does not care what a minority of the pixels does, such as a moving figure.


# %%
def jump(a, b, level=True):
    """Mean absolute difference of two pictures (H, W), `a` brought to the brightness of `b`."""
    a, b = a.astype(np.float32), b.astype(np.float32)
    lit = (a > 40) & (b > 40)
    gain = np.median(b[lit] / a[lit]) if level and lit.mean() > 0.05 else 1.0
    return float(np.abs(b - a * np.clip(gain, 0.7, 1.4)).mean())


picture = np.linspace(60, 180, 64, dtype=np.float32).reshape(8, 8)
brighter = picture * 7 / 6
print(f"the same picture 1/6 brighter: {jump(picture, brighter, level=False):.1f} grey levels,")
print(f"and levelled first: {jump(picture, brighter):.1f}")

# %% [markdown]
# Now the film, as it is, not restored. The dotted line is the smallest jump that may be a cut.

# %%
# NBVAL_IGNORE_OUTPUT
pairs = zip(raw.frames[:-1, 0], raw.frames[1:, 0])
jumps = np.array([0.0] + [jump(before, after) for before, after in pairs])
cuts = [start for start, _ in raw.shots[1:]]
_, axes = plt.subplots(figsize=(9, 2.6))
axes.plot(jumps, linewidth=0.8, label="jump")
axes.plot(cuts, jumps[cuts], "v", markersize=4, label="cut")
axes.axhline(20, linestyle=":", color="#8a8a8a")
axes.set(title="jump from one frame to the next", xlabel="frame", ylabel="grey levels")
axes.legend()
plt.show()

# %% [markdown]
# The threshold alone is not enough: the next cell counts jumps above it that are no cuts. `vg.data.find_shots` also asks that a
# cut stands alone among its neighbours, or changes the background for good. Of the drawn cartoon we know the true
# cuts, so there the last line compares with the truth.

# %%
# NBVAL_IGNORE_OUTPUT
above = set(np.flatnonzero(jumps > 20).tolist())
print(f"{len(above)} jumps above 20; {len(above - set(cuts))} of them are no cuts")
lengths = [b - a for a, b in raw.shots]
print(f"{len(lengths)} shots of {min(lengths)} to {max(lengths)} frames")
print("find_shots finds the shots of the store:", find_shots(np.array(raw.frames)) == raw.shots)

# %%
print(
    "the shots tile the film:",
    [a for a, _ in store.shots] == [0] + [b for _, b in store.shots[:-1]],
)
print("and end where it ends:", store.shots[-1][1] == len(store.frames))

# %% [markdown]
# A contact sheet: the middle frame of each shot. Look for two neighbours from one shot (a false cut) and for shots that
# you miss (a cut not found).

# %%
# NBVAL_IGNORE_OUTPUT
frames = torch.from_numpy(np.stack([store.frames[(a + b) // 2] for a, b in store.shots]))
labels = [f"{k}: {b - a} frames" for k, (a, b) in enumerate(store.shots)]
show.grid(frames, columns=7, scale=2, labels=labels)

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# No two neighbours are one shot. But cuts are missing, and middle frames do not show them all. Shot 0 is black in the middle:
# the titles fade out there, and the first scene opens by an iris. In the same way shot 27 holds the end title. Late in shot
# 22 a parrot follows on the sow without a cut found, probably because it moves so much that the jump does not stand alone.
# And the cut into shot 25 is a few frames early, where the figures rush off.
#
# </details>
#
# ## Training and validation: split by shot
#
# To know whether a model has learnt the film or only copied it, some of the film is held out. Held out how? The easy way:
# take all clips and put every tenth aside. But clips overlap, and a clip four frames later is nearly the same. The other
# way: put whole shots aside.
#
# For each held-out window of 16 frames we look for the nearest window of the training side, and measure how far away it
# is, in grey levels, for either way of splitting.


# %%
def thumbnails(clips):
    """All windows, at half the frames and a quarter of the size: (n, values), grey levels."""
    parts = [clips.take(range(k, min(k + 64, len(clips)))) for k in range(0, len(clips), 64)]
    return torch.cat([F.avg_pool3d(part, (2, 4, 4)).flatten(1) for part in parts]) * 127.5


def nearest(held, rest):
    """Root mean squared distance from each held-out window to the most alike of `rest`; which."""
    distance, which = torch.cdist(held, rest).min(dim=1)
    return distance / held.shape[1] ** 0.5, which


split = split_shots(store.shots, share=settings.share)
train, val = split.train, split.held_out
every = Clips(store, frames=16, stride=4)
thumbs = thumbnails(every)
order = torch.randperm(len(every), generator=torch.Generator().manual_seed(0))
by_clip_held, by_clip_rest = order[: len(every) // 10 + 1], order[len(every) // 10 + 1 :]
inside = torch.tensor([any(a <= start < b for a, b in val) for start in every.starts])
by_shot_held, by_shot_rest = inside.nonzero()[:, 0], (~inside).nonzero()[:, 0]
print("a held-out shot is never a training shot:", not set(train) & set(val))
print("something is held out:", len(val) > 0)

# %%
# NBVAL_IGNORE_OUTPUT
by_clip, _ = nearest(thumbs[by_clip_held], thumbs[by_clip_rest])
by_shot, _ = nearest(thumbs[by_shot_held], thumbs[by_shot_rest])
print(f"{len(by_clip)} windows held out by clip,")
print(f"{len(by_shot)} by shot ({len(val)} of {len(store.shots)} shots)")
show.bars(
    {"split by clip": by_clip.median(), "split by shot": by_shot.median()},
    title="from a held-out window to the nearest training window (median)",
    unit="grey levels",
)

# %% [markdown]
# Here is one held-out window. Below it is the nearest of all other windows, most of which a split by clip would train on, and
# the nearest window of the training shots. A model that has trained on the second row has nearly seen the first.

# %%
# NBVAL_IGNORE_OUTPUT
one = by_shot_held[len(by_shot_held) // 2]
others = torch.arange(len(every))[torch.arange(len(every)) != one]
twin = others[nearest(thumbs[one][None], thumbs[others])[1]]
stranger = by_shot_rest[nearest(thumbs[one][None], thumbs[by_shot_rest])[1]]
rows = {"held out": one, "nearest, by clip": twin, "nearest, by shot": stranger}
show.strip({name: every[int(k)] for name, k in rows.items()}, every=3, scale=2)

# %% [markdown]
# The median hides something: sets of the film return, so a held-out shot may have a near relative on the training side. Here
# is the distance for each held-out shot.

# %%
# NBVAL_IGNORE_OUTPUT
starts = torch.tensor([every.starts[int(k)] for k in by_shot_held])
per_shot = {}
for a, b in val:
    of_shot = by_shot[(starts >= a) & (starts < b)]
    if len(of_shot):
        per_shot[f"shot {store.shots.index((a, b))}"] = float(of_shot.median())
show.bars(
    dict(sorted(per_shot.items(), key=lambda entry: entry[1])),
    title="from a held-out shot to the nearest training window (median)",
    unit="grey levels",
)

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# The shots differ: some are nearer to training than others. The wall of shot 19, the nearest, is also that of the
# training shots 18 and 23. So a validation score is a mean over easier and harder shots, and is best read by shot. The measure
# is crude: shot 7, the farthest, has the set and the figure of training shot 9, but the figure moves differently.
#
# </details>
#
# So the whole course splits by shot: `split_shots` draws a shot in each tenth of the film until enough is held out, and leaves the
# titles in training. Of the shots held out, every third is for the *test*. Validation shots decide: which model is kept, how
# long it trains, which settings it is sampled with. Test shots decide nothing; what a shipped model's card marks "test shots"
# is measured on them. A model that was picked as the best of many on some shots owes part of its score there to luck. `Clips(store, split.validation, 16)`
# are windows of the validation shots alone.

# %%
# NBVAL_IGNORE_OUTPUT
for side in ("train", "validation", "test"):
    print(f"{side:10} {sum(b - a for a, b in getattr(split, side)):5,} frames")

# %% [markdown]
# ## Old film: flicker and sway
#
# In an old film the light jumps from frame to frame, and the picture sways by a fraction of a percent of its width.
# None of this is part of the story. A tokenizer does not know that: it sees a change and writes it down, and the
# transformer then has to guess numbers that mean nothing.
#
# So `open_store` restores old film, and leaves modern video alone. What it does, per shot:
# 1. **Flicker.** For each frame, take every pixel's median over the second before and the second after. Divide the frame by that
#    picture, pixel by pixel; the median of these ratios over the lit pixels is the frame's gain. Only the quick part of the gain is divided out.
# 2. **Sway.** The shift that best explains what is left, over the places that have an edge and stand still. Again
#    only the quick part is taken out.
#
# First a test with a known answer: one picture, repeated, with gains of our choice. `restore` should find them.

# %%
# NBVAL_IGNORE_OUTPUT
still = torch.from_numpy(np.array(store.frames[middle : middle + 1])).float()
still = still * 0.8  # darker: white stays below 255
rng = np.random.default_rng(0)
gains = torch.from_numpy(rng.uniform(0.9, 1.1, 24).astype(np.float32))
planted = (still * gains[:, None, None, None]).clamp(0, 255).round().byte()  # T C H W
clean, found = data.restore(planted)
wobble = [float(x.float().mean((1, 2, 3)).std()) for x in (planted, clean)]
print(f"planted and found gains correlate with r = {np.corrcoef(found.gain, gains)[0, 1]:.3f}")
print(f"brightness varies by {wobble[0]:.2f} grey levels before, {wobble[1]:.2f} after")

# %% [markdown]
# Most of the quick part is found. Two things are left: a slow drift, since random gains have a slow part too, and that is
# meant to stay; and jumps at the ends of so short a clip, where the running median is taken over few frames.
#
# Now the film. Both stores hold the same shots; one is raw, one restored. (For a drawn cartoon, which neither flickers nor
# sways, the same cells show what restoring does to a clean picture.) We look at the shot in which restoring
# changes most.


# %%
# NBVAL_IGNORE_OUTPUT
def brightness(store):
    return np.concatenate([part.mean((1, 2, 3)) for part in np.array_split(store.frames, 16)])


def flicker(light, shot):
    return float(np.abs(np.diff(light[slice(*shot)])).mean())


restored = store if source.old else open_store(source, frames=settings.frames, restore=True)
light, calm = brightness(raw), brightness(restored)
shots = [shot for shot in raw.shots if shot[1] - shot[0] >= 24]
worst = max(shots, key=lambda shot: flicker(light, shot) - flicker(calm, shot))
for name, x in {"raw": light, "restored": calm}.items():
    here, average = flicker(x, worst), np.mean([flicker(x, shot) for shot in shots])
    print(f"{name:>8}: brightness jumps by {here:.2f} grey levels a frame in this shot,")
    print(f"{'':>9} {average:.2f} in the average shot")

# %%
# NBVAL_IGNORE_OUTPUT
a, b = worst[0], min(worst[1], worst[0] + 120)
show.curves(
    {name: list(enumerate(x[a:b], a)) for name, x in {"raw": light, "restored": calm}.items()},
    title="mean brightness, frame by frame",
    x="frame",
    y="grey levels",
)

# %%
# NBVAL_IGNORE_OUTPUT
b = min(worst[1], a + 32)
show.player({"raw": raw.clip(a, b)[0], "restored": restored.clip(a, b)[0]}, fps=store.fps, scale=3)

# %% [markdown]
# Not all flicker goes. A *flash* is a frame that is brighter, or darker, than both of its neighbours. The largest that are
# left after restoring:

# %%
# NBVAL_IGNORE_OUTPUT
before, after = calm[1:-1] - calm[:-2], calm[1:-1] - calm[2:]
flash = np.where(before * after > 0, np.minimum(np.abs(before), np.abs(after)), 0)
for k in np.argsort(flash)[::-1][:4] + 1:
    shot = next(n for n, (a, b) in enumerate(restored.shots) if a <= k < b)
    print(f"shot {shot}, frame {k}: {flash[k - 1]:.1f} grey levels")

# %% [markdown]
# In the film, frames of shots 1 and 9 still flash after restoring: `restore` does not find them all.
#
# What is restoring good for? The tokenizer of notebook 05 cuts the film into *tubelets* of 8 frames, 4 rows and 4
# columns. A tubelet stands still if it differs by less than 3 grey levels on average from the one before at the same
# place. Where tubelets stand still, one token can repeat the last, and a token that is expected costs almost nothing.
# (How many do repeat, notebook 05 counts.) All tubelets of the same eight frames are a *latent frame*. On a toy clip of
# two latent frames by hand, then vectorised:

# %%
tubelet = (8, 4, 4)
toy = torch.zeros(16, 8, 4)  # T H W: two latent frames of two rows and one column
toy[8:, 4:] = 10  # the lower half changes
by_hand = []
for row in range(2):
    before, after = (toy[t : t + 8, 4 * row : 4 * row + 4, :] for t in (0, 8))
    by_hand.append(float((after - before).abs().mean()) < 3)


def stand_still(video, tubelet=tubelet, limit=3.0):
    """Which tubelets of (T, H, W) differ by less than `limit` from those before: (t - 1, h, w)."""
    t, h, w = tubelet
    cells = rearrange(video, "(T t) (H h) (W w) -> T H W (t h w)", t=t, h=h, w=w)
    return (cells[1:] - cells[:-1]).abs().mean(-1) < limit


print(by_hand, by_hand == stand_still(toy).flatten().tolist())


# %%
# NBVAL_IGNORE_OUTPUT
def share_still(store):
    still = []
    for start, stop in store.shots:
        whole = (stop - start) // 8 * 8
        if whole >= 16:
            video = torch.from_numpy(store.frames[start : start + whole, 0].astype(np.float32))
            still.append(stand_still(video).flatten())
    return float(torch.cat(still).float().mean())


shares = {"raw": 100 * share_still(raw), "restored": 100 * share_still(restored)}
print(", ".join(f"{name} {value:.1f} %" for name, value in shares.items()))
show.bars(shares, title="tubelets that stand still", unit="% of all")

# %% [markdown]
# ### Fades and irises stay
#
# A restoration must not remove what belongs to the film. A *fade* (the whole picture goes dark) and an *iris* (a black
# ring closes) change the light as well. They are slow, or touch only a part of the picture, and must stay. Planted
# again, so that we know the truth: a fade to a fifth over two seconds, with and without flicker on top. (Where two
# lines are the same, the later covers the earlier.)

# %%
# NBVAL_IGNORE_OUTPUT
fade = torch.linspace(1, 0.2, 24)
flickering = (still * (fade * gains)[:, None, None, None]).clamp(0, 255).byte()
quiet = (still * fade[:, None, None, None]).clamp(0, 255).byte()
curve = {"fade": quiet, "fade and flicker": flickering}
curve |= {
    "fade, restored": data.restore(quiet)[0],
    "fade and flicker, restored": data.restore(flickering)[0],
}
curve = {name: x.float().mean((1, 2, 3)).tolist() for name, x in curve.items()}
show.curves(curve, title="a fade stays a fade", x="frame", y="mean brightness")

# %% [markdown]
# Now the film: of all stretches of two seconds within a shot, the one in which the light falls most, raw above and
# restored below. The light should fall in the same way in both.

# %%
# NBVAL_IGNORE_OUTPUT
stretches = [(k, k + 24) for start, stop in shots for k in range(start, stop - 23)]
a, b = min(stretches, key=lambda s: light[s[1] - 3 : s[1]].mean() - light[s[0] : s[0] + 3].mean())
fall = light[a : a + 3].mean() - light[b - 3 : b].mean()
apart = np.abs(light[a:b] - calm[a:b]).mean()
print(f"frames {a} to {b}: the light falls by {fall:.1f} grey levels,")
print(f"and the two curves differ by {apart:.1f}")
show.strip({"raw": raw.clip(a, b)[0], "restored": restored.clip(a, b)[0]}, every=3, scale=2)

# %% [markdown]
# And over the whole film: the slow part of the light, a running median over a second, raw and restored. The two curves
# should lie on each other.


# %%
# NBVAL_IGNORE_OUTPUT
def slow(x, reach=6):
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, reach, mode="edge"), 2 * reach + 1)
    return np.median(windows, axis=1)


curve = {"raw": slow(light), "restored": slow(calm)}
print(f"mean difference {np.abs(curve['raw'] - curve['restored']).mean():.2f} grey levels")
show.curves(
    {k: list(enumerate(v))[::6] for k, v in curve.items()},
    title="slow part of the light",
    x="frame",
    y="grey levels",
)

# %% [markdown]
# ## The first two baselines
#
# Quality is measured by PSNR: the squared error, on a logarithmic scale, in decibels. 10 dB more means a tenth of the
# squared error. By hand, and as `vg.evaluation` has it:

# %%
truth = torch.tensor([0.0, 0.5, -0.5, 1.0]).view(1, 1, 1, 2, 2)
guess = truth + 0.1 * torch.tensor([1.0, -1.0, 1.0, -1.0]).view(1, 1, 1, 2, 2)
error = (guess.clamp(-1, 1) - truth).square().mean().item()
by_hand = 10 * np.log10(2**2 / error)  # the range is 2: -1 to 1
print(f"{by_hand:.2f} dB", np.allclose(by_hand, evaluation.psnr(guess, truth).numpy(), atol=1e-4))

# %% [markdown]
# A number in decibels says nothing alone. In a film much of the picture stands still, so very simple methods do well:
# - **The mean frame.** For a tokenizer: replace every frame of a clip by the clip's mean. It knows the background
#   and no motion.
# - **Copy the last frame.** For anything that predicts: the future is like the last frame seen.
#
# Here they are on all shots held out (`val`: those for the test too), in clips of 16 frames, each in one line.

# %%
# NBVAL_IGNORE_OUTPUT
truth = Clips(store, val, 16, stride=8)
truth = truth.take(range(len(truth)))  # B C T H W
mean = truth.mean(dim=2, keepdim=True).expand_as(truth)
past, future = truth[:, :, :8], truth[:, :, 8:]
copy = past[:, :, -1:].expand_as(future)


def decibels(video, truth):
    # at most 60: two equal clips would be infinite
    return float(evaluation.psnr(video, truth).clamp(max=60).mean())


baselines = {
    "mean frame of all 16": decibels(mean, truth),
    "frames 8 to 15: copy of frame 7": decibels(copy, future),
}
print(f"{len(truth)} clips of held-out shots")
show.bars(baselines, title="baselines on held-out shots", unit="PSNR in dB")

# %%
print(torch.equal(mean, evaluation.mean_frame(truth)), truth.shape[1:] == (1, 16, 64, 64))

# %% [markdown]
# How good a guess the last frame stays, frame by frame:

# %%
# NBVAL_IGNORE_OUTPUT
ahead = [(k + 1, decibels(copy[:, :, k : k + 1], future[:, :, k : k + 1])) for k in range(8)]
show.curves({"copy the last frame": ahead}, title="frames ahead", x="frames ahead", y="PSNR in dB")

# %% [markdown]
# Cartoons move in cycles: where a limb comes back every few frames, the frame 8 ahead may be more like the last one than
# the frame 7 ahead. In the film it is, by far.
#
# The notebooks on film put their numbers beside these. They are hard to beat. The mean frame is no fair rival: it has seen
# the very clip, and would have to be stored for each, a whole picture of 4,096 numbers. But it shows how much of the film
# stands still. So look also at what moves, where it is helpless.
#
# ## A video of your own, and saving a clip
#
# `vg.data.video("my.mp4")` takes any file that FFmpeg reads, colour or grey. To have one at hand, this cell draws two
# shots of cartoon, tints them, saves them as MP4 and opens that file like any other. `vg.data.save` writes MP4, GIF and
# animated PNG; the suffix decides. (Your own clips are best saved under `out/`, which git ignores.)

# %%
# NBVAL_IGNORE_OUTPUT
from vg.synthetic import draw_cartoon

scratch = tempfile.TemporaryDirectory()
folder = Path(scratch.name)
drawn = to_unit(draw_cartoon(64, size=(72, 96), seed=5).frames)  # C T H W
tinted = (drawn.repeat(3, 1, 1, 1) + 1) * torch.tensor([1.0, 0.9, 0.7]).view(3, 1, 1, 1) - 1
for suffix in ("mp4", "gif", "png"):
    path = data.save(folder / f"mine.{suffix}", tinted, fps=12, scale=2)
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")
mine = open_store(data.video(folder / "mine.mp4"), size=(48, 64), grey=False)
print(mine, mine.frames.shape)

# %%
# NBVAL_IGNORE_OUTPUT
a, b = max(mine.shots, key=lambda shot: shot[1] - shot[0])
show.player({"a video of your own": mine.clip(a, min(b, a + 24))[0]}, fps=mine.fps, scale=3)

# %% [markdown]
# A file that is not a video gets an error that says so, and nothing half-written is left behind.

# %%
# NBVAL_IGNORE_OUTPUT
(folder / "broken.mp4").write_bytes(b"this is not a video")
try:
    open_store(data.video(folder / "broken.mp4"))
except data.BadVideo as problem:
    print("BadVideo:", str(problem).replace(str(folder), "..."))

# %% [markdown]
# ## Exercises
#
# ### 1. Bytes again (easy, 5 minutes)
# Turn a clip, float `(C, T, H, W)` in [-1, 1], into frames, uint8 `(T, C, H, W)`. What lies beyond the range is
# clipped.
#
# <details><summary>Solution</summary>
#
# ```python
# def my_to_uint8(clip):
#     return ((clip + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 0, 2, 3)
# ```
#
# </details>
#
# ### 2. How many clips? (easy, 5 minutes)
# A clip has `frames` frames, starts come every `stride` frames, and no clip may leave its shot. How many clips do these shots hold?
#
# <details><summary>Solution</summary>
#
# ```python
# def count_clips(shots, frames, stride):
#     return sum(max(0, (b - a - frames) // stride + 1) for a, b in shots)
# ```
#
# </details>
#
# ### 3. Find the leak (medium, 10 minutes)
# Someone hands you two lists of clips, by their first frames. Return the numbers of the shots that both sides contain.
#
# <details><summary>Solution</summary>
#
# ```python
# def leaks(train_starts, val_starts, shots):
#     def owners(starts):
#         return {k for k, (a, b) in enumerate(shots) if any(a <= start < b for start in starts)}
#     return owners(train_starts) & owners(val_starts)
# ```
#
# </details>
#
# ### 4. A better simple predictor (medium, 15 minutes)
# Copying repeats the last frame. Going on with its motion, last frame plus the last change, is the next idea. Write it
# for `past` `(B, C, T, H, W)` and a number of frames, clipped to [-1, 1]. Then compare: is it better than copying, and
# for how many frames?
#
# <details><summary>Solution</summary>
#
# ```python
# def go_on(past, frames):
#     last, change = past[:, :, -1:], past[:, :, -1:] - past[:, :, -2:-1]
#     steps = torch.arange(1, frames + 1).view(1, 1, -1, 1, 1)
#     return (last + steps * change).clamp(-1, 1)
#
# made = go_on(past, 8)
# ahead = [(k + 1, decibels(made[:, :, k : k + 1], future[:, :, k : k + 1])) for k in range(8)]
# ```
#
# On the film it is worse than copying from the first frame on. The change at moving edges is added again for every frame
# ahead, so the error grows. Pixels do not move by adding; that is one reason why the course predicts tokens.
#
# </details>
#
# ## Summary
#
# - The film is decoded once into a memory-mapped store of bytes; everywhere else video is `(B, C, T, H, W)` in [-1, 1].
# - Cuts are jumps that stand alone once the light is levelled. No clip crosses one.
# - Validation means whole shots. Split by clip, a held-out window has a twin in training.
# - Old film flickers and sways; restoring takes out the quick part alone, so fades and irises stay.
# - Two baselines stand beside every later number: the mean frame and a copy of the last frame.
#
# **Next:** [01 VAE](01_vae.ipynb) builds an autoencoder of small images.
#
# ## References
#
# - *Steamboat Willie*, Walt Disney and Ub Iwerks, 1928; in the public domain in the United States since 2024. Internet
#   Archive item `steamboat-willie-mickey`.
# - Lucas and Kanade, 1981, *An iterative image registration technique with an application to stereo vision* (how the
#   sway is found).
# - Arnab et al., 2021, *ViViT: A video vision transformer*, arXiv:2103.15691 (tubelets, section 3.2).
# - Mentzer et al., 2023, *Finite scalar quantization: VQ-VAE made simple*, arXiv:2309.15505.
# - Yan et al., 2021, *VideoGPT*, arXiv:2104.10157 (a tokenizer and a transformer for video).
