"""Options of a connection's socket. A Unix socket has none of them, nor has every system: then nothing is set."""

import contextlib
import socket
import struct
from typing import Any

__all__ = ["UNSENT_BYTES", "drop", "limit_unsent"]

UNSENT_BYTES = 128 * 1024
"""What waits in the kernel to be sent. It would take megabytes for each reader that takes nothing, and hide for
minutes whether a slow one takes anything."""

_AT_ONCE = struct.pack("ii", 1, 0)  # `struct linger` of socket(7)


def limit_unsent(transport: Any) -> None:
    """Have the kernel take no more than `UNSENT_BYTES` beyond what is on its way."""
    with contextlib.suppress(OSError, AttributeError):
        _of(transport).setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)


def drop(transport: Any) -> None:
    """End the connection and what waits in it; the kernel would else go on to offer that."""
    with contextlib.suppress(OSError, AttributeError, ValueError):  # the last where it has been closed
        _of(transport).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    transport.abort()


def _of(transport: Any) -> socket.socket:
    link: socket.socket = transport.get_extra_info("socket")
    return link
