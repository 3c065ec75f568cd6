"""The data sets that are known by name."""

import os
import sys
from contextlib import redirect_stdout
from typing import Any

from rlnas.children.data import Array
from rlnas.children.datasets.raw import Raw, reason
from rlnas.errors import DataError

_CLASS_NAMES = {
    "digits": "0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
    "mnist": "0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
    "fashion_mnist": "T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, "
    "Ankle boot",
    "cifar10": "airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck",
    "cifar100": """
        apple, aquarium_fish, baby, bear, beaver, bed, bee, beetle, bicycle, bottle, bowl, boy,
        bridge, bus, butterfly, camel, can, castle, caterpillar, cattle, chair, chimpanzee, clock,
        cloud, cockroach, couch, crab, crocodile, cup, dinosaur, dolphin, elephant, flatfish,
        forest, fox, girl, hamster, house, kangaroo, keyboard, lamp, lawn_mower, leopard, lion,
        lizard, lobster, man, maple_tree, motorcycle, mountain, mouse, mushroom, oak_tree, orange,
        orchid, otter, palm_tree, pear, pickup_truck, pine_tree, plain, plate, poppy, porcupine,
        possum, rabbit, raccoon, ray, road, rocket, rose, sea, seal, shark, shrew, skunk,
        skyscraper, snail, snake, spider, squirrel, streetcar, sunflower, sweet_pepper, table,
        tank, telephone, television, tiger, tractor, train, trout, tulip, turtle, wardrobe, whale,
        willow_tree, wolf, woman, worm
    """,
}


def read_known(name: str) -> Raw:
    """Return a known data set; ``digits`` comes with scikit-learn, the rest through Keras.

    Keras keeps what it has downloaded below ``KERAS_HOME``, by default ``~/.keras``.

    Args:
        name: One of `rlnas.config.DATASETS`.

    Raises:
        DataError: It is not on this machine and cannot be downloaded.
    """
    names = tuple(text.strip() for text in _CLASS_NAMES[name].split(","))
    if name == "digits":
        images, labels = _digits()
        return Raw(name, images, labels, class_names=names, scale=1 / 16)
    (x_train, y_train), (x_test, y_test) = _from_keras(name)
    return Raw(name, x_train, y_train, x_test, y_test, class_names=names)


def _digits() -> tuple[Array, Array]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images, digits.target


def _from_keras(name: str) -> Any:
    from rlnas.children.backend import keras

    try:
        with redirect_stdout(sys.stderr):  # where Keras's progress bar harms nobody
            return getattr(keras.datasets, name).load_data()
    except Exception as error:  # network, disk and damaged files each raise their own kind
        home = os.path.expanduser(os.environ.get("KERAS_HOME") or os.path.join("~", ".keras"))
        raise DataError(
            f"cannot load {name}: {reason(error)}; connect to the network, or put Keras's "
            f"files of it below {os.path.join(home, 'datasets')} (KERAS_HOME), which must be "
            "writable"
        ) from error
