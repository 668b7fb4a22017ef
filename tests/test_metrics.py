"""Laws of the measures, and comparisons with plain definitions."""

import math

import numpy as np
import pytest
import torch

from vg.data import Clips, drawn_cartoon, open_store
from vg.data.images import ImageSet
from vg.evaluation import (
    copy_bits,
    frechet_distance,
    frechet_error,
    mean_frame,
    nearest_clip,
    pca_images,
    perplexity,
    psnr,
    ssim,
    stability,
    step_correlation,
    steps,
    unbiased_frechet,
    unigram_bits,
    usage,
)


def clips(batch=3, size=24, seed=0):
    return torch.rand(batch, 1, 4, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_psnr_is_that_of_8_bit_pictures():
    truth = clips()
    noisy = (truth + 0.1).clamp(-1, 1)
    for k in range(3):
        a, b = (127.5 * (v[k].double().numpy() + 1) for v in (noisy, truth))
        assert float(psnr(noisy, truth)[k]) == pytest.approx(10 * np.log10(255**2 / ((a - b) ** 2).mean()), abs=1e-3)
    assert psnr(truth, truth).isinf().all()
    assert torch.equal(psnr(truth + 5, truth), psnr(torch.ones_like(truth), truth)), "clipped before it is measured"


def test_psnr_is_the_same_both_ways_round_and_in_every_dtype():
    truth = clips()
    for other in (truth + 0.1, 1.5 * truth, truth.double() + 0.1, (truth + 0.1).half(), truth.flip(0)):
        assert torch.equal(psnr(other, truth), psnr(truth, other)), "both are clipped before they are measured"
    near = truth + 0.01
    torch.testing.assert_close(psnr(near.bfloat16(), truth), psnr(near.bfloat16().float(), truth), rtol=0, atol=0)
    torch.testing.assert_close(psnr(2 * truth.half(), 2 * truth.half().float()), torch.full((3,), torch.inf))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (torch.zeros(3, 1, 4, 16, 16), torch.zeros(1, 1, 4, 16, 16)),
        (torch.zeros(1, 1, 4, 16, 16), torch.zeros(1, 4, 16, 16)),
        (torch.zeros(2, 1, 4, 16, 16), torch.zeros(2, 1, 1, 16, 16)),
        (torch.zeros(2, 1, 4, 16, 16), torch.zeros(2, 1, 4, 16, 12)),
        (torch.zeros(2, 3, 16, 16, dtype=torch.uint8), torch.zeros(2, 3, 16, 16, dtype=torch.uint8)),
    ],
)
@pytest.mark.parametrize("measure", [psnr, ssim])
def test_what_does_not_fit_together_is_refused_and_never_broadcast(measure, a, b):
    for pair in ((a, b), (b, a)):
        with pytest.raises(ValueError, match=rf"{measure.__name__}: got torch\.\w+ \(.*two float tensors of one shape"):
            measure(*pair)


