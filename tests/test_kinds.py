"""Texts, recordings and tables: from the file to the exported model."""

import csv
import gzip
import json
import runpy
import subprocess
import sys
import textwrap
import wave
from dataclasses import replace

import numpy as np
import pytest

import rlnas
from rlnas.children.augmentation import RandomMask
from rlnas.children.backend import keras
from rlnas.children.datasets import load_data
from rlnas.children.datasets.fitting import fit_inputs
from rlnas.children.decoder import decode
from rlnas.children.inputs import AudioInputs, Column, TableInputs, TextInputs, given_to, prepared
from rlnas.config import DataConfig, RecipeConfig
from rlnas.controllers import uniform
from rlnas.cost import (
    GRU,
    LSTM,
    Attention,
    Conv1D,
    Dense,
    Dropout,
    Frames,
    ResidualDense,
    describe,
    network_cost,
)
from rlnas.errors import ConfigError, DataError, SpaceError
from rlnas.evaluation.training import TrainingEvaluator
from rlnas.search.export import EXPORTED, copy_export
from rlnas.search.source import model_source
from rlnas.spaces import Architecture, AudioSpace, TabularSpace, TextSpace
from rlnas.testing import check_space

SPACES = {
    "text": TextSpace((12, 60), 3),
    "audio": AudioSpace((20, 16, 1), 4),
    "tabular": TabularSpace((9,), 2),
}
GOOD = ("a fine film", "what a good story", "good fun", "a great cast")
BAD = ("a poor film", "what a bore", "bad acting", "no story at all")


def drawn(space, count):
    rng = np.random.default_rng(0)
    return [space.architecture(uniform(space, rng)) for _ in range(count)]


# --- spaces ---


@pytest.mark.parametrize("kind", SPACES)
def test_space_keeps_the_contract(kind):
    check_space(SPACES[kind], np.random.default_rng(1), walks=40)


@pytest.mark.parametrize("kind", SPACES)
def test_a_controller_may_write_the_reference_child(kind):
    space = SPACES[kind]
    tokens = space.reference().tokens
    assert [space.mask(tokens[:k])[token] for k, token in enumerate(tokens)] == [1] * len(tokens)


@pytest.mark.parametrize("kind", SPACES)
def test_parameters_are_those_of_the_built_child(kind):
    space = SPACES[kind]
    used = set()
    for network in [space.reference(), *drawn(space, 40)]:
        cost = network_cost(network.layers, network.input_shape, network.classes)
        assert decode(network, scale=None).count_params() == cost.params
        used |= {layer.kind for layer in network.layers}
    assert used == set(space.types)


@pytest.mark.parametrize("kind", SPACES)
def test_networks_of_one_key_have_the_same_layers_but_for_dropouts_that_drop_nothing(kind):
    space, layers_of = SPACES[kind], {}
    for network in drawn(space, 400):
        layers = [each for each in network.layers if each != Dropout(0.0)]
        assert layers_of.setdefault(space.key(network), layers) == layers


def test_a_residual_block_that_drops_nothing_is_a_layer_of_its_own():
    space, first = SPACES["tabular"], Dense(32, "relu")
    chains = [(first,), (first, ResidualDense(64, "relu", 0.0)), (first, Dropout(0.0))]
    plain, residual, idle = (space.key(space.architecture(space.tokens(each))) for each in chains)
    assert plain == idle != residual


PENALISED = {
    "gru": GRU(4, bidirectional=False),
    "lstm": LSTM(4, bidirectional=False),
    "bidirectional gru": GRU(4, bidirectional=True),
    "bidirectional lstm": LSTM(4, bidirectional=True),
    "attention": Attention(2),
    "conv1d": Conv1D(4, 3, "relu", batch_norm=False),
}


@pytest.mark.parametrize("layer", PENALISED.values(), ids=PENALISED.keys())
def test_each_kernel_of_a_sequence_layer_costs_what_the_penalties_say(layer):
    network = Architecture((), (Frames(), layer), (6, 4, 1), 3)
    model = decode(network, scale=None, penalties=(0.25, 0.5))
    kernels = [each for each in model.trainable_variables if each.name == "kernel"]
    assert len(kernels) == {"attention": 5}.get(layer.kind, 3 if "bid" in describe(layer) else 2)
    sums = [np.asarray(keras.ops.convert_to_numpy(each)) for each in kernels]
    expected = sum(0.25 * np.abs(each).sum() + 0.5 * np.square(each).sum() for each in sums)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)


