"""Jobs on Ray: a Ray that starts here in the default suite; clusters of two raylets, and what goes wrong, are slow."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from executors.ray_here import (
    HAS_RAY,
    RayHere,
    begun,
    contents,
    errors_of,
    rest_of,
    trained,
    wait_for_training,
    worker_pids,
)
from relubench.errors import UsageError
from relubench.executors.ray_cluster import check_reachable

needs_ray = pytest.mark.skipif(not HAS_RAY, reason="needs Ray: pip install 'relubench[ray]'")
DIGITS = ["--act", "relu,tanh", "--dataset", "digits", "--device", "cpu", "--seeds", "4"]
SHORT = [*DIGITS, "--model", "mlp-1x16", "--epochs", "2"]
LONG = [*DIGITS, "--model", "mlp-2x256", "--epochs", "60"]


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


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the long command stores on this machine."""
    root = tmp_path_factory.mktemp("undisturbed")
    errors_of(trained(*LONG, "--executor", "local", runs=root))
    return contents(root)


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_local_inline_ray_and_ray_client_store_the_same_bytes(tmp_path: Path, two_nodes: RayHere):
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
    tmp_path: Path, two_nodes: RayHere, monkeypatch: pytest.MonkeyPatch
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
    assert [path.name[:5] for path in (tmp_path / "node-2" / "prepared").glob("[!.]*")] == ["sent-"]


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_a_node_that_is_killed_costs_no_finished_run(tmp_path: Path, two_nodes: RayHere, undisturbed: dict[str, bytes]):
    process = begun("train", *LONG, *two_nodes.address, runs=tmp_path / "ray")
    wait_for_training(process)
    two_nodes.kill_second()
    out, err = rest_of(process)
    assert process.returncode == 0 and len(json.loads(out)["rows"]) == 2, err
    assert "the process ended with its node; it is tried again" in err
    assert contents(tmp_path / "ray") == undisturbed


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_a_worker_that_is_killed_is_tried_again(tmp_path: Path, two_nodes: RayHere, undisturbed: dict[str, bytes]):
    process = begun("train", *LONG, *two_nodes.address, runs=tmp_path / "ray")
    wait_for_training(process)
    os.kill(worker_pids()[0], signal.SIGKILL)
    _, err = rest_of(process)
    assert process.returncode == 0 and "the process was killed" in err and "(1 of 3)" in err
    assert contents(tmp_path / "ray") == undisturbed


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_a_driver_that_was_killed_finds_what_is_finished(
    tmp_path: Path, two_nodes: RayHere, undisturbed: dict[str, bytes]
):
    process, runs = begun("train", *LONG, *two_nodes.address, runs=tmp_path / "ray"), tmp_path / "ray" / "runs"
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
def test_ctrl_c_brings_checkpoints_home_and_leaves_no_worker(tmp_path: Path, two_nodes: RayHere):
    words = [*DIGITS, "--model", "mlp-2x256", "--epochs", "3000"]
    process = begun("train", *words, *two_nodes.address, runs=tmp_path / "ray")
    wait_for_training(process)
    process.send_signal(signal.SIGINT)
    _, err = rest_of(process)
    assert process.returncode == 130 and "the same command goes on from here" in err
    assert len(list((tmp_path / "ray" / "partial").glob("*/checkpoint.safetensors"))) == 2
    assert worker_pids() == []
