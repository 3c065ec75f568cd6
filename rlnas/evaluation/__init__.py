"""Evaluators, which turn architectures into metrics, and executors, which carry the work out.

`TrainingEvaluator` lives in `rlnas.evaluation.training`: it loads Keras, this does not.
"""

from rlnas.evaluation.base import (
    CachedExecutor,
    Evaluator,
    Executor,
    InlineExecutor,
    Job,
    Outcome,
    Result,
    child_seed,
)

__all__ = [
    "CachedExecutor",
    "Evaluator",
    "Executor",
    "InlineExecutor",
    "Job",
    "Outcome",
    "Result",
    "child_seed",
]
