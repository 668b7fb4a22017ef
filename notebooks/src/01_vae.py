# %% [markdown]
# # 01 VAE
#
# A small photograph is 3,072 numbers. Here a network turns it into 128, and back. The 128 can be sampled at random, mixed,
# and moved by hand, and what comes back is again a picture. The network is a *variational autoencoder* (VAE), and its loss
# is a number with a meaning: the bits that an image costs.
#
# **After this notebook you can**
# - derive the ELBO, and check every line of it with numbers;
# - say why sampling stops gradients, and write the sample that lets them through;
# - write a likelihood for 8-bit pixels, and a VAE with its training loop;
# - judge a VAE: bits per dimension, PSNR (the squared error in decibels), active latents, each beside its baseline;
# - make a VAE ignore its latents, see it in the numbers, and undo it;
# - say why its reconstructions are blurred, and what is wrong with its samples.
#
# **You need** Python, a little PyTorch, probability densities and Bayes' rule. The notebook runs alone.
#
# **Time:** about 3 hours of study; about 3 minutes of computing on a two-core laptop.
#
# **Before:** [00 Start here](00_start_here.ipynb). **Next:** [02 VQ-VAE and VQ-VAE-2](02_vq_vae.ipynb).

# %%
# NBVAL_IGNORE_OUTPUT
import math

from vg import checkpoints, evaluation, show
from vg.data import cifar10
from vg.experiments.batches import image_batches
from vg.experiments.losses import vae_loss
from vg.models import VAE, VAEConfig
from vg.models.vae import discretized_logistic, kl_to_normal
from vg.profiles import device, profile
from vg.show import interactive
from vg.training import Recipe, fit

import matplotlib.pyplot as plt
import torch
from IPython.display import display
from torch import distributions as dist
from torch import nn
from torch.nn.functional import relu


def fault(function, inputs, want, mistakes, formula):
    """In words, what is wrong with a function's answer; None if it is `want`. Knows `mistakes`."""
    before = str(inputs)
    try:
        got = function(*inputs)
    except Exception as error:
        blank = isinstance(error, NotImplementedError)
        return str(error) if blank else f"it stops with {type(error).__name__}: {error}. {formula}"
    if str(inputs) != before:
        return "it changes its inputs: make new tensors (x = x + ..., not x += ...)"
    if not isinstance(got, torch.Tensor):
        return f"it gives {type(got).__name__}, expected a tensor: is there a `return`?"
    if got.shape != want.shape:
        return f"it gives {tuple(got.shape)}, expected {tuple(want.shape)}. {formula}"
    for words, answer in {None: want, **mistakes}.items():
        if torch.allclose(got, answer, rtol=1e-4, atol=1e-5):
            return words
    low, high = (got / want).aminmax()
    return f"it gives {low:.3f} to {high:.3f} times the right answer: {formula}"


# %%
# NBVAL_IGNORE_OUTPUT
settings = profile().settings(  # smoke, laptop, gpu
    test_images=(64, 2000, 10_000),
    train_images=(300, 10_000, 20_000),  # for statistics; training uses all
    width=(16, 64, 64),
    overfit_steps=(2, 400, 600),
    steps=(4, 400, 8000),
    small_steps=(2, 100, 1500),
    direction_samples=(100, 3000, 4000),
)
show.style()
images = cifar10()
test = images.test.take(range(settings.test_images))  # (B, C, H, W) in [-1, 1]
known = images.train.take(range(settings.train_images))
C, H, W = test.shape[1:]
dims = C * H * W
print(f"profile {profile().name}, device {device()}; {images.describe()}")
print(f"{len(test)} test images of {C} x {H} x {W} = {dims} numbers, {8 * dims} bits each")
names = [images.classes[k] for k in images.test.labels[:16]]
show.grid(test[:16], columns=8, scale=2, labels=names)

# %% [markdown]
# An image is `(C, H, W)`: three colour channels, 32 rows, 32 columns, in [-1, 1]. Each number has one of 256 values, so 8 bits
# a number always suffice. A model of images needs fewer; this notebook counts them.
#
# ## A bound, on a model small enough to check
#
# A VAE is a model of how images come about. First a vector $z$ of *latents* is sampled from a fixed distribution, the
# *prior* $p(z)$: a standard normal. Then a network, the *decoder*, turns $z$ into a distribution over images, the
# *likelihood* $p(x \mid z)$. A good model gives real images a high probability
#
# $$p(x) = \int p(z)\, p(x \mid z)\, dz .$$
#
# For images nobody can compute this integral; nor, then, the *posterior* $p(z \mid x) = p(z)\, p(x \mid z) / p(x)$: how likely each
# $z$ is once $x$ is seen. So take an image of one pixel, one latent, and a decoder written by
# hand: $x = 2 \tanh(2z)$ plus noise. Then the integral is a sum over a grid. Logarithms are natural, so
# their unit is the *nat*: 1 nat is 1.44 bits.


# %%
def log_likelihood(pixel, latent):
    return dist.Normal(2 * torch.tanh(2 * latent), 0.3).log_prob(pixel)


grid = torch.linspace(-6, 6, 20_001)  # values of z
spacing = float(grid[1] - grid[0])
prior = dist.Normal(0.0, 1.0)
seen = torch.tensor(1.2)  # the pixel

log_joint = prior.log_prob(grid) + log_likelihood(seen, grid)
evidence = torch.logsumexp(log_joint, 0) + math.log(spacing)  # log p(x)
posterior = torch.exp(log_joint - evidence)  # p(z|x), by Bayes
from_prior = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
by_samples = log_likelihood(seen, from_prior).exp().mean().log()
print("grid and samples agree:", torch.allclose(evidence, by_samples, atol=0.02))
print(f"log p(x) = {evidence.item():.3f} nats")

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
figure, axes = plt.subplots(1, 2, figsize=(8, 2.6))
axes[0].plot(grid, 2 * torch.tanh(2 * grid))
axes[0].axhline(float(seen), color="#8a8a8a", linestyle=":")
axes[0].set(title="decoder; dotted: the pixel seen", xlabel="z", ylabel="x", xlim=(-3, 3))
axes[1].plot(grid, prior.log_prob(grid).exp(), label="prior p(z)")
axes[1].plot(grid, posterior, label="posterior p(z|x)")
axes[1].set(title="z before and after seeing x", xlabel="z", ylabel="density", xlim=(-3, 3))
axes[1].legend()
plt.show()

