"""From architectures to Keras models of stock layers."""

import json

import numpy as np
import pytest

from rlnas.children.backend import keras
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
    network_cost,
)
from rlnas.spaces import Architecture, ImageSpace

ALL_TYPES = (
    Conv(4, 3, 1, "relu", True),
    SeparableConv(6, 5, 2, "silu", True),
    Conv(3, 1, 1, "elu", False),
    SeparableConv(4, 3, 1, "relu", False),
    MaxPool(2),
    AveragePool(3),
    Dropout(0.2),
    Flatten(),
    Dense(5, "elu"),
)
SHAPES = ((8, 8, 1), (9, 5, 3), (1, 1, 2), (16, 16, 4))


def network(layers, shape=(8, 8, 1), classes=3) -> Architecture:
    return Architecture((), tuple(layers), shape, classes)


def random_architecture(shape, seed) -> Architecture:
    space, rng, tokens = ImageSpace(shape, 3), np.random.default_rng(seed), []
    while space.decision(tokens) is not None:
        tokens.append(int(rng.choice(np.flatnonzero(space.mask(tokens)))))
    return space.architecture(tokens)


def leaves(value):
    if isinstance(value, dict):
        value = value.values()
    if isinstance(value, dict | list | tuple) or type(value).__name__ == "dict_values":
        return [leaf for item in value for leaf in leaves(item)]
    return [value]


def test_all_layers_are_stock_layers_of_keras():
    for layer in decode(network([*ALL_TYPES, Dropout(0.0)])).layers:
        assert getattr(keras.layers, type(layer).__name__) is type(layer)
    record = json.loads(decode(network(ALL_TYPES)).to_json())
    kinds = {layer["class_name"] for layer in record["config"]["layers"]}
    assert {layer["registered_name"] for layer in record["config"]["layers"]} == {None}
    assert "Lambda" not in kinds and len(kinds) == 11


def test_order_of_axes_is_the_same_whatever_keras_is_set_to():
    architecture = random_architecture((8, 8, 3), 1)
    expected = decode(architecture).to_json()
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        assert decode(architecture).to_json() == expected
    finally:
        keras.config.set_image_data_format(before)


def test_names_of_layers_are_fixed():
    layers = (Conv(4, 3, 1, "relu", True), GlobalPool(), Dense(5, "elu"))
    names = [layer.name for layer in decode(network(layers)).layers]
    assert names == [
        "input",
        "rescaling",
        "conv_1",
        "conv_1_norm",
        "conv_1_relu",
        "globalpool_2",
        "dense_3",
        "head",
    ]
    assert [layer.name for layer in decode(network(())).layers][2:] == ["head_pool", "head"]


def test_two_decodes_give_the_same_json():
    assert decode(network(ALL_TYPES)).to_json() == decode(network(ALL_TYPES)).to_json()


def test_numpy_numbers_become_pythons():
    layers = (
        Conv(np.int64(4), np.int32(3), np.uint8(1), np.str_("relu"), np.bool(True)),
        MaxPool(np.int64(2)),
        Dropout(np.float32(0.25)),
        Flatten(),
        Dense(np.int64(5), "elu"),
    )
    shape = tuple(np.array([8, 8, 1]))
    model = decode(
        network(layers, shape, np.int64(3)),
        scale=np.float64(0.5),
        batch_norm_momentum=np.float64(0.9),
    )
    plain = (Conv(4, 3, 1, "relu", True), MaxPool(2), Dropout(0.25), Flatten(), Dense(5, "elu"))
    twin = decode(network(plain), scale=0.5, batch_norm_momentum=0.9)
    assert model.to_json() == twin.to_json()
    assert {type(leaf) for leaf in leaves(model.get_config())} <= {
        str, int, float, bool, type(None), keras.DTypePolicy,
    }  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_any_architecture_gives_class_probabilities_at_the_cost_foretold(shape):
    for seed in range(6):
        architecture = random_architecture(shape, seed)
        model = decode(architecture)
        images = np.random.default_rng(seed).integers(0, 256, (2, *shape)).astype("uint8")
        outputs = keras.ops.convert_to_numpy(model(images, training=False))
        assert outputs.shape == (2, 3)
        np.testing.assert_allclose(outputs.sum(axis=1), 1, rtol=1e-5)
        cost = network_cost(architecture.layers, shape, 3)
        assert model.count_params() == cost.params


def test_raw_pixels_are_rescaled_pooled_and_classified():
    keras.utils.set_random_seed(1)
    model = decode(network((), (2, 2, 3)), scale=1 / 255)
    images = np.random.default_rng(0).integers(0, 256, (5, 2, 2, 3))
    kernel, bias = model.get_weights()
    logits = (images / 255).mean(axis=(1, 2)) @ kernel + bias
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict_on_batch(images), expected, rtol=1e-4)


def test_batch_normalisation_takes_the_momentum_and_the_place_of_the_bias():
    layers = (Conv(4, 3, 1, "relu", True), SeparableConv(4, 3, 1, "relu", False))
    model = decode(network(layers), batch_norm_momentum=0.7)
    assert model.get_layer("conv_1_norm").momentum == 0.7
    assert not model.get_layer("conv_1").use_bias
    assert model.get_layer("sepconv_2").use_bias
    order = [layer.name for layer in model.layers]
    assert order.index("conv_1") + 1 == order.index("conv_1_norm")
    assert order.index("conv_1_norm") + 1 == order.index("conv_1_relu")


def test_pooling_halves_and_strides_divide_rounding_up():
    layers = (MaxPool(3), AveragePool(2), Conv(4, 3, 2, "relu", False))
    model = decode(network(layers, (9, 7, 2)))
    shapes = [model.get_layer(name).output.shape[1:] for name in ("maxpool_1", "avgpool_2")]
    assert shapes == [(5, 4, 2), (3, 2, 2)]
    assert model.get_layer("conv_3").output.shape[1:] == (2, 1, 4)
