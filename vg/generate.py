"""Make new clips from the shipped weights, or your own: ``python -m vg.generate``, or ``make generate``.

Writes GIF and MP4 under ``out/``. As it comes: some from nothing but a scene's label, drawn at random, some that go on
from the beginning of a shot (of the film, or of the drawn cartoon where there is no film), some from a still. With
--prompt, --still or --scene: that alone.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from vg import atomic, paths
from vg.data import save
from vg.evaluation.pair import open_pair
from vg.evaluation.reels import beginnings, some_labels
from vg.sampling import generate_each

GIVEN = 16  # frames of a prompt
MOST_FRAMES = 43_200  # an hour
SHOWN = 256  # pixels of the shorter side that clips are enlarged to, if they are smaller


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
    parser.add_argument("--model", metavar="FOLDER", help="a generator of your own: what `python -m vg.train` made")
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
    pair = open_pair(options.model or f"prior-{options.size}")
    how = {"frames": options.frames, "seed": options.seed, **pair.options}
    how |= {option: value for option in how if (value := getattr(options, option)) is not None}
    kept = pair.name if options.model else options.size
    scale = max(1, SHOWN // min(pair.size))

    def write(kind: str, prompt: Tensor | None = None, batch: int = options.count, **more: Any) -> None:
        for k, clip in generate_each(pair.prior, pair.tokenizer, prompt, batch, **how, **more):
            for suffix in (".gif", ".mp4"):
                name = f"{kind}-{kept}-{options.seed + k}{suffix}"
                path = save(options.to / name, clip.cpu(), fps=pair.fps, scale=scale)
                print(f"{time.monotonic() - begin:5.1f} s  {path}")

    if options.prompt:
        write("continued", pair.first_frames(options.prompt, GIVEN))
    if options.still:
        write("from-a-still", pair.first_frames(options.still, 1))
    if options.scene:
        label = pair.label(options.scene)
        known = label in pair.prior.labels_with_layouts()  # otherwise a label alone makes textures, no place
        write(options.scene, None if known else pair.still(label), label=label, guidance=pair.guidance)
    if not (options.prompt or options.still or options.scene):
        labels = some_labels(pair.prior, options.count, options.seed)
        write("from-nothing", label=labels, guidance=pair.guidance if labels else 1.0)
        store = pair.store()
        given = None if store is None else beginnings(store, options.count, GIVEN)
        if given is not None:
            write("continued", given, len(given))
            write("from-a-still", given[:, :, -1:], len(given))


if __name__ == "__main__":
    sys.exit(main())
