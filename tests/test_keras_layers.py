"""Stock layers by name: their rules are Keras's own."""

import alike
import pytest

from rlnas.children.backend import keras
from rlnas.children.decoder import decode
from rlnas.config import RecipeConfig
from rlnas.cost import (
    KERAS_LAYERS,
    KerasLayer,
    describe,
    keras_layer,
    layer_cost,
    layer_from_json,
    layer_to_json,
    network_cost,
)
from rlnas.errors import SpaceError
from rlnas.search.source import model_source
from rlnas.spaces import Architecture

IMAGE, ROW, SEQUENCE = (11, 9, 8), (8,), (13, 8)

CASES = [
    (IMAGE, "Conv2D", {"filters": 6, "kernel_size": 3}),
    (IMAGE, "Conv2D", {"filters": 6, "kernel_size": [3, 2], "strides": [2, 3], "padding": "same"}),
    (IMAGE, "Conv2D", {"filters": 6, "kernel_size": 2, "dilation_rate": 3, "activation": "silu"}),
    (IMAGE, "Conv2D", {"filters": 4, "kernel_size": 3, "groups": 4, "use_bias": False}),
    (IMAGE, "SeparableConv2D", {"filters": 6, "kernel_size": 3, "depth_multiplier": 2}),
    (IMAGE, "DepthwiseConv2D", {"kernel_size": 3, "strides": 2, "padding": "same"}),
    (IMAGE, "DepthwiseConv2D", {"kernel_size": 2, "depth_multiplier": 3, "use_bias": False}),
    (IMAGE, "MaxPooling2D", {}),
    (IMAGE, "MaxPooling2D", {"pool_size": [3, 2], "strides": 1, "padding": "same"}),
    (IMAGE, "AveragePooling2D", {"pool_size": 3}),
    (IMAGE, "GlobalMaxPooling2D", {}),
    (IMAGE, "GlobalAveragePooling2D", {}),
    (IMAGE, "UpSampling2D", {"size": [2, 1]}),
    (IMAGE, "ZeroPadding2D", {"padding": 2}),
    (IMAGE, "SpatialDropout2D", {"rate": 0.3}),
    (IMAGE, "Flatten", {}),
    (IMAGE, "Reshape", {"target_shape": [11, 72]}),
    (IMAGE, "Dense", {"units": 5}),
    (IMAGE, "Dropout", {"rate": 0.3}),
    (IMAGE, "Activation", {"activation": "silu"}),
    (IMAGE, "BatchNormalization", {}),
    (IMAGE, "BatchNormalization", {"scale": False, "momentum": 0.9, "epsilon": 1e-4}),
    (IMAGE, "LayerNormalization", {"center": False}),
    (IMAGE, "GroupNormalization", {"groups": 4}),
    (IMAGE, "PReLU", {}),
    (ROW, "Dense", {"units": 5, "activation": "softmax", "use_bias": False}),
    (ROW, "ReLU", {"max_value": 6, "negative_slope": 0.1}),
    (ROW, "LeakyReLU", {"negative_slope": 0.2}),
    (ROW, "ELU", {"alpha": 0.5}),
    (ROW, "GaussianNoise", {"stddev": 0.5}),
    (ROW, "GaussianDropout", {"rate": 0.5}),
    (ROW, "BatchNormalization", {"center": False}),
    (SEQUENCE, "Conv1D", {"filters": 6, "kernel_size": 3, "padding": "causal"}),
    (SEQUENCE, "Conv1D", {"filters": 6, "kernel_size": 3, "strides": 2, "groups": 2}),
    (SEQUENCE, "SeparableConv1D", {"filters": 6, "kernel_size": 3}),
    (SEQUENCE, "DepthwiseConv1D", {"kernel_size": 4}),
    (SEQUENCE, "MaxPooling1D", {"pool_size": 3}),
    (SEQUENCE, "AveragePooling1D", {"pool_size": 2, "padding": "same"}),
    (SEQUENCE, "GlobalMaxPooling1D", {}),
    (SEQUENCE, "GlobalAveragePooling1D", {}),
    (SEQUENCE, "UpSampling1D", {"size": 3}),
    (SEQUENCE, "ZeroPadding1D", {}),
    (SEQUENCE, "SpatialDropout1D", {"rate": 0.3}),
    (SEQUENCE, "LSTM", {"units": 5}),
    (SEQUENCE, "LSTM", {"units": 5, "use_bias": False, "return_sequences": True}),
    (SEQUENCE, "GRU", {"units": 5, "dropout": 0.1, "recurrent_activation": "hard_sigmoid"}),
    (SEQUENCE, "SimpleRNN", {"units": 5, "activation": "relu", "go_backwards": True}),
    (SEQUENCE, "Bidirectional", {"layer": {"GRU": {"units": 5, "return_sequences": True}}}),
    (SEQUENCE, "Bidirectional", {"layer": {"LSTM": {"units": 5}}, "merge_mode": "sum"}),
    (SEQUENCE, "LayerNormalization", {}),
]
IDS = [f"{name}-{len(shape)}-{','.join(options)}" for shape, name, options in CASES]


def made(shape, name, options):
    """Return a layer, and the Keras model it becomes, head included."""
    layer = keras_layer(name, options)
    return layer, decode(Architecture((), (layer,), shape, 3), scale=None)


