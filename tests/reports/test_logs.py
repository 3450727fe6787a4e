"""Runs in the logs of other programs, read back with those programs' own libraries."""

import sys
from dataclasses import replace

import pytest

from relubench.errors import UsageError
from relubench.reports.logs.run import flat_settings, logged_runs
from relubench.reports.logs.table import Log
from relubench.reports.report import Report
from relubench.runs.result import MeasuredValue


@pytest.fixture
def report(lab):
    lab.train("relu", seeds=2, epochs=3).train("x*tanh(exp(x))", seeds=1, epochs=3, layers=[64, 32], scale=2)
    slope = MeasuredValue(name="slope", epoch=2, value=0.25)
    lab.results[0] = replace(lab.results[0], measured=[slope])
    return replace(lab.report(), names={"x*tanh(exp(x))": "texp"})


def test_a_logged_run_has_the_users_name_settings_curves_and_final_numbers(lab, report):
    runs = logged_runs(report)
    assert [run.name for run in runs] == ["relu, seed 0", "relu, seed 1", "texp, seed 0"]
    assert runs[2].settings["layers"] == "64, 32" and runs[0].settings["lr"] == 0.1
    points = [point.values["valid/error_pct"] for point in runs[0].points]
    assert points == [point.valid_error_pct for point in lab.results[0].curve]
    assert [point.values.get("hidden/slope") for point in runs[0].points] == [None, 0.25, None]
    assert runs[2].final["final/test_error_pct"] == lab.results[2].test_error_pct


def test_what_is_not_set_or_not_finite_is_left_out(lab):
    lab.train("relu", seeds=1).spoil("relu", "diverged", seeds=(0,))
    (run,) = logged_runs(lab.report())
    assert "final/test_error_pct" not in run.final and run.outcome == "diverged"
    assert flat_settings({"a": {"b": None, "c": True}, "d": []}) == {"a.c": True, "d": ""}


def test_tensorboard_reads_curves_settings_and_final_numbers(lab, report, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    log = Log.parse(f"tensorboard:{tmp_path / 'logs'}")
    assert log.write(report).startswith("written: 3 of 3 runs")
    folders = sorted(folder.name for folder in (tmp_path / "logs").iterdir())
    assert folders == ["relu_seed_0-run0000", "relu_seed_1-run0001", "texp_seed_0-run0002"]
    events = EventAccumulator(str(tmp_path / "logs" / folders[0])).Reload()
    curve = events.Scalars("valid/error_pct")
    assert [(point.step, point.value) for point in curve] == [
        (point.epoch, pytest.approx(point.valid_error_pct)) for point in lab.results[0].curve
    ]
    assert curve[1].wall_time - curve[0].wall_time == pytest.approx(5.0)
    assert events.Scalars("final/test_error_pct")[0].value == pytest.approx(lab.results[0].test_error_pct)
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    settings = HParamsPluginData.FromString(content).session_start_info.hparams
    assert settings["activation"].string_value == "relu" and settings["lr"].number_value == 0.1
    assert "3 are there already" in log.write(report)
    assert len(list((tmp_path / "logs").rglob("events*"))) == 3


def test_a_curve_is_in_tensorboard_while_its_run_goes_on_and_gives_way_to_the_whole_run(lab, report, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log, folder = Log.parse(f"tensorboard:{tmp_path}"), "relu_seed_0-run0000"
    for epoch, score in ((1, 9.0), (2, 8.0)):
        log.live.add(folder, "valid/error_pct", epoch, score)
    live = log.live
    live.add(folder, "valid/error_pct", 3, 7.5)
    seen = EventAccumulator(str(tmp_path / folder)).Reload().Scalars("valid/error_pct")
    assert {(point.step, point.value) for point in seen} == {(1, 9.0), (2, 8.0), (3, 7.5)}
    live.end(folder)
    # What a process left that was killed does not count as the run.
    assert log.write(report).startswith("written: 3 of 3 runs")
    events = EventAccumulator(str(tmp_path / folder)).Reload()
    assert len(events.Scalars("valid/error_pct")) == len(lab.results[0].curve)
    assert not list(tmp_path.rglob("*.live")) and "3 are there already" in log.write(report)


@pytest.mark.parametrize(
    "row",
    [
        {"activation": "relu", "size": "cache", "elements": 65536, "pass": "forward", "ns_per_element": 0.25},
        {"operation": "exp", "elements": 4096, "dtype": "fp32", "ns_per_element": 0.25, "verdict": "dearer"},
    ],
)
def test_a_row_of_timings_is_logged_with_its_numbers(row):
    report = Report(command="speed", rows=[row | {"ratio": None, "rounds": 7}], columns=[])
    (run,) = logged_runs(report)
    assert run.name.split(", ")[0] == next(iter(row.values())) and "dearer" not in run.name
    assert run.final == {"speed/ns_per_element": 0.25, "speed/rounds": 7.0}
    assert run.settings["elements"] == row["elements"]
    (slower,) = logged_runs(replace(report, rows=[{**report.rows[0], "ns_per_element": 0.5}]))
    assert slower.name == run.name and slower.id != run.id


def test_mlflow_reads_curves_settings_and_final_numbers(lab, report, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    # A folder takes no seconds to make, as a database does.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    log = Log.parse(f"mlflow:{tmp_path / 'runs'}")
    assert log.write(report).startswith("written: 3 of 3 runs")
    client = mlflow.MlflowClient(tracking_uri=str(tmp_path / "runs"))
    experiment = client.get_experiment_by_name("relubench train")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    run = runs["texp, seed 0"]
    assert (run.data.params["activation"], run.data.params["layers"]) == ("texp", "64, 32")
    assert run.data.tags["relubench.run"] == "run0002" and run.info.status == "FINISHED"
    assert run.data.metrics["final/test_error_pct"] == lab.results[2].test_error_pct
    curve = client.get_metric_history(run.info.run_id, "valid/error_pct")
    assert [(point.step, point.value) for point in curve] == [
        (point.epoch, point.valid_error_pct) for point in lab.results[2].curve
    ]
    assert run.info.end_time - run.info.start_time == 60_000
    assert "3 are there already" in log.write(report)


@pytest.mark.parametrize(("kind", "module"), [("tensorboard", "tensorboard"), ("mlflow", "mlflow")])
def test_a_log_whose_library_is_missing_names_the_command(kind, module, monkeypatch, tmp_path):
    for name in [name for name in sys.modules if name == module or name.startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match="is not installed here") as caught:
        Log.parse(f"{kind}:{tmp_path}")
    assert caught.value.hint == f"pip install 'relubench[{kind}]'"


@pytest.mark.parametrize("text", ["wandb:here", "tensorboard", "tensorboard:", "mlflow:"])
def test_a_log_that_says_no_place_is_refused(text):
    with pytest.raises(UsageError, match=r"no log called|does not say where") as caught:
        Log.parse(text)
    assert "mlflow:URI" in caught.value.hint


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    pytest.importorskip("tensorboard")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="this is a file"):
        Log.parse(f"tensorboard:{tmp_path / 'file'}")
