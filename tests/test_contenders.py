"""How many models are retrained, and which of them is kept."""

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

import rlnas
from rlnas.children.data import Data
from rlnas.children.datasets import load_data
from rlnas.config import DataConfig, make_config
from rlnas.objectives import Metrics, Objective
from rlnas.search.contenders import steadiest
from rlnas.search.folder import RunFolder
from rlnas.search.journal import DONE, LONG, Contender
from rlnas.search.setup import Setup
from rlnas.spaces import ImageSpace, RecipeSpace


def contender(rank, accuracy, loss=None):
    losses = () if loss is None else (9.0, loss)
    metrics = Metrics(val_accuracy=(0.1, accuracy), val_loss=losses)
    return Contender(f"trial-{rank}", LONG, rank, rank, "key", 1, DONE, metrics)


@pytest.mark.parametrize(
    ("ranked", "examples", "kept"),
    [
        # With 100 examples the standard error of 0.96 is 0.0196; with 10,000 it is 0.00196.
        ([contender(1, 0.95, 0.3), contender(2, 0.96, 0.4)], 100, 1),
        ([contender(1, 0.95, 0.3), contender(2, 0.96, 0.4)], 10_000, 2),
        ([contender(1, 0.93, 0.1), contender(2, 0.96, 0.4)], 100, 2),
        ([contender(1, 0.96, 0.4), contender(2, 0.96, 0.2), contender(3, 0.96, 0.3)], 100, 2),
        ([contender(1, 0.95), contender(2, 0.96)], 100, 2),
        ([contender(1, 0.96), contender(2, 0.96)], 100, 1),
        ([contender(1, 97.3, 0.1), contender(2, 97.4, 0.2)], 100, 2),
        ([contender(1, -0.3, 0.2), contender(2, -0.4, 0.1)], 100, 1),
    ],
    ids=[
        "less loss among those that accuracy cannot tell apart",
        "accuracy where there are many examples",
        "not one that is clearly less accurate",
        "least loss of equals",
        "accuracy where there is no loss",
        "best reward of equals",
        "highest of a user's figures above 1",
        "highest of a user's figures below 0",
    ],
)
def test_kept_is_the_least_loss_within_one_standard_error(ranked, examples, kept):
    assert steadiest(ranked, examples).rank == kept


def test_losses_are_compared_only_among_those_with_the_smoothing_of_the_best():
    ranked = [contender(1, 0.95, 0.3), contender(2, 0.96, 0.5), contender(3, 0.955, 0.4)]
    smoothing = {"trial-1": 0.0, "trial-2": 0.1, "trial-3": 0.1}
    assert steadiest(ranked, 100, smoothing=smoothing).rank == 3
    assert steadiest(ranked, 100).rank == 1


def test_a_searched_smoothing_is_known_when_the_best_is_chosen(tmp_path):
    few = load_data(None, DataConfig(), 0).sampled(200, 0)
    inner = ImageSpace(few.input_shape, few.classes, max_layers=4)
    search = rlnas.Search(
        few,
        space=RecipeSpace(inner, ["label_smoothing"], recipe=make_config({}).recipe),
        config={
            "name": "run",
            "recipe": {"epochs": 1},
            "engine": {"executor": "inline"},
            "budget": {"trials": 4},
            "final": {"top_k": 4, "epochs": 1, "refit": False},
        },
        root=tmp_path,
    )
    search.run()
    with closing(RunFolder(tmp_path, "run").open()) as journal:
        entries = [entry for entry in journal.contenders(LONG) if entry.rank]
        smoothed = next(entry for entry in entries if "label_smoothing" in entry.key)
        plain = next(entry for entry in entries if "label_smoothing" not in entry.key)
        figures = {smoothed.name: (0.950, 0.5), plain.name: (0.949, 0.1)}
        for entry in entries:
            accuracy, loss = figures.get(entry.name, (0.1, 3.0))
            metrics = replace(entry.metrics, val_accuracy=(accuracy,), val_loss=(loss,))
            journal.store(replace(entry, metrics=metrics, test_accuracy=None))
        journal.set_meta({"status": "retraining"})
    assert search.resume("run").best.trial == smoothed.trial


@pytest.mark.parametrize(("examples", "kept"), [(100, 1), (10_000, 2)])
def test_other_shares_than_accuracy_have_an_error_too(examples, kept):
    ranked = [
        replace(each, metrics=replace(each.metrics, extra={"f1": f1}))
        for each, f1 in ((contender(1, 0.5, 0.3), 0.80), (contender(2, 0.9, 0.4), 0.82))
    ]
    assert steadiest(ranked, examples, Objective(metric="f1")).rank == kept


@pytest.mark.parametrize(
    ("examples", "final", "expected"),
    [
        (1_000, {}, (30, 5)),
        (40_000, {}, (8, 5)),  # 10,000 steps
        (54_000, {}, (8, 3)),  # 13,504 steps
        (54_000, {"epochs": 1}, (1, 5)),
        (54_000, {"top_k": 4}, (8, 4)),
    ],
)
def test_fewer_are_retrained_where_each_takes_many_steps(examples, final, expected):
    part, labels = np.zeros((examples, 4, 4, 1), np.uint8), np.arange(examples) % 2
    small = (part[:20], labels[:20])
    data = Data("none", part, labels, *small, *small, ("a", "b"), 1.0, "")
    setup = Setup(make_config({"final": final}), data, ImageSpace((4, 4, 1), 2))
    assert (setup.long_recipe.epochs, setup.top_k) == expected
