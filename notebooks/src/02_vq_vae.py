# %% [markdown]
# # 02 VQ-VAE and VQ-VAE-2
#
# The VAE of notebook 01 describes an image by real numbers. Here an image becomes 64 *integers*, each one of 512: words
# of a vocabulary that the network learns. Integers can be counted, stored exactly, and predicted one after another by
# the same transformer that later writes video.
#
# **After this notebook you can**
# - write a vector quantizer: the nearest code, the straight-through gradient, the running averages;
# - say which loss moves codes and which moves the encoder, and why running averages are k-means;
# - see a codebook collapse, measure it (usage, perplexity), and cure it;
# - build a VQ-VAE and a VQ-VAE-2, and find out what each level of the second holds;
# - say why a tokenizer needs a prior before it can generate.
#
# **You need** Python, a little PyTorch, and the autoencoder of notebook 01. The notebook runs alone.
#
# **Time:** about 3 hours of study; about 7 minutes of computing on a two-core laptop.
#
# **Before:** [01 VAE](01_vae.ipynb). **Next:** [03 Conv3D VQ-VAE](03_video_vq_vae.ipynb).

# %%
# NBVAL_IGNORE_OUTPUT
import math

from vg import checkpoints, evaluation, sampling, show
from vg.data import cifar10
from vg.experiments.batches import image_batches
from vg.experiments.losses import image_tokenizer_loss
from vg.models import VQ, VQVAE, VQVAE2, Quantized, VQVAE2Config, VQVAEConfig, quantizers
from vg.profiles import device, profile
from vg.show import interactive
from vg.training import Recipe, fit

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from einops import rearrange
from einops.layers.torch import Rearrange
from IPython.display import display
from torch import nn


def tried(function, *inputs, shapes):
    """What your function gives, as a list; and, in words, what is wrong with its form (or None)."""
    name = function.__name__
    try:
        given = function(*inputs)
        given = given if isinstance(given, tuple) else (given,)
        found = [x if x is None else tuple(x.shape) for x in given]
    except Exception as error:
        return (), f"{name} stopped with {type(error).__name__}: {error}"
    if None in found:
        return (), f"{name} gives None: is there a `return`?"
    return given, None if found == shapes else f"{name} gives {found}, expected the shapes {shapes}"


# %%
# NBVAL_IGNORE_OUTPUT
settings = profile().settings(  # smoke, laptop, gpu
    test_images=(64, 1024, 1024),
    kmeans_images=(64, 2000, 10_000),
    overfit_steps=(2, 500, 500),
    small_steps=(4, 350, 2000),
    small_batch=(8, 32, 256),
    small_width=(8, 32, 64),
    width=(16, 96, 128),
    steps=(4, 600, 4000),
    batch=(8, 32, 128),
    samples=(1, 6, 8),
)
show.style()
COLOURS = plt.rcParams["axes.prop_cycle"].by_key()["color"]
images = cifar10()
truth = images.test.take(range(settings.test_images))  # (B, C, H, W) in [-1, 1]
print(f"profile {profile().name}, {device()}; {len(truth)} test images of {images.describe()}")
show.grid(truth[:16], columns=8, scale=3)

# %% [markdown]
# These are colour photographs of 32x32 pixels in ten classes. (Without a network the course draws small pictures of its
# own; the first line above says which you have.) Training sees `images.train` only. `truth` is part of `images.test`, and
# the scores below are measured on it, most of them on its first 512 images.
#
# ## The nearest code
#
# Begin in the plane, with 240 points $z_i$ and a *codebook* of $K = 6$ vectors $e_k$, the *codes*. To *quantize* a point
# is to replace it by the nearest code. All that has to be stored is that code's number:
#
# $$k(z) = \arg\min_k \lVert z - e_k \rVert^2, \qquad
# \lVert z - e_k \rVert^2 = \lVert z \rVert^2 - 2\, z \cdot e_k + \lVert e_k \rVert^2 .$$
#
# The term $\lVert z \rVert^2$ is the same for every code, so it cannot change which one is nearest. What is left is one
# matrix product for all points and all codes.

# %% [markdown] tags=["student"]
# **Your part: `nearest`** (easy, 10 minutes). Take vectors `z (..., D)`, with any number of axes in front, and
# `codebook (K, D)`. Return the number of the nearest code of each vector, `(...)`, without a loop.
#
# <details><summary>Hint 1</summary>
#
# `z @ codebook.T` has the products of every vector with every code: `(..., K)`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `codebook.square().sum(-1)` is `(K,)`. It is added to each row of the products by broadcasting.
#
# </details>
# <details><summary>Hint 3</summary>
#
# The smallest of `|e|^2 - 2 z.e` along the last axis wins: `argmin(-1)`.
#
# </details>


# %% tags=["task"]
def nearest(z, codebook):
    """The number of the nearest code of each vector: z (..., D), codebook (K, D) -> (...) int64."""
    ### BEGIN SOLUTION
    return (codebook.square().sum(-1) - 2 * z @ codebook.T).argmin(-1)
    ### END SOLUTION


# %% tags=["grader"]
def check_nearest(function):
    torch.manual_seed(0)
    z, book = torch.randn(5, 40, 8), torch.randn(16, 8) * torch.linspace(0.2, 3, 16)[:, None]
    given, wrong = tried(function, z, book, shapes=[(5, 40)])
    if wrong:
        return wrong
    (got,) = given
    distances = [[float(((v - e) ** 2).sum()) for e in book] for v in z.flatten(0, 1)]  # two loops
    right = torch.tensor([row.index(min(row)) for row in distances]).view(5, 40)
    if got.is_floating_point():
        return "this is not the code's number but its distance: argmin, not min"
    if torch.equal(got, (z @ book.T).argmax(-1)):
        return "this is the largest product z.e, which long codes win: the term |e|^2 is missing"
    if torch.equal(got, torch.cdist(z, book).argmax(-1)):
        return "this is the farthest code: argmin, not argmax"
    same = torch.equal(quantizers.nearest(z.flatten(0, 1), book), got.flatten())
    if not torch.equal(got, right) or not same:
        return "some vectors get another code than by two loops: check the factor 2"
    return "right: as two loops, and as vg's"


