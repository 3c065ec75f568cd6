import inspect
import re

import pytest

from rlnas import errors
from rlnas.errors import RlnasError, first_line, unknown_name

CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, RlnasError)
]


def test_docstring_draws_the_real_tree():
    drawn = re.findall(r"(\w+Error)\s+(\d+)", errors.__doc__)
    assert sorted(drawn) == sorted((each.__name__, str(each.exit_code)) for each in CLASSES)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("RlnasError", 1),
        ("ConfigError", 2),
        ("SpaceError", 2),
        ("StorageError", 1),
        ("NoValidChildError", 3),
        ("InterruptedRunError", 130),
    ],
)
def test_exit_code_tells_what_happened(name, code):
    assert getattr(errors, name).exit_code == code


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "ValueError"),
        ("\n  wrong shape \n more", "wrong shape"),
        (
            'in user code:\n\n    File "a.py", line 5, in f  *\n        raise E\n\n    E: bad\n',
            "E: bad",
        ),
        (
            "Graph execution error:\n\nDetected at node x\nOOM when allocating\n[[x]]",
            "OOM when allocating",
        ),
    ],
)
def test_first_line_passes_over_what_tensorflow_puts_around(text, line):
    assert first_line(ValueError(text)) == line


def test_unknown_name_gives_the_nearest_and_all_known():
    sentence = unknown_name("controller", "reinfroce", ("reinforce", "random"))
    assert sentence == (
        "unknown controller 'reinfroce': did you mean reinforce? known are random, reinforce"
    )


def test_unknown_name_finds_names_written_large():
    assert "did you mean digits?" in unknown_name("data set", "DIGITS", ("mnist", "digits"))


def test_unknown_name_that_is_near_to_nothing_gives_no_hint():
    assert "did you mean" not in unknown_name("space", "xyzzy", ("image",))


def test_unknown_name_lists_only_some_of_very_many():
    sentence = unknown_name("run", "b", [f"run-{number}" for number in range(100)])
    assert sentence.endswith(" and 80 more")
    assert len(sentence) < 400
