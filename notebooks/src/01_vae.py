# %% [markdown]
# # 01 VAE
#
# A small photograph is 3,072 numbers. Here it becomes 128, and those can be drawn at random, mixed, and turned by hand:
# what comes back is a picture again. The network that does so, a *variational autoencoder*, is trained on one number
# that means something: how many bits it takes to say an image.
#
# **After this notebook you will be able to**
# - derive the ELBO in five lines, and check each of them with numbers;
# - say why a random draw stops gradients, and what lets them through;
# - write a likelihood for 8-bit pixels whose 256 probabilities sum to one;
# - train a VAE and judge it: bits per dimension, PSNR, active latents, each beside its baseline;
# - make a VAE ignore its latents, see that in the numbers, and undo it;
# - say why its pictures are blurred.
#
# **You need** Python, a little PyTorch, and what notebook 00 sets up. The notebook runs alone.
#
# **Minutes:** about 10 on a two-core laptop, most of them training; a few with a GPU.
#
# **Before:** [00 Start here](00_start_here.ipynb). **Next:** [02 VQ-VAE and VQ-VAE-2](02_vq_vae.ipynb).

# %%
# NBVAL_IGNORE_OUTPUT
import math
import pprint

import ipywidgets as widgets
import matplotlib.pyplot as plt
import torch
from torch import distributions as dist

from vg import checkpoints, evaluation, show
from vg.data import cifar10
from vg.experiments.batches import image_batches
from vg.experiments.losses import vae_loss
from vg.models import VAE, VAEConfig
from vg.models.vae import discretized_logistic, kl_to_normal
from vg.profiles import device, profile
from vg.show import interactive
from vg.training import Recipe, fit

show.style()
images = cifar10()
print(f"profile {profile().name}, device {device()}")
print(images.describe())

# %% [markdown]
# An image is `(C, H, W)`: three colours, 32 rows, 32 columns, in [-1, 1]. Training images teach, test images are only
# measured on. Each number has one of 256 values, so an image can always be said in 8 bits a number. How many fewer
# will do?

# %%
# NBVAL_IGNORE_OUTPUT
amount = profile().pick(smoke=64, laptop=len(images.test), gpu=len(images.test))
test = images.test.take(range(amount))  # (B, C, H, W)
C, H, W = test.shape[1:]
dims = C * H * W
print(f"{len(test)} test images of {C} x {H} x {W} = {dims} numbers, {8 * dims} bits each")
show.grid(test[:16], columns=8, scale=2, labels=[images.classes[k] for k in images.test.labels[:16]])

# %% [markdown]
# ## A bound, on a model small enough to check
#
# A VAE tells a story of how an image came about. First a few hidden numbers `z`, the *latents*, are drawn from a fixed
# distribution, the *prior* `p(z)`: a standard normal. Then a network, the *decoder*, turns them into a distribution
# over images, the *likelihood* `p(x|z)`. A good story gives the images that we have a high probability `p(x)`.
#
# `p(x)` is an integral over all latents. For an image nobody can compute it. So take an image of one pixel and one
# latent, with a decoder written by hand: `x` is `2 tanh(2 z)` and some noise. Then the integral is a sum over a grid.


# %%
def log_likelihood(x, z):
    return dist.Normal(2 * torch.tanh(2 * z), 0.3).log_prob(x)


grid = torch.linspace(-6, 6, 20_001)  # z
step = float(grid[1] - grid[0])
prior = dist.Normal(0.0, 1.0)
x = torch.tensor(1.2)  # the pixel that we have seen

log_joint = prior.log_prob(grid) + log_likelihood(x, grid)
evidence = torch.logsumexp(log_joint, 0) + math.log(step)  # log p(x)
posterior = torch.exp(log_joint - evidence)  # p(z|x), by Bayes
draws = torch.randn(200_000, generator=torch.Generator().manual_seed(0))  # or: the mean over draws from the prior
from_draws = log_likelihood(x, draws).exp().mean().log()
print("the grid and draws from the prior agree:", torch.allclose(evidence, from_draws, atol=0.02))
print(f"log p(x) = {evidence.item():.3f} nats")

# %%
# NBVAL_IGNORE_OUTPUT
figure, axes = plt.subplots(1, 2, figsize=(8, 2.6))
axes[0].plot(grid, 2 * torch.tanh(2 * grid))
axes[0].axhline(float(x), color="#8a8a8a", linestyle=":")
axes[0].set(title="the decoder, and the pixel that was seen", xlabel="z", ylabel="x", xlim=(-3, 3))
axes[1].plot(grid, prior.log_prob(grid).exp(), label="prior p(z)")
axes[1].plot(grid, posterior, label="posterior p(z|x)")
axes[1].set(title="what z may have been: before, and after seeing x", xlabel="z", xlim=(-3, 3))
axes[1].legend()
plt.show()

# %% [markdown]
# Now the trick. Take *any* distribution `q(z)` that we can draw from, and read slowly:
#
#     log p(x) = log sum over z of  p(z) p(x|z)
#              = log E_q[ p(z) p(x|z) / q(z) ]               multiply and divide by q: a mean over draws from q
#             >= E_q[ log( p(z) p(x|z) / q(z) ) ]            the log of a mean is at least the mean of the logs
#              = E_q[ log p(x|z) ] - E_q[ log( q(z) / p(z) ) ]
#              = E_q[ log p(x|z) ] - KL(q || p(z))
#
# The last line is the *evidence lower bound*, the ELBO. Its first part asks that draws of `q` explain the pixel. Its
# second part is the price: how far `q` has moved away from the prior. And what is lost by the `>=` has a name: it is
# exactly `KL(q || p(z|x))`, how far `q` is from the posterior. (Put `p(z) p(x|z) = p(x) p(z|x)` into the third line.)
#
# Let `q` be a normal distribution with mean `m` and deviation `s`, and try many.


# %%
def kl_on_grid(log_q, log_p):
    return float((log_q.exp() * (log_q - log_p)).sum() * step)


def elbo(m, s):
    q = dist.Normal(m, s)
    weight = q.log_prob(grid).exp() * step
    return float((weight * log_likelihood(x, grid)).sum()) - float(dist.kl_divergence(q, prior))


