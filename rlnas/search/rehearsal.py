"""A rehearsal of one training step, so that limits which no child can keep are told at once."""

from contextlib import closing
from dataclasses import replace

from rlnas.children.data import Data
from rlnas.errors import ConfigError
from rlnas.evaluation import Job
from rlnas.evaluation.process import is_limit
from rlnas.search.setup import Setup


def rehearse(setup: Setup) -> None:
    """Let a worker make one step with the reference child, if the config limits children.

    Raises:
        ConfigError: A limit is below what that takes.
    """
    engine, recipe = setup.config.engine, setup.config.recipe
    if setup.function is not None or not (engine.child_time_limit or engine.child_memory):
        return
    evaluator = setup.evaluator(_one_batch(setup.data, recipe.batch_size))
    reference = setup.space.reference()
    brief = recipe.model_copy(update={"epochs": 1})
    with closing(setup.executor(evaluator)) as executor:
        executor.submit(Job(0, setup.space.key(reference), reference, brief, setup.config.seed))
        (result,) = executor.completed()
    if is_limit(result.outcome):
        raise ConfigError(
            "engine (--child-time-limit, --child-memory): not even one step of the reference child "
            f"could be made: {result.outcome.reason}; raise the limit, or leave it out"
        )


def _one_batch(data: Data, size: int) -> Data:
    """Return data with one batch to train on, and as much to validate on."""
    parts = ("x_train", "y_train", "x_val", "y_val")
    return replace(data, **{name: getattr(data, name)[:size] for name in parts})
