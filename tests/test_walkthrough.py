"""The page that follows one token is true: every number in it is computed again."""

import doctest
import re

import pytest

from rlnas.children.backend import keras

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture(scope="module")
def page(root):
    return root / "docs" / "walkthrough.md"


def test_every_number_on_the_page_holds(page):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the accuracies on the page are those of the TensorFlow backend")
    found = doctest.testfile(str(page), module_relative=False, optionflags=FLAGS, encoding="utf-8")
    assert found.attempted == page.read_text("utf-8").count(">>> ") > 90
    assert found.failed == 0


def test_every_file_it_names_exists(page, root):
    named = re.findall(r"`((?:rlnas|envs)/[\w/.]+)`", page.read_text("utf-8"))
    assert len(named) > 10
    assert [path for path in named if not (root / path).exists()] == []