print(check_nearest(nearest))

# %% [markdown]
# Every place in the plane belongs to its nearest code. So a codebook cuts space into *cells* with straight borders, a
# Voronoi diagram. Below, dots are points, crosses are codes, and a thin line is the error that quantizing makes.

# %%
generator = torch.Generator().manual_seed(1)
centres = torch.tensor([[-1.6, 0.8], [0.2, 1.4], [1.5, -0.2], [-0.6, -1.2]])
points = centres[torch.randint(4, (240,), generator=generator)]
points = points + 0.45 * torch.randn(240, 2, generator=generator)
codebook = points[torch.randperm(240, generator=generator)[:6]].clone()  # six of the points
cells = nearest(points, codebook)  # (240,)


# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
def draw_cells(ax, codebook, reach=3.0):
    """Colour the plane by nearest code, and mark the codes."""
    side = torch.linspace(-reach, reach, 300)
    plane = torch.cartesian_prod(side, side).view(300, 300, 2).flip(-1)  # rows are y
    palette = plt.matplotlib.colors.ListedColormap(COLOURS[: len(codebook)])
    options = dict(extent=(-reach, reach) * 2, vmin=0, vmax=len(codebook) - 1, alpha=0.22)
    ax.imshow(nearest(plane, codebook), origin="lower", cmap=palette, **options)
    ax.scatter(*codebook.T, marker="x", s=60, color="black", linewidths=2, zorder=6)
    ax.set(aspect="equal", xlim=(-reach, reach), ylim=(-reach, reach))
    ax.grid(False)


figure, ax = plt.subplots(figsize=(4.6, 4.4))
draw_cells(ax, codebook)
ax.plot(*torch.stack([points, codebook[cells]]).unbind(-1), color="#555555", linewidth=0.4)
ax.scatter(*points.T, s=9, color=[COLOURS[k] for k in cells], zorder=3)
plt.show()

# %% [markdown]
# ## A gradient past a step that has none
#
# In a VQ-VAE an encoder makes the points, and a decoder reads the codes. Move a point a little: its code stays the same,
# so the decoder's output stays the same. The derivative is 0, and on a border there is none. The encoder would learn
# nothing.
#
# The *straight-through estimator* (Bengio et al., 2013) uses the code in the forward pass and pretends in the backward
# pass that nothing was quantized. With $\mathrm{sg}$ for "stop the gradient" (`detach` in PyTorch):
#
# $$q = z + \mathrm{sg}[e_{k(z)} - z], \qquad \frac{\partial q}{\partial z} := 1 .$$

# %% [markdown] tags=["student"]
# **Your part: `straight_through`** (easy, 5 minutes). Take `z (..., D)` and its `codes`, of the same shape. Return a
# tensor whose value is the codes, and whose gradient reaches `z` unchanged.
#
# <details><summary>Hint 1</summary>
#
# Add something to `z` that makes it the code, and that autograd treats as a constant.
#
# </details>
# <details><summary>Hint 2</summary>
#
# What has to be added is `codes - z`. Detach all of it, not only one of the two.
#
# </details>


# %% tags=["task"]
def straight_through(z, codes):
    """The codes in the forward pass; in the backward pass z gets the codes' gradient."""
    ### BEGIN SOLUTION
    return z + (codes - z).detach()
    ### END SOLUTION


# %% tags=["grader"]
def check_straight_through(function):
    torch.manual_seed(0)
    z, codes = torch.randn(7, 4, requires_grad=True), torch.randn(7, 4, requires_grad=True)
    given, wrong = tried(function, z, codes, shapes=[(7, 4)])
    if wrong:
        return wrong
    (got,) = given
    if not torch.allclose(got, codes, atol=1e-6):
        return "the value is not the code: the decoder has to see codes, in the forward pass"
    if not got.requires_grad:
        return "no gradient comes through at all: z itself has to stay outside `detach`"
    to_z, to_codes = torch.autograd.grad(got.square().sum(), (z, codes), allow_unused=True)
    if to_z is None or not to_z.any():
        return "no gradient reaches z: in codes - z both have to be inside `detach`"
    if to_codes is not None:
        return "a gradient reaches the codes as well: detach them too, other rules move the codes"
    same = torch.allclose(to_z, 2 * codes, atol=1e-5)
    return "right: forward the code, backward its gradient" if same else "z gets another gradient"


print(check_straight_through(straight_through))

# %% [markdown]
# Drawn as arrows, downhill. Say that the decoder wants every code nearer to the star. All points of a cell get the same
# arrow, copied from their code. Grey arrows are the gradients without quantization. Below is the angle between the two.

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
goal = torch.tensor([0.3, 0.1])  # the decoder would like all codes nearer to this place
moving_points = points.clone().requires_grad_()
(0.5 * (straight_through(moving_points, codebook[cells]) - goal).square().sum()).backward()
copied, true = -moving_points.grad, goal - points
figure, ax = plt.subplots(figsize=(4.6, 4.4))
draw_cells(ax, codebook)
ax.scatter(*goal, marker="*", s=120, color="black", zorder=6)
arrows = dict(angles="xy", scale_units="xy", scale=3, width=0.005, zorder=5)
ax.quiver(*points[::2].T, *true[::2].T, color="#a0a0a0", **arrows)
ax.quiver(*points[::2].T, *copied[::2].T, color=[COLOURS[k] for k in cells[::2]], **arrows)
ax.set_title("gradients: true (grey) and copied")
plt.show()
angle = torch.rad2deg(torch.acos(F.cosine_similarity(true, copied).clamp(-1, 1)))
near, far = angle[(points - codebook[cells]).norm(dim=1).argsort()].view(2, -1).mean(1)
print(f"angle: {near:.0f} degrees for the points nearer to their code, {far:.0f} for the others")

