"""What is stored is checked before it is believed: damage of equal size is said, and its run trained again."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from relubench.data import prepare
from relubench.data.prepared import arrays, check_whole
from relubench.errors import DataError
from relubench.executors.local import LocalExecutor
from relubench.executors.messages import Failed, Started
from relubench.experiments.config import experiment
from relubench.experiments.study import Study
from relubench.runs.record_folders import Damaged
from relubench.runs.store import Store
from relubench.system import integrity
from relubench.system.integrity import DamagedError
from relubench.training.driver import Interrupted
from specs import CPU, finish, job, notes
from tests.cli.fakes import training_here

CONFIG = {"act": ["relu"], "seeds": [0, 1], "train": {"epochs": 1, "batch_size": 50}, "model": {"name": "mlp-1x16"}}


def study(root: Path, *, here: bool = True, **more: object) -> tuple[Study, list[str]]:
    """The finished study, trained in this process unless workers are meant, and what it said."""
    notes: list[str] = []
    with training_here() if here else nullcontext():
        opened = Study.open(experiment({**CONFIG, **more}), runs_dir=root, note=notes.append)
        for _ in opened.run():
            continue
    return opened, [line for line in notes if line.startswith("warning")]


def flip(path: Path, place: float = 0.5) -> None:
    """Flip one bit of the file; its size and its times stay as they were."""
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 4
    path.write_bytes(bytes(content))


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def better(path: Path) -> None:
    """Edit the error that a record holds."""
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "test_error_pct": 1.25}, indent=1) + "\n")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two runs, each with weights and what it got wrong under noise."""
    root = tmp_path_factory.mktemp("trained")
    study(root, data={"test_noise": [0.2]})
    return root


@pytest.fixture
def store(trained: Path, tmp_path: Path) -> Store:
    shutil.copytree(trained, tmp_path / "runs")
    return Store(tmp_path / "runs")


RECORDS: list[tuple[str, Callable[[Path], None]]] = [
    *((name, damage) for name in ("run.json", "test_wrong.bin") for damage in (flip, zero)),
    ("run.json", better),
    ("run.json", lambda path: path.write_text("[]")),
    ("test_wrong.bin", lambda path: path.write_bytes(b"")),
    ("test_wrong.bin", Path.unlink),
]


@pytest.mark.parametrize(("name", "damage"), RECORDS)
def test_a_damaged_run_is_said_and_trained_again(store: Store, name: str, damage: Callable[[Path], None]):
    whole = {run: store.result(run) for run in store.ids()}
    run = store.ids()[0]
    damage(store.folder(run) / name)
    assert not store.has(run)
    repeated, warnings = study(store.root)
    assert len(warnings) == 1 and "is damaged" in warnings[0] and warnings[0].endswith("it is trained again")
    assert {result.id: result for result in repeated.results} == whole
    assert study(store.root)[1] == []


def test_a_folder_in_the_place_of_a_record_is_damage(store: Store):
    record = store.folder(store.ids()[0]) / "run.json"
    record.unlink()
    record.mkdir()
    assert len(study(store.root)[1]) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with a name")
