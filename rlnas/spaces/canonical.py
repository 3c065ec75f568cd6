"""One canonical form for each image network, so that equal networks have equal keys.

Two sequences are one network when they compute the same function from the same
weights. The rules, each of them checked on real Keras models by a test:

1. dropout with rate 0 does nothing;
2. on at most 2x2 pixels, pooling over 3x3 sees what pooling over 2x2 sees;
3. average pooling down to one pixel, then global pooling, is global pooling;
4. on one pixel, flattening is global pooling;
5. dropout before flattening is dropout behind it;
6. the head pools globally by itself, so a global pooling in front of it says nothing new.
"""

from collections.abc import Sequence

from rlnas.cost import (
    AveragePool,
    Dropout,
    Flatten,
    GlobalPool,
    Layer,
    MaxPool,
    Shape,
    describe,
    layer_cost,
)


def canonical_layers(layers: Sequence[Layer], input_shape: Shape) -> tuple[Layer, ...]:
    """Return the canonical form of a chain of layers.

    Args:
        layers: The layers before the head.
        input_shape: ``(height, width, channels)`` of one example.
    """
    kept: list[Layer] = []
    shape = input_shape
    for layer in layers:
        behind, _ = layer_cost(layer, shape)
        if not (isinstance(layer, Dropout) and layer.rate == 0):
            _append(kept, _on_shape(layer, shape), shape)
        shape = behind
    if len(shape) == 3:
        _append(kept, GlobalPool(), shape)
    if kept and isinstance(kept[-1], GlobalPool):
        kept.pop()
    return tuple(kept)


def canonical_text(layers: Sequence[Layer]) -> str:
    """Return canonical layers as one line of text, the key of the architecture."""
    return " > ".join(describe(layer) for layer in layers) or "(head only)"


def _on_shape(layer: Layer, shape: Shape) -> Layer:
    if isinstance(layer, MaxPool | AveragePool) and max(shape[:2]) <= 2:
        return type(layer)(size=2)
    if isinstance(layer, Flatten) and shape[:2] == (1, 1):
        return GlobalPool()
    return layer


def _append(kept: list[Layer], layer: Layer, shape: Shape) -> None:
    place = len(kept)
    one_pixel = shape[:2] == (1, 1)
    if isinstance(layer, Flatten) or (isinstance(layer, GlobalPool) and one_pixel):
        while place and isinstance(kept[place - 1], Dropout):
            place -= 1
    pooled = place > 0 and isinstance(kept[place - 1], AveragePool)
    if isinstance(layer, GlobalPool) and one_pixel and pooled:
        # A pooling needs two pixels, so this one saw all there were and made them one.
        place -= 1
        kept.pop(place)
    kept.insert(place, layer)
