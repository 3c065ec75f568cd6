"""The search loop: propose, train, learn, commit, until the budget is spent."""

import shutil
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rlnas.controllers import Action, Controller, Trajectory
from rlnas.errors import ControllerError, NoValidChildError
from rlnas.evaluation import CachedExecutor, Executor, Job, Outcome, Result, child_seed
from rlnas.objectives import Failure
from rlnas.search.folder import RunFolder
from rlnas.search.journal import BRIEF, DONE, FAILED, RUNNING, Journal, Trial
from rlnas.search.monitor.policy import policy_table
from rlnas.search.own_envs import NASVectorEnv
from rlnas.search.progress import SearchProgress, Standing, best_of
from rlnas.search.setup import Setup
from rlnas.spaces import Architecture

POLICY_EVERY = 10
"""Trials between two pictures of the policy (chosen)."""

MOST_REPEATS = 1000
"""Known architectures in a row after which the space counts as used up (chosen)."""


@dataclass(slots=True)
class Counters:
    """What the loop counts; part of the stored state.

    Attributes:
        proposals: Architectures the controller has proposed.
        in_a_row: How many of the newest proposals were known already.
        seconds: Time the search has taken in earlier sittings.
    """

    proposals: int = 0
    in_a_row: int = 0
    seconds: float = 0.0


class Observer:
    """Is told of each trial after it was committed; the base does nothing."""

    def trial(self, trial: Trial) -> None:
        """A trial was committed."""


