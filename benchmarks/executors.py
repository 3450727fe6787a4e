"""`python -m benchmarks.executors`: what a job costs beside its training, by executor.

1,000 trainings of a tiny network (a few milliseconds each) by `local`, `ray` and `slurm`, each in a process of its own;
overhead is the time of the whole less start-up, times the workers, less the trainings' own seconds, for each job. SLURM
is measured where `sbatch` works; Ray starts here.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from typing import Annotated, Any

import typer

EXECUTORS = ("local", "ray", "slurm")

JOBS = """
import json, sys, time
from pathlib import Path
from relubench.experiments.config import experiment
from relubench.experiments.study import Study

name, jobs, workers, root = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
place = {"name": name} | ({"workers": workers} if name != "local" else {})
values = {"act": ["relu"], "seeds": list(range(jobs)), "model": {"name": "mlp-1x4"}, "device": "cpu", "keep": "none"}
values |= {"train": {"epochs": 1, "batch_size": 64}, "data": {"train_size": 100}, "executor": place}
start = time.perf_counter()
study = Study.open(experiment(values), runs_dir=root)
opened, first, done = time.perf_counter(), None, 0
for event in study.run():
    if event.kind == "done":
        first, done = first or time.perf_counter(), done + 1
end = time.perf_counter()
training = sum(timing.seconds for timing in study.timings.values() if timing)
import resource
print(json.dumps({"executor": name, "jobs": done, "workers": workers, "open_s": opened - start,
    "until_first_s": first - opened, "rest_s": end - first, "training_s": training,
    "driver_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def answer(code: str, *words: str) -> dict[str, Any]:
    """What a process of its own prints, as JSON values."""
    done = subprocess.run([sys.executable, "-c", code, *words], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def overhead_ms(row: dict[str, Any]) -> float:
    """Milliseconds of a worker's time for each job after the first, beside the training."""
    share = (row["jobs"] - 1) / row["jobs"]
    return 1000 * (row["rest_s"] * row["workers"] - share * row["training_s"]) / max(row["jobs"] - 1, 1)


def main(
    jobs: Annotated[int, typer.Option(help="Trainings of each executor.")] = 1000,
    workers: Annotated[int, typer.Option(help="Workers; as many as local takes here, to be comparable.")] = 2,
    executor: Annotated[list[str] | None, typer.Option(help="Only these executors.")] = None,
) -> None:
    """Measure, and print a row for each executor."""
    local = None
    for name in executor or EXECUTORS:
        if name == "slurm" and shutil.which("sbatch") is None:
            print("slurm: not measured, since there is no sbatch here")
            continue
        with tempfile.TemporaryDirectory() as folder:
            row = answer(JOBS, name, str(jobs), str(workers), folder)
        cost = overhead_ms(row)
        local = cost if name == "local" else local
        against = f", {cost / local:.2f} times local's" if local and name != "local" else ""
        facts = f"{row['open_s']:.1f} s to open, {row['until_first_s']:.1f} s until the first"
        print(f"{name}: {row['jobs']} jobs, {cost:.1f} ms overhead a job{against}; {facts}; {row['driver_mb']:.0f} MB")


if __name__ == "__main__":
    typer.run(main)
