"""One function trains an experiment, and one folder holds what it makes."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from vg import atomic, checkpoints
from vg.evaluation.pair import find_pair
from vg.experiments.config import Experiment, ImageExperiment, to_json
from vg.experiments.features import train_features, train_figures
from vg.experiments.images import train_images
from vg.experiments.prior import PRIOR_SHAPE, train_prior
from vg.experiments.report import write_report
from vg.experiments.run import Part, Run, check_kind
from vg.experiments.tokenizer import train_tokenizer
from vg.training import Recipe, devices

# In this order: figures and a prior need tokens, and a prior is measured by features and figures.
TRAINERS: dict[str, Callable[[Run], Part]] = {
    "tokenizer": train_tokenizer,
    "features": train_features,
    "figures": train_figures,
    "prior": train_prior,
    "images": train_images,
}


def train(experiment: Experiment | ImageExperiment, to: Path | None = None) -> Path:
    """Train all parts of an experiment that are not done yet, in its own folder under ``runs/``.

    A run that was stopped goes on, one that is done is only reported, and another experiment has another folder.

    Args:
        experiment: what, and on what.
        to: also save the models there, under the experiment's name.

    Returns:
        the folder: models with their cards, reels, numbers, and a README that says how to load them.

    Raises:
        Busy: if another process trains the same.
        CannotShare: if there are several processes, and a step's micro-batches are no multiple of them.
        ValueError: if there is too little film, or a model that it begins with or uses is damaged or not of that kind.
        KeyboardInterrupt: if it was stopped; the state is kept.
    """
    experiment = shaped_as_begun(experiment)
    run = Run(experiment)
    for recipe in recipes(experiment):
        devices.check(run.recipe(recipe).micro_batches)
    for folder in filter(None, (run.folder, to)):
        atomic.check_writable(folder)  # now, not after an hour of training
    for (_, part), at in run.borrowed().items():
        check_kind("images" if isinstance(experiment, ImageExperiment) else part, at)
        checkpoints.load(*at)  # a damaged one is refused now too
    with ExitStack() as stack:
        alone = atomic.locked(run.folder, f"training {run.name}", wait=False)
        devices.on_first_rank(lambda: stack.enter_context(alone))
        print(f"everything is kept in {run.folder}")
        text = json.dumps(to_json(experiment) | {"name": run.name}, indent=2)
        devices.on_first_rank(lambda: atomic.write_bytes(run.folder / "experiment.json", text.encode()))
        parts = tuple(part for part in TRAINERS if part in experiment.parts)
        for k, run.part in enumerate(parts):
            run.later = parts[k + 1 :]
            if not run.is_done(run.part):
                run.save(TRAINERS[run.part](run))
        devices.on_first_rank(lambda: write_report(run))
        if to:
            devices.on_first_rank(lambda: publish(run, to))
    return run.folder


def shaped_as_begun(experiment: Experiment | ImageExperiment) -> Experiment | ImageExperiment:
    """With the shapes of the finished models that it trains on from, which are what they are, whatever is asked for."""
    if isinstance(experiment, ImageExperiment) or not experiment.begin:
        return experiment
    for part, at in find_pair(experiment.begin).items():
        if part in experiment.parts:
            config = checkpoints.config(*at)
            asked = getattr(experiment, part)
            shape = {"model": config} if part == "tokenizer" else {name: getattr(config, name) for name in PRIOR_SHAPE}
            experiment = replace(experiment, **{part: replace(asked, **shape)})
    return experiment


def recipes(experiment: Experiment | ImageExperiment) -> list[Recipe]:
    """Those of the parts that are trained."""
    if isinstance(experiment, ImageExperiment):
        return [experiment.recipe]
    return [getattr(experiment, part).recipe for part in experiment.parts]


def publish(run: Run, to: Path) -> None:
    """Save an experiment's models in another folder too: ``prior-64``, or ``my-tokenizer`` and ``my-prior``."""
    names = {
        part: run.name if len(run.experiment.parts) == 1 else f"{run.name}-{part}" for part in run.experiment.parts
    }
    for part, name in names.items():
        facts = checkpoints.card(part, run.folder).facts
        if facts.get("tokenizer", {}).get("name") == "tokenizer":
            facts["tokenizer"] |= {"name": names["tokenizer"]}
        checkpoints.save(name, checkpoints.load(part, run.folder), facts, to)
