"""The flags that the commands share, as the types of their parameters.

A value flag arrives as text and is None unless it was given: the defaults live in `config`, the texts below only quote
them (a test compares the two). What the text becomes is said in `overrides`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from relubench.cli import completion
from relubench.system.paths import user_path

TRAINING, NETWORK, RESULT = "Training", "Network and data", "Result and files"
"""Headings of the help."""


def expanded(path: Path | None) -> Path | None:
    """The path of a flag with ~ replaced: a shell does it for --runs-dir ~/x, and not for --runs-dir=~/x."""
    return user_path(path) if path is not None else None


def all_expanded(paths: list[Path]) -> list[Path]:
    """The paths of an argument that takes several, each with ~ replaced."""
    return [user_path(path) for path in paths]


Act = Annotated[
    list[str] | None,
    typer.Option(
        "--act",
        metavar="NAME",
        autocompletion=completion.acts,
        rich_help_panel=NETWORK,
        help="An activation to compare; give it several times, or names split at commas. Parameters follow colons "
        "(softplus:beta=3), an expression in x is a formula (x*sigmoid(x): see `relubench list functions`), * makes "
        "a pattern. The first one is what the others are compared with. Default: sigmoid, tanh, relu, gelu (pretrain: "
        "softplus in its place; ablate-sparsity: relu).",
    ),
]
Dataset = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="NAME",
        autocompletion=completion.datasets,
        rich_help_panel=NETWORK,
        help="The data set: a name of `relubench list datasets`, a .npz file or a folder of images. Default: digits.",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        autocompletion=completion.models,
        rich_help_panel=NETWORK,
        help="The network: mlp-3x1000, mlp-4000-2000, resmlp-20x100 (any depth and widths), cnn, torchvision:resnet18 "
        "and the like (`relubench list models`), or your own ./file.py:Net. Default: auto, the data set's own.",
    ),
]
Init = Annotated[
    str | None,
    typer.Option(
        "--init",
        metavar="SCHEME",
        rich_help_panel=NETWORK,
        help="The initial weights: auto (matches the gain to the activation), xavier, he, lecun or uniform; networks "
        "of torchvision and your own keep their own. Default: xavier, with --protocol modern auto.",
    ),
]
Norm = Annotated[
    str | None,
    typer.Option(
        "--norm",
        metavar="none|batch|layer|rms",
        rich_help_panel=NETWORK,
        help="A normalisation before each activation. Default: none.",
    ),
]
Dropout = Annotated[
    str | None,
    typer.Option(
        "--dropout",
        metavar="P",
        rich_help_panel=NETWORK,
        help="The probability of zeroing a hidden unit in training, from 0 to below 1. Default: 0.0.",
    ),
]
SignFlip = Annotated[
    bool | None,
    typer.Option(
        "--sign-flip",
        rich_help_panel=NETWORK,
        help="Multiply the outputs of half of the hidden units by -1, as in Glorot et al. 2011. Default: off.",
    ),
]
KeepAct = Annotated[
    list[str] | None,
    typer.Option(
        "--keep-act",
        metavar="PATH",
        rich_help_panel=NETWORK,
        help="Leave the activations of this part of a torchvision or own network as they are: a module's path "
        "(layer1.0.relu, layer1), * for anything; give it several times. Default: all are exchanged.",
    ),
]
Match = Annotated[
    str | None,
    typer.Option(
        "--match",
        metavar="parameters|width",
        rich_help_panel=NETWORK,
        help="What a gated network has as many of as a plain one: parameters, or units in a layer (width). Default: "
        "parameters.",
    ),
]
Augment = Annotated[
    str | None,
    typer.Option(
        "--augment",
        metavar="KIND",
        rich_help_panel=NETWORK,
        help="Random changes to the training images: none, crop, flip or crop+flip. Default: none.",
    ),
]
Protocol = Annotated[
    str | None,
    typer.Option(
        "--protocol",
        metavar="paper|modern",
        rich_help_panel=TRAINING,
        help="The set of training defaults: paper is Glorot et al. 2011 (sgd, batches of 10), modern is adamw with a "
        "cosine schedule and batches of 128. Default: paper.",
    ),
]
Optimizer = Annotated[
    str | None,
    typer.Option(
        "--optimizer",
        metavar="sgd|adam|adamw",
        rich_help_panel=TRAINING,
        help="The optimizer. Default: sgd, with --protocol modern adamw.",
    ),
]
LearningRate = Annotated[
    str | None,
    typer.Option(
        "--lr",
        metavar="X|auto",
        rich_help_panel=TRAINING,
        help="The learning rate; auto chooses it for each activation by validation error, on a seed that is not "
        "reported. Default: 0.1, with --protocol modern 0.001.",
    ),
]
Momentum = Annotated[
    str | None,
    typer.Option(
        "--momentum",
        metavar="X",
        rich_help_panel=TRAINING,
        help="The momentum of sgd, from 0 to below 1. Default: 0.0.",
    ),
]
WeightDecay = Annotated[
    str | None,
    typer.Option(
        "--weight-decay",
        metavar="X",
        rich_help_panel=TRAINING,
        help="The weight decay. Default: 0.0, with --protocol modern 0.01.",
    ),
]
BatchSize = Annotated[
    str | None,
    typer.Option(
        "--batch-size",
        metavar="N",
        rich_help_panel=TRAINING,
        help="The training images in a step. Default: 10, with --protocol modern 128.",
    ),
]
Epochs = Annotated[
    str | None,
    typer.Option(
        "--epochs", metavar="N", rich_help_panel=TRAINING, help="The passes over the training images. Default: 30."
    ),
]
Schedule = Annotated[
    str | None,
    typer.Option(
        "--schedule",
        metavar="constant|cosine",
        rich_help_panel=TRAINING,
        help="How the learning rate changes during training. Default: constant, with --protocol modern cosine.",
    ),
]
Patience = Annotated[
    str | None,
    typer.Option(
        "--patience",
        metavar="N",
        rich_help_panel=TRAINING,
        help="Stop a run after N epochs without a lower validation error. Default: train all epochs.",
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(
        "--precision",
        metavar="fp32|tf32|bf16",
        rich_help_panel=TRAINING,
        help="The arithmetic of the matrix products. Default: fp32.",
    ),
]
Probe = Annotated[
    str | None,
    typer.Option(
        "--probe",
        metavar="WHAT",
        rich_help_panel=TRAINING,
        help="What is looked at after each epoch and stored with the run: none, activations (zeros, dead units, "
        "saturation), gradients (their norms as well), regions (linear pieces as well) or all. Default: activations.",
    ),
]
Seeds = Annotated[
    str | None,
    typer.Option(
        "--seeds",
        metavar="N",
        rich_help_panel=TRAINING,
        help="Train each network N times, with the seeds 0 to N-1; an interval needs 2 or more. Default: 1.",
    ),
]
Seed = Annotated[
    str | None,
    typer.Option("--seed", metavar="S", rich_help_panel=TRAINING, help="Train with the one seed S. Default: 0."),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda|mps",
        rich_help_panel=TRAINING,
        help="Where to compute; auto takes a GPU if there is one. Default: auto.",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY.PATH=VALUE",
        rich_help_panel=TRAINING,
        help="Set any key of the configuration, for example train.l1=0.001; give it several times. What contradicts a "
        "flag is refused.",
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        callback=expanded,
        rich_help_panel=RESULT,
        help="A folder that holds data sets. Default: RELUBENCH_DATA_DIR, then the cache folder.",
    ),
]
RunsDir = Annotated[
    Path | None,
    typer.Option(
        "--runs-dir",
        metavar="DIR",
        callback=expanded,
        rich_help_panel=RESULT,
        help="The folder of stored runs. Default: RELUBENCH_RUNS_DIR, else the platform's folder for user data.",
    ),
]
Keep = Annotated[
    str | None,
    typer.Option(
        "--keep",
        metavar="best|last|none",
        rich_help_panel=RESULT,
        help="Which weights are stored with each run: of the best validation epoch, of the last, or none. Default: "
        "best.",
    ),
]
NoCache = Annotated[
    bool,
    typer.Option(
        "--no-cache",
        rich_help_panel=RESULT,
        help="Train every run again, also those that are stored. Default: stored runs are used.",
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="FMT",
        autocompletion=completion.formats,
        rich_help_panel=RESULT,
        help="The format of the result: table, tsv, csv, json, jsonl, markdown or latex. Default: table on a terminal, "
        "tsv into a pipe.",
    ),
]
OutputFile = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="FILE",
        callback=expanded,
        rich_help_panel=RESULT,
        help="Write the result to this file, whole or not at all; without --format its suffix says the format (.json "
        ".jsonl .csv .tsv .md .tex .txt). Default: stdout.",
    ),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        rich_help_panel=RESULT,
        help="Show no progress on stderr. Errors and warnings are still shown, and so is that another process has to "
        "end first. Default: off.",
    ),
]
Plot = Annotated[
    Path | None,
    typer.Option(
        "--plot",
        metavar="FILE",
        callback=expanded,
        rich_help_panel=RESULT,
        help="Draw the learning curves into this file (.png, .pdf or .svg), with --probe gradients the norms of "
        "the gradient by layer instead. Default: no plot.",
    ),
]
