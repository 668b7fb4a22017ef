"""How much is computed: one setting, ``$VG_PROFILE``.

``smoke``: seconds a notebook, no network, the drawn cartoon. ``laptop``: minutes a notebook on two cores.
``gpu``: one GPU, more steps, and notebook 05 trains on film of 256x256. The same cells run in all of them.
"""

import functools
import os
import time
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, TypeVar

import torch

T = TypeVar("T")
NAMES = ("smoke", "laptop", "gpu")
MPS_FROM = (2, 13)  # torch before that lacks embedding bags and sharp resizing on MPS, or Conv3d is wrong (#141780)


@dataclass(frozen=True)
class Profile:
    """One of the three profiles, by ``name``."""

    name: str

    def settings(self, **values: tuple[Any, Any, Any]) -> SimpleNamespace:
        """Values by name, for this profile: ``settings(steps=(8, 600, 2000)).steps``; smoke, laptop and gpu.

        Raises:
            ValueError: if a name has not one value for each of the three.
        """
        for name, three in values.items():
            if len(three) != len(NAMES):
                raise ValueError(f"{name} has {len(three)} values, expected one each for {', '.join(NAMES)}.")
        return SimpleNamespace(**{name: self.pick(**dict(zip(NAMES, three))) for name, three in values.items()})

    def pick(self, *, smoke: T, laptop: T, gpu: T) -> T:
        """The value meant for this profile: ``steps = profile().pick(smoke=3, laptop=600, gpu=20_000)``."""
        return {"smoke": smoke, "laptop": laptop, "gpu": gpu}[self.name]


def profile() -> Profile:
    """The current profile: ``$VG_PROFILE``; unset, ``gpu`` where there is CUDA and ``laptop`` elsewhere.

    Raises:
        ValueError: if ``$VG_PROFILE`` names none of the three.
    """
    name = os.environ.get("VG_PROFILE") or ("gpu" if torch.cuda.is_available() else "laptop")
    if name not in NAMES:
        raise ValueError(f"VG_PROFILE is {name!r}, which is no profile. Set it to one of {', '.join(NAMES)}.")
    return Profile(name)


def device() -> torch.device:
    """Where to compute: CUDA, else MPS (``MPS_FROM``), else the CPU; in ``smoke`` the CPU, so that numbers agree."""
    if profile().name == "smoke":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() and torch.__version__ >= MPS_FROM else "cpu")


def mixed_precision(where: torch.device | str) -> bool:
    """Whether training multiplies in bfloat16 there: on a GPU that has it, and on a CPU that is faster that way.

    CUDA has it from compute capability 8.0 on, and emulates it below. On a CPU AVX-512 BF16 takes half of the time on
    AMD's and twice the time on some of Intel's, so it is measured (benchmarks/LOG.md). Not in ``smoke``, so that
    numbers agree on all machines.
    """
    kind = torch.device(where).type
    if profile().name == "smoke" or kind not in ("cuda", "cpu"):
        return False
    if kind == "cuda":
        return torch.cuda.get_device_capability(where) >= (8, 0)
    return _cpu_multiplies_bfloat16() and _bfloat16_pays()


@functools.cache
def _bfloat16_pays() -> bool:
    """Whether a product in bfloat16 takes clearly less time here than in float32: a few milliseconds, asked once."""
    least = {}
    for dtype in (torch.float32, torch.bfloat16):
        left, right = torch.ones(1024, 256, dtype=dtype), torch.ones(256, 768, dtype=dtype)
        seconds = []
        for _ in range(8):
            begin = time.perf_counter()
            left @ right
            seconds.append(time.perf_counter() - begin)
        least[dtype] = min(seconds)
    return least[torch.bfloat16] < 0.8 * least[torch.float32]


def _cpu_multiplies_bfloat16() -> bool:
    """Torch asks the processor, under names that are not documented; where they are gone the answer is no."""
    asks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(ask() for ask in asks if ask is not None)
