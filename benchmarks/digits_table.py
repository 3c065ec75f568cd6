"""Train every network of a small space on the built-in digits; the table of the examples.

The 324 networks are two convolutions with a pooling between them. A token string has one
token per decision: filters and kernel of the first convolution, the pooling, filters and kernel
of the second, and the activation of both. Each network is trained for 3 epochs from one seed.

    python benchmarks/digits_table.py examples/digits_table.csv        about five minutes
"""

import argparse
import csv
from itertools import product
from pathlib import Path

from rlnas.children.datasets import load_data
from rlnas.children.runtime import prepare
from rlnas.config import DataConfig, RecipeConfig
from rlnas.cost import AveragePool, Conv, Flatten, Layer, MaxPool
from rlnas.evaluation.training import TrainingEvaluator
from rlnas.objectives import Failure
from rlnas.spaces import Architecture

FILTERS, KERNELS = (4, 8, 16), (1, 3, 5)
POOLS, ACTIVATIONS = (MaxPool, AveragePool), ("relu", "elu")
DECISIONS = (FILTERS, KERNELS, POOLS, FILTERS, KERNELS, ACTIVATIONS)
RECIPE, SEED = RecipeConfig(epochs=3), 0


def layers(tokens: tuple[int, ...]) -> tuple[Layer, ...]:
    """Return the layers of a token sequence."""
    choices = [options[token] for options, token in zip(DECISIONS, tokens, strict=True)]
    filters, kernel, pool, more_filters, second_kernel, activation = choices
    first = Conv(filters, kernel, 1, activation, batch_norm=False)
    second = Conv(more_filters, second_kernel, 1, activation, batch_norm=False)
    return first, pool(2), second, Flatten()


def main() -> None:
    """Write the table, a row as each network is trained."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("table", type=Path, help="CSV file to write")
    table_path = parser.parse_args().table
    prepare(1)
    data = load_data(None, DataConfig(), SEED)
    evaluator = TrainingEvaluator(data)
    with table_path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["arch", "val_accuracy", "params", "flops"])
        for tokens in product(*(range(len(options)) for options in DECISIONS)):
            network = Architecture(tokens, layers(tokens), data.input_shape, data.classes)
            found = evaluator.evaluate(network, RECIPE, SEED)
            if isinstance(found, Failure):
                raise SystemExit(f"{network.describe()}: {found.reason}")
            row = ["".join(map(str, tokens)), f"{found.val_accuracy[-1]:.4f}"]
            table.writerow([*row, found.params, found.flops])
            file.flush()
            print(*row, network.describe(), flush=True)


if __name__ == "__main__":
    main()
