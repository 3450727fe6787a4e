"""The sections of an experiment's configuration, with their defaults. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from relubench.experiments.choices import NameOf
from relubench.models.family import MAX_WIDTH, ActIn
from relubench.models.norm_table import NORMS
from relubench.models.optimizer_table import OPTIMIZERS
from relubench.training.probes.table import probe_choices

Positive = Annotated[float, Field(gt=0, le=1e30, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
BoundedUniform = Annotated[str, Field(pattern=r"^uniform:(0*\.0*[1-9]\d*|0*[1-9]\d*(\.\d+)?)$")]
""" `uniform:B`: weights from [-B, B], a positive decimal number; zero biases."""


class Section(BaseModel):
    """A part of the configuration: unknown keys are refused, values are never changed after the check."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSection(Section):
    name: str = "digits"
    """A data set of `relubench list datasets`, a .npz file or an image folder."""
    augment: Literal["none", "crop", "flip", "crop+flip"] = "none"
    """Random crops and flips of the training images; for convolutional networks."""
    image_size: Annotated[int, Field(ge=4, le=1024)] | None = None
    """Side in pixels that the images of a folder are resized to; by default they must all agree.

    Of a picture to fit it is 128."""
    train_size: Annotated[int, Field(ge=1)] | None = None
    """Train on this many images only, drawn once and for all from the training part; perturbed sets can have more."""
    split: Literal["standard", "paper"] = "standard"
    """The usual split of the data set, or that of Glorot et al. 2011 (another for cifar10: 50k/5k/5k)."""
    labels: Annotated[int, Field(ge=1)] | None = None
    """Train on the labels of this many training images only; pre-training still sees all images."""
    target: Annotated[str, Field(min_length=1)] | None = None
    """The column of a table (.csv, .parquet) that is predicted from the others."""
    ignore: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Columns of a table that are left out."""
    task: Literal["auto", "classification", "regression"] = "auto"
    """Whether the targets of your own data are classes or numbers; auto: their values decide."""
    context: Annotated[int, Field(ge=1, le=65_536)] | None = None
    """Texts: the characters of a window, each of which predicts the next one; by default 128."""
    test_noise: tuple[NonNegative, ...] = ()
    """Test each network again under Gaussian noise of these standard deviations, in units of the scaled input."""


class ModelSection(Section):
    name: str = "auto"
    """mlp-3x1000, resmlp-20x100, cnn, torchvision:resnet18, ./file.py:Net, ...; auto: the data set's own."""
    init: Literal["auto", "xavier", "he", "lecun", "uniform", "siren", "own"] | BoundedUniform = "xavier"
    """Initial weights; auto matches the gain to the activation, uniform:0.01 draws from [-0.01, 0.01].

    Networks of torchvision and your own keep their own."""
    norm: Annotated[str, NameOf(NORMS.keys)] = "none"
    heads: Annotated[int, Field(ge=1, le=65_536)] | None = None
    """Heads of each attention of a Transformer; by default one for each 32 features."""
    ffn: Annotated[str, Field(pattern=r"^(plain|moe-\d{1,9}x\d{1,9})$")] = "plain"
    """The feed-forward networks of a Transformer: one in each block, or moe-8x2: two of eight work on a character."""
    balance: NonNegative = 0.01
    """The coefficient of the loss that balances the experts of a moe (Fedus et al. 2022, equation 4)."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability of zeroing a hidden unit in training."""
    dropout_kind: Literal["zero", "alpha"] = "zero"
    """What a dropped unit becomes: zero, or the floor of SELU (AlphaDropout of Klambauer et al. 2017)."""
    sign_flip: bool = False
    """Multiply the outputs of half of the hidden units by -1 (Glorot et al. 2011, section 3.1)."""
    keep_act: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Places of a torchvision or own network whose activations stay as they are; * matches anything."""
    latent: Annotated[int, Field(ge=1, le=MAX_WIDTH)] | None = None
    """Units of an autoencoder's code; by default 20 of a VAE, 30 of an autoencoder."""
    act_in: ActIn = "both"
    """Which half of an autoencoder has the activation: encoder, decoder or both; the other half has relu."""
    output_act: Annotated[str, Field(min_length=1)] | None = None
    """The outputs' own activation, of autoencoders and regression; by default none (a VAE's is a sigmoid)."""
    match: Literal["parameters", "width"] = "parameters"
    """How a gated network is made comparable to a plain one: equal parameter count, or equal width."""

    @model_validator(mode="after")
    def _consistent(self) -> ModelSection:
        if self.dropout_kind != "zero" and not self.dropout:
            raise ValueError(f"dropout_kind (={self.dropout_kind}) belongs to a dropout above 0, and none is asked for")
        return self


