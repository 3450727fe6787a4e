"""The tables of `relubench speed --network`: time per epoch and to an error, and whose error is lowest at each time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from relubench.experiments.references import ARTICLE_NOTE, entries, is_mnist_network
from relubench.reports.formatting import duration as seconds_or_more
from relubench.reports.formatting import fixed, short
from relubench.reports.report import Column, Report, Row, footnotes, warnings
from relubench.reports.speed.notes import ONE_PROCESS, ending, plus_minus
from relubench.runs.task import Task, task_of
from relubench.timing.measurement import Measurement


def article_speed(spec: Mapping[str, Any]) -> dict[tuple[str, str, str], float]:
    """(activation, pretraining, metric) -> value of the article's speed table; {} for another network or other data.

    `spec`: that of any of the runs.
    """
    if not is_mnist_network(spec):
        return {}
    return {
        (entry.activation, entry.pretraining, entry.metric): entry.value
        for entry in entries("article")
        if entry.table == "speed"
    }


def network_report(
    rows: Sequence[Row], runs: Sequence[Row], front: Sequence[Row], measurement: Measurement | None, *, device: str
) -> Report:
    """The report of these rows (NetworkRow.to_json); `front`: the Pareto front (Point.to_json)."""
    first, beside = rows[0], ", in brackets the article's" if _in_article(rows) else ""
    report = Report(
        command="speed",
        device=device,
        rows=list(rows),
        runs=list(runs),
        about={"pareto": list(front)},
        columns=_columns(rows),
        question=f"Which activation has the lowest error after a given time ({first['model']}, {first['dataset']})?",
        figures=("pareto", "curves"),
        title=f"speed of networks · {first['dataset']} · {first['model']} · {device}",
        caption=f"medians; ratios to {first['ratio_to']}{beside}; µs an image: data, forward, backward, update",
        notes=[*warnings(measurement.warnings if measurement else ()), *footnotes(_footnotes(rows, measurement))],
        sentence=sentence(rows),
    )
    return _with_front(report, front)


def _with_front(report: Report, front: Sequence[Row]) -> Report:
    """The report as people read it, too: its table, then the Pareto front's with what has to be said of both."""
    if not front:
        return report
    task = task_of(report.rows[0])
    columns = [
        Column(header="from", cell=lambda row: [duration(row["seconds"])]),
        Column(header=f"{task.best} valid {task.unit or task.noun}", cell=_score("valid_metric", task)),
        Column(header="activation", cell=lambda row: [row["activation"]], right=False),
        Column(header="epoch", cell=lambda row: [str(row["epoch"])]),
    ]
    below = replace(
        report,
        rows=list(front),
        human_rows=leaders(front),
        columns=columns,
        title=f"Pareto front: the {task.best} validation {task.noun} so far, and whose it is",
        caption="where the leader changes, and the last point",
    )
    return replace(report, tables=[replace(report, notes=(), sentence=""), below])


def leaders(front: Sequence[Row]) -> list[Row]:
    """The points of the front at which another activation takes the lead, and the last one."""
    pairs = zip([None, *front], front, strict=False)
    changes = [point for before, point in pairs if before is None or before["activation"] != point["activation"]]
    return changes if changes[-1] is front[-1] else [*changes, front[-1]]


def duration(seconds: float | None) -> str:
    """21 ms, 1.4 s, 3m05s."""
    if seconds is None or seconds >= 0.9995:
        return seconds_or_more(seconds)
    return f"{1e3 * seconds:.3g} ms"


def sentence(rows: Sequence[Row]) -> str:
    """The sentence under the table: the time of relu, or of the last activation, as a part of the first one's."""
    base = rows[0]["ratio_to"]
    eager = [row for row in rows[1:] if row["mode"] == "eager"]
    timed_rows = [row for row in eager or rows[1:] if row["epoch_ratio"] is not None]
    if not timed_rows:
        return f"Nothing could be compared with {base}."
    row = next((row for row in timed_rows if row["activation"] == "relu"), timed_rows[-1])
    compiled = "" if row["mode"] == "eager" else ", compiled,"
    parts = [f"an epoch with {row['activation']}{compiled} takes {row['epoch_ratio']:.2f} of {base}'s time"]
    if row["article_epoch_ratio"] is not None:
        parts[0] += f" (article: {row['article_epoch_ratio']:.2f})"
    if row["verdict"] == "no difference":
        parts[0] += ", no more than this machine differs from itself"
    if row["seconds_ratio"] is not None:
        task = task_of(row)
        target = f"a validation {task.noun} of {task.text(row['target_metric'])}"
        parts.append(f"{target} {row['seconds_ratio']:.2f} of its time")
        if row["article_hours_ratio"] is not None:
            parts[1] += f" (article, to convergence: {row['article_hours_ratio']:.2f})"
    return f"On this machine {', and '.join(parts)}."


