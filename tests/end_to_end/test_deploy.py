"""A deploy that some functions do not heed: what is to be tried again is, once the old process is gone."""

import time
from pathlib import Path

import pytest

from penstock import Client
from penstock.errors import RunFailed
from penstock.testing import ServerProcess

DEADLINE_S = 10

SOURCE = """
import time, penstock
from pathlib import Path

app = penstock.App()
DEADLINE_S = 60

def deaf(run: penstock.Run):
    if run.attempt == 1:
        Path("begun").touch()
        time.sleep(DEADLINE_S)
    return run.attempt

app.function(name="retries", retries=1)(deaf)
app.function(name="on_crash", on_crash="retry")(deaf)
app.function(name="neither")(deaf)
"""


@pytest.mark.parametrize(("function", "result"), [("retries", 2), ("on_crash", 2), ("neither", None)])
def test_a_thread_that_outlives_the_drain(function: str, result: int | None, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(SOURCE)
    with ServerProcess("app.py", "--grace-s", "1", cwd=tmp_path) as server:
        with Client(server.url) as client:
            run_id = client.submit(function).id
            _wait_for(tmp_path / "begun")
        server.terminate()
        server.restart()
        with Client(server.url) as client:
            run = client.run(run_id)
            if result is None:
                with pytest.raises(RunFailed, match="shut down before the run"):
                    run.result()
            else:
                assert run.result() == result


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
