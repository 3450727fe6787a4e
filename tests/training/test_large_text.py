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
import json, re, sys, threading, time
from pathlib import Path
import torch
from relubench.executors.job import Job
from relubench.executors.messages import Done
from relubench.executors.tasks import carry_out
from relubench.runs.store import Store
torch.set_num_threads(1)
job, store = Job.from_json(json.loads(sys.argv[1])), Store(Path(sys.argv[2]))
def anonymous():
    return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
peak, ended = [0], threading.Event()
def watch():
    while not ended.wait(0.005):
        peak[0] = max(peak[0], anonymous())
watcher = threading.Thread(target=watch)
watcher.start()
(done,) = [message for message in carry_out(job, store, lambda: False) if isinstance(message, Done)]
ended.set()
watcher.join()
print(json.dumps({"peak": peak[0], "score": done.result.test_score, "windows": len(done.wrong)}))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_corpus_of_100_mb_trains_in_less_than_1_gb_of_anonymous_memory(tmp_path: Path):
    corpus = tmp_path / "corpus.txt"
    line = b"".join(b"%d sheep went through the gate; " % number for number in range(3000))
    with corpus.open("wb") as file:
        for _ in range(-(-SIZE // len(line))):
            file.write(line)
    one = job(
        "relu",
        tmp_path / "runs",
        data={"name": str(corpus), "context": 256, "train_size": 2000},
        model={"name": "transformer-1x2"},
        train={"epochs": 1, "batch_size": 64, "probe": "none"},
    )
    argv = [sys.executable, "-c", MEASURE, json.dumps(one.to_json()), str(one.store)]
    ended = subprocess.run(argv, capture_output=True, text=True, check=True)
    measured = json.loads(ended.stdout)
    assert measured["peak"] < 1e9, f"{measured['peak'] / 1e6:.0f} MB"
    assert measured["windows"] == (corpus.stat().st_size // 10 - 1) // 256 and 0 < measured["score"] < 9
