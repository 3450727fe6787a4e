"""A user's own small CNN and a network of torchvision on a .npz file: one command, within its budget, with every price.

    python -m benchmarks.choose_networks --output benchmarks/results/choose-networks.txt   # --budget 8m: ten minutes
    python -m benchmarks.choose_networks --budget 60s --examples 600                       # to try it

Writes a network and drawn images of three colours (ten classes, by shape and place) into a folder, gives

    relubench choose --model ./net.py:Net --model torchvision:mobilenet_v3_small --dataset ./data.npz --budget 8m ...

and checks that it ended in time (the budget and a quarter), and that the answer names an activation with its error, its
times, its memory and its soundness, or says what could not be told. Exit code 1 where it does not.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from relubench.experiments.choosing.budget import parse_budget

NETWORK = '''"""A small convolutional network, as a user writes one."""

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(32 * 8 * 8, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, x):
        return self.head(self.features(x))
'''
MODELS = ("./net.py:Net", "torchvision:mobilenet_v3_small")
TOLERANCE = 1.25
"""Of the budget: stopping writes checkpoints, and the program starts."""


def images(num_examples: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images [N, 32, 32, 3] of bytes and their classes [N]: a class is a frequency, a direction and a colour."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 10, num_examples)
    rows, columns = np.mgrid[0:32, 0:32] / 32
    angle = np.pi * (classes % 5)[:, None, None] / 5 + rng.normal(0, 0.12, (num_examples, 1, 1))
    frequency = 2 + 2 * (classes // 5)[:, None, None] + rng.normal(0, 0.3, (num_examples, 1, 1))
    wave = np.sin(
        2 * np.pi * frequency * (np.cos(angle) * rows + np.sin(angle) * columns)
        + rng.uniform(0, 2 * np.pi, (num_examples, 1, 1))
    )
    colour = rng.uniform(0.3, 1, (num_examples, 1, 1, 3))
    noisy = 128 + 60 * wave[..., None] * colour + rng.normal(0, 45, (num_examples, 32, 32, 3))
    return noisy.clip(0, 255).astype(np.uint8), classes


def write(folder: Path, num_examples: int) -> None:
    """The user's files: net.py, data.npz."""
    (folder / "net.py").write_text(NETWORK)
    x, y = images(num_examples + num_examples // 3)
    np.savez(
        folder / "data.npz",
        x_train=x[:num_examples],
        y_train=y[:num_examples],
        x_test=x[num_examples:],
        y_test=y[num_examples:],
    )


def faults(answer: dict[str, Any]) -> list[str]:
    """What the answer lacks."""
    lacking = []
    for about in answer["answers"]:
        rows = [row for row in answer["rows"] if (row["dataset"], row["model"]) == (about["dataset"], about["model"])]
        name = f"{about['dataset']}, {about['model']}"
        row = next((row for row in rows if row["recommended"]), None)
        if row is None:
            lacking.append(f"{name}: nothing is recommended: {about['more_budget']}")
            continue
        keys = ("valid_metric", "training_us_per_example", "inference_us", "memory_bytes", "soundness")
        lacking += [f"{name}: no {key} of {row['activation']}" for key in keys if row[key] is None]
    return lacking


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", default="8m")
    parser.add_argument("--examples", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--act", default="relu,gelu,hardswish")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, arguments.examples)
        options = ["choose", *(part for model in MODELS for part in ("--model", model)), "--dataset", "./data.npz"]
        options += ["--act", arguments.act, "--protocol", "modern", "--lr", "0.001", "--batch-size", "64"]
        options += ["--epochs", str(arguments.epochs), "--budget", arguments.budget]
        start = time.monotonic()
        ended = subprocess.run(
            [sys.executable, "-m", "relubench", *options, "--runs-dir", "./runs", "--format", "json"],
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - start
    if not ended.stdout:
        sys.exit(f"no answer, exit code {ended.returncode}, after {seconds:.0f} s")
    answer = json.loads(ended.stdout)
    text = _text(["relubench", *options], answer, seconds)
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n")
    budget = parse_budget(arguments.budget).seconds
    lacking = faults(answer)
    if budget is not None and seconds > TOLERANCE * budget:
        lacking.append(f"it took {seconds:.0f} s, and its budget is {budget:.0f} s")
    sys.exit("\n".join(lacking) or None)


def _text(command: list[str], answer: dict[str, Any], seconds: float) -> str:
    keys = ("activation", "model", "standing", "recommended", "seeds", "valid_metric", "test_metric")
    prices = ("training_us_per_example", "training_ratio", "inference_us", "inference_us_per_example", "memory_bytes")
    lines = [" ".join(command), f"version {answer['version']}, {answer['device']}, {seconds:.0f} s", ""]
    lines += ["\t".join((*keys, *prices, "pareto", "soundness"))]
    for row in answer["rows"]:
        lines.append("\t".join(str(row[key]) for key in (*keys, *prices, "pareto", "soundness")))
    lines += [""]
    lines += [f"{about['model']}: {about['more_budget']}" for about in answer["answers"]]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
