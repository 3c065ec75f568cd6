"""Recipes as tokens: what they write, how it is told apart, and that children are trained so."""

import json
import pickle

import numpy as np
import pytest

import rlnas
from rlnas.config import AUGMENTATIONS_OF, ControllerConfig, RecipeConfig, make_config
from rlnas.controllers import make_controller
from rlnas.controllers.variation import cross, grafted, mutant, uniform
from rlnas.errors import ConfigError, RlnasError, SpaceError
from rlnas.search.setup import with_recipes
from rlnas.spaces import (
    AudioSpace,
    ImageSpace,
    RecipeSpace,
    TableSpace,
    TabularSpace,
    fingerprint,
    observation,
    space_from_json,
    suggestions,
)

INNER = TableSpace(["00", "01", "10"])
EDITED = [ImageSpace((16, 16, 1), 4), TabularSpace((20,), 2), INNER]
FIXED = RecipeConfig(learning_rate=0.02, augment="shift", augment_strength=0.3)


def space(*parts, **options):
    return RecipeSpace(INNER, parts or None, recipe=FIXED, **options)


def test_sequence_is_the_network_then_one_token_for_each_part():
    searched = space("learning_rate", "optimizer", choices={"recipe.optimizer": ["sgd", "adam"]})
    assert searched.decision((0,)).name == "position 2"
    assert searched.decision((0, 1)).name == "recipe.optimizer"
    assert searched.decision((0, 1, 1)).name == "recipe.learning_rate"
    assert searched.decision((0, 1, 1, 0)) is None
    # adamw is the recipe of the config, so it is offered too
    assert searched.decision((0, 1)).choices == ("sgd", "adam", "adamw")
    rates = (0.0003, 0.001, 0.003, 0.01, 0.02, 0.03, 0.1)
    assert searched.decision((0, 1, 1)).choices == rates
    assert searched.mask((0, 1, 1)).tolist() == [1] * 7
    found = searched.architecture((0, 1, 1, 0))
    assert found.trained_by(FIXED) == FIXED.model_copy(
        update={"optimizer": "adam", "learning_rate": 0.0003}
    )
    assert found.describe() == "01 | optimizer adam, learning_rate 0.0003"


def test_strength_is_decided_only_where_images_are_changed():
    searched = space("augment")
    unchanged, changed = (0, 0, 0, 0, 0, 0), (0, 0, 1, 0, 0, 1)
    assert searched.decision(unchanged) is None
    assert searched.architecture(unchanged).trained_by(FIXED).augmentations == ()
    assert searched.decision(changed).name == "recipe.augment_strength"
    found = searched.architecture((*changed, 1)).trained_by(FIXED)
    assert (found.augment, found.augment_strength) == ("flip,shift", 0.1)


def test_changes_are_those_that_fit_the_data():
    fit = AUGMENTATIONS_OF["audio"]
    searched = pickle.loads(
        pickle.dumps(RecipeSpace(INNER, ["augment"], recipe=FIXED, augmentations=fit))
    )
    names = [decision.name for decision in searched.decisions[-3:]]
    assert names == ["recipe.time_mask", "recipe.frequency_mask", "recipe.augment_strength"]
    found = searched.architecture((0, 1, 0, 1, 2)).trained_by(FIXED)
    assert (found.augment, found.augment_strength) == ("frequency_mask", 0.2)


def test_reference_is_trained_by_the_recipe_of_the_config():
    for parts in ((), ("augment",), ("learning_rate", "l2")):
        reference = space(*parts).reference()
        assert reference.trained_by(FIXED) == FIXED
        assert reference.trained_by(RecipeConfig()) != RecipeConfig()


