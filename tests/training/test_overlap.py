"""The overlap of active units: against a loop over pairs, and of networks batched and alone."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from relubench.training.images import Images
from relubench.training.population import Population
from relubench.training.probes.overlap import class_overlaps
from relubench.training.probes.table import why_no_overlap
from specs import digits, runs


def test_overlaps_are_those_of_every_pair():
    generator = torch.Generator().manual_seed(3)
    h = torch.randn(12, 7, generator=generator).relu()
    h[4] = 0.0
    h[5] = 1e-6 * h[5]
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 0, 1, 2, 0, 1, 2])
    least = 0.01 * math.sqrt(sum(float(value) ** 2 for value in h.flatten()) / h.numel())
    on = [{unit for unit, value in enumerate(row.tolist()) if abs(value) > least} for row in h]
    values: dict[bool, list[float]] = {True: [], False: []}
    for a, b in itertools.combinations(range(12), 2):
        if on[a] | on[b]:
            values[bool(labels[a] == labels[b])].append(len(on[a] & on[b]) / len(on[a] | on[b]))
    within, between = class_overlaps(h, labels)
    assert within == pytest.approx(sum(values[True]) / len(values[True]), rel=1e-6)
    assert between == pytest.approx(sum(values[False]) / len(values[False]), rel=1e-6)


def test_units_of_their_own_overlap_within_the_class_alone():
    labels = torch.arange(3).repeat(4)
    h = torch.nn.functional.one_hot(labels, 3).float()
    assert class_overlaps(h, labels) == (1.0, 0.0)
    assert math.isnan(class_overlaps(h[:3], labels[:3])[0])


def test_a_run_has_both_overlaps_after_each_epoch_and_trains_the_same_bits():
    losses = []
    for probe in ("overlap", "activations"):
        choice, specs = runs("relu", model={"name": "mlp-2x16"}, train={"epochs": 2, "probe": probe, "lr": 0.05})
        population = Population(specs, choice, Images.open(digits(), device="cpu", flat=True))
        for _ in population.train():
            pass
        member = population.members[0]
        losses.append([point.train_loss for point in member.curve])
        if probe == "overlap":
            names = [(value.name, value.epoch) for value in member.measured]
            assert names == [(f"overlap_{kind}_pct", epoch) for epoch in range(3) for kind in ("within", "between")]
            values = {value.name: value.value for value in member.measured if value.epoch == 2}
            assert 0 < values["overlap_between_pct"] < values["overlap_within_pct"] < 100  # type: ignore[operator]
    assert losses[0] == losses[1]


def test_a_task_without_classes_has_no_overlap():
    _, (spec,) = runs("relu", data={"name": "diabetes"}, model={"name": "mlp-1x8"})
    assert why_no_overlap(spec) == "the task of diabetes has no classes"
    assert why_no_overlap(runs("relu")[1][0]) is None
