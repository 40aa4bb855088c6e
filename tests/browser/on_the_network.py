"""What befalls connections."""

import asyncio
import time
from typing import Any

import httpx
from playwright.async_api import Route

from penstock.testing import Answer, Cut, End, NoUpgrade, Swallow, until

from .chromium import DEADLINE_S, Tab
from .scene import Scene, disturbance


@disturbance("sockets reset at random bytes")
async def random_cuts(scene: Scene) -> None:
    await scene.begin()
    scene.proxy.fault = Cut(300, 2500)
    had = scene.proxy.cuts + scene.proxy.cut_all()
    enough = (
        2 if scene.way == "poll" else 4
    )  # a poll waits longer each time that its answer does not come whole
    await until(lambda: scene.proxy.cuts >= had + enough, DEADLINE_S, "sockets are cut")
    scene.proxy.fault = None
    scene.proxy.cut_all()
    scene.over()


@disturbance("bodies end cleanly in their middle", ways=("fetch", "eventsource", "poll", "shared"))
async def clean_ends(scene: Scene) -> None:
    tab = await scene.begin()
    scene.proxy.fault = End(100, 2000) if scene.way != "poll" else End(1, 60)
    scene.proxy.cut_all()
    if scene.way == "poll":  # its answers have a length: nothing to end
        await scene.gets(tab, 5)
    else:
        await until(lambda: scene.proxy.ends >= 3, DEADLINE_S, "bodies end")
    scene.proxy.fault = None
    scene.over()


@disturbance("network away: refused and reset")
async def network_away(scene: Scene) -> None:
    tab = await scene.begin()
    await tab.offline(True)
    scene.proxy.offline()
    await scene.is_at(tab, "reconnecting")
    if scene.way != "shared":  # what the worker's attempts meet is not on the page's console
        await _is_refused(tab)
    scene.proxy.online()
    await tab.offline(False)
    scene.over()


@disturbance("network away while the run is submitted")
async def submitted_without_network(scene: Scene) -> None:
    await scene.start()
    tab = await scene.open(run="")
    scene.proxy.offline()
    given = {"seed": scene.seed, "steps": 20, "pause_ms": 10, "lane": f"{scene.folder.name}-submitted"}
    await tab.page.evaluate("given => { globalThis.submitted = probe.client.submit('story', given); }", given)
    await until(lambda: any("ERR_CONNECTION_REFUSED" in text for text in tab.troubles), DEADLINE_S)
    scene.proxy.online()
    scene.over()
    scene.run_id = await tab.page.evaluate("submitted.then(({run_id}) => run_id)")
    await tab.page.evaluate("run => probe.read(run)", scene.run_id)


@disturbance("slow 3G")
async def slow_network(scene: Scene) -> None:
    tab = await scene.begin()
    await tab.slow()
    scene.proxy.latency_s = 0.2
    scene.proxy.cut_all()
    await scene.gets(tab, 30)


@disturbance("silence: the socket is open and nothing comes", idles=True)
async def silence(scene: Scene) -> None:
    # A path that drops everything: no end, no error. Only the client's own watch can tell.
    tab = await scene.begin()
    scene.proxy.stall()
    await scene.is_at(tab, "reconnecting", deadline_s=75)
    scene.proxy.flow()
    scene.over()


@disturbance("503 with Retry-After")
async def busy(scene: Scene) -> None:
    await scene.begin()
    body = b'{"error": {"code": "server_closing", "message": "Leaving.", "hint": ""}}'
    scene.proxy.fault = Answer(503, {"Retry-After": "1", "Content-Type": "application/json"}, body)
    scene.proxy.cut_all()
    await until(lambda: scene.proxy.ends >= 2, DEADLINE_S, "it is told twice")
    scene.proxy.fault = None
    scene.over()


@disturbance("404: the run is gone")
async def gone(scene: Scene) -> str:
    tab = await scene.begin()
    body = b'{"error": {"code": "unknown_run", "message": "There is no such run.", "hint": ""}}'
    scene.proxy.fault = Answer(404, {"Content-Type": "application/json"}, body)
    scene.proxy.cut_all()
    return await _stops(scene, tab, 404)


