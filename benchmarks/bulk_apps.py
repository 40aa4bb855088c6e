"""What `replay` and `stalled` serve: a stream of so many bytes, and then steady events for who reads live."""

from collections.abc import AsyncIterator
from typing import Any

import penstock

from .fan_out_apps import due

VALUE_BYTES = 100
PIECE_BYTES = 4000

app = penstock.App()


@app.function(concurrency_limit=None)
async def small(megabytes: float) -> AsyncIterator[dict[str, Any]]:
    """Values of 100 bytes: the size of the stream is theirs, the frames around them come on top."""
    for number in range(int(megabytes * 1e6 / VALUE_BYTES)):
        yield {"n": f"{number:09d}", "pad": "." * (VALUE_BYTES - 26)}


@app.function(concurrency_limit=None)
async def ahead(megabytes: float, count: int, per_s: float, go: str) -> AsyncIterator[dict[str, Any]]:
    """`megabytes` at once in values of 4,000 bytes, then the live events of `fan_out`."""
    for number in range(int(megabytes * 1e6 / PIECE_BYTES)):
        yield {"n": f"{number:09d}", "pad": "." * (PIECE_BYTES - 26)}
    async for values in due(count, per_s, go):
        for one in values:
            yield one
