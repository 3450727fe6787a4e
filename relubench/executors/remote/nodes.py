"""What a worker process finds on its own node: its devices, and the same processor for every run."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from relubench.errors import RelubenchError
from relubench.system.device import probe, resolve
from relubench.system.device_kinds import DEVICES


def devices_here() -> dict[str, Any]:
    """Torch's version and this machine's devices by kind, as JSON values; the error where torch does not load."""
    try:
        machine = probe()
        kinds = [kind for kind, row in DEVICES.items() if row.names(machine)]
        return {"torch": machine.torch, "devices": {kind: asdict(resolve(kind)) for kind in kinds}}
    except RelubenchError as error:
        return {"torch": "", "devices": {}, "error": error.message}
