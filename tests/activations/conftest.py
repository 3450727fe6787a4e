"""The fixture of a user's own file."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def mine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file mine.py with the module's SOURCE."""
    file = tmp_path_factory.mktemp("own") / "mine.py"
    file.write_text(request.module.SOURCE)
    return file