places = [m / 50 for m in range(-25, 76)]
bounds = {f"s = {s}": [(m, elbo(m, s)) for m in places] for s in (0.05, 0.15, 0.5)}
print("no q passes log p(x):", all(value <= float(evidence) for line in bounds.values() for _, value in line))

log_q = dist.Normal(0.4, 0.15).log_prob(grid)
gap = float(evidence) - elbo(0.4, 0.15)
print("the gap is KL(q || posterior):", math.isclose(gap, kl_on_grid(log_q, log_joint - evidence), abs_tol=1e-3))

# %%
# NBVAL_IGNORE_OUTPUT
figure = show.curves(bounds, "the ELBO of q = N(m, s)", x="m", y="nats", baselines={"log p(x)": float(evidence)})
figure.axes[0].set_ylim(-12, 0.5)
figure

# %% [markdown]
# The curve that comes closest belongs to the `q` most like the posterior: not too wide, not too narrow, in the right
# place. It still does not touch, because the posterior is no normal distribution. So to push the ELBO up does two
# things at once: it makes `q` more like the posterior, and, once the decoder learns as well, `p(x)` larger. In a VAE a
# second network, the *encoder*, looks at `x` and says `m` and `s`.
#
# ## The KL in closed form
#
# With `q = N(m, s)` and the prior `N(0, 1)`, the price needs no draws. Write out both logs and take the mean over `q`,
# where the mean of `(z - m)²` is `s²` and the mean of `z²` is `m² + s²`:
#
#     E_q[log q] = -1/2 log(2 pi s²) - 1/2
#     E_q[log p] = -1/2 log(2 pi)    - 1/2 (m² + s²)
#     KL         =  1/2 (m² + s² - 1 - log s²)
#
# Check it by hand, with `vg`'s (which takes the log-variance, as an encoder gives it), with torch's, and with draws.

# %%
m, s = torch.tensor(1.5), torch.tensor(0.4)
by_hand = 0.5 * (m**2 + s**2 - 1 - torch.log(s**2))
print("vg agrees:   ", torch.allclose(kl_to_normal(m, 2 * s.log()), by_hand))
print("torch agrees:", torch.allclose(dist.kl_divergence(dist.Normal(m, s), prior), by_hand))

# %%
# NBVAL_IGNORE_OUTPUT
torch.manual_seed(0)
q = dist.Normal(m, s)
draws = q.sample((5, 100_000))  # five runs
logs = q.log_prob(draws) - prior.log_prob(draws)
counts = torch.unique(torch.logspace(0, 5, 120).long())
running = logs.cumsum(1)[:, counts - 1] / counts  # (5, len(counts)) the mean of the first n draws
runs = {f"run {k}": list(zip(counts.tolist(), run.tolist())) for k, run in enumerate(running)}
print(f"closed form {float(by_hand):.4f}, from 100,000 draws " + ", ".join(f"{v:.4f}" for v in running[:, -1]))
show.curves(runs, "KL from n draws", x="n", y="nats", baselines={"closed form": float(by_hand)}, log="x")

# %% [markdown]
# The runs close in on the formula, slowly: a hundred times the draws for a tenth of the error. In training there is one
# draw for each image and step. Where a formula is to be had, it saves that noise.
#
# ## The draw that stops gradients
#
# The first part of the ELBO is a mean over draws of `q`, and `q` is what the encoder says. How does the loss tell the
# encoder to move `m`? Try the simplest case, `E[z²]`, which is `m² + s²`, so that its gradients must be `2 m` and `2 s`.
# `torch.normal(m, s)` draws; then ask for gradients.

# %%
torch.manual_seed(0)
m, s = torch.tensor(0.7, requires_grad=True), torch.tensor(0.5, requires_grad=True)
drawn = torch.normal(m.expand(100_000), s.expand(100_000))
drawn.square().mean().backward()
print("the mean is right:            ", math.isclose(float(drawn.detach().square().mean()), 0.74, abs_tol=0.02))
print("gradients through torch.normal:", m.grad.item(), s.grad.item())

# %% [markdown]
# Nothing comes through. The draw is a number out of a black box, and torch cannot say how it would have changed.
#
# So take the randomness out of the box: draw `noise` from `N(0, 1)`, which depends on nothing, and *compute* `z = m + s
# * noise`. That is the same distribution, and now `z` is a plain formula in `m` and `s`. This is the *reparameterised*
# draw.

# %%
noise = torch.randn(100_000)
m.grad = s.grad = None
(m + s * noise).square().mean().backward()
close = math.isclose(float(m.grad), 1.4, abs_tol=0.03) and math.isclose(float(s.grad), 1.0, abs_tol=0.03)
print("reparameterised, the gradients are 2 m and 2 s:", close)

# %% [markdown]
# There is an older way that works for any draw: weigh the value by the gradient of `log q` (the *score-function
# estimator*, or REINFORCE). Its mean is right too (`z² (z - m) / s²` for `m`). So why not use that? Look at the spread of
# one draw's gradient.

# %%
# NBVAL_IGNORE_OUTPUT
with torch.no_grad():
    z = m + s * noise
    single = {"reparameterised": 2 * z, "value times gradient of log q": z**2 * (z - m) / s**2}
figure, ax = plt.subplots(figsize=(6.4, 2.6))
for name, values in single.items():
    print(f"{name:32} mean {float(values.mean()):6.3f}   deviation {float(values.std()):6.2f}")
    ax.hist(values, bins=100, range=(-8, 12), alpha=0.6, density=True, label=name)
ax.axvline(2 * m.item(), color="#555555", linestyle=":")
ax.set(title="the gradient for m from a single draw; the dotted line is the truth", xlabel="gradient")
ax.legend()
plt.show()

# %% [markdown]
# Now let it matter. Fit `q` to the one-pixel model above by gradient ascent on the ELBO, once with the draw that lets
# gradients through and once with `torch.normal`. Before you look: what will the second one do, if the KL is the only
# part whose gradient arrives?


# %%
def climb(reparameterised, steps=600):
    torch.manual_seed(0)
    mean, log_s = torch.tensor(0.9, requires_grad=True), torch.tensor(-1.5, requires_grad=True)
    optimizer = torch.optim.Adam([mean, log_s], lr=0.01)
    path = []
    for _ in range(steps):
        deviation = log_s.exp()
        wide = mean.expand(16), deviation.expand(16)
        z = wide[0] + wide[1] * torch.randn(16) if reparameterised else torch.normal(*wide)
        loss = kl_to_normal(mean, 2 * log_s) - log_likelihood(x, z).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        path.append((mean.item(), deviation.item()))
    return path


