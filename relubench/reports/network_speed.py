"""The table of `relubench speed --network`: time an epoch and to an error, each as the ratio to sigmoid."""

from __future__ import annotations

from collections.abc import Sequence

from relubench.reports.cells import duration, fixed, short
from relubench.reports.references import ARTICLE_NOTE, entries
from relubench.reports.report import Column, Report, Row
from relubench.version import __version__


def article_speed() -> dict[tuple[str, str], float]:
    """(activation, metric) -> value of the article's speed table, without pre-training."""
    return {
        (one.activation, one.metric): one.value
        for one in entries("article")
        if one.table == "speed" and one.pretraining == "none"
    }


def network_report(rows: Sequence[Row], runs: Sequence[Row], *, device: str, warnings: Sequence[str]) -> Report:
    """The report of these rows (NetworkRow.to_json)."""
    first = rows[0]
    return Report(
        command="speed",
        version=__version__,
        device=device,
        rows=list(rows),
        runs=list(runs),
        columns=_columns(),
        title=f"speed of networks · {first['dataset']} · {first['model']} · {device}",
        caption="ratios to sigmoid; in brackets the article's; µs an image: data, forward, backward, update",
        footnotes=_footnotes(rows, warnings),
        sentence=sentence(rows),
    )


def sentence(rows: Sequence[Row]) -> str:
    """How relu, or the last, stands to sigmoid: one sentence."""
    known = [row for row in rows if row["activation"] != "sigmoid" and row["epoch_ratio_to_sigmoid"] is not None]
    if not known:
        return "Nothing could be compared with sigmoid."
    row = next((one for one in known if one["activation"] == "relu"), known[-1])
    parts = [f"an epoch with {row['activation']} takes {row['epoch_ratio_to_sigmoid']:.2f} of sigmoid's time"]
    if row["article_epoch_ratio"] is not None:
        parts[0] += f" (article: {row['article_epoch_ratio']:.2f})"
    if row["seconds_ratio_to_sigmoid"] is not None:
        parts.append(
            f"{row['target_error_pct']:.2f} % validation error {row['seconds_ratio_to_sigmoid']:.2f} of its time"
        )
    return f"On this machine {', and '.join(parts)}."


def _columns() -> list[Column]:
    def compared(header: str, mine: str, theirs: str) -> Column:
        return Column(header=header, parts=lambda row: _pair(row[mine], row[theirs]))

    return [
        Column(header="activation", parts=lambda row: [row["activation"]], right=False),
        Column(
            header="images/s", parts=lambda row: [short(row["images_per_second"] and round(row["images_per_second"]))]
        ),
        Column(header="µs an image", parts=_stages, leaves=1),
        Column(header="epoch", parts=lambda row: [duration(row["seconds_per_epoch"])]),
        compared("epoch ratio", "epoch_ratio_to_sigmoid", "article_epoch_ratio"),
        Column(header="epochs to target", parts=lambda row: [short(row["epochs_to_target"])]),
        compared("epochs ratio", "epochs_ratio_to_sigmoid", "article_epochs_ratio"),
        Column(header="time to target", parts=lambda row: [duration(row["seconds_to_target"])]),
        compared("time ratio", "seconds_ratio_to_sigmoid", "article_hours_ratio"),
        Column(header="best valid %", parts=lambda row: [fixed(row["best_valid_error_pct"])]),
        Column(header="Pareto", parts=lambda row: [short(row["pareto"])], right=False, leaves=2),
    ]


def _pair(mine: float | None, article: float | None) -> list[str]:
    return [fixed(mine), f"({article:.2f})" if article is not None else ""]


def _stages(row: Row) -> list[str]:
    keys = ("data", "forward", "backward", "update")
    values = [row[f"{key}_us_per_image"] for key in keys]
    return ["" if None in values else " ".join(f"{one:.1f}" for one in values)]


def _footnotes(rows: Sequence[Row], warnings: Sequence[str]) -> list[str]:
    target = rows[0]["target_error_pct"]
    notes = list(warnings)
    if target is not None:
        notes.append(
            f"target: {target:.2f} % validation error; a blank is a target not reached by every seed; "
            "“converged” is not defined by the article"
        )
    notes.append("stages from an instrumented pass; update is the weights' gradient product, fused with their update")
    notes.append("Pareto: nobody is both as accurate and faster an epoch")
    notes.append(f"{ARTICLE_NOTE}; its RBM row (12 min and 30 min of pre-training, 40 epochs, 17 h) is not run here")
    return notes
