"""Jobs on Ray: a Ray that starts here in the default suite; clusters of two raylets, and what goes wrong, are slow."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relubench.errors import UsageError
from relubench.executors.ray_cluster import check_reachable

HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="needs Ray: pip install 'relubench[ray]'")
DIGITS = ["--act", "relu,tanh", "--dataset", "digits", "--device", "cpu", "--seeds", "4"]
SHORT = [*DIGITS, "--model", "mlp-1x16", "--epochs", "2"]
LONG = [*DIGITS, "--model", "mlp-2x256", "--epochs", "60"]


def contents(root: Path) -> dict[str, bytes]:
    """The stored runs and layers, by path."""
    paths = [path for folder in ("runs", "stacks") for path in (root / folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def command(*words: str, runs: Path) -> list[str]:
    return [sys.executable, "-m", "relubench", *words, "--runs-dir", str(runs), "--format", "json"]


def trained(*words: str, runs: Path, timeout: float = 280) -> subprocess.CompletedProcess[str]:
    """`relubench train`, in a process of its own."""
    return subprocess.run(
        command("train", *words, runs=runs), capture_output=True, text=True, timeout=timeout, check=False
    )


def errors_of(done: subprocess.CompletedProcess[str]) -> list[float]:
    """The test errors of the rows; stdout is one JSON document, whatever Ray had to say."""
    assert done.returncode == 0, done.stderr
    return [row["test_error_pct"] for row in json.loads(done.stdout)["rows"]]


def test_without_ray_the_command_that_installs_it_is_said(tmp_path: Path):
    (tmp_path / "ray.py").write_text("raise ImportError('no ray')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from relubench.__main__ import run; sys.exit(run(sys.argv[2:]))"
    )
    words = [str(tmp_path), "train", "--act", "relu", "--executor", "ray", "--runs-dir", str(tmp_path / "runs")]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: --executor ray needs Ray, which is not installed here",
        "hint: pip install 'relubench[ray]'",
    ]


@pytest.mark.parametrize(
    ("address", "rule"),
    [
        ("nowhere", "'nowhere' is no address of a Ray cluster"),
        ("ray://host", "is no address of a Ray cluster"),
        ("http://127.0.0.1:8265", "is the address of Ray's dashboard"),
        ("ray://127.0.0.1:9", "no Ray cluster answers at ray://127.0.0.1:9"),
        ("ray://no-such-host.invalid:10001", "no Ray cluster answers at"),
    ],
)
def test_a_wrong_address_is_refused_at_once(address: str, rule: str):
    with pytest.raises(UsageError, match=rule):
        check_reachable(address)


@needs_ray
def test_another_service_at_the_address_is_refused(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("grpc")
    monkeypatch.setattr("relubench.executors.ray_cluster.CONNECT_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(UsageError, match="is no Ray cluster"):
        check_reachable(f"ray://127.0.0.1:{server.getsockname()[1]}")


@needs_ray
@pytest.mark.xdist_group("ray")
def test_a_ray_that_starts_here_gives_the_same_bytes(tmp_path: Path):
    words = ["--act", "relu", "--device", "cpu", "--seeds", "2", "--model", "mlp-1x16", "--epochs", "2"]
    (here,) = errors_of(trained(*words, "--executor", "inline", runs=tmp_path / "inline"))
    (away,) = errors_of(trained(*words, "--executor", "ray", runs=tmp_path / "ray"))
    assert here == away
    assert contents(tmp_path / "inline") == contents(tmp_path / "ray") != {}


@dataclass
class TwoNodes:
    """A cluster of two raylets of this machine; the second has a cache of its own."""

    cluster: Any
    second: Any
    client: str

    @property
    def address(self) -> list[str]:
        return ["--executor", "ray", "--address", self.cluster.address]

    def kill_second(self) -> None:
        os.kill(self.second.all_processes["raylet"][0].process.pid, signal.SIGKILL)


@pytest.fixture
def two_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TwoNodes]:
    if not HAS_RAY:
        pytest.skip("needs Ray: pip install 'relubench[ray]'")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    shared: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 100_000_000}
    client = {"ray_client_server_port": port} if importlib.util.find_spec("grpc") else {}
    cluster = Cluster(initialize_head=True, head_node_args={**shared, **client, "include_dashboard": False})
    try:
        own = {"RELUBENCH_CACHE_DIR": str(tmp_path / "second"), "TMPDIR": str(tmp_path)}
        second = cluster.add_node(**shared, env_vars=own)
        yield TwoNodes(cluster, second, f"ray://127.0.0.1:{port}")
    finally:
        cluster.shutdown()


def wait_for_training(runs: Path, process: subprocess.Popen[str]) -> list[str]:
    """Wait until an epoch of a run is reported; the lines so far."""
    lines: list[str] = []
    assert process.stderr is not None
    for line in process.stderr:
        lines.append(line)
        if ": epoch " in line:
            return lines
    raise AssertionError("".join(lines))


def rest_of(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Stdout and stderr of a process, once it has ended."""
    return process.communicate(timeout=250)


