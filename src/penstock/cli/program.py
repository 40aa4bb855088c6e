"""`penstock gradio`: a program as it is, with every Gradio app in it hardened."""

import argparse
import sys
from pathlib import Path
from types import ModuleType

from ..errors import ConfigError
from .show import note

__all__ = ["gradio"]


def gradio(given: argparse.Namespace) -> int:
    """Run a program as `python FILE` would, with `penstock.gradio.install` called before it.

    What it raises, and what it exits with, is the command's own; 1 where it has launched nothing.
    """
    from ..gradio import install
    from ..integrations.gradio.install import has_served

    path = Path(given.file)
    if not path.is_file():
        raise ConfigError(
            f"There is no file {path}.", hint="penstock gradio [OPTIONS] FILE [ARGUMENTS OF ITS OWN]"
        )
    install(
        store=given.store,
        grace_s=given.grace_s,
        close_grace_s=given.close_grace_s,
        rate=given.rate,
        console=not given.no_console,
        operators=given.operators or None,
        token=given.token,
    )
    _run(path, given.arguments)
    if not has_served():  # as a file that only tells another command, `gradio FILE`, say, what `demo` is
        note(f"{path} has launched no Gradio app: is there no demo.launch() in it, or nothing that calls it?")
        return 1
    return 0


def _run(path: Path, arguments: list[str]) -> None:
    # A module of its own rather than `runpy`, which would take `__main__` away again while threads still use it.
    main = ModuleType("__main__")
    main.__dict__.update(__file__=str(path), __builtins__=__builtins__, __cached__=None)
    sys.modules["__main__"] = main
    sys.argv = [str(path), *arguments]
    sys.path[0] = str(path.resolve().parent)
    exec(compile(path.read_bytes(), str(path), "exec"), main.__dict__)  # noqa: S102 - it is what was asked for
