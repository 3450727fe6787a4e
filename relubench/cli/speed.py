"""`relubench speed`: how fast each activation runs on this machine, beside the roof that is measured with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from relubench.cli import options
from relubench.cli.config_flags import ConfigFlags, offer
from relubench.cli.flag_table import FLAGS, SEED
from relubench.cli.speed_flags import OPERATORS, SpeedFlags

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
    *(ACT, "--size", "--dtype", "--pass", "--compile", "--threads", "--inputs", "--rel-ci", "--budget", SEED),
    *("--network", "--sparsity", "--arithmetic", "--target", METHOD, "data.name", "model.name", "model.keep_act"),
    *("train.protocol", "train.epochs", "train.batch_size", "train.lr", "seeds", "--set", "--data-dir", "--runs-dir"),
    "device",
)
"""The fields of the configuration that have a flag, in the order of the help."""


def speed(ctx: typer.Context, config: Annotated[ConfigFlags, OFFERED], flags: SpeedFlags) -> None:
    """Time every activation on this machine, and compare it with relu and with the speed of the memory."""
    target = flags.target()
    from relubench.experiments.speed import choose_mode
    from relubench.system.device import check_torch_loads

    switches = {"--network": flags.network, "--sparsity": flags.sparsity, "--arithmetic": flags.arithmetic}
    typed_options = [parameter.opts[0] for parameter in ctx.command.params if ctx.params.get(parameter.name or "")]
    mode = choose_mode(switches, typed_options)

    check_torch_loads()
    from relubench.cli.speed_modes import MEASURES

    MEASURES[mode](config, flags, target)
