"""The tables of `relubench speed --sparsity`: what leaving zeros out costs or saves, and from which sparsity on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from relubench.experiments.references import paper_sparsity
from relubench.reports.formatting import count, fixed
from relubench.reports.report import Column, Report, Row, footnotes, warnings
from relubench.reports.speed.notes import ONE_PROCESS, against_itself, ending, paired_note, plus_minus
from relubench.statistics.timings import LEAST_ROUNDS
from relubench.timing.measurement import Measurement

WAYS = {"columns": "columns", "per_image": "per image", "csr": "CSR", "csr_converted": "CSR, converted before"}
"""Key of each way of leaving zeros out -> its header."""

MEANINGS = (
    "columns: inputs that are zero for the whole batch are left out, and the others are copied together; per image: "
    "embedding_bag reads each image's nonzeros; CSR: the activations are converted to sparse rows, then multiplied; "
    "the times include finding the zeros, except for “converted before”, which is the product alone"
)

NO_INTERVALS = (
    f"there were fewer than {LEAST_ROUNDS} rounds, too few for an interval, so nothing is called faster or slower"
)


def sparsity_report(
    rows: Sequence[Row],
    runs: Sequence[Row],
    break_even: Mapping[tuple[int, str], float | None],
    measurement: Measurement,
    *,
    device: str,
) -> Report:
    """The report of these rows (SparsityRow.to_json); `break_even`: (batch, way) -> break-even sparsity in per cent."""
    batches = list(dict.fromkeys(row["batch"] for row in rows))
    table = [{"batch": batch, **{f"{way}_pct": break_even[batch, way] for way in WAYS}} for batch in batches]
    report = Report(
        command="speed",
        device=device,
        rows=list(rows),
        runs=list(runs),
        about={"break_even": table, "paper_sparsity_pct": paper_sparsity()},
        columns=_columns(paper_sparsity()),
        question="From how many zeros on is a product faster that leaves them out?",
        figures=("products",),
        title=f"what sparsity buys · {measurement.subject} · {device}",
        caption="µs an image of the product h W^T; × the dense product's time with half the 95 % interval",
        notes=[*warnings(measurement.warnings), *footnotes(_footnotes(rows, measurement))],
        sentence=sentence(rows, table, paper_sparsity()),
    )
    return replace(report, tables=[replace(report, notes=(), sentence=""), _break_even_table(report)])


def _break_even_table(report: Report) -> Report:
    """The break-even points, with what has to be said of them and of the table of the report."""
    columns = [Column(header="batch", cell=lambda row: [str(row["batch"])])]
    columns += [Column(header=name, cell=_point(way, report.rows)) for way, name in WAYS.items()]
    return replace(
        report,
        rows=report.about["break_even"],
        columns=columns,
        title="break-even: zeros in % from which on it is no slower than the dense product",
        caption=f"interpolated; the paper's network has {report.about['paper_sparsity_pct']:g} % (MNIST)",
    )


def sentence(rows: Sequence[Row], table: Sequence[Row], paper: float) -> str:
    """What the paper's sparsity would buy here, at best, for each batch: one sentence."""
    parts: list[str] = []
    unmeasured: list[str] = []
    for line in table:
        shifted_rows = [row for row in rows if row["batch"] == line["batch"] and row["source"] == "shifted"]
        if not shifted_rows:
            continue
        row = min(shifted_rows, key=lambda row: abs(row["sparsity_pct"] - paper))
        ways = [way for way in ("columns", "per_image", "csr") if row[f"{way}_ratio"] is not None]
        size = "one image" if line["batch"] == 1 else f"a batch of {line['batch']}"
        if not ways:
            unmeasured += [size] if row["dense_us"] is not None else []
            continue
        ratios = {way: row[f"{way}_ratio"] for way in ways if row[f"{way}_verdict"] is not None}
        if not ratios:
            unmeasured.append(size)
            continue
        way = min(ratios, key=lambda way: ratios[way])
        if row[f"{way}_verdict"] == "no difference":
            parts.append(f"as long as the dense product, within noise, for {size}")
            continue
        break_even = line[f"{way}_pct"]
        break_even_text = "no break-even" if break_even is None else f"break-even {break_even:.0f} %"
        unit = " times the dense product's time" if not any("times" in part for part in parts) else ""
        parts.append(f"{ratios[way]:.2f}{unit} for {size} ({WAYS[way]}, {break_even_text})")
    condition = f"At {paper:g} % zeros, which is what the paper's network has on MNIST"
    sentences = [f"{condition}, leaving them out takes {', '.join(parts)}."] if parts else []
    if unmeasured:
        sentences.append(
            f"Nothing can be said of {' or '.join(unmeasured)}: there were too few rounds for an interval (give more "
            "--budget)."
        )
    return " ".join(sentences) or "Nothing could be compared with the dense product."


