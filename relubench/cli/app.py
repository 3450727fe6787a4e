"""The program's commands. Importing this imports nothing that `--help` can do without."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from relubench.cli.ablate_sparsity import ablate_sparsity
from relubench.cli.check import check
from relubench.cli.choose import choose
from relubench.cli.compare import compare
from relubench.cli.doctor import doctor
from relubench.cli.learn import learn
from relubench.cli.listing import list_
from relubench.cli.pretrain import pretrain
from relubench.cli.rank import rank
from relubench.cli.report import report
from relubench.cli.run import run
from relubench.cli.runs import runs
from relubench.cli.show import show
from relubench.cli.signature import with_single_flags
from relubench.cli.speed import speed
from relubench.cli.train import train
from relubench.cli.verify import verify
from relubench.system.lookup import find
from relubench.version import __version__

HELP_NAMES = {"help_option_names": ["-h", "--help"]}


COMMANDS: dict[str, Callable[..., None]] = {
    "train": train,
    "pretrain": pretrain,
    "ablate-sparsity": ablate_sparsity,
    "choose": choose,
    "compare": compare,
    "rank": rank,
    "check": check,
    "report": report,
    "run": run,
    "learn": learn,
    "speed": speed,
    "verify": verify,
    "list": list_,
    "doctor": doctor,
}
"""Name of a command -> its function."""


class LazyCommand(TyperCommand):
    """A command of COMMANDS whose parameters are built when they are first needed.

    They take the schema of the configuration, and the program's own help needs none of them.
    """

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        del self.params, self.callback

    def __getattr__(self, name: str) -> Any:
        if name not in ("params", "callback"):
            raise AttributeError(name)
        program = typer.Typer(add_completion=False)
        program.command(self.name)(with_single_flags(COMMANDS[self.name or ""]))
        command = typer.main.get_command(program)
        self.params, self.callback = command.params, command.callback
        return getattr(self, name)


class Commands(TyperGroup):
    """A group that refuses an unknown command like any other unknown name."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if not ctx.resilient_parsing and not args[0].startswith("-"):
            find(args[0], self.commands, kind="command", see=f"see `{ctx.command_path} --help`")
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, with each paragraph of its help in one line: Typer keeps the breaks of the source in some."""
        command = super().get_command(ctx, cmd_name)
        if command is not None and command.help:
            paragraphs = inspect.cleandoc(command.help).split("\n\n")
            command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        return command


def _print_version(is_asked_for: bool) -> None:
    if is_asked_for:
        typer.echo(f"relubench {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; may stand before or after the command.")
    ] = False,
) -> None:
    """Benchmark activation functions: fair training, honest intervals, beside the published numbers."""


app = typer.Typer(
    name="relubench",
    cls=Commands,
    callback=_root,
    context_settings=HELP_NAMES,
    pretty_exceptions_enable=False,
    epilog="For example: relubench train --act relu --act gelu --dataset mnist --seeds 5",
)
for name, function in COMMANDS.items():
    app.command(name, cls=LazyCommand, help=function.__doc__)(lambda: None)
app.add_typer(runs, name="runs", cls=Commands)
app.add_typer(show, name="show", cls=Commands)
