"""Muon agrees with the singular value decomposition, and with torch's own where torch has it."""

import copy

import pytest
import torch
from torch import nn

from vg.training.muon import Muon, orthogonalize


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4), (2, 5, 3)])
def test_orthogonalizing_keeps_the_directions_and_makes_their_lengths_about_one(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    lengths = u.mT @ orthogonalize(matrices, 5) @ v.mT
    diagonal = lengths.diagonal(dim1=-2, dim2=-1)
    assert (lengths - torch.diag_embed(diagonal)).abs().max() < 1e-4
    assert diagonal.min() > 0.6 and diagonal.max() < 1.3


def one_round_at_a_time(x, iterations=5):
    """The definition, as Jordan has it."""
    x = x / x.norm()
    for _ in range(iterations):
        gram = x @ x.mT
        x = 3.4445 * x + (2.0315 * gram @ gram - 4.7750 * gram) @ x
    return x


@pytest.mark.parametrize("iterations", [1, 3, 4, 5, 8])
@pytest.mark.parametrize("weakest", [1.0, 1e-2, 1e-4, 0.0])
def test_rounds_together_are_as_exact_as_one_at_a_time_however_weak_some_directions_are(iterations, weakest):
    draw = torch.Generator().manual_seed(0)
    u, v = (torch.linalg.qr(torch.randn(n, 24, generator=draw))[0] for n in (24, 80))
    matrix = u @ torch.diag(torch.linspace(1, weakest, 24)) @ v.mT
    due = one_round_at_a_time(matrix.double(), iterations).float()
    torch.testing.assert_close(orthogonalize(matrix, iterations), due, atol=1e-4, rtol=0)
    torch.testing.assert_close(orthogonalize(matrix.mT, iterations), due.mT, atol=1e-4, rtol=0)


def test_the_size_of_a_gradient_does_not_matter_and_none_moves_nothing():
    matrix = torch.randn(5, 7, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(orthogonalize(matrix), orthogonalize(1e4 * matrix), atol=1e-4, rtol=0)
    assert orthogonalize(torch.zeros(5, 7)).eq(0).all()


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch.optim.Muon came with torch 2.9")
def test_matrices_move_as_with_the_muon_of_torch():
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(12, 20, bias=False), nn.Tanh(), nn.Linear(20, 6, bias=False))
    theirs = copy.deepcopy(ours)
    # torch's last step makes its factor from the shape; momentum there is a sum, here an average: no matter
    mine = Muon(ours.parameters(), lr=0.02, weight_decay=0.1)
    reference = torch.optim.Muon(theirs.parameters(), lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    x = torch.randn(32, 12)
    for _ in range(10):
        for model, optimizer in ((ours, mine), (theirs, reference)):
            optimizer.zero_grad()
            (model(x) - x[:, :6].sin()).square().mean().backward()
            optimizer.step()
    for a, b in zip(ours.parameters(), theirs.parameters()):
        torch.testing.assert_close(a, b, atol=2e-3, rtol=0)  # torch's rounds to bfloat16
        assert (a - b).abs().mean() < 0.05 * 0.2 * 0.02 * 10  # a twentieth of the way that each went


@pytest.mark.parametrize("shape", [(32, 8), (8, 32), (16, 8, 1, 3, 3), (8, 8, 2, 1, 1)])
def test_a_step_has_the_size_that_was_asked_for_whatever_the_shape(shape):
    weight = nn.Parameter(torch.zeros(shape))
    optimizer = Muon([weight], lr=0.5, weight_decay=0.0)
    weight.grad = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    optimizer.step()
    places = weight[0, 0].numel()
    assert float(weight.detach().square().mean().sqrt()) == pytest.approx(0.2 * 0.5 / places**0.5, rel=0.25)
    assert torch.sign(weight).eq(-torch.sign(weight.grad)).float().mean() > 0.6  # downhill


def test_what_is_no_matrix_is_refused():
    with pytest.raises(ValueError, match=r"shape \(3,\), expected a matrix"):
        Muon([nn.Parameter(torch.zeros(3))])
