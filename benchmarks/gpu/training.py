"""relubench's own training beside PyTorch's on the device: images a second, validation included."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from benchmarks.gpu.data import Dataset, dataset
from benchmarks.gpu.setting import Row, Setting
from benchmarks.gpu.task import CNN, EIGHT, FIGURE3, LR, RESNET18, SINGLE, Training, rate_row, sized, without

OURS = "relubench"


def single(setting: Setting) -> Iterator[Row]:
    """One network at several sizes of batch."""
    yield from _compared(SINGLE, setting)


def eight(setting: Setting) -> Iterator[Row]:
    """Eight networks at once."""
    yield from _compared(EIGHT, setting)


def figure3(setting: Setting) -> Iterator[Row]:
    """200 networks at once, in tf32 and in fp32."""
    yield from _compared(FIGURE3, setting)


def cnn(setting: Setting) -> Iterator[Row]:
    """The small convolutional network."""
    yield from _compared(CNN, setting)


def resnet18(setting: Setting) -> Iterator[Row]:
    """A network that somebody else wrote."""
    yield from _compared(RESNET18, setting)


def _compared(trainings: Iterable[Training], setting: Setting) -> Iterator[Row]:
    """A row for each training and peer; a failure is a row, too."""
    for training in sized(trainings, setting):
        data = dataset(training.data, setting)
        ours = _row(training, OURS, lambda: ours_of(training, data, setting))  # noqa: B023
        yield ours
        for row in _peers(training, data, setting):
            if "images_per_second" in row and "images_per_second" in ours:
                row["ours_over_theirs"] = round(ours["images_per_second"] / row["images_per_second"], 3)
            yield row


def ours_of(training: Training, data: Dataset, setting: Setting) -> Row:
    """What `relubench train` does, in this process: planning, training with probes, validation, test, storing.

    The rate is of the second of two equal trainings on a GPU, whose first calls load kernels.
    """
    begun = time.perf_counter()
    if setting.device != "cpu":
        _train(training, data, setting, members=training.members, epochs=1)
    preparation = time.perf_counter() - begun
    begun = time.perf_counter()
    results, timings = _train(training, data, setting, members=training.members, epochs=training.epochs)
    bad = [result.message or result.outcome for result in results if result.outcome not in ("ok", "stalled")]
    if bad or len(results) != training.members:
        raise RuntimeError(f"{len(results)} networks were trained, {len(bad)} of them with a fault: {bad[:1]}")
    return rate_row(
        training,
        OURS,
        sum(timing.seconds for timing in timings),
        training.members * len(data.images.y_train) * training.epochs / timings[0].images_per_second,
        len(data.images.y_train),
        whole_seconds=round(time.perf_counter() - begun, 3),
        preparation_seconds=round(preparation, 2),
        data=data.source,
        test_error_pct=results[0].test_error_pct,
    )


def _train(training: Training, data: Dataset, setting: Setting, *, members: int, epochs: int):
    """Results and timings of the runs, carried out in this process."""
    from relubench.executors.inline import InlineExecutor
    from relubench.experiments.config import experiment
    from relubench.experiments.study import Study

    config = experiment(
        {
            "act": ["relu"],
            "seeds": list(range(members)),
            "device": setting.device,
            # Hundreds of networks' weights would fill the disk; the clock stops before they are written.
            "keep": "none",
            "data": {"name": data.name, **({"train_size": len(data.images.y_train)} if data.source == "MNIST" else {})},
            "model": {"name": training.relubench_model},
            "train": {
                "lr": LR,
                "batch_size": training.batch,
                "epochs": epochs,
                "precision": training.precision if setting.device == "cuda" else "fp32",
            },
        }
    )
    study = Study.open(
        config,
        data_dir=Path(setting.data_dir) if setting.data_dir else None,
        runs_dir=setting.folder / "runs",
        fresh=True,
        executor=InlineExecutor,
    )
    failures = [event.message for event in study.run() if event.kind == "failed"]
    if failures:
        raise RuntimeError(failures[0])
    timings = [study.timings[result.id] for result in study.results]
    return study.results, [timing for timing in timings if timing is not None]


def _peers(training: Training, data: Dataset, setting: Setting) -> Iterator[Row]:
    from benchmarks.gpu.torch_peers import PEERS, Bench

    bench = Bench(training, data, setting.device)
    for name, prepare in PEERS.items():
        if name.endswith("torch.compile") and not training.compiled:
            continue
        if name.endswith("by hand") and setting.device != "cuda":
            yield without(training, name, f"{setting.device} has no CUDA graphs")
            continue
        yield _row(training, name, lambda: bench.measure(name, prepare))  # noqa: B023


def _row(training: Training, peer: str, measure: Callable[[], Row]) -> Row:
    try:
        return measure()
    except Exception as problem:
        return without(training, peer, problem)
