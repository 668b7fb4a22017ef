"""Laws of attention: same numbers from every backend, no look into the future, flash's contract."""

import importlib
import math
import sys

import fake_flash
import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from vg.models.alibi import alibi_bias, alibi_slopes, two_scale_slopes
from vg.models.attention_backends import attention, auto_backend, available_backends
from vg.models.attention_cpu import CausalAttention

module = importlib.import_module("vg.models.attention_backends")
HERE = available_backends("cpu")
TRAINABLE = [name for name in HERE if name != "flex"]  # FlexAttention has no backward on a CPU


def qkv(B=2, Lq=7, Lk=7, N=2, D=8, seed=0, dtype=torch.float32):
    """Random q (B, Lq, N, D), k and v (B, Lk, N, D)."""
    draw = torch.Generator().manual_seed(seed)
    shapes = [(B, Lq, N, D), (B, Lk, N, D), (B, Lk, N, D)]
    return [torch.randn(shape, generator=draw).to(dtype) for shape in shapes]


# --- slopes -------------------------------------------------------------------------------------------------

# Minus the base-2 logarithms of the slopes, written out from section 3 of the ALiBi paper.
EXPONENTS = {
    1: [8],
    2: [4, 8],
    4: [2, 4, 6, 8],
    8: [1, 2, 3, 4, 5, 6, 7, 8],
    16: [0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5, 7, 7.5, 8],
    6: [2, 4, 6, 8, 1, 3],
    12: [1, 2, 3, 4, 5, 6, 7, 8, 0.5, 1.5, 2.5, 3.5],
}


@pytest.mark.parametrize("heads", EXPONENTS)
def test_slopes_are_those_of_the_paper(heads):
    slopes = alibi_slopes(heads)
    assert slopes.dtype == torch.float32 and slopes.shape == (heads,)
    torch.testing.assert_close(slopes, torch.tensor([0.5**e for e in EXPONENTS[heads]]))


@pytest.mark.parametrize("heads", range(1, 33))
def test_slopes_differ_from_head_to_head_and_stay_between_0_and_1(heads):
    slopes = alibi_slopes(heads)
    assert len(set(slopes.tolist())) == heads
    assert (slopes > 0).all() and (slopes < 1).all()