def test_sequences_end_pooled_and_begin_as_they_must():
    for network in drawn(SPACES["text"], 60):
        kinds = [layer.kind for layer in network.layers]
        assert kinds.index("embed") == 0
        assert kinds.count("embed") == 1
        pooled = "globalpool" in kinds or "globalmaxpool" in kinds
        assert pooled or len(network.layers) == SPACES["text"].max_layers
        assert max(kinds.count("lstm") + kinds.count("gru"), kinds.count("attention")) <= 2


@pytest.mark.parametrize(
    ("make", "shape"),
    [(TextSpace, (12,)), (AudioSpace, (20, 16, 2)), (TabularSpace, (3, 3)), (TextSpace, 5)],
)
def test_examples_of_another_shape_are_refused(make, shape):
    with pytest.raises(SpaceError, match="needs the shape"):
        make(shape, 2)


def test_a_residual_block_needs_something_to_add_to():
    for network in drawn(SPACES["tabular"], 40):
        assert network.layers[0].kind == "dense"


# --- what stands in front of a child ---


def test_texts_become_numbers_of_words():
    inputs = TextInputs(("good", "film"), 4)
    found = prepared(inputs, np.array(["Good, GOOD film!", "a film"], dtype=object))
    assert found.tolist() == [[2, 2, 3, 0], [1, 3, 0, 0]]
    assert inputs.shape == (4, 4)


def test_columns_become_features_and_what_is_missing_or_unknown_is_told():
    inputs = TableInputs((Column("age", mean=10, variance=4), Column("job", ("cook", "smith"))))
    raw = {
        "age": np.array([[12], [np.nan]], np.float32),
        "job": np.array([["smith"], ["baker"]], dtype=object),
    }
    assert prepared(inputs, raw).tolist() == [[1, 0, 0, 1], [0, 1, 0, 0]]
    assert inputs.shape == (4,)


def test_numbers_reach_into_pieces_from_0_to_1():
    inputs = TableInputs((Column("age", mean=10, variance=4, edges=(0.0, 10.0, 12.0, 20.0)),))
    raw = {"age": np.array([[-5], [4], [11], [12], [99], [np.nan]], np.float32)}
    assert inputs.shape == (4,)
    assert prepared(inputs, raw)[:, 1:] == pytest.approx(
        np.array([[0, 0, 0], [0.4, 0, 0], [1, 0.5, 0], [1, 1, 0], [1, 1, 1], [0, 0, 0]])
    )


def test_pieces_have_as_many_examples_each():
    rng = np.random.default_rng(0)
    x = {"a": rng.exponential(size=(1600, 1)), "b": np.arange(1600)[:, None] % 2}
    x["c"] = np.full((1600, 1), np.nan)
    first, second, third = fit_inputs("tabular", x).columns
    counts, _ = np.histogram(x["a"], first.edges)
    assert counts.min() >= 49  # an edge belongs to the piece above it
    assert (second.edges, third.edges) == ((), ())
    many = {str(number): rng.normal(size=(100, 1)) for number in range(1000)}
    assert {column.pieces for column in fit_inputs("tabular", many).columns} == {4}


def test_a_number_that_most_examples_have_leaves_the_pieces_to_the_others():
    rng = np.random.default_rng(0)
    gains = np.where(rng.random((20_000, 1)) < 0.92, 0, rng.exponential(8000, (20_000, 1)))
    (column,) = fit_inputs("tabular", {"gain": gains}).columns
    assert column.pieces >= 31
    assert column.edges[0] == 0
    others = gains[gains > 0]
    counts, _ = np.histogram(others, column.edges[1:])
    assert counts.min() > 0.9 * len(others) / 32
    assert counts.max() < 1.1 * len(others) / 30


def test_recordings_become_spectrograms_of_the_stated_shape():
    inputs = AudioInputs(samples=1000, rate=2000, bins=12, window=64, stride=32)
    tones = np.sin(2 * np.pi * np.outer([100, 800], np.arange(1000) / 2000)).astype(np.float32)
    found = prepared(inputs, tones)
    assert found.shape == (2, *inputs.shape)
    low, high = found[..., 0].mean(axis=1).argmax(axis=1)
    assert low < 4 < 8 < high


def test_a_quiet_recording_is_seen_alike_alone_and_beside_a_loud_one():
    rng = np.random.default_rng(0)
    loudness = np.geomspace(1e-4, 1, 8)[:, None]
    recordings = (rng.normal(size=(8, 1000)) * loudness).astype(np.float32)
    recordings[:, 800:] = 0
    inputs = fit_inputs("audio", recordings, 2000)
    together = prepared(inputs, recordings)
    alone = np.concatenate([prepared(inputs, each[None]) for each in recordings])
    np.testing.assert_allclose(alone, together, atol=1e-4)
    assert together.mean() == pytest.approx(0, abs=1e-3)
    assert together.std() == pytest.approx(1, abs=1e-3)
    loudest, quietest = (float(found(together)) for found in (np.max, np.min))
    assert (loudest - quietest) * np.sqrt(inputs.variance) == pytest.approx(80, abs=1e-2)


