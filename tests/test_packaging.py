import ast
import re
import runpy
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution

import pytest
import setuptools

import rlnas
from rlnas.search.folder import RunFolder

DISTRIBUTIONS = {"sklearn": "scikit-learn", "yaml": "pyyaml", "PIL": "pillow"}


def plain(name):
    return name.lower().replace("_", "-")


@pytest.fixture(scope="module")
def settings(root):
    """What setup.py hands to setuptools."""
    caught = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, "setup", caught.update)
        patch.chdir(root)
        runpy.run_path(str(root / "setup.py"))
    return caught


@pytest.fixture(scope="module")
def trees(root):
    files = [path for top in ("rlnas", "envs") for path in (root / top).rglob("*.py")]
    return [ast.parse(path.read_text("utf-8")) for path in files]


def test_every_package_is_shipped_and_nothing_else(root, settings):
    inits = [path for top in ("rlnas", "envs") for path in (root / top).rglob("__init__.py")]
    packages = {".".join(path.parent.relative_to(root).parts) for path in inits}
    assert set(settings["packages"]) == packages
    folders = {path.parent for top in ("rlnas", "envs") for path in (root / top).rglob("*.py")}
    assert folders == {path.parent for path in inits}


def test_every_file_beside_the_code_is_shipped(root, settings):
    shipped = {
        path
        for package, names in settings["package_data"].items()
        for name in names
        for path in root.joinpath(*package.split(".")).glob(name)
    }
    files = [path for top in ("rlnas", "envs") for path in (root / top).rglob("*")]
    others = {path for path in files if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert shipped == others
    assert root / "rlnas" / "py.typed" in shipped


def test_version_stands_in_one_place(root, settings):
    assert settings["version"] == rlnas.__version__
    texts = [(root / name).read_text("utf-8") for name in ("setup.py", "pyproject.toml")]
    assert not any(rlnas.__version__ in text for text in texts)


def test_installed_package_is_this_one(settings):
    try:
        installed = distribution("rlnas")
    except PackageNotFoundError:
        pytest.skip("rlnas is on the path but not installed")
    assert installed.version == settings["version"]
    assert [entry.value for entry in installed.entry_points] == ["rlnas.cli:main"]


def test_command_points_to_a_function(settings):
    name, _, target = settings["entry_points"]["console_scripts"][0].partition(" = ")
    module, _, function = target.partition(":")
    assert name == "rlnas"
    assert callable(getattr(import_module(module), function))


def test_every_dependency_has_a_lower_bound(settings):
    extras = [each for extra in settings["extras_require"].values() for each in extra]
    for requirement in (*settings["install_requires"], *extras):
        assert re.fullmatch(r"[A-Za-z0-9-]+(\[[a-z-]+\])?>=[0-9.]+(,<[0-9.]+)?", requirement)


def test_everything_that_is_imported_is_a_dependency(settings, trees):
    required = {plain(re.split(r"[\[>=]", each)[0]) for each in settings["install_requires"]}
    nodes = [node for tree in trees for node in ast.walk(tree)]
    imported = {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
    imported |= {n.module for n in nodes if isinstance(n, ast.ImportFrom) and not n.level}
    tops = {name.partition(".")[0] for name in imported} - sys.stdlib_module_names
    foreign = {plain(DISTRIBUTIONS.get(top, top)) for top in tops - {"rlnas", "envs"}}
    optional = {"jax", "ray"}
    assert optional <= settings["extras_require"].keys()
    assert foreign - {"pydantic-core"} - optional <= required
    assert required <= foreign
    at_once = [node for tree in trees for node in tree.body if isinstance(node, ast.Import)]
    assert not optional & {alias.name.partition(".")[0] for n in at_once for alias in n.names}


def test_tools_and_python_agree_on_the_oldest_python(root, settings):
    tools = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]
    assert settings["python_requires"] == ">=3.11"
    assert tools["ruff"]["target-version"] == "py311"
    assert tools["mypy"]["strict"] is True


def test_licence_is_apache(root, settings):
    text = (root / "LICENSE").read_text("utf-8")
    assert settings["license"] == "Apache-2.0"
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_ci_finds_the_test_command_of_the_readme(root):
    script = (root / ".ci" / "run").read_text("utf-8")
    line = re.search(r"^command=\$\((.+)\)$", script, re.MULTILINE)[1]
    found = subprocess.run(
        ["bash", "-c", f"root={root}; {line}"], capture_output=True, text=True, check=True
    )
    assert found.stdout.startswith("python3 -m venv .venv-test && ")
    assert found.stdout.endswith(".ci/check.py\n")


def test_both_commands_of_the_readme_stand_on_its_first_screen(root):
    lines = (root / "README.md").read_text("utf-8").splitlines()[:24]
    assert sum(line.startswith("python3 -m venv ") for line in lines) == 2


def test_links_of_the_pages_lead_somewhere(root):
    pages = [
        *root.glob("*.md"),
        *(root / "docs").glob("*.md"),
        *(root / "checkpoints").glob("*.md"),
    ]
    for page in pages:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_readme_of_the_runs_names_all_that_a_run_writes(root):
    page = (root / "checkpoints" / "README.md").read_text("utf-8")
    folder = RunFolder(root, "run")
    found = [getattr(folder, name) for name in vars(RunFolder) if is_property(name)]
    paths = [each for each in found if not isinstance(each, RunFolder)]
    assert len(paths) >= 6
    assert [path.name for path in paths if f" {path.name}" not in page] == []


def is_property(name):
    return isinstance(vars(RunFolder)[name], property)
