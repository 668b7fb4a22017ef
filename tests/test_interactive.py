"""Laws of explorers without a kernel: what the page carries is what was given, small, valid and on its own."""

import io
import json
import re
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from explorer_kinds import LEVELS, PLACE, TUBELET, all_kinds, codes, film, of_bits, of_codes, weights
from PIL import Image

from vg.show import interactive
from vg.show.figures import COLOURS, STYLE
from vg.show.interactive.page import LIMIT, source
from vg.show.interactive.page import interactive as put_together
from vg.show.interactive.sheets import pack, unpack
from vg.show.pixels import frames

VOID = {"img"}


class Page(HTMLParser):
    """Tags that are open, attributes by tag, and the script's text."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.seen, self.script = [], {}, ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.seen.setdefault(tag, []).append(dict(attributes))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.script += data


def carried(explorer) -> dict:
    """The data that the page hands its script."""
    values = re.search(r"parentElement, data = (.*);$", Page(explorer.html).script, re.M).group(1)
    return json.loads(values)


@pytest.fixture(scope="module")
def kinds():
    return all_kinds()


def test_a_page_is_valid_small_and_asks_nobody(kinds):
    for name, explorer in kinds.items():
        page, (data, about) = Page(explorer.html), explorer._repr_mimebundle_()
        assert page.open == [] and [len(page.seen[tag]) for tag in ("div", "img", "script")] == [1, 1, 1], name
        assert not any("id" in attributes for tags in page.seen.values() for attributes in tags)
        assert page.seen["img"][0]["alt"] == page.seen["div"][0]["aria-label"] == about["image/png"]["alt"]
        assert page.seen["img"][0]["src"].startswith("data:image/png;base64,")
        hosts = re.findall(r"https?://[^\"'`\s]+", explorer.html)
        assert set(hosts) <= {"http://www.w3.org/2000/svg"}, name  # a namespace, which nobody fetches
        assert sum(map(len, data.values())) <= LIMIT
        assert Image.open(io.BytesIO(explorer.png)).format == "PNG"
        assert source(name) in page.script


def test_words_cannot_leave_their_place():
    words = '</script><b onclick="x">&'
    made = put_together("rounding", words, {"levels": words}, Image.new("L", (4, 4)))
    page = Page(made.html)
    assert page.seen["img"][0]["alt"] == words and set(page.seen) == {"div", "img", "script"}
    assert carried(made) == {"levels": words}


def test_a_small_sheet_is_exact_and_a_large_one_close():
    pictures = frames(film(31)[0][:, None, None].flatten(0, 1).movedim(0, 1))
    assert (unpack(pack(pictures), len(pictures)) == pictures).all()
    y, x = np.mgrid[:64, :64]
    smooth = np.stack([127 + 120 * np.sin((x + 3 * k) / 9) * np.cos(y / 7) for k in range(40)]).astype(np.uint8)[
        ..., None
    ]
    packed = pack(smooth, 20_000)
    assert len(packed["src"]) < 4 / 3 * 20_000 + 40
    assert np.abs(unpack(packed, 40).astype(int) - smooth).mean() < 3
    with pytest.raises(ValueError, match="at most: give fewer"):
        pack(pictures, 500)


def test_variations_carry_each_picture_once_and_where_the_script_looks(kinds):
    data = carried(kinds["variations"])
    image, yours = data["pictures"]
    assert (image["first"], image["shape"], yours["first"], yours["shape"]) == (0, [1, 1], 1, [2, 3])
    sheet = unpack(data["sheet"], 7)
    assert (sheet[1:, ..., :1] == frames(film(6))).all() and (sheet[0, ..., :1] == frames(film(2)[:, 0])[0]).all()
    assert yours["words"] == list("abcdef")


def test_no_two_curves_of_a_still_have_one_colour():
    heads = {f"head {k}": 4.0**-k for k in (1, 2, 3, 4)} | {f"wide head {k}": 4.0**-k for k in (2, 4, 5, 7)}
    with plt.rc_context(STYLE):
        png = interactive.slopes(heads, (16, 16)).png
    still = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    colours = np.array([[int(colour[k : k + 2], 16) for k in (1, 3, 5)] for colour in COLOURS])
    nearest = np.abs(still.reshape(-1, 1, 3) - colours).sum(-1).min(0)
    assert nearest.max() < 30


def test_digits_show_the_clip_of_their_code_and_its_tubelet():
    data = carried(of_codes())
    truth, drawn = data["pictures"]
    assert (truth["shape"], drawn["shape"], [one["start"] for one in data["axes"]]) == ([1, 1], [4, 3], [2, 1])
    sheet = unpack(data["sheet"], 13).astype(int)[..., 0]
    greys = np.rint(127.5 * (codes()[1][:, 0, 5, 12, 20].numpy() + 1))
    for top, left, height, width in data["boxes"]:
        box = (slice(top, top + height), slice(left, left + width))
        assert (height, width) == TUBELET[1:] and (sheet[0][box] == 140).all()
        for d0, d1 in np.ndindex(*LEVELS):
            number = drawn["first"] + 3 * d0 + d1
            assert (sheet[number][box] == greys[d0 + 4 * d1]).all()
            assert drawn["words"][3 * d0 + d1].startswith(f"{d0 + 4 * d1}, ")
    outside = np.ones(sheet[0].shape, bool)
    for top, left, height, width in data["boxes"]:
        outside[top : top + height, left : left + width] = False
    assert len(data["boxes"]) == 4 and (sheet[0][outside] == sheet[5][outside]).all()
    error = (greys[6] - 140) ** 2
    assert drawn["words"][3 * 2 + 1] == f"6, {10 * np.log10(255**2 / error):.1f} dB in the box"


def test_bits_begin_nearest_to_those_of_the_tokens_and_say_the_quality():
    data = carried(of_bits())
    truth, tokens, codec = data["pictures"]
    assert [axis["name"] for axis in data["axes"]] == ["bits of H.264", "frame"]
    assert (data["axes"][0]["values"], data["axes"][0]["start"]) == (["1000", "2000", "3000", "4000", "5000"], 2)
    assert data["axes"][1]["values"] == ["0", "2", "5", "7"]
    sheet = unpack(data["sheet"], 4 * 7)[..., 0].astype(int)
    assert (sheet[truth["first"]] == 128).all() and (sheet[tokens["first"]] == 153).all()
    assert [int(sheet[codec["first"] + 4 * k].mean()) for k in range(5)] == [178, 153, 144, 140, 138]
    assert tokens["words"] == [f"2,900 bits, {20 * np.log10(255 / 25):.1f} dB"]
    assert codec["words"][1] == f"2,000 bits, {20 * np.log10(255 / 25):.1f} dB"


def test_a_film_and_attention_are_carried_whole(kinds):
    assert (unpack(carried(kinds["film_slice"])["sheet"], 12)[..., :1] == frames(film())).all()
    data, given = carried(kinds["attention"]), weights()
    maps = unpack(data["maps"], 3 * 2 * 2 * 4)[..., 0].reshape(given.shape) / 255
    wanted = (given / given.amax((-3, -2, -1), keepdim=True)).sqrt().numpy()
    assert np.abs(maps - wanted).max() <= 0.5 / 255 + 1e-6
    assert np.abs(np.array(data["shares"]).ravel() - 100 * given.sum((-2, -1)).numpy().ravel()).max() <= 0.5


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: interactive.variations({"a": torch.zeros(2, 1, 4, 4)}, {"x": [1, 2, 3]}),
            "picture 'a': expected axes x 3",
        ),
        (lambda: interactive.variations({"a": torch.zeros(2, 1, 4, 4)}, {"x": [1, 2]}, {"x": 2}), "start"),
        (
            lambda: interactive.variations({"a": torch.zeros(1, 4, 4)[None]}, {"x": [1]}, boxes=[(0, 1, 4, 4)]),
            "no part",
        ),
        (lambda: interactive.digits(codes()[1][:5], codes()[0], LEVELS, (0, 0), PLACE, TUBELET), "5 clips"),
        (
            lambda: interactive.digits(codes()[1], codes()[0], LEVELS, (0, 0), (2, 0, 0), TUBELET),
            "no tubelet (2, 0, 0)",
        ),
        (lambda: interactive.bitrates(film(), (film(11), 1), []), "came beside the film's"),
        (lambda: interactive.film_slice(film(), row=16), "no row 16"),
        (lambda: interactive.codebook(torch.zeros(3, 3), torch.zeros(2, 2)), "points: expected"),
        (lambda: interactive.codebook(torch.zeros(3, 2), torch.full((2, 2), torch.nan)), "codes: expected finite"),
        (lambda: interactive.rounding(levels=2), "levels is 2"),
        (lambda: interactive.slopes({"a": 0.0}, (4, 4)), "slopes must be"),
        (lambda: interactive.slopes({"a": 0.5}, (4, 4), start="b"), "'b' is no head"),
        (lambda: interactive.attention_maps(weights(), film(4), [(3, 0, 0)]), "1 queries"),
        (lambda: interactive.probabilities([[0.0, 1.0]], [[0.0, 1.0]], [2], {}), "digit 0 is 2"),
        (lambda: put_together("rounding", "t", {"x": "y" * LIMIT}, Image.new("L", (4, 4))), "150,000 at most"),
    ],
)
def test_a_wrong_input_is_named(call, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        call()