def test_keys_tell_recipes_and_networks_apart_and_nothing_else():
    searched = RecipeSpace(ImageSpace((8, 8, 1), 10), ["learning_rate"], recipe=FIXED)
    network = searched.space.reference().tokens
    keys = {searched.key(searched.architecture((*network, token))) for token in range(7)}
    assert len(keys) == 7
    assert all(key.startswith(searched.space.key(searched.space.reference())) for key in keys)
    dropped = ImageSpace((8, 8, 1), 10, choices={"dropout.rate": (0.0, 0.5)})
    rng, seen = np.random.default_rng(0), {}
    searched = RecipeSpace(dropped, ["augment"])
    for _ in range(200):
        tokens = []
        while searched.decision(tokens) is not None:
            tokens.append(int(rng.choice(np.flatnonzero(searched.mask(tokens)))))
        found = searched.architecture(tokens)
        inner = dropped.key(dropped.architecture(tokens[: searched._end(tuple(tokens))]))
        assert seen.setdefault(searched.key(found), (inner, found.recipe)) == (inner, found.recipe)
    assert len(set(seen.values())) == len(seen)


def test_new_network_is_often_tried_with_a_recipe_that_is_known_to_be_good():
    inner = ImageSpace((16, 16, 1), 4)
    searched, rng = RecipeSpace(inner), np.random.default_rng(0)
    donor = searched.architecture(uniform(searched, rng))
    taken = 0
    for _ in range(60):
        drawn = uniform(searched, rng)
        found = searched.architecture(grafted(searched, drawn, [donor.tokens], rng))
        own = searched.architecture(drawn)
        assert found.layers == own.layers
        assert found.recipe in (own.recipe, donor.recipe)
        taken += found.recipe == donor.recipe
    assert 20 < taken < 40
    assert grafted(searched, drawn, [], rng) == drawn


@pytest.mark.parametrize("inner", EDITED, ids=lambda inner: inner.name)
def test_every_second_edit_changes_one_part_of_the_recipe_and_the_others_none(inner):
    searched, rng = RecipeSpace(inner), np.random.default_rng(0)
    parent = searched.reference()
    recipes, own = 0, len(inner.reference().tokens)
    for _ in range(600):
        tokens = mutant(searched, parent.tokens, rng)
        found = searched.architecture(tokens)
        assert (found.recipe == parent.recipe) != (tokens[:own] == parent.tokens[:own])
        if found.recipe != parent.recipe:
            recipes += 1
            changed = dict(set(found.recipe) - set(parent.recipe))
            assert len(changed) - ("augment_strength" in changed) == 1
    assert 255 < recipes < 345


def test_where_the_recipe_has_no_other_choice_the_network_is_edited():
    choices = {"recipe.dropout": (0.0,)}
    searched, rng = RecipeSpace(INNER, ["dropout"], choices=choices), np.random.default_rng(0)
    parent = searched.reference().tokens
    assert all(mutant(searched, parent, rng) != parent for _ in range(50))


@pytest.mark.parametrize("inner", EDITED, ids=lambda inner: inner.name)
def test_cross_takes_each_part_of_the_recipe_from_a_parent(inner):
    searched, rng = RecipeSpace(inner), np.random.default_rng(0)
    for _ in range(100):
        first, second = (searched.architecture(uniform(searched, rng)) for _ in range(2))
        child = searched.architecture(cross(searched, first.tokens, second.tokens, rng))
        for part in set(dict(child.recipe)) - {"augment", "augment_strength"}:
            parents = dict(first.recipe)[part], dict(second.recipe)[part]
            assert dict(child.recipe)[part] in parents
        same = searched.architecture(cross(searched, first.tokens, first.tokens, rng))
        assert same.recipe == first.recipe


def test_space_that_is_read_again_has_the_random_changes_of_its_data():
    audio = AudioSpace((64, 32, 1), 4)
    searched = RecipeSpace(audio, ["augment"], augmentations=AUGMENTATIONS_OF["audio"])
    again = space_from_json(json.loads(json.dumps(searched.to_json())))
    assert again.decisions == searched.decisions
    assert fingerprint(again) == fingerprint(searched)
    assert again.suggestions() == searched.suggestions()


def test_suggestions_are_the_reference_child_with_recipes_that_often_help():
    image = RecipeSpace(ImageSpace((16, 16, 1), 4))
    reference = image.reference()
    found = [image.architecture(tokens) for tokens in image.suggestions()]
    assert all(each.layers == reference.layers for each in found)
    changes = [set(each.recipe) - set(reference.recipe) for each in found]
    assert [each - {("augment_strength", 0.1)} for each in changes] == [
        {("learning_rate", 0.01)},
        {("learning_rate", 0.001)},
        {("augment", "flip")},
        {("augment", "flip,shift")},
        {("augment", "flip,shift"), ("dropout", 0.3)},
        {("dropout", 0.3)},
        {("label_smoothing", 0.1)},
    ]


