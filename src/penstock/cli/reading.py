"""The commands that speak to a server: `run`, `tail`, `ps`, `cancel`."""

import argparse
import json
import sys
from typing import Any

import msgspec

from ..client import Client
from ..errors import InvalidInput, RunFailed, UnknownFunction
from ..events import AnyEvent, End, Json, Replace, Reset, Text
from ..settings import load
from .cumulative import Cumulative
from .show import Margin, complain, eta, note, print_groups, print_json, print_runs

__all__ = ["cancel", "ps", "run", "tail"]


ASK_FOR_S = 5.0
"""How long a question is repeated to a server that can't be reached: it may be restarting."""

FOLLOW_FOR_S = 600.0
"""How long a run is waited for while its server can't be reached: who follows one rather waits than asks again."""

SHORT_S = 2.0
"""A wait for the first try to come back that nobody is told of."""


def _client(given: argparse.Namespace, retry_for_s: float = ASK_FOR_S) -> Client:
    return Client(given.url, token=load({"token": given.token}).token or None, retry_for_s=retry_for_s)


def run(given: argparse.Namespace) -> int:
    """Start a run and follow it."""
    with _client(given) as client:
        arguments = _arguments(client, given.function, given.input)
        run_id = client.submit(given.function, arguments, key=given.key, session=given.session).id
    if not given.detach:
        return _follow(run_id, given, after=None)
    if given.json:
        print_json({"run_id": run_id})
    else:
        sys.stdout.write(run_id + "\n")
    return 0


def tail(given: argparse.Namespace) -> int:
    """Follow a run."""
    return _follow(given.run, given, after=given.after)


def ps(given: argparse.Namespace) -> int:
    """Say what goes on in the groups, and list runs."""
    with _client(given) as client:
        queue = client.queue() if given.queue or not given.json else None
        runs = [] if given.queue else _runs(client, given)
    groups = [] if queue is None else _groups_of(given.function, queue["groups"])
    if given.json:
        for one in groups + runs:
            print_json(one)
        return 0
    print_groups(groups)
    if not given.queue:
        sys.stdout.write("\n")
        print_runs(runs)
    elif queue is not None:
        note(f"workers: {queue['workers']}, each with at most {queue['max_threads']} threads")
    return 0


def _runs(client: Client, given: argparse.Namespace) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.runs(function=given.function, state=given.state, limit=given.limit)[
        "runs"
    ]
    return found


