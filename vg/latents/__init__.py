"""A film as integers: every shot encoded once by a frozen tokenizer, kept in a folder, read by the prior.

    manifest.json               what was encoded, by what, and where each entry lies; written last
    shard-00000.safetensors     the indices of some whole shots, in all their views

A shot is encoded as one stream, never across a cut. As a tubelet spans several frames, the same shot cut
from frame 1 on gives other tokens than cut from frame 0 on; each such phase, and each mirror image, is a
*view* of the shot, and the prior can learn from all of them.
"""

from vg.latents.opening import open_cache
from vg.latents.plan import CacheCorrupt, CacheMismatch, Entry
from vg.latents.reading import LatentCache, Windows, made_from
from vg.latents.writing import plan_of, write

__all__ = [
    "CacheCorrupt",
    "CacheMismatch",
    "Entry",
    "LatentCache",
    "Windows",
    "made_from",
    "open_cache",
    "plan_of",
    "write",
]
