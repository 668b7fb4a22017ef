"""Make the notebooks from their texts: ``notebooks/src/NN_name.py`` -> ``notebooks/NN_name.ipynb``.

    python notebooks/build.py                    all: take over the texts, keep outputs of unchanged cells
    python notebooks/build.py 05 07 --execute    these two: take over the texts, run, store the outputs

One text makes two editions: the solved one, and the student's in ``notebooks/student/``, which has no outputs and
blanks where the text has solutions (``editions.py``).

The texts are what people edit and review (jupytext, py:percent). A notebook is a pure function of its text
and of what running it printed: cell ids come from the sources, and nothing of the moment or the machine
is stored (times, versions, widget state). Notebooks run one after another, in order, in the folder
``notebooks/``, with the Python that runs this script, and with the caller's VG_PROFILE and VG_DATA.
"""

import argparse
import base64
import hashlib
import io
import json
import os
import re
import sys
import time
from collections import defaultdict
from pathlib import Path

import jupytext
import nbformat
import numpy as np
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent))
import editions
from vg.show.page import alt_html

FOLDER = Path(__file__).resolve().parent
METADATA = json.loads((FOLDER / "metadata.json").read_text(encoding="utf-8"))
WIDGET = "application/vnd.jupyter.widget-view+json"


class ThisPython(AsyncKernelManager):
    """Whatever kernels are registered on this machine, the kernel is the Python that runs this script."""

    @property
    def kernel_spec(self) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=ERROR"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python")


def from_text(path: Path) -> NotebookNode:
    """The notebook that a py:percent text describes, without outputs: both editions' cells."""
    notebook = jupytext.read(path, fmt="py:percent")
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for cell in notebook.cells:
        cell.metadata.pop("lines_to_next_cell", None)  # about the text's empty lines
        if "hide-input" in cell.metadata.get("tags", []):  # the tag folds it on pages, this in JupyterLab
            cell.metadata["jupyter"] = {"source_hidden": True}
    return notebook


def number(notebook: NotebookNode) -> NotebookNode:
    """Give each cell an id that is made of its source."""
    seen: dict[str, int] = defaultdict(int)
    for cell in notebook.cells:
        key = f"{cell.cell_type}\n{cell.source}"
        cell.id = hashlib.sha256(f"{key}\n{seen[key]}".encode()).hexdigest()[:8]
        seen[key] += 1
    return notebook


def keep_outputs(new: NotebookNode, old: NotebookNode) -> None:
    """Give the code cells of ``new`` the outputs that cells of the same source have in ``old``, in order."""
    stored: dict[str, list[NotebookNode]] = defaultdict(list)
    for cell in old.cells:
        if cell.cell_type == "code":
            stored[cell.source].append(cell)
    for cell in new.cells:
        if cell.cell_type == "code" and stored[cell.source]:
            before = stored[cell.source].pop(0)
            cell.outputs, cell.execution_count = before.outputs, before.execution_count


