"""Laws of the parts that move: where they lie, what damages them, and that damage is seen."""

import pytest
import torch

from vg import checkpoints
from vg.evaluation.damage import DAMAGES, damaged, mismatched, where_it_moves
from vg.evaluation.figures import COUNT, PIECE, figure_facts, moving_parts
from vg.evaluation.generated import windows
from vg.evaluation.tokenizer import reconstruct


def moving_square(T=16, H=48, W=64, top=30, left=40, side=8):
    """A clip in which a square of noise flickers, and nothing else moves."""
    clip = 0.1 * torch.rand(1, 1, H, W, generator=torch.Generator().manual_seed(0)).expand(1, T, H, W).clone()
    clip[:, :, top : top + side, left : left + side] = torch.rand(1, T, side, side) * 2 - 1
    return clip


def test_parts_lie_where_clips_move_and_row_k_is_of_clip_k_modulo_their_number():
    first, second = moving_square(top=0, left=0), moving_square(top=40, left=56)
    parts = moving_parts(torch.stack([first, second]), count=2)
    assert parts.shape == (2 * 2 * 2, 1, PIECE, 24, 24)
    assert torch.equal(parts[0][..., :8, :8], first[:, :8, :8, :8]), "clip 0, frames 0 to 7, the liveliest"
    assert torch.equal(parts[1][..., -8:, -8:], second[:, :8, -8:, -8:]), "clip 1"


def test_a_second_part_has_its_middle_away_from_the_first():
    clip = moving_square(H=64, W=64, top=0, left=0) + moving_square(H=64, W=64, top=50, left=50)
    clip[:, :, :8, :8] *= 2
    first, second = moving_parts(clip[None]).unflatten(0, (COUNT, 2))
    assert first.amax((1, 2, 3, 4)).min() > 1.5 and second.amax((1, 2, 3, 4)).max() < 1.5
    assert second.diff(dim=2).abs().mean() > 0.02, "the other square"


def test_what_trembles_does_not_move():
    clip = moving_square(side=6, top=42)
    clip[:, ::2, :24] += 0.07  # half of the picture trembles by 9 grey levels, which is more in all
    [first, _] = moving_parts(clip[None], count=1)
    assert first.diff(dim=1).abs().max() > 0.5


@pytest.mark.parametrize("frames", [1, PIECE - 1])
def test_too_short_a_clip_has_no_parts(frames):
    with pytest.raises(ValueError, match="frames, expected 8 or more"):
        moving_parts(torch.zeros(1, 1, frames, 32, 32))


@pytest.mark.parametrize("kind", DAMAGES[1:-1])
def test_damage_changes_what_moves_and_nothing_else(kind):
    torch.manual_seed(0)
    clip = moving_square(side=16, top=16, left=24)
    made, mask = damaged(clip, kind), where_it_moves(clip).expand_as(clip)
    assert made.shape == clip.shape
    assert torch.equal(made[mask == 0], clip[mask == 0])
    assert (made - clip)[mask == 1].abs().mean() > 0.1
    still = clip[:, :1].expand_as(clip)
    assert torch.equal(damaged(still, kind), still), "where nothing moves there is nothing to damage"


def test_whole_clips_stay_and_standing_ones_stand():
    clip = moving_square()
    assert damaged(clip, "as filmed") is clip
    standing = damaged(clip, "standing still")
    inside = standing[:, :, 32:36, 42:46]
    torch.testing.assert_close(inside, inside.mean(1, keepdim=True).expand_as(inside))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_mismatched_tokens_come_from_the_same_place_at_most_three_latent_frames_away(share):
    torch.manual_seed(0)
    t, h, w = 6, 4, 5
    tokens = (torch.arange(t)[:, None, None] * 100 + torch.arange(h * w).view(1, h, w)).expand(2, t, h, w)
    made = mismatched(tokens, share)
    assert torch.equal(made % 100, tokens % 100)
    away = (made // 100 - tokens // 100).abs()
    assert away.max() <= 3 and abs(float((away > 0).float().mean()) - share) < 0.1


def waves(video):
    """Every row swings to and fro: a way in which figures fall apart that no network was shown."""
    T, H, W = video.shape[2:]
    phase = torch.arange(H)[None] / 16 + torch.arange(T)[:, None] / 8
    columns = (torch.arange(W) + 4 * torch.sin(2 * torch.pi * phase)[..., None]).round().long().clamp(0, W - 1)
    return video.gather(4, columns.expand_as(video))


def softened(video):
    """Blurred by a Gaussian of two pixels."""
    g = torch.exp(-torch.arange(-4.0, 5.0).square() / 8)
    frames = torch.nn.functional.pad(video.transpose(1, 2).flatten(0, 1), (4, 4, 4, 4), mode="replicate")
    kernel = (g / g.sum())[:, None] * (g / g.sum())
    return torch.nn.functional.conv2d(frames, kernel[None, None]).unflatten(0, (len(video), -1)).transpose(1, 2)


def test_figures_that_come_apart_are_told_from_whole_ones(some_video):
    """In ways that the network was not trained on; on the film, where it is at hand, and on the drawn cartoon, which
    neither this network nor the tokenizer has ever seen: what the tokenizer makes of it is not whole.
    """
    source, store = some_video
    stretches = windows(store, 32)
    halves, real = stretches[::2], stretches[1::2]
    mask = torch.stack([where_it_moves(clip) for clip in halves])
    apart = {
        "softened": softened(halves),
        "waves": waves(halves),
        "two moments at once": (halves + halves.flip(2)) / 2,
        "standing": halves[:, :, 15:16].expand_as(halves),
    }
    sets = {"film": halves, **{name: halves + mask * (video - halves) for name, video in apart.items()}}
    assert {video.shape for video in sets.values()} == {halves.shape}
    whole_ones = ["film"]
    if source == "film":
        sets["tokenizer"] = reconstruct(checkpoints.load("tubelet-fsq-64"), halves).clamp(-1, 1)
        whole_ones += ["tokenizer"]
    facts = figure_facts(sets, real, checkpoints.load("figure-features"))
    far = facts["distance"]
    assert max(far[name] for name in whole_ones) < min(far[name] for name in apart), far
    if source == "film":
        share = facts["whole"]
        assert min(share[name] for name in whole_ones) > max(share[name] for name in apart), share
