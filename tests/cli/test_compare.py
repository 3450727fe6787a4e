"""`relubench compare`: saved results beside each other, and every file that it refuses."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relubench.cli.output import Target, emit_report
from relubench.reports.report import run_records
from relubench.reports.training.summary import summarize
from relubench.reports.training.table import training_report
from relubench.runs.result import RunResult
from relubench.statistics.example_scores import pack, unpack
from tests.cli.fakes import Cli, result, timing

FORMATS = ("table", "tsv", "csv", "json", "jsonl", "markdown", "latex")


def wrong(run: RunResult, rate: float) -> np.ndarray:
    rng = np.random.default_rng([run.spec["seed"], *run.spec["activation"].encode()])
    return rng.random(run.test_examples) < rate


def save(path: Path, rates: dict[str, float], seeds: tuple[int, ...] = (0, 1, 2), **spec: Any) -> Path:
    """A training table of 2000 test examples, as `train --format json` writes it; an error rate for each activation."""
    results, masks = [], {}
    for act, rate in rates.items():
        for seed in seeds:
            base = result(act, seed, data_digest="d" * 64, **spec)
            fresh = RunResult.from_json({**base.to_json(), "test_examples": 2000})
            mask = wrong(fresh, rate)
            fresh = RunResult.from_json({**fresh.to_json(), "test_error_pct": float(100 * mask.mean())})
            results.append(fresh)
            masks[fresh.id] = mask
    timings = {run.id: timing() for run in results}
    summary = summarize(results, timings, lambda run: masks[run.id])
    records = run_records(results, timings, lambda run: masks[run.id])
    emit_report(training_report(summary, device="A", runs=records), Target(format="json", path=path), quiet=True)
    return path


def edit(path: Path, **changes: Any) -> Path:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return path


def rows(cli: Cli, *files: Path) -> list[dict[str, Any]]:
    ended = cli("compare", *map(str, files), "--format", "json", "--quiet")
    assert ended.code == 0, ended.err
    return json.loads(ended.out)["rows"]


def test_a_mask_survives_its_text() -> None:
    mask = np.arange(13) % 3 == 0
    assert np.array_equal(unpack(pack(mask), 13), mask)
    with pytest.raises(ValueError, match="do not hold"):
        unpack(pack(mask), 100)


def test_the_same_file_twice_is_identical(cli: Cli, tmp_path: Path) -> None:
    a = save(tmp_path / "a.json", {"relu": 0.05, "tanh": 0.1})
    b = edit(save(tmp_path / "b.json", {"relu": 0.05, "tanh": 0.1}), version="0.2.0")
    assert [(row["verdict"], row["difference_pct"]) for row in rows(cli, a, b)] == [("identical", 0.0)] * 2
    shown = cli("compare", str(a), str(b), "--format", "table").out
    assert "version 0.1.0 -> 0.2.0" in shown and "2 identical (relu, tanh)" in shown


def test_a_change_is_found_paired_and_its_cause_named(cli: Cli, tmp_path: Path) -> None:
    a = save(tmp_path / "a.json", {"relu": 0.05, "tanh": 0.1, "gelu": 0.1})
    b = save(tmp_path / "b.json", {"relu": 0.12, "tanh": 0.1, "silu": 0.1}, lr=0.01)
    relu, tanh = rows(cli, a, b)
    assert (relu["verdict"], relu["in_common"]) == ("higher", "seeds and examples")
    assert relu["difference_ci_low_pct"] > 0 and relu["difference_pct"] == pytest.approx(7, abs=1.5)
    assert relu["difference_p"] < 0.05 and relu["seconds_ratio"] == 1.0
    # Another rate, and by chance not one example changed.
    assert (tanh["verdict"], tanh["difference_pct"]) == ("same", 0.0)
    shown = cli("compare", str(a), str(b), "--format", "table").out
    assert "lr 0.1 -> 0.01" in shown
    assert "only in a.json: gelu (digits, mlp-3x128)" in shown and "only in b.json: silu (digits" in shown


def test_other_seeds_are_paired_by_example_only(cli: Cli, tmp_path: Path) -> None:
    a, b = save(tmp_path / "a.json", {"relu": 0.05}), save(tmp_path / "b.json", {"relu": 0.05}, seeds=(7, 8, 9))
    (row,) = rows(cli, a, b)
    assert (row["verdict"], row["in_common"]) == ("noise", "examples")


def test_without_masks_the_interval_is_unpaired_and_wider(cli: Cli, tmp_path: Path) -> None:
    a, b = save(tmp_path / "a.json", {"relu": 0.05}), save(tmp_path / "b.json", {"relu": 0.12}, lr=0.01)
    (paired,) = rows(cli, a, b)
    runs = json.loads(a.read_text())["runs"]
    edit(a, runs=[{key: value for key, value in run.items() if key != "test_wrong"} for run in runs])
    (row,) = rows(cli, a, b)
    assert (row["verdict"], row["in_common"], row["difference_pct"]) == ("higher", "nothing", paired["difference_pct"])
    assert "unpaired, from the printed intervals" in cli("compare", str(a), str(b), "--format", "table").out


def test_another_test_set_is_not_paired(cli: Cli, tmp_path: Path) -> None:
    a = save(tmp_path / "a.json", {"relu": 0.05})
    b = save(tmp_path / "b.json", {"relu": 0.05})
    content = json.loads(b.read_text())
    for run in content["runs"]:
        run["spec"]["data_digest"] = "e" * 64
    edit(b, runs=content["runs"])
    assert rows(cli, a, b)[0]["in_common"] == "nothing"
    assert "data digest dddddddd -> eeeeeeee" in cli("compare", str(a), str(b), "--format", "table").out


def test_three_files_name_theirs(cli: Cli, tmp_path: Path) -> None:
    files = [save(tmp_path / f"{name}.json", {"relu": rate}) for name, rate in (("a", 0.05), ("b", 0.05), ("c", 0.2))]
    assert [(Path(row["file"]).name, row["verdict"]) for row in rows(cli, *files)] == [
        ("b.json", "identical"),
        ("c.json", "higher"),
    ]


def test_variants_of_a_study_and_strengths_of_noise_are_rows_of_their_own(cli: Cli, tmp_path: Path) -> None:
    files = []
    for name, rate in (("a", 0.05), ("b", 0.2)):
        few = json.loads(save(tmp_path / "few.json", {"relu": rate}, variant="few labels").read_text())
        many = json.loads(save(tmp_path / "many.json", {"relu": 0.05}, variant="all labels").read_text())
        noisy = {**many["rows"][0], "test_noise": 0.5, "test_error_pct": 100 * rate}
        noisy |= {"test_error_ci_low_pct": 100 * rate - 1, "test_error_ci_high_pct": 100 * rate + 1}
        runs = [
            {**run, "id": f"{run['spec']['variant']} {run['id']}"} for table in (few, many) for run in table["runs"]
        ]
        rows_of = [
            {**few["rows"][0], "variant": "few labels"},
            *({**row, "variant": "all labels"} for row in (many["rows"][0], noisy)),
        ]
        files.append(edit(save(tmp_path / f"{name}.json", {"relu": 0.05}), rows=rows_of, runs=runs))
    found = rows(cli, *files)
    assert [(row["variant"], row["test_noise"], row["verdict"], row["in_common"]) for row in found] == [
        ("few labels", 0.0, "higher", "seeds and examples"),
        ("all labels", 0.0, "identical", "seeds and examples"),
        ("all labels", 0.5, "higher", "nothing"),
    ]
    told = cli("compare", *map(str, files), "--format", "table").out
    assert "test noise" in told and "1 identical (relu (all labels, test noise 0))" in " ".join(told.split())


@pytest.mark.parametrize("format", FORMATS)
def test_every_format(cli: Cli, tmp_path: Path, format: str) -> None:
    a, b = save(tmp_path / "a.json", {"relu": 0.05}), save(tmp_path / "b.json", {"relu": 0.12}, lr=0.01)
    ended = cli("compare", str(a), str(b), "--format", format, "--quiet")
    assert (ended.code, ended.err) == (0, "")
    word = r"\textsuperscript{*}" if format == "latex" else "higher"
    assert "relu" in ended.out and word in ended.out and "\x1b" not in ended.out


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("{", "is not JSON"),
        ("[1]", "is JSON, but not a result of relubench"),
        ('{"rows": []}', "is JSON, but not a result of relubench"),
        ('{"command": "speed", "version": "1", "rows": [{"name": "relu"}], "runs": []}', "a result of 'speed'"),
        ('{"command": "train", "version": "1", "rows": [], "runs": []}', "no training table"),
    ],
)
def test_a_bad_file_is_refused_by_name(cli: Cli, tmp_path: Path, content: str, rule: str) -> None:
    a, bad = save(tmp_path / "a.json", {"relu": 0.05}), tmp_path / "bad.json"
    bad.write_text(content)
    ended = cli("compare", str(a), str(bad))
    assert (ended.code, ended.out) == (2, "")
    assert len(ended.err.splitlines()) == 2
    assert str(bad) in ended.err and rule in ended.err


def test_what_cannot_be_compared_is_refused(cli: Cli, tmp_path: Path) -> None:
    a, b = save(tmp_path / "a.json", {"relu": 0.05}), save(tmp_path / "b.json", {"tanh": 0.05})
    assert "have no row in common" in cli("compare", str(a), str(b)).err
    assert "compare needs two files or more, got 1" in cli("compare", str(a)).err
    assert "cannot be read: No such file" in cli("compare", str(a), str(tmp_path / "c.json")).err
    content = json.loads(a.read_text())
    edit(a, runs=[{**run, "test_wrong": "!"} for run in content["runs"]])
    assert "the test results of a run cannot be read" in cli("compare", str(a), str(b)).err
    edit(a, runs=content["runs"], rows=content["rows"] * 2)
    assert "two rows of relu" in cli("compare", str(a), str(b)).err


def test_interval_and_word_agree_and_what_could_have_been_seen_is_said(cli: Cli, tmp_path: Path) -> None:
    """Two seeds whose trainings differ widely: a large difference of wide interval is noise, and the table says why."""
    rates = {"relu": 0.05, "tanh": 0.1, "elu": 0.07}
    a = save(tmp_path / "a.json", rates, seeds=(0, 1))
    b = save(tmp_path / "b.json", {"relu": 0.06, "tanh": 0.25, "elu": 0.07}, seeds=(0, 1), lr=0.01)
    found = rows(cli, a, b)
    for row in found:
        inside = row["difference_ci_low_pct"] <= 0 <= row["difference_ci_high_pct"]
        assert (row["verdict"] in ("noise", "same")) == inside == (row["difference_p"] >= 0.05)
        assert row["detectable_difference_pct"] is None or 0 < row["detectable_difference_pct"] <= 100
    shown = cli("compare", str(a), str(b), "--format", "table").out
    assert "difference" in shown and "could have seen" in " ".join(shown.split())


def test_one_seed_is_different_on_this_test_set_only(cli: Cli, tmp_path: Path) -> None:
    a = save(tmp_path / "a.json", {"relu": 0.05}, seeds=(0,))
    b = save(tmp_path / "b.json", {"relu": 0.25}, seeds=(0,), lr=0.01)
    assert rows(cli, a, b)[0]["verdict"] == "higher on this test set"
    ended = cli("compare", str(a), str(b), "--format", "markdown")
    assert "1 higher on this test set (relu)" in ended.out and "compares one training of each" in ended.out


def test_identical_runs_are_no_comparison(cli: Cli, tmp_path: Path) -> None:
    a = save(tmp_path / "a.json", {"relu": 0.05})
    b = save(tmp_path / "b.json", {"relu": 0.08}, lr=0.01)
    (alone,) = rows(cli, a, b)
    with_others = rows(cli, a, a, b)
    assert with_others[0]["verdict"] == "identical" and with_others[0]["detectable_difference_pct"] is None
    estimates = ("difference_ci_low_pct", "difference_ci_high_pct", "difference_p")
    assert [with_others[0][key] for key in estimates] == [None] * 3
    assert None not in [with_others[1][key] for key in estimates]
    assert with_others[1]["difference_ci_low_pct"] == alone["difference_ci_low_pct"]


def changed(content: dict[str, Any], path: tuple[str | int, ...], value: Any) -> str:
    """The file's text with one value of it replaced."""
    whole = json.loads(json.dumps(content))
    inner = whole
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return json.dumps(whole)


