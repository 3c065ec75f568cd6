"""The parts of the exported script for texts, recordings and tables: first layers and loaders.

The layers are those of `rlnas.children.inputs`, with the same names. Words in angle brackets are
filled in.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import fields

from rlnas.children.inputs import AudioInputs, Inputs, TableInputs, TextInputs

_WIDTH = 88

_TEXT_LAYERS = """\
    inputs = keras.Input((), dtype="string", name="text")
    x = layers.TextVectorization(
        vocabulary=VOCABULARY, output_sequence_length=LENGTH, name="words"
    )(inputs)
"""

_AUDIO_LAYERS = """\
    inputs = keras.Input((SAMPLES,), name="samples")
    x = layers.MelSpectrogram(
        fft_length=WINDOW,
        sequence_length=WINDOW,
        sequence_stride=STRIDE,
        num_mel_bins=BINS,
        sampling_rate=RATE,
        max_freq=RATE / 2,
        min_power=MIN_POWER,
        top_db=1e4,  # no limit: it would depend on the loudest recording of a batch
        name="spectrogram",
    )(inputs)
    x = layers.Permute((2, 1), name="frames_first")(x)
    x = layers.Reshape(INPUT_SHAPE, name="one_channel")(x)
    x = layers.Normalization(
        axis=None, mean=MEAN, variance=VARIANCE, name="normalization"
    )(x)
"""

_TABLE_LAYERS = """\
    inputs, parts = {}, []
    for number, (name, state) in enumerate(COLUMNS.items()):
        place = f"column_{number}"
        if isinstance(state, list):
            inputs[name] = keras.Input((1,), dtype="string", name=name)
            encode = layers.StringLookup(
                vocabulary=state, output_mode="one_hot", name=f"{place}_category"
            )
        else:
            mean, variance, *edges = state
            inputs[name] = keras.Input((1,), dtype="float32", name=name)
            encode = layers.Normalization(
                axis=None, mean=mean, variance=variance, name=f"{place}_normalized"
            )
        parts.append(encode(inputs[name]))
        if not isinstance(state, list) and edges:
            x = layers.RepeatVector(len(edges) - 1, name=f"{place}_repeated")(inputs[name])
            x = layers.Flatten(name=f"{place}_flat")(x)
            widths = [(b - a) ** 2 for a, b in zip(edges[:-1], edges[1:], strict=True)]
            x = layers.Normalization(mean=edges[:-1], variance=widths, name=f"{place}_pieces")(x)
            parts.append(layers.ReLU(max_value=1.0, name=f"{place}_reached")(x))
    x = keras.ops.nan_to_num(layers.Concatenate(name="row")(parts))
"""

_ROWS = '''
def load_data(path, test_path):
    """Return x_train, y_train, x_test, y_test of CSV or TSV files with a header."""
    rows = read_rows(path)
    if test_path is not None:
        train, test = rows, read_rows(test_path)
    elif SPLIT_COLUMN in rows[0]:
        train = [row for row in rows if row[SPLIT_COLUMN].lower().startswith("train")]
        test = [row for row in rows if row[SPLIT_COLUMN].lower() == "test"]
    else:
        y = [CLASS_NAMES.index(row[LABEL_COLUMN].strip()) for row in rows]
        train, _, test, _ = split(rows, y)
    return *arrays(train), *arrays(test)


def read_rows(path):
    """Return the rows of a file by column."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
        if ".tsv" in path.suffixes:
            reader = csv.DictReader(file, delimiter="\\t", quoting=csv.QUOTE_NONE)
        else:
            reader = csv.DictReader(file)
        missing = {<columns>} - set(reader.fieldnames or ())
        if missing:
            raise SystemExit(f"{path} lacks the columns {', '.join(sorted(missing))}")
        return list(reader)
'''

_TEXT_ARRAYS = '''
def arrays(rows):
    """Return texts, and the numbers of their classes."""
    labels = [CLASS_NAMES.index(row[LABEL_COLUMN].strip()) for row in rows]
    return np.array([row[TEXT_COLUMN] for row in rows], dtype=object), np.array(labels)
