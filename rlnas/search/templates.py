"""How the exported script gets its data.

Words in angle brackets are filled in by `rlnas.search.source`.
"""

SPLIT = '''
def split(x, y):
    """Return x_train, y_train, x_test, y_test, with the test part of the search."""
    try:
        from sklearn.model_selection import train_test_split
    except ImportError:
        raise SystemExit("the split needs: pip install scikit-learn") from None
    x_train, x_test, y_train, y_test = train_test_split(
        x, y, test_size=round(TEST_SHARE * len(y)), random_state=SEED, stratify=y
    )
    return x_train, y_train, x_test, y_test
'''

_DIGITS = '''
def load_data():
    """Return x_train, y_train, x_test, y_test of the digits that scikit-learn holds."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise SystemExit("the digits need: pip install scikit-learn") from None
    x, y = load_digits(return_X_y=True)
    return split(x.reshape(len(x), *INPUT_SHAPE), y)
'''

_KERAS = '''
def load_data():
    """Return x_train, y_train, x_test, y_test of <name>; Keras downloads it once."""
    (x_train, y_train), (x_test, y_test) = keras.datasets.<name>.load_data()
    x_train = x_train.reshape(len(x_train), *INPUT_SHAPE)
    x_test = x_test.reshape(len(x_test), *INPUT_SHAPE)
    return x_train, y_train.reshape(-1), x_test, y_test.reshape(-1)
'''

_NPZ = '''
def load_data(path):
    """Return x_train, y_train, x_test, y_test of a .npz file, labels as 0, 1, 2, ..."""
    with np.load(path) as file:
        arrays = dict(file)
    if not {"x_train", "y_train"} <= set(arrays):
        raise SystemExit(f"{path} needs x_train and y_train, it holds {list(arrays)}")
    x = arrays["x_train"].reshape(len(arrays["x_train"]), *INPUT_SHAPE)
    classes, y = np.unique(arrays["y_train"].reshape(-1), return_inverse=True)
    if len(classes) != len(CLASS_NAMES):
        raise SystemExit(f"{path} has {len(classes)} classes, not {len(CLASS_NAMES)}")
    if "x_test" not in arrays:
        return split(x, y)
    x_test = arrays["x_test"].reshape(len(arrays["x_test"]), *INPUT_SHAPE)
    return x, y, x_test, np.searchsorted(classes, arrays["y_test"].reshape(-1))
'''

_FOLDER = '''
def load_data(folder):
    """Return x_train, y_train, x_test, y_test of a folder of images.

    It holds one folder per class, or train/ and test/ with one folder per class each.
    """
    train, test = folder / "train", folder / "test"
    if not (train / CLASS_NAMES[0]).is_dir():
        return split(*read_images(folder))
    if not test.is_dir():
        return split(*read_images(train))
    return *read_images(train), *read_images(test)


def read_images(folder):
    """Return the images of all classes and the numbers of their classes."""
    color_mode = "grayscale" if INPUT_SHAPE[-1] == 1 else "rgb"
    x, y = [], []
    for number, name in enumerate(CLASS_NAMES):
        for file in sorted((folder / name).glob("*")):
            if file.suffix.lower() in SUFFIXES:
                image = keras.utils.load_img(file, color_mode=color_mode)
                x.append(keras.utils.img_to_array(image, dtype="uint8"))
                y.append(number)
    if not x:
        raise SystemExit(f"{folder} holds no folders of images named as in CLASS_NAMES")
    return np.array(x), np.array(y)
'''

LOADERS = {"digits": _DIGITS, "keras": _KERAS, "npz": _NPZ, "folder": _FOLDER}
"""How the script gets its data: ``digits``, ``keras`` for the names of `keras.datasets`, ..."""
