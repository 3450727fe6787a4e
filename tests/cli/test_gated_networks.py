"""Gated activations in a user's own network, by the command line."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.fakes import Cli

NETWORK = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.GELU(), nn.Linear(128, num_classes))

    def forward(self, x):
        return self.net(x)


class Shared(Net):
    def forward(self, x):
        return self.net(x) + self.net[1].weight.sum()
"""


def test_a_users_own_network_trains_with_a_gated_activation(cli: Cli, tmp_path: Path):
    """And one whose weights are used twice is refused before any work."""
    (tmp_path / "gated_net.py").write_text(NETWORK)
    flags = ["--dataset", "digits", "--epochs", "1", "--set", "data.train_size=100", "--format", "json"]
    done = cli("train", "--model", f"{tmp_path}/gated_net.py:Net", "--act", "gelu,swiglu", *flags)
    assert done.code == 0, done.err
    plain, gated_row = json.loads(done.out)["rows"]
    assert gated_row["test_error_pct"] is not None
    assert abs(gated_row["parameters"] - plain["parameters"]) <= 0.01 * plain["parameters"]
    assert "at 1 place between linear layers, 128 units become" in done.err
    refused = cli("train", "--model", f"{tmp_path}/gated_net.py:Shared", "--act", "swiglu", *flags)
    assert refused.code == 2 and "its weights are used elsewhere, too" in refused.err
