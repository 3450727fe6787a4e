"""`verify` of every built-in activation: all of them are right, in each type, and as the compiler makes them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from relubench.activations import ACTIVATIONS, ActivationChoice, select
from relubench.system import compiler
from relubench.verification import check as checking


def choice(label: str) -> ActivationChoice:
    return select([label])[0]


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_every_built_in_activation_is_right_on_every_pattern(name: str, dtype: str) -> None:
    for row in checking.check(choice(name), dtype):
        assert row.outcome == "ok", row
        # Without the NaNs of fp16, which have no slope.
        assert row.points >= 63_000


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_every_built_in_activation_is_right_in_fp32(name: str) -> None:
    for row in checking.check(choice(name), "fp32", num_points=60_000):
        assert row.outcome == "ok", row


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("name", ["leaky_relu", "silu"])
def test_compiled_forms_are_checked_too(name: str) -> None:
    for row in checking.check(choice(name), "fp32", num_points=30_000, compiled=True):
        assert (row.outcome, "compiled" in row.forms) == ("ok", True), row.message
        # Nothing has to be rounded in a piecewise-linear activation.
        assert name == "silu" or row.forms_differ == 0


@pytest.mark.parametrize("capability", ["DEFAULT", "AVX2", "AVX512"])
def test_compiled_code_is_named_by_vector_width(monkeypatch: pytest.MonkeyPatch, capability: str) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    with compiler.compiler_config.patch(cache_key_tag=""):
        compiler.compiled(torch.relu)
        assert compiler.compiler_config.cache_key_tag == f" {capability}"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_what_is_compiled_is_kept_by_vector_width(tmp_path: Path) -> None:
    """The compiler keeps its code between processes; code of one width does not build for another."""
    for capability in ("avx2", "default"):
        environment = os.environ | {"ATEN_CPU_CAPABILITY": capability, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
        command = [sys.executable, "-m", "relubench", "verify", "--act", "relu", "--compile", "--dtype", "bf16"]
        done = subprocess.run([*command, "--format", "json"], env=environment, capture_output=True, text=True)
        outcomes = [(row["outcome"], "compiled" in row["forms"]) for row in json.loads(done.stdout)["rows"]]
        assert (done.returncode, outcomes) == (0, [("ok", True)] * 2), done.stdout + done.stderr