def execute(notebook: NotebookNode, name: str, timeout: int) -> None:
    """Run all cells in a fresh kernel, in the folder of the notebooks, and store what they print.

    Raises:
        CellExecutionError: a cell raised; the message holds the cell and its traceback.
        CellTimeoutError: a cell took more than ``timeout`` seconds.
        DeadKernelError: the kernel died, most often for want of memory.
    """
    total = len(notebook.cells)

    def progress(cell: NotebookNode, cell_index: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{name}: cell {cell_index + 1} of {total} ", end="", file=sys.stderr, flush=True)

    NotebookClient(
        notebook,
        kernel_manager_class=ThisPython,
        timeout=timeout,
        resources={"metadata": {"path": str(FOLDER)}},
        coalesce_streams=True,
        on_cell_start=progress,
    ).execute()


def strip(notebook: NotebookNode) -> None:
    """Take out what changes from run to run (widgets, whose models are gone, times, versions) and what is there twice.

    An output that was a widget and has no picture besides goes as a whole, and so does what a progress bar left. A
    player's frames go, for it can take those of the animated picture above it; its script stays once in a notebook.
    Still pictures keep their pixels, in fewer bytes.
    """
    notebook.metadata = nbformat.from_dict(METADATA)
    scripts = set()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if "outputs" in cell:
            for output in cell.outputs:
                thin(output, scripts)
            cell.outputs = described([output for output in cell.outputs if output.get("data", True)])


def described(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Outputs, with what each still picture shows before it, for those who do not see it; players say it themselves."""
    made: list[NotebookNode] = []
    for output, after in zip(outputs, [*outputs[1:], {}]):
        alt = output.get("metadata", {}).get("image/png", {}).get("alt")
        live = "<vg-player" in "".join(after.get("data", {}).get("text/html", ""))
        words = {"text/html": alt_html(alt)} if alt and not live else None
        if words and not (made and made[-1].get("data") == words):
            made.append(nbformat.v4.new_output("display_data", data=words))
        made.append(output)
    return made


def thin(output: NotebookNode, scripts: set[str]) -> None:
    """Take out of one output what ``strip`` takes out, all of its data if need be; ``scripts`` were seen before."""
    data = output.get("data", {})
    is_bar = output.get("metadata", {}).get("vg") == "progress"
    if is_bar or (data.pop(WIDGET, None) and not any(kind.startswith("image/") for kind in data)):
        data.clear()
    if "image/png" in data:
        data["image/png"] = lighter("".join(data["image/png"]))
    if "text/html" in data:
        code = re.sub(r' data-sprite="[^"]*"', "", "".join(data["text/html"]))
        for script in re.findall(r"<script>.*?</script>", code, re.DOTALL):
            code = code.replace(script, "") if script in scripts else code
            scripts.add(script)
        data["text/html"] = code
        if not code:
            data.clear()


def lighter(png: str) -> str:
    """A still picture (PNG, base64) of the same pixels in fewer bytes; what moves, or is small already, as it is."""
    raw = base64.b64decode(png)
    try:
        picture, smaller = Image.open(io.BytesIO(raw)), io.BytesIO()
    except OSError:
        return png  # no picture that Pillow knows
    if getattr(picture, "is_animated", False):
        return png
    opaque = picture.mode == "RGBA" and picture.getchannel("A").getextrema() == (255, 255)
    picture = picture.convert("RGB") if opaque else picture
    if picture.mode == "RGB" and picture.getcolors(256):
        # By hand, since Pillow's `quantize` with a palette takes colours that are close for one.
        pixels = np.asarray(picture)
        colours, places = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
        picture = Image.fromarray(places.reshape(pixels.shape[:2]).astype(np.uint8))
        picture.putpalette(colours.flatten().tolist())
    picture.save(smaller, "PNG", optimize=True)
    made = smaller.getvalue()
    return base64.b64encode(made).decode() if len(made) < len(raw) else png


def write(notebook: NotebookNode, path: Path) -> bool:
    """Write all of the notebook or nothing; False where the file had these very bytes already."""
    nbformat.validate(notebook)
    text = nbformat.writes(notebook).rstrip("\n") + "\n"
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(".ipynb.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
    return True


def build(source: Path, run: bool, timeout: int) -> str:
    """Make one notebook from its text; returns a line that says what was done."""
    path = FOLDER / f"{source.stem}.ipynb"
    text = from_text(source)
    notebook = number(editions.solved(text, source.stem))
    start = time.monotonic()
    if run:
        execute(notebook, source.stem, timeout)
    elif path.exists():
        keep_outputs(notebook, nbformat.read(path, as_version=4))
    strip(notebook)
    written = write(notebook, path)
    if editions.tasks(text):
        write(number(editions.student(text, source.stem)), FOLDER / "student" / path.name)
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    empty = sum(cell.execution_count is None for cell in code)
    line = f"{path.name}: {'written' if written else 'unchanged'}"
    line += f", executed in {time.monotonic() - start:.0f} s" if run else ""
    return line + (f"; {empty} of {len(code)} code cells have not run: add --execute" if empty else "")


def chosen(names: list[str]) -> list[Path]:
    """The texts meant by ``names`` (their first letters, or a path), in order; all of them without names.

    Raises:
        SystemExit: if a name fits no text, with the names that there are.
    """
    sources = sorted((FOLDER / "src").glob("[0-9]*.py"))
    wanted = [Path(name).stem for name in names]
    for name in wanted:
        if not any(source.stem.startswith(name) for source in sources):
            there = ", ".join(source.stem for source in sources) or "none yet"
            raise SystemExit(f"No text in notebooks/src/ begins with {name!r}. There are: {there}.")
    return [source for source in sources if not wanted or source.stem.startswith(tuple(wanted))]


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Make notebooks/*.ipynb from the texts in notebooks/src/.")
    parser.add_argument("names", nargs="*", help="which, by their first letters, as in 05 (default: all)")
    parser.add_argument("--execute", action="store_true", help="run them, in order, and store the outputs")
    parser.add_argument("--timeout", type=int, default=3600, help="seconds that a cell may take (3600)")
    options = parser.parse_args(arguments)
    if os.environ.get("VG_DATA"):  # the kernel starts in notebooks/, the caller is elsewhere
        os.environ["VG_DATA"] = os.path.abspath(os.environ["VG_DATA"])
    for source in chosen(options.names):
        try:
            print(build(source, options.execute, options.timeout), flush=True)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            print(f"{source.stem} stopped; its notebook is as it was before.\n{error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
