# %% [markdown]
# # 04 Conv3D FSQ-VAE
#
# Notebook 03 made integers of clips with a codebook: 1,024 vectors that are learned, restarted when they die, and held
# to the encoder by a loss of their own. Here the codebook goes. The encoder writes four or five numbers, each is
# *rounded*, and the rounded numbers are the token. That is finite scalar quantization, FSQ. Everything else stays, so
# that we can ask at equal bits: what was the codebook good for? And, beside both: what would a real video codec do
# with so few bits?
#
# **After this notebook you will be able to**
# - derive FSQ on a line, a square and a cube, and say what `tanh`, the offset and the shift are there for;
# - turn digits into an index and back, and say which shortcuts break that;
# - compare two quantizers at equal bits and equal training time, in pictures, usage and numbers;
# - show that FSQ's codes have neighbours, and ask whether those of a codebook have them too;
# - set a tokenizer beside H.264, VP9 and AV1, and say honestly what such a comparison is worth.
#
# **You need** Python, a little PyTorch, and the codebook of notebooks 02 and 03. The notebook runs alone.
#
# **Minutes:** about 10 on a two-core laptop, most of them training; a few with a GPU.
#
# **Before:** [03 Conv3D VQ-VAE](03_video_vq_vae.ipynb). **Next:** [05 Tubelet FSQ-VAE](05_tubelet_fsq_vae.ipynb).

# %%
# NBVAL_IGNORE_OUTPUT
import math
import time
from collections import deque

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from IPython.display import display
from torch import nn

from vg import checkpoints, evaluation, show
from vg.data import Clips, film, open_store, split_shots
from vg.evaluation.codecs import CODECS, available, code, code_clips
from vg.experiments.batches import tokenizer_batches
from vg.experiments.losses import tokenizer_loss
from vg.hashing import weight_hash
from vg.models import FSQ, FSQ_LEVELS, QuantizerConfig, VideoAutoencoder, VideoConfig
from vg.models.quantizers import VQ
from vg.profiles import device, profile
from vg.show import interactive
from vg.training import Recipe, fit

show.style()
source = film()
print(f"profile {profile().name}, device {device()}")
print(source.describe())

# %% [markdown]
# The film as notebook 00 left it: uint8 frames on disk, restored, cut into shots. Validation shots are never trained
# on. `truth` holds validation clips of 16 frames, `(B, C, T, H, W)` in [-1, 1], and every number below is measured on
# them. Everything here is 64x64 and 12 frames a second, in every profile: the shipped tokenizers and the codecs have
# to be given the same pictures.


# %%
# NBVAL_IGNORE_OUTPUT
def table(rows, columns, first=26):
    print(" " * first + "".join(f"{name:>13}" for name in columns))
    for name, values in rows.items():
        print(f"{name:{first}}" + "".join(f"{value:13.4g}" for value in values))


