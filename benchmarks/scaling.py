"""`python -m benchmarks.scaling`: what a training image costs as population, batch, width and depth grow.

relubench through its command against plain PyTorch, each in a process of its own. The cost is training alone, without
validation and start-up. A sweep goes up until its share of the time is spent; what was not reached is listed, never
extrapolated.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.mnist import find_raw
from benchmarks.network import CLASSES, INPUTS
from benchmarks.peers.registry import OURS
from benchmarks.peers.rounds import measure
from benchmarks.peers.task import Task
from benchmarks.scaling_plot import draw

RESULTS = Path(__file__).parent / "results"
THEIRS = "pytorch"
LR = 0.01
"""Small enough that the extremes (batch 1, depth 32) stay finite: only time is of interest."""
SIZES = (1000, 2000, 5000, 10_000, 20_000, 50_000)
"""Training images of a point: few different numbers, as relubench keeps a prepared copy of each."""
IMAGES_TIMES_PARAMETERS = 8e9
"""Sets the images of a point: a second or more of training each."""
LEAST_STEPS = 12
MEMBER_IMAGES = 2000
"""Of each network of a population, so that many networks take no longer than they must."""

stdout = Console(width=None if sys.stdout.isatty() else 110)
stderr = Console(stderr=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """One quantity that grows while all others stay."""

    title: str
    axis: str
    values: tuple[int, ...]
    task: Callable[[int], Task]
    linear: bool = False
    """Whether a point takes as many times as long as the one before as its value is larger; else about as long."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """Microseconds that one training image costs (one network's), the median over rounds; None: not measured."""

    value: int
    images: int
    rounds: int
    ours: float | None
    theirs: float | None
    neighbours: float = 0.0
    """Cores that others kept busy meanwhile."""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        return self.theirs / self.ours if self.ours and self.theirs else None


def shape(*, batch_size: int = 10, depth: int = 3, width: int = 1000, members: int = 1, images: int = 0) -> Task:
    """A training of that shape; unless said, with images enough to be timed."""
    hidden = (width,) * depth
    widths = (INPUTS, *hidden, CLASSES)
    parameters = sum(inputs * outputs for inputs, outputs in pairwise(widths))
    wanted = max(IMAGES_TIMES_PARAMETERS / parameters, LEAST_STEPS * batch_size)
    images = images or next((size for size in SIZES if size >= wanted), SIZES[-1])
    return Task(batch_size=batch_size, epochs=1, images=images, seed=0, lr=LR, hidden=hidden, members=members)


SWEEPS: dict[str, Sweep] = {
    "population": Sweep(
        title="population, 3 layers of 1000, batch 10",
        axis="networks",
        values=(1, 2, 4, 8, 16, 32, 64, 128, 256),
        task=lambda value: shape(members=value, images=MEMBER_IMAGES),
        linear=True,
    ),
    "batch": Sweep(
        title="batch, 3 layers of 1000",
        axis="images in a batch",
        values=(1, 4, 10, 32, 128, 512, 1024, 4096),
        task=lambda value: shape(batch_size=value),
    ),
    "width": Sweep(
        title="width, 3 layers, batch 10",
        axis="units in a layer",
        values=(32, 128, 256, 512, 1000, 2048, 4096),
        task=lambda value: shape(width=value),
    ),
    "depth": Sweep(
        title="depth, layers of 1000, batch 10",
        axis="hidden layers",
        values=(1, 2, 3, 4, 8, 16, 32),
        task=lambda value: shape(depth=value),
    ),
}


def main(
    sweep: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(SWEEPS)}. Default: all.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Measurements of each point.")] = 3,
    budget: Annotated[float, typer.Option(help="Seconds that one sweep may take.")] = 900.0,
    data_dir: Annotated[str | None, typer.Option(help="Where MNIST is. Default: $RELUBENCH_DATA_DIR.")] = None,
    output: Annotated[Path | None, typer.Option(help="Default: results/scaling-DATE.json; and .png.")] = None,
) -> None:
    """Measure cost against population, batch, width and depth; write a table, a JSON file and a plot."""
    unknown = [name for name in sweep or [] if name not in SWEEPS]
    if unknown:
        raise typer.BadParameter(f"there is no sweep {unknown[0]!r}; they are {', '.join(SWEEPS)}")
    find_raw(data_dir)
    facts = machine.describe(["python -m benchmarks.scaling", *sys.argv[1:]], data_dir)
    path = output or RESULTS / f"scaling-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    folder = str(Path(data_dir).resolve()) if data_dir else None
    found: dict[str, list[Point]] = {}
    for name in sweep or SWEEPS:
        found[name] = carry_out(SWEEPS[name], rounds, budget, folder)
        stdout.print(table(SWEEPS[name], found[name]))
    path.parent.mkdir(parents=True, exist_ok=True)
    sweeps = {
        name: {"title": SWEEPS[name].title, "points": [{**asdict(one), "ratio": one.ratio} for one in points]}
        for name, points in found.items()
    }
    path.write_text(json.dumps({**facts, "rounds": rounds, "unit": "us_per_image", "sweeps": sweeps}, indent=1) + "\n")
    draw(
        {SWEEPS[name].title: points for name, points in found.items()},
        {SWEEPS[name].title: SWEEPS[name].axis for name in found},
        path.with_suffix(".png"),
        f"{facts['cores']} cores, {facts['cpu']}; {rounds} rounds, medians",
    )
    stderr.print(f"written: {path} and {path.with_suffix('.png').name}")


