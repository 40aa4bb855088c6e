"""Starting `child.py` and talking with it."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

DEADLINE_S = 60.0

SCRIPT = Path(__file__).with_name("child.py")


class Child:
    """A process that runs one of the programs of `child.py`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    def say(self) -> None:
        """Let it go on."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")

    async def line(self) -> str:
        """Its next line; empty after its end."""
        assert self.process.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            return (await self.process.stdout.readline()).decode().rstrip("\n")

    async def lines(self) -> list[str]:
        """All that it still has to say, up to its end."""
        found: list[str] = []
        while line := await self.line():
            found.append(line)
        return found

    async def finish(self) -> list[str]:
        """Its last lines, once it has ended by itself, as it should."""
        lines = await self.lines()
        assert await self.process.wait() == 0
        return lines


@asynccontextmanager
async def child(name: str, path: Path, *given: str) -> AsyncIterator[Child]:
    """A child that has started and waits for the word to open the file; killed if it is still there at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SCRIPT),
        name,
        str(path),
        *given,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    started = Child(process)
    try:
        assert await started.line() == "ready"
        yield started
    finally:
        if process.returncode is None:
            process.kill()
        await started.lines()
        await process.wait()
        if process.stdin is not None:
            process.stdin.close()
