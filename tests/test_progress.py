"""What a user sees while a search runs."""

import io

import pytest
from rich.console import Console

from rlnas.objectives import Metrics
from rlnas.search.journal import BRIEF, DONE, FAILED, LONG, Contender, Trial
from rlnas.search.progress import Lines, LiveTable, Standing, duration

BEST = Trial(3, "k", (), (), 1, DONE, 0.9, Metrics(val_accuracy=(0.9,), seconds=1.25))
BAD = Trial(4, "k", (), (), 1, FAILED, None, None, "out of memory")
STANDING = Standing(4, 10, 20.0, BEST, "conv 32", reference=0.8)
LONG_ONE = Contender("trial-3", LONG, 1, 3, "k", 1, DONE, Metrics(val_accuracy=(0.5, 0.95)))
BAD_ONE = Contender("reference", BRIEF, 0, None, "k", 1, FAILED, None, "the loss became nan")


def lines_of(*calls):
    stream = io.StringIO()
    lines = Lines(stream)
    for name, *arguments in calls:
        getattr(lines, name)(*arguments)
    return stream.getvalue().splitlines()


def test_each_trial_is_a_line_with_best_reference_and_time_left():
    (line,) = lines_of(("trial", BEST, "conv 32", STANDING))
    assert line == (
        "trial 4 of 10  reward 0.9000  1.2s  best 0.9000 (reference 0.8000)  30s left  conv 32"
    )


def test_failed_trial_says_why():
    (line,) = lines_of(("trial", BAD, "conv 32", Standing(1, 10, 2.0, None, "")))
    assert line == "trial 1 of 10  failed: out of memory  no best yet  18s left  conv 32"


def test_contenders_are_lines():
    told = lines_of(("contender", LONG_ONE, 1, 3), ("contender", BAD_ONE, 1, 1))
    assert told == [
        "retrained 1 of 3: trial-3 reaches 0.9500 in validation",
        "trained briefly: reference failed: the loss became nan",
    ]


def test_time_left_ends_with_the_time_limit():
    assert Standing(4, 10, 20.0, None, "", limit=25.0).seconds_left == 5.0
    assert Standing(4, 10, 20.0, None, "", limit=19.0).seconds_left == 0.0
    assert Standing(0, 10, 20.0, None, "").seconds_left is None
    assert Standing(4, None, 20.0, None, "", limit=50.0).seconds_left == 30.0


def test_search_with_a_budget_of_time_counts_trials_without_an_end():
    (line,) = lines_of(("trial", BEST, "conv 32", Standing(4, None, 20.0, BEST, "", limit=50.0)))
    assert line == "trial 4  reward 0.9000  1.2s  best 0.9000  30s left  conv 32"


def test_bar_follows_the_time_where_time_is_the_budget():
    table = LiveTable(Console(file=io.StringIO()))
    table.trial(BEST, "conv 32", Standing(4, None, 20.0, BEST, "", limit=50.0))
    table.close()
    (task,) = table._bar.tasks
    assert (task.completed, task.total, task.fields["counted"]) == (20.0, 50.0, "4")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (59.6, "1m 00s"), (200, "3m 20s"), (3900, "1h 05m")]
)
def test_durations_are_written_as_people_do(seconds, text):
    assert duration(seconds) == text


def test_live_table_holds_the_newest_trials_and_the_best():
    stream = io.StringIO()
    table = LiveTable(Console(file=stream, force_terminal=True, width=120))
    assert stream.getvalue() == ""  # the terminal is left alone until there is something to show
    table.note("run a")
    for _ in range(12):
        table.trial(BAD, "sepconv 16", STANDING)
    table.trial(BEST, "conv 32", STANDING)
    table.close()
    last = stream.getvalue().split("layers")[-1]
    assert "conv 32" in last
    assert "best 0.9000 (reference 0.8000), trial 3: conv 32" in last
    assert last.count("out of memory") == 7
