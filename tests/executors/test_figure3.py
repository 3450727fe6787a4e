"""Small networks as in the paper's Figure 3, on few images, on Ray: a node is killed twice, the table is the same."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from executors.ray_here import RayHere, begun, command, contents, worker_pids

NETS = 40
WORDS = ["ablate-sparsity", "--dataset", "mnist", "--nets", str(NETS), "--epochs", "3", "--device", "cpu"]
WORDS += ["--model", "mlp-2x256", "--set", "data.train_size=2000"]


def table(stdout: str) -> list[dict[str, Any]]:
    """The rows, without the seconds that they took."""
    return [{**row, "seconds": None} for row in json.loads(stdout)["rows"]]


def wait_for_runs(root: Path, number: int) -> None:
    """Wait until so many runs are stored, and two workers train others."""
    deadline = time.monotonic() + 400
    while len(list((root / "runs").glob("[!.]*"))) < number or len(worker_pids()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_forty_networks_with_a_node_killed_twice_are_the_same_table(
    tmp_path: Path, two_nodes: RayHere, real_mnist: Path
):
    words = [*WORDS, "--data-dir", str(real_mnist)]
    here = subprocess.run(
        command(*words, runs=tmp_path / "local"), capture_output=True, text=True, timeout=900, check=False
    )
    assert here.returncode == 0, here.stderr
    process, answer = begun(*words, *two_nodes.address, runs=tmp_path / "ray"), list[str]()
    reader = threading.Thread(target=lambda: answer.extend(process.communicate()), daemon=True)
    reader.start()
    for number in (10, 25):
        wait_for_runs(tmp_path / "ray", number)
        two_nodes.replace_second()
    reader.join(900)
    out, err = answer
    assert process.returncode == 0, err
    assert "the process ended with its node; it is tried again" in err, err
    assert table(out) == table(here.stdout) and len(contents(tmp_path / "ray")) >= 3 * NETS
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")
