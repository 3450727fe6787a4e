"""`relubench check`: a table that was really trained agrees; a changed digit is found, whichever it is."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relubench.__main__ import run
from relubench.errors import UsageError
from relubench.reports.audit import audit
from relubench.reports.comparison import compare
from relubench.reports.saved import read_table
from tests.cli.fakes import Cli, training_here


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two activations on the digits, two seeds each, as `--format json` writes them."""
    folder = tmp_path_factory.mktemp("check")
    arguments = ["train", "--act", "relu,tanh", "--dataset", "digits", "--model", "mlp-1x16", "--epochs", "2"]
    arguments += ["--seeds", "3", "--quiet", "--runs-dir", str(folder / "runs"), "--output", str(folder / "table.json")]
    with pytest.MonkeyPatch.context() as patch, training_here():
        patch.setenv("RELUBENCH_CACHE_DIR", str(folder / "cache"))
        assert run(arguments) == 0
    return json.loads((folder / "table.json").read_text())


def check(cli: Cli, tmp_path: Path, content: Any) -> tuple[int, list[dict[str, Any]], str]:
    """The exit code, the numbers that disagree, and stderr."""
    path = tmp_path / "table.json"
    path.write_text(json.dumps(content))
    ended = cli("check", str(path), "--format", "json")
    return ended.code, json.loads(ended.out)["rows"] if ended.out else [], ended.err


def test_what_was_trained_agrees(cli: Cli, tmp_path: Path, table: dict[str, Any]) -> None:
    code, rows, err = check(cli, tmp_path, table)
    assert (code, rows) == (0, [])
    assert "numbers that follow from others agree: 2 rows and 6 runs" in err


ROW_KEYS = (
    *("n", "test_error_pct", "test_error_ci_low_pct", "test_error_ci_high_pct", "valid_error_pct"),
    *("difference_pct", "difference_ci_low_pct", "difference_ci_high_pct", "difference_p", "detectable_difference_pct"),
    *("lr", "parameters", "sparsity_pct", "dead_units_pct", "epochs", "seconds", "n_learned"),
)


@pytest.mark.parametrize("key", ROW_KEYS)
def test_a_changed_number_of_a_row_is_found(cli: Cli, tmp_path: Path, table: dict[str, Any], key: str) -> None:
    changed = json.loads(json.dumps(table))
    value = changed["rows"][1][key]
    assert value is not None
    changed["rows"][1][key] = value + (1 if isinstance(value, int) else 1e-6)
    code, rows, _ = check(cli, tmp_path, changed)
    assert (code, [(row["place"], row["key"]) for row in rows]) == (1, [("row 2, tanh", key)])
    assert rows[0]["derived"] == value


@pytest.mark.parametrize("key", ["outcome", "verdict", "difference_verdict", "verdict_reason", "init"])
def test_a_changed_word_of_a_row_is_found(cli: Cli, tmp_path: Path, table: dict[str, Any], key: str) -> None:
    changed = json.loads(json.dumps(table))
    changed["rows"][1][key] = "better"
    code, rows, _ = check(cli, tmp_path, changed)
    assert code == 1
    assert [(row["key"], row["in_file"]) for row in rows] == [(key, "better")]


def _flip(record: dict[str, Any]) -> None:
    record["test_wrong"] = record["test_wrong"][:-4] + "AAAA"


RUN_CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "id": lambda record: record.update(id="0" * 16),
    "id of another rate": lambda record: record["spec"].update(lr=0.2),
    "id of another seed's stream": lambda record: record["spec"].update(torch="1.0"),
    "test_error_pct": lambda record: record.update(test_error_pct=record["test_error_pct"] + 1 / 3.6),
    "valid_error_pct": lambda record: record.update(valid_error_pct=record["valid_error_pct"] + 0.1),
    "best_epoch": lambda record: record.update(best_epoch=3 - record["best_epoch"]),
    "epochs": lambda record: record.update(epochs=3),
    "sparsity_pct": lambda record: record.update(sparsity_pct=record["sparsity_pct"] + 0.001),
    "dead_units_pct": lambda record: record.update(dead_units_pct=record["dead_units_pct"] + 0.001),
    "test_wrong": _flip,
    "curve": lambda record: record["curve"][record["best_epoch"] - 1].update(valid_error_pct=0.0),
}


@pytest.mark.parametrize("name", list(RUN_CHANGES))
def test_a_changed_run_is_found(cli: Cli, tmp_path: Path, table: dict[str, Any], name: str) -> None:
    changed = json.loads(json.dumps(table))
    RUN_CHANGES[name](changed["runs"][3])
    code, rows, _ = check(cli, tmp_path, changed)
    assert code == 1 and rows
    expected = {"id of another rate": "id", "id of another seed's stream": "id", "curve": "valid_error_pct"}
    if name != "test_wrong":
        assert expected.get(name, name) in {row["key"] for row in rows if row["place"].startswith("run ")}


def test_people_read_what_disagrees(cli: Cli, tmp_path: Path, table: dict[str, Any]) -> None:
    changed = json.loads(json.dumps(table))
    changed["rows"][0]["test_error_pct"] = 1.5
    path = tmp_path / "table.json"
    path.write_text(json.dumps(changed))
    ended = cli("check", str(path), "--format", "table")
    assert ended.code == 1
    assert "row 1, relu" in ended.out and "test_error_pct" in ended.out and "disagree" in ended.out


