"""Plain requests: what is asked, what is asked again, and answers that are none."""

import msgspec
import pytest

from penstock import errors
from penstock.client import AsyncClient
from penstock.errors import ClientError, InvalidInput, NotFound, ProtocolError

from .rogue import Act, Rogue, fails, refuses, says, sends


async def test_a_submission_that_is_repeated_carries_the_same_key(rogue: Rogue, client: AsyncClient) -> None:
    rogue.answers = [fails, refuses(503, "server_closing", retry_after="0")]
    run = await client.submit("answer", {"question": "why?", "key": "an input"}, session="s1")
    assert run.id == "r1"
    bodies = [body for _, _, _, body in rogue.requests]
    assert bodies == [bodies[0]] * 3
    assert bodies[0].pop("key")
    assert bodies[0] == {
        "function": "answer",
        "input": {"question": "why?", "key": "an input"},
        "session": "s1",
    }


async def test_two_submissions_have_keys_of_their_own(rogue: Rogue, client: AsyncClient) -> None:
    await client.submit("f")
    await client.submit("f")
    await client.submit("f", key="mine")
    first, second, third = [body["key"] for _, _, _, body in rogue.requests]
    assert first != second
    assert third == "mine"


async def test_bad_input_names_its_field_and_is_not_repeated(rogue: Rogue, client: AsyncClient) -> None:
    error = {"code": "invalid_input", "message": "Missing.", "hint": "Give it.", "field": "question"}
    rogue.answers = [says(422, {"error": error})]
    with pytest.raises(InvalidInput, match="Missing") as caught:
        await client.submit("answer")
    assert caught.value.as_dict() == error
    assert len(rogue.requests) == 1


async def test_the_other_calls(rogue: Rogue) -> None:
    async with AsyncClient(rogue.url + "/under/", token="secret") as client:
        run = client.run("a/b")
        assert await run.state() == {"run_id": "r1", "state": "queued"}
        rogue.answers = [says(202, {"run_id": "r1", "state": "running", "cancel": "requested"})]
        assert (await run.cancel())["cancel"] == "requested"
        rogue.answers = [says(200, {"runs": [], "next": None})]
        assert await client.runs(function="f", limit=5) == {"runs": [], "next": None}
        rogue.answers = [says(200, {"functions": [{"name": "f"}]})]
        assert await client.functions() == [{"name": "f"}]
        assert await client.health()
    asked = [(method, path) for method, path, _, _ in rogue.requests]
    assert asked == [
        ("GET", "/under/api/runs/a/b"),
        ("POST", "/under/api/runs/a/b/cancel"),
        ("GET", "/under/api/runs?function=f&limit=5"),
        ("GET", "/under/api/functions"),
        ("GET", "/under/healthz"),
    ]
    assert {headers["authorization"] for _, _, headers, _ in rogue.requests} == {"Bearer secret"}


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (sends(b"<html>"), ProtocolError),
        (sends(b'"\xff"'), ProtocolError),
        (sends(b"[" * 100_000), ProtocolError),
        (says(200, []), ProtocolError),
        (says(200, {"functions": 1}), ProtocolError),
        (refuses(404, "not_found"), NotFound),
        (refuses(418, "teapot"), ClientError),
        (says(404, "no page"), ClientError),
        (says(308, None, location="https://elsewhere/"), ClientError),
    ],
)
async def test_answers_that_are_none(
    rogue: Rogue, client: AsyncClient, act: Act, error: type[Exception]
) -> None:
    rogue.answers = [act]
    with pytest.raises(error) as caught:
        await client.functions()
    assert type(caught.value) is error
    assert len(rogue.requests) == 1


def test_every_error_a_server_can_send_comes_back_as_itself() -> None:
    from penstock.client.answers import error_from

    for kind in (
        errors.BadRequest,
        errors.StoreUnavailable,
        errors.BadYield,
        errors.Fenced,
        errors.BadCursor,
    ):
        body = msgspec.json.encode({"error": kind("Message.", hint="Hint.").as_dict()})
        assert type(error_from(kind.status, body)) is kind
