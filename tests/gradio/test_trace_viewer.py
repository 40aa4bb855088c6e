"""The example app: three agents at once, on each version, and without Penstock."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from .server import VERSIONS, GradioServer, environment
from .test_features_of_clients import Wire

VIEWER = Path(__file__).parents[2] / "examples" / "gradio_trace_viewer.py"

WAYS = {**{version: (version, True) for version in VERSIONS}, "plain": ("newest", False)}


@pytest.fixture(scope="module")
def viewers() -> Iterator[dict[str, GradioServer]]:
    """As its docstring says that it is started."""
    with ExitStack() as stack, ThreadPoolExecutor(len(WAYS)) as threads:
        servers = [
            GradioServer(version, VIEWER, command=["{app}"] if hardened else ["{app}", "--plain"])
            for version, hardened in WAYS.values()
        ]
        yield dict(zip(WAYS, threads.map(stack.enter_context, servers), strict=True))


@pytest.fixture(params=WAYS)
def viewer(viewers: dict[str, GradioServer], request: pytest.FixtureRequest) -> GradioServer:
    return viewers[request.param]


def test_three_agents_run_at_once_and_the_last_hundred_steps_are_shown(viewer: GradioServer) -> None:
    with Wire(viewer.url, "viewer") as wire:
        names = {wire.join(name, 12, 0.1).json()["event_id"]: name for name in ("ada", "grace", "edsger")}
        messages = [message for message in wire.messages() if message.get("event_id") in names]
    kinds = [message["msg"] for message in messages]
    assert kinds[: kinds.index("process_completed")].count("process_starts") == 3
    ends = [message for message in messages if message["msg"] == "process_completed"]
    assert [end["success"] for end in ends] == [True] * 3, (ends, viewer.output[-3000:])
    traces = {names[end["event_id"]]: end["output"]["data"] for end in ends}
    assert traces["ada"][0].count("<span>") == 100
    assert all("done ·" in counts for _, counts, _ in traces.values())
    assert "the last 100 shown" in traces["ada"][1]


def test_its_page_says_how_it_is_served(viewers: dict[str, GradioServer]) -> None:
    for way, server in viewers.items():
        with Wire(server.url, "page") as wire:
            text = str(wire.config["components"])
        assert ("in plain Gradio" in text) == (way == "plain")
        assert ("penstock.gradio.install()" in text) == (way != "plain")


def test_its_command_line_is_looked_at() -> None:
    for option, code, said in (("--help", 0, "--plain"), ("--plian", 2, "--plian")):
        done = subprocess.run(
            [sys.executable, VIEWER, option], env=environment(), capture_output=True, text=True, timeout=90
        )
        assert done.returncode == code
        assert said in done.stdout + done.stderr
