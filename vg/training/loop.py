"""``fit``: one loop for every model, with schedule, EMA, clipping, resume, progress and history."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from torch import nn

from vg.interrupts import heeded
from vg.progress import tqdm
from vg.training import devices, state_files
from vg.training.recipe import Recipe
from vg.training.run import BatchSampler, History, Loss, Run


@dataclass(frozen=True)
class Trained:
    """What ``fit`` returns.

    Attributes:
        model: with the averaged (EMA) weights, in evaluation mode.
        history: ``{name: [(step, value), ...]}``: "loss", and what ``evaluate`` returned.
        seconds: time spent in training steps, over all resumed parts.
        stopped: whether an interrupt ended it before its last step.
    """

    model: nn.Module
    history: History
    seconds: float
    stopped: bool = False


class Plot(Protocol):
    """What can show a history while it grows, such as ``vg.show.LivePlot``."""

    def update(self, history: History) -> None: ...

    def close(self) -> None: ...


def fit(
    model: nn.Module,
    loss: Loss,
    batches: BatchSampler,
    recipe: Recipe,
    *,
    folder: str | Path | None = None,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    every: int = 0,
    save_every: float = 60.0,
    plot: Plot | None = None,
    progress: bool = True,
    stop_at: int | None = None,
) -> Trained:
    """Train ``model``; go on where an earlier run in ``folder`` was stopped.

        trained = fit(model, loss, batches, Recipe(steps=2000, lr=2e-3), folder=runs_dir() / "tubelet")

    Every micro-batch is sampled with a generator seeded with the recipe's seed, the step and its number within the
    step, so that a run that was interrupted, or divided among processes (``vg.training.devices``), ends with the
    weights of one that was not. An interrupt (Ctrl-C, Jupyter's stop button) is heeded at the end of the step: the
    state is saved, and the model so far measured and returned. A second one is raised at once.

    On many processes, call it in each with the same arguments. Rank 0 measures, plots and keeps the state; all return
    the same.

    Args:
        model: moved to no other device here; it is trained in place.
        loss: from the model and a batch to a scalar. It may use torch's global generator.
        batches: samples a micro-batch with a generator on the CPU. It is moved to the model's device.
        recipe: see ``Recipe``.
        folder: where to keep the state; None to keep nothing.
        evaluate: measures the averaged model, which is in evaluation mode and without gradients.
        every: steps between evaluations; 0 evaluates at the end alone.
        save_every: seconds between two saves of the state.
        plot: updated as the history grows.
        progress: show a bar.
        stop_at: stop (and save) before this step, as if interrupted.

    Returns:
        the averaged model, and the history.

    Raises:
        Diverged: if the loss, a gradient or a weight is not finite; it says at which step and where. The state of
            the last save is still there.
        ResumeMismatch: if ``folder`` holds a run of another model or recipe, or a damaged state and no good one.
        Busy: if another process trains in ``folder``.
        OSError: if the state cannot be written.
        CannotShare: if processes were started that do not know of one another, or cannot share the micro-batches
            evenly, or would train a model whose buffers change.
        ValueError: if all of the model is frozen.
    """
    _check_learns(model)
    devices.check(recipe.micro_batches)
    folder, first = Path(folder) if folder else None, devices.rank() == 0
    plot = plot if first else None
    last = recipe.steps if stop_at is None else min(stop_at, recipe.steps)
    with heeded() as stop, ExitStack() as held:
        if folder:
            devices.on_first_rank(partial(_hold, held, folder))
        run = Run(model, loss, recipe, folder)
        run.resume()
        bar = tqdm(total=recipe.steps, initial=run.step, unit="step", disable=not progress or not first, mininterval=1)
        last_save = begin = time.monotonic()
        model.train()
        [stopping] = devices.any_rank(stop.asked)
        with bar:
            while run.step < last and not stopping:
                value = run.train_step(batches)
                now = time.monotonic()
                run.seconds, begin = run.seconds + now - begin, now
                run.note("loss", value)
                if evaluate and every and (run.step % every == 0 or run.step == recipe.steps):
                    run.measure(evaluate)
                    begin = time.monotonic()
                bar.update(1)
                bar.set_postfix_str(run.summary(), refresh=False)
                if plot:
                    plot.update(run.history)
                stopping, due = devices.any_rank(stop.asked, now - last_save > save_every)
                if due:
                    run.save()
                    last_save = begin = time.monotonic()
        run.save()  # before the last measurement, which may take a while
        if (stopped := run.step < last) and first:
            print(run.how_to_go_on())
        if evaluate and (stopped or run.step == recipe.steps) and not run.measured():
            run.measure(evaluate)
            if not stopped:  # else a run that was stopped would end with another history
                run.save()
        if plot:
            plot.update(run.history)
            plot.close()
        seconds = devices.on_first_rank(lambda: run.seconds)
        return Trained(run.average.eval(), run.history, seconds, stopped)


def _hold(held: ExitStack, folder: Path) -> None:
    held.enter_context(state_files.owned(folder))


def _check_learns(model: nn.Module) -> None:
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(
            f"fit: {type(model).__name__} has no weights that can be trained: it is frozen. A checkpoint that is to "
            "learn is loaded with checkpoints.load(name, trainable=True)."
        )
