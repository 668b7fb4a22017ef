# %% [markdown]
# # 05 Tubelet FSQ-VAE
#
# A clip of 16 frames at 64x64 is 65,536 numbers. Here it becomes 512 integers, and back. Each integer, a *token*,
# stands for a *tubelet*: a block of pixels that is 8 frames long, 4 rows high and 4 columns wide. The transformer of
# notebook 07 reads and writes nothing but these integers.
#
# **After this notebook you will be able to**
# - cut a clip into tubelets and put it together again, by hand and as a convolution;
# - turn the digits of a token into one integer and back;
# - build the whole autoencoder, causal in time, and show that it equals `vg`'s;
# - train one, and judge one beside its baselines: PSNR, SSIM, bits, usage, stability;
# - edit a clip by changing one integer.
#
# **You need** Python, a little PyTorch, and what notebook 00 sets up. The notebook runs alone.
#
# **Time:** about 2.5 hours of study, 3 with the tasks; about 7 minutes of computing on a two-core laptop.
#
# **Before:** [04 Conv3D FSQ-VAE](04_video_fsq_vae.ipynb). **Next:** [06 Latent cache](06_latent_cache.ipynb).

# %%
# NBVAL_IGNORE_OUTPUT
import math

import torch
import torch.nn.functional as F
from einops import rearrange
from IPython.display import display
from torch import nn

from vg import checkpoints, evaluation, show
from vg.data import Clips, film, open_store, split_shots
from vg.evaluation.codecs import available, code_clips
from vg.experiments.batches import tokenizer_batches
from vg.experiments.losses import tubelet_loss
from vg.models import FSQ, FSQ_LEVELS, TubeletConfig, TubeletTokenizer
from vg.models.blocks import CausalTimeConv
from vg.profiles import device, profile
from vg.show import interactive
from vg.training import Recipe, fit

show.style()
print(f"profile {profile().name}, device {device()}")

# %%
settings = profile().settings(  # smoke, laptop, gpu
    frames=(240, None, None),  # of the film; None: all
    held_out=(0.35, 0.1, 0.1),  # share of the frames in validation shots
    overfit=(3, 300, 300),  # steps on one batch
    small_width=(16, 96, 96),
    small_steps=(3, 200, 2000),
    size=(64, 64, 256),  # pixels
    width=(16, 192, 192),
    steps=(4, 300, 4000),
    batch=(2, 4, 8),
    every=(2, 100, 400),  # steps between two validations
    large_stride=(48, 32, 32),  # frames between two clips at 128 pixels
)

# %% [markdown]
# The film as notebook 00 left it: frames on disk, restored, cut into shots. Nothing is trained on validation shots,
# and the shipped tokenizer has not seen them either. `truth` holds validation clips of 16 frames, `(B, C, T, H, W)`
# in [-1, 1].

# %%
# NBVAL_IGNORE_OUTPUT
source = film()
store = open_store(source, frames=settings.frames)
split = split_shots(store.shots, settings.held_out)
train_shots, val_shots = split.train, split.held_out
clips16 = Clips(store, val_shots, frames=16, stride=8)
truth = clips16.take(range(len(clips16)))
motion = truth.diff(dim=2).abs().flatten(1).mean(1)  # (B,) how much each clip moves
fastest = int(motion.argmax())
draw = tokenizer_batches(Clips(store, train_shots, frames=16), batch=4)
print(source.describe(), store, sep="\n")
print(f"{len(train_shots)} training shots, {len(val_shots)} validation shots")
print(f"{len(truth)} validation clips")

# %% [markdown]
# ## A clip cut into tubelets
#
# Begin with a toy: a white square that moves right and down through 8 frames of 16x16. A tubelet of `(4, 8, 8)` is 4
# frames, 8 rows, 8 columns, so the toy has 2 x 2 x 2 = 8 tubelets of 256 pixels. All tubelets of the same frames, a
# grid of `h` x `w`, are a *latent frame*.
#
# Cutting is three loops: over time, down, across. Each row of the picture is one tubelet, shown as the short film that
# it is. Where the square passes, the tubelet holds an edge *and the way it moves*. A patch of one frame could hold
# only the edge.

