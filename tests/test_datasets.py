"""Reading data sets from names, files and memory, and splitting them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rlnas.children.backend import keras
from rlnas.children.data import Data, sealed
from rlnas.children.datasets import load_data
from rlnas.config import DataConfig

CONFIG = DataConfig(validation=0.2, test=0.25)


def arrays(per_class=10, classes=3, shape=(4, 5, 1), dtype=np.uint8, first=0):
    """Return examples whose first pixel is their number, and their classes in turn."""
    y = np.tile(np.arange(classes), per_class)
    x = np.zeros((len(y), *shape), dtype)
    x.reshape(len(y), -1)[:, 0] = np.arange(first, first + len(y))
    x[0].reshape(-1)[-1] = 255
    return x, y


def write_image(path: Path, value, *, size=(6, 4), mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)


def numbers(x):
    """Return the numbers of examples made by `arrays`."""
    return x.reshape(len(x), -1)[:, 0].astype(int).tolist()


def share_of_classes(y):
    return np.bincount(y) / len(y)


def test_digits_are_the_default_with_raw_values():
    data = load_data(None, DataConfig(), 0)
    assert data.name == "digits"
    assert data.input_shape == (8, 8, 1)
    assert data.class_names == tuple("0123456789")
    assert (data.x_train.min(), data.x_train.max()) == (0, 16)
    assert data.scale == 1 / 16
    assert [len(data.y_train), len(data.y_val), len(data.y_test)] == [1222, 216, 359]


def test_every_example_is_in_exactly_one_part():
    data = load_data(arrays(20), CONFIG, 3)
    parts = [numbers(x) for x in (data.x_train, data.x_val, data.x_test)]
    assert [len(part) for part in parts] == [36, 9, 15]
    assert sorted(number for part in parts for number in part) == list(range(60))


def test_examples_keep_their_labels():
    data = load_data(arrays(20), CONFIG, 3)
    for x, y in (
        (data.x_train, data.y_train),
        (data.x_val, data.y_val),
        (data.x_test, data.y_test),
    ):
        assert [number % 3 for number in numbers(x)] == y.tolist()


def test_parts_have_the_classes_in_proportion():
    x = np.zeros((200, 2, 2), np.uint8)
    y = np.repeat([0, 1, 2], [100, 60, 40])
    data = load_data((x, y), CONFIG, 0)
    for part in (data.y_train, data.y_val, data.y_test):
        np.testing.assert_allclose(share_of_classes(part), [0.5, 0.3, 0.2], atol=0.02)


def test_the_seed_decides_the_split():
    first, same, other = (load_data(arrays(), CONFIG, seed) for seed in (1, 1, 2))
    assert numbers(first.x_val) == numbers(same.x_val)
    assert first.fingerprint == same.fingerprint
    assert sorted(numbers(first.x_val)) != sorted(numbers(other.x_val))
    assert first.fingerprint != other.fingerprint


def test_given_test_data_stays_as_it_is():
    x_test, y_test = arrays(2, first=100)
    data = load_data((*arrays(), x_test, y_test), CONFIG, 0)
    np.testing.assert_array_equal(data.x_test, x_test)
    np.testing.assert_array_equal(data.y_test, y_test)
    assert sorted(numbers(data.x_train) + numbers(data.x_val)) == list(range(30))


def test_nested_pairs_as_keras_gives_them_are_understood():
    flat = load_data((*arrays(), *arrays(2)), CONFIG, 0)
    nested = load_data((arrays(), arrays(2)), CONFIG, 0)
    assert nested.fingerprint == flat.fingerprint


def test_data_that_is_ready_is_returned_as_it_is():
    data = load_data(arrays(), CONFIG, 0)
    assert load_data(data, DataConfig(), 7) is data


def test_grey_images_get_an_axis_of_channels():
    data = load_data(arrays(shape=(4, 5)), CONFIG, 0)
    assert data.x_train.shape[1:] == data.x_test.shape[1:] == data.input_shape == (4, 5, 1)


@pytest.mark.parametrize(
    ("given", "kept"),
    [("uint8", "uint8"), ("bool", "float32"), ("int64", "float32"), ("float64", "float32")],
)
def test_bytes_stay_bytes_and_the_rest_becomes_float32(given, kept):
    data = load_data(arrays(dtype=given), CONFIG, 0)
    assert {data.x_train.dtype, data.x_val.dtype, data.x_test.dtype} == {np.dtype(kept)}


def test_parts_of_different_types_become_float32():
    data = load_data((*arrays(), *arrays(2, dtype=np.int64)), CONFIG, 0)
    assert data.x_train.dtype == data.x_test.dtype == np.float32


@pytest.mark.parametrize(
    ("largest", "scale"),
    [
        *[(1, 1), (0.5, 1), (-1, 1), (255, 1 / 255), (200, 1 / 255)],
        *[(16, 1 / 16), (-4, 1 / 4), (1000, 1 / 1000)],
    ],
)
def test_scale_takes_raw_values_to_about_one(largest, scale):
    x = np.zeros((20, 2, 2))
    x[:, 0, 0] = largest
    assert load_data((x, np.arange(20) % 2), CONFIG, 0).scale == scale


def test_scale_is_not_derived_from_test_data():
    x, y = arrays(dtype=np.float32)
    data = load_data((x, y, x * 10, y), CONFIG, 0)
    assert data.scale == 1 / 255


@pytest.mark.parametrize(
    ("labels", "names", "first"),
    [
        ([1, 2, 5], ("1", "2", "5"), 0),
        ([0.0, 1.0, 2.0], ("0", "1", "2"), 0),
        (["dog", "cat", "owl"], ("cat", "dog", "owl"), 1),
        ([b"dog", b"cat", b"owl"], ("cat", "dog", "owl"), 1),
        (np.array(["dog", "cat", "owl"], object), ("cat", "dog", "owl"), 1),
    ],
)
def test_labels_become_places_among_sorted_class_names(labels, names, first):
    x, _ = arrays()
    data = load_data((x, np.tile(labels, 10)), CONFIG, 0)
    assert data.class_names == names
    assert data.y_train.dtype == data.y_val.dtype == data.y_test.dtype == np.int64
    of_first_label = [number % 3 == 0 for number in numbers(data.x_train)]
    assert set(data.y_train[of_first_label]) == {first}


def test_a_column_of_labels_is_flattened():
    x, y = arrays()
    data = load_data((x, y[:, np.newaxis]), CONFIG, 0)
    assert data.fingerprint == load_data((x, y), CONFIG, 0).fingerprint


def test_npz_is_read_with_its_class_names(tmp_path):
    x, y = arrays()
    names = np.array(["ant", "bee", "cow"])
    path = tmp_path / "animals.npz"
    np.savez(path, x_train=x, y_train=y, x_test=x[:6], y_test=y[:6], class_names=names, note="hi")
    data = load_data(str(path), CONFIG, 0)
    assert data.name == str(path)
    assert data.class_names == ("ant", "bee", "cow")
    assert data.fingerprint != load_data((x, y, x[:6], y[:6]), CONFIG, 0).fingerprint


def test_npz_without_test_data_is_split(tmp_path):
    x, y = arrays()
    np.savez(tmp_path / "some.npz", x_train=x, y_train=y)
    data = load_data(tmp_path / "some.npz", CONFIG, 0)
    assert data.fingerprint == load_data((x, y), CONFIG, 0).fingerprint


def test_a_folder_per_class_is_read_and_split(tmp_path):
    for number in range(8):
        write_image(tmp_path / "shoe" / f"{number}.png", number)
        write_image(tmp_path / "hat" / f"{number}.PNG", 100 + number)
    (tmp_path / "hat" / "notes.txt").write_text("not an image")
    (tmp_path / ".cache").mkdir()
    data = load_data(tmp_path, CONFIG, 0)
    assert data.class_names == ("hat", "shoe")
    assert data.input_shape == (4, 6, 1)
    assert [len(data.y_train), len(data.y_val), len(data.y_test)] == [10, 2, 4]
    assert [value < 100 for value in numbers(data.x_test)] == data.y_test.tolist()


def test_train_and_test_folders_are_kept_apart(tmp_path):
    for name, value in (("hat", 100), ("shoe", 0)):
        for number in range(5):
            write_image(tmp_path / "train" / name / f"{number}.png", value + number)
        write_image(tmp_path / "test" / name / "0.png", value + 50)
    data = load_data(str(tmp_path), CONFIG, 0)
    assert numbers(data.x_test) == [150, 50]
    assert data.y_test.tolist() == [0, 1]
    assert len(data.y_train) + len(data.y_val) == 10


def test_train_may_be_the_name_of_a_class(tmp_path):
    for name in ("bus", "train"):
        for number in range(5):
            write_image(tmp_path / name / f"{number}.png", number)
    assert load_data(tmp_path, CONFIG, 0).class_names == ("bus", "train")


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "bmp", "gif", "webp"])
def test_image_formats_are_read(tmp_path, suffix):
    for number in range(16):
        write_image(tmp_path / f"{number % 2}" / f"{number}.{suffix}", (250, 10, 10), mode="RGB")
    data = load_data(tmp_path, CONFIG, 0)
    assert data.input_shape == (4, 6, 3)
    np.testing.assert_allclose(data.x_train[0, 0, 0], [250, 10, 10], atol=8)


def test_one_colour_image_makes_all_rgb(tmp_path):
    for number in range(16):
        write_image(tmp_path / f"{number % 2}" / f"{number}.png", 40 + number)
    write_image(tmp_path / "1" / "red.png", (200, 0, 0), mode="RGB")
    data = load_data(tmp_path, CONFIG, 0)
    pixels = np.concatenate([data.x_train, data.x_val, data.x_test])[:, 0, 0]
    assert sorted(pixels.tolist()) == [*([value] * 3 for value in range(40, 56)), [200, 0, 0]]


@pytest.mark.parametrize(("mode", "channels"), [("1", 1), ("LA", 1), ("P", 3), ("RGBA", 3)])
def test_modes_of_images_become_grey_or_rgb(tmp_path, mode, channels):
    for number in range(16):
        write_image(
            tmp_path / f"{number % 2}" / f"{number}.png", 1 if mode in "1P" else None, mode=mode
        )
    assert load_data(tmp_path, CONFIG, 0).input_shape == (4, 6, channels)


def test_sampled_reduces_training_and_validation_only():
    x, y = np.zeros((200, 2, 2), np.uint8), np.repeat([0, 1, 2], [100, 60, 40])
    x[:, 0, 0] = np.arange(200)
    data = load_data((x, y), CONFIG, 0)
    part = data.sampled(20, 5)
    np.testing.assert_allclose(share_of_classes(part.y_train), [0.5, 0.3, 0.2])
    assert len(part.y_val) == 20 < len(data.y_val)
    assert set(numbers(part.x_train)) < set(numbers(data.x_train))
    assert len(set(numbers(part.x_train))) == 20
    assert part.x_test is data.x_test


@pytest.mark.parametrize("n", [3, 5, 20])
def test_sampled_holds_every_class_be_it_ever_so_rare(n):
    x, y = np.zeros((1000, 2, 2), np.uint8), np.repeat([0, 1, 2], [960, 20, 20])
    x.reshape(1000, -1)[:, :2] = np.stack(np.divmod(np.arange(1000), 250), axis=1)
    for seed in range(5):
        part = load_data((x, y), CONFIG, 0).sampled(n, seed)
        for examples, labels in ((part.x_train, part.y_train), (part.x_val, part.y_val)):
            assert len(labels) == len(np.unique(examples, axis=0)) == n
            assert np.unique(labels).tolist() == [0, 1, 2]


@pytest.mark.parametrize("reach", [(0.98, 1.02), (1.5, 0.9)])
def test_outliers_of_one_part_are_no_other_scale(reach):
    y = np.arange(20) % 2
    x, x_test = (np.linspace(0, most, 80, dtype=np.float32).reshape(20, 2, 2) for most in reach)
    assert load_data((x, y, x_test, y), CONFIG, 0).x_test.max() == x_test.max()


def test_sampled_keeps_a_small_validation_part_whole():
    data = load_data(arrays(20), CONFIG, 0)
    part = data.sampled(12, 0)
    assert len(part.y_train) == 12
    np.testing.assert_array_equal(part.x_val, data.x_val)


def test_sampled_takes_any_number_up_to_all():
    data = load_data(arrays(), CONFIG, 0)
    for n in range(data.classes, len(data.y_train)):
        assert len(data.sampled(n, 0).y_train) == n
    assert data.sampled(len(data.y_train), 0) is data
    assert data.sampled(None, 0) is data


def test_sampled_depends_on_the_seed_and_has_a_fingerprint_of_its_own():
    data = load_data(arrays(), CONFIG, 0)
    first, same, other = (data.sampled(9, seed) for seed in (1, 1, 2))
    assert first.fingerprint == same.fingerprint
    assert len({data.fingerprint, first.fingerprint, other.fingerprint}) == 3


def small_data(**changes) -> Data:
    x, y = np.zeros((2, 2, 2, 1), np.uint8), np.array([0, 1])
    fields = {"x_train": x, "x_val": x, "x_test": x, "y_train": y, "y_val": y, "y_test": y}
    rest = {"name": "a", "class_names": ("0", "1"), "scale": 1.0, "fingerprint": ""}
    return sealed(Data(**{**fields, **rest, **changes}))


@pytest.mark.parametrize(
    "changes",
    [
        {"x_test": np.ones((2, 2, 2, 1), np.uint8)},
        {"x_val": np.zeros((2, 2, 2, 1), np.int8)},
        {"x_train": np.zeros((2, 1, 4, 1), np.uint8)},
        {"y_val": np.array([1, 0])},
        {"class_names": ("0", "2")},
        {"scale": 0.5},
    ],
)
def test_fingerprint_tells_data_apart(changes):
    fingerprint = small_data().fingerprint
    assert len(fingerprint) == 16 and int(fingerprint, 16) >= 0
    assert small_data(**changes).fingerprint != fingerprint
    assert small_data(name="b").fingerprint == fingerprint


@pytest.mark.parametrize("batch", [None, 7])
def test_tf_dataset_is_read_into_arrays(batch):
    tf = pytest.importorskip("tensorflow")
    stream = tf.data.Dataset.from_tensor_slices(arrays())
    data = load_data(stream.batch(batch) if batch else stream, CONFIG, 0)
    assert data.name == "dataset"
    assert data.fingerprint == load_data(arrays(), CONFIG, 0).fingerprint


def test_modules_of_data_import_neither_keras_nor_sklearn():
    code = (
        "import sys, rlnas.children.datasets, rlnas.children.data\n"
        "print([name for name in ('keras', 'sklearn', 'tensorflow', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "classes", "some"),
    [
        ("mnist", 10, {3: "3"}),
        ("fashion_mnist", 10, {0: "T-shirt/top", 9: "Ankle boot"}),
        ("cifar10", 10, {0: "airplane", 9: "truck"}),
        ("cifar100", 100, {0: "apple", 49: "mountain", 99: "worm"}),
    ],
)
def test_known_data_has_its_class_names(monkeypatch, name, classes, some):
    x, y = arrays(8, classes, dtype=np.int64)
    parts = (x, y[:, np.newaxis]), (x[:classes], y[:classes, np.newaxis])
    monkeypatch.setattr(getattr(keras.datasets, name), "load_data", lambda: parts)
    data = load_data(name, CONFIG, 0)
    assert data.name == name
    assert len(set(data.class_names)) == classes
    assert {place: data.class_names[place] for place in some} == some


def test_known_data_comes_from_keras_home():
    root = os.environ.get("RLNAS_TEST_DATA")
    if not root:
        pytest.skip("RLNAS_TEST_DATA does not name a folder of real data")
    code = (
        "from rlnas.children.datasets import load_data\n"
        "from rlnas.config import DataConfig\n"
        "d = load_data('fashion_mnist', DataConfig(), 0)\n"
        "print(d.x_train.shape, d.x_train.dtype, d.x_test.shape, d.class_names[9])"
    )
    environment = {**os.environ, "KERAS_HOME": str(Path(root) / "keras")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "(51000, 28, 28, 1) uint8 (10000, 28, 28, 1) Ankle boot\n"
