"""`rlnas benchmark`: paired searches on a table, kept as they end."""

import json
import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner

from rlnas.cli.app import app, main
from rlnas.config import ControllerConfig
from rlnas.controllers import make_controller
from rlnas.errors import ConfigError, InterruptedRunError
from rlnas.evaluation import TableFormat, read_table
from rlnas.search.benchmark import Benchmark, Contestant, play, read_contestants, standings

WORDS = [f"{n:03d}" for n in range(1000) if set(f"{n:03d}") <= set("0123")]
COLUMNS = TableFormat("arch", "valid", ("test",), "canonical")


@pytest.fixture
def path(tmp_path):
    """64 networks, of which those with the same digits are equal: 20 remain."""
    path = tmp_path / "small.csv"
    lines = ["arch,canonical,valid,test"]
    for word in WORDS:
        value = sum(map(int, word))
        lines.append(f"{word},{''.join(sorted(word))},{value},{10 * value + 1}")
    path.write_text("\n".join(lines) + "\n")
    return path


def run(*words):
    result = CliRunner().invoke(app, ["benchmark", *map(str, words)], standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.output


def searched(path, *words):
    names = ["--table", path, "--reward", "valid", "--report", "test"]
    return json.loads(run(*names, "--json", *words).splitlines()[-1])


def test_play_counts_networks_once_and_reports_what_it_would_pick(path):
    table = read_table(path, COLUMNS)
    played = play(table, make_controller(table.space, ControllerConfig(name="random"), 1), 12, ())
    assert played.trials == 12
    places, reports = zip(*played.picks, strict=True)
    assert (places[0], list(reports)) == (1, sorted(reports))
    assert played.report(12) == reports[-1]
    assert played.optimum_at is None or played.report(played.optimum_at) == 91


def test_play_ends_when_all_networks_are_known(path):
    table = read_table(path, COLUMNS)
    played = play(table, make_controller(table.space, ControllerConfig(name="random"), 1), 99, ())
    assert (played.trials, played.report(20)) == (20, 91)
    assert played.optimum_at is not None


def test_command_tells_regret_from_the_best_report(path, tmp_path):
    words = ["--controllers", "evolution,random", "--trials", "9", "--seeds", "3"]
    found = searched(path, *words, "--to", tmp_path / "out")
    assert (found["trials"], found["seeds"], found["optimum"]) == (9, 3, 91)
    assert list(found["controllers"]) == ["evolution", "random"]
    figures = found["controllers"]["random"]
    at = figures["at"]["9"]
    assert at["regret_mean"] + at["report_mean"] == pytest.approx(91)
    assert at["regret_mean"] >= 0
    assert {"optimum_share", "median_trials_to_optimum", "ms_per_trial"} <= set(figures)
    text = (tmp_path / "out" / "standings.md").read_text()
    assert "| evolution |" in text
    assert "evolution less random" in text
    assert (tmp_path / "out" / "regret.png").read_bytes()[:4] == b"\x89PNG"


def test_stopped_benchmark_goes_on_where_it_was(path, tmp_path):
    out = tmp_path / "out"
    words = ["--controllers", "evolution,random", "--trials", "9", "--to", out]
    whole = searched(path, *words, "--seeds", "3")
    results = out / "results.jsonl"
    lines = results.read_text().splitlines(keepends=True)
    assert len(lines) == 6
    results.write_text("".join(lines[:4]) + lines[4][:20])  # killed in the middle of a line
    again = searched(path, *words, "--seeds", "3")
    assert results.read_text().splitlines()[:4] == [line.rstrip() for line in lines[:4]]
    for figures in (*whole["controllers"].values(), *again["controllers"].values()):
        del figures["ms_per_trial"]
    assert again == whole
    kept = results.read_text()
    searched(path, *words, "--seeds", "3")
    assert results.read_text() == kept


def test_controller_that_plans_by_the_budget_is_run_once_for_each(path, tmp_path):
    contestants = [Contestant.read("dqn"), Contestant.read("random")]
    benchmark = Benchmark(
        path,
        TableFormat("arch", "valid", ("test",), "none"),
        contestants,
        trials=60,
        seeds=2,
        folder=tmp_path / "out",
    )
    names = [task.name for task in benchmark.tasks()]
    assert [name for name in names if name[1] == 1] == [
        ("dqn", 1, 20),
        ("dqn", 1, 50),
        ("dqn", 1, 60),
        ("random", 1, 60),
    ]


def test_table_with_fewer_networks_ends_early_and_says_so(path, tmp_path, capsys):
    code = main(
        [
            "benchmark",
            "--table",
            str(path),
            "--reward",
            "valid",
            "--controllers",
            "random",
            "--trials",
            "300",
            "--seeds",
            "1",
            "--to",
            str(tmp_path / "out"),
        ]
    )
    assert code == 0
    assert "the table has 20 networks" in capsys.readouterr().err


def test_comparison_is_paired():
    ours = np.array([[1.0], [2.0], [3.0], [4.0]])
    found = standings(
        {"a": ours, "b": ours + 1.0},
        10.0,
        {"a": [3, np.inf, np.inf, np.inf], "b": [1, 1, 2, 9]},
        {"a": [50, 50, 7, 50], "b": [50] * 4},
        {"a": 1.0, "b": 2.0},
        [50],
        ["a", "b"],
    )
    assert found["a"]["at"]["50"] == {
        "regret_mean": 2.5,
        "regret_stderr": pytest.approx(np.std([1, 2, 3, 4], ddof=1) / 2),
        "report_mean": 7.5,
    }
    row = found["a"]["against"]["b"]["50"]
    assert (row["difference"], row["low"], row["high"]) == (-1.0, -1.0, -1.0)
    assert (row["wins"], row["losses"], row["p"]) == (4, 0, 0.125)
    assert (found["a"]["optimum_share"], found["a"]["median_trials_to_optimum"]) == (0.25, None)
    assert (found["a"]["fewest_trials"], found["b"]["fewest_trials"]) == (7, 50)
    assert found["b"]["median_trials_to_optimum"] == 1.5


def test_settings_stand_behind_plus_signs():
    first, second = read_contestants("ppo+surrogate=none, evolution+population=50+tournament=10")
    assert (first.config.name, first.config.surrogate) == ("ppo", "none")
    assert (second.config.population, second.config.tournament) == (50, 10)
    assert second.words == "evolution+population=50+tournament=10"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("ppoo", "did you mean ppo"),
        ("ppo+surrogate", "expected field=value behind a plus sign, got 'surrogate'"),
        ("ppo+surrogat=gp", "did you mean surrogate"),
        ("evolution+population=1", "expected at least 2, got '1'"),
        ("evolution+name=random", "expected the controller's name in front"),
        ("ppo+warm_start=flops", "expected no prior on a table"),
        ("evolution+population=9+population=8", "expected each setting once"),
        ("ppo,random,ppo", "expected each controller once, got ppo twice"),
        (" , ", "expected at least one controller"),
        ("absent_module:Mine", "module absent_module cannot be imported"),
    ],
)
def test_wrong_contestant_is_one_sentence(words, sentence):
    with pytest.raises(ConfigError, match=sentence):
        read_contestants(words)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--reward", "acc"], "has no column 'acc': expected one of arch, canonical, valid, test"),
        (["--reward", "canonical"], "row 1, column canonical"),
        (["--controllers", "genetics"], "did you mean genetic"),
        (["--table", "absent.csv"], "absent.csv cannot be read"),
    ],
)
def test_bad_input_is_one_sentence(path, tmp_path, monkeypatch, capsys, words, sentence):
    monkeypatch.chdir(tmp_path)
    defaults = {"--table": str(path), "--reward": "valid", "--controllers": "random"}
    defaults.update(zip(words[::2], words[1::2], strict=True))
    if words == ["--reward", "canonical"]:
        path.write_text(path.read_text().replace("000,000", "000,x", 1))
    code = main(["benchmark", *(word for pair in defaults.items() for word in pair)])
    err = capsys.readouterr().err
    assert (code, sentence in err, "Traceback" in err) == (2, True, False), err


