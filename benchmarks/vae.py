"""`python -m benchmarks.vae`: training steps of a VAE by the engine against a plain PyTorch loop, in one process.

    python -m benchmarks.vae --output benchmarks/results/vae.json

vae-2x400 with 20 latents on images of 28 x 28, batches of 128, AdamW, one thread: the network of `run decoders`. The
peer is written as its users write it: nn.Linear, binary_cross_entropy_with_logits, autograd, torch.optim.AdamW, batches
by index out of one tensor. The loops take turns, and a round's ratio is of that round alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

from benchmarks.machine import Neighbours, describe
from relubench.activations import select
from relubench.data import prepare
from relubench.experiments.config import experiment
from relubench.experiments.plan import expand
from relubench.system.device import resolve
from relubench.training.calibration import random_images
from relubench.training.population import Population

ACT, WIDTH, LATENTS, BATCH, STEPS = "relu", 400, 20, 128, 100


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help=f"turns of {STEPS} steps each (9)")
    parser.add_argument("--data-dir", help="where MNIST's files are (as relubench looks for them)")
    parser.add_argument("--output", type=Path, help="a JSON file for the result (stdout)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    neighbours = Neighbours()
    loops = {"engine": _engine(options.data_dir), "plain": _plain(options.data_dir)}
    rounds: dict[str, list[float]] = {name: [] for name in loops}
    for number in range(options.rounds + 1):
        for name, loop in loops.items() if number % 2 else reversed(loops.items()):
            start = time.perf_counter()
            loop()
            # The first turn wakes threads and makes storage.
            if number:
                rounds[name].append(BATCH * STEPS / (time.perf_counter() - start))
    ratios = [ours / peer for ours, peer in zip(rounds["engine"], rounds["plain"], strict=True)]
    facts = {
        **describe(["python", "-m", "benchmarks.vae", *sys.argv[1:]], options.data_dir),
        "cores_kept_busy_by_others": neighbours.cores(),
        "images_per_second": {name: [round(speed) for speed in speeds] for name, speeds in rounds.items()},
        "ratio": round(median(ratios), 3),
        "lowest": round(min(ratios), 3),
        "highest": round(max(ratios), 3),
    }
    text = json.dumps(facts, indent=1) + "\n"
    if options.output:
        options.output.write_text(text)
    else:
        print(text, end="")
    return 0


def _engine(data_dir: str | None) -> Callable[[], None]:
    """Trains STEPS batches more, in chunks as `relubench train` does."""
    prepared = prepare("mnist", data_dir=Path(data_dir) if data_dir else None)
    config = experiment({"act": [ACT], "model": {"name": f"vae-2x{WIDTH}"}, "train": {"probe": "none", "epochs": 9999}})
    (spec,) = expand(config, select([ACT]), prepared, resolve("cpu"), [1e-3], lone=False)
    population = Population([spec], select([ACT])[0], random_images(spec))
    # As in calibration: a chunk is what is gathered at once; none here ends an epoch with a validation.
    order = torch.arange(BATCH * STEPS) % population.data.n_train
    chunk = BATCH * population.batch_chunk

    @torch.no_grad()
    def steps() -> None:
        for index in order.split(chunk):
            x, labels = population.data.train_batch(index)
            targets = population.objective.targets(labels, spec.classes)
            population.train_steps(x, targets, [1.0] * (len(index) // BATCH))

    return steps


def _plain(data_dir: str | None) -> Callable[[], None]:
    """Trains as many by a loop of PyTorch."""
    torch.manual_seed(0)
    images = torch.randint(0, 256, (2000, 784), dtype=torch.uint8)
    encoder = nn.Sequential(nn.Linear(784, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())
    code = nn.Linear(WIDTH, 2 * LATENTS)
    decoder = nn.Sequential(nn.Linear(LATENTS, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())
    output = nn.Linear(WIDTH, 784)
    modules = nn.ModuleList([encoder, code, decoder, output])
    optimizer = torch.optim.AdamW(modules.parameters(), lr=1e-3, weight_decay=0.01)
    order = torch.arange(BATCH * STEPS) % len(images)

    def loss_of(x: Tensor) -> Tensor:
        mean, log_variance = code(encoder(x)).chunk(2, dim=-1)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        logits = output(decoder(z))
        cross_entropy = nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        return (cross_entropy - 0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()) / len(x)

    def steps() -> None:
        total = 0.0
        for index in order.split(BATCH):
            loss = loss_of(images[index].float() / 255)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()

    return steps


if __name__ == "__main__":
    raise SystemExit(main())