'''

_TABLE_ARRAYS = '''
def arrays(rows):
    """Return columns by name, and the numbers of the rows' classes."""
    x = {}
    for name, state in COLUMNS.items():
        cells = [row[name].strip() for row in rows]
        if isinstance(state, list):
            x[name] = keras.ops.convert_to_tensor(np.array(cells)[:, None])
        else:
            x[name] = np.array([float(cell or "nan") for cell in cells])[:, None]
    labels = [CLASS_NAMES.index(row[LABEL_COLUMN].strip()) for row in rows]
    return x, np.array(labels)
'''

_FILES = '''
def load_data(folder):
    """Return x_train, y_train, x_test, y_test of a folder of <what>.

    It holds one folder per class, or train/ and test/ with one folder per class each.
    """
    train, test = folder / "train", folder / "test"
    if not (train / CLASS_NAMES[0]).is_dir():
        return split(*read_files(folder))
    if not test.is_dir():
        return split(*read_files(train))
    return *read_files(train), *read_files(test)


def read_files(folder):
    """Return the <what> of all classes and the numbers of their classes."""
    x, y = [], []
    for number, name in enumerate(CLASS_NAMES):
        for file in sorted((folder / name).glob("*<suffix>")):
            x.append(<read>(file))
            y.append(number)
    if not x:
        raise SystemExit(f"{folder} holds no folders of <what> named as in CLASS_NAMES")
    return np.array(x<kind>), np.array(y)
'''

_READ_TEXT = '''
def read_text(file):
    """Return a text."""
    return file.read_text(encoding="utf-8")
