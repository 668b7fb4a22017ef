"""Laws of VQ: the nearest code, averages as the field has them, nothing changes when it should not, no code is lost."""

import math

import pytest
import torch
from torch import nn

from vg.evaluation import usage
from vg.models import FSQ, FSQ_LEVELS, VQ
from vg.models.frozen import Freezable
from vg.models.quantizers import kmeans, nearest
from vg.training import Recipe, fit

K, D = 32, 6


def quantizer(seed=0, **options):
    torch.manual_seed(seed)
    return VQ(K, D, **options)


def vectors(seed=1, n=400, spread=1.0):
    """From 40 heaps of unequal size: some codes get a lot of them."""
    draw = torch.Generator().manual_seed(seed)
    heap = (40 * torch.rand(n, generator=draw) ** 2).long()
    middle = torch.randn(40, D, generator=torch.Generator().manual_seed(99))
    return spread * (middle[heap] + 0.1 * torch.randn(n, D, generator=draw))


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# ---- the field's reference


def reference(ours):
    """vector-quantize-pytorch with the same codebook and the same averages."""
    from vector_quantize_pytorch import VectorQuantize

    theirs = VectorQuantize(dim=D, codebook_size=K, decay=0.99, commitment_weight=0.25, rotation_trick=False).train()
    book = theirs._codebook
    for mine, their in ((ours.codebook, book.embed), (ours.sums, book.embed_avg), (ours.counts, book.cluster_size)):
        their.copy_(mine[None])
    return theirs


@pytest.mark.parametrize("data_init", [True, False])
def test_fifty_steps_agree_with_vector_quantize_pytorch_in_codes_averages_and_loss(data_init):
    ours = quantizer(data_init=data_init, restart=False)
    ours(vectors())
    theirs = reference(ours)
    for step in range(50):
        z = vectors(seed=step + 2).view(4, 100, D)
        before = ours.codebook.clone()
        codes, indices = ours(z)
        their_codes, their_indices, their_loss = theirs(z)
        assert torch.equal(indices, their_indices)
        torch.testing.assert_close(codes, their_codes)
        assert torch.equal(codes, before[indices]), "codes are rows of the codebook, to the last bit"
        torch.testing.assert_close(ours.loss(z, codes, indices), their_loss.squeeze())
        book = theirs._codebook
        torch.testing.assert_close(ours.codebook, book.embed[0])
        torch.testing.assert_close(ours.sums, book.embed_avg[0])
        torch.testing.assert_close(ours.counts, book.cluster_size[0])


@pytest.mark.parametrize("levels", FSQ_LEVELS.values(), ids=str)
def test_fsq_agrees_with_vector_quantize_pytorch_in_codes_and_indices(levels):
    from vector_quantize_pytorch import FSQ as Theirs

    theirs, ours = Theirs(list(levels)), FSQ(levels)
    z = 3 * torch.randn(2, 2000, len(levels), generator=torch.Generator().manual_seed(0))
    codes, indices = ours(z)
    their_codes, their_indices = theirs(z)
    torch.testing.assert_close(codes, their_codes)
    assert torch.equal(indices, their_indices.long())
    torch.testing.assert_close(ours.codes(indices), theirs.indices_to_codes(their_indices))


# ---- what it computes


def test_the_code_is_the_nearest_one():
    codebook, z = torch.randn(K, D), torch.randn(500, D)
    assert torch.equal(nearest(z, codebook), torch.cdist(z.double(), codebook.double()).argmin(1))


@pytest.mark.parametrize("scale", [1e-30, 1e-10, 1.0, 1e10, 1e30])
def test_the_scale_of_everything_changes_no_index(scale):
    codebook, z = torch.randn(K, D), torch.randn(500, D)
    assert torch.equal(nearest(z * scale, codebook * scale), nearest(z, codebook))


@pytest.mark.parametrize("scale", [0.0, 1e-38, 1e38])
def test_huge_and_tiny_vectors_are_codes_too_and_do_not_disturb_the_others(scale):
    model = quantizer().eval()
    z = vectors()
    odd = torch.cat([z, torch.full((1, D), scale)])
    codes, indices = model(odd)
    assert torch.equal(indices[:-1], model(z)[1])
    assert codes.isfinite().all() and torch.equal(codes, model.codebook[indices])


