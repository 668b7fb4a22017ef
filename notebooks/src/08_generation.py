# %% [markdown]
# # 08 Generation
#
# The tokenizer turns video into integers and back. The prior says, for every integer, how probable each value is given
# all the integers before it. Put the two in a loop and you have a machine that draws: ask for probabilities, draw a
# token, append it, ask again; at the end decode. This notebook is about that loop: the few lines it needs, the knobs it
# has, what it makes, and how to tell whether what it makes is any good.
#
# **After this notebook you will be able to**
# - draw a token by hand, digit by digit, with temperature, top-k, top-p and the Gumbel trick;
# - draw several tokens a pass, the very same ones, and say why that is faster;
# - guide a draw, by the past and by a scene's label;
# - make video from nothing, from a still, from a clip, for a chosen scene, and longer than any training clip;
# - say how teacher-forced and free-running prediction differ, and measure how errors grow;
# - say how far a set of clips is from the film, by a Frechet distance, and what that number can and cannot see;
# - ask whether a generated clip is new, or a training clip remembered;
# - save what you make as GIF and MP4.
#
# **You need** Python, a little PyTorch, and the shipped weights: `tubelet-fsq-64` and `prior-64`, or those of 128 pixels. The notebook runs alone.
#
# **Minutes:** about 6 on a two-core laptop; two or three with a GPU. Nothing is trained here.
#
# **Before:** [07 Transformer](07_transformer.ipynb). This is the last part of the course; its map is in
# [00 Start here](00_start_here.ipynb).

# %%
# NBVAL_IGNORE_OUTPUT
import itertools
import math
import time

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from IPython.display import display

from vg import checkpoints, evaluation, paths, show
from vg.data import Clips, film, open_stores, save, split_shots
from vg.evaluation.generated import shuffled
from vg.hashing import weight_hash
from vg.latents.search import search_codes
from vg.models import Prior, PriorConfig
from vg.models.transformer import DecodeState
from vg.profiles import device, profile
from vg.sampling import filter_logits, generate, generate_tokens, one_by_one, sampling_defaults
from vg.show import interactive

show.style()
source = film()
print(f"profile {profile().name}, device {device()}")
print(source.describe())

# %% [markdown]
# ## The pair
#
# A prior speaks the language of one tokenizer. Its card holds the hash of the weights of the tokenizer it was trained
# with, so a wrong pair can be noticed before it draws nonsense. There are two pairs. What is shown here is 64x64; set `SIZE`
# to 128 for the larger pair, and run everything again. Near the end is a sheet of its clips.

# %%
SIZE = 64  # or 128
tokenizer = checkpoints.load(f"tubelet-fsq-{SIZE}")
prior = checkpoints.load(f"prior-{SIZE}")
prior_card = checkpoints.card(f"prior-{SIZE}")
print("same levels:             ", tuple(prior.levels) == tuple(tokenizer.levels))
print("made for this tokenizer: ", prior_card.facts["tokenizer"]["weights"] == weight_hash(tokenizer))
print("frozen:                  ", tokenizer.frozen and prior.frozen)
tokenizer, prior = tokenizer.to(device()), prior.to(device())
span, grid, window = tokenizer.tubelet[0], prior.grid, prior_card.facts["window_in_latent_frames"]

# %%
# NBVAL_IGNORE_OUTPUT
print(f"a token: {tokenizer.tubelet} frames, rows, columns; one of {math.prod(prior.levels):,} codes, {prior.levels}")
print(f"a latent frame: {grid[0]} x {grid[1]} = {prior.tokens_per_frame} tokens for {span} frames")
print(f"trained on windows of {window} latent frames, {window * span} frames; {prior.config.num_labels} scene labels")
for name, value in prior_card.facts["metrics"].items():
    if name != "generated":  # measured further down, on the same clips
        print(f"    {name:42} {value}")

# %% [markdown]
# Prompts come from the film, restored and cut into shots as in notebook 00. Training shots are those that tokenizer and
# prior have learned from; validation shots neither has seen. A continuation of a training shot can be memory. A
# continuation of a validation shot cannot, so wherever one is shown below, the other stands beside it.
#
# The cell ends with a few amounts for the whole notebook. A prompt has 16 frames, two latent frames; a continued clip has
# `TOTAL` frames, the prompt included. `SAMPLING` are the knobs used wherever nothing else is said, those of
# `vg.sampling.sampling_defaults`, which were settled by measurement for each of the two priors: set your own in this cell and run again.

# %%
# NBVAL_IGNORE_OUTPUT
amount = profile().pick(smoke=240, laptop=None, gpu=None)  # frames; None: all of them
share = profile().pick(smoke=0.35, laptop=0.1, gpu=0.1)  # of the frames, held out
store, large_store = open_stores(source, [{"size": SIZE}, {"size": 128}], frames=amount)
train_shots, val_shots = split_shots(store.shots, share)
same_film = prior_card.facts["data"]["sha256"] == store.source_sha256
print(store)
print(f"{len(train_shots)} training shots, {len(val_shots)} validation shots")
if not same_film:
    print("The prior was trained on another film: to it, every shot here is a validation shot.")

GIVEN = 2  # latent frames of a prompt
PROMPT = GIVEN * span  # frames of a prompt
TOTAL = profile().pick(smoke=PROMPT + span, laptop=48, gpu=48)
NEW = TOTAL - PROMPT
SAMPLING = sampling_defaults(prior)
print("SAMPLING:", SAMPLING)

# %% [markdown]
# ## One token by hand
#
# Encode a prompt. `prior.advance` reads its tokens and returns one vector, the hidden state that predicts the next token.
# The head turns it into *logits*, one number for each value of the token's first digit. Softmax turns logits into
# probabilities.
#
# Draw the first digit, add its embedding to the hidden state, and the next layer of the head predicts the second digit,
# and so on. Three digits are one token. With `argmax` in place of a draw the result is the same every time, so it can be
# compared with `prior.head.sample`.


# %%
def middle_clip(shots, frames):
    """The middle of the longest shot: (1, C, frames, H, W)."""
    first, stop = max(shots, key=lambda shot: shot[1] - shot[0])
    start = (first + stop - frames) // 2
    return store.clip(start, start + frames)


val_clip, train_clip = middle_clip(val_shots, TOTAL), middle_clip(train_shots, TOTAL)
tokens = tokenizer.encode(val_clip[:, :, :PROMPT].to(device()))  # (B, t, h, w)
hidden = prior.advance(DecodeState(), prior.digits(tokens))  # (B, D)
logits = prior.head.logits[0](hidden)  # (B, levels[0])
print("tokens", tuple(tokens.shape), " logits of the first digit", tuple(logits.shape))
print("probabilities add up to one:", bool(torch.allclose(logits.softmax(-1).sum(), torch.ones(()).to(device()))))


def one_token(hidden, choose):
    """Digits (B, digits) of the next token, from hidden states (B, D)."""
    x, digits = hidden, []
    for i in range(len(prior.levels)):
        digits.append(choose(prior.head.logits[i](x)))  # (B,)
        if i + 1 < len(prior.levels):
            x = x + prior.head.known.tables[i](digits[i])
    return torch.stack(digits, dim=-1)


def likeliest(logits):
    return logits.argmax(dim=-1)


by_hand = one_token(hidden, likeliest)
print("digits of a token:", tuple(by_hand.shape))
print("agree:", torch.equal(by_hand, prior.head.sample(hidden, likeliest)))

# %% [markdown]
# ## Temperature belongs to the logits
#
# Dividing the logits by a temperature T below 1 pulls probabilities apart, above 1 brings them closer. In
# probabilities it is a power: `p ** (1 / T)`, made to sum to one again. A mistake that occurs in real code is to
# divide the *probabilities*. Normalised, that changes nothing at all; put through another softmax, it gives
# something nearly flat that has little to do with the model.

# %%
toy = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0, -3.0])
p, T = toy.softmax(-1), 0.5
right = (toy / T).softmax(-1)
print("a power of the probabilities:         ", torch.allclose(right, p ** (1 / T) / (p ** (1 / T)).sum()))
print("probabilities / T, normalised, is p:  ", torch.allclose((p / T) / (p / T).sum(), p))
print("T below 1 makes the likeliest likelier:", bool(right.max() > p.max()))
print("softmax(probabilities / T) does not:  ", bool((p / T).softmax(-1).max() < p.max()))

figure, axes = plt.subplots(1, 2, figsize=(8, 2.6), sharey=True)
rows = {f"T = {t}": (toy / t).softmax(-1) for t in (0.5, 1.0, 2.0)}
wrong = {"T = 1, as it should be": p, "softmax(p / 0.5)": (p / 0.5).softmax(-1), "p / 0.5, normalised": p}
for ax, series, title in zip(axes, (rows, wrong), ("logits / T", "probabilities / T: wrong")):
    for k, (name, values) in enumerate(series.items()):
        ax.bar([i + 0.27 * (k - 1) for i in range(6)], values.tolist(), width=0.25, label=name)
    ax.set(title=title, xlabel="value")
    ax.legend()