# %% [markdown]
# Take *any* distribution $q(z)$ that we can sample from. Multiply and divide by it; then use that the logarithm of a mean
# is at least the mean of the logarithms (Jensen):
#
# $$\log p(x) = \log \mathbb{E}_q\!\left[\frac{p(z)\,p(x|z)}{q(z)}\right]
# \;\ge\; \mathbb{E}_q\!\left[\log \frac{p(z)\,p(x|z)}{q(z)}\right]
# = \underbrace{\mathbb{E}_q[\log p(x|z)]}_{\text{samples explain } x} -
# \underbrace{\mathrm{KL}(q \,\|\, p(z))}_{\text{distance from the prior}} .$$
#
# The right side is the *evidence lower bound*, the ELBO. The *Kullback-Leibler divergence*
# $\mathrm{KL}(q \,\|\, p) = \mathbb{E}_q[\log q - \log p]$ is 0 if $q = p$, else positive. With
# $p(z)\,p(x|z) = p(x)\,p(z|x)$ the middle is
# $\mathbb{E}_q[\log p(x) + \log p(z|x) - \log q] = \log p(x) - \mathrm{KL}(q \,\|\, p(z|x))$: this KL is what the inequality
# loses. Check both statements with normal distributions $q = N(m, s^2)$.


# %%
def bound(m, s):
    """The ELBO of q = N(m, s^2), on the grid."""
    q = dist.Normal(m, s)
    weight = q.log_prob(grid).exp() * spacing
    return float((weight * log_likelihood(seen, grid)).sum() - dist.kl_divergence(q, prior))


places = [m / 50 for m in range(-25, 76)]
bounds = {f"s = {s}": [(m, bound(m, s)) for m in places] for s in (0.05, 0.15, 0.5)}
highest = max(value for line in bounds.values() for _, value in line)
print("no q passes log p(x):", highest <= float(evidence))

log_q = dist.Normal(0.4, 0.15).log_prob(grid)
to_posterior = float((log_q.exp() * (log_q - log_joint + evidence)).sum() * spacing)
gap = float(evidence) - bound(0.4, 0.15)
print("the gap is KL(q || posterior):", math.isclose(gap, to_posterior, abs_tol=1e-3))

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
limit = {"log p(x)": float(evidence)}
figure = show.curves(bounds, "ELBO of q = N(m, s²)", x="m", y="nats", baselines=limit)
figure.axes[0].set_ylim(-12, 0.5)
figure

# %% [markdown]
# The best $q$ is the one most like the posterior. It never reaches $\log p(x)$, since this posterior is no normal
# distribution. To raise the ELBO does two things at once: it makes $q$ more like the posterior and, once the decoder learns
# too, $p(x)$ larger. In a VAE a second network, the *encoder*, looks at $x$ and gives $m$ and $s$.
#
# ## The KL in closed form
#
# For $q = N(m, s^2)$ and the prior $N(0, 1)$ the KL needs no samples. Take the mean over $q$ of $\log q - \log p$, where
# the mean of $(z-m)^2$ is $s^2$, and that of $z^2$ is $m^2 + s^2$:
#
# $$\mathrm{KL} = \tfrac12 \left( m^2 + s^2 - 1 - \log s^2 \right) .$$
#
# Encoders give the *log-variance* $\log s^2$: any real number is allowed there, and $s$ is positive by itself.

# %% [markdown] tags=["student"]
# **Your part: `kl`** (easy, 10 minutes). Take `mean` and `log_variance`, each `(B, latents)`. Return the KL to $N(0, 1)$ of
# every number, in nats, `(B, latents)`.
#
# <details><summary>Hint 1</summary>
#
# If `log_variance` is $\log s^2$, then $s^2$ is its `exp()`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Four terms and a half. With mean 0 and log-variance 0 the result must be 0.
#
# </details>


# %% tags=["task"]
def kl(mean, log_variance):
    """KL(N(mean, variance) || N(0, 1)) of every number, in nats."""
    ### BEGIN SOLUTION
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)
    ### END SOLUTION


# %% tags=["grader"]
def check_kl(function):
    torch.manual_seed(0)
    m, v = torch.randn(5, 3), torch.randn(5, 3)
    want = dist.kl_divergence(dist.Normal(m, (v / 2).exp()), dist.Normal(0.0, 1.0))
    mistakes = {
        "N(0, 1) itself costs nothing, but here 1/2: the -1 is missing": want + 0.5,
        "the sign of the last term: minus log_variance": want + v,
        "log_variance is used as s; s² = exp(log_variance)": 0.5 * (m**2 + v**2 - 1 - (v**2).log()),
    }
    formula = "for each number ½ (m² + s² - 1 - log s²), not summed; s² = exp(log_variance)"
    return fault(function, (m, v), want, mistakes, formula) or "right: as torch's"


print(check_kl(kl))

# %% [markdown]
# ## The sample that stops gradients
#
# The ELBO's first part is a mean over samples of $q$, and $q$ is what the encoder says. How does the loss tell the encoder
# to move $m$? Try $\mathbb{E}[z^2] = m^2 + s^2$, whose gradients are $2m$ and $2s$. `torch.normal` samples; ask it for
# gradients.

# %%
torch.manual_seed(0)
leaf_m, leaf_s = torch.tensor(0.7, requires_grad=True), torch.tensor(0.5, requires_grad=True)
by_normal = torch.normal(leaf_m.expand(100_000), leaf_s.expand(100_000)).square().mean()
by_normal.backward()
print("the mean is right:", math.isclose(float(by_normal.detach()), 0.74, abs_tol=0.02))
print("gradients through torch.normal:", leaf_m.grad.item(), leaf_s.grad.item())

# %% [markdown]
# No gradient. The sample is a number from a black box, and torch cannot say how it would have changed with $m$.
#
# So take the randomness out of the box. Sample $\epsilon \sim N(0, 1)$, which depends on nothing, and *compute*
#
# $$z = m + s\,\epsilon .$$
#
# The distribution is the same, and $z$ is now a plain formula in $m$ and $s$: the *reparameterised* sample.

