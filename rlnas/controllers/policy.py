"""The policy as controllers use it: probabilities of a prefix, whole samples, batches to learn."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rlnas.controllers.network import PolicyNetwork
from rlnas.controllers.presets import Settings
from rlnas.controllers.reader import Reader
from rlnas.controllers.reading import Floats
from rlnas.controllers.sampling import draw, softmax_at
from rlnas.controllers.vocabulary import Batch, Vocabulary
from rlnas.spaces import Space


class Policy:
    """An LSTM policy over the tokens of a space.

    Keras owns the weights and learns; to act, a copy of them is read in NumPy.

    Args:
        space: The grammar.
        settings: How it learns.
        rng: Source of the initial weights.
        clip: As for `PolicyNetwork`.
    """

    def __init__(
        self,
        space: Space,
        settings: Settings,
        rng: np.random.Generator,
        clip: float | None = None,
    ) -> None:
        """See the class."""
        self._space = space
        self._vocabulary = Vocabulary(space)
        self._reader = Reader(self._vocabulary)
        switches = () if settings.shape.factorised else self._vocabulary.switches
        self._network = PolicyNetwork(
            self._vocabulary.size, space.max_tokens, settings, rng, clip, switches
        )
        self._keep_weights()

    def row(self, prefix: tuple[int, ...], mask: Any, temperature: float = 1.0) -> Floats:
        """Return the probabilities of what comes behind a prefix, float64[A].

        Args:
            prefix: The tokens so far.
            mask: int8[A], 1 for allowed.
            temperature: The logits are divided by it.
        """
        (allowed,) = mask.nonzero()
        logits = self._reader.scores(prefix, allowed)
        return softmax_at(logits / temperature, allowed, len(mask))

    def sample(self, rng: np.random.Generator, temperature: float = 1.0) -> tuple[int, ...]:
        """Return a whole architecture drawn from the policy."""
        tokens: tuple[int, ...] = ()
        while self._space.decision(tokens) is not None:
            probabilities = self.row(tokens, self._space.mask(tokens), temperature)
            tokens = (*tokens, draw(probabilities, rng))
        return tokens

    def batch(self, sequences: Sequence[Sequence[int]]) -> Batch:
        """Return what the network reads of whole sequences: entry, action, mask and weight."""
        return self._vocabulary.batch(sequences)

    def update(self, batch: Batch, *, epochs: int = 1) -> dict[str, float]:
        """Take steps of the optimizer on one batch; return the figures of the last.

        Args:
            batch: As `PolicyNetwork.update` takes it.
            epochs: Number of steps.
        """
        figures = self._network.update(batch, epochs=epochs)
        self._keep_weights()
        return figures

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return all variables of network and optimizer, by path."""
        return self._network.state()

    def load(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Set all variables.

        Raises:
            RunError: They are those of another network.
        """
        self._network.load(state)
        self._keep_weights()

    def save_weights(self, path: Path) -> None:
        """Write the weights as a Keras file.

        Raises:
            StorageError: The disk refused.
        """
        self._network.save_weights(path)

    def _keep_weights(self) -> None:
        self._reader.keep(self._network.weights())
