"""The `penstock` command.

Exit codes: 0 done; 1 the run did not succeed; 2 the call, a setting or the store is wrong; 3 the server
can't be reached or refused; 130 interrupted by Ctrl-C (a run that was being read goes on).
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from .. import __version__
from ..errors import ConfigError, PenstockError, RequestError, RunFailed, StoreError
from ..settings import SETTINGS, Setting
from .show import complain

__all__ = ["build_parser", "main"]

DONE, RUN_FAILED, WRONG_CALL, NO_SERVER, INTERRUPTED = 0, 1, 2, 3, 130

MOST_WORKERS = 256
"""Processes of one command: more than any machine has use for, and fewer than it can start."""

INSTALL_NUMBERS = (
    ("--grace-s", 60, "seconds for which a page that was cut off keeps its session and its work"),
    ("--close-grace-s", 5, "seconds after which the work of a page that was closed is stopped"),
    ("--rate", 20, "updates a second of one event at most; 0 merges nothing"),
)
"""Options of `penstock.gradio.install`."""

CLIENT_SETTINGS = ("token",)
"""Settings that the commands which speak to a server take."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    given = build_parser().parse_args(argv)
    given.argv = argv
    command: Callable[[argparse.Namespace], int] = given.command
    try:
        return command(given)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `penstock tail … | head`: whoever read has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except PenstockError as error:
        complain(error)
        # A store's error is ours to mend where we serve it, and the server's where we ask one.
        return _exit_code(error, own_store=not hasattr(given, "url"))


def _exit_code(error: PenstockError, *, own_store: bool) -> int:
    if isinstance(error, RunFailed):
        return RUN_FAILED
    if isinstance(error, ConfigError) or (isinstance(error, StoreError) and own_store):
        return WRONG_CALL
    return WRONG_CALL if isinstance(error, RequestError) and error.status not in (401, 403) else NO_SERVER


def build_parser() -> argparse.ArgumentParser:
    """The command line: what exists is what it lists."""
    parser = argparse.ArgumentParser(
        prog="penstock",
        description="Durable, resumable streaming for Python generators.",
        epilog="Exit codes: 0 done, 1 the run did not succeed, 2 wrong call or setting, "
        "3 server not reached, 130 Ctrl-C.",
    )
    parser.add_argument("--version", action="version", version=f"penstock {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_serve(commands)
    _add_gradio(commands)
    _add_worker(commands)
    _add_run(commands)
    _add_tail(commands)
    _add_ps(commands)
    _add_cancel(commands)
    return parser


def _lazily(module: str, name: str) -> Callable[[argparse.Namespace], int]:
    # A client's command must not wait for the server's libraries to load, nor the other way round.
    def command(given: argparse.Namespace) -> int:
        found: Callable[[argparse.Namespace], int] = getattr(import_module(f".{module}", __package__), name)
        return found(given)

    return command


_Commands = argparse._SubParsersAction  # noqa: SLF001 - argparse names the type of `add_subparsers` nowhere else


def _add_demo(commands: "_Commands[argparse.ArgumentParser]") -> None:
    demo = commands.add_parser(
        "demo", help="serve an agent that answers questions about Python's standard library"
    )
    demo.add_argument("--open", action="store_true", help="open the page in the browser")
    demo.add_argument(
        "--follow",
        action="append",
        default=[],
        metavar="FILE",
        help="a file, or '$ COMMAND', that `follow` may show",
    )
    _add_settings(demo, SETTINGS)
    demo.set_defaults(command=_lazily("serving", "demo"))


def _add_serve(commands: "_Commands[argparse.ArgumentParser]") -> None:
    serve = commands.add_parser("serve", help="serve the functions of an app, or a Gradio app")
    _add_target(serve)
    serve.set_defaults(command=_lazily("serving", "serve"))


def _add_gradio(commands: "_Commands[argparse.ArgumentParser]") -> None:
    gradio = commands.add_parser(
        "gradio",
        help="run a Gradio program as it is, so that its pages and runs lose nothing",
        description="Run FILE as python would, with penstock.gradio.install() called before it.",
    )
    gradio.add_argument("file", metavar="FILE", help="the program; what stands before it is for Penstock")
    gradio.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="its own arguments")
    gradio.add_argument(
        "--store", metavar="URL", help="where runs and events are kept [sqlite:///penstock.db]"
    )
    for name, default, text in INSTALL_NUMBERS:
        gradio.add_argument(name, metavar="VALUE", type=float, default=default, help=f"{text} [{default}]")
    gradio.add_argument("--no-console", action="store_true", help="no console at /penstock")
    gradio.add_argument(
        "--operators",
        metavar="LOGIN",
        action="append",
        default=[],
        help="a login that sees everybody's runs, which others then can't; may be repeated",
    )
    gradio.add_argument("--token", metavar="SECRET", help="lets programs and operators in")
    gradio.set_defaults(command=_lazily("program", "gradio"))


