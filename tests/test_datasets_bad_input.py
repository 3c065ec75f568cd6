"""Each kind of unfit data gives one sentence that says what is wrong."""

import numpy as np
import pytest
from PIL import Image

from rlnas.children.backend import keras
from rlnas.children.datasets import load_data
from rlnas.config import DataConfig
from rlnas.errors import DataError

X, Y = np.zeros((20, 4, 4), np.float32), np.arange(20) % 2
IMAGES_OF_TWO_SIZES = [np.zeros((4, 4)), np.zeros((5, 5))] * 10


def changed(array, value, dtype=None):
    array = array.astype(dtype or array.dtype)
    array.reshape(-1)[5] = value
    return array


def refusal(source, **config) -> str:
    """Return the sentence with which a source is refused."""
    with pytest.raises(DataError) as caught:
        load_data(source, DataConfig(**config), 0)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def write_images(folder, sizes, name="{}.png"):
    folder.mkdir(parents=True, exist_ok=True)
    for number, size in enumerate(sizes):
        Image.new("L", size).save(folder / name.format(number))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ((X, Y[:19]), "y_train has 19 labels for 20 examples"),
        ((X, Y, X, Y[:3]), "y_test has 3 labels for 20 examples"),
        ((X, Y, X), "expected arrays (x, y) or (x, y, x_test, y_test), got 3"),
        (42, "got int"),
        ((X, np.zeros(20, int)), "all labels are 0; expected at least two classes"),
        ((X, Y - 1), "negative labels, got -1"),
        ((X, changed(Y, 1e300, float)), "labels above 9007199254740992, got 1e+300"),
        ("", "got an empty text"),
        ((X, changed(Y, 0.5, float)), "whole numbers or texts, got 0.5"),
        ((X, changed(Y, np.nan, float)), "whole numbers or texts, got nan"),
        ((X, changed(Y, None, object)), "whole numbers or texts, got an array of object"),
        ((X, np.eye(2)[Y]), "got shape (20, 2); for one-hot labels pass their argmax(axis=1)"),
        ((changed(X, np.nan), Y), "NaN or infinite values, first in example 0"),
        ((changed(X, 1e300, float), Y), "NaN or infinite values, first in example 0"),
        ((X[:0], Y[:0]), "x_train is empty, its shape is (0, 4, 4)"),
        ((X, Y, X[:0], Y[:0]), "x_test is empty"),
        (
            (X.reshape(20, 16), Y),
            "the column x0 is 0 in every row of the training part; leave it out",
        ),
        ((X.reshape(20, 2, 2, 2, 2), Y), "got (20, 2, 2, 2, 2); reshape it"),
        ((X.astype(object), Y), "x_train must be one array of numbers, got an array of object"),
        ((IMAGES_OF_TWO_SIZES, Y), "x_train cannot be made one array"),
        ((X, Y, X[:, :3], Y), "(4, 4, 1) and those of x_test (3, 4, 1)"),
        ((X, Y, X, Y + 1), "test labels 2 do not occur"),
        ((X, Y, X, Y.astype(str)), "numbers in both y_train and y_test, or texts in both"),
        ((X, Y, X + 200, Y), "x_train reaches up to 0 and x_test up to 200"),
    ],
)
def test_unfit_arrays_are_refused(source, expected):
    assert expected in refusal(source)


def test_a_class_with_one_example_is_named_with_its_count():
    y = np.array([0] * 10 + [1] * 9 + [7])
    assert "class '7' has too few examples" in refusal((X, y))
    assert "got 1" in refusal((X, y))


def test_a_class_that_would_leave_training_is_named_with_its_count():
    y = np.array([0] * 16 + [1] * 2 + [2] * 2)
    sentence = refusal((X, y, X, y), validation=0.8)
    assert "has too few examples for a validation (--validation) share of 0.8: all 2" in sentence


@pytest.mark.parametrize("share", [0.01, 0.99])
def test_shares_that_leave_a_part_empty_are_refused(share):
    assert "validation (--validation) share" in refusal((X, Y), validation=share)
    assert "test (--test-share) share" in refusal((X, Y), test=share)


def test_fewer_samples_than_classes_are_refused():
    data = load_data(None, DataConfig(), 0)
    with pytest.raises(DataError, match="a part of 9 examples cannot hold all 10 classes"):
        data.sampled(9, 0)


@pytest.mark.parametrize("path", ["no/such/folder", "missing.npz", "./digits", "~/no-such-data"])
def test_missing_paths_are_named(path):
    assert refusal(None, dataset=path) == f"the data set {path} does not exist; check the path"


def test_unknown_names_give_the_nearest():
    assert "unknown data set 'fashionmnist': did you mean fashion_mnist" in refusal("fashionmnist")


def test_known_data_that_cannot_be_loaded_says_what_to_do(monkeypatch, capsys):
    def offline():
        print("Downloading")
        raise OSError("no network\nmore")

    monkeypatch.setattr(keras.datasets.mnist, "load_data", offline)
    monkeypatch.setenv("KERAS_HOME", "somewhere")
    sentence = refusal("mnist")
    assert "cannot load mnist: no network; connect to the network" in sentence
    assert "somewhere" in sentence
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [b"", b"no archive at all", b"PK\x03\x04broken"])
def test_npz_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    assert "x.npz is not a .npz file that can be read" in refusal(tmp_path / "x.npz")