# --- files ---


def write_rows(path, header, rows):
    delimiter = "\t" if ".tsv" in path.name else ","
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def texts_file(folder, name="texts.tsv.gz", split=True):
    rng = np.random.default_rng(0)
    rows = []
    for number in range(120):
        words = (GOOD, BAD)[number % 2]
        text = " ".join(rng.choice(words, 2))
        part = ("train", "train", "dev", "test")[number // 30]
        rows.append([part, "pn"[number % 2], text] if split else ["pn"[number % 2], text])
    header = ["split", "label", "text"] if split else ["label", "text"]
    return write_rows(folder / name, header, rows)


def table_file(folder, name="people.csv", rows=160):
    rng = np.random.default_rng(0)
    age, job = rng.integers(20, 60, rows), rng.integers(0, 3, rows)
    rich = np.where(age + 10 * job > 50, ">50K", "<=50K")
    jobs = np.array(["cook", "smith", "boss"])[job]
    people = zip(age, jobs, rich, strict=True)
    cells = [[a, "" if k == 3 else j, k % 7, r] for k, (a, j, r) in enumerate(people)]
    return write_rows(folder / name, ["age", "job", "day of week", "income"], cells)


def numbers_file(folder, name="houses.csv", rows=160):
    rng = np.random.default_rng(0)
    size, place = rng.uniform(20, 200, rows), rng.integers(0, 3, rows)
    price = 1000 + 7 * size + 200 * place + rng.normal(0, 20, rows)
    places = np.array(["north", "south", "east"])[place]
    cells = [[f"{s:.1f}", p, f"{e:.2f}"] for s, p, e in zip(size, places, price, strict=True)]
    return write_rows(folder / name, ["size", "place", "price"], cells)


def tone(path, frequency, rate=2000, seconds=0.4, width=2, channels=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(int(rate * seconds)) / rate
    samples = 0.5 * np.sin(2 * np.pi * frequency * times)
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        if width == 1:
            content = (128 + 127 * samples).astype(np.uint8)
        else:
            content = (samples * (2 ** (8 * width - 1) - 1)).astype(f"<i{width}")
        file.writeframes(np.repeat(content, channels).tobytes())


def tones_folder(folder):
    rng = np.random.default_rng(0)
    for name, frequency in (("high", 800), ("low", 100)):
        for number in range(30):
            tone(folder / name / f"{number:02}.wav", frequency * rng.uniform(0.8, 1.2))
    return folder


FILES = {
    "text": texts_file,
    "tabular": table_file,
    "numbers": numbers_file,
    "audio": lambda f: tones_folder(f / "tones"),
}
COLUMNS = {"tabular": {"label_column": "income"}, "numbers": {"label_column": "price"}}


def loaded(kind, folder):
    path = FILES[kind](folder)
    return load_data(path, DataConfig(**COLUMNS.get(kind, {})), 0)


def test_texts_come_in_the_parts_of_the_file(tmp_path):
    data = loaded("text", tmp_path)
    assert [len(part) for part in (data.y_train, data.y_val, data.y_test)] == [60, 30, 30]
    assert data.class_names == ("n", "p")
    assert data.kind == "text"
    assert data.input_shape == (data.inputs.length, len(data.inputs.vocabulary) + 2)
    assert "film" in data.inputs.vocabulary


def test_texts_without_a_split_are_split(tmp_path):
    data = load_data(texts_file(tmp_path, "t.csv", split=False), DataConfig(test=0.25), 0)
    assert len(data.y_test) == 30
    assert np.bincount(data.y_test).tolist() == [15, 15]


def test_table_has_a_feature_for_each_category_and_number(tmp_path):
    data = loaded("tabular", tmp_path)
    widths = [column.width for column in data.inputs.columns]
    # The normalised number and 30 pieces, for there are few; the empty category and the unknown.
    assert widths[:2] == [31, 5]
    assert data.input_shape == (sum(widths),)
    assert abs(float(data.x_train[:, 0].mean())) < 1e-5
    assert data.inputs.words == "columns: 2 of numbers, 1 of categories (job)"


def test_test_part_may_be_a_file_of_its_own(tmp_path):
    path, tests = table_file(tmp_path), table_file(tmp_path, "tests.csv", rows=40)
    config = DataConfig(label_column="income", test_data=str(tests))
    assert len(load_data(path, config, 0).y_test) == 40


@pytest.mark.parametrize(("width", "channels"), [(1, 1), (2, 2), (4, 1)])
def test_recordings_of_any_width_are_read_alike(width, channels, tmp_path):
    for number in range(8):
        tone(tmp_path / "ab"[number % 2] / f"{number}.wav", 100, width=width, channels=channels)
    data = load_data(tmp_path, DataConfig(test=0.5, validation=0.5), 0)
    assert data.raw.shape[1] == 800
    assert np.abs(data.raw).max() == pytest.approx(0.5, abs=0.01)


def test_arrays_of_texts_and_of_numbers_are_texts_and_tables():
    y = np.arange(40) % 2
    texts = [(GOOD, BAD)[label][k % 4] for k, label in enumerate(y)]
    assert load_data((texts, y), DataConfig(), 0).kind == "text"
    x = np.random.default_rng(0).normal(size=(40, 3))
    data = load_data((x, y, x, y), DataConfig(), 0)
    assert (data.kind, data.input_shape, len(data.y_test)) == ("tabular", (3 * 33,), 40)


def test_folder_of_texts_is_read(tmp_path):
    for number in range(24):
        folder = tmp_path / ("good", "bad")[number % 2]
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.txt").write_text((GOOD, BAD)[number % 2][number % 4])
    data = load_data(tmp_path, DataConfig(), 0)
    assert (data.kind, data.class_names) == ("text", ("bad", "good"))


def broken(tmp_path, change):
    """Write a file or folder that is wrong in one way; return it and what the config says."""
    config = {}
    path = tmp_path / "x.csv"
    table = [[k, "ab"[k % 2], "yn"[k % 2]] for k in range(40)]
    header = ["size", "kind", "label"]
    match change:
        case "no label":
            header[2] = "class"
        case "no text":
            config, path = {"text_column": "words"}, tmp_path / "x.tsv"
        case "infinite":
            table[7][0] = "inf"
        case "all missing":
            table = [["", *row[1:]] for row in table]
        case "an open quote":
            write_rows(path, header, table)
            text = path.read_text("utf-8")
            path.write_text(text.replace("7,b,n", '7,b,"n', 1), "utf-8")
            return path, config
        case "a word among numbers to predict":
            table = [[k, "ab"[k % 2], "n/a" if k == 3 else k + 0.5] for k in range(40)]
        case "one class in the test part":
            tests = write_rows(tmp_path / "test.csv", header, [[3, "a", "y"]] * 3)
            config = {"test_data": str(tests)}
        case "too large":
            table[7][0] = "-2e19"
        case "no number in the test part":
            tests = write_rows(tmp_path / "test.csv", header, [["small", "a", "y"]] * 3)
            config = {"test_data": str(tests)}
        case "constant":
            table = [[5, *row[1:]] for row in table]
        case "empty label":
            table[4][2] = " "
        case "short row":
            table[9] = table[9][:2]
        case "twice":
            header[1] = "size"
        case "new label in the test part":
            tests = write_rows(tmp_path / "test.csv", header, [*table[:5], [1, "a", "maybe"]])
            config = {"test_data": str(tests)}
        case "odd split":
            header[1], table[2][1] = "split", "later"
        case "only a header":
            table = []
    return write_rows(path, header, table), config


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("no label", r"x\.csv: unknown column 'label'.*--label-column"),
        ("infinite", r"x\.csv, line 9: size is inf; expected a finite number"),
        (
            "all missing",
            r"x\.csv: the column size is empty in every row of the training part; leave",
        ),
        ("an open quote", r"x\.csv, line 9: a quote that begins there is never closed"),
        ("a word among numbers to predict", r"x\.csv, line 5: label is 'n/a'; expected a finite"),
        ("one class in the test part", r"all 3 examples of the test part are of the class y"),
        ("too large", r"x\.csv, line 9: size is -2e\+19; expected a number up to 1e\+18"),
        ("no number in the test part", r"test\.csv, line 2: size is 'small'; expected a number"),
        ("constant", r"x\.csv: the column size is 5 in every row of the training part; leave"),
        ("empty label", r"x\.csv, line 6: label is empty"),
        ("short row", r"x\.csv, line 11: expected 3 cells as in the header, got 2"),
        ("twice", r"the header has the column 'size' twice"),
        ("new label in the test part", r"test\.csv, line 7: the label 'maybe' does not occur"),
        ("odd split", r"x\.csv, line 2: split is 'b'; expected train, dev or test|line"),
        ("only a header", r"x\.csv holds 1 lines; expected a header and rows"),
    ],
)
def test_wrong_table_is_refused_with_its_line(change, sentence, tmp_path):
    path, config = broken(tmp_path, change)
    with pytest.raises(DataError, match=sentence):
        load_data(path, DataConfig(**config), 0)


