"""`list`, `runs` and `doctor`: what they show, in every format."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

from relubench.runs.result import RunResult
from relubench.runs.store import Store
from relubench.system.paths import runs_root
from tests.cli.fakes import Cli, mask, program, result, timing

FORMATS = ("table", "tsv", "csv", "json", "jsonl", "markdown", "latex")


@pytest.fixture
def store() -> Store:
    """Two finished runs and an unfinished one."""
    store = Store(runs_root())
    for run_id, seed in (("aaaa111122223333", 0), ("aaaa999922223333", 1)):
        store.put(result(seed=seed, run_id=run_id), timing(), mask(seed), b"weights")
    checkpoint = store.checkpoint("bbbb111122223333")
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"half")
    return store


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "command",
    [
        ("list", "models"),
        ("list", "columns"),
        ("list", "functions"),
        ("list", "datasets"),
        ("list", "formats"),
        ("list", "references"),
        ("runs",),
    ],
)
def test_every_listing_in_every_format(cli: Cli, store: Store, command: tuple[str, ...], format: str) -> None:
    ended = cli(*command, "--format", format)
    assert (ended.code, ended.err) == (0, "")
    assert "\x1b" not in ended.out
    assert ended.out.endswith("\n")


def test_the_first_column_of_a_list_is_the_name(cli: Cli) -> None:
    for kind in ("functions", "datasets", "models", "formats", "references"):
        assert cli("list", kind).out.startswith("name\t")


def test_activations_are_listed(cli: Cli) -> None:
    rows = {row["name"]: row for row in json.loads(cli("list", "activations", "--format", "json").out)["rows"]}
    assert list(rows["relu"]) == ["name", "family", "formula", "parameters", "gain", "learned", "year", "source"]
    assert rows["relu"] | {"source": ""} == {
        "name": "relu",
        "family": "rectifier",
        "formula": "max(0, x)",
        "parameters": None,
        "gain": 1.4142,
        "learned": None,
        "year": 2010,
        "source": "",
    }
    assert rows["softplus"]["parameters"] == "beta=1:threshold=20"


def test_functions_of_formulas_are_listed_with_their_other_names(cli: Cli) -> None:
    rows = {row["name"]: row for row in json.loads(cli("list", "functions", "--format", "json").out)["rows"]}
    assert rows["sigmoid"]["also"] == "sigma, expit, logistic, sigm"
    assert rows["leaky_relu"]["written"] == "leaky_relu(x, negative_slope=0.01)"
    shown = cli("list", "functions", "--format", "table").out
    assert "torch.tanh(x)" in shown
    assert "b~1.7 where it is learned" in shown


def test_references_are_listed_with_their_source(cli: Cli) -> None:
    rows = {row["name"]: row for row in json.loads(cli("list", "references", "--format", "json").out)["rows"]}
    row = rows["glorot2011:table1:mnist:mlp-3x1000:relu:none:test_error"]
    assert (row["value"], row["unit"], row["source"]) == (1.43, "percent", "Glorot, Bordes & Bengio 2011")
    other = next(row for name, row in rows.items() if name.startswith("nair-hinton2010:table1"))
    assert other["source"].startswith("Nair & Hinton 2010") and other["protocol"]


def test_people_see_references_table_by_table_with_page_and_protocol(cli: Cli) -> None:
    shown = cli("list", "references", "--format", "table").out
    assert shown.count("Glorot, Bordes & Bengio 2011, table1, page 6\n") == 1
    (line,) = (
        text_line
        for text_line in shown.splitlines()
        if text_line.startswith("glorot2011:table1:mnist:mlp-3x1000:relu:none:")
    )
    assert line.split()[1:3] == ["1.43", "percent"]
    assert "median of 5 runs" in shown and "read in a page about it" in shown
    names = [row["name"] for row in json.loads(cli("list", "references", "--format", "json").out)["rows"]]
    assert all(name in shown for name in names)


def test_data_sets_say_whether_they_are_there(cli: Cli) -> None:
    rows = {row["name"]: row for row in json.loads(cli("list", "datasets", "--format", "json").out)["rows"]}
    assert (rows["digits"]["present"], rows["digits"]["shape"], rows["digits"]["test"]) == ("yes", "1x8x8", 360)
    assert rows["mnist"]["present"] == "no"


def test_output_goes_whole_into_a_file(cli: Cli, tmp_path: Path) -> None:
    place = tmp_path / "models.csv"
    place.write_text("old")
    ended = cli("list", "models", "--output", str(place))
    assert (ended.code, ended.out, ended.err) == (0, "", f"written: {place}\n")
    assert next(csv.reader(io.StringIO(place.read_text()))) == ["name", "description"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_table_in_a_file_is_not_wrapped(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    cli("list", "models", "--output", str(tmp_path / "models.txt"))
    assert any(len(line) > 100 for line in (tmp_path / "models.txt").read_text().splitlines())


def test_columns_are_honoured(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert max(map(len, cli("list", "models", "--format", "table").out.splitlines())) <= 60


@pytest.mark.parametrize("width", [80, 60])
@pytest.mark.parametrize("kind", ["presets", "activations", "functions", "datasets", "models", "columns", "figures"])
def test_in_a_narrow_list_names_and_numbers_stay_whole(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, kind: str, width: int
) -> None:
    rows = json.loads(cli("list", kind, "--format", "json").out)["rows"]
    monkeypatch.setenv("COLUMNS", str(width))
    shown = cli("list", kind, "--format", "table").out
    lines = shown.splitlines()
    assert max(map(len, lines)) <= width
    starts = {line.split("  ")[0] for line in lines}
    assert {row["name"] for row in rows} <= starts
    head, body = re.split("\u2500+", shown)
    missing = body.partition("not shown at this width: ")[2].replace("\n", " ")
    for key in rows[0]:
        words = key.replace("_", " ")
        assert words in missing or set(words.split()) <= set(head.split()), key
        if words not in missing:
            numbers = [row[key] for row in rows if isinstance(row[key], int)]
            assert all((str(number) if key == "year" else f"{number:,}") in body.split() for number in numbers), key


def test_a_line_too_short_for_the_names_folds_them(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [row["name"] for row in json.loads(cli("list", "presets", "--format", "json").out)["rows"]]
    monkeypatch.setenv("COLUMNS", "20")
    lines = cli("list", "presets", "--format", "table").out.splitlines()
    assert max(map(len, lines)) <= 20
    edge = next(line for line in lines if line.startswith("article-")).index("The")
    folded = "".join(line[:edge].strip() for line in lines)
    assert all(name in folded for name in names)


def test_runs_lists_finished_and_unfinished(cli: Cli, store: Store) -> None:
    rows = {row["id"]: row for row in json.loads(cli("runs", "--format", "json").out)["rows"]}
    assert len(rows) == 3
    finished = rows["aaaa111122223333"]
    assert list(finished)[1:10] == [
        *("activation", "pretraining", "dataset", "model", "seed", "optimizer", "lr", "l1", "batch_size")
    ]
    assert (finished["activation"], finished["outcome"], finished["test_error_pct"]) == ("relu", "ok", 10.0)
    assert (finished["seconds"], finished["date"]) == (1.5, "2026-01-02T03:04:05+00:00")
    assert finished["size_bytes"] > 7
    assert (rows["bbbb111122223333"]["outcome"], rows["bbbb111122223333"]["size_bytes"]) == ("unfinished", 4)


def test_unfinished_runs_have_what_is_known_of_them(cli: Cli, store: Store) -> None:
    spec = {"activation": "gelu", "dataset": "digits", "model": "mlp-1x8", "seed": 3, "lr": 0.1, "l1": 0.0}
    for run, specs in (
        ("cccc111122223333", [spec]),
        ("dddd111122223333", [spec, {**spec, "seed": 4}]),
        ("eeee111122223333", []),
    ):
        checkpoint = store.checkpoint(run)
        checkpoint.parent.mkdir(parents=True)
        checkpoint.write_bytes(b"half")
        store.put_unfinished(run, specs)
    store.checkpoint("eeee111122223333").with_name("specs.json").write_text("[" * 100_000)
    rows = {row["id"][:4]: row for row in json.loads(cli("runs", "--format", "json").out)["rows"]}
    known = [(rows[key]["outcome"], rows[key]["activation"], rows[key]["seed"]) for key in ("cccc", "dddd", "eeee")]
    assert known == [("unfinished", "gelu", 3), ("unfinished", "gelu", None), ("unfinished", None, None)]


def test_percentages_are_read_at_a_glance(cli: Cli, store: Store) -> None:
    rough = RunResult.from_json({**result(run_id="f" * 16).to_json(), "test_error_pct": 3.6799999999999997})
    store.put(rough, timing(), mask(0), None)
    for format in ("tsv", "json", "jsonl", "csv"):
        listed = cli("runs", "--format", format).out
        assert "3.68" in listed and "3.67999" not in listed
    assert "3.67999" not in cli("runs", "show", "f" * 16, "--format", "markdown").out


def test_no_runs_is_said(cli: Cli) -> None:
    ended = cli("runs")
    assert (ended.code, ended.out) == (0, "")
    assert "there are no runs in" in ended.err


def test_an_unreadable_run_is_listed_and_can_be_deleted(cli: Cli, store: Store) -> None:
    (store.folder("aaaa111122223333") / "run.json").write_text("{")
    assert "unreadable" in cli("runs").out
    assert cli("runs", "show", "aaaa1").code == 1
    assert cli("runs", "delete", "aaaa1", "--yes").code == 0
    assert store.ids() == ["aaaa999922223333"]


def test_show_takes_a_unique_beginning(cli: Cli, store: Store) -> None:
    ended = cli("runs", "show", "aaaa1", "--format", "json")
    shown = json.loads(ended.out)
    assert (shown["id"], shown["spec"]["activation"], len(shown["curve"])) == ("aaaa111122223333", "relu", 2)
    assert shown["timing"]["seconds"] == 1.5
    table = cli("runs", "show", "aaaa1", "--format", "table").out
    assert "128x128x128" in table
    assert "learning curve" in table
    assert cli("runs", "show", "aaaa1").out.splitlines()[0].split("\t") == [
        "epoch",
        "train_loss",
        "valid_loss",
        "valid_error_pct",
        "lr",
    ]


@pytest.mark.parametrize("format", FORMATS)
def test_show_in_every_format(cli: Cli, store: Store, format: str) -> None:
    assert cli("runs", "show", "aaaa1", "--format", format).code == 0


def test_an_ambiguous_beginning_is_refused(cli: Cli, store: Store) -> None:
    ended = cli("runs", "show", "aaaa")
    assert ended.code == 2
    assert ended.err.startswith("error: 2 runs begin with 'aaaa'\nhint: give more of the id: aaaa111122223333")


def test_delete_does_not_ask_in_a_pipe(cli: Cli, store: Store) -> None:
    ended = cli("runs", "delete", "aaaa1")
    assert ended.code == 2
    assert "hint: add --yes" in ended.err
    assert len(store.ids()) == 2


def test_delete(cli: Cli, store: Store) -> None:
    assert cli("runs", "delete", "--unfinished", "--yes").code == 0
    assert store.unfinished() == []
    assert cli("runs", "delete", "aaaa1", "--yes").code == 0
    assert store.ids() == ["aaaa999922223333"]
    (store.root / "stacks" / "layer").mkdir(parents=True)
    assert cli("runs", "delete", "--all", "--yes").err.startswith("deleted 1 run from ")
    assert not (store.root / "stacks").exists()
    assert cli("runs", "delete", "--all", "--yes").err.startswith("there is nothing to delete in ")


def doctor(*argv: str, **environment: str) -> tuple[int, dict[str, dict[str, str]]]:
    ended = program("doctor", "--format", "json", *argv, **environment)
    return ended.returncode, {row["name"]: row for row in json.loads(ended.stdout)["rows"]}


def test_doctor_finds_this_machine_well(tmp_path: Path) -> None:
    code, rows = doctor(OMP_NUM_THREADS="100000")
    assert code == 0
    assert set(next(iter(rows.values()))) == {"name", "status", "detail", "remedy"}
    assert rows["torch and torchvision"]["status"] == "ok"
    assert rows["data set digits"]["detail"].startswith("present at")
    assert rows["data set mnist"]["remedy"].startswith("downloaded on first use")
    assert rows["threads"]["status"] == "warning"
    assert "OMP_NUM_THREADS" in rows["threads"]["remedy"]


def stub(folder: Path, package: str, body: str) -> Path:
    (folder / package).mkdir(parents=True)
    (folder / package / "__init__.py").write_text(body)
    return folder


def test_doctor_names_a_broken_torchvision(tmp_path: Path) -> None:
    folder = stub(tmp_path / "stubs", "torchvision", "raise RuntimeError('operator torchvision::nms does not exist')")
    code, rows = doctor(PYTHONPATH=str(folder))
    assert code == 1
    broken = rows["torch and torchvision"]
    assert broken["status"] == "error"
    assert "operator torchvision::nms does not exist" in broken["detail"]
    assert "pip install --force-reinstall torch torchvision" in broken["remedy"]
    assert rows["device"]["status"] == "ok"


def test_doctor_survives_a_torch_that_crashes(tmp_path: Path) -> None:
    folder = stub(tmp_path / "stubs", "torch", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    code, rows = doctor(PYTHONPATH=str(folder))
    assert code == 1
    assert "Python crashed with SIGSEGV" in rows["torch"]["detail"]
    assert rows["disk"]["status"] in ("ok", "warning")


@pytest.mark.parametrize("format", FORMATS)
def test_doctor_in_every_format(cli: Cli, monkeypatch: pytest.MonkeyPatch, format: str) -> None:
    monkeypatch.setattr("relubench.system.installation.torch_checks", lambda: [("torch", "ok", "2.9", None)])
    ended = cli("doctor", "--format", format)
    assert (ended.code, ended.err) == (0, "")
    assert "torch" in ended.out


def test_doctor_reports_a_folder_that_cannot_be_written(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relubench.system.installation.torch_checks", list)
    ended = cli("doctor", "--format", "json", "--runs-dir", "/proc/nothing")
    assert ended.code == 1
    rows = {row["name"]: row for row in json.loads(ended.out)["rows"]}
    assert rows["runs folder"]["status"] == "error"
    assert "--runs-dir" in rows["runs folder"]["remedy"]
