"""`penstock demo`: it serves, opens its page, and takes a free port where its own is taken."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import httpx

from penstock.testing import ServerProcess, until

from .commands import PENSTOCK, cli


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


def test_the_demo_takes_a_free_port_where_its_own_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        # The default comes from the environment here, so that no port of the machine is claimed by the test.
        argv = [*PENSTOCK, "demo", "--store", "memory:"]
        with ServerProcess(argv=argv, cwd=tmp_path, env={"PENSTOCK_PORT": str(port)}) as server:
            assert server.port != port
            assert "is taken" in server.output
