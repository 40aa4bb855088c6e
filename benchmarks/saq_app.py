"""The peer of `queue_throughput`: a SAQ worker with one function that does nothing.

`python -m benchmarks.saq_app REDIS_URL` runs it, with uvloop, which SAQ's own command does not use.
"""

import logging
import sys
from typing import Any

import saq
import uvloop
from saq.queue.redis import RedisQueue

CONCURRENCY = 50

MAX_OPERATIONS = 100
"""Redis operations at once. SAQ's default of 20 would hold up 50 clients."""


def make_queue(url: str) -> Any:
    """The queue, as the worker and the clients use it."""
    return RedisQueue.from_url(url, max_concurrent_ops=MAX_OPERATIONS)


async def noop(_context: Any) -> None:
    """Nothing: what is measured is the queue."""


async def work(url: str) -> None:
    """Work until a signal comes."""
    await saq.Worker(make_queue(url), functions=[noop], concurrency=CONCURRENCY).start()


if __name__ == "__main__":
    logging.getLogger("saq").setLevel(logging.ERROR)  # it warns at each end that it was idle
    uvloop.run(work(sys.argv[1]))
