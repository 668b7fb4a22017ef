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
# - build the whole autoencoder, causal in time, show that it equals `vg`'s, and train one;
# - measure whether a clip moves as the film does, and name three remedies where it does not;
# - judge a tokenizer beside its baselines: PSNR, SSIM, motion, bits, usage, stability;
# - edit a clip by changing one digit.
#
# **You need** Python, a little PyTorch, and what notebook 00 sets up. The notebook runs alone.
#
# **Time:** about 2.5 hours of study, 3 with the tasks; about 3 minutes of computing on a two-core laptop.
#
# **Before:** [04 Conv3D FSQ-VAE](04_video_fsq_vae.ipynb). **Next:** [06 Latent cache](06_latent_cache.ipynb).

# %%
# NBVAL_IGNORE_OUTPUT
import math

from vg import checkpoints, evaluation, show
from vg.data import Clips, film, open_store, split_shots
from vg.evaluation.codecs import available, code_clips
from vg.experiments.batches import tokenizer_batches
from vg.experiments.losses import tubelet_loss
from vg.models import FSQ, TubeletConfig, TubeletTokenizer
from vg.models.blocks import CausalTimeConv
from vg.profiles import device, profile
from vg.show import interactive
from vg.training import Recipe, fit

import torch
import torch.nn.functional as F
from einops import rearrange
from IPython.display import display
from torch import nn

show.style()
print(f"profile {profile().name}, device {device()}")

# %%
settings = profile().settings(  # smoke, laptop, gpu
    frames=(240, None, None),  # of the film; None: all
    held_out=(0.35, 0.1, 0.1),  # share of the frames in held-out shots
    overfit=(3, 300, 300),  # steps on one batch
    small_width=(16, 96, 96),
    size=(64, 64, 256),  # pixels
    width=(16, 192, 192),
    steps=(4, 300, 4000),
    batch=(2, 4, 8),
    every=(2, 100, 400),  # steps between two validations
)

# %% [markdown]
# The film as notebook 00 left it: frames on disk, restored, cut into shots. Nothing is trained on held-out shots, and
# the shipped tokenizer has not seen them either. `truth` holds their clips of 16 frames, `(B, C, T, H, W)` in [-1, 1].

# %%
# NBVAL_IGNORE_OUTPUT
source = film()
store = open_store(source, frames=settings.frames)
split = split_shots(store.shots, settings.held_out)
train_shots, val_shots = split.train, split.held_out
clips16 = Clips(store, val_shots, frames=16, stride=8)
truth = clips16.take(range(len(clips16)))
fastest = int(evaluation.steps(truth).mean(1).argmax())  # the clip that moves most
draw = tokenizer_batches(Clips(store, train_shots, frames=16), batch=4)
counts = f"{len(train_shots)} training shots, {len(val_shots)} held out, with {len(truth)} clips"
print(source.describe(), store, counts, sep="\n")

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
            pieces[f"t={i} h={j} w={k}"] = toy[0, :, 4 * i : 4 * i + 4, 8 * j : 8 * j + 8, 8 * k : 8 * k + 8]
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
    return rearrange(video, "b c (T t) (H h) (W w) -> b T H W (c t h w)", t=t, h=h, w=w)
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
    return rearrange(patches, "b T H W (c t h w) -> b c (T t) (H h) (W w)", t=t, h=h, w=w)


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
    return torch.stack([index // math.prod(levels[:i]) % n for i, n in enumerate(levels)], dim=-1)
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
# The rest of FSQ in a few lines. An even number of levels has no middle, so the range is moved by a half, and the input
# by as much as puts 0 in the middle again. Rounding has no gradient, so it is given that of the identity (*straight
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


z = 1.5 * torch.randn(1000, 3, generator=torch.Generator().manual_seed(0))
codes, indices = fsq(z, (8, 6, 5))
vg_codes, vg_indices = FSQ((8, 6, 5))(z)
same = torch.allclose(codes, vg_codes, atol=1e-6) and torch.equal(indices, vg_indices)
print("codes and indices as vg's:", same)

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
# **Your part: `one_back`** (medium, 15 minutes). `x (B, t, h, w, D)`, `weight (2, D, D)` with `weight[0]` for the
# latent frame before and `weight[1]` for its own, `bias (D,)`. Return `(B, t, h, w, D)`.
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
        self.mlp = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))

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
        self.embed = nn.Linear(pixels, d)
        self.encoder = nn.ModuleList(Block(d, k == encoder_depth - 1) for k in range(encoder_depth))
        self.to_code = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, d), nn.GELU(), nn.Linear(d, n))
        self.from_code = nn.Sequential(nn.Linear(n, d), nn.GELU(), nn.Linear(d, d))
        self.decoder = nn.ModuleList(Block(d, k == 0) for k in range(decoder_depth))
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
# Its layers have the names of `vg`'s, so the weights of a `TubeletTokenizer` fit, here random ones. The same weights
# must give the same tokens and the same film.

