"""Which runs a list is asked for, from its request."""

from starlette.requests import HTTPConnection

from ..errors import BadRequest
from ..models import RunFilter, RunState

__all__ = ["filter_of"]

MAX_IDS = 100
"""Runs that may be asked for by their ids: a screen's worth, in a request line that everything passes on."""

MAX_TEXT_CHARS = 200
"""Of a text that is searched for: longer than anybody types."""


def filter_of(request: HTTPConnection) -> RunFilter:
    """Raises BadRequest, with the parameter's name."""
    query = request.query_params
    return RunFilter(
        query.get("function"), _states(query.get("state")), _ids(query.get("ids")), _text(query.get("q", ""))
    )


def _states(text: str | None) -> tuple[RunState, ...]:
    try:
        return () if text is None else tuple(dict.fromkeys(RunState(one) for one in text.split(",")))
    except ValueError as error:
        hint = f"One of {', '.join(RunState)}, or several with commas between."
        raise BadRequest(f"{text!r} is no state.", hint=hint, field="state") from error


def _ids(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    ids = tuple(text.split(","))
    if not (len(ids) <= MAX_IDS and all(ids)):
        hint = f"1 to {MAX_IDS} ids, with commas between."
        raise BadRequest("These can't be the ids of runs.", hint=hint, field="ids")
    return ids


def _text(text: str) -> str:
    if len(text) > MAX_TEXT_CHARS or "\0" in text:
        hint = f"At most {MAX_TEXT_CHARS} characters."
        raise BadRequest("This text can't be searched for.", hint=hint, field="q")
    return text
