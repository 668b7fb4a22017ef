# %% [markdown]
# # 11 Your own film
#
# The whole course, on a film of yours: look at it, train a tokenizer, see what more training buys, fine-tune the shipped
# pair instead of beginning from random weights, and generate clips.
#
# **After this notebook you can**
# - say whether a film is long enough, and hold a part of it out so that the numbers mean something;
# - say what the tokenizer of your film will spend its bits on, and which of its options change that;
# - turn minutes that you have into training steps, before you spend them;
# - train the generator of a film with one command, or with the same experiment as a value in Python;
# - fine-tune a finished pair, and measure what that is worth;
# - find out why a result looks bad, and what to change first.
#
# **You need** notebooks 05, 07 and 08, at least their ideas. The notebook runs alone.
#
# **Time:** about 2 hours of study, and as long as you like with a film of yours; about 12 minutes of computing on
# a two-core laptop.
#
# **Before:** [10 Is it any good?](10_is_it_any_good.ipynb). This is the last one.

# %%
# NBVAL_IGNORE_OUTPUT
import colorsys
import io
import json
import math
import statistics
import time
from contextlib import redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path

from vg import checkpoints, evaluation, show
from vg.data import save, split_shots
from vg.evaluation.prior import prior_facts
from vg.evaluation.tokenizer import held_out, reconstruct
from vg.experiments import Experiment, FilmData, Sampling, train
from vg.experiments.config import PRIOR_RECIPE, TOKENIZER_RECIPE, TUBELET, PriorPart, TokenizerPart
from vg.experiments.film import open_footage, open_sources
from vg.experiments.losses import tubelet_loss
from vg.experiments.prior import adapted
from vg.experiments.tokenizer import new_tokenizer, views_of
from vg.latents import open_cache
from vg.models import TubeletConfig, TubeletTokenizer
from vg.paths import runs_dir
from vg.profiles import device, profile
from vg.sampling import generate
from vg.synthetic import draw_cartoon
from vg.training import fit

import torch
from IPython.display import display


def tried(function, *inputs):
    """What your function gives; and, in words, what stopped it (or None)."""
    try:
        return function(*inputs), None
    except Exception as error:
        return None, f"{function.__name__} stopped with {type(error).__name__}: {error}"


# %% [markdown]
# ## Your film
#
# Put the path of a video between the quotes, such as `"~/films/holiday.mp4"`. A minute or more is good. Half a minute without a
# cut is enough to begin. Steady pictures with few places are easiest. Left empty, the notebook draws a
# cartoon of its own in colour, and says so. The stored run has that cartoon.

# %%
# NBVAL_IGNORE_OUTPUT
MY_FILM = ""  # your video
settings = profile().settings(  # smoke, laptop, gpu
    drawn_frames=(200, 1440, 1440),
    size=(24, 48, 64),  # pixels of the short side
    budgets=((0.1, 0.2, 0.3), (15, 45, 150), (60, 300, 1200)),  # seconds of training
    tuning_seconds=(0.2, 80, 300),
    prior_steps=(2, 48, 1000),
    clip_frames=(24, 40, 48),
)
show.style()
print(f"profile {profile().name}, {device()}")


# %%
# NBVAL_IGNORE_OUTPUT
def coloured(film):
    """A drawn film (T, 1, H, W) as (3, T, H, W), uint8: colours for each scene."""
    kinds, made = sorted(set(film.scenes)), []
    for (start, stop), scene in zip(film.shots, film.scenes):
        hue = kinds.index(scene) / len(kinds)
        tones = (hue + 0.5, 0.6, 0.2), (hue, 0.55, 0.75), (hue + 0.1, 0.15, 1.0)
        dark, middle, light = (torch.tensor(colorsys.hsv_to_rgb(*t)).view(3, 1, 1) for t in tones)
        grey = film.frames[start:stop] / 255
        low, high = (2 * grey).clamp(max=1), (2 * grey - 1).clamp(min=0)
        made.append(dark + (middle - dark) * low + (light - middle) * high)
    return (255 * torch.cat(made)).round().to(torch.uint8).transpose(0, 1)


