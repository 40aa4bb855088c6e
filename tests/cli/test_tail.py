"""`penstock tail`: from the start, from a cursor, and over attempts that are withdrawn."""

import pytest

from penstock.testing import ServerProcess

from .commands import cli, lines


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
