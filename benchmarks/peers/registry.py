"""The peers and the scenarios, as literal tables, and what issue 3 asks relubench to reach in each scenario."""

from __future__ import annotations

from dataclasses import dataclass

OURS = "relubench"
CEILING = "bare-products"
BEST_PEER = "the best peer"
"""Stands for whichever peer, the ceiling apart, has the highest median."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """One way to train the network; `target` is module:function, imported in a process of its own."""

    target: str
    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """The ratio of our images per second to another's that must be reached, and the one aimed at."""

    against: str
    at_least: float
    aim: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """What all peers of one table train."""

    title: str
    batch_size: int
    peers: tuple[str, ...]
    goals: tuple[Goal, ...]
    members: int = 1
    cnn: bool = False


PEERS: dict[str, Peer] = {
    OURS: Peer(target="benchmarks.peers.relubench_command:run", label="relubench train"),
    "pytorch": Peer(target="benchmarks.peers.pytorch_plain:run", label="PyTorch: autograd, optim.SGD, data in memory"),
    "pytorch-dataloader": Peer(
        target="benchmarks.peers.pytorch_dataloader:run", label="PyTorch: torchvision transforms, DataLoader"
    ),
    "pytorch-compile": Peer(target="benchmarks.peers.pytorch_compile:run", label="PyTorch: torch.compile"),
    "lightning": Peer(target="benchmarks.peers.pytorch_lightning:run", label="Lightning"),
    "keras-jax": Peer(target="benchmarks.peers.keras_jax:run", label="Keras 3 on JAX"),
    "jax-scan": Peer(target="benchmarks.peers.jax_scan:run", label="JAX: the epoch in one jitted scan"),
    "jax-vmap": Peer(target="benchmarks.peers.jax_vmap:run", label="JAX: vmap over the jitted epoch"),
    "scikit-learn": Peer(target="benchmarks.peers.sklearn_mlp:run", label="scikit-learn MLPClassifier"),
    "pytorch-channels-last": Peer(
        target="benchmarks.peers.pytorch_cnn:run_channels_last", label="PyTorch: CNN, channels_last"
    ),
    "pytorch-contiguous": Peer(
        target="benchmarks.peers.pytorch_cnn:run_contiguous", label="PyTorch: CNN, default memory format"
    ),
    "pytorch-cnn-compile": Peer(
        target="benchmarks.peers.pytorch_cnn:run_compiled", label="PyTorch: CNN, channels_last, torch.compile"
    ),
    "jax-cnn": Peer(target="benchmarks.peers.jax_cnn:run", label="JAX: CNN, the epoch in one jitted scan"),
    CEILING: Peer(target="benchmarks.peers.bare_products:run", label="the bare matrix products (no update)"),
}

SINGLE = (
    OURS,
    "pytorch",
    "pytorch-dataloader",
    "pytorch-compile",
    "lightning",
    "keras-jax",
    "jax-scan",
    "scikit-learn",
    CEILING,
)

SCENARIOS: dict[str, Scenario] = {
    "batch-10": Scenario(
        title="784-1000-1000-1000-10, batch 10",
        batch_size=10,
        peers=SINGLE,
        goals=(
            Goal(against="pytorch", at_least=1.6, aim=2.0),
            Goal(against=BEST_PEER, at_least=1.2, aim=1.4),
            Goal(against=CEILING, at_least=0.70, aim=0.85),
        ),
    ),
    "batch-128": Scenario(
        title="784-1000-1000-1000-10, batch 128",
        batch_size=128,
        peers=SINGLE,
        goals=(
            Goal(against="pytorch", at_least=1.1, aim=1.25),
            Goal(against=BEST_PEER, at_least=1.0, aim=1.15),
            Goal(against=CEILING, at_least=0.85, aim=0.95),
        ),
    ),
    "population-8": Scenario(
        title="eight of 784-1000-1000-1000-10, batch 10",
        batch_size=10,
        members=8,
        peers=(OURS, "pytorch", "jax-vmap"),
        goals=(Goal(against="pytorch", at_least=1.5, aim=2.0), Goal(against="jax-vmap", at_least=2.0, aim=3.0)),
    ),
    "cnn": Scenario(
        title="small CNN, batch 128",
        batch_size=128,
        cnn=True,
        peers=(OURS, "pytorch-channels-last", "pytorch-contiguous", "pytorch-cnn-compile", "jax-cnn"),
        goals=(
            Goal(against="pytorch-channels-last", at_least=1.0, aim=1.1),
            Goal(against=BEST_PEER, at_least=1.0, aim=1.2),
        ),
    ),
}