# %%
toy = torch.full((1, 1, 8, 16, 16), -1.0)  # (B, C, T, H, W)
for n in range(8):
    toy[..., n, 3 + n // 2 : 8 + n // 2, 1 + n : 6 + n] = 1
pieces = {}
for i in range(2):
    for j in range(2):
        for k in range(2):
            block = toy[0, :, 4 * i : 4 * i + 4, 8 * j : 8 * j + 8, 8 * k : 8 * k + 8]
            pieces[f"t={i} h={j} w={k}"] = block
show.strip(pieces, every=1, scale=4)

# %% [markdown]
# The same cut without loops: split each axis in two (which tubelet, which pixel inside), bring the three "which
# tubelet" axes to the front, and flatten the rest. `einops` writes it as a pattern, in which `(T t)` reads "`T`
# tubelets of `t` frames".

# %% [markdown] tags=["student"]
# **Your part: `patchify`** (easy, 10 minutes). Cut `video (B, C, T, H, W)` into `(B, T/t, H/h, W/w, C*t*h*w)`, where
# `tubelet = (t, h, w)`. The pixels of a tubelet stand in the order channel, frame, row, column.
#
# <details><summary>Hint 1</summary>
#
# `rearrange(video, "b c (T t) ... -> ...", t=..., h=..., w=...)` splits axes on the left and joins them on the right.
#
# </details>
# <details><summary>Hint 2</summary>
#
# On the right stand five groups: `b T H W (c t h w)`.
#
# </details>


# %% tags=["task"]
def patchify(video, tubelet):
    """(B, C, T, H, W) -> (B, T/t, H/h, W/w, C*t*h*w), a row of pixels for each tubelet."""
    ### BEGIN SOLUTION
    t, h, w = tubelet
    pattern = "b c (T t) (H h) (W w) -> b T H W (c t h w)"
    return rearrange(video, pattern, t=t, h=h, w=w)
    ### END SOLUTION


# %% tags=["grader"]
def check_patchify(function):
    video = torch.arange(2 * 3 * 4 * 6 * 8.0).view(2, 3, 4, 6, 8)
    try:
        got = function(video, (2, 3, 4))
    except Exception as error:
        return f"it stops with {type(error).__name__}: {error}. Is t=t, h=h, w=w there?"
    if not isinstance(got, torch.Tensor):
        return f"it gives {type(got).__name__}, not a tensor: is there a return?"
    if got.shape != (2, 2, 2, 2, 72):
        return f"the shape is {tuple(got.shape)}, and should be (2, 2, 2, 2, 72)"
    for i, j, k in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]:
        block = video[:, :, 2 * i : 2 * i + 2, 3 * j : 3 * j + 3, 4 * k : 4 * k + 4]
        row = got[:, i, j, k]
        if not torch.equal(row.sort(-1).values, block.flatten(1).sort(-1).values):
            return f"tubelet {(i, j, k)} has pixels of others: (T t), not (t T)"
        if not torch.equal(row, block.flatten(1)):
            return f"tubelet {(i, j, k)} has its pixels in another order: channel first"
    return "right: the same as the loops"


print(check_patchify(patchify))

# %% [markdown]
# The way back is the same pattern with its two sides exchanged.


# %%
def unpatchify(patches, tubelet):
    """(B, T/t, H/h, W/w, C*t*h*w) -> (B, C, T, H, W)."""
    t, h, w = tubelet
    pattern = "b T H W (c t h w) -> b c (T t) (H h) (W w)"
    return rearrange(patches, pattern, t=t, h=h, w=w)


back = unpatchify(patchify(truth, (8, 4, 4)), (8, 4, 4))
print("cut and put together, the clips are what they were:", torch.equal(back, truth))

# %% [markdown]
# A `Linear` layer, the same for all tubelets, turns each row of pixels into `D` features: ViViT's *tubelet embedding*.
# Papers often write it as a 3-D convolution whose stride is its kernel. No two windows overlap, so it is the same
# product of the same numbers.

# %%
torch.manual_seed(0)
linear, conv = nn.Linear(256, 32), nn.Conv3d(1, 32, kernel_size=(4, 8, 8), stride=(4, 8, 8))
with torch.no_grad():
    conv.weight.copy_(linear.weight.view(32, 1, 4, 8, 8))
    conv.bias.copy_(linear.bias)
same = torch.allclose(conv(toy).movedim(1, -1), linear(patchify(toy, (4, 8, 8))), atol=1e-5)
print("stride = kernel Conv3d equals patchify + Linear:", same)

# %% [markdown]
# ## Why not a few sampled frames?
#
# ViViT (Arnab et al., 2021, section 3.2) describes two ways to turn a video into tokens. *Uniform frame sampling*
# keeps every k-th frame and cuts it into flat patches. *Tubelet embedding* cuts the whole volume. With 2 sampled
# frames of 4x4 patches, or 16 frames of 8x4x4 tubelets, the number of tokens is the same.
#
# Suppose that the sampled frames came back *perfectly*. Then only what lies between them is lost, and has to be held
# or blended. No tokenizer of sampled frames can do better without guessing the motion.
#
# $$\mathrm{PSNR} = 10 \log_{10} \frac{4}{\mathrm{MSE}}$$
#
# for values in [-1, 1]; 1 dB more is a fifth less squared error.


