"""Eleven networks as people write them, for images of 8 x 8. Each takes `act`, so that a test can make it otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Function = Callable[[Tensor], Tensor]


class Timm(nn.Module):
    """In the manner of timm: a stem, stages, a head, the kind of layer as an argument."""

    def __init__(self, num_classes: int = 10, in_chans: int = 1, act: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_chans, 8, 3, padding=1, bias=False)
        self.norm, self.act = nn.BatchNorm2d(8), act()
        self.stages = nn.Sequential(*(nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), act()) for _ in range(2)))
        self.head = nn.Linear(8, num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        return self.stages(self.act(self.norm(self.stem(x))))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.forward_features(x).mean((-2, -1)))


class Nested(nn.Sequential):
    """Sequential within Sequential."""

    def __init__(self, act: type[nn.Module] = nn.ReLU) -> None:
        inner = nn.Sequential(act(), nn.Linear(24, 24))
        super().__init__(nn.Flatten(), nn.Sequential(nn.Linear(64, 24), inner, act()), nn.Linear(24, 10))


class Shared(nn.Module):
    """One layer and one activation called three times, its weights tied."""

    def __init__(self, act: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.first, self.again, self.last = nn.Linear(64, 24), nn.Linear(24, 24), nn.Linear(24, 10)
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.first(x.flatten(1)))
        for _ in range(2):
            x = self.act(self.again(x))
        return self.last(x)


class Functional(nn.Module):
    """Activations as calls of functions, behind `x.view`, which does not take channels-last images."""

    def __init__(self, act: Function = F.relu) -> None:
        super().__init__()
        self.conv, self.hidden, self.last = nn.Conv2d(1, 4, 3), nn.Linear(144, 24), nn.Linear(24, 10)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.conv(x))
        return self.last(self.act(self.hidden(x.view(x.size(0), -1))))


class Residual(nn.Module):
    """Adds in place what an activation gave: `y += x`."""

    def __init__(self, act: Function = F.relu) -> None:
        super().__init__()
        self.first, self.second, self.norm = (
            nn.Conv2d(1, 8, 3, padding=1),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.GroupNorm(2, 8),
        )
        self.last, self.act = nn.Linear(8, 10), act

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.first(x))
        y = self.norm(self.second(x))
        y += x
        return self.last(self.act(y).flatten(2).mean(2))


class Attention(nn.Module):
    """A block of a vision transformer on the eight rows of an image."""

    def __init__(self, act: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.embed, self.norm = nn.Linear(8, 16), nn.LayerNorm(16)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.feed = nn.Sequential(nn.Linear(16, 32), act(), nn.Linear(32, 16))
        self.last = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x.squeeze(1))
        normed = self.norm(x)
        x = x + self.attention(normed, normed, normed, need_weights=False)[0]
        return self.last((x + self.feed(x)).mean(1))


class Lazy(nn.Module):
    """Layers that take their sizes from the first images."""

    def __init__(self, act: Function = F.relu) -> None:
        super().__init__()
        self.conv, self.hidden, self.last = nn.LazyConv2d(4, 3), nn.LazyLinear(16), nn.LazyLinear(10)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.act(self.hidden(self.act(self.conv(x)).flatten(1))))


def factory(width: int = 24, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """A function that makes the network."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), act(), nn.Linear(width, 10))


class InPlace(nn.Sequential):
    """Activations that overwrite their input."""

    def __init__(self, act: Callable[..., nn.Module] = nn.ReLU, **settings: Any) -> None:
        settings = settings or ({"inplace": True} if act is nn.ReLU else {})
        super().__init__(
            *(nn.Conv2d(1, 4, 3), act(**settings), nn.Conv2d(4, 4, 3), act(**settings)),
            *(nn.Flatten(), nn.Linear(64, 10)),
        )


class Skipping(nn.Module):
    """Layers that are left out by chance while it is trained."""

    def __init__(self, act: Function = F.relu) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(64, 16), nn.Linear(16, 10)
        self.blocks = nn.ModuleList(nn.Linear(16, 16) for _ in range(3))
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.first(x.flatten(1)))
        for block in self.blocks:
            if self.training and torch.rand(()) < 0.4:
                continue
            x = x + self.act(block(x))
        return self.last(x)


class TwoInputs(nn.Module):
    """Takes a mask beside the images: there is none to give it."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(64, 10)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.last(F.relu(x.flatten(1) * mask))
