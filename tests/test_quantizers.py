"""Laws of FSQ: every code is reached, indices and codes are two names of one thing, gradients pass straight."""

import math

import pytest
import torch
from fake_mps import FakeMPS, OnMPS

from vg.models import FSQ, FSQ_LEVELS, TubeletConfig, TubeletTokenizer

ALL = [*FSQ_LEVELS.values(), (3,), (4, 3), (15, 16)]


@pytest.mark.parametrize("levels", ALL, ids=str)
def test_an_index_decoded_and_encoded_again_is_the_index(levels):
    fsq = FSQ(levels)
    indices = torch.arange(fsq.size) if fsq.size <= 70_000 else torch.randint(fsq.size, (70_000,))
    codes = fsq.codes(indices)
    assert codes.min() >= -1 and codes.max() <= 1
    assert torch.equal(fsq.indices(fsq.digits(indices)), indices)
    # tanh squashes: what lies on a code before it must be found by undoing the bound
    bounded = codes * fsq.width
    z = torch.atanh((bounded + fsq.offset) / fsq.bound) - fsq.shift
    again, found = fsq(z)
    assert torch.equal(found, indices)
    torch.testing.assert_close(again, codes)


@pytest.mark.parametrize("levels", [(8, 6, 5), (8, 5, 5, 5, 5, 5) * 4], ids=str)
def test_an_index_that_is_none_is_refused(levels):
    fsq = FSQ(levels)
    for wrong in (-1, fsq.size):
        with pytest.raises(ValueError, match="FSQ: codes are 0 to"):
            fsq.codes(torch.tensor([[0, wrong]]))
    assert fsq.digits(torch.zeros(0, 3, dtype=torch.long)).shape == (0, 3, len(levels))


def test_indices_above_2_to_the_53_survive_a_device_that_rounds_integers():
    levels = (8, 5, 5, 5, 5, 5) * 4
    fsq, wide = FSQ(levels), TubeletTokenizer(TubeletConfig((2, 4, 4), levels[:6], (1, 2, 2), width=8))
    indices = torch.randint(2**53, fsq.size, (1, 2, 3, 3), generator=torch.Generator().manual_seed(0)) | 1
    with FakeMPS():
        there = OnMPS(indices)
        assert not torch.equal((there * 1).cpu(), indices), "it rounds"
        digits = fsq.digits(there)
        assert digits.device.type == "mps" and torch.equal(digits.cpu(), fsq.digits(indices))
        again = fsq.indices(digits)
        assert again.device.type == "mps" and torch.equal(again.cpu(), indices)
        patches = wide.patch_indices(there)
        assert patches.device.type == "mps" and torch.equal(patches.cpu(), wide.patch_indices(indices))


@pytest.mark.parametrize("levels", ALL, ids=str)
def test_digits_count_up_with_the_first_one_fastest(levels):
    fsq = FSQ(levels)
    assert torch.equal(fsq.digits(torch.tensor(0)), torch.zeros(len(levels), dtype=torch.long))
    assert torch.equal(fsq.digits(torch.tensor(fsq.size - 1)), torch.tensor(levels) - 1)
    assert fsq.digits(torch.tensor(1)).tolist() == [1] + [0] * (len(levels) - 1)
    assert fsq.bits_per_code == pytest.approx(math.log2(math.prod(levels)))


@pytest.mark.parametrize("level", [*range(3, 17), 1001, 4096])
def test_each_value_of_a_level_is_reached_and_no_other(level):
    fsq = FSQ((level,))
    z = torch.cat([torch.linspace(-50, 50, 401), torch.atanh(torch.linspace(-1, 1, 20 * level + 1))])
    codes, indices = fsq(z[:, None])
    assert sorted(indices.unique().tolist()) == list(range(level))
    assert len(codes.unique()) == level


def test_the_levels_are_those_of_the_paper_and_have_about_the_codes_they_say():
    assert all(abs(math.log2(math.prod(levels)) - bits) < 0.2 for bits, levels in FSQ_LEVELS.items())


def test_the_gradient_is_that_of_the_bound_as_if_nothing_were_rounded():
    fsq = FSQ((8, 5))
    z = torch.randn(100, 2, requires_grad=True)
    weights = torch.randn(100, 2)
    (fsq(z)[0] * weights).sum().backward()
    smooth = z.detach().clone().requires_grad_()
    ((torch.tanh(smooth + fsq.shift) * fsq.bound - fsq.offset) / fsq.width * weights).sum().backward()
    torch.testing.assert_close(z.grad, smooth.grad)


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e30, math.inf])
def test_huge_and_tiny_values_are_codes_too(scale):
    fsq = FSQ((8, 5, 5))
    codes, indices = fsq(torch.tensor([[-1.0, 0.0, 1.0]]).mul(scale).nan_to_num(0))
    assert codes.isfinite().all() and 0 <= int(indices) < fsq.size


def test_half_precision_and_strides_change_no_index():
    fsq = FSQ(FSQ_LEVELS[16])
    z = torch.randn(6, 1000).T  # not contiguous
    with torch.autocast("cpu", torch.bfloat16):
        codes, indices = fsq(z)
    assert codes.dtype == torch.float32
    assert torch.equal(indices, fsq(z.contiguous())[1])
    assert torch.equal(fsq(z.half())[1], fsq(z.half().float())[1])


def test_nan_and_wrong_shapes_and_levels_are_named():
    with pytest.raises(ValueError, match="1 of the vectors"):
        FSQ((8, 5))(torch.tensor([[0.0, math.nan], [0.0, 0.0]]))
    with pytest.raises(ValueError, match=r"\(4, 3\).*2"):
        FSQ((8, 5))(torch.zeros(4, 3))
    for levels in [(), (8, 2), (1,)]:
        with pytest.raises(ValueError, match="at least"):
            FSQ(levels)


def test_as_many_codes_as_an_int64_holds_and_no_more():
    quantizer = FSQ((8,) * 21)  # 2^63
    last = torch.full((21,), 7)
    assert int(quantizer.indices(last)) == 2**63 - 1
    assert torch.equal(quantizer.digits(torch.tensor(2**63 - 1)), last)
    with pytest.raises(ValueError, match="more than 63 bits"):
        FSQ((8,) * 20 + (9,))
