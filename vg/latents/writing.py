"""Encoding a store into a cache of latents; a run that was killed goes on."""

import hashlib
import math
import os
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vg import atomic, paths
from vg.data import FrameStore
from vg.data.pixels import to_unit
from vg.latents import checks
from vg.latents.files import manifest_text, pack, read, read_manifest, unpack
from vg.latents.plan import (
    FORMAT,
    MANIFEST,
    CacheCorrupt,
    Entry,
    all_views,
    dtype_of,
    lay_out,
    require,
    shots_card,
    shots_of,
    store_card,
    tokenizer_card,
)
from vg.latents.reading import LatentCache
from vg.models.frozen import evaluating
from vg.precision import autocast
from vg.progress import tqdm

SHARD_FRAMES = 512
PIECE = 2**23  # pixels that are encoded at once: 2048 frames of 64x64 (as floats, 32 MB)


def _pieces(store: FrameStore, entry: Entry, span: int) -> Iterator[Tensor]:
    """The entry's frames as the tokenizer wants them, whole tubelets at a time: float (1, C, T, H, W) in [-1, 1]."""
    step = max(1, PIECE // math.prod(store.frames.shape[1:]) // span) * span
    for start in range(entry.start, entry.stop, step):
        video = to_unit(torch.from_numpy(np.array(store.frames[start : min(start + step, entry.stop)])))[None]
        yield video.flip(-1) if entry.mirrored else video


def _stream(tokenizer: nn.Module, store: FrameStore, entry: Entry, device: torch.device | str) -> np.ndarray:
    """The indices of an entry, (t, h, w) in the dtype of the cache. However long it is, memory holds one piece."""
    past: dict = {}
    pieces = _pieces(store, entry, int(tokenizer.tubelet[0]))
    return np.concatenate([_encode(tokenizer, piece.to(device), past) for piece in pieces])


def _encode(tokenizer: nn.Module, video: Tensor, past: dict) -> np.ndarray:
    """A piece's indices, (t, h, w) in the dtype of the cache, after looking whether they can be that."""
    t = video.shape[2] // int(tokenizer.tubelet[0])
    indices = tokenizer.encode(video, past).cpu()  # 1 t h w
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
    return np.ascontiguousarray(indices[0].numpy().astype(dtype_of(tokenizer.levels)))


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

    def check(self, names: Iterable[str]) -> bool:
        """Whether any of these shards has newly been found whole. Raises CacheMismatch at another cache's."""
        before = len(self.sound)
        for name in names:
            path = self.folder / name
            try:
                raw = read(path, checks.TOKEN_BYTES)
                found, arrays = unpack(path, raw)
            except (FileNotFoundError, CacheCorrupt):
                continue
            require(self.folder, found, self.plan)
            if checks.shard_holds(arrays, self.shards.get(name, ()), self.plan["tokenizer"]["levels"]):
                self.sound[name] = hashlib.sha256(raw).hexdigest()
        return len(self.sound) > before

    def begin(self) -> None:
        """Find what an earlier run finished; remove what a killed one left; refuse a folder of another cache."""
        if not self.folder.is_dir():
            return
        if any(name.startswith(".") for name in os.listdir(self.folder)):
            for name in (MANIFEST, *self.shards):
                atomic.sweep(self.folder / name)
        if (self.folder / MANIFEST).exists():
            try:
                require(self.folder, read_manifest(self.folder), self.plan)
            except CacheCorrupt:
                warnings.warn(f"{self.folder / MANIFEST} is damaged: writing it again.", stacklevel=3)
        self.check({path.name for path in self.folder.glob("shard-*.safetensors")} | set(self.shards))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only process with this part: a second one waits, and finds it done. Other ranks have their own."""
        twins = self.folder
        if self.world_size > 1:
            twins = twins.with_name(f"{twins.name}-{self.rank}-of-{self.world_size}")
        with ExitStack() as lock:
            with paths.writable(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                lock.enter_context(atomic.locked(twins, "writing this cache of latents"))
            yield

    def save(self, name: str, data: bytes) -> None:
        with paths.writable(self.folder):
            atomic.write_bytes(self.folder / name, data)

    def encode(self, tokenizer: nn.Module, store: FrameStore, device: torch.device | str, progress: bool) -> None:
        """Make this process's shards, those that are not there yet."""
        mine = list(self.shards)[self.rank :: self.world_size]
        total = sum(len(self.shards[name]) for name in mine)
        with tqdm(total=total, desc="encoding", unit="view", disable=not progress) as bar:
            for name in mine:
                if name in self.sound or self.check([name]):  # made meanwhile, by a twin or by other ranks
                    bar.update(len(self.shards[name]))
                    continue
                path = self.folder / name
                if path.exists():
                    warnings.warn(f"{path} is damaged: encoding its shots again.", stacklevel=3)
                arrays = {}
                for entry in self.shards[name]:
                    arrays[entry.key] = _stream(tokenizer, store, entry, device)
                    bar.update()
                raw = pack(self.plan, arrays)
                self.save(name, raw)
                self.sound[name] = hashlib.sha256(raw).hexdigest()

    def wait(self) -> None:
        """Wait until the other processes' shards are there and whole."""
        names, last = list(self.shards), time.monotonic()
        while missing := [name for name in names if name not in self.sound]:
            if self.check(missing):
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

    def finished(self, shots: list[list[int]]) -> bool:
        """Whether the whole cache is there."""
        return self.sound.keys() == self.shards.keys() and self._published(self.manifest(shots).encode())

    def _published(self, text: bytes) -> bool:
        path = self.folder / MANIFEST
        return path.is_file() and path.stat().st_size == len(text) and path.read_bytes() == text

    def publish(self, shots: list[list[int]]) -> None:
        """Rank 0 writes the manifest; the others, who know what it will say, wait for it."""
        text, start = self.manifest(shots).encode(), time.monotonic()
        while not self._published(text):
            if self.rank == 0:
                self.save(MANIFEST, text)
            elif time.monotonic() - start > self.patience:
                raise TimeoutError(
                    f"rank {self.rank} waited {self.patience:g} s for rank 0 to write {self.folder / MANIFEST}. See "
                    "whether that process failed, then run vg.latents.write again, with the same arguments in each."
                )
            else:
                time.sleep(0.05)

    def manifest(self, shots: list[list[int]]) -> str:
        path = self.folder / next(iter(self.shards))
        _, arrays = unpack(path, path.read_bytes())
        example = next(iter(arrays.values()))  # t h w
        parts = {
            **self.plan,
            "dtype": example.dtype.name,
            "grid": list(example.shape[1:]),
            "shot_frames": shots,
            "shards": [{"file": name, "sha256": self.sound[name]} for name in self.shards],
            "entries": [asdict(entry) for entries in self.shards.values() for entry in entries],
        }
        return manifest_text(parts)


def plan_of(
    tokenizer: nn.Module,
    store: FrameStore,
    name: str,
    mirrored: bool = False,
    phases: Iterable[int] | None = None,
    shard_frames: int = SHARD_FRAMES,
) -> tuple[dict, dict[str, list[Entry]]]:
    """All that a cache is made from, as JSON can write it, and the entries of each shard. Arguments as of ``write``."""
    dtype_of(tokenizer.levels)  # raises where no integer is wide enough, before anything is encoded
    span = int(tokenizer.tubelet[0])
    shots, views = shots_of(store), all_views(phases, mirrored, span)
    shards = lay_out(shots, views, span, shard_frames)
    if not shards:
        raise ValueError(
            f"none of the {len(shots)} shots of {store.name!r} is as long as one tubelet of {span} frames: "
            "there is nothing to encode. Take a longer video, or look at how it was cut into shots."
        )
    plan = {
        "format": FORMAT,
        "tokenizer": tokenizer_card(tokenizer, name),
        "source": store_card(store),
        "shots": shots_card(shots),
        "views": [list(view) for view in views],
        "shard_frames": shard_frames,
    }
    if found := checks.wrong_plan(plan):
        raise ValueError(f"what is to be written cannot be read again: {found}. See what write says of its arguments.")
    return plan, shards


def write(
    folder: str | Path,
    tokenizer: nn.Module,
    store: FrameStore,
    *,
    name: str,
    mirrored: bool = False,
    phases: Iterable[int] | None = None,
    rank: int = 0,
    world_size: int = 1,
    progress: bool = True,
    device: torch.device | str | None = None,
    shard_frames: int = SHARD_FRAMES,
    patience: float = 600.0,
) -> "LatentCache":
    """Encode a frame store, shot by shot, into a folder; go on where an earlier run was stopped.

    Whole shards are recognised by the hash in them and kept; missing and damaged ones are made. The files
    come out the same to the byte however often the run was killed and however many processes shared it, as
    long as ``encode`` repeats itself (a CPU and a GPU, which computes in half precision, may differ). A finished cache
    is only verified. A second process with the same part waits until the first is done, says so, and finds it made.

    Args:
        folder: where to write; made if it is not there.
        tokenizer: a module with ``encode(video, past)``, which takes float (B, C, T, H, W) in [-1, 1] and gives integer
            (B, t, h, w) in [0, prod(levels)), with ``levels`` and with ``tubelet`` (frames, height, width). A long
            shot comes in pieces of whole tubelets, with the same dict ``past`` for each, empty at first, to keep
            what it has to remember of the earlier ones. It learns nothing here and is left in the mode it was in.
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
        OSError: if the folder cannot be written; the message names it.
        TimeoutError: if the other processes' shards or the manifest do not come.
        ValueError: if no shot is as long as a tubelet, there are more codes than 63 bits hold, or ``encode`` gives what
            cannot be stored.
    """
    if not 0 <= rank < world_size:
        raise ValueError(f"rank {rank} of world_size {world_size}: ranks are 0 to {world_size - 1}.")
    plan, shards = plan_of(tokenizer, store, name, mirrored, phases, shard_frames)
    shots = shots_of(store)
    if device is None:
        device = next((weight.device for weight in tokenizer.state_dict().values()), "cpu")
    job = _Job(Path(folder), plan, shards, rank, world_size, patience)
    job.begin()
    if not job.finished(shots):
        with job.alone(), evaluating(tokenizer), torch.no_grad(), autocast(device):
            job.encode(tokenizer, store, device, progress)
            job.wait()
            job.publish(shots)
    return LatentCache.open(folder)
