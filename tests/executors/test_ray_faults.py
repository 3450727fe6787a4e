"""What can go wrong on a Ray cluster: nodes of other versions, memory, clocks, a network that stops."""

from __future__ import annotations

import json
import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from executors.ray_here import (
    RayHere,
    begun,
    contents,
    errors_of,
    raylets,
    rest_of,
    trained,
    wait_for_training,
)

psutil = pytest.importorskip("psutil")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray"), pytest.mark.usefixtures("with_ray")]

DIGITS = ["--act", "relu,tanh", "--dataset", "digits", "--device", "cpu", "--seeds", "2"]
SHORT = [*DIGITS, "--model", "mlp-1x16", "--epochs", "2"]
LONG = [*DIGITS, "--model", "mlp-2x256", "--epochs", "100"]


def local(words: list[str], root: Path) -> dict[str, bytes]:
    """What the command stores here."""
    errors_of(trained(*words, "--executor", "local", runs=root))
    return contents(root)


def module(folder: Path, name: str, text: str) -> dict[str, str]:
    """The environment of a node that has this module before all others."""
    path = folder / "modules" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return {"PYTHONPATH": str(folder / "modules")}


def test_nodes_with_another_relubench_or_without_torch_take_no_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    other = module(tmp_path / "other", "relubench/__init__.py", "")
    module(tmp_path / "other", "relubench/version.py", '__version__, ENGINE_VERSION = "0.0.1", 1')
    without = module(tmp_path / "without", "torch/__init__.py", "raise ImportError('no torch here')")
    with raylets(tmp_path, other, without) as here:
        done = trained(*SHORT, *here.address, runs=tmp_path / "ray")
    assert done.returncode == 0, done.stderr
    assert "1 of 3 nodes take no jobs: relubench 0.0.1 with engine 1 is there, relubench " in done.stderr
    assert "1 of 3 nodes take no jobs: torch does not work there (" in done.stderr
    assert contents(tmp_path / "ray") == local(SHORT, tmp_path / "local") != {}


def test_a_node_whose_network_stops_for_thirty_seconds_costs_nothing_finished(tmp_path: Path, two_nodes: RayHere):
    process = begun("train", *LONG, *two_nodes.address, runs=tmp_path / "ray")
    wait_for_training(process)
    raylet = psutil.Process(two_nodes.second.all_processes["raylet"][0].process.pid)
    stopped = [raylet, *raylet.children(recursive=True)]
    for part in stopped:
        part.suspend()
    timer = threading.Timer(30.0, lambda: [part.resume() for part in stopped if part.is_running()])
    timer.start()
    out, err = rest_of(process)
    timer.join()
    assert process.returncode == 0 and len(json.loads(out)["rows"]) == 2, err
    assert contents(tmp_path / "ray") == local(LONG, tmp_path / "local") != {}


GREEDY = """
import numpy
def act(x):
    gigabytes = float(os.environ.get("GREEDY_GB", "0"))
    if gigabytes:
        numpy.ones(int(gigabytes * 2**27))
        __import__("time").sleep(10.0)
    return x.relu()
"""


def test_a_worker_that_ray_kills_for_memory_is_tried_again_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("greedy.py").write_text(GREEDY)
    memory = psutil.virtual_memory()
    threshold = (memory.total - memory.available + 2e9) / memory.total
    own = {"GREEDY_GB": "4", "RAY_memory_usage_threshold": f"{threshold:.3f}", "RAY_memory_monitor_refresh_ms": "100"}
    words = ["--act", "./greedy.py:act", *SHORT[2:]]
    with raylets(tmp_path, own) as here:
        done = trained(*words, *here.address, runs=tmp_path / "ray")
    assert done.returncode == 0, done.stderr
    assert "was killed, since the memory of its node ran out; it is tried again" in done.stderr
    assert contents(tmp_path / "ray") == local(words, tmp_path / "local") != {}


