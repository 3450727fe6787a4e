from __future__ import annotations

import pytest

from relubench.errors import UsageError
from relubench.models.architecture import check_input, default_model, matched, parameter_count, parse_model

PLAIN = {"inputs_per_unit": 1, "learned": lambda layer, units: 0, "norm": "none"}


@pytest.mark.parametrize(
    ("name", "hidden"),
    [("mlp-3x1000", (1000, 1000, 1000)), ("mlp-4000-2000", (4000, 2000)), ("mlp-7", (7,)), ("mlp-1x5", (5,))],
)
def test_a_name_gives_depth_and_widths(name: str, hidden: tuple[int, ...]):
    assert parse_model(name).hidden == hidden


@pytest.mark.parametrize("name", ["mlp-0x10", "mlp-3x0", "mlp-201x10", "mlp-100-0", "mlp-2x65537"])
def test_impossible_shapes_are_refused(name: str):
    with pytest.raises(UsageError, match=r"a (model|layer) has 1 to"):
        parse_model(name)


@pytest.mark.parametrize("name", ["mlp", "resnet", "mlp-3x", "mlp-3x10x4", ""])
def test_unknown_names_are_refused(name: str):
    with pytest.raises(UsageError, match="there is no model called"):
        parse_model(name)


def test_near_names_are_offered():
    with pytest.raises(UsageError) as refused:
        parse_model("cn")
    assert "cnn" in refused.value.hint


def test_the_paper_network_has_the_known_number_of_parameters():
    assert parameter_count(parse_model("mlp-3x1000"), (1, 28, 28), 10, **PLAIN) == 2_797_010


def test_the_cnn_count_is_the_sum_of_its_layers():
    # 5*5*1*32+32, 5*5*32*64+64, 7*7*64*256+256, 256*10+10
    assert parameter_count(parse_model("cnn"), (1, 28, 28), 10, **PLAIN) == 832 + 51_264 + 803_072 + 2_570


@pytest.mark.parametrize("columns", [2, 3, 5])
@pytest.mark.parametrize("name", ["mlp-3x1000", "mlp-4000-2000", "mlp-3x128", "mlp-5x64", "cnn"])
def test_matched_networks_are_within_one_percent(name: str, columns: int):
    arch = parse_model(name)
    target = parameter_count(arch, (1, 28, 28), 10, **PLAIN)
    narrow = matched(arch, (1, 28, 28), 10, inputs_per_unit=columns, learned=PLAIN["learned"], norm="none")
    assert (
        abs(
            parameter_count(narrow, (1, 28, 28), 10, inputs_per_unit=columns, learned=PLAIN["learned"], norm="none")
            / target
            - 1
        )
        < 0.01
    )


def test_a_network_too_small_to_match_is_refused():
    with pytest.raises(UsageError, match="no widths give a gated mlp-1x2 within 1 %"):
        matched(parse_model("mlp-1x2"), (64,), 10, inputs_per_unit=5, learned=PLAIN["learned"], norm="none")


def test_the_cnn_refuses_what_is_no_image():
    with pytest.raises(UsageError, match="needs images, but mine has flat rows of 12"):
        check_input(parse_model("cnn"), (12,), "mine")
    with pytest.raises(UsageError, match="halves the image 2 times"):
        check_input(parse_model("cnn"), (1, 3, 3), "tiny")


def test_default_models():
    assert [default_model(one) for one in ("digits", "norb", "norb-jittered-cluttered", "mnist")] == [
        "mlp-3x128",
        "mlp-4000-2000",
        "mlp-4000-2000",
        "mlp-3x1000",
    ]
