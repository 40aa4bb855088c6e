"""What `penstock run` says of its connection: that it is lost and back, and nothing of what mends itself."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.testing import ServerProcess, until

from .commands import cli, reading

if TYPE_CHECKING:
    from tests.conftest import Api

SOURCE = """
import asyncio, pathlib

GO = pathlib.Path("go")

@app.function
async def count():
    number = 0
    while not GO.exists():
        yield f"{number} "
        number += 1
        await asyncio.sleep(0.02)
    yield "done"

@app.function(on_crash="retry")
async def go_on(run: penstock.Run):
    if not run.restored:
        yield "before "
        run.checkpoint(True)
        run.log("kept")
    while not GO.exists():
        await asyncio.sleep(0.01)
    yield "after"
"""

TRIES = 3
"""In vain: one of them is told, and those that follow are not."""


def refuse(port: int, tries: int) -> None:
    """Answer nobody there, until so many have come."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        listener.settimeout(10)
        for _ in range(tries):
            link, _ = listener.accept()
            link.close()


async def test_responses_that_end_to_be_resumed_are_nothing_to_speak_of(
    tmp_path: Path, write_app: Callable[[str], Path], connect: "type[Api]"
) -> None:
    write_app(SOURCE)
    async with (
        ServerProcess("app.py", "--max-age-s", "0.5", cwd=tmp_path) as server,
        connect(server.url) as api,
    ):

        async def rotated() -> bool:
            return (await api.scrape())("readers_rotated_total") >= 3

        ends = asyncio.create_task(asyncio.to_thread(cli, "run", server.url, "count"))
        await until(rotated)
        (tmp_path / "go").touch()
        done = await ends
    *numbers, last = done.stdout.split(" ")
    assert (done.returncode, last) == (0, "done")
    assert numbers == [str(number) for number in range(len(numbers))]
    assert "connect" not in done.stderr


async def test_a_server_that_is_away_is_told_once_and_so_is_its_return(
    tmp_path: Path, write_app: Callable[[str], Path]
) -> None:
    write_app(SOURCE)
    said = tmp_path / "said"
    async with ServerProcess("app.py", cwd=tmp_path) as server:
        with said.open("w") as stderr, reading("run", server.url, "go_on", stderr=stderr) as process:
            await until(lambda: "kept" in said.read_text())
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(refuse, server.port, TRIES)
            await until(lambda: "(connection lost: " in said.read_text())
            await asyncio.to_thread(server.restart)
            (tmp_path / "go").touch()
            text, _ = await asyncio.to_thread(process.communicate, timeout=20)
    assert (process.returncode, text) == (0, "before after")
    lost, again = [line for line in said.read_text().splitlines() if "connect" in line]
    assert lost.startswith("(connection lost: ")
    assert lost.endswith("; reconnecting)")
    assert again == "(connected again)"
