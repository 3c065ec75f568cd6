"""Metrics of a child, failures as values, and how metrics become the reward."""

from rlnas.objectives.base import Failure, Metrics
from rlnas.objectives.objective import ACCURACY, Cost, Objective

__all__ = ["ACCURACY", "Cost", "Failure", "Metrics", "Objective"]
