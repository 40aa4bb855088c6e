"""How long a server takes to answer, from the start of its process. Goal: `penstock serve` at most 1 s."""

from .compare import interleave, report
from .servers import penstock_server, starlette_server

REPEATS = 9


def _penstock() -> float:
    with penstock_server() as server:
        return server.ready_s


def _starlette() -> float:
    with starlette_server() as server:
        return server.ready_s


def main() -> None:
    """Print the medians."""
    found = interleave({"penstock serve (SQLite)": _penstock, "uvicorn, Starlette app": _starlette}, REPEATS)
    report("From the command to the first answer", found, "s", goal="penstock serve <= 1 s")


if __name__ == "__main__":
    main()
