"""A store's tokens by name: written the first time, opened afterwards, and none in the place of another."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from torch import nn

from vg import paths
from vg.data import FrameStore
from vg.latents.reading import LatentCache, made_from
from vg.latents.writing import plan_of, write

LABEL = 50  # letters of a cache's name before the hash: a file's name has room for 255 bytes


def open_cache(
    store: FrameStore,
    tokenizer: nn.Module,
    mirrored: bool = True,
    phases: Iterable[int] | None = None,
    rank: int = 0,
    world_size: int = 1,
) -> LatentCache:
    """The store as tokens, in all phases; written the first time.

    The folder's name ends in a hash of all that the cache is made from, so that none takes the place of another. What
    notebook 06 wrote, under the same name without a hash, is used if it is the same.

    Args:
        store: the frames.
        tokenizer: whose tokens; the cache is made where it is.
        mirrored: whether to hold the film mirrored too.
        phases: first frames of the tubelets, 0 up to a tubelet's frames; default all.
        rank, world_size: which of how many processes this is; they share the work.
    """
    name = getattr(tokenizer, "name", type(tokenizer).__name__)
    how: dict[str, Any] = {"name": name, "mirrored": mirrored, "phases": None if phases is None else list(phases)}
    plan, _ = plan_of(tokenizer, store, **how)
    folder = paths.cache_dir() / "latents" / f"{name}-{paths.shortened(store.name)}"
    if not made_from(folder, plan):
        digest = hashlib.sha256(json.dumps(plan).encode()).hexdigest()
        folder = folder.with_name(f"{folder.name[:LABEL]}-{digest[:12]}")
    return write(folder, tokenizer, store, **how, rank=rank, world_size=world_size)
