"""Laws of showing: what a static page gets is a valid picture of the right size, and a wrong input is named."""

import base64
import html
import io
import json
import re
import threading
import time
import zlib

import ipywidgets as widgets
import numpy as np
import pytest
import torch
import tqdm.notebook
from PIL import Image

from vg import progress, show
from vg.data import apng
from vg.show import controls, figures, page, player
from vg.show.page import VIEW
from vg.show.players import LIMIT
from vg.synthetic import draw_cartoon


@pytest.fixture
def shown(monkeypatch) -> list:
    """What a notebook would hold: the data of each output, in order; an update changes the output of its id."""
    made = []

    class Handle:
        def __init__(self) -> None:
            self.number = len(made) - 1

        def update(self, data, raw, metadata):
            made[self.number] = data

    def display(data, raw=False, metadata=None, display_id=None):
        assert raw  # an object that displays itself would drop the id
        made.append(data)
        return Handle() if display_id else None

    monkeypatch.setattr(page, "display", display)
    return made


def clip(frames: int = 7, channels: int = 1, size: tuple[int, int] = (16, 24), seed: int = 0) -> torch.Tensor:
    """A cartoon clip, float (C, T, H, W) in [-1, 1]."""
    grey = draw_cartoon(frames, size, seed=seed).frames.float().movedim(0, 1) / 127.5 - 1
    return grey if channels == 1 else torch.cat([grey, -grey, grey.roll(3, -1)])


def read(data: bytes) -> tuple[np.ndarray, list[float]]:
    """An animated PNG as uint8 (T, H, W, 3), and its frames' milliseconds; every chunk's checksum is checked."""
    place = 8
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        kind = data[place + 4 : place + 8 + length]
        assert int.from_bytes(data[place + 8 + length : place + 12 + length], "big") == zlib.crc32(kind)
        place += 12 + length
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "PNG"
        frames, times = [], []
        for k in range(getattr(image, "n_frames", 1)):
            image.seek(k)
            frames.append(np.asarray(image.convert("RGB")))
            times.append(image.info.get("duration", 0))
    return np.stack(frames), times


def pixels(video: torch.Tensor) -> np.ndarray:
    """uint8 (T, H, W, 3), as a screen should show a float clip."""
    frames = ((video.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 3, 0)
    return frames.expand(*frames.shape[:3], 3).numpy().astype(int)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [1, 2, 9])