plt.show()

# %% [markdown]
# ## Top-k and top-p
#
# A value of probability 0.001 is rare, but there are thousands of draws in a clip, and one odd token can be copied by all
# that follow. So the tail is cut off before drawing. *Top-k* keeps the k largest. *Top-p* (nucleus sampling,
# arXiv:1904.09751) keeps the fewest values that together hold a share p: many where the model hesitates, one where it is
# sure. Both put `-inf` where a value is left out. By hand, then by `vg.sampling.filter_logits`:


# %%
def top_k_by_hand(logits, k):
    keep = sorted(range(len(logits)), key=lambda i: -logits[i])[:k]
    return torch.tensor([float(x) if i in keep else -math.inf for i, x in enumerate(logits)])


def top_p_by_hand(logits, p):
    probability, kept, held = logits.softmax(-1), [], 0.0
    for i in sorted(range(len(logits)), key=lambda i: -logits[i]):
        if held >= p:  # those before hold enough
            break
        kept.append(i)
        held += float(probability[i])
    return torch.tensor([float(x) if i in kept else -math.inf for i, x in enumerate(logits)])


for k in (1, 2, 4):
    print(f"top_k={k}    agree:", torch.equal(top_k_by_hand(toy, k), filter_logits(toy, top_k=k)))
for share_kept in (0.3, 0.7, 0.95):
    kept = int(filter_logits(toy, top_p=share_kept).isfinite().sum())
    agree = torch.equal(top_p_by_hand(toy, share_kept), filter_logits(toy, top_p=share_kept))
    print(f"top_p={share_kept:<4} agree: {agree}, keeps {kept}")

# %% [markdown]
# ## The Gumbel trick
#
# `vg` draws with noise that is made beforehand, one uniform number u for each possible value: add `-log(-log(u))` to each
# logit and take the largest. That is an exact draw from the softmax. What it gives us: the same noise can be used with
# two different predictions, so that only the prediction differs. Later, teacher-forced and free-running clips are
# compared in this way. Here are 20,000 draws of the toy beside its probabilities.

# %%
u = torch.rand(20_000, len(toy), generator=torch.Generator().manual_seed(0)).clamp(1e-9, 1 - 1e-7)
drawn = (toy - torch.log(-torch.log(u))).argmax(-1)
frequency = torch.bincount(drawn, minlength=len(toy)) / len(drawn)
print("within one hundredth of softmax:", bool((frequency - toy.softmax(-1)).abs().max() < 0.01))

figure, ax = plt.subplots(figsize=(5, 2.4))
ax.bar([i - 0.2 for i in range(6)], toy.softmax(-1).tolist(), width=0.38, label="softmax")
ax.bar([i + 0.2 for i in range(6)], frequency.tolist(), width=0.38, label="frequency of 20,000 Gumbel draws")
ax.set(xlabel="value", ylabel="probability")
ax.legend()
plt.show()

# %% [markdown]
# ## The past as a guide
#
# One more knob. The prior learned from windows that begin anywhere in a shot. So it knows two answers to every question:
# what comes here after all that was, and what would come here if this latent frame were the first. The second knows
# cartoons in general; only the first has seen this clip. *History guidance* (arXiv:2502.06764; for text,
# arXiv:2305.14739) goes from the second towards the first, and beyond it:
#
#     logits = without + history * (with - without)
#
# At 1 that is the prior itself. Above 1, whatever the past makes likelier becomes likelier still: the ear that was there
# a moment ago, and also the step that follows a step. Here is one digit in the middle of a video: the token at place 100
# of the third latent frame.

# %%
# NBVAL_IGNORE_OUTPUT
digits = prior.digits(tokenizer.encode(val_clip[:, :, : PROMPT + span].to(device())))  # (1, L, digits)
place = 100
first = GIVEN * prior.tokens_per_frame  # the third latent frame begins here
with torch.no_grad():
    with_past = prior.head.logits[0](prior.hidden(digits)[0, first + place])
    without = prior.head.logits[0](prior.hidden(digits[:, first:])[0, place])
figure, ax = plt.subplots(figsize=(5, 2.4))
for k, amount in enumerate((0.0, 1.0, 1.5, 3.0)):
    shares = (without + amount * (with_past - without)).softmax(-1).tolist()
    ax.bar([i + 0.2 * (k - 1.5) for i in range(len(shares))], shares, width=0.18, label=f"history {amount:g}")
ax.set(xlabel="value of the first digit", ylabel="probability")
ax.legend()
plt.show()

# %% [markdown]
# All knobs on this token, without a kernel. The bars are what is drawn from, dotted outlines the prior's own
# probabilities, a cross a value that is left out. Later digits are shown as they are after the film's own digits.

# %%
# NBVAL_IGNORE_OUTPUT
true = digits[0, first + place]
with torch.no_grad():
    hiddens = prior.hidden(digits)[0, first + place], prior.hidden(digits[:, first:])[0, place]
    past, alone = ([logits.cpu() for logits in prior.head.given(hidden, true)] for hidden in hiddens)
interactive.probabilities(past, alone, true.tolist(), SAMPLING, title="one token of the film: what may be drawn")

# %% [markdown]
# ## The whole loop
#
# All that is missing is the loop. `DecodeState` keeps keys and values of the tokens so far, so each step computes one
# position only. A second state is emptied before every latent frame, so it never sees earlier ones. `roll` also notes how
# long each latent frame takes. It must give the very tokens that `vg.sampling.generate_tokens` gives.


# %%
def chooser(noise, temperature=1.0, top_k=None, top_p=None, history=1.0):
    """What ``prior.head.sample`` asks for each digit in turn; ``noise`` is uniform, (B, digits, V)."""
    place = itertools.count()

    def choose(logits):  # (B, levels[i]) or, to be guided by the past, (2 B, levels[i]) -> as many draws
        if history != 1.0:
            with_past, without = logits.chunk(2)
            logits = without + history * (with_past - without)
        u = noise[:, next(place), : logits.shape[-1]].clamp(1e-9, 1 - 1e-7)
        drawn = (filter_logits(logits / temperature, top_k, top_p) - torch.log(-torch.log(u))).argmax(dim=-1)
        return drawn if history == 1.0 else drawn.repeat(2)

    return choose


def roll(tokens, frames, seed, window=None, history=1.0, **options):
    """Continue tokens (1, t, h, w) to ``frames`` latent frames; also the seconds that each new one took."""
    draws, state, forgetful = torch.Generator().manual_seed(seed), DecodeState(), DecodeState()
    fresh = digits = prior.digits(tokens)  # (1, L, digits)
    reach, seconds, start = window and window * prior.tokens_per_frame, [], time.perf_counter()
    while digits.shape[1] < frames * prior.tokens_per_frame:
        hidden = prior.advance(state, fresh, window=reach)
        if history != 1.0:
            begins = digits.shape[1] % prior.tokens_per_frame == 0
            forgetful = DecodeState() if begins else forgetful
            hidden = torch.cat([hidden, prior.advance(forgetful, None if begins else fresh)])
        noise = torch.rand(1, len(prior.levels), max(prior.levels), generator=draws).to(device())
        fresh = prior.head.sample(hidden, chooser(noise, history=history, **options))[:1, None]
        digits = torch.cat([digits, fresh], dim=1)
        if digits.shape[1] % prior.tokens_per_frame == 0:
            seconds.append(time.perf_counter() - start)
            start = time.perf_counter()
    return prior.quantizer.indices(digits).view(1, frames, *prior.grid), seconds


# %%
rolled, _ = roll(tokens, GIVEN + 1, seed=0, **SAMPLING)
by_vg = generate_tokens(prior, tokens, GIVEN + 1, seed=0, progress=False, **SAMPLING)
print("agree:", torch.equal(rolled, by_vg))
guided_roll, _ = roll(tokens, GIVEN + 1, seed=0, history=2.0)
guided = generate_tokens(prior, tokens, GIVEN + 1, seed=0, progress=False, history=2.0)
print("agree, guided by the past:", torch.equal(guided_roll, guided))
print("the prompt is still there:", torch.equal(rolled[:, :GIVEN], tokens))

