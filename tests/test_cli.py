"""The command line, every command as a process of its own: what is printed where, and the exit codes."""

import asyncio
import json
import math
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

import penstock
from penstock.testing import ServerProcess, until

SOURCE = """
import asyncio, pathlib, penstock
from penstock.storage.sqlite import connection
from penstock.worker import executor

connection.BUSY_TIMEOUT_S = 0.3
executor.retry_delay_s = lambda attempt, chance: 0.0
app = penstock.App()
GO = pathlib.Path("go")

@app.function(concurrency_limit=None)
async def say(text: str, times: int = 1, run: penstock.Run = None):
    run.log("about to speak")
    run.progress(1, 2, "words")
    with run.span("speaking", kind="tool"):
        for _ in range(times):
            yield text
    return

@app.function(concurrency_limit=None)
def show(value):
    yield {"got": value}
    return [value]

@app.function(concurrency_limit=None)
def perhaps(text: str | None = None):
    return [text]

@app.function(concurrency_limit=None)
async def fail():
    yield "before "
    raise ValueError("too much")

@app.function(concurrency_limit=None)
async def wait():
    yield "begun"
    while not GO.exists():
        await asyncio.sleep(0.01)
    yield " done"

@app.function(concurrency_limit=None, retries=1)
async def stumble(steps: int, run: penstock.Run = None):
    for step in range(run.restored or 0, steps):
        yield f"{step} "
        run.checkpoint(step + 1)
    if run.attempt == 1:
        yield "lost "
        raise ValueError("too much")
    yield "done"

@app.function(concurrency_limit=None, cumulative=True, rate=0)
async def grow(values: list):
    for value in values:
        yield value

@app.function(concurrency_limit=None)
async def flood():
    for number in range(20_000):
        yield f"line {number}\\n"
"""

PENSTOCK = [sys.executable, "-m", "penstock"]
Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "app.py").write_text(SOURCE)
    with ServerProcess("app.py", "--grace-s", "0", "--token", "secret", cwd=folder) as server:
        yield server


def cli(*argv: str, token: str = "secret", **env: str) -> Done:
    environ = os.environ | {"PENSTOCK_TOKEN": token, "COLUMNS": "200"} | env
    return subprocess.run([*PENSTOCK, *argv], env=environ, capture_output=True, text=True, timeout=30)


def lines(done: Done) -> list[Any]:
    return [json.loads(line) for line in done.stdout.splitlines()]


# --- run ---


def test_text_goes_out_as_it_is_and_the_rest_beside_it(server: ServerProcess) -> None:
    done = cli("run", server.url, "say", "text=héllo ", "times=3")
    assert (done.returncode, done.stdout) == (0, "héllo héllo héllo ")
    assert "▸ speaking (tool)" in done.stderr
    assert "info: about to speak" in done.stderr
    assert "1 of 2 words" in done.stderr
    assert "\033[" not in done.stdout + done.stderr, "no colours where nobody looks"


@pytest.mark.parametrize(
    ("values", "printed"),
    [
        (["Hé", "Hé there", "Hé there, miller."], "Hé there, miller."),
        ([f"{'on and ' * n}▌" for n in range(20)] + ["on and " * 19], "on and " * 19),
        (["It runs 🎉", "It runs 🎉🎉"], "It runs 🎉🎉"),
        (["It was the wurst", "It was the worst of times"], "It was the wurst\nworst of times"),
        ([{"a": 1}, [2], None], '{"a": 1}\n[2]\nnull\n'),
    ],
    ids=["grows", "with a mark", "ends with a mark", "is rewritten", "no text"],
)
def test_a_cumulative_text_is_printed_as_it_grows(
    server: ServerProcess, values: list[Any], printed: str
) -> None:
    done = cli("run", server.url, "grow", f"values={json.dumps(values)}")
    assert (done.returncode, done.stdout) == (0, printed)


def test_a_cumulative_text_from_the_middle(server: ServerProcess) -> None:
    values = [("word " * 40)[: 10 * n] for n in range(10, 21)]
    run_id = cli("run", server.url, "grow", f"values={json.dumps(values)}", "--detach").stdout.strip()
    first = lines(cli("tail", server.url, run_id, "--json"))
    assert [event["type"] for event in first] == ["replace"] * 11 + ["end"]
    with penstock.Client(server.url, token="secret") as client:
        assert client.run(run_id).value() == values[-1]
        epoch = (
            httpx.get(
                f"{server.url}/api/runs/{run_id}/events?poll=0", headers={"Authorization": "Bearer secret"}
            )
            .json()["cursor"]
            .split("-")[0]
        )
    assert cli("tail", server.url, run_id, "--after", f"{epoch}-9").stdout == "word word word word "


def test_json_is_one_event_a_line(server: ServerProcess) -> None:
    done = cli("run", server.url, "say", "text=hi", "--json")
    events = lines(done)
    assert (done.returncode, done.stderr) == (0, "")
    assert [event["type"] for event in events] == ["log", "progress", "span-start", "text", "span-end", "end"]
    assert [event["seq"] for event in events] == [1, 2, 3, 4, 5, 6]
    assert events[-1]["state"] == "succeeded"


