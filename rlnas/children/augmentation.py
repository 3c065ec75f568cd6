"""Random changes of examples in training: images by Keras's own layers, spectrograms by masks."""

from functools import partial
from typing import Any

from rlnas.children.backend import keras
from rlnas.config import RecipeConfig


def random_changes(recipe: RecipeConfig) -> list[keras.Layer]:
    """Return the layers that change examples as a recipe says, one behind the other.

    Their seeds come from Keras's global one. Outside of a training they change nothing.
    """
    return [_change(name, recipe.augment_strength) for name in recipe.augmentations]


def augmented(model: keras.Model, recipe: RecipeConfig) -> keras.Model:
    """Return a model that changes its inputs at random in training, and only there.

    Args:
        model: From images or spectrograms, ``(n, height, width, channels)``, to predictions.
        recipe: Says how examples are changed.

    Returns:
        A model on the same variables and those of the changes; the given model if the recipe
        changes nothing.
    """
    changes = random_changes(recipe)
    if not changes:
        return model
    inputs = keras.Input(model.input_shape[1:])
    x = inputs
    for change in changes:
        x = change(x)
    return keras.Model(inputs, model(x))


def _change(name: str, strength: float) -> keras.Layer:
    layers = keras.layers
    same = {"data_format": "channels_last", "dtype": "float32"}
    match name:
        case "flip":
            return layers.RandomFlip("horizontal", **same)
        case "rotation":
            return layers.RandomRotation(strength / 4, fill_mode="nearest", **same)
        case "zoom":
            return layers.RandomZoom(strength, fill_mode="nearest", **same)
        case "shift":
            return layers.RandomTranslation(strength, strength, fill_mode="nearest", **same)
        case "time_mask":
            return RandomMask(1, strength)
        case _:
            return RandomMask(2, strength)


class RandomMask(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """A band of each spectrogram at its mean, as in SpecAugment (Park et al. 2019).

    The width of a band in steps is uniform from 0 to the strength, and so is its place.

    Args:
        axis: 1 to mask a time, 2 to mask frequencies, of float32[n, frames, bins, channels] whose
            mean is 0.
        strength: The widest band, as a share of the axis.
    """

    def __init__(self, axis: int, strength: float, **options: Any) -> None:
        """See the class."""
        super().__init__(**options)
        self.axis, self.strength = axis, strength
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, x: Any, training: bool = False) -> Any:
        """Return spectrograms, in training with a band masked."""
        if not training:
            return x
        ops, size = keras.ops, x.shape[self.axis]
        one_each = (ops.shape(x)[0], 1, 1, 1)
        uniform = partial(keras.random.uniform, one_each, seed=self.seed_generator)
        width = ops.floor(uniform() * (self.strength * size + 1))
        first = ops.floor(uniform() * (size - width + 1))
        along = [size if axis == self.axis else 1 for axis in range(4)]
        places = ops.reshape(ops.arange(size, dtype="float32"), along)
        return ops.where((places >= first) & (places < first + width), 0.0, x)
