"""`python -m benchmarks.cpu_time`: processor seconds on one thread, for machines that others use at the same time.

Where cores are shared, wall-clock time says who was lucky. What a training costs its own thread says less (nothing of
two threads together, and a neighbour still takes of the cache), but it can be compared. Each side runs in a process of
its own, bound to one thread, with the clock of `benchmarks.peers` reading the process's processor time; relubench runs
its engine in that process, not through its command.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from benchmarks import machine
from benchmarks.mnist import DATA_DIR_VARIABLE, find_raw
from benchmarks.peers.task import Measurement, Task

RESULTS = Path(__file__).parent / "results"
ONE_THREAD = {
    **{name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")},
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}
OURS = "relubench"

SCENARIOS: dict[str, tuple[Task, dict[str, str]]] = {
    "batch-10": (
        Task(batch_size=10, epochs=1, images=4000, seed=0),
        {"pytorch": "pytorch_plain:run", "jax-scan": "jax_scan:run", "bare-products": "bare_products:run"},
    ),
    "batch-128": (
        Task(batch_size=128, epochs=1, images=10_000, seed=0),
        {"pytorch": "pytorch_plain:run", "jax-scan": "jax_scan:run", "bare-products": "bare_products:run"},
    ),
    "population-8": (Task(batch_size=10, epochs=1, images=500, seed=0, members=8), {"jax-vmap": "jax_vmap:run"}),
    "cnn": (
        Task(batch_size=128, epochs=1, images=2000, seed=0, cnn=True),
        {"pytorch-channels-last": "pytorch_cnn:run_channels_last"},
    ),
}


def measure(target: str, task: Task) -> Measurement:
    """Train in this process, whose clock has been exchanged for one of processor time."""
    import torch

    torch.set_num_threads(1)
    if target == OURS:
        return _ours(task)
    module, function = target.split(":")
    return getattr(import_module(f"benchmarks.peers.{module}"), function)(task)


def _ours(task: Task) -> Measurement:
    """The engine as a worker process runs it; a population's members one after another."""
    import torch

    from benchmarks.peers.relubench_engine import population

    torch.set_flush_denormal(True)
    model = "cnn" if task.cnn else "mlp-" + "-".join(map(str, task.hidden))
    train = valid = 0.0
    shape: dict[str, Any] = {"lr": task.lr, "batch_size": task.batch_size, "images": task.images, "threads": 1}
    for seed in range(task.members):
        one = population(model, seed=seed, data_dir=Path(task.data_dir or ""), **shape)
        mark = time.process_time()
        for step in one.train():
            now = time.process_time()
            train, valid = (train, valid + now - mark) if step.epoch_ended else (train + now - mark, valid)
            mark = now
    return Measurement(seconds=train + valid, train_seconds=train, valid_error_pct=[], threads="1")


def main(
    scenario: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(SCENARIOS)}. Default: all.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Each side runs once in each round.")] = 3,
    data_dir: Annotated[str | None, typer.Option(help="Where MNIST is. Default: $RELUBENCH_DATA_DIR.")] = None,
    output: Annotated[Path, typer.Option()] = RESULTS / "cpu-time.json",
) -> None:
    """Processor microseconds a training image, training alone, and seconds of a validation; medians over rounds."""
    facts = machine.describe(["python -m benchmarks.cpu_time", *sys.argv[1:]], data_dir)
    find_raw(data_dir)
    folder = str(Path(data_dir or os.environ[DATA_DIR_VARIABLE]).resolve())
    results: dict[str, Any] = {}
    for name in scenario or SCENARIOS:
        task, peers = SCENARIOS[name]
        task = Task.from_json({**task.to_json(), "data_dir": folder})
        costs: dict[str, list[list[float]]] = {OURS: [], **{peer: [] for peer in peers}}
        for _ in range(rounds):
            for peer in costs:
                costs[peer].append(_child(peers.get(peer, peer), task))
        results[name] = {peer: _row(rows, costs[OURS]) for peer, rows in costs.items()}
        for peer, row in results[name].items():
            told = f"{row['train_us_per_image']:.1f} us an image, validation {row['valid_seconds']:.2f} s"
            print(f"{name} {peer}: {told}, theirs / ours {row['train_ratio']:.2f}", flush=True)
        output.write_text(json.dumps({**facts, "rounds": rounds, "scenarios": results}, indent=1) + "\n")


def _child(target: str, task: Task) -> list[float]:
    """Microseconds an image of one network, and seconds of one network's validation, by a process of its own."""
    code = (
        "import time; time.perf_counter = time.process_time; import json, sys; "
        "from benchmarks.cpu_time import measure; from benchmarks.peers.task import Task; "
        "found = measure(sys.argv[1], Task.from_json(json.loads(sys.argv[2]))); print(json.dumps(found.to_json()))"
    )
    argv = [sys.executable, "-c", code, target, json.dumps(task.to_json())]
    done = subprocess.run(argv, env={**os.environ, **ONE_THREAD}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"error: {target} failed\n{done.stderr}")
    found = Measurement(**json.loads(done.stdout.splitlines()[-1]))
    valid = (found.seconds - found.train_seconds) / task.members
    return [1e6 * found.train_seconds / (task.images * task.members), valid]


def _row(rows: list[list[float]], ours: list[list[float]]) -> dict[str, float]:
    ratios = [theirs[0] / mine[0] for theirs, mine in zip(rows, ours, strict=True)]
    return {
        "train_us_per_image": median(row[0] for row in rows),
        "valid_seconds": median(row[1] for row in rows),
        "train_ratio": median(ratios),
        "train_ratio_low": min(ratios),
        "train_ratio_high": max(ratios),
    }


if __name__ == "__main__":
    typer.run(main)
