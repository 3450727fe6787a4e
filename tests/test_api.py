"""`relubench.train` from Python, and the study behind it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import relubench
from relubench.experiments.config import experiment
from relubench.experiments.rows import SummaryRow
from relubench.experiments.study import Study

here = pytest.mark.usefixtures("train_here")

SMALL: dict[str, Any] = {"epochs": 2, "model": "mlp-2x32"}


@here
def test_rows_have_the_keys_of_the_contract():
    table = relubench.train(act=["relu", "tanh"], dataset="digits", seeds=2, **SMALL)
    rows = table.to_records()
    assert [row["activation"] for row in rows] == ["relu", "tanh"]
    assert list(rows[0]) == SummaryRow.columns()
    assert rows[0]["n"] == 2 and rows[0]["difference_pct"] is None and rows[1]["difference_pct"] is not None
    assert "relu" in repr(table)
    assert "<table>" in table._repr_html_()
    assert {len(mask) for mask in table.masks.values()} == {360}


@here
def test_the_order_of_activations_changes_no_number():
    forth = relubench.train(act="relu,tanh", **SMALL).to_records()
    back = relubench.train(act=["tanh", "relu"], fresh=True, **SMALL).to_records()
    for key in ("test_error_pct", "valid_error_pct", "sparsity_pct"):
        assert {row["activation"]: row[key] for row in forth} == {row["activation"]: row[key] for row in back}


def test_what_the_command_refuses_python_refuses():
    with pytest.raises(relubench.RelubenchError, match="there is no activation called 'rellu'"):
        relubench.train(act="rellu")
    with pytest.raises(relubench.RelubenchError, match=r"train\.lr should be greater than 0"):
        relubench.train(lr=-1.0)


@here
def test_a_plot_is_written(tmp_path: Path):
    relubench.train(act="relu", **SMALL).plot(tmp_path / "curves.svg")
    assert (tmp_path / "curves.svg").stat().st_size > 1000


def test_a_users_own_activations(tmp_path: Path):
    source = tmp_path / "mine.py"
    source.write_text(
        "import torch\n"
        "class Scaled(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.scale = torch.nn.Parameter(torch.tensor(1.0))\n"
        "    def forward(self, x):\n"
        "        return self.scale * torch.relu(x)\n"
        "def square(x):\n"
        "    return torch.relu(x) ** 2\n"
    )
    table = relubench.train(act=[f"{source}:Scaled", f"{source}:square", "relu"], **SMALL)
    assert [row["outcome"] for row in table.rows] == ["ok", "ok", "ok"]
    # One learned scalar in each of the two hidden layers.
    assert table.rows[0]["parameters"] == table.rows[2]["parameters"] + 2


def test_an_activation_that_breaks_in_training_is_a_failed_row_among_good_ones(tmp_path: Path):
    source = tmp_path / "mine.py"
    # Not where the check runs, in this process: only where a worker trains.
    here = f"os.getppid() != {os.getpid()}"
    source.write_text(f"import os, torch\ndef picky(x):\n    assert {here}, 'not there'\n    return torch.relu(x)\n")
    table = relubench.train(act=[f"{source}:picky", "relu"], **SMALL)
    assert [row["outcome"] for row in table.rows] == ["failed", "ok"]
    with pytest.raises(relubench.RelubenchError, match="none of the 1 runs could be computed"):
        relubench.train(act=f"{source}:picky", **SMALL)


@here
def test_gated_and_plain_networks_have_equal_parameters_within_one_percent():
    rows = relubench.train(act="relu,swiglu,maxout:pieces=5", epochs=1, model="mlp-2x64").to_records()
    for row in rows[1:]:
        assert abs(row["parameters"] / rows[0]["parameters"] - 1) < 0.01


@here
def test_auto_finds_a_rate_for_each_activation_on_a_seed_that_is_not_reported():
    study = Study.open(
        experiment({"act": ["relu", "sigmoid"], "model": {"name": "mlp-1x32"}}, {"train": {"lr": "auto", "epochs": 2}})
    )
    events = list(study.run())
    assert {event.lr for event in events if event.tuning} == {0.1, 0.01, 0.001, 0.0001}
    tuned = {event.seed for event in events if event.tuning}
    assert tuned.isdisjoint(event.seed for event in events if not event.tuning)
    assert len(study.results) == 2
    assert all(result.spec["lr"] in (0.1, 0.01, 0.001, 0.0001) for result in study.results)


@here
def test_every_activation_is_tuned_on_the_same_grid_with_the_same_budget():
    config = experiment(
        {"act": ["relu", "sigmoid"], "model": {"name": "mlp-1x16"}, "seeds": [0, 2**31 - 1]},
        {"train": {"lr": "auto", "lr_grid": [0.3, 0.1, 0.001], "lr_seeds": 2, "epochs": 1}},
    )
    study = Study.open(config)
    trials = [event for event in study.run() if event.tuning and event.kind in ("done", "cached")]
    assert sorted((one.activation, one.lr) for one in trials) == sorted(
        (act, rate) for act in ("relu", "sigmoid") for rate in (0.3, 0.1, 0.001) for _ in range(2)
    )
    # The highest seed is reported, so it does not tune.
    assert {one.seed for one in trials} == {2**31 - 2, 2**31 - 3}
    for act, tuning in ((one.activation, one) for one in study.tuned):
        errors = {
            rate: [one.valid_score for one in trials if (one.activation, one.lr) == (act, rate)]
            for rate in tuning.errors
        }
        assert tuning.errors == pytest.approx({rate: sum(both) / 2 for rate, both in errors.items()})
        assert tuning.lr == min(tuning.errors, key=lambda rate: tuning.errors[rate])
        assert tuning.budget == "3 rates x 2 seeds x 1 epoch"


@here
def test_the_budget_and_a_rate_at_the_edge_are_in_the_rows_and_below_the_table():
    settings = {"train": {"lr_grid": [0.001, 0.0001]}}
    table = relubench.train("relu", lr="auto", settings=settings, epochs=1, model="mlp-1x16")
    (row,) = table.rows
    assert (row["lr"], row["lr_budget"], row["lr_edge"]) == (0.001, "2 rates x 1 seed x 1 epoch", "highest")
    notes = " ".join(table.report.note_texts)
    assert "the highest rate of the grid was best" in notes and "among 0.001, 0.0001" in notes
    assert relubench.train("relu", epochs=1, model="mlp-1x16").rows[0]["lr_budget"] is None


def test_a_worker_that_is_killed_is_a_failed_run_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    source = tmp_path / "mine.py"
    source.write_text(
        "import os, signal, torch\n"
        "def deadly(x):\n"
        f"    if os.getppid() == {os.getpid()}:\n"  # In a worker, not where the check runs.
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return torch.relu(x)\n"
    )
    study = Study.open(experiment({"act": [f"{source}:deadly", "relu", "tanh"], "model": {"name": "mlp-2x32"}}))
    failed = [event for event in study.run() if event.kind == "failed"]
    assert [result.outcome for result in study.results] == ["failed", "ok", "ok"]
    assert "memory" in failed[0].message and "--batch-size" in failed[0].hint


def test_a_script_without_a_main_guard_works(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text("import relubench\nprint(relubench.train(act='relu', epochs=1, model='mlp-1x8').rows[0]['n'])\n")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=300)
    assert done.stdout == "1\n", done.stderr


@here
def test_bf16_is_another_run_and_tf32_needs_cuda():
    full = relubench.train(act="relu", **SMALL)
    half = relubench.train(act="relu", settings={"train": {"precision": "bf16"}}, **SMALL)
    assert full.runs[0].id != half.runs[0].id
    with pytest.raises(relubench.RelubenchError, match="tf32 exists on cuda only"):
        relubench.train(act="relu", settings={"train": {"precision": "tf32"}})


def test_a_users_own_activation_is_known_by_what_it_imports_too(tmp_path: Path):
    (tmp_path / "helper.py").write_text("import torch\nf = torch.tanh\n")
    (tmp_path / "mine.py").write_text("import helper\ndef act(x):\n    return helper.f(x)\n")
    first = relubench.train(act=f"{tmp_path}/mine.py:act", **SMALL)
    (tmp_path / "helper.py").write_text("import torch\nf = torch.relu\n")
    second = relubench.train(act=f"{tmp_path}/mine.py:act", **SMALL)
    assert first.runs[0].id != second.runs[0].id
    assert first.rows[0]["sparsity_pct"] == 0.0
    assert second.rows[0]["sparsity_pct"] > 5.0


def test_a_users_own_activation_may_print(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    (tmp_path / "mine.py").write_text("import torch\ndef act(x):\n    print('hello')\n    return torch.relu(x)\n")
    relubench.train(act=f"{tmp_path}/mine.py:act", epochs=1, model="mlp-1x8")
    assert "hello" not in capfd.readouterr().out


@pytest.mark.parametrize("settings", [3, "lr=0.1", ["train"]])
def test_settings_that_are_no_mapping_are_refused(settings: Any):
    with pytest.raises(relubench.UsageError, match="settings is a mapping, got"):
        relubench.train(settings=settings)


def test_a_runs_folder_that_cannot_be_written_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(relubench.RelubenchError, match=r"the runs folder .* cannot be written"):
        relubench.train(act="relu", runs_dir=tmp_path / "file", **SMALL)


@here
def test_what_departs_from_the_protocol_is_said():
    settings = {"train": {"momentum": 0.5}, "model": {"dropout": 0.1}, "data": {"train_size": 500}}
    table = relubench.train(act="relu", settings=settings, **SMALL)
    assert "paper protocol, but momentum 0.5, dropout 0.1, 500 training images, 2 epochs" in repr(table).replace(
        "\n", " "
    )
    assert table.runs[0].spec["train_size"] == 500
    assert "paper protocol, but" not in repr(relubench.train(act="relu", model="mlp-1x8", seeds=1))


def test_augmentation_needs_a_convolutional_network():
    with pytest.raises(relubench.RelubenchError, match="--augment crop needs a convolutional network"):
        relubench.train(act="relu", settings={"data": {"augment": "crop"}})


@here
def test_pretraining_from_python() -> None:
    table = relubench.pretrain(
        act="sigmoid",
        method=["none", "dae"],
        pretrain_epochs=1,
        pretrain_lr=0.01,
        model="mlp-16",
        epochs=1,
        device="cpu",
    )
    assert [row["pretraining"] for row in table.rows] == ["none", "dae"]
    assert table.rows[1]["difference_pct"] is not None and table.rows[1]["pretraining_seconds"] > 0
    with pytest.raises(relubench.RelubenchError, match="belongs to the method rbm"):
        relubench.pretrain(method="dae", settings={"pretrain": {"k": 2}})