@pytest.mark.parametrize("heads", [2, 4, 6, 16])
@pytest.mark.parametrize("frame", [1, 16, 64])
def test_half_of_the_two_scale_heads_see_one_frame_back_as_the_others_see_one_token_back(heads, frame):
    near, far = alibi_bias(two_scale_slopes(heads, frame), 1, frame + 1)[:, 0].chunk(2)  # (N / 2, frame + 1)
    torch.testing.assert_close(far[:, 0], -alibi_slopes(heads // 2))  # one frame back
    torch.testing.assert_close(near[:, -2], -alibi_slopes(heads // 2))  # one token back
    torch.testing.assert_close(two_scale_slopes(heads, frame, 4.0)[heads // 2 :], -4 * far[:, -2])


@pytest.mark.parametrize("heads, frame, multiplier", [(3, 16, 1.0), (0, 16, 1.0), (4, 0, 1.0), (4, 16, 0.0)])
def test_impossible_two_scale_slopes_are_refused(heads, frame, multiplier):
    with pytest.raises(ValueError, match="two_scale_slopes"):
        two_scale_slopes(heads, frame, multiplier)


def test_no_heads_are_refused():
    with pytest.raises(ValueError, match="at least one head"):
        alibi_slopes(0)


# --- bias ---------------------------------------------------------------------------------------------------


def test_bias_by_hand():
    inf = math.inf
    expected = [[[-1.0, -0.5, 0.0, -inf], [-1.5, -1.0, -0.5, 0.0]], [[-2.0, -1, 0, -inf], [-3, -2, -1, 0]]]
    assert alibi_bias(torch.tensor([0.5, 1.0]), 2, 4).tolist() == expected
    expected = [[[-inf, -0.5, 0.0, -inf], [-inf, -inf, -0.5, 0.0]]]
    assert alibi_bias(torch.tensor([0.5]), 2, 4, window=2).tolist() == expected


def test_a_bias_belongs_to_who_asked_for_it():
    slopes, (q, k, v) = alibi_slopes(2), qkv()
    before = attention(q, k, v, slopes, "sdpa")
    alibi_bias(slopes, 7, 7).zero_()
    assert torch.equal(before, attention(q, k, v, slopes, "sdpa"))


# --- numbers ------------------------------------------------------------------------------------------------


def test_reference_by_hand():
    """One head at a time, one query at a time, in plain Python."""
    q, k, v = qkv(B=1, Lq=2, Lk=4, N=2, D=3)
    slopes = [0.25, 0.5]
    out = attention(q, k, v, torch.tensor(slopes), "reference")
    for n, slope in enumerate(slopes):
        for i, position in enumerate((2, 3)):
            seen = range(position + 1)
            scores = [float(q[0, i, n] @ k[0, j, n]) / 3**0.5 - slope * (position - j) for j in seen]
            total = sum(math.exp(score) for score in scores)
            expected = sum(math.exp(score) / total * v[0, j, n] for j, score in zip(seen, scores))
            torch.testing.assert_close(out[0, i, n], expected)


@pytest.mark.parametrize("backend", HERE)
@pytest.mark.parametrize("N", [1, 2, 6, 8])
@pytest.mark.parametrize("Lq, Lk", [(1, 1), (1, 9), (7, 7), (16, 16), (3, 11), (12, 33)])
@pytest.mark.parametrize("window", [None, 4])
def test_backends_agree(backend, N, Lq, Lk, window):
    q, k, v = qkv(Lq=Lq, Lk=Lk, N=N)
    out = attention(q, k, v, alibi_slopes(N), backend, window)
    assert out.shape == q.shape and out.dtype == q.dtype
    expected = attention(q, k, v, alibi_slopes(N), "reference", window)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("backend", HERE)
def test_backends_agree_beyond_one_block_of_the_kernels(backend):
    """Fused kernels work in blocks of keys; with a window whole blocks are out of sight."""
    q, k, v = qkv(Lq=600, Lk=1100)
    for window in (None, 16):
        out = attention(q, k, v, alibi_slopes(2), backend, window)
        expected = attention(q, k, v, alibi_slopes(2), "reference", window)
        torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("backend", HERE)
def test_slices_of_one_projection_will_do(backend):
    """q, k and v as a model makes them: strided views of one tensor."""
    q, k, v = torch.randn(2, 9, 3, 4, 8, generator=torch.Generator().manual_seed(0)).unbind(2)
    expected = attention(q.contiguous(), k.contiguous(), v.contiguous(), alibi_slopes(4), "reference")
    torch.testing.assert_close(attention(q, k, v, alibi_slopes(4), backend), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("backend", HERE)
def test_bfloat16_stays_bfloat16(backend):
    q, k, v = qkv(dtype=torch.bfloat16)
    out = attention(q, k, v, alibi_slopes(2), backend)
    expected = attention(q.float(), k.float(), v.float(), alibi_slopes(2), "reference")
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), expected, atol=3e-2, rtol=3e-2)


def test_reference_is_exact_under_autocast():
    q, k, v = qkv()
    expected = attention(q, k, v, alibi_slopes(2), "reference")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(attention(q, k, v, alibi_slopes(2), "reference"), expected)


@pytest.mark.parametrize("backend", TRAINABLE)
def test_gradients_agree(backend):
    slopes, grads = alibi_slopes(6), {}
    for name in ("reference", backend):
        q, k, v = (x.requires_grad_() for x in qkv(Lq=5, Lk=9, N=6))
        attention(q, k, v, slopes, name).square().sum().backward()
        grads[name] = (q.grad, k.grad, v.grad)
    for got, expected in zip(grads[backend], grads["reference"]):
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def check_cached(fn, m, L=12, N=4):
    """Attention of the last ``m`` queries over all keys is the last ``m`` rows of the full attention."""
    q, k, v = qkv(Lq=L, Lk=L, N=N)
    full = fn(q, k, v, alibi_slopes(N))
    last = fn(q[:, -m:], k, v, alibi_slopes(N))
    torch.testing.assert_close(last, full[:, -m:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("backend", HERE)
@pytest.mark.parametrize("m", [1, 2, 5, 12])
@pytest.mark.parametrize("window", [None, 3])
def test_the_last_queries_over_all_keys_are_the_last_rows(backend, m, window):
    check_cached(lambda q, k, v, slopes: attention(q, k, v, slopes, backend, window), m)


# --- no look into the future --------------------------------------------------------------------------------


def moved(fn, L=13, N=4, D=8, dtype=torch.float32):
    """``(L, L)``: entry [k, i] tells whether output i moved, in any head and in every head, with token k.

    A token is perturbed before it is projected to q, k and v, as in a model.
    """
    draw = torch.Generator().manual_seed(0)
    tokens = torch.randn(1, L, 16, generator=draw).repeat(2, 1, 1)
    project = torch.randn(16, 3 * N * D, generator=draw) / 4
    bump = torch.randn(16, generator=draw)
    slopes = alibi_slopes(N)

    def run(tokens):
        with torch.no_grad():
            q, k, v = (tokens @ project).to(dtype).view(2, L, 3, N, D).unbind(2)
            return fn(q, k, v, slopes)[0]  # (L, N, D)

    still, any_head, every_head = run(tokens), [], []
    for k in range(L):
        perturbed = tokens.clone()
        perturbed[:, k] += bump
        heads = (run(perturbed) != still).any(dim=-1)  # (L, N): exactly equal, or it moved
        any_head.append(heads.any(dim=-1))
        every_head.append(heads.all(dim=-1))
    return torch.stack(any_head), torch.stack(every_head)


def check_causal(fn, window=None, dtype=torch.float32):
    """With token k move the outputs from k on (up to the window), in every head, and no other output."""
    any_head, every_head = moved(fn, dtype=dtype)
    k, i = torch.arange(13)[:, None], torch.arange(13)[None, :]
    reach = 13 if window is None else window
    leaks = (any_head & (i < k)).nonzero().tolist()
    assert not leaks, f"the future leaks: [token, output before it that moved] {leaks[:5]}"
    blind = (~every_head & (i >= k) & (i - k < reach)).nonzero().tolist()
    assert not blind, f"the past is not seen: [token, output after it that stayed] {blind[:5]}"
    beyond = (any_head & (i - k >= reach)).nonzero().tolist()
    assert not beyond, f"the window leaks: [token, output out of reach that moved] {beyond[:5]}"


@pytest.mark.parametrize("backend", HERE)
@pytest.mark.parametrize("window", [None, 1, 3])
def test_an_output_moves_with_its_own_and_earlier_tokens_only(backend, window):
    check_causal(lambda q, k, v, slopes: attention(q, k, v, slopes, backend, window), window)


def heads_first(q, k, v, slopes):
    """Planted: handed to torch's kernel as they are, heads take the place of positions."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def reshaped(q, k, v, slopes):
    """Planted: reshaped where it had to be transposed, which mixes heads with positions."""
    B, L, N, D = q.shape
    q, k, v = (x.reshape(B, N, L, D) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).reshape(B, L, N, D)


def merged_wrongly(q, k, v, slopes):
    """Planted: right until the end, where the heads are not moved back behind the positions."""
    B, L, N, D = q.shape
    out = F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v)), is_causal=True)
    return out.reshape(B, L, N, D)


def unmasked(q, k, v, slopes):
    """Planted: no mask at all."""
    return F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v))).transpose(1, 2)


def one_too_far(q, k, v, slopes):
    """Planted: the diagonal off by one."""
    L = q.shape[1]
    mask = torch.ones(L, L, dtype=torch.bool).tril(1)
    out = F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v)), attn_mask=mask)
    return out.transpose(1, 2)


def top_left(q, k, v, slopes):
    """Planted: torch's is_causal, which is aligned top-left."""
    out = F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v)), is_causal=True)
    return out.transpose(1, 2)


@pytest.mark.parametrize("broken", [heads_first, reshaped, merged_wrongly, unmasked, one_too_far])
def test_the_checker_of_causality_flags_planted_mistakes(broken):
    with pytest.raises(AssertionError, match=r"the future leaks|the past is not seen"):
        check_causal(broken)


def test_the_checker_of_windows_flags_a_missing_window():
    with pytest.raises(AssertionError, match="the window leaks"):
        check_causal(lambda q, k, v, slopes: attention(q, k, v, slopes, "sdpa"), window=3)


def test_the_checker_of_caches_flags_a_mask_aligned_top_left():
    check_causal(top_left)  # with as many queries as keys nothing shows
    with pytest.raises(AssertionError, match="not close"):
        check_cached(top_left, 3)


@pytest.mark.parametrize("backend", TRAINABLE)
def test_no_gradient_reaches_a_later_token(backend):
    L, N, D = 9, 2, 8
    draw = torch.Generator().manual_seed(0)
    tokens = torch.randn(1, L, 16, generator=draw, requires_grad=True)
    weights = 0.3 * torch.randn(16, 3 * N * D, generator=draw)  # small: no softmax rounds a key away
    q, k, v = (tokens @ weights).view(1, L, 3, N, D).unbind(2)
    out = attention(q, k, v, alibi_slopes(N), backend)
    for i in range(L):
        (grad,) = torch.autograd.grad(out[:, i].sum(), tokens, retain_graph=True)
        reached = (grad[0] != 0).any(dim=-1)
        assert reached.tolist() == [j <= i for j in range(L)]


@pytest.mark.parametrize("L", [1, 127, 128, 129, 300, 777])
def test_the_backward_pass_of_the_cpu_is_the_definitions_for_sequences_of_several_blocks(L):
    draw = torch.Generator().manual_seed(L)
    q, k, v, grad = torch.randn(4, 2, L, 4, 12, generator=draw)
    slopes = two_scale_slopes(4, 16)  # the steepest head comes to 0 along 777 positions, the flattest to 1/30
    found = []
    for backend in ("sdpa", "reference"):
        inputs = [x.clone().requires_grad_() for x in (3 * q, k, v)]
        out = attention(*inputs, slopes, backend)
        found.append([out.detach(), *torch.autograd.grad(out, inputs, grad)])
    assert CausalAttention.__name__ in type(attention(*inputs, slopes, "sdpa").grad_fn.next_functions[0][0]).__name__
    for ours, theirs in zip(*found):
        torch.testing.assert_close(ours, theirs, atol=3e-5, rtol=3e-5)


# --- the mask and its cache ---------------------------------------------------------------------------------


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("Lq, Lk", [(9, 9), (1, 9)])
def test_sdpa_gets_the_fast_kernel_of_the_cpu(grad, Lq, Lk):
    q, k, v = (x.requires_grad_(grad) for x in qkv(Lq=Lq, Lk=Lk))
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION]):  # raises where this kernel cannot serve
        attention(q, k, v, alibi_slopes(2), "sdpa")


@pytest.mark.parametrize("Lq, Lk", [(7, 7), (6, 6), (4, 11), (1, 5)])
@pytest.mark.parametrize("window", [None, 2, 5])
@pytest.mark.parametrize("block", [1, 3])
def test_queries_in_blocks_get_the_numbers_and_gradients_of_the_whole(Lq, Lk, window, block, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", block)
    results = []
    for backend in ("sdpa", "reference"):
        tensors = [x.requires_grad_() for x in qkv(Lq=Lq, Lk=Lk)]
        out = attention(*tensors, alibi_slopes(2), backend=backend, window=window)
        results.append([out, *torch.autograd.grad(out.sin().sum(), tensors)])
    for ours, truth in zip(*results, strict=True):
        torch.testing.assert_close(ours, truth, atol=1e-5, rtol=1e-5)


@pytest.fixture
def elsewhere(monkeypatch):
    """Off the CPU's road: what MPS and CUDA are given, run by a CPU, in blocks of 4 queries."""
    monkeypatch.setattr(module, "BLOCK", 4)
    monkeypatch.setattr(module, "_blocks_on_cpu", module._blocks_elsewhere)


@pytest.mark.parametrize("Lq, Lk", [(3, 3), (11, 11), (12, 12), (6, 15), (1, 9)])
@pytest.mark.parametrize("window", [None, 2, 6])
@pytest.mark.parametrize("N", [1, 6])
def test_off_the_cpu_queries_in_blocks_get_the_numbers_and_gradients_of_the_whole(elsewhere, Lq, Lk, window, N):
    results = []
    for backend in ("sdpa", "reference"):
        tensors = [x.requires_grad_() for x in qkv(Lq=Lq, Lk=Lk, N=N)]
        out = attention(*tensors, alibi_slopes(N), backend, window)
        with torch.no_grad():  # another road: nothing is computed twice
            torch.testing.assert_close(out, attention(*tensors, alibi_slopes(N), backend, window))
        results.append([out, *torch.autograd.grad(out.sin().sum(), tensors)])
    for ours, truth in zip(*results, strict=True):
        torch.testing.assert_close(ours, truth, atol=1e-5, rtol=1e-5)


def test_off_the_cpu_one_mask_of_a_block_of_queries_serves_all_and_no_scores_are_kept(elsewhere, monkeypatch):
    made, kept, kernel = [], [], F.scaled_dot_product_attention
    monkeypatch.setattr(module, "_cached_mask", lambda *a: made.append(a[1:3]) or _uncached(*a))
    q, k, v = (x.requires_grad_() for x in qkv(B=1, Lq=40, Lk=50, N=1, D=2))
    seen = []
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *a: seen.append(a[3].shape[2:]) or kernel(*a))
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        out = attention(q, k, v, alibi_slopes(1), "sdpa")
    assert made == [(4, 50)] and seen == [(4, 14 + 4 * i) for i in range(10)]
    assert max(kept, default=0) <= k.numel() < 4 * 50, "a block's weights or mask wait for the backward pass"
    out.sum().backward()
    assert q.grad.isfinite().all()


_uncached = module._cached_mask.__wrapped__


def test_layers_share_one_mask():
    module._cached_mask.cache_clear()
    for _ in range(3):
        attention(*qkv(), alibi_slopes(2), "sdpa")
    assert module._cached_mask.cache_info().misses == 1


def test_no_mask_is_larger_than_a_block_of_queries(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 4)
    made = []
    monkeypatch.setattr(module, "_cached_mask", lambda *a: made.append(a) or _uncached(*a))
    attention(*qkv(Lq=11, Lk=15), alibi_slopes(2), "sdpa")
    assert [(Lq, Lk) for _, Lq, Lk, *_ in made] == [(4, 8), (4, 12), (3, 15)]


def test_other_slopes_get_another_mask():
    q, k, v = qkv()
    slopes = alibi_slopes(2)
    attention(q, k, v, slopes, "sdpa")
    slopes.mul_(3)  # in place: the tensor is the same, its values are not
    expected = attention(q, k, v, slopes, "reference")
    torch.testing.assert_close(attention(q, k, v, slopes, "sdpa"), expected, atol=1e-5, rtol=1e-5)


def test_slopes_off_the_cpu_are_read_again_when_written_into():
    slopes = alibi_slopes(2)
    before = module._values_of_version(slopes, slopes._version)
    slopes.mul_(3)
    assert module._values_of_version(slopes, slopes._version) == tuple(3 * value for value in before)


def test_a_mask_made_while_sampling_serves_training():
    slopes = alibi_slopes(2)
    module._cached_mask.cache_clear()
    with torch.inference_mode():
        attention(*qkv(), slopes, "sdpa")
    q, k, v = (x.requires_grad_() for x in qkv())
    attention(q, k, v, slopes, "sdpa").sum().backward()
    assert q.grad.isfinite().all()


def test_it_compiles_to_one_graph():
    q, k, v = qkv()
    compiled = torch.compile(attention, backend="eager", fullgraph=True)
    expected = attention(q, k, v, alibi_slopes(2), "sdpa")
    torch.testing.assert_close(compiled(q, k, v, alibi_slopes(2), "sdpa"), expected, atol=1e-5, rtol=1e-5)


# --- flash, without a GPU -----------------------------------------------------------------------------------


@pytest.fixture
def flash(monkeypatch):
    """A stand-in for flash-attn that insists on its contract; lists the calls it got."""
    calls = fake_flash.install(monkeypatch)
    yield calls
    module._flash_attn_func.cache_clear()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("N", [1, 2, 6, 8])
@pytest.mark.parametrize("Lq, Lk", [(7, 7), (3, 11), (1, 9)])
@pytest.mark.parametrize("window", [None, 4])
def test_flash_gets_what_it_asks_for_and_gives_the_numbers_of_the_reference(flash, dtype, N, Lq, Lk, window):
    q, k, v = qkv(Lq=Lq, Lk=Lk, N=N, dtype=dtype)
    slopes = alibi_slopes(2 * N)[::2].double()  # neither contiguous nor fp32
    out = attention(q, k, v, slopes, "flash", window)
    expected = attention(q, k, v, slopes, "reference", window)
    assert flash == [(Lq, Lk)] and out.dtype == dtype
    torch.testing.assert_close(out, expected)


@pytest.mark.parametrize("window", [None, 3])
def test_flash_keeps_the_laws(flash, window):
    def fn(q, k, v, slopes):
        return attention(q, k, v, slopes, "flash", window)

    check_causal(fn, window, dtype=torch.float16)
    check_cached(lambda q, k, v, slopes: fn(q.half(), k.half(), v.half(), slopes), 3)
    assert flash


def test_auto_takes_flash_where_it_can_run_and_sdpa_elsewhere(flash):
    assert available_backends("cpu")[0] == "flash"
    attention(*qkv(), alibi_slopes(2))  # fp32
    attention(*qkv(D=264, dtype=torch.float16), alibi_slopes(2))  # heads too wide
    assert flash == []
    attention(*qkv(dtype=torch.bfloat16), alibi_slopes(2))
    assert flash == [(7, 7)]


WIDTHS = {1: (8, 16), 8: (8, 16), 12: (16, 16), 16: (16, 16), 20: (24, 32), 48: (48, 64), 129: (136, 256)}


@pytest.mark.parametrize("D", WIDTHS)
def test_heads_of_any_width_are_widened_to_what_a_kernel_takes(D, flash):
    assert (module.padded_width("flash", D), module.padded_width("flex", D)) == WIDTHS[D]
    assert module.padded_width("sdpa", D) == D
    q, k, v = qkv(Lq=5, Lk=9, D=D)
    for backend, dtype in (("flex", torch.float32), ("flash", torch.float16)):
        some = [x.to(dtype) for x in (q, k, v)]
        out = attention(*some, alibi_slopes(2), backend)
        torch.testing.assert_close(out, attention(*some, alibi_slopes(2), "reference"))
    assert flash == [(5, 9)]


def test_gradients_come_back_through_the_widening(flash):
    grads = {}
    for backend in ("flash", "reference"):
        q, k, v = (x.requires_grad_() for x in qkv(Lq=5, Lk=9, D=12, dtype=torch.bfloat16))
        attention(q, k, v, alibi_slopes(2), backend).float().square().sum().backward()
        grads[backend] = [q.grad, k.grad, v.grad]
    for ours, truth in zip(grads["flash"], grads["reference"]):
        torch.testing.assert_close(ours, truth, atol=5e-2, rtol=5e-2)


@pytest.mark.parametrize(
    "device, capability, dtype, width, backend",
    [
        ("cuda", (8, 0), torch.bfloat16, 64, "flash"),
        ("cuda", (9, 0), torch.float16, 20, "flash"),
        ("cuda", (9, 0), torch.bfloat16, 256, "flash"),
        ("cuda", (9, 0), torch.bfloat16, 257, "sdpa"),
        ("cuda", (9, 0), torch.float32, 64, "sdpa"),
        ("cuda", (7, 5), torch.float16, 64, "sdpa"),
        ("mps", None, torch.float16, 64, "sdpa"),
        ("cpu", None, torch.bfloat16, 64, "sdpa"),
    ],
)
def test_auto_chooses_by_device_dtype_and_width_alone(device, capability, dtype, width, backend, monkeypatch):
    monkeypatch.setattr(module, "_flash_attn_func", lambda: fake_flash.flash_attn_func)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert auto_backend(torch.device(device), dtype, width) == backend


def test_auto_does_without_flash_when_it_is_not_installed(monkeypatch, flash):
    monkeypatch.setitem(sys.modules, "flash_attn", None)  # importing it now fails
    module._flash_attn_func.cache_clear()
    q, k, v = qkv(dtype=torch.bfloat16)
    assert "flash" not in available_backends("cpu")
    assert torch.equal(attention(q, k, v, alibi_slopes(2)), attention(q, k, v, alibi_slopes(2), "sdpa"))
    with pytest.raises(RuntimeError, match="not installed"):
        attention(q, k, v, alibi_slopes(2), "flash")


def test_flash_refuses_fp32_by_name(flash):
    with pytest.raises(RuntimeError, match=r"float16 or bfloat16, the tensors are torch\.float32"):
        attention(*qkv(), alibi_slopes(2), "flash")


# --- errors -------------------------------------------------------------------------------------------------


def test_flash_without_cuda_says_so():
    with pytest.raises(RuntimeError, match="needs a CUDA GPU"):
        attention(*qkv(dtype=torch.bfloat16), alibi_slopes(2), "flash")
    assert available_backends("cpu") == ("flex", "sdpa", "reference")


def test_flex_with_gradients_on_a_cpu_says_what_to_do():
    q, k, v = qkv()
    with pytest.raises(RuntimeError, match="no backward on a CPU; use 'sdpa'"):
        attention(q.requires_grad_(), k, v, alibi_slopes(2), "flex")


@pytest.mark.parametrize("backend", ["auto", *HERE])
def test_heads_before_positions_are_caught(backend):
    q, k, v = (x.transpose(1, 2) for x in qkv(Lq=7, Lk=9))  # (B, N, L, D)
    with pytest.raises(ValueError, match=r"q looks like \(B, N, L, D\)"):
        attention(q, k, v, alibi_slopes(2), backend)


def disagreements():
    q, k, v = qkv(Lq=5, Lk=7)
    slopes = alibi_slopes(2)
    return {
        "unknown backend 'fast'": (q, k, v, slopes, "fast"),
        "5 heads|2 heads in q but 3 slopes": (q, k, v, alibi_slopes(3)),
        "keys and values of different lengths": (q, k, v[:, 1:], slopes),
        "keys of other heads": (q, k[:, :, :1], v[:, :, :1], slopes),
        "keys of another batch": (q, k[:1], v[:1], slopes),
        "keys of another width": (q, k[..., 1:], v[..., 1:], slopes),
        "takes q, k, v": (q[0], k[0], v[0], slopes),
        "slopes as a matrix": (q, k, v, slopes[None]),
        "7 queries for 5 keys": (k, q, q, slopes),
        "no queries": (q[:, :0], k, v, slopes),
        "mixed dtypes": (q.half(), k, v, slopes),
        "slopes that learn": (q, k, v, slopes.clone().requires_grad_()),
        "no window": (q, k, v, slopes, "sdpa", 0),
    }


MESSAGES = {
    "unknown backend 'fast'": "unknown backend 'fast'; use 'auto' or one of flash, flex, sdpa, reference",
    "5 heads|2 heads in q but 3 slopes": "2 heads in q but 3 slopes",
    "keys and values of different lengths": "disagree",
    "keys of other heads": "disagree",
    "keys of another batch": "disagree",
    "keys of another width": "disagree",
    "takes q, k, v": r"takes q, k, v \(B, L, N, D\)",
    "slopes as a matrix": r"slopes \(N,\)",
    "7 queries for 5 keys": "7 queries for 5 keys",
    "no queries": "0 queries for 7 keys",
    "mixed dtypes": "q is torch.float16, k torch.float32",
    "slopes that learn": "require grad",
    "no window": "window is 0",
}


@pytest.mark.parametrize("what", MESSAGES)
def test_what_disagrees_is_named(what):
    with pytest.raises(ValueError, match=MESSAGES[what]):
        attention(*disagreements()[what])