# %% [markdown]
# ## Several tokens a pass
#
# The loop asks for one token at a time. Such a step spends most of its time on fetching weights and on starting many small
# operations; with more rows it takes only a little longer. So most steps can be saved, and not one token changes.
#
# The noise of every token is drawn beforehand. So a token is a *function* of the tokens before it: give it the same past, and
# it comes out the same. Now **guess** the next `width` tokens, at first those one latent frame back. **Read** past and guesses in
# one pass, as in training. **Draw** each token again, with its own noise. The first one is right, for all that it depends on was
# known. If it equals its guess, the second one is right as well, and so on, up to and including the first that differs
# from its guess. Keep these. The ones behind it saw a wrong past: they are the next guesses, and usually better ones.
#
# This is speculative Jacobi decoding (arXiv:2410.01699, with shared noise arXiv:2510.24211). By hand, for one latent frame:


# %%
@torch.no_grad()
def draw_frame(tokens, seed, width, history=1.0, **options):
    """The latent frame after tokens (1, t, h, w): its digits (h * w, digits), and how many tokens each pass kept."""
    past = prior.digits(tokens)  # (1, L, digits)
    shape = prior.tokens_per_frame, len(prior.levels), max(prior.levels)
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(seed)).to(device())
    guess, place, kept = past[0, -prior.tokens_per_frame :].clone(), 0, []
    while place < prior.tokens_per_frame:
        some = slice(place, min(place + width, prior.tokens_per_frame))
        hidden = prior.hidden(torch.cat([past, guess[None]], dim=1))[0, past.shape[1] :][some]  # (width, D)
        if history != 1.0:
            hidden = torch.cat([hidden, prior.hidden(guess[None])[0, some]])
        drawn = prior.head.sample(hidden, chooser(noise[some], history=history, **options))[: some.stop - place]
        differs = [*(drawn != guess[some]).any(dim=-1).tolist(), True]
        guess[some] = drawn
        kept.append(min(differs.index(True) + 1, len(drawn)))
        place += kept[-1]
    return guess, kept


one_frame = prior.digits(by_vg)[0, -prior.tokens_per_frame :]  # drawn above
passes = {width: draw_frame(tokens, 0, width, **SAMPLING) for width in (1, 16, 64)}
for width, (drawn, kept) in passes.items():
    print(
        f"width {width:2}: the tokens of the plain loop: {torch.equal(drawn, one_frame)}, one pass a token: {max(kept) == 1}"
    )

# %%
# NBVAL_IGNORE_OUTPUT
drawn, kept = passes[64]
figure, (left, right) = plt.subplots(1, 2, figsize=(7, 2.4), width_ratios=[1, 1.8])
order = torch.arange(len(kept)).repeat_interleave(torch.tensor(kept)).view(grid)
shown = left.imshow(order, cmap="viridis")
left.grid(False)
left.set(title="the pass that drew each token", xlabel="column", ylabel="row")
figure.colorbar(shown, ax=left)
right.bar(range(len(kept)), kept)
right.axhline(prior.tokens_per_frame / len(kept), color="black", linestyle=":")
right.set(
    title=f"{prior.tokens_per_frame} tokens in {len(kept)} passes, {prior.tokens_per_frame / len(kept):.1f} a pass",
    xlabel="pass",
)
right.set_ylabel("tokens kept")
plt.show()

# %% [markdown]
# Read the map from left to right and down, as the tokens are. Large patches of one colour are places where guesses held: there
# nothing moves. Many small steps are places where something does.
#
# <details><summary>Why is the result the same for every width, and where does the speed come from?</summary>
#
# A token is kept only if every token before it is final, so it was drawn from the very past that the plain loop would have had,
# with the same noise. The width decides how many are *tried* a pass. A pass with 64 rows costs a few times what one with a
# single row does, since the weights are fetched once for all of them, and it keeps more tokens than that. A prior that could not be
# guessed at all would keep one token a pass and gain nothing: the first latent frame of a video, which has none before it, is nearly so.
#
# </details>
#
# `generate_tokens` does the same with a KV cache, so that only the guesses are read again; `vg.sampling.one_by_one` is the plain
# loop. The seconds below are for one clip, on one thread: steps as small as these gain nothing from a second one.

