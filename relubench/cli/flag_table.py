"""The flags of the configuration's fields, where a field's name, docstring or type do not say enough.

A field that is not here can be offered by a command all the same: its flag follows from the schema.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast, get_args

from relubench.cli import completion
from relubench.cli.flags import Flag, whole_number
from relubench.cli.options import NETWORK, RESULT
from relubench.errors import UsageError
from relubench.models.families import examples
from relubench.system.lookup import did_you_mean, find

if TYPE_CHECKING:
    from relubench.experiments.sections import Method

MAX_SEEDS = 10_000

L1_SCALES = ("sum", "mean", "paper")


def methods_of(texts: Sequence[str]) -> tuple[Method, ...]:
    """The ways of pre-training that --method names, once or several times; raises UsageError for any other."""
    from relubench.experiments.sections import Method

    methods = get_args(Method)
    names = [name.strip() for text in texts for name in text.split(",")]
    for name in names:
        if name not in methods:
            hint = did_you_mean(name, methods, "for example --method none,rbm")
            raise UsageError(f"--method must be of {', '.join(methods)}, got {name!r}", hint)
    return tuple(cast("list[Method]", names))


def first_seeds(option: str, text: str) -> tuple[int, ...]:
    """The seeds 0 to N-1."""
    return tuple(range(whole_number(option, text, 1, MAX_SEEDS)))


def _one_seed(option: str, text: str) -> tuple[int]:
    from relubench.experiments.config import MAX_SEED

    return (whole_number(option, text, 0, MAX_SEED),)


def _strengths(option: str, text: str) -> tuple[float, ...]:
    """The numbers of --l1, smallest first, each once."""
    from relubench.experiments.config import check_strength

    return tuple(sorted({check_strength(option, part.strip()) for part in text.split(",")}))


def _l1_scale(option: str, text: str) -> str:
    scales = {scale: scale for scale in L1_SCALES}
    return find(text, scales, kind="scale", see=f"{option} is one of {', '.join(L1_SCALES)}")


SEED = Flag(field="seeds", name="seed", values="S", help="Train with the one seed S.", default="0", read=_one_seed)
"""The second flag of the field `seeds`."""

_ROWS = (
    Flag(
        field="act",
        heading=NETWORK,
        completion=completion.acts,
        help="An activation to compare; give it several times, or names split at commas. Parameters follow colons "
        "(softplus:beta=3), an expression in x is a formula (x*sigmoid(x): see `relubench list functions`), * makes "
        "a pattern. The first one is what the others are compared with.",
        default="sigmoid, tanh, relu, gelu (pretrain: softplus in its place; ablate-sparsity: relu)",
    ),
    Flag(
        field="act_by_layer",
        heading=NETWORK,
        values="NAME*N,...",
        help="A mix to compare, with an activation for each hidden layer, the lowest first: relu*4,gelu*2; "
        "early=relu*4,gelu*2 gives it a name. Give it several times.",
        default="none",
    ),
    Flag(
        field="data.name",
        name="dataset",
        completion=completion.datasets,
        help="The data set: a name of `relubench list datasets`, a .npz file, a table (.csv, .parquet), a picture to "
        "fit (.png, .jpg), a text (.txt), or a folder of images or texts.",
    ),
    Flag(
        field="data.target",
        values="COLUMN",
        help="The column of a table that is predicted from the others; whether it is a class or a number is decided by "
        "its values, and said.",
    ),
    Flag(
        field="data.augment",
        values="KIND",
        help="Random changes to the training images: none, crop, flip or crop+flip.",
    ),
    Flag(
        field="model.name",
        name="model",
        completion=completion.models,
        help=f"The network: {examples()}.",
        default="auto, the data set's own",
    ),
    Flag(
        field="model.init",
        values="SCHEME",
        help="The initial weights: auto (matches the gain to the activation), xavier, he, lecun, uniform or siren "
        "(sine's own, which it has unless you name another); networks of torchvision and your own keep their own.",
    ),
    Flag(
        field="model.norm",
        help="A normalisation before each activation; of a Transformer, before its attentions and feed-forward "
        "networks.",
    ),
    Flag(
        field="model.heads",
        values="N",
        help="The heads of each attention of a Transformer.",
        default="one for each 32 features",
    ),
    Flag(
        field="model.ffn",
        values="plain|moe-NxK",
        help="The feed-forward networks of a Transformer: plain, one in each block; moe-8x2, eight experts in each, of "
        "which two work on each character (of a vit, on each patch).",
    ),
    Flag(
        field="data.context",
        values="N",
        heading=NETWORK,
        help="Of a text: the characters of a window, each of which predicts the next one.",
        default="128",
    ),
    Flag(
        field="model.dropout",
        values="P",
        help="The probability of zeroing a hidden unit in training, from 0 to below 1.",
    ),
    Flag(
        field="model.sign_flip",
        help="Multiply the outputs of half of the hidden units by -1, as in Glorot et al. 2011.",
    ),
    Flag(
        field="model.keep_act",
        values="PATH",
        help="Leave the activations of this part of a torchvision or own network as they are: a module's path "
        "(layer1.0.relu, layer1), * for anything; give it several times.",
        default="all are exchanged",
    ),
    Flag(
        field="model.latent",
        help="The units of an autoencoder's or a VAE's code.",
        default="20 of a VAE, 30 of an autoencoder",
    ),
    Flag(
        field="model.act_in",
        help="Which half of an autoencoder has the activation that is compared; the other half has relu.",
    ),
    Flag(
        field="model.output_act",
        values="NAME",
        help="The outputs' own activation, of autoencoders and of regression; one that cannot reach the targets is "
        "refused.",
        default="none: linear outputs, of a VAE a sigmoid",
    ),
    Flag(
        field="model.match",
        help="What a gated network has as many of as a plain one: parameters, or units in a layer (width).",
    ),
    Flag(
        field="train.protocol",
        help="The set of training defaults: paper is Glorot et al. 2011 (sgd, batches of 10), modern is adamw with a "
        "cosine schedule and batches of 128, transformer is adamw for texts (default there).",
    ),
    Flag(field="train.optimizer", help="The optimizer."),
    Flag(
        field="train.lr",
        help="The learning rate; auto chooses it for each activation by validation error, on a seed that is not "
        "reported.",
    ),
    Flag(field="train.momentum", help="The momentum of sgd, from 0 to below 1."),
    Flag(field="train.weight_decay", help="The weight decay."),
    Flag(field="train.batch_size", help="The training images in a step."),
    Flag(field="train.epochs", help="The passes over the training images."),
    Flag(field="train.schedule", help="How the learning rate changes during training."),
    Flag(
        field="train.patience",
        help="Stop a run after N epochs without a lower validation error.",
        default="train all epochs",
    ),
    Flag(field="train.precision", help="The arithmetic of the matrix products."),
    Flag(
        field="train.probe",
        values="WHAT",
        help="What is looked at after each epoch and stored with the run: none, activations (zeros, dead units, "
        "saturation), gradients (their norms as well), regions (linear pieces as well), overlap (the units that "
        "images of a class have on in common, as well), experts (the share of experts used, as well) or all (all of "
        "these but overlap).",
    ),
    Flag(
        field="train.l1",
        values="X,X,...",
        help="The strengths of the L1 penalty on the activations, split at commas.",
        default="0,0.001,0.01,0.1,1",
        read=_strengths,
    ),
    Flag(
        field="train.l1_scale",
        help="What a strength multiplies, averaged over the batch: the sum of |h| over a layer's units, its mean, or a "
        "thirtieth of the sum, at which the paper's 0.001 gives its share of zeros.",
        default="mean",
        read=_l1_scale,
    ),
    Flag(
        field="pretrain.methods",
        name="method",
        values="none|rbm|dae",
        help="How the hidden layers are pre-trained, split at commas: none, rbm (restricted Boltzmann machines), dae "
        "(denoising autoencoders). The first one is what the others are compared with.",
        default="none,rbm",
        read=lambda option, texts: methods_of(texts),
    ),
    Flag(field="pretrain.epochs", name="pretrain-epochs", help="The passes over the images for each layer."),
    Flag(
        field="pretrain.lr",
        name="pretrain-lr",
        help="The learning rate of pre-training; auto chooses it for each layer by reconstruction error, on a seed "
        "that is not reported.",
    ),
    Flag(field="pretrain.control", help="Add rows that start from the pre-trained weights shuffled within each layer."),
    Flag(
        field="seeds",
        values="N",
        help="Train each network N times, with the seeds 0 to N-1; an interval needs 2 or more.",
        default="1",
        read=first_seeds,
    ),
    Flag(field="device", help="Where to compute; auto takes a GPU if there is one."),
    Flag(
        field="executor.name",
        name="executor",
        help="Who carries out the jobs: worker processes on this machine (local), this process (inline), a Ray "
        "cluster (ray) or SLURM (slurm).",
    ),
    Flag(
        field="executor.address",
        values="ADDRESS",
        help="The Ray cluster: HOST:6379, ray://HOST:10001, or auto for one that this machine belongs to.",
        default="RAY_ADDRESS, else a Ray that starts here",
    ),
    Flag(
        field="keep",
        heading=RESULT,
        help="Which weights are stored with each run: of the best validation epoch, of the last, or none.",
    ),
)

FLAGS = {flag.field: flag for flag in _ROWS}
"""Field -> its flag."""


def flag_of(field: str) -> Flag:
    """The flag of a field: its row, or what the schema alone says of it."""
    return FLAGS.get(field) or Flag(field=field)
