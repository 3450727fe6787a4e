"""A job names no path of this machine, and its JSON is enough to carry it out elsewhere, to the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relubench.executors.inline import InlineExecutor
from relubench.executors.job import Job
from relubench.executors.messages import Message
from relubench.executors.sources import SourceFile
from relubench.experiments.config import experiment
from relubench.experiments.study import Study
from relubench.runs.store import Store

ELSEWHERE = """
import json, sys
from pathlib import Path
from relubench.executors.job import Job
from relubench.executors.messages import to_json
from relubench.executors.tasks import messages_of
from relubench.runs.store import Store

for store, jobs in json.loads(Path(sys.argv[1]).read_text()).items():
    for job in jobs:
        for message in messages_of(Job.from_json(job), Store(Path(store))):
            print(json.dumps(to_json(message)), flush=True)
"""
"""A worker of another machine: it has a list of jobs for each of its stores."""

ACT = "from near import scale\ndef act(x): return scale() * x.relu()\n"
NEAR = (
    "from pathlib import Path\n\ndef scale():\n"
    "    return float(Path(__file__).with_name('scale.txt').read_text())\n# \xe9\n"
)
NET = (
    "import torch\nimport near\n\nclass Net(torch.nn.Module):\n"
    "    def __init__(self, num_classes=10):\n"
    "        super().__init__()\n"
    "        self.a, self.b = torch.nn.Linear(64, 8), torch.nn.Linear(8, num_classes)\n"
    "    def forward(self, x): return self.b(torch.relu(self.a(x.flatten(1)))) * near.scale()\n"
)
QUICK = {"train": {"epochs": 1, "batch_size": 100}, "model": {"name": "mlp-1x8"}}
KINDS: dict[str, dict[str, Any]] = {
    "digits": {"act": ["relu"], **QUICK},
    "digits, few labels": {"act": ["relu"], **QUICK, "data": {"labels": 100, "train_size": 500}},
    "an .npz file": {"act": ["relu"], **QUICK, "data": {"name": "./own.npz"}},
    "own activation": {"act": ["./lab/act.py:act"], **QUICK},
    "own network": {"act": ["relu"], **QUICK, "model": {"name": "./lab/net.py:Net"}},
    "pre-trained": {"act": ["tanh"], **QUICK, "pretrain": {"methods": ["dae"], "epochs": 1}},
    "under noise": {"act": ["relu"], **QUICK, "data": {"test_noise": [0.1]}},
}
MNIST = {"act": ["relu"], **QUICK, "data": {"name": "mnist", "train_size": 500}}


class Recording:
    """Carries out jobs here, and keeps their JSON."""

    def __init__(self, store: Store) -> None:
        self.inline, self.texts = InlineExecutor(store), list[str]()

    def run(self, jobs: Sequence[Job]) -> Generator[Message, None, None]:
        self.texts += [json.dumps(job.to_json()) for job in jobs]
        yield from self.inline.run(jobs)


def make_home(home: Path) -> None:
    """Make the folder where the command is given, with a user's own files."""
    (home / "lab").mkdir(parents=True)
    for name, text in (("act.py", ACT), ("near.py", NEAR), ("net.py", NET), ("scale.txt", "0.5")):
        (home / "lab" / name).write_text(text, encoding="utf-8")
    random = np.random.default_rng(0)
    x, y = random.integers(0, 256, (300, 4, 4), dtype=np.uint8), np.arange(300) % 3
    np.savez(home / "own.npz", x_train=x[:240], y_train=y[:240], x_test=x[240:], y_test=y[240:])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That folder, which the test works in."""
    make_home(tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


def texts_in(value: Any) -> Iterator[str]:
    """Every text among JSON values, the keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, content in value.items():
            yield from (key, *texts_in(content))
    elif isinstance(value, list):
        for content in value:
            yield from texts_in(content)


def jobs_of_a_study(values: dict[str, Any], store: Store) -> list[Any]:
    """Carry out a study here; the JSON of its jobs."""
    recording = Recording(store)
    study = Study.open(experiment({**values, "device": "cpu"}), runs_dir=store.root, executor=lambda _: recording)
    assert [event.message for event in study.run() if event.kind == "failed"] == []
    return [json.loads(text) for text in recording.texts]