@pytest.mark.parametrize(
    ("given", "value"),
    [("3", 3), ("1.5", 1.5), ("null", None), ('{"a": [1]}', {"a": [1]}), ("two words", "two words"),
     ('"3"', "3"), ("a=b", "a=b"), ("", "")],
)  # fmt: skip
def test_values_are_json_where_they_can_be(server: ServerProcess, given: str, value: object) -> None:
    done = cli("run", server.url, "show", f"value={given}")
    assert done.returncode == 0
    assert lines(done) == [{"got": value}, [value]]


@pytest.mark.parametrize("text", ["3", "true", "{}", "null", "a=b"])
def test_a_text_parameter_takes_what_is_given(server: ServerProcess, text: str) -> None:
    assert cli("run", server.url, "say", f"text={text}").stdout == text


@pytest.mark.parametrize("text", ["3", "true", "{}", "null", '"x"', "", "two words"])
def test_a_parameter_that_may_be_text_takes_what_is_given(server: ServerProcess, text: str) -> None:
    assert lines(cli("run", server.url, "perhaps", f"text={text}")) == [[text]]


def test_a_run_that_fails_is_1(server: ServerProcess) -> None:
    done = cli("run", server.url, "fail")
    assert (done.returncode, done.stdout) == (1, "before ")
    assert "penstock: The run ended as failed: ValueError: too much" in done.stderr
    done = cli("run", server.url, "fail", "--json")
    assert (done.returncode, lines(done)[-1]["error"]["code"]) == (1, "exception")


def test_detach_prints_the_id(server: ServerProcess) -> None:
    done = cli("run", server.url, "say", "text=x", "--detach")
    assert done.returncode == 0
    assert done.stdout.startswith("run_")
    assert cli("tail", server.url, done.stdout.strip()).stdout == "x"
    (answer,) = lines(cli("run", server.url, "say", "text=x", "--detach", "--json"))
    assert answer["run_id"].startswith("run_")


def test_a_key_is_one_run(server: ServerProcess) -> None:
    done = [cli("run", server.url, "say", "text=x", "--key", "once", "--detach") for _ in range(2)]
    assert [one.stderr for one in done] == ["", ""]
    assert done[0].stdout == done[1].stdout


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("nothing",), "The server has no function 'nothing'."),
        (("say", "text"), "'text' is not name=value."),
        (("say", "text=x", "times=many"), "times: "),
        (("say",), "text: It is required."),
        (("say", "text=x", "more=1"), "more: There is no such parameter."),
    ],
)
def test_a_wrong_call_is_2(server: ServerProcess, argv: tuple[str, ...], message: str) -> None:
    done = cli("run", server.url, *argv)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"penstock: {message}" in done.stderr
    assert "Traceback" not in done.stderr


# --- tail, ps, cancel ---


def test_tail_from_the_start_and_from_a_cursor(server: ServerProcess) -> None:
    run_id = cli("run", server.url, "say", "text=ab", "times=2", "--detach").stdout.strip()
    assert cli("tail", server.url, run_id).stdout == "abab"
    events = lines(cli("tail", server.url, run_id, "--json"))
    assert events[-1]["type"] == "end"
    done = cli("tail", server.url, run_id, "--after", "elsewhere-1")
    assert (done.returncode, done.stdout) == (0, "abab")
    assert "withdrawn" in done.stderr
    done = cli("tail", server.url, run_id, "--after", "nonsense")
    assert done.returncode == 2
    assert "'nonsense' is not a cursor." in done.stderr
    done = cli("tail", server.url, "run_nothing")
    assert done.returncode == 2
    assert "There is no run 'run_nothing'." in done.stderr


@pytest.mark.parametrize(
    ("steps", "text", "withdrawn"),
    [
        (0, "lost done", "(what came before is withdrawn: attempt 1 was cut short"),
        (2, "0 1 lost done", "(what came after the checkpoint is withdrawn: attempt 1 was cut short"),
    ],
)
def test_tail_says_what_another_attempt_withdraws(
    server: ServerProcess, steps: int, text: str, withdrawn: str
) -> None:
    run_id = cli("run", server.url, "stumble", f"steps={steps}", "--detach").stdout.strip()
    done = cli("tail", server.url, run_id)
    assert (done.returncode, done.stdout) == (0, text), "it goes on where the checkpoint was"
    assert withdrawn in done.stderr
    assert done.stderr.count("withdrawn") == 1


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


def test_cancel_prints_the_receipt(server: ServerProcess) -> None:
    run_id = cli("run", server.url, "wait", "--detach").stdout.strip()
    cli("cancel", server.url, run_id)
    assert cli("tail", server.url, run_id).returncode == 1
    assert cli("cancel", server.url, run_id).stdout == "stopped (the run is cancelled)\n"
    (receipt,) = lines(cli("cancel", server.url, run_id, "--json"))
    assert receipt == {"run_id": run_id, "state": "cancelled", "cancel": "stopped"}


# --- Ctrl-C, pipes, servers that are not there ---


