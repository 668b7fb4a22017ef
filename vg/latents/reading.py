"""Reading a cache of latents: entries, and windows for a prior to learn from."""

import hashlib
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from vg.data import FrameStore
from vg.latents.checks import ENTRY_BYTES, HEADER_BYTES, shard_holds, token_bytes
from vg.latents.files import damaged, read, read_manifest, unpack
from vg.latents.plan import (
    FORMAT,
    CacheCorrupt,
    CacheMismatch,
    Entry,
    View,
    plain,
    require,
    shots_card,
    shots_of,
    store_card,
    tokenizer_card,
)


class LatentCache:
    """A finished cache, read whole into memory (a film is a few megabytes). Made by ``open`` or ``write``.

    Attributes:
        folder: where it is.
        manifest: ``manifest.json`` as a dict.
        entries: tuple of `Entry`, one for each view of each shot that is as long as a tubelet.
        shots: all the store's shots, [(start, stop), ...] in frames; ``Entry.shot`` counts in it.
        views: the (phase, mirrored) that it holds.
        grid: (h, w), tokens in a latent frame.
        levels: the tokenizer's levels; an index is in [0, prod(levels)).
        tubelet: (frames, height, width) in pixels.
        tokens: uint16, uint32 or uint64 (sum of all t, h, w), the entries one after another.
    """

    def __init__(self, folder: Path, manifest: dict, tokens: np.ndarray):
        self.folder = folder
        self.manifest = manifest
        self.tokens = tokens
        self.entries = tuple(Entry(**entry) for entry in manifest["entries"])
        self.shots = [(start, stop) for start, stop in manifest["shot_frames"]]
        self.views = [(phase, mirrored) for phase, mirrored in manifest["views"]]
        self.grid = tuple(manifest["grid"])
        self.levels = tuple(manifest["tokenizer"]["levels"])
        self.tubelet = tuple(manifest["tokenizer"]["tubelet"])
        self._first = np.cumsum([0, *(entry.t for entry in self.entries)])  # each entry's begin in tokens

    @classmethod
    def open(
        cls, folder: str | Path, tokenizer: nn.Module | None = None, store: FrameStore | None = None
    ) -> "LatentCache":
        """Read a finished cache and verify every byte of it.

        Args:
            folder: what was given to ``write``.
            tokenizer: refuse a cache that another one wrote. Its ``name``, if any, is used in the error.
            store: refuse a cache of another film, other settings or other shots.

        Raises:
            CacheMismatch: if the cache is not of this tokenizer or store, or of another format.
            CacheCorrupt: if a file is damaged or missing; it names the file.
            FileNotFoundError: if there is no finished cache.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        wanted: dict = {"format": FORMAT}
        if tokenizer is not None:
            name = getattr(tokenizer, "name", type(tokenizer).__name__)
            wanted["tokenizer"] = tokenizer_card(tokenizer, name)
        if store is not None:
            wanted |= {"source": store_card(store), "shots": shots_card(shots_of(store))}
        require(folder, manifest, wanted)
        entries = [Entry(**entry) for entry in manifest["entries"]]
        tokens = []
        for shard, (_, group) in zip(manifest["shards"], groupby(entries, lambda entry: entry.shard), strict=True):
            due = list(group)
            arrays = _read_shard(folder / shard["file"], shard["sha256"], manifest, due)
            tokens += [arrays[entry.key] for entry in due]
        return cls(folder, manifest, np.concatenate(tokens))

    @property
    def nbytes(self) -> int:
        """Bytes of all indices, in memory and, but for the headers, on disk."""
        return self.tokens.nbytes

    def indices(self, entry: Entry) -> Tensor:
        """The tokens of one of ``entries``: int64 (t, h, w)."""
        first = self._first[self.entries.index(entry)]
        return torch.from_numpy(self.tokens[first : first + entry.t].astype(np.int64))

    def windows(
        self,
        latent_frames: int = 8,
        shots: Iterable[int | tuple[int, int]] | None = None,
        views: Iterable[View] | None = None,
        stride: int = 1,
    ) -> "Windows":
        """Every stretch of ``latent_frames`` latent frames that lies within one shot.

        Args:
            latent_frames: in a window; each is ``tubelet[0]`` frames.
            shots: which shots, by number or as the (start, stop) of ``.shots`` or of a part of one; default all.
                Those too short for a window have none.
            views: which (phase, mirrored); default all. To measure, ``[(0, False)]`` counts no frame twice.
            stride: latent frames from one window's start to the next; ``latent_frames`` gives windows side by side.

        Raises:
            ValueError: if a shot or view is not in the cache, or no shot is long enough.
        """
        if latent_frames < 1 or stride < 1:
            raise ValueError(f"latent_frames={latent_frames} and stride={stride}: both must be at least 1.")
        parts = {self._part(shot) for shot in (self.shots if shots is None else shots)}
        span, picked = self.tubelet[0], self._picked(parts, views)
        starts = [np.arange(low, high - latent_frames + 1, stride) for low, high, _ in picked]
        owners = [np.full(len(start), shot) for start, (*_, shot) in zip(starts, picked)]
        if not any(len(start) for start in starts):
            longest = max([0, *(int(high - low) for low, high, _ in picked)])
            raise ValueError(
                f"no window of {latent_frames} latent frames ({latent_frames * span} frames) fits any of the "
                f"{len(parts)} shots chosen: the longest has {longest} ({longest * span} frames). "
                f"{f'Ask for latent_frames={longest} or fewer, or choose' if longest else 'Choose'} longer shots."
            )
        return Windows(self.tokens, np.concatenate(starts), np.concatenate(owners), latent_frames)

    def longest(self, shots: Iterable[int | tuple[int, int]] | None = None, views: Iterable[View] | None = None) -> int:
        """Latent frames of the longest of some shots, or parts of them, in some views: as for ``windows``."""
        parts = {self._part(shot) for shot in (self.shots if shots is None else shots)}
        return max([0, *(int(high - low) for low, high, _ in self._picked(parts, views))])

    def stretches(
        self, shots: Iterable[int | tuple[int, int]] | None = None, views: Iterable[View] | None = None
    ) -> list[tuple[int, Tensor]]:
        """The tokens of whole shots, or of parts of them: (the shot's number, int64 (t, h, w)), one for each view.

        Args:
            shots, views: as for ``windows``. What is shorter than a tubelet is left out.

        Raises:
            ValueError: if a shot or view is not in the cache.
        """
        parts = {self._part(shot) for shot in (self.shots if shots is None else shots)}
        return [
            (shot, torch.from_numpy(self.tokens[low:high].astype(np.int64)))
            for low, high, shot in self._picked(parts, views)
            if low < high
        ]

    def _picked(self, parts: set[tuple[int, int, int]], views: Iterable[View] | None) -> list[tuple[int, int, int]]:
        """Of each part in each view, where its whole latent frames begin and end in ``tokens``, and its shot."""
        chosen = set(self.views) if views is None else {(int(phase), bool(flip)) for phase, flip in views}
        if unknown := sorted(chosen - set(self.views)):
            raise ValueError(
                f"{self.folder} has no view (phase, mirrored) {plain(unknown)}; it holds "
                f"{plain(self.views)}. Choose from these, or write a cache with more phases or mirrored."
            )
        parts_of: dict[int, list[tuple[int, int]]] = {}
        for number, start, stop in sorted(parts):
            parts_of.setdefault(number, []).append((start, stop))
        span = self.tubelet[0]
        return [
            (
                first + max(0, -((entry.start - start) // span)),
                first + min(entry.t, (stop - entry.start) // span),
                entry.shot,
            )
            for first, entry in zip(self._first, self.entries)
            for start, stop in parts_of.get(entry.shot, ())
            if (entry.phase, entry.mirrored) in chosen
        ]

    def _part(self, shot: int | tuple[int, int]) -> tuple[int, int, int]:
        """The number of a shot, and the (start, stop) of it or of a part of it, in frames."""
        if isinstance(shot, Sequence):
            start, stop = int(shot[0]), int(shot[1])
            for number, (first, last) in enumerate(self.shots):
                if first <= start < stop <= last:
                    return number, start, stop
        elif 0 <= int(shot) < len(self.shots):
            return (int(shot), *self.shots[int(shot)])
        raise ValueError(
            f"shot {shot} is not in {self.folder}, which has {len(self.shots)} shots. Choose from its "
            ".shots, by number or as (start, stop)."
        )

    def __repr__(self) -> str:
        (h, w), name = self.grid, self.manifest["tokenizer"]["name"]
        return (
            f"LatentCache({len(self.shots)} shots, {len(self.views)} views, {len(self.tokens):,} "
            f"latent frames of {h}x{w} tokens, {self.nbytes:,} bytes, by {name!r})"
        )


def made_from(folder: Path, plan: dict) -> bool:
    """Whether a finished cache lies there that was made from all that a plan (``plan_of``) says."""
    try:
        require(folder, read_manifest(folder), plan)
    except (FileNotFoundError, CacheMismatch, CacheCorrupt):
        return False
    return True


def _read_shard(path: Path, sha256: str, manifest: dict, entries: list[Entry]) -> dict[str, np.ndarray]:
    """The arrays of a shard, which are its entries. Raises CacheCorrupt if they are not."""
    most = token_bytes(manifest, entries) + HEADER_BYTES + ENTRY_BYTES * len(entries)
    try:
        raw = read(path, most)
    except FileNotFoundError:
        raise CacheCorrupt(
            f"{path} is missing. Run vg.latents.write again with the same arguments: only this file is made anew."
        ) from None
    if hashlib.sha256(raw).hexdigest() != sha256:
        raise damaged(path)
    plan, arrays = unpack(path, raw)
    levels, grid = manifest["tokenizer"]["levels"], tuple(manifest["grid"])
    whole = plan.items() <= manifest.items() and shard_holds(arrays, entries, levels)
    if not whole or arrays[entries[0].key].shape[1:] != grid:
        raise damaged(path)
    return arrays


class Windows(Dataset):
    """Stretches of the cache, all of one length, none across a cut. They share the cache's memory.

    Attributes:
        latent_frames: in each.
        shots: int64 (len,), the number of each window's shot; a scene label, if one is wanted.
    """

    def __init__(self, tokens: np.ndarray, starts: np.ndarray, shots: np.ndarray, latent_frames: int):
        self.latent_frames = latent_frames
        self.shots = torch.from_numpy(shots.astype(np.int64))
        self._tokens, self._starts = tokens, starts

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, i: int) -> Tensor:
        """Window ``i``: int64 (t, h, w)."""
        start = self._starts[i]
        return torch.from_numpy(self._tokens[start : start + self.latent_frames].astype(np.int64))

    def take(self, numbers: Tensor) -> Tensor:
        """Several windows by number, (B,): int64 (B, t, h, w)."""
        where = self._starts[numbers.numpy()][:, None] + np.arange(self.latent_frames)  # B t
        return torch.from_numpy(self._tokens[where].astype(np.int64))

    def draw(self, batch: int, generator: torch.Generator | None = None) -> Tensor:
        """Numbers of random windows, (batch,), with replacement; for ``take`` and ``shots``."""
        return torch.randint(len(self), (batch,), generator=generator)

    def sample(self, batch: int, generator: torch.Generator | None = None) -> Tensor:
        """Random windows, with replacement: int64 (batch, t, h, w)."""
        return self.take(self.draw(batch, generator))
