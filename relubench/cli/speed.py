"""`relubench speed`: how fast each activation runs on this machine, beside the roof that is measured with it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relubench.cli import options, output
from relubench.cli.overrides import whole_number
from relubench.errors import ComputeError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relubench.activations import Choice
    from relubench.device import Device
    from relubench.timing.machine import Watch
    from relubench.timing.request import Request
    from relubench.timing.schedule import Session

OPERATORS = "Operators"

Act = Annotated[
    list[str] | None,
    typer.Option(
        "--act",
        metavar="NAME",
        autocompletion=options.completion.acts,
        rich_help_panel=OPERATORS,
        help="An activation to time, as in `relubench train`; give it several times, or names split at commas. relu is "
        "always timed with them. Default: all.",
    ),
]
SizeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--size",
        metavar="N",
        rich_help_panel=OPERATORS,
        help="Output elements (65536, 64k, 16M), or cache, last, memory (by this machine's caches), or sweep; several "
        "split at commas. Default: cache,last,memory, with --plot sweep.",
    ),
]
Dtype = Annotated[
    list[str] | None,
    typer.Option(
        "--dtype",
        metavar="fp32|fp16|bf16",
        rich_help_panel=OPERATORS,
        help="The type of the elements; several split at commas. Default: fp32.",
    ),
]
Pass = Annotated[
    list[str] | None,
    typer.Option(
        "--pass",
        metavar="NAME",
        rich_help_panel=OPERATORS,
        help="forward, backward, forward+backward, inplace, allocating (forward into new storage) or all; several "
        "split at commas. Default: forward,forward+backward.",
    ),
]
Compile = Annotated[
    bool,
    typer.Option(
        "--compile",
        rich_help_panel=OPERATORS,
        help="Time the form that torch.compile makes beside the eager one. Default: off.",
    ),
]
Threads = Annotated[
    str | None,
    typer.Option(
        "--threads", metavar="N", rich_help_panel=OPERATORS, help="Processor threads an operator may use. Default: 1."
    ),
]
RelCi = Annotated[
    str | None,
    typer.Option(
        "--rel-ci",
        metavar="P%",
        rich_help_panel=OPERATORS,
        help="Repeat until the 95 % interval of every ratio to relu (with --network to sigmoid) is narrower than this. "
        "Default: 2%.",
    ),
]
Budget = Annotated[
    str | None,
    typer.Option(
        "--budget",
        metavar="S",
        rich_help_panel=OPERATORS,
        help="Stop repeating after this many seconds, preparation not counted. Default: 60s, with --network 30s.",
    ),
]
Plot = Annotated[
    Path | None,
    typer.Option(
        "--plot",
        metavar="FILE",
        rich_help_panel=options.RESULT,
        help="Draw ns an element against size, with --network error against time, into this file (.png, .pdf or "
        ".svg). Default: no plot.",
    ),
]
Network = Annotated[
    bool,
    typer.Option(
        "--network",
        rich_help_panel=options.NETWORK,
        help="Train networks instead, as `relubench train` does, and tell the time an epoch and to an error, beside "
        "the article's. --act is then sigmoid,tanh,relu unless given. Default: off.",
    ),
]
Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="P%",
        rich_help_panel=options.NETWORK,
        help="The validation error to reach, with --network. Default: the lowest that every activation reaches.",
    ),
]

OF_OPERATORS = {
    "size": "--size",
    "dtype": "--dtype",
    "pass_": "--pass",
    "compile_": "--compile",
    "threads": "--threads",
}
OF_NETWORKS = {
    "dataset": "--dataset",
    "model": "--model",
    "protocol": "--protocol",
    "epochs": "--epochs",
    "batch_size": "--batch-size",
    "lr": "--lr",
    "seeds": "--seeds",
    "assignments": "--set",
    "data_dir": "--data-dir",
    "runs_dir": "--runs-dir",
    "target": "--target",
}
"""Flags that mean something with --network alone, and those that mean nothing with it."""


def speed(
    ctx: typer.Context,
    act: Act = None,
    size: SizeOption = None,
    dtype: Dtype = None,
    pass_: Pass = None,
    compile_: Compile = False,
    threads: Threads = None,
    rel_ci: RelCi = None,
    budget: Budget = None,
    seed: options.Seed = None,
    network: Network = False,
    target: Target = None,
    dataset: options.Dataset = None,
    model: options.Model = None,
    protocol: options.Protocol = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    lr: options.LearningRate = None,
    seeds: options.Seeds = None,
    assignments: options.Set = None,
    data_dir: options.DataDir = None,
    runs_dir: options.RunsDir = None,
    device: options.Device = None,
    format: options.Format = None,
    output_file: options.OutputFile = None,
    plot: Plot = None,
    quiet: options.Quiet = False,
) -> None:
    """Time every activation on this machine, beside relu, relu again, and the memory's measured roof."""
    place = output.choose(format, output_file)
    output.check_plot(plot)
    strangers = OF_OPERATORS if network else OF_NETWORKS
    if odd := next((flag for name, flag in strangers.items() if ctx.params.get(name)), None):
        raise UsageError(
            f"{odd} means nothing {'with' if network else 'without'} --network",
            f"leave {odd} out, or {'leave --network out' if network else 'add --network'}",
        )
    if network:
        from relubench.cli.speed_network import network as time_networks

        return time_networks(ctx.params, place, target, lambda one: _until(one, rel_ci, budget, None), plot, quiet)
    from relubench.activations import select
    from relubench.device import resolve
    from relubench.timing.machine import Watch, alone

    where = resolve(device or "auto")
    choices = select(act or ["all"])
    request = _request(where, choices, size or (["sweep"] if plot else None), dtype, pass_, compile_, threads)
    request = _until(request, rel_ci, budget, seed)
    say = (lambda text: None) if quiet else output.say
    with alone(lambda: say("another timing run is under way on this machine: waiting for it to end")):
        session = _prepare(request, choices, where)
        # Not before: what the compiler's processes do is not a neighbour's.
        watch = Watch()
        _measure(session, quiet)
    return _emit(session, watch, where, place, plot, quiet)


