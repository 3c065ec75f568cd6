"""The parts of the exported script that train: optimizer, loss, random changes, main.

They do what `rlnas.children.recipes` says, by Keras alone.
"""

from rlnas.children import optimizers, recipes
from rlnas.config import AUGMENTATIONS_OF, RecipeConfig

_OPTIMIZERS = {
    "adam": ("Adam", ""),
    "adamw": ("AdamW", f", weight_decay={recipes.WEIGHT_DECAY}"),
    "rmsprop": ("RMSprop", ""),
    "adagrad": ("Adagrad", ""),
    "sgd": ("SGD", ""),
    "momentum": ("SGD", ", momentum=0.9"),
    "nesterov": ("SGD", ", momentum=0.9, nesterov=True"),
}

_RATES = {
    "cosine": (
        "its learning rate falls along a cosine, to 0 at the end",
        "schedules.CosineDecay(LEARNING_RATE, steps)",
    ),
    "exponential": (
        "its learning rate falls to a hundredth",
        f"schedules.ExponentialDecay(LEARNING_RATE, steps, {recipes.DECAYED})",
    ),
    "step": (
        "its learning rate falls at half time and later",
        "schedules.PiecewiseConstantDecay(ends, rates)",
    ),
    "plateau": ("main lowers its learning rate", "LEARNING_RATE"),
    "gradient": ("its learning rate goes by the gradient", "LEARNING_RATE"),
    "fixed": ("its learning rate stays as it is", "LEARNING_RATE"),
}
"""What the schedule does, and the learning rate that Keras is given for it."""

_STEPPED = f"""\
    ends = [math.ceil(share * steps) - 1 for share in {tuple(recipes.STEPS)}]
    rates = [LEARNING_RATE * share for share in {(1, *recipes.STEPS.values())}]
"""

_FACTORS = '''
def rate_factors(model):
    """Return the factor of each variable's learning rate: RATE_PER_LAYER per layer."""
    depth, depths = 0, []
    for layer in model.layers:
        shapes = [len(variable.shape) for variable in layer.trainable_variables]
        depth += any(size > 1 for size in shapes)
        depths += [depth] * len(shapes)
    return [RATE_PER_LAYER ** (depth - each) for each in depths]
'''

_CLASS = '''
class Optimizer(keras.optimizers.<kind>):
    """<kind> whose learning rate goes by <what>."""
'''

_APPLY = f'''
    def apply(self, grads, trainable_variables=None):
        """Make a step, of a tenth where the gradient is small."""
        squares = sum(keras.ops.sum(keras.ops.square(each)) for each in grads)
        small = keras.ops.sqrt(squares) < {optimizers.THRESHOLD}
        self.share = keras.ops.where(small, {optimizers.LOWERED}, 1.0)
        super().apply(grads, trainable_variables)
'''

_UPDATE = '''
    def update_step(self, gradient, variable, learning_rate):
        """Move one variable."""
        <rate>
        super().update_step(gradient, variable, learning_rate)
'''

_LOSS = '''
def smoothed_loss(y, outputs):
    """Return the cross-entropy, some of each label given to all classes alike."""
    labels = keras.ops.one_hot(keras.ops.cast(y, "int32"), len(CLASS_NAMES))
    return keras.losses.categorical_crossentropy(
        labels, outputs, label_smoothing=LABEL_SMOOTHING
    )
'''

_CLASS_WEIGHTS = '''
def class_weights(y):
    """Return how much an example of each class weighs in the loss, rare ones more."""
    counts = np.bincount(y, minlength=len(CLASS_NAMES))
    weights = (len(y) / np.maximum(counts, 1)) ** CLASS_WEIGHT
    return dict(enumerate(weights * len(y) / (weights @ counts)))
'''

_SQUARES = '''
def target_loss(y, outputs):
    """Return the squares of the errors, in variances of the training part."""
    return keras.losses.mean_squared_error(y / TARGET_SCALE, outputs / TARGET_SCALE)
'''

_CHANGES = {
    "flip": 'layers.RandomFlip("horizontal")',
    "rotation": 'layers.RandomRotation(STRENGTH / 4, fill_mode="nearest")',
    "zoom": 'layers.RandomZoom(STRENGTH, fill_mode="nearest")',
    "shift": 'layers.RandomTranslation(STRENGTH, STRENGTH, fill_mode="nearest")',
    "time_mask": "RandomMask(1)",
    "frequency_mask": "RandomMask(2)",
}