# %% [markdown]
# The copied gradient is only good if the code is near. So points should stay close to their codes, and codes should go
# where points are. The loss has to ask for both. First drag a cross or the star below (or select one with Tab and use
# the arrow keys). Can you make a code lose all its points?

# %%
# NBVAL_IGNORE_OUTPUT
interactive.codebook(points, codebook, goal, title="drag codes: cells and copied gradients follow")

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# Yes: drag a cross far outside, or right beside another one. A code without points gets no gradient from anything, so
# nothing would ever bring it back.
#
# </details>
#
# ## Two losses, and what they move
#
# The decoder's gradient skips the codebook on its way to the encoder. So VQ-VAE (van den Oord et al., 2017, equation 3)
# adds two terms:
#
# $$\mathcal{L} = \mathcal{L}_\text{reconstruction}
# + \underbrace{\frac{1}{ND}\sum_{i=1}^{N} \lVert \mathrm{sg}[z_i] - e_{k_i} \rVert^2}_{\text{codebook loss}}
# + \beta\, \underbrace{\frac{1}{ND}\sum_{i=1}^{N} \lVert z_i - \mathrm{sg}[e_{k_i}] \rVert^2}_{\text{commitment loss}},
# \qquad \beta = 0.25 .$$
#
# Their values are equal; the stopped side differs. The codebook loss moves codes to points, the commitment loss moves
# points to codes. The paper writes the squared length of the vector, a sum over its $D$ channels. Code (`F.mse_loss`, and
# here the formula) takes the *mean*, which is $D$ times smaller. This matters: the same $\beta$ holds points $D$ times
# less strongly against a reconstruction loss that is also a mean.
#
# Where does the codebook loss push a code? If $n_k$ points belong to code $k$ and $\bar z_k$ is their mean, its gradient
# is $\frac{2 n_k}{ND} (e_k - \bar z_k)$. The goal is the mean of the cell.

# %%
free_points, free_codes = points.clone().requires_grad_(), codebook.clone().requires_grad_()
codebook_loss = F.mse_loss(free_codes[cells], free_points.detach())
summed = (points - codebook[cells]).square().sum(-1).mean()
print(f"codebook loss, as a mean: {codebook_loss:.4f}; as a sum over D: {summed:.4f}")
codebook_loss.backward()
print("the codebook loss moves points:", free_points.grad is not None)
members = F.one_hot(cells, len(codebook)).float()  # (N, K): who belongs to whom
number = members.sum(0)[:, None]  # (K, 1)
formula = 2 * number / points.numel() * (codebook - members.T @ points / number)
print("it moves codes, as in the formula:", torch.allclose(free_codes.grad, formula))

# %% [markdown]
# So why not go to the mean at once? Put each code at the mean of its points, find the nearest codes again, and repeat:
# that is *k-means* (Lloyd, 1957).


# %%
# NBVAL_IGNORE_OUTPUT
def lloyd(z, book):
    """One step of k-means: z (N, D), book (K, D) -> (K, D). A code without points stays."""
    owner = nearest(z, book)
    count = torch.bincount(owner, minlength=len(book))[:, None]
    total = torch.zeros_like(book).index_add_(0, owner, z)
    return torch.where(count > 0, total / count.clamp(min=1), book)


figure, axes = plt.subplots(1, 4, figsize=(11, 3), sharey=True)
places, moved = dict(zip((0, 1, 3, 10), axes)), codebook
for step in range(11):
    if step in places:
        draw_cells(places[step], moved)
        places[step].scatter(*points.T, s=3, color="#555555")
        error = F.mse_loss(moved[nearest(points, moved)], points)
        places[step].set_title(f"after {step} steps\nmean squared error {error:.3f}")
    moved = lloyd(points, moved)
plt.show()

# %% [markdown]
# ## The codebook's step: running averages
#
# In training there is no "all points": a batch is a small part of them, and the encoder moves them from step to step. So
# VQ-VAE's appendix A.1 keeps *running averages* (exponential moving averages, EMA) of each code's count $N_k$ and sum
# $m_k$, with decay $\gamma = 0.99$, where $n_k$ is the number of the batch's vectors that chose code $k$:
#
# $$N_k \leftarrow \gamma N_k + (1-\gamma)\, n_k, \qquad
# m_k \leftarrow \gamma\, m_k + (1-\gamma) \sum_{i:\, k_i = k} z_i, \qquad
# e_k = \frac{m_k}{\tilde N_k} .$$
#
# With $\gamma = 0$ this is one step of k-means on the batch; with 0.99 it has a memory of about a hundred batches. No
# gradient moves the codes then, so there is no learning rate to set and the codebook loss is dropped. Commitment stays.
# $\tilde N_k$ is a count with *Laplace smoothing*, so that nothing is divided by zero ($\epsilon = 10^{-5}$):
#
# $$\tilde N_k = \frac{N_k + \epsilon}{\sum_j N_j + K \epsilon} \sum_j N_j .$$

# %% [markdown] tags=["student"]
# **Your part: `ema_step`** (medium, 20 minutes). Take the averages `counts (K,)` and `sums (K, D)`, a batch `z (n, D)` and
# its `indices (n,)`. Return the new `counts`, the new `sums`, and the codebook `(K, D)`, by the formulas above. Do not
# change the inputs.
#
# <details><summary>Hint 1</summary>
#
# `hits = F.one_hot(indices, K).float()` is `(n, K)`: a 1 where vector i has code k.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `hits.sum(0)` counts the vectors of each code; `hits.T @ z` adds them up.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Smooth the *new* counts, and keep them unsmoothed in what you return. `sums / smooth[:, None]` divides each row.
#
# </details>


# %% tags=["task"]
def ema_step(counts, sums, z, indices, decay=0.99, eps=1e-5):
    """counts (K,), sums (K, D), z (n, D), indices (n,) -> new counts, new sums, codebook (K, D)."""
    ### BEGIN SOLUTION
    hits = F.one_hot(indices, len(counts)).float()  # (n, K)
    counts = decay * counts + (1 - decay) * hits.sum(0)
    sums = decay * sums + (1 - decay) * hits.T @ z
    smooth = (counts + eps) / (counts.sum() + len(counts) * eps) * counts.sum()
    return counts, sums, sums / smooth[:, None]
    ### END SOLUTION


