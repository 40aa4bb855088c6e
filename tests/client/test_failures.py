"""What can't succeed: it is raised as what it is, and not tried for ever."""

import socket
from pathlib import Path

import httpx
import pytest

from penstock import errors
from penstock.client import AsyncClient
from penstock.errors import (
    BadCursor,
    ClientError,
    ConfigError,
    ConnectionLost,
    ProtocolError,
    StoreFull,
    Unauthorized,
)
from penstock.events import AnyEvent

from .rogue import EPOCH, OTHER, STORY, Act, Rogue, fails, frames, read, refuses, says, sends


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (refuses(401, "unauthorized"), Unauthorized),
        (refuses(403, "forbidden_host"), errors.ForbiddenHost),
        (refuses(404, "unknown_run"), errors.UnknownRun),
        (refuses(400, "bad_request"), errors.BadRequest),
        (refuses(410, "gone"), ClientError),
        (sends(b"<html>Not found</html>"), ConnectionLost),
        (says(200, {}), ProtocolError),
        (sends(frames([STORY[0], STORY[2]])), ProtocolError),
        (sends(frames(STORY[:1]) + frames(STORY[1:], OTHER)), ProtocolError),
        (sends(b'id: 1\ndata: {"type":"text","pos":0,"text":"a","seq":1}\n\n'), ProtocolError),
        (sends(b'data: {"type":"text","pos":0,"text":"a","seq":1}\n\n'), ProtocolError),
        (sends(b'id: abcdefgh01-2\ndata: {"type":"text","pos":0,"text":"a","seq":1}\n\n'), ProtocolError),
        (sends(b'id: abcdefgh01-1\ndata: {"type":"of-tomorrow","seq":1}\n\n'), ProtocolError),
        (sends(b"data: {\n\n"), ProtocolError),
        (sends(b"event: status\ndata: {\n\n"), ProtocolError),
    ],
)
async def test_what_can_not_succeed_is_raised_and_not_repeated_for_ever(
    rogue: Rogue, act: Act, error: type[Exception]
) -> None:
    rogue.last = act
    async with AsyncClient(rogue.url, retry_for_s=0.05) as client:
        with pytest.raises(error) as caught:
            await read(client.run("r1"))
    assert type(caught.value) is error
    if error is not ConnectionLost:
        assert len(rogue.cursors) == 1


async def test_the_events_before_a_gap_are_passed_on_first(rogue: Rogue, client: AsyncClient) -> None:
    rogue.last = sends(frames([*STORY[:2], STORY[4]]))
    got: list[AnyEvent] = []

    async def collect() -> None:
        async for event in client.run("r1").events():
            got.append(event)  # noqa: PERF401 - kept when the loop ends in an error

    with pytest.raises(ProtocolError, match="Events 3 to 4 are missing"):
        await collect()
    assert got == STORY[:2]


async def test_a_connection_that_stays_lost_is_given_up_with_the_place_to_read_on(rogue: Rogue) -> None:
    rogue.acts = [sends(frames(STORY[:3]), then_cut=True)]
    rogue.last = fails
    async with AsyncClient(rogue.url, retry_for_s=0.05) as client:
        with pytest.raises(ConnectionLost) as caught:
            await read(client.run("r1"))
    assert f"after='{EPOCH}-3'" in caught.value.hint


async def test_a_refusal_that_stays_is_raised_as_itself(rogue: Rogue) -> None:
    rogue.last = refuses(503, "store_full")
    async with AsyncClient(rogue.url, retry_for_s=0.05) as client:
        with pytest.raises(StoreFull) as caught:
            await read(client.run("r1"))
    assert caught.value.hint == "Because."


@pytest.mark.usefixtures("chance")
async def test_a_port_where_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with AsyncClient(url, retry_for_s=0.05) as client:
            with pytest.raises(ConnectionLost, match="unreachable"):
                await client.submit("f")
            assert not await client.health()


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://host", "http://", "http://host/?token=x", "http://host:port", ""]
)
def test_an_address_that_can_not_be_used_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        AsyncClient(url)


async def test_a_cursor_that_is_none_is_refused_without_asking(rogue: Rogue, client: AsyncClient) -> None:
    with pytest.raises(BadCursor):
        client.run("r1").events(after="yesterday")
    assert rogue.cursors == []


async def test_a_certificate_that_is_not_trusted_is_not_tried_again(tmp_path: Path) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        import ssl

        try:
            raise ssl.SSLCertVerificationError("self-signed certificate")
        except ssl.SSLError as error:
            raise httpx.ConnectError("certificate verify failed") from error

    async with httpx.AsyncClient(transport=httpx.MockTransport(refuse)) as http:
        client = AsyncClient("https://host", http=http, retry_for_s=None)
        with pytest.raises(ClientError, match="can't be spoken to"):
            await client.functions()