# %%
# NBVAL_IGNORE_OUTPUT
def hold(video, k=8):
    return video[:, :, k // 2 :: k].repeat_interleave(k, dim=2)


def blend(video, k=8):
    """From each sampled frame to the next in a straight line; hold the first and the last."""
    kept = video[:, :, k // 2 :: k]
    place = ((torch.arange(k * kept.shape[2]) - k // 2) / k).clamp(0, kept.shape[2] - 1)
    left = place.long().clamp(max=kept.shape[2] - 2)
    return torch.lerp(kept[:, :, left], kept[:, :, left + 1], (place - left).view(-1, 1, 1))


def table(rows, columns):
    print(" " * 24 + "".join(f"{name:>17}" for name in columns))
    for name, values in rows.items():
        cells = (f"{value:17,.0f}" if value >= 1e4 else f"{value:17,.4g}" for value in values)
        print(f"{name:24}" + "".join(cells))


fast = motion >= motion.quantile(0.75)
sampled = {}
for name, between in {"perfect frames, held": hold, "perfect frames, blended": blend}.items():
    scores = evaluation.psnr(between(truth), truth)
    sampled[name] = [float(scores.mean()), float(scores[fast].mean())]
table(sampled, ["PSNR dB", "fastest quarter"])

# %% [markdown]
# Keep these figures. The tubelet tokenizers below spend as many tokens and have to draw every frame.
#
# ## A token is an integer
#
# FSQ (Mentzer et al., 2023) has no learned codebook: the encoder gives a few numbers, each is squashed by `tanh` and
# rounded to one of its *levels*. With levels $(8, 6, 5)$ a token has three *digits*, and together they name one of
# 240 codes. The digits have different bases, the first runs fastest:
#
# $$\text{index} = d_0 + L_0\, d_1 + L_0 L_1\, d_2 = d_0 + 8\, d_1 + 48\, d_2$$


# %%
def to_index(digits, levels):
    """Digits (..., n) -> indices (...), the first digit running fastest."""
    worth = [math.prod(levels[:i]) for i in range(len(levels))]  # 1, 8, 48
    return (digits * torch.tensor(worth, device=digits.device)).sum(-1)


some = torch.tensor([[3, 2, 2], [1, 0, 0], [0, 1, 0], [7, 5, 4]])
named = to_index(some, (8, 6, 5))
print(named.tolist(), "as vg counts:", torch.equal(named, FSQ((8, 6, 5)).indices(some)))

# %% [markdown] tags=["student"]
# **Your part: `to_digits`** (medium, 10 minutes). The way back: indices `(...)` to digits `(..., n)`.
#
# <details><summary>Hint 1</summary>
#
# How do you get the tens of 5372? Divide by what they are worth, drop the fraction, take the remainder by the base.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Digit i is `index // worth % levels[i]`. Collect them and `torch.stack(..., dim=-1)`.
#
# </details>


# %% tags=["task"]
def to_digits(index, levels):
    """Indices (...) -> digits (..., n)."""
    ### BEGIN SOLUTION
    found = [index // math.prod(levels[:i]) % n for i, n in enumerate(levels)]
    return torch.stack(found, dim=-1)
    ### END SOLUTION


# %% tags=["grader"]
def check_to_digits(function):
    index = torch.arange(240).view(2, 120)
    try:
        got = function(index, (8, 6, 5))
    except Exception as error:
        return f"it stops with {type(error).__name__}: {error}"
    if not isinstance(got, torch.Tensor):
        return f"it gives {type(got).__name__}, not a tensor: stack the digits"
    if got.shape != (2, 120, 3):
        return f"the shape is {tuple(got.shape)}, and should be (2, 120, 3): digits come last"
    right = FSQ((8, 6, 5)).digits(index)
    if got.is_floating_point():
        return "the digits are floats: divide with //, which drops the fraction"
    if (got >= torch.tensor([8, 6, 5])).any():
        return "some digits reach their base: take the remainder, % levels[i]"
    if not torch.equal(got, right):
        return f"115 is [3, 2, 2], got {got[0, 115].tolist()}: the first digit runs fastest"
    return "right: all 240 codes, there and back"


print(check_to_digits(to_digits))

# %% [markdown]
# The rest of FSQ in a few lines. An even number of levels has no middle, so the range is moved by a half, and the input by as
# much as puts 0 in the middle again. Rounding has no gradient, so it is given that of the identity (*straight
# through*): `bounded + (rounded - bounded).detach()`.


# %%
def fsq(z, levels):
    """(..., n) -> codes in [-1, 1] of that shape, and indices (...)."""
    count = torch.tensor(levels, device=z.device).float()
    half = (count - 1) * 1.001 / 2  # a little more than needed: tanh never reaches 1
    offset = torch.where(count % 2 == 0, 0.5, 0.0)
    bounded = torch.tanh(z + torch.atanh(offset / half)) * half - offset
    rounded = bounded + (bounded.round() - bounded).detach()
    return rounded / (count // 2), to_index((rounded.detach() + count // 2).round().long(), levels)


levels = FSQ_LEVELS[8]
z = (1.5 * torch.randn(1000, 3, generator=torch.Generator().manual_seed(0))).requires_grad_()
codes, indices = fsq(z, levels)
vg_codes, vg_indices = FSQ(levels)(z)
print("codes as vg's:", torch.allclose(codes, vg_codes, atol=1e-6))
print("indices too:  ", torch.equal(indices, vg_indices))
codes.sum().backward()
above = (z.grad > 0).float().mean()
print(f"rounded, and yet the gradient is above 0 for {above:.0%} of the numbers")

# %% [markdown]
# ## The autoencoder, all of it
#
# ```
# clip                            (B, 1, 16, 64, 64)
#   patchify                      (B, 2, 16, 16, 128)     a tubelet is 8 x 4 x 4 = 128 pixels
#   Linear                        (B, 2, 16, 16, D)
#   2 blocks                      (B, 2, 16, 16, D)       the last one looks one latent frame back
#   LayerNorm, Linear, GELU, Linear
#                                 (B, 2, 16, 16, 3)
#   FSQ                           (B, 2, 16, 16)          the tokens: 512 integers
#   digits as numbers in [-1, 1]  (B, 2, 16, 16, 3)
#   Linear, GELU, Linear          (B, 2, 16, 16, D)
#   4 blocks                      (B, 2, 16, 16, D)       the first one looks one latent frame back
#   LayerNorm, Linear             (B, 2, 16, 16, 128)
#   unpatchify                    (B, 1, 16, 64, 64)
#
# a block:   x + [LayerNorm, SiLU, 3x3 convolution over (h, w), one latent frame back]
#            then + [LayerNorm, Linear, GELU, Linear]
# ```
#
# Time is *causal*: a token depends on its own frames and earlier ones, never on later ones. Then a film can be encoded
# and decoded as it comes. The layer for time is small: of each place it takes the features of now and of one latent
# frame before,
#
# $$y_t = W_0\, x_{t-1} + W_1\, x_t + b, \qquad x_{-1} = 0.$$

# %% [markdown] tags=["student"]
# **Your part: `one_back`** (medium, 15 minutes). `x (B, t, h, w, D)`, `weight (2, D, D)` with `weight[0]` for the latent
# frame before and `weight[1]` for its own, `bias (D,)`. Return `(B, t, h, w, D)`.
#
# <details><summary>Hint 1</summary>
#
# Make a tensor `before` that is `x` moved by one along time: a latent frame of zeros first, the last one left out.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `before = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], dim=1)`
#
# </details>
# <details><summary>Hint 3</summary>
#
# `F.linear(x, weight, bias)` is $Wx + b$ over the last axis. Add the bias once.
#
# </details>


# %% tags=["task"]
def one_back(x, weight, bias):
    """A causal convolution over time with a kernel of 2: (B, t, h, w, D) -> the same shape."""
    ### BEGIN SOLUTION
    before = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], dim=1)
    return F.linear(before, weight[0]) + F.linear(x, weight[1], bias)
    ### END SOLUTION


# %% tags=["grader"]
def check_one_back(function):
    torch.manual_seed(0)
    x, layer = torch.randn(2, 3, 4, 5, 6), CausalTimeConv(6, kernel=2)
    weight, bias = layer.weight.detach()[..., 0, 0].permute(2, 0, 1), layer.bias.detach()
    try:
        got = function(x, weight, bias)
    except Exception as error:
        return f"it stops with {type(error).__name__}: {error}. x is (B, t, h, w, D)"
    if not isinstance(got, torch.Tensor):
        return f"it gives {type(got).__name__}, not a tensor: is there a return?"
    if got.shape != x.shape:
        return f"the shape is {tuple(got.shape)}, and should be that of x, {tuple(x.shape)}"
    changed = x.clone()
    changed[:, 2] += 1
    if not torch.equal(function(changed, weight, bias)[:, :2], got[:, :2]):
        return "the last latent frame changes earlier ones: it looks ahead, or round the end"
    right = layer(x.permute(0, 4, 1, 2, 3)).detach().permute(0, 2, 3, 4, 1)
    if torch.allclose((got - right).abs(), bias.abs().expand_as(got), atol=1e-5):
        return "the bias is missing, or added twice"
    if not torch.allclose(got, right, atol=1e-5):
        return "causal, but other numbers: weight[0] is for the one before; F.linear is x @ W.T"
    return "right: as vg's CausalTimeConv"


print(check_one_back(one_back))

# %% [markdown]
# The blocks and the whole model use what you have by now: `patchify`, `one_back`, `fsq`, `unpatchify`.


# %%
class Block(nn.Module):
    """A residual block over (B, t, h, w, D)."""

    def __init__(self, d, looks_back):
        super().__init__()
        self.norm = nn.LayerNorm(d)
        self.space = nn.Conv3d(d, d, (1, 3, 3), padding=(0, 1, 1))
        self.time = nn.Conv3d(d, d, (2, 1, 1)) if looks_back else None
        wide = 2 * d
        self.mlp = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, wide), nn.GELU(), nn.Linear(wide, d))

    def forward(self, x):
        y = self.space(F.silu(self.norm(x)).movedim(-1, 1)).movedim(1, -1)
        if self.time is not None:
            y = one_back(y, self.time.weight[..., 0, 0].permute(2, 0, 1), self.time.bias)
        x = x + y
        return x + self.mlp(x)


# %%
class ByHand(nn.Module):
    """The tubelet FSQ-VAE of the drawing."""

    def __init__(self, tubelet=(8, 4, 4), levels=(8, 6, 5), d=96, encoder_depth=2, decoder_depth=4):
        super().__init__()
        self.tubelet, self.levels, n, pixels = tubelet, levels, len(levels), math.prod(tubelet)
        last = encoder_depth - 1
        self.embed = nn.Linear(pixels, d)
        self.encoder = nn.ModuleList(Block(d, looks_back=k == last) for k in range(encoder_depth))
        self.to_code = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, d), nn.GELU(), nn.Linear(d, n))
        self.from_code = nn.Sequential(nn.Linear(n, d), nn.GELU(), nn.Linear(d, d))
        self.decoder = nn.ModuleList(Block(d, looks_back=k == 0) for k in range(decoder_depth))
        self.to_pixels = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, pixels))

    def forward(self, video):
        x = self.embed(patchify(video, self.tubelet))
        for block in self.encoder:
            x = block(x)
        codes, tokens = fsq(self.to_code(x), self.levels)
        x = self.from_code(codes)
        for block in self.decoder:
            x = block(x)
        return unpatchify(self.to_pixels(x), self.tubelet), tokens