SPEED = '{"command": "speed", "version": "1", "rows": [], "runs": []}'


@pytest.mark.parametrize("content", ["", "[]", "{}", "not JSON", SPEED])
def test_what_is_no_table_is_refused(cli: Cli, tmp_path: Path, content: str) -> None:
    path = tmp_path / "table.json"
    path.write_text(content)
    ended = cli("check", str(path))
    assert ended.code == 2 and "hint: " in ended.err


def test_a_table_without_its_flag_is_told_of_it(cli: Cli, tmp_path: Path) -> None:
    ended = cli("check", str(tmp_path / "theirs.csv"))
    assert ended.code == 2 and "relubench check --table" in ended.err


def test_hostile_values_are_findings_and_no_traceback(cli: Cli, tmp_path: Path, table: dict[str, Any]) -> None:
    for key, value in (("timing", 3), ("curve", "x"), ("probes", [1]), ("test_wrong", "x"), ("dead_units", [{}])):
        changed = json.loads(json.dumps(table))
        changed["runs"][0][key] = value
        code, rows, err = check(cli, tmp_path, changed)
        assert code == 1 and rows, (key, err)


def test_a_row_that_is_renamed_gone_or_repeated_is_found(cli: Cli, tmp_path: Path, table: dict[str, Any]) -> None:
    renamed, shorter, longer = (json.loads(json.dumps(table)) for _ in range(3))
    renamed["rows"][1]["activation"] = "foo"
    del shorter["rows"][1]
    longer["rows"].append(longer["rows"][0])
    for changed, place in ((renamed, "row 2, foo"), (shorter, "runs of tanh"), (longer, "row 3, relu")):
        code, rows, _ = check(cli, tmp_path, changed)
        assert code == 1 and place in [row["place"] for row in rows]


VALUES = (None, "x", -1, 1e300, [], {}, [None], {"a": 1}, True, 1.5, 10**30)
PYTHON = (
    "NoneType",
    "argument",
    "subscriptable",
    "object is",
    "__",
    "iterable",
    "operand",
    "Error",
    "not in",
    "mapping",
)


def _places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, item in inner for place in [(*above, key), *_places(item, (*above, key))]]


@pytest.mark.parametrize("seed", range(4))
def test_damage_of_any_kind_is_told_in_plain_words(tmp_path: Path, table: dict[str, Any], seed: int) -> None:
    """Any value replaced by one of another kind, or left out, is refused or reported by its place."""
    rng, path = random.Random(seed), tmp_path / "table.json"
    places = _places(table)
    (tmp_path / "sound.json").write_text(json.dumps(table))
    sound = read_table(tmp_path / "sound.json")
    for _ in range(25):
        damaged = json.loads(json.dumps(table))
        *above, key = rng.choice(places)
        holder = damaged
        for name in above:
            holder = holder[name]
        if rng.random() < 0.2:
            del holder[key]
        else:
            holder[key] = rng.choice(VALUES)
        path.write_text(json.dumps(damaged))
        for judge in (lambda: audit(path).rows, lambda: compare([sound, read_table(path)]).rows):
            try:
                texts = [str(row.get("derived")) for row in judge()]
            except UsageError as error:
                texts = [error.message.replace(str(path), "")]
            assert not [text for text in texts if any(word in text for word in PYTHON)]


def test_a_value_of_another_kind_is_named_by_its_place(cli: Cli, tmp_path: Path, table: dict[str, Any]) -> None:
    damaged = json.loads(json.dumps(table))
    damaged["runs"][0]["curve"][1]["lr"] = "fast"
    del damaged["runs"][1]["spec"]["momentum"]
    code, rows, _ = check(cli, tmp_path, damaged)
    named = {row["key"]: row["derived"] for row in rows}
    assert code == 1
    assert named["curve[1].lr"] == "a number"
    assert named["spec.momentum"] == "a number, and it is missing"


def test_a_file_that_is_no_text_is_refused(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_bytes(b"\xff\xfe\x00")
    assert "it is no text in UTF-8" in cli("check", str(path)).err
    path.write_text("[" * 100_000)
    assert "nested too deeply" in cli("check", str(path)).err


def _changed(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    return value + ("x" if isinstance(value, str) else 1)


def test_a_change_of_any_kind_of_value_is_found(tmp_path: Path, table: dict[str, Any]) -> None:
    """One value of each kind: only what the file says of itself follows from nothing."""
    path, missed, kinds = tmp_path / "table.json", set(), set()
    for *above, key in _places(table):
        holder = changed = json.loads(json.dumps(table))
        for name in above:
            holder = holder[name]
        kind = tuple("*" if isinstance(name, int) else name for name in (*above, key))
        if kind in kinds or holder[key] is None or isinstance(holder[key], dict | list):
            continue
        kinds.add(kind)
        holder[key] = _changed(holder[key])
        path.write_text(json.dumps(changed))
        try:
            if not audit(path).rows:
                missed.add(".".join(kind))
        except UsageError:
            continue
    assert len(kinds) > 80
    # `words` are what people read: sentences that no number is taken from.
    assert {name for name in missed if not name.startswith("words.")} == {"version", "device", "command"}
