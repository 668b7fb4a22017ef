"""Where a training keeps its state, and its end: from a trained model to a checkpoint with its card."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from torch import nn

from vg import checkpoints, paths, training
from vg.hashing import weight_hash
from vg.models.frozen import Freezable
from vg.training import Trained, devices


def run_folder(name: str, source: str, *made_from: object) -> Path:
    """Where the state of a run is kept, so that it can go on: of one model on one source of data.

    Args:
        name: of the model.
        source: of its data, for whoever reads the folder's name.
        made_from: what else the run depends on beside its recipe, such as the store's key or the hash of the weights
            that it begins with, as JSON can write it. A run made from something else has another folder, so that
            none is taken for the other.
    """
    digest = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()
    return paths.runs_dir() / f"{name}-{source}-{digest[:8]}"


def part_folder(folder: Path, part: str, model: nn.Module) -> Path:
    """Where one part of a run keeps its state: named by the weights it begins with, so that it follows no other."""
    return folder.with_name(f"{folder.name}-{part}-{weight_hash(model)[:8]}")


def fit(*arguments, **options) -> Trained:
    """``vg.training.fit``; where an interrupt stopped it, that goes on: nothing half-trained ships.

    Raises:
        KeyboardInterrupt: if it was stopped; its state is kept.
    """
    trained = training.fit(*arguments, **options)
    if trained.stopped:
        raise KeyboardInterrupt
    return trained


def ship(name: str, trained: Trained, facts: dict, measure: Callable[[Freezable], dict], to: Path) -> Freezable:
    """Save a trained model, load it again and measure that: what is measured is what ships, in half precision.

    Args:
        name: of the checkpoint.
        trained: what ``fit`` returned.
        facts: for the card: data, recipe, seed; the seconds are added here.
        measure: what the loaded model reaches, for the card's "metrics"; it is printed.
        to: folder of the checkpoint.

    Returns:
        the loaded model.
    """

    def save() -> Freezable:
        card = facts | {"seconds": round(trained.seconds)}
        checkpoints.save(name, trained.model, card, to)
        model = checkpoints.load(name, to)
        card = card | {"metrics": measure(model)}
        print(card["metrics"])
        checkpoints.save(name, model, card, to)
        return model

    return devices.on_first_rank(save)