class TrainSection(Section):
    protocol: Literal["paper", "modern", "transformer"] = "paper"
    optimizer: Annotated[str, NameOf(OPTIMIZERS.keys)] = "sgd"
    lr: Positive | Literal["auto"] = 0.1
    """Learning rate; auto chooses it for each activation by validation error, on a seed that is not reported."""
    lr_grid: tuple[Positive, ...] | None = None
    """Learning rates that auto tries; by default the paper's for sgd, and 0.01, 0.001, 0.0001 for adam and adamw."""
    lr_seeds: Annotated[int, Field(ge=1, le=100)] = 1
    """Trainings of each activation at each rate of the grid; their mean validation error decides."""
    exchange: Annotated[str, Field(min_length=1)] | None = None
    """The activation that takes the place of the others for the last tenth of the epochs; by default none does."""
    act_lr: Positive | None = None
    """Learning rate of what activations learn (the slope of prelu); by default that of the weights."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight_decay: NonNegative = 0.0
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    epochs: Annotated[int, Field(ge=1, le=100_000)] = 30
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: NonNegative = 0.0
    """Epochs over which the learning rate rises linearly from zero."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Stop after this many epochs without a lower validation error."""
    l1: NonNegative | Annotated[tuple[NonNegative, ...], Field(min_length=1)] = 0.0
    """Strength of the L1 penalty on the hidden activations, averaged over the batch; several are compared."""
    l1_scale: Literal["sum", "mean", "paper"] = "sum"
    """Over a layer's units the penalty is their sum, their mean, or a thirtieth of the sum (see plan.l1_of_sum)."""
    l1_pairs: bool = False
    """With several strengths: the first with the first seed and so on, instead of each with every seed."""
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    backend: Literal["auto", "torch", "turned", "onednn", "kernels"] = "auto"
    """What multiplies dense layers on a processor; auto: the fastest, measured once (`doctor` shows it)."""
    probe: Annotated[str, NameOf(probe_choices)] = "activations"
    """What is looked at after each epoch: activations and dead units; beside them gradients, linear regions, or
    the overlap of active units by class."""

    @property
    def strengths(self) -> tuple[float, ...]:
        """The L1 strengths, as they were asked for."""
        return self.l1 if isinstance(self.l1, tuple) else (self.l1,)

    @model_validator(mode="after")
    def _consistent(self) -> TrainSection:
        if self.momentum and not OPTIMIZERS[self.optimizer].momentum:
            names = " or ".join(name for name, row in OPTIMIZERS.items() if row.momentum)
            raise ValueError(f"momentum (={self.momentum}) belongs to the optimizer {names}, not {self.optimizer}")
        if self.lr != "auto" and (self.lr_grid is not None or self.lr_seeds != 1):
            name = "lr_seeds" if self.lr_grid is None else "lr_grid"
            raise ValueError(f"{name} belongs to lr auto, not to lr {self.lr:g}")
        if self.lr_grid is not None and len(set(self.lr_grid)) < max(2, len(self.lr_grid)):
            raise ValueError(f"lr_grid must not have fewer than two rates or one of them twice, got {self.lr_grid}")
        if self.warmup_epochs > self.epochs:
            raise ValueError(f"warmup_epochs (={self.warmup_epochs:g}) must not exceed epochs (={self.epochs})")
        return self


