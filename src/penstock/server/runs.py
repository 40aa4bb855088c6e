"""Functions and runs: list, submit, inspect, cancel."""

from typing import Annotated, Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ..errors import BadRequest, BodyTooLarge, InvalidInput, PenstockError, UnsupportedMedia
from ..hub import Status
from ..models import RunRecord
from ..worker import MOST_PRIORITY
from .context import context_of
from .filters import filter_of

__all__ = ["cancel", "describe", "functions", "overview", "prioritize", "submit_or_list"]

T = TypeVar("T")

MAX_PAGE = 500
"""Runs in one page of the list."""

_Label = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class _Submission(msgspec.Struct, forbid_unknown_fields=True):
    function: str
    input: msgspec.Raw = msgspec.Raw(b"{}")
    key: _Label | None = None
    session: _Label | None = None


class _Wish(msgspec.Struct, forbid_unknown_fields=True):
    priority: Annotated[int, msgspec.Meta(ge=-MOST_PRIORITY, le=MOST_PRIORITY)]


def _json(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")


async def functions(request: Request) -> Response:
    """GET /api/functions"""
    listed = [
        {"name": f.name, "description": f.description, "input_schema": f.input_schema}
        for f in context_of(request).functions.values()
    ]
    return _json({"functions": listed})


async def submit_or_list(request: Request) -> Response:
    """POST and GET /api/runs"""
    return await (_submit if request.method == "POST" else _page)(request)


async def _submit(request: Request) -> Response:
    queue = context_of(request).queue
    given = _decode(await _body(request), _Submission, "{function, input, key?, session?}")
    if not bytes(given.input).startswith(b"{"):
        raise InvalidInput(
            "The input is not a JSON object.", hint="Send one member per parameter.", field="input"
        )
    try:
        run, status = await queue.submit(given.function, given.input, key=given.key, session=given.session)
    except PenstockError as error:
        if error.status == 503:
            queue.meter.refused(error.code)
        raise
    answer = {"run_id": run.id, "state": run.state} | status | {"events": _events_path(request, run.id)}
    return _json(answer, 202)


async def _page(request: Request) -> Response:
    query = request.query_params
    found = await context_of(request).queue.page(
        filter_of(request), limit=_limit(query.get("limit", "50")), before=query.get("before")
    )
    standings = await context_of(request).standings.of(found.runs)
    listed = [
        _run(request, run, standings.get(run.id)) | {"input_start": _start(run.input)} for run in found.runs
    ]
    return _json({"runs": listed, "next": found.next})


async def describe(request: Request) -> Response:
    """GET /api/runs/{run_id}"""
    queue = context_of(request).queue
    run = await queue.get(request.path_params["run_id"])
    standings = await context_of(request).standings.of([run])
    stored, result = await queue.stored(run)
    more = {"input": run.input, "result": result, "stored": stored}
    return _json(_run(request, run, standings.get(run.id)) | more)


async def cancel(request: Request) -> Response:
    """POST /api/runs/{run_id}/cancel"""
    run, receipt = await context_of(request).queue.cancel(request.path_params["run_id"])
    return _json({"run_id": run.id, "state": run.state, "cancel": receipt}, 202)


async def prioritize(request: Request) -> Response:
    """POST /api/runs/{run_id}/priority"""
    wish = _decode(await _body(request), _Wish, "{priority}")
    run, status = await context_of(request).queue.prioritize(request.path_params["run_id"], wish.priority)
    return _json({"run_id": run.id, "state": run.state, "priority": run.priority} | status)


async def overview(request: Request) -> Response:
    """GET /api/queue"""
    return _json(await context_of(request).standings.overview())


def _run(request: Request, run: RunRecord, status: Status | None) -> dict[str, Any]:
    line = (
        {} if status is None else {name: status[name] for name in status if name.startswith(("pos", "eta"))}
    )
    return {
        "run_id": run.id,
        "function": run.function,
        "state": run.state,
        "position": None,
        "eta_s": None,
        "attempt": run.attempt,
        "session": run.session,
        "key": run.key,
        "priority": run.priority,
        "concurrency_key": run.lane[1:] if run.lane.startswith("=") else run.lane or None,
        "created_at_ms": run.created_at_ms,
        "started_at_ms": run.started_at_ms,
        "ended_at_ms": run.ended_at_ms,
        "cancel": _receipt(run),
        "error": run.error,
        "events": _events_path(request, run.id),
    } | line


def _start(given: msgspec.Raw) -> str:
    # A character that is cut in the middle is left out.
    return bytes(given).decode(errors="ignore")


def _receipt(run: RunRecord) -> str | None:
    if not run.cancel:
        return None
    if run.state.ended:
        return "stopped"
    return "acknowledged" if run.acknowledged else "requested"


def _events_path(request: Request, run_id: str) -> str:
    return f"{request.scope.get('root_path', '')}/api/runs/{run_id}/events"


async def _body(request: Request) -> bytes:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMedia("The body is not JSON.", hint="Send Content-Type: application/json.")
    most = context_of(request).settings.max_body_bytes
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit():
        _check_length(int(announced), most)
    body = bytearray()
    try:
        async for piece in request.stream():
            body += piece
            _check_length(len(body), most)
    except ClientDisconnect as error:
        raise BadRequest("The body ended early.") from error
    return bytes(body)


def _check_length(length: int, most: int) -> None:
    if length > most:
        raise BodyTooLarge(
            f"The body has over {most} bytes.", hint="Send a smaller one, or raise max_body_bytes."
        )


def _decode(body: bytes, kind: type[T], shape: str) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$.")
        field = place.rstrip("`") or (message.split("`")[1] if "field `" in message else None)
        raise BadRequest(f"{message}.", hint=f"Send {shape}.", field=field) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"The body is not JSON: {error}.", hint=f"Send {shape}.") from error


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MAX_PAGE):
        raise BadRequest(f"{text!r} is no page size.", hint=f"1 to {MAX_PAGE}.", field="limit")
    return int(text)
