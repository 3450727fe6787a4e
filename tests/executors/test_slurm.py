"""Jobs in SLURM: their folders and their attempts in the default suite; a real SLURM of one node is slow."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from executors.slurm_here import why_not
from relubench.data import prepare
from relubench.data.shipment import pack, pieces
from relubench.executors.inline import InlineExecutor
from relubench.executors.job import Job
from relubench.executors.messages import Done, Failed, Progress
from relubench.executors.remote.deliveries import PutRun
from relubench.executors.remote.engine import Parcel
from relubench.executors.remote.supplies import Supplies
from relubench.executors.slurm import SlurmEngine
from relubench.executors.slurm_flight import End, FlightFolder, Reader, flights, write_entries
from relubench.executors.slurm_job import Attempt, data_folder
from relubench.executors.slurm_queue import SlurmOptions, ending, state_words
from relubench.reports.stored_runs import runs_report
from relubench.runs.store import Store
from relubench.system.device import resolve
from specs import job

SMALL = {"train": {"epochs": 2, "batch_size": 64}, "model": {"name": "mlp-1x16"}}


def small_job(root: Path, **sections: Any) -> Job:
    """A job of this machine's own processor."""
    small, device = job("relu", root, **{**SMALL, **sections}), resolve("cpu")
    specs = [replace(spec, device_name=device.name, torch=device.torch) for spec in small.specs]
    fields = {name: getattr(small, name) for name in ("choice", "data", "sources", "keep", "fresh")}
    return Job(specs=specs, **fields)


def folder_of(root: Path, parcel: Parcel) -> FlightFolder:
    folder = FlightFolder(root / "flights" / parcel.job.name)
    folder.write_parcel(parcel)
    return folder


def carried_out(folder: FlightFolder) -> Attempt:
    attempt = Attempt(folder)
    attempt.thread.start()
    attempt.thread.join(120)
    assert not attempt.thread.is_alive()
    return attempt


def test_an_attempt_writes_all_that_came_of_the_job_into_its_folder(tmp_path: Path):
    small = small_job(tmp_path)
    folder = folder_of(tmp_path / "shared", Parcel(job=small, supplies=Supplies(root="home")))
    carried_out(folder)
    entries = list(folder.entries())
    assert isinstance(entries[-1], End) and folder.has_ended
    kinds = [type(entry) for entry in entries if not isinstance(entry, Progress)]
    assert sorted(kind.__name__ for kind in kinds) == ["Discard", "Done", "End", "PutRun"]
    assert kinds.index(PutRun) < kinds.index(Done)
    list(InlineExecutor(Store(tmp_path)).run([small]))
    (put,) = (entry for entry in entries if isinstance(entry, PutRun))
    assert put.result == Store(tmp_path).result(small.specs[0].id)


def test_an_attempt_that_is_interrupted_is_gone_on_with_by_the_next(tmp_path: Path):
    long = small_job(tmp_path, train={"epochs": 500, "batch_size": 16})
    folder = folder_of(tmp_path / "shared", Parcel(job=long, supplies=Supplies(root="home")))
    attempt = Attempt(folder)
    attempt.thread.start()
    while not any(isinstance(entry, Progress) and entry.epochs_done > 1 for entry in folder.entries()):
        time.sleep(0.05)
    attempt.interrupt()
    (checkpoint,) = folder.checkpoints()
    assert checkpoint.name == long.name and not folder.has_ended
    carried_out(folder)
    assert [log.name for log in folder.logs()] == ["log-0", "log-1"]
    (put,) = (entry for entry in folder.entries() if isinstance(entry, PutRun))
    assert put.timing.interruptions == 1
    list(InlineExecutor(Store(tmp_path)).run([long]))
    assert put.result == Store(tmp_path).result(long.specs[0].id)