'''

_READ_SAMPLES = '''
def read_samples(file):
    """Return the samples of a recording, from -1 to 1, cut off or filled with silence."""
    with wave.open(str(file), "rb") as recording:
        width, channels = recording.getsampwidth(), recording.getnchannels()
        content = recording.readframes(recording.getnframes())
    if width == 1:
        samples = np.frombuffer(content, np.uint8).astype("float32") - 128
    elif width == 3:
        padded = np.zeros((len(content) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
        samples, width = np.frombuffer(padded.tobytes(), "<i4").astype("float32"), 4
    else:
        samples = np.frombuffer(content, f"<i{width}").astype("float32")
    samples = samples.reshape(-1, channels).mean(axis=1) / 2 ** (8 * width - 1)
    return np.pad(samples[:SAMPLES], (0, max(0, SAMPLES - len(samples))))
'''

_NPZ = '''
def load_data(path):
    """Return x_train, y_train, x_test, y_test of a .npz file, labels as 0, 1, 2, ..."""
    with np.load(path) as file:
        held = dict(file)
    classes, y = np.unique(held["y_train"].reshape(-1), return_inverse=True)
    x = held["x_train"]
    if "x_test" in held:
        x_test, y_test = held["x_test"], np.searchsorted(classes, held["y_test"])
    else:
        x, y, x_test, y_test = split(x, y)
    return <convert>(x), y, <convert>(x_test), y_test


def <convert>(x):
    """Return examples as the network takes them."""
    <converted>
'''


def first_layers(inputs: Inputs) -> str:
    """Return the lines that make `inputs` and `x`."""
    match inputs:
        case TextInputs():
            return _TEXT_LAYERS
        case AudioInputs():
            return _AUDIO_LAYERS
    return _TABLE_LAYERS


def input_constants(inputs: Inputs, columns: dict[str, str]) -> dict[str, str]:
    """Return the constants of the first layers and of the loader by name, as text.

    Args:
        inputs: What stands in front of the child.
        columns: The columns of a file of rows, by the setting that names them.
    """
    constants = {
        "TEXT_COLUMN": repr(columns.get("text_column", "text")),
        "LABEL_COLUMN": repr(columns.get("label_column", "label")),
        "SPLIT_COLUMN": repr(columns.get("split_column", "split")),
    }
    constants = {name: text.replace("'", '"') for name, text in constants.items()}
    match inputs:
        case TextInputs():
            return {
                **constants,
                "LENGTH": repr(inputs.length),
                "VOCABULARY": _words(inputs.vocabulary),
            }
        case AudioInputs():
            names = [field.name for field in fields(inputs)]
            return {name.upper(): repr(getattr(inputs, name)) for name in names}
        case TableInputs():
            return {**constants, "COLUMNS": _columns(inputs)}
    return constants


def input_loader(inputs: Inputs, source: str, *, numbers: bool = False) -> list[str]:
    """Return the functions that load the data.

    Args:
        inputs: What stands in front of the child.
        source: ``rows``, ``folder`` or ``npz``.
        numbers: Whether a number is predicted, not a class.
    """
    loaders = _loaders(inputs, source)
    if not numbers:
        return loaders
    label, number = "CLASS_NAMES.index(row[LABEL_COLUMN].strip())", "[float(row[LABEL_COLUMN])]"
    return [
        loader.replace(label, number)
        .replace("the numbers of their classes", "what is to be predicted")
        .replace("the numbers of the rows' classes", "what is to be predicted")
        .replace(", labels as 0, 1, 2, ...", "")
        .replace(
            '    classes, y = np.unique(held["y_train"].reshape(-1), return_inverse=True)\n'
            '    x = held["x_train"]\n',
            '    x, y = held["x_train"], held["y_train"].reshape(-1, 1)\n',
        )
        .replace('np.searchsorted(classes, held["y_test"])', 'held["y_test"].reshape(-1, 1)')
        for loader in loaders
    ]


def _loaders(inputs: Inputs, source: str) -> list[str]:
    texts = isinstance(inputs, TextInputs)
    if source == "rows":
        words = {"columns": "TEXT_COLUMN, LABEL_COLUMN" if texts else "*COLUMNS, LABEL_COLUMN"}
        return [_filled(_ROWS, words), _TEXT_ARRAYS if texts else _TABLE_ARRAYS]
    if source == "folder":
        words = {
            "what": "texts" if texts else "recordings",
            "suffix": ".txt" if texts else ".wav",
            "read": "read_text" if texts else "read_samples",
            "kind": ", dtype=object" if texts else "",
        }
        return [_filled(_FILES, words), _READ_TEXT if texts else _READ_SAMPLES]
    words = {"convert": "texts", "converted": "return x.astype(object)"}
    if not texts:
        converted = "return {name: x[:, k : k + 1] for k, name in enumerate(COLUMNS)}"
        words = {"convert": "columns", "converted": converted}
    return [_filled(_NPZ, words)]


def _words(vocabulary: Sequence[str]) -> str:
    filled = textwrap.fill(
        " ".join(vocabulary), _WIDTH, break_long_words=False, break_on_hyphens=False
    )
    return f'"""\n{filled}\n""".split()'


def _columns(inputs: TableInputs) -> str:
    lines = ["{"]
    for column in inputs.columns:
        state = (
            _listed(column.categories)
            if column.categories
            else _numbers((column.mean, column.variance, *column.edges))
        )
        lines.append(f"    {_quoted(column.name)}: {state},")
    return "\n".join([*lines, "}"])


def _listed(categories: Sequence[str]) -> str:
    flat = f"[{', '.join(map(_quoted, categories))}]"
    if len(flat) < _WIDTH - 30:
        return flat
    lines = [f"        {_quoted(each)}," for each in categories]
    return "\n".join(["[", *lines, "    ]"])


def _numbers(values: Sequence[float]) -> str:
    flat = f"({', '.join(map(repr, values))})"
    if len(flat) < _WIDTH - 30:
        return flat
    lines = [f"        {each!r}," for each in values]
    return "\n".join(["(", *lines, "    )"])


def _quoted(text: str) -> str:
    written = repr(text)
    return f'"{written[1:-1]}"' if '"' not in text and "'" not in text else written


def _filled(template: str, words: dict[str, str]) -> str:
    for name, word in words.items():
        template = template.replace(f"<{name}>", word)
    return template
