"""The policy as a picture: a row for each decision, a cell for each choice."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rlnas.search.monitor.records import PolicyTable
from rlnas.spaces import Decision

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CELL = (0.85, 0.46)  # width and height of a cell in inches
_UNMET = "#e3e6ea"
_HEADING = 0.4  # inches
_DARK = 0.65  # probability from which white letters are the easier ones to read


def draw_heatmap(decisions: Sequence[Decision], table: PolicyTable, title: str = "") -> bytes:
    """Return the heat-map as PNG.

    Args:
        decisions: The rows, from top to bottom.
        table: Probability of each choice by decision name; the cells of a decision that
            is missing are grey.
        title: A line above the picture.
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = max(len(decision.choices) for decision in decisions)
    margin = 0.3 + 0.09 * max(len(decision.name) for decision in decisions)
    width = margin + _CELL[0] * columns + 0.1
    height = _HEADING + _CELL[1] * len(decisions) + 0.1
    figure = Figure(figsize=(width, height), dpi=100)
    FigureCanvasAgg(figure)  # attaches itself, so that no window system is asked for
    axes = figure.add_axes(
        (margin / width, 0.1 / height, _CELL[0] * columns / width, 1 - (_HEADING + 0.1) / height)
    )
    shares = np.full((len(decisions), columns), np.nan)
    for row, decision in enumerate(decisions):
        known = table.get(decision.name)
        if known is not None:
            shares[row, : len(known)] = known
        _label_cells(axes, row, decision, known)
    axes.imshow(shares, cmap=colormaps["Blues"], vmin=0, vmax=1, aspect="auto")
    axes.set_title(title, fontsize=12, loc="left")
    axes.set_yticks(range(len(decisions)), [decision.name for decision in decisions])
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _label_cells(
    axes: "Axes", row: int, decision: Decision, shares: Sequence[float] | None
) -> None:
    from matplotlib.patches import Rectangle

    for column, choice in enumerate(decision.choices):
        share = None if shares is None else shares[column]
        outline = Rectangle((column - 0.5, row - 0.5), 1, 1, edgecolor="white", linewidth=2)
        outline.set_facecolor(_UNMET if share is None else "none")
        axes.add_patch(outline)
        label = f"{choice}" if share is None else f"{choice}\n{share:.0%}"
        colour = "white" if share is not None and share > _DARK else "black"
        axes.text(column, row, label, ha="center", va="center", fontsize=9, color=colour)
