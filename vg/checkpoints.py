"""Named weights: ``load("tubelet-fsq-64")``. Each is a pair of files, fp16 safetensors and a JSON card.

The card holds what is needed to build the model (its class and configuration), the hash of the weights file, how the
weights came about (data, steps, time, metrics, seed), and a hash of all this. Whoever edits a card by hand calls
``seal(name)`` afterwards.

Whenever a save is killed, the old pair can be loaded or the new one. First the new weights are written beside the old
ones, then the card is replaced, which is the moment that decides, then the new weights take the old ones' place.
``load`` takes whichever weights the card asks for.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as read_weights
from safetensors.torch import save_file
from torch import Tensor

from vg import atomic, paths
from vg.hashing import own_copies
from vg.models.features import ClipFeatures, FeaturesConfig
from vg.models.fitting import Misfit, fitted
from vg.models.frozen import Freezable
from vg.models.prior_config import PriorConfig
from vg.models.quantizers import QuantizerConfig
from vg.models.transformer import Prior
from vg.models.tubelet import TubeletConfig, TubeletTokenizer
from vg.models.two_level import TwoLevelConfig, TwoLevelPrior
from vg.models.vae import VAE, VAEConfig
from vg.models.video import VideoAutoencoder, VideoConfig
from vg.models.vqvae import VQVAE, VQVAE2, VQVAE2Config, VQVAEConfig

FORMAT = 1
SEAL = "card_sha256"
LONGEST_CARD = 2**24  # bytes; the shipped ones have less than 2**14
MODELS = {
    "TubeletTokenizer": (TubeletTokenizer, TubeletConfig),
    "Prior": (Prior, PriorConfig),
    "ClipFeatures": (ClipFeatures, FeaturesConfig),
    "VideoAutoencoder": (VideoAutoencoder, VideoConfig),
    "VAE": (VAE, VAEConfig),
    "VQVAE": (VQVAE, VQVAEConfig),
    "VQVAE2": (VQVAE2, VQVAE2Config),
    "TwoLevelPrior": (TwoLevelPrior, TwoLevelConfig),
}

# Names that older cards and weights have, and what each is called now.
_PRIOR_FIELDS = {
    "scenes": "num_labels",
    "guide_levels": "condition_levels",
    "guide_grid": "condition_grid",
    "guide_depth": "condition_depth",
}
_QUANTIZER_FIELDS = {  # once beside the others, now in a QuantizerConfig of their own
    "quantizer": "quantizer.kind",
    "codebook": "quantizer.codebook_size",
    "code": "quantizer.code_dim",
    **{name: f"quantizer.{name}" for name in ("levels", "decay", "commitment", "data_init", "restart")},
}
FORMER_FIELDS = {
    "Prior": _PRIOR_FIELDS,
    "TwoLevelPrior": _PRIOR_FIELDS,
    "VideoAutoencoder": _QUANTIZER_FIELDS,
    "VQVAE": _QUANTIZER_FIELDS,
    "VQVAE2": _QUANTIZER_FIELDS | {"top_codebook": "top_quantizer.codebook_size", "top_levels": "top_quantizer.levels"},
}
_PRIOR_WEIGHTS = {"scene": "label_embedding", "stands": "layout_embedding", "guide": "conditioner"}
FORMER_WEIGHTS = {"Prior": _PRIOR_WEIGHTS, "TwoLevelPrior": _PRIOR_WEIGHTS}  # parts of a weight's dotted name


class BadCheckpoint(ValueError):
    """A checkpoint is missing a file, damaged, or of another version of the models."""


@dataclass(frozen=True)
class Checkpoint:
    """A card as ``card`` returns it.

    Attributes:
        name: what to call it.
        model: the class, one of ``MODELS``.
        config: the arguments of its configuration, by the names that they have today.
        sha256: of the weights file.
        facts: what the one who trained it wrote down: data, steps, seconds, metrics, seed.
    """

    name: str
    model: str
    config: dict
    sha256: str
    facts: dict


def folder() -> Path:
    """Where the shipped checkpoints are: ``assets/checkpoints/``."""
    return paths.assets_dir() / "checkpoints"


def names(where: str | Path | None = None) -> list[str]:
    """The checkpoints that there are, in ``assets/checkpoints/`` or in another folder."""
    return sorted(path.stem for path in Path(where or folder()).glob("*.json"))


def card(name: str, where: str | Path | None = None) -> Checkpoint:
    """What is known of a checkpoint, without loading its weights.

    Raises:
        FileNotFoundError: if there is none of that name; the message lists those that there are.
        BadCheckpoint: if the card cannot be read, is damaged or of another format.
    """
    path = Path(where or folder()) / f"{name}.json"
    if not path.is_file():
        there = ", ".join(names(where)) or "none yet"
        raise FileNotFoundError(f"There is no checkpoint {name!r} in {path.parent}. There are: {there}.")
    raw = _read_card(path)
    if raw.get("format") != FORMAT:
        raise BadCheckpoint(
            f"{path} has format {raw.get('format')}, this version of vg reads {FORMAT}. Update vg, or the checkpoint."
        )
    if raw.get(SEAL) != _hash_of(raw):
        raise BadCheckpoint(
            f"{path} is not as it was written (its {SEAL} is another, or missing). Restore it; or, if it was edited on "
            f"purpose or is of an older version of vg, call vg.checkpoints.seal({name!r}, {str(path.parent)!r})."
        )
    wanted = {"name": str, "model": str, "config": dict, "sha256": str, "facts": dict}
    if wrong := [key for key, kind in wanted.items() if not isinstance(raw.get(key), kind)]:
        raise BadCheckpoint(f"{path} is no card of a checkpoint: {', '.join(wrong)} missing or of another type.")
    raw["config"] = _current_config(raw["model"], raw["config"])
    return Checkpoint(*(raw[key] for key in wanted))


def config(name: str, where: str | Path | None = None) -> Any:
    """The configuration of a checkpoint's model, without reading its weights.

    Raises:
        FileNotFoundError: if there is none of that name.
        BadCheckpoint: if the card is damaged, or its configuration is not one of its model.
    """
    found = card(name, where)
    _, kind = _classes(found)
    try:
        return _from_json(kind, found.config)
    except (TypeError, ValueError) as problem:
        raise BadCheckpoint(f"{name} does not fit this version of {found.model}: {problem}.") from problem


def _classes(found: Checkpoint) -> tuple[type, type]:
    """Of the model and of its configuration."""
    if found.model not in MODELS:
        raise BadCheckpoint(
            f"{found.name} is a {found.model}, which this version of vg does not have: {', '.join(MODELS)}."
        )
    return MODELS[found.model]


def _current_config(model: str, config: dict) -> dict:
    """A configuration in today's words, whatever version of vg wrote it."""
    former: dict[str, str] = FORMER_FIELDS.get(model, {})
    current: dict[str, Any] = {}
    for name, value in config.items():
        if name == "quantizer" and isinstance(value, dict):  # written today
            current[name] = value
            continue
        outer, _, inner = former.get(name, name).partition(".")
        if inner:
            current.setdefault(outer, {})[inner] = value
        else:
            current[outer] = value
    if model == "VQVAE2" and isinstance(config.get("quantizer"), str):  # both levels had the same options
        shared = {k: v for k, v in current["quantizer"].items() if k not in ("codebook_size", "levels")}
        current["top_quantizer"] = shared | current.get("top_quantizer", {})
    if model == "TubeletTokenizer" and len(group := current.get("group", ())) == 2:  # down and across alone
        current["group"] = [1, *group]
    if model in ("Prior", "TwoLevelPrior"):  # before there was a choice
        current.setdefault("normed", False)
    return current