def test_column_of_categories_that_are_nearly_all_numbers_is_told_with_its_line(tmp_path):
    def notes(odd):
        table = [[odd.get(k, k), "ab"[k % 2], "yn"[k % 2]] for k in range(40)]
        path = write_rows(tmp_path / "x.csv", ["size", "kind", "label"], table)
        return load_data(path, DataConfig(), 0).notes

    (told,) = notes({3: "NA", 7: "NA", 9: ""})
    assert "x.csv, line 5: size is 'NA'" in told
    assert "2 of 40" in told
    assert notes({}) == ()
    assert notes({9: ""}) == ()  # a number that is missing
    assert notes({k: "NA" for k in range(8)}) == ()  # a fifth are words: categories
    (told,) = notes({3: "z" * 5_000})
    assert "is 'zzz" in told
    assert len(told) < 300 + len(str(tmp_path))


def test_many_columns_that_are_nearly_numbers_are_counted(tmp_path):
    header = [f"c{column}" for column in range(9)]
    table = [[*("NA" if k == column else k for column in range(9)), "yn"[k % 2]] for k in range(40)]
    path = write_rows(tmp_path / "x.csv", [*header, "label"], table)
    notes = load_data(path, DataConfig(), 0).notes
    assert [": c4 is 'NA'" in told for told in notes] == [False, False, False, False, True, False]
    assert notes[-1].endswith("x.csv: 4 more columns have such cells")