def _columns(paper: float) -> list[Column]:
    def ratio(way: str, header: str) -> Column:
        styles = {"faster": "green", "slower": "red", "no difference": "dim"}
        return Column(
            header=header,
            cell=lambda row: _ratio(row, way),
            style=lambda row: styles.get(row[f"{way}_verdict"] or "", ""),
        )

    return [
        Column(header="batch", cell=lambda row: [str(row["batch"])]),
        Column(header="activations", cell=lambda row: [_source(row, paper)], right=False),
        Column(header="zeros %", cell=lambda row: [fixed(row["sparsity_pct"], 1)]),
        Column(header="zero columns %", cell=lambda row: [fixed(row["zero_columns_pct"], 1)], drop_order=1),
        Column(header="dense", cell=lambda row: [fixed(row["dense_us"], 1)]),
        *(ratio(way, name) for way, name in WAYS.items()),
    ]


def _source(row: Row, paper: float) -> str:
    if row["source"] == "trained":
        return f"layer {row['layer']} as trained"
    return "bias moved" + (", the paper's zeros" if abs(row["sparsity_pct"] - paper) < 1 else "")


def _ratio(row: Row, way: str) -> list[str]:
    value = row[f"{way}_ratio"]
    if value is None:
        return []
    return [f"×{value:.2f}{plus_minus(value, row[f'{way}_ratio_ci_low'], row[f'{way}_ratio_ci_high'])}"]


def _point(way: str, rows: Sequence[Row]) -> Callable[[Row], list[str]]:
    """The break-even sparsity of one way; nothing where no ratio has an interval."""
    batches = {row["batch"] for row in rows if row["source"] == "shifted" and row[f"{way}_verdict"] is not None}

    def parts(line: Row) -> list[str]:
        value = line[f"{way}_pct"]
        if line["batch"] not in batches:
            return ["no interval"]
        return ["never" if value is None else "always" if value == 0 else f"{value:.0f}"]

    return parts


def _footnotes(rows: Sequence[Row], measurement: Measurement) -> list[str]:
    low, high = measurement.against_itself.expected
    expected = f"{low} to {high} are expected at 5 %"
    shifted_row = next((row for row in rows if row["source"] == "shifted"), None)
    notes = [
        MEANINGS,
        against_itself(
            "the dense product",
            measurement.against_itself.called,
            measurement.against_itself.cells,
            expected,
            measurement.against_itself.widest,
        )
        if measurement.against_itself.cells
        else NO_INTERVALS,
        f"{count(measurement.rounds, 'round')} in {measurement.seconds:.0f} s: {ending(measurement)}; "
        f"{measurement.clock}; caches are warm; calls of PyTorch are included; {ONE_PROCESS}",
        paired_note(
            (f"batch {row['batch']}, {name}", row[f"{way}_ratio"], row[f"{way}_us"], row["dense_us"])
            for row in rows
            for way, name in WAYS.items()
        ),
    ]
    if shifted_row is not None:
        notes.append(
            f"bias moved: a constant c is taken from layer {shifted_row['layer']}'s pre-activations z (of validation "
            f"images), so that more or fewer of f(z - c) are zero; the weights are {shifted_row['inputs']:,} x "
            f"{shifted_row['outputs']:,}"
        )
    notes += [
        f"batch {row['batch']}, {row['sparsity_pct']:.1f} % zeros: {row['message']}" for row in rows if row["message"]
    ]
    return notes