def started(two_nodes: TwoNodes, runs: Path) -> subprocess.Popen[str]:
    words = command("train", *LONG, *two_nodes.address, runs=runs)
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def worker_pids() -> list[int]:
    """The processes of workers that carry a job out."""
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            title = (folder / "cmdline").read_bytes()
            pids += [int(folder.name)] if title.startswith(b"ray::Worker") else []
    return pids


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the long command stores on this machine."""
    root = tmp_path_factory.mktemp("undisturbed")
    errors_of(trained(*LONG, "--executor", "local", runs=root))
    return contents(root)


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_local_inline_ray_and_ray_client_store_the_same_bytes(tmp_path: Path, two_nodes: TwoNodes):
    executors = {name: ["--executor", name] for name in ("local", "inline")} | {"ray": two_nodes.address}
    if importlib.util.find_spec("grpc"):
        executors["client"] = ["--executor", "ray", "--address", two_nodes.client]
    errors = {name: errors_of(trained(*SHORT, *words, runs=tmp_path / name)) for name, words in executors.items()}
    stores = {name: contents(tmp_path / name) for name in executors}
    assert len(stores["local"]) == 8 * 3
    for name in executors:
        assert errors[name] == errors["local"] and stores[name] == stores["local"], name


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_data_and_code_that_only_this_machine_has_travel(
    tmp_path: Path, two_nodes: TwoNodes, monkeypatch: pytest.MonkeyPatch
):
    random = np.random.default_rng(0)
    x, y = random.integers(0, 256, (300, 4, 4), dtype=np.uint8), np.arange(300) % 3
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    np.savez("own.npz", x_train=x[:240], y_train=y[:240], x_test=x[240:], y_test=y[240:])
    Path("near.py").write_text("scale = 0.5\n")
    Path("act.py").write_text("import near\ndef act(x): return near.scale * x.relu()\n")
    words = ["--act", "./act.py:act", "--dataset", "./own.npz", "--model", "mlp-1x8", "--epochs", "1", "--seeds", "4"]
    words += ["--device", "cpu"]
    errors_of(trained(*words, "--executor", "local", runs=tmp_path / "local"))
    errors_of(trained(*words, *two_nodes.address, runs=tmp_path / "ray"))
    assert contents(tmp_path / "local") == contents(tmp_path / "ray") != {}
    assert [path.name[:5] for path in (tmp_path / "second" / "prepared").glob("[!.]*")] == ["sent-"]


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_a_node_that_is_killed_costs_no_finished_run(
    tmp_path: Path, two_nodes: TwoNodes, undisturbed: dict[str, bytes]
):
    process = started(two_nodes, tmp_path / "ray")
    wait_for_training(tmp_path / "ray", process)
    two_nodes.kill_second()
    out, err = rest_of(process)
    assert process.returncode == 0 and len(json.loads(out)["rows"]) == 2, err
    assert "the process ended with its node; it is tried again" in err
    assert contents(tmp_path / "ray") == undisturbed


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_a_worker_that_is_killed_is_tried_again(tmp_path: Path, two_nodes: TwoNodes, undisturbed: dict[str, bytes]):
    process = started(two_nodes, tmp_path / "ray")
    wait_for_training(tmp_path / "ray", process)
    os.kill(worker_pids()[0], signal.SIGKILL)
    _, err = rest_of(process)
    assert process.returncode == 0 and "the process was killed" in err and "(1 of 3)" in err
    assert contents(tmp_path / "ray") == undisturbed


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_a_driver_that_was_killed_finds_what_is_finished(
    tmp_path: Path, two_nodes: TwoNodes, undisturbed: dict[str, bytes]
):
    process, runs = started(two_nodes, tmp_path / "ray"), tmp_path / "ray" / "runs"
    reader = threading.Thread(target=process.communicate, daemon=True)
    reader.start()
    deadline = time.monotonic() + 120
    while not (finished := {path.name: path.stat().st_mtime_ns for path in runs.glob("[!.]*")}):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.kill()
    process.wait()
    again = trained(*LONG, *two_nodes.address, runs=tmp_path / "ray")
    assert again.returncode == 0 and "runs are stored already" in again.stderr
    assert contents(tmp_path / "ray") == undisturbed
    assert all((runs / name).stat().st_mtime_ns == changed for name, changed in finished.items())


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_ctrl_c_brings_checkpoints_home_and_leaves_no_worker(tmp_path: Path, two_nodes: TwoNodes):
    words = [*DIGITS, "--model", "mlp-2x256", "--epochs", "3000"]
    process = subprocess.Popen(
        command("train", *words, *two_nodes.address, runs=tmp_path / "ray"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_training(tmp_path / "ray", process)
    process.send_signal(signal.SIGINT)
    _, err = rest_of(process)
    assert process.returncode == 130 and "the same command goes on from here" in err
    assert len(list((tmp_path / "ray" / "partial").glob("*/checkpoint.safetensors"))) == 2
    assert worker_pids() == []
