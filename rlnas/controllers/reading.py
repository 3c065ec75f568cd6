"""The policy network once more, for a single step and without Keras: how a controller acts.

Keras owns the weights and learns; to act, a copy of them is read by the equations of the
LSTM (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000) in
NumPy. That is several times as fast as a Keras call on networks of this size
(0.06 against 0.44 ms a token), and its bits depend neither on the number of threads, nor
on the backend, nor on how many episodes are under way. A test holds it against Keras.

Letters: V entries of the vocabulary, U units.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Cell:
    """The weights of one LSTM layer; gates in Keras's order: input, forget, candidate, output.

    Attributes:
        kernel: float64[U, 4U], for the input.
        recurrent: float64[U, 4U], for the layer's own last output.
        bias: float64[4U].
    """

    kernel: Floats
    recurrent: Floats
    bias: Floats


@dataclass(frozen=True, slots=True)
class Attention:
    """The weights with which a decision looks back at an earlier part.

    Attributes:
        before: float64[U, U], for the output behind that part.
        now: float64[U, U], for the output now.
        score: float64[U].
    """

    before: Floats
    now: Floats
    score: Floats


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of the policy.

    Attributes:
        inputs: float64[V, 4U], what each entry gives to the gates of the lowest layer, its bias
            included.
        cells: The LSTM layers, from the bottom.
        head: float64[U, V], the softmaxes of all decisions side by side.
        head_bias: float64[V].
        squash: As in `Shape`.
        attention: Where decisions look back, by what.
    """

    inputs: Floats
    cells: tuple[Cell, ...]
    head: Floats
    head_bias: Floats
    squash: tuple[float, float] | None = None
    attention: Attention | None = None


@dataclass(frozen=True, slots=True)
class PositionWeights:
    """Logits of a policy that knows the position alone.

    Attributes:
        logits: float64[T, V].
    """

    logits: Floats


Memory = tuple[tuple[Floats, Floats], ...]
"""Output and cell state of each layer, float64[U] each."""

_HALVED = np.array([[0.5], [0.5], [1.0], [0.5]])
_RAISED = np.array([[0.5], [0.5], [0.0], [0.5]])
"""What makes sigmoids of the hyperbolic tangents of all gates but the candidate."""


def no_memory(weights: Weights) -> Memory:
    """Return the memory before the first step."""
    return tuple((np.zeros(len(cell.kernel)),) * 2 for cell in weights.cells)


def read(weights: Weights, entry: int, memory: Memory) -> tuple[Floats, Memory]:
    """Read one entry of the vocabulary; return the logits of what comes next, and the memory.

    Args:
        weights: The policy.
        entry: What was chosen last.
        memory: That of the step before.

    Returns:
        float64[V], and the new memory.
    """
    signal, given, remembered = np.zeros(0), weights.inputs[entry], []
    for number, (cell, (output, state)) in enumerate(zip(weights.cells, memory, strict=True)):
        if number:
            given = signal @ cell.kernel + cell.bias
        gates = (given + output @ cell.recurrent).reshape(4, -1)
        gates *= _HALVED
        np.tanh(gates, out=gates)
        # sigmoid(x) = (1 + tanh(x / 2)) / 2, which cannot overflow.
        opened, kept, candidate, shown = gates * _HALVED + _RAISED
        state = kept * state + opened * candidate
        signal = shown * np.tanh(state)
        remembered.append((signal, state))
    return _squashed(weights, signal @ weights.head + weights.head_bias), tuple(remembered)


def look_back(weights: Weights, behind: Memory, now: Memory) -> Floats:
    """Return the logits of leaving an earlier part aside and of taking it, float64[2].

    Args:
        weights: The policy, with attention.
        behind: The memory behind that part.
        now: The memory now.
    """
    attention = weights.attention
    if attention is None:
        raise ValueError("look_back() needs a policy with attention")
    before, here = behind[-1][0], now[-1][0]
    score = np.tanh(before @ attention.before + here @ attention.now) @ attention.score
    return _squashed(weights, np.array([0.0, score]))


def _squashed(weights: Weights, logits: Floats) -> Floats:
    if weights.squash is None:
        return logits
    most, temperature = weights.squash
    squashed: Floats = most * np.tanh(logits / temperature)
    return squashed