def _request(
    device: Device,
    choices: Sequence[Choice],
    size: list[str] | None,
    dtype: list[str] | None,
    pass_: list[str] | None,
    compile_: bool,
    threads: str | None,
) -> Request:
    """The checked request for what to measure; UsageError before anything is allocated."""
    from relubench.timing import request as asked
    from relubench.timing.machine import caches, free_memory

    passes: list[str] = [one for text in pass_ or asked.DEFAULT_PASSES for one in text.split(",")]
    passes = list(asked.PASSES) if "all" in passes else passes
    made = asked.Request(
        sizes=asked.parse_sizes(size or list(asked.NAMED_SIZES), caches(), device.kind),
        dtypes=asked.check_names("--dtype", dtype or ["fp32"], tuple(asked.DTYPES)),
        passes=asked.check_names("--pass", passes, asked.PASSES),
        compiled=compile_,
        threads=whole_number("--threads", threads, 1, 4096) if threads is not None else 1,
    )
    if threads is not None and device.kind != "cpu":
        raise UsageError(f"--threads {threads} means nothing on {device.kind}", "leave it out, or add --device cpu")
    columns = max(choice.columns for choice in choices)
    asked.check_memory(made, columns, device.memory, free_memory() if device.kind == "cpu" else None)
    if compile_:
        asked.check_compiler(device)
    return made


def _until(request: Request, rel_ci: str | None, budget: str | None, seed: str | None) -> Request:
    """The request with when to stop, and the seed of inputs and order."""
    from dataclasses import replace

    from relubench.config import MAX_SEED
    from relubench.timing.request import parse_number

    if rel_ci is not None:
        given = parse_number("--rel-ci", rel_ci, "%")
        request = replace(request, rel_ci=given / 100)
    if budget is not None:
        request = replace(request, budget_s=parse_number("--budget", budget, "s"))
    if seed is not None:
        request = replace(request, seed=whole_number("--seed", seed, 0, MAX_SEED))
    return request


def _prepare(request: Request, choices: Sequence[Choice], device: Device) -> Session:
    """Every form of every activation, compiled where asked, called once; ComputeError where none works."""
    import torch

    from relubench.timing.clocks import check_dtypes, choose_clock
    from relubench.timing.machine import caches
    from relubench.timing.schedule import prepare

    check_dtypes(request.dtypes, device.kind)
    # As the engine does while it trains.
    torch.set_flush_denormal(True)
    torch.set_num_threads(request.threads)
    clock = choose_clock(device.kind, request.threads)
    session = prepare(request, choices, device=device.kind, last_cache=caches().last, clock=clock)
    if not any(one.task and one.role == "activation" for cell in session.cells for one in cell.contestants):
        raise ComputeError("no activation could be measured", _why(session))
    return session


def _measure(session: Session, quiet: bool) -> None:
    import torch

    with torch.no_grad():
        for share in session.run():
            _progress(session, share, quiet)


def _why(session: Session) -> str:
    failures = {one.failure for cell in session.cells for one in cell.contestants if one.failure}
    return "; ".join(sorted(failures)) or "none of them has the form that --pass asks for"


def _progress(session: Session, share: float, quiet: bool) -> None:
    """A counter on a terminal."""
    if quiet or not sys.stderr.isatty():
        return
    open_cells = sum(not cell.done for cell in session.cells)
    cells = f"{open_cells} of {len(session.cells)} cells open"
    text = f"round {session.rounds + 1}, {cells}, {100 * share:.0f} % of the budget"
    sys.stderr.write(f"\r{text:<78}" if not session.ended else "\r" + " " * 78 + "\r")
    sys.stderr.flush()


def _emit(
    session: Session, watch: Watch, device: Device, target: output.Target, plot: Path | None, quiet: bool
) -> None:
    from relubench.reports.speed import Course, speed_report
    from relubench.timing import rows as made

    aa = made.against_itself(session)
    roofs = [(cell.size.name, cell.dtype, name, gb) for cell, name, gb in made.roofs_gb_per_s(session)]
    course = Course(
        clock=session.clock.name,
        ended=session.ended,
        rounds=session.rounds,
        seconds=session.seconds,
        budget_s=session.request.budget_s,
        rel_ci=session.request.rel_ci,
        aa_cells=aa.cells,
        aa_called=aa.called,
        aa_expected=aa.expected,
        aa_widest=aa.widest,
        roofs=roofs,
        warnings=[*watch.warnings(), *made.warnings(session)],
        sizes=[(one.name, one.elements) for one in session.request.sizes],
    )
    rows = [row.to_json() for row in made.rows(session)]
    report = speed_report(rows, made.runs(session), course, device=device.name)
    output.emit_report(report, target)
    if plot is not None:
        from relubench.reports.speed_plot import plot_speed

        plot_speed(rows, made.runs(session), plot, title=report.title)
    if not target.for_people and not quiet:
        for line in (*course.warnings, report.sentence):
            output.say(line)
