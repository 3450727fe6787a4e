"""What a container or a shell leaves of the machine."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest

from relubench.errors import ComputeError, UsageError
from relubench.experiments.compatibility import check_precision
from relubench.experiments.config import experiment
from relubench.system import device, device_kinds


def tree(root: Path, groups: str, files: dict[str, str]) -> Path:
    """A file system with this process in these control groups."""
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


CGROUP = "sys/fs/cgroup"


@pytest.mark.parametrize(
    ("groups", "files", "processors", "memory"),
    [
        ("0::/", {f"{CGROUP}/cpu.max": "200000 100000", f"{CGROUP}/memory.max": "1000000"}, 2.0, 1000000),
        ("0::/", {f"{CGROUP}/cpu.max": "max 100000", f"{CGROUP}/memory.max": "max"}, None, None),
        ("0::/a/b", {f"{CGROUP}/a/b/cpu.max": "400000 100000", f"{CGROUP}/a/cpu.max": "150000 100000"}, 1.5, None),
        ("0::/a/b", {f"{CGROUP}/a/b/memory.max": "7000", f"{CGROUP}/a/memory.high": "5000"}, None, 5000),
        # The host's path in a container that sees only its own group.
        ("0::/docker/0123", {f"{CGROUP}/cpu.max": "50000 100000"}, 0.5, None),
        ("0::/../../x", {f"{CGROUP}/memory.max": "9000"}, None, 9000),
        (
            "4:memory:/m\n2:cpu,cpuacct:/c\n0::/",
            {
                f"{CGROUP}/memory/m/memory.limit_in_bytes": "8000",
                f"{CGROUP}/memory/memory.limit_in_bytes": "9223372036854771712",
                f"{CGROUP}/cpu,cpuacct/c/cpu.cfs_quota_us": "300000",
                f"{CGROUP}/cpu,cpuacct/c/cpu.cfs_period_us": "100000",
            },
            3.0,
            8000,
        ),
        ("1:cpu:/", {f"{CGROUP}/cpu/cpu.cfs_quota_us": "-1", f"{CGROUP}/cpu/cpu.cfs_period_us": "100000"}, None, None),
        ("nonsense\n::\n", {f"{CGROUP}/cpu.max": "x y z", f"{CGROUP}/memory.max": ""}, None, None),
    ],
)
def test_the_least_of_all_control_groups_counts(
    tmp_path: Path, groups: str, files: dict[str, str], processors: float | None, memory: int | None
) -> None:
    assert device.quota(tree(tmp_path, groups, files)) == device.Quota(processors, memory)


def test_no_control_groups_is_no_quota(tmp_path: Path) -> None:
    assert device.quota(tmp_path) == device.Quota(None, None)


@pytest.mark.parametrize(("processors", "threads"), [(None, None), (0.2, 1), (1.0, 1), (1.5, 2), (8.0, 8)])
def test_part_of_a_processor_is_a_thread(processors: float | None, threads: int | None) -> None:
    assert device.Quota(processors, None).threads == threads


def test_a_device_is_what_the_quota_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = device.Probe(torch="2", cuda=[], memory=64 * 2**30, mps=False, cpu="Test CPU", threads=64)
    monkeypatch.setattr(device, "probe", lambda: whole)
    monkeypatch.setattr(device, "quota", lambda: device.Quota(3.5, 2 * 2**30))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    left = device.resolve("cpu")
    assert (left.threads, left.memory) == (4, 2 * 2**30)
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    assert device.resolve("cpu").threads == 64
    monkeypatch.setattr(device, "quota", lambda: device.Quota(None, None))
    assert device.resolve("cpu").memory == 64 * 2**30


@pytest.mark.parametrize(
    ("error", "lacking"),
    [
        (ImportError("libtorch_cuda.so: failed to map segment from shared object"), True),
        (OSError("libx.so: cannot allocate memory in static TLS block"), True),
        (MemoryError(), True),
        (ImportError("No module named 'torch'"), False),
        (ValueError("cannot allocate memory"), False),
    ],
)
def test_a_library_that_lacks_memory_is_recognised(error: BaseException, lacking: bool) -> None:
    assert device.is_out_of_addresses(error) is lacking


def test_too_few_addresses_are_refused_before_torch_aborts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "address_limit", lambda: 3_000_000_000)
    monkeypatch.setattr(device.sys, "executable", "false")
    with pytest.raises(ComputeError, match=r"this shell allows 3\.0 GB of addresses \(ulimit -v\)"):
        device.check_torch_loads()
    monkeypatch.setattr(device, "address_limit", lambda: None)
    device.check_torch_loads()


def machine(cuda: list[str], mps: bool) -> device.Probe:
    return device.Probe(torch="2", cuda=cuda, memory=8 * 2**30, mps=mps, cpu="Test CPU", threads=4)


@pytest.mark.parametrize(
    ("cuda", "mps", "choice", "kind", "name", "memory"),
    [
        (["A100", "H100"], True, "auto", "cuda", "A100", 8 * 2**30),
        ([], True, "auto", "mps", "Apple GPU", 2**30),
        ([], False, "auto", "cpu", "Test CPU", 2**30),
        (["A100"], True, "mps", "mps", "Apple GPU", 2**30),
        (["A100"], False, "cpu", "cpu", "Test CPU", 2**30),
    ],
)
def test_a_device_is_resolved_by_its_row(
    cuda: list[str], mps: bool, choice: str, kind: str, name: str, memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "probe", lambda: machine(cuda, mps))
    monkeypatch.setattr(device, "quota", lambda: device.Quota(None, 2**30))
    resolved = device.resolve(choice)
    assert (resolved.kind, resolved.name, resolved.memory) == (kind, name, memory)
    assert resolved.is_processor == (kind == "cpu")


@pytest.mark.parametrize("choice", ["cuda", "mps"])
def test_a_device_that_is_missing_is_refused(choice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "probe", lambda: machine([], False))
    with pytest.raises(UsageError, match=f"there is no {choice} device here") as caught:
        device.resolve(choice)
    assert caught.value.hint == "found: Test CPU; use --device auto or cpu"


def test_the_functions_of_a_device_are_those_of_its_module_of_torch() -> None:
    import torch

    modules = {"cpu": torch, "cuda": torch.cuda, "mps": torch.mps}
    assert {kind: device_kinds.torch_module(kind) for kind in device_kinds.DEVICES} == modules
    assert all(callable(module.get_rng_state) and callable(module.set_rng_state) for module in modules.values())
    assert device_kinds.synchronizer("cpu") is None
    assert device_kinds.synchronizer("cuda") is torch.cuda.synchronize
    assert device_kinds.synchronizer("mps") is torch.mps.synchronize


def test_a_device_that_is_added_is_a_choice_and_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    row = replace(device_kinds.DEVICES["mps"], names=lambda _: ["Toy"], precisions=("fp32", "fp4"))
    monkeypatch.setitem(device_kinds.DEVICES, "toy", row)
    monkeypatch.setattr(device, "probe", lambda: machine([], False))
    assert device.resolve(experiment({"device": "toy"}).device).name == "Toy"
    assert device.resolve("auto").kind == "toy"
    check_precision("fp4", "toy")
    with pytest.raises(UsageError, match="fp4 exists on toy only, not on cpu"):
        check_precision("fp4", "cpu")


def test_only_the_table_knows_the_devices_by_name() -> None:
    """Nothing else asks what a device is called: what can be done with it stands in its row."""
    package = Path(device.__file__).parents[1]
    asked = [
        (path.relative_to(package).as_posix(), node.lineno)
        for path in sorted(package.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Compare | ast.MatchValue | ast.Dict)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Constant) and inner.value in device_kinds.DEVICES
        if path.name not in ("device.py", "device_kinds.py")
    ]
    assert not asked
