"""Laws of half precision in finished models: only on GPUs made for it, and no sum or probability is taken in it."""

import fake_flash
import pytest
import torch
from fake_latents import FakeTokenizer, write

from vg import precision, profiles
from vg.evaluation.tokenizer import reconstruct
from vg.latents import writing
from vg.models import Prior, PriorConfig, TubeletConfig, TubeletTokenizer
from vg.models.attention_backends import _flash_attn_func
from vg.models.digits import DigitHead
from vg.sampling import Stream, generate, generate_tokens, one_by_one, packed_head, plain_loop, stream, video
from vg.sampling.packed import Bias, Cache, Packed, Span

LEVELS = (5, 4, 3)


def bfloat16(where="cpu"):
    """What ``vg.precision.autocast`` is on a GPU, here on the CPU."""
    return torch.autocast("cpu", torch.bfloat16)


def small_models():
    torch.manual_seed(0)
    tokenizer = TubeletTokenizer(TubeletConfig((2, 4, 4), LEVELS, width=16, encoder_depth=1, decoder_depth=1))
    prior = Prior(PriorConfig(LEVELS, grid=(2, 3), width=48, depth=2, heads=4, context=1, num_labels=3))
    for weight in prior.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    return prior.freeze(), tokenizer.freeze()


@pytest.fixture(scope="module")
def models():
    return small_models()


@pytest.mark.parametrize(
    "kind, capability, dtype",
    [
        ("cuda", (9, 0), torch.bfloat16),
        ("cuda", (8, 0), torch.bfloat16),
        ("cuda", (7, 5), torch.float16),
        ("cuda", (7, 0), torch.float16),
        ("cuda", (6, 1), None),
        ("mps", (9, 0), None),
        ("cpu", (9, 0), None),
    ],
)
def test_half_precision_is_what_the_device_multiplies_in(kind, capability, dtype, monkeypatch):
    assert precision.half_of(kind, capability) == dtype
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch, "autocast", lambda kind, dtype: (kind, dtype))
    monkeypatch.setenv("VG_PROFILE", "gpu")
    found = precision.autocast(kind)
    assert found == (kind, dtype) if dtype else not isinstance(found, tuple)
    monkeypatch.setenv("VG_PROFILE", "smoke")
    assert not isinstance(precision.autocast(kind), tuple), "numbers agree on all machines in smoke"


@pytest.mark.parametrize("profile", ["smoke", "laptop", "gpu"])
def test_on_a_cpu_nothing_is_switched(profile, monkeypatch):
    monkeypatch.setenv("VG_PROFILE", profile)
    with precision.autocast("cpu"):
        assert not torch.is_autocast_enabled("cpu")
    with bfloat16(), precision.autocast("cpu"):
        assert torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize(("version", "kind"), [("2.12.1", "cpu"), ("2.13.0", "mps"), ("2.14.1+cpu", "mps")])
def test_mps_is_taken_from_the_torch_on_that_has_all_it_takes(version, kind, monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion(version))
    monkeypatch.setenv("VG_PROFILE", "laptop")
    assert profiles.device().type == kind
    monkeypatch.setenv("VG_PROFILE", "smoke")
    assert profiles.device().type == "cpu"


def test_full_precision_is_single_or_more():
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        assert precision.full_precision(torch.ones(2, dtype=dtype)).dtype == torch.float32
    x = torch.ones(2, dtype=torch.float64)
    assert precision.full_precision(x) is x and precision.product_dtype(x) == x.dtype
    assert precision.product_dtype(torch.ones(2)) == torch.float32
    with bfloat16():
        assert precision.product_dtype(torch.ones(2)) == torch.bfloat16
        assert precision.product_dtype(x) == torch.float64


