"""``python -m vg.generate`` for the tasks of a prior of one's own: files of the right shape, and clear refusals."""

import av
import pytest
import torch
from tiny_priors import LEVELS, tiny_prior

import vg.generate
from vg import checkpoints
from vg.data import save
from vg.data.beginning import first_frames
from vg.generate import main
from vg.models import TubeletConfig, TubeletTokenizer


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A finished experiment: clips of 8x12 pixels in tubelets of two frames."""
    monkeypatch.setenv("VG_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    tokenizer = TubeletTokenizer(TubeletConfig((2, 4, 4), LEVELS, width=16, encoder_depth=1, decoder_depth=1))
    checkpoints.save("tokenizer", tokenizer, {}, tmp_path / "mine")
    checkpoints.save("prior", tiny_prior().float(), {}, tmp_path / "mine")
    return tmp_path / "mine"


def made(folder, *arguments):
    """What the command wrote: name -> (frames, height, width) of the MP4s."""
    out = folder.parent / "out"
    assert main(["--model", str(folder), "--count", "1", "--to", str(out), *map(str, arguments)]) == 0
    found = {}
    for path in sorted(out.glob("*.mp4")):
        with av.open(str(path)) as file:
            frames = list(file.decode(video=0))
        found[path.name] = (len(frames), frames[0].height, frames[0].width)
    return found


def a_video(folder, frames, level, name):
    path = folder.parent / name
    save(path, torch.full((1, frames, 48, 64), level), fps=12)
    return path


def test_loops_joins_and_what_came_before_are_written(folder):
    first, second = a_video(folder, 30, -0.5, "a.mp4"), a_video(folder, 20, 0.5, "b.mp4")
    assert made(folder, "--loop", "--frames", 8) == {"loop-mine-0.mp4": (8, 256, 384)}
    found = made(folder, "--loop", first, "--join", first, second, "--before", second, "--frames", 48, "--seed", 3)
    del found["loop-mine-0.mp4"]
    assert {name: size[0] for name, size in found.items()} == {
        "loop-mine-3.mp4": 48, "join-mine-3.mp4": 48, "before-mine-3.mp4": 48
    }  # fmt: skip


@pytest.mark.parametrize("lengths", [(30, 20), (1, 1), (5, 30), (3, 1)])
def test_a_join_is_as_long_as_asked(folder, lengths):
    ends = [a_video(folder, frames, 0.5, f"{k}.mp4") for k, frames in enumerate(lengths)]
    assert [length for length, *_ in made(folder, "--join", *ends, "--frames", 40).values()] == [40]


@pytest.mark.parametrize("frames", [32, 45])
def test_a_join_of_another_length_is_refused_with_what_would_do(folder, capsys, frames):
    ends = [a_video(folder, 30, 0.5, f"{k}.mp4") for k in range(2)]
    with pytest.raises(SystemExit):
        made(folder, "--join", *ends, "--frames", frames)
    assert "fill 32 frames of a join. Ask for more than that, a multiple of 2" in capsys.readouterr().err


def test_nothing_is_written_over_not_even_what_it_is_asked_to_go_on_from(folder):
    video = a_video(folder, 30, -0.5, "a.mp4")
    made(folder, "--prompt", video, "--frames", 20)
    first = (folder.parent / "out" / "continued-mine-0.mp4").read_bytes()
    found = made(folder, "--prompt", folder.parent / "out" / "continued-mine-0.mp4", "--frames", 24)
    assert (folder.parent / "out" / "continued-mine-0.mp4").read_bytes() == first
    assert {name: size[0] for name, size in found.items()} == {"continued-mine-0.mp4": 20, "continued-mine-0-2.mp4": 24}
    assert "loop-mine-8x8-0.mp4" in made(folder, "--loop", "--frames", 4, "--size", "8x8")


def test_an_interrupt_ends_all_and_what_was_drawn_is_kept(folder, monkeypatch):
    monkeypatch.setattr(vg.generate, "before", lambda *_, frames, **__: torch.zeros(1, 1, frames - 2, 8, 12))
    out = folder.parent / "out"
    asked = ["--model", str(folder), "--before", str(a_video(folder, 20, 0.5, "a.mp4")), "--to", str(out)]
    assert main([*asked, "--count", "3", "--frames", "24"]) == 130
    assert [path.name for path in out.glob("*.mp4")] == ["before-mine-0.mp4"]


def test_all_that_is_asked_for_is_looked_for_before_anything_is_drawn(folder, capsys):
    with pytest.raises(SystemExit):
        made(folder, "--loop", "--frames", 8, "--still", folder.parent / "none.png")
    assert "none.png" in capsys.readouterr().err and not list((folder.parent / "out").glob("*"))


@pytest.mark.parametrize("size", [64, 128])
def test_a_model_and_the_name_of_a_pair_are_refused(folder, capsys, size):
    with pytest.raises(SystemExit):
        made(folder, "--size", size, "--loop")
    assert f"--size {size} names a shipped pair, and so does --model" in capsys.readouterr().err


def test_a_folder_with_a_prior_alone_has_its_tokenizer_where_the_card_says(folder):
    alone = folder.parent / "alone"
    use = {"experiment": {"tokenizer": {"use": str(folder)}}}
    checkpoints.save("prior", checkpoints.load("prior", folder), use, alone)
    assert made(alone, "--loop", "--frames", 4) == {"loop-alone-0.mp4": (4, 256, 384)}


def test_a_join_begins_with_the_end_of_the_first_video(tmp_path, monkeypatch):
    monkeypatch.setenv("VG_CACHE", str(tmp_path / "cache"))
    film = torch.linspace(-0.9, 0.9, 40).view(1, 40, 1, 1).expand(1, 40, 48, 64)
    save(tmp_path / "ramp.mp4", film, fps=12)
    first, last = (first_frames(tmp_path / "ramp.mp4", (48, 64), 16, end=end) for end in (False, True))
    assert first.shape == last.shape == (1, 1, 16, 48, 64)
    torch.testing.assert_close(last.mean((0, 1, 3, 4)), film[0, 24:, 0, 0], atol=0.05, rtol=0)
    torch.testing.assert_close(first.mean((0, 1, 3, 4)), film[0, :16, 0, 0], atol=0.05, rtol=0)


def test_clips_come_in_any_shape(folder):
    [(_, (frames, height, width))] = made(folder, "--loop", "--frames", 4, "--size", "12x8").items()
    assert frames == 4 and height / width == 12 / 8


@pytest.mark.parametrize("text", ["65", "0x64", "64x", "64x64x64", "x", "64 x 64", "999999x9"])
def test_what_is_no_size_is_refused(text, capsys):
    with pytest.raises(SystemExit):
        main(["--size", text])
    assert "--size" in capsys.readouterr().err


def test_a_loop_of_nothing_begins_in_a_scene_and_one_of_a_video_does_not(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(vg.generate, "some_labels", lambda prior, count, seed: [1][:count])
    monkeypatch.setattr(vg.generate, "loop", lambda *_, **options: asked.append(options) or torch.zeros(1, 1, 4, 8, 12))
    made(folder, "--loop", "--frames", 4)
    made(folder, "--loop", a_video(folder, 20, 0.5, "a.mp4"), "--frames", 4)
    assert asked[0]["label"] == 1 and "label" not in asked[1]


def test_a_loop_in_a_scene_is_told_its_label(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(vg.generate, "loop", lambda *_, **options: asked.append(options) or torch.zeros(1, 1, 4, 8, 12))
    checkpoints.save("prior", checkpoints.load("prior", folder), {"scenes": ["quay", "kitchen", "wheel"]}, folder)
    found = made(folder, "--loop", "--scene", "wheel", "--frames", 4)
    assert [options["label"] for options in asked] == [2] and list(found) == ["loop-mine-0.mp4"]


@pytest.mark.parametrize(
    ("untaught", "asked", "message"),
    [
        ({"goals": 0}, ["--loop"], "trained without goals"),
        ({"places": "table"}, ["--size", "12x8"], "knows no other places"),
    ],
)
def test_a_prior_that_was_not_taught_a_task_says_so(folder, capsys, untaught, asked, message):
    checkpoints.save("prior", tiny_prior(**untaught).float(), {}, folder)
    with pytest.raises(SystemExit):
        main(["--model", str(folder), *asked, "--frames", "4", "--count", "1", "--to", str(folder.parent / "out")])
    assert message in capsys.readouterr().err


def test_a_clip_too_short_to_go_on_from_is_left_out_and_the_others_are_made(folder, capsys):
    assert set(made(folder, "--frames", 16)) == {"from-nothing-mine-0.mp4", "from-a-still-mine-0.mp4"}
    assert "continued: left out, 16 frames are given" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        made(folder, "--frames", 16, "--still", a_video(folder, 20, 0.1, "a.mp4"), "--prompt", folder.parent / "a.mp4")
    assert "--frames 16: 16 are given" in capsys.readouterr().err
