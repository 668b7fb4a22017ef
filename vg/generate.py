"""Make new clips from the shipped weights: ``python -m vg.generate``, or ``make generate``.

Writes GIF and MP4 under ``out/``. As it comes: some from nothing but a scene's label, drawn at random, some that go on
from the beginning of a shot (of the film, or of the drawn cartoon where there is no film), some from a still. With
--prompt, --still or --scene: that alone.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from vg import atomic, checkpoints, paths
from vg.data import FrameStore, film, open_store, save, split_shots, stills, to_unit, video
from vg.models import Prior
from vg.sampling import generate_each, sampling_defaults

GIVEN = 16  # frames of a prompt
GUIDANCE = 2.0  # towards a scene
MOST_FRAMES = 43_200  # an hour


def prompts(store: FrameStore, count: int, frames: int) -> Tensor | None:
    """The beginnings of some shots, validation shots first: (B, C, T, H, W), or None if no shot is long enough."""
    train, val = split_shots(store.shots)
    starts = [start for start, stop in [*val, *train] if stop - start >= frames]
    clips = [store.clip(start, start + frames) for start in starts[:count]]
    return torch.cat(clips) if clips else None


def frames_of(path: Path, size: int, count: int) -> Tensor:
    """The first frames of a video, or a picture: (1, 1, up to ``count``, size, size)."""
    pictures = stills.pictures_in(path)
    if pictures and 1 in (pictures, count):  # else it moves, as a GIF may
        return to_unit(stills.squeezed(path, size))[None]
    store = open_store(video(path), size=size, frames=count)
    return store.clip(0, len(store.frames))


def scene_number(name: str, scenes: list[str]) -> int:
    """Of a scene of that name.

    Raises:
        ValueError: if there is none; the message lists those that there are.
    """
    if name not in scenes:
        raise ValueError(f"There is no scene {name!r}. There are: {', '.join(scenes) or 'none with a name'}.")
    return scenes.index(name)


def some_scenes(prior: Prior, count: int, seed: int) -> list[int] | None:
    """Labels drawn at random, of those that say where things stand; None for a prior that has none."""
    known = prior.labels_with_layouts()
    draws = torch.Generator().manual_seed(seed)
    return [known[i] for i in torch.randint(len(known), (count,), generator=draws)] if known else None


def still_of(scene: int, scenes: list[str], size: int) -> Tensor | None:
    """A frame from the middle of a scene, where the film is at hand."""
    store = open_store(film(download=False), size=size)
    if store.name != "film" or len(store.shots) != len(scenes):
        return None
    middle = sum(store.shots[scene]) // 2
    return store.clip(middle, middle + 1)


def between(least: int, most: int) -> Callable[[str], int]:
    """A whole number for ``argparse``."""

    def number(text: str) -> int:
        if not text.isdecimal() or len(text) > 30 or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text[:30]!r} is not a whole number from {least} to {most:,}")
        return int(text)

    return number


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, choices=(64, 128), default=128, help="pixels of a side (128)")
    parser.add_argument(
        "--frames",
        type=between(1, MOST_FRAMES),
        default=48,
        help="length of a clip, prompt included (48: four seconds)",
    )
    parser.add_argument("--count", type=between(1, MOST_FRAMES), default=2, help="clips of each kind (2)")
    parser.add_argument("--prompt", type=Path, metavar="FILE", help="go on from the beginning of this video")
    parser.add_argument("--still", type=Path, metavar="FILE", help="go on from this picture, or a video's first frame")
    parser.add_argument(
        "--scene",
        metavar="NAME",
        help="in this scene, from its label alone if that knows the place, else from a still; a wrong name lists all",
    )
    parser.add_argument("--seed", type=between(0, 2**62), default=0)
    parser.add_argument("--temperature", type=float, help="below 1 is safer, above 1 wilder")
    parser.add_argument("--top-p", type=float, help="how much of the probability is drawn from")
    parser.add_argument("--history", type=float, help="guidance by the past; 1 is none")
    parser.add_argument("--to", type=Path, default=paths.out_dir(), help="folder (out/)")
    options = parser.parse_args(arguments)
    try:
        atomic.check_writable(options.to)  # now, not after a minute of drawing
        make(options)
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    except (OSError, ValueError) as problem:
        parser.exit(2, f"{parser.prog}: error: {problem}\n")
    return 0


def make(options: argparse.Namespace) -> None:
    """All that was asked for.

    Raises:
        OSError, ValueError: if something that was asked for cannot be had; the message says what.
    """
    begin = time.monotonic()
    tokenizer = checkpoints.load(f"tubelet-fsq-{options.size}")
    prior = checkpoints.load(f"prior-{options.size}")
    how = {"frames": options.frames, "seed": options.seed, **sampling_defaults(prior)}
    how |= {knob: value for knob in how if (value := getattr(options, knob)) is not None}

    def write(kind: str, prompt: Tensor | None = None, batch: int = options.count, **more) -> None:
        for k, clip in generate_each(prior, tokenizer, prompt, batch, **how, **more):
            for suffix in (".gif", ".mp4"):
                name = f"{kind}-{options.size}-{options.seed + k}{suffix}"
                path = save(options.to / name, clip, fps=12, scale=256 // options.size)
                print(f"{time.monotonic() - begin:5.1f} s  {path}")

    if options.prompt:
        write("continued", frames_of(options.prompt, options.size, GIVEN))
    if options.still:
        write("from-a-still", frames_of(options.still, options.size, 1))
    if options.scene:
        scenes = checkpoints.card(f"prior-{options.size}").facts.get("scenes", [])
        scene = scene_number(options.scene, scenes)
        told = scene in prior.labels_with_layouts()  # otherwise a label alone makes textures, no place
        still = None if told else still_of(scene, scenes, options.size)
        write(options.scene, still, label=scene, guidance=GUIDANCE)
    if not (options.prompt or options.still or options.scene):
        scenes = some_scenes(prior, options.count, options.seed)
        write("from-nothing", label=scenes, guidance=GUIDANCE if scenes else 1.0)
        given = prompts(open_store(film(download=False), size=options.size), options.count, GIVEN)
        if given is not None:
            write("continued", given, len(given))
            write("from-a-still", given[:, :, -1:], len(given))


if __name__ == "__main__":
    sys.exit(main())
