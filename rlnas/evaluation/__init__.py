"""Evaluators, which turn architectures into metrics, and executors, which carry the work out.

`TrainingEvaluator` lives in `rlnas.evaluation.training`: it loads Keras, this does not.
"""

from rlnas.evaluation.base import (
    CachedExecutor,
    Evaluator,
    Executor,
    InlineExecutor,
    Job,
    OrderedExecutor,
    Outcome,
    Result,
    child_seed,
)
from rlnas.evaluation.table import (
    FORMATS,
    Table,
    TableEvaluator,
    TableFormat,
    read_strings,
    read_table,
    with_columns,
)

__all__ = [
    "FORMATS",
    "CachedExecutor",
    "Evaluator",
    "Executor",
    "InlineExecutor",
    "Job",
    "OrderedExecutor",
    "Outcome",
    "Result",
    "Table",
    "TableEvaluator",
    "TableFormat",
    "child_seed",
    "read_strings",
    "read_table",
    "with_columns",
]
