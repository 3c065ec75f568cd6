"""The page that follows one token is true: every number in it is computed again.

``python tests/test_walkthrough.py`` puts what comes out now into the page. Read it again then: the
words around the numbers must still be true.
"""

import doctest
import re
from pathlib import Path

import pytest

from rlnas.children.backend import keras
from rlnas.children.runtime import prepare

PAGE = Path(__file__).resolve().parent.parent / "docs" / "walkthrough.md"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

TRAINED = doctest.register_optionflag("TRAINED")
"""Set where an example prints what training gave: it differs a little between processors."""
_OF_TRAINING = re.compile(r"accuracy|reward|advantage|term|loss|gradient|slope|after|event")
_DECIMAL = re.compile(r"-?\d+\.\d*")


class Near(doctest.OutputChecker):
    """Lets trained figures differ by a tenth and 0.05; all else must be as on the page."""

    def check_output(self, want, got, optionflags):
        if optionflags & TRAINED:
            wanted, found = (list(map(float, _DECIMAL.findall(text))) for text in (want, got))
            near = pytest.approx(wanted, rel=0.1, abs=0.05)
            want, got = (re.sub(f" *{_DECIMAL.pattern} *", " # ", text) for text in (want, got))
            if found != near:
                return False
        return super().check_output(want, got, optionflags)


def page(text):
    """Return the examples of a page, those marked that print what training gave."""
    test = doctest.DocTestParser().get_doctest(text, {}, PAGE.name, str(PAGE), 0)
    for example in test.examples:
        if _OF_TRAINING.search(example.source):
            example.options[TRAINED] = True
    return test


def failures(text):
    """Run a page on one thread where that can still be set; return how many examples fail."""
    prepare(1)
    return doctest.DocTestRunner(Near(), optionflags=FLAGS).run(page(text)).failed


def test_every_number_on_the_page_holds():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the accuracies on the page are those of the TensorFlow backend")
    text = PAGE.read_text("utf-8")
    assert len(page(text).examples) == text.count(">>> ") > 90
    assert failures(text) == 0


@pytest.mark.parametrize(
    ("example", "failed"),
    [
        (">>> reward = 0.77\n>>> reward\n0.74\n", 0),
        (">>> reward = 0.9\n>>> reward\n0.74\n", 1),
        (">>> gradient = '[ 0.11 -0.2  ]'\n>>> print(gradient)\n[ 0.107 -0.209]\n", 0),
        (">>> gradient = '[-0.11 -0.2  ]'\n>>> print(gradient)\n[ 0.107 -0.209]\n", 1),
        (">>> reward = (0.7, True)\n>>> reward\n(0.7, False)\n", 1),
        (">>> logit = 0.77\n>>> logit\n0.76\n", 1),
    ],
)
def test_only_trained_figures_may_differ_and_only_a_little(example, failed):
    assert failures(example) == failed


def test_every_file_it_names_exists(root):
    named = re.findall(r"`((?:rlnas|envs)/[\w/.]+)`", PAGE.read_text("utf-8"))
    assert len(named) > 10
    assert [path for path in named if not (root / path).exists()] == []


class Renewing(doctest.DocTestRunner):
    """Puts what examples print into the lines of the page, to the last digit."""

    def __init__(self, lines):
        super().__init__(optionflags=FLAGS)
        self.lines, self.moved = lines, 0

    def report_failure(self, out, test, example, got):
        start = example.lineno + example.source.count("\n") + self.moved
        new = got.splitlines()
        self.lines[start : start + example.want.count("\n")] = new
        self.moved += len(new) - example.want.count("\n")


if __name__ == "__main__":
    prepare(1)
    text = PAGE.read_text("utf-8")
    renewing = Renewing(text.split("\n"))
    renewing.run(doctest.DocTestParser().get_doctest(text, {}, PAGE.name, str(PAGE), 0))
    PAGE.write_text("\n".join(renewing.lines), "utf-8")
