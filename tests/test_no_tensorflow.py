"""What only shows or explains must start fast: TensorFlow and SciPy stay out of its process."""

import subprocess
import sys

import pytest

import rlnas

COMMANDS = {
    "import rlnas": "import rlnas",
    "registered environment": "import gymnasium, rlnas; gymnasium.spec('rlnas/NAS-v0')",
    "ground": "import rlnas.config, rlnas.spaces, rlnas.cost, rlnas.objectives, rlnas.errors",
    "rlnas --help": "from rlnas.cli import main; assert main(['--help']) == 0",
    "rlnas search --help": "from rlnas.cli import main; assert main(['search', '--help']) == 0",
    "print config": "from rlnas.cli import main; assert main(['search', '--print-config']) == 0",
    "rlnas list": "from rlnas.cli import main; assert main(['list', '--root', 'nowhere']) == 0",
}

LOOK = """
import os, sys
loaded = sorted({name.partition(".")[0] for name in sys.modules} & {HEAVY})
assert not loaded, f"loaded: {loaded}"
if os.path.exists("/proc/self/maps"):
    with open("/proc/self/maps") as maps:
        mapped = [line for line in maps if "-packages/tensorflow/" in line]
    assert not mapped, f"mapped: {mapped[0]}"
""".replace("{HEAVY}", "{'tensorflow', 'keras', 'jax', 'torch', 'scipy'}")


def run(code, root):
    return subprocess.run(
        [sys.executable, "-c", code + LOOK], cwd=root, capture_output=True, text=True
    )


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_command_loads_no_tensorflow(command, root):
    done = run(command, root)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    search = rlnas.Search(trials=1, top_k=1, name="run", root=folder, evaluator=lambda *_: 0.5)
    search.run()
    return folder


@pytest.mark.parametrize("words", ["list", "show run", "show run --json"])
def test_looking_at_a_run_loads_no_tensorflow(words, runs, root):
    code = "from rlnas.cli import main; assert main({words!r}) == 0"
    done = run(code.format(words=[*words.split(), "--root", str(runs)]), root)
    assert done.returncode == 0, done.stderr
    assert "run" in done.stdout


def test_loaded_keras_is_noticed(root):
    done = run("import sys; sys.modules['keras.layers'] = sys", root)
    assert "loaded: ['keras']" in done.stderr
