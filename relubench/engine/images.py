"""A prepared data set on a device: whole splits as tensors, a batch is an index.

Images keep their stored type (uint8 mostly), so that several processes share one memory-mapped copy; they become
float32 x*scale + shift as they are gathered, many batches at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from relubench.data import PreparedData, arrays


@dataclass(slots=True)
class Images:
    """The three splits, x [N, ...] as stored and y [N] int64, on one device."""

    prepared: PreparedData
    flat: bool
    """Whether images are given out as rows [N, F]."""
    splits: dict[str, tuple[Tensor, Tensor]]

    @classmethod
    def open(cls, prepared: PreparedData, *, device: str, flat: bool) -> Images:
        """Map the prepared files; on other devices than the processor, copy them there whole."""
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

    def train_batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The training images and labels at index [B] or [P, B]: x [B, ...] or [P, B, ...] float32, y alike."""
        x, y = self.splits["train"]
        return self._scaled(x[index] if index.dim() > 1 else x.index_select(0, index)), y[index]

    def slices(self, split: str, size: int) -> Any:
        """The split in order, `size` images at a time, float32, with their labels."""
        x, y = self.splits[split]
        for start in range(0, len(y), size):
            yield self._scaled(x[start : start + size]), y[start : start + size]

    def labels(self, split: str) -> np.ndarray:
        return self.splits[split][1].cpu().numpy()

    def _scaled(self, x: Tensor) -> Tensor:
        scaled = x.to(torch.float32, copy=True)
        if self.prepared.scale != 1.0:
            scaled.mul_(self.prepared.scale)
        if self.prepared.shift:
            scaled.add_(self.prepared.shift)
        if not self.flat and scaled.device.type != "mps" and scaled.dim() == 4:
            return scaled.contiguous(memory_format=torch.channels_last)
        return scaled
