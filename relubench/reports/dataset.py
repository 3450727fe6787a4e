"""A data set in numbers: each of its parts, and what a person has to know before believing a result on it."""

from __future__ import annotations

import numpy as np

from relubench.data import PreparedData
from relubench.data.description import facts_of, summary
from relubench.data.facts import PART_NAMES, Facts
from relubench.data.notes import format_names, printable
from relubench.errors import WARNING
from relubench.reports.report import Report, Row, footnotes, listing


def dataset_report(prepared: PreparedData, sheet: str | None) -> Report:
    """A row for each part; around it the data set in one line, where it came from, and the warnings.

    `sheet`: the file that samples were drawn into, if any.
    """
    facts = facts_of(prepared)
    is_text = prepared.context is not None
    rows = [_row_of_text(part, facts) if is_text else _row(part, facts) for part in PART_NAMES]
    source = printable(prepared.source)
    lines = [
        *([] if is_text else [f"classes: {format_names(facts.names)}"]),
        f"source: {source}",
        *(f"{WARNING}{warning}" for warning in facts.warnings),
    ]
    lines += [f"samples are drawn in {sheet}"] if sheet else []
    about = {
        "dataset": prepared.name,
        "digest": prepared.digest,
        "input_shape": list(prepared.input_shape),
        "classes": list(facts.names),
        "counts": {part: list(facts.parts[part].counts) for part in PART_NAMES},
        "scale": prepared.scale,
        "shift": prepared.shift,
        "source": source,
        "notes": list(facts.notes),
        "warnings": list(facts.warnings),
        "sheet": sheet,
    }
    return listing("show data", rows, title=summary(prepared), notes=footnotes(lines), about=about)


def _row_of_text(name: str, facts: Facts) -> Row:
    """A part of a text: its bytes, and what a network has to beat."""
    counts = np.array(facts.parts[name].counts, dtype=float)
    shares = counts[counts > 0] / counts.sum()
    return {
        "part": name,
        "bytes": int(counts.sum()),
        "distinct_bytes": len(shares),
        "commonest_byte": int(counts.argmax()),
        "commonest_pct": round(100 * float(shares.max()), 2),
        "entropy_bits": round(float(-(shares * np.log2(shares)).sum()), 4),
    }


def _row(name: str, facts: Facts) -> Row:
    part = facts.parts[name]
    return {
        "part": name,
        "images": part.images,
        "classes": sum(count > 0 for count in part.counts),
        "rarest_class": min(part.counts),
        "commonest_class": max(part.counts),
        "lowest": part.low,
        "highest": part.high,
        "of_one_value": part.blank,
        "also_in_other_parts": part.repeated,
        "under_two_labels": part.contradicted,
    }