def test_an_animated_png_has_the_frames_the_time_and_never_drifts(channels, count):
    video = clip(count, channels)
    frames = pixels(video)[..., :channels].astype(np.uint8)
    data = apng.encode(frames, fps=10, colours=64, hold=6)
    got, times = read(data)
    assert len(got) == count
    assert count == 1 or times == [100.0] * (count - 1) + [600.0]
    off = np.abs(got.astype(int) - pixels(video))
    assert off.max() <= 6 + 3 if channels == 1 else off.mean() < 16
    assert apng.encode(frames, fps=10, colours=64, hold=6, limit=len(data) // 2) is None


def film(code: str) -> tuple[dict, np.ndarray]:
    """What the page's player is told, and the tiles (n, H, W, 3) of its sprite."""
    found = dict(re.findall(r'data-(\w+)="([^"]*)"', code))
    data = json.loads(html.unescape(found["film"]))
    sprite = Image.open(io.BytesIO(base64.b64decode(found["sprite"].partition("base64,")[2])))
    sheet, (high, wide) = np.asarray(sprite.convert("RGB")), (data["height"], data["width"])
    assert sheet.shape[0] % high == sheet.shape[1] % wide == 0
    tiles = sheet.reshape(sheet.shape[0] // high, high, sheet.shape[1] // wide, wide, 3).swapaxes(1, 2)
    return data, tiles.reshape(-1, high, wide, 3)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", [1, 3])
def test_a_player_is_an_animated_file_for_any_page_and_every_frame_as_it_is_for_one_with_scripts(
    shown, scale, channels
):
    made = player(clip(9, channels), fps=12, scale=scale)
    made._ipython_display_()
    still, live = shown
    assert set(still) == {"image/png", "text/plain"} and still["text/plain"] == "clip"
    frames, _ = read(base64.b64decode(still["image/png"]))
    assert frames.shape == (9, 16 * scale, 24 * scale, 3)
    assert set(live) == {"text/html"} and live["text/html"].endswith(page.script())
    data, tiles = film(live["text/html"])
    assert (data["frames"], data["fps"], data["scale"], data["labels"]) == (9, 12, scale, [""])
    assert np.array_equal(tiles[:9], pixels(clip(9, channels)))


def test_clips_stand_side_by_side_and_a_short_one_holds_its_last_frame():
    made = player({"long": clip(6), 'a "short" <one>': clip(4, seed=1)}, scale=1)
    data, tiles = film(made.html())
    assert data["labels"] == made.labels == ["long", 'a "short" <one>']
    for n, video in enumerate((clip(6), clip(4, seed=1))):
        start, length = data["starts"][n], data["lengths"][n]
        assert length == video.shape[1] and np.array_equal(tiles[start : start + length], pixels(video))
    frames, _ = read(made.static)
    assert len(frames) == 6 and np.abs(frames[5, -16:, -24:].astype(int) - pixels(clip(4, seed=1))[3]).max() <= 20


def test_given_frames_are_marked_and_the_others_are_not():
    plain, marked = player({"a": clip(6)}, scale=4), player({"a": clip(6)}, scale=4, given=2)
    assert film(marked.html())[0]["given"] == 2
    heads = [np.abs(marked._canvas(k, 4).astype(int)[:16] - plain._canvas(k, 4)[:16]).max() for k in range(6)]
    assert [head > 0 for head in heads] == [True, True, False, False, False, False]
    assert read(player(clip(6), scale=4, given=2).static)[0].shape == (6, 80, 96, 3)  # one line of labels all along


def test_where_a_name_and_the_mark_of_given_frames_do_not_fit_the_name_stays():
    names = {"a": clip(6), "long": clip(6)}
    plain, marked = player(names, scale=4), player(names, scale=4, given=2)
    assert not np.array_equal(marked._canvas(0, 2), plain._canvas(0, 2))
    assert np.array_equal(marked._canvas(0, 1), plain._canvas(0, 1))  # 24 pixels are room for "(given)" alone


def test_what_a_still_picture_shows_is_read_out_before_it(shown):
    sheet = show.grid(torch.zeros(3, 1, 8, 8), labels=["<cat>", "", "dog"])
    sheet._ipython_display_()
    words, picture = shown
    assert ">Picture: 3 pictures in rows of 3: &lt;cat&gt;, dog</span>" in words["text/html"]
    assert picture["image/png"] and picture["text/plain"] == repr(sheet)


def test_every_picture_says_in_words_what_it_shows(shown):
    made = player({"raw": clip(5), "restored": clip(5)}, given=1)
    assert made.alt == "clips, 5 frames: raw, restored" and player(clip(5), alt="smoke rises").alt == "smoke rises"
    assert 'data-alt="clips, 5 frames: raw, restored"' in made.html()
    assert "0, 4, 8" in show.strip({"a": clip(9)}).alt and show.strip({"a": clip(9)}).alt.endswith("a")
    sheet = show.grid(torch.zeros(3, 1, 8, 8), labels=["cat", "", "dog"])
    assert sheet.alt == "3 pictures in rows of 3: cat, dog" and sheet._repr_png_() == (sheet.png, {"alt": sheet.alt})
    figure = show.curves({"loss": [3, 2], "val": [3, 1]}, "a run", y="bits")
    assert figures.picture_of(figure).alt == "figure: a run; bits over step; loss, val"
    bars = show.bars({"a": 1.5}, "motion", "levels", {"film": 2})
    assert figures.alt_of(bars) == "bars: motion; levels; a 1.5, film 2.0"


@pytest.mark.parametrize("ground", [-1.0, -0.3, 0.0, 0.4, 1.0])
@pytest.mark.parametrize("place", [(0, 0, 0), (1, 1, 2), (1, 3, 5)])
def test_a_framed_tubelet_is_seen_on_any_ground_and_stays_as_it_is(ground, place):
    video, tubelet = torch.full((1, 8, 16, 24), ground), (4, 4, 4)
    framed = show.outline(video, place, tubelet)
    moved = (framed - video).abs()[0]
    t, h, w = (slice(n * step, n * step + step) for n, step in zip(place, tubelet))
    assert moved[t, h, w].max() == 0 and torch.equal(moved[t.start], moved[t.stop - 1])
    assert moved.flatten(1).amax(1).gt(0).sum() == 4  # its own frames alone
    around = [moved[t.start, h, c] for c in (w.start - 1, w.stop) if 0 <= c < 24]
    around += [moved[t.start, r, w] for r in (h.start - 1, h.stop) if 0 <= r < 16]
    assert len(around) >= 2 and all(side.max() >= 1 for side in around)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_still_file_of_noise_is_within_its_limit_too(channels):
    noise = torch.rand(channels, 12, 96, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    made = player(noise)
    assert len(made.static) <= LIMIT
    assert 1 <= len(read(made.static)[0]) <= 12


@pytest.mark.parametrize("every", [1, 3, 4])
def test_a_strip_has_every_nth_frame_in_its_row(every):
    sheet = np.asarray(show.strip({"a": clip(9), "b": clip(5, seed=1)}, every=every, scale=1).image)
    left = sheet.shape[1] + 3 - 27 * len(range(0, 9, every))  # frames are 24 wide and 3 apart
    for row, (video, top) in enumerate(((clip(9), 16), (clip(5, seed=1), 35))):
        for j, k in enumerate(range(0, video.shape[1], every)):
            cell = sheet[top : top + 16, left + 27 * j : left + 27 * j + 24]
            assert np.array_equal(cell, pixels(video)[k][..., 0]), (row, k)
    assert sheet.shape[0] == 16 + 2 * 19 - 3


@pytest.mark.parametrize(("count", "columns"), [(1, 8), (5, 2), (8, 8)])
def test_a_grid_has_every_image_in_its_place(count, columns):
    images = torch.cat([clip(1, seed=k) for k in range(count)], 1).movedim(0, 1)
    sheet = np.asarray(show.grid(images, columns=columns, scale=2).image)
    rows, across = -(-count // columns), min(columns, count)
    assert sheet.shape == (rows * 35 - 3, across * 51 - 3)
    for k, one in enumerate(images):
        top, left = k // columns * 35, k % columns * 51
        assert np.array_equal(sheet[top : top + 32 : 2, left : left + 48 : 2], pixels(one[:, None])[0][..., 0])
    assert read(show.grid(images).png)[0].shape[0] == 1


def test_compare_shows_where_a_clip_is_wrong():
    true = clip(4)
    wrong = true.clone()
    wrong[:, :, 2:6, 3:9] = -wrong[:, :, 2:6, 3:9]
    sheet = np.asarray(show.compare({"true": true, "wrong": wrong}, every=2, scale=1, against="true").image)
    assert sheet.shape[0] == 16 + 3 * 19 - 3  # the error row is below its clip
    error = sheet[-16:, -24:].astype(int).sum(-1)
    inside = np.zeros((16, 24), bool)
    inside[2:6, 3:9] = True
    assert error[~inside].max() < error[inside].min()


def test_different_tokens_get_different_colours_however_large_they_are():
    draws = np.random.default_rng(0)
    tokens = torch.from_numpy(draws.choice(25_000**4, 400, replace=False)).view(1, 20, 20)
    painted = show.token_map(tokens, torch.zeros(1, 1, 80, 80), (1, 4, 4), strength=1)
    assert len(painted[:, 0, 2::4, 2::4].flatten(1).T.unique(dim=0)) == 400


@pytest.mark.parametrize("levels", [None, (8, 5, 5)])
def test_a_token_map_tints_each_tubelet_alike_and_equal_tokens_alike(levels):
    indices = torch.arange(2 * 4 * 4).reshape(2, 4, 4) * 6
    painted = show.token_map(indices, torch.zeros(1, 7, 16, 15), (4, 4, 4), levels, strength=1)
    assert painted.shape == (3, 7, 16, 15) and painted.dtype == torch.float32 and painted.abs().max() <= 1
    inner = painted[:, :, 2::4, 2::4]  # (3, 7, 4, 4), away from the rules
    colours = {tuple(c.tolist()): int(i) for c, i in zip(inner[:, ::4].flatten(1).T, indices.flatten())}
    assert len(colours) == indices.numel()
    assert torch.equal(inner[:, :4], inner[:, :1].expand(-1, 4, -1, -1))
    assert torch.equal(painted[:, :, 1:4, 1:4], inner[:, :, :1, :1].expand(-1, -1, 3, 3))
    plain = clip(7, size=(16, 15))
    assert torch.allclose(
        show.token_map(indices, plain, (4, 4, 4), strength=0), plain.expand(3, -1, -1, -1), atol=0.005
    )


def test_curves_and_bars_draw_what_they_were_given():
    figure = show.curves({"loss": [3.0, 2.0, 1.5], "val": [(0, 3.5), (2, 2.5)]}, baselines={"mean": 2.2}, log="y")
    axes = figure.axes[0]
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert lines["loss"] == [[0, 3], [1, 2], [2, 1.5]] and lines["val"] == [[0, 3.5], [2, 2.5]]
    assert axes.get_yscale() == "log" and [text.get_text() for text in axes.texts] == ["mean"]
    figure = show.bars({"a": 1.5, "b": 2.0}, baselines={"chance": 0.5})
    assert [bar.get_width() for bar in figure.axes[0].patches] == [1.5, 2.0, 0.5]
    for numbers, labels in (
        ([26.1, 9.792, 0.004], ["26.10", "9.79", "0.00"]),
        ([1024, 240.0], ["1,024", "240"]),
        ([0, -0.2171, 0.0044], ["0.0000", "-0.2171", "0.0044"]),
    ):
        drawn = show.bars({str(number): number for number in numbers}).axes[0].texts
        assert [label.get_text() for label in drawn] == labels
    assert figures.plt.get_fignums() == []  # closed: a notebook shows them once


@pytest.mark.parametrize("seed", range(20))
def test_spread_places_keep_their_distance_and_order_and_move_as_little_as_can_be(seed):
    draws = np.random.default_rng(seed)
    places = list(draws.uniform(0, 40, draws.integers(1, 8)).round(draws.integers(0, 3)))
    moved = figures.spread(places, 10)
    order = np.argsort(places, kind="stable")
    assert (np.diff(np.array(moved)[order]) >= 10 - 1e-9).all()
    cost = np.sum((np.array(moved) - places) ** 2)
    for _ in range(200):  # no other arrangement that keeps the distance is nearer
        other = np.array(moved) + draws.normal(0, draws.choice([0.1, 1, 5]), len(places))
        if (np.diff(other[order]) >= 10).all():
            assert np.sum((other - places) ** 2) >= cost - 1e-9
    assert figures.spread([0, 50, 20], 10) == [0, 50, 20]


@pytest.mark.parametrize("log", ["", "y"])
def test_names_of_baselines_do_not_overprint(log):
    levels = {"mean frame": 2.0, "last frame": 2.001, "unigram": 2.02, "any code": 9.0, "six": 6.0}
    figure = show.curves({"loss": [3.0, 2.0, 1.5]}, baselines=levels, log=log)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 5
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])
    six = figure.axes[0].texts[-1].get_window_extent()
    level = figure.axes[0].transData.transform((0, 6.0))[1]
    assert abs((six.y0 + six.y1) / 2 - level) < 3  # one with room stays at its line


def test_a_live_plot_redraws_in_place_seldom_and_the_last_state_always(shown):
    now = [0.0]
    plot = show.LivePlot(every=3, clock=lambda: now[0])
    plot.update({"loss": []})
    assert shown == []  # nothing to draw yet
    drawn = []
    for step in range(1, 12):
        now[0] = float(step)
        plot.update({"loss": [(s, 1 / (s + 1)) for s in range(step)]})
        drawn.append(shown[1]["image/png"])
    assert len(set(drawn)) == 4  # drawn at 1, 4, 7 and 10 seconds
    before = dict(shown[1])
    plot.close()
    assert shown[1] != before
    plot.close()
    assert [list(output) for output in shown] == [["text/html"], ["image/png", "text/plain"]]  # no second output ever
    assert read(base64.b64decode(shown[1]["image/png"]))[0].shape[0] == 1


def explorer_of(live, function, **controls):
    return (show.live_explorer if live else show.explorer)(function, **controls)


def press(made) -> None:
    made._pressed = float("-inf")
    made.button.click()
    made.thread.join(20)


@pytest.mark.parametrize("live", [False, True])
def test_an_explorer_calls_with_the_controls_values_and_keeps_the_last_result_on_an_error(shown, live):
    calls = []

    def make(seed, shade):
        calls.append((seed, shade))
        if seed == 5:
            raise RuntimeError("no <such> seed")
        return clip(seed + 1)

    made = explorer_of(live, make, seed=(1, 5), shade=["dark", "light"])
    start = calls[0]
    assert made.controls["seed"].value == start[0] and isinstance(made.controls["shade"], widgets.Dropdown)
    made._ipython_display_()
    script, still, view = shown
    assert script == {"text/html": page.script()}
    assert len(read(base64.b64decode(still["image/png"]))[0]) == start[0] + 1
    assert view == {VIEW: {"version_major": 2, "version_minor": 0, "model_id": made.widget.model_id}}

    def put(seed):
        made.controls["seed"].value = seed
        if not live:
            press(made)

    put(4)
    result = made.result
    assert calls[-1] == (4, "dark") and result.frames == 5
    put(5)
    assert calls[-1] == (5, "dark") and made.result is result
    assert "RuntimeError: no &lt;such&gt; seed" in made.note.value
    put(1)
    assert made.result.frames == 2 and made.note.value == ""


def test_every_result_of_an_explorer_takes_the_place_of_the_one_before():
    made = show.live_explorer(lambda n: clip(n), n=(2, 9))
    keys = set()
    for n in (3, 4, 9):
        made.controls["n"].value = n
        assert film(made.screen.value)[0]["frames"] == n
        keys |= set(re.findall(r'data-key="(\w+)"', made.screen.value))
    assert len(keys) == 1
    other = show.live_explorer(lambda n: show.strip(clip(n)), n=(2, 9))
    assert other._key not in keys and 'decoding="sync"' in other.screen.value and 'alt="frames 0' in other.screen.value


def test_controls_that_follow_start_and_move_with_those_that_lead_and_can_then_be_moved_alone():
    calls = []

    def make(place, digit, light):
        calls.append((place, digit, light))
        return clip(2)

    made = show.live_explorer(
        make, follow=lambda place: {"digit": 10 * place}, place=(1, 3, 1, 2), digit=(0, 99), light=(0, 4)
    )
    assert calls == [(2, 20, 2)]
    made.controls["place"].value = 3
    assert calls[1:] == [(3, 30, 2)]  # one call, with both
    made.controls["digit"].value = 7
    made.controls["light"].value = 0
    assert calls[2:] == [(3, 7, 2), (3, 7, 0)]


def test_a_slider_starts_where_it_is_told_and_reaches_the_steps_between():
    made = show.live_explorer(lambda **values: clip(2), top_p=(0.5, 1.0, 0.01, 0.97), seed=(0, 20, 1, 4))
    top_p, seed = made.controls.values()
    assert (top_p.value, top_p.step, seed.value) == (0.97, 0.01, 4) and isinstance(seed, widgets.IntSlider)
    assert all(control.tooltip == control.description for control in made.controls.values())


def test_a_double_click_runs_once_and_clicks_while_it_works_are_not_kept():
    calls, go = [], threading.Event()

    def make(seed):
        calls.append(seed)
        assert len(calls) == 1 or go.wait(20)
        return clip(2)

    made = show.explorer(make, seed=(0, 4))
    for _ in range(3):
        made.button.click()
    made._pressed = float("-inf")
    made.button.click()
    assert made.button.disabled and "working" in made.note.value
    go.set()
    made.thread.join(20)
    made._pressed = time.monotonic()
    made.button.click()  # the second of a double click that comes when a short run is over
    made.thread.join(20)
    assert len(calls) == 2 and not made.button.disabled and made.note.value == ""


def test_an_interrupt_asks_first_and_a_second_one_breaks_off_and_working_does_not_stand():
    calls = []

    def make(seed):
        calls.append(seed)
        end = time.monotonic() + 20
        while len(calls) > 1 and time.monotonic() < end:
            time.sleep(0.01)
        return clip(2)

    made = show.explorer(make, seed=(0, 4))
    first = made.result
    made.button.click()
    while len(calls) < 2:
        time.sleep(0.01)
    stop = controls._Break(made.thread.ident)
    stop.interrupt(2, None)
    assert stop.asked and made.thread.is_alive()
    stop.interrupt(2, None)
    made.thread.join(20)
    assert made.note.value == "interrupted" and made.result is first and not made.button.disabled


def test_what_an_explorer_made_is_saved(tmp_path):
    made = show.explorer(lambda n: clip(n), n=(2, 9, 1, 5))
    for suffix in (".gif", ".mp4"):
        path = made.save(suffix, tmp_path / "film")
        assert path == tmp_path / f"film{suffix}" and path.stat().st_size and str(path) in made.note.value
    assert made.save(".xyz", tmp_path / "film") is None and "not saved" in made.note.value


def test_a_bar_in_a_notebook_leaves_its_last_line_as_text(monkeypatch):
    made = []

    class Handle:
        def update(self, data, **options):
            made.append((data, options))

    def display(data, raw, display_id):
        made.append((data, {}))
        return Handle()

    monkeypatch.setattr(progress, "display", display)
    monkeypatch.setattr(tqdm.notebook, "display", lambda container: container._ipython_display_())
    for _ in progress.NotebookBar(range(7), desc="encoding"):
        pass
    (widget, _), (text, options) = made
    assert VIEW in widget and list(text) == ["text/plain"] and options["metadata"] == progress.LEFT
    assert text["text/plain"].startswith("encoding: 100%") and "7/7" in text["text/plain"]


WRONG = {
    "batch of clips": (lambda: show.image(torch.zeros(2, 1, 3, 8, 8)), "a batch of 2 clips .*pick one"),
    "time before channels": (lambda: player(torch.zeros(7, 1, 8, 8)), r"looks like \(T, C, H, W\)"),
    "integers": (lambda: player(torch.zeros(1, 3, 8, 8, dtype=torch.int64)), "float in .* or uint8, got int64"),
    "NaN": (lambda: player({"mine": torch.full((1, 3, 8, 8), torch.nan)}), "clip 'mine': .*NaN"),
    "0 to 255 in floats": (lambda: player(torch.full((1, 3, 8, 8), 255.0)), r"255\.0: 0\.\.255 is for uint8"),
    "no frames": (lambda: player(torch.zeros(1, 0, 8, 8)), r"empty: shape \(1, 0, 8, 8\)"),
    "no clips": (lambda: show.strip({}), "no clip to show"),
    "two sizes": (lambda: player({"a": clip(2), "b": clip(2, size=(8, 24))}), "'a' 16x24, 'b' 8x24"),
    "labels": (lambda: show.strip(clip(2), labels=["a", "b"]), "2 labels came for 1 clips"),
    "fps": (lambda: player(clip(2), fps=0), "fps must be above 0, got 0"),
    "columns": (lambda: player(clip(2), columns=0), "columns must be at least 1, got 0"),
    "scale": (lambda: player(clip(2), scale=1.5), r"scale must be a whole number from 1 on, got 1\.5"),
    "given": (lambda: player(clip(2), given=-1), "given must be 0 frames or more, got -1"),
    "outline": (lambda: show.outline(clip(4), (1, 0, 0), (4, 4, 4)), r"no tubelet \(1, 0, 0\) .* of 4x16x24"),
    "every": (lambda: show.strip(clip(2), every=0), "every must be at least 1, got 0"),
    "frame": (lambda: show.image(clip(2), frame=2), "2 frames; there is no frame 2"),
    "grid of a clip": (lambda: show.grid(clip(2)[0]), r"batch of images \(B, C, H, W\), got shape \(2, 16, 24\)"),
    "lengths": (lambda: show.compare({"a": clip(2), "b": clip(3)}), "same number of frames, got .*'a': 2, 'b': 3"),
    "against": (lambda: show.compare({"a": clip(2)}, against="b"), "against='b' is not a row; the rows are 'a'"),
    "token grid": (
        lambda: show.token_map(torch.zeros(1, 4, 4, dtype=torch.int64), clip(7), (4, 4, 4)),
        r"7x16x24 into \(2, 4, 6\) tokens, but the indices have shape \(1, 4, 4\)",
    ),
    "token out of range": (
        lambda: show.token_map(torch.full((1, 4, 6), 200), clip(4), (4, 4, 4), levels=(8, 5, 5)),
        r"in \[0, 200\), got 200 to 200",
    ),
    "token of floats": (
        lambda: show.token_map(torch.zeros(1, 4, 6), clip(4), (4, 4, 4)),
        "integers, got torch.float32",
    ),
    "no series": (lambda: show.curves({}), "series is empty"),
    "series": (lambda: show.curves({"loss": [(1, 2, 3)]}), r"series 'loss': expected numbers .* \(1, 3\)"),
    "bars": (lambda: show.bars({"a": 1.0, "b": float("inf")}), "bar 'b' is inf"),
    "control": (lambda: show.explorer(lambda seed: clip(2), seed=object()), "control 'seed': expected"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_input_is_named(name):
    call, words = WRONG[name]
    with pytest.raises(ValueError) as error:
        call()
    assert re.search(words, str(error.value)), str(error.value)
