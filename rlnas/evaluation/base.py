"""What evaluates architectures, and what carries the work out.

An evaluator turns one architecture into metrics, or into a failure as a value. An
executor takes jobs and hands back results as they finish, in any order.
"""

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rlnas.config import RecipeConfig
from rlnas.objectives import Failure, Metrics
from rlnas.spaces import Architecture

Outcome = Metrics | Failure


@dataclass(frozen=True, slots=True)
class Job:
    """One child to train.

    Attributes:
        id: Number by which the caller knows the job again.
        key: Canonical key of the architecture.
        architecture: The network.
        recipe: How it is trained.
        seed: Seed of all randomness of the child.
        folder: Where the trained weights go as ``model.weights.h5``; None to drop them.
        floors: For each epoch, the least accuracy with which the training goes on.
    """

    id: int
    key: str
    architecture: Architecture
    recipe: RecipeConfig
    seed: int
    folder: Path | None = None
    floors: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a job.

    Attributes:
        job: The job.
        outcome: Metrics, or why there are none.
        repeated: Whether the outcome was known already and nothing was trained.
    """

    job: Job
    outcome: Outcome
    repeated: bool = False


class Evaluator(Protocol):
    """Turns an architecture into metrics."""

    def evaluate(
        self,
        architecture: Architecture,
        recipe: RecipeConfig,
        seed: int,
        folder: Path | None = None,
        *,
        floors: tuple[float, ...] = (),
    ) -> Outcome:
        """Build and train the child; the same arguments give the same outcome.

        Args:
            architecture: The network.
            recipe: How it is trained.
            seed: Seed of all randomness.
            folder: Where the trained weights go as ``model.weights.h5``; None to drop them.
            floors: For each epoch, the least accuracy, the best so far, with which the training
                goes on; what does not train in epochs may ignore them.

        Returns:
            Metrics, or a `Failure` with its reason: a bad child raises nothing.
        """


def evaluated(evaluator: Evaluator, job: Job) -> Outcome:
    """Return what an evaluator makes of a job."""
    # An evaluator of a user's own need not know of floors while there are none.
    floors: dict[str, Any] = {"floors": job.floors} if job.floors else {}
    return evaluator.evaluate(job.architecture, job.recipe, job.seed, job.folder, **floors)


class Executor(Protocol):
    """Carries jobs out, here or elsewhere, one or many at a time."""

    @property
    def workers(self) -> int:
        """How many jobs it works on at a time."""

    def submit(self, job: Job) -> None:
        """Take a job; it starts now or later."""

    def completed(self) -> list[Result]:
        """Return what has finished since the last call.

        Waits for at least one result while a job is under way, and returns an empty
        list when none is.
        """

    def cancel(self) -> None:
        """Forget all jobs: none that waits is started, and no result of them comes."""

    def close(self) -> None:
        """Free all that the executor holds; jobs under way are dropped."""


class InlineExecutor:
    """Trains each child in this process, one after the other, when a result is asked for.

    Attributes:
        before: Is called with each job before its child begins, which may end this process.
    """

    def __init__(self, evaluator: Evaluator) -> None:
        """Take the evaluator that trains the children."""
        self._evaluator = evaluator
        self.before: Callable[[Job], None] = lambda job: None
        self._waiting: list[Job] = []

    @property
    def workers(self) -> int:
        """One job at a time."""
        return 1

    def submit(self, job: Job) -> None:
        """Put a job at the end of the queue."""
        self._waiting.append(job)

    def completed(self) -> list[Result]:
        """Train the first child of the queue and return its result."""
        if not self._waiting:
            return []
        job = self._waiting.pop(0)
        self.before(job)
        return [Result(job, evaluated(self._evaluator, job))]

    def cancel(self) -> None:
        """Drop the queue."""
        self._waiting.clear()

    def close(self) -> None:
        """Drop the queue."""
        self.cancel()


class CachedExecutor:
    """Answers keys whose outcome is known at once, and passes on the rest.

    A key that is under way is not trained twice: the second job is answered after the first.

    Args:
        executor: Who trains what is not known.
        known: Returns the outcome of a canonical key, or None.
    """

    def __init__(self, executor: Executor, known: Callable[[str], Outcome | None]) -> None:
        """See the class."""
        self._executor = executor
        self._known = known
        self._answered: list[Result] = []
        self._same: dict[str, list[Job]] = {}  # by a key under way, what waits for it

    @property
    def workers(self) -> int:
        """As many jobs at a time as the other executor works on."""
        return self._executor.workers

    def submit(self, job: Job) -> None:
        """Answer the job from what is known, or pass it on."""
        outcome = self._known(job.key)
        if outcome is not None:
            self._answered.append(Result(job, outcome, repeated=True))
        elif job.key in self._same:
            self._same[job.key].append(job)
        else:
            self._same[job.key] = []
            self._executor.submit(job)

    def completed(self) -> list[Result]:
        """Return known answers first, then what the other executor has finished."""
        if self._answered:
            answered, self._answered = self._answered, []
            return answered
        results = self._executor.completed()
        for result in results:
            for job in self._same.pop(result.job.key):
                self._answered.append(Result(job, result.outcome, repeated=True))
        return results

    def cancel(self) -> None:
        """Forget all jobs, also those that were passed on."""
        self._answered.clear()
        self._same.clear()
        self._executor.cancel()

    def close(self) -> None:
        """Close the other executor too."""
        self._answered.clear()
        self._same.clear()
        self._executor.close()


class OrderedExecutor:
    """Hands back one result at a time, in the order in which the jobs came.

    So what a controller has learned when it proposes does not depend on which child was faster.

    Args:
        executor: Who works on the jobs.
    """

    def __init__(self, executor: Executor) -> None:
        """See the class."""
        self._executor = executor
        self._order: deque[int] = deque()
        self._finished: dict[int, Result] = {}

    @property
    def workers(self) -> int:
        """As many jobs at a time as the other executor works on."""
        return self._executor.workers

    def submit(self, job: Job) -> None:
        """Pass the job on."""
        self._order.append(job.id)
        self._executor.submit(job)

    def completed(self) -> list[Result]:
        """Return the result of the oldest job, or nothing if there is none; waits for it."""
        if not self._order:
            return []
        while self._order[0] not in self._finished:
            for result in self._executor.completed():
                self._finished[result.job.id] = result
        return [self._finished.pop(self._order.popleft())]

    def cancel(self) -> None:
        """Forget all jobs."""
        self._order.clear()
        self._finished.clear()
        self._executor.cancel()

    def close(self) -> None:
        """Close the other executor too."""
        self.cancel()
        self._executor.close()


def child_seed(run_seed: int, key: str, repeat: int = 0) -> int:
    """Return the seed of a child, 0 <= seed < 2**31, from the run's seed and the trial key.

    Args:
        run_seed: Seed of the run.
        key: Canonical key of the architecture.
        repeat: 0 in the search; another number gives an independent training.
    """
    digest = hashlib.sha256(f"{run_seed}/{repeat}/{key}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