with_gradient, without = climb(True), climb(False)
print("with:    ends nearer to log p(x) than it began: ", elbo(*with_gradient[-1]) > elbo(*with_gradient[0]))
print("without: ends farther from log p(x) than it began:", elbo(*without[-1]) < elbo(*without[0]))

# %%
# NBVAL_IGNORE_OUTPUT
figure, axes = plt.subplots(1, 2, figsize=(8, 2.6))
for name, path in {"reparameterised": with_gradient, "torch.normal": without}.items():
    for ax, values in zip(axes, zip(*path)):
        ax.plot(values, label=name)
centre = float((posterior * grid).sum() * step)
spread = math.sqrt(float((posterior * (grid - centre) ** 2).sum() * step))
for ax, level, title in zip(axes, (centre, spread), ("m", "s")):
    ax.axhline(level, color="#8a8a8a", linestyle=":")
    ax.set(title=f"{title} of q; the dotted line is the posterior's", xlabel="step")
axes[0].legend()
plt.show()

# %% [markdown]
# With the gradient `q` settles near the peak of the posterior, much narrower than it is: the ELBO punishes `q` for being where
# the posterior is not, and forgives it a tail that it leaves out. Without the gradient `q` walks to the prior, `m = 0`
# and `s = 1`: the cheapest place, where it says nothing about the pixel. Keep the picture in mind. It is the first
# *posterior collapse* of this notebook, for a silly reason. Later there is one for a common reason.
#
# ## A likelihood for 8-bit pixels
#
# A pixel has 256 possible values, so the decoder must spread a probability of one over 256 values. It says a mean and
# a scale. The *discretized logistic* (Kingma et al., 2016) puts a logistic bell there and gives each value the area
# above its bin; the lowest and the highest value also take the tails. The area is a difference of two sigmoids.
#
#     values   -1 ........ -0.004   0.004 ........ 1        256 of them, 2 / 255 apart
#     bin of v:   v - 1/255  to  v + 1/255
#
# One detail. Far from the mean the difference of two sigmoids is 0 in float32, and its log minus infinity. `vg` writes
# the same difference as a product, in which nothing cancels. The last two lines of the cell try both.


# %%
def probabilities(mean, scale):
    """The 256 probabilities of a pixel, from the lowest value to the highest."""
    edges = (torch.arange(257, dtype=torch.float64) - 0.5) / 127.5 - 1
    edges[0], edges[-1] = -math.inf, math.inf
    return torch.sigmoid((edges - mean) / scale).diff()


values = torch.arange(256) / 127.5 - 1
for mean, scale in [(0.2, 0.02), (0.2, 0.1), (0.95, 0.1)]:
    ours = probabilities(mean, scale)
    vgs = discretized_logistic(values, torch.tensor(mean), torch.tensor(scale).log()).exp().double()
    agree = torch.allclose(ours, vgs, atol=1e-6)
    print(f"mean {mean}, scale {scale}: sum to one {math.isclose(float(ours.sum()), 1)}, vg agrees {agree}")

far, scale = torch.tensor(-0.9), torch.tensor(0.01)  # a pixel of -0.9 where 0.9 was expected, with much confidence
plain = torch.sigmoid((far + 1 / 255 - 0.9) / scale) - torch.sigmoid((far - 1 / 255 - 0.9) / scale)
print("plain difference: log is finite:", bool(plain.log().isfinite()))
print("vg's product:     log is finite:", bool(discretized_logistic(far, torch.tensor(0.9), scale.log()).isfinite()))

# %%
# NBVAL_IGNORE_OUTPUT
figure, ax = plt.subplots(figsize=(6.4, 2.4))
for mean, scale in [(0.2, 0.02), (0.2, 0.1), (0.95, 0.1)]:
    ax.step(range(256), probabilities(mean, scale), where="mid", label=f"mean {mean}, scale {scale}")
ax.set(title="probability of each value of a pixel", xlabel="value, 0 to 255")
ax.legend()
plt.show()

# %% [markdown]
# `-log2` of the probability is the pixel's cost in bits. A sharp bell is cheap where it is right and dear where it is
# wrong, so the network gains by saying honestly how unsure it is. Summed over an image and divided by its 3,072
# numbers, that is *bits per dimension*: 8 for someone who knows nothing.
#
# Two baselines without any latents. One bell for all pixels of a colour: the best mean and scale. And one bell for each
# place in the image, around the mean training image.

# %%
# NBVAL_IGNORE_OUTPUT
some = images.train.take(range(profile().pick(smoke=64, laptop=2000, gpu=2000)))


def no_latents(mean):
    """Bits per dimension on the test images with this mean and the best scale for each colour."""
    scales = torch.linspace(-3, 0, 31)
    costs = [-discretized_logistic(some, mean, k).mean((0, 2, 3)) / math.log(2) for k in scales]
    best = scales[torch.stack(costs).argmin(0)].view(3, 1, 1)
    return float(-discretized_logistic(test, mean, best).mean() / math.log(2))


floor = {
    "know nothing": 8.0,
    "one bell a colour": no_latents(some.mean((0, 2, 3), keepdim=True)[0]),
    "one bell a place": no_latents(some.mean(0)),
}
show.bars(floor, "test images, without latents", unit="bits per dimension")

# %% [markdown]
# ## The model
#
# Nothing new is left, only convolutions. The encoder halves the image three times and ends in two vectors of 128, mean
# and log-variance. The decoder goes back up and ends, for each number of the image, in a mean and a log-scale.
#
#     (B, 3, 32, 32) -> (B, 32, 16, 16) -> (B, 64, 8, 8) -> (B, 64, 4, 4) -> mean, log-variance (B, 128)
#     (B, 128) -> (B, 64, 4, 4) -> (B, 64, 8, 8) -> (B, 32, 16, 16) -> mean, log-scale (B, 3, 32, 32)
#
# The cell takes `vg`'s model apart and puts the negative ELBO together by hand.

# %%
torch.manual_seed(0)
model = VAE(VAEConfig()).to(device())
batch = test[:8].to(device())

