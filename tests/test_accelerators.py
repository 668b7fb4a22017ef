"""Training on the accelerators that are there, beside the CPU; skipped, with the reason, where there is none."""

import json
from dataclasses import replace

import pytest
import torch
from test_devices import RECIPE, batches, both, loss
from test_devices import Model as WithDropout

from vg import profiles
from vg.training import fit

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
MPS = pytest.mark.skipif(not torch.backends.mps.is_available(), reason="no MPS device")
TWO = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA GPUs")
KINDS = [pytest.param("cuda", marks=CUDA), pytest.param("mps", marks=MPS)]


class Model(WithDropout):
    """Dropout's random numbers are other ones on each kind of device."""

    def bits(self, x):
        return self.map(x) + self.labels[0](x) + self.fixed


def weights(trained):
    return torch.cat([v.flatten().cpu() for v in trained.model.state_dict().values()])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("muon", [0.0, 0.1])
def test_an_accelerator_trains_as_the_cpu_does_and_goes_on_from_its_state(tmp_path, kind, muon):
    recipe = replace(RECIPE, muon=muon)
    fit(Model(), loss, batches, recipe, folder=tmp_path, stop_at=6, progress=False)
    there = fit(Model().to(kind), loss, batches, recipe, folder=tmp_path, progress=False)
    assert next(there.model.parameters()).device.type == kind
    whole = fit(Model(), loss, batches, recipe, progress=False)
    torch.testing.assert_close(weights(there), weights(whole), atol=1e-3, rtol=1e-3)


@CUDA
def test_cuda_multiplies_in_bfloat16_where_it_has_it(monkeypatch):
    monkeypatch.setenv("VG_PROFILE", "gpu")
    kinds = set()

    def watched(model, x):
        kinds.add(model.map(x).dtype)
        return loss(model, x)

    fit(Model().to("cuda"), watched, batches, RECIPE, progress=False)
    assert kinds == {torch.bfloat16 if torch.cuda.get_device_capability() >= (8, 0) else torch.float32}


def _two(rank, folder):
    model = Model(rank).to(profiles.device())
    trained = fit(model, loss, batches, RECIPE, folder=folder / "run", progress=False)
    (folder / f"{rank}.json").write_text(json.dumps([str(next(model.parameters()).device), weights(trained).tolist()]))


@TWO
def test_two_gpus_train_as_one(tmp_path, monkeypatch):
    both(_two, tmp_path, profile="gpu")
    (a, first), (b, second) = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert (a, b) == ("cuda:0", "cuda:1") and first == second
    monkeypatch.setenv("VG_PROFILE", "gpu")
    alone = fit(Model().to("cuda"), loss, batches, RECIPE, progress=False)
    torch.testing.assert_close(torch.tensor(first), weights(alone), atol=1e-4, rtol=1e-3)
