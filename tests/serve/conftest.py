"""What tests of `penstock serve` share: a server."""

from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.testing import ServerProcess

from .functions import SOURCE
from .servers import make_server


@pytest.fixture
def server(write_app: Callable[[str], Path], tmp_path: Path) -> ServerProcess:
    """A server that has not been started."""
    write_app(SOURCE)
    return make_server(tmp_path)
