# %% [markdown]
# # 02 VQ-VAE and VQ-VAE-2
#
# The VAE of notebook 01 describes an image by real numbers. Here an image becomes 64 *integers*, each one of 512: words
# of a vocabulary that the network makes up by itself. Integers can be counted, stored exactly, and predicted one after
# another by the same transformer that later writes video.
#
# **After this notebook you will be able to**
# - quantize vectors by hand, and say how a gradient gets past a step that has none;
# - keep a codebook by a loss and by running averages, and say why the second is k-means;
# - see a codebook collapse, measure it (usage, perplexity), and cure it;
# - train a VQ-VAE, and judge one beside PCA, JPEG and WebP at the same number of bits;
# - build VQ-VAE-2's two levels, and find out what each of them holds;
# - draw new images, class by class, from a transformer over the integers.
#
# **You need** Python, a little PyTorch, and the idea of an autoencoder from notebook 01. The notebook runs alone.
#
# **Minutes:** about 8 on a two-core laptop, 6 of them training; a few with a GPU.
#
# **Before:** [01 VAE](01_vae.ipynb). **Next:** [03 Conv3D VQ-VAE](03_video_vq_vae.ipynb).

# %%
# NBVAL_IGNORE_OUTPUT
import io
import math
import pprint
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from IPython.display import display
from PIL import Image
from torch import nn

from vg import checkpoints, evaluation, sampling, show
from vg.data import ImageSet, cifar10
from vg.evaluation.images import encode_images
from vg.experiments.batches import image_batches
from vg.experiments.losses import image_tokenizer_loss, prior_loss
from vg.models import FSQ, VQ, VQVAE, VQVAE2, Prior, PriorConfig, Quantized, VQVAE2Config, VQVAEConfig
from vg.profiles import device, profile
from vg.show import interactive
from vg.training import Recipe, fit

show.style()
COLOURS = plt.rcParams["axes.prop_cycle"].by_key()["color"]
images = cifar10()
print(f"profile {profile().name}, device {device()}")
print(images.describe())

# %% [markdown]
# CIFAR-10: colour photographs of 32x32 pixels in ten classes. (Without a network the course draws small pictures of
# its own, in ten classes too; the line above says which you have.) Training sees `images.train` and nothing else.
# `truth` is a part of `images.test`, `(B, C, H, W)` in [-1, 1], and every number below is measured on it.

# %%
# NBVAL_IGNORE_OUTPUT
amount = profile().pick(smoke=64, laptop=1024, gpu=1024)  # their order is mixed: the first are a fair sample
truth, labels = images.test.take(range(amount)), images.test.labels[:amount]
print(f"{len(images.train)} images to train on; {len(truth)} of {len(images.test)} test images in truth")
show.grid(truth[:16], columns=8, scale=2, labels=[images.classes[k] for k in labels[:16].tolist()])

# %% [markdown]
# ## Quantizing by hand
#
# Begin in the plane. There are 240 points, and a *codebook* of six vectors, the *codes*. To quantize a point is to
# replace it by the nearest code. What is kept of it is one integer, the number of that code.
#
# By hand it is two loops: for each point, for each code, a squared distance; the smallest wins. Without loops, `|z -
# e|^2 = |z|^2 - 2 z.e + |e|^2`. The first term is the same for every code, so it cannot change which one is nearest.
# What is left is one matrix product for all points and all codes.
#
# Every place of the plane belongs to the code that is nearest to it. So a codebook cuts space into *cells* with
# straight borders (a Voronoi diagram). In the picture a dot is a point, a cross a code, a thin line the error that
# quantizing makes.

# %%
generator = torch.Generator().manual_seed(1)
centres = torch.tensor([[-1.6, 0.8], [0.2, 1.4], [1.5, -0.2], [-0.6, -1.2]])
points = centres[torch.randint(4, (240,), generator=generator)] + 0.45 * torch.randn(240, 2, generator=generator)
codebook = points[torch.randperm(240, generator=generator)[:6]].clone()  # six of the points, to begin with

by_hand = []
for z in points:
    distances = [float(((z - e) ** 2).sum()) for e in codebook]
    by_hand.append(distances.index(min(distances)))
by_hand = torch.tensor(by_hand)
print("points", tuple(points.shape), "codebook", tuple(codebook.shape), "-> integers", tuple(by_hand.shape))
print("bits of one integer:", round(math.log2(len(codebook)), 2))


def nearest(z, codebook):
    """The number of the nearest code of each vector: z (..., D), codebook (K, D) -> (...) int64."""
    return (codebook.square().sum(-1) - 2 * z @ codebook.T).argmin(-1)


print("the matrix form agrees with the loops:", torch.equal(nearest(points, codebook), by_hand))


# %%
# NBVAL_IGNORE_OUTPUT
def draw_cells(ax, codebook, reach=3.0):
    """Colour the plane by nearest code, and mark the codes."""
    side = torch.linspace(-reach, reach, 300)
    plane = torch.stack(torch.meshgrid(side, side, indexing="xy"), dim=-1)  # (300, 300, 2)
    cells = nearest(plane, codebook)
    palette = plt.matplotlib.colors.ListedColormap(COLOURS[: len(codebook)])
    ax.imshow(
        cells, extent=(-reach, reach) * 2, origin="lower", cmap=palette, alpha=0.22, vmax=len(codebook) - 1, vmin=0
    )
    ax.scatter(*codebook.T, marker="x", s=60, color="black", linewidths=2, zorder=6)
    ax.set(aspect="equal", xlim=(-reach, reach), ylim=(-reach, reach))
    ax.grid(False)


figure, ax = plt.subplots(figsize=(4.6, 4.4))
draw_cells(ax, codebook)
for z, e in zip(points, codebook[by_hand]):
    ax.plot(*torch.stack([z, e]).T, color="#555555", linewidth=0.4)
ax.scatter(*points.T, s=9, color=[COLOURS[k] for k in by_hand], zorder=3)
ax.set_title("points, codes, cells")
plt.show()

# %% [markdown]
# ## A gradient past a step that has none
#
# In a VQ-VAE an encoder makes the points and a decoder reads the codes. Move a point a little: its code stays the same,
# so what the decoder draws stays the same. The derivative is 0, and where a point crosses a border there is none. The
# encoder would learn nothing.
#
# The *straight-through estimator* (Bengio et al., 2013) is a plain lie that works: forwards the code, backwards as if
# nothing had been there. In PyTorch it is `z + (code - z).detach()`. The value is the code. What is in `detach` counts
# as a constant, so the derivative with respect to `z` is 1.

# %%
wish = torch.tensor([0.3, 0.1])  # say that the decoder would like all codes to lie nearer to this place


def loss_of(q):
    return 0.5 * (q - wish).square().sum()


z_e = points.clone().requires_grad_()
code = codebook[nearest(z_e, codebook)]
print("a gradient through the plain look-up:", code.requires_grad)
through = z_e + (code - z_e).detach()
loss_of(through).backward()
print("forwards it is the code:             ", torch.allclose(through, code, atol=1e-6))
print("backwards it is the code's gradient: ", torch.allclose(z_e.grad, code - wish, atol=1e-6))

# %% [markdown]
# Drawn as arrows, downhill. Left: what the decoder wants, at each code (the star is its wish). Right: what the points
# are told. All points of a cell get the same arrow, their code's, copied. The grey arrows are what they would be told
# if nothing were quantized. Where is the copy good, and where is it poor? The line below measures the angle between
# the two, for the half of the points nearest to their code and for the other half.

# %%
# NBVAL_IGNORE_OUTPUT
figure, axes = plt.subplots(1, 2, figsize=(9, 4.4))
arrows = dict(angles="xy", scale_units="xy", scale=3, width=0.004, zorder=5)
for ax in axes:
    draw_cells(ax, codebook)
    ax.scatter(*wish, marker="*", s=120, color="black", zorder=6)
axes[0].quiver(*codebook.T, *(wish - codebook).T, **arrows | {"width": 0.008})
axes[0].set_title("at the codes")
some = slice(None, None, 2)  # every second point, for the eye
axes[1].quiver(*points[some].T, *(wish - points)[some].T, color="#b0b0b0", **arrows)
axes[1].quiver(*points[some].T, *-z_e.grad[some].T, color=[COLOURS[k] for k in by_hand[some]], **arrows)
axes[1].set_title("copied to the points")
plt.show()

angle = torch.rad2deg(torch.acos(F.cosine_similarity(wish - points, -z_e.grad).clamp(-1, 1)))
distance = (points - code.detach()).norm(dim=1)
near = distance <= distance.median()
print(f"between copy and truth: {angle[near].mean():.0f} degrees near the code, {angle[~near].mean():.0f} far from it")

# %% [markdown]
# Move the codes yourself: drag a cross, or the star (or choose one with the Tab key and use the arrow keys). Cells, errors
# and copied gradients follow; no kernel is needed. Can you find a place where a code loses all its points? What do the
# gradients then say about it?

# %%
# NBVAL_IGNORE_OUTPUT
interactive.codebook(points, codebook, wish, title="points, and codes to drag: cells and copied gradients follow")

