"""The report of a run as one HTML file."""

import re
from contextlib import closing
from html.parser import HTMLParser

import numpy as np
import pytest
import yaml

import rlnas
from rlnas.cli import main
from rlnas.config import make_config
from rlnas.search.folder import RunFolder
from rlnas.search.html_report import report_html

CONFIG = {
    "data": {"train_samples": 150},
    "recipe": {"epochs": 1},
    "engine": {"executor": "inline"},
    "final": {"top_k": 2, "epochs": 1},
}


class Page(HTMLParser):
    """What stands in a page: its tags with attributes, and its text."""

    VOID = ("meta", "img", "rect", "path", "link", "br")

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    config = {**CONFIG, "control": "random", "objective": {"cost": "latency", "target": 9}}
    return rlnas.Search(root=root, config=config, trials=11, name="run").run()


@pytest.fixture(scope="module")
def page(run):
    return Page(report_html(RunFolder(run.folder.parent, "run")))


def test_page_is_whole_and_needs_nothing_else(page):
    assert page.open == []
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe")
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith("data:")


def test_page_has_all_parts(page, run):
    headings = [
        *("Progress", "Brief against long training", "Top architectures", "Pareto front"),
        *("What the choices do", "Recipe", "Data", "How to reproduce"),
    ]
    places = [page.text.index(heading) for heading in headings]
    assert places == sorted(places)
    assert f"with a test accuracy of {run.best.test_accuracy:.4f}" in page.text
    assert run.best.layers in page.text
    assert "reference" in page.text
    assert "best so far, mean over the trials" in page.text  # beside the control
    assert "these effects explain" in page.text
    assert "Validation accuracy over latency" in page.text
    assert re.search(r"fingerprint [0-9a-f]{16}", page.text)
    assert "tensorflow" in page.text
    tags = [tag for tag, _ in page.tags]
    assert tags.count("svg") == 5
    assert tags.count("img") == 5  # progress, effects, and the fronts of three costs


def test_run_that_was_given_more_trials_tells_its_budgets_in_order(tmp_path):
    told = (
        r"rlnas search --config config.yaml( --name again --trials 2 rlnas resume again (.*?))? con"
    )
    search = rlnas.Search(root=tmp_path, config=CONFIG, trials=2, name="few")
    search.run()
    folder = RunFolder(tmp_path, "few")
    assert re.search(told, Page(report_html(folder)).text)[1] is None
    rlnas.Search(root=tmp_path, config=CONFIG, trials=3).resume("few")
    rlnas.Search(root=tmp_path, config=CONFIG, trials=3).resume("few")  # the same once more
    assert re.search(told, Page(report_html(folder)).text)[2] == "--trials 3"


def test_run_that_was_stopped_and_given_fewer_trials_tells_where(tmp_path):
    rlnas.Search(root=tmp_path, config=CONFIG, trials=2, name="few").run()
    folder = RunFolder(tmp_path, "few")
    with closing(folder.open()) as journal:  # of 300, stopped
        config = make_config({**journal.meta()["config"], "budget": {"trials": 300}})
        journal.set_meta({"status": "searching", "config": config.model_dump(mode="json")})
    rlnas.Search(root=tmp_path, config=CONFIG, trials=2).resume("few")
    text = Page(report_html(folder)).text
    assert (
        "--name again --trials 300 # stopped behind trial 2 rlnas resume again --trials 2" in text
    )


def test_run_with_objects_of_python_is_made_again_with_them(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (80, 8, 8, 1)).astype("uint8")
    y = np.arange(80) % 2
    config = {"recipe": {"epochs": 1}, "engine": {"executor": "inline"}, "final": {"epochs": 1}}
    first = rlnas.Search((x, y), root=tmp_path, config=config, trials=2, name="own").run()
    page = Page(report_html(RunFolder(tmp_path, "own")))
    assert "which have to be given again: data" in page.text
    (line,) = (each for each in page.words if each.startswith("rlnas.Search("))
    (text,) = (each for each in page.words if "\nrecipe:" in each)
    again = rlnas.Search((x, y), root=tmp_path, config=yaml.safe_load(text), name="again").run()
    assert "yaml.safe_load" in line
    assert [each.reward for each in again.trials] == [each.reward for each in first.trials]
    rlnas.Search((x, y), root=tmp_path, config=config, trials=3).resume("own")
    text = Page(report_html(RunFolder(tmp_path, "own"))).text
    assert 'name="again", trials=2).run() rlnas.Search(..., config=config, trials=3)' in text


def test_markup_in_names_is_text(tmp_path):
    found = rlnas.Search(root=tmp_path, config=CONFIG, trials=2, name="few").run()
    folder = RunFolder(found.folder.parent, "few")
    with closing(folder.open()) as journal:
        data = {**journal.meta()["data"], "name": "<script>alert(1)</script>"}
        journal.set_meta({"data": data})
    text = report_html(folder)
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "Not explained" in text


def test_command_writes_the_file_and_tells_where(run, tmp_path, capsys):
    words = ["report", "run", "--root", str(run.folder.parent)]
    assert main(words) == 0
    assert (run.folder / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert str(run.folder / "report.html") in capsys.readouterr().out
    assert main([*words, "--to", str(tmp_path / "no" / "such.html")]) == 1
    assert "cannot write the report" in capsys.readouterr().err
    assert main(["report", "nothing", "--root", str(tmp_path)]) == 2