KINDS_OF_VALUES = [
    None,
    True,
    -1,
    10**309,
    "",
    "x",
    [],
    {},
    [[1]],
    {"a": None},
    float("nan"),
    float("inf"),
    "\ud800",
    2**63,
]


@pytest.mark.parametrize("value", KINDS_OF_VALUES, ids=[str(value)[:8] for value in KINDS_OF_VALUES])
def test_no_value_of_a_file_is_an_internal_error(cli: Cli, tmp_path: Path, value: Any) -> None:
    a, bad = save(tmp_path / "a.json", {"relu": 0.05, "tanh": 0.1}), tmp_path / "bad.json"
    content = json.loads(a.read_text())
    row, run = content["rows"][0], content["runs"][0]
    places = [("rows",), ("runs",), ("version",), ("device",), ("command",), ("rows", 0), ("runs", 0)]
    places += [("rows", 0, key) for key in row]
    places += [("runs", 0, key) for key in run]
    places += [("runs", 0, "spec", key) for key in run["spec"]]
    # Each value in a quarter of the places, since all of them take a minute.
    for place in places[KINDS_OF_VALUES.index(value) % 4 :: 4]:
        bad.write_text(changed(content, place, value))
        ended = cli("compare", str(a), str(bad), "--format", "tsv")
        assert ended.code in (0, 2), (place, ended.err)
        if ended.code == 2:
            assert (len(ended.err.splitlines()), str(bad) in ended.err) == (2, True), (place, ended.err)
        assert len(ended.err) < 5000


