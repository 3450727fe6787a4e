"""A Ray cluster of raylets of this machine, and commands that run on it."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HAS_RAY = importlib.util.find_spec("ray") is not None


@dataclass
class RayHere:
    """A cluster of a first raylet and others, which have caches of their own."""

    cluster: Any
    others: list[Any]
    client: str
    add: Callable[[dict[str, str]], Any]
    """Starts one more raylet with this environment."""

    @property
    def second(self) -> Any:
        return self.others[0]

    @property
    def address(self) -> list[str]:
        return ["--executor", "ray", "--address", self.cluster.address]

    def signal_second(self, number: int) -> None:
        os.kill(self.second.all_processes["raylet"][0].process.pid, number)

    def kill_second(self) -> None:
        self.signal_second(signal.SIGKILL)

    def replace_second(self) -> None:
        """Kill the second raylet; a new one takes its place."""
        self.kill_second()
        self.others[0] = self.add({})


@contextlib.contextmanager
def raylets(
    folder: Path, *environments: dict[str, str], system: dict[str, Any] | None = None, **head: Any
) -> Iterator[RayHere]:
    """A first raylet, and one more with each of these environments; `system` has Ray's own settings."""
    from ray.cluster_utils import Cluster

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    shared: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 100_000_000}
    first = {**shared, "include_dashboard": False, **head}
    first |= {"ray_client_server_port": port} if importlib.util.find_spec("grpc") else {}
    first |= {"_system_config": system} if system else {}
    cluster = Cluster(initialize_head=True, head_node_args=first)
    try:
        numbers = itertools.count(2)

        def add(environment: dict[str, str]) -> Any:
            own = {"RELUBENCH_CACHE_DIR": str(folder / f"node-{next(numbers)}"), "TMPDIR": str(folder)}
            return cluster.add_node(**shared, env_vars=own | environment)

        others = [add(environment) for environment in environments]
        yield RayHere(cluster, others, f"ray://127.0.0.1:{port}", add)
    finally:
        cluster.shutdown()


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


def begun(*words: str, runs: Path) -> subprocess.Popen[str]:
    """A relubench command in a process of its own, which goes on."""
    return subprocess.Popen(command(*words, runs=runs), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def errors_of(done: subprocess.CompletedProcess[str]) -> list[float]:
    """The test errors of the rows; stdout is one JSON document, whatever Ray had to say. No run has failed."""
    assert done.returncode == 0 and " failed: " not in done.stderr, done.stderr
    return [row["test_error_pct"] for row in json.loads(done.stdout)["rows"]]


def wait_for_training(process: subprocess.Popen[str], sign: str = ": epoch ") -> list[str]:
    """Wait until a line with this sign is reported; the lines so far."""
    lines: list[str] = []
    assert process.stderr is not None
    for line in process.stderr:
        lines.append(line)
        if sign in line:
            return lines
    raise AssertionError("".join(lines))


def rest_of(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Stdout and stderr of a process, once it has ended."""
    return process.communicate(timeout=280)


def worker_pids() -> list[int]:
    """The processes of workers that carry a job out."""
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            title = (folder / "cmdline").read_bytes()
            pids += [int(folder.name)] if title.startswith(b"ray::Worker") else []
    return pids
