"""The search loop: propose, train, learn, commit, until the budget is spent."""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from rlnas.config import SearchConfig
from rlnas.controllers import Controller, Trajectory
from rlnas.errors import ControllerError, NoValidChildError
from rlnas.evaluation import (
    CachedExecutor,
    Executor,
    InlineExecutor,
    Job,
    OrderedExecutor,
    Outcome,
    Result,
    child_seed,
)
from rlnas.evaluation.fidelity import make_fidelity
from rlnas.objectives import Failure, Objective
from rlnas.search.folder import RunFolder
from rlnas.search.journal import BRIEF, DONE, FAILED, RUNNING, Journal, Trial
from rlnas.search.monitor.policy import policy_table
from rlnas.search.own_envs import NASVectorEnv
from rlnas.search.progress import SearchProgress, Standing, best_of
from rlnas.spaces import Architecture, Space

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


@dataclass(frozen=True, slots=True)
class _Proposal:
    """An architecture as it is written.

    Attributes:
        tokens: Its tokens so far.
        log_probs: Log-probability of each when it was chosen.
        floors: What its child must reach to go on; fixed here, so that a run can be repeated.
    """

    tokens: list[int]
    log_probs: list[float]
    floors: list[float]

    def to_json(self) -> dict[str, Any]:
        return {"tokens": self.tokens, "log_probs": self.log_probs, "floors": self.floors}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "_Proposal":
        floors = list(record.get("floors", []))  # runs from before fidelity lack it
        return cls(list(record["tokens"]), list(record["log_probs"]), floors)

    def trajectory(
        self,
        reward: float | None,
        *,
        repeated: bool = False,
        error: float = 0.0,
        spent: tuple[float, float] | None = None,
    ) -> Trajectory:
        tokens, log_probs = tuple(self.tokens), tuple(self.log_probs)
        return Trajectory(tokens, log_probs, reward, repeated, error, spent)


