"""`python -m benchmarks.rbm`: a 784-1000 Bernoulli RBM on MNIST, relubench against scikit-learn's BernoulliRBM.

Both train on the same 50,000 images as float32 in [0, 1], with the same batch size, learning rate, epochs and threads,
in turn and in one process. relubench's time includes what it does after every epoch: validation errors, free energies.
Writes a JSON file, and the filters and reconstructions of relubench's RBM as PNG.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch
import typer
from sklearn.neural_network import BernoulliRBM

from benchmarks import machine
from relubench.activations import select
from relubench.data import PreparedData, prepare
from relubench.experiments.config import experiment
from relubench.experiments.plan import expand
from relubench.reports.plots import filters
from relubench.runs.spec import RunSpec
from relubench.system.device import resolve
from relubench.training.images import Images
from relubench.training.pretraining.greedy import LayerTraining

RESULTS = Path(__file__).parent / "results"
UNITS = 1000


def main(
    epochs: Annotated[int, typer.Option(min=1)] = 5,
    batch_size: Annotated[list[int], typer.Option(min=1, help="May be repeated.")] = [10, 100],  # noqa: B006
    lr: Annotated[float, typer.Option(help="The learning rate of both.")] = 0.05,
    rounds: Annotated[int, typer.Option(min=1, help="Trainings of each, in turn.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Set OMP_NUM_THREADS to the same.")] = 1,
    data_dir: Annotated[Path | None, typer.Option(help="Where MNIST is. Default: $RELUBENCH_DATA_DIR.")] = None,
    output: Annotated[Path | None, typer.Option(help="Default: results/rbm-DATE.json; and .png.")] = None,
) -> None:
    """Train both, compare their speed and their reconstructions, and draw the filters (of the first batch size)."""
    torch.set_num_threads(threads)
    facts = machine.describe(["python -m benchmarks.rbm", *sys.argv[1:]], str(data_dir) if data_dir else None)
    prepared = prepare("mnist", data_dir=data_dir)
    data = Images.open(prepared, device="cpu", flat=True)
    found, trained = [], []
    for size in batch_size:
        spec = specification(prepared, epochs, size, lr, threads)
        result, training = compared(spec, data, lr, rounds)
        found.append(result)
        trained.append(training)
    path = output or RESULTS / f"rbm-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    settings = {"epochs": epochs, "lr": lr, "threads": threads, "images": data.n_train}
    path.write_text(json.dumps({**facts, **settings, "batch_sizes": found}, indent=1) + "\n")
    weight = trained[0].model.network()["0.weight"].numpy()
    filters.write_png(filters.filters(weight, prepared.input_shape), path.with_suffix(".png"))


def compared(spec: RunSpec, data: Images, lr: float, rounds: int) -> tuple[dict[str, Any], LayerTraining]:
    """Seconds, errors and relubench's curve at one batch size; the last of relubench's trainings."""
    assert spec.stack is not None
    size, epochs = spec.stack.batch_size, spec.stack.epochs
    train, valid = (np.concatenate([x.numpy() for x, _ in data.slices(split, 5000)]) for split in ("train", "valid"))
    seconds: dict[str, list[float]] = {"relubench": [], "scikit-learn": []}
    for number in range(rounds):
        training = LayerTraining(replace(spec, seed=number), select(["sigmoid"])[0], data, 0, [])
        seconds["relubench"].append(timed(lambda training=training: drain(training), spec.threads))
        peer = BernoulliRBM(UNITS, learning_rate=lr, batch_size=size, n_iter=epochs, random_state=number)
        seconds["scikit-learn"].append(timed(lambda peer=peer: peer.fit(train), spec.threads))
        told = ", ".join(f"{name} {all_[-1]:.1f} s" for name, all_ in seconds.items())
        print(f"batches of {size}, round {number + 1}: {told}", flush=True)
    ratio = median(b / a for a, b in zip(*seconds.values(), strict=True))
    errors = {"relubench": training.curve[-1].valid_error, "scikit-learn": peer_error(peer, valid)}
    print(f"scikit-learn / relubench: {ratio:.2f} times the time; validation reconstruction error {errors}", flush=True)
    found = {"batch_size": size, "seconds": seconds, "ratio": ratio, "valid_reconstruction_error": errors}
    return {**found, "curve": [asdict(point) for point in training.curve]}, training


def specification(prepared: PreparedData, epochs: int, batch_size: int, lr: float, threads: int) -> RunSpec:
    """A one-layer RBM as `relubench pretrain --method rbm` would train it."""
    settings = {
        "act": ("sigmoid",),
        "data": {"name": "mnist"},
        "model": {"name": f"mlp-{UNITS}"},
        "train": {"batch_size": batch_size},
        "pretrain": {"methods": ("rbm",), "epochs": epochs, "lr": lr},
    }
    [spec] = expand(experiment(settings), select(["sigmoid"]), prepared, resolve("cpu"), [0.1])
    return replace(spec, threads=threads)


def drain(training: LayerTraining) -> None:
    """Train to the end."""
    for _ in training.train():
        pass


def timed(work, threads: int) -> float:
    """Seconds that it takes: with one thread the processor's, which others lengthen less, else the clock's."""
    clock = time.process_time if threads == 1 else time.perf_counter
    start = clock()
    work()
    return clock() - start


def peer_error(peer: BernoulliRBM, x: np.ndarray) -> float:
    """Mean squared error of one pass up and down with means, as relubench's."""
    h = peer.transform(x)
    again = 1.0 / (1.0 + np.exp(-(h @ peer.components_ + peer.intercept_visible_)))
    return float(np.square(again - x).mean())


if __name__ == "__main__":
    typer.run(main)
