# %% [markdown]
# # 03 Conv3D VQ-VAE
#
# Notebook 02 turned an image into integers. What makes a film a film is that its images belong together. Here the
# convolutions get a third direction, time, and a clip of 16 frames becomes 256 integers, each the index of one of 1,024
# learned vectors.
#
# **After this notebook you will be able to**
# - look at a clip as a volume, and build a filter that sees an edge move one way and no other;
# - write a 3-D convolution by loops, without loops, and causal in time;
# - run it as a stream, piece by piece, with the same numbers as for the whole;
# - compute and measure what a token sees, and say what convolutions on single pixels cost;
# - build and train a VQ-VAE of clips with its codebook in view, and show where it fails.
#
# **You need** Python, a little PyTorch, and the codebook of notebook 02. The notebook runs alone.
#
# **Time:** about 2 hours of study; about 2 minutes of computing on a two-core laptop.
#
# **Before:** [02 VQ-VAE and VQ-VAE-2](02_vq_vae.ipynb). **Next:** [04 Conv3D FSQ-VAE](04_video_fsq_vae.ipynb).

# %%
# NBVAL_IGNORE_OUTPUT
import math
import time
from collections import deque

from vg import checkpoints, evaluation, show
from vg.data import Clips, film, open_store, split_shots
from vg.evaluation.features import shot_numbers
from vg.evaluation.tokenizer import reconstruct
from vg.experiments.batches import tokenizer_batches
from vg.experiments.losses import tokenizer_loss
from vg.models import VideoAutoencoder, VideoConfig
from vg.models.blocks import CausalTimeConv
from vg.models.quantizers import VQ
from vg.profiles import device, profile
from vg.show import interactive
from vg.training import Recipe, fit

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from einops import rearrange
from IPython.display import display
from torch import nn

show.style()