def test_numbers_too_large_to_be_normalised_are_refused(tmp_path):
    x, y = np.arange(80.0).reshape(40, 2), np.arange(40) % 2
    large = x.copy()
    large[3, 1] = 1e37
    with pytest.raises(DataError, match=r"beyond 1e\+18, first in example 3; scale them down"):
        load_data((large, y), DataConfig(), 0)
    with pytest.raises(DataError, match=r"beyond 1e\+18, first in example 3"):
        load_data((x, large[:, 1] + 0.5), DataConfig(task="regression"), 0)
    rows = [[k, 1.5e30 if k == 5 else k + 0.5] for k in range(40)]
    path = write_rows(tmp_path / "x.csv", ["size", "label"], rows)
    with pytest.raises(
        DataError, match=r"x\.csv, line 7: label is 1\.5e\+30; expected a number up"
    ):
        load_data(path, DataConfig(), 0)


def test_commonest_category_may_have_the_name_that_keras_gives_to_unknown_ones(tmp_path):
    rows = [["[UNK]" if k % 4 else "red", k % 2] for k in range(40)]
    data = load_data(write_rows(tmp_path / "x.csv", ["paint", "label"], rows), DataConfig(), 0)
    assert data.inputs.columns[0].categories == ("red", "[UNK]")
    assert data.x_train.shape[1:] == data.input_shape == (3,)
    assert set(data.x_train.argmax(axis=1)) == {1, 2}  # neither is unknown


def test_recordings_too_short_for_a_spectrogram_are_refused(tmp_path):
    for number in range(12):
        (tmp_path / "ab"[number % 2]).mkdir(exist_ok=True)
        tone(tmp_path / "ab"[number % 2] / f"{number}.wav", 100, seconds=0.01)
    with pytest.raises(DataError, match=r"most recordings have 20 samples or fewer, at 2000"):
        load_data(tmp_path, DataConfig(), 0)


def test_texts_that_are_all_alike_are_refused(tmp_path):
    rows = [["the same", k % 2] for k in range(20)]
    with pytest.raises(DataError, match="the text is 'the same' in every example"):
        load_data(write_rows(tmp_path / "x.tsv", ["text", "label"], rows), DataConfig(), 0)


def test_text_with_a_zero_byte_is_named(tmp_path):
    for number in range(8):
        (tmp_path / "ab"[number % 2]).mkdir(exist_ok=True)
        (tmp_path / "ab"[number % 2] / f"{number}.txt").write_text(f"text {number}")
    (tmp_path / "b" / "5.txt").write_text("good\0")
    with pytest.raises(DataError, match=r"the text .*5\.txt holds a zero byte"):
        load_data(tmp_path, DataConfig(), 0)


def test_empty_text_and_bad_bytes_are_refused_with_their_line(tmp_path):
    path = write_rows(tmp_path / "x.csv", ["text", "label"], [["a", 0], ["  ", 1]])
    with pytest.raises(DataError, match=r"x\.csv, line 3: the text is empty"):
        load_data(path, DataConfig(), 0)
    path.write_bytes(b"text,label\n\xff\xfe,1\n")
    with pytest.raises(DataError, match=r"x\.csv cannot be read: .* in UTF-8"):
        load_data(path, DataConfig(), 0)
    with pytest.raises(DataError, match="does not exist"):
        load_data(tmp_path / "y.csv", DataConfig(), 0)


