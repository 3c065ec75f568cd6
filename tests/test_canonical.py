"""Equal networks have equal keys, other networks have other keys; shown on Keras models."""

import numpy as np
import pytest

from rlnas.children.decoder import decode
from rlnas.cost import (
    AveragePool,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalPool,
    MaxPool,
    SeparableConv,
    layer_cost,
)
from rlnas.errors import SpaceError
from rlnas.spaces import Architecture, ImageSpace
from rlnas.spaces.canonical import (
    _weighs_each_alike,
    _weights,
    _windows,
    canonical_layers,
    canonical_text,
    smallest_pooling,
)

CONV = Conv(2, 3, 1, "tanh", False)
HALF = Conv(2, 3, 2, "relu", True)
DENSE = Dense(2, "silu")
SMALL, MEAN = MaxPool(2), AveragePool(2)
LOW, HIGH = Dropout(0.1), Dropout(0.5)


def key(layers, shape):
    return canonical_text(canonical_layers(layers, shape))


def computed(layers, shape):
    """Return the shapes of the weights, and what the network says with weights of two seeds."""
    model = decode(Architecture((), tuple(layers), shape, 2), scale=1.0)
    examples = np.random.default_rng(0).normal(size=(4, *shape)).astype("float32")
    values = []
    for seed in (1, 2):
        rng = np.random.default_rng(seed)
        model.set_weights([draw(rng, weight.shape) for weight in model.get_weights()])
        values.append(np.asarray(model(examples, training=False)))
    return [weight.shape for weight in model.get_weights()], np.array(values)


def draw(rng, shape):
    """Return random weights; vectors are positive, as variances must be."""
    weights = rng.uniform(0.1, 0.9, size=shape)
    return weights if len(shape) == 1 else weights * rng.choice([-1, 1], size=shape)


def compute_alike(one, other, shape):
    (shapes, values), (other_shapes, other_values) = computed(one, shape), computed(other, shape)
    return shapes == other_shapes and np.allclose(values, other_values, atol=1e-5)


RULES = {
    "dropout 0": ((4, 4, 1), [CONV, Dropout(0.0)], [CONV]),
    "dropout 0 first": ((4, 4, 1), [Dropout(0.0), CONV], [CONV]),
    "order of dropouts": ((4, 4, 1), [CONV, HIGH, Flatten(), LOW], [CONV, LOW, Flatten(), HIGH]),
    "max pooling of 2x2": ((2, 2, 1), [MaxPool(3), CONV], [SMALL, CONV]),
    "average pooling of 2x2": ((2, 2, 1), [AveragePool(3), CONV], [MEAN, CONV]),
    "windows that hold all": ((3, 3, 1), [AveragePool(6), CONV], [AveragePool(5), CONV]),
    "max poolings to one pixel": ((4, 3, 1), [MaxPool(3), SMALL, CONV], [SMALL, SMALL, CONV]),
    "max poolings around nothing": (
        (4, 4, 1),
        [CONV, MaxPool(3), Dropout(0.0), SMALL, Flatten()],
        [CONV, SMALL, MaxPool(3), GlobalPool()],
    ),
    "average, then global": (
        (4, 2, 1),
        [CONV, MEAN, GlobalPool(), DENSE],
        [CONV, GlobalPool(), DENSE],
    ),
    "averages to one pixel": ((4, 4, 2), [MEAN, AveragePool(3), Flatten()], [GlobalPool()]),
    "average, then the head": ((8, 8, 1), [CONV, MEAN], [CONV]),
    "average, dropout on one pixel": (
        (2, 2, 1),
        [CONV, MEAN, HIGH, Flatten()],
        [CONV, GlobalPool(), HIGH],
    ),
    "one pixel": ((2, 2, 1), [HALF, Flatten(), DENSE], [HALF, GlobalPool(), DENSE]),
    "one pixel, then the head": ((2, 2, 1), [HALF, Flatten()], [HALF]),
    "dropout before flattening": (
        (2, 2, 1),
        [CONV, LOW, Flatten(), DENSE],
        [CONV, Flatten(), LOW, DENSE],
    ),
    "dropout before global pooling of one pixel": (
        (2, 2, 1),
        [HALF, LOW, GlobalPool(), DENSE],
        [HALF, GlobalPool(), LOW, DENSE],
    ),
    "dropout on one pixel before the head": ((2, 2, 1), [HALF, LOW], [HALF, Flatten(), LOW]),
    "the head pools": ((4, 4, 1), [CONV, GlobalPool()], [CONV]),
}
"""Shape of the input and two ways to write one network."""


@pytest.mark.parametrize(("shape", "one", "other"), RULES.values(), ids=RULES.keys())
def test_two_ways_to_write_one_network_have_one_key(shape, one, other):
    assert key(one, shape) == key(other, shape)
    assert compute_alike(one, other, shape)


DROPOUTS = {
    "rate": ((4, 4, 1), [CONV, LOW], [CONV, HIGH]),
    "twice": ((4, 4, 1), [CONV, LOW, LOW], [CONV, LOW]),
    "before the mean of pixels": (
        (4, 4, 1),
        [CONV, LOW, GlobalPool(), DENSE],
        [CONV, GlobalPool(), LOW, DENSE],
    ),
    "between average and head": ((4, 4, 1), [CONV, MEAN, LOW], [CONV, LOW]),
    "between max poolings": ((4, 4, 1), [MaxPool(3), LOW, SMALL], [SMALL, LOW, SMALL]),
}


