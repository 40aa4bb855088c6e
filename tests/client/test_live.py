"""The client against the real server, directly and through a network that fails."""

import asyncio
from collections.abc import AsyncIterator

import pytest

import penstock
from penstock import errors
from penstock.client import AsyncClient, AsyncRemoteRun, Client, wire
from penstock.events import End, Replace, Reset
from penstock.testing import Cut, FaultProxy, live_server
from penstock.testing import End as CleanEnd

WORDS = [f"word-{number} " for number in range(400)]


def make_app() -> penstock.App:
    app = penstock.App(store="memory:", rate=0)

    @app.function
    def add(a: int, b: int = 1) -> int:
        return a + b

    @app.function
    async def talk(single: bool = False) -> AsyncIterator[str | dict[str, str]]:
        for word in WORDS:
            yield {"word": word} if single else word

    @app.function
    async def hang() -> AsyncIterator[str]:
        yield "on"
        await asyncio.Event().wait()

    @app.function(cumulative=True)
    async def grow(fails: bool = False) -> AsyncIterator[str]:
        text = ""
        for word in WORDS:
            text += word
            yield text
        if fails:
            raise ValueError("too much")

    @app.function
    def fail() -> None:
        raise ValueError("too much")

    return app


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with live_server(make_app()) as url:
        yield url


@pytest.fixture
async def client(url: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(url) as client:
        yield client


async def test_a_run_from_submit_to_result(client: AsyncClient) -> None:
    run = await client.submit("add", {"a": 2}, session="s")
    assert await run.result() == 3
    state = await run.state()
    assert (state["run_id"], state["state"], state["session"]) == (run.id, "succeeded", "s")
    assert (await client.runs(function="add"))["runs"][0]["run_id"] == run.id
    assert {function["name"] for function in await client.functions()} == {
        "add",
        "talk",
        "hang",
        "grow",
        "fail",
    }
    assert await client.health()


async def test_one_key_is_one_run(client: AsyncClient) -> None:
    first, second = [await client.submit("add", {"a": 2}, key="once") for _ in range(2)]
    assert first.id == second.id


async def test_text_comes_whole(client: AsyncClient) -> None:
    run = await client.submit("talk")
    assert "".join([piece async for piece in run.pieces()]) == "".join(WORDS)
    assert await run.text() == "".join(WORDS)
    assert await run.result() is None


async def test_cumulative_values_come_as_values(client: AsyncClient) -> None:
    run = await client.submit("grow")
    values = [value async for value in run.latest()]
    assert values == sorted(values, key=len)
    assert values[-1] == "".join(WORDS) == await run.value() == (await run.fold()).value
    assert all("".join(WORDS).startswith(value) for value in values)
    sent = [event async for event in run.events() if isinstance(event, Replace)]
    assert sum(event.n for event in sent) == len(WORDS)
    assert len(sent) < 10, "who comes late gets them merged"


async def test_a_cumulative_run_that_fails_has_given_its_values(client: AsyncClient) -> None:
    run = await client.submit("grow", {"fails": True})
    latest = run.latest()
    async for value in latest:
        if value == "".join(WORDS):
            break
    with pytest.raises(errors.RunFailed, match="too much"):
        await anext(latest)
    with pytest.raises(errors.RunFailed):
        await run.value()


async def test_a_run_that_fails(client: AsyncClient) -> None:
    run = await client.submit("fail")
    with pytest.raises(errors.RunFailed, match="too much") as caught:
        await run.result()
    assert (caught.value.state, caught.value.error["code"]) == ("failed", "exception")


async def test_cancel_has_a_receipt_and_an_end(client: AsyncClient) -> None:
    run = await client.submit("hang")
    async with run.events() as events:
        await anext(events)
        assert (await run.cancel())["cancel"] in ("requested", "acknowledged", "stopped")
        last = [event async for event in events][-1]
    assert isinstance(last, End)
    assert last.state == "cancelled"


async def test_refusals_have_their_own_classes(client: AsyncClient) -> None:
    with pytest.raises(errors.UnknownFunction):
        await client.submit("nothing")
    with pytest.raises(errors.InvalidInput) as caught:
        await client.submit("add", {"b": 1})
    assert caught.value.field == "a"
    with pytest.raises(errors.UnknownRun):
        await client.run("nothing").text()


async def test_cursors_of_this_and_of_another_stream(client: AsyncClient) -> None:
    run = await client.submit("talk")
    everything = [event async for event in run.events()]
    reset, *again = [event async for event in run.events(after="elsewhere0-5")]
    assert isinstance(reset, Reset)
    assert again == everything


async def test_a_token_is_carried() -> None:
    app = make_app()
    app.configure(token="secret")
    async with live_server(app) as url:
        async with AsyncClient(url, token="secret") as client:
            assert await (await client.submit("add", {"a": 1})).result() == 2
        async with AsyncClient(url) as client:
            with pytest.raises(errors.Unauthorized):
                await client.functions()


@pytest.mark.parametrize("fault", [Cut(600, 6000), CleanEnd(600, 6000)])
async def test_through_a_network_that_fails_everything_comes_once(
    url: str, fault: Cut | CleanEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "_chance", lambda: 0.05)  # a low draw, to be quick
    port = int(url.rpartition(":")[2])
    async with (
        AsyncClient(url) as direct,
        FaultProxy(port, seed=1) as proxy,
        AsyncClient(proxy.url) as client,
    ):
        run = await direct.submit("talk", {"single": True})
        everything = [event async for event in run.events()]
        proxy.fault = fault

        async def read(run: AsyncRemoteRun) -> None:
            async with asyncio.timeout(60):
                assert [event async for event in run.events()] == everything

        await asyncio.gather(*[read(client.run(run.id)) for _ in range(10)])
        assert proxy.cuts + proxy.ends >= 10


async def test_sync(url: str) -> None:
    def use() -> None:
        with Client(url) as client:
            run = client.submit("talk")
            assert "".join(run.pieces()) == "".join(WORDS)
            assert client.submit("add", {"a": 1, "b": 2}).result() == 3

    await asyncio.to_thread(use)