mean, log_variance = model.encode(batch)
noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(0)).to(device())
z = mean + (0.5 * log_variance).exp() * noise
pixel_mean, pixel_log_scale = model.likelihood(z)
print("latents", tuple(z.shape), " pixels", tuple(pixel_mean.shape), tuple(pixel_log_scale.shape))

distortion = -discretized_logistic(batch, pixel_mean, pixel_log_scale).flatten(1).sum(1)  # nats, sums over the image
price = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1)  # nats, sums over the latents
bits_by_hand = (distortion + price) / dims / math.log(2)
print(
    "vg agrees:", torch.allclose(model.bits_per_dim(batch, torch.Generator().manual_seed(0)), bits_by_hand, atol=1e-4)
)

# %% [markdown]
# ## Training
#
# The loss is the negative ELBO in bits per dimension, nothing else. Batches are 64 random training images, half of them
# mirrored. The recipe is the course's own: AdamW, with Muon for the inner matrices, which makes all directions of a
# matrix's step equally long (`vg.training.muon`); a learning rate that falls as a cosine; and, as the result, a running average of
# the weights. The dotted lines are the baselines without latents.


# %%
# NBVAL_IGNORE_OUTPUT
@torch.no_grad()
def measure(model, truth=test, seed=0):
    """Bits per dimension, bits of distortion, KL of each latent (bits), means of the posterior, PSNR of each image."""
    place, generator = next(model.parameters()).device, torch.Generator().manual_seed(seed)
    found = []
    for part in (p.to(place) for p in truth.split(250)):
        e, (mean, _) = model.elbo(part, generator), model.encode(part)
        found.append((e.bits_per_dim(), e.distortion, e.kl, mean, evaluation.psnr(model.decode(mean), part)))
    return [torch.cat(column).cpu() for column in zip(*found)]


