"""The live screen: it plays what is drawn, heeds its controls, and stops when it is told to, whoever tells it."""

import threading
import time

import pytest
import torch

from vg import show
from vg.data import video
from vg.data.decode import probe
from vg.models import Prior, PriorConfig, TubeletConfig, TubeletTokenizer
from vg.sampling import Stream, generate

LEVELS = (5, 4, 3)


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(0)
    tokenizer = TubeletTokenizer(TubeletConfig((2, 4, 4), LEVELS, width=16, encoder_depth=1, decoder_depth=1))
    prior = Prior(PriorConfig(LEVELS, grid=(2, 3), width=32, depth=1, heads=4, context=1, num_labels=3))
    return prior.freeze(), tokenizer.freeze()


@pytest.fixture
def screen(models):
    made = show.live(*models, fps=50, scale=2)
    yield made
    made.stop()


def wait(condition, seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def test_nothing_is_drawn_before_play_is_pressed_and_a_page_has_a_picture(screen):
    assert not screen.running and screen.shown == 0 and screen.still.startswith(b"\x89PNG")


def test_it_shows_the_film_that_generate_makes(screen, models):
    screen.play.click()
    assert wait(lambda: screen.shown >= 20)
    screen.stop()
    clip = generate(*models, frames=20, progress=False, **{"window": 6, **screen.options})
    wanted = clip[0].add(1).mul(127.5).round().byte().permute(1, 2, 3, 0)
    shown = torch.stack([torch.from_numpy(frame) for frame in list(screen.seen)[:20]])
    assert (shown.int() - wanted.int()).abs().max() <= 1


def test_it_says_how_fast_it_draws_beside_how_fast_it_plays(screen):
    screen.start()
    assert wait(lambda: "frames a second, plays 50" in screen.note.value)


def test_controls_take_effect_at_the_next_latent_frame(screen):
    screen.start()
    assert wait(lambda: screen.shown >= 4)
    screen.controls["label"].value = 1
    screen.controls["history"].value = 2.0
    screen.controls["seed"].value = 77
    how = lambda: screen.stream.sampler.how  # noqa: E731
    assert wait(lambda: how().label == 1 and how().history == 2.0)
    assert len(screen.stream.sampler.branches) == 2


def test_controls_that_were_moved_before_play_are_heeded(screen):
    screen.controls["temperature"].value = 0.7
    screen.start()
    assert wait(lambda: screen.stream.sampler.how.temperature == 0.7)
    screen.stop()
    screen.controls["temperature"].value = 1.2
    screen.play.click()
    assert wait(lambda: screen.stream.sampler.how.temperature == 1.2)


def test_what_cannot_be_had_is_said_and_the_film_goes_on(models):
    screen = show.live(*models, fps=50, label=1, guidance=2.0)
    screen.start()
    screen.controls["label"].value = -1
    assert wait(lambda: "needs a label" in screen.note.value)
    shown = screen.shown
    assert wait(lambda: screen.shown > shown) and screen.stream.sampler.how.label == 1
    screen.controls["label"].value = 2
    assert wait(lambda: screen.stream.sampler.how.label == 2 and "needs" not in screen.note.value)
    screen.stop()


def test_sliders_reach_what_was_asked_for(models):
    screen = show.live(*models, history=5.0, top_p=0.2, temperature=2.0)
    assert [screen.controls[name].value for name in ("history", "top_p", "temperature")] == [5.0, 0.2, 2.0]


def test_pause_holds_the_picture_and_play_goes_on(screen):
    screen.play.click()
    assert wait(lambda: screen.shown >= 2)
    screen.play.click()
    time.sleep(0.1)
    held = screen.shown
    time.sleep(0.2)
    assert screen.shown == held and screen.running and screen.play.description == "play"
    screen.play.click()
    assert wait(lambda: screen.shown > held)


def test_stop_ends_both_threads_and_play_goes_on_from_there(screen):
    before = threading.active_count()
    screen.start()
    assert wait(lambda: screen.shown >= 2)
    screen.stop_button.click()
    assert not screen.running and threading.active_count() == before
    shown = screen.shown
    screen.play.click()
    assert wait(lambda: screen.shown > shown)


def test_running_the_cell_again_or_starting_another_screen_stops_the_first(screen, models):
    screen.start()
    again = show.live(*models, fps=50)
    assert not screen.running
    screen.start()
    again.start()
    assert not screen.running and again.running
    again.stop()


def test_what_was_seen_is_saved(screen, tmp_path):
    assert screen.save(".mp4", tmp_path / "film") is None and "nothing" in screen.note.value
    screen.start()
    assert wait(lambda: screen.shown >= 10)
    screen.stop()
    for suffix in (".gif", ".mp4"):
        path = screen.save(suffix, tmp_path / "film")
        assert path == tmp_path / f"film{suffix}" and path.stat().st_size
    found = probe(video(tmp_path / "film.mp4").path)
    assert (found.height, found.width) == (16, 24)


def test_an_error_while_drawing_stops_the_screen_and_is_said(screen, monkeypatch):
    def fail(stream):
        raise RuntimeError("no more ink")

    monkeypatch.setattr(Stream, "__next__", fail)
    screen.start()
    assert wait(lambda: not screen.running)
    assert "no more ink" in screen.note.value and isinstance(screen.problem, RuntimeError)


def test_wrong_arguments_are_refused_before_anything_is_shown(models):
    with pytest.raises(ValueError, match="fps is 0"):
        show.live(*models, fps=0)
    with pytest.raises(ValueError, match="temperature is 0"):
        show.live(*models, temperature=0)


KERNEL = """
import torch
from vg import show
from vg.models import Prior, PriorConfig, TubeletConfig, TubeletTokenizer
tokenizer = TubeletTokenizer(TubeletConfig((2, 4, 4), (5, 4), width=16, encoder_depth=1, decoder_depth=1)).freeze()
prior = Prior(PriorConfig((5, 4), grid=(2, 3), width=32, depth=1, heads=4, context=1)).freeze()
screen = show.live(prior, tokenizer, fps=50)
screen.start()
"""


def test_the_interrupt_of_a_kernel_stops_it_and_the_kernel_lives_on():
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3")
    try:
        said = []

        def run(code):
            reply = client.execute_interactive(code, timeout=60, output_hook=lambda m: said.append(m["content"]))
            assert reply["content"]["status"] == "ok", reply["content"]

        run(KERNEL)
        time.sleep(2)
        run("print('on air', screen.running and screen.shown > 0)")
        time.sleep(1)
        manager.interrupt_kernel()
        time.sleep(1)
        run("print('off air', not screen.running)")
        text = "".join(content.get("text", "") for content in said)
        assert "on air True" in text and "off air True" in text
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_stop_and_play_again_leave_nothing_out(screen, models):
    for count in (3, 9, 16):
        screen.start()
        assert wait(lambda count=count: screen.shown >= count)
        screen.stop()
        drawn = sum(map(len, [*screen._ahead, *screen._drawn.queue, screen._unsent]))
        assert drawn <= 2 * 4, "two latent frames, and what is on either side: more would lag behind the controls"
    seen = torch.stack([torch.from_numpy(frame) for frame in screen.seen])
    clip = generate(*models, frames=len(seen), progress=False, **{"window": 6, **screen.options})
    wanted = clip[0].add(1).mul(127.5).round().byte().permute(1, 2, 3, 0)
    assert (seen.int() - wanted.int()).abs().max() <= 1
