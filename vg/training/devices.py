"""Many processes that train as one, each on its own device, as ``torchrun`` starts them.

    with devices.start():                       # around all that a command does; nothing where it is alone
        trained = fit(...)
        devices.on_first_rank(lambda: save(trained))

Gradients are averaged by PyTorch's ``DistributedDataParallel``. Rank 0 alone writes, measures and prints.
"""

import os
import pickle
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, redirect_stdout
from datetime import timedelta
from pathlib import Path
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vg.profiles import device

T = TypeVar("T")
TIMEOUT = 600.0  # seconds that a step's message may take: a process that is silent for longer is lost
PATIENCE = (
    24 * 3600.0
)  # seconds that rank 0 may measure or write while the others wait; it is missed at once if it dies
_BACKENDS = {"cuda": "nccl", "cpu": "gloo"}

_patient: dist.ProcessGroup | None = None  # a second group, of the same processes, that waits PATIENCE


class CannotShare(ValueError):
    """The processes that were started cannot train this together."""


@contextmanager
def start(timeout: float = TIMEOUT) -> Iterator[None]:
    """Meet the other processes of this training, if ``torchrun`` started any, and part from them at the end.

    Each process takes the GPU that its ``LOCAL_RANK`` names, where there are GPUs. What ranks above 0 print to stdout
    is dropped.

    Args:
        timeout: seconds after which a process that does not answer ends the others with an error. One that dies is
            missed at once on the CPU, and at the latest then on GPUs.

    Raises:
        CannotShare: if processes cannot share this machine's device, or it has fewer GPUs than processes.
    """
    global _patient
    if _wanted() < 2:
        yield
        return
    backend = _take_device()
    dist.init_process_group(backend, timeout=timedelta(seconds=timeout))
    _patient = cast(dist.ProcessGroup, dist.new_group(backend="gloo", timeout=timedelta(seconds=PATIENCE)))
    try:
        with ExitStack() as stack:
            if rank() > 0:
                nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8", errors="backslashreplace"))
                stack.enter_context(redirect_stdout(nowhere))
            yield
    except (RuntimeError, dist.DistError) as problem:
        problem.add_note(
            f"This is rank {rank()} of {world_size()}. If it lost a connection, or waited in vain, another rank ended "
            "before it: the cause is what that one says."
        )
        raise
    finally:
        _patient = None
        dist.destroy_process_group()


def rank() -> int:
    """The number of this process; 0 where it is alone."""
    return dist.get_rank() if _patient else 0


def world_size() -> int:
    """How many processes train together; 1 where this one is alone."""
    return dist.get_world_size() if _patient else 1


def check(micro_batches: int) -> None:
    """Refuse to train where the processes do not know of one another, or cannot share a step's work evenly.

    Raises:
        CannotShare: if ``WORLD_SIZE`` is above 1 and ``start`` was not called, or ``micro_batches`` is no multiple of
            the number of processes.
    """
    if _wanted() > 1 and not _patient:
        raise CannotShare(
            f"WORLD_SIZE is {_wanted()}, but this process knows of no other, so that each would train a twin of its "
            "own. Call fit inside `with vg.training.devices.start():`, or start one process without torchrun."
        )
    if rest := micro_batches % world_size():
        raise CannotShare(
            f"{world_size()} processes cannot share {micro_batches} micro-batch{'es' if micro_batches > 1 else ''} "
            f"evenly: set Recipe.micro_batches (--micro-batches) to a multiple of {world_size()}, such as "
            f"{micro_batches - rest + world_size()}, or start another number of processes."
        )


def on_first_rank(function: Callable[[], T]) -> T:
    """Call ``function`` on rank 0 alone; the others wait for it, for a day if need be. Every rank has to call this.

    Returns:
        on every rank what it returned on rank 0 (to the others it goes as a pickle).

    Raises:
        Exception: on every rank what it raised on rank 0.
    """
    if not _patient:
        return function()
    dist.barrier(group=_patient)  # no rank goes on to a step's messages before all have come this far
    result, problem = _outcome(function) if rank() == 0 else (None, None)
    message = [(result, _portable(problem))]
    dist.broadcast_object_list(message, src=0, group=_patient)
    if rank() > 0:
        result, problem = message[0]
    if problem is not None:
        raise problem
    return cast(T, result)


def any_rank(*said: bool) -> list[bool]:
    """Each of ``said``: whether any rank says so. Every rank has to call this."""
    if not _patient:
        return list(said)
    votes = torch.tensor(said, dtype=torch.int32, device=device())
    dist.all_reduce(votes, dist.ReduceOp.MAX)
    return [bool(vote) for vote in votes.tolist()]


def all_see(folder: Path) -> bool:
    """Whether all ranks see one folder, and not each one of that name on its own disk. Every rank has to call this.

    What is written there can then be divided among them.
    """
    if not _patient:
        return True
    folder.mkdir(parents=True, exist_ok=True)
    mark = on_first_rank(lambda: Path(tempfile.mkdtemp(prefix=".seen-", dir=folder)))
    [unseen] = any_rank(not (folder / mark.name).exists())
    on_first_rank(mark.rmdir)
    return not unseen


def mean(number: float) -> float:
    """The mean over all ranks. Every rank has to call this."""
    if not _patient:
        return number
    total = torch.tensor(number, dtype=torch.float64, device=device())
    dist.all_reduce(total)
    return float(total) / world_size()


class Objective(nn.Module):
    """A loss of a model as a module's ``forward``, whatever methods of the model the loss calls."""

    def __init__(self, model: nn.Module, loss: Callable[[nn.Module, Tensor], Tensor]):
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, batch: Tensor) -> Tensor:
        """A batch -> the loss, a scalar."""
        return self.loss(self.model, batch)

    def no_sync(self) -> nullcontext:
        """As ``DistributedDataParallel.no_sync``; alone there is nobody to be in step with."""
        return nullcontext()


def parallel(objective: Objective) -> Objective | DistributedDataParallel:
    """The objective, which on many ranks begins with rank 0's weights and averages its gradients over all ranks."""
    if not _patient:
        return objective
    # a parameter that a batch does not use has no gradient on that rank; if all are used, PyTorch says so once
    return DistributedDataParallel(objective, find_unused_parameters=True)


def _wanted() -> int:
    world = os.environ.get("WORLD_SIZE", "")
    return int(world) if world.isdigit() else 1


def _take_device() -> str:
    """Make this rank's GPU the current one; the backend of the process group."""
    kind = device().type
    if kind not in _BACKENDS:
        raise CannotShare(f"Processes cannot share a device of type {kind!r}: start one process, without torchrun.")
    if kind == "cuda":
        local = int(os.environ.get("LOCAL_RANK", 0))
        if local >= torch.cuda.device_count():
            raise CannotShare(
                f"Here are {torch.cuda.device_count()} GPUs, but this is process {local + 1} on this machine: "
                "start at most one process a GPU (torchrun --nproc-per-node)."
            )
        torch.cuda.set_device(local)
    return _BACKENDS[kind]


def _outcome(function: Callable[[], T]) -> tuple[T | None, Exception | None]:
    try:
        return function(), None
    except Exception as problem:
        return None, problem


def _portable(problem: Exception | None) -> Exception | None:
    """The exception, or, where it cannot be pickled, one that says the same."""
    try:
        return pickle.loads(pickle.dumps(problem))
    except Exception:  # whatever its class raises
        return RuntimeError(f"{type(problem).__name__}: {problem}")
