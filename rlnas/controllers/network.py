"""The networks of the controllers in Keras: LSTM layers over the tokens so far, one head.

They learn from whole trajectories here; single steps, to act, are taken in `reading`.
Letters: B trajectories, T steps, V entries of the vocabulary, U units.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rlnas.children.backend import keras
from rlnas.children.weights import save_weights
from rlnas.controllers.anchors import AnchorPoints, DensityPull, Switches
from rlnas.controllers.losses import (
    Tensor,
    clipped_policy_gradient_loss,
    entropy_bonus,
    log_prob_of,
    masked_log_softmax,
    policy_entropy,
    policy_gradient_loss,
)
from rlnas.controllers.lstm import LSTM
from rlnas.controllers.presets import Settings, Shape
from rlnas.controllers.reading import Attention, Cell, PositionWeights, Weights
from rlnas.controllers.vocabulary import Batch
from rlnas.errors import RunError

_INITIAL_RANGE = 0.08
"""Weights start uniform within plus and minus this: Zoph & Le 2016, section 4.1."""


class SequenceNetwork:
    """A network over token sequences, and its optimizer.

    Neither making nor using it draws from any global source of randomness.

    Args:
        model: With all weights zero; its `compute_loss` says what it learns.
        shape: What it was made by.
        learning_rate: Of Adam.
        clip_norm: Largest global norm of the gradient; None for no clipping.
        rng: Source of the initial weights.
    """

    def __init__(
        self,
        model: Any,
        shape: Shape,
        learning_rate: float,
        clip_norm: float | None,
        rng: np.random.Generator,
    ) -> None:
        """See the class."""
        self._model, self._shape = model, shape
        self._looks_back = len(model.inputs) > 1
        self._optimizer = _Adam(learning_rate, global_clipnorm=clip_norm, name="adam")
        self._optimizer.build(self._model.trainable_variables)
        self._model.compile(self._optimizer)
        for variable in self._model.trainable_variables:
            variable.assign(rng.uniform(-_INITIAL_RANGE, _INITIAL_RANGE, variable.shape))

    def weights(self) -> Weights | PositionWeights:
        """Return a copy of the weights, to act by."""
        variables = [
            np.asarray(variable).astype(np.float64) for variable in self._model.trainable_variables
        ]
        if self._shape.factorised:
            return PositionWeights(variables[0])
        attention = None
        if self._looks_back:
            *variables, before, now, score = variables
            attention = Attention(before, now, score)
        embedding, *cells, head, head_bias = variables
        layers = tuple(Cell(*cells[first : first + 3]) for first in range(0, len(cells), 3))
        return Weights(
            inputs=embedding @ layers[0].kernel + layers[0].bias,
            cells=layers,
            head=head,
            head_bias=head_bias,
            attention=attention,
            squash=self._shape.squash,
        )

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


class _PolicyModel(keras.Model):  # type: ignore[misc]
    """Logits of whole trajectories, trained by policy gradient."""

    entropy_weight = 0.0
    clip: float | None = None
    pull: DensityPull | None = None

    def train_step(self, *given: Any) -> Any:
        """Take `epochs` steps on the batch, all in one call of the compiled function."""
        *state, data = given  # JAX hands the state in and takes it back
        step, epochs = super().train_step, data[1]["epochs"]
        if state:
            done = step(*state, data)
            return keras.ops.fori_loop(1, epochs, lambda _, made: step(made[1], data), done)

        def body(number: Tensor) -> Tensor:
            step(data)
            return number + 1

        keras.ops.while_loop(lambda number: number < epochs, body, keras.ops.zeros_like(epochs))
        return self.get_metrics_result()

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
        if self.clip is None:
            loss = policy_gradient_loss(log_p_t, y["action"], y["advantage"], y["weight"])
        else:
            loss = _clipped_loss(log_p_t, y, self.clip)
        bonus = entropy_bonus(entropy_t, y["weight"])
        self.policy_loss.update_state(loss)
        self.entropy.update_state(bonus / keras.ops.mean(keras.ops.sum(y["weight"], axis=-1)))
        if self.pull is not None:
            loss = loss + self.pull.loss(log_p_t, y["mask"], y["weight"])
        if "entropy_weight" in y:
            return loss - keras.ops.mean(y["entropy_weight"]) * bonus
        return loss - self.entropy_weight * bonus


class PolicyNetwork(SequenceNetwork):
    """The weights of a policy, which learns by policy gradient.

    Args:
        vocabulary: V.
        steps: T.
        settings: How it learns.
        rng: Source of the initial weights.
        clip: How far the ratio of probabilities may go from 1, for the clipped loss of PPO;
            None for the plain policy gradient.
        switches: Of each decision that looks back, the entries for off and on.
    """

    def __init__(
        self,
        vocabulary: int,
        steps: int,
        settings: Settings,
        rng: np.random.Generator,
        clip: float | None = None,
        switches: Switches = (),
    ) -> None:
        """See the class."""
        model = sequence_model(_PolicyModel, vocabulary, steps, settings.shape, switches)
        if settings.density is not None:
            model.pull = DensityPull(switches, vocabulary, settings.density, settings.density_pull)
        model.policy_loss, model.entropy = _Latest("policy_loss"), _Latest("entropy")
        model.entropy_weight, model.clip = settings.entropy, clip
        super().__init__(model, settings.shape, settings.learning_rate, settings.clip_norm, rng)

    def update(self, batch: Batch, *, epochs: int = 1) -> dict[str, float]:
        """Take steps of the optimizer on one batch; return the figures of the last.

        Args:
            batch: ``entry`` int32[B, T], what was read at each step; ``action``
                int32[B, T], what was chosen; ``mask`` int8[B, T, V]; ``weight``
                float32[B, T]; ``advantage`` float32[B]; ``temperature`` float32[B],
                by which the logits were divided when the tokens were drawn; and ``anchor``
                as `Vocabulary.batch` returns it.
            epochs: Number of steps.

        Returns:
            ``policy_loss``, ``entropy`` (nats per decision) and ``gradient_norm`` (before
            clipping).
        """
        given = {**batch, "epochs": np.int32(epochs)}
        read = [batch["entry"], batch["anchor"]] if self._looks_back else batch["entry"]
        figures = self._model.train_on_batch(read, given, return_dict=True)
        return {
            "policy_loss": float(figures["policy_loss"]),
            "entropy": float(figures["entropy"]),
            "gradient_norm": float(self._optimizer.gradient_norm),
        }


def _clipped_loss(log_p_t: Tensor, y: Any, clip: float) -> Tensor:
    """Return PPO's loss, and what imitation adds: rows that are to be made more likely."""
    loss = clipped_policy_gradient_loss(
        log_p_t, y["action"], y["log_prob"], y["advantage"], y["weight"], clip=clip
    )
    log_p_trajectory = keras.ops.sum(y["weight"] * log_prob_of(log_p_t, y["action"]), axis=-1)
    return loss - keras.ops.mean(y["imitation"] * log_p_trajectory)