@pytest.mark.parametrize(
    ("own", "choices", "expected"),
    [
        (0.1, None, [0.03]),  # nothing higher is offered
        (0.003, None, [0.01, 0.001]),
        (0.002, (0.001, 0.004, 0.02), [0.004, 0.001]),
        (0.002, (0.002,), []),
        (5e-324, None, []),  # all are farther than a factor of three
    ],
)
def test_higher_and_lower_learning_rates_are_those_offered_near_a_factor_of_three(
    own, choices, expected
):
    given = {} if choices is None else {"recipe.learning_rate": choices}
    space = RecipeSpace(
        ImageSpace((16, 16, 1), 4),
        ["learning_rate"],
        recipe=RecipeConfig(learning_rate=own),
        choices=given,
    )
    found = [dict(space.architecture(tokens).recipe) for tokens in space.suggestions()]
    assert [each["learning_rate"] for each in found] == expected


def test_suggestions_are_of_what_is_searched_and_of_what_fits():
    inner = ImageSpace((16, 16, 1), 4)
    assert suggestions(inner) == []
    assert suggestions(RecipeSpace(inner, ["optimizer", "l2"])) == []
    audio = RecipeSpace(
        AudioSpace((64, 32, 1), 4), ["augment"], augmentations=AUGMENTATIONS_OF["audio"]
    )
    (tokens,) = suggestions(audio)
    assert dict(audio.architecture(tokens).recipe)["augment"] == "time_mask,frequency_mask"
    own = RecipeSpace(inner, ["dropout"], recipe=RecipeConfig(dropout=0.3))
    assert suggestions(own) == []  # its reference child has it
    choices = {"recipe.dropout": (0.0, 0.1)}
    assert suggestions(RecipeSpace(inner, ["dropout"], choices=choices)) == []
    tight = ImageSpace((16, 16, 1), 4, max_flops=100_000)
    assert suggestions(RecipeSpace(tight, ["dropout"])) == []  # a cap keeps out the reference


def test_what_the_space_suggests_is_proposed_first_and_once_also_behind_a_resume():
    space = RecipeSpace(ImageSpace((16, 16, 1), 4), ["augment", "dropout"])
    controller = make_controller(space, ControllerConfig(), 0)
    assert written(controller, space) not in space.suggestions()  # of nothing known
    controller = make_controller(space, ControllerConfig(), 0)
    controller.begin_with(space.reference().tokens, 0.5)
    first = [written(controller, space) for _ in range(2)]
    later = make_controller(space, ControllerConfig(), 0)
    later.load(controller.state())
    assert [*first, *(written(later, space) for _ in range(2))] == space.suggestions()
    assert written(later, space) not in [*space.suggestions(), space.reference().tokens]


def test_suggestions_take_a_quarter_of_the_trials_at_most_and_none_that_is_known():
    space = RecipeSpace(ImageSpace((16, 16, 1), 4), ["augment", "dropout"])
    controller = make_controller(space, ControllerConfig(), 0)
    controller.begin_with(space.reference().tokens, 0.5, trials=7)
    assert written(controller, space) == space.suggestions()[0]
    assert written(controller, space) not in space.suggestions()
    own = RecipeConfig(dropout=0.3)  # so that two suggestions are one
    space = RecipeSpace(ImageSpace((16, 16, 1), 4), ["augment", "dropout"], recipe=own)
    assert len(space.suggestions()) == 3
    controller = make_controller(space, ControllerConfig(), 0)
    controller.begin_with(space.reference().tokens, 0.5)
    proposed = [written(controller, space) for _ in range(4)]
    assert len(set(proposed)) == 4
    assert proposed[:2] == space.suggestions()[:2]


def written(controller, space):
    """Return what a controller proposes."""
    tokens = []
    while space.decision(tokens) is not None:
        observed = observation(tokens, space.max_tokens)
        action = controller.act(observed[None], space.mask(tokens)[None])
        tokens.append(int(action.tokens[0]))
    return tuple(tokens)


