"""What befalls a tab."""

import asyncio

from .scene import STEPS, TRANSPORTS, Scene, disturbance

FREEZE_S = 60.0
"""Chromium freezes tabs after minutes; what matters is more than two heartbeats of 15 s."""


@disturbance("frozen for 60 s", idles=True)
async def frozen(scene: Scene) -> None:
    tab = await scene.begin(pause_ms=250)
    await tab.freeze()
    await asyncio.sleep(FREEZE_S)
    await tab.thaw()
    scene.over()
    await scene.gets(tab, 20)


@disturbance("frozen for 60 s, and its socket dies", idles=True)
async def frozen_and_cut(scene: Scene) -> None:
    tab = await scene.begin(pause_ms=250)
    await tab.freeze()
    await asyncio.sleep(FREEZE_S / 4)
    scene.proxy.cut_all()
    await asyncio.sleep(FREEZE_S * 3 / 4)
    await tab.thaw()
    scene.over()
    await scene.gets(tab, 20)


@disturbance("hidden, its timers throttled, and its socket dies")
async def hidden(scene: Scene) -> None:
    tab = await scene.begin()
    await tab.hide()
    await scene.gets(tab, 20)
    scene.proxy.cut_all()
    await scene.gets(tab, 20)
    await tab.show()
    scene.over()


@disturbance("hidden for 10 s: one update a second, and all at once when it is shown", idles=True)
async def unseen(scene: Scene) -> None:
    tab = await scene.begin()
    await tab.hide()
    await asyncio.sleep(5)  # who looks away for a moment changes nothing
    began_ms = await tab.page.evaluate("Date.now()")
    await asyncio.sleep(5)
    since = f"probe.timesMs.filter((ms) => ms > {began_ms})"
    # What came in one go was handed over within milliseconds.
    updates = await tab.page.evaluate(
        f"{since}.filter((ms, at, all) => !at || ms - all[at - 1] > 200).length"
    )
    assert 2 <= updates <= 7, await tab.page.evaluate(f"{since}.map((ms) => ms - {began_ms})")
    await tab.show()
    scene.over()
    await scene.gets(tab, 20)


@disturbance("shown and hidden again and again")
async def switched(scene: Scene) -> None:
    tab = await scene.begin()
    for _ in range(4):
        await tab.hide()
        await scene.gets(tab, 1)
        await tab.show()
        await scene.gets(tab, 10)
    scene.over()


@disturbance("reloaded while the run waits in the queue")
async def reloaded_queued(scene: Scene) -> None:
    lane = f"{scene.folder.name}-queue"
    await scene.start(steps=2, shut=(1,), lane=lane)
    await scene.start(steps=20, lane=lane)
    tab = await scene.open()
    await tab.until("probe.statuses.at(-1)?.position === 1")
    await tab.page.reload()
    await tab.until("probe.statuses.at(-1)?.position === 1")
    scene.let(1)
    scene.over()


@disturbance("reloaded when the run has just started")
async def reloaded_at_start(scene: Scene) -> None:
    await _reloaded(scene, 1)


@disturbance("reloaded in the middle of the run")
async def reloaded_in_the_middle(scene: Scene) -> None:
    await _reloaded(scene, STEPS // 2)


@disturbance("reloaded just before the end")
async def reloaded_before_the_end(scene: Scene) -> None:
    await _reloaded(scene, STEPS - 1)


async def _reloaded(scene: Scene, step: int) -> None:
    await scene.start(shut=(step,))
    tab = await scene.open()
    await tab.until(f"probe.subscription.received >= {step}")
    await tab.page.reload()
    await tab.until(f"probe.subscription.received >= {step}")
    scene.let(step)
    scene.over()


@disturbance("reloaded after the end")
async def reloaded_at_the_end(scene: Scene) -> None:
    await scene.start(steps=20, pause_ms=1)
    tab = await scene.open()
    await scene.check(tab)
    await tab.page.reload()


@disturbance("reloaded again and again, reading on from where it stood")
async def reading_on(scene: Scene) -> None:
    tab = await scene.begin(query={"after": "remembered"})
    for _ in range(3):
        had = await tab.page.evaluate("probe.events.length")
        await tab.page.reload()
        await tab.until("!!globalThis.probe")
        scene.proxy.cut_all()  # while it asks for the state
        await tab.until(f"globalThis.probe?.events.length > {had} + 10")
    scene.over()


@disturbance("duplicated, with its session storage")
async def duplicated(scene: Scene) -> None:
    tab = await scene.begin()
    # A window that its page opens begins with a copy of that page's storage, as a duplicated tab does.
    twin = await scene.chromium.opened_by(tab, "void window.open(location.href)")
    scene.tabs.append(twin)
    await scene.gets(twin, 10)
    scene.over()
    await scene.check(tab)
    await twin.show()


@disturbance("left, and come back to by the back button")
async def back_and_forth(scene: Scene) -> None:
    tab = await scene.begin()
    await tab.page.evaluate(
        "addEventListener('pageshow', ({persisted}) => { globalThis.persisted = persisted; })"
    )
    await tab.page.goto(f"{scene.proxy.url}/probe.html?mount=penstock")
    await tab.page.evaluate("void history.back()")
    await tab.until(
        "probe.subscription && globalThis.persisted !== undefined", what="it comes from the cache"
    )
    assert await tab.page.evaluate("persisted") is True
    scene.over()
    await scene.gets(tab, 10)


DENIED = """
const denied = () => { throw new DOMException('denied', 'SecurityError'); };
for (const name of ['localStorage', 'sessionStorage']) Object.defineProperty(globalThis, name, { get: denied });
globalThis.SharedWorker = class { constructor() { denied(); } };
"""


@disturbance("storage and SharedWorker denied by the person's settings", ways=("auto",))
async def denied(scene: Scene) -> None:
    tab = await scene.begin(before=DENIED, query={"share": "1"})
    scene.proxy.cut_all()
    scene.over()
    await scene.gets(tab, 10)


MUTE = "globalThis.SharedWorker = class { port = new MessageChannel().port1; };"


@disturbance("a SharedWorker that never answers", ways=("auto",))
async def mute_worker(scene: Scene) -> None:
    await scene.begin(before=MUTE, query={"share": "1"})


PHONE = """
delete globalThis.SharedWorker;
Object.defineProperty(navigator, 'maxTouchPoints', { value: 5 });
"""


@disturbance("a phone, without SharedWorker, whose screen goes dark", ways=(*TRANSPORTS, "auto"))
async def phone(scene: Scene) -> None:
    tab = await scene.begin(before=PHONE)
    await tab.send(
        "Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=3, mobile=True
    )
    await tab.send("Emulation.setTouchEmulationEnabled", enabled=True)
    await scene.gets(tab, 10)
    await tab.freeze()
    scene.proxy.cut_all()
    await asyncio.sleep(2)
    await tab.thaw()
    scene.over()
    await scene.gets(tab, 10)
