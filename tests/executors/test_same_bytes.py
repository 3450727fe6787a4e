"""Every executor stores the same bytes: 16 seeds in this process, in workers, on two raylets and on a SLURM node."""

from __future__ import annotations

from pathlib import Path

import pytest

from executors.ray_here import RayHere, contents, errors_of, trained


@pytest.mark.slow
@pytest.mark.xdist_group("slurm")
def test_sixteen_seeds_are_the_same_bytes_on_every_executor(tmp_path: Path, two_nodes: RayHere, on_slurm: list[str]):
    words = ["--act", "relu", "--dataset", "digits", "--device", "cpu", "--seeds", "16", "--epochs", "2"]
    executors = {name: ["--executor", name] for name in ("local", "inline")}
    executors |= {"ray": two_nodes.address, "slurm": on_slurm}
    errors = {name: errors_of(trained(*words, *more, runs=tmp_path / name)) for name, more in executors.items()}
    stores = {name: contents(tmp_path / name) for name in executors}
    assert len({Path(path).parts[1] for path in stores["local"]}) == 16
    for name in executors:
        assert errors[name] == errors["local"] and stores[name] == stores["local"], name
