"""What can not be: no server, a wrong token, a locked store, an app that is broken."""

import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from penstock.testing import ServerProcess

from .commands import cli


def test_no_server_is_3() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        done = cli("ps", f"http://127.0.0.1:{nobody.getsockname()[1]}")
    assert (done.returncode, done.stdout) == (3, "")
    assert "Traceback" not in done.stderr


def test_a_wrong_token_is_3(server: ServerProcess) -> None:
    done = cli("ps", server.url, token="wrong")
    assert done.returncode == 3
    assert "The token is missing or wrong." in done.stderr
    assert cli("ps", server.url, "--token", "secret", token="wrong").returncode == 0


def test_a_store_that_is_locked_is_3(server: ServerProcess) -> None:
    """The server's trouble, not the caller's; what is asked is asked again for a while, here for none."""
    start = "import sys; from penstock.cli import main, reading; reading._client.__defaults__ = "
    program = start + "(0,); sys.exit(main())"
    argv = [sys.executable, "-c", program, "run", server.url, "say", "text=x", "--token", "secret"]
    with closing(sqlite3.connect(Path(str(server.cwd)) / "penstock.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        done = subprocess.run(argv, capture_output=True, text=True, timeout=90)
    assert (done.returncode, done.stdout) == (3, "")
    assert "penstock.db: database is locked." in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_address_is_2() -> None:
    done = cli("ps", "localhost:8000")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_an_app_that_can_not_be_imported_is_2(tmp_path: Path) -> None:
    target = tmp_path / "broken.py"
    target.write_text("raise ValueError('boom')\n")
    done = cli("serve", str(target))
    assert done.returncode == 2
    assert "ValueError: boom" in done.stderr
    assert "broken.py can't be imported" in done.stderr
