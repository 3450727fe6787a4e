"""The table of `relubench speed`: a line for each activation, a column for each size and pass, and notes on both."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from relubench.experiments.operator_inputs import RecordedInputs
from relubench.reports.formatting import short
from relubench.reports.report import Column, Note, Report, Row, footnotes, warnings
from relubench.reports.speed.notes import ONE_PROCESS, against_itself, paired_note, plus_minus
from relubench.timing.measurement import Measurement
from relubench.timing.request import RECORDED

STAMP = ("size", "dtype", "mode", "pass")
"""What tells the cells of one activation apart."""

SIZES = {"cache": "in cache", "last": "last cache", "memory": "memory"}
PASSES = {"forward": "forward", "forward+backward": "fwd+bwd", "inplace": "in place"}

GATED_NOTE = (
    "a gated activation's size is the number of its outputs; it reads two elements for each (maxout: one a piece)"
)
KEPT_NOTE = "kept B: bytes for each element that the forward pass keeps for the backward pass"


def speed_report(
    rows: Sequence[Row],
    runs: Sequence[Row],
    measurement: Measurement,
    *,
    device: str,
    recorded: RecordedInputs | None = None,
) -> Report:
    """The report of these rows (SpeedRow.to_json); `recorded`: the inputs of a network that are timed too."""
    return Report(
        command="speed",
        device=device,
        rows=list(rows),
        runs=list(runs),
        human_rows=merge(rows),
        columns=_columns(rows),
        title=f"speed · {device} · {measurement.clock}",
        question="How long does each activation take on this machine, beside relu and the speed of its memory?",
        figures=("speed",),
        caption=_caption(measurement),
        notes=[*_notes(rows, measurement), *([_recorded_note(recorded)] if recorded is not None else [])],
        about={
            "measurement": measurement.to_json(),
            **({"inputs": recorded.to_json()} if recorded is not None else {}),
        },
        sentence=sentence(rows, measurement),
    )


def _recorded_note(recorded: RecordedInputs) -> Note:
    quantiles = ", ".join(f"{percent} %: {value:.3g}" for percent, value in recorded.quantiles.items())
    text = f"recorded inputs: pre-activations of all hidden layers of run {recorded.run} ({recorded.network}) on its "
    return Note(f"{text}validation data, drawn from their quantiles ({quantiles}); else inputs are normal numbers")


def merge(rows: Sequence[Row]) -> list[Row]:
    """One line for each activation: its rows by their cell."""
    lines: dict[str, Row] = {}
    for row in rows:
        line = lines.setdefault(row["activation"], {"activation": row["activation"]})
        line[_cell(row)] = row
    return list(lines.values())


def _cell(row: Row) -> str:
    return "|".join(str(row[key]) for key in STAMP)


def _columns(rows: Sequence[Row]) -> list[Column]:
    cells = {_cell(row): row for row in rows}
    varied_keys = [key for key in ("dtype", "mode") if len({row[key] for row in rows}) > 1]
    columns = [Column(header="activation", cell=lambda line: [line["activation"]], right=False)]
    for cell, row in cells.items():
        words = [PASSES.get(row["pass"], row["pass"]), SIZES.get(row["size"], short(row["elements"]))]
        words += [row[key] for key in varied_keys]
        columns.append(
            Column(header=", ".join(words), cell=_numbers(cell), style=_style(cell), drop_order=_drop_order(row))
        )
    largest = max((row["elements"] for row in rows), default=0)
    columns += [_roof_column(cell, row, varied_keys) for cell, row in cells.items() if row["elements"] == largest]
    memory_cell = next((cell for cell, row in cells.items() if row["pass"] in ("forward+backward", "backward")), None)
    if memory_cell is not None:
        columns.append(
            Column(header="kept B", cell=lambda line: [_number_text(line, memory_cell, "kept_bytes_per_element")])
        )
    return columns


def _roof_column(cell: str, row: Row, varied_keys: Sequence[str]) -> Column:
    words = [f"roof % {PASSES.get(row['pass'], row['pass'])}", *(row[key] for key in varied_keys)]
    return Column(header=", ".join(words), cell=lambda line: [_share(line.get(cell))], drop_order=9)


def _drop_order(row: Row) -> int:
    """The order in which the columns of a size and pass are left out: those in memory, as in a network, last."""
    return {"cache": 1, "last": 2}.get(row["size"], 3) + (3 if row["pass"] == "forward+backward" else 0)


def _numbers(cell: str) -> Callable[[Row], list[str]]:
    def parts(line: Row) -> list[str]:
        row = line.get(cell)
        if row is None:
            return []
        if row["outcome"] != "ok":
            return [row["outcome"]]
        return [significant(row["ns_per_element"]), f"{_ratio(row):>9}"]

    return parts


def _ratio(row: Row) -> str:
    if row["ratio_to_relu"] is None:
        return ""
    low, high = row["ratio_to_relu_ci_low"], row["ratio_to_relu_ci_high"]
    return f"×{row['ratio_to_relu']:.2f}{plus_minus(row['ratio_to_relu'], low, high)}"


def _share(row: Row | None) -> str:
    return "" if row is None or row["roof_share"] is None else f"{100 * row['roof_share']:.0f}"


def _style(cell: str) -> Callable[[Row], str]:
    colours = {"faster": "green", "slower": "red", "no difference": "dim"}
    return lambda line: colours.get((line.get(cell) or {}).get("verdict") or "", "")


def _number_text(line: Row, cell: str, key: str) -> str:
    row = line.get(cell)
    return "" if row is None or row[key] is None else f"{row[key]:g}"


def significant(value: float | None) -> str:
    """Three digits: 0.0312, 1.25, 48.1."""
    if value is None:
        return ""
    return f"{value:#.3g}".rstrip(".")


def _caption(measurement: Measurement) -> str:
    sizes = ", ".join(f"{SIZES[name]}: {elements:,}" for name, elements in measurement.sizes if name in SIZES)
    return "ns an element, ratio to relu with half its 95 % interval, share of the measured roof" + (
        f"; elements {sizes}" if sizes else ""
    )


def _notes(rows: Sequence[Row], measurement: Measurement) -> list[Note]:
    lines = [
        _self_comparison_note(measurement),
        _duration_note(measurement),
        _ratio_note(rows),
        _roof_note(measurement),
        _allocation_note(rows),
        _cache_note(rows),
        GATED_NOTE if any(row["activation"] == "maxout" or "glu" in row["activation"] for row in rows) else "",
        KEPT_NOTE if any(row["kept_bytes_per_element"] for row in rows) else "",
        _compile_note(rows),
    ]
    return [*warnings(measurement.warnings), *footnotes(lines), *warnings(_failures(rows))]


def _self_comparison_note(measurement: Measurement) -> str:
    if not measurement.against_itself.cells:
        return "there were too few rounds for an interval, so no activation is called faster or slower than relu"
    low, high = measurement.against_itself.expected
    # Intervals over processes miss less often than they say.
    expected = f"at most {high} are expected" if measurement.processes > 1 else f"{low} to {high} are expected at 5 %"
    return against_itself(
        "relu",
        measurement.against_itself.called,
        measurement.against_itself.cells,
        expected,
        measurement.against_itself.widest,
    )


def _duration_note(measurement: Measurement) -> str:
    """How many rounds there were, why the measurement ended, and what the numbers are taken over."""
    verb = "is" if measurement.ended == "interval" else "was"
    condition = f"every interval {verb} narrower than {100 * measurement.rel_ci:g} %"
    ending = {
        "interval": condition,
        "budget": f"the budget of {measurement.budget_s:g} s ended it before {condition}",
        "failure": f"it ended before {condition}",
        "interrupted": f"it was interrupted before {condition}",
    }[measurement.ended]
    return f"{measurement.rounds} rounds in {measurement.seconds:.0f} s: {ending}; {_observations(measurement)}"


def _ratio_note(rows: Sequence[Row]) -> str:
    base = {_cell(row): row["ns_per_element"] for row in rows if row["activation"] == "relu"}
    return paired_note(
        (f"{row['activation']}, {row['pass']}", row["ratio_to_relu"], row["ns_per_element"], base.get(_cell(row)))
        for row in rows
    )


def _allocation_note(rows: Sequence[Row]) -> str:
    names = sorted({row["activation"] for row in rows if row["storage"] == "allocating" and row["mode"] == "eager"})
    if not names or not any(row["pass"] != "allocating" and row["storage"] == "allocating" for row in rows):
        return ""
    return (
        f"{', '.join(names)}: each result is a new tensor, since no form writes into an existing one as it does for "
        "the others"
    )


def _cache_note(rows: Sequence[Row]) -> str:
    cold_sizes = sorted({row["elements"] for row in rows if row["cache"] == "cold"})
    sizes = ", ".join(f"{elements:,}" for elements in cold_sizes)
    exception = f", but cold by their size at {sizes} elements" if sizes else ""
    return (
        f"caches are warm{exception}; inputs are drawn from a unit normal distribution; gradients are computed as in "
        "training, with noise where the activation has any"
    )


def _compile_note(rows: Sequence[Row]) -> str:
    seconds = sorted(row["compile_seconds"] for row in rows if row["compile_seconds"] is not None)
    return f"compile time, not in the figures: median {seconds[len(seconds) // 2]:.1f} s a form" if seconds else ""


def _failures(rows: Sequence[Row]) -> list[str]:
    """What could not be measured, and why."""
    messages = {row["activation"]: row["message"] for row in rows if row["outcome"] == "failed"}
    return [f"{name}: failed ({message})" for name, message in messages.items()]


def _observations(measurement: Measurement) -> str:
    """What the numbers are taken over, and what an interval therefore covers."""
    if measurement.processes == 1:
        return f"times are medians; {ONE_PROCESS}"
    return (
        f"times are medians; some kernels are faster in one process than in another, so the intervals are over the "
        f"{measurement.processes} processes, and at least as wide as those over rounds"
    )


def _roof_note(measurement: Measurement) -> str:
    """The roofs of the largest size, in GB/s."""
    if not measurement.roofs:
        return ""
    size, dtype = measurement.roofs[-1][0], measurement.roofs[-1][1]
    texts = dict.fromkeys(
        f"{pattern} {gb:.1f}"
        for roof_size, kind, pattern, gb in measurement.roofs
        if (roof_size, kind) == (size, dtype)
    )
    text_by_pattern: dict[str, str] = {}
    for text in texts:
        text_by_pattern.setdefault(text.rsplit(" ", 1)[0], text)
    roofs = ", ".join(text_by_pattern.values())
    return f"roof, measured here in the same rounds ({SIZES.get(size, size)}, {dtype}, GB/s): {roofs}"


def sentence(rows: Sequence[Row], measurement: Measurement) -> str:
    """The sentence under the table: which activation is slowest, and which cannot be told from relu or are faster."""
    compared_rows = [row for row in rows if row["outcome"] == "ok" and row["ratio_to_relu"] is not None]
    if not compared_rows:
        return "Nothing could be compared with relu."
    last_row = compared_rows[-1]
    same_cell = [
        row for row in compared_rows if all(row[key] == last_row[key] for key in STAMP) and row["activation"] != "relu"
    ]
    pass_name, size = last_row["pass"], last_row["size"]
    cell_name = f"{PASSES.get(pass_name, pass_name)}, {SIZES.get(size, size)}, {last_row['dtype']}"
    cell_name += RECORDED if last_row["mode"].endswith(RECORDED) else ""
    if not same_cell:
        return f"relu takes {significant(last_row['ns_per_element'])} ns an element ({cell_name})."
    slowest = max(same_cell, key=lambda row: row["ratio_to_relu"])
    equal = [row["activation"] for row in same_cell if row["verdict"] == "no difference"]
    faster = [row["activation"] for row in same_cell if row["verdict"] == "faster"]
    parts = [f"{slowest['activation']} is the slowest, {slowest['ratio_to_relu']:.2f} times relu's time"]
    if all(row["verdict"] is None for row in same_cell):
        return f"In {cell_name}: too few rounds to tell anything from relu; give it a larger --budget."
    if slowest["verdict"] != "slower":
        parts = [] if len(equal) < len(same_cell) else ["no activation can be told from relu"]
    if equal and len(equal) < len(same_cell):
        parts.append(f"{', '.join(equal)} cannot be told from relu")
    if faster:
        parts.append(f"{', '.join(faster)} {'is' if len(faster) == 1 else 'are'} faster")
    return f"In {cell_name}: {'; '.join(parts)}."
