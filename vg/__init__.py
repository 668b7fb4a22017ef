"""Learn video generation by building it: the hardened twins of what the notebooks build by hand.

    film -> tubelet FSQ-VAE -> cached integer latents -> transformer decoder -> new latents -> video

    from vg import checkpoints, sampling

    tokenizer = checkpoints.load("tubelet-fsq-64")   # frozen: encode, decode, levels, tubelet
    prior = checkpoints.load("prior-64")
    clip = sampling.generate(prior, tokenizer, prompt=None, frames=32, seed=0)   # (B, C, T, H, W) in [-1, 1]

``tubelet-fsq-128`` and ``prior-128`` are the same for 128 pixels; ``checkpoints.names()`` lists all.

Video is ``(B, C, T, H, W)`` float in [-1, 1] everywhere but in ``vg.data``, which keeps frames as uint8; token grids
are ``(B, t, h, w)`` int64. ``vg.show`` draws, for notebooks.
"""

import importlib
import os
from types import ModuleType

# Before torch is imported: on Linux its threads then sleep after microseconds of waiting for each other, and do not
# spin. Alone that costs nothing; beside a program that computes, a step takes 1.2 s instead of 4.3 (benchmarks/LOG.md).
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

__all__ = [
    "atomic",
    "checkpoints",
    "data",
    "evaluation",
    "experiments",
    "latents",
    "models",
    "paths",
    "profiles",
    "sampling",
    "show",
    "synthetic",
    "training",
]


def __getattr__(name: str) -> ModuleType:
    """Import a part when it is first used: ``import vg`` alone stays quick."""
    if name in __all__:
        return importlib.import_module(f"vg.{name}")
    raise AttributeError(f"module 'vg' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
