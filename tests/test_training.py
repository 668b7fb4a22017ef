"""Laws of the loop: interrupted equals uninterrupted, NaN stops it, micro-batches are one batch, schedules end."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from vg import profiles
from vg.models import TubeletConfig, TubeletTokenizer
from vg.training import Diverged, Recipe, ResumeMismatch, fit, state_files
from vg.training import run as run_module
from vg.training.optimizers import optimizers_of

RECIPE = Recipe(steps=12, lr=1e-2, warmup=3, ema=0.9)


class Model(nn.Module):
    """A linear map, a buffer that follows, and dropout (which draws from the global generator)."""

    inner = ("map",)

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.map = nn.Linear(3, 3)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.seen += x.mean().detach()
        return self.map(nn.functional.dropout(x, 0.2, self.training))


def batches(generator):
    return torch.randn(8, 3, generator=generator)


def loss(model, x):
    return (model(x) - x.flip(1)).square().mean()


def run(folder=None, recipe=RECIPE, model=None, **options):
    return fit(model or Model(), loss, batches, recipe, folder=folder, progress=False, **options)


def weights(model):
    return torch.cat([v.flatten() for v in model.state_dict().values()])


@pytest.mark.parametrize("recipe", [RECIPE, replace(RECIPE, muon=0.1)], ids=["adamw", "muon"])
@pytest.mark.parametrize("stops", [[1], [5], [11], [3, 4, 9], [12]])
def test_an_interrupted_run_ends_with_the_weights_and_history_of_one_that_was_not(tmp_path, stops, recipe):
    evaluate = lambda model: {"error": float(loss(model, torch.ones(1, 3)))}  # noqa: E731
    options = {"recipe": recipe, "evaluate": evaluate, "every": 4}
    whole = run(**options)
    for stop in stops:
        run(tmp_path, stop_at=stop, model=Model(seed=stop), **options)  # resumes over any start
    # the first part has to begin like the whole
    (tmp_path / state_files.STATE).unlink()
    for stop in stops:
        run(tmp_path, stop_at=stop, **options)
    parts = run(tmp_path, model=Model(seed=99), **options)
    assert torch.equal(weights(parts.model), weights(whole.model))
    assert parts.history == whole.history
    assert [step for step, _ in whole.history["error"]] == [4, 8, 12]


def test_a_finished_run_is_not_trained_again(tmp_path):
    first = run(tmp_path)
    again = fit(Model(1), lambda *_: pytest.fail("trained"), batches, RECIPE, folder=tmp_path, progress=False)
    assert torch.equal(weights(again.model), weights(first.model))


def test_the_average_follows_the_weights_and_is_what_is_returned():
    model = Model()
    trained = run(model=model)
    assert trained.model is not model and not trained.model.training
    assert not torch.equal(trained.model.map.weight, model.map.weight)
    assert torch.equal(trained.model.seen, model.seen), "buffers are taken over as they are"
    alone = Model()
    same = run(model=alone, recipe=Recipe(steps=12, lr=1e-2, warmup=3, ema=0.0))
    assert torch.equal(same.model.map.weight, alone.map.weight)


def test_the_loss_falls_on_a_problem_with_an_answer():
    trained = run(recipe=Recipe(steps=400, lr=3e-2, warmup=10, ema=0.9))
    assert float(loss(trained.model, batches(torch.Generator().manual_seed(5)))) < 0.1


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_nan_stops_the_run_says_where_and_keeps_the_last_state(tmp_path, where):
    run(tmp_path, stop_at=4)
    before = (tmp_path / state_files.STATE).read_bytes()
    good = Model()

    def broken(model, x):
        value = loss(model, x)
        if where == "loss":
            return value * math.nan
        return value + (model.map.bias - model.map.bias.detach()).abs().sqrt().sum()  # a gradient of inf * 0

    with pytest.raises(Diverged, match=r"step 4: .*map\.(weight|bias).* state of step 4 is kept"):
        fit(good, broken, batches, RECIPE, folder=tmp_path, progress=False)
    assert (tmp_path / state_files.STATE).read_bytes() == before
    assert weights(good).isfinite().all()


def test_another_recipe_another_model_and_a_damaged_state_are_refused(tmp_path):
    run(tmp_path, stop_at=2)
    with pytest.raises(ResumeMismatch, match=r"lr 0.01 \(now 0.5\)"):
        run(tmp_path, recipe=Recipe(steps=12, lr=0.5, warmup=3, ema=0.9))
    other = nn.Linear(3, 4)
    with pytest.raises(ResumeMismatch, match="another model"):
        fit(other, loss, batches, RECIPE, folder=tmp_path, progress=False)
    path = tmp_path / state_files.STATE
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ResumeMismatch, match="damaged"):
        run(tmp_path)


def test_a_run_that_was_begun_before_the_recipe_had_its_names_goes_on(tmp_path):
    whole = run()
    run(tmp_path, stop_at=5)
    state = state_files.read(tmp_path)
    old = {"min_lr_ratio": "last", "weight_decay": "decay", "grad_clip": "clip"}
    recipe = {old.get(name, name): value for name, value in state.card["recipe"].items() if name != "micro_batches"}
    state_files.write(tmp_path, {**state.card, "recipe": recipe}, state.tensors)
    assert torch.equal(weights(run(tmp_path, model=Model(seed=9)).model), weights(whole.model))


def test_the_rate_rises_falls_and_ends_where_it_should():
    recipe = Recipe(steps=1000, lr=2.0, warmup=100, min_lr_ratio=0.01)
    rates = [recipe.lr_at(step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.02, rel=1e-2) and max(rates) < 2
    assert rates.index(max(rates)) in range(98, 102)
    assert sorted(rates[:99]) == rates[:99]
    assert sorted(rates[100:], reverse=True) == rates[100:]
    assert rates[-1] == pytest.approx(0.02, rel=1e-2)


def test_only_matrices_decay():
    [adamw] = optimizers_of(Model(), RECIPE)
    assert [(len(g["params"]), g["weight_decay"]) for g in adamw.param_groups] == [(1, RECIPE.weight_decay), (1, 0.0)]


def test_muon_takes_the_inner_matrices_and_adamw_all_the_rest():
    model = TubeletTokenizer(TubeletConfig((2, 4, 4), (5, 4, 3), width=16))
    adamw, muon = optimizers_of(model, replace(RECIPE, muon=0.1))
    names = {id(p): n for n, p in model.named_parameters()}
    taken = [[names[id(p)] for g in o.param_groups for p in g["params"]] for o in (adamw, muon)]
    assert sorted(taken[0] + taken[1]) == sorted(names.values())
    assert all(n.startswith(("encoder.", "decoder.")) and n.endswith("weight") for n in taken[1])
    assert {"embed.weight", "from_code.0.weight", "encoder.0.space.bias", "encoder.0.norm.weight"} <= set(taken[0])
    assert "encoder.0.space.weight" in taken[1] and "decoder.3.mlp.1.weight" in taken[1]


def test_muon_is_refused_where_the_model_does_not_name_its_inner_blocks():
    with pytest.raises(ValueError, match=r"Linear does not name its inner blocks.*muon=0"):
        fit(nn.Linear(3, 3), loss, batches, replace(RECIPE, muon=0.1), progress=False)


def test_a_plot_and_the_state_are_written_as_the_run_goes_on(tmp_path):
    class Plot:
        lengths, closed = (), False

        def update(self, history):
            self.lengths += (len(history["loss"]),)

        def close(self):
            self.closed = True

    plot = Plot()
    run(tmp_path, plot=plot, save_every=0)
    assert plot.closed and plot.lengths[0] == 1 and plot.lengths[-1] == 12
    files = sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".lock")
    assert files == [state_files.PREVIOUS, state_files.STATE]


@pytest.mark.parametrize(("name", "steps"), [("smoke", 8), ("laptop", 600), ("gpu", 2000)])
def test_settings_are_those_of_the_profile(name, steps):
    settings = profiles.Profile(name).settings(steps=(8, 600, 2000), frames=(480, None, None))
    assert settings.steps == steps and settings.frames == (480 if name == "smoke" else None)
    with pytest.raises(ValueError, match=r"steps has 2 values, .* smoke, laptop, gpu"):
        profiles.Profile(name).settings(steps=(8, 600))


def test_smoke_multiplies_in_full_precision_everywhere_and_other_profiles_where_bfloat16_pays(monkeypatch):
    monkeypatch.setenv("VG_PROFILE", "smoke")
    assert not any(profiles.mixed_precision(kind) for kind in ("cpu", "cuda", "mps"))
    monkeypatch.setenv("VG_PROFILE", "laptop")
    assert not profiles.mixed_precision("mps")
    for capability in ((7, 5), (8, 0), (8, 6), (9, 0)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
        assert profiles.mixed_precision("cuda") is (capability >= (8, 0)), "below, bfloat16 is emulated"
    for native, pays in itertools.product((True, False), repeat=2):
        monkeypatch.setattr(profiles, "_cpu_multiplies_bfloat16", lambda native=native: native)
        monkeypatch.setattr(profiles, "_bfloat16_pays", lambda pays=pays: pays)
        assert profiles.mixed_precision("cpu") is (native and pays)


@pytest.mark.parametrize("mixed", [True, False])
def test_a_run_goes_on_in_the_precision_that_it_began_in(tmp_path, monkeypatch, mixed):
    """Which is faster is measured, and another time the answer may be another."""
    monkeypatch.setenv("VG_PROFILE", "laptop")
    monkeypatch.setattr(run_module, "mixed_precision", lambda device: mixed)
    whole = run()
    run(tmp_path, stop_at=5)
    monkeypatch.setattr(run_module, "mixed_precision", lambda device: not mixed)
    assert torch.equal(weights(run(tmp_path).model), weights(whole.model))


@pytest.mark.parametrize("mixed", [True, False])
def test_in_mixed_precision_the_loss_is_computed_in_it_and_the_weights_stay_whole(monkeypatch, mixed):
    monkeypatch.setattr(run_module, "mixed_precision", lambda device: mixed)
    kinds = set()

    def watched(model, x):
        kinds.add(model(x).dtype)
        return loss(model, x)

    model = Model()
    trained = fit(model, watched, batches, RECIPE, progress=False)
    assert kinds == {torch.bfloat16 if mixed else torch.float32}
    assert all(v.dtype == torch.float32 and v.isfinite().all() for v in trained.model.state_dict().values())
    assert not torch.is_autocast_enabled("cpu")
