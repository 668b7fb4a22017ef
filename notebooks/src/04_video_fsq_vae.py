# %% [markdown]
# # 04 Conv3D FSQ-VAE
#
# Notebook 03 turned clips into integers with a codebook: 1,024 learned vectors, restarted when they die, and tied to
# the encoder by a loss of their own. Here the codebook goes. The encoder writes four or five numbers, each is
# *rounded*, and the rounded numbers are the token. That is finite scalar quantization, FSQ. Everything else stays the
# same, so the two can be compared at equal bits: what was the codebook good for?
#
# **After this notebook you will be able to**
# - derive FSQ on a line, a square and a cube, and say what `tanh`, the offset and the shift are for;
# - write it: bound, round, pass the gradient straight through, make one index of the digits;
# - measure how well a set of codes is used, and say why a fixed grid is not always fully used;
# - compare two tokenizers shot by shot, and tell a difference from noise;
# - show that FSQ's codes have neighbours, and where a codebook keeps its own.
#
# **You need** Python, a little PyTorch, and the codebook of notebooks 02 and 03. The notebook runs alone.
#
# **Time:** about 2 hours of study; about 4 minutes of computing on a two-core laptop.
#
# **Before:** [03 Conv3D VQ-VAE](03_video_vq_vae.ipynb). **Next:** [05 Tubelet FSQ-VAE](05_tubelet_fsq_vae.ipynb).

# %%
# NBVAL_IGNORE_OUTPUT
import math
from collections import deque

from vg import checkpoints, evaluation, show
from vg.data import Clips, film, open_store, split_shots
from vg.evaluation.features import shot_numbers
from vg.evaluation.tokenizer import reconstruct
from vg.experiments.batches import tokenizer_batches
from vg.experiments.losses import tokenizer_loss
from vg.models import FSQ, FSQ_LEVELS, QuantizerConfig, VideoAutoencoder, VideoConfig
from vg.models.quantizers import VQ
from vg.profiles import device, profile
from vg.show import interactive
from vg.training import Recipe, fit

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from IPython.display import display
from torch import nn

show.style()

