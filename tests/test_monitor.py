"""What TensorBoard shows of a run, read back with TensorBoard's own reader."""

import io
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import rlnas
from rlnas.controllers import uniform
from rlnas.errors import StorageError
from rlnas.objectives import Metrics
from rlnas.search.monitor import (
    FinalRecord,
    Monitor,
    TrialRecord,
    policy_table,
    write_control,
)
from rlnas.search.monitor.hparams import hyperparameters, kept
from rlnas.search.monitor.tags import METRICS, TAGS, of_kind, page
from rlnas.spaces import ImageSpace, RecipeSpace

SPACE = ImageSpace((8, 8, 1), 10)
CONFIG = {"seed": 0, "data": {"dataset": "digits"}}
LEARNED = tuple(tag.name for tag in TAGS if tag.name.startswith("controller/"))


class FirstAllowed:
    """A policy that takes the first allowed choice with probability 0.75, the last with 0.25."""

    def __init__(self):
        self.shapes = set()

    def probabilities(self, observed, masks):
        self.shapes.add((observed.shape, masks.shape))
        rows = np.zeros(masks.shape)
        for row, mask in zip(rows, masks, strict=True):
            allowed = np.flatnonzero(mask)
            row[allowed[0]] += 0.75
            row[allowed[-1]] += 0.25
        return rows


def random_architecture(generator):
    prefix = ()
    while SPACE.decision(prefix) is not None:
        prefix = (*prefix, int(generator.choice(np.flatnonzero(SPACE.mask(prefix)))))
    return SPACE.architecture(prefix)


def make_records(count: int, pictures=()) -> list[TrialRecord]:
    """Return trials of which every seventh failed and every fifth taught the controller."""
    generator = np.random.default_rng(0)
    records, best = [], None
    table = {
        decision.name: [1 / len(decision.choices)] * len(decision.choices)
        for decision in SPACE.decisions[:2]
    }
    for number in range(1, count + 1):
        architecture = random_architecture(generator)
        reward = None if number % 7 == 0 else float(generator.random())
        is_best = reward is not None and (best is None or reward > best)
        best = reward if is_best else best
        metrics = (
            None
            if reward is None
            else Metrics(
                (0.1, reward),
                seconds=2.0,
                peak_memory=500.0,
                latency=0.5,
                trainings=2,
                spread=0.1,
            )
        )
        records.append(
            TrialRecord(
                number=number,
                step=number,
                tokens=architecture.tokens,
                architecture=architecture,
                reward=reward,
                best_reward=best,
                is_best=is_best,
                state="failed" if reward is None else "done",
                metrics=metrics,
                learned=dict.fromkeys(LEARNED, 0.25) if number % 5 == 0 else {},
                proposals=number + 2,
                repeats=2,
                failures=number // 7,
                policy=table if number in pictures else None,
                wall_time=1000.0 + number,
            )
        )
    return records


def final_records() -> list[FinalRecord]:
    reference = SPACE.reference().describe()
    return [
        FinalRecord("trial 3", 1, "conv 16", 160, 0.9, 0.95, 0.94, chosen=True),
        FinalRecord("trial 9", 2, "conv 32", 320, 0.8, 0.96),
        FinalRecord("reference child", 0, reference, 94634, 0.85, 0.93, 0.92),
        FinalRecord("your model", None, "my|own", 7, None, 0.5),
    ]


@pytest.fixture
def read(monkeypatch):
    """Read the event files of a folder, not those below it, as (tag, step, value) and metadata."""
    monkeypatch.setitem(sys.modules, "tensorboard.compat.notf", ModuleType("notf"))
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    def read(folder: Path) -> SimpleNamespace:
        found = SimpleNamespace(values=[], metadata={}, heads=[])
        for path in sorted(folder.glob("*tfevents*")):
            events = list(EventFileLoader(str(path)).Load())
            found.heads.append(events[:2])
            for event in events:
                for value in event.summary.value:
                    found.values.append((value.tag, event.step, value.tensor))
                    if value.HasField("metadata"):
                        found.metadata.setdefault(value.tag, value.metadata)
        return found

    return read


