"""The picture of an architecture: one box per layer, as SVG or as PNG, drawn without Keras.

Both pictures hold the same rows from top to bottom: input, layers, head. Each box names
its layer, the shape behind it and its parameters. The same architecture and title give
the same bytes.
"""

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from rlnas.cost import Shape, describe, head_cost, layer_costs
from rlnas.spaces import Architecture

if TYPE_CHECKING:
    from PIL import ImageDraw

_WIDTH, _BOX, _GAP, _MARGIN = 480, 46, 16, 20
_TITLE = 30  # height of the title and of the line of totals
_LONGEST = 56  # characters of a line that fit
_INK, _FAINT, _PAPER, _LINE = "#1b1f24", "#4a5360", "#ffffff", "#8a94a3"
_NIGHT_INK, _NIGHT_PAPER = "#e6e9ee", "#15181d"

_NAMES = {
    "conv": "Convolution",
    "sepconv": "Separable convolution",
    "maxpool": "Max pooling",
    "avgpool": "Average pooling",
    "dropout": "Dropout",
    "flatten": "Flatten",
    "globalpool": "Global average pooling",
    "dense": "Dense",
    "embed": "Embedding",
    "conv1d": "Convolution",
    "maxpool1d": "Max pooling",
    "lstm": "LSTM",
    "gru": "GRU",
    "attention": "Self-attention",
    "frames": "Rows as a sequence",
    "globalmaxpool": "Global max pooling",
    "resdense": "Residual block",
    "join": "Side by side",
}
_COLOURS = {
    "conv": "#a8c7fa",
    "sepconv": "#9fdfe0",
    "maxpool": "#c4e6ae",
    "avgpool": "#dcedb0",
    "dropout": "#dfe2e7",
    "flatten": "#f5e3a3",
    "globalpool": "#f5e3a3",
    "dense": "#f7c8a8",
    "embed": "#cfd8f7",
    "conv1d": "#a8c7fa",
    "maxpool1d": "#c4e6ae",
    "lstm": "#f3b8c6",
    "gru": "#f3b8c6",
    "attention": "#e6c3f0",
    "frames": "#f5e3a3",
    "globalmaxpool": "#f5e3a3",
    "resdense": "#f7c8a8",
    "join": "#dfe2e7",
}
_ENDS = "#d8cff6"  # input and head
_OTHER = "#e9d3e6"  # a layer type without a colour of its own


@dataclass(frozen=True, slots=True)
class _Row:
    """One box: two lines on the left, two on the right."""

    name: str
    detail: str
    shape: str
    params: str
    colour: str


