"""How long `import penstock` and what an app needs take, beside starlette alone. Goal: at most 120 ms."""

import subprocess
import sys
from functools import partial

from .compare import interleave, report

REPEATS = 15

CASES = {
    "import penstock": "import penstock",
    "penstock.App": "import penstock; penstock.App",
    "penstock.Client": "import penstock; penstock.Client",
    "starlette": "import starlette.applications, starlette.routing, starlette.responses",
}


def milliseconds(statement: str) -> float:
    """One import in a fresh interpreter, without the interpreter's own start."""
    code = f"import time; t = time.perf_counter(); {statement}; print((time.perf_counter() - t) * 1000)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(ran.stdout)


def main() -> None:
    """Print the medians."""
    found = interleave({name: partial(milliseconds, code) for name, code in CASES.items()}, REPEATS)
    report("Import time", found, "ms", goal="penstock <= 120 ms")


if __name__ == "__main__":
    main()
