"""Lightning: a LightningModule and a Trainer, with logging, checkpoints and bars switched off.

The DataLoader takes whole batches out of tensors in memory (a BatchSampler, no collation), the fastest form that
PyTorch's documentation describes; the usual one, image by image, is another peer's.
"""

from __future__ import annotations

import logging
import warnings

import lightning
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler, TensorDataset

from benchmarks.mnist import load
from benchmarks.network import xavier
from benchmarks.peers.pytorch_plain import build, tensors
from benchmarks.peers.task import VALID_BATCH, Clock, Measurement, Task


class Classifier(lightning.LightningModule):
    """The network, its loss and its optimizer; it tells the clock where training and validation end."""

    def __init__(self, task: Task, clock: Clock) -> None:
        super().__init__()
        self.task, self.clock = task, clock
        self.model = build(xavier(task.seed, task.hidden))
        self.seen = self.wrong = 0

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        return F.cross_entropy(self.model(x), y)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        x, y = batch
        logits = self.model(x)
        self.log("valid_loss", F.cross_entropy(logits, y))
        self.wrong += int((logits.argmax(1) != y).sum())
        self.seen += len(y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.task.lr)

    def on_train_start(self) -> None:
        self.clock.restart()

    def on_validation_start(self) -> None:
        self.clock.trained()

    def on_validation_end(self) -> None:
        self.clock.validated(self.wrong / self.seen)
        self.seen = self.wrong = 0


def run(task: Task) -> Measurement:
    """One network."""
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.manual_seed(task.seed)
    x, y, x_valid, y_valid = tensors(load(task.data_dir, task.images))
    train, valid = TensorDataset(x, y), TensorDataset(x_valid, y_valid)
    shuffled = BatchSampler(RandomSampler(train), task.batch_size, drop_last=False)
    in_order = BatchSampler(SequentialSampler(valid), VALID_BATCH, drop_last=False)
    trainer = lightning.Trainer(
        max_epochs=task.epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    clock = Clock()
    trainer.fit(
        Classifier(task, clock),
        DataLoader(train, sampler=shuffled, batch_size=None),
        DataLoader(valid, sampler=in_order, batch_size=None),
    )
    return clock.measurement(threads=f"torch {torch.get_num_threads()}, 0 loader processes")
