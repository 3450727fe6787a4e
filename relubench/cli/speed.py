"""`relubench speed`: how fast each activation runs on this machine, beside the roof that is measured with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from relubench.cli import options
from relubench.cli.config_flags import ConfigFlags, offer
from relubench.cli.flag_table import FLAGS, SEED
from relubench.cli.speed_flags import OPERATORS, SpeedFlags
from relubench.errors import UsageError

ACT = replace(
    FLAGS["act"],
    heading=OPERATORS,
    help="An activation to time, as in `relubench train`; give it several times, or names split at commas. relu is "
    "always timed with them, and has a row.",
    default="all",
)
METHOD = replace(
    FLAGS["pretrain.methods"],
    heading=options.NETWORK,
    help="How hidden layers are pre-trained, as in `relubench pretrain`, with --network; several split at commas.",
    default="none",
)
OFFERED = offer(
    *(ACT, "--size", "--dtype", "--pass", "--compile", "--threads", "--rel-ci", "--budget", SEED),
    *("--network", "--sparsity", "--arithmetic", "--target", METHOD, "data.name", "model.name", "model.keep_act"),
    *("train.protocol", "train.epochs", "train.batch_size", "train.lr", "seeds", "--set", "--data-dir", "--runs-dir"),
    "device",
)
"""The fields of the configuration that have a flag, in the order of the help."""

OPERATOR_FLAGS = ("--size", "--dtype", "--pass", "--compile", "--threads")
NETWORK_FLAGS = (
    *("--dataset", "--model", "--protocol", "--epochs", "--batch-size", "--lr", "--seeds", "--set"),
    *("--data-dir", "--runs-dir"),
)
MODES = {
    "": (*OPERATOR_FLAGS, "--act", "--plot"),
    "--network": (*NETWORK_FLAGS, "--target", "--method", "--act", "--plot", "--keep-act"),
    "--sparsity": (*NETWORK_FLAGS, "--act", "--plot"),
    "--arithmetic": (),
}
"""What is timed -> the flags that mean something then; flags of no mode mean something always."""


def speed(ctx: typer.Context, config: Annotated[ConfigFlags, OFFERED], flags: SpeedFlags) -> None:
    """Time every activation on this machine, and compare it with relu and with the speed of the memory."""
    target = flags.target()
    mode = _mode(flags)
    _check_flags(mode, ctx)
    from relubench.system.device import check_torch_loads

    check_torch_loads()
    match mode:
        case "--network":
            from relubench.cli.speed_network import time_networks as measure
        case "--sparsity":
            from relubench.cli.speed_sparsity import time_products as measure
        case "--arithmetic":
            from relubench.cli.speed_arithmetic import time_arithmetic as measure
        case _:
            from relubench.cli.speed_operators import time_operators as measure
    measure(config, flags, target)


def _mode(flags: SpeedFlags) -> str:
    """The flag of what is timed instead of operators, or nothing; UsageError for several."""
    switches = {"--network": flags.network, "--sparsity": flags.sparsity, "--arithmetic": flags.arithmetic}
    modes = [option for option, is_on in switches.items() if is_on]
    if len(modes) > 1:
        raise UsageError(f"{' and '.join(modes)} are different measurements", "ask for one at a time")
    return modes[0] if modes else ""


def _check_flags(mode: str, ctx: typer.Context) -> None:
    """Raises UsageError for a flag that means nothing for what is timed."""
    typed_options = {parameter.opts[0] for parameter in ctx.command.params if ctx.params.get(parameter.name or "")}
    for option in dict.fromkeys(option for mode_options in MODES.values() for option in mode_options):
        if option in typed_options and option not in MODES[mode]:
            modes = [name for name, mode_options in MODES.items() if name and option in mode_options]
            context = f"with {mode}" if mode else f"without {' or '.join(modes)}"
            raise UsageError(
                f"{option} means nothing {context}", f"leave {option} out" + ("" if mode else f", or add {modes[0]}")
            )
