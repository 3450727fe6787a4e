"""Memory: predicted from the shape, close to what a process really takes; too large a population is split."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import relubench.training.population
from relubench.executors.messages import Done
from relubench.runs.store import Store
from relubench.training.memory import evaluation_bytes, member_bytes, members_that_fit
from specs import StoredJob, finish, job, runs

MEASURE = """
import ctypes, gc, json, os, re, shutil, sys
import torch
import torch.fx.experimental.symbolic_shapes  # autograd imports it at first use: here once, not in every child
import relubench.training.population
from relubench.executors.job import Job
from relubench.executors.tasks import _open
torch.set_num_threads(1)
def kib(what):
    return int(re.search(what + r":\\s+(\\d+)", open("/proc/self/status").read())[1])
def train(job):
    population = _open(job)
    for step in population.train():
        break
    population.evaluate("valid")
def measure(small, job):
    train(small)  # what the libraries take for themselves at first use
    gc.collect()
    if hasattr(ctypes.CDLL(None), "malloc_trim"):  # of the GNU C library: gives back what is free
        ctypes.CDLL(None).malloc_trim(0)
    open("/proc/self/clear_refs", "w").write("5")  # the peak starts anew
    before = kib("VmRSS")
    train(job)
    print((kib("VmHWM") - before) * 1024, flush=True)
for pair in json.load(open(sys.argv[1])):
    # The compiler of kernels is in the prediction: nothing compiled is at hand.
    shutil.rmtree(os.environ["RELUBENCH_CACHE_DIR"] + "/kernels", ignore_errors=True)
    if os.fork() == 0:  # nothing of what the others took is in this one
        measure(*map(Job.from_json, pair))
        os._exit(0)
    assert os.wait()[1] == 0
"""

MODELS: list[tuple[str, dict[str, Any], str]] = [
    ("transformer-4x128", {"batch_size": 32, "probe": "none"}, "test"),
    ("transformer-2x64", {"batch_size": 16}, "test"),
    ("mlp-3x1000", {"batch_size": 10}, "test"),
    ("mlp-3x1000", {"batch_size": 10}, "AMD (AVX512)"),
    ("mlp-3x1000", {"batch_size": 128}, "AMD (AVX512)"),
    ("mlp-3x1000", {"batch_size": 512, "optimizer": "adamw", "lr": 0.001}, "test"),
    ("mlp-4000-2000", {"batch_size": 10, "momentum": 0.9}, "test"),
    ("vae-2x1000", {"batch_size": 512}, "test"),
    ("autoencoder-2x1000", {"batch_size": 512}, "test"),
]


def pair_of_jobs(model: str, train: dict[str, Any], device_name: str, store: Path) -> list[StoredJob]:
    """A job of a small network of that family, and the one whose memory is measured."""
    data = {"name": "docs"} if model.startswith("transformer") else {}
    small = "transformer-1x8" if model.startswith("transformer") else re.sub(r"[1-9]\d{2,}", "8", model)
    jobs = [job("relu", store, model={"name": name}, train=train, data=data) for name in (small, model)]
    return [replace(each, specs=[replace(each.specs[0], device_name=device_name)]) for each in jobs]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_prediction_is_close_to_what_a_process_takes(tmp_path: Path):
    pairs = [pair_of_jobs(*row, tmp_path) for row in MODELS]
    (tmp_path / "jobs.json").write_text(json.dumps([[one.to_json() for one in pair] for pair in pairs]))
    own = {**os.environ, "RELUBENCH_CACHE_DIR": str(tmp_path / "cache")}
    argv = [sys.executable, "-c", MEASURE, str(tmp_path / "jobs.json")]
    done = subprocess.run(argv, capture_output=True, text=True, env=own, check=False)
    assert done.returncode == 0, done.stderr
    far = []
    for row, (_, one), measured in zip(MODELS, pairs, map(int, done.stdout.split()), strict=True):
        predicted = member_bytes(one.specs[0], 1) + evaluation_bytes(one.specs[0], 1, one.prepared.n_valid)
        told = f"{row}: predicted {predicted / 1e6:.0f} MB, measured {measured / 1e6:.0f} MB"
        print(told)
        # 20 MB: what a gather, a shuffle and Python itself take, whatever the network.
        far += [] if predicted == pytest.approx(measured, rel=0.2, abs=20e6) else [told]
    assert far == []


def test_more_memory_holds_more_members():
    _, (spec,) = runs("relu", model={"name": "mlp-3x1000"})
    assert members_that_fit(spec, 1, 10**6) == 1
    few, many = members_that_fit(spec, 1, 2 * 10**9), members_that_fit(spec, 1, 80 * 10**9)
    assert 1 < few < many
    assert many * member_bytes(spec, 1) < 80 * 10**9


def test_a_population_too_large_for_the_memory_is_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Small(relubench.training.population.Population):
        def __init__(self, specs: Any, choice: Any, data: Any) -> None:
            if len(specs) > 2:
                raise RuntimeError("CUDA out of memory. Tried to allocate")
            super().__init__(specs, choice, data)

    monkeypatch.setattr(relubench.training.population, "Population", Small)
    one = job("relu", tmp_path, seeds=5, train={"epochs": 1}, model={"name": "mlp-1x16"})
    assert [type(message) for message in finish(one)].count(Done) == 5
    assert sorted(Store(tmp_path).ids()) == sorted(spec.id for spec in one.specs)
