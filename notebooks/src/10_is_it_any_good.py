# %% [markdown]
# # 10 Is it any good?
#
# [08 Generation](08_generation.ipynb) made video. Single clips persuade too easily, so here they are measured: many
# clips, none chosen, the numbers beside others to compare them with, many with an interval that says how much
# of them is luck.
#
# **After this notebook you will be able to**
# - show a sheet of clips that nobody chose;
# - put an interval on a mean over clips, by a bootstrap over shots;
# - say how teacher-forced and free-running prediction differ, and measure how errors grow;
# - compute a Frechet distance, say why few clips make it too large, and take that away;
# - ask whether a clip is new, or a training clip remembered;
# - put bits in place of opinions: the prior as half of a codec, beside real ones, for film and for images.
#
# **You need** notebook 08 and the shipped weights. **Study:** about 3 hours, tasks included. **Computing:** about 8 minutes
# on a two-core laptop. Nothing is trained.
#
# **Before:** [09 One model, many tasks](09_one_model_many_tasks.ipynb). **Next:** [11 Your own film](11_your_own_film.ipynb).
#
# The shipped prior makes clips of any shape, as notebook 09 shows. Here the film is squeezed to squares, as in notebook 08, and
# `.at((16, 16))` is the same prior, with the same weights, for squares of 16 x 16 tokens. A token stands for 8 frames of 4 x 4
# pixels. It holds two patches of 4 frames, one after the other, in twelve digits (notebook 05).

# %%
# NBVAL_IGNORE_OUTPUT
import io
import math

from vg import checkpoints, evaluation, show
from vg.data import Clips, cifar10, film, open_store, split_shots
from vg.data.images import ImageSet
from vg.evaluation.codecs import available, code_clips
from vg.evaluation.damage import where_it_moves
from vg.evaluation.figures import figure_facts, moving_parts
from vg.evaluation.generated import describe, shuffled
from vg.latents.search import search_codes
from vg.profiles import device, profile
from vg.progress import tqdm
from vg.sampling import SAMPLING, filter_logits, generate_tokens, sample_images

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from IPython.display import display
from PIL import Image

show.style()
settings = profile().settings(  # smoke, laptop, gpu
    film_frames=(240, None, None),  # None: all of them
    held_out=(0.35, 0.1, 0.1),  # share of the frames
    total=(24, 48, 48),  # frames of a clip, the prompt included
    half=(2, 12, 12),  # clips of each kind on the sheet
    stretches=(20, None, None),  # of the film, for the Frechet distance
    apart=(4, 48, 48),  # frames from the start of one to the next
    stride=(4, 2, 1),  # of the training clips that are searched
    coded=(1, 4, 8),  # clips for the codecs
    copies=(2, 3, 16),  # clips for each choice of the options
    images=(64, 1024, 4096),  # test images, a square number
    new_images=(4, 32, 100),
)
print(f"profile {profile().name}, device {device()}")

# %%
# NBVAL_IGNORE_OUTPUT
tokenizer = checkpoints.load("tubelet-fsq-64", device=device())
prior = checkpoints.load("prior-64", device=device()).at((16, 16))
store = open_store(film(), size=64, frames=settings.film_frames)
split = split_shots(store.shots, settings.held_out)
train_shots, val_shots = split.train, split.held_out
span, GIVEN, TOTAL = tokenizer.tubelet[0], 2, settings.total  # GIVEN: latent frames of a prompt
PROMPT = GIVEN * span
NEW = TOTAL - PROMPT
print(f"{len(train_shots)} training shots, {len(val_shots)} held-out shots")
print(f"a token: {span} frames of {tokenizer.tubelet[1:]} pixels, {len(prior.levels)} digits")

# %% [markdown]
# ## A sheet, none chosen
#
# Continuations of held-out shots and of training shots, all from one call with a fixed seed. The prompts were drawn with a seed
# too. A continuation of a training shot can be memory; one of a held-out shot only where a training shot shows the same scene.


# %%
# NBVAL_IGNORE_OUTPUT
def random_prompts(shots, count, seed):
    """Random clips of TOTAL frames (count, C, T, H, W), and the shot of each, [shot]."""
    clips = Clips(store, shots, frames=TOTAL, stride=4)
    order = torch.randperm(len(clips), generator=torch.Generator().manual_seed(seed))[:count]
    firsts = [int(clips.starts[k]) for k in order]
    return clips.take(order.tolist()), [shot_of(first) for first in firsts]


def shot_of(frame):
    """The number of the shot that a frame is in."""
    return next(k for k, (a, b) in enumerate(store.shots) if a <= frame < b)


@torch.no_grad()
def decoded(indices):
    return torch.cat([tokenizer.decode(part).cpu() for part in indices.split(8)])


@torch.no_grad()
def encoded(video):
    return torch.cat([tokenizer.encode(part.to(device())) for part in video.split(8)])


SEED = 0
sides = [random_prompts(shots, settings.half, seed=1) for shots in (val_shots, train_shots)]
half = len(sides[0][0])
true_clips, shot_numbers = torch.cat([clips for clips, _ in sides]), sides[0][1] + sides[1][1]
true_tokens = encoded(true_clips)  # (B, t, h, w)
free_tokens = generate_tokens(
    prior, true_tokens[:, :GIVEN], TOTAL // span, seed=SEED, batch=len(true_tokens), **SAMPLING
)
free, smooth = decoded(free_tokens), decoded(true_tokens)
for kind, first in {"held out": 0, "train": half}.items():
    for six in torch.arange(first, first + half).split(6):
        sheet = {f"{kind} {k}": free[k] for k in six.tolist()}
        display(show.player(sheet, fps=store.fps, scale=2, columns=6, given=PROMPT))

