"""What clients get of Gradio's features is what they get without Penstock.

`PENSTOCK_TEST_GRADIO_STOCK=1` has the same tests run against Gradio as it comes.
"""

import asyncio
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from penstock.testing import until

from .server import VERSIONS, GradioServer, find_python

HARDENED = os.environ.get("PENSTOCK_TEST_GRADIO_STOCK") != "1"

APP = Path(__file__).with_name("features_app.py")

TOUR = Path(__file__).with_name("client_tour.py")

TOUR_S = 100
"""Longest that all features together may take a client, of which the longest takes 3 s."""


@dataclass
class Served:
    server: GradioServer
    notes: Path
    tour: dict[str, Any]

    def noted(self, name: str) -> list[Any]:
        path = self.notes / f"{name}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture(scope="module")
def all_served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Served]]:
    """A server of each version, through which an unmodified client of that version has gone."""
    with ExitStack() as stack, ThreadPoolExecutor(len(VERSIONS)) as threads:
        folders = {version: tmp_path_factory.mktemp("features") for version in VERSIONS}
        servers = {version: _server(version, folder) for version, folder in folders.items()}
        list(threads.map(stack.enter_context, servers.values()))
        tours = threads.map(lambda version: _tour(version, servers[version].url), VERSIONS)
        yield {
            version: Served(servers[version], folders[version], tour)
            for version, tour in zip(VERSIONS, tours, strict=True)
        }


def _server(version: str, folder: Path) -> GradioServer:
    env = {"FEATURES_APP_NOTES": str(folder)}
    return GradioServer(version, APP, hardened=HARDENED, options={"grace_s": 1}, cwd=folder, env=env)


def _tour(version: str, url: str) -> dict[str, Any]:
    argv = [find_python(version), str(TOUR), url]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TOUR_S, check=False)
    assert done.returncode == 0, done.stderr
    tour: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return tour


@pytest.fixture
def served(all_served: dict[str, Served], version: str) -> Served:
    return all_served[version]


STEPPED = {"result": "stepped", "seen": True, "units": [[30, "steps", "Stepping"]]}

TRACKED = {"result": "tracked", "seen": True, "units": [[30, "steps", "Tracking"]]}

EXPECTED = {
    "value": 8,
    "generator": {
        "pieces": ["w", "we", "wei", "weir"],
        "result": "weir",
        "outputs": ["w", "we", "wei", "weir"],
    },
    "state": [1, 2, 3, 1],
    "cancelled": {"first": 1, "stopped": True, "done": True},
    "batch": [1, 2, 3, 4, 5],
    "several_at_once": ["mill", "race"],
    "progress": STEPPED,
    "tqdm": TRACKED,
    "messages": "talked",
    "unqueued": 10,
    "files": {"sent": "SENT", "got": "kept"},
    "cache": [8, 8],
    "chat_interface": ["Hello, said after 0", "Hello, said after 0"],
    "interface": "Hello, Ada",
}


@pytest.mark.parametrize("feature", EXPECTED)
def test_an_unmodified_client_gets_what_it_gets_from_gradio(served: Served, feature: str) -> None:
    assert served.tour[feature] == EXPECTED[feature]


def test_an_unmodified_client_is_told_of_errors(served: Served) -> None:
    said = served.tour["errors"]
    assert said["gradio"][0] == said["other"][0] == "AppError"
    assert said["gradio"][1] == "It can't be done"
    assert said["other"][1].startswith("The upstream Gradio app has raised an exception")


def test_an_unmodified_client_is_told_what_is_not_valid(served: Served) -> None:
    assert served.tour["validated"][0] == "1 is right"
    assert served.tour["validated"][1] != "-1 is right"


def test_what_a_client_cancels_is_closed(served: Served) -> None:
    _until(lambda: served.noted("client") == ["closed"])


def test_batches_are_made(served: Served) -> None:
    assert sum(served.noted("batches")) == 5
    assert max(served.noted("batches")) > 1


def test_cached_answers_are_not_made_again(served: Served) -> None:
    assert served.noted("costly") == ([7] if served.server.version == "newest" else [7, 7])


