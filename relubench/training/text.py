"""A text on a device: its bytes as one tensor, a batch of windows is an index.

The bytes stay mapped on disk, shared by all processes; what becomes int64 is a batch of windows. An example is a window
of T characters and the T that follow each of them. In the training part the windows of an epoch are in random order and
begin at a random offset of that epoch, the same for every network of one seed.

Shapes: P member, B windows, N windows of a part, T characters of one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from relubench.data import PreparedData
from relubench.data.text_windows import is_text
from relubench.models.random_streams import epoch_order, stream
from relubench.training.images import Images

CHUNK_CHARACTERS = 32_768
"""Characters of the windows that are gathered at once."""


class Text(Images):
    """The three parts of a text: `splits` has the bytes of each twice, as what is read and what is predicted."""

    @property
    def context(self) -> int:
        """T: the characters of a window."""
        assert self.prepared.context is not None
        return self.prepared.context

    @property
    def chunk(self) -> int:
        return max(1, CHUNK_CHARACTERS // self.context)

    def epoch_order(self, seed: int, epoch: int) -> Tensor:
        """Where the windows of an epoch begin, in the order in which a network of this seed sees them."""
        order = epoch_order(seed, epoch, self.n_train)
        slack = len(self.splits["train"][0]) - 1 - self.n_train * self.context
        offsets = min(self.context, slack + 1)
        offset = int(torch.randint(offsets, (), generator=stream(seed, "text-offset", epoch)))
        return order.mul_(self.context).add_(offset)

    def probe_order(self) -> Tensor:
        return torch.randperm(self.n_train, generator=stream(0, "probe")).mul_(self.context)

    def train_batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The windows that begin at index [B]: characters [B, T] and those that follow each, int64."""
        return self._windows("train", index)

    def slices(self, split: str, size: int) -> Any:
        """The split in order, `size` windows at a time."""
        total = self.count(split)
        for start in range(0, total, size):
            number = torch.arange(start, min(start + size, total), device=self.splits[split][0].device)
            yield self._windows(split, number * self.context)

    def labels(self, split: str) -> np.ndarray:
        """The characters that are predicted, uint8 [N, T]."""
        total = self.count(split)
        return self.splits[split][0][1 : total * self.context + 1].view(total, self.context).cpu().numpy()

    def count(self, split: str) -> int:
        return {"train": self.n_train, "valid": self.prepared.n_valid, "test": self.prepared.n_test}[split]

    def _windows(self, split: str, begin: Tensor) -> tuple[Tensor, Tensor]:
        text = self.splits[split][0]
        place = begin.unsqueeze(-1) + torch.arange(self.context + 1, device=text.device)
        characters = text[place].to(torch.int64)
        return characters[:, :-1], characters[:, 1:]


def open_data(prepared: PreparedData, *, device: str, flat: bool) -> Images:
    """The prepared data on a device: a text, or images (`flat`: as rows); raises DataError as `Images.open`."""
    kind = Text if is_text(prepared) else Images
    return kind.open(prepared, device=device, flat=flat and kind is Images)
