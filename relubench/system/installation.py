"""Whether torch and torchvision can be imported together; another process tries, since a bad pair can crash."""

from __future__ import annotations

import json
import signal
import subprocess
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Literal

from relubench.system.device import REPAIR
from relubench.system.processes import command, environment, folder

Finding = tuple[str, Literal["ok", "warning", "error"], str, str | None]
"""Name, status, detail, remedy."""

TIMEOUT_S = 180

_SCRIPT = """
import json
from dataclasses import asdict
from relubench.system.device import probe
print(json.dumps(asdict(probe(fresh=True))), flush=True)
import torchvision, torchvision.datasets
print(json.dumps(torchvision.__version__), flush=True)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the other process printed before it ended."""

    probe: dict[str, Any] | None
    torchvision: str | None
    failure: str
    """Empty if all went well."""


def torch_checks() -> list[Finding]:
    """The findings about torch, torchvision and the device."""
    answer = import_in_new_process()
    installed = f"installed: torch {_installed_version('torch')}, torchvision {_installed_version('torchvision')}"
    if answer.probe is None:
        remedy = "ulimit -v unlimited" if "ulimit -v" in answer.failure else REPAIR
        pair: Finding = ("torch", "error", f"cannot be imported: {answer.failure} ({installed})", remedy)
        return [pair, ("device", "error", "unknown, since torch cannot be imported", remedy)]
    if answer.torchvision is None:
        detail = f"torch {answer.probe['torch']} works, torchvision does not: {answer.failure} ({installed})"
        pair = ("torch and torchvision", "error", detail, REPAIR)
    else:
        detail = f"torch {answer.probe['torch']}, torchvision {answer.torchvision}: they work together"
        pair = ("torch and torchvision", "ok", detail, None)
    return [pair, _device(answer.probe)]


def import_in_new_process() -> Answer:
    """The answer of a new process of this Python, with the same search path, that imports both and stores a probe."""
    try:
        process = subprocess.run(
            command(_SCRIPT),
            env=environment(),
            cwd=folder(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(probe=None, torchvision=None, failure=f"no answer within {TIMEOUT_S} s")
    lines = process.stdout.splitlines()
    answers = [json.loads(line) for line in lines if line.startswith(("{", '"'))]
    return Answer(
        probe=answers[0] if answers else None,
        torchvision=answers[1] if len(answers) > 1 else None,
        failure=_failure(process.returncode, process.stderr),
    )


def _failure(code: int, stderr: str) -> str:
    if code == 0:
        return ""
    if code < 0:
        return f"Python crashed with {signal.Signals(-code).name}"
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return lines[-1].removeprefix("relubench.errors.ComputeError: ") if lines else f"Python ended with exit code {code}"


def _device(probe: dict[str, Any]) -> Finding:
    gpus = [*probe["cuda"], *(["Apple GPU (mps)"] if probe["mps"] else [])]
    detail = f"{', '.join(gpus) or 'no GPU'}; {probe['cpu']}, {probe['threads']} threads"
    return "device", "ok", detail, None


def _installed_version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "no"
