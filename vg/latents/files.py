"""The files of a cache of latents: written whole or not at all, and checked when they are read."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from vg.latents.plan import MANIFEST, CacheCorrupt


def save(path: Path, data: bytes) -> None:
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
        if card["sha256"] == _digest(card["plan"], arrays):
            return json.loads(card["plan"]), arrays
    except (SafetensorError, ValueError, KeyError, TypeError, MemoryError):
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
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        shards = len(list(folder.glob("shard-*.safetensors")))
        state = f"though {shards} shards: a run was cut short" if shards else "so there is no cache"
        raise FileNotFoundError(
            f"{folder} has no {MANIFEST}, {state}. Run vg.latents.write (notebook 06): it goes on from there."
        ) from None
    except ValueError:
        raise damaged(path) from None
    if not isinstance(manifest, dict) or manifest.get("sha256") != _manifest_hash(manifest):
        raise damaged(path)
    return manifest
