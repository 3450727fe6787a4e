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
from collections.abc import Callable
from pathlib import Path

import pytest

from relubench.runs.store import Busy, Store
from tests.cli.fakes import ROOT, Cli, program, training_here
from tests.cli.test_program import WATCHED

SMALL = ("--model", "mlp-1x8", "--batch-size", "64", "--device", "cpu")


def test_train_then_cached_then_listed(cli: Cli) -> None:
    argv = ("train", "--act", "relu,tanh", "--seeds", "2", "--epochs", "1", *SMALL)
    first = program(*argv)
    assert first.returncode == 0, first.stderr
    rows = list(csv.DictReader(io.StringIO(first.stdout), delimiter="\t"))
    assert [(row["activation"], row["n"], row["outcome"]) for row in rows] == [("relu", "2", "ok"), ("tanh", "2", "ok")]
    assert all(0 <= float(row["test_error_pct"]) <= 100 for row in rows)
    assert "4 of 4 runs finished" in first.stderr

    again = program(*argv, script=WATCHED)
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert "4 of 4 runs are stored already" in again.stderr
    code, _, modules = json.loads(again.stderr.splitlines()[-1])
    assert code == 0 and not set(modules) & {"torch", "torchvision"}

    shown = json.loads(cli("train", *argv[1:], "--format", "json", "--quiet").out)
    assert [len(shown[key]) for key in ("rows", "runs")] == [2, 4]
    listed = json.loads(cli("runs", "--format", "json").out)["rows"]
    assert {row["id"] for row in listed} == {run["id"] for run in shown["runs"]}


@pytest.mark.usefixtures("train_here")
def test_a_formula_learns_its_parameter_and_has_one_run_however_it_is_typed(cli: Cli) -> None:
    argv = ("train", "--epochs", "1", "--format", "json", *SMALL, "--act")
    first = json.loads(cli(*argv, "x*sigmoid(b*x), b~1, swish").out)
    mine, theirs = first["rows"]
    assert mine["activation"] == "x*sigmoid(b*x):b~1"
    for key in ("parameters", "test_error_pct", "valid_error_pct", "outcome"):
        assert mine[key] == theirs[key]
    again = cli(*argv, "lambda z: z * torch.sigmoid(b*z):b ~ 1.0")
    assert "1 of 1 runs are stored already" in again.err
    assert json.loads(again.out)["runs"] == first["runs"][:1]


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
def test_refused_before_any_work(cli: Cli, argv: tuple[str, ...], code: int, error: str) -> None:
    ended = cli("train", "--device", "cpu", *argv)
    assert (ended.code, ended.out) == (code, "")
    lines = ended.err.splitlines()
    assert len(lines) == 2, ended.err
    assert lines[0].startswith("error: ")
    assert error in lines[0]
    assert lines[1].startswith("hint: ")


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_and_resumable(cli: Cli, number: signal.Signals) -> None:
    argv = [sys.executable, "-m", "relubench", "train", "--act", "relu,tanh", "--epochs", "100000", *SMALL]
    running = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stderr is not None
    told = running.stderr.readline()
    while "epoch" not in told and running.poll() is None:
        told = running.stderr.readline()
    time.sleep(0.2)
    running.send_signal(number)
    out, err = running.communicate(timeout=300)
    assert running.returncode == 130, err
    assert out == ""
    assert "interrupted: 0 of 2 runs are finished; the same command goes on from here" in err
    assert "Traceback" not in err
    listed = json.loads(cli("runs", "--format", "json").out)["rows"]
    # One that had not begun to train when the signal came has nothing to go on from.
    assert {row["outcome"] for row in listed} == {"unfinished"}


def is_training(root: Path) -> bool:
    """Whether any process holds a run of the store."""
    for path in root.glob("locks/*.lock"):
        try:
            with Store(root).lock(path.stem, lambda: False):
                continue
        except Busy:
            return True
    return False


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < end, "waited for 300 s"
        time.sleep(0.05)


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_a_second_request_to_stop_leaves_no_worker_behind(tmp_path: Path) -> None:
    """SIGTERM and SIGHUP in short order: the first asks for checkpoints, the second ends the workers at once."""
    argv = [sys.executable, "-m", "relubench", "train", "--act", "relu,tanh", "--epochs", "100000", *SMALL]
    argv += ["--runs-dir", str(tmp_path / "store")]
    running = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: is_training(tmp_path / "store"))
    running.send_signal(signal.SIGTERM)
    time.sleep(0.05)
    running.send_signal(signal.SIGHUP)
    out, err = running.communicate(timeout=300)
    assert (running.returncode, out, "Traceback" in err) == (130, "", False), err
    assert not is_training(tmp_path / "store")


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_a_command_killed_over_and_over_leaves_the_folders_of_one_never_killed(cli: Cli, tmp_path: Path) -> None:
    """SIGKILL to the command alone, whose workers then notice, or to all of its processes at once."""
    argv = [sys.executable, "-m", "relubench", "train", "--act", "nrelu", "--epochs", "300", "--quiet", *SMALL]
    stores = {name: tmp_path / name for name in ("whole", "broken")}
    for delay, everyone in ((0.6, True), (0.3, False)):
        killed = subprocess.Popen(
            [*argv, "--runs-dir", str(stores["broken"])], cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True
        )
        wait_for(lambda: is_training(stores["broken"]))
        time.sleep(delay)
        if everyone:
            os.killpg(killed.pid, signal.SIGKILL)
        killed.kill()
        killed.wait()
        wait_for(lambda: not is_training(stores["broken"]))
    with training_here():
        whole = cli(*argv[3:], "--runs-dir", str(stores["whole"]))
    ended = program(*argv[3:], "--runs-dir", str(stores["broken"]))
    assert (whole.code, ended.returncode) == (0, 0), ended.stderr
    kept, broken = (
        {str(path.relative_to(root)): path.read_bytes() for path in root.glob("runs/[0-9a-f]*/*")}
        for root in stores.values()
    )
    assert len(kept) == 3
    assert broken == kept
    listed = json.loads(cli("runs", "--runs-dir", str(stores["broken"]), "--format", "json").out)["rows"]
    assert len(listed) == 1 and "unfinished" not in {row["outcome"] for row in listed}
