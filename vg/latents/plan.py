"""What a cache of latents is to hold: which views of which shots, made by what, in which files."""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path

import numpy as np
from torch import nn

from vg.data import FrameStore
from vg.hashing import weight_hash

FORMAT = 2
MANIFEST = "manifest.json"
View = tuple[int, bool]  # (phase in frames, mirrored left-right)


class CacheMismatch(ValueError):
    """The cache was made by another tokenizer, from other frames, or in another format."""


class CacheCorrupt(ValueError):
    """A file of the cache is damaged or missing."""


@dataclass(frozen=True)
class Entry:
    """One view of one shot.

    Attributes:
        shot: number of the shot, counted from 0 in the store's list.
        start, stop: the frames of the store that were encoded: the shot from its frame ``phase`` on, less
            the ragged tail that fills no tubelet.
        phase: 0 to ``tubelet[0] - 1`` frames.
        mirrored: whether left and right were swapped.
        t: latent frames, ``(stop - start) / tubelet[0]``.
        shard, key: the file and the name in it.
    """

    shot: int
    start: int
    stop: int
    phase: int
    mirrored: bool
    t: int
    shard: str
    key: str


def tokenizer_card(tokenizer: nn.Module, name: str) -> dict:
    """What the manifest says of a tokenizer: name, hash of its weights, shape, levels, tubelet."""
    config = getattr(tokenizer, "config", None)
    return {
        "name": name,
        "weights": weight_hash(tokenizer),
        "config": json.loads(json.dumps(asdict(config)))
        if is_dataclass(config) and not isinstance(config, type)
        else None,
        "levels": [int(n) for n in tokenizer.levels],
        "tubelet": [int(n) for n in tokenizer.tubelet],
    }


def shots_card(shots: list[list[int]]) -> dict:
    """A hash of the shots, to compare."""
    return {"count": len(shots), "sha256": hashlib.sha256(json.dumps(shots).encode()).hexdigest()}


def store_card(store: FrameStore) -> dict:
    """What the manifest says of a frame store."""
    return {
        "name": store.name,
        "sha256": store.source_sha256,
        "store": store.key,
        "shape": [int(n) for n in store.frames.shape],  # T C H W
    }


def shots_of(store: FrameStore) -> list[list[int]]:
    """The shots of a store, checked: [first, stop] each, in order, not empty."""
    shots = [[int(start), int(stop)] for start, stop in store.shots]
    for k, (start, stop) in enumerate(shots):
        if not 0 <= start < stop <= len(store.frames):
            raise ValueError(
                f"shot {k} of {store.name!r} is frames {start} to {stop}, but the store has "
                f"{len(store.frames)} frames. Build the frame store again."
            )
    return shots


def all_views(phases: Iterable[int] | None, mirrored: bool, span: int) -> list[View]:
    """The views that are to be written: every phase, and again mirrored if asked for."""
    phases = sorted({int(p) for p in (range(span) if phases is None else phases)})
    if not phases or phases[0] < 0 or phases[-1] >= span:
        raise ValueError(
            f"phases are {phases}, but a tubelet of {span} frames has the phases 0 to {span - 1}: "
            "choose some of these, or leave phases out for all."
        )
    return [(p, m) for m in ([False, True] if mirrored else [False]) for p in phases]


def lay_out(shots: list[list[int]], views: list[View], span: int, shard_frames: int) -> dict[str, list[Entry]]:
    """The entries of each shard. Who writes them, and how many processes do, has no part in it."""
    shards: dict[str, list[Entry]] = {}
    held = shard_frames  # frames in the shard being filled: full, so that the first shot opens one
    for k, (first, last) in enumerate(shots):
        streams = [(phase, mirrored, (last - first - phase) // span) for phase, mirrored in views]
        streams = [stream for stream in streams if stream[2] > 0]
        if not streams:
            continue
        if held >= shard_frames:
            shard, held = f"shard-{len(shards):05d}.safetensors", 0
            shards[shard] = []
        held += last - first
        for phase, mirrored, t in streams:
            key = f"shot-{k:05d}/phase-{phase}/{'mirrored' if mirrored else 'plain'}"
            start = first + phase
            shards[shard].append(Entry(k, start, start + t * span, phase, mirrored, t, shard, key))
    return shards


def dtype_of(levels: Sequence[int]) -> np.dtype:
    """The smallest unsigned integer, of 16, 32 or 64 bits, that holds every code."""
    codes = math.prod(levels)
    if codes > 2**63:
        raise ValueError(f"levels {list(levels)} name {codes:,} codes, more than 63 bits hold: use fewer.")
    return np.dtype(np.uint16 if codes <= 2**16 else np.uint32 if codes <= 2**32 else np.uint64)


def require(folder: Path, found: dict, wanted: dict) -> None:
    """Refuse what is not the one wanted, as far as ``wanted`` says. Names are labels, not compared."""
    way_out = "write into another folder (vg.latents.write), or delete this one"
    if found["format"] != wanted["format"]:
        raise CacheMismatch(
            f"{folder} was written in format {found['format']}, but this version of vg knows format "
            f"{wanted['format']}. Delete it and run vg.latents.write again."
        )
    for kind in ("tokenizer", "source"):
        if kind not in wanted:
            continue
        a, b = found[kind], wanted[kind]
        differs = {k for k in b if k != "name" and a[k] != b[k]}
        if kind == "tokenizer" and differs:
            tell = [k for k in ("levels", "tubelet") if k in differs] or ["config"] * ("config" in differs)
            was = ", ".join([f"weights {a['weights'][:8]}...", *(f"{k} {a[k]}" for k in tell)])
            now = ", ".join([f"weights {b['weights'][:8]}...", *(f"{k} {b[k]}" for k in tell)])
            raise CacheMismatch(
                f"{folder} was written by tokenizer {a['name']!r} ({was}), but you loaded "
                f"{b['name']!r} ({now}). Load {a['name']!r} as it was then, or {way_out}."
            )
        if "sha256" in differs:
            raise CacheMismatch(
                f"{folder} was written from {a['name']!r} (sha256 {a['sha256'][:8]}...), but you opened "
                f"{b['name']!r} (sha256 {b['sha256'][:8]}...). Open {a['name']!r}, or {way_out}."
            )
        if differs:
            raise CacheMismatch(
                f"{folder} was written from {a['name']!r} decoded as {a['store']!r} (T, C, H, W = "
                f"{a['shape']}), but you opened it as {b['store']!r} (T, C, H, W = {b['shape']}). Open the "
                f"store with the settings of then, or {way_out}."
            )
    if "shots" in wanted and found["shots"] != wanted["shots"]:
        a, b = found["shots"]["count"], wanted["shots"]["count"]
        raise CacheMismatch(
            f"{folder} was written with {a} shots, but the store you opened has "
            f"{b if a != b else 'as many with other cuts'}. Open a store with the cuts of then, or {way_out}."
        )
    if "views" in wanted and found["views"] != wanted["views"]:
        raise CacheMismatch(
            f"{folder} holds the views (phase, mirrored) {plain(found['views'])}, but you asked for "
            f"{plain(wanted['views'])}. Ask for the same phases and mirrored, or {way_out}."
        )
    if "shard_frames" in wanted and found["shard_frames"] != wanted["shard_frames"]:
        raise CacheMismatch(
            f"{folder} was written with shard_frames={found['shard_frames']}, but you passed "
            f"{wanted['shard_frames']}. Pass what was passed then, or {way_out}."
        )


def plain(views: Iterable) -> str:
    """Views in words, for messages."""
    return ", ".join(f"({int(phase)}, {bool(mirrored)})" for phase, mirrored in views)
