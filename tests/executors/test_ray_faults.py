"""What can go wrong on a Ray cluster: nodes of other versions, memory, a network that stops."""

from __future__ import annotations

import json
import threading
from pathlib import Path

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