_MASK = '''
class RandomMask(layers.Layer):
    """A band of each spectrogram at its mean, in training (Park et al. 2019)."""

    def __init__(self, axis):
        super().__init__()
        self.axis = axis
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, x, training=False):
        """Return spectrograms, in training with a band masked."""
        if not training:
            return x
        ops, size = keras.ops, x.shape[self.axis]
        one_each = (ops.shape(x)[0], 1, 1, 1)
        share = keras.random.uniform(one_each, seed=self.seed_generator)
        width = ops.floor(share * (STRENGTH * size + 1))
        share = keras.random.uniform(one_each, seed=self.seed_generator)
        first = ops.floor(share * (size - width + 1))
        along = [size if axis == self.axis else 1 for axis in range(4)]
        places = ops.reshape(ops.arange(size, dtype="float32"), along)
        return ops.where((places >= first) & (places < first + width), 0.0, x)
'''

_MAIN = '''
def main():
    """Train the network, print its test accuracy and save it."""
    parser = argparse.ArgumentParser(description="Trains a network that rlnas found.")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    options = parser.parse_args()
    if options.epochs < 1:
        parser.error("--epochs must be at least 1")

    keras.utils.set_random_seed(SEED)
    x_train, y_train, x_test, y_test = load_data()
    model = build_model()
<steps>    <trained>.compile(
        optimizer=make_optimizer(<arguments>),
        loss=<loss>,
        metrics=["accuracy"],
    )
    <fit>
    _, accuracy = <trained>.evaluate(x_test, y_test, verbose=0)
    print(f"test accuracy {accuracy:.4f}")
    model.save("trained.keras")


if __name__ == "__main__":
    main()
'''

_STEPS = "    steps = options.epochs * math.ceil(len(x_train) / BATCH_SIZE)\n"
_AUGMENTED = "    augmented = augment(model)\n"
_FIT = "{}.fit(x_train, y_train, BATCH_SIZE, epochs=options.epochs, verbose=2)"
_LONG_FIT = """\
{}.fit(
        x_train,
        y_train,
        BATCH_SIZE,
        epochs=options.epochs,
{}        verbose=2,
    )"""
_LOWER = f"""\
lower = keras.callbacks.ReduceLROnPlateau(
        monitor="loss", factor={recipes.PLATEAU}, patience=1, min_delta={recipes.LEAST_FALL}
    )
    """


_GIVEN = {
    "folder": ("folder with one folder per class", "is_dir"),
    "npz": (".npz file", "is_file"),
    "rows": ("CSV or TSV file", "is_file"),
}
"""What a path has to be, and the method of `Path` that tells so."""


def training_constants(recipe: RecipeConfig) -> dict[str, str]:
    """Return the script's constants by name, as text, of which it uses some."""
    return {
        "EPOCHS": repr(recipe.epochs),
        "BATCH_SIZE": repr(recipe.batch_size),
        "LEARNING_RATE": repr(recipe.learning_rate),
        "RATE_PER_LAYER": repr(recipe.rate_per_layer),
        "LABEL_SMOOTHING": repr(recipe.label_smoothing),
        "CLASS_WEIGHT": repr(recipe.class_weight),
        "STRENGTH": repr(recipe.augment_strength),
        "DROPOUT": repr(recipe.dropout),
        "PENALTY": f"keras.regularizers.L1L2({recipe.l1!r}, {recipe.l2!r})",
    }


def training_functions(recipe: RecipeConfig, *, numbers: bool = False) -> list[str]:
    """Return the functions with which the script trains, `main` not among them.

    Args:
        recipe: How the network is trained.
        numbers: Whether a number is predicted, not a class.
    """
    return [
        *([_SQUARES] if numbers else []),
        *([_augment(recipe)] if recipe.augmentations else []),
        *([_LOSS] if recipe.label_smoothing else []),
        *([_CLASS_WEIGHTS] if recipe.class_weight else []),
        *([_FACTORS] if _by_layer(recipe) else []),
        *([_optimizer_class(recipe)] if _own_optimizer(recipe) else []),
        _make_optimizer(recipe),
    ]


def main_function(recipe: RecipeConfig, *, table: bool = False, numbers: bool = False) -> str:
    """Return `main`, for data that the script finds by itself.

    Args:
        recipe: How the network is trained.
        table: Whether examples are columns by name.
        numbers: Whether a number is predicted, not a class.
    """
    trained = "augmented" if recipe.augmentations else "model"
    filled = {
        "steps": (_STEPS if _needs_steps(recipe) else "")
        + (_AUGMENTED if recipe.augmentations else ""),
        "trained": trained,
        "arguments": ", ".join(_arguments(recipe)),
        "loss": "smoothed_loss" if recipe.label_smoothing else '"sparse_categorical_crossentropy"',
        "fit": _fit(recipe, trained),
    }
    if numbers:
        filled["loss"] = "target_loss"
    main = _filled(_MAIN, filled)
    if numbers:
        main = (
            main.replace('metrics=["accuracy"]', "metrics=[keras.metrics.R2Score()]")
            .replace("accuracy}", "r2}")
            .replace("{accuracy:", "{r2:")
            .replace("_, accuracy =", "_, r2 =")
            .replace("test accuracy {", "test R2 {")
            .replace("its test accuracy", "its R2 on the test part")
        )
    # A table is a dict of columns: its length is their number.
    return main.replace("len(x_train)", "len(y_train)") if table else main


