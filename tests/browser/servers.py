"""The servers behind the pages."""

import sys
from pathlib import Path

from penstock.testing import ServerProcess

from . import probe_app

__all__ = ["probe_server"]


def probe_server(folder: Path) -> ServerProcess:
    """The probe's site, with its store in `folder`."""
    return ServerProcess(argv=[sys.executable, "-u", str(probe_app.FILE), "{port}"], cwd=folder)
