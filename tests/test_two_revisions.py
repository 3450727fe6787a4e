"""The comparison of two revisions: equal trees are equal, and each kind of difference is found and named."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from tests import two_revisions
from tests.small_trainings import TRAININGS, Training
from tests.stored_differences import difference

RECORD = {
    "sha256": "1f",
    "id": "ab",
    "curve": [{"epoch": 1, "train_loss": 0.25}, {"epoch": 2, "train_loss": 0.125}],
    "versions": {"relubench": "0.1.0", "torch": "2.6"},
    "files": {"test_wrong.bin": "00"},
}

FACTS = {"relubench": json.dumps({"method": "rbm", "seconds": [1.0]})}
"""The header of the exported file."""


def stored(
    record: dict[str, Any] = RECORD, wrong: bytes = b"\0\1", seconds: float = 1.0, changed: str = "", value: float = 0.0
) -> dict[str, bytes]:
    """What a training left behind; the tensor `changed` has that value in its second column."""
    tensors = {"0.bias": np.zeros(2, np.float32), "0.weight": np.ones((2, 3), np.float32)}
    if changed:
        tensors[changed][..., 1] = value
    facts = {"relubench": FACTS["relubench"].replace("1.0", str(seconds))}
    weights = save(tensors, facts)
    return {
        "exported.safetensors": save({"0.bias": tensors["0.bias"]}, facts),
        "runs/ab/run.json": json.dumps(record).encode(),
        "runs/ab/test_wrong.bin": wrong,
        "runs/ab/weights.safetensors": weights,
    }


def test_what_the_clock_and_the_version_say_makes_no_difference():
    other = {**RECORD, "sha256": "2e", "versions": {"relubench": "0.2.0", "torch": "2.6"}, "files": {}}
    assert difference(stored(), stored(other, seconds=2.0)) is None


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({}, "only the first has exported.safetensors, and 1 more names differ"),
        ({**stored(), "runs/cd/run.json": b"{}"}, "only the second has runs/cd"),
        ({**stored(), "runs/ab/reconstructions.safetensors": b""}, "only the second has runs/ab/reconstructions"),
        (stored({**RECORD, "curve": RECORD["curve"][:1]}), "runs/ab/run.json: curve.1.epoch is 2 and absent"),
        (stored({**RECORD, "id": None}), 'runs/ab/run.json: id is "ab" and null'),
        (stored({**RECORD, "versions": {"relubench": "0.1.0", "torch": "2.7"}}), "run.json: versions.torch is"),
        (stored({**RECORD, "seconds": 1}), "run.json: seconds is absent and 1"),
        (stored({"id": "ab", "versions": {"torch": "2.6"}, "curve": RECORD["curve"]}), "in another order"),
        (stored(wrong=b"\0\3"), "runs/ab/test_wrong.bin: byte 1 is 0x01 and 0x03"),
        (stored(wrong=b"\0"), "runs/ab/test_wrong.bin: 2 and 1 bytes"),
        (
            stored(changed="0.weight", value=2.0),
            "runs/ab/weights.safetensors: 0.weight, value 1 is 1.0 and 2.0 (2 of 6 differ)",
        ),
        (stored(changed="0.bias", value=-0.0), "exported.safetensors: 0.bias, value 1 is 0.0 and -0.0 (1 of 2 differ)"),
        (
            {**stored(), "exported.safetensors": save({"0.bias": np.zeros(2, np.float64)}, FACTS)},
            'exported.safetensors: header: 0.bias.dtype is "F32" and "F64"',
        ),
        (
            {**stored(), "exported.safetensors": save({"0.bias": np.zeros(2, np.float32)}, {"relubench": "{}"})},
            'exported.safetensors: header: __metadata__.relubench.method is "rbm" and absent',
        ),
    ],
)
def test_the_first_difference_is_named(other: dict[str, bytes], said: str):
    told = difference(stored(), other)
    assert told is not None and said in told


def test_nothing_is_not_equal_to_nothing():
    assert difference({}, {}) == "nothing was stored"


def test_the_trainings_have_names_of_their_own():
    assert len({one.name for one in TRAININGS}) == len(TRAININGS) >= 10


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with the package as it is here, committed."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    for name in ("relubench", "presets"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(two_revisions.ROOT / name, tmp_path / "repository" / name, ignore=ignored)
    git(tmp_path / "repository", "init", "--quiet")
    commit(tmp_path / "repository")
    return tmp_path / "repository"


def git(repository: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(repository), *words], check=True, capture_output=True)


def commit(repository: Path) -> None:
    git(repository, "add", "--all")
    author = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    git(repository, *author, "commit", "--quiet", "--message", "A revision")


def test_a_tiny_training_at_equal_revisions_and_at_one_with_another_rounding(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    tiny = Training("tiny", "train --act tanh --model mlp-1x8 --batch-size 64 --epochs 1 --executor inline")
    monkeypatch.setattr(two_revisions, "TRAININGS", (tiny,))
    assert two_revisions.main(["HEAD", "."], repository) == 0
    assert capsys.readouterr().out == "tiny: equal (3 files; cpu, 1 thread)\n1 of 1 trainings are equal\n"

    (path,) = (repository / "relubench").rglob("families/classic.py")
    text = path.read_text()
    assert text.count("inplace=torch.tanh_,") == 1
    path.write_text(text.replace("inplace=torch.tanh_,", "inplace=lambda z: torch.tanh_(z).mul_(1.0001),"))
    commit(repository)
    assert two_revisions.main(["HEAD~1", "HEAD"], repository) == 1
    first, last = capsys.readouterr().out.splitlines()
    # The id is the same, and the first epoch is not.
    assert first.startswith("tiny: DIFFERS: runs/") and "/run.json: curve.0.train_loss is " in first
    assert last == "0 of 1 trainings are equal"


@pytest.mark.slow
def test_a_training_that_ends_too_fast_is_killed_earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tree = two_revisions.Tree(two_revisions.ROOT, tmp_path / "work")
    tree.prepare()
    seconds: list[float | None] = []
    kill = two_revisions.Tree.kill

    def kill_after(tree: two_revisions.Tree, *arguments: Any, everyone: bool) -> None:
        seconds.append(arguments[2])
        kill(tree, *arguments, everyone=everyone)

    monkeypatch.setattr(two_revisions.Tree, "kill", kill_after)
    monkeypatch.setattr(two_revisions, "KILL_ATTEMPTS", 2)
    with pytest.raises(two_revisions.Unusable, match=r"ended 2 times in .* before it could be killed"):
        tree.train(Training("tiny", "train --act tanh --model mlp-1x8 --batch-size 64 --epochs 1 --quiet", killed=True))
    # Where the command alone was killed, its worker may have ended the training before the second kill.
    assert seconds in ([None, 0.5], [None, 0.5, 0.5])
    seconds.clear()
    # Of a long one, whose epochs it does tell, no second attempt is needed.
    tree.kill_twice(Training("long", "train --act tanh --model mlp-2x64 --epochs 3000"), "cpu")
    assert seconds == [None, None]


def test_what_cannot_be_compared_is_not_equal(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert two_revisions.main(["HEAD", "no-such-revision"], repository) == 2
    assert capsys.readouterr().err.startswith("error: git archive no-such-revision")
    monkeypatch.setattr(two_revisions, "TRAININGS", (Training("wrong", "train --act rleu"),))
    assert two_revisions.main([".", "."], repository) == 1
    assert "wrong: failed: exit 2 in" in capsys.readouterr().out
    assert two_revisions.main([".", ".", "--only", "nothing"], repository) == 1
