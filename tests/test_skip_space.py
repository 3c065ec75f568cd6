"""Image chains with skip connections: the grammar, the children, the attention that chooses."""

from dataclasses import replace

import numpy as np
import pytest

import rlnas
from rlnas.children.backend import keras
from rlnas.children.decoder import decode
from rlnas.config import RecipeConfig
from rlnas.controllers import uniform
from rlnas.controllers.anchors import DensityPull
from rlnas.controllers.policy import Policy
from rlnas.controllers.presets import PRESETS
from rlnas.cost import Conv, Dropout, Flatten, Join, MaxPool, layer_costs, network_cost
from rlnas.errors import ConfigError, SpaceError
from rlnas.search.source import model_source
from rlnas.spaces import Architecture, ImageSpace, RecipeSpace, SkipSpace, anchor, space_from_json
from rlnas.testing import check_controller, check_space

SHAPE = (12, 12, 1)
SPACE = SkipSpace(SHAPE, 5, max_layers=6)


def drawn(space, count, seed=0):
    rng = np.random.default_rng(seed)
    return [space.architecture(uniform(space, rng)) for _ in range(count)]


def joined(networks):
    return [each for each in networks if any(isinstance(layer, Join) for layer in each.layers)]


def conv(filters=16, **changed):
    options = {"kernel": 3, "stride": 1, "activation": "relu", "batch_norm": False}
    return Conv(filters=filters, **options | changed)


def network(*layers):
    return Architecture((), layers, SHAPE, 5)


# --- the grammar ---


@pytest.mark.parametrize("shape", [SHAPE, (28, 28, 1), (9, 14, 3)])
def test_space_keeps_the_contract(shape):
    check_space(SkipSpace(shape, 5, max_layers=7), np.random.default_rng(1), walks=30)


def test_space_comes_back_from_json():
    assert space_from_json(SPACE.to_json()).decisions == SPACE.decisions


def test_reference_child_is_that_of_plain_chains():
    assert SPACE.reference().layers == ImageSpace(SHAPE, 5, max_layers=6).reference().layers
    again = SPACE.architecture(SPACE.reference().tokens)
    assert again.layers == SPACE.reference().layers


def test_switches_ask_for_each_earlier_layer_and_one_is_always_taken():
    for each in drawn(SPACE, 60):
        asked, tokens = [], each.tokens
        for place, token in enumerate(tokens):
            decision = SPACE.decision(tokens[:place])
            if decision.looks_back:
                asked.append((decision.name, decision.choices[token]))
            elif asked:
                names = [name for name, _ in asked]
                assert names == [f"skip.{back}" for back in range(len(asked), 0, -1)]
                assert "on" in [choice for _, choice in asked]
                asked = []


def test_all_that_nothing_took_comes_together_before_the_head():
    left_aside = 0
    for each in drawn(SPACE, 300):
        behind = next(
            (
                k
                for k, (shape, _) in enumerate(layer_costs(each.layers, SHAPE), 1)
                if len(shape) == 1
            ),
            len(each.layers) + 1,
        )
        taken, last = set(), None  # by number of the layer; the layer before is what is not joined
        for number, layer in enumerate(each.layers[: behind - 1], 1):
            if isinstance(layer, Join):
                taken |= set(layer.of)
                last = None
                continue
            if last is not None:
                taken.add(last)
            last = number
        written = [k for k, one in enumerate(each.layers[: behind - 1], 1) if one.kind != "join"]
        assert set(written) - taken <= {max(written)}
        left_aside += any(
            isinstance(one, Join) and k + 1 == behind - 1 for k, one in enumerate(each.layers)
        )
    assert left_aside > 3


def test_caps_hold_whatever_is_joined():
    caps = {"max_params": 20_000, "max_flops": 1_500_000, "max_activations": 12_000}
    space = SkipSpace(SHAPE, 5, **caps)
    networks = drawn(space, 150)
    assert joined(networks)
    for each in networks:
        cost = network_cost(each.layers, SHAPE, 5)
        assert cost.params <= space.max_params
        assert cost.flops <= space.max_flops
        assert cost.activations <= space.max_activations


def test_layers_are_written_as_they_were_read():
    for each in drawn(SPACE, 80):
        tokens = SPACE.tokens(each.layers)
        assert SPACE.architecture(tokens).layers == each.layers