def test_where_no_recipe_is_searched_nothing_is_drawn_for_it():
    rng, inner = np.random.default_rng(0), ImageSpace((16, 16, 1), 4)
    first, second = uniform(inner, rng), uniform(inner, rng)
    before = rng.bit_generator.state
    assert grafted(inner, first, [second], rng) == first
    assert rng.bit_generator.state == before


def test_space_travels_and_differs_by_what_it_offers():
    searched = space("optimizer", "augment")
    twin = pickle.loads(pickle.dumps(searched))
    assert fingerprint(twin) == fingerprint(searched)
    assert fingerprint(space("optimizer")) != fingerprint(searched)


@pytest.mark.parametrize(
    ("parts", "choices", "sentence"),
    [
        (["optimiser"], {}, "unknown part of the recipe 'optimiser': did you mean optimizer"),
        ([], {}, "expected parts of the recipe, of batch_size, .* got none"),
        (["l1"], {"recipe.l2": [0.1]}, "unknown decision of the recipe 'recipe.l2'"),
        (["l1"], {"recipe.l1": [-1.0]}, "-1.0 is no choice of recipe.l1: "),
        (["l1"], {"recipe.l1": [0.1, 0.1]}, "recipe.l1 needs different choices"),
        (["optimizer"], {"recipe.optimizer": ["lion"]}, "'lion' is no choice of recipe.optimizer"),
        (["augment"], {"recipe.flip": ["yes"]}, "a choice of recipe.flip must be true or false"),
    ],
)
def test_wrong_part_or_choice_is_told(parts, choices, sentence):
    with pytest.raises(SpaceError, match=sentence):
        RecipeSpace(INNER, parts, choices=choices)


def test_config_says_what_is_searched():
    config = make_config({"space": {"search_recipe": "learning_rate,batch_size"}})
    assert config.space.search_recipe == "batch_size,learning_rate"
    found = with_recipes(INNER, config)
    assert [each.name for each in found.decisions[2:]] == [
        "recipe.batch_size",
        "recipe.learning_rate",
    ]
    assert with_recipes(INNER, make_config({})) is INNER
    with pytest.raises(ConfigError, match="all stands alone, got 'all,l2'; leave the others out"):
        make_config({"space": {"search_recipe": "all,l2"}})
    with pytest.raises(ConfigError, match="unknown part of the recipe 'rate'"):
        make_config({"space": {"search_recipe": "rate"}})
    choices = {"space": {"choices": {"recipe.l1": [0.1]}}}
    with pytest.raises(ConfigError, match=r"recipe.l1 is a decision of the recipe, .*not searched"):
        with_recipes(INNER, make_config(choices))


def test_search_trains_each_child_by_its_own_recipe_and_exports_it(tmp_path):
    config = {
        "space": {
            "max_layers": 2,
            "search_recipe": "batch_size,optimizer,label_smoothing",
            "choices": {"recipe.batch_size": [7, 11]},
        },
        "data": {"train_samples": 60, "final_samples": 60},
        "recipe": {"epochs": 1},
    }
    found = rlnas.Search(
        data="digits",
        root=tmp_path,
        config=config,
        controller="random",
        trials=3,
        top_k=1,
        final_epochs=1,
        executor="inline",
    ).run()
    report = json.loads((found.folder / "best" / "report.json").read_text())
    script = (found.folder / "best" / "model.py").read_text()
    size = next(size for size in (7, 11, 32) if f"batch_size {size}," in found.best.layers)
    assert f"\nBATCH_SIZE = {size}\n" in script
    assert report["trial"] == found.best.trial
    assert found.model.predict(np.zeros((1, 8, 8, 1)), verbose=0).shape == (1, 10)


def test_own_evaluator_cannot_be_told_how_to_train(tmp_path):
    with pytest.raises(RlnasError, match=r"--search-recipe.* trains by itself"):
        rlnas.Search(
            data="digits",
            root=tmp_path,
            config={"space": {"search_recipe": "all"}},
            evaluator=lambda model, data, seed: 0.5,
        )