@pytest.mark.parametrize("other", ["name", "features"])
def test_a_node_of_another_kind_takes_no_job(other: str, tmp_path: Path):
    small = small_job(tmp_path)
    features = resolve("cpu").features
    if other == "name":
        small = replace(small, specs=[replace(small.specs[0], device_name="Opteron")])
    pinned = "family 15" if other == "features" else features
    folder = folder_of(tmp_path, Parcel(job=small, supplies=Supplies(root="home"), features=pinned))
    carried_out(folder)
    failed, end = folder.entries()
    assert isinstance(failed, Failed) and isinstance(end, End)
    named = f"Opteron, {features}" if other == "name" else f"{small.specs[0].device_name}, family 15"
    assert f"the runs are pinned to {named}, torch " in failed.message and "slurm.constraint" in failed.hint


def test_a_job_goes_out_with_the_features_that_its_runs_are_pinned_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("relubench.executors.slurm.states", dict)
    parcel = Parcel(job=small_job(tmp_path), supplies=Supplies(root="home"))
    engine = SlurmEngine(tmp_path / "shared", SlurmOptions(), lambda text: None, "family 15")
    engine.launch(0, parcel)
    (folder,) = flights(tmp_path / "shared")
    assert folder.parcel().features == "family 15"


def test_a_node_without_the_data_takes_them_from_the_shared_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small = small_job(tmp_path)
    folder = folder_of(tmp_path / "shared", Parcel(job=small, supplies=Supplies(root="home")))
    shared = data_folder(tmp_path / "shared", small.data)
    pack(pieces(prepare("digits").reference), shared)
    monkeypatch.setenv("RELUBENCH_CACHE_DIR", str(tmp_path / "node"))
    carried_out(folder)
    assert any(isinstance(entry, Done) for entry in folder.entries())
    assert [path.name[:5] for path in (tmp_path / "node" / "prepared").glob("[!.]*")] == ["sent-"]
    (shared / "x_train.npy").write_bytes(b"other")
    monkeypatch.setenv("RELUBENCH_CACHE_DIR", str(tmp_path / "another"))
    carried_out(folder)
    assert any(isinstance(entry, Failed) and "altered on its way" in entry.message for entry in folder.entries())


def test_half_an_entry_is_left_for_later(tmp_path: Path):
    folder = FlightFolder(tmp_path)
    reader, entries = Reader(folder), [Progress(run="a", epochs_done=1.0), End()]
    with folder.new_log() as log:
        write_entries(log, entries[:1])
        whole = (tmp_path / "log-0").read_bytes()
        log.write(whole[:-1])
    assert list(reader.new_entries()) == entries[:1]
    assert list(reader.new_entries()) == []
    with folder.new_log() as log:
        write_entries(log, entries[1:])
    assert list(reader.new_entries()) == entries[1:]


@pytest.mark.parametrize(
    ("state", "phrase", "is_final"),
    [
        ("CANCELLED", "was cancelled in SLURM", True),
        ("OUT_OF_MEMORY", "was killed, since its memory ran out", False),
        ("NODE_FAIL", "ended with its node", False),
        ("TIMEOUT", "was ended, since its time was over", False),
        ("FAILED", "has ended in SLURM (failed)", False),
        ("", "has ended in SLURM (unknown state)", False),
    ],
)
def test_a_job_that_somebody_cancelled_is_final_and_no_other(state: str, phrase: str, is_final: bool):
    assert (ending(state)[0], ending(state)[2]) == (phrase, is_final)


