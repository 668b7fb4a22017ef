"""Many processes that train as one, each with batches of its own, as ``torchrun`` starts them."""

import os

import torch
import torch.distributed as dist
from torch import nn


def rank() -> int:
    """The number of this process; 0 where it is alone."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def alone() -> bool:
    return not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1


def check_met() -> None:
    """Refuse to train where processes were started together that do not know of one another.

    Raises:
        ValueError: if ``WORLD_SIZE`` is above 1 and there is no process group.
    """
    world = os.environ.get("WORLD_SIZE", "")
    if world.isdigit() and int(world) > 1 and not (dist.is_available() and dist.is_initialized()):
        raise ValueError(
            f"WORLD_SIZE is {world}, but this process knows of no other, so that each would train a twin of its own. "
            "Call torch.distributed.init_process_group() first, or start one process without torchrun."
        )


def share_weights(*models: nn.Module) -> None:
    """Begin with the first process's weights everywhere."""
    if alone():
        return
    for model in models:
        for tensor in (*model.parameters(), *model.buffers()):
            dist.broadcast(tensor.data, src=0)


def share_gradients(model: nn.Module) -> None:
    """Average the gradients over the processes, all in one message."""
    if alone():
        return
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    for gradient, mean in zip(gradients, (flat / dist.get_world_size()).split([g.numel() for g in gradients])):
        gradient.copy_(mean.view_as(gradient))


def any_process(asked: bool, device: torch.device) -> bool:
    """Whether any of them was asked: an interrupt reaches each in another step, and they have to stop in the same."""
    if alone():
        return asked
    answer = torch.tensor(float(asked), device=device)
    dist.all_reduce(answer, dist.ReduceOp.MAX)
    return bool(answer)