def test_a_mask_that_unpacks_to_gigabytes_is_refused(cli: Cli, tmp_path: Path) -> None:
    a, bad = save(tmp_path / "a.json", {"relu": 0.05}), tmp_path / "bad.json"
    bomb = base64.b64encode(zlib.compress(bytes(50_000_000), 9)).decode()
    bad.write_text(changed(json.loads(a.read_text()), ("runs", 0, "test_wrong"), bomb))
    ended = cli("compare", str(a), str(bad))
    assert (ended.code, "the test results of a run cannot be read" in ended.err) == (2, True)


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5000, "{", "", "\x00"])
def test_what_is_no_json_is_refused(cli: Cli, tmp_path: Path, text: str) -> None:
    a, bad = save(tmp_path / "a.json", {"relu": 0.05}), tmp_path / "bad.json"
    bad.write_text(text)
    ended = cli("compare", str(a), str(bad))
    assert (ended.code, f"{bad} is not JSON" in ended.err) == (2, True)
    assert len(ended.err) < 500


def edited(path: Path, place: tuple[str | int, ...], value: Any) -> Path:
    path.write_text(changed(json.loads(path.read_text()), place, value))
    return path


CONTRADICTIONS = {
    "a row's error": (("rows", 0, "test_error_pct"), 99.0, "relu has a test error of 99.0 %, and its runs one of"),
    "a row without one": (("rows", 0, "test_error_pct"), None, "relu has a test error of null %, and its runs one of"),
    "a run's error": (("runs", 1, "test_error_pct"), 0.05, "has a test error of 0.05 %, and "),
    "a run's mask": (("runs", 2, "test_wrong"), pack(np.zeros(2000, dtype=bool)), "0 of 2000 test examples wrong"),
    "an interval": (("rows", 0, "test_error_ci_high_pct"), 0.5, "outside of its interval"),
    "a number of seeds": (("rows", 0, "n"), 30, "relu has n = 30, and 3 runs with a test error"),
}


