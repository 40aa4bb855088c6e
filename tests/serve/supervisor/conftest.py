"""What tests of a supervisor share: a server of several processes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.testing import ServerProcess

from ..functions import SOURCE
from .processes import make_server


@pytest.fixture
def server(write_app: Callable[[str], Path], tmp_path: Path) -> ServerProcess:
    """Three processes and their supervisor; not started."""
    write_app(SOURCE)
    return make_server(tmp_path)