def test_half_precision_autocast_and_strides_change_no_index():
    model = quantizer().eval()
    z = vectors().T.contiguous().T
    assert not z.is_contiguous()
    with torch.autocast("cpu", torch.bfloat16):
        codes, indices = model(z)
        assert model.loss(z, codes, indices).dtype == torch.float32
    assert codes.dtype == torch.float32 and torch.equal(indices, model(z.contiguous())[1])
    assert torch.equal(model(z.half())[1], model(z.half().float())[1])
    assert model.loss(z.half(), *model(z.half())).dtype == torch.float32


def test_the_gradient_goes_straight_to_the_vectors_and_commitment_pulls_them_to_their_codes():
    model = quantizer().eval()
    z = vectors(n=20).requires_grad_()
    weights = torch.randn(20, D)
    codes, indices = model(z)
    (codes * weights).sum().backward()
    assert torch.equal(z.grad, weights)
    z.grad = None
    model.loss(z, codes, indices).backward()
    torch.testing.assert_close(z.grad, 0.25 * 2 * (z - model.codebook[indices]).detach() / z.numel())


def test_without_averages_the_codebook_learns_from_its_loss_and_the_vectors_from_commitment():
    model = quantizer(decay=None, restart=False, data_init=False)
    z = vectors(n=20).requires_grad_()
    before = model.codebook.detach().clone()
    codes, indices = model(z)
    assert torch.equal(model.codebook, before), "no averages"
    model.loss(z, codes, indices).backward()
    pull = torch.zeros(K, D).index_add_(0, indices, 2 * (before[indices] - z.detach()) / z.numel())
    torch.testing.assert_close(model.codebook.grad, pull)
    torch.testing.assert_close(z.grad, 0.25 * 2 * (z.detach() - before[indices]) / z.numel())


def test_nan_infinity_wrong_shapes_and_numbers_are_named():
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="1 of the vectors"):
            quantizer()(torch.tensor([[bad] + [0.0] * (D - 1), [0.0] * D]))
    with pytest.raises(ValueError, match=rf"\(4, 3\).*{D}"):
        quantizer()(torch.zeros(4, 3))
    for wrong in [dict(size=1), dict(channels=0), dict(decay=1.0), dict(commitment=-1.0)]:
        with pytest.raises(ValueError, match="expected"):
            VQ(**(dict(size=K, channels=D) | wrong))


def test_a_bad_batch_changes_nothing():
    model = quantizer()
    model(vectors())
    before = state(model)
    with pytest.raises(ValueError):
        model(torch.full((3, D), math.nan))
    assert same(before, state(model))


@pytest.mark.parametrize("kind", [VQ(K, D), VQ(K, D, decay=None), FSQ((8, 6, 5))], ids=["EMA", "loss", "FSQ"])
def test_quantizers_are_interchangeable(kind):
    z = torch.randn(2, 3, 4, kind.channels)
    codes, indices = kind(z)
    assert codes.shape == z.shape and indices.shape == z.shape[:-1] and indices.dtype == torch.int64
    assert kind.loss(z, codes, indices).shape == ()
    assert kind.size == math.prod(kind.levels) and kind.bits_per_code == math.log2(kind.size)
    kind.eval()
    torch.testing.assert_close(kind.codes(kind(z)[1]), kind(z)[0])


# ---- the beginning


def test_the_first_batch_initialises_and_only_in_training():
    model = quantizer()
    before = state(model)
    model.eval()(vectors())
    assert same(before, state(model)) and not model.initialised
    model.train()(vectors())
    assert model.initialised
    error = (vectors() - model.eval()(vectors())[0]).square().mean()
    assert error < 0.1 * vectors().var(), "k-means finds the heaps"


def test_kmeans_leaves_each_centre_in_the_middle_of_its_vectors():
    torch.manual_seed(0)
    z = vectors()
    means = kmeans(z, 8, steps=100)
    indices = nearest(z, means)
    for i in indices.unique():
        torch.testing.assert_close(z[indices == i].mean(0), means[i], atol=1e-5, rtol=1e-5)
    assert kmeans(z[:3], 8).shape == (8, D)


def test_fewer_vectors_than_codes_are_enough_to_begin_with():
    model = quantizer()
    for step in range(10):
        codes, _ = model(vectors(seed=step, n=7))
    assert codes.isfinite().all() and model.codebook.isfinite().all()


# ---- restarts