@pytest.mark.parametrize("kind", CONTRADICTIONS)
@pytest.mark.parametrize("place", [0, 1])
def test_numbers_that_contradict_what_they_follow_from_are_damage(
    cli: Cli, tmp_path: Path, kind: str, place: int
) -> None:
    where, value, said = CONTRADICTIONS[kind]
    files = [save(tmp_path / name, {"relu": 0.05, "tanh": 0.1}) for name in ("a.json", "b.json")]
    edited(files[place], where, value)
    ended = cli("compare", *map(str, files))
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"error: {files[place]} is damaged: ") and said in ended.err


def test_without_masks_a_row_is_held_to_its_runs(cli: Cli, tmp_path: Path) -> None:
    a, b = save(tmp_path / "a.json", {"relu": 0.05}), save(tmp_path / "b.json", {"relu": 0.12}, lr=0.01)
    runs = [
        {key: value for key, value in run.items() if key != "test_wrong"} for run in json.loads(b.read_text())["runs"]
    ]
    edit(b, runs=runs)
    assert cli("compare", str(a), str(b)).code == 0
    edited(b, ("runs", 0, "test_error_pct"), 5.0)
    assert "is damaged: relu has a test error of" in cli("compare", str(a), str(b)).err


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (
            (0,),
            (0, 1, 2),
            "the seed 0 alone, and the errors are of all: the seed 0 in a.json, the seeds 0, 1, 2 in b.json",
        ),
        ((3, 4, 5), (5, 4), "the seeds 4, 5 alone, and the errors are of all: the seeds 3, 4, 5 in a.json"),
        ((0, 1), (0, 1), ""),
        ((0, 1), (2, 3), ""),
    ],
)
def test_a_difference_of_fewer_seeds_than_the_errors_says_so(
    cli: Cli, tmp_path: Path, before: tuple[int, ...], after: tuple[int, ...], said: str
) -> None:
    rates = {"relu": 0.05, "tanh": 0.1}
    a = save(tmp_path / "a.json", rates, seeds=before)
    b = save(tmp_path / "b.json", {"relu": 0.07, "tanh": 0.2}, seeds=after, lr=0.01)
    shown = " ".join(cli("compare", str(a), str(b), "--format", "markdown").out.split())
    assert (f"relu, tanh: the difference is of {said}" in shown) if said else "the difference is of" not in shown


