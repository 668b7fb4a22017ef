"""A film as integers: every shot encoded once by a frozen tokenizer, kept in a folder, read by the prior.

    manifest.json               what was encoded, by what, and where each entry lies; written last
    shard-00000.safetensors     the indices of some whole shots, in all their views

A shot is encoded as one stream, never across a cut. As a tubelet spans several frames, the same shot cut
from frame 1 on gives other tokens than cut from frame 0 on; each such phase, and each mirror image, is a
*view* of the shot, and the prior can learn from all of them.
"""

import hashlib
import json
import math
import os
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from vg.hashing import weight_hash

__all__ = ["CacheCorrupt", "CacheMismatch", "Entry", "LatentCache", "Windows", "write"]

FORMAT = 1
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
        t: tubelet-frames, ``(stop - start) / tubelet[0]``.
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


# --- what is to be encoded ----------------------------------------------------------------------------------


def _tokenizer_card(tokenizer: nn.Module, name: str) -> dict:
    return {
        "name": name,
        "weights": weight_hash(tokenizer),
        "levels": [int(n) for n in tokenizer.levels],
        "tubelet": [int(n) for n in tokenizer.tubelet],
    }


def _shots_card(shots: list[list[int]]) -> dict:
    return {"count": len(shots), "sha256": hashlib.sha256(json.dumps(shots).encode()).hexdigest()}


def _store_card(store) -> dict:
    return {
        "name": store.name,
        "sha256": store.source_sha256,
        "store": store.key,
        "shape": [int(n) for n in store.frames.shape],  # T C H W
    }


def _shots(store) -> list[list[int]]:
    shots = [[int(start), int(stop)] for start, stop in store.shots]
    for k, (start, stop) in enumerate(shots):
        if not 0 <= start < stop <= len(store.frames):
            raise ValueError(
                f"shot {k} of {store.name!r} is frames {start} to {stop}, but the store has "
                f"{len(store.frames)} frames. Build the frame store again."
            )
    return shots


def _views(phases: Iterable[int] | None, mirrored: bool, span: int) -> list[View]:
    phases = sorted({int(p) for p in (range(span) if phases is None else phases)})
    if not phases or phases[0] < 0 or phases[-1] >= span:
        raise ValueError(
            f"phases are {phases}, but a tubelet of {span} frames has the phases 0 to {span - 1}: "
            "choose some of these, or leave phases out for all."
        )
    return [(p, m) for m in ([False, True] if mirrored else [False]) for p in phases]


def _lay_out(shots: list[list[int]], views: list[View], span: int, shard_frames: int) -> dict[str, list[Entry]]:
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


def _dtype(levels: Sequence[int]) -> np.dtype:
    codes = math.prod(levels)
    if codes > 2**32:
        raise ValueError(f"levels {list(levels)} name {codes:,} codes, more than 32 bits hold: use fewer.")
    return np.dtype(np.uint16 if codes <= 2**16 else np.uint32)


def _require(folder: Path, found: dict, wanted: dict) -> None:
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
            tell = [k for k in ("levels", "tubelet") if k in differs]
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
            f"{folder} holds the views (phase, mirrored) {_plain(found['views'])}, but you asked for "
            f"{_plain(wanted['views'])}. Ask for the same phases and mirrored, or {way_out}."
        )
    if "shard_frames" in wanted and found["shard_frames"] != wanted["shard_frames"]:
        raise CacheMismatch(
            f"{folder} was written with shard_frames={found['shard_frames']}, but you passed "
            f"{wanted['shard_frames']}. Pass what was passed then, or {way_out}."
        )


def _plain(views: Iterable) -> str:
    return ", ".join(f"({int(phase)}, {bool(mirrored)})" for phase, mirrored in views)


# --- files --------------------------------------------------------------------------------------------------