def _current_weights(model: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights under the names that they have today."""
    former = FORMER_WEIGHTS.get(model, {})
    if model == "TwoLevelPrior":  # of images, before which nothing comes
        weights = {name: value for name, value in weights.items() if ".before." not in name}
    return {".".join(former.get(part, part) for part in name.split(".")): value for name, value in weights.items()}


def seal(name: str, where: str | Path | None = None) -> None:
    """Write the hash of a card into it, after it was edited by hand; nothing else changes.

    Raises:
        BadCheckpoint: if it is not JSON.
        OSError: if it cannot be read or written.
    """
    where = Path(where or folder())
    with atomic.locked(where / name, f"saving the checkpoint {name}"):
        _write_card(where / f"{name}.json", _read_card(where / f"{name}.json"))


def save(name: str, model: Freezable, facts: dict, where: str | Path | None = None) -> Path:
    """Write a model's weights in half precision, and its card last.

    Args:
        name: such as ``tubelet-fsq-64``.
        model: one of ``MODELS``, with a ``config``.
        facts: whatever JSON holds: data, steps, seconds, metrics, seed.
        where: folder; default ``assets/checkpoints/``.

    Returns:
        the path of the weights.

    Raises:
        ValueError: if a weight is too large for half precision, or not a number; if JSON cannot hold the facts; or if
            the name is empty or leads into another folder.
        OSError: if it cannot be written; what was there before can still be loaded.
    """
    if not name or name.startswith(".") or not {"/", "\\", "\0"}.isdisjoint(name):
        raise ValueError(f"{name!r} cannot name a checkpoint. Take letters, figures and hyphens: tubelet-fsq-64.")
    where = Path(where or folder())
    learned = {key for key, _ in model.named_parameters(remove_duplicate=False)}  # running statistics stay exact
    weights = own_copies({key: value.half() if key in learned else value for key, value in model.state_dict().items()})
    if bad := _not_finite(weights):
        raise ValueError(f"{name}: not finite in half precision: {', '.join(bad[:3])}. Nothing was written.")
    text = {"format": FORMAT, "name": name, "model": type(model).__name__, "config": asdict(model.config)}
    try:
        json.dumps(text | {"facts": facts})  # now, not when the weights are written
    except (TypeError, ValueError, RecursionError) as problem:
        raise ValueError(f"{name}: JSON cannot hold its card ({problem}). Nothing was written.") from problem
    path, fresh = where / f"{name}.safetensors", _fresh(where, name)
    try:
        with atomic.locked(where / name, f"saving the checkpoint {name}"):
            _finish(where, name)
            with atomic.replacing(fresh) as partial:
                save_file(weights, partial)
            _write_card(where / f"{name}.json", text | {"sha256": _file_hash(fresh), "facts": facts})
            os.replace(fresh, path)
    except (OSError, SafetensorError) as problem:
        raise OSError(
            f"{path} cannot be written ({problem}). Make room or allow it, or take another folder. What was there "
            "before can still be loaded."
        ) from problem
    return path


def load(
    name: str, where: str | Path | None = None, device: torch.device | str = "cpu", trainable: bool = False
) -> Freezable:
    """A checkpoint's model, with its weights in float32, frozen (no gradients, never in training mode).

    Args:
        name: one of ``names()``.
        where: folder; default ``assets/checkpoints/``.
        device: where to put it.
        trainable: not frozen, to train it on.

    Raises:
        FileNotFoundError: if there is no checkpoint of that name.
        BadCheckpoint: if its weights are missing, damaged, or do not fit its model.
    """
    found, raw = _pair(name, Path(where or folder()))
    kind, shape = _classes(found)
    try:
        weights = _current_weights(found.model, read_weights(raw))
    except (SafetensorError, ValueError, KeyError, RuntimeError) as problem:
        raise BadCheckpoint(f"{name}.safetensors holds no weights ({problem}). Restore the checkpoint.") from problem
    if bad := _not_finite(weights):
        raise BadCheckpoint(f"{name} holds weights that are not finite: {', '.join(bad[:3])}. Restore or train it.")
    try:
        model = fitted(lambda: kind(_from_json(shape, found.config)), _flat(found.config), weights)
    except Misfit as problem:
        raise BadCheckpoint(f"{name} does not fit this version of {found.model}: {problem}.") from problem
    model.name = name
    return model.to(device) if trainable else model.freeze().to(device)


def _from_json(kind: type, values: dict) -> Any:
    """A configuration from what JSON holds of it: lists are tuples, a quantizer's values are a QuantizerConfig."""
    made = {}
    for name, value in values.items():
        if name.endswith("quantizer") and isinstance(value, dict):
            value = _from_json(QuantizerConfig, value)
        made[name] = tuple(value) if isinstance(value, list) else value
    return kind(**made)


def _flat(values: dict) -> dict[str, object]:
    """All values of a configuration, also those of configurations in it, by name."""
    flat: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{inner}": each for inner, each in _flat(value).items()}
        else:
            flat[name] = tuple(value) if isinstance(value, list) else value
    return flat


def _pair(name: str, where: Path) -> tuple[Checkpoint, bytes]:
    """A card and the bytes of its weights, while others may be saving."""
    path = where / f"{name}.safetensors"
    while True:
        found = card(name, where)
        problem: Exception | None = None
        for each in (_fresh(where, name), path):  # in the order in which a save moves them
            try:
                with open(each, "rb") as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() == found.sha256:
                        file.seek(0)
                        return found, file.read()
                problem = None
            except OSError as missing:
                problem = missing
        if card(name, where) == found:
            break  # else it was replaced meanwhile
    if problem is not None:
        raise BadCheckpoint(f"{path} cannot be read ({problem}). Restore it; its card is there.") from problem
    raise BadCheckpoint(f"{path} is not what its card describes: damaged, or of another run. Restore both files.")


def _fresh(where: Path, name: str) -> Path:
    """Weights that have been written, but have not yet taken the place of the old ones."""
    return where / f".{name}.fresh.safetensors"


def _finish(where: Path, name: str) -> None:
    """End a save that was killed: after its card, its weights take their place; before it, they go."""
    fresh = _fresh(where, name)
    if not fresh.exists():
        return
    try:
        due = card(name, where).sha256
    except (FileNotFoundError, BadCheckpoint):
        due = ""
    if _file_hash(fresh) == due:
        os.replace(fresh, where / f"{name}.safetensors")
    else:
        fresh.unlink()


def _read_card(path: Path) -> dict:
    try:
        if path.stat().st_size > LONGEST_CARD:
            raise ValueError(f"it has more than {LONGEST_CARD:,} bytes, vg.checkpoints.LONGEST_CARD")
        raw = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(raw, dict):
            raise ValueError(f"it holds a {type(raw).__name__}")
        return raw
    except (ValueError, RecursionError) as problem:
        raise BadCheckpoint(f"{path} is no card of a checkpoint ({problem}). Restore it.") from problem


def _write_card(path: Path, text: dict) -> None:
    text = json.loads(json.dumps(text))  # as it will be read
    text.pop(SEAL, None)
    atomic.write_bytes(path, (json.dumps(text | {SEAL: _hash_of(text)}, indent=2) + "\n").encode())


def _hash_of(text: dict) -> str:
    """The sha256 of all that a card says, however it is laid out."""
    rest = {key: value for key, value in text.items() if key != SEAL}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _file_hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _not_finite(weights: dict[str, Tensor]) -> list[str]:
    return [key for key, value in weights.items() if value.is_floating_point() and not value.isfinite().all()]
