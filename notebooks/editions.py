"""Two editions of one text: the solved one, and the student's, with blanks to fill.

    # %% [markdown] tags=["student"]       in the student's edition only: the task, its minutes, hints in folds
    # %% tags=["task"]                     a cell whose solution stands between the two marks
    def halve(x):
        \"\"\"Half of x.\"\"\"
        ### BEGIN SOLUTION
        return x / 2
        ### END SOLUTION
    # %% tags=["grader"]                   the next code cell: says what is right, or what is wrong and why

The solved edition has the lines between the marks; in the student's each such block is an error that says what to do,
and the solution stands in a fold after the grader. (The marks are nbgrader's.)
A link to a notebook that has no student's edition leads there to the solved one.
"""

import copy
import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode

BLOCK = re.compile(r"^( *)### BEGIN SOLUTION\n(.*?)^ *### END SOLUTION(?:\n|\Z)", re.MULTILINE | re.DOTALL)
NOTEBOOK = re.compile(r"\]\((\d\d_\w+)\.ipynb")
LINK = """\
**To write it yourself:** in the [student's edition](student/{stem}.ipynb) the core of this notebook is {count} blanks,
with hints, checks that say what is wrong, and the solutions in folds."""
HEAD = """\
> **Student's edition.** The core of this notebook is yours to write: {count} cells have blanks. Each says what is
> wanted, with hints in folds, and the cell below it checks what you wrote and says what is wrong. Run the cells from
> the top; what needs a blank that is still empty stops there. The [solved edition](../{stem}.ipynb) has outputs."""
BLANK = """\
{indent}# Your part: put your lines in place of the error.
{indent}raise NotImplementedError(
{indent}    "{name} is still blank. The text above says what it should do and has hints; the next cell checks it."
{indent})
"""


def _is(cell: NotebookNode, tag: str) -> bool:
    return tag in cell.metadata.get("tags", [])


def _with_solutions(source: str) -> str:
    """A cell's source without the marks."""
    return BLOCK.sub(r"\2", source).rstrip("\n")


def tasks(notebook: NotebookNode) -> list[NotebookNode]:
    """The cells that have blanks in the student's edition."""
    return [cell for cell in notebook.cells if _is(cell, "task")]


def solved(notebook: NotebookNode, stem: str) -> NotebookNode:
    """The edition with the solutions: the cells of all readers, without the marks; its head names the other one.

    Args:
        notebook: the text's cells.
        stem: name of the notebook, for the link to the student's edition.
    """
    made = copy.deepcopy(notebook)
    if count := len(tasks(made)):
        made.cells[0].source += "\n\n" + LINK.format(count=count, stem=stem)
    made.cells = [cell for cell in made.cells if not _is(cell, "student")]
    for cell in made.cells:
        cell.source = _with_solutions(cell.source)
    return made


def student(notebook: NotebookNode, stem: str) -> NotebookNode:
    """The edition with blanks, without outputs.

    Args:
        notebook, stem: as of ``solved``.
    """
    made = copy.deepcopy(notebook)
    cells = [made.cells[0], nbformat.v4.new_markdown_cell(HEAD.format(count=len(tasks(made)), stem=stem))]
    fold = None
    for cell in made.cells[1:]:
        if _is(cell, "task"):
            answer = _with_solutions(cell.source)
            fold = nbformat.v4.new_markdown_cell(
                f"<details><summary>Solution</summary>\n\n```python\n{answer}\n```\n\n</details>"
            )
            blank = BLANK.format(indent=r"\1", name=name_of(cell.source))
            cell.source = BLOCK.sub(blank, cell.source).rstrip("\n")
        cells.append(cell)
        if fold and _is(cell, "grader"):
            cells.append(fold)
            fold = None
    for cell in cells[:1] + cells[2:]:  # the second is HEAD, whose link is meant
        if cell.cell_type == "markdown":
            cell.source = NOTEBOOK.sub(_from_student, cell.source)
    made.cells = cells
    return made


def _from_student(link: re.Match) -> str:
    """A link between texts as it reads in ``notebooks/student/``: up, where that notebook has no blanks."""
    text = Path(__file__).resolve().parent / "src" / f"{link[1]}.py"
    return f"]({link[1]}.ipynb" if BLOCK.search(text.read_text(encoding="utf-8")) else f"](../{link[1]}.ipynb"


def name_of(source: str) -> str:
    """The function or class that a task's cell defines."""
    found = re.search(r"^(?:def|class) (\w+)", source, re.MULTILINE)
    return found[1] if found else "this cell"


def answered(notebook: NotebookNode) -> list[str]:
    """The code cells of a student's edition whose blanks were filled with what its folds say."""
    sources: list[str] = []
    blank = None
    for cell in notebook.cells:
        if cell.cell_type == "code":
            sources.append(cell.source)
            blank = len(sources) - 1 if _is(cell, "task") else blank
        elif blank is not None and cell.source.startswith("<details><summary>Solution</summary>"):
            sources[blank] = cell.source.split("```python\n")[1].split("\n```")[0]
            blank = None
    return sources