# %% [markdown]
# Its layers have the names of `vg`'s, so the shipped tokenizer's weights fit. The same weights must give the same
# tokens and the same film.

# %%
shipped = checkpoints.load("tubelet-fsq-64", device=device())
ours = ByHand(d=shipped.config.width).to(device()).eval()
ours.load_state_dict(shipped.state_dict())
clip = truth[fastest : fastest + 1].to(device())
with torch.no_grad():
    our_video, our_tokens = ours(clip)
    tokens = shipped.encode(clip)  # (1, t, h, w)
    agree = (our_tokens == tokens).float().mean() > 0.995
    print("more than 99.5% of the tokens agree:", bool(agree))
    same = torch.allclose(our_video.clamp(-1, 1), shipped.decode(our_tokens), atol=1e-3)
    print("tokens", tuple(our_tokens.shape), "decoded as vg does it:", same)

# %% [markdown]
# ## The first loss, and one batch
#
# Our loss is the logarithm of each clip's root mean squared error, averaged:
#
# $$\mathcal{L} = \frac{1}{B} \sum_b \tfrac12 \log\left(\mathrm{MSE}_b + \varepsilon\right)$$
#
# It is PSNR but for a factor and a constant, so a quiet clip weighs about as much as a wild one. What should the first
# loss be? A new network puts out random numbers around 0, which is mid-grey with noise. So the first loss should
# lie above that of a plain grey picture, which can be computed without a network, but not far: 1 more is $e$ times the error. Then train on two
# clips, again and again. A network that cannot learn two clips by heart will not learn a film. "By heart" has a test:
# the loss must end below that of the mean frame, which draws everything but motion.

