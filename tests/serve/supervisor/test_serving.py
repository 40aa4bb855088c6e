"""All processes together are one server."""

from pathlib import Path
from typing import TYPE_CHECKING

from penstock.testing import ServerProcess

from ..servers import started
from .processes import make_server, ready_pids

if TYPE_CHECKING:
    from tests.conftest import Api


async def test_there_is_one_ready_line_when_all_are_ready(
    server: ServerProcess, connect: "type[Api]"
) -> None:
    async with started(server, connect) as api:
        assert len(ready_pids(server.output)) == 3
        assert server.output.count("Penstock is ready at") == 1
        assert server.output.rstrip().endswith(f"Penstock is ready at {server.url}")
        assert (await api.get("/healthz")).status_code == 200


async def test_limits_hold_over_all_processes(
    server: ServerProcess, connect: "type[Api]", tmp_path: Path
) -> None:
    server = make_server(tmp_path, 3, "--max-threads", "1")  # so that one process alone can't reach the limit
    async with started(server, connect) as api:
        runs = [await api.submit("enter", number=number) for number in range(36)]
        for run_id in runs:
            assert (await api.ended(run_id))["state"] == "succeeded"
    rows = [line.split() for line in (tmp_path / "intervals").read_text().splitlines()]
    assert len(rows) == 36
    changes = sorted([(float(row[0]), 1) for row in rows] + [(float(row[1]), -1) for row in rows])
    running, most = 0, 0
    for _, change in changes:
        running += change
        most = max(most, running)
    assert most == 2
    assert len({row[2] for row in rows}) >= 2


async def test_a_function_of_one_process_is_read_and_stopped_through_another(
    server: ServerProcess, connect: "type[Api]"
) -> None:
    async with started(server, connect) as api:
        run_id = await api.submit("wait")
        for _ in range(6):  # each on a connection of its own: one of them is another process's
            async with connect(server.url) as other:
                answer = await other.get(f"/api/runs/{run_id}/events", params={"poll": "5"})
                assert answer.json()["events"][0]["text"] == "before "
        async with connect(server.url) as other:
            await other.post(f"/api/runs/{run_id}/cancel")
        assert (await api.ended(run_id))["state"] == "cancelled"