def _save(path: Path, data: bytes) -> None:
    """Write a whole file or none. The temporary name is fixed, so that what a killed run left is used up."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # the bytes reach the disk before the name does
        os.replace(temporary, path)
    except Exception:
        temporary.unlink(missing_ok=True)
        raise


def _digest(plan: str, arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(plan.encode())
    for key in sorted(arrays):
        digest.update(f"{key} {arrays[key].dtype} {arrays[key].shape}\n".encode())
        digest.update(arrays[key].tobytes())
    return digest.hexdigest()


def _pack(plan: dict, arrays: dict[str, np.ndarray]) -> bytes:
    """A shard says what it is part of and whether it is whole, even before there is a manifest."""
    text = json.dumps(plan)
    # One metadata key only: safetensors writes several in no fixed order, and bytes would not repeat.
    card = json.dumps({"plan": text, "sha256": _digest(text, arrays)})
    return safetensors.numpy.save(arrays, metadata={"vg": card})


def _unpack(path: Path, raw: bytes) -> tuple[dict, dict[str, np.ndarray]]:
    """The plan a shard was written for and its arrays. Raises CacheCorrupt if it is not as it was written."""
    try:
        arrays = safetensors.numpy.load(raw)
        header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
        card = json.loads(header["__metadata__"]["vg"])
        if card["sha256"] == _digest(card["plan"], arrays):
            return json.loads(card["plan"]), arrays
    except (SafetensorError, ValueError, KeyError, TypeError, MemoryError):
        pass
    raise _damaged(path)


def _damaged(path: Path) -> CacheCorrupt:
    return CacheCorrupt(
        f"{path} is damaged: it is not as it was written. Run vg.latents.write again with the same "
        "arguments: only this file is made anew."
    )


def _manifest_text(manifest: dict) -> str:
    """JSON with one entry, shot or shard a line, to be read by people too, and a hash of itself."""
    manifest = {**manifest, "sha256": _manifest_hash(manifest)}
    rows = []
    for key, value in manifest.items():
        listed = isinstance(value, list) and value and isinstance(value[0], dict | list)
        body = "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n ]" if listed else json.dumps(value)
        rows.append(f" {json.dumps(key)}: {body}")
    return "{\n" + ",\n".join(rows) + "\n}\n"


def _manifest_hash(manifest: dict) -> str:
    rest = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest).encode()).hexdigest()


def _read_manifest(folder: Path) -> dict:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        shards = len(list(folder.glob("shard-*.safetensors")))
        state = f"though {shards} shards: a run was cut short" if shards else "so there is no cache"
        raise FileNotFoundError(
            f"{folder} has no {MANIFEST}, {state}. Run vg.latents.write (notebook 06): it goes on from there."
        ) from None
    except ValueError:
        raise _damaged(path) from None
    if not isinstance(manifest, dict) or manifest.get("sha256") != _manifest_hash(manifest):
        raise _damaged(path)
    return manifest


# --- writing ------------------------------------------------------------------------------------------------


@contextmanager
def _frozen(tokenizer: nn.Module) -> Iterator[None]:
    """No gradients and no learning inside; every part's mode as it was, outside."""
    modes = [(module, module.training) for module in tokenizer.modules()]
    tokenizer.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def _video(store, entry: Entry) -> Tensor:
    """The entry's frames as the tokenizer wants them: float (1, C, T, H, W) in [-1, 1]."""
    frames = torch.from_numpy(np.array(store.frames[entry.start : entry.stop]))  # T C H W
    video = frames.permute(1, 0, 2, 3)[None].float() / 127.5 - 1
    return video.flip(-1) if entry.mirrored else video


def _encode(tokenizer: nn.Module, video: Tensor, t: int) -> np.ndarray:
    """One stream's indices, (t, h, w) in the dtype of the cache, after looking whether they can be that."""
    indices = tokenizer.encode(video)  # 1 t h w
    if indices.dim() != 4 or indices.shape[:2] != (1, t) or indices.is_floating_point():
        raise ValueError(
            f"encode gave {indices.dtype} of shape {tuple(indices.shape)} for a video of shape "
            f"{tuple(video.shape)}: integers (1, {t}, h, w) were due."
        )
    low, high, codes = int(indices.min()), int(indices.max()), math.prod(tokenizer.levels)
    if low < 0 or high >= codes:
        raise ValueError(
            f"encode gave indices from {low} to {high}, but levels {list(tokenizer.levels)} name {codes:,} "
            f"codes, 0 to {codes - 1}. Are these the levels of its quantizer?"
        )
    return np.ascontiguousarray(indices[0].cpu().numpy().astype(_dtype(tokenizer.levels)))


