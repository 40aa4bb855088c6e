"""Files of a form: uploaded in pieces, through cuts and a reload, and given to the function."""

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from penstock.testing import FaultProxy, ServerProcess, until

from .page import WAIT_S, Console

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIZE = 3_000_000
"""Several pieces: the first has 256 KiB, and each at most twice the one before."""


@pytest.fixture(scope="module")
def letter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("files") / "a letter, naïve.bin"
    path.write_bytes(Random(7).randbytes(SIZE))
    return path


@pytest_asyncio.fixture(loop_scope="module")
async def behind(browser: Browser, server: ServerProcess) -> AsyncIterator[tuple[Console, FaultProxy]]:
    """A tab that sees the server through a network that may fail."""
    async with FaultProxy(server.port) as proxy:
        context = await browser.new_context(viewport={"width": 1280, "height": 800})
        console = Console(await context.new_page(), server)
        await console.page.goto(f"{proxy.url}/#/start/weigh")
        await console.sees("#field-letter")
        yield console, proxy
        await context.close()
    assert console.bugs == []


async def weighed(console: Console, letter: Path) -> dict[str, Any]:
    """The result of the run that the page has gone to."""
    run_id = await console.until("location.hash.startsWith('#/runs/run_') && location.hash.slice(7)")

    async def ended() -> dict[str, Any]:
        run = await console.run(run_id)
        return run if run["ended_at_ms"] else {}

    run = await until(ended, WAIT_S)
    assert run["state"] == "succeeded", run["error"]
    content = letter.read_bytes()
    assert run["result"]["name"] == letter.name
    assert run["result"]["size"] == len(content)
    assert run["result"]["sum"] == sum(content) % 65521
    result: dict[str, Any] = run["result"]
    return result


SLOW = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 400_000}
"""Bytes a second: a file of `SIZE` takes long enough for a network to fail meanwhile."""


async def begin_slowly(console: Console, letter: Path) -> None:
    """Choose the file; a part of it has arrived."""
    session = await console.page.context.new_cdp_session(console.page)
    await session.send("Network.enable")
    await session.send("Network.emulateNetworkConditions", SLOW)
    await console.at("#field-letter").set_input_files(letter)
    await console.until("document.querySelector('.upload progress').value > 0")


def sent(console: Console) -> int:
    """Requests that carried a piece."""
    return len([path for path in console.asked if "/api/uploads/" in path])


async def test_a_file_is_uploaded_in_pieces_and_given_to_the_function(console: Console, letter: Path) -> None:
    await console.open("#/start/weigh")
    await console.sees("#field-letter")
    await console.at("#field-letter").set_input_files(letter)
    await console.sees("#field-letter-state", has_text="2.9 MiB uploaded")
    assert sent(console) >= 3
    await console.page.get_by_role("button", name="Add to more").click()
    await console.at("#field-more-0").set_input_files({"name": "b", "mimeType": "", "buffer": b""})
    await console.at("#run-button").click()  # it waits for what is on its way
    assert (await weighed(console, letter))["more"] == ["b"]


async def test_an_upload_goes_on_when_the_network_is_back(
    behind: tuple[Console, FaultProxy], letter: Path
) -> None:
    console, proxy = behind
    await begin_slowly(console, letter)
    proxy.offline()
    await console.sees("#field-letter-state", has_text="it goes on by itself")
    proxy.online()
    await console.sees("#field-letter-state", has_text="2.9 MiB uploaded")
    await console.at("#run-button").click()
    await weighed(console, letter)


async def test_after_a_reload_the_same_file_goes_on_where_it_was(
    behind: tuple[Console, FaultProxy], letter: Path
) -> None:
    console, proxy = behind
    await begin_slowly(console, letter)
    proxy.offline()
    await console.sees("#field-letter-state", has_text="it goes on by itself")
    proxy.online()
    await console.page.reload()
    await console.sees("#field-letter")
    answers: list[int] = []
    made: list[str] = []
    console.page.on("request", lambda request: made.append(request.method))
    console.page.on(
        "response",
        lambda answer: (
            answers.append(int(answer.headers.get("upload-offset", 0)))
            if answer.request.method == "HEAD"
            else None
        ),
    )
    await console.at("#field-letter").set_input_files(letter)
    await console.sees("#field-letter-state", has_text="2.9 MiB uploaded")
    assert answers[0] > 0, "what had arrived was not sent again"
    assert "POST" not in made
    await console.at("#run-button").click()
    await weighed(console, letter)


async def test_an_upload_is_cancelled_and_a_missing_file_is_asked_for(console: Console, letter: Path) -> None:
    await console.open("#/start/weigh")
    await console.sees("#field-letter")
    await console.at("#field-letter").set_input_files(letter)
    await console.sees("#field-letter-state", has_text="uploaded")
    await console.page.get_by_role("button", name="Remove").first.click()
    assert await console.at("#field-letter-state").inner_text() == ""
    await console.at("#run-button").click()
    await console.sees(".error:not(:empty)", has_text="It is required.")
    assert await console.focused() == "field-letter"


async def test_a_file_may_be_dropped(console: Console) -> None:
    await console.open("#/start/weigh")
    await console.sees("#field-letter")
    await console.page.evaluate("""() => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File(['dropped'], 'dropped.txt'));
      document.querySelector('.field[data-kind=file]')
        .dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
    }""")
    await console.sees("#field-letter-state", has_text="uploaded")
