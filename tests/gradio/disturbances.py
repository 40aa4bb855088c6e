"""What befalls a page of a Gradio app."""

import asyncio
import json
import time
from pathlib import Path
from random import Random
from typing import Any

import httpx

from penstock.testing import until
from penstock.testing.faults import _EndFilter

from .scene import STEPS, Scene, disturbance
from .seen import text_of

MINUTES = 180.0
"""Longer than 2,001 sessions take to join, on a busy machine too."""

MIB = 1024 * 1024


class EndOnCue:
    """Ends each chunked body that is open at the time, cleanly, when `now` is set: after its next chunk."""

    keep_alive = False
    clean = True

    def __init__(self) -> None:
        self.now = False

    def filter(self, chance: Random) -> "_CueFilter":
        return _CueFilter(self)


class _CueFilter(_EndFilter):
    def __init__(self, cue: EndOnCue) -> None:
        super().__init__(lambda: 1 << 60, whole_chunks=True)
        self._cue = cue

    def on_chunk_complete(self) -> None:
        if self._cue.now:
            self._end()


@disturbance("connection reset")
async def cut(scene: Scene) -> None:
    await scene.begin()
    scene.proxy.cut_all()


@disturbance("clean end of the body")
async def clean_end(scene: Scene) -> None:
    scene.proxy.fault = cue = EndOnCue()
    await scene.begin()
    cue.now = True
    await until(lambda: scene.proxy.ends, 30, "a body ends")
    cue.now = False


@disturbance("page reloaded")
async def reload(scene: Scene) -> None:
    tab = await scene.begin()
    scene.loads = 1
    await tab.page.reload()
    await tab.page.evaluate("delete sessionStorage.faultyTold")  # what the page said that is gone
    await scene.is_up(tab)


@disturbance("tab frozen for 60 s", idles=True)
async def frozen(scene: Scene) -> None:
    await _frozen(scene, dies=False)


@disturbance("tab frozen for 60 s, and its socket dies", idles=True)
async def frozen_and_cut(scene: Scene) -> None:
    await _frozen(scene, dies=True)


async def _frozen(scene: Scene, *, dies: bool) -> None:
    tab = await scene.begin(_pause_s(scene, scene.times.frozen_s))
    await tab.freeze()
    await asyncio.sleep(scene.times.frozen_s / 4)
    if dies:
        scene.proxy.cut_all()
    await asyncio.sleep(scene.times.frozen_s * 3 / 4)
    await tab.thaw()
    scene.pace()


@disturbance("network away for 30 s", idles=True)
async def offline(scene: Scene) -> None:
    tab = await scene.begin(_pause_s(scene, scene.times.offline_s))
    await tab.offline(True)
    scene.proxy.offline()
    await asyncio.sleep(scene.times.offline_s)
    scene.proxy.online()
    await tab.offline(False)
    scene.pace()


def _pause_s(scene: Scene, lasts_s: float) -> float:
    """So that the story outlasts the disturbance."""
    return max(scene.times.pause_s, 1.3 * lasts_s / STEPS)


@disturbance("server stopped (SIGTERM) and started", own_server=True)
async def restarted(scene: Scene) -> str:
    return await _restarted(scene, scene.server.terminate)


@disturbance("server killed (SIGKILL) and started", own_server=True)
async def killed(scene: Scene) -> str:
    return await _restarted(scene, scene.server.kill)


async def _restarted(scene: Scene, end: Any) -> str:
    """A story is under way, and another waits in line."""
    tab = await scene.begin()
    scene.pace(MINUTES / STEPS)
    await scene.type(tab, "prompt", f"{scene.name}-waits 5 0.05")
    await scene.press(tab, "then-tell")
    await tab.until("/queue: 1|queue: [0-9]/.test(document.body.innerText)", 30, "it waits")
    scene.before["prompt"] = f"{scene.name}-waits 5 0.05"
    await asyncio.to_thread(end)
    await asyncio.to_thread(scene.server.restart)
    look = await scene.settle(tab, _is_told)
    waited = look["next_told"] == text_of(5)
    found = await scene.examine(tab, look)
    if scene.hardened:
        assert waited and found.shown >= 1 and found.inputs and found.unsent and found.presses == 1, found  # noqa: PT018
        assert not found.reloads, found
        assert any("restart" in text for text in found.messages), found
    line = "the one in line ran" if waited else "the one in line lost"
    return f"{found.words()}; {line}"


