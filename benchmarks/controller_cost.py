"""What a controller costs a trial, by the length of its history: proposing, learning, saving.

No child is trained. Times are those of one processor core. On NAS-Bench-201 the rewards are
the table's; in the space of image chains a network earns the logarithm of its FLOPs. Behind each
time stands what a plain loop of a million additions took meanwhile, for the speed of a shared
machine changes from minute to minute.

    python benchmarks/controller_cost.py --tables FOLDER
"""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

for threads in ("OMP_NUM", "OPENBLAS_NUM", "TF_NUM_INTRAOP", "TF_NUM_INTEROP"):
    os.environ[f"{threads}_THREADS"] = "1"  # before NumPy and TensorFlow start
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from math import log  # noqa: E402

import numpy as np  # noqa: E402
from arguments import on_tables, print_rows  # noqa: E402

from rlnas.controllers import Trajectory, make_controller, propose, uniform  # noqa: E402
from rlnas.cost import network_cost  # noqa: E402
from rlnas.evaluation import FORMATS, read_table, with_columns  # noqa: E402
from rlnas.search.benchmark import Contestant  # noqa: E402
from rlnas.search.state import pack  # noqa: E402
from rlnas.spaces import Architecture, ImageSpace, Space  # noqa: E402

LENGTHS, WARM_UP, TRIALS = (100, 200, 500, 1000, 10_000), 20, 100
CONTROLLERS = {
    "ppo": LENGTHS,
    "ppo+surrogate=none": LENGTHS,
    "ppo+surrogate=forest": LENGTHS,
    "dqn": LENGTHS[:4],  # its replay takes as long at any length
}
ADDITIONS, PIECES = 1_000_000, 20
HEAD = (
    "space",
    "controller",
    "history",
    "ms a trial",
    "and its state saved",
    "state, kB",
    "loop, ms",
)
Reward = Callable[[Architecture], float]


class Clock:
    """Milliseconds of one core, for a name each."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.spent: dict[str, float] = defaultdict(float)

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add what is done meanwhile."""
        began = time.process_time()
        yield
        self.spent[name] += 1000 * (time.process_time() - began)


def loop(additions: int) -> int:
    """Add, as a measure of the machine."""
    total = 0
    for number in range(additions):
        total += number
    return total


def cost(space: Space, reward: Reward, length: int, words: str) -> tuple[Clock, int]:
    """Return what a hundred trials and the loop took, and the size of the state in bytes."""
    controller = make_controller(space, Contestant.read(words).config, 0, trials=length + TRIALS)
    rng, known = np.random.default_rng(0), set()
    while len(known) < length:
        tokens = uniform(space, rng)
        if tokens not in known:
            known.add(tokens)
            log_probs = (-1.0,) * len(tokens)
            earned = reward(space.architecture(tokens))
            controller.learn([Trajectory(tokens, log_probs, earned, False)])
    clock, size = Clock(), 0
    for trial in range(-WARM_UP, TRIALS):
        if trial == 0:
            clock = Clock()
        with clock.measure("controlling"):
            tokens, log_probs = propose(controller, space)
        earned = reward(space.architecture(tokens))
        with clock.measure("controlling"):
            controller.learn([Trajectory(tokens, log_probs, earned, False)])
        with clock.measure("saving"):
            size = len(pack(controller.state()))
        if trial % (TRIALS // PIECES) == 0:
            with clock.measure("loop"):
                loop(ADDITIONS // PIECES)
    return clock, size


def main() -> None:
    """Measure what the command line asks for."""
    parser = on_tables(__doc__, searches=False)
    chosen = parser.parse_args()
    columns = with_columns(FORMATS["nasbench201"], key="none")
    table = read_table(chosen.tables / "nasbench201_cifar10.csv.gz", columns)
    image = ImageSpace((28, 28, 1), 10)
    spaces: dict[str, tuple[Space, Reward]] = {
        "nasbench201": (table.space, lambda found: table.rows[table.space.key(found)].reward),
        "image": (
            image,
            lambda found: log(network_cost(found.layers, found.input_shape, found.classes).flops),
        ),
    }
    print_rows(HEAD, measured(spaces), chosen.json)


def measured(spaces: Mapping[str, tuple[Space, Reward]]) -> Iterator[list[object]]:
    """Measure each controller in each space, a row of the table at a time."""
    for name, (space, reward) in spaces.items():
        for words, lengths in CONTROLLERS.items():
            for length in lengths:
                clock, size = cost(space, reward, length, words)
                alone = clock.spent["controlling"] / TRIALS
                times = round(alone, 1), round(alone + clock.spent["saving"] / TRIALS, 1)
                yield [name, words, length, *times, size // 1000, round(clock.spent["loop"])]


if __name__ == "__main__":
    main()
