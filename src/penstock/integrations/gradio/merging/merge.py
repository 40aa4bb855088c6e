"""Yields of a Gradio function that come faster than `rate` a second are merged before Gradio sees them.

What Gradio does with each costs far more than sending it: it prepares the value for its component, compares it
with the one before, and makes JSON of it. So the generator itself is wrapped, where `Blocks.call_function` makes
its first step.
"""

import contextvars
import inspect
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar, cast

from .latest import Latest
from .outputs import Outputs
from .room import room
from .turns import TaskTurns, ThreadTurns, Turns

__all__ = ["merge", "unmerged"]

MARK = "__penstock_unmerged__"

NEEDED = ("block_fn", "iterator", "requests", "event_id", "state")
"""Parameters of `Blocks.call_function`, in all versions that are supported."""

_log = logging.getLogger("penstock.gradio")

Function = TypeVar("Function", bound=Callable[..., object])


def unmerged(function: Function) -> Function:
    """Mark a function of a Gradio app: each of its yields reaches its readers, however fast they come.

    Use it as a decorator, nearest to the function, where values add up instead of replacing each other. Chunks of
    streamed audio and video, events with `connection="stream"` and `gr.api` endpoints need no mark.
    """
    setattr(getattr(function, "__func__", function), MARK, True)
    return function


def merge(blocks: Any, rate: float) -> bool:
    """Merge what this app's generators yield faster than `rate` (a second; 0: merge nothing).

    At any rate they wait while what they have yielded is still on its way into the store. Calling it again for the
    same app changes the rate.

    Returns:
        Whether it does now. If this version of Gradio lacks what it takes, that is said in the log.
    """
    stock = getattr(blocks.call_function, "__penstock_stock__", blocks.call_function)
    missing = _missing(stock)
    if missing:
        _log.warning("Values are not merged: this version of Gradio has no %s.", missing)
        return False
    _watch_first_steps()
    blocks.call_function = _merging(blocks, stock, rate)
    return rate > 0


def _missing(call_function: Any) -> str:
    """What this version of Gradio lacks, in words; nothing of it is public."""
    from gradio import utils

    if not inspect.iscoroutinefunction(call_function):
        return "Blocks.call_function"
    parameters = inspect.signature(call_function).parameters
    lost = [f"parameter {name!r} of Blocks.call_function" for name in NEEDED if name not in parameters]
    lost += [
        f"utils.{name}" for name in ("async_iteration", "SyncToAsyncIterator") if not hasattr(utils, name)
    ]
    return ", ".join(lost)


class _FirstStep:
    """What the first step of a generator leaves for the ones after it."""

    def __init__(self, latest: Latest) -> None:
        self.latest: Latest | None = latest
        self.turns: Turns | None = None

    def wrap(self, iterator: Any) -> Any:
        """The iterator in turns; itself where it is of an unknown kind, or another than the event's own."""
        latest, self.latest = self.latest, None
        if latest is None:
            return iterator
        inner: Any = getattr(iterator, "iterator", None)
        if inspect.isasyncgen(iterator):
            self.turns = TaskTurns(cast("AsyncGenerator[Any, None]", iterator), latest)
        elif inspect.isgenerator(inner):
            self.turns = _in_threads(inner, latest, getattr(iterator, "limiter", None))
        return self.turns or iterator


_first_step: contextvars.ContextVar[_FirstStep | None] = contextvars.ContextVar("_first_step", default=None)


def _in_threads(generator: Any, latest: Latest, limiter: Any) -> ThreadTurns:
    from anyio import to_thread

    threads = limiter or to_thread.current_default_thread_limiter()
    run_sync = partial(to_thread.run_sync, limiter=threads)
    return ThreadTurns(generator, latest, run_sync, spare=lambda: threads.available_tokens >= 1)


def _watch_first_steps() -> None:
    """`Blocks.call_function` makes each step by this one function."""
    from gradio import utils

    stock = utils.async_iteration
    if hasattr(stock, "__penstock_stock__"):
        return

    async def async_iteration(iterator: Any) -> Any:
        step = _first_step.get()
        return await stock(iterator if step is None else step.wrap(iterator))

    async_iteration.__penstock_stock__ = stock  # type: ignore[attr-defined]
    utils.async_iteration = async_iteration


def _merging(blocks: Any, stock: Any, rate: float) -> Callable[..., Awaitable[Any]]:
    parameters = list(inspect.signature(stock).parameters)
    places = {name: parameters.index(name) for name in NEEDED}

    async def call_function(*args: Any, **kwargs: Any) -> Any:
        given = {
            name: args[place] if place < len(args) else kwargs.get(name) for name, place in places.items()
        }
        if given["iterator"] is not None:
            await room(blocks, getattr(given["requests"], "session_hash", None))
        elif rate > 0 and _merges(blocks, given):
            return await _first(stock, _FirstStep(Latest(_outputs(blocks, given), rate)), args, kwargs)
        return await stock(*args, **kwargs)

    call_function.__penstock_stock__ = stock  # type: ignore[attr-defined]
    return call_function


async def _first(stock: Any, step: _FirstStep, args: Any, kwargs: Any) -> Any:
    token = _first_step.set(step)
    try:
        result = await stock(*args, **kwargs)
    finally:
        _first_step.reset(token)
    if step.turns is not None and result.get("iterator") is not None:
        result["iterator"] = step.turns
    return result


def _outputs(blocks: Any, given: Mapping[str, Any]) -> Outputs:
    return Outputs(_function(blocks, given).outputs)


def _function(blocks: Any, given: Mapping[str, Any]) -> Any:
    """Gradio's description of the function that is called."""
    found = given["block_fn"]
    return blocks.fns[found] if isinstance(found, int) else found


def _merges(blocks: Any, given: Mapping[str, Any]) -> bool:
    """Whether this call's yields replace each other. Without an event only the first of them is ever asked for."""
    function = _function(blocks, given)
    fn = function.fn
    if not (inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn)):
        return False
    if given["event_id"] is None or getattr(fn, MARK, False):
        return False
    if getattr(function, "connection", "sse") == "stream" or getattr(function, "renderable", None):
        return False
    return not any(_counts_each(output, given["state"]) for output in function.outputs)


def _counts_each(output: Any, state: Any) -> bool:
    """Whether each value of this output matters: media come in chunks, programs that call `gr.api` may add up what
    they get, and who listens to a `gr.State` is told of each change of it."""
    if getattr(output, "streaming", False) and hasattr(output, "stream_output"):
        return True
    if type(output).__module__ == "gradio.components.api_component":
        return True
    return output.stateful and _is_heard(output, state)


def _is_heard(output: Any, state: Any) -> bool:
    if state is None:
        return False
    change = (output._id, "change")  # noqa: SLF001 - the name of a component in Gradio
    return any(change in fn.targets for fn in state.blocks_config.fns.values())
