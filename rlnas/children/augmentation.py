"""Random changes of images in training, by Keras's own layers."""

from rlnas.children.backend import keras
from rlnas.config import RecipeConfig


def image_changes(recipe: RecipeConfig) -> list[keras.Layer]:
    """Return the layers that change images as a recipe says, one behind the other.

    Their seeds come from Keras's global one. Outside of a training they change nothing.
    """
    return [_change(name, recipe.augment_strength) for name in recipe.augmentations]


def augmented(model: keras.Model, recipe: RecipeConfig) -> keras.Model:
    """Return a model that changes its inputs at random in training, and only there.

    Args:
        model: From images, ``(n, height, width, channels)``, to class probabilities.
        recipe: Says how images are changed.

    Returns:
        A model on the same variables and those of the changes; the given model if the recipe
        changes nothing.
    """
    changes = image_changes(recipe)
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
        case _:
            return layers.RandomTranslation(strength, strength, fill_mode="nearest", **same)