@dataclass
class _Job:
    """One process's part in writing a cache.

    Attributes:
        plan: what every shard says of itself.
        shards: the entries of each shard, all processes' shards.
        sound: sha256 of the shards that are there and whole, as far as this process has seen.
    """

    folder: Path
    plan: dict
    shards: dict[str, list[Entry]]
    rank: int
    world_size: int
    patience: float
    sound: dict[str, str] = field(default_factory=dict)

    def look(self, names: Iterable[str]) -> bool:
        """Whether any of these shards has newly been found whole. Raises CacheMismatch at another cache's."""
        before = len(self.sound)
        for name in names:
            path = self.folder / name
            try:
                raw = path.read_bytes()
                found, arrays = _unpack(path, raw)
            except (FileNotFoundError, CacheCorrupt):
                continue
            _require(self.folder, found, self.plan)
            if arrays.keys() == {entry.key for entry in self.shards.get(name, ())}:
                self.sound[name] = hashlib.sha256(raw).hexdigest()
        return len(self.sound) > before

    def begin(self) -> None:
        """Find what an earlier run finished; refuse a folder that holds another cache."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if (self.folder / MANIFEST).exists():
            try:
                _require(self.folder, _read_manifest(self.folder), self.plan)
            except CacheCorrupt:
                warnings.warn(f"{self.folder / MANIFEST} is damaged: writing it again.", stacklevel=3)
        self.look({path.name for path in self.folder.glob("shard-*.safetensors")} | set(self.shards))

    def encode(self, tokenizer: nn.Module, store, device: torch.device | str, progress: bool) -> None:
        """Make this process's shards, those that are not there yet."""
        mine = list(self.shards)[self.rank :: self.world_size]
        total = sum(len(self.shards[name]) for name in mine)
        with tqdm(total=total, desc="encoding", unit="view", disable=not progress) as bar:
            for name in mine:
                if name in self.sound:
                    bar.update(len(self.shards[name]))
                    continue
                path = self.folder / name
                if path.exists():
                    warnings.warn(f"{path} is damaged: encoding its shots again.", stacklevel=3)
                arrays = {}
                for entry in self.shards[name]:
                    arrays[entry.key] = _encode(tokenizer, _video(store, entry).to(device), entry.t)
                    bar.update()
                raw = _pack(self.plan, arrays)
                _save(path, raw)
                self.sound[name] = hashlib.sha256(raw).hexdigest()

    def wait(self) -> None:
        """Wait until the other processes' shards are there and whole."""
        names, last = list(self.shards), time.monotonic()
        while missing := [name for name in names if name not in self.sound]:
            if self.look(missing):
                last = time.monotonic()
            elif time.monotonic() - last > self.patience:
                owners = [f"{name} (rank {names.index(name) % self.world_size})" for name in missing]
                raise TimeoutError(
                    f"rank {self.rank} of {self.world_size} waited {self.patience:g} s at {self.folder} for "
                    f"{', '.join(owners[:4])}{', ...' if owners[4:] else ''}. See whether those processes "
                    "failed and whether all see this folder, then run vg.latents.write again: it goes on "
                    "where it stopped."
                )
            else:
                time.sleep(0.05)

    def publish(self, shots: list[list[int]]) -> None:
        """Rank 0 writes the manifest; the others, who know what it will say, wait for it."""
        path = self.folder / MANIFEST
        text, start = self.manifest(shots).encode(), time.monotonic()
        while not path.exists() or path.read_bytes() != text:
            if self.rank == 0:
                _save(path, text)
            elif time.monotonic() - start > self.patience:
                raise TimeoutError(
                    f"rank {self.rank} waited {self.patience:g} s for rank 0 to write {path}. See whether "
                    "that process failed, then run vg.latents.write again, with the same arguments in each."
                )
            else:
                time.sleep(0.05)

    def manifest(self, shots: list[list[int]]) -> str:
        path = self.folder / next(iter(self.shards))
        _, arrays = _unpack(path, path.read_bytes())
        example = next(iter(arrays.values()))  # t h w
        parts = {
            **self.plan,
            "dtype": example.dtype.name,
            "grid": list(example.shape[1:]),
            "shot_frames": shots,
            "shards": [{"file": name, "sha256": self.sound[name]} for name in self.shards],
            "entries": [asdict(entry) for entries in self.shards.values() for entry in entries],
        }
        return _manifest_text(parts)


