"""`penstock cancel` stops a run; Ctrl-C and a closed pipe only end the reading of it."""

import signal
import subprocess
from pathlib import Path

from penstock.testing import ServerProcess

from .commands import PENSTOCK, cli, environ, lines, reading


def test_cancel_prints_the_receipt(server: ServerProcess) -> None:
    run_id = cli("run", server.url, "wait", "--detach").stdout.strip()
    cli("cancel", server.url, run_id)
    assert cli("tail", server.url, run_id).returncode == 1
    assert cli("cancel", server.url, run_id).stdout == "stopped (the run is cancelled)\n"
    (receipt,) = lines(cli("cancel", server.url, run_id, "--json"))
    assert receipt == {"run_id": run_id, "state": "cancelled", "cancel": "stopped"}


def test_ctrl_c_leaves_the_run_alone(server: ServerProcess) -> None:
    with reading("run", server.url, "wait") as process:
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
    argv = [*PENSTOCK, "run", server.url, "flood"]
    with subprocess.Popen(
        argv, env=environ(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:  # in bytes
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"line 0\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(15) == 0
