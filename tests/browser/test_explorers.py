"""Explorers in a browser, on a page of their own: each is moved once, and shows what it should."""

import math

import pytest
import torch
from explorer_kinds import ALONE, LOGITS, POINTS, START, all_kinds, of_bits, of_codes

from vg.models import FSQ
from vg.sampling import filter_logits

KINDS = ("variations", "film_slice", "codebook", "rounding", "slopes", "attention", "probabilities")
PICTURES = """root => [...root.shadowRoot.querySelectorAll("canvas, svg")].map(
    one => one.toDataURL ? one.toDataURL() : one.innerHTML)"""
MOVE = """([root, name, value]) => {
    const label = [...root.shadowRoot.querySelectorAll("label")].find(one => one.firstChild.textContent === name);
    const input = label.querySelector("input, select");
    input.value = value;
    input.dispatchEvent(new Event(input.matches("select") ? "change" : "input", { bubbles: true }));
}"""
MOVES = {
    "variations": ("amount", 2), "film_slice": ("row", 9), "codebook": ("arrows", 2), "rounding": ("z", 2),
    "slopes": ("head", 2), "attention": ("query", 2), "probabilities": ("temperature", 0.3),
}  # fmt: skip


@pytest.fixture(scope="module")
def kinds():
    return all_kinds()


@pytest.fixture
def open_page(chromium, tmp_path):
    """Explorers on a page that may not reach anybody: returns the page and its explorers; complaints fail the test."""
    said, pages = [], []

    def opened(*explorers, **options):
        file = tmp_path / "page.html"
        file.write_text(
            "<!doctype html><meta charset=utf-8>" + "".join(one.html for one in explorers), encoding="utf-8"
        )
        page = chromium.new_page(**options)
        pages.append(page)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda r: r.url.startswith(("file:", "data:")) or said.append(r.url))
        page.goto(file.as_uri())
        if options.get("java_script_enabled", True):
            page.wait_for_function("[...document.querySelectorAll('.vg-explorer')].every(one => one.shadowRoot)")
        return page, page.query_selector_all(".vg-explorer")

    yield opened
    for page in pages:
        page.close()
    assert said == []


def move(page, root, name, value):
    page.evaluate(MOVE, [root, name, value])


@pytest.mark.parametrize("name", KINDS)
def test_one_moved_shows_another_picture_and_its_twin_does_not(name, kinds, open_page):
    page, (first, second) = open_page(kinds[name], kinds[name])
    before = first.evaluate(PICTURES)
    assert before and before == second.evaluate(PICTURES)
    move(page, first, *MOVES[name])
    assert first.evaluate(PICTURES) != before
    assert second.evaluate(PICTURES) == before
    assert page.evaluate("[typeof SHEET, typeof data, typeof root, typeof start]") == ["undefined"] * 4
    names = first.evaluate("r => [...r.shadowRoot.querySelectorAll('canvas, svg')].map(c => c.ariaLabel)")
    assert all(names), "a picture without a name"


def test_without_scripts_the_still_stays(kinds, open_page):
    page, roots = open_page(*kinds.values(), java_script_enabled=False)
    assert len(roots) == page.locator("img:visible").count() == len(kinds)


def test_labels_lie_within_their_drawings(kinds, open_page):
    _, roots = open_page(*kinds.values(), viewport={"width": 400, "height": 800})
    out = """root => [...root.shadowRoot.querySelectorAll("svg text")].filter(text => {
        const a = text.getBoundingClientRect(), b = text.ownerSVGElement.getBoundingClientRect();
        return a.left < b.left - 0.5 || a.right > b.right + 0.5 || a.top < b.top - 0.5 || a.bottom > b.bottom + 0.5;
    }).map(text => text.textContent)"""
    for root in roots:
        assert root.evaluate(out) == []