@pytest.mark.parametrize(
    ("text", "config", "sentence"),
    [
        ('a,b,label\n1,2,x\n2,"y\n3,2,x\n', {}, "line 3: a quote that begins there is never"),
        ("a,label\n1,x\nb\0,x\n", {}, r"x\.csv, line 3: there is a zero byte"),
        ("a;label\n1;x\n", {}, "line 1: expected columns separated by commas, .* by ';'; save"),
        ("a,label\n1,x\n", {"text_column": "txt"}, "unknown column 'txt': known are a, label"),
        ("a,label\n1,x\n", {"split_column": "part"}, "unknown column 'part': known are a, label"),
    ],
    ids=["quote", "zero byte", "delimiter", "no such texts", "no such split"],
)
def test_file_of_another_make_is_refused_with_its_line(text, config, sentence, tmp_path):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(DataError, match=sentence):
        load_data(tmp_path / "x.csv", DataConfig(**config), 0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda p: tone(p, 100, rate=4000), r"must have one sample rate: .*2000 and .*5\.wav 4000"),
        (lambda p: p.write_bytes(b""), r"the recording .*5\.wav is empty; remove it"),
        (lambda p: p.write_bytes(b"RIFFxxxx"), r"cannot read the recording .*5\.wav"),
        (
            lambda p: p.write_bytes(b"RIFFjunkWAVE" + b"junk" * 20),
            r"cannot read the recording .*5\.wav",
        ),
        (
            lambda p: p.write_bytes(p.read_bytes()[:-100]),
            r"the recording .*5\.wav is cut off: .* says \d+ bytes of samples, got \d+; save it",
        ),
        (lambda p: tone(p, 100, seconds=0), r"the recording .*5\.wav is empty"),
    ],
    ids=["rate", "nothing", "damaged", "wrong header", "cut off", "silent"],
)
def test_bad_recording_is_named(change, sentence, tmp_path):
    for number in range(8):
        tone(tmp_path / "ab"[number % 2] / f"{number}.wav", 100)
    change(tmp_path / "b" / "5.wav")
    with pytest.raises(DataError, match=sentence):
        load_data(tmp_path, DataConfig(), 0)


def test_examples_of_another_kind_than_asked_for_are_refused(tmp_path):
    with pytest.raises(DataError, match="are examples of the kind image, not text"):
        load_data(None, DataConfig(), 0, "text")


def test_changes_are_refused_for_data_that_they_do_not_fit():
    texts = ([*GOOD, *BAD] * 8, [0, 0, 0, 0, 1, 1, 1, 1] * 8)
    with pytest.raises(ConfigError, match="flip is not for data of the kind text; leave it out"):
        rlnas.Search(texts, config={"recipe": {"augment": "flip"}})
    with pytest.raises(ConfigError, match="augment is for image and audio, got data of"):
        rlnas.Search(texts, config={"space": {"search_recipe": "l2,augment"}})
    found = rlnas.Search(texts, config={"space": {"search_recipe": "all"}})
    assert "augment" not in found._setup.space.parts
    images = np.zeros((40, 8, 8, 1), "uint8"), np.arange(40) % 2
    with pytest.raises(ConfigError, match="time_mask is not for data of the kind image; take flip"):
        rlnas.Search(images, config={"recipe": {"augment": "shift,time_mask"}})


def test_masks_are_searched_for_recordings(tmp_path):
    data = loaded("audio", tmp_path)
    found = rlnas.Search(data, config={"space": {"search_recipe": "augment"}})._setup.space
    names = [decision.name for decision in found.decisions]
    assert names[-3:] == ["recipe.time_mask", "recipe.frequency_mask", "recipe.augment_strength"]


# --- children ---


@pytest.mark.parametrize("kind", FILES)
def test_children_of_each_kind_learn(kind, tmp_path):
    data = loaded(kind, tmp_path)
    space = rlnas.Search(data, config={"data": COLUMNS.get(kind, {})})._setup.space
    evaluator = TrainingEvaluator(data)
    recipe = RecipeConfig(epochs=12, batch_size=8, learning_rate=0.01)
    found = evaluator.evaluate(space.reference(), recipe, 1)
    assert max(found.val_accuracy) > 0.85


def dropped(network):
    """Tell whether a network drops something at random."""
    return any(getattr(layer, "rate", 0) for layer in network.layers)


