"""Searches in worker processes from where users write them: a bare script, a notebook, a pipe.

Workers must not run the user's own ``__main__`` again, and must know what it defines.
"""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import sys
import rlnas

print("the script begins")
OFFSET = 0.25

def by_size(model, data, seed):
    print("a child", file=sys.stderr)
    return OFFSET + min(0.5, model.count_params() / 1e7)

found = rlnas.Search(
    data="digits", evaluator=by_size, controller="random", trials=3, top_k=1, seed=1,
    executor="process", workers=2, root={root!r}, name="own",
).run()
print("the script ends with", len(found.trials), "trials", found.best is not None)
"""

CELLS = """
import code
shell = code.InteractiveConsole({{"__name__": "__main__"}})
for cell in {cells!r}:
    shell.runsource(cell, symbol="exec")
"""


def run(words, root, **options):
    environment = {**os.environ, "RLNAS_EXECUTOR": "process"}
    return subprocess.run(
        [sys.executable, *words],
        env=environment,
        cwd=root,
        capture_output=True,
        text=True,
        timeout=240,
        **options,
    )


@pytest.mark.parametrize(
    "way",
    [
        "script without a guard",
        pytest.param("notebook", marks=pytest.mark.slow),
        pytest.param("pipe", marks=pytest.mark.slow),
    ],
)
def test_search_in_workers_runs_the_users_code_once(tmp_path, way):
    script = SCRIPT.format(root=str(tmp_path))
    if way == "script without a guard":
        (tmp_path / "mine.py").write_text(script)
        done = run(["mine.py"], tmp_path)
    elif way == "notebook":  # cells of a console whose __main__ has no file
        cells = [f"{part}\n" for part in script.split("\n\n")]
        done = run(["-c", CELLS.format(cells=cells)], tmp_path)
    else:
        done = run(["-"], tmp_path, input=script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("the script begins") == 1
    assert "the script ends with 3 trials True" in done.stdout
    logs = list((tmp_path / "own" / "trials").glob("*/log.txt"))
    assert any("a child" in log.read_text() for log in logs)  # it ran in a worker
