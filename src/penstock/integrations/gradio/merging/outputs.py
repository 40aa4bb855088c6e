"""How one yield of a Gradio function replaces the one before it: output by output."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeGuard

from .snapshots import Unfixable, snapshot

__all__ = ["Output", "Outputs", "Parts"]

Parts = tuple[Any, ...]
"""What a yield says of each output."""

MARK = "__type__"
SKIP = {MARK: "update"}
"""What Gradio takes for "this output stays as it is"."""


class Output(Protocol):
    """A Gradio component that a function writes to, as far as it matters here."""

    _id: int
    stateful: bool


class Outputs:
    """The outputs of one function.

    A plain value takes the place of what was there. A change of properties (`gr.update`) adds to those before it,
    and to a value only if it brings one itself. `gr.skip()`, or no word of an output, leaves it. `gr.State` gets
    the very object that was yielded, always, since the app goes on using it.
    """

    def __init__(self, outputs: Sequence[Output]) -> None:
        self._ids = [output._id for output in outputs]  # noqa: SLF001 - the name of a component in Gradio
        self._stateful = tuple(output.stateful for output in outputs)

    def parts(self, value: Any) -> Parts | None:
        """What a yield says of each output; None for a shape that only Gradio can judge."""
        if isinstance(value, dict) and any(map(_is_component, value)):
            said = self._named(value)
        elif len(self._ids) == 1:
            said = (value,)
        elif isinstance(value, dict) and value == SKIP:
            said = (SKIP,) * len(self._ids)
        elif isinstance(value, list | tuple) and len(value) == len(self._ids):
            said = tuple(value)
        else:
            said = None
        return None if said is None else self._spelled_out(said)

    def _named(self, value: dict[Any, Any]) -> Parts | None:
        if not all(map(_is_component, value)):
            return None
        found = {component._id: said for component, said in value.items()}  # noqa: SLF001
        return tuple(found.get(name, SKIP) for name in self._ids) if found.keys() <= set(self._ids) else None

    def _spelled_out(self, parts: Parts) -> Parts | None:
        """A component in the place of a value is an update in other words, which Gradio spells like this."""
        spelled = list(parts)
        for place, part in enumerate(parts):
            if type(part) in PLAIN or self._stateful[place]:
                continue
            if getattr(part, "_is_component_update", False):
                return None
            if isinstance(properties := getattr(part, "constructor_args", None), dict):
                spelled[place] = {**properties, MARK: "update"}
        return tuple(spelled)

    def whole(self, parts: Parts) -> Any:
        """The parts as one yield, in the shape that Gradio takes."""
        return parts[0] if len(self._ids) == 1 else parts

    def replaced(self, old: Parts, new: Parts) -> Parts | None:
        """What both come to, said at once; None if that can't be said."""
        both = []
        for stateful, was, now in zip(self._stateful, old, new, strict=True):
            if _is_update(now) or _is_update(was):
                one = _state(was, now) if stateful else _composed(was, now)
                if one is None:
                    return None
                both.append(one[0])
            else:
                both.append(now)
        return tuple(both)

    def fixed(self, parts: Parts) -> Parts | None:
        """The parts as they are now, whatever the generator does with its objects; None if that can't be had."""
        try:
            return tuple(
                part if stateful else snapshot(part)
                for stateful, part in zip(self._stateful, parts, strict=True)
            )
        except Unfixable:
            return None


PLAIN = frozenset({str, dict, list, tuple, int, float, bool, type(None)})


def _is_component(key: object) -> bool:
    return hasattr(key, "_id")


def _is_update(part: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(part, dict) and "update" in str(part.get(MARK, ""))


def _changes(update: dict[str, Any]) -> dict[str, Any]:
    """What an update says. None means nothing, except as a value, as in Gradio."""
    return {key: said for key, said in update.items() if key == "value" or (said is not None and key != MARK)}


def _composed(was: Any, now: Any) -> tuple[Any] | None:
    if not _is_update(now):
        return (now,) if not _changes(was) else None
    changes = _changes(now)
    if not changes:
        return (was,)
    if _is_update(was):
        return ({**was, **changes, MARK: now[MARK]},)
    return (now,) if "value" in changes else None


def _state(was: Any, now: Any) -> tuple[Any] | None:
    """Of an update, `gr.State` takes nothing but a value."""
    return (was,) if _is_update(now) and "value" not in now else (now,)
