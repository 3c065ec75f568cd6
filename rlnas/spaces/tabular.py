"""Chains of dense layers for tables: numbers and categories in columns."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from rlnas.cost import Dense, Dropout, Layer, Shape
from rlnas.errors import SpaceError
from rlnas.spaces.chain import ChainSpace
from rlnas.spaces.choices import nearest, preferred, whole_number
from rlnas.spaces.fitting import Ground

TABULAR_CHOICES: dict[str, tuple[Any, ...]] = {
    "dense.units": (32, 64, 128, 256, 512),
    "dense.activation": ("relu", "elu", "silu", "tanh"),
    "resdense.units": (64, 128, 256, 512),
    "resdense.activation": ("relu", "silu"),
    "resdense.rate": (0.0, 0.1, 0.2, 0.5),
    "dropout.rate": (0.0, 0.1, 0.2, 0.3, 0.5),
}
"""Chosen, after the ranges that Gorishniy et al. 2021 searched, for children of seconds."""


class TabularSpace(ChainSpace):
    """Chains for tables; arguments are those of `ChainSpace`.

    An example has the shape ``(features,)``: a number for each numeric column, and one for each
    category of the others. A network begins with a dense layer; then dense layers do not grow, and
    blocks with a residual connection may stand between them. It has at least 1 layer; the cap on
    the FLOPs is by default thirty times those of the reference child (chosen: it is small).

    The reference child has two dense layers of 128 and 64 units, the second behind a dropout.
    """

    name = "tabular"
    types = ("dense", "resdense", "dropout")
    default_choices: ClassVar[Mapping[str, tuple[Any, ...]]] = TABULAR_CHOICES
    fewest = 1
    flops_factor = 30.0

    def _checked_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        sizes = tuple(shape) if isinstance(shape, Sequence) else ()
        if len(sizes) != 1:
            raise SpaceError(f"a row of a table needs the shape (features,), got {shape!r}")
        return (whole_number("the number of features", sizes[0]),)

    def _reference_layers(self) -> tuple[Layer, ...]:
        choices = self.choices
        activation = preferred(choices, "dense.activation", "relu")
        return (
            Dense(nearest(choices, "dense.units", 128), activation),
            Dropout(nearest(choices, "dropout.rate", 0.1)),
            Dense(nearest(choices, "dense.units", 64), activation),
        )

    def _may_follow(self, kind: str, layers: tuple[Layer, ...], shape: Shape) -> bool:
        if not layers:
            return kind == "dense"
        return kind != "dropout" or layers[-1].kind == "dense"

    def _may_end(self, shape: Shape) -> bool:
        return True

    def _worthwhile(self, kind: str, field: str, ground: Ground) -> tuple[Any, ...]:
        choices = self.choices[f"{kind}.{field}"]
        if (kind, field) == ("dense", "units") and not ground.first:
            return tuple(each for each in choices if each <= ground.shape[0])
        return choices