def write(
    folder: str | Path,
    tokenizer: nn.Module,
    store,
    *,
    name: str,
    mirrored: bool = False,
    phases: Iterable[int] | None = None,
    rank: int = 0,
    world_size: int = 1,
    progress: bool = True,
    device: torch.device | str | None = None,
    shard_frames: int = 512,
    patience: float = 600.0,
) -> "LatentCache":
    """Encode a frame store, shot by shot, into a folder; go on where an earlier run was stopped.

    Whole shards are recognised by the hash in them and kept; missing and damaged ones are made. The files
    come out the same to the byte however often the run was killed and however many processes shared it, as
    long as ``encode`` repeats itself (a CPU and a GPU may differ). A finished cache is only verified.

    Args:
        folder: where to write; made if it is not there.
        tokenizer: a module with ``encode``, which takes float (B, C, T, H, W) in [-1, 1] and gives integer
            (B, t, h, w) in [0, prod(levels)), with ``levels`` and with ``tubelet`` (frames, height, width).
            It learns nothing here and is left in the mode it was in.
        store: has ``frames`` uint8 (T, C, H, W), ``shots`` [(start, stop), ...], ``name``,
            ``source_sha256`` and ``key`` (its settings, a string).
        name: what to call the tokenizer in the manifest and in errors: a label, the weights' hash decides.
        mirrored: encode each shot's mirror image too.
        phases: frames to leave out at a shot's start, each giving a view; default 0 to ``tubelet[0] - 1``.
        rank, world_size: which of how many processes this is. Shards go round them in turn; rank 0 writes
            the manifest when all are there; every rank returns when it is. They meet in the folder alone.
        progress: show a bar, counting this process's views of shots.
        device: where ``tokenizer`` is; default where its first weight is.
        shard_frames: a shard is closed when its shots have this many frames; a killed run repeats one.
        patience: seconds to wait for the other processes while no new shard comes.

    Returns:
        the finished cache, opened.

    Raises:
        CacheMismatch: if the folder holds a cache of other weights, source, store, shots, views or format.
        TimeoutError: if the other processes' shards or the manifest do not come.
        ValueError: if no shot is as long as a tubelet, or ``encode`` gives what cannot be stored.
    """
    if not 0 <= rank < world_size:
        raise ValueError(f"rank {rank} of world_size {world_size}: ranks are 0 to {world_size - 1}.")
    span = int(tokenizer.tubelet[0])
    shots, views = _shots(store), _views(phases, mirrored, span)
    shards = _lay_out(shots, views, span, shard_frames)
    if not shards:
        raise ValueError(
            f"none of the {len(shots)} shots of {store.name!r} is as long as one tubelet of {span} frames: "
            "there is nothing to encode. Take a longer video, or look at how it was cut into shots."
        )
    plan = {
        "format": FORMAT,
        "tokenizer": _tokenizer_card(tokenizer, name),
        "source": _store_card(store),
        "shots": _shots_card(shots),
        "views": [list(view) for view in views],
        "shard_frames": shard_frames,
    }
    if device is None:
        device = next((weight.device for weight in tokenizer.state_dict().values()), "cpu")
    job = _Job(Path(folder), plan, shards, rank, world_size, patience)
    job.begin()
    with _frozen(tokenizer):
        job.encode(tokenizer, store, device, progress)
    job.wait()
    job.publish(shots)
    return LatentCache.open(folder)


# --- reading ------------------------------------------------------------------------------------------------


