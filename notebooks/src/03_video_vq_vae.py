# %% [markdown]
# # 03 Conv3D VQ-VAE
#
# Notebook 02 turned an image into integers. A film is more than its images: what makes it film is that they belong
# together. Here the convolutions get a third direction, time, and a clip of 16 frames becomes 256 integers, each one
# of 1,024 words that the network makes up by itself.
#
# **After this notebook you will be able to**
# - look at a clip as a volume, and build a filter that sees an edge move one way and no other;
# - write a 3-D convolution by loops, without loops, and make it causal in time;
# - turn a 2-D kernel into a 3-D one, and say what that is worth;
# - compute and measure what a token sees, and say what 3-D convolutions on single pixels cost;
# - train a VQ-VAE of clips with its codebook under your eyes, and show where, when and by how much it fails.
#
# **You need** Python, a little PyTorch, and the codebook of notebook 02. The notebook runs alone.
#
# **Minutes:** about 8 on a two-core laptop, most of them training; a few with a GPU.
#
# **Before:** [02 VQ-VAE and VQ-VAE-2](02_vq_vae.ipynb). **Next:** [04 Conv3D FSQ-VAE](04_video_fsq_vae.ipynb).

# %%
# NBVAL_IGNORE_OUTPUT
import math
import pprint
import time
from collections import deque

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from einops import rearrange
from IPython.display import display
from ipywidgets import IntSlider
from torch import nn

from vg import checkpoints, evaluation, show
from vg.data import Clips, film, open_store, split_shots
from vg.experiments.batches import tokenizer_batches
from vg.experiments.losses import tokenizer_loss
from vg.models import VideoAutoencoder, VideoConfig, inflate
from vg.models.blocks import CausalTimeConv
from vg.models.video import AxialAttention
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
# them. `scene` is the longest validation shot, or its first 64 frames.


# %%
# NBVAL_IGNORE_OUTPUT
def table(rows, columns):
    print(" " * 34 + "".join(f"{name:>13}" for name in columns))
    for name, values in rows.items():
        print(f"{name:34}" + "".join(f"{value:13.4g}" for value in values))


