"""Which weights are moved by which optimizer."""

from collections.abc import Sequence

import torch
from torch import nn

from vg.training.muon import Muon
from vg.training.recipe import Recipe


def optimizers_of(model: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """AdamW, and Muon for the inner matrices if the recipe has it. What multiplies decays; biases and gains do not.

    Raises:
        ValueError: if the recipe has Muon and the model does not name its inner blocks.
    """
    inner = _inner(model) if recipe.muon else []
    taken = {id(p) for p in inner}
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in taken]
    groups = [
        {"params": [p for p in others if p.dim() > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in others if p.dim() <= 1], "weight_decay": 0.0},
    ]
    # not fused: that mistakes a kernel for another whose averages a resumed run has in another memory order
    adamw = torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas)
    return [adamw, Muon(inner, lr=recipe.muon, weight_decay=recipe.weight_decay)] if inner else [adamw]


def state_names(optimizer: torch.optim.Optimizer) -> tuple[str, ...]:
    """What the optimizer keeps of each weight, by its own names."""
    return ("momentum",) if isinstance(optimizer, Muon) else ("step", "exp_avg", "exp_avg_sq")


def _inner(model: nn.Module) -> list[nn.Parameter]:
    """Matrices and kernels of the blocks that ``model.inner`` names."""
    names: Sequence[str] = getattr(model, "inner", ())
    if not names:
        raise ValueError(f"{type(model).__name__} does not name its inner blocks (`inner`): train it with muon=0.")
    blocks = [model.get_submodule(name) for name in names]
    return [p for block in blocks for p in block.parameters() if p.requires_grad and p.dim() > 1]