@pytest.mark.parametrize(("key", "article"), [("activation", "an"), ("seconds", "a"), ("l1", "an"), ("n", "an")])
def test_an_error_has_the_article_of_its_word(cli: Cli, tmp_path: Path, key: str, article: str) -> None:
    a, bad = save(tmp_path / "a.json", {"relu": 0.05}), tmp_path / "bad.json"
    bad.write_text(changed(json.loads(a.read_text()), ("rows", 0, key), [1]))
    assert f"row 1 has {article} {key} that cannot be: [1]" in cli("compare", str(a), str(bad)).err


def gate(cli: Cli, a: Path, b: Path, fail_on: str) -> tuple[int, list[str]]:
    """The exit code, and the gate's outcome of each row."""
    ended = cli("compare", str(a), str(b), "--fail-on", fail_on, "--format", "json", "--quiet")
    return ended.code, [row["gate"] for row in json.loads(ended.out)["rows"]] if ended.out else []


@pytest.mark.parametrize(
    ("fail_on", "code", "outcomes"),
    [
        ("higher", 4, ["regression", "passed"]),
        ("higher:3", 4, ["regression", "passed"]),
        ("HIGHER:7", 0, ["inconclusive", "passed"]),
        ("higher:30", 0, ["passed", "passed"]),
        ("lower", 0, ["passed", "passed"]),
        ("any", 4, ["regression", "passed"]),
    ],
)
def test_a_gate_stops_a_regression(cli: Cli, tmp_path: Path, fail_on: str, code: int, outcomes: list[str]) -> None:
    a = save(tmp_path / "a.json", {"relu": 0.05, "tanh": 0.1})
    b = save(tmp_path / "b.json", {"relu": 0.12, "tanh": 0.1}, lr=0.01)
    assert gate(cli, a, b, fail_on) == (code, outcomes)
    back = {"higher": "lower", "lower": "higher"}.get(fail_on, fail_on)
    assert gate(cli, b, a, back)[0] == (code if fail_on in ("higher", "any") else gate(cli, b, a, back)[0])


