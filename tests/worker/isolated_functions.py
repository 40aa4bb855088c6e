"""What test_isolated.py and test_isolated_ends.py run in processes of their own, which import this by its name."""

import asyncio
import ctypes
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import penstock

IMPORTED_IN = os.getpid()


# --- Kinds ---


async def coroutine(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


async def async_generator(value: Any) -> AsyncIterator[Any]:
    await asyncio.sleep(0)
    yield value


def function(value: Any) -> Any:
    return value


def generator(value: Any) -> Generator[Any, None, str]:
    yield value
    return "returned"


class Called:
    """A callable object."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def __call__(self, value: str) -> Iterator[str]:
        yield self.prefix + value


called = Called("called ")
part = functools.partial(function, value="of a partial")
nameless = lambda: None  # noqa: E731 - it is to have no name


def nested() -> Any:
    def inner() -> None:
        """Not to be found from outside."""

    return inner


# --- What it can do ---


def everything(run: penstock.Run) -> Iterator[Any]:
    yield "plain "
    with run.span("step", kind="tool", input={"q": 1}) as span:
        yield "inside"
        run.log("a line", level="warning", more=[1, None])
        span.output = 2**70
    yield from (["a", 1.5], b"\0\xff" * 40_000, penstock.Replace({"x": "y"}))
    for _ in run.tqdm(range(3), unit="page"):
        pass
    run.progress(1, 2)
    yield {"attempt": run.attempt, "session": run.session, "key": run.key, "id": run.id}


def counting(run: penstock.Run, to: int, die_at: int = -1) -> Iterator[str]:
    """Goes on from its checkpoint; the first attempt dies on its way."""
    for number in range(run.restored or 0, to):
        yield f"{number} "
        run.checkpoint(number + 1)
        if number == die_at and run.attempt == 1:
            os._exit(9)


async def growing() -> AsyncIterator[dict[str, str]]:
    text = ""
    for number in range(20):
        text += f"{number} "
        yield {"text": text}


def many(count: int) -> Iterator[str]:
    """As many bytes as there are in a hundred pieces."""
    for number in range(count):
        yield f"{number} " + "." * 10_000
        Path("yielded").write_text(str(number))


async def many_async(count: int) -> AsyncIterator[str]:
    for number in range(count):
        yield f"{number} " + "." * 10_000
        Path("yielded").write_text(str(number))


async def logs_without_a_pause(run: penstock.Run) -> None:
    for number in range(10_000):
        run.log("." * 100_000)
        Path("yielded").write_text(str(number))


def large(size: int) -> Iterator[Any]:
    yield "." * size
    yield ["." * (size - 4)]


def where() -> list[int]:
    """This process, its parent, its session and group, and the process that imported this module."""
    return [os.getpid(), os.getppid(), os.getsid(0), os.getpgid(0), IMPORTED_IN]


def waits_for_go() -> Iterator[list[int]]:
    yield [os.getpid(), os.getppid()]
    while not Path("go").exists():
        time.sleep(0.005)


# --- Ends ---


def raises() -> Iterator[str]:
    yield "before"
    raise ValueError("too much")


def yields_what_has_no_json() -> Iterator[Any]:
    yield object()


def yields_too_much() -> Iterator[str]:
    yield "." * (16 * 1024 * 1024 + 1)


def exits(code: Any = 3) -> Iterator[str]:
    yield "before"
    sys.exit(code)


async def exits_async() -> AsyncIterator[str]:
    yield "before"
    sys.exit(3)


def exits_at_once(code: int = 3) -> Iterator[str]:
    yield "before"
    os._exit(code)


async def crashes() -> AsyncIterator[str]:
    yield "before"
    ctypes.string_at(0)


def is_killed() -> Iterator[str]:
    yield "before"
    os.kill(os.getpid(), signal.SIGKILL)


# --- Stops ---


async def heeds() -> AsyncIterator[str]:
    try:
        yield "begun"
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        Path("cleaned").touch()


def heeds_at_its_next_yield(run: penstock.Run) -> Iterator[str]:
    with run.span("work"):
        try:
            while True:
                yield "begun"
                time.sleep(0.005)
        finally:
            Path("cleaned").touch()


def looks_whether_to_stop(run: penstock.Run) -> str:
    run.log("begun")
    while not run.should_stop():
        time.sleep(0.005)
    Path("cleaned").touch()
    return "stopped"


def sleeps(run: penstock.Run) -> None:
    run.log("begun")
    time.sleep(3600)


async def blocks_its_loop() -> AsyncIterator[str]:
    yield "begun"
    time.sleep(3600)


async def swallows() -> AsyncIterator[str]:
    yield "begun"
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            continue


async def leaves_a_thread_behind(wait: bool) -> AsyncIterator[int]:
    thread = asyncio.create_task(asyncio.to_thread(time.sleep, 3600))
    yield os.getpid()
    if wait:
        await thread


def holds_the_interpreter(run: penstock.Run) -> None:
    run.log("begun")
    re.match(r"(a+)+$", "a" * 64 + "b")


async def starts_others() -> AsyncIterator[list[int]]:
    """One as anybody would, one that heeds no polite signal."""
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(3600)"
    others = [["sleep", "3600"], [sys.executable, "-c", deaf]]
    yield [os.getpid(), *[subprocess.Popen(one).pid for one in others]]
    time.sleep(3600)


def leaves_others_behind() -> int:
    return subprocess.Popen(["sleep", "3600"]).pid


# --- What has left the process group ---


NESTED = """
import subprocess, time
print(subprocess.Popen(["sleep", "3600"], start_new_session=True).pid, flush=True)
time.sleep(3600)
"""


def apart() -> list[int]:
    """Processes in sessions of their own: a child, with a child in another; one whose parent has ended."""
    nested = subprocess.Popen(
        [sys.executable, "-c", NESTED], start_new_session=True, stdout=subprocess.PIPE, text=True
    )
    assert nested.stdout is not None
    return [nested.pid, int(nested.stdout.readline()), daemon(lambda: time.sleep(3600))]


def daemon(call: Callable[[], Any]) -> int:
    """Forked twice, as a Unix daemon is; `call` is what it does."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(writer, str(os.getpid()).encode())
            call()
        os._exit(0)
    os.waitpid(child, 0)
    return int(os.read(reader, 20))


def bare() -> None:
    """Be a program that nothing is known of: without the environment that it was to have."""
    os.execve(shutil.which("sleep") or "", ["sleep", "3600"], {})


def starts_daemons(run: penstock.Run, end: str = "") -> None:
    """Then it stays, deaf, or ends in a certain way."""
    with run.span("processes") as span:  # not by a yield, at which it could be stopped
        span.output = [os.getpid(), *apart(), daemon(bare)]
    if end == "exit":
        os._exit(3)
    if end == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if not end:
        time.sleep(3600)
