"""The training loop, the same for every model and any number of devices.

``loop`` is ``fit``; ``recipe`` says how to train; ``run`` is what a run carries from step to step, ``state_files`` how
it is kept; ``optimizers`` and ``muon`` move the weights; ``devices`` shares the work among processes.
"""

import torch._dynamo  # noqa: F401  the first optimizer imports it: an interrupt in the midst of that breaks torch for good

from vg.training import devices
from vg.training.devices import CannotShare
from vg.training.loop import Plot, Trained, fit
from vg.training.muon import Muon
from vg.training.recipe import Recipe
from vg.training.run import BatchSampler, Diverged, History, Loss, ResumeMismatch

__all__ = [
    "BatchSampler",
    "CannotShare",
    "Diverged",
    "History",
    "Loss",
    "Muon",
    "Plot",
    "Recipe",
    "ResumeMismatch",
    "Trained",
    "devices",
    "fit",
]
