# %% [markdown]
# # 09 One model, many tasks
#
# [08 Generation](08_generation.ipynb) continued clips. With a few additions to its training, the same prior can do more: make
# pictures of other shapes, lead from one clip into another, loop, draw what came before a clip, and fill in half
# of a picture. It is still a causal transformer that predicts the next token.
#
# Each part below shows the idea first on a toy whose exact answer can be computed, and then on the film.
#
# **After this notebook you will be able to**
# - give a transformer coordinates in place of a table of places, so that it works on grids that were not in its training;
# - condition on a goal, and compute the exact answer for a random walk;
# - extend clips backwards in time, and measure what knowing the direction is worth;
# - fill in parts of a picture by importance resampling, and say which part of that is exact;
# - say what all this costs, and where it fails.
#
# **You need** notebooks 07 and 08, and the shipped weights. The notebook runs alone. **Study:** about 3 hours, tasks included.
# **Computing:** about 4 minutes on a two-core laptop. Only toys are trained, in seconds each.
#
# **Before:** [08 Generation](08_generation.ipynb). **Next:** [10 Is it any good?](10_is_it_any_good.ipynb).

# %%
# NBVAL_IGNORE_OUTPUT
import functools
import math

from vg import checkpoints, evaluation, show
from vg.data import Clips, film, open_stores, split_shots
from vg.models import Prior, PriorConfig, two_scale_slopes
from vg.models.goals import Goal
from vg.models.places import Coordinates
from vg.precision import autocast
from vg.profiles import device, profile
from vg.sampling import SAMPLING, before, fill, generate, generate_tokens, join, loop
from vg.sampling.tasks import TOWARDS_GOAL
from vg.training import Recipe, fit

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

show.style()
settings = profile().settings(  # smoke, laptop, gpu
    film_frames=(240, None, None),  # None: all of them
    held_out=(0.35, 0.1, 0.1),  # share of the frames
    toy_steps=(6, 450, 450),
    toy_clips=(64, 2048, 2048),  # that a toy is measured on
    windows=(2, 24, 48),  # held-out clips whose bits are counted
    clips=(1, 4, 12),  # held-out clips that are joined, looped and so on
    made=(16, 32, 32),  # frames of a clip from nothing
    candidates=(2, 8, 8),
)
print(f"profile {profile().name}, device {device()}")

# %% [markdown]
# ## Any grid
#
# The prior of notebook 07 had a *table of places*: one learned vector for each of the $h \cdot w$ places of a latent frame. A table
# fits one grid only: a larger grid has places without a vector, and place 17 of a wide grid is not where place 17 of a square one is.
#
# *Coordinates* carry over. The centre of row $i$ of $n$ lies at the share $u = (i + \tfrac12)/n$ of the height. Half-way down is
# $u = 0.5$ in every grid. A network whose only input is the number $u$ is slow to learn functions that change fast; waves of several
# frequencies as inputs help (*Fourier features*, arXiv:2006.10739):
#
# $$\phi(u) = \left(\cos \pi u, \ \cos 2 \pi u, \ \dots, \ \cos 16 \pi u, \ \log_2 n - 4\right).$$
#
# Cosines of $\pi k u$ with odd $k$ differ between the two edges; sines and cosines of $2 \pi k u$ would make the first row and the
# last nearly equal. The last feature says how fine the grid is. Columns have the same features; a small network turns both into a vector of width $D$.
#
# ```
#   row i of h     -> phi (17)  \
#                                cat (34) -> Linear -> GELU -> Linear -> (D), added to the input of that place
#   column j of w  -> phi (17)  /
# ```

# %% [markdown] tags=["student"]
# **Your part: features of a row** (easy, 15 minutes). Write `features(n)`: for each of `n` rows the 16 cosines, $k$ from 1 to 16,
# and then $\log_2 n - 4$: a tensor `(n, 17)`.
#
# <details><summary>Hint 1</summary>
#
# The shares are centres: `(torch.arange(n) + 0.5) / n`, all within (0, 1).
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `shares[:, None] * torch.arange(1, 17)` is `(n, 16)`. `torch.full((n, 1), ...)` goes behind it with `torch.cat(..., dim=1)`.
#
# </details>


# %% tags=["task"]
def features(n):
    """(n, 17): 16 cosines of each row's share of the height, and how many rows there are."""
    ### BEGIN SOLUTION
    shares = (torch.arange(n) + 0.5) / n
    waves = torch.cos(math.pi * shares[:, None] * torch.arange(1, 17))
    return torch.cat([waves, torch.full((n, 1), math.log2(n) - 4)], dim=1)
    ### END SOLUTION


# %% tags=["grader"]
def check_features(function):
    seen, coordinates = [], Coordinates(8)
    coordinates.network[0].register_forward_hook(lambda _, given, out: seen.append(given[0]))
    for n in (16, 5):
        coordinates((n, 1))
        want = seen[-1].reshape(n, 34)[:, :17]
        try:
            got = function(n)
        except Exception as error:
            return f"with {n} rows it stops with {type(error).__name__}: {error}"
        if getattr(got, "shape", None) != want.shape:
            shape = tuple(getattr(got, "shape", ()))
            return f"with {n} rows: expected a tensor ({n}, 17), got {shape}. Is there a return?"
        if (got[:, 0] - 1).abs().min() < 1e-6:
            return "the first row is at share 0: a share is of the centre, (i + 0.5) / n"
        if torch.allclose(got[:, 0], torch.cos(2 * math.pi * (torch.arange(n) + 0.5) / n)):
            return "with 2 pi k u the first row and the last are alike: cos(pi k u)"
        if not torch.allclose(got[:, :16], want[:, :16], atol=1e-5):
            return "the cosines are others: cos(pi * k * share), k from 1 to 16, one column each"
        if not torch.allclose(got[:, 16:], want[:, 16:], atol=1e-5):
            return "the last column is another: log2(n) - 4, which is 0 for 16 rows"
    return "right: the same features as vg.models.places.Coordinates"


