"""Commands on a Ray cluster: one that Ray itself runs, one that has Ray Client alone."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from executors import only_client
from executors.ray_here import RayHere, command, contents, errors_of, raylets, trained

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray"), pytest.mark.usefixtures("with_ray")]

SHORT = ["--act", "relu,tanh", "--dataset", "digits", "--device", "cpu", "--seeds", "2"]
SHORT += ["--model", "mlp-1x16", "--epochs", "2"]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the command stores here."""
    root = tmp_path_factory.mktemp("local")
    errors_of(trained(*SHORT, "--executor", "local", runs=root))
    return contents(root)


@pytest.mark.skipif(
    not importlib.util.find_spec("aiohttp_cors"), reason="needs Ray's dashboard: pip install 'ray[default]'"
)
def test_ray_job_submit_runs_the_command_on_the_cluster(tmp_path: Path, local: dict[str, bytes]):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    job = [sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--address", f"http://127.0.0.1:{port}", "--"]
    with raylets(tmp_path, {}, include_dashboard=True, dashboard_port=port):
        words = command("train", *SHORT, "--executor", "ray", runs=tmp_path / "ray")
        environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        done = subprocess.run([*job, *words], capture_output=True, text=True, env=environment, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert contents(tmp_path / "ray") == local


@pytest.mark.skipif(not importlib.util.find_spec("grpc"), reason="needs Ray Client: pip install 'relubench[ray]'")
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare")
def test_a_cluster_that_only_ray_client_reaches(tmp_path: Path, two_nodes: RayHere, local: dict[str, bytes]):
    port = int(two_nodes.client.rpartition(":")[2])
    outside = ["unshare", "--net", sys.executable, only_client.__file__, str(tmp_path / "socket"), str(port)]

    def answer(address: str) -> subprocess.CompletedProcess[str]:
        words = command("train", *SHORT, "--executor", "ray", "--address", address, runs=tmp_path / "ray")
        return subprocess.run([*outside, *words], capture_output=True, text=True, timeout=280, check=False)

    with only_client.bridge(tmp_path / "socket", port):
        refused = answer(two_nodes.cluster.address)
        assert refused.returncode == 2 and "no Ray cluster answers at" in refused.stderr
        errors_of(answer(two_nodes.client))
    assert contents(tmp_path / "ray") == local
