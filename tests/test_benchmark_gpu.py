"""benchmarks.gpu without a GPU: its budget, its failures, and on the processor a rehearsal of all of it."""

import contextlib
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """Imports a module of benchmarks.gpu; targets may be modules below tmp_path."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT), str(tmp_path)])
    return lambda name: importlib.import_module(f"benchmarks.gpu.{name}")


def setting_of(gpu, folder, seconds):
    return gpu("setting").Setting(device="cpu", small=False, seconds=seconds, folder=folder)


def part_of(gpu, name, target="", weight=1.0, least=0.0):
    return gpu("schedule").Part(name=name, target=target, weight=weight, least=least, title=name)


class Time:
    """A clock that moves when a part is carried out."""

    def __init__(self, spent):
        self.now, self.spent, self.allowed = 0.0, spent, {}

    def __call__(self):
        return self.now

    def run(self, part, setting, file):
        self.allowed[part.name] = setting.seconds
        self.now += self.spent[part.name]
        return {"outcome": "ok", "message": "", "rows": []}


def test_unused_time_goes_to_later_parts_and_overspent_time_is_taken_from_them(gpu, tmp_path):
    clock = Time({"quick": 10.0, "slow": 90.0, "last": 1.0})
    parts = [part_of(gpu, "quick", weight=2), part_of(gpu, "slow"), part_of(gpu, "last")]
    records = list(gpu("schedule").run_parts(parts, setting_of(gpu, tmp_path, 120.0), tmp_path, clock.run, clock))
    # 2 of 4 shares of 120 s; 1 of 2 of the other 110 s; then what is left.
    assert clock.allowed == {"quick": 60.0, "slow": 55.0, "last": 20.0}
    assert [record["seconds"] for record in records] == [10.0, 90.0, 1.0]


def test_a_part_without_enough_time_is_skipped_with_a_word_and_the_next_one_is_not(gpu, tmp_path):
    clock = Time({"first": 95.0, "last": 1.0})
    parts = [part_of(gpu, "first"), part_of(gpu, "large", least=30.0), part_of(gpu, "last")]
    records = list(gpu("schedule").run_parts(parts, setting_of(gpu, tmp_path, 100.0), tmp_path, clock.run, clock))
    assert [record["outcome"] for record in records] == ["ok", "skipped", "ok"]
    assert records[1]["message"] == "2 s were left for it"
    assert json.loads((tmp_path / "large.json").read_text())["outcome"] == "skipped"


PARTS = """
import os, signal, time
def good(setting):
    yield {"device": setting.device}
def bad(setting):
    yield {"row": 1}
    raise ValueError("no such kernel")
def crashing(setting):
    yield {"row": 1}
    print("a line before the end", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
def hanging(setting):
    if not os.fork():
        time.sleep(600)
    yield {"pid": os.getpid()}
    time.sleep(600)
"""


RUNS_THEM = """
import json, sys
from pathlib import Path
from benchmarks.gpu.process import run_in_process
from benchmarks.gpu.schedule import Part, run_parts
from benchmarks.gpu.setting import Setting
folder = Path(sys.argv[1])
names = ("bad", "crashing", "missing", "hanging", "good")
weights = {"hanging": 0.05}
parts = [
    Part(name=name, target=f"some_parts:{name}", weight=weights.get(name, 1.0), least=0.0, title=name) for name in names
]
setting = Setting(device="cpu", small=False, seconds=60.0, folder=folder)
print(json.dumps(list(run_parts(parts, setting, folder / "output", run_in_process))))
"""


def running_in_group(group):
    """The processes of a group; one that has ended and that nobody asked for is none."""
    stats = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            stats.append(file.read_text().rpartition(")")[2].split())
    return [stat for stat in stats if stat[2] == str(group) and stat[0] != "Z"]


def test_what_fails_crashes_or_hangs_costs_its_own_rows_only(gpu, tmp_path):
    (tmp_path / "some_parts.py").write_text(PARTS)
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    program = [sys.executable, "-c", RUNS_THEM, str(tmp_path)]
    ended = subprocess.run(
        program, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=300
    )
    records = json.loads(ended.stdout)
    by_name = {record["part"]: record for record in records}
    outcomes = {name: record["outcome"] for name, record in by_name.items()}
    expected = {"bad": "failed", "crashing": "failed", "missing": "failed", "hanging": "out of time", "good": "ok"}
    assert outcomes == expected, ended.stderr
    assert by_name["bad"]["message"] == "ValueError: no such kernel"
    assert "wait status 9" in by_name["crashing"]["message"]
    assert "a line before the end" in by_name["crashing"]["message"]
    assert "AttributeError" in by_name["missing"]["message"]
    assert by_name["bad"]["rows"] == by_name["crashing"]["rows"] == [{"row": 1}]
    assert by_name["good"]["rows"] == [{"device": "cpu"}]
    # A twentieth of what the others have left, 3 s; both of its processes are gone.
    assert by_name["hanging"]["seconds"] < 30
    assert not running_in_group(by_name["hanging"]["rows"][0]["pid"])
    for record in records:
        assert json.loads((tmp_path / "output" / f"{record['part']}.json").read_text()) == record
        assert bool(gpu("schedule").faults(record)) == (record["part"] != "good")


def test_a_row_with_an_error_is_a_fault_and_a_skipped_one_is_not(gpu):
    record = {"outcome": "ok", "message": "", "rows": [{"error": "too slow"}, {"skipped": "no jax"}, {"value": 1}]}
    assert gpu("schedule").faults(record) == ["too slow"]


def test_every_part_has_a_target(gpu):
    for part in gpu("parts").PARTS:
        module, _, function = part.target.partition(":")
        assert callable(getattr(importlib.import_module(module), function)), part.name


def test_packages_of_the_project_are_installed_and_an_unknown_one_is_missing(gpu):
    facts = gpu("facts")
    assert {"torch", "pydantic", "jax"} <= set(facts.requirements())
    assert facts.missing(["torch", "no-such-package-of-mine"]) == ["no-such-package-of-mine"]


@pytest.mark.slow
def test_the_rehearsal_on_a_processor_measures_every_part(tmp_path):
    arguments = ["--device", "cpu", "--small", "--budget", "400", "--output", str(tmp_path / "out")]
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    outcomes = {record["part"]: (record["outcome"], record["message"]) for record in summary["parts"]}
    assert set(outcomes.values()) == {("ok", "")}, outcomes
    assert ended.returncode == 0, ended.stdout
    assert summary["seconds"] < 400
    rows = {record["part"]: record["rows"] for record in summary["parts"]}
    assert all(row["equal"] for row in rows["members"])
    assert rows["kills"][-1]["same_bits"] and rows["kills"][-1]["kills"] == 4
    assert {row["peer"] for row in rows["single"]} >= {"relubench", "PyTorch", "PyTorch, torch.compile"}
    assert all("images_per_second" in row or "skipped" in row for row in rows["resnet18"] + rows["cnn"])
