"""`python -m benchmarks.peers`: relubench and its peers on the same network and images, interleaved, in one run."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.mnist import N_TRAIN, find_raw
from benchmarks.peers.registry import OURS, PEERS, SCENARIOS, Scenario
from benchmarks.peers.rounds import Sample, interleave
from benchmarks.peers.summary import Row, Spread, Verdict, judge, summarize
from benchmarks.peers.task import Task

RESULTS = Path(__file__).parents[1] / "results"

WIDTH = 150
"""Of the tables where there is no terminal."""

QUIET = 0.15
"""Cores that may be busy with something else."""
CAPTION = (
    "ours / theirs: images per second, then seconds of the whole process, taken within each round; "
    "others: cores that other processes kept busy, the most of any round (!: the row says nothing)"
)

stdout = Console(width=None if sys.stdout.isatty() else WIDTH)
stderr = Console(stderr=True)


def main(
    scenario: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(SCENARIOS)}. Default: all.")] = None,
    peer: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(PEERS)}. Default: all.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Each peer runs once in each round.")] = 5,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs, each with its validation.")] = 1,
    images: Annotated[int, typer.Option(min=1, max=N_TRAIN, help="Training images an epoch.")] = N_TRAIN,
    timeout: Annotated[float, typer.Option(help="Seconds that one training may take, start-up included.")] = 1800.0,
    data_dir: Annotated[str | None, typer.Option(help="Where MNIST is. Default: $RELUBENCH_DATA_DIR.")] = None,
    output: Annotated[Path | None, typer.Option(help="Default: results/peers-DATE.json.")] = None,
) -> None:
    """Train the same network with relubench and with its peers, and compare images per second."""
    wanted = _check(scenario, SCENARIOS, "scenario")
    chosen = _check(peer, PEERS, "peer")
    data_dir = str(Path(data_dir).resolve()) if data_dir else None
    find_raw(data_dir)
    results: list[dict[str, Any]] = []
    facts = machine.describe(["python -m benchmarks.peers", *sys.argv[1:]], data_dir)
    path = output or RESULTS / f"peers-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    for name in wanted:
        tasks = {number: _task(SCENARIOS[name], number, epochs, images, data_dir) for number in range(rounds)}
        peers = [one for one in SCENARIOS[name].peers if one in chosen]
        samples = _collect(name, peers, tasks, timeout)
        results.append(_report(name, SCENARIOS[name], samples, tasks[0]))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**facts, "rounds": rounds, "scenarios": results}, indent=1) + "\n")
    stderr.print(f"written: {path}")


def _check(given: list[str] | None, table: dict[str, Any], what: str) -> list[str]:
    unknown = [name for name in given or [] if name not in table]
    if unknown:
        raise typer.BadParameter(f"there is no {what} {unknown[0]!r}; they are {', '.join(table)}")
    return given or list(table)


def _task(scenario: Scenario, seed: int, epochs: int, images: int, data_dir: str | None) -> Task:
    return Task(
        batch_size=scenario.batch_size,
        epochs=epochs,
        images=images,
        seed=seed,
        cnn=scenario.cnn,
        members=scenario.members,
        data_dir=data_dir,
    )


def _collect(name: str, peers: list[str], tasks: dict[int, Task], timeout: float) -> list[Sample]:
    samples = []
    for sample in interleave(peers, tasks, timeout=timeout):
        rate = sample.images_per_second(tasks[0])
        told = f"{rate:,.0f} images/s, others {sample.neighbours} cores" if rate else f"failed: {sample.error}"
        stderr.print(f"{name} round {sample.round + 1}/{len(tasks)} {sample.peer}: {told}", highlight=False)
        samples.append(sample)
    return samples


def _report(name: str, scenario: Scenario, samples: list[Sample], task: Task) -> dict[str, Any]:
    """Print the scenario's tables; returns its part of the JSON file."""
    rows = summarize(samples, task)
    verdicts = judge(rows, scenario.goals)
    stdout.print(_table(scenario, rows, task))
    stdout.print(_goals(verdicts))
    return {
        "scenario": name,
        "title": scenario.title,
        "task": {key: value for key, value in task.to_json().items() if key not in ("data_dir", "seed")},
        "rows": [{**row.to_json(), "label": PEERS[row.peer].label} for row in rows],
        "goals": [verdict.to_json() for verdict in verdicts],
        "samples": [sample.to_json(task) for sample in samples],
    }


def _table(scenario: Scenario, rows: list[Row], task: Task) -> Table:
    title = f"{scenario.title}: {task.images:,} MNIST images, {task.epochs} epochs, validation included; median (range)"
    table = Table(title=title, caption=CAPTION)
    table.add_column("peer", no_wrap=True)
    for column in ("images/s", "ours / theirs", "valid %", "compile s", "process s", "ours / theirs", "others"):
        table.add_column(column, justify="right")
    for row in rows:
        if row.images_per_second is None or row.neighbours is None:
            table.add_row(PEERS[row.peer].label, "failed")
            continue
        us = row.peer == OURS
        table.add_row(
            PEERS[row.peer].label,
            _spread(row.images_per_second, 0),
            "" if us else _spread(row.ratio, 2),
            "" if row.valid_error_pct is None else f"{row.valid_error_pct:.2f}",
            f"{row.compile_seconds:.1f}",
            f"{row.process_seconds:.1f}",
            "" if us else _spread(row.process_ratio, 2),
            f"{row.neighbours:.2f}{' !' if row.neighbours > QUIET else ''}",
            style="bold" if us else None,
        )
    return table


def _goals(verdicts: list[Verdict]) -> Table:
    table = Table("relubench against", "measured", "at least", "aim", "verdict")
    for one in verdicts:
        table.add_row(one.against, _spread(one.ratio, 2), f"{one.at_least:.2f}", f"{one.aim:.2f}", one.word)
    return table


def _spread(spread: Spread | None, digits: int) -> str:
    if spread is None:
        return "-"
    if spread.low == spread.high:
        return f"{spread.median:,.{digits}f}"
    return f"{spread.median:,.{digits}f} ({spread.low:,.{digits}f}..{spread.high:,.{digits}f})"


if __name__ == "__main__":
    typer.run(main)