# %%
torch.manual_seed(0)
plain = TubeletTokenizer(TubeletConfig(width=96)).to(device()).eval()
ours = ByHand(d=96).to(device()).eval()
ours.load_state_dict(plain.state_dict())
clip = truth[fastest : fastest + 1].to(device())
with torch.no_grad():
    our_video, our_tokens = ours(clip)
    agree = float((our_tokens == plain.encode(clip)).float().mean())
    print("several different tokens:", len(our_tokens.unique()) > 9, " more than 99.5% agree:", agree > 0.995)
    same = torch.allclose(our_video.clamp(-1, 1), plain.decode(our_tokens), atol=1e-3)
    print("tokens", tuple(our_tokens.shape), "decoded as vg does it:", same)

# %% [markdown]
# ## The first loss, and one batch
#
# Our loss is the logarithm of each clip's root mean squared error, averaged:
#
# $$\mathcal{L} = \frac{1}{B} \sum_b \tfrac12 \log\left(\mathrm{MSE}_b + \varepsilon\right)$$
#
# It is PSNR but for a factor and a constant, so a quiet clip weighs about as much as a wild one. What should the first
# loss be? A new network puts out random numbers around 0, which is mid-grey with noise. So the first loss should lie
# above that of a plain grey picture, which can be computed without a network, but not far: 1 more is $e$ times the
# error. Then train on two clips, again and again. A network that cannot learn two clips by heart will not learn a film.
# "By heart" has a test: the loss must end below that of the mean frame, which draws everything but motion.

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
# and moved by a pixel or two. Matrices are trained by Muon, the rest by AdamW, with warm-up and a cosine.
#
# The curve has the loss in dB, beside the PSNR of held-out clips and that of each clip's *mean frame*. The mean frame
# is a strong baseline where backgrounds stand still. It is not a free one: sent as bytes it costs eight times the bits
# of these tokens, as the table further down counts.


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
        super().update({"training (last batches)": db, "held out": history.get("PSNR", [])})


def evaluate(model):
    return {"PSNR": float(evaluation.psnr(rebuild(model, own_truth), own_truth).mean())}


# %%
# NBVAL_IGNORE_OUTPUT
own_store = open_store(source, size=settings.size, frames=settings.frames)
own_split = split_shots(own_store.shots, settings.held_out)
own_truth = Clips(own_store, own_split.held_out, frames=16, stride=8)
own_truth = own_truth.take(range(len(own_truth)))
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
print(f"held-out clips {trained.history['PSNR'][-1][1]:.2f} dB, mean frame {floor:.2f} dB")

