"""`relubench speed`: how fast each activation runs on this machine, beside the roof that is measured with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relubench.cli import options, output
from relubench.errors import UsageError

if TYPE_CHECKING:
    from relubench.timing.request import Request

OPERATORS = "Operators"

Act = Annotated[
    list[str] | None,
    typer.Option(
        "--act",
        metavar="NAME",
        autocompletion=options.completion.acts,
        rich_help_panel=OPERATORS,
        help="An activation to time, as in `relubench train`; give it several times, or names split at commas. relu is "
        "always timed with them, and has a row. Default: all.",
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
Plot = Annotated[
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
Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="P%",
        rich_help_panel=options.NETWORK,
        help="The validation error to reach, with --network. Default: the lowest that every activation reaches.",
    ),
]

Method = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        metavar="none|rbm|dae",
        rich_help_panel=options.NETWORK,
        help="How hidden layers are pre-trained, as in `relubench pretrain`, with --network; several split at commas. "
        "Default: none.",
    ),
]

NETWORK_FLAGS = {
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
}
OPERATOR_FLAGS = {
    "size": "--size",
    "dtype": "--dtype",
    "pass_": "--pass",
    "compile_": "--compile",
    "threads": "--threads",
}
MODES = {
    "": OPERATOR_FLAGS | {"act": "--act", "plot": "--plot"},
    "--network": NETWORK_FLAGS
    | {"target": "--target", "method": "--method", "act": "--act", "plot": "--plot", "keep_act": "--keep-act"},
    "--sparsity": NETWORK_FLAGS | {"act": "--act", "plot": "--plot"},
    "--arithmetic": {},
}
"""What is timed -> the flags that mean something then (parameter name -> flag); the others mean something always."""


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
    sparsity: Sparsity = False,
    arithmetic: Arithmetic = False,
    target: Target = None,
    method: Method = None,
    dataset: options.Dataset = None,
    model: options.Model = None,
    keep_act: options.KeepAct = None,
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
    """Time every activation on this machine, and compare it with relu and with the speed of the memory."""
    place = output.choose(format, output_file)
    output.check_plot(plot)
    mode = _mode(network=network, sparsity=sparsity, arithmetic=arithmetic)
    _check_flags(mode, ctx.params)
    from relubench.system.device import check_torch_loads

    check_torch_loads()
    from relubench.cli.speed_operators import operators, until

    def bounded(request: Request) -> Request:
        return until(request, ctx.params)

    match mode:
        case "--network":
            from relubench.cli.speed_network import network as time_networks

            time_networks(ctx.params, place, target, bounded, plot, quiet)
        case "--sparsity":
            from relubench.cli.speed_sparsity import sparsity as time_products

            time_products(ctx.params, place, bounded, plot, quiet)
        case "--arithmetic":
            from relubench.cli.speed_arithmetic import arithmetic as time_arithmetic

            time_arithmetic(ctx.params, place, bounded, quiet)
        case _:
            operators(ctx.params, place, plot, quiet)


def _mode(**asked: bool) -> str:
    """The flag of what is timed instead of operators, or nothing; UsageError for several."""
    chosen = [f"--{name}" for name, wanted in asked.items() if wanted]
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(chosen)} are different measurements", "ask for one at a time")
    return chosen[0] if chosen else ""


def _check_flags(mode: str, given: Mapping[str, Any]) -> None:
    """Raises UsageError for a flag that means nothing for what is timed."""
    every = {name: flag for flags in MODES.values() for name, flag in flags.items()}
    for name, flag in every.items():
        if given.get(name) and name not in MODES[mode]:
            modes = [one for one, flags in MODES.items() if one and name in flags]
            where = f"with {mode}" if mode else f"without {' or '.join(modes)}"
            raise UsageError(
                f"{flag} means nothing {where}", f"leave {flag} out" + ("" if mode else f", or add {modes[0]}")
            )
