"""Parameters that are files: their schema, and what an input makes of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import pytest
from msgspec import Meta

import penstock
from penstock.errors import InvalidInput
from penstock.files import File
from penstock.storage.uploads import Uploads
from penstock.worker import Function

if TYPE_CHECKING:
    from tests.conftest import Bench

SCHEMA = {"type": "string", "format": "penstock-file"}
ID = "upload_" + "0" * 32


@dataclass
class Pair:
    left: penstock.File
    right: penstock.File | None = None


def take(
    one: penstock.File,
    many: list[penstock.File] = [],  # noqa: B006
    maybe: Optional[penstock.File] = None,  # noqa: UP045
    told: Annotated[penstock.File | None, Meta(description="A picture")] = None,
    named: dict[str, penstock.File] = {},  # noqa: B006
    pair: Pair | None = None,
    plain: str = "",
) -> None:
    return


def found(upload_id: str) -> File | None:
    return File(upload_id, "a.txt", "text/plain", 1, Path("a.txt")) if upload_id == ID else None


def test_their_schema_says_what_they_are() -> None:
    made = Function(take).input_schema
    given = made["properties"]
    assert given["one"] == SCHEMA
    assert given["many"]["items"] == SCHEMA
    assert given["maybe"]["anyOf"] == [SCHEMA, {"type": "null"}]
    assert SCHEMA in given["told"]["anyOf"]
    assert given["told"]["description"] == "A picture"
    assert made["$defs"]["Pair"]["properties"]["left"] == SCHEMA
    assert Function(take).takes_files
    assert not Function(found).takes_files


def test_ids_become_files_wherever_they_stand() -> None:
    given = {"one": ID, "many": [ID, ID], "maybe": ID, "named": {"x": ID}, "pair": {"left": ID}, "plain": ID}
    arguments = Function(take).arguments(penstock.worker.emission.json_of(given), found)
    assert isinstance(arguments["one"], penstock.File)
    assert [file.id for file in arguments["many"]] == [ID, ID]
    assert (arguments["maybe"].name, arguments["told"], arguments["plain"]) == ("a.txt", None, ID)
    assert (arguments["named"]["x"].size, arguments["pair"].left.id, arguments["pair"].right) == (1, ID, None)
    assert repr(arguments["one"]) == "<File 'a.txt', 1 bytes>"


def test_one_file_named_often_is_looked_up_once() -> None:
    asked: list[str] = []

    def find(upload_id: str) -> File | None:
        asked.append(upload_id)
        return found(upload_id)

    given = {"one": ID, "many": [ID] * 1000}
    arguments = Function(take).arguments(penstock.worker.emission.json_of(given), find)
    assert len(arguments["many"]) == 1000
    assert asked == [ID]


WRONG: list[tuple[str, Any]] = [
    ("one", "x"), ("one", 7), ("one", None), ("many", [ID, "x"]), ("maybe", "x"), ("named", {"x": "y"}),
    ("pair", {"left": "x"}),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), WRONG, ids=str)
def test_what_is_no_upload_is_refused_by_name(field: str, value: Any) -> None:
    given = {"one": ID, field: value}
    with pytest.raises(InvalidInput) as caught:
        Function(take).arguments(penstock.worker.emission.json_of(given), found)
    assert (caught.value.field or "").startswith(field)
    assert "finished upload" in caught.value.message


async def test_a_batch_is_given_each_run_s_file(bench: "Bench") -> None:
    async def names(files: list[penstock.File]) -> list[str]:
        return [file.name for file in files]

    uploads: Uploads = bench.services.uploads
    ids = [uploads.create(name, "a/b", 0).id for name in ("one", "two")]
    options: Any = {"batch": True, "max_batch_size": 2, "max_wait_ms": 60_000}
    runs = [await bench.start(names, {"files": upload_id}, **options) for upload_id in ids]
    assert [(await run.end()).result for run in runs] == ["one", "two"]


async def test_a_run_whose_file_is_gone_fails_and_says_so(bench: "Bench") -> None:
    async def read(file: penstock.File) -> str:
        return file.name

    uploads: Uploads = bench.services.uploads
    upload_id = uploads.create("one", "a/b", 0).id
    bench.services.worker.hold()
    run = await bench.start(read, {"file": upload_id})
    uploads.release([upload_id], run.id)
    uploads.remove(upload_id)
    bench.services.worker._draining = False
    bench.services.worker.wake()
    end = await run.end()
    assert (end.state, (end.error or {})["code"], (end.error or {})["field"]) == (
        "failed",
        "invalid_input",
        "file",
    )
