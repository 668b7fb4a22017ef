"""Batches for the prior: from the latent cache, beside encoding the same frames on the fly.

Prints the time of a batch from the cache as a fraction of the peer's, and bytes as multiples of the cache's.
"""

import statistics
import tempfile
import time
from pathlib import Path

import torch

from vg import checkpoints, latents
from vg.data import Clips, film, open_store

BATCH, WINDOW, ROUNDS = 4, 5, 9


def seconds(function) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def main() -> None:
    tokenizer = checkpoints.load("tubelet-fsq-64")
    store = open_store(film())
    span = tokenizer.tubelet[0]
    with tempfile.TemporaryDirectory() as folder:
        cache = latents.write(Path(folder), tokenizer, store, name=tokenizer.name, phases=[0])
        windows, clips = cache.windows(WINDOW), Clips(store, frames=WINDOW * span)
        draw = torch.Generator().manual_seed(0)
        cached, encoded = [], []
        for _ in range(ROUNDS):
            cached.append(seconds(lambda: windows.sample(BATCH, draw)))
            encoded.append(seconds(lambda: tokenizer.encode(clips.sample(BATCH, draw))))
        ratio = statistics.median(encoded) / statistics.median(cached)
        floats = cache.tokens.size * len(tokenizer.levels) * 4
        print(f"{store.name}, {BATCH} windows of {WINDOW * span} frames; peer: pixels encoded on the fly")
        print(f"  time of a batch: the peer takes {ratio:,.0f} times as long as the cache")
        pixels, floats = (n / cache.nbytes for n in (store.frames.nbytes, floats))
        print(f"  bytes: pixels {pixels:.1f}, float32 latents {floats:.1f}, cache 1")


if __name__ == "__main__":
    main()