class _PositionLogits(keras.layers.Layer):  # type: ignore[misc]
    """Logits that depend on the position alone."""

    def __init__(self, steps: int, vocabulary: int) -> None:
        super().__init__(name="positions")
        self._logits = self.add_weight(
            shape=(steps, vocabulary), initializer="zeros", name="logits"
        )

    def call(self, entry_t: Tensor) -> Tensor:
        zeros = keras.ops.cast(0 * entry_t, self._logits.dtype)
        return zeros[..., None] + self._logits[None]


def sequence_model(
    kind: type[Any], vocabulary: int, steps: int, shape: Shape, switches: Switches = ()
) -> Any:
    """Return a network with all weights zero, so that no initializer draws a seed.

    Args:
        kind: The model's class.
        vocabulary: V.
        steps: T.
        shape: Its layers.
        switches: Of each decision that looks back, the entries for off and on, which get their
            logits by attention. The network then reads the anchors beside the entries.
    """
    layers = keras.layers
    if shape.factorised:
        entry_t = keras.Input((steps,), dtype="int32", name="entry")
        return kind(entry_t, _PositionLogits(steps, vocabulary)(entry_t), name="policy")
    # Each layer is named, or Keras would number them and no two controllers agree on the names.
    entry_t = keras.Input((None,), dtype="int32", name="entry")
    output_t = layers.Embedding(
        vocabulary, shape.units, embeddings_initializer="zeros", name="embedding"
    )(entry_t)
    for number in range(1, shape.layers + 1):
        output_t = LSTM(shape.units, name=f"lstm_{number}")(output_t)
    logits_t = layers.Dense(vocabulary, kernel_initializer="zeros", name="softmaxes")(output_t)
    given: Any = entry_t
    if switches:
        anchor_t = keras.Input((None,), dtype="int32", name="anchor")
        attend = AnchorPoints(switches, vocabulary, shape.units)
        logits_t, given = attend(logits_t, output_t, anchor_t), [entry_t, anchor_t]
    if shape.squash is not None:
        most, temperature = shape.squash
        logits_t = most * keras.ops.tanh(logits_t / temperature)
    return kind(given, logits_t, name="policy")
