"""A notebook in JupyterLab as a reader meets it: run, played with, reloaded, saved, shut down and opened again.

The tests of this file are one visit and run in their order.
"""

import itertools
import statistics
import subprocess
import sys

import nbformat
import pytest
from notebook_scripts import NOTEBOOKS, module_at

from .conftest import ROOT, TOKEN
from .notebook import BAR, EDITOR, EXPLORER, FIGURE, PICTURE, PLAYER, Page, greys, until, watch, write


@pytest.fixture(scope="module")
def lab_page(chromium, lab):
    address, folder = lab
    write(folder / "a.ipynb")
    page = Page(chromium, address, "a.ipynb", TOKEN)
    page.do("notebook:run-all-cells")
    page.wait_for_players()
    yield page
    page.close()


def clean(page: Page) -> None:
    """No output says that something went wrong, and the browser has nothing to complain of."""
    for text in page.texts():
        assert not any(words in text for words in ("model not found", "Error", "Loading widget", "Traceback")), text
    assert page.problems == []


def visible_pictures(page: Page, cell: int) -> int:
    """How many pictures of a cell's output are seen."""
    return sum(one.is_visible() for one in page.output(cell).locator("img, canvas").all())


def test_every_cell_runs_and_shows_what_it_should(lab_page):
    clean(lab_page)
    assert [visible_pictures(lab_page, cell) for cell in (PLAYER, EXPLORER, EDITOR, PICTURE, FIGURE)] == [2, 1, 2, 1, 1]
    assert lab_page.output(BAR).inner_text().startswith("encoding: 100%")
    assert lab_page.page.locator("[title=null]").count() == 0
    assert lab_page.player(PLAYER).locator("button").get_attribute("title") == "play"
    names = lab_page.player(PLAYER).locator("canvas").evaluate_all("all => all.map(c => c.getAttribute('aria-label'))")
    assert names == ["forwards", "a name that is longer than its picture is wide"]


@pytest.mark.parametrize("share", [0.5, 1.0, 0.25, 0.0])
def test_the_frame_follows_the_slider(lab_page, share):
    player = lab_page.player(PLAYER)
    player.scroll_into_view_if_needed()
    lab_page.drag(player, share)
    frame = player.evaluate("p => p.frame")
    assert abs(frame - 31 * share) <= 1 and greys(player) == [40 + 5 * frame, 40 + 5 * (31 - frame)]
    assert player.locator("output").inner_text() == f"{frame} of 32"


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "while the kernel computes"])
def test_no_frame_is_blank_while_it_plays(lab_page, busy):
    player = lab_page.player(PLAYER)
    if busy:
        lab_page.run_code("import time\nend = time.time() + 4\nwhile time.time() < end: pass")
    player.locator("button").click()
    seen = watch(player)
    player.locator("button").click()
    assert all(grey == 40 + 5 * (31 - frame) for frame, grey in seen), seen
    frames = list(dict.fromkeys(frame for frame, _ in seen))
    steps = [(b - a) % 32 for a, b in itertools.pairwise(frames)]  # a machine that is busy elsewhere drops a few
    assert len(frames) >= 8 and statistics.median(steps) in (1, 2), frames
    lab_page.wait("kernel().status === 'idle'")


def set_slider(page: Page, cell: int, name: str, value) -> None:
    """Type a number beside a slider."""
    readout = page.output(cell).locator(f".widget-hslider:has(label:text-is('{name}')) .widget-readout")
    readout.click()
    page.page.keyboard.press("Control+A")
    page.page.keyboard.type(str(value))
    page.page.keyboard.press("Enter")


def read_slider(page: Page, cell: int, name: str) -> str:
    return page.output(cell).locator(f".widget-hslider:has(label:text-is('{name}')) .widget-readout").inner_text()


def test_an_editor_keeps_frame_and_play_and_never_blanks_while_it_changes(lab_page):
    player = lab_page.player(EDITOR)
    player.scroll_into_view_if_needed()
    lab_page.drag(player, 0.5)
    frame = player.evaluate("p => p.frame")
    assert (read_slider(lab_page, EDITOR, "row"), read_slider(lab_page, EDITOR, "digit")) == ("7", "2")
    set_slider(lab_page, EDITOR, "row", 11)
    assert until(lambda: read_slider(lab_page, EDITOR, "digit") == "3", lab_page.page)
    lab_page.wait_for_players()
    assert until(lambda: greys(lab_page.player(EDITOR))[1] == 40 + 5 * (frame + 3), lab_page.page)
    assert lab_page.player(EDITOR).evaluate("p => [p.frame, p.playing]") == [frame, False]
    lab_page.player(EDITOR).locator("button").click()
    lab_page.page.evaluate("window.old = cell(3).querySelector('vg-player')")
    set_slider(lab_page, EDITOR, "digit", 0)
    seen = watch(lab_page.player(EDITOR))
    assert lab_page.page.evaluate("!old.isConnected && cell(3).querySelector('vg-player').playing")
    assert min(grey for _, grey in seen) >= 40, seen
    assert len({frame for frame, _ in seen}) >= 8
    lab_page.player(EDITOR).locator("button").click()


