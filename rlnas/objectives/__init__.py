"""Metrics of a child, failures as values, and how metrics become the reward."""

from rlnas.objectives.base import Failure, Metrics
from rlnas.objectives.objective import ACCURACY, R2, Cost, Objective

__all__ = ["ACCURACY", "R2", "Cost", "Failure", "Metrics", "Objective"]
