import json
import math

import alike
import numpy as np
import pytest

from rlnas.children.backend import keras
from rlnas.children.decoder import decode
from rlnas.cost import (
    GRU,
    LAYER_TYPES,
    LSTM,
    Attention,
    AveragePool,
    Conv,
    Conv1D,
    Cost,
    Dense,
    Dropout,
    Embed,
    Flatten,
    Frames,
    GlobalMaxPool,
    GlobalPool,
    Join,
    MaxPool,
    MaxPool1D,
    ResidualDense,
    SeparableConv,
    describe,
    layer_cost,
    layer_from_json,
    layer_to_json,
    network_cost,
)
from rlnas.errors import SpaceError
from rlnas.spaces import ImageSpace

SHAPES = [(8, 8, 1), (28, 28, 1), (32, 32, 3), (5, 9, 2), (1, 1, 3), (2, 2, 1)]
NETWORKS_PER_SHAPE = 34  # about 200 in all

LAYERS = [
    Conv(8, 3, 2, "relu", True),
    SeparableConv(4, 5, 1, "elu", False),
    MaxPool(2),
    AveragePool(3),
    Dropout(0.25),
    Flatten(),
    GlobalPool(),
    Dense(16, "silu"),
]
OTHERS = [
    Embed(8),
    Conv1D(8, 3, "relu", True),
    MaxPool1D(2),
    LSTM(4, True),
    GRU(4, False),
    Attention(2),
    Frames(),
    GlobalMaxPool(),
    ResidualDense(16, "relu", 0.2),
    Join((1, 3)),
]


def random_tokens(space, rng):
    tokens = []
    while space.decision(tokens) is not None:
        tokens.append(int(rng.choice(np.flatnonzero(space.mask(tokens)))))
    return tokens


def random_architectures(shape, count):
    space = ImageSpace(shape, 10, max_layers=6, max_flops=10**8)
    rng = np.random.default_rng(sum(shape))
    return [space.architecture(random_tokens(space, rng)) for _ in range(count)]


@pytest.fixture(scope="module", params=SHAPES, ids=str)
def decoded(request):
    """Random architectures of one input shape with their Keras models."""
    architectures = random_architectures(request.param, NETWORKS_PER_SHAPE)
    return [(architecture, decode(architecture)) for architecture in architectures]


def test_parameters_equal_those_that_keras_counts(decoded):
    for architecture, model in decoded:
        cost = network_cost(architecture.layers, architecture.input_shape, 10)
        assert cost.params == model.count_params(), architecture.describe()


def test_activations_equal_those_of_keras(decoded):
    for architecture, model in decoded:
        values = 0
        for layer in model.layers:
            if isinstance(layer, keras.layers.Conv2D | keras.layers.SeparableConv2D):
                values += math.prod(layer.output.shape[1:])
            if isinstance(layer, keras.layers.SeparableConv2D):
                values += math.prod(layer.output.shape[1:3]) * layer.input.shape[-1]
        cost = network_cost(architecture.layers, architecture.input_shape, 10)
        assert cost.activations == values, architecture.describe()


def test_memory_is_that_of_all_outputs_of_keras(decoded):
    for architecture, model in decoded:
        values = 0
        for layer in model.layers:
            if isinstance(layer, keras.layers.Dropout) and layer.rate == 0:
                continue  # hands on what it gets
            if not isinstance(layer, keras.layers.InputLayer | keras.layers.Flatten):
                values += math.prod(layer.output.shape[1:])
            if isinstance(layer, keras.layers.SeparableConv2D):
                values += math.prod(layer.output.shape[1:3]) * layer.input.shape[-1]
        cost = network_cost(architecture.layers, architecture.input_shape, 10)
        assert cost.memory == 4 * values, architecture.describe()


def test_flops_are_those_of_tensorflows_profiler(decoded):
    pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the profiler is TensorFlow's")
    for architecture, model in decoded[::6]:
        cost = network_cost(architecture.layers, architecture.input_shape, 10)
        counted = alike.profiled_flops(model)
        assert cost.flops == pytest.approx(counted, rel=0.02), architecture.describe()


@pytest.mark.slow
def test_parameters_of_a_thousand_networks_of_the_default_space():
    space, rng = ImageSpace((28, 28, 1), 10), np.random.default_rng(0)
    for _ in range(1000):
        architecture = space.architecture(random_tokens(space, rng))
        cost = network_cost(architecture.layers, architecture.input_shape, 10)
        assert cost.params == decode(architecture).count_params(), architecture.describe()


def test_shapes_equal_those_of_keras(decoded):
    for architecture, model in decoded:
        shape = architecture.input_shape
        for number, layer in enumerate(architecture.layers, 1):
            shape, _ = layer_cost(layer, shape)
            parts = [x for x in model.layers if x.name.startswith(f"{layer.kind}_{number}")]
            assert parts[-1].output.shape == (None, *shape), architecture.describe()
        assert model.output_shape == (None, 10)


