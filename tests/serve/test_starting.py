"""How a server starts, or says why it can't."""

import asyncio
import re
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from penstock.testing import ServerProcess, until

from .functions import SOURCE
from .servers import make_server, run_serve, started

if TYPE_CHECKING:
    from tests.conftest import Api


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_a_public_address_needs_a_token(host: str, server: ServerProcess, tmp_path: Path) -> None:
    done = run_serve(tmp_path, "app.py", "--host", host, "--port", "0")
    assert done.returncode == 2
    assert f"penstock: {host} can be reached from other machines, and no token is set." in done.stderr
    assert "--token SECRET or PENSTOCK_TOKEN=SECRET" in done.stderr
    assert not (tmp_path / "penstock.db").exists()


async def test_a_public_address_with_a_token(
    server: ServerProcess, tmp_path: Path, connect: "type[Api]"
) -> None:
    server = make_server(tmp_path, "--host", "0.0.0.0", "--token", "secret")
    async with server, connect(f"http://127.0.0.1:{server.port}") as api:
        assert (await api.get("/api/functions")).status_code == 401
        headers = {"Authorization": "Bearer secret", "Host": "any.example"}
        assert (await api.get("/api/functions", headers=headers)).status_code == 200


async def test_without_a_token_only_names_of_this_machine(
    server: ServerProcess, tmp_path: Path, connect: "type[Api]"
) -> None:
    async with started(make_server(tmp_path, "--allowed-hosts", "box.lan, Other.lan"), connect) as api:
        for host, status in (("box.lan", 200), ("other.lan:80", 200), ("evil.example", 403)):
            assert (await api.get("/api/functions", headers={"Host": host})).status_code == status


def test_a_port_in_use(server: ServerProcess, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = run_serve(tmp_path, "app.py", "--port", port)
    assert done.returncode == 2
    assert f"Can't listen on 127.0.0.1 port {port}: Address already in use" in done.stderr
    assert "--port" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("nothing.py",), "There is no file nothing.py."),
        (("nothing",), "There is no module 'nothing'."),
        (("app.py:nothing",), "app.py has no App named 'nothing'."),
        (("app.py", "--store", "mysql://x"), "No store has the address 'mysql://x'."),
        (("app.py", "--store", "sqlite:///no/folder/x.db"), "no/folder/x.db"),
        (("app.py", "--store", "sqlite:///notes.db"), "notes.db: file is not a database."),
        (("app.py", "--store", "sqlite:///other.db"), "other.db is a database of another program."),
        (("app.py", "--store", "sqlite:///newer.db"), "newer.db has schema version 99"),
        (("app.py", "--rate", "x"), "The setting 'rate' can't be used"),
        (("app.py", "--host", "999.1.1.1", "--token", "x"), "Can't listen on 999.1.1.1"),
    ],
)
def test_what_can_not_start_says_why(
    options: tuple[str, ...], message: str, server: ServerProcess, tmp_path: Path
) -> None:
    (tmp_path / "notes.db").write_bytes(b"notes, not a database. " * 200)
    for name, sql in (("other", "CREATE TABLE t (x)"), ("newer", "PRAGMA application_id = 0x50656E53")):
        with closing(sqlite3.connect(tmp_path / f"{name}.db")) as connection:
            connection.execute(sql)
            connection.execute("PRAGMA user_version = 99")
            connection.commit()
    done = run_serve(tmp_path, *options, "--port", "0")
    assert done.returncode == 2, done.stderr
    assert f"penstock: {message}" in done.stderr or f"penstock: {message}" in done.stderr.replace(
        "store/", ""
    )
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_an_error_in_the_program_shows_where(tmp_path: Path, write_app: Callable[[str], Path]) -> None:
    write_app("import nowhere_to_be_found")
    done = run_serve(tmp_path, "app.py", "--port", "0")
    assert done.returncode != 0
    assert re.search(r"app\.py.*line 3.*nowhere_to_be_found", done.stderr, re.DOTALL)


async def test_a_store_that_is_locked_at_the_start(
    server: ServerProcess, connect: "type[Api]", tmp_path: Path, write_app: Callable[[str], Path]
) -> None:
    write_app(f"{SOURCE}\nfrom penstock.storage.sqlite import connection\nconnection.BUSY_TIMEOUT_S = 0.3")
    async with server:
        await asyncio.to_thread(server.terminate)  # has made the file
    path = tmp_path / "penstock.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with started(server, connect) as api:
            answer = await api.get("/api/functions")
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_locked")
            assert answer.headers["retry-after"] == "1"
            other.execute("ROLLBACK")

            async def recovered() -> bool:
                return (await api.get("/readyz")).status_code == 200

            await until(recovered)
            assert (await api.ended(await api.submit("add", a=1)))["result"] == 2
