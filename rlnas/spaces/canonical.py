"""One canonical form for each image network, so that equal networks have equal keys.

Two sequences are one network when they compute the same function from the same weights
and drop out alike. The rules, each of them checked on real Keras models by a test:

1. dropout with rate 0 does nothing;
2. dropouts one behind the other may change places;
3. poolings whose windows hold the same pixels are one pooling, whatever their sizes;
4. max poolings in a row that end on one pixel find the largest of all, whatever their sizes;
5. average pooling that weighs all pixels alike, then global pooling, is global pooling;
6. on one pixel, flattening is global pooling;
7. dropout before flattening, or before global pooling on one pixel, is dropout behind it;
8. the head pools globally by itself, so a global pooling in front of it says nothing new.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import ceil

from rlnas.cost import (
    AveragePool,
    Dropout,
    Flatten,
    GlobalPool,
    KerasLayer,
    Layer,
    MaxPool,
    Shape,
    describe,
    layer_cost,
)

_Placed = tuple[Layer, Shape]
"""A layer and the shape of its input."""


def canonical_layers(layers: Sequence[Layer], input_shape: Shape) -> tuple[Layer, ...]:
    """Return the canonical form of a chain of layers.

    Args:
        layers: The layers before the head.
        input_shape: ``(height, width, channels)`` of one example.
    """
    kept: list[_Placed] = []
    shape = input_shape
    for layer in layers:
        _append(kept, layer, shape)
        shape, _ = layer_cost(layer, shape)
    if len(shape) == 3:
        _append(kept, GlobalPool(), shape)
    if kept and isinstance(kept[-1][0], GlobalPool):
        kept.pop()
    return tuple(layer for layer, _ in kept)


def is_idle(layer: Layer) -> bool:
    """Tell whether a layer does nothing: a dropout that drops nothing."""
    if isinstance(layer, KerasLayer):
        return "Dropout" in layer.name and dict(layer.options).get("rate") == 0
    return isinstance(layer, Dropout) and layer.rate == 0


def canonical_text(layers: Sequence[Layer]) -> str:
    """Return canonical layers as one line of text, the key of the architecture."""
    return " > ".join(describe(layer) for layer in layers) or "(head only)"


def _append(kept: list[_Placed], layer: Layer, shape: Shape) -> None:
    match layer:
        case Dropout():
            _append_dropout(kept, layer, shape)
        case Flatten() if shape[:2] != (1, 1):
            kept.insert(_before_dropout(kept), (layer, shape))
        case Flatten() | GlobalPool():
            _append_global_pool(kept, shape)
        case MaxPool() | AveragePool():
            kept.append((smallest_pooling(layer, shape), shape))
            if max(shape[:2]) <= 2:
                _shrink_max_pools(kept)
        case _:
            kept.append((layer, shape))


def _append_dropout(kept: list[_Placed], layer: Dropout, shape: Shape) -> None:
    if is_idle(layer):
        return
    place = len(kept)
    while place and isinstance(earlier := kept[place - 1][0], Dropout):
        if earlier.rate <= layer.rate:
            break
        place -= 1
    kept.insert(place, (layer, shape))


def _append_global_pool(kept: list[_Placed], shape: Shape) -> None:
    place = _before_dropout(kept) if shape[:2] == (1, 1) else len(kept)
    while place:
        pool, wider = kept[place - 1]
        if not (isinstance(pool, AveragePool) and _weighs_alike(pool.size, wider)):
            break
        place, shape = place - 1, wider
        kept.pop(place)
    kept.insert(place, (GlobalPool(), shape))


def _before_dropout(kept: list[_Placed]) -> int:
    """Return the place behind the last layer that is no dropout."""
    place = len(kept)
    while place and isinstance(kept[place - 1][0], Dropout):
        place -= 1
    return place


def smallest_pooling(layer: Layer, shape: Shape) -> Layer:
    """Return the smallest pooling whose windows hold the same pixels; other layers as they are.

    Args:
        layer: The layer.
        shape: Shape of its input.
    """
    if not isinstance(layer, MaxPool | AveragePool):
        return layer
    pool, sides = layer, [_short(side, layer.size) for side in shape[:2]]
    wanted = [_windows(side, pool.size) for side in sides]
    for size in range(2, min(pool.size, 2 * max(sides) + 1)):
        if [_windows(side, size) for side in sides] == wanted:
            return type(pool)(size)
    return pool


def _shrink_max_pools(kept: list[_Placed]) -> None:
    """Give the max poolings at the end, which lead to one pixel, the smallest size."""
    for place in reversed(range(len(kept))):
        pool, shape = kept[place]
        if not isinstance(pool, MaxPool):
            return
        kept[place] = (MaxPool(2), shape)


def _weighs_alike(size: int, shape: Shape) -> bool:
    """Tell whether the mean over an average pooling's output is the mean over its input."""
    return all(_weighs_each_alike(side, size) for side in shape[:2])


def _weighs_each_alike(side: int, size: int) -> bool:
    """Tell the same of the pixels along one side."""
    short = _short(side, size)
    return len(set(_weights(_windows(short, size), short))) == 1


def _short(side: int, size: int) -> int:
    """Return the length of a side that tells as much of windows of a size as a long one.

    Windows begin two pixels apart, so what stands between the two ends of a long side repeats
    itself: a short side of the same parity has the same windows at its ends, and one between them.
    """
    return min(side, 4 * size + side % 2)


def _weights(windows: Sequence[range], side: int) -> list[Fraction]:
    """Return how much each pixel along a side weighs in the mean of the windows' means."""
    return [
        sum((Fraction(1, len(window)) for window in windows if pixel in window), Fraction())
        for pixel in range(side)
    ]


def _windows(side: int, size: int) -> list[range]:
    """Return the pixels along one side that each window of a pooling holds, padding left out."""
    outputs = ceil(side / 2)
    before = max((outputs - 1) * 2 + size - side, 0) // 2
    starts = (2 * number - before for number in range(outputs))
    return [range(max(start, 0), min(start + size, side)) for start in starts]
