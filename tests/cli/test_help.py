"""What the command line says of itself: help, usage, version."""

import pytest

import penstock

from .commands import cli

COMMANDS = ("demo", "serve", "gradio", "worker", "run", "tail", "ps", "cancel")


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
    assert "[None]" not in done.stdout, "on a command line it is written `none`"


@pytest.mark.parametrize(
    "argv", [(), ("nothing",), ("run",), ("ps", "x", "--limit", "many"), ("serve",), ("worker",)]
)
def test_what_can_not_be_understood_is_2(argv: tuple[str, ...]) -> None:
    done = cli(*argv)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: penstock")


def test_version() -> None:
    assert cli("--version").stdout == f"penstock {penstock.__version__}\n"
