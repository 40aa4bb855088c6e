"""Frames become messages, and messages the frames of a WebSocket, as another's parser reads them."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from penstock.errors import BadRequest
from penstock.events import Reset, Text, decode
from penstock.protocol import sse
from penstock.protocol.websocket import (
    encode_messages,
    messages_in,
    not_understood,
    rate_asked,
)

EPOCH = "k3j9x0q2ab"


def parsed(data: bytes) -> list[Frame]:
    client = ClientProtocol(parse_uri("ws://localhost/"), state=State.OPEN, max_size=None)
    client.receive_data(data)
    return [event for event in client.events_received() if isinstance(event, Frame)]


def only(frames: bytes) -> dict[str, object]:
    (message,) = messages_in(frames)
    body: dict[str, object] = msgspec.json.decode(message)
    return body


@given(st.text(), st.integers(1, 10**15))
def test_an_event_gets_its_cursor(text: str, seq: int) -> None:
    event = Text(0, text, seq=seq, at_ms=1)
    body = only(sse.encode_event(event, EPOCH))
    assert body.pop("cursor") == f"{EPOCH}-{seq}"
    assert decode(msgspec.json.encode(body)) == event


def test_an_event_without_an_id_gets_none() -> None:
    assert only(sse.encode_event(Reset(0, "gone", at_ms=1), EPOCH)) == {
        "type": "reset", "to": 0, "reason": "gone", "at_ms": 1
    }  # fmt: skip


def test_a_status_carries_its_name() -> None:
    assert only(sse.status("status", {"state": "queued"})) == {"type": "status", "state": "queued"}
    assert only(sse.draining(2210)) == {"type": "draining", "retry_ms": 2210}


def test_comments_and_waits_have_no_counterpart_but_a_heartbeat_has() -> None:
    assert messages_in(sse.first_bytes(15) + sse.retry(812)) == []
    assert messages_in(b"") == []
    assert only(sse.HEARTBEAT) == {"type": "heartbeat"}


def test_many_keep_their_order() -> None:
    frames = [sse.encode_event(Text(seq, "\n\ndata: x", seq=seq), EPOCH) for seq in range(1, 9)]
    messages = [msgspec.json.decode(message) for message in messages_in(b"".join([sse.retry(1), *frames]))]
    assert [message["seq"] for message in messages] == list(range(1, 9))
    assert {message["text"] for message in messages} == {"\n\ndata: x"}


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65535, 65536, 200_000])
def test_a_message_of_any_length_is_one_frame(length: int) -> None:
    messages = [b"x" * length, b"behind"]
    frames = parsed(encode_messages(messages))
    assert [bytes(frame.data) for frame in frames] == messages
    assert all(frame.opcode is Opcode.TEXT and frame.fin for frame in frames)


@pytest.mark.parametrize(("text", "rate"), [('{"rate":1}', 1), ('{"rate":0.0,"later":[1]}', 0)])
def test_a_pace_can_be_asked_for(text: str, rate: float) -> None:
    assert rate_asked(text) == rate


@pytest.mark.parametrize("text", [None, "", "x", "[]", "{}", '{"rate":"1"}', '{"rate":NaN}', "[" * 5000])
def test_nothing_else_is_understood(text: str | None) -> None:
    with pytest.raises(BadRequest) as refused:
        rate_asked(text)
    assert not_understood(refused.value).code == 1008


def test_a_reason_fits_into_its_frame() -> None:
    why = not_understood(BadRequest("ü" * 100, hint="x"))
    assert 100 < len(why.reason.encode()) <= 123
