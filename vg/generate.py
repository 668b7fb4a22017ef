"""Make new clips from the shipped weights: ``python -m vg.generate``, or ``make generate``.

Writes GIF and MP4 under ``out/``: some from nothing, some that go on from the beginning of a shot (of the film,
or of the drawn cartoon where there is no film), some from a still.
"""

import argparse
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from vg import checkpoints, paths
from vg.data import FrameStore, film, open_store, save, split_shots
from vg.sampling import generate

TOKENIZER, PRIOR = "tubelet-fsq-64", "prior-64"


def prompts(store: FrameStore, count: int, frames: int) -> Tensor | None:
    """The beginnings of some shots, validation shots first: (B, C, T, H, W), or None if no shot is long enough."""
    train, val = split_shots(store.shots)
    starts = [start for start, stop in [*val, *train] if stop - start >= frames]
    clips = [store.clip(start, start + frames) for start in starts[:count]]
    return torch.cat(clips) if clips else None


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=48, help="length of a clip, prompt included (48: four seconds)")
    parser.add_argument("--count", type=int, default=2, help="clips of each kind (2)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--temperature", type=float, default=0.9)
    parser.add_argument("--top-p", type=float, default=0.95)
    parser.add_argument("--to", type=Path, default=paths.out_dir(), help="folder (out/)")
    options = parser.parse_args(arguments)
    begin = time.monotonic()
    tokenizer, prior = checkpoints.load(TOKENIZER), checkpoints.load(PRIOR)
    how = {"seed": options.seed, "temperature": options.temperature, "top_p": options.top_p}

    def write(kind: str, clips: Tensor) -> None:
        for k, clip in enumerate(clips):
            for suffix in (".gif", ".mp4"):
                path = save(options.to / f"{kind}-{options.seed + k}{suffix}", clip, fps=12, scale=4)
                print(f"{time.monotonic() - begin:5.1f} s  {path}")

    write("from-nothing", generate(prior, tokenizer, frames=options.frames, batch=options.count, **how))
    store = open_store(film(download=False))
    given = prompts(store, options.count, 16)
    if given is not None:
        write("continued", generate(prior, tokenizer, given, options.frames, **how))
        write("from-a-still", generate(prior, tokenizer, given[:, :, -1:], options.frames, **how))
    return 0


if __name__ == "__main__":
    sys.exit(main())