@pytest.mark.parametrize("draw, module", [(generate_tokens, packed_head), (one_by_one, plain_loop)])
@pytest.mark.parametrize("options", [{}, {"label": 1, "guidance": 2.0, "history": 1.5, "top_p": 0.9}], ids=str)
def test_sampling_in_half_precision_filters_and_draws_in_single(draw, module, options, models, monkeypatch):
    attended, filtered, sample = set(), set(), module.filter_logits
    kernel = torch.nn.functional.scaled_dot_product_attention

    def attend(q, k, v, mask):
        attended.add(q.dtype)
        return kernel(q, k, v, mask)

    def filters(logits, *rest):
        filtered.add(logits.dtype)
        return sample(logits, *rest)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", attend)
    monkeypatch.setattr(module, "filter_logits", filters)
    monkeypatch.setattr(video, "autocast", bfloat16)
    monkeypatch.setattr(plain_loop, "autocast", bfloat16)
    tokens = draw(models[0], None, 3, seed=1, batch=2, progress=False, **options)
    assert tokens.shape == (2, 3, 2, 3) and tokens.min() >= 0 and tokens.max() < 60
    assert filtered == {torch.float32}
    assert draw is one_by_one or attended == {torch.bfloat16}  # the CPU's own kernel works in float32 there


def hidden(prior, rows, reach, together):
    """Hidden states of two samples, in passes of 5 and of 3 positions."""
    packed_prior = Packed(prior)
    head = prior.config.width // prior.config.heads
    cache = Cache(prior.config.depth, 2, prior.config.heads, head, 16, reach, packed_prior.like)
    bias, found = Bias(prior.slopes, reach, packed_prior.like), []
    for start, count in ((0, 5), (5, 3)):
        spans = [Span(cache, b, start, count) for b in ((0, 1) if together else (1, 0))]
        found.append(
            packed_prior.hidden(torch.cat([rows[s.sample, start : start + count] for s in spans]), spans, bias)
        )
    return torch.cat(found), packed_prior, cache


@pytest.mark.parametrize("reach", [None, 4])
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("backend", ["flash", "sdpa"])
@torch.no_grad()
def test_packed_attention_runs_in_flash_or_sdpa_in_half_precision_and_gives_the_numbers_of_single(
    reach, together, backend, models, monkeypatch
):
    rows = 2 * torch.randn(2, 8, 48, generator=torch.Generator().manual_seed(0))
    truth, _, _ = hidden(models[0], rows, reach, together)
    calls = fake_flash.install(monkeypatch) if backend == "flash" else []
    with bfloat16():
        found, packed_prior, cache = hidden(models[0], rows, reach, together)
    monkeypatch.undo()
    _flash_attn_func.cache_clear()
    assert packed_prior.backend == backend and cache.kept.dtype == torch.bfloat16 and found.dtype == torch.float32
    passes = 2 * (1 if together else 2)
    assert len(calls) == (models[0].config.depth * passes if backend == "flash" else 0)
    assert (found - truth).abs().mean() < 0.01
    other, _, _ = hidden(models[0], rows, 3 if reach else 4, together)
    assert (other - truth).abs().mean() > 0.02, "another reach would show"


def test_what_comes_out_is_in_single_precision(models, monkeypatch):
    for module in (video, stream):
        monkeypatch.setattr(module, "autocast", bfloat16)
    prompt = torch.rand(1, 1, 4, 8, 12) * 2 - 1
    assert generate(*models, prompt, frames=8, progress=False).dtype == torch.float32
    assert next(Stream(*models)).dtype == torch.float32
    monkeypatch.setattr("vg.evaluation.tokenizer.autocast", bfloat16)
    made, exact = reconstruct(models[1], prompt), models[1](prompt)[0]
    assert made.dtype == torch.float32 and not torch.equal(made, exact)
    torch.manual_seed(0)
    head, x, digits = DigitHead(LEVELS, 16), torch.randn(4, 16), torch.zeros(4, 3, dtype=torch.long)
    assert head.bfloat16().nll_bits(x.bfloat16(), digits).dtype == torch.float32


class Watched(FakeTokenizer):
    def encode(self, video, past=None):
        self.halved = torch.is_autocast_enabled("cpu")
        return super().encode(video, past)


def test_caches_are_written_in_the_devices_precision(tmp_path, monkeypatch):
    asked, tokenizer = [], Watched()
    monkeypatch.setattr(writing, "autocast", lambda where: asked.append(where) or bfloat16())
    write(tmp_path / "cache", tokenizer)
    assert asked == [torch.device("cpu")] and tokenizer.halved
