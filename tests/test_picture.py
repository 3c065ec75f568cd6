"""Holds the architecture picture in the README against every import in the code."""

import ast
import re
from graphlib import CycleError, TopologicalSorter

import pytest

FACADE = "rlnas"
ENTRY = "rlnas.__main__"
TOP = {FACADE, ENTRY}
"""Stand above the picture: they may import anything, nothing imports them."""

MARKER = "<!-- architecture picture"


def read_picture(text):
    """Return the row of each package in the picture, 0 for the top one.

    A line whose package stands behind a bar belongs to the row above it.
    """
    _, _, behind = text.partition(MARKER)
    rows, row = {}, -1
    for line in behind.split("```")[1].splitlines():
        packages = re.findall(r"\brlnas\.\w+|\benvs\b", line)
        row += bool(packages) and not line.lstrip().startswith("|")
        rows |= dict.fromkeys(packages, row)
    return rows


def read_sources(root):
    """Return the source of each module of the two packages, by dotted name."""
    paths = [path for top in ("rlnas", "envs") for path in (root / top).rglob("*.py")]
    return {module_name(path.relative_to(root)): path.read_text("utf-8") for path in paths}


def module_name(path):
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package_of(module):
    return ".".join(module.split(".")[:2]) if module.startswith("rlnas.") else module.split(".")[0]


def imported_modules(module, sources):
    """Return the own modules that a module imports, anywhere in its source."""
    found = set()
    for node in ast.walk(ast.parse(sources[module])):
        if isinstance(node, ast.Import):
            found |= {resolved(alias.name, sources) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = absolute_base(node, module, sources)
            found |= {resolved(f"{base}.{alias.name}", sources) for alias in node.names}
        elif isinstance(node, ast.Call) and "import" in ast.unparse(node.func):
            names = [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)]
            found |= {resolved(name, sources) for name in names if isinstance(name, str)}
    return found - {None, module}


def absolute_base(node, module, sources):
    """Return the dotted name that stands behind ``from``, dots resolved."""
    if not node.level:
        return node.module
    is_package = any(other.startswith(f"{module}.") for other in sources)
    parts = module.split(".")
    parts = parts[: len(parts) - node.level + is_package]
    return ".".join([*parts, *([node.module] if node.module else [])])


def resolved(name, sources):
    """Return the longest own module that a dotted name begins with, or None."""
    while name and name not in sources:
        name = name.rpartition(".")[0]
    return name or None


def violations(picture, sources):
    """Return a sentence for each import that the picture forbids."""
    sentences = []
    for module in sorted(sources):
        for target in sorted(imported_modules(module, sources)):
            if module not in TOP and (sentence := forbidden(module, target, picture)):
                sentences.append(sentence)
    return sentences


def forbidden(module, target, picture):
    mine, other = package_of(module), package_of(target)
    if target in TOP:
        return f"{module} imports {target}, which stands above the picture"
    if unknown := {mine, other} - picture.keys():
        return f"{sorted(unknown)} has no row in the picture"
    if mine != other and picture[other] <= picture[mine]:
        return f"{module} imports {target}, which is not below it"
    return None


def cycle(sources):
    """Return the modules of an import cycle, or an empty list."""
    graph = {module: imported_modules(module, sources) - {FACADE} for module in sources}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


@pytest.fixture(scope="module")
def picture(root):
    return read_picture((root / "README.md").read_text("utf-8"))


@pytest.fixture(scope="module")
def sources(root):
    return read_sources(root)


def test_every_import_goes_down_the_picture(picture, sources):
    assert violations(picture, sources) == []


def test_picture_names_exactly_the_packages_there_are(picture, sources):
    assert picture.keys() == {package_of(module) for module in sources} - TOP


def test_no_modules_import_each_other_in_a_circle(sources):
    assert cycle(sources) == []


PICTURE = {"rlnas.cli": 0, "rlnas.search": 1, "rlnas.testing": 1, "envs": 2, "rlnas.errors": 3}
SOURCES = {
    "rlnas": "",
    "rlnas.cli": "",
    "rlnas.search": "",
    "rlnas.search.loop": "",
    "rlnas.testing": "",
    "rlnas.errors": "",
    "envs": "",
    "envs.nas": "",
}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("rlnas.errors", "import rlnas.search"),
        ("rlnas.errors", "def f():\n    from rlnas.search.loop import Loop"),
        ("rlnas.search.loop", "from .. import cli"),
        ("rlnas.search", "from ..cli import main"),
        ("rlnas.search", "from rlnas.testing import check_space"),
        ("rlnas.testing", "from rlnas.search import Search"),
        ("envs.nas", "if TYPE_CHECKING:\n    from rlnas import search"),
        ("envs.nas", "import_module('rlnas.search')"),
        ("envs.nas", "import rlnas"),
        ("rlnas.search", "from rlnas import ImageSpace"),
        ("rlnas.search", "from .. import ImageSpace"),
        ("rlnas.new", "from rlnas.errors import RlnasError"),
    ],
)
def test_forbidden_import_is_caught(module, source):
    assert len(violations(PICTURE, {**SOURCES, module: source})) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("rlnas", "from rlnas.cli import main\nimport envs"),
        ("rlnas.cli", "from rlnas.search import Search\nimport numpy, rlnas_other"),
        ("rlnas.search", "from rlnas import errors\nfrom .loop import Loop"),
        ("rlnas.search.loop", "from envs.nas import NASEnv\nfrom . import other"),
        ("envs", "from envs import nas"),
    ],
)
def test_import_of_a_lower_row_or_the_own_package_is_allowed(module, source):
    assert violations(PICTURE, {**SOURCES, module: source}) == []


def test_circle_through_a_function_is_caught():
    sources = {
        "envs": "",
        "envs.a": "from envs.b import x",
        "envs.b": "def f():\n    import envs.a",
    }
    assert set(cycle(sources)) == {"envs.a", "envs.b"}


def test_picture_is_read_row_by_row():
    lines = ["top  rlnas.cli  words", "mid  rlnas.a  rlnas.b (x)", "  | envs", "low rlnas.c"]
    text = "\n".join(["rlnas.x", f"{MARKER} -->", "```text", *lines, "```", "rlnas.y"])
    assert read_picture(text) == {
        "rlnas.cli": 0,
        "rlnas.a": 1,
        "rlnas.b": 1,
        "envs": 1,
        "rlnas.c": 2,
    }
