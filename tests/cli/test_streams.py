"""Closed, full and narrow standard streams: the result is whole or the exit code says that it is not."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.fakes import ROOT, program, shell

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full and a POSIX shell")

TINY = ("train", "--act", "relu", "--model", "mlp-1x8", "--epochs", "1", "--batch-size", "200", "--device", "cpu")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a store that has the run of TINY."""
    folder = tmp_path_factory.mktemp("stored")
    places = {"RELUBENCH_RUNS_DIR": str(folder / "runs"), "RELUBENCH_CACHE_DIR": str(folder / "cache")}
    # Trained with a stderr that takes nothing, which is a case of its own.
    ended = redirected(TINY, "2>/dev/full", places)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("activation\t")
    return places


def redirected(argv: tuple[str, ...], how: str, places: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return shell(f"{shlex.join(['relubench', *argv])} {how}", **places)


COMMANDS = {"list": ("list", "formats"), "cached": TINY, "runs": ("runs",), "help": ("verify", "--help")}
ALL = ("list", "cached", "help")
CASES = [
    *((name, "<&-", 0) for name in ALL),
    *((name, "2>&-", 0) for name in ("cached", "runs")),
    *((name, "2>/dev/full", 0) for name in ("cached", "runs")),
    *((name, ">&-", 1) for name in ALL),
    *((name, ">/dev/full", 1) for name in ALL),
    ("cached", ">/dev/full 2>&1", 1),
    ("cached", "<&- >&- 2>&-", 1),
]


@pytest.mark.parametrize(("name", "how", "code"), CASES, ids=[f"{name} {how}" for name, how, _ in CASES])
def test_streams_that_are_closed_or_full(stored: dict[str, str], name: str, how: str, code: int) -> None:
    ended = redirected(COMMANDS[name], how, stored)
    assert ended.returncode == code, ended.stderr
    assert "internal error" not in ended.stderr and "Traceback" not in ended.stderr
    if code == 0:
        assert len(ended.stdout) > 80
    elif "2>" not in how:
        lines = ended.stderr.splitlines()[-2:]
        assert lines[0].startswith("error: ") and lines[1].startswith("hint: ")


@pytest.mark.parametrize("how", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_refusal_is_exit_2_on_any_streams(how: str) -> None:
    assert redirected(("train", "--act", "rleu"), how, {}).returncode == 2


def test_a_help_that_nobody_reads_is_quiet() -> None:
    ended = redirected(("train", "--help"), "| (exec <&-; sleep 1); exit ${PIPESTATUS[0]}", {})
    assert (ended.returncode, ended.stderr) == (141, "")


def test_a_file_does_not_get_what_a_closed_stderr_is_told(stored: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    ended = redirected((*TINY, "--output", str(path)), "2>&- >&-", stored)
    assert ended.returncode == 0
    assert path.read_text().startswith("{") and "stored already" not in path.read_text()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_table_in_a_narrow_encoding_is_readable_and_straight(stored: dict[str, str], encoding: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "relubench", *TINY, "--format", "table", "--quiet"],
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, **stored, "PYTHONIOENCODING": encoding},
        timeout=300,
        check=True,
    )
    shown = ended.stdout.decode(encoding)
    assert "\\x" not in shown and "\\u" not in shown
    assert "-------" in shown
    assert ("-" if encoding == "ascii" else "·") in shown.splitlines()[0]


def test_what_programs_read_is_utf_8_whatever_the_terminal(stored: dict[str, str]) -> None:
    plain = program("list", "activations", "--format", "tsv")
    narrow = program("list", "activations", "--format", "tsv", PYTHONIOENCODING="ascii")
    assert narrow.stdout == plain.stdout
    assert "Müller" in plain.stdout


def test_a_bare_c_locale_is_served() -> None:
    bare = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ended = program("list", "activations", "--format", "table", **bare)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Muller" in ended.stdout


def test_a_backend_of_matplotlib_that_is_not_there_does_not_matter(stored: dict[str, str], tmp_path: Path) -> None:
    plot = tmp_path / "curves.png"
    ended = program(*TINY, "--plot", str(plot), MPLBACKEND="nope", **stored)
    assert ended.returncode == 0, ended.stderr
    assert plot.read_bytes().startswith(b"\x89PNG")


READ_ONLY = """
import errno, os, sys
from pathlib import Path
def refuse(*given, **named):
    raise OSError(errno.EROFS, "Read-only file system")
Path.touch = Path.mkdir = Path.unlink = Path.replace = refuse
from relubench.__main__ import run
sys.exit(run(sys.argv[1:]))
"""


def test_a_read_only_store_answers_what_it_has_and_refuses_the_rest(stored: dict[str, str]) -> None:
    cached = program(*TINY, script=READ_ONLY, **stored)
    assert (cached.returncode, cached.stdout[:10]) == (0, "activation"), cached.stderr
    for more in (("--act", "tanh"), ("--lr", "auto")):
        ended = program(*TINY, *more, script=READ_ONLY, **stored)
        assert (ended.returncode, ended.stdout) == (2, ""), ended.stderr
        assert "cannot be written, and not all runs are stored: Read-only file system" in ended.stderr


@pytest.mark.parametrize("command", [("verify", "--act", "relu", "--dtype", "bf16"), (*TINY, "--no-cache")])
def test_too_little_memory_for_torch_is_told(stored: dict[str, str], command: tuple[str, ...]) -> None:
    line = shlex.join([sys.executable, "-m", "relubench", *command])
    ended = subprocess.run(
        ["bash", "-c", f"ulimit -v 900000; {line}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **stored, "OPENBLAS_NUM_THREADS": "1"},
        timeout=300,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.splitlines()[-2:] == [
        "error: there is too little memory to load torch: this shell allows 0.9 GB of addresses (ulimit -v)",
        "hint: ulimit -v unlimited",
    ]


LOUD = """
import atexit, ctypes, os, subprocess, sys
def loud():
    os.write(1, b"A-RAW\\n")
    ctypes.CDLL(None).puts(b"A-FROM-C")
    ctypes.CDLL(None).fflush(None)
    subprocess.run(["echo", "A-CHILD"])
    print("A-PRINT")
    sys.__stdout__.write("A-DUNDER\\n")
    sys.__stdout__.flush()
atexit.register(lambda: print("A-AT-EXIT"))
loud()
def act(x):
    loud()
    return x.relu()
"""


@pytest.fixture(scope="module")
def loud(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An activation that writes to stdout in every way there is, whenever it is imported and called."""
    path = tmp_path_factory.mktemp("loud") / "loud.py"
    path.write_text(LOUD)
    return path


@pytest.mark.parametrize(
    ("command", "how"), [("train", ""), ("train", "2>&-"), ("verify", ""), ("verify", "--output /dev/stdout")]
)
def test_what_own_code_writes_past_python_is_no_part_of_the_result(
    loud: Path, tmp_path: Path, command: str, how: str
) -> None:
    chosen = {"train": (*TINY[3:], "--no-cache", "--seed", "0"), "verify": ("--dtype", "bf16")}[command]
    places = {"RELUBENCH_RUNS_DIR": str(tmp_path / "runs"), "RELUBENCH_CACHE_DIR": str(tmp_path / "cache")}
    ended = redirected((command, "--act", f"{loud}:act", *chosen, "--format", "json"), how, places)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["rows"]
    if how != "2>&-":
        for kind in ("A-RAW", "A-FROM-C", "A-CHILD", "A-PRINT", "A-DUNDER", "A-AT-EXIT"):
            assert kind in ended.stderr


@pytest.mark.parametrize("redirection", ["</dev/null 2>/dev/null", ""])
def test_the_terminal_at_stdout_gives_width_and_colour(redirection: str) -> None:
    """Whatever the other streams are; a table that would be wider than the terminal folds."""
    import fcntl
    import pty
    import struct
    import termios

    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 60, 0, 0))
    values = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    command = shlex.join([sys.executable, "-m", "relubench", "list", "activations"])
    started = subprocess.Popen(
        ["bash", "-c", f"{command} {redirection}"], stdout=follower, cwd=ROOT, env={**values, "TERM": "xterm-256color"}
    )
    os.close(follower)
    shown = b""
    # A terminal without a writer fails with EIO on Linux, and ends elsewhere.
    with contextlib.suppress(OSError):
        while part := os.read(leader, 65536):
            shown += part
    os.close(leader)
    assert started.wait(300) == 0
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).splitlines()
    assert b"\x1b[" in shown and 50 < max(map(len, lines)) <= 60
