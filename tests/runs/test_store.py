"""The run store: whole or not at all, whatever happens to the disk; several processes share it."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import relubench.system.files
from relubench.errors import ComputeError
from relubench.executors.failures import user_error
from relubench.executors.messages import Done, Progress, Waiting
from relubench.executors.tasks import carry_out
from relubench.runs.result import RunResult, Timing
from relubench.runs.store import Busy, Store
from relubench.training.driver import Interrupted
from specs import StoredJob, finish, job

TIMING = Timing(
    seconds=1.0, epoch_seconds=[1.0], images_per_second=10.0, host="here", finished="2026-01-01T00:00:00+00:00"
)


def result(run: str, error: float = 10.0) -> RunResult:
    return RunResult(
        id=run,
        spec={"activation": "relu"},
        outcome="ok",
        parameters=1,
        path="cpu, 1 thread",
        epochs=1,
        best_epoch=1,
        valid_error_pct=1.0,
        test_error_pct=error,
        test_examples=10,
        sparsity_pct=None,
    )


def test_what_is_put_comes_back(tmp_path: Path):
    store, wrong = Store(tmp_path), np.array([1, 0, 0, 0, 0, 0, 0, 0, 0, 1], dtype=bool)
    store.put(result("abc"), TIMING, wrong, b"weights")
    assert store.ids() == ["abc"]
    assert store.result("abc") == result("abc")
    assert store.timing("abc") == TIMING
    back = store.wrong("abc")
    assert back is not None and back.tolist() == wrong.tolist()
    path = store.weights("abc")
    assert path is not None and path.read_bytes() == b"weights"


def test_a_second_put_replaces_the_first(tmp_path: Path):
    store = Store(tmp_path)
    store.put(result("abc"), TIMING, None, b"weights")
    store.put(result("abc", error=20.0), TIMING, None, None)
    assert store.result("abc") == result("abc", error=20.0)
    assert store.weights("abc") is None
    assert [one.name for one in (tmp_path / "runs").iterdir()] == ["abc"]


def test_a_full_disk_loses_nothing_that_was_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = Store(tmp_path)
    store.put(result("abc"), TIMING, None, None)

    def full(path: Path, content: bytes) -> None:
        path.write_bytes(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(relubench.system.files, "write_durably", full)
    for run in ("abc", "new"):
        with pytest.raises(OSError, match="No space left"):
            store.put(result(run, error=20.0), TIMING, None, None)
    assert store.ids() == ["abc"]
    assert store.result("abc") == result("abc")
    assert [one.name for one in (tmp_path / "runs").iterdir()] == ["abc"]


def test_a_full_disk_and_a_full_memory_are_told_as_what_they_are(tmp_path: Path):
    one = job("relu", tmp_path, train={"batch_size": 10})
    disk = user_error(OSError(errno.ENOSPC, "No space left on device"), one, Store(one.store))
    assert isinstance(disk, ComputeError) and "the disk is full" in disk.message
    for error in (MemoryError(), RuntimeError("CUDA out of memory. Tried"), RuntimeError("can't allocate memory: x")):
        memory = user_error(error, one, Store(one.store))
        assert "out of memory training relu" in memory.message and "--batch-size 5" in memory.hint


def test_a_record_that_cannot_be_read_is_an_error_with_its_remedy(tmp_path: Path):
    store = Store(tmp_path)
    store.put(result("abc"), TIMING, None, None)
    (store.folder("abc") / "run.json").write_text("{")
    with pytest.raises(ComputeError, match=r"the stored run .* is damaged: it carries no SHA-256") as refused:
        store.result("abc")
    assert refused.value.hint == "relubench runs delete abc"


def test_delete_and_discard(tmp_path: Path):
    store = Store(tmp_path)
    store.put(result("abc"), TIMING, None, None)
    store.delete("abc")
    assert store.ids() == [] and store.result("abc") is None and store.timing("abc") is None


@pytest.fixture
def held(tmp_path: Path) -> Iterator[StoredJob]:
    """A job whose run another process is training for as long as the test runs."""
    one = job("relu", tmp_path, train={"epochs": 1}, model={"name": "mlp-1x16"})
    program = (
        "import sys; from pathlib import Path; from relubench.runs.store import Store\n"
        "with Store(Path(sys.argv[1])).lock(sys.argv[2]):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()"
    )
    argv = [sys.executable, "-c", program, str(tmp_path), one.specs[0].id]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        yield one
        other.kill()


def test_what_another_process_trains_is_handed_back(held: StoredJob):
    with pytest.raises(Busy, match=held.specs[0].id):
        finish(replace(held, patient=False))


def test_waiting_for_another_process_is_told_once_and_can_be_interrupted(held: StoredJob):
    asked = iter([False, False, False, True])
    messages = carry_out(held, Store(held.store), lambda: next(asked))
    assert next(messages) == Waiting(run=held.specs[0].id)
    with pytest.raises(Interrupted):
        next(messages)


def test_delete_takes_the_lock_along(tmp_path: Path):
    store = Store(tmp_path)
    with store.lock("abc"):
        store.put(result("abc"), TIMING, None, None)
    store.delete("abc")
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == []


def test_fresh_trains_again_and_gives_the_same_bytes(tmp_path: Path):
    one = job("relu", tmp_path, train={"epochs": 1}, model={"name": "mlp-2x64"})
    finish(one)
    folder = Store(tmp_path).folder(one.specs[0].id)
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert any(isinstance(message, Progress) and message.epoch_ended for message in finish(replace(one, fresh=True)))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first


def test_a_run_that_cannot_be_stored_is_reported_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(relubench.system.files, "write_durably", full)
    messages = finish(job("relu", tmp_path, train={"epochs": 1}, model={"name": "mlp-1x16"}))
    (done,) = (message for message in messages if isinstance(message, Done))
    assert done.not_stored == "No space left on device"
    assert done.result.outcome == "ok" and done.wrong is not None and done.wrong.any()
