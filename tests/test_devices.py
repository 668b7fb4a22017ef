"""Laws of many processes: they train what one would, stop together, and none is left waiting for one that died."""

import hashlib
import json
import math
import os
import signal
import socket
import time
import traceback
from contextlib import redirect_stdout
from dataclasses import replace

import pytest
import torch
from fake_latents import contents, write
from faults import child
from torch import nn

from vg.atomic import Busy
from vg.models.quantizers import VQ
from vg.training import CannotShare, Recipe, devices, fit, state_files

RECIPE = Recipe(steps=12, lr=1e-2, warmup=3, ema=0.9, micro_batches=2)
LONG = replace(RECIPE, steps=10**6)


class Model(nn.Module):
    """A linear map, dropout (which uses the global generator), and labels of which not every batch has all."""

    inner = ("map",)

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.map = nn.Linear(3, 3)
        self.labels = nn.ModuleList(nn.Linear(3, 3) for _ in range(3))
        self.register_buffer("fixed", torch.randn(3))

    def bits(self, x):
        """Not ``forward``: the losses of the real models call other methods too."""
        label = self.labels[int(x[0, 0] > 0)]  # the third has no gradient at all
        return self.map(nn.functional.dropout(x, 0.2, self.training)) + label(x) + self.fixed


def batches(generator):
    return torch.randn(8, 3, generator=generator)


def loss(model, x):
    return (model.bits(x) - x.flip(1)).square().mean()


def error(model):
    return {"error": float(loss(model, torch.ones(1, 3)))}


def run(folder=None, recipe=RECIPE, seed=0, loss=loss, **options):
    options = {"progress": False, "evaluate": error, "every": 4} | options
    return fit(Model(seed), loss, batches, recipe, folder=folder, **options)


def weights(trained):
    return torch.cat([v.flatten() for v in trained.model.state_dict().values()])


