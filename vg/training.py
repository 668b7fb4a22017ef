"""One loop for every model: schedule, EMA, clipping, resume, progress, history.

    trained = fit(model, loss, draw, Recipe(steps=2000, lr=2e-3), folder=runs_dir() / "tubelet")

Runs on one device, or on many under ``torchrun``: every process begins with the same weights and draws its own
batches, and the gradients are averaged, which is all that data parallelism is.
"""

import copy
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm.auto import tqdm

from vg.optim import Muon
from vg.profiles import mixed_precision

STATE = "state.safetensors"
History = dict[str, list[tuple[int, float]]]


class Diverged(RuntimeError):
    """The loss or a gradient is no longer a number."""


class ResumeMismatch(ValueError):
    """The folder holds a run of another model or recipe."""


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
    """

    model: nn.Module
    history: History
    seconds: float


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
    interrupted ends with the weights of one that was not.

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
        Diverged: if the loss or a gradient is not finite; it says at which step and where. The state of
            the last save is still there.
        ResumeMismatch: if ``folder`` holds a run of another model or recipe.
    """
    run = _Run(model, recipe, Path(folder) if folder else None)
    run.resume()
    _share_weights(model, run.average)
    rank, device = _rank(), next(model.parameters()).device
    bar = tqdm(total=recipe.steps, initial=run.step, unit="step", disable=not progress or rank > 0, mininterval=1)
    last_save = begin = time.monotonic()
    stop = recipe.steps if stop_at is None else min(stop_at, recipe.steps)
    model.train()
    with bar:
        while run.step < stop:
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
            if rank == 0 and run.folder and now - last_save > save_every:
                run.save()
                last_save = begin = time.monotonic()
        if evaluate and run.step == recipe.steps and not run.measured():
            run.measure(evaluate)
    if rank == 0 and run.folder:
        run.save()
    if rank == 0 and plot:
        plot.update(run.history)
        plot.close()
    return Trained(run.average.eval(), run.history, run.seconds)


class _Run:
    """The state of a run: model, averaged model, optimizer, step, history."""

    def __init__(self, model: nn.Module, recipe: Recipe, folder: Path | None):
        self.model, self.recipe, self.folder = model, recipe, folder
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        self.optimizers = _optimizers(model, recipe)
        self.mixed = mixed_precision(next(model.parameters()).device)
        self.step, self.seconds = 0, 0.0
        self.history: History = {}

    def train_step(self, loss: Callable, batch: Tensor) -> float:
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = optimizer.defaults["lr"] * self.recipe.share(self.step)
        with torch.autocast(batch.device.type, torch.bfloat16, enabled=self.mixed):
            value = loss(self.model, batch)
        self.model.zero_grad()
        value.backward()
        _share_gradients(self.model)
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
        saved = self.folder and (self.folder / STATE).exists()
        kept = f" The state of step {self.saved_step()} is kept in {self.folder}." if saved else ""
        return (
            f"training stopped at step {self.step}: loss {number:g}, learning rate {self.recipe.rate(self.step):.2g}, "
            f"{where}.{kept} Look at the batch (a NaN in it?), or take a lower learning rate."
        )

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
        """Everything that goes on, in one file, replaced as a whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        names = {id(p): n for n, p in self.model.named_parameters()}
        for optimizer in self.optimizers:
            for parameter, state in optimizer.state.items():
                for key, value in state.items():
                    tensors[f"optimizer.{key}.{names[id(parameter)]}"] = value
        card = {
            "step": self.step,
            "seconds": self.seconds,
            "recipe": asdict(self.recipe),
            "history": self.history,
        }
        partial = self.folder / f"{STATE}.partial"
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, partial, {"run": json.dumps(card)})
        os.replace(partial, self.folder / STATE)

    def saved_step(self) -> int:
        try:
            with safe_open(self.folder / STATE, "pt") as file:
                return json.loads(file.metadata()["run"])["step"]
        except (OSError, SafetensorError, KeyError, ValueError):
            return 0

    def resume(self) -> None:
        if not self.folder or not (self.folder / STATE).exists():
            return
        path = self.folder / STATE
        try:
            with safe_open(path, "pt") as file:
                card = json.loads(file.metadata()["run"])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as problem:
            raise ResumeMismatch(f"{path} is damaged ({problem}). Delete it to begin anew.") from problem
        ours, theirs = json.loads(json.dumps(asdict(self.recipe))), card["recipe"]
        if ours != theirs:
            changed = [f"{k} {theirs.get(k)} (now {ours.get(k)})" for k in ours if ours.get(k) != theirs.get(k)]
            raise ResumeMismatch(
                f"{path} is a run with {', '.join(changed)}. Take that recipe to go on, another folder to begin "
                "a new run, or delete this one."
            )
        self._take(path, tensors)
        self.step, self.seconds = card["step"], card["seconds"]
        self.history = {name: [tuple(point) for point in points] for name, points in card["history"].items()}

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


def _rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def _alone() -> bool:
    return not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1


def _share_weights(*models: nn.Module) -> None:
    """Begin with the first process's weights everywhere."""
    if _alone():
        return
    for model in models:
        for tensor in (*model.parameters(), *model.buffers()):
            dist.broadcast(tensor.data, src=0)


def _share_gradients(model: nn.Module) -> None:
    """Average the gradients over the processes, all in one message."""
    if _alone():
        return
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    for gradient, mean in zip(gradients, (flat / dist.get_world_size()).split([g.numel() for g in gradients])):
        gradient.copy_(mean.view_as(gradient))
