"""The student's edition: blanks say what to do, solutions fill them, and graders name mistakes.

Mistakes to be named are in ``tests/mistakes/NN_name.py``: ``MISTAKES[task]`` is a list of pairs, a wrong cell and words
of the sentence that its reader should get.
"""

import contextlib
import io
import re
from pathlib import Path

import jupytext
import nbformat
import pytest
from notebook_scripts import NOTEBOOKS, module_at

build = module_at(NOTEBOOKS / "build.py")
editions = build.editions
SOURCES = {path.stem: build.from_text(path) for path in sorted((NOTEBOOKS / "src").glob("[0-9]*.py"))}
TASKS = [(stem, editions.name_of(cell.source)) for stem, text in SOURCES.items() for cell in editions.tasks(text)]
TEXT = """\
# %% [markdown]
# # A title

# %% [markdown] tags=["student"]
# **Your part** (easy, 5 minutes). Halve `x`.

# %% tags=["task"]
def halve(x):
    \"\"\"Half of x.\"\"\"
    ### BEGIN SOLUTION
    if x:
        return x / 2
    return 0
    ### END SOLUTION

# %% tags=["grader"]
print("right" if halve(3) == 1.5 else "a half of 3 is 1.5")
"""


def code(notebook: nbformat.NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def said(*cells: str, space: dict | None = None) -> str:
    """What cells print, run one after another."""
    space, out = {} if space is None else space, io.StringIO()
    with contextlib.redirect_stdout(out):
        for cell in cells:
            exec(cell, space)
    return out.getvalue()


def test_one_text_makes_two_editions():
    text = jupytext.reads(TEXT, fmt="py:percent")
    solved, student = editions.solved(text, "00_a"), editions.student(text, "00_a")
    assert "SOLUTION" not in str(solved) and "Your part" not in str(solved) and said(*code(solved)) == "right\n"
    assert "SOLUTION" not in str(student) and "x / 2" not in str(code(student)) and "**Your part**" in str(student)
    with pytest.raises(NotImplementedError, match=r"halve is still blank.* hints"):
        said(*code(student))
    assert [cell.cell_type for cell in student.cells] == ["markdown"] * 3 + ["code"] * 2 + ["markdown"]
    assert "[solved edition](../00_a.ipynb)" in student.cells[1].source
    assert "[student's edition](student/00_a.ipynb)" in solved.cells[0].source and "1 blank" in solved.cells[0].source
    assert editions.answered(student) == code(solved)
    assert "### BEGIN SOLUTION" in text.cells[2].source, "the text itself stays"


@pytest.mark.parametrize("stem", sorted({stem for stem, _ in TASKS}))
def test_the_solutions_of_a_students_edition_make_the_solved_one(stem):
    stored = nbformat.read(NOTEBOOKS / "student" / f"{stem}.ipynb", as_version=4)
    student, solved = editions.student(SOURCES[stem], stem), editions.solved(SOURCES[stem], stem)
    assert [cell.source for cell in stored.cells] == [cell.source for cell in student.cells], "run notebooks/build.py"
    assert not any(cell.get("outputs") for cell in stored.cells)
    assert editions.answered(stored) == code(solved)


@pytest.mark.parametrize("stem", sorted({stem for stem, _ in TASKS}))
def test_relative_links_of_a_students_edition_lead_to_files(stem):
    cells = editions.student(SOURCES[stem], stem).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    links = re.findall(r"\]\((?!\w+:)([^)#\s]+\.\w{2,5})[#)]", text)
    assert f"../{stem}.ipynb" in links
    assert [link for link in links if not (NOTEBOOKS / "student" / link).exists()] == []


@pytest.mark.parametrize("stem", sorted({stem for stem, _ in TASKS}))
def test_each_task_has_its_minutes_hints_and_a_grader(stem):
    kinds = [(set(cell.metadata.get("tags", [])), cell) for cell in SOURCES[stem].cells]
    for k, (tags, cell) in enumerate(kinds):
        if "task" in tags:
            name, before = editions.name_of(cell.source), kinds[k - 1][1].source
            assert "student" in kinds[k - 1][0] and "minutes" in before, (
                f"{name}: say before it what to do, and how long"
            )
            assert before.count("<details>") >= 2, f"{name}: at least two hints, in folds"
            grader = next(tags for tags, cell in kinds[k + 1 :] if cell.cell_type == "code")
            assert "grader" in grader, f"{name}: the code cell after it checks it"
            assert editions.BLOCK.search(cell.source), f"{name}: no solution between the marks"


@pytest.mark.parametrize(("stem", "task"), TASKS)
def test_a_grader_names_each_planted_mistake(stem, task):
    """The imports, the tasks before this one, its cell and its grader are all that is run."""
    cells = [cell for cell in editions.solved(SOURCES[stem], stem).cells if cell.cell_type == "code"]
    tasks = [k for k, cell in enumerate(cells) if "task" in cell.metadata.get("tags", [])]
    at = next(k for k in tasks if editions.name_of(cells[k].source) == task)
    before = [cells[0].source, *(cells[k].source for k in tasks if k < at)]
    space: dict = {}
    said(*before, space=space)
    grader = cells[at + 1].source
    right = said(cells[at].source, grader, space=dict(space))
    assert "right" in right, right
    mistakes = module_at(Path(__file__).parent / "mistakes" / f"{stem}.py").MISTAKES[task]
    assert len(mistakes) >= 3
    for wrong, words in mistakes:
        answer = said(wrong, grader, space=dict(space))
        assert words in answer and answer != right, f"{wrong}\nis told: {answer}"
