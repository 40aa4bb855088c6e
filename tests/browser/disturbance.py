"""What befalls pages, by name, and what all of it has in common."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from .chromium import Tab

__all__ = ["Disturbance", "Disturbances", "act_out"]


@dataclass(frozen=True)
class Disturbance:
    """A row of a table.

    act: Given a scene, disturbs it. It returns what goes into the table in place of the proof, or nothing.
    ways: Ways to read for which it is played; none where all are alike.
    own_server: It harms its server, so it has one to itself.
    idles: It mostly waits, so it takes nobody's turn.
    """

    name: str
    act: Callable[[Any], Awaitable[str | None]]
    ways: tuple[str, ...] = ()
    own_server: bool = False
    idles: bool = False


class Disturbances(dict[str, Disturbance]):
    """The rows of a table, in the order in which they are named. ways: those of a row that names none."""

    def __init__(self, ways: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._ways = ways

    def named(self, name: str, **options: Any) -> Callable[[Any], Any]:
        """Names what befalls a page."""

        def register(act: Any) -> Any:
            self[name] = Disturbance(name, act, **{"ways": self._ways, **options})
            return act

        return register


class Disturbed(Protocol):
    """A scene with its tabs."""

    tabs: list[Tab]

    async def result(self, tab: Tab) -> str:
        """The proof in short, for the table."""
        ...

    async def last_words(self, tab: Tab) -> str:
        """Where a tab stands whose scene failed."""
        ...


async def act_out(chosen: Disturbance, scene: Disturbed) -> str:
    """One cell of the table. Its tabs are closed in the end."""
    try:
        done = await chosen.act(scene)
        return done if done is not None else await scene.result(scene.tabs[-1])
    except BaseException as error:
        for tab in scene.tabs:
            words = await scene.last_words(tab)
            error.add_note(f"{tab.page.url}: {words}; console: {tab.bugs[-3:] + tab.troubles[-5:]}")
        raise
    finally:
        for tab in scene.tabs:
            if not tab.page.is_closed():
                await tab.page.close()