@pytest.mark.parametrize(("shape", "one", "other"), DROPOUTS.values(), ids=DROPOUTS.keys())
def test_networks_that_drop_out_otherwise_have_other_keys(shape, one, other):
    assert key(one, shape) != key(other, shape)


UNLIKE = {
    "max and average": ((4, 4, 1), [CONV, SMALL], [CONV, AveragePool(3)]),
    "pooling of 3x3": ((3, 3, 1), [SMALL, CONV], [MaxPool(3), CONV]),
    "max poolings to 2x2": ((8, 8, 1), [SMALL, MaxPool(3), CONV], [MaxPool(3), SMALL, CONV]),
    "average with overlap": ((4, 4, 1), [CONV, AveragePool(3), GlobalPool()], [CONV]),
    "average of odd sides": ((4, 3, 1), [CONV, MEAN, GlobalPool()], [CONV]),
    "flattening of pixels": ((2, 2, 1), [CONV, Flatten()], [CONV, GlobalPool()]),
    "max of all": ((2, 2, 1), [CONV, SMALL, Flatten()], [CONV]),
    "activation": ((2, 2, 1), [CONV], [Conv(2, 3, 1, "relu", False)]),
    "kind": ((4, 4, 1), [CONV], [SeparableConv(2, 3, 1, "tanh", False)]),
}


@pytest.mark.parametrize(("shape", "one", "other"), UNLIKE.values(), ids=UNLIKE.keys())
def test_networks_that_compute_otherwise_have_other_keys(shape, one, other):
    assert key(one, shape) != key(other, shape)
    assert not compute_alike(one, other, shape)


EVERY = [CONV, HALF, SMALL, MaxPool(3), MEAN, AveragePool(3), Flatten(), GlobalPool(), DENSE]


def longer(chain, shape):
    """Yield a chain with each layer that fits behind it."""
    for layer in chain:
        shape, _ = layer_cost(layer, shape)
    for layer in [*EVERY, Dropout(0.0), LOW, HIGH]:
        if layer.kind in ("maxpool", "avgpool") and (len(shape) == 1 or min(shape[:2]) < 2):
            continue
        try:
            layer_cost(layer, shape)
        except SpaceError:
            continue
        yield (*chain, layer)


def random_chain(shape, rng):
    chain = ()
    for _ in range(rng.integers(1, 7)):
        options = list(longer(chain, shape))
        chain = options[rng.integers(len(options))]
    return chain


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 2, 1), (3, 2, 1), (4, 4, 2), (6, 5, 1)])
def test_random_networks_with_equal_keys_compute_alike(shape):
    rng = np.random.default_rng(7)
    first, pairs = {}, {}
    for _ in range(400):
        chain = random_chain(shape, rng)
        same = first.setdefault(key(chain, shape), chain)
        if same != chain:
            pairs.setdefault(key(chain, shape), (same, chain))
    assert len(pairs) >= 10
    for one, other in list(pairs.values())[:10]:
        assert compute_alike(one, other, shape), (one, other)


def test_all_short_networks_with_other_keys_compute_otherwise():
    shape, chains = (3, 3, 2), [()]
    keys = {}
    for _ in range(3):
        chains = [c for chain in chains for c in longer(chain, shape) if not dropped(c)]
        for chain in chains:
            keys.setdefault(key(chain, shape), chain)
    groups = {}
    for name, chain in keys.items():
        shapes, values = computed(chain, shape)
        groups.setdefault((str(shapes), np.round(values, 4).tobytes()), []).append(name)
    assert [names for names in groups.values() if len(names) > 1] == []
    assert len(groups) > 80


def dropped(chain):
    """Tell whether there is dropout, which nobody sees in what a network computes."""
    return any(isinstance(layer, Dropout) for layer in chain)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 2, 1), (5, 3, 2)])
def test_canonical_form_is_its_own_canonical_form(shape):
    rng = np.random.default_rng(3)
    for _ in range(200):
        once = canonical_layers(random_chain(shape, rng), shape)
        assert canonical_layers(once, shape) == once


def test_key_of_a_space_reads_like_the_network():
    space = ImageSpace((8, 8, 1), 10)
    chain = [Conv(16, 3, 1, "relu", True), MaxPool(2), Dropout(0.0), GlobalPool()]
    architecture = Architecture((), tuple(chain), (8, 8, 1), 10)
    assert space.key(architecture) == "conv 16 3x3 relu bn > maxpool 2x2"
    assert space.key(Architecture((), (), (8, 8, 1), 10)) == "(head only)"


@pytest.mark.parametrize("size", [2, 3, 5])
def test_long_side_weighs_its_pixels_as_a_short_one_does(size):
    for side in range(1, 50):
        whole = len(set(_weights(_windows(side, size), side))) == 1
        assert _weighs_each_alike(side, size) == whole


@pytest.mark.parametrize("size", range(3, 9))
def test_long_side_has_the_same_smallest_pooling_as_a_short_one(size):
    for side in range(1, 60):
        windows = [_windows(side, each) for each in range(2, size)]
        wanted = _windows(side, size)
        least = windows.index(wanted) + 2 if wanted in windows else size
        assert smallest_pooling(MaxPool(size), (side, side, 1)) == MaxPool(least)


def test_sequences_of_huge_images_are_named_in_a_moment():
    space = ImageSpace((10**8, 10**8, 1), 10)
    rng = np.random.default_rng(0)
    for _ in range(20):
        tokens = []
        while space.decision(tokens) is not None:
            tokens.append(int(rng.choice(np.flatnonzero(space.mask(tokens)))))
        assert space.key(space.architecture(tokens))