def opened(data):
    """The footage, and what is said of the film."""
    with redirect_stdout(io.StringIO()) as said:
        found = open_footage(data, open_sources(data), multiple=(4, 4))
    return found, said.getvalue().strip().replace(f"{film.parent}/", "")


if MY_FILM:
    film = Path(MY_FILM).expanduser()
else:
    film = runs_dir() / "films" / f"drawn-{settings.drawn_frames}.mp4"
    print("MY_FILM is empty, so a cartoon is drawn here, in colour.")
    if not film.exists():
        save(film, coloured(draw_cartoon(settings.drawn_frames, (96, 128), seed=3)), fps=12)
data = FilmData(film=(film,), size=settings.size)
footage, about = opened(data)
store = footage.store
print(about)
sides = {shot: side for side in footage.split._fields for shot in getattr(footage.split, side)}
print(f"{store}: shots for " + ", ".join(f"{side}: {len(shots)}" for side, shots in footage.split._asdict().items()))
show.player(store.clip(0, min(96, len(store.frames)))[0], fps=store.fps)

# %% [markdown]
# `open_footage` is what the command does first. It looks at the film: its shape, whether it has colours, whether it flickers as
# old film does. It decodes the film at 12 frames a second, twice: once with a short side of `size` pixels, in the
# film's own aspect, and once larger. Training cuts *fresh views* out of the larger one: parts at random places and scales, so
# that hardly any clip is seen twice.
#
# It also finds the cuts. Below is the first frame of each shot (of 24 at most). Look at them before anything else: a missed cut
# gives clips that jump in the middle, and a false one makes shots that are too short to use.

# %%
# NBVAL_IGNORE_OUTPUT
firsts = torch.cat([store.clip(a, a + 1) for a, _ in store.shots])[:, :, 0]
uses = [sides.get(shot, "train") for shot in store.shots]  # a shot that is divided trains at first
show.grid(firsts[:24], columns=6, scale=2, labels=uses[:24])

# %% [markdown]
# ## What is held out
#
# Neighbouring frames are almost the same picture. If every tenth frame were held out, a model could pass the test by memory.
# So whole *shots* are held out. Of three or more held-out shots, every third is for the *test*: no decision looks at it, and the
# numbers that a model's card marks *test shots* are of it (notebook 00).
#
# But a film of yours may have a single shot. Then the end of it is held out, for validation, and a *gap* before it belongs to
# neither side. How wide should the gap be? Measure how different two frames are, by the time between them.

# %%
# NBVAL_IGNORE_OUTPUT
within = [store.clip(a, min(b, a + 240))[0] for a, b in store.shots if b - a >= 36][:12]
apart = {}
for k in range(1, 36):
    changes = [float((x[:, k:] - x[:, :-k]).abs().mean()) for x in within]  # x: (C, T, H, W)
    apart[k / store.fps] = 127.5 * statistics.mean(changes)
order = torch.randperm(len(store.frames), generator=torch.manual_seed(0))[:240].tolist()
shuffled = torch.cat([store.clip(k, k + 1)[0] for k in order], dim=1)
any_two = {"any two frames of the film": 127.5 * float(shuffled.diff(dim=1).abs().mean())}
show.curves(
    {"in one shot": list(apart.items())},
    "how different two frames are",
    x="seconds between them",
    y="mean difference (levels of 255)",
    baselines=any_two,
)

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# The curve rises steeply in the first half second and slowly from then on: waiting longer adds less and less. So the gap
# is one second. (The dips come from the cartoon: its figures repeat their movements every second. Real film seldom
# has such dips.) The curve stays well below the dotted line, since the place is the same all along. A split within
# a shot is therefore an easier test than a shot never seen, however wide the gap is. Say so beside your numbers.
#
# </details>

# %% [markdown] tags=["student"]
# **Your part: `split_in_time`** (easy, 15 minutes). A film of one shot has `frames` frames. Return two pairs `(start, stop)`: the frames
# that train, and those that are held out. Held out is the end: the share `share` of the frames (rounded), but at least
# `shortest`. The `gap` before it is on neither side. If fewer than `shortest` frames would train, return `None`.
#
# <details><summary>Hint 1</summary>
#
# Begin at the end: how many are held out? `max(shortest, round(share * frames))`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `middle = frames - held` is where the held-out part begins. Training stops `gap` frames before it.
#
# </details>