# %% tags=["grader"]
def check_ema_step(function):
    torch.manual_seed(0)
    vg, z = VQ(6, 3, data_init=False, restart=False).train(), torch.randn(50, 3)
    vg.codebook.copy_(torch.randn(6, 3))
    for buffer, value in ((vg.codebook, 100.0), (vg.counts, 0.0), (vg.sums, 0.0)):
        buffer[0] = value  # far away: nothing has chosen it, and nothing will
    old, indices = (vg.counts.clone(), vg.sums.clone()), vg(z)[1]
    copies = [x.clone() for x in old]
    given, wrong = tried(function, *copies, z, indices, shapes=[(6,), (6, 3), (6, 3)])
    if wrong:
        return wrong
    (counts, sums, book), n = given, torch.bincount(indices, minlength=6)
    if torch.allclose(counts, 0.01 * old[0] + 0.99 * n):
        return "decay and 1 - decay are swapped: the old average keeps 0.99, the batch adds 0.01"
    if not torch.allclose(counts, vg.counts, atol=1e-7):
        return f"the counts are off: unsmoothed, they should be {vg.counts.tolist()}"
    if not torch.allclose(sums, vg.sums, atol=1e-5):
        return "the sums are off: add up the vectors of each code (no mean), weighed by 1 - decay"
    if not book.isfinite().all():
        return "a code without points is divided by zero: smooth the counts"
    if not torch.allclose(book, vg.codebook, atol=1e-4):
        return "the codebook is not sums / smoothed new counts"
    same = all(torch.equal(a, b) for a, b in zip(copies, old))
    return "right: as vg's" if same else "the inputs were changed: no `*=`, no `lerp_`"


print(check_ema_step(ema_step))

# %% [markdown]
# The three parts make a quantizer. `vg.models.VQ` is the same with more care (half precision, several processes, clear
# errors) and two cures that come below. Both are off here: after 30 steps on the same batches everything must agree.


# %%
class Codebook(nn.Module):
    """Vector quantization with running averages: z (..., D) -> codes (..., D), indices (...)."""

    def __init__(self, size, channels):
        super().__init__()
        self.size, self.channels = size, channels
        start = torch.empty(size, channels).uniform_(-1 / size, 1 / size)
        self.register_buffer("codebook", start)  # saved with the model, but no optimizer moves it
        self.register_buffer("sums", start.clone())
        self.register_buffer("counts", torch.ones(size))

    def forward(self, z):
        indices = nearest(z.detach(), self.codebook)
        codes = straight_through(z, self.codebook[indices])
        if self.training:
            flat = z.detach().flatten(0, -2), indices.flatten()
            self.counts, self.sums, self.codebook = ema_step(self.counts, self.sums, *flat)
        return codes, indices

    def loss(self, z, codes, indices):
        return 0.25 * F.mse_loss(z, codes.detach())


torch.manual_seed(0)
mine, theirs = Codebook(32, 8), VQ(32, 8, data_init=False, restart=False)
theirs.load_state_dict(mine.state_dict(), strict=False)  # the same start
agree = []
for _ in range(30):
    z = 0.3 * torch.randn(4, 64, 8)
    (hand_codes, hand_tokens), (vg_codes, vg_tokens) = mine(z), theirs(z)
    loss, vg_loss = mine.loss(z, hand_codes, hand_tokens), theirs.loss(z, vg_codes, vg_tokens)
    agree += [torch.equal(hand_tokens, vg_tokens), torch.allclose(loss, vg_loss)]
    agree += [torch.allclose(mine.codebook, theirs.codebook, atol=1e-4)]
print("indices, losses and codebooks agree with vg in all steps:", all(agree))

# %% [markdown]
# What happens to a code that gets no points? Its count and its sum shrink by the same factor each step, so their quotient
# would stay. But once the count is as small as $\epsilon$, the smoothing no longer shrinks with it: the code drifts to
# the origin. The next cell follows the length of such a code, with and without smoothing. (Learned by the codebook loss
# it would stay where it is.) Drifting is not dying: near the origin a code may be nearest again.

# %%
drift = {}
for name, eps in {"with smoothing": 1e-5, "without": 0.0}.items():
    count, total, drift[name] = torch.ones(2), torch.tensor([[1.0, 0.0], [2.0, 1.0]]), []
    batch, chosen = torch.tensor([[2.0, 1.0]]), torch.tensor([1])  # all points choose code 1
    for _ in range(2000):
        count, total, book = ema_step(count, total, batch, chosen, eps=eps)
        drift[name].append(float(book[0].norm()))
show.curves(drift, "a code that gets no points", y="its distance from the origin")

# %% [markdown]
# A codebook needs no network. Cut images into patches of 4x4 pixels, 48 numbers each, and quantize the *pixels* by
# k-means: 64 integers of 9 bits, 576 bits an image. Above, the 64 codes used most often. Below, test images and what 64
# integers keep of them. This is the baseline that a VQ-VAE has to beat with the same bits.


# %%
# NBVAL_IGNORE_OUTPUT
def cut(x):
    """(B, C, H, W) -> (B, H / 4, W / 4, C * 16)."""
    return rearrange(x, "b c (h p) (w q) -> b h w (c p q)", p=4, q=4)


def paste(x):
    return rearrange(x, "b h w (c p q) -> b c (h p) (w q)", p=4, q=4)


torch.manual_seed(0)
patches = cut(images.train.take(range(settings.kmeans_images))).flatten(0, 2)
patch_book = patches[torch.randperm(len(patches))[:512]]
for _ in range(10):
    patch_book = lloyd(patches, patch_book)