few = test[:1000]
recipe = Recipe(
    steps=profile().pick(smoke=4, laptop=700, gpu=8000), lr=2e-3, muon=2e-2, warmup=50, grad_clip=5.0, ema=0.99
)
trained = fit(
    model,
    vae_loss(),
    image_batches(images.train, batch=64),
    recipe,
    evaluate=lambda model: {"test": float(measure(model, few)[0].mean())},
    every=max(2, recipe.steps // 10),
    plot=show.LivePlot("VAE", y="bits per dimension", baselines=dict(list(floor.items())[1:])),
)
mine = trained.model
print(f"{trained.seconds:.0f} s for {recipe.steps} steps; test {trained.history['test'][-1][1]:.3f} bits per dimension")

# %% [markdown]
# ## Looking
#
# The course ships a VAE of the same shape that was trained for longer. Its card says on what, how long, and what it
# reaches.

# %%
# NBVAL_IGNORE_OUTPUT
shipped = checkpoints.load("vae-cifar10", device=device())
card = checkpoints.card("vae-cifar10")
print(f"{card.name}: {card.model}, {sum(p.numel() for p in shipped.parameters()) / 1e6:.2f} M parameters")
pprint.pp(card.facts, width=110, compact=True)

# %% [markdown]
# Test images; what came back from 128 numbers each, with the model trained here and with the shipped one; and the
# images again from the 128 strongest *principal components*, the best that any linear encoder and decoder can do in
# squared error.


# %%
# NBVAL_IGNORE_OUTPUT
def principal(train, count):
    """Mean (dims,), directions (dims, count) and variances (count,) of images."""
    flat = train.flatten(1)
    middle = flat.mean(0)
    torch.manual_seed(0)
    count = min(count, len(flat) - 1)
    _, sizes, directions = torch.pca_lowrank(flat - middle, q=min(len(flat), count + 64), center=False, niter=6)
    return middle, directions[:, :count], sizes[:count].square() / len(flat)


def project(x, middle, directions, variances):
    flat = x.flatten(1) - middle
    return (flat @ directions @ directions.T + middle).view_as(x)


many = images.train.take(range(profile().pick(smoke=300, laptop=20_000, gpu=20_000)))
components = principal(many, shipped.config.latents)
linear = project(test, *components)


def rows(pictures, columns=10, scale=2):
    """A picture with a labelled row for each entry of {label: (n, C, H, W)}."""
    return show.strip({name: p[:columns].cpu().clamp(-1, 1).movedim(0, 1) for name, p in pictures.items()}, 1, scale)


with torch.no_grad():
    here, theirs = mine(test[:10].to(device())), shipped(test[:10].to(device()))
rows({"original": test, "trained here": here, "shipped": theirs, "PCA": linear})

# %% [markdown]
# Look for what survives: colours, large shapes, the light. And for what does not: fur, spokes, letters. Could you tell
# PCA's row from the VAE's? The table further below has the numbers.
#
# Now the other direction. Draw latents from the prior and decode: nobody has seen these images. Do you see things, or
# only the stuff that things are made of?

# %%
# NBVAL_IGNORE_OUTPUT
latents = torch.randn(24, shipped.config.latents, generator=torch.Generator().manual_seed(0)).to(device())
with torch.no_grad():
    drawn = shipped.decode(latents).cpu()
show.grid(drawn, columns=12, scale=2)

# %% [markdown]
# Between two images, walk in a straight line: once through their pixels, once through their latents. The pixels' middle
# is a double exposure. What is the latents'?


# %%
# NBVAL_IGNORE_OUTPUT
@torch.no_grad()
def walk(a, b, steps=10):
    share = torch.linspace(0, 1, steps).view(-1, 1)
    za, zb = (shipped.encode(image[None].to(device()))[0].cpu() for image in (a, b))
    pixels = torch.lerp(a[None], b[None], share.view(-1, 1, 1, 1))
    return pixels, shipped.decode(torch.lerp(za, zb, share).to(device())).cpu()


walks = [walk(test[a], test[b]) for a, b in ((0, 1), (2, 3))]
rows({f"{name} {k}": part for k, pair in enumerate(walks) for name, part in zip(("pixels", "latents"), pair)})

# %% [markdown]
# ## What one latent does
#
# The KL of a latent, averaged over images, is the number of bits that it tells. Sort them. A steep curve means that a few
# latents do the work, a flat one that they share it.

# %%
# NBVAL_IGNORE_OUTPUT
bits, _, kl, means, quality = measure(shipped)
told = kl.mean(0)
order = told.argsort(descending=True)
print(f"all latents together: {float(told.sum()):.0f} bits an image; of {8 * dims} bits that its pixels have")
show.curves({"vae-cifar10": told[order].tolist()}, "what each latent tells", x="latent, sorted", y="bits")

# %% [markdown]
# Take an image and move it along the axis of one of its most telling latents, while everything else stays. Does one
# latent mean one thing? Nothing in the ELBO asks for that: the prior looks the same from all sides, so what the picture
# does may lie at any angle to the axes.
#
# So look for the angles. Decode many draws, and fit a straight line from latents to pixels: a matrix of slopes. Its
# singular vectors are the directions that change pictures most, in order, at right angles to each other.


# %%
# NBVAL_IGNORE_OUTPUT
@torch.no_grad()
def strongest(model, count):
    """Directions in the space of latents, the columns of (latents, latents): what changes pictures most comes first."""
    z = torch.randn(count, model.config.latents, generator=torch.Generator().manual_seed(0))
    pictures = torch.cat([model.decode(part.to(device())).cpu() for part in z.split(250)]).flatten(1)
    slopes = z.T @ (pictures - pictures.mean(0)) / count  # (latents, dims); z has variance 1
    return torch.linalg.svd(slopes, full_matrices=False)[0]


@torch.no_grad()
def along(image, direction, values):
    z = shipped.encode(image[None].to(device()))[0].cpu() + values[:, None] * direction
    return shipped.decode(z.to(device())).cpu()


turned = strongest(shipped, profile().pick(smoke=100, laptop=4000, gpu=4000))
axis, sweep = torch.eye(shipped.config.latents), torch.linspace(-6, 6, 9)
shown = {f"latent {int(k)}": along(test[3], axis[k], sweep) for k in order[:4]}
rows(shown | {f"direction {k}": along(test[3], turned[:, k], sweep) for k in range(6)})

# %% [markdown]
# The first directions: what would you call each of them? Compare with the rows of single latents above them.
#
# The same under your hands. Choose a test image; each slider moves it along one of the six directions. Left is the image,
# then its reconstruction, then yours. Run the notebook to move them: a static page shows the first setting, with the
# sliders at rest.


# %%
# NBVAL_IGNORE_OUTPUT
@torch.no_grad()
def turn(image, **moved):
    z = shipped.encode(test[image : image + 1].to(device()))[0].cpu()
    amounts = torch.tensor(list(moved.values()))
    changed = z + amounts @ turned[:, : len(amounts)].T
    back = shipped.decode(torch.cat([z, changed]).to(device())).cpu()
    return show.grid(torch.cat([test[image : image + 1], back]), columns=3, scale=5, labels=["image", "back", "yours"])


explorer = show.live_explorer(
    turn, image=widgets.IntSlider(3, 0, 40), **{f"direction_{k}": (-6.0, 6.0, 0.5) for k in range(6)}
)
explorer

# %% [markdown]
# The next one needs no kernel: it carries its pictures, so it also works on a static page. Three test images, each moved
# along one of the six directions at a time.

# %%
# NBVAL_IGNORE_OUTPUT
chosen, amounts = [3, 1, 7], torch.linspace(-6, 6, 13)
moved = torch.stack([torch.stack([along(test[n], turned[:, k], amounts) for k in range(6)]) for n in chosen])
with torch.no_grad():
    back = shipped(test[chosen].to(device())).cpu()
interactive.variations(
    {"image": test[chosen][:, None, None], "back": back[:, None, None], "yours": moved},
    {
        "image": [f"{n}, {images.classes[int(images.test.labels[n])]}" for n in chosen],
        "direction": range(6),
        "amount": amounts.tolist(),
    },
    start={"amount": 6},
    scale=5,
    smooth=True,
    title="test images moved along the directions that change pictures most",
)

# %% [markdown]
# ## Posterior collapse, provoked
#
# `beta` weighs the KL: `distortion + beta * KL`. With 1 it is the ELBO. With 0 nothing holds the latents near the
# prior: a plain autoencoder. With more than 1 each bit told has to pay for itself `beta` times.
#
# A large `beta` often comes in by accident. Someone writes the *mean* squared error over the pixels plus the *sum* of
# the KL. Dividing one part by 3,072 and not the other is the same as `beta = 3072`. Small models, a few steps each, and
# a count: a latent is *active* if its mean differs between images (variance over 0.01; Burda et al., 2016).


# %%
# NBVAL_IGNORE_OUTPUT
def small():
    torch.manual_seed(0)
    return VAE(VAEConfig(latents=32, width=32, depth=1)).to(device())


def active(means):
    return int((means.var(0) > 0.01).sum())


def table(rows, columns):
    print(" " * 26 + "".join(f"{name:>14}" for name in columns))
    for name, values in rows.items():
        print(f"{name:26}" + "".join(f"{value:14.4g}" for value in values))


def report(model):
    bits, distortion, kl, means, quality = measure(model, few)
    return [float(bits.mean()), float(distortion.mean()) / dims, float(kl.sum(1).mean()), active(means), quality.mean()]


short = Recipe(
    steps=profile().pick(smoke=2, laptop=200, gpu=1500), lr=2e-3, muon=2e-2, warmup=30, grad_clip=5.0, ema=0.98
)
draw = image_batches(images.train, batch=64)
runs = {f"beta {b}": fit(small(), vae_loss(b), draw, short).model for b in (0, 1, 10, 100, dims)}
columns = ["bits per dim", "distortion", "KL (bits)", "active of 32", "PSNR"]
table({name: report(run) for name, run in runs.items()}, columns)
spent = {name: sorted(measure(run, few)[2].mean(0).tolist(), reverse=True) for name, run in runs.items()}
show.curves(spent, "what each latent tells, sorted", x="latent", y="bits")


# %%
# NBVAL_IGNORE_OUTPUT
@torch.no_grad()
def both(model):
    z = torch.randn(5, model.config.latents, generator=torch.Generator().manual_seed(1)).to(device())
    return torch.cat([model(test[:5].to(device())), model.decode(z)]).cpu()


rows({"original": test[:5]} | {name: both(run) for name, run in runs.items()})

# %% [markdown]
# Left of each row: five test images, rebuilt. Right: five draws from the prior. Read it against the table. At `beta 0`
# the KL is large and costs nothing; what do draws from the prior look like, if the latents never learned to lie where
# the prior is? At the other end, how many latents are active, and how do the images differ from each other?
#
# Compare the count with the bits, too: can a latent be active and tell next to nothing?
#
# Notice also which `beta` has the fewest bits per dimension. That column is always the true ELBO, whatever the model
# was trained on.
#
# ## Posterior collapse, cured
#
# Take the most collapsed of them, weights and all, and go on training with `beta = 1` for as many steps. It begins
# where nothing is told. Does it find a way out, and does it reach what `beta = 1` reached from the start? (The curve's first
# point is after 30 steps: it can be out by then.)

# %%
# NBVAL_IGNORE_OUTPUT
collapsed = small()
collapsed.load_state_dict(runs[f"beta {dims}"].state_dict())
cured = fit(collapsed, vae_loss(1), draw, short, evaluate=lambda m: {"active": active(measure(m, few)[3])}, every=30)
shown = {"beta 1": runs["beta 1"], f"beta {dims}": runs[f"beta {dims}"], f"beta {dims}, then 1": cured.model}
table({name: report(run) for name, run in shown.items()}, columns)
show.curves({"active": cured.history["active"]}, "active latents, from a collapsed start with beta 1", y="of 32")

# %% [markdown]
# This collapse was the loss's doing, so the loss undoes it. There is a stubborn kind as well: a decoder that can predict
# each pixel from its neighbours needs no latents and learns that first. The usual cure is a warm-up, `beta` from 0 to 1
# over the first steps (Bowman et al., 2016), so that the latents are in use before they cost. Exercise 4 writes one.
#
# ## Why samples blur
#
# **First, on paper.** A latent cannot tell where exactly an edge is. Suppose that eight places are equally likely. Which
# single picture has the smallest squared error to all of them?

# %%
edges = torch.full((8, 1, 16, 16), -1.0)
for k in range(8):
    edges[k, :, :, 4 + k :] = 1
best = edges.mean(0, keepdim=True)  # the mean minimises the squared error


def error(guess):
    return float((edges - guess).square().mean())


print("the mean beats every sharp guess:", all(error(best) < error(edges[k : k + 1]) for k in range(8)))
print(f"squared error: mean {error(best):.3f}, best sharp guess {min(error(edges[k : k + 1]) for k in range(8)):.3f}")
show.grid(torch.cat([edges, best]), columns=9, scale=3, labels=[""] * 8 + ["mean"])

# %% [markdown]
# The best answer is a ramp, which is none of the plausible pictures. The mean of a likelihood is such an answer.
#
# **Second, with the model.** Encode an image and keep what it says along the `k` strongest directions. Draw everything
# else from the prior, many times: plausible images as far as these `k` numbers can tell. Their mean is the last but one
# picture of each row; the last is what the decoder draws with the rest at 0. What happens to the draws, and what to their
# mean, when fewer numbers are kept?


# %%
# NBVAL_IGNORE_OUTPUT
@torch.no_grad()
def plausible(image, keep, count=64):
    known = shipped.encode(image[None].to(device()))[0].cpu() @ turned  # along the directions
    z = torch.randn(count + 1, known.shape[1], generator=torch.Generator().manual_seed(0))
    z[-1] = 0
    z[:, :keep] = known[:, :keep]
    return shipped.decode((z @ turned.T).to(device())).cpu()


def sharpness(pictures):
    """Mean difference of neighbouring pixels, in grey levels."""
    across, down = pictures.diff(dim=-1).abs().mean(), pictures.diff(dim=-2).abs().mean()
    return float(across + down) / 2 * 127.5


made = {keep: plausible(test[3], keep) for keep in (4, 16, 64, shipped.config.latents)}
kept = {f"keep {k}": torch.cat([p[:7], p[:-1].mean(0, keepdim=True), p[-1:]]) for k, p in made.items()}
table({name: [sharpness(p[:7]), sharpness(p[7:8])] for name, p in kept.items()}, ["each draw", "their mean"])
rows(kept | {"original": test[3:4]})

# %% [markdown]
# The last row of the table is the whole set: all 128 are kept, and still the picture is soft. What the latents do not
# tell, the decoder has to answer with a mean, as on paper.
#
# **Third, the decoder says so itself.** For every pixel it gives a scale: how unsure it is. Below, brighter is less
# sure. Then a draw from the whole likelihood, pixel by pixel, as the model's story really goes.

# %%
# NBVAL_IGNORE_OUTPUT
with torch.no_grad():
    z = shipped.encode(test[:10].to(device()))[0]
    middle, log_scale = (part.cpu() for part in shipped.likelihood(z))
    prior_middle, _ = shipped.likelihood(latents[:10])
u = torch.rand(middle.shape, generator=torch.Generator().manual_seed(0)).clamp(1e-4, 1 - 1e-4)
noisy = (middle + log_scale.exp() * torch.logit(u)).clamp(-1, 1)  # a logistic draw by its inverse cdf
unsure = log_scale.exp().mean(1, keepdim=True)
unsure = (2 * unsure / unsure.max() - 1).expand(-1, 3, -1, -1)
softness = {"original": test[:10], "mean": middle, "drawn": noisy, "mean, latents from the prior": prior_middle.cpu()}
table({name: [sharpness(p.clamp(-1, 1))] for name, p in softness.items()}, ["sharpness"])
rows({"original": test, "mean": middle, "scale": unsure, "drawn": noisy})

# %% [markdown]
# Where is the scale bright? Compare it with the edges of the originals. And the draw has plenty of detail, but it is
# noise: the likelihood treats each pixel as independent of its neighbours, so it cannot say "an edge, here or there".
# It can only say "I do not know" of each pixel alone. So people show the mean, and the mean is soft.
#
# The last row of the table is decoded draws from the prior. If they are no softer than the rebuilt images, then blur is
# not all that is wrong with them: the pieces do not belong together either.
#
# **Fourth, averaged latents.** The mean of the latents of several images of a class is a point between them. It decodes
# to something smoother than the first of them, smoother too than a random draw: the middle of the prior is nobody's place.

# %%
# NBVAL_IGNORE_OUTPUT
label = int(images.test.labels[3])
alike = torch.arange(len(test))[images.test.labels[: len(test)] == label]
counts = [n for n in (1, 2, 4, 16, 64) if n <= len(alike)]
with torch.no_grad():
    averages = torch.stack([means[alike[:n]].mean(0) for n in counts])
    from_latents = shipped.decode(averages.to(device())).cpu()
from_pixels = torch.stack([test[alike[:n]].mean(0) for n in counts])
lengths = {f"mean of {n}": [float(a.norm()), sharpness(p[None])] for n, a, p in zip(counts, averages, from_latents)}
print(f"{images.classes[label]}; a random draw from the prior has a length of about {math.sqrt(means.shape[1]):.1f}")
table(lengths, ["length of z", "sharpness"])
rows({"mean of latents": from_latents, "mean of pixels": from_pixels})

# %% [markdown]
# So the blur has two causes: the latents tell few bits (notebook 02 gives each place of the image its own token), and a
# likelihood of independent pixels answers doubt with a mean. Draws from the prior have another fault. They are sharp enough,
# but they lie where no image is, and their parts do not belong together (a learned prior over tokens, notebook 02 again).
#
# ## Numbers
#
# All on the test images. PCA with 128 components is also a distribution over images, *probabilistic PCA* (Tipping and
# Bishop, 1999): a normal one, as wide as the data along the components, and equally wide along all other directions. So
# it has bits per dimension too. For comparison, a normal distribution with the full covariance: it has no latents and
# nothing to decode, but it knows how every pixel goes with every other. A density is for real numbers, so uniform noise
# of one grey level is added to the pixels first; that can only make these bits worse, never better than is true.


# %%
# NBVAL_IGNORE_OUTPUT
def gaussian_bits(precision, log_determinant, x, middle):
    """-log2 of a normal density at pixels in grey levels, in bits per dimension."""
    away = x - middle
    distance = (away @ precision * away).sum(1)
    return float((0.5 * (distance + log_determinant + dims * math.log(2 * math.pi))).mean()) / dims / math.log(2)


def grey_levels(x, seed=0):
    flat = (x.flatten(1) + 1) * 127.5
    return flat + torch.rand(flat.shape, generator=torch.Generator().manual_seed(seed)) - 0.5


known, seen = grey_levels(many, 1), grey_levels(test)
centre = known.mean(0)
covariance = torch.cov(known.double().T)  # its variances are too far apart for float32
root = torch.linalg.cholesky(covariance + 0.01 * torch.eye(dims))  # few images leave directions with no width
precision = torch.cholesky_inverse(root).float()
full = gaussian_bits(precision, 2 * root.diagonal().log().sum(), seen, centre)

_, directions, variances = components
variances = variances * 127.5**2 + 1 / 12
rest = (covariance.trace().float() - variances.sum()) / (dims - len(variances))  # equally wide everywhere else
precision = directions @ ((1 / variances - 1 / rest)[:, None] * directions.T) + torch.eye(dims) / rest
ppca = gaussian_bits(precision, variances.log().sum() + (dims - len(variances)) * rest.log(), seen, centre)

# %%
# NBVAL_IGNORE_OUTPUT
own = measure(mine)
results = {
    "mean training image": [
        floor["one bell a place"],
        float(evaluation.psnr(some.mean(0).expand_as(test), test).mean()),
    ],
    f"PCA, {directions.shape[1]} components": [ppca, float(evaluation.psnr(linear, test).mean())],
    "normal, full covariance": [full, math.nan],
    "VAE trained here": [float(own[0].mean()), float(own[4].mean())],
    "vae-cifar10": [float(bits.mean()), float(quality.mean())],
}
table(results, ["bits per dim", "PSNR dB"])
print(f"\nactive latents: here {active(own[3])}, shipped {active(means)} of {means.shape[1]}")
print(f"bits the latents tell, an image: here {float(own[2].sum(1).mean()):.0f}, shipped {float(told.sum()):.0f}")

# %% [markdown]
# Read the two columns apart. PSNR asks how near the rebuilt image is, and PCA is built for nothing else. Bits ask how
# probable the exact image is, and the VAE is trained for those: it says how unsure it is, pixel by pixel. Where it is
# ahead and where behind, the table says. The normal distribution with full covariance is a fair warning: no latents, no
# network, only how pixels go together in pairs. It knows that neighbouring pixels err together, which a likelihood of
# independent pixels does not. Bits reward that knowledge; PSNR cannot see it.
#
# Papers give such bits for the original CIFAR-10 files. A copy that went through JPEG, which smooths, is easier to
# predict; so compare within the table, and with papers only if your files are the originals. The numbers stored here are
# from such a copy (JPEG, quality 75), so better than they would be on the originals.
#
# ## Exercises
#
# Each has a check that says what is off. Solutions are folded below.
#
# **1. The price in bits** (easy, 5 minutes). Write `kl_bits(mean, log_variance)`: for a batch `(B, latents)`, the KL
# of each image to the standard normal, `(B,)`, in bits.


# %%
def kl_bits(mean, log_variance):
    return None  # your turn


def check_kl(function):
    mean, log_variance = torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0, -2.0], [0.0, 0.0]])
    got = function(mean, log_variance)
    if got is None:
        return "not yet: kl_bits returns None"
    if tuple(got.shape) != (2,):
        return f"the result has the shape {tuple(got.shape)}, expected (2,): sum over the latents, not the images"
    wanted = dist.kl_divergence(dist.Normal(mean, (log_variance / 2).exp()), prior).sum(1)
    if torch.allclose(got, wanted):
        return "these are nats: one bit is log(2) nats"
    if torch.allclose(got, 2 * wanted / math.log(2)):
        return "twice too much: did you forget the 1/2?"
    if not torch.allclose(got[1], torch.tensor(0.0)):
        return f"a posterior that equals the prior costs nothing, got {float(got[1]):.3f}"
    right = torch.allclose(got, wanted / math.log(2), atol=1e-5)
    return "right" if right else f"got {got.tolist()}; is it the variance, exp(log_variance), that you add?"


