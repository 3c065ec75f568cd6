"""The policy network of Zoph & Le 2016 in Keras: two LSTM layers over the tokens so far.

One set of weights, two models: one takes a single step, to act; the other runs
over whole trajectories, to learn. Letters: B trajectories, T steps, V entries of the
vocabulary, U units.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rlnas.children.backend import keras
from rlnas.controllers.losses import (
    Tensor,
    entropy_bonus,
    masked_log_softmax,
    policy_entropy,
    policy_gradient_loss,
)
from rlnas.controllers.presets import Settings
from rlnas.errors import RunError

UNITS = 35
"""Units of each LSTM layer and of the embedding: Zoph & Le 2016, section 4.1; that the
embedding has as many is chosen."""

_INITIAL_RANGE = 0.08
"""Weights start uniform within plus and minus this: Zoph & Le 2016, section 4.1."""

Floats = npt.NDArray[np.float32]
Batch = dict[str, npt.NDArray[Any]]


class PolicyNetwork:
    """The policy's weights, its optimizer, and the two models on them.

    Neither making nor using it draws from any global source of randomness.

    Args:
        vocabulary: V.
        settings: How it learns.
        rng: Source of the initial weights.
    """

    def __init__(self, vocabulary: int, settings: Settings, rng: np.random.Generator) -> None:
        """See the class."""
        embedding, cells, head = _layers(vocabulary)
        self._step_model = _step_model(embedding, cells, head)
        self._model = _sequence_model(embedding, cells, head)
        self._model.entropy_weight = settings.entropy
        self._optimizer = _Adam(
            settings.learning_rate, global_clipnorm=settings.clip_norm, name="adam"
        )
        self._optimizer.build(self._model.trainable_variables)
        self._model.compile(self._optimizer)
        for variable in self._model.trainable_variables:
            variable.assign(rng.uniform(-_INITIAL_RANGE, _INITIAL_RANGE, variable.shape))

    def step(self, entry: int, memory: Floats) -> tuple[Floats, Floats]:
        """Read one entry of the vocabulary.

        One sequence at a time, because the last bits of a matrix product depend on how
        many rows it has: so the result depends on the arguments alone.

        Args:
            entry: What was chosen last.
            memory: float32[4U] from the step before; `no_memory` at the start.

        Returns:
            float32[V], the logits of what comes next, and the new memory.
        """
        inputs = {"entry": np.array([entry], dtype=np.int32), "memory": memory[None]}
        outputs = self._step_model.predict_on_batch(inputs)
        return outputs["logits"][0], outputs["memory"][0]

    @staticmethod
    def no_memory() -> Floats:
        """Return the memory before the first step."""
        return np.zeros(4 * UNITS, dtype=np.float32)

    def update(self, batch: Batch) -> dict[str, float]:
        """Take one step of the optimizer.

        Args:
            batch: ``entry`` int32[B, T], what was read at each step; ``action``
                int32[B, T], what was chosen; ``mask`` int8[B, T, V]; ``weight``
                float32[B, T]; ``advantage`` float32[B].

        Returns:
            ``policy_loss``, ``entropy`` (nats per decision) and ``gradient_norm`` (before
            clipping).
        """
        self._model.reset_metrics()
        figures = self._model.train_on_batch(batch["entry"], batch, return_dict=True)
        return {
            "policy_loss": float(figures["policy_loss"]),
            "entropy": float(figures["entropy"]),
            "gradient_norm": float(self._optimizer.gradient_norm),
        }

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return copies of all variables of the network and its optimizer, by path."""
        return {
            variable.path: np.array(keras.ops.convert_to_numpy(variable))
            for variable in self._variables()
        }

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
        """Write the weights, without the optimizer, as a Keras ``.weights.h5`` file."""
        self._model.save_weights(path)

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
        log_p_t = masked_log_softmax(y_pred, y["mask"])
        entropy_t = policy_entropy(log_p_t)
        loss = policy_gradient_loss(log_p_t, y["action"], y["advantage"], y["weight"])
        self.policy_loss.update_state(loss)
        self.entropy.update_state(entropy_t, sample_weight=y["weight"])
        return loss - self.entropy_weight * entropy_bonus(entropy_t, y["weight"])


def _layers(vocabulary: int) -> tuple[Any, list[Any], Any]:
    """Return embedding, LSTM cells and head; all zero, so that no initializer draws a seed."""
    layers = keras.layers
    embedding = layers.Embedding(
        vocabulary, UNITS, embeddings_initializer="zeros", name="embedding"
    )
    cells = [
        layers.LSTMCell(
            UNITS,
            kernel_initializer="zeros",
            recurrent_initializer="zeros",
            seed=0,
            name=name,
        )
        for name in ("lstm_1", "lstm_2")
    ]
    return embedding, cells, layers.Dense(vocabulary, kernel_initializer="zeros", name="softmaxes")


def _sequence_model(embedding: Any, cells: list[Any], head: Any) -> Any:
    entries = keras.Input((None,), dtype="int32", name="entry")
    rnn = keras.layers.RNN(cells, return_sequences=True, name="lstm")
    model = _SequenceModel(entries, head(rnn(embedding(entries))), name="policy")
    model.policy_loss = keras.metrics.Mean(name="policy_loss")
    model.entropy = keras.metrics.Mean(name="entropy")
    return model


def _step_model(embedding: Any, cells: list[Any], head: Any) -> Any:
    entry = keras.Input((), dtype="int32", name="entry")
    memory = keras.Input((4 * UNITS,), name="memory")
    h_1, c_1, h_2, c_2 = keras.ops.split(memory, 4, axis=-1)
    out, (h_1, c_1) = cells[0](embedding(entry), [h_1, c_1])
    out, (h_2, c_2) = cells[1](out, [h_2, c_2])
    outputs = {
        "logits": head(out),
        "memory": keras.ops.concatenate([h_1, c_1, h_2, c_2], axis=-1),
    }
    return keras.Model({"entry": entry, "memory": memory}, outputs, name="policy_step")
