"""What is collected from the installed library, and that questions find what they are about."""

import subprocess
import sys
from concurrent.futures import Future

import pytest

from penstock.demo.index import Index, Shared
from penstock.demo.library import Entry
from penstock.demo.plan import make_plan


def entry(index: Index, name: str) -> Entry:
    return next(e for e in index.entries if e.name == name)


def found(index: Index, question: str, limit: int = 5) -> list[str]:
    plan = make_plan(question)
    return [hit.entry.name for hit in index.search(plan.groups, plan.names, plan.hints, limit)]


@pytest.mark.parametrize(
    "name",
    [
        "asyncio.run",  # defined in asyncio.runners
        "collections.Counter.most_common",
        "concurrent.futures.ThreadPoolExecutor",  # imported only when asked for
        "functools.lru_cache",
        "itertools.chain.from_iterable",  # written in C
        "json",
        "os.path.join",  # defined in posixpath
        "str.split",
    ],
)
def test_things_are_known_by_the_name_people_import(index: Index, name: str) -> None:
    assert entry(index, name).doc


def test_source_locations_are_relative_and_right(index: Index) -> None:
    loads = entry(index, "json.loads")
    assert loads.path == "json/__init__.py"
    assert loads.line > 1


def test_names_are_unique_and_public(index: Index) -> None:
    names = [e.name for e in index.entries]
    assert len(names) == len(set(names)) > 5_000
    assert not [name for name in names if any(part.startswith("_") for part in name.split("."))]


def test_collecting_imports_nothing_with_effects() -> None:
    code = (
        "import sys; from penstock.demo.library import collect; collect(lambda done, total: None);"
        "print({'this', 'antigravity', 'idlelib', 'tkinter', 'test', 'turtle'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("How do I flatten nested lists?", "itertools.chain.from_iterable"),
        ("What does functools.lru_cache do?", "functools.lru_cache"),
        ("parse JSON string", "json.loads"),
        ("How can I run a subprocess with a timeout?", "subprocess.run"),
        ("read a toml file", "tomllib.load"),
        ("walk a directory tree", "os.walk"),
        ("wait for a coroutine with a timeout", "asyncio.wait_for"),
        ("deepcopy an object", "copy.deepcopy"),
        ("escape html", "html.escape"),
        ("get the median of numbers", "statistics.median"),
    ],
)
def test_questions_find_what_they_are_about(index: Index, question: str, name: str) -> None:
    assert name in found(index, question, limit=2)


def test_every_name_that_a_question_asks_about_comes_first(index: Index) -> None:
    names = found(index, "What is the difference between asyncio.gather and asyncio.wait?", limit=2)
    assert set(names) == {"asyncio.gather", "asyncio.wait"}


def test_near_names_mend_a_typing_error(index: Index) -> None:
    assert "functools.lru_cache" in index.near("lru_cahce")


def test_the_index_is_built_once_and_reports_progress() -> None:
    calls = []

    def collect(progress: object) -> list[Entry]:
        calls.append(1)
        progress(3, 3)  # type: ignore[operator]
        return []

    shared = Shared(collect)
    first, second = shared.start(), shared.start()
    assert first is second
    first.result(timeout=10)
    assert (len(calls), shared.done, shared.total) == (1, 3, 3)


def test_a_build_that_failed_is_begun_again() -> None:
    def collect(progress: object) -> list[Entry]:
        raise OSError("disk gone")

    shared = Shared(collect)
    first: Future[Index] = shared.start()
    with pytest.raises(OSError, match="disk gone"):
        first.result(timeout=10)
    assert shared.start() is not first
