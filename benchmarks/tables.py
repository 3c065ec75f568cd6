"""Controllers against each other on complete tables of trained networks.

Comparisons of paired searches, each by `rlnas benchmark`: NAS-Bench-201 by rows, as published
methods count; NAS-Bench-Macro by networks; the same with one noisy training run as reward and
the other two as report; the surrogate forest, within 100 trials, for it is slow; dqn, whose
schedule is laid over 100 trials; ppo with a policy that does not learn, within 100 trials; and ppo
without a surrogate against evolution, which 200 seeds do not decide: give those ``--seeds 800`` or
1600. Each search is kept as it ends: the same command goes on where it was stopped.

    python benchmarks/tables.py                          200 seeds of each, hours on 2 cores
    python benchmarks/tables.py --seeds 20 --only macro  a first look
"""

import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from arguments import on_tables

from rlnas.cli.app import main as rlnas

EVOLUTION = "evolution,evolution+population=50+tournament=10"
REINFORCE = ",".join(f"reinforce+preset={preset}" for preset in ("default", "zoph", "enas", "nats"))
EVERYONE = f"ppo,ppo+surrogate=none,{EVOLUTION},{REINFORCE},genetic,local,random"

NASBENCH201 = ["--table", "nasbench201_cifar10.csv.gz", "--format", "nasbench201"]
MACRO = ["--table", "nas_bench_macro_cifar10.csv.gz", "--format", "macro"]
CLEAN = ["--reward", "mean_acc", "--report", "mean_acc"]
COMPARISONS = {
    "nasbench201": [*NASBENCH201, "--key", "none", "--controllers", EVERYONE],
    "macro": [*MACRO, *CLEAN, "--controllers", EVERYONE],
    "macro-noisy": [*MACRO, "--controllers", f"ppo,ppo+surrogate=none,{EVOLUTION},random"],
    "no-surrogate-nasbench201": [
        *(*NASBENCH201, "--key", "none", "--controllers", f"ppo+surrogate=none,{EVOLUTION}")
    ],
    "no-surrogate-macro": [*(*MACRO, *CLEAN, "--controllers", f"ppo+surrogate=none,{EVOLUTION}")],
    "forest-nasbench201": [*NASBENCH201, "--key", "none", "--controllers", "ppo+surrogate=forest"],
    "forest-macro": [*MACRO, *CLEAN, "--controllers", "ppo+surrogate=forest"],
    "dqn-nasbench201": [*NASBENCH201, "--key", "none", "--controllers", "dqn,random"],
    "dqn-macro": [*MACRO, *CLEAN, "--controllers", "dqn,random"],
}
for surrogate in ("gp", "none"):  # what does the policy's learning add?
    pair = f"ppo+surrogate={surrogate},ppo+surrogate={surrogate}+learning_rate=1e-12"
    COMPARISONS |= {
        f"frozen-{surrogate}-nasbench201": [*NASBENCH201, "--key", "none", "--controllers", pair],
        f"frozen-{surrogate}-macro": [*MACRO, *CLEAN, "--controllers", pair],
    }
TRIALS = {
    **{name: 100 for name in COMPARISONS if name.startswith("frozen-")},
    "forest-nasbench201": 100,
    "forest-macro": 100,
    "dqn-nasbench201": 100,
    "dqn-macro": 100,
    "no-surrogate-nasbench201": 192,
    "no-surrogate-macro": 192,
}


def main() -> None:
    """Run the comparisons that the command line asks for."""
    parser = on_tables(__doc__)
    parser.add_argument("--only", choices=sorted(COMPARISONS), action="append")
    parser.add_argument("--to", type=Path, default=Path("benchmark-tables"))
    chosen = parser.parse_args()
    found = {}
    for name in chosen.only or COMPARISONS:
        flag, table, *words = COMPARISONS[name]
        words += ["--trials", str(TRIALS.get(name, 300))]
        words += ["--seeds", str(chosen.seeds), "--workers", str(chosen.workers)]
        words += ["--to", str(chosen.to / name)]
        command = ["benchmark", flag, str(chosen.tables / table), *words]
        if chosen.json:
            printed = StringIO()
            with redirect_stdout(printed):
                code = rlnas([*command, "--json"])
            found[name] = json.loads(printed.getvalue() or "null")
        else:
            print(f"\n## {name}\n", flush=True)
            code = rlnas(command)
        if code:
            raise SystemExit(code)
    if chosen.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
