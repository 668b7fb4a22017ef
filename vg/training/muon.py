"""Muon: steps for the matrices inside a network whose directions all have the same length."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

TOGETHER = 3  # rounds of Newton-Schulz on one Gram matrix: in float32 as exact as one at a time


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalized (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/).

    A gradient matrix is dominated by a few directions. Muon keeps its directions and makes them equally strong, so
    that the rare ones are learned too. Here it takes a third of the steps that AdamW takes. It is meant for matrices
    and kernels inside a network; a kernel is taken as one matrix (out, in * places). ``torch.optim.Muon`` (from torch
    2.9 on) does the same for plain matrices.

    A step moves the entries of a matrix by ``0.2 lr`` in the root mean square, whatever its shape (Liu et al., 2025,
    arXiv:2502.16982, section 2.2); those of a kernel with k places by ``0.2 lr / sqrt(k)``.

    Args:
        parameters: tensors of two dimensions (out, in) or more ``(out, in, *kernel)``.
        lr: learning rate.
        momentum: of the gradient, with Nesterov's look ahead.
        weight_decay: decoupled, as AdamW's.
        iterations: Newton-Schulz iterations; five leave the lengths between 0.7 and 1.2.

    Raises:
        ValueError: if a parameter has fewer than two dimensions.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float = 2e-2,
        momentum: float = 0.95,
        weight_decay: float = 0.01,
        iterations: int = 5,
    ):
        super().__init__(
            parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "iterations": iterations}
        )
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.dim() < 2:
                    raise ValueError(f"Muon: got a parameter of shape {tuple(parameter.shape)}, expected a matrix.")

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        if closure is not None:
            raise ValueError("Muon: step takes no closure.")
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)

    def _move(self, parameter: nn.Parameter, gradient: Tensor, group: dict) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        average = state["momentum"].lerp_(gradient, 1 - group["momentum"])
        ahead = gradient.lerp(average, group["momentum"])
        matrix = orthogonalize(ahead.flatten(1), group["iterations"])
        k = parameter[0, 0].numel()
        size = 0.2 * group["lr"] * math.sqrt(max(matrix.shape) / k)
        parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(matrix.view(ahead.shape), alpha=-size)


def orthogonalize(matrices: Tensor, iterations: int = 5) -> Tensor:
    """Set the singular values of ``(..., rows, columns)`` to about 1, and keep the directions.

    Newton-Schulz: a polynomial of the matrix that drives each singular value towards 1. Jordan's coefficients
    are quick rather than exact: after five rounds most lie between 0.7 and 1.2.

    Each round multiplies the matrix from the left by a polynomial of its Gram matrix, and the next Gram matrix follows
    from this one. So a few rounds need the long side of the matrix twice, not each time; few, as rounding adds up.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for begin in range(0, iterations, TOGETHER):
        x = _rounds(x @ x.mT, min(TOGETHER, iterations - begin)) @ x
    return x.mT if tall else x


def _rounds(gram: Tensor, n: int) -> Tensor:
    """What ``n`` rounds multiply a matrix with the Gram matrix ``gram`` by."""
    one = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    factor = one
    for k in range(n):
        polynomial = 3.4445 * one - 4.7750 * gram + 2.0315 * (gram @ gram)
        factor = polynomial @ factor if k else polynomial
        if k + 1 < n:
            gram = polynomial @ gram @ polynomial
    return factor
