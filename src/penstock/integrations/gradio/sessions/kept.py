"""What a run keeps of the join that began it: its input, and what it takes to join again after a restart."""

from collections.abc import Collection, Mapping
from typing import Any

import msgspec
from starlette.types import Scope

from ....models import RunRecord
from ..seams.direct import JOIN
from ..seams.inner import API

__all__ = ["BY_NAME", "Kept", "Request", "input_of", "kept_in"]

BY_NAME = f"{API}/call/v2/"
"""Below it a join's body is nothing but arguments, by the names of the function's parameters."""

INPUT_BYTES = 1024 * 1024
"""The JSON of a larger input is not kept (of files it has the paths only): such an event is not joined again."""

HEADERS = frozenset({
    "accept-language", "host", "user-agent", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto",
})  # fmt: skip
"""Of the request: what addresses are made from, and who asked. No cookie and no other secret."""

SECRETS = frozenset({"oauth_token"})
"""Members of a join that are not written to a disk. An event with one of them is not joined again."""


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the join came.

    owner: whose its session is. username: of a login. fn_index: of its function, where it names one.
    again: whether it can be made again with what is kept. home: the file of the function, see `Dependency`.
    """

    session_hash: str
    route: str
    owner: str | None = None
    username: str | None = None
    fn_index: int | None = None
    body: dict[str, Any] = {}
    headers: dict[str, str] = {}
    scheme: str = "http"
    root_path: str = ""
    again: bool = True
    home: str = ""


class Kept(msgspec.Struct, frozen=True):
    """A run's input. `gradio` is missing from one that came through Penstock's own API."""

    data: list[Any] = []
    gradio: Request | None = None


def input_of(
    scope: Scope,
    request: Request,
    body: Mapping[str, Any],
    *,
    exact: bool = True,
    passwords: Collection[int] = (),
) -> bytes:
    """The input of a run that `body` asks for.

    exact: it is JSON; what is not can't be asked for again. passwords: places of inputs that are written to no
    disk. An event with one can't be asked for again either, and of one that doesn't go by places nothing is kept.
    """
    data = None if request.route.startswith(BY_NAME) else body.get("data")
    known = _without(data, passwords) if isinstance(data, list) else []
    exact = exact and not (passwords and not request.route.startswith(JOIN))
    apart = SECRETS if data is None else {"data", *SECRETS}
    rest = {name: value for name, value in body.items() if name not in apart}
    given = msgspec.structs.replace(
        request,
        body=rest,
        headers=_headers(scope),
        scheme=scope.get("scheme", "http"),
        root_path=scope.get("root_path", ""),
        again=not SECRETS & body.keys() and known == (data or []),
    )
    kept = msgspec.json.encode(Kept(known, given)) if exact else b""
    if kept and len(kept) <= INPUT_BYTES:
        return kept
    return msgspec.json.encode(Kept([], msgspec.structs.replace(given, body={}, again=False)))


def _without(data: list[Any], places: Collection[int]) -> list[Any]:
    return [None if place in places and value else value for place, value in enumerate(data)]


def _headers(scope: Scope) -> dict[str, str]:
    pairs = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
    return {name: value for name, value in pairs if name in HEADERS}


def kept_in(run: RunRecord) -> Kept:
    """What a run has kept. An input of any other form is as if nothing had been."""
    try:
        return msgspec.json.decode(run.input, type=Kept)
    except msgspec.DecodeError:
        return Kept()
