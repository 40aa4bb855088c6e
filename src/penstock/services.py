"""What a started app offers to the program that it is a part of, and what that program needs of the app itself."""

from collections.abc import AsyncGenerator
from typing import Literal, Protocol

from starlette.types import ASGIApp

from .hub import Hub, News
from .models import Cursor
from .queue import Queue, Standings
from .settings import Settings
from .storage.base import Store
from .worker import Worker

__all__ = ["Host", "Services"]


class Services(Protocol):
    """What `App.start` returns. Used on the event loop on which the app was started, until it is stopped."""

    @property
    def store(self) -> Store:
        """All runs and their streams."""
        ...

    @property
    def hub(self) -> Hub:
        """Who reads what."""
        ...

    @property
    def worker(self) -> Worker:
        """Executes runs, and records those that something else executes: `Worker.record`."""
        ...

    @property
    def queue(self) -> Queue:
        """Takes runs in, ends those that wait, finds those that nobody has in a line."""
        ...

    @property
    def standings(self) -> Standings:
        """Where runs stand."""
        ...

    @property
    def server(self) -> ASGIApp:
        """The HTTP interface and the console; see docs/PROTOCOL.md."""
        ...

    def follow(
        self, run_id: str, after: int | Cursor = 0, *, fold: bool = False, merge: bool = False
    ) -> AsyncGenerator[News, None]:
        """Read a run as events; see `hub.follow`. fold: begin with its state."""
        ...


class Host(Protocol):
    """An `App`, as an integration is given it: integrations may not know the roof."""

    @property
    def settings(self) -> Settings:
        """Before the start: what it will be started with."""
        ...

    def recorded(
        self,
        name: str,
        *,
        concurrency_limit: int | None = 1,
        concurrency_id: str | None = None,
        on_crash: Literal["fail", "retry"] = "fail",
        description: str = "",
    ) -> None:
        """Register a function that something else executes."""
        ...

    async def start(self) -> Services:
        """Open the store and begin to work; nothing if that has been done. Raises StoreError."""
        ...

    async def drain(self) -> None:
        """Take no more runs and send the readers away politely."""
        ...

    async def stop(self) -> None:
        """Drain, end what goes on within the grace time, close the store."""
        ...