print(check_kl(kl_bits))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def kl_bits(mean, log_variance):
#     return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1) / math.log(2)
# ```
#
# </details>
#
# **2. A tighter bound** (medium, 15 minutes). One draw gives `log w = log p(z) p(x|z) / q(z)`, and the ELBO is its mean.
# With K draws, take the log of the mean of the weights instead: still a bound, and a tighter one (Burda et al., 2016).
# Write `tighter(log_w)` for `log_w` of shape `(K, ...)`; the weights of an image are far too small for `exp`.


# %%
def tighter(log_w):
    return None  # your turn


def check_tighter(function):
    log_w = torch.tensor([[-8000.0, -1.0], [-8001.0, -2.0], [-8003.0, -1.5]])
    got = function(log_w)
    if got is None:
        return "not yet: tighter returns None"
    if tuple(got.shape) != (2,):
        return f"the shape is {tuple(got.shape)}, expected (2,): the draws are the first axis"
    if not got.isfinite().all():
        return "not finite: exp(-8000) is 0. torch.logsumexp takes the largest out first"
    wanted = torch.logsumexp(log_w, 0) - math.log(3)
    if torch.allclose(got, log_w.mean(0)):
        return "that is the mean of the logs, the ELBO itself; wanted is the log of the mean"
    if torch.allclose(got, wanted + math.log(3)):
        return "that is the log of the sum: subtract log K for the mean"
    return "right" if torch.allclose(got, wanted) else f"got {got.tolist()}, expected {wanted.tolist()}"


