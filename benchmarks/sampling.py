"""Sampling one clip at a time: beside the plain loop, a GPT-2 of equal width and depth, and the speed of the film.

    python benchmarks/sampling.py                a clip alone, and beside a process that computes on all cores
    python benchmarks/sampling.py long           ten minutes of film with a window: the last minute beside the second

Prints medians of runs in which all sides take turns. The peer is ``generate`` of Hugging Face transformers, with a KV
cache, on one thread as ours (``pip install transformers``; left out where it is not installed). It draws as many tokens
as there are in a clip, from a vocabulary of 1,024 (a token of prior-128 is one of millions, drawn digit by digit).
"""

import multiprocessing
import resource
import statistics
import sys
import time

import torch

from vg.evaluation.pair import open_pair
from vg.models import Prior
from vg.sampling import generate_tokens, one_by_one
from vg.threads import one_thread

FRAMES, GIVEN, ROUNDS = 6, 2, 5  # latent frames of a clip, of its prompt; rounds


def seconds(function) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def peer(prior: Prior):
    """A function that draws as many tokens with transformers' ``generate``, or None."""
    try:
        from transformers import GPT2Config, GPT2LMHeadModel
    except ImportError:
        print("transformers is not installed: no peer (pip install transformers)")
        return None
    c, total = prior.config, FRAMES * prior.tokens_per_latent_frame
    shape = {"n_embd": c.width, "n_layer": c.depth, "n_head": c.heads, "n_positions": total}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=1024, bos_token_id=0, eos_token_id=None, **shape)).eval()
    prompt = torch.randint(1024, (1, GIVEN * prior.tokens_per_latent_frame))

    def draw() -> None:
        new = total - prompt.shape[1]
        how = {"do_sample": True, "top_p": 0.99, "top_k": 0, "min_new_tokens": new, "max_new_tokens": new}
        with one_thread(), torch.no_grad():
            model.generate(prompt, attention_mask=torch.ones_like(prompt), pad_token_id=0, **how)

    return draw


def compute(stop) -> None:
    """Matrix products on all cores, until told to stop."""
    x = torch.randn(1024, 1024)
    while not stop.is_set():
        x = (x @ x).clamp(-1, 1)


def one_clip(name: str) -> None:
    pair = open_pair(name)
    prior, how = pair.prior, {**pair.options, "progress": False}
    film = prior.tokens_per_latent_frame * pair.fps / pair.tokenizer.tubelet[0]  # tokens a second of it
    prompt = generate_tokens(prior, None, GIVEN, seed=1, label=4, **how)
    new = (FRAMES - GIVEN) * prior.tokens_per_latent_frame
    sides = {"ours": lambda: generate_tokens(prior, prompt, FRAMES, **how)}
    sides["plain loop"] = lambda: one_by_one(prior, prompt, FRAMES, **how)
    if gpt := peer(prior):
        sides["GPT-2 in transformers"] = gpt
    times = {side: [] for side in sides}
    for _ in range(ROUNDS):
        for side, function in sides.items():
            times[side].append(seconds(function))
    median = {side: statistics.median(values) for side, values in times.items()}
    print(f"{name}, one clip, {how}")
    for side, value in median.items():
        print(
            f"  {side:<22} {new / value:6.0f} tokens/s  {new / value / film:5.2f} x the film"
            f"  {value / median['ours']:6.2f} x the time of ours"
        )
    beside, stop = [], multiprocessing.get_context("spawn").Event()
    other = multiprocessing.get_context("spawn").Process(target=compute, args=(stop,), daemon=True)
    other.start()
    time.sleep(5)
    for _ in range(ROUNDS):
        beside.append(seconds(sides["ours"]))
    stop.set()
    other.join()
    alone = [seconds(sides["ours"]) for _ in range(ROUNDS)]
    ratio = statistics.median(beside) / statistics.median(alone)
    print(f"  beside a process that computes on all cores: {ratio:.2f} x as long as alone")


def long(name: str) -> None:
    """Ten minutes of film, in latent frames of 8 frames at 12 a second."""
    pair = open_pair(name)
    prior, how = pair.prior, {**pair.options, "window": 6}
    from vg.sampling import Options, Sampler

    minute, marks = 90, []
    with one_thread(), torch.no_grad():
        sampler = Sampler(prior, [0], Options(**how), torch.zeros(1, 0, len(prior.levels), dtype=torch.long))
        begin = time.perf_counter()
        for k, _ in enumerate(sampler.run(10 * minute), start=1):
            if k % minute == 0:
                memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                marks.append((time.perf_counter() - begin, sampler.passes, memory))
                print(f"  minute {k // minute:2}: {marks[-1][0]:6.1f} s, {sampler.passes} passes, {memory:.0f} MiB")
    spent = [b[0] - a[0] for a, b in zip([(0.0, 0, 0), *marks], marks)]
    passes = [b[1] - a[1] for a, b in zip([(0.0, 0, 0), *marks], marks)]
    print(
        f"{name}: the last minute took {spent[-1] / spent[1]:.2f} x the second; "
        f"a pass {spent[-1] / passes[-1] / (spent[1] / passes[1]):.2f} x; memory +{marks[-1][2] - marks[1][2]:.0f} MiB"
    )


if __name__ == "__main__":
    for shipped in ("prior-64", "prior-128"):
        long(shipped) if sys.argv[1:] == ["long"] else one_clip(shipped)
