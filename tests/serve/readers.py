"""Readers that see how a server leaves."""

import asyncio
from typing import TYPE_CHECKING

from penstock.events import decode
from penstock.protocol.coalesce import Fold
from penstock.protocol.sse import Decoder, Message
from penstock.testing import until

if TYPE_CHECKING:
    from tests.conftest import Api


class Reading:
    """A reader in a task of its own."""

    def __init__(self, api: "Api", run_id: str) -> None:
        self._api, self._run_id = api, run_id
        self.messages: list[Message] = []
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> list[Message]:
        decoder = Decoder()
        async with self._api.stream("GET", f"/api/runs/{self._run_id}/events") as response:
            async for piece in response.aiter_raw():
                self.messages += decoder.feed(piece)
        return self.messages

    async def sees(self, text: str) -> None:
        """Wait until something that holds `text` has come."""
        await until(
            lambda: any(text in message.data for message in self.messages), 10, f"a reader sees {text!r}"
        )


def folded(messages: list[Message]) -> Fold:
    fold = Fold()
    for message in messages:
        if message.event == "message":
            fold.apply(decode(message.data))
    return fold