def test_layers_that_cannot_be_written_are_refused():
    with pytest.raises(SpaceError, match="cannot be written"):
        SPACE.tokens((conv(), conv(), Join((1,)), MaxPool(2)))


# --- one key for equal networks ---


def test_dropout_that_does_nothing_changes_no_key():
    plain = network(conv(), MaxPool(2), conv(), Join((2, 3)), conv(), Flatten())
    idle = network(conv(), MaxPool(2), Dropout(0.0), conv(), Join((3, 4)), conv(), Flatten())
    other = network(conv(), MaxPool(2), conv(), Join((1, 3)), conv(), Flatten())
    assert SPACE.key(plain) == SPACE.key(idle)
    assert SPACE.key(plain) != SPACE.key(other)


def test_a_chain_has_the_key_it_has_without_switches():
    chain = network(conv(), MaxPool(2), conv(), MaxPool(2), conv(), Flatten())
    assert SPACE.key(chain) == ImageSpace(SHAPE, 5).key(chain)


# --- the children ---


def test_parameters_and_shapes_are_those_of_the_built_child():
    for each in joined(drawn(SPACE, 150))[:12]:
        model = decode(each)
        assert model.count_params() == network_cost(each.layers, SHAPE, 5).params
        for number, (layer, (shape, _)) in enumerate(
            zip(each.layers, layer_costs(each.layers, SHAPE), strict=True), 1
        ):
            if isinstance(layer, Join) and len(layer.of) > 1:
                assert model.get_layer(f"join_{number}").output.shape[1:] == shape


def test_small_images_get_zeros_around_them():
    layers = (conv(2), MaxPool(2), Join((1, 2)), conv(4))
    model = decode(network(*layers))
    keras.utils.set_random_seed(0)
    joint = keras.Model(model.input, model.get_layer("join_3").output)
    found = np.asarray(joint(np.random.default_rng(0).random((1, *SHAPE)).astype("float32")))
    assert found.shape == (1, 12, 12, 4)
    assert np.count_nonzero(found[0, :, :, 2:].sum(axis=-1)) <= 36
    assert not found[0, :3, :, 2:].any()
    assert not found[0, :, 9:, 2:].any()


def test_a_join_of_what_is_not_there_is_refused():
    with pytest.raises(SpaceError, match="a join of layer 4 stands behind 1 layers"):
        network_cost((conv(), Join((4,))), SHAPE, 5)


def test_script_builds_the_same_network(tmp_path):
    for number, each in enumerate(joined(drawn(SPACE, 200))[:6]):
        source = model_source(
            each,
            RecipeConfig(),
            "digits",
            scale=1 / 16,
            batch_norm_momentum=0.9,
            class_names=tuple("abcde"),
            seed=0,
        )
        path = tmp_path / f"model_{number}.py"
        path.write_text(source)
        names: dict[str, object] = {"__name__": "made"}
        exec(compile(source, str(path), "exec"), names)
        made = names["build_model"]()
        ours = decode(each, scale=1 / 16, batch_norm_momentum=0.9)
        assert made.to_json() == ours.to_json()
        assert max(map(len, source.splitlines())) <= 88


# --- the attention that chooses ---


@pytest.mark.parametrize("preset", ["default", "enas"])
def test_reading_in_numpy_is_what_keras_computes(preset):
    policy = Policy(SPACE, PRESETS[preset], np.random.default_rng(1))
    networks = drawn(SPACE, 4)
    batch = policy.batch([each.tokens for each in networks])
    logits = np.asarray(policy._network._model([batch["entry"], batch["anchor"]]))
    switches = 0
    for row, each in enumerate(networks):
        for place in range(len(each.tokens)):
            prefix = each.tokens[:place]
            (allowed,) = SPACE.mask(prefix).nonzero()
            start = policy._vocabulary.entries(prefix).start
            found = policy._reader.scores(prefix, allowed)
            assert found == pytest.approx(logits[row, place, start + allowed], abs=1e-6)
            switches += SPACE.decision(prefix).looks_back
    assert switches > 5


