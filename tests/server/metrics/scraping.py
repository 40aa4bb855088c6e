"""Scrapes of which something is expected."""

from typing import TYPE_CHECKING

from penstock.testing import until

if TYPE_CHECKING:
    from tests.conftest import Api, Scrape


async def scraped(api: "Api", name: str, value: float, **labels: str) -> "Scrape":
    """A scrape in which the metric has this value."""

    async def look() -> "Scrape | None":
        scrape = await api.scrape()
        return scrape if scrape(name, **labels) == value else None

    found = await until(look, 10, f"{name} is {value}")
    assert found is not None
    return found
