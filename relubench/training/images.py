"""A prepared data set on a device: whole splits as tensors, a batch is an index.

Images keep their stored type (uint8 mostly), so that several processes share one memory-mapped copy; they become
float32 x*scale + shift where batches are taken, many at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from relubench.data import PreparedData, arrays
from relubench.data.prepared import check_whole
from relubench.models.random_streams import epoch_order, stream
from relubench.system.device_kinds import DEVICES
from relubench.training.memory import CHUNK_IMAGES

NOISE_SEED = 0
"""The noise belongs to the test set, not to a network: it has one seed."""

NOISE_BLOCK = 500
"""Images that one stream draws the noise of."""


@dataclass(slots=True)
class Images:
    """The three splits, x [N, ...] as stored and y [N] int64, on one device."""

    prepared: PreparedData
    flat: bool
    """Whether images are given out as rows [N, F]."""
    splits: dict[str, tuple[Tensor, Tensor]]
    noise: float = 0.0
    """Standard deviation of the Gaussian noise that is added to the scaled test images."""
    reconstructed: bool = False
    """Whether the targets are the images themselves, as rows: what `train_batch` and `slices` give for labels."""

    @classmethod
    def open(cls, prepared: PreparedData, *, device: str, flat: bool) -> Images:
        """Map the prepared files; on other devices than the processor, copy them there whole.

        Raises DataError for files that are not what was written.
        """
        check_whole(prepared)
        splits: dict[str, tuple[Tensor, Tensor]] = {}
        for split in ("train", "valid", "test"):
            x, y = arrays(prepared, split)
            images = torch.from_numpy(x)
            if flat:
                images = images.reshape(len(images), -1)
            splits[split] = images.to(device), torch.from_numpy(np.asarray(y)).to(device)
        return cls(prepared, flat, splits)

    @property
    def n_train(self) -> int:
        return self.prepared.n_train

    @property
    def chunk(self) -> int:
        """Training examples that are gathered at once, about."""
        return CHUNK_IMAGES

    @property
    def places(self) -> int:
        """Rows that an example is for the layers of a network: one, or each character of a window."""
        return self.prepared.context or 1

    def epoch_order(self, seed: int, epoch: int) -> Tensor:
        """The indices of the training examples in the order of an epoch, as `train_batch` takes them."""
        return epoch_order(seed, epoch, self.n_train)

    def probe_order(self) -> Tensor:
        """The same in the order in which probes take them, for every network."""
        return torch.randperm(self.n_train, generator=stream(0, "probe"))

    def train_batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The training images and labels at index [B] or [P, B]: x [B, ...] or [P, B, ...] float32, y alike."""
        x, y = self.splits["train"]
        batch = self._scaled(x[index] if index.dim() > 1 else x.index_select(0, index))
        if self.reconstructed:
            return batch, self._rows(batch)
        return batch, y[index] if index.dim() > 1 else y.index_select(0, index)

    def slices(self, split: str, size: int) -> Any:
        """The split in order, `size` images at a time, float32, with their labels."""
        if self.noise and split == "test":
            yield from self._noisy_test_images()
            return
        x, y = self.splits[split]
        for start in range(0, len(y), size):
            batch = self._scaled(x[start : start + size])
            yield batch, self._rows(batch) if self.reconstructed else y[start : start + size]

    def _noisy_test_images(self) -> Any:
        """The test images in blocks of one size, so that an image gets the same noise in every test."""
        x, y = self.splits["test"]
        for block, start in enumerate(range(0, len(y), NOISE_BLOCK)):
            clean = self._scaled(x[start : start + NOISE_BLOCK])
            shape = (NOISE_BLOCK, *self.prepared.input_shape)
            unit = torch.empty(shape).normal_(generator=stream(NOISE_SEED, "test-noise", block))
            noise = unit[: len(clean)].to(clean.device).reshape(clean.shape)
            targets = self._rows(clean.clone()) if self.reconstructed else y[start : start + NOISE_BLOCK]
            yield clean.add_(noise, alpha=self.noise), targets

    def count(self, split: str) -> int:
        """Images of the split."""
        return len(self.splits[split][1])

    def labels(self, split: str) -> np.ndarray:
        return self.splits[split][1].cpu().numpy()

    def targets(self, split: str) -> np.ndarray:
        """What the outputs are held against on the whole split: labels [N], or images as rows [N, D]."""
        if not self.reconstructed:
            return self.labels(split)
        return self._rows(self._scaled(self.splits[split][0])).cpu().numpy()

    def _rows(self, x: Tensor) -> Tensor:
        """Images [(P,) B, ...] as rows of values."""
        return x if self.flat else x.flatten(-3)

    def _scaled(self, x: Tensor) -> Tensor:
        scaled = x.to(torch.float32, copy=True)
        if self.prepared.scale != 1.0:
            scaled.mul_(self.prepared.scale)
        if self.prepared.shift:
            scaled.add_(self.prepared.shift)
        if not self.flat and DEVICES[scaled.device.type].channels_last and scaled.dim() == 4:
            return scaled.contiguous(memory_format=torch.channels_last)
        return scaled
