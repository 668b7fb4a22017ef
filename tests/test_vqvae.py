"""Laws of VQ-VAE and VQ-VAE-2: shapes, codes that are the same both ways, gradients everywhere, the top first."""

import math
from functools import partial

import pytest
import torch

from vg import checkpoints
from vg.evaluation import psnr
from vg.experiments.losses import image_tokenizer_loss
from vg.models import VQVAE, VQVAE2, QuantizerConfig, VQVAE2Config, VQVAEConfig

SMALL = dict(width=16, encoder_depth=1, decoder_depth=1)


def small(two, kind="vq", **changes):
    """A small VQ-VAE, of two levels or of one; ``changes`` of its quantizers or of its own configuration."""
    both = {key: changes.pop(key) for key in ("decay", "commitment", "restart", "data_init") if key in changes}
    bottom = QuantizerConfig(kind, 16 if two else 32, 4, (4, 4), **both)
    if not two:
        return VQVAE(VQVAEConfig(**SMALL | changes, quantizer=bottom))
    top = QuantizerConfig(kind, 32, 4, (5, 5), **both)
    return VQVAE2(VQVAE2Config(**SMALL | {"top_depth": 1} | changes, quantizer=bottom, top_quantizer=top))


KINDS = {"VQVAE": partial(small, False), "VQVAE2": partial(small, True)}
BOTH = pytest.mark.parametrize("kind", KINDS)


def model(kind, seed=0, quantizer="vq", **changes):
    torch.manual_seed(seed)
    return KINDS[kind](kind=quantizer, **changes)


def images(batch=3, H=16, W=24, channels=3, seed=1):
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, channels, H // 8, W // 8, generator=draw) * 2 - 1
    return torch.nn.functional.interpolate(coarse, (H, W), mode="bilinear")


def tuples(indices):
    return indices if isinstance(indices, tuple) else (indices,)


