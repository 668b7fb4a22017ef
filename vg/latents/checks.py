"""Whether what a cache says of itself can be true: it may come from a stranger, or from a disk that fails.

Everything is checked before memory is taken for it, and nothing that a file says is used as a path.
"""

import math
import reprlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from vg.latents.plan import FORMAT, CacheCorrupt, Entry, dtype_of, lay_out, shots_card

# What is larger is refused. Raise these for a cache of your own: vg.latents.checks.TOKEN_BYTES = 2**36
MANIFEST_BYTES = 2**27
MOST_ENTRIES = 2**20  # shots times views
TOKEN_BYTES = 2**33  # of a whole cache, in memory
HEADER_BYTES = 2**20  # of a shard, and for each of its entries:
ENTRY_BYTES = 2**10

DEPTH = 8  # of the lists and objects within a tokenizer's config

# The form of JSON: a type, [form] for a list of such, (form, form) for a list of these, a form for every key.
Form = type | list | tuple | dict
PLAN: dict[str, Form] = {
    "format": int,
    "tokenizer": {"name": str, "weights": str, "config": object, "levels": [int], "tubelet": (int, int, int)},
    "source": {"name": str, "sha256": str, "store": str, "shape": (int, int, int, int)},
    "shots": {"count": int, "sha256": str},
    "views": [(int, bool)],
    "shard_frames": int,
}
MANIFEST: dict[str, Form] = PLAN | {
    "dtype": str,
    "grid": (int, int),
    "shot_frames": [(int, int)],
    "shards": [{"file": str, "sha256": str}],
    "entries": [dict.fromkeys(Entry.__annotations__, int) | {"mirrored": bool, "shard": str, "key": str}],
    "sha256": str,
}


def misfit(value: object, form: Form, name: str) -> str | None:
    """What in ``value`` is not of its form, in words; None if all is."""
    if form is object or type(value) is form:  # not isinstance: True is no number
        return None
    parts: Iterator[tuple[object, Form, str]] | None = None
    if isinstance(form, list) and type(value) is list:
        parts = ((part, form[0], f"{name}[{k}]") for k, part in enumerate(value))
    elif isinstance(form, tuple) and type(value) is list and len(value) == len(form):
        parts = ((part, form[k], f"{name}[{k}]") for k, part in enumerate(value))
    elif isinstance(form, dict) and type(value) is dict and value.keys() == form.keys():
        parts = ((value[key], form[key], f"{name}.{key}") for key in form)
    if parts is None:
        return f"{name} is {reprlib.repr(value)}"
    return next((found for part in parts if (found := misfit(*part))), None)


def wrong_plan(plan: object) -> str | None:
    """What in a plan cannot be, in words; None if all can. Of another format only the number is looked at."""
    if not isinstance(plan, dict) or type(plan.get("format")) is not int:
        return "it names no format"
    if plan["format"] != FORMAT:
        return None
    if found := misfit(plan, PLAN, "plan"):
        return found
    tokenizer, views = plan["tokenizer"], plan["views"]
    levels, (span, *_) = tokenizer["levels"], tokenizer["tubelet"]
    if not _shallow(tokenizer["config"], DEPTH):
        return "the tokenizer's config is too deep"
    if not 1 <= len(levels) <= 63 or not all(1 <= n <= 2**63 for n in levels) or math.prod(levels) > 2**63:
        return f"levels are {reprlib.repr(levels)}"
    if min(*tokenizer["tubelet"], *plan["source"]["shape"]) < 1:
        return f"tubelet is {tokenizer['tubelet']} and the frames {plan['source']['shape']}"
    if len({tuple(view) for view in views}) != len(views) or not all(0 <= phase < span for phase, _ in views):
        return f"views are {reprlib.repr(views)}"
    if (count := plan["shots"]["count"] * len(views)) > MOST_ENTRIES:
        return f"{count:,} views of shots are more than vg.latents.checks.MOST_ENTRIES allows"
    return None


def check_manifest(manifest: dict, path: Path) -> None:
    """That the entries are those which the shots and the views of its plan lead to. Nothing for other formats.

    Raises:
        CacheCorrupt: if it contradicts itself, or is larger than what this module allows.
    """
    plan = {key: manifest[key] for key in PLAN if key in manifest}
    if found := wrong_plan(plan):
        raise contradicts(path, found)
    if plan["format"] != FORMAT:
        return
    if found := misfit(manifest, MANIFEST, "manifest"):
        raise contradicts(path, found)
    shots, views = manifest["shot_frames"], [(phase, flip) for phase, flip in plan["views"]]
    frames, levels = plan["source"]["shape"][0], plan["tokenizer"]["levels"]
    if shots_card(shots) != plan["shots"] or not all(0 <= start < stop <= frames for start, stop in shots):
        raise contradicts(path, "the shots are not those it was written for")
    shards = lay_out(shots, views, plan["tokenizer"]["tubelet"][0], plan["shard_frames"])
    entries = [entry for shard in shards.values() for entry in shard]
    if [Entry(**entry) for entry in manifest["entries"]] != entries:
        raise contradicts(path, "the entries are not those of its shots and views")
    if [shard["file"] for shard in manifest["shards"]] != list(shards):
        raise contradicts(path, "the shards are not those of its entries")
    if manifest["dtype"] != dtype_of(levels).name or min(manifest["grid"]) < 1:
        raise contradicts(path, f"dtype is {manifest['dtype']!r} and grid {manifest['grid']}")
    if (size := token_bytes(manifest, entries)) > TOKEN_BYTES:
        raise too_large(path, f"names {size:,} bytes of tokens", "TOKEN_BYTES")


def token_bytes(manifest: dict, entries: list[Entry]) -> int:
    """Bytes of the tokens of some entries."""
    return sum(entry.t for entry in entries) * math.prod(manifest["grid"]) * np.dtype(manifest["dtype"]).itemsize


def shard_holds(arrays: dict[str, np.ndarray], entries: Sequence[Entry], levels: list[int]) -> bool:
    """Whether a shard's arrays are the entries that are due: names, lengths, one grid, the dtype, codes that exist."""
    dtype, codes = dtype_of(levels), math.prod(levels)
    return (
        arrays.keys() == {entry.key for entry in entries}
        and len({array.shape[1:] for array in arrays.values()}) == 1
        and all(arrays[entry.key].ndim == 3 and len(arrays[entry.key]) == entry.t for entry in entries)
        and all(array.size and array.dtype == dtype and int(array.max()) < codes for array in arrays.values())
    )


def contradicts(path: Path, reason: str) -> CacheCorrupt:
    return CacheCorrupt(f"{path} is damaged: {reason}. Write the cache again (vg.latents.write), or delete its folder.")


def too_large(path: Path, what: str, limit: str) -> CacheCorrupt:
    return CacheCorrupt(
        f"{path} {what}, more than vg.latents.checks.{limit} allows. Raise that if the cache is your own."
    )


def _shallow(value: object, levels: int) -> bool:
    """Whether JSON goes no more than so many levels deep."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels > 0 and all(_shallow(part, levels - 1) for part in parts)
