"""The end of every training: from a trained model to a checkpoint with its card."""

from collections.abc import Callable
from pathlib import Path

from vg import checkpoints, paths
from vg.models.frozen import Freezable
from vg.training import Trained


def run_folder(name: str, source: str) -> Path:
    """Where the state of a run is kept, so that it can go on: of one model on one source of data."""
    return paths.runs_dir() / f"{name}-{source}"


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
    facts = facts | {"seconds": round(trained.seconds)}
    checkpoints.save(name, trained.model, facts, to)
    model = checkpoints.load(name, to)
    facts = facts | {"metrics": measure(model)}
    print(facts["metrics"])
    checkpoints.save(name, model, facts, to)
    return model
