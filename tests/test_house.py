"""The house around the package: what is installed, how the code looks, what the repository may hold."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = {"environment.yml": ("test", "site", "dev"), "environment-cuda.yml": ("flash", "test", "site", "dev")}
CONDA_NAME = {"torch": "pytorch", "matplotlib": "matplotlib-base"}  # the others are called the same
MIB = 2**20
OWN = "tests/test_house.py"  # names the old names

# What holds other people's frames or pickled code. Clips that models made are welcome in assets/.
DATA = {".zip", ".tar", ".gz", ".tgz", ".npy", ".npz", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".partial"}
VIDEO = {".mp4", ".mkv", ".mov", ".avi", ".webm", ".mpg", ".mpeg", ".ogv", ".y4m"}


def packages(requirements: list[str]) -> dict[str, str]:
    """``name -> range`` of requirements as pip or conda write them, without markers and spaces."""
    found = {}
    for requirement in requirements:
        name, bounds = re.fullmatch(r"([A-Za-z0-9_.-]+)([^;]*).*", requirement).groups()
        assert name not in found, f"{name} is listed twice"
        found[name.lower()] = bounds.replace(" ", "")
    return found


def wanted(project: dict, extras: tuple[str, ...]) -> dict[str, str]:
    """What a conda environment with these extras has to list, by conda's names."""
    listed = list(project["dependencies"])
    for extra in extras:
        listed += [r for r in project["optional-dependencies"][extra] if not r.startswith("vg[")]
    found = {CONDA_NAME.get(name, name): bounds for name, bounds in packages(listed).items()}
    return {"python": project["requires-python"].replace(" ", ""), "pip": "", **found}


def differences(project: dict, environment: dict, extras: tuple[str, ...]) -> list[str]:
    """One line for each package that the environment file and pyproject.toml do not agree on."""
    *listed, last = environment["dependencies"]
    there = packages([*listed, *(entry for entry in last["pip"] if not entry.startswith("-e"))])
    ours = wanted(project, extras)
    bounds = {name: set(filter(None, text.split(","))) for name, text in ours.items()}
    lines = [f"{name} is missing" for name in ours.keys() - there.keys()]
    lines += [f"{name} is not in pyproject.toml" for name in there.keys() - ours.keys()]
    for name in ours.keys() & there.keys():
        if bounds[name] != set(filter(None, there[name].split(","))):
            lines.append(f"{name} is {there[name] or 'any'}, and {ours[name] or 'any'} in pyproject.toml")
    return sorted(lines)


@pytest.fixture
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_pyproject_and_the_environment_files_are_in_step(name, project):
    environment = yaml.safe_load((ROOT / name).read_text())
    assert differences(project, environment, ENVIRONMENTS[name]) == []
    assert environment["channels"][0] == "conda-forge"
    assert environment["dependencies"][-1]["pip"][-1] == "-e .", f"{name} has to install vg itself, last"


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        (lambda d: d.remove("einops >=0.8"), "einops is missing"),
        (lambda d: d.insert(0, "pandas >=2"), "pandas is not in pyproject.toml"),
        (lambda d: d.__setitem__(d.index("tqdm >=4.66"), "tqdm >=4"), "tqdm is >=4, and >=4.66 in pyproject.toml"),
        (lambda d: d.__setitem__(d.index("pip"), "pip >=25"), "pip is >=25, and any in pyproject.toml"),
        (lambda d: d[-1]["pip"].insert(0, "pandas >=2"), "pandas is not in pyproject.toml"),
    ],
)
def test_a_difference_between_them_is_named(planted, said, project):
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    planted(environment["dependencies"])
    assert differences(project, environment, ENVIRONMENTS["environment.yml"]) == [said]


# Modules that are called otherwise than their package, that another always brings, or that are optional.
PACKAGE_OF = {"PIL": "pillow", "IPython": "ipywidgets", "matplotlib_inline": "ipywidgets", "flash_attn": "flash-attn"}


def imported(code: str) -> set[str]:
    """The first names of what a file imports, at its top or inside a function."""
    nodes = list(ast.walk(ast.parse(code)))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.split(".")[0] for name in names}


def test_what_vg_imports_is_declared(project):
    """An environment that was made by hand has more than one that is made from pyproject.toml."""
    named = set(packages([*project["dependencies"], *project["optional-dependencies"]["flash"]]))
    used = set().union(*(imported(path.read_text(encoding="utf-8")) for path in (ROOT / "vg").rglob("*.py")))
    used -= {"vg", "_typeshed", *sys.stdlib_module_names}  # typeshed: for the type checker alone
    assert {PACKAGE_OF.get(name, name) for name in used} <= named
    assert imported("import a.b\ndef f():\n    from c.d import e") == {"a", "c"}


def test_requirements_are_ranges_and_not_pins(project):
    extras = project["optional-dependencies"].values()
    for requirement in [*project["dependencies"], *(r for extra in extras for r in extra)]:
        assert "==" not in requirement.split(";")[0] and "~=" not in requirement, requirement


