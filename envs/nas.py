"""`NASEnv`: one architecture per episode, one token per step, accuracy as reward."""

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from envs.episode import Episode, Observation, as_token, checked_recipe, checked_reward
from rlnas.children.data import Data
from rlnas.config import DataConfig, RecipeConfig
from rlnas.errors import UsageError
from rlnas.evaluation import Evaluator, child_seed
from rlnas.objectives import Failure, Objective
from rlnas.spaces import CHAINS, Space, max_choices


class NASEnv(gymnasium.Env[Observation, np.int64]):
    """Writes a network token by token; on the last one its child is trained and pays the reward.

    Observation: ``MultiDiscrete`` of length T, token + 1, 0 where nothing is chosen
    yet. Action: ``Discrete(A)``. ``info["action_mask"]`` is int8[A]; an action that it
    forbids ends the episode with the failure reward and says why in
    ``info["illegal"]``. At the end ``info`` holds ``tokens``, ``key`` and ``metrics`` or
    ``failure``.

    Args:
        space: The grammar; by default image chains for the data.
        evaluator: Trains the child; by default real training on the data, in this process,
            with as many threads as there are cores.
        recipe: How the child is trained.
        objective: How its metrics become the reward.
        failure_reward: Paid for an illegal token or a failed child.
        run_seed: Seed from which, with the key, each child's seed comes.
        dataset: Data set of the defaults of `space` and `evaluator`.

    Raises:
        UsageError: An evaluator was given without its space, a space for other examples
            than those of the data set, or a recipe or reward that is none.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - the type that Gymnasium declares

    def __init__(
        self,
        space: Space | None = None,
        evaluator: Evaluator | None = None,
        *,
        recipe: RecipeConfig | None = None,
        objective: Objective | None = None,
        failure_reward: float = 0.0,
        run_seed: int = 0,
        dataset: str = "digits",
    ) -> None:
        """See the class."""
        if space is None and evaluator is not None:
            raise UsageError("NASEnv got an evaluator but no space; pass the space it is for")
        recipe, failure_reward = checked_recipe(recipe), checked_reward(failure_reward)
        self._dataset = DataConfig(dataset=dataset)
        self._run_seed = run_seed
        self._evaluator = evaluator
        self._data = None if evaluator is not None else self._default_data()
        self.space = self._fitting(space, self._data)
        self._recipe = recipe
        self._objective = objective or Objective()
        self._failure_reward = failure_reward
        self._episode = Episode(self.space)
        self._ended = True
        choices = max_choices(self.space)
        self.action_space = gymnasium.spaces.Discrete(choices)
        self.observation_space = gymnasium.spaces.MultiDiscrete(
            np.full(self.space.max_tokens, choices + 1)
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin a new architecture."""
        super().reset(seed=seed, options=options)
        self._episode = Episode(self.space)
        self._ended = False
        return self._episode.observation(), self._info()

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Write one token.

        Args:
            action: Index of the choice.

        Raises:
            ResetNeeded: The episode has ended.
            UsageError: The action is not a whole number.
        """
        if self._ended:
            raise gymnasium.error.ResetNeeded("the episode has ended; call reset() first")
        illegal = self._episode.write(as_token(action))
        reward, info = 0.0, self._info()
        if illegal is not None:
            self._ended, reward, info["illegal"] = True, self._failure_reward, illegal
        elif self._episode.finished:
            self._ended, reward = True, self._evaluated(info)
        return self._episode.observation(), reward, self._ended, False, info

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Return bool[A], true for allowed, as sb3-contrib's MaskablePPO asks for it."""
        return self._episode.mask().astype(bool)

    def _info(self) -> dict[str, Any]:
        return {"action_mask": self._episode.mask()}

    def _evaluated(self, info: dict[str, Any]) -> float:
        architecture = self.space.architecture(self._episode.tokens)
        key = self.space.key(architecture)
        info["tokens"], info["key"] = architecture.tokens, key
        if self._evaluator is None:
            self._evaluator = self._default_evaluator()
        seed = child_seed(self._run_seed, key)
        outcome = self._evaluator.evaluate(architecture, self._recipe, seed)
        if isinstance(outcome, Failure):
            info["failure"] = outcome.reason
            return self._failure_reward
        info["metrics"] = outcome.to_json()
        return self._objective.reward(outcome)

    def _default_data(self) -> Data:
        from rlnas.children.datasets import load_data

        return load_data(None, self._dataset, self._run_seed)

    def _fitting(self, space: Space | None, data: Data | None) -> Space:
        """Return the space, or the default one; refuse one for other examples than the data's."""
        if space is None:
            data = data or self._default_data()
            return CHAINS[data.kind](data.input_shape, data.classes)
        if data is not None:
            network = space.reference()
            got = (tuple(network.input_shape), network.classes)
            if got != (data.input_shape, data.classes):
                raise UsageError(
                    f"space: expected one for examples of shape {data.input_shape} and "
                    f"{data.classes} classes, as {data.name} has, got one for {got[0]} and "
                    f"{got[1]}; pass dataset= or an evaluator too"
                )
        return space

    def _default_evaluator(self) -> Evaluator:
        from rlnas.children.runtime import prepare
        from rlnas.evaluation.training import TrainingEvaluator

        prepare(None)  # or the same child would not always train alike
        return TrainingEvaluator(self._data or self._default_data())
