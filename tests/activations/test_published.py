"""Published activations as people type them: every one is taken, and means what its paper says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from relubench.activations import build, select
from relubench.activations.builder import as_function
from tests.activations.published import PUBLISHED, Reference

X = np.array([-4.2, -2.4, -1.3, -0.7, -0.2, 0.15, 0.45, 0.9, 1.6, 2.7, 4.4])


@pytest.mark.parametrize(("name", "text", "reference"), PUBLISHED)
def test_a_published_activation_is_taken_as_it_is_typed(name: str, text: str, reference: Reference):
    (choice,) = select([text])
    assert choice.kind == "formula"
    assert select([choice.label]) == [choice]
    values = as_function(build(choice))(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(values, reference(X), rtol=1e-9, atol=1e-9, err_msg=name)


def test_there_are_175_of_them():
    assert len({name for name, _, _ in PUBLISHED}) >= 175


def test_all_of_them_can_be_named_at_once():
    texts = [text for _, text, _ in PUBLISHED]
    assert [choice.label for choice in select([", ".join(texts)])] == [choice.label for choice in select(texts)]
