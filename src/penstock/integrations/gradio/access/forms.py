"""Forms with files, which go through as they come: up to one that names somebody else's session."""

from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Form", "form_in", "pass_form"]

FIELD = "session_hash"

MOST_BYTES = 8 * 1024
"""Of a session's name, and of what a part says of itself. A form with a longer one is refused."""


Admits = Callable[[str], Awaitable[bool]]
"""Whether who sends a form may name that session."""


def form_in(scope: Scope) -> bytes | None:
    """The kind of what is certainly a form; None for anything else.

    Gradio takes it for one in lower case only, and looks for JSON in any other.
    """
    kinds = [value for name, value in scope["headers"] if name == b"content-type"]
    return kinds[0] if kinds and all(kind.startswith(b"multipart/form-data") for kind in kinds) else None


async def pass_form(app: ASGIApp, kind: bytes, request: tuple[Scope, Receive, Send], admits: Admits) -> bool:
    """Pass on a form, whose files are not gathered here.

    Whether it may be: of one that names somebody else's session nothing has been answered.
    """
    scope, receive, send = request
    form = Form(kind, receive, admits)

    async def answer(message: Message) -> None:
        if not form.refused:
            await send(message)

    try:
        await app(scope, form.receive, answer)
    except Exception:
        if not form.refused:  # else it has seen its client leave
            raise
    return not form.refused


class Form:
    """The body of a request. kind: its content type.

    It is read with the parser that Gradio reads it with, so that nothing means something else to each of them.
    """

    def __init__(self, kind: bytes, receive: Receive, admits: Admits) -> None:
        self._receive = receive
        self._admits = admits
        self._names = _Names(kind)
        self.refused = False
        """Whether a session was named that is somebody else's. The application has seen a client that left."""

    async def receive(self) -> Message:
        """The next piece, for the application."""
        message: Message = {} if self.refused else await self._receive()
        if message.get("type") == "http.request":
            self.refused = not await self._may_pass(message.get("body", b""))
        return {"type": "http.disconnect"} if self.refused else message

    async def _may_pass(self, piece: bytes) -> bool:
        try:
            names = self._names.feed(piece)
        except ValueError:  # nothing that Gradio could read
            return False
        return all([await self._admits(name) for name in names])


class _Names:
    """The sessions that a form names. No more of it is kept than one name."""

    def __init__(self, kind: bytes) -> None:
        from python_multipart.multipart import MultipartParser, parse_options_header

        self._options_of = parse_options_header
        _, told = parse_options_header(kind)
        self._charset = told.get(b"charset", b"utf-8").decode("latin-1")
        self._parser = MultipartParser(told.get(b"boundary", b""), {
            "on_part_begin": self._begin, "on_header_field": self._header_name,
            "on_header_value": self._header_value, "on_header_end": self._header_end,
            "on_headers_finished": self._headers_end, "on_part_data": self._data, "on_part_end": self._end,
        })  # fmt: skip
        self._found: list[str] = []
        self._begin()

    def feed(self, piece: bytes) -> list[str]:
        """The names that end in this piece. Raises ValueError for what is no form."""
        self._found = []
        self._parser.write(piece)
        return self._found

    def _begin(self) -> None:
        self._header, self._value, self._told = bytearray(), bytearray(), b""
        self._data_of_name: bytearray | None = None

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        _extend(self._header, data[start:end])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        _extend(self._value, data[start:end])

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._told = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _headers_end(self) -> None:
        _, options = self._options_of(self._told)
        if b"filename" not in options and self._text(options.get(b"name", b"")) == FIELD:
            self._data_of_name = bytearray()

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._data_of_name is not None:
            _extend(self._data_of_name, data[start:end])

    def _end(self) -> None:
        if self._data_of_name is not None:
            self._found.append(self._text(bytes(self._data_of_name)))

    def _text(self, data: bytes) -> str:
        try:
            return data.decode(self._charset)
        except (LookupError, UnicodeDecodeError):
            return data.decode("latin-1")


def _extend(kept: bytearray, more: bytes) -> None:
    if len(kept) + len(more) > MOST_BYTES:
        raise ValueError("It is too long.")
    kept += more
