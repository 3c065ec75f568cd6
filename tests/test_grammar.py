"""Spaces that a user writes, in YAML or Python: what they allow, and how mistakes are named."""

import json
import re
import shutil

import numpy as np
import pytest

import rlnas
from rlnas.cli import main
from rlnas.controllers import uniform
from rlnas.cost import KERAS_LAYERS, KerasLayer, network_cost
from rlnas.errors import ConfigError, SpaceError
from rlnas.spaces import GrammarSpace, read_grammar, space_from_json
from rlnas.testing import check_space

SHAPES = {"image": (12, 12, 1), "text": (9, 50), "audio": (20, 16, 1), "tabular": (5,)}
FIVE = ["small-cnn", "mobile", "reader", "listener", "funnel"]


@pytest.fixture(scope="session")
def written(root):
    """Return the five spaces of the docs by name, as text."""
    text = (root / "docs" / "spaces.md").read_text("utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    return {re.match(r"space: (.*)", block)[1]: block for block in blocks}


@pytest.fixture
def space_file(tmp_path, written):
    def write(name_or_text):
        path = tmp_path / "space.yaml"
        path.write_text(written.get(name_or_text, name_or_text))
        return path

    return write


def made(path, **options):
    grammar = read_grammar(path)
    return GrammarSpace(grammar, SHAPES[grammar.data], 4, **options)


# --- the five of the docs ---


def test_docs_have_five_spaces_and_all_layers(written, root):
    assert list(written) == FIVE
    text = (root / "docs" / "spaces.md").read_text("utf-8")
    assert all(f"| `{name}` |" in text for name in KERAS_LAYERS)


@pytest.mark.parametrize("name", FIVE)
def test_space_keeps_the_contract(name, space_file):
    check_space(made(space_file(name)), np.random.default_rng(0), walks=30)


@pytest.mark.parametrize("name", FIVE)
def test_validate_shows_what_keras_builds(name, space_file, capsys):
    assert main(["validate", str(space_file(name)), "--networks", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["space"] == name
    assert found["reference"]["params"] > 0
    assert found["architectures"] >= len(found["drawn"]) > 0


def test_validate_says_in_words_how_large_the_space_is(space_file, capsys):
    assert main(["validate", str(space_file("funnel")), "--networks", "1"]) == 0
    assert "funnel is right: 4 decisions, at most 4 in a network" in capsys.readouterr().out


def examples(kind):
    """Return arrays, or a mapping for the config and nothing else, of 4 classes."""
    rng, labels = np.random.default_rng(0), np.arange(80) % 4
    if kind == "image":
        return rng.integers(0, 255, (80, *SHAPES["image"]), "uint8"), labels
    if kind == "tabular":
        return rng.normal(size=(80, 5)), labels
    return [" ".join(rng.choice(["a", "b", "c", "d"], 6)) for _ in labels], labels


@pytest.mark.parametrize(
    "name",
    [each if each == "small-cnn" else pytest.param(each, marks=pytest.mark.slow) for each in FIVE],
)
def test_search_in_it(name, space_file, tmp_path, tmp_path_factory):
    from test_kinds import tones_folder

    path = space_file(name)
    kind = read_grammar(path).data
    data = tones_folder(tmp_path / "tones") if kind == "audio" else examples(kind)
    found = rlnas.Search(
        data,
        space=str(path),
        root=tmp_path / "runs",
        name="run",
        trials=3,
        epochs=1,
        top_k=1,
        final_epochs=1,
        executor="inline",
    ).run()
    assert all(trial.reason is None for trial in found.trials)
    assert (found.folder / "best" / "model.py").is_file()
    assert (found.folder / "space.yaml").read_text() == path.read_text()


# --- what is written ---


def test_reference_is_the_one_of_the_rules(space_file):
    network = made(space_file("small-cnn")).reference()
    assert [layer.kind for layer in network.layers][:4] == [
        "conv2d",
        "batchnormalization",
        "activation",
        "maxpooling2d",
    ]
    assert dict(network.layers[0].options) == {
        "filters": 16,
        "kernel_size": 3,
        "padding": "same",
        "use_bias": False,
    }


def test_conditions_keep_choices_back_and_pass_decisions_over(space_file):
    space = made(space_file("funnel"))
    second = [space.decision((0, first)).name for first in range(3)]
    assert second == ["second"] * 3
    assert space.mask((0, 0)).tolist() == [1, 1, 0, 1]
    assert space.mask((0, 1)).tolist() == [1, 1, 1, 1]
    assert space.decision((0, 1, 3)) is None  # none ends
    passed = made(
        space_file(
            """
            space: s
            data: tabular
            decisions:
              drop: {choices: [true, false]}
              rate:
                when: {drop: true}
                choices: [0.1, 0.5]
                layers: [Dropout: {rate: $rate}]
              units: {choices: [3], layers: [Dense: {units: $units}]}
            """
        )
    )
    assert passed.decision((0,)).name == "rate"
    assert passed.decision((1,)).name == "units"
    assert passed.extent.architectures == 3


def test_bounded_decisions_come_so_often_and_no_more(space_file):
    space, rng = made(space_file("small-cnn")), np.random.default_rng(0)
    drawn = [uniform(space, rng) for _ in range(200)]
    blocks = [sum(space.decision(t[:n]).name == "block" for n in range(len(t))) for t in drawn]
    assert max(blocks) == 5
    assert max(map(len, drawn)) <= space.max_tokens == 15


def test_choices_that_do_not_fit_the_data_or_the_caps_are_kept_back(space_file):
    path = space_file(
        """
        space: s
        data: image
        decisions:
          kernel: {choices: [3, 5, 9], layers: [Conv2D: {filters: 4, kernel_size: $kernel}]}
          units: {choices: [8, 4000], layers: [GlobalAveragePooling2D, Dense: {units: $units}]}
        """
    )
    grammar = read_grammar(path)
    small = GrammarSpace(grammar, (6, 6, 1), 4, max_params=10_000)
    assert small.mask(()).tolist() == [1, 1, 0]
    assert small.mask((0,)).tolist() == [1, 0, 0]
    rng = np.random.default_rng(0)
    for _ in range(20):
        network = small.architecture(uniform(small, rng))
        assert network_cost(network.layers, (6, 6, 1), 4).params <= 10_000
    with pytest.raises(SpaceError, match=r"no network of the space s fits .*does not fit into"):
        GrammarSpace(grammar, (2, 2, 1), 4)
    with pytest.raises(SpaceError, match="is above max_params, 50"):
        GrammarSpace(grammar, (6, 6, 1), 4, max_params=50)


def test_a_residual_block_that_drops_nothing_is_part_of_the_key(space_file):
    space = made(
        space_file(
            """
            space: s
            data: tabular
            decisions:
              rate:
                choices: [0.0, 0.5]
                layers:
                  - dense: {units: 4, activation: relu}
                  - resdense: {units: 8, activation: relu, rate: $rate}
            """
        )
    )
    keys = [space.key(space.architecture((token,))) for token in (0, 1)]
    assert keys == [f"dense 4 relu > resdense 8 relu {rate}" for rate in ("0", "0.5")]


def test_keys_leave_out_what_does_nothing(space_file):
    space = made(
        space_file(
            """
            space: s
            data: tabular
            decisions:
              rate: {choices: [0.0, 0.5], layers: [Dropout: {rate: $rate}]}
              units: {choices: [3], layers: [dense: {units: $units, activation: relu}]}
            """
        )
    )
    keys = [space.key(space.architecture((token, 0))) for token in range(2)]
    assert keys == ["dense 3 relu", "Dropout(rate=0.5) > dense 3 relu"]


def test_json_of_numbered_choices_leads_back(space_file):
    space = made(space_file("mobile"))
    again = space_from_json(json.loads(json.dumps(space.to_json())))
    assert [decision.choices for decision in again.decisions] == [
        decision.choices for decision in space.decisions
    ]
    layer = space.reference().layers[0]
    assert isinstance(layer, KerasLayer)
    assert again.reference() == space.reference()


# --- what is wrong ---

GOOD = """\
space: s
data: image
decisions:
  block:
    at_most: 3
    next: end
    choices:
      conv: {next: filters}
      stop: {next: end}
  filters:
    choices: [8, 16]
    layers:
      - Conv2D: {filters: $filters, kernel_size: 3}
    next: block
"""
BROKEN = [
    ("    at_most: 3\n    next: end\n", "", "4:3", "block > filters > block goes on for ever"),
    ("next: filters", "next: filter", "8:20", "unknown decision 'filter': did you mean filters"),
    ("- Conv2D:", "- Conv2d:", "13:9", "unknown layer 'Conv2d': did you mean Conv2D"),
    ("kernel_size: 3", "kernel: 3", "13:37", "unknown option of Conv2D 'kernel'"),
    ("$filters,", "$filter,", "13:27", "unknown decision 'filter'"),
    ("[8, 16]", "[8, -16]", "13:27", "filters of Conv2D must be a whole number, .*got -16"),
    ("[8, 16]", "[8, 8]", "11:18", "the choice 8 stands there twice"),
    ("[8, 16]", "[8, [1]]", "11:18", "a choice must be a text, a number"),
    ("[8, 16]", "[]", "11:14", "expected a list of choices, at least one"),
    ("data: image", "data: images", "2:7", "unknown kind of data 'images'"),
    ("data: image\n", "", "1:1", "expected data, which is missing"),
    ("at_most: 3", "at_most: many", "5:14", "expected a whole number, at least 1, got 'many'"),
    ("  filters:\n    choices", "  filters:\n    chioces", "11:5", "unknown key 'chioces'"),
    ("conv: {next: filters}", "conv: {next: end}", "10:3", "filters is never decided"),
    ("filters: $filters, ", "", "13:9", "Conv2D needs filters"),
    ("[8, 16]", "{8: {when: {block: pool}}}", "11:33", "'pool' is no choice of block"),
    ("[8, 16]", "{8: {when: {block: stop}}}", "10:3", "a dead end: no choice of filters"),
    ("[8, 16]", "{8: , 16: {when: {block: stop}}}", "11:20", "16 can never be chosen"),
    ("[8, 16]", "{8: {layers: [Dense: {units: $later}]}}", "11:43", "unknown decision 'later'"),
    (
        "conv: {",
        "conv: {layers: [Dropout: {rate: $filters}], ",
        "8:39",
        "may not be decided",
    ),
    (
        "next: block\n",
        "next: block\n  block: {choices: [1]}\n",
        "15:3",
        "block stands there",
    ),
    ("choices: [8, 16]", "choices: [8, 16", "12:11", "no YAML"),
    ("space: s", "space: s\nreference: [conv, 9]", "2:19", "choice 2 is of filters, got 9"),
    ("space: s", "space: s\nreference: [stop, 9]", "2:19", "is finished after 1 choices"),
    ("space: s", "space: s\nreference: [conv]", "2:13", "choice 2 is of filters, and the list is"),
]


def test_the_space_that_is_broken_below_is_right(space_file):
    assert made(space_file(GOOD)).extent.architectures == 1 + 2 + 4 + 8


@pytest.mark.parametrize(("old", "new", "place", "sentence"), BROKEN, ids=range(len(BROKEN)))
def test_mistakes_are_named_with_line_and_column(old, new, place, sentence, space_file, capsys):
    assert GOOD.count(old) == 1
    path = space_file(GOOD.replace(old, new))
    assert main(["validate", str(path)]) == 2
    told = capsys.readouterr().err
    assert re.search(rf"error: {re.escape(str(path))}:{place}: .*{sentence}", told), told
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "1:1: expected space, data and decisions, and the file is empty"),
        ("just words", "1:1: expected a mapping with space, data, decisions"),
        ("a: &a [*a]", "1:4: a part that holds itself"),
        ("? [1]\n: 2", "1:3: a key must be a text or a number"),
        ("space: s\ndata: image\ndecisions: {}", "3:12: expected decisions by name"),
        ("space: s\ndata: image\ndecisions: {end: {choices: [1]}}", "3:13: the name of a decision"),
        (
            "space: s\ndata: image\ndecisions: {recipe.flip: {choices: [1]}}",
            "3:13: names that begin with 'recipe.' are those of the recipe's decisions",
        ),
        ("space: 3\ndata: image\ndecisions: {a: {choices: [1]}}", "1:8: expected a name, got 3"),
        ("space: s\ndata: image\ndecisions: {a: [1]}", "3:16: expected a mapping with choices"),
        ("x: \x07", "1:1: no YAML"),
    ],
)
def test_what_is_no_space_at_all_is_one_sentence(text, sentence, space_file, capsys):
    assert main(["validate", str(space_file(text))]) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_number_of_networks_of_a_huge_space_is_told_in_words(space_file, capsys, words):
    path = space_file(GOOD.replace("at_most: 3", "at_most: 20000"))
    assert main(["validate", str(path), "--networks", "1", *words]) == 0
    assert "about 10^6021" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        ("groups: 3", "13:9: no network can have conv of block: .*groups"),
        ("strides: 2, dilation_rate: 2", "13:9: no network can have conv of block: .*dilation"),
    ],
)
def test_layer_that_never_fits_is_told_with_its_place(space_file, capsys, layer, told):
    path = space_file(GOOD.replace("kernel_size: 3", f"kernel_size: 3, {layer}"))
    assert main(["validate", str(path), "--json"]) == 0
    (sentence,) = json.loads(capsys.readouterr().out)["impossible"]
    assert re.search(told, sentence)
    assert main(["validate", str(space_file(GOOD)), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["impossible"] == []


@pytest.mark.parametrize(
    ("change", "place", "sentence"),
    [
        (("data: image", "data: tabular"), "13:9", "Conv2D needs an image, got the shape"),
        (("data: image", "data: text"), "13:9", "a network of texts begins with embed"),
        (("kernel_size: 3", "kernel_size: 300"), "13:9", "fit"),
        (("at_most: 3", "at_most: 1000000"), "4:3", "more than 100,000 positions"),
    ],
)
def test_rules_that_fit_no_data_are_refused_with_their_place(
    space_file, capsys, change, place, sentence
):
    given = GOOD.replace("stop: {next: end}", "more: {next: filters}").replace(*change)
    path = space_file(given)
    assert main(["validate", str(path)]) == 2
    told = capsys.readouterr().err
    assert f"{path}:{place}: " in told
    assert sentence in told


def test_a_bounded_decision_may_have_no_choice_that_stops(space_file):
    space = made(space_file(GOOD.replace("stop: {next: end}", "more: {next: filters}")))
    drawn = [space.architecture(uniform(space, np.random.default_rng(n))) for n in range(5)]
    assert {len(network.layers) for network in drawn} == {3}


def test_texts_begin_with_embed(space_file, capsys):
    path = space_file(
        "space: s\ndata: text\ndecisions: {a: {choices: [4], layers: [LSTM: {units: $a}]}}"
    )
    assert main(["validate", str(path)]) == 2
    assert "a network of texts begins with embed" in capsys.readouterr().err


# --- in a search ---


def test_run_goes_on_with_its_copy_of_the_file(space_file, tmp_path):
    path = space_file("funnel")
    options = {"root": tmp_path / "runs", "config": {"engine": {"executor": "inline"}}}
    x, y = examples("tabular")
    lines = ["a,b,c,d,e,label"] + [
        f"{','.join(map(str, row))},class {label}" for row, label in zip(x, y, strict=True)
    ]
    (tmp_path / "data.csv").write_text("\n".join(lines))
    more = {"trials": 2, "epochs": 1, "top_k": 1, "final_epochs": 1, "name": "a"}
    rlnas.Search(tmp_path / "data.csv", space=path, **options, **more).run()
    shutil.move(path, tmp_path / "gone.yaml")
    words = ["resume", "a", "--trials", "3", "--root", str(tmp_path / "runs")]
    assert main(words) == 0
    assert main(["show", "a", "--root", str(tmp_path / "runs")]) == 0
    assert main(["report", "a", "--root", str(tmp_path / "runs")]) == 0
    assert main(["sample", "a", "--root", str(tmp_path / "runs")]) == 0


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"max_layers": 3}, r"space.max_layers \(--max-layers\) is of the spaces of rlnas"),
        ({"choices": {"first": [1]}}, "space.choices is of the spaces of rlnas"),
        ({"max_params": 5}, "is above max_params, 5"),
        ({"name": "absent.yaml"}, "cannot read the space .*absent.yaml: No such file"),
        ({"name": "imagee"}, "unknown space 'imagee'.*; one of your own is a file such as"),
    ],
)
def test_settings_that_do_not_fit_are_one_sentence(config, sentence, space_file, tmp_path):
    named = {"name": str(space_file("funnel")), **config}
    with pytest.raises(ConfigError, match=sentence):
        rlnas.Search(examples("tabular"), config={"space": named}, root=tmp_path)


