"""Each example runs and prints what it promises."""

import re
import runpy

import pytest

NUMBER = r"[01]\.\d{3}"


_TRAINER = "trainer"


@pytest.fixture
def printed(root, tmp_path, monkeypatch, capsys):
    """Runs an example in a folder of its own; returns the lines it prints."""
    monkeypatch.chdir(tmp_path)

    def run(name):
        runpy.run_path(str(root / "examples" / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    return run


def test_own_arrays_prints_trials_the_best_and_predictions(printed, tmp_path):
    *trials, best, test, path, predictions = printed("own_arrays")
    for number, line in enumerate(trials, 1):
        assert re.fullmatch(rf"trial {number}: reward {NUMBER}, (sep)?conv .*", line)
    assert len(trials) == 3
    assert re.fullmatch(r"best architecture: (sep)?conv .*", best)
    assert re.fullmatch(rf"test accuracy: {NUMBER}", test)
    assert (tmp_path / path.rpartition(" ")[2]).is_file()
    assert predictions.endswith("they are [0 1 2 3 4 5 6 7]")


@pytest.mark.slow
def test_own_evaluator_compares_the_best_with_both_others(printed):
    lines = printed("own_evaluator")
    pattern = rf"(best|reference|baseline): {NUMBER}, (\d+) weights"
    found = {match[1]: int(match[2]) for line in lines if (match := re.fullmatch(pattern, line))}
    assert list(found) == ["best", "reference", "baseline"]
    assert len(lines) == 3
    assert found["baseline"] == 64 * 32 + 32 + 32 * 10 + 10


def test_agent_writes_networks_that_earn_something(printed):
    lines = printed("gymnasium_agent")
    pattern = rf"network \d earned ({NUMBER}): (sep)?conv .*"
    rewards = [float(re.fullmatch(pattern, line)[1]) for line in lines]
    assert len(rewards) == 2
    assert min(rewards) > 0


def test_agent_on_a_table_gets_better(printed):
    *blocks, best = printed("table_agent")
    means = [float(line.rpartition(" ")[2]) for line in blocks]
    assert len(means) == 4
    assert means[-1] > means[0] + 0.03
    found, highest = re.fullmatch(
        rf"best found ({NUMBER}), best in the table ({NUMBER})", best
    ).groups()
    assert float(highest) - float(found) < 0.02


def test_own_controller_keeps_the_contract_and_beats_random(printed):
    contract, ours, random = printed("own_controller")
    assert contract == "the contract holds"
    assert float(ours.rpartition(" ")[2]) > float(random.rpartition(" ")[2]) + 0.05


def test_maskable_ppo_gets_better_than_uniform(printed):
    pytest.importorskip("sb3_contrib", reason="sb3-contrib brings PyTorch: rlnas[examples]")
    _, uniform, trained = printed("maskable_ppo")
    assert float(trained.rpartition(" ")[2]) > float(uniform.rpartition(" ")[2]) + 0.05


def test_every_example_is_listed_and_tested(root):
    examples = {path.stem for path in (root / "examples").glob("*.py")}
    listed = re.findall(r"\[(\w+)\.py\]\(\1\.py\)", (root / "examples" / "README.md").read_text())
    assert sorted(listed) == sorted(examples)
    tests = (root / "tests" / "test_examples.py").read_text()
    processes = (root / "tests" / "test_service_processes.py").read_text("utf-8")
    assert f'"examples" / "{_TRAINER}.py"' in processes  # it needs a server
    assert all(f'printed("{name}")' in tests for name in examples if name != _TRAINER)
