"""The pages of ``make site``: built without a warning, whole, and sufficient to themselves.

``VG_SITE=whole`` builds all of them, which takes a minute; else one notebook and one package stand for the rest.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urldefrag, urljoin, urlparse

import pytest

from vg import paths

SMALL = [
    "README.md",
    "RESULTS.md",
    "notebooks/00_start_here.ipynb",
    "notebooks/01_vae.ipynb",
    "CONTRIBUTING.md",
    "docs/*.md",
]
WIDTHS = (1000, 400)


class Links(HTMLParser):
    """What a page refers to, and the anchors that it has."""

    def __init__(self, text: str):
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = set()
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attributes if value is not None}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        loads = tag in ("script", "img", "iframe", "source") or (tag == "link" and values.get("rel") != "canonical")
        for name in ("href", "src"):
            if name in values:
                (self.loaded if loads else self.targets).append(values[name])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built pages."""
    pytest.importorskip("myst_nb", reason="the pages need the extra 'site': pip install -e '.[site]'")
    out = tmp_path_factory.mktemp("site")
    whole = os.environ.get("VG_SITE") == "whole"
    few = ["-D", "include_patterns=" + ",".join(SMALL), "-D", "autosummary_generate=0"]
    command = [sys.executable, "-m", "sphinx", "-q", "--keep-going", "-c", "docs", *([] if whole else few)]
    done = subprocess.run(
        [*command, *(["-W"] if whole else []), "-d", out / "doctrees", ".", out / "pages"],
        cwd=paths.root(),
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    return out / "pages"


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where the pages are served."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


def test_every_link_leads_somewhere(site: Path):
    pages = {path: Links(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    assert {"index.html", "README.html", "00_start_here.html"} <= {path.name for path in pages}
    whole, lost = os.environ.get("VG_SITE") == "whole", []
    for path, page in pages.items():
        for target in [*page.targets, *page.loaded]:
            where, anchor = urldefrag(urljoin(path.as_uri(), target))
            if urlparse(where).scheme != "file":
                continue
            file = Path(unquote(urlparse(where).path))
            if not whole and file.suffix == ".html" and not file.exists():
                continue  # a page of those that are not built here
            if not file.exists() or (anchor and file in pages and unquote(anchor) not in pages[file].anchors):
                lost.append(f"{path.name}: {target}")
    assert not lost


def test_a_page_offers_its_students_edition(site: Path):
    edition = "student/01_vae.ipynb"
    assert edition in Links((site / "notebooks/01_vae.html").read_text(encoding="utf-8")).targets
    assert (site / "notebooks" / edition).read_bytes() == (paths.root() / "notebooks" / edition).read_bytes()


def test_every_picture_says_what_it_shows(site: Path):
    class Pictures(HTMLParser):
        def __init__(self, text: str):
            super().__init__()
            self.alts: list[str | None] = []
            self.feed(text)

        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            self.alts += [dict(attributes).get("alt")] * (tag == "img")

    text = (site / "notebooks" / "00_start_here.html").read_text(encoding="utf-8")
    alts = Pictures(text).alts
    assert len(alts) > 10 and all(alts), [alt for alt in alts if not alt]
    assert "Picture: " not in text, "once is enough"


def test_no_page_loads_anything_from_elsewhere(site: Path):
    for path in site.rglob("*.html"):
        loaded = Links(path.read_text(encoding="utf-8")).loaded
        assert not [each for each in loaded if urlparse(each).scheme in ("http", "https") or each.startswith("//")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_open_in_a_browser(chromium, address: str, scheme: str):
    page = chromium.new_page(color_scheme=scheme)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("response", lambda answer: said.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if address not in request.url[:60] else None)
    for name in ("index.html", "notebooks/00_start_here.html"):
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(address + name)
            if name == "index.html":
                page.wait_for_url("**/README.html")
            assert page.locator("h1").first.is_visible()
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is wider than {width}"
    assert [each for each in said if not each.startswith(("data:", "blob:"))] == []
    page.close()


def test_players_play_on_pages_opened_from_disk(chromium, site: Path):
    page = chromium.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto((site / "notebooks" / "00_start_here.html").as_uri())
    players = page.locator("vg-player")
    assert players.count() > 0
    page.wait_for_function(
        "[...document.querySelectorAll('vg-player')].every(p => p.shadowRoot?.querySelector('canvas'))"
    )
    one = players.first
    draw = "p => p.shadowRoot.querySelector('canvas').toDataURL()"
    before = one.evaluate(draw)
    one.locator("input").fill("5")
    assert one.evaluate(draw) != before
    assert said == []
    page.close()
