"""What this machine is doing, one line a second: the command that the demo follows by default.

Run as a file, so that it starts without the rest of the package.
"""

import os
import shutil
import sys
import time

PERIOD_S = 1.0


def line() -> str:
    """The load of the last one, five and fifteen minutes, and the free space of the root file system."""
    load = "  ".join(f"{value:5.2f}" for value in os.getloadavg())
    free_gb = shutil.disk_usage("/").free / 1e9
    return f"{time.strftime('%H:%M:%S')}  load {load}  disk free {free_gb:.1f} GB"


if __name__ == "__main__":
    while True:
        sys.stdout.write(line() + "\n")
        sys.stdout.flush()
        time.sleep(PERIOD_S)
