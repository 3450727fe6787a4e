"""The whole program on the embedded digits: trained, cached, interrupted, resumed."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.cli.fakes import ROOT, program
from tests.cli.test_program import watched

SMALL = ("--model", "mlp-1x8", "--batch-size", "64", "--device", "cpu")


def test_train_then_cached_then_listed() -> None:
    argv = ("train", "--act", "relu,tanh", "--seeds", "2", "--epochs", "1", *SMALL)
    first = program(*argv)
    assert first.returncode == 0, first.stderr
    rows = list(csv.DictReader(io.StringIO(first.stdout), delimiter="\t"))
    assert [(row["activation"], row["n"], row["outcome"]) for row in rows] == [("relu", "2", "ok"), ("tanh", "2", "ok")]
    assert all(0 <= float(row["test_error_pct"]) <= 100 for row in rows)
    assert "4 of 4 runs finished" in first.stderr

    again = program(*argv)
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert "4 of 4 runs are stored already" in again.stderr
    assert not watched(*argv)[2] & {"torch", "torchvision"}

    shown = json.loads(program("train", *argv[1:], "--format", "json", "--quiet").stdout)
    assert [len(shown[key]) for key in ("rows", "runs")] == [2, 4]
    listed = json.loads(program("runs", "--format", "json").stdout)["rows"]
    assert {row["id"] for row in listed} == {run["id"] for run in shown["runs"]}


@pytest.mark.parametrize(
    ("argv", "code", "error"),
    [
        (("--act", "rleu"), 2, "rleu"),
        (("--model", "resnet"), 2, "there is no model called 'resnet'"),
        (("--dataset", "minst"), 2, "minst"),
        (("--dataset", "mnist"), 3, "mnist is not in"),
        (("--set", "data.train_size=0"), 2, "data.train_size"),
    ],
)
def test_refused_before_any_work(argv: tuple[str, ...], code: int, error: str) -> None:
    ended = program("train", "--device", "cpu", *argv)
    assert (ended.returncode, ended.stdout) == (code, "")
    lines = ended.stderr.splitlines()
    assert len(lines) == 2, ended.stderr
    assert lines[0].startswith("error: ")
    assert error in lines[0]
    assert lines[1].startswith("hint: ")


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_and_resumable(number: signal.Signals) -> None:
    argv = [sys.executable, "-m", "relubench", "train", "--act", "relu,tanh", "--epochs", "100000", *SMALL]
    running = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stderr is not None
    told = running.stderr.readline()
    while "epoch" not in told and running.poll() is None:
        told = running.stderr.readline()
    time.sleep(0.2)
    running.send_signal(number)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert out == ""
    assert "interrupted: 0 of 2 runs are finished; the same command goes on from here" in err
    assert "Traceback" not in err
    listed = json.loads(program("runs", "--format", "json").stdout)["rows"]
    # One that had not begun to train when the signal came has nothing to go on from.
    assert {row["outcome"] for row in listed} == {"unfinished"}