@pytest.fixture
def make_monitor():
    """Make monitors that are closed at the end of the test."""
    made = []

    def make(folder: Path, **options) -> Monitor:
        made.append(Monitor(folder, SPACE, CONFIG, **options))
        return made[-1]

    yield make
    for monitor in made:
        monitor.close()


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """A whole run of 30 trials with everything in it."""
    folder = tmp_path_factory.mktemp("monitor") / "run-1" / "tb"
    monitor = Monitor(folder, SPACE, CONFIG)
    for record in make_records(30, pictures=(1, 30)):
        monitor.trial(record)
    monitor.final(final_records(), wall_time=2000.0)
    monitor.close()
    return folder


def steps(found: SimpleNamespace, tag: str) -> list[int]:
    return [step for name, step, _ in found.values if name == tag]


def rows(folder: Path) -> set[int]:
    return {int(path.name) for path in (folder / "trials").iterdir()}


def contents(found: SimpleNamespace) -> list[tuple[str, int, bytes]]:
    return [(tag, step, tensor.SerializeToString()) for tag, step, tensor in found.values]


def test_all_that_is_written_is_declared_and_the_other_way_round(written, read, tmp_path):
    figures = ("best_gap", "mean_gap", "mean_gap_low", "mean_gap_high")
    write_control(tmp_path, [(1, {f"control/{name}": 0.5 for name in figures})])
    control = read(tmp_path / "control")
    found = read(written)
    found.metadata.update(control.metadata)
    plugins = {"scalar": "scalars", "image": "images", "text": "text"}
    declared = {
        tag.name: (plugins[tag.kind], tag.description) for tag in TAGS if tag.kind in plugins
    }
    assert {
        tag: (metadata.plugin_data.plugin_name, metadata.summary_description)
        for tag, metadata in found.metadata.items()
        if not tag.startswith("_hparams_")
    } == declared


def test_hparams_columns_and_metrics_are_declared(written, read):
    from tensorboard.plugins.hparams import metadata

    columns = {tag.name: tag.description for tag in of_kind("hparam")}
    plugin = read(written).metadata[metadata.EXPERIMENT_TAG].plugin_data
    experiment = metadata.parse_experiment_plugin_data(plugin.content)
    assert {info.name: info.description for info in experiment.hparam_infos} == columns
    assert tuple(info.name.tag for info in experiment.metric_infos) == METRICS
    row = read(written / "trials" / "3").metadata[metadata.SESSION_START_INFO_TAG].plugin_data
    start = metadata.parse_session_start_info_plugin_data(row.content)
    assert set(start.hparams) == set(columns)
    assert start.group_name == "run-1/3"


def test_searched_recipe_has_columns_of_its_own(tmp_path, read):
    from tensorboard.plugins.hparams import metadata

    space = RecipeSpace(SPACE, ["optimizer", "learning_rate", "augment"])
    architecture = space.architecture(uniform(space, np.random.default_rng(0)))
    (record,) = make_records(1)
    monitor = Monitor(tmp_path / "run" / "tb", space, CONFIG)
    monitor.trial(replace(record, architecture=architecture, tokens=architecture.tokens))
    monitor.close()
    plugin = read(tmp_path / "run" / "tb").metadata[metadata.EXPERIMENT_TAG].plugin_data
    infos = metadata.parse_experiment_plugin_data(plugin.content).hparam_infos
    columns = {info.name for info in infos if info.name.startswith("recipe/")}
    assert {"recipe/optimizer", "recipe/learning_rate", "recipe/augment"} <= columns
    row = read(tmp_path / "run" / "tb" / "trials" / "1").metadata
    start = metadata.parse_session_start_info_plugin_data(
        row[metadata.SESSION_START_INFO_TAG].plugin_data.content
    )
    values = dict(architecture.recipe)
    assert start.hparams["recipe/learning_rate"].number_value == values["learning_rate"]
    assert start.hparams["recipe/optimizer"].string_value == values["optimizer"]
    assert set(start.hparams) <= {info.name for info in infos}


def test_each_step_of_each_tag_is_there_once(written, read):
    found = read(written)
    assert steps(found, "search/best_reward") == list(range(1, 31))
    assert steps(found, "policy/heatmap") == [1, 30]
    assert steps(found, "final/val_accuracy") == [0, 1, 2]
    assert steps(found, "final/test_accuracy") == [0, 1]
    counted = Counter((tag, step) for tag, step, _ in found.values)
    assert set(counted.values()) == {1}