class SearchLoop:
    """Trains the controller on real children; every step of it can be resumed.

    Args:
        setup: What the run is made of.
        folder: Its folder.
        journal: Its journal.
        controller: Who proposes; loaded with the stored state if there is one.
        executor: Trains the children.
        observer: Is told of each committed trial.
        progress: Shows each trial to the user.
    """

    def __init__(
        self,
        setup: Setup,
        folder: RunFolder,
        journal: Journal,
        controller: Controller,
        executor: Executor,
        observer: Observer,
        progress: SearchProgress,
    ) -> None:
        """See the class."""
        self._setup, self._folder, self._journal = setup, folder, journal
        self._controller, self._observer, self._progress = controller, observer, progress
        self._trials = {trial.key: trial for trial in journal.trials()}
        self._counters = Counters()
        self._log_probs: dict[int, list[float]] = {}  # of the architecture each episode writes
        self._learned: dict[str, float] = {}  # since the last commit
        self._started = time.monotonic()
        brief = {each.name: each.metrics for each in journal.contenders(BRIEF)}
        reference = brief.get("reference")
        self._reference = None if reference is None else setup.objective.reward(reference)
        self._env = NASVectorEnv(
            setup.space,
            CachedExecutor(executor, self._known),
            recipe=setup.config.recipe,
            objective=setup.objective,
            make_job=self._job,
        )

    def run(self) -> None:
        """Search until the budget is spent.

        Raises:
            NoValidChildError: Not one child could be trained.
            StorageError: The disk refused; all that was committed stays.
        """
        self._restore()
        observations, info = self._env.reset()
        ended = np.zeros(len(observations), dtype=bool)
        if pending := self._pending():
            if failure := self._journal.given_up(f"trial-{pending.id}"):
                self._give_up(pending, failure)
            else:
                observations, ended, info = self._replay(pending)
        while True:
            for place in np.flatnonzero(ended):
                self._conclude(info["result"][place])
            if self._spent():
                break
            tokens = np.zeros(len(ended), dtype=np.int64)  # an ended episode ignores its token
            if not ended.all():
                going = ~ended
                action = self._controller.act(observations[going], info["action_mask"][going])
                self._remember(info["env_id"][going], action)
                tokens[going] = action.tokens
            self._env.send(tokens, info["env_id"])
            observations, _, ended, _, info = self._env.recv()
        self._env.close()
        if best_of(self._finished()) is None:
            raise NoValidChildError(self._no_valid_child())

    def _restore(self) -> None:
        state = self._journal.state()
        if state is not None:
            self._controller.load(state["controller"])
            self._counters = Counters(**state["counters"])
            self._learned = state["learned"]
            if owed := state.get("owed"):
                tokens, log_probs = tuple(owed["tokens"]), tuple(owed["log_probs"])
                trajectory = Trajectory(tokens, log_probs, owed["reward"], repeated=False)
                self._learned |= self._controller.learn([trajectory])

    def _state(self) -> dict[str, Any]:
        counters = replace(self._counters, seconds=self._seconds())
        return {
            "controller": self._controller.state(),
            "counters": {name: getattr(counters, name) for name in Counters.__slots__},
            "learned": self._learned,
        }

    def _pending(self) -> Trial | None:
        running = [trial for trial in self._trials.values() if trial.state == RUNNING]
        return running[0] if running else None

    def _replay(self, pending: Trial) -> Any:
        """Write the tokens of a trial whose child was under way when the run stopped."""
        self._log_probs[0] = list(pending.log_probs)
        for token in pending.tokens:
            self._env.send([token], [0])
            observations, _, ended, _, info = self._env.recv()
        return observations, ended, info

    def _give_up(self, pending: Trial, failure: Failure) -> None:
        """Let a trial fail whose child ended the process each time."""
        self._log_probs[0] = list(pending.log_probs)
        architecture = self._setup.space.architecture(pending.tokens)
        recipe = self._setup.config.recipe
        job = Job(pending.id, pending.key, architecture, recipe, pending.seed)
        self._conclude(Result(job, failure))

    def _remember(self, env_ids: Any, action: Action) -> None:
        for env_id, log_prob in zip(env_ids.tolist(), action.log_probs.tolist(), strict=True):
            self._log_probs.setdefault(env_id, []).append(log_prob)

    def _job(self, env_id: int, architecture: Architecture, key: str) -> Job:
        """Commit a new proposal, before its child starts."""
        seed = child_seed(self._setup.config.seed, key)
        trial = self._trials.get(key)
        if trial is None:
            self._counters.proposals += 1
            trial = Trial(
                id=len(self._trials) + 1,
                key=key,
                tokens=architecture.tokens,
                log_probs=tuple(self._log_probs[env_id]),
                seed=seed,
                proposals=self._counters.proposals,
                started=time.time(),
            )
            self._trials[key] = trial
            self._journal.propose(trial, self._state())
        elif trial.state != RUNNING:
            self._counters.proposals += 1
            number = -self._counters.proposals  # a number that no trial has
            return Job(number, key, architecture, self._setup.config.recipe, seed)
        self._journal.log_start(f"trial-{trial.id}")
        folder = self._folder.trial(trial.id)
        return Job(trial.id, key, architecture, self._setup.config.recipe, seed, folder)

    def _known(self, key: str) -> Outcome | None:
        trial = self._trials.get(key)
        return None if trial is None else trial.outcome

    def _conclude(self, result: Result) -> None:
        """Learn from a result and commit it, if it is new."""
        reward = (
            None
            if isinstance(result.outcome, Failure)
            else self._setup.objective.reward(result.outcome)
        )
        trajectory = Trajectory(
            tokens=result.job.architecture.tokens,
            log_probs=tuple(self._log_probs.pop(0)),
            reward=reward,
            repeated=result.repeated,
        )
        try:
            self._learned |= self._controller.learn([trajectory])
        except ControllerError:  # of the user's own: the child was trained all the same
            if not result.repeated:
                self._owe(replace(self._ended(result, reward), learned={}), trajectory)
            raise
        if result.repeated:
            self._counters.in_a_row += 1
            return
        self._counters.in_a_row = 0
        self._commit(self._ended(result, reward))

    def _owe(self, trial: Trial, trajectory: Trajectory) -> None:
        """Commit a trial that the controller is still to learn from, when it is mended."""
        state = self._journal.state()
        if state is not None:
            owed = {"tokens": trajectory.tokens, "log_probs": trajectory.log_probs}
            self._journal.finish(trial, {**state, "owed": {**owed, "reward": trajectory.reward}})
            self._trials[trial.key] = trial
            self._observer.trial(trial)

    def _ended(self, result: Result, reward: float | None) -> Trial:
        """Return the trial of a result."""
        failed = isinstance(result.outcome, Failure)
        return replace(
            self._trials[result.job.key],
            state=FAILED if failed else DONE,
            reward=reward,
            metrics=None if isinstance(result.outcome, Failure) else result.outcome,
            reason=result.outcome.reason if isinstance(result.outcome, Failure) else None,
            learned=self._learned,
            proposals=self._counters.proposals,
            ended=time.time(),
        )

    def _commit(self, trial: Trial) -> None:
        if trial.id == 1 or trial.id % POLICY_EVERY == 0:
            trial = replace(trial, policy=self._policy(trial.id))
        before = best_of(self._finished())
        self._learned = {}
        self._journal.finish(trial, self._state())
        self._trials[trial.key] = trial
        finished = self._finished()
        best = best_of(finished)
        self._observer.trial(trial)
        if not_best := before if best is trial else trial:
            shutil.rmtree(self._folder.trial(not_best.id), ignore_errors=True)
        self._progress.trial(trial, self._layers(trial), self._standing(finished, best))

    def _policy(self, seed: int) -> dict[str, list[float]]:
        return policy_table(self._setup.space, self._controller, seed)

    def _finished(self) -> list[Trial]:
        return [trial for trial in self._trials.values() if trial.state != RUNNING]

    def _layers(self, trial: Trial | None) -> str:
        return "" if trial is None else self._setup.space.architecture(trial.tokens).describe()

    def _standing(self, finished: list[Trial], best: Trial | None) -> Standing:
        budget = self._setup.config.budget
        return Standing(
            trials=len(finished),
            budget=budget.most_trials,
            seconds=self._seconds(),
            best=best,
            layers=self._layers(best),
            limit=budget.time_limit,
            reference=self._reference,
        )

    def _seconds(self) -> float:
        return self._counters.seconds + time.monotonic() - self._started

    def _spent(self) -> bool:
        budget = self._setup.config.budget
        if budget.most_trials is not None and len(self._finished()) >= budget.most_trials:
            return True
        if self._counters.in_a_row >= MOST_REPEATS:
            self._progress.note(
                f"the last {MOST_REPEATS} proposals were known architectures; the search ends here"
            )
            return True
        return budget.time_limit is not None and self._seconds() >= budget.time_limit

    def _no_valid_child(self) -> str:
        reasons = [trial.reason for trial in self._finished() if trial.reason]
        last = f"; the last reason was: {reasons[-1]}" if reasons else ""
        return f"not one of {len(reasons)} children could be trained{last}"