# %% [markdown]
# Count for yourself how many stay in their scene, and how many of these move. A number to go with the eye: *motion*, the
# mean absolute difference of neighbouring frames in grey levels (0 to 255), `evaluation.steps`. It cannot tell good motion
# from bad, but it does tell too little from too much. The fair comparison is the film after it went through the tokenizer.
#
# ## How much is luck? Intervals by shot
#
# A dozen clips are a sample. How far would the mean move with another sample? The *bootstrap* answers: draw as many
# again from those we have, with replacement, many times, and look at the spread of the means. Clips of one shot are
# alike, so they are not independent: draw *shots*, and take all clips of each. Drawing single clips would make the
# interval too narrow.

# %% [markdown] tags=["student"]
# **Your part: an interval over shots** (medium, 20 minutes). Write `interval(values, groups, times, seed)`: `values` is `(N,)`, one
# number for each clip; `groups` the shot of each, a list of `N` integers. Each time draw as many shots as there are, with
# replacement; take the mean over all clips of the shots drawn (a shot drawn twice counts twice). Return the 2.5% and the
# 97.5% quantile of the means, as two floats.
#
# <details><summary>Hint 1</summary>
#
# For each shot its sum and its number of clips are all you need: the mean is the sum of the sums over the sum of the numbers.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `torch.randint(S, (times, S), generator=...)` draws all shots of all times at once, where `S` is the number of shots.
#
# </details>


# %% tags=["task"]
def interval(values, groups, times=2000, seed=0):
    """The 95% interval of the mean of values (N,), by a bootstrap over groups: (low, high)."""
    ### BEGIN SOLUTION
    names = sorted(set(groups))
    members = torch.tensor([[float(g == name) for g in groups] for name in names])  # (S, N)
    sums, counts = members @ values.float().cpu(), members.sum(1)
    dice = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(names), (times, len(names)), generator=dice)  # (times, S)
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = means.quantile(torch.tensor([0.025, 0.975])).tolist()
    return low, high
    ### END SOLUTION