def test_a_switch_is_on_with_the_sigmoid_of_the_attention():
    policy = Policy(SPACE, PRESETS["default"], np.random.default_rng(1))
    tokens = joined(drawn(SPACE, 50))[0].tokens
    place = next(k for k in range(len(tokens)) if SPACE.decision(tokens[:k]).looks_back)
    prefix, back = tokens[:place], anchor(SPACE, tokens[:place])
    mask = np.zeros(policy._space.mask(prefix).shape, np.int8)
    mask[:2] = 1
    chance = policy.row(prefix, mask)
    weights = policy._reader._weights
    behind, now = (policy._reader._read[each][1][-1][0] for each in (prefix[:back], prefix))
    attention = weights.attention
    score = np.tanh(behind @ attention.before + now @ attention.now) @ attention.score
    assert chance[1] == pytest.approx(1 / (1 + np.exp(-score)))
    assert 0 < back < place


def test_anchors_are_where_layers_ended():
    each = joined(drawn(SPACE, 50))[0]
    for place in range(len(each.tokens)):
        prefix = each.tokens[:place]
        found = anchor(SPACE, prefix)
        if SPACE.decision(prefix).looks_back:
            assert SPACE.decision(prefix[:found]).name == "layer"
        else:
            assert found is None
    with_recipe = RecipeSpace(SPACE, ["l2"])
    assert anchor(with_recipe, each.tokens) is None
    switch = next(k for k in range(len(each.tokens)) if SPACE.decision(each.tokens[:k]).looks_back)
    assert anchor(with_recipe, each.tokens[:switch]) == anchor(SPACE, each.tokens[:switch])


def share_of_switches(policy):
    rng, on, free = np.random.default_rng(0), 0, 0
    for _ in range(60):
        tokens = policy.sample(rng)
        for place, token in enumerate(tokens):
            prefix = tokens[:place]
            if SPACE.decision(prefix).looks_back and SPACE.mask(prefix)[:2].all():
                on, free = on + token, free + 1
    return on / free


def test_policy_is_pulled_to_a_density_of_connections():
    rng = np.random.default_rng(0)
    settings = replace(PRESETS["default"], density=0.2, entropy=0.0)
    policy = Policy(SPACE, settings, np.random.default_rng(1))
    assert share_of_switches(policy) > 0.35
    for _ in range(60):
        batch = policy.batch([policy.sample(rng) for _ in range(4)])
        batch["advantage"] = np.zeros(4, np.float32)
        batch["temperature"] = np.ones(4, np.float32)
        policy.update(batch)
    assert 0.1 < share_of_switches(policy) < 0.3


def test_pull_is_the_kl_divergence_of_switches_that_are_free():
    pull = DensityPull(((0, 1),), 3, 0.4, 0.8)
    chance = np.array([[[0.3, 0.7, 1e-9], [1e-9, 1e-9, 1.0]]], np.float32)
    mask = np.array([[[1, 1, 0], [0, 0, 1]]], np.int8)
    weight = np.ones((1, 2), np.float32)
    expected = 0.8 * (0.7 * np.log(0.7 / 0.4) + 0.3 * np.log(0.3 / 0.6))
    assert float(pull.loss(np.log(chance), mask, weight)) == pytest.approx(expected, rel=1e-5)
    forced = np.array([[[0, 1, 0], [0, 0, 1]]], np.int8)
    assert float(pull.loss(np.log(chance), forced, weight)) == 0


@pytest.mark.parametrize("name", ["ppo", "reinforce", "evolution", "dqn"])
def test_controllers_keep_the_contract(name):
    from rlnas.config import ControllerConfig
    from rlnas.controllers import make_controller

    config = ControllerConfig(name=name)
    check_controller(lambda seed: make_controller(SPACE, config, seed), SPACE)


def test_density_needs_skip_connections():
    with pytest.raises(ConfigError, match="is about skip connections, which a space called image"):
        rlnas.Search(config={"controller": {"skip_density": 0.4}})
    with pytest.raises(ConfigError, match=r"skip_density 0\.4 is a setting of ppo and reinforce"):
        rlnas.Search(config={"controller": {"name": "random", "skip_density": 0.4}})


def test_whole_search_exports_a_network_with_connections(tmp_path):
    config = {
        "space": {"name": "image-skip", "max_layers": 6},
        "controller": {"skip_density": 0.4},
        "data": {"train_samples": 200},
        "recipe": {"epochs": 1},
        "engine": {"executor": "inline"},
        "budget": {"trials": 7},
        "final": {"top_k": 1, "epochs": 1},
    }
    found = rlnas.Search(config=config, root=tmp_path).run()
    assert any("join" in trial.key for trial in found.trials)
    assert found.best.test_accuracy is not None
