"""A user's own tables: what is predicted, what the inputs become, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest

from relubench.data import DataOptions, arrays, prepare
from relubench.data.prepared import PreparedData
from relubench.data.tables import file
from relubench.errors import DataError, UsageError

N = 60
RNG = np.random.default_rng(0)
AREA = RNG.normal(100, 20, N).round(2)
TOWN = np.array(["Ulm", "Bonn", "Kiel"])[np.arange(N) % 3]
PRICE = (3 * AREA + 7 * (TOWN == "Bonn")).round(3)

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a table of houses as own.csv with some columns changed, added, or (None) left out."""

    def make(separator: str = ",", suffix: str = ".csv", **changes: Any) -> Path:
        columns = {"area": AREA, "town": TOWN, "price": PRICE, **changes}
        texts = {name: [str(value) for value in values] for name, values in columns.items() if values is not None}
        path = tmp_path / f"own{suffix}"
        if suffix == ".parquet":
            polars.DataFrame({name: values for name, values in columns.items() if values is not None}).write_parquet(
                path
            )
        else:
            lines = [texts, *zip(*texts.values(), strict=True)]
            path.write_text("".join(separator.join(line) + "\n" for line in lines), "utf-8")
        return path

    return make


def prepared(path: Path, target: str = "price", **options: Any) -> PreparedData:
    return prepare(str(path), options=DataOptions(target=target, **options))


def with_values(values: np.ndarray, changes: dict[int, Any]) -> list[Any]:
    """The values with some replaced, as they stand in a file."""
    return [changes.get(row, value) for row, value in enumerate(values.tolist())]


def test_a_number_is_predicted_from_standardised_numbers_and_one_hot_categories(write: Write) -> None:
    data = prepared(write())
    assert (data.task, data.classes, data.input_shape) == ("regression", 1, (4,))
    assert (data.n_train, data.n_valid, data.n_test) == (36, 12, 12)
    x, y = arrays(data, "train")
    assert x.dtype == y.dtype == np.float32 and y.shape == (36, 1)
    np.testing.assert_allclose([x[:, 0].mean(), x[:, 0].std(), y.mean(), y.std()], [0, 1, 0, 1], atol=1e-5)
    assert set(np.unique(x[:, 1:])) == {0, 1} and (x[:, 1:].sum(axis=1) == 1).all()
    assert data.facts is not None
    assert "the target price is a number" in data.facts.notes[0] and "regression" in data.facts.notes[0]
    # y = 3 area + 7 [Bonn] holds in all parts, in the units of the training part: nothing was fitted to the others.
    x_all = np.concatenate([arrays(data, split)[0] for split in ("train", "valid", "test")])
    y_all = np.concatenate([arrays(data, split)[1] for split in ("train", "valid", "test")])
    fitted = np.linalg.lstsq(x[:, :], y, rcond=None)[0]
    np.testing.assert_allclose(x_all @ fitted, y_all, atol=1e-4)


def test_a_text_target_is_a_class_and_so_are_a_few_whole_numbers(write: Write) -> None:
    data = prepared(write(), "town")
    assert (data.task, data.classes) == ("classification", 3)
    assert data.facts is not None and data.facts.names == ("Bonn", "Kiel", "Ulm")
    assert "text of 3 values (Bonn, Kiel, Ulm): classification" in data.facts.notes[0]
    rooms = prepared(write(price=np.arange(N) % 4))
    assert (rooms.task, rooms.classes) == ("classification", 4)
    assert prepared(write(price=np.arange(N) % 4), task="regression").task == "regression"
    assert prepared(write(price=np.arange(N))).task == "regression"


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_other_separators_and_parquet_give_the_same_arrays(write: Write, separator: str) -> None:
    expected = arrays(prepared(write()), "test")
    for found in (prepared(write(separator)), prepared(write(suffix=".parquet"))):
        np.testing.assert_array_equal(arrays(found, "test")[0], expected[0])
        np.testing.assert_array_equal(arrays(found, "test")[1], expected[1])