def note(page: Page) -> str:
    return page.output(EXPLORER).locator(".widget-html").last.inner_text()


def test_generate_runs_once_at_a_double_click_and_a_long_error_squeezes_nothing(lab_page):
    assert (read_slider(lab_page, EXPLORER, "seed"), read_slider(lab_page, EXPLORER, "top p")) == ("5", "0.97")
    generate = lab_page.output(EXPLORER).get_by_role("button", name="Generate")
    generate.scroll_into_view_if_needed()
    before = lab_page.player(EXPLORER).locator("canvas").bounding_box()["width"]
    assert lab_page.player(EXPLORER).locator("output").inner_text() == "0 of 32, given"
    set_slider(lab_page, EXPLORER, "seed", 7)
    generate.dblclick()
    label = lambda: lab_page.player(EXPLORER).locator("figcaption").inner_text()  # noqa: E731
    assert until(lambda: label() == "nothing, 7", lab_page.page)
    lab_page.page.wait_for_timeout(600)
    lab_page.run_code("assert calls == [5, 7], calls\nlabel = 'made once'")
    set_slider(lab_page, EXPLORER, "seed", 1)
    generate.click()
    assert until(lambda: "much went wrong" in note(lab_page), lab_page.page)
    assert lab_page.player(EXPLORER).locator("canvas").bounding_box()["width"] == before and label() == "nothing, 7"


def test_an_interrupt_of_the_kernel_ends_what_generate_started(lab_page):
    lab_page.page.wait_for_timeout(600)
    set_slider(lab_page, EXPLORER, "seed", 0)
    lab_page.output(EXPLORER).get_by_role("button", name="Generate").click()
    assert until(lambda: "working" in note(lab_page), lab_page.page)
    lab_page.page.wait_for_timeout(600)
    lab_page.page.evaluate("kernel().interrupt()")
    caption = lab_page.player(EXPLORER).locator("figcaption")
    assert until(lambda: caption.inner_text() == "nothing, stopped", lab_page.page)
    assert until(lambda: note(lab_page) == "", lab_page.page)


def test_the_made_clip_is_saved(lab_page):
    lab_page.output(EXPLORER).get_by_role("button", name="save GIF").click()
    assert until(lambda: "saved: " in note(lab_page), lab_page.page)


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
@pytest.mark.parametrize("width", [1000, 1400])
def test_nothing_is_lost_at_any_width_in_any_theme(lab_page, width, theme, tmp_path):
    lab_page.page.set_viewport_size({"width": width, "height": 1000})
    lab_page.do("apputils:change-theme", theme=theme)
    lab_page.page.wait_for_timeout(300)
    right = lab_page.page.locator(".jp-Notebook").bounding_box()
    right = right["x"] + right["width"]
    for cell in (PLAYER, EXPLORER, EDITOR, PICTURE):
        lab_page.output(cell).scroll_into_view_if_needed()
        parts = lab_page.output(cell).locator("canvas, img, .widget-readout, .widget-dropdown, output").all()
        for part in parts:
            if part.is_visible():
                box = part.bounding_box()
                assert box["width"] > 20 and box["x"] + box["width"] <= right, (cell, box, right)
    ink, paper = lab_page.player(PLAYER).evaluate(
        "p => [getComputedStyle(p).color, getComputedStyle(document.querySelector('.jp-Notebook')).backgroundColor]"
    )
    light = [sum(map(int, colour[colour.index("(") + 1 :].rstrip(")").split(",")[:3])) for colour in (ink, paper)]
    assert abs(light[0] - light[1]) > 300, (ink, paper)


def test_every_stored_picture_says_what_it_shows(lab_page, lab):
    lab_page.do("docmanager:save")
    stored = nbformat.read(lab[1] / "a.ipynb", as_version=4)
    outputs = [out for cell in stored.cells for out in cell.outputs if "image/png" in out.get("data", {})]
    words = [out.metadata.get("image/png", {}).get("alt", "") for out in outputs]
    assert len(words) == 5 and all(words) and words[-1] == "figure: a run; bits over step; loss"
    read_out = lab_page.output(FIGURE).locator("span", has_text=f"Picture: {words[-1]}")
    assert read_out.count() == 1 and read_out.bounding_box()["width"] <= 1, "there, and out of sight"


