"""`python -m benchmarks.external_networks`: other people's networks through relubench and a plain PyTorch loop.

    python -m benchmarks.external_networks --rounds 5 --output benchmarks/results/external-networks.json
    python -m benchmarks.external_networks --clock processor     # one thread's processor time, on a busy machine

The same drawn colour images (32 x 32), batch, rate and plain SGD, a validation after each epoch on both sides;
relubench does what `relubench train` does, the test included. Each side runs in a process of its own, in turn. A ratio
is relubench's images a second over the other's, taken within a round: above 1 relubench is faster.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
OWN = '''
from torch import nn


class Net(nn.Module):
    """Three stages of two convolutions, as people write them for small colour images."""

    def __init__(self, num_classes=10):
        super().__init__()
        layers, inputs = [], 3
        for units in (16, 32, 64):
            for _ in range(2):
                layers += [nn.Conv2d(inputs, units, 3, padding=1, bias=False), nn.BatchNorm2d(units), nn.ReLU(True)]
                inputs = units
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(64 * 16, 128), nn.ReLU(), nn.Linear(128, num_classes))

    def forward(self, x):
        return self.head(self.features(x))
'''
NAMES = ("torchvision:resnet18", "own")
SIDES = ("relubench", "channels-last", "contiguous", "compiled")


def main() -> int:
    options = _parser().parse_args()
    if options.child:
        print(json.dumps(_measured(json.loads(options.child))))
        return 0
    results = []
    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder) / "own_network.py"
        own.write_text(OWN)
        for name in options.names.split(","):
            model = f"{own}:Net" if name == "own" else name
            task = {"model": model, "folder": folder, **{key: getattr(options, key) for key in KEYS}}
            results.append({"network": name, **_compared(task, options.rounds, options.sides.split(","))})
            _print(results[-1])
            if options.output:
                facts = _facts(options)
                options.output.write_text(json.dumps({**facts, "networks": results}, indent=1) + "\n")
    return 0


KEYS = ("batch", "images", "epochs", "clock", "threads")
"""What a side is told beside the network."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", default=",".join(NAMES), help="own, or --model names, split at commas")
    parser.add_argument("--sides", default=",".join(SIDES[:3]), help=f"of {', '.join(SIDES)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=0, help="of the processor (0: as many as PyTorch takes)")
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall", help="processor: of one thread")
    parser.add_argument("--output", type=Path, help="a JSON file for the result")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser


def _facts(options: argparse.Namespace) -> dict[str, Any]:
    from benchmarks.machine import describe

    facts = describe(["python", "-m", "benchmarks.external_networks", *sys.argv[1:]], None)
    return {**facts, "rounds": options.rounds}


def _compared(task: dict[str, Any], rounds: int, sides: list[str]) -> dict[str, Any]:
    """Images a second of every side in every round, and the ratios within the rounds."""
    samples: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for place in range(rounds):
        # In turn, so that neither side always meets the warmer machine.
        for side in sides if place % 2 == 0 else sides[::-1]:
            samples[side].append(_child({**task, "side": side}))
    ratios = {}
    for side in sides[1:]:
        pairs = list(zip(samples[side], samples[sides[0]], strict=True))
        for key in ("seconds", "train_seconds"):
            values = [other[key] / own[key] for other, own in pairs if key in other and key in own]
            if values:
                ratios[f"{side}, {key}"] = {"median": median(values), "low": min(values), "high": max(values)}
    return {"task": {key: task[key] for key in KEYS}, "samples": samples, "ratios": ratios}


def _child(task: dict[str, Any]) -> dict[str, Any]:
    """What one side says of itself in a process of its own; its error where it failed."""
    threads = 1 if task["clock"] == "processor" else task["threads"]
    limits = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)} if threads else {}
    environment = {**os.environ, **limits, "RELUBENCH_CACHE_DIR": f"{task['folder']}/cache"}
    command = [sys.executable, "-m", "benchmarks.external_networks", "--child", json.dumps(task)]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        return {"error": ended.stderr.strip().splitlines()[-1]}
    return json.loads(ended.stdout.splitlines()[-1])


def _measured(task: dict[str, Any]) -> dict[str, Any]:
    """Seconds of training and validation, and of training alone, by this side."""
    if task["clock"] == "processor":
        # Every clock below reads the time that this process had.
        time.perf_counter = time.process_time
    from benchmarks.gpu.data import dataset
    from benchmarks.gpu.setting import Setting
    from benchmarks.gpu.task import Training
    from benchmarks.gpu.torch_peers import Bench, compiled, eager
    from benchmarks.gpu.training import ours_of

    setting = Setting(device="cpu", small=False, seconds=0.0, folder=Path(task["folder"]))
    model = task["model"].removeprefix("torchvision:")
    training = Training(name="external", model=model, batch=task["batch"], epochs=task["epochs"])
    data = dataset("colour", setting).first(task["images"], setting.folder)
    if task["side"] == "relubench":
        return ours_of(training, data, setting)
    layout = "contiguous" if task["side"] == "contiguous" else "channels-last"
    return Bench(training, data, "cpu", layout).measure(task["side"], compiled if task["side"] == "compiled" else eager)


def _print(result: dict[str, Any]) -> None:
    for side, rows in result["samples"].items():
        rates = [row["images_per_second"] for row in rows if "images_per_second" in row]
        error = next((row["error"] for row in rows if "error" in row), "")
        print(f"{result['network']:22} {side:14} {f'{median(rates):,.0f} images/s' if rates else error}")
    for name, ratio in result["ratios"].items():
        spread = f"{ratio['low']:.2f} to {ratio['high']:.2f}"
        print(f"{result['network']:22} relubench over {name}: {ratio['median']:.2f} ({spread})", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
