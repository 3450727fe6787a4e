"""Tasks that are no classification, through the whole program: rows, progress, early stopping, rates, comparisons."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import relubench
from relubench.__main__ import run as main

KEYS = ("task", "metric", "lower_is_better", "test_metric", "test_metric_ci_low", "test_metric_ci_high")
KEYS += ("valid_metric", "metric_difference", "metric_difference_ci_low", "metric_difference_ci_high")
SMALL = "--model mlp-1x16 --epochs 3 --lr 0.05 --device cpu --seeds 2"


# Networks this small are trained before a worker process has started.
pytestmark = pytest.mark.usefixtures("train_here")


def rows_of(text: str) -> list[dict[str, object]]:
    return json.loads(text)["rows"]


def test_rows_of_every_task_have_the_same_keys_and_classification_repeats_its_errors(
    capsys: pytest.CaptureFixture[str],
) -> None:
    expected = {"wine": ("classification", "error_pct", True), "diabetes": ("regression", "mse", True)}
    for dataset, values in expected.items():
        assert main(f"train --act relu,tanh --dataset {dataset} {SMALL} --quiet --format json".split()) == 0
        rows = rows_of(capsys.readouterr().out)
        assert all(set(KEYS) <= row.keys() for row in rows)
        assert tuple(rows[1][key] for key in KEYS[:3]) == values
        pairs = [("test_metric", "test_error_pct"), ("metric_difference", "difference_pct")]
        pairs += [("valid_metric", "valid_error_pct"), ("metric_difference_ci_low", "difference_ci_low_pct")]
        for key, error_key in pairs:
            assert rows[1][key] is not None
            assert rows[1][error_key] == (rows[1][key] if dataset == "wine" else None)


def test_progress_the_list_and_the_table_have_the_tasks_score(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "220")
    assert main(f"train --act relu --dataset diabetes {SMALL} --format table".split()) == 0
    printed = capsys.readouterr()
    assert "relu seed 0: done, validation squared error 0." in printed.err and "error 0.00 %" not in printed.err
    assert "test squared error" in printed.out and "R2" in printed.out and "%" not in printed.out.splitlines()[4][:40]
    assert "squared errors are of targets divided by their spread in training" in printed.out
    assert main(["runs", "--format", "table"]) == 0
    assert "squared error 0." in capsys.readouterr().out
    assert main(["runs", "--format", "json"]) == 0
    for row in rows_of(capsys.readouterr().out):
        assert row["test_error_pct"] is None and row["metric"] == "mse" and 0 < float(str(row["test_metric"])) < 2


def test_early_stopping_and_the_search_for_a_rate_take_the_squared_error() -> None:
    settings = {"train": {"lr": "auto", "lr_grid": [3e-2, 1e-5], "patience": 2}}
    table = relubench.train("tanh", dataset="diabetes", model="mlp-2x64", epochs=60, settings=settings)
    (tuning,), (run,) = table.tuned, table.runs
    assert tuning.lr == 3e-2 and tuning.errors[3e-2] < tuning.errors[1e-5]
    scores = [point.valid_metric for point in run.curve]
    best = int(np.argmin(np.array(scores, dtype=float)))
    assert run.best_epoch == best + 1 and len(scores) == min(best + 3, 60) and len(scores) < 60
    assert "validation squared error" in " ".join(table.report.note_texts)


def test_a_network_that_gives_the_mean_has_stalled() -> None:
    table = relubench.train("relu", dataset="diabetes", model="mlp-1x16", epochs=1, lr=1e-9, init="uniform:0.0001")
    assert table.runs[0].outcome == "stalled" and "always giving the mean" in table.runs[0].message
    assert "It stalled: it is still at chance." in table.report.sentence


def test_a_higher_psnr_is_better(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """More steps fit better: `compare` calls the second table higher, and a gate on lower scores passes it."""
    for name, rate in (("a", 0.001), ("b", 0.1)):
        arguments = f"train --act tanh --dataset image:flower --model mlp-1x16 --epochs 1 --batch-size 64 --lr {rate}"
        assert (
            main([*arguments.split(), *f"--device cpu --quiet --format json --output {tmp_path / name}.json".split()])
            == 0
        )
    files = [str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    assert main(["compare", *files, "--format", "json", "--quiet", "--fail-on", "lower"]) == 0
    (row,) = rows_of(capsys.readouterr().out)
    assert (row["metric"], row["lower_is_better"], row["baseline_test_error_pct"]) == ("psnr_db", False, None)
    assert str(row["verdict"]).startswith("higher") and float(str(row["metric_difference"])) > 0
    assert main(["compare", *files, "--quiet", "--fail-on", "higher"]) == 4
    assert main(["check", files[0], "--quiet"]) == 0


def test_float_targets_of_an_archive_are_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 5)).astype(np.float32)
    y = x @ np.arange(5) + 7
    path = tmp_path / "numbers.npz"
    np.savez(path, x_train=x[:60], y_train=y[:60], x_test=x[60:], y_test=y[60:])
    assert main(f"train --act tanh --dataset {path} {SMALL} --format json".split()) == 0
    printed = capsys.readouterr()
    (row,) = rows_of(printed.out)
    assert row["task"] == "regression" and 0 < float(str(row["test_metric"])) < 1
    assert "y_train holds 1 number an example" in printed.err and "no classes: regression" in printed.err
    np.savez(path, x_train=x[:60], y_train=np.where(np.arange(60) == 7, np.nan, y[:60]), x_test=x[60:], y_test=y[60:])
    assert main(f"train --act tanh --dataset {path} {SMALL} --quiet".split()) == 3
    assert "has 1 NaN or infinite targets in y_train, the first at 7" in capsys.readouterr().err
    np.savez(path, x_train=x[:60], y_train=np.full(60, 0.5), x_test=x[60:], y_test=y[60:])
    assert main(f"train --act tanh --dataset {path} {SMALL} --quiet".split()) == 3
    assert "has a constant target: it is 0.5 throughout training" in capsys.readouterr().err
    np.savez(path, x_train=x[:60], y_train=np.array(["a", "b"] * 30), x_test=x[60:], y_test=np.array(["a", "b"] * 15))
    assert main([*f"train --act tanh --dataset {path} {SMALL} --quiet".split(), "--set", "data.task=regression"]) == 2
    assert "data.task regression" in capsys.readouterr().err


def test_a_table_of_ones_own_is_trained_by_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    area = rng.normal(100, 20, 100).round(2)
    lines = [
        "area,town,price",
        *(f"{value},{'Bonn' if row % 2 else 'Ulm'},{3 * value:.2f}" for row, value in enumerate(area)),
    ]
    (tmp_path / "houses.csv").write_text("\n".join(lines))
    network = SMALL.replace("mlp-1x16", "resmlp-4x16")
    command = f"train --act relu,tanh --dataset {tmp_path}/houses.csv {network} --format json"
    assert main([*command.split(), "--target", "price"]) == 0
    printed = capsys.readouterr()
    assert "the target price is a number (" in printed.err and "regression" in printed.err
    content = json.loads(printed.out)
    assert all(row["metric"] == "mse" and row["r2"] > 0.5 for row in content["rows"])
    assert all(run["spec"]["target"] == "price" for run in content["runs"])
    assert main(command.split()) == 2
    assert "which of its columns is predicted" in capsys.readouterr().err