@BOTH
@pytest.mark.parametrize("quantizer", ["vq", "fsq"])
@pytest.mark.parametrize(("H", "W", "channels"), [(16, 16, 3), (8, 40, 1)])
def test_images_of_any_size_become_grids_and_images_again(kind, quantizer, H, W, channels):
    net, x = model(kind, quantizer=quantizer, channels=channels), images(2, H, W, channels)
    made = net.quantize(x)
    codes, indices, loss = made.codes, made.indices, made.loss
    assert net.reconstruct(codes).shape == x.shape and loss.shape == ()
    grids = [(2, H // 8, W // 8), (2, H // 4, W // 4)][-len(tuples(indices)) :]
    assert [tuple(part.shape) for part in tuples(indices)] == grids
    made = net.decode(net.encode(x))
    assert made.shape == x.shape and made.abs().max() <= 1 and made.dtype == torch.float32


@BOTH
def test_decoding_indices_and_reconstructing_codes_are_one(kind):
    net, x = model(kind), images()
    net.quantize(x)
    net.eval()
    made = net.quantize(x)
    codes, indices, loss = made.codes, made.indices, made.loss
    torch.testing.assert_close(net.decode(indices), net.reconstruct(codes).clamp(-1, 1))
    assert all(torch.equal(a, b) for a, b in zip(tuples(net.encode(x)), tuples(indices)))
    again, other = net(x)
    same, also = other.indices, other.loss
    assert torch.equal(again, net.reconstruct(codes)) and torch.equal(loss, also)
    assert all(torch.equal(a, b) for a, b in zip(tuples(same), tuples(indices)))


@BOTH
@pytest.mark.parametrize("changes", [{}, {"decay": None}, {"quantizer": "fsq"}], ids=str)
def test_gradients_reach_every_weight(kind, changes):
    net, x = model(kind, **changes), images(16)  # more vectors than codes: with one for each, nothing is left to learn
    for weight in net.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    quantized = net.quantize(x)
    codes, loss = quantized.codes, quantized.loss
    ((net.reconstruct(codes) - x).square().mean() + loss).backward()
    still = {name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    assert still == set()


@BOTH
def test_an_image_does_not_depend_on_its_batch(kind):
    net, x = model(kind), images(4)
    net.quantize(x)
    net.eval()
    alone = [tuples(net.encode(x[i : i + 1])) for i in range(4)]
    for level, together in enumerate(tuples(net.encode(x))):
        same = torch.cat([one[level] for one in alone]) == together
        assert same.float().mean() > 0.8  # sums in another order may turn a code that ties with the next


def test_the_defaults_have_the_same_bits():
    one, two = VQVAE(VQVAEConfig()), VQVAE2(VQVAE2Config())
    assert one.raw_bits((32, 32)) == two.raw_bits((32, 32)) == 576
    assert one.raw_bits((64, 32)) == 2 * 576
    assert one.levels == (512,) and len(two.levels) == 2
    assert sum(part.numel() / 1 for part in tuples(one.encode(torch.zeros(1, 3, 32, 32)))) == 64


@torch.no_grad()
def test_the_top_is_quantized_first_and_what_it_says_conditions_the_bottom():
    net = model("VQVAE2")
    x = images()
    net.quantize(x)
    net.eval()
    seen = []
    net.quantizer.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    net.encode(x)
    net.top_quantizer.codebook.add_(1)
    net.encode(x)
    assert not torch.allclose(seen[0], seen[1]), "the bottom's encoder does not hear of the top codes"


@torch.no_grad()
def test_both_levels_have_a_say_in_the_picture():
    net = model("VQVAE2").eval()
    top, bottom = torch.zeros(1, 2, 3, dtype=torch.long), torch.zeros(1, 4, 6, dtype=torch.long)
    for weight in net.top_quantizer.codebook, net.quantizer.codebook:
        weight.normal_()
    plain = net.decode((top, bottom))
    assert not torch.allclose(plain, net.decode((top + 1, bottom)))
    assert not torch.allclose(plain, net.decode((top, bottom + 1)))


@BOTH
def test_the_loss_is_the_psnr_in_other_units_and_what_the_quantizers_ask_for(kind):
    net, x = model(kind), images(8)
    net.quantize(x)
    net.eval().requires_grad_(False)
    net.decoder[-1].linear.weight *= 0.1  # stays within [-1, 1], so that nothing is clipped
    quantized = net.quantize(x)
    codes, extra = quantized.codes, quantized.loss
    due = -math.log(10) / 20 * float(psnr(net.reconstruct(codes).clamp(-1, 1), x).mean()) + math.log(2)
    assert extra > 0
    assert float(image_tokenizer_loss(net, x) - extra) == pytest.approx(due, abs=0.01)


@BOTH
def test_a_few_steps_on_one_batch_bring_the_error_down(kind):
    net, x = model(kind), images(8)
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    errors = []
    for _ in range(60):
        quantized = net.quantize(x)
        codes, loss = quantized.codes, quantized.loss
        error = (net.reconstruct(codes) - x).square().mean()
        optimizer.zero_grad()
        (error + loss).backward()
        optimizer.step()
        errors.append(float(error.detach()))
    assert errors[-1] < 0.25 * errors[0]


@BOTH
@pytest.mark.parametrize("changes", [{}, {"decay": None}, {"quantizer": "fsq"}], ids=str)
def test_a_checkpoint_gives_the_model_again_frozen(kind, changes, tmp_path):
    net, x = model(kind, **changes), images()
    net.quantize(x)
    checkpoints.save("one", net, {}, tmp_path)
    first = checkpoints.load("one", tmp_path)
    assert type(first) is type(net) and first.config == net.config
    before = {name: value.clone() for name, value in first.state_dict().items()}
    torch.nn.Sequential(first).train()
    indices = first.encode(x)
    assert all(torch.equal(value, first.state_dict()[name]) for name, value in before.items())
    with torch.no_grad():
        for weight in net.parameters():
            weight.copy_(weight.half())  # as it ships
    assert all(torch.equal(a, b) for a, b in zip(tuples(net.eval().encode(x)), tuples(indices)))


@BOTH
def test_wrong_images_and_configurations_are_named(kind):
    net = model(kind)
    with pytest.raises(ValueError, match=rf"{kind}: got \(2, 1, 8, 8\), expected \(B, 3, H, W\)"):
        net.encode(torch.zeros(2, 1, 8, 8))
    with pytest.raises(ValueError, match="30x32; crop or pad them to multiples of"):
        net.encode(torch.zeros(2, 3, 30, 32))
    with pytest.raises(ValueError, match="'rvq'"):
        model(kind, quantizer="rvq")
    with pytest.raises(ValueError, match="stride is 3"):
        model(kind, stride=3)
