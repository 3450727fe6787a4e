"""The words of errors."""

from __future__ import annotations

import pytest

from relubench.errors import with_article

AN = "activation id outcome 8-bit 11-class 18 int32 MLP mlp-3x128 rbm L1 l1 MSE hour identity underflow Adam elu only n"
A = "unit user one-shot uint8 UTF-8 float32 house sigmoid tanh run relu 1 12 180 seed universal Xavier label name"


@pytest.mark.parametrize("word", AN.split())
def test_what_is_spoken_with_a_vowel_has_an(word: str) -> None:
    assert with_article(word) == f"an {word}"


@pytest.mark.parametrize("word", A.split())
def test_everything_else_has_a(word: str) -> None:
    assert with_article(word) == f"a {word}"
