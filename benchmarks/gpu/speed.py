"""Activations as operators on the device: `relubench speed` in fp32 and bf16, eager and compiled, and its own clock
and roof beside an independent clock and a plain copy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gpu.setting import Row, Setting

ROOT = Path(__file__).parents[2]
ACTIVATIONS = "relu,gelu,gelu_tanh,silu,mish,tanh,sigmoid,softplus,elu,swiglu,leaky_relu,hardswish"
COPY_SHARE = (0.95, 1.05)


def rows(setting: Setting) -> Iterator[Row]:
    """The roof and the clocks first, then a row for each activation, size, type, pass and form."""
    begun = time.monotonic()
    yield from _agreement(setting, 0.4 * setting.seconds)
    left = 0.9 * (setting.seconds - (time.monotonic() - begun))
    yield from _operators(setting, compiled=False, seconds=left if setting.small else 0.4 * left)
    if not setting.small:
        yield from _operators(setting, compiled=True, seconds=0.6 * left)


def _agreement(setting: Setting, seconds: float) -> Iterator[Row]:
    """Does the measured roof equal a plain copy, and the command's clock another one?"""
    if setting.small:
        yield {"what": "speed_agreement", "skipped": "a rehearsal: it takes half a minute"}
        return
    file = setting.folder / "agreement.json"
    command = ["benchmarks.speed_agreement", "--device", setting.device, "--rounds", "7", "--output", str(file)]
    if fault := _run(command, seconds, setting):
        yield {"what": "speed_agreement", "error": fault}
    if file.exists():
        for row in json.loads(file.read_text())["rows"]:
            yield row if row["agrees"] else {**row, "error": f"{row['what']}, {row['size']}: does not agree"}


def _operators(setting: Setting, *, compiled: bool, seconds: float) -> Iterator[Row]:
    file = setting.folder / f"operators-{compiled}.json"
    names = "relu,gelu" if setting.small else ACTIVATIONS
    # Compiling takes more time than measuring.
    budget = 1.0 if setting.small else max(1.0, 0.3 * seconds if compiled else 0.6 * seconds)
    command = ["relubench", "speed", "--device", setting.device, "--act", names, "--budget", f"{budget:.0f}s"]
    command += ["--size", "64k", "--pass", "forward"] if setting.small else ["--dtype", "fp32,bf16"]
    command += ["--compile"] if compiled else []
    fault = _run([*command, "--output", str(file), "--quiet"], seconds, setting)
    if fault:
        yield {"what": "relubench speed", "compiled": compiled, "error": fault}
    if file.exists():
        report = json.loads(file.read_text())
        yield {"what": "relubench speed", "compiled": compiled, "measurement": report.get("measurement")}
        yield from report["rows"]


def _run(module_and_arguments: list[str], seconds: float, setting: Setting) -> str:
    """Runs a module; why it did not end well, or nothing."""
    environment = {**os.environ, "RELUBENCH_CACHE_DIR": str(setting.folder / "cache")}
    try:
        ended = subprocess.run(
            [sys.executable, "-m", *module_and_arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{module_and_arguments[0]} took more than {seconds:.0f} s"
    return "" if not ended.returncode else f"exit code {ended.returncode}: {ended.stderr.strip()[-300:]}"
