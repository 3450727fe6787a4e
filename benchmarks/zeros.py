"""`python -m benchmarks.zeros`: what a layer's kernels gain from zeros among their numbers, by the share of zeros.

    python -m benchmarks.zeros --output benchmarks/results/zeros.json

One dense layer of 1000 inputs and outputs at batch 128, its inputs and its output's gradient with so many zeros at
random places. Three ways in turn, on the same numbers: every product taken, zeros always left out one by one, and what
the engine does, which is the former below `sparse.ENOUGH` per cent of zeros and the latter from there on. Microseconds
a pass are medians over rounds; the ratio is of the second way to the first, taken within rounds.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.machine import Neighbours, describe
from relubench.models.kernels import sparse
from relubench.models.kernels.layer import CompiledKernels, KernelLinear
from relubench.models.optimizers import Parameter, Sgd

SHARES = (0, 20, 40, 45, 50, 60, 70, 80, 90, 95)
"""Per cent of zeros."""
WAYS = {"every product": 101, "zeros left out": -1, "as trained": sparse.ENOUGH}
"""From how many per cent of zeros on each way leaves them out."""
PASSES = ("forward", "backward", "backward of the first layer")
CALLS = 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="measurements of each way (15)")
    parser.add_argument("--batch", type=int, default=128, help="samples (128)")
    parser.add_argument("--width", type=int, default=1000, help="inputs and outputs of the layer (1000)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="(all)")
    parser.add_argument("--output", type=Path, help="a JSON file for the result (stdout)")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    neighbours = Neighbours()
    layers = {way: Layer(asked.batch, asked.width, asked.threads, enough) for way, enough in WAYS.items()}
    rows = [row for share in SHARES for row in measured(layers, share, asked.rounds)]
    facts = {
        **describe(["python", "-m", "benchmarks.zeros", *sys.argv[1:]], None),
        "threads": asked.threads,
        "rounds": asked.rounds,
        "enough_pct": sparse.ENOUGH,
        "cores_kept_busy_by_others": neighbours.cores(),
        "rows": rows,
    }
    text = json.dumps(facts, indent=1) + "\n"
    for row in rows:
        print(f"{row['zeros_pct']:3} % {row['pass']:28} {row['ratio']:.2f} {row['microseconds']}", file=sys.stderr)
    if asked.output:
        asked.output.write_text(text)
    else:
        print(text, end="")
    return 0


class Layer:
    """One layer whose kernels leave zeros out from `enough` per cent of them on."""

    def __init__(self, batch: int, width: int, threads: int, enough: int) -> None:
        before, sparse.ENOUGH = sparse.ENOUGH, enough
        self.kernels = CompiledKernels(batch, threads, [width, 10])
        sparse.ENOUGH = before
        generator = torch.Generator().manual_seed(0)
        weight = Parameter("weight", torch.randn(width, width, generator=generator) * 0.03, True)
        bias = Parameter("bias", torch.zeros(width), True)
        # So slow that the weights stay what they are.
        self.update = Sgd([weight, bias], [1e-9], 0.0, 0.0, batched=False)
        self.passes = KernelLinear(weight, bias, self.kernels, "torch", False)

    def calls(self, x: torch.Tensor, grad: torch.Tensor) -> dict[str, Callable[[], None]]:
        """Each pass alone, on these numbers."""
        self.passes.forward(x)
        self.passes.backward(grad, self.update, False)
        run, codes, at = self.kernels.team.run, self.passes.codes, self.passes.address
        return {
            "forward": lambda: run(codes["forward"], at),
            "backward": lambda: run(codes["backward"], at, codes["gather"]),
            "backward of the first layer": lambda: run(codes["backward_first"], at),
        }


def measured(layers: dict[str, Layer], share: int, rounds: int) -> list[dict[str, Any]]:
    """A row for each pass at one share of zeros."""
    generator = torch.Generator().manual_seed(share)
    batch, width = next(iter(layers.values())).kernels.tiling.padded, layers["as trained"].passes.w.shape[0]
    x, grad = (
        torch.randn(batch, width, generator=generator) * (100 * torch.rand(batch, width, generator=generator) >= share)
        for _ in range(2)
    )
    seconds: dict[tuple[str, str], list[float]] = {(name, way): [] for name in PASSES for way in layers}
    order, shuffle = list(layers), random.Random(share).shuffle
    for _ in range(rounds):
        shuffle(order)
        for way in order:
            with layers[way].kernels.working():
                for name, call in layers[way].calls(x, grad).items():
                    call()
                    start = time.perf_counter()
                    for _ in range(CALLS):
                        call()
                    seconds[name, way].append((time.perf_counter() - start) / CALLS)
    return [_row(share, name, {way: seconds[name, way] for way in layers}) for name in PASSES]


def _row(share: int, name: str, seconds: dict[str, list[float]]) -> dict[str, Any]:
    ratios = [out / all_ for all_, out in zip(seconds["every product"], seconds["zeros left out"], strict=True)]
    return {
        "zeros_pct": share,
        "pass": name,
        "microseconds": {way: round(1e6 * median(some), 1) for way, some in seconds.items()},
        "ratio": round(median(ratios), 3),
        "lowest": round(min(ratios), 3),
        "highest": round(max(ratios), 3),
    }


if __name__ == "__main__":
    raise SystemExit(main())
