"""Where a reader begins, and who is let in: the same over each transport."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

import penstock
from penstock.server.auth import require_known_host
from penstock.testing import until

from .transports import Refused, Transport, fold_of, seqs

if TYPE_CHECKING:
    from tests.conftest import Api
    from tests.server.conftest import Gate, MakeApp, Served

TOKEN = "s3cret/+=token"


class Finished(NamedTuple):
    """A run of six events."""

    run_id: str
    epoch: str

    def at(self, seq: int) -> str:
        return f"{self.epoch}-{seq}"


@pytest.fixture
async def finished(api: "Api") -> Finished:
    run_id = await api.submit("count")
    await api.ended(run_id)
    cursor = (await api.get(f"/api/runs/{run_id}/events?poll=0")).json()["cursor"]
    return Finished(run_id, cursor.partition("-")[0])


async def refusal(transport: Transport, api: "Api", run_id: str, **options: Any) -> tuple[int, str]:
    """How a reader is refused: status and code."""
    with pytest.raises(Refused) as refused:
        async with transport.open(api, run_id, **options) as view:
            await view.next()
    return refused.value.status, refused.value.error["code"]


# --- Cursors ---


async def test_a_cursor_in_the_middle(transport: Transport, api: "Api", finished: Finished) -> None:
    for after in range(6):
        items = await transport.read(api, finished.run_id, finished.at(after), rate=0)
        assert seqs(items) == list(range(after + 1, 7))


async def test_a_cursor_inside_a_chunk(
    transport: Transport, connect: "type[Api]", make_app: "MakeApp", served: "Served"
) -> None:
    app = make_app()

    @app.function(rate=5)
    async def values() -> AsyncIterator[int]:
        for number in range(6):
            yield number

    async with served(app) as url, connect(url) as api:
        run_id = await api.submit("values")
        epoch = str((await transport.read(api, run_id))[-1].cursor).partition("-")[0]
        chunks = await (await app.start()).store.read(run_id, 0, 1 << 20)
        assert len(chunks) < 7
        for after in range(7):
            assert seqs(await transport.read(api, run_id, f"{epoch}-{after}")) == list(range(after + 1, 8))


async def test_an_empty_cursor_is_none(transport: Transport, api: "Api", finished: Finished) -> None:
    assert seqs(await transport.read(api, finished.run_id, "", rate=0)) == [1, 2, 3, 4, 5, 6]


async def test_a_cursor_that_fits_nothing_is_reset(
    transport: Transport, api: "Api", finished: Finished
) -> None:
    for after in ("elsewhere-3", finished.at(7), finished.at(999999999999999999)):
        reset, *rest = await transport.read(api, finished.run_id, after, rate=0)
        assert reset.cursor is None
        assert (reset.type, reset.body["to"], bool(reset.body["reason"])) == ("reset", 0, True)
        assert seqs(rest) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("cursor", ["elsewhere-3", "{epoch}-7"])
@pytest.mark.parametrize(
    ("function", "state", "position"), [("silent", "running", None), ("one", "queued", 1)]
)
async def test_a_cursor_where_nothing_is_written_yet(
    transport: Transport,
    api: "Api",
    app: penstock.App,
    gate: "Gate",
    cursor: str,
    function: str,
    state: str,
    position: int | None,
) -> None:
    """What the reader shows is withdrawn, and it learns where the run stands, before anything comes."""
    app.function(name="one", concurrency_limit=1)(app.functions["silent"].call)
    first, run_id = await api.submit("one"), await api.submit(function)
    worker = (await app.start()).worker
    await until(lambda: worker.has(first) and (worker.has(run_id) or state == "queued"))
    polled = (await api.get(f"/api/runs/{run_id}/events?poll=0")).json()
    epoch, _, seq = polled["cursor"].rpartition("-")
    assert (polled["events"], seq) == ([], "0")
    async with transport.open(api, run_id, cursor.format(epoch=epoch)) as view:
        reset = await view.next()
        assert (reset.type, reset.cursor) == ("reset", None)
        if transport.tells:
            status = await view.next()
            expected = {"type": "status", "state": state, "position": position, "eta_s": None}
            assert (status.body, status.cursor) == (expected, None)
        gate.open.set()
        assert seqs(await view.rest()) == [1]


async def test_a_cursor_at_the_start_of_what_is_not_written_yet(
    transport: Transport, api: "Api", gate: "Gate"
) -> None:
    run_id = await api.submit("silent")
    cursor = (await api.get(f"/api/runs/{run_id}/events?poll=0")).json()["cursor"]
    async with transport.open(api, run_id, cursor) as view:
        gate.open.set()
        items = await view.rest()
    assert not any(item.type == "reset" for item in items), "it fits: nothing is withdrawn"
    assert seqs(items) == [1]


async def test_who_has_the_end_has_everything(
    transport: Transport, api: "Api", finished: Finished, app: penstock.App
) -> None:
    async with transport.open(api, finished.run_id, finished.at(6)) as view:
        assert await view.rest() == []
        assert view.done
    hub = (await app.start()).hub
    await until(lambda: hub.subscribers == 0)


async def test_the_end_of_what_there_is_yet_is_waited_at(
    transport: Transport, api: "Api", gate: "Gate", app: penstock.App
) -> None:
    run_id = await api.submit("wait")
    async with transport.open(api, run_id) as view:
        await view.until("text")
        cursor = view.cursor
    hub = (await app.start()).hub
    await until(lambda: hub.subscribers == 0)
    async with transport.open(api, run_id, cursor) as view:
        waiting = asyncio.create_task(view.rest())
        await until(lambda: hub.subscribers == 1)
        gate.open.set()
        assert seqs(await waiting) == [2, 3]


# --- Who is refused ---


async def test_what_is_no_cursor_is_refused(transport: Transport, api: "Api", finished: Finished) -> None:
    epoch = finished.epoch
    for after in ("x", "-", epoch, f"{epoch}-", f"{epoch}-x", f"{epoch}-01", f"{epoch[1:]}1", "short-1"):
        assert await refusal(transport, api, finished.run_id, after=after) == (400, "bad_cursor"), after


async def test_a_rate_that_cannot_be_is_refused(transport: Transport, api: "Api", finished: Finished) -> None:
    for rate in ("-1", "0.5", "61", "nan", "inf", "fast", ""):
        assert await refusal(transport, api, finished.run_id, rate=rate) == (400, "bad_request"), rate


async def test_an_unknown_run_is_refused(transport: Transport, api: "Api", app: penstock.App) -> None:
    assert await refusal(transport, api, "run_nowhere") == (404, "unknown_run")
    hub = (await app.start()).hub
    assert (hub.subscribers, hub._tails) == (0, {}), "it leaves nothing behind"


async def test_names_that_are_not_this_machines_are_refused(
    transport: Transport, make_app: "MakeApp", connect: "type[Api]", served: "Served"
) -> None:
    app = make_app()
    async with served(require_known_host(app, frozenset({"box.lan"}))) as url, connect(url) as api:
        run_id = await api.submit("count")
        for host in ("localhost:1", "box.lan", "BOX.lan:8000"):
            async with transport.open(api, run_id, host=host) as view:
                assert fold_of(await view.rest()).end is not None
        for host in ("evil.example", "127.0.0.1.evil.example:80"):
            assert await refusal(transport, api, run_id, host=host) == (403, "forbidden_host")


async def test_without_the_token_nobody_reads(
    transport: Transport, make_app: "MakeApp", connect: "type[Api]", served: "Served"
) -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        served(make_app(token=TOKEN)) as url,
        connect(url, headers=bearer) as api,
        connect(url) as bare,
    ):
        run_id = await api.submit("count")
        assert await refusal(transport, bare, run_id) == (401, "unauthorized")
        assert await refusal(transport, bare, "run_nowhere") == (401, "unauthorized")
        async with transport.open(bare, run_id, headers=bearer) as view:
            assert fold_of(await view.rest()).end is not None
        cookie = (await bare.get("/", params={"token": TOKEN})).cookies["penstock"]
        async with transport.open(bare, run_id, headers={"Cookie": f"penstock={cookie}"}) as view:
            assert fold_of(await view.rest()).end is not None


async def test_mounted_in_another_application(
    transport: Transport, make_app: "MakeApp", connect: "type[Api]", served: "Served"
) -> None:
    app = make_app()
    outer = Starlette(routes=[Mount("/deep/penstock", app)], lifespan=app.lifespan)
    async with served(outer) as url, connect(f"{url}/deep/penstock") as api:
        run_id = await api.submit("count")
        assert fold_of(await transport.read(api, run_id)).text == "1 2 3 4 5 "
        assert await refusal(transport, api, "run_nowhere") == (404, "unknown_run")
