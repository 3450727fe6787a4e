"""Paths that a user gives: ~ in each of them, names that are no text, names that are too long, folders, links."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from relubench.cli.app import app
from relubench.errors import UsageError
from relubench.system import paths
from tests.cli.fakes import Cli, FakeStudy, result


def path_flags(name: str = "", command: Any = None) -> Iterator[Any]:
    """Every flag and argument of every command whose value is a path, or several: its type, and what it calls."""
    command = command or get_command(app)
    for parameter in command.params:
        kind = parameter.type_descriptor.annotation
        if "pathlib.Path" in str(kind):
            yield pytest.param(kind, parameter.callback, id=f"{name} {parameter.name}")
    for word, inner in getattr(command, "commands", {}).items():
        yield from path_flags(f"{name} {word}".strip(), inner)


@pytest.mark.parametrize(("kind", "callback"), list(path_flags()))
def test_every_path_of_every_command_has_its_home(
    kind: Any, callback: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    several = str(kind).startswith("list")
    monkeypatch.setenv("HOME", str(tmp_path))
    expanded = callback(None, None, [Path("~/x"), Path("y")] if several else Path("~/x"))
    assert expanded == ([tmp_path / "x", Path("y")] if several else tmp_path / "x")
    with pytest.raises(UsageError, match=r"~nosuch-user/x: there is no user 'nosuch-user' here"):
        callback(None, None, [Path("~nosuch-user/x")] if several else Path("~nosuch-user/x"))


def test_there_are_paths_among_the_flags() -> None:
    assert len(list(path_flags())) > 25


def test_a_flag_with_an_equals_sign_has_its_home(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "inner").mkdir()
    assert cli("list", "formats", "--output=~/inner/f.json").code == 0
    assert (tmp_path / "inner" / "f.json").exists()
    assert str(tmp_path / "store") in cli("runs", "--runs-dir=~/store").err
    assert cli("runs", "--runs-dir=~nosuch-user/store").code == 2


@pytest.mark.parametrize(
    ("variable", "folder"), [("RELUBENCH_RUNS_DIR", paths.runs_root), ("RELUBENCH_CACHE_DIR", paths.cache_root)]
)
def test_variables_have_their_home(variable: str, folder: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(variable, "~/x")
    assert folder() == tmp_path / "x"


def test_a_data_folder_of_the_environment_has_its_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from relubench.data.files.locate import data_roots

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RELUBENCH_DATA_DIR", "~/x")
    (tmp_path / "y").mkdir()
    assert data_roots(None)[0] == tmp_path / "x"
    assert data_roots(Path("~/y"))[0] == tmp_path / "y"


@pytest.mark.skipif(os.name != "posix", reason="asks the password database")
def test_a_user_without_a_home_gets_no_folder_called_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd

    def unknown(user: int) -> None:
        raise KeyError(user)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "RELUBENCH_RUNS_DIR", "RELUBENCH_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    for folder in (paths.runs_root, paths.cache_root):
        with pytest.raises(UsageError, match="your home folder is not known here"):
            folder()
    with pytest.raises(UsageError, match="your home folder is not known here"):
        paths.user_path("~/x")


def test_a_file_that_is_called_tilde(tmp_path: Path) -> None:
    assert paths.user_path("./~x") == Path("./~x")
    assert paths.user_path(tmp_path / "~x") == tmp_path / "~x"


LONG, DEEP = "n" * 300, "/".join(["d" * 200] * 25)


@pytest.mark.parametrize("name", [LONG, DEEP], ids=["long", "deep"])
@pytest.mark.parametrize(
    "argv",
    [
        ("train", "--output", "{}.json"),
        ("train", "--plot", "{}.png"),
        ("train", "--runs-dir", "{}", "--model", "mlp-1x8"),
        ("train", "--act", "{}.py:f"),
        ("train", "--model", "./{}.py:Net"),
        ("pretrain", "--act", "relu", "--export", "{}"),
        ("run", "{}.yaml"),
        ("compare", "{}", "{}"),
        ("show", "data", "digits", "--output", "{}.png"),
    ],
    ids=lambda argv: " ".join(argv),
)
def test_names_that_are_too_long(cli: Cli, argv: tuple[str, ...], name: str) -> None:
    ended = cli(*(part.format(name) for part in argv))
    assert (ended.code, ended.out) == (2, ""), ended.err
    lines = ended.err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["error", "hint"]
    assert "internal" not in ended.err


NO_TEXT = os.fsdecode(b"caf\xe9\xff")
unix = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names are text here")


@unix
@pytest.mark.parametrize("suffix", ["json", "tsv", "txt", "md", "tex", "csv"])
def test_a_name_that_is_no_text_is_written(cli: Cli, study: FakeStudy, tmp_path: Path, suffix: str) -> None:
    study.script = [result("relu"), result("tanh")]
    path = tmp_path / f"{NO_TEXT}.{suffix}"
    assert cli("train", "--quiet", "--output", str(path)).code == 0
    assert path.read_text("utf-8")


@unix
@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (("compare", "{}", "{}"), 2),
        (("run", "{}.yaml"), 2),
        (("train", "--act", "./{}.py:f"), 2),
        (("train", "--dataset", "./{}/"), 3),
        (("pretrain", "--act", "relu", "--from", "{}"), 3),
        (("runs", "--runs-dir", "{}"), 0),
        (("runs", "--runs-dir", "{}", "--format", "table"), 0),
        (("runs", "show", "{}"), 2),
        (("train", "--act", "{}"), 2),
        (("train", "--set", "data.name={}"), 2),
    ],
    ids=lambda part: " ".join(part).replace(NO_TEXT, "X") if isinstance(part, tuple) else str(part),
)
def test_a_name_that_is_no_text_is_refused_like_any_other(cli: Cli, argv: tuple[str, ...], code: int) -> None:
    ended = cli(*(part.format(NO_TEXT) for part in argv))
    assert ended.code == code, ended.err
    assert "internal" not in ended.err
    assert code == 0 or [line.split(":")[0] for line in ended.err.splitlines()[-2:]] == ["error", "hint"]


@pytest.mark.skipif(os.name != "posix", reason="makes links")
def test_results_go_through_links_and_into_devices(cli: Cli, study: FakeStudy, tmp_path: Path) -> None:
    study.script = [result("relu")]
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    link.symlink_to(real)
    assert cli("train", "--quiet", "--output", str(link)).code == 0
    assert link.is_symlink() and real.read_text().startswith("{")
    dangling = tmp_path / "d.json"
    dangling.symlink_to(tmp_path / "absent" / "r.json")
    ended = cli("train", "--quiet", "--output", str(dangling))
    assert (ended.code, f"there is no folder {tmp_path / 'absent'}" in ended.err) == (2, True)
    study.results.clear()
    assert cli("train", "--quiet", "--format", "json", "--output", os.devnull).code == 0
    assert not Path(os.devnull).is_file()
    if Path("/dev/full").exists():
        study.results.clear()
        full = cli("train", "--quiet", "--format", "tsv", "--output", "/dev/full")
        assert full.code == 1
        assert full.out.startswith("activation\t")
        assert "--output /dev/full was not written: No space left on device" in full.err


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads /proc")
def test_a_result_for_dev_stdout_is_the_result(cli: Cli, study: FakeStudy) -> None:
    study.script = [result("relu")]
    ended = cli("train", "--quiet", "--format", "tsv", "--output", "/dev/stdout")
    assert (ended.code, ended.out[:11]) == (0, "activation\t")


def test_the_flags_of_every_command_are_read_in_full_lines(cli: Cli) -> None:
    """No help breaks a line where the source does."""
    for command in ("compare", "pretrain", "ablate-sparsity", "show run", "run"):
        shown = cli(*command.split(), "--help").out
        about = shown.partition("╭")[0]
        for paragraph in about.split("\n\n")[1:]:
            lines = [line.strip() for line in paragraph.strip().splitlines() if line.strip()]
            for line, following in itertools.pairwise(lines):
                # As wide as the next word allows.
                assert len(line) + 1 + len(following.split()[0]) > 78, (command, line)
