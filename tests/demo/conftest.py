"""The real index over the real standard library, built once."""

import pytest

from penstock.demo.agent import shared
from penstock.demo.index import Index


@pytest.fixture(scope="session")
def index() -> Index:
    """The process's own index, so that the agent's runs in these tests find it built."""
    return shared.start().result(timeout=60)
