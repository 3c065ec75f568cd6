"""Figures of a child's answers, worked out by hand."""

import numpy as np
import pytest

from rlnas.children.data import Target
from rlnas.children.figures import figure
from rlnas.config import METRICS, OF_NUMBERS

Y = np.array([0, 0, 0, 1])
ANSWERS = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8]])
"""Two of the first class are found, and the only one of the second."""

PRECISION, RECALL = 1 / 2, 1.0  # of the second class; of the first: 1 and 2/3
EXPECTED = {
    "accuracy": 3 / 4,
    "balanced_accuracy": (2 / 3 + 1) / 2,
    "f1": 2 / (1 / PRECISION + 1 / RECALL),
    "f1_macro": (2 / 3 + 2 / (1 + 3 / 2)) / 2,
    "auc": 1.0,  # the second class has its highest probability where it is right
    "log_loss": -np.mean(np.log([0.9, 0.6, 0.3, 0.8])),
}


class Answering:
    """A model that gives the same answers to all examples of a kind."""

    def predict(self, x, **options):
        return np.asarray(x)


@pytest.mark.parametrize("name", sorted(set(METRICS) - set(OF_NUMBERS)))
def test_figure_is_that_of_the_answers(name):
    assert figure(name, Answering(), ANSWERS, Y) == pytest.approx(EXPECTED[name])


def test_figures_of_numbers_are_on_their_own_scale():
    answers, y = np.array([[1.0], [0.0], [2.0]]), np.array([0.0, 0.0, 3.0])
    target = Target(mean=100, scale=10)
    assert figure("mae", Answering(), answers, y, target) == pytest.approx(10 * 2 / 3)
    assert figure("r2", Answering(), answers, y, target) == pytest.approx(1 - 2 / 6)


def test_class_without_examples_does_not_count_in_the_balanced_accuracy():
    answers = np.array([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8], [0.1, 0.8, 0.1]])  # one is taken for 2
    found = figure("balanced_accuracy", Answering(), answers, np.array([0, 0, 1]))
    assert found == pytest.approx((1 / 2 + 1) / 2)


def test_class_without_examples_has_no_area():
    three = np.hstack([0.9 * ANSWERS, np.full((4, 1), 0.1)])
    assert figure("auc", Answering(), three, Y) == pytest.approx(1.0)
    assert figure("auc", Answering(), three, np.zeros(4, int)) == 0.5
    assert figure("log_loss", Answering(), three, Y) == pytest.approx(
        -np.mean(np.log(0.9 * np.array([0.9, 0.6, 0.3, 0.8])))
    )
