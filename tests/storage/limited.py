"""`python limited.py PATH`: appends under a largest file size until that fails, then without; tells the tail."""

import asyncio
import resource
import sys
from pathlib import Path

from penstock.errors import StoreError
from penstock.models import Append, Chunk, Group, RunRecord, RunState
from penstock.storage.sqlite import SqliteStore

LARGEST_BYTES = 400_000


async def main(path: Path) -> int:
    store = SqliteStore(path, synchronous="normal")
    await store.open()
    run = RunRecord(id="r", function="f", group="g", state=RunState.QUEUED, created_at_ms=1)
    await store.submit(run, "epoch678")
    (claimed,) = await store.claim("w", [Group("g", ("f",), None)], 1, 1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_BYTES, resource.RLIM_INFINITY))
    refusals, seq = 0, 1
    while refusals < 3 or seq < 200:
        try:
            chunk = Chunk(seq, seq, b"x" * 4000)
            assert await store.append([Append("r", claimed.lease.fence, chunk)]) == [True]
            seq += 1
        except StoreError:
            refusals += 1
            assert [c.first_seq for c in await store.read("r", 0, 1 << 30)] == list(range(1, seq))
            if refusals == 3:
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await store.close()
    return seq - 1


if __name__ == "__main__":
    print(asyncio.run(main(Path(sys.argv[1]))))