print(check_tighter(tighter))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def tighter(log_w):
#     return torch.logsumexp(log_w, dim=0) - math.log(len(log_w))
#
# q = dist.Normal(0.2, 0.3)  # a poor q for the one-pixel model: how fast does the bound rise to log p(x)?
# for K in (1, 4, 16, 64):
#     z = q.sample((K, 20_000))
#     print(K, float(tighter(prior.log_prob(z) + log_likelihood(x, z) - q.log_prob(z)).mean()), float(evidence))
# ```
#
# </details>
#
# **3. Which beta is it?** (easy, 5 minutes). A colleague's loss for images of 3 x 64 x 64 is the mean over all pixels of
# `-log p` plus the *mean* over 256 latents of the KL. For which `beta` is that the weighted ELBO, up to a factor? Set
# `answer`.

# %%
answer = None  # a number


def check_beta(beta):
    if beta is None:
        return "not yet: answer is None"
    if beta == 3 * 64 * 64:
        return "that would be for the sum over the latents: the mean divides the KL by 256"
    if math.isclose(beta, 256 / (3 * 64 * 64)):
        return "upside down: the part that is divided by more weighs less"
    return "right" if beta == 48 else "divide the whole loss so that the pixels are summed: what is then before the KL?"


print(check_beta(answer))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# answer = 3 * 64 * 64 / 256  # 48: times 12,288 the pixels are summed, and the KL is 12,288 / 256 times its sum
# ```
#
# </details>
#
# **4. Warm-up** (easy, 5 minutes). Write `warm_up(step, total, share=0.25)`: `beta` rises evenly from 0 at step 0 to 1 at
# `share * total` and stays 1.