class LoopSetup(Protocol):
    """What the loop must know of a run."""

    @property
    def config(self) -> SearchConfig:
        """All settings."""

    @property
    def space(self) -> Space:
        """The grammar."""

    @property
    def objective(self) -> Objective:
        """How metrics become the reward."""


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
        in_flight: Architectures that are proposed and not learned from yet; None for as many as
            the executor works on.
        ordered: Learn from the results in the order of the proposals, whatever ends first.
    """

    def __init__(
        self,
        setup: LoopSetup,
        folder: RunFolder,
        journal: Journal,
        controller: Controller,
        executor: Executor,
        observer: Observer,
        progress: SearchProgress,
        *,
        in_flight: int | None = None,
        ordered: bool = False,
    ) -> None:
        """See the class."""
        self._setup, self._folder, self._journal = setup, folder, journal
        self._controller, self._observer, self._progress = controller, observer, progress
        self._trials = {trial.key: trial for trial in journal.trials()}
        ended = [trial for trial in self._trials.values() if trial.state != RUNNING]
        self._ended, self._best = len(ended), best_of(ended)
        self._counters = Counters()
        self._learned: dict[str, float] = {}  # since the last commit
        self._started = time.monotonic()
        brief = {each.name: each.metrics for each in journal.contenders(BRIEF)}
        reference = brief.get("reference")
        self._reference = None if reference is None else setup.objective.reward(reference)
        self._submitted: set[int] = set()  # numbers of trials, in this sitting
        self._fidelity = make_fidelity(setup.config.fidelity.name, setup.config.recipe.epochs)
        self._repeats = 0  # jobs whose key a trial has, so that each has a number of its own
        self._replaying = False
        self._told = False  # that the space is used up
        self._under_way: dict[int, _Proposal] = {}  # by episode, in the order of their beginning
        self._again: deque[_Proposal] = deque()  # were under way when the run stopped
        # A child in a process of its own cannot end the search's, so its end says nothing of it.
        self._mortal = isinstance(executor, InlineExecutor)
        if isinstance(executor, InlineExecutor):
            executor.before = lambda job: journal.log_start(f"trial-{job.id}")
        passed_on = OrderedExecutor(executor) if ordered else executor
        self._env = NASVectorEnv(
            setup.space,
            CachedExecutor(passed_on, self._known),
            in_flight or executor.workers,
            recipe=setup.config.recipe,
            objective=setup.objective,
            make_job=self._job,
        )

    def run(self) -> Trial:
        """Search until the budget is spent; return the best trial.

        Raises:
            NoValidChildError: Not one child could be trained.
            StorageError: The disk refused; all that was committed stays.
        """
        self._restore()
        observations, info = self._env.reset()
        self._start = observations[:1], info["action_mask"][:1]  # the same for each episode
        free = deque(range(self._env.num_envs))
        while True:
            while free and (self._again or not self._spent()):
                self._propose(free.popleft())
            if not self._under_way:
                break
            _, _, _, _, info = self._env.recv()
            results = dict(zip(info["env_id"].tolist(), info["result"], strict=True))
            for env_id in [each for each in self._under_way if each in results]:
                self._conclude(results[env_id], self._under_way.pop(env_id))
                self._env.send([0], [env_id])  # begins the next episode
                self._env.recv()
                free.append(env_id)
        self._env.close()
        if self._best is None:
            raise NoValidChildError(self._no_valid_child())
        return self._best

    def _restore(self) -> None:
        state = self._journal.state()
        if state is None:
            return
        if recall := getattr(self._controller, "recall", None):
            recall({trial.tokens: trial.key for trial in self._trials.values()})
        self._controller.load(state["controller"])
        self._counters = Counters(**state["counters"])
        self._learned = state["learned"]
        if owed := state.get("owed"):
            trajectory = _Proposal.from_json(owed).trajectory(owed["reward"])
            self._learned |= self._controller.learn([trajectory])
        for record in state["under_way"]:
            self._take_up(_Proposal.from_json(record))

    def _take_up(self, proposal: _Proposal) -> None:
        """Propose again what was under way when the run stopped, or let it fail."""
        architecture = self._setup.space.architecture(proposal.tokens)
        key = self._setup.space.key(architecture)
        trial = self._trials[key]
        failure = self._journal.given_up(f"trial-{trial.id}") if self._mortal else None
        if trial.state == RUNNING and failure is not None:
            job = Job(trial.id, key, architecture, self._setup.config.recipe, trial.seed)
            self._conclude(Result(job, failure), proposal)
        else:
            self._again.append(proposal)

    def _state(self) -> dict[str, Any]:
        counters = replace(self._counters, seconds=self._seconds())
        return {
            "controller": self._controller.state(),
            "counters": {name: getattr(counters, name) for name in Counters.__slots__},
            "learned": self._learned,
            "under_way": self._listed(),
        }

    def _listed(self) -> list[dict[str, Any]]:
        """Return what is under way, and what still is to be taken up again."""
        return [each.to_json() for each in (*self._under_way.values(), *self._again)]

    def _propose(self, env_id: int) -> None:
        """Write an architecture into a new episode, up to its last token."""
        given = self._again.popleft() if self._again else None
        self._replaying = given is not None  # then it was counted when it was stored
        proposal = _Proposal([], [], self._floors() if given is None else given.floors)
        observations, masks = self._start
        while True:
            if given is None:
                action = self._controller.act(observations, masks)
                token, log_prob = int(action.tokens[0]), float(action.log_probs[0])
            else:
                place = len(proposal.tokens)
                token, log_prob = given.tokens[place], given.log_probs[place]
            proposal.tokens.append(token)
            proposal.log_probs.append(log_prob)
            if self._setup.space.decision(proposal.tokens) is None:
                self._under_way[env_id] = proposal
                self._env.send([token], [env_id])
                return
            self._env.send([token], [env_id])
            observations, _, _, _, info = self._env.recv()
            masks = info["action_mask"]

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
                log_probs=tuple(self._under_way[env_id].log_probs),
                seed=seed,
                proposals=self._counters.proposals,
                started=time.time(),
            )
            self._trials[key] = trial
            self._journal.propose(trial, self._state())
        elif trial.state != RUNNING or trial.id in self._submitted:
            self._counters.proposals += not self._replaying
            self._repeats += 1
            return Job(-self._repeats, key, architecture, self._setup.config.recipe, seed)
        self._submitted.add(trial.id)
        folder = self._folder.trial(trial.id)
        floors = tuple(self._under_way[env_id].floors)
        return Job(trial.id, key, architecture, self._setup.config.recipe, seed, folder, floors)

    def _floors(self) -> list[float]:
        """Return what a child that is proposed now must reach to go on."""
        measured = (trial.metrics for trial in self._trials.values())
        return list(self._fidelity.floors([each.val_accuracy for each in measured if each]))

    def _known(self, key: str) -> Outcome | None:
        trial = self._trials.get(key)
        return None if trial is None else trial.outcome

    def _conclude(self, result: Result, proposal: _Proposal) -> None:
        """Learn from the result of a proposal and commit it, if it is new."""
        reward, error, spent = None, 0.0, None
        if not isinstance(result.outcome, Failure):
            objective, error = self._setup.objective, result.outcome.error
            reward, spent = objective.reward(result.outcome), objective.spent(result.outcome)
        trajectory = proposal.trajectory(reward, repeated=result.repeated, error=error, spent=spent)
        try:
            self._learned |= self._controller.learn([trajectory])
        except ControllerError:  # of the user's own: the child was trained all the same
            if not result.repeated:
                self._owe(replace(self._trial(result, reward), learned={}), proposal)
            raise
        if result.repeated:
            self._counters.in_a_row += 1
            return
        self._counters.in_a_row = 0
        self._commit(self._trial(result, reward))

    def _owe(self, trial: Trial, proposal: _Proposal) -> None:
        """Commit a trial that the controller is still to learn from, when it is mended."""
        state = self._journal.state()
        if state is not None:
            owed = {**proposal.to_json(), "reward": trial.reward}
            self._journal.finish(trial, {**state, "owed": owed, "under_way": self._listed()})
            self._trials[trial.key] = trial
            self._observer.trial(trial)

    def _trial(self, result: Result, reward: float | None) -> Trial:
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
            step=self._ended + 1,
        )

    def _commit(self, trial: Trial) -> None:
        step = self._ended + 1
        if step == 1 or step % POLICY_EVERY == 0:
            trial = replace(trial, policy=self._policy(trial.id))
        self._learned = {}
        self._journal.finish(trial, self._state())
        self._trials[trial.key] = trial
        self._ended = step
        before, self._best = self._best, best_of([trial] if not self._best else [self._best, trial])
        self._observer.trial(trial)
        if not_best := before if self._best is trial else trial:
            self._folder.drop_weights(not_best.id)
        self._progress.trial(trial, self._layers(trial), self._standing())

    def _policy(self, seed: int) -> dict[str, list[float]]:
        return policy_table(self._setup.space, self._controller, seed)

    def _layers(self, trial: Trial | None) -> str:
        return "" if trial is None else self._setup.space.architecture(trial.tokens).describe()

    def _standing(self) -> Standing:
        budget = self._setup.config.budget
        return Standing(
            trials=self._ended,
            budget=budget.most_trials,
            seconds=self._seconds(),
            best=self._best,
            layers=self._layers(self._best),
            limit=budget.time_limit,
            reference=self._reference,
        )

    def _seconds(self) -> float:
        return self._counters.seconds + time.monotonic() - self._started

    def _spent(self) -> bool:
        budget = self._setup.config.budget
        if budget.most_trials is not None and len(self._trials) >= budget.most_trials:
            return True
        if self._counters.in_a_row >= MOST_REPEATS:
            if not self._told:
                self._progress.note(
                    f"the last {MOST_REPEATS} proposals were known architectures; "
                    "the search ends here"
                )
            self._told = True
            return True
        return budget.time_limit is not None and self._seconds() >= budget.time_limit

    def _no_valid_child(self) -> str:
        reasons = [trial.reason for trial in self._trials.values() if trial.reason]
        last = f"; the last reason was: {reasons[-1]}" if reasons else ""
        return f"not one of {len(reasons)} children could be trained{last}"
