"""The files of a cache of latents, as bytes; checked when they are read."""

import hashlib
import json
from pathlib import Path

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from vg.latents import checks
from vg.latents.plan import MANIFEST, CacheCorrupt


def read(path: Path, most: int) -> bytes:
    """A file's bytes.

    Raises:
        FileNotFoundError: if it is not there.
        CacheCorrupt: if it is no plain file (a pipe would never end), or larger than it can be.
    """
    if not path.exists():
        raise FileNotFoundError(path)
    if not path.is_file() or path.stat().st_size > most:
        raise damaged(path)
    return path.read_bytes()


def _digest(plan: str, arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(plan.encode())
    for key in sorted(arrays):
        digest.update(f"{key} {arrays[key].dtype} {arrays[key].shape}\n".encode())
        digest.update(arrays[key].tobytes())
    return digest.hexdigest()


def pack(plan: dict, arrays: dict[str, np.ndarray]) -> bytes:
    """A shard says what it is part of and whether it is whole, even before there is a manifest."""
    text = json.dumps(plan)
    # One metadata key only: safetensors writes several in no fixed order, and bytes would not repeat.
    card = json.dumps({"plan": text, "sha256": _digest(text, arrays)})
    return safetensors.numpy.save(arrays, metadata={"vg": card})


def unpack(path: Path, raw: bytes) -> tuple[dict, dict[str, np.ndarray]]:
    """The plan a shard was written for and its arrays. Raises CacheCorrupt if it is not as it was written."""
    try:
        arrays = safetensors.numpy.load(raw)
        header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
        card = json.loads(header["__metadata__"]["vg"])
        text = card["plan"]
        if (
            isinstance(text, str)
            and card["sha256"] == _digest(text, arrays)
            and not checks.wrong_plan(plan := json.loads(text))
        ):
            return plan, arrays
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, MemoryError, RecursionError):
        pass
    raise damaged(path)


def damaged(path: Path) -> CacheCorrupt:
    """What to raise when a file is not as it was written."""
    return CacheCorrupt(
        f"{path} is damaged: it is not as it was written. Run vg.latents.write again with the same "
        "arguments: only this file is made anew."
    )


def manifest_text(manifest: dict) -> str:
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


def read_manifest(folder: Path) -> dict:
    """The manifest of a cache, checked.

    Raises:
        CacheCorrupt: if it is missing or damaged; the message says what to do.
    """
    path = folder / MANIFEST
    try:
        if path.is_file() and (size := path.stat().st_size) > checks.MANIFEST_BYTES:
            raise checks.too_large(path, f"has {size:,} bytes", "MANIFEST_BYTES")
        manifest = json.loads(read(path, checks.MANIFEST_BYTES))
        whole = isinstance(manifest, dict) and manifest.get("sha256") == _manifest_hash(manifest)
    except FileNotFoundError:
        shards = len(list(folder.glob("shard-*.safetensors")))
        state = f"though {shards} shards: a run was cut short" if shards else "so there is no cache"
        raise FileNotFoundError(
            f"{folder} has no {MANIFEST}, {state}. Run vg.latents.write (notebook 06): it goes on from there."
        ) from None
    except CacheCorrupt:
        raise
    except (ValueError, RecursionError):
        whole = False
    if not whole:
        raise damaged(path)
    checks.check_manifest(manifest, path)
    return manifest
