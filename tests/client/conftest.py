"""What tests of the client share: the rogue server, and a client of it."""

import socket
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
import uvicorn

from penstock.client import AsyncClient, wire

from .rogue import House, Rogue


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """The rogue servers of a file's tests."""
    house = House()
    config = uvicorn.Config(house, port=0, log_config=None, log_level=60, lifespan="off", ws="none")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        house.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = uvicorn.Server(config)
        # Connections wait in the listener's backlog until the server takes them: no need to wait here.
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield house
        server.should_exit = True
        thread.join()


@pytest.fixture
def chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lowest draw always: what is waited for is then what the server asked for, and nothing else."""
    monkeypatch.setattr(wire, "_chance", lambda: 0.0)


@pytest.fixture
def rogue(house: House, chance: None) -> Rogue:
    """This test's part of the house: it follows the script that the test writes."""
    return house.open()


@pytest.fixture
async def client(rogue: Rogue) -> AsyncIterator[AsyncClient]:
    """A client of `rogue` that gives up before a test would."""
    async with AsyncClient(rogue.url, retry_for_s=5.0) as client:
        yield client