# %% [markdown] tags=["student"]
# **Your part: `reparameterise`** (easy, 10 minutes). Take `mean`, `log_variance` and `noise`, each `(B, latents)`, where
# `noise` was sampled from $N(0, 1)$. Return the sample `z (B, latents)`.
#
# <details><summary>Hint 1</summary>
#
# The formula needs the standard deviation $s$. You have $\log s^2 = 2 \log s$.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `(0.5 * log_variance).exp()` is $s$. Use the noise that is given; sample nothing.
#
# </details>


# %% tags=["task"]
def reparameterise(mean, log_variance, noise):
    """A sample of N(mean, variance), computed from noise of N(0, 1)."""
    ### BEGIN SOLUTION
    return mean + (0.5 * log_variance).exp() * noise
    ### END SOLUTION


# %% tags=["grader"]
def check_reparameterise(function):
    torch.manual_seed(0)
    m, v = torch.randn(6, 4, requires_grad=True), torch.randn(6, 4, requires_grad=True)
    noise = torch.randn(6, 4, generator=torch.Generator().manual_seed(7))
    want = VAE.sample(None, m, v, torch.Generator().manual_seed(7))  # vg's
    mistakes = {
        "that is the variance; the standard deviation is its root": m + v.exp() * noise,
        "log_variance itself is no standard deviation: exp(log_variance / 2) is": m + v * noise,
        "that is the mean: the noise is missing": m,
        "sample nothing: use `noise`": VAE.sample(None, m, v, torch.Generator().manual_seed(3)),
    }
    torch.manual_seed(3)
    formula = "z = m + s * noise, where s = exp(log_variance / 2)"
    wrong = fault(function, (m, v, noise), want, mistakes, formula)
    if not wrong and (z := function(m, v, noise)).requires_grad:
        z.sum().backward()
    if not wrong and (m.grad is None or v.grad is None):
        return "the value is right, but no gradient comes through: no `detach`, no `no_grad`"
    return wrong or "right: as vg's, and gradients reach both"


print(check_reparameterise(reparameterise))

# %% [markdown]
# Now let it matter. Fit $q$ to the one-pixel model by gradient ascent on the ELBO, once reparameterised and once with
# `torch.normal`. What will the second do, if the KL is the only part whose gradient arrives?


# %%
def climb(sample, steps=600):
    torch.manual_seed(0)
    mean, log_variance = (torch.tensor(v, requires_grad=True) for v in (0.9, -3.0))
    optimizer = torch.optim.Adam([mean, log_variance], lr=0.01)
    path = []
    for _ in range(steps):
        latent = sample(mean.expand(16), log_variance.expand(16))
        loss = kl(mean, log_variance) - log_likelihood(seen, latent).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        path.append((mean.item(), math.exp(log_variance.item() / 2)))
    return path


paths = {
    "reparameterised": climb(lambda m, v: reparameterise(m, v, torch.randn(16))),
    "torch.normal": climb(lambda m, v: torch.normal(m, (v / 2).exp())),
}
for name, path in paths.items():
    print(f"{name:16} the ELBO rises:", bound(*path[-1]) > bound(*path[0]))

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
centre = float((posterior * grid).sum() * spacing)
spread = math.sqrt(float((posterior * (grid - centre) ** 2).sum() * spacing))
_, axes = plt.subplots(figsize=(6, 2.8))
for name, path in paths.items():
    axes.plot(*zip(*path), label=name)
axes.plot(centre, spread, "o", label="the posterior's")
axes.plot(0, 1, "s", label="the prior's")
axes.set(title="m and s of q, step by step", xlabel="m", ylabel="s")
axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# With the gradient, $q$ settles near the peak of the posterior, and narrower than it: the ELBO punishes $q$ for being where
# the posterior is not, and forgives a tail left out. Without it, $q$ walks to the prior, $m = 0$ and $s = 1$, where it says
# nothing about the pixel. That is a first *posterior collapse*.
#
# </details>
#
# ## A likelihood for 8-bit pixels
#
# The decoder must spread a probability of one over 256 values. The *discretized logistic* (Kingma et al., 2016) takes a
# logistic distribution with mean $\mu$ and scale $\sigma$, whose cumulative probability is a sigmoid. Every value gets the area
# over its bin, $1/255$ to each side, a difference of two sigmoids:
#
# $$p(v) = \mathrm{sigmoid}\!\left(\tfrac{v + 1/255 - \mu}{\sigma}\right) -
# \mathrm{sigmoid}\!\left(\tfrac{v - 1/255 - \mu}{\sigma}\right) .$$
#
# The lowest and the highest value also take the tails. Far from the mean this difference is 0 in float32, and its logarithm
# $-\infty$. `vg` writes the same difference as a product, in which nothing cancels; the last lines try both.


# %%
def probabilities(mu, scale):
    """The 256 probabilities of a pixel, from the lowest value to the highest."""
    edges = (torch.arange(257, dtype=torch.float64) - 0.5) / 127.5 - 1
    edges[0], edges[-1] = -math.inf, math.inf
    return torch.sigmoid((edges - mu) / scale).diff()


levels = torch.arange(256) / 127.5 - 1
for mu, scale in [(0.2, 0.02), (0.2, 0.1), (0.95, 0.1)]:
    by_hand = probabilities(mu, scale)
    vgs = discretized_logistic(levels, torch.tensor(mu), torch.tensor(scale).log()).exp().double()
    same = torch.allclose(by_hand, vgs, atol=1e-6)
    one = math.isclose(float(by_hand.sum()), 1)
    print(f"mean {mu}, scale {scale}: sum is 1 {one}, as vg's {same}")

far, sure = torch.tensor(-0.9), torch.tensor(0.01)  # -0.9, where 0.9 was expected with confidence
direct = torch.sigmoid((far + 1 / 255 - 0.9) / sure) - torch.sigmoid((far - 1 / 255 - 0.9) / sure)
stable = discretized_logistic(far, torch.tensor(0.9), sure.log())
print("finite log: difference", bool(direct.log().isfinite()), " product", bool(stable.isfinite()))