def test_folder_of_another_table_is_refused(path, tmp_path, capsys):
    words = ["benchmark", "--table", str(path), "--controllers", "random", "--trials", "5"]
    words += ["--seeds", "1", "--to", str(tmp_path / "out")]
    assert main([*words, "--reward", "valid"]) == 0
    assert main([*words, "--reward", "test"]) == 2
    assert "another table or of other columns" in capsys.readouterr().err


OWN = """
import os
import numpy as np
from rlnas.controllers import Action

class Mine:
    def __init__(self, space, seed):
        pass
    def act(self, observation, mask):
        {act}
        return Action(mask.argmax(axis=1), np.zeros(len(mask)))
    probabilities = learn = load = lambda self, *arguments: None
    def state(self):
        return {{}}
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Write a module with a controller that proposes the same network again and again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name, act="pass"):
        (tmp_path / f"{name}.py").write_text(OWN.format(act=act))
        return f"{name}:Mine"

    return write


@pytest.mark.slow
def test_posterior_mean_is_asked_at_the_last_budget_too(path, tmp_path):
    table = TableFormat("arch", "valid", ("test",), "none")
    benchmark = Benchmark(
        path, table, [Contestant.read("ppo")], trials=24, seeds=1, folder=tmp_path / "out"
    )
    benchmark.run(1, lambda *_: None)
    kept = json.loads((tmp_path / "out" / "results.jsonl").read_text())
    assert list(kept["played"]["believed"]) == ["20", "24"]


def test_search_that_ended_early_is_told(path, tmp_path, own):
    words = ["--table", path, "--reward", "valid", "--trials", "9", "--seeds", "1"]
    told = run(*words, "--controllers", own("stuck"), "--to", tmp_path / "out")
    assert "stuck:Mine ended early" in told
    assert "in one search after 1 networks" in told


def test_results_of_other_code_are_not_used(path, tmp_path, own, capsys):
    words = ["benchmark", "--table", str(path), "--reward", "valid", "--trials", "9"]
    words += ["--seeds", "1", "--to", str(tmp_path / "out"), "--controllers"]
    assert main([*words, own("edited")]) == 0
    assert main([*words, own("edited")]) == 0
    assert "done anew" not in capsys.readouterr().err
    assert main([*words, own("edited", "mask = mask[:, ::-1]")]) == 0
    assert "1 earlier searches" in capsys.readouterr().err
    assert main([*words, own("edited", "mask = mask[:, ::-1]")]) == 0
    assert "done anew" not in capsys.readouterr().err
    results = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    assert len({json.loads(line)["of"] for line in results}) == 2


@pytest.mark.parametrize(
    "damage",
    [
        {"controller": ["random"]},
        {"seed": {}},
        {"played": {"picks": []}},
        {"played": {"picks": [[2, 1.0]]}},
        {"played": {"picks": [[1, "a"]]}},
        {"played": {"believed": {"x": 1}}},
        {"played": {"optimum_at": "soon"}},
        {"played": {"seconds": None}},
        {"played": {"seconds": math.inf}},
        {"played": {"picks": [[1, math.nan]]}},
        {"played": {"picks": [[1, 1e9]]}},
        {"played": {"picks": [[1, 1.0], [1, 2.0]]}},
        {"played": {"picks": [[1, 1.0], [10, 2.0]]}},
        {"played": {"trials": 0}},
        {"played": {"optimum_at": 99}},
    ],
    ids=str,
)
def test_damaged_result_is_done_anew(path, tmp_path, damage):
    words = ["--controllers", "random", "--trials", "9", "--seeds", "1", "--to", tmp_path / "out"]
    whole = searched(path, *words)
    results = tmp_path / "out" / "results.jsonl"
    line = json.loads(results.read_text())
    damage = {"played": {}} | damage
    line |= damage | {"played": line["played"] | damage["played"]}
    results.write_bytes(b"\xff\n" + json.dumps(line).encode() + b"\n")
    again = searched(path, *words)
    assert again["controllers"]["random"]["at"] == whole["controllers"]["random"]["at"]
    assert len(results.read_bytes().splitlines()) == 3


def test_damaged_results_are_told(path, tmp_path, capsys):
    words = ["benchmark", "--table", str(path), "--reward", "valid", "--controllers", "random"]
    words += ["--trials", "5", "--seeds", "1", "--to", str(tmp_path / "out")]
    assert main(words) == 0
    with (tmp_path / "out" / "results.jsonl").open("a") as file:
        file.write("{}\n\n")
    capsys.readouterr()
    assert main(words) == 0
    assert "1 lines of" in capsys.readouterr().err


def test_mark_is_left_alone_by_the_next_start(path, tmp_path):
    words = ["--controllers", "random", "--trials", "5", "--seeds", "1", "--to", tmp_path / "out"]
    searched(path, *words)
    mark = tmp_path / "out" / "benchmark.json"
    before = mark.stat().st_mtime_ns, mark.stat().st_ino
    searched(path, *words)
    assert (mark.stat().st_mtime_ns, mark.stat().st_ino) == before


@pytest.mark.parametrize("text", ["{", "[]", "null", "[" * 100_000])
def test_damaged_mark_is_one_sentence(path, tmp_path, capsys, text):
    words = ["benchmark", "--table", str(path), "--reward", "valid", "--controllers", "random"]
    words += ["--trials", "5", "--seeds", "1", "--to", str(tmp_path / "out")]
    assert main(words) == 0
    (tmp_path / "out" / "benchmark.json").write_text(text)
    assert main(words) == 2
    assert "benchmark.json is damaged: expected JSON" in capsys.readouterr().err


def test_progress_counts_what_was_asked_for(path, tmp_path):
    def benchmark(name):
        columns = TableFormat("arch", "valid", ("test",), "none")
        return Benchmark(
            path, columns, [Contestant.read(name)], trials=9, seeds=2, folder=tmp_path / "out"
        )

    told = []
    benchmark("random").run(1, lambda *counts: None)
    benchmark("evolution").run(1, lambda *counts: told.append(counts))
    assert told == [(0, 2), (1, 2), (2, 2)]


def test_stop_says_what_is_kept(path, tmp_path):
    benchmark = Benchmark(
        path, COLUMNS, [Contestant.read("random")], trials=9, seeds=3, folder=tmp_path / "out"
    )

    def stop(ended, count):
        if ended == 1:
            raise KeyboardInterrupt

    with pytest.raises(InterruptedRunError, match="stopped; 1 of 3 searches are kept in"):
        benchmark.run(1, stop)


def test_two_signals_end_it_and_its_processes(path, tmp_path, own):
    name = own("slow", "open('begun', 'w').write(str(os.getpid())); import time; time.sleep(900)")
    words = ["benchmark", "--table", str(path), "--reward", "valid", "--controllers", name]
    process = subprocess.Popen(
        [sys.executable, "-m", "rlnas", *words],
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    begun = tmp_path / "begun"
    while not begun.exists() or not begun.read_text():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    with pytest.raises(ProcessLookupError):
        os.kill(int(begun.read_text()), 0)


def test_dead_process_is_one_sentence(path, tmp_path, own, capsys):
    words = ["benchmark", "--table", str(path), "--reward", "valid", "--trials", "9"]
    words += ["--to", str(tmp_path / "out"), "--controllers", own("deadly", "os._exit(7)")]
    assert main(words) == 2
    assert "a process of the benchmark died" in capsys.readouterr().err