def _columns(rows: Sequence[Row]) -> list[Column]:
    def ratio_column(header: str, key: str, article_key: str) -> Column:
        return Column(header=header, cell=lambda row: _cell_with_article(row[key], row[article_key]))

    task = task_of(rows[0])
    columns = [
        Column(header="activation", cell=lambda row: [row["activation"]], right=False),
        Column(header="mode", cell=lambda row: [row["mode"]], right=False),
        Column(header="pretraining", cell=lambda row: [row["pretraining"]], right=False),
        Column(
            header="images/s", cell=lambda row: [short(row["images_per_second"] and round(row["images_per_second"]))]
        ),
        Column(header="µs an image", cell=_stages, drop_order=1),
        Column(header="inference", cell=_inference, drop_order=3),
        Column(header="MB peak, kept", cell=_memory, drop_order=4),
        Column(header="epoch", cell=lambda row: [duration(row["seconds_per_epoch"])]),
        Column(header="epoch ratio", cell=_epoch_ratio, style=_style),
        Column(header="compile", cell=lambda row: [duration(row["compile_seconds"])]),
        Column(header="pre-training", cell=lambda row: [duration(row["pretraining_seconds"])]),
        Column(header="epochs to target", cell=lambda row: [short(row["epochs_to_target"])]),
        ratio_column("epochs ratio", "epochs_ratio", "article_epochs_ratio"),
        Column(header="time to target", cell=lambda row: [duration(row["seconds_to_target"])]),
        ratio_column("time ratio", "seconds_ratio", "article_hours_ratio"),
        Column(header=f"best valid {task.unit or task.noun}", cell=_score("best_valid_metric", task)),
        Column(header="Pareto", cell=lambda row: [short(row["pareto"])], right=False, drop_order=2),
        Column(header="outcome", cell=lambda row: [row["outcome"]], right=False),
    ]
    columns = [column for column in columns if any(any(column.cell(row)) for row in rows)]
    same = {"mode": "eager", "pretraining": "none", "outcome": "ok"}
    plain = [key for key, value in same.items() if all(row[key] == value for row in rows)]
    return [column for column in columns if column.header not in plain]


def _score(key: str, task: Task) -> Callable[[Row], list[str]]:
    """The cell of a score of the task."""
    return lambda row: ["" if row[key] is None else f"{row[key]:.{task.decimals}f}"]


def _inference(row: Row) -> list[str]:
    """One example alone, then an example of a training batch."""
    if row["inference_us"] is None or row["inference_us_per_image"] is None:
        return []
    return [f"{row['inference_us']:.0f} {row['inference_us_per_image']:.1f}"]


def _memory(row: Row) -> list[str]:
    """Megabytes: of training at its peak, and of what a forward pass keeps."""
    if row["peak_memory_bytes"] is None:
        return []
    return [f"{row['peak_memory_bytes'] / 1e6:.3g} {row['kept_memory_bytes'] / 1e6:.3g}"]


def _in_article(rows: Sequence[Row]) -> bool:
    """Whether any number of the article stands beside these rows."""
    keys = ("article_epoch_ratio", "article_epochs_ratio", "article_hours_ratio")
    return any(row[key] is not None for row in rows for key in keys)


def _cell_with_article(value: float | None, article: float | None) -> list[str]:
    return [fixed(value), f"({article:.2f})" if article is not None else ""]


def _epoch_ratio(row: Row) -> list[str]:
    interval = plus_minus(row["epoch_ratio"], row["epoch_ratio_ci_low"], row["epoch_ratio_ci_high"])
    ratio, article = _cell_with_article(row["epoch_ratio"], row["article_epoch_ratio"])
    return [ratio + interval, article]


def _style(row: Row) -> str:
    return {"faster": "green", "slower": "red", "no difference": "dim"}.get(row["verdict"] or "", "")


def _stages(row: Row) -> list[str]:
    keys = ("data", "forward", "backward", "update")
    return [" ".join(f"{microseconds:.1f}" for key in keys if (microseconds := row[f"{key}_us_per_image"]) is not None)]


