"""Laws of the tubelet tokenizer: one token a tubelet, causal in time, any size, streams, frozen when frozen."""

import math

import pytest
import torch
from torch import nn

from vg import checkpoints
from vg.data.store import to_unit
from vg.hashing import weight_hash
from vg.models import TubeletConfig, TubeletTokenizer, tubelet
from vg.models.frozen import Freezable
from vg.models.quantizers import FSQ
from vg.synthetic import draw_cartoon

SHAPES = [((4, 8, 8), 1), ((2, 4, 8), 3), ((8, 4, 4), 1), ((1, 8, 4), 1)]


def tokenizer(tubelet=(4, 8, 8), channels=1, seed=0):
    torch.manual_seed(seed)
    config = TubeletConfig(tubelet=tubelet, levels=(8, 6, 5), channels=channels, width=16, decoder_depth=2)
    return TubeletTokenizer(config).eval()


def clip(model, t=3, h=2, w=3, batch=2):
    p, q, r = model.tubelet
    return torch.rand(batch, model.config.channels, t * p, h * q, w * r) * 2 - 1


@pytest.mark.parametrize(("tubelet", "channels"), SHAPES)
def test_one_token_a_tubelet_and_back(tubelet, channels):
    model = tokenizer(tubelet, channels)
    video = clip(model)
    indices = model.encode(video)
    assert indices.shape == (2, 3, 2, 3) and indices.dtype == torch.int64
    assert indices.min() >= 0 and indices.max() < 240
    decoded = model.decode(indices)
    assert decoded.shape == video.shape and decoded.abs().max() <= 1
    out, quantized = model(video)
    again = quantized.indices
    assert torch.equal(again, indices)
    torch.testing.assert_close(out.clamp(-1, 1), decoded)


@pytest.mark.parametrize(("tubelet", "channels"), SHAPES)
def test_no_token_knows_a_later_frame_and_no_frame_a_later_token(tubelet, channels):
    model = tokenizer(tubelet, channels)
    video = clip(model, t=4)
    with torch.no_grad():
        quantized = model.quantize(video)
        codes, indices = quantized.codes, quantized.indices
        out = model.reconstruct(codes)
        for k in range(4):
            changed = video.clone()
            changed[:, :, k * tubelet[0] :] *= -1
            assert torch.equal(model.quantize(changed).indices[:, :k], indices[:, :k])
            other = codes.clone()
            other[:, k:] *= -1
            moved = (model.reconstruct(other) - out).abs().amax((0, 1, 3, 4)) > 0  # (T,)
            assert not moved[: k * tubelet[0]].any()
            assert moved[k * tubelet[0]]


def test_a_token_knows_one_latent_frame_back_and_a_frame_one_token_back():
    model = tokenizer()
    video = clip(model, t=3)
    with torch.no_grad():
        changed = video.clone()
        changed[:, :, :4] *= -1
        moved = (model.vectors(changed) - model.vectors(video)).abs().amax((0, 2, 3, 4)) > 0
        assert moved.tolist() == [True, True, False]
        codes = model.quantize(video).codes
        other = codes.clone()
        other[:, :1] *= -1
        moved = (model.reconstruct(other) - model.reconstruct(codes)).abs().amax((0, 1, 3, 4)) > 0  # (T,)
        assert moved.tolist() == [True] * 8 + [False] * 4


@pytest.mark.parametrize("pieces", [[1, 1, 1, 1, 1], [2, 3], [3, 1, 1], [5]])
def test_a_stream_gives_the_numbers_of_the_whole(pieces):
    model = tokenizer()
    video = clip(model, t=5)
    indices = model.encode(video)
    whole, past, future = model.decode(indices), {}, {}
    parts = video.split([4 * n for n in pieces], dim=2)
    assert torch.equal(torch.cat([model.encode(part, past) for part in parts], dim=1), indices)
    decoded = [model.decode(part, past=future) for part in indices.split(pieces, dim=1)]
    torch.testing.assert_close(torch.cat(decoded, dim=2), whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(1, 8, 8), (5, 9, 15), (4, 1, 1), (3, 16, 17)])