def test_file_begins_with_its_version_and_a_session_start(written, read):
    (head,) = read(written).heads
    assert head[0].file_version == "brain.Event:2"
    assert (head[1].session_log.status, head[1].step) == (head[1].session_log.START, 0)


def test_scalars_are_those_of_the_record(written, read):
    record = make_records(30)[29]
    values = {
        tag: tensor.float_val[0]
        for tag, step, tensor in read(written).values
        if step == 30 and tag in {one.name for one in of_kind("scalar")}
    }
    assert values == pytest.approx(
        {
            "search/reward": record.reward,
            "search/best_reward": record.best_reward,
            "search/repeat_rate": 2 / 32,
            "search/invalid_rate": 4 / 30,
            "child/val_accuracy": record.reward,
            "child/epochs": 4.0,
            "child/spread": 0.1,
            "child/seconds": 2.0,
            "child/latency": 0.5,
            "child/peak_memory": 500.0,
            "child/params": 0.0,
            "child/flops": 0.0,
            **dict.fromkeys(LEARNED, 0.25),
        }
    )


def test_failed_trial_has_no_reward_and_a_failed_row(written, read):
    from tensorboard.plugins.hparams import api_pb2, metadata

    assert 7 not in steps(read(written), "search/reward")
    row = read(written / "trials" / "7")
    assert not {tag for tag, *_ in row.values} & set(METRICS)
    end = row.metadata[metadata.SESSION_END_INFO_TAG].plugin_data.content
    status = metadata.parse_session_end_info_plugin_data(end).status
    assert status == api_pb2.STATUS_FAILURE


def test_pictures_open_with_the_size_they_say(written, read):
    for tag, _, tensor in read(written).values:
        if tag in {one.name for one in of_kind("image")}:
            width, height, png = tensor.string_val
            assert Image.open(io.BytesIO(png)).size == (int(width), int(height))


def test_texts_hold_the_best_layers_the_comparison_and_the_config(written, read):
    texts = {
        tag: tensor.string_val[0].decode()
        for tag, _, tensor in read(written).values
        if tag in {one.name for one in of_kind("text")}
    }
    best = [record for record in make_records(30) if record.is_best][-1]
    assert f"**Trial {best.number}**" in texts["best/architecture"]
    assert (
        "| **trial 3** (chosen) | 0.9000 | 0.9500 | 0.9400 | 160 | conv 16 |"
        in (texts["final/comparison"])
    )
    assert "| reference child | 0.8500 | 0.9300 | 0.9200 |" in texts["final/comparison"]
    assert "my\\|own" in texts["final/comparison"]
    assert "dataset: digits" in texts["run/config"]


def test_nothing_loads_tensorflow(tmp_path):
    program = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from test_monitor import CONFIG, SPACE, Monitor, final_records, make_records
