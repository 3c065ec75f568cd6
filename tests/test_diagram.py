"""The pictures of an architecture."""

import io
import xml.etree.ElementTree as ElementTree

import pytest
from PIL import Image

from rlnas.cost import (
    AveragePool,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalPool,
    MaxPool,
    SeparableConv,
    describe,
)
from rlnas.cost.keras_layers import keras_layer
from rlnas.search.diagram import draw_png, draw_svg
from rlnas.spaces import Architecture, ImageSpace

TEXT = "{http://www.w3.org/2000/svg}text"
ALL_IMAGE_TYPES = (
    Conv(16, 3, 1, "relu", True),
    SeparableConv(32, 5, 2, "silu", False),
    MaxPool(2),
    AveragePool(3),
    Dropout(0.2),
    Flatten(),
    Dense(32, "elu"),
)


def architecture(layers) -> Architecture:
    return Architecture((), tuple(layers), (28, 28, 1), 10)


def texts(svg: str) -> list[str]:
    return [element.text for element in ElementTree.fromstring(svg).iter(TEXT)]


@pytest.mark.parametrize("layers", [ALL_IMAGE_TYPES, (GlobalPool(),), ()])
def test_svg_is_xml_that_names_every_layer_in_order(layers):
    words = texts(draw_svg(architecture(layers)))
    phrases = [describe(layer) for layer in layers]
    assert [word for word in words if word in phrases] == phrases
    assert [word for word in words if word in ("Input", "Head")] == ["Input", "Head"]


def test_svg_shows_shapes_and_parameters():
    words = texts(draw_svg(ImageSpace((8, 8, 1), 10).reference()))
    norm = 4  # gamma, beta, moving mean and variance of each filter
    convolutions = [9 * 1 * 32 + norm * 32, 9 * 32 * 64 + norm * 64, 9 * 64 * 128 + norm * 128]
    head = 2 * 2 * 128 * 10 + 10
    assert [word for word in words if word.endswith("parameters")] == [
        f"{count:,} parameters" for count in (*convolutions, head)
    ]
    assert any(word.startswith(f"{sum(convolutions) + head:,} parameters,") for word in words)
    assert {"8 x 8 x 1", "8 x 8 x 32", "4 x 4 x 64", "2 x 2 x 128", "10"} <= set(words)


def test_title_is_escaped_and_stripped_of_what_xml_forbids():
    assert texts(draw_svg(architecture(()), 'a <b> & "c"\x00\x1b'))[0] == 'a <b> & "c"'


def test_long_title_is_cut():
    assert len(texts(draw_svg(architecture(()), "x" * 500))[0]) < 60


def test_text_of_a_long_layer_leaves_room_for_its_parameters():
    options = {"filters": 64, "kernel_size": 3, "padding": "same", "activation": "relu"}
    layer = keras_layer("SeparableConv2D", {**options, "strides": 2})
    words = texts(draw_svg(architecture([layer])))
    (told,) = (word for word in words if word.startswith("SeparableConv2D("))
    behind = words[words.index(told) + 2]
    assert told.endswith("...")
    assert behind == f"{9 + 1 * 64 + 64:,} parameters"
    assert len(told) + len(behind) <= 56


def test_head_for_a_number_has_no_softmax():
    head = texts(draw_svg(Architecture((), (Dense(8, "relu"),), (5,), 1)))
    assert "dense 1" in head
    assert "dense 10 softmax" in texts(draw_svg(Architecture((), (), (5,), 10)))


def test_pictures_are_the_same_bytes_each_time():
    network = architecture(ALL_IMAGE_TYPES)
    assert draw_svg(network, "a") == draw_svg(network, "a")
    assert draw_png(network, "a") == draw_png(network, "a")
    assert draw_png(network, "a") != draw_png(network, "b")


def test_png_opens_and_grows_with_the_layers():
    short = Image.open(io.BytesIO(draw_png(architecture(()))))
    long = Image.open(io.BytesIO(draw_png(architecture(ALL_IMAGE_TYPES), "title")))
    assert (short.format, long.format) == ("PNG", "PNG")
    assert long.width == short.width
    assert long.height > 2 * short.height
