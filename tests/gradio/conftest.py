"""Gradio servers for tests."""

import pytest

from .server import VERSIONS


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """Each version of Gradio in turn."""
    return str(request.param)