def test_missing_values_are_stated_and_their_rows_stay(write: Write) -> None:
    gaps = {row: "" if row % 2 else "NaN" for row in range(0, N, 5)}
    data = prepared(write(area=with_values(AREA, gaps), town=with_values(TOWN, {1: "?", 2: "NA", 7: "", 8: ""})))
    assert data.facts is not None and data.n_train + data.n_valid + data.n_test == N
    assert any("missing values: area (12), town (4)" in note for note in data.facts.notes)
    # The area and whether it is missing, and four categories: a missing town is one.
    assert data.input_shape == (6,)
    x, _ = arrays(data, "train")
    assert (x[x[:, 1] == 1, 0] == 0).all() and 0 < x[:, 1].mean() < 0.5


@pytest.mark.parametrize("gaps", [{3: "", 4: "n/a"}, {0: "nan"}])
def test_rows_without_a_target_are_refused(write: Write, gaps: dict[int, str]) -> None:
    message = f"{len(gaps)} rows? without a value of its target 'price', the first is row {min(gaps) + 1}"
    with pytest.raises(DataError, match=message):
        prepared(write(price=with_values(PRICE, gaps)))


def test_a_category_that_training_lacks_is_refused(write: Write) -> None:
    refused = 0
    for row in range(N):
        try:
            prepared(write(town=with_values(TOWN, {row: "Trier"})))
        except DataError as error:
            refused += 1
            assert "1 validation or test row with a category in 'town' that no training row has: Trier" in str(error)
            assert "data.ignore=[town]" in (error.hint)
    assert refused == 2 * (N // 5)


def test_columns_can_be_left_out_and_constant_ones_are(write: Write) -> None:
    path = write(id=np.arange(N).astype("U3").tolist(), same=["x"] * N, zero=[0] * N)
    data = prepared(path, ignore=("id",))
    assert data.input_shape == (4,) and data.facts is not None
    assert any("left out, because training has one value only: same, zero" in note for note in data.facts.notes)


def names_of(count: int) -> list[str]:
    return [f"name {number}" for number in range(count)]


@pytest.mark.parametrize(
    ("changes", "options", "error", "message", "hint"),
    [
        ({}, {"target": "prize"}, UsageError, "--target: .*own.csv has no column 'prize'", "did you mean price"),
        ({}, {"ignore": ("twon",)}, UsageError, "data.ignore: .*own.csv has no column 'twon'", "did you mean town"),
        ({}, {"ignore": ("price",)}, UsageError, "data.ignore leaves out the target", "leave it out"),
        ({}, {"target": None}, UsageError, "own.csv is a table: which of its columns is predicted", "--target COLUMN"),
        ({}, {"target": "town", "task": "regression"}, UsageError, "'town' of .* is text, such as 'Bonn'", "numbers"),
        ({"price": [7.5] * N}, {}, DataError, "one value only in its target 'price': 7.5", "another column"),
        ({"price": names_of(N)}, {}, UsageError, "has 60 different values in its target 'price'", "--target"),
        ({"town": names_of(N)}, {}, DataError, "different texts in 'town'", r"data.ignore=\[town\]"),
        ({"area": with_values(AREA, {9: "inf"})}, {}, DataError, "1 infinite value in 'area', the first in row 10", ""),
        ({"price": with_values(PRICE, {9: "-1e999"})}, {}, DataError, "1 infinite value in 'price'", "leave the cells"),
        (
            {"area": with_values(AREA, {4: "big"})},
            {},
            DataError,
            "59 numbers and 1 text in 'area', .*'big'. in row 5",
            "",
        ),
        (
            {"area": [f'"{value:.1f}"'.replace(".", ",") for value in AREA]},
            {},
            DataError,
            "decimal commas in 'area'",
            "",
        ),
        ({"area": [1e308] * 30 + [-1e308] * 30}, {}, DataError, "'area' that are too large", "rescale"),
        ({"area": None, "town": ["Ulm"] * N}, {}, DataError, "no column that varies beside its target", "give columns"),
        ({"area": None, "town": None}, {}, DataError, "has one column only", "split at one of"),
    ],
)
def test_tables_that_cannot_be_used_are_refused(
    write: Write, changes: dict[str, Any], options: dict[str, Any], error: type[Exception], message: str, hint: str
) -> None:
    path = write(**changes)
    with pytest.raises(error, match=message) as caught:
        prepare(str(path), options=DataOptions(**{"target": "price", **options}))
    assert re.search(hint, caught.value.hint), caught.value.hint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "own.csv is empty"),
        (b"\n1,2\n", "has an empty first line"),
        (b"area,price\n", "has no rows"),
        (b"area,price\n1,2\n3,4\n", "has 2 rows"),
        (b"1.5,2.5\n3.5,4.5\n", "has no header: its first line is 1.5, 2.5"),
        (b"area,area,price\n1,2,3\n", "has two columns called area"),
        (b"area,price\n1,2\n1,2,3\n", "cannot be read as a table"),
        (b"x" * 200_000 + b",price\n1,2\n", "first line that cannot be split into names"),
        ("größe;preis\n1;2\n".encode("latin1"), "is not UTF-8"),
    ],
)
def test_files_that_are_no_tables_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "own.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        prepared(tmp_path / "own.csv")
    (tmp_path / "own.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"own.parquet .*"):
        prepared(tmp_path / "own.parquet")


@pytest.mark.parametrize("name", ["c", "Größe in Metern"])
def test_a_million_columns_are_refused_by_the_first_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(file, "_polars", lambda: pytest.fail("the table is parsed"))
    path = tmp_path / "own.csv"
    path.write_text(",".join(f"{name}{number}" for number in range(1_000_000)) + "\n", encoding="utf-8")
    # Of the long names no more than 16 MB are read.
    with pytest.raises(DataError, match=r"has [\d,]+ columns, and 20,000 are the most"):
        prepared(path, "c1")


def test_columns_of_parquet_are_refused_by_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "own.parquet"
    polars.DataFrame({f"c{number}": [0.0] for number in range(20_001)}).write_parquet(path)
    monkeypatch.setattr(polars, "read_parquet", lambda *_: pytest.fail("the table is read"))
    with pytest.raises(DataError, match="has 20,001 columns, and 20,000 are the most"):
        prepared(path, "c1")


@pytest.mark.parametrize("row", range(0, N, 7))
def test_a_class_of_one_row_trains_and_a_warning_says_that_nothing_tests_it(write: Write, row: int) -> None:
    data = prepared(write(town=with_values(TOWN, {row: "Trier"})), "town")
    assert data.facts is not None and data.facts.parts["train"].counts[2] == 1
    assert "no test row of the class Trier" in data.facts.warnings


def test_options_of_tables_are_refused_elsewhere() -> None:
    with pytest.raises(UsageError, match="--target price names a column of a table: digits is none"):
        prepare("digits", options=DataOptions(target="price"))
    with pytest.raises(UsageError, match=r"data.task is for data of your own: digits poses classification"):
        prepare("digits", options=DataOptions(task="regression"))


def test_a_row_is_repeated_only_with_its_target(write: Write) -> None:
    few = {"area": np.resize([80, 90, 100], N), "town": np.resize(["Ulm", "Bonn"], N)}
    different = prepared(write(**few, price=PRICE)).facts
    assert different is not None and not any("also training rows" in line for line in different.warnings)
    equal = prepared(write(**few, price=np.resize([1.5, 2.5, 3.5, 4.5, 5.5, 6.5], N))).facts
    assert equal is not None and equal.parts["test"].repeated == 12
    assert "are also training rows, in every value and the target" in equal.warnings[0]