class Wire:
    """Gradio's protocol as curl speaks it."""

    def __init__(self, url: str, session: str, cookies: Mapping[str, str] | None = None) -> None:
        self.http = httpx.Client(base_url=url, trust_env=False, timeout=30, cookies=dict(cookies or {}))
        self.session = session
        self.config = self.http.get("/config").json()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def join(self, name: str, *data: Any) -> httpx.Response:
        function = next(one["id"] for one in self.config["dependencies"] if one["api_name"] == name)
        body = {"data": list(data), "fn_index": function, "session_hash": self.session}
        return self.http.post("/gradio_api/queue/join", json=body)

    def lines(self) -> Iterator[str]:
        with self.http.stream("GET", "/gradio_api/queue/data", params={"session_hash": self.session}) as got:
            assert got.status_code == 200, got.read()
            assert got.headers["content-type"].startswith("text/event-stream")
            yield from got.iter_lines()

    def messages(self) -> Iterator[dict[str, Any]]:
        for line in self.lines():
            assert not line.startswith(("id:", "event:"))
            if line.startswith("data: "):
                yield json.loads(line[6:])

    def run(self, name: str, *data: Any) -> list[dict[str, Any]]:
        """All messages of one event."""
        event = self.join(name, *data).raise_for_status().json()["event_id"]
        return [message for message in self.messages() if message.get("event_id") == event]


@pytest.fixture
def wire(served: Served, request: pytest.FixtureRequest) -> Iterator[Wire]:
    with Wire(served.server.url, request.node.name) as wire:
        yield wire


def test_messages_are_gradios_own(wire: Wire) -> None:
    """In Gradio's order, the first value whole and then differences, without a word of ours."""
    messages = [message for message in wire.run("spell", "dam") if message["msg"] != "estimation"]
    assert [message["msg"] for message in messages] == [
        "process_starts", *["process_generating"] * 3, "process_completed",
    ]  # fmt: skip
    assert messages[1]["output"]["data"] == ["d"]
    assert messages[2]["output"]["data"] in ([[["append", [], "a"]]], [[["replace", [], "da"]]])
    assert messages[-1]["success"] is True
    assert messages[-1]["output"]["data"] in (["dam"], [[]])
    assert {"is_generating", "duration", "average_duration"} <= set(messages[-1]["output"])


def test_who_waits_is_told_so(wire: Wire) -> None:
    """One session's two events, one after the other, over one stream."""
    events = [wire.join("spell", word).json()["event_id"] for word in ("weir", "dam")]
    told = [message for message in wire.messages() if message.get("event_id") == events[1]]
    estimations = [message for message in told if message["msg"] == "estimation"]
    assert (estimations[-1]["rank"], estimations[-1]["queue_size"]) == (0, 1)
    assert told[-1]["success"] is True


def test_the_stream_ends_when_nothing_is_pending(wire: Wire) -> None:
    wire.join("double", 1)
    assert list(wire.messages())[-1] == {"msg": "close_stream", "event_id": None}


def test_logs_and_progress_are_messages(wire: Wire) -> None:
    logs = [message for message in wire.run("talk", "Ada") if message["msg"] == "log"]
    assert [(log["log"], log["level"], log["duration"]) for log in logs] == [
        ("Hello Ada", "info", 4), ("Mind the gap", "warning", 4),
    ]  # fmt: skip
    assert logs[0]["title"] == "Greeting"
    units = [message["progress_data"][0] for message in wire.run("steps", 4) if message["msg"] == "progress"]
    assert units[-1]["index"] == 3
    assert (units[-1]["length"], units[-1]["unit"], units[-1]["desc"]) == (4, "steps", "Stepping")


def test_an_error_says_how_it_is_to_be_shown(wire: Wire) -> None:
    last = wire.run("fail", "gradio")[-1]
    assert (last["msg"], last["success"]) == ("process_completed", False)
    assert last["output"]["error"] == "It can't be done"
    assert (last["output"]["duration"], last["output"]["title"], last["title"]) == (4, "Sorry", "Sorry")


def test_a_cached_answer_says_so(served: Served, wire: Wire) -> None:
    wire.run("costly", 11)
    assert (wire.run("costly", 11)[-1].get("used_cache") is not None) == (served.server.version == "newest")


def test_an_event_is_cancelled_by_its_id(served: Served, wire: Wire) -> None:
    answer = wire.join("long", "wire").json()
    messages = wire.messages()
    started = next(message for message in messages if message["msg"] == "process_generating")
    asked = {"session_hash": wire.session, "event_id": answer["event_id"], "fn_index": 0}
    wire.http.post("/gradio_api/cancel", json=asked).raise_for_status()
    last = [message for message in messages if message["msg"] == "process_completed"][-1]
    assert (started["event_id"], last["event_id"]) == (answer["event_id"], answer["event_id"])
    _until(lambda: served.noted("wire") == ["closed"])