def slow_ssim(x, y):
    """The formula of Wang et al., window by window, on pictures of range 255."""
    g = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    g = np.outer(g, g) / g.sum() ** 2
    c1, c2, total = (0.01 * 255) ** 2, (0.03 * 255) ** 2, []
    for i in range(x.shape[0] - 10):
        for j in range(x.shape[1] - 10):
            a, b = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
            ma, mb = (g * a).sum(), (g * b).sum()
            va, vb, cov = (g * (a - ma) ** 2).sum(), (g * (b - mb) ** 2).sum(), (g * (a - ma) * (b - mb)).sum()
            total.append((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    return np.mean(total)


def test_ssim_is_the_published_formula():
    truth, other = clips(2, 14), clips(2, 14, seed=1) * 0.3 + clips(2, 14) * 0.7
    for k in range(2):
        frames = zip(other[k, 0].double().numpy(), truth[k, 0].double().numpy())
        due = np.mean([slow_ssim(127.5 * (a + 1), 127.5 * (b + 1)) for a, b in frames])
        assert float(ssim(other, truth)[k]) == pytest.approx(due, abs=1e-4)
    torch.testing.assert_close(ssim(truth, truth), torch.ones(2))
    assert torch.equal(ssim(truth + 5, truth), ssim(torch.ones_like(truth), truth)), "clipped before it is measured"
    torch.testing.assert_close(ssim(other.bfloat16(), truth), ssim(other.bfloat16().float(), truth), rtol=0, atol=0)
    with pytest.raises(ValueError, match="11x11"):
        ssim(clips(size=8), clips(size=8))


def test_the_mean_frame_is_the_best_still_picture():
    truth = clips()
    best = psnr(mean_frame(truth), truth)
    assert mean_frame(truth).shape == truth.shape
    for k in range(4):
        assert (psnr(truth[:, :, k : k + 1].expand_as(truth), truth) < best).all()


def test_the_nearest_clip_of_one_that_is_there_is_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("VG_CACHE", str(tmp_path))
    bank = Clips(open_store(drawn_cartoon(), size=16, frames=60), frames=4, stride=3)
    mine = bank.take([3, 0, len(bank) - 1])
    assert torch.equal(nearest_clip(mine + 0.001, bank, batch=4), mine)
    for wrong in (mine[:, :, :2], mine[..., :8], mine.repeat(1, 3, 1, 1, 1), mine.reshape(3, 1, 4, 32, 8)):
        with pytest.raises(ValueError, match=r"nearest_clip: got clips \(.* a bank of clips \(1, 4, 16, 16\)"):
            nearest_clip(wrong, bank)


def test_usage_and_perplexity_of_even_and_single_codes():
    even, one = torch.arange(240).repeat(3), torch.zeros(50, dtype=torch.long)
    assert usage(even, 240) == 1 and usage(one, 240) == pytest.approx(1 / 240) and usage(even % 120, 240) == 0.5
    assert perplexity(even, 240) == pytest.approx(240) and perplexity(one, 240) == pytest.approx(1)


def test_stability_counts_only_where_the_picture_stands_still():
    video = torch.zeros(1, 1, 4, 8, 8)
    video[:, :, 2:, :4, :4] = 1  # one of the four places changes
    indices = torch.zeros(1, 2, 2, 2, dtype=torch.long)
    indices[0, 1] = torch.tensor([[5, 0], [0, 7]])  # it, and one that stands still
    assert stability(video, indices, (2, 4, 4)) == pytest.approx(2 / 3)
    assert math.isnan(stability(torch.rand(1, 1, 4, 8, 8), indices, (2, 4, 4)))
    for wrong in (video.expand(2, -1, -1, -1, -1), video[:, :, :2], video[..., :4], torch.zeros(1, 1, 5, 8, 8)):
        with pytest.raises(ValueError, match=r"stability: got video \(.*\) and indices \(1, 2, 2, 2\)"):
            stability(wrong, indices, (2, 4, 4))


def test_bits_of_the_baselines_are_those_of_probabilities_that_add_up_to_one():
    draw = torch.Generator().manual_seed(0)
    train = torch.randint(6, (5, 4, 2, 3), generator=draw)
    train[:, 2] = train[:, 1]  # something to copy
    every = torch.arange(6)
    assert float(torch.exp2(-unigram_bits(train, every, 6)).sum()) == pytest.approx(1)
    window = torch.zeros(6, 2, 1, 1, dtype=torch.long)
    window[:, 0], window[:, 1, 0, 0] = 3, every  # the same past, each possible token after it
    bits = copy_bits(train, window, 6)
    assert float(torch.exp2(-bits[:, 1]).sum()) == pytest.approx(1, abs=1e-5)
    assert bits[:, 1].flatten().argmin() == 3
    torch.testing.assert_close(bits[:, 0], unigram_bits(train, window[:, 0], 6))


def test_a_code_that_was_never_seen_costs_bits_and_not_infinity():
    bits = unigram_bits(torch.zeros(10, dtype=torch.long), torch.tensor([0, 1]), 3)
    torch.testing.assert_close(bits, -torch.tensor([11 / 13, 1 / 13]).log2())


def image_set(n=60, size=4, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (n, 3, size, size), np.uint8)
    pixels[:, :, :, 1] = pixels[:, :, :, 0] // 2  # some correlation
    return ImageSet(pixels, torch.zeros(n, dtype=torch.long))


def test_pca_is_the_best_that_so_many_directions_can_do():
    train = image_set()
    x = train.take(range(60))
    made = pca_images(train, x, 5)
    centred = x.flatten(1) - x.flatten(1).mean(0)
    u, s, v = torch.linalg.svd(centred.double(), full_matrices=False)
    due = (u[:, :5] * s[:5]) @ v[:5] + x.flatten(1).mean(0)
    torch.testing.assert_close(made.flatten(1), due.clamp(-1, 1).float(), atol=1e-4, rtol=0)
    torch.testing.assert_close(pca_images(train, x, 48), x, atol=1e-4, rtol=0)


def test_pca_coefficients_take_so_many_values_and_no_more():
    train, x = image_set(), image_set(n=500, seed=1).take(range(500))
    one = pca_images(train, train.take(range(60)), 1, bits=2).flatten(1)
    same = torch.cdist(one, one) < 1e-3
    assert len(same.unique(dim=0)) == 4
    known = train.take(range(60))
    assert 0 < (pca_images(train, known, 8) - pca_images(train, known, 8, bits=8)).abs().max() < 0.05
    # of other images a coefficient may lie outside the range of training: it takes the value at the end
    fine, rounded = pca_images(train, x, 8), pca_images(train, x, 8, bits=8)
    assert 0.05 < (fine - rounded).abs().max() < 0.5 and (fine - rounded).abs().mean() < 0.01
    with pytest.raises(ValueError, match="49 components"):
        pca_images(train, x, 49)
    with pytest.raises(ValueError, match=r"pca_images: got images \(3, 2, 8\)"):
        pca_images(train, x.reshape(500, 3, 2, 8), 5)


def test_frechet_distance_is_that_of_two_normal_distributions():
    draw = torch.Generator().manual_seed(0)
    a = torch.randn(400, 5, generator=draw) @ torch.randn(5, 5, generator=draw)
    b = torch.randn(300, 5, generator=draw) + torch.arange(5)
    s, t = torch.cov(a.double().T), torch.cov(b.double().T)
    roots = torch.linalg.eigvals(s @ t).real.clamp(min=0).sqrt().sum()
    due = (a.double().mean(0) - b.double().mean(0)).square().sum() + s.trace() + t.trace() - 2 * roots
    assert frechet_distance(a, b) == pytest.approx(float(due), rel=1e-6)
    assert frechet_distance(b, a) == pytest.approx(float(due), rel=1e-6)


def test_frechet_distance_of_a_set_to_itself_is_nothing_and_of_a_moved_one_the_way_squared():
    a = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    assert frechet_distance(a, a.flip(0)) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a + 2) == pytest.approx(8 * 4, rel=1e-5)
    few = a[:5]  # fewer clips than features: a covariance without an inverse
    assert frechet_distance(few, few + 2) == pytest.approx(8 * 4, rel=1e-5)


@pytest.mark.parametrize(("a", "b"), [((1, 4), (9, 4)), ((9, 4), (9, 5)), ((9, 4), (0, 4))])
def test_frechet_distance_refuses_what_has_no_covariance(a, b):
    with pytest.raises(ValueError, match="frechet_distance"):
        frechet_distance(torch.zeros(a), torch.zeros(b))


def two_sets(n=94, features=24, apart=0.0, seed=0):
    draw = torch.Generator().manual_seed(seed)
    scale = torch.linspace(2, -2, features).exp().sqrt().double()
    a, b = (torch.randn(n, features, generator=draw, dtype=torch.float64) * scale for _ in range(2))
    return a, b + apart


def test_the_unbiased_frechet_distance_of_two_equal_kinds_is_nothing_where_the_plain_one_is_far():
    found = [(unbiased_frechet(*sets), frechet_distance(*sets)) for sets in (two_sets(seed=k) for k in range(8))]
    unbiased, plain = torch.tensor(found).T
    assert plain.min() > 4 and unbiased.mean().abs() < 0.5 and unbiased.min() < 0
    apart = torch.tensor([unbiased_frechet(*two_sets(apart=0.5, seed=k)) for k in range(8)])
    assert float(apart.mean()) == pytest.approx(24 * 0.25, abs=0.5)


def test_the_error_of_a_frechet_distance_is_about_its_spread_and_counts_stretches_not_clips():
    sets = [two_sets(48, 8, seed=k) for k in range(10)]
    spread = torch.tensor([unbiased_frechet(*each) for each in sets]).std()
    error = torch.tensor([frechet_error(*each, stretches=48) for each in sets]).mean()
    assert 0.7 * spread < error < 4 * spread
    thrice = [tuple(x.repeat(3, 1) for x in each) for each in sets]  # the same clips three times over know no more
    again = torch.tensor([frechet_error(*each, stretches=48) for each in thrice]).mean()
    assert again > 0.5 * error


def test_an_unbiased_frechet_distance_of_too_few_clips_is_refused():
    with pytest.raises(ValueError, match="got 7 clips, expected 8"):
        unbiased_frechet(torch.zeros(7, 4), torch.zeros(20, 4))


def test_steps_are_grey_levels_and_their_correlation_says_whether_the_right_things_move():
    video = torch.zeros(2, 1, 3, 4, 4)
    video[0, :, 1:] = 2 / 255
    assert steps(video).shape == (2, 2)
    torch.testing.assert_close(steps(video), torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    draw = torch.Generator().manual_seed(0)
    truth, other = (torch.rand(3, 1, 5, 16, 16, generator=draw) * 0.4 - 0.2 for _ in range(2))
    torch.testing.assert_close(step_correlation(truth * 0.5 + 0.3, truth), torch.ones(3))
    torch.testing.assert_close(step_correlation(-truth, truth), -torch.ones(3))
    assert step_correlation(other, truth).abs().max() < 0.1
    due = torch.corrcoef(torch.stack([x[0].diff(dim=1).flatten() for x in (truth + other, truth)]))[0, 1]
    torch.testing.assert_close(step_correlation(truth + other, truth)[0], due)
    assert step_correlation(torch.zeros_like(truth), truth).isnan().all()
