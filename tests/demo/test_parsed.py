"""Sources are parsed in several threads: the index is built while questions are answered."""

import ast
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.demo import parsed

SOURCE = Path(ast.__file__).read_text(encoding="utf-8")


class Ring:
    """Garbage that runs Python code when it is collected, so that another thread may go on in the middle."""

    def __init__(self) -> None:
        self.ring = self

    def __del__(self) -> None:
        sum(range(2000))


@pytest.fixture(autouse=True)
def switches() -> Iterator[None]:
    """Threads take turns as often as they can."""
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual_s)


def test_threads_parse_at_once() -> None:
    troubles: list[Exception] = []

    def work() -> None:
        for _ in range(30):
            try:
                parsed.syntax_tree(SOURCE)
            except Exception as error:  # noqa: BLE001 - a SystemError, in CPython 3.11
                troubles.append(error)
            for _ in range(50):
                Ring()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert troubles == []
