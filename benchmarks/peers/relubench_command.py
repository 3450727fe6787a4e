"""relubench through its own command, with everything a user gets: validation, probes, store, final test.

Its clock, like the others', starts when training does: `seconds` of a run is training, validation and one more pass
over the 10,000 test images with the best epoch's weights, which no other peer makes.
"""

from __future__ import annotations

import heapq
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.mnist import N_TRAIN
from benchmarks.peers.task import Measurement, Task

ROOT = Path(__file__).parents[2]


COUNTED = ("ok", "stalled")


def command(task: Task) -> list[str]:
    """The arguments after `relubench`; the folders of data and runs are added by `run`."""
    model = "cnn" if task.cnn else "mlp-" + "-".join(map(str, task.hidden))
    seeds = ["--seeds", str(task.members)] if task.members > 1 else ["--seed", str(task.seed)]
    images = ["--set", f"data.train_size={task.images}"] if task.images != N_TRAIN else []
    return [
        *["train", "--act", "relu", "--dataset", "mnist", "--model", model],
        *["--batch-size", str(task.batch_size), "--epochs", str(task.epochs), "--lr", str(task.lr)],
        *[*seeds, *images, "--device", "cpu", "--no-cache", "--format", "json", "--quiet"],
    ]


def run(task: Task) -> Measurement:
    """One network, or a population of `members`."""
    with tempfile.TemporaryDirectory() as runs:
        folders = ["--runs-dir", runs, *(["--data-dir", task.data_dir] if task.data_dir else [])]
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "relubench", *command(task), *folders],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        passed = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"relubench ended with exit code {done.returncode}: {done.stderr.strip()}")
    return _measurement(task, json.loads(done.stdout)["runs"], passed)


def _measurement(task: Task, runs: list[dict[str, Any]], passed: float) -> Measurement:
    """A population takes as long as its busiest worker; what lies between two runs is in command_seconds only."""
    # A stalled network has taken its time as well: a deep one in a single short epoch of the scaling.
    bad = [run["outcome"] for run in runs if run["outcome"] not in COUNTED or run["epochs"] != task.epochs]
    if bad or len(runs) != task.members:
        raise RuntimeError(f"relubench trained {len(runs)} networks, outcomes {bad or 'ok'}")
    threads = runs[0]["spec"]["threads"]
    workers = max(1, min(len(runs), torch.get_num_threads() // threads))
    timings = [run["timing"] for run in runs]
    images = task.images * task.epochs
    return Measurement(
        seconds=_busiest([one["seconds"] for one in timings], workers),
        train_seconds=_busiest([images / one["images_per_second"] for one in timings], workers),
        valid_error_pct=[round(point["valid_error_pct"], 3) for run in runs for point in run["curve"]],
        command_seconds=passed,
        test_seconds=_busiest([one["seconds"] - one["epoch_seconds"][-1] for one in timings], workers),
        threads=f"{workers} worker{'s' if workers > 1 else ''} of torch {threads}",
    )


def _busiest(seconds: list[float], workers: int) -> float:
    """The time until the last run ends, each being given in turn to the worker that is free first."""
    free = [0.0] * workers
    for one in seconds:
        heapq.heapreplace(free, free[0] + one)
    return max(free)
