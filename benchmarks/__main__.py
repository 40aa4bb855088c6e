"""`python -m benchmarks` runs every benchmark, one after the other; `python -m benchmarks NAME …` those named."""

import subprocess
import sys

NAMES = (
    "import_time",
    "ready",
    "first_event",
    "sqlite_appends",
    "claim_time",
    "look_time",
    "queue_throughput",
    "fan_out",
    "idle",
    "stalled",
    "replay",
    "thousand_runs",
    "cumulative",
    "compression",
    "scrape_time",
    "browser",
    "gradio",
)


def main(names: list[str]) -> int:
    """Each in a process of its own, so that none warms up another."""
    unknown = set(names) - set(NAMES)
    if unknown:
        print(f"There is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}.")
        return 2
    codes = [
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"]).returncode for name in names or NAMES
    ]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
