"""What tests of the command line share: a server to speak to."""

from collections.abc import Iterator

import pytest

from penstock.testing import ServerProcess

SOURCE = """
import asyncio, pathlib, penstock
from penstock.storage.sqlite import connection
from penstock.worker import executor

connection.BUSY_TIMEOUT_S = 0.3
executor.retry_delay_s = lambda attempt, chance: 0.0
app = penstock.App()
GO = pathlib.Path("go")

@app.function(concurrency_limit=None)
async def say(text: str, times: int = 1, run: penstock.Run = None):
    run.log("about to speak")
    run.progress(1, 2, "words")
    with run.span("speaking", kind="tool"):
        for _ in range(times):
            yield text
    return

@app.function(concurrency_limit=None)
def show(value):
    yield {"got": value}
    return [value]

@app.function(concurrency_limit=None)
def perhaps(text: str | None = None):
    return [text]

@app.function(concurrency_limit=None)
async def fail():
    yield "before "
    raise ValueError("too much")

@app.function(concurrency_limit=None)
async def wait():
    yield "begun"
    while not GO.exists():
        await asyncio.sleep(0.01)
    yield " done"

@app.function(concurrency_limit=None, retries=1)
async def stumble(steps: int, run: penstock.Run = None):
    for step in range(run.restored or 0, steps):
        yield f"{step} "
        run.checkpoint(step + 1)
    if run.attempt == 1:
        yield "lost "
        raise ValueError("too much")
    yield "done"

@app.function(concurrency_limit=None, cumulative=True, rate=0)
async def grow(values: list):
    for value in values:
        yield value

@app.function(concurrency_limit=None)
async def flood():
    for number in range(20_000):
        yield f"line {number}\\n"
"""


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One for all of these tests, each of which looks for runs of its own."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "app.py").write_text(SOURCE)
    with ServerProcess("app.py", "--grace-s", "0", "--token", "secret", cwd=folder) as server:
        yield server