def _footnotes(rows: Sequence[Row], measurement: Measurement | None) -> list[str]:
    target, task = rows[0]["target_metric"], task_of(rows[0])
    notes = _measurement_notes(measurement) if measurement else []
    notes += _blank_notes(rows, timed=measurement is not None)
    has_pretraining = any(row["pretraining"] != "none" for row in rows)
    if target is not None:
        reached = f"target: a validation {task.noun} of {task.text(target)}"
        notes.append(f"{reached}; the cells are blank where a seed does not reach it")
    if measurement is not None:
        notes.append(_ratio_note(measurement.base, with_pretraining=has_pretraining))
    notes.append(
        "time to target: the epochs of the learning curves times the measured time of an epoch; update: the product "
        "that gives the weights' gradient and the update itself, which belong to backward where a kernel does all"
    )
    notes += _timing_notes(rows)
    if has_pretraining:
        notes.append(
            "pre-training: the time on its own clock, while other work may have shared the machine; it is part of the "
            "time to target"
        )
    if _in_article(rows):
        has_rbm = any(row["pretraining"] == "rbm" for row in rows)
        rbm = "its RBM row has 12 min an epoch and 30 min of pre-training, 40 epochs, 17 h"
        notes.append(
            f"{ARTICLE_NOTE}; it does not say what “converged” means; {rbm}"
            f"{'' if has_rbm else ' (--method none,rbm runs it)'}"
        )
    failed = {row["activation"]: row for row in rows if row["outcome"] != "ok" and row["mode"] == "eager"}
    failed |= {f"{row['activation']}, compiled": row for row in rows if row["mode"] != "eager" and row["message"]}
    notes += [f"{name}: {row['outcome']} ({row['message']})" for name, row in failed.items()]
    return notes


def _timing_notes(rows: Sequence[Row]) -> list[str]:
    """What the columns of inference and memory are, where they have numbers."""
    notes = []
    if any(row["inference_us"] is not None for row in rows):
        notes.append("inference: µs of one image alone, then µs an image in a batch as large as in training")
    if any(row["peak_memory_bytes"] is not None for row in rows):
        notes.append(
            "MB: the most that the network and its first training step take, the data left out, and what a forward "
            "pass on a batch keeps for the backward pass"
        )
    if any(row["mode"] == "compiled" for row in rows):
        notes.append(
            "compiled: the training step and the evaluation as torch.compile makes them, which has no stages; the time "
            "of compiling is in no other column"
        )
    return notes


def _ratio_note(base: str, *, with_pretraining: bool) -> str:
    """What the ratios and times are, and how they go together."""
    extra = ", with the time of pre-training added" if with_pretraining else ""
    return (
        f"an epoch ratio is the median of the ratios to {base} within each round, whose times met the same machine; an "
        f"epoch takes this ratio times {base}'s median; the time ratio is the epoch ratio times the epochs ratio{extra}"
    )


def _blank_notes(rows: Sequence[Row], *, timed: bool) -> list[str]:
    """Why whole columns are blank."""
    notes = []
    if not timed:
        notes.append("no step was timed, so the columns about time are blank")
    if rows[0]["target_metric"] is None:
        ended = ", ".join(f"{row['activation']} {row['outcome']}" for row in rows)
        notes.append(f"no target, and nothing to draw: no training ended ok ({ended})")
    return notes


def _measurement_notes(measurement: Measurement) -> list[str]:
    ended = ending(measurement, reached="every ratio's interval")
    threads = (
        f", {measurement.threads} thread{'s' if measurement.threads > 1 else ''} each" if measurement.threads else ""
    )
    notes = [
        f"training steps were timed in {measurement.rounds} rounds, in each of which every network has its turn, "
        f"{measurement.seconds:.0f} s{threads}: {ended}; an epoch is {measurement.images:,} images without "
        f"validation; {ONE_PROCESS}"
    ]
    control = measurement.against_itself
    if control.low is not None and control.high is not None:
        includes_one = control.low <= 1 <= control.high
        remark = (
            "which includes 1, as it should" if includes_one else "which does not include 1: the machine was unsteady"
        )
        notes.append(
            f"A/A test: {measurement.base} was also timed against itself in the same rounds. Its ratio to itself is "
            f"{control.low:.3f} to {control.high:.3f}, {remark}. Faster or slower is said only of a "
            "ratio beyond this"
        )
    return notes
