"""A checkpoint's card for readers: what it is, what it was made from and how, and what it reaches."""

import html
import math
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open

from vg import checkpoints
from vg.evaluation.damage import DAMAGES
from vg.evaluation.tables import rows

KINDS = {
    "TubeletTokenizer": "tokenizer",
    "VideoAutoencoder": "tokenizer",
    "Prior": "prior",
    "ClipFeatures": "features",
}
MOST = 6  # rows


@dataclass(frozen=True)
class Card:
    """What ``card`` shows: a table in a notebook, lines where there are no tables.

    Attributes:
        name: of the checkpoint.
        rows: a heading and its text.
    """

    name: str
    rows: list[tuple[str, str]]

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th style='text-align: left'>{html.escape(head)}</th>"
            f"<td style='text-align: left'>{html.escape(words)}</td></tr>"
            for head, words in self.rows
        )
        return f"<table><caption>{html.escape(self.name)}</caption>{cells}</table>"

    def __repr__(self) -> str:
        wide = max(len(head) for head, _ in self.rows)
        return "\n".join([self.name, *(f"  {head:<{wide}}  {words}" for head, words in self.rows)])


def card(name: str, where: str | Path | None = None) -> Card:
    """A checkpoint's card, in at most six rows.

    Args:
        name: as in ``vg.checkpoints.load``.
        where: its folder; the shipped ones without it.

    Raises:
        FileNotFoundError, BadCheckpoint: as ``vg.checkpoints.card``.
    """
    found = checkpoints.card(name, where)
    facts = found.facts
    data, seconds = facts.get("data", {}), facts.get("seconds")
    said = [("model", f"{found.model}, {_millions(name, where):.1f} M weights")]
    if data:
        store = data.get("store", "").rpartition(", ")[0]  # without its hash
        amount = f"{data['frames']:,} frames, {store}" if store else f"{data.get('train', 0):,} images"
        said.append(("made from", f"{data['source']}: {amount}"))
    if steps := _steps(found):
        time = f", {seconds / 60:.0f} minutes" if seconds else ""
        said.append(("training", f"{steps:,} steps{time}"))
    for measure, reached, beside in rows(_kind(found) or "images", facts.get("metrics", {})):
        said.append((measure, reached + f" ({beside})" * bool(beside)))
    return Card(name, said[:MOST])


def _millions(name: str, where: str | Path | None) -> float:
    """Numbers in the weights file, in millions; its header says."""
    with safe_open(Path(where or checkpoints.folder()) / f"{name}.safetensors", "pt") as file:
        shapes = [file.get_slice(key).get_shape() for key in file.keys()]  # noqa: SIM118  # no mapping
    return sum(map(math.prod, shapes)) / 1e6


def _kind(found: checkpoints.Checkpoint) -> str:
    """Which part of an experiment it is; empty for a model of images."""
    kind = KINDS.get(found.model, "")
    return "figures" if kind == "features" and found.config.get("answers") == len(DAMAGES) else kind


def _steps(found: checkpoints.Checkpoint) -> int:
    """Of all parts of its training; 0 where the card does not say."""
    recipe = found.facts.get("recipe")
    if recipe is None and (experiment := found.facts.get("experiment")):
        part = experiment.get(_kind(found), experiment)
        return round(part["recipe"]["steps"] * experiment["scale"])
    parts = [recipe] if recipe and "steps" in recipe else list((recipe or {}).values())
    return sum(part["steps"] for part in parts)
