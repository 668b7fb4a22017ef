"""Laws of the features and of what is measured with them: which sets of clips are alike, and which are not."""

import math

import pytest
import torch

from vg import checkpoints
from vg.data import Clips, drawn_cartoon, open_store
from vg.data.augment import degrade, jitter
from vg.evaluation.features import accuracy, ordered, shot_numbers
from vg.evaluation.generated import describe, frechet_facts, shuffled, windows
from vg.experiments.losses import features_loss
from vg.models import ClipFeatures, FeaturesConfig


def network(**changes):
    torch.manual_seed(0)
    return ClipFeatures(FeaturesConfig(**({"shots": 5, "width": 16, "size": 32} | changes))).eval()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VG_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield open_store(drawn_cartoon(), size=64, frames=600)


def test_a_clip_of_any_size_length_and_colour_becomes_so_many_numbers():
    model = network()
    for shape in [(2, 1, 16, 32, 32), (2, 1, 5, 24, 40), (1, 3, 2, 64, 64)]:
        assert model(torch.zeros(shape)).shape == (shape[0], 64)
    colour = torch.rand(1, 3, 8, 32, 32)
    grey = colour.mean(1, keepdim=True)
    torch.testing.assert_close(model(colour), model(grey))
    shot, order = model.guess(grey)
    assert shot.shape == (1, 5) and order.shape == (1, 4)


@pytest.mark.parametrize("shape", [(1, 1, 1, 32, 32), (1, 1, 0, 32, 32), (1, 16, 32, 32), (2, 2, 8, 32, 32)])
def test_one_frame_has_no_features_nor_have_clips_of_two_channels(shape):
    with pytest.raises(ValueError, match="C 1 or 3 and T from 2"):
        network()(torch.zeros(shape))


def test_features_see_the_order_of_frames_and_do_not_mix_clips():
    model, video = network(), torch.rand(2, 1, 16, 32, 32)
    with torch.no_grad():
        assert not torch.allclose(model(video), model(video.flip(2)), atol=1e-3)
        torch.testing.assert_close(model(video)[1:], model(video[1:]), atol=1e-5, rtol=1e-4)


def test_every_clip_is_named_after_the_shot_that_it_lies_in(store):
    shots = [store.shots[0], store.shots[2], store.shots[1]]
    clips = Clips(store, sorted(shots), 16, stride=3)
    names = shot_numbers(clips, sorted(shots))
    for start, name in zip(clips.starts, names.tolist()):
        first, stop = sorted(shots)[name]
        assert first <= start and start + 16 <= stop


def test_a_right_answer_lowers_the_loss_and_counts_as_accuracy(store):
    shots = store.shots[:3]
    clips = Clips(store, shots, 16, stride=8)
    names = shot_numbers(clips, shots)

    class Knows(torch.nn.Module):  # the shot from the clip itself, of the order nothing
        def __init__(self, right):
            super().__init__()
            self.weight, self.right = torch.nn.Parameter(torch.zeros(1)), right

        def guess(self, video):
            known = clips.take(range(len(clips)))
            known = torch.cat([known, known.flip(-1)]).mean(2)  # whatever the order, the mean frame is about the same
            error = (known[None] - video.mean(2)[:, None]).abs().flatten(2).mean(2)
            name = names[error.argmin(1) % len(clips)]
            name = name if self.right else (name + 1) % 3
            return 20.0 * torch.nn.functional.one_hot(name, 3), torch.zeros(len(video), 4)

    losses = [float(features_loss(clips, shots)(Knows(r), torch.arange(6))) for r in (True, False)]
    assert losses[0] == pytest.approx(math.log(4), abs=0.1) and losses[1] > 10
    found = accuracy(Knows(True), clips, shots)
    assert found == {
        "as filmed": 1,
        "backwards": 0,
        "shuffled": 0,
        "standing still": 0,
        "arrow of time": 0.5,
        "shot": 1,
    }
    assert accuracy(Knows(False), clips, shots)["shot"] == 0


