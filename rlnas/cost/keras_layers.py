"""Stock layers of Keras by name, for spaces that a user writes: options, shapes and costs.

They are known here by their rules, so that a space is checked, and an architecture weighed, without
Keras. What an option is called and does is what Keras says.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, isfinite, prod
from numbers import Integral, Real
from typing import Any, NamedTuple

from rlnas.errors import SpaceError, unknown_name

ACTIVATIONS = (
    "elu",
    "exponential",
    "gelu",
    "hard_sigmoid",
    "hard_silu",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softmax",
    "softplus",
    "softsign",
    "squareplus",
    "tanh",
)
"""Activations of Keras 3 by name, each function once, that keep the shape of their input."""

Shape = tuple[int, ...]
Options = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class KerasLayer:
    """A stock layer of Keras.

    Attributes:
        name: The name of its class, for example ``"Conv2D"``.
        options: Names and values of its arguments, as `keras_layer` checks them.
    """

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def kind(self) -> str:
        """Its name in small letters."""
        return self.name.lower()

    def __str__(self) -> str:
        """Return it as Python writes it, for example ``Dense(units=32)``."""
        written = (f"{name}={_written(value)}" for name, value in self.options)
        return f"{self.name}({', '.join(written)})"


class Weight(NamedTuple):
    """What a layer makes of a shape, and what that takes; see `rlnas.cost.Cost`."""

    shape: Shape
    params: int = 0
    flops: int = 0
    activations: int = 0
    kept: int = 0  # values that a step of training keeps


@dataclass(frozen=True, slots=True)
class _Rule:
    options: Mapping[str, Callable[[Any], Any]]
    weigh: Callable[[Options, Shape], Weight]
    needed: tuple[str, ...] = ()
    axes: bool = False  # whether it has to be told where the channels are


def keras_layer(name: str, options: Options) -> KerasLayer:
    """Return a stock layer, its options checked.

    Args:
        name: The name of its class in ``keras.layers``.
        options: Its arguments by name; a layer inside it, of `Bidirectional`, is a mapping from a
            name to options.

    Raises:
        SpaceError: The layer or an option is unknown, an option is missing or of a wrong value.
    """
    rule = _RULES.get(name)
    if rule is None:
        raise SpaceError(unknown_name("layer", name, KERAS_LAYERS))
    checked = ((option, keras_option(name, option, value)) for option, value in options.items())
    layer = KerasLayer(name, tuple(checked))
    for option in rule.needed:
        if option not in options:
            raise SpaceError(f"{name} needs {option}")
    return layer


def keras_options(name: str) -> tuple[str, ...]:
    """Return the names of the options of a stock layer."""
    return tuple(_RULES[name].options)


def keras_needs(name: str) -> tuple[str, ...]:
    """Return the names of the options that a stock layer cannot do without."""
    return _RULES[name].needed


def keras_option(name: str, option: str, value: Any) -> Any:
    """Return the value of an option of a stock layer, checked.

    Raises:
        SpaceError: The option is unknown or the value wrong.
    """
    known = _RULES[name].options
    if option not in known:
        raise SpaceError(unknown_name(f"option of {name}", str(option), known))
    try:
        return known[option](value)
    except ValueError as error:
        raise SpaceError(f"{option} of {name} must be {error}, got {value!r}") from error


def weigh(layer: KerasLayer, shape: Shape, activation_flops: Callable[[str], int]) -> Weight:
    """Return what a layer makes of a shape and what it costs.

    Args:
        layer: The layer.
        shape: Shape of its input without the batch axis.
        activation_flops: FLOPs of an activation for one value.

    Raises:
        SpaceError: It does not take an input of this shape.
    """
    options = dict(layer.options)
    found = _RULES[layer.name].weigh(options, shape)
    activation = options.get("activation")
    if activation is None or layer.name in _RECURRENT:
        return found
    values = prod(found.shape)
    kept = values if layer.name != "Activation" else 0
    return found._replace(
        flops=found.flops + activation_flops(activation) * values, kept=found.kept + kept
    )


def takes_axes(name: str) -> bool:
    """Tell whether a stock layer takes ``data_format``."""
    return _RULES[name].axes


# --- options ---


def _count(value: Any) -> int:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError("a whole number, at least 1")
    return int(value)


def _sides(value: Any) -> int | tuple[int, ...]:
    if isinstance(value, list | tuple) and len(value) == 2:
        return tuple(_count(side) for side in value)
    try:
        return _count(value)
    except ValueError:
        raise ValueError("a whole number, at least 1, or two of them") from None


def _counts(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise ValueError("a list of whole numbers, at least 1")
    return tuple(_count(side) for side in value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _number(value: Any) -> float:
    if not isinstance(value, Real) or isinstance(value, bool) or not isfinite(value) or value < 0:
        raise ValueError("a number, at least 0")
    return float(value)


def _share(value: Any) -> float:
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not 0 <= value < 1:
        raise ValueError("a number from 0 to below 1")
    return float(value)


def _word(*words: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return str(value)

    return check


def _inner(value: Any) -> KerasLayer:
    if not isinstance(value, Mapping) or len(value) != 1:
        raise ValueError(f"one of {', '.join(_RECURRENT)} with its options")
    ((name, options),) = value.items()
    if name not in _RECURRENT:
        raise ValueError(f"one of {', '.join(_RECURRENT)} with its options")
    return keras_layer(name, options or {})


def _written(value: Any) -> str:
    return str(value) if isinstance(value, KerasLayer) else repr(value)


# --- shapes and costs ---


def _ranked(name: str, rank: int, shape: Shape) -> Shape:
    if len(shape) != rank:
        what = {1: "a flat input", 2: "a sequence", 3: "an image"}[rank]
        raise SpaceError(f"{name} needs {what}, got the shape {shape}")
    return shape


def _each(value: int | tuple[int, ...], axes: int) -> tuple[int, ...]:
    return (value,) * axes if isinstance(value, int) else value


def _slid(options: Options, sides: Shape, window: Shape, strides: Shape) -> Shape:
    """Return how often a window fits along each side."""
    wide = _each(options.get("dilation_rate", 1), len(sides))
    if options.get("padding", "valid") != "valid":
        return tuple(ceil(side / step) for side, step in zip(sides, strides, strict=True))
    reach = [apart * (size - 1) + 1 for size, apart in zip(window, wide, strict=True)]
    if any(side < size for side, size in zip(sides, reach, strict=True)):
        raise SpaceError(f"a window of {tuple(reach)} does not fit into {sides}")
    return tuple(
        (side - size) // step + 1 for side, size, step in zip(sides, reach, strides, strict=True)
    )


def _convolution(name: str, axes: int, style: str) -> Callable[[Options, Shape], Weight]:
    def weigh_it(options: Options, shape: Shape) -> Weight:
        *sides, channels = _ranked(name, axes + 1, shape)
        window = _each(options["kernel_size"], axes)
        places = _slid(options, tuple(sides), window, _each(options.get("strides", 1), axes))
        pixels, size, groups = prod(places), prod(window), options.get("groups", 1)
        deep = channels * options.get("depth_multiplier", 1)
        filters = options.get("filters", deep)
        if max(_each(options.get("strides", 1), axes)) > 1 and (
            max(_each(options.get("dilation_rate", 1), axes)) > 1
        ):
            raise SpaceError(f"{name} cannot have both strides and dilation_rate above 1")
        if channels % groups or filters % groups:
            raise SpaceError(
                f"{name} cannot share {channels} channels and {filters} filters among {groups} "
                "groups"
            )
        match style:
            case "full":
                weights, put_out = size * channels // groups * filters, filters
            case "depthwise":
                weights, put_out = size * deep, filters
            case _:
                weights, put_out = size * deep + deep * filters, deep + filters
        bias = filters if options.get("use_bias", True) else 0
        return Weight(
            (*places, filters),
            weights + bias,
            pixels * (2 * weights + bias),
            pixels * put_out,
            pixels * put_out,
        )

    return weigh_it


def _pooling(name: str, axes: int) -> Callable[[Options, Shape], Weight]:
    def weigh_it(options: Options, shape: Shape) -> Weight:
        *sides, channels = _ranked(name, axes + 1, shape)
        window = _each(options.get("pool_size", 2), axes)
        places = _slid(options, tuple(sides), window, _each(options.get("strides", window), axes))
        values = prod(places) * channels
        return Weight((*places, channels), flops=values * prod(window), kept=values)

    return weigh_it


def _global_pooling(name: str, axes: int, *, mean: bool) -> Callable[[Options, Shape], Weight]:
    def weigh_it(options: Options, shape: Shape) -> Weight:
        channels = _ranked(name, axes + 1, shape)[-1]
        return Weight((channels,), flops=prod(shape) if mean else 0, kept=channels)

    return weigh_it


def _grown(name: str, axes: int, option: str) -> Callable[[Options, Shape], Weight]:
    """Weigh what repeats pixels, or puts zeros around them."""

    def weigh_it(options: Options, shape: Shape) -> Weight:
        *sides, channels = _ranked(name, axes + 1, shape)
        by = _each(options.get(option, 2 if option == "size" else 1), axes)
        if option == "size":
            places = [side * factor for side, factor in zip(sides, by, strict=True)]
        else:
            places = [side + 2 * width for side, width in zip(sides, by, strict=True)]
        return Weight((*places, channels), kept=prod(places) * channels)

    return weigh_it


def _flattened(options: Options, shape: Shape) -> Weight:
    return Weight((prod(shape),))


def _reshaped(options: Options, shape: Shape) -> Weight:
    target = options["target_shape"]
    if prod(target) != prod(shape) or len(target) > 3:
        raise SpaceError(f"Reshape cannot bring the shape {shape} to {target}")
    return Weight(target)


def _dense(options: Options, shape: Shape) -> Weight:
    *places, features = shape
    units, bias = options["units"], options.get("use_bias", True)
    values = prod(places) * units
    return Weight(
        (*places, units),
        (features + bias) * units,
        values * (2 * features + bias),
        kept=values,
    )


def _unchanged(flops: int) -> Callable[[Options, Shape], Weight]:
    """Weigh what works on each value by itself and has no weights."""

    def weigh_it(options: Options, shape: Shape) -> Weight:
        return Weight(shape, flops=flops * prod(shape), kept=prod(shape))

    return weigh_it


def _sloped(options: Options, shape: Shape) -> Weight:
    return Weight(shape, prod(shape), 4 * prod(shape), kept=2 * prod(shape))


def _batch_normed(options: Options, shape: Shape) -> Weight:
    channels = shape[-1]
    learned = options.get("center", True) + options.get("scale", True)
    return Weight(shape, (2 + learned) * channels, 2 * prod(shape) + 5 * channels, kept=prod(shape))


def _layer_normed(options: Options, shape: Shape) -> Weight:
    learned = options.get("center", True) + options.get("scale", True)
    return Weight(shape, learned * shape[-1], 6 * prod(shape), kept=2 * prod(shape))


def _group_normed(options: Options, shape: Shape) -> Weight:
    channels, groups = shape[-1], options.get("groups", 32)
    if channels % groups:
        raise SpaceError(f"GroupNormalization cannot share {channels} channels among {groups}")
    return _layer_normed(options, shape)


def _spatial(name: str, axes: int) -> Callable[[Options, Shape], Weight]:
    def weigh_it(options: Options, shape: Shape) -> Weight:
        return Weight(_ranked(name, axes + 1, shape), kept=prod(shape))

    return weigh_it


_RECURRENT = ("LSTM", "GRU", "SimpleRNN")


def _recurrent(name: str) -> Callable[[Options, Shape], Weight]:
    gates, biases = {"LSTM": (4, 1), "GRU": (3, 2), "SimpleRNN": (1, 1)}[name]

    def weigh_it(options: Options, shape: Shape) -> Weight:
        steps, channels = _ranked(name, 2, shape)
        units, bias = options["units"], options.get("use_bias", True)
        products = gates * units * (channels + units)
        values = steps * units
        out = (steps, units) if options.get("return_sequences", False) else (units,)
        params = products + biases * gates * units * bias
        return Weight(out, params, steps * 2 * products, values, values * (gates + 2))

    return weigh_it


def _both_ways(options: Options, shape: Shape) -> Weight:
    inner = options["layer"]
    found = _RULES[inner.name].weigh(dict(inner.options), shape)
    *steps, units = found.shape
    joined = 2 * units if options.get("merge_mode", "concat") == "concat" else units
    return Weight((*steps, joined), *(2 * part for part in found[1:]))


# --- the layers ---

_SLIDING = {
    "strides": _sides,
    "padding": _word("valid", "same"),
    "dilation_rate": _sides,
    "activation": _word(*ACTIVATIONS),
    "use_bias": _flag,
}
_FULL = {"filters": _count, "kernel_size": _sides, **_SLIDING, "groups": _count}
_DEPTH = {"kernel_size": _sides, **_SLIDING, "depth_multiplier": _count}
_POOLED = {"pool_size": _sides, "strides": _sides, "padding": _word("valid", "same")}
_STEPS = {
    "units": _count,
    "activation": _word(*ACTIVATIONS),
    "recurrent_activation": _word(*ACTIVATIONS),
    "use_bias": _flag,
    "dropout": _share,
    "recurrent_dropout": _share,
    "return_sequences": _flag,
    "go_backwards": _flag,
}
_PLAIN_STEPS = {name: check for name, check in _STEPS.items() if name != "recurrent_activation"}
_LEARNED = {"epsilon": _number, "center": _flag, "scale": _flag}


def _of_axes(axes: int) -> dict[str, _Rule]:
    """Return the layers over one axis, of sequences, or over the two of images."""
    full, deep, pooled = _FULL, {**_DEPTH, "strides": _count}, _POOLED
    if axes == 1:
        full, deep, pooled = (
            {name: _count if check is _sides else check for name, check in options.items()}
            for options in (full, deep, pooled)
        )
        full = {**full, "padding": _word("valid", "same", "causal")}
    both = {**full, "strides": _count, "depth_multiplier": _count}
    del both["groups"]
    end, sides = f"{axes}D", _sides if axes == 2 else _count
    rules = {
        f"Conv{end}": _Rule(
            full, _convolution(f"Conv{end}", axes, "full"), ("filters", "kernel_size"), axes=True
        ),
        f"SeparableConv{end}": _Rule(
            both,
            _convolution(f"SeparableConv{end}", axes, "separable"),
            ("filters", "kernel_size"),
            axes=True,
        ),
        f"DepthwiseConv{end}": _Rule(
            deep,
            _convolution(f"DepthwiseConv{end}", axes, "depthwise"),
            ("kernel_size",),
            axes=True,
        ),
        f"UpSampling{end}": _Rule(
            {"size": sides}, _grown(f"UpSampling{end}", axes, "size"), axes=axes == 2
        ),
        f"ZeroPadding{end}": _Rule(
            {"padding": sides}, _grown(f"ZeroPadding{end}", axes, "padding"), axes=True
        ),
        f"SpatialDropout{end}": _Rule(
            {"rate": _share}, _spatial(f"SpatialDropout{end}", axes), ("rate",), axes=axes == 2
        ),
    }
    for style in ("Max", "Average"):
        name = f"{style}Pooling{end}"
        needed = ("pool_size",) if style == "Average" else ()  # as in Keras
        rules[name] = _Rule(pooled, _pooling(name, axes), needed, axes=True)
        rules[f"Global{name}"] = _Rule(
            {}, _global_pooling(f"Global{name}", axes, mean=style == "Average"), axes=True
        )
    return rules


_RULES: dict[str, _Rule] = {
    **_of_axes(2),
    **_of_axes(1),
    "Activation": _Rule({"activation": _word(*ACTIVATIONS)}, _unchanged(0), ("activation",)),
    "BatchNormalization": _Rule({"momentum": _share, **_LEARNED}, _batch_normed),
    "Bidirectional": _Rule(
        {"layer": _inner, "merge_mode": _word("concat", "sum", "mul", "ave")},
        _both_ways,
        ("layer",),
    ),
    "Dense": _Rule(
        {"units": _count, "activation": _word(*ACTIVATIONS), "use_bias": _flag}, _dense, ("units",)
    ),
    "Dropout": _Rule({"rate": _share}, _unchanged(0), ("rate",)),
    "ELU": _Rule({"alpha": _number}, _unchanged(0)),
    "Flatten": _Rule({}, _flattened, axes=True),
    "GRU": _Rule(_STEPS, _recurrent("GRU"), ("units",)),
    "GaussianDropout": _Rule({"rate": _share}, _unchanged(0), ("rate",)),
    "GaussianNoise": _Rule({"stddev": _number}, _unchanged(0), ("stddev",)),
    "GroupNormalization": _Rule({"groups": _count, **_LEARNED}, _group_normed),
    "LSTM": _Rule(_STEPS, _recurrent("LSTM"), ("units",)),
    "LayerNormalization": _Rule(_LEARNED, _layer_normed),
    "LeakyReLU": _Rule({"negative_slope": _number}, _unchanged(0)),
    "PReLU": _Rule({}, _sloped),
    "ReLU": _Rule({"max_value": _number, "negative_slope": _number}, _unchanged(0)),
    "Reshape": _Rule({"target_shape": _counts}, _reshaped, ("target_shape",)),
    "SimpleRNN": _Rule(_PLAIN_STEPS, _recurrent("SimpleRNN"), ("units",)),
}

KERAS_LAYERS = tuple(sorted(_RULES))
"""Names of the stock layers that a space may be made of."""
