"""Data frames of a result: one row a run, one an epoch, with or without pandas."""

import importlib.util

import pytest

from relubench.reports.frames import curve_rows, frame, run_rows
from relubench.runs.result import MeasuredValue


def test_one_row_a_run_and_one_an_epoch(lab):
    lab.train("relu", seeds=2).train("tanh", seeds=1)
    rows, points = run_rows(lab.results, lab.timings), curve_rows(lab.results, lab.timings)
    assert [(row["activation"], row["seed"]) for row in rows] == [("relu", 0), ("relu", 1), ("tanh", 0)]
    assert [row["test_score"] for row in rows] == [run.test_error_pct for run in lab.results]
    assert len(points) == 3 * 8
    assert [(point["epoch"], point["epoch_seconds"]) for point in points[:2]] == [(1, 5.0), (2, 10.0)]


def test_what_a_probe_measured_is_in_both(lab):
    lab.train("prelu", seeds=1)
    lab.results[0].measured.extend(MeasuredValue(name="slope", epoch=epoch, value=epoch / 10) for epoch in (1, 8))
    assert run_rows(lab.results, lab.timings)[0]["slope"] == 0.8
    assert curve_rows(lab.results, lab.timings)[0]["slope"] == 0.1


def test_a_run_without_a_clock_has_no_seconds(lab):
    lab.train("relu", seeds=1)
    assert run_rows(lab.results, {})[0]["seconds"] is None


def test_without_pandas_rows_stay_rows(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert frame([{"a": 1}]) == [{"a": 1}]


def test_with_pandas_there_is_a_frame():
    pandas = pytest.importorskip("pandas")
    assert isinstance(frame([{"a": 1}, {"a": 2}]), pandas.DataFrame)