# %%
# NBVAL_IGNORE_OUTPUT
seconds = {}
for name, loop in {"one token a pass": one_by_one, "several tokens a pass": generate_tokens}.items():
    start = time.perf_counter()
    same = loop(prior, tokens, TOTAL // span, seed=0, progress=False, **SAMPLING)
    seconds[name] = time.perf_counter() - start
    speed = (TOTAL - PROMPT) / seconds[name]
    print(f"{name:22} {seconds[name]:5.1f} s, {speed:5.1f} frames a second; the film plays at {store.fps:.0f}")
print(f"{seconds['one token a pass'] / seconds['several tokens a pass']:.1f} times as fast")

# %% [markdown]
# ## From nothing
#
# `generate` draws these tokens, with the tokenizer at both ends. Without a prompt it begins with the learned start token. The
# seeds are 0, 1 and 2 and nothing was picked. Look for: is there a place, a figure, anything you have seen in the film?
# Does it move, and does what moves stay in one piece?

# %%
# NBVAL_IGNORE_OUTPUT
dreams = generate(prior, tokenizer, frames=NEW, batch=3, seed=0, **SAMPLING).cpu()
show.player({f"from nothing, seed {k}": clip for k, clip in enumerate(dreams)}, fps=store.fps)

# %% [markdown]
# A number to go with the eye: *motion*, the mean absolute difference of neighbouring frames in grey levels (0 to 255). It
# cannot tell good motion from bad, but it tells a still picture and a storm from film. The tokenizer may smooth
# things, so the fair comparison is the film after it went through the tokenizer.


# %%
# NBVAL_IGNORE_OUTPUT
def motion(video):
    """(B, C, T, H, W) -> (B,), grey levels a frame."""
    return (video[:, :, 1:] - video[:, :, :-1]).abs().flatten(1).mean(1) * 127.5


@torch.no_grad()
def through_tokenizer(video):
    """Encoded and decoded: the best that any prior could do. (B, C, T, H, W) on the CPU."""
    parts = [tokenizer.decode(tokenizer.encode(part.to(device())), part.shape[2:]) for part in video.split(8)]
    return torch.cat(parts).cpu()


val_new = Clips(store, val_shots, frames=NEW, stride=8)  # as long as what is made
val_new = val_new.take(range(len(val_new)))
shape = (3, 1, NEW, *store.frames.shape[2:])
print("three clips of the wanted length:", tuple(dreams.shape) == shape)
print("within [-1, 1]:", bool((dreams.abs() <= 1).all()))

rows = {f"from nothing, seed {k}": float(m) for k, m in enumerate(motion(dreams))}
film_moves = {
    "film, validation shots": float(motion(val_new).mean()),
    "the same, through the tokenizer": float(motion(through_tokenizer(val_new)).mean()),
}
show.bars(rows, "motion", "grey levels a frame", baselines=film_moves)

# %% [markdown]
# ## From a still
#
# A prompt of one frame. The tokenizer needs eight, so the frame is held: the prior is told that for eight frames nothing
# moved. Does it then go on standing still, or does something begin to move? Two stills, one from a training shot, one from
# a validation shot; the film's own frames stand beside what is made. A white line at the bottom marks the frames that were
# given.


# %%
# NBVAL_IGNORE_OUTPUT
def marked(video, frames):
    """A copy with a white line under the first ``frames`` frames, those that were given."""
    video = video.clone()
    video[..., :frames, -3:, :] = -1
    video[..., :frames, -2:, :] = 1
    return video


still_frames = profile().pick(smoke=2 * span, laptop=4 * span, gpu=4 * span)
stills = torch.cat([train_clip, val_clip])[:, :, :1]  # (B, C, 1, H, W)
from_still = generate(prior, tokenizer, stills, frames=still_frames, seed=0, progress=False, **SAMPLING).cpu()
print("one video for each still:", len(from_still) == len(stills), from_still.shape[2] == still_frames)

sheet = {}
for k, (name, original) in enumerate({"training": train_clip, "validation": val_clip}.items()):
    sheet[f"{name}: film"] = marked(original[0, :, :still_frames], 1)
    sheet["from its first frame"] = marked(from_still[k], span)
    display(show.strip(sheet, every=4, scale=1))
    sheet = {}
moves = motion(from_still[:, :, span - 1 :])
print(f"motion after the still: training {moves[0]:.2f}, validation {moves[1]:.2f} grey levels a frame")

# %% [markdown]
# ## Continuing a clip
#
# Now 16 frames of the film, and the prior goes on. The two prompts are stacked into one batch `(B, C, T, H, W)`, so both
# are made at once. Left in each pair is what the film did, right what the prior did. They need not agree: many things could
# happen next. Ask instead whether the place stays, whether things keep their shape, and whether they move as such things
# do.

# %%
# NBVAL_IGNORE_OUTPUT
originals = torch.cat([train_clip, val_clip])
continued = generate(prior, tokenizer, originals[:, :, :PROMPT], frames=TOTAL, seed=0, **SAMPLING).cpu()
pairs = {
    "training: film": marked(originals[0], PROMPT),
    "training: made": marked(continued[0], PROMPT),
    "validation: film": marked(originals[1], PROMPT),
    "validation: made": marked(continued[1], PROMPT),
}
show.player(pairs, fps=store.fps, scale=2)

# %% [markdown]
# ## Several futures of one past
#
# The seed decides the draws and nothing else: the same arguments and the same seed give the same video, another seed
# another one. In a batch, sample `b` has the seed `seed + b`.

# %%
one = val_clip[:, :, :PROMPT]
several = generate(prior, tokenizer, one, frames=TOTAL, batch=3, seed=10, progress=False, **SAMPLING).cpu()
again = generate(prior, tokenizer, one, frames=TOTAL, batch=3, seed=10, progress=False, **SAMPLING).cpu()
print("same seed, same video:    ", torch.equal(several, again))
print("other seed, other video:  ", not torch.equal(several[0], several[1]))
print("one past in both:         ", torch.allclose(several[0, :, :PROMPT], several[1, :, :PROMPT], atol=1e-4))

futures = {"film": marked(val_clip[0], PROMPT)}
futures |= {f"seed {10 + b}": marked(clip, PROMPT) for b, clip in enumerate(several)}
show.strip(futures, every=6, scale=1)

# %% [markdown]
# ## A chosen scene, and guidance
#
# A scene is a place before it is anything else: here the wall, there the window. One vector for a whole scene cannot say
# that. So each label has a *layout* besides: for every place of the grid the mean of all codes that were seen there in
# training, as many numbers in [-1, 1] as a token has digits. It is computed once, before training, from training shots
# alone, as a codebook may begin with data instead of noise (notebook 02). The transformer reads it at the place that it is
# about to write. In training only the film as it is had labels, the number of its shot, and in four of five windows; its
# views from nearer, backwards and in a mirror came without, for there things stand elsewhere.
#
# By hand on a toy: three places, one digit of five values (codes -1, -0.5, 0, 0.5, 1), two latent frames.

# %%
toy_prior = Prior(PriorConfig(levels=(5,), grid=(1, 3), width=8, depth=1, heads=2, num_labels=2, layouts=True))
toy_tokens = torch.tensor([[[[0, 2, 4]], [[4, 2, 3]]]])  # (1, t=2, h=1, w=3)
toy_prior.learn_layouts(1, toy_tokens)
means = [sum((index - 2) / 2 for index in place) / 2 for place in ((0, 4), (2, 2), (4, 3))]
print("mean code of each place:", means)
print("the label's layout:     ", toy_prior.layouts[1 + 1].flatten().tolist())
print("labels that have one:   ", toy_prior.labels_with_layouts())

# %% [markdown]
# So the prior knows two distributions: with the label and without. *Classifier-free guidance* (arXiv:2207.12598) goes from
# the second towards the first, and beyond it:
#
#     logits = without + guidance * (with - without)
#
# First: does the label say anything? The cell takes the beginnings of two long training shots and prints what their
# tokens cost, in bits a token, with their own label, with none, and with the other's label.

# %%
# NBVAL_IGNORE_OUTPUT
longest = sorted(train_shots, key=lambda shot: shot[0] - shot[1])[:2]
scenes = [store.shots.index(shot) for shot in longest]  # the label is the shot's number
if max(scenes) >= prior.config.num_labels:
    raise ValueError(f"This prior has {prior.config.num_labels} scene labels; choose shots below that.")


def cost_by_label(model, clip, *labels):
    """Bits a token of tokens (1, t, h, w), told each of the labels; -1 is none."""
    return [float(model.nll_bits(clip, torch.tensor([label], device=device())).mean()) for label in labels]


for mine, other in (scenes, scenes[::-1]):
    start = store.shots[mine][0]
    clip = tokenizer.encode(store.clip(start, start + TOTAL).to(device()))
    costs = cost_by_label(prior, clip, mine, -1, other)
    print(
        f"shot {mine:2}: own label {costs[0]:.3f}, no label {costs[1]:.3f}, label {other} {costs[2]:.3f} bits a token"
    )

# %% [markdown]
# By hand for the very first digit of a video: with the label, without, and guided.

# %%
label = torch.tensor([scenes[0]], device=device())
with_label = prior.head.logits[0](prior.advance(DecodeState(), None, label))[0]  # (levels[0],)
without = prior.head.logits[0](prior.advance(DecodeState(), None, torch.full_like(label, -1)))[0]
guided = {g: without + g * (with_label - without) for g in (0.0, 1.0, 3.0)}
print("guidance 0 ignores the label:    ", torch.allclose(guided[0.0], without))
print("guidance 1 is the labelled prior:", torch.allclose(guided[1.0], with_label, atol=1e-5))

figure, ax = plt.subplots(figsize=(5, 2.4))
for k, (g, values) in enumerate(guided.items()):
    shares = values.softmax(-1).tolist()
    ax.bar([i + 0.27 * (k - 1) for i in range(len(shares))], shares, width=0.25, label=f"guidance {g:g}")
ax.set(xlabel="value of the first digit", ylabel="probability")
ax.legend()
plt.show()

# %% [markdown]
# Now whole clips from nothing but a label. The top row of each sheet is the film's shot with that number (if the prior was
# trained on the film that you use). With more guidance, does the picture come closer to the shot? What does it pay?

# %%
# NBVAL_IGNORE_OUTPUT
amount = profile().pick(smoke=1, laptop=2, gpu=2)
for scene in scenes[:amount]:
    start = store.shots[scene][0]
    sheet = {f"shot {scene}": store.clip(start, start + NEW)[0]}
    for guidance in (1.0, 3.0):
        clip = generate(
            prior, tokenizer, frames=NEW, seed=0, label=scene, guidance=guidance, progress=False, **SAMPLING
        )
        sheet[f"guidance {guidance:g}"] = clip[0].cpu()
    display(show.strip(sheet, every=8, scale=1))

# %% [markdown]
# On the film both places can be told: the pans that hang on the wall, the line along the top. The figures are blots, and
# more guidance makes them no truer. A layout is a mean over all frames of a shot: what stands still is in it, and
# who walks through is not.
#
# ## Longer than any training clip
#
# The prior was trained on windows of a few latent frames. ALiBi has no last position, so nothing stops the loop there.
# Two things do change. Each new token attends to all before it, so a token takes longer and longer, unless `window` bounds
# how far back it looks: older keys and values are then dropped. And whatever goes wrong stays in the past that
# everything after it reads. Four times the training window, with the bound and without: seconds for each
# latent frame, frames, and motion beside the film's mean. Does it die down, does it boil over, or does it hold?

# %%
# NBVAL_IGNORE_OUTPUT
length = profile().pick(smoke=GIVEN + 2, laptop=4 * window, gpu=4 * window)  # latent frames
bounded, seconds_bounded = roll(tokens, length, seed=0, window=window, **SAMPLING)
unbounded, seconds_unbounded = roll(tokens, length, seed=0, **SAMPLING)
timing = {
    f"looks back {window} latent frames": list(enumerate(seconds_bounded, GIVEN)),
    "looks back to the start": list(enumerate(seconds_unbounded, GIVEN)),
}
rate = (length - GIVEN) * prior.tokens_per_frame / sum(seconds_bounded)
print(
    f"{length * span} frames, {length * span / store.fps:.0f} seconds of film; {rate:.0f} tokens a second with the bound"
)
display(show.curves(timing, "time of each latent frame", x="latent frame", y="seconds"))

long = {"looks back a window": tokenizer.decode(bounded)[0].cpu(), "to the start": tokenizer.decode(unbounded)[0].cpu()}
display(show.strip({name: marked(clip, PROMPT) for name, clip in long.items()}, every=2 * span, scale=1))

ahead = {}
for name, clip in long.items():
    change = (clip[:, 1:] - clip[:, :-1]).abs().mean((0, 2, 3)) * 127.5  # (T - 1,)
    ahead[name] = [float(part.mean()) for part in change.split(span)]
show.curves(ahead, "motion in a long video", x="latent frame", y="grey levels a frame", baselines=film_moves)

# %% [markdown]
# In the run stored here motion dies down, with the bound and without: from what the tokenizer passes of the film's to about
# a quarter of that after 16 seconds. Standing still is what each latent frame that stands still makes likelier.
#
# ## The knobs on one prompt
#
# One prompt, seven settings. The top row is the film, and all pictures have one seed. Beside the pictures two numbers for
# each: *bits*, what the prior itself says the sampled tokens cost, and motion. Both are best near the film's own: far fewer bits than the
# film's tokens cost means that the clip is more predictable than film ever is; far more, that it has left what the prior
# knows. Which of the two is true of history 1.5, at this size? The numbers are means over a few seeds.


# %%
# NBVAL_IGNORE_OUTPUT
def bits_by_frame(indices):
    """Mean bits a token in each latent frame, (t,), as the prior sees it."""
    return torch.cat([prior.nll_bits(part) for part in indices.split(4)]).mean((0, 2, 3)).cpu()


settings = {
    "temperature 1": {},
    "history 1.5": {"history": 1.5},
    "history 3": {"history": 3.0},
    "temperature 0.5": {"temperature": 0.5},
    "temperature 1.2": {"temperature": 1.2},
    "top_k 2": {"top_k": 2},
    "top_p 0.9": {"top_p": 0.9},
}
settings = dict(list(settings.items())[: profile().pick(smoke=2, laptop=7, gpu=7)])

copies = profile().pick(smoke=2, laptop=3, gpu=16)
prompts = tokens.expand(copies, -1, -1, -1)  # the same one for each seed
truth = tokenizer.encode(val_clip.to(device()))
sheet, cost, moves = {"film": marked(val_clip[0], PROMPT)}, {}, {}
for name, options in settings.items():
    some = generate_tokens(prior, prompts, TOTAL // span, seed=0, batch=copies, progress=False, **options)
    clips = tokenizer.decode(some).cpu()
    sheet[name], moves[name] = marked(clips[0], PROMPT), float(motion(clips[:, :, PROMPT - 1 :]).mean())
    cost[name] = float(bits_by_frame(some)[GIVEN:].mean())
real = through_tokenizer(val_clip)[:, :, PROMPT - 1 :]
display(show.strip(sheet, every=8, scale=1))
display(show.bars(cost, "cost of what was drawn", "bits a token", {"film": float(bits_by_frame(truth)[GIVEN:].mean())}))
display(show.bars(moves, "motion", "grey levels a frame", {"film, through the tokenizer": float(motion(real)[0])}))

# %% [markdown]
# ## A sheet, none chosen
#
# Single clips persuade too easily. Here are ten continuations of validation shots and ten of training shots, drawn with a
# fixed seed before anybody looked, all made by one call. The prompts were drawn with a seed too. The cell prints the
# seconds: compare tokens a second with those of the long video, which was alone in its batch.


# %%
def random_prompts(shots, count, seed):
    """Clips of TOTAL frames from these shots, drawn without looking: (count, C, T, H, W)."""
    clips = Clips(store, shots, frames=TOTAL, stride=4)
    order = torch.randperm(len(clips), generator=torch.Generator().manual_seed(seed))
    return clips.take(order[:count].tolist())


half = profile().pick(smoke=1, laptop=10, gpu=10)
true_clips = torch.cat([random_prompts(val_shots, half, seed=1), random_prompts(train_shots, half, seed=1)])
true_tokens = torch.cat([tokenizer.encode(part.to(device())) for part in true_clips.split(4)])  # (B, t, h, w)
print("first half validation, second half training:", len(true_tokens) == 2 * half)

# %%
# NBVAL_IGNORE_OUTPUT
SEED, start = 0, time.perf_counter()
free_tokens = generate_tokens(
    prior, true_tokens[:, :GIVEN], TOTAL // span, seed=SEED, batch=len(true_tokens), **SAMPLING
)
free = torch.cat([tokenizer.decode(part).cpu() for part in free_tokens.split(4)])
seconds = time.perf_counter() - start
rate = free_tokens[:, GIVEN:].numel() / seconds
print(f"{len(free)} clips in {seconds:.0f} s, {rate:.0f} tokens a second")
display(show.strip({f"validation {k}": marked(clip, PROMPT) for k, clip in enumerate(free[:half])}, every=6, scale=1))

show.strip({f"training {k}": marked(clip, PROMPT) for k, clip in enumerate(free[half:])}, every=6, scale=1)

# %% [markdown]
# Count for yourself: how many of each ten stay in their scene, and how many of these move? The table may help. *Motion* is
# measured over the new frames. *Away* is how far the last frame is from the last frame of the prompt, again in grey
# levels: a clip that dissolves goes farther than the film does, one that freezes hardly goes anywhere.

# %%
# NBVAL_IGNORE_OUTPUT
smooth = through_tokenizer(true_clips)


def away(video):
    return (video[:, :, -1] - video[:, :, PROMPT - 1]).abs().flatten(1).mean(1) * 127.5


print(f"{'clip':14}{'motion':>8}{'film':>8}{'away':>8}{'film':>8}")
columns = (motion(free[:, :, PROMPT - 1 :]), motion(smooth[:, :, PROMPT - 1 :]), away(free), away(smooth))
for k, values in enumerate(zip(*columns)):
    name = f"validation {k}" if k < half else f"training {k - half}"
    print(f"{name:14}" + "".join(f"{float(value):8.2f}" for value in values))

# %% [markdown]
# ## Teacher-forced and free-running
#
# In training, the prior always predicts the next token from the *true* past: that is *teacher forcing*. When it
# generates, it reads what it wrote itself. A prior can be good at the first and poor at the second, and no loss curve shows
# that. This is where an earlier plan of this course failed.
#
#     teacher-forced     true  true  true  true  ?        each draw sees the true tokens, and is then thrown away
#     free-running       true  true  mine  mine  ?        each draw sees the draws before it
#
# So put them side by side, with the same noise and the same knobs. Teacher forcing needs no loop: one pass gives all hidden
# states. (With history above 1, a second pass, each latent frame alone, gives the states without a past.)


# %%
@torch.no_grad()
def teacher_forced(truth, given, seed, **options):
    """Each token after ``given`` latent frames drawn from the prior given the true past: (B, t, h, w)."""
    skip, shape = given * prior.tokens_per_frame, (len(prior.levels), max(prior.levels))
    hidden = torch.cat([prior.hidden(prior.digits(part))[:, skip:] for part in truth.split(4)])  # (B, L, D)
    if options.get("history", 1.0) != 1.0:  # and what is said of each latent frame without its past
        alone = [prior.hidden(prior.digits(truth[:, k : k + 1])) for k in range(given, truth.shape[1])]
        hidden = torch.cat([hidden, torch.cat(alone, dim=1)])
    noise = []
    for b in range(len(truth)):  # the noise that generate_tokens uses
        draws = torch.Generator().manual_seed(seed + b)
        noise += [torch.rand(shape, generator=draws) for _ in range(hidden.shape[1])]
    choose = chooser(torch.stack(noise).to(device()), **options)
    digits = prior.head.sample(hidden.flatten(0, 1), choose)[: len(noise)]
    drawn = prior.quantizer.indices(digits).view(len(truth), -1, *prior.grid)
    return torch.cat([truth[:, :given], drawn], dim=1)


forced_tokens = teacher_forced(true_tokens, GIVEN, SEED, **SAMPLING)
forced = torch.cat([tokenizer.decode(part).cpu() for part in forced_tokens.split(4)])
first_drawn = (slice(None), GIVEN, 0, 0)
print("same shape:", forced_tokens.shape == free_tokens.shape)
print("the first draw has the same past in both:", torch.equal(forced_tokens[first_drawn], free_tokens[first_drawn]))

# %%
# NBVAL_IGNORE_OUTPUT
copied = torch.cat([true_clips[:, :, :PROMPT], true_clips[:, :, PROMPT - 1 : PROMPT].expand(-1, -1, NEW, -1, -1)], 2)
side_by_side = {
    "film": marked(true_clips[0], PROMPT),
    "teacher-forced": marked(forced[0], PROMPT),
    "free-running": marked(free[0], PROMPT),
    "last frame, copied": marked(copied[0], PROMPT),
}
show.player(side_by_side, fps=store.fps, scale=2)

# %% [markdown]
# The teacher-forced clip is not a video anybody could make: at every token it was told how the film went on. (And its
# tokens do not know of each other, so it may look rough where the model hesitates.) The free-running one is the real
# thing. The fourth is the baseline that any moving continuation has to be measured against: the last frame, copied.
#
# How errors grow: the mean absolute difference from the film in each latent frame, over all clips of the sheet. The
# tokenizer's own error is the floor. If free-running lies above the copied frame, that need not be bad: a figure that moves
# differently from the film is farther from it than one that stands still. But it must not run away.


# %%
def error_by_frame(video):
    """Distance from the film in each new latent frame: [(frame, grey levels), ...]."""
    error = (video - true_clips).abs().mean((0, 1, 3, 4))[PROMPT:] * 127.5  # (NEW,)
    return [(PROMPT + span * k + span // 2, float(part.mean())) for k, part in enumerate(error.split(span))]


made = {"free-running": free, "teacher-forced": forced, "last frame, copied": copied, "tokenizer alone": smooth}
errors = {name: error_by_frame(video) for name, video in made.items()}
print("latent frames compared:", {len(points) for points in errors.values()} == {NEW // span})

show.curves(errors, "distance from the film", x="frame", y="grey levels")

# %% [markdown]
# The same in tokens: the share that equals the film's. A code has several digits, and a neighbouring code draws nearly the
# same, so digits are counted too. *Copied* repeats the last latent frame of the prompt. If it matches more often than
# what is drawn, that does not make it the better prediction: a draw hits the film's token only as often as that token is
# probable, and most of what might happen next does not. How good the probabilities are, bits say (notebook 07).
#
# And as the prior sees it: what do its own tokens cost, latent frame by latent frame, beside the film's? A line that falls
# tells of a video that becomes ever simpler; one that climbs away from the film's, of one that leaves what the prior
# knows. (With a temperature below 1 or top-p some bits are saved from the start: that gap is the knobs' doing.)

# %%
# NBVAL_IGNORE_OUTPUT
digits_of = prior.quantizer.digits
copied_tokens = torch.cat(
    [true_tokens[:, :GIVEN], true_tokens[:, GIVEN - 1 : GIVEN].expand(-1, NEW // span, -1, -1)], 1
)
print(
    f"{'share equal to the film':26}"
    + "".join(f"{'frames ' + str(PROMPT + span * k) + '-':>13}" for k in range(NEW // span))
)
made = {"free-running": free_tokens, "teacher-forced": forced_tokens, "copied": copied_tokens}
for name, indices in made.items():
    whole = (indices == true_tokens).float().mean((0, 2, 3))[GIVEN:]
    parts = (digits_of(indices) == digits_of(true_tokens)).float().mean((0, 2, 3, 4))[GIVEN:]
    print(f"{name + ', tokens':26}" + "".join(f"{float(x):13.3f}" for x in whole))
    print(f"{name + ', digits':26}" + "".join(f"{float(x):13.3f}" for x in parts))

cost = {"free-running": bits_by_frame(free_tokens).tolist(), "the film's tokens": bits_by_frame(true_tokens).tolist()}
show.curves(cost, "what the tokens cost", x="latent frame (the first two are the prompt)", y="bits a token")

# %% [markdown]
# ### Why: a past with mistakes in it
#
# Replace a share of the tokens that the prior *sees* by tokens of other places, and ask what the true next tokens cost it
# then. A prior that was trained on flawless pasts alone (*exposure bias*, arXiv:1511.06732) would pay dearly for
# the first few mistakes. Ours was trained with up to a tenth of its past corrupted. How steep is the curve, within that
# tenth and beyond it?

# %%
# NBVAL_IGNORE_OUTPUT
harm, draws = [], torch.Generator().manual_seed(0)
few = true_tokens[:half].cpu()
for share in (0.0, 0.05, 0.1, 0.2, 0.4):
    others = few.flatten()[torch.randint(few.numel(), few.shape, generator=draws)]
    given = torch.where(torch.rand(few.shape, generator=draws) < share, others, few)
    pairs = zip(few.to(device()).split(4), given.to(device()).split(4))
    harm.append((share, float(torch.cat([prior.nll_bits(part, given=seen) for part, seen in pairs]).mean())))
raw = {"uniform": math.log2(math.prod(prior.levels))}
show.curves(
    {"validation clips": harm}, "a past with mistakes", x="share of tokens replaced", y="bits a token", baselines=raw
)

# %% [markdown]
# ## How far from the film? A Frechet distance
#
# One clip can be compared with the film frame by frame only if it is meant to be that clip. A continuation is not; it should
# be *like* the film. So compare sets. A small network was trained to name the film's shots, and to tell in which order a
# clip's frames are: as filmed, backwards, shuffled, or one of them standing still. It turns each clip into 64 numbers
# (`film-features`). In its training clips were blurred, lit anew, shaken and calmed at random, for neither sharpness nor the
# trembling of old film should count. Take the mean and the covariance of those numbers for each set, pretend that both sets are normal
# distributions, and measure how far one is from the other (Frechet's distance). FVD (arXiv:1812.01717) is this with a
# large network for colour video.
#
#     |m1 - m2|^2 + trace(S1 + S2 - 2 (S1 S2)^(1/2))
#
# The film, all of its shots, is cut into stretches of 48 frames: nine in ten of them are of training shots, so memory counts
# in the prior's favour here. Every second one is *real*; the others give the prompts, and what follows there
# is the real half that shows how small the number can get. The further sets stand in for that half. A good measure puts
# them in the order in which your eye would. Two sets are there to test it: the film with every frame the mean of five, which
# smears what moves, and the tokenizer's clips sharpened in time, which adds nothing but contrast to what changes.

# %%
features = checkpoints.load("film-features", device=device())
stretches = Clips(store, store.shots, frames=TOTAL, stride=TOTAL)
stretches = stretches.take(range(len(stretches)))
if profile().name == "smoke":
    stretches = stretches[:6]
real, halves = stretches[1::2], stretches[::2]


@torch.no_grad()
def describe(video):
    """Features of every 16 new frames: (B * NEW / 16, 64)."""
    clips = torch.cat([part for part in video[:, :, PROMPT:].split(16, dim=2)])
    return torch.cat([features(part.to(device())).cpu() for part in clips.split(16)])


def by_hand(a, b):
    a, b = a.double(), b.double()
    s, t = torch.cov(a.T), torch.cov(b.T)
    root = torch.linalg.eigvals(s @ t).real.clamp(min=0).sqrt().sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + s.trace() + t.trace() - 2 * root)


known = describe(real)
ours = evaluation.frechet_distance(describe(halves), known)
print("by hand the same:", math.isclose(by_hand(describe(halves), known), ours, rel_tol=1e-3, abs_tol=1e-2))

# %%
# NBVAL_IGNORE_OUTPUT
half_tokens = torch.cat([tokenizer.encode(part.to(device())) for part in halves.split(8)])
made_tokens = generate_tokens(prior, half_tokens[:, :GIVEN], TOTAL // span, seed=SEED, batch=len(halves), **SAMPLING)


def averaged(video, frames):
    """Every frame the mean of so many around it."""
    padded = F.pad(video, (0, 0, 0, 0, frames // 2, frames // 2), mode="replicate")
    return F.avg_pool3d(padded, (frames, 1, 1), stride=1)


drawn = through_tokenizer(halves)
sets = {
    "the film's other half": halves,
    "that, mean of 5 frames": averaged(halves, 5),
    "that, through the tokenizer": drawn,
    "sharpened in time": (drawn + 1.5 * (drawn - averaged(drawn, 3))).clamp(-1, 1),
    "continued by the prior": torch.cat([tokenizer.decode(part).cpu() for part in made_tokens.split(8)]),
    "last frame, copied": halves[:, :, [min(k, PROMPT - 1) for k in range(TOTAL)]],
    "frames shuffled": torch.cat([halves[:, :, :PROMPT], shuffled(halves[:, :, PROMPT:])], dim=2),
}
far = {name: evaluation.frechet_distance(describe(video), known) for name, video in sets.items()}
print(f"{len(describe(halves))} clips of 16 frames against {len(known)}")
show.bars(far, "Frechet distance to the film")

# %% [markdown]
# Mind what it cannot see. In the run stored here the sharpened clips come nearer to the film than those they were made of:
# part of the distance is how *much* moves, not what. (With features that had not been shaken and calmed in training it was
# most of it.) And the film itself, smeared over five frames, is put farther away than the prior's clips, whose figures
# dissolve: an eye would not say so of every clip. Forwards and backwards it cannot tell: that its network never learned.
# It knows means and covariances of 64 numbers that were learned to tell shots apart: a set of copies of one good clip would
# look bad, and a set with one impossible clip in it quite good. And few clips seem further apart than many, so compare
# sets of one size only.
#
# ## New, or remembered?
#
# A model that plays back its training film passes every test above. So look for the nearest training clip: the smallest
# root mean squared distance over all windows of all training shots. The numbers need two things beside them: how near
# real, unseen clips come (validation), and how near a plain copy would come (training clips through the tokenizer).
# Only the new frames are compared. A caution: blurred clips are near to everything, so a small distance alone is no proof
# of memory; the picture decides.


# %%
def distance(video, other):
    """(B,), root mean squared, grey levels."""
    return (video - other).square().flatten(1).mean(1).sqrt() * 127.5


bank = Clips(store, train_shots, frames=NEW, stride=profile().pick(smoke=4, laptop=2, gpu=1))
groups = {
    "made from nothing": dreams,
    "continued, validation prompts": free[:half, :, PROMPT:],
    "continued, training prompts": free[half:, :, PROMPT:],
}
anchors = {
    "validation clips of the film": true_clips[:half, :, PROMPT:],
    "training clips, through the tokenizer": smooth[half:, :, PROMPT:],
}
nearest = {name: evaluation.nearest_clip(video, bank) for name, video in (groups | anchors).items()}
print("a training clip for every clip:", all(len(nearest[n]) == len(v) for n, v in (groups | anchors).items()))

# %%
# NBVAL_IGNORE_OUTPUT
far = {name: float(distance(video, nearest[name]).mean()) for name, video in (groups | anchors).items()}
print(f"{len(bank)} training clips of {NEW} frames")
display(
    show.bars({n: far[n] for n in groups}, "to the nearest training clip", "grey levels", {n: far[n] for n in anchors})
)

sheet = {}
for k, clip in enumerate(dreams):
    sheet[f"seed {k}"], sheet[f"nearest to {k}"] = clip, nearest["made from nothing"][k]
show.strip(sheet, every=8, scale=1)

# %% [markdown]
# ## The prior as half of a codec
#
# What a token costs is no figure of speech: an arithmetic coder that asks the prior before every digit writes a file of
# just so many bits. Then an encoder has a choice. Of two codes that draw a patch nearly alike, the one that the prior
# expects is cheaper. `vg.latents.search.search_codes` (notebook 05) moves the codes of a clip until the decoder draws it best; given the
# prior and a price, it looks for the largest PSNR less the price of the bits. Every encoder of H.264 or AV1 makes this
# bargain, which is called *rate-distortion optimization*. Here are four validation clips, in three ways.

# %%
# NBVAL_IGNORE_OUTPUT
bargain = {64: 1.5, 128: 0.5}[SIZE]  # decibels for 1,000 bits
ways = {
    "as encoded": {"steps": 0},
    "searched for the picture": {},
    f"{bargain} dB for 1,000 bits": {"prior": prior, "price": bargain},
}
some = true_clips[: min(half, 4)].to(device())
print(f"{'':28}{'bits a clip':>12}{'PSNR':>8}")
for name, options in ways.items():
    codes = search_codes(tokenizer, some, progress=False, **options)
    with torch.no_grad():
        spent = float(prior.nll_bits(codes).flatten(1).sum(1).mean())
    drawn = tokenizer.decode(codes, some.shape[2:])
    print(f"{name:28}{spent:12,.0f}{float(evaluation.psnr(drawn, some).mean()):8.2f}")

# %% [markdown]
# Fewer bits for as good a picture, with the same decoder and the same prior. README and log have the numbers of 128 pixels
# beside H.264, VP9 and AV1, at 0.5 dB for 1,000 bits.
#
# ## At 128 pixels
#
# The larger pair has four patches in each token (notebook 05), so a latent frame is 256 tokens here too; but each has 24
# digits instead of three, and where the past guides it is read twice, so a token takes longer. The prompts are the
# beginnings of two validation shots and two training shots: the first of each that are long enough. In the first row of
# three the past guides; the second is the prior as it is, at temperature 1 and top-p 0.97 (each with the temperature and
# the top-p that suit it); the third is the film. Do figures fade less in the first? At 64 pixels the same guidance makes
# clips that move less and are farther from the film (benchmarks/LOG.md), so there it is left at 1.

# %%
# NBVAL_IGNORE_OUTPUT
large, large_prior = (checkpoints.load(name, device=device()) for name in ("tubelet-fsq-128", "prior-128"))
begun = [[a for a, b in shots if b - a >= TOTAL][:2] for shots in (val_shots, train_shots)]
names = [f"{kind} {a}" for kind, starts in zip(("validation", "training"), begun) for a in starts]
large_truth = torch.cat([large_store.clip(a, a + TOTAL) for starts in begun for a in starts])
start = time.perf_counter()
given = large_truth[:, :, :PROMPT].to(device())
made = generate(large_prior, large, given, TOTAL, seed=0, **sampling_defaults(large_prior)).cpu()
print(
    f"{len(made)} clips of {TOTAL} frames at 128x128 in {time.perf_counter() - start:.0f} s; {sampling_defaults(large_prior)}"
)
unguided = generate(large_prior, large, given, TOTAL, seed=0, temperature=1.0, top_p=0.97, progress=False).cpu()
rows = {}
for name, ours, plain, film_clip in zip(names, made, unguided, large_truth):
    rows[f"{name}, guided"], rows["history 1, " + name.split()[-1]] = marked(ours, PROMPT), marked(plain, PROMPT)
    rows["film " + name.split()[-1]] = film_clip
show.strip(rows, every=16, scale=1)

# %% [markdown]
# ### From labels alone
#
# The tokenizer can draw a layout: a mean of codes is a code that nobody rounded. Under each layout is what the prior makes
# of it: new clips from nothing but the label. The labels were drawn with a seed before anybody looked.

# %%
# NBVAL_IGNORE_OUTPUT
laid_out = large_prior.labels_with_layouts()
draws = torch.randperm(len(laid_out), generator=torch.Generator().manual_seed(0))
chosen = [laid_out[i] for i in draws[: profile().pick(smoke=1, laptop=4, gpu=4)].tolist()]
begins = large_prior.layouts[torch.tensor(chosen) + 1].view(len(chosen), 1, *large_prior.grid, -1)
with torch.no_grad():
    drawn = large.reconstruct(begins).clamp(-1, 1).cpu()
options = {"batch": len(chosen), "label": chosen, "guidance": 2.0, "progress": False, **sampling_defaults(large_prior)}
told = generate(large_prior, large, frames=NEW, seed=0, **options).cpu()
names = checkpoints.card("prior-128").facts["scenes"]
rows = {}
for label, layout, clip in zip(chosen, drawn, told):
    rows[f"layout: {names[label]}"] = layout[:, :1].expand(-1, NEW, -1, -1)
    rows[f"made: {names[label]}"] = clip
show.strip(rows, every=12, scale=1)

# %% [markdown]
# What is the label worth? Bits a token of the first latent frame, which has no past to go on: with the shot's own label,
# with none, and with another's. The shots are training shots, for only they have a layout. So this is memory, not
# foresight: from a label the prior plays a place that it knows. Compare the clips with the nearest training clips, as
# above, beside the distance of real unseen clips: the place is the film's, and how much of the motion is new?

# %%
# NBVAL_IGNORE_OUTPUT
if len(large_store.shots) == large_prior.config.num_labels:  # the film it was trained on
    print("bits a token, first latent frame        own label    none   another's")
    for label, other in zip(chosen, chosen[1:] + chosen[:1]):
        begin = large_store.shots[label][0]
        first = large.encode(large_store.clip(begin, begin + span).to(device()))
        costs = cost_by_label(large_prior, first, label, -1, other)
        print(f"{names[label]:38}" + "".join(f"{value:11.2f}" for value in costs))
large_bank = Clips(large_store, train_shots, frames=NEW, stride=4)
near = evaluation.nearest_clip(told, large_bank)
print("root mean squared distance to the nearest training clip, grey levels")
for label, far_away in zip(chosen, distance(told, near).tolist()):
    print(f"{names[label]:38}{far_away:11.1f}")
unseen = large_truth[: len(begun[0]), :, PROMPT:]
far_away = float(distance(unseen, evaluation.nearest_clip(unseen, large_bank)).mean())
print(f"{'validation clips of the film':38}{far_away:11.1f}")
show.player({f"from a label: {names[n]}": clip for n, clip in zip(chosen[:2], told)}, fps=store.fps)

# %% [markdown]
# ## Your turn: the player beside the controls
#
# Set seed, temperature, top-p, history, where to start and which scene, then press the button; it takes a few seconds,
# and the kernel's interrupt ends it early. The sliders start at what this notebook recommends. Orange under the slider:
# frames that were given. (On a static page only the first clip is shown.)

# %%
# NBVAL_IGNORE_OUTPUT
starts = {
    "validation clip": val_clip[:, :, :PROMPT],
    "training clip": train_clip[:, :, :PROMPT],
    "validation still": val_clip[:, :, :1],
    "nothing": None,
}
labels = {"any": -1} | {f"shot {n}": n for n in scenes}
wanted = profile().pick(smoke=PROMPT + span, laptop=32, gpu=32)  # frames


def make(seed, temperature, top_p, history, start, label):
    label = None if label < 0 else label
    options = {"temperature": temperature, "top_p": top_p, "history": history, "label": label, "progress": False}
    begun = starts[start]
    clip = generate(prior, tokenizer, begun, frames=wanted, seed=seed, **options)
    given = 0 if begun is None else -(-begun.shape[2] // span) * span  # a still fills its tubelets
    return show.player({f"{start}, seed {seed}": clip[0].cpu()}, fps=store.fps, given=given)


lowest_to_highest = {"temperature": (0.3, 1.5), "top_p": (0.5, 1.0), "history": (1.0, 3.0)}
begin = {"temperature": 1.0, "top_p": 1.0, "history": 1.0} | SAMPLING
sliders = {name: (*ends, 0.01, float(begin[name] or 1.0)) for name, ends in lowest_to_highest.items()}
show.explorer(make, seed=(0, 20, 1, 0), **sliders, start=list(starts), label=labels)

# %% [markdown]
# ## A live screen
#
# Drawing is faster than playing, so there need be no waiting. Press play: the next latent frame is drawn while this one is
# shown, without an end. What you change takes effect at the next one. The line at the bottom says how fast it draws. The screen stops
# with its button, when the cell is run again, or with the kernel's interrupt. (On a static page there is only its first frame.)

# %%
# NBVAL_IGNORE_OUTPUT
show.live(prior, tokenizer, val_clip[0, :, :PROMPT], fps=store.fps, **SAMPLING)

# %% [markdown]
# ## Keep it
#
# `save` writes GIF or MP4 by the suffix. A GIF loops wherever a picture can stand; an MP4 plays in any
# browser. They go to `out/`, which git ignores.

# %%
kept = [
    save(paths.out_dir() / f"08_generation{suffix}", dreams[0], fps=store.fps, scale=4) for suffix in (".gif", ".mp4")
]
for path in kept:
    print(path.name, path.is_file() and path.stat().st_size > 0)

# %% [markdown]
# ## What does not work yet
#
# Go back to the sheets and look for these; they are the usual ways in which such small priors fail.
#
# - *Blur.* Is the first new frame as sharp as the last given one? Part of any blur is the tokenizer's: compare
#   "tokenizer alone" in the figure of distances.
# - *Freezing.* Does motion die down after some latent frames? Standing still is the safest bet wherever backgrounds fill
#   most of the picture, and a low temperature or a small top-p makes it safer still.
# - *Dissolving.* Do limbs or faces melt when they move fast? A tubelet of eight frames has little room for fast motion.
# - *Seams.* Do edges break where two tubelets meet, in space or every eighth frame?
# - *No events.* Does anybody enter, is anything ever finished? The prior looks back a few seconds and has no plan.
# - *A small world.* It has seen a few minutes of one film. From nothing, does it leave that film's own shots? A label with a
#   layout gives it a place to begin in, one that it has seen; of a place of its own it knows nothing.
#
# What helps is known in kind: more film, more bits for what moves, more width, more steps.
#
# ## Exercises
#
# **1. Min-p** (easy, 10 minutes). Another cut: keep the values whose probability is at least `share` times the largest
# probability. Write it for logits `(..., V)`, as `filter_logits` is written: `-inf` for what is left out.


# %%
def min_p(logits, share):
    return None  # yours


def check_min_p(function):
    logits = torch.tensor([[0.5, 0.275, 0.15, 0.075], [0.97, 0.01, 0.01, 0.01]]).log()
    got = function(logits, 0.28)
    if got is None:
        return "not yet: min_p returns None"
    if got.shape != logits.shape:
        return f"wrong shape: {tuple(got.shape)}, expected {tuple(logits.shape)}"
    kept = got.isfinite()
    if kept.tolist() == [[True, False, False, False], [True, False, False, False]]:
        return "too little is kept: 0.275 is more than half of the largest, 0.5. Did you compare with share itself?"
    if not torch.equal(kept, torch.tensor([[True, True, True, False], [True, False, False, False]])):
        return f"kept {kept.tolist()}: each row has its own largest probability. Did you take logits for probabilities?"
    return "right" if torch.equal(got[kept], logits[kept]) else "the logits that stay must stay as they are"


print(check_min_p(min_p))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def min_p(logits, share):
#     probability = logits.softmax(-1)
#     return logits.masked_fill(probability < share * probability.amax(-1, keepdim=True), -math.inf)
# ```
#
# Where the model is sure, the largest is near 1 and little else passes; where it hesitates, much does.
#
# </details>
#
# **2. How surprising is a future?** (10 minutes). Write `future_bits(tokens, given)`: the mean bits a token of what comes after
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
    return "right" if right else "another number: is it the mean over t, h and w of the latent frames from given on?"


print(check_future_bits(future_bits))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def future_bits(tokens, given):
#     return prior.nll_bits(tokens)[:, given:].mean((1, 2, 3))
# ```
#
# Sort the sheet by it: are the clips that the prior finds surprising the ones that you find bad?
#
# </details>
#
# **3. Paint in one half** (hard, 30 minutes). The loop can be told some tokens and draw the rest. Write
# `paint(tokens, known, seed)`: `tokens` is `(1, t, h, w)`, `known` a mask of that shape; where it is True the given token
# is put in, elsewhere one is drawn, in the order (t, h, w). Start from `roll`, without a prompt: the first call of
# `prior.advance` gets `None`.


# %%
def paint(tokens, known, seed):
    return None  # yours


def check_paint(function):
    tokens = true_tokens[:1, :1]
    known = torch.zeros_like(tokens, dtype=torch.bool)
    known[..., : grid[1] // 2] = True  # the left half
    got = function(tokens, known, 0)
    if got is None:
        return "not yet: paint returns None"
    if got.shape != tokens.shape:
        return f"wrong shape: {tuple(got.shape)}, expected {tuple(tokens.shape)}"
    if not torch.equal(got[known], tokens[known]):
        return "known tokens were changed: put them in the place of the draw"
    if torch.equal(got, tokens):
        return "the unknown tokens came out as they were: do you look at known?"
    after_nothing, drawn = function(torch.zeros_like(tokens), known, 0), ~known
    if torch.equal(got[drawn], after_nothing[drawn]):
        return "the drawn half does not depend on the known half: advance must be fed the known token, not the draw"
    return "right" if torch.equal(got, function(tokens, known, 0)) else "the same seed gives two videos"


print(check_paint(paint))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def paint(tokens, known, seed):
#     draws, state, fresh = torch.Generator().manual_seed(seed), DecodeState(), None
#     true, mask = prior.digits(tokens), known.flatten(1)  # (1, L, digits), (1, L)
#     digits = []
#     for k in range(true.shape[1]):
#         hidden = prior.advance(state, fresh)
#         noise = torch.rand(1, len(prior.levels), max(prior.levels), generator=draws).to(device())
#         drawn = prior.head.sample(hidden, chooser(noise, top_p=SAMPLING["top_p"]))
#         fresh = (true[:, k] if mask[0, k] else drawn)[:, None]
#         digits.append(fresh)
#     return prior.quantizer.indices(torch.cat(digits, dim=1)).view(tokens.shape)
# ```
#
# Decode it: does the drawn half join the given one? A draw sees what is known above and before it, not what is known below
# and later. That is the price of an order.
#
# </details>
#
# ## Summary
#
# - Generation is a loop: hidden state, logits, temperature, cut, draw, append. The rest is bookkeeping.
# - Temperature divides logits. Top-k and top-p cut the tail. Noise made beforehand makes a draw repeatable and comparable.
# - Guidance is a step from what is said without something, the past or a label, to what is said with it, and beyond.
# - A prompt, a still, a label or nothing: only what the loop begins with differs.
# - Low loss with the true past is not the same as good video from one's own. Show both, with a copied frame beside them.
# - Show a sheet that nobody chose, training and validation apart, and the nearest training clip.
#
# **The whole course.** [00](00_start_here.ipynb) turned a film into shots and clips, restored and split by shot.
# [05](05_tubelet_fsq_vae.ipynb) turned a clip into a few integers and back, with a quantizer that has no codebook to
# collapse. [06](06_latent_cache.ipynb) wrote the whole film down as integers, once. [07](07_transformer.ipynb) learned
# their order, frame by frame and row by row. Here that order was read out again as new video. Each part is small enough to
# be changed: another film (`vg.data.video("my.mp4")`), other tubelets, other levels, a wider prior. Train them again with
# `python -m vg.train`, and come back to the sheet.
#
# ## References
#
# - Holtzman et al., 2020, *The curious case of neural text degeneration*, arXiv:1904.09751 (nucleus sampling, top-p).
# - Ho and Salimans, 2022, *Classifier-free diffusion guidance*, arXiv:2207.12598; by the past of a video: Song et al., 2025,
#   *History-guided video diffusion*, arXiv:2502.06764; of a text: Shi et al., 2023, *Trusting your evidence: hallucinate less
#   with context-aware decoding*, arXiv:2305.14739.
# - Yan et al., 2021, *VideoGPT: Video generation using VQ-VAE and transformers*, arXiv:2104.10157.
# - Heusel et al., 2017, *GANs trained by a two time-scale update rule* (the Frechet distance of images), arXiv:1706.08500;
#   Unterthiner et al., 2018, *Towards accurate generative models of video* (FVD), arXiv:1812.01717.
# - Ranzato et al., 2015, *Sequence level training with recurrent neural networks*, arXiv:1511.06732 (exposure bias).
# - Press et al., 2022, *Train short, test long*, arXiv:2108.12409 (ALiBi, and why a long video is possible at all).