# %%
def warm_up(step, total, share=0.25):
    return None  # your turn


def check_warm_up(function):
    if function(0, 100) is None:
        return "not yet: warm_up returns None"
    got = [float(function(k, 100)) for k in (0, 5, 25, 60)]
    if got[3] > 1:
        return f"at step 60 of 100 it is {got[3]:.2f}: it has to stop at 1"
    if math.isclose(got[3], 0.6, abs_tol=0.02):
        return "it rises over the whole run: share is 0.25, so it is 1 from step 25 of 100 on"
    if got[0] != 0:
        return f"it begins at {got[0]:.2f}, expected 0"
    if not math.isclose(float(function(5, 40, 0.5)), 0.25, abs_tol=1e-6):
        return "are total and share used? Step 5 of 40 with share 0.5 is 0.25"
    good = all(math.isclose(a, b, abs_tol=1e-6) for a, b in zip(got, (0, 0.2, 1, 1)))
    return "right" if good else f"at steps 0, 5, 25, 60 of 100: {got}, expected [0, 0.2, 1, 1]"


print(check_warm_up(warm_up))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def warm_up(step, total, share=0.25):
#     return min(1.0, step / (share * total))
# ```
#
# </details>
#
# ## Summary
#
# - The ELBO is a lower bound on `log p(x)`; the gap is how far the encoder's answer is from the true posterior. It is
#   what draws of `q` explain, less what `q` tells.
# - A draw stops gradients. `mean + deviation * noise` is the same draw, and lets them through.
# - Pixels have 256 values. A likelihood that sums to one over them makes the loss a number of bits, which can be compared
#   with anything else that gives probabilities.
# - Sum over pixels and sum over latents, or take the mean of both by the same number. Otherwise `beta` is not what you
#   think, and the latents may be empty. Count the active ones.
# - A mean is soft wherever the latents leave a doubt, and independent pixels cannot say more than a mean.
#
# **Next:** [02 VQ-VAE and VQ-VAE-2](02_vq_vae.ipynb) replaces the latents by integers.
#
# ## References
#
# - Kingma, Welling: *Auto-Encoding Variational Bayes*, 2014, arXiv:1312.6114.
# - Rezende, Mohamed, Wierstra: *Stochastic Backpropagation and Approximate Inference in Deep Generative Models*, 2014,
#   arXiv:1401.4082.
# - Kingma, Salimans, Jozefowicz, Chen, Sutskever, Welling: *Improving Variational Inference with Inverse Autoregressive
#   Flow*, 2016, arXiv:1606.04934 (the discretized logistic).
# - Salimans, Karpathy, Chen, Kingma: *PixelCNN++*, 2017, arXiv:1701.05517.
# - Burda, Grosse, Salakhutdinov: *Importance Weighted Autoencoders*, 2016, arXiv:1509.00519 (tighter bounds, active
#   latents).
# - Bowman, Vilnis, Vinyals, Dai, Jozefowicz, Bengio: *Generating Sentences from a Continuous Space*, 2016,
#   arXiv:1511.06349 (KL warm-up).
# - Higgins and others: *beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework*, ICLR 2017.
# - Tipping, Bishop: *Probabilistic Principal Component Analysis*, 1999.
# - Krizhevsky: *Learning Multiple Layers of Features from Tiny Images*, 2009 (CIFAR-10).
