"""How ``make site`` turns the executed notebooks, the results and the docstrings of ``vg`` into static pages.

Nothing is executed here, and no page asks another host for anything: fonts, scripts and MathJax are the site's own.
The sources are the repository's own files, so Sphinx runs in its root: ``sphinx-build -c docs . build/site``.
"""

import base64
import html
import re
import shutil
from importlib.metadata import version as version_of
from pathlib import Path

from docutils import nodes
from sphinx import addnodes

project, author, copyright = "vg", "the authors of vg", "the authors of vg"
release = version = version_of("vg")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx-mathjax-offline",
]
root_doc = "README"
include_patterns = ["*.md", "notebooks/*.ipynb", "benchmarks/LOG.md", "data/README.md", "docs/*.md", "docs/api/*.rst"]
exclude_patterns = ["docs/contents.md"]
templates_path = [str(Path(__file__).parent / "_templates")]  # absolute: autosummary looks from the root

nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # stored notebooks hold no widgets; the usual scripts come from afar
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header", "myst.xref_missing", "mystnb.unknown_mime_type", "misc.highlighting_failure"]

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_inherit_docstrings = False  # of torch's classes: what they say is not about ours
napoleon_google_docstring, napoleon_numpy_docstring = True, False
napoleon_use_ivar = True  # attributes in a list, not each an object of its own

html_theme = "furo"
html_title = "Learn video generation"
html_extra_path = ["extra"]  # index.html, which leads to README.html
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_favicon = "static/icon.svg"
html_copy_source = False


def inline(image: nodes.image, root: Path) -> None:
    """Put a picture's bytes into the page: a player reads them, which a browser forbids between two files on disk."""
    file = root / image["uri"]
    if file.suffix == ".png" and file.is_file():
        image["uri"] = "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()
        image["candidates"] = {"?": image["uri"]}  # nothing to copy


def setup(app) -> None:
    """The README is the first page, with what stands beside all pages appended; pictures say what they show."""
    contents = (Path(__file__).parent / "contents.md").read_text(encoding="utf-8")

    def append(app, name: str, source: list[str]) -> None:
        if name == root_doc:
            source[0] += "\n" + contents

    def describe(app, doctree: nodes.document) -> None:
        """Pictures get the text that stands before them, or in the player after them, for those who do not see them."""
        alt, last = "", None
        for node in list(doctree.findall(lambda node: isinstance(node, (nodes.raw, nodes.image)))):
            if isinstance(node, nodes.image):
                node["alt"] = node.get("alt") or alt
                alt, last = "", node
            elif found := re.search(r'class="vg-alt"[^>]*>Picture: (.*?)</span>', node.astext(), re.DOTALL):
                alt = html.unescape(found[1])
                node.parent.remove(node)
            elif last is not None and (found := re.search(r'data-alt="(.*?)"', node.astext(), re.DOTALL)):
                last["alt"] = last["alt"] or html.unescape(found[1])
                inline(last, Path(app.srcdir))

    def offer(app, doctree: nodes.document) -> None:
        """Links to the student's editions lead to files to download: they are no pages."""
        for node in list(doctree.findall(addnodes.pending_xref)):
            if found := re.search(r"\bstudent/\w+", str(node["reftarget"])):
                file = f"{found[0]}.ipynb"
                node.replace_self(nodes.reference("", node.astext(), refuri=file, internal=True, classes=["download"]))

    def carry(app, problem: Exception | None) -> None:
        """The student's editions stand beside the pages that lead to them."""
        if problem is None and app.builder.format == "html":
            shutil.copytree(app.srcdir / "notebooks/student", app.outdir / "notebooks/student", dirs_exist_ok=True)

    app.connect("build-finished", carry)
    app.connect("doctree-read", offer)
    app.connect("source-read", append)
    app.connect("doctree-read", describe)
