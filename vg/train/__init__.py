"""Train the shipped models by name: ``python -m vg.train tubelet-fsq-64``.

Minutes to an hour each on two cores. A run that was stopped goes on where it was; what it made is written to
``assets/checkpoints/`` (or to --to) with a card of what it was trained on and what it reaches. A prior is trained
on the tokens of the checkpoint that lies in the same folder, so train that one first.
"""

import argparse
import sys
from importlib import import_module
from pathlib import Path

from vg import atomic, checkpoints
from vg.train.film import tokenizer_facts
from vg.train.prior import open_cache, prior_facts
from vg.training import CannotShare, Diverged, ResumeMismatch, devices

__all__ = ["TRAINERS", "main", "open_cache", "prior_facts", "tokenizer_facts", "trainer"]

# name of the checkpoint -> module in vg.train, function(to: Path), what it is. Imported when it is asked for.
TRAINERS = {
    "tubelet-fsq-64": ("tubelet", "train_tubelet", "tubelet FSQ-VAE of the film, 64 pixels"),
    "tubelet-fsq-128": ("tubelet", "train_large_tubelet", "128 pixels; begins with the weights of tubelet-fsq-64"),
    "prior-64": ("prior", "train_small", "transformer over the tokens of tubelet-fsq-64"),
    "prior-128": ("prior", "train_large", "transformer over the tokens of tubelet-fsq-128"),
    "video-vqvae-64": ("video", "train_vqvae", "Conv3D VQ-VAE of the film's clips"),
    "video-fsqvae-64": ("video", "train_fsqvae", "the same with FSQ"),
    "film-features": ("features", "train_features", "features of clips, for the Frechet distance"),
    "vae-cifar10": ("images", "train_vae", "VAE of CIFAR-10"),
    "vqvae-cifar10": ("images", "train_vqvae", "VQ-VAE of CIFAR-10"),
    "vqvae2-cifar10": ("images", "train_vqvae2", "VQ-VAE-2 of CIFAR-10, two levels of codes"),
    "prior-cifar10": ("images", "train_image_prior", "two transformers over the codes of vqvae2-cifar10"),
}


def trainer(name: str):
    """The function that trains a model: it takes the folder for the checkpoint.

    Raises:
        KeyError: for a name that is not in ``TRAINERS``.
    """
    module, function, _ = TRAINERS[name]
    return getattr(import_module(f"vg.train.{module}"), function)


def main(arguments: list[str] | None = None) -> int:
    names = "\n".join(f"  {name:16} {what}" for name, (_, _, what) in TRAINERS.items())
    parser = argparse.ArgumentParser(
        prog="python -m vg.train",
        description=__doc__,
        epilog=f"names:\n{names}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=list(TRAINERS), metavar="NAME", help="which model, see below")
    parser.add_argument("--to", type=Path, default=checkpoints.folder(), help="folder for the checkpoint")
    options = parser.parse_args(arguments)
    with devices.start():
        first = devices.rank() == 0
        try:
            atomic.check_writable(options.to)  # now, not after an hour of training
            trainer(options.name)(options.to)
        except KeyboardInterrupt:
            if first:
                print("Stopped. The same command goes on where it was.", file=sys.stderr)
            return 130
        except (OSError, atomic.Busy, checkpoints.BadCheckpoint, CannotShare, Diverged, ResumeMismatch) as problem:
            parser.exit(2, f"{parser.prog}: error: {problem}\n" if first else None)
    return 0
