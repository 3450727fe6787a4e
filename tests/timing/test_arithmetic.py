"""What an operation costs beyond its call, from samples by rule."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from relubench.reports.speed.arithmetic import arithmetic_report, article_cycles, sentence
from relubench.timing import arithmetic
from relubench.timing.measurement import AgainstItself, Measurement
from relubench.timing.request import Request
from relubench.timing.schedule import Session

ABOUT = Measurement(
    clock="fake",
    rounds=8,
    seconds=1.0,
    ended="budget",
    budget_s=1.0,
    rel_ci=0.02,
    against_itself=AgainstItself(1, 0, 0.02, 0.98, 1.02),
)
COSTS = {"add": 0.05, "multiply": 0.05, "compare": 0.055, "divide": 0.1, "exp": 0.6, "log": 1.0, "add again": 0.0502}
CALL = 800.0


class NoClock:
    name = "none"

    def sample(self, call: Callable[[], object], number: int, *, cold: bool) -> float:
        call()
        return 1e-6


def measured() -> Session:
    """Eight rounds in which a call costs 800 ns, and each element what COSTS says, within a per cent."""
    made = arithmetic.prepare(Request(sizes=(), budget_s=0.01), 48 * 2**10, NoClock())
    call, array = made.cells
    many = array.size.elements
    for cell in made.cells:
        for one in cell.candidates:
            noise = [1 + 0.002 * (k % 5 - 2) for k in range(8)]
            each = [COSTS[one.label] * wobble for wobble in noise]
            one.samples = [CALL + mine if cell is call else (CALL + many * mine) / many for mine in each]
    return made


def test_the_call_is_subtracted() -> None:
    made = measured()
    rows = {row.operation: row for row in arithmetic.rows(made, article_cycles())}
    assert list(rows) == ["add", "multiply", "compare", "divide", "exp", "log"]
    for name, row in rows.items():
        assert row.ns_per_element == pytest.approx(COSTS[name], rel=0.01)
        assert row.call_ns == pytest.approx(CALL + COSTS[name], rel=0.01)
    assert rows["exp"].ratio_to_add == pytest.approx(12.0, rel=0.01)
    assert (rows["exp"].verdict, rows["multiply"].verdict, rows["add"].verdict) == ("dearer", "no difference", None)


def test_the_array_and_its_operands_fit_half_of_the_first_cache() -> None:
    elements = measured().cells[1].size.elements
    assert 3 * 4 * elements <= 24 * 2**10 < 3 * 4 * (elements + 1)


def test_operations_compute_what_they_are_called() -> None:
    a, b = torch.tensor([4.0, 1.0]), torch.tensor([2.0, 3.0])
    found = {name: one(a, b, torch.empty(2)) for name, one in arithmetic.OPERATIONS.items()}
    expected = {
        "add": a + b,
        "multiply": a * b,
        "compare": torch.tensor([4.0, 3.0]),
        "divide": a / b,
        "exp": a.exp(),
        "log": a.log(),
    }
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_cost_that_cannot_be_told_from_nothing_has_no_ratio() -> None:
    made = measured()
    made.cells[1].candidate("add").samples = [0.0] * 8
    assert all(row.ratio_to_add is None for row in arithmetic.rows(made, {}))
    assert sentence([row.to_json() for row in arithmetic.rows(made, {})]).startswith("Nothing could be compared")


@pytest.mark.parametrize("name", ["add", "compare", "log"])
def test_a_cost_below_zero_is_unclear_and_nothing_is_said_of_it(name: str) -> None:
    """On a busy machine a call on one element may take longer than one on the array."""
    made = measured()
    made.cells[0].candidate(name).samples = [CALL, 9000.0, CALL, 9000.0, 9000.0, CALL, 9000.0, CALL]
    rows = [row.to_json() for row in arithmetic.rows(made, article_cycles())]
    report = arithmetic_report(rows, [], ABOUT, device="cpu")
    costs, ratios = report.columns[1], report.columns[2]
    shown = {row["operation"]: (costs.cell(row)[0], ratios.cell(row)[0]) for row in rows}
    assert shown[name] == ("unclear", "unclear")
    others = {ratio for other, (_, ratio) in shown.items() if other != name}
    assert others == {"unclear"} if name == "add" else "unclear" not in others
    assert sum(note.startswith("unclear: ") for note in report.note_texts) == 1
    assert report.sentence.startswith("Nothing") == (name != "log")


def test_the_articles_cycles_stand_beside_it() -> None:
    assert article_cycles()["exp"] == (50.0, 100.0)
    rows = [row.to_json() for row in arithmetic.rows(measured(), article_cycles())]
    report = arithmetic_report(rows, [], ABOUT, device="cpu")
    assert report.sentence.startswith("Here an exp takes 12.0 times as long as an addition (article: 50 to 100)")
    assert any("0.98 to 1.02" in note for note in report.note_texts)
    assert any("most of its numbers are not in the published paper" in note for note in report.note_texts)