# %% tags=["task"]
def split_in_time(frames, share=0.1, shortest=36, gap=12):
    """A film of one shot: ((start, stop) that trains, (start, stop) that is held out), or None."""
    ### BEGIN SOLUTION
    middle = frames - max(shortest, round(share * frames))
    if middle - gap < shortest:
        return None
    return (0, middle - gap), (middle, frames)
    ### END SOLUTION


# %% tags=["grader"]
def check_split_in_time(function):
    for frames in (1000, 400, 84):
        given, wrong = tried(function, frames)
        if wrong:
            return wrong
        if given is None:
            return f"None for {frames} frames: is there a `return`? So much film can be divided"
        try:
            (first, last), (begin, end) = given
        except (TypeError, ValueError):
            return f"expected two pairs (start, stop), got {given}"
        held = split_shots([(0, frames)]).validation[0]  # vg's
        if (first, last) == held:
            return "the two sides are swapped: what trains comes first"
        if end != frames or first != 0:
            return f"training begins at 0 and the held-out part stops at {frames}, the film's end"
        if end - begin != held[1] - held[0]:
            return f"of {frames} frames {held[1] - held[0]} are held out, not {end - begin}"
        if begin == last:
            return "there is no gap: the last training frame and the first held-out one are alike"
        if begin - last != 12:
            return f"the gap is {begin - last} frames, expected 12"
    if function(83) is not None:
        return "of 83 frames only 35 would train, fewer than `shortest`: return None"
    return "right: as vg's"


print(check_split_in_time(split_in_time))

# %% [markdown]
# Too little film is refused before any training, and the message says what would do. Here are the first sixty
# frames alone:

# %%
# NBVAL_IGNORE_OUTPUT
try:
    opened(replace(data, frames=60))
except ValueError as problem:
    print(problem)

# %% [markdown]
# ## An experiment is a value
#
# On the command line the whole job is one line. It trains the tokenizer, a network that judges clips, and the prior. It
# leaves a folder: models, moving pictures, and a table of numbers beside their baselines.
#
# ```text
# python -m vg.train --film my.mp4                 # hours on a laptop: the recipe of the shipped models
# python -m vg.train --film my.mp4 --scale 0.05    # a twentieth of the steps
# python -m vg.train --help                        # every setting
# ```
#
# In Python the same job is a value, `Experiment`, and one function, `train`. Each option is a field, so
# `--tokenizer.recipe.steps 500` sets `tokenizer.recipe.steps`. The value is hashed, and the hash names the folder, under
# `runs/`. So the same experiment goes on where it stopped, or says that it is done, and another one never touches it. Run
# the cells below a second time: they only read what is there.
#
# ## What the tokenizer is
#
# Its default shape is that of the shipped tokenizer of 64 pixels (notebook 05), made for motion:
#
# - a *patch* is 4 frames of 4 x 4 pixels, and two patches after one another share a *token*, which the prior reads as one;
# - the busiest patches of each moment have more digits than the others, *details*;
# - the decoder *looks ahead*: it draws a patch from its own codes, those before it, and the next ones;
# - the loss compares the steps from frame to frame beside the frames themselves.
#
# *Plain tubelets*, with which notebook 05 begins, have none of that: a token is one patch of 8 frames. Here is what each of the two
# costs for your film.