# %% [markdown]
# $-\log_2 p$ of a pixel is its cost in bits. A narrow peak costs little where it is right and much where it is wrong, so
# it pays to be honest about uncertainty. The sum over an image, divided by its 3,072 numbers, is *bits per dimension*: 8
# for a model that knows nothing. Two baselines have no latents: one mean and one scale per channel, or the mean training
# image with one scale per channel.


# %%
# NBVAL_IGNORE_OUTPUT
def no_latents(mean_image):
    """Bits per dimension on the test images with this mean and the best scale for each colour."""
    log_scales = torch.linspace(-3, 0, 31)
    costs = [-discretized_logistic(known[:2000], mean_image, k).mean((0, 2, 3)) for k in log_scales]
    best = log_scales[torch.stack(costs).argmin(0)].view(3, 1, 1)
    return float(-discretized_logistic(test, mean_image, best).mean() / math.log(2))


floor = {
    "know nothing": 8.0,
    "one mean a colour": no_latents(known.mean((0, 2, 3), keepdim=True)[0]),
    "mean image": no_latents(known.mean(0)),
}
show.bars(floor, "test images, without latents", unit="bits per dimension")

# %% [markdown]
# Neither saves much: what all images share is little beside what each has of its own.
#
# ## The model
#
# What is left is convolutions. The encoder halves the image three times and ends in two vectors, mean and log-variance.
# The decoder goes back and ends in a mean and a log-scale for each number of the image.
#
# ```text
# image (B, 3, 32, 32)                     z (B, 128)
#   conv 4x4, stride 2  (B, 32, 16, 16)      Linear             (B, 64, 4, 4)
#   conv 4x4, stride 2  (B, 64, 8, 8)        2 residual blocks  (B, 64, 4, 4)
#   2 residual blocks   (B, 64, 8, 8)        transposed conv    (B, 64, 8, 8)
#   conv 4x4, stride 2  (B, 64, 4, 4)        2 residual blocks  (B, 64, 8, 8)
#   2 residual blocks   (B, 64, 4, 4)        transposed conv    (B, 32, 16, 16)
#   Linear              2 x (B, 128)         transposed conv    2 x (B, 3, 32, 32)
#   = mean, log-variance of z                = mean, log-scale of each number
# ```
#
# Two starting values are chosen: each residual block begins close to the identity, and the log-variance does not depend on the
# image.


