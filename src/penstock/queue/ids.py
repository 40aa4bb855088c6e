"""Names that nobody gives: of runs, and of the lives of their streams."""

import secrets

__all__ = ["new_epoch", "new_run_id"]

ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"

RUN_ID_CHARS = 17
"""88 bits: whoever knows an id may read the run, so it must not be guessed."""

EPOCH_CHARS = 10
"""51 bits: epochs of one name must differ, nobody gains by guessing one."""

_BYTES_TO_TEXT = bytes([ALPHABET.encode()[byte % len(ALPHABET)] for byte in range(256)])
# Would make some letters likelier than others.
_UNEVEN = bytes(range(256 // len(ALPHABET) * len(ALPHABET), 256))


def new_run_id(now_ms: int) -> str:
    """An id that begins with the time, to the year 2527: new ones stand together in a store's index, and a commit
    of many writes a page of it, not one for each run (a tenth of what storing a run costs, benchmarks)."""
    return f"run_{now_ms:011x}{_random(RUN_ID_CHARS)}"


def new_epoch() -> str:
    """The epoch of a new stream."""
    return _random(EPOCH_CHARS)


def _random(chars: int) -> str:
    # One call for all of an id: `secrets.choice` asks the system for each letter (27 us a run, benchmarks).
    drawn = b""
    while len(drawn) < chars:
        drawn = secrets.token_bytes(2 * chars).translate(_BYTES_TO_TEXT, delete=_UNEVEN)
    return drawn[:chars].decode()