amount = profile().pick(smoke=240, laptop=None, gpu=None)  # frames; None: all of them
held_out = profile().pick(smoke=0.35, laptop=0.1, gpu=0.1)  # share of the frames
store = open_store(source, frames=amount)
train_shots, val_shots = split_shots(store.shots, held_out)
clips16 = Clips(store, val_shots, frames=16, stride=8)
truth = clips16.take(range(len(clips16)))
motion = (truth[:, :, 1:] - truth[:, :, :-1]).abs().flatten(1).mean(1)  # (B,) how much each clip moves
fastest = int(motion.argmax())
start, stop = max(val_shots, key=lambda shot: shot[1] - shot[0])
scene = store.clip(start, start + min(64, (stop - start) // 4 * 4))  # (1, C, T, H, W)
print(store)
print(f"{len(train_shots)} training shots, {len(val_shots)} validation shots, {len(truth)} validation clips")

# %% [markdown]
# ## A clip is a volume
#
# Stack the frames behind each other and you have a block with three sides: time, height, width. We are used to cutting
# it into frames. Cut it the other way: take one row of pixels, and look at it in every frame. Across is still the
# width, but down is now *time*.
#
# Move the row with the slider (a static page shows the first setting, the row that changes most). What stands still
# draws a vertical line. What moves draws a slanted one, and the slant is its speed: one column to the right for each
# frame down is one pixel a frame. A limb that swings to and fro draws spikes or zigzags. So motion is not something
# that has to be added to pictures. In the volume it is an edge like any other, at an angle.


# %%
# NBVAL_IGNORE_OUTPUT
def cut(row):
    """A frame of the scene, and the slice through all of its frames along one row."""
    figure, axes = plt.subplots(1, 2, figsize=(7.4, 3.4), width_ratios=(1, 1.15))
    axes[0].imshow(scene[0, 0, 0], cmap="gray", vmin=-1, vmax=1)
    axes[0].axhline(row, color="#d1782c")
    axes[0].set(title="frame 0", xlabel="column", ylabel="row")
    axes[1].imshow(scene[0, 0, :, row], cmap="gray", vmin=-1, vmax=1, aspect="auto")
    axes[1].set(title=f"row {row} of every frame", xlabel="column", ylabel="frame")
    for ax in axes:
        ax.grid(False)
    plt.close(figure)
    return figure


liveliest = int((scene[0, 0, 1:] - scene[0, 0, :-1]).abs().mean((0, 2)).argmax())
explorer = show.live_explorer(cut, row=IntSlider(liveliest, 0, scene.shape[3] - 1))
explorer

# %% [markdown]
# The same without a kernel, for a static page. Drag the sliders or the pictures: the left one for the row, the right one
# for the frame.

# %%
# NBVAL_IGNORE_OUTPUT
interactive.film_slice(scene[0], liveliest, title="a scene, and its slice along one row of pixels")

# %% [markdown]
# ## A kernel that sees motion
#
# A toy of 12 frames with three bands. In each of them an edge, dark on its left and bright on its right. In the upper
# band it moves to the right, one pixel a frame; in the middle it stands still; in the lower band it moves to the left.
# Below the frames, the volume cut the other way, one row of each band: time runs down.

# %%
# NBVAL_IGNORE_OUTPUT
toy = torch.full((1, 12, 24, 24), -1.0)  # (C, T, H, W)
for t in range(12):
    for band, edge in enumerate((6 + t, 12, 18 - t)):
        toy[0, t, 8 * band : 8 * band + 8, edge:] = 1
display(show.strip({"toy clip": toy}, every=2, scale=4))
show.grid(toy[:, :, [4, 12, 20]].movedim(2, 0), columns=3, scale=4, labels=["right", "still", "left"])

# %% [markdown]
# A 2-D filter that takes each pixel's difference to its left neighbour finds edges. It finds all three, in every
# frame, and cannot tell them apart.
#
# A 3-D kernel looks at several frames at once. Ours looks at three. `line` has its large numbers on the diagonal:
# column 0 in the first frame, column 1 in the second, column 2 in the third. That is the path of something that moves
# one pixel a frame to the right. The rows and columns of `line` add up to 0, so something that stands still cancels
# out. The difference to the left neighbour turns it from a detector of moving lines into one of moving edges.

# %%
edges = F.conv2d(toy[0, :, None], torch.tensor([-1.0, 1.0]).view(1, 1, 1, 2))  # (T, 1, 24, 23), each frame alone
print("2-D filter, strongest answer in each band:", [int(part.max()) for part in edges.split(8, dim=2)])

line = torch.tensor([[2.0, -1, -1], [-1, 2, -1], [-1, -1, 2]])  # (frame, column)
kernel = F.pad(line, (1, 0)) - F.pad(line, (0, 1))  # (3, 4)
for k, row in enumerate(kernel.int().tolist()):
    print(f"kernel, frame {k}:", row)
answers = F.conv3d(toy[None], kernel[None, None, :, None])[0]  # (1, 10, 24, 21)
print("3-D filter, strongest answer in each band:", [int(part.max()) for part in answers.split(8, dim=2)])

# %% [markdown]
# One filter, three answers: full for the edge that moves its way, none for the one that stands still, and a third for
# the one that moves the other way, which for a moment has the right column in one frame. A bias and a ReLU take the
# rest away. That is what one channel of a convolutional layer is: a filter, a bias, a kink. Played backwards (the
# kernel's frames in reverse), the same filter finds the other edge.


# %%
# NBVAL_IGNORE_OUTPUT
def moving(video, kernel, bias=4.0):
    """Where edges move as the kernel wants, (C, T, H, W) -> the same shape, 0 for nowhere; causal in time."""
    padded = F.pad(video[None], (2, 1, 0, 0, 2, 0), mode="replicate")  # 3 columns, and 2 frames before
    return F.relu(F.conv3d(padded, kernel[None, None, :, None]) - bias)[0]


right, left = moving(toy, kernel), moving(toy, kernel.flip(0))
shown = {"toy clip": toy, "moves right": right / 4 - 1, "moves left": left / 4 - 1}
show.strip(shown, every=2, scale=3)

# %% [markdown]
# And in the film? Edges there are soft, come in both contrasts, and move at all speeds. So the filter runs over the
# clip and over its negative, with a smaller bias. The clip is the validation clip that moves most. Orange is what it
# takes for motion to the right, blue for motion to the left. It is a crude detector that nobody trained: where does it
# agree with your eye? What moves up and down, or fast, is none of its business. A layer of a network has dozens of
# such filters, with numbers that training chose.

# %%
# NBVAL_IGNORE_OUTPUT
lively = truth[fastest]
right = moving(lively, kernel, 1.0) + moving(-lively, kernel, 1.0)
left = moving(lively, kernel.flip(0), 1.0) + moving(-lively, kernel.flip(0), 1.0)
colour = {"right": torch.tensor([1.0, 0.3, -1.0]), "left": torch.tensor([-1.0, 0.1, 1.0])}
tinted = 0.6 * lively.expand(3, -1, -1, -1)
for name, found in (("right", right), ("left", left)):
    tinted = torch.lerp(tinted, colour[name].view(3, 1, 1, 1).expand_as(tinted), (found / 2).clamp(0, 1))
show.player({"clip": lively, "moving edges": tinted}, fps=store.fps)

# %% [markdown]
# ## From Conv2D to Conv3D by hand
#
# A convolution puts a small box of numbers onto every place of the volume, multiplies, and adds up. In 2-D the box has
# height and width, and the loops run over rows and columns. In 3-D it has a depth in time as well, and there is one
# loop more. With several channels in and out the kernel is `(O, C, a, b, c)`: for each of O outputs a box with C
# channels.
#
# Without loops: `unfold` lays out all windows of the volume (without a copy), and one `einsum` multiplies each by
# every kernel. The third is PyTorch's own.


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
                    out[o, t, y, x] = (video[:, t : t + a, y : y + b, x : x + c] * kernel[o]).sum()
    return out


def by_windows(video, kernel):
    a, b, c = kernel.shape[2:]
    windows = video.unfold(1, a, 1).unfold(2, b, 1).unfold(3, c, 1)  # (C, t, h, w, a, b, c)
    return torch.einsum("cthwijk,ocijk->othw", windows, kernel)


generator = torch.Generator().manual_seed(0)
video, weight = torch.randn(2, 6, 8, 9, generator=generator), torch.randn(3, 2, 3, 3, 3, generator=generator)
slow, fast, torchs = by_loops(video, weight), by_windows(video, weight), F.conv3d(video[None], weight)[0]
print("video", tuple(video.shape), "kernel", tuple(weight.shape), "-> out", tuple(slow.shape))
print("windows agree with the loops:  ", torch.allclose(fast, slow, atol=1e-5))
print("F.conv3d agrees with the loops:", torch.allclose(torchs, slow, atol=1e-5))

# %% [markdown]
# Conv2D is the case of depth 1: it treats each frame alone. And 3-D can be taken apart. A kernel of 1x3x3 over space,
# then one of 3x1x1 over time, sees the same 3x3x3 box with 12 numbers in place of 27. It can do less: only boxes that
# are a product (or, with several channels between, a sum of a few products). Our diagonal filter is not one product.
# Its rank, as a matrix of time by place, says how many it takes.

# %%
flat = weight[:, :, :1]  # (O, C, 1, 3, 3)
one_by_one = torch.stack([F.conv2d(frame[None], flat[:, :, 0])[0] for frame in video.unbind(1)], dim=1)
print("depth 1 is Conv2D on each frame:  ", torch.allclose(F.conv3d(video[None], flat)[0], one_by_one, atol=1e-5))

space, along = torch.randn(4, 2, 1, 3, 3, generator=generator), torch.randn(3, 4, 3, 1, 1, generator=generator)
product = torch.einsum("mcxij,omtyz->octij", space, along)  # one kernel for both steps
in_two = F.conv3d(F.conv3d(video[None], space), along)[0]
print("two thin kernels are one thick one:", torch.allclose(in_two, by_windows(video, product), atol=1e-4))
print("products that the motion filter takes:", int(torch.linalg.matrix_rank(kernel)))

# %% [markdown]
# ## Time runs one way
#
# A 3x3x3 convolution shrinks the volume, so it is padded. Over space, one pixel on each side. Over time there is a
# choice. One frame on each side, and every output sees one frame of its future. Or two frames before and none after:
# *causal*. Then a film can be encoded while it arrives, and a prior that writes tokens in order never has to know what
# comes.
#
# Below, the derivative of every output frame (down) with respect to every input frame (across), for two layers of
# depth 3 with all weights 1. Left: padded on both sides. Middle: causal. Right: causal, with two strides of 2, so that
# four frames become one. The third is how a tokenizer goes from frames to tokens.


# %%
def sees(function, frames=16):
    """The Jacobian of a function of time: (outputs, frames)."""
    x = torch.zeros(frames)
    jacobian = torch.autograd.functional.jacobian(lambda x: function(x.view(1, 1, -1, 1, 1)).flatten(), x)
    return jacobian.abs()


def causal(x, stride=1):
    ones = torch.ones(1, 1, 3, 1, 1)
    return F.conv3d(F.pad(x, (0, 0, 0, 0, 3 - stride, 0)), ones, stride=(stride, 1, 1))


def both_sides(x):
    return F.conv3d(x, torch.ones(1, 1, 3, 1, 1), padding=(1, 0, 0))


fields = {
    "both sides": sees(lambda x: both_sides(both_sides(x))),
    "causal": sees(lambda x: causal(causal(x))),
    "causal, strides 2 and 2": sees(lambda x: causal(causal(x, 2), 2)),
}
for name, jacobian in fields.items():
    per_output = jacobian.shape[1] // jacobian.shape[0]
    future = [bool(row[(k + 1) * per_output :].any()) for k, row in enumerate(jacobian)]
    print(f"{name:24} outputs {jacobian.shape[0]:2}, some output sees the future: {any(future)}")

layer = CausalTimeConv(5, kernel=3, stride=2)  # vg's
x = torch.randn(2, 5, 8, 4, 4, generator=generator)
ours = F.conv3d(F.pad(x, (0, 0, 0, 0, 1, 0)), layer.weight, layer.bias, stride=(2, 1, 1))
print("vg's causal convolution agrees:", torch.allclose(layer(x), ours, atol=1e-6))

# %%
# NBVAL_IGNORE_OUTPUT
figure, axes = plt.subplots(1, 3, figsize=(8.5, 2.9))
for ax, (name, jacobian) in zip(axes, fields.items()):
    ax.imshow(jacobian, cmap="Blues", aspect="auto")
    ax.set(title=name, xlabel="input frame", yticks=range(0, len(jacobian), len(jacobian) // 4))
    ax.grid(False)
axes[0].set_ylabel("output")
plt.show()

# %% [markdown]
# ## A 2-D kernel inflated
#
# There are a great many trained image networks, and images are cheap to train on. Can a video network begin with one?
# ViViT (Arnab et al., 2021, section 3.4) puts the 2-D kernel into the *central* frame of the 3-D one and zeros
# everywhere else. At first the network does to each frame what the image network did; time is learned from there. Our
# kernels end at the present, so for us it is the last frame.
#
# An older way (I3D, Carreira and Zisserman, 2017) copies the kernel into all frames, divided by their number. On a
# film in which nothing moves both do the same. And where something moves?

# %%
image_kernel = torch.randn(3, 2, 3, 3, generator=generator)
central = torch.zeros(3, 2, 3, 3, 3)
central[:, :, 1] = image_kernel
print("vg's inflate agrees:", torch.equal(inflate(image_kernel, 3, frame=1), central))

per_frame = torch.stack([F.conv2d(frame[None], image_kernel)[0] for frame in video.unbind(1)], dim=1)
before = F.pad(video, (0, 0, 0, 0, 2, 0))[None]  # two frames of the past
last, mean = inflate(image_kernel, 3), image_kernel[:, :, None].repeat(1, 1, 3, 1, 1) / 3
print("the last frame: Conv2D on each frame:       ", torch.allclose(F.conv3d(before, last)[0], per_frame, atol=1e-5))
print("the mean: the same where the film moves:    ", torch.allclose(F.conv3d(before, mean)[0], per_frame, atol=1e-5))
still = video[:, :1].expand(-1, 6, -1, -1)
print("the mean: the same where nothing moves:     ", torch.allclose(
    F.conv3d(still[None], mean)[0, :, 0], F.conv2d(still[None, :, 0], image_kernel)[0], atol=1e-5
))  # fmt: skip

# %% [markdown]
# Is it worth it? A small autoencoder without a quantizer, so that nothing but the kernels differs: each 8x8 patch of
# each frame becomes four numbers between -1 and 1, and is drawn again. With `depth=1` it is a network of still images.
# With `depth=3` each of its five convolutions sees two frames of the past, so the decoder can use what earlier frames
# have said.


# %%
class Causal(nn.Conv3d):
    """3x3 over space, over ``depth`` frames that end at the present: (B, D, T, H, W) in and out."""

    def __init__(self, d, depth):
        super().__init__(d, d, (depth, 3, 3), padding=(0, 1, 1))

    def forward(self, x):
        return super().forward(F.pad(x, (0, 0, 0, 0, self.kernel_size[0] - 1, 0)))


class Frames(nn.Module):
    """Every 8x8 patch of every frame -> four numbers -> the patch again."""

    def __init__(self, depth, d):
        super().__init__()
        self.embed, self.to_code = nn.Linear(64, d), nn.Linear(d, 4)
        self.from_code, self.to_pixels = nn.Linear(4, d), nn.Linear(d, 64)
        self.encoder = nn.ModuleList(Causal(d, depth) for _ in range(2))
        self.decoder = nn.ModuleList(Causal(d, depth) for _ in range(3))

    def forward(self, video):
        x = self.embed(rearrange(video, "b 1 t (h p) (w q) -> b t h w (p q)", p=8, q=8)).movedim(-1, 1)
        for layer in self.encoder:
            x = x + layer(F.silu(x))
        x = self.from_code(self.to_code(x.movedim(1, -1)).tanh()).movedim(-1, 1)
        for layer in self.decoder:
            x = x + layer(F.silu(x))
        return rearrange(self.to_pixels(x.movedim(1, -1)), "b t h w (p q) -> b 1 t (h p) (w q)", p=8, q=8)


def inflated(flat, how):
    """A ``Frames`` of depth 3 with the weights of one of depth 1."""
    deep = Frames(3, flat.embed.out_features).to(device())
    weights = {name: how(w[:, :, 0]) if w.dim() == 5 else w for name, w in flat.state_dict().items()}
    deep.load_state_dict(weights)
    return deep


# %% [markdown]
# First the image network is trained for a while. Then three networks of depth 3 get the same clips in the same order:
# one inflated into the last frame, one inflated as a mean, one from random numbers. The image network goes on too.
# Training 3-D kernels costs more a step, and the inflated networks were given the first phase for free. So there is a
# fifth run: random, with so many more steps that it gets as many seconds in all.


# %%
# NBVAL_IGNORE_OUTPUT
few_clips = truth[:: max(1, len(truth) // 8)]  # eight or so: measuring should not take longer than training
some = few_clips.to(device())


def frames_loss(model, video):
    error = (model(video) - video).square().mean((1, 2, 3, 4))
    return (error + 2e-4).log().mean() / 2  # PSNR in other units, as in notebook 02


@torch.no_grad()
def on_some(model):
    return {"PSNR": float(evaluation.psnr(model(some), some).mean())}


def train_frames(model, steps):
    draw = tokenizer_batches(Clips(store, train_shots, frames=16), batch=profile().pick(smoke=2, laptop=4, gpu=8))
    recipe = Recipe(steps, lr=2e-3, warmup=10, ema=0.0)
    begin = on_some(model)["PSNR"]
    run = fit(model, frames_loss, draw, recipe, evaluate=on_some, every=max(1, steps // 6))
    run.history["PSNR"].insert(0, (0, begin))
    return run


torch.manual_seed(0)
steps, wide = profile().pick(smoke=3, laptop=300, gpu=600), profile().pick(smoke=8, laptop=48, gpu=64)
first = train_frames(Frames(1, wide).to(device()), 2 * steps)
image_net = first.model
with torch.no_grad():
    inflated_last = inflated(image_net, lambda w: inflate(w, 3))
    same = torch.allclose(inflated_last(some), image_net(some), atol=1e-4)
print(f"\nbefore training, inflated into the last frame, it draws what the image network draws: {same}")

# %%
# NBVAL_IGNORE_OUTPUT
mean_of = inflated(image_net, lambda w: w[:, :, None].repeat(1, 1, 3, 1, 1) / 3)
runs = {"2-D goes on": train_frames(image_net.requires_grad_(True), steps)}
runs["inflated, last frame"] = train_frames(inflated_last, steps)
runs["inflated, mean"] = train_frames(mean_of, steps)
torch.manual_seed(0)
runs["random"] = train_frames(Frames(3, wide).to(device()), steps)
a_step = runs["random"].seconds / steps
torch.manual_seed(0)
more = steps + round(first.seconds / max(a_step, 1e-9))
longer = train_frames(Frames(3, wide).to(device()), more)
rows = {
    name: [run.history["PSNR"][0][1], run.history["PSNR"][-1][1], run.seconds + first.seconds * (name != "random")]
    for name, run in runs.items()
}
rows["random, as long in all"] = [longer.history["PSNR"][0][1], longer.history["PSNR"][-1][1], longer.seconds]
table(rows, ["PSNR before", "PSNR after", "seconds"])
level = {"2-D, first phase": first.history["PSNR"][-1][1], "random, longer": longer.history["PSNR"][-1][1]}
show.curves({name: run.history["PSNR"] for name, run in runs.items()}, "same steps", y="PSNR (dB)", baselines=level)

# %% [markdown]
# Three comparisons are in it. *Inflated against 2-D that goes on*: what time is worth, when the start is the same.
# *Inflated against random after the same steps*: what the start is worth. *Inflated against random in the same
# seconds*: what it is worth once the first phase is paid for. The last is the one to decide by. If somebody else has
# paid for the image network, it is the second. In the run stored here time is worth nothing yet, the start a fifth of a
# decibel after as many steps, and next to nothing in the same seconds.
#
# Look also at the left end of the curves: where does the mean begin, beside the last frame? Five layers of it average
# over eleven frames.
#
# ## What a token sees
#
# A layer with kernel k sees k places of the layer before. A stride makes all later steps wider. So going through the
# layers,
#
#     field = field + (k - 1) * step        step = step * stride
#
# beginning with the size of a patch. `vg`'s `VideoAutoencoder` (it comes below) has kernels over space and over time;
# the cell reads them off. Then it measures: the derivative of one token's vector, before it is quantized, with respect
# to every pixel of a clip. What the token cannot see has derivative 0.


# %%
def field_of(model):
    """(frames, rows, columns) that a token can depend on, from the kernels and strides of the encoder."""
    field, step = list(model.patch), list(model.patch)
    for layer in model.encoder.modules():
        if isinstance(layer, nn.Conv3d):
            for axis, (k, stride) in enumerate(zip(layer.kernel_size, layer.stride)):
                field[axis] += (k - 1) * step[axis]
                step[axis] *= stride
    return tuple(field)


def measured_field(model, place=(7, 5, 5), size=(36, 88, 88)):
    """Absolute derivative of the token at ``place`` with respect to every pixel: (T, H, W)."""
    where = next(model.parameters()).device
    noise = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    video, seen = noise.to(where).requires_grad_(), []
    handle = model.to_code.register_forward_hook(lambda module, given, z: seen.append(z))
    model.quantize(video)
    handle.remove()
    token = seen[0][0][place]  # (code,)
    mix = torch.randn(len(token), generator=torch.Generator().manual_seed(1)).to(where)
    return torch.autograd.grad((token * mix).sum(), video)[0][0, 0].abs().cpu()


def extent(gradient):
    """How many frames, rows and columns are not all 0."""
    return tuple(int((gradient.movedim(axis, 0).flatten(1).amax(1) > 0).sum()) for axis in range(3))


torch.manual_seed(0)
untrained = VideoAutoencoder(VideoConfig(attention=0)).eval()
nominal, gradient = field_of(untrained), measured_field(untrained)
print("a token stands for", untrained.tubelet, "and may see, by its kernels,", nominal)
print("measured:", extent(gradient), "as computed:", extent(gradient) == nominal)
print("frames after its own four are not seen:", not gradient[32:].any())

# %% [markdown]
# What a token *can* see and what it *does* see are two things. Most paths through the layers lead to the middle, so
# the weight of a pixel falls off long before the border (Luo et al., 2016: the *effective* receptive field). Below,
# the field in space, all frames added up, on a logarithmic scale, and in time, all pixels added up. Above an untrained
# network, below the shipped one. The block of pixels that a token stands for, here 4 frames of 8x8, is its *tubelet*; all
# tubelets of the same four frames are a *latent frame*. The small square is the token's own 8x8 pixels, the large one the
# field by its kernels. Does training widen or narrow what is really used?

# %%
# NBVAL_IGNORE_OUTPUT
shipped = checkpoints.load("video-vqvae-64", device=device())
figure, axes = plt.subplots(2, 2, figsize=(7.8, 5.6), width_ratios=(1, 1.6))
for (space, along), (name, model) in zip(axes, {"untrained": untrained, "video-vqvae-64": shipped}.items()):
    seen = measured_field(model)
    seen = seen / seen.sum()
    space.imshow(seen.sum(0).clamp(min=1e-7).log10(), vmin=-6, vmax=-2)
    for size, colour in ((8, "white"), (nominal[1], "#d1782c")):
        corner = 5 * 8 + 4 - size / 2 - 0.5
        space.add_patch(plt.Rectangle((corner, corner), size, size, fill=False, edgecolor=colour))
    space.set(title=name)
    space.grid(False)
    along.bar(range(36), seen.sum((1, 2)), color=["#2f6f9f"] * 28 + ["#d1782c"] * 4 + ["#2f6f9f"] * 4)
    own, near = float(seen[28:32].sum()), float(seen[28:32, 40:48, 40:48].sum())
    along.set(title=f"own frames {100 * own:.0f} %, own tubelet {100 * near:.0f} %", xlabel="frame", ylabel="share")
plt.show()

# %% [markdown]
# ## What a convolution costs
#
# The plain way is to build as for images: convolutions on single pixels first, smaller grids later. On large GPUs one
# can. VideoGPT (Yan et al., 2021, section 3.1) goes down first, by strided 3-D convolutions, and so do we. Why? The
# work of a layer is (places) x (kernel) x (channels in) x (channels out), and a clip has 65,536 places. Measured
# forward and backward, two clips, one layer: on pixels, on a grid half as fine in height and width, on the grid of the
# tokens; there also taken apart into space and time, with few channels and with many. The last row is all of `vg`'s
# autoencoder on the same clips. Places and products are of one clip.


# %%
# NBVAL_IGNORE_OUTPUT
def milliseconds(function):
    """Forward and backward; the first call sets things up and is not counted."""
    repeats = profile().pick(smoke=1, laptop=3, gpu=10)
    for k in range(repeats + 1):
        if k == 1:
            begin = time.perf_counter()
        function().sum().backward()
        if device().type == "cuda":
            torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - begin) / repeats


def thin(d):
    return nn.Sequential(nn.Conv3d(d, d, (1, 3, 3), padding=(0, 1, 1)), nn.Conv3d(d, d, (3, 1, 1), padding=(1, 0, 0)))


tried = {
    "3x3x3 on pixels": (nn.Conv3d(32, 32, 3, padding=1), (16, 64, 64)),
    "3x3x3 on patches 1x2x2": (nn.Conv3d(32, 32, 3, padding=1), (16, 32, 32)),
    "3x3x3 on tokens 4x8x8": (nn.Conv3d(32, 32, 3, padding=1), (4, 8, 8)),
    "1x3x3, 3x1x1 on tokens": (thin(32), (4, 8, 8)),
    "the same, 192 channels": (thin(192), (4, 8, 8)),
}
costs = {}
for name, (layer, grid) in tried.items():
    layer = layer.to(device(), memory_format=torch.channels_last_3d)
    x = torch.randn(2, next(layer.parameters()).shape[1], *grid, device=device())
    work = math.prod(grid) * sum(p.numel() for p in layer.parameters() if p.dim() > 1) / 1e6
    x = x.contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    costs[name] = [math.prod(grid), work, milliseconds(lambda layer=layer, x=x: layer(x))]
whole, x = VideoAutoencoder().to(device()).eval(), truth[:2].to(device())
costs["VideoAutoencoder, all layers"] = [16 * 64 * 64, math.nan, milliseconds(lambda: whole(x)[0])]
table(costs, ["places", "M products", "ms"])
twelve, all_layers = 12 * costs["3x3x3 on pixels"][2], costs["VideoAutoencoder, all layers"][2]
print(f"\ntwelve layers on pixels: {twelve:.0f} ms, {2000 / twelve:.1f} clips a second;", end=" ")
print(f"the autoencoder: {2000 / all_layers:.1f} clips a second")


# %% [markdown]
# So make the grid small first, and then be generous with channels: compare the first row with the last two. Folding a
# neighbourhood into channels loses nothing by itself. But then the finest grids have few layers or none, and a thin
# line has to be drawn by layers that see the picture in larger cells. Keep that in mind for the error maps.
#
# ## The autoencoder
#
# `vg.models.VideoAutoencoder`, with a VQ in the middle. Patches of 1x2x2 pixels are folded into one vector by a Linear
# layer. Two strided convolutions each halve time, height and width; blocks of 1x3x3, then causal 3x1x1, then a small
# MLP sit between. On the token grid, 4x8x8 pixels to a token, comes the codebook. The decoder goes the other way: a
# Linear layer writes a finer grid, blocks mix it.
#
# Layout: channels last, `(B, t, h, w, D)`, as for the codebook in notebook 02. Strides are free, and need not be
# equal. What they do not divide is padded by repeating the last frame, row or column, and cropped again. A single
# frame is a film as well.

# %%
torch.manual_seed(0)
example = VideoAutoencoder(VideoConfig()).eval()
parts = {"patches": example.embed, "to code": example.to_code, "from code": example.from_code}
parts |= {f"encoder {k}, {type(layer).__name__}": layer for k, layer in enumerate(example.encoder)}
parts |= {f"decoder {k}, {type(layer).__name__}": layer for k, layer in enumerate(example.decoder)}
shapes = {}
for name, part in parts.items():
    part.register_forward_hook(lambda module, given, out, name=name: shapes.update({name: tuple(out.shape)}))
clip = torch.zeros(1, 1, 16, 64, 64)
back, quantized = example(clip)
indices = quantized.indices
for name, shape in shapes.items():  # in the order in which the clip went through them
    print(f"{name:18} {shape}")
print("video", tuple(clip.shape), "-> indices", tuple(indices.shape), "-> video", tuple(back.shape))
print("bits of the clip:", example.raw_bits((16, 64, 64)), "= 256 * log2(1024); as bytes of pixels:", 8 * clip.numel())
for stride in ((2, 8, 8), (8, 4, 8), (1, 8, 4)):
    tiny = VideoAutoencoder(VideoConfig(stride=stride, width=32)).eval()
    for size in ((16, 64, 64), (5, 50, 33), (1, 64, 64)):
        indices = tiny.encode(torch.zeros(1, 1, *size))
        fits = tiny.decode(indices, size).shape[2:] == size
        print(f"stride {stride!s:9} size {size!s:12} -> indices {tuple(indices.shape[1:])!s:12} and back: {fits}")

# %% [markdown]
# ## The loss
#
# The root of the mean squared error of each clip, averaged over the clips; and the commitment loss of the codebook.
# PSNR is the logarithm of this root. Without the root the wild clips, whose errors are largest, would take nearly all
# of the codes; with it a quiet clip weighs about as much. By hand, and `vg`'s.


# %%
def loss_by_hand(model, video):
    quantized = model.quantize(video)
    codes, commitment = quantized.codes, quantized.loss
    error = (model.reconstruct(codes, video.shape[2:]) - video).square().flatten(1).mean(1)  # (B,)
    return (error + 1e-4).sqrt().mean() + commitment  # 1e-4: the root of zero has no slope


batch = truth[:2]
with torch.no_grad():
    print(
        "by hand equals vg's:", torch.allclose(loss_by_hand(example, batch), tokenizer_loss(example, batch), atol=1e-5)
    )

# %% [markdown]
# ## Training, with the codebook in view
#
# Random clips of 16 frames of the training shots, mirrored half of the time and moved by a pixel or two; Muon for the
# kernels of the blocks, AdamW for the rest (`vg.training.muon` says what Muon does).
#
# Two live plots. Above, the loss and the PSNR on a few validation clips, both in dB, with the mean frame of each clip
# as the baseline: backgrounds stand still, so it is a strong one. Below, the codebook while it trains: *usage*, the
# share of the 1,024 codes that occur in the last 20 batches, and *perplexity*, as a share of 1,024. A hook on the
# quantizer keeps the indices of these batches, so looking costs nothing. Watch the beginning. The codes start on
# k-means of the first batch; what happens to them once the encoder begins to move, and do they come back?

# %%
# NBVAL_IGNORE_OUTPUT
size = profile().pick(smoke=64, laptop=64, gpu=256)
large = open_store(source, size=size, frames=amount)  # at 64 pixels this is the store from above
own_train, own_val = split_shots(large.shots, held_out)
own_clips = Clips(large, own_val, frames=16, stride=8)
own_truth = own_clips.take(range(len(own_clips)))
few = own_truth[:: max(1, len(own_truth) // 8)]
floor = float(evaluation.psnr(evaluation.mean_frame(few), few).mean())
torch.manual_seed(0)
own = VideoAutoencoder(VideoConfig(width=profile().pick(smoke=32, laptop=128, gpu=192))).to(device())
recent = deque(maxlen=20)  # indices of the last batches


def remember(module, given, out):
    if module.training:
        recent.append(out[1].detach().cpu())


own.quantizer.register_forward_hook(remember)
print(own.quantizer, f"{sum(p.numel() for p in own.parameters()) / 1e6:.2f} M parameters, mean frame {floor:.2f} dB")


# %%
# NBVAL_IGNORE_OUTPUT
class Panels:
    """Several live plots, one below the other: ``{title: (plot, function from the history to its curves)}``."""

    def __init__(self, panels):
        self.panels = panels

    def update(self, history):
        for plot, curves in self.panels:
            plot.update(curves(history))

    def close(self):
        for plot, _ in self.panels:
            plot.close()


@torch.no_grad()
def rebuild(model, video, batch=8):
    """Encode and decode clips (B, C, T, H, W) on the model's device; the result is on the CPU."""
    where = next(model.parameters()).device
    return torch.cat([model(part.to(where))[0].clamp(-1, 1).cpu() for part in video.split(batch)])


def evaluate(model):
    last = torch.cat(list(recent))
    found = {"PSNR": float(evaluation.psnr(rebuild(model, few), few).mean())}
    return found | {"usage": evaluation.usage(last, 1024), "perplexity": evaluation.perplexity(last, 1024) / 1024}


def decibels(history):
    loss = [(step, 20 * math.log10(2 / value)) for step, value in history["loss"]]  # commitment and all
    return {"training (last batches)": loss, "validation": history.get("PSNR", [])}


def codebook(history):
    return {name: history.get(name, []) for name in ("usage", "perplexity")}


# %%
# NBVAL_IGNORE_OUTPUT
steps = profile().pick(smoke=6, laptop=800, gpu=3000)
plots = Panels([
    (show.LivePlot("Conv3D VQ-VAE", y="PSNR in dB", baselines={"mean frame": floor}), decibels),
    (show.LivePlot("the last 20 batches", y="share of 1,024 codes", baselines={"all": 1}), codebook),
])  # fmt: skip
trained = fit(
    own,
    tokenizer_loss,
    tokenizer_batches(Clips(large, own_train, frames=16), batch=profile().pick(smoke=2, laptop=4, gpu=8)),
    Recipe(steps=steps, lr=2e-3, muon=2e-2, warmup=50, grad_clip=5.0, ema=0.0),
    evaluate=evaluate,
    every=max(2, steps // 20),
    plot=plots,
)
history = trained.history
print(f"{trained.seconds:.0f} s; validation {history['PSNR'][-1][1]:.2f} dB, mean frame {floor:.2f} dB")
print(f"usage {100 * history['usage'][-1][1]:.0f} %, perplexity {1024 * history['perplexity'][-1][1]:.0f} of 1024")

# %% [markdown]
# Codes that are lost at first do not come back at once: one is moved when its running count has fallen to a tenth of the
# average, and at the decay of 0.99 that takes some 230 steps (0.99^230 is 0.1). So look for a jump in usage there.
#
# ## 1,024 words
#
# The same with more steps and a wider network ships with the course. Its card says how many, on what, and what was
# measured.
#
# How often is each word used? Encode the whole film and count. Sorted, on a logarithmic scale, for both tokenizers;
# the dotted line is even use. A flat curve is a codebook well spent. A steep one has a few words for everything and
# many that hardly occur. Where a curve ends before 1,024, the remaining codes occur nowhere in the film.
#
# Are the same words needed for shots that were not trained on? The line below the picture says which share of the
# validation tokens are codes that the training shots also use.


# %%
# NBVAL_IGNORE_OUTPUT
@torch.no_grad()
def tokens_of(model, store, shots):
    """The tokens of shots in one row, and the tubelets that they stand for: (n,), (n, a, b, c)."""
    where, (a, b, c) = next(model.parameters()).device, model.tubelet
    codes, cubes = [], []
    for start, stop in shots:
        clip = store.clip(start, start + (stop - start) // a * a)
        for piece in clip.split(16 * a, dim=2):
            codes.append(model.encode(piece.to(where)).cpu().flatten())
            cubes.append(rearrange(piece[0, 0], "(t a) (h b) (w c) -> (t h w) a b c", a=a, b=b, c=c))
    return torch.cat(codes), torch.cat(cubes)


card = checkpoints.card("video-vqvae-64")
print(f"{card.name}: {card.model}, {sum(p.numel() for p in shipped.parameters()) / 1e6:.1f} M parameters")
pprint.pp(card.facts, width=110, compact=True)
film_codes, cubes = tokens_of(shipped, store, train_shots)
val_codes, _ = tokens_of(shipped, store, val_shots)
both = {"video-vqvae-64": torch.cat([film_codes, val_codes])}
both["trained here"] = tokens_of(trained.model, large, large.shots)[0]
figure, ax = plt.subplots(figsize=(7, 3))
for name, codes in both.items():
    counts = torch.bincount(codes, minlength=1024).sort(descending=True).values.float()
    ax.plot(counts[counts > 0] / len(codes), label=name)
    used, perplexity = 100 * evaluation.usage(codes, 1024), evaluation.perplexity(codes, 1024)
    print(f"{name:16} usage {used:5.1f} %, perplexity {perplexity:6.1f}, {math.log2(perplexity):.2f} of 10 bits")
ax.axhline(1 / 1024, color="#8a8a8a", linestyle=":")
ax.set(yscale="log", xlabel="code, the most frequent first", ylabel="share of all tokens", xlim=(0, 1024))
ax.legend()
plt.show()
known = torch.isin(val_codes, film_codes).float().mean()
print(f"validation tokens whose code occurs in the training shots: {100 * known:.1f} %")

# %% [markdown]
# What do the words mean? Average all tubelets of the training shots that got the same code: a little film of four
# frames of 8x8 pixels. First the 24 codes that occur most. Then, among those that occur at least a few times, the 24
# whose average changes most from its first frame to its last. One column is one code, time runs down. Do you find
# edges that move, as in the toy? Then the codebook has words for motion.

# %%
# NBVAL_IGNORE_OUTPUT
counts = torch.bincount(film_codes, minlength=1024)
sums = torch.zeros(1024, *cubes.shape[1:]).index_add_(0, film_codes, cubes)
average = sums / counts.clamp(min=1).view(-1, 1, 1, 1)  # (K, 4, 8, 8)
change = (average[:, -1] - average[:, 0]).abs().mean((1, 2)) * (counts >= profile().pick(smoke=3, laptop=20, gpu=20))
for title, order in {"most frequent": counts, "most moving": change}.items():
    chosen = order.argsort(descending=True)[:24]
    print(f"{title}: codes {', '.join(map(str, chosen[:8].tolist()))}, ...; {int(counts[chosen].sum())} tokens")
    display(show.grid(average[chosen].transpose(0, 1).flatten(0, 1)[:, None], columns=24, scale=3))

# %% [markdown]
# ## Axial attention
#
# A convolution looks at neighbours. Attention can look anywhere, but every place at every other is `L * L` pairs.
# VideoGPT has *axial* attention in its blocks: a place looks along three lines only, its row, its column, and the same
# place in time; ours looks back only. The cell does the first of them by hand. Each row of the grid is a short
# sequence, and all rows of all frames go through the same layer, as a batch. It is ordinary attention; the only art is
# in the rearranging.
#
# After three such steps, one after another, what can a place see? Measured by derivatives again.

# %%
torch.manual_seed(0)
layer = AxialAttention(32, heads=4).eval()
x = torch.randn(1, 3, 4, 5, 32)  # (B, t, h, w, D)


def attend(line, to_qkv, heads=4):
    """Every place of one line looks at all of it: (L, D) in and out."""
    out = []
    for q, k, v in zip(*(part.chunk(heads, dim=-1) for part in to_qkv(line).chunk(3, dim=-1))):  # each (L, D / heads)
        out.append(torch.softmax(q @ k.T / math.sqrt(q.shape[-1]), dim=-1) @ v)
    return torch.cat(out, dim=-1)


normed = layer.norms[0](x)
by_lines = torch.stack([attend(row, layer.to_qkv[0]) for frame in normed[0] for row in frame])  # (t * h, w, D)
as_batch = layer.along(rearrange(normed, "b t h w d -> (b t h) w d"), 0)
print("line by line equals vg's batch:", torch.allclose(by_lines, as_batch, atol=1e-5))

place = (1, 2, 3)
x.requires_grad_()
(gradient,) = torch.autograd.grad(layer(x)[0][place].sum(), x)
seen = gradient[0].abs().sum(-1) > 0  # (t, h, w)
print("sees all of its own frame:    ", bool(seen[1].all()))
print("sees all of the frame before: ", bool(seen[0].all()))
print("sees nothing of the one after:", not seen[2].any())
for name, (t, h, w) in {"16 frames at 64x64": (4, 8, 8), "64 frames at 256x256": (16, 32, 32)}.items():
    print(f"{name}: {t * h * w} tokens, pairs {(t * h * w) ** 2:,} in full, {t * h * w * (t + h + w):,} along lines")

# %% [markdown]
# Does it pay? The ablation: the same small autoencoder without attention, with one axial block on each side of the
# codebook, and, because attention adds weights and time, with one more convolution block on each side in its place.
# Same steps, same batches. A difference of a tenth of a dB after so few steps is noise of one seed. Mind the usage: 200
# steps end before the first restart of a code, so in all three nine tenths of the codebook are dead. What does it cost in seconds?


# %%
# NBVAL_IGNORE_OUTPUT
def ablate(**changes):
    torch.manual_seed(0)
    width = profile().pick(smoke=16, laptop=96, gpu=128)
    model = VideoAutoencoder(VideoConfig(width=width, **changes)).to(device())
    draw = tokenizer_batches(Clips(store, train_shots, frames=16), batch=profile().pick(smoke=2, laptop=4, gpu=8))
    steps = profile().pick(smoke=3, laptop=200, gpu=1500)
    run = fit(model, tokenizer_loss, draw, Recipe(steps, lr=2e-3, muon=2e-2, warmup=20, grad_clip=5.0, ema=0.0))
    tokens = torch.cat([run.model.encode(part.to(device())).cpu() for part in truth.split(8)])
    quality = float(evaluation.psnr(rebuild(run.model, truth), truth).mean())
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    row = [quality, 100 * evaluation.usage(tokens, 1024), millions, run.seconds / steps]
    return row, run.history["loss"]


kinds = {
    "neither": dict(encoder_depth=1, decoder_depth=1),
    "axial attention": dict(encoder_depth=1, decoder_depth=1, attention=1),
    "one more block of convolutions": dict(encoder_depth=2, decoder_depth=2),
}
ablations = {name: ablate(**changes) for name, changes in kinds.items()}
table({name: row for name, (row, _) in ablations.items()}, ["PSNR", "usage %", "M weights", "s a step"])
show.curves({name: loss for name, (_, loss) in ablations.items()}, "axial attention, ablated", y="loss")

# %% [markdown]
# On a grid of 8x8 places the convolutions reach most of the picture already (see the receptive field), so attention
# may have little left to add. At 256x256, with 32x32 places, that is another question.
#
# ## Looking
#
# Validation clips that neither network has seen, spread over the film: above as they are, below from 256 integers
# each. Then the clip that moves most, with errors: black is none, bright is a quarter of the range from black to
# white. Last, in close-up, the quarter of its frame in which the error is largest.

# %%
# NBVAL_IGNORE_OUTPUT
rebuilt = rebuild(shipped, truth)
three = sorted({round(k * (len(truth) - 1) / 2) for k in range(3)})
pairs = {f"original {k}": truth[k] for k in three} | {f"rebuilt {k}": rebuilt[k] for k in three}
display(show.player(pairs, fps=store.fps, columns=len(three), scale=2))
rows = {"original": truth[fastest]}
if size == 64:
    rows["trained here"] = rebuild(trained.model, truth[fastest : fastest + 1])[0]
rows["video-vqvae-64"] = rebuilt[fastest]
display(show.compare(rows, every=2, scale=1, against="original"))

error = (rebuilt[fastest] - truth[fastest]).square().mean((0, 1))  # (H, W)
coarse = F.avg_pool2d(error[None, None], 32, stride=4)[0, 0]
top, side = (4 * n for n in divmod(int(coarse.argmax()), coarse.shape[1]))
show.strip({name: video[:, :, top : top + 32, side : side + 32] for name, video in rows.items()}, every=2, scale=3)

# %% [markdown]
# ## Where it fails, and when
#
# The error of the whole `scene` in the volume. It is longer than a training clip, and encoded as a whole: time is
# causal. Above, what happens: how much each column changes from frame to frame. Below, where the reconstruction is
# wrong, in grey levels. Across is the column, down is time, rows are averaged. The curve is the mean over the whole
# frame; thin vertical lines are the borders of latent frames.
#
# Do the bright paths of the two pictures agree? A path in the lower one alone is detail that stands still.
#
# The last figure asks whether it helps to have seen more. The decoder may use earlier tokens, so later frames could be
# drawn better than the first. And within a token, are the four frames drawn alike? It shows the PSNR of each of the 16
# frames over all validation clips, beside the mean frame, which knows the whole clip in advance.


# %%
# NBVAL_IGNORE_OUTPUT
def by_frame(video):
    return [float(evaluation.psnr(video[:, :, [k]], truth[:, :, [k]]).mean()) for k in range(truth.shape[2])]


scene_back = rebuild(shipped, scene)
wrong = (scene_back - scene)[0, 0].abs() * 127.5  # (T, H, W) in grey levels
moves = F.pad((scene[0, 0, 1:] - scene[0, 0, :-1]).abs() * 127.5, (0, 0, 0, 0, 1, 0))
figure, axes = plt.subplots(2, 2, figsize=(8.4, 5.4), width_ratios=(1, 1.3))
for (picture, curve), (name, value) in zip(axes, {"change to the last frame": moves, "error": wrong}.items()):
    shown = picture.imshow(value.mean(1), aspect="auto", vmin=0, vmax=30)
    picture.set(title=f"{name} (grey levels)", xlabel="column", ylabel="frame")
    picture.grid(False)
    figure.colorbar(shown, ax=picture)
    curve.plot(value.mean((1, 2)))
    curve.set(title=f"{name}, whole frame", xlabel="frame", ylim=(0, None))
    for border in range(0, len(value), shipped.tubelet[0]):
        curve.axvline(border - 0.5, color="#d0d0d0", linewidth=0.6)
plt.show()
frames = {"video-vqvae-64": by_frame(rebuilt), "mean frame of the clip": by_frame(evaluation.mean_frame(truth))}
show.curves(frames, "each frame of a validation clip", x="frame", y="PSNR (dB)")

# %% [markdown]
# Thin lines and fast limbs: give both a definition. A pixel is *fine* if it differs by more than 20 grey levels from
# the average of the 5x5 pixels around it: lines, eyes, the edge of an edge. It *moves* if it changed by more than 10
# since the frame before. That makes four kinds of pixels. For each: how many there are, by how much the shipped
# tokenizer is wrong (root mean square, grey levels), by how much the mean frame is, and which share of all squared
# error lies there.


# %%
# NBVAL_IGNORE_OUTPUT
def kinds_of(video):
    """(name, mask) of the four kinds; the first frame is left out, as nothing is before it."""
    grey = video * 127.5
    around = F.avg_pool2d(F.pad(grey.flatten(0, 2)[:, None], (2,) * 4, mode="replicate"), 5, 1).view_as(grey)
    fine = ((grey - around).abs() > 20)[:, :, 1:]
    moves = (grey[:, :, 1:] - grey[:, :, :-1]).abs() > 10
    for first, a in (("plain", ~fine), ("fine", fine)):
        for second, b in (("still", ~moves), ("moving", moves)):
            yield f"{first}, {second}", a & b


def failures(videos, against):
    errors = [((video - against)[:, :, 1:] * 127.5).square() for video in videos]
    rows = {}
    for name, mask in kinds_of(against):
        each = [float(error[mask].mean().sqrt()) if mask.any() else math.nan for error in errors]
        rows[name] = [100 * float(mask.float().mean()), *each, 100 * float(errors[0][mask].sum() / errors[0].sum())]
    return rows


columns = ["pixels %", "wrong by", "mean frame", "of error %"]
table(failures([rebuilt, evaluation.mean_frame(truth)], truth), columns)

# %% [markdown]
# Read it by columns. *Wrong by* says where a pixel is in most danger, the last column where there is most to gain.
# They need not name the same row: a kind with few pixels is a small part of the whole, however wrong it is. Against
# the mean frame, the rows that stand still show what 2,560 bits do not hold, and the rows that move what no still
# picture can.
#
# ## Numbers
#
# Everything in one table, on validation clips. *Mean frame* knows each clip's average picture exactly and no motion.
# *Nearest training clip* is what one gets by remembering and never drawing. The last two columns are the PSNR over the
# pixels that move (over 10 grey levels away from their clip's mean) and over the rest. Does the tokenizer pass the
# mean frame? If not, in which of the two columns does it lose?


# %%
# NBVAL_IGNORE_OUTPUT
def quality(video, bits, against=truth):
    moving = (against - evaluation.mean_frame(against)).abs() * 127.5 > 10
    error = (video - against).square()
    parts = [float(10 * torch.log10(4 / error[where].mean())) for where in (moving, ~moving)]
    return [bits, float(evaluation.psnr(video, against).mean()), float(evaluation.ssim(video, against).mean()), *parts]


bank = Clips(store, train_shots, frames=16, stride=4)
rows = {
    "mean frame": quality(evaluation.mean_frame(truth), math.nan),
    "nearest training clip": quality(evaluation.nearest_clip(truth, bank), math.nan),
    f"trained here, {size} pixels": quality(
        rebuild(trained.model, own_truth), own.raw_bits(own_truth.shape[2:]), own_truth
    ),
    "video-vqvae-64": quality(rebuilt, shipped.raw_bits(truth.shape[2:])),
}
table(rows, ["bits a clip", "PSNR dB", "SSIM", "moving dB", "still dB"])

# %% [markdown]
# A token is stored in 10 bits; how many it carries when the codebook is not used evenly, the lines above the histogram
# say. What the *learned* codebook is worth against a fixed grid of the same number of codes is the subject of notebook
# 04, with real codecs beside both.
#
# ## Exercises
#
# Each has a check that says what is off. Solutions are folded below.
#
# **1. The bill** (easy, 5 minutes). Write `products(grid, kernel, d_in, d_out)`: how many products a convolution
# takes, forward. `grid` is the (T, H, W) that comes *out*, `kernel` its (a, b, c).


# %%
def products(grid, kernel, d_in, d_out):
    return None  # your turn


def check_products(function):
    got = function((16, 64, 64), (3, 3, 3), 32, 32)
    if got is None:
        return "not yet: products returns None"
    right = 16 * 64 * 64 * 27 * 32 * 32
    if got == right // 32:
        return "one factor of 32 is missing: every output channel looks at every input channel"
    if got == right // 27:
        return "the kernel is missing: each output adds up a whole box"
    if got != right:
        return f"got {got:,} for 3x3x3, 32 to 32 channels, on 16x64x64; expected {right:,}"
    if function((4, 8, 8), (1, 3, 3), 96, 192) != 256 * 9 * 96 * 192:
        return "right for equal channels, wrong for 96 in and 192 out"
    return "right"


print(check_products(products))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def products(grid, kernel, d_in, d_out):
#     return math.prod(grid) * math.prod(kernel) * d_in * d_out
#
# products((16, 64, 64), (3, 3, 3), 32, 32) / products((4, 8, 8), (3, 3, 3), 32, 32)  # pixels against tokens: 256
# ```
#
# </details>
#
# **2. A kernel for any speed** (medium, 15 minutes). Write `edge_kernel(speed)`: a kernel `(3, n)` of frames and
# columns, n as large as you need, for an edge, dark on the left and bright on the right, that moves `speed` pixels a
# frame; positive is to the right; speeds are -2 to 2. On clips with speeds -2, -1, 0, 1, 2 its strongest answer has to
# be the one to its own speed, and a clip of one grey has to give 0. The path has to fit: at speed 2 it covers five
# columns.


# %%
def edge_kernel(speed):
    return None  # your turn


def strongest(kernel, speed):
    """Its strongest answer to an edge that moves ``speed`` pixels a frame."""
    video = torch.stack([torch.where(torch.arange(60) >= 30 + speed * t, 1.0, -1.0) for t in range(8)])  # (T, W)
    return float(F.conv2d(video[None, None], kernel.float()[None, None]).max())


def check_edges(function):
    if function(0) is None:
        return "not yet: edge_kernel returns None"
    for speed in range(-2, 3):
        kernel = function(speed)
        if kernel.dim() != 2 or len(kernel) != 3:
            return f"speed {speed}: the shape is {tuple(kernel.shape)}, expected (3, n)"
        if abs(float(kernel.sum())) > 1e-4:
            return f"speed {speed}: the numbers add up to {float(kernel.sum()):.2f}, so plain grey gives an answer too"
        answers = {v: round(strongest(kernel, v), 3) for v in range(-2, 3)}
        best = max(answers, key=answers.get)
        if best == -speed and speed:
            return f"speed {speed}: strongest for {best}. Does your path run the other way? {answers}"
        if sum(value == answers[best] for value in answers.values()) > 1:
            return f"speed {speed}: several speeds tie, {answers}. Punish columns that are off the path"
        if best != speed:
            return f"speed {speed}: strongest for {best}: {answers}"
    return "right"


print(check_edges(edge_kernel))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def edge_kernel(speed, reach=2):
#     line = torch.full((3, 2 * reach + 1), -1.0)  # off the path: punished
#     for t in range(3):
#         line[t, reach + speed * (t - 1)] = 2 * reach  # on the path: every row adds up to 0
#     kernel = F.pad(line, (1, 0)) - F.pad(line, (0, 1))  # the difference to the left neighbour
#     return F.pad(kernel, (0, 1))
# ```
#
# </details>
#
# **3. How far a stack reaches** (medium, 15 minutes). Write `reach(layers)`: `layers` is a list of `(kernel, stride)`
# from the input on. Return how many inputs one output depends on, and how many inputs lie between two neighbouring
# outputs.


# %%
def reach(layers):
    return None  # your turn


def check_reach(function):
    if function([(3, 1)]) is None:
        return "not yet: reach returns None"
    if tuple(function([(3, 1), (3, 1)])) != (5, 1):
        return f"two layers of kernel 3 see 5 inputs, steps of 1; got {function([(3, 1), (3, 1)])}"
    got = tuple(function([(3, 2), (3, 1)]))
    if got == (5, 2):
        return "after a stride of 2 a kernel of 3 reaches over places that lie 2 apart: (3 - 1) * 2 more, not 2"
    if got == (9, 2) or got == (11, 2):
        return "the stride of a layer widens the layers after it, not its own kernel"
    if got != (7, 2):
        return f"kernel 3 with stride 2, then kernel 3: 7 inputs, steps of 2; got {got}"
    stack = [(k, s) for k, s in ((1, 1), (3, 2), (3, 1), (3, 2), (3, 1), (3, 1))]  # the encoder's, in time
    got = tuple(function(stack))
    return "right" if got == (27, 4) else f"the encoder's layers in time see 27 frames, tokens are 4 apart; got {got}"


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
# **4. Backwards** (medium, 15 minutes). Does a codebook of clips know time? Write `reverse_test(model, video)`: encode
# the clip, play it backwards, encode again. Return the share of tokens that are *equal* to the forward ones at the
# place that shows the same frames (latent frame k forwards is latent frame -1 - k backwards), as a float. A
# tokenizer that only knew pictures would give most tokens a second time.


# %%
def reverse_test(model, video):
    return None  # your turn


class Brightness:
    """A tokenizer that knows no time: each token is the mean grey of its tubelet, in eight steps."""

    tubelet = (4, 8, 8)

    def encode(self, video):
        means = F.avg_pool3d(video, self.tubelet)[:, 0]  # (B, t, h, w)
        return ((means + 1) * 4).long().clamp(0, 7)


class FirstFrame(Brightness):
    """A tokenizer that looks at the first of its four frames alone."""

    def encode(self, video):
        return super().encode(video[:, :, ::4].repeat_interleave(4, dim=2))


def check_reverse(function):
    video = torch.randn(2, 1, 16, 32, 32, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    video = F.avg_pool3d(video, (1, 4, 4)).repeat_interleave(8, 3).repeat_interleave(8, 4)[..., :32, :32] * 2
    got = function(Brightness(), video)
    if got is None:
        return "not yet: reverse_test returns None"
    plain = float((Brightness().encode(video.flip(2)) == Brightness().encode(video)).float().mean())
    if abs(float(got) - plain) < 1e-6:
        return "you compare place by place: backwards, the last latent frame shows what the first one showed"
    if abs(float(got) - 1) > 1e-6:
        return f"for tokens that know no time all should be equal, got {float(got):.3f}. Is the time axis number 2?"
    tokens, backwards = FirstFrame().encode(video), FirstFrame().encode(video.flip(2)).flip(1)
    wanted = float((tokens == backwards).float().mean())
    off = abs(float(function(FirstFrame(), video)) - wanted)
    return "right" if off < 1e-6 else f"off by {off:.3f} for tokens that look at their first frame"


print(check_reverse(reverse_test))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def reverse_test(model, video):
#     forwards, backwards = model.encode(video), model.encode(video.flip(2)).flip(1)
#     return float((forwards == backwards).float().mean())
#
# still = (truth[:, :, 1:] - truth[:, :, :-1]).abs().flatten(1).mean(1).argsort()
# for name, which in {"quietest": still[:4], "liveliest": still[-4:]}.items():
#     print(name, reverse_test(shipped, truth[which].to(device())))
# ```
#
# The encoder is causal, so a token also depends on what came before; backwards that is what comes after. For clips
# that stand still only the start differs.
#
# </details>
#
# ## Summary
#
# - A clip is a volume. Motion is an edge at an angle in it, and one 3-D kernel can tell one direction from another.
# - Conv3D is Conv2D with one loop more. Padded on the past side alone it is causal.
# - A 2-D kernel put into the last frame of a 3-D one does what it did before; time is learned from there. Whether that
#   pays depends on who has paid for the first phase: the table above asks both ways, and here it hardly does.
# - What a token may see follows from kernels and strides. What it does see is less, and can be measured.
# - The cost of a convolution is places times kernel times channels squared. Make the grid small first.
# - A codebook is watched by usage and perplexity while it trains, and read by averaging what its words stand for.
# - A mean hides where an error lies. Divide it: in time, by frame, by what is fine and what moves. Beside each number
#   stands the mean frame.
#
# **Next:** [04 Conv3D FSQ-VAE](04_video_fsq_vae.ipynb) takes the codebook out and puts a fixed grid in its place.
#
# ## References
#
# - Yan, Zhang, Abbeel, Srinivas: *VideoGPT: Video Generation using VQ-VAE and Transformers*, 2021, arXiv:2104.10157,
#   section 3.1.
# - van den Oord, Vinyals, Kavukcuoglu: *Neural Discrete Representation Learning* (VQ-VAE), 2017, arXiv:1711.00937.
# - Arnab, Dehghani, Heigold, Sun, Lučić, Schmid: *ViViT: A Video Vision Transformer*, 2021, arXiv:2103.15691, section
#   3.4.
# - Carreira, Zisserman: *Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset* (I3D, inflated kernels),
#   2017, arXiv:1705.07750.
# - Luo, Li, Urtasun, Zemel: *Understanding the Effective Receptive Field in Deep Convolutional Neural Networks*, 2016,
#   arXiv:1701.04128.
# - Yu and others: *Language Model Beats Diffusion: Tokenizer is Key to Visual Generation* (MAGVIT-v2, causal 3-D
#   convolutions), 2023, arXiv:2310.05737.
# - Ho, Kalchbrenner, Weissenborn, Salimans: *Axial Attention in Multidimensional Transformers*, 2019,
#   arXiv:1912.12180.
