"""All that the monitor may write, each tag declared once with its meaning and unit.

The descriptions in TensorBoard and ``docs/tensorboard.md`` come from here; make the page
anew with ``python -m rlnas.search.monitor > docs/tensorboard.md``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from rlnas.controllers import OWN_FIGURES

Kind = Literal["scalar", "image", "text", "hparam"]


@dataclass(frozen=True, slots=True)
class Tag:
    """One line, picture, text or column in TensorBoard.

    Attributes:
        name: Its tag, group and name with a slash between.
        meaning: What it shows, half a sentence.
        unit: Its unit, or "" where it has none.
        kind: What TensorBoard shows it as; "hparam" is a column of the HParams table.
    """

    name: str
    meaning: str
    unit: str
    kind: Kind

    @property
    def display_name(self) -> str:
        """The name without its group, in words."""
        return self.name.rpartition("/")[2].replace("_", " ")

    @property
    def description(self) -> str:
        """Meaning and unit in one sentence."""
        unit = f", in {self.unit}" if self.unit else ""
        return f"{self.meaning[0].upper()}{self.meaning[1:]}{unit}."


_SHARE = "share from 0 to 1"
_REWARD = "the objective's units"

TAGS: tuple[Tag, ...] = (
    Tag("search/reward", "reward of the trial", _REWARD, "scalar"),
    Tag("search/best_reward", "best reward so far", _REWARD, "scalar"),
    Tag(
        "search/repeat_rate",
        "proposals so far whose architecture was already known and cost nothing",
        _SHARE,
        "scalar",
    ),
    Tag("search/invalid_rate", "trials so far whose child failed", _SHARE, "scalar"),
    Tag(
        "child/val_accuracy",
        "validation accuracy of the child after its last epoch of brief training; R2 where a "
        "number is predicted",
        _SHARE,
        "scalar",
    ),
    Tag(
        "child/spread",
        "standard deviation of what is rewarded over the trainings of the child, with --folds or "
        "--repeats",
        "",
        "scalar",
    ),
    Tag(
        "child/epochs",
        "epochs the child was trained for: fewer if it was stopped, and one more for each restart",
        "epochs",
        "scalar",
    ),
    Tag("child/seconds", "time of building and training the child", "seconds", "scalar"),
    Tag(
        "child/peak_memory",
        "largest memory of the process, or of the GPU, while the child trained",
        "MB",
        "scalar",
    ),
    Tag(
        "child/latency",
        "time of a forward pass of one example, the least of 20, where --latency asks for it",
        "milliseconds",
        "scalar",
    ),
    Tag("child/params", "weights of the child, its head included", "weights", "scalar"),
    Tag("child/flops", "cost of one forward pass of one example", "FLOPs", "scalar"),
    Tag("controller/baseline", "moving average of the rewards", _REWARD, "scalar"),
    Tag(
        "controller/advantage",
        "mean of reward less baseline in the batch; for a repeat, what the preset sets instead; "
        "of ppo: that of the rank among all results, at most 1",
        _REWARD,
        "scalar",
    ),
    Tag("controller/entropy", "mean entropy of the policy per decision", "nats", "scalar"),
    Tag("controller/policy_loss", "loss of the policy gradient", "", "scalar"),
    Tag("controller/gradient_norm", "norm of the gradient before it was clipped", "", "scalar"),
    Tag("controller/temperature", "divisor of the logits when tokens are sampled", "", "scalar"),
    Tag("controller/entropy_weight", "weight of the entropy bonus of ppo", "", "scalar"),
    Tag(
        "controller/screen_correlation",
        "rank correlation of the surrogate's last 40 predictions with what was earned",
        "",
        "scalar",
    ),
    Tag("controller/screen_on", "whether the surrogate's picks are followed, 1 or 0", "", "scalar"),
    Tag("controller/epsilon", "share of tokens that dqn draws uniformly", _SHARE, "scalar"),
    Tag("controller/loss", "loss of dqn's values", "", "scalar"),
    Tag("controller/population", "members of the population", "", "scalar"),
    Tag("controller/population_reward", "mean reward of the population", _REWARD, "scalar"),
    Tag("controller/failures", "neighbours in a row that were not better", "", "scalar"),
    Tag("controller/restarts", "how often the local search began anew", "", "scalar"),
    Tag(
        "final/val_accuracy",
        "validation accuracy after the longer training, step = rank in the search (0: the "
        "reference child)",
        _SHARE,
        "scalar",
    ),
    Tag(
        "final/test_accuracy",
        "test accuracy of what was tested at the very end, step = rank in the search (0: the "
        "reference child)",
        _SHARE,
        "scalar",
    ),
    Tag(
        "control/best_gap",
        "best reward so far less that of the control run after as many trials",
        _REWARD,
        "scalar",
    ),
    Tag(
        "control/mean_gap",
        "mean reward of the trials so far less that of the control run",
        _REWARD,
        "scalar",
    ),
    Tag("control/mean_gap_low", "lower end of its 95 % interval (Welch)", _REWARD, "scalar"),
    Tag("control/mean_gap_high", "upper end of its 95 % interval (Welch)", _REWARD, "scalar"),
    Tag(
        "policy/heatmap",
        "what the controller would choose now: mean probability of each choice, by decision",
        "",
        "image",
    ),
    Tag("best/diagram", "the best architecture so far, drawn at each improvement", "", "image"),
    Tag(
        "best/architecture",
        "the best architecture so far: its layers, shapes and parameters",
        "",
        "text",
    ),
    Tag(
        "final/comparison",
        "brief reward beside the accuracy after the longer training, with the reference child",
        "",
        "text",
    ),
    Tag("run/config", "the whole config of the run, as YAML", "", "text"),
    Tag("layers", "layers before the head", "layers", "hparam"),
    Tag("params", "weights, head included", "weights", "hparam"),
    Tag("flops", "cost of one forward pass of one example", "FLOPs", "hparam"),
    Tag("types/conv", "convolutions", "layers", "hparam"),
    Tag("types/sepconv", "separable convolutions", "layers", "hparam"),
    Tag("types/pool", "max, average and global poolings before the head", "layers", "hparam"),
    Tag("types/dropout", "dropouts", "layers", "hparam"),
    Tag("types/dense", "fully connected layers before the head", "layers", "hparam"),
    Tag("types/batch_norm", "convolutions that have batch normalisation", _SHARE, "hparam"),
    Tag("types/sequence", "all layers in their order; the only column of words", "", "hparam"),
)

METRICS = ("search/reward", "child/val_accuracy")
"""Scalars that stand beside the columns of the HParams table, one value per trial."""

_BY_NAME = {tag.name: tag for tag in TAGS}


def find(name: str, kind: Kind) -> Tag:
    """Return a declared tag, or that of a figure of the user's own controller.

    Raises:
        KeyError: No tag of this name and kind is declared; that is a mistake in the code.
    """
    if name.startswith(OWN_FIGURES) and kind == "scalar":
        return Tag(name, "a figure of your own controller", "", "scalar")
    tag = _BY_NAME.get(name)
    if tag is None or tag.kind != kind:
        raise KeyError(f"{kind} {name!r} is written but not declared in {__name__}.TAGS")
    return tag


def of_kind(kind: Kind) -> tuple[Tag, ...]:
    """Return all tags of a kind, in the order of their declaration."""
    return tuple(tag for tag in TAGS if tag.kind == kind)


_INTRODUCTION = """\
# What TensorBoard shows

