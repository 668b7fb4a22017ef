"""One loop for every model: schedule, EMA, clipping, resume, progress, history.

    trained = fit(model, loss, draw, Recipe(steps=2000, lr=2e-3), folder=runs_dir() / "tubelet")

Runs on one device, or on many under ``torchrun``: every process begins with the same weights and draws its own
batches, and the gradients are averaged, which is all that data parallelism is.
"""

import copy
import json
import math
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
import torch._dynamo  # the first optimizer imports it: an interrupt in the midst of that breaks torch for good
from torch import Tensor, nn
from tqdm.auto import tqdm

from vg import processes, states
from vg.interrupts import heeded
from vg.optim import Muon
from vg.profiles import mixed_precision

HIGHEST_RATE = 1e3  # a learning rate beyond is a slip of the pen
HIGHEST_SEED = 2**32 - 1  # seeds of the steps are made of it, and have 64 bits
History = dict[str, list[tuple[int, float]]]


class Diverged(RuntimeError):
    """The loss or a gradient is no longer a number."""


class ResumeMismatch(ValueError):
    """The folder holds a run of another model or recipe, or a damaged one."""


@dataclass(frozen=True)
class Recipe:
    """How to train. AdamW (Loshchilov and Hutter, 2019), warm-up, then a cosine down to ``last`` of the rate.

    With ``muon`` the matrices and kernels of the model's inner blocks (``model.inner`` names them) are trained by
    Muon, and only the rest by AdamW: a third of the steps for the same result (benchmarks/LOG.md).

    Attributes:
        steps: batches in all.
        lr: the highest learning rate.
        warmup: steps that it takes to get there.
        last: share of ``lr`` at the end.
        betas: of AdamW; .95 or .98 for the second forgets the wild first steps sooner than the usual .999.
        decay: weight decay, of matrices and kernels only.
        clip: gradients longer than this are shortened to it.
        ema: the weights that are kept are an average over about ``1 / (1 - ema)`` steps.
        seed: of the batches, and of what the loss draws.
        muon: Muon's highest learning rate, such as 0.02; 0 leaves everything to AdamW.

    Raises:
        ValueError: if a number is out of its range.
    """

    steps: int
    lr: float = 1e-3
    warmup: int = 100
    last: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.998
    seed: int = 0
    muon: float = 0.0

    def __post_init__(self):
        for name, low, high in (("steps", 1, sys.maxsize), ("warmup", 0, sys.maxsize), ("seed", 0, HIGHEST_SEED)):
            value = getattr(self, name)
            if not (isinstance(value, int) and low <= value <= high):
                raise ValueError(f"Recipe: {name} is {value!r}, expected an int from {low} to {high}.")
        for name, high in (("lr", HIGHEST_RATE), ("muon", HIGHEST_RATE), ("last", 1), ("decay", HIGHEST_RATE)):
            if not 0 <= getattr(self, name) <= high:
                raise ValueError(f"Recipe: {name} is {getattr(self, name)!r}, expected a number from 0 to {high:g}.")
        for name, value in (("ema", self.ema), *(("each of betas", beta) for beta in self.betas)):
            if not 0 <= value < 1:
                raise ValueError(f"Recipe: {name} is {value!r}, expected a number from 0 up to 1, but not 1.")
        if not self.clip > 0:
            raise ValueError(f"Recipe: clip is {self.clip!r}, expected a number above 0 (inf clips nothing).")

    def share(self, step: int) -> float:
        """Share of the highest learning rate in step 0 to ``steps - 1``."""
        rise = min(1.0, (step + 1) / max(1, self.warmup))
        fall = 0.5 + 0.5 * math.cos(math.pi * step / max(1, self.steps))
        return rise * (self.last + (1 - self.last) * fall)

    def rate(self, step: int) -> float:
        """AdamW's learning rate in step 0 to ``steps - 1``."""
        return self.lr * self.share(step)


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
    """What can draw a history while it grows, such as ``vg.show.LivePlot``."""

    def update(self, history: History) -> None: ...

    def close(self) -> None: ...