def engine_on(root: Path, queue: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> SlurmEngine:
    """An engine of a SLURM that has these jobs, and takes no others."""
    monkeypatch.setattr("relubench.executors.slurm.states", lambda: queue)
    monkeypatch.setattr("relubench.executors.slurm.last_state", lambda number: "CANCELLED")
    return SlurmEngine(root, SlurmOptions(), lambda text: None)


def test_what_a_job_finished_while_nobody_looked_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    parcel = Parcel(job=small_job(tmp_path), supplies=Supplies(root="home"))
    folder = folder_of(tmp_path / "shared", parcel)
    folder.set_id("7_0")
    carried_out(folder)
    engine = engine_on(tmp_path / "shared", {}, monkeypatch)
    engine.launch(0, parcel)
    (arrival,) = engine.arrivals(0.0)
    assert arrival.ended and any(isinstance(delivery, Done) for delivery in arrival.deliveries)
    assert flights(tmp_path / "shared") == []


def test_a_job_that_is_still_in_the_queue_is_not_queued_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    parcel, queue = Parcel(job=small_job(tmp_path), supplies=Supplies(root="home")), {"7_0": "PENDING", "8": "RUNNING"}
    folder = folder_of(tmp_path / "shared", parcel)
    folder.set_id("7_0")
    engine = engine_on(tmp_path / "shared", queue, monkeypatch)
    engine.launch(0, parcel)
    engine.interval = 0.0
    assert engine.arrivals(0.0) == []
    del queue["7_0"]
    for _ in range(4):
        engine.last_asked = engine.interval = 0.0
        arrivals = engine.arrivals(0.0)
        if arrivals:
            break
    assert [(arrival.lost, arrival.final) for arrival in arrivals] == [("was cancelled in SLURM", True)]


def test_runs_are_listed_as_queued_and_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for number, (act, state) in enumerate({"relu": "PENDING", "tanh": "RUNNING"}.items()):
        own = job(act, tmp_path, **SMALL)
        parcel = Parcel(job=replace(small_job(tmp_path), specs=own.specs), supplies=Supplies(root="home"))
        folder = folder_of(tmp_path / "slurm", parcel)
        folder.set_id(f"7_{number}")
        assert state_words(folder, {f"7_{number}": state}) == ("queued" if act == "relu" else "running")
    monkeypatch.setattr("relubench.executors.slurm_queue.states", lambda: {"7_0": "PENDING", "7_1": "RUNNING"})
    rows = runs_report(Store(tmp_path), readable_cells=False).rows
    assert {row["activation"]: row["outcome"] for row in rows} == {"relu": "queued", "tanh": "running"}


LONG = ["--act", "relu,tanh", "--device", "cpu", "--seeds", "2", "--model", "mlp-2x256", "--epochs", "250"]
SHORT = ["--act", "relu,tanh", "--device", "cpu", "--seeds", "2", "--model", "mlp-1x16", "--epochs", "2"]


def command(words: list[str], runs: Path, *more: str) -> list[str]:
    place = ["--runs-dir", str(runs), "--format", "json"]
    return [sys.executable, "-m", "relubench", "train", *words, *more, *place]


def trained(words: list[str], runs: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(words, runs, *more), capture_output=True, text=True, timeout=400, check=False)


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in (root / "runs").rglob("*") if path.is_file()}


