"""Tabs that read the same run at once."""

import asyncio
from collections.abc import Sequence

import httpx
from prometheus_client.parser import text_string_to_metric_families

from .chromium import Tab
from .scene import Scene, disturbance

TABS = 10
"""More than the six connections that a browser opens to one host over HTTP/1.1."""


@disturbance("ten tabs on one run over HTTP/1.1", ways=("shared",), own_server=True)
async def ten_tabs(scene: Scene) -> str:
    tabs = await _opened(scene, TABS)
    assert await readers(scene) == 1
    await _all_have_it(scene, tabs)
    return f"✓ {TABS} tabs, one connection"


@disturbance("ten tabs, each on a run of its own", ways=("shared",), own_server=True)
async def ten_runs(scene: Scene) -> str:
    tabs, runs = [], []
    for number in range(TABS):
        tabs.append(await scene.begin(lane=f"{scene.folder.name}-{number}"))
        runs.append(scene.run_id)
    scene.proxy.cut_all()
    for tab in tabs:  # all of them go on at once: no tab waits for another's connection
        await scene.gets(tab)
    for tab, run_id in zip(tabs, runs, strict=True):
        scene.run_id = run_id
        await scene.check(tab)
    return f"✓ {TABS} tabs"


@disturbance("the first of three tabs is closed", ways=("fetch", "shared"))
async def first_closed(scene: Scene) -> str:
    tabs = await _opened(scene, 3)
    await tabs[0].page.close()
    return await _go_on(scene, tabs)


@disturbance("the first of three tabs crashes", ways=("fetch", "shared"))
async def first_crashed(scene: Scene) -> str:
    tabs = await _opened(scene, 3)
    await tabs[0].crash()
    return await _go_on(scene, tabs)


@disturbance("the first of three tabs is frozen", ways=("fetch", "shared"))
async def first_frozen(scene: Scene) -> str:
    tabs = await _opened(scene, 3)
    await tabs[0].freeze()
    result = await _go_on(scene, tabs)
    await tabs[0].thaw()
    await scene.check(tabs[0])
    return result


async def _opened(scene: Scene, count: int) -> list[Tab]:
    tabs = [await scene.begin(), *[await scene.open() for _ in range(count - 1)]]
    for tab in tabs:
        await tab.until("probe.subscription.received >= 10")
    return tabs


async def _go_on(scene: Scene, tabs: Sequence[Tab]) -> str:
    scene.over()
    await _all_have_it(scene, tabs[1:])
    return await scene.result(tabs[-1])


async def _all_have_it(scene: Scene, tabs: Sequence[Tab]) -> None:
    await asyncio.gather(*[scene.check(tab) for tab in tabs])


async def readers(scene: Scene) -> float:
    """How many the server counts."""
    async with httpx.AsyncClient(base_url=scene.server.url, trust_env=False) as http:
        text = (await http.get("/penstock/metrics")).text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    return sum(sample.value for sample in families["penstock_readers"].samples)
