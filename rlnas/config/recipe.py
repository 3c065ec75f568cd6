"""The section of the config that says how a child is trained."""

from typing import Annotated, Any

from pydantic import BeforeValidator

from rlnas.config.fields import Count, Number, Record, Switch, known, option, refusal
from rlnas.config.names import (
    AUGMENTATIONS,
    AUGMENTATIONS_OF,
    OPTIMIZERS,
    RECIPE_PARTS,
    SCHEDULES,
)
from rlnas.errors import unknown_name

_NOTHING, _ALL = "none", "all"


def recipe_parts(value: Any) -> Any:
    """Read ``none``, ``all`` or ``optimizer,augment`` as text, each part once, in one order."""
    return _listed(value, "part of the recipe", RECIPE_PARTS, "optimizer,augment", all_too=True)


def _augmentations(value: Any) -> Any:
    """Read ``none``, ``flip,shift`` or a list of names as text, each once, in one order."""
    return _listed(value, "augmentation", AUGMENTATIONS, "flip,shift")


def _listed(
    value: Any, what: str, known: tuple[str, ...], example: str, *, all_too: bool = False
) -> str:
    names = value if isinstance(value, list) else [value]
    if any(type(name) is not str for name in names):
        words = f'"{_NOTHING}", "{_ALL}"' if all_too else f'"{_NOTHING}"'
        raise ValueError(f'{words} or names such as "{example}"')
    names = ",".join(names).replace(" ", "").split(",")
    if names == [_NOTHING] or (all_too and names == [_ALL]):
        return str(names[0])
    for name in names:
        if name == _NOTHING or (all_too and name == _ALL):
            raise refusal(f"{name} stands alone, got {','.join(names)!r}; leave the others out")
        if name not in known:
            raise refusal(unknown_name(what, name, known))
    return ",".join(name for name in known if name in names)


class RecipeConfig(Record):
    """How a child is trained."""

    epochs: Count = option(5, "Epochs of a child in the search (chosen).")
    batch_size: Count = option(32, "Batch size of a child, Keras's own default (chosen).")
    optimizer: Annotated[str, known("optimizer", OPTIMIZERS)] = option(
        "adamw", f"Optimizer of a child: {', '.join(OPTIMIZERS)} (chosen)."
    )
    learning_rate: Number = option(0.002, "Learning rate of a child (chosen).", gt=0)
    schedule: Annotated[str, known("schedule", SCHEDULES)] = option(
        "cosine",
        "Learning-rate schedule: fixed; exponential, down to a hundredth; step, a tenth from the "
        "half and a hundredth from three quarters on; plateau, a fifth behind each epoch in which "
        "the validation loss did not fall; gradient, a tenth in each step whose gradient, all "
        "weights together, has a norm below 1; or cosine, down to 0 at the last step (Loshchilov "
        "& Hutter 2017).",
    )
    rate_per_layer: Number = option(
        1.0,
        "Factor of the learning rate from each layer with weights to the one before it; below 1 "
        "the layers near the input learn more slowly (Howard & Ruder 2018 took 0.38; 1 is chosen).",
        gt=0,
        le=10,
    )
    l1: Number = option(0.0, "Weight of the L1 penalty on kernels (chosen).", ge=0)
    l2: Number = option(0.0, "Weight of the L2 penalty on kernels (chosen).", ge=0)
    dropout: Number = option(0.0, "Rate of a dropout before the head (chosen).", ge=0, lt=1)
    batch_norm: Switch = option(
        False,
        "A batch normalisation before the head; that of each convolution is part of the "
        "architecture (chosen).",
    )
    label_smoothing: Number = option(
        0.0,
        "Share of each label that goes to all classes alike (Szegedy et al. 2016 took 0.1; 0 is "
        "chosen).",
        ge=0,
        lt=1,
    )
    class_weight: Number = option(
        0.0,
        "By which power of its rarity a class weighs more in the loss: 0 lets all examples weigh "
        "alike, 1 all classes. Default: 1 for the metric balanced_accuracy, 0.5 for f1 and "
        "f1_macro, else 0 (chosen).",
        ge=0,
        le=1,
    )
    augment: Annotated[str, BeforeValidator(_augmentations)] = option(
        "none",
        "Random changes of each example in training, separated by commas: of images "
        f"{', '.join(AUGMENTATIONS_OF['image'])}, flip being from left to right; of recordings "
        f"{', '.join(AUGMENTATIONS_OF['audio'])} (Park et al. 2019). Default: none (chosen).",
    )
    augment_strength: Number = option(
        0.1,
        "How far examples are changed at most: the share of a side that images are shifted or "
        "zoomed by, and of a right angle that they are turned by; the share of a recording, or of "
        "its frequencies, that is masked (chosen).",
        gt=0,
        le=1,
    )

    @property
    def augmentations(self) -> tuple[str, ...]:
        """The changes of `augment` by name; none of them for ``none``."""
        return tuple(name for name in self.augment.split(",") if name != _NOTHING)
