"""What can not be served by several processes is told once."""

import re
import signal
import socket
from pathlib import Path

import pytest

from penstock.testing import ServerProcess

from ..servers import run_serve


def complaints(output: str) -> list[str]:
    return re.findall(r"^penstock: (.*)$", output, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["nothing.py"], "There is no file nothing.py."),
        (["broken.py"], "broken.py can't be imported."),
        (["app.py", "--rate", "fast"], "The setting 'rate' can't be used: Expected `float`, got `str`."),
        (["app.py", "--store", "sqlite:///broken.py"], "broken.py: file is not a database."),
        (["app.py", "--host", "0.0.0.0"], "0.0.0.0 can be reached from other machines, and no token is set."),
        (
            ["app.py", "--store", "memory:"],
            "memory: belongs to one process, and --workers 3 makes several: none would see what the others keep.",
        ),
    ],
)
def test_what_can_not_start_ends_with_one_message(
    argv: list[str], complaint: str, server: ServerProcess, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text(f"raise ValueError('boom')  # {'no store either' * 100}\n")
    done = run_serve(tmp_path, *argv, "--port", "0", "--workers", "3")
    assert done.returncode == 2
    assert complaints(done.stderr) == [complaint]
    assert done.stderr.count("Traceback") == (argv[0] == "broken.py")


def test_a_port_in_use_is_one_message(server: ServerProcess, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = run_serve(tmp_path, "app.py", "--port", port, "--workers", "3")
    assert done.returncode == 2
    (complaint,) = complaints(done.stderr)
    assert complaint.startswith(f"Can't listen on 127.0.0.1 port {port}: Address already in use")


def test_one_that_only_the_first_can_start_is_the_end(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import os, penstock\nos.mkdir('mine')\napp = penstock.App()\n")
    done = run_serve(tmp_path, "app.py", "--port", "0", "--workers", "2")
    assert done.returncode == 2
    assert complaints(done.stderr) == ["app.py can't be imported."]


def test_one_that_crashes_while_it_starts_is_the_end(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    done = run_serve(tmp_path, "app.py", "--port", "0", "--workers", "2")
    assert done.returncode == 128 + signal.SIGSEGV
    assert "was killed by SIGSEGV before it was ready" in done.stderr


@pytest.mark.parametrize("number", ["0", "-1", "two", "1000"])
def test_a_number_of_processes_that_can_not_be(number: str, tmp_path: Path) -> None:
    done = run_serve(tmp_path, "app.py", "--workers", number)
    assert done.returncode == 2
    assert f"{number!r} is no number from 1 to 256" in done.stderr


def test_the_line_to_a_supervisor_is_not_for_people(server: ServerProcess, tmp_path: Path) -> None:
    done = run_serve(tmp_path, "app.py", "--tether", "99")
    assert done.returncode == 2
    assert complaints(done.stderr) == ["--tether is for Penstock's own use."]