NO_ROOM = {"automatic_object_spilling_enabled": False, "local_fs_capacity_threshold": 0.0}
"""Ray's own settings with which nothing goes to the disk that its object store, of 100 MB here, has no room for."""


def test_a_node_that_cannot_get_the_data_since_the_object_store_is_full_leaves_the_runs_to_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    random = np.random.default_rng(0)
    x, y = random.integers(0, 256, (3000, 224, 224), dtype=np.uint8), np.arange(3000) % 3
    np.savez(tmp_path / "large.npz", x_train=x[:2400], y_train=y[:2400], x_test=x[2400:], y_test=y[2400:])
    words = ["--act", "relu", "--dataset", "./large.npz", "--device", "cpu", "--seeds", "2"]
    words += ["--model", "mlp-1x8", "--epochs", "1", "--batch-size", "200"]
    with raylets(tmp_path, {}, system=NO_ROOM, num_cpus=0) as here:
        monkeypatch.chdir(tmp_path)  # Not before: a node finds the file in its own folder.
        again = ["--set", "executor.retries=100"]
        process = begun("train", *words, *again, *here.address, runs=tmp_path / "ray")
        wait_for_training(process, "could not exchange data, since Ray's object store is full; it is tried again")
        here.add({"RELUBENCH_CACHE_DIR": os.environ["RELUBENCH_CACHE_DIR"]})  # This one has them.
        out, err = rest_of(process)
    assert process.returncode == 0 and json.loads(out)["rows"][0]["n"] == 2, err
    assert contents(tmp_path / "ray") == local(words, tmp_path / "local") != {}


def clock(folder: Path, hours: int) -> dict[str, str]:
    """The environment of a node whose clock is so many hours ahead."""
    text = f"""
import datetime, time
real, wrong = time.time, {3600 * hours}
class datetime_there(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)
time.time, datetime.datetime = lambda: real() + wrong, datetime_there
"""
    return module(folder, "sitecustomize.py", text)


def test_clocks_that_are_two_hours_off_change_nothing(tmp_path: Path):
    words = [*DIGITS[:-1], "6", *SHORT[len(DIGITS) :]]
    with raylets(tmp_path, clock(tmp_path / "ahead", 2), env_vars=clock(tmp_path / "behind", -2)) as here:
        done = trained(*words, *here.address, runs=tmp_path / "ray")
        again = trained(*words, *here.address, runs=tmp_path / "ray")
    errors_of(done)
    assert "12 of 12 runs are stored already" in again.stderr, again.stderr
    ends = [json.loads(path.read_text())["finished"] for path in (tmp_path / "ray" / "timings").glob("*.json")]
    now = datetime.now(UTC)
    ends = [now - datetime.fromisoformat(end) for end in ends]
    assert len(ends) == 12 and min(ends) >= timedelta(0), "no run ended in the future"
    assert max(ends) > timedelta(hours=1), "a clock was behind"
    assert contents(tmp_path / "ray") == local(words, tmp_path / "local") != {}


NARROW = {"ATEN_CPU_CAPABILITY": "default"}
"""The environment of a node that PyTorch takes for another kind of processor."""


@pytest.mark.parametrize(("others", "kind"), [([NARROW, NARROW], "DEFAULT"), ([{}, NARROW], "AVX")])
def test_of_two_kinds_of_nodes_one_takes_all_runs(
    others: list[dict[str, str]], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with raylets(tmp_path, *others) as here:
        done = trained(*SHORT, *here.address, runs=tmp_path / "ray")
    errors_of(done)
    assert "1 of 3 nodes take no jobs: " in done.stderr
    assert f"({kind}" in json.loads(done.stdout)["device"]
    if kind == "DEFAULT":
        monkeypatch.setenv(*next(iter(NARROW.items())))
    assert contents(tmp_path / "ray") == local(SHORT, tmp_path / "local") != {}