@pytest.mark.parametrize("kind", FILES)
def test_graph_trains_as_fit_does(kind, tmp_path):
    from rlnas.children.training import FitTrainer, make_trainer

    data = loaded(kind, tmp_path)
    # Of a word that stands twice Keras's Adam squares each gradient, and ours their sum.
    optimizer = "sgd" if kind == "text" else "adam"
    recipe = RecipeConfig(epochs=1, batch_size=200, schedule="fixed", optimizer=optimizer)
    space = rlnas.Search(data, config={"data": COLUMNS.get(kind, {})})._setup.space
    networks = [each for each in drawn(space, 12) if not dropped(each)][:2]
    for network in networks:
        losses = []
        for trainer in (FitTrainer(data), make_trainer(data)):
            keras.utils.set_random_seed(3)
            model = decode(network, scale=None)
            history = trainer.train(model, recipe, 0)
            losses.append((history.loss[0], history.val_loss[0]))
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize(
    ("kind", "epochs"), [("text", 5), ("audio", 30), ("tabular", 100), ("numbers", 100)]
)
def test_retraining_is_as_long_as_the_kind_of_data_needs(kind, epochs, tmp_path):
    config = {"data": COLUMNS.get(kind, {})}
    setup = rlnas.Search(loaded(kind, tmp_path), config=config)._setup
    assert setup.long_recipe.epochs == epochs
    final = setup.config.final.model_copy(update={"epochs": 7})
    other = replace(setup, config=setup.config.model_copy(update={"final": final}))
    assert other.long_recipe.epochs == 7


@pytest.mark.parametrize("axis", [1, 2])
def test_masks_hide_one_band_of_each_spectrogram_in_training(axis):
    shape, widest = (200, 20, 10, 1), 0.4 * (20, 10)[axis - 1]
    keras.utils.set_random_seed(0)
    mask, x = RandomMask(axis, 0.4), np.ones(shape, "float32")
    assert np.array_equal(mask(x), x)
    hidden = np.asarray(mask(x, training=True))[..., 0] == 0
    across = hidden.all(axis=3 - axis)
    assert np.array_equal(across, hidden.any(axis=3 - axis))  # the whole of the other axis
    widths = across.sum(axis=1)
    assert len(set(widths)) > 3
    assert widths.max() <= np.ceil(widest)
    edges = np.diff(np.pad(across, ((0, 0), (1, 1))).astype(int), axis=1)
    assert ((edges == 1).sum(axis=1) <= 1).all()
    assert across.any(axis=0).all()  # each place is hidden at times


# --- whole searches ---


@pytest.fixture(scope="module", params=sorted(FILES))
def searched(request, tmp_path_factory):
    kind, folder = request.param, tmp_path_factory.mktemp(request.param)
    path = FILES[kind](folder)
    masks = {"augment": "time_mask,frequency_mask"} if kind == "audio" else {}
    config = {
        "data": {"dataset": str(path), **COLUMNS.get(kind, {})},
        "recipe": {"epochs": 1, **masks},
        "engine": {"executor": "inline"},
    }
    options = {"trials": 2, "top_k": 1, "final_epochs": 1, "name": "run"}
    return kind, path, rlnas.Search(root=folder / "runs", config=config, **options).run()


def test_exported_models_take_raw_examples_without_rlnas(searched, tmp_path):
    kind, path, found = searched
    data = load_data(path, DataConfig(**COLUMNS.get(kind, {})), 0)
    raw = data.raw
    columns = raw if isinstance(raw, dict) else {"x": raw}
    plain = {name: x.astype("U") if x.dtype == object else x for name, x in columns.items()}
    np.savez(tmp_path / "raw.npz", **plain)
    (tmp_path / "keras_alone.py").write_text(
        textwrap.dedent(
            """
            import sys
            import numpy as np

            class Refuse:
                def find_spec(self, name, path=None, target=None):
                    if name.partition(".")[0] in ("rlnas", "envs"):
                        raise ImportError(name)

            sys.meta_path.insert(0, Refuse())
            import keras, tensorflow as tf
            best, raw, out = sys.argv[1:]
            held = dict(np.load(raw))
            x = {
                k: tf.constant(v.tolist()) if v.dtype.kind == "U" else tf.constant(v)
                for k, v in held.items()
            }
            x = x["x"] if set(x) == {"x"} else x
            stored = keras.models.load_model(best + "/model.keras")
            rebuilt = keras.models.model_from_json(open(best + "/architecture.json").read())
            rebuilt.set_weights(stored.get_weights())
            answers = [np.asarray(model(x, training=False)) for model in (stored, rebuilt)]
            np.savez(out, *answers)
            """
        )
    )
    best = found.folder / "best"
    words = [str(best), str(tmp_path / "raw.npz"), str(tmp_path / "out.npz")]
    subprocess.run([sys.executable, str(tmp_path / "keras_alone.py"), *words], check=True)
    answers = np.load(tmp_path / "out.npz")
    expected = np.asarray(found.model(given_to(raw), training=False))
    for name in answers.files:
        assert np.abs(answers[name] - expected).max() < 1e-6


