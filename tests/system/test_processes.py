"""Processes that are started: nothing of the working folder is in them, and their end is told by what is known."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from relubench.executors.local import LocalExecutor
from relubench.executors.messages import Failed, Started
from relubench.runs.store import Store
from relubench.system import processes
from relubench.system.processes import command, ending, environment, folder
from specs import CPU, job

TRAPS = ("json", "random", "types", "numpy", "torch", "typing", "signal", "pathlib", "string", "yaml", "rich", "tqdm")
MINE = "import json, random, types\nimport torch\ndef act(x): return torch.relu(x) * 1.25\n"


@pytest.fixture
def trapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder whose modules say so when they are executed."""
    for name in TRAPS:
        (tmp_path / f"{name}.py").write_text(f"import os\nos.write(2, b'executed {name}')\nraise RuntimeError\n")
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(code), env=environment(), cwd=folder(), capture_output=True, text=True, timeout=300, check=False
    )


def test_a_process_imports_nothing_of_the_working_folder(trapped: Path):
    done = run("import json, random, types, numpy, relubench.executors.local\nprint(relubench.__file__)")
    assert (done.stderr, done.returncode) == ("", 0)
    assert Path(done.stdout.strip()).samefile(Path(processes.__file__).parents[1] / "__init__.py")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the working folder cannot be deleted elsewhere")
def test_a_process_starts_where_the_working_folder_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    monkeypatch.setenv("PYTHONPATH", f"relative{os.pathsep}{tmp_path}")
    (tmp_path / "gone").rmdir()
    done = run("import os; print(os.getcwd())")
    assert (done.stdout.strip(), done.returncode) == (os.sep, 0), done.stderr


def test_what_the_user_put_on_the_search_path_is_searched_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "json.py").write_text("raise RuntimeError\n")
    (tmp_path / "lab" / "only_here.py").write_text("S = 2\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("lab")
    done = run("import json, only_here; print(only_here.S)")
    assert (done.stdout.strip(), done.returncode) == ("2", 0), done.stderr
    monkeypatch.setenv("PYTHONPATH", "lab")
    assert environment()["PYTHONPATH"] == str(tmp_path / "lab")


@pytest.mark.parametrize(
    ("code", "lacks", "words", "memory"),
    [
        (3, (0, 0), "ended with exit code 3: the last words", False),
        (0, (0, 0), "ended with exit code 0: the last words", False),
        (-11, (0, 0), "was ended by signal 11 (SIGSEGV): the last words", False),
        (-15, (0, 5), "was ended by signal 15 (SIGTERM): the last words", False),
        (-9, (2, 3), "was killed (SIGKILL), since memory ran out", True),
        (-9, (2, 2), "was killed (SIGKILL), most likely because memory ran out", True),
        (-9, (None, None), "was killed (SIGKILL), most likely because memory ran out", True),
        (-60, (0, 0), "was ended by signal 60: the last words", False),
    ],
)
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_an_end_is_told_by_what_is_known(
    code: int, lacks: tuple[int | None, int | None], words: str, memory: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(processes, "num_memory_kills", lambda: lacks[1])
    assert ending(code, lacks[0], "the last words") == (words, memory)


def test_the_kernels_count_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n")
    monkeypatch.setattr(processes, "_own_memory_events", lambda: str(tmp_path / "memory.events"))
    assert processes.num_memory_kills() == 2
    monkeypatch.setattr(processes, "_own_memory_events", lambda: "")
    monkeypatch.setattr(processes, "MEMORY_EVENTS", (str(tmp_path / "absent"),))
    assert processes.num_memory_kills() is None


DEATHS: dict[str, tuple[str, str]] = {
    "at its start": (
        "import sys; print('a line', file=sys.stderr); sys.exit('no such library')",
        "ended with exit code 1: a line / no such library",
    ),
    "by a signal": ("import os, signal; os.kill(os.getpid(), signal.SIGABRT)", r"was ended by signal 6 \(SIGABRT\)"),
    "by the kernel": (
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        r"was killed \(SIGKILL\), most likely",
    ),
}


@pytest.mark.parametrize("how", DEATHS)
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_workers_death_is_told(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    code, words = DEATHS[how]
    monkeypatch.setattr("relubench.executors.local.command", lambda _: [sys.executable, "-c", code])
    started, failed = LocalExecutor(CPU, Store(tmp_path)).run([job("relu", tmp_path)])
    assert isinstance(started, Started) and isinstance(failed, Failed)
    assert re.search(words, failed.message), failed.message
    assert ("--batch-size" in failed.hint) == (how == "by the kernel")
    assert capfd.readouterr().err == "", "what it wrote before it began is in the message alone"


@pytest.mark.parametrize("way", ["-m", "-P", "from a folder that is gone"])
def test_a_command_imports_nothing_of_the_working_folder_but_what_is_named(way: str, trapped: Path):
    if way == "-m":
        # What Python itself imports for -m comes before any of ours.
        (trapped / "types.py").unlink()
    mine = "./mine.py:act"
    if way not in ("-m", "-P"):
        mine = f"{trapped}/mine.py:act"
        (trapped / "gone").mkdir()
        os.chdir(trapped / "gone")
        (trapped / "gone").rmdir()
    argv = [*(["-P"] if way == "-P" else []), "-m", "relubench", "train", "--act", f"{mine},tanh"]
    argv += ["--model", "mlp-1x8", "--epochs", "1", "--seed", "0", "--format", "tsv"]
    done = subprocess.run([sys.executable, *argv], capture_output=True, text=True, timeout=300, check=False)
    assert "executed" not in done.stderr
    assert done.returncode == 0, done.stderr
    assert [line.split("\t")[0] for line in done.stdout.splitlines()[1:]] == [mine, "tanh"]