def test_degraded_clips_are_the_same_clips_in_another_light_and_sharpness():
    torch.manual_seed(0)
    video = 0.5 * torch.rand(64, 1, 2, 16, 16).round() - 0.25
    made = degrade(video)
    assert made.shape == video.shape and made.abs().max() <= 1
    flat, degraded = (x.flatten(1) - x.flatten(1).mean(1, keepdim=True) for x in (video, made))
    alike = torch.nn.functional.cosine_similarity(flat, degraded)
    assert alike.min() > 0.3 and 16 < int((alike > 0.97).sum()) < 48, "half of them blurred"
    assert (made - video).flatten(1).mean(1).std() > 0.03
    sharp = degrade(video, coarsest=1.0, noise=0.0)
    assert all(len(clip.unique()) <= 4 for clip in sharp), "two greys stay two greys, but for rounding"


def test_jittered_clips_tremble_less_or_more_and_what_moves_far_still_does():
    torch.manual_seed(0)
    video = torch.zeros(64, 1, 8, 16, 16)
    video[:, :, 4:, :8] = 1.0  # half of the picture changes by much
    video[:, :, ::2, 8:] = 0.02  # the other half trembles
    made = jitter(video)
    assert made.shape == video.shape
    still = jitter(video, shake=0.0)
    trembles = (still[:, :, 1:, 8:] - still[:, :, :-1, 8:]).abs().amax((1, 2, 3, 4))
    assert 16 < int((trembles < 0.019).sum()) < 48, "half of them calmed"
    assert (trembles < 0.021).all() and (trembles < 1e-6).any()
    assert (still[:, :, 4:, :8].mean((1, 2, 3, 4)) - still[:, :, :4, :8].mean((1, 2, 3, 4)) > 0.8).all()
    calm = jitter(video, calm=0.0)
    assert 16 < int(((calm - video).abs().amax((1, 2, 3, 4)) > 1e-4).sum()) < 48, "half of them jittered"


def test_a_clip_in_another_order_has_the_same_frames():
    clip = torch.arange(8.0).view(1, 8, 1, 1).expand(1, 8, 2, 2)
    assert torch.equal(ordered(clip, "as filmed"), clip)
    assert torch.equal(ordered(clip, "backwards"), clip.flip(1))
    mixed = ordered(clip, "shuffled")
    assert not torch.equal(mixed, clip) and torch.equal(mixed.sort(1).values, clip)
    still = ordered(clip, "standing still")
    assert len(still.unique()) == 1 and still.shape == clip.shape


def test_windows_lie_side_by_side_within_shots_and_shuffling_keeps_frames(store):
    assert len(windows(store, 16)) == sum((stop - start) // 16 for start, stop in store.shots)
    video = windows(store, 48)
    mixed = shuffled(video)
    assert not torch.equal(mixed, video)
    torch.testing.assert_close(mixed.mean(2), video.mean(2))
    assert describe(network(size=64), video).shape == (3 * len(video), 64)


def smeared(video, frames):
    """Every frame the mean of so many around it."""
    padded = torch.nn.functional.pad(video, (0, 0, 0, 0, frames // 2, frames // 2), mode="replicate")
    return torch.nn.functional.avg_pool3d(padded, (frames, 1, 1), 1)


def test_the_distance_orders_sets_of_clips_as_an_eye_does(some_video):
    """On the film, where it is at hand, and on the drawn cartoon, which the network has never seen."""
    _, store = some_video
    features, tokenizer = checkpoints.load("film-features"), checkpoints.load("tubelet-fsq-64")
    stretches = windows(store, 48)
    halves, real = stretches[::2], stretches[1::2, :, 16:]
    drawn = torch.cat([tokenizer.decode(tokenizer.encode(part)) for part in halves.split(8)])
    sets = {
        "real": halves,
        "tokenizer": drawn,
        "smeared": smeared(halves, 7),
        "copied": halves[:, :, 15:16].expand_as(halves),
        "shuffled": shuffled(halves),
        "trembling": drawn + 2 * (drawn - smeared(drawn, 3)),  # sharpened in time: white ghosts round what moves
    }
    far = frechet_facts({name: video[:, :, 16:].clamp(-1, 1) for name, video in sets.items()}, real, features)[
        "frechet"
    ]
    assert far["real"] < far["tokenizer"] < far["smeared"] < min(far["copied"], far["shuffled"]), far
    assert far["tokenizer"] < far["trembling"], far
