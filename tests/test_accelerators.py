"""Training, sampling, attention and large integers on the accelerators that are there, beside the CPU.

Skipped, with the reason, where there is none. What one process does there without training runs on the CPU too.
"""

import json
from dataclasses import replace

import pytest
import torch
from test_devices import RECIPE, batches, both, loss
from test_devices import Model as WithDropout
from test_precision import hidden, small_models

from vg import profiles
from vg.models.alibi import alibi_slopes
from vg.models.attention_backends import BLOCK, attention
from vg.models.quantizers import FSQ
from vg.precision import autocast, half_of
from vg.sampling import generate, generate_tokens
from vg.training import fit

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
MPS = pytest.mark.skipif(not torch.backends.mps.is_available(), reason="no MPS device")
TWO = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA GPUs")
KINDS = [pytest.param("cuda", marks=CUDA), pytest.param("mps", marks=MPS)]
EVERYWHERE = ["cpu", *KINDS]


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


@pytest.mark.parametrize("kind", EVERYWHERE)
@pytest.mark.parametrize("together", [True, False])
@torch.no_grad()
def test_a_prior_gives_the_cpus_hidden_states_in_the_devices_precision(kind, together, monkeypatch):
    monkeypatch.setenv("VG_PROFILE", "gpu")
    prior, _ = small_models()
    rows = 2 * torch.randn(2, 8, 48, generator=torch.Generator().manual_seed(0))
    truth, _, _ = hidden(prior, rows, 4, together)
    with autocast(kind):
        found, _, cache = hidden(prior.to(kind), rows.to(kind), 4, together)
    capability = torch.cuda.get_device_capability() if kind == "cuda" else (0, 0)
    assert cache.kept.dtype == (half_of(kind, capability) or torch.float32) and found.dtype == torch.float32
    assert (found.cpu() - truth).abs().mean() < (1e-4 if cache.kept.dtype == torch.float32 else 0.01)


@pytest.mark.parametrize("kind", EVERYWHERE)
@pytest.mark.parametrize("options", [{}, {"label": 1, "guidance": 2.0, "history": 1.5, "top_p": 0.9}], ids=str)
def test_sampling_there_gives_codes_and_again_the_same(kind, options, monkeypatch):
    monkeypatch.setenv("VG_PROFILE", "gpu")
    prior, tokenizer = (model.to(kind) for model in small_models())
    settings = {"seed": 1, "batch": 2, "progress": False, **options}
    tokens = generate_tokens(prior, None, 4, **settings)
    assert tokens.shape == (2, 4, 2, 3) and tokens.min() >= 0 and tokens.max() < 60
    assert torch.equal(tokens, generate_tokens(prior, None, 4, **settings))
    video = generate(prior, tokenizer, None, frames=8, **settings)
    assert video.device.type == kind and video.dtype == torch.float32 and video.isfinite().all()


@pytest.mark.parametrize("kind", EVERYWHERE)
@pytest.mark.parametrize("window", [None, 100])
@pytest.mark.parametrize("D", [20, 64])
def test_attention_in_blocks_gives_the_numbers_and_gradients_of_the_reference(kind, window, D):
    draw, results = torch.Generator().manual_seed(0), []
    whole = [torch.randn(2, L, 3, D, generator=draw).to(kind) for L in (BLOCK + 70, BLOCK + 200, BLOCK + 200)]
    for backend in ("sdpa", "reference"):
        tensors = [x.clone().requires_grad_() for x in whole]
        out = attention(*tensors, alibi_slopes(3).to(kind), backend, window)
        results.append([out, *torch.autograd.grad(out.sin().sum(), tensors)])
    for ours, truth in zip(*results, strict=True):
        torch.testing.assert_close(ours, truth, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("kind", EVERYWHERE)
def test_indices_above_2_to_the_53_come_back_as_they_were(kind):
    fsq = FSQ((8,) * 20).to(kind)
    indices = torch.randint(2**53, fsq.size, (1000,), generator=torch.Generator().manual_seed(0)) | 1
    digits = fsq.digits(indices.to(kind))
    assert digits.device.type == kind and torch.equal(digits.cpu(), FSQ((8,) * 20).digits(indices))
    assert torch.equal(fsq.indices(digits).cpu(), indices)