def test_every_layer_has_a_case():
    assert {name for _, name, _ in CASES} == set(KERAS_LAYERS)


@pytest.mark.parametrize(("shape", "name", "options"), CASES, ids=IDS)
def test_shape_and_parameters_are_keras_own(shape, name, options):
    layer, model = made(shape, name, options)
    behind, _ = layer_cost(layer, shape)
    found = model.get_layer(f"{name.lower()}_1")
    assert behind == tuple(found.output.shape[1:])
    assert network_cost([layer], shape, 3).params == model.count_params()
    given = found.get_config()
    for option in options.keys() - {"layer"}:
        value = given[option]
        if option in ("activation", "recurrent_activation"):
            assert value == options[option]
        elif isinstance(options[option], list):
            assert list(value) == options[option]
        elif isinstance(value, list | tuple):
            assert {options[option]} == set(keras.tree.flatten(value))
        else:
            assert value == options[option]


@pytest.mark.parametrize(("shape", "name", "options"), CASES, ids=IDS)
def test_json_leads_back_to_it(shape, name, options):
    layer = keras_layer(name, options)
    assert layer_from_json(layer_to_json(layer)) == layer
    assert describe(layer).startswith(f"{name}(")


@pytest.mark.parametrize(("shape", "name", "options"), [case for case in CASES if case[0] == IMAGE])
@pytest.mark.parametrize("l2", [0.0, 1e-3], ids=["plain", "penalised"])
def test_exported_script_builds_the_same(shape, name, options, l2):
    layer = keras_layer(name, options)
    network = Architecture((), (layer,), shape, 3)
    source = model_source(
        network,
        RecipeConfig(l2=l2),
        "data.npz",
        scale=1.0,
        batch_norm_momentum=0.8,
        class_names=("a", "b", "c"),
        seed=0,
    )
    names = {"__name__": "script"}
    exec(compile(source, "model.py", "exec"), names)
    ours = decode(network, scale=1.0, batch_norm_momentum=0.8, penalties=(0.0, l2))
    assert names["build_model"]().to_json() == ours.to_json()


def of_the_profiler(name, options):
    """Tell whether the profiler counts a layer as it is: dilated it counts zeros too."""
    plain = options.keys().isdisjoint({"groups", "dilation_rate"})  # groups it leaves out
    return plain and ("Conv" in name or "Pooling" in name or name == "Dense")


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="it is TensorFlow's profiler")
@pytest.mark.parametrize(
    ("shape", "name", "options"), [case for case in CASES if of_the_profiler(*case[1:])]
)
def test_flops_are_those_of_the_profiler(shape, name, options):
    layer, model = made(shape, name, options)
    found = network_cost([layer], shape, 3).flops
    values = shape[0] * shape[1] * shape[2] if len(shape) == 3 else 0
    assert found - 2 * values == pytest.approx(alike.profiled_flops(model), rel=0.02)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("Conv3D", {}, r"unknown layer 'Conv3D'.*Conv2D"),
        ("Dense", {}, "Dense needs units"),
        ("Dense", {"unit": 3}, r"unknown option of Dense 'unit'.*units"),
        ("Dense", {"units": 0}, "units of Dense must be a whole number, at least 1, got 0"),
        ("Dense", {"units": True}, "units of Dense must be a whole number"),
        ("Dense", {"units": 3, "use_bias": 1}, "use_bias of Dense must be true or false"),
        ("Dense", {"units": 3, "activation": "rellu"}, "activation of Dense must be one of elu"),
        ("Dropout", {"rate": 1}, "rate of Dropout must be a number from 0 to below 1, got 1"),
        (
            "Conv2D",
            {"filters": 3, "kernel_size": [3]},
            "whole number, at least 1, or two",
        ),
        ("Conv2D", {"filters": 3, "kernel_size": 3, "padding": "causal"}, "one of valid, same"),
        ("GaussianNoise", {"stddev": float("nan")}, "must be a number, at least 0"),
        ("Bidirectional", {"layer": {"Dense": {"units": 2}}}, "must be one of LSTM, GRU"),
        ("Bidirectional", {"layer": "LSTM"}, "must be one of LSTM, GRU"),
        ("Bidirectional", {"layer": {"LSTM": {}}}, "LSTM needs units"),
        ("Reshape", {"target_shape": 3}, "must be a list of whole numbers"),
    ],
)
def test_wrong_options_are_named(name, options, sentence):
    with pytest.raises(SpaceError, match=sentence):
        keras_layer(name, options)


@pytest.mark.parametrize(
    ("layer", "shape", "sentence"),
    [
        (KerasLayer("Conv2D", (("filters", 2), ("kernel_size", 3))), (2, 9, 1), "does not fit"),
        (KerasLayer("MaxPooling2D"), (9, 1, 1), "does not fit into"),
        (KerasLayer("MaxPooling2D"), (9,), "MaxPooling2D needs an image"),
        (KerasLayer("LSTM", (("units", 2),)), (9, 9, 1), "LSTM needs a sequence"),
        (KerasLayer("Reshape", (("target_shape", (5,)),)), (9,), "cannot bring"),
        (KerasLayer("GroupNormalization", (("groups", 3),)), (4,), "cannot share 4 channels"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(layer, shape, sentence):
    with pytest.raises(SpaceError, match=sentence):
        layer_cost(layer, shape)
