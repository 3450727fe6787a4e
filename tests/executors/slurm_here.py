"""A SLURM of one node on this machine, on ports and in folders of its own; it listens on loopback only.

Its daemons leave the process that starts them. So a watching process ends them: at the end of the block, and also when
the process that entered the block is killed, whose end of a pipe is closed then.
"""

from __future__ import annotations

import contextlib
import os
import shutil
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
    with watcher([state / "d.pid", state / "ctld.pid", *own_munge()], environment):
        start_munge()
        for program in ("slurmctld", "slurmd"):
            subprocess.run([find(program) or program], env=environment, check=True)
        wait_until_idle(environment)
        yield configuration


WATCH = """
cat > /dev/null
scancel --user=root
sleep 1
for file in "$@"; do
    pid=$(cat "$file") && kill "$pid"
    for _ in $(seq 100); do kill -0 "$pid" && sleep 0.1; done
done
"""
"""What the watching process does: it waits until nobody writes to it any more, then ends the daemons, one by one."""


@contextlib.contextmanager
def watcher(pid_files: list[Path], environment: dict[str, str]) -> Iterator[None]:
    """Behind the block, or once this process has died, the processes of these files are ended."""
    words = ["sh", "-c", WATCH, "watcher", *map(str, pid_files)]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    # A session of its own: what ends this process and its group must not end the watching process, too.
    process = subprocess.Popen(words, stdin=subprocess.PIPE, env=environment, start_new_session=True, **silent)
    try:
        yield
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


def own_munge() -> list[Path]:
    """The pid file of the munged that will be started here; none where one runs already."""
    is_running = subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode == 0
    return [] if is_running else [Path("/run/munge/munged.pid")]


def start_munge() -> None:
    """Start munged where none runs."""
    for pid_file in own_munge():
        pid_file.parent.mkdir(exist_ok=True)
        shutil.chown(pid_file.parent, "munge", "munge")
        subprocess.run(["runuser", "-u", "munge", "--", find("munged") or "munged"], check=True)


def wait_until_idle(environment: dict[str, str]) -> None:
    for _ in range(100):
        words = ["sinfo", "--noheader", "--format=%t"]
        answer = subprocess.run(words, env=environment, capture_output=True, text=True, check=False).stdout
        if answer.strip() == "idle":
            return
        time.sleep(0.2)
    raise RuntimeError(f"the node is not idle: {answer!r}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