# %%
class Residual(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.first, self.second = (nn.Conv2d(d, d, 3, padding=1) for _ in range(2))
        nn.init.zeros_(self.second.weight)

    def forward(self, x):
        return x + self.second(relu(self.first(relu(x))))


class HandVAE(nn.Module):
    def __init__(self, d=64, latents=128, depth=2):
        super().__init__()

        def blocks():
            return [Residual(d) for _ in range(depth)]

        half, by_two = d // 2, dict(kernel_size=4, stride=2, padding=1)
        layers = [nn.Conv2d(3, half, **by_two), nn.ReLU(), nn.Conv2d(half, d, **by_two), *blocks()]
        self.encoder = nn.Sequential(*layers, nn.Conv2d(d, d, **by_two), *blocks())
        self.to_latents = nn.Linear(d * 16, 2 * latents)
        self.from_latents = nn.Linear(latents, d * 16)
        layers = [*blocks(), nn.ConvTranspose2d(d, d, **by_two), *blocks()]
        layers += [nn.ConvTranspose2d(d, half, **by_two), nn.ReLU()]
        self.decoder = nn.Sequential(*layers, nn.ConvTranspose2d(half, 6, **by_two))
        self.log_scale = nn.Parameter(torch.full((3, 1, 1), -2.0))
        nn.init.zeros_(self.to_latents.weight[latents:])

    def encode(self, x):
        """Images (B, 3, 32, 32) -> mean and log-variance of z, each (B, latents)."""
        mean, log_variance = self.to_latents(relu(self.encoder(x)).flatten(1)).chunk(2, dim=1)
        return mean, log_variance.clamp(-14, 7)

    def likelihood(self, z):
        """z (B, latents) -> mean and log-scale of each number, each (B, 3, 32, 32)."""
        features = self.from_latents(z).unflatten(1, (-1, 4, 4))
        mean, log_scale = self.decoder(features).chunk(2, dim=1)
        return mean, (self.log_scale + log_scale).clamp(min=-7)


# %% [markdown]
# ## The loss
#
# The loss is the negative ELBO with one sample of $z$, in bits per dimension. For $D = 3072$ numbers $x_i$ and latents
# $z_j$:
#
# $$\mathcal{L} = \frac{1}{D \ln 2} \Big( \underbrace{-\sum_i \ln p(x_i \mid z)}_{\text{distortion}} +
# \underbrace{\sum_j \mathrm{KL}_j}_{\text{rate}} \Big) .$$
#
# Both sums are whole sums. They are divided by the same number, at the end.

# %% [markdown] tags=["student"]
# **Your part: `negative_elbo`** (medium, 15 minutes). Take images `x (B, C, H, W)`; `pixels`, the pair of mean and log-scale
# of each number, each `(B, C, H, W)`; and `mean` and `log_variance` of the latents, each `(B, latents)`. Return the loss of
# each image in bits per dimension, `(B,)`. `discretized_logistic(x, mean, log_scale)` has the log-probabilities in nats.
#
# <details><summary>Hint 1</summary>
#
# `-discretized_logistic(x, *pixels)` is `(B, C, H, W)`. Sum it over the image, not over the batch: `.flatten(1).sum(1)`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Your `kl(mean, log_variance)` is `(B, latents)`. Sum over the latents.
#
# </details>
# <details><summary>Hint 3</summary>
#
# A nat is `1 / math.log(2)` bits. The numbers of an image are `x[0].numel()`.
#
# </details>


# %% tags=["task"]
def negative_elbo(x, pixels, mean, log_variance):
    """The loss of each image in bits per dimension, (B,)."""
    ### BEGIN SOLUTION
    distortion = -discretized_logistic(x, *pixels).flatten(1).sum(1)  # nats
    rate = kl(mean, log_variance).sum(1)
    return (distortion + rate) / x[0].numel() / math.log(2)
    ### END SOLUTION


# %% tags=["grader"]
def check_negative_elbo(function):
    torch.manual_seed(0)
    x = torch.rand(5, 3, 32, 32) * 2 - 1
    pixels = torch.rand(2, 5, 3, 32, 32).unbind()  # mean and log-scale
    m, v = 9 * torch.randn(5, 6), torch.randn(5, 6)  # far from the prior
    nats, kls = -discretized_logistic(x, *pixels).flatten(1).sum(1), kl_to_normal(m, v)
    rate, bits = kls.sum(1), 3072 * math.log(2)
    mistakes = {
        "the KL is missing": nats / bits,
        "the likelihood has the wrong sign: -log p is the cost": (rate - nats) / bits,
        "the KL has the wrong sign: it is a cost": (nats - rate) / bits,
        "the KL is a mean over the latents: sum it, as the pixels": (nats + kls.mean(1)) / bits,
        "only the pixels are divided by the dimension": nats / bits + rate / math.log(2),
        "parentheses: both sums are divided": nats + rate / bits,
        "a mean of both: they are whole sums": (nats / 3072 + kls.mean(1)) / math.log(2),
        "mean and log_variance are exchanged": (nats + kl_to_normal(v, m).sum(1)) / bits,
    }
    formula = "for each image (sum of -log p, by flatten(1).sum(1), + sum of KL) / (3072 ln 2)"
    wrong = fault(function, (x, pixels, m, v), (nats + rate) / bits, mistakes, formula)
    return wrong or "right: distortion plus rate, in bits per dimension"


print(check_negative_elbo(negative_elbo))

# %% [markdown]
# The whole of it beside `vg`'s, with the same weights and the same noise:


# %%
def loss_of(model, x, noise):
    """The loss of each image, (B,), from a model with `encode` and `likelihood`."""
    mean, log_variance = model.encode(x)
    z = reparameterise(mean, log_variance, noise)
    return negative_elbo(x, model.likelihood(z), mean, log_variance)


torch.manual_seed(0)
vg_model, hand_model = VAE(), HandVAE()
hand_model.load_state_dict(vg_model.state_dict())  # the names agree
fixed_noise = torch.randn(8, 128, generator=torch.Generator().manual_seed(0))
with torch.no_grad():
    ours = loss_of(hand_model, test[:8], fixed_noise)
    vg_loss = vg_model.bits_per_dim(test[:8], torch.Generator().manual_seed(0))
print("as vg's:", torch.allclose(ours, vg_loss, atol=1e-4))

# %% [markdown]
# ## What should the first loss be?
#
# Know it before you train: a wrong first loss is the cheapest bug to find. At the start the decoder's outputs are nearly 0, so
# each pixel gets a logistic with mean 0 and log-scale $-2$; the KL is nearly 0. What that costs, in bits per dimension, can be computed
# without a network, here for the eight images of the cell above.

# %%
# NBVAL_IGNORE_OUTPUT
nats = -discretized_logistic(test[:8], torch.tensor(0.0), torch.tensor(-2.0)).mean()
print(f"expected {nats / math.log(2):.2f} bits, the untrained model's {ours.mean():.2f}")

# %% [markdown]
# It is above 8, the cost of knowing nothing: the untrained model is not only ignorant but overconfident. Its scale of
# $e^{-2}$ is about 17 grey levels, too narrow for a mean that is grey everywhere.
#
# ## Overfit one batch
#
# The second test: train on eight images, always the same. A correct model and loop must learn them nearly by heart. If
# not, more data will not help. This is the loop, in full:


# %%
def train(model, batches, recipe):
    """Steps of AdamW on the mean loss; batches(generator) gives images. Returns the losses."""
    betas, decay = recipe.betas, recipe.weight_decay
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.lr, betas=betas, weight_decay=decay)
    losses = []
    for step in range(recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr_at(step)  # up, then down as a cosine
        x = batches(torch.Generator().manual_seed(recipe.seed_of(step, 0))).to(device())
        torch.manual_seed(recipe.loss_seed_of(step, 0))
        noise = torch.randn(len(x), model.from_latents.in_features, device=x.device)
        loss = loss_of(model, x, noise).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), recipe.grad_clip)
        optimizer.step()
        losses.append(loss.item())
    return losses


# %%
# NBVAL_IGNORE_OUTPUT
torch.manual_seed(0)
eight = known[:8]
memory = HandVAE(settings.width).to(device())
plain = dict(lr=2e-3, weight_decay=0.0, grad_clip=5.0)
one_batch = train(memory, lambda _: eight, Recipe(settings.overfit_steps, warmup=10, **plain))
with torch.no_grad():
    learned = memory.likelihood(memory.encode(eight.to(device()))[0])[0].cpu()
print(f"from {one_batch[0]:.2f} to {one_batch[-1]:.2f} bits per dimension")
display(show.curves({"one batch": one_batch}, "always the same images", y="bits per dimension"))
show.grid(torch.cat([eight, learned.clamp(-1, 1)]), columns=8, scale=3)

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# The loss falls far below all baselines, and the second row is nearly the first again. So gradients reach everything that
# they should.
#
# </details>
#
# `vg.training.fit` is this loop plus what long runs need: a progress bar, resuming, a running average of the weights, and
# *Muon*, an optimizer for inner matrices which makes all directions of a step equally long. Without Muon and averaging it takes
# the same steps:

# %%
# NBVAL_IGNORE_OUTPUT
torch.manual_seed(0)
little = VAE(VAEConfig(width=16, latents=8, depth=1)).to(device())
hand_little = HandVAE(16, 8, 1).to(device())
hand_little.load_state_dict(little.state_dict())
batches = image_batches(images.train, batch=64)
same_recipe = Recipe(steps=10, warmup=5, **plain)
hand_losses = train(hand_little, batches, same_recipe)
vg_run = fit(little, vae_loss(), batches, same_recipe, progress=False)
difference = max(abs(a - b) for a, (_, b) in zip(hand_losses, vg_run.history["loss"]))
print(f"losses of ten steps differ by at most {difference:.1e}")

# %% [markdown]
# ## Training
#
# Now all training images, in batches of 64, half of them mirrored. The dotted lines are the baselines without latents.