patch_tokens = nearest(cut(truth), patch_book)  # (B, 8, 8)
from_patches = paste(patch_book[patch_tokens]).clamp(-1, 1)
frequent = torch.bincount(patch_tokens.flatten(), minlength=512).argsort(descending=True)[:64]
display(show.grid(patch_book[frequent].view(-1, 3, 4, 4).clamp(-1, 1), columns=16, scale=8))
pair = torch.stack([truth[:8], from_patches[:8]]).transpose(1, 2)
show.strip(pair, every=1, scale=3, labels=["original", "64 patches"])

# %% [markdown]
# ## A VQ-VAE by hand
#
# Encoder, quantizer, decoder. As in notebook 01, but channels last, since that is what the quantizer takes. A block is a
# 3x3 convolution and a small MLP, each behind a LayerNorm and added to its input.
#
# ```text
# image (B, 3, 32, 32)
#   fold 4x4 pixels, Linear        (B, 8, 8, d)      encoder
#   2 blocks, LayerNorm, Linear    (B, 8, 8, 16)     z
#   nearest of 512 codes           (B, 8, 8)         indices: 64 integers of 9 bits
#   the code                       (B, 8, 8, 16)     straight-through
#   Linear, 3 blocks               (B, 8, 8, d)      decoder
#   unfold 2x2, 1 block            (B, 16, 16, d/2)
#   LayerNorm, unfold 2x2          (B, 3, 32, 32)
# ```


# %%
def fold(d, D, n):
    """n times as coarse a grid: (B, n h, n w, d) -> (B, h, w, D)."""
    together = Rearrange("b (h m) (w n) d -> b h w (m n d)", m=n, n=n)
    return nn.Sequential(together, nn.Linear(n * n * d, D))


def unfold(D, d, n):
    """The reverse: (B, h, w, D) -> (B, n h, n w, d)."""
    apart = Rearrange("b h w (m n d) -> b (h m) (w n) d", m=n, n=n)
    return nn.Sequential(nn.Linear(D, n * n * d), apart)


class Block(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.norm, self.conv = nn.LayerNorm(d), nn.Conv2d(d, d, 3, padding=1)
        mlp = nn.LayerNorm(d), nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d)
        self.mlp = nn.Sequential(*mlp)

    def forward(self, x):  # (B, h, w, d)
        x = x + self.conv(F.silu(self.norm(x)).movedim(-1, 1)).movedim(1, -1)
        return x + self.mlp(x)


