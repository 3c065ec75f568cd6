"""Image chains: a variable-length sequence of layers for classifying images.

Behind the stop comes the head: an image is flattened where it may be, else pooled globally;
then a dense layer with one unit per class and softmax. Flattening comes first because it learns
faster (the reference child on Fashion-MNIST, 6 epochs: 0.926 test accuracy flattened, 0.911
pooled globally); ``globalpool`` can be written.

Besides shapes and caps, rules keep out what is hardly ever worth a training:

- a network begins with a plain convolution, at full resolution up to 64 pixels a side;
- filters never become fewer;
- no pooling follows a pooling;
- dropout stands only behind poolings, flattening and dense layers, never twice in a row;
- an image is flattened only once it was halved twice, and by a token pooled globally only
  behind four convolutions too;
- there are at most two dense layers;
- a network has at least `min_layers` layers and halves its image twice, unless nothing more
  fits.
"""

from collections.abc import Sequence
from math import ceil
from typing import Any, ClassVar

from rlnas.cost import (
    IMAGE_TYPES,
    Flatten,
    GlobalPool,
    Layer,
    Shape,
    layer_cost,
    network_cost,
)
from rlnas.errors import SpaceError
from rlnas.spaces.canonical import canonical_layers
from rlnas.spaces.chain import STOP, ChainSpace, State, longer
from rlnas.spaces.choices import DEFAULT_CHOICES, whole_number
from rlnas.spaces.fitting import Ground, usual_choices
from rlnas.spaces.plain import plain_network
from rlnas.spaces.rules import IMAGE_ENDS, fits_shape, may_follow, may_step

__all__ = ["STOP", "ImageSpace"]

_MOST_FLAT = 1_000_000
"""Parameters up to which the reference child is flattened, as many as `max_params` is (chosen)."""
_SMALL = 64
"""Pixels of the longer side up to which the first convolution does not stride (chosen)."""


class ImageSpace(ChainSpace):
    """Chains of image layers below caps on parameters, FLOPs and activations.

    Poolings and strides leave at least two pixels of each side (one pixel is what
    global pooling is for), dense layers need a flat input and never grow. The cap on the FLOPs is
    by default four times those of the reference child: with twice, two convolutions at each
    resolution do not fit (`docs/benchmarks.md`, "Every kind of data").
    That on the activations is three times (chosen), and a network has at least 4 layers (chosen).
    Arguments are those of `ChainSpace`; an example has the shape ``(height, width, channels)``.

    The reference child is three 3x3 convolutions with batch normalisation and 32, 64 and 128
    filters, a 2x2 max pooling behind the first two, then flattened: the plain network of many
    tutorials. Where the choices were changed, each value gives way to the nearest choice.
    """

    name = "image"
    types = IMAGE_TYPES
    default_choices: ClassVar[dict[str, tuple[Any, ...]]] = DEFAULT_CHOICES
    fewest = 4

    def _checked_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        sizes = tuple(shape) if isinstance(shape, Sequence) else ()
        if len(sizes) != 3:
            raise SpaceError(f"an image needs the shape (height, width, channels), got {shape!r}")
        plain = tuple(whole_number("a size of the input shape", size) for size in sizes)
        self._flat_size = tuple(max(2, ceil(ceil(size / 2) / 2)) for size in plain[:2])
        return plain

    def _reference_layers(self) -> tuple[Layer, ...]:
        body = plain_network(self.input_shape, self.choices)
        shape: Shape = self.input_shape
        for layer in body:
            shape, _ = layer_cost(layer, shape)
        flattened = (*body, Flatten())
        params = network_cost(flattened, self.input_shape, self.classes).params
        return flattened if self._halved_twice(shape) and params <= _MOST_FLAT else body

    def _may_follow(self, kind: str, layers: tuple[Layer, ...], shape: Shape) -> bool:
        if not may_follow(kind, layers):
            return False
        if kind in IMAGE_ENDS and not self._halved_twice(shape):
            return False
        return fits_shape(kind, shape)

    def _may_end(self, shape: Shape) -> bool:
        """Tell whether this is no longer a large image."""
        return len(shape) == 1 or self._halved_twice(shape)

    def _worthwhile(self, kind: str, field: str, ground: Ground) -> tuple[Any, ...]:
        choices = usual_choices(self.choices, kind, field, ground)
        if field != "stride":
            return choices
        small = ground.first and max(ground.shape[:2]) <= _SMALL
        worthwhile = (min(choices),) if small else choices
        return tuple(each for each in worthwhile if may_step(each, ground.shape))

    def _end(self, state: State) -> tuple[Layer, ...]:
        """Return Flatten where it may be written, or nothing."""
        shape = state.ground.shape
        image = len(shape) == 3 and self._halved_twice(shape)
        may = image and self._fitting.completable("flatten", state.ground, state.cost)
        return (Flatten(),) if may else ()

    def _canonical(self, layers: Sequence[Layer]) -> Sequence[Layer]:
        return canonical_layers(layers, self.input_shape)

    def _to_write(self, layers: Sequence[Layer]) -> Sequence[Layer]:
        """Return the layers that must be written: the stop flattens, or must be kept from it."""
        if len(layers) > self.min_layers and self._flattening(layers[:-1]) == tuple(layers[-1:]):
            return tuple(layers[:-1])
        return (*layers, GlobalPool()) if self._flattening(layers) else tuple(layers)

    def _flattening(self, layers: Sequence[Layer]) -> tuple[Layer, ...]:
        """Return what the stop adds behind these layers: Flatten where it may be, or nothing."""
        state = self._nothing()
        for layer in layers:
            state = longer(state, layer)
        return self._end(state)

    def _halved_twice(self, shape: Shape) -> bool:
        return all(now <= small for now, small in zip(shape, self._flat_size, strict=False))
