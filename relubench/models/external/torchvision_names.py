"""The image classifiers of torchvision.models by family: a literal table of names. Torch-free."""

from __future__ import annotations

PREFIX = "torchvision:"

_EFFICIENT = tuple(f"efficientnet_b{size}" for size in range(8))
_SIZES = ("400mf", "800mf", "1_6gf", "3_2gf", "8gf", "16gf", "32gf")

FAMILIES: dict[str, tuple[str, ...]] = {
    "AlexNet (Krizhevsky 2014)": ("alexnet",),
    "VGG (Simonyan & Zisserman 2014)": tuple(f"vgg{depth}{bn}" for depth in (11, 13, 16, 19) for bn in ("", "_bn")),
    "GoogLeNet (Szegedy et al. 2015), without its auxiliary heads": ("googlenet",),
    "Inception v3 (Szegedy et al. 2016), without its auxiliary head": ("inception_v3",),
    "ResNet (He et al. 2016)": ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    "ResNeXt (Xie et al. 2017)": ("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"),
    "Wide ResNet (Zagoruyko & Komodakis 2016)": ("wide_resnet50_2", "wide_resnet101_2"),
    "DenseNet (Huang et al. 2017)": ("densenet121", "densenet161", "densenet169", "densenet201"),
    "SqueezeNet (Iandola et al. 2016)": ("squeezenet1_0", "squeezenet1_1"),
    "MobileNet v2 (Sandler et al. 2018)": ("mobilenet_v2",),
    "MobileNet v3 (Howard et al. 2019)": ("mobilenet_v3_large", "mobilenet_v3_small"),
    "ShuffleNet v2 (Ma et al. 2018)": tuple(f"shufflenet_v2_x{width}" for width in ("0_5", "1_0", "1_5", "2_0")),
    "MNASNet (Tan et al. 2019)": tuple(f"mnasnet{width}" for width in ("0_5", "0_75", "1_0", "1_3")),
    "EfficientNet (Tan & Le 2019)": _EFFICIENT,
    "EfficientNet v2 (Tan & Le 2021)": ("efficientnet_v2_s", "efficientnet_v2_m", "efficientnet_v2_l"),
    "RegNet (Radosavovic et al. 2020)": (
        *(f"regnet_x_{size}" for size in _SIZES),
        *(f"regnet_y_{size}" for size in (*_SIZES, "128gf")),
    ),
    "ConvNeXt (Liu et al. 2022)": ("convnext_tiny", "convnext_small", "convnext_base", "convnext_large"),
    "Vision transformer (Dosovitskiy et al. 2021)": ("vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32", "vit_h_14"),
    "Swin transformer (Liu et al. 2021)": ("swin_t", "swin_s", "swin_b"),
    "Swin transformer v2 (Liu et al. 2022)": ("swin_v2_t", "swin_v2_s", "swin_v2_b"),
    "MaxViT (Tu et al. 2022), for sides that are multiples of 224": ("maxvit_t",),
}
"""Family -> the names that `torchvision.models.get_model` knows."""

CLASSIFIERS: dict[str, str] = {f"{PREFIX}{name}": family for family, names in FAMILIES.items() for name in names}
"""Model name, as --model takes it -> family."""


def of_torchvision(model: str) -> bool:
    """Whether torchvision has the network; else a user wrote it."""
    return model.startswith(PREFIX)