def test_models_are_made_of_stock_layers(decoded):
    for _, model in decoded:
        for layer in model.layers:
            assert getattr(keras.layers, type(layer).__name__) is type(layer)
            assert not isinstance(layer, keras.layers.Lambda)


def test_same_architecture_gives_the_same_plain_json(decoded):
    for architecture, model in decoded[::3]:
        text = model.to_json()
        assert text == json.dumps(json.loads(text))
        assert text == decode(architecture).to_json()


def test_json_loads_as_the_same_network(decoded):
    for _, model in decoded[::3]:
        loaded = keras.models.model_from_json(model.to_json())
        assert loaded.to_json() == model.to_json()
        assert [w.shape for w in loaded.weights] == [w.shape for w in model.weights]


def test_config_holds_python_numbers_alone(decoded):
    def leaves(value):
        if isinstance(value, dict | list | tuple):
            for part in value.values() if isinstance(value, dict) else value:
                yield from leaves(part)
        else:
            yield value

    for _, model in decoded[:5]:
        assert {type(leaf) for leaf in leaves(model.get_config())} <= {
            *(str, int, float, bool, type(None))
        }


def test_flops_of_a_small_network_by_hand():
    layers = (Conv(2, 3, 1, "relu", False), MaxPool(2), Flatten(), Dense(3, "relu"))
    rescaling = 2 * 4 * 4
    convolution = 4 * 4 * 2 * (2 * 3 * 3 + 1)  # multiply-adds, bias
    pooling = 2 * 2 * 2 * (2 * 2)
    dense = 3 * (2 * 8 + 1)
    head = 2 * (2 * 3 + 1 + 5)  # the softmax
    expected = rescaling + convolution + pooling + dense + head
    assert network_cost(layers, (4, 4, 1), 2).flops == expected


def test_cost_grows_with_filters_kernel_and_normalisation_and_falls_with_stride():
    def cost(**changed):
        options = {"filters": 8, "kernel": 3, "stride": 1, "activation": "relu"}
        return network_cost([Conv(**{"batch_norm": False} | options | changed)], (8, 8, 3), 10)

    for larger in ({"filters": 9}, {"kernel": 4}, {"batch_norm": True}):
        assert cost(**larger).params > cost().params
        assert cost(**larger).flops > cost().flops
    assert cost(stride=2).flops < cost().flops
    assert cost(stride=2).params == cost().params


def test_costs_add_up():
    assert Cost(1, 2) + Cost(10, 20) == Cost(11, 22)


@pytest.mark.parametrize("layer", [*LAYERS, *OTHERS], ids=lambda layer: layer.kind)
def test_layer_survives_json(layer):
    assert layer_from_json(json.loads(json.dumps(layer_to_json(layer)))) == layer


def test_every_layer_type_is_tried_here():
    assert {type(layer) for layer in (*LAYERS, *OTHERS)} == set(LAYER_TYPES.values())


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        ({"type": "lambda"}, "unknown layer type 'lambda'"),
        ({}, "unknown layer type None"),
        ({"type": "dropout"}, r"layer 'dropout' needs exactly the fields \['rate'\], got \[\]"),
        ({"type": "flatten", "size": 2}, r"needs exactly the fields \[\], got \['size'\]"),
    ],
)
def test_damaged_layer_is_refused(record, sentence):
    with pytest.raises(SpaceError, match=sentence):
        layer_from_json(record)


@pytest.mark.parametrize(
    "layer", [x for x in LAYERS if not isinstance(x, Dropout)], ids=lambda layer: layer.kind
)
def test_layer_on_the_wrong_kind_of_shape_is_refused(layer):
    with pytest.raises(SpaceError, match=r"got the shape \("):
        layer_cost(layer, (4, 4, 1) if isinstance(layer, Dense) else (16,))


def test_dropout_takes_any_shape_and_costs_memory_alone():
    for shape in ((16,), (4, 4, 1)):
        assert layer_cost(Dropout(0.5), shape) == (shape, Cost(memory=4 * 16))
        assert layer_cost(Dropout(0.0), shape) == (shape, Cost())


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0.0, "0"), (0.5, "0.5"), (0.1234567, "0.1234567"), (0.1234568, "0.1234568")],
)
def test_no_two_rates_look_alike(rate, text):
    assert describe(Dropout(rate)) == f"dropout {text}"


def test_phrases_tell_all_fields():
    phrases = [describe(layer) for layer in LAYERS]
    assert phrases == [
        "conv 8 3x3 /2 relu bn",
        "sepconv 4 5x5 elu",
        "maxpool 2x2",
        "avgpool 3x3",
        "dropout 0.25",
        "flatten",
        "globalpool",
        "dense 16 silu",
    ]