class LatentCache:
    """A finished cache, read whole into memory (a film is a few megabytes). Made by ``open`` or ``write``.

    Attributes:
        folder: where it is.
        manifest: ``manifest.json`` as a dict.
        entries: tuple of `Entry`, one for each view of each shot that is as long as a tubelet.
        shots: all the store's shots, [(start, stop), ...] in frames; ``Entry.shot`` counts in it.
        views: the (phase, mirrored) that it holds.
        grid: (h, w), tokens in a tubelet-frame.
        levels: the tokenizer's levels; an index is in [0, prod(levels)).
        tubelet: (frames, height, width) in pixels.
        tokens: uint16 or uint32 (sum of all t, h, w), the entries one after another.
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
    def open(cls, folder: str | Path, tokenizer: nn.Module | None = None, store=None) -> "LatentCache":
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
        manifest = _read_manifest(folder)
        wanted: dict = {"format": FORMAT}
        if tokenizer is not None:
            name = getattr(tokenizer, "name", type(tokenizer).__name__)
            wanted["tokenizer"] = _tokenizer_card(tokenizer, name)
        if store is not None:
            wanted |= {"source": _store_card(store), "shots": _shots_card(_shots(store))}
        _require(folder, manifest, wanted)
        arrays: dict[str, np.ndarray] = {}
        for shard in manifest["shards"]:
            arrays |= cls._read_shard(folder / shard["file"], shard["sha256"])
        tokens = [arrays[entry["key"]] for entry in manifest["entries"]]
        return cls(folder, manifest, np.concatenate(tokens))

    @staticmethod
    def _read_shard(path: Path, sha256: str) -> dict[str, np.ndarray]:
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            raise CacheCorrupt(
                f"{path} is missing. Run vg.latents.write again with the same arguments: only this file is made anew."
            ) from None
        if hashlib.sha256(raw).hexdigest() != sha256:
            raise _damaged(path)
        return _unpack(path, raw)[1]

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
        frames: int = 8,
        shots: Iterable[int | tuple[int, int]] | None = None,
        views: Iterable[View] | None = None,
        stride: int = 1,
    ) -> "Windows":
        """Every stretch of ``frames`` tubelet-frames that lies within one shot.

        Args:
            frames: tubelet-frames in a window (``tubelet[0]`` frames each).
            shots: which shots, by number or as the (start, stop) of ``.shots``; default all. Those too short
                for a window have none.
            views: which (phase, mirrored); default all. To measure, ``[(0, False)]`` counts no frame twice.
            stride: tubelet-frames from one window's start to the next; ``frames`` gives windows side by side.

        Raises:
            ValueError: if a shot or view is not in the cache, or no shot is long enough.
        """
        if frames < 1 or stride < 1:
            raise ValueError(f"frames={frames} and stride={stride}: both must be at least 1.")
        numbers = {self._shot_number(shot) for shot in (self.shots if shots is None else shots)}
        chosen = set(self.views) if views is None else {(int(phase), bool(flip)) for phase, flip in views}
        if unknown := sorted(chosen - set(self.views)):
            raise ValueError(
                f"{self.folder} has no view (phase, mirrored) {_plain(unknown)}; it holds "
                f"{_plain(self.views)}. Choose from these, or write a cache with more phases or mirrored."
            )
        picked = [
            (first, entry)
            for first, entry in zip(self._first, self.entries)
            if entry.shot in numbers and (entry.phase, entry.mirrored) in chosen
        ]
        starts = [np.arange(first, first + entry.t - frames + 1, stride) for first, entry in picked]
        owners = [np.full(len(start), entry.shot) for start, (_, entry) in zip(starts, picked)]
        if not any(len(start) for start in starts):
            longest = max((entry.t for _, entry in picked), default=0)
            span = self.tubelet[0]
            raise ValueError(
                f"no window of {frames} tubelet-frames ({frames * span} frames) fits any of the "
                f"{len(numbers)} shots chosen: the longest has {longest} ({longest * span} frames). "
                f"{f'Ask for frames={longest} or fewer, or choose' if longest else 'Choose'} longer shots."
            )
        return Windows(self.tokens, np.concatenate(starts), np.concatenate(owners), frames)

    def _shot_number(self, shot: int | tuple[int, int]) -> int:
        if isinstance(shot, Sequence):
            pair = (int(shot[0]), int(shot[1]))
            if pair in self.shots:
                return self.shots.index(pair)
        elif 0 <= int(shot) < len(self.shots):
            return int(shot)
        raise ValueError(
            f"shot {shot} is not in {self.folder}, which has {len(self.shots)} shots. Choose from its "
            ".shots, by number or as (start, stop)."
        )

    def __repr__(self) -> str:
        (h, w), name = self.grid, self.manifest["tokenizer"]["name"]
        return (
            f"LatentCache({len(self.shots)} shots, {len(self.views)} views, {len(self.tokens):,} "
            f"tubelet-frames of {h}x{w} tokens, {self.nbytes:,} bytes, by {name!r})"
        )


class Windows(Dataset):
    """Stretches of the cache, all of one length, none across a cut. They share the cache's memory.

    Attributes:
        frames: tubelet-frames in each.
        shots: int64 (len,), the number of each window's shot; a scene label, if one is wanted.
    """

    def __init__(self, tokens: np.ndarray, starts: np.ndarray, shots: np.ndarray, frames: int):
        self.frames = frames
        self.shots = torch.from_numpy(shots.astype(np.int64))
        self._tokens, self._starts = tokens, starts

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, i: int) -> Tensor:
        """Window ``i``: int64 (t, h, w)."""
        start = self._starts[i]
        return torch.from_numpy(self._tokens[start : start + self.frames].astype(np.int64))

    def take(self, numbers: Tensor) -> Tensor:
        """Several windows by number, (B,): int64 (B, t, h, w)."""
        where = self._starts[numbers.numpy()][:, None] + np.arange(self.frames)  # B t
        return torch.from_numpy(self._tokens[where].astype(np.int64))

    def draw(self, batch: int, generator: torch.Generator | None = None) -> Tensor:
        """Numbers of random windows, (batch,), with replacement; for ``take`` and ``shots``."""
        return torch.randint(len(self), (batch,), generator=generator)

    def sample(self, batch: int, generator: torch.Generator | None = None) -> Tensor:
        """Random windows, with replacement: int64 (batch, t, h, w)."""
        return self.take(self.draw(batch, generator))
