"""Ending a run that nobody executes: one that was cancelled in the queue, or whose process died."""

import time
from typing import Any

from ..events import End
from ..models import Claimed, RunState
from ..protocol.sse import encode_chunk
from ..storage.base import Store

__all__ = ["end_unexecuted"]


async def end_unexecuted(
    store: Store, claimed: Claimed, state: RunState, error: dict[str, Any] | None = None
) -> None:
    """Write the `end` and set the state, in one commit. Raises Fenced and StoreError as `store.finish` does."""
    now_ms = time.time_ns() // 1_000_000
    end = End(state.value, None, error, seq=claimed.stream.tail + 1, at_ms=now_ms)  # type: ignore[arg-type]
    await store.finish(claimed.lease, state, error, encode_chunk([end], claimed.stream.epoch), now_ms)