def running_jobs() -> list[str]:
    words = ["squeue", "--noheader", "--array", "--states=RUNNING", "--format=%i"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()


def training_pids() -> list[int]:
    """The processes of SLURM's jobs that train."""
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            pids += [int(folder.name)] if b"submitit.core._submit" in words and b"python" in words[0] else []
    return sorted(pids)


def wait_for_checkpoints(runs: Path, number: int) -> None:
    deadline = time.monotonic() + 60
    while len(list((runs / "slurm" / "flights").glob("*/checkpoint-*"))) < number:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def wait_for_epochs(runs: Path, epochs: float, number: int) -> None:
    """Wait until so many jobs on their way have come so far."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        reached = [
            folder
            for folder in flights(runs / "slurm")
            if any(isinstance(entry, Progress) and entry.epochs_done > epochs for entry in folder.entries())
        ]
        if len(reached) >= number:
            return
        time.sleep(0.2)
    raise AssertionError("no job has come so far")


KILLED = """
import os, signal, sys
from pathlib import Path
from executors.slurm_here import running
with running(state := Path(sys.argv[1])):
    print((state / "ctld.pid").read_text(), (state / "d.pid").read_text(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
@pytest.mark.xdist_group("slurm")
@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_a_slurm_ends_when_the_process_that_started_it_is_killed(tmp_path: Path):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    words = [sys.executable, "-c", KILLED, str(tmp_path)]
    killed = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    daemons = [Path("/proc", pid) for pid in killed.stdout.split()]
    assert killed.returncode == -signal.SIGKILL and len(daemons) == 2
    deadline = time.monotonic() + 60
    while any(daemon.exists() for daemon in daemons):
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.xdist_group("slurm")
def test_slurm_stores_the_same_bytes(tmp_path: Path, on_slurm: list[str]):
    away, here = (trained(SHORT, tmp_path / name, *words) for name, words in (("slurm", on_slurm), ("local", [])))
    assert away.returncode == here.returncode == 0, away.stderr
    assert contents(tmp_path / "slurm") == contents(tmp_path / "local") != {}
    assert flights(tmp_path / "slurm" / "slurm") == []


@pytest.mark.slow
@pytest.mark.xdist_group("slurm")
def test_a_command_that_is_left_finds_its_jobs_again_even_preempted_ones(tmp_path: Path, on_slurm: list[str]):
    runs = tmp_path / "slurm"
    process = subprocess.Popen(
        command(LONG, runs, *on_slurm), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for_epochs(runs, 3.0, 2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130 and "jobs stay in SLURM: the same command finds them again" in err
    preempted, terminated = training_pids()
    os.kill(preempted, signal.SIGUSR2)  # As SLURM does some time before a job's time is over.
    os.kill(terminated, signal.SIGTERM)  # As SLURM does before it kills a job that it queues again.
    wait_for_checkpoints(runs, 2)
    os.kill(terminated, signal.SIGKILL)
    again = trained(LONG, runs, *on_slurm)
    assert again.returncode == 0, again.stderr
    assert trained(LONG, tmp_path / "local").returncode == 0
    assert contents(runs) == contents(tmp_path / "local")
    timings = [json.loads((runs / "timings" / path.name).read_text()) for path in (runs / "timings").glob("*.json")]
    assert sum(timing["interruptions"] for timing in timings) >= 2, "both went on from their checkpoints"


@pytest.mark.slow
@pytest.mark.xdist_group("slurm")
def test_a_job_that_is_cancelled_from_outside_fails_and_the_others_end(tmp_path: Path, on_slurm: list[str]):
    runs = tmp_path / "slurm"
    process = subprocess.Popen(
        command(LONG, runs, *on_slurm), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for_epochs(runs, 1.0, 1)
    subprocess.run(["scancel", running_jobs()[0]], check=True)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0 and err.count("was cancelled in SLURM") == 1, err
    assert sorted(row["n"] for row in json.loads(out)["rows"]) == [1, 2]
    again = trained(LONG, runs, *on_slurm)
    assert again.returncode == 0 and "3 of 4 runs are stored already" in again.stderr


@pytest.mark.slow
@pytest.mark.xdist_group("slurm")
def test_an_array_that_is_cancelled_from_outside_fails_with_the_runs_that_were_not_finished(
    tmp_path: Path, on_slurm: list[str]
):
    runs = tmp_path / "slurm"
    words = [*LONG[:-1], "100"]  # Two of four run, the others are queued.
    process = subprocess.Popen(
        command(words, runs, *on_slurm), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for_epochs(runs, 1.0, 1)
    subprocess.run(["scancel", running_jobs()[0].partition("_")[0]], check=True)
    _, err = process.communicate(timeout=300)
    finished = len(list((runs / "runs").glob("[!.]*")))
    assert process.returncode == (0 if finished else 1), err
    assert err.count("was cancelled in SLURM") == 4 - finished, err
    again = trained(words, runs, *on_slurm)
    assert again.returncode == 0 and trained(words, tmp_path / "local").returncode == 0
    assert contents(runs) == contents(tmp_path / "local")


def test_without_submitit_the_command_that_installs_it_is_said(tmp_path: Path):
    (tmp_path / "submitit.py").write_text("raise ImportError('no submitit')")
    code = (
        "import sys\nsys.path.insert(0, sys.argv[1])\nfrom relubench.__main__ import run\nsys.exit(run(sys.argv[2:]))"
    )
    words = [str(tmp_path), "train", "--act", "relu", "--executor", "slurm", "--runs-dir", str(tmp_path / "runs")]
    answer = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, env=os.environ, check=False
    )
    assert answer.returncode == 2 and answer.stderr.splitlines() == [
        "error: --executor slurm needs submitit, which is not installed here",
        "hint: pip install 'relubench[slurm]'",
    ]