# %%
# NBVAL_IGNORE_OUTPUT
torch.manual_seed(0)
learner = ByHand(d=settings.small_width, encoder_depth=1, decoder_depth=2).to(device())
one_batch = draw(torch.Generator().manual_seed(0))[:2].to(device())


def log_error(made, wanted):
    return ((made - wanted).square().flatten(1).mean(1) + 2e-4).log().mean() / 2


optimizer = torch.optim.AdamW(learner.parameters(), lr=3e-3)
losses = []
for step in range(settings.overfit):
    loss = log_error(learner(one_batch)[0], one_batch)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append((step, loss.item()))
grey = float(log_error(torch.zeros_like(one_batch), one_batch))
print(f"first loss {losses[0][1]:.2f}, a grey picture's {grey:.2f}; last loss {losses[-1][1]:.2f}")
beat = {"grey picture": grey, "mean frame": float(log_error(one_batch.mean(2, True), one_batch))}
show.curves({"one batch": losses}, "the same two clips at every step", y="loss", baselines=beat)

# %% [markdown]
# ## Training one
#
# Batches are random clips of 16 frames from training shots, mirrored half of the time, run backwards half of the time,
# and moved by a pixel or two. Matrices are trained by Muon, the rest by AdamW, with warm-up and a cosine. There is no
# codebook, no commitment loss, no discriminator.
#
# The curve has the loss in dB, beside the validation PSNR and that of each clip's *mean frame*. The mean frame is a
# strong baseline where backgrounds stand still. It is not a free one: sent as bytes it costs eight times the bits of the
# tokens, as the table further down counts.


# %%
# NBVAL_IGNORE_OUTPUT
@torch.no_grad()
def rebuild(model, video, batch=8):
    """Encode and decode clips (B, C, T, H, W) on the model's device; the result is on the CPU."""
    where = next(model.parameters()).device
    return torch.cat([model(part.to(where))[0].clamp(-1, 1).cpu() for part in video.split(batch)])


class Decibels(show.LivePlot):
    """A live plot of the loss and the validation PSNR, both in dB."""

    def update(self, history):
        db = [(step, 20 * (math.log10(2) - loss / math.log(10))) for step, loss in history["loss"]]
        super().update({"training (last batches)": db, "validation": history.get("PSNR", [])})


def evaluate(model):
    return {"PSNR": float(evaluation.psnr(rebuild(model, own_truth), own_truth).mean())}