def toy(restart, decay=0.99, steps=300):
    """Small random codes far from the data: few are ever nearest to anything."""
    model = quantizer(data_init=False, restart=restart, decay=decay)
    optimizer = torch.optim.Adam([p for p in model.parameters()] or [torch.zeros(1, requires_grad=True)], 1e-2)
    for step in range(steps):
        z = 5 + vectors(seed=step)
        loss = model.loss(z, *model(z))
        if decay is None:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return usage(model.eval()(5 + vectors(seed=1000, n=2000))[1], K)


@pytest.mark.parametrize("decay", [0.99, None])
def test_a_codebook_collapses_without_restarts_and_not_with_them(decay):
    assert toy(restart=False, decay=decay) < 0.5
    assert toy(restart=True, decay=decay) > 0.9


@pytest.mark.parametrize("decay", [0.99, None])
def test_a_restarted_code_lies_on_a_vector_with_counts_and_sums_to_match(decay):
    model = quantizer(decay=decay)
    model(vectors())
    with torch.no_grad():
        model.counts[3] = 1e-4
        model.codebook[3] = 100.0
        model.sums[3] = 1e-2
    z = vectors(seed=5)
    model(z)
    assert (model.codebook[3] == z).all(1).any(), "it was not put onto a vector"
    assert model.counts[3] > 0.5 * model.counts.mean()
    torch.testing.assert_close(model.sums[3] / model.counts[3], model.codebook[3].detach())
    one = model.codebook[3].detach().expand(200, D)
    model(one)
    torch.testing.assert_close(model.codebook[3].detach(), one[0], atol=1e-3, rtol=0)


def test_a_code_in_use_is_not_restarted():
    model, without = quantizer(), quantizer(restart=False)
    model(vectors())
    model.counts.clamp_(min=1.0)
    model.counts[3] = 0.0
    without.load_state_dict(model.state_dict())
    model(vectors(seed=5))
    without(vectors(seed=5))
    moved = (model.codebook != without.codebook).any(1)
    assert moved.nonzero().flatten().tolist() == [3]


# ---- nothing changes when nothing should


class Tokenizer(Freezable):
    def __init__(self, **options):
        super().__init__()
        self.map, self.quantizer = nn.Linear(D, D), VQ(K, D, **options)

    def forward(self, x):
        z = self.map(x)
        codes, indices = self.quantizer(z)
        return codes, self.quantizer.loss(z, codes, indices)


class Outer(nn.Module):
    def __init__(self, tokenizer):
        super().__init__()
        self.tokenizer, self.head = tokenizer, nn.Linear(D, D)


@pytest.mark.parametrize("decay", [0.99, None])
def test_a_frozen_one_is_the_same_after_a_thousand_passes_inside_a_model_that_trains(decay):
    torch.manual_seed(0)
    tokenizer = Tokenizer(decay=decay)
    tokenizer(vectors())
    outer = Outer(tokenizer.freeze())
    before, head = state(tokenizer), outer.head.weight.detach().clone()
    optimizer = torch.optim.Adam([p for p in outer.parameters() if p.requires_grad], 1e-2)
    for step in range(1000):
        outer.train()
        x = vectors(seed=step, n=20, spread=3.0)
        codes, _ = outer.tokenizer(x)
        optimizer.zero_grad()
        (outer.head(codes) - x).square().mean().backward()
        optimizer.step()
    assert outer.training and not torch.equal(outer.head.weight, head)
    assert same(before, state(tokenizer))


def test_evaluation_changes_nothing_and_a_frozen_quantizer_stays_frozen_on_its_own():
    model = quantizer()
    model(vectors())
    before = state(model)
    for _ in range(100):
        model.eval()(vectors(seed=7, spread=3.0))
    nn.Sequential(model.freeze()).train()(vectors(seed=7, spread=3.0))
    assert same(before, state(model))


# ---- save, resume, many processes


def tokenizer_loss(model, x):
    codes, loss = model(x)
    return (codes - x).square().mean() + loss


def draw(generator):
    return torch.randn(64, D, generator=generator)


@pytest.mark.parametrize("decay", [0.99, None])
def test_a_resumed_run_ends_with_the_codebook_of_one_that_was_not_stopped(tmp_path, decay):
    recipe = Recipe(steps=12, lr=1e-2, warmup=2)

    def run(seed, **options):
        torch.manual_seed(seed)
        return fit(Tokenizer(decay=decay), tokenizer_loss, draw, recipe, progress=False, **options)

    whole = run(0)
    run(0, folder=tmp_path, stop_at=5)
    parts = run(99, folder=tmp_path)
    assert whole.model.quantizer.initialised
    assert same(state(whole.model), state(parts.model))
