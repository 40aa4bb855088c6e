"""The synchronous client: it reads through the same failures, and leaves no thread behind."""

import asyncio
import gc
import signal
import subprocess
import sys
import threading

import pytest

from penstock.client import Client
from penstock.errors import ClientError, Unauthorized
from penstock.protocol import sse
from penstock.testing import until

from .rogue import (
    DEADLINE_S,
    STORY,
    TEXT,
    WORDS,
    Rogue,
    Stage,
    cut_after,
    ends_after,
    frames,
    refuses,
    stays_after,
)


async def test_sync_reads_through_breaks(rogue: Rogue) -> None:
    rogue.acts = [cut_after(150), ends_after(200), cut_after(333)]

    def use() -> None:
        with Client(rogue.url) as client:
            run = client.submit("f", {"x": 1})
            assert list(run.events()) == STORY
            assert "".join(run.pieces()) == TEXT
            assert run.text() == TEXT
            assert run.result() == len(WORDS)
            assert run.fold().text == TEXT
            assert run.state()["run_id"] == run.cancel()["run_id"] == "r1"
            assert client.health()

    await asyncio.to_thread(use)


async def test_sync_closing_joins_the_thread(rogue: Rogue) -> None:
    def use() -> None:
        client = Client(rogue.url)
        iterator = client.run("r1").events()
        next(iterator)
        assert "penstock-client" in [thread.name for thread in threading.enumerate()]
        client.close()
        client.close()
        assert "penstock-client" not in [thread.name for thread in threading.enumerate()]
        iterator.close()
        with pytest.raises(ClientError, match="closed"):
            client.health()

    rogue.acts = [stays_after(frames(STORY[:3]))]
    await asyncio.to_thread(use)


async def test_sync_break_closes_the_connection(rogue: Rogue) -> None:
    def use() -> None:
        with Client(rogue.url) as client:
            for piece in client.run("r1").pieces():
                assert piece == WORDS[0]
                break
            assert rogue.gone.wait(DEADLINE_S)
            rogue.gone.clear()
            with client.run("r1").events() as events:
                assert next(events) == STORY[0]
            assert rogue.gone.wait(DEADLINE_S)
            assert list(events) == []

    rogue.acts = [stays_after(frames(STORY[:3]))] * 2
    await asyncio.to_thread(use)


async def test_sync_a_reader_that_waits_is_told_when_the_client_closes(rogue: Rogue) -> None:
    rogue.acts = [stays_after(b":\n\n")]
    client = Client(rogue.url)
    waiting = asyncio.create_task(asyncio.to_thread(client.run("r1").text))
    await until(lambda: rogue.cursors == [None])
    await asyncio.to_thread(client.close)
    with pytest.raises(ClientError, match="closed"):
        await waiting


async def test_sync_a_client_that_is_garbage_ends_its_thread(rogue: Rogue) -> None:
    def use() -> None:
        words = list(Client(rogue.url).run("r1").pieces())
        assert words == WORDS
        gc.collect()

    await asyncio.to_thread(use)
    await until(lambda: "penstock-client" not in [thread.name for thread in threading.enumerate()])


def test_sync_ctrl_c_leaves_the_client_in_order(rogue: Rogue) -> None:
    async def interrupt(stage: Stage) -> None:
        await stage.start()
        await stage.write(sse.first_bytes(15))
        ident = threading.main_thread().ident
        assert ident is not None
        signal.pthread_kill(ident, signal.SIGUSR1)
        await stage.left()

    rogue.acts = [interrupt]
    before = signal.signal(signal.SIGUSR1, signal.default_int_handler)
    try:
        with Client(rogue.url) as client:
            with pytest.raises(KeyboardInterrupt), client.run("r1").events() as events:
                next(events)
            assert rogue.gone.wait(DEADLINE_S)
            assert client.run("r1").text() == TEXT
    finally:
        signal.signal(signal.SIGUSR1, before)


FORGETFUL = """
import sys
from penstock.client import Client

client = Client(sys.argv[1])
events = client.run("r1").events()
print(next(events).text)
"""


def test_sync_a_program_that_forgets_to_close_ends(rogue: Rogue) -> None:
    rogue.acts = [stays_after(frames(STORY[:3]))]
    command = [sys.executable, "-c", FORGETFUL, rogue.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, WORDS[0] + "\n", "")
    assert rogue.gone.wait(DEADLINE_S)


async def test_sync_errors_are_the_same(rogue: Rogue) -> None:
    rogue.last = refuses(401, "unauthorized")
    with Client(rogue.url) as client, pytest.raises(Unauthorized):
        await asyncio.to_thread(client.run("r1").result)
