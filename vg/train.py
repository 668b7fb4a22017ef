"""Train the generator of a film: ``python -m vg.train --film my.mp4``; or a shipped model by its name.

Everything is kept in a folder under ``runs/``: the models with their cards, reels to look at, the numbers beside their
baselines, and how to load them. A run that was stopped goes on where it was.
"""

import sys
from pathlib import Path
from typing import Annotated

import tyro

from vg import atomic
from vg.data.download import DownloadError
from vg.experiments import REGISTRY, Experiment, ImageExperiment, train
from vg.progress import print_any_name
from vg.training import Diverged, devices

PROGRAM = "python -m vg.train"


def main(arguments: list[str] | None = None) -> int:
    """Train what the command line says; returns the exit code, 130 after an interrupt.

    Raises:
        SystemExit: with code 2 and one sentence, for what cannot be trained.
    """
    print_any_name()
    with devices.start():
        return _main(list(sys.argv[1:] if arguments is None else arguments), first=devices.rank() == 0)


def _main(arguments: list[str], first: bool) -> int:
    try:
        default: Experiment | ImageExperiment = Experiment()
        if arguments and not arguments[0].startswith("-"):
            if (name := arguments.pop(0)) not in REGISTRY:
                raise ValueError(f"there is no shipped model {name!r}. There are: {', '.join(REGISTRY)}.")
            default = REGISTRY[name]
        options = tyro.conf.arg(name="")

        def command(
            experiment: Annotated[type(default), options] = default,  # type: ignore[valid-type]  # tyro reads it
            to: Path | None = None,
        ) -> None:
            print(f"done: {train(experiment, to)}")

        names = f"shipped models: {', '.join(REGISTRY)}"
        config = (tyro.conf.AvoidSubcommands,)
        tyro.cli(command, prog=f"{PROGRAM} [NAME]", description=f"{__doc__}\n{names}", args=arguments, config=config)
    except KeyboardInterrupt:
        if first:
            print("Stopped. The same command goes on where it was.", file=sys.stderr)
        return 130
    except (OSError, ValueError, atomic.Busy, Diverged, DownloadError) as problem:
        if first:
            print(f"{PROGRAM}: error: {problem}", file=sys.stderr)
        raise SystemExit(2) from None
    return 0


if __name__ == "__main__":
    sys.exit(main())
