# %% [markdown]
# # 05 Tubelet FSQ-VAE
#
# A clip of 16 frames at 64x64 is 65,536 numbers. Here it becomes 512 integers, and back. Each integer, a *token*,
# stands for a *tubelet*: a small block of pixels that is 8 frames long, 4 rows high and 4 columns wide. The
# transformer of notebook 07 will read and write nothing but these integers.
#
# **After this notebook you will be able to**
# - cut a clip into spacetime patches by hand, with einops, and as a convolution, and say why these are the same;
# - say what tubelets keep that a few sampled frames lose, in numbers;
# - write finite scalar quantization (FSQ) in ten lines, and say what one level of one digit draws;
# - train a tubelet FSQ-VAE, and judge one: PSNR, SSIM, usage, bits, stability, each beside its baseline;
# - edit a clip by changing one integer, and find better integers than the encoder's by search.
#
# **You need** Python, a little PyTorch, and what notebook 00 sets up. The notebook runs alone.
#
# **Minutes:** about 10 on a two-core laptop, most of them training; a few with a GPU.
#
# **Before:** [04 Conv3D FSQ-VAE](04_video_fsq_vae.ipynb), or straight from [00 Start here](00_start_here.ipynb). **Next:** [06 Latent cache](06_latent_cache.ipynb).

# %%
# NBVAL_IGNORE_OUTPUT
import math
import pprint
import time

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from einops import rearrange
from IPython.display import display
from torch import nn

from vg import checkpoints, evaluation, show
from vg.data import Clips, film, open_store, split_shots
from vg.experiments.batches import tokenizer_batches
from vg.experiments.losses import tubelet_loss
from vg.latents.search import search_codes
from vg.models import FSQ, FSQ_LEVELS, TubeletConfig, TubeletTokenizer
from vg.models.blocks import MLP
from vg.profiles import device, profile
from vg.show import interactive
from vg.training import Recipe, fit

show.style()
source = film()
print(f"profile {profile().name}, device {device()}")
print(source.describe())

# %% [markdown]
# The film as notebook 00 left it: uint8 frames on disk, restored, cut into shots. Validation shots are never trained
# on; they are the ones that the shipped tokenizer has not seen either. `truth` holds validation clips of 16 frames,
# `(B, C, T, H, W)` in [-1, 1], and every number below is measured on them.

# %%
# NBVAL_IGNORE_OUTPUT
amount = profile().pick(smoke=240, laptop=None, gpu=None)  # frames; None: all of them
held_out = profile().pick(smoke=0.35, laptop=0.1, gpu=0.1)  # share of the frames
store = open_store(source, frames=amount)
train_shots, val_shots = split_shots(store.shots, held_out)
clips16 = Clips(store, val_shots, frames=16, stride=8)
truth = clips16.take(range(len(clips16)))
motion = (truth[:, :, 1:] - truth[:, :, :-1]).abs().flatten(1).mean(1)  # (B,) how much each clip moves
fastest = int(motion.argmax())
print(store)
print(f"{len(train_shots)} training shots, {len(val_shots)} validation shots, {len(truth)} validation clips")

# %% [markdown]
# ## A clip cut into spacetime patches
#
# Begin with a toy: a white square that moves one pixel to the right and half a pixel down in each of 8 frames of
# 16x16.