def draw_svg(architecture: Architecture, title: str = "") -> str:
    """Return the diagram as self-contained SVG text, readable on light and dark pages.

    Args:
        architecture: The network.
        title: A line above the diagram; empty for none.
    """
    rows = _rows(architecture)
    height = _height(len(rows))
    label = escape(_printable(title) or "architecture", {'"': "&quot;"})
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{label}">',
        f"<style>text{{font-family:system-ui,sans-serif}}.paper{{fill:{_PAPER}}}"
        f".ink{{fill:{_INK}}}@media(prefers-color-scheme:dark){{"
        f".paper{{fill:{_NIGHT_PAPER}}}.ink{{fill:{_NIGHT_INK}}}}}</style>",
        f'<rect class="paper" width="{_WIDTH}" height="{height}"/>',
        _svg_text(_WIDTH // 2, 28, title, size=16, anchor="middle", style='class="ink"'),
    ]
    for number, row in enumerate(rows):
        parts.append(_svg_row(row, _top(number), last=number == len(rows) - 1))
    totals = _totals(architecture)
    parts.append(
        _svg_text(_WIDTH // 2, height - 18, totals, size=13, anchor="middle", style='class="ink"')
    )
    return "\n".join([*parts, "</svg>", ""])


def draw_png(architecture: Architecture, title: str = "") -> bytes:
    """Return the diagram as PNG, twice the size of the SVG, on a white ground.

    Args:
        architecture: The network.
        title: A line above the diagram; empty for none.
    """
    from PIL import Image, ImageDraw

    rows = _rows(architecture)
    height = _height(len(rows))
    image = Image.new("RGB", (2 * _WIDTH, 2 * height), _PAPER)
    draw = ImageDraw.Draw(image)
    _png_text(draw, _WIDTH // 2, 28, title, size=16, anchor="ms")
    for number, row in enumerate(rows):
        _png_row(draw, row, _top(number), last=number == len(rows) - 1)
    _png_text(draw, _WIDTH // 2, height - 18, _totals(architecture), size=13, anchor="ms")
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _rows(architecture: Architecture) -> list[_Row]:
    if architecture.is_named:
        return [_Row("Network of a table", architecture.text, "", "", _ENDS)]
    shape = architecture.input_shape
    rows = [_Row("Input", "raw values, prepared inside", _shape(shape), "", _ENDS)]
    costs = layer_costs(architecture.layers, shape)
    for layer, (shape, cost) in zip(architecture.layers, costs, strict=True):
        name = _NAMES.get(layer.kind, layer.kind)
        colour = _COLOURS.get(layer.kind, _OTHER)
        params = _params(cost.params)
        detail = _fitting(describe(layer), _LONGEST - len(params))
        rows.append(_Row(name, detail, _shape(shape), params, colour))
    classes = architecture.classes
    pooling = "global average pooling, " if len(shape) > 1 else ""
    detail = f"{pooling}dense {classes}{' softmax' if classes > 1 else ''}"
    params = _params(head_cost(shape, classes).params)
    return [*rows, _Row("Head", detail, _shape((classes,)), params, _ENDS)]


def _shape(shape: Shape) -> str:
    return " x ".join(str(size) for size in shape)


def _params(count: int) -> str:
    return f"{count:,} parameters" if count else ""


def _totals(architecture: Architecture) -> str:
    if architecture.is_named:
        return "its layers are known to the trainers"
    cost = architecture.cost
    return f"{cost.params:,} parameters, {cost.flops:,} FLOPs per example"


def _height(rows: int) -> int:
    return _top(rows) - _GAP + _TITLE + _MARGIN


def _top(number: int) -> int:
    """Return the y of a row's box."""
    return _MARGIN + _TITLE + number * (_BOX + _GAP)


def _printable(text: str) -> str:
    """Return what XML allows and what fits on one line."""
    return _fitting("".join(character for character in text if character.isprintable()))


def _fitting(text: str, most: int = _LONGEST) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _svg_row(row: _Row, top: int, *, last: bool) -> str:
    left, right, middle = _MARGIN + 12, _WIDTH - _MARGIN - 12, _WIDTH // 2
    ink, faint = f'fill="{_INK}"', f'fill="{_FAINT}"'
    parts = [
        f'<rect x="{_MARGIN}" y="{top}" width="{_WIDTH - 2 * _MARGIN}" height="{_BOX}" rx="7" '
        f'fill="{row.colour}" stroke="{_LINE}"/>',
        _svg_text(left, top + 20, row.name, size=14, style=f'{ink} font-weight="600"'),
        _svg_text(left, top + 37, row.detail, size=12, style=faint),
        _svg_text(right, top + 20, row.shape, size=14, anchor="end", style=ink),
        _svg_text(right, top + 37, row.params, size=12, anchor="end", style=faint),
    ]
    if not last:
        tip = top + _BOX + _GAP
        parts.append(
            f'<path d="M{middle} {tip - _GAP}V{tip - 5}" stroke="{_LINE}" stroke-width="1.5"/>'
            f'<path d="M{middle - 5} {tip - 7}h10l-5 6z" fill="{_LINE}"/>'
        )
    return "\n".join(part for part in parts if part)


def _svg_text(x: int, y: int, text: str, *, size: int, style: str, anchor: str = "start") -> str:
    words = escape(_printable(text))
    if not words:
        return ""
    return f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}" {style}>{words}</text>'


def _png_row(draw: "ImageDraw.ImageDraw", row: _Row, top: int, *, last: bool) -> None:
    left, right, middle = _MARGIN + 12, _WIDTH - _MARGIN - 12, _WIDTH // 2
    corners = (2 * _MARGIN, 2 * top, 2 * (_WIDTH - _MARGIN), 2 * (top + _BOX))
    draw.rounded_rectangle(corners, radius=14, fill=row.colour, outline=_LINE, width=2)
    _png_text(draw, left, top + 20, row.name, size=14)
    _png_text(draw, left, top + 37, row.detail, size=12, fill=_FAINT)
    _png_text(draw, right, top + 20, row.shape, size=14, anchor="rs")
    _png_text(draw, right, top + 37, row.params, size=12, anchor="rs", fill=_FAINT)
    if not last:
        tip = 2 * (top + _BOX + _GAP)
        draw.line((2 * middle, tip - 2 * _GAP, 2 * middle, tip - 10), fill=_LINE, width=3)
        draw.polygon(
            [(2 * middle - 10, tip - 14), (2 * middle + 10, tip - 14), (2 * middle, tip - 2)],
            fill=_LINE,
        )


def _png_text(
    draw: "ImageDraw.ImageDraw",
    x: int,
    y: int,
    text: str,
    *,
    size: int,
    anchor: str = "ls",
    fill: str = _INK,
) -> None:
    from PIL import ImageFont

    font = ImageFont.load_default(2 * size)
    draw.text((2 * x, 2 * y), _printable(text), fill=fill, font=font, anchor=anchor)