# %%
# NBVAL_IGNORE_OUTPUT
@torch.no_grad()
def measure(model, truth=test):
    """Of each image: bits per dimension, distortion, KLs, mean, log-variance, PSNR."""
    place, generator = next(model.parameters()).device, torch.Generator().manual_seed(0)
    found = []
    for part in (p.to(place) for p in truth.split(250)):
        e, posterior_of = model.elbo(part, generator), model.encode(part)
        psnr = evaluation.psnr(model.decode(posterior_of[0]), part)
        found.append((e.bits_per_dim(), e.distortion, e.kl, *posterior_of, psnr))
    return [torch.cat(column).cpu() for column in zip(*found)]


torch.manual_seed(0)
fast = dict(lr=2e-3, muon=2e-2, grad_clip=5.0)
trained = fit(
    VAE(VAEConfig(width=settings.width)).to(device()),
    vae_loss(),
    batches,
    Recipe(settings.steps, warmup=50, ema=0.99, **fast),
    evaluate=lambda model: {"test": float(measure(model, test[:1000])[0].mean())},
    every=max(2, settings.steps // 10),
    plot=show.LivePlot("VAE", y="bits per dimension", baselines=floor),
)
mine = trained.model
print(f"{trained.seconds:.0f} s; test {trained.history['test'][-1][1]:.3f} bits per dimension")

# %% [markdown]
# The course ships a VAE of the same shape that was trained for longer. Below are test images; what comes back from 128
# numbers, with both models; and the images from their 128 strongest *principal components* (PCA), the best that a linear
# encoder and decoder can do in squared error.

# %%
# NBVAL_IGNORE_OUTPUT
shipped = checkpoints.load("vae-cifar10", device=device())
display(show.card("vae-cifar10"))
flat = known.flatten(1)
middle = flat.mean(0)
torch.manual_seed(0)
latents = shipped.config.latents
basis = torch.pca_lowrank(flat - middle, q=latents + 64, center=False, niter=4)[2][:, :latents]
linear = ((test.flatten(1) - middle) @ basis @ basis.T + middle).view_as(test)


def rows(pictures, columns=10, scale=3):
    """A picture with a labelled row for each entry of {label: (n, C, H, W)}."""
    lines = {n: p[:columns].cpu().clamp(-1, 1).movedim(0, 1) for n, p in pictures.items()}
    return show.strip(lines, 1, scale)


ten = test[:10].to(device())
rows({"original": test, "trained here": mine(ten), "shipped": shipped(ten), "PCA": linear})

# %% [markdown]
# Which survives: colours, large shapes, edges, fur?
#
# <details><summary>What the stored run shows</summary>
#
# Colours, large shapes and light come back. Edges blur, and fur and other fine texture are gone. By eye PCA's row is hard to tell from the
# VAE's.
#
# </details>
#
# ## What the latents carry
#
# How many bits does $z$ hold about $x$? The mean KL over images is only an *upper bound*. With $q(z)$ the mean of $q(z|x)$
# over all images that there could be, the *aggregate posterior*,
#
# $$\mathbb{E}_x\, \mathrm{KL}(q(z|x) \,\|\, p) = \underbrace{I(x; z)}_{\text{information}} +
# \underbrace{\mathrm{KL}(q(z) \,\|\, p)}_{\text{gap}} .$$
#
# The gap is not information: it is how far the encodings *as a whole* are from the prior. (The images at hand estimate the mean
# and covariance of $q(z)$. Of no more than $N$ images $z$ could not tell more than $\log_2 N$ bits: which of them it is.) It is at least the KL
# of a normal distribution with the same mean and covariance as $q(z)$, since of all such distributions the normal has the
# largest entropy; and that KL has a formula. So the information can be
# bounded more tightly.


# %%
# NBVAL_IGNORE_OUTPUT
_, _, kl_known, means, log_variances, _ = measure(shipped, known)
z_mean = means.mean(0)  # mean and covariance of q(z)
z_covariance = torch.cov(means.T) + log_variances.exp().mean(0).diag()
away = z_covariance.trace() + z_mean.square().sum() - len(z_mean) - z_covariance.logdet()
gap_bits = float(away) / 2 / math.log(2)
kl_bits = float(kl_known.sum(1).mean())
print(f"mean KL {kl_bits:.0f} bits an image, of {8 * dims} bits of its pixels")
print(f"gap at least {gap_bits:.0f} bits, so information at most {kl_bits - gap_bits:.0f} bits")

# %% [markdown]
# If there is a gap, samples from the prior lie where no image was encoded. Compare: decode samples of the prior, and of the
# normal distribution fitted to the encodings.


# %%
# NBVAL_IGNORE_OUTPUT
def decoded(z):
    return torch.cat([shipped.decode(part.to(device())).cpu() for part in z.split(250)])


white = torch.randn(20, latents, generator=torch.Generator().manual_seed(0))
fitted = z_mean + white @ torch.linalg.cholesky(z_covariance).T
samples = {"prior": decoded(white), "fitted": decoded(fitted)}
rows(samples, columns=20, scale=2)

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# There is a gap. Samples of the prior are patchwork in mixed colours. Those of the fitted distribution are calmer, with larger
# shapes and the light of photographs, but they show no things either. A normal distribution with the right covariance is
# not enough: the encodings have a shape that needs a learned prior (notebook 02).
#
# </details>
#
# Does one latent mean one thing? Nothing in the ELBO asks for it: the prior looks the same from all sides. So find
# directions. Decode many samples, fit a straight line from latents to pixels, and take the singular vectors of its
# slopes: the directions that change pictures most. Then move three test images along them.


# %%
# NBVAL_IGNORE_OUTPUT
torch.manual_seed(0)
z = torch.randn(settings.direction_samples, latents)
pictures = decoded(z).flatten(1)
slopes = z.T @ (pictures - pictures.mean(0)) / len(z)  # (latents, dims); z has variance 1
directions = torch.linalg.svd(slopes, full_matrices=False)[0].T  # one a row, strongest first
chosen, amounts = [3, 1, 7], torch.linspace(-6, 6, 13)
origin = shipped.encode(test[chosen].to(device()))[0].cpu()
moved = origin[:, None, None] + amounts[:, None] * directions[:6, None]  # (3, 6, 13, latents)
moved = decoded(moved.flatten(0, 2)).unflatten(0, moved.shape[:3])
interactive.variations(
    {"image": test[chosen][:, None, None], "back": decoded(origin)[:, None, None], "yours": moved},
    {
        "image": [f"{n}, {images.classes[int(images.test.labels[n])]}" for n in chosen],
        "direction": range(6),
        "amount": amounts.tolist(),
    },
    start={"amount": 9},
    scale=5,
    smooth=True,
    title="test images moved along the directions that change pictures most",
)

# %% [markdown]
# What would you call the first directions?
#
# <details><summary>What the stored run shows</summary>
#
# The first makes the whole picture lighter and colder, or darker and warmer. The next make regions lighter or darker: the
# middle, a side, a corner. They are properties of light and colour, not of things.
#
# </details>
#
# ## Posterior collapse, provoked
#
# A weight $\beta$ before the KL (Higgins et al., 2017): 1 gives the ELBO; 0 a plain autoencoder, whose latents lie anywhere;
# more than 1 makes each bit cost more. A large $\beta$ often comes in by accident: the *mean* over pixels of $-\log p$, plus
# the *sum* of the KL, is the ELBO with $\beta = D = 3072$, up to a factor.
#
# With a mean squared error in place of $-\log p$ the $\beta$ that you have depends on the $\sigma$ you did not write. A normal likelihood with a fixed
# $\sigma$ has $-\log p = \sum_i (x_i - \mu_i)^2 / 2\sigma^2 + \text{const}$. So "mean squared error plus KL" has
# $\beta = D / 2\sigma^2$, which is 3072 only for $\sigma^2 = 1/2$:

# %%
for sigma in (math.sqrt(0.5), 0.2, 0.1):
    print(f"sigma {127.5 * sigma:5.1f} grey levels: beta {dims / (2 * sigma**2):9,.0f}")

# %% [markdown]
# Small models, few steps each, and a count: a latent is *active* if its mean differs between images (variance above 0.01;
# Burda et al., 2016).


# %%
# NBVAL_IGNORE_OUTPUT
def small():
    torch.manual_seed(0)
    return VAE(VAEConfig(latents=32, width=32, depth=1)).to(device())


def table(lines, columns):
    print(" " * 20 + "".join(f"{name:>14}" for name in columns))
    for name, values in lines.items():
        print(f"{name:20}" + "".join(f"{value:14.4g}" for value in values))


def report(model):
    bits, distortion, kl_of, means, _, psnr = measure(model, test[:1000])
    active = int((means.var(0) > 0.01).sum())
    rate = float(kl_of.sum(1).mean())
    return [float(bits.mean()), float(distortion.mean()) / dims, rate, active, float(psnr.mean())]


short = Recipe(settings.small_steps, warmup=30, ema=0.97, **fast)
columns = ["bits per dim", "distortion", "KL (bits)", "active of 32", "PSNR (dB)"]
runs = {f"beta {b}": fit(small(), vae_loss(b), batches, short).model for b in (0, 1, 10, dims)}
table({name: report(run) for name, run in runs.items()}, columns)

# %%
# NBVAL_IGNORE_OUTPUT
few_z = torch.randn(5, 32, generator=torch.Generator().manual_seed(1)).to(device())
five = test[:5].to(device())
sheets = {n: torch.cat([run(five), run.decode(few_z)]) for n, run in runs.items()}
rows({"original": test[:5]} | sheets)

# %% [markdown]
# The first column is always the negative ELBO in bits per dimension, with $\beta = 1$, whatever the model was trained on. Left: five test images, rebuilt. Right:
# five samples from the prior. Where are the latents empty, and which model needs the fewest bits?
#
# <details><summary>What the stored run shows</summary>
#
# With $\beta = 3072$ no latent is active, and every picture is the same grey mean. $\beta = 1$ has the fewest bits, as
# it should, since it is trained on them. $\beta = 0$ spends far more KL for a small gain. With $\beta = 10$ all latents
# are still active but hold fewer bits: an active latent may hold little.
#
# </details>
#
# ## Posterior collapse, cured
#
# Take the collapsed model, weights and all, and train on with $\beta = 1$ for as many steps.

# %%
# NBVAL_IGNORE_OUTPUT
collapsed = small()
collapsed.load_state_dict(runs[f"beta {dims}"].state_dict())
cured = fit(collapsed, vae_loss(1), batches, short).model
kept = {name: runs[name] for name in ("beta 1", f"beta {dims}")} | {f"{dims}, then 1": cured}
table({name: report(run) for name, run in kept.items()}, columns)

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# The latents come back to life, and the model ends near the one that had $\beta = 1$ from the start. This collapse was
# the loss's doing, so the loss undoes it. A stubborn kind remains: a decoder that predicts each pixel from its neighbours
# needs no latents, and learns that first. The usual cure is a warm-up (exercise 3).
#
# </details>
#
# ## Why reconstructions blur
#
# Latents of few bits cannot say where exactly an edge is. Suppose that eight places are equally likely. Which single picture
# has the smallest squared error to all eight?

# %%
sharp = torch.full((8, 1, 16, 16), -0.8)
for k in range(8):
    sharp[k, :, :, 4 + k :] = 0.6
best_guess = sharp.mean(0, keepdim=True)  # the mean minimises the squared error
errors = [float((sharp - guess).square().mean()) for guess in (*sharp.split(1), best_guess)]
print(f"squared error: mean {errors[-1]:.3f}, best sharp picture {min(errors[:-1]):.3f}")
show.grid(torch.cat([sharp, best_guess]), columns=9, scale=3, labels=[""] * 8 + ["mean"])

# %% [markdown]
# The best answer is a ramp, which is none of the plausible pictures. The mean of a likelihood is such an answer, and the
# decoder says where it is unsure: below, a brighter "scale" is less sure. "Sampled" is a sample of the whole likelihood,
# pixel by pixel. *Sharpness* is the mean difference of neighbouring pixels, in grey levels.


# %%
# NBVAL_IGNORE_OUTPUT
def sharpness(pictures):
    across, down = pictures.diff(dim=-1).abs().mean(), pictures.diff(dim=-2).abs().mean()
    return float(across + down) / 2 * 127.5


encoded = shipped.encode(test[:64].to(device()))[0]
mean_image, log_scale = (part.cpu() for part in shipped.likelihood(encoded))
u = torch.rand(mean_image.shape, generator=torch.Generator().manual_seed(0)).clamp(1e-4, 1 - 1e-4)
sampled = mean_image + log_scale.exp() * torch.logit(u)  # a logistic sample by its inverse cdf
unsure = log_scale.exp().mean(1, keepdim=True)
unsure = (2 * unsure / unsure[:10].max() - 1).expand(-1, 3, -1, -1)
versions = {"original": test[:64], "mean": mean_image, "sampled": sampled}
versions |= {f"mean, z of {name}": pictures for name, pictures in samples.items()}
table({name: [sharpness(p.clamp(-1, 1))] for name, p in versions.items()}, ["sharpness"])
rows({"original": test, "mean": mean_image, "scale": unsure, "sampled": sampled})

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# The scale is bright at edges and in texture. The sampled picture has detail, but it is noise: the likelihood treats each
# pixel as independent of its neighbours, so it cannot say "an edge, here or there". So one shows the mean, and the mean
# is soft. Reconstructions are softer than originals. Samples are *not* softer than reconstructions: blur is
# not what is wrong with them. Their parts do not belong together.
#
# </details>
#
# ## Numbers
#
# All models in one table. The mean image knows nothing of the image at hand; PCA is no distribution, so it has no bits.


# %%
# NBVAL_IGNORE_OUTPUT
def decibels(pictures):
    return float(evaluation.psnr(pictures, test).mean())


lines = {"mean image": [floor["mean image"], decibels(known.mean(0).expand_as(test))]}
lines["PCA, 128"] = [math.nan, decibels(linear)]
for name, model in {"VAE trained here": mine, "vae-cifar10": shipped}.items():
    bits_of, *_, psnr_of = measure(model)
    lines[name] = [float(bits_of.mean()), float(psnr_of.mean())]
table(lines, ["bits per dim", "PSNR (dB)"])

# %% [markdown]
# PSNR asks how near the rebuilt image is, and PCA is built for that alone. Bits ask how probable the exact image is.
#
# **Beside published figures.** On the original CIFAR-10 files the VAE of Kingma et al. (2016) reports 3.11 bits per
# dimension, PixelCNN++ 2.92, NVAE 2.91, and a diffusion model (VDM) 2.65. Our VAE is far from these. They have large networks, latents at
# many resolutions or a prediction of each pixel from its neighbours; ours has one vector and independent pixels. For this
# course that is fine: a tokenizer has to *rebuild* pictures, and the probabilities are the job of the prior over its
# tokens. (The copy of CIFAR-10 used for the stored outputs went through JPEG, which smooths; compare within the table only.)
#
# ## Exercises
#
# **1. A tighter bound** (medium, 15 minutes). One sample gives $\log w = \log p(z)\,p(x|z)/q(z)$, and the ELBO is its mean. With
# $K$ samples take the log of the mean weight instead: a tighter bound (Burda et al., 2016). Write `tighter(log_w)` for
# `log_w (K, ...)`; the weights of an image are far too small for `exp`. Try it with `q = dist.Normal(0.2, 0.3)` on the
# one-pixel model.
#
# <details><summary>Solution</summary>
#
# ```python
# def tighter(log_w):
#     return torch.logsumexp(log_w, dim=0) - math.log(len(log_w))
#
# q = dist.Normal(0.2, 0.3)
# for K in (1, 4, 16, 64):
#     z = q.sample((K, 20_000))
#     log_w = prior.log_prob(z) + log_likelihood(seen, z) - q.log_prob(z)
#     print(K, float(tighter(log_w).mean()), float(evidence))
# ```
#
# </details>
#
# **2. Which beta is it?** (easy, 5 minutes). A colleague's loss for images of 3 x 64 x 64 is the mean over all pixels of
# $-\log p$ plus the *mean* over 256 latents of the KL. Which $\beta$ is that?
#
# <details><summary>Solution</summary>
#
# $\beta = 3 \cdot 64 \cdot 64 / 256 = 48$. Multiply the loss by 12,288: the first term is then the sum over
# pixels, and the second 12,288 / 256 = 48 times the sum over latents.
#
# </details>
#
# **3. Warm-up** (easy, 5 minutes). Write `warm_up(step, total, share=0.25)`: $\beta$ rises evenly from 0 at step 0 to 1 at
# `share * total` and stays (Bowman et al., 2016). So the latents are in use before they cost.
#
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
# - The ELBO is a lower bound on $\log p(x)$; the gap is how far $q$ is from the true posterior.
# - Sampling stops gradients. `mean + standard deviation * noise` lets them through.
# - A likelihood that sums to one over 256 values makes the loss a number of bits.
# - Know the first loss, and overfit one batch, before you train.
# - Sum over pixels and over latents, or divide both by the same number. Otherwise the latents may be empty.
# - The mean KL is an upper bound on the information in the latents.
# - Reconstructions blur wherever the latents leave a doubt; samples fail because the prior is not where the encodings are.
#
# **Next:** [02 VQ-VAE and VQ-VAE-2](02_vq_vae.ipynb) replaces the latents by integers.
#
# ## References
#
# - Kingma, Welling: *Auto-Encoding Variational Bayes*, 2014, arXiv:1312.6114.
# - Kingma and others: *Improving Variational Inference with Inverse Autoregressive Flow*, 2016, arXiv:1606.04934.
# - Salimans and others: *PixelCNN++*, 2017, arXiv:1701.05517.
# - Burda, Grosse, Salakhutdinov: *Importance Weighted Autoencoders*, 2016, arXiv:1509.00519.
# - Bowman and others: *Generating Sentences from a Continuous Space*, 2016, arXiv:1511.06349.
# - Higgins and others: *beta-VAE*, ICLR 2017.
# - Hoffman, Johnson: *ELBO surgery*, NIPS workshop, 2016 (the aggregate posterior).
# - Vahdat, Kautz: *NVAE*, 2020, arXiv:2007.03898. Kingma and others: *Variational Diffusion Models*, 2021,
#   arXiv:2107.00630.
# - Krizhevsky: *Learning Multiple Layers of Features from Tiny Images*, 2009 (CIFAR-10).
