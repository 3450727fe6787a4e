"""Every preset on a line of 80 characters: whole intervals, short headers, its own columns, no footnote twice."""

from __future__ import annotations

import re
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
    text = render(report, "table", width=LINE, colour=False)
    assert max(map(len, text.splitlines())) <= LINE
    head, table = text.split("─" * 10, 1)
    body = table.split("not shown at this width")[0]
    assert not re.search(r"\[[-+\d.]+,(?! ?[-+\d.]+\])", body), body
    left_out = re.findall(r"not shown at this width: ((?:.|\n)*?)\n95 %", text)
    kept = [column.header for column in report.columns if not column.drop_order]
    assert not set(kept) & set("".join(left_out).replace("\n", " ").split("; "))
    title = len(render_title(report)) // LINE
    assert len(head.splitlines()) - title <= 8, head
    assert len(report.note_texts) == len(set(report.note_texts))


def render_title(report) -> str:
    return f"{report.title} {report.caption}"