def decoder(d):
    """(B, h, w, d) -> (B, 4 h, 4 w, 3)."""
    coarse = Block(d), Block(d), Block(d), unfold(d, d // 2, 2)
    return nn.Sequential(*coarse, Block(d // 2), nn.LayerNorm(d // 2), unfold(d // 2, 3, 2))


# %%
class HandVQVAE(nn.Module):
    def __init__(self, quantizer, d):
        super().__init__()
        self.quantizer, D = quantizer, quantizer.channels
        blocks = fold(3, d, 4), Block(d), Block(d)
        self.encoder = nn.Sequential(*blocks, nn.LayerNorm(d), nn.Linear(d, D))
        self.from_code, self.decoder = nn.Linear(D, d), decoder(d)

    def quantize(self, x):  # (B, 3, H, W)
        z = self.encoder(x.movedim(1, -1))
        codes, indices = self.quantizer(z)
        return Quantized(codes, indices, self.quantizer.loss(z, codes, indices))

    def reconstruct(self, codes):
        return self.decoder(self.from_code(codes)).movedim(-1, 1)

    def forward(self, x):
        quantized = self.quantize(x)
        return self.reconstruct(quantized.codes), quantized


# %% [markdown]
# `vg.models.VQVAE` has the same parts in the same order, so its weights can be copied. Then images and indices must
# agree. `encode` and `decode` are its two halves.


# %%
def copy_weights(hand, model):
    """Parameters in their order; counts, sums and codebooks by name."""
    for to, source in zip(hand.parameters(), model.parameters(), strict=True):
        to.data.copy_(source)
    books = {name: x for name, x in model.state_dict().items() if "quantizer" in name}
    hand.load_state_dict(books, strict=False)


torch.manual_seed(0)
hand, model = HandVQVAE(Codebook(512, 16), settings.width), VQVAE(VQVAEConfig(width=settings.width))
copy_weights(hand.eval(), model.eval())
with torch.no_grad():
    (hand_images, hand_coded), (vg_images, vg_coded) = hand(truth[:4]), model(truth[:4])
print("indices agree:", torch.equal(hand_coded.indices, vg_coded.indices))
print("images agree: ", torch.allclose(hand_images, vg_images, atol=1e-4))
print("bits an image:", model.raw_bits((32, 32)), "; as bytes of pixels:", 8 * truth[0].numel())

# %% [markdown]
# ## Which error, and the first loss
#
# Let $E_b$ be the mean squared error of image $b$, a number between 0 and 4. Three losses are common: its mean, the mean of
# its root, and the mean of its logarithm. They differ in how much an image counts: their derivatives by $E_b$ are $1$,
# $1/(2\sqrt{E_b})$ and $1/(2E_b)$. Here and in notebook 05 it is the logarithm, in 03 and 04 the root:
#
# $$\mathcal{L} = \frac1B \sum_b \tfrac12 \ln\left(E_b + \delta\right) + \text{commitment},
# \qquad \text{PSNR} = 10 \log_{10} \frac{4}{E_b}, \qquad \delta = 2 \cdot 10^{-4} .$$
#
# So this loss is PSNR in decibels (dB), the measure we report, times $-\ln(10)/20$ and plus $\ln 2$; $\delta$ keeps the logarithm
# finite. The next cell checks that, and compares the weight that each loss gives to easy images.

# %%
# NBVAL_IGNORE_OUTPUT
errors = (from_patches - truth).square().flatten(1).mean(1)  # (B,)
as_psnr = math.log(2) - evaluation.psnr(from_patches, truth) * math.log(10) / 20
print("half the logarithm is PSNR, scaled:", torch.allclose(0.5 * errors.log(), as_psnr, atol=1e-3))
easy = errors <= errors.quantile(0.25)  # the easiest quarter of the images
for name, power in {"the error": 0, "its root": -0.5, "its logarithm": -1}.items():
    weight = errors**power
    share = 100 * weight[easy].sum() / weight.sum()
    print(f"mean of {name:13}: the easiest quarter has {share:.0f} % of the weight")

# %% [markdown]
# **What should the first loss be?** An untrained decoder knows nothing. If it gave 0 everywhere, $E_b$ would be the mean
# square of the image's pixels, which a line computes without a network. A first loss far from that is a bug.
#
# **Overfit one batch.** Eight images are 512 vectors, and there are 512 codes: nothing forbids a nearly perfect
# result. A model that cannot learn eight images will not learn fifty thousand. So train on one batch first; the loop is
# notebook 01's.

# %%
# NBVAL_IGNORE_OUTPUT
torch.manual_seed(0)
eight = images.train.take(range(8))
print(f"loss of an image of zeros: {0.5 * eight.square().flatten(1).mean(1).log().mean():.2f}")
pupil, curve = HandVQVAE(VQ(512, 16), 32), []
optimizer = torch.optim.AdamW(pupil.parameters(), lr=3e-3)
for _ in range(settings.overfit_steps):
    loss = image_tokenizer_loss(pupil, eight)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    curve.append(loss.item())
print(f"first loss: {curve[0]:.2f}, last: {curve[-1]:.2f}")
show.curves({"loss": curve}, "eight images, over and over", y="loss")

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# The first loss lies above that of zeros, by less than one: an untrained decoder gives noise, not zeros, and commitment
# comes on top. Then it falls far below both.
#
# </details>
#
# ## Collapse
#
# Only codes that are chosen learn from the points. Most of the vocabulary may stay unused: the codebook *collapses*. Two
# numbers measure it. *Usage* is the share of the codes that occur at all. *Perplexity* is two to the power of the
# entropy of the code frequencies $p_k$,
#
# $$\text{perplexity} = 2^{-\sum_k p_k \log_2 p_k},$$
#
# the number of equally frequent codes that would be as hard to guess. It also notices codes that hardly ever occur: below, eight codes that are equally frequent, and
# eight of which one is chosen 93 times of 100. Usage is the same, 100%.


# %%
def perplexity(indices, size):
    p = torch.bincount(indices.flatten(), minlength=size) / indices.numel()
    p = p[p > 0]  # 0 log 0 is 0
    return float(2 ** -(p * p.log2()).sum())


for tokens in (torch.arange(8), torch.tensor([0] * 93 + [1, 2, 3, 4, 5, 6, 7])):
    print(f"perplexity {perplexity(tokens, 8):.2f}, vg's {evaluation.perplexity(tokens, 8):.2f}")

# %% [markdown]
# Now provoke a collapse. The model by hand, narrow, three times with the same batches and 512 codes:
#
# - *random start*: small random codes, as in the first implementations;
# - *data start*: k-means of the first batch;
# - *data start, restarts*: also, a code chosen less than a tenth as often as the average one is put onto a random vector
#   of the batch (Dhariwal et al., 2020). Its running count and sum are set to match, or the old ones would pull it back.


# %%
# NBVAL_IGNORE_OUTPUT
@torch.no_grad()
def measure(model):
    """On test images: PSNR; and usage and perplexity, if there is one level."""
    parts = [model(part.to(device())) for part in truth[:512].split(128)]
    rebuilt = torch.cat([part.cpu() for part, _ in parts])
    found = {"PSNR (dB)": float(evaluation.psnr(rebuilt, truth[:512]).mean())}
    if not hasattr(model, "top_quantizer"):
        tokens = torch.cat([quantized.indices for _, quantized in parts])
        found["usage (%)"] = 100 * evaluation.usage(tokens, model.quantizer.size)
        found["perplexity"] = perplexity(tokens, model.quantizer.size)
    return found


starts = {"random start": (False, False), "data start": (True, False)}
starts["data start, restarts"] = (True, True)
runs = {}
recipe = Recipe(settings.small_steps, lr=2e-3, warmup=20, ema=0.0)
often = dict(evaluate=measure, every=max(2, settings.small_steps // 14))
for name, (data_init, restart) in starts.items():
    torch.manual_seed(0)
    quantizer = VQ(512, 16, data_init=data_init, restart=restart)
    small = HandVQVAE(quantizer, settings.small_width).to(device())
    sampler = image_batches(images.train, settings.small_batch)
    runs[name] = fit(small, image_tokenizer_loss, sampler, recipe, **often)

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
figure, axes = plt.subplots(1, 3, figsize=(10.2, 3), layout="constrained")
for ax, name in zip(axes, ("PSNR (dB)", "usage (%)", "perplexity")):
    for run in runs.values():
        ax.plot(*zip(*run.history[name]))
    ax.set(title=f"{name}, test images", xlabel="step")
figure.legend(axes[0].lines, runs, loc="outside lower center", ncols=3)
plt.show()

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# With a random start most codes stay unused. A start from data helps, but many codes are lost while the encoder
# moves away from them. With restarts nearly all are in use, and the PSNR is best: unused codes are bits that are paid for
# and say nothing. Perplexity stays below 512 because some codes are more frequent than others; a prior can win those bits
# back. (Notebook 04 has a quantizer without a codebook, FSQ, which needs none of these cures.)
#
# </details>
#
# ## Training on CIFAR-10
#
# Now the wide model, `vg`'s, with the same loss. The dotted line is the quantized patches from above: also 576 bits an
# image. A harder baseline with as many bits, principal components that each get the bits they deserve, is in the table
# of small images in `RESULTS.md`.


# %%
# NBVAL_IGNORE_OUTPUT
def train_images(model):
    sampler = image_batches(images.train, settings.batch)
    recipe = Recipe(settings.steps, lr=2e-3, muon=2e-2, warmup=30, grad_clip=5.0, ema=0.0)
    often = dict(evaluate=measure, every=max(2, settings.steps // 12))
    return fit(model, image_tokenizer_loss, sampler, recipe, **often)


torch.manual_seed(0)
one_level = train_images(VQVAE(VQVAEConfig(width=settings.width)).to(device()))
floor = {"64 patches": float(evaluation.psnr(from_patches, truth).mean())}
curves = {"one level": one_level.history["PSNR (dB)"]}
show.curves(curves, "576 bits an image", y="PSNR, test (dB)", baselines=floor)

# %% [markdown]
# The same model, trained longer, ships with the course; its card says how. It is frozen: no gradients, and `train()` does
# not move its codebook. Every row of the picture but the first was made from 576 bits an image.


# %%
# NBVAL_IGNORE_OUTPUT
@torch.no_grad()
def rebuild(model, x):
    """Through a model of one level or two and back; on the CPU, clamped."""
    return torch.cat([model(part.to(device()))[0].clamp(-1, 1).cpu() for part in x.split(128)])


shipped = checkpoints.load("vqvae-cifar10", device=device())
display(show.card("vqvae-cifar10"))
made = {"original": truth, "64 patches": from_patches, "vqvae-cifar10": rebuild(shipped, truth)}
made |= {"VQ-VAE, from here": rebuild(one_level.model, truth)}
show.strip({name: x[:8].transpose(0, 1) for name, x in made.items()}, every=1, scale=3)

# %% [markdown]
# What kind of error does each row make?
#
# <details><summary>What the stored run shows</summary>
#
# Patches show their borders. The VQ-VAE has none, since its decoder draws a token according to the tokens around it; it is
# soft where there is texture.
#
# </details>
#
# ## VQ-VAE-2
#
# Sixty-four tokens that each see a small neighbourhood repeat each other: this is sky, this is sky. VQ-VAE-2 (Razavi et
# al., 2019) divides the work. A coarse *top* grid holds what is large. It is quantized first and decoded, and the
# result conditions the *bottom*: encoder and decoder of the bottom both see it.
#
# ```text
# image (B, 3, 32, 32)
#   encoder: fold 4x4, 2 blocks ------------> x (B, 8, 8, d)
#   top encoder: fold 2x2, 1 block, Linear -> (B, 4, 4, 16)
#   top: nearest of 4,096                     (B, 4, 4)       16 integers of 12 bits
#   top decoder: Linear, 1 block, unfold 2x2  t (B, 8, 8, d)
#   join x and t: Linear, 1 block, Linear     (B, 8, 8, 16)
#   bottom: nearest of 64                     (B, 8, 8)       64 integers of 6 bits
#   decoder of t + Linear(bottom codes)       (B, 3, 32, 32)
# ```
#
# That is $16 \cdot 12 + 64 \cdot 6 = 576$ bits again.


# %%
class HandVQVAE2(nn.Module):
    def __init__(self, top_quantizer, quantizer, d):
        super().__init__()
        self.top_quantizer, self.quantizer = top_quantizer, quantizer
        D = quantizer.channels  # of both
        self.encoder = nn.Sequential(fold(3, d, 4), Block(d), Block(d))
        top = fold(d, d, 2), Block(d), nn.LayerNorm(d), nn.Linear(d, D)
        self.top_encoder = nn.Sequential(*top)
        self.top_decoder = nn.Sequential(nn.Linear(D, d), Block(d), unfold(d, d, 2))
        join = nn.Linear(2 * d, d), Block(d), nn.LayerNorm(d), nn.Linear(d, D)
        self.join, self.from_code, self.decoder = nn.Sequential(*join), nn.Linear(D, d), decoder(d)

    def bottom_z(self, x, top):
        """What the bottom quantizes, for images x (B, 3, H, W), given the top's codes."""
        features = self.encoder(x.movedim(1, -1))
        return self.join(torch.cat([features, self.top_decoder(top)], dim=-1))

    def quantize(self, x):
        z = self.top_encoder(self.encoder(x.movedim(1, -1)))
        top, top_indices = self.top_quantizer(z)
        loss = self.top_quantizer.loss(z, top, top_indices)
        z = self.bottom_z(x, top)
        bottom, indices = self.quantizer(z)
        loss = loss + self.quantizer.loss(z, bottom, indices)
        return Quantized((top, bottom), (top_indices, indices), loss)

    def reconstruct(self, codes):
        top, bottom = codes
        return self.decoder(self.top_decoder(top) + self.from_code(bottom)).movedim(-1, 1)


# %%
# NBVAL_IGNORE_OUTPUT
torch.manual_seed(0)
two_levels = train_images(VQVAE2(VQVAE2Config(width=settings.width)).to(device()))
model2 = two_levels.model.cpu().eval()
hand2 = HandVQVAE2(Codebook(4096, 16), Codebook(64, 16), settings.width).eval()
copy_weights(hand2, model2)
with torch.no_grad():
    mine2, vg2 = hand2.quantize(truth[:64]), model2.quantize(truth[:64])
    same = torch.allclose(hand2.reconstruct(mine2.codes), model2.reconstruct(vg2.codes), atol=1e-3)
    other = hand2.quantizer(hand2.bottom_z(truth[:64], mine2.codes[0].roll(1, 0)))[1]
print("images as vg's:", same)
kept = 100 * (other == mine2.indices[1]).float().mean()
print(f"bottom codes that stay when the top is another image's: {kept:.0f} %")
both = curves | {"two levels": two_levels.history["PSNR (dB)"]}
show.curves(both, "576 bits an image", y="PSNR, test (dB)", baselines=floor)

# %% [markdown]
# Is a second level worth it, at equal bits and steps? And does the bottom depend on the top?
#
# <details><summary>What the stored run shows</summary>
#
# Two levels end a little higher, from one seed each, and each step has more layers to compute. With another
# image's top hardly any bottom code stays the same: a bottom code does not say what is in the image, but what the top has left out.
#
# </details>
#
# ## What each level holds
#
# Take a level away from the shipped VQ-VAE-2. Either give the decoder the *average* code everywhere, which says
# nothing, or the codes of *another* image, the next one in the row.

# %%
# NBVAL_IGNORE_OUTPUT
shipped2 = checkpoints.load("vqvae2-cifar10", device=device())
with torch.no_grad():
    top, bottom = shipped2.quantize(truth[:512].to(device())).codes
    flat_top, flat_bottom = (codes.mean((0, 1, 2)).expand_as(codes) for codes in (top, bottom))
    ways = {
        "both levels": (top, bottom),
        "top alone": (top, flat_bottom),
        "bottom alone": (flat_top, bottom),
        "next one's top": (top.roll(-1, 0), bottom),
        "next one's bottom": (top, bottom.roll(-1, 0)),
    }
    apart = {name: shipped2.reconstruct(codes).clamp(-1, 1).cpu() for name, codes in ways.items()}
sheet2 = {name: x[:8].transpose(0, 1) for name, x in ({"original": truth} | apart).items()}
display(show.strip(sheet2, every=1, scale=3))
scores = {name: float(evaluation.psnr(x, truth[:512]).mean()) for name, x in apart.items()}
show.bars(scores, "what is left when a level is gone", unit="PSNR (dB)")

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# The top alone is a blurred colour photograph: what is where, and in what light. The bottom alone is a drawing of
# outlines on grey. With the next image's top one sees the next image, with the outlines of this one on it. A wrong top
# is worse than none.
#
# </details>
#
# ## From a tokenizer to a generator
#
# To make a new image, choose integers and decode. But which? Codes depend on each other. By the chain rule,
#
# $$p(c_1, \dots, c_{64}) = p(c_1)\, p(c_2 \mid c_1)\, p(c_3 \mid c_1, c_2) \cdots$$
#
# and a network that predicts the next code from those before, as a language model does, gives every factor. It is called
# the *prior*; notebook 07 builds it. Under it a token of probability $p$ costs $-\log_2 p$ bits, so a prior also compresses tokens.
# With two levels there are two priors: one for the 16 top codes given the class, one for the 64 bottom codes given the
# class and the whole top. The shipped `prior-cifar10` is such a pair.
#
# Below, images from the prior, a class to each row, with a fixed seed. `top_p` leaves out the least likely codes, those
# that together have 5% of the probability; notebook 08 explains the options.

# %%
# NBVAL_IGNORE_OUTPUT
prior = checkpoints.load("prior-cifar10", device=device())
tokens2 = shipped2.encode(truth[:512].to(device()))  # (B, 4, 4) and (B, 8, 8)
with torch.no_grad():
    levels = prior.nll_bits(*tokens2, images.test.labels[: len(tokens2[0])].to(device()))
bits = [float(level.flatten(1).sum(1).mean()) for level in levels]
print(f"bits an image: raw 192 + 384, with the prior {bits[0]:.0f} + {bits[1]:.0f}")


each = settings.samples
classes = [k for k in range(len(images.classes)) for _ in range(each)]
options = dict(temperature=1.0, top_p=0.95, guidance=1.0, progress=False)
options |= dict(batch=len(classes), seed=0, label=classes)
new = sampling.sample_images(prior, shipped2, **options).cpu()
columns = dict(zip(images.classes, new.view(-1, each, *new.shape[1:])))
show.strip({name: x.transpose(0, 1) for name, x in columns.items()}, every=1, scale=3)

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# Neighbouring patches fit together: light and areas of one colour run across them, and blue or green hints at some classes.
# But hardly any picture shows a thing that one could name. The prior saves only a small part of the raw bits.
#
# </details>
#
# ## Exercises
#
# **1. Bits per pixel** (easy, 5 minutes, on paper). How many bits per pixel does the VQ-VAE of this notebook use? And a
# VQ-VAE-2 for images of 256x256, with 32x32 and 64x64 tokens of 512 codes each?
#
# <details><summary>Solution</summary>
#
# A pixel counts once, not three times: $64 \cdot 9 / 1024 = 0.5625$. And
# $(32^2 + 64^2) \cdot 9 / 256^2 \approx 0.70$.
#
# </details>
#
# **2. A restart that lasts** (medium, 15 minutes). `book` is a `Codebook`. Write `restart(book, dead, fresh)`: put the
# codes with the numbers `dead (n,)` onto the vectors `fresh (n, D)`, so that they are still there after the next step, and
# are not dead again at once. Change `book` and return it.
#
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
# A code is sums divided by counts. If only `codebook` were set, the old sums and counts would take it back in the next
# step; with a small count, it would be dead again.
#
# </details>
#
# **3. Nearest by angle** (medium, 10 minutes). Some tokenizers (Yu et al., 2022) choose the code with the smallest *angle*
# to z, whatever the lengths. Write `nearest_by_angle(z, codebook)`, and compare it with `F.cosine_similarity` on random
# vectors. Which of the two has to be brought to length 1?
#
# <details><summary>Solution</summary>
#
# ```python
# def nearest_by_angle(z, codebook):
#     return (z @ F.normalize(codebook, dim=-1).T).argmax(-1)
#
# z, book = torch.randn(40, 8), torch.randn(16, 8)
# by_cosine = F.cosine_similarity(z[:, None], book, dim=-1).argmax(-1)
# print(torch.equal(nearest_by_angle(z, book), by_cosine))
# ```
#
# Only the codes. The length of z multiplies all of its products alike, so it does not matter which is largest.
#
# </details>
#
# ## Summary
#
# - To quantize is to keep the number of the nearest code. The gradient goes straight through; it is only good if the
#   code is near.
# - The codebook loss pulls codes towards the mean of their points; running averages put them there.
# - A code without points drifts or stays, and says nothing. Watch usage and perplexity; start from data; restart what is
#   dead.
# - Compare at equal bits, and with baselines that spend theirs well.
# - Two levels divide the work: the top holds what is large, the bottom adds what the top has left out.
# - Any integers decode to something. To make a likely image they have to fit each other, and that takes a prior.
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
# - Krizhevsky: *Learning Multiple Layers of Features from Tiny Images* (CIFAR-10), 2009.
