"""What a controller costs a trial, by the length of its history: proposing, learning, saving.

No child is trained. Times are those of one processor core. On NAS-Bench-201 the rewards are
the table's; in the space of image chains a network earns the logarithm of its FLOPs.

    python benchmarks/controller_cost.py --tables FOLDER
"""

import os
import time
from collections.abc import Callable

for threads in ("OMP_NUM", "OPENBLAS_NUM", "TF_NUM_INTRAOP", "TF_NUM_INTEROP"):
    os.environ[f"{threads}_THREADS"] = "1"  # before NumPy and TensorFlow start
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from math import log  # noqa: E402

import numpy as np  # noqa: E402
from arguments import on_tables  # noqa: E402

from rlnas.config import ControllerConfig  # noqa: E402
from rlnas.controllers import Trajectory, make_controller, propose, uniform  # noqa: E402
from rlnas.cost import network_cost  # noqa: E402
from rlnas.evaluation import FORMATS, read_table, with_columns  # noqa: E402
from rlnas.search.state import pack  # noqa: E402
from rlnas.spaces import Architecture, ImageSpace, Space  # noqa: E402

LENGTHS, WARM_UP, TRIALS = (100, 1000, 10_000), 20, 100
Reward = Callable[[Architecture], float]


def cost(space: Space, reward: Reward, length: int, surrogate: str) -> tuple[float, float, int]:
    """Return milliseconds a trial without and with saving, and the size of the state in bytes."""
    controller = make_controller(space, ControllerConfig(name="ppo", surrogate=surrogate), 0)
    rng, known = np.random.default_rng(0), set()
    while len(known) < length:
        tokens = uniform(space, rng)
        if tokens not in known:
            known.add(tokens)
            log_probs = (-1.0,) * len(tokens)
            earned = reward(space.architecture(tokens))
            controller.learn([Trajectory(tokens, log_probs, earned, False)])
    controlling, saving, size = 0.0, 0.0, 0
    for trial in range(-WARM_UP, TRIALS):
        if trial == 0:
            controlling, saving = 0.0, 0.0
        began = time.process_time()
        tokens, log_probs = propose(controller, space)
        controlling += time.process_time() - began
        earned = reward(space.architecture(tokens))
        began = time.process_time()
        controller.learn([Trajectory(tokens, log_probs, earned, False)])
        controlling += time.process_time() - began
        began = time.process_time()
        size = len(pack(controller.state()))
        saving += time.process_time() - began
    return 1000 * controlling / TRIALS, 1000 * (controlling + saving) / TRIALS, size


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
    print("| space | surrogate | history | ms a trial | with its state saved | state, kB |")
    print("|---|---|---|---|---|---|")
    for name, (space, reward) in spaces.items():
        for surrogate in ("gp", "none"):
            for length in LENGTHS:
                alone, saved, size = cost(space, reward, length, surrogate)
                row = (name, surrogate, length, f"{alone:.1f}", f"{saved:.1f}", size // 1000)
                print("| " + " | ".join(map(str, row)) + " |", flush=True)


if __name__ == "__main__":
    main()