# %%
# NBVAL_IGNORE_OUTPUT
clip_size = (16, *footage.size)
shapes = {"default": TUBELET, "plain tubelets": TubeletConfig()}
for name, shape in shapes.items():
    built = TubeletTokenizer(replace(shape, channels=footage.channels))
    t, h, w = (side // its for side, its in zip(clip_size, built.tubelet))
    print(f"{name}: 16 frames of {footage.size} pixels are {t} x {h} x {w} tokens")
    print(f"    a token: {built.tubelet} pixels, {len(built.levels)} digits {built.levels}")
    print(f"    a patch: {built.patch} pixels, {math.prod(built.patch_levels):,} codes")
    print(f"    raw bits for 16 frames: {built.raw_bits(clip_size):,.0f}")

# %% [markdown]
# All of it can be changed on the command line, and the prior takes whatever tokens there are:
#
# ```text
# --tokenizer.motion 2           twice the weight for steps from frame to frame; 0 for the frames alone
# --tokenizer.detail-share 0.4   details for twice as many patches: more bits, for the prior too
# --tokenizer.hue 0              colours as they are; by default half of the fresh views have their hues turned,
#                                so that the colours of a few scenes are not learned by heart
# --tokenizer.tubelet 8 4 4 --tokenizer.group 1 1 1 --tokenizer.levels 8 6 5 --tokenizer.detail-levels
#     --tokenizer.detail-share 0 --tokenizer.no-lookahead        plain tubelets
# ```
#
# ## Minutes into steps
#
# The learning rate rises, then falls to nearly nothing at the last step (notebook 01). So the number of steps has to be
# chosen before training. What you know is how long you want to wait. What you need is the time of a step. It
# depends on your machine, the size of the pictures and the batch, so measure it.

# %% [markdown] tags=["student"]
# **Your part: `steps_in`** (easy, 10 minutes). `times` has the seconds that each of the first steps took. `seconds` is how long you want to
# wait. Return the number of steps, an integer, at least 1. The first step is slow since memory is set up, so leave it out.
# One more may have been slow by chance, so take the median, which one odd value does not move.
#
# <details><summary>Hint 1</summary>
#
# `times[1:]` leaves out the first. `statistics.median` takes a list.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Steps are seconds divided by seconds per step. `int(...)` cuts off the rest, and `max(1, ...)` sees to the least.
#
# </details>


# %% tags=["task"]
def steps_in(seconds, times):
    """How many steps fit into so many seconds, by the seconds that the first steps took: an int."""
    ### BEGIN SOLUTION
    return max(1, int(seconds / statistics.median(times[1:])))
    ### END SOLUTION


# %% tags=["grader"]
def check_steps_in(function):
    times = [8.0, 0.5, 0.5, 0.5, 3.0, 0.5]
    given, wrong = tried(function, 60, times)
    if wrong:
        return wrong
    if given is None:
        return "steps_in gives None: is there a `return`?"
    if given == 30:
        return "that is seconds times seconds: divide"
    if int(given) in (27, 60):
        return "a mean moves with each odd value: take the median"
    if given != 120:
        return f"60 seconds at half a second a step are 120 steps, not {given}"
    if function(0.1, times) != 1:
        return "at least one step, however short the time"
    if function(60, [3.0, 0.7, 0.7]) != 85 or not isinstance(given, int):
        return "a whole number of steps that fit: int(...), which cuts off the rest"
    if function(60, [8.0, 0.5, 8.0]) != 14:
        return "the first step is set-up: leave it out, `times[1:]`"
    return "right: 120 steps of half a second in a minute"


print(check_steps_in(steps_in))


# %%
# NBVAL_IGNORE_OUTPUT
class Stopwatch:
    """What `fit` calls after each step; keeps the seconds that each took."""

    def __init__(self):
        self.times, self.last = [], time.monotonic()

    def update(self, history):
        now = time.monotonic()
        self.times.append(now - self.last)
        self.last = now

    def close(self):
        self.times.pop()  # the last call comes after the last step


def first_times(footage, shape, steps=8):
    """Seconds that each of the first steps of a tokenizer takes."""
    torch.manual_seed(0)
    watch, part = Stopwatch(), TokenizerPart(model=shape)
    few = replace(TOKENIZER_RECIPE, steps=steps, warmup=1)
    sampler = views_of(footage, part.frames, part.batch, hue=part.hue)
    model = new_tokenizer(part, footage.channels).to(device())
    loss = partial(tubelet_loss, motion=part.motion)
    fit(model, loss, sampler, few, plot=watch, progress=False)
    return watch.times


noted = runs_dir() / "films" / f"times-{film.stem}-{settings.size}-{device()}.json"
noted.parent.mkdir(parents=True, exist_ok=True)
if not noted.exists():  # kept, so that the same steps come out when this cell runs again
    measured = {name: first_times(footage, shape) for name, shape in shapes.items()}
    noted.write_text(json.dumps(measured))
for name, each in json.loads(noted.read_text()).items():
    print(f"{name}: a step takes {statistics.median(each[1:]):.2f} s, the first one {each[0]:.2f} s")
times = json.loads(noted.read_text())["default"]
steps = {seconds: steps_in(seconds, times) for seconds in settings.budgets}
for seconds, count in steps.items():
    print(f"{seconds} s of training: {count} steps")

# %% [markdown]
# Patches of 4 frames are twice as many as patches of 8, so each step takes longer than with plain tubelets. Memory grows likewise, with
# the number of patches in a batch. The prior has as many tokens to read as before, with more digits to
# choose for each.
#
# ## What time buys
#
# Now three tokenizers from random weights, each with a budget of its own from the settings cell. The laptop's budgets are
# short, so that the notebook is. For your film set `budgets` to `(60, 300, 1200)`: 1, 5 and 20 minutes. Each is a
# whole run, with its own rise and fall of the learning rate.


# %%
# NBVAL_IGNORE_OUTPUT
def trained(experiment):
    """Folder and cards of an experiment, trained if need be; what `train` prints stays here."""
    with redirect_stdout(io.StringIO()):
        folder = train(experiment)
    return folder, {name: checkpoints.card(name, folder).facts for name in experiment.parts}


def tokenizer_of(steps):
    """A tokenizer that is trained for so many steps."""
    return TokenizerPart(recipe=replace(TOKENIZER_RECIPE, steps=steps))


def show_command(*options):
    """The command line of an experiment with these options."""
    few = f"--sampling.clips 1 --sampling.frames {settings.clip_frames}"
    command = f"python -m vg.train --film {film.name} --size {settings.size} {few}"
    print(" \\\n    ".join([command, *options]))


few_clips = Sampling(clips=1, frames=settings.clip_frames)  # that the report shows
runs = {}
for count in steps.values():
    alone = Experiment(data=data, tokenizer=tokenizer_of(count), parts=("tokenizer",))
    alone = replace(alone, sampling=few_clips)
    where, cards = trained(alone)
    runs[f"{count} steps"] = (where, cards["tokenizer"])
    print(f"{count} steps took {cards['tokenizer']['seconds']} s")
print("The last one again, on the command line:")
show_command(f"--parts tokenizer --tokenizer.recipe.steps {count}")

# %% [markdown]
# Move the slider, or press play. The clip was held out: no tokenizer has trained on it. Of the held-out clips it is the one
# whose amount of motion is in the middle.

# %%
# NBVAL_IGNORE_OUTPUT
truth = held_out(store, 24, footage.split.held_out)  # (B, C, T, H, W)
ours = {
    name: reconstruct(checkpoints.load("tokenizer", where, device()), truth).clamp(-1, 1)
    for name, (where, _) in runs.items()
}
still = evaluation.mean_frame(truth)
liveliness = (truth - still).abs().flatten(1).mean(1)  # (B,)
typical = int(liveliness.argsort()[len(truth) // 2])
reels = {"original": truth, "mean frame": still} | ours
show.player({name: x[typical] for name, x in reels.items()}, fps=store.fps, columns=5)

# %%
# NBVAL_IGNORE_OUTPUT
measures = [(card["seconds"], card["metrics"]) for _, card in runs.values()]
_, last = measures[-1]
show.curves(
    {"tokenizer": [(seconds, measure["psnr"]) for seconds, measure in measures]},
    "clips of the test shot, from random weights",
    x="training (s)",
    y="PSNR (dB)",
    baselines={
        "mean frame": last["psnr_mean_frame"],
        "nearest training clip": last["psnr_nearest_training_clip"],
    },
)

# %% [markdown]
# The mean frame of a clip is a strong baseline: it knows every pixel that stands still, and it is made from the clip itself. It has
# no motion at all. The nearest training clip shows what memory alone would give.
#
# PSNR hardly asks about motion, as most pixels stand still. So the cards have it on its own (notebook 10): how many grey levels a frame
# steps, and the correlation of these steps with the film's. Many grey levels with no correlation are flicker.

# %%
# NBVAL_IGNORE_OUTPUT
print(f"the film steps {last['step_film']:.2f} grey levels a frame; the mean frame does not step")
for name, (_, card) in runs.items():
    measure = card["metrics"]
    print(f"{name}: {measure['step']:.2f}, step correlation {measure['step_correlation']:.2f}")

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# The first run shows where it is dark and where it is light, in blocks; the others show the shapes better and better. Brightness
# comes first: none of the three has the blue of the boat, only grey with a tint, the last one pink in places. The loss gives colours less
# weight, as video coding does, and half of the views have their hues turned. PSNR counts red, green and blue alike, so missing colours cost
# much: in grey, below, fewer steps come far nearer to the mean frame.
#
# Each budget is about three times the one before. The first two are about as good as memory, the third is clearly better. Part of its
# gain may be colour: the test shot is reddish (the frame marked *test*, above), and the last run tints even the blue boat pink. None reaches the mean frame: a few minutes are too few for a tokenizer from random weights. The first run changes nearly
# as much as the film from frame to frame, but at the wrong places: that is flicker. The others change about half as much as the film, and
# each moves what the film moves better than the one before; the mean frame moves nothing. These figures are of the one test shot.
# (Training took as long as planned. The time of a step holds as long as the machine's load does.)
#
# </details>
#
# ## Fine-tune the shipped pair
#
# Training need not begin at random weights. The shipped pair knows edges, motion and light from another film. `--from` begins with its
# weights: *fine-tuning* (Yosinski et al., 2014). `--from tubelet-fsq-64` takes the tokenizer and the prior over its tokens. Both keep
# their shape, so options such as `--tokenizer.levels` are not looked at. The pair is grey, so your film is read in grey. Its prior gets
# each token's place as shares of the picture's height and width (notebook 09), so it takes your film's shape as it is. Its other
# abilities, such as loops, go on being trained too. Its labels were shots of the other film, so they begin anew.

# %%
# NBVAL_IGNORE_OUTPUT
more_steps = steps_in(settings.tuning_seconds, times)
tuning = Experiment(
    data=replace(data, colour=False),
    tokenizer=tokenizer_of(more_steps),
    prior=PriorPart(recipe=replace(PRIOR_RECIPE, steps=settings.prior_steps)),
    parts=("tokenizer", "prior"),
    sampling=few_clips,
    begin="tubelet-fsq-64",
)
folder, tuned = trained(tuning)
for name, card in tuned.items():
    print(f"{name}: {card['seconds']} s of training")
show_command(
    "--colour False --from tubelet-fsq-64 --parts tokenizer prior",
    f"--tokenizer.recipe.steps {more_steps} --prior.recipe.steps {settings.prior_steps}",
)
show.card("prior", folder)

# %% [markdown]
# Is that better than random weights with the same number of steps? The control is the same value with `begin`
# empty (and without the prior, which is not needed here). Film, split, steps and clips are the same.

# %%
# NBVAL_IGNORE_OUTPUT
control, _ = trained(replace(tuning, begin="", parts=("tokenizer",)))
grey, _ = opened(tuning.data)
grey_truth = held_out(grey.store, 24, grey.split.held_out)
tokenizer = checkpoints.load("tokenizer", folder, device())
models = {
    f"random weights, {more_steps} steps": checkpoints.load("tokenizer", control, device()),
    "shipped, as it is": checkpoints.load("tubelet-fsq-64", device=device()),
    f"shipped, {more_steps} steps more": tokenizer,
}
made = {name: reconstruct(model, grey_truth).clamp(-1, 1) for name, model in models.items()}
scores = {name: float(evaluation.psnr(x, grey_truth).mean()) for name, x in made.items()}
still_grey = evaluation.mean_frame(grey_truth)
beside = {"mean frame": float(evaluation.psnr(still_grey, grey_truth).mean())}
display(show.bars(scores, "held-out clips in grey", unit="PSNR (dB)", baselines=beside))
seen = {"original": grey_truth} | made
show.player({name: x[typical] for name, x in seen.items()}, fps=store.fps, columns=2, scale=3)

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# The shipped tokenizer has never seen this cartoon, and without one step of training it is about as good as the random weights are
# after all of theirs. Fine-tuned with as many steps, it is well ahead of both: the windows of the boat are clear, and the clouds are
# white, with soft edges. It is also a little above the mean frame, which knows the clip itself. Much of what a tokenizer knows is about pictures, not about one film.
#
# </details>
#
# ## The prior
#
# A tokenizer only copies. The prior knows what may come next (notebook 07). Its measure is how many bits it needs per token of a
# held-out shot. Three baselines need no network: *raw*, all codes alike; *unigram*, by how often a code occurs; and
# *copy*, the last code again, or else any. A token of two patches has too many codes to count how often each occurs. So the
# last two baselines count codes of patches, and add up the bits of a token's two. A prior that loses to copying has not learned motion.

# %%
# NBVAL_IGNORE_OUTPUT
phases = grey.phases(tokenizer.tubelet[0])
cache = open_cache(grey.store, tokenizer, mirrored=False, phases=phases)
untouched = adapted(checkpoints.load("prior-64", trainable=True), cache).to(device()).eval()
before = prior_facts(untouched, tokenizer, cache, grey.split)
reached = tuned["prior"]["metrics"]  # the same measure
bits = {
    "shipped, as it is": before["bits_a_token"],
    f"shipped, {settings.prior_steps} steps more": reached["bits_a_token"],
}
rivals = {"copy the last patch": "copy_last_patch", "unigram": "unigram", "raw": "uniform"}
costs = {name: reached[key] for name, key in rivals.items()}
show.bars(bits, "tokens of the test shot", unit="bits per token (less is better)", baselines=costs)

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# The shipped prior, reading the fine-tuned tokenizer's tokens, already beats copying clearly, on a film that it has never seen. Fine-tuning gains almost one bit per token. A
# prior needs more than a minute or two, and a film of two minutes has few tokens to learn from. Give it most of your time, once the
# reconstructions please you.
#
# </details>
#
# ## What it generates
#
# The first sixteen frames of each clip are given; the rest is sampled (notebook 08 explains the options). Beside it is what the film
# did. The given frames pass through the tokenizer too, so they show how sharp the model can be at best. Where too few held-out shots are
# long enough, a shot that it was trained on follows.

# %%
# NBVAL_IGNORE_OUTPUT
prior = checkpoints.load("prior", folder, device())
known = {"held out": grey.split.held_out, "trained on": grey.split.train}
T = min(settings.clip_frames, max(b - a for shots in known.values() for a, b in shots))
long = [(name, a) for name, shots in known.items() for a, b in shots if b - a >= T][:2]
films = torch.cat([grey.store.clip(a, a + T) for _, a in long])
prompt = films[:, :, :16]
options = tuning.sampling.options()
made_up = generate(prior, tokenizer, prompt.to(device()), frames=T, seed=0, **options).cpu()
print("; ".join(f"clip {k + 1}: a shot that is {name}" for k, (name, _) in enumerate(long)))
pairs = {}
for k in range(len(long)):
    pairs |= {f"film {k + 1}": films[k], f"model {k + 1}": made_up[k]}
show.player(pairs, fps=store.fps, columns=2, given=16, scale=3)

# %% [markdown]
# Many futures are possible, so the distance from what the film did is no fair measure of a sampled clip. One simple thing
# can be counted: does it move as much as the film moves?

# %%
# NBVAL_IGNORE_OUTPUT
new = {"film": films[:, :, 16:], "model": made_up[:, :, 16:]}
amounts = {name: float(evaluation.steps(video).mean()) for name, video in new.items()}
frozen = {"last frame copied": 0.0}
display(show.bars(amounts, "motion after the given frames", "levels of 255", baselines=frozen))
target = save(folder / "first-clip.gif", made_up[0], fps=store.fps, scale=3)
print(f"saved: runs/{folder.name}/{target.name}")
print(f"more of them: python -m vg.generate --model runs/{folder.name}")

# %% [markdown]
# <details><summary>What the stored run shows</summary>
#
# The places stay to the end, though the trees of the second run into a dark band. In the first clip the smoke moves, the funnels lose
# their tops, and the birds become a dark bar. In the second the dancer is blurred in the given frames already, and afterwards dissolves into
# patches above the legs. There is motion, unlike in a copied frame, about half of the film's. How much of the rest the tokenizer
# loses is not measured here (notebook 08 shows how). That is what a few minutes give. Whether it is the *right* motion is a question for the measures of notebook 10.
#
# </details>
#
# ## When it looks bad
#
# Look at the reconstructions first. A prior cannot generate what its tokenizer cannot show.
#
# | what you see | likely why | what to do |
# |---|---|---|
# | reconstructions below the mean frame, fog | too few steps | a larger budget; `--from`; a smaller `--size` |
# | good on training shots, bad on held-out ones | too little film | add clips of the same places: `--film` takes several files, or a folder; `--from` |
# | a clip changes its place in the middle | a missed cut, or a dissolve | cut the file there and give both parts |
# | many shots of a few frames | false cuts: flashes, a shaking camera | leave those parts out |
# | colours weak or wrong | brightness is learned first; colour weighs less in the loss, as in video coding | train longer; leave `--tokenizer.hue` on; or `--colour False`, and spend all bits on shapes |
# | the light pumps, the picture sways | old film | `--restore True` |
# | fast things smear | 4 frames share a patch; too few steps | train longer; a higher `--fps`; a larger `--tokenizer.detail-share` |
# | places are sharp, figures faint | most pixels stand still, and the loss counts them all | a larger `--tokenizer.motion` |
# | the clip freezes | a safe prior: copying is often right | more prior steps; a little more `--temperature` (notebook 08) |
# | it stops for want of memory | a batch holds too many patches | `--tokenizer.batch 2`, `--prior.batch 1`; a smaller `--size` |
# | generated clips dissolve after a second | the prior sees its own mistakes | more prior steps; a higher `--history` (notebook 08) adds motion, but makes figures hardly better and may make long clips drift |
#
# Change one thing at a time, and keep the held-out shots as they are. Otherwise two numbers are about two
# tests.
#
# ## Exercises
#
# **1. Twenty minutes** (easy, 5 minutes of yours). Set `budgets` to `(60, 300, 1200)` and run the notebook again. Where does the curve meet
# the mean frame?
#
# <details><summary>What to expect</summary>
#
# It depends on the film. Where much stands still, the mean frame is hard to beat, and it may take the twenty minutes or more. Where
# the camera moves it should be beaten earlier. `psnr_where_it_moves`, among the same measures, looks at moving pixels alone. There
# the shipped tokenizer is far ahead of the mean frame (`RESULTS.md`).
#
# </details>
#
# **2. From nothing or from the shipped pair?** (medium, 20 minutes of yours). Set `tuning_seconds` to
# 300: the control gets as many steps. Then set it to 1200.
#
# <details><summary>What to expect</summary>
#
# The lead of the shipped weights should shrink with time, for training from random weights has more to gain. The more
# your film differs from theirs, the sooner it may be gone.
#
# </details>
#
# **3. In colour, to the end** (open). Train all parts over night with `python -m vg.train --film my.mp4`, then make
# clips with `--prompt`, `--still` and `--scene`. Show them to someone who knows the film.
#
# <details><summary>What to expect</summary>
#
# Most likely they know the place, and wonder at what the figures do. Places are in many frames and take few bits;
# actions are rare.
#
# </details>
#
# ## Summary
#
# - Look at shots and split before you train. Hold out whole shots; within a shot, leave a gap.
# - Measure the time of a step, then choose the number of steps.
# - An experiment is a value. Its hash names its folder, so nothing is lost or mixed.
# - Put baselines beside every number: the mean frame, the nearest clip, the last frame copied.
# - Begin with finished weights when time or film is short.
# - Tokenizer first, then the prior; one change at a time.
#
# ## References
#
# - Yosinski, Clune, Bengio, Lipson: *How transferable are features in deep neural networks?*, 2014, arXiv:1411.1792.
# - Mentzer, Minnen, Agustsson, Tschannen: *Finite Scalar Quantization*, 2023, arXiv:2309.15505.
