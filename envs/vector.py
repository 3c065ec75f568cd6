"""`NASVectorEnv`: W architectures in the making, none of which waits for another's child."""

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from envs.episode import Episode, as_token, checked_recipe, checked_reward
from rlnas.config import RecipeConfig
from rlnas.errors import UsageError
from rlnas.evaluation import Executor, Job, Result, child_seed
from rlnas.objectives import Failure, Objective
from rlnas.spaces import Architecture, Space, max_choices

Array = npt.NDArray[Any]
Turn = tuple[Array, Array, Array, Array, dict[str, Any]]
"""Observations int64[n, T], rewards float64[n], terminations and truncations bool[n], info."""

JobMaker = Callable[[int, Architecture, str], Job]
"""Makes the job of a finished architecture: ``(env_id, architecture, key)`` to `Job`."""


class NASVectorEnv(gymnasium.vector.VectorEnv[Array, Array, Array]):
    """W episodes at once, by Gymnasium's `step` or by EnvPool-like `send` and `recv`.

    Each episode is as in `NASEnv`. After its end the next action is ignored and begins a
    new one (``AutoresetMode.NEXT_STEP``). In ``info``, ``action_mask`` is int8[n, A],
    ``env_id`` int64[n]; ``result`` holds the `Result` of each child that was
    trained, else None, and ``illegal`` the sentence for an illegal token, else None.

    Args:
        space: The grammar.
        executor: Trains the children.
        num_envs: W, the number of episodes.
        recipe: How children are trained.
        objective: How metrics become the reward.
        failure_reward: Paid for an illegal token or a failed child.
        make_job: Makes each job; by default with seeds from run seed 0 and no folder.
    """

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012 - Gymnasium's type

    def __init__(
        self,
        space: Space,
        executor: Executor,
        num_envs: int = 1,
        *,
        recipe: RecipeConfig | None = None,
        objective: Objective | None = None,
        failure_reward: float = 0.0,
        make_job: JobMaker | None = None,
    ) -> None:
        """See the class."""
        if num_envs < 1:
            raise UsageError(f"num_envs must be at least 1, got {num_envs}")
        self.space = space
        self.num_envs = num_envs
        self._executor = executor
        self._recipe = checked_recipe(recipe)
        self._objective = objective or Objective()
        self._failure_reward = checked_reward(failure_reward)
        self._make_job = make_job or self._plain_job
        choices = max_choices(space)
        self.single_action_space = gymnasium.spaces.Discrete(choices)
        self.single_observation_space = gymnasium.spaces.MultiDiscrete(
            np.full(space.max_tokens, choices + 1)
        )
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._jobs_made = 0
        self._forget()

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Begin W new architectures; return observations int64[W, T] and info.

        Children of the old ones that were not trained yet never are.
        """
        super().reset(seed=seed if isinstance(seed, int) else None, options=options)
        self._executor.cancel()
        self._forget()
        observations, _, _, _, info = self._turn(range(self.num_envs))
        return observations, info

    def send(self, actions: Sequence[int] | Array, env_ids: Sequence[int] | Array) -> None:
        """Write one token into each of these episodes, without waiting for their children.

        Args:
            actions: Index of a choice for each episode.
            env_ids: The episodes, each of which `reset` or `recv` has returned since its
                last action.

        Raises:
            UsageError: An episode is unknown, stands there twice, or was not returned since
                its last action, or there are not as many actions; nothing was written then.
        """
        if len(actions) != len(env_ids):
            raise UsageError(
                f"expected one action for each of {len(env_ids)} episodes, got {len(actions)}"
            )
        pairs = [(int(env_id), as_token(a)) for env_id, a in zip(env_ids, actions, strict=True)]
        for place, (env_id, _) in enumerate(pairs):
            self._check_open(env_id, pairs[:place])
        for env_id, action in pairs:
            self._open.discard(env_id)
            self._write(env_id, action)

    def recv(self) -> Turn:
        """Return all episodes that are ready for their next action; wait for at least one.

        Raises:
            UsageError: Nothing was sent.
        """
        while not self._ready:
            results = self._executor.completed()
            if not results:
                raise UsageError("recv() has nothing to wait for; call send() first")
            for result in results:
                self._finish(self._waiting.pop(result.job.id), result)
        env_ids = sorted(self._ready)
        self._ready.clear()
        return self._turn(env_ids)

    def step(self, actions: Array) -> Turn:
        """Write one token into every episode and wait for all of them."""
        self.send(actions, range(self.num_envs))
        turns: dict[int, None] = {}
        while len(turns) < self.num_envs:
            turns |= dict.fromkeys(self.recv()[4]["env_id"].tolist())
        return self._turn(range(self.num_envs))

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Return bool[W, A], true for allowed."""
        return np.stack([episode.mask() for episode in self._episodes]).astype(bool)

    def close_extras(self, **kwargs: Any) -> None:
        """Close the executor."""
        self._executor.close()

    def _forget(self) -> None:
        self._episodes = [Episode(self.space) for _ in range(self.num_envs)]
        self._rewards = np.zeros(self.num_envs)
        self._ended = np.zeros(self.num_envs, dtype=bool)
        self._results: list[Result | None] = [None] * self.num_envs
        self._illegal: list[str | None] = [None] * self.num_envs
        self._ready: set[int] = set()
        self._waiting: dict[int, int] = {}  # job id to episode
        self._open: set[int] = set()  # episodes returned since their last action

    def _check_open(self, env_id: int, others: list[tuple[int, int]]) -> None:
        if not 0 <= env_id < self.num_envs:
            raise UsageError(f"unknown env_id {env_id}: expected 0..{self.num_envs - 1}")
        if env_id in self._waiting.values():
            raise UsageError(f"the child of episode {env_id} is under way; call recv() first")
        if env_id not in self._open:
            raise UsageError(f"episode {env_id} waits for reset() or recv() before its next action")
        if any(env_id == other for other, _ in others):
            raise UsageError(f"episode {env_id} got two actions at once; send one at a time")

    def _write(self, env_id: int, token: int) -> None:
        self._rewards[env_id], self._results[env_id], self._illegal[env_id] = 0.0, None, None
        if self._ended[env_id]:
            self._episodes[env_id], self._ended[env_id] = Episode(self.space), False
            self._ready.add(env_id)
            return
        episode = self._episodes[env_id]
        self._illegal[env_id] = episode.write(token)
        if self._illegal[env_id] is not None:
            self._rewards[env_id], self._ended[env_id] = self._failure_reward, True
            self._ready.add(env_id)
        elif episode.finished:
            self._submit(env_id)
        else:
            self._ready.add(env_id)

    def _submit(self, env_id: int) -> None:
        architecture = self.space.architecture(self._episodes[env_id].tokens)
        job = self._make_job(env_id, architecture, self.space.key(architecture))
        self._waiting[job.id] = env_id
        self._executor.submit(job)

    def _finish(self, env_id: int, result: Result) -> None:
        self._results[env_id] = result
        self._ended[env_id] = True
        self._rewards[env_id] = (
            self._failure_reward
            if isinstance(result.outcome, Failure)
            else self._objective.reward(result.outcome)
        )
        self._ready.add(env_id)

    def _turn(self, env_ids: Sequence[int]) -> Turn:
        chosen = list(env_ids)
        self._open.update(chosen)
        results = np.empty(len(chosen), dtype=object)
        results[:] = [self._results[env_id] for env_id in chosen]
        illegal = np.empty(len(chosen), dtype=object)
        illegal[:] = [self._illegal[env_id] for env_id in chosen]
        info = {
            "env_id": np.asarray(chosen, dtype=np.int64),
            "action_mask": np.stack([self._episodes[env_id].mask() for env_id in chosen]),
            "result": results,
            "illegal": illegal,
        }
        observations = np.stack([self._episodes[env_id].observation() for env_id in chosen])
        ended = self._ended[chosen]
        return observations, self._rewards[chosen], ended, np.zeros_like(ended), info

    def _plain_job(self, env_id: int, architecture: Architecture, key: str) -> Job:
        self._jobs_made += 1
        return Job(self._jobs_made, key, architecture, self._recipe, child_seed(0, key))
