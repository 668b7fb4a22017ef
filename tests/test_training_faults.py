"""Whatever happens to a training, it ends with the weights of one left alone, or one sentence says what is wrong."""

import math
import random
import resource
import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from faults import child, damaged, rounds
from torch import nn

from vg.atomic import Busy
from vg.training import Diverged, Recipe, ResumeMismatch, fit, state_files
from vg.training import run as run_module
from vg.training.state_files import BadState

RECIPE = Recipe(steps=12, lr=1e-2, warmup=3, ema=0.9)
LONG = replace(RECIPE, steps=200)


class Model(nn.Module):
    """A linear map, with dropout, which draws from the global generator."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.map = nn.Linear(3, 3)

    def forward(self, x):
        return self.map(nn.functional.dropout(x, 0.2, self.training))


def batches(generator):
    return torch.randn(8, 3, generator=generator)


def loss(model, x):
    return (model(x) - x.flip(1)).square().mean()


def error(model):
    return {"error": float(loss(model, torch.ones(1, 3)))}


def run(folder=None, recipe=RECIPE, model=None, loss=loss, **options):
    return fit(model or Model(), loss, batches, recipe, folder=folder, progress=False, **options)


def weights(trained):
    return torch.cat([v.flatten() for v in trained.model.state_dict().values()])


def files(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


@pytest.fixture
def folder(tmp_path):
    """Two states: of step 4, and before it of step 2."""
    run(tmp_path, stop_at=2)
    run(tmp_path, stop_at=4)
    return tmp_path


def same(a: state_files.SavedState, b: state_files.SavedState) -> bool:
    return a.card == b.card and all(torch.equal(a.tensors[key], b.tensors[key]) for key in {**a.tensors, **b.tensors})


def test_a_damaged_state_says_the_same_or_the_one_before_it_is_taken(folder, capsys):
    path, dice, older = folder / state_files.STATE, random.Random(0), 0
    good, before, raw = state_files.read(folder), state_files._read(folder / state_files.PREVIOUS), path.read_bytes()
    assert (good.card["step"], before.card["step"]) == (4, 2)
    for _ in range(rounds(100)):
        path.write_bytes(damaged(raw, dice))
        found, said = state_files.read(folder), capsys.readouterr().err
        if found.path == path:
            assert same(found, good)
        else:
            assert same(found, before) and "damaged" in said and said.count("\n") == 1
            older += 1
    assert older > rounds(100) / 2


def test_a_run_goes_on_from_the_state_before_a_damaged_one_which_it_does_not_keep(folder, capsys):
    whole = run()
    path = folder / state_files.STATE
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    run(folder, stop_at=3)
    assert f"{state_files.STATE} is damaged" in capsys.readouterr().err
    assert (
        state_files._read(path).card["step"] == 3 and state_files._read(folder / state_files.PREVIOUS).card["step"] == 2
    )
    assert torch.equal(weights(run(folder)), weights(whole))


def test_where_both_are_damaged_it_says_so(folder):
    for name in (state_files.STATE, state_files.PREVIOUS):
        (folder / name).write_bytes((folder / name).read_bytes()[:-1] + b"?")
    with pytest.raises(BadState):
        state_files.read(folder)
    with pytest.raises(ResumeMismatch, match=rf"{state_files.STATE} is damaged.*Delete it to begin anew"):
        run(folder)


def test_a_state_that_was_deleted_is_not_gone_on_from(folder):
    (folder / state_files.STATE).unlink()
    seen = []
    run(folder, stop_at=1, loss=lambda model, x: seen.append(1) or loss(model, x))
    assert seen == [1] and files(folder) == [state_files.STATE], "the older run's is no predecessor"


def test_tied_weights_are_kept(tmp_path):
    def tied():
        model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
        torch.manual_seed(1)
        model[0].weight.data.normal_()
        model[1].weight = model[0].weight
        return model

    torch.manual_seed(0)
    whole = run(model=tied())
    torch.manual_seed(0)
    run(tmp_path, model=tied(), stop_at=5)
    assert torch.equal(weights(run(tmp_path, model=tied())), weights(whole))


def _train(folder, recipe=LONG) -> int:
    try:
        run(folder, recipe, save_every=0)
    except Busy as problem:
        assert "another process is training in this folder. Wait until it is done, or stop it." in str(problem)
        return 3
    return 0


def test_killed_at_any_moment_it_ends_as_if_it_was_not_and_leaves_nothing(tmp_path):
    whole, dice, kills = weights(run(recipe=LONG)), random.Random(0), 0
    for k in range(rounds(2, share=20)):
        folder = tmp_path / str(k)
        for _ in range(3):
            process = child(_train, folder)
            while process.is_alive() and not (folder / state_files.STATE).exists():
                time.sleep(0.01)
            time.sleep(0.1 * dice.random())
            process.kill()
            process.join()
            kills += process.exitcode == -signal.SIGKILL
        assert torch.equal(weights(run(folder, LONG)), whole)
        assert files(folder) == [state_files.PREVIOUS, state_files.STATE]
    assert kills


def test_of_four_in_one_folder_one_trains_and_the_others_say_so(tmp_path):
    whole = weights(run(recipe=LONG))
    for k in range(rounds(1, share=20)):
        folder = tmp_path / str(k)
        processes = [child(_train, folder) for _ in range(4)]
        for process in processes:
            process.join()
        codes = [process.exitcode for process in processes]
        assert set(codes) <= {0, 3} and 0 in codes
        assert torch.equal(weights(run(folder, LONG)), whole)
        assert files(folder) == [state_files.PREVIOUS, state_files.STATE]


def test_a_folder_that_is_trained_in_is_told(tmp_path):
    def again(model, x):
        with pytest.raises(Busy, match="another process is training in this folder"):
            run(tmp_path)
        return loss(model, x)

    run(tmp_path, stop_at=1, loss=again)
    run(tmp_path, stop_at=2)


def _train_on_a_full_disk(folder) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
    with pytest.raises(OSError, match=rf"{state_files.STATE} cannot be written .*Make room.*VG_RUNS"):
        run(folder)


def test_on_a_full_disk_the_file_is_named_and_the_states_stay(folder):
    before = {name: (folder / name).read_bytes() for name in files(folder)}
    process = child(_train_on_a_full_disk, folder)
    process.join()
    assert process.exitcode == 0
    assert {name: (folder / name).read_bytes() for name in files(folder)} == before
    run(folder)


def test_a_folder_that_cannot_be_is_named_before_the_first_step(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file/run cannot be written .*VG_RUNS"):
        run(tmp_path / "file" / "run", loss=lambda *_: pytest.fail("trained"))


def press() -> None:
    signal.raise_signal(signal.SIGINT)


def pressing(at: int, times: int = 1):
    """A loss during whose ``at``-th call the stop button is pressed."""
    calls = 0

    def pressed(model, x):
        nonlocal calls
        calls += 1
        for _ in range(times if calls == at else 0):
            press()
        return loss(model, x)

    return pressed


def test_an_interrupt_ends_the_step_says_which_and_what_is_returned_is_measured(tmp_path, capsys):
    options = {"evaluate": error, "every": 4}
    whole = run(**options)
    stopped = run(tmp_path, loss=pressing(6), **options)
    said = capsys.readouterr().out
    assert "Stopped at step 6 of 12" in said and f"kept in {tmp_path}" in said
    assert stopped.stopped and [step for step, _ in stopped.history["error"]] == [4, 6]
    assert stopped.history["error"][-1][1] == error(stopped.model)["error"] and not stopped.model.training
    assert state_files.read(tmp_path).card["step"] == 6
    rest = run(tmp_path, **options)
    assert torch.equal(weights(rest), weights(whole)) and rest.history == whole.history and not rest.stopped


def test_without_a_folder_it_says_that_nothing_is_kept(capsys):
    assert run(loss=pressing(2)).stopped
    assert "Nothing is kept" in capsys.readouterr().out


def test_a_second_interrupt_is_raised_at_once_and_the_last_state_stays(folder):
    with pytest.raises(KeyboardInterrupt):
        run(folder, loss=pressing(2, times=2))
    assert state_files.read(folder).card["step"] == 4
    assert torch.equal(weights(run(folder)), weights(run()))


def test_an_interrupt_in_the_last_measurement_is_no_stop():
    trained = run(evaluate=lambda model: press() or error(model))
    assert not trained.stopped and "error" in trained.history


def interrupted_at(k: int) -> bool:
    """Train with two interrupts at the k-th line that torch's switches and optimizers run; whether it came to that."""
    files, count = ("grad_mode.py", "autocast_mode.py", "_contextlib.py", "optimizer.py", "adamw.py"), 0

    def watch(frame, event, _):
        nonlocal count
        if Path(frame.f_code.co_filename).name not in files:
            return None
        count += event == "line"
        if count == k:
            count += 1
            sys.settrace(None)
            press()
            press()
        return watch

    model = Model()
    sys.settrace(watch)
    try:
        run(recipe=replace(RECIPE, steps=2), model=model, evaluate=error)
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False


