"""The only doors to disks and network stores. `make_store` turns an address into one."""

from ..errors import ConfigError
from ..meters import StoreWork
from .base import Store

__all__ = ["Store", "make_store"]


def make_store(url: str, *, synchronous: str = "full", meter: StoreWork | None = None) -> Store:
    """The store an address names, not yet opened.

    Args:
        url: `memory:` or `sqlite:///PATH`; three slashes for a path relative to the working folder, four for
            an absolute one.
        synchronous: `full` or `normal`, for stores on disk.
        meter: Where such a store counts its commits and errors.

    Raises:
        ConfigError: No backend has this address.
    """
    if url == "memory:":
        from .memory import MemoryStore

        return MemoryStore()
    if url.startswith("sqlite:///") and len(url) > len("sqlite:///"):
        from .sqlite import SqliteStore

        return SqliteStore(url.removeprefix("sqlite:///"), synchronous=synchronous, meter=meter)
    raise ConfigError(f"No store has the address {url!r}.", hint="Use sqlite:///PATH or memory:.")
