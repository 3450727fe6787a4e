"""`python -m benchmarks.small_networks`: eight small networks on one thread, side by side or one after another?

    python -m benchmarks.small_networks --rounds 7 --output benchmarks/results/small-networks.json

Networks on the digits are trained for some epochs, validation included and probes left out: once as the package trains
networks of a study that differ in their seed (`relubench.training.side_by_side`, its trial of both ways included), once
one after another. Seconds are the processor's, of one thread; a ratio above 1 says that side by side is faster.
`batched` says what the trials chose; both ways end with the same bits, or the benchmark fails.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from relubench.activations import select
from relubench.data import prepare
from relubench.experiments.config import experiment
from relubench.experiments.plan import expand
from relubench.system.device import resolve
from relubench.training.driver import Training
from relubench.training.images import Images
from relubench.training.population import Population
from relubench.training.side_by_side import SideBySide

SHAPES = (("mlp-3x128", 10), ("mlp-2x32", 10), ("mlp-3x128", 100), ("mlp-2x32", 100))
"""Model and batch."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, help="a JSON file for the result")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    rows = []
    for model, batch in SHAPES:
        rows.append(_row(model, batch, options))
        print("{model:10} batch {batch:3}: side by side {ratio:.2f} times as fast".format(**rows[-1]), flush=True)
    if options.output:
        from benchmarks.machine import describe

        facts = describe(["python", "-m", "benchmarks.small_networks", *sys.argv[1:]], None)
        options.output.write_text(json.dumps({**facts, "rounds": options.rounds, "rows": rows}, indent=1) + "\n")
    return 0


def _row(model: str, batch: int, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of either way in each round, and the median ratio within the rounds."""
    train = {"lr": 0.05, "batch_size": batch, "epochs": options.epochs, "probe": "none"}
    config = experiment(
        {"act": ["relu"], "seeds": list(range(options.members)), "model": {"name": model}, "train": train}
    )
    choices, prepared = select(config.act), prepare("digits")
    specs = [replace(spec, threads=1) for spec in expand(config, choices, prepared, resolve("cpu"), [0.05])]
    data = Images.open(prepared, device="cpu", flat=True)
    seconds: dict[str, list[float]] = {"side by side": [], "one after another": []}
    chosen = []
    for place in range(options.rounds):
        together = SideBySide(specs, choices[0], data)
        alone = [Population([spec], choices[0], data) for spec in specs]
        ways: dict[str, list[Training]] = {"side by side": [together], "one after another": [*alone]}
        for name in list(ways) if place % 2 == 0 else list(ways)[::-1]:
            seconds[name].append(_seconds(ways[name]))
        chosen.append(together.batches)
        for network, other in zip(together.populations, alone, strict=True):
            for value, expected in zip(network.values.values(), other.values.values(), strict=True):
                assert torch.equal(value, expected), "side by side gave other bits"
    ratios = [after / together for together, after in zip(*seconds.values(), strict=True)]
    return {
        "model": model,
        "batch": batch,
        "members": options.members,
        "batched": chosen,
        "seconds": seconds,
        "ratio": median(ratios),
        "low": min(ratios),
        "high": max(ratios),
    }


def _seconds(trainings: Sequence[Training]) -> float:
    """Processor seconds of this thread until all are trained."""
    start = time.thread_time()
    for training in trainings:
        for _ in training.train():
            pass
    return time.thread_time() - start


if __name__ == "__main__":
    raise SystemExit(main())