def start(function, folder, timeout=60.0, profile="smoke"):
    """Two processes that call ``function(rank, folder)``. What each prints, and its error, is in the folder too."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    return [child(_process, rank, port, timeout, profile, function, folder) for rank in range(2)]


def _process(rank, port, timeout, profile, function, folder):
    world = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in world.items()}, VG_PROFILE=profile)
    try:
        with open(folder / f"{rank}.out", "w") as out, redirect_stdout(out), devices.start(timeout):
            function(rank, folder)
    except Exception:
        (folder / f"{rank}.error").write_text(traceback.format_exc())
        raise


def ends(processes) -> list[int]:
    """Exit codes; a process that hangs is ended, and has none that a test would expect."""
    for process in processes:
        process.join(120)
    for process in processes:
        process.kill()
        process.join()
    return [process.exitcode for process in processes]


def both(function, folder, **options) -> None:
    codes = ends(start(function, folder, **options))
    assert codes == [0, 0], [path.read_text() for path in folder.glob("?.error")]


# --- equal to one ---------------------------------------------------------------------------------------------------

RECIPES = {
    "adamw": RECIPE,
    "muon": replace(RECIPE, muon=0.1),
    "four": replace(RECIPE, micro_batches=4),
}


def recorded(seen):
    """A loss that notes the bytes of every batch and what dropout would have left of it."""

    def watched(model, x):
        state = torch.get_rng_state()
        left = nn.functional.dropout(x, 0.2)
        torch.set_rng_state(state)
        seen.append(hashlib.sha256(x.numpy().tobytes() + left.numpy().tobytes()).hexdigest())
        return loss(model, x)

    return watched


def _equal(rank, folder):
    def measured(model):
        calls.append(model)
        return error(model)

    calls: list = []
    for name, recipe in RECIPES.items():
        seen = []
        trained = run(folder / name / str(rank), recipe, rank, recorded(seen), evaluate=measured)
        print("printed")
        report = [weights(trained).tolist(), trained.history, trained.seconds, seen]
        (folder / f"{name}-{rank}.json").write_text(json.dumps(report))
    assert bool(calls) == (rank == 0), "rank 0 alone measures"
    write(folder / "cache", rank=devices.rank(), world_size=devices.world_size())


def test_two_processes_train_as_one_and_write_what_one_writes(tmp_path):
    both(_equal, tmp_path)
    printed = [(tmp_path / f"{rank}.out").read_text().count("printed") for rank in (0, 1)]
    assert printed == [len(RECIPES), 0], "rank 0 alone prints"
    for name, recipe in RECIPES.items():
        order: list = []
        alone = run(recipe=recipe, loss=recorded(order))
        (a, history, seconds, first), other = [json.loads((tmp_path / f"{name}-{k}.json").read_text()) for k in (0, 1)]
        assert other[:3] == [a, history, seconds], "all ranks return the same"
        assert [seen for pair in zip(first, other[3]) for seen in pair] == order, "the same batches in the same order"
        torch.testing.assert_close(torch.tensor(a), weights(alone), atol=1e-6, rtol=1e-5)
        assert [step for step, _ in history["error"]] == [4, 8, 12]
        for ours, one in ((history[key], alone.history[key]) for key in alone.history):
            torch.testing.assert_close(torch.tensor(ours), torch.tensor(one), atol=1e-5, rtol=1e-5)
        assert (tmp_path / name / "0").is_dir() and not (tmp_path / name / "1").exists(), "rank 0 alone writes"
    write(tmp_path / "alone")
    assert contents(tmp_path / "cache") == contents(tmp_path / "alone")


def test_micro_batches_are_one_large_batch():
    four = replace(RECIPE, micro_batches=4, grad_clip=math.inf)

    def plain(model, x):
        return (model.map(x) - x.flip(1)).square().mean()

    def large(generator):
        step = next(steps)
        pieces = [torch.Generator().manual_seed(four.seed_of(step, k)) for k in range(4)]
        return torch.cat([batches(piece) for piece in pieces])

    steps = iter(range(100))
    models = [Model(), Model()]
    many = fit(models[0], plain, batches, four, progress=False)
    one = fit(models[1], plain, large, replace(four, micro_batches=1), progress=False)
    torch.testing.assert_close(weights(many), weights(one), atol=1e-6, rtol=1e-5)
    last = [model.map.weight.grad for model in models]  # AdamW does not mind how long they are, clipping does
    torch.testing.assert_close(*last, atol=1e-6, rtol=1e-5)


# --- killed, stopped and taken up again -----------------------------------------------------------------------------


def _resume(rank, folder):
    run(folder / "two" / str(rank), seed=rank, stop_at=5)  # each on a disk of its own
    run(folder / "one" / str(rank), seed=rank)  # rank 0's was begun by one process

    def pressed(model, x):  # in one of them
        calls.append(x)
        if rank and len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return loss(model, x)

    calls: list = []
    stopped = run(folder / "pressed" / str(rank), seed=rank, loss=pressed)
    assert stopped.stopped and len(calls) == 3, "all stop after the same step"


def test_what_one_began_two_end_and_the_other_way_round(tmp_path):
    whole = run()
    run(tmp_path / "one" / "0", stop_at=7)
    both(_resume, tmp_path)
    assert state_files.read(tmp_path / "pressed" / "0").card["step"] == 3
    for name in ("one", "two", "pressed"):
        rest = run(tmp_path / name / "0", seed=9, loss=loss if name != "one" else lambda *_: pytest.fail("trained"))
        torch.testing.assert_close(weights(rest), weights(whole), atol=1e-6, rtol=1e-5)
        assert [step for step, _ in rest.history["error"]] == [4, 8, 12]


def _sees(rank, folder):
    (folder / str(rank)).mkdir()
    assert devices.all_see(folder) and not devices.all_see(folder / str(rank))
    assert not any((folder / str(rank)).iterdir()), "no trace is left"


def test_ranks_know_whether_they_share_a_disk(tmp_path):
    both(_sees, tmp_path)
    assert devices.all_see(tmp_path / "alone")


def _long(rank, folder):
    run(folder, LONG, save_every=0, evaluate=None)


@pytest.mark.parametrize("victim", [0, 1])
def test_one_that_is_killed_ends_the_other_with_an_error_and_the_state_is_gone_on_from(tmp_path, victim):
    processes = start(_long, tmp_path)
    while not (tmp_path / state_files.PREVIOUS).exists() and all(process.is_alive() for process in processes):
        time.sleep(0.01)
    processes[victim].kill()
    codes = ends(processes)
    assert codes[victim] == -signal.SIGKILL and codes[1 - victim] == 1
    said = (tmp_path / f"{1 - victim}.error").read_text()
    assert f"This is rank {1 - victim} of 2" in said and "another rank ended before it" in said
    step = state_files.read(tmp_path).card["step"]
    ours, whole = (run(where, LONG, stop_at=step + 2, evaluate=None) for where in (tmp_path, None))
    torch.testing.assert_close(weights(ours), weights(whole), atol=1e-5, rtol=1e-5)


def _dies_measuring(rank, folder):
    run(evaluate=lambda model: os.kill(os.getpid(), signal.SIGKILL))


def test_a_first_rank_that_dies_measuring_is_missed_at_once_however_patient_the_other_is(tmp_path):
    assert ends(start(_dies_measuring, tmp_path)) == [-signal.SIGKILL, 1]


def _silent(rank, folder):
    def sleeping(model, x):
        time.sleep(1000 * rank)
        return loss(model, x)

    run(loss=sleeping)


def test_one_that_falls_silent_ends_the_other_after_the_time_out(tmp_path):
    processes = start(_silent, tmp_path, timeout=3)
    processes[0].join(60)
    code = processes[0].exitcode  # while the other still sleeps
    processes[1].kill()
    assert ends(processes)[1] == -signal.SIGKILL and code == 1


def _patient(rank, folder):
    def slow(model):
        time.sleep(5)
        return error(model)

    trained = run(evaluate=slow, every=0)
    assert trained.history["error"][0][0] == 12


def test_a_measurement_may_take_longer_than_the_time_out(tmp_path):
    both(_patient, tmp_path, timeout=3)


# --- refused --------------------------------------------------------------------------------------------------------


class Codebook(nn.Module):
    def __init__(self):
        super().__init__()
        self.map, self.quantizer = nn.Linear(3, 3), VQ(8, 3)


def codebook_loss(model, x):
    z = model.map(x)
    codes, indices = model.quantizer(z)
    return (codes - x).square().mean() + model.quantizer.loss(z, codes, indices)


def _raise(error):
    raise error


def _refused(rank, folder):
    with pytest.raises(CannotShare, match=r"2 processes cannot share 3 micro-batches.*micro_batches.*such as 4"):
        run(recipe=replace(RECIPE, micro_batches=3))
    with pytest.raises(CannotShare, match=r"Codebook changes quantizer\.\w+.*one process"):
        fit(Codebook(), codebook_loss, batches, RECIPE, progress=False)
    frozen = Codebook()
    frozen.quantizer.freeze()
    fit(frozen, codebook_loss, batches, RECIPE, progress=False)
    # what goes wrong on the first rank alone is raised on both
    with pytest.raises(Busy, match="another process is training in this folder"):
        run(folder / "busy")
    with pytest.raises(OSError, match="cannot be written"):
        run(folder / "file" / "run")
    with pytest.raises(ZeroDivisionError):
        run(evaluate=lambda model: _raise(ZeroDivisionError()))

    class Local(Exception):  # no pickle can hold it
        pass

    with pytest.raises(Local if rank == 0 else RuntimeError, match="odd"):
        devices.on_first_rank(lambda: _raise(Local("odd")))
    assert devices.on_first_rank(lambda: rank) == 0, "and they go on together"


def test_what_processes_cannot_do_together_every_one_says(tmp_path):
    (tmp_path / "file").write_text("")
    with state_files.owned(tmp_path / "busy"):
        both(_refused, tmp_path)


def test_one_process_alone_needs_no_group_and_trains_codebooks():
    assert (devices.rank(), devices.world_size(), devices.on_first_rank(lambda: 7)) == (0, 1, 7)
    with devices.start():
        fit(Codebook(), codebook_loss, batches, RECIPE, progress=False)
