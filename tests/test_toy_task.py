"""A task that is defined outside of the package, in two places, goes through the whole program.

Brier's score is the squared distance of the class probabilities from the truth: a number for each example, lower is
better. Confidence is the probability of the true class, and higher is better. Of regression the targets are numbers.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import relubench
from relubench.__main__ import run as main
from relubench.data.files.locate import SourceFiles
from relubench.data.source_row import SourceRow
from relubench.data.sources.digits import load as load_digits
from relubench.data.split_arrays import SplitArrays
from relubench.data.table import TABLE
from relubench.errors import ComputeError, UsageError
from relubench.executors.inline import InlineExecutor
from relubench.experiments.config import experiment
from relubench.experiments.record import record_of
from relubench.experiments.study import Study
from relubench.reports.training.study import study_report
from relubench.runs.store import Store
from relubench.runs.task import TASKS, Task, task_called
from relubench.training.losses import objective_of

# -- the task: its loss, and its row


class Brier:
    """Sum of (p - target)^2 over the classes, p = softmax(z)."""

    def targets(self, y: Tensor, outputs: int) -> Tensor:
        return torch.nn.functional.one_hot(y, outputs).to(torch.float32)

    def gradient(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        p = torch.softmax(output, dim=-1)
        gap = p - target
        return 2 * p * (gap - (p * gap).sum(dim=-1, keepdim=True)) / target.shape[-2], p

    def total(self, record: Tensor, target: Tensor, dtype: torch.dtype) -> Tensor:
        return (record - target).square().sum(dim=(-2, -1), dtype=dtype)

    def losses(self, output: Tensor, y: Tensor) -> Tensor:
        return (torch.softmax(output, dim=-1) - self.targets(y, output.shape[-1])).square().sum(dim=-1)

    def scores(self, output: Tensor, y: Tensor) -> Tensor:
        return self.losses(output, y)


class Confidence(Brier):
    """Trained like Brier's score, and scored by the probability of the true class."""

    def scores(self, output: Tensor, y: Tensor) -> Tensor:
        return (torch.softmax(output, dim=-1) * self.targets(y, output.shape[-1])).sum(dim=-1)