amount = profile().pick(smoke=240, laptop=None, gpu=None)  # frames; None: all of them
held_out = profile().pick(smoke=0.35, laptop=0.1, gpu=0.1)  # share of the frames
store = open_store(source, frames=amount)
train_shots, val_shots = split_shots(store.shots, held_out)
clips16 = Clips(store, val_shots, frames=16, stride=8)
truth = clips16.take(range(len(clips16)))
motion = (truth[:, :, 1:] - truth[:, :, :-1]).abs().flatten(1).mean(1)  # (B,) how much each clip moves
fastest = int(motion.argmax())
few = truth[:: max(1, len(truth) // 8)]  # eight or so, to look at while training
print(store)
print(f"{len(train_shots)} training shots, {len(val_shots)} validation shots, {len(truth)} validation clips")

# %% [markdown]
# ## A line
#
# Begin with one number `z` that the encoder gives. It can be anything. A token has to be one of a few integers.
#
# Rounding makes integers, but not few: 17.3 becomes 17. So first the number is squashed, by `tanh`, to the range from
# -1 to 1, then stretched by 2, then rounded. What can come out is -2, -1, 0, 1 and 2: five *levels*. Two more numbers
# are made of the result. The *digit* counts the levels from 0, and is what the token will be made of. The *code*
# divides by 2, and is what the decoder gets. Every decoder then sees numbers between -1 and 1, whatever the levels.

# %%
z = torch.tensor([-3.0, -0.6, -0.1, 0.4, 1.1, 17.3])
squashed = z.tanh()
whole = (2 * squashed).round()
print("     z    tanh  2 tanh  rounded  digit   code")
for a, b, w in zip(z.tolist(), squashed.tolist(), whole.tolist()):
    print(f"{a:6.1f} {b:7.2f} {2 * b:7.2f} {w:8.0f} {w + 2:6.0f} {w / 2:6.1f}")

# %% [markdown]
# Why `tanh`, and not simply cutting off at -2 and 2? Because of the gradient. Rounding has none, so it is given that
# of the identity (*straight-through*, as in notebook 02): what is learned from is the curve before it was rounded. A
# cut-off curve is flat beyond its ends. An encoder whose number lies out there is never told to come back. `tanh` is
# steep in the middle and never quite flat.

# %%
ends = torch.tensor([-4.0, -1.5, 0.0, 1.5, 4.0])


def slope(function, z):
    z = z.clone().requires_grad_()
    function(z).sum().backward()
    return z.grad


clipped = slope(lambda z: z.clamp(-1, 1), ends)
bent = slope(torch.tanh, ends)
for name, values in {"z": ends, "slope of clamp": clipped, "slope of tanh": bent}.items():
    print(f"{name:16}" + "".join(f"{value:9.4f}" for value in values.tolist()))
print("tanh has a slope everywhere:", bool((bent > 0).all()), "- clamp has:", bool((clipped > 0).all()))

# %% [markdown]
# ## Even numbers of levels, and why the offset
#
# Five levels have a middle, 0. What about four? Stretch by 3/2, the half of one less than four, as 2 was the half of
# one less than five. The figure shows what comes of it, in three steps; the grey line is the curve that is rounded.
#
# 1. *No offset.* The curve runs from -1.5 to 1.5. It never reaches the point where it would round to 2, so there are
#    three levels, not four.
# 2. *Offset.* Take a half off: now it runs from -2 to 1, and rounds to -2, -1, 0 and 1. Four levels. But `z = 0`
#    becomes -0.5, a border between two levels. A network begins near 0, and there a hair decides between two codes.
# 3. *Offset and shift.* Add to `z` beforehand as much as makes 0 come out at 0 again: `atanh(0.5 / 1.5)`.
#
# An odd number of levels needs neither: both are 0.


# %%
def bound(z, count, offset=True, shift=True):
    """The curve that is rounded: to between -(count // 2) and (count - 1) // 2."""
    half = (count - 1) / 2
    move = 0.5 if offset and count % 2 == 0 else 0.0
    return torch.tanh(z + (math.atanh(move / half) if shift else 0.0)) * half - move


x = torch.linspace(-4, 4, 1601)
variants = {
    "5 levels": dict(count=5),
    "4, no offset": dict(count=4, offset=False),
    "4, offset": dict(count=4, shift=False),
    "4, offset and shift": dict(count=4),
}
for name, options in variants.items():
    y = bound(x, **options)
    middle = float(bound(torch.zeros(1), **options))
    print(f"{name:20} levels {y.round().unique().int().tolist()!s:18} 0 becomes {middle:.1f}")
figure, axes = plt.subplots(1, 4, figsize=(9.4, 2.7), sharey=True)
for ax, (name, options) in zip(axes, variants.items()):
    y = bound(x, **options)
    ax.plot(x, y, color="#8a8a8a", linewidth=1.2)
    ax.plot(x, y.round())
    ax.plot(0, bound(torch.zeros(1), **options), "o", color="#d1782c", markersize=5)
    ax.set(title=name, xlabel="z", yticks=range(-2, 3), ylim=(-2.3, 2.3))
axes[0].set_ylabel("rounded")
plt.show()

# %% [markdown]
# The orange dot is `z = 0`. In the last picture it sits in the middle of a step, as in the first.
#
# Two more details. The paper's own listing stretches by `(levels - 1) * 0.999 / 2` and shifts by `tan(offset / half)`, which
# brings 0 out only nearly at 0. `vg`, like many versions in PyTorch, takes 1.001 and `atanh`, which is exact. The 1.001 is
# there for two levels: without it the shift would be `atanh(1)`, infinite. With it the shift is 3.8, which is hardly better:
# one of the two levels is then so far out that a network does not find it. That is why `vg` refuses fewer than three. And the
# codes of an even number of levels are lopsided: with four, they are -1, -0.5, 0 and 0.5. The decoder does not mind;
# exercise 2 makes them symmetric.

# %%
for count in (2, 3, 4, 8):
    half, move = (count - 1) * 1.001 / 2, 0.5 * (count % 2 == 0)
    shift = math.atanh(move / half)
    border = math.atanh((0.5 - count // 2 + move) / half) - shift  # below it, the lowest level
    print(f"{count} levels: shift {shift:5.2f}, the lowest level begins below z = {border:5.2f}")
try:
    FSQ((8, 2))
except ValueError as error:
    print(error)

# %% [markdown]
# How often would each level be used? That depends on how widely the encoder spreads its numbers, and nothing in FSQ
# says how widely it should. The figure takes `z` from a normal distribution and asks three widths. Too narrow, and the
# outer levels are empty; too wide, and the ends take too much. Near 0.8, the middle picture, use is nearly even. An
# encoder is free to find it, since a level that is never used cannot help to draw. Exercise 3 builds it in. The number
# above each is the perplexity: that many levels, used evenly, would be as good.


# %%
def shares(count, width):
    """Share of a normal distribution of deviation ``width`` that falls on each level, exactly."""
    half, move = (count - 1) * 1.001 / 2, 0.5 * (count % 2 == 0)
    steps = range(-(count // 2), (count - 1) // 2)
    borders = [math.atanh((k + 0.5 + move) / half) - math.atanh(move / half) for k in steps]
    below = [0.0, *(0.5 + 0.5 * math.erf(b / width / math.sqrt(2)) for b in borders), 1.0]
    return torch.tensor(below).diff()


figure, axes = plt.subplots(2, 3, figsize=(8, 3.4), sharey="row")
for row, count in zip(axes, (8, 5)):
    for ax, width in zip(row, (0.3, 0.8, 2.0)):
        share = shares(count, width)
        even = 2 ** float(-(share[share > 0] * share[share > 0].log2()).sum())
        ax.bar(range(count), share, width=0.8)
        ax.axhline(1 / count, color="#555555", linestyle=":", linewidth=1)
        ax.set(title=f"{count} levels, width {width}: {even:.1f}", xticks=range(count))
        print(f"{count} levels, width {width}: shares add up to {float(share.sum()):.3f}, perplexity {even:.2f}")
axes[0, 0].set_ylabel("share")
axes[1, 0].set_ylabel("share")
plt.show()

# %% [markdown]
# Try it: how many levels, how widely `z` spreads, and one `z` that is rounded (orange). The browser computes it, no kernel
# is needed. At which width is the perplexity of five levels largest, and of sixteen?

# %%
# NBVAL_IGNORE_OUTPUT
interactive.rounding(levels=5, width=0.8, z=0.4, title="levels and width of z: what rounding does")

# %% [markdown]
# ## A square, a cube
#
# One number with eight levels is 3 bits, too few for a token. So the encoder gives several numbers, and each is
# rounded by itself. Two of them, with 8 and 6 levels, make a grid on a square: 48 codes. A third with 5 levels makes a
# grid in a cube: 240 codes, which is the published set for about 2^8. Four and five numbers go on in the same way,
# but cannot be drawn. The codes are a grid from the first step to the last. Nobody learns where they are.
#
# The numbers in the picture are the indices. The first digit runs fastest. One step along it changes the index by 1,
# one step along the second by 8, one along the third by 48. The orange code in the cube is 115, the white ones are its
# six neighbours: one digit changed by one step.

# %%
# NBVAL_IGNORE_OUTPUT
quantizer = FSQ((8, 6, 5))
digits = quantizer.digits(torch.arange(240))
figure = plt.figure(figsize=(9.6, 3.6), layout="none")
line, square = figure.add_axes([0.02, 0.44, 0.24, 0.14]), figure.add_axes([0.31, 0.19, 0.31, 0.64])
line.scatter(range(8), [0] * 8, s=260, c=range(8), cmap="viridis", vmax=9)
square.scatter(*digits[:48, :2].T, s=260, c=range(48), cmap="viridis", vmax=54)
for k in range(48):
    square.text(*digits[k, :2].tolist(), k, ha="center", va="center", color="white", fontsize=8)
    if k < 8:
        line.text(k, 0, k, ha="center", va="center", color="white", fontsize=8)
line.set(title="a line: 8", xlabel="digit 0", xlim=(-0.7, 7.7), yticks=[])
square.set(title="a square: 8 x 6 = 48", xlabel="digit 0", ylabel="digit 1", xlim=(-0.6, 7.6), ylim=(-0.6, 5.6))
cube = figure.add_axes([0.63, 0.0, 0.37, 1.0], projection="3d")
near = (digits - digits[115]).abs().sum(1)
for where, size, colour in ((near > 1, 16, None), (near == 1, 60, "white"), (near == 0, 70, "#d1782c")):
    edge = "none" if colour is None else "#333333"
    shade = dict(c=torch.arange(240)[where], cmap="viridis", alpha=0.35) if colour is None else dict(c=colour, alpha=1)
    cube.scatter(*digits[where].T, s=size, edgecolors=edge, depthshade=False, **shade)
for k in near.eq(1).nonzero()[:, 0]:
    cube.plot(*torch.stack([digits[115], digits[k]]).T.tolist(), color="#333333", linewidth=1)
cube.set(xlabel="digit 0", ylabel="digit 1", zlabel="digit 2", zticks=range(5), box_aspect=(8, 6, 5))
cube.text2D(0.3, 0.86, "a cube: 8 x 6 x 5 = 240", transform=cube.transAxes, fontsize=10)
cube.view_init(18, -62)
for ax in (line, square):
    ax.grid(False)
plt.show()

# %% [markdown]
# An index is a number whose digits have different bases, like a time of day: seconds run to 60, minutes to 60, hours
# to 24. `index = d0 + 8 * d1 + 48 * d2`. By hand, number by number; then vectorised, for any shape; then `vg`'s.
#
# There is no table of codes anywhere: it is arithmetic.


# %%
def quantize_one(vector, levels):
    """FSQ of one vector, a list of numbers: codes and index."""
    codes, index, worth = [], 0, 1
    for z, count in zip(vector, levels):
        half, move = (count - 1) * 1.001 / 2, 0.5 * (count % 2 == 0)
        whole = round(math.tanh(z + math.atanh(move / half)) * half - move)
        codes.append(whole / (count // 2))
        index += (whole + count // 2) * worth
        worth *= count
    return codes, index


def quantize(z, levels):
    """FSQ of ``(..., digits)``: codes of that shape, with straight-through gradients, and indices ``(...)``."""
    count = torch.tensor(levels)
    half, move = (count - 1) * 1.001 / 2, torch.where(count % 2 == 0, 0.5, 0.0)
    smooth = torch.tanh(z + torch.atanh(move / half)) * half - move
    rounded = smooth + (smooth.round() - smooth).detach()
    worth = torch.cumprod(torch.tensor([1, *levels[:-1]]), 0)
    digits = (rounded.detach().round() + count // 2).long()
    return rounded / (count // 2), (digits * worth).sum(-1)


levels = FSQ_LEVELS[14]
z = 1.5 * torch.randn(500, len(levels), generator=torch.Generator().manual_seed(0))
slow = [quantize_one(vector, levels) for vector in z.tolist()]
codes, indices = quantize(z, levels)
theirs, their_indices = FSQ(levels)(z)
print("vectorised agrees with one by one:", torch.allclose(codes, torch.tensor([c for c, _ in slow]), atol=1e-6))
print("indices too:                      ", indices.tolist() == [k for _, k in slow])
print("vg agrees:                        ", torch.allclose(codes, theirs, atol=1e-6))
print("indices too:                      ", torch.equal(indices, their_indices))

# %% [markdown]
# The published sets, each gone through from the first code to the last: index to digits and back.
#
# Then two shortcuts that look harmless and are not. Between a code and its digit lie a product and a sum, and more
# where a network scales and shifts its codes. The result is a whole number, but only nearly: 2.9999998. It has to be
# *rounded*; making an integer of it cuts off, and gives 2. And 16-bit floats, which networks like to use, do not hold
# the integers up to 65,536. The cell counts wrong indices over all codes of the largest set, after a code was scaled,
# shifted, and brought back.
#
# The last line is about the gradient. Straight-through means: as if nothing had been rounded. So the derivative of a
# code should be that of the smooth curve, here a finite difference of it.

# %%
for bits, levels in FSQ_LEVELS.items():
    quantizer = FSQ(levels)
    every = torch.arange(quantizer.size)
    back = torch.equal(quantizer.indices(quantizer.digits(every)), every)
    print(
        f"2^{bits:<2} {levels!s:19} {quantizer.size:6,} codes, {quantizer.bits_per_code:6.3f} bits, there and back: {back}"
    )

digits = ((quantizer.codes(every) * 0.1 + 0.3) - 0.3) / 0.1 * quantizer.width + quantizer.width
tries = {
    "rounded": quantizer.indices(digits.round().long()),
    "cut off": quantizer.indices(digits.long()),
    "half precision": (digits.round().half() * quantizer.basis.half()).sum(-1).long(),
    "bfloat16": (digits.round().bfloat16() * quantizer.basis.bfloat16()).sum(-1).long(),
}
for name, indices in tries.items():
    wrong = float((indices != every).float().mean())
    print(f"{name:16} wrong: {'none' if wrong == 0 else 'more than half' if wrong > 0.5 else 'some'}")


def smooth(z, count):
    half, move = (count - 1) * 1.001 / 2, torch.where(count % 2 == 0, 0.5, 0.0)
    return (torch.tanh(z + torch.atanh(move / half)) * half - move) / (count // 2)


z = torch.randn(200, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
given, count = slope(lambda z: FSQ(FSQ_LEVELS[10])(z)[0], z), torch.tensor(FSQ_LEVELS[10])
difference = (smooth(z + 1e-5, count) - smooth(z - 1e-5, count)) / 2e-5
print("the gradient of the code is that of the curve:", torch.allclose(given.double(), difference, atol=1e-4))

# %% [markdown]
# ## If the grid is fixed, who learns?
#
# A codebook moves its codes to where the vectors are. A grid does not move. So the vectors have to come to it: the
# encoder learns to lay the data out over the grid, and the decoder to take it back. The claim of FSQ is that networks
# can do that, and that the codebook was doing work that the encoder can do.
#
# In two dimensions one can watch. The data are points on a spiral. A small network makes two numbers of a point, they
# are quantized to one of 25 codes, a second network draws the point again. The picture is *data space*. Each colour is
# the region of points that get the same code; a white dot is where the decoder puts it. First the grid alone, without
# networks: the points themselves are rounded. Second, FSQ between two trained networks. Third, VQ with k-means at the
# start and restarts; fourth, VQ as it was first published, without either.


# %%
class Toy(nn.Module):
    """Points (n, 2) -> two numbers -> quantizer -> points."""

    def __init__(self, quantizer, d=64):
        super().__init__()
        self.quantizer = quantizer
        self.encoder, self.decoder = (
            nn.Sequential(nn.Linear(2, d), nn.SiLU(), nn.Linear(d, d), nn.SiLU(), nn.Linear(d, 2)) for _ in range(2)
        )

    def forward(self, points):
        z = self.encoder(points)
        codes, indices = self.quantizer(z)
        return self.decoder(codes), indices, self.quantizer.loss(z, codes, indices)


def train_toy(quantizer, steps):
    torch.manual_seed(0)
    model = Toy(quantizer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        batch = spiral[torch.randint(len(spiral), (256,))]
        back, _, extra = model(batch)
        optimizer.zero_grad()
        ((back - batch).square().mean() + extra).backward()
        optimizer.step()
    return model.eval()


generator = torch.Generator().manual_seed(0)
turn = 9 * torch.rand(3000, generator=generator).sqrt()
spiral = torch.stack([turn.cos(), turn.sin()], dim=1) * turn[:, None] / 9
spiral = spiral + 0.04 * torch.randn(spiral.shape, generator=generator)
print("points:", tuple(spiral.shape), "codes:", FSQ((5, 5)).size, "and", VQ(25, 2).size)

# %%
# NBVAL_IGNORE_OUTPUT
steps = profile().pick(smoke=60, laptop=800, gpu=800)
toys = {
    "the grid alone": train_toy(FSQ((5, 5)), 0),
    "FSQ": train_toy(FSQ((5, 5)), steps),
    "VQ": train_toy(VQ(25, 2), steps),
    "VQ, no k-means, no restarts": train_toy(VQ(25, 2, data_init=False, restart=False), steps),
}
toys["the grid alone"].encoder, toys["the grid alone"].decoder = nn.Identity(), nn.Identity()
side = torch.linspace(-1.2, 1.2, 240)
plane = torch.stack(torch.meshgrid(side, side, indexing="xy"), dim=-1)  # (240, 240, 2)
shuffled = torch.randperm(25, generator=torch.Generator().manual_seed(4))  # neighbours in different colours
figure, axes = plt.subplots(1, 4, figsize=(10, 2.75))
for ax, (name, model) in zip(axes, toys.items()):
    with torch.no_grad():
        back, indices, _ = model(spiral)
        regions = shuffled[model(plane.view(-1, 2))[1]].view(240, 240)
    error = float((back - spiral).square().sum(1).mean().sqrt())
    ax.imshow(regions, cmap="Spectral", extent=(-1.2, 1.2, -1.2, 1.2), origin="lower", alpha=0.75)
    ax.scatter(*spiral[::4].T, s=0.6, color="#222222")
    used = indices.unique()
    with torch.no_grad():
        ax.scatter(
            *model.decoder(model.quantizer.codes(used)).T, s=14, color="white", edgecolors="black", linewidths=0.6
        )
    ax.set(xticks=[], yticks=[], xlim=(-1.2, 1.2), ylim=(-1.2, 1.2))
    ax.set_title(f"{name}\n{len(used)} of 25, error {error:.3f}", fontsize=9)
plt.show()

# %% [markdown]
# Compare the first two pictures: the grid is the same, but the encoder in front of it has bent the regions. Do they
# lie where the points are? Compare the last two: which of them leaves codes unused, and what does that cost? And
# compare FSQ with the better VQ. In two dimensions, with 25 codes, a codebook that is looked after has every chance.
# The claim is about many codes.
#
# ## One autoencoder, two quantizers
#
# `vg.models.VideoAutoencoder` of notebook 03, with either in the middle. Strides of 4x8x8 make 256 tokens of 16
# frames. A VQ of 1,024 codes has exactly 10 bits a token; FSQ with levels (8, 5, 5, 5) has 1,000 codes, a little less.
# The blocks, the strides and the batches are the same. Two things differ. A VQ's code has 16 learned numbers, FSQ's has
# four fixed ones. And with FSQ there is a small hidden layer on either side of the rounding: to lay the data out over a
# grid that does not move, as in the second picture above, the networks have to bend, and a single Linear layer cannot.
# The quantizer's part of the loss is 0 for FSQ, so that one line of code trains both (`vg.experiments.losses.tokenizer_loss`: the
# root of the mean squared error of each clip, and what the quantizer asks for).

# %%
pair = {
    "VQ": VideoConfig(quantizer=QuantizerConfig("vq", 1024)),
    "FSQ": VideoConfig(quantizer=QuantizerConfig("fsq", levels=FSQ_LEVELS[10])),
}
torch.manual_seed(0)
clip = torch.rand(2, 1, 16, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
for name, config in pair.items():
    model = VideoAutoencoder(config)
    weights = sum(p.numel() for p in model.encoder.parameters()) + sum(p.numel() for p in model.decoder.parameters())
    model.eval()  # a codebook in training would begin with k-means of these two clips
    back, quantized = model(clip)
    indices, extra = quantized.indices, quantized.loss
    print(f"{name:4} {model.quantizer}")
    print(f"     encoder and decoder {weights:,} weights; {tuple(clip.shape)} -> {tuple(indices.shape)}")
    sides = sum(p.numel() for part in (model.to_code, model.from_code) for p in part.parameters())
    print(f"     to the code and from it {sides:,} weights; bits of 16 frames: {model.raw_bits((16, 64, 64)):.1f}")
    kept = sum(value.numel() for value in model.quantizer.state_dict().values())
    print(f"     numbers of the quantizer in a checkpoint: {kept:,}; its loss is 0: {bool(extra == 0)}")

# %% [markdown]
# Now train one of each, small: same steps, same batches in the same order, same recipe. Two live plots. Above, the
# PSNR on a few validation clips, with the mean frame of each clip as the baseline. Below, the codes while they train:
# the share that occurs in the last 20 batches (*usage*), and the perplexity as a share of all codes. The first network
# trained is the VQ; its curves stay, and those of FSQ are drawn over them.
#
# Watch the lower plot at its left end. A codebook starts on k-means of the first batch, and then the encoder moves
# away from under it. What happens to a grid?


# %%
# NBVAL_IGNORE_OUTPUT
width = profile().pick(smoke=16, laptop=96, gpu=192)
batch = profile().pick(smoke=2, laptop=4, gpu=8)
draw = tokenizer_batches(Clips(store, train_shots, frames=16), batch)


def recipe(steps):
    return Recipe(steps, lr=2e-3, muon=2e-2, warmup=min(20, steps), grad_clip=5.0, ema=0.0)


def build(kind, codes):
    """A small autoencoder: kind "VQ" with a number of codes, or "FSQ" with levels."""
    torch.manual_seed(0)
    chosen = QuantizerConfig("vq", codes) if kind == "VQ" else QuantizerConfig("fsq", levels=codes)
    return VideoAutoencoder(VideoConfig(width=width, quantizer=chosen)).to(device())


@torch.no_grad()
def rebuild(model, video, batch=8):
    """Encode and decode clips (B, C, T, H, W) on the model's device; the result is on the CPU."""
    where = next(model.parameters()).device
    return torch.cat([model(part.to(where))[0].clamp(-1, 1).cpu() for part in video.split(batch)])


@torch.no_grad()
def tokens_of(model, shots):
    """The tokens of shots, in one row (n,) on the CPU."""
    where, span, found = next(model.parameters()).device, model.tubelet[0], []
    for start, stop in shots:
        video = store.clip(start, start + (stop - start) // span * span)
        past = {}
        found += [model.encode(piece.to(where), past).flatten().cpu() for piece in video.split(16 * span, dim=2)]
    return torch.cat(found)


# %%
# NBVAL_IGNORE_OUTPUT
class Side:
    """Two live plots that keep the curves of the runs before the present one."""

    def __init__(self, baseline):
        self.quality = show.LivePlot("validation", y="PSNR in dB", baselines={"mean frame": baseline})
        self.codes = show.LivePlot("the last 20 batches", y="share of all codes", baselines={"all": 1})
        self.done, self.name = {}, ""

    def update(self, history):
        self.done[self.name] = history
        runs = self.done.items()
        self.quality.update({name: run.get("PSNR", []) for name, run in runs})
        both = [(name, kind, run.get(kind, [])) for name, run in runs for kind in ("usage", "perplexity")]
        self.codes.update({f"{name} {kind}": values for name, kind, values in both})

    def close(self):
        self.quality.close()
        self.codes.close()


def watched(model):
    """A function that measures the model, and the codes that it used in its last 20 batches of training."""
    recent, size = deque(maxlen=20), model.quantizer.size

    def remember(module, given, out):
        if module.training:
            recent.append(out[1].detach().cpu())

    model.quantizer.register_forward_hook(remember)

    def evaluate(averaged):
        last = torch.cat(list(recent))
        found = {"PSNR": float(evaluation.psnr(rebuild(averaged, few), few).mean())}
        return found | {"usage": evaluation.usage(last, size), "perplexity": evaluation.perplexity(last, size) / size}

    return evaluate


# %%
# NBVAL_IGNORE_OUTPUT
steps = profile().pick(smoke=6, laptop=240, gpu=2000)
live, small = Side(float(evaluation.psnr(evaluation.mean_frame(few), few).mean())), {}
for name, codes in {"VQ": 1024, "FSQ": FSQ_LEVELS[10]}.items():
    live.name, model = name, build(name, codes)
    small[name] = fit(
        model, tokenizer_loss, draw, recipe(steps), evaluate=watched(model), every=max(2, steps // 20), plot=live
    )
for name, run in small.items():
    last = {key: values[-1][1] for key, values in run.history.items()}
    print(f"{name:4} {last['PSNR']:.2f} dB, usage {last['usage']:.2f}, perplexity {last['perplexity']:.2f}", end=", ")
    print(f"{run.seconds / steps:.3f} s a step")

# %% [markdown]
# Usage says how many codes live, perplexity how evenly they share the work. Which of the two quantizers is ahead in
# the lower plot, and is it the same one that is ahead in the upper? In the run stored here VQ leaves most of its codes
# unused until the very end: its first restarts come after some 230 steps, and then nearly all live. A codebook that
# restarts its dead codes has answered much of what FSQ was invented for, but it needed three pieces of machinery to do so.
#
# ## More codes
#
# In the paper (Mentzer et al., 2023, figure 3) images of ImageNet are given codebooks of 2^8 up to 2^16 codes. FSQ
# goes on getting better with more codes. VQ gets better up to about 2^11, then *worse*, while its usage falls: most of
# a large codebook is dead. Does it happen here, where dead codes are restarted (though not within so few steps, see below)?
#
# Four sizes, both quantizers. All runs get the same blocks, the same batches and the same *seconds*: ten steps of
# each are timed first, and then it gets as many steps as fit. A step with many codes that is slower has to pay for
# that.
#
# Usage and perplexity are over the whole film. It has a certain number of tokens, and no more codes can occur than
# there are tokens: the cell prints how many.


# %%
# NBVAL_IGNORE_OUTPUT
def a_step(kind, codes):
    """Seconds of one training step; the first ones set things up and are not counted."""
    short, long = (fit(build(kind, codes), tokenizer_loss, draw, recipe(n), progress=False).seconds for n in (2, 10))
    return max(1e-4, (long - short) / 8)


def entry(model, run, steps):
    size, tokens = model.quantizer.size, tokens_of(model, store.shots)
    made = rebuild(model, truth)
    quality = [float(evaluation.psnr(made, truth).mean()), float(evaluation.ssim(made, truth).mean())]
    perplexity = evaluation.perplexity(tokens, size)
    codes = [100 * evaluation.usage(tokens, size), perplexity, math.log2(perplexity)]
    return [math.log2(size), *quality, *codes, run.seconds / steps, steps, run.seconds]


seconds = profile().pick(smoke=0, laptop=30, gpu=60)
sweep = {"VQ": [], "FSQ": []}
for bits in (8, 10, 12, 14):
    for kind, codes in (("VQ", 2**bits), ("FSQ", FSQ_LEVELS[bits])):
        steps = round(seconds / a_step(kind, codes)) if seconds else 3
        print(f"{kind}, {bits} bits: {steps} steps")
        run = fit(build(kind, codes), tokenizer_loss, draw, recipe(steps))
        sweep[kind].append(entry(run.model, run, steps))

# %%
# NBVAL_IGNORE_OUTPUT
columns = ["bits", "PSNR dB", "SSIM", "usage %", "perplexity", "entropy", "s a step", "steps", "seconds"]
names = {f"{kind} 2^{2 * k + 8}": row for k in range(4) for kind in sweep for row in [sweep[kind][k]]}
table(names, columns, first=10)
print(f"\ntokens of the whole film: {len(tokens_of(small['VQ'].model, store.shots)):,}")
figure, axes = plt.subplots(1, 4, figsize=(10.2, 2.7))
for column, ax in zip((1, 2, 3, 5), axes):
    for kind, marker in (("VQ", "s"), ("FSQ", "o")):
        rows = np.array(sweep[kind])
        ax.plot(rows[:, 0], rows[:, column], marker=marker, label=kind)
    ax.set(xlabel="bits a token", xticks=(8, 10, 12, 14))
titles = ("PSNR (dB)", "SSIM", "codes used in the film (%)", "entropy of a token (bits)")
for ax, title in zip(axes, titles):
    ax.set_title(title)
axes[2].set_ylim(0, 105)
axes[3].plot((8, 14), (8, 14), color="#8a8a8a", linestyle=":")
axes[0].legend()
plt.show()

# %% [markdown]
# Read the figure as the paper's. Does the line of VQ bend down in the first picture, and its usage with it? Does that
# of FSQ go on rising? The dotted line on the right is all codes used equally; what lies below it is paid for in bits
# and not used.
#
# FSQ rises up to 2^12 and not beyond (22.90 dB, then 22.80, which is within noise).
#
# On the film, about half a minute each on one core: FSQ is ahead at 2^8 (22.47 dB against 22.29), 2^10 (22.63, 22.55) and
# 2^12 (22.90, 22.48), VQ at 2^14 (23.03, 22.80). The machine had other work too, and where minutes are the measure it is
# part of the result: look at the steps. Of three earlier runs of this cell FSQ was ahead at 2^10 in two, by 0.11 and
# 0.39 dB, and behind in one, by 0.07. What does not move from run to run: VQ does not bend down, it stands still from 2^10
# to 2^12, and its usage says why: 49%, 14% and 4% of the codes,
# where FSQ uses 91%, 66% and 35%. A code that is lost after the start is moved only
# when its running count has fallen to a tenth of the average, some 230 steps at the decay of 0.99, and these runs have fewer.
# So at 2^10 and 2^12 this is VQ with a start from data but, in effect, without restarts. Only codes that were empty from the
# start are refilled at once, many of them at 2^14. Whether that is why it leaps there this run does not say.
#
# Two cautions. Half a minute is a glance: so early the decoder, more than the number of codes, may be what limits the
# picture. And one seed each: a difference of a tenth of a dB is noise.
#
# ## Three tokenizers that had more time
#
# The course ships one of each: `video-vqvae-64` and `video-fsqvae-64`, with the same networks but for FSQ's hidden layers,
# and the same batches, steps, precision and seed, on one core each. Beside them stands `tubelet-fsq-64` of notebook 05,
# which the transformer will use: FSQ as well, but with tubelets of another shape, and no convolutions on the way down to
# the grid. The cell prints what a token is to each.
#
# Below, validation clips, spread over the film, as they are and as the three draw them. Then the clip that moves most,
# with errors: black is none, bright is a quarter of the range from black to white. Look at the thin lines first, then
# at the flat areas, then at what moves.

# %%
# NBVAL_IGNORE_OUTPUT
shipped = {
    "video-vqvae-64": checkpoints.load("video-vqvae-64", device=device()),
    "video-fsqvae-64": checkpoints.load("video-fsqvae-64", device=device()),
    "tubelet-fsq-64": checkpoints.load("tubelet-fsq-64", device=device()),
}
rebuilt = {name: rebuild(model, truth) for name, model in shipped.items()}
for name, model in shipped.items():
    facts, millions = checkpoints.card(name).facts, sum(p.numel() for p in model.parameters()) / 1e6
    print(f"{name:16} tokens of {model.tubelet}, {model.quantizer.size:,} codes, {millions:.1f} M parameters", end="; ")
    print(f"trained for {facts['seconds'] / 60:.0f} minutes")

two = sorted({round(k * (len(truth) - 1) / 3) for k in (1, 2)})
tiles = {}
for k in two:
    tiles |= {f"original {k}": truth[k]} | {f"{name[:-3]} {k}": made[k] for name, made in rebuilt.items()}
display(show.player(tiles, fps=store.fps, columns=4, scale=2))
rows = {"original": truth[fastest]} | {name: made[fastest] for name, made in rebuilt.items()}
show.compare(rows, every=2, scale=1, against="original")

# %% [markdown]
# And one table. The first two rows are baselines that send no tokens: the *mean frame* knows each clip's average
# picture exactly, and no motion; the *nearest training clip* is what one gets by remembering. *Moving* and *still* are
# the PSNR over pixels that are more than 10 grey levels away from their clip's mean, and over the rest.


# %%
# NBVAL_IGNORE_OUTPUT
def quality(video, bits):
    moving = (truth - evaluation.mean_frame(truth)).abs() * 127.5 > 10
    error = (video - truth).square()
    parts = [float(10 * torch.log10(4 / error[where].mean())) for where in (moving, ~moving)]
    whole = [float(evaluation.psnr(video, truth).mean()), float(evaluation.ssim(video, truth).mean())]
    return [bits, bits / truth[0].numel(), *whole, *parts]


bank = Clips(store, train_shots, frames=16, stride=4)
rows = {
    "mean frame": quality(evaluation.mean_frame(truth), math.nan),
    "nearest training clip": quality(evaluation.nearest_clip(truth, bank), math.nan),
}
size = tuple(truth.shape[2:])
for name, model in shipped.items():
    tokens = math.prod(n // m for n, m in zip(size, model.tubelet))
    rows[name] = quality(rebuilt[name], tokens * model.quantizer.bits_per_code)
table(rows, ["bits a clip", "bits a pixel", "PSNR dB", "SSIM", "moving dB", "still dB"])

# %% [markdown]
# With the time that the shipped ones had, 2,800 steps each, the codebook is ahead of FSQ by 0.16 dB (24.55 and 24.38 in the
# table, which rounds; SSIM 0.711 and 0.707), and both use practically all of their codes. After half as many steps it was
# ahead by 0.06 dB; in shorter runs either may be ahead (`benchmarks/LOG.md`), which is within noise. One reading: a grid is
# there from the first step, and a codebook has to be grown; once it has grown, 16 numbers that go where the data is are
# worth more than four that stay where they are.
#
# Neither reaches the mean frame's 25.91 dB. The tubelets do, with 1.6 times the bits: 26.42 dB. Where it moves they are 3 dB
# better than the mean frame, where it stands still 8 dB worse.
#
# The codes over the whole film. *Entropy* is how many of its bits a token carries if its frequencies are known.
# *Stability* is the share of tokens that repeat the one before, where the picture stands still, in the validation shots (the
# cards have it for the whole film). It can be compared between the first two; tubelets of another shape and length have
# other chances. Below, how often each code is used,
# the most frequent first; and for FSQ how often each digit takes each of its levels. A dotted line is even use.


# %%
# NBVAL_IGNORE_OUTPUT
def stability(model):
    """Over the validation shots, weighted by length."""
    total, frames, span = 0.0, 0, model.tubelet[0]
    for start, stop in val_shots:
        whole = (stop - start) // span * span
        if whole < 2 * span:
            continue
        video = store.clip(start, start + whole)
        same = evaluation.stability(video, model.encode(video.to(device())).cpu(), model.tubelet)
        if not math.isnan(same):
            total, frames = total + same * whole, frames + whole
    return total / frames if frames else math.nan


film_tokens = {name: tokens_of(model, store.shots) for name, model in shipped.items()}
rows = {}
for name, tokens in film_tokens.items():
    size = shipped[name].quantizer.size
    perplexity = evaluation.perplexity(tokens, size)
    numbers = [100 * evaluation.usage(tokens, size), perplexity, math.log2(perplexity), math.log2(size)]
    rows[name] = [size, len(tokens), *numbers, stability(shipped[name])]
table(rows, ["codes", "tokens", "usage %", "perplexity", "entropy", "bits", "stability"])

# %%
# NBVAL_IGNORE_OUTPUT
figure, (left, right) = plt.subplots(1, 2, figsize=(9.2, 2.9))
for name in ("video-vqvae-64", "video-fsqvae-64"):
    size = shipped[name].quantizer.size
    counts = torch.bincount(film_tokens[name], minlength=size).sort(descending=True).values.float()
    left.plot(counts[counts > 0] / len(film_tokens[name]), label=name)
left.axhline(1 / 1024, color="#8a8a8a", linestyle=":")
left.set(yscale="log", title="how often each code is used", xlabel="code, the most frequent first", ylabel="share")
left.legend()
fsq = shipped["video-fsqvae-64"]
digits = fsq.quantizer.digits(film_tokens["video-fsqvae-64"].to(device())).cpu()
for k, count in enumerate(fsq.levels):
    share = torch.bincount(digits[:, k], minlength=count).float() / len(digits)
    right.bar(torch.arange(count) / (count + 1) + k, share, width=0.9 / (count + 1), align="edge")
    right.hlines(1 / count, k, k + 0.88, color="#555555", linestyle=":")
right.set(title="how often each digit takes each level", xlabel="digit, its levels from left to right", ylabel="share")
right.set_xticks([k + 0.45 for k in range(len(fsq.levels))], range(len(fsq.levels)))
plt.show()

# %% [markdown]
# ## Codes have neighbours
#
# In a codebook the index is a name. Code 511 and code 512 have nothing to do with each other. In a grid it is a place:
# each digit is a scale, and a step on it is a small step in what the decoder sees. Is it also a small step in the
# picture?
#
# Look first. In the clip that moves most, take the token whose tubelet is busiest, and replace it, and nothing else.
# Each picture is cut out around it, in the third of its four frames. The upper rows are FSQ: one digit goes through
# all its levels. The lower rows are VQ: the indices around its own, and the eight codes of the codebook that lie
# nearest to its own, by distance. The star marks what the encoder chose.


# %%
def swapped(model, tokens, place, new):
    """The clip with tokens (1, t, h, w), decoded once for each of ``new`` (n,) at ``place``: (n, C, T, H, W)."""
    many = tokens.repeat(len(new), 1, 1, 1)
    many[(slice(None), *place)] = new.to(tokens)
    return model.decode(many).cpu()


def along_digit(model, index, digit):
    """The codes that differ from ``index`` in one digit, and it itself, in order: (levels,)."""
    digits = model.quantizer.digits(index).repeat(model.levels[digit], 1)
    digits[:, digit] = torch.arange(model.levels[digit])
    return model.quantizer.indices(digits)


def by_distance(model, index):
    """All codes of a codebook, the nearest to code ``index`` first, beginning with it: (K,)."""
    codebook = model.quantizer.codebook
    return (codebook - codebook[index]).square().sum(1).argsort()


example = VideoAutoencoder(VideoConfig(width=32, quantizer=QuantizerConfig("fsq", levels=(8, 5, 5, 5)))).eval()
row = along_digit(example, torch.tensor(603), 1)
print("603 along its digit 1:", row.tolist())
print("digit 1 of these:     ", example.quantizer.digits(row)[:, 1].tolist())
one = example.encode(torch.zeros(1, 1, 16, 64, 64))
videos = swapped(example, one, (1, 3, 3), row)
print("frames before the token are untouched:", torch.equal(videos[0, :, :4], videos[-1, :, :4]))

# %%
# NBVAL_IGNORE_OUTPUT
vq = shipped["video-vqvae-64"].cpu()
fsq = shipped["video-fsqvae-64"].cpu()
clip = truth[fastest : fastest + 1]
change = F.avg_pool2d((clip[0, :, 5:8] - clip[0, :, 4:7]).abs().mean((0, 1))[None, None], 8)[0, 0, 1:7, 1:7]
place = (1, *(int(n) + 1 for n in divmod(int(change.argmax()), 6)))
top, side = (8 * n - 8 for n in place[1:])
rows = {f"d{k}": (fsq, lambda token, k=k: along_digit(fsq, token, k)) for k in range(len(fsq.levels))}
rows["VQ "] = (vq, lambda token: (token - 3 + torch.arange(8)) % 1024)
rows["near "] = (vq, lambda token: by_distance(vq, token)[:8])
pictures, labels = [], []
for name, (model, choose) in rows.items():
    tokens = model.encode(clip)
    token = tokens[0][place]
    new = choose(token)
    crops = swapped(model, tokens, place, new)[:, :, 6, top : top + 24, side : side + 24]
    blank = torch.ones(8 - len(new), *crops.shape[1:])
    pictures.append(torch.cat([crops, blank]))
    words = [f"{name}={k}" for k in range(len(new))] if name[0] == "d" else [f"{name}{int(k)}" for k in new]
    labels += [word + "*" * bool(k == token) for word, k in zip(words, new)] + [""] * len(blank)
show.grid(torch.cat(pictures), columns=8, scale=3, labels=labels)

# %% [markdown]
# Now measure. Many clips, one token each in the middle of the picture, replaced. By how many grey levels does the
# picture of its own tubelet change, on average? For FSQ: one step of one digit (the mean over the digits), two steps,
# and a random other code. For VQ: the next index, the nearest code of the codebook, and a random other code.
# A bar for a neighbour that is much shorter than the one for a random code means: these codes have neighbours.


# %%
# NBVAL_IGNORE_OUTPUT
def poke(model, tokens, new, place=(2, 4, 4)):
    """Mean change of the token's own tubelet in grey levels, when the tokens at ``place`` become ``new`` (B,)."""
    changed = tokens.clone()
    changed[(slice(None), *place)] = new
    t, h, w = (slice(n * m, n * m + m) for n, m in zip(place, model.tubelet))
    return float(127.5 * (model.decode(changed) - model.decode(tokens))[:, :, t, h, w].abs().mean())


def stepped(model, index, digit, step):
    """Codes (B,) with one digit moved by ``step``, downwards where there is no room above."""
    digits = model.quantizer.digits(index)
    there = digits[:, digit] + step
    digits[:, digit] = torch.where(there < model.levels[digit], there, digits[:, digit] - step)
    return model.quantizer.indices(digits)


some = truth[:: max(1, len(truth) // 24)]
fsq_tokens, vq_tokens = fsq.encode(some), vq.encode(some)
mine, yours = fsq_tokens[:, 2, 4, 4], vq_tokens[:, 2, 4, 4]
generator = torch.Generator().manual_seed(0)
other = [torch.randint(1, n, mine.shape, generator=generator) for n in (1000, 1024)]
changes = {}
for step in (1, 2):
    each = [poke(fsq, fsq_tokens, stepped(fsq, mine, k, step)) for k in range(len(fsq.levels))]
    changes[f"FSQ, {step} step{'s' * (step > 1)} of a digit"] = sum(each) / len(each)
changes["FSQ, any other code"] = poke(fsq, fsq_tokens, (mine + other[0]) % 1000)
changes["VQ, nearest code"] = poke(vq, vq_tokens, torch.stack([by_distance(vq, k)[1] for k in yours]))
changes["VQ, next index"] = poke(vq, vq_tokens, (yours + 1) % 1024)
changes["VQ, any other code"] = poke(vq, vq_tokens, (yours + other[1]) % 1024)
show.bars(changes, "change of the tubelet when its token is replaced", unit="grey levels")

# %% [markdown]
# A codebook has neighbours too, in the space of its vectors: compare *nearest code* with the rest. But the index does
# not tell, and whoever gets integers gets the index. With FSQ the digits *are* the neighbourhood. The transformer of
# notebook 07 makes use of it: it embeds digits, not codes, so that neighbouring codes start out alike, and predicts a
# digit at a time.
#
# On the film: one step of a digit changes the tubelet by 5.3 grey levels on average, two steps by 11, any other code by 36.
# VQ's next index changes it by 40, as much as any code (34; the mean of 34 clips, so a few grey levels either way say
# nothing). Its nearest code, 5.5, is as near as a step of FSQ: a codebook has neighbours too, but somebody has to look for
# them.
#
# ## Rate against quality, beside real codecs
#
# The oldest question to a compressor: at so many bits, how good is the picture? By hand: 16 frames of 64x64 are 65,536
# pixels. 256 tokens of 10 bits are 2,560 bits, so 0.039 bits a pixel, or 1.9 kbit a second at 12 frames a second. As
# stored, a pixel has 8 bits.
#
# `vg.evaluation.codecs` runs H.264, VP9 and AV1 on the same clips: the same 64x64 pixels, the same 12 frames a second, grey,
# 16 frames as a stream of its own, encoders at their slowest sensible setting. A codec has a knob, the *constant
# quality* number; each setting of it gives one point, the average bits and the average PSNR over the clips.
#
# Bits are counted twice. The *payload* is what the pictures need. The *headers* are what a stream needs besides:
# sizes, profiles, x264's note about its settings. For films of an hour they are nothing. For 16 frames of 64x64 they
# can be more than the pictures. Neither count is wrong; so both are shown. No container (mp4) is counted.
#
# What is the least that a stream can cost? A clip of plain grey has nothing in it. The cell codes one at each codec's
# worst quality. What it costs is fixed costs: frame headers, block structures, contexts that start anew. At the sizes
# that codecs are made for they are nothing. A tokenizer sends as many tokens for it as for any clip.
#
# To save time only some of the validation clips go through the codecs, every fourth in a long film; the tokenizers are
# measured on the same ones here.

# %%
# NBVAL_IGNORE_OUTPUT
picked = torch.arange(0, len(truth), profile().pick(smoke=3, laptop=4, gpu=2))
sample = truth[picked]
settings = {"h264": (51, 48, 45, 42, 38), "vp9": (73, 70, 67, 63, 58), "av1": (70, 66, 61, 55)}
settings = {name: qualities for name, qualities in settings.items() if name in available()}


def score(video, bits, headers=0.0):
    """[bits a pixel, the same with headers, PSNR, SSIM] of the sample."""
    each = [float(evaluation.psnr(video, sample).mean()), float(evaluation.ssim(video, sample).mean())]
    return [float(bits) / sample[0].numel(), float(bits + headers) / sample[0].numel(), *each]


coded, points = {}, {}
for name, qualities in settings.items():
    begin = time.perf_counter()
    for quality_number in qualities:
        video, payload, headers = code_clips(sample, name, quality_number)
        coded[name, quality_number] = video
        points[name, quality_number] = score(video, payload.float().mean(), headers.float().mean())
    plain = code(np.full((16, 64, 64), 128, np.uint8), name, CODECS[name].qualities[1])
    print(f"{name}: {(time.perf_counter() - begin) / len(qualities) / len(sample):.2f} s a clip;", end=" ")
    print(f"plain grey: {plain.payload_bits} bits of payload, {plain.header_bits} of headers")
ours = {}
for name, model in shipped.items():
    bits = math.prod(n // m for n, m in zip(sample.shape[2:], model.tubelet)) * model.quantizer.bits_per_code
    ours[name] = score(rebuilt[name][picked], bits)
rows = {f"{name} {number}": point for (name, number), point in points.items()} | ours
rows["mean frame"] = score(evaluation.mean_frame(sample), math.nan)
table(rows, ["bits a pixel", "with headers", "PSNR dB", "SSIM"])

# %% [markdown]
# ### What the bits would be with a prior
#
# The tokenizer's bits above are *raw*: each token costs the same, whatever is likely. A codec does not send numbers
# that way. It predicts, and an arithmetic coder turns a symbol of probability p into `-log2(p)` bits, to within a bit
# or two a clip. We have such a predictor as well: the transformer of notebook 07, which says how likely each token is,
# given those before it. `prior.nll_bits` is that number. It belongs to the tokenizer it was trained on, and only there
# does it mean anything: same levels, same grid.

# %%
prior = checkpoints.load("prior-64", device=device())
tubelets = shipped["tubelet-fsq-64"].to(device())
prior_tokens = tubelets.encode(sample.to(device()))
print("levels of prior and tokenizer:", prior.config.levels, "equal:", prior.config.levels == tubelets.levels)
print("grid:", prior.config.grid, "equal:", prior.config.grid == tuple(prior_tokens.shape[2:]))
known = checkpoints.card("prior-64").facts["tokenizer"]["weights"]
print("trained on the tokens of these very weights:", known == weight_hash(tubelets))

# %% [markdown]
# Three ways to pay for the same tokens: raw; by how often each code occurs in the training shots, wherever that is
# (*unigram*, which every tokenizer can have); and by the prior. The prior sees nothing before the clip, so its first
# latent frame is the expensive one, as the key frame is for a codec.

# %%
# NBVAL_IGNORE_OUTPUT
costs = {}
for name, model in shipped.items():
    model = model.to(device())
    tokens = model.encode(sample.to(device())).cpu()
    size = model.quantizer.size
    unigram = evaluation.unigram_bits(tokens_of(model, train_shots), tokens, size)
    costs[name] = [tokens[0].numel() * math.log2(size), float(unigram.flatten(1).sum(1).mean()), math.nan]
with torch.no_grad():
    each = torch.cat([prior.nll_bits(part).cpu() for part in prior_tokens.split(4)])  # (B, t, h, w)
costs["tubelet-fsq-64"][2] = float(each.flatten(1).sum(1).mean())
table(costs, ["raw", "unigram", "prior"])
frames = ", ".join(f"{float(bits):.2f}" for bits in each.mean((0, 2, 3)))
spread = each.flatten(1).sum(1)
print(f"\nprior, bits a token in each latent frame: {frames}; raw {tubelets.quantizer.bits_per_code:.2f}")
print(f"prior, bits a clip: from {float(spread.min()):.0f} to {float(spread.max()):.0f}; raw it is always the same")

# %% [markdown]
# The last line is what a fixed number of tokens cannot do: spend little on a quiet clip and much on a wild one. With a
# prior the cost varies by itself, though the quality still cannot.
#
# Now all in one figure. Lines are codecs: full, their payload; dotted, with headers. Marks are tokenizers at their raw
# bits, the hollow one the tubelets at the prior's bits: the same picture for less. The grey line is the mean frame of
# each clip, which costs whatever a picture costs and shows no motion.


# %%
# NBVAL_IGNORE_OUTPUT
with_prior = [costs["tubelet-fsq-64"][2] / sample[0].numel()] * 2 + ours["tubelet-fsq-64"][2:]
level = score(evaluation.mean_frame(sample), 0)
figure, axes = plt.subplots(1, 2, figsize=(9.6, 4.1))
for ax, column, title in zip(axes, (2, 3), ("PSNR (dB)", "SSIM")):
    for colour, name in zip(("#2f6f9f", "#4b8f5a", "#7a6a52"), settings):
        line = np.array([points[name, number] for number in settings[name]])
        ax.plot(line[:, 0], line[:, column], marker=".", color=colour, label=name)
        ax.plot(line[:, 1], line[:, column], marker=".", color=colour, linestyle=":", linewidth=1)
    for (name, point), marker, colour in zip(ours.items(), "so^", ("#a2477f", "#d1782c", "#b04a4a")):
        ax.plot(point[0], point[column], marker, color=colour, markersize=7, label=name, linestyle="none")
    ax.plot(with_prior[0], with_prior[column], "^", markerfacecolor="none", color="#b04a4a", markersize=7,
            label="tubelets, prior's bits", linestyle="none")  # fmt: skip
    ax.axhline(level[column], color="#8a8a8a", linewidth=1, label="mean frame")
    ax.set(xscale="log", title=title, xlabel="bits a pixel")
    ax.set_xticks([0.02, 0.05, 0.1, 0.2], ["0.02", "0.05", "0.1", "0.2"])
    ax.minorticks_off()
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
plt.show()

# %% [markdown]
# The same as a table: what each codec has at *our* rate, read off its line (straight between two points, over the
# logarithm of the rate). `nan`: the codec has no setting that cheap, or none that dear among those tried.


# %%
# NBVAL_IGNORE_OUTPUT
def read_off(rate, line, column, headers):
    """Quality of a codec at ``rate`` bits a pixel; NaN where its line does not reach."""
    known = sorted((point[1 if headers else 0], point[column]) for point in line)
    rates, values = np.log([k for k, _ in known]), [v for _, v in known]
    return float(np.interp(math.log(rate), rates, values, left=math.nan, right=math.nan))


marks = ours | {"tubelets, prior's bits": with_prior}
for column, what in ((2, "PSNR dB"), (3, "SSIM")):
    rows = {}
    for name, point in marks.items():
        rows[name] = [point[0], point[column]]
        for headers in (False, True):
            lines = ([points[codec, n] for n in settings[codec]] for codec in settings)
            rows[name] += [read_off(point[0], line, column, headers) for line in lines]
    table(rows, ["bits a pixel", what, *settings, *(f"{codec}+head" for codec in settings)])
    print()

# %% [markdown]
# On the film's validation clips, payload alone: at the tubelets' raw bits H.264 draws as well as they do (26.59 dB against
# 26.60), AV1 and VP9 less so (26.00, 24.97); in SSIM the tubelets are ahead of all (0.830, H.264 0.775). The two Conv3D
# models are 0.6 (VQ) and 0.4 dB (FSQ) ahead of H.264 at their bits. At the bits that the prior needs, 2,896 for a clip
# instead of 4,048, H.264 falls to 24.81 dB: the tubelets are 1.8 dB ahead. With headers counted
# H.264 never comes so low and AV1 loses further; VP9, whose headers count as nothing here, stays where it is.
#
# Look at the pictures too, since codecs fail differently. For each codec the setting whose payload is nearest to
# the bits of the tubelets. A codec copies what it has once drawn, so backgrounds stand still; a tokenizer draws each
# tubelet anew. Which errors would you rather watch?

# %%
# NBVAL_IGNORE_OUTPUT
lively = int(motion[picked].argmax())
shown = {"original": sample[lively]}
for name in settings:
    number = min(settings[name], key=lambda n: abs(math.log(points[name, n][0] / ours["tubelet-fsq-64"][0])))
    shown[f"{name} {1000 * points[name, number][0]:.0f}"] = coded[name, number][lively]
for name in ("tubelet-fsq-64", "video-fsqvae-64"):
    shown[f"{name[:-3]} {1000 * ours[name][0]:.0f}"] = rebuilt[name][picked][lively]
print("numbers: thousandths of a bit a pixel, averaged over the clips")
display(show.player(shown, fps=store.fps, columns=3, scale=2))
show.compare(shown, every=3, scale=1, against="original")

# %% [markdown]
# Bits on a slider, without a kernel: the clip that moves most at several qualities of a codec (H.264 where it is
# available), beside the tokenizers. Above each picture stand the clip's bits (payload, or raw tokens) and its PSNR.

# %%
# NBVAL_IGNORE_OUTPUT
codec = next(iter(settings))
live_clip = sample[lively : lively + 1]
by_quality = {}  # bits -> clip
for quality_number in settings[codec]:
    video, payload, _ = code_clips(live_clip, codec, quality_number)
    by_quality[f"{int(payload[0]):,} bits"] = video[0]
by_tokens = {name: rebuilt[name][picked][lively] for name in shipped}


def over_time(videos):
    """Every second frame of each clip: (n, 8, C, H, W)."""
    return torch.stack([video[:, ::2].movedim(1, 0) for video in videos])


def said(videos, bits):
    return [f"{b}, {float(evaluation.psnr(video[None], live_clip)):.1f} dB" for b, video in zip(bits, videos)]


raw = [f"{costs[name][0]:,.0f} bits" for name in by_tokens]
interactive.variations(
    {
        "original": over_time(live_clip)[None],
        codec: over_time(by_quality.values())[:, None],
        "tokens": over_time(by_tokens.values())[None],
    },
    {f"{codec}'s bits": range(len(by_quality)), "tokenizer": list(by_tokens), "frame": range(0, 16, 2)},
    captions={
        codec: [[[words]] for words in said(by_quality.values(), by_quality)],
        "tokens": [[[words] for words in said(by_tokens.values(), raw)]],
    },
    scale=4,
    title=f"a clip at several bit rates: {codec} beside the tokenizers",
)

# %% [markdown]
# ### What a codec does that we do not, and the other way round
#
# - **It spends where it is needed.** At constant quality a quiet clip costs little and a wild one much. Ours costs the
#   same always. The averages above compare the two at equal *average* bits.
# - **It has an entropy coder with contexts**, and motion vectors that say "as before, two pixels to the left". Our raw
#   tokens have neither. The prior is our entropy coder, measured but not built.
# - **It can be as good as one wants.** Turn the knob, and it ends at an exact copy. A tokenizer has one rate, and its
#   decoder a ceiling.
# - **It knows nothing of this film.** Its standard is a few hundred pages that fit every film. Our decoder has
#   millions of weights, trained on other shots of this very film, and they are not counted. Nor are those of the
#   prior.
# - **It is at home at a thousand times as many pixels.** At 64x64 and 16 frames its headers and its key frame weigh
#   most. The last cell gives it a longer stream.
# - **It is made to be watched, ours to be modelled.** A token grid of fixed size, with whole meanings in each place,
#   is what a transformer can learn to continue. A bit stream in which one flipped bit spoils the rest is not. That is
#   what the course needs tokens for, and PSNR at a rate does not measure it.

# %%
# NBVAL_IGNORE_OUTPUT
start, stop = max(val_shots, key=lambda shot: shot[1] - shot[0])
scene = store.clip(start, start + min(96, (stop - start) // 16 * 16))
cut = torch.cat(scene.split(16, dim=2))  # the same frames as clips of 16
rows = {}
for name in [name for name in settings if name != "av1"]:  # AV1 would take a minute
    number = settings[name][1]
    for kind, video in (("clips of 16", cut), (f"one stream of {scene.shape[2]}", scene)):
        back, payload, headers = code_clips(video, name, number)
        error = float((back - video).square().mean())
        bits = [float(payload.sum()) / scene.numel(), float((payload + headers).sum()) / scene.numel()]
        rows[f"{name}, {kind}"] = [*bits, 10 * math.log10(4 / error)]
for name in ("video-fsqvae-64", "tubelet-fsq-64"):
    for kind, video in (("clips of 16", cut), (f"one stream of {scene.shape[2]}", scene)):
        error = float((rebuild(shipped[name], video) - video).square().mean())
        rows[f"{name}, {kind}"] = [ours[name][0], ours[name][0], 10 * math.log10(4 / error)]
table(rows, ["bits a pixel", "with headers", "PSNR dB"], first=34)

# %% [markdown]
# How much does a codec save when it does not have to start anew every 16 frames? Mostly headers: H.264's fall to a
# quarter, its payload stays and draws 0.3 dB better; VP9 saves a tenth of its payload. And the tokenizers, whose decoders
# are causal and may look back, draw the long stream no better than the pieces (25.79 and 25.81 dB, 23.91 and 23.85).
#
# ## Exercises
#
# Each has a check that says what is off. Solutions are folded below.
#
# **1. Bits thrown away** (easy, 5 minutes). Write `wasted(indices, codes)`: how many bits of each token are paid for
# and not used: log2 of the number of codes, less the entropy of `indices` in bits. `indices` is a tensor of any shape.


# %%
def wasted(indices, codes):
    return None  # your turn


def check_wasted(function):
    even = function(torch.arange(8).repeat(3), 8)
    if even is None:
        return "not yet: wasted returns None"
    if abs(float(even)) > 1e-4:
        return (
            f"8 codes, all equally often: nothing is wasted, got {float(even):.4f}. Is the entropy in bits, or in nats?"
        )
    half = float(function(torch.arange(4).repeat(6), 8))
    if math.isnan(half):
        return "NaN where codes do not occur: 0 * log2(0) counts as 0, so leave these codes out"
    if abs(half - 1) > 1e-4:
        return f"4 of 8 codes, equally often: 3 bits paid, 2 used, 1 wasted; got {half:.4f}"
    skewed = float(function(torch.tensor([[0, 0, 0, 0], [1, 1, 2, 3]]), 4))
    if abs(skewed - 0.25) > 1e-4:
        return f"codes with shares 1/2, 1/4, 1/8, 1/8 carry 1.75 of 2 bits: 0.25 wasted, got {skewed:.4f}"
    return "right"


print(check_wasted(wasted))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def wasted(indices, codes):
#     share = torch.bincount(indices.flatten(), minlength=codes) / indices.numel()
#     share = share[share > 0]
#     return math.log2(codes) + float((share * share.log2()).sum())
#
# for name, tokens in film_tokens.items():
#     print(name, wasted(tokens, shipped[name].quantizer.size))
# ```
#
# </details>
#
# **2. Symmetric levels** (medium, 15 minutes). With four levels FSQ's codes are -1, -0.5, 0 and 0.5. Write
# `symmetric(z, count)`: codes spread evenly from -1 to 1, ends included, so that the code of `-z` is minus the code of
# `z`; four levels then are -1, -1/3, 1/3, 1. Squash with `tanh`, give the gradient of `tanh(z)` (straight-through),
# and take `torch.floor(x + 0.5)` to round: `torch.round` rounds halves to even numbers. It needs neither offset nor
# shift. (Parker et al., 2024, section 3.2.) What has become of `z = 0` with four levels?


# %%
def symmetric(z, count):
    return None  # your turn


def check_symmetric(function):
    z = torch.tensor([-9.0, -0.5, -0.2, 0.2, 0.5, 9.0]).requires_grad_()
    codes = function(z, 4)
    if codes is None:
        return "not yet: symmetric returns None"
    third = 1 / 3
    wanted = torch.tensor([-1, -third, -third, third, third, 1])
    values = codes.detach()
    got = [round(v, 2) for v in values.tolist()]
    if float(values.abs().max()) > 1.001:
        return f"codes have to stay within -1 and 1, got {got}"
    if torch.allclose(values, torch.tensor([-1, -0.5, 0, 0, 0.5, 0.5]), atol=1e-3):
        return "these are FSQ's own codes, lopsided for an even number of levels"
    if not torch.allclose(values, wanted, atol=1e-3):
        return f"four levels: expected {[round(v, 2) for v in wanted.tolist()]}, got {got}"
    five = function(torch.tensor([-9.0, -0.6, 0.0, 0.1, 0.6, 9.0]), 5)
    if not torch.allclose(five.detach(), torch.tensor([-1, -0.5, 0, 0, 0.5, 1]), atol=1e-3):
        return f"right for four levels, wrong for five: got {[round(v, 2) for v in five.tolist()]}"
    gradient = torch.autograd.grad(codes.sum(), z)[0] if codes.requires_grad else torch.zeros(6)
    if not gradient.any():
        return "right values, but no gradient: rounding has none. Add (rounded - smooth).detach() to the smooth curve"
    off = float((gradient - 1 / torch.cosh(z.detach()).square()).abs().max())
    return "right" if off < 1e-4 else f"right values, but the gradient is off by {off:.3f} from that of tanh"


print(check_symmetric(symmetric))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def symmetric(z, count):
#     smooth = torch.tanh(z)
#     whole = torch.floor((smooth + 1) / 2 * (count - 1) + 0.5)  # 0 to count - 1: this is the digit
#     return smooth + (2 * whole / (count - 1) - 1 - smooth).detach()
# ```
#
# `z = 0` lies on a border again when the number of levels is even. One cannot have both: symmetric codes, and a code
# for 0.
#
# </details>
#
# **3. Even use** (medium, 20 minutes). FSQ does not say how widely `z` should be spread. Suppose that it is a standard
# normal, of deviation 1. Write `evenly(z, count)`: a smooth curve, rising everywhere, such that
# `evenly(z, count).round()` takes exactly `count` whole numbers, all equally often (within 15%). Any `count`
# consecutive whole numbers will do. iFSQ (Lin et al., 2026) does something like it in one line, with
# `2 * sigmoid(1.6 * z) - 1` in place of `tanh`. That is nearly `erf(z / sqrt(2))`, which takes a standard normal to
# even use of -1 to 1, exactly. Mind the ends: how wide is the range that rounds to the last level?


# %%
def evenly(z, count):
    return None  # your turn


def check_evenly(function):
    places = (torch.arange(10000, dtype=torch.float64) + 0.5) / 10000
    z = math.sqrt(2) * torch.erfinv(2 * places - 1)  # 10,000 numbers, exactly as a standard normal has them
    if function(z, 5) is None:
        return "not yet: evenly returns None"
    for count in (5, 8):
        whole, far = function(z, count).round(), function(torch.tensor([-60.0, 60.0]).double(), count).round()
        values, times = whole.unique(return_counts=True)
        if len(values) != count or bool(values.diff().ne(1).any()):
            return f"{count} levels: the rounded values are {values.tolist()}, expected {count} whole numbers in a row"
        if float(far[0]) < float(values[0]) or float(far[1]) > float(values[-1]):
            return f"{count} levels: z = 60 rounds to a level of its own, {far.tolist()}. Stay a hair inside the range"
        share = times / len(z) * count  # 1: as often as it should
        inner, ends = float(share[1:-1].mean()), float(share[[0, -1]].mean())
        if ends < 0.75 * inner:
            seldom = f"{count} levels: the two at the ends come {ends / inner:.2f} times as often as the others"
            return f"{seldom}. Does the range go a half beyond them?"
        if float((share - 1).abs().max()) > 0.15:
            return f"{count} levels: relative use {[round(s, 2) for s in share.tolist()]}, expected 1 within 0.15"
    rises = bool((function(z, 5).diff() > 0).all())
    return "right" if rises else "even, but not rising everywhere: where the curve is flat there is no gradient"


print(check_evenly(evenly))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def evenly(z, count):
#     flat = 2 * torch.sigmoid(1.6 * z) - 1  # or torch.erf(z / math.sqrt(2)), exactly
#     return 0.999 * flat * count / 2 - 0.5 * (count % 2 == 0)
# ```
#
# From -2.5 to 2.5 for five levels: each of them owns a range of 1, also the outer two. The published formula stretches
# by `(count - 1) / 2`, so its outer levels own a half; `tanh` on a wide enough `z` makes up for it. Does even use make
# better pictures? Put it into a copy of `vg`'s `FSQ` and train both.
#
# </details>
#
# **4. Neighbours for a codebook** (harder, 20 minutes). VQ's index is only a name, so it can be given again. Write
# `reorder(codebook)`: an order of the codes, `(K,)` integers, in which codes that follow each other lie near each
# other. A greedy walk will do: from each code go to the nearest that was not visited yet.


# %%
def reorder(codebook):
    return None  # your turn


def check_reorder(function):
    generator = torch.Generator().manual_seed(0)
    angle = 2 * math.pi * torch.rand(200, generator=generator)
    codebook = torch.stack(
        [angle.cos(), angle.sin(), 0.4 * (3 * angle).sin()], dim=1
    )  # 200 codes on a thread, in any order
    order = function(codebook)
    if order is None:
        return "not yet: reorder returns None"
    order = torch.as_tensor(order)
    if order.shape != (200,) or order.is_floating_point():
        return f"expected 200 integers, got {order.dtype} of shape {tuple(order.shape)}"
    if sorted(order.tolist()) != list(range(200)):
        missing = len(set(range(200)) - set(order.tolist()))
        return f"{missing} codes are missing: every code has to occur once. Do you go back to visited ones?"
    ideal = codebook[angle.argsort()].diff(dim=0).norm(dim=1).sum()  # along the thread
    walk = codebook[order].diff(dim=0).norm(dim=1).sum()
    ratio = float(walk / ideal)
    if ratio > 10:
        return f"your walk is {ratio:.0f} times as long as the thread: is it the *nearest* code that comes next?"
    return "right" if ratio < 3 else f"your walk is {ratio:.1f} times as long as the thread; a greedy one is below 3"


print(check_reorder(reorder))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def reorder(codebook):
#     distance = torch.cdist(codebook, codebook)
#     order, left = [0], torch.ones(len(codebook), dtype=torch.bool)
#     for _ in range(len(codebook) - 1):
#         left[order[-1]] = False
#         order.append(int(distance[order[-1]].masked_fill(~left, math.inf).argmin()))
#     return torch.tensor(order)
#
# order = reorder(vq.quantizer.codebook)
# place = order.argsort()  # where each code stands in the new order
# print(poke(vq, vq_tokens, order[(place[yours] + 1) % 1024]), changes["VQ, next index"], changes["VQ, nearest code"])
# ```
#
# A line through a space of 16 dimensions can keep only two neighbours of each code. FSQ's four digits keep up to
# eight, and for nothing.
#
# </details>
#
# **5. The same picture for less** (medium, 15 minutes). "AV1 needs 30% fewer bits than H.264" is a statement about
# equal *quality*, the figure read sideways. Write `bits_at(quality, rates, qualities)`: the rate at which a codec
# reaches `quality`, straight between its points over the *logarithm* of the rate; `nan` where it does not reach. The
# points may come in any order.


# %%
def bits_at(quality, rates, qualities):
    return None  # your turn


def check_bits_at(function):
    rates, qualities = [0.01, 0.04, 0.16], [20.0, 24.0, 28.0]
    got = function(22.0, rates, qualities)
    if got is None:
        return "not yet: bits_at returns None"
    if abs(got - 0.025) < 1e-6:
        return "0.025 is half way between the rates; half way between their logarithms is 0.02"
    if abs(got - math.log(0.02)) < 1e-6:
        return "that is the logarithm of the rate: take exp of it"
    if not abs(got - 0.02) < 1e-6:
        return f"20 dB at 0.01 and 24 dB at 0.04: 22 dB at 0.02, the mean of the logarithms; got {got}"
    if not abs(function(26.0, rates[::-1], qualities[::-1]) - 0.08) < 1e-6:
        return (
            "wrong when the points come from dear to cheap: np.interp wants its x in rising order, and does not say so"
        )
    if not (math.isnan(function(19.0, rates, qualities)) and math.isnan(function(29.0, rates, qualities))):
        return "19 dB and 29 dB are out of reach: nan, not the nearest point"
    return "right"


print(check_bits_at(bits_at))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def bits_at(quality, rates, qualities):
#     known = sorted(zip(qualities, rates))
#     x, y = [q for q, _ in known], np.log([r for _, r in known])
#     return float(np.exp(np.interp(quality, x, y, left=math.nan, right=math.nan)))
#
# for name in settings:  # bits a pixel of each codec's payload for the picture of the tubelets
#     line = [points[name, n] for n in settings[name]]
#     print(name, bits_at(ours["tubelet-fsq-64"][2], [p[0] for p in line], [p[2] for p in line]))
# ```
#
# Bjøntegaard's *BD-rate*, which codec makers quote, averages this over a range of qualities.
#
# </details>
#
# ## Summary
#
# - FSQ squashes a few numbers and rounds each. The codes are a grid, the index is a number with mixed bases, and
#   nothing has to be learned, held, restarted or looked up.
# - `tanh` keeps a gradient everywhere. An even number of levels needs an offset to have all its levels, and a shift to
#   have 0 in the middle of one.
# - Round before you make an integer of a digit, and never in half precision.
# - The grid does not move, so the encoder has to. Whether that costs quality is a question of measurement: at equal
#   bits and equal time, the table above has this film's answer.
# - A digit is a scale: a step on it is a small change. An index of a codebook is a name.
# - A codec varies its bits, predicts, and codes by probability; a raw token does none of that. The prior's bits are
#   the fair number to set beside it, with the weights not counted.
#
# On this film: 24.55 dB with a codebook and 24.38 dB with FSQ at 10 bits a token; tubelets with FSQ 26.4 dB, level with
# H.264 at raw bits and 1.8 dB ahead of it at the prior's.
#
# **Next:** [05 Tubelet FSQ-VAE](05_tubelet_fsq_vae.ipynb) keeps the grid and changes what a token stands for.
#
# ## References
#
# - Mentzer, Minnen, Agustsson, Tschannen: *Finite Scalar Quantization: VQ-VAE Made Simple*, 2023, arXiv:2309.15505,
#   section 3, figure 3, appendix A.
# - van den Oord, Vinyals, Kavukcuoglu: *Neural Discrete Representation Learning* (VQ-VAE), 2017, arXiv:1711.00937.
# - Bengio, Léonard, Courville: *Estimating or Propagating Gradients Through Stochastic Neurons for Conditional
#   Computation* (straight-through), 2013, arXiv:1308.3432.
# - Parker and others: *Scaling Transformers for Low-Bitrate High-Quality Speech Coding* (symmetric FSQ), 2024,
#   arXiv:2411.19842, section 3.2.
# - Lin and others: *iFSQ: Improving FSQ for Image Generation with 1 Line of Code*, 2026, arXiv:2601.17124.
# - Wiegand, Sullivan, Bjøntegaard, Luthra: *Overview of the H.264/AVC Video Coding Standard*, 2003.
# - Mukherjee and others: *The latest open-source video codec VP9*, 2013. Chen and others: *An Overview of Core Coding
#   Tools in the AV1 Video Codec*, 2018.
# - Bjøntegaard: *Calculation of average PSNR differences between RD-curves*, 2001, VCEG-M33.
# - Wang, Bovik, Sheikh, Simoncelli: *Image quality assessment: from error visibility to structural similarity*, 2004.
