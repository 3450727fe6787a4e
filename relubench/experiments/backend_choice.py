"""The backend of each run's dense layers, decided before the run has its id: known, measured once, or named.

Torch is imported only where something has to be measured.
"""

from __future__ import annotations

from dataclasses import replace

from relubench.activations import ActivationChoice
from relubench.data.prepared import PreparedData, share_of_zeros
from relubench.errors import UsageError
from relubench.models.backend import network_question, stack_question
from relubench.models.backends.kept import Timings, timings, with_library
from relubench.models.backends.known import known_backend
from relubench.models.backends.question import WITH_ONEDNN, Question, candidates, why_not
from relubench.runs.spec import RunSpec
from relubench.system.device import Device, check_torch_loads

AUTO = "auto"

FUSED = ("relu", "leaky_relu")
"""Activations that kernels compute too."""


def with_backends(
    spec: RunSpec, choice: ActivationChoice, backend: str, device: Device, prepared: PreparedData
) -> RunSpec:
    """The run with the backends of its network and of its pre-training; `backend` is what the user has named, or auto.

    What the package knows to be the fastest stands as None, so that ids of earlier runs stay. Raises UsageError where
    the named backend cannot train the network; where it can, layers that it cannot pre-train have the fastest.
    """
    fused = choice.name in FUSED and spec.norm == "none"
    network = network_question(spec, inputs_per_unit=choice.inputs_per_unit, fused=fused)
    stack = stack_question(spec, inputs_per_unit=choice.inputs_per_unit)
    if backend != AUTO:
        _check(backend, network, spec)
    if network is not None:
        spec = replace(spec, backend=_backend(network, backend, device, prepared))
    if stack is None or spec.stack is None:
        return spec
    named = backend if backend in candidates(stack, device.name) else AUTO
    return replace(spec, stack=replace(spec.stack, backend=_backend(stack, named, device, prepared)))


def _backend(question: Question, backend: str, device: Device, prepared: PreparedData) -> str | None:
    """The whole name of the backend; None for what is known, and on a processor that cannot be asked."""
    usual = known_backend(question, device.name)
    if usual is None and device.features:
        question = replace(question, zeros=share_of_zeros(prepared))
    if backend == AUTO:
        return None if usual or not device.features else timings(question, device, _measured).fastest()
    if backend == "kernels":
        backend = with_library(backend, _evaluated_by(question, usual, device))
    return None if backend == usual else backend


def _evaluated_by(question: Question, usual: str | None, device: Device) -> str:
    """The library that evaluates a network of kernels."""
    if usual is not None:
        return "onednn" if usual.endswith(WITH_ONEDNN.removeprefix("+")) else "torch"
    return timings(question, device, _measured).evaluated_by() if device.features else "torch"


def _measured(question: Question, device_name: str) -> Timings:
    """The timings of a question, measured now."""
    check_torch_loads()
    from relubench.training.backend_timing import measure

    return measure(question, device_name)


def _check(backend: str, question: Question | None, spec: RunSpec) -> None:
    """Raises UsageError where the backend cannot train the network."""
    if not spec.on_processor:
        reason = f"a backend is chosen for processors only, not for {spec.device}"
    elif question is None:
        reason = f"only the dense layers of the package's own networks in fp32 have a backend, not {spec.model}"
        reason += f" in {spec.precision}" if spec.precision != "fp32" else ""
    else:
        reason = why_not(backend, question, spec.device_name)
    if reason is not None:
        raise UsageError(f"train.backend={backend}: {reason}", "leave it out: auto takes the fastest that there is")
