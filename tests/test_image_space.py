import copy
import itertools
import json
import pickle

import numpy as np
import pytest

from rlnas.children.backend import keras
from rlnas.children.decoder import decode
from rlnas.cost import (
    IMAGE_TYPES,
    LAYER_TYPES,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalPool,
    MaxPool,
    layer_cost,
    network_cost,
)
from rlnas.errors import SpaceError
from rlnas.spaces import (
    ACTIVATIONS,
    DEFAULT_CHOICES,
    ImageSpace,
    fingerprint,
    max_choices,
    observation,
    prefix_of,
    space_from_json,
)

FIELDS = {
    kind: [name.partition(".")[2] for name in DEFAULT_CHOICES if name.partition(".")[0] == kind]
    for kind in IMAGE_TYPES
}
FEW = {
    "conv.filters": (1, 2),
    "conv.kernel": (1, 3),
    "conv.stride": (1, 2),
    "conv.activation": ("relu",),
    "conv.batch_norm": (False,),
    "sepconv.filters": (2,),
    "sepconv.kernel": (3,),
    "sepconv.stride": (1,),
    "sepconv.activation": ("relu",),
    "sepconv.batch_norm": (True,),
    "maxpool.size": (2,),
    "avgpool.size": (3,),
    "dropout.rate": (0.0, 0.5),
    "dense.units": (1, 2, 8),
    "dense.activation": ("relu",),
}
FEWER = FEW | {"conv.filters": (1,), "conv.kernel": (3,), "dropout.rate": (0.5,)}
CONVOLUTIONS, POOLINGS = ("conv", "sepconv"), ("maxpool", "avgpool")
CONV = Conv(16, 3, 1, "relu", False)
SMALL = [
    {"input_shape": (5, 6, 1), "max_flops": 10**6, "max_layers": 4, "choices": FEWER},
    {"input_shape": (5, 6, 1), "max_params": 24, "max_layers": 4, "choices": FEWER},
    {"input_shape": (2, 3, 1), "max_flops": 10**6},
    {"input_shape": (2, 3, 1), "max_flops": 10**6, "max_params": 20},
    {"input_shape": (2, 3, 1), "max_flops": 200},
    {"input_shape": (2, 3, 1), "max_flops": 10**6, "max_activations": 13},
    {"input_shape": (2, 3, 1), "max_flops": 10**6, "min_layers": 1, "max_layers": 2},
    {"input_shape": (1, 2, 2), "max_flops": 10**6},
    {"input_shape": (4, 4, 1), "max_flops": 600, "max_params": 25, "min_layers": 3},
    {"input_shape": (2, 2, 1), "max_params": 14, "min_layers": 6, "max_layers": 6},
]


def few_space(options):
    defaults = {"classes": 2, "min_layers": 2, "max_layers": 3, "choices": FEW}
    return ImageSpace(**(defaults | options))


def written_by_masks(space, prefix=()):
    """Yield all finished sequences that the masks allow."""
    if space.decision(prefix) is None:
        yield prefix
        return
    allowed = np.flatnonzero(space.mask(prefix))
    assert len(allowed), f"dead end behind {prefix}"
    for token in allowed:
        yield from written_by_masks(space, (*prefix, int(token)))


def legal_chains(space, chain=()):
    """Yield all legal chains of layers before the head, by rules anew and without masks."""
    every = [
        LAYER_TYPES[kind](*values)
        for kind, names in FIELDS.items()
        for values in itertools.product(*(space.choices[f"{kind}.{name}"] for name in names))
    ]
    longer = [(*chain, layer) for layer in every if is_legal(space, (*chain, layer))]
    shape = shape_behind(space, chain)
    enough = len(chain) >= space.min_layers and (len(shape) == 1 or halved_twice(space, shape))
    if chain and (enough or not longer):
        yield chain
    for each in longer:
        yield from legal_chains(space, each)


def is_legal(space, chain):
    *before, last = chain
    widths = [layer.filters for layer in chain if layer.kind in CONVOLUTIONS]
    return (
        len(chain) <= space.max_layers
        and widths == sorted(widths)
        and (follows([layer.kind for layer in before], last) if before else begins(space, last))
        and fits(space, chain, last, shape_behind(space, before))
    )


def begins(space, first):
    return first.kind == "conv" and first.stride == min(space.choices["conv.stride"])


