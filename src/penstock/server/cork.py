"""What is written in one turn of the loop is sent as one."""

import asyncio
from collections.abc import Iterable
from typing import Any

__all__ = ["CORK_BYTES", "PASSED_ON", "Corked"]

CORK_BYTES = 16 * 1024
"""Bytes of one turn that are gathered: heads and first frames, which are small. Beyond it a system call costs less
than the copy."""

PASSED_ON = frozenset({
    "abort", "get_extra_info", "get_protocol", "get_write_buffer_limits", "get_write_buffer_size", "is_closing",
    "is_reading", "pause_reading", "resume_reading", "set_protocol", "set_write_buffer_limits",
})  # fmt: skip
"""What a transport does that can't overtake bytes held back: it sends nothing and ends nothing in order. uvicorn
uses some; the rest is what asyncio's readers, writers and protocols use of it."""


class Corked:
    """A transport that sends what is written in one turn of the loop at the turn's end.

    The head of a response then goes with the beginning of its body, in one system call and one packet. What it has
    no method for is passed on where it is harmless (`PASSED_ON`), else refused.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        self._held_bytes = 0
        # asyncio's own, of Python 3.12 and some later ones, does not say when its buffer is full (CVE-2024-12254).
        self._gathers = not type(transport).__module__.startswith("asyncio")

    def write(self, data: bytes) -> None:
        """Send soon."""
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > CORK_BYTES:
            self.flush()

    def writelines(self, pieces: Iterable[bytes | bytearray | memoryview]) -> None:
        """Send them soon, one after the other."""
        self.write(b"".join(pieces))

    def write_now(self, data: bytes) -> None:
        """Send at once, unless something is held back, before which it must not go."""
        if self._held:
            self.write(data)
        elif data:
            self._transport.write(data)

    def writelines_now(self, pieces: list[bytes]) -> None:
        """The same of several pieces, of which no copy is made."""
        if self._held or not self._gathers:
            self.write_now(b"".join(pieces))
        else:
            self._transport.writelines(pieces)

    def flush(self) -> None:
        """Send what is held back."""
        held, self._held = self._held, []
        self._held_bytes = 0
        if held and not self._transport.is_closing():
            self._transport.write(b"".join(held))

    def close(self) -> None:
        """Send what is held back, and close."""
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        if name not in PASSED_ON:
            raise AttributeError(
                f"{name} might overtake what this transport holds back; it has to be added here."
            )
        return getattr(self._transport, name)
