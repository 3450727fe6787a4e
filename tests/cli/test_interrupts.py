"""Ctrl-C at any moment: exit code 130, no traceback, no half of a result."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time

import pytest

from relubench.system.interrupts import UninterruptedBlock
from tests.cli.fakes import ROOT, program

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")

AT_AN_IMPORT = """
import os, signal, sys
class Interrupting:
    left = int(sys.argv.pop(1))
    def find_spec(self, name, *_):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)
from relubench.__main__ import main
sys.meta_path.insert(0, Interrupting())
sys.argv[0] = "relubench"
sys.exit(main())
"""


@pytest.mark.parametrize("number", [1, 7, 60, 150, 260])
def test_ctrl_c_at_an_import_of_the_program(number: int) -> None:
    ended = program(str(number), "list", "datasets", script=AT_AN_IMPORT)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "interrupted\n")


AT_THE_FIRST_IMPORTS = """
import os, signal, sys
class Interrupting:
    name = sys.argv.pop(1)
    def find_spec(self, name, *_):
        if name == self.name:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
sys.argv[0] = "/usr/bin/relubench"
from relubench.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize("name", ["relubench.errors", "relubench.system", "relubench.system.interrupts"])
def test_ctrl_c_before_the_program_has_imported_anything(name: str) -> None:
    ended = program(name, "list", "datasets", script=AT_THE_FIRST_IMPORTS)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "interrupted\n")


def test_importing_the_program_leaves_ctrl_c_as_it_is() -> None:
    import _signal

    before = _signal.getsignal(_signal.SIGINT)
    importlib.reload(importlib.import_module("relubench.__main__"))
    assert _signal.getsignal(_signal.SIGINT) is before


@pytest.mark.parametrize("number", [900])
def test_ctrl_c_while_torch_is_imported(number: int) -> None:
    ended = program(str(number), "verify", "--act", "relu", "--dtype", "bf16", script=AT_AN_IMPORT)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "interrupted\n")


@pytest.mark.parametrize("seconds", [0.0, 0.4, 0.9, 1.6])
def test_ctrl_c_in_the_first_seconds_of_a_training(seconds: float) -> None:
    # Started as the program's first line, so that the time is the program's own and not Python's.
    script = (
        "import sys; sys.stdout.write('.'); sys.stdout.flush()\n"
        "from relubench.__main__ import main\nsys.argv[0] = 'relubench'\nsys.exit(main())"
    )
    argv = ["train", "--act", "relu,tanh", "--model", "mlp-1x8", "--epochs", "100000", "--device", "cpu"]
    running = subprocess.Popen(
        [sys.executable, "-c", f"from relubench import __main__\n{script}", *argv],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert running.stdout is not None
    running.stdout.read(1)
    time.sleep(seconds + 0.02)
    # As a terminal does it: to every process that it started.
    os.killpg(running.pid, signal.SIGINT)
    out, err = running.communicate(timeout=300)
    assert (running.returncode, out) == (130, ""), err
    assert "Traceback" not in err and "KeyboardInterrupt" not in err


WHILE_PREPARING = """
import os, signal, sys
from relubench.__main__ import main
import relubench.experiments.study as runner
def interrupted(*given, **named):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass
    except KeyboardInterrupt:
        if kind == "swallowed":
            raise ImportError("initialization failed") from None
        raise
kind = sys.argv.pop(1)
runner.make_ready = interrupted
sys.argv[0] = "relubench"
sys.exit(main())
"""


COMMANDS_THAT_PREPARE = (
    ("train", "--model", "mlp-1x8"),
    ("train", "--no-cache", "--quiet"),
    ("pretrain", "--model", "mlp-1x8"),
    ("run", "depth"),
    ("ablate-sparsity", "--nets", "20", "--dataset", "digits"),
    ("speed", "--network"),
    ("speed", "--sparsity", "--dataset", "digits"),
)


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        *(("raised", command) for command in COMMANDS_THAT_PREPARE),
        # A library that makes another error of it: what is done about that does not depend on the command.
        *(("swallowed", command) for command in COMMANDS_THAT_PREPARE[::5]),
    ],
)
def test_ctrl_c_before_the_first_run_says_how_to_go_on(kind: str, command: tuple[str, ...]) -> None:
    ended = program(kind, *command, script=WHILE_PREPARING)
    assert (ended.returncode, ended.stdout) == (130, ""), ended.stderr
    told = "interrupted while the runs were prepared; the same command goes on from here"
    assert ended.stderr.splitlines()[-1] == told


WHILE_WRITING = """
import sys
from relubench.cli import output
from relubench.system import interrupts
interrupts.serve()
try:
    output.emit("x" * 1_000_000 + "end", output.Target(format="json"))
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize(("stop", "unbuffered"), [(signal.SIGINT, ""), (signal.SIGTERM, "1")])
def test_a_result_is_written_whole(stop: signal.Signals, unbuffered: str) -> None:
    running = subprocess.Popen(
        [sys.executable, "-c", WHILE_WRITING],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        bufsize=0,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    assert running.stdout is not None
    begin = running.stdout.read(1)
    # More than a pipe holds: it is in the middle of its writing until somebody reads on.
    running.send_signal(stop)
    rest = running.communicate(timeout=300)[0]
    assert (running.returncode, len(begin + rest)) == (130, 1_000_004)


def test_ctrl_c_in_a_destructor_is_served_after_it() -> None:
    script = """
import os, signal, sys, time
from relubench.system import interrupts
class Thing:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass
interrupts.serve()
try:
    thing = Thing()
    del thing
    time.sleep(200)
except KeyboardInterrupt:
    sys.exit(130)
"""
    ended = program(script=script)
    assert (ended.returncode, ended.stderr) == (130, "")


def test_an_error_that_ctrl_c_was_turned_into_is_an_interruption() -> None:
    script = """
import os, signal, sys
from relubench.__main__ import main
import relubench.cli.listing as module
def swallow(*given, **named):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass
    except KeyboardInterrupt:
        raise ImportError("initialization failed") from None
module.output.choose = swallow
sys.argv = ["relubench", "list", "models"]
sys.exit(main())
"""
    ended = program(script=script)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "interrupted\n")


def test_ctrl_c_while_python_ends_changes_nothing() -> None:
    script = """
import atexit, os, signal, sys
from relubench.__main__ import main
atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))
sys.argv = ["relubench", "--version"]
sys.exit(main())
"""
    ended = program(script=script)
    assert (ended.returncode, ended.stdout[:9], ended.stderr) == (0, "relubench", "")


def test_a_process_started_while_held_gets_no_ctrl_c() -> None:
    script = "import signal, sys; sys.exit(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, set()))"
    with UninterruptedBlock():
        held = subprocess.Popen([sys.executable, "-c", script])
    assert held.wait(300) == 1
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_an_ignored_ctrl_c_stays_ignored() -> None:
    script = f"""
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
{AT_AN_IMPORT}"""
    ended = program("30", "list", "formats", script=script)
    assert (ended.returncode, ended.stderr) == (0, "")
