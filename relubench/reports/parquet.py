"""The rows of a report as Parquet: every key is a column, with numbers as numbers and missing as null."""

from __future__ import annotations

import io
import json
from typing import Any

from relubench.reports.report import Report


def as_parquet(report: Report) -> bytes:
    """The rows as the bytes of a Parquet file; lists are JSON text, as in the formats of lines."""
    import polars

    keys = dict.fromkeys(key for row in report.rows for key in row)
    columns = {key: [_value(row.get(key)) for row in report.rows] for key in keys}
    frame = polars.DataFrame({key: polars.Series(key, values, strict=False) for key, values in columns.items()})
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def _value(value: Any) -> Any:
    # `render` has a row for this format.
    from relubench.reports.render import finite

    value = finite(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
