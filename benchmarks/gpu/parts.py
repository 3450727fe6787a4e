"""The parts of the measurement as a literal table, the most telling first."""

from __future__ import annotations

from benchmarks.gpu.schedule import Part

PARTS = (
    Part(
        name="machine",
        target="benchmarks.gpu.facts:rows",
        weight=10,
        least=2,
        title="device, driver, libraries, and packages that are missing",
    ),
    Part(
        name="members",
        target="benchmarks.gpu.members:rows",
        weight=35,
        least=8,
        title="a batched member equals a lone one",
    ),
    Part(
        name="single",
        target="benchmarks.gpu.training:single",
        weight=80,
        least=15,
        title="one network at batches 10, 128 and 4096",
    ),
    Part(
        name="figure3",
        target="benchmarks.gpu.training:figure3",
        weight=75,
        least=20,
        title="200 networks at batch 100, as in the paper's Figure 3",
    ),
    Part(
        name="population-8",
        target="benchmarks.gpu.training:eight",
        weight=30,
        least=8,
        title="eight networks at batch 10",
    ),
    Part(
        name="jax",
        target="benchmarks.gpu.jax_peers:rows",
        weight=40,
        least=10,
        title="the same by JAX: one scan, and vmap over it",
    ),
    Part(name="cnn", target="benchmarks.gpu.training:cnn", weight=25, least=8, title="the small CNN at batch 128"),
    Part(
        name="resnet18", target="benchmarks.gpu.training:resnet18", weight=35, least=10, title="resnet18 at batch 128"
    ),
    Part(name="kills", target="benchmarks.gpu.kills:rows", weight=110, least=15, title="30 kills of a run, resumed"),
    Part(name="verify", target="benchmarks.gpu.verify:rows", weight=45, least=10, title="values and gradients there"),
    Part(name="speed", target="benchmarks.gpu.speed:rows", weight=45, least=20, title="activations as operators"),
    Part(name="memory", target="benchmarks.gpu.memory:rows", weight=15, least=5, title="memory predicted and measured"),
)