def main_with_data(main: str, kind: str) -> str:
    """Return `main` for data whose path is given.

    Args:
        main: For data that the script finds by itself.
        kind: ``folder``, ``npz`` or ``rows``.
    """
    what, is_there = _GIVEN[kind]
    tests = '    parser.add_argument("--test-data", type=Path, help="file of the test part")\n'
    if kind == "rows":
        main = main.replace("load_data()", "load_data(options.data, options.test_data)")
    return (
        main.replace(
            '    parser.add_argument("--epochs"',
            f'    parser.add_argument("data", type=Path, help="{what}")\n'
            f"{tests if kind == 'rows' else ''}"
            '    parser.add_argument("--epochs"',
        )
        .replace(
            "\n\n    keras.utils",
            f"\n    if not options.data.{is_there}():\n"
            '        parser.error(f"{options.data} is not there")\n\n    keras.utils',
        )
        .replace("load_data()", "load_data(options.data)")
    )


def _make_optimizer(recipe: RecipeConfig) -> str:
    kind, options = _OPTIMIZERS[recipe.optimizer]
    what, rate = _RATES[recipe.schedule]
    lines = [
        f"def make_optimizer({', '.join(_arguments(recipe))}):",
        f'    """Return the optimizer; {what}."""',
        *([_STEPPED.rstrip()] if recipe.schedule == "step" else []),
        *(["    schedules = keras.optimizers.schedules"] if "(" in rate else []),
        f"    learning_rate = {rate}",
    ]
    name = "Optimizer" if _own_optimizer(recipe) else f"keras.optimizers.{kind}"
    made = f"{name}(learning_rate{options})"
    if _by_layer(recipe):
        lines += [
            f"    optimizer = {made}",
            "    optimizer.factors = rate_factors(model)",
            "    return optimizer",
        ]
    else:
        lines.append(f"    return {made}")
    return "\n".join(lines) + "\n"


def _optimizer_class(recipe: RecipeConfig) -> str:
    by_layer, by_gradient = _by_layer(recipe), recipe.schedule == "gradient"
    whats = ["layer"] * by_layer + ["the size of the gradient"] * by_gradient
    rates = ["learning_rate *= self.factors[self._get_variable_index(variable)]"] * by_layer
    rates += ["learning_rate *= self.share"] * by_gradient
    filled = {
        "kind": _OPTIMIZERS[recipe.optimizer][0],
        "what": " and by ".join(whats),
        "rate": "\n        ".join(rates),
    }
    return _filled(_CLASS + _APPLY * by_gradient + _UPDATE, filled)


def _fit(recipe: RecipeConfig, trained: str) -> str:
    plateau = recipe.schedule == "plateau"
    more = "        callbacks=[lower],\n" * plateau
    if recipe.class_weight:
        more += "        class_weight=class_weights(y_train),\n"
    fit = _LONG_FIT.format(trained, more) if more else _FIT.format(trained)
    return _LOWER * plateau + fit


def _augment(recipe: RecipeConfig) -> str:
    changes = [f"    x = {_CHANGES[name]}(x)" for name in recipe.augmentations]
    if set(recipe.augmentations) <= set(AUGMENTATIONS_OF["image"]):
        lines = [
            "def augment(model):",
            '    """Return the network with random changes of its images, in training."""',
            "    inputs = x = keras.Input(INPUT_SHAPE)",
            *changes,
            "    return keras.Model(inputs, model(x))",
        ]
        return "\n".join(lines) + "\n"
    lines = [
        "",
        "",
        "def augment(model):",
        '    """Return the network with masks on the spectrograms inside it, in training."""',
        '    inside = x = model.get_layer("normalization").output',
        *changes,
        "    return keras.Model(model.input, keras.Model(inside, model.output)(x))",
    ]
    return _MASK + "\n".join(lines) + "\n"


def _arguments(recipe: RecipeConfig) -> list[str]:
    return ["steps"] * _needs_steps(recipe) + ["model"] * _by_layer(recipe)


def _needs_steps(recipe: RecipeConfig) -> bool:
    return recipe.schedule in ("cosine", "exponential", "step")


def _by_layer(recipe: RecipeConfig) -> bool:
    return recipe.rate_per_layer != 1


def _own_optimizer(recipe: RecipeConfig) -> bool:
    return _by_layer(recipe) or recipe.schedule == "gradient"


def _filled(template: str, words: dict[str, str]) -> str:
    for name, word in words.items():
        template = template.replace(f"<{name}>", word)
    return template