# %%
# NBVAL_IGNORE_OUTPUT
own_store = open_store(source, size=settings.size, frames=settings.frames)
own_split = split_shots(own_store.shots, settings.held_out)
own_clips = Clips(own_store, own_split.held_out, frames=16, stride=8)
own_truth = own_clips.take(range(len(own_clips)))
floor = float(evaluation.psnr(evaluation.mean_frame(own_truth), own_truth).mean())
torch.manual_seed(0)
trained = fit(
    TubeletTokenizer(TubeletConfig(width=settings.width)).to(device()),
    tubelet_loss,
    tokenizer_batches(Clips(own_store, own_split.train, frames=16), batch=settings.batch, reverse=True),
    Recipe(steps=settings.steps, lr=2e-3, muon=2e-2, warmup=50, grad_clip=5.0, ema=0.98),
    evaluate=evaluate,
    every=settings.every,
    plot=Decibels("tubelet FSQ-VAE", y="PSNR in dB", baselines={"mean frame": floor}),
)
print(f"validation {trained.history['PSNR'][-1][1]:.2f} dB, mean frame {floor:.2f} dB")

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
own_rebuilt = rebuild(trained.model, own_truth)
k = int(own_truth.diff(dim=2).abs().flatten(1).mean(1).argmax())  # the fastest
shown = {"original": own_truth[k], "trained here": own_rebuilt[k]}
show.compare(shown, 4, max(1, 128 // settings.size), against="original")

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# Large flat shapes and the light come first; thin lines and fast limbs are still missing. A squared error pays most
# for large areas, and little for a thin line. The last line above says how far it is from the mean frame after so few
# steps; the shipped tokenizer had many more.
#
# </details>
#
# ## The shipped tokenizer
#
# The same code with more steps, on clips cut out of larger pictures, at many scales and brightnesses: a short film seen
# in many ways is learned by heart less easily.

# %%
show.card("tubelet-fsq-64")

# %%
# NBVAL_IGNORE_OUTPUT
rebuilt = rebuild(shipped, truth)
three = sorted({round(k * (len(truth) - 1) / 2) for k in range(3)})
pairs = {f"original {k}": truth[k] for k in three} | {f"rebuilt {k}": rebuilt[k] for k in three}
show.player(pairs, fps=store.fps, columns=len(three), scale=2)

# %% [markdown]
# Beside it stand two baselines that send no tokens. *Mean frame* is each clip's average picture, sent as bytes. *Nearest
# training clip* is the closest clip of the training shots: what memory alone would give, at the bits of its number (the
# film itself must be on the other side). SSIM compares local patterns, 1 is equal. The last columns are the PSNR over
# pixels that move (over 10 grey levels from their clip's mean) and over the rest. (The card draws the line elsewhere:
# a pixel that moves far in one frame counts in all frames of its clip.)


# %%
# NBVAL_IGNORE_OUTPUT
def quality(video, against=truth):
    """PSNR and SSIM, and the PSNR over what moves and over what does not."""
    moving = (against - evaluation.mean_frame(against)).abs() * 127.5 > 10
    error = (video - against).square()
    parts = [10 * torch.log10(4 / error[where].mean()) for where in (moving, ~moving)]
    whole = [evaluation.psnr(video, against).mean(), evaluation.ssim(video, against).mean()]
    return [float(value) for value in whole + parts]


bank = Clips(store, train_shots, frames=16, stride=4)
nearest, mean = evaluation.nearest_clip(truth, bank), evaluation.mean_frame(truth)
own_bits = trained.model.raw_bits(own_truth.shape[2:])
compared = {
    "mean frame": [8 * truth[0, :, 0].numel(), *quality(mean)],
    "nearest training clip": [math.log2(len(bank)), *quality(nearest)],
    f"trained here, {settings.size} pixels": [own_bits, *quality(own_rebuilt, own_truth)],
    "tubelet-fsq-64": [shipped.raw_bits(truth.shape[2:]), *quality(rebuilt)],
}
table(compared, ["bits a clip", "PSNR dB", "SSIM", "moving dB", "still dB"])

# %% [markdown]
# What does a codec draw with so many bits? The fastest clip went through H.264 at several rates, its headers not
# counted. Move its bits: where is it as close to the film as the tokens are?

# %%
# NBVAL_IGNORE_OUTPUT
if "h264" in available():  # PyAV can be built without it
    fast_clip = truth[[fastest]]
    coded = [code_clips(fast_clip, "h264", quality)[:2] for quality in range(51, 26, -3)]
    raw = shipped.raw_bits(fast_clip.shape[2:])
    display(interactive.bitrates(fast_clip, (rebuilt[[fastest]], raw), coded))

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# At about as many bits both are about as far from the film, and they err in different places. H.264 draws a few
# blocks sharply and leaves the rest flat; the tokenizer blurs everything, most what moves. The comparison is not even.
# H.264 was made for larger pictures. The tokenizer has seen other shots of this film, and its weights are not counted.
# But H.264's bits come out of an entropy coder, while each token here costs its full $\log_2 240$ bits. The transformer
# of notebook 07 is what an entropy coder of tokens needs; notebook 10 counts the bits that it saves.
#
# </details>
#
# The clips of one shot are alike, so the mean over all clips hides that few shots decide it. Here is each validation shot
# by itself. The last column tells how close the training shots come: sets of the film return, and a validation shot
# with a near twin in training is an easy one.

# %%
# NBVAL_IGNORE_OUTPUT
by_shot, at = {}, 0
for shot in val_shots:
    here = slice(at, at + len(Clips(store, [shot], frames=16, stride=8)))
    at = here.stop
    if here.stop > here.start:
        scores = [evaluation.psnr(x[here], truth[here]).mean() for x in (rebuilt, mean, nearest)]
        by_shot[f"frames {shot[0]} to {shot[1] - 1}"] = [here.stop - here.start, *scores]
table(by_shot, ["clips", "tokenizer dB", "mean frame dB", "nearest dB"])
ahead = sum(int(row[1] > row[2]) for row in by_shot.values())
print(f"the tokenizer is ahead of the mean frame in {ahead} of {len(by_shot)} shots")

# %% [markdown]
# Then the codes. *Usage* is the share of codes that occur anywhere in the film; *entropy* is how many bits a token
# carries, at most $\log_2$ of the number of codes. *Stability* is the share of tokens that stay the same from one
# latent frame to the next where the picture stands still (below 3 grey levels of mean change). The transformer will have to
# predict every change, also those that show nothing.


# %%
# NBVAL_IGNORE_OUTPUT
@torch.no_grad()
def report(model):
    """PSNR on validation clips; usage and entropy over the whole film; bits of a token."""
    where, count = next(model.parameters()).device, math.prod(model.levels)
    coded = [model.encode(store.clip(*shot).to(where)).flatten().cpu() for shot in store.shots]
    words = torch.cat(coded)
    psnr = float(evaluation.psnr(rebuild(model, truth), truth).mean())
    entropy = math.log2(evaluation.perplexity(words, count))
    return [psnr, 100 * evaluation.usage(words, count), entropy, math.log2(count)]


columns = ["PSNR dB", "usage %", "entropy bits", "bits a token"]
table({"tubelet-fsq-64": report(shipped)}, columns)
val_tokens = torch.cat([shipped.encode(part.to(device())).cpu() for part in truth.split(8)])
stays = evaluation.stability(truth, val_tokens, shipped.tubelet)
print(f"stability on validation clips: {stays:.3f}")

# %% [markdown]
# ## What one digit draws
#
# Take the tubelet of the fastest clip that changes most, and give its token each of the 240 codes, while every other
# token stays. The first 8 frames are enough: no later token draws in them.


# %%
def busiest(video, tubelet):
    """Place (t, h, w) of the tubelet that changes most in the first latent frame."""
    t, h, w = tubelet
    change = video[0, :, :t].diff(dim=1).abs().mean((0, 1))  # (H, W)
    cells = F.avg_pool2d(change[None, None], (h, w))[0, 0]
    return (0, *divmod(int(cells.argmax()), cells.shape[1]))


place = busiest(clip, shipped.tubelet)
each = tokens[:, :1].repeat(math.prod(shipped.levels), 1, 1, 1)
each[(slice(None), *place)] = torch.arange(len(each), device=each.device)
drawn = torch.cat([shipped.decode(part).cpu() for part in each.split(40)])

# %%
# NBVAL_IGNORE_OUTPUT
own = to_digits(tokens, shipped.levels)[0][place].tolist()
errors = (drawn - truth[[fastest], :, :8]).square().flatten(1).mean(1)
better = errors.argsort().tolist().index(int(tokens[0][place]))
print(f"the encoder's own digits: {own}; codes that draw better: {better} of {len(drawn)}")
interactive.digits(drawn, truth[fastest, :, :8], shipped.levels, own, place, shipped.tubelet)

# %% [markdown]
# You see four of the tubelet's frames, and its surroundings; a box marks the tubelet. The sliders begin at the encoder's
# own digits. Does the picture change in small steps, more the further apart the levels are? And which digits draw the
# film better than the encoder's own?
#
# <details><summary>What the stored run shows</summary>
#
# Neighbouring levels draw similar pictures, distant ones do not: a level is a step on a scale. Most of the change
# stays within the box; the 3x3 convolutions carry a little of it to its neighbours. The line above the explorer counts
# the codes that draw the clip better than the encoder's own: none, or few. Yet the encoder compares no pictures. It rounds
# once, and has learned where to.
#
# </details>
#
# The next cell changes a whole token. It starts at the encoder's own digits, wherever you go, and plays three films:
# as encoded with the tubelet framed, edited, and four times their difference. Run the notebook to move the sliders.


# %%
# NBVAL_IGNORE_OUTPUT
def edit(t, row, column, **new):
    grid = to_digits(tokens, shipped.levels).clone()
    grid[0, t, row, column] = torch.tensor(list(new.values()), device=grid.device)
    edited = shipped.decode(to_index(grid, shipped.levels))[0].cpu()
    before = shipped.decode(tokens)[0].cpu()
    framed = show.outline(before, (t, row, column), shipped.tubelet)
    amplified = (4 * (edited - before)).clamp(-1, 1)
    return show.player({"as encoded": framed, "edited": edited, "difference x 4": amplified}, fps=6)


def own_digits(t, row, column):
    own = to_digits(tokens, shipped.levels)[0, t, row, column]
    return {f"d{k}": n for k, n in enumerate(own.tolist())}


axes = zip(("t", "row", "column"), tokens.shape[1:], place)
sliders = {name: (0, n - 1, 1, at) for name, n, at in axes}
sliders |= {f"d{k}": (0, n - 1) for k, n in enumerate(shipped.levels)}
show.live_explorer(edit, follow=own_digits, **sliders)

# %% [markdown]
# All tokens at once: each tubelet is tinted by its three digits, as red, green and blue. Watch where the colours hold
# still with the background, and where they flicker though nothing moves.

# %%
# NBVAL_IGNORE_OUTPUT
longest = max(val_shots, key=lambda shot: shot[1] - shot[0])
scene = store.clip(longest[0], longest[0] + min(32, longest[1] - longest[0]))
scene_tokens = shipped.encode(scene.to(device())).cpu()
painted = show.token_map(scene_tokens[0], scene[0], shipped.tubelet, shipped.levels)
show.player({"clip": scene[0], "tokens": painted}, fps=store.fps)

# %% [markdown]
# ## Causal in time: a stream
#
# Change one frame, encode again, and look which tokens change.

# %%
long = torch.rand(1, 1, 40, 64, 64, generator=torch.Generator().manual_seed(0)).to(device()) * 2 - 1
changed = long.clone()
changed[:, :, 19] *= -1  # frame 19 belongs to latent frame 19 // 8 = 2
differ = shipped.encode(long) != shipped.encode(changed)
moved = differ[0].float().mean((1, 2))  # share, by latent frame
print("latent frames before the change are untouched:", bool((moved[:2] == 0).all()))
print("its own latent frame changes:                 ", bool(moved[2] > 0))
shares = {f"frames {8 * k} to {8 * k + 7}": float(share) for k, share in enumerate(moved)}
show.bars(shares, "tokens that change when frame 19 does", unit="share of tokens")

# %% [markdown]
# The reward: a film of any length is coded in pieces. A dict, `past`, keeps for each layer that looks back the one latent
# frame that it still needs. The numbers are those of the whole.

# %%
past, future = {}, {}
whole = shipped.encode(long)
streamed = [shipped.encode(piece, past) for piece in long.split([8, 24, 8], dim=2)]
print("tokens in pieces equal the whole:", torch.equal(torch.cat(streamed, dim=1), whole))
decoded = [shipped.decode(piece, past=future) for piece in whole.split(1, dim=1)]
same = torch.allclose(torch.cat(decoded, dim=2), shipped.decode(whole), atol=1e-4)
print("frames in pieces equal the whole:", same)

# %% [markdown]
# ## More bits: levels
#
# More levels are more bits per token. Two of the sets that the FSQ paper lists, each with the same small network and
# the same few steps. One seed each, so a small difference may be noise.


# %%
# NBVAL_IGNORE_OUTPUT
def small(levels):
    torch.manual_seed(0)
    few = {"width": settings.small_width, "encoder_depth": 1, "decoder_depth": 2}
    return TubeletTokenizer(TubeletConfig(levels=levels, **few)).to(device())


short = Recipe(steps=settings.small_steps, lr=2e-3, muon=2e-2, warmup=30, grad_clip=5.0, ema=0.9)
small_runs = {n: fit(small(FSQ_LEVELS[n]), tubelet_loss, draw, short).model for n in (8, 14)}
levels_table = {f"2^{n} {FSQ_LEVELS[n]}": report(model) for n, model in small_runs.items()}
table(levels_table, ["PSNR dB", "usage %", "entropy bits", "bits a token"])

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# PSNR rises with the bits, and usage falls: FSQ has no codebook to collapse, yet most of the 15,360 codes are never
# used after so few steps. What lies between bits and entropy is paid for and not used; the
# transformer of notebook 07 gets it back, by learning which codes are frequent.
#
# </details>
#
# ## 128 pixels: four patches in one token
#
# At twice the side a clip has four times the patches. Attention compares every token with every other, so four times the
# tokens are sixteen times the pairs. `tubelet-fsq-128` keeps 512 tokens: 2x2 patches share one, whose digits are
# theirs one after another. The longer row of digits has its price. A token carries more bits, all of which the
# transformer must predict at one position, with one output for each level of each digit. What it saves is attention,
# and a table of all codes, which nobody could store.

# %%
# NBVAL_IGNORE_OUTPUT
tokenizer_128 = checkpoints.load("tubelet-fsq-128", device=device())
one_each = TubeletTokenizer(TubeletConfig(levels=tokenizer_128.patch_levels))
prices = {}
for name, model in {"a token a patch": one_each, "tubelet-fsq-128": tokenizer_128}.items():
    count = math.prod(n // m for n, m in zip((16, 128, 128), model.tubelet))
    bits = math.log2(math.prod(model.levels))
    prices[name] = [count, count**2, len(model.levels), bits, sum(model.levels)]
table(prices, ["tokens a clip", "pairs", "digits a token", "bits, at most", "outputs a token"])

# %% [markdown]
# By hand: take a token's digits apart, and lay each patch's where the patch lies.

# %%
large_store = open_store(source, size=128, frames=settings.frames)
large_clips = Clips(large_store, val_shots, frames=16, stride=settings.large_stride)
large_truth = large_clips.take(range(len(large_clips)))
large_tokens = torch.cat([tokenizer_128.encode(c[None].to(device())) for c in large_truth])
large_digits = tokenizer_128.quantizer.digits(large_tokens).cpu()  # (B, t, h, w, 4 x digits)
by_patch = rearrange(large_digits, "b t h w (p q d) -> b t (h p) (w q) d", p=2, q=2)
numbers = to_index(by_patch, tokenizer_128.patch_levels)
print("tokens of a clip:", tuple(large_tokens.shape[1:]), "patches:", tuple(numbers.shape[1:]))
same = torch.equal(numbers, tokenizer_128.patch_indices(large_tokens).cpu())
print("by hand as vg does it:", same)

# %% [markdown]
# **More digits where there is more to draw.** A wall says less than a wheel. Every patch has two digits, of 8 and 5
# levels. The fifth of a latent frame's patches whose pixels vary most have four more, the *details*. Five levels have a
# middle, and the details of all other patches stay there. Papers on image codecs call such a choice an *importance
# map*. Below, what it costs, choice included, and the chosen patches lit.

# %%
cells = patchify(large_truth, (8, 4, 4))
spread = cells.var(-1).flatten(2)  # (B, t, patches of a latent frame)
patches = spread.shape[-1]
chosen_count = round(tokenizer_128.config.detail_share * patches)
lit_up = torch.zeros_like(spread, dtype=torch.bool)
lit_up.scatter_(-1, spread.topk(chosen_count).indices, True)
has_details = lit_up.view(by_patch.shape[:-1])
print("all others stay in the middle:", bool((by_patch[..., 2:][~has_details] == 2).all()))

cost = {
    "digits everywhere": patches * math.log2(8 * 5),
    "details": chosen_count * math.log2(5**4),
    "which patches have them": math.log2(math.comb(patches, chosen_count)),
}
for name, amount in cost.items():
    print(f"{name:24}{2 * amount:8,.0f} bits a clip")
total = 2 * sum(cost.values())
vgs = tokenizer_128.raw_bits(large_truth.shape[2:])
print(f"{'together':24}{total:8,.0f}, as vg counts: {math.isclose(total, vgs)}")

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
light = has_details[:, None].repeat_interleave(8, 2).repeat_interleave(4, 3).repeat_interleave(4, 4)
lit = (large_truth + 1) * torch.where(light, 1.0, 0.25) - 1
large_rebuilt = rebuild(tokenizer_128, large_truth)
middle = len(large_truth) // 2
films = {"original": large_truth, "has details": lit, "rebuilt": large_rebuilt}
shown = {name: film[middle] for name, film in films.items()}
show.player(shown, fps=store.fps, columns=3, scale=2)

# %% [markdown]
# ## Summary
#
# - A tubelet is a block of spacetime. Cutting it out and multiplying by one matrix is a convolution whose stride is
#   its kernel.
# - Sampled frames spend the same tokens on fewer pixels; what lies between them is a guess.
# - FSQ rounds a few squashed numbers. The index is their digits; a level is a step on a scale.
# - Time is causal: no token knows the future, so a film is coded in pieces, with the same numbers.
# - A token can hold several patches. Attention then has fewer tokens to compare, each with more bits to predict.
# - PSNR alone does not choose a tokenizer. Beside it stand the mean frame (strong, and not free), the nearest clip, each
#   shot by itself, and what the codes are like: bits, usage, stability.
#
# **Next:** [06 Latent cache](06_latent_cache.ipynb) writes the whole film as such integers, once.
#
# ## References
#
# - Arnab and others: *ViViT: A Video Vision Transformer*, 2021, arXiv:2103.15691, section 3.2.
# - Mentzer and others: *Finite Scalar Quantization: VQ-VAE Made Simple*, 2023, arXiv:2309.15505.
# - Mentzer and others: *Conditional Probability Models for Deep Image Compression*, 2018, arXiv:1801.04260 (importance
#   maps).
# - Jordan and others: *Muon: an optimizer for hidden layers in neural networks*, 2024.
# - Yan and others: *VideoGPT: Video Generation using VQ-VAE and Transformers*, 2021, arXiv:2104.10157.
# - Brooks and others: *Video generation models as world simulators* (spacetime patches), OpenAI, 2024.