print(check_features(features))

# %% [markdown]
# Attention depends on the grid too. In half of the heads the ALiBi slope is divided by the number of tokens in a latent frame
# and multiplied by four (notebook 07), so these slopes are computed anew for each grid. Everything else (embeddings, layers, head) is the same for
# all grids. `Prior.at(grid)` is a prior for another grid with the same weights.


# %%
def toy_prior(levels, grid, **able):
    """A prior of a few thousand weights."""
    torch.manual_seed(0)
    shape = {"width": 32, "depth": 1, "heads": 4, "context": 1, "places": "coordinates"}
    return Prior(PriorConfig(levels, grid, **shape | able))


def taught(prior, loss, sample, steps=settings.toy_steps):
    """The toy prior after a few seconds of training."""
    recipe = Recipe(steps, lr=6e-3, warmup=min(50, steps), ema=0.98)
    return fit(prior, loss, sample, recipe, progress=False).model


some = toy_prior((3, 3), (4, 4))
for h, w in [(4, 4), (3, 8)]:
    near = two_scale_slopes(4, 1)[:2]  # the heads that look along a frame
    by_hand = torch.cat([near, near * some.config.alibi_multiplier / (h * w)])
    same = torch.allclose(some.at((h, w)).slopes, by_hand)
    print(f"{h} x {w}: slopes {', '.join(f'{s:.4f}' for s in by_hand.tolist())}; as vg's: {same}")
places = some.place((3, 8)).view(3, 8, -1)
phi = torch.cat([features(3)[:, None].expand(3, 8, 17), features(8)[None].expand(3, 8, 17)], dim=-1)
print("places of a 3 x 8 grid as vg's:", torch.allclose(some.place.network(phi), places, atol=1e-5))

# %% [markdown]
# ### A toy flag at five shapes
#
# The toy picture is a flag of three by three fields, each filled with its own one of nine tokens. One token in ten is replaced by a random one. The
# noise cannot be predicted, and its cost can be computed: the field's token has probability $p = 0.9 + 0.1/9$, each other one
# $q = 0.1/9$, so the entropy is $-p \log_2 p - 8 q \log_2 q$ bits per token. To reach it the prior must know where fields begin.
#
# We train on three shapes, one per batch, and measure on these and on two more. For comparison, one prior is trained on each shape alone, with a third of
# the steps: about as many as the first prior had on that shape.

# %%
# NBVAL_IGNORE_OUTPUT
NOISE = 0.1
right, wrong = 1 - NOISE + NOISE / 9, NOISE / 9
least_bits = -right * math.log2(right) - 8 * wrong * math.log2(wrong)


def flags(grid, count, dice):
    """(count, 1, h, w): noisy flags."""
    row, column = ((torch.arange(n) + 0.5) / n * 3 for n in grid)
    clean = 3 * row.long()[:, None] + column.long()
    noise = torch.randint(9, (count, 1, *grid), generator=dice)
    return torch.where(torch.rand(count, 1, *grid, generator=dice) < NOISE, noise, clean)


def flag_loss(prior, tokens):
    return prior.at(tuple(tokens.shape[2:])).nll_bits(tokens).mean()


def some_shape(dice):
    which = int(torch.randint(len(SHAPES), (), generator=dice))
    return flags(SHAPES[which], 16, dice)


