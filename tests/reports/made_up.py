"""Results of a whole preset without a training: the real study and report, of runs out of thin air."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from relubench.executors.job import Job
from relubench.executors.messages import Done, Message, Pretrained, Started
from relubench.experiments.presets.catalogue import open_preset
from relubench.experiments.record import record_of
from relubench.experiments.study import Study
from relubench.reports.report import Report
from relubench.reports.training.preset import preset_report
from relubench.runs.result import AT_EXCHANGE, EpochPoint, LayerProbe, MeasuredValue, RunResult, Timing, test_values
from relubench.runs.result import valid_values as valid_values_of
from relubench.runs.spec import RunSpec
from relubench.runs.store import Store
from relubench.runs.task import TASKS
from relubench.training.probes.table import probes_of

SCORES = {"error_pct": 12.34, "nats": 123.45, "mse": 0.1234, "psnr_db": 21.34, "bits_per_character": 2.345}
"""Metric -> about what networks have."""
TEST_EXAMPLES = 300


def preset_table(name: str, store: Store) -> Report:
    """The table of a preset at scale smoke, its numbers as wide as real ones."""
    is_lesson = name.startswith("lessons/")
    preset = open_preset(name, None if is_lesson else "smoke", [{"device": "cpu"}])
    if any(variant.config.pretrain.methods != ("none",) for variant in preset.variants):
        # Nothing was trained that a search for rates could look at.
        preset = open_preset(name, preset.scale, [{"device": "cpu", "pretrain": {"lr": 0.01}}])
    study = Study.open(preset.variants, runs_dir=store.root, executor=lambda _: MadeUp())
    for _ in study.run():
        pass
    for part, spec in study.requested:
        for strength in filter(None, part.config.data.test_noise):
            store.put_noise(spec.id, strength, scores(spec))
    return preset_report(record_of(study), preset)


class MadeUp:
    """An executor that trains nothing."""

    def run(self, jobs: Sequence[Job]) -> Generator[Message, None, None]:
        for job in jobs:
            for spec in job.specs:
                yield Started(run=spec.id)
                yield Pretrained(run=spec.id) if job.pretrain_only else done(spec)


def scores(spec: RunSpec) -> Any:
    """What became of each test example: of a few activations much, of the others little."""
    task, rng = TASKS[spec.task], np.random.default_rng([spec.seed, *spec.activation.encode()])
    scale = SCORES[task.metric] * (1 + len(spec.activation) / 10)
    if task.per_example == "wrong":
        return rng.random(TEST_EXAMPLES) < scale / 100
    return (scale * (1 + rng.standard_normal(TEST_EXAMPLES) / 5)).astype(np.float32)


def done(spec: RunSpec) -> Done:
    """The end of a run: sigmoid has not learned, and everything was measured that was asked for."""
    task, per_example = TASKS[spec.task], scores(spec)
    score = task.score(per_example)
    names = [name for row in probes_of(spec.probe).values() for name in row.measures]
    names += AT_EXCHANGE if spec.exchange else ()
    layers = [(epoch, layer) for epoch in (0, spec.epochs) for layer in (1, 2)] if spec.probe == "gradients" else []
    result = RunResult(
        id=spec.id,
        spec=spec.to_json(),
        outcome="stalled" if spec.activation == "sigmoid" else "ok",
        parameters=spec.parameters,
        path="cpu, 1 thread",
        epochs=spec.epochs,
        best_epoch=spec.epochs,
        **valid_values_of(task, score),
        **test_values(task, score),
        test_examples=TEST_EXAMPLES,
        sparsity_pct=51.2,
        dead_units_pct=12.3,
        curve=[EpochPoint(epoch=1, train_loss=1.0, valid_loss=1.0, lr=0.1, **valid_values_of(task, score))],
        probes=[_probe(epoch, layer) for epoch, layer in layers],
        measured=[MeasuredValue(name=name, epoch=spec.epochs, value=45.67) for name in (*names, *task.beside)],
    )
    timing = Timing(seconds=12.3, epoch_seconds=[12.3], images_per_second=1e4, host="", finished="2026-01-01T00:00:00Z")
    return Done(run=spec.id, result=result, timing=timing, wrong=per_example, not_stored="nothing is")


def _probe(epoch: int, layer: int) -> LayerProbe:
    nothing = ("zeros_pct", "near_zeros_pct", "mean", "variance", "saturated_pct", "dead", "died", "revived", "cut_off")
    values = dict.fromkeys((*nothing, "idle_columns"))
    return LayerProbe(
        epoch=epoch, layer=layer, units=9, quantiles=[], activation_gradient=1.234e-7 * 1e7 ** (layer - 1), **values
    )