@pytest.mark.parametrize("command", [("check",), ("format", "--check")], ids=" ".join)
def test_ruff_has_nothing_to_say(command):
    ruff = [sys.executable, "-m", "ruff", *command, "--no-cache", "."]
    done = subprocess.run(ruff, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"Run `make format` and see what is left.\n{done.stdout}{done.stderr}"


def type_errors(cache: Path, *options: str) -> list[str]:
    """What mypy finds, one line for each error."""
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(cache), "--no-error-summary", "--hide-error-context"]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode in (0, 1), f"mypy could not run.\n{done.stdout}{done.stderr}"
    lines = [line.replace("\\", "/") for line in done.stdout.splitlines() if ": error: " in line]
    assert bool(lines) == bool(done.returncode), f"mypy says something else.\n{done.stdout}{done.stderr}"
    return lines


@pytest.fixture(scope="module")
def mypy_cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("types") / ".mypy_cache"


def test_mypy_has_nothing_to_say(mypy_cache):
    assert type_errors(mypy_cache) == []


def test_a_wrong_type_is_found(mypy_cache, tmp_path):
    wrong = tmp_path / "wrong.py"
    wrong.write_text("from vg.profiles import device\n\n\ndef f(x) -> int:\n    return device(1, 2, 3)\n")
    found = "\n".join(type_errors(mypy_cache, str(wrong)))
    assert "[no-untyped-def]" in found and "Too many arguments" in found


# What the field, or a plain word, calls otherwise: identifiers in Python, wherever they stand (also in an f-string).
OLD_NAMES = re.compile(
    r"""KeysValues|Layer|hidden_layer|State|Draw|Guide|Reading|[Rr]eadings|forgets|_?restrict|knobs|Fold|Unfold|said_by
    |_?laid_out|stands|told|corrupt|ship|worn|shaken|redrawn|closer|put_in_place|looks?|\w*tubelet_frames?""",
    re.VERBOSE,
)
OLD_WORDS = r"\b(KeysValues|hidden_layer|said_by|laid_out|put_in_place|knobs|[Tt]ubelet[-_ ]frames?)\b"  # in any text
# Pillow calls its own so.
OTHERS = {"Draw"}


def old_names(file: str, text: str) -> list[str]:
    """What in a file is still called as it was: ``file:line name``."""
    found = [(text.count("\n", 0, match.start()) + 1, match[1]) for match in re.finditer(OLD_WORDS, text)]
    if file.endswith(".py"):
        for node in ast.walk(ast.parse(text)):
            names = [getattr(node, field, None) for field in ("id", "attr", "arg", "name", "asname")]
            line = getattr(node, "lineno", 0)
            found += [(line, n) for n in names if isinstance(n, str) and OLD_NAMES.fullmatch(n) and n not in OTHERS]
    return [f"{file}:{line} {name}" for line, name in sorted(set(found))]


def test_old_names_are_gone(files):
    places = ("vg/", "tests/", "benchmarks/", "docs/", "notebooks/", "assets/", "conftest.py")
    places += ("README.md", "CONTRIBUTING.md", "RESULTS.md")
    texts = [f for f in files if f.startswith(places) and f.endswith((".py", ".md", ".js")) and f != OWN]
    assert len(texts) > 150
    found = [line for file in texts for line in old_names(file, (ROOT / file).read_text(encoding="utf-8"))]
    assert found == [], "Call it as the rest of the code does."


def test_an_old_name_is_found_wherever_it_is_and_a_plain_word_is_not():
    bad = "def look(told): ...\nx.knobs = f'{ship:g}'\nimport a as worn\nclass State: ...\n# a tubelet-frame\n"
    assert old_names("a.py", bad) == [
        "a.py:1 look", "a.py:1 told", "a.py:2 knobs", "a.py:2 ship", "a.py:3 worn", "a.py:4 State",
        "a.py:5 tubelet-frame",
    ]  # fmt: skip
    assert old_names("a.md", "`knobs` and tubelet frames") == ["a.md:1 knobs", "a.md:1 tubelet frames"]
    assert old_names("a.py", "# it stands closer, as it was told\nship_it = looked = 'ship'\n") == []


def unwelcome(files: list[str]) -> list[str]:
    """Those paths that a repository without data does not hold."""
    return [
        file
        for file in files
        if (suffix := Path(file).suffix.lower()) in DATA or (suffix in VIDEO and not file.startswith("assets/"))
    ]


@pytest.fixture(scope="module")
def files() -> list[str]:
    """Every file that is in the repository, or that git would add to it."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("git is not installed")
    if done.returncode != 0:
        pytest.skip("this copy is no git checkout")
    return [file for file in done.stdout.split("\0") if file and (ROOT / file).is_file()]


def test_the_repository_holds_no_data(files):
    assert unwelcome(files) == [], "Keep data in data/ or $VG_DATA, and weights as safetensors in assets/."


def test_data_is_told_from_what_models_made():
    bad = ["film.mp4", "tests/CLIP.MOV", "assets/cifar10.zip", "assets/frames.npy", "assets/weights.pt"]
    good = ["assets/continued.mp4", "assets/continued.gif", "assets/checkpoints/prior-64/model.safetensors"]
    assert unwelcome(bad + good) == bad


def test_assets_are_small(files):
    sizes = {file: (ROOT / file).stat().st_size for file in files if file.startswith("assets/")}
    largest = sorted(sizes, key=sizes.get, reverse=True)[:5]
    assert sum(sizes.values()) <= 64 * MIB, f"assets/ is over 64 MiB; its largest: {', '.join(largest)}"
