"""The house's plan: imports point downwards, in no circle; files are small; a function does not hide its module."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

VG = Path(__file__).resolve().parent.parent / "vg"
LONGEST = 400  # lines
# A part may import those of the lines above it; parts of one line may import one another, but in no circle of modules.
LAYERS = [
    {"paths", "profiles", "precision", "hashing", "atomic", "interrupts", "threads", "progress"},
    {"synthetic", "models", "training"},
    {"data", "checkpoints", "latents"},
    {"sampling"},
    {"evaluation"},
    {"experiments", "show"},
    {"train", "generate"},
]
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}
NOBODYS = {"show", "train", "generate"}  # imported by notebooks alone, or run


def modules() -> dict[str, Path]:
    return {
        ".".join(("vg", *path.relative_to(VG).with_suffix("").parts)).removesuffix(".__init__"): path
        for path in VG.rglob("*.py")
    }


def imports(name: str, path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of vg that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else node.module


def part(module: str) -> str:
    return [*module.split("."), ""][1]


def upward(graph: dict[str, set[str]]) -> list[str]:
    """Imports that point upwards, or to what nobody imports."""
    return [
        f"{name} imports {other}"
        for name, others in graph.items()
        for other in others
        if part(name)
        and part(other)
        and part(name) != part(other)
        and (LEVEL[part(other)] > LEVEL[part(name)] or part(other) in NOBODYS)
    ]


def circles(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import one another, by way of others too. A package's ``__init__`` gathers, and does not count."""
    done: set[str] = set()
    found: list[str] = []

    def visit(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            found.append(" > ".join((*way[way.index(name) :], name)))
        elif name not in done:
            for other in sorted(graph.get(name, ())):
                visit(other, (*way, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())
    return found


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    known = modules()
    return {name: set(imports(name, path, known)) - {name} for name, path in known.items()}


def test_every_part_has_its_place(graph):
    assert {part(name) for name in graph} - {""} == LEVEL.keys()


def test_imports_point_downwards(graph):
    assert upward(graph) == []


def test_modules_import_in_no_circle(graph):
    packages = {name for name, path in modules().items() if path.name == "__init__.py"}
    assert circles({name: others - packages for name, others in graph.items() if name not in packages}) == []


def test_parts_import_in_no_circle(graph):
    parts: dict[str, set[str]] = {}
    for name, others in graph.items():
        if part(name):
            parts.setdefault(part(name), set()).update({*map(part, others)} - {part(name), ""})
    assert circles(parts) == []


def test_what_points_upwards_or_in_a_circle_is_found():
    assert upward({"vg.models.a": {"vg.data.b"}, "vg.data.b": {"vg.show.c", "vg.models.a"}}) == [
        "vg.models.a imports vg.data.b",
        "vg.data.b imports vg.show.c",
    ]
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == ["a > b > c > a"]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_file_is_long():
    lines = {str(path.relative_to(VG)): len(path.read_text(encoding="utf-8").splitlines()) for path in VG.rglob("*.py")}
    assert {name: n for name, n in lines.items() if n > LONGEST} == {}


def test_no_name_hides_the_module_that_it_comes_from():
    """``vg.models.attention`` is a module or a function, not either by turns."""
    hidden = []
    for init in VG.rglob("__init__.py"):
        for node in ast.walk(ast.parse(init.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("vg."):
                package = ".".join(("vg", *init.parent.relative_to(VG).parts))
                last = node.module.removeprefix(f"{package}.")
                hidden += [f"{package}.{alias.name}" for alias in node.names if alias.name == last]
    assert hidden == []
