"""Tables of trained networks: the space, the evaluator, and what a bad table gives."""

import gzip

import numpy as np
import pytest

from rlnas.config import RecipeConfig
from rlnas.errors import DataError, SpaceError
from rlnas.evaluation.table import FORMATS, TableEvaluator, TableFormat, read_table, with_columns
from rlnas.spaces import TableSpace, space_from_json
from rlnas.testing import check_space

TABLE = """arch,canonical,valid,test,params
00,a,50.0,51,10
01,a,60.0,61,20
10,b,70.0,40,30
12,c,65.5,80,40
"""
COLUMNS = TableFormat("arch", "valid", ("test",))


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "table.csv"
        path.write_text(text)
        return path

    return write


def test_space_keeps_the_contract():
    check_space(
        TableSpace(["00", "01", "10", "12", "21"], ["a", "a", "b", "c", "d"]),
        np.random.default_rng(0),
    )


def test_only_rows_of_the_table_can_be_written():
    space = TableSpace(["00", "01", "12"])
    assert space.mask(()).tolist() == [1, 1, 0]
    assert space.mask((0,)).tolist() == [1, 1, 0]
    assert space.mask((1,)).tolist() == [0, 0, 1]
    assert space.mask((1, 2)).tolist() == [0, 0, 0]
    assert space.architecture((1, 2)).describe() == "12"
    with pytest.raises(SpaceError, match=r"expected one of \[2\]"):
        space.architecture((1, 0))


def test_words_may_be_longer_than_a_character_and_numbers_are_sorted_as_such():
    space = TableSpace(["conv 10", "conv 9", "pool 9"])
    assert [each.choices for each in space.decisions] == [("conv", "pool"), ("9", "10")]


def test_json_gives_the_same_space():
    space = TableSpace(["00", "01"], ["a", "a"])
    again = space_from_json(space.to_json())
    assert (again.to_json(), again.size) == (space.to_json(), 1)


def test_class_has_the_metrics_of_its_first_row(write):
    table = read_table(write(TABLE), COLUMNS)
    assert (table.space.size, table.best_reward, table.best_report) == (3, 70.0, 80.0)
    metrics = TableEvaluator(table).evaluate(table.space.architecture((0, 1)), RecipeConfig(), 0)
    assert (metrics.val_accuracy, metrics.params) == ((50.0,), 10)


def test_rows_count_by_themselves_without_a_key(write):
    table = read_table(write(TABLE), with_columns(COLUMNS, key="none"))
    assert (table.space.size, table.rows["01"].reward) == (4, 60.0)


def test_report_is_the_mean_of_its_columns_and_never_a_metric(write):
    table = read_table(write(TABLE), with_columns(COLUMNS, report=("valid", "test")))
    assert table.rows["b"].report == 55.0
    metrics = TableEvaluator(table).evaluate(table.space.architecture((1, 0)), RecipeConfig(), 0)
    assert 55.0 not in metrics.val_accuracy and metrics.extra == {}


def test_mark_of_a_spreadsheet_program_is_no_part_of_the_first_name(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(TABLE, encoding="utf-8-sig")
    assert read_table(path, COLUMNS).space.size == 3


def test_compressed_table_is_read(tmp_path):
    path = tmp_path / "table.csv.gz"
    path.write_bytes(gzip.compress(TABLE.encode()))
    assert read_table(path, COLUMNS).space.size == 3


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("valid", "val", "has no column 'valid': expected one of arch, canonical, val, test"),
        (
            "01,a",
            "00,a",
            "row 2 of the table: expected each token string once, got '00'",
        ),
        (
            "10,b",
            "1,b",
            "row 3 of the table: expected a token string of 2 tokens, as",
        ),
        ("10,b", "1,0,b", "row 3: expected 5 fields, as many as the line of names has, got 6"),
        ("10,b,", "", "row 3: expected 5 fields, as many as the line of names has, got 3"),
        ("70.0", "high", "row 3, column valid: expected a finite number, got 'high'"),
        ("65.5", "nan", "row 4, column valid: expected a finite number, got 'nan'"),
        (TABLE[len("arch,canonical,valid,test,params\n") :], "", "expected at least one row"),
        (TABLE, "", "is empty: expected a line of column names"),
        ("10,b", "10,", "row 3, column canonical: expected the key of a network, got nothing"),
        ("test,params", "valid,params", "has the column 'valid' twice"),
        ("60.0", "6_0", "row 2, column valid: expected a finite number, got '6_0'"),
        ("canonical", "family", "expected one of arch, family, valid, test, params; pass --key"),
    ],
)
def test_bad_table_is_named_by_row_and_column(old, new, sentence, write):
    with pytest.raises(DataError) as error:
        read_table(write(TABLE.replace(old, new)), COLUMNS)
    assert sentence in str(error.value)


def test_column_that_is_reported_twice_is_refused(write):
    twice = with_columns(COLUMNS, report=("test", "test"))
    with pytest.raises(DataError, match="report: the column 'test' is named twice"):
        read_table(write(TABLE), twice)


def test_file_that_cannot_be_read_is_one_sentence(tmp_path):
    (tmp_path / "table.csv.gz").write_bytes(b"no gzip")
    damaged = bytearray(gzip.compress((TABLE * 50).encode()))
    damaged[20:30] = bytes(10)
    (tmp_path / "damaged.csv.gz").write_bytes(damaged)
    for name in ("absent.csv", "table.csv.gz", "damaged.csv.gz"):
        with pytest.raises(DataError, match="cannot be read as CSV"):
            read_table(tmp_path / name, COLUMNS)


@pytest.mark.parametrize(
    ("name", "file", "networks", "best"),
    [
        ("nasbench201", "nasbench201_cifar10.csv.gz", 15_625, 94.373),
        ("macro", "nas_bench_macro_cifar10.csv.gz", 3_969, 93.13),
    ],
)
def test_published_tables_are_whole(name, file, networks, best, real_data):
    columns = FORMATS[name] if name == "macro" else with_columns(FORMATS[name], key="none")
    table = read_table(real_data / "tables" / file, columns)
    assert table.space.size == networks
    assert table.best_report == pytest.approx(best, abs=0.3)
    assert np.isfinite(table.best_reward)


def test_a_report_that_is_missing_is_not_taken_for_the_key(write):
    columns = with_columns(COLUMNS, key="none", report=("none",))
    with pytest.raises(DataError, match=r"has no column 'none': expected one of [a-z, ]+$"):
        read_table(write(TABLE), columns)
