"""Named weights: ``load("tubelet-fsq-64")``. Each is a pair of files, fp16 safetensors and a JSON card.

The card holds what is needed to build the model (its class and configuration), the hash of the weights file, and
how the weights came about: data, steps, time, metrics, seed.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as read_weights
from safetensors.torch import save_file

from vg import paths
from vg.models.features import ClipFeatures, FeaturesConfig
from vg.models.frozen import Freezable
from vg.models.transformer import Prior, PriorConfig
from vg.models.tubelet import TubeletConfig, TubeletTokenizer
from vg.models.two_level import TwoLevelConfig, TwoLevelPrior
from vg.models.vae import VAE, VAEConfig
from vg.models.video import VideoAutoencoder, VideoConfig
from vg.models.vqvae import VQVAE, VQVAE2, VQVAE2Config, VQVAEConfig

FORMAT = 1
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


class BadCheckpoint(ValueError):
    """A checkpoint is missing a file, damaged, or of another version of the models."""


@dataclass(frozen=True)
class Checkpoint:
    """A card as ``card`` returns it.

    Attributes:
        name: what to call it.
        model: the class, one of ``MODELS``.
        config: the arguments of its configuration.
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
        BadCheckpoint: if the card cannot be read or is of another format.
    """
    path = Path(where or folder()) / f"{name}.json"
    if not path.is_file():
        there = ", ".join(names(where)) or "none yet"
        raise FileNotFoundError(f"There is no checkpoint {name!r} in {path.parent}. There are: {there}.")
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["format"] != FORMAT:
            raise BadCheckpoint(
                f"{path} has format {raw['format']}, this version of vg reads {FORMAT}. Update vg, or the checkpoint."
            )
        return Checkpoint(raw["name"], raw["model"], raw["config"], raw["sha256"], raw["facts"])
    except (ValueError, KeyError, TypeError) as problem:
        if isinstance(problem, BadCheckpoint):
            raise
        raise BadCheckpoint(f"{path} is no card of a checkpoint ({problem!r}). Restore it.") from problem


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
        ValueError: if a weight is too large for half precision, or not a number.
    """
    kind = type(model).__name__
    where = Path(where or folder())
    where.mkdir(parents=True, exist_ok=True)
    learned = {key for key, _ in model.named_parameters()}  # running statistics stay exact
    weights = {
        key: (value.half() if key in learned else value).detach().cpu().contiguous()
        for key, value in model.state_dict().items()
    }
    if bad := [key for key, value in weights.items() if value.is_floating_point() and not value.isfinite().all()]:
        raise ValueError(f"{name}: not finite in half precision: {', '.join(bad[:3])}. Nothing was written.")
    path, partial = where / f"{name}.safetensors", where / f"{name}.partial"
    save_file(weights, partial)
    os.replace(partial, path)
    text = {
        "format": FORMAT,
        "name": name,
        "model": kind,
        "config": asdict(model.config),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "facts": facts,
    }
    partial.write_text(json.dumps(text, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, where / f"{name}.json")
    return path


def load(name: str, where: str | Path | None = None, device: torch.device | str = "cpu") -> Freezable:
    """A checkpoint's model, with its weights in float32, frozen (no gradients, never in training mode).

    Args:
        name: one of ``names()``.
        where: folder; default ``assets/checkpoints/``.
        device: where to put it.

    Raises:
        FileNotFoundError: if there is no checkpoint of that name.
        BadCheckpoint: if its weights are missing, damaged, or do not fit its model.
    """
    found = card(name, where)
    path = Path(where or folder()) / f"{name}.safetensors"
    try:
        raw = path.read_bytes()
    except OSError as problem:
        raise BadCheckpoint(f"{path} cannot be read ({problem}). Restore it; its card is there.") from problem
    if hashlib.sha256(raw).hexdigest() != found.sha256:
        raise BadCheckpoint(f"{path} is not what its card describes: damaged, or of another run. Restore both files.")
    if found.model not in MODELS:
        raise BadCheckpoint(f"{name} is a {found.model}, which this version of vg does not have: {', '.join(MODELS)}.")
    kind, config = MODELS[found.model]
    try:
        model = kind(config(**{k: tuple(v) if isinstance(v, list) else v for k, v in found.config.items()}))
        model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in read_weights(raw).items()})
    except (TypeError, RuntimeError, SafetensorError) as problem:
        raise BadCheckpoint(f"{name} does not fit this version of {found.model}: {problem}") from problem
    model.name = name
    return model.freeze().to(device)