def test_ctrl_c_leaves_the_run_alone(server: ServerProcess) -> None:
    environ = os.environ | {"PENSTOCK_TOKEN": "secret"}
    argv = [*PENSTOCK, "run", server.url, "wait"]
    with subprocess.Popen(
        argv, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(5) == "begun"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    command = next(line for line in err.splitlines() if "penstock tail" in line)
    assert "The run goes on." in command
    run_id = command.split()[-1]
    (Path(str(server.cwd)) / "go").touch()
    assert cli("tail", server.url, run_id).stdout == "begun done"
    (Path(str(server.cwd)) / "go").unlink()


def test_a_reader_that_has_enough(server: ServerProcess) -> None:
    environ = os.environ | {"PENSTOCK_TOKEN": "secret"}
    with subprocess.Popen(
        [*PENSTOCK, "run", server.url, "flood"], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"line 0\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(15) == 0


def test_no_server_is_3() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        done = cli("ps", f"http://127.0.0.1:{nobody.getsockname()[1]}")
    assert (done.returncode, done.stdout) == (3, "")
    assert "Traceback" not in done.stderr


def test_a_wrong_token_is_3(server: ServerProcess) -> None:
    done = cli("ps", server.url, token="wrong")
    assert done.returncode == 3
    assert "The token is missing or wrong." in done.stderr
    assert cli("ps", server.url, "--token", "secret", token="wrong").returncode == 0


def test_a_store_that_is_locked_is_3(server: ServerProcess) -> None:
    """The server's trouble, not the caller's; what is asked is asked again for a while, here for none."""
    start = "import sys; from penstock.cli import main, reading; reading._client.__defaults__ = "
    program = start + "(0,); sys.exit(main())"
    argv = [sys.executable, "-c", program, "run", server.url, "say", "text=x", "--token", "secret"]
    with closing(sqlite3.connect(Path(str(server.cwd)) / "penstock.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (3, "")
    assert "penstock.db: database is locked." in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_address_is_2() -> None:
    done = cli("ps", "localhost:8000")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


# --- Help ---

COMMANDS = ("demo", "serve", "worker", "run", "tail", "ps", "cancel")


def test_help_lists_what_there_is() -> None:
    done = cli("--help")
    assert done.returncode == 0
    listed = [
        line.split()[0] for line in done.stdout.splitlines() if line.startswith("    ") and line[4] != " "
    ]
    assert tuple(listed) == COMMANDS
    for code in ("0 done", "1 the run", "2 wrong", "3 server", "130"):
        assert code in " ".join(done.stdout.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    done = cli(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--token" in done.stdout


@pytest.mark.parametrize(
    "argv", [(), ("nothing",), ("run",), ("ps", "x", "--limit", "many"), ("serve",), ("worker",)]
)
def test_what_can_not_be_understood_is_2(argv: tuple[str, ...]) -> None:
    done = cli(*argv)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: penstock")


def test_version() -> None:
    assert cli("--version").stdout == f"penstock {penstock.__version__}\n"


def test_the_demo_serves(tmp_path: Path) -> None:
    argv = [sys.executable, "-u", "-m", "penstock", "demo", "--port", "{port}", "--grace-s", "0"]
    with ServerProcess(argv=argv, cwd=tmp_path) as server:
        listed = cli("run", server.url, "nothing")
        assert "has no function 'nothing'" in listed.stderr
        assert "penstock run" in server.output
        assert server.terminate() == 0


def test_the_demo_answers_while_a_browser_is_open(tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(
        f'#!/bin/sh\necho $$ "$1" > {tmp_path}/opened.part\n'
        f"mv {tmp_path}/opened.part {tmp_path}/opened\nexec sleep 20 >/dev/null 2>&1\n"
    )
    browser.chmod(0o755)
    argv = [sys.executable, "-u", "-m", "penstock", "demo", "--open", "--port", "{port}", "--grace-s", "0"]
    with ServerProcess(argv=argv, cwd=tmp_path, env=os.environ | {"BROWSER": f"{browser} %s"}) as server:
        assert httpx.get(f"{server.url}/healthz", timeout=5, trust_env=False).status_code == 200
        asyncio.run(until((tmp_path / "opened").exists))
        assert httpx.get(f"{server.url}/healthz", timeout=5, trust_env=False).status_code == 200
        pid, address = (tmp_path / "opened").read_text().split()
        os.kill(int(pid), signal.SIGKILL)
        assert address == server.url
        assert server.terminate() == 0


def test_an_app_that_can_not_be_imported_is_2(tmp_path: Path) -> None:
    target = tmp_path / "broken.py"
    target.write_text("raise ValueError('boom')\n")
    done = cli("serve", str(target))
    assert done.returncode == 2
    assert "ValueError: boom" in done.stderr
    assert "broken.py can't be imported" in done.stderr


def test_the_demo_takes_a_free_port_where_its_own_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        # The default comes from the environment here, so that no port of the machine is claimed by the test.
        argv = [*PENSTOCK, "demo", "--store", "memory:"]
        with ServerProcess(argv=argv, cwd=tmp_path, env={"PENSTOCK_PORT": str(port)}) as server:
            assert server.port != port
            assert "is taken" in server.output
