"""`relubench train`: from argv to the configuration, and from results to stdout, stderr and the exit code."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import polars
import pytest

from relubench.cli import output
from relubench.experiments.config import ExperimentConfig
from tests.cli.fakes import Cli, FakeStudy, result


def test_flags_become_a_configuration(cli: Cli, study: FakeStudy) -> None:
    study.script = [result()]
    argv = "train --act relu --act gelu,tanh --dataset mnist --model cnn --device cpu --seeds 3 --epochs 2"
    argv += " --batch-size 32 --lr 0.01 --protocol modern --optimizer sgd --momentum 0.9 --weight-decay 0.1"
    argv += " --schedule constant --patience 2 --init he --norm batch --dropout 0.5 --sign-flip --match width"
    argv += " --augment crop --precision bf16 --keep none --no-cache --data-dir d --runs-dir r"
    assert cli(*argv.split()).code == 0
    config = study.config
    assert config is not None
    assert config.act == ("relu", "gelu,tanh")
    assert (config.data.name, config.data.augment) == ("mnist", "crop")
    model = config.model
    assert (model.name, model.init, model.norm, model.dropout, model.sign_flip, model.match) == (
        *("cnn", "he", "batch", 0.5, True, "width"),
    )
    t = config.train
    assert (t.protocol, t.optimizer, t.lr, t.momentum, t.weight_decay) == ("modern", "sgd", 0.01, 0.9, 0.1)
    assert (t.batch_size, t.epochs, t.schedule, t.patience, t.precision) == (32, 2, "constant", 2, "bf16")
    assert (config.seeds, config.device, config.keep) == ((0, 1, 2), "cpu", "none")
    assert (study.asked["data_dir"], study.asked["runs_dir"], study.asked["fresh"]) == (Path("d"), Path("r"), True)


def test_without_flags_the_schema_decides(cli: Cli, study: FakeStudy) -> None:
    study.script = [result()]
    cli("train")
    assert study.config == ExperimentConfig()
    assert study.asked["fresh"] is False


def test_flags_and_set_together(cli: Cli, study: FakeStudy) -> None:
    """What both set to the same value contradicts nothing."""
    study.script = [result()]
    both = ("--set", "train.epochs=3", "--epochs", "3", "--set", "seeds=[5]")
    cli("train", "--set", "train.l1=0.001", "--seed", "5", "--lr", "auto", *both)
    assert study.config is not None
    assert (study.config.train.epochs, study.config.train.l1, study.config.train.lr) == (3, 0.001, "auto")
    assert study.config.seeds == (5,)


def test_into_a_pipe_goes_tsv_and_nothing_else(cli: Cli, study: FakeStudy) -> None:
    study.script = [result("relu"), result("gelu")]
    ended = cli("train")
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[0].startswith("activation\tdataset\tmodel\tpretraining\tn\ttest_error_pct\t")
    assert [line.split("\t")[0] for line in lines[1:]] == ["relu", "gelu"]
    assert "preparing digits" in ended.err
    assert "relu seed 0: done" in ended.err
    assert "2 of 2 runs finished" in ended.err


@pytest.mark.parametrize("format", ["table", "tsv", "csv", "json", "jsonl", "markdown", "latex"])
def test_every_format(cli: Cli, study: FakeStudy, format: str) -> None:
    study.script = [result("relu"), result("gelu")]
    ended = cli("train", "--format", format, "--quiet")
    assert (ended.code, ended.err) == (0, "")
    assert "relu" in ended.out
    assert "\x1b" not in ended.out


def test_json_is_one_object(cli: Cli, study: FakeStudy) -> None:
    study.script = [result("relu", 0), result("relu", 1), result("gelu", 0), result("gelu", 1)]
    shown = json.loads(cli("train", "--format", "json").out)
    assert list(shown) == ["command", "version", "device", "rows", "runs", "words"]
    assert (shown["command"], shown["version"], shown["device"]) == ("train", "0.1.0", "Test CPU")
    assert [row["activation"] for row in shown["rows"]] == ["relu", "gelu"]
    assert [row["n"] for row in shown["rows"]] == [2, 2]
    assert [run["spec"]["seed"] for run in shown["runs"]] == [0, 1, 0, 1]
    assert shown["runs"][0]["timing"]["seconds"] == 1.5


def test_output_and_plot_are_written(cli: Cli, study: FakeStudy, tmp_path: Path) -> None:
    study.script = [result("relu")]
    ended = cli("train", "--output", str(tmp_path / "r.md"), "--plot", str(tmp_path / "r.svg"), "--quiet")
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert "| relu" in (tmp_path / "r.md").read_text()
    assert "<svg" in (tmp_path / "r.svg").read_text()


def test_a_failed_run_is_a_warning(cli: Cli, study: FakeStudy) -> None:
    study.script = [result("relu"), result("gelu", outcome="failed")]
    ended = cli("train", "--quiet")
    assert ended.code == 0
    assert ended.err == "warning: gelu seed 0 failed: the loss became nan\nhint: a hint\n"
    assert "failed" in ended.out


def test_nothing_computed_is_exit_1(cli: Cli, study: FakeStudy) -> None:
    study.script = [result("relu", outcome="failed")]
    ended = cli("train")
    assert ended.code == 1
    assert "error: none of the 1 runs could be computed\nhint: see the warnings above\n" in ended.err


def test_a_diverged_run_is_computed(cli: Cli, study: FakeStudy) -> None:
    study.script = [result("relu", outcome="diverged")]
    ended = cli("train")
    assert ended.code == 0
    assert "diverged" in ended.out
    assert "warning: none of 1 run has a test score: 1 diverged" in ended.err


def test_a_run_with_a_score_beside_a_diverged_one_needs_no_warning(cli: Cli, study: FakeStudy) -> None:
    study.script = [result("relu", outcome="diverged"), result("tanh")]
    assert "has a test score" not in cli("train", "--act", "relu,tanh").err


def test_interrupted_shows_what_is_finished(cli: Cli, study: FakeStudy) -> None:
    study.script = [result("relu"), None, result("gelu")]
    ended = cli("train")
    assert ended.code == 130
    assert study.closed
    assert [line.split("\t")[0] for line in ended.out.splitlines()] == ["activation", "relu"]
    assert "interrupted: 1 of 3 runs are finished; the same command goes on from here" in ended.err


def test_interrupted_before_anything(cli: Cli, study: FakeStudy) -> None:
    study.script = [None, result("relu")]
    ended = cli("train", "--quiet")
    assert (ended.code, ended.out) == (130, "")
    assert ended.err == "interrupted: 0 of 2 runs are finished; the same command goes on from here\n"


def test_interrupted_without_the_cache_goes_on_with_it(cli: Cli, study: FakeStudy) -> None:
    study.script = [None, result("relu")]
    ended = cli("train", "--quiet", "--no-cache")
    again = "the same command without --no-cache goes on from here"
    assert ended.err == f"interrupted: 0 of 2 runs are finished; {again}\n"


def test_a_result_that_cannot_be_written_is_shown(
    cli: Cli, study: FakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(output, "write_file", full)
    study.script = [result("relu")]
    path = tmp_path / "r.json"
    ended = cli("train", "--output", str(path), "--quiet")
    assert ended.code == 1
    assert ended.err == (
        f"error: --output {path} was not written: No space left on device\n"
        "hint: the result is on stdout instead; name another file\n"
    )
    assert json.loads(ended.out)["rows"][0]["activation"] == "relu"


def test_a_log_is_checked_before_any_work_and_written_at_the_end(cli: Cli, study: FakeStudy, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    study.script = [result("relu"), result("gelu")]
    assert cli("train", "--log", "tensorboard").code == 2
    assert study.config is None
    ended = cli("train", "--log", f"tensorboard:{tmp_path}")
    assert ended.code == 0 and f"written: 2 of 2 runs to tensorboard:{tmp_path}" in ended.err
    assert len(list(tmp_path.glob("*/events*"))) == 2


def test_curves_are_logged_after_each_epoch(
    cli: Cli, train_here: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard")
    from relubench.reports.logs.tensorboard import LiveCurves

    points: list[tuple[str, str, int]] = []
    add = LiveCurves.add

    def add_and_note(self: LiveCurves, folder: str, curve: str, epoch: int, value: float) -> None:
        add(self, folder, curve, epoch, value)
        points.append((folder, curve, epoch))
        assert list((tmp_path / "logs" / folder).glob("*.live"))

    monkeypatch.setattr(LiveCurves, "add", add_and_note)
    argv = ("train", "--act", "mine=tanh(x)", "--model", "mlp-1x8", "--epochs", "2", "--device", "cpu", "--seed", "3")
    ended = cli(*argv, "--log", f"tensorboard:{tmp_path / 'logs'}")
    assert ended.code == 0 and "warning" not in ended.err
    (folder,) = (tmp_path / "logs").iterdir()
    assert points == [(folder.name, "valid/error_pct", epoch) for epoch in (1, 2)]
    assert folder.name.startswith("mine_seed_3") and not list(folder.glob("*.live"))


def test_a_log_that_fails_meanwhile_is_said_once_and_stops_no_training(
    cli: Cli, train_here: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard")

    def full(self: object, folder: str, curve: str, epoch: int, value: float) -> None:
        raise OSError("no space")

    monkeypatch.setattr("relubench.reports.logs.tensorboard.LiveCurves.add", full)
    argv = ("train", "--act", "tanh", "--model", "mlp-1x8", "--epochs", "2", "--device", "cpu")
    ended = cli(*argv, "--log", f"tensorboard:{tmp_path / 'logs'}")
    assert ended.code == 0 and ended.err.count("no space; the whole runs are written at the end") == 1
    assert "written: 1 of 1 runs" in ended.err


def test_parquet_goes_into_a_file_or_a_pipe_and_not_onto_a_terminal(
    cli: Cli, study: FakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.script = [result("relu"), result("gelu")]
    path = tmp_path / "rows.parquet"
    assert cli("train", "--output", str(path)).code == 0
    assert polars.read_parquet(path)["activation"].to_list() == ["relu", "gelu"]
    monkeypatch.setattr(output, "on_terminal", lambda: True)
    ended = cli("train", "--format", "parquet")
    assert ended.code == 2 and "--output FILE.parquet" in ended.err
