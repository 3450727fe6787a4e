"""The way in and out: help, version, imports, exit codes, pipes, unexpected errors."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import struct
import subprocess
import sys
import termios

import pytest

from tests.cli.fakes import ROOT, Cli, FakeStudy, program, shell

LATE = {"torch", "torchvision", "numpy", "scipy", "matplotlib", "sklearn"}
"""What no help may import; Typer itself imports pydantic once a command is parsed."""

WATCHED = """
import json, resource, sys
from relubench.__main__ import run
code = run(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([code, used.ru_utime + used.ru_stime, sorted(sys.modules)]), file=sys.stderr)
"""


def watched(*argv: str) -> tuple[int, float, set[str]]:
    """Exit code, processor seconds and imported modules of a command line."""
    ended = program(*argv, script=WATCHED)
    code, seconds, modules = json.loads(ended.stderr.splitlines()[-1])
    return code, seconds, set(modules)


@pytest.mark.parametrize("argv", [("--help",), ("-h",)])
def test_help_is_quick_and_imports_next_to_nothing(argv: tuple[str, ...]) -> None:
    # The least of three: other work on the machine adds to it and never takes away.
    tries = [watched(*argv) for _ in range(3)]
    code, _, modules = tries[0]
    assert code == 0
    assert not modules & (LATE | {"pydantic", "yaml"})
    assert min(seconds for _, seconds, _ in tries) < 1.0


@pytest.mark.parametrize(
    ("argv", "late"),
    [
        (("train", "--help"), LATE),
        (("list", "activations"), {"torch", "torchvision"}),
        (("list", "datasets"), {"torch", "torchvision"}),
        (("list", "models"), {"torch", "torchvision"}),
        (("runs",), {"torch", "torchvision"}),
    ],
)
def test_what_computes_nothing_imports_no_torch(argv: tuple[str, ...], late: set[str]) -> None:
    code, _, modules = watched(*argv)
    assert code == 0
    assert not modules & late


def test_version(cli: Cli) -> None:
    assert cli("--version").out == "relubench 0.1.0\n"


@pytest.mark.parametrize("command", [(), ("train",), ("list",), ("runs",), ("runs", "show"), ("doctor",)])
def test_short_help_everywhere(cli: Cli, command: tuple[str, ...]) -> None:
    ended = cli(*command, "-h")
    assert ended.code == 0
    assert "Usage: relubench" in ended.out
    assert ended.err == ""


def test_no_command_shows_help(cli: Cli) -> None:
    ended = cli()
    assert ended.code == 0
    assert "train" in ended.out


BAD = [
    (("trian",), "there is no command called 'trian'", "did you mean train"),
    (("runs", "shw"), "there is no command called 'shw'", "did you mean show"),
    (("--vrsion",), "there is no option --vrsion in `relubench`", "did you mean --version"),
    (("train", "--epoch", "3"), "there is no option --epoch in `relubench train`", "did you mean --epochs"),
    (("train", "--epochs"), "--epochs needs a value", "--epochs VALUE"),
    (("train", "extra"), "extra", "see `relubench train --help`"),
    (("train", "--epochs", "abc"), "--epochs must be a whole number, got 'abc'", "--epochs 30"),
    (("train", "--epochs", "1.5"), "--epochs must be a whole number, got '1.5'", "--epochs 30"),
    (("train", "--epochs", "0"), "--epochs should be greater than or equal to 1, got 0", "--epochs"),
    (("train", "--batch-size", "-3"), "--batch-size should be greater than or equal to 1, got -3", "--batch-size"),
    (("train", "--lr", "fast"), "--lr must be a number or auto, got 'fast'", "--lr 0.01"),
    (("train", "--lr", "0"), "--lr", "--lr"),
    (("train", "--lr", "nan"), "--lr", "--lr"),
    (("train", "--dropout", "2"), "--dropout should be less than 1, got 2.0", "--dropout"),
    (("train", "--optimizer", "sdg"), "--optimizer must be one of sgd, adam, adamw, got 'sdg'", "did you mean sgd"),
    (
        ("train", "--protocol", "old"),
        "--protocol must be one of paper, modern, transformer, got 'old'",
        "--protocol paper",
    ),
    (("train", "--device", "tpu"), "--device must be one of auto, cpu, cuda, mps, got 'tpu'", "--device"),
    (("train", "--seeds", "3", "--seed", "1"), "--seeds 3 and --seed 1 exclude each other", "--seeds N"),
    (("train", "--seeds", "0"), "--seeds must be 1 to 10000, got 0", "--seeds 5"),
    (("train", "--seeds", "10001"), "--seeds must be 1 to 10000, got 10001", "--seeds 5"),
    (("train", "--seed", "-1"), "--seed must be 0 to 2147483647, got -1", "--seed"),
    (("train", "--set", "foo"), "--set needs key.path=value, got 'foo'", "--set train.momentum=0.9"),
    (
        ("train", "--set", "train=3", "--epochs", "1"),
        "train cannot be 3 and have keys of its own (epochs)",
        "one by one",
    ),
    (("train", "--set", "train.epochs=7", "--epochs", "3"), "--epochs 3 and --set train.epochs=7 exclude", "leave one"),
    (("train", "--set", "seeds=[4]", "--seed", "1"), "--seed 1 and --set seeds=[4] exclude", "leave one"),
    (("train", "--set", "act=[tanh]", "--act", "relu"), "--act relu and --set act=['tanh'] exclude", "leave one"),
    (("train", "--set", "model.sign_flip=false", "--sign-flip"), "--sign-flip and --set model.sign_flip=", "leave one"),
    (("run", "depth", "--set", "seeds=[4]", "--seeds", "2"), "--seeds 2 and --set seeds=[4] exclude", "leave one"),
    (("train", "--set", "train.l1=1", "--set", "train.l1=2"), "--set train.l1 is given twice: 1 and 2", "leave one"),
    (("train", "--set", "seeds=3"), "seeds should be a list, got 3", "seeds=[VALUE, ...]"),
    (("train", "--init", "xavir"), "or 'uniform:B' with a bound B above 0, got 'xavir'", "did you mean xavier?"),
    (("train", "--set", "train.lrr=1"), "there is no configuration key train.lrr", "train.lr"),
    (
        ("train", "--optimizer", "adam", "--momentum", "0.9"),
        "momentum (=0.9) belongs to the optimizer sgd",
        "change one",
    ),
    (("train", "--format", "jsn"), "there is no format called 'jsn'", "did you mean json"),
    (("train", "--output", "x.foo"), "--output x.foo: the suffix does not say the format", ".json"),
    (("train", "--output", "/nowhere/x.json"), "--output /nowhere/x.json: there is no folder /nowhere", "mkdir"),
    (("train", "--output", "/"), "--output / is a folder", "name of a file"),
    (("train", "--plot", "x.foo"), "--plot x.foo: the suffix does not say the format", ".png"),
    (("train", "--plot", "/nowhere/x.png"), "--plot /nowhere/x.png: there is no folder /nowhere", "mkdir"),
    (("list",), "list needs to know what to list", "activations"),
    (("list", "modls"), "there is no list called 'modls'", "did you mean models"),
    (("list", "models", "--data-dir", "."), "--data-dir means nothing to the models", "list datasets"),
    (("runs", "show", "abc"), "there is no run 'abc'", "`relubench runs`"),
    (("runs", "--format", "json", "show", "abc"), "--format stands before `show`", "relubench runs show"),
    (("runs", "delete"), "runs delete needs one of ID..., --all and --unfinished", "`relubench runs`"),
]


@pytest.mark.parametrize(("argv", "error", "hint"), BAD, ids=[" ".join(row[0]) for row in BAD])
def test_bad_usage_is_two_lines_and_exit_2(
    cli: Cli, study: FakeStudy, argv: tuple[str, ...], error: str, hint: str
) -> None:
    ended = cli(*argv)
    assert ended.code == 2
    assert ended.out == ""
    lines = ended.err.splitlines()
    assert len(lines) == 2, ended.err
    assert lines[0].startswith("error: ")
    assert error in lines[0]
    assert lines[1].startswith("hint: ")
    assert hint in lines[1]


class Broken(FakeStudy):
    """A study that cannot even be opened."""

    def fail(self, error: BaseException) -> None:
        self.error = error

    def open(self, config: object, **asked: object) -> FakeStudy:
        raise self.error


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("what\nnow"), 1, "error: internal error: ValueError: what now\nhint: run again with --debug"),
        (MemoryError(), 1, "error: memory ran out\nhint: use a smaller --batch-size"),
        (OSError(errno.ENOSPC, "full", "/disk/x"), 1, "error: no space left on the disk /disk/x\nhint: free some"),
        (PermissionError(errno.EACCES, "no", "/x"), 1, "error: no permission to use /x\nhint: change"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_unexpected_errors(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, study: FakeStudy, error: BaseException, code: int, said: str
) -> None:
    broken = Broken()
    broken.fail(error)
    monkeypatch.setattr(sys.modules["relubench.experiments.study"], "Study", broken)
    ended = cli("train")
    assert (ended.code, ended.out) == (code, "")
    assert ended.err.startswith(said)
    assert "Traceback" not in ended.err
    for argv in (("--debug", "train"), ("train", "--debug")):
        traced = cli(*argv)
        assert traced.code == code
        assert "Traceback" in traced.err


def test_a_closed_pipe_is_quiet() -> None:
    ended = shell("relubench list datasets | head -1")
    assert ended.returncode in (0, 141)
    assert ended.stdout.startswith("name\tclasses")
    assert ended.stderr == ""


def test_a_pipe_that_nobody_reads_is_quiet() -> None:
    ended = shell("relubench list datasets | (exec <&-; sleep 1)")
    assert (ended.returncode, ended.stderr) == (141, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_a_full_disk_is_told() -> None:
    ended = shell("relubench list datasets > /dev/full")
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: no space left on the disk\nhint: ")
    assert len(ended.stderr.splitlines()) == 2


def test_a_narrow_encoding_does_not_crash() -> None:
    ended = program("list", "datasets", "--format", "table", PYTHONIOENCODING="ascii")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_completion_script_and_names() -> None:
    shown = program("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "_RELUBENCH_COMPLETE" in shown.stdout
    completed = program(
        _RELUBENCH_COMPLETE="complete_bash", COMP_WORDS="relubench train --dataset fash", COMP_CWORD="3"
    )
    assert completed.stdout.split() == ["fashion-mnist"]


def on_a_terminal(*argv: str, **environment: str) -> str:
    """What the program writes to a terminal that is 80 characters wide."""
    main_end, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    settings = {**os.environ, "TERM": "xterm-256color", **environment}
    command = [sys.executable, "-m", "relubench", *argv]
    ended = subprocess.run(
        command, stdout=terminal, stderr=subprocess.PIPE, cwd=ROOT, env=settings, timeout=300, check=True
    )
    os.close(terminal)
    text = b""
    with contextlib.suppress(OSError):
        while chunk := os.read(main_end, 65536):
            text += chunk
    os.close(main_end)
    assert ended.stderr == b""
    return text.decode().replace("\r\n", "\n")


def test_a_terminal_gets_a_table_in_colour_that_fits() -> None:
    shown = on_a_terminal("list", "models")
    assert "\x1b[" in shown
    assert "─" in shown
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert max(map(len, plain.splitlines())) <= 80


def test_no_color_and_columns_on_a_terminal() -> None:
    shown = on_a_terminal("list", "models", NO_COLOR="1", COLUMNS="60")
    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines())) <= 60


def test_ctrl_c_is_served_while_the_program_is_still_being_imported() -> None:
    script = """
import sys
class Interrupting:
    def find_spec(self, name, *_):
        if name == "typer":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupting())
from relubench.__main__ import main
sys.argv = ["relubench", "train"]
sys.exit(main())
"""
    ended = program(script=script)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "interrupted\n")
