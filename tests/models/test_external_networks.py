"""torchvision's classifiers: how many activations are exchanged, what stays, what they compute, what does not fit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torchvision.models

from relubench.activations import build, select
from relubench.errors import UsageError
from relubench.models.architecture import parse_model
from relubench.models.external.layer import ExternalNetwork
from relubench.models.external.networks import draw_network, example, uses_of
from relubench.models.external.torchvision_names import CLASSIFIERS, PREFIX
from relubench.runs.spec import RunSpec
from specs import runs


def spec_of(name: str, shape: tuple[int, int, int] = (3, 32, 32)) -> RunSpec:
    _, (spec,) = runs("relu", model={"name": "cnn"})
    return replace(spec, model=f"{PREFIX}{name}", channels=(), hidden=(), init="own", input_shape=shape)


def test_every_classifier_of_torchvision_is_listed():
    assert [*sorted(CLASSIFIERS)] == [f"{PREFIX}{one}" for one in torchvision.models.list_models(torchvision.models)]


# Counted by hand in the papers' and torchvision's definitions. resnet18: 1 in the stem, 2 in each of 8 blocks.
# densenet121: 1 in the stem, 2 in each of 58 layers, 1 in each of 3 transitions, and F.relu at the end. googlenet: 57
# convolutions, each with F.relu. convnext and swin: one in each block. mobilenet_v2: stem, head, 2 in 16 blocks and 1
# in the first. efficientnet_b0: stem, head, 16 blocks of expansion (but for the first), depthwise and squeeze.
FAMILIES = [
    ("googlenet", {"relu": 57}, {}),
    ("resnet18", {"relu": 17}, {}),
    ("densenet121", {"relu": 121}, {}),
    ("squeezenet1_1", {"relu": 26}, {}),
    ("mobilenet_v2", {"relu6": 35}, {}),
    ("mobilenet_v3_small", {"hardswish": 19, "relu": 14}, {"hardsigmoid": 9}),
    ("shufflenet_v2_x0_5", {"relu": 37}, {}),
    ("mnasnet0_5", {"relu": 35}, {}),
    ("efficientnet_b0", {"silu": 49}, {"sigmoid": 16}),
    ("regnet_y_400mf", {"relu": 65}, {"sigmoid": 16}),
    ("convnext_tiny", {"gelu": 18}, {}),
    ("swin_v2_t", {"gelu": 12}, {"relu": 12, "sigmoid": 12}),
]


def counted(uses, kept: bool) -> dict[str, int]:
    found: dict[str, int] = {}
    for use in uses:
        if bool(use.kept) == kept:
            found[use.function] = found.get(use.function, 0) + 1
    return found


@pytest.mark.parametrize(("name", "exchanged", "kept"), FAMILIES, ids=[one[0] for one in FAMILIES])
def test_the_uses_are_those_of_the_definition(name: str, exchanged: dict[str, int], kept: dict[str, int]):
    """And with its own activation in place of its own, a network computes what it computed before."""
    spec = spec_of(name)
    network, _ = draw_network(spec)
    uses = uses_of(network, spec)
    assert (counted(uses, False), counted(uses, True)) == (exchanged, kept)
    if len(exchanged) == 1:
        act = next(iter(exchanged))
        images = example(spec, 2)
        with torch.no_grad():
            expected = network.eval()(images)
            layer = ExternalNetwork(network, uses, build(select([act])[0]), 0, device="cpu", bf16=False)
            torch.testing.assert_close(layer.forward(images, training=False), expected, rtol=1e-5, atol=1e-6)
            other = ExternalNetwork(network, uses, build(select(["tanh"])[0]), 0, device="cpu", bf16=False)
            assert not torch.equal(other.forward(images, training=False), expected)
        # One hook of the first exchange and one of the second follow the same forward.
        assert len(layer.zero_counts) == sum(exchanged.values())


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 28, 28), (3, 96, 96)])
def test_the_stem_of_a_resnet_fits_the_images(shape: tuple[int, int, int]):
    network, told = draw_network(spec_of("resnet18", shape))
    first = network.get_submodule("conv1")
    small = shape[1] <= 64
    assert (first.kernel_size, first.stride) == (((3, 3), (1, 1)) if small else ((7, 7), (2, 2)))
    assert first.in_channels == shape[0]
    assert isinstance(network.get_submodule("maxpool"), torch.nn.Identity) == small
    assert ("maxpool is left out" in told) == small
    # The stem's outputs have the variance that the original's have, within what chance does.
    original = torchvision.models.resnet18(weights=None).conv1.weight
    ratio = (first.weight[0].numel() * first.weight.detach().var()) / (original[0].numel() * original.detach().var())
    assert 0.8 < float(ratio) < 1.25


def test_a_vgg_of_small_images_reads_one_pixel():
    network, told = draw_network(spec_of("vgg11", (1, 28, 28)))
    assert network.get_submodule("classifier.0").in_features == 512
    assert "max pools round up" in told


def test_a_vision_transformer_reads_small_patches():
    network, told = draw_network(spec_of("vit_b_32", (1, 8, 8)))
    assert network.get_submodule("conv_proj").kernel_size == (4, 4)
    assert "4x4 patches of 1 channel" in told
    with pytest.raises(UsageError, match="a multiple of 4, not 30 x 30"):
        draw_network(spec_of("vit_b_32", (1, 30, 30)))


def test_images_too_small_are_refused_with_the_smallest_side():
    # Three 3x3 convolutions without padding, then a 3x3 pool and two reductions of stride 2 down to one pixel.
    with pytest.raises(UsageError, match="inception_v3 needs images of at least 21 pixels a side, not 8 x 8"):
        draw_network(spec_of("inception_v3", (1, 8, 8)))


def test_maxvit_says_which_sides_it_takes():
    with pytest.raises(UsageError, match="multiples of 224, not 32 x 32"):
        draw_network(spec_of("maxvit_t"))


def test_the_same_seed_gives_the_same_initial_weights():
    spec = spec_of("resnet18", (1, 8, 8))
    weights = [draw_network(one)[0].state_dict() for one in (spec, spec, replace(spec, seed=1))]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not torch.equal(weights[0]["conv1.weight"], weights[2]["conv1.weight"])


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("torchvision:resnet81", "torchvision:resnet"),
        ("resnet18", "torchvision:resnet18"),
        ("resmlp-20", "resmlp-20x100"),
    ],
)
def test_near_names(name: str, near: str):
    with pytest.raises(UsageError, match="there is no model called") as refused:
        parse_model(name)
    assert f"did you mean {near}" in refused.value.hint