def test_wherever_training_is_interrupted_a_later_one_is_right(monkeypatch):
    monkeypatch.setattr(run_module, "mixed_precision", lambda device: True)
    whole, dice, places = weights(run()), random.Random(0), 1
    while interrupted_at(2**places):
        places += 1
    for _ in range(rounds(40)):
        interrupted_at(dice.randrange(1, 2**places))
        assert torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")
        assert torch.equal(weights(run()), whole)


def _without_a_training() -> int:
    return 0 if "torch._dynamo" in sys.modules else 4


def test_what_the_first_optimizer_would_import_comes_with_the_package():
    process = child(_without_a_training)
    process.join()
    assert process.exitcode == 0


def test_processes_that_never_met_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ValueError, match=r"WORLD_SIZE is 4.*devices\.start"):
        run()
    monkeypatch.setenv("WORLD_SIZE", "1")
    run()


NONSENSE = [
    {"steps": 0}, {"steps": -3}, {"steps": 2.5}, {"warmup": -1}, {"seed": -1}, {"seed": 2**40},
    {"lr": 1e38}, {"lr": -1e-3}, {"lr": math.nan}, {"lr": math.inf}, {"muon": math.nan}, {"muon": 1e38},
    {"min_lr_ratio": math.nan}, {"min_lr_ratio": 2.0}, {"weight_decay": math.nan}, {"weight_decay": -1.0},
    {"grad_clip": 0.0}, {"grad_clip": math.nan}, {"micro_batches": 0}, {"micro_batches": 5000},
    {"ema": 1.0}, {"ema": math.nan}, {"betas": (0.9, 1.0)}, {"betas": (math.nan, 0.9)},
]  # fmt: skip


@pytest.mark.parametrize("nonsense", NONSENSE, ids=str)
def test_a_recipe_of_nonsense_is_refused_with_the_name_of_what_is_wrong(nonsense):
    [name] = nonsense
    with pytest.raises(ValueError, match=rf"Recipe: .*{name} is .*expected"):
        replace(RECIPE, **nonsense)


def test_a_frozen_model_is_refused():
    with pytest.raises(ValueError, match=r"Model has no weights that can be trained.*trainable=True"):
        run(model=Model().requires_grad_(False))


def test_weights_that_the_last_step_broke_are_neither_kept_nor_returned(folder, monkeypatch):
    before = (folder / state_files.STATE).read_bytes()
    update = run_module.Run.update_average

    def broken(self):
        update(self)
        if self.step == 5:
            self.model.map.weight.data[0, 0] = math.inf

    monkeypatch.setattr(run_module.Run, "update_average", broken)
    for where in (folder, None):
        with pytest.raises(Diverged, match=r"step 5: .*not finite in map\.weight"):
            run(where, stop_at=5)
    assert (folder / state_files.STATE).read_bytes() == before
    shutil.rmtree(folder)
