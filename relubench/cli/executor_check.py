"""What `relubench doctor --executor` finds of other machines: what is there, and what is missing."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

from relubench.errors import RelubenchError, UsageError
from relubench.reports.formatting import count
from relubench.system.lookup import did_you_mean

CHECKED = ("ray", "slurm")

Facts = dict[str, Any]
"""The fields of a doctor's Check."""


def checked_executor(executor: str | None, address: str | None) -> str:
    """The executor to check, or nothing; raises UsageError for another name, and for an address without Ray."""
    if executor is not None and executor not in CHECKED:
        hint = did_you_mean(executor, CHECKED, "for example --executor ray")
        raise UsageError(f"--executor must be one of {', '.join(CHECKED)}, got {executor!r}", hint)
    if address is not None and executor != "ray":
        raise UsageError(f"--address {address} is the address of a Ray cluster", "add --executor ray")
    return executor or ""


def examine_executor(executor: str, address: str | None) -> Iterator[Facts]:
    """A check of each part that the executor needs; none where no executor is named."""
    if executor == "ray":
        yield from _ray(address)
    if executor == "slurm":
        yield from _slurm()


def _ray(address: str | None) -> Iterator[Facts]:
    from relubench.executors.ray_cluster import RayCluster, ray_module
    from relubench.executors.remote.facts import left_out, pinned, usable

    try:
        ray = ray_module()
        yield _ok("ray", ray.__version__)
        cluster = RayCluster.connect(address)
    except RelubenchError as error:
        yield _error("ray", error)
        return
    try:
        nodes = cluster.look_at_nodes()
        total = sum(node.processors for node in cluster.nodes())
        yield _ok("cluster", f"{cluster.address}: {count(len(nodes), 'node')}, {count(total, 'processor')}")
        for node in nodes:
            names = ", ".join(f"{device.name}, {count(device.threads, 'thread')}" for device in node.devices.values())
            detail = f"relubench {node.relubench or 'missing'}, Python {node.python}, torch {node.torch or 'missing'}"
            status = "warning" if node.problem else "ok"
            remedy = "install the same relubench there as here" if node.problem else None
            yield {"name": f"node {node.host}", "status": status, "detail": f"{detail}; {node.problem or names}"} | {
                "remedy": remedy
            }
        device, chosen = pinned("auto", usable(nodes))
        yield _ok("kind of node", f"runs are pinned to {device.name}: {count(len(chosen), 'node')}")
        for line in left_out(nodes, chosen, device):
            yield {
                "name": "kind of node",
                "status": "warning",
                "detail": line,
                "remedy": "executor.processor picks one",
            }
    except RelubenchError as error:
        yield _error("cluster", error)
    finally:
        cluster.close()


def _slurm() -> Iterator[Facts]:
    from relubench.executors.slurm_queue import submitit_module

    try:
        yield _ok("submitit", submitit_module().__version__)
    except RelubenchError as error:
        yield _error("submitit", error)
    for program in ("sbatch", "squeue", "scontrol"):
        if shutil.which(program) is None:
            yield _error(
                program, UsageError(f"{program} is not on the PATH", "log in where SLURM is, or module load slurm")
            )
            return
    words = ["sinfo", "--noheader", "--format=%P %a %D %c %l"]
    answer = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    if answer.returncode:
        reason = (answer.stderr.strip().splitlines() or ["no answer"])[0]
        yield _error("slurm", UsageError(f"sinfo: {reason}", "is the controller running?"))
        return
    for line in answer.stdout.splitlines():
        name, state, nodes, processors, limit = [*line.split(), "", "", "", "", ""][:5]
        detail = f"{state}: {count(int(nodes), 'node')} of {processors} processors, time limit {limit}"
        is_up = state == "up"
        remedy = None if is_up else "--set slurm.partition=NAME picks another"
        yield {"name": f"partition {name}", "status": "ok" if is_up else "warning", "detail": detail, "remedy": remedy}


def _ok(name: str, detail: str) -> Facts:
    return {"name": name, "status": "ok", "detail": detail, "remedy": None}


def _error(name: str, error: RelubenchError) -> Facts:
    return {"name": name, "status": "error", "detail": error.message, "remedy": error.hint}
