"""Laws of the video autoencoder: causal for every stride, overlapping in space, any length and size, a stream."""

import math

import pytest
import torch

from vg import checkpoints, latents
from vg.data import drawn_cartoon, open_store
from vg.experiments.losses import squared_error, tokenizer_loss
from vg.hashing import weight_hash
from vg.models import QuantizerConfig, VideoAutoencoder, VideoConfig
from vg.models import video as video_module
from vg.models.video import AxialAttention, split_stride

STRIDES = [(4, 8, 8), (2, 4, 4), (2, 2, 2), (1, 8, 4), (3, 2, 6), (5, 1, 2), (1, 1, 1)]
QUANTIZERS = ["vq", "fsq"]


def autoencoder(stride=(4, 8, 8), quantizer="fsq", seed=0, **changes):
    torch.manual_seed(seed)
    small = dict(width=16, min_width=8, encoder_depth=1, decoder_depth=1, attention=1, heads=2)
    options = {key: changes.pop(key) for key in ("decay", "restart", "commitment") if key in changes}
    chosen = QuantizerConfig(quantizer, 48, 4, (8, 6, 5), data_init=False, **options)
    config = VideoConfig(stride, quantizer=chosen, **small | changes)
    return VideoAutoencoder(config).eval()


def clip(model, t=3, h=2, w=3, batch=2):
    p, q, r = model.tubelet
    return torch.rand(batch, model.config.channels, t * p, h * q, w * r) * 2 - 1


def before_rounding(model, video):
    """What goes into the quantizer, (B, t, h, w, code): it shows what rounding hides."""
    seen = []
    hook = model.to_code.register_forward_hook(lambda module, given, z: seen.append(z))
    with torch.no_grad():
        model.quantize(video)
    hook.remove()
    return seen[0]


@pytest.mark.parametrize("quantizer", QUANTIZERS)
@pytest.mark.parametrize("stride", STRIDES, ids=str)
def test_one_token_a_stride_and_back(stride, quantizer):
    model = autoencoder(stride, quantizer, channels=3)
    video = clip(model)
    indices = model.encode(video)
    assert indices.shape == (2, 3, 2, 3) and indices.dtype == torch.int64
    assert model.tubelet == stride and math.prod(model.levels) == model.quantizer.size
    assert indices.min() >= 0 and indices.max() < math.prod(model.levels)
    decoded = model.decode(indices)
    assert decoded.shape == video.shape and decoded.abs().max() <= 1
    out, quantized = model(video)
    again, loss = quantized.indices, quantized.loss
    assert torch.equal(again, indices) and loss.shape == () and (loss > 0) == (quantizer == "vq")
    torch.testing.assert_close(out.clamp(-1, 1), decoded)
    assert model.raw_bits(video.shape[2:]) == pytest.approx(18 * math.log2(math.prod(model.levels)))


