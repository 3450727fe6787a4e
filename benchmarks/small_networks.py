"""`python -m benchmarks.small_networks`: eight small networks on one thread, batched or one after another?

    python -m benchmarks.small_networks --rounds 7 --output benchmarks/results/small-networks.json

Networks on the digits are trained for some epochs, validation included and probes left out, once side by side as a GPU
trains them (products batched over the members, by PyTorch) and once one after another by the backend that the package
takes for each. Seconds are the processor's, of one thread; a ratio above 1 says that side by side is faster.
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
from relubench.training.images import Images
from relubench.training.population import Population

SHAPES = (("mlp-3x128", 10), ("mlp-2x32", 10), ("mlp-3x128", 100), ("mlp-2x32", 100))
"""Model and batch."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=3)
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
    together = [replace(spec, backend="torch") for spec in specs]
    data = Images.open(prepared, device="cpu", flat=True)
    ways = {"batched": [together], "one after another": [[spec] for spec in specs]}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for place in range(options.rounds):
        for name in list(ways) if place % 2 == 0 else list(ways)[::-1]:
            populations = [Population(members, choices[0], data) for members in ways[name]]
            seconds[name].append(_seconds(populations))
    ratios = [alone / batched for batched, alone in zip(*seconds.values(), strict=True)]
    return {
        "model": model,
        "batch": batch,
        "members": options.members,
        "seconds": seconds,
        "ratio": median(ratios),
        "low": min(ratios),
        "high": max(ratios),
    }


def _seconds(populations: Sequence[Population]) -> float:
    """Processor seconds of this thread until all are trained."""
    start = time.thread_time()
    for population in populations:
        for _ in population.train():
            pass
    return time.thread_time() - start


if __name__ == "__main__":
    raise SystemExit(main())