# %% tags=["grader"]
def check_interval(function):
    dice = torch.Generator().manual_seed(0)
    shots = [k // 10 for k in range(200)]  # 20 shots of 10 clips, alike within a shot
    levels = torch.randn(20, generator=dice)
    values = levels.repeat_interleave(10) + 0.1 * torch.randn(200, generator=dice) + 5
    try:
        got = function(values, shots, 2000, 0)
        low, high = (float(x) for x in got)
    except Exception as error:
        return f"expected two numbers; {type(error).__name__}: {error}"
    width = 3.92 * float(levels.std()) / math.sqrt(20)  # what the normal distribution says
    if not low < float(values.mean()) < high:
        return f"({low:.2f}, {high:.2f}) does not hold the mean: low first, quantiles of the means"
    if high - low < width / 2:
        return "too narrow: clips were drawn one by one. Draw shots, and all clips of each"
    if high - low > 2 * width:
        return "too wide: that is the spread of the shots. Draw as many as there are, take the mean"
    if high - low < 0.9 * width * 0.93:
        return "a little too narrow: is it the 2.5% and the 97.5% quantile?"
    uneven = function(torch.tensor([0.0] * 9 + [1.0]), [0] * 9 + [1], 2000, 0)
    if not (float(uneven[0]) < 0.01 and float(uneven[1]) > 0.99):
        return "two shots: sometimes the same is drawn twice. Is it with replacement?"
    return "right: as wide as the shots make it"


print(check_interval(interval))


# %%
# NBVAL_IGNORE_OUTPUT
def away(video):
    """(B,): how far the last frame is from the prompt's last, grey levels."""
    return (video[:, :, -1] - video[:, :, PROMPT - 1]).abs().flatten(1).mean(1) * 127.5


def moving(video):
    """(B, C, T, H, W) -> (B,): grey levels a frame, after the prompt."""
    return evaluation.steps(video[:, :, PROMPT - 1 :]).mean(1)


def with_interval(values, groups):
    low, high = interval(values, groups)
    return f"{float(values.mean()):6.2f} ({low:.2f} to {high:.2f})"


kinds = {"held out": slice(0, half), "training": slice(half, None)}
for name, measure in {"motion": moving, "away": away}.items():
    for kind, part in kinds.items():
        for what, video in {"made": free, "film": smooth}.items():
            said = with_interval(measure(video)[part], shot_numbers[part])
            print(f"{name}, {kind}, {what}: {said}")
        paired = measure(free)[part] - measure(smooth)[part]
        print(f"    made less film, clip by clip: {with_interval(paired, shot_numbers[part])}")

# %% [markdown]
# Compare like with like: the last line of each block is *paired*, each clip with the film it continues, so how different
# shots are drops out. An interval that holds 0 says that the two cannot be told apart with so few shots. *Away* is large for a
# clip that dissolves and small for one that freezes.
#
# <details><summary>What the stored run shows</summary>
#
# Most clips stay in their scene, and something moves in nearly all. A few figures keep their shape (held out 0, 4 and 11, train 17), mostly
# those that move little; the others turn into blots. Three of the four paired intervals hold 0. That of *motion* on training prompts lies just above
# it: there the continuations move more than the film, and what moves are mostly blots. Neither number can tell these from figures.
#
# </details>
#
# Is it also the *right* motion? Of a continuation nobody can say, since many futures are possible. But a reconstruction should
# move what the film moves. `evaluation.step_correlation` asks that: it is the correlation between what changes from each frame to the
# next and what truly does, 1 for the film itself. The film one frame late moves as much as the film, at the wrong moment.

# %%
# NBVAL_IGNORE_OUTPUT
late = true_clips[:, :, [0, *range(TOTAL - 1)]]
reconstructions = {"the film": true_clips, "one frame late": late, "through the tokenizer": smooth}
print(f"{'':24}{'motion':>8}{'correlation':>13}")
for name, video in reconstructions.items():
    alike = evaluation.step_correlation(video, true_clips).nanmean()
    print(f"{name:24}{float(evaluation.steps(video).mean()):8.2f}{float(alike):13.2f}")

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# One frame late has as much motion as the film, and a correlation below 0: much of what moves one way in old film moves back in the next
# frame. The amount alone would not have shown that. The tokenizer loses a part of the motion; what it keeps is mostly what the film moves.
#
# </details>
#
# ## Teacher-forced and free-running
#
# In training the prior predicts the next token from the *true* past: *teacher forcing*. When it generates, it reads what it
# wrote itself. A prior can be good at the first and poor at the second, and no loss curve shows that.
#
# ```
# teacher-forced     true  true  true  true  ?        each draw sees the true tokens, and is then thrown away
# free-running       true  true  mine  mine  ?        each draw sees the draws before it
# ```
#
# Put them side by side, with the same noise, temperature and top-p. Teacher forcing needs no loop: one pass gives all hidden states.
# (Guidance by history would need a second, so it is left out here, on both sides.)


# %%
def pick(scores, u):
    """Draw from logits (N, V) with uniform noise (N, V): (N,)."""
    u = u[:, : scores.shape[-1]].clamp(1e-9, 1 - 1e-7)
    scores = filter_logits(scores / SAMPLING["temperature"], top_p=SAMPLING["top_p"])
    return (scores - torch.log(-torch.log(u))).argmax(-1)


@torch.no_grad()
def teacher_forced(truth, given, seed):
    """Each token after ``given`` latent frames, drawn given the true past: (B, t, h, w)."""
    skip, shape = given * prior.tokens_per_latent_frame, (len(prior.levels), max(prior.levels))
    states = torch.cat([prior.hidden(prior.digits(p))[:, skip:] for p in truth.split(4)])
    noise = []
    for b in range(len(truth)):  # the noise that generate_tokens uses
        dice = torch.Generator().manual_seed(seed + b)
        noise += [torch.rand(shape, generator=dice) for _ in range(states.shape[1])]
    rows = iter(torch.stack(noise).to(device()).unbind(1))
    digits = prior.head.sample(states.flatten(0, 1), lambda scores: pick(scores, next(rows)))
    drawn = prior.quantizer.indices(digits).view(len(truth), -1, *prior.grid)
    return torch.cat([truth[:, :given], drawn], dim=1)


unguided = SAMPLING | {"history": 1.0, "seed": SEED, "batch": len(true_tokens), "progress": False}
loose_tokens = generate_tokens(prior, true_tokens[:, :GIVEN], TOTAL // span, **unguided)
forced_tokens = teacher_forced(true_tokens, GIVEN, SEED)
loose, forced = decoded(loose_tokens), decoded(forced_tokens)
first = (slice(None), GIVEN, 0, 0)
same_first = torch.equal(forced_tokens[first], loose_tokens[first])
print("the first draw has the same past in both, and is the same:", same_first)
print("the last latent frames are the same:", torch.equal(forced_tokens[:, -1], loose_tokens[:, -1]))

# %%
# NBVAL_IGNORE_OUTPUT
copied = true_clips[:, :, [min(k, PROMPT - 1) for k in range(TOTAL)]]
versions = {
    "film": true_clips[0],
    "teacher-forced": forced[0],
    "free-running": loose[0],
    "last frame, copied": copied[0],
}
show.player(versions, fps=store.fps, given=PROMPT)

# %% [markdown]
# The teacher-forced clip is no video that anybody could make: at every token it saw how the film went on. Its samples do not see
# each other, so neighbouring patches need not fit: here it looks more broken than the free-running one. The fourth is the baseline
# for every continuation: the last frame, copied.
#
# How errors grow: the mean absolute difference from the film. The tokenizer's own error is the floor. A figure that
# moves differently from the film is farther from it than one that stands still, so free-running above the copied frame need not
# be bad. But it must not run away.


# %%
# NBVAL_IGNORE_OUTPUT
def error_by_frame(video):
    """Distance from the film in each new latent frame: [(frame, grey levels), ...]."""
    error = (video - true_clips).abs().mean((0, 1, 3, 4))[PROMPT:] * 127.5  # (NEW,)
    parts = enumerate(error.split(span))
    return [(PROMPT + span * k + span // 2, float(part.mean())) for k, part in parts]


sets = {"free-running": loose, "teacher-forced": forced, "last frame, copied": copied}
errors = {name: error_by_frame(video) for name, video in (sets | {"tokenizer": smooth}).items()}
show.curves(errors, "distance from the film", x="frame", y="grey levels")

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# Free-running is farther from the film than teacher-forced from the first new latent frame on, for within it, too, teacher-forced sees the
# film's tokens. With the true past the error stays level, with its own it grows, by about as much as that of the copied frame, which is
# nearer to the film than free-running all the time. So by this measure alone, standing still is the better guess, which is why it cannot
# be the only one.
#
# </details>
#
# As the prior sees it, here is what its own tokens cost, latent frame by latent frame, beside the film's. A line that falls tells of
# a video that becomes ever simpler; one that climbs, of a video that leaves what the prior knows. (These are the tokens of the sheet,
# sampled with history. Top-p and history alone save some bits.)


# %%
# NBVAL_IGNORE_OUTPUT
@torch.no_grad()
def bits(indices):
    """Bits of each token, (B, t, h, w), as the prior sees it."""
    return torch.cat([prior.nll_bits(part).cpu() for part in indices.split(4)])


cost = {"the sheet's tokens": bits(free_tokens), "the film's tokens": bits(true_tokens)}
lines = {name: each.mean((0, 2, 3)).tolist() for name, each in cost.items()}
show.curves(lines, "what the tokens cost", x="latent frame (two are given)", y="bits a token")

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# From the first sampled latent frame on, the sheet's tokens cost less than the film's, and less with every latent frame, while the
# film's stay about level. Top-p and history are a part of that. So by the prior's own measure these clips become ever simpler; that
# figures come apart in them it does not see.
#
# </details>
#
# ### A past with mistakes in it
#
# Replace a share of the tokens that the prior *sees* by tokens of other places, and ask what the true next tokens cost it then. The
# worry is *exposure bias* (arXiv:1511.06732): a model that has seen only flawless pasts may be thrown off by its own first
# mistakes. This prior was trained with up to a tenth of its past replaced. No prior was trained here without that, so the
# curve shows how steep it is, not what the training bought.

# %%
# NBVAL_IGNORE_OUTPUT
harm, dice = [], torch.Generator().manual_seed(0)
few = true_tokens[:half].cpu()
for share in tqdm((0.0, 0.05, 0.1, 0.2, 0.4)):
    others = few.flatten()[torch.randint(few.numel(), few.shape, generator=dice)]
    seen = torch.where(torch.rand(few.shape, generator=dice) < share, others, few)
    pairs = zip(few.to(device()).split(4), seen.to(device()).split(4))
    with torch.no_grad():
        each = torch.cat([prior.nll_bits(part, given=given) for part, given in pairs])
    harm.append((share, float(each.mean())))
unknown = {"raw": tokenizer.raw_bits((span, 64, 64)) / prior.tokens_per_latent_frame}  # without a prior
show.curves({"held-out clips": harm}, x="share replaced", y="bits a token", baselines=unknown)

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# The cost rises slowly and almost evenly. With a tenth replaced, as in the worst of training, it is less than half a bit per token more;
# with two fifths, more than it was ever trained for, the prior is still far below raw. No first mistake throws it off.
#
# </details>
#
# ## How far from the film? A Frechet distance
#
# A continuation is not meant to be that clip of the film; it should be *like* the film. So compare sets. A small network
# (`film-features`) turns each clip into 64 numbers; it was trained to name the film's shots and to tell in which order
# frames are. Pretend that both sets of numbers are normal distributions, with means $m$ and covariances $S$:
#
# $$ d^2 = |m_1 - m_2|^2 + \operatorname{tr}\!\left(S_1 + S_2 - 2\,(S_1 S_2)^{1/2}\right) $$
#
# FVD (arXiv:1812.01717) is this with a large network for colour video. The film, all of its shots, is cut into
# stretches. Every second one is *real*; the others give the prompts, and the film's own continuation of those is the *floor*: how small
# the number can get. (Most stretches are of training shots, so memory counts in the prior's favour.)

# %% [markdown] tags=["student"]
# **Your part: the distance** (medium, 15 minutes). Write `frechet(a, b)` for features `(N, D)` and `(M, D)`, as a float. In
# double precision: the root is sensitive.
#
# <details><summary>Hint 1</summary>
#
# `torch.cov` wants `(D, N)`: transpose. The trace of $(S_1 S_2)^{1/2}$ is the sum of the roots of the eigenvalues of $S_1 S_2$.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `torch.linalg.eigvals(s @ t).real.clamp(min=0).sqrt().sum()`; the eigenvalues are real and not negative but for rounding.
#
# </details>


# %% tags=["task"]
def frechet(a, b):
    """The Frechet distance between features (N, D) and (M, D), squared as FID is."""
    ### BEGIN SOLUTION
    a, b = a.double(), b.double()
    s, t = torch.cov(a.T), torch.cov(b.T)
    root = torch.linalg.eigvals(s @ t).real.clamp(min=0).sqrt().sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + s.trace() + t.trace() - 2 * root)
    ### END SOLUTION


# %% tags=["grader"]
def check_frechet(function):
    dice = torch.Generator().manual_seed(0)
    a, b = torch.randn(40, 6, generator=dice), 2 * torch.randn(30, 6, generator=dice) + 1
    want = evaluation.frechet_distance(a, b)
    try:
        got = float(function(a, b))
    except Exception as error:
        return f"expected one number; {type(error).__name__}: {error}"
    gap = float((a.mean(0) - b.mean(0)).double().square().sum())
    spreads = float(torch.cov(a.T).trace() + torch.cov(b.T).trace())
    if math.isclose(got, want, rel_tol=1e-4):
        return "right: as vg.evaluation.frechet_distance"
    if math.isclose(got, gap, rel_tol=1e-3):
        return "only the means are compared: the covariances are missing"
    if math.isclose(got, gap + spreads, rel_tol=1e-3):
        return "the last term, 2 tr (S1 S2)^(1/2), is missing"
    if math.isclose(got, math.sqrt(want), rel_tol=1e-3):
        return "that is the root of it: by convention it stays squared"
    if math.isclose(got, gap + (spreads + want - gap) / 2, rel_tol=1e-2):
        return "the last term is taken once: it has a factor of 2"
    return f"another number, {got:.3f} for {want:.3f}: is the covariance over clips, (D, D)?"


print(check_frechet(frechet))

# %%
# NBVAL_IGNORE_OUTPUT
features = checkpoints.load("film-features", device=device())
cuts = Clips(store, store.shots, frames=TOTAL, stride=settings.apart)
count = min(len(cuts), settings.stretches or len(cuts)) // 2 * 2
real, halves = cuts.take(range(1, count, 2)), cuts.take(range(0, count, 2))


def averaged(video, frames):
    """Every frame the mean of so many around it."""
    padded = F.pad(video, (0, 0, 0, 0, frames // 2, frames // 2), mode="replicate")
    return F.avg_pool3d(padded, (frames, 1, 1), stride=1)


half_tokens = encoded(halves)
made_tokens = generate_tokens(prior, half_tokens[:, :GIVEN], TOTAL // span, seed=SEED, batch=len(halves), **SAMPLING)
candidates = {
    "the film's other half": halves,
    "through the tokenizer": decoded(half_tokens),
    "mean of 5 frames": averaged(halves, 5),
    "continued by the prior": decoded(made_tokens),
    "last frame, copied": halves[:, :, [min(k, PROMPT - 1) for k in range(TOTAL)]],
    "frames shuffled": torch.cat([halves[:, :, :PROMPT], shuffled(halves[:, :, PROMPT:])], 2),
}

# %% [markdown]
# ### Too large for few clips
#
# Means of few clips are a little off, and covariances, of which there are many, more so. The distance adds all of that up. So two
# sets of one kind are far apart if they are small. Try it where the truth is known to be 0: normal random numbers in place of
# features, in two halves, each as large as the film's sets.
#
# The excess is about $c / n$, a constant divided by the number of clips (Chong and Forsyth, 2020, arXiv:1911.07023). So compute the
# distance of random parts of the two halves, half of them to all, draw a line through the distances over $1/n$, and follow it
# to $1/n = 0$: endlessly many clips. `evaluation.unbiased_frechet` does that.

# %%
# NBVAL_IGNORE_OUTPUT
known = describe(features, real[:, :, PROMPT:])  # a row of 64 for every 16 new frames
n, dice = len(known), torch.Generator().manual_seed(0)
one, other = torch.randn(2 * n, known.shape[1], generator=dice).split(n)
sizes = [round(n * tenths / 10) for tenths in range(5, 11) for _ in range(16)]
over, plain = [1 / size for size in sizes], []
for size in sizes:
    parts = [half_of[torch.randperm(n, generator=dice)[:size]] for half_of in (one, other)]
    plain.append(frechet(*parts))
slope, endless = np.polyfit(over, plain, 1)
print(f"all {n} of either: {frechet(one, other):.1f}; endlessly many, by the line: {endless:.1f}")
print(f"evaluation.unbiased_frechet: {evaluation.unbiased_frechet(one, other):.1f}; the truth: 0")

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
figure, ax = plt.subplots(figsize=(6.4, 3))
ax.plot(over, plain, ".", label="random parts of the two halves")
ax.plot([0, max(over)], [endless, endless + slope * max(over)], label="the line through them")
ax.set(title="two halves of one set", xlabel="1 / n", ylabel="Frechet distance")
ax.legend()
plt.show()

# %% [markdown]
# An estimate errs to both sides, so it can be below 0. Its standard error, `evaluation.frechet_error`, comes from a *jackknife*: leave
# out a tenth of the stretches, compute again, do so for each tenth, and see how far the results spread. (A bootstrap will not do
# here. It draws clips twice, which makes a set smaller than it looks, and small sets are the trouble.)

# %%
# NBVAL_IGNORE_OUTPUT
far = {}
for name, video in tqdm(candidates.items()):
    found = describe(features, video[:, :, PROMPT:])
    unbiased = evaluation.unbiased_frechet(found, known)
    error = evaluation.frechet_error(found, known, len(real))
    far[name] = evaluation.frechet_distance(found, known), unbiased, error
print(f"{'':24}{'plain':>8}{'unbiased':>10}{'error':>8}")
for name, (biased, unbiased, error) in far.items():
    print(f"{name:24}{biased:8.1f}{unbiased:10.1f}{error:8.1f}")
labelled = {f"{name} (± {error:.0f})": unbiased for name, (_, unbiased, error) in far.items()}
show.bars(labelled, "Frechet distance to the film, unbiased")

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# Halves of one set of random numbers are far from 0 by the plain distance, and near it by the line. The film's other half is near 0 too, about
# one error below it, and the tokenizer adds nothing that this distance sees. The prior's continuations are less than two errors from 0. Only the
# copied frame and the shuffled frames stand far from everything else: this distance looks at motion above all. The film itself, smeared over five frames,
# gets a larger number than the prior's continuations, though an eye would say the contrary. Rows that differ by less than twice their
# errors cannot be ranked with so few clips, and these two do.
#
# </details>
#
# ## Do figures hold together?
#
# A clip's 64 numbers are an average over all of its places. A figure is a small part of those, and whether its arm belongs to it a
# smaller one. So look only where something moves: `moving_parts` cuts the two liveliest squares out of every eight frames. A second
# network, `figure-features`, describes these. It was shown parts as they were filmed, and parts whose moving places were damaged: stopped,
# smeared, in pieces, melting, doubled, or decoded from tokens of which many belong to another moment. It had to say which. Half of what
# it saw as filmed had gone through the tokenizer, so that what the tokenizer loses is not taken for damage.
#
# First a test of the measure itself: the film with every row of what moves swinging to and fro, a damage that was not in the training.


# %%
# NBVAL_IGNORE_OUTPUT
def waving(video):
    """Where it moves, every row swings by up to 4 pixels."""
    frames, height, width = video.shape[2:]
    phase = torch.arange(height)[None] / 16 + torch.arange(frames)[:, None] / 8
    shift = 4 * torch.sin(2 * math.pi * phase)[..., None]
    columns = (torch.arange(width) + shift).round().long().clamp(0, width - 1)
    masks = torch.stack([where_it_moves(clip) for clip in video])
    return video + masks * (video.gather(4, columns.expand_as(video)) - video)


figures = checkpoints.load("figure-features", device=device())
looked_at = {
    "the film's other half": halves,
    "its rows waving": waving(halves),
    "through the tokenizer": candidates["through the tokenizer"],
    "continued by the prior": candidates["continued by the prior"],
    "last frame, copied": candidates["last frame, copied"],
}
ends = {name: video[:, :, PROMPT:] for name, video in looked_at.items()}
seen = figure_facts(ends, real[:, :, PROMPT:], figures)
print(f"{'':24}{'distance':>9}{'error':>7}{'whole':>7}{'error':>7}")
for name in ends:
    row = (seen[key][name] for key in ("distance", "distance_error", "whole", "whole_error"))
    print("{:24}{:9.1f}{:7.1f}{:7.2f}{:7.2f}".format(name, *row))
tiles = {}
for name, video in ends.items():
    if name == "last frame, copied":  # nothing moves
        continue
    squares = moving_parts(video[:: max(1, len(video) // 6)], count=1)[:12]
    tiles[name] = rearrange(squares[: len(squares) // 3 * 3], "(r k) c t h w -> c t (r h) (k w)", r=3)
show.player(tiles, fps=store.fps)

# %% [markdown]
# *Distance* is the unbiased Frechet distance of moving parts, *whole* the mean probability that the network gives to "as filmed". Even
# for the film that is far from 1: a part in which little moves looks much the same when it is damaged, and in training only one part in
# seven was as filmed.
#
# <details><summary>What the stored run shows</summary>
#
# The measure sees the waving rows: the film's other half is near 0 and they are far from it, and *whole* falls to a quarter. The tokenizer
# adds distance, since it blurs, and takes little from *whole*: its figures still are figures. The continuations, which went through the same
# tokenizer, are farther than it and less whole, by more than twice the errors. In the tiles, some of their figures hold and others
# are loose blots. The distance of whole clips, above, could tell neither of these two rows from the film. The copied frame is
# farthest here too, and passes for filmed almost nowhere: it is sharp, but nothing moves, so there are no tiles of it.
#
# </details>
#
# ## New, or remembered?
#
# A model that plays back its training film could pass the tests above. So look for the nearest training clip, by root mean squared
# distance, among windows of all training shots. Two anchors stand beside it: how near real, unseen clips come, and
# how near a plain copy would come. Blurred clips are near to everything, so a small number alone is no proof: look at the picture.


# %%
# NBVAL_IGNORE_OUTPUT
def distance(video, other):
    """(B,), root mean squared, grey levels."""
    return (video - other).square().flatten(1).mean(1).sqrt() * 127.5


bank = Clips(store, train_shots, frames=NEW, stride=settings.stride)
groups = {
    "continued, held-out prompts": (free, kinds["held out"]),
    "continued, training prompts": (free, kinds["training"]),
    "the film, held-out shots": (true_clips, kinds["held out"]),
    "training clips, tokenized": (smooth, kinds["training"]),
}
print(f"{len(bank)} training clips of {NEW} frames; grey levels to the nearest")
nearest = {}
for name, (video, part) in tqdm(groups.items()):
    ends = video[part, :, PROMPT:]
    nearest[name] = evaluation.nearest_clip(ends, bank)
    print(f"{name:30}{with_interval(distance(ends, nearest[name]), shot_numbers[part])}")
pairs_shown = {}
for k in range(min(2, half)):
    pairs_shown[f"made {k}"] = free[k, :, PROMPT:]
    pairs_shown[f"nearest to {k}"] = nearest["continued, held-out prompts"][k]
show.player(pairs_shown, fps=store.fps)

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# Continuations of held-out prompts are about as far from their nearest training clip as the film's own held-out clips are from theirs: the nearest to clip 0
# shows another scene, the nearest to clip 1 the same scene in a training shot. Continuations of training prompts are nearer, as they share
# the scene, but farther than a training clip that only went through the tokenizer: it is not played back.
#
# </details>
#
# ## The options of sampling, measured
#
# One prompt, several settings. *Bits* is what the prior says the new tokens cost; motion as above. Both are best near the film's own:
# far fewer bits mean that the clip is more predictable than film is; far more, that it has left what the prior knows.

# %%
# NBVAL_IGNORE_OUTPUT
tried = {
    "as the prior is": {},
    "temperature 0.5": {"temperature": 0.5},
    "temperature 1.2": {"temperature": 1.2},
    "top_k 2": {"top_k": 2},
    "top_p 0.9": {"top_p": 0.9},
    "history 1.5": {"history": 1.5},
}
price, moves = {}, {}
prompt = true_tokens[:1, :GIVEN].expand(settings.copies, -1, -1, -1)
for name, options in tqdm(tried.items()):
    some = generate_tokens(prior, prompt, TOTAL // span, seed=0, progress=False,
                           batch=settings.copies, **options)  # fmt: skip
    price[name] = float(bits(some)[:, GIVEN:].mean())
    moves[name] = float(moving(decoded(some)).mean())
price["the film"] = float(bits(true_tokens[:1])[:, GIVEN:].mean())
moves["the film"] = float(moving(smooth[:1]).mean())
print(f"{'':18}{'bits a token':>14}{'motion':>8}")
for name in price:
    print(f"{name:18}{price[name]:14.2f}{moves[name]:8.2f}")

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# As the prior is, this prompt's future is cheaper and stiller than the film's. A low temperature and either cut make it more so. History
# makes it cheaper and hardly changes the motion. The higher temperature goes too far: both numbers are farther above the film's than
# they were below.
#
# </details>
#
# ## Bits, and real codecs
#
# The bits of a token can be written to a file: an arithmetic coder that asks the prior before every digit, twelve times per
# token, needs just as many. Then an encoder has a choice. Of two codes that draw a patch nearly alike, the one that the prior expects is
# cheaper. `search_codes` of `vg.latents.search` moves the codes of a clip until the decoder reconstructs it best; given the prior and a price, it looks
# for the largest PSNR less the price of the bits. Every modern encoder makes this bargain: *rate-distortion optimization*.
#
# Beside it, H.264, VP9 and AV1 on the same grey 64x64 clips, each clip a stream of its own, without headers. The settings are in
# `vg.evaluation.codecs`: slow presets in one pass, since PyAV cannot give an encoder the results of a first one. So VP9 in
# particular is not at its best, and at this size none of them is: they were made for large pictures. The fourth line is the baseline
# of anything that stands still: each clip's mean frame, which AV1 codes as one picture.

# %%
# NBVAL_IGNORE_OUTPUT
clips = true_clips[: min(half, settings.coded)]
ways = {
    "as encoded": {"steps": 0},
    "searched for the picture": {},
    "1.5 dB for 1,000 bits": {"prior": prior, "price": 1.5},
}
points = {}
for name, options in tqdm(ways.items()):
    codes = search_codes(tokenizer, clips.to(device()), progress=False, **options)
    quality = float(evaluation.psnr(decoded(codes), clips).mean())
    points[name] = [(float(bits(codes).flatten(1).sum(1).mean()) / clips[0].numel(), quality)]
still = evaluation.mean_frame(clips)[:, :, :1]
streams = {
    "h264": (clips, (51, 45, 42, 39)),
    "vp9": (clips, (73, 67, 64, 61)),
    "av1": (clips, (70, 61, 58)),
    "mean frame in av1": (still, (70, 55, 35)),
}
for name, (sent, levels) in streams.items():
    if (codec := name.split()[-1]) in available():
        points[name] = []
        for level in levels:
            back, payload, _ = code_clips(sent, codec, level)
            quality = float(evaluation.psnr(back.expand_as(clips), clips).mean())
            points[name].append((float(payload.float().mean()) / clips[0].numel(), quality))

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
figure, ax = plt.subplots(figsize=(7.5, 3.6))
for name, line in points.items():
    ax.plot(*zip(*sorted(line)), marker="o" if name in ways else ".", label=name)
ax.set(xscale="log", xlabel="bits a pixel", ylabel="PSNR (dB)")
ticks = [0.001, 0.003, 0.01, 0.03, 0.1]
ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
ax.minorticks_off()
figure.legend(loc="outside right center")
plt.show()

# %% [markdown]
# Left and up is better. The three marks are the tokenizer at the prior's bits, which differ only in what the encoder looks for.
#
# <details><summary>What the stored run shows</summary>
#
# The marks lie a little above the lines of all three codecs. Searching for the picture costs a few bits and gives a better one; with a
# price, the picture is a little worse than at first and costs fewer bits, and this mark is the farthest above the lines. But the tokenizer has
# seen other shots of this film, its weights and the prior's are not counted, and its quality ends here, while a codec's goes on. As far
# as it goes, the coded mean frame is cheaper by far than any codec's clip of the same PSNR: in clips whose background stands still, a low
# PSNR says nothing of motion.
#
# </details>
#
# ## The same questions for images
#
# Notebook 02 turned an image of CIFAR-10 into 64 tokens of 9 bits, 576 bits in all. What else can be had for 576 bits?
#
# - *The mean picture* of 10,000 training images costs nothing.
# - *PCA* (principal component analysis): an image as 72 numbers of 8 bits.
# - *JPEG and WebP*. One small file is mostly headers, so all test images are put into one large picture, a *mosaic*. Its
#   headers hardly count.
# - *VQ-VAE-2 with its prior* costs what the prior says, as above for film.
#
# The networks and PCA have learned from images of just this kind, and their weights are not counted. JPEG and WebP
# know nothing of them.


# %%
def through_file(x, form, quality):
    """Images (N, 3, H, W) as one mosaic in a file, and back: bits a pixel, images."""
    side, file = math.isqrt(len(x)), io.BytesIO()
    mosaic = rearrange((x + 1) * 127.5, "(r s) c h w -> (r h) (s w) c", r=side)
    Image.fromarray(mosaic.round().byte().numpy()).save(file, form, quality=quality)
    pixels = torch.from_numpy(np.array(Image.open(file).convert("RGB")))
    back = rearrange(pixels / 127.5 - 1, "(r h) (s w) c -> (r s) c h w", r=side, s=side)
    return 8 * file.getbuffer().nbytes / mosaic[..., 0].numel(), back


@torch.no_grad()
def through_model(model, x):
    parts = x.to(device()).split(256)
    return torch.cat([model.decode(model.encode(part)).cpu() for part in parts])


@torch.no_grad()
def image_bits(x):
    """What the tokens of images cost on average with the prior, both levels."""
    parts = [image_prior.nll_bits(*vqvae2.encode(part)) for part in x.to(device()).split(256)]
    return sum(float(level.sum()) for part in parts for level in part) / len(x)


# %%
# NBVAL_IGNORE_OUTPUT
images = cifar10()
print(images.describe())
names = "vqvae-cifar10", "vqvae2-cifar10", "prior-cifar10"
vqvae, vqvae2, image_prior = (checkpoints.load(name, device=device()) for name in names)
truth = images.test.take(range(settings.images))
few = ImageSet(images.train.pixels[:10_000], images.train.labels[:10_000])
mean_picture = few.take(range(len(few))).mean(0).expand_as(truth)
raw = vqvae.raw_bits(truth.shape[2:])
print(f"bits an image: raw {raw:.0f}, with the prior {image_bits(truth):.0f}")
at_bits = {
    "PCA": (raw, evaluation.pca_images(few, truth, round(raw / 8), bits=8)),
    "VQ-VAE": (raw, through_model(vqvae, truth)),
    "VQ-VAE-2": (vqvae2.raw_bits(truth.shape[2:]), through_model(vqvae2, truth)),
}
at_bits["VQ-VAE-2, prior"] = (image_bits(truth), at_bits["VQ-VAE-2"][1])
files = {
    form: [through_file(truth, form, quality) for quality in tqdm((0, 2, 4, 6, 10, 15, 20, 30))]
    for form in ("JPEG", "WEBP")
}

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
figure, ax = plt.subplots(figsize=(7.5, 3.6))
for form, line in files.items():
    line = sorted((rate, float(evaluation.psnr(x, truth).mean())) for rate, x in line)
    ax.plot(*zip(*line), marker=".", label=form)
for (name, (cost, x)), mark in zip(at_bits.items(), "^osD"):
    ax.plot(cost / 1024, float(evaluation.psnr(x, truth).mean()), mark, label=name)
floor = float(evaluation.psnr(mean_picture, truth).mean())
ax.axhline(floor, color="0.6", linewidth=1, label="mean picture")
ax.set(xscale="log", xlabel="bits a pixel", ylabel="PSNR (dB)")
ax.set_xticks([0.3, 0.5, 1, 2], ["0.3", "0.5", "1", "2"])
ax.minorticks_off()
figure.legend(loc="outside right center")
plt.show()
like = {f: min(line, key=lambda pair: abs(pair[0] - raw / 1024)) for f, line in files.items()}
show.strip(
    {"test image": truth[:10].transpose(0, 1)}
    | {form: x[:10].transpose(0, 1) for form, (_, x) in like.items()}
    | {name: at_bits[name][1][:10].transpose(0, 1) for name in ("PCA", "VQ-VAE", "VQ-VAE-2")},
    every=1,
)

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# At their bits both VQ-VAEs are above JPEG and WebP, and this PCA is below both (one with more numbers, each with the bits that it
# deserves, is better: see `RESULTS.md`). The prior saves few bits. JPEG and WebP go on improving with more bits.
#
# </details>
#
# Are *new* images copies of training images? Look for the nearest training image of each, by root mean squared distance. The anchors
# are test images, which nobody can remember, and training images, both through the same tokenizer.


# %%
# NBVAL_IGNORE_OUTPUT
def nearest_images(x):
    """The nearest training image of each (N, C, H, W), and how far it is, grey levels (N,)."""
    gaps, count = [], len(images.train)
    for first in range(0, count, 5000):
        bank = images.train.take(range(first, min(first + 5000, count)))
        gaps.append(torch.cdist(x.flatten(1), bank.flatten(1)))
    least, which = torch.cat(gaps, dim=1).min(1)
    return images.train.take(which), least / math.sqrt(x[0].numel()) * 127.5


new = sample_images(image_prior, vqvae2, settings.new_images, seed=0, top_p=0.95).cpu()
asked = {
    "new images": new,
    "test images, through the tokenizer": through_model(vqvae2, truth[: len(new)]),
    "training images, through the tokenizer": through_model(vqvae2, few.take(range(len(new)))),
}
found = {name: nearest_images(x) for name, x in tqdm(asked.items())}
for name, (_, gap) in found.items():
    print(f"{name:40}{float(gap.mean()):5.1f} grey levels to the nearest")
columns = {"new": new[:10], "nearest": found["new images"][0][:10]}
show.strip({name: x.transpose(0, 1) for name, x in columns.items()}, every=1)

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# New images are about as far from the nearest training image as test images are, and much farther than training images that
# only went through the tokenizer. So they are no copies. That does not make them good: most show no object that has a name.
#
# </details>
#
# ## Exercises
#
# **1. How surprising is a future?** (easy, 10 minutes). Write `future_bits(tokens, given)`: the mean bits a token of what comes after
# the first `given` latent frames, one number for each clip of `(B, t, h, w)`.


# %%
def future_bits(tokens, given):
    return None  # yours


def check_future_bits(function):
    clips = true_tokens[:2]
    got = function(clips, GIVEN)
    if got is None:
        return "not yet: future_bits returns None"
    if tuple(got.shape) != (2,):
        return f"wrong shape: {tuple(got.shape)}, expected one number for each of 2 clips"
    each = prior.nll_bits(clips)
    if torch.allclose(got, each.mean((1, 2, 3)), atol=1e-4):
        return "that is the mean over the whole clip: leave the prompt out of the mean"
    if torch.allclose(got, prior.nll_bits(clips[:, GIVEN:]).mean((1, 2, 3)), atol=1e-4):
        return "you cut the prompt off before asking: the prior must see it, only the mean must not"
    if torch.allclose(got, each[:, GIVEN:].sum((1, 2, 3)), rtol=1e-4):
        return "that is bits a clip; divide by the number of tokens"
    right = torch.allclose(got, each[:, GIVEN:].mean((1, 2, 3)), atol=1e-4)
    return "right" if right else "another number: is it the mean over t, h and w from given on?"


print(check_future_bits(future_bits))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def future_bits(tokens, given):
#     return prior.nll_bits(tokens)[:, given:].mean((1, 2, 3))
# ```
#
# A clip that freezes is cheap and one that dissolves is costly, so both ends of the sheet, sorted by this number, are worth a look.
#
# </details>
#
# **2. The same picture for less** (medium, 15 minutes). "AV1 needs 30% fewer bits than H.264" is a statement at equal *quality*: the
# figure read sideways. Write `bits_at(quality, rates, qualities)`: the rate at which a codec reaches `quality`, straight between its points
# over the *logarithm* of the rate; `nan` where it does not reach. The points may come in any order.


# %%
def bits_at(quality, rates, qualities):
    return None  # yours


def check_bits_at(function):
    rates, qualities = [0.01, 0.04, 0.16], [20.0, 24.0, 28.0]
    got = function(22.0, rates, qualities)
    if got is None:
        return "not yet: bits_at returns None"
    if abs(got - 0.025) < 1e-6:
        return "0.025 is half way between the rates; between their logarithms it is 0.02"
    if abs(got - math.log(0.02)) < 1e-6:
        return "that is the logarithm of the rate: take exp of it"
    if not abs(got - 0.02) < 1e-6:
        return f"20 dB at 0.01 and 24 dB at 0.04: 22 dB at 0.02, not at {got}"
    if not abs(function(26.0, rates[::-1], qualities[::-1]) - 0.08) < 1e-6:
        return "wrong when the points come from high to low: np.interp wants them in rising order"
    if not all(math.isnan(function(quality, rates, qualities)) for quality in (19.0, 29.0)):
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
# ```
#
# `points` has the pairs of each codec. Bjøntegaard's *BD-rate*, which codec makers quote, averages this over a range of qualities.
#
# </details>
#
# ## Summary
#
# - Show a sheet that nobody chose, held-out and training shots apart, and the nearest training clip.
# - A mean without an interval says little; clips of one shot are alike, so resample shots. Pair what can be paired.
# - Low loss with the true past is not good video from one's own: show both, with a copied frame beside them.
# - A Frechet distance is too large for few clips: follow it to endlessly many, and give its error. It has blind spots too:
#   for whole clips these are the figures, so measure what moves by itself.
# - Bits are a measure without opinions: they can be compared with those of real codecs.
#
# ## References
#
# - Heusel et al., 2017, *GANs trained by a two time-scale update rule* (the Frechet distance of images), arXiv:1706.08500;
#   Unterthiner et al., 2018, *Towards accurate generative models of video* (FVD), arXiv:1812.01717.
# - Chong and Forsyth, 2020, *Effectively unbiased FID and Inception Score and where to find them*, arXiv:1911.07023.
# - Ranzato et al., 2015, *Sequence level training with recurrent neural networks*, arXiv:1511.06732 (exposure bias).
# - Efron and Tibshirani, 1993, *An introduction to the bootstrap* (and of the jackknife, chapter 11).