monitor = Monitor(Path(sys.argv[2]) / "run" / "tb", SPACE, CONFIG)
monitor.rebuild(make_records(2, pictures=(2,)))
monitor.final(final_records(), 1.0)
monitor.close()
print(sorted({"tensorflow", "keras", "jax", "torch"} & set(sys.modules)))
"""
    here = str(Path(__file__).parent)
    ran = subprocess.run(
        [sys.executable, "-c", program, here, str(tmp_path)], capture_output=True, text=True
    )
    assert (ran.stdout, ran.returncode) == ("[]\n", 0), ran.stderr


def test_undeclared_tag_is_refused(tmp_path, make_monitor):
    record = replace(make_records(1)[0], learned={"controller/luck": 1.0})
    with pytest.raises(KeyError, match="controller/luck"):
        make_monitor(tmp_path / "run" / "tb").trial(record)


def test_rebuild_after_a_kill_gives_what_an_uninterrupted_run_wrote(tmp_path, read, make_monitor):
    records = make_records(12)
    whole = make_monitor(tmp_path / "whole" / "tb")
    killed = make_monitor(tmp_path / "run" / "tb")
    for record in records:
        whole.trial(record)
        killed.trial(record)
    resumed = make_monitor(tmp_path / "run" / "tb")
    resumed.rebuild(reversed(records[:8]))
    assert rows(tmp_path / "run" / "tb") == set(range(1, 9))
    for record in records[8:]:
        resumed.trial(record)
    whole_tags, resumed_tags = (read(tmp_path / run / "tb") for run in ("whole", "run"))
    drawn = "best/diagram"  # its title holds the name of the run
    assert [one for one in contents(resumed_tags) if one[0] != drawn] == [
        one for one in contents(whole_tags) if one[0] != drawn
    ]
    assert rows(tmp_path / "run" / "tb") == set(range(1, 13))


@pytest.mark.parametrize("torn", [0, 7], ids=["clean", "in the middle of a trial"])
def test_going_on_after_a_kill_gives_what_an_uninterrupted_run_wrote(
    tmp_path, read, make_monitor, torn
):
    records = make_records(12)
    whole, killed = (make_monitor(tmp_path / name / "tb") for name in ("whole", "run"))
    for record in records:
        whole.trial(record)
    for record in records[:8]:
        killed.trial(record)
    if torn:  # its ninth trial got into the file, but for the last bytes, and is written no more
        killed._write(records[8], row=True)
        killed._flush()
        (path,) = (tmp_path / "run" / "tb").glob("events*")
        os.truncate(path, path.stat().st_size - torn)
    resumed = make_monitor(tmp_path / "run" / "tb")
    ended = [(record.step, record.number, record.reward) for record in records]
    assert resumed.go_on(ended) == 8
    assert rows(tmp_path / "run" / "tb") == set(range(1, 9))
    for record in records[8:]:
        resumed.trial(record)
    drawn = "best/diagram"  # its title holds the name of the run
    whole_tags, resumed_tags = (read(tmp_path / run / "tb") for run in ("whole", "run"))
    assert [one for one in contents(resumed_tags) if one[0] != drawn] == [
        one for one in contents(whole_tags) if one[0] != drawn
    ]
    assert resumed._rewards == whole._rewards


def test_what_cannot_be_gone_on_with_is_made_anew(tmp_path, make_monitor):
    folder, records = tmp_path / "run" / "tb", make_records(3)
    ended = [(record.step, record.number, record.reward) for record in records]
    assert make_monitor(folder).go_on(ended) == 0  # nothing was written
    monitor = make_monitor(folder)
    monitor.rebuild(records)
    monitor.close()
    assert make_monitor(folder).go_on(ended) == 3
    assert make_monitor(folder).go_on(ended[:2]) == 0  # the journal lacks the last
    (path,) = folder.glob("events*")
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    assert make_monitor(folder).go_on(ended) == 0
    path.write_bytes(content)
    monitor = make_monitor(folder)
    assert monitor.go_on(ended) == 3
    monitor.final(final_records(), 1.0)
    monitor.close()
    assert make_monitor(folder).go_on(ended) == 0  # a retraining is made anew
    (folder / "written.json").write_text("[1]")
    assert make_monitor(folder).go_on(ended) == 0


def test_steps_are_the_order_of_the_results_and_rows_go_by_number(tmp_path, read, make_monitor):
    folder = tmp_path / "run" / "tb"
    first, second = (replace(one, is_best=False) for one in make_records(2))
    later, sooner = replace(first, step=2), replace(second, step=1)
    monitor = make_monitor(folder)
    monitor.trial(sooner)
    assert steps(read(folder), "search/reward") == [1]  # it waits for no other
    monitor.trial(later)
    assert sorted(path.name for path in (folder / "trials").iterdir()) == ["1", "2"]
    rewards = [float(value.float_val[0]) for tag, _, value in read(folder).values
               if tag == "search/reward"]  # fmt: skip
    assert rewards == pytest.approx([second.reward, first.reward])
    monitor.rebuild([later, sooner])
    monitor.close()
    assert steps(read(folder), "search/reward") == [1, 2]


def test_rebuild_draws_ten_pictures_with_the_last_among_them(
    tmp_path, read, monkeypatch, make_monitor
):
    monkeypatch.setattr("rlnas.search.monitor.monitor.draw_heatmap", lambda *_: b"\0" * 24)
    monitor = make_monitor(tmp_path / "tb")
    monitor.rebuild(make_records(37, pictures=range(1, 38)))
    monitor.close()
    drawn = steps(read(tmp_path / "tb"), "policy/heatmap")
    assert len(drawn) == 10
    assert drawn[-1] == 37


def test_hparams_keep_the_newest_and_the_best_before_them(tmp_path, make_monitor):
    folder = tmp_path / "run" / "tb"
    records = [replace(one, is_best=False) for one in make_records(20)]
    monitor = make_monitor(folder, rows=6)
    for record in records:
        monitor.trial(record)
        assert len(rows(folder)) == min(record.number, 6)
    older = sorted(records[:17], key=lambda one: -1 if one.reward is None else one.reward)
    expected = {18, 19, 20} | {record.number for record in older[-3:]}
    assert rows(folder) == expected
    monitor.rebuild(records)
    assert rows(folder) == expected


def test_at_most_a_thousand_rows_by_default(tmp_path, monkeypatch, make_monitor):
    monkeypatch.setattr("rlnas.search.monitor.monitor.write_row", lambda *_: None)
    monitor = make_monitor(tmp_path / "tb")
    record = make_records(1)[0]
    monitor.rebuild([replace(record, number=number, is_best=False) for number in range(1, 1502)])
    assert len(monitor._rewards) == 1000
    assert len(kept(dict.fromkeys(range(1, 1502), 0.5), 1000)) == 1000


def test_hyperparameters_count_the_layers_of_the_reference_child():
    columns = hyperparameters(SPACE.reference())
    assert (columns["layers"], columns["types/conv"], columns["types/pool"]) == (6, 3, 2)
    assert (columns["types/batch_norm"], columns["params"]) == (1.0, 98474)


def test_unwritable_folder_is_one_sentence(tmp_path, make_monitor):
    (tmp_path / "run").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="cannot write what TensorBoard shows"):
        make_monitor(tmp_path / "run" / "tb").trial(make_records(1)[0])


def test_policy_table_is_the_mean_of_the_controllers_own_probabilities():
    controller = FirstAllowed()
    table = policy_table(SPACE, controller, seed=1, rollouts=8)
    width = len(SPACE.decisions[0].choices)
    assert controller.shapes == {((8, SPACE.max_tokens), (8, width))}
    assert table["conv.activation"] == pytest.approx([0.75, 0.0, 0.25])
    assert list(table) == [one.name for one in SPACE.decisions if one.name in table]
    assert all(sum(shares) == pytest.approx(1.0) for shares in table.values())
    assert policy_table(SPACE, controller, seed=1, rollouts=8) == table
    assert policy_table(SPACE, controller, seed=2, rollouts=8) != table


@pytest.fixture
def searched(tmp_path, monkeypatch):
    """The ``tb`` folder of a search of which each trial was better than the one before."""
    monkeypatch.setattr("rlnas.search.monitor.monitor.PICTURES", 1)
    accuracies = iter([(0.9, 0.5), *((number / 10,) for number in range(1, 9))])
    found = rlnas.Search(
        (np.arange(60 * 16.0).reshape(60, 4, 4), np.arange(60) % 3),
        evaluator=lambda model, data, seed: next(accuracies),
        config={"objective": {"exponent": 2}, "space": {"max_layers": 2}},
        root=tmp_path,
        controller="random",
        trials=3,
        top_k=1,
    ).run()
    return found.folder / "tb"


def test_run_without_a_stop_shows_every_picture_and_the_retraining_once(searched, read):
    found = read(searched)
    assert len(found.heads) == 1
    assert steps(found, "best/diagram") == steps(found, "best/architecture") == [1, 2, 3]
    assert steps(found, "final/val_accuracy") == [0, 1]
    assert set(Counter((tag, step) for tag, step, _ in found.values).values()) == {1}


def test_brief_reward_of_the_reference_child_is_that_of_the_objective(searched, read):
    texts = {tag: tensor for tag, _, tensor in read(searched).values}
    comparison = texts["final/comparison"].string_val[0].decode()
    assert "| reference | 0.8100 | 0.5000 |" in comparison  # the best epoch's 0.9, squared
    assert "| **trial-3** (chosen) | 0.0900 | 0.4000 |" in comparison


def test_docs_page_is_the_one_made_from_the_declarations():
    docs = Path(__file__).parents[1] / "docs" / "tensorboard.md"
    assert docs.read_text(encoding="utf-8") == page()
    assert len({tag.name for tag in TAGS}) == len(TAGS)
