"""The closing sentence of `relubench speed`, from made-up rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from relubench.reports.speed.notes import PAIRED, paired_note
from relubench.reports.speed.operators import sentence, speed_report
from relubench.timing.measurement import AgainstItself, Measurement

COURSE = Measurement(
    clock="fake",
    ended="budget",
    rounds=9,
    processes=1,
    seconds=60.0,
    budget_s=60.0,
    rel_ci=0.02,
    against_itself=AgainstItself(1, 0, 0.01),
    roofs=[],
)


def row(name: str, ratio: float | None, verdict: str | None) -> dict[str, Any]:
    cell = {"size": "memory", "dtype": "fp32", "mode": "eager", "pass": "forward"}
    return {
        "activation": name,
        "outcome": "ok",
        "ratio_to_relu": ratio,
        "verdict": verdict,
        "ns_per_element": 1.0,
        **cell,
    }


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            [row("tanh", 8.0, "slower"), row("relu6", 1.0, "no difference"), row("silu", 0.5, "faster")],
            "tanh is the slowest, 8.00 times relu's time; relu6 cannot be told from relu; silu is faster.",
        ),
        ([row("tanh", 1.1, "no difference"), row("elu", 1.2, "no difference")], "no activation can be told from relu."),
        ([row("tanh", 0.2, "faster"), row("elu", 0.3, "faster")], "tanh, elu are faster."),
        ([row("tanh", 1.3, "no difference"), row("elu", 0.3, "faster")], "tanh cannot be told from relu; elu is"),
    ],
)
def test_the_sentence_claims_no_more_than_the_verdicts(rows: list[dict[str, Any]], expected: str) -> None:
    text = sentence([row("relu", 1.0, None), *rows], COURSE)
    assert text.startswith(f"In forward, memory, fp32: {expected}")


@pytest.mark.parametrize(
    ("ratio", "time", "words"),
    [(2.0, 2.06, ""), (2.0, 1.0, "by a factor of up to 2.00 here: silu"), (2.0, 6.0, "of up to 3.00 here: silu")],
)
def test_a_ratio_apart_from_the_quotient_of_its_times_is_said_with_a_number(
    ratio: float, time: float, words: str
) -> None:
    note = paired_note([("tanh", 1.0, 1.01, 1.0), ("silu", ratio, time, 1.0), ("elu", None, None, 1.0)])
    assert note.startswith(PAIRED) and "trust the ratio" in note
    assert (words in note, "factor" in note) == (True, bool(words))


def test_the_table_says_which_number_to_trust() -> None:
    full = {key: None for key in ("ratio_to_relu_ci_low", "ratio_to_relu_ci_high", "roof_share", "compile_seconds")}
    full |= {"elements": 65536, "storage": "existing", "cache": "warm", "kept_bytes_per_element": 4, "message": ""}
    rows = [{**row("relu", 1.0, None), **full}, {**row("silu", 4.0, "slower"), **full, "ns_per_element": 2.0}]
    report = speed_report(rows, [], replace(COURSE, sizes=[("65536", 65536)]), device="cpu")
    assert sum("a factor of up to 2.00 here: silu, forward" in note for note in report.note_texts) == 1
    assert sum(note.startswith("kept B: bytes") for note in report.note_texts) == 1
    assert "65536: 65,536" not in report.caption
    text = " ".join(report.note_texts)
    assert "relu was also timed against itself" in text and "leave out 1" not in text


def test_too_few_rounds_tell_nothing() -> None:
    text = sentence([row("relu", 1.0, None), row("tanh", 8.0, None)], COURSE)
    assert text.endswith("too few rounds to tell anything from relu; give it a larger --budget.")


def test_without_ratios_nothing_is_compared() -> None:
    assert sentence([row("relu", None, None)], COURSE) == "Nothing could be compared with relu."