# %%
# NBVAL_IGNORE_OUTPUT
settings = profile().settings(  # smoke, laptop, gpu
    frames=(240, None, None),  # of the film; None: all of them
    held_out=(0.35, 0.1, 0.1),  # share of the frames for validation
    toy_steps=(60, 800, 800),
    steps=(6, 300, 2000),
    width=(16, 64, 192),
    batch=(2, 4, 8),
)
source = film()
store = open_store(source, frames=settings.frames)
split = split_shots(store.shots, settings.held_out)
train_shots, val_shots = split.train, split.held_out
validation = Clips(store, val_shots, frames=16, stride=8)
truth = validation.take(range(len(validation)))  # (B, C, T, H, W) in [-1, 1]
motion = (truth[:, :, 1:] - truth[:, :, :-1]).abs().flatten(1).mean(1)  # (B,) how much each moves
fastest = int(motion.argmax())
few = truth[:: max(1, len(truth) // 8)]  # eight or so, to look at while training


def table(rows, columns, first=26):
    print(" " * first + "".join(f"{name:>13}" for name in columns))
    for name, values in rows.items():
        print(f"{name:{first}}" + "".join(f"{value:13.5g}" for value in values))


print(f"profile {profile().name}, device {device()}; {source.describe()}")
print(f"{len(train_shots)} training shots, {len(val_shots)} held out, {len(truth)} clips")

# %% [markdown]
# This is the film as notebook 00 left it: 64x64 pixels, 12 frames a second, cut into shots. `val_shots` holds all held-out
# shots, the test shots included; nothing is trained on them. `truth` holds their clips of 16 frames, and the numbers below
# are measured on them.
#
# ## A line
#
# Begin with one number $z$ that the encoder gives. It can be anything. A token has to be one of a few integers.
#
# Rounding makes integers, but not few: 17.3 becomes 17. So first the number is squashed to the range from -1 to 1 by
# `tanh`, then stretched by 2, then rounded. What can come out is -2, -1, 0, 1 and 2: five *levels*. Two more numbers
# are made of the result. The *digit* counts the levels from 0; the token is made of it. The *code* divides by 2, and is
# what the decoder gets. So every decoder sees numbers between -1 and 1, however many levels there are.

# %%
z = torch.tensor([-3.0, -0.6, -0.1, 0.4, 1.1, 17.3])
print("     z    tanh  2 tanh  rounded  digit   code")
for a, b in zip(z.tolist(), z.tanh().tolist()):
    whole = round(2 * b)
    print(f"{a:6.1f} {b:7.2f} {2 * b:7.2f} {whole:8.0f} {whole + 2:6.0f} {whole / 2:6.1f}")

# %% [markdown]
# Why `tanh`, and not simply clamping at -1 and 1? Because of the gradient. Rounding has none, so it is given that of
# the identity (*straight-through*, as in notebook 02), and what is left is the slope of the curve before rounding. A
# clamp is flat beyond its ends: an encoder whose number lies out there is never told to come back. The slope of `tanh`,
# $1 - \tanh^2 z$, is positive everywhere, so the way back stays open for longer. Not for ever, though: it falls like
# $4e^{-2|z|}$, and in float32 `tanh(z)` is exactly 1 from about $z = 9$ on. From there the gradient is exactly zero, as
# for the 17.3 above. A quantizer relies on its encoder to stay away from there; at the start it does, since $z$ begins
# near 0.

# %%
ends = torch.tensor([0.0, 1.5, 4.0, 8.0, 10.0, 17.3])


def slope(function, z):
    z = z.clone().requires_grad_()
    function(z).sum().backward()
    return z.grad


rows = {
    "clamp": slope(lambda z: z.clamp(-1, 1), ends),
    "tanh, float32": slope(torch.tanh, ends),
    "tanh, exactly": 1 / torch.cosh(ends.double()).square(),
}
table(rows, [f"z = {value:.1f}" for value in ends.tolist()], first=15)

# %% [markdown]
# ## Even numbers of levels
#
# Five levels have a middle, 0. Four do not. Stretch by $h = (4 - 1) / 2$, as 2 was $(5 - 1) / 2$, and see what happens
# (the grey line is the curve that is rounded, the orange dot is $z = 0$).
#
# 1. *No offset.* The curve runs from -1.5 to 1.5 and never reaches the point where it would round to 2. One level is
#    lost: three are left.
# 2. *Offset.* Take a half off. Now it runs from -2 to 1, and rounds to -2, -1, 0 and 1. But $z = 0$ becomes -0.5, a
#    border between two levels. A network begins near 0, and there a tiny change decides between two codes.
# 3. *Offset and shift.* Add to $z$ beforehand what brings 0 back to 0.
#
# Altogether, for $L$ levels:
#
# $$y = h \tanh(z + s) - o, \qquad h = \tfrac{L - 1}{2}, \qquad
# o = \begin{cases} 1/2 & L \text{ even} \\ 0 & L \text{ odd,} \end{cases} \qquad s = \operatorname{artanh}(o / h).$$

# %% tags=["hide-input"]
x = torch.linspace(-4, 4, 1601)
variants = {  # half, offset, shift
    "5 levels": (2, 0.0, 0.0),
    "4, no offset": (1.5, 0.0, 0.0),
    "4, offset": (1.5, 0.5, 0.0),
    "4, offset and shift": (1.5, 0.5, math.atanh(0.5 / 1.5)),
}
figure, axes = plt.subplots(1, 4, figsize=(9.4, 2.7), sharey=True)
for ax, (name, (half, offset, shift)) in zip(axes, variants.items()):
    y = torch.tanh(x + shift) * half - offset
    print(f"{name:20} levels {y.round().unique().int().tolist()!s:18}", end=" ")
    print(f"0 becomes {math.tanh(shift) * half - offset:.1f}")
    ax.plot(x, y, color="#8a8a8a", linewidth=1.2)
    ax.plot(x, y.round())
    ax.plot(0, math.tanh(shift) * half - offset, "o", color="#d1782c", markersize=5)
    ax.set(title=name, xlabel="z", yticks=range(-2, 3), ylim=(-2.3, 2.3))
axes[0].set_ylabel("rounded")
plt.show()

# %% [markdown]
# `vg`, like many versions in PyTorch, takes $h = 1.001 (L - 1) / 2$. For three levels or more the difference is of no
# consequence: the border of the outermost level lies half a step inside the range. (The paper's listing has 0.999 and a shift by `tan`, which brings 0 only nearly back to 0.) Two levels are
# refused: by the formula above the shift would be infinite, and one of the two levels out of reach.

# %% [markdown] tags=["student"]
# **Your part: `bound`** (easy, 10 minutes). Write the curve $y$ above for a whole vector of numbers at once. `z` is
# `(..., n)`, `levels` a list of n integers, one for each of the last dimension's numbers. Return $y$, of the shape of
# `z`, not yet rounded, with $h = 1.001 (L - 1) / 2$.
#
# <details><summary>Hint 1</summary>
#
# Make a tensor of `levels`: then $h$, $o$ and $s$ are tensors `(n,)`, and broadcasting does the rest.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `torch.where(count % 2 == 0, 0.5, 0.0)` is $o$; `torch.atanh` is artanh.
#
# </details>


# %% tags=["task"]
def bound(z, levels):
    """The curve that is rounded: (..., n) and n numbers of levels -> (..., n)."""
    ### BEGIN SOLUTION
    count = torch.tensor(levels)
    half = 1.001 * (count - 1) / 2
    offset = torch.where(count % 2 == 0, 0.5, 0.0)
    return half * torch.tanh(z + torch.atanh(offset / half)) - offset
    ### END SOLUTION


# %% tags=["grader"]
def check_bound(function):
    z = torch.linspace(-9, 9, 901)[:, None].repeat(1, 3)
    y = function(z, [5, 4, 8])
    if not isinstance(y, torch.Tensor):
        return f"bound returns {type(y).__name__}: is there a return, and of a tensor?"
    if y.shape != z.shape:
        return f"z is {tuple(z.shape)}, your result {tuple(y.shape)}: it should have the same shape"
    for count, curve in zip((5, 4, 8), y.unbind(1)):
        found, middle = curve.round().unique().int().tolist(), float(curve[450])
        wanted = list(range(-(count // 2), (count + 1) // 2))
        if len(found) < count:
            return f"{count} levels: only {found} come out. Is it stretched by half of L - 1?"
        if len(found) > count:
            why = "The half is that of L - 1" if count % 2 else "An even number needs its offset"
            return f"{count} levels: {len(found)} come out, {found}. {why}"
        if found != wanted:
            return f"{count} levels: {found} come out, expected {wanted}. The offset is taken off"
        if abs(middle) > 1e-3:
            return f"{count} levels: 0 comes out at {middle:.2f}, not 0: the shift goes inside tanh"
        vgs = (FSQ((count,))(z[:, :1])[0][:, 0] * (count // 2)).round()
        if (curve.round() != vgs).float().mean() > 0.002:
            return f"{count} levels: the borders are not where vg has them. Is it tanh?"
    return "right: every level comes out, 0 stays at 0, and the borders are those of vg"


print(check_bound(bound))

# %% [markdown]
# How often is each level used? That depends on how widely the encoder spreads its numbers, and nothing in FSQ says how
# widely it should. An encoder is free to find a good width, since a level that is never used is of no help to the decoder. Try
# it: levels, the width (standard deviation) of $z$, and one $z$ that is rounded (orange). At which width is the
# perplexity largest, that is, use most even?

# %%
# NBVAL_IGNORE_OUTPUT
interactive.rounding(levels=5, width=0.8, z=0.4, title="levels and width of z: what rounding does")

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# Narrow, and the outer levels are empty; wide, and the two at the ends take too much. Use is most even a little above 1
# for five levels, and near 1 for sixteen: the best width moves down slowly as levels are added.
#
# </details>
#
# ## A square, a cube, an index
#
# One number with eight levels is 3 bits, too few for a token. So the encoder gives several numbers, and each is rounded
# by itself. Two, with 8 and 6 levels, make a grid on a square: 48 codes. A third with 5 levels makes a grid in a cube:
# 240 codes. Nobody learns where the codes are.
#
# The index is a number whose digits have different bases, like a time of day. The first digit runs fastest:
#
# $$\text{index} = d_0 + L_0\, d_1 + L_0 L_1\, d_2 + \dots$$
#
# In the figure, one step along the first axis changes the index by 1, along the second by 8, along the third by 48. The
# orange code in the cube is 115; the white ones are its six neighbours, one digit changed by one step.

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
cubic = FSQ((8, 6, 5))
grid = cubic.digits(torch.arange(240))
figure = plt.figure(figsize=(9.6, 3.8), layout="none")
square = figure.add_axes([0.06, 0.17, 0.42, 0.7])
square.scatter(*grid[:48, :2].T, s=260, c=range(48), cmap="viridis", vmax=54)
for k in range(48):
    square.text(*grid[k, :2].tolist(), k, ha="center", va="center", color="white", fontsize=8)
square.set(title="a square: 8 x 6 = 48", xlabel="digit 0", ylabel="digit 1", ylim=(-0.6, 5.6))
square.grid(False)
cube = figure.add_axes([0.53, 0.0, 0.46, 0.92], projection="3d", computed_zorder=False)
near = (grid - grid[115]).abs().sum(1)
shade = dict(c=torch.arange(240)[near > 1], cmap="viridis", alpha=0.35)
cube.scatter(*grid[near > 1].T, s=16, depthshade=False, **shade)
for point in grid[near == 1]:
    cube.plot(*torch.stack([grid[115], point]).T.tolist(), color="#333333", linewidth=1)
for chosen, colour in ((grid[near == 1], "white"), (grid[near == 0], "#d1782c")):
    cube.scatter(*chosen.T, s=65, color=colour, edgecolors="#333333", depthshade=False, zorder=3)
cube.set(xlabel="digit 0", ylabel="digit 1", zlabel="digit 2", title="a cube: 8 x 6 x 5 = 240")
cube.set(xticks=range(0, 8, 2), yticks=range(0, 6, 2), zticks=range(5), box_aspect=(8, 6, 5))
cube.view_init(18, -62)
plt.show()

# %% [markdown] tags=["student"]
# **Your part: `quantize`** (medium, 20 minutes). All of FSQ. `z` is `(..., n)`, `levels` a list of n integers. Return
# the codes, `(..., n)`, each in [-1, 1], through which the gradient of `bound` flows as if nothing had been rounded;
# and the indices, `(...)`, int64.
#
# <details><summary>Hint 1</summary>
#
# Straight-through is `y + (y.round() - y).detach()`: forwards the rounded number, backwards the gradient of `y`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# After rounding, numbers run from `-(L // 2)` up. Divided by `L // 2` they are codes; with `L // 2` added, digits.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# What a digit is worth is the product of the levels before it: `torch.cumprod(torch.tensor([1, *levels[:-1]]), 0)`.
# Round the digits again before `.long()`, which cuts off.
#
# </details>


# %% tags=["task"]
def quantize(z, levels):
    """FSQ of (..., n): codes (..., n) with straight-through gradients, and indices (...)."""
    ### BEGIN SOLUTION
    y = bound(z, levels)
    rounded = y + (y.round() - y).detach()
    width = torch.tensor(levels) // 2
    worth = torch.cumprod(torch.tensor([1, *levels[:-1]]), 0)
    digits = rounded.detach().round().long() + width
    return rounded / width, (digits * worth).sum(-1)
    ### END SOLUTION


# %% tags=["grader"]
def check_quantize(function):
    levels = [8, 5, 5, 5]
    z = 1.5 * torch.randn(500, 4, generator=torch.Generator().manual_seed(0))
    z.requires_grad_()
    out = function(z, levels)
    if not isinstance(out, tuple) or len(out) != 2:
        return f"quantize returns {type(out).__name__}: it should be two tensors, codes and indices"
    (codes, indices), (vgs, vgs_indices) = out, FSQ(levels)(z)
    if codes.shape != z.shape or indices.shape != z.shape[:1]:
        return f"{tuple(codes.shape)} and {tuple(indices.shape)}: expected (500, 4) and (500,)"
    if indices.dtype != torch.int64:
        return f"the indices are {indices.dtype}: make whole numbers of them with .round().long()"
    if float(codes.detach().abs().max()) > 1.001:
        return "codes go beyond 1: divide by L // 2"
    if not torch.allclose(codes, vgs, atol=1e-5):
        return "the codes are not those of vg: are they rounded, then divided by L // 2?"
    if int(indices.min()) < 0:
        return f"the smallest index is {int(indices.min())}: digits count from 0, so add L // 2"
    if not torch.equal(indices, vgs_indices):
        same = float((indices == vgs_indices).float().mean())
        return f"{100 * same:.0f} % of the indices are right: the first digit is worth 1, then L_0"
    if not codes.requires_grad:
        return "the codes have no gradient: only the difference to the rounded number is detached"
    ours, theirs = (torch.autograd.grad(c.sum(), z, retain_graph=True)[0] for c in (codes, vgs))
    if not torch.allclose(ours, theirs, atol=1e-5):
        return "values right, gradient wrong: y + (y.round() - y).detach() passes that of y"
    return "right: codes, indices and gradients are those of vg"


print(check_quantize(quantize))

# %% [markdown]
# There is no table of codes anywhere: it is arithmetic, and every index can be taken apart again. But two shortcuts
# that look harmless are not. Digits that come out of float arithmetic are only nearly whole, such as 2.9999998, and
# have to be *rounded*; a plain conversion to an integer cuts off, and gives 2. And 16-bit floats do not hold all
# integers up to 64,000.

# %%
for bits, levels in FSQ_LEVELS.items():  # the published sets
    published = FSQ(levels)
    every = torch.arange(published.size)
    back = torch.equal(published.indices(published.digits(every)), every)
    print(f"2^{bits:<2} {levels!s:19} {published.size:6,} codes, there and back: {back}")
digits = ((published.codes(every) * 0.1 + 0.3) - 0.3) / 0.1 * published.width + published.width
tries = {
    "rounded": published.indices(digits.round().long()),
    "cut off": published.indices(digits.long()),
    "half precision": (digits.round().half() * published.basis.half()).sum(-1).long(),
}
for name, indices in tries.items():
    print(f"{name:16} wrong: {100 * float((indices != every).float().mean()):3.0f} %")

# %% [markdown]
# ## If the grid is fixed, who learns?
#
# A codebook moves its codes to where the vectors are. A grid does not move, so the vectors have to come to it: the
# encoder learns to lay the data out over the grid, and the decoder to take it back. In two dimensions one can watch.
# The data are points on a spiral. A small network makes two numbers of a point, they are quantized, a second network
# draws the point again. Each colour is the region of points with the same code; a white dot is where the decoder puts
# it. First the grid alone, without networks; then FSQ between two trained networks; VQ with k-means at the start and
# restarts; and FSQ with far more codes.


# %%
class Toy(nn.Module):
    """Points (n, 2) -> two numbers -> quantizer -> points."""

    def __init__(self, quantizer, d=64):
        super().__init__()
        self.quantizer = quantizer
        self.encoder, self.decoder = (self.layers(d) for _ in range(2))

    def layers(self, d):
        first, second = (nn.Sequential(nn.Linear(n, d), nn.SiLU()) for n in (2, d))
        return nn.Sequential(first, second, nn.Linear(d, 2))

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


# %%
generator = torch.Generator().manual_seed(0)
turn = 9 * torch.rand(3000, generator=generator).sqrt()
spiral = torch.stack([turn.cos(), turn.sin()], dim=1) * turn[:, None] / 9
spiral = spiral + 0.04 * torch.randn(spiral.shape, generator=generator)
toys = {
    "the grid alone": train_toy(FSQ((5, 5)), 0),
    "FSQ, 5 x 5": train_toy(FSQ((5, 5)), settings.toy_steps),
    "VQ, 25 codes": train_toy(VQ(25, 2), settings.toy_steps),
    "FSQ, 32 x 32": train_toy(FSQ((32, 32)), settings.toy_steps),
}
toys["the grid alone"].encoder = toys["the grid alone"].decoder = nn.Identity()

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
side = torch.linspace(-1.2, 1.2, 240)
plane = torch.stack(torch.meshgrid(side, side, indexing="xy"), dim=-1).view(-1, 2)
shuffled = torch.randperm(1024, generator=torch.Generator().manual_seed(4))
figure, axes = plt.subplots(1, 4, figsize=(10, 2.8))
for ax, (name, model) in zip(axes, toys.items()):
    with torch.no_grad():
        back, indices, _ = model(spiral)
        regions = shuffled[model(plane)[1]].view(240, 240) % 25  # neighbours in other colours
        used = indices.unique()
        dots = model.decoder(model.quantizer.codes(used)).T
    error = float((back - spiral).square().sum(1).mean().sqrt())
    ax.imshow(regions, cmap="Spectral", extent=(-1.2, 1.2, -1.2, 1.2), origin="lower", alpha=0.75)
    ax.scatter(*spiral[::4].T, s=0.6, color="#222222")
    ax.scatter(*dots, s=14, color="white", edgecolors="black", linewidths=0.6)
    ax.set(xticks=[], yticks=[], xlim=(-1.2, 1.2), ylim=(-1.2, 1.2))
    title = f"{name}\n{len(used)} of {model.quantizer.size}, error {error:.3f}"
    ax.set_title(title, fontsize=9)
plt.show()

# %% [markdown]
# Compare the first two pictures: do the regions lie where the points are? Compare the second and the third: which needs
# its encoder less? And the last: are all of its codes used?
#
# <details><summary>What the stored run shows</summary>
#
# Alone, the grid has more than half of its codes where no points are. The trained encoder bends it along the spiral, so
# that few regions are empty. The codebook needs its encoder less: its codes move to the points by themselves. With only 25
# codes, k-means and restarts keep all of them in use, and its error is smaller than that of FSQ with as many. The last grid
# has hundreds of codes where no point ever comes. In FSQ no code can *die*, as a codebook's vector can: nothing of it is
# learned, and the next step may use it. But nothing fills the grid either. A code that the encoder does not aim at is paid
# for and not used.
#
# </details>
#
# ## Usage and perplexity
#
# Two numbers say how well $K$ codes are used. *Usage* is the share that occurs at all. *Perplexity* also asks how
# evenly: with $p_k$ the share of code $k$,
#
# $$\text{entropy } H = -\sum_k p_k \log_2 p_k \text{ bits}, \qquad \text{perplexity} = 2^H.$$
#
# $K$ codes used evenly have perplexity $K$; one code alone has 1. $\log_2 K - H$ bits of each token are wasted.

# %% [markdown] tags=["student"]
# **Your part: `use`** (easy, 10 minutes). `indices` is an integer tensor of any shape, `size` the number of codes. Return
# usage (0 to 1) and perplexity, two floats.
#
# <details><summary>Hint 1</summary>
#
# `torch.bincount(indices.flatten(), minlength=size)` counts every code.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `0 * log2(0)` is NaN in PyTorch and counts as 0: leave out codes that do not occur.
#
# </details>


# %% tags=["task"]
def use(indices, size):
    """Share of ``size`` codes that occur, and the perplexity of their frequencies."""
    ### BEGIN SOLUTION
    share = torch.bincount(indices.flatten(), minlength=size) / indices.numel()
    share = share[share > 0]
    entropy = -(share * share.log2()).sum()
    return len(share) / size, float(2**entropy)
    ### END SOLUTION


# %% tags=["grader"]
def check_use(function):
    half = torch.arange(4).repeat(6).view(2, 12)
    out = function(half, 8)
    if not isinstance(out, (tuple, list)) or len(out) != 2:
        return f"use returns {type(out).__name__}: it should be two numbers, usage and perplexity"
    usage, perplexity = map(float, out)
    if abs(usage - 0.5) > 1e-5:
        return f"4 of 8 codes occur: usage 0.5, you have {usage:.3f}. Divide by size"
    if math.isnan(perplexity):
        return "the perplexity is NaN where codes do not occur: leave them out, 0 log 0 counts as 0"
    if abs(perplexity - 2) < 1e-4:
        return "that is the entropy, 2 bits; the perplexity is 2 to the power of it"
    if abs(perplexity - 4) > 1e-3:
        return f"4 codes used evenly: perplexity 4, not {perplexity:.3f}. log2 goes with 2**"
    skewed = torch.tensor([0, 0, 0, 0, 1, 1, 2, 3])
    if abs(float(function(skewed, 4)[1]) - evaluation.perplexity(skewed, 4)) > 1e-3:
        return "right for even use, not for shares 1/2, 1/4, 1/8, 1/8: weight each log by its share"
    return "right: usage and perplexity are those of vg"


print(check_use(use))

# %% [markdown]
# ## One autoencoder, two quantizers
#
# `vg.models.VideoAutoencoder` of notebook 03, with either quantizer in the middle:
#
# ```
# (B, 1, 16, 64, 64)  clip
#       |  patches 1x2x2, then two strided causal Conv3D stages and blocks     encoder
# (B, 4, 8, 8, 192)   features: one vector for each 4x8x8 pixels
#       |  VQ: Linear to 16                FSQ: small MLP to 4
#       |  nearest of 1,024 vectors        bound, round: levels (8, 5, 5, 5)
# (B, 4, 8, 8)        256 tokens: 10 bits each, or log2(1000) = 9.97
#       |  VQ: Linear from 16              FSQ: small MLP from 4
# (B, 4, 8, 8, 192)
#       |  blocks, two Up stages, Conv3d to pixels                             decoder
# (B, 1, 16, 64, 64)  reconstruction
# ```
#
# The MLP on either side of the rounding is FSQ's replacement for a learned codebook: to lay data out over a grid that
# does not move, the networks have to bend, and a single Linear layer cannot. FSQ asks for no loss of its own, so one
# loss function trains both: the root of each clip's mean squared error, and what the quantizer asks for.

# %%
# NBVAL_IGNORE_OUTPUT
pair = {
    "VQ": VideoConfig(quantizer=QuantizerConfig("vq", 1024)),
    "FSQ": VideoConfig(quantizer=QuantizerConfig("fsq", levels=FSQ_LEVELS[10])),
}
for name, config in pair.items():
    torch.manual_seed(0)
    model = VideoAutoencoder(config).eval()
    around = sum(p.numel() for p in [*model.to_code.parameters(), *model.from_code.parameters()])
    stored = sum(value.numel() for value in model.quantizer.state_dict().values())
    print(f"{name:4} bits of 16 frames: {model.raw_bits((16, 64, 64)):.0f}; weights:", end=" ")
    print(f"{around:,} around the quantizer, {stored:,} in it")
    first, grey = tokenizer_loss(model, few).detach(), few.square().flatten(1).mean(1).sqrt()
    print(f"     first loss {float(first):.3f}; of a plain grey picture {float(grey.mean()):.3f}")

# %% [markdown]
# An untrained decoder draws noise on grey, so the first loss lies above that of plain grey, in the stored run less than twice as high.
# It is a check that costs nothing: a first loss of many times as much means pictures in another range, or a layer that
# starts too large.
#
# Now train three, small: same steps, same batches in the same order. The VQ has to get a fair chance. One of its dead
# codes is moved when its running count has fallen to a tenth of the average; at a decay of 0.95 that takes some 45 steps
# ($0.95^{45} \approx 0.1$), so restarts have time to work in a short run. Beside it stand FSQ with 1,000 and FSQ with
# 15,360 codes. The curves show which share of all codes occurred in the last 20 batches.


# %%
def train(quantizer):
    """A small autoencoder with this quantizer, and the codes it uses watched while it trains."""
    torch.manual_seed(0)
    model = VideoAutoencoder(VideoConfig(width=settings.width, quantizer=quantizer)).to(device())
    recent, size = deque(maxlen=20), model.quantizer.size

    def remember(module, given, out):
        if module.training:
            recent.append(out[1].detach().cpu())

    def evaluate(model):
        usage, perplexity = use(torch.cat(list(recent)), size)
        made = reconstruct(model, few).clamp(-1, 1)
        quality = float(evaluation.psnr(made, few).mean())
        return {"PSNR": quality, "usage": usage, "perplexity": perplexity}

    model.quantizer.register_forward_hook(remember)
    draw = tokenizer_batches(Clips(store, train_shots, frames=16), settings.batch)
    steps = settings.steps
    recipe = Recipe(steps, lr=2e-3, muon=2e-2, warmup=min(20, steps), grad_clip=5.0, ema=0.0)
    return fit(model, tokenizer_loss, draw, recipe, evaluate=evaluate, every=max(2, steps // 10))


# %%
# NBVAL_IGNORE_OUTPUT
small = {
    "VQ, 1,024": train(QuantizerConfig("vq", 1024, decay=0.95)),
    "FSQ, 1,000": train(QuantizerConfig("fsq", levels=FSQ_LEVELS[10])),
    "FSQ, 15,360": train(QuantizerConfig("fsq", levels=FSQ_LEVELS[14])),
}
keys = ("PSNR", "usage", "perplexity")
rows = {name: [run.history[key][-1][1] for key in keys] for name, run in small.items()}
table(rows, ["PSNR dB", "usage", "perplexity"], first=16)
show.curves({name: run.history["usage"] for name, run in small.items()}, "codes in use", y="share")

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# VQ and FSQ start from opposite ends. A new encoder writes numbers near 0, so FSQ begins in the middle of its grid and
# spreads as the encoder learns to use the rest. The codebook starts on k-means of the first batch, and loses most of
# its codes before the first point of the curve, as the encoder moves away from them. Then restarts bring them back into
# use, with one setback, in the end all of them. Of 15,360 codes a fifth occurs, although 20 batches hold more tokens than
# there are codes. Quality after so few steps, and from one seed, says nothing about which is better; the
# shipped pair, below, trained for many times as many.
#
# </details>
#
# The paper (Mentzer et al., 2023, figure 3) compares the two at more and more codes, on ImageNet: FSQ makes use of large
# codebooks, a VQ less and less. The comparison below is at a small one, and its VQ has restarts.
#
# ## Three tokenizers that had more time
#
# The course ships `video-vqvae-64` and `video-fsqvae-64`: same networks (but for FSQ's MLPs), batches, steps and seed.
# Beside them stands `tubelet-fsq-64` of notebook 05, which the transformer will use: FSQ too, with other tubelets, other
# networks, more steps and about three times the bits (notebook 05 counts them).
# First their cards (whose figures are of the test shots alone), then held-out clips as they are and as the three draw
# them; then the clip that moves most, with errors: black is none, bright a quarter of the range from black to white.

# %%
# NBVAL_IGNORE_OUTPUT
names = ("video-vqvae-64", "video-fsqvae-64", "tubelet-fsq-64")
shipped = {name: checkpoints.load(name, device=device()) for name in names}
display(*(show.card(name) for name in names))
rebuilt = {name: reconstruct(model, truth).clamp(-1, 1) for name, model in shipped.items()}
tiles = {}
for k in sorted({len(truth) // 3, 2 * len(truth) // 3}):
    tiles[f"original {k}"] = truth[k]
    tiles |= {f"{name[:-3]} {k}": made[k] for name, made in rebuilt.items()}
display(show.player(tiles, fps=store.fps, columns=4, scale=3))
rows = {"original": truth[fastest]} | {name: made[fastest] for name, made in rebuilt.items()}
show.compare(rows, every=2, scale=1, against="original")

# %% [markdown]
# Now numbers, shot by shot. Clips of one shot are alike, so they are not independent measurements; the shots are nearer
# to that. Two baselines need no tokens: the *mean frame* knows each clip's average picture exactly, and no motion; the
# *nearest training clip* is what remembering alone would give. The latter also tests the split: the film shows some
# sets again, so a held-out shot can have a near twin among the training shots, and there a tokenizer is on known
# ground. In the table the second and the fifth shot are the test shots, which the cards' figures are
# of; all three tokenizers reconstruct them best.
#
# Below the table: paired differences. Each shot gives one; the interval is the mean of them, plus or minus $t \cdot
# s / \sqrt{n}$ (95 %).


# %%
# NBVAL_IGNORE_OUTPUT
bank = Clips(store, train_shots, frames=16, stride=4)
videos = {
    "nearest": evaluation.nearest_clip(truth, bank),
    "mean frame": evaluation.mean_frame(truth),
    "VQ": rebuilt["video-vqvae-64"],
    "FSQ": rebuilt["video-fsqvae-64"],
    "tubelets": rebuilt["tubelet-fsq-64"],
}
quality = {name: evaluation.psnr(video, truth) for name, video in videos.items()}  # (B,)
shot_of = shot_numbers(validation, val_shots)
present = shot_of.unique().tolist()
by_shot = {name: torch.stack([dB[shot_of == k].mean() for k in present])
           for name, dB in quality.items()}  # fmt: skip
rows = {f"shot from frame {val_shots[k][0]}": [float(v[n]) for v in by_shot.values()]
        for n, k in enumerate(present)}  # fmt: skip
table(rows | {"all clips": [float(dB.mean()) for dB in quality.values()]}, list(quality))
T95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36}  # Student's t
for one, other in (("FSQ", "VQ"), ("tubelets", "mean frame"), ("FSQ", "mean frame")):
    paired, n = by_shot[one] - by_shot[other], len(present)
    clips = int((quality[one] > quality[other]).sum())
    spread = T95.get(n, math.nan) * float(paired.std(correction=min(1, n - 1))) / n**0.5
    print(f"{one} less {other}: {float(paired.mean()):+.2f} +- {spread:.2f} dB by shot", end="; ")
    print(f"ahead on {clips} of {len(truth)} clips, {int((paired > 0).sum())}/{n} shots")

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# At equal bits and steps the codebook is ahead of FSQ on most clips, by a small fraction of a decibel. The interval
# over shots just includes zero, so on this film the two cannot be told apart. And it is one seed each: the interval
# says nothing about what another training run would give. FSQ comes this close with none of the machinery: no k-means,
# no running averages, no restarts, no loss of its own.
#
# The tubelets, with three times the bits, are ahead of the mean frame in every shot and on all but a few clips. The interval over shots is above zero, but wide: the
# lead is small in some shots and large in others. FSQ of the pair is behind the mean frame in all shots but one, by more
# than a decibel on average, and yet that interval includes zero: in the shot from frame 1060 it is ahead by even more. How
# much of the tubelets' lead over the pair is due to bits, how much to networks and steps, this table cannot say.
#
# *Nearest* is far below the mean frame in every shot, so none has a near twin in training. The shot that it comes closest to
# is not drawn best.
#
# </details>
#
# Here is the use of the codes over the whole film: `use` from above, the bits that a token carries if its frequencies
# are known (entropy), and how often each code occurs. It is about the pair: a token of `tubelet-fsq-64` has far more codes
# than the film has tokens, and is counted by its digits (notebook 05). The dotted line is even use.


# %%
# NBVAL_IGNORE_OUTPUT
@torch.no_grad()
def tokens_of(model):
    """The tokens of all shots, in one row (n,) on the CPU."""
    where, span, found = next(model.parameters()).device, model.tubelet[0], []
    for start, stop in store.shots:
        video = store.clip(start, start + (stop - start) // span * span)
        past = {}  # the state of every layer: a stream
        for piece in video.split(16 * span, dim=2):
            found.append(model.encode(piece.to(where), past).flatten().cpu())
    return torch.cat(found)


film_tokens, rows = {name: tokens_of(shipped[name]) for name in names[:2]}, {}
for name, tokens in film_tokens.items():
    size = shipped[name].quantizer.size
    usage, perplexity = use(tokens, size)
    rows[name] = [size, 100 * usage, perplexity, math.log2(perplexity), math.log2(size)]
table(rows, ["codes", "usage %", "perplexity", "entropy", "bits paid"], first=18)

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
figure, ranked = plt.subplots(figsize=(7, 2.9))
for name in film_tokens:
    counts = torch.bincount(film_tokens[name]).sort(descending=True).values
    ranked.plot(100 * counts[counts > 0] / len(film_tokens[name]), label=name)
ranked.axhline(100 / 1024, color="#8a8a8a", linestyle=":")
ranked.set(yscale="log", xlabel="code, the most frequent first", ylabel="share of all tokens")
ranked.yaxis.set_major_formatter("{x:g} %")
ranked.legend()
plt.show()

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# Nearly every code of the pair occurs in the film. The codebook is used more evenly than the grid of its size, so FSQ
# wastes more of the bits that are paid for: the entropy of its tokens is further below $\log_2 K$.
#
# </details>
#
# ## Codes have neighbours
#
# In a codebook the index is a name: code 511 and code 512 have nothing to do with each other. In a grid it is a place:
# each digit is a scale. Is a small step on it also a small step in the picture?
#
# Look first. In the clip that moves most, take the token whose tubelet is busiest, and replace it, and nothing else. One
# row for each digit, which goes through all its levels; last, the codebook's indices around the VQ's own. Each picture
# is cut out around the tubelet, in the third of its four frames. A star marks what the encoder chose.


# %%
# NBVAL_IGNORE_OUTPUT
@torch.no_grad()
def swapped(model, tokens, place, new):
    """The clip with tokens (1, t, h, w), decoded once for each of ``new`` (n,) at ``place``."""
    many = tokens.repeat(len(new), 1, 1, 1)
    many[(slice(None), *place)] = new.to(tokens)
    return model.decode(many).cpu()


def along_digit(model, index, digit):
    """The codes that differ from ``index`` in one digit, and it itself, in order: (levels,)."""
    digits = model.quantizer.digits(index).repeat(model.levels[digit], 1)
    digits[:, digit] = torch.arange(model.levels[digit])
    return model.quantizer.indices(digits)


vq, fsq = shipped["video-vqvae-64"].cpu(), shipped["video-fsqvae-64"].cpu()
clip = truth[fastest : fastest + 1]
change = (clip[0, :, 5:8] - clip[0, :, 4:7]).abs().mean((0, 1))
change = F.avg_pool2d(change[None, None], 8)[0, 0, 1:7, 1:7]
place = (1, *(int(n) + 1 for n in divmod(int(change.argmax()), 6)))
top, left = (8 * n - 8 for n in place[1:])
choices = {f"d{k}=": (fsq, lambda token, k=k: along_digit(fsq, token, k)) for k in range(4)}
choices["VQ "] = (vq, lambda token: (token - 3 + torch.arange(8)) % 1024)
pictures, labels = [], []
for name, (model, choose) in choices.items():
    tokens = model.encode(clip)
    new = choose(tokens[0][place])
    crops = swapped(model, tokens, place, new)[:, :, 6, top : top + 24, left : left + 24]
    pictures += [crops, torch.ones(8 - len(new), *crops.shape[1:])]
    words = new.tolist() if model is vq else range(len(new))
    stars = ["*" * bool(k == tokens[0][place]) for k in new]
    labels += [f"{name}{word}{star}" for word, star in zip(words, stars)] + [""] * (8 - len(new))
show.grid(torch.cat(pictures), columns=8, scale=4, labels=labels)

# %% [markdown]
# Now measure. Many clips, one token each in the middle of the picture, replaced. By how many grey levels does the
# picture of its own tubelet change? For FSQ: one step of a digit (the mean over the digits), and any other code. For VQ:
# the next index, the nearest vector of the codebook, and any other code.


# %%
# NBVAL_IGNORE_OUTPUT
@torch.no_grad()
def poke(model, tokens, new, place=(2, 4, 4)):
    """Mean change of the token's tubelet, grey levels, when tokens at ``place`` become ``new``."""
    changed = tokens.clone()
    changed[(slice(None), *place)] = new
    t, h, w = (slice(n * m, n * m + m) for n, m in zip(place, model.tubelet))
    return float(127.5 * (model.decode(changed) - model.decode(tokens))[:, :, t, h, w].abs().mean())


def stepped(index, digit):
    """FSQ's codes (B,) with one digit a step up, or down where there is no room above."""
    digits = fsq.quantizer.digits(index)
    up = digits[:, digit] + 1 < fsq.levels[digit]
    digits[:, digit] += torch.where(up, 1, -1)
    return fsq.quantizer.indices(digits)


some = truth[:: max(1, len(truth) // 24)]
with torch.no_grad():
    fsq_tokens, vq_tokens = fsq.encode(some), vq.encode(some)
mine, yours = fsq_tokens[:, 2, 4, 4], vq_tokens[:, 2, 4, 4]
apart = torch.cdist(vq.quantizer.codebook[yours], vq.quantizer.codebook)  # (B, K)
nearest = apart.topk(2, largest=False).indices[:, 1]
step = torch.randint(1, 1000, mine.shape, generator=torch.Generator().manual_seed(0))
steps = [poke(fsq, fsq_tokens, stepped(mine, k)) for k in range(4)]
changes = {
    "FSQ, one step of a digit": sum(steps) / 4,
    "FSQ, any other code": poke(fsq, fsq_tokens, (mine + step) % 1000),
    "VQ, nearest vector": poke(vq, vq_tokens, nearest),
    "VQ, next index": poke(vq, vq_tokens, (yours + 1) % 1024),
    "VQ, any other code": poke(vq, vq_tokens, (yours + step) % 1024),
}
show.bars(changes, "change of the tubelet when its token is replaced", unit="grey levels")

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# The picture is one token of one clip. Along each digit it changes step by step. Around the VQ's own index most pictures
# happen to look alike here too, but those of 560 and 563 do not, and the order of the indices tells nothing of it. So the
# bars average over many clips, and there one step of a digit changes the picture far less than another code does. A codebook has neighbours too, in the space
# of its vectors, but its indices do not show them: the next index changes the picture about as much as any other.
#
# </details>
#
# With FSQ the digits *are* the neighbourhood. The transformer of notebook 07 uses that: it embeds digits, not codes, so
# that codes that share digits start out alike, and it predicts one digit at a time.
#
# What real video codecs do at so few bits, and what the tokens cost with a prior, is in `RESULTS.md`.
#
# ## An exercise
#
# It has a check that says what is off. The solution is folded below.
#
# **Symmetric levels** (medium, 15 minutes). With four levels FSQ's codes are -1, -0.5, 0 and 0.5. Write
# `symmetric(z, count)`: codes spread evenly from -1 to 1, ends included; four levels then are -1, -1/3, 1/3, 1. Squash
# with `tanh`, pass its gradient straight through, and round with `torch.floor(x + 0.5)`, since `torch.round` rounds
# halves to even numbers. It needs neither offset nor shift (Parker et al., 2024).


# %%
def symmetric(z, count):
    return None  # your turn


def check_symmetric(function):
    z = torch.tensor([-9.0, -0.5, -0.2, 0.2, 0.5, 9.0]).requires_grad_()
    codes = function(z, 4)
    if codes is None:
        return "not yet: symmetric returns None"
    got = [round(v, 2) for v in codes.tolist()]
    if got == [-1, -0.5, 0, 0, 0.5, 0.5]:
        return "these are FSQ's own codes, lopsided for an even number of levels"
    if got != [-1, -0.33, -0.33, 0.33, 0.33, 1]:
        return f"four levels: expected [-1, -0.33, -0.33, 0.33, 0.33, 1], got {got}"
    five = function(torch.tensor([-9.0, -0.6, 0.0, 0.1, 0.6, 9.0]), 5).tolist()
    if [round(v, 2) for v in five] != [-1, -0.5, 0, 0, 0.5, 1]:
        return f"right for four levels, wrong for five: got {five}"
    gradient = torch.zeros(6)
    if codes.requires_grad:
        (gradient,) = torch.autograd.grad(codes.sum(), z)
    if not gradient.any():
        return "right values, but no gradient: add (rounded - smooth).detach() to the smooth curve"
    off = float((gradient - 1 / torch.cosh(z.detach()).square()).abs().max())
    return "right" if off < 1e-4 else f"right values; the gradient is off by {off:.3f} from tanh's"


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
# With an even number of levels `z = 0` lies on a border again. One cannot have both: symmetric codes, and a code for 0.
#
# </details>
#
# ## Summary
#
# - FSQ squashes a few numbers and rounds each. The codes are a grid, the index is a number with mixed bases, and the
#   quantizer has nothing to learn, hold or restart.
# - `tanh` keeps a gradient where a clamp has none, but in float32 only up to about 9. An even number of levels needs an
#   offset to have all its levels, and a shift to keep 0 in the middle of one.
# - Round before you make an integer of a digit, and never in half precision.
# - No code of a grid can die, but codes that the encoder never aims at are paid for: measure usage and perplexity.
# - Compare by shot, paired, with an interval. At equal bits the two quantizers here are close.
# - A digit is a scale: a step on it is a small change. An index of a codebook is a name.
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
#   arXiv:2411.19842.
