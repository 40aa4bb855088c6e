"""The examiner of stores: every promise of `storage.base`, asked of any implementation.

A check is a coroutine function that takes an opened, empty store and raises AssertionError, with what was
promised, where the store breaks it. `CHECKS` names them all. With pytest, a backend of your own is examined so:

    from penstock.testing.store_contract import CHECKS

    @pytest.mark.parametrize("name", CHECKS)
    async def test_my_store_keeps_the_contract(name: str, tmp_path: Path) -> None:
        store = MyStore(tmp_path)
        await store.open()
        try:
            await CHECKS[name](store)
        finally:
            await store.close()

A backend that several processes may share is asked `SHARED_CHECKS` too: they take two opened stores over the
same empty data. Call `pytest.register_assert_rewrite("penstock.testing.store_contract")` in a `conftest.py`
before importing this, and a failure shows the values compared. Python's `-O` takes the asserts, and so the
checks, away.
"""

from collections.abc import Awaitable, Callable
from types import ModuleType

from ...storage.base import Store
from . import (
    checkpoints,
    claims,
    elsewhere,
    endings,
    intake,
    limits,
    lines,
    lingering,
    lists,
    priorities,
    runs,
    shared,
    stopping,
    streams,
    values,
    waiting,
    watching,
    workers,
)

__all__ = ["CHECKS", "SHARED_CHECKS", "Check", "SharedCheck"]

Check = Callable[[Store], Awaitable[None]]
"""Takes an opened, empty store, and may leave it closed."""

SharedCheck = Callable[[Store, Store], Awaitable[None]]
"""Takes two opened stores over the same empty data."""


def _checks_of(*modules: ModuleType) -> dict[str, Callable[..., Awaitable[None]]]:
    return {name: getattr(module, name) for module in modules for name in module.__all__}


CHECKS: dict[str, Check] = _checks_of(
    streams,
    checkpoints,
    runs,
    lists,
    priorities,
    intake,
    claims,
    elsewhere,
    lines,
    limits,
    waiting,
    endings,
    lingering,
    stopping,
    watching,
    workers,
    values,
)
"""Name to check, for one store."""

SHARED_CHECKS: dict[str, SharedCheck] = _checks_of(shared)
"""Name to check, for two stores that share their data."""