def carried_out(jobs: dict[Path, list[Any]], folder: Path) -> list[Any]:
    """Carry out each store's jobs in a fresh process with another cache, which works in the folder; its messages."""
    folder.mkdir(exist_ok=True)
    (folder / "jobs.json").write_text(json.dumps({str(store): some for store, some in jobs.items()}))
    environment = {**os.environ, "RELUBENCH_CACHE_DIR": str(folder / "cache"), "TMPDIR": str(folder)}
    argv = [sys.executable, "-c", ELSEWHERE, str(folder / "jobs.json")]
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def contents(root: Path) -> dict[str, bytes]:
    """The stored runs, layers and results under noise, by path."""
    paths = [path for folder in ("runs", "stacks", "noise") for path in (root / folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


@dataclass(frozen=True)
class Places:
    """What each kind of study stored where it was asked for, and elsewhere, by the kind; and the JSON of its jobs."""

    jobs: dict[str, list[Any]]
    here: dict[str, dict[str, bytes]]
    elsewhere: dict[str, dict[str, bytes]]
    messages: list[Any]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    """All kinds of studies here; their jobs in one other process, which has the user's data but not his code."""
    folder = tmp_path_factory.mktemp("places")
    kinds = {**KINDS, "MNIST": MNIST} if "RELUBENCH_DATA_DIR" in os.environ else KINDS
    (folder / "away").mkdir()
    make_home(folder / "home")
    shutil.copy(folder / "home" / "own.npz", folder / "away")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder / "home")
        patch.setenv("RELUBENCH_CACHE_DIR", str(folder / "cache"))
        jobs = {kind: jobs_of_a_study(kinds[kind], Store(folder / f"here-{kind}")) for kind in kinds}
        messages = carried_out({folder / f"there-{kind}": jobs[kind] for kind in kinds}, folder / "away")
    here, there = ({kind: contents(folder / f"{side}-{kind}") for kind in kinds} for side in ("here", "there"))
    return Places(jobs, here, there, messages)


@pytest.mark.parametrize("kind", [*KINDS, "MNIST"])
def test_a_job_is_carried_out_elsewhere_to_the_same_bytes(kind: str, places: Places):
    if kind not in places.jobs:
        pytest.skip("needs RELUBENCH_DATA_DIR with MNIST")
    texts = [text for text in texts_in(places.jobs[kind]) if len(text) < 4096]
    assert texts and not [text for text in texts if Path(text).is_absolute() or "/places" in text]
    assert [message for message in places.messages if message["event"] == "failed"] == []
    here, there = places.here[kind], places.elsewhere[kind]
    assert sorted(here) == sorted(there) and any(name.endswith("test_wrong.bin") for name in here)
    assert here == there


def test_a_users_file_that_is_missing_or_another_elsewhere_fails_the_job(tmp_path: Path, home: Path):
    jobs = jobs_of_a_study(KINDS["an .npz file"], Store(tmp_path / "here"))
    away = tmp_path / "away"
    (missing,) = carried_out({tmp_path / "there": jobs}, away)
    assert missing["event"] == "failed" and "own.npz" in missing["message"]
    with np.load(home / "own.npz") as arrays:
        np.savez(away / "own.npz", **{**arrays, "x_train": arrays["x_train"] + 1})
    (other,) = carried_out({tmp_path / "there": jobs}, away)
    assert other["event"] == "failed" and "what has its name has another content" in other["message"]
    assert Store(tmp_path / "there").ids() == []


def test_another_file_of_that_name_elsewhere_is_not_taken_for_the_users_code(tmp_path: Path, home: Path):
    store = Store(tmp_path / "here")
    jobs = jobs_of_a_study(KINDS["own activation"], store)
    (tmp_path / "away" / "lab").mkdir(parents=True)
    (tmp_path / "away" / "lab" / "act.py").write_text("def act(x): return x.tanh()\n")
    carried_out({tmp_path / "there": jobs}, tmp_path / "away")
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


def test_a_source_that_was_altered_on_the_way_is_refused(tmp_path: Path, home: Path):
    (job,) = jobs_of_a_study(KINDS["own activation"], Store(tmp_path / "here"))
    assert [file["path"] for file in job["sources"][0]["files"]] == ["act.py", "near.py", "scale.txt"]
    outside = json.loads(json.dumps(job))
    job["sources"][0]["files"][0]["text"] += "# altered\n"
    digest = hashlib.sha256(ACT.encode()).hexdigest()
    outside["sources"][0]["files"][0] = asdict(SourceFile(path="../../act.py", digest=digest, text=ACT))
    altered, placed = carried_out({tmp_path / "there": [job, outside]}, tmp_path / "away")
    assert altered["event"] == "failed" and altered["message"] == "the source of act.py does not match its SHA-256"
    assert placed["event"] == "failed" and "would lie outside of its folder" in placed["message"]
    assert not list(tmp_path.glob("away/cache/act.py"))
