"""What the client makes of a stream that is not as Gradio's."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from penstock.integrations.gradio.client.stream import Asking, Inboxes, MessageStream
from penstock.testing import until


@contextmanager
def saying(said: str) -> Iterator[str]:
    """A server that says this, and nothing else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.wfile.write(f"data: {said}\n\n".encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("said", ["{}", '{"event_id": "e1"}', "[]", "null", "7", "{"])
async def test_what_is_no_message_of_gradios_ends_its_jobs_with_an_error(said: str) -> None:
    inboxes = Inboxes()
    with saying(said) as url:
        stream = MessageStream("abc", inboxes, lambda: Asking(url, {}), lambda: False, retry_for_s=None)
        stream.expect("e1")
        ending = (await until(lambda: inboxes["e1"]))[0]
    assert ending["msg"] == "process_completed"
    assert ending["success"] is False
    assert "unusable" in ending["output"]["error"]
