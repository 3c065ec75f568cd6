"""Metrics of a child, failures as values, and how metrics become the reward."""

from rlnas.objectives.base import Failure, Metrics, Objective

__all__ = ["Failure", "Metrics", "Objective"]
