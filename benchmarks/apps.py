"""The functions that benchmarks serve, by Penstock and by a peer, with the same source of tokens."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

import penstock

TOKENS = 300
TOKENS_PER_S = 30


async def paced(count: int, per_s: float) -> AsyncIterator[int]:
    """Numbers from 0 at a steady pace."""
    start = time.monotonic()
    for number in range(count):
        wait_s = start + number / per_s - time.monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        yield number


async def tokens(count: int, per_s: float) -> AsyncIterator[str]:
    """`count` tokens at a steady pace, each carrying the time at which it was made, as a model would send."""
    async for _ in paced(count, per_s):
        yield f"{time.time_ns() // 1_000_000} "


app = penstock.App()


@app.function(concurrency_limit=None)
async def chat(count: int = TOKENS, per_s: float = TOKENS_PER_S) -> AsyncIterator[str]:
    """The chat shape."""
    async for token in tokens(count, per_s):
        yield token


@app.function(concurrency_limit=None)
async def hello() -> AsyncIterator[str]:
    """The shortest run."""
    yield "hello"


@app.function(concurrency_limit=50)
async def noop() -> None:
    """Nothing: what is measured is the queue."""


TOKEN = "word "


def grown(count: int) -> Iterator[str]:
    """A text after each of `count` tokens."""
    text = ""
    for _ in range(count):
        text += TOKEN
        yield text


async def cumulative(count: int) -> AsyncIterator[str]:
    """The text so far, again and again."""
    for text in grown(count):
        yield text


async def marked(count: int) -> AsyncIterator[str]:
    """The same with a cursor mark at its end, until the last."""
    for text in grown(count):
        yield text + "▌"
    yield TOKEN * count


def conversation_with(text: str) -> list[dict[str, str]]:
    """The text as the last message."""
    return [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": text}]


async def conversation(count: int) -> AsyncIterator[list[dict[str, str]]]:
    """The same as the last message of a conversation."""
    for text in grown(count):
        yield conversation_with(text)


async def pieces(count: int) -> AsyncIterator[str]:
    """The tokens as they are."""
    for _ in range(count):
        yield TOKEN


for call in (cumulative, marked, conversation, pieces):
    app.function(name=call.__name__, cumulative=call is not pieces)(call)
    app.function(name=f"{call.__name__}_each", cumulative=call is not pieces, rate=0)(call)


async def stream_chat(request: Request) -> StreamingResponse:
    """The same without a store: what Starlette's own streaming costs."""
    count, per_s = int(request.query_params["count"]), float(request.query_params["per_s"])

    async def body() -> AsyncIterator[str]:
        async for token in tokens(count, per_s):
            yield f'data: {{"type":"text","text":"{token}"}}\n\n'

    return StreamingResponse(body(), media_type="text/event-stream")


async def stream_chat_sse(request: Request) -> Response:
    """The same through sse-starlette."""
    from sse_starlette.sse import EventSourceResponse  # the rest works without it

    count, per_s = int(request.query_params["count"]), float(request.query_params["per_s"])

    async def body() -> AsyncIterator[dict[str, str]]:
        async for token in tokens(count, per_s):
            yield {"data": f'{{"type":"text","text":"{token}"}}'}

    response: Response = EventSourceResponse(body(), sep="\n")
    return response


async def stream_hello(_request: Request) -> StreamingResponse:
    """The same without a store."""

    async def body() -> AsyncIterator[str]:
        yield 'data: {"type":"text","text":"hello"}\n\n'

    return StreamingResponse(body(), media_type="text/event-stream")


peer = Starlette(
    routes=[
        Route("/chat", stream_chat, methods=["POST"]),
        Route("/chat-sse", stream_chat_sse, methods=["POST"]),
        Route("/hello", stream_hello, methods=["POST"]),
    ]
)