def fit(
    model: nn.Module,
    loss: Callable[[nn.Module, Tensor], Tensor],
    draw: Callable[[torch.Generator], Tensor],
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

    Every step draws from generators seeded with the recipe's seed and the step's number, so that a run that was
    interrupted ends with the weights of one that was not. An interrupt (Ctrl-C, Jupyter's stop button) is heeded at the
    end of the step: the state is saved, and the model so far measured and returned. A second one is raised at once.

    Args:
        model: moved to no other device here; it is trained in place.
        loss: from the model and a batch to a scalar. It may draw from torch's global generator.
        draw: a batch, from a generator on the CPU. It is moved to the model's device.
        recipe: see ``Recipe``.
        folder: where to keep the state; None to keep nothing.
        evaluate: measures the averaged model, which is in evaluation mode and without gradients.
        every: steps between evaluations; 0 evaluates at the end alone.
        save_every: seconds between two saves of the state.
        plot: drawn as the history grows.
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
        ValueError: if all of the model is frozen, or processes were started that do not know of one another.
    """
    _check_learns(model)
    processes.check_met()
    folder, rank = Path(folder) if folder else None, processes.rank()
    last = recipe.steps if stop_at is None else min(stop_at, recipe.steps)
    with heeded() as stop, states.owned(folder) if folder and rank == 0 else nullcontext():
        run = _Run(model, recipe, folder)
        run.resume()
        processes.share_weights(model, run.average)
        device = next(model.parameters()).device
        bar = tqdm(total=recipe.steps, initial=run.step, unit="step", disable=not progress or rank > 0, mininterval=1)
        last_save = begin = time.monotonic()
        model.train()
        with bar:
            while run.step < last and not processes.any_process(stop.asked, device):
                _seed(recipe.seed, run.step, rank)
                generator = torch.Generator().manual_seed(_mix(recipe.seed, run.step, rank))
                value = run.train_step(loss, draw(generator).to(device))
                now = time.monotonic()
                run.seconds, begin = run.seconds + now - begin, now
                run.note("loss", value)
                if evaluate and every and (run.step % every == 0 or run.step == recipe.steps):
                    run.measure(evaluate)
                    begin = time.monotonic()
                bar.update(1)
                bar.set_postfix_str(run.summary(), refresh=False)
                if rank == 0 and plot:
                    plot.update(run.history)
                if now - last_save > save_every:
                    run.save()
                    last_save = begin = time.monotonic()
        run.save()  # before the last measurement, which may take a while
        if (stopped := run.step < last) and rank == 0:
            print(run.how_to_go_on())
        if evaluate and (stopped or run.step == recipe.steps) and not run.measured():
            run.measure(evaluate)
            if not stopped:  # else a run that was stopped would end with another history
                run.save()
        if rank == 0 and plot:
            plot.update(run.history)
            plot.close()
        return Trained(run.average.eval(), run.history, run.seconds, stopped)


class _Run:
    """The state of a run: model, averaged model, optimizer, step, history."""

    def __init__(self, model: nn.Module, recipe: Recipe, folder: Path | None):
        self.model, self.recipe, self.folder = model, recipe, folder
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        self.optimizers = _optimizers(model, recipe)
        self.mixed = mixed_precision(next(model.parameters()).device)
        self.step, self.seconds = 0, 0.0
        self.history: History = {}
        self.kept: int | None = None  # the step of the last good state in the folder
        self.damaged = False  # whether a damaged one lies over it

    def train_step(self, loss: Callable, batch: Tensor) -> float:
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = optimizer.defaults["lr"] * self.recipe.share(self.step)
        with torch.autocast(batch.device.type, torch.bfloat16, enabled=self.mixed):
            value = loss(self.model, batch)
        self.model.zero_grad()
        value.backward()
        processes.share_gradients(self.model)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        number, norm = float(value.detach()), float(norm)
        if not (math.isfinite(number) and math.isfinite(norm)):
            raise Diverged(self.what_diverged(number))
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        self.follow()
        return number

    @torch.no_grad()
    def follow(self) -> None:
        """Move the averaged weights towards the model's; sooner at first, when all is still moving."""
        keep = min(self.recipe.ema, (self.step + 1) / (self.step + 10))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - keep)
        for ours, theirs in zip(self.average.buffers(), self.model.buffers()):
            ours.copy_(theirs)

    def what_diverged(self, number: float) -> str:
        bad = [n for n, p in self.model.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
        where = f"gradients not finite in {', '.join(bad[:3])}{', ...' if bad[3:] else ''}" if bad else "gradients fine"
        return self.stopped(f"loss {number:g}", where)

    def stopped(self, what: str, where: str) -> str:
        kept = "" if self.kept is None else f" The state of step {self.kept} is kept in {self.folder}."
        return (
            f"training stopped at step {self.step}: {what}, learning rate {self.recipe.rate(self.step):.2g}, "
            f"{where}.{kept} Look at the batch (a NaN in it?), or take a lower learning rate."
        )

    def check_weights(self) -> None:
        """The last step may have broken what no later loss can show."""
        weights = {**self.model.state_dict(), **{f"average {k}": v for k, v in self.average.state_dict().items()}}
        if bad := [name for name, value in weights.items() if not value.isfinite().all()]:
            raise Diverged(self.stopped("after a finite loss", f"weights not finite in {', '.join(bad[:3])}"))

    def how_to_go_on(self) -> str:
        at = f"Stopped at step {self.step} of {self.recipe.steps}; what is returned is the model so far."
        if not self.folder:
            return f"{at} Nothing is kept (no folder was given), so the same call begins anew."
        return f"{at} The state is kept in {self.folder}: the same call goes on from there."

    def note(self, name: str, value: float) -> None:
        """Add to the history; the loss as a mean over one in 400 parts of the run."""
        points = self.history.setdefault(name, [])
        if name != "loss":
            points.append((self.step, float(value)))
            return
        part = max(1, self.recipe.steps // 400)
        k = (self.step - 1) // part
        n = (self.step - 1) % part
        if n and points:
            points[-1] = (self.step, (points[-1][1] * n + value) / (n + 1))
        else:
            points.append((k * part + 1, value))

    @torch.no_grad()
    def measure(self, evaluate: Callable) -> None:
        for name, value in evaluate(self.average).items():
            self.note(name, value)

    def measured(self) -> bool:
        return any(points[-1][0] == self.step for name, points in self.history.items() if name != "loss" and points)

    def summary(self) -> str:
        return ", ".join(f"{name} {points[-1][1]:.4g}" for name, points in self.history.items() if points)

    def save(self) -> None:
        """Everything that goes on, in one file, replaced as a whole; by the first process, where there is a folder."""
        self.check_weights()
        if self.folder is None or processes.rank() > 0:
            return
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        names = {id(p): n for n, p in self.model.named_parameters()}
        for optimizer in self.optimizers:
            for parameter, state in optimizer.state.items():
                for key, value in state.items():
                    tensors[f"optimizer.{key}.{names[id(parameter)]}"] = value
        card = {"step": self.step, "seconds": self.seconds, "recipe": asdict(self.recipe), "history": self.history}
        states.write(self.folder, card, tensors, keep=not self.damaged)
        self.kept, self.damaged = self.step, False

    def resume(self) -> None:
        try:
            state = states.read(self.folder) if self.folder else None
        except states.BadState as problem:
            raise ResumeMismatch(f"{problem} Delete it to begin anew.") from problem
        if state is None:
            return
        ours, theirs = json.loads(json.dumps(asdict(self.recipe))), state.card["recipe"]
        if ours != theirs:
            changed = [f"{k} {theirs.get(k)} (now {ours.get(k)})" for k in ours if ours.get(k) != theirs.get(k)]
            raise ResumeMismatch(
                f"{state.path} is a run with {', '.join(changed)}. Take that recipe to go on, another folder to begin "
                "a new run, or delete this one."
            )
        self._take(state.path, state.tensors)
        self.step, self.seconds = state.card["step"], state.card["seconds"]
        self.history = {name: [tuple(point) for point in points] for name, points in state.card["history"].items()}
        self.kept, self.damaged = self.step, state.path.name == states.PREVIOUS

    def _take(self, path: Path, tensors: dict[str, Tensor]) -> None:
        def part(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        try:
            self.model.load_state_dict(part("model."))
            self.average.load_state_dict(part("average."))
        except RuntimeError as problem:
            raise ResumeMismatch(
                f"{path} is a run of another model ({str(problem).splitlines()[-1].strip()}). "
                "Take another folder to begin a new run, or delete this one."
            ) from problem
        names = {id(p): n for n, p in self.model.named_parameters()}
        for optimizer in self.optimizers:
            keys = ("momentum",) if isinstance(optimizer, Muon) else ("step", "exp_avg", "exp_avg_sq")
            for parameter in (p for group in optimizer.param_groups for p in group["params"]):
                state = {
                    key: tensors[full].to("cpu" if key == "step" else parameter.device, copy=True)
                    for key in keys
                    if (full := f"optimizer.{key}.{names[id(parameter)]}") in tensors
                }
                if state:
                    optimizer.state[parameter] = state


def _check_learns(model: nn.Module) -> None:
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(
            f"fit: {type(model).__name__} has no weights that can be trained: it is frozen. A checkpoint that is to "
            "learn is loaded with checkpoints.load(name, trainable=True)."
        )


def _optimizers(model: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """AdamW, and Muon for the inner matrices if the recipe has it. What multiplies decays; biases and gains do not."""
    inner = _inner(model) if recipe.muon else []
    taken = {id(p) for p in inner}
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in taken]
    groups = [
        {"params": [p for p in others if p.dim() > 1], "weight_decay": recipe.decay},
        {"params": [p for p in others if p.dim() <= 1], "weight_decay": 0.0},
    ]
    # not fused: that mistakes a kernel for another whose averages a resumed run has in another memory order
    adamw = torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas)
    return [adamw, Muon(inner, lr=recipe.muon, decay=recipe.decay)] if inner else [adamw]


def _inner(model: nn.Module) -> list[nn.Parameter]:
    """Matrices and kernels of the blocks that ``model.inner`` names."""
    if not getattr(model, "inner", ()):
        raise ValueError(f"{type(model).__name__} does not name its inner blocks (`inner`): train it with muon=0.")
    blocks = [model.get_submodule(name) for name in model.inner]
    return [p for block in blocks for p in block.parameters() if p.requires_grad and p.dim() > 1]


def _mix(seed: int, step: int, rank: int) -> int:
    return (seed * 1_000_003 + step) * 4_099 + rank


def _seed(seed: int, step: int, rank: int) -> None:
    """What the loss draws (dropout, noise) comes from torch's global generator."""
    torch.manual_seed(_mix(seed + 1, step, rank))