SHAPES, UNSEEN = [(6, 6), (4, 9), (9, 4)], [(5, 8), (12, 12)]
any_shape = taught(toy_prior((3, 3), (6, 6)), flag_loss, some_shape)
print(f"the noise alone costs {least_bits:.2f} bits a token")
with torch.no_grad():
    for grid in SHAPES + UNSEEN:
        test = flags(grid, settings.toy_clips // 8, torch.Generator().manual_seed(1))
        line = f"{grid[0]:2} x {grid[1]:2}: {flag_loss(any_shape, test):.2f} bits a token"
        print(line + ("  (never seen)" if grid in UNSEEN else ""))

# %%
# NBVAL_IGNORE_OUTPUT
alone, third = {}, settings.toy_steps // len(SHAPES)
for grid in SHAPES:
    few_flags = functools.partial(flags, grid, 16)
    alone[grid] = taught(toy_prior((3, 3), grid), flag_loss, few_flags, third)
with torch.no_grad():
    for grid, one in alone.items():
        test = flags(grid, settings.toy_clips // 8, torch.Generator().manual_seed(1))
        both = [float(flag_loss(prior_, test)) for prior_ in (any_shape, one)]
        print(f"{grid[0]} x {grid[1]}: all shapes {both[0]:.2f}, this shape alone {both[1]:.2f}")

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# On the three training shapes the toy reaches the cost of the noise (a little below it is chance: the test set is finite). One of the
# shapes never seen costs slightly more. Each prior for one shape alone, with as many steps on that
# shape, is worse: what the shapes have in common is learned from all of them.
#
# </details>
#
# ### The film at five shapes
#
# The shipped prior was trained on the whole picture at the film's own shape, 6:5, and on crops at 6:5, square, wide and tall.
# The tokenizer is convolutional and takes any of these sizes. Here the middle of held-out clips is cropped to each shape, and we measure bits per token.

# %%
# NBVAL_IGNORE_OUTPUT
SIZES = {"6:5": (64, 76), "1:1": (64, 64), "16:9": (48, 84), "9:16": (84, 48), "never seen": (56, 92)}
tokenizer = checkpoints.load("tubelet-fsq-64", device=device())
prior = checkpoints.load("prior-64", device=device())
wanted = [{"size": (64, 76)}, {"size": (128, 152)}]
store, large = open_stores(film(), wanted, frames=settings.film_frames)
split = split_shots(store.shots, settings.held_out)
train_shots, val_shots = split.train, split.held_out
span, GIVEN = tokenizer.tubelet[0], 2  # GIVEN: latent frames of a prompt
PROMPT, TOTAL = GIVEN * span, 3 * GIVEN * span
DRAW = {**SAMPLING, "progress": False}


@torch.no_grad()
def encoded(video):
    with autocast(device()):
        return torch.cat([tokenizer.encode(part.to(device())) for part in video.split(4)])


@torch.no_grad()
def decoded(tokens):
    with autocast(device()):
        return tokenizer.decode(tokens.to(device())).float().cpu()


@torch.no_grad()
def bits(model, tokens, **options):
    """What a token costs on average."""
    parts = [model.nll_bits(part, **options) for part in tokens.to(device()).split(4)]
    return float(torch.cat(parts).mean())


def part_of(video, size):
    """The largest middle part of (B, C, T, H, W) that has the shape of size, brought to it."""
    H, W = video.shape[-2:]
    h, w = round(min(H, W * size[0] / size[1])), round(min(W, H * size[1] / size[0]))
    y, x = (H - h) // 2, (W - w) // 2
    frames = video[..., y : y + h, x : x + w].transpose(1, 2)  # (B, T, C, h, w)
    small = F.interpolate(frames.flatten(0, 1), size, mode="bilinear", antialias=True)
    return small.unflatten(0, frames.shape[:2]).transpose(1, 2)


# %%
# NBVAL_IGNORE_OUTPUT
windows = Clips(large, val_shots, TOTAL)
dice = torch.Generator().manual_seed(0)
chosen = torch.randperm(len(windows), generator=dice)[: settings.windows].tolist()
held = windows.take(chosen)  # (B, C, T, 128, 152)
shape_bits = {}
for name, size in SIZES.items():
    tokens = encoded(part_of(held, size))
    grid = tuple(tokens.shape[2:])
    shape_bits[name] = bits(prior.at(grid), tokens)
    print(f"{name:11} {size[0]} x {size[1]} pixels, {grid[0]} x {grid[1]} tokens: "
          f"{shape_bits[name]:.2f} bits a token")  # fmt: skip

codes = math.prod(prior.levels)
raw_bits = tokenizer.raw_bits((span, *SIZES["1:1"])) / (16 * 16)
print(f"a guess among {codes:,} codes: {math.log2(codes):.2f} bits, among those in use {raw_bits:.2f}")

# %% [markdown]
# The crops show different things, so small differences mean little; look for a shape that fails. The last line is the cost of a uniform
# guess: among all codes, and given which patches have details (notebook 05).
#
# <details><summary>What the stored run shows</summary>
#
# The shape never seen lies among the others, and all are well below a guess. The tall one costs most, probably because its crop is
# the narrow middle of the picture, where figures and motion take up more of it.
#
# </details>
#
# `generate` takes a `size`. A label's layout (notebook 08) is interpolated to the grid, so a scene can be generated at any shape.


# %%
# NBVAL_IGNORE_OUTPUT
def on_canvas(video, size):
    """A clip (C, T, H, W) in the middle of a grey canvas."""
    down, right_ = size[0] - video.shape[-2], size[1] - video.shape[-1]
    sides = (right_ // 2, right_ - right_ // 2, down // 2, down - down // 2)
    return F.pad(video.clamp(-1, 1), sides, value=0.5)


SCENE = 16  # goats and music
shaped = {}
for name, size in SIZES.items():
    made = generate(prior, tokenizer, size=size, frames=settings.made, label=SCENE, **DRAW)
    shaped[name] = on_canvas(made[0].cpu(), (88, 96))
show.player(shaped, fps=store.fps, scale=2, columns=5)

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# All five have the light ground and the dark animal at the right: the label's layout is stretched over every shape. In the tall
# picture the animal's leg is longer and thinner. The animal stands to the end, but what is in front of it is only blots that come and
# go, most of all in the tall picture.
#
# </details>
#
# ## A goal
#
# A prompt says where a clip begins. A *goal* says where it is to arrive: the tokens of a later latent frame, and how many latent frames
# ahead it lies. Both are embedded and added, a few blocks mix neighbouring places, and the result is added to the inputs of the latent frames up
# to the goal. The prior stays causal: the goal is known before the first draw, as a label is. In training half of the clips without a label get one of
# their own later latent frames as a goal, so the prior works with a goal and without. Of clips with a label a quarter do: a goal says
# all that a label says and more, and beside it little is learned from labels.
#
# ```
#   goal (h, w) -> digits -> embedding (h, w, D) + embedding of "k ahead" (D)
#                               | blocks over the places
#                            (h, w, D)  added at latent frame (goal - k), for k = 5, 4, ... 0
# ```
#
# ### A toy walk, where the answer is exact
#
# A dot stands on one of eight places. At each step it goes left, stays, or goes right, each with probability 1/3; where a wall blocks a step
# it stays. $P_{ij}$ is the probability of a step from $i$ to $j$, and $(P^k)_{ij}$ that of getting from $i$ to $j$
# in $k$ steps, summed over all paths. Now the dot is at $i$ and must be at $g$ in $k$ steps. Given that, the next place is $j$ with probability
#
# $$p(j \mid i, g, k) = \frac{P_{ij} \, (P^{k-1})_{jg}}{(P^k)_{ig}}.$$

# %% [markdown] tags=["student"]
# **Your part: the bridge** (medium, 20 minutes). Write `bridge(P, goal, k)`: `P` is `(n, n)`, `goal` a place, `k` (at least 1) the number of steps
# left. Return `(n, n)`: row `i` holds the probabilities of the next place from `i`. Where the goal is out of reach the row is all 0.
#
# <details><summary>Hint 1</summary>
#
# `torch.linalg.matrix_power(P, k - 1)[:, goal]` is, for every $j$, the probability of arriving from there.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Multiply *columns* of `P` by it. The sum of each row is $(P^k)_{ig}$: divide by it, `clamp(min=1e-12)` first.
#
# </details>


# %% tags=["task"]
def bridge(P, goal, k):
    """(n, n): probabilities of the next place from each, the goal being k steps away."""
    ### BEGIN SOLUTION
    paths = P * torch.linalg.matrix_power(P, k - 1)[:, goal]
    return paths / paths.sum(1, keepdim=True).clamp(min=1e-12)
    ### END SOLUTION


# %% tags=["grader"]
def check_bridge(function):
    P = torch.tensor([[0.5, 0.5, 0, 0], [0.2, 0.3, 0.5, 0], [0, 0.5, 0.1, 0.4], [0, 0, 0.3, 0.7]])
    for goal, k in [(3, 1), (3, 2), (0, 3), (2, 4)]:
        try:
            got = function(P.clone(), goal, k)
        except Exception as error:
            return f"with k = {k} it stops with {type(error).__name__}: {error}"
        if getattr(got, "shape", None) != (4, 4):
            return "expected a tensor (4, 4): a row of probabilities for each place"
        if not got.isfinite().all():
            return "where the goal is out of reach it divides 0 by 0: such a row is all 0"
        want = torch.zeros(4, 4)
        for i in range(4):
            for path in torch.cartesian_prod(*[torch.arange(4)] * k).view(-1, k).tolist():
                steps = zip([i, *path[:-1]], path)
                weight = math.prod(float(P[a, b]) for a, b in steps) if path[-1] == goal else 0
                want[i, path[0]] += weight
        if torch.allclose(got, want, atol=1e-5) and not torch.allclose(want.sum(1), torch.ones(4)):
            return "these are shares of all paths; divide each row by its sum: of those that arrive"
        want = want / want.sum(1, keepdim=True).clamp(min=1e-12)
        if torch.allclose(got, P) and not torch.allclose(want, P):
            return "that is P: the goal changes nothing yet"
        if torch.allclose(got, want, atol=1e-5):
            continue
        late = P * torch.linalg.matrix_power(P, k)[:, goal]
        if torch.allclose(got, late / late.sum(1, keepdim=True).clamp(min=1e-12), atol=1e-5):
            return "one step too many: after the step to j there are k - 1 left"
        return f"with k = {k}: another result. Is it P[i, j] times the way from j to the goal?"
    return "right: the same as counting every path"


print(check_bridge(bridge))

# %% [markdown]
# A toy prior learns the walk from samples: videos of one token per frame, half of them with a goal. It never sees $P$.
# How many bits does a goal $k$ steps ahead save on the next step?

# %%
# NBVAL_IGNORE_OUTPUT
PLACES, STEPS = 8, 6
P = torch.zeros(PLACES, PLACES)
for i in range(PLACES):
    for j in (i - 1, i, i + 1):
        P[i, min(max(j, 0), PLACES - 1)] += 1 / 3


def walks(count, dice):
    """(count, 1 + STEPS, 1, 1): where the dot is."""
    found = [torch.randint(PLACES, (count, 1), generator=dice)]
    for _ in range(STEPS):
        found.append(torch.multinomial(P[found[-1][:, 0]], 1, generator=dice))
    return torch.stack(found, dim=1)[..., None]


def goal_loss(prior, clips):
    B, t = clips.shape[:2]
    at = torch.randint(1, t, (B,))
    goal = Goal(clips[torch.arange(B), at], torch.where(torch.rand(B) < 0.5, -1, at))
    return prior.nll_bits(clips, goal=goal).mean()


walker = toy_prior((PLACES,), (1, 1), goals=STEPS)
walker = taught(walker, goal_loss, functools.partial(walks, 32), 2 * settings.toy_steps)
test = walks(settings.toy_clips, torch.Generator().manual_seed(1))
walk_bits = {"without a goal": [], "with a goal": [], "exact, with a goal": []}
for k in range(1, STEPS + 1):  # what the first step costs, the goal being k steps away
    goal = Goal(test[:, k], torch.full((len(test),), k))
    with torch.no_grad():
        for name, given in {"without a goal": None, "with a goal": goal}.items():
            walk_bits[name].append(float(walker.nll_bits(test, goal=given)[:, 1].mean()))
    now, then, end = test[:, 0, 0, 0], test[:, 1, 0, 0], test[:, k, 0, 0]
    ways = torch.stack([bridge(P, g, k) for g in range(PLACES)])  # (goal, now, next)
    walk_bits["exact, with a goal"].append(float(-ways[end, now, then].log2().mean()))

# %% tags=["hide-input"]
# NBVAL_IGNORE_OUTPUT
figure, ax = plt.subplots(figsize=(7, 3))
for (name, line), style in zip(walk_bits.items(), ("o-", "o-", "--")):
    ax.plot(range(1, STEPS + 1), line, style, markersize=4, label=name)
ax.set(xlabel="steps to the goal", ylabel="bits for the next step", ylim=(0, None))
figure.legend(loc="outside right center")
plt.show()

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# One step ahead, the goal is the answer, and the step costs almost nothing. The farther away it is, the less it saves. The toy prior
# is close to the exact curve, though it was trained on samples only.
#
# </details>
#
# ### Into another clip
#
# `join(prior, tokenizer, first, second, frames)` uses the first clip as the prompt and the second clip's first latent frame as the goal. The cell does it by
# hand and compares with vg's. Two details. The encoder is causal, so it encodes the beginning of a clip differently from its middle. The second clip
# will not be a beginning, so its first frame is repeated for one token's frames before encoding. And classifier-free guidance (notebook 08) is applied to the
# goal in place of the label, with `TOWARDS_GOAL`, chosen on training clips.

# %%
# NBVAL_IGNORE_OUTPUT
starts = [a for a, b in val_shots if b - a >= TOTAL][: settings.clips]
shots = torch.cat([store.clip(a, a + TOTAL) for a in starts])  # (B, C, T, H, W)
first, second, NEW = shots[:, :, :PROMPT], shots[:, :, -PROMPT:], TOTAL - 2 * PROMPT


def within(clip):
    """The tokens of a clip that something comes before."""
    pause = clip[:, :, :1].expand(-1, -1, span, -1, -1)
    return encoded(torch.cat([pause, clip], dim=2))[:, 1:]


def with_goal(begin, first_of_goal, arrival):
    """Tokens up to a goal, drawn as vg draws them: (B, arrival, h, w)."""
    goal = Goal(first_of_goal, torch.full((len(begin),), arrival))
    towards = {"batch": len(begin), "goal": goal, "guidance": TOWARDS_GOAL}
    return generate_tokens(prior, begin, arrival, **towards, **DRAW)


begin, end = encoded(first), within(second)
arrival = GIVEN + NEW // span
by_hand = decoded(torch.cat([with_goal(begin, end[:, 0], arrival), end], dim=1))
joined = join(prior, tokenizer, first, second, NEW, **DRAW).cpu()
print("by hand as vg's:", torch.allclose(by_hand, joined, atol=1e-3))
aimless = generate_tokens(prior, begin, arrival, batch=len(begin), **DRAW)
aimless = decoded(torch.cat([aimless, end], dim=1))
unguided = join(prior, tokenizer, first, second, NEW, guidance=1.0, **DRAW).cpu()
names = [f"shot {k}" for k in range(len(starts))]


def in_rows(made):
    """For the player: a row for each way, a column for each shot."""
    return {f"{n}, {how}": clip[k] for how, clip in made.items() for k, n in enumerate(names)}


show.player(in_rows({"goal": joined, "no goal": aimless}), store.fps, 2, len(names), given=PROMPT)

# %% [markdown]
# Both clips are from one held-out shot, with as many frames left out between them as are drawn. How near is the last drawn
# frame to the film's first frame of the second clip? We measure PSNR in dB: higher is nearer. For comparison: the last frame of the first clip (as if nothing moved);
# the film's own frame just before the second clip; and that frame encoded and decoded. Whatever is decoded here has the second clip's first codes in
# view, because the decoder looks ahead.

# %%
# NBVAL_IGNORE_OUTPUT
LAST, ARRIVED = PROMPT + NEW - 1, PROMPT + NEW
rows = {
    "no goal": aimless[:, :, LAST],
    "goal": unguided[:, :, LAST],
    "goal, guided": joined[:, :, LAST],
    "standing still": shots[:, :, PROMPT - 1],
    "the film's step": shots[:, :, LAST],
    "the same, coded": decoded(encoded(shots))[:, :, LAST],
}
nearness = {name: evaluation.psnr(made, shots[:, :, ARRIVED]) for name, made in rows.items()}
for name, each in nearness.items():
    apart = "  ".join(f"{x:.1f}" for x in each.tolist())
    print(f"{name:16}{float(each.mean()):6.1f} dB on average of {apart}")
around = slice(LAST - 3, ARRIVED + 4)
sides = {"goal": joined, "no goal": aimless, "film": shots}
show.strip({name: video[0, :, around] for name, video in sides.items()}, every=1)

# %% [markdown]
# The strip shows the seam frame by frame: the fifth picture is the first of the second clip.
#
# <details><summary>What the stored run shows</summary>
#
# The goal brings the last drawn frame nearer in all four shots, and guidance adds to that, though not in shot 1. With guidance it is on
# average about as near as the film's own step: nearer in three shots, farther in shot 3, where the film hardly moves there. In that shot
# the goal changes the animal's body before the second clip begins, but into a broken shape; without the goal the animal falls apart. In
# shot 2 the upper body breaks up both ways. The drawn outlines are softer than the film's, and the ship's wheel is missing. That is the
# tokenizer: the second clip's own frames, decoded, show the same.
#
# </details>
#
# ### Loops
#
# A *loop* joins a clip to itself: the goal is its own first latent frame. The decoder looks back and ahead, so `loop` decodes the tokens
# three times in a row and keeps the middle round: its first frame has the end in view, its last the beginning.
# Is there a jump at the *seam*, from the last frame to the first? A patch's four frames are decoded together, so steps within them may be
# smaller than over the *border* to the next four. The seam is such a border. We compare it with the other borders, with steps
# within patches, and with all steps: at most 1.5 times the clip's median step counts as smooth.


# %%
# NBVAL_IGNORE_OUTPUT
def steps_of(video):
    """Mean difference of each frame to the next, the last to the first: (B, T), grey levels."""
    return (video.roll(-1, dims=2) - video).abs().mean((1, 3, 4)) * 127.5


inside = within(first)
made = with_goal(inside, inside[:, 0], TOTAL // span)
rounds = decoded(torch.cat([made] * 3, dim=1))[:, :, TOTAL : 2 * TOTAL]
looped = loop(prior, tokenizer, first, TOTAL, **DRAW).cpu()
print("by hand as vg's:", torch.allclose(rounds, looped, atol=1e-3))
border = torch.arange(1, TOTAL + 1) % tokenizer.patch[0] == 0
border[-1] = False  # the seam itself
patched = ~border
patched[-1] = False  # within a patch
steps, once = steps_of(looped), steps_of(decoded(made))
print(f"median steps{'seam':>8}{'decoded once':>14}{'borders':>9}{'within':>8}{'all':>6}   grey levels")
for name, row, single in zip(names, steps, once):
    parts = row[border].median(), row[patched].median(), row.median()
    print(f"{name:12}{row[-1]:8.1f}{single[-1]:14.1f}{parts[0]:9.1f}{parts[1]:8.1f}{parts[2]:6.1f}")
for name, video in {"film": shots, "film, coded": decoded(encoded(shots))}.items():
    row = steps_of(video)[:, :-1]
    parts = row[:, border[:-1]].median(), row[:, patched[:-1]].median(), row.median()
    print(f"{name:34}{parts[0]:9.1f}{parts[1]:8.1f}{parts[2]:6.1f}")
smooth = steps[:, -1] <= 1.5 * steps.median(1).values
print(f"{int(smooth.sum())} of {len(steps)} seams are at most 1.5 times the median step")
show.player(dict(zip(names, looped)), fps=store.fps)

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# In shots 0 and 2 the seam is smaller than the median border, in shots 1 and 3 somewhat larger: looping itself adds little. Whether it can be
# seen depends on how it compares with the median step: shots 1 and 3, where less moves, are above the limit. *Decoded once* is the seam
# without rounds before and after: about twice as large.
#
# In the film a border is nothing special: it is only where our patches end. Through the tokenizer steps within patches are smaller than
# over borders: few digits cannot hold all motion of four frames, and part of what is lost within is made up for at the border. Short patches, a
# decoder that looks ahead, and a loss on steps from frame to frame work against that (notebook 05).
#
# </details>
#
# ## Backwards
#
# Reverse a clip, continue it, and reverse the result: what was drawn lies *before* the clip. About a third of the training batches ran
# backwards. But film that runs backwards looks different: smoke sinks into chimneys. A prior that is not given the direction has to guess it. So the direction is a condition: one learned vector
# for forwards, one for backwards, one for unknown.
#
# ### What is the direction worth?
#
# A toy clock counts up by one each frame, modulo eight, and jumps to a random value in one frame of ten. Backwards it counts down. A toy prior learns both, and is given the direction in four batches
# of five. Then we measure it on new clips, conditioned on the right direction, on none, or on the wrong one.


# %%
# NBVAL_IGNORE_OUTPUT
def clocks(count, dice):
    """(count, 4, 1, 1): values that count up, with jumps."""
    found = [torch.randint(8, (count,), generator=dice)]
    for _ in range(3):
        jump = torch.rand(count, generator=dice) < NOISE
        anywhere = torch.randint(8, (count,), generator=dice)
        found.append(torch.where(jump, anywhere, (found[-1] + 1) % 8))
    return torch.stack(found, dim=1)[..., None, None]


def direction_loss(prior, clips):
    turned = clips.flip(1)
    if torch.rand(()) < 0.2:
        return prior.running(None).nll_bits(torch.cat([clips, turned])).mean()
    return (prior.running(False).nll_bits(clips) + prior.running(True).nll_bits(turned)).mean() / 2


clock = toy_prior((8,), (1, 1), directions=True)
clock = taught(clock, direction_loss, functools.partial(clocks, 16), 2 * settings.toy_steps)
test = clocks(settings.toy_clips, torch.Generator().manual_seed(1))
direction_bits = {}
with torch.no_grad():
    for name, direction in {"told right": False, "told nothing": None, "told wrong": True}.items():
        direction_bits[name] = clock.running(direction).nll_bits(test).mean((0, 2, 3))
print(f"{'frame':14}" + "".join(f"{k:6}" for k in range(4)))
for name, line in direction_bits.items():
    print(f"{name:14}" + "".join(f"{x:6.2f}" for x in line.tolist()) + "   bits")

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# The first frame costs three bits in all cases. The second costs nearly a bit more without the direction: the prior has to choose between two values. After that
# the past mostly shows it. With the wrong direction the prior pays far more, and for longer. So a direction matters most where the past is short.
#
# </details>
#
# The same for the film, on held-out clips forwards and reversed.

# %%
# NBVAL_IGNORE_OUTPUT
six_five = part_of(held, SIZES["6:5"])
print(f"{'':12}{'told right':>12}{'nothing':>10}{'wrong':>8}   bits a token")
for name, turned in {"forwards": False, "backwards": True}.items():
    tokens = encoded(six_five.flip(2) if turned else six_five)
    line = [bits(prior.running(direction), tokens) for direction in (turned, None, not turned)]
    print(f"{name:12}{line[0]:12.3f}{line[1]:10.3f}{line[2]:8.3f}")

# %%
# NBVAL_IGNORE_OUTPUT
earlier = before(prior, tokenizer, second, TOTAL - PROMPT, **DRAW).cpu()
true_past = shots[:, :, PROMPT:]  # what the film has there
show.player(in_rows({"drawn": earlier, "film": true_past}), store.fps, 2, len(names))

# %% [markdown]
# In the upper row the first half of each clip is drawn, the second half given. The drawn past need not be the film's, below, but it should lead into the clip.
#
# <details><summary>What the stored run shows</summary>
#
# In bits the direction is worth nothing here. Perhaps motion looks alike both ways, or what is given shows it already; the run does not
# tell. The drawn pasts stay in their scenes, and the figures keep about the shape that they have where the clip begins. They move less
# than the film: shots 1 and 3 nearly stand still, while in the film the animal of shot 3 changes its whole body.
#
# </details>
#
# ## Parts of the picture
#
# Keep some tokens and draw the others: for example, keep the left half and draw the right. A kept token that comes *earlier* in the order is simply
# part of the past, and conditioning on it is exact. Of one that comes *later*, in the next row or latent frame, a causal prior knows nothing.
# The exact distribution would weight every draw by how probable it makes the kept tokens.
#
# That weight can be applied afterwards. Draw $n$ *candidates* for a latent frame, compute what the kept tokens cost in each, $b_1, \dots, b_n$ bits, and draw
# among the candidates with weights $2^{-b_i}$. This is *importance resampling*; repeated for each latent frame it is a *particle filter*. As
# $n \to \infty$ it becomes exact, if candidates are drawn from the prior unchanged (no top-p, temperature 1).

# %% [markdown] tags=["student"]
# **Your part: resample** (easy, 15 minutes). Write `resample(bits, dice)`: `bits` is `(n,)`, what the kept tokens cost in each candidate; `dice` a
# `torch.Generator`. Return `(n,)` int64: the indices of candidates drawn *with replacement*, with weights $2^{-b_i}$.
#
# <details><summary>Hint 1</summary>
#
# `torch.multinomial(weights, n, replacement=True, generator=dice)` takes weights that need not add up to 1.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Hundreds of tokens cost thousands of bits, and $2^{-2000}$ is 0 in floats. Only ratios matter: first subtract the smallest cost from all.
#
# </details>


# %% tags=["task"]
def resample(bits, dice):
    """Numbers of candidates (n,), drawn with replacement by weights of 2 ** -bits."""
    ### BEGIN SOLUTION
    weights = torch.exp2(bits.min() - bits)
    return torch.multinomial(weights, len(bits), replacement=True, generator=dice)
    ### END SOLUTION


# %% tags=["grader"]
def check_resample(function):
    bits = torch.tensor([0.0, 1.0, 2.0]).repeat(2000)
    want = torch.tensor([4.0, 2.0, 1.0]) / 7
    for least in (0.0, 2000.0):
        try:
            got = function(bits + least, torch.Generator().manual_seed(0))
        except Exception as error:
            why = " 2 ** -2000 is 0: take away the smallest first." if least else ""
            what = f"{type(error).__name__}: {error}"
            return f"with {least:g} bits or more it stops with {what}.{why}"
        if getattr(got, "shape", None) != bits.shape:
            return "expected a tensor of as many numbers as there are bits. Is there a return?"
        if got.unique().numel() == 1:
            return "always the same candidate: draw by weights, do not take the best"
        if got.unique().numel() == len(bits):
            return "each came once: draw with replacement, so that good ones come often"
        share = torch.bincount(got % 3, minlength=3) / len(bits)
        if share[2] > share[0] + 0.1:
            return "the costly ones come most often: the weight is 2 ** -bits"
        if torch.allclose(share, bits[:3].neg().softmax(0), atol=0.02):
            return "that is e ** -bits: one bit more is half of the weight, 2 ** -bits"
        if not torch.allclose(share, want, atol=0.03):
            return f"0, 1, 2 bits: shares {share.tolist()}, expected about 4/7, 2/7, 1/7"
    return "right: drawn by weights of 2 ** -bits, however many bits there are"


print(check_resample(resample))

# %% [markdown]
# The walk again: the dot starts at place 2, and its place after four steps, 5, is *kept*. Each candidate draws three steps without knowing that. Where
# is the dot after three? `bridge` gives the exact distribution; we measure how much probability is at the wrong places.


# %%
# NBVAL_IGNORE_OUTPUT
def third_place(candidates, times, dice):
    """Shares (8,) of where the dot is after three steps, over many fillings."""
    tally = torch.zeros(PLACES)
    for _ in range(times):
        at = torch.full((candidates,), 2)
        for _ in range(3):
            at = torch.multinomial(P[at], 1, generator=dice)[:, 0]
        cost = -P[at, 5].clamp(min=1e-30).log2()  # out of reach: very costly
        tally[at[resample(cost, dice)[0]]] += 1
    return tally / times


exact = torch.eye(PLACES)[2]
for k in (4, 3, 2):
    exact = exact @ bridge(P, 5, k)
dice = torch.Generator().manual_seed(0)
for n in (1, 8, 64, 512):
    share = third_place(n, settings.toy_clips // 4, dice)
    misplaced = float((share - exact).abs().sum() / 2)
    print(f"candidates: {n:3}, {misplaced:.2f} of the probability misplaced")

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# With one candidate the dot is where it would be without a goal. Eight remove most of the error, and with many it nearly vanishes. But a path from 2 to 5 in four steps is rare, and
# only a candidate that was drawn can be chosen. Conditioning on a goal does not depend on such luck.
#
# </details>
#
# Now the film, one latent frame after another, by hand and with `fill`. `generate_tokens(kept=...)` draws where `kept` is -1.


# %%
def counted(n):
    return f"{n} candidate" + "s" * (n > 1)


def fill_by_hand(tokens, keep, candidates, seed=0):
    """Tokens (1, t, h, w), drawn anew where keep (h, w) is False."""
    dice, kept = torch.Generator().manual_seed(seed), torch.where(keep, tokens, -1)
    made = tokens[:, :0].expand(candidates, -1, -1, -1)
    for t in range(tokens.shape[1]):
        made = generate_tokens(
            prior, made if t else None, t + 1, seed + t * candidates, batch=candidates,
            kept=kept[:, : t + 1], **DRAW)  # fmt: skip
        if candidates > 1:
            with torch.no_grad(), autocast(device()):
                cost = (prior.nll_bits(made)[:, -1] * keep).sum((1, 2)).cpu()
            made = made[resample(cost, dice).to(made.device)]
    return made[:1]


# %%
# NBVAL_IGNORE_OUTPUT
original = shots[:1, :, : 2 * PROMPT]
true_tokens = encoded(original)
keep_pixels = torch.zeros(original.shape[-2:], dtype=torch.bool)
keep_pixels[:, : original.shape[-1] // 2] = True
keep = torch.zeros(prior.grid, dtype=torch.bool, device=device())
keep[:, : original.shape[-1] // 2 // tokenizer.tubelet[2]] = True  # whole tubelets
filled = {n: fill_by_hand(true_tokens, keep, n) for n in (1, settings.candidates)}
library = fill(prior, tokenizer, original, keep_pixels, candidates=settings.candidates, **DRAW)
ours = decoded(filled[settings.candidates])
print("by hand as vg's:", torch.allclose(ours, library.cpu(), atol=1e-3))
with torch.no_grad():
    costs = {n: prior.nll_bits(made)[0] for n, made in filled.items()}
    costs["film"] = prior.nll_bits(true_tokens)[0]
for n, each in costs.items():
    name = counted(n) if n != "film" else "the film itself"
    print(f"{name:16} kept tokens {float(each[:, keep].mean()):.2f} bits, "
          f"the others {float(each[:, ~keep].mean()):.2f}")  # fmt: skip
given_half = torch.where(keep_pixels, original, 0.5)[0]
drawn = {counted(n): decoded(made)[0] for n, made in filled.items()}
show.player({"given": given_half, **drawn, "film": original[0]}, fps=store.fps, scale=2)

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# The kept half costs least beside the film's own right half, a little more with eight candidates, and again a little more with one. So the
# choice goes the right way, but makes little difference: this is one clip with one seed, and the two drawn halves look nearly the same.
# Both are rows of dark and light blots, which soon hardly move and cost the prior far less than the film's own half. Neither completes the figure.
#
# </details>
#
# ## What it costs
#
# Training on other shapes leaves fewer steps for each. What does that cost?
# The shipped prior learned six: the four below, and the film's own shape half as large again and a quarter smaller. Four more priors of
# the same size were trained, each on one shape, with half as many random crops of that shape again as the shipped one had. (For all of them, every third batch is the whole picture at 6:5.) The card has the bits per token on held-out windows of one, three and six latent frames.

# %%
# NBVAL_IGNORE_OUTPUT
facts = checkpoints.card("prior-64").facts
for shape, kept in facts["one_shape"].items():
    line = f"{shape:6}"
    for frames, (mixed, alone) in kept.items():
        line += f"   {frames} latent: {mixed:.2f}, alone {alone:.2f} ({mixed / alone - 1:+.1%})"
    print(line)
for size, kept in facts["unseen_shapes"].items():
    print(f"never trained on, {size}:  ", ", ".join(f"{n} latent: {bits:.2f}" for n, bits in kept.items()))

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# At all four shapes and every length the prior for all shapes is ahead. Edges, figures and motion look alike at all shapes,
# and it had four times as many steps to learn them. So this compares crops per shape, of which it even had fewer, and not training time. Of the shapes never
# trained on, the larger picture costs less per token than 6:5, the strip slightly more than 16:9.
#
# </details>
#
# What fails, or may fail:
#
# - **Shapes.** Two that were in no training are measured above: one with sides a quarter longer, and a strip. Their tokens cost hardly more. Bits do not tell
#   what clips do: a prior that had not seen 96x116 cost no more there either, and of twelve clips five dissolved (benchmarks/LOG.md). So try it.
# - **Goals.** A goal is one latent frame. It does not say how the second clip *moves*, so motion may break at the seam even if the picture fits. A goal
#   more than `prior.config.goals` latent frames ahead has no effect.
# - **Between scenes.** Clips of different shots can be joined, but the film only cuts between them, and no training window contains a cut.
# - **Loops.** Little motion is easy to loop. Large motion must return to where it began, and the prior was not trained on cycles.
# - **Backwards.** The encoder is causal: it encodes the beginning of a clip differently from the rest, reversed or not.
# - **Filling.** Whole tubelets only. Later kept tokens count only through the choice among candidates; after a few resamplings all of these share one past.
#
# ## Exercises
#
# **1. Within reach** (easy, 10 minutes). From some places the goal of the walk is out of reach. Write `reachable(P, goal, k)`: bool
# `(n,)`, True for the places from which the goal can be reached in exactly `k` steps.


# %%
def reachable(P, goal, k):
    return None  # yours


def check_reachable(function):
    got = function(P, 7, 3)
    if got is None:
        return "not yet: reachable returns None"
    if getattr(got, "dtype", None) != torch.bool or tuple(got.shape) != (PLACES,):
        return "expected bool (8,)"
    if got.tolist() == [True] * 4 + [False] * 4:
        return "that is from 7 down the other end: count from the goal"
    return "right" if got.tolist() == [False] * 4 + [True] * 4 else f"from 4 to 7 only, not {got}"


print(check_reachable(reachable))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def reachable(P, goal, k):
#     return torch.linalg.matrix_power(P, k)[:, goal] > 0
# ```
#
# A trained prior gives even impossible paths some probability, because a softmax is never exactly 0.
#
# </details>
#
# **2. Stronger guidance** (medium, 20 minutes). `join(..., guidance=...)`: at 1, 3 and 8, measure how near the last drawn frame is to the
# goal (PSNR), and the motion in the drawn frames (`steps_of`).
#
# <details><summary>What to look for</summary>
#
# Whether the clip arrives nearer, or arrives early and then stands still. Guidance doubles the computing, for every token is predicted with and without the goal.
#
# </details>
#
# **3. Draw the middle** (hard, 30 minutes). Keep a border two tokens wide and draw the middle of a clip. Then keep the middle and draw the border. Which is
# easier for a causal prior, and in which rows does it know least?
#
# <details><summary>What to look for</summary>
#
# The middle should be easier: what lies above and to the left of it is kept. With the middle kept, the prior knows least in the first rows of the first latent frame: all kept tokens come later. From the second latent frame on, the past helps.
#
# </details>
#
# ## Summary
#
# - With coordinates in place of a table, and slopes that follow the grid, one prior works on any grid.
# - A goal is a condition known beforehand; the model stays causal. Joins and loops are prompts with goals.
# - Knowing the direction saves the toy nearly a bit where the past is short; on the film it saves nothing measurable.
# - Filling is exact for kept tokens that come earlier, and approximate, by resampling, for later ones.
#
# ## References
#
# - Brooks et al., 2024, *Video generation models as world simulators* (the report on Sora): shapes, loops, joins, extension backwards.
# - Tancik et al., 2020, *Fourier features let networks learn high frequency functions in low dimensional domains*, arXiv:2006.10739.
# - Press et al., 2022, *Train short, test long: attention with linear biases enables input length extrapolation*, arXiv:2108.12409.
# - Bavarian et al., 2022, *Efficient training of language models to fill in the middle*, arXiv:2207.14255: another way to a goal, by order.
