"""Reads a user's table, .csv or .parquet, as columns of numbers and of text. Torch-free.

A column is one of numbers if every value that is not missing is a number. One that is half numbers and half text is
refused, and so are numbers with decimal commas: both could be read in more than one way.
"""

from __future__ import annotations

import contextlib
import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from relubench.data.memory import check_room
from relubench.data.notes import format_count, format_names
from relubench.data.tables.column import TableColumn
from relubench.errors import ComputeError, DataError

if TYPE_CHECKING:
    import polars

SUFFIXES = (".csv", ".parquet")
MOST_COLUMNS = 20_000
"""Columns of a file, and inputs of a network: a first layer of 1,000 units has twenty million weights then."""
HEADER_BYTES = 2**24
"""The most that is read of a first line."""
SEPARATORS = ",;\t|"
MISSING = ("", "na", "n/a", "nan", "null", "none", "?", "-")
"""What stands in a file for a missing value, in any case."""
MIXED_SHARE = 0.5
"""A column with at least this share of numbers, and some text, is no column of categories."""
DECIMAL_COMMA = re.compile(r"[+-]?\d[\d.]*,\d+")
SHOWN = 40
"""Characters of a value that an error shows."""


def read_table(path: Path) -> list[TableColumn]:
    """The columns of a table in their order; raises DataError with the column and the value that cannot be read."""
    check_room(str(path), path.stat().st_size)
    frame = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    if not frame.height:
        _refuse(path, "has no rows", "give a table with a header line and a row for each example")
    return [_column(path, frame[name]) for name in frame.columns]


def _polars() -> None:
    """Raises ComputeError where the library that reads tables is missing."""
    try:
        import polars  # noqa: F401
    except ImportError as error:
        raise ComputeError(
            f"tables are read by polars, which cannot be imported: {error}", "pip install polars"
        ) from error


def _read_csv(path: Path) -> polars.DataFrame:
    names, separator = _header(path)
    _check_columns(path, names)
    _polars()
    import polars

    with _as_data_error(path):
        return polars.read_csv(path, separator=separator, infer_schema=False, glob=False)


def _read_parquet(path: Path) -> polars.DataFrame:
    _polars()
    import polars

    with _as_data_error(path):
        _check_columns(path, [*polars.read_parquet_schema(path)])
        return polars.read_parquet(path)


@contextlib.contextmanager
def _as_data_error(path: Path) -> Iterator[None]:
    """Turns what polars says of a file that it cannot read into a DataError that names the file."""
    try:
        yield
    except DataError:
        raise
    # It raises kinds of its own, panics of its Rust code among them, which are no Exception.
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        reason = " ".join(str(error).split("\n\n")[0].split()) or type(error).__name__
        _refuse(path, f"cannot be read as a table: {reason[:200]}", "every line needs as many values as the header")


def _header(path: Path) -> tuple[list[str], str]:
    """The names in the first line of a .csv file, and the character that stands between them."""
    with path.open("rb") as file:
        line = file.readline(HEADER_BYTES)
    try:
        # A line that was cut may end within a character.
        text = line.decode("utf-8-sig", errors="ignore" if len(line) == HEADER_BYTES else "strict")
    except UnicodeDecodeError:
        _refuse(path, "is not UTF-8", f"write it anew: iconv -f latin1 -t utf8 {path.name} > utf8.csv")
    if not text.strip():
        _refuse(path, "is empty" if not line else "has an empty first line", "the first line names the columns")
    separator = max(SEPARATORS, key=text.count)
    try:
        names = next(csv.reader([text], delimiter=separator))
    except csv.Error as error:
        _refuse(path, f"has a first line that cannot be split into names: {error}", "the first line names the columns")
    if all(_is_number(name) for name in names):
        fault = f"has no header: its first line is {format_names(names)}"
        _refuse(path, fault, "put a line with the names of the columns before it")
    return names, separator


def _check_columns(path: Path, names: Sequence[str]) -> None:
    if len(names) > MOST_COLUMNS:
        hint = "keep the columns that matter, or reduce them first, for example by a principal component analysis"
        _refuse(path, f"has {len(names):,} columns, and {MOST_COLUMNS:,} are the most", hint)
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        _refuse(path, f"has two columns called {format_names(twice)}", "give each column a name of its own")
    if len(names) < 2:
        hint = f"columns are split at one of {' '.join(SEPARATORS.replace(chr(9), ''))} or at tabs"
        _refuse(path, f"has one column only ({_shown(next(iter(names)))})", f"one is predicted from others; {hint}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _column(path: Path, series: polars.Series) -> TableColumn:
    import polars

    kind = series.dtype
    if kind.is_numeric():
        numbers = series.cast(polars.Float64).fill_null(float("nan")).to_numpy()
        return TableColumn(series.name, numbers=_finite(path, series.name, np.array(numbers)))
    if kind in (polars.Boolean, polars.String, polars.Categorical, polars.Enum):
        texts = series.cast(polars.String).fill_null("").str.strip_chars()
        return _of_texts(path, texts.set(texts.str.to_lowercase().is_in(MISSING), ""))
    hint = f"leave it out: --set data.ignore=[{series.name}], or make numbers of it"
    _refuse(path, f"has values of the type {kind} in {_shown(series.name)}", hint)


def _of_texts(path: Path, texts: polars.Series) -> TableColumn:
    """A column of numbers if all are, else one of texts; raises DataError where it is half of each."""
    import polars

    name, present = texts.name, texts != ""
    numbers = texts.cast(polars.Float64, strict=False)
    is_text = present & numbers.is_null()
    if not is_text.any():
        return TableColumn(name, numbers=_finite(path, name, np.array(numbers.fill_null(float("nan")).to_numpy())))
    true_texts = texts.filter(is_text)
    if all(DECIMAL_COMMA.fullmatch(text) for text in true_texts.head(1000).to_list()):
        hint = "write decimal points, with a comma, semicolon or tab between columns"
        _refuse(path, f"has decimal commas in {_shown(name)}: {_shown(true_texts[0])}", hint)
    num_numbers = int(present.sum()) - len(true_texts)
    if num_numbers and num_numbers >= MIXED_SHARE * int(present.sum()):
        row = int(is_text.arg_max() or 0) + 1
        counts = f"{format_count(num_numbers, 'number')} and {format_count(len(true_texts), 'text')}"
        hint = f"leave the cell empty where a value is missing, or leave the column out: --set data.ignore=[{name}]"
        _refuse(path, f"has {counts} in {_shown(name)}, the first text ({_shown(true_texts[0])}) in row {row:,}", hint)
    return TableColumn(name, texts=texts.to_numpy().astype(str))


def _finite(path: Path, name: str, numbers: np.ndarray) -> np.ndarray:
    """The numbers, of which NaN are missing; raises DataError where one is infinite."""
    is_infinite = np.isinf(numbers)
    if count := int(is_infinite.sum()):
        row = int(is_infinite.argmax()) + 1
        fault = f"has {format_count(count, 'infinite value')} in {_shown(name)}, the first in row {row:,}"
        _refuse(path, fault, "replace them by numbers, or leave the cells empty: then they are missing")
    return numbers


def _shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")


def _refuse(path: Path, fault: str, hint: str) -> NoReturn:
    raise DataError(f"{path} {fault}", hint)