# %%
# NBVAL_IGNORE_OUTPUT
toy = torch.full((1, 8, 16, 16), -1.0)  # (C, T, H, W)
for k in range(8):
    toy[:, k, 3 + k // 2 : 8 + k // 2, 1 + k : 6 + k] = 1
show.strip({"toy clip": toy}, every=1, scale=4)

# %% [markdown]
# A tubelet of `(4, 8, 8)` is 4 frames, 8 rows, 8 columns. Cutting is three loops: over time, down, across. All tubelets of
# the same frames, a grid of `h` x `w`, are a *latent frame*.
#
#     8 frames   / 4 = 2 tubelets in time      t
#     16 rows    / 8 = 2 down                  h
#     16 columns / 8 = 2 across                w      so 2 * 2 * 2 = 8 tubelets of 4 * 8 * 8 = 256 pixels
#
# Each row of the picture is one tubelet, shown as the little film that it is. Where the square passes through, the
# tubelet holds an edge *and the way it moves*. A patch of a single frame could hold the edge alone.

# %%
pieces = []
for i in range(0, 8, 4):
    for j in range(0, 16, 8):
        for k in range(0, 16, 8):
            pieces.append(toy[:, i : i + 4, j : j + 8, k : k + 8])
by_hand = torch.stack([piece.flatten() for piece in pieces]).view(2, 2, 2, 256)  # (t, h, w, C * 4 * 8 * 8)
print(len(pieces), "tubelets, as a grid:", tuple(by_hand.shape))
names = [f"t={n // 4} h={n // 2 % 2} w={n % 2}" for n in range(8)]
show.strip(dict(zip(names, pieces)), every=1, scale=4)

# %% [markdown]
# The same cut in one line. The pattern says which axis is divided into what: `(T t)` is `T` tubelets of `t` frames.
# Then a `Linear` layer, one for all tubelets, turns each row of pixels into `D` features. That is ViViT's *tubelet
# embedding*, and it is how `vg`'s tokenizer begins. The cell takes what came out of the `embed` layer of a real
# `TubeletTokenizer` while it encoded the toy, and compares.


# %%
def output_of(part, model, video):
    """What the layer ``part`` of ``model`` gives while the model encodes ``video``."""
    seen = []
    handle = part.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    model.encode(video)
    handle.remove()
    return seen[0]


cut = rearrange(toy, "c (T t) (H h) (W w) -> T H W (c t h w)", t=4, h=8, w=8)
print("einops equals the loops:      ", torch.equal(cut, by_hand))

torch.manual_seed(0)
tiny = TubeletTokenizer(TubeletConfig(tubelet=(4, 8, 8), width=32, encoder_depth=1, decoder_depth=1)).eval()
features = output_of(tiny.embed, tiny, toy[None])[0]  # (t, h, w, D)
print("vg's embedding equals by hand:", torch.allclose(features, tiny.embed(by_hand), atol=1e-5))

# %% [markdown]
# Papers often write this as a 3-D convolution whose stride is its kernel. Then no two windows overlap, so it is the
# same product of the same numbers. Reshape the Linear layer's matrix to a kernel and look. Which is faster
# here? The second cell times both on a batch of real size, forward and backward.

# %%
conv = nn.Conv3d(1, 32, kernel_size=(4, 8, 8), stride=(4, 8, 8))
with torch.no_grad():
    conv.weight.copy_(tiny.embed.weight.view(32, 1, 4, 8, 8))
    conv.bias.copy_(tiny.embed.bias)
    as_conv = conv(toy[None])  # (1, D, t, h, w)
print(
    "stride = kernel Conv3d equals rearrange + Linear:", torch.allclose(as_conv[0].movedim(0, -1), features, atol=1e-5)
)


# %%
# NBVAL_IGNORE_OUTPUT
def seconds(function, repeats):
    function().sum().backward()  # the first call sets things up
    start = time.perf_counter()
    for _ in range(repeats):
        function().sum().backward()
    return (time.perf_counter() - start) / repeats


video, repeats = torch.randn(4, 1, 32, 64, 64), profile().pick(smoke=1, laptop=10, gpu=10)
linear, convolution = nn.Linear(128, 192), nn.Conv3d(1, 192, (8, 4, 4), stride=(8, 4, 4))
pattern = "b c (T t) (H h) (W w) -> b T H W (c t h w)"
print(f"rearrange + Linear {1e3 * seconds(lambda: linear(rearrange(video, pattern, t=8, h=4, w=4)), repeats):7.1f} ms")
print(f"Conv3d             {1e3 * seconds(lambda: convolution(video), repeats):7.1f} ms")

# %% [markdown]
# ## Tubelets against sampled frames
#
# ViViT (Arnab et al., 2021, section 3.2) describes two ways to turn a video into tokens. *Uniform frame sampling*
# keeps every k-th frame and cuts each into flat patches. *Tubelet embedding* cuts the whole volume. ViViT wants to
# name what a video shows, and for that a few frames often do. We want to draw all of it again, so what lies between
# two sampled frames has to be made up: by holding a frame, or by blending from one to the next.
#
#     frames       0  1  2  3  4  5  6  7 | 8  9 10 11 12 13 14 15
#     sampling                 x                      x               2 frames, patches (1, 4, 4)
#     tubelets    [-------- one --------] [-------- one --------]     all frames, tubelets (8, 4, 4)
#
# Patches of 4x4 on 2 frames or tubelets of 8x4x4 on 16: the number of tokens is the same, and so are the bits.


# %%
def sample(video, k=8):
    """Every k-th frame, from the middle of the first k on: (B, C, T, H, W) -> (B, C, T / k, H, W)."""
    return video[:, :, k // 2 :: k]


def hold(frames, k=8):
    return frames.repeat_interleave(k, dim=2)


def blend(frames, k=8):
    """From each sampled frame to the next in a straight line; before the first and after the last, hold."""
    place = ((torch.arange(k * frames.shape[2]) - k // 2) / k).clamp(0, frames.shape[2] - 1)
    left = place.long().clamp(max=frames.shape[2] - 2)
    return torch.lerp(frames[:, :, left], frames[:, :, left + 1], (place - left).view(-1, 1, 1))


def tokens_in(video, tubelet):
    return math.prod(n // m for n, m in zip(video.shape[2:], tubelet))


print("tokens of 16 frames at 64x64:", tokens_in(truth, (8, 4, 4)), "and", tokens_in(sample(truth), (1, 4, 4)))

# %% [markdown]
# Before anything is trained: suppose that the sampled frames came back *perfectly*. Then what is lost is only what
# lies between them. That is a ceiling for sampling, and no network can pass it without guessing motion. PSNR is `10
# log10(4 / mean squared error)` for values in [-1, 1]; 1 dB more is a fifth less squared error.

# %%
# NBVAL_IGNORE_OUTPUT
fast = motion >= motion.quantile(0.75)


def table(rows, columns):
    print(" " * 34 + "".join(f"{name:>17}" for name in columns))
    for name, values in rows.items():
        print(f"{name:34}" + "".join(f"{value:17.4g}" for value in values))


def by_speed(video):
    scores = evaluation.psnr(video, truth)
    return [float(scores.mean()), float(scores[fast].mean())]


rows = {
    "mean frame of each clip": by_speed(evaluation.mean_frame(truth)),
    "perfect frames, held": by_speed(hold(sample(truth))),
    "perfect frames, blended": by_speed(blend(sample(truth))),
}
table(rows, ["PSNR all", "fastest quarter"])

# %% [markdown]
# Now two small tokenizers, alike in everything (blocks, width, levels, steps, batches) but what a token stands for.
# One is given whole clips and tubelets of `(8, 4, 4)`, the other the sampled frames and patches of `(1, 4, 4)`. Its
# token describes 16 pixels, the tubelet's 128: sampling should win where nothing moves. Does it win over all? Below
# the numbers, the fastest validation clip, with errors.


# %%
# NBVAL_IGNORE_OUTPUT
def small(tubelet=(8, 4, 4), levels=FSQ_LEVELS[8], **more):
    torch.manual_seed(0)
    width = profile().pick(smoke=16, laptop=96, gpu=96)
    config = TubeletConfig(tubelet, levels, width=width, encoder_depth=1, decoder_depth=2, **more)
    return TubeletTokenizer(config).to(device())


@torch.no_grad()
def rebuild(model, video, batch=8):
    """Encode and decode clips (B, C, T, H, W) on the model's device; the result is on the CPU."""
    place = next(model.parameters()).device
    return torch.cat([model(part.to(place))[0].clamp(-1, 1).cpu() for part in video.split(batch)])


def sampled_loss(model, video):
    return tubelet_loss(model, sample(video))


recipe = Recipe(
    steps=profile().pick(smoke=3, laptop=250, gpu=1000), lr=2e-3, muon=2e-2, warmup=30, grad_clip=5.0, ema=0.9
)
draw = tokenizer_batches(Clips(store, train_shots, frames=16), batch=4)
with_tubelets = fit(small(), tubelet_loss, draw, recipe)
with_patches = fit(small(tubelet=(1, 4, 4)), sampled_loss, draw, recipe)

frames_back = rebuild(with_patches.model, sample(truth))
made = {
    "tubelets (8, 4, 4)": rebuild(with_tubelets.model, truth),
    "patches (1, 4, 4), frames held": hold(frames_back),
    "patches (1, 4, 4), frames blended": blend(frames_back),
}
table(rows | {name: by_speed(video) for name, video in made.items()}, ["PSNR all", "fastest quarter"])
print(f"\nthe sampled frames themselves: {evaluation.psnr(frames_back, sample(truth)).mean():.2f} dB")

# %%
# NBVAL_IGNORE_OUTPUT
shown = {
    "original": truth[fastest],
    "tubelets": made["tubelets (8, 4, 4)"][fastest],
    "patches, held": made["patches (1, 4, 4), frames held"][fastest],
}
show.compare(shown, every=2, scale=1, against="original")

# %% [markdown]
# Compare the last rows with each other and with the ceilings, in both columns. The last line is how well the second
# network draws the frames that it was given: it is the easier task, with 16 pixels a token. How much of that gain is
# left once the frames between are filled in, over all clips and in the fastest quarter?
#
# ## FSQ in ten lines
#
# A token must be an integer. A VQ-VAE looks for the nearest of K learned vectors. FSQ (Mentzer et al., 2023) learns
# none: the encoder gives a handful of numbers, each is squashed by `tanh` to a fixed range and *rounded*. With levels
# `(8, 6, 5)` the first number has 8 values, the last has 5, and together they name one of 240 codes.
#
# Three details. An even number of levels has no middle, so the range is moved by a half, and the input by as much as
# puts 0 in the middle again. `1e-3` keeps `tanh` from having to reach 1. Rounding has no gradient, so it is given that
# of the identity: `bounded + (rounded - bounded).detach()`. The second cell draws the staircase for an even and an odd
# number of levels; the grey line is what the gradient believes.


# %%
def fsq(z, levels):
    count = torch.tensor(levels).float()
    half = (count - 1) * 1.001 / 2
    offset = torch.where(count % 2 == 0, 0.5, 0.0)
    bounded = torch.tanh(z + torch.atanh(offset / half)) * half - offset
    rounded = bounded + (bounded.round() - bounded).detach()
    digits = (rounded.detach() + count // 2).long()
    basis = torch.cumprod(torch.tensor([1, *levels[:-1]]), 0)
    return rounded / (count // 2), (digits * basis).sum(-1)


levels = FSQ_LEVELS[8]
z = (1.5 * torch.randn(1000, len(levels), generator=torch.Generator().manual_seed(0))).requires_grad_()
codes, indices = fsq(z, levels)
vg_codes, vg_indices = FSQ(levels)(z)
print("codes agree with vg:  ", torch.allclose(codes, vg_codes, atol=1e-6))
print("indices agree with vg:", torch.equal(indices, vg_indices))
codes.sum().backward()
print("rounded, and yet every gradient is above 0:", bool((z.grad > 0).all()))

# %%
# NBVAL_IGNORE_OUTPUT
figure, axes = plt.subplots(1, 2, figsize=(7.5, 2.6), sharey=True)
x = torch.linspace(-4, 4, 801)
for ax, count in zip(axes, (8, 5)):
    step = fsq(x[:, None], (count,))[0][:, 0]
    half, offset = (count - 1) * 1.001 / 2, 0.5 * (count % 2 == 0)
    smooth = (torch.tanh(x + math.atanh(offset / half)) * half - offset) / (count // 2)
    ax.plot(x, smooth, color="#8a8a8a")
    ax.plot(x, step)
    ax.set(title=f"{count} levels", xlabel="z")
axes[0].set_ylabel("code")
plt.show()

# %% [markdown]
# An index is a number whose digits have different bases, the first one running fastest: `index = d0 + 8 * d1 + 48 * d2`.
# So nothing has to be looked up, and no table of codes exists. The cell goes through *all*
# codes: index to digits to index, and index to code to index through the quantizer itself.

# %%
quantizer = FSQ(levels)
every_index = torch.arange(quantizer.size)
digits = quantizer.digits(every_index)
print(f"{quantizer.size} codes; index 115 has the digits {digits[115].tolist()}")
print("digits and back:", torch.equal(quantizer.indices(digits), every_index))
inner = torch.atanh((quantizer.codes(every_index) * quantizer.width + quantizer.offset) / quantizer.bound)
print("codes and back: ", torch.equal(quantizer(inner - quantizer.shift)[1], every_index))

# %% [markdown]
# ## What one level of one digit means
#
# Checkpoint first: a tokenizer ships with the course, so you need not train one to look at tokens. Its card says what
# it was trained on, for how long, and what was measured. It is frozen: no gradients, and `train()` does not wake it
# up.

# %%
# NBVAL_IGNORE_OUTPUT
shipped = checkpoints.load("tubelet-fsq-64", device=device())
card = checkpoints.card("tubelet-fsq-64")
print(f"{card.name}: {card.model}, {sum(p.numel() for p in shipped.parameters()) / 1e6:.1f} M parameters")
print(f"tubelet {shipped.tubelet}, levels {shipped.levels}")
pprint.pp(card.facts, width=110, compact=True)

# %% [markdown]
# Take the tubelet of this clip that moves most, and sweep one digit of its token through all of its levels while every
# other digit, and every other token, stays. Each row is a digit, each picture a level, cut out around the tubelet in
# the middle of its eight frames. The star marks the level that the encoder chose.


# %%
def busiest(video, tubelet):
    """Place (t, h, w) of the first-latent frame tubelet of (1, C, T, H, W) that changes most over its frames."""
    t, h, w = tubelet
    change = video[0, :, 1:t].sub(video[0, :, : t - 1]).abs().mean((0, 1))  # (H, W)
    cells = F.avg_pool2d(change[None, None], (h, w))[0, 0]
    return (0, *divmod(int(cells.argmax()), cells.shape[1]))


def sweep(model, tokens, place, digit):
    """Decode the clip once for each level of one digit of the token at ``place``: (levels, C, T, H, W)."""
    count = model.levels[digit]
    digits = model.quantizer.digits(tokens).repeat(count, 1, 1, 1, 1)  # (levels, t, h, w, digits)
    digits[(slice(None), *place, digit)] = torch.arange(count, device=digits.device)
    return model.decode(model.quantizer.indices(digits)).cpu()


clip = truth[fastest : fastest + 1].to(device())
tokens = shipped.encode(clip)
print("clip", tuple(clip.shape), "-> tokens", tuple(tokens.shape), "-> clip", tuple(shipped.decode(tokens).shape))
print("frozen, even when told to train:", not shipped.train().training)
place = busiest(clip, shipped.tubelet)
swept = [sweep(shipped, tokens, place, digit) for digit in range(len(shipped.levels))]
print([len(videos) for videos in swept] == list(shipped.levels))

# %%
# NBVAL_IGNORE_OUTPUT
row, column = (min(max(0, n * m - 12 + m // 2), 40) for n, m in zip(place[1:], shipped.tubelet[1:]))
pictures, labels = [], []
chosen = shipped.quantizer.digits(tokens)[0][place].tolist()
for digit, videos in enumerate(swept):
    crops = videos[:, :, 4, row : row + 24, column : column + 24]
    blank = torch.ones(max(shipped.levels) - len(crops), *crops.shape[1:])
    pictures.append(torch.cat([crops, blank]))
    labels += [f"d{digit}={level}" + "*" * (level == chosen[digit]) for level in range(len(crops))] + [""] * len(blank)
show.grid(torch.cat(pictures), columns=max(shipped.levels), scale=3, labels=labels)

# %% [markdown]
# The whole token, without a kernel: set its digits and see the picture that the decoder draws around its tubelet. All
# codes were decoded beforehand. It begins with the encoder's own digits.

# %%
# NBVAL_IGNORE_OUTPUT
every_code = torch.cartesian_prod(*(torch.arange(n) for n in shipped.levels))  # (codes, digits), the last one fastest
numbers = shipped.quantizer.indices(every_code.to(device()))
drawn = []
for part in numbers.split(60):
    grids = tokens[:, :1].repeat(len(part), 1, 1, 1)  # the decoder looks back only: one latent frame is enough
    grids[:, *place] = part
    drawn.append(shipped.decode(grids)[:, :, 4, row : row + 24, column : column + 24].cpu())
drawn = torch.cat(drawn)
interactive.variations(
    {
        "as it was": clip[:, :, 4, row : row + 24, column : column + 24].cpu()[None, None],
        "drawn": drawn.unflatten(0, shipped.levels),
    },
    {f"digit {k}": range(n) for k, n in enumerate(shipped.levels)},
    start={f"digit {k}": digit for k, digit in enumerate(chosen)},
    captions={"drawn": numbers.cpu().view(shipped.levels).numpy().astype(str)},
    scale=7,
    title="a token's digits, and the picture that they draw",
)

# %% [markdown]
# Read a row from left to right. Does the picture change in small steps, more the further apart the levels are? Then a
# digit is a scale, not a name, and that is why notebook 07 embeds digits rather than codes. How far does the change
# reach? In time the decoder looks back only, so nothing can change before the tubelet; after it, and next to it, the
# change may spill over.

# %%
# NBVAL_IGNORE_OUTPUT
span = shipped.tubelet[0]
later = (1, *place[1:])  # the same place, one latent frame later: now there are frames before it
reach = {}
for digit in range(len(shipped.levels)):
    videos = sweep(shipped, tokens, later, digit)
    change = (videos[-1] - videos[0]).abs()[0] * 127.5  # lowest against highest level, in grey levels
    reach[f"digit {digit}"] = change.amax((1, 2)).tolist()
show.curves(reach, f"largest change in each frame; the token's own frames are {span} to {2 * span - 1}", x="frame")

# %% [markdown]
# ## Why a hidden layer before FSQ
#
# A codebook bends: its words move to where the vectors are. FSQ's codes stay where they are, on a grid, all equally far
# apart. So the networks have to bring the vectors to the grid, and spread them over it: what a learned partition did
# before, encoder and decoder have to do (the FSQ paper, section 3). That asks for a bend, and a Linear layer has none;
# there are bends in the blocks before it. `vg` puts one more next to FSQ, a hidden layer on either side: Linear, GELU,
# Linear.
#
# First a look at the vectors that reach FSQ in the shipped tokenizer. Left, how its digits correlate: two that say the
# same would waste bits. Right, how often each digit takes each level; the dotted line is even use.

# %%
# NBVAL_IGNORE_OUTPUT
some = truth[: profile().pick(smoke=4, laptop=32, gpu=64)].to(device())
vectors = output_of(shipped.to_code, shipped, some).flatten(0, -2)
digits = shipped.quantizer.digits(shipped.quantizer(vectors)[1]).cpu()
figure, axes = plt.subplots(1, 2, figsize=(8, 2.6), width_ratios=(1, 2))
axes[0].imshow(torch.corrcoef(vectors.T).cpu(), cmap="RdBu", vmin=-1, vmax=1)
axes[0].set(title="correlation before rounding", xlabel="digit", xticks=range(len(shipped.levels)))
axes[0].set_yticks(range(len(shipped.levels)))
axes[0].grid(False)
for k, count in enumerate(shipped.levels):
    share = torch.bincount(digits[:, k], minlength=count).float() / len(digits)
    axes[1].bar(torch.arange(count) / (count + 1) + k, share, width=0.9 / (count + 1), align="edge")
    axes[1].hlines(1 / count, k, k + 0.88, color="#555555", linestyle=":")
axes[1].set(
    title="share of each level", xlabel="digit, its levels from left to right", xticks=range(len(shipped.levels))
)
plt.show()

# %% [markdown]
# The picture says what came of it. Whether hidden layers help is another question, and needs two runs: the same small
# tokenizer, the same batches, with them and without. *Usage* is the share of the codes that occur anywhere in the film (a
# film with few tokens cannot use them all); *entropy* is how many bits a token carries, at most log2 of the number of
# codes.


# %%
# NBVAL_IGNORE_OUTPUT
@torch.no_grad()
def all_tokens(model, store):
    """The tokens of every shot, in one row (N,) on the CPU."""
    found = []
    for start, stop in store.shots:
        found.append(model.encode(store.clip(start, stop).to(next(model.parameters()).device)).flatten().cpu())
    return torch.cat(found)


def report(model):
    """PSNR on validation clips; usage and entropy over the whole store."""
    codes = math.prod(model.levels)
    tokens = all_tokens(model, store)
    entropy = math.log2(evaluation.perplexity(tokens, codes))
    quality = float(evaluation.psnr(rebuild(model, truth), truth).mean())
    return [quality, 100 * evaluation.usage(tokens, codes), entropy, math.log2(codes)]


measured = ["PSNR", "usage %", "entropy", "bits"]
short = Recipe(
    steps=profile().pick(smoke=3, laptop=300, gpu=2000), lr=2e-3, muon=2e-2, warmup=30, grad_clip=5.0, ema=0.9
)

bent, plain = small(), small()
d, channels = plain.config.width, len(plain.levels)
plain.to_code = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, channels)).to(device())
plain.from_code = nn.Linear(channels, d).to(device())
print("vg's hidden layer: ", [type(part).__name__ for part in MLP(d, d, channels)])
runs = {"hidden layers": fit(bent, tubelet_loss, draw, short), "Linear alone": fit(plain, tubelet_loss, draw, short)}
results = {name: report(run.model) for name, run in runs.items()}
table(results, measured)
show.curves({name: run.history["loss"] for name, run in runs.items()}, "with and without hidden layers", y="loss")

# %% [markdown]
# Two things to read off: how many bits a token carries out of those it costs, and whether the picture gains by it.
# They need not move together after so few steps: a network may use few codes well, or many codes badly.
#
# ## Causal in time, in pieces, at any size
#
# A token may depend on its own frames and on earlier ones, never on later ones. The test is direct: change one frame,
# encode again, and look which tokens moved.

# %%
long = torch.rand(1, 1, 40, 64, 64, generator=torch.Generator().manual_seed(0)).to(device()) * 2 - 1
changed = long.clone()
changed[:, :, 19] *= -1  # frame 19 belongs to latent frame 19 // 8 = 2
moved = (shipped.encode(long) != shipped.encode(changed))[0].float().mean((1, 2))  # share of tokens, by latent frame
print("latent frames before the change are untouched:", bool((moved[: 19 // span] == 0).all()))
print("its own latent frame moves:                   ", bool(moved[19 // span] > 0))
shares = {f"frames {span * k} to {span * k + span - 1}": float(share) for k, share in enumerate(moved)}
show.bars(shares, "share of the tokens that move when frame 19 does")

# %% [markdown]
# Later latent frames may move as well: one block of the encoder, its last, looks one latent frame back. Exercise 3 asks
# how far that reaches.
#
# Causality has a reward: a film of any length can be encoded and decoded as a stream. A dict, `past`, carries what
# each block still needs of the frames before. The numbers are those of the whole.
#
# The last lines try any height, width and length: what the tubelet does not divide is padded by repeating the last
# row, column or frame, and cropped back after decoding. The convolutions do not care how large the grid is.

# %%
past, future = {}, {}
whole = shipped.encode(long)
streamed = torch.cat([shipped.encode(piece, past) for piece in long.split([8, 24, 8], dim=2)], dim=1)
print("tokens in pieces equal the whole:", torch.equal(streamed, whole))
decoded = torch.cat([shipped.decode(piece, past=future) for piece in whole.split(1, dim=1)], dim=2)
print("frames in pieces equal the whole:", torch.allclose(decoded, shipped.decode(whole), atol=1e-4))

for size in [(16, 64, 64), (13, 50, 70), (1, 64, 64), (8, 96, 30)]:
    odd = F.interpolate(clip, size=size, mode="trilinear")
    grid = shipped.encode(odd)
    back = shipped.decode(grid, size=size)
    print(f"{size!s:14} -> tokens {tuple(grid.shape[1:])!s:12} -> same size again: {back.shape == odd.shape}")

# %% [markdown]
# ## Training one
#
# The whole recipe fits a paragraph. Batches are random clips of 16 frames from training shots, mirrored half of the
# time, run backwards half of the time, and moved by a pixel or two. The loss is the logarithm of each clip's root mean
# squared error, averaged. PSNR is the same but for a negative factor and a constant, so a quiet clip weighs about as much as a wild one. The
# blocks' matrices are trained by Muon, the rest by AdamW, with warm-up and a cosine. There is no codebook, no commitment
# loss, no adversary.
#
# Because the loss is a PSNR in other units, it can be drawn in dB (as `20 (log10(2) - loss / ln(10))`) on one axis with
# the validation PSNR, and with what the mean frame of each clip gets. Mean frame is a strong baseline: backgrounds stand
# still.
#
# Below the curve: the fastest validation clip, its reconstruction, and the error. Look for what is there first (large
# flat shapes, the light) and what is missing (thin lines, fast limbs). A squared error pays most for large areas that
# are off by much.

# %%
# NBVAL_IGNORE_OUTPUT
size = profile().pick(smoke=64, laptop=64, gpu=256)
large = open_store(source, size=size, frames=amount)  # at 64 pixels this is the store from above
own_train, own_val = split_shots(large.shots, held_out)
own_clips = Clips(large, own_val, frames=16, stride=8)
own_truth = own_clips.take(range(len(own_clips)))
floor = float(evaluation.psnr(evaluation.mean_frame(own_truth), own_truth).mean())
torch.manual_seed(0)
own = TubeletTokenizer(TubeletConfig(width=profile().pick(smoke=16, laptop=192, gpu=192))).to(device())
print(own.quantizer, f"{sum(p.numel() for p in own.parameters()) / 1e6:.2f} M parameters, mean frame {floor:.2f} dB")


# %%
# NBVAL_IGNORE_OUTPUT
class Decibels(show.LivePlot):
    """A live plot of the loss and the validation PSNR, both in dB."""

    def update(self, history):
        training = [(step, 20 * (math.log10(2) - loss / math.log(10))) for step, loss in history["loss"]]
        super().update({"training (last batches)": training, "validation": history.get("PSNR", [])})


def evaluate(model):
    return {"PSNR": float(evaluation.psnr(rebuild(model, own_truth), own_truth).mean())}


steps = profile().pick(smoke=4, laptop=700, gpu=4000)
size_of_batch = profile().pick(smoke=2, laptop=4, gpu=8)
trained = fit(
    own,
    tubelet_loss,
    tokenizer_batches(Clips(large, own_train, frames=16), batch=size_of_batch, reverse=True),
    Recipe(steps=steps, lr=2e-3, muon=2e-2, warmup=50, grad_clip=5.0, ema=0.98),
    evaluate=evaluate,
    every=profile().pick(smoke=2, laptop=100, gpu=400),
    plot=Decibels("tubelet FSQ-VAE", y="PSNR in dB", baselines={"mean frame": floor}),
)
print(f"{trained.seconds:.0f} s; validation {trained.history['PSNR'][-1][1]:.2f} dB, mean frame {floor:.2f} dB")

# %%
# NBVAL_IGNORE_OUTPUT
pick = int((own_truth[:, :, 1:] - own_truth[:, :, :-1]).abs().flatten(1).mean(1).argmax())
own_back = rebuild(trained.model, own_truth[pick : pick + 1])[0]
scale = max(1, 128 // size)
show.compare({"original": own_truth[pick], "trained here": own_back}, every=4, scale=scale, against="original")

# %% [markdown]
# ## The shipped tokenizer, in numbers
#
# The same code with more steps; the card above says how many. After some thousand steps it drew training clips ever
# better and validation clips no more: 22 shots are few. So a second part of its training showed it clips cut out of
# larger pictures, at many scales and lights (`vg.experiments.batches.random_views`). The card has the validation PSNR of both parts.
#
# Three validation clips of 16 frames, spread over the
# film, above, and what came back from 512 integers each, below. Then one of them with its errors.

# %%
# NBVAL_IGNORE_OUTPUT
rebuilt = rebuild(shipped, truth)
three = [round(k * (len(truth) - 1) / 2) for k in range(3)]
pairs = {f"original {k}": truth[k] for k in three} | {f"rebuilt {k}": rebuilt[k] for k in three}
display(show.player(pairs, fps=store.fps, columns=len(set(three)), scale=2))
middle = three[1]
show.compare({"original": truth[middle], "rebuilt": rebuilt[middle]}, every=2, scale=1, against="original")

# %% [markdown]
# Pictures persuade; a table can disagree. Beside the tokenizers stand two baselines that send no such tokens. *Mean
# frame* knows each clip's average picture exactly, and no motion. *Nearest training clip* looks for the closest clip
# of the training shots: what one gets by remembering and never drawing. SSIM compares local patterns (1 is equal).
#
# The last two columns divide the pixels into those that move (over 10 grey levels away from their clip's mean, in that
# frame) and the rest, and give the PSNR of each part. The mean frame cannot draw what moves. Where does the tokenizer
# lose?


# %%
# NBVAL_IGNORE_OUTPUT
def quality(video, against=truth):
    """PSNR and SSIM, and the PSNR over what moves and over what does not."""
    moving = (against - evaluation.mean_frame(against)).abs() * 127.5 > 10
    error = (video - against).square()
    parts = [float(10 * torch.log10(4 / error[where].mean())) for where in (moving, ~moving)]
    return [float(evaluation.psnr(video, against).mean()), float(evaluation.ssim(video, against).mean()), *parts]


bank = Clips(store, train_shots, frames=16, stride=4)
rows = {
    "mean frame": quality(evaluation.mean_frame(truth)),
    "nearest training clip": quality(evaluation.nearest_clip(truth, bank)),
    f"trained here, {size} pixels": quality(rebuild(trained.model, own_truth), own_truth),
    "tubelet-fsq-64": quality(rebuilt),
}
table(rows, ["PSNR dB", "SSIM", "moving dB", "still dB"])

# %% [markdown]
# The codes themselves. *Bits a clip* is what 512 tokens cost if each is stored as it is. *Usage* and *entropy* are
# over the whole film. *Stability* is the share of tokens that stay the same from one latent frame to the next where
# the picture stands still: the transformer will have to predict every change, also those that show nothing. A tubelet
# counts as still below 3 grey levels of mean change.


# %%
# NBVAL_IGNORE_OUTPUT
@torch.no_grad()
def stability(model, watched, encoded, shots):
    """Of the frames ``encoded``; what stands still is judged on the store ``watched``. Weighted by length."""
    total, frames, span = 0.0, 0, model.tubelet[0]
    for start, stop in shots:
        whole = (stop - start) // span * span
        if whole < 2 * span:
            continue
        video = encoded.clip(start, start + whole).to(next(model.parameters()).device)
        same = evaluation.stability(watched.clip(start, start + whole), model.encode(video).cpu(), model.tubelet)
        if not math.isnan(same):
            total, frames = total + same * whole, frames + whole
    return total / frames if frames else math.nan


_, used, entropy, bits = report(shipped)
print(f"bits a clip of 16 frames  {tokens[0].numel() * bits:8.0f}   (uint8 pixels: {8 * truth[0].numel()})")
print(f"bits a token              {bits:8.2f}   of which are used (entropy): {entropy:.2f}")
print(f"usage over the film       {used:8.1f} % of {math.prod(shipped.levels)} codes")
print(f"stability, all shots      {stability(shipped, store, store, store.shots):8.3f}")
print(f"stability, validation     {stability(shipped, store, store, val_shots):8.3f}")

# %% [markdown]
# ## Better integers by search
#
# The encoder guesses its tokens in one pass, and has to guess well for every clip there is. Nobody says that its guess is
# the best one for *this* clip. `vg.latents.search` asks the decoder: hold both networks still, take the vectors that FSQ rounds,
# and move them by gradient descent until the decoded clip is nearer to the original. The number of tokens is the same
# and so is the decoder; only encoding takes longer. Codecs do this for a living.
#
# How much is to be had, and what does it cost? Steps of the search against PSNR, then stability: where the picture stands
# still, does a searched token still stay?

# %%
# NBVAL_IGNORE_OUTPUT
every = truth[:: profile().pick(smoke=4, laptop=6, gpu=2)].to(device())
found, begun = {}, time.perf_counter()
for n in profile().pick(smoke=(0, 2), laptop=(0, 5, 20, 60), gpu=(0, 5, 20, 60)):
    indices = search_codes(shipped, every, n, progress=False)
    score = float(evaluation.psnr(shipped.decode(indices, every.shape[2:]), every).mean())
    found[f"{n} steps"] = [score, evaluation.stability(every, indices, shipped.tubelet), time.perf_counter() - begun]
    begun = time.perf_counter()
print(f"{len(every)} clips; their mean frame has {evaluation.psnr(evaluation.mean_frame(every), every).mean():.2f} dB")
table(found, ["PSNR dB", "stability", "seconds"])

# %% [markdown]
# What search buys in PSNR it pays for in time, and in the last column but one. A transformer would have to predict tokens that change for
# the sake of grain. So the cache of notebook 06 keeps the encoder's own tokens, and search is for whoever wants the
# picture and nothing else.
#
# ## Four patches in one token: 128 pixels
#
# At twice the side a clip has four times the patches, 2,048 of them. The networks do not mind: they look at each patch and
# its neighbours, wherever they are. A transformer does, for its attention compares every token with every other. But
# an FSQ token is a row of digits, and a longer row costs nothing: no table has to hold its codes. So let 2x2 patches share
# a token, whose digits are theirs one after another: 512 tokens again. `tubelet-fsq-128` does that; its networks began
# with the weights of `tubelet-fsq-64` and went on learning: first on crops of 128-pixel clips, then, with the details of the
# next section, on whole pictures and parts of them, out of larger frames.
#
# By hand: take a token's digits apart, and lay each patch's where the patch lies.

# %%
tokenizer_128 = checkpoints.load("tubelet-fsq-128", device=device())
large_store = open_store(source, size=128, frames=amount)
large_clips = Clips(large_store, val_shots, frames=16, stride=profile().pick(smoke=48, laptop=32, gpu=32))
large_truth = large_clips.take(range(len(large_clips)))
large_tokens = torch.cat([tokenizer_128.encode(part.to(device())) for part in large_truth.split(4)])
large_digits = tokenizer_128.quantizer.digits(large_tokens).cpu()  # (B, t, h, w, digits of four patches)
by_patch = rearrange(large_digits, "b t h w (p q d) -> b t (h p) (w q) d", p=2, q=2)
numbers = FSQ(tokenizer_128.patch_levels).indices(by_patch)
print(
    "a token:",
    tokenizer_128.tubelet,
    "of which a patch:",
    tokenizer_128.patch,
    "with levels",
    tokenizer_128.patch_levels,
)
print("tokens of a clip:", tuple(large_tokens.shape[1:]), "patches:", tuple(numbers.shape[1:]))
print("by hand as vg does it:", torch.equal(numbers, tokenizer_128.patch_indices(large_tokens).cpu()))

# %% [markdown]
# ## More digits where there is more to draw
#
# That is six digits for a patch, where the small tokenizer has three. Not every patch uses them. A wall says less than a
# wheel; a codec gives its bits to what is busy, and a tokenizer can do so too and keep its grid. Every patch has two
# digits, of 8 and 5 levels. The fifth of a latent frame's patches whose pixels vary most have four more, the *details*.
# Five levels have a middle, and its code is 0. The details of all other patches stay there: "nothing more to say".
# Papers on image codecs call such a choice an *importance map*.
#
# By hand: the variance of each patch's pixels, over its 8 frames, 4 rows and 4 columns; the largest fifth; and a look at
# the digits of the others. Then the picture with those patches left as they are, and the others dark.

# %%
cells = rearrange(large_truth, "b c (t p) (h q) (w r) -> b t h w (c p q r)", p=8, q=4, r=4)
spread = cells.var(-1).flatten(2)  # (B, t, patches of a latent frame)
count = round(tokenizer_128.config.detail_share * spread.shape[-1])
busiest = torch.zeros_like(spread, dtype=torch.bool).scatter(-1, spread.topk(count).indices, True)
busiest = busiest.view(by_patch.shape[:-1])
details = by_patch[..., len(tokenizer_128.config.levels) :]
print(f"{count} of {spread.shape[-1]} patches of a latent frame have details")
print("all others stay in the middle:", bool((details[~busiest] == 2).all()))
used = (details[busiest] != 2).any(-1).float().mean()
print("most of those that have them use them:", bool(used > 0.9))

# %%
# NBVAL_IGNORE_OUTPUT
light = busiest[:, None].repeat_interleave(8, 2).repeat_interleave(4, 3).repeat_interleave(4, 4)  # (B, 1, T, H, W)
lit = (large_truth + 1) * torch.where(light, 1.0, 0.25) - 1
some = [0, len(large_truth) // 2]
pairs = {f"original {k}": large_truth[k] for k in some} | {f"has details {k}": lit[k] for k in some}
show.strip(pairs, every=5, scale=1)

# %% [markdown]
# What it costs: two digits for every patch, four more for the chosen ones, and which ones were chosen. That last part is
# one number too, for there are so many ways to choose 205 patches of 1,024, and no more. Together it is what
# three digits for every patch would cost.

# %%
patches = spread.shape[-1]
a_tubelet_frame = patches * math.log2(8 * 5) + count * math.log2(5**4) + math.log2(math.comb(patches, count))
print(f"digits everywhere  {2 * patches * math.log2(8 * 5):8,.0f} bits a clip")
print(f"details            {2 * count * math.log2(5**4):8,.0f}")
print(f"which patches      {2 * math.log2(math.comb(patches, count)):8,.0f}")
print(f"together           {2 * a_tubelet_frame:8,.0f}   three digits everywhere {2 * patches * math.log2(240):8,.0f}")
print("as vg counts them: ", math.isclose(2 * a_tubelet_frame, tokenizer_128.raw_bits(large_truth.shape[2:])))

# %% [markdown]
# Does it help? Two small tokenizers at 64 pixels, as above: the one with hidden layers from before, three digits
# everywhere, and one with details, at as many bits and steps. The last two columns are what moves and what does not.

# %%
# NBVAL_IGNORE_OUTPUT
detailed = small(levels=(8, 5), detail_levels=(5, 5, 5, 5), detail_share=0.2)
detailed = fit(detailed, tubelet_loss, draw, short).model
pair = {"three digits everywhere": runs["hidden layers"].model, "details for a fifth": detailed}
grid = tokens.shape[1:]
table(
    {name: [model.raw_bits(truth.shape[2:]), *quality(rebuild(model, truth))] for name, model in pair.items()},
    ["bits a clip", "PSNR dB", "SSIM", "moving dB", "still dB"],
)

# %% [markdown]
# In the run stored here what moves gains half a decibel, and what stands still loses nothing: it had bits to spare. Only
# `tubelet-fsq-128` does it so far.
#
# Is it worth it? The table has clips at 128 pixels: as encoded, and with codes searched for (fewer clips than above, so
# the card's numbers, over all of them, differ a little). *64, enlarged* is the other way to the same size, a quarter of
# the bits: the small tokenizer's clip, made larger.

# %%
# NBVAL_IGNORE_OUTPUT
large_rebuilt = rebuild(tokenizer_128, large_truth)
steps = profile().pick(smoke=2, laptop=20, gpu=20)
parts = [search_codes(tokenizer_128, part.to(device()), steps, progress=False) for part in large_truth.split(4)]
large_found = torch.cat([tokenizer_128.decode(part).cpu() for part in parts])
small_video = F.interpolate(large_truth.flatten(0, 2)[:, None], size=(64, 64), mode="bilinear", antialias=True)
small_video = small_video.view(*large_truth.shape[:3], 64, 64).clamp(-1, 1)
enlarged = F.interpolate(rebuild(shipped, small_video).flatten(0, 2)[:, None], size=(128, 128), mode="bicubic")
enlarged = enlarged.view(large_truth.shape).clamp(-1, 1)
rows = {
    "mean frame": quality(evaluation.mean_frame(large_truth), large_truth),
    "tubelet-fsq-64, enlarged": quality(enlarged, large_truth),
    "tubelet-fsq-128": quality(large_rebuilt, large_truth),
    "tubelet-fsq-128, searched": quality(large_found, large_truth),
}
print(
    f"{len(large_truth)} clips; {tokenizer_128.raw_bits(large_truth.shape[2:]):,.0f} bits a clip of 16 frames at 128x128"
)
table(rows, ["PSNR dB", "SSIM", "moving dB", "still dB"])
pick = [0, len(large_truth) // 2]
pairs = {f"original {k}": large_truth[k] for k in pick} | {f"searched {k}": large_found[k] for k in pick}
show.strip(pairs, every=5, scale=1)

# %% [markdown]
# ## Levels: quality against usage
#
# More levels mean more bits a token. The published sets run from 2^8 to 2^16 codes; here are four of them, each given
# the same small network and the same few steps. This is a glance, not a study: so early in training the decoder, more
# than the bits, may be what limits the picture, and differences of a tenth of a dB are noise of one seed.

# %%
# NBVAL_IGNORE_OUTPUT
sweep_results = {8: results["hidden layers"]}  # the run from above: same recipe, same batches
for bits in (10, 12, 14):
    run = fit(small(levels=FSQ_LEVELS[bits]), tubelet_loss, draw, short)
    sweep_results[bits] = report(run.model)
sweep_results = dict(sorted(sweep_results.items()))
table({f"2^{bits} {FSQ_LEVELS[bits]}": row for bits, row in sweep_results.items()}, measured)

figure, axes = plt.subplots(1, 3, figsize=(9, 2.6))
titles = ("PSNR, validation (dB)", "codes used in the film (%)", "entropy of a token (bits)")
spent = [row[3] for row in sweep_results.values()]
for k, (ax, title) in enumerate(zip(axes, titles)):
    ax.plot(spent, [row[k] for row in sweep_results.values()], marker="o")
    ax.set(title=title, xlabel="bits a token")
axes[1].set_ylim(0, 105)
axes[2].plot(spent, spent, color="#8a8a8a", linestyle=":")
plt.show()

# %% [markdown]
# The dotted line on the right is all codes used equally. What lies between it and the curve is paid for and not used;
# a *prior*, the transformer of notebook 07, that learns these frequencies gets it back. Where usage falls with more codes, there is a plain reason too: a
# short film has only so many tokens.
#
# ## Restored against raw film
#
# The film flickers and sways (notebook 00). A tokenizer that sees the light jump writes the jump down. The same
# shipped tokenizer encodes both stores, and *still* is judged on the restored one for both. (A source that does not
# flicker, as the drawn cartoon, is not restored: then the two stores are one.)

# %%
# NBVAL_IGNORE_OUTPUT
raw = open_store(source, restore=False, frames=amount)
stable = {
    "restored, all shots": stability(shipped, store, store, store.shots),
    "raw, all shots": stability(shipped, store, raw, store.shots),
    "restored, validation": stability(shipped, store, store, val_shots),
    "raw, validation": stability(shipped, store, raw, val_shots),
}
stable = {name: share for name, share in stable.items() if not math.isnan(share)}
show.bars(stable, "share of tokens that stay, where the restored picture stands still")

# %% [markdown]
# The tokenizer was trained on restored film, so the raw one is foreign to it: part of a gap may be that. What it means
# for the prior's bits is measured in notebook 07.
#
# ## Tokens painted over the clip
#
# Each tubelet is tinted by the first three digits of its token, as red, green and blue, so that neighbouring codes
# look alike. Watch where the colours hold still with the background, and where they flicker though nothing moves.

# %%
# NBVAL_IGNORE_OUTPUT
longest = max(val_shots, key=lambda shot: shot[1] - shot[0])
scene = store.clip(longest[0], longest[0] + min(32, longest[1] - longest[0]))
scene_tokens = shipped.encode(scene.to(device())).cpu()
painted = show.token_map(scene_tokens[0], scene[0], shipped.tubelet, shipped.levels)
show.player({"clip": scene[0], "tokens": painted}, fps=store.fps)

# %% [markdown]
# ## A token edited by hand
#
# First with an axe: exchange the left and the right half of the token grid, nothing else, and decode. Tokens carry
# their tubelet wherever they are put; the decoder, which looks at neighbours, has to mend the seam.

# %%
# NBVAL_IGNORE_OUTPUT
halves = tokens.roll(tokens.shape[-1] // 2, dims=-1)
show.strip({"decoded": shipped.decode(tokens)[0], "halves exchanged": shipped.decode(halves)[0]}, every=4, scale=2)

# %% [markdown]
# Then with a needle. The sliders choose a tubelet (its place is framed) and give its token new digits. They start at
# the digits that the encoder chose, wherever you go. Run the notebook to move them: a static page shows the first
# setting. Which digit sets the light? Which one the motion? Do they mean the same at another place?


# %%
# NBVAL_IGNORE_OUTPUT
def edit(t, row, column, **digits):
    grid = shipped.quantizer.digits(tokens).clone()
    grid[0, t, row, column] = torch.tensor(list(digits.values()), device=grid.device)
    edited = shipped.decode(shipped.quantizer.indices(grid))[0].cpu()
    framed = show.outline(shipped.decode(tokens)[0].cpu(), (t, row, column), shipped.tubelet)
    return show.player({"as encoded": framed, "edited": edited}, fps=store.fps)


def own_digits(t, row, column):
    digits = shipped.quantizer.digits(tokens[0, t, row, column]).tolist()
    return {f"d{k}": digit for k, digit in enumerate(digits)}


controls = {name: (0, n - 1, 1, at) for name, n, at in zip(("t", "row", "column"), tokens.shape[1:], (0, 7, 7))}
controls |= {f"d{k}": (0, n - 1) for k, n in enumerate(shipped.levels)}
explorer = show.live_explorer(edit, follow=own_digits, **controls)
explorer

# %% [markdown]
# ## Exercises
#
# Each has a check that says what is off. Solutions are folded below.
#
# **1. Bits of a clip** (easy, 5 minutes). Write `bits_of(size, tubelet, levels)`: the bits of a clip of `size = (T, H,
# W)` with one token a tubelet. Sizes that the tubelet does not divide are padded.


# %%
def bits_of(size, tubelet, levels):
    return None  # your turn


def check_bits(function):
    even = function((16, 64, 64), (8, 4, 8), (8, 8, 8, 6, 5))
    if even is None:
        return "not yet: bits_of returns None"
    if abs(even - 256 * math.log2(15360)) > 0.1:
        right = "256 tokens of log2(8 * 8 * 8 * 6 * 5) bits"
        return f"got {even:.1f} for 16x64x64; {right} make {256 * math.log2(15360):.1f}. Is it log2 of the product?"
    odd = function((9, 5, 9), (8, 4, 8), (4, 4))
    if abs(odd - 32) > 1e-6:
        return f"got {odd} for 9x5x9: each side is padded to two tubelets, 8 tokens of 4 bits. Do you round down?"
    return "right"


print(check_bits(bits_of))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def bits_of(size, tubelet, levels):
#     tokens = math.prod(math.ceil(n / m) for n, m in zip(size, tubelet))
#     return tokens * math.log2(math.prod(levels))
# ```
#
# </details>
#
# **2. Neighbours of a code** (medium, 10 minutes). Two codes are neighbours if one digit differs by one step. Write
# `neighbours(index, levels)`, a list of integers in any order. A middle code with five digits has ten.


# %%
def neighbours(index, levels):
    return None  # your turn


def check_neighbours(function):
    if function(0, (8, 6, 5)) is None:
        return "not yet: neighbours returns None"
    corner, middle = set(function(0, (8, 6, 5))), set(function(3 + 8 * 2 + 48 * 2, (8, 6, 5)))
    if any(n < 0 or n >= 240 for n in corner | middle):
        return f"code 0 has got {sorted(corner)}: some are no codes. A digit at its end has one neighbour, not two."
    if 7 in corner or len(corner) != 3:
        return f"code 0 has the digits (0, 0, 0) and so 3 neighbours, got {sorted(corner)}. Do digits wrap around?"
    wanted = {114, 116, 107, 123, 67, 163}
    if middle != wanted:
        return f"115 is (3, 2, 2): expected {sorted(wanted)}, got {sorted(middle)}. Is a step in digit 1 worth 8?"
    top = set(function(239, (8, 6, 5)))
    if top != {238, 231, 191}:
        return f"239 is (7, 5, 4), every digit at its upper end: expected [191, 231, 238], got {sorted(top)}"
    return "right"


print(check_neighbours(neighbours))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def neighbours(index, levels):
#     found, worth = [], 1
#     for count in levels:
#         digit = index // worth % count
#         found += [index - worth] * (digit > 0) + [index + worth] * (digit < count - 1)
#         worth *= count
#     return found
# ```
#
# </details>
#
# **3. How far back a frame sees** (medium, 10 minutes). In the shipped tokenizer two blocks look at their own and one
# earlier latent frame (`time_kernel=2`): the last of the encoder, and the first of the decoder. A latent frame is 8 frames. From how many
# frames of the original, those of its own latent frame included, can a decoded frame know anything? Set `answer`.

# %%
answer = None  # a number of frames


def check_reach(frames):
    if frames is None:
        return "not yet: answer is None"
    if frames == 8:
        return "8 is the latent frame itself: the two blocks add earlier ones"
    if frames in (2, 3):
        return f"{frames} counts latent frames: each of them is 8 frames"
    if frames == 16:
        return "16 is what a token sees: the decoder's block looks one token back, and that token has looked back too"
    if frames == 56:
        return "56 would be all six blocks: four of them see their own latent frame alone"
    return (
        "right"
        if frames == 24
        else f"{frames} is not it: own latent frame + one for each block that looks back, times 8"
    )


print(check_reach(answer))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# answer = 8 * (1 + 2 * (2 - 1))  # 24: the bars above show the encoder's half, where frame 19 moved two latent frames
# ```
#
# </details>
#
# **4. Stability by digits** (medium, 15 minutes). A token that changes one of three digits by one step is counted as
# changed outright. Write `same_digits(indices, quantizer)`: the share of *digits* of `indices (B, t, h, w)` equal to
# those one latent frame before. `quantizer.digits` gives `(B, t, h, w, digits)`.


# %%
def same_digits(indices, quantizer):
    return None  # your turn


def check_digits(function):
    quantizer = FSQ((8, 6, 5))
    one = torch.tensor([5, 4, 5, 5 + 8, 5 + 48]).view(1, 5, 1, 1)  # one digit, one, one, then two digits change
    got = function(one, quantizer)
    if got is None:
        return "not yet: same_digits returns None"
    got = float(got)
    if abs(got - 7 / 12) < 1e-6:
        return "right"
    if abs(got) < 1e-6:
        return "got 0: you compare whole tokens. Turn indices into digits first"
    if abs(got - 7 / 15) < 1e-6 or abs(got - 10 / 15) < 1e-6:
        return "the first latent frame has none before it: 4 comparisons of 3 digits, not 5"
    return f"got {got:.4f}, expected 7 of 12 digits ({7 / 12:.4f})"


print(check_digits(same_digits))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def same_digits(indices, quantizer):
#     digits = quantizer.digits(indices)
#     return (digits[:, 1:] == digits[:, :-1]).float().mean()
#
# same_digits(scene_tokens, FSQ(shipped.levels))  # and compare with (scene_tokens[:, 1:] == scene_tokens[:, :-1])
# ```
#
# </details>
#
# ## Summary
#
# - A tubelet is a block of spacetime. Cutting it out and multiplying by one matrix is a convolution whose stride is
#   its kernel; as rearrange and Linear it is plain.
# - Sampled frames spend the same tokens on fewer pixels. What lies between the frames is then a guess, and the table
#   of perfect frames says how much that costs before any network is trained.
# - FSQ rounds a few squashed numbers. The index is their digits; a level is a step on a scale. Its grid
#   does not bend, so the networks beside it have to; a hidden layer on either side helps a little.
# - A token can hold several patches: its digits are theirs. The networks stay as fine, the transformer reads less.
# - Busy patches may have more digits than walls, at the same bits. What they do not use stays in the middle.
# - An encoder guesses. A search through the decoder finds better codes, at a price in time and stability.
# - Time is causal: no token knows the future, so a film is coded in pieces, with the same numbers.
# - PSNR alone does not choose a tokenizer. Beside it stand the mean frame (strong), the nearest clip, and what the
#   codes are like: bits, usage, stability.
#
# **Next:** [06 Latent cache](06_latent_cache.ipynb) writes the whole film as such integers, once.
#
# ## References
#
# - Arnab, Dehghani, Heigold, Sun, Lučić, Schmid: *ViViT: A Video Vision Transformer*, 2021, arXiv:2103.15691, section
#   3.2.
# - Mentzer, Minnen, Agustsson, Tschannen: *Finite Scalar Quantization: VQ-VAE Made Simple*, 2023, arXiv:2309.15505.
# - Mentzer, Agustsson, Tschannen, Timofte, Van Gool: *Conditional Probability Models for Deep Image Compression*, 2018,
#   arXiv:1801.04260 (importance maps).
# - Campos, Meierhans, Djelouah, Schroers: *Content Adaptive Optimization for Neural Image Compression*, 2019,
#   arXiv:1906.01223.
# - Jordan and others: *Muon: an optimizer for hidden layers in neural networks*, 2024.
# - Yan, Zhang, Abbeel, Srinivas: *VideoGPT: Video Generation using VQ-VAE and Transformers*, 2021, arXiv:2104.10157.
# - Brooks and others: *Video generation models as world simulators* (Sora technical report, spacetime patches),
#   OpenAI, 2024.
# - Wang, Bovik, Sheikh, Simoncelli: *Image quality assessment: from error visibility to structural similarity*, 2004.
