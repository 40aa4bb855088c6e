"""Pages that Gradio's Node server renders (SSR): it stands before Python in the newest, and behind it in 5.50."""

from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.integrations.gradio.seams.rendering import with_hook
from penstock.testing import FaultProxy
from tests.browser.chromium import launched

from .disturbed import APP, opened
from .server import GradioServer

RENDERED = APP.read_text("utf-8").replace(".launch()", ".launch(ssr_mode=True)")


@pytest.mark.parametrize("version", ["5.50", "newest"])
async def test_a_rendered_page_reconnects_and_goes_on_when_it_is_loaded_again(
    version: str, needs: Callable[[str], str], tmp_path: Path
) -> None:
    needs("node")
    (tmp_path / "server").mkdir()
    async with (
        # In the newest Python listens at the next port that is free; one to try is too few.
        GradioServer(version, RENDERED, cwd=tmp_path / "server", env={"GRADIO_NUM_PORTS": "50"}) as server,
        FaultProxy(server.port) as proxy,
        launched(needs("chromium"), tmp_path / "profile") as chromium,
    ):
        page = await opened(chromium, proxy)
        assert await page.page.evaluate("'penstockGradio' in window"), "it is one that Node has made"
        await page.run("rendered", 80)
        proxy.cut_all()
        await page.field("Word").fill("not sent")
        await page.remembers("not sent")
        await page.reload()
        assert await page.value("Word") == "not sent"
        await page.ends("rendered", times=1, steps=80)
        assert [cookie["name"] for cookie in await page.page.context.cookies()] == ["penstock-gradio"]
        assert page.bugs == []


def test_node_is_told_once_and_beside_what_it_was_told_before() -> None:
    once = with_hook("--max-old-space-size=4096")
    first, second = once.split()
    assert first == "--max-old-space-size=4096"
    assert Path(second.removeprefix("--import=file://")).exists()
    assert with_hook(once) == once