# %% [markdown]
# The copy is as good as the code is near. So points should stay close to their codes, and the codes should go where the
# points are. Both have to be asked for.
#
# ## Two losses, and whom they move
#
# The decoder's gradient passes the codebook by: it goes straight through to the encoder. So VQ-VAE (van den Oord et
# al., 2017, equation 3) adds two terms. They are the same number, with the `detach` on different sides:
#
#     codebook loss     |stop(z) - e|^2        moves the codes to the points
#     commitment loss   |z - stop(e)|^2        moves the points to their codes, times 0.25
#
# Which way does the first push a code? Its gradient is `2 n/N (e - mean)`, where `n` of the `N` points are the code's
# own and `mean` is their mean. So the goal is the mean of the cell. Why not go there at once? Replace every code by
# the mean of its points, find the nearest codes again, and repeat: that is *k-means* (Lloyd, 1957), in the picture.

# %%
vectors, e = points.clone().requires_grad_(), codebook.clone().requires_grad_()
code = e[nearest(vectors, e)]
codebook_loss = (vectors.detach() - code).square().sum(-1).mean()
commitment_loss = (vectors - code.detach()).square().sum(-1).mean()
print("the same number:", torch.equal(codebook_loss, commitment_loss))
moved = [torch.autograd.grad(loss, (vectors, e), allow_unused=True) for loss in (codebook_loss, commitment_loss)]
for name, (to_points, to_codes) in zip(("codebook loss", "commitment loss"), moved):
    print(f"{name:16} moves points: {to_points is not None!s:6} moves codes: {to_codes is not None}")

N, K = len(points), len(codebook)
hits = F.one_hot(by_hand, K).float()  # (N, K): who belongs to whom
counts, sums = hits.sum(0), hits.T @ points  # (K,), (K, D)
formula = 2 * counts[:, None] / N * (codebook - sums / counts[:, None])
print("the gradient points away from the mean of the cell:", torch.allclose(moved[0][1], formula, atol=1e-5))


# %%
# NBVAL_IGNORE_OUTPUT
def lloyd(points, codebook):
    """One step of k-means; a code without points stays where it is."""
    hits = F.one_hot(nearest(points, codebook), len(codebook)).float()
    return torch.where(hits.sum(0)[:, None] > 0, hits.T @ points / hits.sum(0).clamp(min=1)[:, None], codebook)


figure, axes = plt.subplots(1, 4, figsize=(11, 3), sharey=True)
places, moving = dict(zip((0, 1, 3, 10), axes)), codebook
for step in range(11):
    if step in places:
        draw_cells(places[step], moving)
        places[step].scatter(*points.T, s=3, color="#555555")
        error = (points - moving[nearest(points, moving)]).square().sum(-1).mean()
        places[step].set_title(f"after {step} steps, error {error:.3f}")
    moving = lloyd(points, moving)
plt.show()

# %% [markdown]
# ## Running averages
#
# In training there is no "all points": a batch is a small part of them, and the encoder moves them from step to step.
# So VQ-VAE's appendix A.1 keeps *running averages* (EMA) of each code's counts and sums, and puts the code at their
# quotient. With `decay` 0 that is one step of k-means on the batch; with 0.99 it is k-means with a memory of about a
# hundred batches. No gradient moves the codes then, and the codebook loss is dropped. Commitment stays.
#
# The whole class follows. Adding a tiny number to every count (Laplace smoothing) keeps a code without points from
# dividing by zero.
#
# `vg.models.VQ` is the same with more care (half precision, several processes, errors that say what is wrong), and with
# two cures that come below. Both are switched off here, for the comparison: 30 steps on the same batches, after which
# everything has to agree.


# %%
class Codebook(nn.Module):
    """Vector quantization with running averages: z (..., D) -> codes (..., D), indices (...)."""

    def __init__(self, size, channels, decay=0.99):
        super().__init__()
        self.size, self.channels, self.decay = size, channels, decay
        start = torch.empty(size, channels).uniform_(-1 / size, 1 / size)
        for name, value in dict(codebook=start, sums=start.clone(), counts=torch.ones(size)).items():
            self.register_buffer(name, value)  # buffers: saved with the model, but no optimizer moves them

    def forward(self, z):
        indices = nearest(z.detach(), self.codebook)
        codes = self.codebook[indices]
        if self.training:
            self.follow(z.detach().flatten(0, -2), indices.flatten())
        return z + (codes - z).detach(), indices

    @torch.no_grad()
    def follow(self, z, indices):
        hits = F.one_hot(indices, self.size).float()
        self.counts.lerp_(hits.sum(0), 1 - self.decay)
        self.sums.lerp_(hits.T @ z, 1 - self.decay)
        total = self.counts.sum()
        smooth = (self.counts + 1e-5) / (total + self.size * 1e-5) * total
        self.codebook.copy_(self.sums / smooth[:, None])

    def loss(self, z, codes, indices):
        return 0.25 * F.mse_loss(z, codes.detach())


# %%
torch.manual_seed(0)
ours, theirs = Codebook(32, 8), VQ(32, 8, data_init=False, restart=False)
theirs.load_state_dict(ours.state_dict(), strict=False)  # the same start
same_codes = same_indices = same_loss = True
for _ in range(30):
    z = 0.3 * torch.randn(4, 64, 8)
    (codes, indices), (vg_codes, vg_indices) = ours(z), theirs(z)
    same_codes &= torch.allclose(codes, vg_codes, atol=1e-5)
    same_indices &= torch.equal(indices, vg_indices)
    same_loss &= torch.allclose(ours.loss(z, codes, indices), theirs.loss(z, vg_codes, vg_indices), atol=1e-5)
print("codes agree:   ", same_codes)
print("indices agree: ", same_indices)
print("losses agree:  ", same_loss)
print("codebook, counts and sums after 30 steps:", all(
    torch.allclose(getattr(ours, name), getattr(theirs, name), atol=1e-4) for name in ("codebook", "counts", "sums")
))  # fmt: skip

# %% [markdown]
# ## Averages against the loss
#
# Which is better, the loss or the averages? Take the network away and ask the codebook alone. Cut the images into
# patches of 4x4 pixels, 48 numbers each, and quantize the *pixels*: 64 integers an image, with 512 codes 9 bits each.
# Nothing else is trained, so only the codebook can make a difference. On the axis: PSNR on test images, `10 log10(4 /
# mean squared error)` for values in [-1, 1]; 1 dB more is a fifth less squared error.
#
# All runs start from the same k-means of one batch. The points stand still here, so a memory of ten batches (`decay`
# 0.9) is enough. The loss needs an optimizer, here Adam, and a learning rate; two are tried. Then the same again with
# all numbers 20 times as large, as another encoder might hand them over. Which curves move?


# %%
def cut(x, p=4):
    """(B, C, H, W) -> (B, H / p, W / p, C * p * p)."""
    return rearrange(x, "b c (h p) (w q) -> b h w (c p q)", p=p, q=p)


def paste(x, p=4):
    return rearrange(x, "b h w (c p q) -> b c (h p) (w q)", p=p, q=p)