def _groups_of(function: str | None, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [group for group in groups if function is None or function in group["functions"]]


def cancel(given: argparse.Namespace) -> int:
    """Ask a run to stop."""
    with _client(given) as client:
        receipt = client.run(given.run).cancel()
    if given.json:
        print_json(receipt)
    else:
        sys.stdout.write(f"{receipt['cancel']} (the run is {receipt['state']})\n")
    return 0


def _arguments(client: Client, function: str, pairs: list[str]) -> dict[str, Any]:
    schema = next((f["input_schema"] for f in client.functions() if f["name"] == function), None)
    if schema is None:
        raise UnknownFunction(
            f"The server has no function {function!r}.", hint="GET /api/functions lists them."
        )
    return dict(_argument(pair, schema.get("properties", {})) for pair in pairs)


def _argument(pair: str, properties: dict[str, Any]) -> tuple[str, Any]:
    name, equals, text = pair.partition("=")
    if not equals:
        raise InvalidInput(
            f"{pair!r} is not name=value.", hint=f"It takes {', '.join(properties) or 'nothing'}."
        )
    if _takes_text(properties.get(name, {})):
        return name, text
    try:
        return name, json.loads(text)
    except ValueError:
        return name, text  # the server says what it should have been


def _takes_text(schema: dict[str, Any]) -> bool:
    return schema.get("type") == "string" or any(map(_takes_text, schema.get("anyOf", [])))


def _follow(run_id: str, given: argparse.Namespace, after: str | None) -> int:
    output = _Json() if given.json else _Text()
    try:
        with (
            _client(given, FOLLOW_FOR_S) as client,
            client.run(run_id, on_status=_Status(quiet=given.json)).events(after) as events,
        ):
            for event in events:
                output.show(event)
    except KeyboardInterrupt:
        note(f"\nThe run goes on. See it with: penstock tail {given.url} {run_id}")
        note(f"Stop it with: penstock cancel {given.url} {run_id}")
        raise
    return output.exit_code


class _Status:
    """Tells people about the connection and the line, once for each change."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._lost = False
        self._position: int | None = None
        self._receipt: str | None = None

    def __call__(self, status: dict[str, Any]) -> None:
        if self._quiet:
            return
        if status.get("connection") == "reconnecting" and not self._lost and _is_felt(status):
            self._lost = True
            note(f"\n(connection lost: {status.get('reason', '')}; reconnecting)")
        elif status.get("connection") == "live" and self._lost:
            self._lost = False
            note("(connected again)")
        elif status.get("state") == "queued" and status.get("position") != self._position:
            self._position = status.get("position")
            note(f"(queued, position {self._position}, ETA {eta(status)})")
        elif "cancel" in status and status["cancel"] != self._receipt:
            self._receipt = status["cancel"]
            note(f"(stop {self._receipt})")


def _is_felt(status: dict[str, Any]) -> bool:
    # A first try that soon succeeds is nothing to speak of: proxies cut, streams end to be resumed (max_age_s).
    return bool(status["attempt"] > 1 or status["wait_s"] > SHORT_S)


class _Json:
    """Every event as a line of JSON."""

    exit_code = 0

    def show(self, event: AnyEvent) -> None:
        print_json(msgspec.to_builtins(event))
        if isinstance(event, End) and event.state != "succeeded":
            self.exit_code = 1


class _Text:
    """Text and values on standard output as they come, everything else on standard error."""

    exit_code = 0

    def __init__(self) -> None:
        self._column = 0
        self._lengths: dict[str | None, int] = {}
        self._cumulative = Cumulative()
        self._margin = Margin()

    def show(self, event: AnyEvent) -> None:
        match event:
            case Text():
                self._write(self._fresh(event))
            case Json():
                self._line(json.dumps(event.value, ensure_ascii=False))
            case Replace():
                self._replace(event)
            case Reset():
                self._lengths.clear()
                if event.to == 0:  # else the values of the next attempt go on from what is printed
                    self._cumulative.forget()
                self._finish_line()
                note(_withdrawal(event))
            case End():
                self._end(event)
            case _:
                self._finish_line()
                self._margin.show(event)

    def _fresh(self, event: Text) -> str:
        # After --after the count begins in the middle; a merge may begin in what was printed.
        have = self._lengths.get(event.span, event.pos)
        self._lengths[event.span] = event.pos + len(event.text)
        return event.text[max(0, have - event.pos) :]

    def _replace(self, event: Replace) -> None:
        shown = self._cumulative.take(event)
        if shown.alone and self._column:
            self._write("\n")
        self._write(shown.text)

    def _write(self, text: str) -> None:
        self._margin.leave()
        sys.stdout.write(text)
        sys.stdout.flush()
        if text:
            self._column = len(text) - text.rfind("\n") - 1

    def _line(self, text: str) -> None:
        self._finish_line()
        self._write(text + "\n")

    def _finish_line(self) -> None:
        # Only where both end on a terminal would they run into each other; a file gets the text unchanged.
        if self._column and sys.stdout.isatty():
            sys.stdout.write("\n")
            sys.stdout.flush()
        self._column = 0

    def _end(self, event: End) -> None:
        self._write(self._cumulative.rest())
        self._finish_line()
        self._margin.leave()
        if event.state == "succeeded":
            if event.result is not None:
                self._line(json.dumps(event.result, ensure_ascii=False))
            return
        error = event.error or {}
        message = f"The run ended as {event.state}" + (
            f": {error['message']}" if error.get("message") else "."
        )
        complain(RunFailed(message, state=event.state, error=error, hint=error.get("hint", "")))
        self.exit_code = 1


def _withdrawal(reset: Reset) -> str:
    # What was printed can't be taken back, so people must know which part of it no longer counts.
    if reset.to == 0:
        return f"(what came before is withdrawn: {reset.reason or 'the run begins again'})"
    return f"(what came after the checkpoint is withdrawn: {reset.reason or 'the run goes on from there'})"