def _add_worker(commands: "_Commands[argparse.ArgumentParser]") -> None:
    worker = commands.add_parser(
        "worker", help="execute the functions of an app, without HTTP, beside processes that serve it"
    )
    _add_target(worker)
    worker.set_defaults(command=_lazily("serving", "worker"))


def _add_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="TARGET", help="module:app or file.py[:app]")
    # No setting: it must be known before the app is imported.
    parser.add_argument(
        "--workers",
        type=_count,
        default=1,
        metavar="N",
        help="processes that share the work, looked after by one more [%(default)s]",
    )
    parser.add_argument("--tether", help=argparse.SUPPRESS)  # from the supervisor to each of them
    _add_settings(parser, SETTINGS)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_WORKERS):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {MOST_WORKERS}")
    return int(text)


def _add_run(commands: "_Commands[argparse.ArgumentParser]") -> None:
    run = commands.add_parser("run", help="start a run and print its text as it comes")
    _add_url(run)
    run.add_argument("function", metavar="FUNCTION")
    run.add_argument("input", nargs="*", metavar="name=value", help="text as it is; anything else as JSON")
    run.add_argument("--key", help="idempotency key: the same key gives the same run")
    run.add_argument("--session", help="whom the run belongs to")
    run.add_argument("--detach", action="store_true", help="print the run's id and leave")
    run.set_defaults(command=_lazily("reading", "run"))


def _add_tail(commands: "_Commands[argparse.ArgumentParser]") -> None:
    tail = commands.add_parser("tail", help="print a run's text from its start, and as it comes")
    _add_url(tail)
    tail.add_argument("run", metavar="RUN")
    tail.add_argument("--after", metavar="CURSOR", help="print only what follows this cursor")
    tail.set_defaults(command=_lazily("reading", "tail"))


def _add_ps(commands: "_Commands[argparse.ArgumentParser]") -> None:
    ps = commands.add_parser("ps", help="say what goes on in the groups, and list runs, newest first")
    _add_url(ps)
    ps.add_argument("--queue", action="store_true", help="the groups only")
    ps.add_argument("--function", help="of this function only")
    ps.add_argument("--state", help="in this state only")
    ps.add_argument("--limit", type=int, default=20, help="how many (%(default)s)")
    ps.set_defaults(command=_lazily("reading", "ps"))


def _add_cancel(commands: "_Commands[argparse.ArgumentParser]") -> None:
    cancel = commands.add_parser("cancel", help="ask a run to stop, and print the receipt")
    _add_url(cancel)
    cancel.add_argument("run", metavar="RUN")
    cancel.set_defaults(command=_lazily("reading", "cancel"))


def _add_url(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", help="the server's address")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for programs")
    _add_settings(parser, [setting for setting in SETTINGS if setting.name in CLIENT_SETTINGS])


def _add_settings(parser: argparse.ArgumentParser, settings: Sequence[Setting]) -> None:
    group = parser.add_argument_group(
        "settings", "Each is also an environment variable: --name is PENSTOCK_NAME."
    )
    for setting in settings:
        default = "none" if setting.default is None else setting.default  # as it is written there
        text = f"{setting.help} [{default}]" if default != "" else setting.help
        group.add_argument(setting.flag, metavar="VALUE", help=text.replace("%", "%%"))