def train_codebook(quantizer, vectors, steps, lr=None, batch=64, scale=1.0):
    """Let a quantizer learn from ``scale * vectors(images)``; ``lr`` is Adam's, for the codebook loss alone."""
    generator, curve = torch.Generator().manual_seed(0), []
    optimizer = torch.optim.Adam(quantizer.parameters(), lr=lr) if lr else None
    seen = scale * vectors(truth[:200])
    for step in range(steps):
        z = scale * vectors(images.train.sample(batch, generator)[0])
        codes, indices = quantizer.train()(z)
        if optimizer:
            optimizer.zero_grad()
            quantizer.loss(z, codes, indices).backward()
            optimizer.step()
        if step % max(1, steps // 10) == 0 or step == steps - 1:
            with torch.no_grad():
                error = (quantizer.eval()(seen)[0] - seen).square().mean() / scale**2
            curve.append((step + 1, float(10 * torch.log10(4 / error))))
    return curve


print("pasting undoes cutting:", torch.equal(paste(cut(truth[:4])), truth[:4]), tuple(cut(truth[:4]).shape))


# %%
# NBVAL_IGNORE_OUTPUT
steps = profile().pick(smoke=3, laptop=150, gpu=500)
kinds = {"averages": (0.9, None), "loss, rate 0.01": (None, 0.01), "loss, rate 0.001": (None, 0.001)}
learned = {}
for scale in (1, 20):
    for name, (decay, lr) in kinds.items():
        torch.manual_seed(0)
        quantizer = VQ(512, 48, decay=decay, restart=False)
        learned[name + (f", numbers x{scale}" if scale > 1 else "")] = train_codebook(
            quantizer, cut, steps, lr, scale=scale
        )
        if decay and scale == 1:
            patch_vq = quantizer
show.curves(learned, "512 codes for patches of 4x4 pixels", y="PSNR, test (dB)", log="x")

# %% [markdown]
# A mean does not care about units: the curves of the averages, plain and times 20, lie on top of each other. The loss
# depends on its rate, and the rate that fits depends on the units. With a good one it does as well; with another it
# lags. That is why most people take the averages. In a network the points move as well, and the usual memory is longer.
#
# Either way the codebook is a picture book now. Above, the 32 codes that occur most and then the 32 that occur least.
# Below, test images, and what 64 integers of 9 bits keep of them without any network. What does a vocabulary of 512
# patches spend its words on?

# %%
# NBVAL_IGNORE_OUTPUT
with torch.no_grad():
    quantized, indices = patch_vq.eval()(cut(truth))
patch_rebuilt = paste(quantized).clamp(-1, 1)
order = torch.bincount(indices.flatten(), minlength=512).argsort(descending=True)
book = patch_vq.codes(torch.cat([order[:32], order[-32:]])).view(64, 3, 4, 4).clamp(-1, 1)
display(show.grid(book, columns=16, scale=6))
show.strip({"original": truth[:10].transpose(0, 1), "64 patches": patch_rebuilt[:10].transpose(0, 1)}, every=1, scale=2)

# %% [markdown]
# Keep these images in mind as a floor. A VQ-VAE spends the same 576 bits on vectors that an encoder chose, and draws
# with a decoder that looks at neighbours.
#
# ## A VQ-VAE in a page
#
# Encoder, quantizer, decoder. A strided convolution cuts the image into 8x8 patches of 4x4 pixels, two residual blocks
# let them see their neighbours, a 1x1 convolution makes each a vector; then the codebook; then the same backwards. The
# quantizer takes channels last, `(B, h, w, D)`, so axes are moved before it and back after it.


# %%
class Residual(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.body = nn.Sequential(nn.SiLU(), nn.Conv2d(d, d, 3, padding=1), nn.SiLU(), nn.Conv2d(d, d, 1))

    def forward(self, x):
        return x + self.body(x)


class Small(nn.Module):
    def __init__(self, quantizer, d=64):
        super().__init__()
        self.quantizer, D = quantizer, quantizer.channels
        self.encoder = nn.Sequential(nn.Conv2d(3, d, 4, stride=4), Residual(d), Residual(d), nn.Conv2d(d, D, 1))
        self.decoder = nn.Sequential(
            nn.Conv2d(D, d, 1), Residual(d), Residual(d), nn.ConvTranspose2d(d, 3, 4, stride=4)
        )

    def forward(self, x):
        z = self.encoder(x).movedim(1, -1)  # (B, h, w, D)
        codes, indices = self.quantizer(z)
        return self.decoder(codes.movedim(-1, 1)), Quantized(codes, indices, self.quantizer.loss(z, codes, indices))


def small_loss(model, x):
    made, quantized = model(x)
    return F.mse_loss(made, x) + quantized.loss


made, quantized = Small(VQ(512, 16))(truth[:4])
print("images", tuple(made.shape), "indices", tuple(quantized.indices.shape))

# %% [markdown]
# ## Collapse
#
# Only the nearest code learns. A code that is never the nearest gets no points, so it stays where it is, so it is
# never the nearest: most of the vocabulary may die. Two numbers say how far it has gone. *Usage* is the share of the
# codes that occur at all. *Perplexity* is 2 to the power of the entropy: how many codes, used equally often, would be
# as hard to guess. It also sees codes that occur, but hardly. The next cell tries both on a toy.
#
# Then provoke it. The same small network three times, with the same batches and 512 codes:
#
# - *random start*: small random codes, as in the first implementations, and nothing else;
# - *data start*: the first batch is clustered by k-means, and the codes begin there;
# - *data start, restarts*: also, a code that is chosen less than a tenth as often as the average one is put onto a
#   random vector of the batch. Its running count and sum are set to match; otherwise the old ones would pull it back at
#   the next step.


# %%
def perplexity_by_hand(indices, size):
    share = torch.bincount(indices.flatten(), minlength=size) / indices.numel()
    return 2 ** -sum(float(p) * math.log2(p) for p in share if p > 0)


even, uneven = torch.arange(8), torch.tensor([0] * 93 + [1, 2, 3, 4, 5, 6, 7])
for name, some in {"eight codes, equally often": even, "eight codes, one nearly always": uneven}.items():
    print(f"{name:32} usage {evaluation.usage(some, 8):.2f}  perplexity {perplexity_by_hand(some, 8):.2f} of 8")
agree = [abs(perplexity_by_hand(some, 8) - evaluation.perplexity(some, 8)) < 1e-6 for some in (even, uneven)]
print("vg's perplexity agrees:", all(agree))


@torch.no_grad()
def look(model, size=512):
    """PSNR, usage and perplexity of a model of one level on test images."""
    parts = [model(part.to(device())) for part in truth[:512].split(128)]
    made = torch.cat([reconstruction.cpu() for reconstruction, _ in parts])
    indices = torch.cat([quantized.indices.cpu() for _, quantized in parts])
    return {
        "PSNR": float(evaluation.psnr(made, truth[:512]).mean()),
        "usage %": 100 * evaluation.usage(indices, size),
        "perplexity": evaluation.perplexity(indices, size),
    }


def train_small(quantizer):
    torch.manual_seed(0)
    draw = image_batches(images.train, profile().pick(smoke=8, laptop=64, gpu=256))
    model = Small(quantizer, profile().pick(smoke=8, laptop=64, gpu=64)).to(device())
    recipe = Recipe(profile().pick(smoke=4, laptop=350, gpu=2000), lr=2e-3, warmup=20, ema=0.0)
    return fit(model, small_loss, draw, recipe, evaluate=look, every=profile().pick(smoke=2, laptop=25, gpu=100))


def table(rows, columns):
    print(" " * 30 + "".join(f"{name:>15}" for name in columns))
    for name, values in rows.items():
        print(f"{name:30}" + "".join(f"{value:15.4g}" for value in values))


# %%
# NBVAL_IGNORE_OUTPUT
def draw_runs(runs):
    """What was measured on test images while they trained."""
    _, axes = plt.subplots(1, 3, figsize=(10.2, 2.8))
    for ax, name in zip(axes, measured):
        for run in runs.values():
            ax.plot(*zip(*run.history[name]))
        ax.set(title=f"{name}, test", xlabel="step")
    axes[0].legend(runs)
    plt.show()


measured = ["PSNR", "usage %", "perplexity"]
starts = {
    "random start": dict(data_init=False, restart=False),
    "data start": dict(data_init=True, restart=False),
    "data start, restarts": dict(data_init=True, restart=True),
}
runs = {}
for name, settings in starts.items():
    torch.manual_seed(0)
    runs[name] = train_small(VQ(512, 16, **settings))
table({name: [run.history[m][-1][1] for m in measured] for name, run in runs.items()}, measured)
draw_runs(runs)

# %% [markdown]
# With a random start most codes never get a point. A start from data helps, but many codes are lost while the encoder
# moves away from them; a few come back later, when it happens to pass by. With restarts codes are lost at first as well, for
# a code is moved only when its running count has fallen to a tenth of the average; then all of them come back, and the
# PSNR gains by it: dead codes are bits that are paid for and say nothing. The perplexity still lies below 512, since
# some codes are more frequent than others; a prior will get those bits back.
#
# ## FSQ: no codebook at all
#
# A look ahead. *Finite scalar quantization* (Mentzer et al., 2023) does not learn codes. The encoder gives three
# numbers; each is squashed by `tanh` to a fixed range and *rounded*. With 7, 7 and 9 values there are 441
# combinations, the codes: a fixed grid in a cube. Nothing can die, there is nothing to restart and no loss that holds
# things together; the straight-through estimator is the same. (An even number of values has no middle and needs a
# shift by a half; notebook 04 derives it.)
#
# Then the small network again, with FSQ of 8 x 8 x 8 = 512 codes, at the same bits. Only the quantizer is another one.


# %%
def fsq(z, levels):
    """FSQ with odd levels: z (..., len(levels)) -> codes in [-1, 1], indices."""
    middle = (torch.tensor(levels) - 1) // 2  # a digit runs from -middle to middle
    bounded = torch.tanh(z) * middle * 1.001
    rounded = bounded + (bounded.round() - bounded).detach()
    digits = (rounded.detach().round() + middle).long()
    return rounded / middle, (digits * torch.cumprod(torch.tensor([1, *levels[:-1]]), 0)).sum(-1)


z = 1.5 * torch.randn(1000, 3, generator=torch.Generator().manual_seed(0))
codes, indices = fsq(z, (7, 7, 9))
vg_codes, vg_indices = FSQ((7, 7, 9))(z)
print("codes agree with vg:  ", torch.allclose(codes, vg_codes, atol=1e-5))
print("indices agree with vg:", torch.equal(indices, vg_indices), "of", FSQ((7, 7, 9)).size)

# %%
# NBVAL_IGNORE_OUTPUT
both = {"VQ, data start, restarts": runs["data start, restarts"], "FSQ (8, 8, 8)": train_small(FSQ((8, 8, 8)))}
table({name: [run.history[m][-1][1] for m in measured] for name, run in both.items()}, measured)
draw_runs(both)

# %% [markdown]
# Nothing was restarted and nothing had to be. Whether the picture is as good is another question: with so few codes,
# three numbers are a narrow door for the encoder, where VQ has sixteen. Read off which of the two is ahead here.
# FSQ's time comes with large vocabularies; notebook 04 compares the two on film.
#
# ## A VQ-VAE on CIFAR-10
#
# `vg.models.VQVAE` is the page above, grown up: wider, with a deeper decoder than encoder (drawing is harder than
# describing), part of it on a finer grid. Image to 8x8 integers of 9 bits, and back. `encode` and `decode` are the two
# halves; `quantize` and `reconstruct` are the same with gradients, by way of the codes.

# %%
torch.manual_seed(0)
width = profile().pick(smoke=16, laptop=96, gpu=128)
own = VQVAE(VQVAEConfig(width=width)).to(device())
indices = own.encode(truth[:4].to(device()))
print(
    "images", tuple(truth[:4].shape), "-> indices", tuple(indices.shape), "-> images", tuple(own.decode(indices).shape)
)
print("bits of an image:", own.raw_bits((32, 32)), "= 64 * log2(512); as bytes of pixels:", 8 * truth[0].numel())

# %% [markdown]
# What should it beat? Three ways to spend 576 bits. *Raw patches*, from above. *PCA*: the 72 directions in which
# training images vary most, each coefficient rounded to 8 bits. That is the plain way, and a wasteful one: the first
# coefficient deserves more bits than the last. So a third: 320 directions, the bits given out one at a time, each to
# the coefficient whose rounding error is then the largest (a greedy form of reverse water-filling).
#
# Training: the loss is the logarithm of each image's root mean squared error, which is PSNR but for a factor, so that a
# plain image counts as much as a busy one; plus what the quantizer asks for. The curve is the PSNR on test images,
# beside the three.
#
# The same with more steps ships with the course. Its card, in the third cell, says how many, on what, and what was
# measured. It is frozen: no gradients, and `train()` does not wake its codebook up. All rows of the picture but the
# first were made from 576 bits an image. What kind of error does each of them make?


# %%
# NBVAL_IGNORE_OUTPUT
def fit_pca(x, k):
    """The mean of images (N, ...), the k strongest directions (pixels, k), and the deviation along each (k,)."""
    flat = x.flatten(1)
    torch.manual_seed(0)
    _, spread, basis = torch.pca_lowrank(flat - flat.mean(0), q=k + 16, niter=4)
    return flat.mean(0), basis[:, :k], spread[:k] / len(flat) ** 0.5


def through_pca(x, mean, basis, deviation, bits=8):
    """Project, round each coefficient to one of 2^bits evenly spaced values, and come back; bits: a number or (k,)."""
    count = 2 ** torch.as_tensor(bits).float()
    step = deviation * (2.6 + 0.67 * torch.as_tensor(bits)) / count  # about the best for a normal distribution
    coefficients = (x.flatten(1) - mean) @ basis / step
    rounded = ((coefficients - 0.5).round() + 0.5).clamp(-(count - 1) / 2, (count - 1) / 2)
    return (rounded * step @ basis.T + mean).view_as(x).clamp(-1, 1)


def spread_bits(deviation, total):
    """Give out ``total`` bits one at a time, each where the rounding error is then the largest: (k,) whole numbers."""
    error, bits = deviation.square(), torch.zeros(len(deviation))
    for _ in range(total):
        worst = error.argmax()
        bits[worst] += 1
        error[worst] /= 4  # a bit more halves the step, and quarters the squared error
    return bits


some = images.train.take(range(min(len(images.train), profile().pick(smoke=512, laptop=10_000, gpu=20_000))))
simple, better = fit_pca(some, 72), fit_pca(some, 320)
floors = {
    "PCA, 72 x 8 bits": through_pca(truth, *simple),
    "PCA, bits spread": through_pca(truth, *better, spread_bits(better[2], 576)),
    "raw patches": patch_rebuilt,
}
baselines = {name: float(evaluation.psnr(x, truth).mean()) for name, x in floors.items()}
print({name: round(value, 2) for name, value in baselines.items()})


# %%
# NBVAL_IGNORE_OUTPUT
class Quality(show.LivePlot):
    """A live plot of the test PSNR alone."""

    def update(self, history):
        super().update({"test": history.get("PSNR", [])})


def train_images(model, evaluate, title):
    steps = profile().pick(smoke=4, laptop=600, gpu=4000)
    draw = image_batches(images.train, profile().pick(smoke=8, laptop=32, gpu=128))
    recipe = Recipe(steps, lr=2e-3, muon=2e-2, warmup=30, grad_clip=5.0, ema=0.0)
    plot = Quality(title, y="PSNR in dB", baselines=baselines)
    return fit(model, image_tokenizer_loss, draw, recipe, evaluate=evaluate, every=max(2, steps // 12), plot=plot)


trained = train_images(own, look, "VQ-VAE, 576 bits an image")
table({"VQ-VAE, trained here": [trained.history[m][-1][1] for m in measured]}, measured)
print(f"{sum(p.numel() for p in own.parameters()) / 1e6:.2f} M parameters, {trained.seconds:.0f} s of training")


# %%
# NBVAL_IGNORE_OUTPUT
@torch.no_grad()
def rebuild(model, x, batch=128):
    """Through a model with one level or two and back; on the CPU, clamped."""
    return torch.cat([model(part.to(device()))[0].clamp(-1, 1).cpu() for part in x.split(batch)])


shipped = checkpoints.load("vqvae-cifar10", device=device())
card = checkpoints.card("vqvae-cifar10")
print(f"{card.name}: {card.model}, {sum(p.numel() for p in shipped.parameters()) / 1e6:.2f} M parameters")
print(f"{card.facts['recipe']['steps']} steps of {card.facts['batch']} images, {card.facts['seconds']} s")
pprint.pp(card.facts["metrics"], width=110, compact=True)

before = shipped.quantizer.codebook.clone()
rebuilt = {"VQ-VAE, trained here": rebuild(trained.model, truth), "vqvae-cifar10": rebuild(shipped.train(), truth)}
print("told to train, the shipped codebook stays:", torch.equal(before, shipped.quantizer.codebook))
rows = {"original": truth} | floors | rebuilt
show.strip({name: x[:10].transpose(0, 1) for name, x in rows.items()}, every=1, scale=2)

# %% [markdown]
# Seventy-two directions are a blur. With the bits spread, PCA keeps more, and lets grain and waves run through flat
# places. Patches show their borders. The VQ-VAE is soft where there is texture.
#
# ## What a code draws
#
# A code means what the decoder makes of it. Two experiments. First, fill the whole grid with one code and decode: 32
# codes, from the most to the least frequent. Then change a single token of a real image to another code, 64 times,
# and look how far the change reaches. The white square is the token's own 4x4 pixels.

# %%
# NBVAL_IGNORE_OUTPUT
tokens = torch.cat([shipped.encode(part.to(device())) for part in truth.split(128)])
order = torch.bincount(tokens.flatten(), minlength=shipped.quantizer.size).argsort(descending=True)
every = order[:: len(order) // 32]
filled = shipped.decode(every.view(-1, 1, 1).expand(-1, 8, 8))
display(show.grid(filled.cpu(), columns=16, scale=1))
some = tokens[:1].repeat(len(order[:64]), 1, 1)
some[:, 4, 4] = order[:64]
change = (shipped.decode(some) - shipped.decode(tokens[:1])).abs().mean((0, 1)).cpu() * 127.5  # (H, W), grey levels
figure, ax = plt.subplots(figsize=(4, 3.2))
figure.colorbar(ax.imshow(change), label="mean change in grey levels")
ax.add_patch(plt.Rectangle((15.5, 15.5), 4, 4, fill=False, edgecolor="white"))
ax.set_title("64 codes tried at one place")
ax.grid(False)
plt.show()

# %% [markdown]
# What lies outside the square is the decoder looking at neighbours: it draws a token according to what stands around
# it, which a patch from a book cannot do.
#
# ## Two levels by hand
#
# Sixty-four tokens that each see a small neighbourhood have to say the same thing many times over: this is sky, this
# is sky. VQ-VAE-2 (Razavi et al., 2019) divides the work: a coarse *top* grid for what is large, and a *bottom* grid
# that is told what the top has said, and adds the rest.
#
# By hand, on pixels, with the codebooks from above: the top is the image at a quarter of its size, in 4x4 patches of
# 2x2, 4,096 codes. Enlarged again, it is a first guess. The bottom quantizes what the guess has got *wrong*, in 8x8
# patches of 4x4, 64 codes. `16 * 12 + 64 * 6` are 576 bits again. Is it better than one level?


# %%
# NBVAL_IGNORE_OUTPUT
def coarse(x):
    return cut(F.avg_pool2d(x, 4), 2)  # (B, 4, 4, 12)


def guess(quantizer, x):
    """The image as the top alone has it: (B, C, H, W)."""
    with torch.no_grad():
        small = paste(quantizer.eval()(coarse(x))[0], 2)
    return F.interpolate(small, scale_factor=4, mode="bilinear")


torch.manual_seed(0)
top_vq, bottom_vq = VQ(4096, 12, decay=0.9), VQ(64, 48, decay=0.9)
few = profile().pick(smoke=2, laptop=60, gpu=200)
train_codebook(top_vq, coarse, few, batch=profile().pick(smoke=64, laptop=512, gpu=512))
train_codebook(bottom_vq, lambda x: cut(x - guess(top_vq, x)), few)
first = guess(top_vq, truth)
with torch.no_grad():
    second = (first + paste(bottom_vq.eval()(cut(truth - first))[0])).clamp(-1, 1)
levels = {"raw patches, one level": patch_rebuilt, "the top alone": first, "top and bottom": second}
for name, x in levels.items():
    print(f"{name:24} {evaluation.psnr(x, truth).mean():.2f} dB")
show.strip({name: x[:10].transpose(0, 1) for name, x in ({"original": truth} | levels).items()}, every=1, scale=2)

# %% [markdown]
# It is, and clearly, though nothing has learned but codebooks: what neighbours have in common is said once, in the top,
# and the bottom is left with what is small and alike everywhere. Also, the borders of the patches are softer, since the
# enlarged top has none.
#
# ## VQ-VAE-2
#
# The same division, learned. The encoder goes down twice, to 8x8 and to 4x4. The top is quantized first. What it
# decodes to goes *back into the encoder of the bottom*, which therefore knows what has been said, and with the bottom
# codes into the decoder:
#
#     image -> encoder (8x8) -> encoder (4x4) -> top codes, 4x4 of 4,096
#                  |                                |
#                  +-----> join <-- decoded top ----+----------------+
#                            |                                       v
#                       bottom codes, 8x8 of 64 ---------------> decoder -> image
#
# That the top conditions the bottom can be seen from outside. The second cell runs the bottom's encoder by hand, once
# with the image's own top, once with that of another image. If the bottom ignored the top, the same codes would come
# out.


# %%
# NBVAL_IGNORE_OUTPUT
@torch.no_grad()
def look2(model):
    """As ``look``, for two levels."""
    parts = [model(part.to(device())) for part in truth[:512].split(128)]
    made = torch.cat([part[0].cpu() for part in parts])
    found = {"PSNR": float(evaluation.psnr(made, truth[:512]).mean())}
    for k, (name, quantizer) in enumerate((("top", model.top_quantizer), ("bottom", model.quantizer))):
        indices = torch.cat([part[1].indices[k].cpu() for part in parts])
        found[f"{name} usage %"] = 100 * evaluation.usage(indices, quantizer.size)
        found[f"{name} perpl."] = evaluation.perplexity(indices, quantizer.size)
    return found


torch.manual_seed(0)
own2 = VQVAE2(VQVAE2Config(width=width)).to(device())
top, bottom = own2.encode(truth[:4].to(device()))
print("top", tuple(top.shape), "bottom", tuple(bottom.shape), "bits of an image:", own2.raw_bits((32, 32)))
trained2 = train_images(own2, look2, "VQ-VAE-2, 576 bits an image")
found = trained2.history
names = [name for name in found if name != "loss"]
table({"VQ-VAE-2, trained here": [found[name][-1][1] for name in names]}, names)
print(f"{trained2.seconds:.0f} s; one level had {trained.history['PSNR'][-1][1]:.2f} dB after {trained.seconds:.0f} s")


# %%
# NBVAL_IGNORE_OUTPUT
@torch.no_grad()
def bottom_given(model, x, top):
    """Bottom indices (B, h, w) of images x, when the top has said ``top`` (codes)."""
    features = model.encoder(x.permute(0, 2, 3, 1))  # (B, h, w, D)
    told = torch.cat([features, model.top_features(top)], dim=-1)
    return model.quantizer(model.to_code(model.join(told)))[1]


x = truth[:64].to(device())
quantized = trained2.model.quantize(x)
(top, _), (_, bottom) = quantized.codes, quantized.indices
print("by hand equals the model:", torch.equal(bottom_given(trained2.model, x, top), bottom))
stay = (bottom_given(trained2.model, x, top.roll(1, 0)) == bottom).float().mean()
print(f"bottom codes that stay when the top is another image's: {100 * stay:.0f} %")

# %% [markdown]
# Is a second level worth it? The line under the first cell compares, at the same bits and the same number of steps.
# And few bottom codes outlive another image's top: a bottom code does not say what is in the image, but what the top
# has left out.
#
# ## What each level holds
#
# Take the shipped VQ-VAE-2 apart. Four ways to rob the decoder of a level: put the *average* code at every place of one
# grid, which says nothing at all; or give it the top, or the bottom, of *another* image (the next one in the row).
#
# Then divide the error by scale. The mean colour of each 8x8 block is coarse; what is left is fine. The table says
# how much of the variance of each part of the truth a decoding explains: 100% is perfect, 0 is a single colour, less
# is worse than that.


# %%
# NBVAL_IGNORE_OUTPUT
shipped2 = checkpoints.load("vqvae2-cifar10", device=device())


@torch.no_grad()
def take_apart(model, x):
    """Reconstructions of x with one level exchanged or averaged: {name: (B, C, H, W)} on the CPU."""
    top, bottom = model.quantize(x.to(device())).codes
    flat_top, flat_bottom = (codes.mean((0, 1, 2)).expand_as(codes) for codes in (top, bottom))
    ways = {
        "both levels": (top, bottom),
        "top alone": (top, flat_bottom),
        "bottom alone": (flat_top, bottom),
        "next image's top": (top.roll(-1, 0), bottom),
        "next image's bottom": (top, bottom.roll(-1, 0)),
    }
    return {name: model.reconstruct(codes).clamp(-1, 1).cpu() for name, codes in ways.items()}


apart = take_apart(shipped2, truth[:512])
rows = {"original": truth[:512]} | apart
display(show.strip({name: x[:10].transpose(0, 1) for name, x in rows.items()}, every=1, scale=2))
quality = {name: float(evaluation.psnr(x, truth[:512]).mean()) for name, x in apart.items()}
flat = truth.mean((0, 2, 3), keepdim=True).transpose(0, 1).view(1, 3, 1, 1).expand_as(truth)
nothing = {"one colour for everything": float(evaluation.psnr(flat, truth).mean())}
show.bars(quality, "what is left with a level gone", unit="PSNR in dB", baselines=nothing)


# %%
# NBVAL_IGNORE_OUTPUT
def by_scale(x):
    """(B, C, H, W) -> its blocks of 8x8 averaged, and the rest."""
    blocks = F.interpolate(F.avg_pool2d(x, 8), scale_factor=8)
    return blocks, x - blocks


kept = {}
for name, x in apart.items():
    kept[name] = []
    for part, whole in zip(by_scale(x), by_scale(truth[:512])):
        middle = whole.mean((0, 2, 3), keepdim=True)
        kept[name].append(100 * (1 - float((part - whole).square().sum() / (whole - middle).square().sum())))
table(kept, ["coarse %", "fine %"])

# %% [markdown]
# The pictures say it plainly. The top alone is a blurred photograph in colour: what is where, and in what light. The
# bottom alone is a drawing of outlines on grey. With the next image's top one sees the next image, scratched by the
# lines of this one. In the table the top explains nearly all that is coarse, and the bottom by itself next to nothing
# of it. It explains much of what is fine too: fine is here all that differs within a block of 8x8, and a top token, with its
# neighbours', draws slopes and rough edges there. What only the bottom can say is the rest. A wrong level is worse
# than none: the outlines fit only the top that they were made for.
#
# ## Bits against quality
#
# 576 bits an image are 0.5625 bits a pixel. Is that much? Ask what people really use. JPEG and WebP are asked for a
# range of qualities; each gives a number of bytes and a PSNR.
#
# To be fair is not trivial at 32x32. A JPEG file begins with tables and headers that are as large as several of our
# images, before the first pixel. A single small file is hopeless, and unfairly so. There are three ways to count:
#
# - *mosaic*: all test images side by side in one large picture, one file, all bytes counted. The header hardly matters
#   then. The side of 32 is a multiple of JPEG's blocks, so no block lies across two images;
# - *one file each*, all bytes counted;
# - *one file each, no header*: what comes before the first coded block is left out, as if the receiver had it.
#
# (The copy behind the numbers stored here is JPEG files, quality 75: JPEG has seen these pictures before, which is in its
# favour.)


# %%
# NBVAL_IGNORE_OUTPUT
def to_bytes(x):
    """(C, H, W) in [-1, 1] -> (H, W, C) uint8."""
    return ((x.permute(1, 2, 0) + 1) * 127.5).round().byte().numpy()


def from_bytes(pixels):
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1) / 127.5 - 1


def through(x, form, quality, optimize=False):
    """An image (C, H, W) as a file of this form, and back: bytes of the file, bytes of its header, image."""
    file = io.BytesIO()
    Image.fromarray(to_bytes(x)).save(file, form, quality=quality, optimize=optimize)
    data = file.getvalue()
    return len(data), header(data), from_bytes(Image.open(file).convert("RGB"))


def header(data):
    """Bytes that are not coded pixels: JPEG's marker segments up to the scan, WebP's container and frame header."""
    if data[:4] == b"RIFF":
        return 30  # RIFF and chunk 20, VP8 frame tag, start code and size 10
    place = 2
    while data[place + 1] != 0xDA:  # start of scan
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return place + 2 + int.from_bytes(data[place + 2 : place + 4], "big") + 2  # and the end marker


size, head, back = through(truth[0], "JPEG", 50)
print("bytes of one JPEG:", size, "of which header:", head, " 576 bits are", 576 // 8, "bytes")


# %%
# NBVAL_IGNORE_OUTPUT
def curve_of(form, qualities, whole):
    """[(bits a pixel, PSNR), ...] of the test images, and the same without headers; as one mosaic, or each alone."""
    side = math.isqrt(len(truth))
    pictures = truth[: side**2]
    if whole:
        sheet = rearrange(pictures, "(r s) c h w -> c (r h) (s w)", r=side)
    counted, bare = [], []
    for quality in qualities:
        coded = [through(x, form, quality, whole) for x in ([sheet] if whole else pictures)]
        made = torch.stack([x for *_, x in coded])
        if whole:
            made = rearrange(made[0], "c (r h) (s w) -> (r s) c h w", r=side, s=side)
        reached = float(evaluation.psnr(made, pictures).mean())
        pixels = pictures.numel() / 3
        counted.append((8 * sum(size for size, _, _ in coded) / pixels, reached))
        bare.append((8 * sum(size - head for size, head, _ in coded) / pixels, reached))
    return counted, bare


mosaic = {form: curve_of(form, (0, 2, 4, 6, 8, 10, 14, 20, 30, 50), True)[0] for form in ("JPEG", "WEBP")}
alone = {form: curve_of(form, (0, 6, 14, 30), False) for form in ("JPEG", "WEBP")}
at = 576 / 1024
for form, curve in mosaic.items():
    low = curve[0][0]
    print(f"{form}: at least {low:.3f} bits a pixel; at {at} bits: {np.interp(at, *zip(*curve), left=math.nan):.2f} dB")

# %% [markdown]
# Our integers are written raw: 9 bits each, whether they are likely or not. JPEG and WebP are not so naive: what is
# likely gets fewer bits. A transformer that predicts the integers can do the same for us, with an arithmetic coder
# behind it; a token of probability p then costs `-log2 p` bits. The shipped prior, of which more below, knows the
# integers of `vqvae2-cifar10`. What it saves is drawn as a second point, hollow, left of the first.


# %%
# NBVAL_IGNORE_OUTPUT
@torch.no_grad()
def prior_bits(prior, model, x, labels=None):
    """Bits of each image, top and bottom: (B,), (B,)."""
    parts = []
    for k in range(0, len(x), 128):
        label = None if labels is None else labels[k : k + 128].to(device())
        bits = prior.nll_bits(*model.encode(x[k : k + 128].to(device())), label)
        parts.append(torch.stack([level.flatten(1).sum(1).cpu() for level in bits]))
    return torch.cat(parts, dim=1)


shipped_prior = checkpoints.load("prior-cifar10", device=device())
rebuilt |= {"VQ-VAE-2, trained here": rebuild(trained2.model, truth), "vqvae2-cifar10": rebuild(shipped2, truth)}
reached = {name: float(evaluation.psnr(x, truth).mean()) for name, x in rebuilt.items()} | baselines
bits = prior_bits(shipped_prior, shipped2, truth)
print(f"vqvae2-cifar10: raw {shipped2.raw_bits((32, 32)):.0f} bits an image, with the prior {bits.sum(0).mean():.0f}")
print(f"                top {bits[0].mean():.0f} of 192, bottom {bits[1].mean():.0f} of 384")
figure, ax = plt.subplots(figsize=(7.5, 4.2))
for (form, curve), colour in zip(mosaic.items(), COLOURS):
    ax.plot(*zip(*curve), color=colour, marker=".", label=f"{form}, mosaic, all bytes")
    ax.plot(*zip(*alone[form][1]), color=colour, marker=".", linestyle="--", label=f"{form}, one each, no header")
    ax.plot(*zip(*alone[form][0]), color=colour, marker=".", linestyle=":", label=f"{form}, one each, all bytes")
for (name, quality), marker in zip(reached.items(), "osvDPX*"):
    ax.scatter(at, quality, marker=marker, s=36, zorder=4, color=COLOURS[4 if name in floors else 2], label=name)
coded_at = float(bits.sum(0).mean()) / 1024
ax.scatter(coded_at, reached["vqvae2-cifar10"], marker="D", s=36, facecolor="white", edgecolor=COLOURS[2], zorder=4)
ax.plot([coded_at, at], [reached["vqvae2-cifar10"]] * 2, color=COLOURS[2], linewidth=1)
ax.set(xscale="log", xlabel="bits a pixel", ylabel="PSNR (dB)", ylim=(min(reached.values()) - 6, 32))
ax.set_xticks([0.25, 0.5, 1, 2, 4], ["0.25", "0.5", "1", "2", "4"])
ax.minorticks_off()
ax.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()
for form, curve in mosaic.items():
    rates, scores = zip(*curve)
    rate = np.interp(reached["vqvae2-cifar10"], scores, rates)
    print(f"{form}, mosaic: {rate:.2f} bits a pixel for the PSNR of vqvae2-cifar10")

# %% [markdown]
# Read along the vertical line at 0.5625. The dotted curve far to the right is JPEG with its headers: at 32x32 nobody
# should compare with that. Without them, and in the mosaic, the two codecs are near each other, and the PCA that
# spends its bits well is no worse than they are. The learned codes lie above; the last lines say how many bits the
# codecs need to draw level.
#
# In fairness: the network has seen 50,000 pictures of just this kind, and its weights, which the receiver has to
# have, are not counted. JPEG and WebP must serve any picture, and at higher rates they go on improving where our
# curve ends.
#
# ## A prior over the codes
#
# To draw a new image, draw 64 integers and decode. But which? The cell tries the cheapest ways on the codes of the
# VQ-VAE trained above: every code with the same chance; every code as often as it occurs; as often as it occurs *at
# that place* of the grid.

# %%
# NBVAL_IGNORE_OUTPUT
tokenizer = trained.model.freeze()
many = profile().pick(smoke=200, laptop=12_000, gpu=50_000)
part = ImageSet(images.train.pixels[:many], images.train.labels[:many])
known, known_labels = encode_images(tokenizer, part)[0].long(), part.labels  # (N, 8, 8), (N,)
held = tokenizer.encode(truth.to(device())).cpu()
generator = torch.Generator().manual_seed(0)
any_code = torch.randint(512, (10, 8, 8), generator=generator)
as_often = known.flatten()[torch.randint(known.numel(), (10, 8, 8), generator=generator)]
by_place = known.flatten(1)[torch.randint(len(known), (10, 64), generator=generator), torch.arange(64)].view(10, 8, 8)
drawn = {"any code": any_code, "as often": as_often, "by place": by_place}
pictures = {name: tokenizer.decode(codes.to(device())).cpu() for name, codes in drawn.items()}
show.strip({name: x.transpose(0, 1) for name, x in pictures.items()}, every=1, scale=2)

# %% [markdown]
# What is missing is that codes depend on each other. Read the grid row by row, as a text. By the chain rule the
# probability of an image is the product of the probability of each code given those before it,
#
#     p(image) = p(c1) p(c2 | c1) p(c3 | c1, c2) ... p(c64 | c1 ... c63)
#
# and a network that predicts the next code, as a language model does, gives every factor. The course's own transformer,
# `vg.models.Prior`, is built in notebook 07; it takes an image as a film of one frame, and its class as a *scene*. Here
# it is a small one, trained briefly. Its loss is in bits a token; the dotted lines are what it costs to know nothing (9
# bits), and to know how often each code occurs. For a tenth of the images it is not told the class.
# New images are drawn code by code, each from the likeliest codes that hold 95% of the probability (`top_p`), as the
# prior weighs them (`temperature` 1); notebook 08 turns these knobs.


# %%
# NBVAL_IGNORE_OUTPUT
def draw_tokens(generator):
    rows = torch.randint(len(known), (profile().pick(smoke=4, laptop=32, gpu=128),), generator=generator)
    return torch.cat([known[rows].flatten(1), known_labels[rows][:, None]], dim=1)


@torch.no_grad()
def look_prior(model):
    bits = [
        model.nll_bits(c[:, None].to(device()), y.to(device())).mean()
        for c, y in zip(held[:512].split(128), labels.split(128))
    ]
    return {"test": float(sum(bits) / len(bits))}


torch.manual_seed(0)
wide = profile().pick(smoke=16, laptop=128, gpu=256)
shape = PriorConfig(levels=(512,), grid=(8, 8), width=wide, depth=4, heads=4, context=0, num_labels=len(images.classes))
unigram = float(evaluation.unigram_bits(known, held, 512).mean())
steps = profile().pick(smoke=4, laptop=500, gpu=3000)
recipe = Recipe(steps, lr=1e-3, muon=2e-2, warmup=50, betas=(0.9, 0.95), weight_decay=0.05, ema=0.98)
plot = show.LivePlot("prior over 64 codes", y="bits a token", baselines={"any code": 9, "as often": unigram})
taught = fit(
    Prior(shape).to(device()), prior_loss(token_noise=0.0, drop_label=0.1), draw_tokens, recipe,
    evaluate=look_prior, every=max(2, steps // 10), plot=plot,
)  # fmt: skip
last = taught.history["test"][-1][1]
print(f"any code 9.00, as often as it occurs {unigram:.2f}, the prior {last:.2f} bits a token; {taught.seconds:.0f} s")

each = profile().pick(smoke=1, laptop=8, gpu=8)
options = dict(temperature=1.0, top_p=0.95, progress=False)
classes = [k for k in range(len(images.classes)) for _ in range(each)]
new = sampling.sample_images(taught.model, tokenizer, batch=len(classes), seed=0, label=classes, **options).cpu()
columns = new.view(len(images.classes), each, *new.shape[1:])
show.strip({name: x.transpose(0, 1) for name, x in zip(images.classes, columns)}, every=1, scale=1)

# %% [markdown]
# A row is a class, told by its name. Compare with the picture before: are neighbouring codes in agreement now? Can
# you tell ships from deer by colour and layout? A small prior after a few hundred steps knows grounds and skies long
# before it knows a horse.
#
# ## Top, then bottom
#
# With two levels there are two priors (Razavi et al., section 3.2). One draws the 16 top codes given the class. The
# other draws the 64 bottom codes given the class *and the whole top*, which it may look at freely, since it is all
# there. The shipped `prior-cifar10` is such a pair, over the codes of `vqvae2-cifar10`. First in three steps, then by
# the one call that does the same (it seeds the bottom with a million and three more than the top). Seeds count from 0;
# none was chosen. `guidance` 1 is none.

# %%
# NBVAL_IGNORE_OUTPUT

options = dict(temperature=1.0, top_p=0.95, guidance=1.0, progress=False)
classes = [k for k in range(len(images.classes)) for _ in range(each)]
top = sampling.generate_tokens(shipped_prior.top, None, 1, seed=0, batch=len(classes), label=classes, **options)
bottom = sampling.generate_tokens(
    shipped_prior.bottom, None, 1, seed=1_000_003, batch=len(classes), label=classes, condition=top, **options
)
by_steps = shipped2.decode((top[:, 0], bottom[:, 0])).cpu()
new2 = sampling.sample_images(shipped_prior, shipped2, batch=len(classes), seed=0, label=classes, **options).cpu()
print("top", tuple(top.shape), "bottom", tuple(bottom.shape), "; one call, the same:", torch.equal(by_steps, new2))
columns = new2.view(len(images.classes), each, *new2.shape[1:])
show.strip({name: x.transpose(0, 1) for name, x in zip(images.classes, columns)}, every=1, scale=2)

# %% [markdown]
# Who decides what? Keep the top of one image and draw the bottom anew, six times. The first column is the top alone,
# with the average bottom.
#
# And is it memory? The second picture puts new images above the nearest training image by squared error, of the first
# 20,000 (with a GPU of all 50,000). A copy would look like its neighbour. To judge the distances, compare with reconstructed *test* images, which come from the same
# decoder and cannot be copies.

# %%
# NBVAL_IGNORE_OUTPUT
kept_top = top[:: 2 * each][:5].repeat_interleave(6, 0)  # five of the tops from above, six times each
kept_class = [classes[k] for k in range(0, len(classes), 2 * each) for _ in range(6)]
other = sampling.generate_tokens(
    shipped_prior.bottom, None, 1, seed=500, batch=30, label=kept_class, condition=kept_top, **options
)
varied = shipped2.decode((kept_top[:, 0], other[:, 0])).cpu().view(5, 6, 3, 32, 32)
with torch.no_grad():
    codes = shipped2.top_quantizer.codes(kept_top[::6, 0])
    everywhere = shipped2.quantizer.codes(bottom).mean((0, 1, 2, 3)).expand(5, 8, 8, -1)
    alone_top = shipped2.reconstruct((codes, everywhere)).clamp(-1, 1).cpu()
sheet = torch.cat([alone_top[:, None], varied], dim=1)
names = [images.classes[k] for k in kept_class[::6]]
display(
    show.strip({f"{n}: {name}": x.transpose(0, 1) for n, (name, x) in enumerate(zip(names, sheet))}, every=1, scale=2)
)

bank = images.train.take(range(min(len(images.train), profile().pick(smoke=300, laptop=20_000, gpu=50_000)))).flatten(1)
picked = new2[::each][:10]
distance = torch.cdist(picked.flatten(1), bank)
expected = torch.cdist(rebuilt["vqvae2-cifar10"][:64].flatten(1), bank).min(1).values.mean()
neighbours = bank[distance.argmin(1)].view_as(picked)
print(f"mean distance to the nearest of {len(bank)} training images:")
print(f"new images {distance.min(1).values.mean():.1f}, reconstructed test images {expected:.1f}")
show.strip({"new": picked.transpose(0, 1), "nearest": neighbours.transpose(0, 1)}, every=1, scale=2)

# %% [markdown]
# In a row the layout and the light stay, and the outlines vary: the top decides, the bottom carries out. The new
# images are no farther from the training images than reconstructed test images are, and a little nearer: smooth pictures lie
# near many others. Copies would be nearer by far: at 26.3 dB a reconstruction is about 5 away from its original.
#
# ## Numbers
#
# Everything in one table, on the same test images. SSIM compares local patterns; 1 is equal. JPEG and WebP are the
# mosaic with all bytes, at the quality whose rate comes nearest to ours. Then the codes: usage and perplexity over
# `truth`.


# %%
# NBVAL_IGNORE_OUTPUT
def score(x, rate=at):
    """Rate, PSNR and SSIM of images that should be the first of ``truth``."""
    return [rate, float(evaluation.psnr(x, truth[: len(x)]).mean()), float(evaluation.ssim(x, truth[: len(x)]).mean())]


def nearest_rate(form):
    """The mosaic at the quality whose bits a pixel come nearest to ours: images and rate."""
    side = math.isqrt(len(truth))
    sheet = rearrange(truth[: side**2], "(r s) c h w -> c (r h) (s w)", r=side)
    tried = [through(sheet, form, quality, True) for quality in range(30)]
    size, _, back = min(tried, key=lambda one: abs(8 * one[0] / sheet[0].numel() - at))
    return rearrange(back, "c (r h) (s w) -> (r s) c h w", r=side, s=side), 8 * size / sheet[0].numel()


everything = floors | {"raw patches, two levels": second} | rebuilt
numbers = {name: score(x) for name, x in everything.items()}
numbers |= {f"{form}, mosaic": score(*nearest_rate(form)) for form in ("JPEG", "WEBP")}
numbers["vqvae2-cifar10 and its prior"] = score(rebuilt["vqvae2-cifar10"], coded_at)
table(numbers, ["bits/pixel", "PSNR dB", "SSIM"])
print()


def count_codes(quantizer, tokens):
    """How many codes, usage, perplexity."""
    return [
        quantizer.size,
        100 * evaluation.usage(tokens, quantizer.size),
        evaluation.perplexity(tokens, quantizer.size),
    ]


encoded = (shipped2.encode(part.to(device())) for part in truth.split(128))
all_tops, all_bottoms = (torch.cat(level).cpu() for level in zip(*encoded))
rows = {"vqvae-cifar10": count_codes(shipped.quantizer, tokens.cpu())}
rows |= {"vqvae2-cifar10, top": count_codes(shipped2.top_quantizer, all_tops)}
rows |= {"vqvae2-cifar10, bottom": count_codes(shipped2.quantizer, all_bottoms)}
table(rows, ["codes", "usage %", "perplexity"])

# %% [markdown]
# Every row but the last three has 0.5625 bits a pixel. Look first at what the bits buy without a network (the first
# four rows), then at what a network adds, then at what a second level adds. The last row has the quality of
# `vqvae2-cifar10` at the bits that its prior would write. In the lower table, usage says whether codes are lost, and
# perplexity how evenly the rest are used; `truth` has only so many top tokens, so usage of 4,096 codes cannot be
# judged to the last percent.
#
# ## Exercises
#
# Each has a check that says what is off. Solutions are folded below.
#
# **1. Bits a pixel** (easy, 5 minutes). Write `bits_a_pixel(grids, size)`: `grids` is a list of `((h, w), K)`, one
# for each level; `size` is the image's (H, W).


# %%
def bits_a_pixel(grids, size):
    return None  # your turn


def check_bits(function):
    one = function([((8, 8), 512)], (32, 32))
    if one is None:
        return "not yet: bits_a_pixel returns None"
    if abs(one - 0.1875) < 1e-6:
        return "got 0.1875: you divide by the colour values. A pixel has three of them and is counted once"
    if abs(one - 0.5625) > 1e-6:
        return f"got {one} for 8x8 codes of 512 at 32x32: 64 integers of 9 bits for 1,024 pixels are 0.5625"
    two = function([((32, 32), 512), ((64, 64), 512)], (256, 256))
    if abs(two - 5120 * 9 / 65536) > 1e-6:
        return f"got {two} for VQ-VAE-2 at 256x256; expected (32 * 32 + 64 * 64) * 9 / 65536 = {5120 * 9 / 65536:.4f}"
    mixed = function([((4, 4), 4096), ((8, 8), 64)], (32, 32))
    return (
        "right" if abs(mixed - 0.5625) < 1e-6 else f"got {mixed} for 4x4 of 4,096 and 8x8 of 64: each has its own log2"
    )


print(check_bits(bits_a_pixel))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def bits_a_pixel(grids, size):
#     return sum(h * w * math.log2(K) for (h, w), K in grids) / (size[0] * size[1])
# ```
#
# </details>
#
# **2. A restart that lasts** (medium, 15 minutes). `book` is a `Codebook` as above. Write `restart(book, dead,
# fresh)`: put the codes with the numbers `dead (n,)` onto the vectors `fresh (n, D)`, so that they are still there
# after the next step, and are not dead again at once. Change `book` and return it.


# %%
def restart(book, dead, fresh):
    return None  # your turn


def check_restart(function):
    torch.manual_seed(0)
    book, dead = Codebook(8, 2), torch.tensor([2, 5])
    for _ in range(20):
        book(torch.randn(64, 2))
    fresh, others = torch.tensor([[3.0, 3.0], [-3.0, 3.0]]), torch.tensor([0, 1, 3, 4, 6, 7])
    old, average = book.codebook.clone(), float(book.counts.mean())
    if function(book, dead, fresh) is None:
        return "not yet: restart returns None"
    if not torch.allclose(book.codebook[dead], fresh, atol=1e-3):
        return (
            f"right after it the codes are not at the fresh vectors, but {(book.codebook[dead] - fresh).norm():.2f} off"
        )
    if not torch.equal(book.codebook[others], old[others]):
        return "codes that were not dead have moved"
    book.follow(torch.zeros(4, 2), torch.zeros(4, dtype=torch.long))
    off = float((book.codebook[dead] - fresh).norm(dim=1).max())
    if off > 0.1:
        return f"one step later they are off by {off:.2f}: a code is sums / counts, and these are still the old ones"
    if float(book.counts[dead].min()) < 0.1 * average:
        return (
            f"a count of {float(book.counts[dead].min()):.3f} is under a tenth of the average: it counts as dead again"
        )
    return "right"


print(check_restart(restart))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def restart(book, dead, fresh):
#     average = book.counts.mean()
#     book.codebook[dead] = fresh
#     book.counts[dead] = average
#     book.sums[dead] = average * fresh
#     return book
# ```
#
# </details>
#
# **3. Nearest by angle** (medium, 10 minutes). Some tokenizers (Yu et al., 2022, ViT-VQGAN) choose the code with the
# smallest *angle* to z, whatever the lengths. Write `nearest_by_angle(z, codebook)`, without loops. Which of the two
# has to be brought to length 1, and for which does it not matter?


# %%
def nearest_by_angle(z, codebook):
    return None  # your turn


def check_angle(function):
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(5, 40, 8, generator=generator)
    codebook = torch.randn(16, 8, generator=generator) * torch.linspace(0.2, 5, 16)[:, None]
    got = function(z, codebook)
    if got is None:
        return "not yet: nearest_by_angle returns None"
    if tuple(got.shape) != (5, 40):
        return f"got the shape {tuple(got.shape)}, expected {(5, 40)}: one number for each vector"
    if torch.equal(got, (z @ codebook.T).argmax(-1)):
        return "this is the largest product z.e, which longer codes win. Divide the codes by their lengths"
    if torch.equal(got, nearest(z, codebook)):
        return "this is the smallest distance, not the smallest angle"
    right = F.cosine_similarity(z[..., None, :], codebook, dim=-1)
    if torch.equal(got, right.argmin(-1)):
        return "this is the largest angle: the smallest has the largest cosine"
    wrong = float((got != right.argmax(-1)).float().mean())
    return "right" if wrong == 0 else f"{100 * wrong:.0f} % of the vectors have got another code than by cosine"


print(check_angle(nearest_by_angle))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def nearest_by_angle(z, codebook):
#     return (z @ F.normalize(codebook, dim=-1).T).argmax(-1)
# ```
#
# The length of z multiplies all of its products alike, so it does not matter which is largest.
#
# </details>
#
# **4. Finish an image** (hard, 25 minutes). Keep the first 32 codes of a test image, its upper half, and draw the
# others with the prior. `prior.advance(state, digits, scene)` takes in tokens `(B, L, 1)` and gives the hidden state
# `(B, D)` that predicts the next one; `prior.head.logits[0]` makes logits `(B, K)` of it; `state` begins as a
# `vg.models.transformer.DecodeState()`. Write `finish(prior, codes, scene, generator)`: `codes (B, n)` -> `(B, 64)`.


# %%
def finish(prior, codes, scene, generator):
    return None  # your turn


class Counting:
    """A prior that is sure of the next code: the first one plus the square of how many there are."""

    head = SimpleNamespace(logits=[lambda hidden: 50.0 * hidden])

    def advance(self, state, digits, scene=None):
        self.taken = getattr(self, "taken", 0) + digits.shape[1]
        self.told = getattr(self, "told", True) and scene is not None
        state.digits = digits if state.digits is None else torch.cat([state.digits, digits], dim=1)
        return F.one_hot((state.digits[:, 0, 0] + state.digits.shape[1] ** 2) % 512, 512).float()


def check_finish(function):
    fake, given = Counting(), torch.arange(32)[None] + torch.tensor([[0], [100]])
    got = function(fake, given, torch.tensor([0, 1]), torch.Generator().manual_seed(0))
    if got is None:
        return "not yet: finish returns None"
    if tuple(got.shape) != (2, 64):
        return f"got the shape {tuple(got.shape)}, expected {(2, 64)}"
    if not torch.equal(got[:, :32], given):
        return "the given codes have changed"
    if (got[:, 33:] == got[:, 32:33]).all():
        return "every new code is the same: is the drawn code taken in before the next one is drawn?"
    if fake.taken > 64:
        return f"{fake.taken} tokens were taken in for 64: the state remembers the earlier ones"
    if not fake.told:
        return "the class is not handed on: give scene to every call of advance"
    if not torch.equal(got[:, 32:], (given[:, :1] + torch.arange(32, 64) ** 2) % 512):
        return f"this prior is sure, but {got[0, 32:36].tolist()} is not what it said: is the state a new one at each call?"
    return "right"


print(check_finish(finish))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# from vg.models.transformer import DecodeState
#
# def finish(prior, codes, scene, generator):
#     state = DecodeState()
#     hidden = prior.advance(state, codes[..., None], scene)
#     while codes.shape[1] < 64:
#         chance = prior.head.logits[0](hidden).softmax(-1)
#         new = torch.multinomial(chance, 1, generator=generator)  # (B, 1)
#         codes = torch.cat([codes, new], dim=1)
#         if codes.shape[1] < 64:
#             hidden = prior.advance(state, new[..., None], scene)
#     return codes
#
# with torch.no_grad():
#     done = finish(taught.model.cpu(), held[:10, :4].flatten(1), labels[:10], torch.Generator().manual_seed(0))
# shown = {"original": truth[:10], "lower half drawn": tokenizer.cpu().decode(done.view(-1, 8, 8))}
# show.strip({name: x.transpose(0, 1) for name, x in shown.items()}, every=1, scale=2)
# ```
#
# </details>
#
# ## Summary
#
# - To quantize is to keep the number of the nearest code. The gradient goes straight through; it is as good as the code
#   is near.
# - The codebook loss pulls codes towards the mean of their points; running averages put them there, with no rate to set
#   and no units to mind.
# - A codebook can collapse while the loss still falls. Watch usage and perplexity; begin from data; restart what is
#   dead.
# - Bits are the measure. At 576 bits an image, compare with codecs counted fairly, and with a PCA that spends its bits
#   well: the plain one is too easy to beat.
# - Two levels divide the work: the top says what is large, the bottom is told and adds the rest.
# - A prior over the codes is a generator and a compressor at once, and bits a token measure both.
#
# **Next:** [03 Conv3D VQ-VAE](03_video_vq_vae.ipynb) does this to clips of film.
#
# ## References
#
# - van den Oord, Vinyals, Kavukcuoglu: *Neural Discrete Representation Learning* (VQ-VAE), 2017, arXiv:1711.00937.
# - Razavi, van den Oord, Vinyals: *Generating Diverse High-Fidelity Images with VQ-VAE-2*, 2019, arXiv:1906.00446.
# - Bengio, Léonard, Courville: *Estimating or Propagating Gradients Through Stochastic Neurons for Conditional
#   Computation* (straight-through), 2013, arXiv:1308.3432.
# - Lloyd: *Least Squares Quantization in PCM*, 1957, published in IEEE Transactions on Information Theory 28, 1982.
# - Dhariwal and others: *Jukebox: A Generative Model for Music*, 2020, arXiv:2005.00341 (restarts of codes).
# - Yu and others: *Vector-quantized Image Modeling with Improved VQGAN*, 2022, arXiv:2110.04627.
# - Mentzer, Minnen, Agustsson, Tschannen: *Finite Scalar Quantization: VQ-VAE Made Simple*, 2023, arXiv:2309.15505.
# - Krizhevsky: *Learning Multiple Layers of Features from Tiny Images* (CIFAR-10), 2009.
# - Wallace: *The JPEG Still Picture Compression Standard*, 1992.
