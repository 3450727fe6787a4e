"""Every run behind a table: the settings that all share said once, those that differ a column each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from relubench.reports.figures.source import named_row
from relubench.reports.formatting import count, duration, short
from relubench.reports.page.markup import element, facts, folded, text_of
from relubench.reports.report import Report, Row

FIRST = ("activation", "variant", "seed")
OWN_COLUMNS = ("outcome", "epochs", "best_epoch")
MOST_VARIED = 14
"""Settings that differ, beyond which the rest is left to the raw data: a table of forty columns helps nobody."""


def runs_html(report: Report) -> str:
    """The settings and the runs; empty for a result without trained networks."""
    runs = [
        {**run, "spec": named_row(run["spec"], report.names)}
        for run in report.runs
        if isinstance(run.get("spec"), dict)
    ]
    if not runs:
        return ""
    specs = [_flat(run["spec"]) for run in runs]
    keys = list(dict.fromkeys(key for spec in specs for key in spec))
    values = {key: {json.dumps(spec.get(key)) for spec in specs} for key in keys}
    shared = {key: _shown(specs[0].get(key)) for key in keys if len(values[key]) == 1}
    shared = {key: value for key, value in shared.items() if value != ""} | _versions(runs)
    varied = [key for key in keys if len(values[key]) > 1 and key not in FIRST]
    columns = [*(key for key in FIRST if len(values.get(key, ())) > 1 or key != "variant"), *varied[:MOST_VARIED]]
    rest = varied[MOST_VARIED:]
    note = (
        f"<p class='soft'>Further settings that differ are in the raw data: {text_of(', '.join(rest))}.</p>"
        if rest
        else ""
    )
    lines = "".join(_line(run, spec, columns) for run, spec in zip(runs, specs, strict=True))
    heads = "".join(
        f'<th scope="col">{text_of(head)}' for head in ("run", *columns, *OWN_COLUMNS, "test score", "time")
    )
    table = element("table", f"<thead><tr>{heads}</tr></thead><tbody>{lines}</tbody>")
    scroll = element("div", table, class_="scroll", tabindex="0", role="region", aria_label="The runs")
    return folded("Settings that all runs share", facts(shared), "printed") + folded(
        f"{count(len(runs), 'run')}, one by one", note + scroll, "runs"
    )


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under names with dots."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_shown(item) for item in value)
    # Whole numbers are names as often as counts: a seed of 1,000 is 1000.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else short(value)


def _versions(runs: Sequence[Row]) -> dict[str, str]:
    """The versions of what computed, where all runs have the same ones."""
    versions = [run.get("versions") or {} for run in runs]
    return {
        f"version of {name}": str(value)
        for name, value in versions[0].items()
        if all(v.get(name) == value for v in versions)
    }


def _line(run: Row, spec: dict[str, Any], columns: Sequence[str]) -> str:
    score = run.get("test_metric") if run.get("test_error_pct") is None else run.get("test_error_pct")
    timing = run.get("timing") or {}
    cells = [
        str(run.get("id", "")),
        *(_shown(spec.get(column)) for column in columns),
        *(_shown(run.get(column)) for column in OWN_COLUMNS),
        short(score),
        duration(timing.get("seconds")),
    ]
    key = text_of(spec.get("activation", ""))
    return f'<tr data-key="{key}">' + "".join(f"<td>{text_of(cell)}" for cell in cells)