# %%
# NBVAL_IGNORE_OUTPUT
own_rebuilt = rebuild(trained.model, own_truth)
k = int(evaluation.steps(own_truth).mean(1).argmax())  # the fastest
shown = {"original": own_truth[k], "trained here": own_rebuilt[k]}
show.player(shown, fps=store.fps, scale=max(1, 192 // settings.size))

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# Large flat shapes and the light come first; thin lines and fast limbs are still missing. A squared error pays most
# for large areas, and little for a thin line. After so few steps the mean frame is ahead.
#
# </details>
#
# ## What moves
#
# Most pixels of a clip stand still, so PSNR says little about how the others move. Measure motion by itself. The *step*
# after frame $t$ is the mean absolute change to the next frame, in grey levels:
#
# $$s_t = \frac{127.5}{C H W} \sum_{c, y, x} \left| x_{c, t+1, y, x} - x_{c, t, y, x} \right|$$
#
# Average it by the place of frame $t$ in its tubelet. From places 0 to 6 a step stays within the tubelet; from place 7
# it crosses the border to the next one. How large are the film's steps at each place, and those of the tokenizer that
# you trained?


# %%
# NBVAL_IGNORE_OUTPUT
def by_place(video):
    """The mean step from each of the 8 places of a frame in its tubelet."""
    moved = evaluation.steps(video).mean(0)  # (T - 1,)
    return [float(moved[place::8].mean()) for place in range(8)]


axes = {"x": "place of the frame within 8", "y": "step to the next, grey levels"}
jerks = {"film": by_place(own_truth), "trained here": by_place(own_rebuilt)}
show.curves(jerks, "from place 7 a step crosses the border of two tubelets", **axes)

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# The film's steps depend little on the place. The tokenizer's are small within a tubelet and large over the border,
# where it makes up for what it left out: the clip moves in jerks, one in eight frames. The loss hardly objects: even
# the mean frame, which does not move at all, has a good PSNR.
#
# </details>
#
# The shipped tokenizer has three remedies: shorter patches with more digits for the busiest, a decoder that looks
# ahead, and a loss on steps. `benchmarks/LOG.md` has the trials that led there.
#
# ### Shorter patches, two to a token
#
# From here on, what the networks cut a clip into is a *patch*, and all patches of the same frames are a *patch-frame*.
# The plain tokenizer has a token for each patch. The shipped one has patches of 4 frames, in which there is less motion
# to describe. Two of them, one after the other, share a token: its digits are those of the first, then those of the
# second.
#
# Why not a token for each? Attention compares every token with every other, so twice the tokens are four times the
# pairs. In return a token carries more bits, all of which the transformer must predict at one position, digit by digit,
# for nobody could store a table of all codes.


# %%
def table(rows, columns, width=15):
    print(" " * 22 + "".join(f"{name:>{width}}" for name in columns))
    for name, values in rows.items():
        cells = (f"{v:{width},.0f}" if v >= 1e4 else f"{v:{width},.4g}" for v in values)
        print(f"{name:22}" + "".join(cells))


shipped = checkpoints.load("tubelet-fsq-64", device=device())
one_each = TubeletTokenizer(TubeletConfig(shipped.patch, shipped.patch_levels, width=8))
prices = {}
for name, model in {"plain": plain, "a token a patch": one_each, "tubelet-fsq-64": shipped}.items():
    count = math.prod(n // m for n, m in zip((16, 64, 64), model.tubelet))
    prices[name] = [count, count**2, len(model.levels), math.prod(model.levels)]
table(prices, ["tokens a clip", "pairs", "digits a token", "codes"])

# %% [markdown]
# By hand: take each token's digits apart, and lay every patch's where the patch lies. `group` says how many patches
# share a token in time, down and across.


# %%
def by_patch(digits, group):
    """Digits of tokens (B, t, h, w, p*q*r*n) -> of their patches (B, t*p, h*q, w*r, n)."""
    p, q, r = group
    return rearrange(digits, "b t h w (p q r n) -> b (t p) (h q) (w r) n", p=p, q=q, r=r)


held_tokens = torch.cat([shipped.encode(part.to(device())).cpu() for part in truth.split(8)])
digits = by_patch(to_digits(held_tokens, shipped.levels), shipped.config.group)
numbers = to_index(digits, shipped.patch_levels)
print("tokens of a clip:", tuple(held_tokens.shape[1:]), "patches:", tuple(numbers.shape[1:]))
print("by hand as vg does it:", torch.equal(numbers, shipped.patch_indices(held_tokens)))

# %% [markdown]
# ### More digits where there is more to draw
#
# A wall says less than moving legs. Every patch has two digits, of 8 and 5 levels. The fifth of a patch-frame's patches
# whose pixels vary most have four more, the *details*. Five levels have a middle, and the details of all other patches
# stay there. Papers on image codecs call such a choice an *importance map*. Below, what it costs, choice included, and
# the chosen patches lit: strong contrasts, such as outlines and limbs. The wheel is faint; most of it has no details.

# %%
spread = patchify(truth, shipped.patch).var(-1).flatten(2)  # (B, t, patches of a patch-frame)
patches = spread.shape[-1]
chosen = round(shipped.config.detail_share * patches)
marked = torch.zeros_like(spread).scatter(-1, spread.topk(chosen).indices, 1.0)
has_details = marked.bool().view(digits.shape[:-1])
print("all others stay in the middle:", bool((digits[..., 2:][~has_details] == 2).all()))
ways = math.log2(math.comb(patches, chosen))
cost = [4 * bits for bits in (patches * math.log2(8 * 5), chosen * math.log2(5**4), ways)]  # of 4 patch-frames
cost += [sum(cost), shipped.raw_bits((16, 64, 64))]
table({"bits of a clip": cost}, ["base digits", "details", "which patches", "together", "as vg counts"])

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
light = F.interpolate(has_details[fastest][None, None].float(), scale_factor=shipped.patch)[0]
lit = (truth[fastest] + 1) * (0.25 + 0.75 * light) - 1
show.player({"original": truth[fastest], "has details": lit}, fps=store.fps, scale=3)

# %% [markdown]
# ### A decoder that looks ahead
#
# The encoder stays causal, for the transformer of notebook 07 writes one latent frame after the other. But the decoder
# may wait a little. The shipped one is given the codes $c_t$ of a patch-frame and those of the next,
#
# $$x_t = \mathrm{MLP}\left([\,c_t,\; c_{t+1}\,]\right), \qquad c_{\text{last} + 1} = 0,$$
#
# so that what moves can be drawn on its way there. All else is as in the plain decoder.

# %% [markdown] tags=["student"]
# **Your part: `with_next`** (easy, 10 minutes). `codes (B, t, h, w, n)` to `(B, t, h, w, 2n)`: each place's codes, then
# those of the same place one patch-frame later; zeros after the last.
#
# <details><summary>Hint 1</summary>
#
# `one_back` moved a tensor by one along time, zeros first. Move it the other way.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `after = torch.cat([codes[:, 1:], torch.zeros_like(codes[:, :1])], dim=1)`, then join the two along the last axis.
#
# </details>


# %% tags=["task"]
def with_next(codes):
    """(B, t, h, w, n) -> (B, t, h, w, 2n): own codes, then those of the patch-frame after it."""
    ### BEGIN SOLUTION
    after = torch.cat([codes[:, 1:], torch.zeros_like(codes[:, :1])], dim=1)
    return torch.cat([codes, after], dim=-1)
    ### END SOLUTION


# %% tags=["grader"]
def check_with_next(function):
    codes, seen = torch.randn(2, 4, 3, 2, 3), []
    model = TubeletTokenizer(TubeletConfig(width=8, lookahead=True))
    model.from_code.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model.reconstruct(codes)  # its decoder's first layer is given what you are to make
    try:
        got = function(codes)
    except Exception as error:
        return f"it stops with {type(error).__name__}: {error}. Are there zeros after the last?"
    if not isinstance(got, torch.Tensor) or got.shape != seen[0].shape:
        return "it should give a tensor (2, 4, 3, 2, 6): return it, joined along the last axis"
    if not torch.equal(got[..., :3], codes):
        return "the first half is not codes itself: own codes first, then the next ones"
    if torch.equal(got[:, 1:, ..., 3:], codes[:, :-1]):
        return "these are the codes of the patch-frame before: codes[:, 1:] begins with the next"
    if not torch.equal(got, seen[0]):
        return "own codes and the next ones, but what follows the last? It should be zeros"
    return "right: as vg's decoder is given them"


print(check_with_next(with_next))

# %% [markdown]
# What are the next codes worth? Draw the first 8 frames of all held-out clips twice: with the tokens that follow, and
# from their own tokens alone, where zeros follow. The step over the border is the one from frame 7 to frame 8.

# %%
# NBVAL_IGNORE_OUTPUT
parts = held_tokens.to(device()).split(8)
rebuilt, alone = (torch.cat([shipped.decode(part[:, :n]).cpu() for part in parts]) for n in (2, 1))
errors, after = {}, rebuilt[:, :, 8]
for name, first8 in {"next codes known": rebuilt[:, :, :8], "not known": alone}.items():
    errors[name] = 127.5 * (first8 - truth[:, :, :8]).square().mean((0, 1, 3, 4)).sqrt()
    print(f"{name}: step over the border {127.5 * (after - first8[:, :, 7]).abs().mean():.2f}")
show.curves(errors, "with the next codes and without", x="frame", y="RMSE, grey levels")

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# Frames 0 to 3 are the same: their next codes are in their own token. Frames 4 to 7 are further from the film without
# the codes that follow, the last one most, if by less than half a grey level. The step over the border is larger.
#
# </details>
#
# ### A loss on steps
#
# A squared error compares frame by frame; it never asks what changes from one to the next. So the shipped tokenizer was
# trained with a second term, the squared error of the changes $(\Delta x)_t = x_{t+1} - x_t$, with the weight
# $\lambda = 1$:
#
# $$\mathcal{L} = \frac{1}{B} \sum_b \tfrac12 \log\left(\mathrm{MSE}(\hat x_b, x_b) + \lambda\,
# \mathrm{MSE}(\Delta \hat x_b, \Delta x_b) + \varepsilon\right)$$
#
# In `vg.experiments.losses.tubelet_loss` this is one line:
#
# ```python
# error = error + motion * squared_error(made.diff(dim=2), video.diff(dim=2))
# ```
#
# What are both errors, as a root and in grey levels?


# %%
# NBVAL_IGNORE_OUTPUT
mean, terms = evaluation.mean_frame(truth), {}
made_of = {"mean frame": (mean, truth), "trained here": (own_rebuilt, own_truth), "tubelet-fsq-64": (rebuilt, truth)}
for name, (made, film_clips) in made_of.items():
    wrong = (made - film_clips, made.diff(dim=2) - film_clips.diff(dim=2))
    terms[name] = [127.5 * float(error.square().mean().sqrt()) for error in wrong]
table(terms, ["RMSE of frames", "RMSE of steps"])

# %% [markdown]
# The mean frame has no steps, so its second error is the size of the film's own changes. A tokenizer near that figure
# hardly draws what moves, however good its frames are.
#
# ## The shipped tokenizer
#
# It has all three remedies, and was trained for more steps than yours, on clips cut out of larger pictures at many scales and
# brightnesses: a short film seen in many ways is harder to learn by heart.

# %%
# NBVAL_IGNORE_OUTPUT
display(show.card("tubelet-fsq-64"))
three = sorted({round(k * (len(truth) - 1) / 2) for k in range(3)})
pairs = {f"original {k}": truth[k] for k in three} | {f"rebuilt {k}": rebuilt[k] for k in three}
show.player(pairs, fps=store.fps, columns=len(three), scale=2)

# %%
# NBVAL_IGNORE_OUTPUT
show.curves(jerks | {"tubelet-fsq-64": by_place(rebuilt)}, "patches end at places 3 and 7", **axes)

# %% [markdown]
# What is left of the jerks?
#
# <details><summary>What the stored run shows</summary>
#
# Its steps are larger than yours within a tubelet, and those over the borders of patches stand out less. All are still
# smaller than the film's: not all that moves is drawn.
#
# </details>
#
# Beside it stand two baselines that send no tokens. *Mean frame* is each clip's average picture, sent as bytes.
# *Nearest training clip* is the closest clip of the training shots: what memory alone would give, and its cost is
# the bits of its number (the decoder would have to hold all training clips). SSIM compares local patterns, 1 is equal. *Moving* and *still* are
# the PSNR over pixels that move (over 10 grey levels from their clip's mean) and over the rest. (The card's figures are
# of the two test shots alone, and a pixel that moves far in one frame counts in all of its clip.) *Correlation* is that
# of the changes from frame to frame with the film's: whether the right things move. A clip that moves as much as the
# film but elsewhere has 0, one that stands still has none (`nan`).


# %%
# NBVAL_IGNORE_OUTPUT
def quality(video, against=truth):
    """PSNR, SSIM, the PSNR over what moves and over what does not, mean step, correlation of the steps."""
    moving = (against - evaluation.mean_frame(against)).abs() * 127.5 > 10
    error = (video - against).square()
    parts = [10 * torch.log10(4 / error[where].mean()) for where in (moving, ~moving)]
    whole = [evaluation.psnr(video, against).mean(), evaluation.ssim(video, against).mean()]
    motion = [evaluation.steps(video).mean(), evaluation.step_correlation(video, against).nanmean()]
    return [float(value) for value in whole + parts + motion]


bank = Clips(store, train_shots, frames=16, stride=4)
nearest = evaluation.nearest_clip(truth, bank)
compared = {
    "mean frame": [8 * truth[0, :, 0].numel(), *quality(mean)],
    "nearest training clip": [math.log2(len(bank)), *quality(nearest)],
    "trained here": [trained.model.raw_bits(own_truth.shape[2:]), *quality(own_rebuilt, own_truth)],
    "tubelet-fsq-64": [shipped.raw_bits(truth.shape[2:]), *quality(rebuilt)],
}
table(compared, ["bits a clip", "PSNR dB", "SSIM", "moving dB", "still dB", "step", "correlation"], 13)
print(f"the film's mean step is {float(evaluation.steps(truth).mean()):.2f} grey levels")

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# With a quarter of the bits the shipped tokenizer is ahead of the mean frame in PSNR, most where the film moves. Over
# still pixels, and in SSIM, it is behind: it blurs fine lines that the mean frame keeps. Its steps are too small, but
# go with the film's. Those of the tokenizer trained here hardly do.
#
# </details>
#
# What does a codec draw with so many bits? The fastest clip went through H.264 at several rates, its headers not
# counted. Move its bits: where is it as close to the film as the tokens are?

# %%
# NBVAL_IGNORE_OUTPUT
if "h264" in available():  # PyAV can be built without it
    fast_clip = truth[[fastest]]
    coded = [code_clips(fast_clip, "h264", quality)[:2] for quality in range(46, 29, -2)]
    ours = rebuilt[[fastest]], shipped.raw_bits(fast_clip.shape[2:])
    display(interactive.bitrates(fast_clip, ours, coded))

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# At about as many bits H.264 is about 1 dB closer to this clip; it is as close at about four fifths of them. Both lose
# most of the wheel. H.264 draws edges sharply, with specks and blocks around them; the tokenizer blurs face and legs.
# The comparison is not even. H.264 was made for larger pictures. The tokenizer has seen other shots of this film, and
# its weights are not counted. But H.264's bits come out of an entropy coder, while each digit here costs its full
# $\log_2$ of levels. The transformer of notebook 07 is what an entropy coder of tokens needs; notebook 10 counts the
# bits that it saves.
#
# </details>
#
# The clips of one shot are alike, so the mean over all clips hides that few shots decide it. Here is each held-out shot
# by itself. The last column tells how close the training shots come: a held-out shot with a near twin in training would
# be an easy one.

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

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# The tokenizer is ahead of the mean frame in every shot, by less than 1 dB in one and more than 5 in another. No shot
# has a near twin; the one that training comes closest to is drawn worst. The second and the fifth are the test shots.
# They are drawn best, so the card's PSNR is higher than that of all six.
#
# </details>
#
# Then the codes, patch by patch, for those of a token are too many to be counted. *Usage* is the share of codes that
# occur anywhere in the film; *entropy* is how many bits a patch's code carries; *bits* are what it costs as sent.
# *Stability* is the share of codes that stay the same from one patch to the one after it where the picture stands still
# (below 3 grey levels of mean change). The transformer will have to predict every change, also those that show nothing.


# %%
# NBVAL_IGNORE_OUTPUT
@torch.no_grad()
def report(model, film, clips):
    """By patch: codes, usage and entropy over the film, bits; stability in clips."""
    where, count = next(model.parameters()).device, math.prod(model.patch_levels)

    def codes_of(video):
        return model.patch_indices(model.encode(video.to(where)).cpu())

    words = torch.cat([codes_of(film.clip(*shot)).flatten() for shot in film.shots])
    held = torch.cat([codes_of(part) for part in clips.split(8)])
    entropy, bits = math.log2(evaluation.perplexity(words, count)), model.raw_bits(clips.shape[2:])
    stays = evaluation.stability(clips, held, model.patch)
    return [count, 100 * evaluation.usage(words, count), entropy, bits / held[0].numel(), stays]


codes = {"trained here": report(trained.model, own_store, own_truth)}
codes["tubelet-fsq-64"] = report(shipped, store, truth)
table(codes, ["codes", "usage %", "entropy bits", "bits", "stability"])

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# Nearly half of the shipped tokenizer's codes change where the picture stands still. Probably grain and flicker tip
# numbers that lie between two levels. Of its codes about half occur, some much more often than others: the entropy is
# below the bits, so an entropy coder would save some.
#
# </details>
#
# ## What one digit draws
#
# Take the patch of the fastest clip that varies most in the first 4 frames, and give its two base digits each of their
# 40 pairs of values. Its details and all other patches stay as they are.


# %%
# NBVAL_IGNORE_OUTPUT
def by_token(digits):
    """The way back from by_patch, where two patches after one another share a token."""
    return rearrange(digits, "b (t p) h w n -> b t h w (p n)", p=2)


place = (0, *divmod(int(spread[fastest, 0].argmax()), digits.shape[3]))
base, clip_digits = shipped.config.levels, digits[fastest]  # (t, h, w, 6), by patch
each = clip_digits.repeat(math.prod(base), 1, 1, 1, 1)
each[(slice(None), *place, slice(2))] = to_digits(torch.arange(len(each)), base)
each = to_index(by_token(each), shipped.levels)
drawn = torch.cat([shipped.decode(part.to(device())).cpu() for part in each.split(8)])
own = clip_digits[place][:2].tolist()
errors = (drawn - truth[fastest]).square().flatten(1).mean(1)
better = errors.argsort().tolist().index(int(to_index(torch.tensor(own), base)))
print(f"the encoder's own digits: {own}; pairs that draw better: {better} of {len(drawn)}")
interactive.digits(drawn, truth[fastest], base, own, place, shipped.patch)

# %% [markdown]
# You see the patch's four frames, and its surroundings; a box marks the patch. The sliders begin at the encoder's own
# digits. Does the picture change in small steps, more the further apart the levels are? And which digits draw the
# film better than the encoder's own?
#
# <details><summary>What the stored run shows</summary>
#
# Neighbouring levels draw similar pictures, distant ones do not: a level is a step on a scale. Most of the change
# stays within the box; the 3x3 convolutions carry some of it to its neighbours. The line above the explorer counts the
# pairs that draw the clip better than the encoder's own: few. In the box alone, as the captions tell, [1, 3] and [1, 4]
# are better, close by. The encoder compares no pictures: it rounds once, and training has taught it to
# land near the best code.
#
# </details>
#
# The next cell changes the base digits of any patch. It starts at the encoder's own, wherever you go, and plays three
# films: as encoded with the patch framed, edited, and four times their difference. The difference begins 4 frames
# before the patch and ends 4 after it: the decoder looks ahead and back. Run the notebook to move the sliders.


# %%
# NBVAL_IGNORE_OUTPUT
def edit(t, row, column, **new):
    grid = clip_digits.clone()
    grid[t, row, column, :2] = torch.tensor(list(new.values()))
    edited_tokens = to_index(by_token(grid[None]), shipped.levels)
    edited, before = shipped.decode(edited_tokens.to(device()))[0].cpu(), rebuilt[fastest]
    framed = show.outline(before, (t, row, column), shipped.patch)
    amplified = (4 * (edited - before)).clamp(-1, 1)
    return show.player({"as encoded": framed, "edited": edited, "difference x 4": amplified}, fps=6)


def own_digits(t, row, column):
    return {f"d{k}": int(n) for k, n in enumerate(clip_digits[t, row, column, :2])}


sliders = {name: (0, n - 1, 1, at) for name, n, at in zip(("t", "row", "column"), clip_digits.shape, place)}
sliders |= {f"d{k}": (0, n - 1) for k, n in enumerate(base)}
show.live_explorer(edit, follow=own_digits, **sliders)

# %% [markdown]
# All patches at once: each is tinted by its first three digits, as red, green and blue. (The third is a detail, in the
# middle where there are none.) Watch where the colours hold still with the background, and where they flicker though
# nothing moves.

# %%
# NBVAL_IGNORE_OUTPUT
start, stop = max(val_shots, key=lambda shot: shot[1] - shot[0])
scene = store.clip(start, start + min(32, (stop - start) // 8 * 8))
scene_codes = shipped.patch_indices(shipped.encode(scene.to(device())).cpu())
painted = show.token_map(scene_codes[0], scene[0], shipped.patch, shipped.patch_levels)
show.player({"clip": scene[0], "codes": painted}, fps=store.fps)

# %% [markdown]
# ## Causal in time: a stream
#
# Change one frame, encode again, and look which patches' codes change.

# %%
long = torch.rand(1, 1, 40, 64, 64, generator=torch.Generator().manual_seed(0)).to(device()) * 2 - 1
changed = long.clone()
changed[:, :, 19] *= -1  # frame 19 belongs to patch-frame 19 // 4 = 4
before, after = (shipped.patch_indices(shipped.encode(video)) for video in (long, changed))
moved = (before != after)[0].float().mean((1, 2))  # share, by patch-frame
print("patch-frames before the change are untouched:", bool((moved[:4] == 0).all()))
shares = {f"frames {4 * k} to {4 * k + 3}": float(share) for k, share in enumerate(moved)}
show.bars(shares, "codes that change when frame 19 does", unit="share of patches")

# %% [markdown]
# The reward: a film of any length is encoded in pieces. A dict, `past`, keeps for each layer that looks back the one
# patch-frame that it still needs. The numbers are those of the whole.
#
# Decoding has to wait a little. The last patch-frame of a piece cannot be drawn before the codes after it are known:
# with `more=True` it is held back, in `past`, until the next piece comes. A film shown as it comes is 4 frames late.

# %%
past, future = {}, {}
whole = shipped.encode(long)
streamed = [shipped.encode(piece, past) for piece in long.split([8, 24, 8], dim=2)]
print("tokens in pieces equal the whole:", torch.equal(torch.cat(streamed, dim=1), whole))
pieces = whole.split(1, dim=1)
decoded = [shipped.decode(piece, past=future, more=piece is not pieces[-1]) for piece in pieces]
print("frames that each piece gives:", [piece.shape[2] for piece in decoded])
same = torch.allclose(torch.cat(decoded, dim=2), shipped.decode(whole), atol=1e-4)
print("frames in pieces equal the whole:", same)

# %% [markdown]
# ## 128 pixels: four patches in one token
#
# At twice the side a clip has four times the patches. `tubelet-fsq-128` keeps 512 tokens: its patches are 8 frames long
# again, and 2x2 of them in space share one. The busiest have details and the decoder looks ahead, as before.

# %%
# NBVAL_IGNORE_OUTPUT
tokenizer_128 = checkpoints.load("tubelet-fsq-128", device=device())
large = open_store(source, size=128, frames=settings.frames)
large_truth = Clips(large, val_shots, frames=16).take([0])
large_tokens = tokenizer_128.encode(large_truth.to(device()))
large_codes = tokenizer_128.patch_indices(large_tokens)
print("tokens of a clip:", tuple(large_tokens.shape[1:]), "patches:", tuple(large_codes.shape[1:]))
shown = {"original": large_truth[0], "rebuilt": rebuild(tokenizer_128, large_truth)[0]}
show.player(shown, fps=store.fps, scale=2)

# %% [markdown]
# ## Summary
#
# - A tubelet is a block of spacetime. Cutting it out and multiplying by one matrix is a convolution whose stride is
#   its kernel.
# - FSQ rounds a few squashed numbers. The index is their digits; a level is a step on a scale.
# - Encoding is causal: no token knows the future, so a film is encoded in pieces, with the same numbers.
# - PSNR does not tell how a clip moves; its steps by place do. Shorter patches, more digits for the busiest, a decoder
#   that looks ahead and a loss on steps make the jerks smaller.
# - A token can hold several patches. Attention then has fewer tokens to compare, each with more bits to predict.
# - PSNR alone does not choose a tokenizer. Beside it stand steps, baselines, each shot by itself, and the codes' bits,
#   usage and stability.
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