def test_damaged_npz_is_refused(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x_train=np.arange(80.0).reshape(20, 2, 2), y_train=Y)
    content = bytearray(path.read_bytes())
    content[80:120] = bytes(40)
    path.write_bytes(content)
    assert "is not a .npz file that can be read" in refusal(path)


def test_npz_with_one_array_or_objects_is_refused(tmp_path):
    with (tmp_path / "one.npz").open("wb") as file:
        np.save(file, X)
    assert "it is not a zip archive of arrays" in refusal(tmp_path / "one.npz")
    np.savez(tmp_path / "objects.npz", x_train=X.astype(object), y_train=Y)
    assert "without object arrays" in refusal(tmp_path / "objects.npz")


def test_missing_arrays_of_npz_are_named_with_what_is_there(tmp_path):
    np.savez(tmp_path / "x.npz", images=X, y_train=Y)
    assert "lacks x_train: it holds images, y_train" in refusal(tmp_path / "x.npz")
    np.savez(tmp_path / "y.npz", x_train=X, y_train=Y, x_test=X)
    assert "lacks y_test" in refusal(tmp_path / "y.npz")


def test_labels_beyond_the_class_names_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", x_train=X, y_train=Y * 3, class_names=["a", "b"])
    assert "label 3 has no name: there are 2 class names" in refusal(tmp_path / "x.npz")


def test_complaints_begin_with_the_path(tmp_path):
    np.savez(tmp_path / "x.npz", x_train=X, y_train=Y - 1)
    assert refusal(tmp_path / "x.npz").startswith(f"{tmp_path / 'x.npz'}: y_train must not")


def test_images_of_mixed_sizes_are_named_with_their_sizes(tmp_path):
    write_images(tmp_path / "cat", [(8, 6), (8, 6)])
    write_images(tmp_path / "dog", [(8, 6), (7, 6)])
    sentence = refusal(tmp_path)
    assert f"{tmp_path / 'cat' / '0.png'} is 8x6" in sentence
    assert f"{tmp_path / 'dog' / '1.png'} is 7x6" in sentence


@pytest.mark.parametrize("keep", [0, 20, 45])
def test_an_unreadable_image_is_named(tmp_path, keep):
    write_images(tmp_path / "cat", [(8, 6)] * 4)
    write_images(tmp_path / "dog", [(8, 6)] * 4)
    image = tmp_path / "dog" / "2.png"
    image.write_bytes(image.read_bytes()[:keep])
    assert f"cannot read the image {image}" in refusal(tmp_path)


def test_an_image_of_sixteen_bits_is_refused(tmp_path):
    write_images(tmp_path / "cat", [(8, 6)])
    Image.new("I;16", (8, 6)).save(tmp_path / "cat" / "deep.png")
    assert "deep.png: it has more than 8 bits per channel" in refusal(tmp_path)


def test_folders_without_classes_or_images_are_refused(tmp_path):
    assert "holds no folders; expected one folder of images per class" in refusal(tmp_path)
    (tmp_path / "cat").mkdir()
    assert f"{tmp_path / 'cat'} holds no images" in refusal(tmp_path)


def test_test_images_of_an_unknown_class_are_refused(tmp_path):
    for name in ("train/cat", "train/dog", "test/cow"):
        write_images(tmp_path / name, [(8, 6)] * 10)
    assert "test labels cow do not occur" in refusal(tmp_path)


def test_folders_beside_train_and_test_are_refused(tmp_path):
    for name in ("train/cat", "train/dog", "val/cat"):
        write_images(tmp_path / name, [(8, 6)] * 10)
    assert "holds val beside train; expected train and test only" in refusal(tmp_path)


def stream(elements, signature):
    tf = pytest.importorskip("tensorflow")
    spec = tuple(tf.TensorSpec(shape, "float32") for shape in signature)
    return tf.data.Dataset.from_generator(lambda: iter(elements), output_signature=spec)


def test_endless_tf_dataset_is_refused():
    tf = pytest.importorskip("tensorflow")
    source = tf.data.Dataset.from_tensor_slices((X, Y)).repeat()
    assert "never ends" in refusal(source)


@pytest.mark.parametrize(
    ("elements", "signature", "expected"),
    [
        ([], [None, None], "is empty"),
        ([(X[0], 0.0), (X[0, :3], 1.0)], [None, None], "one size, got (4, 4) and (3, 4)"),
        ([(X[0], 0.0, 1.0)], [None] * 3, "pairs, got 3 parts"),
        ([(X[0], np.zeros(3))], [None, None], "got shapes (4, 4) and (3,)"),
        ([(X[:4], np.eye(4)[place]) for place in Y], [None, None], "look one-hot"),
        ([(1, 2, 3), "x"], [None, None], "reading the tf.data.Dataset failed"),
    ],
)
def test_unfit_tf_dataset_is_refused(elements, signature, expected):
    assert expected in refusal(stream(elements, signature))