# %%
# NBVAL_IGNORE_OUTPUT
settings = profile().settings(  # smoke, laptop, gpu
    frames=(240, None, None),  # of the film; None: all of them
    held_out=(0.35, 0.1, 0.1),  # share of the frames for validation
    repeats=(1, 3, 10),  # of what is timed
    overfit=(20, 200, 400),  # steps on one batch
    steps=(6, 400, 3000),
    width=(32, 96, 192),
    batch=(2, 4, 8),
    seldom=(3, 20, 20),  # a code that occurs less often is not averaged
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
start, stop = max(val_shots, key=lambda shot: shot[1] - shot[0])
scene = store.clip(start, start + min(64, (stop - start) // 4 * 4))  # (1, C, T, H, W)


def table(rows, columns, first=30):
    print(" " * first + "".join(f"{name:>13}" for name in columns))
    for name, values in rows.items():
        print(f"{name:{first}}" + "".join(f"{value:13.5g}" for value in values))


print(f"profile {profile().name}, device {device()}; {source.describe()}")
print(f"{len(train_shots)} training shots, {len(val_shots)} held out, {len(truth)} clips")

# %% [markdown]
# This is the film as notebook 00 left it, cut into shots. `val_shots` are all shots held out, those for the test too:
# they are never trained on. `truth` holds their clips of 16 frames, and the numbers below are measured on them. `scene`
# is the longest of these shots, or its first 64 frames.
#
# ## A clip is a volume
#
# Stack the frames behind each other and you have a block with three sides: time, height, width. Cut it the other way:
# take one row of pixels, and look at it in every frame. Across is still the width, but down is now *time*. What stands
# still draws a vertical line. What moves draws a slanted one, and the slant is its speed: one column to the right for
# each frame down is one pixel a frame. So motion does not have to be added to pictures. In the volume it is an edge like
# any other, at an angle. Drag the left picture for the row, the right one for the frame.

# %%
# NBVAL_IGNORE_OUTPUT
liveliest = int((scene[0, 0, 1:] - scene[0, 0, :-1]).abs().mean((0, 2)).argmax())
interactive.film_slice(scene[0], liveliest, title="a scene, and its slice along one row of pixels")

# %% [markdown]
# ## A kernel that sees motion
#
# A toy of 12 frames with three bands. In each is an edge, dark on its left and bright on its right. In the upper band it
# moves to the right, one pixel a frame; in the middle it stands still; in the lower band it moves to the left.
#
# A 2-D filter that takes each pixel's difference to its left neighbour finds all three edges, and cannot tell them
# apart. A 3-D kernel looks at several frames at once. `line` has its large numbers on the diagonal: column 0 in the first
# frame, 1 in the second, 2 in the third. That is the path of something that moves one pixel a frame to the right. Its
# rows and columns add up to 0, so what stands still cancels out. The difference to the left neighbour turns it from a
# detector of moving lines into one of moving edges.

# %%
toy = torch.full((1, 12, 24, 24), -1.0)  # (C, T, H, W)
for t in range(12):
    for band, edge in enumerate((6 + t, 12, 18 - t)):
        toy[0, t, 8 * band : 8 * band + 8, edge:] = 1
edges = F.conv2d(toy[0, :, None], torch.tensor([-1.0, 1.0]).view(1, 1, 1, 2))  # each frame alone
print("2-D filter, strongest answer in each band:", [int(p.max()) for p in edges.split(8, dim=2)])

line = torch.tensor([[2.0, -1, -1], [-1, 2, -1], [-1, -1, 2]])  # (frame, column)
kernel = F.pad(line, (1, 0)) - F.pad(line, (0, 1))  # (3, 4)
for k, row in enumerate(kernel.int().tolist()):
    print(f"kernel, frame {k}:", row)
answers = F.conv3d(toy[None], kernel[None, None, :, None])[0]  # (1, 10, 24, 21)
print("3-D filter, strongest answer in each band:", [int(p.max()) for p in answers.split(8, dim=2)])

# %% [markdown]
# One filter, three answers: full for the edge that moves its way, none for the one that stands still, and a third for
# the one that moves the other way. A bias and a ReLU take the rest away. That is one channel of a convolutional layer:
# a filter, a bias and a ReLU. Played backwards (the kernel's frames in reverse), the same filter finds the other edge.
#
# Below, the held-out clip that moves most. Orange is what the filter takes for motion to the right, blue for motion to
# the left. It is a crude detector that nobody trained: it knows one speed, and no vertical motion. A layer of a network
# has dozens of such filters, with numbers that training chose.


# %%
# NBVAL_IGNORE_OUTPUT
def moving(video, kernel, bias):
    """Where edges move as the kernel wants, (C, T, H, W) -> the same shape, 0 for nowhere."""
    padded = F.pad(video[None], (2, 1, 0, 0, 2, 0), mode="replicate")  # columns, frames before
    return F.relu(F.conv3d(padded, kernel[None, None, :, None]) - bias)[0]


lively, tinted = truth[fastest], 0.6 * truth[fastest].expand(3, -1, -1, -1)
for way, colour in ((kernel, [1.0, 0.3, -1.0]), (kernel.flip(0), [-1.0, 0.1, 1.0])):
    found = moving(lively, way, 1.0) + moving(-lively, way, 1.0)  # edges of both contrasts
    paint = torch.tensor(colour).view(3, 1, 1, 1).expand_as(tinted)
    tinted = torch.lerp(tinted, paint, (found / 2).clamp(0, 1))
show.player({"clip": lively, "moving edges": tinted}, fps=store.fps, scale=4)

# %% [markdown]
# ## From Conv2D to Conv3D
#
# A convolution puts a small box of numbers onto every place of the volume, multiplies, and adds up. In 3-D the box also
# has a depth in time. With several channels in and out the kernel is `(O, C, a, b, c)`: for each of O outputs a box with
# C channels,
#
# $$\text{out}_{o,t,y,x} = \sum_{d,i,j,k} \text{video}_{d,\,t+i,\,y+j,\,x+k}\; \text{kernel}_{o,d,i,j,k}.$$


# %%
def by_loops(video, kernel):
    """(C, T, H, W), (O, C, a, b, c) -> (O, T - a + 1, H - b + 1, W - c + 1)."""
    O, _, a, b, c = kernel.shape
    _, T, H, W = video.shape
    out = torch.zeros(O, T - a + 1, H - b + 1, W - c + 1)
    for o in range(O):
        for t in range(T - a + 1):
            for y in range(H - b + 1):
                for x in range(W - c + 1):
                    box = video[:, t : t + a, y : y + b, x : x + c]
                    out[o, t, y, x] = (box * kernel[o]).sum()
    return out


# %% [markdown] tags=["student"]
# **Your part: `by_windows`** (medium, 15 minutes). The same without a loop. `video` is `(C, T, H, W)`, `kernel`
# `(O, C, a, b, c)`; return `(O, T - a + 1, H - b + 1, W - c + 1)`.
#
# <details><summary>Hint 1</summary>
#
# `video.unfold(1, a, 1)` lays out all windows of length `a` along axis 1, without a copy; the window becomes a new last
# axis. Do it three times: `(C, t, h, w, a, b, c)`.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Then one `torch.einsum` over the channels and the box. Give every axis a letter; those not in the result are added up.
#
# </details>


# %% tags=["task"]
def by_windows(video, kernel):
    """A 3-D convolution as one product: (C, T, H, W), (O, C, a, b, c) -> (O, t, h, w)."""
    ### BEGIN SOLUTION
    a, b, c = kernel.shape[2:]
    windows = video.unfold(1, a, 1).unfold(2, b, 1).unfold(3, c, 1)  # (C, t, h, w, a, b, c)
    return torch.einsum("cthwijk,ocijk->othw", windows, kernel)
    ### END SOLUTION


# %% tags=["grader"]
def check_by_windows(function):
    generator = torch.Generator().manual_seed(0)
    video = torch.randn(2, 6, 8, 9, generator=generator)
    weight = torch.randn(3, 2, 2, 3, 4, generator=generator)
    out, right = function(video, weight), F.conv3d(video[None], weight)[0]
    if not isinstance(out, torch.Tensor):
        return f"by_windows returns {type(out).__name__}: is there a return, and of a tensor?"
    if out.shape != right.shape:
        return f"got {tuple(out.shape)}, not {tuple(right.shape)}: (O, t, h, w), channels added up"
    if torch.allclose(out, F.conv3d(video[None], weight.flip(2, 3, 4))[0], atol=1e-4):
        return "the kernel is mirrored: networks do not turn it round, unlike mathematicians"
    if not torch.allclose(out, right, atol=1e-4):
        return "shape right, numbers not: do the letters pair each window axis with its own?"
    return "right: F.conv3d gives the same"


print(check_by_windows(by_windows))

# %% [markdown]
# Conv2D is the case of depth 1: it treats each frame alone. And a 3-D kernel can be taken apart. A kernel of 1x3x3 over
# space, then one of 3x1x1 over time, sees the same 3x3x3 box with 12 numbers in place of 27. It can do less: only boxes
# that are a product (or, with channels between, a sum of a few products). Our diagonal filter takes two.

# %%
generator = torch.Generator().manual_seed(0)
video = torch.randn(2, 6, 8, 9, generator=generator)
weight = torch.randn(3, 2, 3, 3, 3, generator=generator)
same = torch.allclose(by_loops(video, weight), by_windows(video, weight), atol=1e-4)
print("the loops agree with the windows:  ", same)
space = torch.randn(4, 2, 1, 3, 3, generator=generator)
along = torch.randn(3, 4, 3, 1, 1, generator=generator)
product = torch.einsum("mcxij,omtyz->octij", space, along)  # one kernel for both steps
in_two = F.conv3d(F.conv3d(video[None], space), along)[0]
same = torch.allclose(in_two, by_windows(video, product), atol=1e-3)
print("two thin kernels are one thick one:", same)
print("products that the motion filter takes:", int(torch.linalg.matrix_rank(kernel)))

# %% [markdown]
# ## Time runs one way
#
# A convolution shrinks the volume, so it is padded. Over time there is a choice. With one frame on each side, every
# output sees one frame of its future. With all the padding before the first frame it sees none: such a convolution is
# *causal*. Then a film can be encoded while it arrives, and a prior that writes tokens in order never has to know what
# comes. With a stride $s$, output $n$ stands for frames $sn$ to $sn + s - 1$ and may see those, so a kernel of $k$
# frames gets $k - s$ frames of zeros before the first.

# %% [markdown] tags=["student"]
# **Your part: `causal`** (easy, 10 minutes). `x` is `(B, D, T, h, w)`, `weight` `(O, D, k, 1, 1)`, `stride` divides T.
# Return `(B, O, T / stride, h, w)`, where output n depends on frames up to `stride * n + stride - 1`.
#
# <details><summary>Hint 1</summary>
#
# `F.conv3d(x, weight, stride=(stride, 1, 1))` does the rest, once zeros stand before the first frame.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `F.pad` counts from the last axis: `(left, right, top, bottom, before, after)`.
#
# </details>


# %% tags=["task"]
def causal(x, weight, stride=1):
    """Convolution over time that sees the past alone: (B, D, T, h, w) -> (B, O, T / s, h, w)."""
    ### BEGIN SOLUTION
    before = weight.shape[2] - stride
    return F.conv3d(F.pad(x, (0, 0, 0, 0, before, 0)), weight, stride=(stride, 1, 1))
    ### END SOLUTION


# %% tags=["grader"]
def check_causal(function):
    x = torch.randn(2, 5, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    for stride in (1, 2):
        layer = CausalTimeConv(5, kernel=3, stride=stride)  # vg's
        out = function(x, layer.weight.detach(), stride)
        if not isinstance(out, torch.Tensor):
            return f"causal returns {type(out).__name__}: is there a return, and of a tensor?"
        right = layer(x).detach() - layer.bias.detach().view(1, -1, 1, 1, 1)
        if out.shape != right.shape:
            shapes = f"got {tuple(out.shape)}, expected {tuple(right.shape)}"
            return f"stride {stride}: {shapes}. Pad time alone"
        later = x.clone()
        later[:, :, 4:] = 0  # the second half is another film
        again = function(later, layer.weight.detach(), stride)
        if not torch.allclose(out[:, :, : 4 // stride], again[:, :, : 4 // stride]):
            return f"stride {stride}: it sees the future. All of the padding stands before"
        if not torch.allclose(out, right, atol=1e-5):
            return f"stride {stride}: outputs miss their own last frame. Pad kernel - stride"
    return "right: nothing of the future is seen, and vg's layer gives the same"


print(check_causal(causal))

# %% [markdown]
# A convolution that sees only the past can be run as a *stream*: the film comes in pieces, and of all that came before a
# layer needs to keep only its last $k - 1$ inputs, its *state*. The result is the same as for the whole film at once.
# That is how a scene of any length fits into memory, and how a video can be shown while its tokens still come in.

# %% [markdown] tags=["student"]
# **Your part: `stream`** (medium, 15 minutes). One piece of a stream, with stride 1. `x` is `(B, D, n, h, w)`, n any
# number from 1 up; `state` is None for the first piece, and later what you returned with the piece before. Return the
# outputs `(B, O, n, h, w)`, and the new state.
#
# <details><summary>Hint 1</summary>
#
# The state takes the place of the zeros: put it before the piece. With None, make zeros of k - 1 frames.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# A piece may be shorter than k - 1. So the new state is the end of state and piece *together*.
#
# </details>


# %% tags=["task"]
def stream(x, weight, state=None):
    """The next piece of a causal convolution, (B, D, n, h, w): its outputs, and the new state."""
    ### BEGIN SOLUTION
    keep = weight.shape[2] - 1
    if state is None:
        state = x.new_zeros(*x.shape[:2], keep, *x.shape[3:])
    seen = torch.cat([state, x], dim=2)
    return F.conv3d(seen, weight), seen[:, :, seen.shape[2] - keep :]
    ### END SOLUTION


# %% tags=["grader"]
def check_stream(function):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 5, 9, 2, 2, generator=generator)
    weight = torch.randn(4, 5, 3, 1, 1, generator=generator)
    whole, state, at = F.conv3d(F.pad(x, (0, 0, 0, 0, 2, 0)), weight), None, 0
    for piece in x.split([3, 1, 1, 4], dim=2):
        n, out = piece.shape[2], function(piece, weight, state)
        if not isinstance(out, tuple) or len(out) != 2:
            return f"stream returns {type(out).__name__}: it should be two tensors, out and state"
        y, state = out
        if y.shape != (1, 4, n, 2, 2):
            return f"a piece of {n} frames is {tuple(y.shape)}, not {(1, 4, n, 2, 2)}: keep k - 1"
        if not torch.allclose(y, whole[:, :, at : at + n], atol=1e-4):
            return f"frame {at} on is not as in the whole film: do you go on from the state?"
        if not isinstance(state, torch.Tensor) or state.shape != (1, 5, 2, 2, 2):
            return f"after frame {at + n} the state is the last 2 inputs, also after a short piece"
        at += n
    return "right: pieces of 3, 1, 1 and 4 frames give what the whole film gives"


print(check_stream(stream))

# %% [markdown]
# Below, the derivative of every output frame (down) with respect to every input frame (across), for two layers of depth
# 3 with all weights 1: padded on both sides, causal, and causal with two strides of 2, so that four frames become one.
# The third is how a tokenizer goes from frames to tokens.

# %%
# NBVAL_IGNORE_OUTPUT
ones = torch.ones(1, 1, 3, 1, 1)
stacks = {
    "both sides": lambda x: F.conv3d(F.conv3d(x, ones, padding=(1, 0, 0)), ones, padding=(1, 0, 0)),
    "causal": lambda x: causal(causal(x, ones), ones),
    "causal, strides 2 and 2": lambda x: causal(causal(x, ones, 2), ones, 2),
}
figure, axes = plt.subplots(1, 3, figsize=(8.5, 2.9))
for ax, (name, stack) in zip(axes, stacks.items()):
    jacobian = torch.autograd.functional.jacobian(stack, torch.zeros(1, 1, 16, 1, 1)).view(-1, 16)
    ax.imshow(jacobian, cmap="Blues", aspect="auto")
    ax.set(title=name, xlabel="input frame", yticks=range(0, len(jacobian), len(jacobian) // 4))
    ax.grid(False)
axes[0].set_ylabel("output")
plt.show()

# %% [markdown]
# ## A VQ-VAE of clips, by hand
#
# All parts are there: convolutions over space, causal ones over time, and the codebook of notebook 02 in the middle.
# Folding a patch of pixels into channels is a strided convolution, too. Here is a small, complete model:
#
# ```
# (B, 1, 16, 64, 64)   clip
#       |  Conv3d 1x8x8, stride 1x8x8           patches
# (B, D, 16, 8, 8)
#       |  Conv3d 1x3x3, causal 4, stride 4     four frames become one
# (B, D, 4, 8, 8)
#       |  1x1x1 to 16 channels, VQ             256 tokens of 10 bits
# (B, 16, 4, 8, 8)
#       |  1x1x1 to D, Conv3d 1x3x3, causal 3
# (B, D, 4, 8, 8)
#       |  1x1x1 to 4 x 8 x 8 pixels each       unfold
# (B, 1, 16, 64, 64)   reconstruction
# ```


# %%
class Causal(nn.Module):
    """1x3x3 over space, then a causal convolution over time: (B, D, T, h, w)."""

    def __init__(self, d, depth, stride=1):
        super().__init__()
        self.space = nn.Conv3d(d, d, (1, 3, 3), padding=(0, 1, 1))
        self.weight, self.stride = nn.Parameter(torch.randn(d, d, depth, 1, 1) / d**0.5 / 2), stride

    def forward(self, x):
        return causal(self.space(F.silu(x)), self.weight, self.stride)


class ClipVQVAE(nn.Module):
    """Clips -> tokens of 4x8x8 pixels -> clips, with a codebook of 1,024."""

    def __init__(self, d=64):
        super().__init__()
        patches = nn.Conv3d(1, d, (1, 8, 8), stride=(1, 8, 8))
        self.encoder = nn.Sequential(patches, Causal(d, 4, stride=4), nn.Conv3d(d, 16, 1))
        self.quantizer = VQ(1024, 16)
        self.decoder = nn.Sequential(nn.Conv3d(16, d, 1), Causal(d, 3), nn.Conv3d(d, 256, 1))

    def forward(self, video):
        z = self.encoder(video).movedim(1, -1)  # (B, t, h, w, 16)
        codes, indices = self.quantizer(z)
        pixels = self.decoder(codes.movedim(-1, 1))  # (B, 4 * 8 * 8, t, h, w)
        back = rearrange(pixels, "b (a p q) t h w -> b 1 (t a) (h p) (w q)", a=4, p=8, q=8)
        return back, self.quantizer.loss(z, codes, indices)


def small_loss(model, video):
    back, commitment = model(video)
    error = (back - video).square().flatten(1).mean(1)  # (B,)
    return (error + 1e-4).sqrt().mean() + commitment


# %% [markdown]
# The loss is the root of each clip's mean squared error, and the codebook's commitment loss:
#
# $$\mathcal{L} = \frac{1}{B} \sum_b \sqrt{\tfrac{1}{n} \lVert \hat{x}_b - x_b \rVert^2 + 10^{-4}}
# + \beta\, \tfrac{1}{m} \lVert z - \mathrm{sg}(e) \rVert^2 .$$
#
# PSNR is minus the logarithm of this root, but for constants. Without the root the wild clips, whose errors are largest,
# would take more of the gradient. ($10^{-4}$: at zero the slope of a root is infinite. $\mathrm{sg}$: no gradient; $n$, $m$:
# numbers of pixels and of features.)
#
# Two checks that cost seconds and save hours. *What should the first loss be?* An untrained decoder draws nearly
# nothing, so it should be about that of plain grey, plus a little commitment. *Overfit one batch*: four clips, again
# and again. If the loss does not fall well below where it began, something is broken.

# %%
# NBVAL_IGNORE_OUTPUT
torch.manual_seed(0)
by_hand, batch = ClipVQVAE().to(device()), few[:4].to(device())
grey = float(batch.square().flatten(1).mean(1).sqrt().mean())
print(f"first loss {float(small_loss(by_hand, batch).detach()):.3f}; plain grey {grey:.3f}")
recipe = Recipe(settings.overfit, lr=2e-3, warmup=5, ema=0.0)
overfitted = fit(by_hand, small_loss, lambda generator: batch, recipe)
print(f"last loss {float(overfitted.history['loss'][-1][1]):.3f}")

# %% [markdown]
# ## What a token sees, and what it costs
#
# `vg.models.VideoAutoencoder` is the same idea with residual blocks and finer grids in between:
#
# ```
# (B, 16, 64, 64, 1)   clip                 (shapes channels-last, as in the code)
#       |  patches 1x2x2, Linear
# (B, 16, 32, 32, 48)
#       |  Down 2x2x2, Block                Block: 1x3x3, causal 3x1x1, MLP, residual
# (B, 8, 16, 16, 96)
#       |  Down 2x2x2, 2 Blocks
# (B, 4, 8, 8, 192)  ->  Linear to 16, VQ of 1,024, Linear from 16  ->  (B, 4, 8, 8, 192)
#                                                       |  3 Blocks, Up 2x2x2, Block
#                                           (B, 8, 16, 16, 96)
#                                                       |  Up 2x2x2, Conv3d 1x3x3 to 4 pixels
#                                           (B, 16, 64, 64, 1)  reconstruction
# ```
#
# How far does a token see? A kernel of $k$ widens the field by $k - 1$ places of its own grid, and a stride $s$ makes
# all later places wider: $\text{field} \leftarrow \text{field} + (k - 1)\,\text{step}$, then $\text{step} \leftarrow
# s\,\text{step}$. The cell computes it from the layers, then measures it: the derivative of one token's vector with
# respect to every pixel. The block of pixels that a token stands for, here 4x8x8, is its *tubelet*; all tubelets of the
# same four frames are a *latent frame*.


# %%
def field_of(model):
    """(frames, rows, columns) that a token can see, from the encoder's kernels and strides."""
    field, step = list(model.patch), list(model.patch)
    for layer in model.encoder.modules():
        if isinstance(layer, nn.Conv3d):
            for axis, (k, stride) in enumerate(zip(layer.kernel_size, layer.stride)):
                field[axis] += (k - 1) * step[axis]
                step[axis] *= stride
    return tuple(field)


def measured_field(model, place=(7, 5, 5), size=(36, 88, 88)):
    """Absolute derivative of the token at ``place`` with respect to every pixel: (T, H, W)."""
    noise = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    pixels, seen = noise.to(next(model.parameters()).device).requires_grad_(), []
    handle = model.to_code.register_forward_hook(lambda module, given, z: seen.append(z))
    model.quantize(pixels)
    handle.remove()
    token = seen[0][0][place]  # (16,)
    mix = torch.randn(len(token), generator=torch.Generator().manual_seed(1)).to(token.device)
    return torch.autograd.grad((token * mix).sum(), pixels)[0][0, 0].abs().cpu()


torch.manual_seed(0)
untrained = VideoAutoencoder(VideoConfig()).eval()
gradient = measured_field(untrained)
extent = tuple(int((gradient.movedim(n, 0).flatten(1).amax(1) > 0).sum()) for n in range(3))
print("a token stands for", untrained.tubelet, "and may see, by its kernels,", field_of(untrained))
print("measured:", extent, "- later frames are not seen:", not gradient[32:].any())

# %% [markdown]
# What a token *can* see and what it *does* see are two things: most paths lead to the middle, so the weight of a pixel
# falls off long before the border (Luo et al., 2016: the *effective* receptive field). Below, the shipped network's field,
# in space (all frames added up) and in time (all pixels added up; orange are the token's own frames). The white square is
# its tubelet, the orange one the field by its kernels.

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
shipped = checkpoints.load("video-vqvae-64", device=device())
seen = measured_field(shipped)
seen = seen / seen.sum()
figure, (flat, along_time) = plt.subplots(1, 2, figsize=(8.4, 3), width_ratios=(1, 1.6))
flat.imshow((seen.sum(0) + 1e-7).log(), vmin=-14, vmax=-4)
for size, colour in ((8, "white"), (field_of(shipped)[1], "#d1782c")):
    corner = 5 * 8 + 4 - size / 2 - 0.5
    flat.add_patch(plt.Rectangle((corner, corner), size, size, fill=False, edgecolor=colour))
flat.set(title="weight of a pixel (log scale)", xlabel="column", ylabel="row")
flat.grid(False)
blue, orange = ["#2f6f9f"], ["#d1782c"]
along_time.bar(range(36), seen.sum((1, 2)), color=28 * blue + 4 * orange + 4 * blue)
along_time.set(title="weight of a frame", xlabel="frame", ylabel="share")
print(f"own frames {100 * float(seen[28:32].sum()):.0f} %,", end=" ")
print(f"own tubelet {100 * float(seen[28:32, 40:48, 40:48].sum()):.0f} %")
plt.show()

# %% [markdown]
# Why not build as for images, with convolutions on single pixels first? The work of a layer is (places) x (kernel) x
# (channels in) x (channels out), and a clip has 65,536 places. Measured, forward and backward, two clips, one layer:


# %%
# NBVAL_IGNORE_OUTPUT
def milliseconds(layer, x):
    """Forward and backward; the first call sets things up and is not counted."""
    for k in range(settings.repeats + 1):
        if k == 1:
            begin = time.perf_counter()
        layer(x).sum().backward()
        if device().type == "cuda":
            torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - begin) / settings.repeats


costs = {}
for d, (name, places) in zip((32, 32, 32, 192), (
    ("on pixels", (16, 64, 64)), ("on patches 1x2x2", (16, 32, 32)),
    ("on tokens 4x8x8", (4, 8, 8)), ("the same, 192 channels", (4, 8, 8)),
)):  # fmt: skip
    layer = nn.Conv3d(d, d, 3, padding=1).to(device())
    x = torch.randn(2, d, *places, device=device(), requires_grad=True)
    work = math.prod(places) * layer.weight.numel() / 1e6
    costs[f"3x3x3 {name}"] = [math.prod(places), work, milliseconds(layer, x)]
table(costs, ["places", "M products", "ms"])

# %% [markdown]
# So make the grid small first, and then be generous with channels. Folding a neighbourhood into channels loses nothing by
# itself. But then the finest grids have few layers or none, and a thin line has to be drawn by layers that see the
# picture in larger cells. Keep that in mind for the errors below.
#
# ## Training, with the codebook in view
#
# Batches are random clips of 16 frames of the training shots, mirrored half of the time and moved by a pixel or two. The
# optimizer is Muon (which makes all directions of a matrix's step equally long) for the kernels of the blocks, and AdamW
# for the rest. `tokenizer_loss` is the loss from above. Watch the codebook: *usage* is the share of the 1,024 codes that
# occur in the last 20 batches; *perplexity* also asks how evenly (as a share of 1,024). The codes start on k-means of the
# first batch. What happens to them once the encoder begins to move?

# %%
# NBVAL_IGNORE_OUTPUT
torch.manual_seed(0)
own = VideoAutoencoder(VideoConfig(width=settings.width)).to(device())
recent = deque(maxlen=20)  # indices of the last batches


def remember(module, given, out):
    if module.training:
        recent.append(out[1].detach().cpu())


def evaluate(model):
    last = torch.cat(list(recent))
    made = reconstruct(model, few).clamp(-1, 1)
    found = {"PSNR": float(evaluation.psnr(made, few).mean())}
    evenly = evaluation.perplexity(last, 1024) / 1024
    return found | {"usage": evaluation.usage(last, 1024), "perplexity": evenly}


own.quantizer.register_forward_hook(remember)
draw = tokenizer_batches(Clips(store, train_shots, frames=16), batch=settings.batch)
steps = settings.steps
recipe = Recipe(steps, lr=2e-3, muon=2e-2, warmup=min(50, steps), grad_clip=5.0, ema=0.0)
trained = fit(own, tokenizer_loss, draw, recipe, evaluate=evaluate, every=max(2, steps // 20))
history = trained.history
floor = float(evaluation.psnr(evaluation.mean_frame(few), few).mean())
print(f"validation {history['PSNR'][-1][1]:.2f} dB, mean frame of each clip {floor:.2f} dB")
display(show.curves({"validation": history["PSNR"]}, "quality", y="PSNR (dB)"))
show.curves({name: history[name] for name in ("usage", "perplexity")}, "codes", y="share of 1,024")

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# (Measured are nine held-out clips; all of them are in the table further down.) Usage falls at once: the encoder moves away from the codes that k-means gave it, and codes that are not chosen do not
# follow. A lost code is moved onto data when its running count has fallen to a tenth of the average, which at a decay of
# 0.99 takes some 230 steps ($0.99^{230} \approx 0.1$). There usage leaps up, and quality takes a step with it. After the
# last step it is still well below the mean frames: in so few steps the network learns to draw little more than blurs.
#
# </details>
#
# ## 1,024 words
#
# The same with more steps and a wider network ships with the course. How often is each of its codes used in the film?
# What do they mean? Average all tubelets of the training shots that got the same code: a little film of four frames of
# 8x8 pixels. One column is one code, time runs down. First the 24 codes that occur most, then the 24 whose average
# changes most from its first frame to its last. Do you find edges that move, as in the toy?


# %%
# NBVAL_IGNORE_OUTPUT
@torch.no_grad()
def tokens_of(model, shots):
    """The tokens of shots in one row, and the tubelets that they stand for: (n,), (n, 4, 8, 8)."""
    codes, cubes = [], []
    for start, stop in shots:
        past = {}  # the state of every layer: a stream
        for piece in store.clip(start, start + (stop - start) // 4 * 4).split(64, dim=2):
            codes.append(model.encode(piece.to(device()), past).cpu().flatten())
            split = "(t a) (h b) (w c) -> (t h w) a b c"
            cubes.append(rearrange(piece[0, 0], split, a=4, b=8, c=8))
    return torch.cat(codes), torch.cat(cubes)


display(show.card("video-vqvae-64"))
codes, cubes = tokens_of(shipped, train_shots)
counts = torch.bincount(codes, minlength=1024)
print(f"usage {100 * evaluation.usage(codes, 1024):.1f} %,", end=" ")
print(f"perplexity {evaluation.perplexity(codes, 1024):.0f} of 1,024")
sums = torch.zeros(1024, 4, 8, 8).index_add_(0, codes, cubes)
average = sums / counts.clamp(min=1).view(-1, 1, 1, 1)  # (K, 4, 8, 8)
change = (average[:, -1] - average[:, 0]).abs().mean((1, 2)) * (counts >= settings.seldom)
for title, order in {"most frequent": counts, "most moving": change}.items():
    chosen = order.argsort(descending=True)[:24]
    print(f"{title}:")
    display(show.grid(average[chosen].transpose(0, 1).flatten(0, 1)[:, None], columns=24, scale=4))

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# Frequent codes are flat greys, and a few blacks: backgrounds, and the insides of figures. In the others something dark
# comes, goes or spreads, and some have an edge that shifts from frame to frame. The codebook has words for motion. All
# codes are in use, not all equally often.
#
# </details>
#
# ## Looking, and where it fails
#
# Held-out clips that the network has not seen, above as they are, below from 256 integers each. Then the clip that
# moves most, with errors: black is none, bright is a quarter of the range from black to white.

# %%
# NBVAL_IGNORE_OUTPUT
rebuilt = reconstruct(shipped, truth).clamp(-1, 1)
wildest = truth[fastest : fastest + 1]
three = sorted({round(k * (len(truth) - 1) / 2) for k in range(3)})
tiles = {f"original {k}": truth[k] for k in three} | {f"rebuilt {k}": rebuilt[k] for k in three}
display(show.player(tiles, fps=store.fps, columns=len(three), scale=3))
rows = {"original": truth[fastest], "trained here": reconstruct(own, wildest).clamp(-1, 1)[0]}
show.compare(rows | {"video-vqvae-64": rebuilt[fastest]}, every=2, scale=2, against="original")

# %% [markdown]
# Numbers, shot by shot, since clips of one shot are alike. The *mean frame* knows each clip's average picture exactly
# and no motion; backgrounds stand still, so it is a strong baseline. The *nearest training clip* is what remembering
# alone would give. Sets of the film return, so a held-out shot can have a near twin in training: where that column is
# high, the shot is not really new. (The card's figures are of the test shots alone, the second and the fifth of these,
# which the tokenizer draws best.)
#
# Then the mean is split by kind of pixel. A pixel is *fine* if it differs by more than 20 grey levels from the average
# of the 5x5 pixels around it, and it *moves* if it changed by more than 10 since the frame before. *Wrong by* is the
# root mean square error in grey levels; the last column is the share of all squared error. The row with the largest error
# per pixel need not be the one with the largest share.


# %%
# NBVAL_IGNORE_OUTPUT
def kinds_of(video):
    """(name, mask) of the four kinds; the first frame is left out, as nothing is before it."""
    grey = video * 127.5
    padded = F.pad(grey.flatten(0, 2)[:, None], (2,) * 4, mode="replicate")
    fine = ((grey - F.avg_pool2d(padded, 5, 1).view_as(grey)).abs() > 20)[:, :, 1:]
    moves = (grey[:, :, 1:] - grey[:, :, :-1]).abs() > 10
    for first, a in (("plain", ~fine), ("fine", fine)):
        for second, b in (("still", ~moves), ("moving", moves)):
            yield f"{first}, {second}", a & b


bank = Clips(store, train_shots, frames=16, stride=4)
still = evaluation.mean_frame(truth)
videos = {"nearest": evaluation.nearest_clip(truth, bank), "mean frame": still}
videos |= {"trained here": reconstruct(own, truth).clamp(-1, 1), "shipped": rebuilt}
quality = torch.stack([evaluation.psnr(video, truth) for video in videos.values()])  # (4, B)
shot_of = shot_numbers(validation, val_shots)
rows = {f"shot from frame {val_shots[k][0]}": quality[:, shot_of == k].mean(1).tolist()
        for k in shot_of.unique().tolist()}  # fmt: skip
table(rows | {"all clips": quality.mean(1).tolist()}, list(videos))
ahead = int((quality[3] > quality[1]).sum())
print(f"the shipped one is ahead of the mean frame on {ahead} of {len(truth)} clips\n")
errors = [((video - truth)[:, :, 1:] * 127.5).square() for video in (rebuilt, still)]
rows = {}
for name, mask in kinds_of(truth):
    each = [float(error[mask].mean().sqrt()) for error in errors]
    share = float(errors[0][mask].sum() / errors[0].sum())
    rows[name] = [100 * float(mask.float().mean()), *each, 100 * share]
table(rows, ["pixels %", "wrong by", "mean frame", "of error %"])

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# No shot has a near twin: the nearest training clip is behind every other column in each. On average the mean frame is ahead: this film stands still for most of its pixels, and there 256 tokens cannot hold what an
# exact average picture holds. Where it moves the tokenizer is a little better. It is most wrong on fine pixels, above all
# on those that move. Most of the error, though, lies on lines and plain ground that stand still, since there are so
# many more of them.
#
# </details>
#
# What the *learned* codebook is worth against a fixed grid of as many codes is the subject of notebook 04.
#
# ## Exercises
#
# Each has a check that says what is off. Solutions are folded below.
#
# **1. The bill** (easy, 5 minutes). Write `products(grid, kernel, d_in, d_out)`: how many products a convolution takes,
# forward. `grid` is the (T, H, W) that comes *out*, `kernel` its (a, b, c).


# %%
def products(grid, kernel, d_in, d_out):
    return None  # your turn


def check_products(function):
    got, right = function((4, 8, 8), (1, 3, 3), 96, 192), 256 * 9 * 96 * 192
    if got is None:
        return "not yet: products returns None"
    if got in (right // 96, right // 192):
        return "a factor is missing: every output channel looks at every input channel"
    if got == right // 9:
        return "the kernel is missing: each output adds up a whole box"
    return "right" if got == right else f"got {got:,}, expected {right:,}"


print(check_products(products))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def products(grid, kernel, d_in, d_out):
#     return math.prod(grid) * math.prod(kernel) * d_in * d_out
# ```
#
# </details>
#
# **2. How far a stack reaches** (medium, 15 minutes). Write `reach(layers)`: `layers` is a list of `(kernel, stride)`
# from the input on. Return how many inputs one output depends on, and how many inputs lie between two neighbouring
# outputs.


# %%
def reach(layers):
    return None  # your turn


def check_reach(function):
    if function([(3, 1)]) is None:
        return "not yet: reach returns None"
    got = tuple(function([(3, 2), (3, 1)]))
    if got == (5, 2):
        return "after a stride of 2 a kernel of 3 reaches over places that lie 2 apart: (3 - 1) * 2"
    if got in ((9, 2), (11, 2)):
        return "the stride of a layer widens the layers after it, not its own kernel"
    return "right" if got == (7, 2) else f"kernel 3 stride 2, then kernel 3: (7, 2); got {got}"


print(check_reach(reach))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def reach(layers):
#     field = step = 1
#     for kernel, stride in layers:
#         field += (kernel - 1) * step
#         step *= stride
#     return field, step
# ```
#
# </details>
#
# ## Summary
#
# - A clip is a volume. Motion is an edge at an angle in it, and one 3-D kernel can tell one direction from another.
# - Conv3D is Conv2D with one more loop. Padded on the past side alone it is causal, and can be run as a stream whose
#   state is its last inputs.
# - What a token may see follows from kernels and strides. What it does see is less, and can be measured.
# - The cost of a convolution is places times kernel times channels squared. Make the grid small first.
# - Before a long training: the first loss, and one batch overfitted. While it runs: usage and perplexity.
# - A mean hides where an error lies. Split it: by shot, by what is fine and what moves. Put a baseline beside each
#   number.
#
# **Next:** [04 Conv3D FSQ-VAE](04_video_fsq_vae.ipynb) takes the codebook out and puts a fixed grid in its place.
#
# ## References
#
# - Yan, Zhang, Abbeel, Srinivas: *VideoGPT: Video Generation using VQ-VAE and Transformers*, 2021, arXiv:2104.10157.
# - van den Oord, Vinyals, Kavukcuoglu: *Neural Discrete Representation Learning* (VQ-VAE), 2017, arXiv:1711.00937.
# - Luo, Li, Urtasun, Zemel: *Understanding the Effective Receptive Field in Deep Convolutional Neural Networks*, 2016,
#   arXiv:1701.04128.
# - Yu and others: *Language Model Beats Diffusion: Tokenizer is Key to Visual Generation* (MAGVIT-v2, causal 3-D
#   convolutions), 2023, arXiv:2310.05737.