Made from `rlnas/search/monitor/tags.py` by `python -m rlnas.search.monitor > docs/tensorboard.md`.

    tensorboard --logdir checkpoints

All that is shown lies below `<run>/tb` and can be made again from the run's journal: `rlnas resume`
writes it anew, so that each step is there exactly once, also after a kill. The step of a tag is the
trial's place in the order of the results, except where the table says otherwise: with several
children under way at once, that need not be its number. A run with `--control random` gets the
`control/...` tags below `<run>/tb/control` when its control has ended; the control's own curves
are those of the run `<run>-control` beside it.

Of the pictures and of the best architecture's text, `resume` and `retrain` make ten of each tag
again, evenly spread, the last one among them. TensorBoard itself shows ten of a tag; for more,
start it with `--samples_per_plugin images=100,text=100`.

Each row of HParams is a run of its own below `<run>/tb/trials/`, as TensorBoard wants it, and
TensorBoard starts with no run ticked where there are more than 40 (tabs Scalars, Images and Text)
or 500 (tab Time Series): the charts are empty then. Type `tb$` into the filter above the list of
runs, or open

    http://localhost:6006/?runFilter=tb%24#scalars&regexInput=tb%24

with `timeseries`, `images` or `text` in place of `scalars` as you like.
"""

_SECTIONS: dict[Kind, str] = {
    "scalar": "Scalars",
    "image": "Images",
    "text": "Text",
    "hparam": (
        "HParams\n\nOne row per trial, at most 1,000: the newest 500 and the best 500 before "
        f"them.\nBeside these columns stand {' and '.join(f'`{name}`' for name in METRICS)}."
    ),
}


def page() -> str:
    """Return ``docs/tensorboard.md``: a table of all tags of each kind."""
    return "\n".join([_INTRODUCTION, *(_section(kind) for kind in _SECTIONS)])


def _section(kind: Kind) -> str:
    rows = _table(of_kind(kind))
    return "\n".join([f"## {_SECTIONS[kind]}", "", *rows, ""])


def _table(tags: Iterable[Tag]) -> list[str]:
    head = ["| tag | meaning | unit |", "|---|---|---|"]
    return [*head, *(f"| `{tag.name}` | {tag.meaning} | {tag.unit} |" for tag in tags)]
