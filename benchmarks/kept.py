"""Which of the retrained a run keeps: three rules beside each other, on runs that have ended.

Every model of the long training is measured on the test part, and each rule is told the validation
figures alone: the highest accuracy; of those that the accuracy cannot tell from the best the least
loss; and that loss only among those with the label smoothing of the best, which is what runs do.
Runs whose metric is not the accuracy are left out. Nothing in the folders is changed.

    python benchmarks/kept.py RUN_FOLDER [RUN_FOLDER ...]
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from statistics import mean

from arguments import print_rows, told

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

RULES = ("accuracy", "loss", "loss, same smoothing")
HEAD = ("run", "models", "smoothing", *RULES)


def figures(path: Path) -> tuple[int, int, list[float]] | None:
    """Return a run's models, its kinds of smoothing, and the test accuracy by rule.

    None where a model of the long training is gone, or the metric is not the accuracy.
    """
    import rlnas
    from rlnas.children.training import score
    from rlnas.config import make_config
    from rlnas.objectives import ACCURACY
    from rlnas.search.contenders import Contenders, steadiest
    from rlnas.search.folder import RunFolder
    from rlnas.search.journal import LONG
    from rlnas.search.progress import Silence

    folder = RunFolder(path.parent, path.name)
    with closing(folder.open()) as journal:
        meta = journal.meta()
        config = make_config(meta["config"])
        if config.objective.metric != ACCURACY or meta["own"] or meta["status"] != "done":
            return None
        setup = rlnas.Search(config=config, root=path.parent)._setup
        contenders = Contenders(setup, folder, journal, Silence())
        ranked = [entry for entry in journal.contenders(LONG) if entry.rank and entry.metrics]
        if not all(
            (folder.contender(entry.name) / "model.weights.h5").is_file() for entry in ranked
        ):
            return None
        smoothing, data = contenders.smoothing(ranked), setup.data
        tested = {
            entry.name: score(contenders.model(entry, LONG), data.x_test, data.y_test)
            for entry in ranked
        }
        kept = (
            steadiest(ranked, None),
            steadiest(ranked, len(data.x_val)),
            steadiest(ranked, len(data.x_val), smoothing=smoothing),
        )
        return len(ranked), len(set(smoothing.values())), [tested[entry.name] for entry in kept]


def rows(paths: Sequence[Path]) -> Iterator[tuple[object, ...]]:
    """Yield a row for each run, the means, and the paired differences to the middle rule."""
    found = []
    for path in paths:
        if each := figures(path):
            models, kinds, accuracies = each
            found.append((kinds, accuracies))
            yield path.name, models, kinds, *(f"{value:.4f}" for value in accuracies)
    for name, some in (("all", found), ("of several", [each for each in found if each[0] > 1])):
        if some:
            columns = list(zip(*(accuracies for _, accuracies in some), strict=True))
            yield f"mean, {name}", len(some), "", *(f"{mean(column):.4f}" for column in columns)
            apart = [
                told([a - b for a, b in zip(column, columns[1], strict=True)]) for column in columns
            ]
            yield f"above loss, {name}", len(some), "", apart[0], "", apart[2]


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("runs", nargs="+", type=Path, help="Folders of runs that have ended.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object at the end.")
    given = parser.parse_args()
    if missing := [path for path in given.runs if not (path / "journal.sqlite").is_file()]:
        parser.error(f"expected folders of runs, got {missing[0]}, which has no journal.sqlite")
    print_rows(HEAD, rows([path.resolve() for path in given.runs]), given.json)


if __name__ == "__main__":
    main()