def follows(before, last):
    kind, shown = last.kind, [kind for kind in before if kind != "dropout"]
    if kind in POOLINGS:
        return shown[-1] not in POOLINGS
    if kind == "globalpool":
        return sum(each in CONVOLUTIONS for each in before) >= 4
    if kind == "dropout":
        behind = (*POOLINGS, "flatten", "globalpool", "dense")
        ends = ("flatten", "globalpool")
        twice = before[-1] in ends and before[-2] == "dropout"
        return before[-1] in behind and not twice
    return True


def fits(space, chain, last, shape):
    image = len(shape) == 3
    step = 2 if last.kind in POOLINGS else getattr(last, "stride", 1)
    if last.kind == "dense":
        dense = [layer for layer in chain if layer.kind == "dense"]
        sensible = not image and last.units <= shape[0] and len(dense) <= 2
    elif last.kind in ("flatten", "globalpool"):
        sensible = image and halved_twice(space, shape)
    elif last.kind == "dropout":
        sensible = True
    else:
        sensible = image and (step == 1 or all(-(-side // step) >= 2 for side in shape[:2]))
    return sensible and below_caps(space, chain)


def shape_behind(space, chain):
    shape = space.input_shape
    for layer in chain:
        shape, _ = layer_cost(layer, shape)
    return shape


def below_caps(space, chain):
    cost = network_cost(chain, space.input_shape, space.classes)
    caps = (space.max_params, space.max_flops, space.max_activations)
    return all(
        now <= cap
        for now, cap in zip((cost.params, cost.flops, cost.activations), caps, strict=True)
    )


def halved_twice(space, shape):
    sides = zip(shape[:2], space.input_shape, strict=False)
    return all(now <= max(2, -(-full // 4)) for now, full in sides)


def with_head(space, chain):
    shape, flattened = shape_behind(space, chain), (*chain, Flatten())
    may = len(shape) == 3 and halved_twice(space, shape) and below_caps(space, flattened)
    return flattened if may else chain


@pytest.mark.parametrize("options", SMALL, ids=str)
def test_masks_allow_exactly_the_legal_networks(options):
    space = few_space(options)
    written = list(written_by_masks(space))
    chains = list(legal_chains(space))
    layers = {space.architecture(tokens).layers for tokens in written}
    assert layers == {with_head(space, chain) for chain in chains}
    assert len(set(chains)) == len(chains) == len(written) > 5


def walk(space, rng):
    tokens = []
    while space.decision(tokens) is not None:
        tokens.append(int(rng.choice(np.flatnonzero(space.mask(tokens)))))
    return tuple(tokens)


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (32, 32, 3), (5, 9, 2), (1, 1, 3)])
def test_random_networks_keep_every_promise(shape):
    space = ImageSpace(shape, 10, max_layers=7, max_params=30_000)
    rng = np.random.default_rng(1)
    for _ in range(40):
        architecture = space.architecture(walk(space, rng))
        cost = network_cost(architecture.layers, shape, 10)
        assert cost.params <= 30_000
        assert cost.flops <= space.max_flops
        assert cost.activations <= space.max_activations
        assert 1 <= len(architecture.layers) <= 7 + 1  # the head may flatten
        assert len(architecture.tokens) <= space.max_tokens
        check_shapes(architecture)


def check_shapes(architecture):
    shape = architecture.input_shape
    for layer in architecture.layers:
        if isinstance(layer, Dense):
            assert len(shape) == 1
            assert layer.units <= shape[0]
        if layer.kind in ("maxpool", "avgpool"):
            assert min(shape[:2]) >= 3
        assert getattr(layer, "stride", 1) < max(2, min(shape[:2]))
        shape, _ = layer_cost(layer, shape)
        assert min(shape) >= 1


def test_stop_is_never_first_and_comes_at_the_latest_after_max_layers():
    space = few_space({"input_shape": (8, 8, 1), "max_layers": 2, "min_layers": 1})
    stop = space.decisions[0].choices.index("stop")
    assert not space.mask(())[stop]
    tokens = space.tokens([Conv(2, 3, 1, "relu", False), Dropout(0.5)])[:-1]
    assert np.flatnonzero(space.mask(tokens)).tolist() == [stop]


def test_finished_sequence_has_no_decision_and_an_empty_mask():
    space = ImageSpace((8, 8, 1), 10)
    tokens = walk(space, np.random.default_rng(0))
    assert space.decision(tokens) is None
    assert not space.mask(tokens).any()


def test_mask_is_a_copy_of_its_own():
    space = ImageSpace((8, 8, 1), 10)
    before = space.mask(())
    space.mask(())[:] = 0
    assert before.any()
    assert space.mask(()).tolist() == before.tolist()


def test_longest_sequence_is_read_by_a_fresh_space_at_once():
    options = {"input_shape": (8, 8, 1), "max_layers": 100}
    options |= {"max_flops": 10**12, "max_activations": 10**12}
    tokens = few_space(options).tokens([Conv(2, 3, 1, "relu", False)] * 100)
    fresh = few_space(options)
    assert len(tokens) == fresh.max_tokens == 601
    assert fresh.decision(tokens) is None


@pytest.mark.parametrize(
    "travel",
    [
        lambda space: space_from_json(json.loads(json.dumps(space.to_json()))),
        lambda space: pickle.loads(pickle.dumps(space)),
        copy.deepcopy,
    ],
    ids=["json", "pickle", "copy"],
)
def test_space_survives_travel(travel):
    space = ImageSpace((5, 9, 2), 3, max_layers=4, choices={"conv.filters": [np.int64(4)]})
    other = travel(space)
    assert other.to_json() == space.to_json()
    assert fingerprint(other) == fingerprint(space)
    assert other.choices == space.choices


@pytest.mark.parametrize(
    "changed",
    [
        {"input_shape": (8, 9, 1)},
        {"classes": 9},
        {"max_layers": 9},
        {"min_layers": 2},
        {"max_params": 999},
        {"max_flops": 10**5},
        {"max_activations": 2000},
        {"choices": {"dense.units": [32]}},
    ],
    ids=str,
)
def test_fingerprint_tells_spaces_apart(changed):
    plain = {"input_shape": (8, 8, 1), "classes": 10, "min_layers": 3}
    assert fingerprint(ImageSpace(**plain)) != fingerprint(ImageSpace(**(plain | changed)))


PLAIN = ImageSpace((8, 8, 1), 10).to_json()


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        ({"type": "video"}, "unknown type of space 'video'"),
        ({"type": "image"}, "description of an image space is damaged"),
        (PLAIN | {"x": 1}, "description of an image space is damaged: .*'x'"),
        (PLAIN | {"input_shape": 8}, "an image needs the shape"),
        *(
            ({field: value for field, value in PLAIN.items() if field != name}, f"lacks {name}$")
            for name in sorted(PLAIN.keys() - {"type"})
        ),
    ],
    ids=str,
)
def test_damaged_description_is_refused(record, sentence):
    with pytest.raises(SpaceError, match=sentence):
        space_from_json(record)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"input_shape": (8, 8)}, r"needs the shape \(height, width, channels\), got \(8, 8\)"),
        ({"input_shape": (0, 8, 1)}, "size of the input shape must be a whole number, at least 1"),
        ({"input_shape": (8.5, 8, 1)}, "got 8.5"),
        ({"input_shape": (None, 8, 1)}, "got None"),
        ({"classes": 0}, "classes must be a whole number, at least 1, got 0"),
        ({"classes": "ten"}, "got 'ten'"),
        ({"max_layers": 0}, "max_layers must be a whole number, at least 1, got 0"),
        ({"max_layers": True}, "got True"),
        ({"max_layers": 5, "min_layers": 8}, "min_layers must be at most max_layers, got 8 and 5"),
        ({"min_layers": 0}, "min_layers must be a whole number, at least 1, got 0"),
        ({"max_params": -5}, "max_params must be a whole number"),
        ({"max_params": 5}, "no network fits below max_params=5"),
        (
            {"max_flops": 5},
            "max_flops=5 and max_activations=10752 with these choices; raise",
        ),
        ({"max_activations": 5}, "max_activations=5 with these choices; raise the caps"),
        ({"max_activations": 0}, "max_activations must be a whole number, at least 1, got 0"),
        ({"choices": [1]}, "choices must be a mapping"),
        ({"choices": {"conv.filtres": [8]}}, "unknown decision 'conv.filtres': did you mean"),
        ({"choices": {3: [8]}}, "unknown decision '3'"),
    ],
    ids=str,
)
def test_space_that_cannot_be_is_refused(options, sentence):
    with pytest.raises(SpaceError, match=sentence):
        ImageSpace(**({"input_shape": (8, 8, 1), "classes": 10} | options))