@pytest.mark.parametrize("name", ["run.json", "test_wrong.bin"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_pipe_or_a_device_in_the_place_of_a_file_is_damage(store: Store, name: str, kind: str):
    """The one may never begin, the other never ends."""
    path = store.folder(store.ids()[0]) / name
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    notes: list[str] = []
    assert store.believed(store.ids()[0], notes.append) is None
    assert "not a plain file" in notes[0]


def test_another_seeds_run_is_not_taken_for_this_ones(store: Store):
    first, second = store.ids()
    errors = {result.id: result.test_error_pct for result in study(store.root)[0].results}
    shutil.rmtree(store.folder(first))
    shutil.copytree(store.folder(second), store.folder(first))
    repeated, warnings = study(store.root)
    assert len(warnings) == 1
    assert {result.id: result.test_error_pct for result in repeated.results} == errors


def test_damaged_noise_is_measured_again(store: Store):
    first, second = store.ids()
    before = {run: store.noise(run, 0.2) for run in (first, second)}
    paths = [store.root / "noise" / run / "0.2.bin" for run in (first, second)]
    flip(paths[0])
    shutil.copy(paths[0], paths[1])
    assert [store.noise(run, 0.2) for run in (first, second)] == [None, None]
    study(store.root, data={"test_noise": [0.2]})
    for run, wrong in before.items():
        assert np.array_equal(store.noise(run, 0.2), wrong)  # pyright: ignore[reportArgumentType]


def test_weights_and_timings_are_checked(store: Store):
    run = store.ids()[0]
    weights, timing = store.weights(run), store.root / "timings" / f"{run}.json"
    assert weights is not None and store.weights_of(run) == weights.read_bytes()
    flip(weights, 0.9)
    with pytest.raises(Damaged, match=r"the stored run .*weights\.safetensors is damaged: its content does not match"):
        store.weights_of(run)
    timing.write_text(timing.read_text().replace('"seconds": ', '"seconds": 9'))
    assert store.timing(run) is None


def test_a_damaged_checkpoint_is_not_gone_on_from(tmp_path: Path):
    one = job("relu", tmp_path, train={"epochs": 3, "batch_size": 10}, model={"name": "mlp-1x16"})
    store, run = Store(tmp_path), one.specs[0].id
    steps = iter([False, False, True, True])
    with pytest.raises(Interrupted):
        finish(one, stop=lambda: next(steps))
    flip(store.checkpoint(run), 0.8)
    with pytest.raises(DamagedError, match="does not match its SHA-256"):
        store.checkpoint_of(run)
    assert "cannot be used" in "".join(notes(finish(one)))
    resumed = store.result(run)
    finish(replace(one, fresh=True))
    assert store.result(run) == resumed


def test_a_damaged_layer_is_trained_again(tmp_path: Path):
    pretrain = {"methods": ("dae",), "epochs": 1}
    one = job("relu", tmp_path, train={"epochs": 1, "batch_size": 50}, model={"name": "mlp-1x16"}, pretrain=pretrain)
    finish(one)
    store = Store(tmp_path)
    (layer,) = (path.name for path in (tmp_path / "stacks").iterdir())
    weights, before = store.layer_weights(layer), store.result(one.specs[0].id)
    flip(tmp_path / "stacks" / layer / "weights.safetensors", 0.9)
    assert not store.has_layer(layer)
    store.delete(one.specs[0].id)
    assert "weights.safetensors is damaged" in "".join(notes(finish(one)))
    assert store.layer_weights(layer) == weights and store.result(one.specs[0].id) == before


@pytest.mark.parametrize("file", ["x_train.npy", "y_valid.npy", "x_test.npy", "meta.json"])
def test_damaged_data_are_prepared_again(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str):
    monkeypatch.setenv("RELUBENCH_CACHE_DIR", str(tmp_path / "cache"))
    prepared = prepare("digits")
    before = [array.copy() for split in ("train", "valid", "test") for array in arrays(prepared, split)]
    flip(prepared.folder / file, 0.7)
    with pytest.raises(DataError, match=r"the prepared copy of digits in .* is damaged"):
        check_whole(prepared)
    errors = {run: store.result(run) for run in store.ids()}
    for run in store.ids():
        store.delete(run)
    repeated, _ = study(store.root, here=False)  # This process has looked at the data already.
    after = [array for split in ("train", "valid", "test") for array in arrays(prepare("digits"), split)]
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
    assert {result.id: result for result in repeated.results} == errors


@pytest.mark.parametrize("place", [2, 8, 14, 34, 60, 66, 76])
def test_a_damaged_header_does_not_stop_a_command_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int):
    """A command that finds all its runs stored reads no array as a whole, but it opens them."""
    monkeypatch.setenv("RELUBENCH_CACHE_DIR", str(tmp_path / "cache"))
    file = prepare("digits").folder / "y_train.npy"
    before, content = np.load(file), bytearray(file.read_bytes())
    content[place] ^= 16
    file.write_bytes(content)
    prepared = prepare("digits")
    _, labels = arrays(prepared, "train")
    if not np.array_equal(labels, before):  # A header can be whole and wrong: nothing is trained on it.
        with pytest.raises(DataError, match=r"y_train\.npy does not match its SHA-256"):
            check_whole(prepared)


def test_a_run_that_was_stepping_aside_is_not_lost(store: Store, monkeypatch: pytest.MonkeyPatch):
    run = store.ids()[0]
    before, wrong, timing = store.result(run), store.wrong(run), store.timing(run)
    assert before is not None and timing is not None
    renames: list[Path] = []
    real = Path.rename

    def killed(path: Path, target: Path) -> Path:
        renames.append(path)
        if len(renames) == 2:
            raise KeyboardInterrupt
        return real(path, target)

    monkeypatch.setattr(Path, "rename", killed)
    monkeypatch.setattr("relubench.runs.record_folders.shutil.rmtree", lambda *args, **more: None)
    with pytest.raises(KeyboardInterrupt):
        store.put(before, timing, wrong, None)
    monkeypatch.undo()
    assert not (store.root / "runs" / run).exists()
    assert run in store.ids() and store.result(run) == before and store.has(run)
    for path in (store.root / "runs").glob(".*"):
        age(path)
    store.sweep()
    assert (store.root / "runs" / run).is_dir() and store.has(run)
    assert [path.name for path in (store.root / "runs").iterdir() if path.name.startswith(".")] == []


def age(path: Path) -> None:
    """Let a file or a folder have been written two hours ago."""
    os.utime(path, (path.stat().st_mtime - 7200,) * 2)


@pytest.mark.parametrize("hours", [2, -2])
def test_what_is_being_written_is_young_whatever_the_clock_of_this_machine(
    hours: int, store: Store, monkeypatch: pytest.MonkeyPatch
):
    young, old = store.root / "runs" / ".a1-0123", store.root / "timings" / ".a1.json-0123"
    young.mkdir()
    old.touch()
    age(old)
    now = time.time() + 3600 * hours
    monkeypatch.setattr(time, "time", lambda: now)
    store.sweep()
    assert young.is_dir() and not old.exists()


def test_replacing_a_run_that_stands_aside_leaves_one(store: Store):
    run = store.ids()[0]
    before, wrong, timing = store.result(run), store.wrong(run), store.timing(run)
    assert before is not None and timing is not None
    place = store.root / "runs" / run
    place.rename(place.with_name(f".{run}-old"))
    store.put(before, timing, wrong, None)
    assert sorted(path.name for path in (store.root / "runs").iterdir()) == store.ids()
    store.delete(run)
    assert run not in store.ids()


@pytest.mark.parametrize("last", [b'{"event": "prog', b"\xff\xfe{", b"[1, 2]\n", b'{"event": 3}\n', b"null\n"])
def test_a_worker_that_dies_in_the_middle_of_a_line_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: bytes
):
    """Every worker says half a message and is gone: the job has failed, and nobody waits for ever."""
    program = f"import sys; sys.stdin.readline(); sys.stdout.buffer.write({last!r}); sys.stdout.flush()"
    real = subprocess.Popen

    def broken(argv: list[str], **more: object) -> object:
        return real([sys.executable, "-c", program], **more)  # type: ignore[call-overload]

    monkeypatch.setattr("relubench.executors.local.subprocess.Popen", broken)
    one = job("relu", tmp_path, train={"epochs": 1}, model={"name": "mlp-1x16"})
    messages = LocalExecutor(CPU, Store(tmp_path)).run([one])
    assert [type(message) for message in messages] == [Started, Failed]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_worker_that_leaves_a_process_behind_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A user's code has forked: the child holds the worker's output, which has no end while it lives."""
    program = "import os, sys, time; sys.stdin.readline(); os.fork() or time.sleep(60); os._exit(1)"
    real = subprocess.Popen

    def broken(argv: list[str], **more: object) -> object:
        return real([sys.executable, "-c", program], **more)  # type: ignore[call-overload]

    monkeypatch.setattr("relubench.executors.local.subprocess.Popen", broken)
    monkeypatch.setattr("relubench.executors.local.LAST_MESSAGE_SECONDS", 0.1)
    one, begin = job("relu", tmp_path, train={"epochs": 1}, model={"name": "mlp-1x16"}), time.monotonic()
    messages = list(LocalExecutor(CPU, Store(tmp_path)).run([one]))
    assert [type(message) for message in messages] == [Started, Failed]
    assert time.monotonic() - begin < 40


def test_sealed_content_is_bound_to_its_name():
    chance = random.Random(0)
    for size in (0, 1, 33, 1000):
        content = chance.randbytes(size)
        assert integrity.read(integrity.sealed(content, "a"), "a") == content
        with pytest.raises(DamagedError):
            integrity.read(integrity.sealed(content, "a"), "b")
    values = {"a": [1.5, None, "sha256"], "é": {"b": 2}}
    assert integrity.read_json(integrity.sealed_json(values, "a"), "a") == values
    for content in (b"", b"{}", b'{\n "sha256": "', integrity.sealed_json(values, "b"), b'{"a": 1}'):
        with pytest.raises(DamagedError):
            integrity.read_json(content, "a")
