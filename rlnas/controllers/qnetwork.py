"""The Q-network of the DQN controller: what an architecture may still earn behind a token.

Letters: B episodes, T steps, V entries of the vocabulary.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from rlnas.children.backend import keras
from rlnas.controllers.losses import Tensor
from rlnas.controllers.network import SequenceNetwork, sequence_model
from rlnas.controllers.presets import Shape
from rlnas.controllers.vocabulary import Batch

Floats = npt.NDArray[Any]


class _QModel(keras.Model):  # type: ignore[misc]
    """Values of tokens, trained towards targets by the Huber loss (Mnih et al. 2015)."""

    def compute_loss(
        self,
        x: Tensor | None = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Tensor | None = None,
        training: bool = True,
    ) -> Tensor:
        chosen_t = keras.ops.one_hot(y["action"], y_pred.shape[-1], dtype=y_pred.dtype)
        error_t = keras.ops.sum(chosen_t * y_pred, axis=-1) - y["target"]
        size_t = keras.ops.abs(error_t)
        small_t = keras.ops.minimum(size_t, 1.0)
        huber_t = small_t * (size_t - 0.5 * small_t)
        return keras.ops.sum(y["weight"] * huber_t) / keras.ops.sum(y["weight"])


class QNetwork(SequenceNetwork):
    """A Q-network over token prefixes, and the older copy of it that gives its targets.

    Args:
        vocabulary: V.
        steps: T.
        learning_rate: Of Adam.
        rng: Source of the initial weights.
    """

    def __init__(
        self, vocabulary: int, steps: int, learning_rate: float, rng: np.random.Generator
    ) -> None:
        """See the class."""
        shape = Shape()
        super().__init__(
            sequence_model(_QModel, vocabulary, steps, shape), shape, learning_rate, 5.0, rng
        )
        self._target = sequence_model(_QModel, vocabulary, steps, shape)
        self.copy()

    def copy(self) -> None:
        """Make the target network equal to the one that learns."""
        for target, variable in zip(
            self._target.trainable_variables, self._model.trainable_variables, strict=True
        ):
            target.assign(variable)

    def update(self, batch: Batch, rewards: Floats, *, steps: int) -> float:
        """Take steps of the optimizer towards backward targets; return the last loss.

        Args:
            batch: As `Vocabulary.batch` returns it.
            rewards: float32[B], of the last step of each episode.
            steps: How many, each on an equal part of the batch.
        """
        online = np.asarray(self._model.predict_on_batch(batch["entry"]))
        older = np.asarray(self._target.predict_on_batch(batch["entry"]))
        batch = {**batch, "target": backward_targets(online, older, batch, rewards)}
        for part in np.split(np.arange(len(rewards)), steps):
            rows = {name: array[part] for name, array in batch.items()}
            figures = self._model.train_on_batch(rows["entry"], rows, return_dict=True)
        return float(figures["loss"])

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return copies of all variables of both networks and the optimizer."""
        older = {
            f"target/{variable.path}": np.asarray(variable).copy()
            for variable in self._target.trainable_variables
        }
        return {**super().state(), **older}

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Set all variables.

        Raises:
            RunError: The names or shapes are those of another network.
        """
        super().load({path: value for path, value in state.items() if "target/" not in path})
        for variable in self._target.trainable_variables:
            variable.assign(state[f"target/{variable.path}"])


def backward_targets(online: Floats, older: Floats, batch: Batch, rewards: Floats) -> Floats:
    """Return what the value of each chosen token should be, float32[B, T], with gamma 1.

    An episode is replayed from its end: the last token is worth the reward, each earlier one
    what the best token behind it is worth. The best is chosen by the network that learns and
    valued by the older one (van Hasselt et al. 2016), save for the token that was chosen in
    the episode, whose value is the target that was just found (Lee et al. 2019, "Sample-
    Efficient Deep Reinforcement Learning via Episodic Backward Update", with beta 1), so that
    a reward reaches the first token in one replay.

    Args:
        online: float32[B, T, V], values of the network that learns.
        older: float32[B, T, V], values of the target network.
        batch: ``action`` int32[B, T], ``mask`` int8[B, T, V], ``weight`` float32[B, T].
        rewards: float32[B].
    """
    rows = np.arange(len(rewards))
    targets: Floats = np.zeros(batch["weight"].shape, dtype=np.float32)
    value = rewards.astype(np.float32)  # of what was chosen at the step behind
    for t in reversed(range(targets.shape[1])):
        here = batch["weight"][:, t] > 0
        targets[:, t] = np.where(here, value, 0.0)
        # What the step before should be worth: the best of what may be chosen here.
        action = batch["action"][:, t]
        chosen = np.where(batch["mask"][:, t] > 0, online[:, t], -np.inf)
        chosen[rows, action] = np.where(here, value, chosen[rows, action])
        best = chosen.argmax(axis=1)
        worth = np.where(best == action, value, older[rows, t, best])
        value = np.where(here, worth, value)
    return targets