def test_fewest_layers_are_four_or_all_where_fewer_are_allowed():
    fewest = [ImageSpace((8, 8, 1), 10, max_layers=most).min_layers for most in (2, 4, 9)]
    assert fewest == [2, 4, 4]


WHOLE = "must be a whole number, at least"


@pytest.mark.parametrize(
    ("decision", "options", "sentence"),
    [
        ("conv.filters", ["8"], WHOLE),
        ("conv.filters", [8, -1], WHOLE),
        ("conv.filters", [8.5], WHOLE),
        ("conv.filters", [True], WHOLE),
        ("conv.filters", [None], WHOLE),
        ("conv.filters", [[8]], WHOLE),
        ("conv.filters", "88", "needs a list of choices, got '88'"),
        ("conv.filters", 8, "needs a list of choices, got 8"),
        ("conv.filters", [], "needs different choices, at least one"),
        ("conv.filters", [8, 8], "needs different choices, at least one"),
        ("conv.kernel", [0], WHOLE),
        ("sepconv.stride", [0], WHOLE),
        ("maxpool.size", [1], "must be a whole number, at least 2, got 1"),
        ("dense.units", [0], WHOLE),
        ("dropout.rate", [1.5], "must be a number from 0 to below 1, got 1.5"),
        ("dropout.rate", [1], "from 0 to below 1, got 1"),
        ("dropout.rate", [-0.1], "from 0 to below 1"),
        ("dropout.rate", [float("nan")], "from 0 to below 1, got nan"),
        ("dropout.rate", ["0.5"], "from 0 to below 1"),
        ("dropout.rate", [False], "from 0 to below 1"),
        ("conv.batch_norm", [0, 1], "must be true or false, got 0"),
        ("conv.batch_norm", ["yes"], "must be true or false"),
        ("conv.activation", ["rellu"], "unknown activation 'rellu': did you mean relu"),
        ("conv.activation", ["glu"], "unknown activation 'glu'"),
        ("dense.activation", [None], "must be the name of an activation, got None"),
    ],
)
def test_choice_that_does_not_fit_its_decision_is_refused(decision, options, sentence):
    with pytest.raises(SpaceError, match=rf"{decision}.* {sentence}|{decision}: {sentence}"):
        ImageSpace((8, 8, 1), 10, choices={decision: options})


