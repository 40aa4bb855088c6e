"""Which sessions a form names, whatever pieces it comes in and however it is written."""

import pytest

from penstock.integrations.gradio.access.forms import MOST_BYTES, Form

KIND = b"multipart/form-data; boundary=b"


def part(disposition: str, data: bytes) -> bytes:
    return b"--b\r\nContent-Disposition: " + disposition.encode() + b"\r\n\r\n" + data + b"\r\n"


def field(data: bytes, name: str = '"session_hash"') -> bytes:
    return part(f"form-data; name={name}", data)


FILE = part('form-data; name="file"; filename="session_hash"', b"x" * 5000 + b"\r\n--bb")
MINE, END = field(b"mine"), b"--b--\r\n"


async def refuses(body: bytes, kind: bytes = KIND, size: int = 1 << 20) -> bool:
    """Whether somebody may not send it, whose session is `mine`."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def admits(name: str) -> bool:
        return name == "mine"

    form, passed = Form(kind, receive, admits), b""
    while True:
        message = await form.receive()
        if message["type"] == "http.disconnect":
            assert form.refused
            return True
        passed += message["body"]
        if not message["more_body"]:
            assert passed == body
            return False


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("body", "refused"),
    [
        (FILE + MINE + END, False),
        (FILE + field(b"other") + END, True),
        (MINE + FILE + field(b"other") + END, True),  # Gradio takes the last
        (field(b"other") + MINE + END, True),
        (FILE + field(b"other", "session_hash") + END, True),
        (FILE + part('form-data; filename="f"; name="session_hash"', b"other") + END, False),  # a file
        (FILE + field(b"other", '"data"') + END, False),
        (FILE + field(b"m" * (MOST_BYTES + 1)) + END, True),
        (field(b"x" * 100_000, '"data"') + MINE + END, False),
        (b"no form at all", True),
    ],
)  # fmt: skip
async def test_a_form_is_let_through_up_to_a_session_that_is_somebody_elses(
    body: bytes, refused: bool, size: int
) -> None:
    assert await refuses(body, size=size) is refused


async def test_a_form_in_another_charset_or_without_a_boundary_is_read_as_gradio_reads_it() -> None:
    disguised = field(b"other", '"session+AF8-hash"')
    assert await refuses(disguised + END, KIND + b"; charset=utf-7")
    assert not await refuses(disguised + END)
    assert not await refuses(disguised + END, KIND + b"; charset=nothing")
    assert await refuses(MINE + END, b"multipart/form-data")
