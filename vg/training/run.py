"""What a run carries from step to step: model, averaged model, optimizers, history; and how it is kept and taken up."""

import copy
import json
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from vg.profiles import mixed_precision, profile
from vg.training import devices, state_files
from vg.training.optimizers import optimizers_of, state_names
from vg.training.recipe import Recipe

BatchSampler = Callable[[torch.Generator], Tensor]
Loss = Callable[[nn.Module, Tensor], Tensor]
History = dict[str, list[tuple[int, float]]]


class Diverged(RuntimeError):
    """The loss or a gradient is no longer a number."""


class ResumeMismatch(ValueError):
    """The folder holds a run of another model or recipe, or a damaged one."""


class Run:
    """The state of a run: model, averaged model, optimizer, step, history."""

    def __init__(self, model: nn.Module, loss: Loss, recipe: Recipe, folder: Path | None):
        self.model, self.recipe, self.folder = model, recipe, folder
        self.device = next(model.parameters()).device
        self.objective = devices.parallel(devices.Objective(model, loss))  # many ranks: the first one's weights
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        self.optimizers = optimizers_of(model, recipe)
        self.mixed = devices.on_first_rank(lambda: mixed_precision(self.device))  # measured: not the same everywhere
        self.step, self.seconds = 0, 0.0
        self.history: History = {}
        self.kept: int | None = None  # the step of the last good state in the folder
        self.damaged = False  # whether a damaged one lies over it
        self.checked = devices.world_size() == 1  # whether the buffers were looked at

    def train_step(self, batches: BatchSampler) -> float:
        """One step of the optimizers, on the mean of the micro-batches' gradients. Returns the mean of their losses."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = optimizer.defaults["lr"] * self.recipe.lr_factor(self.step)
        self.model.zero_grad()
        number = devices.mean(self.accumulate(batches))
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.grad_clip))
        if not (math.isfinite(number) and math.isfinite(norm)):
            raise Diverged(self.what_diverged(number))
        if not self.checked:
            self.check_buffers()
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        self.update_average()
        return number

    def accumulate(self, batches: BatchSampler) -> float:
        """The gradients of this rank's micro-batches; averaged over all ranks by the last backward pass."""
        mine = range(devices.rank(), self.recipe.micro_batches, devices.world_size())
        total = 0.0
        for k in mine:
            torch.manual_seed(self.recipe.loss_seed_of(self.step, k))
            generator = torch.Generator().manual_seed(self.recipe.seed_of(self.step, k))
            batch = batches(generator).to(self.device)
            with nullcontext() if k == mine[-1] else self.objective.no_sync():
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
                    value = self.objective(batch)
                (value / len(mine)).backward()
            total += float(value.detach())
        return total / len(mine)

    def check_buffers(self) -> None:
        """Refuse a model that learns by more than gradients: what one rank saw the others would not know.

        Raises:
            CannotShare: if the first step has changed a buffer.
        """
        learned = {name for name, _ in self.model.named_parameters(remove_duplicate=False)}
        before, now = self.average.state_dict(), self.model.state_dict()
        changed = [name for name in now if name not in learned and not torch.equal(now[name], before[name])]
        if any(devices.any_rank(bool(changed))):
            raise devices.CannotShare(
                f"{type(self.model).__name__} changes {', '.join(changed[:3]) or 'buffers'} as it trains, by running "
                "averages and not by gradients, which processes do not share: train it in one process (gradient "
                "accumulation, Recipe.micro_batches, works there)."
            )
        self.checked = True

    @torch.no_grad()
    def update_average(self) -> None:
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
            f"training stopped at step {self.step}: {what}, learning rate {self.recipe.lr_at(self.step):.2g}, "
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
    def measure(self, evaluate: Callable[[nn.Module], dict[str, float]]) -> None:
        """Evaluate the averaged model, on rank 0, and note it on all."""
        for name, value in devices.on_first_rank(lambda: evaluate(self.average)).items():
            self.note(name, value)

    def measured(self) -> bool:
        return any(points[-1][0] == self.step for name, points in self.history.items() if name != "loss" and points)

    def summary(self) -> str:
        return ", ".join(f"{name} {points[-1][1]:.4g}" for name, points in self.history.items() if points)

    def save(self) -> None:
        """Everything that goes on, in one file, replaced as a whole, by rank 0; where there is a folder."""
        self.check_weights()
        if folder := self.folder:
            devices.on_first_rank(lambda: self.write(folder))
            self.kept, self.damaged = self.step, False

    def write(self, folder: Path) -> None:
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        names = {id(p): n for n, p in self.model.named_parameters()}
        for optimizer in self.optimizers:
            for parameter, state in optimizer.state.items():
                for key, value in state.items():
                    tensors[f"optimizer.{key}.{names[id(parameter)]}"] = value
        card = {
            "step": self.step, "seconds": self.seconds, "recipe": asdict(self.recipe), "history": self.history,
            "device": self.device.type, "mixed": self.mixed,
        }  # fmt: skip
        state_files.write(folder, card, tensors, keep=not self.damaged)

    def resume(self) -> None:
        """Go on from the state in the folder; rank 0 reads it, and the others are sent it.

        Raises:
            ResumeMismatch: if it is of another model or recipe, or damaged.
        """
        folder = self.folder
        try:
            state = devices.on_first_rank(lambda: state_files.read(folder)) if folder else None
        except state_files.BadState as problem:
            raise ResumeMismatch(f"{problem} Delete it to begin anew.") from problem
        if state is None:
            return
        ours, theirs = json.loads(json.dumps(asdict(self.recipe))), _by_new_names(state.card["recipe"])
        if ours != theirs:
            changed = [f"{k} {theirs.get(k)} (now {ours.get(k)})" for k in ours if ours.get(k) != theirs.get(k)]
            raise ResumeMismatch(
                f"{state.path} is a run with {', '.join(changed)}. Take that recipe to go on, another folder to begin "
                "a new run, or delete this one."
            )
        self._take(state.path, state.tensors)
        self.step, self.seconds = state.card["step"], state.card["seconds"]
        if state.card.get("device") == self.device.type == "cpu" and profile().name != "smoke":
            self.mixed = state.card["mixed"]  # measured again it might be another, on a busy machine
        self.history = {name: [tuple(point) for point in points] for name, points in state.card["history"].items()}
        self.kept, self.damaged = self.step, state.path.name == state_files.PREVIOUS

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
            for parameter in (p for group in optimizer.param_groups for p in group["params"]):
                state = {
                    key: tensors[full].to("cpu" if key == "step" else parameter.device, copy=True)
                    for key in state_names(optimizer)
                    if (full := f"optimizer.{key}.{names[id(parameter)]}") in tensors
                }
                if state:
                    optimizer.state[parameter] = state


def _by_new_names(recipe: dict) -> dict:
    """A recipe in a state as its fields are called now: runs that were begun before they were renamed go on."""
    names = {"last": "min_lr_ratio", "decay": "weight_decay", "clip": "grad_clip"}
    return {"micro_batches": 1, **{names.get(name, name): value for name, value in recipe.items()}}