def test_export_is_copied_of_every_kind(searched, tmp_path):
    _, _, found = searched
    assert copy_export(found.folder / "best", tmp_path / "copy") == list(EXPORTED)


def test_script_trains_on_the_same_data(searched, monkeypatch, capsys):
    kind, path, found = searched
    script = found.folder / "best" / "model.py"
    monkeypatch.setattr(sys, "argv", ["model.py", str(path), "--epochs", "1"])
    monkeypatch.chdir(found.folder)
    runpy.run_path(str(script), run_name="__main__")
    assert f"test {'R2' if kind == 'numbers' else 'accuracy'}" in capsys.readouterr().out
    report = json.loads((found.folder / "best" / "report.json").read_text())
    assert report["input"]["kind"] == {"numbers": "tabular"}.get(kind, kind)


def test_script_masks_recordings_as_the_search_does(searched):
    kind, _, found = searched
    if kind != "audio":
        return
    names = runpy.run_path(str(found.folder / "best" / "model.py"))
    masked = []
    for make in (lambda: names["RandomMask"](1), lambda: RandomMask(1, names["STRENGTH"])):
        keras.utils.set_random_seed(0)
        masked.append(np.asarray(make()(np.ones((50, 40, 16, 1)), training=True)))
    assert np.array_equal(*masked)
    assert masked[0].min() == 0
    model = names["build_model"]()
    layers = [type(layer).__name__ for layer in names["augment"](model)._flatten_layers()]
    assert layers.count("RandomMask") == 2


def test_show_and_report_of_the_run_name_its_layers(searched):
    _, _, found = searched
    assert found.best.layers
    assert (found.folder / "best" / "diagram.svg").read_text().startswith("<svg")


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[] if kind == "text" else pytest.mark.slow)
        for kind in FILES
        if kind != "numbers"
    ],
)
def test_script_builds_the_child_that_the_recipe_penalises_and_normalises(kind, tmp_path):
    data = loaded(kind, tmp_path)
    space = rlnas.Search(data, config={"data": COLUMNS.get(kind, {})})._setup.space
    recipe = RecipeConfig(l1=1e-4, l2=1e-3, dropout=0.2, batch_norm=True)
    same = {"inputs": data.inputs, "batch_norm_momentum": 0.8}
    for network in [space.reference(), *drawn(space, 8)]:
        names = data.class_names
        script = model_source(
            network, recipe, "d.npz", scale=1.0, class_names=names, seed=0, **same
        )
        made = {"__name__": "script"}
        exec(compile(script, "model.py", "exec"), made)
        keras.utils.clear_session()  # counts unnamed operations from 0 again
        built = made["build_model"]().to_json()
        keras.utils.clear_session()
        penalties = (recipe.l1, recipe.l2)
        child = decode(
            network, scale=None, dropout=0.2, batch_norm=True, penalties=penalties, **same
        )
        assert built == child.to_json()


def script_of_two_columns(folder, source, *columns):
    """Write the script of the reference child of a table of two columns, and return its path."""
    text = model_source(
        TabularSpace((2,), 2).reference(),
        RecipeConfig(epochs=1),
        source,
        scale=1.0,
        inputs=TableInputs(tuple(map(Column, columns))),
        batch_norm_momentum=0.9,
        class_names=("0", "1"),
        seed=0,
    )
    (folder / "model.py").write_text(text)
    return folder / "model.py"


def test_script_of_arrays_reads_a_file_of_arrays(tmp_path):
    path = script_of_two_columns(tmp_path, "arrays", "x0", "x1")
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", x_train=rng.normal(size=(50, 2)), y_train=np.arange(50) % 2)
    made = runpy.run_path(str(path))
    x, y, x_test, y_test = made["load_data"](tmp_path / "d.npz")
    assert (sorted(x), len(y), len(x_test["x0"]), len(y_test)) == (["x0", "x1"], 40, 10, 10)


def test_script_says_which_columns_a_file_lacks(tmp_path):
    path = script_of_two_columns(tmp_path, "things.csv", "width", "height")
    (tmp_path / "things.csv").write_text("width,kind\n1,0\n2,1\n")
    made = runpy.run_path(str(path))
    with pytest.raises(SystemExit, match=r"things\.csv lacks the columns height, label$"):
        made["read_rows"](tmp_path / "things.csv")
