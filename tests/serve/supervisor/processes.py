"""Several processes that serve: how they are started, and what their output tells of them."""

import re
from pathlib import Path

from penstock.testing import ServerProcess

from .. import servers

READY_S = 20.0


def options(workers: int, *more: str) -> list[str]:
    """Of `penstock serve app.py`."""
    return ["--workers", str(workers), "--grace-s", "2", *more]


def make_server(folder: Path, workers: int = 3, *more: str) -> ServerProcess:
    """One that has not been started."""
    return servers.make_server(folder, *options(workers, *more))


def ready_pids(output: str) -> list[int]:
    """Of all processes that have been ready, in their order."""
    return [int(pid) for pid in re.findall(r"Process (\d+) is ready", output)]


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet counts."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z"
    except OSError:
        return True


def are_gone(pids: list[int]) -> bool:
    return all(is_gone(pid) for pid in pids)


def told(output: str) -> list[int]:
    """Which processes were told to leave; each as often as it was."""
    return [int(pid) for pid in re.findall(r"\[(\d+)\] INFO Leaving: readers", output)]