def _is_told(look: dict[str, Any]) -> bool:
    """What waited is done, and what ran is said to be over."""
    return look["next_told"] == text_of(5) and any("restart" in text for text in look["messages"])


@disturbance("tab closed and opened again (Ctrl+Shift+T)")
async def reopened(scene: Scene) -> None:
    tab = await scene.begin()
    await tab.page.close()
    await asyncio.sleep(scene.times.reopened_s)
    again = await scene.chromium.reopened(scene.proxy.url)
    scene.tabs.append(again)
    scene.loads = 1
    await again.page.evaluate("delete sessionStorage.faultyTold")
    await scene.is_up(again)


@disturbance("tab closed for good")
async def closed(scene: Scene) -> str:
    """Nobody waits for it any more: whatever it takes up is freed."""
    tab = await scene.begin(MINUTES / STEPS)
    await tab.page.close()
    began = time.monotonic()
    await until(lambda: scene.ran().closed, 60, "its run is closed")
    took_s = time.monotonic() - began
    assert not scene.ran().ended
    assert took_s < 60
    return "run stopped after some seconds" if took_s > 3 else "run stopped at once"


@disturbance("2,001 other sessions", own_server=True)
async def sessions(scene: Scene) -> str:
    """One of them has a progress bar when it is evicted, which used to be the end of all."""
    tab = await scene.begin(MINUTES / STEPS)
    await asyncio.to_thread(_join_all, scene.server.url, scene.times.sessions)
    scene.pace()
    found = await scene.examine(tab)
    ticks = await asyncio.to_thread(_progress_of_a_new_session, scene.server.url)
    if scene.hardened:
        assert found.whole, found
        assert ticks, "a new session has no progress"
    return found.words() + ("" if ticks else "; no session has progress bars any more")


@disturbance("a client that does not read 200 MB", own_server=True)
async def not_reading(scene: Scene) -> str:
    """Straight to the server: the kernel's buffers are all that is between."""
    server = scene.server
    updates, size_bytes = scene.times.flood
    with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as http:
        _join(http, "flood", ["warm", 100, size_bytes], "warm")
        await until(lambda: scene.ran("warm").ended, 60, "it is warm")
        had = rss_bytes(server.pid)
        _join(http, "flood", ["flood", updates, size_bytes], "idle")
        with http.stream("GET", "/gradio_api/queue/data", params={"session_hash": "idle"}):
            await until(lambda: scene.ran("flood").ended, 120, "all is yielded")
            grown = rss_bytes(server.pid) - had
    if scene.hardened:
        assert grown < 20 * MIB, grown
    return "less than 2 MB" if grown < 2e6 else f"{grown / 1e6:+.0f} MB"


def rss_bytes(pid: int) -> int:
    """Memory that a process has."""
    (line,) = [one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


def _function(http: httpx.Client, name: str) -> int:
    functions = http.get("/config").json()["dependencies"]
    number: int = next(one["id"] for one in functions if one["api_name"] == name)
    return number


def _join(http: httpx.Client, name: str, data: list[Any], session: str, function: int | None = None) -> None:
    number = _function(http, name) if function is None else function
    body = {"data": data, "fn_index": number, "session_hash": session, "trigger_id": None, "event_data": None}
    http.post("/gradio_api/queue/join", json=body).raise_for_status()


def _join_all(url: str, count: int) -> None:
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as http:
        _join(http, "work", [MINUTES / 0.2], "early")
        function = _function(http, "echo")
        for number in range(count):
            _join(http, "echo", ["hello"], f"other{number}", function)


def _progress_of_a_new_session(url: str) -> int:
    """How many progress messages somebody gets who comes now."""
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as http:
        _join(http, "work", [5], "new")
        with http.stream("GET", "/gradio_api/queue/data", params={"session_hash": "new"}) as answer:
            messages = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]
    assert any(message["msg"] == "process_completed" and message["success"] for message in messages)
    return sum(message["msg"] == "progress" for message in messages)