class SquaredError:
    """(z - y)^2 of one output and a target that is a number."""

    def targets(self, y: Tensor, outputs: int) -> Tensor:
        return y.to(torch.float32).unsqueeze(-1)

    def gradient(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * (output - target) / target.shape[-2], output

    def total(self, record: Tensor, target: Tensor, dtype: torch.dtype) -> Tensor:
        return (record - target).square().sum(dim=(-2, -1), dtype=dtype)

    def losses(self, output: Tensor, y: Tensor) -> Tensor:
        return (output - self.targets(y, 1)).square().sum(dim=-1)

    def scores(self, output: Tensor, y: Tensor) -> Tensor:
        return self.losses(output, y)


def shares(labels: NDArray[Any]) -> NDArray[Any]:
    return np.bincount(labels) / len(labels)


BRIER = Task(
    name="brier",
    target=f"{__name__}:Brier",
    metric="brier",
    noun="Brier score",
    unit="",
    difference_unit="",
    lower_is_better=True,
    per_example="loss",
    chance=lambda labels: (shares(labels) ** 2).sum() - 2 * shares(labels)[labels] + 1,
    chance_answer="always giving the shares of the classes",
    decimals=4,
)
CONFIDENCE = replace(
    BRIER,
    name="confidence",
    target=f"{__name__}:Confidence",
    metric="confidence",
    noun="confidence",
    lower_is_better=False,
    chance=lambda labels: (labels == np.bincount(labels).argmax()).astype(float),
)

REGRESSION = replace(
    BRIER,
    name="regression",
    target=f"{__name__}:SquaredError",
    metric="mse",
    noun="squared error",
    chance=lambda targets: (targets - targets.mean()) ** 2,
    chance_answer="always giving the mean",
)


def load_heights(row: SourceRow, source: SourceFiles, work: Path) -> SplitArrays:
    """The digits' images, and as targets how far down their ink lies, in standard deviations."""
    parts = load_digits(TABLE["digits"], source, work)
    targets: dict[str, NDArray[Any]] = {}
    for split in ("train", "valid", "test"):
        ink = getattr(parts, f"x_{split}").astype(np.float32).sum(axis=(1, 3))
        height = (ink * np.arange(8)).sum(axis=1) / ink.sum(axis=1)
        targets[f"y_{split}"] = ((height - 3.48) / 0.393).astype(np.float32)
    return replace(parts, classes=1, **targets)


# -- what the program makes of it

SMALL: dict[str, Any] = {"epochs": 3, "model": "mlp-2x32"}


@pytest.fixture(autouse=True)
def toy_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both tasks and a data set that poses each; jobs are trained in this process, where the tables have them."""
    table = dict(TABLE)
    for task in (BRIER, CONFIDENCE, REGRESSION):
        monkeypatch.setitem(TASKS, task.name, task)
        table[f"{task.name}-digits"] = replace(TABLE["digits"], name=f"{task.name}-digits", task=task.name)
    heights = {"classes": 1, "target": f"{__name__}:load_heights", "split": "the digits', with heights as targets"}
    table["regression-digits"] = replace(table["regression-digits"], **heights)
    monkeypatch.setattr("relubench.data.preparation.TABLE", table)
    monkeypatch.setattr(
        "relubench.experiments.executor_choice.LocalExecutor", lambda device, store, note: InlineExecutor(store)
    )


def test_the_table_speaks_of_the_tasks_metric() -> None:
    table = relubench.train(["relu", "tanh"], dataset="brier-digits", seeds=2, **SMALL)
    first, second = table.rows
    assert (first["task"], first["metric"], first["lower_is_better"]) == ("brier", "brier", True)
    assert first["test_error_pct"] is None and first["difference_pct"] is None
    assert first["test_metric_ci_low"] < first["test_metric"] < first["test_metric_ci_high"]
    low, high = second["metric_difference_ci_low"], second["metric_difference_ci_high"]
    assert low < second["metric_difference"] < high
    word = "noise" if low <= 0 <= high else "higher" if low > 0 else "lower"
    assert second["difference_verdict"] == word
    text = repr(table)
    assert "test Brier score" in text and "%" not in text.splitlines()[3] and "error" not in text
    best = min(table.rows, key=lambda row: row["test_metric"])["activation"]
    assert f"{best} had the lowest mean test Brier score" in table.report.sentence
    assert "points" not in table.report.sentence + " ".join(table.report.note_texts)


def test_the_runs_store_a_number_for_each_example_whose_mean_is_the_score() -> None:
    table = relubench.train("relu", dataset="brier-digits", **SMALL)
    (run,) = table.runs
    losses = table.masks[run.id]
    assert losses.dtype == np.float32 and losses.shape == (run.test_examples,)
    assert run.test_metric == pytest.approx(float(losses.mean())) and run.test_error_pct is None
    assert run.test_metric is not None and 0 < run.test_metric < 2
    assert run.valid_metric == min(point.valid_metric or 9 for point in run.curve)


def test_a_second_study_takes_the_runs_from_the_store() -> None:
    config = experiment({"act": ["relu"], "data": {"name": "brier-digits"}, "train": {"epochs": 1}})
    first, study = Study.open(config), Study.open(config)
    kinds = [event.kind for opened in (first, study) for event in opened.run() if event.kind in ("done", "cached")]
    assert kinds == ["done", "cached"]
    (result,) = study.results
    store = Store(study.store.root)
    assert store.has(result.id) and (store.folder(result.id) / "test_losses.bin").is_file()
    (row,) = study_report(record_of(study)).rows
    assert row["test_metric"] == pytest.approx(result.test_metric)


def test_classification_and_another_task_on_the_same_images_are_different_runs() -> None:
    ids = {relubench.train("relu", dataset=name, **SMALL).runs[0].id for name in ("brier-digits", "confidence-digits")}
    assert len(ids) == 2


def test_where_higher_is_better_the_best_row_epoch_and_rate_are_the_highest() -> None:
    table = relubench.train(
        ["relu", "sigmoid"],
        dataset="confidence-digits",
        settings={"train": {"lr": "auto", "lr_grid": [100.0, 0.5, 1e-5]}},
        **SMALL,
    )
    assert all(run.valid_metric == max(point.valid_metric or 0 for point in run.curve) for run in table.runs)
    assert [tuning.lr for tuning in table.tuned] == [
        max(tuning.errors, key=lambda rate: tuning.errors[rate] or 0) for tuning in table.tuned
    ]
    second = table.rows[1]
    assert second["metric_difference"] < 0 and second["difference_verdict"].startswith("lower")
    assert "relu had the highest test confidence" in table.report.sentence
    column = next(column for column in table.report.columns if column.header.startswith("vs"))
    assert column.style(second) == "red"


def test_a_network_that_learns_nothing_has_stalled() -> None:
    table = relubench.train("relu", dataset="brier-digits", lr=1e-9, **SMALL)
    (run,) = table.runs
    assert run.outcome == "stalled" and run.message.endswith(
        "is no better than always giving the shares of the classes"
    )


def test_saved_tables_are_compared_pair_by_pair(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for name, epochs in (("a", 2), ("b", 8)):
        path = tmp_path / f"{name}.json"
        arguments = f"train --act relu,tanh --dataset brier-digits --model mlp-2x32 --seeds 2 --epochs {epochs} --quiet"
        assert main([*arguments.split(), "--format", "json", "--output", str(path)]) == 0
    files = [str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    capsys.readouterr()
    assert main(["compare", *files, "--format", "json", "--quiet"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["in_common"] for row in rows] == ["seeds and examples"] * 2
    assert all(row["verdict"] == "lower" and row["difference_pct"] is None for row in rows)
    assert all(row["metric_difference_ci_high"] < 0 for row in rows)
    assert main(["compare", *files, "--format", "table", "--quiet"]) == 0
    assert "b Brier score" in capsys.readouterr().out


def test_a_direction_that_nobody_names_is_called_different(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, epochs in (("a", 1), ("b", 8)):
        path = tmp_path / f"{name}.json"
        main(["train", *f"--act relu --dataset brier-digits --model mlp-2x32 --epochs {epochs} --quiet".split(),
              "--format", "json", "--output", str(path)])  # fmt: skip
        content = json.loads(path.read_text())
        for row in content["rows"]:
            row |= {"task": "somebody's", "lower_is_better": None}
        for run in content["runs"]:
            run["spec"]["task"] = "somebody's"
        path.write_text(json.dumps(content))
    capsys.readouterr()
    assert main(["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--format", "json", "--quiet"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["verdict"] == "different" and row["metric_difference"] < 0


@pytest.mark.parametrize(("model", "lr"), [("mlp-2x32", 0.002), ("cnn", 0.02)])
def test_targets_may_be_numbers(model: str, lr: float) -> None:
    settings = {"train": {"lr": lr, "batch_size": 32, "probe": "gradients"}}
    table = relubench.train(["relu", "tanh"], dataset="regression-digits", model=model, epochs=4, settings=settings)
    assert [row["outcome"] for row in table.rows] == ["ok", "ok"]
    assert all(row["metric"] == "mse" and 0 < row["test_metric"] < 1 for row in table.rows)
    assert table.rows[1]["metric_difference_ci_low"] < table.rows[1]["metric_difference_ci_high"]


def test_a_sparsity_table_speaks_of_the_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    table = relubench.ablate_sparsity("relu", l1=[0, 0.03], seeds=2, dataset="brier-digits", **SMALL)
    assert "test Brier score" in repr(table)
    assert "Brier score" in table.report.sentence and "error" not in table.report.sentence


def test_a_figure_names_the_metric(tmp_path: Path) -> None:
    path = tmp_path / "curves.svg"
    relubench.train("relu", dataset="brier-digits", **SMALL).plot(path)
    assert path.stat().st_size > 1000


def test_the_toys_gradient_is_that_of_its_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    output = torch.randn(7, 5, generator=generator, dtype=torch.float64).requires_grad_(True)
    y = torch.arange(7) % 5
    for name in ("brier", "classification"):
        objective = objective_of(name)
        target = objective.targets(y, 5).double()
        grad, record = objective.gradient(output.detach(), target)
        losses = objective.losses(output.unsqueeze(0), y)
        (expected,) = torch.autograd.grad(losses.mean(), output)
        torch.testing.assert_close(grad, expected)
        torch.testing.assert_close(objective.total(record, target, torch.float64), losses.sum().detach())


def test_a_task_that_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(UsageError, match="there is no task called 'brierr'"):
        task_called("brierr")


def test_scores_of_another_type_than_the_row_says_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "brier", replace(BRIER, per_example="wrong"))
    with pytest.raises(ComputeError, match="scores of the task brier are float32 in 2 dimensions, not bool"):
        relubench.train("relu", dataset="brier-digits", **SMALL)
