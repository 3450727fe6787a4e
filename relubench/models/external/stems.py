"""Makes torchvision's classifiers, written for 224 x 224 colour images, fit images of another size and channel count.

Images of at most `SMALL` pixels: the stem does not shrink them. Convolutions that take part in the first fourfold
reduction get stride 1, their kernels at most 3x3 (drawn anew, with the scale that keeps the variance of their outputs),
and pools that do are left out: ResNet's 7x7 convolution of stride 2 and max pool become a 3x3 convolution of stride 1,
as He et al. 2016 have it for CIFAR. AlexNet and VGG, whose reduction is in their pools, keep those, rounding sizes up,
and read one pixel of them instead of 6x6 or 7x7. A vision transformer reads patches of 4x4 pixels.
Other than three channels: the first convolution is drawn anew alike.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from math import prod, sqrt
from typing import Any

import torch
from torch import Tensor, nn

from relubench.errors import UsageError

SMALL = 64
"""Pixels of the shorter side up to which a stem is adapted."""

SMALL_PATCH = 4
LARGEST_TRIED = 300

NATIVE = {"inception_v3": 299}
"""Side that a network is written for, if not 224."""

Make = Callable[..., nn.Module]


def build(name: str, make: Make, input_shape: tuple[int, ...]) -> tuple[nn.Module, str]:
    """The network for images [C, Y, X], and what was changed in a few words; `make` takes the constructor's arguments.

    Raises UsageError for images that are too small, with the smallest side that is not.
    """
    channels, height, width = input_shape
    changes: list[str] = []
    if name.startswith("vit_"):
        network = _transformer(name, make, input_shape, changes)
    else:
        network = _maxvit(name, make, height, width) if name == "maxvit_t" else make()
        if min(height, width) <= SMALL:
            _open_stem(network, NATIVE.get(name, 224), changes)
            _one_pixel(network, changes)
        if channels != 3:
            path, first = next(
                (path, module)
                for path, module in network.named_modules()
                if isinstance(module, nn.Conv2d) and module.in_channels == 3
            )
            _put(network, path, _redrawn(first, channels=channels))
            changes.append(f"{path} reads {channels} channel{'s' if channels > 1 else ''}")
        _check_size(name, network, input_shape)
    return network, ", ".join(changes)


def _open_stem(network: nn.Module, native: int, changes: list[str]) -> None:
    """Take the first fourfold reduction out, if a convolution begins it."""
    reductions = _reductions(network, native)
    if not reductions or not isinstance(network.get_submodule(reductions[0][0]), nn.Conv2d):
        return
    for path, size in reductions:
        module = network.get_submodule(path)
        if size <= 0.3 * native:
            break
        if isinstance(module, nn.Conv2d):
            shrunk = max(module.kernel_size) > 3
            _put(network, path, _redrawn(module, kernel=3)) if shrunk else setattr(module, "stride", (1, 1))
            changes.append(f"{path} has stride 1" + (" and a 3x3 kernel" if shrunk else ""))
        else:
            _put(network, path, nn.Identity())
            changes.append(f"{path} is left out")


def _reductions(network: nn.Module, native: int) -> list[tuple[str, int]]:
    """Paths of convolutions and pools with a stride, in the order of their first call, and the sides they are given."""
    reductions: dict[str, int] = {}

    def watch(path: str) -> Any:
        return lambda module, inputs: reductions.setdefault(path, inputs[0].shape[-1]) and None

    handles = [
        module.register_forward_pre_hook(watch(path))
        for path, module in network.named_modules()
        if isinstance(module, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)) and module.stride not in (1, (1, 1))
    ]
    _shapes_through(network, (3, native, native))
    for handle in handles:
        handle.remove()
    return list(reductions.items())


def _one_pixel(network: nn.Module, changes: list[str]) -> None:
    """AlexNet and VGG: pools round up, and the first dense layer reads one pixel instead of 6x6 or 7x7."""
    pool, classifier = getattr(network, "avgpool", None), getattr(network, "classifier", None)
    if not isinstance(pool, nn.AdaptiveAvgPool2d) or pool.output_size in (1, (1, 1)) or classifier is None:
        return
    for module in network.modules():
        if isinstance(module, nn.MaxPool2d):
            module.ceil_mode = True
    number, dense = next((number, module) for number, module in enumerate(classifier) if isinstance(module, nn.Linear))
    assert isinstance(pool.output_size, tuple)
    pixels = prod(side or 1 for side in pool.output_size)
    network.avgpool = nn.AdaptiveAvgPool2d(1)
    classifier[number] = _redrawn_dense(dense, dense.in_features // pixels)
    changes.append(f"max pools round up, classifier.{number} reads {dense.in_features // pixels} features")


def _transformer(name: str, make: Make, input_shape: tuple[int, ...], changes: list[str]) -> nn.Module:
    channels, height, width = input_shape
    patch = int(name.rsplit("_", 1)[1])
    side = SMALL_PATCH if min(height, width) <= SMALL else patch
    if height != width or height % side:
        raise UsageError(
            f"--model torchvision:{name} needs square images, the side a multiple of {side}, not {height} x {width}",
            f"the smallest side is {side}; or choose another --model",
        )
    network: Any = make(image_size=height // side * patch)
    network.image_size, network.patch_size = height, side
    if side != patch or channels != 3:
        network.conv_proj = _redrawn(network.conv_proj, channels=channels, kernel=side, stride=side)
        changes.append(f"conv_proj reads {side}x{side} patches of {channels} channel{'s' if channels > 1 else ''}")
    return network


def _maxvit(name: str, make: Make, height: int, width: int) -> nn.Module:
    if height % 224 or width % 224:
        raise UsageError(
            f"--model torchvision:{name} needs sides that are multiples of 224, not {height} x {width}",
            "the smallest side is 224; or choose another --model",
        )
    return make(input_size=(height, width))


def _check_size(name: str, network: nn.Module, input_shape: tuple[int, ...]) -> None:
    if _passes(network, input_shape):
        return
    channels, height, width = input_shape
    sides = range(min(height, width) + 1, LARGEST_TRIED)
    least = sides[
        bisect.bisect_left(sides, True, hi=len(sides) - 1, key=lambda side: _passes(network, (channels, side, side)))
    ]
    raise UsageError(
        f"--model torchvision:{name} needs images of at least {least} pixels a side, not {height} x {width}",
        "choose a data set with larger images, or another --model",
    )


def _passes(network: nn.Module, input_shape: tuple[int, ...]) -> bool:
    try:
        _shapes_through(network, input_shape)
    except (RuntimeError, ValueError, AssertionError):
        return False
    return True


def _shapes_through(network: nn.Module, input_shape: tuple[int, ...]) -> None:
    """Run two images through the network on the meta device: shapes without values."""
    values: dict[str, Tensor] = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    shapes = {name: value.detach().to("meta") for name, value in values.items()}
    with torch.no_grad():
        torch.func.functional_call(network, shapes, (torch.empty(2, *input_shape, device="meta"),))


def _redrawn(conv: nn.Conv2d, *, channels: int | None = None, kernel: int | None = None, stride: int = 1) -> nn.Conv2d:
    """The convolution with other input channels, or another square kernel, whose stride is then `stride`."""
    grouped = conv.groups > 1
    assert not (grouped and channels)
    new = nn.Conv2d(
        channels or conv.in_channels,
        conv.out_channels,
        kernel or conv.kernel_size,  # type: ignore[arg-type]
        stride=stride if kernel else conv.stride,  # type: ignore[arg-type]
        padding=(kernel // 2 if stride == 1 else 0) if kernel else conv.padding,  # type: ignore[arg-type]
        groups=conv.groups,
        bias=conv.bias is not None,
    )
    _draw(new.weight, new.bias, conv.weight, conv.bias)
    return new


def _redrawn_dense(dense: nn.Linear, inputs: int) -> nn.Linear:
    new = nn.Linear(inputs, dense.out_features, bias=dense.bias is not None)
    _draw(new.weight, new.bias, dense.weight, dense.bias)
    return new


@torch.no_grad()
def _draw(weight: Tensor, bias: Tensor | None, old: Tensor, old_bias: Tensor | None) -> None:
    """Normal weights that give outputs the variance which the old ones gave; the old biases."""
    weight.normal_(0.0, float(old.std()) * sqrt(old[0].numel() / weight[0].numel()))
    if bias is not None and old_bias is not None:
        bias.copy_(old_bias)


def _put(network: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, module)
