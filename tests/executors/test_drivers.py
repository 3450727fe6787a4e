"""Sixteen processes on one store, each with workers elsewhere: every run is trained by one of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from relubench.runs.store import Store

DRIVERS, JOBS = 16, 6

DRIVE = """
import os, sys
from pathlib import Path

import torch

from executors.here_engine import HereEngine
from relubench.executors.messages import Done
from relubench.executors.remote.control import Control
from relubench.runs.store import Store
from specs import job

torch.set_num_threads(1)
root, noted, drivers, jobs = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
small = {"train": {"epochs": 2, "batch_size": 64}, "model": {"name": "mlp-1x16"}}
population = [job("relu", root, **{**small, "train": {**small["train"], "lr": 0.1 + n / 100}}) for n in range(jobs)]
put = Store.put


def note(store, result, *rest):
    with noted.open("a") as file:
        file.write(result.id + "\\n")
    put(store, result, *rest)


Store.put = note
children = []
for number in range(drivers):
    if (child := os.fork()) == 0:
        own = population[number % jobs :] + population[: number % jobs]
        engine = HereEngine(2)
        done = [message for message in Control(engine, Store(root), 3).run(own) if isinstance(message, Done)]
        os._exit(0 if {message.run for message in done} == {one.specs[0].id for one in own} else 1)
    children.append(child)
sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))
"""
"""Forked once the libraries are loaded, which sixteen processes of their own would take minutes for."""


def test_sixteen_drivers_on_one_store_train_each_run_once(tmp_path: Path):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    words = [sys.executable, "-c", DRIVE, str(tmp_path / "runs"), str(tmp_path / "noted"), str(DRIVERS), str(JOBS)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    stored = Counter((tmp_path / "noted").read_text().split())
    assert sorted(stored) == Store(tmp_path / "runs").ids() and set(stored.values()) == {1} and len(stored) == JOBS