def test_sizes_that_the_tubelet_does_not_divide_are_padded_and_cropped_back(size):
    model = tokenizer()
    video = torch.rand(1, 1, *size) * 2 - 1
    indices = model.encode(video)
    assert indices.shape[1:] == tuple(-(-n // p) for n, p in zip(size, model.tubelet))
    assert model.decode(indices, size).shape == video.shape
    assert model(video)[0].shape == video.shape
    padded = video
    for dim, (n, p) in enumerate(zip(size, model.tubelet), 2):  # by hand: repeat the last
        last = padded.select(dim, n - 1).unsqueeze(dim)
        padded = torch.cat([padded, *[last] * (-n % p)], dim)
    assert torch.equal(model.encode(padded), indices)


def test_gradients_reach_every_weight():
    model = tokenizer().train()
    out, _ = model(clip(model))
    out.square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_wrong_input_is_named():
    model = tokenizer()
    for shape in [(1, 3, 4, 8, 8), (1, 4, 8, 8), (1, 1, 0, 8, 8)]:
        with pytest.raises(ValueError, match=r"expected \(B, 1, T, H, W\)"):
            model.encode(torch.zeros(shape))


class Learner(Freezable):
    """Learns in training mode without any gradient, as an EMA codebook does."""

    def __init__(self):
        super().__init__()
        self.inner = nn.BatchNorm1d(2)

    def forward(self, x):
        return self.inner(x)


def test_frozen_means_frozen_inside_a_model_that_trains():
    around = nn.ModuleDict({"tokenizer": Learner().freeze(), "head": nn.Linear(2, 2), "other": Learner()})
    before, learning = weight_hash(around["tokenizer"]), weight_hash(around["other"])
    for _ in range(1000):
        around.train()
        x = torch.randn(4, 2)
        (around["head"](around["tokenizer"](x)) + around["other"](x)).sum().backward()
    assert around["head"].training and not around["tokenizer"].training and not around["tokenizer"].inner.training
    assert weight_hash(around["tokenizer"]) == before
    assert weight_hash(around["other"]) != learning, "the test itself: what is not frozen learns"
    assert all(not p.requires_grad and p.grad is None for p in around["tokenizer"].parameters())


def grouped(group=(1, 2, 3), seed=0):
    torch.manual_seed(seed)
    return TubeletTokenizer(TubeletConfig((4, 4, 4), (8, 6, 5), group, width=16, decoder_depth=2)).eval()


def test_grouped_patches_are_the_same_patches_in_fewer_tokens():
    model, single = grouped(), grouped((1, 1, 1), seed=1)
    single.load_state_dict(model.state_dict())
    assert model.tubelet == (4, 8, 12) and model.levels == (8, 6, 5) * 6
    assert model.patch == single.tubelet and model.patch_levels == single.levels
    video = torch.rand(2, 1, 8, 16, 24) * 2 - 1
    tokens, patches = model.encode(video), single.encode(video)
    assert tokens.shape == (2, 2, 2, 2) and patches.shape == (2, 2, 4, 6)
    assert torch.equal(model.patch_indices(tokens), patches) and torch.equal(single.patch_indices(patches), patches)
    torch.testing.assert_close(model.decode(tokens), single.decode(patches))
    changed = tokens.clone()
    changed[:, :, 0, 1] = 0  # a token's patches lie together: in one corner of the grid
    moved = model.patch_indices(changed) != patches
    assert not moved[:, :, 2:].any() and not moved[:, :, :, :3].any()


def test_patches_after_one_another_share_a_token_too():
    model, single = grouped((2, 1, 2)), grouped((1, 1, 1), seed=1)
    single.load_state_dict(model.state_dict())
    assert model.tubelet == (8, 4, 8) and model.levels == (8, 6, 5) * 4
    video = torch.rand(2, 1, 16, 16, 24) * 2 - 1
    tokens, patches = model.encode(video), single.encode(video)
    assert tokens.shape == (2, 2, 4, 3) and patches.shape == (2, 4, 4, 6)
    assert torch.equal(model.patch_indices(tokens), patches)
    torch.testing.assert_close(model.decode(tokens), single.decode(patches))
    first = FSQ(model.patch_levels).digits(patches[:, :2, :1, :2])  # in time first, then down, then across
    assert torch.equal(FSQ(model.levels).digits(tokens[:, 0, 0, 0]), first.flatten(1))
    assert model.raw_bits((16, 16, 24)) == pytest.approx(single.raw_bits((16, 16, 24)))
    padded = video[:, :, :11]
    assert (
        model.encode(padded).shape == (2, 2, 4, 3) and model.decode(model.encode(padded), (11, 16, 24)).shape[2] == 11
    )
    past = {}
    assert torch.equal(torch.cat([model.encode(part, past) for part in video.split(8, dim=2)], dim=1), tokens)


def ahead(group=(1, 1, 1)):
    torch.manual_seed(0)
    config = TubeletConfig((4, 4, 4), (8, 6, 5), group, width=16, decoder_depth=2, lookahead=True)
    return TubeletTokenizer(config).eval()


def test_a_decoder_that_looks_ahead_knows_the_next_codes_and_no_more():
    model = ahead()
    codes = model.quantize(torch.rand(2, 1, 16, 8, 8) * 2 - 1).codes
    with torch.no_grad():
        out = model.reconstruct(codes)
        for k in range(4):
            other = codes.clone()
            other[:, k] *= -1
            moved = (model.reconstruct(other) - out).view(2, 1, 4, 4, 8, 8).abs().amax((0, 1, 3, 4, 5)) > 0
            assert moved.tolist() == [abs(j - k) <= 1 for j in range(4)], "the next, its own and the last"


@pytest.mark.parametrize("group", [(1, 1, 1), (2, 1, 2)])
@pytest.mark.parametrize("pieces", [[1, 1, 1, 1], [1, 3], [2, 2], [4]])
def test_a_stream_that_looks_ahead_holds_back_what_it_cannot_know_yet(group, pieces):
    model = ahead(group)
    span = model.tubelet[0]
    indices = model.encode(torch.rand(2, 1, 4 * span, 8, 8) * 2 - 1)
    whole, past, due = model.decode(indices), {}, 0
    for number, part in enumerate(indices.split(pieces, dim=1), 1):
        last = number == len(pieces)
        made = model.decode(part, past=past, more=not last)
        torch.testing.assert_close(made, whole[:, :, due : due + made.shape[2]], atol=1e-5, rtol=0)
        due += made.shape[2]
        assert due == sum(pieces[:number]) * span - (0 if last else model.patch[0])


def test_grouped_patches_take_any_size_and_stream():
    model = grouped()
    video = torch.rand(1, 1, 11, 9, 14) * 2 - 1
    tokens = model.encode(video)
    assert tokens.shape == (1, 3, 2, 2) and model.decode(tokens, video.shape[2:]).shape == video.shape
    past = {}
    pieces = [model.encode(part, past) for part in (video[:, :, :4], video[:, :, 4:])]
    assert torch.equal(torch.cat(pieces, dim=1), tokens)


def detailed(group=(1, 2, 2), share=0.25, seed=0):
    torch.manual_seed(seed)
    more = dict(detail_levels=(5, 3, 7), detail_share=share)
    return TubeletTokenizer(TubeletConfig((4, 4, 4), (8, 5), group, width=16, decoder_depth=2, **more)).eval()


def patch_digits(model, tokens):
    """(B, t, h, w, digits of a patch)"""
    return FSQ(model.patch_levels).digits(model.patch_indices(tokens))


@pytest.mark.parametrize("group", [(1, 1, 1), (1, 2, 2), (3, 1, 1)])
def test_only_the_busiest_patches_of_each_latent_frame_have_details(group):
    model = detailed(group)
    video = torch.rand(2, 1, 12, 16, 32) * 2 - 1
    video *= torch.linspace(0.1, 1, 32)  # the further right, the busier
    video[1, :, 4:8] *= torch.linspace(1, 0.01, 32)  # but not there
    digits = patch_digits(model, model.encode(video))  # (2, 3, 4, 8, 5)
    plain = (digits[..., 2:] == torch.tensor([2, 1, 3])).all(-1)  # the middles
    busiest = video.unfold(2, 4, 4).unfold(3, 4, 4).unfold(4, 4, 4).flatten(5).var(-1)[:, 0].flatten(2)
    chosen = torch.zeros_like(busiest, dtype=torch.bool).scatter(-1, busiest.topk(8).indices, True)  # 8 of 32
    assert plain.flatten(2)[~chosen].all(), "details where none are allowed"
    assert not plain.flatten(2)[chosen].all(), "no details at all"
    used = model.used(video)
    t, h, w = group
    assert used.shape == (2, 3 // t, 4 // h, 8 // w, len(model.levels)) and used.dtype == torch.bool
    assert (used.sum((2, 3, 4)) == t * (2 * 32 + 3 * 8)).all()
    assert torch.equal(model.vectors(video) == 0, ~used)


def test_details_stream_know_no_later_frame_and_go_there_and_back():
    model = detailed()
    video = torch.rand(2, 1, 16, 16, 16) * 2 - 1
    tokens = model.encode(video)
    changed = video.clone()
    changed[:, :, 8:] *= -0.3
    assert torch.equal(model.encode(changed)[:, :2], tokens[:, :2])
    past = {}
    assert torch.equal(torch.cat([model.encode(part, past) for part in video.split(8, dim=2)], dim=1), tokens)
    torch.testing.assert_close(model(video)[0].clamp(-1, 1), model.decode(tokens))
    small = video[..., :13, :9]  # padded
    assert model.decode(model.encode(small), small.shape[2:]).shape == small.shape


PIXELS = (4, 16, 24)  # of 1 x 2 x 3 tokens of detailed()


def test_bits_are_the_digits_and_the_choice_of_patches():
    assert tokenizer().raw_bits((12, 16, 40)) == pytest.approx(30 * math.log2(240))
    model = detailed()  # of 2 x 3 tokens of 4 patches 6 are busy, in C(24, 6) ways
    ways = 40**24 * 105**6 * math.comb(24, 6)
    assert model.raw_bits(PIXELS) == pytest.approx(math.log2(ways))
    assert model.raw_bits((5 * PIXELS[0], *PIXELS[1:])) == pytest.approx(5 * math.log2(ways))
    assert detailed(share=1.0).raw_bits(PIXELS) == pytest.approx(24 * math.log2(40 * 105))


@pytest.mark.parametrize(("levels", "share"), [((5, 4), 0.2), ((5,), 0.0), ((), 0.2), ((5,), 1.5), ((5,), -0.1)])
def test_details_without_a_middle_or_a_share_are_refused(levels, share):
    with pytest.raises(ValueError, match="odd levels and a share"):
        TubeletTokenizer(TubeletConfig(detail_levels=levels, detail_share=share))


def test_a_long_clip_is_worked_through_in_pieces_with_the_numbers_of_the_whole(monkeypatch):
    model = grouped()
    video = torch.rand(2, 1, 46, 15, 24) * 2 - 1  # 12 latent frames, the last of them padded
    indices = model.encode(video)
    decoded = model.decode(indices, video.shape[2:])
    seen = []
    for layer in (model.embed, model.to_pixels):
        layer.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0].shape[1]))
    patches = 2 * 4 * 6  # of two clips, in a latent frame
    for at_once, due in ((5, [5, 5, 2]), (1, [1] * 12), (12, [12])):
        monkeypatch.setattr(tubelet, "PIECE", at_once * patches)
        seen.clear()
        assert torch.equal(model.encode(video), indices) and seen == due
        seen.clear()
        again = model.decode(indices, video.shape[2:])
        torch.testing.assert_close(again, decoded, atol=1e-5, rtol=0)
        assert seen == due and again.shape == video.shape
    monkeypatch.setattr(tubelet, "PIECE", 1)  # less than one
    assert torch.equal(model.encode(video), indices)
    with pytest.raises(ValueError, match=r"got tokens \(12, 2, 2\), expected \(B, t, h, w\)"):
        model.decode(indices[0])


def test_the_shipped_tokenizer_gives_the_same_tokens_and_frames_as_a_stream(monkeypatch):
    model = checkpoints.load("tubelet-fsq-64")
    frames = draw_cartoon(104, (64, 64)).frames
    video = to_unit(frames)[None]
    monkeypatch.setattr(tubelet, "PIECE", 2**30)
    indices = model.encode(video)
    decoded = model.decode(indices)
    monkeypatch.setattr(tubelet, "PIECE", 4 * 256)  # four latent frames
    assert torch.equal(model.encode(video), indices)
    torch.testing.assert_close(model.decode(indices), decoded, atol=1e-5, rtol=0)
    past: dict = {}
    last = indices.shape[1] - 1
    live = [model.decode(indices[:, k : k + 1], past=past, more=k < last) for k in range(last + 1)]  # as a screen would
    torch.testing.assert_close(torch.cat(live, dim=2), decoded, atol=1e-5, rtol=0)
