"""A measurement over several processes: real ones, what they tell, and what becomes of one that fails."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relubench.errors import ComputeError
from relubench.timing import processes, rows
from relubench.timing.processes import ProcessSeries, choose_num_processes
from relubench.timing.request import Request, Size

REQUEST = Request(sizes=(Size("512", 512),), passes=("forward", "forward+backward"))


def measured(acts: list[str], number: int = 2) -> ProcessSeries:
    """A measurement of one round in each of so many processes."""
    one = ProcessSeries(REQUEST, acts)
    for _ in range(number):
        for told in one._part(time.monotonic()):
            last = told
        one._add_message(last)
    return one


def test_two_processes_make_one_table() -> None:
    session = measured(["relu", "gelu", "glu"]).session
    assert session.rounds == 2
    assert [(cell.name, cell.rounds) for cell in session.cells] == [("forward", [1, 1]), ("forward+backward", [1, 1])]
    made = rows.rows(session)
    assert [row.activation for row in made if row.pass_ == "forward"] == ["relu", "gelu", "glu"]
    for row in made:
        assert (row.outcome, row.rounds, row.processes) == ("ok", 2, 2)
        assert row.ns_per_element is not None
        assert (row.ns_per_element_ci_low, row.verdict) == (None, None), "two processes give no interval"
        assert row.gb_per_s
        assert row.roof_share
        assert (row.kept_bytes_per_element is not None) == (row.pass_ == "forward+backward")
    positions = [one.positions for one in session.cells[0].candidates]
    assert len({pair[0] for pair in positions}) == len({pair[1] for pair in positions}) == len(positions)
    runs = rows.runs(session)
    assert all(run["rounds_of_processes"] == [1, 1] and len(run["samples_ns_per_element"]) == 2 for run in runs)
    assert rows.against_itself(session).cells == 0


def test_the_second_process_takes_over_how_many_calls_a_sample_takes() -> None:
    one = measured(["relu"], 1)
    calls = [{each.label: each.number for each in cell.candidates} for cell in one.session.cells]
    assert min(min(cell.values()) for cell in calls) > 1
    firsts = [each.first for each in one.session.cells[0].candidates]
    assert all(first is not None for first in firsts)
    for told in one._part(time.monotonic()):
        last = told
    for cell, known in zip(last["cells"], calls, strict=True):
        assert {each["label"]: each["number"] for each in cell["contestants"]} == known
        assert [each["first"] for each in cell["contestants"]] == [None] * len(known)


def test_what_fails_in_one_process_is_a_failed_row(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    (tmp_path / "mine.py").write_text(
        "from pathlib import Path\n"
        f"FLAG = Path({str(flag)!r})\n"
        "print('this is not JSON')\nif FLAG.exists():\n    raise ValueError('no luck')\n"
        "def same(x):\n    return x.clone()\n"
    )
    one = measured(["tanh", f"{tmp_path}/mine.py:same"], 1)
    assert {row.outcome for row in rows.rows(one.session)} == {"ok"}
    flag.write_text("")
    one._add_message(list(one._part(time.monotonic()))[-1])
    made = {row.activation.rpartition(":")[2]: row for row in rows.rows(one.session)}
    assert (made["same"].outcome, "no luck" in made["same"].message) == ("failed", True)
    assert (made["tanh"].outcome, made["tanh"].rounds) == ("ok", 2)


def test_where_nothing_can_be_measured_it_says_why(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def broken(x): raise ValueError('no luck')\n")
    with pytest.raises(ComputeError, match="no activation could be measured") as raised:
        measured([f"{tmp_path}/mine.py:broken"], 1)
    assert "no luck" in raised.value.hint


def test_a_process_that_dies_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import os\ndef gone(x): os._exit(7)\n")
    with pytest.raises(ComputeError, match="exit code 7"):
        measured([f"{tmp_path}/mine.py:gone"], 1)


class Pretended(ProcessSeries):
    """Every process takes ten seconds, and finds tanh as fast as relu, give or take `noise`."""

    def __init__(self, noise: float, monkeypatch: pytest.MonkeyPatch, **asked: float) -> None:
        super().__init__(Request(sizes=REQUEST.sizes, passes=("forward",), **asked), ["relu", "tanh"])
        self.noise, self.now, self.untils = noise, 1000.0, []
        monkeypatch.setattr(processes.time, "monotonic", lambda: self.now)

    def _part(self, until: float) -> Iterator[dict[str, Any]]:
        self.untils.append(until)
        self.now += 10.0
        yield {"rounds": 3, "open": 0, "cells": [self._cell()]}

    def _cell(self) -> dict[str, Any]:
        timed_call = {"traffic": [{"reads": 1, "writes": 1}], "storage": "existing", "kept_bytes": 4.0, "calls": 1}
        named = {"label": "", "role": "activation", "number": 1, "positions": [0, 1, 2], "first": 1.0}
        named |= {"failure": "", "skipped": False, "task": timed_call}
        found = [
            {**named, "label": "relu", "samples": [1.0] * 3},
            {**named, "label": "tanh", "samples": [1.0 + self.noise * self.done] * 3},
            {**named, "label": "relu again", "role": "twin", "samples": [1.0] * 3},
            {**named, "label": "read-write", "role": "roof", "samples": [0.9] * 3},
        ]
        facts = {"size": {"name": "512", "elements": 512}, "dtype": "fp32", "mode": "eager"}
        return {**facts, "name": "forward", "cold": False, "contestants": found}


def test_a_measurement_ends_when_it_is_known_well_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Pretended(0.0001, monkeypatch, budget_s=150.0)
    told = list(one.run())
    assert (one.session.ended, one.done, one.session.rounds) == ("interval", 4, 12)
    assert told[:4] == [(0, 0, 0.0), (3, 0, 1 / 15), (3, 1, 1 / 15), (6, 0, 2 / 15)]
    assert told[-1] == (12, 0, 4 / 15)
    assert one.session.cells[0].rounds == [3] * 4
    # What early processes leave over goes to the others.
    left = [until - 1000.0 for until in one.untils]
    assert left[:2] == pytest.approx([150 / 12, 10 + 140 / 11])


def test_a_measurement_goes_on_to_the_end_of_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Pretended(0.2, monkeypatch, budget_s=150.0)
    list(one.run())
    assert (one.session.ended, one.done, one.session.seconds) == ("budget", 15, 150.0)
    assert one.untils[-1] == pytest.approx(1150.0)
    (tanh,) = [row for row in rows.rows(one.session) if row.activation == "tanh"]
    assert tanh.ratio_to_relu_ci_high is not None
    assert tanh.ratio_to_relu_ci_high > 1.2


def test_a_late_failure_loses_nothing_that_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    class Doomed(Pretended):
        def _part(self, until: float) -> Iterator[dict[str, Any]]:
            yield {"rounds": 1, "open": 1}
            if self.done == 5:
                raise ComputeError("a process that measures was killed", "")
            yield from super()._part(until)

    one = Doomed(0.2, monkeypatch, budget_s=150.0)
    list(one.run())
    assert (one.session.ended, one.done, one.session.rounds) == ("failure", 5, 15)
    assert one.warnings == ["warning: a process that measures was killed; what the 5 before it found is given"]
    assert all(row.ns_per_element_ci_low is not None for row in rows.rows(one.session))


def test_slow_starts_make_fewer_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(Pretended):
        def _part(self, until: float) -> Iterator[dict[str, Any]]:
            self.now += 15.0
            yield {"rounds": 0, "open": 1}
            yield from super()._part(until)

    one = Slow(0.2, monkeypatch, budget_s=150.0)
    list(one.run())
    # Of 12 parts only 5 remain, whose starts take half of the budget.
    assert one.untils[1] - 1000.0 == pytest.approx(25 + 125 / 4)


@pytest.mark.parametrize(
    ("budget", "device", "compiled", "number"),
    [
        (75.0, "cpu", False, 6),
        (47.0, "cpu", False, 1),
        (48.0, "cpu", False, 4),
        (6000.0, "cpu", False, 20),
        (75.0, "cuda", False, 1),
        (75.0, "cpu", True, 1),
    ],
)
def test_how_many_processes(budget: float, device: str, compiled: bool, number: int) -> None:
    assert choose_num_processes(Request(sizes=REQUEST.sizes, budget_s=budget, compiled=compiled), device) == number
