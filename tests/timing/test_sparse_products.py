"""What zeros buy: the ways of multiplying give the same product, levels are met, break-even points are interpolated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from relubench.activations import select
from relubench.experiments.references import paper_sparsity
from relubench.reports.figures.draw import write_figure
from relubench.reports.figures.products import products_figure
from relubench.reports.figures.source import source_of
from relubench.reports.speed.sparse_products import WAYS as SHOWN
from relubench.reports.speed.sparse_products import sentence, sparsity_report
from relubench.timing import products
from relubench.timing.measurement import AgainstItself, Measurement
from relubench.timing.request import Request
from relubench.timing.sparse_products import (
    BATCHES,
    LEVELS,
    Hidden,
    SparsityRow,
    break_even,
    key_name,
    settings,
    sparsity_rows,
)
from tests.timing.test_arithmetic import NoClock

ABOUT = Measurement(
    subject="mnist · mlp-2x32 · relu",
    clock="fake",
    rounds=8,
    seconds=1.0,
    ended="budget",
    budget_s=1.0,
    rel_ci=0.02,
    against_itself=AgainstItself(3, 0, 0.01),
)


def hidden(units: int = 40, outputs: int = 24) -> Hidden:
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(256, units, generator=generator)
    return Hidden(name="1", z=z, h=z.relu(), w_t=torch.randn(units, outputs, generator=generator))


@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize("way", products.WAYS)
def test_every_way_gives_the_dense_product(way: str, batch: int) -> None:
    one = hidden()
    h = one.h[:batch].clone()
    h[-1] = 0.0  # An image without any activation has to come out as zeros.
    made = products.ways(one.w_t)[way](h)()
    assert torch.allclose(made, h @ one.w_t, atol=1e-4)


def test_a_way_that_is_wrong_is_a_failed_row_and_the_others_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    right = products.ways

    def wrong(w_t: torch.Tensor) -> dict[str, products.Way]:
        return {**right(w_t), "csr": lambda h: lambda: 2 * (h @ w_t)}

    monkeypatch.setattr(products, "ways", wrong)
    known = settings([hidden()], select(["relu"])[0], 83.4)[:1]
    session = products.prepare(Request(sizes=(), budget_s=0.01), [one.load for one in known], NoClock())
    for _ in session.run():
        pass
    (row,) = sparsity_rows(session, known)
    assert (row.outcome, row.csr_us, row.columns_us is not None) == ("failed", None, True)
    assert "its product is" in row.message


def test_levels_are_met_by_moving_the_bias() -> None:
    made = settings([hidden()], select(["relu"])[0], 83.4)
    shifted = [one for one in made if one.source == "shifted" and one.load.batch == 128]
    assert [one.sparsity_pct for one in shifted] == pytest.approx(sorted([*LEVELS, 83.4]), abs=0.6)
    trained = [one for one in made if one.source == "trained"]
    assert [one.load.batch for one in trained] == list(BATCHES)
    assert trained[-1].sparsity_pct == pytest.approx(50, abs=2)
    assert trained[0].zero_columns_pct == pytest.approx(trained[0].sparsity_pct)
    assert trained[-1].zero_columns_pct < 1


def line(*ratios: float | None, batch: int = 1) -> list[SparsityRow]:
    common: dict[str, Any] = {"source": "shifted", "layer": "1", "batch": batch, "inputs": 4, "outputs": 4}
    levels = [0.0, 50.0, 80.0, 100.0]
    made = []
    for level, ratio in zip(levels, ratios, strict=True):
        word = None if ratio is None else "faster" if ratio < 1 else "slower"
        facts = {**common, "sparsity_pct": level, "zero_columns_pct": 0.0, "dense_us": 1.0}
        made.append(SparsityRow(**facts, csr_us=ratio, csr_ratio=ratio, csr_verdict=word))
    return made


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ((2.0, 1.5, 0.5, 0.1), 65.0),
        ((2.0, 0.9, 1.2, 0.8), 90.0),
        ((0.9, 0.8, 0.7, 0.6), 0.0),
        ((3.0, 2.0, 2.0, 1.5), None),
        ((None, None, None, None), None),
    ],
)
def test_break_even_is_the_last_crossing(ratios: tuple[float | None, ...], expected: float | None) -> None:
    assert break_even(line(*ratios), "csr", 1) == pytest.approx(expected)
    assert break_even(line(*ratios), "csr", 10) is None


def test_keys_are_named_after_the_ways() -> None:
    assert [key_name(way) for way in products.WAYS] == ["dense", *SHOWN]


def test_the_report_marks_the_papers_zeros_and_the_break_even(tmp_path: Path) -> None:
    assert paper_sparsity() == 83.4
    made = [
        replace(one, columns_ratio=2.0, columns_verdict="slower", per_image_ratio=1.5, per_image_verdict="slower")
        for one in line(2.0, 1.5, 0.5, 0.1)
    ]
    rows = [one.to_json() for one in made]
    even = {(1, way): break_even(made, way, 1) for way in SHOWN}
    report = sparsity_report(rows, [], even, ABOUT, device="cpu")
    assert report.about["break_even"] == [
        {"batch": 1, "columns_pct": None, "per_image_pct": None, "csr_pct": 65.0, "csr_converted_pct": None}
    ]
    assert report.sentence == (
        "At 83.4 % zeros, which is what the paper's network has on MNIST, leaving them out takes 0.50 times the "
        "dense product's time for one image (CSR, break-even 65 %)."
    )
    first, second = report.tables
    assert (first.sentence, second.sentence) == ("", report.sentence)
    shown = [column.cell(second.rows[0])[0] for column in second.columns]
    assert shown == ["1", "never", "never", "65", "no interval"]
    assert sentence([], [], 83.4) == "Nothing could be compared with the dense product."
    assert "too few for an interval" not in " ".join(report.note_texts)
    assert sum("the dense product was also timed against itself" in note for note in report.note_texts) == 1
    figure = products_figure(source_of(report))
    assert figure is not None and [rule.at for rule in figure.panels[0].rules] == [83.4]
    write_figure(figure, tmp_path / "s.png")
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("rounds", [1, 2])
def test_one_round_gives_times_and_no_ratio(rounds: int) -> None:
    products_to_time = settings([hidden()], select(["relu"])[0], 83.4)
    loads = [setting.load for setting in products_to_time]
    session = products.prepare(Request(sizes=(), budget_s=60.0), loads, NoClock())
    for _ in session.run():
        if session.rounds == rounds:
            break
    rows = sparsity_rows(session, products_to_time)
    assert all(row.csr_us is not None and row.dense_us is not None for row in rows)
    assert {row.csr_ratio is None for row in rows} == {rounds == 1}
    report = sparsity_report(
        [row.to_json() for row in rows], [], {(b, w): None for b in BATCHES for w in SHOWN}, ABOUT, device=""
    )
    assert report.sentence.startswith("Nothing can be said of one image")
    assert ("×" in str([column.cell(row) for column in report.tables[0].columns for row in report.tables[0].rows])) == (
        rounds > 1
    )


def test_nobody_wins_without_an_interval() -> None:
    made = [replace(row, csr_verdict=None) for row in line(2.0, 1.5, 0.5, 0.1)]
    rows = [row.to_json() for row in made]
    even = {(1, way): break_even(made, way, 1) for way in SHOWN}
    about = replace(ABOUT, against_itself=AgainstItself(0, 0, 0.0))
    report = sparsity_report(rows, [], even, about, device="cpu")
    assert report.about["break_even"][0]["csr_pct"] is None
    assert report.sentence.startswith("Nothing can be said of one image: there were too few rounds")
    assert any("too few for an interval" in note for note in report.note_texts)
    assert not any("0 of 0" in note for note in report.note_texts)
    _, second = report.tables
    assert {column.cell(second.rows[0])[0] for column in second.columns[1:]} == {"no interval"}


def test_the_fastest_way_within_noise_is_no_winner() -> None:
    made = [replace(row, csr_verdict="no difference") for row in line(1.02, 1.01, 0.99, 0.98)]
    report = sparsity_report(
        [row.to_json() for row in made], [], {(1, way): break_even(made, way, 1) for way in SHOWN}, ABOUT, device="cpu"
    )
    assert "as long as the dense product, within noise, for one image" in report.sentence
