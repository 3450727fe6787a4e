"""A SLURM of one node on this machine, on ports and in folders of its own; it listens on loopback only."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("sbatch", "squeue", "scontrol", "srun", "slurmctld", "slurmd", "munged")

CONFIGURATION = """
ClusterName=local
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation={state}/ctld
SlurmdSpoolDir={state}/d
SlurmctldPidFile={state}/ctld.pid
SlurmdPidFile={state}/d.pid
SlurmctldLogFile={state}/ctld.log
SlurmdLogFile={state}/d.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MailProg=/bin/true
ReturnToService=2
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str:
    """Why no SLURM can be started here; empty if it can."""
    missing = [program for program in PROGRAMS if find(program) is None]
    if missing:
        return f"needs Debian's slurm-wlm and munge: there is no {missing[0]}"
    return "" if os.geteuid() == 0 else "needs root to start SLURM"


def find(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


@contextlib.contextmanager
def running(state: Path) -> Iterator[Path]:
    """The configuration of a SLURM that runs inside the block; its processes are ended behind it."""
    for name in ("ctld", "d"):
        (state / name).mkdir(parents=True)
    host = socket.gethostname().partition(".")[0]
    configuration = state / "slurm.conf"
    text = CONFIGURATION.format(host=host, state=state, controller=free_port(), node=free_port())
    configuration.write_text(text)
    environment = {**os.environ, "SLURM_CONF": str(configuration)}
    own_munge = start_munge()
    try:
        for program in ("slurmctld", "slurmd"):
            subprocess.run([find(program) or program], env=environment, check=True)
        wait_until_idle(environment)
        yield configuration
    finally:
        subprocess.run(["scancel", "--user=root"], env=environment, capture_output=True, check=False)
        time.sleep(1.0)
        for pid_file in (state / "d.pid", state / "ctld.pid", *own_munge):
            end(pid_file)


def start_munge() -> list[Path]:
    """Start munged where none runs; its pid file if it was started here."""
    if subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode == 0:
        return []
    folder = Path("/run/munge")
    folder.mkdir(exist_ok=True)
    shutil.chown(folder, "munge", "munge")
    subprocess.run(["runuser", "-u", "munge", "--", find("munged") or "munged"], check=True)
    return [folder / "munged.pid"]


def wait_until_idle(environment: dict[str, str]) -> None:
    for _ in range(100):
        words = ["sinfo", "--noheader", "--format=%t"]
        answer = subprocess.run(words, env=environment, capture_output=True, text=True, check=False).stdout
        if answer.strip() == "idle":
            return
        time.sleep(0.2)
    raise RuntimeError(f"the node is not idle: {answer!r}")


def end(pid_file: Path) -> None:
    """End the process of a pid file, and wait for it."""
    with contextlib.suppress(OSError, ValueError):
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGTERM)
        for _ in range(100):
            os.kill(pid, 0)
            time.sleep(0.1)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