def test_after_a_reload_with_a_live_kernel_all_goes_on(lab_page):
    lab_page.do("docmanager:save")
    lab_page.open()
    lab_page.wait("document.querySelectorAll('vg-player').length === 3")
    lab_page.wait_for_players()
    clean(lab_page)
    player = lab_page.player(PLAYER)
    player.scroll_into_view_if_needed()
    player.locator("button").click()
    seen = watch(player)
    player.locator("button").click()
    assert all(grey == 40 + 5 * (31 - frame) for frame, grey in seen), seen
    lab_page.output(EDITOR).scroll_into_view_if_needed()
    set_slider(lab_page, EDITOR, "row", 5)
    assert until(lambda: read_slider(lab_page, EDITOR, "digit") == "3", lab_page.page)


def test_with_the_kernel_shut_down_players_go_on(lab_page):
    lab_page.do("docmanager:save")
    lab_page.page.evaluate("kernel().shutdown()")
    for cell in (PLAYER, EDITOR):
        player = lab_page.player(cell)
        player.scroll_into_view_if_needed()
        lab_page.drag(player, 0.75)
        assert abs(player.evaluate("p => p.frame") - 23) <= 1
        player.locator("button").click()
        assert min(grey for _, grey in watch(player, 60)) >= 40
        player.locator("button").click()


def test_a_saved_run_opened_again_shows_pictures_and_players_and_no_error(lab_page, chromium, lab):
    again = Page(chromium, lab[0], "a.ipynb", TOKEN)
    again.wait("document.querySelector('vg-player')?.film")
    again.page.wait_for_timeout(1500)  # what would say that its model is gone does so late
    again.page.evaluate("cell(6).scrollIntoView()")
    clean_outputs = [text for text in again.texts() if "model not found" in text or "Error" in text]
    shown = again.page.evaluate(
        "[...document.querySelectorAll('.jp-OutputArea-output.jupyter-widgets')].map(o => o.getClientRects().length)"
    )
    assert not any(shown) and all("displaying" in text for text in clean_outputs)  # there, and not seen
    assert [visible_pictures(again, cell) for cell in (PLAYER, EXPLORER, EDITOR, PICTURE, FIGURE)] == [2, 1, 1, 1, 1]
    assert again.output(BAR).inner_text().startswith("encoding: 100%")
    player = again.player(PLAYER)
    player.scroll_into_view_if_needed()
    again.drag(player, 0.5)
    assert abs(player.evaluate("p => p.frame") - 16) <= 1
    again.close()


@pytest.fixture(scope="module")
def stripped(lab_page, lab):
    """The saved run as it would be committed."""
    build = module_at(NOTEBOOKS / "build.py")
    notebook = nbformat.read(lab[1] / "a.ipynb", as_version=4)
    build.strip(notebook)
    build.write(notebook, lab[1] / "stripped.ipynb")
    return lab[1] / "stripped.ipynb"


def test_opening_and_looking_does_not_change_the_file(stripped, chromium, lab):
    before = stripped.read_text()
    page = Page(chromium, lab[0], stripped.name, TOKEN)
    page.page.wait_for_timeout(1000)
    page.page.evaluate("jupyterapp.shell.currentWidget.context.save()")
    clean_filter = [sys.executable, str(ROOT / "notebooks" / "clean.py")]
    found = subprocess.run(clean_filter, input=stripped.read_bytes(), capture_output=True, check=True).stdout
    assert found.decode() == before
    # JupyterLab does not trust it, for it did not run it: the pictures stand alone
    assert page.page.locator("vg-player").count() == 0
    assert [visible_pictures(page, cell) for cell in (PLAYER, EXPLORER, EDITOR, FIGURE)] == [1, 1, 1, 1]
    clean(page)
    page.close()


def test_a_static_page_of_a_committed_notebook_has_players_that_scrub(stripped, chromium):
    assert "data-sprite" not in stripped.read_text() and stripped.read_text().count("<script>") == 1
    convert = [sys.executable, "-m", "nbconvert", "--to", "html", "--log-level=ERROR", str(stripped)]
    subprocess.run(convert, check=True, capture_output=True)
    page = chromium.new_page()
    page.goto(stripped.with_suffix(".html").as_uri())
    player = page.locator("vg-player")
    assert until(lambda: player.evaluate("p => !!p.film && !!p.text"), page)
    assert player.locator("canvas").count() == 1 and not page.locator(".jp-RenderedImage img").first.is_visible()
    seen = []
    for k in (0, 9, 31):
        player.evaluate("(p, k) => { p.slider.value = k; p.slider.dispatchEvent(new Event('input')) }", k)
        seen.append(
            player.evaluate(
                "p => p.canvases[0].getContext('2d').getImageData(60, p.canvases[0].height - 60, 1, 1).data[0]"
            )
        )
        assert abs(seen[-1] - (40 + 5 * k)) <= 12, (k, seen)
    player.locator("button").click()
    page.wait_for_timeout(500)
    assert player.evaluate("p => p.frame") != 31
    page.close()