@pytest.mark.parametrize("width", [400, 1000])
def test_nothing_is_wider_than_the_page(width, kinds, open_page):
    page, _ = open_page(*kinds.values(), viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_page_rendered_again_works_again(kinds, open_page):
    page, (root,) = open_page(kinds["rounding"])
    before = root.evaluate(PICTURES)
    again = page.evaluate_handle("""root => {
        const copy = root.cloneNode(true), script = document.createElement("script");
        script.textContent = copy.querySelector("script").textContent;
        copy.querySelector("script").replaceWith(script);
        root.replaceWith(copy);
        return copy;
    }""", root).as_element()  # fmt: skip
    page.wait_for_function("root => root.shadowRoot", arg=again)
    assert again.evaluate(PICTURES) == before


def test_a_broken_sheet_leaves_the_still(kinds, chromium):
    page = chromium.new_page()
    page.set_content(kinds["film_slice"].html.replace("data:image/webp;base64,", "data:image/webp;base64,AAAA"))
    page.wait_for_timeout(200)
    assert page.locator("img:visible").count() == 1
    page.close()


def test_sliders_of_digits_and_bits_lead_to_their_pictures(open_page):
    page, (digits, bits) = open_page(of_codes(), of_bits())
    captions = "r => [...r.shadowRoot.querySelectorAll('figcaption')].map(c => c.textContent)"
    assert digits.evaluate(captions)[1].startswith("drawn by token: 6, ")
    move(page, digits, "d0", 3)
    move(page, digits, "d1", 2)
    assert digits.evaluate(captions)[1].startswith("drawn by token: 11, ")
    pixel = """root => [...root.shadowRoot.querySelectorAll("canvas")].map(canvas => {
        const copy = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
        copy.drawImage(canvas, -10, -10);
        return copy.getImageData(0, 0, 1, 1).data[0];
    })"""
    assert digits.evaluate(pixel)[1] == 255  # the lightest code, in the tubelet of the first frame
    assert bits.evaluate(pixel) == [128, 153, 144]
    move(page, bits, "bits of H.264", 0)
    move(page, bits, "frame", 3)
    assert bits.evaluate(pixel) == [128, 153, 178]
    assert bits.evaluate(captions)[2].startswith("H.264: 1,000 bits, ")


def test_a_box_lies_around_its_pixels_however_wide_the_page(kinds, open_page):
    where = """root => {
        const [canvas, box] = root.shadowRoot.querySelector(".framed").children;
        const a = canvas.getBoundingClientRect(), b = box.getBoundingClientRect(), scale = canvas.width / a.width;
        return [b.top - a.top, b.left - a.left, b.height, b.width].map(side => side * scale);
    }"""
    for width in (80, 1000):
        _, (root,) = open_page(kinds["variations"], viewport={"width": width, "height": 600})
        assert root.evaluate(where) == pytest.approx([2, 4, 5, 6], abs=0.05)


@pytest.mark.parametrize("levels", [3, 4, 5, 8, 16])
def test_rounding_is_that_of_fsq(levels, kinds, open_page):
    page, (root,) = open_page(kinds["rounding"])
    move(page, root, "levels", levels)
    for z in (-3.0, -0.55, 0.0, 0.3, 1.2, 4.0):
        move(page, root, "z", z)
        code, digit = FSQ((levels,))(torch.tensor([[z]]))
        said = root.evaluate("r => r.shadowRoot.querySelector('.said').textContent")
        wanted = f"{float(code):.2f}".replace("-0.00", "0.00")
        assert f"digit {int(digit)}, code {wanted}." in said.replace("-0.00", "0.00")


def test_points_belong_to_their_nearest_code_wherever_it_is_moved(kinds, open_page):
    page, (root,) = open_page(kinds["codebook"])
    codes = POINTS[:5].clone()
    page.locator("[data-name='code 2']").focus()
    for _ in range(7):
        page.keyboard.press("ArrowRight")
    codes[2, 0] = min(codes[2, 0] + 0.7, 3.0)
    nearest = torch.cdist(POINTS, codes).argmin(1)
    said = root.evaluate("r => r.shadowRoot.querySelector('.said').textContent")
    assert f"points of each code {', '.join(map(str, torch.bincount(nearest, minlength=5).tolist()))};" in said


@pytest.mark.parametrize(
    ("history", "temperature", "top_k", "top_p"), [(1, 1, 4, 1), (2, 0.5, 4, 0.9), (0, 1.5, 2, 0.6)]
)
def test_probabilities_are_those_of_the_sampler(history, temperature, top_k, top_p, kinds, open_page):
    page, (root,) = open_page(kinds["probabilities"])
    for name, value in zip(("history", "temperature", "top-k", "top-p"), (history, temperature, top_k, top_p)):
        move(page, root, name, value)
    labels = root.evaluate("r => [...r.shadowRoot.querySelectorAll('svg')].map(c => c.ariaLabel)")
    for past, alone, label in zip(torch.tensor(LOGITS[0])[None], torch.tensor(ALONE[0])[None], labels):
        logits = (alone + history * (past - alone)) / temperature
        wanted = filter_logits(logits, top_k, top_p).softmax(-1)
        shown = [float(part.split(": ")[-1]) for part in label.split(", ")]
        assert all(math.isclose(a, b, abs_tol=6e-4) for a, b in zip(shown, wanted.tolist()))
    assert START["history"] != history
