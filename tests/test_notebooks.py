"""Notebooks and their texts: in step, executed, fit to be shown; and the script that makes them.

What the cells themselves compute is tested by running them: ``pytest tests notebooks --nbval``.
"""

import base64
import io
import json
import sys
from pathlib import Path

import jupytext
import nbformat
import numpy as np
import pytest
import torch
from notebook_scripts import NOTEBOOKS, module_at
from PIL import Image

BUILD = module_at(NOTEBOOKS / "build.py")
STEMS = sorted({p.stem for p in [*NOTEBOOKS.glob("[0-9]*.ipynb"), *NOTEBOOKS.glob("src/[0-9]*.py")]})
MIB = 2**20
TEXT = """\
# %% [markdown]
# # A title

# %%
import os
import sys

print(os.path.basename(os.getcwd()), sys.executable)

# %%
kept = 6 * 7
kept
"""


def complaints(notebook: nbformat.NotebookNode, text: nbformat.NotebookNode) -> list[str]:
    """What is wrong with a notebook, given its text; nothing means that it can be shown and tested."""
    found = []
    pairs = [[(c.cell_type, c.source, c.metadata.get("tags", [])) for c in n.cells] for n in (notebook, text)]
    for k, (stored, written) in enumerate(zip(*pairs)):
        if stored != written:
            found.append(f"cell {k} differs from the text")
            break
    if len(pairs[0]) != len(pairs[1]):
        found.append(f"{len(pairs[0])} cells, and {len(pairs[1])} in the text")
    if "widgets" in notebook.metadata:
        found.append("widget state in metadata.widgets")
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        found.append("the kernel is not called python3")
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    if [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
        found.append("not executed once from top to bottom")
    if any(output.output_type == "error" for cell in code for output in cell.outputs):
        found.append("a cell raised an error")
    found += [f"a cell of {n} lines" for c in code if (n := len(c.source.splitlines())) > 40]
    return found


@pytest.mark.parametrize("stem", STEMS)
def test_a_notebook_is_in_step_with_its_text_and_fit_to_be_shown(stem):
    path, source = NOTEBOOKS / f"{stem}.ipynb", NOTEBOOKS / "src" / f"{stem}.py"
    assert source.exists(), f"notebooks/src/{stem}.py, the text that people edit, is missing"
    assert path.exists(), f"run: python notebooks/build.py {stem} --execute"
    notebook, text = nbformat.read(path, as_version=4), solved(source)
    nbformat.validate(notebook)
    assert complaints(notebook, text) == [], f"run: python notebooks/build.py {stem} --execute"
    assert path.stat().st_size <= 2 * MIB, f"{path.name} is over 2 MiB: fewer or smaller pictures"


def solved(source: Path) -> nbformat.NotebookNode:
    """The solved edition of a text."""
    return BUILD.editions.solved(BUILD.from_text(source), source.stem)


def executed() -> nbformat.NotebookNode:
    notebook = jupytext.reads(TEXT, fmt="py:percent")
    notebook.metadata = nbformat.from_dict({"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    for k, cell in enumerate(c for c in notebook.cells if c.cell_type == "code"):
        cell.execution_count = k + 1
    return notebook


def plant(where: str, what: object):
    def mistake(notebook):
        *path, last = where.split(".")
        for step in path:
            notebook = notebook[int(step) if step.isdigit() else step]
        notebook[last] = what

    return mistake


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (lambda n: None, []),
        (plant("cells.2.source", "kept = 6 * 9\nkept"), ["cell 2 differs from the text"]),
        (plant("cells.0.cell_type", "raw"), ["cell 0 differs from the text"]),
        (lambda n: n.cells.pop(0), ["cell 0 differs from the text", "2 cells, and 3 in the text"]),
        (plant("metadata.widgets", {}), ["widget state in metadata.widgets"]),
        (plant("metadata.kernelspec.name", "vg"), ["the kernel is not called python3"]),
        (plant("cells.1.execution_count", None), ["not executed once from top to bottom"]),
        (plant("cells.1.execution_count", 3), ["not executed once from top to bottom"]),
        (
            plant("cells.1.outputs", [nbformat.v4.new_output("error", ename="E", evalue="", traceback=[])]),
            ["a cell raised an error"],
        ),
    ],
)
def test_each_fault_of_a_notebook_is_named(mistake, said):
    notebook = executed()
    mistake(notebook)
    assert complaints(notebook, jupytext.reads(TEXT, fmt="py:percent")) == said


def test_a_long_cell_is_named():
    long = jupytext.reads("# %%\n" + "x = 1\n" * 41, fmt="py:percent")
    assert "a cell of 41 lines" in complaints(long, long)


@pytest.fixture
def build(tmp_path, monkeypatch):
    """The script ``notebooks/build.py``, at work in a folder of its own that holds one text."""
    module = module_at(NOTEBOOKS / "build.py")
    monkeypatch.setattr(module, "FOLDER", tmp_path / "notebooks")
    (tmp_path / "notebooks" / "src").mkdir(parents=True)
    (tmp_path / "notebooks" / "src" / "00_a.py").write_text(TEXT)
    rival = tmp_path / "share" / "kernels" / "python3"  # another Python that registered itself as python3
    rival.mkdir(parents=True)
    kernel = {"argv": ["/nowhere/python", "{connection_file}"], "display_name": "?", "language": "python"}
    (rival / "kernel.json").write_text(json.dumps(kernel))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share"))
    return module


def read(build) -> nbformat.NotebookNode:
    return nbformat.read(build.FOLDER / "00_a.ipynb", as_version=4)


def test_building_and_executing_twice_gives_the_same_bytes_and_a_notebook_without_faults(build):
    assert build.main(["00", "--execute"]) == 0
    once = (build.FOLDER / "00_a.ipynb").read_bytes()
    assert complaints(read(build), jupytext.reads(TEXT, fmt="py:percent")) == []
    printed, shown = (cell.outputs[0] for cell in read(build).cells[1:])
    assert printed.text == f"notebooks {sys.executable}\n", "the running Python, in the notebooks' folder"
    assert shown.data == {"text/plain": "42"}
    assert build.main(["--execute"]) == 0
    assert (build.FOLDER / "00_a.ipynb").read_bytes() == once
    assert build.main([]) == 0
    assert (build.FOLDER / "00_a.ipynb").read_bytes() == once
    assert [p.name for p in build.FOLDER.glob("*.ipynb*")] == ["00_a.ipynb"]


def test_without_execute_unchanged_cells_keep_their_outputs_and_changed_ones_lose_them(build):
    build.main([])
    notebook = read(build)
    for count, cell in enumerate(notebook.cells[1:], 1):
        cell.execution_count = count
        cell.outputs = [nbformat.v4.new_output("stream", text=f"{count}\n")]
    build.write(notebook, build.FOLDER / "00_a.ipynb")
    text = TEXT.replace("print(", "print(1, ").replace("# %%\nkept", "# %%\n# new\n\n# %%\nkept")
    (build.FOLDER / "src" / "00_a.py").write_text(text)
    build.main([])
    assert [cell.get("outputs") for cell in read(build).cells] == [None, [], [], notebook.cells[2].outputs]


def test_outputs_lose_what_changes_from_run_to_run(build):
    notebook = executed()
    notebook.metadata.widgets = {"state": {}}
    notebook.cells[1].metadata.execution = {"iopub.status.busy": "2001-01-01"}
    data = {build.WIDGET: {"model_id": "abc"}, "image/png": "kept", "text/plain": "Box()"}
    notebook.cells[1].outputs = [nbformat.v4.new_output("display_data", data=data)]
    build.strip(notebook)
    assert "widgets" not in notebook.metadata and "version" not in notebook.metadata.language_info
    assert notebook.cells[1].metadata == {}
    assert notebook.cells[1].outputs[0].data == {"image/png": "kept", "text/plain": "Box()"}


def test_a_progress_bar_leaves_nothing_behind(build):
    notebook = executed()
    bar = nbformat.v4.new_output("display_data", data={build.WIDGET: {"model_id": "a"}, "text/plain": "0%|"})
    words = nbformat.v4.new_output("execute_result", data={"text/plain": "42"}, execution_count=1)
    notebook.cells[1].outputs = [bar, words]
    build.strip(notebook)
    assert notebook.cells[1].outputs == [words]


def test_what_a_progress_bar_leaves_when_it_is_done_is_not_stored(build):
    left = nbformat.v4.new_output("display_data", data={"text/plain": "100%"}, metadata={"vg": "progress"})
    printed = nbformat.v4.new_output("stream", text="kept")
    cell = nbformat.v4.new_code_cell("x", outputs=[left, printed])
    notebook = nbformat.v4.new_notebook(cells=[cell])
    build.strip(notebook)
    assert notebook.cells[0].outputs == [printed]


def test_a_stored_player_has_its_frames_in_the_animated_picture_alone_and_a_notebook_its_script_once(build):
    from vg import show
    from vg.show.page import script

    html = show.player(torch.zeros(1, 3, 8, 8)).html() + script()
    picture = {"image/png": "kept", "text/plain": "clip"}
    outputs = [nbformat.v4.new_output("display_data", data=data) for data in (picture, {"text/html": html})]
    cells = [nbformat.v4.new_code_cell("x", outputs=[nbformat.from_dict(out) for out in outputs]) for _ in range(3)]
    only_script = nbformat.v4.new_output("display_data", data={"text/html": script()})
    cells.append(nbformat.v4.new_code_cell("x", outputs=[only_script]))
    notebook = nbformat.v4.new_notebook(cells=cells)
    build.strip(notebook)
    stored = [[output["data"] for output in cell.outputs] for cell in notebook.cells]
    assert all(found[0] == picture for found in stored[:3]) and stored[3] == []
    assert all(
        "data-film" in found[1]["text/html"] and "data-sprite" not in found[1]["text/html"] for found in stored[:3]
    )
    assert [found[1]["text/html"].count("<script>") for found in stored[:3]] == [1, 0, 0]


def test_what_a_stored_picture_shows_stands_before_it_once_and_a_player_says_it_itself(build):
    def picture():
        return nbformat.v4.new_output("display_data", {"image/png": "x"}, metadata={"image/png": {"alt": "a <cat>"}})

    live = nbformat.v4.new_output("display_data", {"text/html": "<vg-player data-film=''></vg-player>"})
    outputs = build.described([picture(), picture(), live])
    kinds = [next(iter(output.data)) for output in outputs]
    assert kinds == ["text/html", "image/png", "image/png", "text/html"]
    assert "Picture: a &lt;cat&gt;</span>" in outputs[0].data["text/html"]
    assert build.described(outputs) == outputs


def test_every_stored_picture_says_what_it_shows():
    for stem in STEMS:
        for cell in nbformat.read(NOTEBOOKS / f"{stem}.ipynb", as_version=4).cells:
            outputs = cell.get("outputs", [])
            assert BUILD.described(outputs) == outputs, f"{stem}: run notebooks/build.py"
            for output in outputs:
                if "image/png" in output.get("data", {}):
                    assert output.metadata.get("image/png", {}).get("alt"), f"{stem}: {cell.source[:80]}"


def test_still_pictures_keep_their_pixels_in_fewer_bytes_and_animated_ones_their_frames(build):
    def png(picture: Image.Image, **options: object) -> str:
        file = io.BytesIO()
        picture.save(file, "PNG", **options)
        return base64.b64encode(file.getvalue()).decode()

    rows = np.arange(40, dtype=np.uint8)
    photo = np.stack(np.broadcast_arrays(6 * rows[:, None], 6 * rows, rows[:, None] ^ rows), -1)
    few = np.where((rows[:, None] + rows)[..., None] % 3 == 0, np.uint8((200, 30, 7)), np.uint8((0, 255, 9)))
    close = np.stack(np.broadcast_arrays(255 - rows[:, None] // 3, 255 - rows % 2, np.uint8(255)), -1)
    clear = np.concatenate([few, np.full((40, 40, 1), 90, np.uint8)], -1)
    opaque = np.concatenate([few, np.full((40, 40, 1), 255, np.uint8)], -1)
    for pixels in (photo, few, close, clear, opaque, photo[..., 0]):
        stored = png(Image.fromarray(pixels), compress_level=0)
        made = build.lighter(stored)
        again = Image.open(io.BytesIO(base64.b64decode(made)))
        assert len(made) < len(stored) / 2
        assert np.array_equal(np.asarray(again.convert("RGBA")), np.asarray(Image.fromarray(pixels).convert("RGBA")))
    frames = [Image.fromarray(np.roll(photo, k, 0)) for k in range(3)]
    animated = png(frames[0], save_all=True, append_images=frames[1:], compress_level=0)
    assert build.lighter(animated) == animated


def test_what_the_git_filter_makes_of_a_notebook_does_not_depend_on_who_looked_at_it():
    clean = module_at(NOTEBOOKS / "clean.py")
    for path in sorted(NOTEBOOKS.glob("*.ipynb"))[:2]:
        text = path.read_text(encoding="utf-8")
        notebook = json.loads(text)
        notebook["metadata"]["kernelspec"]["display_name"] = "Python 3 (ipykernel)"
        notebook["metadata"]["language_info"] |= {"version": "3.12.1", "codemirror_mode": {"name": "ipython"}}
        assert clean.clean(json.dumps(notebook)) == text == clean.clean(text)
    assert clean.clean("no notebook\n") == "no notebook\n" and clean.clean("[1]") == "[1]"


def test_a_failing_cell_stops_the_build_and_leaves_the_notebook_alone(build, capsys):
    build.main([])
    before = (build.FOLDER / "00_a.ipynb").read_bytes()
    (build.FOLDER / "src" / "00_a.py").write_text("# %%\nraise RuntimeError('planted')\n")
    assert build.main(["--execute"]) == 1
    assert "planted" in capsys.readouterr().err
    assert (build.FOLDER / "00_a.ipynb").read_bytes() == before


def test_a_name_that_fits_no_text_is_an_error_with_the_names_that_there_are(build):
    with pytest.raises(SystemExit, match=r"'04'.*00_a"):
        build.main(["04"])
