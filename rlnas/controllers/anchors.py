"""Decisions that look back: attention over anchor points, and a pull to a density of connections.

Letters: B trajectories, T steps, V entries of the vocabulary, U units.
"""

from typing import Any

import numpy as np

from rlnas.children.backend import keras
from rlnas.controllers.losses import Tensor

Switches = tuple[tuple[int, int], ...]
"""Of each decision that looks back, the entries of the vocabulary for off and on."""

_LEAST = 1e-6
"""Probabilities nearer than this to 0 or 1 are taken for it, so that logarithms are finite."""


class AnchorPoints(keras.layers.Layer):  # type: ignore[misc]
    """Logits of switches by attention over anchor points: Zoph & Le 2016, section 3.3.

    A part of the sequence is taken with the probability ``sigmoid(v tanh(W_prev h_j + W_curr
    h_i))``, h_j the output behind that part, h_i the output now. So the logit of "off" is 0.

    Args:
        switches: Of each decision that looks back, the entries for off and on.
        vocabulary: V.
        units: U.
    """

    def __init__(self, switches: Switches, vocabulary: int, units: int) -> None:
        """See the class."""
        super().__init__(name="anchor_points")
        self._kept, self._on = _columns(switches, vocabulary)
        self._before = self.add_weight((units, units), "zeros", name="before")
        self._now = self.add_weight((units, units), "zeros", name="now")
        self._score = self.add_weight((units,), "zeros", name="score")

    def call(self, logits_t: Tensor, output_t: Tensor, anchor_t: Tensor) -> Tensor:
        """Return all logits, those of switches by attention.

        Args:
            logits_t: float32[B, T, V].
            output_t: float32[B, T, U], of the last LSTM layer.
            anchor_t: int32[B, T], the step behind the part that a switch is about.
        """
        ops = keras.ops
        behind_t = ops.take_along_axis(output_t, anchor_t[..., None], axis=1)
        hidden_t = ops.tanh(ops.matmul(behind_t, self._before) + ops.matmul(output_t, self._now))
        score_t = ops.sum(hidden_t * self._score, axis=-1)
        return logits_t * self._kept + score_t[..., None] * self._on


class DensityPull:
    """Pulls the switches' probabilities to a density: Pham et al. 2018, section 3.2.

    Args:
        switches: Of each decision that looks back, the entries for off and on.
        vocabulary: V.
        density: Share of the switches that should be on.
        weight: Of the KL divergence in the loss.
    """

    def __init__(self, switches: Switches, vocabulary: int, density: float, weight: float) -> None:
        """See the class."""
        kept, self._on = _columns(switches, vocabulary)
        self._both = 1.0 - kept
        self._density, self._weight = density, weight

    def loss(self, log_p_t: Tensor, mask_t: Tensor, weight_t: Tensor) -> Tensor:
        """Return the weighted KL divergence, the mean over all switches that are free.

        Args:
            log_p_t: float32[B, T, V], log-probabilities.
            mask_t: int8[B, T, V], 1 for allowed.
            weight_t: float32[B, T], 0 behind the end of a trajectory.
        """
        ops = keras.ops
        allowed_t = ops.sum(ops.cast(mask_t, log_p_t.dtype) * self._both, axis=-1)
        free_t = weight_t * ops.cast(allowed_t > 1, log_p_t.dtype)  # both may be chosen
        on_t = ops.clip(ops.sum(ops.exp(log_p_t) * self._on, axis=-1), _LEAST, 1 - _LEAST)
        kl_t = on_t * ops.log(on_t / self._density)
        kl_t += (1 - on_t) * ops.log((1 - on_t) / (1 - self._density))
        return self._weight * ops.sum(free_t * kl_t) / ops.maximum(ops.sum(free_t), 1.0)


def _columns(switches: Switches, vocabulary: int) -> tuple[Any, Any]:
    """Return float32[V] twice: 0 at the entries of switches, 1 elsewhere; 1 at those for on."""
    kept = np.ones(vocabulary, dtype=np.float32)
    on = np.zeros(vocabulary, dtype=np.float32)
    for off, switched in switches:
        kept[[off, switched]], on[switched] = 0.0, 1.0
    return kept, on
