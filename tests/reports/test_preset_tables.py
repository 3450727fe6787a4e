"""Every preset on a line of 80 characters: whole intervals, short headers, its own columns, no footnote twice."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from relubench.experiments.presets.catalogue import LESSONS
from relubench.reports.listings import list_presets
from relubench.reports.render import render
from relubench.runs.store import Store
from tests.reports.made_up import preset_table

PRESETS = [row["name"] for row in list_presets()] + [f"lessons/{name}" for name in LESSONS]
LINE = 80


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_fits_80_characters_with_all_that_it_is_about(name: str, tmp_path: Path) -> None:
    report = preset_table(name, Store(tmp_path))
    assert len(report.note_texts) == len({text.casefold() for text in report.note_texts})
    bare = replace(report, title="", caption="", notes=(), sentence="")
    header, table = render(bare, "table", width=LINE, colour=False).split("\u2500\n")
    body, _, left_out = table.partition("not shown at this width: ")
    assert max(map(len, table.splitlines())) <= LINE and len(header.splitlines()) - 1 <= 4, header
    assert not re.search(r"\[[^\]\n]*$", body, re.M), "an interval is broken inside its brackets"
    kept = {column.header for column in report.columns if not column.drop_order}
    assert not kept & set(left_out.replace("\n", " ").rstrip().split("; "))
    topics = {"dead-units": "dead %", "zeros": "zeros %", "gradients": "1st/last", "noise": "noise", "pareto": "time"}
    topics |= {"overlap": "overlap", "exchange": "exchange", "gain": "pretraining"}
    words = header.split()
    for figure in report.figures:
        assert all(word in words for word in topics.get(figure, "").split()), (figure, header)
