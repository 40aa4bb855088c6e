"""The `gr.State` components of one Gradio app, and their values in Gradio's sessions.

A component's number is another one once the app's code has changed. It is known again by what it is for: which
functions use it, at which places, and what it begins with.
"""

import datetime as dt
import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ["Changing", "Held", "State", "Stateful", "Unkeepable", "exact_json"]

LARGEST_DEFAULT_BYTES = 1024 * 1024
"""What a component begins with is compared with what it has; a larger one is not looked through."""

NODE_BYTES = 8
"""What each value in a value counts for beside its text: a bound on the work that encoding is."""


TOO_LARGE = "more than may be kept"


class Unkeepable(Exception):
    """A value has no exact JSON form, or a large one; the text says what is in the way."""


class Changing(Exception):
    """A function changes a value just now."""


class Held(NamedTuple):
    """A value in a session. at_s: when it was set, in Unix seconds; None where nobody has set it."""

    value: Any
    at_s: float | None


@dataclass(frozen=True)
class State:
    """One component.

    mark: what it is known by after a restart. default: what it begins with, as `exact_json` writes it; None where
    that has no such form. user: a function that uses it. ttl_s: how long Gradio keeps a value.
    """

    id: int
    mark: str
    default: str | None
    user: str
    ttl_s: float


class Stateful:
    """Of one Gradio app. The private surfaces that it needs stand in `surfaces.TABLE`."""

    def __init__(self, gradio: Any) -> None:
        self._gradio = gradio
        self._known: tuple[Any, tuple[State, ...]] = (None, ())

    @property
    def states(self) -> tuple[State, ...]:
        """Those of the app as it is now: reload mode makes another. Not those that `gr.render` makes."""
        blocks = self._gradio.blocks
        if self._known[0] is not blocks:
            self._known = blocks, tuple(_states_of(blocks)) if _is_known() else ()
        return self._known[1]

    def may_change(self, session_hash: str, fn_index: int | None) -> bool:
        """Whether a function is given one, or sets one: others don't get at them."""
        fns = getattr(getattr(self._session(session_hash), "blocks_config", None), "fns", None)
        fn = (fns or self._gradio.blocks.fns).get(fn_index)
        return fn is None or any(_is_state(block) for block in (*fn.inputs, *fn.outputs))

    def lives(self, session_hash: str) -> bool:
        """Whether a session has values."""
        return bool(getattr(self._session(session_hash), "state_data", None))

    def held(self, session_hash: str) -> Iterator[tuple[State, Held]]:
        """The values of a session."""
        session = self._session(session_hash)
        if session is not None:
            for state in self.states:
                if state.id in session.state_data:
                    yield state, Held(session.state_data[state.id], _set_at_s(session, state))

    def give(self, session_hash: str, values: Mapping[str, Held]) -> None:
        """Values for a session that has none, by marks. Without those whose time is over."""
        if self.lives(session_hash):
            return
        now_s = dt.datetime.now().timestamp()  # noqa: DTZ005 - Gradio's clock
        for state in self.states:
            held = values.get(state.mark)
            if held is None or (held.at_s is not None and now_s - held.at_s > state.ttl_s):
                continue
            session = self._gradio.state_holder[session_hash]
            session[state.id] = held.value
            if held.at_s is not None:
                set_at = dt.datetime.fromtimestamp(held.at_s)  # noqa: DTZ006 - as Gradio keeps it
                session._state_ttl[state.id] = (state.ttl_s, set_at)  # noqa: SLF001

    def _session(self, session_hash: str) -> Any:
        # Not by [session_hash], which makes a session where there is none.
        return self._gradio.state_holder.session_data.get(session_hash)


def _set_at_s(session: Any, state: State) -> float | None:
    ttl = session._state_ttl.get(state.id)  # noqa: SLF001
    return None if ttl is None else float(ttl[1].timestamp())


def _is_known() -> bool:
    """Whether Gradio's sessions are as they were in the tested versions."""
    from gradio.state_holder import SessionState, StateHolder

    holder, session = StateHolder.__init__.__code__, SessionState.__init__.__code__
    return "session_data" in holder.co_names and {"state_data", "_state_ttl"} <= set(session.co_names)


def _is_state(block: Any) -> bool:
    from gradio.components import State

    return isinstance(block, State)


def _states_of(blocks: Any) -> Iterator[State]:
    places: dict[int, list[str]] = {number: [] for number, one in blocks.blocks.items() if _is_state(one)}
    users: dict[int, str] = {}
    for fn in blocks.fns.values() if places else ():
        name = fn.api_name if isinstance(fn.api_name, str) else str(fn.name)
        for way, given in (("in", fn.inputs), ("out", fn.outputs)):
            for place, block in enumerate(given):
                number = block._id  # noqa: SLF001
                if number in places:
                    places[number].append(f"{name} {way} {place}")
                    users.setdefault(number, name)
    alike: Counter[str] = Counter()
    for number, used in places.items():
        component = blocks.blocks[number]
        default, began = _default_of(component.value)
        purpose = json.dumps([sorted(used), began])
        alike[purpose] += 1
        mark = hashlib.blake2b(f"{purpose} {alike[purpose]}".encode(), digest_size=12).hexdigest()
        ttl_s = component.time_to_live
        yield State(number, mark, default, users.get(number, ""), math.inf if ttl_s is None else ttl_s)


def _default_of(value: Any) -> tuple[str | None, str]:
    """What a component begins with, if it has a form, and what tells it from another."""
    try:
        default = exact_json(value, LARGEST_DEFAULT_BYTES)
    except Unkeepable:
        kind = value if callable(value) else type(value)
        return None, getattr(kind, "__qualname__", type(value).__qualname__)
    return default, default


def exact_json(value: Any, most_bytes: int) -> str:
    """The JSON of a value that comes back from it equal and of the same types throughout.

    None, bool, int, finite float, str, and lists and dicts of them with texts as keys; nothing that inherits from
    one of these. Raises Unkeepable for any other, and for one of more than `most_bytes`; Changing.
    """
    try:
        _measured(value, most_bytes)
        text = json.dumps(value)
    except RecursionError:
        raise Unkeepable("values that are nested too deeply, or in themselves,") from None
    except (RuntimeError, TypeError):  # a dict of another size, or what was no value when it was looked at
        raise Changing from None
    except ValueError:
        raise Unkeepable("an int of thousands of digits") from None
    if len(text) > most_bytes:
        raise Unkeepable(TOO_LARGE)
    return text


def _measured(value: Any, left: int) -> int:
    """What is left of so many bytes after a value."""
    kind = type(value)
    left -= NODE_BYTES
    if kind is str:
        left -= len(value)
    elif kind is list:
        for one in value:
            left = _measured(one, left)
    elif kind is dict:
        for name, one in value.items():
            left = _measured(one, _measured(name, left) if type(name) is str else _refused(name, "key"))
    elif kind is float:
        if not math.isfinite(value):
            raise Unkeepable(f"the number {value}")
    elif kind is not int and kind is not bool and value is not None:
        _refused(value, "value")
    if left < 0:
        raise Unkeepable(TOO_LARGE)
    return left


def _refused(value: Any, what: str) -> int:
    kind = type(value)
    raise Unkeepable(f"a {what} of the type {kind.__module__}.{kind.__qualname__}")