@disturbance("token expired: 401, then a fresh one", ways=("fetch", "poll"))
async def expired(scene: Scene) -> str:
    tab = await scene.begin(query=_guarded(scene))
    await _expire(scene)  # nobody notices while the connection holds
    scene.proxy.cut_all()
    scene.over()
    await scene.gets(tab, 10)
    result = await scene.result(tab)
    assert 2 <= await tab.page.evaluate("probe.tokens()") <= 3  # the request for it may have been cut as well
    return result


@disturbance("token expired, and where a fresh one comes from is away at first", ways=("fetch", "poll"))
async def late_token(scene: Scene) -> None:
    tab = await scene.begin(query=_guarded(scene))
    asked = 0

    async def away_at_first(route: Route) -> None:
        nonlocal asked
        asked += 1
        await (route.abort() if asked < 3 else route.continue_())

    await tab.page.route("**/token?*", away_at_first)
    await _expire(scene)
    scene.proxy.cut_all()
    scene.over()
    await scene.gets(tab, 10)
    assert asked in (3, 4)  # the request that it is for may be cut as well


@disturbance("token expired, and no other is to be had: 401", ways=("fetch", "poll"))
async def refused(scene: Scene) -> str:
    tab = await scene.begin(query=_guarded(scene))
    await _expire(scene, closed="1")
    scene.proxy.cut_all()
    return await _stops(scene, tab, 401)


def _guarded(scene: Scene) -> dict[str, str]:
    return {"mount": "guarded", "login": scene.folder.name}


async def _expire(scene: Scene, **more: str) -> None:
    """The page's token expires in this moment, not before all is ready for it."""
    async with httpx.AsyncClient(base_url=scene.server.url, trust_env=False) as client:
        answer = await client.post("/expire", params={"page": scene.folder.name, **more})
    assert answer.status_code == 200


async def _stops(scene: Scene, tab: Tab, status: int) -> str:
    """It says why, and asks no more."""
    await scene.is_at(tab, "stopped")
    asked = scene.proxy.connections
    await asyncio.sleep(3)  # long enough for another attempt
    assert scene.proxy.connections == asked
    stands = await tab.page.evaluate("probe.stands()")
    assert stands["error"]["status"] == status
    assert tab.bugs == []
    return f"stops: {status}"


@disturbance("a proxy that gives bodies only when they end", ways=("auto",), idles=True)
async def swallowed(scene: Scene) -> str:
    scene.proxy.fault = Swallow()
    return await falls_back(scene, "websocket")


@disturbance(
    "a proxy that gives bodies only when they end, and knows no WebSockets", ways=("auto",), idles=True
)
async def swallowed_without_sockets(scene: Scene) -> str:
    scene.proxy.fault = Swallow(upgrades=False)
    return await falls_back(scene, "poll")


@disturbance("a proxy that knows no WebSockets", ways=("auto",))
async def no_sockets(scene: Scene) -> str:
    scene.proxy.fault = NoUpgrade()
    tab = await scene.begin(query={"transport": "websocket,poll"})
    seen = await scene.check(tab)
    return f"✓ by {seen['transport']}"


async def falls_back(scene: Scene, wanted: str, **story: Any) -> str:
    """The page finds a way that is open, and the next one begins with it."""
    began = time.monotonic()
    tab = await scene.begin(deadline_s=60, **story)
    took_s = time.monotonic() - began
    assert (await tab.page.evaluate("probe.ways"))[-1] == wanted
    again = await scene.open()
    await again.until("probe.subscription.received >= 10")
    assert await again.page.evaluate("probe.ways") == [wanted]  # it is remembered what got through
    await scene.check(again)
    await scene.check(tab)
    return f"✓ by {wanted} · {took_s:.0f} s"


async def _is_refused(tab: Tab) -> None:
    """The browser has come back, and nobody was there."""
    refused = ("ERR_CONNECTION_REFUSED", "ERR_INTERNET_DISCONNECTED")
    await until(lambda: any(word in text for text in tab.troubles for word in refused), DEADLINE_S)