def test_numbers_of_numpy_become_plain():
    options = {"conv.filters": np.array([4, 8]), "dropout.rate": [np.float32(0.5), np.int64(0)]}
    space = ImageSpace((8, 8, 1), 10, choices=options)
    kinds = {type(choice) for name in options for choice in space.choices[name]}
    assert kinds == {int, float}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_each_known_activation_is_one_of_keras_and_keeps_the_shape(name):
    layer = keras.layers.Activation(name)
    assert layer(np.zeros((2, 4), "float32")).shape == (2, 4)
    assert json.loads(json.dumps(layer.get_config()))["activation"] == name


def test_each_known_activation_is_another_function():
    x = np.linspace(-8, 8, 65, dtype="float32")[None]
    values = {np.asarray(keras.layers.Activation(name)(x)).tobytes() for name in ACTIVATIONS}
    assert len(values) == len(ACTIVATIONS)


def test_tokens_and_layers_are_two_ways_to_write_one_thing():
    space = ImageSpace((8, 8, 1), 10)
    rng = np.random.default_rng(2)
    for _ in range(30):
        architecture = space.architecture(walk(space, rng))
        assert space.architecture(space.tokens(architecture.layers)).layers == architecture.layers


TWICE = (CONV, MaxPool(2), CONV, MaxPool(2))
DEEP = (*TWICE, CONV, CONV)