def test_space_of_another_kind_of_data_is_refused(space_file, tmp_path):
    with pytest.raises(rlnas.errors.RlnasError, match="image, not text"):
        rlnas.Search(examples("image"), space=str(space_file("reader")), root=tmp_path)


# --- in Python ---


def test_python_space_is_searched_and_validated(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_own_space.py").write_text(
        "from rlnas import ImageSpace\n"
        "def small(input_shape, classes):\n"
        "    return ImageSpace(input_shape, classes, max_layers=3, min_layers=1)\n"
        "ready = ImageSpace((12, 12, 1), 4, max_layers=2)\n"
        "def broken(input_shape, classes):\n"
        "    return 1 / 0\n"
        "def nothing(input_shape, classes):\n"
        "    return None\n"
        "class Liar(ImageSpace):\n"
        "    def mask(self, prefix):\n"
        "        return super().mask(prefix) * 0\n"
        "word = 'text'\n"
    )
    assert main(["validate", "my_own_space:small", "--networks", "2"]) == 0
    assert "image is right" in capsys.readouterr().out
    for name, sentence in {
        "broken": "division by zero",
        "nothing": "expected a space with the methods decision",
        "Liar": "Liar",
        "word": "expected a space, or a function .*got str",
        "absent": "module my_own_space has no absent",
    }.items():
        assert main(["validate", f"my_own_space:{name}"]) == 2
        told = capsys.readouterr().err
        assert re.search(f"my_own_space:.*{sentence}", told)
        assert len(told.splitlines()) == 1
    options = {"trials": 2, "epochs": 1, "top_k": 1, "final_epochs": 1, "executor": "inline"}
    search = rlnas.Search(examples("image"), space="my_own_space:ready", root=tmp_path, **options)
    assert all(trial.reason is None for trial in search.run().trials)
    with pytest.raises(ConfigError, match="expected one for examples of shape"):
        rlnas.Search("digits", space="my_own_space:ready", root=tmp_path)