def carry_out(sweep: Sweep, rounds: int, budget: float, data_dir: str | None) -> list[Point]:
    """The points of a sweep, upwards; one that cannot be finished in what is left of the budget is not begun."""
    started, last, points = time.monotonic(), 0.0, []
    for place, value in enumerate(sweep.values):
        left = budget - (time.monotonic() - started)
        growth = value / sweep.values[place - 1] if place and sweep.linear else 1.0
        task = sweep.task(value)
        if last * growth > left:
            points.append(_skipped(value, task, f"beyond the budget of {budget:.0f} s"))
            continue
        begun = time.monotonic()
        points.append(_point(value, _with_folder(task, data_dir), rounds, left))
        last = time.monotonic() - begun
        stderr.print(f"{sweep.title}: {value} {points[-1].note or 'done'} ({last:.0f} s)", highlight=False)
    return points


def _point(value: int, task: Task, rounds: int, left: float) -> Point:
    """Both sides, in turn, as many rounds as fit; the second and later rounds only while half the time is left."""
    costs: dict[str, list[float]] = {OURS: [], THEIRS: []}
    note, begun, neighbours = "", time.monotonic(), machine.Neighbours()
    for number in range(rounds):
        if number and (time.monotonic() - begun) * (number + 1) / number > left / 2:
            note = f"{number} of {rounds} rounds: time"
            break
        for peer in (OURS, THEIRS) if number % 2 == 0 else (THEIRS, OURS):
            sample = measure(peer, task, number=number, timeout=left / 2)
            if sample.measurement is None:
                note = f"{peer}: {sample.error}"
                continue
            costs[peer].append(1e6 * sample.measurement.train_seconds / (task.images * task.members))
    ours, theirs = (median(costs[peer]) if costs[peer] else None for peer in (OURS, THEIRS))
    done = min(len(costs[OURS]), len(costs[THEIRS]))
    return Point(
        value=value, images=task.images, rounds=done, ours=ours, theirs=theirs, neighbours=neighbours.cores(), note=note
    )


def _skipped(value: int, task: Task, note: str) -> Point:
    return Point(value=value, images=task.images, rounds=0, ours=None, theirs=None, note=note)


def _with_folder(task: Task, data_dir: str | None) -> Task:
    return Task.from_json({**task.to_json(), "data_dir": data_dir})


def table(sweep: Sweep, points: list[Point]) -> Table:
    """Costs in microseconds a training image."""
    found = Table(title=f"{sweep.title}: microseconds a training image (of one network)")
    for column in (sweep.axis, "relubench", "PyTorch", "ratio", "images", "rounds", "others"):
        found.add_column(column, justify="right")
    found.add_column("note")
    for one in points:
        cells: list[Any] = [_number(one.ours, 1), _number(one.theirs, 1), _number(one.ratio, 2)]
        found.add_row(str(one.value), *cells, f"{one.images:,}", str(one.rounds), str(one.neighbours), one.note)
    return found


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


if __name__ == "__main__":
    typer.run(main)
