"""The page that follows one token is true: every number in it is computed again.

``python tests/test_walkthrough.py`` puts what comes out now into the page. Read it again then: the
words around the numbers must still be true.
"""

import doctest
import re
from pathlib import Path

import pytest

from rlnas.children.backend import keras

PAGE = Path(__file__).resolve().parent.parent / "docs" / "walkthrough.md"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def test_every_number_on_the_page_holds():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the accuracies on the page are those of the TensorFlow backend")
    found = doctest.testfile(str(PAGE), module_relative=False, optionflags=FLAGS, encoding="utf-8")
    assert found.attempted == PAGE.read_text("utf-8").count(">>> ") > 90
    assert found.failed == 0


def test_every_file_it_names_exists(root):
    named = re.findall(r"`((?:rlnas|envs)/[\w/.]+)`", PAGE.read_text("utf-8"))
    assert len(named) > 10
    assert [path for path in named if not (root / path).exists()] == []


class Renewing(doctest.DocTestRunner):
    """Puts what examples print into the lines of the page."""

    def __init__(self, lines):
        super().__init__(optionflags=FLAGS)
        self.lines, self.moved = lines, 0

    def report_failure(self, out, test, example, got):
        start = example.lineno + example.source.count("\n") + self.moved
        new = got.splitlines()
        self.lines[start : start + example.want.count("\n")] = new
        self.moved += len(new) - example.want.count("\n")


if __name__ == "__main__":
    text = PAGE.read_text("utf-8")
    renewing = Renewing(text.split("\n"))
    renewing.run(doctest.DocTestParser().get_doctest(text, {}, PAGE.name, str(PAGE), 0))
    PAGE.write_text("\n".join(renewing.lines), "utf-8")
