"""What goes wrong on purpose: damage, kills, races. How often is set by VG_FUZZ (400 for the long form)."""

import multiprocessing
import os
import random

ROUNDS = int(os.environ.get("VG_FUZZ", 0))
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["pytest", "vg.training", "vg.checkpoints"])  # imported once, not by each child


def rounds(short: int, share: int = 1) -> int:
    """How often to try: ``short``, or in the long form one in ``share`` of VG_FUZZ."""
    return ROUNDS // share or short


def damaged(raw: bytes, dice: random.Random) -> bytes:
    """One byte changed, or the end cut off."""
    at = dice.randrange(len(raw))
    if dice.random() < 0.2:
        return raw[:at]
    return raw[:at] + bytes([raw[at] ^ dice.randrange(1, 256)]) + raw[at + 1 :]


def child(function, *arguments) -> multiprocessing.Process:
    """Another process that runs a function of a test module; its exit code is 1 if that fails."""
    process = _SERVER.Process(target=_alone, args=(function, *arguments))
    process.start()
    return process


def _alone(function, *arguments) -> None:
    import torch

    torch.set_num_threads(1)
    code = function(*arguments)
    if code:
        os._exit(code)
