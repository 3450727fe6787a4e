"""A text of 100 MB stays on disk: what a process that trains on it takes for itself is far below 1 GB."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from specs import job

SIZE = 100_000_000
MEASURE = """
import itertools, json, re, sys, threading
import torch
from relubench.executors.job import Job
from relubench.executors.tasks import _open
torch.set_num_threads(1)
def anonymous():
    return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
peak, ended = [0], threading.Event()
def watch():
    while not ended.wait(0.002):
        peak[0] = max(peak[0], anonymous())
watcher = threading.Thread(target=watch)
watcher.start()
population = _open(Job.from_json(json.loads(sys.argv[1])))
data = population.data
(step,) = itertools.islice(population.train(), 1)
# The whole held-out part, as the end of a run sees it; and of its evaluation a few batches.
at_chance = population.task.is_at_chance(8.0, data.targets("valid"))
with torch.no_grad():
    for x, y in itertools.islice(data.slices("valid", 2000 // data.context), 3):
        for layer in population.layers:
            x = layer.forward(x, training=False)
        population.objective.losses(x.unsqueeze(0), y)
ended.set()
watcher.join()
print(json.dumps({"peak": peak[0], "windows": step.images, "train": data.n_train, "at_chance": at_chance}))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_corpus_of_100_mb_trains_in_less_than_1_gb_of_anonymous_memory(tmp_path: Path):
    corpus = tmp_path / "corpus.txt"
    line = b"".join(b"%d sheep went through the gate; " % number for number in range(3000))
    with corpus.open("wb") as file:
        for _ in range(-(-SIZE // len(line))):
            file.write(line)
    one = job("relu", tmp_path / "runs", data={"name": str(corpus)}, model={"name": "transformer-2x64"})
    argv = [sys.executable, "-c", MEASURE, json.dumps(one.to_json())]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert not ended.returncode, ended.stderr
    measured = json.loads(ended.stdout)
    print(f"{measured['peak'] / 1e6:.0f} MB of anonymous memory")
    assert measured["peak"] < 1e9
    assert measured["windows"] > 0 and measured["train"] > 0.79 * SIZE / 128 and measured["at_chance"]
