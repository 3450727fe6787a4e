"""SLURM's queue: submits jobs through submitit, and asks what has become of them. Torch-free."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relubench.errors import ComputeError, UsageError
from relubench.executors.slurm_flight import FlightFolder

INSTALL = "pip install 'relubench[slurm]'"
ASK_SECONDS = 60.0
MOST_TIMEOUTS = 10_000
"""How often a job may be queued again because its time was over."""

LOGS = "see the logs in the folder slurm/submitit of the runs"

QUEUED = frozenset(("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "CONFIGURING", "SUSPENDED", "SPECIAL_EXIT"))
"""States of jobs that wait for a node."""
CANCELLED = ("CANCELLED", "DEADLINE", "REVOKED")
"""States of jobs that somebody ended: they are not tried again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SlurmOptions:
    """What each job asks of SLURM."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    minutes: int = 1440
    gigabytes: int = 1
    gpus: int = 0
    processors: int = 1
    setup: tuple[str, ...] = ()
    signal_seconds: int = 90
    workers: int | None = None
    """Jobs of an array that run at the same time at the most."""


def submitit_module() -> Any:
    """Submitit; raises UsageError with the command that installs it."""
    try:
        return importlib.import_module("submitit")
    except ImportError as error:
        raise UsageError("--executor slurm needs submitit, which is not installed here", INSTALL) from error


def check_slurm() -> None:
    """Raises UsageError where submitit or SLURM's programs are missing, or no controller answers."""
    submitit_module()
    for program in ("sbatch", "squeue", "scontrol"):
        if shutil.which(program) is None:
            raise UsageError(f"{program} is not on the PATH: SLURM is not here", "log in where sbatch works")
    answer = _ask(["sinfo", "--noheader", "--format=%P"])
    if answer is None:
        raise UsageError("SLURM's controller does not answer", "`sinfo` says why")


def submit(folder: Path, functions: Sequence[Any], options: SlurmOptions) -> list[Any]:
    """Queue the functions as one array (or a single one by itself); submitit's jobs.

    Raises ComputeError with SLURM's own reason where it refuses them.
    """
    submitit = submitit_module()
    executor = submitit.AutoExecutor(folder=folder, cluster="slurm", slurm_max_num_timeout=MOST_TIMEOUTS)
    named = {name: getattr(options, name) for name in ("partition", "account", "qos", "constraint")}
    slurm = {f"slurm_{name}": value for name, value in named.items() if value is not None}
    executor.update_parameters(
        name="relubench",
        timeout_min=options.minutes,
        mem_gb=options.gigabytes,
        cpus_per_task=options.processors,
        slurm_setup=["export PYTHONSAFEPATH=1 CUBLAS_WORKSPACE_CONFIG=:4096:8", *options.setup],
        slurm_signal_delay_s=options.signal_seconds,
        **({"gpus_per_node": options.gpus} if options.gpus else {}),
        **({"slurm_array_parallelism": options.workers} if options.workers and len(functions) > 1 else {}),
        **slurm,
    )
    try:
        if len(functions) == 1:
            return [executor.submit(functions[0])]
        with executor.batch():
            return [executor.submit(function) for function in functions]
    except submitit.core.utils.FailedJobError as error:
        lines = [line.strip() for line in str(error).splitlines() if "error:" in line] or str(error).splitlines()[-1:]
        raise ComputeError(f"SLURM refused the jobs: {lines[0]}", "see --set slurm.partition and its like") from error


def states() -> dict[str, str] | None:
    """The state of each of this user's jobs that is queued or running, by its number; None where SLURM is silent."""
    user = os.environ.get("USER") or str(os.getuid())
    answer = _ask(["squeue", "--noheader", "--array", f"--user={_user() or user}", "--format=%i|%T"])
    if answer is None:
        return None
    pairs = (line.strip().split("|") for line in answer.splitlines() if "|" in line)
    return {pair[0]: pair[1] for pair in pairs}


def last_state(number: str) -> str:
    """The state that a job ended in, as SLURM remembers it for some minutes; empty where it does not."""
    answer = _ask(["scontrol", "--oneliner", "show", "job", number]) or ""
    facts = dict(part.split("=", 1) for part in answer.split() if "=" in part)
    return facts.get("JobState", "")


def ending(state: str) -> tuple[str, str, bool]:
    """How the process of a job ended, as a phrase behind `the process`; what helps; whether it is not tried again."""
    if state.startswith(CANCELLED):
        return "was cancelled in SLURM", "", True
    if state.startswith("OUT_OF_ME"):
        return "was killed, since its memory ran out", "--set slurm.memory=GIGABYTES asks for more", False
    if state.startswith(("NODE_FAIL", "BOOT_FAIL")):
        return "ended with its node", "", False
    if state.startswith("TIMEOUT"):
        return "was ended, since its time was over", "--set slurm.time=MINUTES and slurm.signal=SECONDS", False
    return (
        f"has ended in SLURM ({state.lower() or 'unknown state'})",
        LOGS,
        False,
    )


def state_words(folder: FlightFolder, queue: dict[str, str]) -> str:
    """`queued`, `running` or `ended` of a job."""
    state = queue.get(folder.id)
    if state is None:
        return "ended"
    return "queued" if state in QUEUED else "running"


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def _ask(words: list[str]) -> str | None:
    """What a program of SLURM prints; None where it fails or does not answer."""
    try:
        answer = subprocess.run(words, capture_output=True, text=True, timeout=ASK_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout if answer.returncode == 0 else None
