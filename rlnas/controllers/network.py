"""The policy network of Zoph & Le 2016 in Keras: two LSTM layers over the tokens so far.

It learns from whole trajectories here; single steps, to act, are taken in `reading`.
Letters: B trajectories, T steps, V entries of the vocabulary, U units.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rlnas.children.backend import keras
from rlnas.children.weights import save_weights
from rlnas.controllers.losses import (
    Tensor,
    entropy_bonus,
    masked_log_softmax,
    policy_entropy,
    policy_gradient_loss,
)
from rlnas.controllers.presets import Settings
from rlnas.controllers.reading import Cell, Weights
from rlnas.errors import RunError

UNITS = 35
"""Units of each LSTM layer and of the embedding: Zoph & Le 2016, section 4.1; that the
embedding has as many is chosen."""

_INITIAL_RANGE = 0.08
"""Weights start uniform within plus and minus this: Zoph & Le 2016, section 4.1."""

Batch = dict[str, npt.NDArray[Any]]


class PolicyNetwork:
    """The policy's weights and their optimizer.

    Neither making nor using it draws from any global source of randomness.

    Args:
        vocabulary: V.
        settings: How it learns.
        rng: Source of the initial weights.
    """

    def __init__(self, vocabulary: int, settings: Settings, rng: np.random.Generator) -> None:
        """See the class."""
        self._model = _sequence_model(vocabulary)
        self._model.entropy_weight = settings.entropy
        self._optimizer = _Adam(
            settings.learning_rate, global_clipnorm=settings.clip_norm, name="adam"
        )
        self._optimizer.build(self._model.trainable_variables)
        self._model.compile(self._optimizer)
        for variable in self._model.trainable_variables:
            variable.assign(rng.uniform(-_INITIAL_RANGE, _INITIAL_RANGE, variable.shape))

    def weights(self) -> Weights:
        """Return a copy of the weights, to act by."""
        variables = self._model.trainable_variables
        embedding, *cells, head, head_bias = [
            np.asarray(variable).astype(np.float64) for variable in variables
        ]
        return Weights(
            embedding=embedding,
            cells=tuple(
                Cell(np.concatenate([kernel, recurrent_kernel]), bias)
                for kernel, recurrent_kernel, bias in (cells[:3], cells[3:])
            ),
            head=head,
            head_bias=head_bias,
        )

    def update(self, batch: Batch) -> dict[str, float]:
        """Take one step of the optimizer.

        Args:
            batch: ``entry`` int32[B, T], what was read at each step; ``action``
                int32[B, T], what was chosen; ``mask`` int8[B, T, V]; ``weight``
                float32[B, T]; ``advantage`` float32[B]; ``temperature`` float32[B],
                by which the logits were divided when the tokens were drawn.

        Returns:
            ``policy_loss``, ``entropy`` (nats per decision) and ``gradient_norm`` (before
            clipping).
        """
        figures = self._model.train_on_batch(batch["entry"], batch, return_dict=True)
        return {
            "policy_loss": float(figures["policy_loss"]),
            "entropy": float(figures["entropy"]),
            "gradient_norm": float(self._optimizer.gradient_norm),
        }

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return copies of all variables of the network and its optimizer, by path."""
        return {variable.path: np.asarray(variable).copy() for variable in self._variables()}

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Set all variables.

        Raises:
            RunError: The names or shapes are those of another network.
        """
        variables = {variable.path: variable for variable in self._variables()}
        expected = {path: tuple(variable.shape) for path, variable in variables.items()}
        got = {path: np.shape(value) for path, value in state.items()}
        if got != expected:
            differing = sorted(got.items() ^ expected.items())[0][0]
            raise RunError(
                f"the saved policy does not fit this one: {differing} has shape "
                f"{got.get(differing)}, expected {expected.get(differing)}; "
                "start a new run or pass the old config"
            )
        for path, variable in variables.items():
            variable.assign(state[path])

    def save_weights(self, path: Path) -> None:
        """Write the weights, without the optimizer, as a Keras ``.weights.h5`` file.

        Raises:
            StorageError: The disk refused.
        """
        save_weights(self._model, path)

    def _variables(self) -> list[Any]:
        return [*self._model.trainable_variables, *self._optimizer.variables]


class _Adam(keras.optimizers.Adam):  # type: ignore[misc]
    """Adam that remembers the global norm of the gradient, as it was before clipping."""

    def build(self, variables: list[Any]) -> None:
        super().build(variables)
        self.gradient_norm = self.add_variable((), dtype="float32", name="gradient_norm")

    def apply(self, grads: list[Tensor], trainable_variables: list[Any] | None = None) -> None:
        squares = [keras.ops.sum(keras.ops.square(grad)) for grad in grads]
        self.gradient_norm.assign(keras.ops.sqrt(sum(squares)))
        super().apply(grads, trainable_variables)


class _Latest(keras.metrics.Metric):  # type: ignore[misc]
    """The value at the last update, where Keras's own metrics average over many."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self._value = self.add_variable((), initializer="zeros", name="value")

    def update_state(self, value: Tensor) -> None:
        self._value.assign(value)

    def result(self) -> Tensor:
        return keras.ops.convert_to_tensor(self._value)


class _SequenceModel(keras.Model):  # type: ignore[misc]
    """Logits of whole trajectories, trained by policy gradient."""

    entropy_weight = 0.0

    def compute_loss(
        self,
        x: Tensor | None = None,
        y: Any = None,
        y_pred: Tensor | None = None,
        sample_weight: Tensor | None = None,
        training: bool = True,
    ) -> Tensor:
        log_p_t = masked_log_softmax(y_pred / y["temperature"][:, None, None], y["mask"])
        entropy_t = policy_entropy(log_p_t)
        loss = policy_gradient_loss(log_p_t, y["action"], y["advantage"], y["weight"])
        bonus = entropy_bonus(entropy_t, y["weight"])
        self.policy_loss.update_state(loss)
        self.entropy.update_state(bonus / keras.ops.mean(keras.ops.sum(y["weight"], axis=-1)))
        return loss - self.entropy_weight * bonus


def _sequence_model(vocabulary: int) -> Any:
    """Return the network with all weights zero, so that no initializer draws a seed."""
    layers = keras.layers
    zeros = {"kernel_initializer": "zeros", "recurrent_initializer": "zeros", "seed": 0}
    # Each layer is named, or Keras would number them and no two controllers agree on the names.
    cells = layers.StackedRNNCells(
        [layers.LSTMCell(UNITS, name=name, **zeros) for name in ("lstm_1", "lstm_2")], name="cells"
    )
    entry_t = keras.Input((None,), dtype="int32", name="entry")
    embedded_t = layers.Embedding(
        vocabulary, UNITS, embeddings_initializer="zeros", name="embedding"
    )(entry_t)
    output_t = layers.RNN(cells, return_sequences=True, name="lstm")(embedded_t)
    logits_t = layers.Dense(vocabulary, kernel_initializer="zeros", name="softmaxes")(output_t)
    model = _SequenceModel(entry_t, logits_t, name="policy")
    model.policy_loss = _Latest("policy_loss")
    model.entropy = _Latest("entropy")
    return model