def test_the_simple_calls_work(wire: Wire) -> None:
    """`/call/…` with named events, as the documentation's curl examples have it."""
    event = wire.http.post("/gradio_api/call/spell", json={"data": ["dam"]}).json()["event_id"]
    text = wire.http.get(f"/gradio_api/call/spell/{event}").text
    assert text.count("event: generating") == 3
    assert text.rstrip().endswith('event: complete\ndata: ["dam"]')
    event = wire.http.post("/gradio_api/call/fail", json={"data": ["gradio"]}).json()["event_id"]
    assert "event: error" in wire.http.get(f"/gradio_api/call/fail/{event}").text


def test_a_streamed_sound_is_a_playlist_of_its_pieces(wire: Wire) -> None:
    messages = wire.run("sound", 3)
    streaming = [
        message for message in messages if message["msg"] in ("process_streaming", "process_generating")
    ]
    (file,) = next(message["output"]["data"] for message in streaming)
    playlist = wire.http.get(file["url"]).raise_for_status().text
    assert playlist.startswith("#EXTM3U")
    assert playlist.rstrip().endswith("#EXT-X-ENDLIST")
    pieces = [line for line in playlist.splitlines() if line and not line.startswith("#")]
    folder = file["url"].rpartition("/")[0]
    got = [wire.http.get(f"{folder}/{piece.rpartition('/')[2]}").content for piece in pieces]
    assert got == [bytes([piece]) * 1000 for piece in range(3)]


def test_an_unqueued_call_is_one_request(wire: Wire) -> None:
    answer = wire.http.post("/gradio_api/run/direct", json={"data": [5], "session_hash": wire.session})
    assert answer.json()["data"] == [10]


def test_what_is_not_valid_is_refused(wire: Wire) -> None:
    answer = wire.join("checked", -1)
    assert answer.status_code == 422
    assert "It must be more than nothing" in answer.text


def test_an_unload_event_happens_when_a_page_is_gone(served: Served, wire: Wire) -> None:
    had = len(served.noted("unload"))
    with wire.http.stream("GET", f"/gradio_api/heartbeat/{wire.session}") as presence:
        assert next(presence.iter_lines()).startswith("data: ALIVE")
    _until(lambda: len(served.noted("unload")) > had)


def _until(condition: Callable[[], Any]) -> None:
    asyncio.run(until(condition, 20))


GUARDED = """
import time
import gradio

def slow(text):
    time.sleep(1.5)
    return text

with gradio.Blocks() as demo:
    text, said = gradio.Textbox(), gradio.Textbox()
    text.submit(slow, text, said, api_name="slow", concurrency_limit=1)
demo.queue(max_size=2).launch(auth=[("ada", "lock"), ("bob", "sluice")], root_path="/below")
"""


@pytest.fixture(scope="module")
def all_guarded() -> Iterator[dict[str, GradioServer]]:
    """Servers with a login, a short line and a root path."""
    with ExitStack() as stack, ThreadPoolExecutor(len(VERSIONS)) as threads:
        servers = [GradioServer(version, GUARDED, hardened=HARDENED) for version in VERSIONS]
        yield dict(zip(VERSIONS, threads.map(stack.enter_context, servers), strict=True))


@pytest.fixture
def guarded(all_guarded: dict[str, GradioServer], version: str) -> GradioServer:
    return all_guarded[version]


def _logged_in(server: GradioServer, user: str, password: str, session: str) -> Wire:
    with httpx.Client(base_url=server.url, trust_env=False) as http:
        answer = http.post("/login", data={"username": user, "password": password})
        assert answer.status_code == 200, answer.text
        return Wire(server.url, session, dict(answer.cookies))


def test_without_a_login_nothing_is_to_be_had(guarded: GradioServer) -> None:
    with httpx.Client(base_url=guarded.url, trust_env=False) as http:
        body = {"data": ["x"], "fn_index": 0, "session_hash": "stranger"}
        assert http.post("/gradio_api/queue/join", json=body).status_code == 401
        assert http.get("/gradio_api/queue/data", params={"session_hash": "stranger"}).status_code == 401
        assert http.get("/config").status_code == 401


def test_with_a_login_all_is_as_before(guarded: GradioServer) -> None:
    with _logged_in(guarded, "ada", "lock", "ada-session") as wire:
        assert wire.run("slow", "hello")[-1]["output"]["data"] == ["hello"]
        assert wire.config["root"].endswith("/below")


def test_a_full_line_is_a_503(guarded: GradioServer) -> None:
    with _logged_in(guarded, "bob", "sluice", "bob-session") as wire:
        answers = [wire.join("slow", str(number)) for number in range(5)]
        codes = [answer.status_code for answer in answers]
        assert codes[0] == 200
        assert codes[-1] == 503
        assert "full" in answers[-1].text
        done = [message for message in wire.messages() if message["msg"] == "process_completed"]
        assert len(done) == codes.count(200)