@pytest.mark.parametrize(
    ("layers", "read"),
    [
        ((*TWICE, Flatten()), (*TWICE, Flatten())),
        ((*TWICE, Flatten(), Dense(32, "relu")), (*TWICE, Flatten(), Dense(32, "relu"))),
        (DEEP, (*DEEP, GlobalPool())),
    ],
    ids=["halved twice", "flattened before", "to be pooled"],
)
def test_stop_flattens_what_was_halved_twice(layers, read):
    space = ImageSpace((8, 8, 1), 10, min_layers=1)
    assert space.architecture(space.tokens(layers)).layers == read


def test_flattening_of_the_head_takes_no_token():
    space = ImageSpace((8, 8, 1), 10, min_layers=1)
    assert space.tokens((*TWICE, Flatten())) == (*space.tokens(TWICE)[:-2], space.tokens(TWICE)[-1])


def test_stop_pools_globally_where_flattening_would_break_a_cap():
    body = [CONV, Conv(16, 3, 2, "relu", False), Conv(128, 3, 2, "relu", False)]
    for max_params, layers in ((30_000, [*body, Flatten()]), (24_000, body)):
        space = ImageSpace((8, 8, 1), 10, max_params=max_params, max_flops=10**9, min_layers=1)
        tokens = space.tokens(layers)
        assert space.architecture(tokens).layers == tuple(layers)


def test_layer_that_the_space_cannot_write_is_refused():
    with pytest.raises(SpaceError, match=r"dropout\.rate has no choice 0\.7"):
        ImageSpace((8, 8, 1), 10).tokens([Dropout(0.7)])


@pytest.mark.parametrize(
    ("tokens", "sentence"),
    [
        ([0, 9], r"token 9 at position 1 \(conv\.filters\) is out of range: expected 0\.\.1"),
        ([-1], r"token -1 at position 0 \(layer\) is out of range"),
        ([8], r"token 8 at position 0 \(layer\) is not allowed here: expected one of"),
        ([0, 0], r"not finished after 2 tokens: conv\.kernel is still to be decided"),
        ([], "not finished after 0 tokens"),
        (["conv"], "tokens must be whole numbers"),
        ([0.5], "tokens must be whole numbers"),
        ([None], "tokens must be whole numbers"),
    ],
)
def test_illegal_tokens_are_refused(tokens, sentence):
    with pytest.raises(SpaceError, match=sentence):
        few_space({"input_shape": (8, 8, 1)}).architecture(tokens)


def test_tokens_behind_the_stop_are_refused():
    space = ImageSpace((8, 8, 1), 10)
    tokens = walk(space, np.random.default_rng(0))
    with pytest.raises(SpaceError, match=f"finished after {len(tokens)} tokens"):
        space.architecture([*tokens, 0])


def test_reference_is_the_plain_network_of_three_convolutions():
    reference = ImageSpace((28, 28, 1), 10).reference()
    assert [layer.kind for layer in reference.layers] == [
        *("conv", "maxpool", "conv", "maxpool", "conv", "flatten")
    ]
    assert [x.filters for x in reference.layers if isinstance(x, Conv)] == [32, 64, 128]


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 2, 1), (3, 40, 3)])
def test_reference_can_be_built_on_every_shape(shape):
    choices = {"conv.filters": [5, 50], "conv.kernel": [7], "maxpool.size": [3]}
    reference = ImageSpace(shape, 10, choices=choices).reference()
    model = decode(reference)
    assert model.count_params() == network_cost(reference.layers, shape, 10).params
    assert all(x.size == 3 for x in reference.layers if isinstance(x, MaxPool))


def test_cost_is_capped_by_the_reference_where_nothing_is_said():
    space = ImageSpace((28, 28, 1), 10)
    cost = network_cost(space.reference().layers, (28, 28, 1), 10)
    caps = (space.max_flops, space.max_activations)
    assert caps == (4 * cost.flops, 3 * cost.activations)


def test_observation_and_prefix_are_inverse():
    space = ImageSpace((8, 8, 1), 10)
    tokens = walk(space, np.random.default_rng(3))
    for length in range(len(tokens) + 1):
        observed = observation(tokens[:length], space.max_tokens)
        assert observed.shape == (space.max_tokens,)
        assert prefix_of(observed) == tokens[:length]


def test_masks_are_as_wide_as_the_widest_decision():
    space = ImageSpace((8, 8, 1), 10, choices={"dense.units": range(1, 15)})
    assert max_choices(space) == 14
    assert space.mask(()).shape == (14,)
    assert space.mask(()).dtype == np.int8
