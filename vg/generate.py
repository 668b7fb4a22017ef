"""Make new clips from the shipped weights, or your own: ``python -m vg.generate``, or ``make generate``.

Writes GIF and MP4 under ``out/``. As it comes: some from nothing but a scene's label, drawn at random, some that go on
from the beginning of a shot (of the film, or of the drawn cartoon where there is no film), some from a still. With
--prompt, --still, --scene, --loop, --join or --before: that alone. Loops and joins, and shapes other than the film's,
take a prior that was taught them (--prior.goals, --prior.shapes of ``vg.train``).
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
from vg.data.pixels import middle
from vg.evaluation.generated import PROMPT
from vg.evaluation.pair import open_pair
from vg.evaluation.reels import beginnings, some_labels
from vg.progress import print_any_name
from vg.sampling import before, generate_each, join, loop

MOST_FRAMES = 43_200  # an hour
SMALLEST_LARGE = 96  # pixels of the shorter side from which the larger pair makes a clip
SHOWN = 256  # pixels of the shorter side that clips are enlarged to, if they are smaller


def between(least: int, most: int) -> Callable[[str], int]:
    """A whole number for ``argparse``."""

    def number(text: str) -> int:
        if not text.isdecimal() or len(text) > 30 or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text[:30]!r} is not a whole number from {least} to {most:,}")
        return int(text)

    return number


def size(text: str) -> int | tuple[int, int]:
    """``64`` or ``128``, or height and width as ``128x224``, for ``argparse``."""
    numbers = text.lower().split("x")
    if not all(number.isdecimal() and len(number) < 6 and int(number) for number in numbers) or len(numbers) > 2:
        raise argparse.ArgumentTypeError(f"{text[:30]!r} is no size: 64, 128, or height and width as in 128x224")
    if len(numbers) == 2:
        return int(numbers[0]), int(numbers[1])
    if int(text) not in (64, 128):
        raise argparse.ArgumentTypeError(f"there is no pair of {text} pixels: 64, 128, or a shape as in 128x224")
    return int(text)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--size",
        type=size,
        metavar="N or HxW",
        help="64 or 128: the pair of that name (128); or another shape: 128x224",
    )
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
        help="in this scene, from its label alone if that knows the place, else from a still; a wrong name lists all; "
        "with --loop, a loop in it",
    )
    parser.add_argument(
        "--loop",
        nargs="?",
        const="",
        metavar="FILE",
        help="clips that end where they begin; of FILE's beginning, if given",
    )
    parser.add_argument(
        "--join", nargs=2, type=Path, metavar="FILE", help="from the first video or picture to the second"
    )
    parser.add_argument("--before", type=Path, metavar="FILE", help="what may have come before this video")
    parser.add_argument("--seed", type=between(0, 2**62), default=0)
    parser.add_argument("--temperature", type=float, help="below 1 is safer, above 1 wilder")
    parser.add_argument("--top-p", type=float, help="how much of the probability is drawn from")
    parser.add_argument("--history", type=float, help="guidance by the past; 1 is none")
    parser.add_argument("--to", type=Path, default=paths.out_dir(), help="folder (out/)")
    options = parser.parse_args(arguments)
    print_any_name()
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
        KeyboardInterrupt: if it was stopped; what was drawn by then is kept.
    """
    begin = time.monotonic()
    if options.model and isinstance(options.size, int):
        raise ValueError(f"--size {options.size} names a shipped pair, and so does --model. Leave one out.")
    shape = options.size if isinstance(options.size, tuple) else None
    side = options.size if shape is None else 64 if min(shape) < SMALLEST_LARGE else 128
    pair = open_pair(options.model or f"prior-{side or 128}").at(shape)
    how = {"frames": options.frames, "seed": options.seed, **pair.options}
    how |= {option: value for option in how if (value := getattr(options, option)) is not None}
    kept = "-".join([*([pair.name] if options.model else []), *(["{}x{}".format(*shape)] if shape else [])])
    scale = max(1, SHOWN // min(pair.size))
    jobs: list[Callable[[], None]] = []  # drawn once all that was asked for is found to be there

    def keep(kind: str, k: int, clip: Tensor) -> None:
        name = unused(options.to, f"{kind}-{kept or side or 128}-{options.seed + k}")
        for suffix in (".gif", ".mp4"):
            path = save(options.to / f"{name}{suffix}", clip.cpu(), fps=pair.fps, scale=scale)
            print(f"{time.monotonic() - begin:5.1f} s  {path}")

    def filled(*clips: Tensor) -> int:
        """Frames that are given: whole tubelets."""
        span = pair.tokenizer.tubelet[0]
        return sum(max(span, clip.shape[2] // span * span) for clip in clips)

    def write(kind: str, prompt: Tensor | None = None, batch: int = options.count, **more: Any) -> None:
        if prompt is not None and filled(prompt) >= options.frames:
            raise ValueError(f"--frames {options.frames}: {filled(prompt)} are given. Ask for more than that.")

        def job() -> None:
            for k, clip in generate_each(pair.prior, pair.tokenizer, prompt, batch, **how, **more):
                keep(kind, k, clip)

        jobs.append(job)

    def write_task(
        kind: str, task: Callable[..., Tensor], *clips: Tensor | None, labels: list[int] | None = None, **more: Any
    ) -> None:
        def job() -> None:
            for k in range(options.count):
                own = {"seed": options.seed + k} | ({"label": labels[k]} if labels else {})
                clip = task(pair.prior, pair.tokenizer, *clips, **how | more | own)[0]
                keep(kind, k, clip)
                if clip.shape[1] < options.frames:  # an interrupt
                    raise KeyboardInterrupt

        jobs.append(job)

    label = pair.label(options.scene) if options.scene else None
    if options.prompt:
        write("continued", pair.first_frames(options.prompt, PROMPT))
    if options.still:
        write("from-a-still", pair.first_frames(options.still, 1))
    if label is not None and options.loop is None:
        known = label in pair.prior.labels_with_layouts()  # otherwise a label alone makes textures, no place
        write(options.scene, None if known else pair.still(label), label=label, guidance=pair.guidance)
    if options.loop is not None:
        clip = pair.first_frames(Path(options.loop), PROMPT) if options.loop else None
        labels = None if label is None else [label] * options.count
        if clip is None and labels is None:
            labels = some_labels(pair.prior, options.count, options.seed)
        write_task("loop", loop, clip, labels=labels, size=shape)
    if options.join:
        first, second = options.join
        span = pair.tokenizer.tubelet[0]
        ends = pair.first_frames(first, PROMPT, end=True), pair.first_frames(second, PROMPT)
        if options.frames <= filled(*ends) or options.frames % span:
            raise ValueError(
                f"--frames {options.frames}: the ends of the two fill {filled(*ends)} frames of a join. Ask for more "
                f"than that, a multiple of {span}."
            )
        write_task("join", join, *ends, frames=options.frames - filled(*ends))
    if options.before:
        write_task("before", before, pair.first_frames(options.before, PROMPT))
    asked = (options.prompt, options.still, options.scene, options.join, options.before)
    if not any(asked) and options.loop is None:
        labels = some_labels(pair.prior, options.count, options.seed)
        write("from-nothing", label=labels, guidance=pair.guidance if labels else 1.0)
        store = pair.store()
        given = None if store is None else beginnings(store, options.count, PROMPT)
        if given is not None:
            given = middle(given, pair.size)
            for kind, prompt in (("continued", given), ("from-a-still", given[:, :, -1:])):
                if filled(prompt) < options.frames:
                    write(kind, prompt, len(given))
                else:
                    print(f"{kind}: left out, {filled(prompt)} frames are given and no more are asked for.")
    for job in jobs:
        job()


def unused(folder: Path, name: str) -> str:
    """The name, with a number behind it if there are clips of that name: nothing is written over."""
    k, wanted = 1, name
    while any((folder / f"{name}{suffix}").exists() for suffix in (".gif", ".mp4")):
        k += 1
        name = f"{wanted}-{k}"
    return name


if __name__ == "__main__":
    sys.exit(main())
