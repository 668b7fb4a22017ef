"""Laws of the recipes: batches repeat with their seed, only what is shown is corrupted, the loss is a PSNR."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchvision.utils import save_image

from vg import checkpoints
from vg.data import Clips, drawn_cartoon, open_store, save, to_unit
from vg.data.augment import random_views
from vg.data.pixels import YCBCR
from vg.evaluation import psnr
from vg.experiments.batches import prior_batches, tokenizer_batches, unpack_batch
from vg.experiments.losses import prior_loss, squared_error, tokenizer_loss, tubelet_loss
from vg.generate import main as generate_clips
from vg.latents import Windows
from vg.models import PriorConfig, Quantized


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("VG_CACHE", str(tmp_path))
    return open_store(drawn_cartoon(), size=16, frames=120)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_tokenizer_batches_are_clips_mirrored_and_moved_and_repeat_with_their_seed(store):
    clips = Clips(store, frames=4)
    draw = tokenizer_batches(clips, batch=2, shift=1)
    batches = [draw(seeded(k)) for k in range(12)]
    assert all(b.shape == (2, 1, 4, 16, 16) for b in batches)
    assert torch.equal(batches[3], draw(seeded(3)))
    every = to_unit(torch.from_numpy(store.frames.copy()))[0]  # (T, H, W)
    every = torch.nn.functional.pad(every, (1, 1, 1, 1), mode="replicate")
    views = [every[:, y : y + 16, x : x + 16] for y in range(3) for x in range(3)]
    known = torch.stack([v for view in views for v in (view, view.flip(-1))])  # all that a frame may have become
    kinds = set()
    for batch in batches:
        for clip in batch[:, 0]:
            runs = torch.stack([known[:, s : s + 4] for s in clips.starts], 1)  # views, starts, 4, H, W
            equal = (runs == clip).flatten(2).all(-1)
            assert equal.any(), "a batch holds what is no clip of the store"
            kinds.add(int(equal.any(1).nonzero()[0]) % 2)
    assert kinds == {0, 1}, "mirrored and not"


def test_the_tokenizers_loss_is_its_psnr_in_other_units():
    video = torch.rand(3, 1, 4, 8, 8) * 2 - 1
    error = torch.tensor([0.1, 0.2, 0.4]).view(3, 1, 1, 1, 1)
    off = (video - error * torch.where(video > 0, 1, -1)).clamp(-1, 1)
    stand_in = SimpleNamespace(quantize=lambda v: Quantized(off, None, 0.25), reconstruct=lambda codes, size: codes)
    due = (2 * 10 ** (-psnr(off, video) / 20)).mean()
    codebook = 0.25  # what the quantizer asks for is added as it is
    assert float(tokenizer_loss(stand_in, video)) - codebook == pytest.approx(float(due), rel=1e-2)


def test_batches_that_are_reversed_are_clips_run_backwards_about_half_of_the_time(store):
    clips = Clips(store, frames=4)
    forward = clips.take(range(len(clips)))
    draw = tokenizer_batches(clips, batch=1, shift=0, reverse=True)
    found = {True: 0, False: 0}
    for k in range(20):
        clip = draw(seeded(k))
        views = {turned: (clip.flip(2) if turned else clip) for turned in (False, True)}
        here = [t for t, v in views.items() if any((forward == x).flatten(1).all(1).any() for x in (v, v.flip(-1)))]
        assert here, "a batch holds what is no clip of the store in either direction"
        if len(here) == 1:  # a clip that stands still is its own reverse
            found[here[0]] += 1
    assert min(found.values()) >= 4


def test_the_tubelet_loss_is_psnr_but_for_a_factor():
    video = torch.rand(3, 1, 4, 8, 8) * 2 - 1
    error = torch.tensor([0.1, 0.2, 0.4]).view(3, 1, 1, 1, 1)
    off = (video - error * torch.where(video > 0, 1, -1)).clamp(-1, 1)
    stand_in = SimpleNamespace(quantize=lambda v: Quantized(off, None, 0.0), reconstruct=lambda codes, size: codes)
    due = math.log(2) - psnr(off, video).mean() * math.log(10) / 20
    assert float(tubelet_loss(stand_in, video)) == pytest.approx(float(due), abs=1e-2)


def test_steps_from_frame_to_frame_weigh_as_much_as_is_asked_for():
    video, off = torch.rand(2, 3, 1, 4, 8, 8).mul(1.6).sub(0.8)
    stand_in = SimpleNamespace(quantize=lambda v: Quantized(off, None, 0.0), reconstruct=lambda codes, size: codes)
    frames = (off - video).square().flatten(1).mean(1)
    step = ((off[:, :, 1:] - off[:, :, :-1]) - (video[:, :, 1:] - video[:, :, :-1])).square().flatten(1).mean(1)
    for motion in (0.0, 0.5, 2.0):
        due = (frames + motion * step + 2e-4).log().mean() / 2
        torch.testing.assert_close(tubelet_loss(stand_in, video, motion), due)
    brighter = SimpleNamespace(quantize=stand_in.quantize, reconstruct=lambda codes, size: video + 0.1)
    torch.testing.assert_close(tubelet_loss(brighter, video, 9.0), tubelet_loss(brighter, video)), "it moves alike"
    one = video[:, :, :1]
    still = SimpleNamespace(quantize=stand_in.quantize, reconstruct=lambda codes, size: off[:, :, :1])
    torch.testing.assert_close(tubelet_loss(still, one, 9.0), tubelet_loss(still, one)), "a picture has no steps"


def test_views_in_colour_have_their_hues_turned_as_often_as_is_asked_for():
    red = np.zeros((8, 3, 16, 16), np.uint8)
    red[:, 0], red[:, 1:] = 140, 100
    store = SimpleNamespace(frames=red, shots=[(0, 8)], name="red")
    plain = random_views(Clips(store, frames=2), 200, 8, whole=1, gain=0.0)(seeded())[:, :, 0, 0, 0]
    views = random_views(Clips(store, frames=2), 200, 8, whole=1, gain=0.0, hue=0.5)(seeded())[:, :, 0, 0, 0]
    turned = (views - plain).abs().amax(1) > 1e-3
    assert 0.4 < turned.float().mean() < 0.6 and torch.unique(views[turned], dim=0).shape[0] == int(turned.sum())
    basis = torch.tensor(YCBCR)
    luma, cb, cr = basis @ views.T
    torch.testing.assert_close(luma, (basis @ plain.T)[0])
    torch.testing.assert_close(torch.hypot(cb, cr), torch.hypot(*(basis @ plain.T)[1:]))
    angles = torch.atan2(cr, cb)[turned]
    assert all(((angles > a) & (angles < a + math.pi / 2)).sum() > 10 for a in (-math.pi, -math.pi / 2, 0, math.pi / 2))
    grey = SimpleNamespace(frames=red[:, :1], shots=[(0, 8)], name="grey")
    same = [random_views(Clips(grey, frames=2), 9, 8, hue=hue)(seeded()) for hue in (0.0, 1.0)]
    assert torch.equal(*same), "grey has no hue, and draws what it drew"


class Watched:
    """A prior that notes what it is asked."""

    grid, goal, config = (2, 3), None, PriorConfig()

    def __init__(self, labels):
        self.label_embedding = object() if labels else None

    def nll_bits(self, indices, label, given, goal):
        self.seen = (indices, label, given)
        return indices.float()


def windows(n=40):
    tokens = torch.arange(n * 6).view(n, 2, 3).numpy().astype("uint16")
    starts = torch.arange(n - 3).numpy()
    return Windows(tokens, starts, starts // 10, 4)


def test_the_prior_has_to_predict_true_tokens_and_sees_some_wrong_ones():
    torch.manual_seed(0)
    draw = prior_batches(windows(), batch=32)
    batch = draw(seeded(1))
    assert torch.equal(batch, draw(seeded(1))) and batch.shape == (32, 4 * 6 + 4)
    prior = Watched(labels=True)
    prior_loss(token_noise=0.3, drop_label=0.5)(prior, batch)
    indices, scene, given = prior.seen
    tokens, shots, backwards = unpack_batch(batch)
    assert torch.equal(indices, tokens) and backwards == 0
    assert torch.equal(indices.flatten(1), indices[:, :1, 0, 0] + torch.arange(24)), "a stretch of the film"
    assert torch.equal(shots, indices[:, 0, 0, 0] // 6 // 10), "the shot's number is the window's own"
    wrong = (given != indices).flatten(1).float().mean(1)  # (B,), from 0 to 0.3, about
    assert 0.1 < wrong.mean() < 0.2 and wrong.min() < 0.06 and wrong.max() < 0.6
    known = scene >= 0
    assert 0.2 < known.float().mean() < 0.8 and torch.equal(scene[known], shots[known])
    prior_loss(token_noise=0.0, drop_label=0.0)(prior, batch)
    assert torch.equal(prior.seen[2], indices) and torch.equal(prior.seen[1], shots)
    same, unknown, _ = unpack_batch(prior_batches(windows(), batch=32, labelled=False)(seeded(1)))
    assert torch.equal(same, tokens) and bool((unknown == -1).all())
    plain = Watched(labels=False)
    prior_loss()(plain, batch)
    assert plain.seen[1] is None


SIZES = [size for size in (64, 128) if f"prior-{size}" in checkpoints.names()]


@pytest.mark.parametrize("size", SIZES)
def test_clips_are_generated_from_the_command_line(size, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VG_CACHE", str(tmp_path / "cache"))
    assert generate_clips(["--size", str(size), "--frames", "24", "--count", "1", "--to", str(tmp_path / "out")]) == 0
    kinds = ("continued", "from-a-still", "from-nothing")
    due = sorted(f"{kind}-{size}-0{suffix}" for kind in kinds for suffix in (".gif", ".mp4"))
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == due
    assert f"from-nothing-{size}-0.gif" in capsys.readouterr().out


def test_zoomed_batches_are_parts_of_clips_at_the_wanted_size_and_repeat_with_their_seed(store):
    clips = Clips(store, frames=4)
    draw = random_views(clips, batch=3, size=8)
    batches = [draw(seeded(k)) for k in range(4)]
    assert all(b.shape == (3, 1, 4, 8, 8) and b.abs().max() <= 1 for b in batches)
    assert torch.equal(batches[2], draw(seeded(2)))
    assert not torch.equal(batches[2], batches[3])


def test_a_zoomed_part_without_gain_is_the_resized_crop(store):
    clips = Clips(store, frames=4)
    whole = clips.take(range(len(clips)))
    small = torch.nn.functional.interpolate(
        whole.flatten(0, 2)[:, None], size=(8, 8), mode="bilinear", antialias=True, align_corners=False
    ).view(len(whole), 1, 4, 8, 8)
    known = torch.cat([small, small.flip(-1), small.flip(2), small.flip(2, -1)])
    drawn = random_views(clips, batch=60, size=8, gain=0.0)(seeded())
    near = torch.stack([(known - clip).abs().flatten(1).amax(1).min() for clip in drawn])
    assert 12 <= int((near < 1e-5).sum()) < 40, "a third shows the whole picture, the others a part"
    full = random_views(clips, batch=24, size=8, least=1.0, gain=0.0)(seeded())
    assert all((known - clip).abs().flatten(1).amax(1).min() < 1e-5 for clip in full)


def test_a_view_has_a_little_more_or_less_contrast_and_light(store):
    clips = Clips(store, frames=4)
    plain, lit = (random_views(clips, batch=40, size=8, gain=gain)(seeded()).flatten(1) for gain in (0.0, 0.2))
    lines = []
    for x, y in zip(plain, lit):
        inside = (y.abs() < 1) & (x.abs() < 1)
        if x[inside].std() > 0.05:  # else there is no contrast to change
            ones = torch.ones(int(inside.sum()))
            line = torch.linalg.lstsq(torch.stack([x[inside], ones], 1), y[inside, None]).solution
            torch.testing.assert_close(x[inside] * line[0] + line[1], y[inside], atol=1e-4, rtol=0)
            lines.append(line[:, 0] - torch.tensor([1.0, 0.0]))
    contrast, light = torch.stack(lines).T
    for each in (contrast, light):
        assert len(each) > 20 and each.abs().max() < 0.201 and each.min() < -0.1 and each.max() > 0.1


def test_views_are_of_all_scales_and_from_all_places():
    ramp = np.broadcast_to(np.arange(0, 256, 4, dtype=np.uint8), (8, 1, 64, 64))  # brighter to the right
    store = SimpleNamespace(frames=ramp, shots=[(0, 8)], name="ramp")
    views = random_views(Clips(store, frames=2), batch=200, size=32, whole=0, gain=0.0)(seeded()).flatten(1)
    left, right = (views.amin(1) + 1) / 2, (views.amax(1) + 1) / 2
    share = (right - left) * 255 / 252
    assert 0.45 < share.min() < 0.55 and share.max() > 0.93
    assert ((share > 0.6) & (share < 0.85)).float().mean() == pytest.approx(0.5, abs=0.1), "of even chances"
    assert left.min() < 0.03 and right.max() > 0.95 and left.max() > 0.35


def test_zoomed_batches_can_be_plain_crops(store):
    clips = Clips(store, frames=4)
    whole = clips.take(range(len(clips)))
    crops = [whole[..., y : y + 12, x : x + 12] for y in range(5) for x in range(5)]
    known = torch.cat([way for c in crops for way in (c, c.flip(-1), c.flip(2), c.flip(2, -1))])
    drawn = random_views(clips, batch=12, size=12, least=0.75, most=0.75, whole=0, gain=0.0)(seeded())
    assert all((known - clip).abs().flatten(1).amax(1).min() < 1e-5 for clip in drawn)


@pytest.mark.parametrize("name", ["still.png", "still.jpg", "mine.mp4"])
def test_a_picture_or_a_video_of_ones_own_is_gone_on_from(name, tmp_path, monkeypatch):
    monkeypatch.setenv("VG_CACHE", str(tmp_path / "cache"))
    path, to = tmp_path / name, tmp_path / "out"
    video = torch.linspace(-1, 1, 48).expand(1, 20, 40, 48)
    if name.endswith(".mp4"):
        save(path, video, fps=12)
    else:
        save_image((video[:, 0] + 1) / 2, path)
    kind, option = ("continued", "--prompt") if name == "mine.mp4" else ("from-a-still", "--still")
    asked = ["--size", "64", option, str(path), "--frames", "24", "--count", "1", "--to", str(to)]
    assert generate_clips(asked) == 0
    assert sorted(p.name for p in to.iterdir()) == [f"{kind}-64-0.gif", f"{kind}-64-0.mp4"]


def test_what_cannot_be_gone_on_from_is_refused_in_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VG_CACHE", str(tmp_path / "cache"))
    for asked, why in ((["--still", str(tmp_path / "none.png")], "no file"), (["--scene", "moon"], "no scene 'moon'")):
        with pytest.raises(SystemExit) as stopped:
            generate_clips(["--size", "64", *asked, "--to", str(tmp_path / "out")])
        assert stopped.value.code == 2 and why in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_colours_weigh_as_eyes_do_and_grey_costs_the_same_in_one_channel_and_in_three():
    grey = torch.rand(2, 1, 4, 8, 8), torch.rand(2, 1, 4, 8, 8)
    three = [each.expand(-1, 3, -1, -1, -1) for each in grey]
    torch.testing.assert_close(squared_error(*three), squared_error(*grey))
    nothing = torch.zeros(1, 3, 1, 1, 1)

    def of(red: float, green: float, blue: float) -> float:
        return float(squared_error(torch.tensor([red, green, blue]).view(1, 3, 1, 1, 1), nothing))

    assert of(0, 1, 0) > of(1, 0, 0) > of(0, 0, 1), "green is bright, blue is dark"
    luma, blue, red = 0.587, -0.587 / 1.772, -0.587 / 1.402  # of green, by ITU-R BT.601
    assert of(0, 1, 0) == pytest.approx(luma**2 + (blue**2 + red**2) / 6, rel=1e-5)
    assert of(0.3, 0.3, 0.3) == pytest.approx(0.09, rel=1e-4), "no colour, luma alone"
