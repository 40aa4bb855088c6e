"""`penstock ps`: runs and groups, as tables for people and as JSON for programs."""

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import penstock
from penstock.testing import ServerProcess, until

from .commands import cli, lines

LINES = """
import pathlib, threading, time, penstock
app = penstock.App(max_size=9)
GO = pathlib.Path("go")

@app.function(concurrency_limit=2, concurrency_id="[gpu]", rate_limit="1000/min")
def wait(seconds: float = 0):
    deadline = time.monotonic() + seconds
    while not GO.exists() and (not seconds or time.monotonic() < deadline):
        time.sleep(0.01)

@app.function(concurrency_limit=2, concurrency_id="[gpu]")
async def draw():
    return

@app.function(stop_grace_s=0)
def deaf():
    while not GO.exists():
        time.sleep(0.01)

@app.function(queue=False)
async def tag():
    return
"""


@pytest.fixture
def lined_up(tmp_path: Path) -> Iterator[ServerProcess]:
    """Two runs of a group of two, and two behind them; a run that has ended and whose thread has not."""
    (tmp_path / "app.py").write_text(LINES)
    with (
        ServerProcess("app.py", "--grace-s", "0", "--token", "secret", cwd=tmp_path) as server,
        penstock.Client(server.url, token="secret") as client,
    ):
        client.submit("wait", {"seconds": 1}).result()
        for function in ("wait", "wait", "wait", "draw"):
            client.submit(function)
        deaf = client.submit("deaf")
        asyncio.run(until(lambda: deaf.state()["state"] == "running"))
        deaf.cancel()
        asyncio.run(until(lambda: deaf.state()["state"] == "cancelled"))
        asyncio.run(until(lambda: _group(client, "deaf")["held"] == 1))
        asyncio.run(until(lambda: _group(client, "[gpu]")["running"] == 2))
        yield server


def _group(client: penstock.Client, name: str) -> dict[str, Any]:
    (found,) = [group for group in client.queue()["groups"] if group["group"] == name]
    return dict(found)


def test_ps_lists_and_filters(server: ServerProcess) -> None:
    run_id = cli("run", server.url, "fail", "--detach").stdout.strip()
    cli("tail", server.url, run_id)
    done = cli("ps", server.url)
    assert done.returncode == 0
    assert run_id in done.stdout
    assert "failed (exception)" in done.stdout
    found = lines(cli("ps", server.url, "--function", "fail", "--state", "failed", "--limit", "1", "--json"))
    assert [run["run_id"] for run in found] == [run_id]
    assert cli("ps", server.url, "--state", "lost").returncode == 2


def test_ps_is_a_table_for_people_and_json_for_programs(server: ServerProcess) -> None:
    runs = [
        cli("run", server.url, name, "--detach").stdout.strip() for name in ("perhaps", "perhaps", "fail")
    ]
    for run_id in runs:
        cli("tail", server.url, run_id)
    head, *rows = cli("ps", server.url, "--limit", "3").stdout.partition("\n\n")[2].splitlines()
    assert head.split() == ["RUN", "FUNCTION", "STATE", "AGE", "TOOK"]
    listed = lines(cli("ps", server.url, "--limit", "3", "--json"))
    assert [row.split()[0] for row in rows] == [run["run_id"] for run in listed] == runs[::-1]
    assert head.index("STATE") == rows[0].index("failed") == rows[1].index("succeeded")
    assert {"run_id", "function", "state", "created_at_ms", "ended_at_ms", "error", "events"} <= listed[
        0
    ].keys()


def test_ps_says_what_goes_on_in_the_groups(lined_up: ServerProcess) -> None:
    head, *groups = cli("ps", lined_up.url, "--queue").stdout.splitlines()
    assert head.split() == ["GROUP", "RUNNING", "WAITING", "HELD", "ETA"]
    with penstock.Client(lined_up.url, token="secret") as client:
        eta_s = math.ceil(_group(client, "[gpu]")["eta_s"])
    shown = [" ".join(line.split()) for line in groups]
    assert shown == [
        f"[gpu]: wait, draw 2 of 2 2 0 {eta_s}s",
        "deaf 0 of 1 0 1 ?",
        "tag (no queue) 0 0 0 now",
    ]
    above, _, _ = cli("ps", lined_up.url).stdout.partition("\n\n")
    assert above.splitlines() == [head, *groups]
    only = cli("ps", lined_up.url, "--queue", "--function", "draw").stdout.splitlines()
    assert [line.split()[0] for line in only] == ["GROUP", "[gpu]:"]


def test_ps_says_where_waiting_runs_stand(lined_up: ServerProcess) -> None:
    head, *rows = cli("ps", lined_up.url, "--function", "wait").stdout.partition("\n\n")[2].splitlines()
    assert head.split() == ["RUN", "FUNCTION", "STATE", "AGE", "TOOK", "POS", "ETA"]
    assert [row.split()[2] for row in rows] == ["queued", "running", "running", "succeeded"]
    (waiting,) = lines(cli("ps", lined_up.url, "--function", "wait", "--limit", "1", "--json"))
    with penstock.Client(lined_up.url, token="secret") as client:
        mean_s = _group(client, "[gpu]")["durations"]["wait"]["mean_s"]
    assert waiting["position"] == 1
    assert waiting["eta_s"] == pytest.approx(mean_s / 2, abs=0.1), "two at once"
    assert rows[0].split()[-2:] == ["1", f"{math.ceil(waiting['eta_s'])}s"]
    assert rows[1].rstrip().endswith("s"), "who runs stands in no line"


def test_ps_of_the_queue_is_one_object_a_group(lined_up: ServerProcess) -> None:
    done = cli("ps", lined_up.url, "--queue", "--json")
    assert done.stderr == ""
    with penstock.Client(lined_up.url, token="secret") as client:
        queue = client.queue()
    assert lines(done) == queue["groups"]
    assert queue["workers"] == 1
    gpu, deaf, tag = queue["groups"]
    assert (gpu["functions"], gpu["concurrency_limit"], gpu["max_size"]) == (["wait", "draw"], 2, 9)
    assert gpu["rate_limits"] == {"wait": "1000/min"}
    assert gpu["durations"]["wait"]["runs"] == 1
    assert (deaf["running"], deaf["held"], deaf["eta_s"]) == (0, 1, None)
    assert (tag["concurrency_limit"], tag["max_size"]) == (None, None)
