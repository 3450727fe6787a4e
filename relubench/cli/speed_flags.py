"""The flags of `relubench speed` that set no field of the configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relubench.cli import options, output, pages
from relubench.cli.flag_table import SEED
from relubench.errors import EXIT_COMPUTE, EXIT_REGRESSION, UsageError

if TYPE_CHECKING:
    from relubench.cli.config_flags import ConfigFlags
    from relubench.reports.report import Report

OPERATORS = "Operators"
"""A heading of the help."""

Sizes = Annotated[
    list[str] | None,
    typer.Option(
        "--size",
        metavar="N",
        rich_help_panel=OPERATORS,
        help="Output elements (65536, 64k, 16M), or cache, last, memory (by this machine's caches), or sweep; several "
        "split at commas. Default: cache,last,memory, with --plot sweep.",
    ),
]
Dtypes = Annotated[
    list[str] | None,
    typer.Option(
        "--dtype",
        metavar="fp32|fp16|bf16",
        rich_help_panel=OPERATORS,
        help="The type of the elements; several split at commas. Default: fp32.",
    ),
]
Passes = Annotated[
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
        help="Time the form that torch.compile makes beside the eager one, of activations or (--network) of networks. "
        "Default: off.",
    ),
]
Threads = Annotated[
    str | None,
    typer.Option(
        "--threads", metavar="N", rich_help_panel=OPERATORS, help="Processor threads an operator may use. Default: 1."
    ),
]
Inputs = Annotated[
    str | None,
    typer.Option(
        "--inputs",
        metavar="RUN",
        rich_help_panel=OPERATORS,
        help="Time on recorded inputs too: pre-activations of this run's network on its validation data, drawn from "
        "their quantiles. Default: normal numbers only.",
    ),
]
RelCi = Annotated[
    str | None,
    typer.Option(
        "--rel-ci",
        metavar="P%",
        rich_help_panel=OPERATORS,
        help="Repeat until the 95 % interval of every ratio to relu (with --network to the first activation) is "
        "narrower than this. Default: 2%.",
    ),
]
Budget = Annotated[
    str | None,
    typer.Option(
        "--budget",
        metavar="S",
        rich_help_panel=OPERATORS,
        help="Stop repeating after this many seconds. With 48 or more, several processes measure one after the other, "
        "and the time in which they start counts too (not with --compile or on a GPU); with fewer, one process "
        "measures, and its start does not count. Default: 75s, with --network and --sparsity 30s, with --arithmetic "
        "10s.",
    ),
]
SpeedPlot = Annotated[
    Path | None,
    typer.Option(
        "--plot",
        metavar="FILE",
        callback=options.expanded,
        rich_help_panel=options.RESULT,
        help="Draw a figure into this file (.png, .pdf or .svg): ns an element against size; with --network error "
        "against time; with --sparsity time against zeros. Default: no plot.",
    ),
]
Network = Annotated[
    bool,
    typer.Option(
        "--network",
        rich_help_panel=options.NETWORK,
        help="Train networks instead, as `relubench train` does, and tell the time an epoch and to an error (for "
        "mlp-3x1000 on MNIST beside the article's); ratios are to the first activation. --act is then "
        "sigmoid,tanh,relu unless given. Default: off.",
    ),
]
Sparsity = Annotated[
    bool,
    typer.Option(
        "--sparsity",
        rich_help_panel=options.NETWORK,
        help="Train one network instead (--act is then relu unless given), and multiply its activations by the next "
        "layer's weights with and without their zeros: forward time against sparsity. Default: off.",
    ),
]
Arithmetic = Annotated[
    bool,
    typer.Option(
        "--arithmetic",
        rich_help_panel=OPERATORS,
        help="Time add, multiply, compare, divide, exp and log instead, beside the article's cycles. Default: off.",
    ),
]
TargetError = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="P%",
        rich_help_panel=options.NETWORK,
        help="The validation error to reach, with --network. Default: the lowest that every activation reaches.",
    ),
]


Baseline = Annotated[
    Path | None,
    typer.Option(
        "--baseline",
        metavar="FILE.json",
        callback=options.expanded,
        rich_help_panel=options.RESULT,
        help="An earlier result of the same command, for --fail-on. Default: none.",
    ),
]
FailOn = Annotated[
    str | None,
    typer.Option(
        "--fail-on",
        metavar="slower|faster|any[:P%]",
        rich_help_panel=options.RESULT,
        help="End with exit code 4 where a time has grown since the --baseline (or shrunk, or either) beyond noise, by "
        "more than so many per cent. Default: no gate.",
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        rich_help_panel=options.RESULT,
        help="End with exit code 1 where any row failed. Default: the rows say so, and the exit code is 0.",
    ),
]


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeedFlags:
    """What is timed, until when, and where data, runs and result lie."""

    size: Sizes = None
    dtype: Dtypes = None
    pass_: Passes = None
    compile_: Compile = False
    threads: Threads = None
    inputs: Inputs = None
    rel_ci: RelCi = None
    budget: Budget = None
    network: Network = False
    sparsity: Sparsity = False
    arithmetic: Arithmetic = False
    target_error: TargetError = None
    data_dir: options.DataDir = None
    runs_dir: options.RunsDir = None
    format: options.Format = None
    output_file: options.OutputFile = None
    plot: SpeedPlot = None
    report: options.ReportFile = None
    log: options.Logs = None
    caption: options.Caption = None
    quiet: options.Quiet = False
    baseline: Baseline = None
    fail_on: FailOn = None
    strict: Strict = False

    def gate(self) -> Callable[[Report], Report]:
        """What judges a timing against the --baseline; raises UsageError for a gate that cannot be."""
        if self.fail_on is None and self.baseline is None:
            return lambda report: report
        if self.fail_on is None or self.baseline is None:
            raise UsageError("--fail-on and --baseline belong together", "--baseline before.json --fail-on slower:5%")
        from relubench.reports.speed.gate import gated_speed, read_speed_rows
        from relubench.statistics.speed_gate import parse_speed_gate

        gate, before = parse_speed_gate(self.fail_on), read_speed_rows(self.baseline)
        return lambda report: gated_speed(report, before, gate)

    def end(self, report: Report) -> None:
        """Raises typer.Exit with code 4 where the gate found a regression, with code 1 under --strict for a failure."""
        from relubench.reports.speed.gate import has_slowed

        if has_slowed(report):
            raise typer.Exit(EXIT_REGRESSION)
        if self.strict and any(row.get("outcome") not in (None, "ok") for row in report.rows):
            raise typer.Exit(EXIT_COMPUTE)

    def target(self) -> output.Target:
        """Where the result goes; raises UsageError where it or the plot could not be written."""
        target = output.choose(self.format, self.output_file)
        output.check_plot(self.plot)
        pages.check_page(self.report)
        pages.check_logs(self.log)
        return target

    def note(self, text: str) -> None:
        """Say a line on stderr; nothing with --quiet."""
        if not self.quiet:
            output.say(text)

    def limits(self, config: ConfigFlags) -> dict[str, Any]:
        """Until when to measure (--rel-ci, --budget), and the seed of inputs and order, as far as they were typed."""
        seed = config.text(SEED.option)
        return {"rel_ci": self.rel_ci, "budget": self.budget, "seed": None if seed is None else SEED.value(seed)[0]}
