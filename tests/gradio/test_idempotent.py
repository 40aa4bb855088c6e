"""Marks on functions: found below whatever Gradio and others wrap around them."""

import functools
from collections.abc import Iterator
from typing import Any

import pytest

from penstock.gradio import idempotent
from penstock.integrations.gradio.seams.functions import is_idempotent

from .server import run


@idempotent
def marked(text: str) -> Iterator[str]:
    yield text


@idempotent
def answer(message: str, history: list[Any]) -> Iterator[str]:
    yield message


def plain(text: str) -> str:
    return text


class Model:
    @idempotent
    def run(self, text: str) -> str:
        return text

    def other(self, text: str) -> str:
        return text


class Callable:
    @idempotent
    def __call__(self, text: str) -> str:
        return text


@functools.wraps(marked)
def wrapped(text: str) -> Any:
    return marked(text)


def knows_one(text: str) -> Any:
    return closed_over(text)


def closing(call: Any) -> Any:
    def inner(text: str) -> Any:
        return call(text)

    return inner


closed_over = closing(marked)


@pytest.mark.parametrize(
    "call",
    [
        marked,
        functools.partial(marked, "a"),
        functools.partial(functools.partial(marked), "a"),
        Model().run,
        Model.run,
        functools.partial(Model().run),
        Callable(),
        wrapped,
        idempotent(len),
    ],
    ids=[
        "itself",
        "partial",
        "partials",
        "method",
        "function",
        "partial-method",
        "callable",
        "wrapped",
        "built-in",
    ],
)
def test_a_mark_is_found_below(call: Any) -> None:
    assert is_idempotent(call)


@pytest.mark.parametrize(
    "call", [plain, Model().other, Model, closed_over, knows_one, None], ids=lambda call: repr(type(call))
)
def test_nothing_else_is_marked(call: Any) -> None:
    assert not is_idempotent(call)


APP = """
import gradio
from penstock.gradio import idempotent
from penstock.integrations.gradio.seams import surfaces

@idempotent
def answer(message, history):
    yield message

@idempotent
def marked(text):
    yield text

def show(name, blocks):
    found = surfaces.detect(blocks.app).functions(blocks.app)
    print(name, *(one.name for one in found if one.idempotent), "of", *(one.name for one in found))

show("interface", gradio.Interface(marked, "text", "text"))
show("plain", gradio.Interface(lambda text: text, "text", "text"))
show("chat", gradio.ChatInterface(answer, **({"type": "messages"} if gradio.__version__ < "6" else {})))
"""


async def test_gradios_interfaces_lead_to_their_function(version: str) -> None:
    said = dict(line.split(" ", 1) for line in (await run(version, APP)).splitlines())
    marked = {name: rest.partition("of")[0].split() for name, rest in said.items()}
    assert len(marked["interface"]) == 1
    assert marked["plain"] == []
    assert {"chat", "answer"} & set(marked["chat"])
    assert set(marked["chat"]) < set(said["chat"].partition("of")[2].split())