Method = Literal["none", "rbm", "dae", "file"]

_METHOD_OF: dict[str, Method] = dict.fromkeys(("visible", "k", "momentum", "weight_decay", "sampled"), "rbm")
_METHOD_OF |= dict.fromkeys(("reconstruction", "noise", "corruption", "tied", "l1"), "dae")
"""Key of PretrainSection -> the one method that it belongs to."""


class PretrainSection(Section):
    methods: tuple[Method, ...] = ("none",)
    """How the hidden layers are pre-trained; several make several rows of each activation."""
    epochs: Annotated[int, Field(ge=1, le=100_000)] = 10
    """Passes over the images for each layer."""
    lr: Positive | Literal["auto"] = "auto"
    """Learning rate of pre-training; auto chooses each layer's by reconstruction error, on a seed not reported."""
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """By default that of the supervised training, as in the paper."""
    source: str | None = None
    """The file of weights that the method file starts from."""
    control: bool = False
    """Add a row that starts from the pre-trained weights shuffled within each layer."""
    visible: Literal["auto", "bernoulli", "gaussian"] = "auto"
    """rbm: the first layer's visible units; auto: bernoulli for images in [0, 1], else gaussian, standardised."""
    k: Annotated[int, Field(ge=1, le=1000)] = 1
    """rbm: steps of contrastive divergence."""
    act_lr: Positive | None = None
    """Learning rate of what activations learn (the slope of prelu); by default that of the weights."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """rbm."""
    weight_decay: NonNegative = 0.0
    """rbm."""
    sampled: bool = False
    """rbm: draw the last reconstruction too, instead of taking its mean."""
    reconstruction: Literal["auto", "softplus", "scaled", "linear", "rectifier", "cross-entropy"] = "auto"
    """dae: output layer and cost; auto: cross-entropy for sigmoid and tanh, else softplus with quadratic cost."""
    noise: Literal["masking", "salt-pepper", "gaussian"] = "masking"
    """dae: how the input is corrupted."""
    corruption: Annotated[float, Field(ge=0, le=1)] = 0.25
    """dae: share of the inputs that noise replaces; with gaussian its standard deviation."""
    tied: bool = True
    """dae: the decoder uses the encoder's weights, transposed."""
    l1: NonNegative = 0.0
    """dae: L1 penalty on the code: summed over units, averaged over the batch."""

    def only(self, methods: Sequence[Method]) -> PretrainSection:
        """The same for those of its methods that are among these; what belongs to another is at its default."""
        remaining = tuple(method for method in self.methods if method in methods)
        unused = [key for key, method in _METHOD_OF.items() if method not in remaining]
        changes: dict[str, Any] = {key: type(self).model_fields[key].default for key in unused}
        changes |= {"source": self.source if "file" in remaining else None}
        return self.model_copy(
            update=changes | {"methods": remaining, "control": self.control and set(remaining) != {"none"}}
        )

    @model_validator(mode="after")
    def _consistent(self) -> PretrainSection:
        for key, method in _METHOD_OF.items():
            value = getattr(self, key)
            if value != type(self).model_fields[key].default and method not in self.methods:
                raise ValueError(f"{key} (={value}) belongs to the method {method}, which is not asked for")
        if ("file" in self.methods) != (self.source is not None):
            raise ValueError("the method file and pretrain.source belong together: --from FILE sets both")
        if self.control and set(self.methods) == {"none"}:
            raise ValueError("control (=True) belongs to a pre-training method, and none is asked for")
        return self

    @field_validator("methods")
    @classmethod
    def _each_once(cls, methods: tuple[Method, ...]) -> tuple[Method, ...]:
        if not methods:
            raise ValueError("at least one method is needed")
        return tuple(dict.fromkeys(methods))
