"""The small trainings of `two_revisions`: every way of training, on the embedded digits, in seconds each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from safetensors.numpy import save

NETWORK = """
import torch

class Net(torch.nn.Module):
    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv, self.norm = torch.nn.Conv2d(1, 8, 3), torch.nn.BatchNorm2d(8)
        self.drop, self.head = torch.nn.Dropout(0.2), torch.nn.Linear(8 * 36, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(torch.relu(self.norm(self.conv(x))).flatten(1)))
"""
"""The user's own network, as ./net.py where the command runs."""


@dataclass(frozen=True, slots=True)
class Training:
    """One command that trains one or several networks."""

    name: str
    command: str
    """What follows `relubench`."""
    killed: bool = False
    """Whether it is killed twice while it trains, and then repeated."""


TRAININGS = (
    Training("mlp by generated kernels", "train --act relu --model mlp-2x300 --epochs 2 --probe all"),
    Training(
        "mlp by kernels, penalties", "train --act tanh,leaky_relu --model mlp-2x300 --epochs 1 --set train.l1=1e-4"
    ),
    Training(
        "mlp by PyTorch",
        "train --act tanh,prelu,x*sigmoid(b*x):b~1 --model mlp-2x32 --epochs 2 --set train.momentum=0.5"
        " --dropout 0.2 --sign-flip --init he --set data.test_noise=[0.1] --probe gradients",
    ),
    Training("resumed after a kill, kernels", "train --act nrelu --model mlp-2x300 --epochs 200", killed=True),
    Training(
        "resumed after a kill, PyTorch",
        "train --act relu --model mlp-2x64 --epochs 60 --optimizer adamw --norm batch --dropout 0.2 --lr 0.002",
        killed=True,
    ),
    Training(
        "batched members: seeds and tuned rates",
        "train --act relu,gelu --model mlp-1x32 --batch-size 64 --epochs 1 --seeds 3 --lr auto"
        " --set train.lr_grid=[0.1,0.03]",
    ),
    Training(
        "rbm pre-training, killed, and fine tuning",
        "pretrain --act relu --method rbm --model mlp-2x400 --pretrain-epochs 2 --pretrain-lr 0.0003 --epochs 1"
        " --export exported.safetensors",
        killed=True,
    ),
    Training("from a file", "pretrain --act relu --from layers.safetensors --model mlp-2x24 --epochs 1"),
    Training(
        "rbm and dae, searched rates, control",
        "pretrain --act sigmoid --method none,rbm,dae --control --model mlp-2x24 --batch-size 64 --pretrain-epochs 1"
        " --epochs 1 --set data.labels=300",
    ),
    Training(
        "dae pre-training, gated",
        "pretrain --act swiglu --method dae --model mlp-2x24 --batch-size 64 --pretrain-epochs 1 --pretrain-lr 0.01"
        " --epochs 1 --set pretrain.tied=false --set pretrain.noise=gaussian",
    ),
    Training("cnn, augmented", "train --act relu,swiglu --model cnn --augment crop+flip --batch-size 128 --epochs 1"),
    Training("own network", "train --act gelu,relu --model ./net.py:Net --batch-size 64 --epochs 2 --optimizer adam"),
    Training(
        "network of torchvision",
        "train --act gelu --model torchvision:squeezenet1_1 --batch-size 32 --epochs 1 --set data.train_size=64",
    ),
    Training(
        "gated activations, width kept",
        "train --act glu,swiglu,maxout --match width --model mlp-2x32 --batch-size 64 --epochs 1",
    ),
    Training(
        "adam, layer norm, bf16",
        "train --act elu,gelu --model mlp-2x32 --optimizer adam --lr 0.001 --norm layer --precision bf16"
        " --batch-size 64 --epochs 2 --keep last",
    ),
    Training("modern protocol, rms norm", "train --act silu --model mlp-2x32 --protocol modern --norm rms --epochs 3"),
    Training("residual", "train --act relu,tanh --model resmlp-4x32 --norm batch --batch-size 64 --epochs 1"),
    Training(
        "L1 strengths", "ablate-sparsity --act relu --l1 0,0.01 --model mlp-2x64 --batch-size 32 --epochs 2 --seeds 2"
    ),
)


def pretrained_layers() -> bytes:
    """A file of two layers of 24 units for the digits, as another program might have made it."""
    random = np.random.default_rng(5)
    weights = {f"{n}.weight": random.normal(0, 0.1, (24, inputs)) for n, inputs in enumerate((64, 24))}
    values = {**weights, **{f"{n}.bias": np.zeros(24) for n in range(2)}}
    return save({name: one.astype(np.float32) for name, one in values.items()})
