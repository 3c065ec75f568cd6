"""The scripts that measure: each begins, says what it does, and can print JSON."""

import runpy
import sys

import pytest

NO_MEASURES = {"arguments.py", "digits_table.py"}
"""What they have in common, and the maker of a table."""


def scripts(root):
    return sorted((root / "benchmarks").glob("*.py"))


def test_each_script_explains_itself(root, monkeypatch, capsys):
    monkeypatch.syspath_prepend(root / "benchmarks")
    assert len(scripts(root)) > 10
    for path in scripts(root):
        if path.name == "arguments.py":
            continue
        monkeypatch.setattr(sys, "argv", [path.name, "--help"])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(path), run_name="__main__")
        told = capsys.readouterr().out
        assert ended.value.code == 0, path.name
        assert path.name in told
        assert ("--json" in told) == (path.name not in NO_MEASURES), path.name