def test_two_seeds_never_turn_a_large_difference_into_a_pass(cli: Cli, tmp_path: Path) -> None:
    """Two trainings that scatter widely: the interval holds the allowed points, and the gate says so."""
    a = save(tmp_path / "a.json", {"relu": 0.05}, seeds=(0, 1))
    b = save(tmp_path / "b.json", {"relu": 0.05}, seeds=(0, 1), lr=0.01)
    content = json.loads(b.read_text())
    other = json.loads(save(tmp_path / "c.json", {"relu": 0.7}, seeds=(0, 1), lr=0.01).read_text())
    content["runs"][1] = other["runs"][1]
    errors = [run["test_error_pct"] for run in content["runs"]]
    content["rows"][0] |= {
        "test_error_pct": sum(errors) / 2,
        "test_error_ci_low_pct": 0.0,
        "test_error_ci_high_pct": 100.0,
    }
    b.write_text(json.dumps(content))
    code, outcomes = gate(cli, a, b, "higher:1")
    assert (code, outcomes) == (0, ["inconclusive"])
    few = save(tmp_path / "few.json", {"relu": 0.051}, lr=0.02)
    many = save(tmp_path / "many.json", {"relu": 0.05})
    shown = cli("compare", str(many), str(few), "--fail-on", "higher:0.01", "--format", "table").out
    assert "inconclusive (relu; the smallest difference that could be seen is" in " ".join(shown.split())
    shown = cli("compare", str(a), str(b), "--fail-on", "higher:1", "--format", "table").out
    assert "inconclusive (relu; with so few seeds or examples even the largest" in " ".join(shown.split())


def test_a_row_that_lost_its_error_is_a_regression(cli: Cli, tmp_path: Path) -> None:
    a, b = save(tmp_path / "a.json", {"relu": 0.05}), save(tmp_path / "b.json", {"relu": 0.05}, lr=0.01)
    content = json.loads(b.read_text())
    lost = dict.fromkeys(("test_error_pct", "test_error_ci_low_pct", "test_error_ci_high_pct"))
    content["rows"][0] |= {**lost, "outcome": "diverged", "n": 0}
    for run in content["runs"]:
        run |= {"test_error_pct": None, "test_wrong": None, "outcome": "diverged"}
    b.write_text(json.dumps(content))
    assert gate(cli, a, b, "higher:5") == (4, ["regression"])
    assert (
        "regressed because no error came out: relu"
        in cli("compare", str(a), str(b), "--fail-on", "any").err
        + cli("compare", str(a), str(b), "--fail-on", "any", "--format", "table").out
    )


def test_a_row_that_is_gone_is_named(cli: Cli, tmp_path: Path) -> None:
    a, b = save(tmp_path / "a.json", {"relu": 0.05, "tanh": 0.1}), save(tmp_path / "b.json", {"relu": 0.05})
    ended = cli("compare", str(a), str(b), "--fail-on", "higher", "--format", "table")
    assert ended.code == 0
    assert "not judged, because a later file has no such row: tanh" in " ".join(ended.out.split())


@pytest.mark.parametrize(
    "text", ["", "worse", "higher:", "higher:x", "higher:-1", "higher:nan", "higher:101", "any:1:2"]
)
def test_a_gate_that_means_nothing_is_refused(cli: Cli, tmp_path: Path, text: str) -> None:
    a = save(tmp_path / "a.json", {"relu": 0.05})
    ended = cli("compare", str(a), str(a), "--fail-on", text)
    assert (ended.code, ended.out) == (2, "")
    assert "--fail-on" in ended.err and "hint: for example --fail-on higher" in ended.err
