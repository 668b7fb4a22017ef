"""The real kernels of a CUDA GPU against the reference; skipped, with the reason, where they cannot run."""

import pytest
import torch

from vg.models.alibi import alibi_slopes, two_scale_slopes
from vg.models.attention_backends import attention, available_backends

if not torch.cuda.is_available():
    pytest.skip("no CUDA GPU", allow_module_level=True)

BACKENDS = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            name not in available_backends("cuda"),
            reason=f"{name} is not installed or does not run on this GPU",
        ),
    )
    for name in ("flash", "flex", "sdpa")
]


def qkv(Lq, Lk, N, D=64, seed=0, dtype=torch.bfloat16):
    """Random q (2, Lq, N, D), k and v (2, Lk, N, D) on the GPU."""
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(2, L, N, D, generator=draw).to("cuda", dtype) for L in (Lq, Lk, Lk)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("N", [2, 6, 8])
@pytest.mark.parametrize("Lq, Lk", [(129, 129), (512, 512), (33, 300), (1, 257)])
@pytest.mark.parametrize("window", [None, 40])
def test_the_kernel_gives_the_numbers_of_the_reference(backend, dtype, N, Lq, Lk, window):
    q, k, v = qkv(Lq, Lk, N, dtype=dtype)
    slopes = two_scale_slopes(N, frame=64).cuda()
    out = attention(q, k, v, slopes, backend, window)
    expected = attention(q, k, v, slopes, "reference", window)
    assert out.dtype == dtype and out.shape == q.shape
    torch.testing.assert_close(out, expected, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("D", [12, 20, 48, 64, 129])
def test_the_gradients_are_those_of_the_reference_for_heads_of_any_width(backend, D):
    grads = {}
    for name in (backend, "reference"):
        q, k, v = (x.requires_grad_() for x in qkv(129, 257, 6, D))
        attention(q, k, v, alibi_slopes(6).cuda(), name).float().square().sum().backward()
        grads[name] = (q.grad.float(), k.grad.float(), v.grad.float())
    for got, expected in zip(grads[backend], grads["reference"]):
        assert (got - expected).norm() < 2e-2 * expected.norm()


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_output_before_a_token_moves_with_it(backend):
    q, k, v = qkv(200, 200, 4)
    slopes = alibi_slopes(4).cuda()
    before = attention(q, k, v, slopes, backend)
    for token in (1, 63, 64, 128, 199):
        q2, k2, v2 = (x.clone() for x in (q, k, v))
        for x in (q2, k2, v2):
            x[:, token] += 1
        after = attention(q2, k2, v2, slopes, backend)
        assert torch.equal(after[:, :token], before[:, :token])
        assert (after[:, token] != before[:, token]).any()
        assert token == 199 or (after[:, token + 1] != before[:, token + 1]).any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_last_queries_over_all_keys_are_the_last_rows(backend):
    q, k, v = qkv(300, 300, 6)
    slopes = alibi_slopes(6).cuda()
    full = attention(q, k, v, slopes, backend)
    for m in (1, 33):
        last = attention(q[:, -m:], k, v, slopes, backend)
        torch.testing.assert_close(last, full[:, -m:], atol=2e-2, rtol=2e-2)


def test_auto_takes_flash_for_half_precision_and_not_for_fp32():
    if "flash" not in available_backends("cuda"):
        pytest.skip("flash-attn is not installed or does not run on this GPU")
    slopes = alibi_slopes(4).cuda()
    q, k, v = qkv(64, 64, 4)
    assert torch.equal(attention(q, k, v, slopes), attention(q, k, v, slopes, "flash"))
    q, k, v = (x.float() for x in (q, k, v))
    assert torch.equal(attention(q, k, v, slopes), attention(q, k, v, slopes, "sdpa"))