@pytest.mark.parametrize("attention", [0, 1])
@pytest.mark.parametrize("stride", STRIDES, ids=str)
def test_no_token_knows_a_later_frame(stride, attention):
    model = autoencoder(stride, attention=attention)
    video = clip(model, t=4)
    z = before_rounding(model, video)
    for k in range(video.shape[2]):  # every frame, not only the first of a token
        changed = video.clone()
        changed[:, :, k] *= -1
        moved = (before_rounding(model, changed) != z).flatten(2).any(2).any(0)  # (t,)
        assert not moved[: k // stride[0]].any()
        assert moved[k // stride[0]]


@pytest.mark.parametrize("attention", [0, 1])
@pytest.mark.parametrize("stride", STRIDES, ids=str)
def test_no_frame_knows_a_later_token(stride, attention):
    model = autoencoder(stride, attention=attention)
    with torch.no_grad():
        codes = model.quantize(clip(model, t=4)).codes
        out = model.reconstruct(codes)
        for k in range(4):
            other = codes.clone()
            other[:, k] *= -1
            moved = (model.reconstruct(other) != out).any(4).any(3).any(1).any(0)  # (T,)
            assert not moved[: k * stride[0]].any()
            assert moved[k * stride[0] : (k + 1) * stride[0]].all()


@pytest.mark.parametrize("stride", [(4, 8, 8), (1, 8, 4), (3, 2, 6)], ids=str)
def test_neighbours_see_the_pixels_at_the_border_of_a_token_and_the_last_frame_before_it(stride):
    model = autoencoder(stride, attention=0, encoder_depth=0, fine_depth=0)  # strided convolutions alone
    video = clip(model, t=3, h=3, w=3, batch=1)
    p, q, r = model.tubelet
    z = before_rounding(model, video)
    changed = video.clone()
    changed[:, :, 2 * p - 1, q : 2 * q, r : 2 * r] *= -1  # the middle token's pixels in its last frame
    moved = (before_rounding(model, changed) != z).any(-1)[0]  # (t, h, w)
    assert moved[1].all() and not moved[0].any()
    assert bool(moved[2].any()) == (p > 1)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
@pytest.mark.parametrize("stride", [(4, 8, 8), (3, 2, 6), (1, 8, 4)], ids=str)
@pytest.mark.parametrize("pieces", [[1] * 10, [2, 7, 1]], ids=str)
def test_a_stream_gives_the_numbers_of_the_whole(stride, pieces, quantizer):
    model = autoencoder(stride, quantizer)
    video = clip(model, t=10, batch=1)  # longer than attention looks back
    indices = model.encode(video)
    whole, past, future = model.decode(indices), {}, {}
    parts = video.split([stride[0] * n for n in pieces], dim=2)
    assert torch.equal(torch.cat([model.encode(part, past) for part in parts], dim=1), indices)
    decoded = [model.decode(part, past=future) for part in indices.split(pieces, dim=1)]
    torch.testing.assert_close(torch.cat(decoded, dim=2), whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
@pytest.mark.parametrize("stride", [(4, 8, 8), (2, 4, 4), (2, 2, 2), (3, 2, 6)], ids=str)
@pytest.mark.parametrize("size", [(1, 8, 8), (5, 9, 15), (4, 1, 1), (7, 16, 17)], ids=str)
def test_sizes_that_the_stride_does_not_divide_are_padded_and_cropped_back(size, stride, quantizer):
    model = autoencoder(stride, quantizer)
    video = torch.rand(1, 1, *size) * 2 - 1
    indices = model.encode(video)
    assert indices.shape[1:] == tuple(-(-n // p) for n, p in zip(size, stride))
    assert model.decode(indices, size).shape == model(video)[0].shape == video.shape
    assert model.raw_bits(size) == pytest.approx(indices.numel() * model.quantizer.bits_per_code)
    padded = video
    for dim, (n, p) in enumerate(zip(size, stride), 2):  # by hand: repeat the last
        last = padded.select(dim, n - 1).unsqueeze(dim)
        padded = torch.cat([padded, *[last] * (-n % p)], dim)
    assert torch.equal(model.encode(padded), indices)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_gradients_reach_every_weight_and_the_loss_holds_the_quantizers(quantizer):
    model = autoencoder(quantizer=quantizer, decay=None, channels=3).train()
    video = clip(model)
    loss = tokenizer_loss(model, video)
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    model.eval()
    out, quantized = model(video)
    extra = quantized.loss
    error = squared_error(out, video)  # (B,)
    torch.testing.assert_close(tokenizer_loss(model, video), (error + 1e-4).sqrt().mean() + extra)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_a_checkpoint_brings_it_back_with_its_codebook_and_frozen(quantizer, tmp_path):
    model = autoencoder((3, 2, 6), quantizer).train()
    for _ in range(3):
        model.quantize(clip(model))  # the codebook follows
    checkpoints.save("video-test", model, {}, tmp_path)
    loaded = checkpoints.load("video-test", tmp_path)
    assert type(loaded) is VideoAutoencoder and loaded.config == model.config
    learned = dict(model.named_parameters())
    for key, value in loaded.state_dict().items():
        due = model.state_dict()[key]
        assert torch.equal(value, due.half().float() if key in learned else due), key
    before = weight_hash(loaded)
    loaded.train().quantize(clip(loaded))
    assert loaded.frozen and weight_hash(loaded) == before


def test_the_latent_cache_takes_it(tmp_path, monkeypatch):
    monkeypatch.setenv("VG_CACHE", str(tmp_path))
    store, model = open_store(drawn_cartoon(), size=16, frames=40), autoencoder().freeze()
    cache = latents.write(tmp_path / "latents", model, store, name="video-test", progress=False)
    assert cache.tubelet == (4, 8, 8) and cache.levels == (8, 6, 5) and cache.grid == (2, 2)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_wrong_input_is_named(quantizer):
    model = autoencoder(quantizer=quantizer)
    for shape in [(1, 3, 4, 8, 8), (1, 4, 8, 8), (1, 1, 0, 8, 8)]:
        with pytest.raises(ValueError, match=r"expected \(B, 1, T, H, W\)"):
            model.encode(torch.zeros(shape))
    with pytest.raises(ValueError, match="'lfq', expected 'vq' or 'fsq'"):
        VideoAutoencoder(VideoConfig(quantizer=QuantizerConfig("lfq")))
    for stride in [(4, 8), (4, 0, 8)]:
        with pytest.raises(ValueError, match="each at least 1"):
            VideoAutoencoder(VideoConfig(stride))
    with pytest.raises(ValueError, match="16 is no multiple of 3"):
        AxialAttention(16, heads=3)


@pytest.mark.parametrize("patch", [(1, 1, 1), (1, 2, 2), (2, 4, 4)], ids=str)
@pytest.mark.parametrize("stride", [*STRIDES, (7, 12, 9)], ids=str)
def test_patches_and_stages_multiply_to_the_stride(stride, patch):
    taken, stages = split_stride(stride, patch)
    for axis, whole in enumerate(stride):
        assert math.prod([taken[axis], *(stage[axis] for stage in stages)]) == whole
        assert patch[axis] % taken[axis] == 0
    assert all(max(stage) > 1 for stage in stages)


def test_axial_attention_has_every_place_of_this_frame_and_the_ones_before_in_view():
    torch.manual_seed(0)
    layer = AxialAttention(8, heads=2, reach=3)
    x = torch.randn(1, 6, 3, 4, 8)
    with torch.no_grad():
        out = layer(x)
        x[0, 1, 2, 3] *= -1  # (adding the same to all channels would be undone by the norm)
        moved = (layer(x) != out).any(-1)[0].flatten(1)  # (t, h w)
    assert moved.all(1).tolist() == [False, True, True, True, False, False] == moved.any(1).tolist()


@pytest.mark.parametrize("attention", [0, 1])
@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_a_long_video_is_worked_through_in_pieces_with_the_same_result(attention, at_once, monkeypatch):
    model = autoencoder((2, 4, 4), attention=attention)
    video = clip(model, t=7)[:, :, :-1]  # and a ragged end
    seen, inner = [], model.embed.forward
    monkeypatch.setattr(model.embed, "forward", lambda x: seen.append(x.shape[1]) or inner(x))
    monkeypatch.setattr(video_module, "PIECE", 2**40)
    indices = model.encode(video)
    decoded = model.decode(indices, video.shape[2:])
    assert len(seen) == 1
    monkeypatch.setattr(video_module, "PIECE", at_once * video[:, :1, :2].numel())
    assert torch.equal(model.encode(video), indices)
    torch.testing.assert_close(model.decode(indices, video.shape[2:]), decoded, atol=1e-5, rtol=0)
    assert max(seen[1:]) <= at_once * 2 and len(seen) > 2, "more is worked on at once than PIECE says"
