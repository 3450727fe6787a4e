"""The process that runs one peer: `python -m benchmarks.peers.child PEER TASK RESULT` (TASK as JSON, RESULT a file)."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

from benchmarks.peers.registry import PEERS
from benchmarks.peers.task import Measurement, Task


def main() -> None:
    """Import the peer and nothing of the others, let it train, write its measurement."""
    name, task, result = sys.argv[1:]
    module, function = PEERS[name].target.split(":")
    run = getattr(importlib.import_module(module), function)
    measurement: Measurement = run(Task.from_json(json.loads(task)))
    Path(result).write_text(json.dumps(measurement.to_json()))


if __name__ == "__main__":
    main()
