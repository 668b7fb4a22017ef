"""Attention with ALiBi in every backend that runs here, beside torch's own causal kernel without ALiBi.

Prints, for the shape that the prior trains on, the time of each as a multiple of the peer's
(medians of interleaved runs).
"""

import statistics
import time

import torch
import torch.nn.functional as F

from vg.models import attention, available_backends, two_scale_slopes
from vg.profiles import device

B, L, N, D = 4, 1536, 4, 64  # batch, positions, heads, width of a head
ROUNDS = 15


def peer(q, k, v):
    """``scaled_dot_product_attention(is_causal=True)``: the same work, no bias."""
    return F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=True)


def seconds(function, tensors, backward: bool) -> float:
    begin = time.perf_counter()
    out = function(*tensors)
    if backward:
        out.sum().backward()
    if out.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def main() -> None:
    where = device()
    dtype = torch.bfloat16 if where.type == "cuda" else torch.float32
    slopes = two_scale_slopes(N, 128).to(where)
    print(f"{where}, {dtype}, B {B}, L {L}, N {N}, D {D}; peer: torch's causal kernel without ALiBi")
    for backward in (False, True):
        tensors = [torch.randn(B, L, N, D, device=where, dtype=dtype, requires_grad=backward) for _ in range(3)]
        functions = {"peer": peer}
        for name in available_backends(where):
            if not (backward and name == "flex" and where.type == "cpu"):  # it has no backward there
                functions[name] = lambda *t, name=name: attention(*t, slopes, backend=name)
        times = {name: [] for name in functions}
        for _ in range(ROUNDS + 2):
            for name, function in functions.items():
                times[name].append(seconds(function, tensors, backward))
        median = {name: statistics.median(values[2:]) for name, values in times.items()}
        for name, value in median.items():
            what = "forward and backward" if backward else "forward"
            print(f"{what:>21}  {name:<10} {value / median['peer']:6.2f} x peer")


if __name__ == "__main__":
    main()
